"""Whether numbers are plausible in their stated unit, or look like another unit or a code for missing."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.cohort import Variable
from aimed.core.finding import Finding

__all__ = ["check", "default_range"]

_SAY = Reporter(
    "units", "Collins et al., TRIPOD+AI, BMJ 2024;385:e078378, items 7 and 9b; UCUM, https://ucum.org (unit factors)"
)
_WRONG = 0.20
_FITS = 0.95
_HEAP = 0.002
_HEAP_ROWS = 5
_CODES = np.array([s * int(d * k) for s in (-1, 1) for d in "789" for k in range(1, 6)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A measured quantity: names, plausible range in the first unit, and unit → (scale, offset) from it."""

    names: frozenset[str]
    low: float
    high: float
    units: dict[str, tuple[float, float]]


def _quantity(names: str, low: float, high: float, **units: float | tuple[float, float]) -> _Quantity:
    spelled = {_unit(u): (v if isinstance(v, tuple) else (v, 0.0)) for u, v in units.items()}
    return _Quantity(frozenset(names.split()), low, high, spelled)


_SPELLINGS = {
    "mm[hg]": "mmhg",
    "mg_dl": "mg/dl",
    "g_dl": "g/dl",
    "g_l": "g/l",
    "mmol_l": "mmol/l",
    "meq/l": "mmol/l",
    "umol_l": "umol/l",
    "µmol/l": "umol/l",
    "μmol/l": "umol/l",
    "mcmol/l": "umol/l",
    "kg_m2": "kg/m2",
    "kg/m^2": "kg/m2",
    "kg/m²": "kg/m2",
    "[lb_av]": "lb",
    "lbs": "lb",
    "pound": "lb",
    "pounds": "lb",
    "[in_i]": "in",
    "inch": "in",
    "inches": "in",
    "°c": "cel",
    "c": "cel",
    "degc": "cel",
    "celsius": "cel",
    "[degf]": "degf",
    "°f": "degf",
    "f": "degf",
    "fahrenheit": "degf",
    "per_min": "/min",
    "bpm": "/min",
    "beats/min": "/min",
    "{beats}/min": "/min",
    "1/min": "/min",
    "percent": "%",
    "fraction": "1",
    "a": "year",
    "y": "year",
    "yr": "year",
    "yrs": "year",
    "years": "year",
    "mo": "month",
    "months": "month",
    "d": "day",
    "days": "day",
}


_SHOWN = {
    "mg/dl": "mg/dL",
    "g/dl": "g/dL",
    "g/l": "g/L",
    "mmol/l": "mmol/L",
    "umol/l": "umol/L",
    "mmhg": "mmHg",
    "kpa": "kPa",
    "cel": "degrees Celsius",
    "degf": "degrees Fahrenheit",
    "1": "a fraction",
}


def _unit(text: str) -> str:
    text = text.strip().lower()
    return _SPELLINGS.get(text, text)


