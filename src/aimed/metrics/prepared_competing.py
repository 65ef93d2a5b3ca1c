"""One competing-risk model made ready for resampling: the measures of a survival model, told by incidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aimed.core.errors import NotEstimableError
from aimed.metrics.arrays import FloatArray, IntArray
from aimed.metrics.calibration_competing import IncidenceRecalibration, incidence_by, known_by
from aimed.metrics.concordance import CauseSpecificReplicates, cause_specific_c
from aimed.metrics.kernels.evaluation import incidence_by_group
from aimed.metrics.prepared_survival import PreparedSurvival, Ranked, Recalibration, SurvivalClock
from aimed.metrics.regression import logistic, logit
from aimed.metrics.resampled import Counts
from aimed.metrics.survival_accuracy import (
    BrierReplicates,
    brier_incidence,
    dynamic_auc,
    integrated_brier_incidence,
)

__all__ = ["PreparedCompeting"]


class _IncidenceClock(SurvivalClock):
    """One less the Aalen-Johansen incidence at one horizon by group."""

    def by_group(
        self, group: IntArray, groups: int, counts: Counts
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return the share free of the event alone, above and below, and the share above, shape (b, groups)."""
        kind, last, codes = self._rows
        number = np.ascontiguousarray(group, dtype=np.int32)
        return incidence_by_group(number, kind, last, codes, self._within, self._reached, groups, counts)


class PreparedCompeting(PreparedSurvival):
    """All estimates of one competing-risk model in blocks of resamples.

    Parameters
    ----------
    event : uint8 array, shape (n,)
        0 censored, 1 the event of interest, 2 another event.
    curves : float array, shape (t, n)
        One less the predicted incidence on the evaluation grid.
    time, codes, score, risk, horizons, times, tau, thresholds, chosen, names, full
        As for `PreparedSurvival`.

    Examples
    --------
    >>> model = PreparedCompeting(np.array([1, 2], dtype=np.uint8), np.array([1.0, 2.0]), np.arange(2),
    ...                           np.array([0.9, 0.1]), np.array([[0.9], [0.1]]), [1.5], np.empty((0, 2)),
    ...                           np.empty(0), 1.5, np.array([0.5]), 0.5, ["cause_specific_c"], False)
    >>> model.ranked(np.ones((2, 1), dtype=np.uint8))["cause_specific_c"]
    array([1.])
    """

    def _concordances(self) -> dict[str, Ranked]:
        if "cause_specific_c" not in self.names:
            return {}
        rows = self.event, self.time, self._score
        return {"cause_specific_c": CauseSpecificReplicates(*rows, self.tau, codes=self._codes)}

    def _brier_of(self, survival: FloatArray, times: FloatArray) -> BrierReplicates:
        return BrierReplicates(self.event, self.time, survival, times, codes=self._codes, competing=True)

    def _clock(self, h: float) -> SurvivalClock:
        return _IncidenceClock(self.event, self.time, self._codes, h)

    def _fits(self, h: float, risk: FloatArray, grid: FloatArray, slope: bool, smooth: bool) -> Recalibration:
        return IncidenceRecalibration(self.event, self.time, risk, h, self._codes, grid)

    def _free(self, t: float) -> float:
        return 1 - incidence_by(self.event, self.time, t)

    def _brier_on_all(self, survival: FloatArray, t: float) -> Any:
        return brier_incidence(self.event, self.time, 1 - survival, [t])

    def _metrics(self) -> dict[str, Callable[[], Any]]:
        e, t = self.event, self.time
        return {
            "cause_specific_c": lambda: cause_specific_c(e, t, self._score, tau=self.tau),
            "ibs": lambda: integrated_brier_incidence(e, t, 1 - self._curves.T, self.times),
        }

    def _metrics_at(self, h: float, p: FloatArray) -> dict[str, Callable[[], Any]]:
        e, t = self.event, self.time

        def recalibrated() -> float:
            y, weights = known_by(e, t, h)
            x = logit(p)
            if np.ptp(x[weights > 0]) < 1e-12:
                raise NotEstimableError("all risks are equal", "risks that vary")
            design = np.column_stack([np.ones(p.size), x])
            return float(logistic(design, y, weights).beta[1])

        def expected() -> float:
            if p.mean() <= 0:
                raise NotEstimableError("no event is expected", "risks above 0")
            return incidence_by(e, t, h)

        return {
            "auc": lambda: dynamic_auc(e, t, p, [h]),
            "brier": lambda: brier_incidence(e, t, p[:, None], [h]),
            "scaled_brier": lambda: brier_incidence(e, t, p[:, None], [h]),
            "oe": expected,
            **dict.fromkeys(("calibration_slope", "ici", "e50", "e90"), recalibrated),
        }
