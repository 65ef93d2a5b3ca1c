"""Learning without labels: hidden patches are painted better than by their grey, and the weights are a start."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.image_classifier import ImageClassifier  # noqa: E402
from aimed.diagnosis.pretraining import _patches, pretrain  # noqa: E402

OPTIONS = {"widths": [8, 16, 24]}


def test_it_learns_and_its_weights_are_a_start(chests, tmp_path):
    pictures, labels, patient = chests(120, 32, noise=2.0)
    found = pretrain(
        pictures, tmp_path / "own.safetensors", architecture_options=OPTIONS, patch=8, max_epochs=8, learning_rate=5e-3,
        n_jobs=1,
    )  # fmt: skip
    assert found.loss[-1] < 0.9 < found.loss[0], "1 is the grey of the patch"
    model = ImageClassifier(
        architecture_options=OPTIONS, initial_weights=found.weights, max_epochs=1, n_jobs=1, precision="32-true"
    ).fit(pictures, labels, patient)
    assert model.weights_report_.share == 1.0
    np.testing.assert_allclose(model.standardise_.mean, pictures.mean() / 255, rtol=1e-6)
    again = pretrain(
        pictures, tmp_path / "again.safetensors", architecture_options=OPTIONS, patch=8, max_epochs=8,
        learning_rate=5e-3, n_jobs=1,
    )  # fmt: skip
    assert again.weights.sha256 == found.weights.sha256


def test_patches_have_mean_zero_and_spread_one():
    patches = _patches(torch.rand(2, 1, 16, 24) * 3 + 5, 8).reshape(2, 2, 8, 3, 8)
    np.testing.assert_allclose(patches.mean((2, 4)), 0.0, atol=1e-5)
    np.testing.assert_allclose(patches.pow(2).mean((2, 4)), 1.0, atol=1e-3)


def test_pictures_that_cannot_be_cut(tmp_path):
    with pytest.raises(DataError, match="multiples of the patch"):
        pretrain(np.zeros((4, 30, 30), dtype=np.uint8), tmp_path / "x", architecture_options=OPTIONS)
