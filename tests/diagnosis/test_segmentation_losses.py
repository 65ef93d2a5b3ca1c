"""Losses of outlines against the published toy values, brute force, and voxels that are not known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.core import DataError  # noqa: E402
from aimed.diagnosis import SEGMENTATION_LOSSES  # noqa: E402
from aimed.diagnosis.segmentation_losses import (  # noqa: E402
    deep_supervision,
    dice_cross_entropy,
    dice_loss,
    focal_loss,
    soft_dice_loss,
    tversky_loss,
    voxel_cross_entropy,
)

EYE = [[1.0, 0.0], [0.0, 1.0]]
HALF = [[0.5, 0.0], [0.0, 0.5]]
NEAR = [[1.0, 0.8], [0.0, 1.0]]
TOP, THREE = [[1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]]
NAMES = list(SEGMENTATION_LOSSES)


@pytest.mark.parametrize(
    ("case", "probabilities", "label"),
    [
        (0, [[EYE]], [[TOP]]),
        (1, [[HALF]], [[TOP]]),
        (2, [[EYE]], [[THREE]]),
        (3, [[NEAR]], [[THREE]]),
        (4, [[HALF, NEAR]], [[TOP, THREE]]),
    ],
)
def test_the_toys_of_the_reference(reference, case, probabilities, label):
    import json

    values = json.loads(reference("expected_results.json").read_text())
    published = next(part["soft_dice_loss"] for part in values.values() if isinstance(part, dict)
                     and isinstance(part.get("soft_dice_loss"), list))  # fmt: skip
    found = soft_dice_loss(torch.tensor(probabilities), torch.tensor(label), epsilon=1.0)
    np.testing.assert_allclose(found, published[case], atol=2e-7)


def test_two_cases_are_averaged_or_added_up():
    p, y = torch.tensor([[EYE], [HALF]]), torch.tensor([[TOP], [TOP]])
    apart = soft_dice_loss(p, y, epsilon=1.0)
    np.testing.assert_allclose(apart, (0.4 + 3 / 7) / 2, rtol=1e-6)
    together = soft_dice_loss(p, y, epsilon=1.0, batch=True)
    np.testing.assert_allclose(together, 1 - (2 * 1.5 + 1) / (2.5 + 4 + 1), rtol=1e-6)


def toy(exclusive, seed=0, unknown=0.2):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(2, 3, 4, 5, 3))
    if exclusive:
        y = np.eye(3)[rng.integers(0, 3, (2, 4, 5, 3))].transpose(0, 4, 1, 2, 3)
        y = np.where(rng.random((2, 1, 4, 5, 3)) < unknown, np.nan, y)
    else:
        y = (rng.random(z.shape) < 0.4).astype(float)
        y[rng.random(y.shape) < unknown] = np.nan
    return z, y


def brute(name, z, y, exclusive):
    """Return each loss from its paper's formula, a channel and a case at a time."""
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True) if exclusive else 1 / (1 + np.exp(-z))
    known = ~np.isnan(y)
    parts = []
    for case in range(len(z)):
        for channel in range(1 if exclusive else 0, z.shape[1]):
            at = known[case, channel]
            q, t = p[case, channel][at], y[case, channel][at]
            if name == "tversky":
                tp, fp, fn = (q * t).sum(), (q * (1 - t)).sum(), ((1 - q) * t).sum()
                parts.append(1 - (tp + 1e-5) / (tp + 0.3 * fp + 0.7 * fn + 1e-5))
            else:
                parts.append(1 - (2 * (q * t).sum() + 1e-5) / ((q**2).sum() + (t**2).sum() + 1e-5))
    overlap = np.mean(parts)
    pt = np.where(y == 1, p, 1 - p)
    if exclusive:
        pt, known = np.where(known[:, 0], (p * np.nan_to_num(y)).sum(1), 1.0), known[:, 0]
    entropy, focal = (-(how * np.log(pt))[known].mean() for how in (np.ones_like(pt), (1 - pt) ** 2))
    return {"dice": overlap, "tversky": overlap, "dice_cross_entropy": overlap + entropy, "focal": focal}[name]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_brute_force_with_unknown_voxels(name, exclusive):
    z, y = toy(exclusive)
    found = SEGMENTATION_LOSSES[name](torch.from_numpy(z), torch.from_numpy(y), exclusive=exclusive)
    np.testing.assert_allclose(found, brute(name, z, y, exclusive), rtol=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_unknown_voxels_move_nothing(name, exclusive, size):
    z, y = toy(exclusive, unknown=0.4)
    logits = (torch.from_numpy(z).float() * size).requires_grad_()
    loss = SEGMENTATION_LOSSES[name](logits, torch.from_numpy(y).float(), exclusive=exclusive)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[torch.from_numpy(np.isnan(y))] == 0).all()
    other = logits.detach() + torch.from_numpy(np.isnan(y)) * 3.0
    np.testing.assert_allclose(
        SEGMENTATION_LOSSES[name](other, torch.from_numpy(y).float(), exclusive=exclusive), loss.detach(), rtol=1e-6
    )
    nothing = torch.full_like(logits, torch.nan)
    assert SEGMENTATION_LOSSES[name](logits, nothing, exclusive=exclusive).item() == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_right_scores_lose_nothing_and_half_precision_is_widened(name):
    y = (torch.rand(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    loss = SEGMENTATION_LOSSES[name](((2 * y - 1) * 30).bfloat16(), y)
    assert loss.dtype == torch.float32
    assert loss.item() < 1e-4


def test_known_relations():
    z, y = (torch.from_numpy(a) for a in toy(False, unknown=0.0))
    np.testing.assert_allclose(focal_loss(z, y, gamma=0.0), voxel_cross_entropy(z, y), rtol=1e-9)
    p = torch.sigmoid(z)
    plain = 1 - (2 * (p * y).sum((2, 3, 4)) + 2e-5) / ((p + y).sum((2, 3, 4)) + 2e-5)
    np.testing.assert_allclose(tversky_loss(z, y, alpha=0.5, beta=0.5), plain.mean(), rtol=1e-9)
    np.testing.assert_allclose(dice_loss(z, y), soft_dice_loss(p, y), rtol=1e-9)
    assert tversky_loss(z, y, gamma=4 / 3) != tversky_loss(z, y)
    both = dice_cross_entropy(z, y, dice_weight=2.0, entropy_weight=0.5)
    np.testing.assert_allclose(both, 2 * dice_loss(z, y) + 0.5 * voxel_cross_entropy(z, y), rtol=1e-9)


def test_what_is_missed_weighs_more_than_what_is_too_much():
    y = torch.zeros(1, 1, 1, 1, 8)
    y[..., :4] = 1
    missed, more = y.clone(), y.clone()
    missed[..., 0], more[..., 7] = 0, 1
    few, many = (tversky_loss((2 * p - 1) * 20, y) for p in (missed, more))
    assert few > many


def test_scales_are_weighed_and_see_the_nearest_voxels():
    y = torch.zeros(1, 1, 4, 4, 4)
    y[:, :, :2] = 1
    small = torch.zeros(1, 1, 2, 2, 2)
    small[:, :, :1] = 1
    right = [(2 * t - 1) * 30 for t in (y, small)]
    assert deep_supervision(dice_loss, right, y).item() < 1e-4
    wrong = [right[0], -right[1]]
    np.testing.assert_allclose(deep_supervision(dice_loss, wrong, y), 1 / 3, atol=1e-4)
    np.testing.assert_allclose(deep_supervision(dice_loss, wrong, y, [1, 1]), 1 / 2, atol=1e-4)
    np.testing.assert_allclose(deep_supervision(dice_loss, right[0], y), 0, atol=1e-4)
    with pytest.raises(DataError, match="weights"):
        deep_supervision(dice_loss, right, y, [1.0])


def test_shapes_must_agree():
    with pytest.raises(DataError, match="shape"):
        dice_loss(torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2))
