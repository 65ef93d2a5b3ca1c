"""Rubin's rules against tables printed by R's mice, and against statsmodels on the same fits."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.metrics.pooling import pool_rubin

# mice::pool of lm fits, m = 5: the sleep data of mammals (mice vignette on convergence and pooling), and a
# regression on 11 rows, the smallest one. Columns: estimate, ubar, b, dfcom, then t, df, riv, lambda, fmi, se.
MICE = [
    (10.0739157, 0.71206627, 0.83964136, 59, 1.7196359, 7.805051, 1.4149942, 0.5859203, 0.6625659, 1.3113489),
    (-1.4513424, 0.10052200, 0.30175131, 59, 0.4626236, 4.277824, 3.6022121, 0.7827132, 0.8424252, 0.6801644),
    (-0.5504494, 0.08902854, 0.01146902, 59, 0.1027914, 40.480414, 0.1545889, 0.1338909, 0.1737299, 0.3206109),
    (11.5358123, 0.62179318, 0.013395200, 59, 0.63786742, 55.17044, 0.02585143, 0.02519997, 0.05871528, 0.7986660),
    (7.0445966, 7.76794670, 0.719350800, 8, 8.63116766, 5.805314, 0.11112601, 0.10001207, 0.3044313, 2.9378849),
    (0.3727865, 0.02473847, 0.001134293, 8, 0.02609962, 6.178032, 0.05502168, 0.05215218, 0.2586992, 0.1615538),
]
P_VALUES = [6.666925e-05, 9.530451e-02, 9.364526e-02, None, 0.05483678, 0.05923999]


@pytest.mark.parametrize(("row", "p"), list(zip(MICE, P_VALUES, strict=True)))
def test_pooled_values_are_those_of_mice(row, p):
    estimate, within, between, complete, total, df, increase, share, fmi, se = row
    spread = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / np.sqrt(2.5)
    found = pool_rubin(estimate + np.sqrt(between) * spread, [within] * 5, complete)
    assert found.between == pytest.approx(between, rel=1e-9)
    assert found.total == pytest.approx(total, rel=1e-6)
    assert found.df == pytest.approx(df, rel=1e-6)
    assert found.share / (1 - found.share) == pytest.approx(increase, rel=1e-6)
    assert found.share == pytest.approx(share, rel=1e-6)
    assert found.fmi == pytest.approx(fmi, rel=1e-6)
    assert found.se == pytest.approx(se, rel=1e-6)
    if p is not None:
        assert found.p == pytest.approx(p, rel=1e-5)


def test_pooling_agrees_with_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    mice = pytest.importorskip("statsmodels.imputation.mice")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    table = pandas.DataFrame({"y": x @ [1.0, 0.5] + rng.normal(size=200), "a": x[:, 0], "b": x[:, 1]})
    table.loc[rng.random(200) < 0.3, "a"] = np.nan
    np.random.seed(1)
    theirs = mice.MICE("y ~ a + b", sm.OLS, mice.MICEData(table))
    result = theirs.fit(3, 6)
    fits = [r._results for r in theirs.results_list]
    ours = pool_rubin([f.params for f in fits], [np.diag(f.cov_params()) for f in fits])
    np.testing.assert_allclose(ours.value, result.params, rtol=1e-10)
    np.testing.assert_allclose(ours.se, result.bse, rtol=1e-10)
    np.testing.assert_allclose(ours.share, result.frac_miss_info, rtol=1e-10)
