"""Units of the measurements that scores take, and the declared factors between them; nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aimed.core import StudyFileError

__all__ = ["UNITS", "convert", "same_unit"]

UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "age": {"year": (1.0, 0.0)},
    "albumin": {"g/dL": (1.0, 0.0), "g/L": (0.1, 0.0)},
    "bilirubin": {"mg/dL": (1.0, 0.0), "umol/L": (1.0 / 17.1, 0.0)},
    "body mass index": {"kg/m2": (1.0, 0.0)},
    "cholesterol": {"mg/dL": (1.0, 0.0), "mmol/L": (38.67, 0.0)},
    "consciousness": {"Glasgow points": (1.0, 0.0)},
    "creatinine": {"mg/dL": (1.0, 0.0), "umol/L": (1.0 / 88.4, 0.0)},
    "dose": {"ug/kg/min": (1.0, 0.0)},
    "platelets": {"10*9/L": (1.0, 0.0), "10*3/uL": (1.0, 0.0), "/uL": (0.001, 0.0)},
    "pressure": {"mmHg": (1.0, 0.0), "kPa": (7.50062, 0.0)},
    "rate": {"/min": (1.0, 0.0)},
    "ratio": {"1": (1.0, 0.0)},
    "saturation": {"%": (1.0, 0.0), "fraction": (100.0, 0.0)},
    "sodium": {"mmol/L": (1.0, 0.0), "mEq/L": (1.0, 0.0)},
    "temperature": {"Cel": (1.0, 0.0), "degF": (5.0 / 9.0, -160.0 / 9.0)},
    # Milligrams of urea and of the nitrogen in it differ by a factor of two, so mg/dL alone is refused.
    "urea": {"mmol/L": (1.0, 0.0), "mg/dL urea nitrogen": (0.357, 0.0), "mg/dL urea": (0.1665, 0.0)},
    "urine": {"mL/d": (1.0, 0.0), "L/d": (1000.0, 0.0)},
}
"""Measurement → unit → (factor, offset) to the first unit: value x factor + offset."""

_SPELLINGS = {
    "years": "year", "yr": "year", "a": "year", "mm[hg]": "mmhg", "1/min": "/min", "bpm": "/min", "beats/min": "/min",
    "breaths/min": "/min", "kg/m^2": "kg/m2", "kg/m²": "kg/m2", "°c": "cel", "celsius": "cel", "°f": "degf",
    "[degf]": "degf", "fahrenheit": "degf", "10^9/l": "10*9/l", "10^3/ul": "10*3/ul", "ml/day": "ml/d", "l/day": "l/d",
    "ml/24h": "ml/d", "{inr}": "1", "ug/kg per min": "ug/kg/min", "percent": "%",
}  # fmt: skip
"""Other ways to write a unit, in lower case."""


def _plain(unit: str) -> str:
    text = unit.strip().replace("µ", "u").replace("μ", "u").lower()
    return _SPELLINGS.get(text, text)


def same_unit(one: str, other: str) -> bool:
    """Say whether two spellings mean the same unit.

    Examples
    --------
    >>> same_unit("µmol/l", "umol/L"), same_unit("mg/dL", "mmol/L")
    (True, False)
    """
    return _plain(one) == _plain(other)


def _factor(unit: str, measurement: str) -> tuple[float, float]:
    for known, factor in UNITS[measurement].items():
        if same_unit(unit, known):
            return factor
    raise StudyFileError(
        f"'{unit}' is no unit of {measurement} that is known here",
        f"one of: {', '.join(UNITS[measurement])}",
        "name the unit the values have, or convert them first",
    )


def convert(values: NDArray[np.float64], measurement: str, unit: str, to: str) -> NDArray[np.float64]:
    """Return values in another unit of the same measurement.

    Parameters
    ----------
    values : float array
    measurement : str
        A name in `UNITS`.
    unit, to : str
        The unit the values have, and the one they get.

    Raises
    ------
    StudyFileError
        If a unit is not declared for the measurement.

    Examples
    --------
    >>> convert(np.array([88.4, 176.8]), "creatinine", "umol/L", "mg/dL").tolist()
    [1.0, 2.0]
    >>> convert(np.array([98.6]), "temperature", "degF", "Cel").tolist()
    [37.0]
    """
    scale, shift = _factor(unit, measurement)
    target, base = _factor(to, measurement)
    if (scale, shift) == (target, base):
        return values
    # Rounding takes away what the conversion itself adds, so that 35.0 degrees stay 35.0 at the edge of a band.
    return np.asarray(np.round((values * scale + shift - base) / target, 10))
