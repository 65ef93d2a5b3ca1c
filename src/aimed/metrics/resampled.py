"""Estimates of several models over the same resamples, turned into measures and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core.evaluation import Measure
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray
from aimed.metrics.calibration_binary import distance_limits
from aimed.metrics.draws import PatientDraws, estimable_share, in_blocks, percentile_interval
from aimed.metrics.result import FEW_UNITS, checked_level, notes

__all__ = ["Counts", "Estimates", "Prepared", "Resampled", "numbers", "resample"]

_DISTANCES = ("ici", "e50", "e90")
"""Never negative and larger in resamples than in the sample."""

DISTANCE_NOTE = (
    "a distance cannot fall below 0 and resampling adds to it: the lower limit is twice the estimate less the upper "
    "one and less what resampling added, at least 0; the estimate itself is too high in small samples"
)

NO_SPREAD = 1e-12
"""Relative width below which resamples say the same."""

Estimates: TypeAlias = dict[str, FloatArray]
"""Name → estimate, as an array of any shape; NaN where it is not estimable."""

Counts: TypeAlias = NDArray[np.uint8]
"""How often each patient is drawn, shape (patients, b)."""


class Prepared(Protocol):
    """What the resampler asks of a model whose rows are sorted and prepared once."""

    def ranked(self, counts: Counts) -> Estimates:
        """Return estimates that hold the outcome fixed, from draws stratified by event; the draw is the first axis."""
        ...

    def frequent(self, counts: Counts) -> Estimates:
        """Return estimates that depend on how often the event happens, from draws of all patients."""
        ...

    def reason(self, name: str) -> str:
        """Return why an estimate is missing on all rows."""
        ...


_RANKS_EVENTS = frozenset({"auroc", "auprc"})
"""Measures that tell of events by their ranks."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """Point estimates and draws of several models; draws have the draw as first axis."""

    points: Mapping[str, Estimates]
    draws: Mapping[str, Estimates]
    notes: Mapping[str, Mapping[str, str]]
    level: float
    method: str
    patients: int

    def interval(self, key: str, name: str) -> tuple[FloatArray, FloatArray]:
        """Return percentile limits of one estimate of one model."""
        point = self.points[key][name]
        if name not in self.draws[key]:
            return np.full(point.shape, np.nan), np.full(point.shape, np.nan)
        lower, upper = percentile_interval(self.draws[key][name], self.level)
        flat = upper - lower <= NO_SPREAD * np.maximum(1.0, np.abs(point))
        return np.where(flat, np.nan, lower), np.where(flat, np.nan, upper)

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
            if not np.isfinite(low):
                lost = 100 * (1 - float(estimable_share(drawn)))
                note = f"no interval: not estimable in {lost:.0f} % of the resamples"
            elif high - low <= NO_SPREAD * max(1.0, abs(float(value))):
                note = "no interval: the same value in all resamples"
            elif events == 1 and name.partition("@")[0] in _RANKS_EVENTS:
                # Whatever is drawn, the same event is ranked: its spread says nothing of other events.
                note = "no interval: a single event"
            else:
                lower, upper = float(low), float(high)
                if name.partition("@")[0] in _DISTANCES:
                    lower, upper = distance_limits(float(value), drawn, self.level)
                    note = note or DISTANCE_NOTE
                if min(self.patients, events or self.patients) < FEW_UNITS:
                    note = notes(note, "few events or patients: the interval may be too short")
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
    models: Mapping[str, Prepared],
    patient: IntArray,
    event: BoolArray | None,
    *,
    draws: int,
    lowered: str,
    ranked: str,
    level: float,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> Resampled:
    """Estimate every model on all rows and on each resample of patients.

    Parameters
    ----------
    models : mapping of str to Prepared
        Each prepared with its rows' patients, numbered as in `patient`.
    patient : int array, shape (n,)
    event : bool array, shape (n,), or None
        Strata of the draws behind `Prepared.ranked`; None draws without strata.
    draws : int
    lowered : str
        What the sentence on the method says after the number of resamples, if it was lowered.
    ranked : str
        What that sentence calls the estimates of `Prepared.ranked`.
    level : float
    seed : int
        Of both sets of resamples.
    progress : callable, optional
        Called with the share done, from 0 to 1.
    """
    checked_level(level)
    by_event = PatientDraws(patient, patient.size, event, draws=draws, seed=[seed, 0])
    of_all = PatientDraws(patient, patient.size, draws=draws, seed=[seed, 1])
    once = np.ones((of_all.patients, 1), dtype=np.uint8)
    unit = "patients" if of_all.patients == patient.size else "patients with all their rows"
    method = f"percentile bootstrap of {unit}, {draws} resamples{lowered}"
    if by_event.stratified:
        method += f"; stratified by event for {ranked}, which hold the outcome fixed"

    def work(first: int, last: int) -> dict[str, Estimates]:
        ranked, frequent = by_event.counts(first, last), of_all.counts(first, last)
        return {key: model.ranked(ranked) | model.frequent(frequent) for key, model in models.items()}

    points, reasons = {}, {}
    for key, model in models.items():
        whole = model.ranked(once) | model.frequent(once)
        points[key] = {name: value[0] for name, value in whole.items()}
        lost = [name for name, value in points[key].items() if value.ndim == 0 and not np.isfinite(value)]
        reasons[key] = {name: model.reason(name) for name in lost}
    blocks = list(in_blocks(draws, work, of_all.threads, progress))
    drawn: dict[str, Estimates] = {key: {} for key in models}
    if blocks:
        drawn = {key: {name: np.concatenate([b[key][name] for b in blocks]) for name in points[key]} for key in models}
    return Resampled(points, drawn, reasons, level, method, of_all.patients)
