"""Agreement of predicted incidences with how often the event of interest happens when other events can come first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import NotEstimableError
from aimed.metrics.accuracy import risk_groups
from aimed.metrics.arrays import FloatArray, IntArray, event_kinds, follow_up, probabilities
from aimed.metrics.calibration_binary import CalibrationReplicates
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.ipcw import censoring_weights

__all__ = ["IncidenceRecalibration", "deciles_of_incidence", "incidence_by", "known_by"]


def incidence_by(event: ArrayLike, time: ArrayLike, horizon: float) -> float:
    """Return the Aalen-Johansen incidence of cause 1 by a horizon; 0 where the cause has not happened.

    Raises
    ------
    NotEstimableError
        If nobody was followed to the horizon and some had no event.

    Examples
    --------
    >>> incidence_by([1, 2, 0], [1, 2, 5], 3)
    0.3333333333333333
    """
    codes = np.asarray(event)
    when = np.asarray(time, dtype=np.float64)
    if not (codes == 1).any():
        if when.max(initial=0.0) < horizon and (codes == 0).any():
            raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
        return 0.0
    value = float(aalen_johansen(codes, when, cause=1).at([horizon])[0])
    if math.isnan(value):
        raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
    return value


def known_by(event: ArrayLike, time: ArrayLike, horizon: float) -> tuple[FloatArray, FloatArray]:
    """Return whether cause 1 came by a horizon, and the censoring weight of each row, 0 where that is not known.

    Parameters
    ----------
    event : int array, shape (n,)
        0 censored, 1 the event of interest, 2 and up other events.
    time : float array, shape (n,)
    horizon : float

    Returns
    -------
    y, weights : float arrays, shape (n,)
        The weights are 1 / G(T-) for rows with an event by the horizon and 1 / G(horizon) for rows followed beyond it.

    Raises
    ------
    NotEstimableError
        If nobody was followed to the horizon and some had no event.

    References
    ----------
    Schoop et al., Biom J 2011;53:88.

    Examples
    --------
    >>> known_by([1, 0, 2, 1], [1, 2, 3, 9], 5)
    (array([1., 0., 0., 0.]), array([1. , 0. , 1.5, 1.5]))
    """
    when = follow_up(time)
    kind = event_kinds(event, when.size, 1)
    g = censoring_weights(kind, when)
    end = float(g.followed([horizon])[0])
    ended = float(g.at([horizon])[0]) <= 0
    had = (kind > 0) & (when <= horizon)
    beyond = ~had & ((when > horizon) | ((when == horizon) & ended))
    if not beyond.any() and not had.all():
        raise NotEstimableError("no row is followed to the horizon", "a horizon within follow-up")
    weights = np.divide(1.0, g.left, out=np.zeros(when.size), where=had & (g.left > 0))
    if beyond.any():
        weights[beyond] = 1.0 / end
    return (had & (kind == 1)).astype(np.float64), weights


class IncidenceRecalibration:
    """Logistic recalibration at a horizon, weighted for censoring, in bootstrap replicates.

    The slope is that of the log odds of the predicted incidence, the curve a restricted cubic spline of them; 1 and
    the diagonal are right. The chance of not being censored is that of all rows in every replicate.

    Parameters
    ----------
    event, time : arrays, shape (n,)
        As for `known_by`.
    risk : float array, shape (n,)
        Predicted incidence by the horizon.
    horizon : float
    codes : int array, shape (n,)
        Patient number of each row, from 0.
    grid : float array, shape (g,)
        Predicted incidences at which the curve is read.

    References
    ----------
    van Geloven et al., BMJ 2022;377:e069249 (what to report). Schoop et al., Biom J 2011;53:88 (the weights).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk = rng.uniform(0.1, 0.9, 500)
    >>> event = np.where(rng.random(500) < risk, 1, 2)
    >>> fast = IncidenceRecalibration(event, rng.uniform(0.1, 1, 500), risk, 1.0, np.arange(500), np.array([0.5]))
    >>> slope, errors, curve = fast.replicate(np.ones((500, 1), dtype=np.uint8))
    >>> bool(abs(slope[0] - 1) < 0.3), bool(abs(curve[0, 0] - 0.5) < 0.1)
    (True, True)
    """

    def __init__(
        self,
        event: ArrayLike,
        time: ArrayLike,
        risk: FloatArray,
        horizon: float,
        codes: IntArray,
        grid: FloatArray,
    ) -> None:
        self._grid = grid
        self._fits: CalibrationReplicates | None = None
        try:
            y, weights = known_by(event, time, horizon)
        except NotEstimableError:
            # What cannot be fitted to all rows is NaN in every replicate.
            return
        known = weights > 0
        self._fits = CalibrationReplicates(y[known], risk[known], codes=codes[known], weights=weights[known], grid=grid)

    def replicate(self, counts: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the slope, shape (b,), ICI, E50 and E90, shape (b, 3), and the curve at the grid, shape (b, g)."""
        b = counts.shape[1]
        if self._fits is None:
            return np.full(b, np.nan), np.full((b, 3), np.nan), np.full((b, self._grid.size), np.nan)
        measures, curve = self._fits.replicate_with_curve(counts)
        return measures[:, 1], measures[:, 3:], curve


def deciles_of_incidence(
    event: ArrayLike, time: ArrayLike, p: ArrayLike, horizon: float, groups: int = 10, level: float = 0.95
) -> list[dict[str, Any]]:
    """Return predicted and Aalen-Johansen incidence by quantile group of the predicted, with log-log limits.

    Parameters
    ----------
    event, time
        As for `known_by`.
    p : float array, shape (n,)
        Predicted incidence by the horizon.
    horizon : float
    groups : int
    level : float

    Returns
    -------
    list of dict
        predicted, observed, lower, upper, n; None where nobody in the group is followed to the horizon, and for limits
        where nothing varies.

    Examples
    --------
    >>> deciles_of_incidence([1, 2, 0, 0], [1, 2, 5, 5], [0.5, 0.5, 0.5, 0.5], 3, groups=2)[0]["observed"]
    0.25
    """
    when = follow_up(time)
    codes = np.asarray(event)
    risk = probabilities("p", p, when.size)
    code = risk_groups(risk, groups)
    out: list[dict[str, Any]] = []
    for k in range(int(code.max()) + 1):
        rows = code == k
        values = {"predicted": float(risk[rows].mean()), "observed": math.nan, "lower": math.nan, "upper": math.nan}
        try:
            values["observed"] = incidence_by(codes[rows], when[rows], horizon)
        except NotEstimableError:
            pass
        else:
            if (codes[rows] == 1).any():
                found = aalen_johansen(codes[rows], when[rows], cause=1, level=level)
                lower, upper = found.interval_at([horizon])
                values["lower"], values["upper"] = float(lower[0]), float(upper[0])
        known = {name: v if math.isfinite(v) else None for name, v in values.items()}
        out.append(known | {"n": int(rows.sum())})
    return out
