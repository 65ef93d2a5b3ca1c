"""What an ONNX file of a bundle may hold: one flat network with its weights inside; images in, log odds out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from aimed.core import BundleError, MissingExtraError

__all__ = [
    "ALLOWED_OPERATORS",
    "OPSET",
    "WINDOW_OPERATORS",
    "Graph",
    "WindowGraph",
    "inspect",
    "inspect_windows",
    "output_names",
    "score_names",
]

Triple: TypeAlias = tuple[int, int, int]

OPSET = 18
"""Version of the operators; the same in every file."""

ALLOWED_OPERATORS = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "Div", "Elu", "Erf",
        "Exp", "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
        "LayerNormalization", "LeakyRelu", "Log", "MatMul", "MaxPool", "Mul", "Neg", "PRelu", "Pow",
        "ReduceLogSumExp", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Sigmoid", "Softmax", "Softplus", "Sqrt",
        "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Arithmetic of networks that run straight through: nothing that loops, branches, calls or draws."""

WINDOW_OPERATORS = ALLOWED_OPERATORS | {"ConvTranspose", "InstanceNormalization", "Resize"}
"""What networks of volumes need beside; sizes are bounded by those of a window."""

_MAX_BYTES = 1 << 30
_MAX_NODES = 20_000
_MAX_SIDE = 4096
_MAX_CHANNELS = 64
_MAX_CELLS, _MAX_WINDOW_CELLS = 1 << 26, 1 << 28
_TENSORS = {1: np.float32, 7: np.int64}
_PICTURES = {2: 255, 4: 65535}
_AGAIN = "do not use this bundle unless you trust its source, and then pack it again"


def output_names(networks: int) -> list[str]:
    """Return what the outputs are called: log odds of the mean probability, then those of each of several networks.

    Examples
    --------
    >>> output_names(1), output_names(2)
    (['log_odds'], ['log_odds', 'network_1', 'network_2'])
    """
    return ["log_odds", *(f"network_{k + 1}" for k in range(networks) if networks > 1)]


def score_names(networks: int) -> list[str]:
    """Return what the outputs of networks of volumes are called.

    Examples
    --------
    >>> score_names(2)
    ['scores_1', 'scores_2']
    """
    return [f"scores_{k + 1}" for k in range(networks)]


@dataclass(frozen=True, slots=True)
class Graph:
    """A network file that passed.

    Parameters
    ----------
    data : bytes
        Written again from what was looked at, so that no other reader can see something else in it.
    shape : (int, int)
        Pixels of a picture, (y, x).
    top : int
        The brightest value there can be.
    findings : tuple of str
        As the file names them.
    networks : int
    cells : int
        Numbers in the largest map of one picture.
    """

    data: bytes
    shape: tuple[int, int]
    top: int
    findings: tuple[str, ...]
    networks: int
    cells: int


@dataclass(frozen=True, slots=True)
class WindowGraph:
    """A file of networks of volumes that passed.

    Parameters
    ----------
    data : bytes
        Written again, as in `Graph`.
    channels, outputs : int
    window : (int, int, int)
        The largest sides that it is run on, (z, y, x).
    divisor : (int, int, int)
        What sides are multiples of.
    regions : tuple of str
        As the file names them.
    networks : int
    cells : int
        Numbers in the largest map of one window.
    """

    data: bytes
    channels: int
    outputs: int
    window: Triple
    divisor: Triple
    regions: tuple[str, ...]
    networks: int
    cells: int


def inspect(data: bytes, sha256: str | None = None) -> Graph:
    """Look at a network file before anything runs it.

    Parameters
    ----------
    data : bytes
        Bytes and no path: weights in other files are refused.
    sha256 : str, optional
        What the file must be.

    Returns
    -------
    Graph

    Raises
    ------
    BundleError
        If the hash is another, the bytes are no network, or it holds anything but the operators of a network that runs
        straight through, weights within the file, one input of pictures and maps of a bounded size.
    MissingExtraError
        If the package onnx is not installed.
    """
    onnx, model = _parsed(data, sha256, ALLOWED_OPERATORS)
    shape, top, findings, networks = _ends(model)
    cells = _largest(onnx, model, {0: 1}, _MAX_CELLS)
    return Graph(bytes(model.SerializeToString(deterministic=True)), shape, top, findings, networks, cells)


