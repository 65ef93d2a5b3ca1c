"""A model of findings comes back as it was, however pictures are handed over, and refuses what is not its own."""

from __future__ import annotations

import copy
import json
import struct

import numpy as np
import pytest

pytest.importorskip("torch", reason="the deep extra is not installed")
import torch
from safetensors.torch import save

from aimed.calibrate.conformal import ConformalSets
from aimed.calibrate.isotonic import Isotonic
from aimed.calibrate.sigmoid import Sigmoid
from aimed.core import BundleError, DataError
from aimed.diagnosis import findings_model as module
from aimed.diagnosis.findings_model import FindingsModel, together
from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.linear_probe import LinearProbe
from aimed.diagnosis.stored_weights import stored_networks
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import ImageFile
from aimed.readers.image_set import ImageSet

OPTIONS = {"widths": [4, 8]}
NAMES = ["z heart", "nodule", "a-effusion"]


@pytest.fixture(scope="module")
def data(chests):
    return chests(n=80, size=32)


@pytest.fixture(scope="module")
def network(data):
    pictures, y, patient = data
    model = ImageClassifier("small_cnn", OPTIONS, max_epochs=3, n_estimators=2, early_stopping=False, n_jobs=1)
    return model.fit(pictures, y, patient, names=NAMES)


@pytest.fixture
def model(network, data):
    pictures, y, _ = data
    found = FindingsModel(
        "small_cnn", "Small", copy.copy(network), size=32, bits=8, labels={"nodule": "Nodule"}, seed=4
    )
    raw = found.raw(pictures)
    found.calibrators = [Sigmoid(0.1, 1.4), None, Isotonic().fit(raw[:, 2], y[:, 2])]
    found.thresholds[:] = [0.3, np.nan, 0.6]
    # Names whose alphabetical order is another one: JSON objects have no order.
    found.conformal = ConformalSets.fit(found.risk(pictures), y, names=["Z", "M", "A"], alpha=0.3)
    return found


def rebuilt(model):
    state = json.loads(json.dumps(model.to_state(), sort_keys=True, allow_nan=False))
    return FindingsModel.from_state(state, model.weights())


def test_everything_comes_back(model, data):
    pictures = data[0]
    again = rebuilt(model)
    np.testing.assert_array_equal(again.raw(pictures), model.raw(pictures))
    np.testing.assert_array_equal(again.risk(pictures), model.risk(pictures))
    for one, other in zip(again.uncertain(pictures), model.uncertain(pictures), strict=True):
        np.testing.assert_array_equal(one, other)
    risk = model.risk(pictures)
    np.testing.assert_array_equal(again.decided(risk), model.decided(risk))
    np.testing.assert_array_equal(again.conformal.transform(risk), model.conformal.transform(risk))
    assert (again.recipe, again.title, again.size, again.bits, again.seed) == ("small_cnn", "Small", 32, 8, 4)
    assert again.findings == NAMES
    assert again.keys == ["z_heart", "nodule", "a_effusion"]
    assert again.labels == {"z heart": "z heart", "nodule": "Nodule", "a-effusion": "a-effusion"}
    assert json.dumps(again.to_state(), sort_keys=True) == json.dumps(model.to_state(), sort_keys=True)
    assert again.weights() == model.weights()


def test_a_model_without_calibration_and_with_odd_history_comes_back(network, data):
    bare = FindingsModel("small_cnn", "Small", copy.copy(network), size=32, bits=8)
    bare.classifier.history_ = [{**part, "tune_auroc": [float("nan")]} for part in network.history_]
    again = rebuilt(bare)
    assert again.conformal is None
    assert again.calibrators == [None] * 3
    assert np.isnan(again.thresholds).all()
    assert again.classifier.history_[0]["tune_auroc"] == [None]
    np.testing.assert_array_equal(again.risk(data[0][:5]), network.predict_proba(data[0][:5]))


