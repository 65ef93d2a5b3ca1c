"""Chances of voxels: numbers by hand and by scikit-learn, memory that does not grow, errors told, few scans."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from aimed.core.errors import DataError
from aimed.trust.voxel_calibration import VoxelCalibration, wrong_voxels_auroc

SHAPE = (8, 10, 10)


def scan(seed, sharper=1.0, k=1):
    """Probabilities, most of them near 0, and a reference drawn from them; `sharper` is what the model says instead."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.15, 0.6, (k, *SHAPE))
    truth = rng.random(p.shape) < p
    with np.errstate(divide="ignore"):
        odds = sharper * np.log(p / (1 - p))
    return (1 / (1 + np.exp(-odds))).astype(np.float32), truth


def gathered(n=12, sharper=1.0, **options):
    seen = VoxelCalibration(["a"], ["Whole tumour"], **options)
    for seed in range(n):
        seen.add(*scan(seed, sharper))
    return seen


def test_numbers_by_hand_and_by_scikit_learn():
    block = gathered().block(draws=100)
    one = block["regions"]["a"]
    p, y = (np.concatenate([scan(seed)[part].ravel() for seed in range(12)]).astype(float) for part in (0, 1))
    looked = p >= np.float32(0.01)
    assert one["voxels"] == looked.sum()
    assert one["left_out"]["value"] == pytest.approx(y[~looked].sum() / y.sum())
    q, z = p[looked], y[looked]
    assert one["brier"]["value"] == pytest.approx(brier_score_loss(z, q))
    assert one["oe"]["value"] == pytest.approx(z.sum() / q.sum())
    assert one["wrong"]["value"] == pytest.approx(((q >= 0.5) != z).mean())
    place = np.minimum((q * 15).astype(int), 14)
    ece = sum(abs(q[place == b].mean() - z[place == b].mean()) * (place == b).mean() for b in range(15))
    assert one["ece"]["value"] == pytest.approx(ece)
    assert one["ece"]["lower"] <= one["ece"]["value"] <= one["ece"]["upper"]
    for row in one["bins"]:
        b = round(row["high"] * 15) - 1
        assert row["observed"] == pytest.approx(z[place == b].mean())
        assert row["predicted"] == pytest.approx(q[place == b].mean())
        assert row["voxels"] == (place == b).sum()
        assert row["lower"] < row["observed"] < row["upper"]
    areas = []
    for seed in range(12):
        p, y = (part.ravel() for part in scan(seed))
        p, y = p[p >= 0.01].astype(float), y[p >= 0.01]
        areas.append(roc_auc_score((p >= 0.5) != y, -np.abs(p - 0.5)))
    assert one["doubt"]["entropy"]["value"] == pytest.approx(np.mean(areas), abs=1e-3)
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize(("sharper", "says"), [(1.0, "no error shown"), (0.6, "too high"), (1.6, "too low")])
def test_what_is_wrong_is_told(sharper, says):
    one = gathered(20, sharper).block(draws=100)["regions"]["a"]
    assert one["calibration"] == says
    right = gathered(20).block(draws=100)["regions"]["a"]
    assert (one["ece"]["value"] > right["ece"]["upper"]) is (sharper != 1.0)


def test_counts_by_class_give_the_auroc_of_scikit_learn():
    rng = np.random.default_rng(0)
    right, wrong = rng.integers(0, 9, 12), rng.integers(0, 9, 12)
    score = np.concatenate([np.repeat(np.arange(12), right), np.repeat(np.arange(12), wrong)])
    truth = np.repeat([0, 1], [right.sum(), wrong.sum()])
    assert wrong_voxels_auroc(right, wrong) == pytest.approx(roc_auc_score(truth, score))
    assert np.isnan(wrong_voxels_auroc([0, 0], [1, 1]))


def test_a_spread_that_knows_and_one_that_misleads():
    for sign, state in ((1, "knows"), (-1, "misleads"), (0, "not shown")):
        seen = VoxelCalibration(["a"])
        for seed in range(12):
            p, truth = scan(seed)
            wrong = (p >= 0.5) != truth
            noise = np.random.default_rng((seed, 1)).random(p.shape)
            seen.add(p, truth, spread=(0.3 * noise + 0.1 * (sign * wrong + (sign < 0))).astype(np.float32))
        block = seen.block(draws=50)
        assert block["signal"] == "spread"
        assert block["regions"]["a"]["state"] == state
        assert set(block["regions"]["a"]["doubt"]) == {"entropy", "spread"}


def test_outlines_and_unknown_voxels_are_taken_as_given():
    p, truth = scan(0)
    nothing = np.zeros_like(truth)
    seen, all_known = VoxelCalibration(["a"], least=0.0), VoxelCalibration(["a"], least=0.0)
    known = np.zeros(SHAPE, dtype=bool)
    known[:4] = True
    seen.add(p, truth, mask=nothing, known=known)
    one = seen.block(draws=10)["regions"]["a"]
    assert one["voxels"] == known.sum()
    assert one["wrong"]["value"] == pytest.approx(truth[0][known].mean())
    assert one["left_out"]["value"] == 0
    all_known.add(p, truth, spread=np.full(p.shape, np.nan, dtype=np.float32))
    assert all_known.block(draws=10)["signal"] == "entropy"


def test_voxels_and_scans_add_nothing_but_patients_do():
    seen = VoxelCalibration(["a"])
    for seed in range(6):
        for _ in range(3):
            seen.add(*scan(seed))
    thrice = seen.block(np.repeat(np.arange(6), 3), draws=200)["regions"]["a"]
    once = gathered(6).block(draws=200)["regions"]["a"]
    for name in ("brier", "oe", "wrong"):
        assert thrice[name]["lower"] == pytest.approx(once[name]["lower"])
    assert thrice["ece"]["upper"] == pytest.approx(once["ece"]["upper"])


def test_few_patients_are_not_enough_evidence():
    block = gathered(12).block(np.arange(12) % 4, draws=50)
    one = block["regions"]["a"]
    assert (one["state"], one["calibration"]) == ("not enough evidence", "not enough evidence")
    assert one["ece"]["lower"] is None
    assert one["doubt"]["entropy"]["lower"] is None
    assert all(row["lower"] is None for row in one["bins"])
    assert "1 without enough evidence" in block["sentence"]


def test_nothing_to_look_at():
    seen = VoxelCalibration(["a"])
    for _ in range(3):
        seen.add(np.zeros((1, 4, 4, 4), dtype=np.float32), np.ones((1, 4, 4, 4), dtype=bool))
    one = seen.block(draws=10)["regions"]["a"]
    assert one["ece"]["value"] is None
    assert one["left_out"]["value"] == 1.0
    assert one["bins"] == []


def test_memory_does_not_grow_with_the_scans():
    seen = VoxelCalibration(["a"])
    seen.add(*scan(0))
    tracemalloc.start()
    for _ in range(20):
        seen.add(*scan(0))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20 * 4000


def test_refused():
    p, truth = scan(0)
    seen = VoxelCalibration(["a"])
    with pytest.raises(DataError, match="no scan"):
        seen.block()
    with pytest.raises(DataError, match="shape"):
        seen.add(p, truth[:, 1:])
    with pytest.raises(DataError, match="outside"):
        seen.add(p * np.nan, truth)
    seen.add(p, truth)
    with pytest.raises(DataError, match="some scans"):
        seen.add(p, truth, spread=p)
    with pytest.raises(DataError):
        VoxelCalibration(["a"], bins=1)
