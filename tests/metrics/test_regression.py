"""The regressions of calibration: replicates together equal replicates alone, and hazards equal sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import NotEstimableError
from aimed.metrics.regression import (
    CoxRegression,
    fit_logistic,
    logistic,
    logistic_replicates,
    spline_knots,
    weighted_quantiles,
)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(20, 400))
@settings(deadline=None, max_examples=30)
def test_replicates_together_equal_each_alone(seed, q, n):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1)) * 3 + 1])
    y, offset, base = (rng.random(n) < 0.4) * 1.0, rng.normal(size=n), rng.uniform(0.5, 2, n)
    counts = rng.poisson(1, (n, 7)).astype(np.uint8)
    counts[:, 3] = 0
    try:
        start = fit_logistic(x, y, base, offset)
    except NotEstimableError:
        return
    together = logistic_replicates(x, y, offset, base, np.arange(n), counts, start)
    assert np.isnan(together[:, 3]).all()
    for j in (0, 1, 2, 4, 5, 6):
        try:
            alone = fit_logistic(x, y, base * counts[:, j], offset)
        except NotEstimableError:
            assert np.isnan(together[:, j]).all()
            continue
        if np.abs(alone).max() > 25:
            # Separated draws have no finite fit: where the steps stop depends on where they began.
            continue
        assert together[:, j] == pytest.approx(alone, rel=1e-8, abs=1e-8)
        single = logistic_replicates(x, y, offset, base, np.arange(n), counts[:, [j]], start)
        assert single[:, 0].tolist() == together[:, j].tolist()


def test_model_covariance_is_the_inverse_information():
    y = np.array([0.0, 1, 1, 1])
    assert logistic(np.ones((4, 1)), y, np.ones(4)).covariance[0, 0] == pytest.approx(4 / 3)


def test_knots_by_weight_equal_those_of_repeated_rows():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=300), rng.integers(1, 4, 300)
    again = np.repeat(x, w)
    for k in (3, 4, 5):
        assert spline_knots(x, k, w.astype(float)) == pytest.approx(spline_knots(again, k), abs=1e-12)
    assert spline_knots(x, 4, np.ones(300)) == pytest.approx(spline_knots(x, 4), abs=1e-14)
    half = weighted_quantiles(np.repeat(x, 2), np.repeat(w / 2, 2), np.array([0.1, 0.5]))
    assert half == pytest.approx(weighted_quantiles(x, w.astype(float), np.array([0.1, 0.5])))


@pytest.fixture
def rows():
    rng = np.random.default_rng(2)
    event, time, x = rng.random(60) < 0.6, rng.integers(1, 10, 60) * 1.0, rng.normal(size=(60, 2))
    return CoxRegression(event, time, x), event, time, x


def test_hazard_sums_efrons_terms(rows):
    model, event, time, x = rows
    beta, total = np.array([0.4, -0.2]), 0.0
    h = np.exp((x - model.centre) @ beta)
    for t in np.unique(time[event]):
        if t <= 6:
            dying, d = event & (time == t), (event & (time == t)).sum()
            total += sum(1 / (h[time >= t].sum() - r / d * h[dying].sum()) for r in range(d))
    assert model.baseline_hazard(beta, np.ones(60), 6.0) == pytest.approx(total, rel=1e-12)
    value, slope = model.hazard(beta, np.ones(60), 6.0)
    for a in range(2):
        up, down = (model.baseline_hazard(beta + s * 1e-6 * np.eye(2)[a], np.ones(60), 6.0) for s in (1, -1))
        assert slope[a] == pytest.approx((up - down) / 2e-6, rel=1e-6)
    assert value == pytest.approx(total)


def test_hazard_influence_is_the_derivative_by_the_weight(rows):
    model, *_ = rows
    beta = np.array([0.4, -0.2])
    direct = model.influence(beta, np.ones(60), 6.0)[1]
    for i in range(0, 60, 5):
        change = np.zeros(60)
        change[i] = 1e-5
        up, down = (model.baseline_hazard(beta, 1 + s * change, 6.0) for s in (1, -1))
        assert direct[i] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-10)


def test_halved_weights_of_duplicated_rows_change_nothing(rows):
    model, event, time, x = rows
    twice = np.repeat(np.arange(60), 2)
    copy = CoxRegression(event[twice], time[twice], x[twice])
    half = np.full(120, 0.5)
    assert copy.fit(half) == pytest.approx(model.fit(np.ones(60)), abs=1e-10)
    assert copy.baseline_hazard(np.ones(2), half, 5.0) == pytest.approx(
        model.baseline_hazard(np.ones(2), np.ones(60), 5.0), rel=1e-10
    )
    assert model.survival(np.ones(60), 5.0) == pytest.approx(copy.survival(half, 5.0), rel=1e-12)


def test_no_event_is_refused(rows):
    model, event, *_ = rows
    with pytest.raises(NotEstimableError, match="no event"):
        model.fit((~event).astype(float))
