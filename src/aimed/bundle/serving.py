"""What runs the networks of a packaged model of images: the fastest engine that its gate allows, torch or none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.bundle.golden_pictures import synthetic_pictures
from aimed.bundle.onnx_runtime import OnnxClassifier, half_precision_runs
from aimed.bundle.onnx_windows import WindowRunner, engines_here
from aimed.core import BundleError, MissingExtraError
from aimed.core.image import ImageRefused
from aimed.diagnosis.findings_model import FindingsModel
from aimed.diagnosis.outlines_model import OutlinesModel
from aimed.readers.image_cache import framed
from aimed.readers.radiograph import read_radiograph

__all__ = ["NETWORK_FILE", "network_file", "runtime_of", "torch_is_here", "volume_network_file", "volume_runtime_of"]

Progress = Callable[[float, str], object]

NETWORK_FILE = "model.onnx"
"""The member that needs no torch."""


def network_file(
    model: FindingsModel, pictures: Any, labels: ArrayLike | None, progress: Progress | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the network file of a model as a member, and what the manifest says of it.

    Parameters
    ----------
    model : FindingsModel, fitted
    pictures : array-like, shape (n, size, size)
        Of the tune part, see `aimed.bundle.onnx_export.export_onnx`.
    labels : array, shape (n, k), optional
    progress : callable, optional

    Returns
    -------
    members : dict of str to bytes
        Empty where the file does not say what the networks say, or a package is not installed.
    record : dict
        For the ``serving`` of `aimed.bundle.pack.pack_pictures`.
    """
    try:
        from aimed.bundle.onnx_export import export_onnx

        export = export_onnx(model.classifier, pictures, labels, golden=_golden(model), progress=progress)
    except MissingExtraError as error:
        return {}, {"onnx": {"passed": False, "reason": str(error)}}
    return {} if export.data is None else {NETWORK_FILE: export.data}, {"onnx": export.record}


def _golden(model: FindingsModel) -> NDArray[Any]:
    """Return the golden pictures that can be read, framed as in training."""
    frames = []
    for data in synthetic_pictures(model.size, model.bits).values():
        try:
            picture = read_radiograph(data, model.size, bits=model.bits, approximate=model.approximate)
        except ImageRefused:
            continue
        frames.append(framed(picture, model.size, model.bits)[0])
    return np.stack(frames)


def volume_network_file(
    model: OutlinesModel, scans: Sequence[Any], masks: Sequence[Any], progress: Progress | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the network file of a model of volumes as a member, and what the manifest says of it.

    Parameters
    ----------
    model : OutlinesModel, fitted
    scans : sequence of Volume or of arrays
        Of the tune part, see `aimed.bundle.volume_export.export_windows`.
    masks : sequence of arrays
        On the grid of the prepared scans.
    progress : callable, optional

    Returns
    -------
    members : dict of str to bytes
        Empty where outlines would change, or a package is not installed.
    record : dict
        For the ``serving`` of `aimed.bundle.pack.pack_volumes`.
    """
    try:
        from aimed.bundle.volume_export import export_windows

        export = export_windows(model, scans, masks, progress=progress)
    except MissingExtraError as error:
        return {}, {"onnx": {"passed": False, "reason": str(error)}}
    return {} if export.data is None else {NETWORK_FILE: export.data}, {"onnx": export.record}


def torch_is_here() -> bool:
    """Say whether torch is installed, without loading it."""
    return importlib.util.find_spec("torch") is not None


def runtime_of(
    model: FindingsModel, beside: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> Callable[[NDArray[Any]], NDArray[np.float64]] | None:
    """Return what runs the networks: a function from framed pictures to probabilities, or None for torch.

    Parameters
    ----------
    model : FindingsModel
    beside : mapping of str to bytes
        Verified members.
    manifest : mapping

    Notes
    -----
    A model judged in half precision runs in OpenVINO where the processor has bfloat16 and the gate of half precision
    was passed, else in torch where that has it. Everything else runs in ONNX Runtime, which is faster than torch in 32
    bits. Measured in ``benchmarks/imaging.py``, on single pictures and on eight.

    Raises
    ------
    BundleError
        If the network file is refused, or is of another model.
    MissingExtraError
        If neither torch nor what the network file needs is installed.
    """
    record = (manifest.get("serving") or {}).get("onnx") or {}
    data = beside.get(NETWORK_FILE)
    if data is None or not record.get("passed"):
        return None
    judged_in_half = model.classifier.precision_["used"] == "bf16-mixed"
    half = bool(judged_in_half and (record.get("half") or {}).get("passed") and half_precision_runs())
    if judged_in_half and not half and _torch_in_half():
        return None
    try:
        reads = OnnxClassifier(data, half=half)
    except MissingExtraError:
        if torch_is_here():
            return None
        raise
    same = (reads.findings_, reads.shape_, reads.top) == (
        model.findings, model.classifier.shape_, np.iinfo(np.uint8 if model.bits == 8 else np.uint16).max,
    )  # fmt: skip
    if not same:
        raise BundleError(f"{NETWORK_FILE} is of another model", "the findings and pictures of the model", "pack again")
    return reads.predict_members


def volume_runtime_of(
    model: OutlinesModel, beside: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> WindowRunner | None:
    """Return what runs the networks of a model of volumes; None for torch.

    Parameters
    ----------
    model : OutlinesModel
    beside : mapping of str to bytes
        Verified members.
    manifest : mapping

    Notes
    -----
    The first in the order of speed, measured on scans set aside when the model was packed, that passed its gate and is
    here. Torch judged in half precision is passed over where the processor lacks it, which costs more than any engine.

    Raises
    ------
    BundleError
        If the network file is refused, or is of another model.
    MissingExtraError
        If neither torch nor an engine is installed.
    """
    record = (manifest.get("serving") or {}).get("onnx") or {}
    data = beside.get(NETWORK_FILE)
    if data is None or not record.get("passed"):
        return None
    here, engines = engines_here(), record["engines"]
    able = [name for name in record["order"] if name in here and engines.get(name, {}).get("passed")]
    if torch_is_here():
        before = record["order"].index("torch")
        faster = [name for name in able if record["order"].index(name) < before]
        slow = record["torch"]["precision"] == "bf16-mixed" and not _torch_in_half()
        able = able if slow else faster
        if not able:
            return None
    if not able:
        raise MissingExtraError("onnxruntime", "predicting from a network file", "pip install 'aimed[serve]'")
    runner = WindowRunner(data, able[0])
    segmenter = model.segmenter
    same = (runner.regions, runner.channels, runner.outputs, runner.networks, runner.window, runner.divisor) == (
        tuple(model.regions), segmenter.channels_, segmenter.head_.outputs, segmenter.n_networks_,
        tuple(segmenter.patch_size), tuple(segmenter.divisor_),
    )  # fmt: skip
    if not same:
        raise BundleError(f"{NETWORK_FILE} is of another model", "the regions and windows of the model", "pack again")
    return runner


def _torch_in_half() -> bool:
    if not torch_is_here():
        return False
    from aimed.fit.half_precision import half_precision_here

    return half_precision_here()
