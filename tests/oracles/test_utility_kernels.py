"""Net benefit, reclassification and agreement: values of R, lifelines and published worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from sklearn.datasets import load_breast_cancer
from sksurv.datasets import load_gbsg2

from aimed.metrics.agreement import bland_altman, cohen_kappa, fleiss_kappa, icc
from aimed.metrics.number_needed import number_needed_to_treat_survival
from aimed.metrics.reclassification import idi, nri
from aimed.metrics.utility import net_benefit, net_benefit_competing, net_benefit_difference, net_benefit_survival


@pytest.fixture(scope="module")
def cancer():
    data = load_breast_cancer()
    names = list(data.feature_names)
    y = (data.target == 0).astype(int)
    radius, worst = (data.data[:, names.index(f"{k} radius")] for k in ("mean", "worst"))
    return y, 1 / (1 + np.exp(-(radius - 14.5))), 1 / (1 + np.exp(-0.9 * (worst - 16.8)))


def test_net_benefit_of_a_yes_no_outcome(cancer):
    y, first, second = cancer
    expected = ([0.3292325718, 0.3022847100, 0.2407732865], [0.3438781488, 0.3273286467, 0.2952548330])
    grid = [0.1, 0.2, 0.5]
    for p, values in zip((first, second), expected, strict=True):
        found = net_benefit(y, p, grid)
        assert found.value == pytest.approx(values, abs=1e-10)
        assert found.treat_all == pytest.approx([0.3028705331, 0.2157293497, -0.2548330404], abs=1e-10)
        assert found.difference.value == pytest.approx(np.array(values) - found.treat_all, abs=1e-10)
    gap = net_benefit_difference(y, second, first, grid)
    assert gap.value == pytest.approx(np.subtract(expected[1], expected[0]), abs=2e-10)


def test_reclassification_is_that_of_hmisc(cancer):
    found = nri(*cancer)
    assert (found.value, found.se) == pytest.approx((1.393266741, 0.0639501168), abs=1e-9)
    assert (found.event, found.nonevent) == pytest.approx((0.4716981132, 0.9215686275), abs=1e-10)
    found = idi(*cancer)
    assert (found.value, found.se) == pytest.approx((0.09522371336, 0.009269411253), abs=1e-11)


@pytest.fixture(scope="module")
def breast():
    frame, y = load_gbsg2()
    return frame, y["cens"].astype(bool), y["time"].astype(float)


@pytest.fixture(scope="module")
def validation(breast):
    """Risk at 1000 days in the even rows by R's coefficients from the odd rows, with Efron's baseline hazard."""
    frame, event, time = breast
    grade = frame["tgrade"].astype(str)
    x = np.column_stack(
        [
            frame["age"],
            frame["horTh"].astype(str) == "yes",
            frame["menostat"].astype(str) == "Post",
            frame["pnodes"],
            frame["progrec"],
            grade == "II",
            grade == "III",
            frame["tsize"],
        ]
    ).astype(float)
    beta = [0.003469004, -0.483694700, 0.018130579, 0.083592305, -0.002230490, 0.933476682, 1.272425088, -0.004154752]
    score, train = np.exp(x @ beta), np.arange(time.size) % 2 == 0
    hazard = 0.0
    for t in np.unique(time[train & event & (time <= 1000)]):
        at, dead = train & (time >= t), train & event & (time == t)
        d = dead.sum()
        hazard += sum(1 / (score[at].sum() - step / d * score[dead].sum()) for step in range(d))
    return event[~train], time[~train], 1 - np.exp(-hazard * score[~train])


def test_net_benefit_at_a_horizon(validation):
    event, time, p = validation
    assert p[:5] == pytest.approx([0.3341805188, 0.2694488308, 0.9628618345, 0.2611731318, 0.5338853728], abs=1e-6)
    found = net_benefit_survival(event, time, p, 1000.0, [0.2, 0.3, 0.4])
    assert found.value == pytest.approx([0.1674164062, 0.1011248842, 0.0543616385], abs=1e-10)
    assert found.treat_all == pytest.approx([0.1641745588, 0.0447709243, -0.1144339216], abs=1e-10)


def test_net_benefit_with_competing_events_uses_aalen_johansen_above_the_threshold():
    rng = np.random.default_rng(0)
    time, p, kind = rng.exponential(5, 300), rng.random(300), rng.integers(0, 3, 300)
    found = net_benefit_competing(kind, time, p, 4.0, [0.3, 0.6], 2)
    for t, value in zip([0.3, 0.6], found.value, strict=True):
        high = p >= t
        fitted = AalenJohansenFitter(calculate_variance=False).fit(time[high], kind[high], event_of_interest=2)
        curve = fitted.cumulative_density_.iloc[:, 0]
        risk = curve[curve.index <= 4.0].iloc[-1]
        assert value == pytest.approx(high.mean() * (risk - (1 - risk) * t / (1 - t)), abs=1e-10)


def test_number_needed_to_treat_at_a_horizon_has_greenwoods_error(breast):
    frame, event, time = breast
    treated = (frame["horTh"].astype(str) == "yes").to_numpy()
    found = number_needed_to_treat_survival(event, time, treated, 1500.0)
    alive, variance = [], 0.0
    for arm in (False, True):
        rows = treated == arm
        fit = KaplanMeierFitter().fit(time[rows], event[rows])
        alive.append(float(fit.predict(1500.0)))
        table = fit.event_table[fit.event_table.index <= 1500.0]
        d, n = table["observed"].to_numpy(float), table["at_risk"].to_numpy(float)
        variance += alive[-1] ** 2 * (d / (n * (n - d))).sum()
    assert float(found.difference) == pytest.approx(alive[1] - alive[0], abs=1e-12)
    assert found.difference.se == pytest.approx(np.sqrt(variance), rel=1e-10)
    assert found.value == pytest.approx(1 / (alive[1] - alive[0]))


DIAGNOSES = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"""
"""Six psychiatrists, 30 patients, five diagnoses: Fleiss 1971, table 1."""


