"""One binary model made ready for resampling: rows sorted and binned once, all estimates from counts of patients."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from aimed.core.errors import NotEstimableError
from aimed.metrics.accuracy import brier, log_loss, risk_groups, scaled_brier
from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.calibration_binary import (
    CalibrationReplicates,
    calibration_intercept,
    calibration_slope,
    ici,
    oe,
    reading_grid,
)
from aimed.metrics.discrimination import AurocReplicates, AveragePrecisionReplicates, auroc, average_precision
from aimed.metrics.kernels.evaluation import cell_sums, precision_at_recall, roc_at_rate, value_sums
from aimed.metrics.resampled import Counts, Estimates
from aimed.metrics.thresholds import rates

__all__ = ["DECISION_GRID", "MEASURES", "NOBODY", "RATES", "UNIT_GRID", "PreparedBinary"]

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

RATES = ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative", "f1")
"""Rates at a threshold, in order."""

NOBODY = "no row on that side"
"""Why a rate has no value."""

DECISION_GRID: FloatArray = np.arange(1, 100) / 100
"""Thresholds of a decision curve."""

UNIT_GRID: FloatArray = np.linspace(0, 1, 101)
"""False positive rates and recalls at which curves are read."""

_CALIBRATION = ("calibration_intercept", "calibration_slope", "oe", "ici", "e50", "e90")
_RANKED = ("sensitivity", "specificity", "lr_positive", "lr_negative")
_FREQUENT = ("ppv", "npv", "f1")
_SMALLEST = 1e-15


class PreparedBinary:
    """All estimates of one risk in blocks of resamples.

    Parameters
    ----------
    y, risk : float arrays, shape (n,)
        Rows with a prediction.
    codes : int array, shape (n,)
        Place of each row's patient in the counts.
    thresholds : float array, shape (k,), rising
    chosen : float or None
        Threshold of the net benefit and, without `curves`, of the rates.
    names : collection of str
        Measures to estimate; without `curves` also rates at the chosen threshold, from `RATES`.
    curves : bool
        Also estimate curves and the threshold table.

    Examples
    --------
    >>> y, risk, cuts = np.array([0.0, 1.0]), np.array([0.2, 0.7]), np.array([0.5])
    >>> model = PreparedBinary(y, risk, np.arange(2), cuts, 0.5, ["auroc", "brier"], False)
    >>> model.ranked(np.ones((2, 1), dtype=np.uint8))["auroc"], model.reason("auroc")
    (array([1.]), '')
    """

    def __init__(
        self,
        y: FloatArray,
        risk: FloatArray,
        codes: IntArray,
        thresholds: FloatArray,
        chosen: float | None,
        names: Collection[str],
        curves: bool,
    ) -> None:
        self.y, self.risk, self._codes = y, risk, codes
        self.names, self.curves, self.thresholds, self.chosen = frozenset(names), curves, thresholds, chosen
        self.grid: FloatArray = reading_grid(risk)
        self.bins = risk_groups(risk, 10 if risk.size >= 200 else 5)
        self._auroc = AurocReplicates(y, risk, codes=codes) if "auroc" in self.names else None
        self._precision = AveragePrecisionReplicates(y, risk, codes=codes) if "auprc" in self.names else None
        clipped = np.clip(risk, _SMALLEST, 1 - _SMALLEST)
        loss = -np.log(np.where(y == 1, clipped, 1 - clipped))
        self._values: FloatArray = np.column_stack([np.ones(y.size), y, (risk - y) ** 2, loss])
        chosen_cut = np.array([] if chosen is None else [chosen])
        self._cuts = np.unique(np.r_[thresholds, DECISION_GRID, chosen_cut]) if curves else chosen_cut
        self._cell = (2 * np.searchsorted(self._cuts, risk, side="right") + y).astype(np.int32)
        self._bin_cell = (2 * self.bins + y).astype(np.int32)
        self._calibration: CalibrationReplicates | None = None
        if self.names & set(_CALIBRATION) or curves:
            self._calibration = CalibrationReplicates(y, risk, codes=codes, grid=self.grid if curves else None)
        if curves:
            order = np.argsort(-risk)
            falling = risk[order]
            self._falling = codes[order], (y == 1)[order], np.r_[falling[1:] != falling[:-1], True]

    def _table(self, counts: Counts) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return true and false positives at each cut, shape (b, cuts), and events and others, shape (b, 2)."""
        size = self._cuts.size + 1
        cells = cell_sums(self._cell, self._codes, counts, 2 * size).reshape(size, 2, -1)
        above = np.cumsum(cells[::-1], axis=0)[::-1].astype(np.float64)
        return above[1:, 1].T, above[1:, 0].T, above[0].T[:, ::-1]

    def _rates(
        self, table: tuple[FloatArray, FloatArray, FloatArray], names: tuple[str, ...], thresholds: FloatArray
    ) -> Estimates:
        true, false, both = table
        place = np.searchsorted(self._cuts, thresholds)
        tp, fp = true[:, place], false[:, place]
        found = rates(tp, fp, both[:, :1] - tp, both[:, 1:] - fp)
        return {name: found[name] for name in names}

    def _rates_at_chosen(self, counts: Counts, among: tuple[str, ...]) -> Estimates:
        names = () if self.curves else tuple(name for name in among if name in self.names)
        if not names:
            return {}
        if self.chosen is None:
            return dict.fromkeys(names, np.full(counts.shape[1], np.nan))
        found = self._rates(self._table(counts), names, np.array([self.chosen]))
        return {name: value[:, 0] for name, value in found.items()}

    def ranked(self, counts: Counts) -> Estimates:
        """Return the AUROC, the ROC curve, and sensitivity, specificity and likelihood ratios at the thresholds."""
        out: Estimates = {}
        if self._auroc is not None:
            out["auroc"] = self._auroc.replicate(counts)
        if self.curves:
            out["roc"] = roc_at_rate(*self._falling, counts, UNIT_GRID)
            out |= self._rates(self._table(counts), _RANKED, self.thresholds)
        return out | self._rates_at_chosen(counts, _RANKED)

    def frequent(self, counts: Counts) -> Estimates:
        """Return accuracy, calibration, predictive values and net benefit."""
        out: Estimates = {}
        n, events, square, loss = value_sums(self._values, self._codes, counts)
        share = np.divide(events, n, out=np.full(n.size, np.nan), where=n > 0)
        score = np.divide(square, n, out=np.full(n.size, np.nan), where=n > 0)
        null = share * (1 - share)
        simple: dict[str, Callable[[], FloatArray]] = {
            "brier": lambda: score,
            "scaled_brier": lambda: 1 - np.divide(score, null, out=np.full(n.size, np.nan), where=null > 0),
            "log_loss": lambda: np.divide(loss, n, out=np.full(n.size, np.nan), where=n > 0),
        }
        out |= {name: work() for name, work in simple.items() if name in self.names}
        if self._precision is not None:
            out["auprc"] = self._precision.replicate(counts)
        if self._calibration is not None:
            measures, curve = self._calibration.replicate_with_curve(counts)
            out |= {name: measures[:, k] for k, name in enumerate(_CALIBRATION) if name in self.names}
            if self.curves:
                out["calibration"] = curve
        if self._cuts.size:
            table = self._table(counts)
            gain = self._benefit(table[0], table[1], n)
            if self.chosen is not None and "net_benefit" in self.names:
                out["net_benefit"] = gain[:, np.searchsorted(self._cuts, self.chosen)]
        if "net_benefit" in self.names and "net_benefit" not in out:
            out["net_benefit"] = np.full(n.size, np.nan)
        if self.curves:
            out["precision_recall"] = precision_at_recall(*self._falling, counts, UNIT_GRID)
            out |= self._rates(table, _FREQUENT, self.thresholds)
            out["net_benefits"] = gain[:, np.searchsorted(self._cuts, self.thresholds)]
            out["decision"] = gain[:, np.searchsorted(self._cuts, DECISION_GRID)]
            size = int(self.bins.max()) + 1
            cells = cell_sums(self._bin_cell, self._codes, counts, 2 * size).reshape(size, 2, -1).astype(np.float64)
            total = cells.sum(axis=1)
            out["bins"] = np.divide(cells[:, 1], total, out=np.full(total.shape, np.nan), where=total > 0).T
        return out | self._rates_at_chosen(counts, _FREQUENT)

    def _benefit(self, true: FloatArray, false: FloatArray, n: FloatArray) -> FloatArray:
        worth = true - false * self._cuts / (1 - self._cuts)
        share = np.divide(worth, n[:, None], out=np.full(worth.shape, np.nan), where=n[:, None] > 0)
        return np.asarray(share, dtype=np.float64)

    def decision(self) -> FloatArray:
        """Return net benefit over the grid of thresholds on all rows."""
        cell = np.searchsorted(DECISION_GRID, self.risk, side="right")
        size = DECISION_GRID.size + 1
        events, total = np.bincount(cell, self.y, size), np.bincount(cell, minlength=size)
        true = np.cumsum(events[::-1])[::-1][1:]
        false = np.cumsum(total[::-1])[::-1][1:] - true
        return np.asarray((true - false * DECISION_GRID / (1 - DECISION_GRID)) / self.y.size, dtype=np.float64)

    def reason(self, name: str) -> str:
        """Return why an estimate is missing on all rows, in the words of the metric itself."""
        if (name == "net_benefit" or name in RATES) and self.chosen is None:
            return "no decision threshold was given"
        if name in RATES:
            return NOBODY
        metrics: dict[str, Callable[..., Any]] = {
            "auroc": auroc,
            "auprc": average_precision,
            "brier": brier,
            "scaled_brier": scaled_brier,
            "log_loss": log_loss,
            "calibration_intercept": calibration_intercept,
            "calibration_slope": calibration_slope,
            "oe": oe,
            **dict.fromkeys(("ici", "e50", "e90"), lambda y, p: ici(y, p, draws=0)),
        }
        try:
            found = metrics[name](self.y, self.risk)
        except NotEstimableError as error:
            return error.got
        return "" if np.isfinite(float(found)) else getattr(found, "note", "")
