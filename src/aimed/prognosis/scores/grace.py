"""The GRACE points of 2003 for death in hospital with an acute coronary syndrome."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, at_least, category, number, published_score, yes_no

__all__ = ["grace"]

_POINTS = np.arange(60.0, 251.0, 10.0)
_PERCENT = np.array(
    [0.2, 0.3, 0.4, 0.6, 0.8, 1.1, 1.6, 2.1, 2.9, 3.9, 5.4, 7.3, 9.8, 13, 18, 23, 29, 36, 44, 52], dtype=np.float64
)


@published_score(
    title="GRACE (2003, in hospital)",
    inputs=(
        number("age", "Age", "age", "year", 18, 110),
        number("heart_rate", "Heart rate", "rate", "/min", 10, 300),
        number("systolic", "Systolic blood pressure", "pressure", "mmHg", 20, 300),
        number("creatinine", "Serum creatinine", "creatinine", "mg/dL", 0.1, 20),
        category("killip", "Killip class", ("I", "II", "III", "IV")),
        yes_no("cardiac_arrest", "Cardiac arrest at admission"),
        yes_no("st_deviation", "ST-segment deviation"),
        yes_no("elevated_enzymes", "Elevated cardiac enzymes"),
    ),
    outcome="death in hospital",
    span=(1, 372),
    source="Granger et al., Arch Intern Med 2003;163:2345-53, doi:10.1001/archinte.163.19.2345, the nomogram. Public "
    "are these points and probabilities; GRACE 2.0, with its own functions, is not, and is not here.",
    risk_source="the same nomogram, between its points by straight lines; 0.2 % at 60 points and "
    "below, 52 % at 250 and above.",
    population="11,389 patients with acute coronary syndromes in 14 countries, 1999 to 2001",
    not_for=("death after discharge, for which other points exist", "patients without an acute coronary syndrome"),
)
def grace(
    age: Array,
    heart_rate: Array,
    systolic: Array,
    creatinine: Array,
    killip: Array,
    cardiac_arrest: Array,
    st_deviation: Array,
    elevated_enzymes: Array,
) -> Found:
    """Add the points of the GRACE nomogram and read the probability of death in hospital.

    Examples
    --------
    >>> found = grace(age=65, heart_rate=100, systolic=99, creatinine=0.9, killip="II", cardiac_arrest=0,
    ...               st_deviation=1, elevated_enzymes=1)
    >>> float(found.value), round(float(found.risk), 3)
    (195.0, 0.155)
    """
    points = np.array([0.0, 20.0, 39.0, 59.0])[killip.astype(int)]
    # The nomogram prints 80 and below, and 50 and below: those whole numbers belong to the lowest band.
    points = points + at_least(
        np.where(systolic <= 80, 0, systolic), [80, 100, 120, 140, 160, 200], [58, 53, 43, 34, 24, 10, 0]
    )
    points = points + at_least(
        np.where(heart_rate <= 50, 0, heart_rate), [50, 70, 90, 110, 150, 200], [0, 3, 9, 15, 24, 38, 46]
    )
    points = points + at_least(
        np.where(age <= 30, 0, age), [30, 40, 50, 60, 70, 80, 90], [0, 8, 25, 41, 58, 75, 91, 100]
    )
    points = points + at_least(creatinine, [0.4, 0.8, 1.2, 1.6, 2, 4], [1, 4, 7, 10, 13, 21, 28])
    points = points + 39 * cardiac_arrest + 28 * st_deviation + 14 * elevated_enzymes
    return Found(points, np.interp(points, _POINTS, _PERCENT) / 100)
