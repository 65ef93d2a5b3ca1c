"""What an ONNX file of a bundle may hold: one flat network with its weights inside, pictures in, log odds out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimed.core import BundleError, MissingExtraError

__all__ = ["ALLOWED_OPERATORS", "OPSET", "Graph", "inspect", "output_names"]

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

_MAX_BYTES = 1 << 30
_MAX_NODES = 20_000
_MAX_SIDE = 4096
_MAX_CELLS = 1 << 26
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
    _plain(model)
    shape, top, findings, networks = _ends(model)
    return Graph(
        bytes(model.SerializeToString(deterministic=True)), shape, top, findings, networks, _largest(onnx, model)
    )


def _refuse(condition: bool, got: str, expected: str) -> None:
    if condition:
        raise BundleError(f"model.onnx {got}", expected, _AGAIN)


def _plain(model: Any) -> None:
    """Refuse what is more than one flat graph of allowed operators on weights within the file."""
    graph = model.graph
    versions = [(one.domain, one.version) for one in model.opset_import]
    _refuse(versions != [("", OPSET)], "is written with other operators", f"operators of version {OPSET} alone")
    odd = model.functions or model.training_info or graph.sparse_initializer or graph.quantization_annotation
    _refuse(bool(odd), "holds functions, training or sparse weights", "one graph and its weights")
    _refuse(not 0 < len(graph.node) <= _MAX_NODES, "has no operators or too many", f"1 to {_MAX_NODES:,} operators")
    for node in graph.node:
        named = node.op_type in ALLOWED_OPERATORS and node.domain in ("", "ai.onnx")
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
    names = {one.key: one.value for one in model.metadata_props}
    try:
        findings = json.loads(names.get("findings", ""))
    except (ValueError, RecursionError):
        findings = None
    good = isinstance(findings, list) and findings and all(isinstance(name, str) for name in findings)
    _refuse(not good, "does not name its findings", "a list of names")
    for one in graph.output:
        _refuse(_dims(one) != [None, len(findings)], "has other outputs", "one log odds a finding")
    assert top is not None  # noqa: S101  refused above
    return (int(sides[1] or 0), int(sides[2] or 0)), top, tuple(findings), networks


def _largest(onnx: Any, model: Any) -> int:
    """Return the numbers in the largest map of one picture; a map of unknown or huge size is refused."""
    one = onnx.ModelProto()
    one.CopyFrom(model)
    for value in (one.graph.input[0], *one.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
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
            sides = _dims(known[name]) if name in known else [None]
            _refuse(any(d is None or d < 0 for d in sides), "has maps of unknown size", "sizes that are known")
            largest = max(largest, math.prod(d or 0 for d in sides))
    _refuse(largest > _MAX_CELLS, "makes maps that are too large", f"{_MAX_CELLS:,} numbers a picture at most")
    return largest
