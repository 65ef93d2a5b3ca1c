"""A bundle with a network file: the same answers, in the engine that was measured as fastest, and without torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra serve is not installed")
pytest.importorskip("onnx", reason="the extra serve is not installed")
pytest.importorskip("torch", reason="the extra deep is not installed")
pytest.importorskip("PIL", reason="the extra imaging is not installed")

from aimed.bundle import serving as serving_module
from aimed.bundle.golden_pictures import synthetic_pictures
from aimed.bundle.load import load
from aimed.bundle.onnx_runtime import OnnxClassifier
from aimed.bundle.pack import pack_pictures
from aimed.bundle.picture_schema import PictureSchema
from aimed.bundle.serving import NETWORK_FILE, network_file, runtime_of
from aimed.core import BundleError

EXPECTS = PictureSchema(size=32, bits=8, views=("AP", "PA"), modalities=("DX",), smallest=40, lossy=False)


@pytest.fixture(scope="module")
def written(findings_model, films):
    return network_file(findings_model, *films(size=32))


@pytest.fixture(scope="module")
def packed(findings_model, written, lab, tmp_path_factory):
    members, record = written
    folder = tmp_path_factory.mktemp("serving") / "bundle"
    return pack_pictures(
        findings_model, folder, meta={**lab.META, "serving": record}, expects=EXPECTS, extra_members=members
    )


def test_the_bundle_holds_the_file_and_what_was_measured(written, packed):
    members, record = written
    assert set(members) == {NETWORK_FILE}
    assert record["onnx"]["passed"]
    assert record["onnx"]["max_difference"] < 1e-4
    manifest = json.loads((packed / "manifest.json").read_text())
    assert manifest["serving"] == record
    assert NETWORK_FILE in manifest["members"]


def test_the_file_runs_and_says_the_same(packed, findings_model):
    bundle = load(packed)
    assert isinstance(bundle.runtime.__self__, OnnxClassifier)
    good = list(synthetic_pictures(32, 8).values())[:6]
    risks = [list(p.risk.values()) for p in bundle.predict(good)]
    frames = np.stack([bundle.read(data)[0] for data in good])
    risk, spread = findings_model.uncertain(frames)
    np.testing.assert_allclose(risks, risk, atol=1e-5)
    np.testing.assert_allclose([list(p.spread.values()) for p in bundle.predict(good)], spread, atol=1e-5)


WITHOUT_TORCH = textwrap.dedent(
    """
    import sys
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "lightning_fabric", "safetensors"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Absent())
    from aimed.bundle import serving
    serving.importlib.util.find_spec = lambda name: None
    from aimed.bundle.load import load
    (one,) = load(sys.argv[1]).predict(["one.png"])
    assert "torch" not in sys.modules
    print(one.to_dict()["risk"])
    """
)


def predicted_without_torch(bundle, folder):
    (folder / "one.png").write_bytes(synthetic_pictures(32, 8)["golden_1.png"])
    env = {**os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", WITHOUT_TORCH, str(bundle)]
    return subprocess.run(run, capture_output=True, text=True, cwd=folder, env=env, check=False)


def test_without_torch(packed, tmp_path):
    done = predicted_without_torch(packed, tmp_path)
    (want,) = load(packed).predict([tmp_path / "one.png"])
    assert done.stdout.strip() == str(want.risk), done.stderr


def test_without_torch_and_without_a_file_the_package_is_named(picture_bundle, tmp_path):
    done = predicted_without_torch(picture_bundle, tmp_path)
    assert done.returncode
    assert "MissingExtraError" in done.stderr.splitlines()[-1]
    assert "pip install" in done.stderr.splitlines()[-1]


def test_a_file_that_did_not_pass_is_not_run(findings_model, written):
    members, record = written
    failed = {"serving": {"onnx": {**record["onnx"], "passed": False}}}
    assert runtime_of(findings_model, members, failed) is None
    assert runtime_of(findings_model, {}, {"serving": record}) is None
    assert runtime_of(findings_model, members, {"serving": None}) is None


def test_the_engine_is_the_measured_choice(findings_model, written, monkeypatch):
    members, record = written
    passed = {"serving": {"onnx": {**record["onnx"], "half": {"passed": True}}}}
    refused = {"serving": {"onnx": {**record["onnx"], "half": {"passed": False}}}}
    made = []

    class Reads:
        def __init__(self, data, half):
            made.append(half)
            self.findings_, self.shape_, self.top = findings_model.findings, (32, 32), 255

        def predict_members(self, pictures):
            """Nothing is asked of it here."""

    monkeypatch.setattr(serving_module, "OnnxClassifier", Reads)
    monkeypatch.setattr(serving_module, "half_precision_runs", lambda: True)
    monkeypatch.setattr(serving_module, "_torch_in_half", lambda: True)
    used = findings_model.classifier.precision_
    # Judged in 32 bits: never in half precision, whatever passed.
    monkeypatch.setitem(used, "used", "32-true")
    assert runtime_of(findings_model, members, passed) is not None
    monkeypatch.setitem(used, "used", "bf16-mixed")
    assert runtime_of(findings_model, members, passed) is not None
    # Torch in half precision is faster than 32 bits.
    assert runtime_of(findings_model, members, refused) is None
    monkeypatch.setattr(serving_module, "_torch_in_half", lambda: False)
    assert runtime_of(findings_model, members, refused) is not None
    assert made == [False, True, False]


def test_a_file_of_another_model_is_refused(findings_model, written, monkeypatch):
    members, record = written
    monkeypatch.setattr(findings_model, "findings", ["something", "else"])
    with pytest.raises(BundleError, match="another model"):
        runtime_of(findings_model, members, {"serving": record})


def test_a_changed_file_does_not_open(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    data = bytearray((copy / NETWORK_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / NETWORK_FILE).write_bytes(data)
    with pytest.raises(BundleError, match="has changed since it was packed"):
        load(copy)


def test_no_package_no_file(findings_model, films, monkeypatch):
    monkeypatch.delitem(sys.modules, "aimed.bundle.onnx_export", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    members, record = network_file(findings_model, *films(size=32))
    assert members == {}
    assert not record["onnx"]["passed"]
    assert "pip install" in record["onnx"]["reason"]
