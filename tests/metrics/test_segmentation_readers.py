"""Several readers: the consensus by the textbook iteration, agreement by the general kappa."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics import dice, fleiss_kappa, hd95, surface_dice
from aimed.metrics.segmentation_readers import reader_agreement, staple


def readers(seed=0, shape=(6, 8, 7), quality=((0.9, 0.95), (0.8, 0.98), (0.95, 0.9), (0.6, 0.99))):
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < 0.3
    return truth, [np.where(truth, rng.random(shape) < p, rng.random(shape) > q) for p, q in quality]


def textbook(masks, rounds):
    """Expectation and maximisation voxel by voxel, as published."""
    votes = np.array([m.ravel() for m in masks], dtype=float)
    prior, p, q = votes.mean(), np.full(len(masks), 0.99999), np.full(len(masks), 0.99999)
    for _ in range(rounds):
        a = prior * np.prod(np.where(votes == 1, p[:, None], 1 - p[:, None]), axis=0)
        b = (1 - prior) * np.prod(np.where(votes == 0, q[:, None], 1 - q[:, None]), axis=0)
        w = a / (a + b)
        p, q = (votes @ w) / w.sum(), ((1 - votes) @ (1 - w)) / (1 - w).sum()
    return w, p, q


@pytest.mark.parametrize("seed", range(4))
def test_consensus_is_that_of_the_textbook(seed):
    _, masks = readers(seed)
    found = staple(masks)
    w, p, q = textbook(masks, found.iterations)
    np.testing.assert_allclose(found.probability.ravel(), w, atol=1e-9)
    np.testing.assert_allclose(found.sensitivity, p, atol=1e-9)
    np.testing.assert_allclose(found.specificity, q, atol=1e-9)
    assert found.converged


def test_consensus_finds_readers_qualities_and_is_better_than_each():
    truth, masks = readers(1, (30, 40, 40))
    found = staple(masks)
    assert found.sensitivity == pytest.approx([0.9, 0.8, 0.95, 0.6], abs=0.03)
    assert found.specificity == pytest.approx([0.95, 0.98, 0.9, 0.99], abs=0.03)
    assert dice(truth, found.mask) > max(dice(truth, mask) for mask in masks)


def test_voxels_outside_a_region_do_not_count():
    _, masks = readers(2)
    wide = [np.pad(mask, 5) for mask in masks]
    within = np.pad(np.ones(masks[0].shape, bool), 5)
    found = staple(wide, within=within)
    plain = staple(masks)
    assert found.specificity == pytest.approx(plain.specificity)
    assert np.array_equal(found.mask[within].reshape(masks[0].shape), plain.mask)
    assert (staple(wide).specificity > plain.specificity).any()


def test_agreement_is_that_of_each_pair_and_of_the_general_kappa():
    _, masks = readers(3)
    masks = [np.pad(mask, 2) for mask in masks]
    spacing = (2.0, 1.0, 0.5)
    found = reader_agreement(masks, spacing, names=["a", "b", "c", "d"])
    assert [(p["first"], p["second"]) for p in found["pairs"]][:4] == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c")]
    for row, (i, j) in zip(found["pairs"], ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)), strict=True):
        assert row["dice"] == pytest.approx(float(dice(masks[i], masks[j])))
        assert row["hd95"] == pytest.approx(float(hd95(masks[i], masks[j], spacing)))
        assert row["surface_dice"] == pytest.approx(float(surface_dice(masks[i], masks[j], spacing, 1.0)))
    ratings = np.column_stack([mask.ravel().astype(int) for mask in masks])
    assert found["kappa"] == pytest.approx(float(fleiss_kappa(ratings)))
    assert found["mean"]["dice"] == pytest.approx(np.mean([p["dice"] for p in found["pairs"]]))
    assert [r["ml"] for r in found["readers"]] == pytest.approx([mask.sum() * 0.001 for mask in masks])


def test_readers_who_saw_nothing():
    nothing, some = np.zeros((4, 5)), np.eye(4, 5)
    found = reader_agreement([nothing, some, some], (1, 1))
    assert [p["empty"] for p in found["pairs"]] == ["reference", "reference", ""]
    assert [p["dice"] for p in found["pairs"]] == [0, 0, 1]
    none = reader_agreement([nothing, nothing], (1, 1), empty="omit")
    assert none["mean"] == {"dice": None, "hd95": None, "surface_dice": None}
    assert none["kappa"] is None
    assert none["readers"][0]["sensitivity"] is None
    full = reader_agreement([np.ones((3, 3)), np.ones((3, 3))], (1, 1))
    assert full["mean"]["dice"] == 1
    with pytest.raises(NotEstimableError, match="empty or full"):
        staple([nothing, nothing])


def test_what_cannot_be_readers_is_refused():
    mask = np.eye(3)
    with pytest.raises(DataError, match="1 masks"):
        staple([mask])
    with pytest.raises(DataError, match="mask 2 has shape"):
        staple([mask, np.eye(4)])
    with pytest.raises(DataError, match="mask 2 has 3 voxels"):
        staple([mask, 2 * mask])
    with pytest.raises(DataError, match="within"):
        staple([mask, mask], within=np.zeros((3, 3)))
    with pytest.raises(DataError, match="1 names"):
        reader_agreement([mask, mask], (1, 1), names=["a"])
    short = staple(readers()[1], max_iter=1)
    assert not short.converged
    assert short.note == "not converged in 1 iterations"
