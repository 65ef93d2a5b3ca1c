"""A clean simulated cohort, and a way to plant one fault in it."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from aimed.checks.image_rows import ImageList
from aimed.core import Binary, Cohort, Multilabel, Split, Survival, Variable
from aimed.core.image import ImageInfo

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


@pytest.fixture(scope="session")
def picture_cohort():
    """Return the maker of a cohort of pictures and its split: ``picture_cohort(seed, n, size, strength)``."""
    return make_picture_cohort
