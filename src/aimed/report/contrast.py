"""How an effect is spelt: its scale, its line of no effect, its unit, and which way of it is good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aimed.report import names, numbers, titles

__all__ = ["Question", "Scale", "bounds", "question", "worded"]

Record = Mapping[str, Any]
Kind = Literal["points", "ratio", "time", "number", "share", "count"]

_KINDS: dict[str, Kind] = {
    "risk_difference": "points",
    "risk_ratio": "ratio",
    "odds_ratio": "ratio",
    "hazard_ratio": "ratio",
    "rmst_ratio": "ratio",
    "relative_risk_reduction": "share",
    "number_needed_to_treat": "count",
    "rmst_difference": "time",
    "time_lost_difference": "time",
    "mean_difference": "number",
}


_TIMES = ("year", "month", "week", "day", "hour", "minute", "second")


def bounds(measure: Record | None) -> tuple[float | None, float | None, float | None]:
    """Return the value and the ends of the interval of a measure, None where one is not known.

    Examples
    --------
    >>> bounds({"value": 0.1, "lower": None, "upper": float("nan")})
    (0.1, None, None)
    """
    value, lower, upper = ((measure or {}).get(k) for k in ("value", "lower", "upper"))
    return (
        float(value) if numbers.is_number(value) else None,
        float(lower) if numbers.is_number(lower) else None,
        float(upper) if numbers.is_number(upper) else None,
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of one contrast.

    Parameters
    ----------
    name : str
        Key of the contrast, such as ``"risk_difference"``.
    kind : {"points", "ratio", "time", "number", "share", "count"}
        Percentage points, a ratio, a time, a plain number, a percentage, a count of patients.
    unit : str
        Unit of time, singular.
    digits : int, optional
        Decimals of a plain number; by its size when not given.
    measured : str
        Unit of a plain number.
    """

    name: str
    kind: Kind
    unit: str = "day"
    digits: int | None = None
    measured: str = ""

    @property
    def log(self) -> bool:
        """Whether the axis is logarithmic."""
        return self.kind == "ratio"

    @property
    def none(self) -> float:
        """Value of no effect.

        Examples
        --------
        >>> Scale("risk_ratio", "ratio").none, Scale("risk_difference", "points").none
        (1.0, 0.0)
        """
        return 1.0 if self.kind == "ratio" else 0.0

    @property
    def title(self) -> str:
        """Name for tables and axes, with its unit.

        Examples
        --------
        >>> Scale("risk_difference", "points").title, Scale("rmst_difference", "time").title
        ('Risk difference (percentage points)', 'Difference in restricted mean time (days)')
        """
        return f"{names.describe(self.name).title}{f' ({self.units})' if self.units else ''}"

    @property
    def units(self) -> str:
        """What values are measured in; empty for ratios and where it is not known."""
        return {"points": "percentage points", "time": f"{self.unit}s", "number": self.measured}.get(self.kind, "")

    def factor(self) -> float:
        """Return what values are multiplied by on an axis."""
        return 100.0 if self.kind in ("points", "share") else 1.0

    def text(self, *values: float | None) -> list[str]:
        """Return values of one estimate, all with the same decimals.

        Examples
        --------
        >>> Scale("risk_difference", "points").text(-0.11, 0.02)
        ['−11.0', '+2.0']
        >>> Scale("risk_ratio", "ratio").text(0.75), Scale("mean_difference", "number").text(1.234, -0.5)
        (['0.75'], ['+1.23', '−0.50'])
        """
        if self.kind == "points":
            return [numbers.points(v) for v in values]
        if self.kind == "ratio":
            return [numbers.ratio(v) for v in values]
        if self.kind == "share":
            return [numbers.percent(v) for v in values]
        if self.kind == "count":
            return [numbers.fixed(v, 1) for v in values]
        digits = self._decimals(values)
        return [_signed(v, digits) for v in values]

    def plain(self, *values: float) -> list[str]:
        """Return the sizes of values without their signs, points as a number of 100 patients.

        Examples
        --------
        >>> Scale("risk_difference", "points").plain(-0.11)
        ['11.0']
        """
        scaled = [self.factor() * abs(v) for v in values]
        digits = 1 if self.kind in ("points", "share") else self._decimals(values)
        return [numbers.fixed(v, digits) for v in scaled]

    def interval(self, measure: Record | None) -> str:
        """Return an estimate with its interval.

        Examples
        --------
        >>> Scale("risk_difference", "points").interval({"value": -0.11, "lower": -0.18, "upper": -0.04})
        '−11.0 (−18.0 to −4.0)'
        >>> Scale("risk_ratio", "ratio").interval(None), Scale("risk_ratio", "ratio").interval({"value": None})
        ('–', 'not estimable')
        """
        if not measure:
            return numbers.ABSENT
        value, lower, upper = bounds(measure)
        if value is None:
            return "not estimable"
        if lower is None or upper is None:
            return self.text(value)[0]
        a, b, c = self.text(value, lower, upper)
        return f"{a} ({b} to {c})"

    def excludes(self, measure: Record | None) -> int:
        """Return -1 where the interval lies below no effect, 1 where above, 0 where it holds it or is not known.

        Examples
        --------
        >>> Scale("risk_ratio", "ratio").excludes({"value": 0.7, "lower": 0.5, "upper": 0.9})
        -1
        """
        value, lower, upper = bounds(measure)
        if value is None or lower is None or upper is None:
            return 0
        return -1 if upper < self.none else 1 if lower > self.none else 0

    def _decimals(self, values: Sequence[float | None]) -> int:
        if self.digits is not None:
            return self.digits
        known = [abs(float(v)) for v in values if numbers.is_number(v) and v]
        if not known:
            return 1
        return min(4, max(0, 2 - math.floor(math.log10(max(known)))))


