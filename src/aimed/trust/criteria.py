"""Acceptance criteria: declared before the test part opens, judged in three states from interval and value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aimed.core import Comparison, Measure, StudyFileError, nearest, parse

__all__ = ["State", "Target", "decide", "judge", "overall", "target_of", "validate"]

State: TypeAlias = Literal["met", "not met", "not enough evidence"]
"""What a criterion came to."""

_BOUNDS = ("lower", "upper", "value")
_SIGNS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}
_DERIVED = ("worst_subgroup(", "difference(")


@dataclass(frozen=True, slots=True)
class Target:
    """What a comparison asks for.

    Parameters
    ----------
    name : str
        Measure, without the bound.
    bound : {"lower", "upper", "value"} or None
        The part of the measure that is named, if one is.
    operator : {"<", "<=", ">", ">=", "between"}
    low, high : float
        Ends of the range that is good; infinite on an open side.
    """

    name: str
    bound: str | None
    operator: str
    low: float
    high: float

    def good(self, number: float) -> bool:
        """Return whether a number satisfies the comparison.

        Examples
        --------
        >>> target_of(parse("auroc > 0.7")[0]).good(0.7)
        False
        """
        above = number > self.low if self.operator == ">" else number >= self.low
        below = number < self.high if self.operator == "<" else number <= self.high
        return above and below

    def words(self) -> str:
        """Return the range in words.

        Examples
        --------
        >>> target_of(parse("auroc >= 0.7")[0]).words()
        'at least 0.7'
        """
        if self.operator == "between":
            return f"from {self.low:g} to {self.high:g}"
        return f"{_SIGNS[self.operator]} {self.low if self.operator[0] == '>' else self.high:g}"


def target_of(comparison: Comparison) -> Target:
    """Return what a parsed comparison asks for.

    Raises
    ------
    StudyFileError
        If it is not a number compared with <, <=, > or >=, or a range ``in [low, high]``.

    Examples
    --------
    >>> target = target_of(parse("auc@365.lower >= 0.65")[0])
    >>> target.name, target.bound, target.low
    ('auc@365', 'lower', 0.65)
    """
    stem, dot, tail = comparison.name.rpartition(".")
    bound = tail if dot and tail in _BOUNDS else None
    name = stem if bound else comparison.name
    value = comparison.value
    low, high = -math.inf, math.inf
    if comparison.operator == "between" and isinstance(value, tuple):
        low, high = float(value[0]), float(value[1])
        if low > high:
            raise StudyFileError(
                f"the criterion '{comparison.text}' has an empty range", "[low, high] with low <= high", "swap the ends"
            )
    elif comparison.operator in (">", ">=") and isinstance(value, float):
        low = value
    elif comparison.operator in ("<", "<=") and isinstance(value, float):
        high = value
    else:
        raise StudyFileError(
            f"the criterion '{comparison.text}' does not compare a measure with a number",
            "a form such as auroc.lower >= 0.65, brier <= 0.2 or calibration_slope in [0.8, 1.2]",
            "correct [evaluate] accept",
        )
    return Target(name, bound, comparison.operator, low, high)


def decide(target: Target, value: float | None, lower: float | None, upper: float | None) -> tuple[State, str]:
    """Return the state of one comparison and why.

    Parameters
    ----------
    target : Target
    value, lower, upper : float or None
        Estimate and its interval; None where not estimable.

    Returns
    -------
    state, why : str

    Notes
    -----
    Without a bound in the criterion: *met* when value and both ends of the interval are good, *not met* when none of
    the interval is good, otherwise *not enough evidence*. With a bound: *met* when that bound is good; *not met* when
    that bound is not good and none of the interval is; otherwise *not enough evidence*. So ``auroc >= 0.7`` and
    ``auroc.lower >= 0.7`` agree, and a wider interval never turns *not enough evidence* into *met* unless the criterion
    names the optimistic bound. ``.value`` judges the estimate alone, once it has an interval.
    A measure without value or interval is *not enough evidence*.

    Examples
    --------
    >>> target = target_of(parse("auroc >= 0.7")[0])
    >>> decide(target, 0.8, 0.72, 0.88)[0], decide(target, 0.8, 0.62, 0.88)[0], decide(target, 0.5, 0.42, 0.68)[0]
    ('met', 'not enough evidence', 'not met')
    """
    if value is None:
        return "not enough evidence", "The measure could not be estimated."
    if lower is None or upper is None:
        return "not enough evidence", "The measure has no interval."
    interval = f"the interval {lower:.3f} to {upper:.3f}"
    wanted = target.words()
    # The good side is convex, so both ends good means all good.
    outside = not _overlaps(target, lower, upper)
    if target.bound is None:
        if all(target.good(number) for number in (value, lower, upper)):
            return "met", f"All of {interval} is {wanted}."
        if outside and not target.good(value):
            return "not met", f"None of {interval} is {wanted}."
        return "not enough evidence", f"Only part of {interval} is {wanted}."
    judged = {"lower": lower, "upper": upper, "value": value}[target.bound]
    part = {"lower": "lower end", "upper": "upper end", "value": "estimate"}[target.bound]
    if target.good(judged):
        return "met", f"The {part}, {judged:.3f}, is {wanted}."
    if outside:
        return "not met", f"None of {interval} is {wanted}."
    return "not enough evidence", f"The {part}, {judged:.3f}, is not {wanted}, but part of {interval} is."


def _overlaps(target: Target, lower: float, upper: float) -> bool:
    """Whether some number of the interval is good."""
    if target.operator == "between":
        return lower <= target.high and upper >= target.low
    return target.good(upper if target.operator in (">", ">=") else lower)


def judge(criteria: Sequence[str], lookup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judge acceptance criteria against the measures of the test part.

    Parameters
    ----------
    criteria : sequence of str
        Such as ``"auroc.lower >= 0.65"``, ``"calibration_slope in [0.8, 1.2]"``,
        ``"worst_subgroup(auroc).lower >= 0.6"`` or ``"difference(prevalence).brier < 0"``; comparisons may be joined
        by ``and`` and are then judged one by one.
    lookup : mapping of str to Measure, measure dict or number
        A plain number is exact: its interval is itself.

    Returns
    -------
    list of dict
        ``text``, ``measure``, ``value``, ``lower``, ``upper``, ``state``, ``why``, one a comparison. See `decide`.

    Raises
    ------
    StudyFileError
        If a measure is unknown; the nearest name is given. A subgroup or difference that was not estimated is not
        enough evidence instead.

    Examples
    --------
    >>> row = judge(["auroc.lower >= 0.65"], {"auroc": {"value": 0.7, "lower": 0.6, "upper": 0.8}})[0]
    >>> row["state"], row["why"]
    ('not enough evidence', 'The lower end, 0.600, is not at least 0.65, but part of the interval 0.600 to 0.800 is.')
    """
    out: list[dict[str, Any]] = []
    for text in criteria:
        for comparison in parse(text):
            target = target_of(comparison)
            if target.name in lookup:
                value, lower, upper, note = _numbers(lookup[target.name])
                state, why = decide(target, value, lower, upper)
                why = f"{why} {_sentence(note)}".strip() if value is None or target.name.startswith(_DERIVED) else why
            elif target.name.startswith(_DERIVED):
                value = lower = upper = None
                state, why = "not enough evidence", "No estimate of it could be made."
            else:
                raise _unknown(text, target.name, lookup)
            row = {"text": text, "measure": target.name, "value": value, "lower": lower, "upper": upper}
            out.append({**row, "state": state, "why": why})
    return out


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _numbers(found: Any) -> tuple[float | None, float | None, float | None, str]:
    if isinstance(found, Measure):
        return found.value, found.lower, found.upper, found.note
    if isinstance(found, Mapping):
        value, lower, upper = (_finite(found.get(key)) for key in ("value", "lower", "upper"))
        return value, lower, upper, str(found.get("note") or "")
    number = _finite(found)
    return number, number, number, ""


