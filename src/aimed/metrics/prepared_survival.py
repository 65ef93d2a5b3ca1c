"""One survival model made ready for resampling: rows sorted once, all estimates from counts of patients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import NotEstimableError
from aimed.metrics.accuracy import risk_groups
from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.calibration_binary import reading_grid
from aimed.metrics.calibration_survival import (
    CurveAtReplicates,
    HorizonCalibration,
    SlopeAtReplicates,
    calibration_slope_at,
    ici_at,
    oe_at,
)
from aimed.metrics.concordance import HarrellReplicates, UnoReplicates, harrell_c, uno_c
from aimed.metrics.kernels.evaluation import survival_by_group, value_sums
from aimed.metrics.nonparametric import survival_at
from aimed.metrics.resampled import Counts, Estimates
from aimed.metrics.survival_accuracy import (
    BrierReplicates,
    DynamicAucReplicates,
    brier_survival,
    dynamic_auc,
    integrated_brier,
    scaled_brier_survival,
)
from aimed.metrics.thresholds import rates
from aimed.metrics.utility import benefit_at, treat_all

__all__ = [
    "AT_HORIZON",
    "DECISION_GRID_AT",
    "OVERALL",
    "OVERALL_COMPETING",
    "PreparedSurvival",
    "Ranked",
    "Recalibration",
    "SurvivalClock",
    "at",
    "expected_counts",
]

OVERALL = ("harrell_c", "uno_c", "ibs")
"""Measures without a horizon."""

OVERALL_COMPETING = ("cause_specific_c", "ibs")
"""Measures without a horizon, where other events compete."""

AT_HORIZON = ("auc", "brier", "scaled_brier", "oe", "calibration_slope", "ici", "e50", "e90", "net_benefit")
"""Measures at each horizon, named with it: ``auc@365``."""

DECISION_GRID_AT: FloatArray = np.arange(1, 50) / 50
"""Thresholds of a decision curve at a horizon."""

_SMOOTH = ("ici", "e50", "e90")


def at(name: str, horizon: float) -> str:
    """Return the name of a measure at a horizon.

    Examples
    --------
    >>> at("auc", 365.0)
    'auc@365'
    """
    return f"{name}@{horizon:g}"


class Ranked(Protocol):
    """A concordance of resamples."""

    def replicate(self, counts: Counts) -> FloatArray:
        """Return the concordance of each replicate, shape (b,)."""
        ...


class Recalibration(Protocol):
    """The regressions of calibration at a horizon in resamples."""

    def replicate(self, counts: Counts) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the slope, shape (b,), ICI, E50 and E90, shape (b, 3), and the curve at the grid, shape (b, g)."""
        ...


