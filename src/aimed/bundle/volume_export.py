"""Writing networks of volumes as one file that needs no torch, where outlines stay what they were."""

from __future__ import annotations

import copy
import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.onnx_export import OnnxExport
from aimed.bundle.onnx_graph import OPSET, inspect_windows, score_names
from aimed.bundle.onnx_windows import Engine, WindowRunner, engines_here
from aimed.core import BundleError, DataError, MissingExtraError
from aimed.core.volume import Volume
from aimed.diagnosis.outlines_model import OutlinesModel

try:
    import onnx
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError(
        error.name or "torch", "writing a network file", "pip install 'aimed[deep,serve]'"
    ) from None

__all__ = ["LARGEST_CHANGE", "export_windows"]

Progress: TypeAlias = Callable[[float, str], object]

LARGEST_CHANGE = 0.001
"""Of the mean Dice of any region on scans set aside, above which an engine is not used."""

_LEAST, _MOST, _PATIENCE = 3, 12, 60.0
"""Scans that half precision is judged on at least; scans and seconds of torch after which no more are looked at."""


def export_windows(
    model: OutlinesModel,
    scans: Sequence[Any],
    masks: Sequence[Any],
    *,
    progress: Progress | None = None,
) -> OnnxExport:
    """Write all networks of a model as one file, from scaled windows to scores, and compare outlines and speed.

    Parameters
    ----------
    model : OutlinesModel, fitted
    scans : sequence of Volume or of arrays, each of shape (c, z, y, x)
        Of patients that did not train; up to 12 are looked at, fewer when they take torch more than a minute. A
        Volume is prepared first, an array is prepared already.
    masks : sequence of uint8 arrays, each of shape (z, y, x)
        Their labels on the same grid.
    progress : callable, optional
        ``progress(share, text)``.

    Returns
    -------
    OnnxExport
        The record holds ``passed``, ``reason``, ``opset``, ``scans``, ``limits``, ``torch`` (precision and seconds of a
        scan), ``engines`` (for each ``passed``, ``dice_change`` by region, ``max_probability_change`` and ``seconds``)
        and ``order``: what passed, torch with it, the fastest first.

    Raises
    ------
    DataError
        If there are not as many masks as scans.

    Examples
    --------
    >>> from aimed.diagnosis.volume_preparation import VolumePreparation
    >>> from aimed.diagnosis.volume_segmenter import VolumeSegmenter
    >>> rng = np.random.default_rng(0)
    >>> masks = [np.pad(np.ones((4, 4, 4), dtype=np.uint8), 2) for _ in range(3)]
    >>> scans = [rng.normal(20, 2, (1, 8, 8, 8)) + 20 * mask for mask in masks]
    >>> network = VolumeSegmenter(
    ...     {"blob": 1}, architecture_options={"widths": [4, 8]}, patch_size=(8, 8, 8), max_epochs=1,
    ...     early_stopping=False, n_jobs=1,
    ... ).fit(scans, masks)
    >>> model = OutlinesModel("small_unet3d", "Small", network, VolumePreparation(channels=("T1w",)))
    >>> export_windows(model, scans, masks).record["passed"]
    True
    """
    if len(scans) != len(masks) or not len(scans):
        raise DataError(f"{len(scans)} scans and {len(masks)} masks", "as many of both, and one at least")
    rows = np.unique(np.linspace(0, len(scans) - 1, min(_MOST, len(scans))).round().astype(np.int64)).tolist()
    record: dict[str, Any] = {
        "passed": False, "reason": None, "opset": OPSET, "scans": len(rows), "limits": {"dice": LARGEST_CHANGE},
        "torch": None, "engines": {}, "order": ["torch"],
    }  # fmt: skip
    _told(progress, 0.0, "writing the network file")
    try:
        data = _written(model)
        runners = {engine: WindowRunner(data, engine, n_jobs=model.segmenter.n_jobs) for engine in engines_here()}
    except MissingExtraError:
        raise
    # Networks may be made of anything: what cannot be written or run is said, and the bundle does without.
    except Exception as error:
        why = str(error) if isinstance(error, BundleError) else type(error).__name__
        return OnnxExport(None, {**record, "reason": f"the networks cannot be written as a network file: {why}"})
    judged = _Judged(model, [scans[row] for row in rows], [masks[row] for row in rows])
    steps = len(runners) + 1
    _told(progress, 0.1, "outlining with torch")
    seconds, usual, first = judged.by(None, _PATIENCE)
    record["scans"] = len(usual)
    record["torch"] = {"precision": model.segmenter.precision_["used"], "seconds": seconds}
    times = {"torch": seconds}
    for step, (engine, runner) in enumerate(runners.items(), start=1):
        _told(progress, 0.1 + 0.9 * step / steps, "outlining with the network file")
        found = _gate(model, judged, usual, first, engine, runner)
        record["engines"][engine] = found
        if found["passed"]:
            times[engine] = found["seconds"]
    record["order"] = sorted(times, key=lambda name: times[name])
    if len(times) == 1:
        return OnnxExport(None, {**record, "reason": "outlines change by more than the limit"})
    return OnnxExport(data, {**record, "passed": True})


def _told(progress: Progress | None, share: float, text: str) -> None:
    if progress is not None:
        progress(share, text)