def inspect_windows(data: bytes, sha256: str | None = None) -> WindowGraph:
    """Look at a file of networks of volumes before anything runs it; see `inspect`.

    Parameters
    ----------
    data : bytes
    sha256 : str, optional

    Returns
    -------
    WindowGraph

    Raises
    ------
    BundleError, MissingExtraError
        As for `inspect`.
    """
    onnx, model = _parsed(data, sha256, WINDOW_OPERATORS)
    channels, outputs, window, divisor, regions, networks = _window_ends(model)
    cells = _largest(onnx, model, dict(zip((0, 2, 3, 4), (1, *window), strict=True)), _MAX_WINDOW_CELLS)
    return WindowGraph(
        bytes(model.SerializeToString(deterministic=True)), channels, outputs, window, divisor, regions, networks, cells
    )


def _parsed(data: bytes, sha256: str | None, operators: frozenset[str]) -> tuple[Any, Any]:
    """Return the package and the model of a file that is one flat graph of allowed operators."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "a network file", "pip install 'aimed[serve]'") from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise BundleError("model.onnx has changed since it was packed", "the SHA-256 in the manifest", _AGAIN)
    if len(data) > _MAX_BYTES:
        raise BundleError(f"model.onnx is larger than {_MAX_BYTES >> 20} MB", "a smaller network", _AGAIN)
    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, RecursionError):
        raise BundleError("model.onnx is no network file", "a file written by aimed", _AGAIN) from None
    model.DiscardUnknownFields()
    _plain(model, operators)
    return onnx, model


def _refuse(condition: bool, got: str, expected: str) -> None:
    if condition:
        raise BundleError(f"model.onnx {got}", expected, _AGAIN)


def _plain(model: Any, operators: frozenset[str]) -> None:
    """Refuse what is more than one flat graph of allowed operators on weights within the file."""
    graph = model.graph
    versions = [(one.domain, one.version) for one in model.opset_import]
    _refuse(versions != [("", OPSET)], "is written with other operators", f"operators of version {OPSET} alone")
    odd = model.functions or model.training_info or graph.sparse_initializer or graph.quantization_annotation
    _refuse(bool(odd), "holds functions, training or sparse weights", "one graph and its weights")
    _refuse(not 0 < len(graph.node) <= _MAX_NODES, "has no operators or too many", f"1 to {_MAX_NODES:,} operators")
    for node in graph.node:
        named = node.op_type in operators and node.domain in ("", "ai.onnx")
        _refuse(not named, "names an operator that is not on the fixed list", "a network that runs straight through")
        for attribute in node.attribute:
            nested = attribute.HasField("g") or attribute.HasField("sparse_tensor") or attribute.ref_attr_name
            nested = nested or attribute.graphs or attribute.tensors or attribute.sparse_tensors
            _refuse(bool(nested), "holds a graph within an operator", "one flat graph")
            if attribute.HasField("t"):
                _stored(attribute.t)
    for tensor in graph.initializer:
        _stored(tensor)


def _stored(tensor: Any) -> None:
    """Refuse weights that lie elsewhere, or whose shape is not that of their bytes."""
    outside = tensor.data_location != 0 or tensor.external_data or tensor.HasField("segment")
    _refuse(bool(outside), "points to weights in another file", "weights within the file")
    kind = _TENSORS.get(tensor.data_type)
    _refuse(kind is None, "holds weights of another type", "float32, and int64 for shapes")
    fits = kind is not None and min(tensor.dims, default=1) >= 0
    fits = fits and math.prod(tensor.dims) * np.dtype(kind).itemsize == len(tensor.raw_data)
    _refuse(not fits, "holds weights whose shape is not that of their bytes", "as many bytes as the shape says")


def _dims(value: Any) -> list[int | None]:
    """Return the sides of a value, None where the file leaves one open."""
    shape = value.type.tensor_type.shape
    return [int(d.dim_value) if d.HasField("dim_value") else None for d in shape.dim]


def _ends(model: Any) -> tuple[tuple[int, int], int, tuple[str, ...], int]:
    """Return the shape of a picture, its brightest value, the findings and the number of networks."""
    graph = model.graph
    outputs = [one.name for one in graph.output]
    networks = max(1, len(outputs) - 1)
    asked = [one.name for one in graph.input] == ["pictures"] and outputs == output_names(networks)
    _refuse(not asked, "has other inputs or outputs", "pictures in, log odds out")
    given = graph.input[0]
    top = _PICTURES.get(given.type.tensor_type.elem_type)
    sides = _dims(given)
    sized = len(sides) == 3 and sides[0] is None and all(d is not None and 0 < d <= _MAX_SIDE for d in sides[1:])
    _refuse(top is None or not sized, "takes other pictures", f"8 or 16 bits, of at most {_MAX_SIDE} pixels a side")
    findings = _named(model, "findings")
    for one in graph.output:
        _refuse(_dims(one) != [None, len(findings)], "has other outputs", "one log odds a finding")
    assert top is not None  # noqa: S101  refused above
    return (int(sides[1] or 0), int(sides[2] or 0)), top, tuple(findings), networks


def _metadata(model: Any, key: str) -> Any:
    """Return a value that the file says of itself, None when it does not."""
    try:
        return json.loads({one.key: one.value for one in model.metadata_props}.get(key, ""))
    except (ValueError, RecursionError):
        return None


def _named(model: Any, what: str) -> list[str]:
    names = _metadata(model, what)
    good = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    _refuse(not good, f"does not name its {what}", "a list of names")
    return list(names)


def _window_ends(model: Any) -> tuple[int, int, Triple, Triple, tuple[str, ...], int]:
    """Return channels, outputs, the largest window, what its sides are multiples of, regions and number of networks."""
    graph = model.graph
    outputs = [one.name for one in graph.output]
    asked = [one.name for one in graph.input] == ["windows"] and outputs == score_names(max(1, len(outputs)))
    _refuse(not asked, "has other inputs or outputs", "windows in, scores of each network out")
    given = _dims(graph.input[0])
    open_sides = len(given) == 5 and given[0] is None and given[2:] == [None] * 3
    sized = open_sides and given[1] is not None and 0 < given[1] <= _MAX_CHANNELS
    floats = graph.input[0].type.tensor_type.elem_type == 1
    _refuse(not (floats and sized), "takes other windows", "float32 numbers, (n, c, z, y, x)")
    window, divisor, regions = _sides(model, "window"), _sides(model, "divisor"), _named(model, "regions")
    uneven = any(side % step for side, step in zip(window, divisor, strict=True))
    _refuse(uneven, "takes windows that its networks do not", "sides that are multiples of its steps")
    sides = {tuple(_dims(one)[1:2]) for one in graph.output if len(_dims(one)) == 5}
    (told,) = next(iter(sides)) if len(sides) == 1 else (None,)
    _refuse(told not in (len(regions), len(regions) + 1), "has other outputs", "scores of every region")
    return int(given[1] or 0), int(told or 0), window, divisor, tuple(regions), len(outputs)


def _sides(model: Any, what: str) -> Triple:
    found = _metadata(model, what)
    good = isinstance(found, list) and len(found) == 3
    good = good and all(type(side) is int and 0 < side <= _MAX_SIDE for side in found)
    _refuse(not good, f"does not say its {what}", "three whole numbers")
    z, y, x = found
    return z, y, x


def _largest(onnx: Any, model: Any, sides: Mapping[int, int], most: int) -> int:
    """Return the numbers in the largest map when open sides are these; a map of unknown or huge size is refused."""
    one = onnx.ModelProto()
    one.CopyFrom(model)
    for value in (one.graph.input[0], *one.graph.output):
        for axis, side in sides.items():
            value.type.tensor_type.shape.dim[axis].dim_value = side
    del one.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(one, strict_mode=True, data_prop=True)
    # The checker is compiled code with errors of its own; all of them mean that the shapes do not fit.
    except Exception:
        raise BundleError("model.onnx has shapes that do not fit each other", "a network", _AGAIN) from None
    known: Mapping[str, Any] = {v.name: v for v in (*inferred.graph.value_info, *inferred.graph.output)}
    largest = 0
    for node in inferred.graph.node:
        for name in filter(None, node.output):
            found = _dims(known[name]) if name in known else [None]
            _refuse(any(d is None or d < 0 for d in found), "has maps of unknown size", "sizes that are known")
            largest = max(largest, math.prod(d or 0 for d in found))
    _refuse(largest > most, "makes maps that are too large", f"{most:,} numbers an image at most")
    return largest
