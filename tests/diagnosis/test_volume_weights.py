"""Weights that users bring to networks of volumes: names of MONAI, other channels, new heads, reports and refusals."""

from __future__ import annotations

import hashlib
import json
import os
import re

import numpy as np
import pytest

from aimed.core import DataError, RefusedError, StudyFileError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.initial_weights import InitialWeights, record_weights  # noqa: E402
from aimed.diagnosis.segresnet3d import SegResNet3d  # noqa: E402
from aimed.diagnosis.unet3d import UNet3d  # noqa: E402
from aimed.diagnosis.volume_segmenter import VolumeSegmenter  # noqa: E402
from aimed.diagnosis.volume_weights import VolumeWeightsReport, load_volume_weights  # noqa: E402

WIDTHS = (4, 6, 8)
RESIDUAL = {"first": 4, "groups": 2, "blocks_down": (1, 1, 2), "blocks_up": (1, 1)}


def unet(channels=2, outputs=3, seed=0, **options):
    torch.manual_seed(seed)
    return UNet3d(channels, outputs, WIDTHS, **options)


def segresnet(channels=2, outputs=3, seed=0):
    torch.manual_seed(seed)
    return SegResNet3d(channels, outputs, **RESIDUAL)


def as_dynunet(state):
    """Return the state of a U-Net under the names of MONAI's DynUNet, with the doubles that it keeps."""
    found = {}
    last = len(WIDTHS) - 1
    for name, value in state.items():
        if place := re.match(r"down\.(\d)\.(conv|norm)s\.(\d)\.(\w+)$", name):
            level, part, number, kind = int(place[1]), place[2], int(place[3]) + 1, place[4]
            block = "input_block" if level == 0 else "bottleneck" if level == last else f"downsamples.{level - 1}"
            inner = f"{part}{number}.conv.{kind}" if part == "conv" else f"{part}{number}.{kind}"
            found[f"{block}.{inner}"] = value
        elif place := re.match(r"up\.(\d)\.(conv|norm)s\.(\d)\.(\w+)$", name):
            part, number, kind = place[2], int(place[3]) + 1, place[4]
            inner = f"{part}{number}.conv.{kind}" if part == "conv" else f"{part}{number}.{kind}"
            found[f"upsamples.{last - 1 - int(place[1])}.conv_block.{inner}"] = value
        elif place := re.match(r"widen\.(\d)\.weight$", name):
            found[f"upsamples.{last - 1 - int(place[1])}.transp_conv.conv.weight"] = value
        else:
            found[f"output_block.conv.conv.{name.rpartition('.')[2]}"] = value
    doubles = {f"skip_layers.downsample.{k.partition('.')[2]}": v for k, v in found.items() if k.startswith("input")}
    return found | doubles


