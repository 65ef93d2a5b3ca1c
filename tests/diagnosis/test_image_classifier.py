"""The image classifier: it learns, repeats, resumes, survives storage, keeps patients apart and streams pictures."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import BundleError, DataError, NotEstimableError, StudyFileError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from safetensors.torch import save_file  # noqa: E402

from aimed.diagnosis.augmentation import Augmentation  # noqa: E402
from aimed.diagnosis.image_classifier import ImageClassifier  # noqa: E402
from aimed.diagnosis.image_rows import ImageRows  # noqa: E402
from aimed.diagnosis.initial_weights import InitialWeights  # noqa: E402
from aimed.metrics.multilabel import multilabel_auroc  # noqa: E402

SMALL = {
    "architecture_options": {"widths": [8, 16, 24]}, "max_epochs": 3, "batch_size": 16, "n_jobs": 1,
    "precision": "32-true",
}  # fmt: skip


def small(**changes):
    return ImageClassifier(**{**SMALL, **changes})


@pytest.fixture(scope="module")
def data(chests):
    return chests(120, 32)


@pytest.fixture(scope="module")
def fitted(data):
    pictures, labels, patient = data
    return small(n_estimators=2).fit(pictures, labels, patient, names=["heart", "nodule", "effusion"])


@pytest.mark.parametrize(
    "loss", ["weighted", "plain", *(pytest.param(one, marks=pytest.mark.slow) for one in ("focal", "asymmetric"))]
)
def test_it_learns_what_can_be_seen(chests, loss):
    pictures, labels, patient = chests(300, 32)
    others, truth, _ = chests(150, 32, seed=1)
    model = small(loss=loss, max_epochs=10, learning_rate=5e-3).fit(pictures, labels, patient)
    found = multilabel_auroc(truth, model.predict_proba(others))
    assert found.targets[2].value > 0.9, "effusion"


def test_probabilities_of_the_weighted_loss_are_about_as_frequent_as_findings(chests):
    pictures, labels, patient = chests(300, 32)
    rare = labels.copy()
    rare[:, 2] *= np.random.default_rng(0).random(300) < 0.3
    model = small(max_epochs=8, learning_rate=5e-3, early_stopping=False).fit(pictures, rare, patient)
    share = rare.mean(axis=0)
    np.testing.assert_allclose(model.predict_proba(pictures).mean(axis=0), share, atol=0.07)


def test_the_first_probabilities_are_the_frequencies(data):
    pictures, labels, patient = data
    for loss in ("weighted", "plain"):
        model = small(max_epochs=1, learning_rate=1e-9, early_stopping=False, loss=loss, augmentation=False)
        model.fit(pictures, labels, patient)
        np.testing.assert_allclose(model.predict_proba(pictures).mean(axis=0), labels.mean(axis=0), atol=0.03)


def test_same_seed_same_bits(data, fitted):
    pictures, labels, patient = data
    again = small(n_estimators=2).fit(pictures, labels, patient)
    assert again.weights() == fitted.weights()
    assert again.history_ == fitted.history_
    assert (
        small(random_state=1).fit(pictures, labels, patient).weights()
        != small().fit(pictures, labels, patient).weights()
    )


def test_stored_and_read_back(data, fitted):
    pictures = data[0]
    state = json.loads(json.dumps(fitted.to_state(), allow_nan=False))
    back = ImageClassifier.from_state(state, fitted.weights())
    np.testing.assert_array_equal(back.predict_proba(pictures), fitted.predict_proba(pictures))
    np.testing.assert_array_equal(back.features(pictures), fitted.features(pictures))
    assert json.loads(json.dumps(back.to_state())) == state
    with pytest.raises(BundleError, match="not those of the model"):
        ImageClassifier.from_state(state, fitted.weights()[:-1] + b"\x00")
    assert "/" not in json.dumps(state["parameters"])
    assert fitted.findings_ == ["heart", "nodule", "effusion"]


def test_settings_survive_cloning(fitted):
    model = clone(small(augmentation=Augmentation(rotation=3.0), ema=0.9))
    assert model.get_params()["augmentation"] == Augmentation(rotation=3.0)
    assert clone(fitted).get_params() == fitted.get_params()


def test_averages_of_networks_and_copies(data, fitted):
    pictures = data[0][:20]
    mean, spread = fitted.predict_uncertain(pictures)
    single = [copy.copy(fitted), copy.copy(fitted)]
    for place, model in enumerate(single):
        model.networks_, model.shifts_ = [fitted.networks_[place]], [fitted.shifts_[place]]
    parts = np.stack([model.predict_proba(pictures) for model in single])
    np.testing.assert_allclose(mean, parts.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(spread, parts.std(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(1 / (1 + np.exp(-fitted.decision_function(pictures))), mean, rtol=1e-12)
    assert np.isnan(single[0].predict_uncertain(pictures)[1]).all()
    copies = copy.copy(single[0]).set_params(test_time_augmentation=3)
    changed, varied = copies.predict_uncertain(pictures)
    assert (varied > 0).any()
    assert np.abs(changed - parts[0]).max() > 1e-4
    np.testing.assert_array_equal(changed, copies.predict_proba(pictures))


def test_unknown_labels_teach_nothing(data):
    pictures, labels, patient = data
    known = np.arange(120) < 90
    nan = np.where(known[:, None], labels, np.nan)
    minus = np.where(known[:, None], labels, -1)
    first, second = (small(early_stopping=False).fit(pictures, y, patient).weights() for y in (nan, minus))
    assert first == second
    ones = small(early_stopping=False, uncertain="ones").fit(pictures, minus, patient)
    assert ones.weights() != first
    assert ones.prevalence_[0] == pytest.approx((labels[:90, 0].sum() + 30) / 120)


def test_mean_and_spread_are_those_of_training_pixels(data):
    pictures, labels, patient = data
    tune = patient >= 50
    model = small(max_epochs=1).fit(pictures, labels, patient, tune=tune)
    np.testing.assert_allclose(model.standardise_.mean, pictures[~tune].mean() / 255, rtol=1e-9)
    np.testing.assert_allclose(model.standardise_.sd, pictures[~tune].std() / 255, rtol=1e-9)
    other = pictures.copy()
    other[tune] = 255 - other[tune]
    assert small(max_epochs=1).fit(other, labels, patient, tune=tune).standardise_ == model.standardise_
    x = model.prepared(pictures[:2])
    np.testing.assert_allclose(
        x[:, 0], (pictures[:2] / 255 - model.standardise_.mean) / model.standardise_.sd, atol=1e-5
    )


def test_sixteen_bits_read_as_eight_do(data, fitted):
    pictures = data[0][:10]
    wide = pictures.astype(np.uint16) * 257
    np.testing.assert_allclose(fitted.predict_proba(wide), fitted.predict_proba(pictures), atol=1e-6)


def test_stopped_on_the_best_epoch(data):
    pictures, labels, patient = data
    for stop_on, pick in (("auroc", np.argmax), ("loss", np.argmin)):
        model = small(max_epochs=12, n_iter_no_change=2, stop_on=stop_on, learning_rate=0.02).fit(
            pictures, labels, patient
        )
        history = model.history_[0]
        assert history["best_epoch"] == 1 + int(pick(history[f"tune_{stop_on}"]))
        assert len(history["tune_auroc"]) == len(history["tune_loss"]) == len(history["train_loss"])
        assert history["train_rows"] + history["tune_rows"] == 120


def test_pictures_come_from_anything_that_gives_rows(data, fitted, tmp_path):
    pictures = data[0]
    np.save(tmp_path / "pictures.npy", pictures)
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r")

    class Cache:
        def __len__(self):
            return len(pictures)

        def rows(self, rows):
            assert len(rows) <= 64, "a batch at a time"
            return mapped[rows]

    expected = fitted.predict_proba(pictures)
    np.testing.assert_array_equal(fitted.predict_proba(mapped), expected)
    np.testing.assert_array_equal(fitted.predict_proba(Cache()), expected)
    some = ImageRows(Cache(), [5, 3, 99])
    np.testing.assert_allclose(fitted.predict_proba(some), expected[[5, 3, 99]], rtol=1e-5)


def test_frozen_and_slower_layers(data):
    pictures, labels, patient = data
    model = small(frozen_epochs=3, early_stopping=False).fit(pictures, labels, patient)
    start = small(max_epochs=1, learning_rate=1e-12, weight_decay=0.0, frozen_epochs=1, early_stopping=False)
    with pytest.raises(StudyFileError):
        small(frozen_epochs=-1).fit(pictures, labels, patient)
    start.fit(pictures, labels, patient)
    for (name, a), b in zip(
        model.networks_[0].state_dict().items(), start.networks_[0].state_dict().values(), strict=True
    ):
        assert torch.equal(a, b) != name.startswith("classifier"), name
    slow = small(layer_decay=0.1, learning_rate=1e-3, optimizer="sgd", early_stopping=False).fit(
        pictures, labels, patient
    )
    assert np.isfinite(slow.predict_proba(pictures)).all()


def test_a_learning_rate_is_found(data):
    pictures, labels, patient = data
    model = small(learning_rate="find").fit(pictures, labels, patient)
    assert 1e-5 < model.history_[0]["learning_rate"] < 0.1
    assert model.get_params()["learning_rate"] == "find"


def test_half_precision_passes_its_gate_or_is_not_used(data, monkeypatch):
    from aimed.fit import half_precision

    pictures, labels, patient = data
    monkeypatch.setattr(half_precision, "half_precision_here", lambda accelerator="cpu": True)
    model = small(precision="auto").fit(pictures, labels, patient)
    assert model.precision_["checked"]
    passed = abs(model.precision_["auroc_change"]) < 0.002
    assert (model.precision_["used"] == "bf16-mixed") == passed
    full = small(precision="32-true").fit(pictures, labels, patient)
    # A gate that never opens: training is repeated as if there were no half precision.
    monkeypatch.setattr(half_precision.PrecisionGate, "passed", property(lambda self: False))
    refused = small(precision="auto").fit(pictures, labels, patient)
    assert refused.precision_["used"] == "32-true"
    assert refused.weights() == full.weights()


def test_weights_of_another_model_are_a_start(data, fitted, tmp_path):
    pictures, labels, patient = data
    path = tmp_path / "own.safetensors"
    save_file({k: v.contiguous() for k, v in fitted.networks_[0].state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    weights = InitialWeights(path=path, sha256=digest, normalisation="unit")
    model = small(initial_weights=weights, linear_probe_first=True, max_epochs=1).fit(pictures, labels, patient)
    assert model.standardise_.source == "unit"
    assert model.weights_report_.share == 1.0
    back = ImageClassifier.from_state(model.to_state(), model.weights())
    assert back.weights_report_ == model.weights_report_
    assert str(tmp_path) not in json.dumps(model.to_state())


KILLED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from conftest import toy_chests
    from aimed.diagnosis.image_classifier import ImageClassifier
    from aimed.fit import torch_training

    steps, step = [0], torch_training._Run.step
    def counted(self, *given):
        steps[0] += 1
        if steps[0] == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        self.save()
        step(self, *given)
    torch_training._Run.step = counted
    pictures, labels, patient = toy_chests(120, 32)
    ImageClassifier(architecture_options={"widths": [8, 16, 24]}, max_epochs=3, batch_size=16, n_jobs=1,
                    precision="32-true", n_estimators=2).fit(pictures, labels, patient, checkpoint=sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGKILL on this system")
def test_killed_in_the_second_network_and_resumed_with_the_same_bits(data, fitted, tmp_path):
    pictures, labels, patient = data
    code = [sys.executable, "-c", textwrap.dedent(KILLED), str(Path(__file__).parent), str(tmp_path), "31"]
    done = subprocess.run(code, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-500:]
    resumed = small(n_estimators=2).fit(pictures, labels, patient, checkpoint=tmp_path)
    # How the memory of weights is laid out is no part of them.
    for a, b in zip(resumed.networks_, fitted.networks_, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert resumed.history_ == fitted.history_


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda x, y, g: (x, np.where(np.arange(3) == 1, 0, y), g), NotEstimableError, "finding 2 is absent in all"),
        (lambda x, y, g: (x, np.where(np.arange(3) == 1, np.nan, y), g), NotEstimableError, "finding 2 is unknown"),
        (lambda x, y, g: (x[:10], y, g), DataError, "10 pictures and 120 rows"),
        (lambda x, y, g: (x.astype(float), y, g), DataError, "float64"),
        (lambda x, y, g: (x[:, None], y, g), DataError, "shape"),
        (lambda x, y, g: (np.full_like(x, 7), y, g), DataError, "all of one grey"),
        (lambda x, y, g: (x, y + 5, g), DataError, "none of 1, 0, -1, NaN"),
        (lambda x, y, g: (x, y, np.zeros(120, dtype=int)), NotEstimableError, "patients"),
    ],
)
def test_data_that_cannot_be_used(data, change, error, match):
    with pytest.raises(error, match=match):
        small().fit(*change(*data))


def test_a_finding_may_be_missing_from_the_tune_part(data):
    pictures, labels, patient = data
    tune = patient >= 50
    rare = labels.copy()
    rare[tune, 1] = 0
    model = small(max_epochs=1).fit(pictures, rare, patient, tune=tune)
    assert np.isfinite(model.history_[0]["tune_auroc"]).all()
    with pytest.raises(DataError, match="both sides of tune"):
        small().fit(pictures, labels, patient, tune=np.arange(120) % 2 == 0)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"architecture": "small_cn"}, "did you mean 'small_cnn'"),
        ({"architecture_options": {"depth": 3}}, "depth"),
        ({"loss": "focall"}, "did you mean 'focal'"),
        ({"loss": "focal", "loss_options": {"gama": 2}}, "gama"),
        ({"stop_on": "f1"}, "auroc, loss"),
        ({"n_estimators": 0}, "n_estimators"),
        ({"layer_decay": 0.0}, "layer_decay"),
    ],
)
def test_settings_that_do_not_exist(data, changes, match):
    with pytest.raises(StudyFileError, match=match):
        small(**changes).fit(*data)


def test_other_sizes_are_refused(data, fitted):
    with pytest.raises(DataError, match="resize"):
        fitted.predict_proba(data[0][:, :16])


WITHOUT = """
    import sys
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "torch":
                raise ModuleNotFoundError("No module named 'torch'", name="torch")
    sys.meta_path.insert(0, Absent())
    import numpy as np
    import aimed.diagnosis.linear_probe, aimed.diagnosis.picture_descriptors
    from aimed.diagnosis.image_classifier import ImageClassifier
    pictures = np.random.default_rng(0).integers(0, 255, (20, 16, 16), dtype=np.uint8)
    ImageClassifier().fit(pictures, np.arange(40).reshape(20, 2) % 3 % 2)
