"""A whole imaging study of chest phantoms on disk: DICOM files, a table of labels and a mask for every finding.

The files are synthetic and not for clinical use, and say so in their own tags. The same settings and seed write the
same bytes.
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from aimed.core import DataError, MissingExtraError, UnknownNameError
from aimed.synthetic.chest_phantom import CUES, FINDINGS, ChestPhantom, PhantomImage
from aimed.synthetic.chest_reports import ReportErrors
from aimed.synthetic.radiography import LEVELS

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["CORRELATION", "PREVALENCE", "PlannedImage", "Shortcut", "plan_study", "write_study"]

#: Share of images with each finding, unless asked otherwise.
PREVALENCE: Mapping[str, float] = {
    "effusion": 0.25,
    "nodule": 0.2,
    "pneumothorax": 0.15,
    "cardiomegaly": 0.25,
    "consolidation": 0.25,
}

#: Findings that go together, unless asked otherwise (correlation of the hidden normal variables).
CORRELATION: Mapping[tuple[str, str], float] = {
    ("effusion", "cardiomegaly"): 0.35,
    ("effusion", "consolidation"): 0.25,
    ("effusion", "pneumothorax"): 0.1,
    ("nodule", "consolidation"): 0.1,
}

# Weight of age (in spreads) and of being male on each hidden variable: mild, in the direction known from practice.
_AGE_MALE: Mapping[str, tuple[float, float]] = {
    "effusion": (0.25, 0.0),
    "nodule": (0.3, 0.1),
    "pneumothorax": (-0.2, 0.2),
    "cardiomegaly": (0.35, 0.0),
    "consolidation": (0.1, 0.05),
}
# Share of the variance of a hidden variable that a patient keeps from image to image.
_LASTING = 0.7
_AGE_MEAN, _AGE_SPREAD, _AGE_RANGE = 55.0, 17.0, (18, 95)
_FIRST_DAY = datetime.date(2026, 1, 5)
_NOTE = "Synthetic phantom, not for clinical use"


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A cue that goes with a finding without being part of it, for testing that a shortcut is found.

    Parameters
    ----------
    finding : str
        The finding that the cue gives away.
    by : {"view", "marker", "border", "tube"}
        "view": an AP picture; the rest: a letter, a bright border, a tube.
    strength : float
        Correlation (phi) of cue and finding, 0 to 1: with this probability the cue follows the finding, else it is
        drawn by itself at the rate of the finding.

    Examples
    --------
    >>> Shortcut("effusion", "marker", 0.8)
    Shortcut(finding='effusion', by='marker', strength=0.8)
    """

    finding: str
    by: str
    strength: float = 0.8

    def __post_init__(self) -> None:
        if self.finding not in FINDINGS:
            raise UnknownNameError("finding", self.finding, FINDINGS)
        if self.by not in ("view", *CUES):
            raise UnknownNameError("shortcut", self.by, ("view", *CUES))
        if not 0 <= self.strength <= 1:
            raise DataError(f"a shortcut of strength {self.strength}", "a number from 0 to 1", "0.8 is a strong one")


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image of a study: what is in it and where it goes.

    Parameters
    ----------
    patient, image : int
        Numbers from 1; `image` counts within the patient.
    age : int
        Years.
    sex : {"F", "M"}
    view : {"PA", "AP"}
    findings : tuple of str
        What is present.
    cues : tuple of str
        Planted marks.
    inverted : bool
        Stored as MONOCHROME1.
    """

    patient: int
    image: int
    age: int
    sex: str
    view: str
    findings: tuple[str, ...]
    cues: tuple[str, ...]
    inverted: bool

    @property
    def patient_id(self) -> str:
        """The made-up patient identifier."""
        return f"PHANTOM-{self.patient:06d}"

    @property
    def path(self) -> str:
        """Path of the DICOM file inside the folder of the study."""
        return f"dicom/{self.patient_id}/{self.image:02d}.dcm"

    def mask_path(self, finding: str) -> str:
        """Return the path of the mask of `finding` inside the folder of the study."""
        return f"masks/{self.patient_id}_{self.image:02d}.{finding}.png"


def _rates(prevalence: float | Mapping[str, float] | None) -> npt.NDArray[np.float64]:
    if prevalence is None:
        prevalence = {}
    elif not isinstance(prevalence, Mapping):
        prevalence = dict.fromkeys(FINDINGS, float(prevalence))
    for name, value in prevalence.items():
        if name not in FINDINGS:
            raise UnknownNameError("finding", name, FINDINGS)
        if not 0 <= value <= 1:
            raise DataError(f"prevalence {value} of {name}", "a number from 0 to 1", "give the share of images")
    return np.array([float(prevalence.get(f, PREVALENCE[f])) for f in FINDINGS])


def _factor(correlation: Mapping[tuple[str, str], float] | None) -> npt.NDArray[np.float64]:
    """Return the Cholesky factor of the correlation matrix of the hidden variables."""
    matrix = np.eye(len(FINDINGS))
    for pair, value in (CORRELATION if correlation is None else correlation).items():
        for name in pair:
            if name not in FINDINGS:
                raise UnknownNameError("finding", name, FINDINGS)
        i, j = (FINDINGS.index(name) for name in pair)
        if i == j or not -1 < value < 1:
            raise DataError(f"correlation {value} of {pair[0]} and {pair[1]}", "two findings, between -1 and 1")
        matrix[i, j] = matrix[j, i] = value
    try:
        return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise DataError(
            "correlations that cannot hold together", "a positive definite matrix", "bring them nearer to 0"
        ) from None


def plan_study(
    n_patients: int,
    *,
    images_per_patient: int | tuple[int, int] = (1, 3),
    seed: int = 0,
    prevalence: float | Mapping[str, float] | None = None,
    correlation: Mapping[tuple[str, str], float] | None = None,
    demographics: float = 1.0,
    ap_fraction: float = 0.35,
    inverted_fraction: float = 0.25,
    shortcut: Shortcut | Mapping[str, Any] | None = None,
) -> list[PlannedImage]:
    """Draw who is imaged, how often, and with which findings; no picture is made.

    Findings come from correlated normal variables cut at the prevalence; most of each variable belongs to the patient,
    the rest to the image; age and sex shift it a little.

    Parameters
    ----------
    n_patients : int
    images_per_patient : int or tuple of int
        Number, or smallest and largest number.
    seed : int
    prevalence : float or mapping, optional
        Share of images with a finding; names left out keep `PREVALENCE`.
    correlation : mapping of pairs of names, optional
        In place of `CORRELATION`; an empty one makes findings independent, age and sex apart.
    demographics : float
        How strongly age and sex act; 0 is not at all, 1 is mild, at most 2.
    ap_fraction : float
        Share of AP views.
    inverted_fraction : float
        Share of files stored as MONOCHROME1.
    shortcut : Shortcut or mapping with its fields, optional
        A cue to plant. With ``by="view"`` the AP share becomes the prevalence of the finding.

    Returns
    -------
    list of PlannedImage
        In the order of patients and images.

    Raises
    ------
    DataError
        A number out of range.
    UnknownNameError
        A finding or cue is not known.

    Examples
    --------
    >>> plan = plan_study(2, images_per_patient=2, seed=1)
    >>> [p.path for p in plan][:2]
    ['dicom/PHANTOM-000001/01.dcm', 'dicom/PHANTOM-000001/02.dcm']
    """
    low, high = (images_per_patient,) * 2 if isinstance(images_per_patient, int) else images_per_patient
    if n_patients < 1 or low < 1 or high < low or high > 99:
        raise DataError(f"{n_patients} patients with {low} to {high} images", "1 or more of each, at most 99 images")
    for name, share in (("ap_fraction", ap_fraction), ("inverted_fraction", inverted_fraction)):
        if not 0 <= share <= 1:
            raise DataError(f"{name} {share}", "a number from 0 to 1", "give the share of images")
    if not 0 <= demographics <= 2:
        raise DataError(f"demographics {demographics}", "a number from 0 to 2", "1 is mild")
    if shortcut is not None and not isinstance(shortcut, Shortcut):
        shortcut = Shortcut(**shortcut)
    rates, factor = _rates(prevalence), _factor(correlation)
    cut = norm.isf(rates)
    weights = demographics * np.array([_AGE_MALE[f] for f in FINDINGS])
    own = np.sqrt(1 - (weights**2).sum(1))
    plan = []
    for patient in range(1, n_patients + 1):
        rng = np.random.default_rng([seed, 1, patient])
        age = int(np.clip(round(rng.normal(_AGE_MEAN, _AGE_SPREAD)), *_AGE_RANGE))
        male = bool(rng.uniform() < 0.5)
        images = int(rng.integers(low, high + 1))
        person = np.array([(age - _AGE_MEAN) / _AGE_SPREAD, 1.0 if male else -1.0])
        lasting = factor @ rng.standard_normal(len(FINDINGS))
        for image in range(1, images + 1):
            passing = factor @ rng.standard_normal(len(FINDINGS))
            hidden = own * (np.sqrt(_LASTING) * lasting + np.sqrt(1 - _LASTING) * passing) + weights @ person
            present = hidden > cut
            view_draw, inverted_draw, follow, alone = rng.uniform(size=4)
            portable = bool(view_draw < ap_fraction)
            cues: tuple[str, ...] = ()
            if shortcut is not None:
                k = FINDINGS.index(shortcut.finding)
                shown = bool(present[k] if follow < shortcut.strength else alone < rates[k])
                if shortcut.by == "view":
                    portable = shown
                elif shown:
                    cues = (shortcut.by,)
            plan.append(
                PlannedImage(
                    patient=patient,
                    image=image,
                    age=age,
                    sex="M" if male else "F",
                    view="AP" if portable else "PA",
                    findings=tuple(f for f, p in zip(FINDINGS, present, strict=True) if p),
                    cues=cues,
                    inverted=bool(inverted_draw < inverted_fraction),
                )
            )
    return plan


def write_study(
    folder: str | Path,
    n_patients: int,
    *,
    size: int = 256,
    difficulty: float = 0.5,
    seed: int = 0,
    masks: bool = True,
    reports: ReportErrors | None = None,
    n_jobs: int = 1,
    progress: Callable[[float], None] | None = None,
    **plan: Any,
) -> list[PlannedImage]:
    """Write a study of chest phantoms: ``dicom/``, ``masks/`` and ``labels.csv`` (synthetic, not for clinical use).

    ``labels.csv`` has the columns path, patient_id, age, sex, view and one column of 0 and 1 for each finding. A mask
    is an 8-bit PNG of 0 and 255, written for the findings that are present.

    Parameters
    ----------
    folder : path
        Made when absent; must be empty.
    n_patients : int
    size, difficulty
        As in `ChestPhantom.draw`.
    seed : int
        The same seed and settings give the same bytes, whatever `n_jobs`.
    masks : bool
        Write the masks.
    reports : ReportErrors, optional
        Write a report of every picture into the column ``report``, and leave findings blank for patients who are not
        in the gold sample.
    n_jobs : int
        Threads.
    progress : callable, optional
        Called with the share of the images that is written, 0 to 1.
    **plan
        Further settings of `plan_study`: prevalence, shortcut, images_per_patient and so on.

    Returns
    -------
    list of PlannedImage
        The rows of ``labels.csv`` with what it does not tell: planted cues and how the file is stored.

    Raises
    ------
    MissingExtraError
        pydicom is not installed.
    DataError
        The folder is not empty, or a setting is out of range.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pydicom", "writing DICOM files", "pip install 'aimed[imaging]'") from error
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("a folder that is not empty", "a new or empty folder", "choose another, or remove its files")
    images = plan_study(n_patients, seed=seed, **plan)
    (root / "masks" if masks else root).mkdir(parents=True, exist_ok=True)

    def one_patient(mine: Sequence[PlannedImage]) -> int:
        patient = ChestPhantom((seed, 2, mine[0].patient), age=mine[0].age, sex=mine[0].sex)
        (root / mine[0].path).parent.mkdir(parents=True, exist_ok=True)
        for image in mine:
            drawn = patient.draw(
                (seed, 3, image.patient, image.image),
                findings=image.findings,
                view=image.view,
                size=size,
                difficulty=difficulty,
                cues=image.cues,
            )
            _dicom(image, drawn, seed).save_as(root / image.path, enforce_file_format=True)
            if masks:
                for finding in image.findings:
                    (root / image.mask_path(finding)).write_bytes(_png(drawn.masks[finding]))
        return len(mine)

    groups = [list(group) for _, group in groupby(images, key=lambda image: image.patient)]
    done = 0
    with ThreadPoolExecutor(max(1, n_jobs)) as pool:
        for count in pool.map(one_patient, groups):
            done += count
            if progress is not None:
                progress(done / len(images))
    _write_labels(root / "labels.csv", images, reports, seed)
    return images


