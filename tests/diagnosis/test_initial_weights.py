"""Weights that users bring: names of three libraries, three channels to one, hashes, records and refusals."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest

from aimed.core import DataError, RefusedError, StudyFileError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.densenet import DenseNet  # noqa: E402
from aimed.diagnosis.initial_weights import InitialWeights, load_weights, record_weights  # noqa: E402
from aimed.diagnosis.standardise import Standardise  # noqa: E402

SMALL = {"growth": 4, "blocks": (2, 2), "first": 8}


def source():
    torch.manual_seed(1)
    network = DenseNet(3, **SMALL)
    for name, value in network.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return network


def renamed(kind):
    """Return the state of a network under the names of a library."""
    state = {k.replace("backbone.", "features."): v.clone() for k, v in source().state_dict().items()}
    if kind == "torchvision":
        w = state["features.conv0.weight"]
        state["features.conv0.weight"] = torch.cat((0.5 * w, 0.3 * w, 0.2 * w), 1)
    if kind == "old torchvision":
        state = {re.sub(r"(denselayer\d\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in state.items()}
    if kind == "chexnet":
        state = {re.sub(r"(denselayer\d\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in state.items()}
        state = {f"module.densenet121.{k.replace('classifier', 'classifier.0')}": v for k, v in state.items()}
    if kind == "monai":
        state = {re.sub(r"(denselayer\d)\.", r"\1.layers.", k): v for k, v in state.items()}
        state = {k.replace("classifier", "class_layers.out"): v for k, v in state.items()}
    if kind == "torchxrayvision":
        state["op_threshs"] = torch.full((18,), torch.nan)
    return state


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def written(tmp_path, state, how="safetensors"):
    path = tmp_path / f"weights.{how}"
    if how == "safetensors":
        safetensors.save_file({k: v.contiguous() for k, v in state.items()}, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    return InitialWeights(path=path, sha256=sha(path), normalisation="imagenet")


KINDS = ["torchvision", "old torchvision", "chexnet", "monai", "torchxrayvision"]


@pytest.mark.parametrize("how", ["safetensors", "pt"])
@pytest.mark.parametrize("kind", KINDS)
def test_names_of_other_libraries(tmp_path, kind, how):
    torch.manual_seed(2)
    network, expected = DenseNet(3, **SMALL).eval(), source().eval()
    head = network.classifier.weight.detach().clone()
    report = load_weights(network, written(tmp_path, renamed(kind), how))
    assert report.share == 1.0
    assert not report.missing
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(network.features(x), expected.features(x), rtol=1e-4, atol=1e-6)
    assert torch.equal(network.classifier.weight, head), "the head is new"
    reasons = dict(report.skipped)
    assert sum(reason == "the head is new" for reason in reasons.values()) == 2
    if kind == "torchxrayvision":
        assert reasons["op_threshs"] == "not a weight of this network"
    assert "all" not in str(report)
    assert json.loads(json.dumps(report.to_state()))["sha256"] == report.sha256


def test_three_channels_of_one_grey_say_the_same(tmp_path):
    state = renamed("torchvision")
    network = DenseNet(3, **SMALL)
    load_weights(network, written(tmp_path, state))
    x = torch.rand(1, 1, 16, 16)
    three = torch.nn.functional.conv2d(x.expand(1, 3, 16, 16), state["features.conv0.weight"], stride=2, padding=3)
    np.testing.assert_allclose(network.backbone.conv0(x).detach(), three, atol=1e-5)


def test_too_little_of_the_backbone_is_refused(tmp_path):
    state = renamed("monai")
    for name in [k for k in state if "denseblock2" in k]:
        del state[name]
    with pytest.raises(RefusedError, match=r"only \d+ of \d+ tensors of the backbone.*95%"):
        load_weights(DenseNet(3, **SMALL), written(tmp_path, state))
    with pytest.raises(RefusedError, match="tensors of the backbone"):
        load_weights(DenseNet(3, growth=8, blocks=(2, 2), first=8), written(tmp_path, renamed("monai")))


def test_one_missing_tensor_is_reported(tmp_path):
    state = renamed("torchvision")
    del state["features.norm5.running_var"]
    network = DenseNet(3, **SMALL)
    report = load_weights(network, written(tmp_path, state))
    assert report.missing == ("backbone.norm5.running_var",)
    assert 0.95 <= report.share < 1.0


def test_hash_and_normalisation_are_asked_for_and_checked(tmp_path):
    weights = written(tmp_path, renamed("monai"))
    network = DenseNet(3, **SMALL)
    with pytest.raises(StudyFileError, match="SHA-256"):
        load_weights(network, InitialWeights(path=weights.path, normalisation="imagenet"))
    with pytest.raises(RefusedError, match="has SHA-256"):
        load_weights(network, InitialWeights(path=weights.path, sha256="0" * 64, normalisation="imagenet"))
    with pytest.raises(StudyFileError, match="how pictures were normalised"):
        load_weights(network, InitialWeights(path=weights.path, sha256=weights.sha256))
    record_weights(weights.path, "torchxrayvision", source="me")
    report = load_weights(network, InitialWeights(path=weights.path))
    x = np.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose((x - report.normalisation.mean) / report.normalisation.sd, [-1024, 0, 1024])
    with pytest.raises(RefusedError, match="not the one recorded"):
        load_weights(network, weights)
    weights.path.with_name("weights.safetensors.json").write_text("[]")
    with pytest.raises(DataError, match="record"):
        load_weights(network, weights)


def test_what_would_run_code_is_refused_with_the_recipe(tmp_path):
    path = tmp_path / "xrv.pt"
    torch.save(source(), path)
    with pytest.raises(RefusedError, match=r"state_dict\(\), 'weights.pt'"):
        load_weights(DenseNet(3, **SMALL), InitialWeights(path=path, sha256=sha(path), normalisation="unit"))


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x10\x00\x00\x00\x00\x00\x00\x00{ broken"])
def test_files_that_are_broken(tmp_path, content):
    path = tmp_path / "broken"
    path.write_bytes(content)
    weights = InitialWeights(path=path, sha256=sha(path), normalisation=Standardise(0.5, 0.2, "mine"))
    with pytest.raises(RefusedError):
        load_weights(DenseNet(3, **SMALL), weights)
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(DenseNet(3, **SMALL), InitialWeights(path=tmp_path / "absent", sha256="0"))


def test_weights_that_are_not_finite(tmp_path):
    state = renamed("monai")
    state["features.norm5.weight"][0] = torch.nan
    with pytest.raises(RefusedError, match="not finite"):
        load_weights(DenseNet(3, **SMALL), written(tmp_path, state))
