"""Toy chests: two dark lungs and a heart under a random exposure, with three findings that can be seen."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

NAMES = ["large heart", "nodule", "effusion"]


def toy_chests(n=120, size=48, seed=0, noise=10.0):
    """Return pictures (n, size, size) uint8, labels (n, 3) and patients; two pictures a patient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / (size - 1.0)
    labels = (rng.random((n, 3)) < 0.4).astype(float)
    pictures = np.empty((n, size, size), dtype=np.uint8)
    for i, (heart, nodule, effusion) in enumerate(labels):
        dx, dy = rng.normal(0, 0.02, 2)
        lungs = np.zeros_like(x)
        for cx in (0.29, 0.71):
            inside = ((x - cx - dx) / 0.17) ** 2 + ((y - 0.5 - dy) / 0.36) ** 2
            lungs += 1 / (1 + np.exp(14 * (inside - 1)))
        picture = 190 - 110 * lungs
        r = 0.25 if heart else 0.16
        inside = ((x - 0.56 - dx) / r) ** 2 + ((y - 0.66 - dy) / 0.18) ** 2
        picture += 60 / (1 + np.exp(12 * (inside - 1)))
        if nodule:
            cx, cy = rng.choice([0.27, 0.73]) + rng.normal(0, 0.03), rng.uniform(0.3, 0.6)
            picture += 70 * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / 0.045**2))
        if effusion:
            side = rng.choice([0.29, 0.71])
            picture += 80 / (1 + np.exp(-25 * (y - 0.72))) * np.exp(-(((x - side) / 0.15) ** 2))
        picture = 128 + (picture - 128) * rng.uniform(0.8, 1.2) + rng.normal(0, 12) + rng.normal(0, noise, x.shape)
        pictures[i] = np.clip(picture, 0, 255)
    return pictures, labels, np.arange(n) // 2


@pytest.fixture(scope="session")
def chests():
    """Return the function that draws toy chests."""
    return toy_chests


def chest_file(pixels=None, *, charset="ISO_IR 100", drop=(), private=True, **tags):
    """Return the bytes of a DICOM radiograph of a made-up patient, with elements changed, or dropped by keyword."""
    import io

    import pydicom
    from pydicom.dataset import FileMetaDataset

    if pixels is None:
        y, x = np.mgrid[:48, :40]
        pixels = (40 * x + 30 * y).astype(np.uint16)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4.5"
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = charset
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4.5"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber = "1.2.3.4", "1.2.3.4.1", 3
    ds.Modality, ds.BodyPartExamined, ds.PatientOrientation = "DX", "CHEST", ["L", "F"]
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Quixote^Zebedee", "MRN-778899", "19330217", "M"
    ds.AccessionNumber, ds.StudyID, ds.StudyDate, ds.StudyTime = "ACC-5551", "S7", "20260110", "101500"
    ds.ReferringPhysicianName, ds.StudyDescription, ds.PatientAge = "Panza^Sancho", "Chest, two views", "092Y"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.astype("<u2").tobytes()
    if private:
        ds.private_block(0x0011, "SOME VENDOR", create=True).add_new(1, "LO", "SECRET-OF-VENDOR")
    with pydicom.config.disable_value_validation():
        for keyword, value in tags.items():
            # An element keeps the checks that it was made with.
            ds.pop(keyword, None)
            setattr(ds, keyword, value)
        for keyword in drop:
            delattr(ds if keyword in ds else ds.file_meta, keyword)
        out = io.BytesIO()
        pydicom.dcmwrite(out, ds, enforce_file_format="MediaStorageSOPInstanceUID" not in drop)
    return out.getvalue()


@pytest.fixture(scope="session")
def radiograph_file():
    """Return the function that makes a DICOM radiograph."""
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    pytest.importorskip("highdicom", reason="the imaging extra is not installed")
    return chest_file


@pytest.fixture(scope="session")
def patient_words():
    """Return texts of the made-up patient, none of which may stand in a message."""
    return (
        "Quixote", "Zebedee", "MRN-778899", "19330217", "ACC-5551", "Panza", "1.2.3.4", "SECRET", "two views",
    )  # fmt: skip


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Run an Orthanc on this machine alone, and yield a function that asks it: JSON, or bytes when `raw`."""
    program = shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        pytest.skip("Orthanc (Debian package orthanc) is not installed")
    folder = tmp_path_factory.mktemp("archive")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [],
        "HttpPort": ports[0], "DicomPort": ports[1], "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DefaultEncoding": "Utf8",
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    server = subprocess.Popen([program, folder / "orthanc.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path, data=None, raw=False):
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}{path}", data, timeout=20) as answer:
            found = answer.read()
        return found if raw else json.loads(found)

    try:
        for _ in range(100):
            try:
                ask("/system")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield ask
    finally:
        server.terminate()
        server.wait(20)
