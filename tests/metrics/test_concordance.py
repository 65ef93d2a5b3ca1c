"""Concordance against its definition pair by pair, its errors against differences and simulation, its refusals."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.concordance import (
    HarrellReplicates,
    UnoReplicates,
    cause_specific_c,
    concordance_pairs,
    concordance_test,
    harrell_c,
    uno_c,
)
from aimed.metrics.draws import PatientDraws
from aimed.metrics.ipcw import censoring_weights
from aimed.metrics.result import clustered_variance, limits

pytestmark = pytest.mark.filterwarnings("ignore:.*without tau")


def rank(score, i, j):
    return (score[i] > score[j]) + 0.5 * (score[i] == score[j])


def g_of(event, time, weights):
    """G(t-) and G(t), as the product-limit definition has them."""

    def g(t, before):
        out = 1.0
        for u in np.unique(time):
            if u < t or (u == t and not before):
                lost = weights[(time == u) & (event == 0)].sum()
                after = weights[time > u].sum()
                out *= after / (after + lost) if lost > 0 else 1.0
        return out

    return g


def slow_c(event, time, score, weights, factor, strata=None):
    """Every pair, one by one; `factor` weighs the pair by its earlier time."""
    right = total = 0.0
    for i in np.flatnonzero(event):
        for j in range(time.size):
            later = time[j] > time[i] or (time[j] == time[i] and not event[j])
            if later and (strata is None or strata[i] == strata[j]) and weights[i] * weights[j] > 0:
                pair = weights[i] * weights[j] * factor(i)
                right += pair * rank(score, i, j)
                total += pair
    return right / total if total else np.nan


def slow_cause(event, time, score, cause, tau, weights):
    g = g_of(event, time, weights)
    right = total = 0.0
    for i in np.flatnonzero((event == cause) & (time <= tau) & (weights > 0)):
        for j in np.flatnonzero(weights > 0):
            pair = weights[i] * weights[j]
            if time[j] > time[i] or (time[j] == time[i] and event[j] == 0):
                pair /= g(time[i], True) ** 2
            elif event[j] not in (0, cause):
                pair /= g(time[i], True) * g(time[j], True)
            else:
                continue
            right += pair * rank(score, i, j)
            total += pair
    return right / total if total else np.nan


@st.composite
def followed(draw, causes=1):
    n = draw(st.integers(2, 24))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    event = rng.integers(0, causes + 1, n) * (rng.random(n) < draw(st.sampled_from([0.0, 0.2, 0.8, 1.0])))
    time = rng.integers(0, draw(st.sampled_from([2, 8, 400])), n) * draw(st.sampled_from([1.0, 0.3]))
    score = rng.integers(0, draw(st.sampled_from([1, 4, 1000])), n) * 1e-9
    weights = rng.choice([0.5, 1.0, 2.0, 3.0], n) if draw(st.booleans()) else np.ones(n)
    return event, time, score, weights, rng


def value_or_nan(metric, *args, **more):
    try:
        return float(metric(*args, **more))
    except NotEstimableError:
        return np.nan


@settings(deadline=None, max_examples=150)
@given(followed(), st.booleans())
def test_harrell_is_its_definition(data, stratified):
    event, time, score, weights, rng = data
    strata = rng.integers(0, 3, time.size) if stratified else None
    expected = slow_c(event, time, score, weights, lambda i: 1.0, strata)
    found = value_or_nan(harrell_c, event, time, score, weights, strata=strata)
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)
    pairs = concordance_pairs(event, time, score, strata=strata)
    ones = np.ones(time.size)
    assert float(pairs) == pytest.approx(slow_c(event, time, score, ones, lambda i: 1.0, strata), nan_ok=True)
    if not stratified:
        both = [(i, j) for i in range(time.size) for j in range(i) if event[i] and event[j] and time[i] == time[j]]
        assert pairs.tied_both == sum(score[i] == score[j] for i, j in both)
        assert pairs.tied_time == len(both) - pairs.tied_both


@settings(deadline=None, max_examples=120)
@given(followed(), st.sampled_from([None, 0.9, 3.0, 100.0]))
def test_uno_is_its_definition(data, tau):
    event, time, score, weights, _ = data
    end, g = np.inf if tau is None else tau, g_of(event, time, weights)

    def factor(i):
        return 1 / g(time[i], True) ** 2 if time[i] <= end else 0.0

    found = value_or_nan(uno_c, event, time, score, tau, weights)
    assert found == pytest.approx(slow_c(event, time, score, weights, factor), rel=1e-10, nan_ok=True)


@settings(deadline=None, max_examples=120)
@given(followed(causes=3), st.sampled_from([0.9, 3.0, 100.0]))
def test_cause_specific_is_its_definition(data, tau):
    event, time, score, weights, _ = data
    found = value_or_nan(cause_specific_c, event, time, score, 2, tau, weights)
    assert found == pytest.approx(slow_cause(event, time, score, 2, tau, weights), rel=1e-10, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(followed())
def test_one_cause_is_uno(data):
    event, time, score, weights, _ = data
    found = value_or_nan(cause_specific_c, event, time, score, 1, None, weights)
    assert found == pytest.approx(value_or_nan(uno_c, event, time, score, None, weights), rel=1e-12, nan_ok=True)


METRICS = {
    "harrell": lambda e, t, s, w: harrell_c(e > 0, t, s, w),
    "stratified": lambda e, t, s, w: harrell_c(e > 0, t, s, w, strata=np.arange(t.size) % 3),
    "uno": lambda e, t, s, w: uno_c(e > 0, t, s, 6.0, w),
    "uno no tau": lambda e, t, s, w: uno_c(e > 0, t, s, None, w),
    "cause": lambda e, t, s, w: cause_specific_c(e, t, s, 1, 6.0, w),
    "uno test": lambda e, t, s, w: concordance_test(e > 0, t, s, np.sin(1e3 * s), w, tau=6.0),
    "harrell test": lambda e, t, s, w: concordance_test(e > 0, t, s, np.sin(1e3 * s), w),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_influence_is_the_derivative_by_the_weights(name, seed):
    rng = np.random.default_rng(seed)
    n = 40
    event, time = rng.integers(0, 3, n), rng.integers(1, [9, 1000][seed % 2], n) * [1.0, 0.01][seed % 2]
    score = np.round(rng.normal(size=n) - time / 4, 1)
    weights = np.ones(n) if seed < 2 else rng.choice([0.5, 1.0, 2.0], n)
    metric = METRICS[name]
    found = metric(event, time, score, weights)
    step = 1e-5
    for i in range(n):
        up, down = weights.copy(), weights.copy()
        up[i] += step
        down[i] -= step
        slope = (float(metric(event, time, score, up)) - float(metric(event, time, score, down))) / (2 * step)
        assert found.influence[i] == pytest.approx(weights[i] * slope, abs=1e-8)
    assert found.influence.sum() == pytest.approx(0, abs=1e-13)
    assert found.se == pytest.approx(np.sqrt((found.influence**2).sum()), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_invariances(name):
    rng = np.random.default_rng(7)
    n = 60
    event, time = rng.integers(0, 3, n), rng.integers(1, 12, n).astype(float)
    score, weights = rng.integers(0, 15, n) / 7, rng.choice([1.0, 2.0], n)
    metric = METRICS[name]
    found = metric(event, time, score, weights)
    if "stratified" not in name:
        order = rng.permutation(n)
        moved = metric(event[order], time[order], score[order], weights[order])
        assert moved.value == pytest.approx(found.value, rel=1e-12)
        assert_allclose(moved.influence, found.influence[order], atol=1e-14)
    twice = np.tile(np.arange(n), 2)
    halved = metric(event[twice], time[twice], score[twice], weights[twice] / 2)
    if "stratified" not in name:
        assert halved.value == pytest.approx(found.value, rel=1e-12)
        assert clustered_variance(halved.influence, twice) == pytest.approx(found.se**2, rel=1e-10)
    if "test" not in name:
        assert metric(event, time, np.exp(3 * score), weights).value == found.value
        assert metric(event, time, -score, weights).value == pytest.approx(1 - found.value, rel=1e-12)


def test_whole_weights_are_repeated_rows():
    rng = np.random.default_rng(8)
    n = 50
    event, time, score = rng.integers(0, 3, n), rng.integers(1, 20, n).astype(float), rng.integers(0, 9, n)
    counts = rng.integers(0, 4, n)
    again = np.repeat(np.arange(n), counts)
    e, t, s = event[again], time[again], score[again]
    assert harrell_c(event > 0, time, score, counts).value == harrell_c(e > 0, t, s).value
    assert uno_c(event > 0, time, score, 15, counts) == pytest.approx(uno_c(e > 0, t, s, 15).value, rel=1e-12)
    assert cause_specific_c(event, time, score, 1, 15, counts) == pytest.approx(
        cause_specific_c(e, t, s, 1, 15).value, rel=1e-12
    )


def test_uno_by_stratum_and_by_cox_are_their_definition():
    rng = np.random.default_rng(9)
    n = 40
    x = rng.normal(size=n)
    event, time = rng.random(n) < 0.6, rng.integers(1, 15, n).astype(float)
    score, weights = rng.integers(0, 9, n), rng.choice([1.0, 2.0], n)
    for more in ({"strata": x > 0}, {"covariates": x}):
        censoring = censoring_weights(event, time, weights, **more)
        before = censoring.before(time)
        right = total = 0.0
        for i in np.flatnonzero(event & (time <= 9)):
            for j in range(n):
                if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                    pair = weights[i] * weights[j] / (before[i, i] * before[j, i])
                    right += pair * rank(score, i, j)
                    total += pair
        found = uno_c(event, time, score, 9, weights, censoring=censoring)
        assert found.value == pytest.approx(right / total, rel=1e-12)
        assert found.influence.sum() == pytest.approx(0, abs=1e-13)
        assert "included" not in found.method
    # One stratum for all is the marginal curve.
    one = uno_c(event, time, score, 9, weights, censoring=censoring_weights(event, time, weights, strata=np.ones(n)))
    assert one.value == pytest.approx(uno_c(event, time, score, 9, weights).value, rel=1e-12)


def test_dependent_censoring_needs_its_covariate():
    rng = np.random.default_rng(10)
    n = 4000
    x = rng.integers(0, 2, n)
    z = rng.normal(size=n)
    failure = rng.exponential(np.exp(-1.5 * x - 0.3 * z))
    lost = np.where(x == 1, rng.exponential(0.15, n), 9.0)
    time, event = np.minimum(failure, lost), failure <= lost
    truth = uno_c(np.ones(n), failure, z + 4 * x, 0.5).value
    plain = uno_c(event, time, z + 4 * x, 0.5).value
    right = uno_c(event, time, z + 4 * x, 0.5, censoring=censoring_weights(event, time, strata=x))
    assert abs(right.value - truth) < 2.5 * right.se
    assert abs(right.value - truth) < abs(plain - truth) / 2


def test_training_rows():
    rng = np.random.default_rng(11)
    n = 60
    event, time, score = rng.random(n) < 0.5, rng.integers(1, 15, n).astype(float), rng.normal(size=n)
    train = (rng.random(200) < 0.5, rng.integers(1, 13, 200).astype(float))
    g = censoring_weights(event, time, train=train).left
    found = uno_c(event, time, score, 9, train=train)
    expected = slow_c(event, time, score, np.ones(n), lambda i: g[i] ** -2.0 if time[i] <= 9 else 0.0)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert "training rows" in found.method
    # Beyond the training rows nothing is known of G; they do not contribute at tau = 9.
    with pytest.raises(NotEstimableError, match="smaller tau"):
        uno_c(event, time, score, 14, train=train)
    with pytest.raises(NotEstimableError, match="smaller tau"):
        cause_specific_c(event, time, score, 1, 14, train=train)


def test_g_of_zero_matters_only_where_it_contributes():
    train = ([1, 0, 0], [1.0, 2.0, 3.0])
    # The last event has no later row: G = 0 there is never divided by.
    assert uno_c([1, 0, 1], [1, 2, 5], [3, 1, 2], 9, train=train).value == 1
    with pytest.raises(NotEstimableError, match="smaller tau"):
        uno_c([1, 0, 1, 0], [1, 2, 5, 5], [3, 1, 2, 1], 9, train=train)
    assert uno_c([1, 0, 1, 0], [1, 2, 5, 5], [3, 1, 2, 1], None).value == 1


def test_interval_is_missing_where_nothing_varies():
    for found in (harrell_c([1, 1, 0], [1, 2, 3], [3, 2, 1]), harrell_c([1, 1, 0], [1, 2, 3], [1, 1, 1])):
        assert np.isnan([found.lower, found.upper, found.se]).all()
        assert "no interval" in found.note
    assert harrell_c([1, 1, 0], [1, 2, 3], [1, 1, 1]) == 0.5
    one = harrell_c([1, 1, 0, 1], [1, 2, 3, 4], [3, 2, 4, 1], patient=["a"] * 4)
    assert np.isnan(one.se)
    same = concordance_test([1, 1, 0], [1, 2, 3], [3, 1, 2], [3, 1, 2])
    assert same == 0
    assert same.p is None


def test_difference_is_that_of_the_two():
    rng = np.random.default_rng(12)
    n = 200
    event, time, a = rng.random(n) < 0.6, rng.exponential(size=n), rng.normal(size=n)
    b = a + rng.normal(size=n)
    patient = np.arange(n) // 2
    for tau, one in ((None, harrell_c), (1.0, lambda e, t, s, **k: uno_c(e, t, s, 1.0, **k))):
        found = concordance_test(event, time, a, b, tau=tau, patient=patient)
        first, second = (one(event, time, s, patient=patient) for s in (a, b))
        assert found.value == first.value - second.value
        assert found.se**2 == pytest.approx(clustered_variance(first.influence - second.influence, patient))
        assert found.lower < found.value < found.upper
    flipped = concordance_test(event, time, b, a)
    assert flipped.value == -concordance_test(event, time, a, b).value


def test_refusals():
    with pytest.raises(NotEstimableError, match="no usable pair"):
        harrell_c([0, 0], [1, 2], [1, 2])
    with pytest.raises(NotEstimableError, match="no usable pair"):
        harrell_c([1, 1], [2, 2], [1, 2], [1.0, 2.0])
    with pytest.raises(NotEstimableError, match="no usable pair"):
        harrell_c([1, 0], [1, 2], [1, 2], strata=["a", "b"])
    with pytest.raises(NotEstimableError, match="up to tau"):
        uno_c([1, 0], [3, 4], [1, 2], 2)
    with pytest.raises(NotEstimableError, match="of the cause"):
        cause_specific_c([2, 0], [1, 2], [1, 2], 1, 2)
    with pytest.raises(DataError, match="tau is not positive"):
        uno_c([1, 0], [3, 4], [1, 2], 0)
    with pytest.raises(DataError, match="both train and censoring"):
        uno_c([1, 0], [3, 4], [1, 2], 3, train=([1], [1]), censoring=censoring_weights([1, 0], [3, 4]))
    with pytest.raises(DataError, match="censoring is of 3 rows"):
        uno_c([1, 0], [3, 4], [1, 2], 3, censoring=censoring_weights([1, 0, 1], [3, 4, 5]))
    with pytest.raises(DataError, match="other times"):
        uno_c([1, 0], [3, 4], [1, 2], 3, censoring=censoring_weights([1, 0], [3, 5]))
    with pytest.raises(DataError, match="whole numbers"):
        cause_specific_c([0.5, 0], [3, 4], [1, 2], 1, 3)
    with pytest.raises(DataError, match="cause is 0"):
        cause_specific_c([1, 0], [3, 4], [1, 2], 0, 3)
    with pytest.raises(DataError, match="without tau"):
        concordance_test([1, 0], [3, 4], [1, 2], [2, 1], train=([1], [1]))
    with pytest.raises(DataError, match="strata was given with tau"):
        concordance_test([1, 0], [3, 4], [1, 2], [2, 1], tau=3, strata=[1, 1])
    with pytest.raises(DataError, match="strata has shape"):
        harrell_c([1, 0], [3, 4], [1, 2], strata=[1])


@pytest.mark.filterwarnings("always:.*without tau")
def test_uno_without_tau_warns_once():
    for call in (uno_c, cause_specific_c):
        with pytest.warns(UserWarning, match="unstable") as caught:
            call([1, 1, 0], [1, 2, 3], [3, 1, 2])
        assert len(caught) == 1
        assert caught[0].filename == __file__


@settings(deadline=None, max_examples=60)
@given(followed(), st.sampled_from([None, 2.0, 50.0]), st.integers(1, 16))
def test_replicates_are_weighted_metrics(data, tau, draws):
    event, time, score, _, rng = data
    codes = np.unique(rng.integers(0, time.size, time.size), return_inverse=True)[1]
    counts = rng.poisson(1, (codes.max() + 1, draws)).astype(np.uint8)
    assume(counts[codes].any(axis=0).all())
    harrell = HarrellReplicates(event, time, score, codes=codes).replicate(counts)
    uno = UnoReplicates(event, time, score, tau, codes=codes).replicate(counts)
    assert harrell.shape == uno.shape == (draws,)
    for b in range(draws):
        w = counts[codes, b]
        assert harrell[b] == pytest.approx(value_or_nan(harrell_c, event, time, score, w), abs=0, rel=0, nan_ok=True)
        assert uno[b] == pytest.approx(value_or_nan(uno_c, event, time, score, tau, w), rel=1e-12, nan_ok=True)


def test_tau_itself_counts():
    event, time, score = np.array([1, 0, 1, 1, 0]), np.array([1.0, 2.0, 3.0, 3.5, 4.0]), np.array([5, 1, 2, 4, 3])
    counts = np.ones((5, 1), dtype=np.uint8)
    for metric in (
        lambda tau: uno_c(event, time, score, tau).value,
        lambda tau: cause_specific_c(event, time, score, 1, tau).value,
        lambda tau: UnoReplicates(event, time, score, tau, codes=np.arange(5)).replicate(counts)[0],
    ):
        assert metric(3.0) == pytest.approx(metric(3.4))
        assert metric(3.0) != pytest.approx(metric(2.9))


def test_replicates_run_in_threads_with_the_same_bits():
    rng = np.random.default_rng(13)
    n = 500
    event, time, score = rng.random(n) < 0.4, rng.exponential(size=n), rng.normal(size=n)
    patient = rng.integers(0, 200, n)
    runs = []
    for threads in (1, 3):
        draws = PatientDraws(patient, n, draws=100, seed=1, threads=threads)
        runs.append(draws.map(UnoReplicates(event, time, score, 1.0, codes=draws.codes).replicate))
    assert (runs[0] == runs[1]).all()
    jackknife = uno_c(event, time, score, 1.0, patient=patient).se
    assert runs[0].std() == pytest.approx(jackknife, rel=0.25)


def simulated(rng, n, patients=None):
    """A proportional hazards model with a known score; rows of one patient share a frailty and most of the score."""
    own = rng.normal(size=n) if patients is None else np.repeat(rng.normal(size=patients), n // patients)
    score = own if patients is None else own + 0.3 * rng.normal(size=n)
    luck = np.ones(n) if patients is None else np.repeat(rng.gamma(1.0, size=patients), n // patients)
    failure = rng.exponential(np.exp(-0.7 * score)) / luck
    lost = np.minimum(rng.exponential(2.0, n), 3.0)
    return failure <= lost, np.minimum(failure, lost), score


def competing(rng, n):
    score = rng.normal(size=n)
    one, two = rng.exponential(np.exp(-0.7 * score)), rng.exponential(np.exp(0.3 * score))
    lost = rng.exponential(2.0, n)
    time = np.minimum(np.minimum(one, two), lost)
    return np.where(time == one, 1, np.where(time == two, 2, 0)), time, score


COVERED = {
    "harrell": (harrell_c, simulated),
    "uno": (lambda e, t, s: uno_c(e, t, s, 1.0), simulated),
    "cause": (lambda e, t, s: cause_specific_c(e, t, s, 1, 0.7), competing),
}


def coverage(name, runs, n, seed=14):
    metric, make = COVERED[name]
    rng = np.random.default_rng(seed)
    truth = metric(*make(rng, 200_000)).value
    found = [metric(*make(rng, n)) for _ in range(runs)]
    inside = np.mean([f.lower <= truth <= f.upper for f in found])
    return inside, np.mean([f.se for f in found]) / np.std([f.value for f in found])


@pytest.mark.parametrize("name", COVERED)
def test_coverage(name):
    inside, ratio = coverage(name, 400, 200)
    assert 0.92 <= inside <= 0.98
    assert ratio == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize("n", [100, 400])
def test_coverage_with_many_runs(name, n):
    inside, ratio = coverage(name, 4000, n, seed=15)
    assert 0.93 <= inside <= 0.97
    assert ratio == pytest.approx(1, abs=0.04)


def test_clustered_coverage():
    rng = np.random.default_rng(16)
    patients, per = 100, 4
    truth = harrell_c(*simulated(rng, 200_000, 50_000)).value
    inside, plain = [], []
    patient = np.repeat(np.arange(patients), per)
    for _ in range(400):
        data = simulated(rng, patients * per, patients)
        clustered, naive = harrell_c(*data, patient=patient), harrell_c(*data)
        inside.append(clustered.lower <= truth <= clustered.upper)
        plain.append(naive.lower <= truth <= naive.upper)
    assert 0.91 <= np.mean(inside) <= 0.975
    assert np.mean(plain) < 0.88


def test_difference_keeps_its_level():
    rng = np.random.default_rng(17)
    p = []
    for _ in range(400):
        event, time, score = simulated(rng, 150)
        noise = rng.normal(size=(2, 150))
        p.append(concordance_test(event, time, score + noise[0], score + noise[1], tau=1.0).p)
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_intervals_rest_on_the_events_and_patients():
    event, time = np.r_[1, 1, 1, np.zeros(37, int)], np.arange(1.0, 41.0)
    score, other = np.cos(time), np.sin(time)
    every = (harrell_c(event, time, score), uno_c(event, time, score, 40), cause_specific_c(event, time, score, tau=40))
    for found in every:
        assert found.events == 3
        assert found.lower == pytest.approx(float(limits(found.value, found.se, 0.95, (0, 1), "logit", 3)[0]))
        assert "only 3 independent units" in found.note
    clustered = harrell_c(event, time, score, patient=np.arange(40) % 2)
    assert clustered.upper == pytest.approx(float(limits(clustered.value, clustered.se, 0.95, (0, 1), "logit", 2)[1]))
    difference = concordance_test(event, time, score, other)
    assert difference.upper == pytest.approx(float(limits(difference.value, difference.se, 0.95, (-1, 1), units=3)[1]))
    assert difference.p > 2 * NormalDist().cdf(-abs(difference / difference.se))
    one = harrell_c([1, 0, 0, 0], [1, 2, 3, 4], [0.3, 0.1, 0.5, 0.2])
    assert np.isnan(one.lower)
    assert one.note == "no interval: one unit only"
    assert harrell_c(event, time, -time).note.startswith("no interval")
