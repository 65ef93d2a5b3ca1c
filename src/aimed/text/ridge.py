"""Logistic regressions with a ridge on sparse columns: all findings in one go, the ridge chosen on folds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

__all__ = ["Ridge", "chosen_ridge", "fit_ridge"]

FloatArray = NDArray[np.float64]

_STEPS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """One weighted sum of columns a finding.

    Parameters
    ----------
    weight : float array, shape (k, p)
    bias : float array, shape (k,)
    penalty : float array, shape (k,)
    """

    weight: FloatArray
    bias: FloatArray
    penalty: FloatArray

    def logit(self, x: Any) -> FloatArray:
        """Return log odds, shape (n, k)."""
        return np.asarray(x @ np.ascontiguousarray(self.weight.T) + self.bias, dtype=np.float64)

    def risk(self, x: Any) -> FloatArray:
        """Return probabilities, shape (n, k)."""
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.logit(x))), dtype=np.float64)


def fit_ridge(x: Any, y: FloatArray, penalty: FloatArray, start: Ridge | None = None) -> Ridge:
    """Fit logistic regressions with a ridge; the offset is free.

    Parameters
    ----------
    x : sparse array, shape (n, p)
        In rows.
    y : float array, shape (n, k)
        0, 1, NaN where unknown.
    penalty : float array, shape (k,)
        Of each finding: adds ``penalty / 2`` times the sum of squared weights to the sum of losses; scikit-learn's
        ``C`` is its inverse.
    start : Ridge, optional
        Where to set out from.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> fit = fit_ridge(csr_array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0], [0.0]]), np.array([0.1]))
    >>> fit.risk(csr_array([[1.0, 0.0]])).round(2).tolist()
    [[0.84]]
    """
    p, k = x.shape[1], y.shape[1]
    across = x.T.tocsr()
    known = ~np.isnan(y)
    truth = np.where(known, y, 0.0)

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        table = flat.reshape(p + 1, k)
        z = x @ table[:p] + table[p]
        loss = float(np.where(known, np.logaddexp(0.0, z) - truth * z, 0.0).sum())
        loss += 0.5 * float((penalty * (table[:p] ** 2)).sum())
        rest = np.where(known, 0.5 * (1.0 + np.tanh(0.5 * z)) - truth, 0.0)
        gradient = np.empty((p + 1, k))
        gradient[:p] = across @ rest + penalty * table[:p]
        gradient[p] = rest.sum(axis=0)
        return loss, gradient.ravel()

    first = np.zeros((p + 1, k))
    if start is None:
        share = (truth.sum(axis=0) + 0.5) / (known.sum(axis=0) + 1.0)
        first[p] = np.log(share / (1.0 - share))
    else:
        first[:p], first[p] = start.weight.T, start.bias
    found = minimize(
        objective, first.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": _STEPS, "maxcor": 12, "ftol": 1e-7, "gtol": 1e-3},
    )  # fmt: skip
    if found.nit >= _STEPS:
        warnings.warn(
            f"the regression still moved after {_STEPS} steps; a larger penalty holds it",
            ConvergenceWarning,
            stacklevel=2,
        )
    table = found.x.reshape(p + 1, k)
    return Ridge(np.ascontiguousarray(table[:p].T), table[p].copy(), np.array(penalty, dtype=np.float64))


def chosen_ridge(
    x: Any,
    y: FloatArray,
    fold: NDArray[np.int64],
    penalties: Sequence[float],
    progress: Callable[[float], None] | None = None,
) -> tuple[Ridge, FloatArray]:
    """Return the fit with the penalty of lowest cross-entropy on folds left out, finding by finding.

    Parameters
    ----------
    x : sparse array, shape (n, p)
    y : float array, shape (n, k)
    fold : int array, shape (n,)
        No patient in two.
    penalties : sequence of float
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    fit : Ridge
        On all rows.
    apart : float array, shape (n, k)
        What the chosen penalties say of each row when its fold is left out.
    """
    path = sorted({float(value) for value in penalties}, reverse=True)
    n, k = y.shape
    folds = int(fold.max()) + 1
    apart = np.empty((len(path), n, k))
    for place in range(folds):
        held, rest = np.flatnonzero(fold == place), np.flatnonzero(fold != place)
        mine, other, start = x[rest], x[held], None
        for step, penalty in enumerate(path):
            start = fit_ridge(mine, y[rest], np.full(k, penalty), start)
            apart[step, held] = start.logit(other)
        if progress is not None:
            progress((place + 1) / (folds + 1))
    loss = np.where(np.isnan(y), 0.0, np.logaddexp(0.0, apart) - np.nan_to_num(y) * apart).sum(axis=1)
    best = loss.argmin(axis=0)
    fit = fit_ridge(x, y, np.array(path)[best])
    said = np.take_along_axis(apart, np.broadcast_to(best, (1, n, k)), axis=0)[0]
    return fit, np.asarray(0.5 * (1.0 + np.tanh(0.5 * said)))