def written(tmp_path, state, how="safetensors"):
    path = tmp_path / f"weights.{how}"
    if how == "safetensors":
        safetensors.save_file({k: v.clone().contiguous() for k, v in state.items()}, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    return InitialWeights(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def body(network):
    return {k: v for k, v in network.state_dict().items() if not re.match(r"heads|conv_final|coarse", k)}


@pytest.mark.parametrize("how", ["safetensors", "pt"])
@pytest.mark.parametrize("names", ["ours", "DynUNet", "module.", "members"])
def test_a_unet_takes_all_but_its_head(tmp_path, names, how):
    source, network = unet(seed=1), unet(outputs=2, seed=2)
    before = [value.clone() for value in network.heads[0].state_dict().values()]
    state = {
        "ours": lambda s: s,
        "DynUNet": as_dynunet,
        "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
        "members": lambda s: {f"0.{k}": v for k, v in s.items()} | {f"1.{k}": v + 1 for k, v in s.items()},
    }[names](source.state_dict())
    report = load_volume_weights(network, written(tmp_path, state, how))
    for name, value in body(source).items():
        assert torch.equal(network.state_dict()[name], value), name
    assert all(torch.equal(a, b) for a, b in zip(network.heads[0].state_dict().values(), before, strict=True))
    assert report.share == 1.0
    assert not report.missing
    assert len(report.loaded) == len(body(source))
    assert len(report.loaded) + len(report.skipped) == len(state)
    assert "the head is new" in {why for _, why in report.skipped}
    assert VolumeWeightsReport.from_state(json.loads(json.dumps(report.to_state()))) == report
    assert str(report).startswith(f"{len(body(source))} of {len(body(source))} tensors of the network loaded")


def test_a_dynunet_says_the_same_here(tmp_path):
    source, network = unet(seed=1).eval(), unet(seed=2).eval()
    load_volume_weights(network, written(tmp_path, as_dynunet(source.state_dict())))
    x = torch.randn(1, 2, 8, 8, 8)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(source.maps(x), network.maps(x), strict=True))


@pytest.mark.parametrize("wrapper", ["", "model."])
def test_a_segresnet_of_monai_takes_all_but_its_head(tmp_path, wrapper):
    source, network = segresnet(seed=1), segresnet(outputs=1, seed=2)
    state = {wrapper + name: value for name, value in source.state_dict().items()}
    report = load_volume_weights(network, written(tmp_path, state))
    assert report.share == 1.0
    for name, value in body(source).items():
        assert torch.equal(network.state_dict()[name], value), name
    assert {name for name, _ in report.skipped} == {f"{wrapper}{name}" for name in state_of_head(source)}


def state_of_head(network):
    return set(network.state_dict()) - set(body(network))


@pytest.mark.parametrize("build", [unet, segresnet])
@pytest.mark.parametrize(("theirs", "own"), [(1, 4), (4, 1), (3, 2), (2, 2)])
def test_other_channels_begin_with_the_mean_of_those_of_the_file(tmp_path, build, theirs, own):
    source, network = build(theirs, seed=1).eval(), build(own, seed=2).eval()
    report = load_volume_weights(network, written(tmp_path, source.state_dict()))
    assert report.channels == (theirs, own)
    assert report.share == 1.0
    assert ("by their mean" in str(report)) == (theirs != own)
    one = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        wanted = source.maps(one.repeat(1, theirs, 1, 1, 1))[0]
        found = network.maps(one.repeat(1, own, 1, 1, 1))[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_not_theirs_is_refused(tmp_path):
    network = unet()
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RefusedError, match="of the network are in the file"):
        load_volume_weights(network, written(tmp_path, segresnet().state_dict()))
    with pytest.raises(RefusedError, match="of the network are in the file"):
        load_volume_weights(network, written(tmp_path, UNet3d(2, 3, (8, 16, 32)).state_dict()))
    blocks = as_dynunet(unet().state_dict()) | {"downsamples.0.conv3.conv.weight": torch.ones(6, 4, 1, 1, 1)}
    with pytest.raises(RefusedError, match="residual blocks"):
        load_volume_weights(network, written(tmp_path, blocks))
    broken = unet().state_dict()
    broken["up.0.convs.0.weight"] = torch.full_like(broken["up.0.convs.0.weight"], torch.nan)
    with pytest.raises(RefusedError, match="not finite"):
        load_volume_weights(network, written(tmp_path, broken))
    good = written(tmp_path, unet().state_dict())
    with pytest.raises(RefusedError, match="SHA-256"):
        load_volume_weights(network, InitialWeights(path=good.path, sha256="0" * 64))
    with pytest.raises(StudyFileError, match="without a SHA-256"):
        load_volume_weights(network, InitialWeights(path=good.path))
    with pytest.raises(DataError, match="cannot be read"):
        load_volume_weights(network, InitialWeights(path=tmp_path / "none.pt", sha256="0" * 64))
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


class _Evil:
    def __reduce__(self):
        return (os.mkdir, ("was_run",))


def test_a_file_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": _Evil()}, path)
    weights = InitialWeights(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(RefusedError, match="would run code"):
        load_volume_weights(unet(), weights)
    assert not (tmp_path / "was_run").exists()


def test_a_record_beside_the_file_says_the_hash(tmp_path):
    weights = written(tmp_path, unet(seed=1).state_dict())
    record_weights(weights.path, "unit")
    assert load_volume_weights(unet(), InitialWeights(path=weights.path)).share == 1.0


def balls(n=4, size=16):
    rng = np.random.default_rng(0)
    masks = [np.pad(np.ones((6, 6, 6), dtype=np.uint8), 5) for _ in range(n)]
    return [rng.normal(5, 1, (2, size, size, size)) + 3 * mask for mask in masks], masks


def test_a_segmenter_starts_from_them_and_remembers_what_became_of_them(tmp_path):
    options = {
        "regions": {"ball": 1}, "architecture_options": {"widths": list(WIDTHS)}, "patch_size": (16, 16, 16),
        "early_stopping": False, "precision": "32-true", "n_jobs": 1, "augmentation": False,
    }  # fmt: skip
    weights = written(tmp_path, unet(1, seed=5).state_dict())
    # A rate at which nothing moves.
    still = VolumeSegmenter(**options, initial_weights=weights, max_epochs=1, learning_rate=1e-30, weight_decay=0.0)
    still.fit(*balls())
    assert torch.allclose(still.networks_[0].down[1].convs[0].weight, unet(1, seed=5).down[1].convs[0].weight)
    assert still.weights_report_.channels == (1, 2)
    assert still.weights_report_.sha256 == weights.sha256
    state = json.loads(json.dumps(still.to_state()))
    assert str(tmp_path) not in json.dumps(state)
    again = VolumeSegmenter.from_state(state, still.weights())
    assert again.weights_report_ == still.weights_report_
    assert again.to_state() == still.to_state()
    assert VolumeSegmenter(**options, max_epochs=1).fit(*balls()).weights_report_ is None
    with pytest.raises(RefusedError, match="of the network are in the file"):
        VolumeSegmenter(**{**options, "architecture_options": {"widths": [4, 8]}}, initial_weights=weights).fit(
            *balls()
        )


def test_a_checkpoint_of_other_weights_is_not_gone_on_from(tmp_path):
    options = {
        "regions": {"ball": 1}, "architecture_options": {"widths": list(WIDTHS)}, "patch_size": (16, 16, 16),
        "early_stopping": False, "precision": "32-true", "n_jobs": 1, "max_epochs": 1,
    }  # fmt: skip
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    one = written(first, unet(2, seed=5).state_dict())
    VolumeSegmenter(**options, initial_weights=one).fit(*balls(), checkpoint=tmp_path / "net")
    other = written(second, unet(2, seed=6).state_dict())
    with pytest.raises(RefusedError, match="another training"):
        VolumeSegmenter(**options, initial_weights=other).fit(*balls(), checkpoint=tmp_path / "net")
    # The same file at another place is the same file.
    moved = written(second, unet(2, seed=5).state_dict())
    VolumeSegmenter(**options, initial_weights=moved).fit(*balls(), checkpoint=tmp_path / "net")
