"""Fine-Gray, cause-specific Cox and Gray's test: what they maximise, what they refuse, what their intervals count."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.metrics import aalen_johansen, log_rank
from aimed.prognosis.cause_specific_cox import CauseSpecificCox
from aimed.prognosis.competing import as_competing
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.fine_gray import FineGray
from aimed.prognosis.gray import gray_test


def outcome(codes, time):
    y = np.empty(len(time), dtype=[("event", np.int64), ("time", float)])
    y["event"], y["time"] = codes, time
    return y


def sample(n=150, p=2, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * [1.0, 4.0, 0.2][:p] + 3
    b = (X - 3) @ np.array([[0.5, -0.3], [-0.1, 0.1], [1.0, 0.0]])[:p]
    times = np.column_stack([rng.exponential(20 * np.exp(-b[:, 0])), rng.exponential(30 * np.exp(-b[:, 1])),
                             rng.exponential(25, n)])  # fmt: skip
    time = times.min(axis=1)
    return X, outcome((times.argmin(axis=1) + 1) % 3, np.ceil(time) if ties else time)


def censoring(time, codes, weights, s):
    """Return the chance of being uncensored just before s."""
    out = 1.0
    for u in np.unique(time[codes == 0]):
        if u < s:
            out *= 1 - weights[(time == u) & (codes == 0)].sum() / weights[time >= u].sum()
    return out


def slow_loglik(beta, X, y, cause, weights):
    """Return the log pseudo-likelihood, written as in the paper."""
    codes, time, eta, total = y["event"], y["time"], X @ beta, 0.0
    left = np.array([censoring(time, codes, weights, s) for s in time])
    for i in np.flatnonzero(codes == cause):
        still = time >= time[i]
        gone = ~still & (codes > 0) & (codes != cause)
        sums = (weights * np.exp(eta))[still].sum() + (weights * np.exp(eta) * left[i] / left)[gone].sum()
        total += weights[i] * (eta[i] - np.log(sums))
    return total


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("penalty", [0.0, 7.0])
def test_the_maximum_of_the_paper_s_likelihood(ties, penalty):
    X, y = sample(n=80, ties=ties)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, 80)
    model = FineGray(cause=1, penalty=penalty).fit(X, y, sample_weight=weights)

    def goal(beta):
        return slow_loglik(beta, X, y, 1, weights) - penalty / 2 * beta @ beta

    assert model.loglik_[1] == pytest.approx(slow_loglik(model.coef_, X, y, 1, weights), abs=1e-9)
    assert model.loglik_[0] == pytest.approx(slow_loglik(np.zeros(2), X, y, 1, weights), abs=1e-9)
    steps = np.eye(2) * [[1e-4], [1e-4]]
    for step in steps:
        assert (goal(model.coef_ + step) - goal(model.coef_ - step)) / 2e-4 == pytest.approx(0, abs=1e-5)
    if penalty:
        assert np.isnan(model.standard_errors_).all()
        return
    hessian = np.array([[
        goal(model.coef_ + a + b) - goal(model.coef_ + a - b) - goal(model.coef_ - a + b) + goal(model.coef_ - a - b)
        for a in steps] for b in steps]) / 4e-8  # fmt: skip
    np.testing.assert_allclose(np.linalg.inv(-hessian), model.naive_covariance_, rtol=1e-3)


def test_intervals_are_the_infinitesimal_jackknife_with_the_censoring_curve():
    """Each row's influence, found by moving its weight a little."""
    X, y = sample(n=150, ties=False)
    # Early and much censoring that depends on nothing: the censoring curve matters, while many are at risk.
    lost = np.random.default_rng(8).uniform(0, 12, 150)
    y["event"] = np.where(lost < y["time"], 0, np.where(y["event"] == 0, 2, y["event"]))
    y["time"] = np.minimum(y["time"], lost)
    times, row = np.array([3.0, 6.0, 9.0]), np.array([[4.0, 5.0]])

    def at(weights):
        model = FineGray().fit(X, y, sample_weight=weights)
        risk = model.predict_cumulative_incidence(row, times)[0]
        return np.concatenate((model.coef_, np.log(-np.log1p(-risk))))

    moves = []
    for i in range(150):
        step = np.zeros(150)
        step[i] = 1e-4
        moves.append((at(1 + step) - at(1 - step)) / 2e-4)
    covariance = np.array(moves).T @ np.array(moves)
    model = FineGray().fit(X, y)
    np.testing.assert_allclose(model.covariance_, covariance[:2, :2], rtol=1e-4)
    lower, upper = model.incidence_interval(row, times)
    width = np.log(-np.log1p(-upper[0])) - np.log(-np.log1p(-lower[0]))
    np.testing.assert_allclose(width, 2 * 1.959963985 * np.sqrt(np.diag(covariance)[2:]), rtol=1e-4)


