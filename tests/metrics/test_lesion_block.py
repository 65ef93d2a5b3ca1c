"""Lesions over scans: counts by a flood fill, shares by hand, sizes, and the curve of the metrics room scan by scan."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.metrics import froc
from aimed.metrics.lesion_block import Lesions
from aimed.metrics.segmentation_lesions import lesion_candidates, lesion_counts

SHAPE = (6, 16, 16)


def scan(seed):
    """A reference, an outline and probabilities with some lesions missed and some made up."""
    rng = np.random.default_rng(seed)
    truth, chance = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE)
    for y in (1, 6, 11):
        for x in (1, 6, 11):
            size = int(rng.integers(1, 4))
            at = (slice(1, 1 + size), slice(y, y + size), slice(x, x + size))
            lesion = rng.random() < 0.5
            truth[at] = lesion
            chance[at] = rng.uniform(0.3, 1.0) if lesion else rng.uniform(0.0, 0.7)
    return truth, chance >= 0.5, chance


def pieces(mask):
    """Connected pieces (26 neighbours) by a flood fill, as sets of voxels."""
    left, out = {tuple(v) for v in np.argwhere(mask)}, []
    while left:
        todo, piece = [left.pop()], set()
        while todo:
            z, y, x = todo.pop()
            piece.add((z, y, x))
            for dz in (-1, 0, 1):
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        near = (z + dz, y + dy, x + dx)
                        if near in left:
                            left.remove(near)
                            todo.append(near)
        out.append(piece)
    return out


def gathered(seeds, **options):
    seen = Lesions(["a", "b"], **options)
    for seed in seeds:
        (t1, f1, p1), (t2, f2, p2) = scan(seed), scan(seed + 1000)
        seen.add(np.stack([t1, t2]), np.stack([f1, f2]), 0.001, probability=np.stack([p1, p2]))
    return seen


@pytest.mark.parametrize("min_ml", [0.0, 0.008])
def test_counts_by_a_flood_fill(min_ml):
    seeds = range(15)
    least = max(1, round(min_ml / 0.001))
    block = gathered(seeds, min_ml=min_ml, sizes=(0.0, 0.02)).block(draws=20)
    lesions = found = wrong = predicted = big = big_found = 0
    for seed in seeds:
        truth, outline, _ = scan(seed)
        real = [p for p in pieces(truth) if len(p) >= least]
        drawn = [p for p in pieces(outline) if len(p) >= least]
        lesions, predicted = lesions + len(real), predicted + len(drawn)
        hit = [any(p & q for q in drawn) for p in real]
        found += sum(hit)
        wrong += sum(not any(p & q for q in real) for p in drawn)
        big += sum(len(p) >= 20 for p in real)
        big_found += sum(h for p, h in zip(real, hit, strict=True) if len(p) >= 20)
    one = block["regions"]["a"]
    assert (one["lesions"], one["found"], one["predicted"], one["wrong"]) == (lesions, found, predicted, wrong)
    assert one["sensitivity"]["value"] == pytest.approx(found / lesions)
    assert one["precision"]["value"] == pytest.approx(1 - wrong / predicted)
    assert one["f1"]["value"] == pytest.approx(2 * found / (found + lesions + wrong))
    assert one["wrong_a_scan"]["value"] == pytest.approx(wrong / 15)
    assert one["sizes"][1]["sensitivity"]["value"] == pytest.approx(big_found / big)
    assert one["sizes"][1]["sensitivity"]["n"] == big
    for name in ("sensitivity", "precision", "f1", "wrong_a_scan"):
        assert one[name]["lower"] < one[name]["value"] < one[name]["upper"]
    assert f"{found} of {lesions} lesions" in one["sentence"]
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_the_curve_scan_by_scan_is_that_of_all_scans_at_once():
    seeds = range(12)
    block = gathered(seeds, min_ml=0.0).block(np.arange(12) // 2, draws=50, seed=3)
    truth, chance = ([scan(seed)[part] for seed in seeds] for part in (0, 2))
    expected = froc(truth, chance, least=0.1, patient=np.arange(12) // 2, draws=50, seed=3)
    found = block["regions"]["a"]["froc"]
    assert [p["sensitivity"] for p in found["points"]] == expected.value.tolist()
    assert [p["lower"] for p in found["points"]] == [None if np.isnan(v) else v for v in expected.lower]
    assert found["average"]["value"] == float(expected.average)
    assert found["lesions"] == expected.lesions


def test_probabilities_on_a_grid_of_their_own():
    truth, outline, chance = scan(4)
    coarse, there = chance[:, ::2, ::2], truth[:, ::2, ::2]
    seen = Lesions(["a"], min_ml=0.0)
    seen.add(truth[None], outline[None], 0.001, probability=coarse[None], reference_there=there[None])
    expected = froc([there], [coarse], draws=5)
    points = seen.block(draws=5)["regions"]["a"]["froc"]["points"]
    assert [p["sensitivity"] for p in points] == expected.value.tolist()
    assert all(p["lower"] is None for p in points)


def test_candidates_and_hits_by_hand():
    truth = np.array([[1, 1, 0, 0, 1, 0, 0, 0]])
    best, false = lesion_candidates(truth, [[0.2, 0.6, 0, 0, 0.05, 0, 0.4, 0]])
    assert best.tolist() == [0.6, -1.0]
    assert false.tolist() == [0.4]
    counts = lesion_counts(truth, [[0, 1, 0, 0, 0, 0, 1, 0]])
    assert counts.voxels.tolist() == [2, 1]
    assert counts.hit.tolist() == [True, False]
    assert lesion_counts(truth, truth, match="iou").hit.tolist() == [True, True]


def test_few_patients_or_no_lesion_are_not_enough():
    one = gathered(range(12), min_ml=0.0).block(np.arange(12) % 3, draws=10)["regions"]["a"]
    assert one["state"] == "not enough evidence"
    assert one["sensitivity"]["lower"] is None
    assert "3 patients, and 5 are needed" in one["sensitivity"]["note"]
    assert one["froc"]["average"]["lower"] is None
    nothing = Lesions(["a"])
    empty = np.zeros((1, *SHAPE), dtype=bool)
    nothing.add(empty, empty, 0.001, probability=np.zeros((1, *SHAPE)))
    found = nothing.block(draws=10)["regions"]["a"]
    assert found["sensitivity"]["value"] is None
    assert found["froc"]["note"] == "no case has a lesion"
    assert "nothing was outlined" in found["sentence"]


def test_refused():
    seen, empty = Lesions(["a"]), np.zeros((1, 2, 2, 2), dtype=bool)
    with pytest.raises(DataError, match="no scan"):
        seen.block()
    with pytest.raises(DataError, match="shapes"):
        seen.add(empty, empty[:, :1], 0.001)
    with pytest.raises(DataError, match="volume"):
        seen.add(empty, empty, 0.0)
    seen.add(empty, empty, 0.001)
    with pytest.raises(DataError, match="some scans"):
        seen.add(empty, empty, 0.001, probability=np.zeros(empty.shape))
    with pytest.raises(DataError, match="rise from 0"):
        Lesions(["a"], sizes=(1.0, 2.0))
    with pytest.raises(DataError, match="one a region"):
        Lesions(["a", "a"])
