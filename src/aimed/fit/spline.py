"""Restricted cubic splines: a smooth curve with straight tails, in the basis that R's rms package uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["KNOT_QUANTILES", "knots_of", "spline_basis"]

KNOT_QUANTILES: dict[int, tuple[float, ...]] = {
    3: (0.10, 0.50, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.50, 0.725, 0.95),
    6: (0.05, 0.23, 0.41, 0.59, 0.77, 0.95),
    7: (0.025, 0.1833, 0.3417, 0.50, 0.6583, 0.8167, 0.975),
}
"""Where Harrell puts k knots, as quantiles of the predictor."""


def knots_of(x: ArrayLike, k: int) -> NDArray[np.float64]:
    """Place k knots at Harrell's quantiles of the known values; fewer come back when quantiles coincide.

    Parameters
    ----------
    x : float array, shape (n,)
        NaN is left out.
    k : int, 3 to 7

    Returns
    -------
    float array
        Distinct knots in rising order; empty when there are fewer than three, so that the curve is a line.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. 2015, table 2.3.

    Examples
    --------
    >>> knots_of(range(101), 3).tolist()
    [10.0, 50.0, 90.0]
    """
    values = np.asarray(x, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return np.empty(0)
    knots = np.unique(np.quantile(values, KNOT_QUANTILES[k]))
    return knots if knots.size >= 3 else np.empty(0)


def spline_basis(x: ArrayLike, knots: ArrayLike) -> NDArray[np.float64]:
    """Return the restricted cubic spline terms of x: x itself and k - 2 curved terms.

    Parameters
    ----------
    x : float array, shape (n,)
    knots : float array, shape (k,), rising
        Empty for a straight line.

    Returns
    -------
    float array, shape (n, k - 1), or (n, 1) without knots
        NaN where x is NaN. Curved terms are divided by the squared distance of the outer knots.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. 2015, equation 2.25.

    Examples
    --------
    >>> spline_basis([0.0, 2.0, 4.0], [0.0, 1.0, 2.0]).tolist()
    [[0.0, 0.0], [2.0, 1.5], [4.0, 4.5]]
    """
    values = np.asarray(x, dtype=np.float64)
    t = np.asarray(knots, dtype=np.float64)
    if not t.size:
        return values[:, None].copy()
    out = np.empty((values.size, t.size - 1))
    out[:, 0] = values
    last, before = t[-1], t[-2]
    norm = (last - t[0]) ** 2
    at_last = np.maximum(values - last, 0.0) ** 3
    at_before = np.maximum(values - before, 0.0) ** 3
    for j in range(t.size - 2):
        pulled = at_before * (last - t[j]) - at_last * (before - t[j])
        out[:, j + 1] = (np.maximum(values - t[j], 0.0) ** 3 - pulled / (last - before)) / norm
    return out
