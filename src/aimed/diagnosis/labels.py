"""Labels of several findings per picture: yes, no, unknown, uncertain; and whether a finding can be learned at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, NotEstimableError, StudyFileError

__all__ = ["Uncertain", "check_learnable", "read_labels", "tune_rows"]

Uncertain = Literal["ignore", "zeros", "ones"]
_TRIES = 200


def read_labels(
    labels: ArrayLike, uncertain: Uncertain = "ignore", names: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Return labels as 0, 1 and NaN for unknown.

    Parameters
    ----------
    labels : array, shape (n, k)
        1 present, 0 absent, -1 uncertain (the U-labels of report labellers), NaN unknown.
    uncertain : {"ignore", "zeros", "ones"}
        What -1 becomes: unknown, absent or present.
    names : k strings, optional

    Raises
    ------
    DataError
        If a label is anything else.

    References
    ----------
    Irvin et al., AAAI 2019;33:590 (U-Ignore, U-Zeros, U-Ones).

    Examples
    --------
    >>> read_labels([[1, -1], [0, 1]], "ones").tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    >>> read_labels([[1, -1]]).tolist()
    [[1.0, nan]]
    """
    if uncertain not in ("ignore", "zeros", "ones"):
        raise StudyFileError(f"uncertain = {uncertain!r}", "one of: ignore, zeros, ones")
    try:
        found = np.array(labels, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError("labels that are no numbers", "1, 0, -1 for uncertain, NaN for unknown") from None
    if found.ndim != 2 or not found.shape[1]:
        raise DataError(f"labels of shape {found.shape}", "(n, k), one column a finding")
    odd = ~(np.isnan(found) | np.isin(found, (-1.0, 0.0, 1.0)))
    if odd.any():
        column = int(np.flatnonzero(odd.any(axis=0))[0])
        raise DataError(
            f"{int(odd[:, column].sum())} labels of {finding_name(column, names)} are none of 1, 0, -1, NaN",
            "1 present, 0 absent, -1 uncertain, NaN unknown",
            "recode the column",
        )
    found[found == -1.0] = {"ignore": np.nan, "zeros": 0.0, "ones": 1.0}[uncertain]
    return found


def finding_name(column: int, names: Sequence[str] | None) -> str:
    """Return how a message calls a finding."""
    return f"finding {column + 1}" if names is None else f"'{names[column]}'"


def check_learnable(labels: NDArray[np.float32], names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Return the share of positives of each finding among its known labels.

    Raises
    ------
    NotEstimableError
        If a finding has no known label, or only one kind.

    Examples
    --------
    >>> check_learnable(read_labels([[1, 0], [0, 1], [-1, 1]])).round(2).tolist()
    [0.5, 0.67]
    """
    known, positive = (~np.isnan(labels)).sum(axis=0), np.nansum(labels == 1.0, axis=0)
    for column, (n, cases) in enumerate(zip(known.tolist(), positive.tolist(), strict=True)):
        name = finding_name(column, names)
        if n == 0:
            raise NotEstimableError(f"{name} is unknown in every training picture", "known labels", "leave it out")
        if cases in (0, n):
            what = "absent" if cases == 0 else "present"
            raise NotEstimableError(
                f"{name} is {what} in all {n} training pictures that know it", "both kinds", "leave it out"
            )
    return np.asarray(positive / known, dtype=np.float64)


def tune_rows(labels: NDArray[np.float32], patient: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return rows that tune: all pictures of a share of the patients, with each finding about as often as in the rest.

    Parameters
    ----------
    labels : float array, shape (n, k)
    patient : int array, shape (n,)
        From 0.
    share : float
        Of the patients.
    seed : int

    Notes
    -----
    Of several hundred random draws of patients the one is taken in which the count of positives and negatives, finding
    by finding, is nearest to the share, in units of its spread between draws.

    Raises
    ------
    NotEstimableError
        If no finding has both kinds in either part.

    Examples
    --------
    >>> y = np.tile([[1.0], [0.0]], (10, 1)).astype(np.float32)
    >>> rows = tune_rows(y, np.arange(20), 0.2, seed=0)
    >>> rows.size, float(y[rows].mean())
    (4, 0.5)
    """
    patients = int(patient.max()) + 1
    counts = np.concatenate([_by_patient(labels == kind, patient, patients) for kind in (1.0, 0.0)], axis=1)
    total, generator = counts.sum(axis=0), np.random.default_rng((seed, 3))
    size = min(max(1, round(share * patients)), patients - 1)
    spread = np.sqrt(np.maximum(share * (1 - share) * (counts**2).sum(axis=0), 1e-9))
    best, chosen = np.inf, np.zeros(0, dtype=np.int64)
    for _ in range(_TRIES):
        drawn = generator.permutation(patients)[:size]
        miss = float((((counts[drawn].sum(axis=0) - share * total) / spread) ** 2).sum())
        if miss < best:
            best, chosen = miss, drawn
    inside = np.isin(patient, chosen)
    k = labels.shape[1]
    held = counts[chosen].sum(axis=0)
    both = (held[:k] > 0) & (held[k:] > 0) & (held[:k] < total[:k]) & (held[k:] < total[k:])
    if not size or not both.any():
        raise NotEstimableError(
            "a part of the patients in which no finding is both present and absent",
            "findings of both kinds among those who train and those who say when to stop",
            "change validation_fraction, or set early_stopping=False",
        )
    return np.flatnonzero(inside)


def _by_patient(mask: NDArray[np.bool_], patient: NDArray[np.int64], patients: int) -> NDArray[np.float64]:
    found = np.zeros((patients, mask.shape[1]))
    np.add.at(found, patient, mask)
    return found
