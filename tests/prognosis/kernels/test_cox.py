"""Sweeps over risk sets against plain Python and against sums written out for each event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.prognosis.kernels import cox
from aimed.prognosis.risk_sets import Outcome, line_up

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed):
    """Return rows with ties, late entry, strata and weights, some of which may be absent."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(2, 40)), int(rng.integers(1, 5))
    time = np.ceil(rng.exponential(8, n)) * rng.choice([1.0, 0.37])
    entry = time * rng.uniform(0, 0.99, n) if rng.random() < 0.5 else None
    stratum = rng.integers(0, 3, n) if rng.random() < 0.5 else None
    weight = rng.uniform(0.2, 3, n) if rng.random() < 0.5 else None
    event = rng.random(n) < rng.choice([0.2, 0.6, 1.0])
    event[rng.integers(n)] = True
    outcome = Outcome(event, time, entry, weight, None, stratum, None if stratum is None else np.arange(3))
    X = np.ascontiguousarray(rng.normal(size=(n, p)))
    return rng, outcome, X, rng.normal(size=p), bool(rng.random() < 0.6)


def slow_parts(outcome, X, beta, efron):
    """Yield for each event: its step v, share, the rows at risk, the dying, weights r and d/W."""
    n = outcome.time.size
    weight = np.ones(n) if outcome.weight is None else outcome.weight
    stratum = np.zeros(n) if outcome.stratum is None else outcome.stratum
    entry = np.full(n, -np.inf) if outcome.entry is None else outcome.entry
    r = weight * np.exp(X @ beta)
    for s in np.unique(stratum):
        for t in np.unique(outcome.time[outcome.event & (stratum == s)]):
            risk = (stratum == s) & (outcome.time >= t) & (entry < t)
            dying = risk & outcome.event & (outcome.time == t)
            d, heavy = dying.sum(), weight[dying].sum()
            for rank in range(d):
                share = rank / d if efron else 0.0
                left = r * (risk - share * dying)
                yield heavy / d, left, dying, d


def slow(outcome, X, beta, efron):
    """Return log likelihood, slope, information and weighted score residuals by the textbook."""
    n, p = X.shape
    weight = np.ones(n) if outcome.weight is None else outcome.weight
    eta = X @ beta
    loglik = float((weight * eta)[outcome.event].sum())
    slope = (weight[outcome.event, None] * X[outcome.event]).sum(axis=0)
    information, scores = np.zeros((p, p)), np.zeros((n, p))
    for mean_weight, left, dying, d in slow_parts(outcome, X, beta, efron):
        total = left.sum()
        mean = left @ X / total
        loglik -= mean_weight * np.log(total)
        slope -= mean_weight * mean
        information += mean_weight * ((X - mean).T * left @ (X - mean) / total)
        scores += dying[:, None] * weight[:, None] * (X - mean) / d
        scores -= mean_weight * left[:, None] / total * (X - mean)
    return loglik, slope, information, scores


def places(line):
    return line.starts, line.deaths, line.first, line.since, line.leave


def run(seed, fast=True):
    _, outcome, X, beta, efron = draw(seed)
    line = line_up(outcome)
    loops = {name: getattr(cox, name) if fast else getattr(cox, name).py_func for name in cox.__all__}
    x = np.ascontiguousarray(X[line.order])
    r = line.weight * np.exp(x @ beta)
    steps = np.empty((5, line.times.size))
    logs = loops["risk_steps"](r, line.weight, *places(line), efron, steps)
    met = loops["hazard_met"](r, steps[0], steps[1], line.starts, line.deaths, line.first, line.since)
    return outcome, X, beta, efron, line, loops, x, r, steps, logs, met