def test_fleiss_1971():
    table = np.array([[int(v) for v in row] for row in DIAGNOSES.split()])
    assert table.sum(axis=0).tolist() == [26, 26, 30, 55, 43]
    found = fleiss_kappa(table, counts=True)
    assert (found.observed, found.expected, found.value) == pytest.approx((0.555, 0.220, 0.430), abs=6e-4)
    assert found.by_label == pytest.approx([0.245, 0.245, 0.520, 0.471, 0.566], abs=6e-4)
    # irr::kappam.fleiss prints z = 17.7, with the variance of Fleiss, Nee and Landis 1979.
    assert found.value / found.se_null == pytest.approx(17.652, abs=6e-4)


def test_fleiss_cohen_everitt_1969():
    table = np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    i, j = np.indices((3, 3))
    found = cohen_kappa(np.repeat(i.ravel(), table.ravel()), np.repeat(j.ravel(), table.ravel()))
    assert (found.value, found.se) == pytest.approx((0.429, 0.054), abs=6e-4)
    # Without agreement: (pe + pe^2 - sum of p q (p + q)) / (n (1 - pe)^2) with shares .6 .3 .1 and .65 .25 .1.
    assert found.se_null == pytest.approx(np.sqrt((0.475 + 0.475**2 - 0.53075) / (200 * 0.525**2)))


SHROUT = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Four judges, six targets: Shrout and Fleiss 1979, table 2."""


@pytest.mark.parametrize(
    ("model", "kind", "unit", "expected"),
    [
        ("one-way", "agreement", "single", (0.17, -0.13, 0.72)),
        ("two-way random", "agreement", "single", (0.29, 0.02, 0.76)),
        ("two-way mixed", "consistency", "single", (0.71, 0.34, 0.95)),
        ("one-way", "agreement", "average", (0.44, -0.88, 0.91)),
        ("two-way random", "agreement", "average", (0.62, 0.07, 0.93)),
        ("two-way mixed", "consistency", "average", (0.91, 0.68, 0.99)),
    ],
)
def test_shrout_and_fleiss_1979(model, kind, unit, expected):
    found = icc(SHROUT, model, kind, unit)
    assert (found.value, found.lower, found.upper) == pytest.approx(expected, abs=5.1e-3)
    assert found.p == pytest.approx(0.16477 if model == "one-way" else 0.000135, abs=5e-6)


def test_bland_and_altman_1999():
    # Systolic pressure of 85 people: the paper gives mean and standard deviation, which is all the intervals use.
    d = np.random.default_rng(0).normal(size=85)
    d = -16.29 + 19.61 * (d - d.mean()) / d.std(ddof=1)
    found = bland_altman(d, np.zeros(85), method="approximate")
    assert (found.low.value, found.high.value) == pytest.approx((-54.7, 22.1), abs=0.06)
    assert (found.bias.lower, found.bias.upper) == pytest.approx((-20.5, -12.1), abs=0.06)
    # The paper rounds the error of a limit to 1.71 s / sqrt(n), hence the wider tolerance.
    assert (found.low.lower, found.low.upper) == pytest.approx((-61.9, -47.5), abs=0.11)
    assert (found.high.lower, found.high.upper) == pytest.approx((14.9, 29.3), abs=0.11)
