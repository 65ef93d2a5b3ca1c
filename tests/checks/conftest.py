"""A clean simulated cohort, and a way to plant one fault in it."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from aimed.checks.image_rows import ImageList
from aimed.checks.volume_sketches import VolumeList
from aimed.core import Binary, Cohort, Masks, Multilabel, Split, Survival, Variable
from aimed.core.image import ImageInfo
from aimed.core.volume import Volume
from aimed.readers.volume_record import VolumeRecord, greys_of, labels_of

VARIABLES = (
    Variable(name="age", unit="year", plausible=(18, 110)),
    Variable(name="sysbp", unit="mmHg", plausible=(50, 280)),
    Variable(name="creatinine", unit="mg/dL"),
    Variable(name="crp", unit="mg/L"),
    Variable(name="bmi", unit="kg/m2"),
    Variable(name="hemoglobin", unit="g/dL"),
    Variable(name="sex", kind="category", categories=("female", "male")),
    Variable(name="stage", kind="category", categories=("I", "II", "III", "IV")),
)


def make_clean(seed: int, kind: str = "binary", n: int = 3000, repeats: bool = False):
    rng = np.random.default_rng(seed)
    age = np.round(np.clip(rng.normal(62, 12, n), 18, 100))
    stage = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    crp = np.round(np.exp(rng.normal(1, 1, n)), 1)
    columns = {
        "age": age,
        "sysbp": np.round(np.clip(rng.normal(135, 18, n), 70, 230)),
        "creatinine": np.round(np.exp(rng.normal(0, 0.3, n)), 2),
        "crp": np.where(rng.random(n) < 0.08, np.nan, crp),
        "bmi": np.round(np.clip(rng.normal(27, 4, n), 14, 60), 1),
        "hemoglobin": np.round(rng.normal(13.5, 1.5, n), 1),
        "sex": rng.integers(0, 2, n),
        "stage": stage,
    }
    hazard = 0.04 * (age - 62) + 0.5 * stage + 0.2 * np.log(columns["creatinine"])
    if kind == "binary":
        outcome = Binary(values=rng.random(n) < 1 / (1 + np.exp(1.8 - hazard)), label="complication")
    else:
        event = rng.exponential(3000 * np.exp(-hazard))
        censored = rng.uniform(200, 3000, n)
        outcome = Survival(event=event <= censored, time=np.ceil(np.minimum(event, censored)), label="relapse")
    patient = np.arange(n) // 2 if repeats else np.arange(n)
    time = np.datetime64("2015-01-01") + np.sort(rng.integers(0, 2000, n)).astype("timedelta64[D]")
    return Cohort(
        patient=np.char.add("P", np.char.zfill(patient.astype(str), 6)),
        variables=VARIABLES,
        columns=columns,
        outcome=outcome,
        time=time,
    )


def make_split(cohort: Cohort, seed: int = 0, by: str = "patient") -> Split:
    if by == "time":
        cut = int(0.75 * cohort.n)
        return Split(
            parts={"train": np.arange(cut), "test": np.arange(cut, cohort.n)}, by="time", patient=cohort.patient
        )
    codes = np.unique(cohort.patient, return_inverse=True)[1]
    test = np.random.default_rng(seed).permutation(codes.max() + 1)[codes] < 0.25 * (codes.max() + 1)
    return Split(
        parts={"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}, by="patient", patient=cohort.patient
    )


@pytest.fixture(scope="session")
def clean():
    """Return the maker of a clean cohort: ``clean(seed, kind, n, repeats)``."""
    return make_clean


@pytest.fixture(scope="session")
def split_of():
    """Return the maker of a split: ``split_of(cohort, seed, by)``."""
    return make_split


@pytest.fixture(scope="session")
def planted():
    """Return a function that puts columns into a cohort, replacing those of the same name."""

    def plant(cohort: Cohort, *variables: Variable, **columns) -> Cohort:
        given = {v.name: v for v in variables}
        kept = [given.pop(v.name, v) for v in cohort.variables]
        new = [given.pop(name, Variable(name=name)) for name in columns if name not in {v.name for v in kept}]
        return replace(cohort, variables=(*kept, *new), columns={**cohort.columns, **columns})

    return plant


@pytest.fixture(scope="session")
def seen():
    """Return a function that lists (severity, where) of findings, NOTE left out."""

    def look(findings):
        return {(f.severity.value, f.where) for f in findings if f.severity.value != "NOTE"}

    return look


def make_chests(seed: int, n: int, size: int = 128) -> np.ndarray:
    """Return drawn chests that share their coarse shape and differ in everything finer, shape (n, size, size)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    side = np.abs(x - 0.5) * 2
    chest = 0.42 + 0.35 * y
    lungs = ((y - 0.4) / 0.28) ** 2 + ((side - 0.45) / 0.3) ** 2 < 1
    chest[lungs] -= 0.3
    chest[(y < 0.15) & (side > 0.4)] = 0.1
    chest[side > 0.9] = 0.1
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    shape = 1 / np.maximum(frequency, 2 / size) ** 1.3
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, size, size))) * shape).real
    noise /= noise.std(axis=(1, 2), keepdims=True)
    return np.clip(255 * (chest + 0.08 * noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def chests():
    """Return the maker of drawn chests: ``chests(seed, n, size)``."""
    return make_chests


@pytest.fixture(scope="session")
def cxr_320(shared_data):
    """Return the 1,000 real chest X-rays of cxr_320, shape (1000, 320, 320), and the rows of their table."""
    with open(shared_data("cxr_320", "nih_join.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folder = shared_data("cxr_320")
    return np.stack([np.asarray(Image.open(folder / row["file"]).convert("L")) for row in rows]), rows


def make_picture_cohort(seed: int = 0, n: int = 240, size: int = 64, strength: float = 0.0, targets=("Mass", "Edema")):
    """Return a cohort of pictures without predictors and its split; `strength` plants the view into the first finding.

    Two pictures a patient, answers missing in a tenth of the rows, descriptors for the view, age and sex.
    """
    rng = np.random.default_rng(seed)
    y = (rng.random((n, len(targets))) < 0.4).astype(float)
    pa = rng.random(n) < 0.5 + strength * (2 * y[:, 0] - 1)
    infos = [
        ImageInfo(
            digest=f"{seed}-{i}",
            format="dicom",
            rows=size,
            columns=size,
            bits_stored=12,
            scaling="window",
            view="PA" if pa[i] else "AP",
            body_part="CHEST",
            modality="DX",
        )
        for i in range(n)
    ]
    y[rng.random(y.shape) < 0.1] = np.nan
    patient = np.char.add("P", (np.arange(n) // 2).astype(str))
    cohort = Cohort(
        patient=patient,
        variables=[
            Variable(name="age", role="descriptor"),
            Variable(name="sex", kind="category", role="descriptor", categories=("F", "M")),
            Variable(name="image_view", kind="category", role="descriptor", categories=("AP", "PA")),
        ],
        columns={"age": rng.normal(60, 15, n).round(), "sex": rng.integers(0, 2, n), "image_view": pa.astype(int)},
        outcome=Multilabel(values=y, targets=tuple(targets)),
        assets={"images": ImageList(make_chests(seed, n, size), infos)},
    )
    return cohort, make_split(cohort, seed)


NAMES_OF_CHANNELS = ("FLAIR", "T1w", "T2w")
REGIONS_OF_SCANS = {"whole": (1, 2), "core": (2,)}
_GREYS = {
    # Outside, grey matter, white matter, fluid, oedema, core: as in sequences of these names.
    "FLAIR": (0, 110, 90, 30, 190, 120),
    "T1w": (0, 90, 130, 40, 80, 60),
    "T2w": (0, 100, 80, 200, 160, 140),
}


def make_tissue(seed: int, size: int):
    """Return the tissues of a head without skull, shape (z, y, x), 0 outside, and the labels of its tumour."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.mgrid[:size, :size, :size] + 0.5) / size * 2 - 1
    height, depth = rng.uniform(0.78, 0.86), rng.uniform(0.88, 0.96)
    # Narrow at the front and flat below, so that only left and right are alike.
    head = (x / (0.75 - 0.12 * y)) ** 2 + (y / depth) ** 2 + (z / height) ** 2 < 1
    head &= z > -0.6 - 0.2 * y
    inner = (x / 0.55) ** 2 + (y / 0.68) ** 2 + ((z - 0.05) / 0.58) ** 2 < 1
    fluid = ((np.abs(x) - 0.15) / 0.1) ** 2 + ((y + 0.1) / rng.uniform(0.3, 0.4)) ** 2 + ((z - 0.1) / 0.2) ** 2 < 1
    fluid |= head & (y < -0.55) & (z < -0.2)
    tissue = np.where(fluid, 3, np.where(inner, 2, 1)) * head
    at = rng.uniform(-0.3, 0.3, 3) + np.array([0.1, 0, 0.3 * rng.choice([-1, 1])])
    far = np.sqrt((z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2)
    radius = rng.uniform(0.25, 0.4)
    mask = ((far < radius).astype(np.uint8) + (far < 0.6 * radius)) * head
    return np.where(mask > 0, 3 + mask, tissue), mask.astype(np.uint8)


def make_volume(seed: int, names=NAMES_OF_CHANNELS, size: int = 24, spacing: float = 6.0, noise: float = 6.0):
    """Return a scan with those channels and its mask, on one grid."""
    tissue, mask = make_tissue(seed, size)
    rng = np.random.default_rng((seed, 1))
    bias = 1 + 0.1 * np.sin(np.mgrid[:size, :size, :size].sum(0) / size * 3 + rng.uniform(0, 6))
    channels = []
    for name in names:
        greys = np.array(_GREYS[name])[tissue] * bias * rng.uniform(0.8, 1.2) + rng.normal(20, noise, tissue.shape)
        channels.append(np.where(tissue > 0, np.clip(greys, 1, None), 0))
    affine = np.diag([spacing, spacing, spacing, 1.0])
    return Volume(array=np.stack(channels).astype(np.int16), affine=affine, channels=tuple(names)), mask


def record_of(scan, mask, **changes):
    """Return what a cache would know of a scan that is stored as it is."""
    greys = [greys_of(channel) for channel in scan.array]
    labels, label_greys, components = labels_of(mask, scan.array, greys)
    known = {
        "digest": hashlib.sha256(scan.array.tobytes() + repr(scan.channels).encode()).hexdigest(),
        "mask_digest": hashlib.sha256(mask.tobytes()).hexdigest(),
        "shape": scan.array.shape[-3:],
        "affine": tuple(map(tuple, scan.affine.tolist())),
        "spacing": scan.spacing,
        "orientation": scan.orientation,
        "modality": "MR",
        "channels": scan.channels,
        "foreground": float((scan.array != 0).any(axis=0).mean()),
        "greys": tuple(greys),
        "labels": labels,
        "label_greys": label_greys,
        "components": components,
    }
    return VolumeRecord(**{**known, **changes})


def make_volume_cohort(scans, masks, *, patients=None, records=None):
    """Return a cohort of scans in memory, with the volumes of their regions, and its split by patient."""
    known = [record_of(s, m) for s, m in zip(scans, masks, strict=True)] if records is None else records
    names = np.array([f"P{k:03d}" for k in range(len(scans))] if patients is None else patients)
    ml = [
        [sum(r.labels.get(label, 0) for label in labels) * r.grid.voxel_ml for labels in REGIONS_OF_SCANS.values()]
        for r in known
    ]
    cohort = Cohort(
        patient=names,
        variables=[],
        columns={},
        outcome=Masks(volumes=np.reshape(ml, (len(scans), -1)), targets=tuple(REGIONS_OF_SCANS)),
        assets={"volumes": VolumeList(scans, masks, known)},
    )
    last = np.isin(names, np.unique(names)[-(len(np.unique(names)) // 3) :])
    parts = {"train": np.flatnonzero(~last), "test": np.flatnonzero(last)}
    return cohort, Split(parts=parts, by="patient", patient=names)


@pytest.fixture(scope="session")
def scans_and_masks():
    """Return 18 scans of 24 voxels a side with three channels, and their masks."""
    return tuple(map(list, zip(*(make_volume(seed) for seed in range(18)), strict=True)))


@pytest.fixture(scope="session")
def volume_cohort():
    """Return the maker of a cohort of scans and its split: ``volume_cohort(scans, masks, patients=, records=)``."""
    return make_volume_cohort


@pytest.fixture(scope="session")
def known_of():
    """Return the maker of what is known of a scan: ``known_of(scan, mask, **changes)``."""
    return record_of


@pytest.fixture(scope="session")
def picture_cohort():
    """Return the maker of a cohort of pictures and its split: ``picture_cohort(seed, n, size, strength)``."""
    return make_picture_cohort
