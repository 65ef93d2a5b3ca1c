"""Writing image networks as one network file that needs no torch, if it says what the networks say."""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.bundle.onnx_graph import OPSET, inspect, output_names
from aimed.bundle.onnx_runtime import OnnxClassifier, half_precision_runs
from aimed.core import AimedError, BundleError, MissingExtraError
from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.labels import read_labels

try:
    import onnx
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError(
        error.name or "torch", "writing a network file", "pip install 'aimed[deep,serve]'"
    ) from None

__all__ = ["LIMITS", "OnnxExport", "export_onnx"]

Progress = Callable[[float, str], object]

LIMITS = {"log_odds": 1e-3, "probability": 0.02, "auroc": 0.001}
"""What passes: log odds beside the same network in 32 bits, relative where above 1; probabilities beside those that
were calibrated and judged, which half precision may have rounded; and the change of macro AUROC beside theirs."""

_NEAR = 64
_MOST = 1000


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """A network file, or why there is none.

    Parameters
    ----------
    data : bytes or None
        None where the gate was not passed.
    record : dict
        For the manifest, in JSON types: ``passed``, ``reason``, ``opset``, ``pictures``, ``limits``,
        ``max_difference`` (log odds, to the same network in 32 bits), ``max_probability_change`` and ``auroc_change``
        (to the model as it was judged), and ``half``: the same of half precision, None where it cannot be tried.
    """

    data: bytes | None
    record: dict[str, Any]


