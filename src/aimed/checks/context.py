"""What a check may look at: the cohort, its split and what the study file says about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aimed.core.cohort import Cohort, Variable
from aimed.core.errors import DataError
from aimed.core.outcome import Binary, CompetingRisks, Multilabel, Survival
from aimed.core.split import Split

if TYPE_CHECKING:
    from aimed.checks.image_duplicates import ImageDuplicates
    from aimed.checks.image_rows import ImageSet
    from aimed.checks.treatment import Compared
    from aimed.checks.volume_sketches import VolumeScans, VolumeSketches

__all__ = ["Context", "Target"]

_PAIRS = 1_500


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
    raw_labels : float array, shape (n, k), optional
        Findings of the pictures as they stand in the table, -1 where uncertain and NaN where not known; the outcome
        when absent.
    imaging_study : array, shape (n,), optional
        Examination of each picture; a missing one belongs to none.
    shortcut_columns : tuple of str
        Columns, such as age and sex, from which no finding should be told.
    regions : mapping of str to ints
        Labels of each region that is outlined in the scans; each label is a region of its own when absent.
    compared : Compared, optional
        What the study file says of the treatment, in a study of effects.
    progress : callable, optional
        Called with the share of the pictures or scans that a check has looked at.

    Raises
    ------
    DataError
        If labels or examinations do not fit the cohort.

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
    raw_labels: NDArray[np.float64] | None = None
    imaging_study: NDArray[np.generic] | None = None
    shortcut_columns: tuple[str, ...] = ()
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    compared: Compared | None = None
    progress: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        n, outcome = self.cohort.n, self.cohort.outcome
        if self.raw_labels is not None:
            if not isinstance(outcome, Multilabel):
                raise DataError("raw labels of an outcome that is not several findings", "none", "leave them out")
            if np.shape(self.raw_labels) != outcome.values.shape:
                raise DataError(f"raw labels of shape {np.shape(self.raw_labels)}", f"{outcome.values.shape}")
        if self.imaging_study is not None and np.shape(self.imaging_study) != (n,):
            raise DataError(f"examinations of shape {np.shape(self.imaging_study)}", f"({n},), one a row")

    @property
    def images(self) -> ImageSet | None:
        """The pictures of the cohort, one a row; None for a cohort without."""
        found: ImageSet | None = self.cohort.assets.get("images")
        return found

    @cached_property
    def image_duplicates(self) -> ImageDuplicates:
        """Which pictures are there more than once; looked for once, for all checks.

        Raises
        ------
        DataError
            If the cohort has no pictures.
        """
        from aimed.checks.image_duplicates import find_image_duplicates

        if self.images is None:
            raise DataError("a cohort without pictures", "pictures", "read them")
        return find_image_duplicates(self.images, self.images.infos, at_most=_PAIRS, progress=self.counted())

    @property
    def volumes(self) -> VolumeScans | None:
        """The scans of the cohort, one a row; None for a cohort without."""
        found: VolumeScans | None = self.cohort.assets.get("volumes")
        return found

    @cached_property
    def volume_sketches(self) -> VolumeSketches:
        """Small pictures and figures of the scans; taken once, for all checks.

        Raises
        ------
        DataError
            If the cohort has no scans.
        """
        from aimed.checks.volume_sketches import sketch_volumes

        if self.volumes is None:
            raise DataError("a cohort without scans", "scans", "read them")
        return sketch_volumes(self.volumes, self.counted())

    def counted(self) -> Callable[[int, int], None] | None:
        """Return what hears pictures done and their total; None where nobody listens."""
        told = self.progress
        return None if told is None else lambda done, total: told(done / max(total, 1))

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
