"""The CKD-EPI equation of 2021, glomerular filtration from creatinine without race."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, number, published_score, yes_no

__all__ = ["egfr_ckd_epi"]


@published_score(
    title="eGFR (CKD-EPI 2021)",
    inputs=(
        number("creatinine", "Serum creatinine, traceable to IDMS", "creatinine", "mg/dL", 0.1, 30),
        number("age", "Age", "age", "year", 18, 120),
        yes_no("female", "Female sex"),
    ),
    outcome="glomerular filtration rate in mL/min for 1.73 m2",
    span=(0, 300),
    source="Inker et al., N Engl J Med 2021;385:1737-49, doi:10.1056/NEJMoa2102953.",
    population="adults, in studies with and without kidney disease",
    not_for=("children", "acute kidney injury and pregnancy", "extremes of muscle mass"),
    worse="low",
    groups=((0, "G5"), (15, "G4"), (30, "G3b"), (45, "G3a"), (60, "G2"), (90, "G1")),
)
def egfr_ckd_epi(creatinine: Array, age: Array, female: Array) -> Found:
    """Estimate the glomerular filtration rate; less is worse.

    Examples
    --------
    >>> round(float(egfr_ckd_epi(creatinine=1.0, age=50, female=0).value))
    92
    """
    kappa, alpha = np.where(female == 1, 0.7, 0.9), np.where(female == 1, -0.241, -0.302)
    ratio = creatinine / kappa
    rate = 142.0 * np.minimum(ratio, 1.0) ** alpha * np.maximum(ratio, 1.0) ** -1.200 * 0.9938**age
    return Found(np.asarray(rate * np.where(female == 1, 1.012, 1.0)))