def export_onnx(
    model: ImageClassifier,
    pictures: Any,
    labels: ArrayLike | None = None,
    *,
    golden: NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> OnnxExport:
    """Write all networks of a classifier as one file, from pixels to log odds, and compare it with them.

    Parameters
    ----------
    model : ImageClassifier, fitted
    pictures : array-like, shape (n, y, x)
        Of patients that did not train; up to 1,000 are looked at. Their type, uint8 or uint16, is that of the file's
        input.
    labels : array, shape (n, k), optional
        As for the fit. Without them AUROC is not looked at and half precision is not allowed.
    golden : uint8 or uint16 array, shape (g, y, x), optional
        Further pictures to compare log odds on.
    progress : callable, optional
        ``progress(share, text)``.

    Returns
    -------
    OnnxExport

    Notes
    -----
    Standardisation is part of the file, so that serving cannot differ. Where there are several networks, outputs after
    the first hold the log odds of each.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, (40, 1)).astype(float)
    >>> pictures = rng.integers(0, 60, (40, 16, 16)).astype(np.uint8)
    >>> pictures[y[:, 0] == 1, :8] += 120
    >>> model = ImageClassifier(architecture_options={"widths": [4, 8]}, max_epochs=2, early_stopping=False, n_jobs=1)
    >>> export = export_onnx(model.fit(pictures, y), pictures, y)
    >>> export.record["passed"], OnnxClassifier(export.data, n_jobs=1).logits(pictures).shape
    (True, (40, 1))
    """
    part = ImageRows(pictures)
    record: dict[str, Any] = {
        "passed": False, "reason": None, "opset": OPSET, "pictures": 0, "limits": dict(LIMITS),
        "max_difference": None, "max_probability_change": None, "auroc_change": None, "half": None,
    }  # fmt: skip
    if model.test_time_augmentation:
        return _none(record, "the model averages over changed copies of a picture, which are made outside its networks")
    _told(progress, 0.0, "writing the network file")
    try:
        data = _written(model, part)
        runner = OnnxClassifier(data, n_jobs=model.n_jobs, engine="onnxruntime")
    except MissingExtraError:
        raise
    # Networks of others may be made of anything: what cannot be written or run is said, and the bundle does without.
    except Exception as error:
        why = str(error) if isinstance(error, BundleError) else type(error).__name__
        return _none(record, f"the networks cannot be written as a network file: {why}")
    rows = np.unique(np.linspace(0, len(part) - 1, min(_MOST, len(part))).round().astype(np.int64))
    looked = ImageRows(part, rows)
    y = None if labels is None else read_labels(labels, model.uncertain, model.findings_)[rows]
    record["pictures"] = len(rows)
    _told(progress, 0.2, "comparing the network file with the networks")
    record["max_difference"] = _difference(model, runner, looked, golden)
    used = model.decision_function(looked)
    _told(progress, 0.5, "comparing the network file with the networks")
    found = _gate(used, runner.logits(looked), y)
    record.update({name: found[name] for name in ("max_probability_change", "auroc_change")})
    if not record["max_difference"] <= LIMITS["log_odds"]:
        return _none(record, f"log odds differ by {record['max_difference']:.3g} from those of the networks")
    if not found["passed"]:
        return _none(record, "probabilities or AUROC differ by more than the limits")
    if y is not None and half_precision_runs():
        _told(progress, 0.8, "comparing half precision with the networks")
        half = OnnxClassifier(data, n_jobs=model.n_jobs, engine="openvino", half=True)
        record["half"] = _gate(used, half.logits(looked), y)
    record["passed"] = True
    return OnnxExport(data, record)


def _none(record: dict[str, Any], reason: str) -> OnnxExport:
    return OnnxExport(None, {**record, "passed": False, "reason": reason})


def _told(progress: Progress | None, share: float, text: str) -> None:
    if progress is not None:
        progress(share, text)


class _Whole(nn.Module):  # type: ignore[misc]
    """From pixels to log odds: standardisation, every network, and the log odds of their mean probability."""

    def __init__(self, model: ImageClassifier, top: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(model.networks_)
        self.top, self.mean, self.sd = float(top), float(model.standardise_.mean), float(model.standardise_.sd)
        self.shifts = [torch.from_numpy(np.asarray(shift, dtype=np.float32)) for shift in model.shifts_]

    def forward(self, pictures: Any) -> Any:
        x = pictures.to(torch.float32).unsqueeze(1) / self.top
        x = (x - self.mean) / self.sd
        each = [network(x) - shift for network, shift in zip(self.networks, self.shifts, strict=True)]
        if len(each) == 1:
            return each[0]
        members = torch.stack(each, dim=1)
        yes, no = (torch.logsumexp(-functional.softplus(sign * members), dim=1) for sign in (-1.0, 1.0))
        return yes - no, *each


def _written(model: ImageClassifier, part: ImageRows) -> bytes:
    """Return the file, looked at once as every reader will look at it."""
    whole = _Whole(model, part.top).eval()
    outputs = output_names(len(model.networks_))
    out = io.BytesIO()
    example = torch.zeros((2, *part.shape), dtype=torch.uint8)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                whole, (example,), out, dynamo=False, opset_version=OPSET, input_names=["pictures"],
                output_names=outputs, dynamic_axes={name: {0: "n"} for name in ("pictures", *outputs)},
            )  # fmt: skip
    finally:
        logger.setLevel(level)
    graph = onnx.ModelProto.FromString(out.getvalue())
    for node in graph.graph.node:
        # Where in which source file a line stood is nobody's business.
        node.ClearField("doc_string")
    if part.top > 255:
        # The exporter knows no 16 bits without sign; what follows the input turns any whole number into a float.
        graph.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT16
    for key, value in (
        ("findings", json.dumps(model.findings_)),
        ("notice", "Research use only. Not a medical device."),
    ):
        graph.metadata_props.add(key=key, value=value)
    return inspect(graph.SerializeToString()).data


def _difference(model: ImageClassifier, runner: OnnxClassifier, part: ImageRows, golden: NDArray[Any] | None) -> float:
    """Return the largest difference of log odds to the networks in 32 bits, relative where they are above 1."""
    full = copy.copy(model)
    full.precision_ = {**model.precision_, "used": "32-true"}
    rows = np.unique(np.linspace(0, len(part) - 1, min(_NEAR, len(part))).round().astype(np.int64))
    worst = 0.0
    for some in (ImageRows(part, rows), None if golden is None else ImageRows(golden)):
        if some is not None:
            want = full.decision_function(some)
            worst = max(worst, float((np.abs(runner.outputs(some)[0] - want) / np.maximum(1.0, np.abs(want))).max()))
    return worst


def _gate(used: NDArray[np.float64], found: NDArray[np.float64], y: NDArray[np.float32] | None) -> dict[str, Any]:
    """Compare log odds with those the model was judged by."""
    from aimed.fit.half_precision import precision_gate

    moved = float(np.abs(np.tanh(0.5 * found) - np.tanh(0.5 * used)).max() / 2)
    passed, change = moved <= LIMITS["probability"], None
    if y is not None:
        try:
            gate = precision_gate(y, used, found, LIMITS["auroc"])
            passed, change = passed and gate.passed, gate.change
        except AimedError:
            passed = False
    if change is not None and not np.isfinite(change):
        change = None
    return {"passed": bool(passed), "max_probability_change": moved, "auroc_change": change}
