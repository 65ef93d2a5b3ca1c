"""A trained network of dense layers as plain arrays, so that predicting needs numpy and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError

__all__ = ["DenseLayers"]

_BLOCK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class DenseLayers:
    """Columns brought to mean 0 and spread 1, then layers of weighted sums with max(0, ·) between them.

    Parameters
    ----------
    center, scale : float arrays, shape (p,)
    weights : tuple of float32 arrays, shapes (outputs, inputs)
    offsets : tuple of float32 arrays, shapes (outputs,)

    Examples
    --------
    >>> one = np.ones((1, 2), np.float32)
    >>> net = DenseLayers(np.zeros(2), np.ones(2), (one, -one.T[:1]), (np.zeros(1, np.float32),) * 2)
    >>> net(np.array([[1.0, 2.0], [-1.0, -2.0]])).tolist()
    [[-3.0], [0.0]]
    """

    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: tuple[NDArray[np.float32], ...]
    offsets: tuple[NDArray[np.float32], ...]

    def __call__(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the last layer's sums in float64, shape (n, outputs); a row's do not depend on the others."""
        out = np.empty((X.shape[0], self.weights[-1].shape[0]))
        layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in zip(self.weights, self.offsets, strict=True)]
        for start in range(0, X.shape[0], _BLOCK):
            values = np.ascontiguousarray((X[start : start + _BLOCK] - self.center) / self.scale)
            for depth, (weight, offset) in enumerate(layers):
                if depth:
                    np.maximum(values, 0.0, out=values)
                # A matrix product of a linear algebra library would depend on how many rows there are.
                values = np.einsum("nj,kj->nk", values, weight) + offset
            out[start : start + _BLOCK] = values
        return out

    def to_state(self) -> dict[str, Any]:
        """Return the arrays in JSON types."""
        return {
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
            "weights": [_packed(w) for w in self.weights],
            "offsets": [_packed(b) for b in self.offsets],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DenseLayers:
        """Rebuild the layers from `to_state`.

        Raises
        ------
        DataError
            If the arrays do not fit together or hold numbers that are not finite.
        """
        center, scale = (np.asarray(state[part], dtype=np.float64) for part in ("center", "scale"))
        weights = tuple(_unpacked(w) for w in state["weights"])
        offsets = tuple(_unpacked(b) for b in state["offsets"])
        widths = [center.size, *(b.size for b in offsets)]
        fits = len(weights) == len(offsets) > 0 and center.shape == scale.shape == (center.size,)
        fits = fits and all(
            w.shape == (after, before) and b.shape == (after,)
            for w, b, before, after in zip(weights, offsets, widths[:-1], widths[1:], strict=True)
        )
        numbers: list[NDArray[Any]] = [center, scale, *weights, *offsets]
        if not (fits and all(np.isfinite(a).all() for a in numbers) and (scale > 0).all()):
            raise DataError("the layers of the network do not fit together", "a state written by aimed")
        return cls(center, scale, weights, offsets)


def _packed(array: NDArray[np.float32]) -> dict[str, Any]:
    raw = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return {"shape": list(array.shape), "float32": base64.b64encode(raw).decode("ascii")}


def _unpacked(part: Mapping[str, Any]) -> NDArray[np.float32]:
    raw = np.frombuffer(base64.b64decode(part["float32"], validate=True), dtype="<f4")
    shape = tuple(int(size) for size in part["shape"])
    if raw.size != int(np.prod(shape)):
        raise DataError("an array of the network has another size than it says", "a state written by aimed")
    return raw.reshape(shape).astype(np.float32)
