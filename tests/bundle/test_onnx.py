"""The network file: it says what the networks say, from pixels on, without torch, and nothing hostile gets in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra serve is not installed")
pytest.importorskip("onnxruntime", reason="the extra serve is not installed")
torch = pytest.importorskip("torch", reason="the extra deep is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from aimed.bundle.onnx_export import LIMITS, export_onnx  # noqa: E402
from aimed.bundle.onnx_graph import OPSET, inspect  # noqa: E402
from aimed.bundle.onnx_runtime import OnnxClassifier, half_precision_runs  # noqa: E402
from aimed.core import BundleError, DataError  # noqa: E402
from aimed.diagnosis.image_classifier import ImageClassifier  # noqa: E402

SMALL = {"widths": [4, 8, 16]}


def bright_tops(n=120, size=(24, 32), seed=0):
    """Return pictures whose upper half is bright, or whose left edge is dark, and what each has."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 2)).astype(float)
    pictures = rng.integers(60, 160, (n, *size))
    pictures[y[:, 0] == 1, :10] += 60
    pictures[y[:, 1] == 1, :, :8] -= 50
    pictures += rng.integers(0, 30, (n, 1, 1))
    return pictures.astype(np.uint8), y


def fitted(pictures, y, **options):
    model = ImageClassifier(
        architecture_options=SMALL, max_epochs=6, learning_rate=1e-2, batch_size=16, n_jobs=1, **options
    )
    return model.fit(pictures, y, names=["bright top", "dark edge"])


@pytest.fixture(scope="module")
def pair():
    """Return two networks of one model, pictures and labels, and the file."""
    pictures, y = bright_tops()
    model = fitted(pictures, y, n_estimators=2)
    return model, pictures, y, export_onnx(model, pictures, y, golden=pictures[:5])


@pytest.fixture(scope="module")
def single():
    """Return one network fitted without a tune part, and its file."""
    pictures, y = bright_tops(60)
    model = fitted(pictures, y, early_stopping=False, precision="32-true")
    return model, pictures, y, export_onnx(model, pictures, y)


def test_the_file_says_what_the_networks_say(pair):
    model, pictures, _, export = pair
    assert export.record["passed"]
    assert export.record["reason"] is None
    assert export.record["max_difference"] < 1e-4
    assert abs(export.record["auroc_change"]) < LIMITS["auroc"]
    reads = OnnxClassifier(export.data, n_jobs=1)
    full = ImageClassifier.from_state({**model.to_state(), "precision": {"used": "32-true"}}, model.weights())
    assert reads.engine == "onnxruntime"
    assert np.abs(reads.logits(pictures) - full.decision_function(pictures)).max() < 1e-5
    assert np.abs(reads.predict_members(pictures) - full.predict_members(pictures)).max() < 1e-6
    assert np.abs(reads.predict_proba(pictures) - full.predict_proba(pictures)).max() < 1e-6
    # The first output, for readers other than ours, is the log odds of the mean as well.
    assert np.abs(reads.outputs(pictures)[0] - reads.logits(pictures)).max() < 1e-4
    assert (reads.findings_, reads.shape_, reads.networks) == (model.findings_, (24, 32), 2)


def test_any_number_of_pictures(single):
    model, pictures, _, export = single
    reads = OnnxClassifier(export.data, n_jobs=1)
    want = model.decision_function(pictures)
    for n in (1, 3, 8, 9, 60):
        assert reads.logits(pictures[:n]).shape == (n, 2)
        assert np.abs(reads.logits(pictures[:n]) - want[:n]).max() < 1e-5


def test_sixteen_bits_are_standardised_as_in_training():
    pictures, y = bright_tops(60)
    deep = pictures.astype(np.uint16) * 257 + np.random.default_rng(1).integers(0, 200, pictures.shape).astype(
        np.uint16
    )
    model = fitted(deep, y, early_stopping=False, precision="32-true")
    export = export_onnx(model, deep, y)
    reads = OnnxClassifier(export.data, n_jobs=1)
    assert np.abs(reads.logits(deep) - model.decision_function(deep)).max() < 1e-5
    with pytest.raises(DataError, match="up to 255"):
        reads.logits(pictures)


