"""MELD 3.0, the score with albumin and sex that has ranked US liver transplant candidates since 2023."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.meld import LIVER, whole
from aimed.prognosis.scores.score import Array, Found, number, published_score, yes_no

__all__ = ["meld_3"]


@published_score(
    title="MELD 3.0",
    inputs=(
        *LIVER,
        number("sodium", "Serum sodium", "sodium", "mmol/L", 100, 180),
        number("albumin", "Serum albumin", "albumin", "g/dL", 0.5, 7),
        yes_no("female", "Female sex"),
        yes_no("dialysis", "Dialysis twice or more in the last week", absent=0),
    ),
    outcome="death within 90 days",
    span=(6, 40),
    source="Kim et al., Gastroenterology 2021;161:1887-95, doi:10.1053/j.gastro.2021.08.050.",
    risk_source="the same: survival of 90 days is 0.946 ^ exp(0.17698 x MELD 3.0 - 3.56).",
    horizon_days=90,
    population="candidates registered on the US liver waiting list, 2016 to 2018",
    not_for=(
        "children under 12 (PELD)",
        "patients on warfarin, whose INR does not show liver function",
        "patients under 18 by this formula: the organ network gives them the 1.33 points whatever their sex",
    ),
)
def meld_3(
    creatinine: Array, bilirubin: Array, inr: Array, sodium: Array, albumin: Array, female: Array, dialysis: Array
) -> Found:
    """Compute MELD 3.0 and the risk of death within 90 days.

    Examples
    --------
    >>> found = meld_3(creatinine=2.0, bilirubin=3.0, inr=1.5, sodium=130, albumin=2.8, female=1)
    >>> float(found.value), round(float(found.risk), 3)
    (28.0, 0.201)
    """
    cr = np.log(np.where(dialysis == 1, 3.0, np.clip(creatinine, 1.0, 3.0)))
    bili = np.log(np.maximum(bilirubin, 1.0))
    lack = 137.0 - np.clip(sodium, 125.0, 137.0)
    low = 3.5 - np.clip(albumin, 1.5, 3.5)
    linear = 1.33 * female + 4.56 * bili + 0.82 * lack - 0.24 * lack * bili
    linear = linear + 9.09 * np.log(np.maximum(inr, 1.0)) + 11.14 * cr + 1.85 * low - 1.83 * low * cr + 6.0
    score = whole(linear)
    return Found(score, 1.0 - 0.946 ** np.exp(0.17698 * score - 3.56), linear)
