"""Columns as bytes: cuts between neighbouring values or at quantiles, learned once and kept with the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError
from aimed.fit.kernels.bins import MISSING, bin_rows

__all__ = ["Bins"]

_SAMPLE = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """How columns become bytes.

    Parameters
    ----------
    edges : float array
        Of all columns after each other, rising within each; the known categories of a nominal column.
    starts : int array, shape (p + 1,)
    nominal : bool array, shape (p,)
    """

    edges: NDArray[np.float64]
    starts: NDArray[np.int64]
    nominal: NDArray[np.bool_]

    @classmethod
    def learn(
        cls, X: NDArray[np.float64], weight: NDArray[np.float64], nominal: NDArray[np.bool_], most: int,
        names: Sequence[str],
    ) -> Bins:  # fmt: skip
        """Choose the cuts of each column; all values where there are few, quantiles of the weight where there are more.

        Parameters
        ----------
        X : float array, shape (n, p)
            NaN where missing.
        weight : float array, shape (n,)
        nominal : bool array, shape (p,)
            Columns whose numbers are codes of categories.
        most : int
            Bins of a number column.
        names : sequence of str
            Of the columns, for messages.

        Raises
        ------
        DataError
            If a nominal column has more categories than there are bytes.
        """
        n, p = X.shape
        rows = np.random.default_rng(0).choice(n, _SAMPLE, replace=False) if n > _SAMPLE else None
        edges = []
        for j in range(p):
            if nominal[j]:
                levels = np.unique(X[:, j])
                levels = levels[~np.isnan(levels)]
                if levels.size > MISSING:
                    raise DataError(
                        f"column '{names[j]}' has {levels.size} categories", f"at most {MISSING}", "merge rare ones"
                    )
                edges.append(levels)
                continue
            column = X[:, j] if rows is None else X[rows, j]
            edges.append(_edges(column, weight if rows is None else weight[rows], most))
        starts = np.concatenate(([0], np.cumsum([e.size for e in edges]))).astype(np.int64)
        return cls(np.concatenate([np.zeros(0), *edges]), starts, nominal)

    @property
    def levels(self) -> NDArray[np.int64]:
        """Bins of each column, without that of missing values."""
        return np.diff(self.starts) + np.where(self.nominal, 0, 1)

    def transform(self, X: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the bin of each value, `MISSING` for NaN and unknown categories, shape (n, p)."""
        out = np.empty(X.shape, dtype=np.uint8)
        bin_rows(np.ascontiguousarray(X), self.edges, self.starts, self.nominal, out)
        return out


def _edges(column: NDArray[np.float64], weight: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return cuts halfway between neighbouring values: all of them, or those at quantiles of the weight."""
    known = ~np.isnan(column)
    order = np.argsort(column[known], kind="stable")
    ordered = column[known][order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], ordered.size > 0))
    values = ordered[last]
    cuts = np.arange(values.size - 1)
    if values.size > most:
        total = np.cumsum(weight[known][order])[last]
        wanted = total[-1] * np.arange(1, most) / most
        cuts = np.unique(np.minimum(np.searchsorted(total, wanted, side="left"), values.size - 2))
    low, high = values[cuts], values[cuts + 1]
    middle = low / 2 + high / 2
    return np.where((middle >= low) & (middle < high), middle, low)