def _write_labels(path: Path, images: Sequence[PlannedImage], reports: ReportErrors | None, seed: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "patient_id", "age", "sex", "view", *FINDINGS, *(["report"] if reports else [])])
        for image in images:
            labels: list[Any] = [int(f in image.findings) for f in FINDINGS]
            if reports is not None:
                labels = labels if reports.in_gold(seed, image.patient) else [""] * len(FINDINGS)
                labels.append(reports.write(seed, image.patient, image.image, image.findings))
            table.writerow([image.path, image.patient_id, image.age, image.sex, image.view, *labels])


def _png(mask: npt.NDArray[np.bool_]) -> bytes:
    # Pillow comes with matplotlib.
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(file, format="PNG")
    return file.getvalue()


def _dicom(image: PlannedImage, drawn: PhantomImage, seed: int) -> FileDataset:
    """Return the file of one image: a portable AP as computed radiography, a PA as digital radiography."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence as Items
    from pydicom.uid import (
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        generate_uid,
    )

    portable = image.view == "AP"
    rng = np.random.default_rng([seed, 4, image.patient, image.image])
    names = ["aimed chest phantom", str(seed), image.patient_id]
    place = [*names, str(image.image)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = (
        ComputedRadiographyImageStorage if portable else DigitalXRayImageStorageForPresentation
    )
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*place, "image"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    day = _FIRST_DAY + datetime.timedelta(days=(37 * image.patient) % 300 + 11 * image.image)

    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[*place, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[*place, "series"])
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{name}Date", day.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", "120000")
    ds.AccessionNumber, ds.ReferringPhysicianName = "", ""
    ds.StudyID = f"{image.image:02d}"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.Modality = "CR" if portable else "DX"
    ds.Manufacturer = "AIMED SYNTHETIC"
    ds.ManufacturerModelName = "CHEST PHANTOM PORTABLE" if portable else "CHEST PHANTOM ROOM"
    ds.StudyDescription = "Chest phantom"
    ds.PatientName = f"PHANTOM^CHEST{image.patient:06d}"
    ds.PatientID = image.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = image.sex
    ds.PatientAge = f"{image.age:03d}Y"
    ds.ImageComments = _NOTE
    ds.QualityControlImage = "YES"
    ds.BurnedInAnnotation = "YES" if "marker" in image.cues else "NO"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = image.view
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.KVP = 90 if portable else 120
    ds.DistanceSourceToDetector = 1050 if portable else 1800
    ds.Exposure = int(rng.integers(1, 4) if portable else rng.integers(2, 6))
    ds.ImagerPixelSpacing = [round(drawn.spacing, 4)] * 2
    if not portable:
        ds.PresentationIntentType = "FOR PRESENTATION"
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = 1 if image.inverted else -1
        region = Dataset()
        region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
        ds.AnatomicRegionSequence = Items([region])
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if image.inverted else "MONOCHROME2"
    ds.Rows, ds.Columns = drawn.pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    centre = float(LEVELS // 2 + rng.integers(-80, 81))
    ds.WindowCenter = LEVELS - 1 - centre if image.inverted else centre
    ds.WindowWidth = float(rng.integers(3700, LEVELS + 1))
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "INVERSE" if image.inverted else "IDENTITY"
    stored = np.uint16(LEVELS - 1) - drawn.pixels if image.inverted else drawn.pixels
    ds.PixelData = stored.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds
