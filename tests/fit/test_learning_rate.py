"""The learning-rate finder: it leaves the module alone, and what it suggests trains."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import NotEstimableError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.fit.learning_rate import find_learning_rate  # noqa: E402
from aimed.fit.torch_training import MemoryRows, TrainingSettings, seeded, train  # noqa: E402


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 5))
    return MemoryRows(x, x @ np.arange(1.0, 6.0)[:, None] + 0.1 * rng.normal(size=(256, 1)))


def squared(module, batch):
    return ((module(batch[0]) - batch[1]) ** 2).mean()


def test_the_suggestion_trains_and_the_module_is_left_alone():
    with seeded(0):
        line = torch.nn.Linear(5, 1)
    before = line.weight.detach().clone()
    settings = TrainingSettings(optimizer="sgd", momentum=0.0, batch_size=32, epochs=20)
    found = find_learning_rate(line, squared, data(), settings, high=10.0)
    assert torch.equal(line.weight, before)
    assert np.all(np.diff(found.rate) > 0)
    # Plain gradient descent diverges above 2 / (largest curvature), which is about 1 here.
    assert 0.003 < found.suggested < 0.5
    assert found.rate.max() < 10.0, "the trial ends when the loss explodes"
    done = train(line, squared, data(), settings=TrainingSettings(
        optimizer="sgd", momentum=0.0, batch_size=32, epochs=20, learning_rate=found.suggested))  # fmt: skip
    assert done.train_loss[-1] < 0.1
    again = find_learning_rate(torch.nn.Linear(5, 1), squared, data(), settings, high=10.0)
    assert again.rate.size > 10


def test_a_loss_that_never_falls():
    with pytest.raises(NotEstimableError, match="did not fall"):
        find_learning_rate(torch.nn.Linear(5, 1), lambda m, b: squared(m, b) * 0.0 + 1.0, data(), steps=30)
