"""Local regression against least squares, and quantiles by selection against sorted repeated values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.metrics.kernels.smoothing import distance_summary, local_fit

LEVELS = np.array([0.5, 0.9])


def summary(values, weights, levels=LEVELS):
    out = np.empty(levels.size + 2)
    distance_summary(np.asarray(values, float), np.asarray(weights, float), levels, out)
    return out


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=60),
    st.floats(0, 1),
)
@settings(deadline=None, max_examples=150)
def test_summary_equals_that_of_repeated_values(rows, level):
    values, weights = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    weights[0] += 1
    again = np.repeat(values, weights)
    found = summary(values, weights, np.array([level]))
    assert found == pytest.approx([again.mean(), np.quantile(again, level), again.max()], abs=1e-12)


@pytest.mark.parametrize("kind", ["spread", "crowded", "tied", "one value"])
def test_summary_of_many_rows(kind):
    rng = np.random.default_rng(0)
    values = {
        "spread": rng.random(30_000),
        # Nearly all rows fall in one bin of the histogram, which is then split again.
        "crowded": np.r_[rng.random(29_999) * 1e-9, 1.0],
        "tied": rng.integers(0, 3, 30_000) / 4,
        "one value": np.full(30_000, 0.25),
    }[kind]
    weights = rng.integers(0, 4, values.size)
    again = np.repeat(values, weights)
    expected = [again.mean(), *np.quantile(again, LEVELS), again.max()]
    assert summary(values, weights) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_rows_without_weight_do_not_count_and_no_rows_give_nan():
    assert summary([0.1, 0.9], [1, 0]) == pytest.approx([0.1] * 4)
    assert np.isnan(summary([0.1, 0.9], [0, 0])).all()
    assert summary([0.0, 0.0], [1, 1]).tolist() == [0, 0, 0, 0]


def local(x, y, w, at, span, degree, codes=None):
    out = [np.empty(at.size) for _ in range(3)]
    none = np.empty(0, np.int64)
    local_fit(x, y, np.asarray(w, float), none if codes is None else codes, at, span, degree, *out)
    return out


def by_least_squares(x, y, at, span, degree):
    """Value, slope and sandwich variance at one place, for unit weights."""
    k = int(np.floor(x.size * span + 1e-5))
    distance = np.abs(x - at)
    width = np.sort(distance)[k - 1]
    root = np.sqrt(np.clip(1 - (distance / width) ** 3, 0, None) ** 3)
    design = np.vander(x - at, degree + 1, increasing=True)
    beta = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    bread = np.linalg.inv((design * root[:, None] ** 2).T @ design)
    rows = (design * (root**2 * (y - design @ beta))[:, None]) @ bread[0]
    return beta[0], beta[1], rows @ rows


@given(st.integers(0, 10_000), st.sampled_from([1, 2]), st.sampled_from([0.4, 0.75, 1.0]))
@settings(deadline=None, max_examples=40)
def test_local_fit_equals_weighted_least_squares(seed, degree, span):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.random(60))
    y = (rng.random(60) < x) * 1.0
    at = np.array([-0.01, x[3], 0.5, 1.01])
    value, slope, variance = local(x, y, np.ones(60), at, span, degree, np.arange(60))
    expected = np.array([by_least_squares(x, y, a, span, degree) for a in at]).T
    assert value == pytest.approx(expected[0], abs=1e-8)
    assert slope == pytest.approx(expected[1], abs=1e-6)
    assert variance == pytest.approx(expected[2], rel=1e-6, abs=1e-12)


def test_local_fit_weights_equal_repeated_rows_and_patients_are_added():
    rng = np.random.default_rng(1)
    x = np.sort(rng.random(80))
    y, w, at = (rng.random(80) < x) * 1.0, rng.integers(0, 4, 80), np.linspace(0, 1, 7)
    again = np.repeat(np.arange(80), w)
    once = local(x, y, w, at, 0.75, 2, np.arange(80))
    twice = local(x[again], y[again], np.ones(again.size), at, 0.75, 2, again)
    for a, b in zip(once, twice, strict=True):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-11)


def test_too_few_distinct_places_lower_the_degree():
    x, y = np.array([0.2, 0.2, 0.2, 0.8, 0.8, 0.8]), np.array([0.0, 0, 1, 1, 1, 0])
    value, slope, _ = local(x, y, np.ones(6), np.array([0.2, 0.5]), 1.0, 2)
    assert value[0] == pytest.approx(1 / 3)
    assert slope[1] == 0
    assert np.isfinite(value).all()
    same, flat, _ = local(np.full(4, 0.3), np.array([0.0, 1, 0, 0]), np.ones(4), np.array([0.3]), 0.75, 2)
    assert (same[0], flat[0]) == (0.25, 0)


def test_values_too_small_to_divide_by_are_still_ranked():
    values = np.r_[np.zeros(3), np.full(5000, 5e-324), np.full(2, 1e-323)]
    assert summary(values, np.ones(values.size))[1:].tolist() == [5e-324, 5e-324, 1e-323]
