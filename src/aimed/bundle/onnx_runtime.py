"""Running a network file without torch: ONNX Runtime, or OpenVINO in half precision where its gate was passed."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.onnx_graph import Graph, inspect, output_names
from aimed.core import BundleError, DataError, MissingExtraError
from aimed.diagnosis.image_rows import ImageRows, in_batches
from aimed.metrics.draws import threads_allowed

__all__ = ["OnnxClassifier", "half_precision_runs", "onnx_session", "openvino", "openvino_settings"]

Floats = NDArray[np.float64]
Run = Any

_TOGETHER = 8
_CELLS = 1 << 24
"""Numbers in the largest map of all pictures that run at once: 64 MB."""

_INSTALL = "pip install 'aimed[serve]'"


class OnnxClassifier:
    """The networks of a bundle, read from a network file; answers what `ImageClassifier` answers.

    Parameters
    ----------
    data : bytes
        Written by `aimed.bundle.onnx_export.export_onnx`.
    sha256 : str, optional
        What the bytes must be; looked at before anything else.
    half : bool
        Whether half precision may be used: the ``half`` gate of the export was passed.
    engine : {"auto", "onnxruntime", "openvino"}
        "auto" is OpenVINO where `half` is allowed and the processor multiplies bfloat16 numbers, else ONNX Runtime:
        the fastest in either case.
    n_jobs : int, optional
        Threads; those allowed to the process when absent. Another number may change the last bits.

    Attributes
    ----------
    findings_ : list of str
    shape_ : (int, int)
        Pixels of a picture, (y, x).
    top : int
        The brightest value there can be.
    networks : int
    engine : {"onnxruntime", "openvino"}
    half : bool
        Whether it runs in half precision.
    threads : int

    Raises
    ------
    BundleError
        If the file is refused by `aimed.bundle.onnx_graph.inspect`, or no engine can run it.
    MissingExtraError
        If a package is not installed.

    Notes
    -----
    At most 8 pictures run at once, fewer where they are large, so memory does not grow with the number of pictures.
    """

    def __init__(
        self,
        data: bytes,
        *,
        sha256: str | None = None,
        half: bool = False,
        engine: Literal["auto", "onnxruntime", "openvino"] = "auto",
        n_jobs: int | None = None,
    ) -> None:
        graph = inspect(data, sha256)
        self.findings_, self.shape_, self.top, self.networks = (
            list(graph.findings), graph.shape, graph.top, graph.networks,
        )  # fmt: skip
        self.n_jobs, self.threads = n_jobs, threads_allowed(n_jobs)
        if engine == "auto":
            engine = "openvino" if half and half_precision_runs() else "onnxruntime"
        self.engine = engine
        self.half = engine == "openvino" and half and half_precision_runs()
        self.together = max(1, min(_TOGETHER, _CELLS // graph.cells))
        try:
            self._run: Run = (
                _OpenVino(graph, self.threads, self.half) if engine == "openvino" else _OnnxRuntime(graph, self.threads)
            )
        except MissingExtraError:
            raise
        # Each engine has errors of its own; all of them mean that it cannot build this network.
        except Exception as error:
            raise BundleError(
                f"the network file cannot be built ({type(error).__name__})", "a file written by aimed", "pack it again"
            ) from error

    def member_logits(self, images: Any) -> Floats:
        """Return log odds of each network, shape (networks, n, k); see `outputs`."""
        return np.asarray(self.outputs(images)[-self.networks :])

    def logits(self, images: Any) -> Floats:
        """Return log odds of the mean probability over networks, shape (n, k); see `outputs`."""
        members = self.member_logits(images)
        if self.networks == 1:
            return np.asarray(members[0])
        # Not those of the file: rounded scores would tie, and ties cost AUROC.
        yes, no = (np.logaddexp.reduce(-np.logaddexp(0.0, sign * members), axis=0) for sign in (-1.0, 1.0))
        return np.asarray(yes - no)

    decision_function = logits

    def predict_members(self, images: Any) -> Floats:
        """Return the probabilities of each network, shape (networks, n, k).

        Parameters
        ----------
        images : array-like, shape (n, y, x)
        """
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.member_logits(images))))

    def predict_proba(self, images: Any) -> Floats:
        """Return the probability of each finding, shape (n, k)."""
        return np.asarray(self.predict_members(images).mean(axis=0))

    def outputs(self, images: Any) -> Floats:
        """Return what the file says, shape (outputs, n, k): log odds, then those of each of several networks.

        Parameters
        ----------
        images : array-like, shape (n, y, x)
            uint8 or uint16, as `top` and `shape_` say; an array, a memory map or an image cache, read in batches.

        Raises
        ------
        DataError
            If the pictures have another shape or type.
        BundleError
            If an answer is not finite or has another shape.
        """
        part = images if isinstance(images, ImageRows) else ImageRows(images)
        if part.shape != self.shape_ or part.top != self.top:
            raise DataError(
                f"pictures of {part.shape} pixels up to {part.top}",
                f"{self.shape_} pixels up to {self.top}, as in training",
                "read them with the settings of the model",
            )
        parts = [
            self._run(np.ascontiguousarray(part.take(np.arange(rows.start, rows.stop))))
            for rows in in_batches(len(part), self.together)
        ]
        found = np.array([np.concatenate(each) for each in zip(*parts, strict=True)], dtype=np.float64)
        if found.shape != (len(output_names(self.networks)), len(part), len(self.findings_)):
            raise BundleError("the network answers in another shape", "one log odds a finding", "pack the model again")
        if not np.isfinite(found).all():
            raise BundleError("the network says numbers that are not finite", "finite log odds", "pack the model again")
        return found


class _OnnxRuntime:
    """ONNX Runtime on the processor, in 32 bits."""

    def __init__(self, graph: Graph, threads: int) -> None:
        self.session = onnx_session(graph.data, threads)

    def __call__(self, pictures: NDArray[Any]) -> list[Any]:
        found: list[Any] = self.session.run(None, {"pictures": pictures})
        return found


class _OpenVino:
    """OpenVINO on the processor; built for one picture and for several, as sizes that are fixed run best."""

    def __init__(self, graph: Graph, threads: int, half: bool) -> None:
        self.core, self.graph = openvino().Core(), graph
        self.built: dict[int, Any] = {}
        self.settings = openvino_settings(threads, half)
        self.compiled(1)

    def compiled(self, size: int) -> Any:
        if size not in self.built:
            model = self.core.read_model(io.BytesIO(self.graph.data))
            model.reshape([size, *self.graph.shape])
            self.built[size] = self.core.compile_model(model, "CPU", self.settings)
        return self.built[size]

    def __call__(self, pictures: NDArray[Any]) -> list[Any]:
        if len(pictures) == _TOGETHER:
            parts = [self.compiled(_TOGETHER)(pictures)]
        else:
            parts = [self.compiled(1)(pictures[i : i + 1]) for i in range(len(pictures))]
        return [np.concatenate([part[k] for part in parts]) for k in range(len(parts[0]))]


def onnx_session(data: bytes, threads: int) -> Any:
    """Return a session of ONNX Runtime on the processor, in 32 bits, for a file that was looked at.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "predicting from a network file", _INSTALL) from None
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def openvino_settings(threads: int, half: bool) -> dict[str, Any]:
    """Return how OpenVINO runs a network."""
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Two processes that pin themselves to the same core wait for each other.
        "ENABLE_CPU_PINNING": False,
    }


def half_precision_runs() -> bool:
    """Say whether OpenVINO is installed and the processor multiplies bfloat16 numbers itself.

    Examples
    --------
    >>> half_precision_runs() in (True, False)
    True
    """
    try:
        core = openvino().Core()
    except MissingExtraError:
        return False
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package that is not loaded yet look as if it were not installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def openvino() -> Any:
    """Return OpenVINO, kept from reporting to its maker: its import sends a message where the package for it is found.

    Nothing that reads images of patients calls out.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        with _without("openvino_telemetry"):
            return importlib.import_module("openvino")
    except ImportError:
        raise MissingExtraError("openvino", "half precision from a network file", _INSTALL) from None
