"""Networks of volumes run from a network file, without torch: windows in, scores of every network out."""

from __future__ import annotations

import io
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.onnx_graph import WindowGraph, inspect_windows
from aimed.bundle.onnx_runtime import half_precision_runs, onnx_session, openvino, openvino_settings
from aimed.core import BundleError, DataError, MissingExtraError
from aimed.metrics.draws import threads_allowed

__all__ = ["Engine", "WindowRunner", "engines_here"]

Engine: TypeAlias = Literal["onnxruntime", "openvino", "openvino_half"]
"""What can run a network file; OpenVINO in half precision where the processor has it."""

_SHAPES = 4
"""Sizes of windows that stay built; scans smaller than the window of training have their own."""


def engines_here() -> tuple[Engine, ...]:
    """Return what this machine has, whatever the gates allow.

    Examples
    --------
    >>> set(engines_here()) <= {"onnxruntime", "openvino", "openvino_half"}
    True
    """
    found: list[Engine] = []
    try:
        import onnxruntime  # noqa: F401

        found.append("onnxruntime")
    except ImportError:
        pass
    try:
        openvino()
        found.append("openvino")
        if half_precision_runs():
            found.append("openvino_half")
    except MissingExtraError:
        pass
    return tuple(found)


class WindowRunner:
    """The networks of a bundle of volumes, read from a network file.

    Parameters
    ----------
    data : bytes
        Written by `aimed.bundle.volume_export.export_windows`.
    engine : {"onnxruntime", "openvino", "openvino_half"}
    sha256 : str, optional
        What the bytes must be; looked at before anything else.
    n_jobs : int, optional
        Threads; those allowed to the process when absent. Another number may change the last bits.

    Attributes
    ----------
    channels, outputs, networks : int
    window : (int, int, int)
        The largest sides of a window, (z, y, x).
    divisor : (int, int, int)
        What sides are multiples of.
    regions : tuple of str
    engine : str

    Raises
    ------
    BundleError
        If the file is refused by `aimed.bundle.onnx_graph.inspect_windows`, or the engine cannot build it.
    MissingExtraError
        If a package is not installed.

    Notes
    -----
    Windows run one after the other, so memory is that of one.
    """

    def __init__(
        self, data: bytes, engine: Engine = "onnxruntime", *, sha256: str | None = None, n_jobs: int | None = None
    ) -> None:
        graph = inspect_windows(data, sha256)
        self.channels, self.outputs, self.networks = graph.channels, graph.outputs, graph.networks
        self.window, self.divisor, self.regions, self.engine = graph.window, graph.divisor, graph.regions, engine
        threads = threads_allowed(n_jobs)
        try:
            self._run: Any = (
                _OnnxRuntime(graph, threads)
                if engine == "onnxruntime"
                else _OpenVino(graph, threads, engine == "openvino_half")
            )
        except MissingExtraError:
            raise
        # Each engine has errors of its own; all of them mean that it cannot build these networks.
        except Exception as error:
            raise BundleError(
                f"the network file cannot be built ({type(error).__name__})", "a file written by aimed", "pack it again"
            ) from error

    def __call__(self, windows: Any) -> list[NDArray[np.float32]]:
        """Return the scores of each network, each of shape (b, outputs, z, y, x).

        Parameters
        ----------
        windows : float32 array, shape (b, c, z, y, x)

        Raises
        ------
        DataError
            If there are other channels, or sides that the networks do not take.
        BundleError
            If a score is not finite.
        """
        given = np.asarray(windows, dtype=np.float32)
        fits = given.ndim == 5 and given.shape[0] > 0 and given.shape[1] == self.channels
        fits = fits and all(
            0 < n <= most and n % step == 0
            for n, most, step in zip(given.shape[2:], self.window, self.divisor, strict=True)
        )
        if not fits:
            raise DataError(
                f"windows of shape {given.shape}",
                f"(b, {self.channels}, z, y, x), up to {self.window} and multiples of {self.divisor}",
            )
        each = [self._run(np.ascontiguousarray(given[row : row + 1])) for row in range(len(given))]
        found = [np.concatenate(parts, dtype=np.float32) for parts in zip(*each, strict=True)]
        for scores in found:
            if scores.shape != (len(given), self.outputs, *given.shape[2:]) or not np.isfinite(scores).all():
                raise BundleError("a network says numbers that are not finite", "finite scores", "pack the model again")
        return found


class _OnnxRuntime:
    def __init__(self, graph: WindowGraph, threads: int) -> None:
        self.session = onnx_session(graph.data, threads)

    def __call__(self, window: NDArray[np.float32]) -> list[Any]:
        found: list[Any] = self.session.run(None, {"windows": window})
        return found


class _OpenVino:
    """Built for each size of windows, as sizes that are fixed run best."""

    def __init__(self, graph: WindowGraph, threads: int, half: bool) -> None:
        self.core, self.graph = openvino().Core(), graph
        self.settings = openvino_settings(threads, half)
        self.built: dict[tuple[int, ...], Any] = {}
        self.core.read_model(io.BytesIO(graph.data))

    def __call__(self, window: NDArray[np.float32]) -> list[Any]:
        run = self.built.pop(window.shape, None)
        if run is None:
            model = self.core.read_model(io.BytesIO(self.graph.data))
            model.reshape(list(window.shape))
            run = self.core.compile_model(model, "CPU", self.settings)
            if len(self.built) == _SHAPES:
                del self.built[next(iter(self.built))]
        self.built[window.shape] = run
        found = run(window)
        # Its buffers are used again by the next window.
        return [np.array(found[k]) for k in range(self.graph.networks)]
