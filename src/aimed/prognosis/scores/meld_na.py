"""MELD-Na, the score with sodium that ranked US liver transplant candidates from 2016 to 2023."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.meld import LIVER, meld_sum, whole
from aimed.prognosis.scores.score import Array, Found, number, published_score, yes_no

__all__ = ["meld_na"]


@published_score(
    title="MELD-Na",
    inputs=(
        *LIVER,
        number("sodium", "Serum sodium", "sodium", "mmol/L", 100, 180),
        yes_no("dialysis", "Dialysis twice or more in the last week", absent=0),
    ),
    outcome="death within 3 months",
    span=(6, 40),
    source="OPTN/UNOS Policy 9.1.D of January 2016; after Kim et al., N Engl J Med 2008;359:1018-26, "
    "doi:10.1056/NEJMoa0801209.",
    population="adults with end-stage liver disease, listed for transplantation in the USA",
    not_for=("children under 12 (PELD)", "patients on warfarin, whose INR does not show liver function"),
)
def meld_na(creatinine: Array, bilirubin: Array, inr: Array, sodium: Array, dialysis: Array) -> Found:
    """Compute MELD-Na of 2016: MELD, and for a MELD above 11 a term for sodium between 125 and 137.

    Examples
    --------
    >>> found = meld_na(creatinine=2.0, bilirubin=3.0, inr=1.5, sodium=130)
    >>> float(found.value)
    26.0
    """
    initial = np.floor(meld_sum(creatinine, bilirubin, inr, dialysis) + 0.5)
    lack = 137.0 - np.clip(sodium, 125.0, 137.0)
    linear = np.where(initial > 11, initial + 1.32 * lack - 0.033 * initial * lack, initial)
    return Found(whole(linear), None, linear)
