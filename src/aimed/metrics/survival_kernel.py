"""One survival model made ready for resampling: rows sorted once, all estimates from row weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray
from aimed.metrics.binary import rates
from aimed.metrics.calibration_binary import CalibrationErrors, reading_grid, risk_groups
from aimed.metrics.calibration_survival import HorizonCalibration
from aimed.metrics.nonparametric import GroupedSurvival, Timeline
from aimed.metrics.ranking import Ranking
from aimed.metrics.regression import CoxRegression, cloglog
from aimed.metrics.resampled import Sheet
from aimed.metrics.survival import PairOrder, area_at, case_weights, integrate, ratio_of_pairs, uno_factor
from aimed.metrics.utility import benefit_at, threshold_groups, treat_all

__all__ = ["AT_HORIZON", "DECISION_GRID_AT", "OVERALL", "Rows", "SurvivalKernel", "at"]

OVERALL = ("harrell_c", "uno_c", "ibs")
"""Measures without a horizon."""

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


class Rows:
    """The outcome all models share, sorted by time, with the censoring curve of the weights in hand.

    Parameters
    ----------
    event, time : arrays, shape (n,)
        Sorted by time.

    Examples
    --------
    >>> rows = Rows(np.array([True, False]), np.array([1.0, 2.0]))
    >>> rows.left(np.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, event: BoolArray, time: FloatArray) -> None:
        self.event, self.time, self.line = event, time, Timeline(event, time)
        self._weights: FloatArray | None = None
        self._g = self._left = np.empty(0)

    def _refresh(self, weights: FloatArray) -> None:
        # Models share their weights, so G is worked out once a draw and not once a model.
        if self._weights is not weights:
            self._g = self.line.censoring(weights)
            self._left, self._weights = self.line.left(self._g), weights

    def left(self, weights: FloatArray) -> FloatArray:
        """Return G(T-) of each row."""
        self._refresh(weights)
        return self._left

    def censoring_at(self, weights: FloatArray, times: FloatArray) -> FloatArray:
        """Return G at times."""
        self._refresh(weights)
        return self.line.read(self._g, times)

    def survival_at(self, weights: FloatArray, horizon: float) -> float:
        """Return Kaplan-Meier survival at a horizon."""
        alive = float(self.line.read(self.line.survival(weights), np.array([horizon]))[0])
        if alive > 0 and not (weights * (self.time >= horizon)).any():
            raise NotEstimableError("no row is followed to the horizon", "a horizon inside the follow-up")
        return alive


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one horizon needs, prepared once."""

    horizon: float
    risk: FloatArray
    ranking: Ranking | None
    slope: CoxRegression | None
    smooth: HorizonCalibration | None
    benefit: GroupedSurvival | None
    cuts: FloatArray
    grid: FloatArray
    bins: GroupedSurvival | None


class SurvivalKernel:
    """All estimates of one survival model under changing weights.

    Parameters
    ----------
    rows : Rows
    score : float array, shape (n,)
    risk : float array, shape (n, h)
        Risks at the horizons.
    horizons : sequence of float
    curves : float array, shape (t, n)
        Predicted survival on the evaluation grid.
    times : float array, shape (t,)
    covered : float array, shape (n,)
        1 for rows with a prediction, else 0.
    tau : float
    thresholds : float array, shape (k,)
    chosen : float or None
    names : collection of str
    full : bool
        Also estimate curves and the threshold table.

    Examples
    --------
    >>> rows = Rows(np.array([True, False]), np.array([1.0, 2.0]))
    >>> kernel = SurvivalKernel(rows, np.array([0.9, 0.1]), np.array([[0.9], [0.1]]), [1.5], np.empty((0, 2)),
    ...                         np.empty(0), np.ones(2), 1.5, np.array([0.5]), 0.5, ["harrell_c"], False)
    >>> kernel.ranked(np.ones(2)).values["harrell_c"].item()
    1.0
    """

    def __init__(
        self,
        rows: Rows,
        score: FloatArray,
        risk: FloatArray,
        horizons: Sequence[float],
        curves: FloatArray,
        times: FloatArray,
        covered: FloatArray,
        tau: float,
        thresholds: FloatArray,
        chosen: float | None,
        names: Collection[str],
        full: bool,
    ) -> None:
        self.rows, self.times, self.tau = rows, times, tau
        self.names, self.full, self.thresholds, self.chosen = frozenset(names), full, thresholds, chosen
        wanted = {"harrell_c", "uno_c"} & self.names
        self._pairs = PairOrder(rows.event, rows.time, score) if wanted else None
        self._places = np.searchsorted(rows.time, times, side="right")
        need_curves = full or "ibs" in self.names
        self._square: FloatArray = np.empty((0, 0))
        self._rankings: list[Ranking] = []
        if need_curves:
            self._square = np.empty((times.size, rows.time.size))
            for j, place in enumerate(self._places):
                self._square[j, :place] = curves[j, :place] ** 2
                self._square[j, place:] = (1 - curves[j, place:]) ** 2
        if full:
            self._rankings = [Ranking(1 - curve) for curve in curves]
        self._plans = [self._plan(h, risk[:, j], covered) for j, h in enumerate(horizons)]
        self._slopes: dict[float, FloatArray] = {}

    def _asks(self, name: str, horizon: float) -> bool:
        return at(name, horizon) in self.names

    def _plan(self, h: float, risk: FloatArray, covered: FloatArray) -> _Plan:
        rows, seen = self.rows, risk[covered > 0]
        slope: CoxRegression | None = None
        if self._asks("calibration_slope", h):
            x = cloglog(risk)
            if np.ptp(x[covered > 0]) >= 1e-12:
                slope = CoxRegression(rows.event, rows.time, x[:, None])
        chosen = np.array([] if self.chosen is None else [self.chosen])
        cuts = np.unique(np.r_[self.thresholds, DECISION_GRID_AT, chosen]) if self.full else chosen
        smooth = self.full or any(self._asks(name, h) for name in _SMOOTH)
        want_benefit = cuts.size and (self.full or self._asks("net_benefit", h))
        code = risk_groups(risk, 10 if seen.size >= 200 else 5)
        return _Plan(
            horizon=h,
            risk=risk,
            ranking=Ranking(risk) if self._asks("auc", h) else None,
            slope=slope,
            smooth=HorizonCalibration(rows.event, rows.time, risk, h, covered) if smooth else None,
            benefit=threshold_groups(rows.event, rows.time, risk, h, cuts) if want_benefit else None,
            cuts=cuts,
            grid=reading_grid(seen),
            bins=GroupedSurvival(rows.event, rows.time, h, code, int(code.max()) + 1) if self.full else None,
        )

    def horizon(self, j: int) -> float:
        """Return horizon j."""
        return self._plans[j].horizon

    def grid(self, j: int) -> FloatArray:
        """Return the predicted risks at which the calibration curve of horizon j is read."""
        return self._plans[j].grid

    def ranked(self, weights: FloatArray) -> Sheet:
        """Return Harrell's and Uno's C, the AUC at the horizons and over time."""
        sheet, rows = Sheet(), self.rows
        left = rows.left(weights)
        if self._pairs is not None:
            pairs = self._pairs
            right, usable = pairs.sums(weights)
            own = pairs.event_weights(weights)
            if "harrell_c" in self.names:
                sheet.put("harrell_c", lambda: ratio_of_pairs(right, usable, own))
            if "uno_c" in self.names:
                factor = uno_factor(left[pairs.rows], rows.time[pairs.rows], self.tau)
                sheet.put("uno_c", lambda: ratio_of_pairs(right, usable, own * factor))

        all_cases = case_weights(rows.event, rows.time, np.inf, weights, left)

        def auc(ranking: Ranking, h: float) -> float:
            place = np.searchsorted(rows.time, h, side="right")
            cases, controls = all_cases.copy(), weights.copy()
            cases[place:], controls[:place] = 0.0, 0.0
            return area_at(ranking, cases, controls)

        for plan in self._plans:
            if plan.ranking is not None:
                ranking, h = plan.ranking, plan.horizon
                sheet.put(at("auc", h), partial(auc, ranking, h))
        if self.full:
            over = np.full(self.times.size, np.nan)
            for j, (ranking, t) in enumerate(zip(self._rankings, self.times, strict=True)):
                step = Sheet()
                step.put("auc", partial(auc, ranking, float(t)))
                over[j] = step.values["auc"]
            sheet.values["auc_over_time"] = over
        return sheet

    def _brier(self, weights: FloatArray, case: FloatArray, square: FloatArray, place: int, g: float) -> float:
        """Brier score from squared errors of rows sorted by time, of which `place` have left."""
        n = float(weights.sum())
        total = float(case[:place] @ square[:place])
        beyond = float(weights[place:] @ square[place:])
        return (total + (beyond / g if beyond else 0.0)) / n

    def _brier_over_time(self, weights: FloatArray, case: FloatArray) -> FloatArray:
        g = self.rows.censoring_at(weights, self.times)
        left_by = np.searchsorted(self.rows.time, self.times, side="left")
        followed = np.array([weights[k:].any() for k in left_by], dtype=bool)
        found = [
            self._brier(weights, case, square, place, at_t) if here else np.nan
            for square, place, at_t, here in zip(self._square, self._places, g, followed, strict=True)
        ]
        return np.array(found, dtype=np.float64)

    def _null_brier(self, weights: FloatArray, case: FloatArray, horizon: float, place: int, g: float) -> float:
        alive = self.rows.survival_at(weights, horizon)
        beyond = float(weights[place:].sum())
        total = alive**2 * float(case[:place].sum()) + ((1 - alive) ** 2 * beyond / g if beyond else 0.0)
        return total / float(weights.sum())

    def frequent(self, weights: FloatArray) -> Sheet:
        """Return Brier scores, calibration and net benefit at the horizons, and the integrated Brier score."""
        sheet, rows = Sheet(), self.rows
        left = rows.left(weights)
        case = case_weights(rows.event, rows.time, np.inf, weights, left)
        if self._square.size:
            over = self._brier_over_time(weights, case)
            if self.full:
                sheet.values["brier_over_time"] = over
            if "ibs" in self.names:
                sheet.put("ibs", lambda: integrate(over, self.times))
        elif "ibs" in self.names:
            sheet.put("ibs", lambda: integrate(np.empty(0), np.empty(0)))
        for plan in self._plans:
            self._at_horizon(sheet, plan, weights, case)
        return sheet

    def _at_horizon(self, sheet: Sheet, plan: _Plan, w: FloatArray, case: FloatArray) -> None:
        rows, h = self.rows, plan.horizon
        place = int(np.searchsorted(rows.time, h, side="right"))
        g = float(rows.censoring_at(w, np.array([h]))[0])

        def brier() -> float:
            rows.survival_at(w, h)
            square = np.r_[(1 - plan.risk[:place]) ** 2, plan.risk[place:] ** 2]
            return self._brier(w, case, square, place, g)

        def scaled() -> float:
            null = self._null_brier(w, case, h, place, g)
            if null <= 0:
                raise NotEstimableError("the Kaplan-Meier null model makes no error", "events and survivors")
            return 1 - brier() / null

        def oe() -> float:
            expected = float(w @ plan.risk / w.sum())
            if expected <= 0:
                raise NotEstimableError("no event is expected", "risks above 0")
            return (1 - rows.survival_at(w, h)) / expected

        def slope() -> float:
            if plan.slope is None:
                raise NotEstimableError("all risks are equal", "risks that vary")
            beta = plan.slope.fit(w, self._slopes.get(h))
            self._slopes.setdefault(h, beta)
            return float(beta[0])

        work = {"brier": brier, "scaled_brier": scaled, "oe": oe, "calibration_slope": slope}
        for name, function in work.items():
            if self._asks(name, h):
                sheet.put(at(name, h), function)
        if plan.smooth is not None:
            self._smooth(sheet, plan, plan.smooth, w)
        self._benefits(sheet, plan, w)
        if plan.bins is not None:
            sheet.values[at("bins", h)] = 1 - plan.bins.within(w)

    def _smooth(self, sheet: Sheet, plan: _Plan, smooth: HorizonCalibration, w: FloatArray) -> None:
        h = plan.horizon

        def curve() -> tuple[Any, ...]:
            fitted = smooth.fit(w)
            errors = CalibrationErrors.of(smooth.distances(fitted), w)
            return errors.ici, errors.e50, errors.e90, smooth.at(plan.grid, fitted)

        found = Sheet()
        found.put(tuple(at(name, h) for name in (*_SMOOTH, "calibration")), curve)
        name = at("calibration", h)
        if not found.values[name].shape:
            found.values[name] = np.full(plan.grid.shape, np.nan)
        keep = {k for k in found.values if k in self.names or (self.full and k == name)}
        sheet.values.update({k: found.values[k] for k in keep})
        sheet.notes.update({k: why for k, why in found.notes.items() if k in keep})

    def _benefits(self, sheet: Sheet, plan: _Plan, w: FloatArray) -> None:
        h, name = plan.horizon, at("net_benefit", plan.horizon)
        if plan.benefit is None:
            if self._asks("net_benefit", h):
                sheet.put(name, lambda: _refuse("no decision threshold was given"))
            return
        share, above, below = plan.benefit.split(w)
        gain = benefit_at(share, above, plan.cuts)
        if self._asks("net_benefit", h):
            if self.chosen is None:
                sheet.put(name, lambda: _refuse("no decision threshold was given"))
            else:
                value = gain[np.searchsorted(plan.cuts, self.chosen)]
                sheet.values[name] = np.asarray(value)
                if not np.isfinite(value):
                    sheet.notes[name] = "nobody above the threshold is followed to the horizon"
        if self.full:
            sheet.values[at("decision", h)] = gain[np.searchsorted(plan.cuts, DECISION_GRID_AT)]
            mine = np.searchsorted(plan.cuts, self.thresholds)
            sheet.values[at("net_benefits", h)] = gain[mine]
            cells = expected_counts(share[mine], above[mine], below[mine])
            found = rates(cells["tp"], cells["fp"], cells["fn"], cells["tn"])
            sheet.values.update({at(k, h): v for k, v in found.items()})
            sheet.values.update({at(k, h): v for k, v in cells.items()})

    def decision(self, j: int, weights: FloatArray) -> FloatArray:
        """Return net benefit over the grid of thresholds at horizon j."""
        plan = self._plans[j]
        groups = threshold_groups(self.rows.event, self.rows.time, plan.risk, plan.horizon, DECISION_GRID_AT)
        share, above, _ = groups.split(weights)
        return benefit_at(share, above, DECISION_GRID_AT)

    def treat_all(self, j: int, weights: FloatArray) -> FloatArray:
        """Return the net benefit of treating everybody at horizon j; NaN where it cannot be known."""
        sheet = Sheet()
        sheet.put("alive", lambda: self.rows.survival_at(weights, self._plans[j].horizon))
        return treat_all(1 - float(sheet.values["alive"]), DECISION_GRID_AT)

    def null_over_time(self, weights: FloatArray) -> FloatArray:
        """Return the Brier score of the Kaplan-Meier curve of the same rows on the evaluation grid."""
        case = case_weights(self.rows.event, self.rows.time, np.inf, weights, self.rows.left(weights))
        g = self.rows.censoring_at(weights, self.times)
        sheet = Sheet()
        for t, place, at_t in zip(self.times, self._places, g, strict=True):
            sheet.put(
                at("null", t),
                partial(self._null_brier, weights, case, float(t), int(place), float(at_t)),
            )
        return np.array([float(v) for v in sheet.values.values()], dtype=np.float64)


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


def _refuse(why: str) -> float:
    raise NotEstimableError(why)