@pytest.mark.parametrize("ties", [True, False])
def test_one_cluster_a_row_changes_nothing_and_repeated_rows_in_one_cluster_are_one(ties):
    X, y = sample(ties=ties)
    plain, own = FineGray().fit(X, y), FineGray().fit(X, y, cluster=np.arange(len(y)))
    np.testing.assert_allclose(own.covariance_, plain.covariance_, rtol=1e-10)
    times = [2.0, 5.0, 20.0]
    np.testing.assert_allclose(own.incidence_interval(X, times), plain.incidence_interval(X, times), rtol=1e-9)
    count = np.random.default_rng(2).integers(1, 4, len(y))
    rows = np.repeat(np.arange(len(y)), count)
    weighted = FineGray().fit(X, y, sample_weight=count)
    twice = FineGray().fit(X[rows], y[rows], cluster=rows)
    np.testing.assert_allclose(twice.coef_, weighted.coef_, rtol=1e-9)
    np.testing.assert_allclose(twice.covariance_, weighted.covariance_, rtol=1e-9)
    np.testing.assert_allclose(twice.incidence_interval(X, times), weighted.incidence_interval(X, times), rtol=1e-8)


def test_without_other_events_it_is_cox_s_model():
    X, y = sample()
    y["event"] = y["event"] == 1
    target = np.empty(len(y), dtype=[("event", bool), ("time", float)])
    target["event"], target["time"] = y["event"] == 1, y["time"]
    cox, model = CoxPH(ties="breslow").fit(X, target), FineGray().fit(X, y)
    np.testing.assert_allclose(model.coef_, cox.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.naive_covariance_, cox.covariance_, rtol=1e-6)
    times = [1.0, 5.0, 30.0]
    np.testing.assert_allclose(
        1 - model.predict_cumulative_incidence(X, times), cox.predict_survival_function(X, times=times), rtol=1e-8
    )


