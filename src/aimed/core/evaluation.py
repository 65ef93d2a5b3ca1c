"""A value with its interval, n and group, and the collections of them that a study reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aimed.core.errors import UnknownNameError

__all__ = ["Evaluation", "Measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One estimate with its interval and what it rests on.

    Parameters
    ----------
    name : str
        Such as ``"auroc"`` or ``"brier@365"`` (at a horizon).
    value, lower, upper : float or None
        Estimate and interval; None where it cannot be estimated.
    n, events : int
        Rows and events behind the estimate.
    level : float
        Coverage of the interval.
    method : str
        How the interval was made.
    group : str, optional
        ``"column=level"`` for a subgroup.
    against : str, optional
        Baseline from which this is the difference.
    note : str
        Why there is no value, or what to know about it.

    Examples
    --------
    >>> print(Measure(name="auroc", value=0.8312, lower=0.79, upper=0.8699, n=125, events=40))
    auroc 0.831 (0.790 to 0.870), n = 125, events = 40
    """

    name: str
    value: float | None
    lower: float | None = None
    upper: float | None = None
    n: int = 0
    events: int = 0
    level: float = 0.95
    method: str = ""
    group: str | None = None
    against: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "lower", "upper"):
            number = getattr(self, name)
            if number is not None:
                number = float(number)
                object.__setattr__(self, name, number if math.isfinite(number) else None)

    @property
    def known(self) -> bool:
        """True when there is an estimate and an interval."""
        return None not in (self.value, self.lower, self.upper)

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} not estimable{': ' + self.note if self.note else ''}"
        interval = "" if self.lower is None or self.upper is None else f" ({self.lower:.3f} to {self.upper:.3f})"
        return f"{self.name} {self.value:.3f}{interval}, n = {self.n}, events = {self.events}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Measure:
        """Rebuild a measure from `to_dict`."""
        return cls(**record)


class Evaluation(Iterable[Measure]):
    """The measures of one model on one part, overall, by group and against baselines.

    Parameters
    ----------
    measures : iterable of Measure

    Examples
    --------
    >>> e = Evaluation([Measure(name="auroc", value=0.8, n=90),
    ...                 Measure(name="auroc", value=0.7, n=40, group="sex=female"),
    ...                 Measure(name="auroc", value=0.3, n=90, against="prevalence")])
    >>> e.overall["auroc"].value, e.by_group("sex")["female"]["auroc"].n, e.against("prevalence")["auroc"].value
    (0.8, 40, 0.3)
    """

    def __init__(self, measures: Iterable[Measure]) -> None:
        self.measures = tuple(measures)

    def __iter__(self) -> Iterator[Measure]:
        return iter(self.measures)

    @property
    def overall(self) -> dict[str, Measure]:
        """The measures over all rows, by name."""
        return {m.name: m for m in self.measures if m.group is None and m.against is None}

    def by_group(self, column: str) -> dict[str, dict[str, Measure]]:
        """Return level → name → measure for one grouping column."""
        out: dict[str, dict[str, Measure]] = {}
        for m in self.measures:
            if m.group is not None and m.against is None and m.group.partition("=")[0] == column:
                out.setdefault(m.group.partition("=")[2], {})[m.name] = m
        if not out:
            columns = {m.group.partition("=")[0] for m in self.measures if m.group}
            raise UnknownNameError("subgroup column", column, columns)
        return out

    def against(self, baseline: str) -> dict[str, Measure]:
        """Return the differences model - baseline, by name."""
        out = {m.name: m for m in self.measures if m.against == baseline and m.group is None}
        if not out:
            raise UnknownNameError("baseline", baseline, {m.against for m in self.measures if m.against})
        return out

    def difference(self, column: str, name: str) -> float | None:
        """Return the largest gap of a measure between two levels of a column, without an interval."""
        values = [g[name].value for g in self.by_group(column).values() if name in g]
        known = [v for v in values if v is not None]
        return max(known) - min(known) if len(known) > 1 else None
