"""Net reclassification and integrated discrimination improvement, printed with the warning the literature gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, binary, patient_codes, probabilities, tally, vector, weighted_mean
from aimed.metrics.result import Described, Estimate, clustered, clustered_variance

__all__ = ["Reclassification", "idi", "nri"]

_JACKKNIFE = "normal, infinitesimal jackknife"
_WARNING = (
    "not a proper measure: it can reward a miscalibrated or useless new predictor, and its total adds events and "
    "non-events as if they were equally many; the p and the interval of a new predictor fitted on the same rows are "
    "not valid (Kerr et al. 2011); report the difference in net benefit and the likelihood-ratio test "
    "instead (Hilden and Gerds 2014; Kerr et al. 2014; Pepe et al. 2015)"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reclassification(Described):
    """An improvement from an old model to a new one: its total, and its parts among rows with and without the event.

    Parameters
    ----------
    estimate : Estimate
        The total, `event` plus `nonevent`; its note says why no claim should rest on it. What it knows (`value`,
        `lower`, `method`, ...) is also known here.
    event, nonevent : Estimate
        Parts; each is above 0 where the new model is better.
    tables : float array, shape (2, c, c), optional
        Weight of rows without (0) and with (1) the event, by old category and new category.

    Examples
    --------
    >>> found = nri([1, 1, 0, 0], [0.4, 0.6, 0.4, 0.6], [0.6, 0.7, 0.3, 0.7], cutoffs=[0.5])
    >>> found.value, found.event.value, found.nonevent.value
    (0.5, 0.5, 0.0)
    >>> found.tables[1].tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    >>> print(found)
    nri 0.5000 (95 % interval -0.1930 to 1.1930), n = 4
      events 0.5000 (95 % interval -0.1930 to 1.0000), n = 2
      non-events 0.0000, n = 2
      not a proper measure: it can reward a miscalibrated or useless new predictor, ...
    """

    estimate: Estimate
    event: Estimate
    nonevent: Estimate
    tables: FloatArray | None = None

    def __str__(self) -> str:
        return "\n  ".join([str(self.estimate), str(self.event), str(self.nonevent), self.note])


def _improvement(
    name: str,
    gain: FloatArray,
    y: FloatArray,
    w: FloatArray,
    patient: ArrayLike | None,
    level: float,
    *,
    method: str,
    bound: float,
    sample_variance: bool = False,
    tables: FloatArray | None = None,
) -> Reclassification:
    """Return the mean gain among events and among non-events and their sum; a gain is above 0 where better."""
    parts, influence, variance = [], np.zeros(y.size), 0.0
    for label, member in (("events", y == 1), ("non-events", y == 0)):
        weight = w * member
        total = float(weight.sum())
        if total <= 0:
            raise NotEstimableError(f"no {label}", "rows with and without the event")
        value = weighted_mean(gain, weight)
        psi = weight * (gain - value) / total
        influence += psi
        n = int(member.sum())
        spread = clustered_variance(psi, patient)
        if sample_variance:
            spread = spread * n / (n - 1) if n > 1 else math.nan
        variance += spread
        parts.append(
            Estimate.normal(
                value,
                math.sqrt(spread),
                level=level,
                bounds=(-bound, bound),
                name=label,
                n=n,
                method=method,
                why="one row has no spread" if math.isnan(spread) else "no spread between rows",
                units=None if patient is None else np.unique(patient_codes(patient, y.size)[member]).size,
                influence=psi,
            )
        )
    # The parts are independent unless a patient has rows in both.
    whole = Estimate.normal(
        parts[0] + parts[1],
        math.sqrt(variance if patient is None else clustered_variance(influence, patient)),
        level=level,
        bounds=(-2 * bound, 2 * bound),
        name=name,
        n=y.size,
        events=int(y.sum()),
        method=method,
        units=None if patient is None else int(patient_codes(patient, y.size).max()) + 1,
        note=_WARNING,
        influence=influence,
    )
    return Reclassification(estimate=whole, event=parts[0], nonevent=parts[1], tables=tables)


def nri(
    y: ArrayLike,
    p_old: ArrayLike,
    p_new: ArrayLike,
    cutoffs: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Reclassification:
    """Return the net reclassification improvement, continuous or over categories, with its two parts.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p_old, p_new : float arrays, shape (n,)
        Probabilities of two models on the same rows.
    cutoffs : float array, shape (c - 1,), rising, in (0, 1), optional
        Category limits; a risk equal to a limit is in the higher category. Without them any rise or fall counts.
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    NotEstimableError
        If one outcome class is absent.
    DataError
        If cut-offs do not rise within (0, 1), or a probability lies outside [0, 1].

    References
    ----------
    Pencina, D'Agostino, D'Agostino and Vasan, Stat Med 2008;27:157. Pencina, D'Agostino and Steyerberg, Stat Med
    2011;30:11. Warnings: Kerr, McClelland, Brown and Lumley, Am J Epidemiol 2011;174:364. Hilden and Gerds, Stat Med
    2014;33:3405. Kerr et al., Epidemiology 2014;25:114. Pepe, Fan,
    Feng, Gerds and Hilden, Stat Biosci 2015;7:282.

    Notes
    -----
    Formula: P(up | event) - P(down | event) + P(down | non-event) - P(up | non-event).
    Range: -2 to 2, each part -1 to 1; above 0 is called better, which can be wrong.
    Assumes: two models not fitted on these rows; categories that change what is done.
    Refuses: one outcome class, cut-offs that do not rise within (0, 1), probabilities outside [0, 1], missing values.

    Examples
    --------
    >>> found = nri([1, 1, 0, 0], [0.4, 0.6, 0.4, 0.6], [0.6, 0.7, 0.3, 0.7])
    >>> float(found), float(found.event), float(found.nonevent)
    (1.0, 1.0, 0.0)
    """
    outcome, w = binary(y, weights)
    old, new = probabilities("p_old", p_old, outcome.size), probabilities("p_new", p_new, outcome.size)
    sign = np.where(outcome == 1, 1.0, -1.0)
    if cutoffs is None:
        return _improvement(
            "nri",
            sign * np.sign(new - old),
            outcome,
            w,
            patient,
            level,
            method=f"continuous; {clustered(_JACKKNIFE, patient)}",
            bound=1,
        )
    cuts = vector("cutoffs", cutoffs)
    if (np.diff(cuts) <= 0).any() or cuts[0] <= 0 or cuts[-1] >= 1:
        raise DataError("cut-offs do not rise within (0, 1)", "rising cut-offs between 0 and 1")
    before, after = (np.searchsorted(cuts, p, side="right") for p in (old, new))
    c = cuts.size + 1
    cell = (outcome.astype(np.int64) * c + before) * c + after
    return _improvement(
        "nri",
        sign * np.sign(after - before),
        outcome,
        w,
        patient,
        level,
        method=f"{c} categories; {clustered(_JACKKNIFE, patient)}",
        bound=1,
        tables=tally(cell, w, 2 * c * c).reshape(2, c, c),
    )


def idi(
    y: ArrayLike,
    p_old: ArrayLike,
    p_new: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    patient: ArrayLike | None = None,
    level: float = 0.95,
) -> Reclassification:
    """Return the integrated discrimination improvement with its two parts.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    p_old, p_new : float arrays, shape (n,)
        Probabilities of two models on the same rows.
    weights : float array, shape (n,), optional
        In the standard error a row stays one unit whatever its weight: repeat rows for counts.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float

    Raises
    ------
    NotEstimableError
        If one outcome class is absent.
    DataError
        If a probability lies outside [0, 1].

    References
    ----------
    Pencina, D'Agostino, D'Agostino and Vasan, Stat Med 2008;27:157. Warnings as for `nri`.

    Notes
    -----
    Formula: mean of p_new - p_old among events, plus mean of p_old - p_new among non-events.
    Range: -2 to 2, each part -1 to 1; above 0 is called better, which can be wrong.
    Assumes: two calibrated models not fitted on these rows.
    Refuses: one outcome class, probabilities outside [0, 1], missing values.

    Examples
    --------
    >>> found = idi([1, 1, 0, 0], [0.4, 0.6, 0.4, 0.6], [0.6, 0.7, 0.3, 0.7])
    >>> round(float(found), 4), round(found.event, 4), round(found.nonevent, 4) + 0.0
    (0.15, 0.15, 0.0)
    """
    outcome, w = binary(y, weights)
    old, new = probabilities("p_old", p_old, outcome.size), probabilities("p_new", p_new, outcome.size)
    gain = np.where(outcome == 1, new - old, old - new)
    plain = patient is None and weights is None
    method = "normal, sample variances" if plain else clustered(_JACKKNIFE, patient)
    return _improvement("idi", gain, outcome, w, patient, level, method=method, bound=1, sample_variance=plain)
