"""Networks of volumes in a file: the same outlines in every engine that passed, hostile files refused, and no torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra serve is not installed")
pytest.importorskip("onnxruntime", reason="the extra serve is not installed")
pytest.importorskip("torch", reason="the extra deep is not installed")
pytest.importorskip("nibabel", reason="the extra imaging is not installed")

import onnx

from aimed.bundle import serving as serving_module
from aimed.bundle import volume_export as export_module
from aimed.bundle.load import load
from aimed.bundle.members import checksum, dump, sha256
from aimed.bundle.onnx_graph import inspect_windows
from aimed.bundle.onnx_windows import WindowRunner, engines_here
from aimed.bundle.pack import pack_volumes
from aimed.bundle.serving import NETWORK_FILE, volume_network_file, volume_runtime_of
from aimed.bundle.volume_export import export_windows
from aimed.bundle.volume_schema import VolumeSchema
from aimed.core import BundleError, DataError, MissingExtraError
from aimed.readers.nifti import write_nifti

OTHERS = {
    "two networks": {"n_estimators": 2},
    "labels that exclude each other": {
        "regions": {"oedema": 1, "core": 2, "enhancing": 3}, "exclusive": True, "paint": None,
    },
    "residual blocks, deep supervision and a stem": {
        "architecture_options": {"widths": [4, 8, 8], "residual": True, "deep": 1, "stem": 2},
    },
    "SegResNet": {
        "architecture": "segresnet3d",
        "architecture_options": {"first": 8, "groups": 4, "blocks_down": [1, 1], "blocks_up": [1]},
    },
    "mirrored, with changed copies": {"mirror": (0, 2), "test_time_augmentation": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def written(outlines):
    model, heads, masks = outlines
    return export_windows(model, heads, masks)


@pytest.fixture(scope="module")
def packed(outlines, written, lab, tmp_path_factory):
    model = outlines[0]
    expects = VolumeSchema(channels=model.channels, regions=tuple(model.keys), spacing=(9.6, 9.6, 9.6), modality="MR")
    folder = tmp_path_factory.mktemp("serving") / "bundle"
    return pack_volumes(
        model, folder, meta={**lab.META, "serving": {"onnx": written.record}}, expects=expects,
        extra_members={NETWORK_FILE: written.data},
    )  # fmt: skip


def test_the_gate_says_what_was_measured(written):
    record = written.record
    assert record["passed"]
    assert record["scans"] == 4
    assert record["limits"] == {"dice": 0.001}
    assert record["torch"]["seconds"] > 0
    assert set(record["engines"]) == set(engines_here())
    passed = {name for name, one in record["engines"].items() if one["passed"]}
    assert "onnxruntime" in passed
    assert set(record["order"]) == passed | {"torch"}
    for name in passed:
        assert max(map(abs, record["engines"][name]["dice_change"].values())) < 0.001
    assert record["engines"]["onnxruntime"]["max_probability_change"] < 1e-4
    times = {name: one["seconds"] for name, one in record["engines"].items()} | {"torch": record["torch"]["seconds"]}
    assert [times[name] for name in record["order"]] == sorted(times[name] for name in record["order"])


@pytest.mark.parametrize("engine", engines_here())
def test_every_engine_outlines_as_torch_does(outlines, written, engine):
    model, heads, _ = outlines
    runner = WindowRunner(written.data, engine, n_jobs=1)
    for head in heads[:2]:
        want, got = model.outline(head), model.outline(head, runtime=runner)
        limit = 0.1 if engine == "openvino_half" else 1e-3
        assert np.abs(got.probability - want.probability).max() < limit
        if engine != "openvino_half":
            assert (got.masks != want.masks).sum() <= 2


@pytest.mark.parametrize("what", OTHERS)
def test_other_models_go_through_the_same_file(fit_outlines, what):
    model, heads, masks = fit_outlines(**{"max_epochs": 1, **OTHERS[what]})
    export = export_windows(model, heads, masks)
    assert export.record["engines"]["onnxruntime"]["passed"]
    runner = WindowRunner(export.data, n_jobs=1)
    assert (runner.networks, runner.channels, runner.outputs) == (
        model.segmenter.n_networks_, 4, model.segmenter.head_.outputs,
    )  # fmt: skip
    want, got = model.outline(heads[0]), model.outline(heads[0], runtime=runner)
    np.testing.assert_allclose(got.probability, want.probability, atol=1e-4)
    if want.spread is not None:
        np.testing.assert_allclose(got.spread, want.spread, atol=1e-4)


def test_windows_of_other_sizes_and_several_at_once(written):
    runner = WindowRunner(written.data, n_jobs=1)
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(3, 4, 8, 16, 12)).astype(np.float32)
    (together,) = runner(windows)
    assert together.shape == (3, 2, 8, 16, 12)
    np.testing.assert_array_equal(together[1], runner(windows[1:2])[0][0])


@pytest.mark.parametrize(
    "shape", [(1, 4, 7, 16, 16), (1, 4, 16, 16, 18), (1, 3, 16, 16, 16), (4, 16, 16, 16), (0, 4, 8, 8, 8)]
)
def test_windows_that_do_not_fit_are_refused(written, shape):
    with pytest.raises(DataError, match="windows of shape"):
        WindowRunner(written.data, n_jobs=1)(np.zeros(shape, dtype=np.float32))


def test_outlines_that_change_keep_torch(outlines, monkeypatch):
    model, heads, masks = outlines
    monkeypatch.setattr(export_module, "LARGEST_CHANGE", 0.0)
    export = export_windows(model, heads, masks)
    assert export.data is None
    assert not export.record["passed"]
    assert export.record["order"] == ["torch"]
    members, record = volume_network_file(model, heads, masks)
    assert members == {}
    assert not record["onnx"]["passed"]
    assert volume_runtime_of(model, {}, {"serving": record}) is None


def test_half_precision_needs_scans_to_be_judged_on(outlines):
    model, heads, masks = outlines
    record = export_windows(model, heads[:2], masks[:2]).record
    assert record["scans"] == 2
    half = record["engines"].get("openvino_half")
    if half is None:
        pytest.skip("no OpenVINO, or no bfloat16 in this processor")
    assert not half["passed"]
    assert "fewer than 3 scans" in half["reason"]


def test_slow_scans_are_not_all_looked_at(outlines, monkeypatch):
    monkeypatch.setattr(export_module, "_PATIENCE", 0.0)
    assert export_windows(*outlines).record["scans"] == 3


def test_scans_without_masks_are_refused(outlines):
    with pytest.raises(DataError, match="0 masks"):
        export_windows(outlines[0], outlines[1], [])


def test_an_engine_that_breaks_is_not_used(outlines, monkeypatch):
    class Broken(WindowRunner):
        def __call__(self, windows):
            raise RuntimeError("no")

    monkeypatch.setattr(export_module, "WindowRunner", Broken)
    export = export_windows(*outlines)
    assert export.data is None
    assert {one["reason"] for one in export.record["engines"].values()} == {"RuntimeError"}


# ------------------------------------------------------------------------------------------------------- hostile files


def mended(data, change):
    model = onnx.ModelProto.FromString(data)
    change(model)
    return model.SerializeToString()


def renamed(model):
    model.graph.input[0].name = "scans"


def other_type(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8


def loop(model):
    model.graph.node[0].op_type = "Loop"


def outside(model):
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def said(key, value):
    def change(model):
        for one in model.metadata_props:
            if one.key == key:
                one.value = value

    return change


def widened(model):
    """Ask for scores a thousand times as fine as the window."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == name:
                node.output[place] = "before"
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 100, 100, 100], dtype=np.float32), "scales")
    model.graph.initializer.append(scales)
    model.graph.node.append(onnx.helper.make_node("Resize", ["before", "", "scales"], [name], mode="nearest"))


