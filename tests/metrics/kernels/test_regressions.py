"""Compiled regressions against plain numpy with whole matrices, and against repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels.regressions import (
    NO_FIT,
    SETTLED,
    UNSETTLED,
    _exp,
    cox_fit,
    cox_influence,
    cox_pass,
    fill_distances,
    logistic_fit,
    logistic_pass,
    product_limit,
    replicate_weights,
)


def logistic_by_matrices(x, y, offset, w, steps=60):
    beta = np.zeros(x.shape[1])
    for _ in range(steps):
        mu = 1 / (1 + np.exp(-(x @ beta + offset)))
        beta = beta + np.linalg.solve((x * (w * mu * (1 - mu))[:, None]).T @ x, x.T @ (w * (y - mu)))
    return beta


def efron_loglik(x, event, time, w, beta):
    """Each death of a repeated row has its own term."""
    again = np.repeat(np.arange(time.size), w.astype(int))
    x, event, time = x[again], event[again], time[again]
    hazard, total = np.exp(x @ beta), 0.0
    for t in np.unique(time[event]):
        dying, risk = event & (time == t), time >= t
        d = dying.sum()
        total += (x[dying] @ beta).sum()
        total -= sum(np.log(hazard[risk].sum() - r / d * hazard[dying].sum()) for r in range(d))
    return total


def laid_out(x, event, time):
    """Rows as the kernels want them: in order of time, those who leave before the first event left out."""
    times = np.unique(time[event])
    place = np.searchsorted(times, time, side="right")
    order = np.flatnonzero(place > 0)
    order = order[np.argsort(place[order], kind="stable")]
    starts = np.searchsorted(place[order], np.arange(times.size + 1) + 1)
    return np.ascontiguousarray(x[order]), np.ascontiguousarray(event[order]), starts, order, times


def test_exponential_is_right_to_a_rounding_step():
    x = np.r_[np.linspace(-700, 700, 20001), 0.0]
    assert np.array([_exp(v) for v in x]) == pytest.approx(np.exp(x), rel=3e-16 * 4)


@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=40)
def test_logistic_equals_whole_matrices_and_repeated_rows(seed, q, shifted):
    rng = np.random.default_rng(seed)
    n = 80
    x = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    y = (rng.random(n) < 0.4) * 1.0
    w = rng.integers(0, 4, n) * 1.0
    offset = rng.normal(size=n) if shifted else np.zeros(n)
    beta, information = np.zeros(q), np.empty((q, q))
    status = logistic_fit(x, y, offset, w, beta, information)
    if status != SETTLED:
        return
    assert beta == pytest.approx(logistic_by_matrices(x, y, offset, w), abs=1e-8)
    mu = 1 / (1 + np.exp(-(x @ beta + offset)))
    assert information == pytest.approx((x * (w * mu * (1 - mu))[:, None]).T @ x, rel=1e-9, abs=1e-12)
    again = np.repeat(np.arange(n), w.astype(int))
    other = np.zeros(q)
    logistic_fit(x[again], y[again], offset[again], np.ones(again.size), other, information)
    assert beta == pytest.approx(other, abs=1e-8)


def test_separation_and_singular_designs_are_told_apart():
    x = np.column_stack([np.ones(6), np.arange(6.0)])
    y, zeros, ones = np.r_[np.zeros(3), np.ones(3)], np.zeros(6), np.ones(6)
    assert logistic_fit(x, y, zeros, ones, np.zeros(2), np.empty((2, 2))) in (UNSETTLED, NO_FIT)
    twice = np.column_stack([np.ones(6), np.ones(6)])
    assert logistic_fit(twice, np.array([0.0, 1, 0, 1, 0, 1]), zeros, ones, np.zeros(2), np.empty((2, 2))) == NO_FIT


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 16), st.booleans())
@settings(deadline=None, max_examples=30)
def test_pass_over_many_replicates_equals_one_at_a_time(seed, q, b, shared):
    rng = np.random.default_rng(seed)
    n, patients = 60, 25
    x = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    y, offset, base = (rng.random(n) < 0.5) * 1.0, rng.normal(size=n), rng.random(n)
    codes = rng.integers(0, patients, n)
    counts = rng.integers(0, 5, (patients, b)).astype(np.uint8)
    beta = rng.normal(size=(q, b))
    if shared:
        beta[:] = beta[:, :1]
    gradient, triangle = np.empty((q, b)), np.empty((q * (q + 1) // 2, b))
    logistic_pass(x, y, offset, base, codes, counts, beta, shared, gradient, triangle)
    rows, columns = np.tril_indices(q)
    weights = np.empty(n)
    for j in range(b):
        replicate_weights(base, codes, counts, j, weights)
        assert weights == pytest.approx(base * counts[codes, j])
        mu = 1 / (1 + np.exp(-(x @ beta[:, j] + offset)))
        assert gradient[:, j] == pytest.approx(x.T @ (weights * (y - mu)), abs=1e-11)
        whole = (x * (weights * mu * (1 - mu))[:, None]).T @ x
        assert triangle[:, j] == pytest.approx(whole[rows, columns], abs=1e-11)


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(3, 12))
@settings(deadline=None, max_examples=40)
def test_cox_likelihood_and_derivatives_under_ties_and_weights(seed, q, times):
    rng = np.random.default_rng(seed)
    n = 30
    x, event = rng.normal(size=(n, q)), rng.random(n) < 0.6
    event[0] = True
    time, w = rng.integers(1, times, n) * 1.0, rng.integers(0, 4, n) * 1.0
    w[0] = 1.0
    own, dead, starts, order, _ = laid_out(x, event, time)
    beta = rng.normal(size=q) * 0.3
    gradient, information = np.empty(q), np.empty((q, q))
    value = cox_pass(own, dead, starts, w[order], beta, gradient, information)
    # The kernel subtracts the largest linear predictor, which leaves the likelihood as it is.
    assert value == pytest.approx(efron_loglik(x, event, time, w, beta), rel=1e-10, abs=1e-10)
    step = 1e-5
    for a in range(q):
        up, down = (beta + s * step * np.eye(q)[a] for s in (1, -1))
        slope = (efron_loglik(x, event, time, w, up) - efron_loglik(x, event, time, w, down)) / (2 * step)
        assert gradient[a] == pytest.approx(slope, abs=1e-5)
        high, low, spare = np.empty(q), np.empty(q), np.empty((q, q))
        cox_pass(own, dead, starts, w[order], up, high, spare)
        cox_pass(own, dead, starts, w[order], down, low, spare)
        assert information[a] == pytest.approx(-(high - low) / (2 * step), abs=1e-5)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_cox_influence_is_the_derivative_by_the_weight(seed):
    rng = np.random.default_rng(seed)
    n, q = 40, 2
    x, event, time = rng.normal(size=(n, q)), rng.random(n) < 0.6, rng.integers(1, 9, n) * 1.0
    own, dead, starts, order, times = laid_out(x, event, time)
    last = max(1, times.size // 2)
    beta, information = np.zeros(q), np.empty((q, q))
    if cox_fit(own, dead, starts, np.ones(order.size), beta, information) != SETTLED or np.abs(beta).max() > 5:
        return
    score, hazard = np.empty((order.size, q)), np.empty(order.size)
    cox_influence(own, dead, starts, np.ones(order.size), beta, last, score, hazard)
    assert score.sum(axis=0) == pytest.approx(np.zeros(q), abs=1e-6)
    dfbeta = score @ np.linalg.inv(information)
    for i in range(0, order.size, 7):
        fits = []
        for change in (1e-4, -1e-4):
            w = np.ones(order.size)
            w[i] += change
            b = beta.copy()
            cox_fit(own, dead, starts, w, b, information)
            fits.append(b)
        assert dfbeta[i] == pytest.approx((fits[0] - fits[1]) / 2e-4, rel=1e-3, abs=1e-5)


def test_product_limit_equals_the_product_over_times():
    time, event = np.array([1.0, 2, 2, 3, 4, 4, 5]), np.array([1, 1, 0, 1, 1, 1, 0], bool)
    _, dead, starts, order, _ = laid_out(np.zeros((7, 1)), event, time)
    w = np.array([1.0, 2, 1, 0, 3, 1, 1])
    expected = (1 - 1 / 9) * (1 - 2 / 8) * (1 - 4 / 5)
    assert product_limit(dead, starts, w[order], 4) == pytest.approx(expected, rel=1e-14)
    assert product_limit(dead, starts, w[order], 2) == pytest.approx((1 - 1 / 9) * (1 - 2 / 8), rel=1e-14)


@pytest.mark.parametrize("hazard", [False, True])
def test_distances(hazard):
    rng = np.random.default_rng(0)
    x, risk, beta = rng.normal(size=(600, 3)), rng.random(600), np.array([0.3, -1.0, 30.0])
    out = np.empty(600)
    fill_distances(x, risk, beta, hazard, out)
    with np.errstate(over="ignore"):
        eta = x @ beta
        curve = -np.expm1(-np.exp(eta)) if hazard else 1 / (1 + np.exp(-eta))
    assert out == pytest.approx(np.abs(curve - risk), abs=1e-14)