class _Judged:
    """Scans set aside, with what is outlined in them."""

    def __init__(self, model: OutlinesModel, scans: Sequence[Any], masks: Sequence[Any]) -> None:
        self.model, self.scans = model, scans
        head = model.segmenter.head_
        self.codes = [head.codes(mask) for mask in masks]

    def by(
        self, runtime: Any, patience: float = np.inf
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float32]]:  # fmt: skip
        """Return median seconds a scan, the Dice of each region in each scan, and probabilities in the first one.

        After some seconds, no scan beyond the third is begun, then and in later calls.
        """
        segmenter = self.model.segmenter
        head, found, times = segmenter.head_, [], []
        # The first window pays for what is built once.
        first, _ = segmenter.uncertain(self._ready(0), runtime=runtime)
        for row, codes in enumerate(self.codes):
            scan = self._ready(row)
            began = time.perf_counter()
            chance, _ = segmenter.uncertain(scan, runtime=runtime)
            times.append(time.perf_counter() - began)
            known = codes != head.unknown
            masks, there = segmenter.cleaned(head.decided(chance)) & known, head.masks(codes) & known
            both, sizes = (one.sum(axis=(1, 2, 3), dtype=np.float64) for one in (masks & there, masks))
            sizes += there.sum(axis=(1, 2, 3))
            # Nothing there and nothing claimed is right.
            found.append(np.where(sizes > 0, 2.0 * both / np.maximum(sizes, 1.0), 1.0))
            if sum(times) > patience and len(times) >= _LEAST:
                break
        self.codes = self.codes[: len(found)]
        return float(np.median(times)), np.array(found), first

    def _ready(self, row: int) -> Any:
        scan = self.scans[row]
        return self.model.preparation.prepared(scan).array if isinstance(scan, Volume) else scan


def _gate(
    model: OutlinesModel, judged: _Judged, usual: NDArray[np.float64], first: NDArray[np.float32], engine: Engine,
    runner: WindowRunner,
) -> dict[str, Any]:  # fmt: skip
    """Compare the outlines of an engine with those that the model was judged by."""
    try:
        seconds, dice, chance = judged.by(runner)
    # An engine that fails on one window is not used, whatever its error.
    except Exception as error:
        return {"passed": False, "reason": type(error).__name__}
    change = (dice - usual).mean(axis=0)
    enough = engine != "openvino_half" or len(dice) >= _LEAST
    return {
        "passed": bool(enough and (np.abs(change) < LARGEST_CHANGE).all()),
        "reason": None if enough else f"fewer than {_LEAST} scans to judge half precision on",
        "dice_change": dict(zip(model.keys, change.tolist(), strict=True)),
        "max_probability_change": float(np.abs(chance - first).max()),
        "seconds": seconds,
    }


class _Normalised(nn.Module):  # type: ignore[misc]
    """Group normalisation in steps whose sizes do not depend on the window, as a file of open sizes needs."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        self.whole = norm.num_groups == norm.num_channels
        each = norm.num_channels // norm.num_groups
        self.register_buffer("share", torch.kron(torch.eye(norm.num_groups), torch.full((each, each), 1.0 / each)))

    def forward(self, x: Any) -> Any:
        if self.whole:
            return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, False)
        column = (-1, len(self.share), 1, 1, 1)
        far = x - (x.mean((2, 3, 4)) @ self.share).reshape(column)
        spread = ((far * far).mean((2, 3, 4)) @ self.share).reshape(column)
        return far / torch.sqrt(spread + self.eps) * self.weight.reshape(column) + self.bias.reshape(column)


def _rewritten(module: Any) -> Any:
    for name, part in module.named_children():
        if isinstance(part, nn.GroupNorm):
            setattr(module, name, _Normalised(part))
        else:
            _rewritten(part)
    return module


class _Each(nn.Module):  # type: ignore[misc]
    def __init__(self, networks: Sequence[Any]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, windows: Any) -> Any:
        return tuple(network(windows) for network in self.networks)


def _written(model: OutlinesModel) -> bytes:
    """Return the file, looked at once as every reader will look at it."""
    segmenter = model.segmenter
    networks = [
        _rewritten(copy.deepcopy(network).float().to(memory_format=torch.contiguous_format).eval())
        for network in segmenter.networks_
    ]
    names = score_names(len(networks))
    sides = {0: "n", 2: "z", 3: "y", 4: "x"}
    out = io.BytesIO()
    example = torch.zeros((1, segmenter.channels_, *(2 * step for step in segmenter.divisor_)))
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _Each(networks).eval(), (example,), out, dynamo=False, opset_version=OPSET, input_names=["windows"],
                output_names=names, dynamic_axes=dict.fromkeys(("windows", *names), sides),
            )  # fmt: skip
    finally:
        logger.setLevel(level)
    graph = onnx.ModelProto.FromString(out.getvalue())
    for node in graph.graph.node:
        # Where in which source file a line stood is nobody's business.
        node.ClearField("doc_string")
    for value in graph.graph.output:
        # The exporter cannot tell that the outputs of a network do not depend on the window.
        value.type.tensor_type.shape.dim[1].dim_value = segmenter.head_.outputs
    for key, value in (
        ("regions", json.dumps(model.regions)),
        ("window", json.dumps([int(side) for side in segmenter.patch_size])),
        ("divisor", json.dumps([int(step) for step in segmenter.divisor_])),
        ("notice", "Research use only. Not a medical device."),
    ):
        graph.metadata_props.add(key=key, value=value)
    return inspect_windows(graph.SerializeToString()).data
