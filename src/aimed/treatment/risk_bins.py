"""Treatment effect by baseline risk: both arms and their difference in bins of risk, and whether it changes (PATH)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    cross_products,
    patient_codes,
    probabilities,
    row_dot,
    vector,
)
from aimed.metrics.result import (
    Estimate,
    checked_level,
    clustered,
    clustered_variance,
    independent_units,
    notes,
    two_sided_p,
)
from aimed.treatment.arms import as_arms
from aimed.treatment.rates import Better, GroupEffect, checked_better, group_effect

__all__ = ["RiskBin", "RiskBins", "risk_bins"]

How: TypeAlias = Literal["quantile", "width"]
"""How bins are cut: equally many rows, or equally wide."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskBin:
    """One bin of baseline risk.

    Parameters
    ----------
    lower, upper : float
        Edges; a risk equal to the upper edge is inside, one equal to the lower edge only in the lowest bin.
    mean_risk : float
        Mean predicted baseline risk; NaN in an empty bin.
    effect : GroupEffect or None
        Both arms and their difference; None in an empty bin.
    """

    lower: float
    upper: float
    mean_risk: float
    effect: GroupEffect | None

    @property
    def n(self) -> int:
        """Rows."""
        return 0 if self.effect is None else self.effect.n


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskBins:
    """The effect of treatment over baseline risk.

    Parameters
    ----------
    bins : tuple of RiskBin
        From the lowest risk to the highest.
    trend : Estimate
        Change of the difference (treated less control) when baseline risk rises by 1, with the p of no change.
    overall : GroupEffect
        The effect in all rows.
    how : {"quantile", "width"}
    note : str
    """

    bins: tuple[RiskBin, ...]
    trend: Estimate
    overall: GroupEffect
    how: How
    note: str = ""

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def sentence(self) -> str:
        """What the trend says, in words."""
        p = self.trend.p
        if p is None:
            return f"Whether the absolute effect changes with baseline risk cannot be estimated: {self.trend.note}."
        gain = float(self.trend) * (1 if self.overall.better == "higher" else -1)
        if p < 1 - self.trend.level:
            way = "larger" if gain > 0 else "smaller"
            return f"The absolute benefit is {way} in patients with higher baseline risk (p for trend {p:.2g})."
        return f"No evidence that the absolute effect changes with baseline risk (p for trend {p:.2g})."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "bins": [
                {
                    "lower": b.lower,
                    "upper": b.upper,
                    "mean_risk": None if math.isnan(b.mean_risk) else b.mean_risk,
                    "n": b.n,
                    **({} if b.effect is None else b.effect.to_dict()),
                }
                for b in self.bins
            ],
            "trend": {**self.trend.measure().to_dict(), "p": self.trend.p},
            "overall": self.overall.to_dict(),
            "how": self.how,
            "sentence": self.sentence,
            "note": self.note,
        }


def _edges(risk: FloatArray, bins: int, how: str) -> FloatArray:
    if how == "width":
        return np.linspace(float(risk.min()), float(risk.max()), bins + 1)
    return np.unique(np.quantile(risk, np.linspace(0, 1, bins + 1)))


def _slope(Y: FloatArray, arm: BoolArray, risk: FloatArray, scores: FloatArray | None) -> tuple[float, FloatArray]:
    """Return the change of the effect with risk, by least squares, and the influence of each row on it."""
    centred = risk - risk.mean()
    if scores is not None:
        design, outcome, place = np.column_stack([np.ones(risk.size), centred]), scores, 1
    else:
        active = arm.astype(np.float64)
        design, outcome, place = np.column_stack([np.ones(risk.size), active, centred, active * centred]), Y, 3
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise NotEstimableError("risk does not vary in both arms", "patients of different baseline risk in both arms")
    inverse: FloatArray = np.asarray(np.linalg.inv(cross_products(design, design)), dtype=np.float64)
    beta = inverse @ cross_products(design, outcome[:, None])[:, 0]
    solved = row_dot(design, inverse)
    lever = np.einsum("ij,ij->i", solved, design)
    # HC3: rows that pull the line towards themselves count for more.
    rest = (outcome - row_dot(design, beta)) / np.maximum(1 - lever, 1e-8)
    return float(beta[place]), solved[:, place] * rest