def test_row_order_units_and_shifts_change_nothing():
    X, y = sample()
    plain = FineGray().fit(X, y)
    order = np.random.default_rng(3).permutation(len(y))
    moved = y[order].copy()
    moved["time"] *= 1 / 365.25
    other = FineGray().fit(X[order] * [1e6, 1e-6] + [1e7, 0], moved)
    np.testing.assert_allclose(other.coef_ * [1e6, 1e-6], plain.coef_, rtol=1e-6)
    np.testing.assert_allclose(
        other.predict_cumulative_incidence(X * [1e6, 1e-6] + [1e7, 0], np.array([5, 10]) / 365.25),
        plain.predict_cumulative_incidence(X, [5, 10]), rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(np.diag(other.covariance_) * [1e12, 1e-12], np.diag(plain.covariance_), rtol=1e-6)
    relabelled = outcome(np.array([0, 3, 1])[y["event"]], y["time"])
    np.testing.assert_allclose(FineGray(cause=3, causes=3).fit(X, relabelled).coef_, plain.coef_, rtol=1e-12)


@pytest.mark.parametrize("step_events", [1, 5])
def test_incidence_rises_from_0_stays_a_probability_and_lies_in_its_interval(step_events):
    X, y = sample(n=200)
    model = FineGray(step_events=step_events).fit(X, y)
    grid = np.linspace(0, 100, 300)
    curves = model.predict_cumulative_incidence(X, grid)
    assert (curves[:, 0] == 0).all()
    assert (np.diff(curves, axis=1) >= 0).all()
    assert (curves <= 1).all()
    lower, upper = model.incidence_interval(X, grid)
    assert ((lower <= curves) & (curves <= upper)).all()
    assert (upper[:, -1] > curves[:, -1]).all()
    assert model.score(X, y) > 0.55


def test_a_packaged_model_is_close_to_the_plain_one_and_keeps_no_event_time():
    X, y = sample(n=300, ties=False)
    plain, coarse = FineGray().fit(X, y), FineGray(step_events=5).fit(X, y)
    times = np.linspace(2, 40, 20)
    gap = np.abs(plain.predict_cumulative_incidence(X, times) - coarse.predict_cumulative_incidence(X, times))
    assert 0 < gap.max() < 0.05
    gap = np.abs(np.subtract(plain.incidence_interval(X, times), coarse.incidence_interval(X, times)))
    assert gap.max() < 0.06
    text = json.dumps(coarse.to_state())
    assert not any(repr(float(t)) in text for t in y["time"])
    assert any(repr(float(t)) in json.dumps(plain.to_state()) for t in y["time"])


@pytest.mark.parametrize("model", [FineGray(), FineGray(penalty=2.0), FineGray(step_events=4), CauseSpecificCox()])
def test_state_is_json_and_gives_the_same_model(model):
    X, y = sample()
    model = clone(model).fit(X, y, feature_names=["a", "b"])
    again = type(model).from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    times = [0.0, 3.0, 11.5, 1e6]
    np.testing.assert_array_equal(
        again.predict_cumulative_incidence(X, times), model.predict_cumulative_incidence(X, times)
    )
    assert again.coefficient_table() == model.coefficient_table()
    if isinstance(model, FineGray):
        assert again.summary() == model.summary()
        found, kept = model.incidence_interval(X, times), again.incidence_interval(X, times)
        assert (found is None) == (kept is None) == bool(model.penalty)
        if found is not None:
            np.testing.assert_array_equal(kept, found)
    else:
        np.testing.assert_array_equal(again.incidence_interval(X, times, 2), model.incidence_interval(X, times, 2))


def test_the_fit_repeats_bit_for_bit_and_leaves_its_input_alone():
    X, y = sample()
    X.setflags(write=False)
    y.setflags(write=False)
    first, second = FineGray().fit(X, y), FineGray().fit(X, y)
    assert (first.coef_ == second.coef_).all()
    assert (first.covariance_ == second.covariance_).all()


@pytest.mark.parametrize("estimator", [FineGray, CauseSpecificCox])
def test_bad_outcomes_are_refused_by_name(estimator):
    X, y = sample()
    n = len(y)

    def codes(**more):
        out = y["event"].copy()
        out[:3] = more["put"]
        return outcome(out, y["time"])

    with pytest.raises(DataError, match="3 of 150 event codes are not declared"):
        estimator(causes=2).fit(X, codes(put=9))
    with pytest.raises(DataError, match="3 kinds of event, with codes up to 9"):
        estimator().fit(X, codes(put=9))
    with pytest.raises(DataError, match="3 of 150 event codes are negative"):
        estimator().fit(X, codes(put=-1))
    with pytest.raises(NotEstimableError, match="no event"):
        estimator().fit(X, outcome(np.zeros(n, int), y["time"]))
    with pytest.raises(DataError, match="not a structured array"):
        estimator().fit(X, y["time"])
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="1 of 150 times"):
            estimator().fit(X, outcome(y["event"], np.where(np.arange(n) == 4, bad, y["time"])))
    with pytest.raises(DataError, match="missing or infinite"):
        estimator().fit(np.where(np.arange(n)[:, None] == 1, np.nan, X), y)
    with pytest.raises(DataError, match="rows and y"):
        estimator().fit(X[:-1], y)
    with pytest.raises(NotFittedError):
        estimator().predict(X)
    with pytest.raises(DataError, match="columns"):
        estimator().fit(X, y).predict(X[:, :1])
    with pytest.raises(DataError, match="times are missing"):
        estimator().fit(X, y).predict_cumulative_incidence(X, [np.nan])


