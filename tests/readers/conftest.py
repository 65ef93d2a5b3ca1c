"""Small DICOM files made at run time, in every transfer syntax that is read."""

from __future__ import annotations

import io

import numpy as np
import pytest

SYNTAX = {
    "plain": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg12": "1.2.840.10008.1.2.4.51",
    "lossless": "1.2.840.10008.1.2.4.57",
    "lossless-sv1": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-ls-near": "1.2.840.10008.1.2.4.81",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "jpeg2000-lossy": "1.2.840.10008.1.2.4.91",
    "htj2k": "1.2.840.10008.1.2.4.201",
}
SECRETS = ("Zebedee^Quixote", "MRN-778899", "19330217", "ACC-5551")


def encode(pixels, syntax, bits):
    import imagecodecs as ic

    match syntax:
        case "jpeg":
            return ic.jpeg_encode(pixels.astype(np.uint8), 95)
        case "jpeg12":
            return ic.jpeg_encode(pixels, 98, bitspersample=12)
        case "lossless":
            return ic.jpeg_encode(pixels, lossless=True, predictor=4, bitspersample=bits)
        case "lossless-sv1":
            return ic.ljpeg_encode(pixels, bitspersample=bits)
        case "jpeg-ls":
            return ic.jpegls_encode(pixels)
        case "jpeg-ls-near":
            return ic.jpegls_encode(pixels, level=1)
        case "jpeg2000":
            return ic.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, bitspersample=bits)
        case "jpeg2000-lossy":
            return ic.jpeg2k_encode(pixels, level=60, codecformat="j2k", reversible=False, bitspersample=bits)
        case "htj2k":
            return ic.htj2k_encode(pixels, reversible=True)
    raise ValueError(syntax)


def make_dicom(pixels, syntax="plain", *, bits=None, drop=(), preamble=None, stream=None, **tags):
    """Return the bytes of a DICOM file of some stored pixels, shape (y, x) or (y, x, 3)."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.pixels.encoders import RLELosslessEncoder

    pixels = np.asarray(pixels)
    allocated, signed = 8 * pixels.dtype.itemsize, pixels.dtype.kind == "i"
    bits = bits or allocated
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = SYNTAX.get(syntax, syntax)
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4", "DX"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.AccessionNumber = SECRETS
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, bits, bits - 1, int(signed)
    if stream is not None:
        ds.PixelData = encapsulate([stream])
    elif syntax in ("plain", "implicit", "big", "deflated") or syntax not in SYNTAX:
        raw = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == "big" else "<")).tobytes()
        ds.PixelData = raw + b"\0" * (len(raw) % 2)
    elif syntax == "rle":
        frame = RLELosslessEncoder.encode(
            pixels, rows=pixels.shape[0], columns=pixels.shape[1], samples_per_pixel=ds.SamplesPerPixel,
            bits_allocated=allocated, bits_stored=allocated, pixel_representation=int(signed), number_of_frames=1,
            photometric_interpretation=ds.PhotometricInterpretation, planar_configuration=0,
        )  # fmt: skip
        ds.PixelData = encapsulate([frame])
    else:
        ds.PixelData = encapsulate([bytes(encode(pixels, syntax, bits))])
    ds["PixelData"].VR = "OW" if allocated == 16 else "OB"
    ds["PixelData"].is_undefined_length = stream is not None or (
        syntax in SYNTAX and syntax not in ("plain", "implicit", "big", "deflated")
    )
    for name, value in tags.items():
        setattr(ds, name, value)
    for name in drop:
        delattr(ds, name)
    if preamble is not None:
        ds.preamble = preamble.ljust(128, b"\0")
    out = io.BytesIO()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        private = {} if syntax in SYNTAX else {"implicit_vr": False, "little_endian": True}
        pydicom.dcmwrite(out, ds, enforce_file_format=True, **private)
    return out.getvalue()


@pytest.fixture(scope="session")
def dicom():
    pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    return make_dicom


@pytest.fixture(scope="session")
def secrets():
    return SECRETS


@pytest.fixture(scope="session")
def ramp():
    """A smooth picture of 12 bits that reaches from 0 to 4095, shape (48, 40)."""
    y, x = np.mgrid[:48, :40]
    picture = np.sin(y / 9.0) + np.cos(x / 7.0)
    picture = (picture - picture.min()) / np.ptp(picture)
    return np.rint(picture * 4095).astype(np.uint16)