def test_a_linear_probe_is_a_model_too(data):
    pictures, y, patient = data
    probe = LinearProbe("small_cnn", OPTIONS, n_jobs=1, penalty=10.0).fit(pictures, y, patient, names=NAMES)
    model = FindingsModel("linear_probe", "Probe", probe.classifier_, size=32, bits=8)
    np.testing.assert_allclose(model.raw(pictures), probe.predict_proba(pictures), atol=1e-5)
    np.testing.assert_array_equal(rebuilt(model).raw(pictures), model.raw(pictures))
    assert np.isnan(model.uncertain(pictures)[1]).all()


def test_calibration_is_that_of_each_finding_on_the_mean(model, network, data):
    pictures = data[0]
    raw = network.predict_proba(pictures)
    risk, spread = model.uncertain(pictures)
    np.testing.assert_allclose(model.raw(pictures), raw, rtol=1e-12)
    np.testing.assert_allclose(risk[:, 0], Sigmoid(0.1, 1.4).transform(raw[:, 0]), rtol=1e-9)
    np.testing.assert_array_equal(risk[:, 1], model.raw(pictures)[:, 1])
    members = network.predict_members(pictures)
    both = [Sigmoid(0.1, 1.4).transform(one[:, 0]) for one in members]
    np.testing.assert_allclose(spread[:, 0], np.abs(both[0] - both[1]) / np.sqrt(2), rtol=1e-6, atol=1e-12)


def test_thresholds_are_reached_not_passed(model):
    risk = np.array([[0.3, 0.9, 0.6], [0.2999999, 0.0, 0.5]])
    np.testing.assert_array_equal(model.decided(risk), [[1, np.nan, 1], [0, np.nan, 0]])


def test_the_way_pictures_are_handed_over_changes_nothing(model, data, tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="the imaging extra is not installed")
    pictures = data[0][:20]
    files = [ImageFile(tmp_path / f"{i}.png") for i in range(20)]
    for one, file in zip(pictures, files, strict=True):
        Image.fromarray(one).save(file.path)
    cached = ImageSet(ImageCache.build(files, tmp_path / "cache", size=32), files)
    expected = model.risk(pictures)
    np.testing.assert_array_equal(model.risk(cached), expected)
    np.testing.assert_array_equal(model.risk(ImageRows(data[0], np.arange(20))), expected)
    order = np.array([3, 1, 19])
    np.testing.assert_allclose(model.risk(cached.take(order)), expected[order], atol=1e-6)


def test_pictures_are_fetched_some_at_a_time(model, data, monkeypatch):
    monkeypatch.setattr(module, "_PIXELS", 7 * 32 * 32)

    class Counted:
        most = 0

        def __len__(self):
            return len(data[0])

        def rows(self, rows):
            self.most = max(self.most, len(rows))
            return data[0][rows]

    told = []
    counted = Counted()
    found = model.risk(counted, progress=lambda share, text: told.append((share, text)))
    assert counted.most == 7
    assert told[-1] == (1.0, "80 of 80 pictures")
    assert len(told) == 12
    np.testing.assert_allclose(found, model.risk(data[0]), atol=1e-6)
    assert together(4096) == 1


@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 32, 31)])
def test_frames_of_another_size_are_refused(model, shape):
    with pytest.raises(DataError, match="as in training"):
        model.risk(np.zeros(shape, dtype=np.uint8))


def test_frames_of_another_depth_are_refused(model):
    with pytest.raises(DataError, match="65535"):
        model.risk(np.zeros((2, 32, 32), dtype=np.uint16))


def test_a_network_of_another_size_and_findings_with_one_key_are_refused(network):
    with pytest.raises(DataError, match="network for pictures"):
        FindingsModel("small_cnn", "Small", network, size=64, bits=8)
    same = copy.copy(network)
    same.findings_ = ["a b", "a-b", "c"]
    with pytest.raises(DataError):
        FindingsModel("small_cnn", "Small", same, size=32, bits=8)


