"""Losses against the published toy value, brute force, and labels that are not known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis import LOSSES  # noqa: E402
from aimed.diagnosis.losses import (  # noqa: E402
    asymmetric_loss,
    cross_entropy,
    focal_loss,
    weighted_cross_entropy,
)

TOY = torch.tensor([[1.0, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize("chance", [0.7, 0.3])
def test_the_toy_of_the_reference(chance):
    positive = torch.tensor([0.25, 0.25, 0.5])
    found = weighted_cross_entropy(torch.full((4, 3), chance).logit(), TOY, positive, 1 - positive, epsilon=1.0)
    np.testing.assert_allclose(found, -0.4956203, atol=5e-8)


def test_weights_that_balance_make_both_sides_weigh_the_same():
    y = (torch.arange(50) < 5).float()[:, None]
    logits = torch.zeros(50, 1, requires_grad=True)
    weighted_cross_entropy(logits, y, torch.tensor([0.9]), torch.tensor([0.1])).backward()
    pull = logits.grad[:, 0]
    np.testing.assert_allclose(pull[:5].sum(), -pull[5:].sum(), rtol=1e-6)


def brute(name, p, y):
    """Return each element's loss from its paper's formula, in numpy."""
    if name == "focal":
        pt = np.where(y == 1, p, 1 - p)
        return -((1 - pt) ** 2) * np.log(pt)
    if name == "asymmetric":
        pm = np.maximum(p - 0.05, 0)
        return np.where(y == 1, -(1 - p) * np.log(p), -(pm**4) * np.log(1 - pm))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


@pytest.mark.parametrize("name", ["plain", "weighted", "focal", "asymmetric"])
def test_brute_force_with_unknown_labels(name):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(40, 4)) * 2, (rng.random((40, 4)) < 0.4).astype(float)
    y[rng.random(y.shape) < 0.3] = np.nan
    y[:, 3] = np.nan
    p = 1 / (1 + np.exp(-logits))
    each = brute(name, p, y)
    expected = sum(np.mean(each[~np.isnan(y[:, j]), j]) for j in range(3))
    found = LOSSES[name](torch.from_numpy(logits), torch.from_numpy(y))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["plain", "weighted", "focal", "asymmetric"])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_unknown_labels_move_nothing(name, size):
    logits = (torch.tensor([[1.0, -2.0], [-0.3, 0.4], [0.5, 1.5]]) * size).requires_grad_()
    y = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan], [0.0, torch.nan]])
    loss = LOSSES[name](logits, y)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[torch.isnan(y)] == 0).all()
    assert LOSSES[name](logits, torch.full((3, 2), torch.nan)).item() == 0.0


def test_no_focus_is_cross_entropy():
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.1], [1.0, -0.5], [-1.0, 0.2]])
    y = TOY[:, :2]
    np.testing.assert_allclose(focal_loss(logits, y, gamma=0.0), cross_entropy(logits, y), rtol=1e-6)
    np.testing.assert_allclose(
        asymmetric_loss(logits, y, gamma_negative=0.0, gamma_positive=0.0, margin=0.0), cross_entropy(logits, y),
        rtol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(2 * focal_loss(logits, y, alpha=0.5), focal_loss(logits, y), rtol=1e-6)
