"""A model of outlines comes back as it was, puts masks where the scan was, and lets something else run its networks."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")
import torch

from aimed.bundle.members import dump
from aimed.bundle.store import decode, encode, load_model, save_model
from aimed.core import BundleError, DataError
from aimed.core.volume import Volume
from aimed.diagnosis.component_rules import ComponentRule
from aimed.diagnosis.outlines_model import OutlinesModel
from aimed.diagnosis.volume_augmentation import VolumeAugmentation
from aimed.diagnosis.volume_preparation import VolumePreparation
from aimed.diagnosis.volume_segmenter import VolumeSegmenter
from aimed.trust.expected_dice import DiceExpectation, expected_dice
from aimed.trust.volume_agreement import VolumeInterval

REGIONS = {"whole tumour": (1, 2), "core": 2}
CHANNELS = ("FLAIR", "T1w")
OBLIQUE = np.array([[-1.2, 0.1, 0.0, 20.0], [-0.1, -1.2, 0.05, 31.0], [0.0, 0.06, 1.6, -7.0], [0, 0, 0, 1.0]])


def head(seed, shape=(16, 22, 20), affine=OBLIQUE):
    """Return a head with a ball that holds a smaller one, and its mask, on a grid that is turned and flipped."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.mgrid[tuple(slice(n) for n in shape)]).astype(float)
    middle = np.array(shape)[:, None, None, None] / 2
    far = np.sqrt(((at - middle - rng.uniform(-2, 2, (3, 1, 1, 1))) ** 2).sum(0))
    inside = (((at - middle) / (0.43 * 2 * middle)) ** 2).sum(0) < 1
    mask = ((far < 5).astype(np.uint8) + (far < 3)) * inside
    scan = rng.normal(300, 20, (2, *shape))
    scan[0] += 150 * (mask > 0)
    scan[1] += 150 * (mask == 2)
    scan = (scan * inside).astype(np.int16)
    return Volume(array=scan, affine=affine, channels=CHANNELS), mask.astype(np.uint8)


def trained(spacing=None, **changes):
    preparation = VolumePreparation(channels=CHANNELS, spacing=spacing)
    cases = [head(seed) for seed in range(5)]
    ready = [preparation.prepared(scan) for scan, _ in cases]
    masks = [
        preparation.mask_on(scan.with_array(mask, labels=True), one)
        for (scan, mask), one in zip(cases, ready, strict=True)
    ]
    options = {
        "regions": REGIONS, "architecture_options": {"widths": [4, 8]}, "patch_size": (16, 16, 16), "max_epochs": 14,
        "patches_per_scan": 3, "precision": "32-true", "n_jobs": 1, "learning_rate": 1e-2, "overlap": 0.25,
        "early_stopping": False, **changes,
    }  # fmt: skip
    network = VolumeSegmenter(**options).fit([one.array for one in ready], masks)
    labels = {"core": "Tumour core"} if "core" in network.head_.names else None
    return OutlinesModel("small_unet3d", "Small 3D U-Net", network, preparation, labels=labels, seed=7)


@pytest.fixture(scope="module")
def model():
    found = trained()
    found.segmenter.rules_ = [ComponentRule(minimum=4), ComponentRule(largest=True)]
    found.quality[0] = DiceExpectation.fit(np.linspace(0.5, 0.9, 12), np.linspace(0.4, 0.9, 12))
    ml = np.linspace(5, 50, 30)
    found.volume_errors[1] = VolumeInterval.fit(ml, ml * np.linspace(0.8, 1.2, 30))
    return found


@pytest.fixture(scope="module")
def doubtful():
    change = VolumeAugmentation(contrast=0.3)
    return trained(n_estimators=2, test_time_augmentation=1, max_epochs=3, augmentation=change)


@pytest.fixture(scope="module")
def coarse():
    return trained(spacing=(2.0, 1.4, 1.4), max_epochs=30)


def rebuilt(model):
    state = json.loads(json.dumps(model.to_state(), sort_keys=True, allow_nan=False))
    return OutlinesModel.from_state(state, model.weights())


def same(one, other):
    for name in ("probability", "masks"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.spread is None) == (other.spread is None)
    if one.spread is not None:
        np.testing.assert_array_equal(one.spread, other.spread)
    np.testing.assert_array_equal(one.labels.array, other.labels.array)
    assert (one.volumes, one.soft_dice, one.expected_dice) == (other.volumes, other.soft_dice, other.expected_dice)


