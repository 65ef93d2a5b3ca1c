"""The loop of expected outcomes against the same loop in plain Python and against numerical integration."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.treatment.kernels.censored import RISK, RMST, TIME_LOST, fill_expected


def curves(seed, b=5, m=12, end=False):
    rng = np.random.default_rng(seed)
    times = np.r_[0.0, np.sort(rng.uniform(0, 3, m - 1))]
    own, other, gone = (np.c_[np.zeros(b), np.cumsum(rng.exponential(0.1, (b, m - 1)), axis=1)] for _ in range(3))
    free = np.exp(-own - other)
    if end:
        free[:, m // 2 :] = 0.0
    fall = -np.diff(free, axis=1)
    incidence = np.c_[np.zeros(b), np.cumsum(fall * 0.4, axis=1)]
    return times, free, incidence, np.exp(-gone)


def run(loop, what, times, free, incidence, left, single):
    expected, total = np.full(free.shape, np.nan), np.full(free.shape, np.nan)
    loop(free, incidence, left, times, single, what, expected, total)
    return expected, total


@pytest.mark.parametrize("what", [RISK, RMST, TIME_LOST])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("end", [True, False])
def test_compiled_and_plain_loops_agree(what, alone, end):
    times, free, incidence, left = curves(1, end=end)
    single = np.arange(times.size - 1) % 3 > 0
    given = np.empty((0, 0)) if alone else incidence
    fast = run(fill_expected, what, times, free, given, left, single)
    plain = run(fill_expected.py_func, what, times, free, given, left, single)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert np.isfinite(a).all()


@pytest.mark.parametrize("alone", [True, False])
def test_expected_outcomes_are_integrals_over_the_curves(alone):
    times, free, incidence, left = curves(2)
    last, single = times[-1], np.ones(times.size - 1, dtype=bool)
    jump = -np.diff(free, axis=1) if alone else np.diff(incidence, axis=1)
    lost = -np.diff(free, axis=1) - jump
    of_event = {RISK: np.ones(times.size - 1), RMST: times[1:], TIME_LOST: last - times[1:]}
    of_other = {RISK: 0.0 * times[1:], RMST: times[1:], TIME_LOST: 0.0 * times[1:]}
    of_none = {RISK: 0.0, RMST: last, TIME_LOST: 0.0}
    for what in (RISK, RMST, TIME_LOST):
        found, total = run(fill_expected, what, times, free, np.empty((0, 0)) if alone else incidence, left, single)
        for j in range(times.size):
            mean = (jump * of_event[what] + lost * of_other[what])[:, j:].sum(axis=1) + free[:, -1] * of_none[what]
            np.testing.assert_allclose(found[:, j], mean / free[:, j], atol=1e-12)
        np.testing.assert_allclose(
            total[:, 1:], np.cumsum(found[:, 1:] * np.diff(1 / left, axis=1), axis=1), atol=1e-12
        )


def test_the_last_value_stands_where_a_curve_has_ended():
    times, free, incidence, left = curves(3, end=True)
    found, _ = run(fill_expected, RISK, times, free, incidence, left, np.ones(times.size - 1, dtype=bool))
    half = times.size // 2
    np.testing.assert_allclose(found[:, half:], found[:, [half - 1]] * np.ones(times.size - half))