def test_fine_gray_refuses_what_cannot_be_estimated_and_says_which_column():
    X, y = sample()
    with pytest.raises(NotEstimableError, match="cause 3"):
        FineGray(cause=3, causes=3).fit(X, y)
    constant = np.column_stack([X, np.full(len(y), 7.0)])
    with pytest.raises(NotEstimableError, match="'x2' does not vary"):
        FineGray().fit(constant, y)
    with pytest.raises(NotEstimableError, match="'c' is a combination of 'a', 'b'"):
        FineGray().fit(np.column_stack([X, X.sum(axis=1)]), y, feature_names=["a", "b", "c"])
    dropped = FineGray(collinear="drop").fit(constant, y)
    assert dropped.aliased_ == ["x2"]
    assert dropped.coef_[2] == 0
    assert np.isnan(dropped.standard_errors_[2])
    np.testing.assert_allclose(dropped.coef_[:2], FineGray().fit(X, y).coef_, rtol=1e-10)
    assert np.isfinite(dropped.incidence_interval(constant, [5.0])).all()
    apart = np.column_stack([X[:, 0], (y["event"] == 1).astype(float)])
    with pytest.raises(NotEstimableError, match="no finite maximum in 'x1'"):
        FineGray().fit(apart, y)
    assert np.isfinite(FineGray(penalty=1.0).fit(apart, y).coef_).all()
    with pytest.raises(NotEstimableError, match="did not converge in 1 steps, 'x0', 'x1' still moving"):
        FineGray(max_iter=1).fit(X, y)
    with pytest.raises(StudyFileError, match="penalty"):
        FineGray(penalty=-1).fit(X, y)
    with pytest.raises(StudyFileError, match="collinear"):
        FineGray(collinear="ignore").fit(X, y)
    with pytest.raises(DataError, match="weights"):
        FineGray().fit(X, y, sample_weight=-np.ones(len(y)))


def test_one_event_ties_everywhere_and_time_0_are_taken():
    X, y = sample(n=60)
    single = outcome(np.where(np.arange(60) == np.argsort(y["time"])[30], 1, y["event"] * (y["event"] == 2)), y["time"])
    assert np.isfinite(FineGray(penalty=0.1).fit(X, single).coef_).all()
    tied = outcome(y["event"], np.ones(60))
    model = FineGray().fit(X, tied)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.standard_errors_).all()
    zero = outcome(y["event"], np.floor(y["time"] / 4))
    assert zero["time"].min() == 0
    assert np.isfinite(FineGray().fit(X, zero).coef_).all()


def test_without_predictors_the_causes_add_up_to_aalen_johansen():
    X, y = sample(n=200)
    model = CauseSpecificCox(ties="breslow", penalty=1e13).fit(X, y)
    times = np.arange(1.0, 60.0)
    times = times[times <= y["time"].max()]
    found = model.predict_cumulative_incidence(X[:3], times)
    want = aalen_johansen(y["event"], y["time"]).at(times)
    np.testing.assert_allclose(found, np.broadcast_to(want, found.shape), atol=1e-10)
    np.testing.assert_array_equal(model.predict_cumulative_incidence(X[:3], times, cause=2), found[:, :, 1])


def slow_incidence(model, row, times):
    """Return the incidence of every cause from steps of the models' own hazards."""
    grid = np.unique(np.concatenate([m.unique_times_ for m in model.models_.values()]))
    steps = np.column_stack([np.diff(m.predict_cumulative_hazard_function(row, times=grid)[0], prepend=0)
                             for m in model.models_.values()])  # fmt: skip
    left = np.concatenate(([1.0], np.cumprod(1 - steps.sum(axis=1))[:-1]))
    curve = np.cumsum(left[:, None] * steps, axis=0)
    return np.vstack((np.zeros(steps.shape[1]), curve))[np.searchsorted(grid, times, side="right")]


