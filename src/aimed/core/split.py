"""Disjoint parts of a cohort, drawn by patient, time or site, with the proof that no patient is in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import DataError

__all__ = ["Fold", "Split"]


@dataclass(frozen=True, slots=True)
class Fold:
    """One tuning fold: rows to fit on and rows to judge on."""

    fit: NDArray[np.int64]
    tune: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows train, tune and test a model.

    Parameters
    ----------
    parts : mapping of str to int array
        Row numbers of ``train``, ``test`` and, if there is one, ``external``. Tuning rows are folds of
        ``train``.
    folds : sequence of Fold
        Tuning folds inside ``train``.
    by : str
        What the test part was drawn by: ``patient``, ``time`` or ``site``.
    patient : str array, shape (n,)
        Patient of each row of the cohort, used for the proof.

    Raises
    ------
    DataError
        If a row or a patient stands in two parts, or on both sides of a fold.

    Examples
    --------
    >>> Split(parts={"train": [0, 1], "test": [2]}, by="patient", patient=["a", "b", "a"])
    Traceback (most recent call last):
        ...
    aimed.core.errors.DataError: 1 of 2 patients stand in both train and test; expected every patient in one \
part only; split by patient
    """

    parts: Mapping[str, NDArray[np.int64]]
    by: str
    patient: NDArray[Any]
    folds: Sequence[Fold] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "parts", MappingProxyType({k: np.asarray(v, dtype=np.int64) for k, v in self.parts.items()}))
        put(self, "patient", np.asarray(self.patient, dtype=str))
        put(self, "folds", tuple(self.folds))
        codes = np.unique(self.patient, return_inverse=True)[1]
        n_patients = int(codes.max()) + 1 if codes.size else 0
        for (a, rows_a), (b, rows_b) in combinations(self.parts.items(), 2):
            self._disjoint(codes, rows_a, rows_b, f"{a} and {b}", n_patients)
        for i, fold in enumerate(self.folds, 1):
            self._disjoint(codes, fold.fit, fold.tune, f"the fit and tune sides of fold {i}", n_patients)
            if not np.isin(np.r_[fold.fit, fold.tune], self.parts["train"]).all():
                raise DataError(f"fold {i} has rows outside train", "tuning folds inside train only")

    @staticmethod
    def _disjoint(
        codes: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], names: str, n_patients: int
    ) -> None:
        # Unique codes make this one sort a part; set intersection of strings would take minutes at a million rows.
        both = np.intersect1d(np.unique(codes[a]), np.unique(codes[b]), assume_unique=True).size
        if both:
            raise DataError(
                f"{both} of {n_patients} patients stand in both {names}",
                "every patient in one part only",
                "split by patient",
            )

    def proof(self) -> dict[str, Any]:
        """Return the counts that show disjointness: rows and patients a part, patients shared by two parts."""
        patients = {name: np.unique(self.patient[rows]) for name, rows in self.parts.items()}
        return {
            "rows": {name: int(rows.size) for name, rows in self.parts.items()},
            "patients": {name: int(ids.size) for name, ids in patients.items()},
            "shared_patients": {
                f"{a}+{b}": int(np.intersect1d(patients[a], patients[b], assume_unique=True).size)
                for a, b in combinations(patients, 2)
            },
            "folds": len(self.folds),
        }