# Ranges are wide on purpose: they hold the extremes seen in living patients, so that only errors fall outside.
_QUANTITIES = (
    _quantity("creatinine creat scr crea", 0.1, 40, mg_dl=1.0, umol_l=88.4),
    _quantity("glucose gluc glu bloodsugar fbs", 5, 2500, mg_dl=1.0, mmol_l=1 / 18.02),
    _quantity("cholesterol chol totchol hdl ldl", 2, 1500, mg_dl=1.0, mmol_l=1 / 38.67),
    _quantity("triglyceride triglycerides trig", 5, 15000, mg_dl=1.0, mmol_l=1 / 88.57),
    _quantity("bilirubin bili", 0.02, 80, mg_dl=1.0, umol_l=17.1),
    _quantity("calcium", 2, 25, mg_dl=1.0, mmol_l=0.2495),
    _quantity("albumin", 0.3, 8, g_dl=1.0, g_l=10.0),
    _quantity("hemoglobin haemoglobin hgb hb", 1, 28, g_dl=1.0, g_l=10.0, mmol_l=0.6206),
    _quantity("sodium", 80, 220, mmol_l=1.0),
    _quantity("potassium", 0.8, 15, mmol_l=1.0),
    _quantity("systolic sbp sysbp", 20, 350, mmhg=1.0, kpa=0.133322),
    _quantity("diastolic dbp diabp", 5, 250, mmhg=1.0, kpa=0.133322),
    _quantity("heartrate pulse hr", 5, 400, per_min=1.0),
    _quantity("spo2 sao2 saturation", 10, 100, percent=1.0, fraction=0.01),
    _quantity("temperature temp", 20, 46, cel=1.0, degf=(1.8, 32.0)),
    _quantity("height", 20, 280, cm=1.0, m=0.01, inch=1 / 2.54),
    _quantity("weight bodyweight", 0.2, 650, kg=1.0, lb=2.20462, g=1000.0),
    _quantity("bmi bodymassindex", 5, 200, kg_m2=1.0),
    _quantity("age", 0, 125, year=1.0, month=12.0, day=365.25),
)


def default_range(variable: Variable) -> tuple[float, float] | None:
    """Return the widest plausible range of a well-known quantity in its stated unit, or None.

    The name or label must hold the quantity as a word and the unit must be one it is measured in.

    Examples
    --------
    >>> default_range(Variable(name="albumin", unit="g/L"))
    (3.0, 80.0)
    >>> default_range(Variable(name="albumin")) is None
    True
    """
    quantity = _known(variable)
    if quantity is None or variable.unit is None:
        return None
    scale, offset = quantity.units[_unit(variable.unit)]
    return quantity.low * scale + offset, quantity.high * scale + offset


def check(context: Context) -> list[Finding]:
    """Return findings on numbers outside their plausible range and on codes for missing values.

    The range is the variable's ``plausible``; for well-known quantities with a stated unit a wide built-in range
    is used when there is none.

    * STOP: more than 20 % of the values outside; if the values fall into the range after a usual conversion, the
      message names the unit and the evidence the factor.
    * WARN: any value outside; a heap of values at a code such as -9, 99 or 999 that lies apart from the others.

    Examples
    --------
    >>> from aimed.core import Cohort
    >>> x = Variable(name="creatinine", unit="mg/dL", plausible=(0.1, 20))
    >>> cohort = Cohort(patient=["a", "b"], variables=[x], columns={"creatinine": [70.0, 95.0]})
    >>> check(Context(cohort))[0].message.split("; ")[1]
    'they look like umol/L, off by a factor of 88.4.'
    """
    found = []
    for variable in context.cohort.variables:
        if variable.kind != "number" or variable.role in ("outcome", "patient", "unit", "site"):
            continue
        values = context.cohort.columns[variable.name]
        values = values[~np.isnan(values)]
        if not values.size:
            continue
        found += _sentinels(variable, values)
        limits = variable.plausible or default_range(variable)
        if limits is not None:
            found += _range(variable, values, limits)
    return found


def _range(variable: Variable, values: NDArray[np.float64], limits: tuple[float, float]) -> list[Finding]:
    low, high = limits
    bad = (values < low) | (values > high)
    outside, n = int(bad.sum()), int(values.size)
    if not outside:
        return []
    negative = int((values < 0).sum()) if low >= 0 else 0
    unit = f" in {variable.unit}" if variable.unit else ""
    message = f"{of(outside, n, 'value')} of '{variable.name}' {'lies' if outside == 1 else 'lie'} outside"
    message += f" its plausible range{unit}"
    guess = _conversion(variable, values[bad], limits)
    if guess is not None:
        message += f"; {guess[0]}"
    elif negative:
        message += f"; {negative:,} of them {'is' if negative == 1 else 'are'} negative"
    wrong = outside > _WRONG * n
    say = _SAY.stop if wrong else _SAY.warn
    if guess is not None:
        advice = "Correct the unit in the study file, or convert the values" + ("." if wrong else " that need it.")
    else:
        advice = "Correct these values or set them missing; check the unit and the range in the study file."
    return [
        say(
            variable.name,
            message + ".",
            advice,
            outside=outside,
            n=n,
            share=outside / n,
            below=int((values < low).sum()),
            above=int((values > high).sum()),
            negative=negative,
            plausible=[low, high],
            declared=variable.plausible is not None,
            guess=None if guess is None else guess[0],
            factor=None if guess is None else guess[1],
        )
    ]