@pytest.mark.parametrize("step_events", [1, 5])
def test_causes_and_survival_add_up_to_one_for_every_row(step_events):
    X, y = sample(n=200)
    model = CauseSpecificCox(step_events=step_events).fit(X, y)
    wild = np.vstack([X, X + np.array([5.0, 20.0])])
    times = np.array([40.0, 0.0, 3.3, 3.3, 12.0, 1e4])
    found = model.predict_cumulative_incidence(wild, times)
    assert found.min() >= 0
    assert found.sum(axis=2).max() <= 1 + 1e-12
    np.testing.assert_allclose(found.sum(axis=2) + model.predict_survival_function(wild, times), 1, atol=1e-12)
    order = np.argsort(times)
    assert (np.diff(found[:, order], axis=1) >= 0).all()
    np.testing.assert_array_equal(found[:, 2], found[:, 3])
    if step_events == 1:
        np.testing.assert_allclose(found[7, [2, 4]], slow_incidence(model, X[7:8], [3.3, 12.0]), rtol=1e-10)
    else:
        plain = CauseSpecificCox().fit(X, y).predict_cumulative_incidence(X, [3.3, 12.0])
        gap = np.abs(plain - found[:200, [2, 4]])
        assert gap.max() < 0.12
        assert gap.mean() < 0.02
    assert model.score(X, y, cause=1) > 0.55


def test_intervals_of_the_causes_put_together():
    """With one predictor that says nothing, the error at its mean is Aalen-Johansen's; far from it, it is larger."""
    rng = np.random.default_rng(4)
    _, y = sample(n=600, ties=False)
    X = rng.normal(size=(600, 1))
    times = np.array([2.0, 6.0, 12.0])
    model = CauseSpecificCox().fit(X, y)
    raw = aalen_johansen(y["event"], y["time"])
    for cause in (1, 2):
        lower, upper = model.incidence_interval(X.mean(axis=0)[None], times, cause)
        want = np.array(raw.interval_at(times))[:, :, cause - 1]
        np.testing.assert_allclose(upper[0] - lower[0], want[1] - want[0], rtol=0.03)
        far = model.incidence_interval([[3.0]], times, cause)
        assert ((far[1] - far[0]) > 1.5 * (upper - lower)).all()
        found = model.predict_cumulative_incidence(X, times, cause)
        lower, upper = model.incidence_interval(X, times, cause)
        assert ((lower < found) & (found < upper)).all()
    close = CauseSpecificCox(step_events=5).fit(X, y).incidence_interval(X, times, 1)
    np.testing.assert_allclose(close, model.incidence_interval(X, times, 1), atol=0.03)
    zero = model.incidence_interval(X[:2], [0.0], 1)
    assert (np.array(zero) == 0).all()
    assert CauseSpecificCox(penalty=1.0).fit(X, y).incidence_interval(X, times, 1) is None


def test_a_declared_cause_that_never_happens_has_incidence_0():
    X, y = sample()
    model = CauseSpecificCox(causes=3).fit(X, y)
    found = model.predict_cumulative_incidence(X, [5.0, 20.0])
    assert found.shape == (150, 2, 3)
    assert (found[:, :, 2] == 0).all()
    with pytest.raises(NotEstimableError, match="cause 3"):
        model.predict(X, cause=3)
    with pytest.raises(DataError, match="cause 4 is not declared"):
        model.predict_cumulative_incidence(X, [5.0], cause=4)
    with pytest.raises(NotEstimableError, match="cause 1: 'x2' does not vary"):
        CauseSpecificCox().fit(np.column_stack([X, np.ones(150)]), y)


def test_as_competing_takes_any_field_names_and_booleans():
    y = np.array([(5.0, True), (2.0, False)], dtype=[("days", float), ("died", bool)])
    codes, time, causes = as_competing(y)
    assert (codes.tolist(), time.tolist(), causes) == ([1, 0], [5.0, 2.0], 1)


def groups(n=160, seed=5, ties=True, k=3):
    rng = np.random.default_rng(seed)
    _, y = sample(n=n, seed=seed, ties=ties)
    return y["event"], y["time"], rng.integers(0, k, n)


