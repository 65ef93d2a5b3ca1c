"""MELD, mortality in end-stage liver disease, as the US organ network has used it since 2002."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, at_least, number, published_score, yes_no

__all__ = ["LIVER", "meld", "meld_sum", "whole"]

LIVER = (
    number("creatinine", "Serum creatinine", "creatinine", "mg/dL", 0.1, 20),
    number("bilirubin", "Total serum bilirubin", "bilirubin", "mg/dL", 0.1, 60),
    number("inr", "International normalised ratio of prothrombin time", "ratio", "1", 0.5, 20),
)
"""What every version of MELD takes."""


def meld_sum(creatinine: Array, bilirubin: Array, inr: Array, dialysis: Array) -> Array:
    """Return ten times the MELD sum, before rounding; values below 1 count as 1, creatinine above 4 as 4.

    Examples
    --------
    >>> meld_sum(np.array([1.0]), np.array([2.0]), np.array([1.1]), np.array([0.0])).round(2).tolist()
    [10.12]
    """
    cr = np.where(dialysis == 1, 4.0, np.clip(creatinine, 1.0, 4.0))
    total = 0.957 * np.log(cr) + 0.378 * np.log(np.maximum(bilirubin, 1.0)) + 1.120 * np.log(np.maximum(inr, 1.0))
    return np.asarray(10.0 * (total + 0.643))


def whole(values: Array) -> Array:
    """Round to whole numbers, halves up, and keep them in 6 to 40.

    Examples
    --------
    >>> whole(np.array([3.0, 12.5, 50.0])).tolist()
    [6.0, 13.0, 40.0]
    """
    return np.asarray(np.clip(np.floor(values + 0.5), 6.0, 40.0))


@published_score(
    title="MELD",
    inputs=(*LIVER, yes_no("dialysis", "Dialysis twice or more in the last week", absent=0)),
    outcome="death within 3 months",
    span=(6, 40),
    source="Kamath et al., Hepatology 2001;33:464-70, doi:10.1053/jhep.2001.22172, with the coefficients and bounds of "
    "the United Network for Organ Sharing (2002): no term for the cause of disease.",
    risk_source="Wiesner et al., Gastroenterology 2003;124:91-6, doi:10.1053/gast.2003.50016: deaths within 3 months "
    "on the US waiting list by band (up to 9, 10-19, 20-29, 30-39, 40).",
    horizon_days=90,
    population="adults with end-stage liver disease, listed for transplantation in the USA",
    not_for=(
        "children under 12 (PELD)",
        "patients on warfarin, whose INR does not show liver function",
        "hepatocellular carcinoma and other reasons to transplant that it does not measure",
    ),
)
def meld(creatinine: Array, bilirubin: Array, inr: Array, dialysis: Array) -> Found:
    """Compute MELD, a whole number from 6 to 40.

    Examples
    --------
    >>> found = meld(creatinine=1.0, bilirubin=2.0, inr=1.1)
    >>> float(found.value), round(float(found.linear), 2), float(found.risk)
    (10.0, 10.12, 0.06)
    """
    linear = meld_sum(creatinine, bilirubin, inr, dialysis)
    score = whole(linear)
    return Found(score, at_least(score, [10, 20, 30, 40], [0.019, 0.060, 0.196, 0.526, 0.713]), linear)
