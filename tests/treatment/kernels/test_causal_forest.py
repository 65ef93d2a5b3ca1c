"""Trees of the causal forest: split for split the best of a slow reference, drawn and filled as they say."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.treatment.kernels import causal_forest as kernels


def slow_best_split(bins, y, t, arm, least, share):
    """Return every allowed split with the spread of the pseudo-outcomes' means, by plain loops."""
    dt, dy = t - t.mean(), y - y.mean()
    slope = (dt @ dy) / (dt @ dt)
    rho = dt * (dy - slope * dt)
    best, place = 0.0, None
    for j in range(bins.shape[0]):
        for cut in np.unique(bins[j])[:-1]:
            left = bins[j] <= cut
            sides = (left, ~left)
            if any(min(arm[s].sum(), (~arm[s]).sum()) < least or s.sum() < share * y.size for s in sides):
                continue
            score = sum(rho[s].sum() ** 2 / s.sum() for s in sides)
            if score > best * (1 + 1e-12):
                best, place = score, (j, int(cut))
    return best, place


@pytest.mark.parametrize("n", [40, 150])
def test_every_split_is_the_best_one_of_its_node(n):
    rng = np.random.default_rng(n)
    bins = rng.integers(0, 20, (3, n)).astype(np.uint8)
    arm = rng.random(n) < 0.4
    t = arm - 0.4
    y = np.where(bins[1] > 9, 2.0, 0.0) * t + rng.normal(size=n)
    counts = np.zeros((4, 3))
    feature, cut, left, value = kernels.grow_tree(
        bins,
        np.full(3, 20),
        np.arange(3),
        y,
        3.0 * y,
        t,
        arm,
        np.full(n, 3, np.uint8),
        np.uint64(1),
        3,
        4,
        0.1,
        9,
        counts,
    )  # fmt: skip
    seen = 0
    stack = [(0, np.arange(n))]
    while stack:
        node, rows = stack.pop()
        _, place = slow_best_split(bins[:, rows], y[rows], t[rows], arm[rows], 4, 0.1)
        if feature[node] < 0:
            assert place is None or rows.size < 16
            assert value[left[node]] == pytest.approx(
                [v[rows].mean() for v in (t, y, t * t, t * y, 3 * t * y, 3 * t * t * y)], rel=1e-5, abs=1e-6
            )
            continue
        seen += 1
        assert (feature[node], cut[node]) == place
        goes = bins[feature[node], rows] <= cut[node]
        stack += [(left[node], rows[goes]), (left[node] + 1, rows[~goes])]
    assert seen == counts.sum() or seen > counts.sum() > 0
    assert seen >= 2


def test_halves_lie_inside_the_bag_and_share_nobody():
    bag = kernels.draw_bag(np.uint64(5), 101, 50)
    assert np.unique(bag).size == 50
    assert bag.max() < 101
    side = kernels.draw_halves(np.uint64(6), bag, 101, 41, True)
    assert np.isin(np.flatnonzero(side), bag).all()
    assert ((side == 1).sum(), (side == 2).sum()) == (20, 21)
    both = kernels.draw_halves(np.uint64(6), bag, 101, 41, False)
    np.testing.assert_array_equal(both == 3, side > 0)


def test_every_patient_is_drawn_equally_often():
    counts = np.bincount(
        np.concatenate([kernels.draw_bag(np.uint64(seed), 20, 10) for seed in range(400)]), minlength=20
    )
    # Hypergeometric: 400 draws of 1/2 each, so that chi-square over 20 places has 19 degrees of freedom.
    assert ((counts - 200) ** 2 / 100).sum() * 19 / 20 < 43.8  # p = .001


def test_a_split_whose_other_half_lacks_an_arm_is_taken_back():
    rng = np.random.default_rng(0)
    n = 400
    bins = rng.integers(0, 2, (1, n)).astype(np.uint8)
    arm = rng.random(n) < 0.5
    t, y = arm - 0.5, rng.normal(size=n)
    y += 3 * bins[0] * t
    side = np.where(np.arange(n) < 200, 1, 2).astype(np.uint8)
    counts = np.zeros((1, 1))

    def grow(side):
        return kernels.grow_tree(
            bins, np.array([2]), np.array([0]), y, y, t, arm, side, np.uint64(1), 1, 3, 0.0, 9, counts
        )

    assert grow(side)[0].tolist() == [0, -1, -1]
    empty = side.copy()
    empty[(side == 2) & (bins[0] == 1) & arm] = 0
    feature, _, left, value = grow(empty)
    assert feature.tolist() == [-1]
    assert left.tolist() == [0]
    np.testing.assert_allclose(value[0, :2], [t[empty == 2].mean(), y[empty == 2].mean()], rtol=1e-5)
    assert counts.sum() == 1
