"""G of censoring: its definition, its left limit, its derivative by the weights, and where it refuses to be 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import CoxPHFitter
from numpy.testing import assert_allclose
from pandas import DataFrame
from sksurv.nonparametric import CensoringDistributionEstimator
from sksurv.util import Surv

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.ipcw import censoring_weights, distinct_times


def slow_g(event, time, weights, t, left):
    """The product-limit estimate, written as its definition."""
    out = 1.0
    for u in np.unique(time):
        if u < t or (u == t and not left):
            lost = weights[(time == u) & ~event].sum()
            at_risk = weights[(time > u) | ((time == u) & ~event)].sum()
            out *= 1 - lost / at_risk if at_risk > 0 else 1.0
    return out


@st.composite
def censored(draw, least=2):
    n = draw(st.integers(least, 25))
    step = draw(st.sampled_from([1.0, 0.37]))
    time = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))) * step
    event = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    weights = np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.25]), min_size=n, max_size=n)))
    return event, time, weights


@pytest.mark.parametrize("scale", [1.0, 0.5, 1e6])
def test_distinct_times_are_those_of_unique(scale):
    time = np.random.default_rng(1).integers(0, 50, 300) * scale
    times, place = distinct_times(time)
    expected, where = np.unique(time, return_inverse=True)
    assert (times == expected).all()
    assert (place == where).all()


@settings(deadline=None, max_examples=80)
@given(censored())
def test_g_is_its_definition(data):
    event, time, weights = data
    g = censoring_weights(event, time, weights)
    assert g.marginal
    assert_allclose(g.left, [slow_g(event, time, weights, t, True) for t in time], atol=1e-13)
    at = np.array([-1.0, 0.0, 1.0, 1.48, 2.5, 8.0, 99.0])
    assert_allclose(g.at(at), [slow_g(event, time, weights, t, False) for t in at], atol=1e-13)
    assert_allclose(g.before(at), [slow_g(event, time, weights, t, True) for t in at], atol=1e-13)


def test_g_agrees_with_scikit_survival_from_the_right():
    rng = np.random.default_rng(2)
    event, time = rng.random(200) < 0.5, rng.integers(1, 40, 200).astype(float)
    peer = CensoringDistributionEstimator().fit(Surv.from_arrays(event, time))
    at = np.arange(1.0, 35)
    assert_allclose(censoring_weights(event, time).at(at), peer.predict_proba(at), rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(censored(), st.booleans(), st.integers(0, 99))
def test_influence_is_the_derivative_by_the_weights(data, by_stratum, seed):
    event, time, weights = data
    rng = np.random.default_rng(seed)
    n = time.size
    strata = rng.integers(0, 2, n) if by_stratum else None
    times = np.array([0.0, 1.0, 2.22])

    def readings(w):
        found = censoring_weights(event, time, w, strata=strata)
        return found, found.left, found.at(times)

    g, left, at = readings(weights)
    h = np.where(left > 0, rng.normal(size=n), 0.0)
    k = np.where(at > 0, rng.normal(size=at.shape), 0.0)

    def estimate(w):
        _, a, b = readings(w)
        return h @ np.log(np.where(h != 0, a, 1)) + (k * np.log(np.where(k != 0, b, 1))).sum()

    found = g.influence(h, k, times)
    step = 1e-6
    for i in range(n):
        up, down = weights.copy(), weights.copy()
        up[i] += step
        down[i] -= step
        assert found[i] == pytest.approx(weights[i] * (estimate(up) - estimate(down)) / (2 * step), abs=2e-7)
    assert found.sum() == pytest.approx(0, abs=1e-10)


def test_influence_gives_greenwoods_variance():
    rng = np.random.default_rng(3)
    event, time = rng.random(300) < 0.5, rng.integers(1, 30, 300).astype(float)
    g = censoring_weights(event, time)
    psi = g.influence(at=[1.0], times=[15.0])
    total = 0.0
    for u in range(1, 16):
        lost, after = ((time == u) & ~event).sum(), (time > u).sum()
        total += lost / (after * (after + lost))
    assert psi @ psi == pytest.approx(total, rel=1e-10)


def test_training_rows_give_another_curve_and_are_taken_as_known():
    rng = np.random.default_rng(4)
    train = (rng.random(50) < 0.5, rng.integers(1, 20, 50).astype(float))
    event, time = np.array([1, 0, 1]), np.array([3.0, 8.0, 40.0])
    g = censoring_weights(event, time, train=train)
    ones = np.ones(50)
    assert_allclose(g.left[:2], [slow_g(*train, ones, t, True) for t in time[:2]])
    assert g.left[2] == 0
    assert g.at([5.0, 40.0])[1] == 0
    assert g.known
    assert not g.influence(np.ones(3)).any()
    assert "as known" in g.convention
    with pytest.raises(NotEstimableError, match="smaller tau"):
        g.check(np.array([False, False, True]))
    g.check(np.array([True, True, False]))


def test_strata_are_curves_of_their_own_rows():
    rng = np.random.default_rng(5)
    event, time = rng.random(80) < 0.5, rng.integers(1, 20, 80).astype(float)
    strata = np.array(["a", "b"])[rng.integers(0, 2, 80)]
    g = censoring_weights(event, time, strata=strata)
    at = g.at([4.0, 9.0])
    assert at.shape == (80, 2)
    assert not g.marginal
    for level in "ab":
        rows = strata == level
        alone = censoring_weights(event[rows], time[rows])
        assert_allclose(g.left[rows], alone.left)
        assert_allclose(at[rows], np.tile(alone.at([4.0, 9.0]), (rows.sum(), 1)))
    again = censoring_weights(event[:5], time[:5], strata=strata[:5], train=(event, time), train_strata=strata)
    assert_allclose(again.left, g.left[:5])
    assert_allclose(again.at([4.0]), at[:5, :1])


def test_cox_model_of_censoring_agrees_with_lifelines():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(150, 2))
    failure, lost = rng.exponential(size=150), rng.exponential(np.exp(-0.7 * x[:, 0]))
    event, time = failure <= lost, np.minimum(failure, lost)
    g = censoring_weights(event, time, covariates=x)
    frame = DataFrame({"a": x[:, 0], "b": x[:, 1], "t": time, "c": ~event})
    peer = CoxPHFitter().fit(frame, "t", "c", fit_options={"precision": 1e-12})
    at = np.quantile(time, [0.2, 0.5, 0.8])
    # Times are distinct, so Breslow's baseline there is Efron's.
    assert_allclose(g.at(at), peer.predict_survival_function(frame, at).to_numpy().T, rtol=1e-6)
    before = np.nextafter(time, 0)
    one = peer.predict_survival_function(frame.iloc[[7]], [before[7]]).to_numpy().item()
    assert g.left[7] == pytest.approx(one, rel=1e-6)
    assert g.before(time)[7, 7] == g.left[7]
    assert g.known
    again = censoring_weights(event[:9], time[:9], covariates=x[:9], train=(event, time), train_covariates=x)
    assert_allclose(again.left, g.left[:9])


def test_cox_model_lets_events_leave_first():
    # A row with an event at the time of a censoring is not at risk of it: only the other two rows are.
    rng = np.random.default_rng(8)
    event, time = rng.random(60) < 0.5, rng.integers(1, 8, 60).astype(float)
    x = rng.normal(size=60)
    g = censoring_weights(event, time, covariates=x)
    moved = censoring_weights(event, time - 0.5 * event, covariates=x)
    at = np.arange(1.0, 8.0)
    assert_allclose(g.at(at), moved.at(at), rtol=1e-9)
    assert_allclose(g.left, moved.left, rtol=1e-9)


def test_cox_model_has_efrons_baseline():
    rng = np.random.default_rng(9)
    event, time, x = rng.random(60) < 0.4, rng.integers(1, 6, 60).astype(float), rng.normal(size=60)
    at = np.arange(1.0, 5.0)
    hazard = -np.log(censoring_weights(event, time, covariates=x).at(at))
    beta = np.log(hazard[0, 0] / hazard[1, 0]) / (x[0] - x[1])
    expected, relative = 0.0, np.exp(beta * x)
    for u, found in zip(at, hazard.T, strict=True):
        lost = ~event & (time == u)
        at_risk = relative[(time > u) | lost].sum()
        for k in range(lost.sum()):
            expected += 1 / (at_risk - k / lost.sum() * relative[lost].sum())
        assert_allclose(found, expected * relative, rtol=1e-9)


def test_cox_model_without_a_fit_says_so():
    with pytest.raises(NotEstimableError, match="model of censoring has no fit"):
        censoring_weights([1, 0, 1, 0], [1, 1, 2, 3], covariates=np.ones(4))


def test_nothing_censored_gives_one():
    assert (censoring_weights([1, 1], [1, 2]).left == 1).all()
    assert (censoring_weights([1, 2], [1, 2], covariates=[0.0, 1.0]).left == 1).all()


def test_weights_are_repeated_rows():
    rng = np.random.default_rng(7)
    event, time = rng.random(40) < 0.6, rng.integers(1, 12, 40).astype(float)
    x = rng.normal(size=40)
    counts = rng.integers(1, 4, 40)
    twice = np.repeat(np.arange(40), counts)
    for more, again in (({}, {}), ({"covariates": x}, {"covariates": x[twice]})):
        g = censoring_weights(event, time, counts, **more)
        other = censoring_weights(event[twice], time[twice], **again)
        assert_allclose(g.left[twice], other.left, rtol=1e-9)


def test_refusals():
    with pytest.raises(DataError, match="both"):
        censoring_weights([1, 0], [1, 2], strata=[0, 1], covariates=[0, 1])
    with pytest.raises(DataError, match="parts"):
        censoring_weights([1, 0], [1, 2], train=([1],))
    with pytest.raises(DataError, match="train_strata"):
        censoring_weights([1, 0], [1, 2], strata=[0, 1], train=([1], [2]))
    with pytest.raises(DataError, match="no training row"):
        censoring_weights([1, 0], [1, 2], strata=[0, 1], train=([1], [2]), train_strata=[0])
    with pytest.raises(DataError, match="strata has shape"):
        censoring_weights([1, 0], [1, 2], strata=[0])
    with pytest.raises(DataError, match="train_covariates"):
        censoring_weights([1, 0], [1, 2], covariates=[0, 1], train=([1], [2]))
    with pytest.raises(DataError, match="same columns"):
        censoring_weights([1, 0], [1, 2], covariates=[0, 1], train=([1], [2]), train_covariates=[[1, 2]])
    with pytest.raises(DataError, match="whole"):
        censoring_weights([1, 0], [1, 2], [0.5, 1], covariates=[0, 1])
    with pytest.raises(DataError, match="covariates has shape"):
        censoring_weights([1, 0], [1, 2], covariates=[0, 1, 2])
    with pytest.raises(NotEstimableError, match="1 times"):
        censoring_weights([1, 0], [1, 2]).check(times=[1.0, 2.0])
