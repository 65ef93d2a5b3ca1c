"""The bootstrap of patients: whole-number row weights a draw, so that no metric sorts its rows again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray, IntArray

__all__ = ["ESTIMABLE", "bootstrap_weights", "estimable_share", "patient_codes", "percentile_interval"]

ESTIMABLE = 0.9
"""Least share of draws in which a metric must be estimable to have an interval."""


def patient_codes(patient: ArrayLike | None, n: int) -> IntArray:
    """Return a number from 0 for each row's patient; every row its own patient when absent.

    Examples
    --------
    >>> patient_codes(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    if patient is None:
        return np.arange(n)
    names = np.asarray(patient)
    if names.shape != (n,):
        raise DataError(f"patient has shape {names.shape}", f"({n},), one a row")
    codes: IntArray = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return codes


def bootstrap_weights(
    patient: ArrayLike, strata: ArrayLike | None, draws: int, seed: int | Sequence[int]
) -> Iterator[IntArray]:
    """Yield, for each draw, how often each row was drawn when patients are drawn with replacement.

    All rows of a patient come together. With strata, patients with and without a marked row are drawn apart, so that
    each draw has as many of either as the data: right for measures that hold the outcome fixed, such as the AUROC.
    Measures that depend on how often the event happens, such as O/E or net benefit, need draws without strata: with
    them the spread of the event rate itself would be missing from the interval.

    Parameters
    ----------
    patient : array, shape (n,)
        Patient of each row.
    strata : bool array, shape (n,), or None
        Rows with the event; a patient with any such row is in the event stratum. None draws all patients together.
    draws : int
    seed : int or sequence of int

    Yields
    ------
    int array, shape (n,)

    References
    ----------
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 2.4 and 3.8.

    Examples
    --------
    >>> for w in bootstrap_weights(["a", "a", "b"], None, 2, seed=1):
    ...     print(w)
    [1 1 1]
    [0 0 2]
    """
    rows = np.asarray(patient)
    codes = patient_codes(rows, rows.shape[0])
    size = int(codes.max()) + 1
    marked = np.zeros(size, dtype=bool)
    if strata is not None:
        flags = np.asarray(strata, dtype=bool)
        if flags.shape != codes.shape:
            raise DataError(f"strata has shape {flags.shape}", f"{codes.shape}, one a row")
        marked[codes[flags]] = True
    groups = [g for g in (np.flatnonzero(marked), np.flatnonzero(~marked)) if g.size]
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        counts = np.zeros(size, dtype=np.int64)
        for members in groups:
            counts[members] = np.bincount(rng.integers(members.size, size=members.size), minlength=members.size)
        yield counts[codes]


def estimable_share(values: NDArray[np.float64]) -> FloatArray:
    """Return the share of draws, along the first axis, in which a metric could be estimated.

    Examples
    --------
    >>> estimable_share(np.array([1.0, np.nan])).item()
    0.5
    """
    return np.asarray(np.isfinite(values).mean(axis=0), dtype=np.float64)


def percentile_interval(values: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Return percentile limits over the first axis; NaN where fewer than 90 % of draws were estimable.

    Parameters
    ----------
    values : float array, shape (draws, ...)
    level : float

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Examples
    --------
    >>> [round(float(v), 3) for v in percentile_interval(np.arange(101.0), 0.9)]
    [5.0, 95.0]
    """
    known = np.isfinite(values)
    # Columns without any value would make nanquantile warn; they are blanked out again below.
    filled = np.where(known.any(axis=0), np.where(known, values, np.nan), 0.0)
    lower, upper = np.nanquantile(filled, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    enough = estimable_share(values) >= ESTIMABLE
    return np.where(enough, lower, np.nan), np.where(enough, upper, np.nan)
