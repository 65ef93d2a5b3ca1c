"""A whole study of brain phantoms on disk: NIfTI as in the Decathlon, DICOM series, masks and a table of patients.

The files are synthetic and not for clinical use, and say so. The same settings and seed write the same bytes.
"""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from aimed.core import DataError, MissingExtraError, UnknownNameError
from aimed.readers.nifti import write_nifti
from aimed.synthetic.brain_contrast import BRAIN_CONTRASTS
from aimed.synthetic.brain_dicom import Visit, write_series
from aimed.synthetic.brain_phantom import BrainPhantom

__all__ = ["BRAIN_FORMATS", "PlannedScan", "plan_brain_study", "write_brain_study"]

#: What a study can be written as.
BRAIN_FORMATS = ("nifti", "dicom")

_AGE_MEAN, _AGE_SPREAD, _AGE_RANGE = 58.0, 14.0, (18, 92)
_MALE = 0.58
# The words of the Decathlon for `BRAIN_LABELS`.
_LABELS = {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """One visit of a patient: what is in the scan and where it goes.

    Parameters
    ----------
    patient, visit : int
        Numbers from 1; `visit` counts within the patient.
    age : int
        Years.
    sex : {"F", "M"}
    healthy : bool
        Without a tumour.
    growth : float
        Volume of the tumour relative to the first visit.
    """

    patient: int
    visit: int
    age: int
    sex: str
    healthy: bool
    growth: float

    @property
    def patient_id(self) -> str:
        """The made-up patient identifier."""
        return f"PHANTOM-{self.patient:06d}"

    @property
    def case(self) -> str:
        """Name of the scan."""
        return f"{self.patient_id}_{self.visit:02d}"

    @property
    def image_path(self) -> str:
        """Path of the NIfTI file of the four contrasts inside the folder of the study."""
        return f"imagesTr/{self.case}.nii.gz"

    @property
    def label_path(self) -> str:
        """Path of the NIfTI file of the labels."""
        return f"labelsTr/{self.case}.nii.gz"

    @property
    def dicom_path(self) -> str:
        """Folder of the DICOM series, one folder a contrast in it."""
        return f"dicom/{self.patient_id}/{self.visit:02d}"


def plan_brain_study(
    n_patients: int, *, visits: int | tuple[int, int] = 1, seed: int = 0, healthy: float = 0.0
) -> list[PlannedScan]:
    """Draw who is scanned, how often, and how tumours grow from visit to visit; no scan is made.

    Parameters
    ----------
    n_patients : int
    visits : int or (int, int)
        Number for each patient, or smallest and largest number.
    seed : int
    healthy : float
        Share of the patients without a tumour.

    Returns
    -------
    list of PlannedScan
        In the order of patients and visits.

    Raises
    ------
    DataError
        A number out of range.

    Examples
    --------
    >>> plan = plan_brain_study(2, visits=2, seed=1)
    >>> [scan.case for scan in plan]
    ['PHANTOM-000001_01', 'PHANTOM-000001_02', 'PHANTOM-000002_01', 'PHANTOM-000002_02']
    >>> plan[0].growth, plan[0].age == plan[1].age
    (1.0, True)
    """
    low, high = (visits,) * 2 if isinstance(visits, int) else visits
    if n_patients < 1 or low < 1 or high < low or high > 99:
        raise DataError(f"{n_patients} patients with {low} to {high} visits", "1 or more of each, at most 99 visits")
    if not 0 <= healthy <= 1:
        raise DataError(f"healthy {healthy}", "a number from 0 to 1", "give the share of patients")
    plan = []
    for patient in range(1, n_patients + 1):
        rng = np.random.default_rng([seed, 1, patient])
        age = int(np.clip(round(rng.normal(_AGE_MEAN, _AGE_SPREAD)), *_AGE_RANGE))
        sex = "M" if rng.uniform() < _MALE else "F"
        well = bool(rng.uniform() < healthy)
        growth = 1.0
        for visit in range(1, int(rng.integers(low, high + 1)) + 1):
            if visit > 1:
                growth = float(np.clip(growth * np.exp(rng.normal(0.25, 0.4)), 0.3, 3.0))
            plan.append(PlannedScan(patient, visit, age, sex, well, growth))
    return plan


def write_brain_study(
    folder: str | Path,
    n_patients: int,
    *,
    formats: Sequence[str] = BRAIN_FORMATS,
    size: int | tuple[int, int, int] = 64,
    spacing: float | tuple[float, float, float] | None = None,
    difficulty: float = 0.5,
    seed: int = 0,
    stripped: bool = True,
    tilt: float = 0.0,
    scrambled: bool = False,
    n_jobs: int = 1,
    progress: Callable[[float], None] | None = None,
    **plan: Any,
) -> list[PlannedScan]:
    """Write a study of brain phantoms (synthetic, not for clinical use).

    ``cases.csv`` has the columns patient_id, visit, image, label, dicom, age and sex; paths are relative to it, and
    image is the NIfTI file, or the DICOM folder when there is none. As NIfTI the study is in the layout of the Medical
    Segmentation Decathlon: ``dataset.json``, ``imagesTr/`` with the four contrasts in one file, ``labelsTr/``. Labels
    are NIfTI in every case: 0 background, 1 oedema, 2 non-enhancing core, 3 enhancing tumour. As DICOM there is one
    series a contrast in ``dicom/patient/visit/contrast/``, on the grid of the labels; where there is NIfTI as well, the
    labels run as its voxels do (RAS), which is the other way than slices of DICOM (LPS).

    Parameters
    ----------
    folder : path
        Made when absent; must be empty.
    n_patients : int
    formats : names
        Of `BRAIN_FORMATS`.
    size, spacing, difficulty, stripped, tilt
        As in `BrainPhantom.draw`.
    seed : int
        The same seed and settings give the same bytes, whatever `n_jobs`.
    scrambled : bool
        Number DICOM slices and their files in an order of chance.
    n_jobs : int
        Threads.
    progress : callable, optional
        Called with the share of the scans that is written, 0 to 1.
    **plan
        Further settings of `plan_brain_study`: visits, healthy.

    Returns
    -------
    list of PlannedScan
        The rows of ``cases.csv``.

    Raises
    ------
    MissingExtraError
        nibabel or pydicom is needed and not installed.
    UnknownNameError
        A format is not known.
    DataError
        The folder is not empty, or a setting is out of range.
    """
    wanted = (formats,) if isinstance(formats, str) else tuple(formats)
    for name in wanted:
        if name not in BRAIN_FORMATS:
            raise UnknownNameError("format", name, BRAIN_FORMATS)
    if not wanted:
        raise DataError("no formats", f"one or more of: {', '.join(BRAIN_FORMATS)}")
    for package in ("nibabel", *(["pydicom"] if "dicom" in wanted else [])):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "writing brain phantoms", "pip install 'aimed[imaging]'")
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("a folder that is not empty", "a new or empty folder", "choose another, or remove its files")
    scans = plan_brain_study(n_patients, seed=seed, **plan)
    for name in ("labelsTr", *(["imagesTr"] if "nifti" in wanted else [])):
        (root / name).mkdir(parents=True, exist_ok=True)

    def one_patient(mine: Sequence[PlannedScan]) -> int:
        first = mine[0]
        patient = BrainPhantom(
            (seed, 2, first.patient), age=first.age, sex=first.sex, n_tumours=0 if first.healthy else -1
        )
        for scan in mine:
            drawn = patient.draw(
                (seed, 3, scan.patient, scan.visit),
                size=size, spacing=spacing, difficulty=difficulty, growth=scan.growth, stripped=stripped, tilt=tilt,
            )  # fmt: skip
            # A mask lies as its scan does, and slices of DICOM run the other way.
            labels = drawn.labels if "nifti" in wanted else drawn.labels.reoriented("LPS")
            write_nifti(labels, root / scan.label_path)
            if "nifti" in wanted:
                write_nifti(drawn.image, root / scan.image_path)
            if "dicom" in wanted:
                visit = Visit(seed, scan.patient, scan.visit, scan.patient_id, scan.age, scan.sex)
                write_series(root / scan.dicom_path, visit, drawn.image, scrambled)
        return len(mine)

    groups = [list(group) for _, group in groupby(scans, key=lambda scan: scan.patient)]
    done = 0
    with ThreadPoolExecutor(max(1, n_jobs)) as pool:
        for count in pool.map(one_patient, groups):
            done += count
            if progress is not None:
                progress(done / len(scans))
    _write_table(root / "cases.csv", scans, wanted)
    if "nifti" in wanted:
        (root / "dataset.json").write_text(json.dumps(_decathlon(scans), indent=1) + "\n", encoding="utf-8")
    return scans


def _write_table(path: Path, scans: Sequence[PlannedScan], formats: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["patient_id", "visit", "image", "label", "dicom", "age", "sex"])
        for scan in scans:
            dicom = scan.dicom_path if "dicom" in formats else ""
            image = scan.image_path if "nifti" in formats else dicom
            table.writerow([scan.patient_id, scan.visit, image, scan.label_path, dicom, scan.age, scan.sex])


def _decathlon(scans: Sequence[PlannedScan]) -> dict[str, Any]:
    return {
        "name": "Brain phantoms",
        "description": "Synthetic brains with tumours, not for clinical use; labels as in Task01_BrainTumour",
        "reference": "aimed.synthetic",
        "licence": "CC0-1.0",
        "release": "1.0",
        "tensorImageSize": "4D",
        "modality": {str(k): name for k, name in enumerate(BRAIN_CONTRASTS)},
        "labels": _LABELS,
        "numTraining": len(scans),
        "numTest": 0,
        "training": [{"image": f"./{s.image_path}", "label": f"./{s.label_path}"} for s in scans],
        "test": [],
    }