@pytest.mark.parametrize(
    "change",
    [
        renamed, other_type, loop, outside, widened, said("window", "[100000, 16, 16]"), said("window", "16"),
        said("window", "[true, 16, 16]"), said("window", "[17, 16, 16]"), said("divisor", "[0, 2, 2]"),
        said("regions", "{}"), said("regions", '["a"]' * 2), said("regions", '["a", "b", "c", "d"]'),
        lambda model: model.graph.output.pop(), lambda model: model.opset_import.pop(),
    ],
)  # fmt: skip
def test_hostile_files_are_refused_before_they_run(written, change):
    with pytest.raises(BundleError):
        inspect_windows(mended(written.data, change))


@pytest.mark.parametrize("data", [b"", b"no network", b"\x08" * 100])
def test_what_is_no_network(data):
    with pytest.raises(BundleError):
        WindowRunner(data)


def test_another_hash(written):
    with pytest.raises(BundleError, match="has changed"):
        WindowRunner(written.data, sha256="0" * 64)


def test_scores_that_are_not_finite(written):
    runner = WindowRunner(written.data, n_jobs=1)
    with pytest.raises(BundleError, match="not finite"):
        runner(np.full((1, 4, 8, 8, 8), np.inf, dtype=np.float32))


def test_a_file_of_another_model_is_refused(fit_outlines, written, outlines):
    other, _, _ = fit_outlines(max_epochs=1, patch_size=(8, 16, 16))
    record = {"onnx": {**written.record, "order": ["onnxruntime", "torch"]}}
    with pytest.raises(BundleError, match="of another model"):
        volume_runtime_of(other, {NETWORK_FILE: written.data}, {"serving": record})