# ------------------------------------------------------------------------------------------------- states from outside


def changed(model, **entries):
    state = json.loads(json.dumps(model.to_state()))
    for path, value in entries.items():
        place = state
        *way, last = path.split("__")
        for name in way:
            place = place[name]
        place[last] = value
    return state


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"preprocessing__reader": 0}, "another version"),
        ({"thresholds": [0.5]}, "3 of each"),
        ({"calibration": []}, "3 of each"),
        ({"network__architecture_options": None}, None),
        ({"network__parameters__test_time_augmentation": 10**9}, "copies"),
        ({"network__parameters__architecture_options": {"widths": [2**30, 2**30]}}, "ask for too much"),
        ({"network__parameters__architecture_options": {"widths": [1] * 9000}}, "ask for too much"),
        ({"network__parameters__architecture_options": {"widths": [1e300]}}, "ask for too much"),
        ({"network__parameters__architecture_options": {"widths": [4, 4096]}}, "do not fit the architecture"),
        ({"network__parameters__architecture_options": {"widths": []}}, "cannot be rebuilt"),
        ({"network__findings": ["x"] * 1_000_000}, "do not fit the architecture"),
        ({"network__shifts": [[0, 0, 0]] * 100_000}, "weights of 2 networks"),
        ({"network__shifts": [[0, 0, 0]]}, "weights of 2 networks"),
    ],
)
def test_states_that_ask_for_something_else_are_refused(model, entries, match):
    state = changed(model, **entries)
    if match is None:
        FindingsModel.from_state(state, model.weights())
        return
    with pytest.raises(BundleError, match=match):
        FindingsModel.from_state(state, model.weights())


def weights_refused(data, options=OPTIONS, count=1, match=None):
    with pytest.raises(BundleError, match=match):
        stored_networks(data, "small_cnn", 3, options, count)


def test_weights_that_lie_are_refused_before_memory_is_taken(model):
    good = model.weights()
    (length,) = struct.unpack("<Q", good[:8])
    header = json.loads(good[8 : 8 + length])

    def made(header, body=good[8 + length :]):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + body

    assert len(stored_networks(made(header), "small_cnn", 3, OPTIONS, 2)) == 2
    weights_refused(b"", match="damaged")
    weights_refused(b"\xff" * 8, match="8 MB")
    weights_refused(struct.pack("<Q", 9 << 20) + b"{}", match="8 MB")
    weights_refused(struct.pack("<Q", 1000) + b"{}", match="damaged")
    weights_refused(good[:-4], count=2, match="damaged")
    weights_refused(good + b"GIF89a", count=2, match="damaged")
    name = next(iter(n for n in header if n.endswith("classifier.weight")))
    for entry in (
        {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": header[name]["data_offsets"]},
        {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": header[name]["shape"], "data_offsets": [0, 2**60]},
        {"dtype": "F64", "shape": header[name]["shape"], "data_offsets": header[name]["data_offsets"]},
        {"dtype": "pickle", "shape": [1], "data_offsets": [0, 4]},
    ):
        weights_refused(made({**header, name: entry}), count=2)
    weights_refused(made({**header, "more": {"dtype": "F32", "shape": [0, 2**40], "data_offsets": [0, 0]}}), count=2)


def test_weights_of_another_type_or_network_are_refused(model):
    tensors = {f"0.{k}": v.contiguous() for k, v in model.classifier.networks_[0].state_dict().items()}
    assert len(stored_networks(save(tensors), "small_cnn", 3, OPTIONS, 1)) == 1
    half = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    weights_refused(save(half), match="do not fit")
    weights_refused(save(tensors), count=2, match="1 networks")
    weights_refused(save({**tensors, "1.classifier.bias": torch.zeros(3)}), count=1, match="2 networks")
    weights_refused(save({k: v for k, v in tensors.items() if "classifier" not in k}), match="do not fit")
    weights_refused(save({"bias": torch.zeros(3)}), match="1 networks")
