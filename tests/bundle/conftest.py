"""One fitted model of every kind on made-up rows, packed once; and one of pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aimed.bundle.pack import pack
from aimed.bundle.schema import describe
from aimed.calibrate.sigmoid import Sigmoid
from aimed.core import Variable
from aimed.fit.adapter import StudyModel
from aimed.prognosis import MODELS

VARIABLES = (
    Variable(name="age", unit="year", label="Age", plausible=(18, 110)),
    Variable(name="bili", unit="mg/dL", label="Bilirubin", plausible=(0.1, 60)),
    Variable(name="stage", kind="category", label="Stage", categories=("1", "2", "3", "never seen")),
)
META = {
    "study": {"id": "made-up", "title": "A made-up study"},
    "intended_use": "Tests.",
    "intended_users": ["testers"],
    "not_for": ["patients"],
    "outcome": {"label": "death", "unit": "day"},
    "thresholds": [0.2],
    "created": "2026-11-21T00:00:00+00:00",
}
HORIZONS = (200.0, 500.0)


def made_up(n=400, seed=5):
    rng = np.random.default_rng(seed)
    age, bili, stage = rng.normal(60, 12, n), rng.lognormal(0.5, 0.8, n), rng.integers(0, 3, n).astype(float)
    lp = 0.05 * (age - 60) + 0.5 * np.log(bili) + 0.3 * stage
    X = np.column_stack([age, bili, stage])
    X[rng.random((n, 3)) < 0.08] = np.nan
    y = (rng.random(n) < 1 / (1 + np.exp(1 - lp))).astype(np.int8)
    time = np.ceil(rng.exponential(600 * np.exp(-lp)))
    s = np.array(list(zip(rng.random(n) < 0.7, time, strict=True)), dtype=[("event", bool), ("time", float)])
    return X, y, s


def competing(n=400, seed=5):
    _, _, s = made_up(n, seed)
    codes = np.where(s["event"], np.random.default_rng(seed + 1).integers(1, 3, n), 0)
    return np.array(list(zip(codes, s["time"], strict=True)), dtype=[("event", int), ("time", float)])


def fitted(name, calibrate=False, task=None, **preparation):
    X, y, s = made_up()
    recipe = MODELS[name].for_task(task or MODELS[name].task)
    model = StudyModel(recipe, VARIABLES, preparation=preparation, seed=3)
    model.fit(X, {"binary": y, "survival": s, "competing": competing()}[recipe.task])
    if calibrate:
        model.calibrator = Sigmoid(-0.2, 0.8)
    return model, X


def packed(name, folder, task=None, **kwargs):
    model, X = fitted(name, calibrate=MODELS[name].task == "binary", task=task)
    kwargs = {"meta": META, "schema": describe(model, X), "extra_members": {"README.md": "# Card"}, **kwargs}
    if model.recipe.task != "binary":
        kwargs = {"horizons": HORIZONS, "times": [100.0, 300.0, 500.0], **kwargs}
    return pack(model, folder, **kwargs), model, X


def toy_films(n=60, size=32, seed=0):
    """Return pictures (n, size, size) uint8 with a bright top or a bright side, and what they show, shape (n, 2)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 2)).astype(float)
    pictures = rng.integers(0, 60, (n, size, size)).astype(np.uint8)
    pictures[y[:, 0] == 1, : size // 2] += 90
    pictures[y[:, 1] == 1, :, : size // 2] += 90
    return pictures, y


def fitted_findings(size=32, **options):
    """Return a model whose findings, keys and labels have different orders, with all that calibration adds."""
    from aimed.calibrate.conformal import ConformalSets
    from aimed.calibrate.isotonic import Isotonic
    from aimed.diagnosis.findings_model import FindingsModel
    from aimed.diagnosis.image_classifier import ImageClassifier

    pictures, y = toy_films(size=size)
    names = ["top, bright", "a side"]
    options = {"n_estimators": 2, "max_epochs": 4, **options}
    network = ImageClassifier(architecture_options={"widths": [4, 8]}, early_stopping=False, n_jobs=1, **options)
    network.fit(pictures, y, names=names)
    model = FindingsModel(
        "small_cnn", "Small network", network, size=size, bits=8, labels={"top, bright": "Bright top"},
        parameters={"max_epochs": 4}, seed=3,
    )  # fmt: skip
    raw = model.raw(pictures)
    model.calibrators = [Sigmoid(-0.2, 0.8), Isotonic().fit(raw[:, 1], y[:, 1])]
    model.thresholds[0] = 0.4
    model.conformal = ConformalSets.fit(model.risk(pictures), y, names=["Z", "A"], alpha=0.2)
    return model


@pytest.fixture(scope="session")
def findings_model():
    """A fitted model of two findings in pictures of 32 pixels; not to be changed."""
    pytest.importorskip("torch", reason="the deep extra is not installed")
    return fitted_findings()


@pytest.fixture(scope="session")
def films():
    """The function that draws toy pictures."""
    return toy_films


@pytest.fixture(scope="session")
def dicom():
    """The function of the readers' tests that makes DICOM files, in every transfer syntax."""
    pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    path = Path(__file__).parents[1] / "readers" / "conftest.py"
    spec = importlib.util.spec_from_file_location("readers_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_dicom


@pytest.fixture(scope="session")
def picture_bundle(findings_model, tmp_path_factory):
    """A packed model of pictures; not to be changed."""
    pytest.importorskip("PIL", reason="the imaging extra is not installed")
    from aimed.bundle.pack import pack_pictures
    from aimed.bundle.picture_schema import PictureSchema

    folder = tmp_path_factory.mktemp("pictures") / "bundle"
    expects = PictureSchema(size=32, bits=8, views=("AP", "PA"), modalities=("DX",), smallest=40, lossy=False)
    return pack_pictures(findings_model, folder, meta=META, expects=expects, extra_members={"README.md": "# Card"})


@pytest.fixture(scope="session")
def lab():
    """The helpers of this folder, for tests that cannot import their conftest."""
    return SimpleNamespace(
        VARIABLES=VARIABLES, META=META, HORIZONS=HORIZONS, made_up=made_up, fitted=fitted, packed=packed
    )


@pytest.fixture
def rows():
    """Raw rows as a CSV file holds them."""
    return {
        "id": ["a", "b", "c", "d"],
        "age": ["61", "45.5", "", "70"],
        "bili": [1.2, None, 3.0, float("nan")],
        "stage": ["1", "3", "", "2"],
    }


CONTRASTS = ("FLAIR", "T1w", "T1gd", "T2w")


def fitted_outlines(n_estimators=1, spacing=(9.6, 9.6, 9.6), **options):
    """Return a model of two overlapping regions in drawn heads of 20 voxels a side, and the heads."""
    from aimed.diagnosis.outlines_model import OutlinesModel
    from aimed.diagnosis.volume_preparation import VolumePreparation
    from aimed.diagnosis.volume_segmenter import VolumeSegmenter
    from aimed.synthetic import draw_brain

    heads = [draw_brain(seed, size=20, difficulty=0.1) for seed in range(4)]
    preparation = VolumePreparation(channels=CONTRASTS, spacing=spacing, modality="MR")
    ready = [preparation.prepared(head.image) for head in heads]
    masks = [preparation.mask_on(head.labels, one) for head, one in zip(heads, ready, strict=True)]
    options = {
        "regions": {"whole tumour": (1, 2, 3), "tumour core": (2, 3)},
        "paint": {"whole tumour": 1, "tumour core": 2}, "architecture_options": {"widths": [4, 8]},
        "patch_size": (16, 16, 16), "max_epochs": 4, "patches_per_scan": 2, "learning_rate": 1e-2,
        "early_stopping": False, "n_jobs": 1, "precision": "32-true", "n_estimators": n_estimators, **options,
    }  # fmt: skip
    network = VolumeSegmenter(**options).fit([one.array for one in ready], masks)
    model = OutlinesModel("small_unet3d", "Small 3D U-Net", network, preparation, labels={"tumour core": "Core"})
    return model, [head.image for head in heads], masks


@pytest.fixture(scope="session")
def outlines():
    """A fitted model of two regions in heads of four contrasts, the heads and their masks; not to be changed."""
    pytest.importorskip("torch", reason="the deep extra is not installed")
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    return fitted_outlines()


@pytest.fixture(scope="session")
def fit_outlines():
    """The function that fits such a model."""
    pytest.importorskip("torch", reason="the deep extra is not installed")
    return fitted_outlines


@pytest.fixture(scope="session")
def volume_bundle(outlines, tmp_path_factory):
    """A packed model of volumes, run by torch; not to be changed."""
    from aimed.bundle.pack import pack_volumes
    from aimed.bundle.volume_schema import VolumeSchema

    model = outlines[0]
    expects = VolumeSchema(
        channels=model.channels, regions=tuple(model.keys), spacing=(9.6, 9.6, 9.6), modality="MR",
        spacings=((9.0, 10.0),) * 3, extents=((150.0, 250.0),) * 3, volumes={"whole_tumour": (0.5, 400.0)},
        column="scan",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("volumes") / "bundle"
    return pack_volumes(model, folder, meta=META, expects=expects, extra_members={"README.md": "# Card"})
