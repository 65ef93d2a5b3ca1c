"""Brain phantoms as DICOM: one MR series a contrast, with every slice in its place in the body.

The files are synthetic and not for clinical use, and say so in their own tags.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aimed.core.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

__all__ = ["Visit", "write_series"]

_FIRST_DAY = datetime.date(2026, 1, 5)
_NOTE = "Synthetic phantom, not for clinical use"

# Description, sequence, echo time, repetition time and inversion time in ms, echo train.
_PROTOCOLS: dict[str, tuple[str, str, float, float, float | None, int]] = {
    "FLAIR": ("AX T2 FLAIR", "IR", 120.0, 9000.0, 2500.0, 16),
    "T1w": ("AX T1 PRE", "SE", 12.0, 600.0, None, 1),
    "T1gd": ("AX T1 POST GD", "SE", 12.0, 600.0, None, 1),
    "T2w": ("AX T2", "SE", 100.0, 4500.0, None, 16),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """Who was scanned, and when.

    Parameters
    ----------
    study_seed, patient, visit : int
        Numbers from 1 but for the seed; together they name the study.
    patient_id : str
    age : int
        Years.
    sex : {"F", "M"}
    """

    study_seed: int
    patient: int
    visit: int
    patient_id: str
    age: int
    sex: str

    def uid(self, *more: str) -> str:
        """Return an identifier that repeats."""
        from pydicom.uid import generate_uid

        sources = ["aimed brain phantom", str(self.study_seed), self.patient_id, str(self.visit), *more]
        return str(generate_uid(entropy_srcs=sources))


def write_series(folder: Path, visit: Visit, image: Volume, scrambled: bool) -> None:
    """Write every contrast of a scan to a folder of its own name.

    Parameters
    ----------
    folder : path
        Of the visit; made when absent.
    visit : Visit
    image : Volume
        With named channels.
    scrambled : bool
        Number slices and files in an order of chance: only ImagePositionPatient then tells where a slice lies.
    """
    flat = image.reoriented("LPS")
    # DICOM counts to the left and back, NIfTI to the right and front.
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ flat.affine
    rng = np.random.default_rng([visit.study_seed, 6, visit.patient, visit.visit])
    for number, name in enumerate(flat.channels, start=1):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        slices = flat.array[number - 1]
        order = np.arange(1, len(slices) + 1)
        if scrambled:
            order = rng.permutation(order)
        ds = _series(visit, name, number, flat)
        for k, pixels in enumerate(slices):
            _fill(ds, visit, int(order[k]), affine[:3, 3] + k * affine[:3, 2], pixels, float(slices.max()))
            ds.save_as(place / f"{order[k]:04d}.dcm", enforce_file_format=True)


def _ds(values: npt.NDArray[np.float64]) -> list[Any]:
    from pydicom.valuerep import DSfloat

    # A decimal string has 16 characters; more would not be valid.
    return [DSfloat(float(v) + 0.0, auto_format=True) for v in values]


def _fill(
    ds: FileDataset, visit: Visit, number: int, place: npt.NDArray[np.float64], pixels: npt.NDArray[Any], top: float
) -> None:
    from pydicom.uid import UID

    uid = visit.uid(ds.SeriesDescription, str(number))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID(uid)
    ds.InstanceNumber = number
    ds.ImagePositionPatient = _ds(place)
    normal = np.cross(*np.array(ds.ImageOrientationPatient, dtype=np.float64).reshape(2, 3))
    ds.SliceLocation = _ds(np.array([normal @ place]))[0]
    ds.WindowCenter, ds.WindowWidth = round(0.4 * top), max(round(0.8 * top), 1)
    ds.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()
    ds["PixelData"].VR = "OW"


def _series(visit: Visit, name: str, number: int, image: Volume) -> FileDataset:
    """Return what all slices of one contrast share."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence as Items
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    described, sequence, echo, repetition, inversion, train = _PROTOCOLS[name]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    day = _FIRST_DAY + datetime.timedelta(days=(37 * visit.patient) % 200 + 91 * (visit.visit - 1))
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", sequence]
    ds.SOPClassUID = MRImageStorage
    ds.StudyInstanceUID, ds.SeriesInstanceUID = visit.uid("study"), visit.uid("series", name)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = visit.uid("frame"), ""
    for field in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{field}Date", day.strftime("%Y%m%d"))
        setattr(ds, f"{field}Time", f"12{number:02d}00")
    ds.StudyTime = "120000"
    ds.AccessionNumber, ds.ReferringPhysicianName = "", ""
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = f"{visit.visit:02d}", number, 1
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "AIMED SYNTHETIC", "BRAIN PHANTOM"
    ds.StudyDescription, ds.SeriesDescription = "Brain phantom", described
    ds.PatientName, ds.PatientID = f"PHANTOM^BRAIN{visit.patient:06d}", visit.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", visit.sex, f"{visit.age:03d}Y"
    ds.ImageComments, ds.QualityControlImage, ds.BurnedInAnnotation = _NOTE, "YES", "NO"
    ds.BodyPartExamined, ds.PatientPosition = "BRAIN", "HFS"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "12738006", "SCT", "Brain"
    ds.AnatomicRegionSequence = Items([region])
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = sequence, "SK", ""
    ds.MRAcquisitionType, ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength = "2D", echo, repetition, train
    if inversion is not None:
        ds.InversionTime = inversion
    if name == "T1gd":
        ds.ContrastBolusAgent = "GADOLINIUM (SYNTHETIC)"
    ds.MagneticFieldStrength = 3.0
    dz, dy, dx = image.spacing
    ds.SliceThickness, ds.SpacingBetweenSlices = _ds(np.array([dz, dz]))
    ds.PixelSpacing = _ds(np.array([dy, dx]))
    turn = np.diag([-1.0, -1.0, 1.0]) @ image.affine[:3, :2] / np.array([dx, dy])
    ds.ImageOrientationPatient = _ds(turn.T.ravel())
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = image.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    return ds