"""


def test_without_torch_the_message_says_what_to_type():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(WITHOUT)], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "run: pip install 'aimed[deep]'" in done.stderr


MEMORY = """
    import resource, sys
    import numpy as np
    from aimed.diagnosis.image_classifier import ImageClassifier

    class Endless:
        def __init__(self, n):
            self.n = n
        def __len__(self):
            return self.n
        def rows(self, rows):
            draws = (np.random.default_rng(int(row)) for row in rows)
            return np.stack([draw.integers(0, 255, (64, 64), dtype=np.uint8) for draw in draws])

    n = int(sys.argv[1])
    y = (np.arange(n)[:, None] % [2, 3] == 0).astype(float)
    model = ImageClassifier(architecture_options={"widths": [4, 8]}, max_epochs=1, n_jobs=1, augmentation=False,
                            precision="32-true", batch_size=64)
    model.fit(Endless(n), y).predict_proba(Endless(n))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_depend_on_the_number_of_pictures():
    peak = [
        int(subprocess.run([sys.executable, "-c", textwrap.dedent(MEMORY), str(n)], capture_output=True, check=True,
                           text=True).stdout)
        for n in (500, 20_000)
    ]  # fmt: skip
    held = 20_000 * 64 * 64 / 1024
    assert peak[1] - peak[0] < 0.4 * held, peak
