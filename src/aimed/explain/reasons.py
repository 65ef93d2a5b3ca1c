"""The reasons of one prediction: the variables that moved it most, with direction and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError

__all__ = ["Reasons", "reasons"]


@dataclass(frozen=True, slots=True)
class Reasons:
    """The largest contributions of each row, largest first.

    Parameters
    ----------
    variable : int array, shape (n, k)
        Index of the variable; -1 where the row has no contributions.
    contribution : float array, shape (n, k)
        Signed, on the scale of the contributions; positive raises the risk. NaN where there are none.
    """

    variable: NDArray[np.int64]
    contribution: NDArray[np.float64]


def reasons(contributions: NDArray[np.float64], top: int = 5) -> Reasons:
    """Return the `top` largest contributions of each row by absolute size.

    Parameters
    ----------
    contributions : float array, shape (n, p)
        As in `aimed.explain.shap_values.Contributions.values`; NaN rows where the model gave no prediction.
    top : int

    Returns
    -------
    Reasons
        With k = min(top, p). Ties keep the order of the variables.

    Raises
    ------
    DataError
        If `contributions` is not a matrix or `top` is not positive.

    Examples
    --------
    >>> found = reasons(np.array([[0.1, -0.9, 0.4]]), top=2)
    >>> found.variable.tolist(), found.contribution.tolist()
    ([[1, 2]], [[-0.9, 0.4]])
    """
    values = np.asarray(contributions, dtype=np.float64)
    if values.ndim != 2 or top < 1:
        raise DataError(f"contributions of shape {values.shape} and top = {top}", "shape (n, p) and top >= 1")
    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :top]
    picked = np.take_along_axis(values, order, axis=1)
    known = np.isfinite(values).all(axis=1, keepdims=True)
    return Reasons(np.where(known, order, -1), np.where(known, picked, np.nan))