def _conversion(
    variable: Variable, bad: NDArray[np.float64], limits: tuple[float, float]
) -> tuple[str, float | None] | None:
    """Return words on the unit the implausible values seem to be in, and its factor; None if none fits."""
    low, high = limits

    def fits(scaled: NDArray[np.float64]) -> float:
        inside = float(((scaled >= low) & (scaled <= high)).mean())
        return inside if low <= float(np.median(scaled)) <= high and inside >= _FITS else 0.0

    options: list[tuple[float, str, float | None]] = []
    quantity = _known(variable)
    if quantity is not None and variable.unit is not None:
        scale, offset = quantity.units[_unit(variable.unit)]
        for unit, (s, o) in quantity.units.items():
            if unit != _unit(variable.unit):
                factor = s / scale if o == offset == 0 else None
                options.append((fits((bad - o) / s * scale + offset), _SHOWN.get(unit, unit), factor))
    elif variable.plausible is not None:
        for factor in (10.0, 100.0, 1000.0, 0.1, 0.01, 0.001):
            options.append((fits(bad / factor), "", factor))
    best = max((share for share, _, _ in options), default=0.0)
    if best == 0:
        return None
    # Several units may fit a wide range equally well: then name them all rather than choose.
    fitting = [(unit, factor) for share, unit, factor in options if share == best]
    factors = [f"{factor:.4g}" for _, factor in fitting if factor]
    by = f"off by a factor of {' or '.join(factors)}" if factors else ""
    units = " or ".join(unit for unit, _ in fitting if unit)
    words = ", ".join(part for part in (units, by) if part)
    return f"they look like {words}" if units else f"they look {words}", fitting[0][1] if len(fitting) == 1 else None


def _sentinels(variable: Variable, values: NDArray[np.float64]) -> list[Finding]:
    ends = np.array([values.min(), values.max()])
    if not np.isin(ends, _CODES).any():
        return []
    rest = values[~np.isin(values, _CODES)]
    if not rest.size:
        return []
    low, high = float(rest.min()), float(rest.max())
    found = []
    for code in _CODES[np.isin(_CODES, ends)]:
        count = int((values == code).sum())
        if count < max(_HEAP_ROWS, _HEAP * values.size):
            continue
        # A short code must lie farther off than the values span; nobody measures 999 by chance.
        apart = (low >= 0 and low > code) if code < 0 else False
        gap = max(low - code, code - high)
        if not apart and not (low < high and gap > (1.0 if abs(code) < 100 else 0.25) * (high - low)):
            continue
        found.append(
            _SAY.warn(
                variable.name,
                f"{of(count, int(values.size), 'value')} of '{variable.name}' are the same customary code for missing, "
                "apart from all others.",
                "Declare the code as missing when the table is read.",
                count=count,
                n=values.size,
                code=float(code),
            )
        )
    return found


def _known(variable: Variable) -> _Quantity | None:
    """Return the quantity of a variable whose unit is one of its units."""
    if variable.unit is None:
        return None
    words: set[str] = set()
    for text in (variable.name, variable.label or ""):
        parts = [w for w in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()) if w]
        words |= {*parts, "".join(parts)}
    unit = _unit(variable.unit)
    for quantity in _QUANTITIES:
        if quantity.names & words and unit in quantity.units:
            return quantity
    return None
