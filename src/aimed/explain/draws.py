"""Bootstrap draws of patients and deterministic samples of rows, for the intervals of explanations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError

__all__ = ["patient_codes", "patient_counts", "percentile_interval", "sample_rows"]

_FEWEST = 0.9
"""Share of draws that must be estimable for an interval to be given."""


def patient_codes(patient: ArrayLike | None, n: int) -> tuple[NDArray[np.int64], int]:
    """Return a code from 0 for the patient of each row, and the number of patients.

    Parameters
    ----------
    patient : array, shape (n,), or None
        None when each row is a patient.
    n : int
        Number of rows.

    Raises
    ------
    DataError
        If the length is not n.

    Examples
    --------
    >>> codes, patients = patient_codes(["b", "a", "b"], 3)
    >>> codes.tolist(), patients
    ([1, 0, 1], 2)
    """
    if patient is None:
        return np.arange(n, dtype=np.int64), n
    ids = np.asarray(patient)
    if ids.shape != (n,):
        raise DataError(f"patient has shape {ids.shape}", f"({n},), one a row")
    levels, codes = np.unique(ids, return_inverse=True)
    return np.asarray(codes, dtype=np.int64), int(levels.size)


def patient_counts(patients: int, draws: int, seed: Any) -> NDArray[np.int64]:
    """Return how often each patient is drawn in each bootstrap draw, shape (draws, patients).

    Examples
    --------
    >>> patient_counts(4, 3, seed=0).sum(axis=1).tolist()
    [4, 4, 4]
    """
    return np.asarray(np.random.default_rng(seed).multinomial(patients, np.full(patients, 1.0 / patients), size=draws))


def sample_rows(codes: NDArray[np.int64], most: int, seed: Any) -> NDArray[np.int64]:
    """Return at most `most` row numbers, whole patients where they fit, in ascending order.

    Parameters
    ----------
    codes : int array, shape (n,)
        Patient codes from 0.
    most : int
        All rows are returned when there are no more than this.
    seed : int or sequence of int

    Examples
    --------
    >>> sample_rows(np.array([0, 0, 1, 1, 2, 2]), 4, seed=0).size
    4
    """
    n = codes.size
    if n <= most:
        return np.arange(n)
    place = np.random.default_rng(seed).permutation(int(codes.max()) + 1)[codes]
    return np.sort(np.argsort(place, kind="stable")[:most])


def percentile_interval(drawn: NDArray[np.float64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the percentile interval over the first axis; NaN where fewer than nine draws in ten are known.

    Examples
    --------
    >>> [round(float(v), 6) for v in percentile_interval(np.arange(101.0), 0.9)]
    [5.0, 95.0]
    """
    drawn = np.asarray(drawn, dtype=np.float64)
    enough = np.isfinite(drawn).mean(axis=0) >= _FEWEST
    tail = (1.0 - level) / 2.0
    filled = np.where(enough, np.where(np.isfinite(drawn), drawn, np.nan), 0.0)
    lower, upper = np.nanquantile(filled, [tail, 1.0 - tail], axis=0)
    return np.where(enough, lower, np.nan), np.where(enough, upper, np.nan)