@pytest.mark.parametrize("name", ["model", "doubtful", "coarse"])
def test_everything_comes_back(name, request, tmp_path):
    model = request.getfixturevalue(name)
    scan, _ = head(11)
    wanted = model.outline(scan)
    again = rebuilt(model)
    same(again.outline(scan), wanted)
    assert json.dumps(again.to_state(), sort_keys=True) == json.dumps(model.to_state(), sort_keys=True)
    assert again.weights() == model.weights()
    assert again.regions == list(REGIONS) == list(again.segmenter.regions)
    assert again.keys == ["whole_tumour", "core"]
    assert again.labels == {"whole tumour": "whole tumour", "core": "Tumour core"}
    assert (again.recipe, again.title, again.seed, again.channels) == ("small_unet3d", "Small 3D U-Net", 7, CHANNELS)
    save_model(model, tmp_path / "m")
    assert {file.name for file in (tmp_path / "m").iterdir()} == {
        "model.json", "calibration.json", "weights.safetensors"
    }  # fmt: skip
    same(load_model(tmp_path / "m").outline(scan), wanted)


@pytest.mark.parametrize("name", ["model", "coarse"])
def test_outlines_are_on_the_grid_of_the_scan_and_right(name, request):
    model = request.getfixturevalue(name)
    scan, mask = head(12)
    found = model.outline(scan)
    assert found.masks.shape == (2, *mask.shape)
    assert found.masks.dtype == bool
    assert found.labels.grid.same_as(scan.grid, 1e-12)
    np.testing.assert_array_equal(found.labels.affine, scan.affine)
    truth = [mask > 0, mask == 2]
    for one, there in zip(found.masks, truth, strict=True):
        assert 2 * (one & there).sum() / (one.sum() + there.sum()) > (0.85 if name == "model" else 0.7)
    np.testing.assert_array_equal(found.labels.array, model.segmenter.head_.painted(found.masks))
    assert found.probability.dtype == np.float32
    assert found.probability.shape == (2, *found.prepared.array.shape[1:])
    for key, one in zip(model.keys, found.masks, strict=True):
        assert found.volumes[key]["ml"] == one.sum() * scan.grid.voxel_ml
    assert found.spread is None


def test_the_same_from_the_source_as_from_its_box(model):
    scan, _ = head(13)
    same(model.outline(scan.reoriented("RAS").cropped_to_foreground()), model.outline(scan))


def test_where_no_spacing_changed_masks_are_those_of_the_prepared_scan(model):
    scan, _ = head(14)
    found = model.outline(scan)
    cleaned = model.segmenter.masks_of(found.prepared.array)
    back = [found.prepared.with_array(one.astype(np.uint8), labels=True).back_to(scan).array for one in cleaned]
    np.testing.assert_array_equal(found.masks, np.stack(back) == 1)
    np.testing.assert_array_equal(model.preparation.mask_on(scan.with_array(back[0], labels=True), found.prepared),
                                  cleaned[0])  # fmt: skip


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_rules_clear_away_does_not_come_back_between_voxels(exclusive):
    regions = {"a": 1, "b": 2} if exclusive else {"a": (1, 2), "b": 2}
    scans = [head(seed) for seed in (0, 1)]
    preparation = VolumePreparation(channels=CHANNELS, spacing=(2.3, 1.7, 1.7))
    ready = [preparation.prepared(scan) for scan, _ in scans]
    masks = [
        preparation.mask_on(scan.with_array(mask, labels=True), one)
        for (scan, mask), one in zip(scans, ready, strict=True)
    ]
    network = VolumeSegmenter(
        regions, exclusive=exclusive, architecture_options={"widths": [4, 8]}, patch_size=(16, 16, 16), max_epochs=1,
        early_stopping=False, precision="32-true", n_jobs=1,
    ).fit([one.array for one in ready], masks)  # fmt: skip
    model = OutlinesModel("x", "X", network, preparation)
    rng = np.random.default_rng(0)
    chance = np.zeros((2, *ready[0].array.shape[1:]), dtype=np.float32)
    chance[0, 1:5, 1:7, 1:7] = rng.uniform(0.55, 0.9, (4, 6, 6))
    chance[0, 7, 9:11, 9:11] = 0.95
    chance[1, 2, 9:11, 1:3] = 0.9
    network.rules_ = [ComponentRule(largest=True), ComponentRule(minimum=10)]
    decided = network.head_.decided(chance)
    cleaned = network.cleaned(decided)
    assert decided[0].sum() > cleaned[0].sum() > 0
    assert decided[1].any()
    assert not cleaned[1].any()
    found = model.masks_back(chance, cleaned, ready[0])
    assert not found[1].any()
    without = model.masks_back(chance, decided, ready[0])
    there = np.stack([model.preparation.back(one, ready[0]) for one in cleaned])
    gone = model.preparation.back(decided[0] & ~cleaned[0], ready[0])
    assert (without[0] & gone).any()
    assert not (found[0] & gone).any()
    assert 2 * (found[0] & there[0]).sum() / (found[0].sum() + there[0].sum()) > 0.8
    assert found.shape == without.shape == (2, *scans[0][1].shape)