def test_other_pictures_are_refused(single):
    _, pictures, _, export = single
    with pytest.raises(DataError, match="as in training"):
        OnnxClassifier(export.data, n_jobs=1).logits(pictures[:, :, :-1])


def test_the_same_model_gives_the_same_bytes_and_no_path_of_this_machine(single):
    model, pictures, y, export = single
    assert export_onnx(model, pictures, y).data == export.data
    assert b".py" not in export.data
    assert b"Research use only" in export.data


def test_without_labels_half_precision_is_not_allowed(single):
    model, pictures, _, _ = single
    record = export_onnx(model, pictures).record
    assert record["passed"]
    assert record["auroc_change"] is None
    assert record["half"] is None


def test_a_file_that_says_something_else_is_not_written(single, monkeypatch):
    model, pictures, y, _ = single
    monkeypatch.setattr("aimed.bundle.onnx_export.OnnxClassifier.outputs", lambda *_: np.zeros((1, 60, 2)))
    export = export_onnx(model, pictures, y)
    assert export.data is None
    assert not export.record["passed"]
    assert "log odds differ by" in export.record["reason"]


def test_an_auroc_that_moves_is_not_written(single, monkeypatch):
    model, pictures, y, _ = single
    true = OnnxClassifier.logits
    # A shift that is small in probability, but of some pictures alone.
    jitter = np.random.default_rng(0).normal(0, 0.05, (60, 2))
    monkeypatch.setattr("aimed.bundle.onnx_export.OnnxClassifier.logits", lambda self, x: true(self, x) + jitter)
    monkeypatch.setitem(LIMITS, "probability", 1.0)
    mixed = y[np.random.default_rng(0).permutation(60)]
    record = export_onnx(model, pictures, mixed).record
    assert not record["passed"]
    assert abs(record["auroc_change"]) >= LIMITS["auroc"]
    assert "AUROC" in record["reason"]


def test_an_auroc_that_does_not_exist_does_not_pass(single):
    model, pictures, _, _ = single
    record = export_onnx(model, pictures, np.zeros((60, 2))).record
    assert not record["passed"]
    assert record["auroc_change"] is None


def test_changed_copies_cannot_be_in_a_file(single):
    _, pictures, y, _ = single
    export = export_onnx(fitted(pictures, y, early_stopping=False, test_time_augmentation=2), pictures, y)
    assert export.data is None
    assert "changed copies" in export.record["reason"]


def test_a_network_that_cannot_be_written_is_no_crash(single, monkeypatch):
    model, pictures, y, _ = single
    monkeypatch.setattr(type(model.networks_[0]), "maps", lambda self, x: torch.fft.fft2(x).real.relu())
    export = export_onnx(model, pictures, y)
    assert export.data is None
    assert "cannot be written" in export.record["reason"]


@pytest.mark.skipif(not half_precision_runs(), reason="no OpenVINO, or a processor without bfloat16")
def test_half_precision_is_near_and_does_not_tie(pair):
    model, pictures, _, export = pair
    reads = OnnxClassifier(export.data, half=True, n_jobs=1)
    assert (reads.engine, reads.half) == ("openvino", True)
    full = OnnxClassifier(export.data, n_jobs=1)
    want, found = full.member_logits(pictures), reads.member_logits(pictures)
    assert 0 < np.abs(found - want).max() < 0.1
    for k in range(2):
        assert len(np.unique(found[k, :, 0])) == len(np.unique(want[k, :, 0]))
    assert np.abs(reads.predict_proba(pictures) - model.predict_proba(pictures)).max() < LIMITS["probability"]


