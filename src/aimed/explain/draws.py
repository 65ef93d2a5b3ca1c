"""Which patients an explanation is drawn from anew, and which rows it looks at when there are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.metrics.draws import PatientDraws

__all__ = ["drawn_patients", "sample_rows"]


def drawn_patients(
    patient: ArrayLike | None, n: int, draws: int, seed: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the patient number of each row, and how often each patient is drawn, shape (draws, patients).

    Parameters
    ----------
    patient : array, shape (n,), or None
        None when each row is a patient.
    n, draws : int
    seed : sequence of int

    Examples
    --------
    >>> codes, counts = drawn_patients(["b", "a", "b"], 3, 4, [0])
    >>> codes.tolist(), counts.sum(axis=1).tolist()
    ([1, 0, 1], [2.0, 2.0, 2.0, 2.0])
    """
    sampler = PatientDraws(patient, n, draws=draws, seed=seed)
    return sampler.codes, sampler.counts(0, draws).T.astype(np.float64)


def sample_rows(codes: NDArray[np.int64], most: int, seed: int | Sequence[int]) -> NDArray[np.int64]:
    """Return at most `most` row numbers, whole patients where they fit, in ascending order.

    Parameters
    ----------
    codes : int array, shape (n,)
        Patient numbers from 0.
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
