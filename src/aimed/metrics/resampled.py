"""Estimates of several models over the same resamples, turned into measures and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from aimed.core.errors import NotEstimableError
from aimed.core.evaluation import Measure
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray
from aimed.metrics.draws import bootstrap_weights, estimable_share, percentile_interval

__all__ = ["Estimates", "Kernel", "Resampled", "Sheet", "numbers", "resample"]

_DISTANCES = ("ici", "e50", "e90")
"""Never negative and larger in resamples than in the sample, so a percentile interval may miss the estimate."""

Estimates: TypeAlias = dict[str, FloatArray]
"""Name → estimate, as an array of any shape; NaN where it is not estimable."""


@dataclass(slots=True)
class Sheet:
    """Estimates under one set of weights, with the reason for each that is missing."""

    values: Estimates = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def put(self, names: str | tuple[str, ...], work: Callable[[], Any], shape: tuple[int, ...] = ()) -> None:
        """Store what `work` returns, one value a name; NaN of a shape and the reason where it is not estimable."""
        many = names if isinstance(names, tuple) else (names,)
        try:
            found = work()
            results = found if isinstance(names, tuple) else (found,)
        except NotEstimableError as error:
            results = tuple(np.full(shape, np.nan) for _ in many)
            self.notes.update(dict.fromkeys(many, error.got))
        self.values.update({n: np.asarray(r, dtype=np.float64) for n, r in zip(many, results, strict=True)})


class Kernel(Protocol):
    """What the resampler asks of a model whose rows are sorted and prepared once."""

    def ranked(self, weights: FloatArray) -> Sheet:
        """Return estimates that hold the outcome fixed, from draws stratified by event."""
        ...

    def frequent(self, weights: FloatArray) -> Sheet:
        """Return estimates that depend on how often the event happens, from draws of all patients."""
        ...


@dataclass(frozen=True, slots=True)
class Resampled:
    """Point estimates and draws of several models; draws have the draw as first axis."""

    points: Mapping[str, Estimates]
    draws: Mapping[str, Estimates]
    notes: Mapping[str, Mapping[str, str]]
    level: float
    method: str

    def interval(self, key: str, name: str) -> tuple[FloatArray, FloatArray]:
        """Return percentile limits of one estimate of one model."""
        point = self.points[key][name]
        if name not in self.draws[key]:
            return np.full(point.shape, np.nan), np.full(point.shape, np.nan)
        return percentile_interval(self.draws[key][name], self.level)

    def measure(
        self, key: str, name: str, n: int, events: int, index: int | None = None, **more: Any
    ) -> dict[str, Any]:
        """Return one estimate as a measure; `index` picks one of an array of estimates."""
        value = self.points[key][name]
        drawn = self.draws[key].get(name)
        return self._measure(name, value, drawn, self.notes[key].get(name, ""), n, events, index, **more)

    def difference(self, key: str, other: str, name: str, n: int, events: int, against: str) -> dict[str, Any]:
        """Return one model's estimate less another's, over the same resamples."""
        value = self.points[key][name] - self.points[other][name]
        drawn = None
        if name in self.draws[key] and name in self.draws[other]:
            drawn = self.draws[key][name] - self.draws[other][name]
        note = self.notes[key].get(name, "") or self.notes[other].get(name, "")
        return self._measure(name, value, drawn, note, n, events, None, against=against)

    def _measure(
        self,
        name: str,
        value: FloatArray,
        drawn: FloatArray | None,
        note: str,
        n: int,
        events: int,
        index: int | None,
        *,
        label: str | None = None,
        against: str | None = None,
        note_if_missing: str = "",
    ) -> dict[str, Any]:
        if index is not None:
            value, drawn = value[index], None if drawn is None else drawn[:, index]
        lower = upper = None
        known = bool(np.isfinite(value))
        if known and drawn is not None:
            low, high = percentile_interval(drawn, self.level)
            if np.isfinite(low):
                lower, upper = float(low), float(high)
                if name.partition("@")[0] in _DISTANCES and lower > value:
                    lower = float(value)
                    note = note or "resampling adds to a distance, so the lower limit was extended to the estimate"
            else:
                lost = 100 * (1 - float(estimable_share(drawn)))
                note = f"no interval: not estimable in {lost:.0f} % of the resamples"
        if not known:
            note = note or note_if_missing or "not estimable on these rows"
        return Measure(
            name=label or name,
            value=float(value) if known else None,
            lower=lower,
            upper=upper,
            n=n,
            events=events,
            level=self.level,
            method=self.method if lower is not None else "",
            against=against,
            note=note,
        ).to_dict()


def numbers(values: FloatArray) -> list[float | None]:
    """Return a list for JSON, None where a value is not finite.

    Examples
    --------
    >>> numbers(np.array([0.5, np.nan]))
    [0.5, None]
    """
    return [float(v) if np.isfinite(v) else None for v in values]


def resample(
    kernels: Mapping[str, tuple[Kernel, BoolArray | None]],
    patient: IntArray,
    event: BoolArray,
    *,
    draws: int,
    level: float,
    seed: int,
    method: str,
    progress: Callable[[float], None] | None = None,
) -> Resampled:
    """Estimate every model on all rows and on each resample of patients.

    Parameters
    ----------
    kernels : mapping of str to (Kernel, bool array or None)
        Each model with the rows it covers; None is all rows.
    patient : int array, shape (n,)
    event : bool array, shape (n,)
        Strata of the draws behind `Kernel.ranked`.
    draws, level, seed
        Number of resamples, coverage, and the seed of both sets of resamples.
    method : str
        Sentence for the measures.
    progress : callable, optional
        Called with the share done, from 0 to 1.
    """
    ones = np.ones(patient.size)

    def sheets(ranked: FloatArray, frequent: FloatArray) -> dict[str, Sheet]:
        out = {}
        for key, (kernel, covered) in kernels.items():
            a, b = (ranked, frequent) if covered is None else (ranked * covered, frequent * covered)
            first, second = kernel.ranked(a), kernel.frequent(b)
            out[key] = Sheet(first.values | second.values, first.notes | second.notes)
        return out

    whole = sheets(ones, ones)
    stacks = {k: {n: np.full((draws, *v.shape), np.nan) for n, v in s.values.items()} for k, s in whole.items()}
    pairs = zip(
        bootstrap_weights(patient, event, draws, [seed, 0]),
        bootstrap_weights(patient, None, draws, [seed, 1]),
        strict=True,
    )
    for i, (ranked, frequent) in enumerate(pairs):
        for key, sheet in sheets(ranked.astype(np.float64), frequent.astype(np.float64)).items():
            for name, value in sheet.values.items():
                stacks[key][name][i] = value
        if progress is not None:
            progress((i + 1) / draws)
    return Resampled(
        {k: s.values for k, s in whole.items()},
        stacks if draws else {k: {} for k in whole},
        {k: s.notes for k, s in whole.items()},
        level,
        method,
    )
