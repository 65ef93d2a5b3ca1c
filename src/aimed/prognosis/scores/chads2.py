"""CHADS2, the older stroke score for atrial fibrillation."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, at_least, number, published_score, yes_no

__all__ = ["chads2"]

_STROKES = np.array([1.9, 2.8, 4.0, 5.9, 8.5, 12.5, 18.2]) / 100


@published_score(
    title="CHADS2",
    inputs=(
        number("age", "Age", "age", "year", 18, 120),
        yes_no("heart_failure", "Recent congestive heart failure"),
        yes_no("hypertension", "Hypertension"),
        yes_no("diabetes", "Diabetes mellitus"),
        yes_no("stroke", "Earlier stroke or transient ischaemic attack"),
    ),
    outcome="stroke without antithrombotic treatment",
    span=(0, 6),
    source="Gage et al., JAMA 2001;285:2864-70, doi:10.1001/jama.285.22.2864.",
    risk_source="the same, strokes in 100 patient-years without antithrombotic treatment, adjusted for aspirin.",
    horizon_days=365.25,
    population="US Medicare patients of 65 to 95 years with non-rheumatic atrial fibrillation",
    not_for=("patients without atrial fibrillation", "finding who is at very low risk; CHA2DS2-VASc does that better"),
)
def chads2(age: Array, heart_failure: Array, hypertension: Array, diabetes: Array, stroke: Array) -> Found:
    """Count the points of CHADS2 and look up the stroke risk of a year.

    Examples
    --------
    >>> float(chads2(age=80, heart_failure=0, hypertension=1, diabetes=0, stroke=1).value)
    4.0
    """
    points = at_least(age, [75], [0, 1]) + heart_failure + hypertension + diabetes + 2 * stroke
    return Found(points, -np.expm1(-_STROKES[points.astype(int)]))
