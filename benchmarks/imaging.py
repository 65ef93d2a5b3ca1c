"""Radiographs beside MONAI, PyTorch, Pillow and pydicom: reading, training, predicting, heat maps, memory; one thread.

Peers are unpacked without their dependencies beside this file; they run on the torch, NumPy and pydicom of this
environment. MONAI is given what its documentation gives for chest radiographs: load, channel first, resize, scale; its
DenseNet-121 is trained and asked in 32 bits, as PyTorch does by default. After the table stands what half precision
changes in the ranking of pictures the networks never saw.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from common import Data, NotRunError, Row, Side, parser, status, table

PEERS = {"monai": "monai==1.6.1", "gdcm": "python-gdcm==3.2.6"}
MANY = 20
"""Pictures a run."""
FINDINGS = 14
"""Of the networks that are timed."""
SIDE = 224
STEPS = 3
"""Training steps a run."""


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


def batch(n: int) -> Data:
    """Return n framed pictures, as a cache hands them out."""
    pictures = np.stack([(film(SIDE, SIDE, k) >> 4).astype(np.uint8) for k in range(n)])
    return {"pictures": pictures, "input": (pictures.astype(np.float32) / 255.0)[:, None]}


def steps(n: int) -> Data:
    """Return labelled pictures for a few steps of n pictures each."""
    found = batch(n * STEPS)
    rng = np.random.default_rng(0)
    return found | {"labels": rng.integers(0, 2, (n * STEPS, FINDINGS)).astype(np.float32), "size": n}


def phantom_files(n: int) -> Data:
    """Return n files of 256 pixels: 16 drawn chests, each file with noise of its own."""
    from PIL import Image

    from aimed.synthetic.chest_phantom import draw_chest

    drawn = [(draw_chest(k, size=256).pixels >> 4).astype(np.int16) for k in range(16)]
    contents = []
    for k in range(n):
        noisy = drawn[k % 16] + np.random.default_rng(k).integers(-3, 4, (256, 256), dtype=np.int16)
        out = io.BytesIO()
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(out, "PNG", compress_level=1)
        contents.append(out.getvalue())
    return _files(contents, "png")


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


@functools.cache
def classifier() -> Any:
    """Return DenseNet-121 for 14 findings with random weights."""
    from aimed.diagnosis.image_classifier import ImageClassifier

    pictures = batch(8)["pictures"]
    labels = np.arange(8 * FINDINGS).reshape(8, FINDINGS) % 2
    model = ImageClassifier("densenet121", n_jobs=1, precision="bf16-mixed")
    model.begin(pictures, labels.astype(np.float32), np.full(FINDINGS, 0.5), None, 8)
    return model


@functools.cache
def network_file() -> bytes:
    from aimed.bundle.onnx_export import export_onnx

    export = export_onnx(classifier(), batch(2)["pictures"])
    if export.data is None:
        raise NotRunError(str(export.record["reason"]))
    return export.data


def served(d: Data, **options: Any) -> Data:
    """Open the network file and ask it once: what is built for a size of batch is built then."""
    from aimed.bundle.onnx_runtime import OnnxClassifier

    reads = OnnxClassifier(network_file(), n_jobs=1, **options)
    reads.predict_members(d["pictures"])
    return d | {"reads": reads}


def in_half(d: Data) -> Data:
    return served(d, half=True)


def our_predictions(d: Data) -> Any:
    return d["reads"].predict_members(d["pictures"])


def our_torch_predictions(d: Data) -> Any:
    return classifier().predict_members(d["pictures"])


def our_training(d: Data) -> Any:
    from aimed.diagnosis.image_rows import ImageRows
    from aimed.diagnosis.image_training import TrainingPictures, loss_of
    from aimed.diagnosis.standardise import Standardise
    from aimed.fit.half_precision import half_precision_here
    from aimed.fit.torch_training import TrainingSettings, train

    if not half_precision_here():
        raise NotRunError("the processor has no bfloat16")
    network = classifier().networks_[0]
    data = TrainingPictures(ImageRows(d["pictures"]), d["labels"], Standardise(0.5, 0.25), None, 0)
    # As the image classifier asks for it.
    settings = TrainingSettings(
        epochs=1, batch_size=d["size"], weight_decay=0.02, clip_norm=5.0, precision="bf16-mixed", channels_last=True
    )
    return train(network, loss_of("weighted", None, np.full(FINDINGS, 0.5)), data, None, settings).steps


def with_network(d: Data) -> Data:
    import torch

    torch.set_num_threads(1)
    return d | {"network": classifier().networks_[0].to(memory_format=torch.channels_last)}


def our_heat_maps(d: Data) -> Any:
    from aimed.explain.class_activation import activation_maps

    return activation_maps(d["network"], d["input"]).shape


def one_forward_pass(d: Data) -> Any:
    import torch

    with torch.no_grad():
        return d["network"](torch.from_numpy(d["input"]))


@contextlib.contextmanager
def highest(key: str = "RssAnon") -> Iterator[list[float]]:
    """Keep the highest memory of this process above what it has now, in MB, looked at every few milliseconds."""
    before, most, done = status(key), [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], status(key) - before)

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield most
    finally:
        done.set()
        watch.join()


def largest(d: Data, found: float) -> float:
    """Return the largest figure of all runs: later ones take what earlier ones gave back."""
    d["most"] = max(d.get("most", 0.0), found)
    return d["most"]


def our_memory(d: Data) -> Any:
    """Decode all files, train one epoch on them and predict them."""
    from aimed.diagnosis.image_classifier import ImageClassifier
    from aimed.readers.image_cache import ImageCache
    from aimed.readers.image_files import ImageFile

    files = [ImageFile(path) for path in d["paths"]]
    with tempfile.TemporaryDirectory() as folder, highest() as most:
        cache = ImageCache.build(files, folder, size=96, n_jobs=1)
        model = ImageClassifier("small_cnn", max_epochs=1, early_stopping=False, n_jobs=1)
        model.fit(cache, (np.arange(len(cache)) % 2)[:, None]).predict_proba(cache)
    return largest(d, most[0])


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


@functools.cache
def monai_network() -> Any:
    use("monai")
    import torch
    from monai.networks.nets import DenseNet121

    torch.set_num_threads(1)
    return DenseNet121(spatial_dims=2, in_channels=1, out_channels=FINDINGS)


def eager_predictions(d: Data) -> Any:
    import torch

    network = monai_network().eval()
    with torch.no_grad():
        return network(torch.from_numpy(d["input"])).sigmoid().numpy()


def plain_training(d: Data) -> Any:
    import torch

    network = monai_network().train()
    loss, optimizer = torch.nn.BCEWithLogitsLoss(), torch.optim.AdamW(network.parameters(), lr=1e-3)
    for x, y in zip(
        torch.from_numpy(d["input"]).split(d["size"]), torch.from_numpy(d["labels"]).split(d["size"]), strict=True
    ):
        optimizer.zero_grad()
        loss(network(x), y).backward()
        optimizer.step()
    return network


def monai_heat_maps(d: Data) -> Any:
    network = monai_network().eval()
    import torch
    from monai.visualize import GradCAM

    maps = GradCAM(nn_module=network, target_layers="class_layers.relu")
    x = torch.from_numpy(d["input"])
    return [maps(x=x, class_idx=k).shape for k in range(FINDINGS)]


def monai_memory(d: Data) -> Any:
    """Hold all pictures as tensors, as MONAI's cached data set does; nothing is trained."""
    use("monai")
    import torch
    from monai.data import CacheDataset
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, ScaleIntensity

    torch.set_num_threads(1)
    chain = Compose([LoadImage(image_only=True), EnsureChannelFirst(), Resize((96, 96)), ScaleIntensity()])
    with highest() as most:
        held = CacheDataset(d["paths"], chain, progress=False, num_workers=None)
        time.sleep(0.02)
    return largest(d, most[0] if len(held) else 0.0)


