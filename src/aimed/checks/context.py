"""What a check may look at: the cohort, its split and what the study file says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from aimed.core.cohort import Cohort, Variable
from aimed.core.outcome import Binary, CompetingRisks, Multilabel, Survival
from aimed.core.split import Split

__all__ = ["Context", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """One yes/no question of an outcome: whether, and for time-to-event when, the event was seen.

    Parameters
    ----------
    name : str
        Label of the outcome.
    rows : int array, shape (m,)
        Rows of the cohort where the answer is known.
    event : bool array, shape (m,)
        True where the event was seen.
    time : float array, shape (m,), optional
        Time to event or censoring; None without follow-up.
    """

    name: str
    rows: NDArray[np.int64]
    event: NDArray[np.bool_]
    time: NDArray[np.float64] | None = None

    @property
    def n(self) -> int:
        """Number of rows with a known answer."""
        return int(self.rows.size)

    @property
    def events(self) -> int:
        """Number of rows with the event."""
        return int(self.event.sum())

    def within(self, rows: NDArray[np.int64]) -> Target:
        """Return the target on those of its rows that are in `rows`."""
        keep = np.isin(self.rows, rows, assume_unique=False)
        return Target(self.name, self.rows[keep], self.event[keep], None if self.time is None else self.time[keep])


@dataclass(frozen=True)
class Context:
    """Everything a check may look at; frozen, so that no check changes what the next one sees.

    Parameters
    ----------
    cohort : Cohort
    split : Split, optional
        With it, whatever relates predictors to the outcome is looked up in ``train`` only, so that checking does
        not open the test part.
    subgroups : tuple of str
        Columns whose levels are compared.
    parameters : int, optional
        Candidate parameters of the largest model; counted from the predictors when absent.
    horizons : tuple of float
        Horizons of a time-to-event study, in the unit of the outcome.
    allow : frozenset of str
        Predictors that the author looked at and keeps in spite of the leakage check; what it sees becomes a NOTE.
    time_columns : mapping of str to str
        Predictor → date column that says when it was measured.
    measured_before_index : bool
        The author states that every predictor was known at the index time; a telling name is then a NOTE only.

    Examples
    --------
    >>> cohort = Cohort(patient=["a", "b", "c"], variables=[Variable(name="age")], columns={"age": [60, 70, 80]},
    ...                 outcome=Binary(values=[0, 1, 1]))
    >>> context = Context(cohort)
    >>> context.rows.tolist(), context.targets[0].events, context.n_parameters
    ([0, 1, 2], 2, 1)
    """

    cohort: Cohort
    split: Split | None = None
    subgroups: tuple[str, ...] = ()
    parameters: int | None = None
    horizons: tuple[float, ...] = ()
    allow: frozenset[str] = frozenset()
    time_columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    measured_before_index: bool = False

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows on which predictors may be related to the outcome: ``train``, or all rows without a split."""
        return np.sort(self.parts["train"]) if "train" in self.parts else np.arange(self.cohort.n)

    @cached_property
    def patient_codes(self) -> NDArray[np.int64]:
        """Patient of each row as a number from 0, shape (n,)."""
        return np.asarray(np.unique(self.cohort.patient, return_inverse=True)[1], dtype=np.int64)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The yes/no questions of the outcome on all rows; empty for a continuous outcome or none."""
        outcome, every = self.cohort.outcome, np.arange(self.cohort.n)
        if isinstance(outcome, Binary):
            return (Target(outcome.label, every, outcome.values == 1),)
        if isinstance(outcome, Survival):
            return (Target(outcome.label, every, outcome.event, outcome.time),)
        if isinstance(outcome, CompetingRisks):
            return (Target(outcome.labels[0], every, outcome.cause == 1, outcome.time),)
        if isinstance(outcome, Multilabel):
            known = ~np.isnan(outcome.values)
            return tuple(
                Target(name, np.flatnonzero(known[:, j]), outcome.values[known[:, j], j] == 1)
                for j, name in enumerate(outcome.targets)
            )
        return ()

    @cached_property
    def train_targets(self) -> tuple[Target, ...]:
        """The targets on `rows`."""
        return self.targets if "train" not in self.parts else tuple(t.within(self.rows) for t in self.targets)

    @property
    def parts(self) -> Mapping[str, NDArray[np.int64]]:
        """Rows of each part; empty without a split."""
        return {} if self.split is None else self.split.parts

    @property
    def n_parameters(self) -> int:
        """Candidate parameters: as stated, or one a number and one less than its levels a category."""
        if self.parameters is not None:
            return self.parameters

        def count(variable: Variable) -> int:
            return max(len(variable.categories) - 1, 1) if variable.kind == "category" else 1

        return sum(count(v) for v in self.cohort.predictors if v.kind in ("number", "category"))
