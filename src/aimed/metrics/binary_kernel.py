"""One binary model made ready for resampling: rows sorted once, all estimates from row weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray
from aimed.metrics.binary import rates
from aimed.metrics.calibration_binary import CalibrationErrors, SmoothCalibration, reading_grid, risk_groups
from aimed.metrics.ranking import Ranking, area, average_precision
from aimed.metrics.regression import fit_logistic, logit
from aimed.metrics.resampled import Sheet
from aimed.metrics.utility import benefit

__all__ = ["DECISION_GRID", "MEASURES", "UNIT_GRID", "BinaryKernel"]

MEASURES = (
    "auroc",
    "auprc",
    "brier",
    "scaled_brier",
    "log_loss",
    "calibration_intercept",
    "calibration_slope",
    "oe",
    "ici",
    "e50",
    "e90",
    "net_benefit",
)
"""Every measure of a binary evaluation, in order."""

DECISION_GRID: FloatArray = np.arange(1, 100) / 100
"""Thresholds of a decision curve."""

UNIT_GRID: FloatArray = np.linspace(0, 1, 101)
"""False positive rates and recalls at which curves are read."""

_SMOOTH = ("ici", "e50", "e90")


class BinaryKernel:
    """All estimates of one risk under changing weights.

    Parameters
    ----------
    y, risk : float arrays, shape (n,)
    covered : float array, shape (n,)
        1 for rows with a prediction, else 0; rows with 0 never count.
    thresholds : float array, shape (k,)
    chosen : float or None
        Threshold of the net benefit.
    names : collection of str
        Measures to estimate.
    curves : bool
        Also estimate curves and the threshold table.

    Examples
    --------
    >>> y, risk, cuts = np.array([0.0, 1.0]), np.array([0.2, 0.7]), np.array([0.5])
    >>> kernel = BinaryKernel(y, risk, np.ones(2), cuts, 0.5, MEASURES, False)
    >>> kernel.ranked(np.ones(2)).values["auroc"].item()
    1.0
    """

    def __init__(
        self,
        y: FloatArray,
        risk: FloatArray,
        covered: FloatArray,
        thresholds: FloatArray,
        chosen: float | None,
        names: Collection[str],
        curves: bool,
    ) -> None:
        self.y, self.risk = y, risk
        self.names, self.curves, self.thresholds, self.chosen = frozenset(names), curves, thresholds, chosen
        self.ranking = Ranking(risk)
        clipped = np.clip(risk, 1e-15, 1 - 1e-15)
        self._square: FloatArray = (risk - y) ** 2
        self._loss: FloatArray = -np.log(np.where(y == 1, clipped, 1 - clipped))
        self._logit = logit(risk)
        self._line = np.column_stack([np.ones(y.size), self._logit])
        self._starts: dict[str, FloatArray] = {}
        # The reason is kept, not the error: one error raised at each draw would hold on to the arrays of all draws.
        self._smooth: SmoothCalibration | str | None = None
        seen = risk[covered > 0]
        self.grid: FloatArray = reading_grid(seen)
        if self.names & set(_SMOOTH) or curves:
            try:
                self._smooth = SmoothCalibration(y, risk, covered)
            except NotEstimableError as error:
                self._smooth = error.got
        self.bins = risk_groups(risk, 10 if seen.size >= 200 else 5)

    def ranked(self, weights: FloatArray) -> Sheet:
        """Return the AUROC, the ROC curve, and sensitivity, specificity and likelihood ratios at the thresholds."""
        sheet = Sheet()
        cases = self.ranking.sums(weights * self.y)
        controls = self.ranking.sums(weights) - cases
        if "auroc" in self.names:
            sheet.put("auroc", lambda: area(cases, controls))
        if self.curves:
            sheet.put("roc", lambda: self._roc(cases, controls), UNIT_GRID.shape)
            self._rates(sheet, cases, controls, ("sensitivity", "specificity", "lr_positive", "lr_negative"))
        return sheet

    def _rates(self, sheet: Sheet, cases: FloatArray, controls: FloatArray, names: tuple[str, ...]) -> None:
        tp, fp = (self.ranking.at_least(v, self.thresholds) for v in (cases, controls))
        found = rates(tp, fp, cases.sum() - tp, controls.sum() - fp)
        sheet.values.update({name: found[name] for name in names})

    @staticmethod
    def _roc(cases: FloatArray, controls: FloatArray) -> FloatArray:
        if not cases.any() or not controls.any():
            raise NotEstimableError("only one outcome class is present", "rows with and without the event")
        true = np.r_[0.0, np.cumsum(cases[::-1])] / cases.sum()
        false = np.r_[0.0, np.cumsum(controls[::-1])] / controls.sum()
        return np.asarray(np.interp(UNIT_GRID, false, true), dtype=np.float64)

    @staticmethod
    def _precision(cases: FloatArray, controls: FloatArray) -> FloatArray:
        if not cases.any():
            raise NotEstimableError("no row has the event", "rows with the event")
        true, flagged = np.cumsum(cases[::-1]), np.cumsum((cases + controls)[::-1])
        # The first cut that finds at least this share of the events.
        place = np.searchsorted(true, UNIT_GRID * true[-1] * (1 - 1e-12), side="left")
        place = np.maximum(place, np.searchsorted(flagged, 0, side="right"))
        out: FloatArray = true[place] / flagged[place]
        return out

    def _logistic(self, name: str, x: FloatArray, weights: FloatArray, offset: FloatArray | None) -> FloatArray:
        prevalence = float(weights @ self.y / weights.sum())
        if not 0 < prevalence < 1:
            raise NotEstimableError("only one outcome class is present", "rows with and without the event")
        if name == "calibration_slope" and np.ptp(self._logit[weights > 0]) < 1e-12:
            raise NotEstimableError("all risks are equal", "risks that vary")
        beta = fit_logistic(x, self.y, weights, offset, self._starts.get(name))
        # Newton's method starts at the first fit, that of all rows, and settles in a step or two.
        self._starts.setdefault(name, beta)
        return beta

    def _curve(self, weights: FloatArray) -> tuple[Any, ...]:
        if not isinstance(self._smooth, SmoothCalibration):
            raise NotEstimableError(self._smooth or "no calibration curve was asked for")
        beta = self._smooth.fit(weights)
        errors = CalibrationErrors.of(self._smooth.distances(beta), weights)
        return errors.ici, errors.e50, errors.e90, self._smooth.at(self.grid, beta)

    def decision(self, weights: FloatArray) -> FloatArray:
        """Return net benefit over the grid of thresholds."""
        events, total = self.ranking.sums(weights * self.y), self.ranking.sums(weights)
        return benefit(self.ranking, events, total, DECISION_GRID)

    def frequent(self, weights: FloatArray) -> Sheet:
        """Return accuracy, calibration, predictive values and net benefit."""
        sheet, w, y = Sheet(), weights, self.y
        n, events = float(w.sum()), float(w @ y)
        scores = float(w @ self._square) / n if n else np.nan

        def scaled() -> float:
            if not 0 < events < n:
                raise NotEstimableError("only one outcome class is present", "rows with and without the event")
            return 1 - scores / (events / n * (1 - events / n))

        def observed_expected() -> float:
            expected = float(w @ self.risk)
            if expected <= 0:
                raise NotEstimableError("no event is expected", "risks above 0")
            return events / expected

        cases = self.ranking.sums(w * y)
        total = self.ranking.sums(w)
        simple: dict[str, Any] = {
            "auprc": lambda: average_precision(cases, total - cases),
            "brier": lambda: scores,
            "scaled_brier": scaled,
            "log_loss": lambda: float(w @ self._loss) / n,
            "calibration_intercept": lambda: self._logistic("calibration_intercept", self._line[:, :1], w, self._logit)[
                0
            ],
            "calibration_slope": lambda: self._logistic("calibration_slope", self._line, w, None)[1],
            "oe": observed_expected,
            "net_benefit": lambda: self._benefit(cases, total),
        }
        for name, work in simple.items():
            if name in self.names:
                sheet.put(name, work)
        if self._smooth is not None:
            curve = Sheet()
            curve.put((*_SMOOTH, "calibration"), lambda: self._curve(w))
            if not curve.values["calibration"].shape:
                curve.values["calibration"] = np.full(self.grid.shape, np.nan)
            keep = {name for name in curve.values if name in self.names or (self.curves and name == "calibration")}
            sheet.values.update({name: curve.values[name] for name in keep})
            sheet.notes.update({name: why for name, why in curve.notes.items() if name in keep})
        if self.curves:
            sheet.put("precision_recall", lambda: self._precision(cases, total - cases), UNIT_GRID.shape)
            self._rates(sheet, cases, total - cases, ("ppv", "npv", "f1"))
            sheet.values["net_benefits"] = benefit(self.ranking, cases, total, self.thresholds)
            sheet.values["decision"] = benefit(self.ranking, cases, total, DECISION_GRID)
            size = np.bincount(self.bins, w, int(self.bins.max()) + 1)
            hits = np.bincount(self.bins, w * y, size.size)
            sheet.values["bins"] = np.divide(hits, size, out=np.full(size.size, np.nan), where=size > 0)
        return sheet

    def _benefit(self, cases: FloatArray, total: FloatArray) -> float:
        if self.chosen is None:
            raise NotEstimableError("no decision threshold was given", "a threshold")
        return float(benefit(self.ranking, cases, total, np.array([self.chosen]))[0])