MONAI = Side("MONAI", monai_tensors)
PILLOW = Side("Pillow, open and resize", pillow_tensors)
PYDICOM = Side("pydicom with gdcm", pydicom_pixels)
EAGER = Side("MONAI's network, PyTorch in 32 bits", eager_predictions)
ENGINES = (
    Side("aimed, torch in 16 bits", our_torch_predictions),
    Side("aimed, ONNX Runtime in 32 bits", our_predictions, prepare=served),
)

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
    Row(
        f"DenseNet-121, a training step of n pictures of {SIDE}²", steps, Side("", our_training), (8,),
        (Side("MONAI's network, plain PyTorch loop in 32 bits", plain_training),), ">= 1.8x", "ms", STEPS,
    ),
    Row(
        f"DenseNet-121, prediction of n pictures of {SIDE}²", batch, Side("", our_predictions, prepare=in_half),
        (1, 8), (EAGER, *ENGINES), ">= 3x PyTorch", "ms",
    ),
    Row(
        f"DenseNet-121, {FINDINGS} Grad-CAMs of a picture of {SIDE}²", batch,
        Side("", our_heat_maps, prepare=with_network), (1,),
        (Side("one forward pass", one_forward_pass, prepare=with_network), Side("MONAI", monai_heat_maps)),
        "<= 1.1 forward passes", "ms",
    ),
    Row(
        "Own memory while n files are decoded, trained on and predicted", phantom_files,
        Side("", our_memory, warm=64), (200, 800, 3_200),
        (Side("MONAI CacheDataset, decoding alone", monai_memory, warm=64),), "does not grow with n", "MB",
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------- what half precision changes


def phantoms(n: int, size: int, first: int) -> tuple[Any, Any]:
    """Return drawn chests of n made-up patients, uint8, with clear findings, and which they have."""
    from aimed.synthetic.chest_phantom import FINDINGS as NAMES
    from aimed.synthetic.chest_phantom import draw_chest

    y = (np.random.default_rng(first).random((n, len(NAMES))) < 0.35).astype(float)

    def draw(k: int) -> Any:
        mine = {name: 0.9 for name, has in zip(NAMES, y[k], strict=True) if has}
        # Twelve bits to eight.
        return (draw_chest(first + k, findings=mine, size=size, difficulty=0.0).pixels >> 4).astype(np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(draw, range(n)))), y