@given(SEEDS)
@settings(max_examples=120, deadline=None)
def test_likelihood_slope_and_information_are_the_textbooks(seed):
    outcome, X, beta, efron, line, loops, x, r, steps, logs, met = run(seed)
    loglik, slope, information, _ = slow(outcome, X, beta, efron)
    own = line.weight[line.event]
    assert own @ (x[line.event] @ beta) - logs == pytest.approx(loglik, rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(own @ x[line.event] - loops["weighted_sum"](x, met), slope, rtol=1e-9, atol=1e-9)
    c0, c1, c2 = steps[2:]
    factors = np.stack((np.sqrt(c0), c1 / c0, np.sqrt(np.maximum(c2 - c1**2 / c0, 0))))
    for block in (1, 3, 1000):
        n, p = x.shape
        rows, means = np.empty((block, p)), np.empty((2 * block, p))
        place, sums, found = np.array([line.times.size, 0]), np.zeros((2, p)), np.zeros((p, p))
        for stop in range(n, 0, -block):
            begin = max(0, stop - block)
            filled = loops["sweep"](
                x, r, np.sqrt(met), factors, *places(line), begin, stop, place, sums, rows, means
            )  # fmt: skip
            found += rows[: stop - begin].T @ rows[: stop - begin] - means[:filled].T @ means[:filled]
        assert place.tolist() == [0, line.leave.size]
        np.testing.assert_allclose(found, information, rtol=1e-8, atol=1e-8)


@given(SEEDS)
@settings(max_examples=120, deadline=None)
def test_score_residuals_are_the_textbooks(seed):
    outcome, X, beta, efron, line, loops, x, r, steps, _, met = run(seed)
    *_, scores = slow(outcome, X, beta, efron)
    segment = np.cumsum(line.first == np.arange(line.first.size)) - 1
    total = np.zeros((int(segment[-1]) + 1, x.shape[1]))
    loops["group_sums"](x, r, steps, *places(line), segment, total)
    out = np.zeros(X.shape)
    loops["score_sums"](x, line.weight, r, met, steps, *places(line), total, line.order, out)
    np.testing.assert_allclose(out, scores, rtol=1e-8, atol=1e-8)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_firths_slope_is_that_of_half_the_log_determinant(seed):
    outcome, X, beta, efron, line, loops, x, r, *_ = run(seed)
    information = slow(outcome, X, beta, efron)[2]
    if np.linalg.cond(information) > 1e3 or information[0, 0] < 1e-3:
        return
    found = loops["firth_slope"](
        x, line.weight, r, np.ascontiguousarray(np.linalg.inv(information)), *places(line), efron
    )  # fmt: skip
    for j in range(beta.size):
        step = np.eye(beta.size)[j] * 1e-5
        ends = [np.linalg.slogdet(slow(outcome, X, beta + s, efron)[2])[1] for s in (step, -step)]
        assert found[j] == pytest.approx((ends[0] - ends[1]) / 4e-5, rel=1e-3, abs=1e-4)


@given(SEEDS)
@settings(max_examples=120, deadline=None)
def test_pairs_at_risk_are_all_pairs(seed):
    rng, outcome, *_ = draw(seed)
    n = outcome.time.size
    score = rng.integers(0, rng.choice([2, 5, 1000]), n).astype(float)
    line = line_up(outcome)
    levels, level = np.unique(score[line.order], return_inverse=True)
    found = cox.pairs_at_risk(level, line.weight, *places(line), levels.size)
    weight = np.ones(n) if outcome.weight is None else outcome.weight
    stratum = np.zeros(n) if outcome.stratum is None else outcome.stratum
    entry = np.full(n, -np.inf) if outcome.entry is None else outcome.entry
    want = np.zeros(3)
    for i in np.flatnonzero(outcome.event):
        for j in range(n):
            later = outcome.time[j] > outcome.time[i] or (outcome.time[j] == outcome.time[i] and not outcome.event[j])
            if stratum[i] == stratum[j] and later and entry[j] < outcome.time[i]:
                want[0 if score[j] < score[i] else 1 if score[j] > score[i] else 2] += weight[i] * weight[j]
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-9)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_compiled_and_plain_python_agree(seed):
    fast, plain = run(seed), run(seed, fast=False)
    for a, b in zip(fast[6:], plain[6:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    line, loops, x, r, steps = plain[4:9]
    out, again = np.zeros((2, 1, x.shape[1]))
    segment = np.zeros(line.times.size, np.int64)
    cox.group_sums(x, r, steps, *places(line), segment, out)
    loops["group_sums"](x, r, steps, *places(line), segment, again)
    np.testing.assert_allclose(out, again, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", range(20))
def test_the_coordinate_climb_ends_where_no_coordinate_can_rise(seed):
    rng = np.random.default_rng(seed)
    p = int(rng.integers(1, 12))
    half = rng.normal(size=(p + 3, p))
    information, gradient, at = half.T @ half, rng.normal(size=p) * 3, rng.normal(size=p) * (rng.random(p) < 0.5)
    absolute, square = rng.uniform(0, 2, p), rng.uniform(0, 1, p)
    step, left, done = cox.lasso_step(information, gradient, at, absolute, square, 1e-24, 10_000)
    assert done
    np.testing.assert_allclose(left, gradient - information @ step, atol=1e-9)
    new, pull = at + step, left - square * (at + step)
    on = new != 0
    np.testing.assert_allclose(pull[on], (absolute * np.sign(new))[on], atol=1e-8)
    assert (np.abs(pull[~on]) <= absolute[~on] + 1e-8).all()


def test_centre_takes_means_out_and_measures_the_columns():
    X = np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    kept = X.copy()
    square, low, high = cox.centre(X, kept.mean(axis=0))
    np.testing.assert_allclose(X, kept - kept.mean(axis=0))
    np.testing.assert_allclose(square, [26.0, 0.0])
    np.testing.assert_allclose(high - low, [7.0, 0.0])


def test_a_large_risk_that_left_leaves_no_rounding_behind():
    # Backward in time the row of risk e^36 enters first and leaves at its entry; what stays is 1 + 1.
    outcome = Outcome(np.array([True, True, False]), np.array([1.0, 2.0, 9.0]), np.array([0.0, 0.0, 1.5]))
    line = line_up(outcome)
    r = np.array([1.0, 1.0, np.exp(36.0)])[line.order]
    steps = np.empty((5, 2))
    cox.risk_steps(r, line.weight, *places(line), True, steps)
    assert steps[0, 0] == pytest.approx(0.5, rel=1e-14)
