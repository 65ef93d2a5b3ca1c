"""Restricted cubic splines: a smooth curve with straight tails, in the basis that R's rms package uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aimed.core import NotEstimableError, StudyFileError

__all__ = ["KNOT_QUANTILES", "RestrictedCubicSpline", "knots_of", "spline_basis"]

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


class RestrictedCubicSpline(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn each column into the terms of a restricted cubic spline, for a pipeline or a ``ColumnTransformer``.

    Parameters
    ----------
    n_knots : int, 3 to 7
        Knots at Harrell's quantiles of each column's known values.
    knots : float array, shape (k,), or sequence of p of them, optional
        The knots themselves, rising: the same for all columns, or one array a column.

    Attributes
    ----------
    knots_ : list of p float arrays
    n_features_in_, feature_names_in_

    Notes
    -----
    A column becomes itself and k - 2 terms that bend it, named as in R's rms: ``age``, ``age'``, ``age''``. Outside
    the outer knots the curve is straight, where data are few. NaN stays NaN. That the effect is a straight line is
    tested by `aimed.prognosis.coefficients.wald_test` of the terms that bend it.

    Raises
    ------
    StudyFileError
        If knots are not 3 or more rising numbers, or n_knots is not from 3 to 7.
    NotEstimableError
        If a column has too few distinct values for its knots; the column is named.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. 2015, section 2.4.5.

    Examples
    --------
    >>> spline = RestrictedCubicSpline(knots=[0.0, 1.0, 2.0]).fit([[0.0], [2.0], [4.0]])
    >>> spline.transform([[0.0], [2.0], [4.0]]).tolist(), spline.get_feature_names_out(["age"]).tolist()
    ([[0.0, 0.0], [2.0, 1.5], [4.0, 4.5]], ['age', "age'"])
    """

    def __init__(self, n_knots: int = 4, knots: ArrayLike | Sequence[ArrayLike] | None = None) -> None:
        self.n_knots = n_knots
        self.knots = knots

    def fit(self, X: Any, y: Any = None) -> RestrictedCubicSpline:
        """Place the knots.

        Parameters
        ----------
        X : float array or data frame, shape (n, p)
            NaN where missing.
        y : ignored
        """
        values = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        if self.knots is None:
            if self.n_knots not in KNOT_QUANTILES:
                raise StudyFileError(f"n_knots = {self.n_knots!r}", "3 to 7")
            self.knots_ = [knots_of(column, self.n_knots) for column in values.T]
            for name, found in zip(self._names(None), self.knots_, strict=True):
                if found.size < self.n_knots:
                    raise NotEstimableError(
                        f"'{name}' has too few distinct values for {self.n_knots} knots at its quantiles",
                        "a column that spreads",
                        "take fewer knots, give knots=, or leave the column as it is",
                    )
            return self
        ragged = list(self.knots)  # type: ignore[arg-type]
        given = [self.knots] * values.shape[1] if not ragged or np.ndim(ragged[0]) == 0 else ragged
        if len(given) != values.shape[1]:
            raise StudyFileError(f"{len(given)} arrays of knots for {values.shape[1]} columns", "one a column")
        self.knots_ = [np.asarray(part, dtype=np.float64) for part in given]
        for part in self.knots_:
            if part.ndim != 1 or part.size < 3 or not (np.isfinite(part).all() and (np.diff(part) > 0).all()):
                raise StudyFileError("knots that are not 3 or more rising numbers", "rising finite numbers")
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the terms of all columns side by side, shape (n, Σ(k - 1))."""
        check_is_fitted(self, "knots_")
        values = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        parts = [spline_basis(column, knots) for column, knots in zip(values.T, self.knots_, strict=True)]
        return np.concatenate(parts, axis=1)

    def _names(self, input_features: Any) -> list[str]:
        if input_features is None:
            input_features = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        return [str(name) for name in input_features]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the terms, a prime for each that bends: ``age``, ``age'``, ``age''``."""
        check_is_fitted(self, "knots_")
        names = self._names(input_features)
        terms = [name + "'" * j for name, knots in zip(names, self.knots_, strict=True) for j in range(knots.size - 1)]
        return np.asarray(terms, dtype=object)