def _signed(value: float | None, digits: int) -> str:
    text = numbers.fixed(value, digits)
    return f"+{text}" if numbers.is_number(value) and value > 0 and text.strip("0.") else text


def worded(measure: Record | None, scale: Scale, less: str, more: str) -> str:
    """Return a difference in words, the sign of each number as a word.

    Examples
    --------
    >>> points = Scale("risk_difference", "points")
    >>> worded({"value": -0.11, "lower": -0.182, "upper": -0.038}, points, "fewer", "more")
    '11.0 fewer (3.8 to 18.2 fewer)'
    >>> worded({"value": -0.01, "lower": -0.05, "upper": 0.03}, points, "fewer", "more")
    '1.0 fewer (5.0 fewer to 3.0 more)'
    """
    head, span = parts(measure, scale, less, more)
    return head + span


def parts(measure: Record | None, scale: Scale, less: str, more: str) -> tuple[str, str]:
    """Return what `worded` says in two parts: the estimate, and its interval with a blank before it."""
    value, lower, upper = bounds(measure)
    if value is None:
        return "not estimable", ""

    def word(v: float) -> str:
        return less if v < 0 else more

    if lower is None or upper is None:
        return f"{scale.plain(value)[0]} {word(value)}", ""
    a, b, c = scale.plain(value, lower, upper)
    if lower * upper > 0:
        ends = (b, c) if lower > 0 else (c, b)
        return f"{a} {word(value)}", f" ({ends[0]} to {ends[1]} {word(lower)})"
    return f"{a} {word(value)}", f" ({b} {less} to {c} {more})"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the treatment, in the words of the study.

    Parameters
    ----------
    active, control : str
        Labels of the arms.
    outcome : str
    better : {"lower", "higher"}
        Which way of the outcome is good.
    contrast : str
        Key of the primary contrast.
    unit : str
        Unit of time, singular.
    horizon : float, optional
    randomised : bool
    base : str
        Key of the contrast that effects of single patients are on, where the study says it.
    measured : str
        Unit of the outcome, where it is a number.
    """

    active: str = "the treatment"
    control: str = "control"
    outcome: str = "the outcome"
    better: str = "lower"
    contrast: str = "risk_difference"
    unit: str = "day"
    horizon: float | None = None
    randomised: bool = True
    base: str = ""
    measured: str = ""

    @property
    def treated(self) -> str:
        """The active arm as it stands inside a sentence.

        Examples
        --------
        >>> Question("Levamisole").treated, Question("ACE inhibitor").treated
        ('levamisole', 'ACE inhibitor')
        """
        return titles.inside(self.active)

    @property
    def untreated(self) -> str:
        """The control arm as it stands inside a sentence."""
        return titles.inside(self.control)

    @property
    def kind(self) -> Literal["risk", "time", "mean"]:
        """What an arm has: a risk, a time or a mean."""
        name = self.base or self.contrast
        if name.startswith("rmst") or _KINDS.get(name) == "time":
            return "time"
        return "mean" if _KINDS.get(name) == "number" else "risk"

    @property
    def when(self) -> str:
        """The horizon in words with a leading space; nothing where the outcome says it."""
        said = any(word in f" {self.outcome.lower()} " for word in (" within ", " by ", " at "))
        return "" if self.horizon is None or said else f" by {numbers.horizon(self.horizon, self.unit)}"

    def scale(self, name: str = "") -> Scale:
        """Return the scale of a contrast, of the primary one when none is named.

        Examples
        --------
        >>> Question().scale().kind, Question().scale("hazard_ratio").kind
        ('points', 'ratio')
        """
        name = name or self.contrast
        return Scale(name, _KINDS.get(name, "number"), self.unit, measured=self.measured)

    @property
    def additive(self) -> Scale:
        """The scale of effects of single patients: a difference of what an arm has."""
        for name in (self.base, self.contrast):
            if name and self.scale(name).kind in ("points", "time", "number"):
                return self.scale(name)
        return self.scale("rmst_difference" if self.kind == "time" else "risk_difference")

    def good(self, name: str = "") -> int:
        """Return the sign of a good difference: -1 where less is better, 1 where more is.

        Examples
        --------
        >>> Question().good(), Question().good("rmst_difference"), Question(better="higher").good()
        (-1, 1, 1)
        """
        sign = 1 if self.better == "higher" else -1
        turned = ("rmst_difference", "rmst_ratio", "relative_risk_reduction", "number_needed_to_treat")
        return -sign if (name or self.contrast) in turned else sign

    def level(self, measure: Record | None, *, span: bool = True) -> str:
        """Return what an arm has, with its interval: a risk in per cent, a time or a mean.

        Examples
        --------
        >>> Question().level({"value": 0.372, "lower": 0.3, "upper": 0.45})
        '37.2% (30.0% to 45.0%)'
        >>> Question(contrast="mean_difference").level({"value": 12.34}), Question().level(None)
        ('12.34', '–')
        """
        if not measure:
            return numbers.ABSENT
        value, lower, upper = bounds(measure)
        if value is None:
            return "not estimable"
        name = str(measure.get("name") or "")
        if (self.kind != "risk" and not name.startswith("risk")) or name.startswith("rmst"):
            digits = 1 if self.kind == "time" and self.unit != "year" else 2
            return numbers.interval(value, lower if span else None, upper, digits)
        if lower is None or upper is None or not span:
            return numbers.percent(value)
        return f"{numbers.percent(value)} ({numbers.percent(lower)} to {numbers.percent(upper)})"

    def levels(self) -> str:
        """Return the name of what an arm has, for axes and heads of tables."""
        if self.kind == "mean":
            return f"Mean {self.outcome}"
        if self.kind == "time":
            return f"Mean time without the outcome ({self.unit}s)"
        return f"Risk{self.when}"


def question(results: Mapping[str, Any]) -> Question:
    """Return the question of a study of effects.

    Examples
    --------
    >>> question({"effect": {"estimand": {"treatment": "levamisole", "better": "lower"}}}).active
    'levamisole'
    """
    effect = results.get("effect") or {}
    asked = effect.get("estimand") or {}
    arms = {a.get("key"): a.get("label") for a in effect.get("arms") or [] if isinstance(a, Mapping)}
    found = Question()
    horizon = asked.get("horizon")
    unit = str(asked.get("unit") or "day")
    timely = unit.rstrip("s") in _TIMES
    contrast = str(asked.get("contrast") or next(iter(effect.get("crude") or {}), found.contrast))
    outcome = str(asked.get("outcome") or found.outcome)
    return Question(
        str(asked.get("treatment") or arms.get("active") or found.active),
        str(asked.get("control") or arms.get("control") or found.control),
        titles.inside(outcome),
        str(asked.get("better") or "lower"),
        contrast,
        unit.rstrip("s") if timely else "day",
        float(horizon) if numbers.is_number(horizon) else None,
        asked.get("assignment") != "observational",
        str(asked.get("scale") or ""),
        "" if timely else unit,
    )
