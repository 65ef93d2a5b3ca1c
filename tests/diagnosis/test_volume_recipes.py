"""The models of volumes that a study may name: built from any plan, refused before a scan is read, fitted as asked."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from aimed.core import StudyFileError, UnknownNameError
from aimed.diagnosis import VOLUME_MODELS
from aimed.diagnosis.volume_plan import VolumePlan
from aimed.diagnosis.volume_scaling import VolumeScaling

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.volume_augmentation import VolumeAugmentation  # noqa: E402
from aimed.diagnosis.volume_network import build_volume_network  # noqa: E402

CUBES = VolumePlan(
    spacing=(1.0, 1.0, 1.0), patch_size=(64, 64, 64), batch_size=3, patches_per_scan=5, widths=(32, 64, 128),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernels=((3, 3, 3),) * 3,
)  # fmt: skip
FLAT = VolumePlan(
    spacing=(5.0, 0.8, 0.8), patch_size=(12, 64, 64), batch_size=2, patches_per_scan=2, widths=(16, 32, 64, 64),
    strides=((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
    scaling=VolumeScaling(kind="window"),
)  # fmt: skip
STEM = dataclasses.replace(CUBES, strides=((2, 2, 2), (2, 2, 2), (2, 2, 2)))


def test_the_simplest_comes_first():
    ranks = [VOLUME_MODELS[name].rank for name in VOLUME_MODELS]
    assert ranks == sorted(set(ranks))
    assert all(VOLUME_MODELS[name].name == name for name in VOLUME_MODELS)


@pytest.mark.parametrize("plan", [CUBES, FLAT, STEM], ids=["cubes", "flat", "stem"])
@pytest.mark.parametrize("name", list(VOLUME_MODELS))
def test_every_plan_becomes_a_network_that_takes_its_sub_volumes(name, plan):
    recipe = VOLUME_MODELS[name]
    chosen = recipe.settings(plan, {})
    json.dumps(chosen["architecture_options"])
    with torch.device("meta"):
        network = build_volume_network(recipe.architecture, 2, 3, chosen["architecture_options"])
        x = torch.zeros(1, 2, *chosen["patch_size"])
        assert network.heads[0](network.maps(x)[0]).shape == (1, 3, *chosen["patch_size"])
    recipe.check({}, 2, 3, plan)
    assert chosen["batch_size"] == plan.batch_size
    assert chosen["patches_per_scan"] == plan.patches_per_scan
    assert chosen["scaling"] == plan.scaling
    assert chosen["crop"] == (plan.scaling.kind == "nonzero")
    assert chosen["augmentation"].spacing == plan.spacing
    own = recipe.plan(plan)
    assert tuple(chosen["patch_size"]) == own.patch_size
    assert recipe.plan(own) == own
    assert recipe.settings(own, {}) == chosen
    with torch.device("meta"):
        convs = [part for part in network.modules() if isinstance(part, torch.nn.Conv3d)]
    assert {own.widths[0], own.widths[-1]} <= {conv.out_channels for conv in convs}
    if recipe.small:
        assert np.prod(own.patch_size) <= 48**3


def test_a_study_file_stands_above_the_plan():
    recipe = VOLUME_MODELS["unet3d"]
    given = {
        "batch_size": 1, "patch_size": [32, 32, 32], "mirror": [2], "architecture_options": {"residual": True},
        "augmentation": {"mirror": [2], "rotation": 5.0}, "max_epochs": 3,
    }  # fmt: skip
    chosen = recipe.settings(CUBES, given)
    assert (chosen["batch_size"], chosen["patch_size"]) == (1, (32, 32, 32))
    assert (chosen["mirror"], chosen["max_epochs"]) == ((2,), 3)
    assert chosen["architecture_options"]["residual"] is True
    assert chosen["architecture_options"]["widths"] == [32, 64, 128]
    assert chosen["augmentation"] == VolumeAugmentation(mirror=(2,), rotation=5.0, spacing=CUBES.spacing)
    assert recipe.settings(CUBES, {"augmentation": False})["augmentation"] is False
    assert recipe.parameters({"max_epochs": 3})["max_epochs"] == 3
    assert given["architecture_options"] == {"residual": True}


@pytest.mark.parametrize(("given", "kind", "said"), [
    ({"epochs": 3}, UnknownNameError, "did you mean 'max_epochs'"),
    ({"random_state": 3}, StudyFileError, "set by the study"),
    ({"scaling": {}}, StudyFileError, "set by the study"),
    ({"loss": "dise"}, UnknownNameError, "did you mean 'dice'"),
    ({"loss_options": {"strange": 1}}, StudyFileError, "does not take"),
    ({"architecture_options": {"widhts": [4, 8]}}, StudyFileError, "widhts"),
    ({"augmentation": {"rotations": 5}}, UnknownNameError, "did you mean 'rotation'"),
    ({"augmentation": "yes"}, StudyFileError, "true, false, or a table"),
    ({"augmentation": {"rotation": 500.0}}, StudyFileError, "rotation"),
    ({"patch_size": [30, 30, 30]}, StudyFileError, "multiples of"),
    ({"max_epochs": 0}, StudyFileError, "max_epochs"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["small_unet3d", "unet3d"])
def test_what_cannot_be_is_said_before_a_scan_is_read(name, given, kind, said):
    with pytest.raises(kind, match=said):
        VOLUME_MODELS[name].check(given, 2, 3)


def balls(n=5, size=16, seed=0):
    rng = np.random.default_rng(seed)
    at = np.stack(np.mgrid[:size, :size, :size]).astype(float)
    scans, masks = [], []
    for _ in range(n):
        far = np.sqrt(((at - rng.uniform(0.4, 0.6, (3, 1, 1, 1)) * size) ** 2).sum(0))
        mask = (far < 0.3 * size).astype(np.uint8) + (far < 0.18 * size)
        scan = rng.normal(0, 1, (1, size, size, size)) + 3 * (mask > 0) + 3 * (mask == 2)
        scans.append(scan.astype(np.float16))
        masks.append(mask)
    return scans, masks


@pytest.mark.parametrize("name", list(VOLUME_MODELS))
def test_each_is_fitted_from_a_plan(name, tmp_path):
    plan = VolumePlan(
        spacing=(1.0, 1.0, 1.0), patch_size=(16, 16, 16), batch_size=2, patches_per_scan=2, widths=(4, 8),
        strides=((1, 1, 1), (2, 2, 2)), kernels=((3, 3, 3), (3, 3, 3)), small=True,
    )  # fmt: skip
    scans, masks = balls()
    tune = np.array([True, False, False, False, True])
    told = []
    options = {"max_epochs": 2, "precision": "32-true"}
    model = VOLUME_MODELS[name].fit(
        scans, masks, np.arange(5), regions={"whole": (1, 2), "core": 2}, exclusive=False, plan=plan, tune=tune,
        parameters=options, seed=4, folder=tmp_path / "net", progress=lambda share, text: told.append(share),
    )  # fmt: skip
    assert model.history_[0]["train_scans"] == 3
    assert model.history_[0]["tune_scans"] == 2
    assert model.random_state == 4
    assert list(model.head_.names) == ["whole", "core"]
    assert model.masks_of(scans[0]).shape == (2, 16, 16, 16)
    assert told
    assert (tmp_path / "net").exists()
