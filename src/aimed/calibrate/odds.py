"""Log odds of probabilities kept off 0 and 1, and the small logistic fits that two calibrators share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from aimed.core import DataError, NotEstimableError

__all__ = ["FLOOR", "checked", "clip", "fit_logistic", "log_loss_rows", "to_log_odds"]

FLOOR = 1e-12
"""Probabilities are kept in [1e-12, 1 - 1e-12], so that log odds and log loss stay finite."""


def clip(risk: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities moved into [1e-12, 1 - 1e-12], shape as given.

    Examples
    --------
    >>> clip([0.0, 0.5]).tolist()
    [1e-12, 0.5]
    """
    return np.asarray(np.clip(np.asarray(risk, dtype=np.float64), FLOOR, 1.0 - FLOOR))


def to_log_odds(risk: ArrayLike) -> NDArray[np.float64]:
    """Return the log odds of clipped probabilities.

    Examples
    --------
    >>> to_log_odds([0.5]).tolist()
    [0.0]
    """
    return np.asarray(logit(clip(risk)))


def log_loss_rows(risk: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Return the log loss of each row, shape (n,), in nats.

    Examples
    --------
    >>> log_loss_rows([0.5], [1]).round(4).tolist()
    [0.6931]
    """
    p = clip(risk)
    return np.asarray(-np.where(np.asarray(y) == 1, np.log(p), np.log1p(-p)))


def checked(
    risk: ArrayLike, y: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return risk, outcome and weights as float arrays of shape (n,), without rows of weight 0.

    Raises
    ------
    DataError
        If shapes differ, a risk lies outside [0, 1], an outcome is not 0 or 1, or a weight is negative.
    NotEstimableError
        If there are no events or no non-events.
    """
    p = np.asarray(risk, dtype=np.float64)
    outcome = np.asarray(y, dtype=np.float64)
    w = np.ones_like(p) if weights is None else np.asarray(weights, dtype=np.float64)
    if p.ndim != 1 or outcome.shape != p.shape or w.shape != p.shape:
        raise DataError(f"risk, y and weights have shapes {p.shape}, {outcome.shape} and {w.shape}", "one value a row")
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("a risk is missing or outside [0, 1]", "probabilities", "leave out rows without a prediction")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise DataError("an outcome is neither 0 nor 1", "0 and 1")
    if not (np.isfinite(w) & (w >= 0)).all():
        raise DataError("a weight is negative or not finite", "weights >= 0")
    keep = w > 0
    p, outcome, w = p[keep], outcome[keep], w[keep]
    if outcome.size == 0 or outcome.min() == outcome.max():
        raise NotEstimableError(
            f"{int(outcome.sum())} events in {outcome.size} rows", "events and non-events", "calibrate on more rows"
        )
    return p, outcome, w


def fit_logistic(design: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unpenalised maximum-likelihood coefficients, shape (p,), by Newton steps with halving.

    Parameters
    ----------
    design : float array, shape (n, p)
    y : float array of 0 and 1, shape (n,)
    w : float array, shape (n,)

    Raises
    ------
    NotEstimableError
        If the steps do not settle, which happens when no finite maximum exists.
    """

    def loss(beta: NDArray[np.float64]) -> float:
        eta = design @ beta
        return float(w @ (np.logaddexp(0.0, eta) - y * eta))

    beta = np.zeros(design.shape[1])
    here = loss(beta)
    for _ in range(200):
        p = expit(design @ beta)
        gradient = design.T @ (w * (p - y))
        hessian = (design * (w * p * (1.0 - p))[:, None]).T @ design
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            break
        # The decrement says how far the loss can still fall; rounding stops it from reaching zero exactly.
        if float(gradient @ step) <= 1e-14 * max(1.0, here):
            return np.asarray(beta - step)
        size = 1.0
        while (there := loss(beta - size * step)) > here and size > 1e-10:
            size /= 2.0
        beta, here = beta - size * step, there
    raise NotEstimableError("the calibration fit did not settle", "risks that overlap", "use another calibrator")
