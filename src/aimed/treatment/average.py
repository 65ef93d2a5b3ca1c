"""Average effect: the mean outcome had all been treated and had none, and their contrasts, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, patient_codes
from aimed.metrics.number_needed import NumberNeeded
from aimed.metrics.result import (
    Estimate,
    Scale,
    clustered,
    clustered_covariance,
    few_units,
    notes,
    two_sided_p,
)
from aimed.treatment.arms import few_rows

__all__ = ["CONTRASTS", "TARGETS", "AverageEffect", "checked_target"]

TARGETS: dict[str, str] = {
    "ATE": "all patients",
    "ATT": "patients who were treated",
    "ATO": "patients who could have been in either arm, each counted by the chance of the other arm (overlap weights)",
}
"""Whom an average effect is about, by its short name."""

CONTRASTS = ("treated", "control", "difference", "ratio", "odds_ratio", "relative_reduction", "number_needed")
"""What `AverageEffect.records` can write down."""

_FEW_EVENTS = 5


def checked_target(target: str, allowed: Iterable[str]) -> str:
    """Return the population of an average effect.

    Raises
    ------
    UnknownNameError
        If the estimator does not offer it.

    Examples
    --------
    >>> checked_target("ATT", ["ATE", "ATT"])
    'ATT'
    """
    names = list(allowed)
    if target not in names:
        raise UnknownNameError("target population", str(target), names)
    return target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AverageEffect:
    """Mean outcomes under treatment and under control in one population, and their contrasts.

    Parameters
    ----------
    treated, control : Estimate
        Mean outcome had all of the population been treated, and had none; with influence values, shape (n,).
    n, n_treated, n_control : int
        Rows used, and those of either arm.
    method : str
        How the means and their error were made.
    note : str
        What to know about the numbers.
    target : {"ATE", "ATT", "ATO"}
        Population, see `TARGETS`.
    binary : bool
        Whether the outcome is 0/1: the means are risks.
    codes : int array, shape (n,), optional
        Number of each row's patient; rows of one patient are dependent.
    covariance : float array, shape (2, 2), optional
        Of the means under treatment and control, where it does not come from the influence values.
    limits : (float, float), optional
        Interval of the difference, where it is not the normal one.
    weights : float array, shape (n,), optional
        Weight of each row in the mean of its own arm, 0 for rows left out; for `balance` and the effective sample size.

    Examples
    --------
    >>> from aimed.treatment.unadjusted import unadjusted
    >>> found = unadjusted([1] * 56 + [0] * 14 + [1] * 48 + [0] * 32, [0] * 70 + [1] * 80)
    >>> found.difference
    difference -0.2000 (95 % interval -0.3425 to -0.0575), p = 0.005943, n = 150
    >>> found.ratio
    ratio 0.7500 (95 % interval 0.6056 to 0.9288), p = 0.008373, n = 150
    """

    treated: Estimate
    control: Estimate
    n: int
    n_treated: int
    n_control: int
    method: str
    note: str = ""
    target: str = "ATE"
    binary: bool = False
    codes: IntArray | None = field(default=None, repr=False)
    covariance: FloatArray | None = field(default=None, repr=False)
    limits: tuple[float, float] | None = field(default=None, repr=False)
    weights: FloatArray | None = field(default=None, repr=False)

    @classmethod
    def from_means(
        cls,
        treated: float,
        treated_influence: FloatArray,
        control: float,
        control_influence: FloatArray,
        *,
        arm: BoolArray,
        y: FloatArray,
        method: str,
        patient: ArrayLike | None = None,
        level: float = 0.95,
        note: str = "",
        target: str = "ATE",
        kept: BoolArray | None = None,
        covariance: FloatArray | None = None,
        limits: tuple[float, float] | None = None,
        weights: FloatArray | None = None,
    ) -> AverageEffect:
        """Return the effect from two means and the influence of each row on them.

        Parameters
        ----------
        treated, control : float
        treated_influence, control_influence : float array, shape (n,)
            Their sums of squares (over patients) are the variances.
        arm : bool array, shape (n,)
        y : float array, shape (n,)
        method : str
        patient : array, shape (n,), optional
        level : float
        note, target : str
        kept : bool array, shape (n,), optional
            Rows that were not left out by trimming.
        covariance, limits, weights
            As for the class.
        """
        binary = bool(((y == 0) | (y == 1)).all())
        codes = None if patient is None else patient_codes(patient, y.size)
        used = np.ones(y.size, dtype=bool) if kept is None else kept
        n_treated, n_control = int((arm & used).sum()), int((~arm & used).sum())
        units = None if codes is None else int(np.unique(codes[used]).size)
        influence = np.column_stack((treated_influence, control_influence))
        V = clustered_covariance(influence, codes) if covariance is None else covariance
        how = method if covariance is not None else clustered(method, patient)
        note = notes(few_rows(n_treated, n_control), note)
        if binary:
            counts = [int((y[used & member] == kind).sum()) for member in (arm, ~arm) for kind in (1, 0)]
            note = notes(note, "" if limits is not None else _few_events(counts), _outside(treated, control))
        means = [
            Estimate.normal(
                value,
                math.sqrt(max(float(V[place, place]), 0.0)),
                name=name,
                level=level,
                scale="logit" if binary else "identity",
                bounds=(0.0, 1.0) if binary else (-math.inf, math.inf),
                units=None if covariance is not None else units,
                n=rows,
                events=int(y[used & (arm == (place == 0))].sum()) if binary else None,
                method=how,
                influence=influence[:, place],
            )
            for place, (name, value, rows) in enumerate(
                (("treated", treated, n_treated), ("control", control, n_control))
            )
        ]
        return cls(
            treated=means[0],
            control=means[1],
            n=n_treated + n_control,
            n_treated=n_treated,
            n_control=n_control,
            method=how,
            note=notes(note, "" if covariance is not None else few_units(units)),
            target=target,
            binary=binary,
            codes=codes,
            covariance=covariance,
            limits=limits,
            weights=weights,
        )

    @property
    def level(self) -> float:
        """Coverage of the intervals."""
        return self.treated.level

    @property
    def population(self) -> str:
        """Whom the effect is about, in words."""
        return TARGETS[self.target]

    @property
    def matrix(self) -> FloatArray:
        """Covariance of the means under treatment and control, shape (2, 2)."""
        if self.covariance is not None:
            return self.covariance
        return clustered_covariance(np.column_stack((self._psi(self.treated), self._psi(self.control))), self.codes)

    @property
    def difference(self) -> Estimate:
        """Mean under treatment less mean under control; for 0/1 outcomes the risk difference."""
        bounds = (-1.0, 1.0) if self.binary else (-math.inf, math.inf)
        found = self._contrast("difference", float(self.treated) - float(self.control), 1.0, -1.0, bounds=bounds)
        if self.limits is not None:
            found.lower, found.upper = self.limits
            found.note = self.note
        return found

    @property
    def ratio(self) -> Estimate:
        """Mean under treatment over mean under control (risk ratio); normal on the log scale."""
        m1, m0 = float(self.treated), float(self.control)
        if not (m1 > 0 and m0 > 0):
            return self._none("ratio", m1 / m0 if m0 > 0 and m1 == 0 else math.nan, "a ratio needs two means above 0")
        return self._contrast("ratio", m1 / m0, 1 / m0, -m1 / m0**2, scale="log")

    @property
    def odds_ratio(self) -> Estimate:
        """Odds under treatment over odds under control (marginal odds ratio); normal on the log scale."""
        m1, m0 = float(self.treated), float(self.control)
        if not self.binary:
            return self._none("odds_ratio", math.nan, "odds need a 0/1 outcome")
        if not (0 < m1 < 1 and 0 < m0 < 1):
            return self._none("odds_ratio", math.nan, "odds need risks between 0 and 1, not at either end")
        value = m1 / (1 - m1) * (1 - m0) / m0
        return self._contrast("odds_ratio", value, value / (m1 * (1 - m1)), -value / (m0 * (1 - m0)), scale="log")

    @property
    def relative_reduction(self) -> Estimate:
        """Share of the mean under control that treatment takes away: 1 less the ratio."""
        ratio = self.ratio
        return Estimate(
            1 - float(ratio),
            name="relative_reduction",
            lower=1 - ratio.upper,
            upper=1 - ratio.lower,
            se=ratio.se,
            n=ratio.n,
            events=ratio.events,
            level=ratio.level,
            method=ratio.method,
            note=ratio.note,
            p=ratio.p,
            influence=None if ratio.influence is None else -ratio.influence,
        )

    def number_needed(self, better: str = "lower") -> NumberNeeded:
        """Return how many patients are treated for one to benefit, its interval through infinity where it must be.

        Parameters
        ----------
        better : {"lower", "higher"}
            Which way of the outcome is good: lower where 1 is a bad outcome.

        Raises
        ------
        NotEstimableError
            If the outcome is not 0/1.

        References
        ----------
        Altman, BMJ 1998;317:1309. Bender and Vervoelgyi, Contemp Clin Trials 2010;31:525 (adjusted).
        """
        if better not in ("lower", "higher"):
            raise DataError("better is neither 'lower' nor 'higher'", "'lower' where 1 is a bad outcome, else 'higher'")
        if not self.binary:
            raise NotEstimableError("a number needed to treat of an outcome that is not 0/1", "a 0/1 outcome")
        effect = self.difference
        sign = -1.0 if better == "lower" else 1.0
        low, high = sorted((sign * effect.lower, sign * effect.upper))
        none = low <= 0 <= high
        gain = Estimate(
            sign * float(effect),
            name="risk_reduction" if better == "lower" else "risk_increase",
            lower=low,
            upper=high,
            se=effect.se,
            n=effect.n,
            events=effect.events,
            level=effect.level,
            method=effect.method,
            note=effect.note,
            p=effect.p,
            influence=None if effect.influence is None else sign * effect.influence,
        )
        said = "the interval of the difference holds 0: benefit, no effect and harm are all compatible with the data"
        return NumberNeeded(
            name="number_needed_to_treat",
            difference=gain,
            benefit="NNTB",
            harm="NNTH",
            n=self.n,
            method=self.method,
            note=notes(said if none else "", self.note),
        )

    def records(
        self, names: Iterable[str] = ("treated", "control", "difference", "ratio"), *, better: str = "lower"
    ) -> dict[str, dict[str, Any]]:
        """Return contrasts as plain JSON types, each as `Measure.to_dict` writes it, with its `p` beside.

        Parameters
        ----------
        names : iterable of str
            From `CONTRASTS`.
        better : {"lower", "higher"}
            For the number needed.

        Raises
        ------
        UnknownNameError
            If a contrast is not known.

        Examples
        --------
        >>> from aimed.treatment.unadjusted import unadjusted
        >>> found = unadjusted([1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]).records(["difference"])
        >>> found["difference"]["value"], found["difference"]["n"]
        (0.0, 6)
        """
        return {name: self._record(name, better) for name in names}

    def to_dict(
        self, names: Iterable[str] = ("treated", "control", "difference", "ratio"), *, better: str = "lower"
    ) -> dict[str, Any]:
        """Return the effect as plain JSON types: what it is of, and `records` under ``contrasts``."""
        return {
            "method": self.method,
            "target": self.target,
            "population": self.population,
            "n": self.n,
            "n_treated": self.n_treated,
            "n_control": self.n_control,
            "binary": self.binary,
            "note": self.note,
            "contrasts": self.records(names, better=better),
        }

    def _record(self, name: str, better: str) -> dict[str, Any]:
        from aimed.core.evaluation import Measure

        if name not in CONTRASTS:
            raise UnknownNameError("contrast", name, CONTRASTS)
        if name == "number_needed":
            if not self.binary:
                return {**self._none("number_needed", math.nan, "needs a 0/1 outcome").measure().to_dict(), "p": None}
            found = self.number_needed(better)
            measure = Measure(
                name=name,
                value=found.value,
                lower=found.lower,
                upper=found.upper,
                n=found.n,
                level=found.level,
                method=found.method,
                note=notes(found.sentence, found.note),
            )
            return {**measure.to_dict(), "p": _finite(found.difference.p)}
        estimate: Estimate = getattr(self, name)
        return {**estimate.measure().to_dict(), "p": _finite(estimate.p)}

    @staticmethod
    def _psi(mean: Estimate) -> FloatArray:
        if mean.influence is None:
            raise NotEstimableError("a mean without influence values", "those made by the estimators of this room")
        return mean.influence

    def _facts(self) -> dict[str, Any]:
        events = None if self.treated.events is None else self.treated.events + (self.control.events or 0)
        return {"n": self.n, "events": events, "level": self.level, "method": self.method}

    def _none(self, name: str, value: float, why: str) -> Estimate:
        return Estimate(value, name=name, note=notes(f"no interval: {why}", self.note), **self._facts())

    def _contrast(
        self,
        name: str,
        value: float,
        by_treated: float,
        by_control: float,
        *,
        scale: Scale = "identity",
        bounds: tuple[float, float] = (-math.inf, math.inf),
    ) -> Estimate:
        """Return a function of the two means by the delta method, from its slopes in each."""
        slope = np.array([by_treated, by_control])
        se = math.sqrt(max(float(slope @ self.matrix @ slope), 0.0))
        influence = by_treated * self._psi(self.treated) + by_control * self._psi(self.control)
        units = None
        if self.codes is not None and self.covariance is None:
            used = (self._psi(self.treated) != 0) | (self._psi(self.control) != 0)
            units = int(np.unique(self.codes[used]).size) if used.any() else None
        found = Estimate.normal(
            value,
            se,
            name=name,
            scale=scale,
            bounds=bounds,
            units=units,
            note=self.note,
            influence=influence,
            **self._facts(),
        )
        error = se / value if scale == "log" else se
        p = two_sided_p(math.log(value) if scale == "log" else value, error, units)
        found.p = None if math.isnan(p) or math.isnan(found.lower) else p
        return found

    def __str__(self) -> str:
        arms = f"{self.n_treated} treated, {self.n_control} control"
        return f"{self.method}, {self.target}, {arms}: {self.difference}"


def _few_events(counts: list[int]) -> str:
    """Say where normal intervals rest on few events; counts of events and of other rows, arm by arm."""
    fewest = min(counts)
    if fewest >= _FEW_EVENTS:
        return ""
    kind = "events" if fewest in counts[::2] else "rows without the event"
    return f"an arm has only {fewest} {kind}: normal intervals may be too short"


def _outside(treated: float, control: float) -> str:
    if 0 <= treated <= 1 and 0 <= control <= 1:
        return ""
    return "a mean lies outside 0 to 1, where no risk can be: a few rows weigh too much; look at the overlap"


def _finite(p: float | None) -> float | None:
    return None if p is None or not math.isfinite(p) else p