def _finite(number: Any) -> float | None:
    return None if number is None or not math.isfinite(float(number)) else float(number)


def _unknown(text: str, name: str, known: Iterable[str]) -> StudyFileError:
    names = sorted(known)
    close = nearest(name, names)
    return StudyFileError(
        f"the criterion '{text}' names '{name}', which is no measure of this study",
        f"one of: {', '.join(names)}",
        f"did you mean '{close}'?" if close else "correct [evaluate] accept",
    )


def overall(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the state of all criteria together: the worst one decides.

    Examples
    --------
    >>> overall([{"state": "met"}, {"state": "not enough evidence"}]), overall([])
    ('not enough evidence', 'no criteria')
    """
    states = {row["state"] for row in rows}
    if not states:
        return "no criteria"
    return next(state for state in ("not met", "not enough evidence", "met") if state in states)


def validate(
    criteria: Sequence[str], known: Iterable[str], *, baselines: Iterable[str] = (), subgroups: bool = False
) -> None:
    """Check criteria before the run, so that a spelling mistake costs no opening of the test part.

    Parameters
    ----------
    criteria : sequence of str
    known : iterable of str
        Measures of the study, horizons included.
    baselines : iterable of str
        Names that ``difference(...)`` may hold.
    subgroups : bool
        Whether ``worst_subgroup(...)`` exists in this study.

    Raises
    ------
    StudyFileError
        If a criterion cannot be read or names something unknown; the nearest name is given.

    Examples
    --------
    >>> validate(["difference(prevalence).brier < 0"], ["auroc", "brier"], baselines=["prevalence"])
    >>> validate(["aurok >= 0.65"], ["auroc", "brier"])
    Traceback (most recent call last):
        ...
    aimed.core.errors.StudyFileError: the criterion 'aurok >= 0.65' names 'aurok', which is no measure of this study; \
expected one of: auroc, brier; did you mean 'auroc'?
    """
    measures = list(known)
    names = set(measures)
    names |= {f"difference({baseline}).{name}" for baseline in baselines for name in measures}
    names |= {f"worst_subgroup({name})" for name in measures if subgroups}
    for text in criteria:
        for comparison in parse(text):
            target = target_of(comparison)
            if target.name not in names:
                shown = names if target.name.startswith(_DERIVED) else measures
                raise _unknown(text, target.name, shown)