def slow_score(codes, time, group, cause, rho):
    """Return Gray's scores by loops over times and groups."""
    levels = np.unique(group)
    alive, incidence, whole = np.ones(levels.size), np.zeros(levels.size), 0.0
    score = np.zeros(levels.size)
    for t in np.unique(time[codes > 0]):
        at_risk = np.array([((time >= t) & (group == g)).sum() for g in levels])
        own = np.array([((time == t) & (codes == cause) & (group == g)).sum() for g in levels])
        other = np.array([((time == t) & (codes > 0) & (codes != cause) & (group == g)).sum() for g in levels])
        here = at_risk > 0
        counted, plain = np.zeros(levels.size), np.zeros(levels.size)
        counted[here] = at_risk[here] * (1 - incidence[here]) / alive[here]
        plain[here] = at_risk[here] / alive[here]
        score += (1 - whole) ** rho * (own - own.sum() * counted / counted.sum())
        whole += own.sum() / plain.sum()
        incidence[here] += alive[here] * own[here] / at_risk[here]
        alive[here] *= 1 - (own + other)[here] / at_risk[here]
    return score


@pytest.mark.parametrize("rho", [0.0, 1.5])
@pytest.mark.parametrize("cause", [1, 2])
def test_gray_s_score_and_its_invariances(rho, cause):
    codes, time, group = groups()
    found = gray_test(codes, time, group, cause, rho=rho)
    np.testing.assert_allclose(found.score, slow_score(codes, time, group, cause, rho), atol=1e-9)
    assert found.score.sum() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(found.covariance, found.covariance.T, atol=1e-12)
    np.testing.assert_allclose(found.covariance.sum(axis=0), 0, atol=1e-9)
    order = np.random.default_rng(0).permutation(codes.size)
    names = np.array(["c", "a", "b"])
    other = gray_test(codes[order], time[order] / 365.25, names[group[order]], cause, rho=rho)
    assert other.groups == ("a", "b", "c")
    assert other.statistic == pytest.approx(found.statistic, rel=1e-9)
    assert (found.df, found.n) == (2, 160)


def test_gray_s_test_adds_up_strata_and_is_the_log_rank_score_without_other_events():
    codes, time, group = groups(k=2)
    strata = np.random.default_rng(9).integers(0, 2, codes.size)
    parts = [gray_test(codes[strata == s], time[strata == s], group[strata == s]) for s in (0, 1)]
    whole = gray_test(codes, time, group, strata=strata)
    np.testing.assert_allclose(whole.score, parts[0].score + parts[1].score, atol=1e-10)
    np.testing.assert_allclose(whole.covariance, parts[0].covariance + parts[1].covariance, atol=1e-10)
    assert "stratified" in whole.method
    single = (codes == 1).astype(int)
    rank = log_rank(single, time, group)
    np.testing.assert_allclose(gray_test(single, time, group).score, rank.observed - rank.expected, atol=1e-9)
    assert gray_test(single, time, group).statistic == pytest.approx(rank.statistic, rel=0.1)


def test_gray_s_test_keeps_its_level_and_sees_a_difference():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        time, codes = rng.exponential(size=120), rng.integers(0, 3, 120)
        wrong += gray_test(codes, time, rng.integers(0, 2, 120)).p < 0.05
    # 300 tests at level .05: 15 expected, standard deviation 3.8.
    assert 3 <= wrong <= 28
    group = rng.integers(0, 2, 400)
    first, other = rng.exponential(1 + 2 * group), rng.exponential(2, 400)
    codes = np.where(first < other, 1, 2)
    assert gray_test(codes, np.minimum(first, other), group).p < 1e-3