class SurvivalClock:
    """Kaplan-Meier survival at one horizon by group, in blocks of resamples; rows are sorted by time."""

    def __init__(self, event: NDArray[Any], time: FloatArray, codes: IntArray, horizon: float) -> None:
        self._within = int(np.searchsorted(time, horizon, side="right"))
        self._reached = int(np.searchsorted(time, horizon, side="left"))
        self._rows = event, np.r_[time[1:] != time[:-1], True], codes

    def by_group(
        self, group: IntArray, groups: int, counts: Counts
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the share free of the event alone, above and below, and the share above, shape (b, groups)."""
        event, last, codes = self._rows
        kind = np.ascontiguousarray(group, dtype=np.int32)
        return survival_by_group(kind, event, last, codes, self._within, self._reached, groups, counts)


class _CoxRecalibration:
    """Cox models on the cloglog of the risk, those of them that are asked for."""

    def __init__(self, slope: SlopeAtReplicates | None, smooth: CurveAtReplicates | None, grid: FloatArray) -> None:
        self._slope, self._smooth, self._grid = slope, smooth, grid

    def replicate(self, counts: Counts) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the slope, ICI, E50 and E90, and the curve at the grid; NaN for what is not asked for."""
        b = counts.shape[1]
        slope = np.full(b, np.nan) if self._slope is None else self._slope.replicate(counts)
        if self._smooth is None:
            return slope, np.full((b, 3), np.nan), np.full((b, self._grid.size), np.nan)
        return slope, *self._smooth.errors_and_curve(counts, self._grid)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one horizon needs, prepared once."""

    horizon: float
    risk: FloatArray
    clock: SurvivalClock
    fits: Recalibration | None
    cuts: FloatArray
    cut_group: IntArray
    grid: FloatArray
    bins: IntArray | None


class PreparedSurvival:
    """All estimates of one survival model in blocks of resamples.

    Parameters
    ----------
    event, time : arrays, shape (n,)
        Sorted by time; rows with a prediction.
    codes : int array, shape (n,)
        Place of each row's patient in the counts.
    score : float array, shape (n,)
    risk : float array, shape (n, h)
        Risks at the horizons.
    horizons : sequence of float
    curves : float array, shape (t, n)
        Predicted survival on the evaluation grid.
    times : float array, shape (t,)
    tau : float
    thresholds : float array, shape (k,), rising
    chosen : float or None
    names : collection of str
    full : bool
        Also estimate curves and the threshold table.

    Examples
    --------
    >>> model = PreparedSurvival(np.array([True, False]), np.array([1.0, 2.0]), np.arange(2), np.array([0.9, 0.1]),
    ...                          np.array([[0.9], [0.1]]), [1.5], np.empty((0, 2)), np.empty(0), 1.5,
    ...                          np.array([0.5]), 0.5, ["harrell_c"], False)
    >>> model.ranked(np.ones((2, 1), dtype=np.uint8))["harrell_c"]
    array([1.])
    """

    def __init__(
        self,
        event: NDArray[Any],
        time: FloatArray,
        codes: IntArray,
        score: FloatArray,
        risk: FloatArray,
        horizons: Sequence[float],
        curves: FloatArray,
        times: FloatArray,
        tau: float,
        thresholds: FloatArray,
        chosen: float | None,
        names: Collection[str],
        full: bool,
    ) -> None:
        self.event, self.time, self.times, self.tau = event, time, times, tau
        self._codes, self._score, self._curves = codes, score, curves
        self.names, self.full, self.thresholds, self.chosen = frozenset(names), full, thresholds, chosen
        self._horizons: FloatArray = np.asarray(horizons, dtype=np.float64)
        self._ranked = self._concordances()
        self._auc = DynamicAucReplicates(event, time, risk, self._horizons, codes=codes) if self._any("auc") else None
        wants_brier = self._any("brier") or self._any("scaled_brier")
        self._brier = self._brier_of(1 - risk, self._horizons) if wants_brier else None
        # The Brier score of a constant curve S is a quadratic in S, known from the curves 0 and 1.
        flat = np.zeros(risk.shape)
        self._ends = tuple(
            self._brier_of(flat + end, self._horizons) for end in (0.0, 1.0) if self._any("scaled_brier")
        )
        self._auc_over = self._brier_over = None
        if times.size and full:
            self._auc_over = DynamicAucReplicates(event, time, 1 - curves.T, times, codes=codes)
        if times.size and (full or "ibs" in self.names):
            self._brier_over = self._brier_of(curves.T, times)
        self._plans = [self._plan(h, risk[:, j]) for j, h in enumerate(horizons)]
        self._risk: FloatArray = np.column_stack([np.ones(time.size), risk])

    def _asks(self, name: str, horizon: float) -> bool:
        return at(name, horizon) in self.names

    def _any(self, name: str) -> bool:
        return any(self._asks(name, h) for h in self._horizons)

    def _concordances(self) -> dict[str, Ranked]:
        """Return the concordances asked for."""
        rows, codes = (self.event, self.time, self._score), self._codes
        made: dict[str, Callable[[], Ranked]] = {
            "harrell_c": lambda: HarrellReplicates(*rows, codes=codes),
            "uno_c": lambda: UnoReplicates(*rows, self.tau, codes=codes),
        }
        return {name: make() for name, make in made.items() if name in self.names}

    def _brier_of(self, survival: FloatArray, times: FloatArray) -> BrierReplicates:
        return BrierReplicates(self.event, self.time, survival, times, codes=self._codes)

    def _clock(self, h: float) -> SurvivalClock:
        return SurvivalClock(self.event, self.time, self._codes, h)

    def _fits(self, h: float, risk: FloatArray, grid: FloatArray, slope: bool, smooth: bool) -> Recalibration:
        """Return the regressions of calibration at a horizon."""
        once = np.ones(risk.size)
        return _CoxRecalibration(
            SlopeAtReplicates(self.event, self.time, risk, once, self._codes) if slope else None,
            CurveAtReplicates(HorizonCalibration(self.event, self.time, risk, h, once), once, self._codes)
            if smooth
            else None,
            grid,
        )

    def _free(self, t: float) -> float:
        """Return the share free of the event at a time.

        Raises
        ------
        NotEstimableError
            If nobody is followed to it.
        """
        return survival_at(self.event, self.time, t)

    def _plan(self, h: float, risk: FloatArray) -> _Plan:
        slope = self._asks("calibration_slope", h)
        smooth = self.full or any(self._asks(name, h) for name in _SMOOTH)
        grid = reading_grid(risk)
        chosen = np.array([] if self.chosen is None else [self.chosen])
        cuts = np.unique(np.r_[self.thresholds, DECISION_GRID_AT, chosen]) if self.full else chosen
        return _Plan(
            horizon=h,
            risk=risk,
            clock=self._clock(h),
            fits=self._fits(h, risk, grid, slope, smooth) if slope or smooth else None,
            cuts=cuts,
            cut_group=np.searchsorted(cuts, risk, side="right"),
            grid=grid,
            bins=risk_groups(risk, 10 if risk.size >= 200 else 5) if self.full else None,
        )

    def horizon(self, j: int) -> float:
        """Return horizon j."""
        return self._plans[j].horizon

    def grid(self, j: int) -> FloatArray:
        """Return the predicted risks at which the calibration curve of horizon j is read."""
        return self._plans[j].grid

    def ranked(self, counts: Counts) -> Estimates:
        """Return the concordances, the AUC at the horizons and over time."""
        out: Estimates = {name: found.replicate(counts) for name, found in self._ranked.items()}
        if self._auc is not None:
            found = self._auc.replicate(counts)
            out |= {at("auc", h): found[:, j] for j, h in enumerate(self._horizons) if self._asks("auc", h)}
        if self.full:
            over = self._auc_over
            out["auc_over_time"] = np.empty((counts.shape[1], 0)) if over is None else over.replicate(counts)
        return out

    def frequent(self, counts: Counts) -> Estimates:
        """Return Brier scores, calibration and net benefit at the horizons, and the integrated Brier score."""
        out: Estimates = {}
        b = counts.shape[1]
        over = np.empty((b, 0)) if self._brier_over is None else self._brier_over.replicate(counts)
        if self.full:
            out["brier_over_time"] = over
        if "ibs" in self.names:
            out["ibs"] = np.full(b, np.nan)
            if self.times.size >= 2:
                out["ibs"][:] = np.trapezoid(over, self.times, axis=1) / np.ptp(self.times)
        sums = value_sums(self._risk, self._codes, counts)
        alive = np.column_stack(
            [p.clock.by_group(np.zeros(self.time.size, np.int64), 1, counts)[0][:, 0] for p in self._plans]
        )
        brier = None if self._brier is None else self._brier.replicate(counts)
        null: FloatArray | None = None
        if self._ends:
            zero, one = (end.replicate(counts) for end in self._ends)
            null = alive**2 * one + (1 - alive) ** 2 * zero
        for j, plan in enumerate(self._plans):
            h = plan.horizon
            if brier is not None and self._asks("brier", h):
                out[at("brier", h)] = np.where(np.isnan(alive[:, j]), np.nan, brier[:, j])
            if brier is not None and null is not None and self._asks("scaled_brier", h):
                ratio = np.divide(brier[:, j], null[:, j], out=np.full(b, np.nan), where=null[:, j] > 0)
                out[at("scaled_brier", h)] = 1 - ratio
            if self._asks("oe", h):
                expected = sums[1 + j]
                out[at("oe", h)] = np.divide(
                    (1 - alive[:, j]) * sums[0], expected, out=np.full(b, np.nan), where=expected > 0
                )
            self._regressions(out, plan, counts)
            self._benefits(out, plan, counts)
            if plan.bins is not None:
                out[at("bins", h)] = 1 - plan.clock.by_group(plan.bins, int(plan.bins.max()) + 1, counts)[0]
        return out

    def _regressions(self, out: Estimates, plan: _Plan, counts: Counts) -> None:
        """The regressions of calibration."""
        h = plan.horizon
        if plan.fits is None:
            return
        slope, errors, curve = plan.fits.replicate(counts)
        if self._asks("calibration_slope", h):
            out[at("calibration_slope", h)] = slope
        out |= {at(name, h): errors[:, k] for k, name in enumerate(_SMOOTH) if self._asks(name, h)}
        if self.full:
            out[at("calibration", h)] = curve

    def _benefits(self, out: Estimates, plan: _Plan, counts: Counts) -> None:
        h, name, b = plan.horizon, at("net_benefit", plan.horizon), counts.shape[1]
        if plan.cuts.size == 0 or not (self.full or self._asks("net_benefit", h)):
            if self._asks("net_benefit", h):
                out[name] = np.full(b, np.nan)
            return
        _, above, below, share = (v[:, 1:] for v in plan.clock.by_group(plan.cut_group, plan.cuts.size + 1, counts))
        gain = benefit_at(share, above, plan.cuts)
        if self._asks("net_benefit", h):
            chosen = None if self.chosen is None else np.searchsorted(plan.cuts, self.chosen)
            out[name] = np.full(b, np.nan) if chosen is None else gain[:, chosen]
        if self.full:
            out[at("decision", h)] = gain[:, np.searchsorted(plan.cuts, DECISION_GRID_AT)]
            mine = np.searchsorted(plan.cuts, self.thresholds)
            out[at("net_benefits", h)] = gain[:, mine]
            cells = expected_counts(share[:, mine], above[:, mine], below[:, mine])
            found = rates(cells["tp"], cells["fp"], cells["fn"], cells["tn"])
            out |= {at(k, h): v for k, v in (found | cells).items()}

    def decision(self, j: int) -> FloatArray:
        """Return net benefit over the grid of thresholds at horizon j, on all rows."""
        plan = self._plans[j]
        group = np.searchsorted(DECISION_GRID_AT, plan.risk, side="right")
        once = np.ones((int(self._codes.max()) + 1, 1), dtype=np.uint8)
        _, above, _, share = (v[0, 1:] for v in plan.clock.by_group(group, DECISION_GRID_AT.size + 1, once))
        return benefit_at(share, above, DECISION_GRID_AT)

    def treat_all(self, j: int) -> FloatArray:
        """Return the net benefit of treating everybody at horizon j; NaN where it cannot be known."""
        try:
            alive = self._free(self._plans[j].horizon)
        except NotEstimableError:
            alive = np.nan
        return treat_all(1 - alive, DECISION_GRID_AT)

    def null_over_time(self) -> FloatArray:
        """Return the Brier score of the same rows' share free of the event on the evaluation grid."""
        out = np.full(self.times.size, np.nan)
        for j, t in enumerate(self.times):
            try:
                alive = np.full((self.time.size, 1), self._free(float(t)))
                out[j] = float(self._brier_on_all(alive, float(t)))
            except NotEstimableError:
                continue
        return out

    def _brier_on_all(self, survival: FloatArray, t: float) -> Any:
        return brier_survival(self.event, self.time, survival, [t])

    def _metrics(self) -> dict[str, Callable[[], Any]]:
        """Return the metrics without a horizon, to be asked why they have no value."""
        e, t = self.event, self.time
        return {
            "harrell_c": lambda: harrell_c(e, t, self._score),
            "uno_c": lambda: uno_c(e, t, self._score, self.tau),
            "ibs": lambda: integrated_brier(e, t, self._curves.T, self.times),
        }

    def _metrics_at(self, h: float, p: FloatArray) -> dict[str, Callable[[], Any]]:
        """Return the metrics at a horizon, to be asked why they have no value."""
        e, t = self.event, self.time
        return {
            "auc": lambda: dynamic_auc(e, t, p, [h]),
            "brier": lambda: brier_survival(e, t, 1 - p[:, None], [h]),
            "scaled_brier": lambda: scaled_brier_survival(e, t, 1 - p[:, None], [h]),
            "oe": lambda: oe_at(e, t, p, h),
            "calibration_slope": lambda: calibration_slope_at(e, t, p),
            **dict.fromkeys(_SMOOTH, lambda: ici_at(e, t, p, h, draws=0)),
        }

    def reason(self, name: str) -> str:
        """Return why an estimate is missing on all rows, in the words of the metric itself."""
        base, _, horizon = name.partition("@")
        plan = next((p for p in self._plans if f"{p.horizon:g}" == horizon), None)
        work = self._metrics()
        if plan is not None:
            work |= self._metrics_at(plan.horizon, plan.risk)
        if base == "net_benefit":
            return (
                "no decision threshold was given"
                if self.chosen is None
                else "nobody above the threshold is followed to the horizon"
            )
        if base == "ibs" and self.times.size < 2:
            return "the Brier score is not known at 2 or more times"
        if base not in work:
            return ""
        try:
            found = work[base]()
        except NotEstimableError as error:
            return error.got
        return "" if np.isfinite(float(found)) else getattr(found, "note", "")


def expected_counts(share: FloatArray, above: FloatArray, below: FloatArray) -> dict[str, FloatArray]:
    """Return shares of true and false positives and negatives from survival above and below each threshold.

    Examples
    --------
    >>> {k: v.tolist() for k, v in expected_counts(np.array([0.5]), np.array([0.5]), np.array([1.0])).items()}
    {'tp': [0.25], 'fp': [0.25], 'fn': [0.0], 'tn': [0.5]}
    """
    high = np.where(share > 0, above, 0.0)
    low = np.where(share < 1, below, 0.0)
    rest = 1 - share
    return {"tp": share * (1 - high), "fp": share * high, "fn": rest * (1 - low), "tn": rest * low}
