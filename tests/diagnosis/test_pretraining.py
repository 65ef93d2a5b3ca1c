"""Learning without labels: hidden patches are painted, views find each other, and the weights are a start."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError, RefusedError, StudyFileError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.augmentation import Augmentation  # noqa: E402
from aimed.diagnosis.image_classifier import ImageClassifier  # noqa: E402
from aimed.diagnosis.image_rows import ImageRows  # noqa: E402
from aimed.diagnosis.linear_probe import LinearProbe  # noqa: E402
from aimed.diagnosis.pooled_network import build_network  # noqa: E402
from aimed.diagnosis.pretraining import (  # noqa: E402
    VIEWS,
    _cut,
    _finding,
    _patches,
    _TwoViews,
    check_pretraining,
    pretrain,
)
from aimed.diagnosis.standardise import Standardise  # noqa: E402

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


def test_views_of_a_picture_find_each_other(tmp_path):
    rng = np.random.default_rng(0)
    # Blotches that are nobody else's.
    pictures = np.kron(rng.integers(40, 215, (96, 4, 4)), np.ones((8, 8))).astype(np.uint8)
    labels, patient = (rng.random((96, 2)) < 0.5).astype(float), np.arange(96)
    found, again = (
        pretrain(
            pictures, tmp_path / f"{name}.safetensors", architecture_options=OPTIONS, method="contrastive",
            max_epochs=8, learning_rate=5e-3, batch_size=32, n_jobs=1,
        )
        for name in ("one", "two")
    )  # fmt: skip
    assert found.chance == pytest.approx(np.log(63))
    assert found.loss[-1] < 0.9 * found.loss[0]
    assert again.weights.sha256 == found.weights.sha256
    probe = LinearProbe("small_cnn", OPTIONS, initial_weights=found.weights, n_jobs=1).fit(pictures, labels, patient)
    assert probe.classifier_.weights_report_.share == 1.0


def test_the_loss_of_views_is_that_of_simclr():
    z = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    found = _finding(lambda x: z, (torch.zeros(3, 1), torch.zeros(3, 1)))
    alike, sums = (z @ z.T / 0.2).double().numpy(), []
    for i in range(6):
        others = [alike[i, j] for j in range(6) if j != i]
        sums.append(np.log(np.exp(others).sum()) - alike[i, (i + 3) % 6])
    assert float(found) == pytest.approx(np.mean(sums), rel=1e-5)


def test_views_differ_and_come_again(chests):
    pictures, _, _ = chests(6, 32)
    part = ImageRows(pictures)
    data = _TwoViews(part, np.zeros((6, 1), dtype=np.float32), Standardise(0.5, 0.25), VIEWS, 1)
    first, second = data.__getitems__([0, 3])
    same = data.__getitems__([3, 0])
    assert not torch.equal(first, second)
    assert torch.equal(first[0], same[0][1])
    assert torch.equal(second[1], same[1][0])
    data.set_epoch(1)
    assert not torch.equal(first, data.__getitems__([0, 3])[0])
    assert VIEWS.rotation <= 2 * Augmentation().rotation, "anatomy stays: no view is turned on its head"


@pytest.mark.parametrize(
    ("architecture", "size", "patch", "cell"),
    [("small_cnn", 64, 16, 8), ("small_cnn", 40, 8, 8), ("small_cnn", 224, 16, 8), ("densenet121", 128, 32, 32)],
)
def test_the_patch_fits_network_and_picture(architecture, size, patch, cell):
    assert _cut(build_network(architecture, 1), (size, size), None) == (patch, cell)
    check_pretraining("masked", size, architecture)


def test_sizes_that_do_not_fit_are_refused_early():
    with pytest.raises(DataError, match="multiples of the patch"):
        check_pretraining("masked", 50, "small_cnn")
    check_pretraining("contrastive", 50, "small_cnn")


def test_a_checkpoint_of_other_pictures_is_refused(chests, tmp_path):
    pictures, _, _ = chests(24, 32)
    options = {"architecture_options": OPTIONS, "max_epochs": 1, "n_jobs": 1, "checkpoint": tmp_path / "kept"}
    pretrain(pictures, tmp_path / "a", **options)
    with pytest.raises(RefusedError, match="another training"):
        pretrain(255 - pictures, tmp_path / "a", **options)


@pytest.mark.parametrize(
    ("n", "options", "error", "words"),
    [
        (4, {"method": "magic"}, StudyFileError, "masked, contrastive"),
        (4, {"hidden": 1.0}, StudyFileError, "share"),
        (1, {"method": "contrastive"}, DataError, "at least two"),
    ],
)
def test_what_cannot_be_learned(n, options, error, words, tmp_path):
    pictures = np.zeros((n, 32, 32), dtype=np.uint8)
    with pytest.raises(error, match=words):
        pretrain(pictures, tmp_path / "x", architecture_options=OPTIONS, **options)


def test_pictures_without_any_label_change_nothing_where_labels_teach(chests):
    pictures, labels, patient = chests(80, 32, noise=2.0)
    bare = np.arange(80) >= 60
    partly = np.where(bare[:, None], np.nan, labels)
    partly[:5, 0] = np.nan
    for make in (
        lambda: ImageClassifier(architecture_options=OPTIONS, max_epochs=2, n_jobs=1, precision="32-true"),
        lambda: LinearProbe("small_cnn", OPTIONS, n_jobs=1),
    ):
        one = make().fit(pictures, partly, patient)
        two = make().fit(pictures[~bare], partly[~bare], patient[~bare])
        assert np.array_equal(one.predict_proba(pictures), two.predict_proba(pictures))
    assert ImageClassifier(architecture_options=OPTIONS, max_epochs=1, n_jobs=1).fit(
        pictures, partly, patient
    ).n_fitted_ == 60  # fmt: skip
