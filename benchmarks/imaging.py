"""Reading radiographs beside MONAI, Pillow and pydicom: milliseconds a picture, on one thread, in one run.

Peers are unpacked without their dependencies beside this file; they run on the torch, NumPy and pydicom of this
environment. MONAI is given what its documentation gives for chest radiographs: load, channel first, resize, scale.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common import Data, NotRunError, Row, Side, parser, table

PEERS = {"monai": "monai==1.6.1", "gdcm": "python-gdcm==3.2.6"}
MANY = 20
"""Pictures a run."""


def use(peer: str) -> None:
    """Make a peer importable, fetching it on first use."""
    home = Path(__file__).parent / ".peers" / f"{peer}-alone"
    if not (home / "ready").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), PEERS[peer]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotRunError(f"pip could not fetch {PEERS[peer]}")
        (home / "ready").touch()
    if str(home) not in sys.path:
        sys.path.append(str(home))


# --------------------------------------------------------------------------------------------------------- the data


def film(height: int, width: int, seed: int) -> Any:
    """Smooth anatomy-like structure with noise, 12 bits."""
    from scipy.ndimage import zoom

    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(height // 64 + 2, width // 64 + 2))
    smooth = zoom(coarse, 64, order=3)[:height, :width]
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.clip(200 + 3600 * smooth + rng.normal(0, 12, (height, width)), 0, 4095).astype(np.uint16)


def _files(contents: list[bytes], ending: str) -> Data:
    folder = tempfile.mkdtemp(prefix="aimed-imaging-")
    paths = []
    for k, content in enumerate(contents):
        paths.append(Path(folder) / f"{k}.{ending}")
        paths[-1].write_bytes(content)
    return {"paths": paths, "folder": folder}


def _picture(kind: str, height: int, width: int, n: int) -> Data:
    from PIL import Image

    contents = []
    for k in range(n):
        out = io.BytesIO()
        Image.fromarray((film(height, width, k) >> 4).astype(np.uint8)).save(out, kind, quality=90)
        contents.append(out.getvalue())
    return _files(contents, "png" if kind == "PNG" else "jpg")


def png(n: int) -> Data:
    return _picture("PNG", 1024, 1024, n)


def jpeg(n: int) -> Data:
    return _picture("JPEG", 3056, 2544, min(n, 5))


def _dicom(syntax: str, frame: bytes, rows: int, columns: int) -> bytes:
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate

    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "DX", "MONOCHROME2", 1
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = rows, columns, 16, 12, 11
    ds.PixelRepresentation = 0
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def jpeg_lossless(n: int) -> Data:
    with contextlib.suppress(NotRunError):
        # pydicom looks for its decoders once, when it is imported.
        use("gdcm")
    import imagecodecs

    pixels = film(3056, 2544, 0)
    frame = bytes(imagecodecs.jpeg_encode(pixels, lossless=True, predictor=1, bitspersample=12))
    return _files([_dicom("1.2.840.10008.1.2.4.70", frame, 3056, 2544)], "dcm") | {"repeat": min(n, 5)}


def jpeg_2000(n: int) -> Data:
    import imagecodecs

    frame = imagecodecs.jpeg2k_encode(film(3056, 2544, 0), codecformat="j2k", reversible=True, bitspersample=12)
    return _files([_dicom("1.2.840.10008.1.2.4.90", bytes(frame), 3056, 2544)], "dcm") | {"repeat": min(n, 5)}


def cached(d: Data) -> Data:
    """Fill the cache, which is not timed."""
    from aimed.readers.image_cache import ImageCache
    from aimed.readers.image_files import ImageFile

    files = [ImageFile(path) for path in d["paths"]]
    return d | {"cache": ImageCache.build(files, Path(d["folder"]) / "cache", size=224, n_jobs=1)}


# -------------------------------------------------------------------------------------------------------------- ours


def _each(d: Data) -> list[Path]:
    """Return as many paths as a run takes, the same ones again where there are fewer files."""
    paths = d["paths"] * d.get("repeat", 1)
    return paths[:MANY]


def our_tensors(d: Data, **options: Any) -> Any:
    from aimed.readers.image_cache import framed
    from aimed.readers.radiograph import read_radiograph

    for path in _each(d):
        frame, _ = framed(read_radiograph(path, 224, bits=8, **options), 224)
        found = np.multiply(frame, np.float32(1 / 255))[None]
    return found


def our_approximate_tensors(d: Data) -> Any:
    return our_tensors(d, approximate=True)


def our_pixels(d: Data) -> Any:
    from aimed.readers.radiograph import read_radiograph

    return [read_radiograph(path).pixels.shape for path in _each(d)]


def our_cached_tensors(d: Data) -> Any:
    for _ in range(50):
        for row in range(len(d["cache"])):
            found = np.multiply(d["cache"][row], np.float32(1 / 255))[None]
    return found


# ------------------------------------------------------------------------------------------------------------- peers


def monai_tensors(d: Data) -> Any:
    use("monai")
    import torch
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, ScaleIntensity

    torch.set_num_threads(1)
    chain = d.setdefault(
        "chain",
        Compose([LoadImage(image_only=True), EnsureChannelFirst(), Resize((224, 224)), ScaleIntensity()]),
    )
    return [chain(path).shape for path in _each(d)]


def pillow_tensors(d: Data) -> Any:
    from PIL import Image

    for path in _each(d):
        small = Image.open(path).convert("L").resize((224, 224), Image.Resampling.BILINEAR)
        found = (np.asarray(small, dtype=np.float32) / 255)[None]
    return found


def pydicom_pixels(d: Data) -> Any:
    use("gdcm")
    import pydicom

    # GDCM decodes lossless JPEG; for the rest pydicom takes what it finds, as it does for every user.
    return [pydicom.dcmread(path).pixel_array.shape for path in _each(d)]


MONAI = Side("MONAI", monai_tensors)
PILLOW = Side("Pillow, open and resize", pillow_tensors)
PYDICOM = Side("pydicom with gdcm", pydicom_pixels)

ROWS = (
    Row("PNG 1024² to a 224 tensor", png, Side("", our_tensors), (MANY,), (MONAI, PILLOW), ">= 2.5x MONAI", "ms", MANY),
    Row("JPEG 2544x3056 to a 224 tensor", jpeg, Side("", our_tensors), (5,), (MONAI, PILLOW), ">= 4x MONAI", "ms", 5),
    Row(
        "PNG 1024² to a 224 tensor, warm cache", png, Side("", our_cached_tensors, prepare=cached, scale=1 / 50),
        (MANY,), (MONAI,), ">= 30x MONAI", "ms", MANY,
    ),
    Row("JPEG-lossless DICOM, all pixels", jpeg_lossless, Side("", our_pixels), (5,), (PYDICOM,), ">= 2x", "ms", 5),
    Row("JPEG 2000 DICOM to a 224 tensor", jpeg_2000, Side("", our_tensors), (5,), (PYDICOM,), "", "ms", 5),
    Row(
        "JPEG 2000 DICOM to a 224 tensor, approximate", jpeg_2000, Side("", our_approximate_tensors),
        (5,), (PYDICOM,), "", "ms", 5,
    ),
)  # fmt: skip


def main() -> None:
    asked = parser(__doc__).parse_args()
    table(__file__, "Reading radiographs", ROWS, asked)


if __name__ == "__main__":
    main()
