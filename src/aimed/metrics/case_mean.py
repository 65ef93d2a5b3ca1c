"""The mean of one number a case with its interval over patients, and the interval withheld where they are too few."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError
from aimed.metrics.arrays import patient_codes
from aimed.metrics.result import Estimate, Scale, clustered

__all__ = ["LEAST_PATIENTS", "case_mean", "ratio_of_cases"]

LEAST_PATIENTS = 5
"""Of fewer patients no interval of a mean over cases is given: their spread is not known."""


def case_mean(
    values: ArrayLike,
    patient: ArrayLike | None = None,
    *,
    level: float = 0.95,
    name: str = "mean",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    **more: Any,
) -> Estimate:
    """Return the mean over cases with its interval over patients (t); cases without a value are left out.

    Parameters
    ----------
    values : float array, shape (n,)
        NaN where a case has no value.
    patient : array, shape (n,), optional
        Each case its own patient when absent.
    level : float
    name : str
    bounds : (float, float)
        To which the interval is cut.
    **more
        Passed to `Estimate`.

    Raises
    ------
    DataError
        If there are no cases, or a value is infinite.

    Examples
    --------
    >>> case_mean([1.0, 2.0, 3.0, 4.0, 5.0], name="ml")
    ml 3.0000 (95 % interval 1.0368 to 4.9632), n = 5
    >>> case_mean([1.0, 2.0]).note
    'no interval: 2 patients, and 5 are needed'
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.size == 0 or np.isinf(given).any():
        raise DataError(f"values of shape {given.shape}, or infinite ones", "one finite number a case, NaN without one")
    return ratio_of_cases(
        np.where(np.isnan(given), 0.0, given),
        ~np.isnan(given),
        patient,
        level=level,
        name=name,
        bounds=bounds,
        **{"n": int((~np.isnan(given)).sum())} | more,
    )


def ratio_of_cases(
    above: ArrayLike,
    below: ArrayLike,
    patient: ArrayLike | None = None,
    *,
    level: float = 0.95,
    name: str = "ratio",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    scale: Scale = "identity",
    **more: Any,
) -> Estimate:
    """Return a sum over cases divided by another one, with its interval over patients (t).

    Parameters
    ----------
    above, below : float arrays, shape (n,)
        What each case adds; cases that add 0 to the lower sum take no part.
    patient, level, name, bounds, **more
        As for `case_mean`.
    scale : {"identity", "log", "logit", "fisher"}
        On which the interval is symmetric.

    Notes
    -----
    The error is that of the linearised ratio, summed by patient (infinitesimal jackknife), with the quantile of t.

    Examples
    --------
    >>> float(ratio_of_cases([1.0, 3.0], [2.0, 2.0]))
    1.0
    """
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    held = bottom > 0
    facts: dict[str, Any] = {"name": name, "n": int(held.sum()), "level": level} | more
    if not held.any():
        return Estimate(math.nan, **{**facts, "note": "no case has a value"})
    value = float(top.sum() / bottom.sum())
    influence = (top - value * bottom) / bottom.sum()
    codes = patient_codes(patient, top.size)
    units = int(np.unique(codes[held]).size)
    if units < LEAST_PATIENTS:
        why = f"no interval: {units} patients, and {LEAST_PATIENTS} are needed"
        return Estimate(value, influence=influence, **{**facts, "note": why})
    return Estimate.from_influence(
        value,
        influence,
        codes,
        bounds=bounds,
        scale=scale,
        units=units,
        why="the same in all cases",
        **{"method": clustered("infinitesimal jackknife, t", patient)} | facts,
    )