def test_gray_s_test_refuses_what_it_cannot_compare():
    codes, time, group = groups()
    with pytest.raises(NotEstimableError, match="1 group"):
        gray_test(codes, time, np.zeros(codes.size))
    with pytest.raises(NotEstimableError, match="cause 3"):
        gray_test(codes, time, group, 3)
    with pytest.raises(NotEstimableError, match="never at risk together"):
        gray_test([1, 1, 0, 0], [5, 6, 1, 2], [0, 0, 1, 1])
    with pytest.raises(DataError, match="whole numbers"):
        gray_test(codes + 0.5, time, group)
    with pytest.raises(DataError, match="negative"):
        gray_test(codes, -time, group)
    with pytest.raises(DataError, match="rho"):
        gray_test(codes, time, group, rho=-1)


@pytest.mark.slow
def test_cause_specific_intervals_cover_the_truth():
    rng = np.random.default_rng(2)
    hits, draws, row, at = np.zeros(2), 300, np.array([[1.0]]), 0.8
    rates = np.exp([0.7, -0.4])
    truth = rates / rates.sum() * (1 - np.exp(-rates.sum() * at))
    for _ in range(draws):
        x = rng.normal(size=(300, 1))
        both = rng.exponential(np.exp(-np.column_stack((0.7 * x, -0.4 * x))))
        lost = rng.uniform(0.2, 3, 300)
        codes = np.where(lost < both.min(axis=1), 0, both.argmin(axis=1) + 1)
        model = CauseSpecificCox().fit(x, outcome(codes, np.minimum(both.min(axis=1), lost)))
        for cause in (1, 2):
            low, high = model.incidence_interval(row, [at], cause)
            hits[cause - 1] += low[0, 0] <= truth[cause - 1] <= high[0, 0]
    assert (hits / draws >= 0.91).all()
    assert (hits / draws <= 0.985).all()


@pytest.mark.slow
def test_fine_gray_intervals_cover_the_truth():
    """Data drawn from the model itself: coefficients and incidence are covered about as often as promised."""
    rng = np.random.default_rng(1)
    beta, share, hits, met = 0.6, 0.5, 0, 0
    at, draws = 0.8, 300
    truth = 1 - (1 - share * (1 - np.exp(-at))) ** np.exp(beta * 1.0)
    for _ in range(draws):
        x = rng.normal(size=300)
        chance = 1 - (1 - share) ** np.exp(beta * x)
        first = rng.random(300) < chance
        u = rng.random(300) * chance
        time = np.where(first, -np.log(1 - (1 - (1 - u) ** np.exp(-beta * x)) / share), rng.exponential(1, 300))
        lost = rng.uniform(0.2, 3, 300)
        codes = np.where(lost < time, 0, np.where(first, 1, 2))
        model = FineGray().fit(x[:, None], outcome(codes, np.minimum(time, lost)))
        low, high = model.confidence_intervals_[0]
        hits += low <= beta <= high
        low, high = model.incidence_interval([[1.0]], [at])
        met += low[0, 0] <= truth <= high[0, 0]
    assert 0.91 <= hits / draws <= 0.985
    assert 0.91 <= met / draws <= 0.985


def test_cause_specific_models_take_what_cox_models_take():
    X, y = sample()
    rng = np.random.default_rng(3)
    more = {"entry": y["time"] * rng.uniform(0, 0.8, 150), "sample_weight": rng.integers(0, 3, 150).astype(float),
            "cluster": rng.integers(0, 40, 150)}  # fmt: skip
    model = CauseSpecificCox().fit(X, y, ["a", "b"], **more)
    for cause in (1, 2):
        own = np.empty(150, dtype=[("event", bool), ("time", float)])
        own["event"], own["time"] = y["event"] == cause, y["time"]
        one = CoxPH().fit(X, own, ["a", "b"], **more)
        np.testing.assert_array_equal(model.models_[cause].coef_, one.coef_)
        np.testing.assert_array_equal(model.models_[cause].standard_errors_, one.standard_errors_)
        assert model.n_events_[cause] == ((y["event"] == cause) & (more["sample_weight"] > 0)).sum()
    assert model.n_fitted_ == (more["sample_weight"] > 0).sum()
    with pytest.raises(DataError, match="1 of 150 rows enter"):
        CauseSpecificCox().fit(X, y, entry=np.where(np.arange(150) == 4, 1e6, 0.0))
