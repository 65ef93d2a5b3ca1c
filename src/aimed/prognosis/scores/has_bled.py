"""HAS-BLED, bleeding risk on anticoagulants."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, number, published_score, yes_no

__all__ = ["has_bled"]

# The publication has too few patients above 5 points for a rate.
_BLEEDS = np.array([1.13, 1.02, 1.88, 3.74, 8.70, 12.50, np.nan, np.nan, np.nan, np.nan]) / 100


@published_score(
    title="HAS-BLED",
    inputs=(
        number("age", "Age", "age", "year", 18, 120),
        yes_no("uncontrolled_hypertension", "Systolic blood pressure above 160 mmHg"),
        yes_no("renal_disease", "Dialysis, kidney transplant or creatinine of 200 umol/L or more"),
        yes_no("liver_disease", "Chronic liver disease, or bilirubin twice and transaminases three times normal"),
        yes_no("stroke", "Earlier stroke"),
        yes_no("bleeding", "Earlier major bleeding, or a predisposition such as anaemia"),
        yes_no("labile_inr", "Less than 60 % of time in the therapeutic INR range"),
        yes_no("drugs", "Antiplatelet or non-steroidal anti-inflammatory drugs"),
        yes_no("alcohol", "Eight or more drinks a week"),
    ),
    outcome="major bleeding",
    span=(0, 9),
    source="Pisters et al., Chest 2010;138:1093-100, doi:10.1378/chest.10-0134.",
    risk_source="the same, major bleeds in 100 patient-years; none is given above 5 points.",
    horizon_days=365.25,
    population="3,978 European adults with atrial fibrillation",
    not_for=("withholding anticoagulants: it points to what can be corrected", "patients without atrial fibrillation"),
)
def has_bled(
    age: Array,
    uncontrolled_hypertension: Array,
    renal_disease: Array,
    liver_disease: Array,
    stroke: Array,
    bleeding: Array,
    labile_inr: Array,
    drugs: Array,
    alcohol: Array,
) -> Found:
    """Count the points of HAS-BLED and look up the bleeding risk of a year.

    Examples
    --------
    >>> float(has_bled(age=66, uncontrolled_hypertension=1, renal_disease=0, liver_disease=0, stroke=0, bleeding=1,
    ...                labile_inr=0, drugs=1, alcohol=0).value)
    4.0
    """
    old = (age > 65).astype(np.float64)
    points = old + uncontrolled_hypertension + renal_disease + liver_disease + stroke
    points = points + bleeding + labile_inr + drugs + alcohol
    return Found(points, -np.expm1(-_BLEEDS[points.astype(int)]))