def risk_bins(
    Y: ArrayLike,
    T: ArrayLike,
    risk: ArrayLike,
    *,
    bins: int = 4,
    how: How = "quantile",
    scores: ArrayLike | None = None,
    by_arm: tuple[ArrayLike, ArrayLike] | None = None,
    patient: ArrayLike | None = None,
    better: Better = "lower",
    level: float = 0.95,
) -> RiskBins:
    """Return the effect of treatment in bins of predicted baseline risk, and whether it changes with it.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome: 0/1, any number, or a pseudo-outcome of time to event.
    T : 0/1 array, shape (n,)
    risk : float array, shape (n,)
        Predicted risk, from a model that did not see the row and, better, sees both arms alike, such as
        ``nuisances.blind_risk``.
    bins : int
        Four for the risk quarters of the PATH statement.
    how : {"quantile", "width"}
        Bins of equally many rows (default; fewer where risks are tied), or equally wide from the lowest risk to the
        highest.
    scores : float array, shape (n,), optional
        Doubly robust scores of the effect with the sign of Y, such as ``nuisances.scores(Y, T)``: differences and trend
        are then made from them, which observational data need. Without them from the arms as they are.
    by_arm : pair of float arrays, shape (n,), optional
        Doubly robust scores of the outcome untreated and treated, such as ``nuisances.scores_by_arm(Y, T)``: the
        outcome of either arm is then their mean, not that of the arm as it is.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    better : {"lower", "higher"}
    level : float

    Returns
    -------
    RiskBins

    Raises
    ------
    DataError
        If shapes differ, a risk lies outside 0 to 1 or there are fewer than 2 bins.
    NotEstimableError
        If an arm has no row, or risk is the same for all.

    Notes
    -----
    Formula: in each bin the difference of arm means (Newcombe's interval for 0/1 outcomes) or the mean score. Trend:
    the interaction of arm and risk, or the slope of scores on risk, by least squares with HC3 errors, clustered by
    patient; its p tests that the absolute effect is the same at every risk.
    Range: differences of 0/1 outcomes -1 to 1.
    Assumes: randomised arms, or scores; baseline risk is taken as known. A risk learned from the untreated rows alone
    shares their errors with the scores, also when it is cross-fitted: where it says little, the test of the trend
    rejects up to three times too often. A risk that is blind to treatment does not. A constant relative effect gives a
    trend of the absolute one, so that a trend is expected, not a surprise.
    Refuses: one risk for all. A bin without rows in one arm is not estimable, and says so.

    References
    ----------
    Kent et al., Ann Intern Med 2020;172:35 (PATH statement). MacKinnon and White, J Econom 1985;29:305 (HC3).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> risk, T = rng.uniform(0.1, 0.7, 4000), rng.integers(0, 2, 4000)
    >>> Y = rng.random(4000) < risk * np.where(T == 1, 0.6, 1.0)
    >>> found = risk_bins(Y, T, risk)
    >>> [f"{b.mean_risk:.2f}: {b.effect.benefit:.2f}" for b in found.bins]
    ['0.17: 0.06', '0.32: 0.14', '0.47: 0.17', '0.62: 0.25']
    >>> print(found.sentence)
    The absolute benefit is larger in patients with higher baseline risk (p for trend ...).
    """
    checked_better(better)
    checked_level(level)
    if bins < 2:
        raise DataError(f"{bins} bins", "at least 2, such as the 4 risk quarters")
    if how not in ("quantile", "width"):
        raise DataError("how is neither 'quantile' nor 'width'", "'quantile' or 'width'")
    y = vector("Y", Y)
    n = y.size
    arm, at = as_arms(T, n), probabilities("risk", risk, n)
    effects = None if scores is None else vector("scores", scores, n)
    if at.min() == at.max():
        raise NotEstimableError(
            "all rows have one baseline risk", "risks that differ", "give the risk a model predicts"
        )
    who = None if patient is None else patient_codes(patient, n)
    edges = _edges(at, bins, how)
    place: IntArray = np.searchsorted(edges[1:-1], at, side="left").astype(np.int64)
    arms = None if by_arm is None else (vector("by_arm", by_arm[0], n), vector("by_arm", by_arm[1], n))
    common: dict[str, Any] = {"scores": effects, "by_arm": arms, "patient": who, "better": better, "level": level}
    found = []
    for b in range(edges.size - 1):
        member = place == b
        found.append(
            RiskBin(
                lower=float(edges[b]),
                upper=float(edges[b + 1]),
                mean_risk=float(at[member].mean()) if member.any() else math.nan,
                effect=group_effect(y, arm, member, **common) if member.any() else None,
            )
        )
    empty = sum(b.effect is None for b in found)
    bare = sum(b.effect is not None and not b.effect.estimable for b in found)
    return RiskBins(
        bins=tuple(found),
        trend=_trend(y, arm, at, effects, who, level),
        overall=group_effect(y, arm, np.ones(n, dtype=bool), **common),
        how=how,
        note=notes(
            f"{edges.size - 1} bins instead of {bins}, because risks are tied" if edges.size - 1 < bins else "",
            f"{empty} bins without rows" if empty else "",
            f"{bare} bins without rows in one arm" if bare else "",
        ),
    )


def _trend(
    y: FloatArray, arm: BoolArray, risk: FloatArray, scores: FloatArray | None, who: IntArray | None, level: float
) -> Estimate:
    name = "trend_of_difference"
    try:
        slope, psi = _slope(y, arm, risk, scores)
    except NotEstimableError as error:
        return Estimate(math.nan, name=name, n=y.size, level=level, note=error.got)
    se = math.sqrt(clustered_variance(psi, who))
    units = None if who is None else independent_units(who, y.size)
    p = two_sided_p(slope, se, units)
    by = "slope of the scores on risk" if scores is not None else "interaction of arm and risk"
    return Estimate.normal(
        slope,
        se,
        units=units,
        level=level,
        name=name,
        n=y.size,
        method=clustered(f"{by}, least squares, HC3", None if who is None else who),
        p=None if math.isnan(p) else p,
        influence=psi,
    )
