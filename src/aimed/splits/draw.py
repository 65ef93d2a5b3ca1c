"""Drawing train, test and tuning folds so that rows of one patient never part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, Fold, StudyFileError

__all__ = ["by_column", "by_patient", "by_site", "by_time", "grouped_folds"]

Parts = dict[str, NDArray[np.int64]]


def _patients(patient: ArrayLike, stratum: ArrayLike | None) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return patient code of each row, stratum of each patient (its highest row) and the number of patients."""
    codes = np.unique(np.asarray(patient, dtype=str), return_inverse=True)[1].astype(np.int64)
    count = int(codes.max()) + 1 if codes.size else 0
    highest = np.zeros(count, dtype=np.int64)
    if stratum is not None:
        np.maximum.at(highest, codes, np.asarray(stratum, dtype=np.int64))
    return codes, highest, count


def _deal(stratum: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return patients in an order in which every stratum is spread evenly, at random within a stratum."""
    order = rng.permutation(stratum.size)
    return order[np.argsort(stratum[order], kind="stable")]


def by_patient(patient: ArrayLike, *, fraction: float, seed: int, stratum: ArrayLike | None = None) -> Parts:
    """Draw a share of patients as the test part.

    Parameters
    ----------
    patient : str array, shape (n,)
    fraction : float
        Share of patients in the test part, in (0, 1).
    seed : int
    stratum : int array, shape (n,), optional
        Outcome of each row; a patient belongs to the stratum of its highest value.

    Returns
    -------
    dict of str to int array
        Row numbers of ``train`` and ``test``, each ascending.

    Raises
    ------
    DataError
        If there are too few patients for both parts.

    Examples
    --------
    >>> parts = by_patient(list("aabbccdd"), fraction=0.25, seed=1, stratum=[0, 0, 1, 1, 0, 0, 1, 1])
    >>> len(parts["train"]), len(parts["test"])
    (6, 2)
    """
    if not 0 < fraction < 1:
        raise StudyFileError(f"[split] test fraction = {fraction:g}", "a share between 0 and 1", "such as 0.25")
    codes, strata, count = _patients(patient, stratum)
    rng = np.random.default_rng(seed)
    order = _deal(strata, rng)
    # Systematic sampling along the dealt order: each stratum gives its share, to within one patient.
    steps = np.floor(np.arange(count + 1) * fraction + rng.random())
    test = np.zeros(count, dtype=bool)
    test[order] = np.diff(steps) > 0
    if not test.any() or test.all():
        raise DataError(
            f"{count} patients are too few to hold out {fraction:.0%}",
            "at least one patient in each part",
            "give more rows or another fraction",
        )
    return _rows(test[codes])


def _rows(test: NDArray[np.bool_]) -> Parts:
    return {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}


def by_time(patient: ArrayLike, *, time: ArrayLike, start: Any) -> Parts:
    """Hold out the patients whose first index date is on or after a day (temporal test).

    A patient with rows on both sides goes where its first row is. Its rows from that day on are in no part: in the
    test part they would be of a patient whom the model knows, and in the training part the future of those it is
    tested on.

    Parameters
    ----------
    patient : str array, shape (n,)
    time : datetime64 array, shape (n,)
    start : date
        First day of the test part.

    Raises
    ------
    DataError
        If a date is missing or one part is empty.

    Examples
    --------
    >>> parts = by_time(["a", "b", "a"], time=["2020-01-01", "2021-06-01", "2022-01-01"], start="2021-01-01")
    >>> parts["test"].tolist(), parts["train"].tolist()
    ([1], [0])
    """
    dates = np.asarray(time, dtype="datetime64[us]")
    lost = int(np.isnat(dates).sum())
    if lost:
        raise DataError(
            f"the time column is missing in {lost} rows", "a date in every row", "fill it in or exclude them"
        )
    codes, _, count = _patients(patient, None)
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, codes, dates.astype(np.int64))
    day = np.datetime64(start, "us")
    test = first >= day.astype(np.int64)
    if not test.any() or test.all():
        raise DataError(
            "one part of the split by time has no patients", "patients before and after the day", "choose another day"
        )
    later = test[codes]
    return {"train": np.flatnonzero(~later & (dates < day)), "test": np.flatnonzero(later)}


def by_site(patient: ArrayLike, *, site: ArrayLike, hold_out: Sequence[str]) -> Parts:
    """Hold out whole sites; patients seen at a held-out site leave the training part altogether.

    Parameters
    ----------
    patient, site : str arrays, shape (n,)
    hold_out : sequence of str

    Raises
    ------
    DataError
        If a site does not exist or a part would be empty.

    Examples
    --------
    >>> by_site(["1", "2", "2"], site=["A", "A", "B"], hold_out=["B"])["train"].tolist()
    [0]
    """
    sites = np.asarray(site, dtype=str)
    known = set(np.unique(sites).tolist())
    for name in hold_out:
        if name not in known:
            raise DataError(f"[split] hold_out names '{name}', and no row has that site", f"one of {len(known)} sites")
    held = np.isin(sites, list(hold_out))
    codes, _, count = _patients(patient, None)
    touched = np.zeros(count, dtype=bool)
    touched[codes[held]] = True
    train = np.flatnonzero(~touched[codes])
    if not train.size or not held.any():
        raise DataError("one part of the split by site is empty", "patients in both parts", "hold out other sites")
    return {"train": train, "test": np.flatnonzero(held)}


def by_column(patient: ArrayLike, *, labels: ArrayLike) -> Parts:
    """Use a column that already says ``train`` or ``test``.

    Disjointness is not assumed: `aimed.core.Split` proves it and raises where a patient stands in both.

    Parameters
    ----------
    patient : str array, shape (n,)
    labels : str array, shape (n,)
        ``train`` or ``test`` in any case; any other word leaves the row out.

    Examples
    --------
    >>> by_column(["a", "b"], labels=["Train", "test"])["test"].tolist()
    [1]
    """
    words = np.char.lower(np.char.strip(np.asarray(labels, dtype=str)))
    parts = {"train": np.flatnonzero(words == "train"), "test": np.flatnonzero(words == "test")}
    for name, rows in parts.items():
        if not rows.size:
            raise DataError(f"the split column has no row that says {name}", "the words train and test", "correct it")
    return parts


def grouped_folds(
    rows: ArrayLike, patient: ArrayLike, *, folds: int, seed: int, stratum: ArrayLike | None = None
) -> tuple[Fold, ...]:
    """Cut training rows into tuning folds by patient, with every stratum spread evenly.

    Parameters
    ----------
    rows : int array
        Training rows.
    patient : str array, shape (n,)
        Patient of every row of the cohort.
    folds : int
        At least 2.
    seed : int
    stratum : int array, shape (n,), optional

    Examples
    --------
    >>> [fold.tune.tolist() for fold in grouped_folds([0, 1, 2, 3], ["a", "a", "b", "b"], folds=2, seed=0)]
    [[0, 1], [2, 3]]
    """
    index = np.asarray(rows, dtype=np.int64)
    codes, strata, count = _patients(
        np.asarray(patient, dtype=str)[index], None if stratum is None else np.asarray(stratum)[index]
    )
    if count < folds or folds < 2:
        raise DataError(
            f"{count} training patients cannot make {folds} folds", "at least one patient a fold", "use fewer folds"
        )
    order = _deal(strata, np.random.default_rng(seed))
    fold_of = np.empty(count, dtype=np.int64)
    fold_of[order] = np.arange(count) % folds
    row_fold = fold_of[codes]
    return tuple(Fold(fit=index[row_fold != k], tune=index[row_fold == k]) for k in range(folds))