def test_no_torch_and_no_message_to_anybody(single, tmp_path):
    _, pictures, _, export = single
    (tmp_path / "model.onnx").write_bytes(export.data)
    np.save(tmp_path / "pictures.npy", pictures[:9])
    text = """
        import socket, sys
        sys.modules["torch"] = None
        def called(*a, **k):
            raise SystemExit("something called out")
        socket.socket.connect = socket.create_connection = called
        import numpy as np
        from aimed.bundle.onnx_runtime import OnnxClassifier, half_precision_runs
        data = open("model.onnx", "rb").read()
        for half in (False, half_precision_runs()):
            print(OnnxClassifier(data, half=half, n_jobs=1).logits(np.load("pictures.npy")).shape)
        assert "openvino_telemetry" not in sys.modules
    """
    run = [sys.executable, "-c", textwrap.dedent(text)]
    env = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.stdout.split("\n")[:2] == ["(9, 2)", "(9, 2)"], done.stderr
    # What the maker's package would leave behind.
    assert not (tmp_path / "intel").exists()


# ---------------------------------------------------------------------------------------------------------- bad files


def changed(data, change):
    model = onnx.ModelProto.FromString(data)
    change(model)
    return model.SerializeToString()


def outside(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def outside_with_bytes(model):
    model.graph.initializer[0].external_data.add(key="location", value="secret.bin")


def outside_in_a_constant(model):
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def loops(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def nests(model):
    model.graph.node[0].attribute.append(helper.make_attribute("then_branch", helper.make_graph([], "g", [], [])))


def strange_domain(model):
    model.graph.node[0].domain = "com.microsoft"


def strange_operators(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def calls(model):
    model.functions.append(helper.make_function("here", "f", ["x"], ["x"], [], [helper.make_opsetid("", OPSET)]))


def lies_about_its_shape(model):
    model.graph.initializer[0].dims[0] += 1


def wraps_around(model):
    tensor = model.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend([2**32, 2**32])


def explodes(model):
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Conv" and attribute.name == "pads":
                attribute.ints[:] = [2**20] * 4


def runs_code(model):
    model.graph.node[0].op_type = "PyOp"


def takes_more(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def takes_huge_pictures(model):
    for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]:
        dim.dim_value = 10**6


def answers_more(model):
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3


def forgets_its_findings(model):
    del model.metadata_props[:]


def strings_as_weights(model):
    model.graph.initializer[0].data_type = TensorProto.STRING


def sparse(model):
    model.graph.sparse_initializer.add()


def in_parts(model):
    model.graph.initializer[0].segment.begin = 1


HOSTILE = [
    outside, outside_with_bytes, outside_in_a_constant, loops, nests, strange_domain, strange_operators, calls,
    lies_about_its_shape, wraps_around, explodes, runs_code, takes_more, takes_huge_pictures, answers_more,
    forgets_its_findings, strings_as_weights, sparse, in_parts,
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=lambda f: f.__name__)
def test_hostile_files_are_refused_before_anything_runs_them(single, change, monkeypatch):
    import onnxruntime

    def never(*_, **__):
        raise AssertionError("it was handed on")

    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    with pytest.raises(BundleError):
        OnnxClassifier(changed(single[3].data, change), n_jobs=1)


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"PK\x03\x04", b"\x0a" * 5000])
def test_bytes_that_are_no_network(data):
    with pytest.raises(BundleError):
        inspect(data)


def test_a_truncated_file(single):
    data = single[3].data
    for share in (0.1, 0.5, 0.99):
        with pytest.raises(BundleError):
            OnnxClassifier(data[: int(len(data) * share)], n_jobs=1)


def test_the_hash_comes_first(single):
    data = single[3].data
    right = hashlib.sha256(data).hexdigest()
    assert inspect(data, right).shape == (24, 32)
    with pytest.raises(BundleError, match="changed since it was packed"):
        inspect(data + b"\x00", right)


def test_weights_that_are_not_finite_give_no_answer(single):
    _, pictures, _, export = single

    def spoiled(model):
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                tensor.raw_data = np.full_like(values, np.nan).tobytes()

    with pytest.raises(BundleError, match="not finite"):
        OnnxClassifier(changed(export.data, spoiled), n_jobs=1).logits(pictures)


def test_what_nobody_looked_at_is_not_handed_on(single):
    hidden = single[3].data + b"\xfa\x3f\x04evil"
    assert b"evil" not in inspect(hidden).data
