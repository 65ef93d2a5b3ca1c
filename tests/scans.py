"""DICOM series of a made-up patient on any grid: one file a slice, or one file of many frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORDS = ("Quixote", "Zebedee", "MRN-778899", "19330217", "ACC-5551", "Panza", "SECRET", "head without")
"""Texts of the patient, none of which may stand in a message."""

STUDY, SERIES, FRAME = "1.2.826.0.1.55.1", "1.2.826.0.1.55.1.1", "1.2.826.0.1.55.9"
MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"


def affine_of(
    spacing=(3.0, 0.8, 0.7), turn=(0.0, 0.0, 0.0), axes=(0, 1, 2), flips=(1, 1, 1), origin=(-11.5, 7.25, -33.1)
):
    """Return an affine of voxel (x, y, z) in mm to the left, back and head: axes put anywhere, flipped and turned."""
    a, b, c = np.radians(turn)
    one = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    two = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    three = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    found = np.eye(4)
    found[:3, :3] = one @ two @ three @ (np.eye(3)[:, list(axes)] * np.array(flips))
    found[:3, :3] *= np.array(spacing[::-1])
    found[:3, 3] = origin
    return found


def texts(values):
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(v), auto_format=True) for v in values]


def _common(affine, shape, tags):
    import pydicom
    from pydicom.dataset import FileMetaDataset

    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = STUDY, SERIES, FRAME
    ds.Modality, ds.BodyPartExamined, ds.SeriesDescription = "MR", "BRAIN", "AX T2 FLAIR"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Quixote^Zebedee", "MRN-778899", "19330217", "M"
    ds.AccessionNumber, ds.StudyID, ds.StudyDate, ds.StudyTime = "ACC-5551", "S7", "20260110", "101500"
    ds.ReferringPhysicianName, ds.StudyDescription, ds.PatientAge = "Panza^Sancho", "head without contrast", "092Y"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.private_block(0x0011, "SOME VENDOR", create=True).add_new(1, "LO", "SECRET-OF-VENDOR")
    for name, value in tags.items():
        setattr(ds, name, value)
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    turn = (affine[:3, :2] / spacing[:2]).T.ravel()
    return ds, turn, texts([spacing[1], spacing[0]])


def write_series(folder: Path, voxels, affine, *, drop=(), seed=0, nudge=None, each=None, **tags):
    """Write one file a slice, numbered and named by chance; `each(ds, k)` may change slice k."""
    import pydicom

    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(voxels))
    for k, pixels in enumerate(voxels):
        ds, turn, spacing = _common(affine, voxels.shape, tags)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MR
        uid = f"{ds.SeriesInstanceUID}.{order[k] + 1}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.InstanceNumber = int(order[k]) + 1
        place = affine[:3, 3] + (k + (0 if nudge is None else nudge[k])) * affine[:3, 2]
        ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = texts(place), texts(turn), spacing
        ds.SliceThickness = "9.9"
        ds.PixelData = pixels.astype("<i2").tobytes()
        for name in drop:
            delattr(ds, name)
        if each is not None:
            each(ds, k)
        with pydicom.config.disable_value_validation():
            ds.save_as(folder / f"{order[k]:03d}.dcm", enforce_file_format=True)
    return folder


def write_frames(path: Path, voxels, affine, *, seed=0, times=1, **tags):
    """Write one file of many frames in an order of chance; with `times`, several volumes of the same places."""
    import pydicom
    from pydicom.sequence import Sequence

    def one(**values):
        item = pydicom.Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        return Sequence([item])

    ds, turn, spacing = _common(affine, voxels.shape, tags)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{SERIES}.7"
    frames = [(t, int(k)) for t in range(times) for k in range(len(voxels))]
    frames = [frames[i] for i in np.random.default_rng(seed).permutation(len(frames))]
    shared = pydicom.Dataset()
    shared.PixelMeasuresSequence = one(PixelSpacing=spacing, SliceThickness="9.9")
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=texts(turn))
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    own = []
    for t, k in frames:
        item = pydicom.Dataset()
        item.PlanePositionSequence = one(ImagePositionPatient=texts(affine[:3, 3] + k * affine[:3, 2]))
        item.FrameContentSequence = one(TemporalPositionIndex=t + 1)
        own.append(item)
    ds.PerFrameFunctionalGroupsSequence = Sequence(own)
    ds.NumberOfFrames = len(frames)
    ds.PixelData = np.stack([voxels[k] + 1000 * t for t, k in frames]).astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def nested(shape, seed=0):
    """Return three nested masks, shape (3, z, y, x), with no symmetry; outermost slices stay empty."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    distance = (z[:, None, None] + 0.1) ** 2 * 2 + (y[:, None] - 0.2) ** 2 + (x + 0.15) ** 2
    distance = distance + 0.1 * rng.random(shape)
    found = np.stack([distance < r for r in (0.75, 0.45, 0.2)])
    found[:, 0] = found[:, -1] = False
    return found


def numbered(shape):
    """Return voxels that say where they are."""
    z, y, x = np.indices(shape)
    return (100 * z + 3 * y + x).astype(np.int16)
