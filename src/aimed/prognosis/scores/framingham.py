"""The Framingham general cardiovascular risk of 2008, with lipids and with body mass index."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, Input, number, published_score, yes_no

__all__ = ["framingham", "framingham_bmi"]

# D'Agostino et al. 2008, table 2 and the office-based model: men, then women. ln age, the predictors in between,
# ln systolic pressure untreated and treated, smoker, diabetes; mean of the sum, baseline survival.
_LIPIDS = np.array(
    [
        [3.06117, 1.12370, -0.93263, 1.93303, 1.99881, 0.65451, 0.57367, 23.9802, 0.88936],
        [2.32888, 1.20904, -0.70833, 2.76157, 2.82263, 0.52873, 0.69154, 26.1931, 0.95012],
    ]
)
_OFFICE = np.array(
    [
        [3.11296, 0.79277, 1.85508, 1.92672, 0.70953, 0.53160, 23.9388, 0.88431],
        [2.72107, 0.51125, 2.81291, 2.88267, 0.61868, 0.77763, 26.0145, 0.94833],
    ]
)
_OUTCOME = "first coronary, cerebrovascular or peripheral artery disease or heart failure within 10 years"
_SOURCE = "D'Agostino et al., Circulation 2008;117:743-53, doi:10.1161/CIRCULATIONAHA.107.699579"
_POPULATION = "Framingham participants of 30 to 74 years without cardiovascular disease, 1968 to 1987; nearly all white"
_NOT_FOR = (
    "patients with cardiovascular disease",
    "hard events alone: the outcome counts angina, claudication and heart failure",
    "other populations without recalibration",
)


def _inputs(*between: Input) -> tuple[Input, ...]:
    return (
        number("age", "Age", "age", "year", 30, 74),
        yes_no("female", "Female sex"),
        *between,
        number("systolic", "Systolic blood pressure", "pressure", "mmHg", 90, 200),
        yes_no("treated", "Treatment for high blood pressure"),
        yes_no("smoker", "Current smoker"),
        yes_no("diabetes", "Diabetes mellitus"),
    )


def _risk(
    table: Array, female: Array, logs: tuple[Array, ...], systolic: Array, treated: Array, rest: tuple[Array, ...]
) -> Found:
    sbp = np.log(systolic)
    weights = table[female.astype(int)].T
    linear = np.zeros_like(sbp)
    for term, weight in zip((*logs, (1 - treated) * sbp, treated * sbp, *rest), weights, strict=False):
        linear += weight * term
    risk = 1.0 - weights[-1] ** np.exp(linear - weights[-2])
    return Found(100.0 * risk, risk, linear)


@published_score(
    title="Framingham 2008",
    inputs=_inputs(
        number("total_cholesterol", "Total cholesterol", "cholesterol", "mg/dL", 100, 405),
        number("hdl_cholesterol", "HDL cholesterol", "cholesterol", "mg/dL", 10, 100),
    ),
    outcome=_OUTCOME,
    span=(0, 100),
    source=f"{_SOURCE}, table 2.",
    risk_source="the same.",
    horizon_days=3652.5,
    scale="risk",
    population=_POPULATION,
    not_for=_NOT_FOR,
)
def framingham(
    age: Array,
    female: Array,
    total_cholesterol: Array,
    hdl_cholesterol: Array,
    systolic: Array,
    treated: Array,
    smoker: Array,
    diabetes: Array,
) -> Found:
    """Compute the 10-year risk of general cardiovascular disease from lipids; ``value`` is in percent.

    Examples
    --------
    >>> found = framingham(age=61, female=1, total_cholesterol=180, hdl_cholesterol=47, systolic=124, treated=0,
    ...                    smoker=1, diabetes=0)
    >>> round(float(found.value), 2)
    10.48
    """
    logs = (np.log(age), np.log(total_cholesterol), np.log(hdl_cholesterol))
    return _risk(_LIPIDS, female, logs, systolic, treated, (smoker, diabetes))


@published_score(
    title="Framingham 2008, body mass index",
    inputs=_inputs(number("bmi", "Body mass index", "body mass index", "kg/m2", 15, 50)),
    outcome=_OUTCOME,
    span=(0, 100),
    source=f"{_SOURCE}, the office-based model.",
    risk_source="the same.",
    horizon_days=3652.5,
    scale="risk",
    population=_POPULATION,
    not_for=_NOT_FOR,
)
def framingham_bmi(
    age: Array, female: Array, bmi: Array, systolic: Array, treated: Array, smoker: Array, diabetes: Array
) -> Found:
    """Compute the 10-year risk of general cardiovascular disease without a laboratory; ``value`` is in percent.

    Examples
    --------
    >>> found = framingham_bmi(age=35, female=0, bmi=24.3, systolic=122, treated=0, smoker=1, diabetes=0)
    >>> round(float(found.value), 1)
    5.8
    """
    return _risk(_OFFICE, female, (np.log(age), np.log(bmi)), systolic, treated, (smoker, diabetes))