def ranking(size: int = 64, n: int = 400) -> None:
    """Print the AUROC of networks trained in 16 and in 32 bits, each asked in 32 and in 16."""
    from aimed.bundle.onnx_export import export_onnx
    from aimed.diagnosis.image_classifier import ImageClassifier
    from aimed.metrics.multilabel import multilabel_auroc

    pictures, y = phantoms(n, size, 0)
    unseen, truth = phantoms(n, size, n)
    print(f"\n## What half precision changes: DenseNet-121, {size} px, {n} drawn chests to train, {n} others to test\n")
    print("| trained in | tune AUROC, 16 less 32 bits | asked | test AUROC | change | largest change of a risk |")
    print("|---" * 6 + "|")
    for precision in ("bf16-mixed", "32-true"):
        options = {"max_epochs": 10, "learning_rate": 1e-3, "batch_size": 16, "n_jobs": 1}
        model = ImageClassifier("densenet121", precision=precision, **options).fit(pictures, y)
        gate = model.precision_["auroc_change"]
        model.precision_["used"] = "32-true"
        full = model.decision_function(unseen)
        score = float(multilabel_auroc(truth, full).macro)
        print(f"| {precision} | {'' if gate is None else f'{gate:+.5f}'} | torch, 32 bits | {score:.4f} | | |")
        record = export_onnx(model, unseen, truth).record
        for name, found in (("ONNX Runtime, 32 bits", record), ("OpenVINO, 16 bits", record["half"])):
            if found is None or found["auroc_change"] is None:
                print(f"| | | {name} | not run: {record['reason'] or 'no bfloat16 here'} | | |")
                continue
            told = f"{found['auroc_change']:+.5f} | {found['max_probability_change']:.5f}"
            print(f"| | | {name} | {score + found['auroc_change']:.4f} | {told} |")
        if precision == "bf16-mixed":
            model.precision_["used"] = precision
            half = model.decision_function(unseen)
            change = float(multilabel_auroc(truth, half).macro) - score
            moved = float(np.abs(np.tanh(half / 2) - np.tanh(full / 2)).max() / 2)
            print(f"| | | torch, 16 bits | {score + change:.4f} | {change:+.5f} | {moved:.5f} |", flush=True)


def main() -> None:
    asked = parser(__doc__).parse_args()
    table(__file__, "Radiographs", ROWS, asked)
    if not (asked.one or asked.quick) and asked.only.lower() in "what half precision changes":
        ranking()


if __name__ == "__main__":
    main()