def test_lines_between_probabilities_outline_better_than_stairs():
    # A ball seen at 3 mm and asked for at 1 mm.
    at = np.stack(np.mgrid[:40, :40, :40]).astype(float)
    far = np.sqrt(((at - 19.3) ** 2).sum(0))
    truth = far < 11
    scan = Volume(array=np.random.default_rng(0).uniform(1, 9, (2, 40, 40, 40)), affine=np.eye(4), channels=CHANNELS)
    preparation = VolumePreparation(channels=CHANNELS, spacing=(3.0, 3.0, 3.0))
    ready = preparation.prepared(scan)
    chance = scan.with_array(1 / (1 + np.exp((far - 11) / 1.5))).follow(ready, "linear").array[None].astype(np.float32)

    def dice(found):
        return 2 * (found & truth).sum() / (found.sum() + truth.sum())

    lines = preparation.back(chance[0], ready, "linear") >= 0.5
    stairs = preparation.back(chance[0] >= 0.5, ready, "nearest")
    assert dice(lines) > 0.97 > 0.95 > dice(stairs)


def test_volumes_and_expected_dice_have_what_was_learned(model):
    found = model.outline(head(15)[0])
    cleaned = model.segmenter.cleaned(model.segmenter.head_.decided(found.probability))
    for j, (key, mask) in enumerate(zip(model.keys, cleaned, strict=True)):
        ml = found.volumes[key]["ml"]
        assert found.soft_dice[key] == expected_dice(found.probability[j], mask)
        assert 0 < found.soft_dice[key] <= 1
        if model.volume_errors[j] is None:
            assert found.volumes[key] == {"ml": ml, "lower": None, "upper": None}
        else:
            assert (found.volumes[key]["lower"], found.volumes[key]["upper"]) == model.volume_errors[j].interval(ml)
    assert found.expected_dice == {
        "whole_tumour": model.quality[0].predict(found.soft_dice["whole_tumour"]), "core": None
    }  # fmt: skip


def test_the_spread_is_that_of_networks_and_copies(doubtful):
    found = doubtful.outline(head(16)[0])
    assert doubtful.members == 4
    assert found.spread.shape == found.probability.shape
    assert found.spread.max() > 0
    assert np.isfinite(found.spread).all()


def by_torch(model):
    """Return what runs the networks of a model in place of the model."""
    networks = [network.eval() for network in model.segmenter.networks_]

    def run(windows):
        assert isinstance(windows, np.ndarray)
        assert windows.dtype == np.float32
        with torch.inference_mode():
            return [network(torch.from_numpy(windows)).numpy() for network in networks]

    return run


@pytest.mark.parametrize("changes", [{}, {"mirror": (0, 2)}, {"windows_together": 3}])
@pytest.mark.parametrize("name", ["model", "doubtful"])
def test_something_else_may_run_the_networks(name, changes, request):
    model = copy.deepcopy(request.getfixturevalue(name))
    model.segmenter.set_params(**changes)
    scan, _ = head(17)
    wanted, told = model.outline(scan), []
    bare = OutlinesModel.from_state(model.to_state(), None)
    found = bare.outline(scan, runtime=by_torch(model), progress=lambda share, text: told.append(share))
    np.testing.assert_allclose(found.probability, wanted.probability, atol=1e-5)
    if wanted.spread is not None:
        np.testing.assert_allclose(found.spread, wanted.spread, atol=1e-5)
    assert (found.masks != wanted.masks).mean() < 1e-4
    assert told[-1] == 1.0