# -------------------------------------------------------------------------------------------------------- what is used


def chosen(model, written, order, precision="32-true"):
    record = {**written.record, "order": order, "torch": {"precision": precision, "seconds": 1.0}}
    found = volume_runtime_of(model, {NETWORK_FILE: written.data}, {"serving": {"onnx": record}})
    return None if found is None else found.engine


def test_the_fastest_that_passed_and_is_here(outlines, written, monkeypatch):
    model = outlines[0]
    assert chosen(model, written, ["onnxruntime", "torch"]) == "onnxruntime"
    assert chosen(model, written, ["torch", "onnxruntime"]) is None
    monkeypatch.setattr(serving_module, "engines_here", lambda: ("onnxruntime",))
    assert chosen(model, written, ["openvino_half", "openvino", "onnxruntime", "torch"]) == "onnxruntime"
    assert chosen(model, written, ["openvino", "torch", "onnxruntime"]) is None
    monkeypatch.setattr(serving_module, "_torch_in_half", lambda: False)
    assert chosen(model, written, ["torch", "onnxruntime"], "bf16-mixed") == "onnxruntime"
    monkeypatch.setattr(serving_module, "torch_is_here", lambda: False)
    assert chosen(model, written, ["torch", "onnxruntime"]) == "onnxruntime"
    monkeypatch.setattr(serving_module, "engines_here", lambda: ())
    with pytest.raises(MissingExtraError):
        chosen(model, written, ["torch", "onnxruntime"])


def test_the_bundle_runs_the_file_and_passes_its_golden_cases(packed, outlines):
    bundle = load(packed)
    want = outlines[0].outline(outlines[1][0])
    (got,) = bundle.predict([outlines[1][0]])
    assert got.volumes["whole_tumour"]["ml"] == pytest.approx(want.volumes["whole_tumour"]["ml"], rel=0.05)


@pytest.mark.parametrize("change", [loop, outside, widened])
def test_a_bundle_with_a_hostile_file_and_mended_hashes(packed, written, tmp_path, change):
    folder = shutil.copytree(packed, tmp_path / "copy")
    data = mended(written.data, change)
    (folder / NETWORK_FILE).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["members"][NETWORK_FILE] = {"sha256": sha256(data), "bytes": len(data)}
    # Torch must not stand in for a file that is refused.
    manifest["serving"]["onnx"]["order"] = ["onnxruntime", "torch"]
    manifest["checksum"] = checksum(manifest)
    (folder / "manifest.json").write_bytes(dump(manifest, pretty=True))
    with pytest.raises(BundleError, match=r"model\.onnx"):
        load(folder)


WITHOUT_TORCH = textwrap.dedent("""
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "lightning_fabric", "safetensors"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    sys.meta_path.insert(0, Absent())
    import importlib.util
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name == "torch" else real(name, package)
    sys.argv = ["aimed", "predict", sys.argv[1], sys.argv[2], "--out", sys.argv[3]]
    from aimed.cli import main
    try:
        main()
    finally:
        assert "torch" not in sys.modules
""")


@pytest.mark.slow
def test_without_torch(packed, outlines, tmp_path, volume_bundle):
    write_nifti(outlines[1][0], tmp_path / "scan.nii.gz")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(bundle, out):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, str(bundle), str(tmp_path / "scan.nii.gz"), str(out)],
            capture_output=True, text=True, env=environment, check=False, timeout=300,
        )  # fmt: skip

    done = run(packed, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["scan.json", "scan.nii.gz", "volumes.csv"]
    done = run(volume_bundle, tmp_path / "other")
    assert done.returncode != 0
    assert "torch" in done.stderr
