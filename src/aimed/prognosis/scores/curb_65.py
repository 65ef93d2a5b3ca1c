"""CURB-65, death from pneumonia acquired in the community."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, number, published_score, yes_no

__all__ = ["curb_65"]

_DEATHS = np.array([0.7, 2.1, 9.2, 14.5, 40.0, 57.0]) / 100


@published_score(
    title="CURB-65",
    inputs=(
        yes_no("confusion", "New confusion, or 8 or less in the abbreviated mental test"),
        number("urea", "Blood urea", "urea", "mmol/L", 0.1, 100),
        number("respiratory_rate", "Respiratory rate", "rate", "/min", 0, 100),
        number("systolic", "Systolic blood pressure", "pressure", "mmHg", 20, 300),
        number("diastolic", "Diastolic blood pressure", "pressure", "mmHg", 10, 200),
        number("age", "Age", "age", "year", 16, 120),
    ),
    outcome="death within 30 days",
    span=(0, 5),
    source="Lim et al., Thorax 2003;58:377-82, doi:10.1136/thorax.58.5.377.",
    risk_source="the same: deaths within 30 days of all 1,068 patients, derivation and validation together.",
    horizon_days=30,
    population="adults admitted with community-acquired pneumonia in the UK, New Zealand and the Netherlands",
    not_for=("pneumonia acquired in hospital or with immunosuppression", "deciding on discharge by itself"),
    groups=((0, "low"), (2, "intermediate"), (3, "high")),
)
def curb_65(
    confusion: Array, urea: Array, respiratory_rate: Array, systolic: Array, diastolic: Array, age: Array
) -> Found:
    """Count the five signs of CURB-65 and look up the risk of death within 30 days.

    Examples
    --------
    >>> found = curb_65(confusion=0, urea=8, respiratory_rate=30, systolic=110, diastolic=60, age=70)
    >>> float(found.value), float(found.risk)
    (4.0, 0.4)
    """
    low = (systolic < 90) | (diastolic <= 60)
    points = np.sum((confusion == 1, urea > 7, respiratory_rate >= 30, low, age >= 65), axis=0)
    return Found(points.astype(np.float64), _DEATHS[points])