def test_torch_is_not_needed_where_something_else_runs_the_networks(doubtful, tmp_path):
    for name, data in encode(doubtful).items():
        (tmp_path / name).write_bytes(data)
    scan, _ = head(18)
    np.savez(tmp_path / "scan.npz", array=scan.array, affine=scan.affine)
    code = f"""
    import sys
    class NoTorch:
        def find_spec(self, name, *rest):
            if name.partition(".")[0] == "torch":
                raise ImportError(name)
    sys.meta_path.insert(0, NoTorch())
    import numpy as np
    from pathlib import Path
    from aimed.bundle.store import decode
    from aimed.core.volume import Volume
    folder = Path({str(tmp_path)!r})
    model = decode({{p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".npz"}}, networks=False)
    data = np.load(folder / "scan.npz")
    scan = Volume(array=data["array"], affine=data["affine"], channels={CHANNELS!r})
    model.segmenter.mirror = (2,)
    found = model.outline(scan, runtime=lambda x: [np.repeat(x[:, :1], 2, 1) * k for k in (1, 2)])
    print(found.masks.shape, found.spread.max() > 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(2, 16, 22, 20) True"


def test_threads_change_nothing(model):
    scan, _ = head(19)
    wanted = model.outline(scan)
    other = copy.deepcopy(model)
    other.segmenter.n_jobs = 2
    same(other.outline(scan), wanted)


def test_what_is_not_its_own_is_refused(model):
    state = json.loads(json.dumps(model.to_state()))
    with pytest.raises(BundleError, match="not those of the model"):
        OutlinesModel.from_state(state, model.weights()[:-4] + b"abcd")
    with pytest.raises(BundleError, match="another version"):
        OutlinesModel.from_state({**state, "schema": 9}, model.weights())
    with pytest.raises(BundleError, match="1 expectations and 2 errors"):
        OutlinesModel.from_state({**state, "quality": [None]}, model.weights())
    many = copy.deepcopy(state)
    many["network"]["parameters"]["test_time_augmentation"] = 1000
    with pytest.raises(BundleError, match="too many changed copies"):
        OutlinesModel.from_state(many, model.weights())
    with pytest.raises(DataError, match="networks for 2 channels"):
        OutlinesModel("x", "X", model.segmenter, VolumePreparation(channels=("T1w",)))
    with pytest.raises(DataError, match="scaling and modality"):
        OutlinesModel("x", "X", model.segmenter, VolumePreparation(channels=CHANNELS, modality="CT"))


def test_members_of_a_bundle_that_lie_are_refused(model):
    members = encode(model)
    assert isinstance(decode(members), OutlinesModel)
    record, calibration = (json.loads(members[name]) for name in ("model.json", "calibration.json"))
    assert record["kind"] == "volumes"
    assert set(calibration) == {"quality", "volume_errors"}
    for bad in (
        {**members, "calibration.json": dump([])},
        {**members, "calibration.json": dump({"quality": []})},
        {**members, "model.json": dump({**record, "kind": "pictures"})},
        {**members, "model.json": dump({k: v for k, v in record.items() if k != "preprocessing"})},
        {k: v for k, v in members.items() if k != "weights.safetensors"},
        {**members, "weights.safetensors": members["weights.safetensors"][:-1]},
    ):
        with pytest.raises(BundleError):
            decode(bad)


def test_a_scan_that_is_not_one_of_the_model_is_refused(model):
    scan, _ = head(20)
    with pytest.raises(DataError, match="channels"):
        model.outline(scan.channel("T1w"))
    with pytest.raises(DataError, match="without foreground"):
        model.outline(scan.with_array(np.zeros_like(scan.array)))


def test_an_answer_is_not_changed_by_hand(model):
    found = model.outline(head(21)[0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.masks = None


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
def test_a_scan_of_a_whole_head_takes_less_than_4_gb(spacing, tmp_path):
    code = f"""
    import resource, sys
    import numpy as np
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from test_outlines_model import OutlinesModel, Volume, VolumePreparation, VolumeSegmenter
    rng = np.random.default_rng(0)
    scans = [rng.normal(5, 1, (4, 16, 16, 16)) for _ in range(2)]
    masks = [(s[0] > 5).astype(np.uint8) + (s[0] > 5.5) + (s[0] > 6) for s in scans]
    network = VolumeSegmenter(
        {{"a": (1, 2, 3), "b": (2, 3), "c": 3}}, architecture_options={{"widths": [8, 16]}}, patch_size=(16, 16, 16),
        max_epochs=1, early_stopping=False, n_jobs=1, precision="32-true",
    ).fit(scans, masks).set_params(patch_size=(96, 96, 96), overlap=0.25)
    model = OutlinesModel("x", "X", network, VolumePreparation(channels=tuple("abcd"), spacing={spacing!r}))
    scan = np.zeros((4, 155, 240, 240), dtype=np.int16)
    scan[:, 8:150, 20:220, 30:210] = rng.integers(1, 2000, (4, 142, 200, 180), dtype=np.int16)
    found = model.outline(Volume(array=scan, affine=np.diag([-1.0, -1.0, 1.0, 1.0])))
    print(found.masks.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    shape, _, megabytes = done.stdout.strip().rpartition(" ")
    assert shape == "(3, 155, 240, 240)"
    assert int(megabytes) < 4000
