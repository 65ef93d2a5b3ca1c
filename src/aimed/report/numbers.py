"""How a number is spelt in a report: digits, intervals, thin spaces, minus signs and p values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ABSENT",
    "count",
    "fixed",
    "horizon",
    "interval",
    "interval_at",
    "is_number",
    "measure",
    "moment",
    "number",
    "p_value",
    "percent",
    "points",
    "ratio",
    "ratio_interval",
    "seconds",
    "short",
    "step",
]

ABSENT = "–"
"""What stands where there is no number."""

THIN = "\u202f"
MINUS = "\u2212"


def is_number(value: object) -> TypeGuard[float]:
    """Return True for a finite int or float, not for a bool.

    Examples
    --------
    >>> is_number(1.5), is_number(True), is_number(float("nan")), is_number(None)
    (True, False, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def fixed(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals and a true minus sign; a dash for none.

    Examples
    --------
    >>> fixed(0.83149), fixed(-0.0004), fixed(-0.5, 1), fixed(None)
    ('0.831', '0.000', '−0.5', '–')
    """
    if value is None or not is_number(value):
        return ABSENT
    text = f"{float(value):,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS).replace(",", THIN)


def short(value: float | None) -> str:
    """Return a proportion for a sentence: two decimals, three where two would read as 0 or 1.

    Examples
    --------
    >>> short(0.8312), short(0.9963), short(0.0021)
    ('0.83', '0.996', '0.002')
    """
    if value is None or not is_number(value):
        return ABSENT
    digits = 2
    if (round(value, 2) == 1 and value != 1) or (round(value, 2) == 0 and value != 0):
        digits = 3
    return fixed(value, digits)


def interval(value: float | None, lower: float | None, upper: float | None, digits: int = 3) -> str:
    """Return an estimate with its interval.

    Examples
    --------
    >>> interval(0.8312, 0.79, 0.8699, digits=2), interval(0.8312, None, None), interval(None, None, None)
    ('0.83 (0.79 to 0.87)', '0.831', 'not estimable')
    """
    if not is_number(value):
        return "not estimable"
    if not is_number(lower) or not is_number(upper):
        return fixed(value, digits)
    return f"{fixed(value, digits)} ({fixed(lower, digits)} to {fixed(upper, digits)})"


def ratio(value: float | None) -> str:
    """Return a ratio with about three digits that matter; what is beyond any use says only that.

    Examples
    --------
    >>> ratio(1.0423), ratio(12.44), ratio(312.4), ratio(4e8), ratio(0.002), ratio(None)
    ('1.04', '12.4', '312', '>9\u202f999', '<0.01', '–')
    """
    if value is None or not is_number(value):
        return ABSENT
    if value >= 9999.5:
        return f">9{THIN}999"
    if 0 <= value < 0.005:
        return "<0.01"
    return fixed(value, 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0)


def ratio_interval(value: float | None, lower: float | None, upper: float | None) -> str:
    """Return a ratio with its interval.

    Examples
    --------
    >>> ratio_interval(4.69, 2.76, 12.44), ratio_interval(1.1, None, None)
    ('4.69 (2.76 to 12.4)', '1.10')
    """
    if not is_number(value):
        return "not estimable"
    if not is_number(lower) or not is_number(upper):
        return ratio(value)
    return f"{ratio(value)} ({ratio(lower)} to {ratio(upper)})"


def measure(record: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return the estimate and interval of a measure dictionary.

    Examples
    --------
    >>> measure({"value": 1.02, "lower": 0.9, "upper": 1.1}, 2), measure(None)
    ('1.02 (0.90 to 1.10)', '–')
    """
    if not record:
        return ABSENT
    return interval(record.get("value"), record.get("lower"), record.get("upper"), digits)


def interval_at(i: int, *curves: Sequence[float] | NDArray[np.float64], digits: int = 3) -> str:
    """Return the point of a curve with its interval; `curves` are the values and, where known, their bounds.

    Examples
    --------
    >>> interval_at(1, [0.1, 0.2], [0.0, 0.15], [0.2, 0.25]), interval_at(0, [0.1, 0.2], [], [])
    ('0.200 (0.150 to 0.250)', '0.100')
    """
    value, lower, upper = (float(c[i]) if i < len(c) else None for c in curves)
    return interval(value, lower, upper, digits)


def count(value: float | str | None) -> str:
    """Return a whole number with thin spaces between thousands; a suppressed count such as ``"<11"`` as it is.

    Examples
    --------
    >>> count(12345) == "12\u202f345", count(500), count("<11"), count(None)
    (True, '500', '<11', '–')
    """
    return value if isinstance(value, str) else fixed(value, 0)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage; a tiny share that is not zero says so.

    Examples
    --------
    >>> percent(0.1234), percent(0.0), percent(0.0001), percent(None)
    ('12.3%', '0.0%', '<0.1%', '–')
    """
    if value is None or not is_number(value):
        return ABSENT
    least = 10.0**-digits
    if 0 < 100 * value < least / 2:
        return f"<{least:.{digits}f}%"
    return f"{fixed(100 * value, digits)}%"


def points(value: float | None, digits: int = 1) -> str:
    """Return a difference of two probabilities in percentage points, without the unit.

    Examples
    --------
    >>> points(0.1234), points(-0.05), points(None)
    ('+12.3', '−5.0', '–')
    """
    if value is None or not is_number(value):
        return ABSENT
    text = fixed(100 * value, digits)
    return f"+{text}" if text.strip("0.") and not text.startswith(MINUS) else text


def p_value(value: float | None) -> str:
    """Return a p value: two decimals, three below 0.1, never zero.

    Examples
    --------
    >>> p_value(0.42), p_value(0.0312), p_value(1e-9)
    ('0.42', '0.031', '<0.001')
    """
    if value is None or not is_number(value):
        return ABSENT
    if value < 0.001:
        return "<0.001"
    return fixed(value, 3 if value < 0.1 else 2)


def seconds(value: float | None) -> str:
    """Return a duration in the unit that reads best.

    Examples
    --------
    >>> seconds(0.42), seconds(12.3), seconds(75), seconds(7300)
    ('0.4 s', '12 s', '1 min 15 s', '2 h 1 min')
    """
    if value is None or not is_number(value):
        return ABSENT
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(text: object) -> str:
    """Return an ISO time to the minute, in UTC; anything else as it is.

    Examples
    --------
    >>> moment("2026-11-21T06:11:40+00:00"), moment("today"), moment(None)
    ('2026-11-21 06:11 UTC', 'today', '–')
    """
    if text is None:
        return ABSENT
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if found.tzinfo else str(text)


def number(value: object) -> str:
    """Return a value of any plain kind as text, numbers with about four significant digits.

    Examples
    --------
    >>> number(0.000123456), number(1200000), number(True), number([1, 2]), number(None)
    ('0.0001235', '1\u202f200\u202f000', 'yes', '1, 2', '–')
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return ABSENT
        if value == int(value) and abs(value) < 1e15:
            return count(value)
        return f"{value:.4g}".replace("-", MINUS)
    if isinstance(value, (list, tuple)):
        return ", ".join(number(v) for v in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {number(v)}" for k, v in value.items())
    return str(value)


_TIMES = ("years", "months", "weeks", "days", "hours", "minutes", "seconds", "beats", "breaths", "points", "units")


def step(text: object) -> str:
    """Return the step that a ratio is for, its unit in the right number.

    Examples
    --------
    >>> step("1 years"), step("1 beats/min"), step("10 years"), step("1 mmHg"), step(None)
    ('1 year', '1 beat/min', '10 years', '1 mmHg', '–')
    """
    words = ABSENT if text is None else str(text)
    first, _, rest = words.partition(" ")
    plural = next((t for t in _TIMES if rest == t or rest.startswith((f"{t}/", f"{t} "))), "")
    return f"1 {plural[:-1]}{rest[len(plural) :]}" if first == "1" and plural else words


def horizon(value: float | str, unit: str = "day") -> str:
    """Return a time horizon with its unit in the right number.

    Examples
    --------
    >>> horizon(365), horizon("1.0", "year"), horizon(2.5, "years")
    ('365 days', '1 year', '2.5 years')
    """
    size = float(value)
    stem = unit[:-1] if unit.endswith("s") and len(unit) > 2 else unit
    text = count(size) if size == int(size) else f"{size:g}"
    return f"{text} {stem}" if size == 1 else f"{text} {stem}s"
