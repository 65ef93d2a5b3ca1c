"""The pooled cohort equations of 2013 for a first atherosclerotic cardiovascular event."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, category, number, published_score, yes_no

__all__ = ["ascvd"]

# Goff et al. 2013, table A: ln age, (ln age)^2, ln total cholesterol, x ln age, ln HDL, x ln age, ln treated systolic
# pressure, x ln age, ln untreated, x ln age, smoker, x ln age, diabetes; mean of the sum, baseline survival.
_WEIGHTS = np.array(
    [
        [12.344, 0, 11.853, -2.664, -7.990, 1.769, 1.797, 0, 1.764, 0, 7.837, -1.795, 0.658],  # white men
        [2.469, 0, 0.302, 0, -0.307, 0, 1.916, 0, 1.809, 0, 0.549, 0, 0.645],  # black men
        [-29.799, 4.884, 13.540, -3.114, -13.578, 3.149, 2.019, 0, 1.957, 0, 7.574, -1.665, 0.661],  # white women
        [17.114, 0, 0.940, 0, -18.920, 4.475, 29.291, -6.432, 27.820, -6.087, 0.691, 0, 0.874],  # black women
    ]
)
_MEAN = np.array([61.18, 19.54, -29.18, 86.61])
_SURVIVAL = np.array([0.9144, 0.8954, 0.9665, 0.9533])


@published_score(
    title="ASCVD pooled cohort equations",
    inputs=(
        number("age", "Age", "age", "year", 40, 79),
        yes_no("female", "Female sex"),
        category("race", "Race as the equations know it; other is computed as white", ("white", "black", "other")),
        number("total_cholesterol", "Total cholesterol", "cholesterol", "mg/dL", 130, 320),
        number("hdl_cholesterol", "HDL cholesterol", "cholesterol", "mg/dL", 20, 100),
        number("systolic", "Systolic blood pressure", "pressure", "mmHg", 90, 200),
        yes_no("treated", "Treatment for high blood pressure"),
        yes_no("smoker", "Current smoker"),
        yes_no("diabetes", "Diabetes mellitus"),
    ),
    outcome="first myocardial infarction, coronary death or stroke within 10 years",
    span=(0, 100),
    source="Goff et al., Circulation 2014;129(25 Suppl 2):S49-73, doi:10.1161/01.cir.0000437741.48606.98, table A; "
    "ranges of the ACC/AHA risk estimator.",
    risk_source="the same.",
    horizon_days=3652.5,
    scale="risk",
    population="US adults of 40 to 79 years without cardiovascular disease (ARIC, CARDIA, CHS, Framingham)",
    not_for=(
        "patients with cardiovascular disease, or on a statin",
        "people of other origin than white or black American without recalibration: the guideline offers the white "
        "equations for want of others",
        "later cohorts without recalibration: it overestimates in most of them",
    ),
)
def ascvd(
    age: Array,
    female: Array,
    race: Array,
    total_cholesterol: Array,
    hdl_cholesterol: Array,
    systolic: Array,
    treated: Array,
    smoker: Array,
    diabetes: Array,
) -> Found:
    """Compute the 10-year risk by the equations of sex and race; ``value`` is in percent.

    Examples
    --------
    >>> found = ascvd(age=55, female=1, race=["black", "white"], total_cholesterol=213, hdl_cholesterol=50,
    ...               systolic=120, treated=0, smoker=0, diabetes=0)
    >>> found.value.round(1).tolist()
    [3.0, 2.1]
    """
    which = (2 * female + (race == 1)).astype(int)
    years, tc, hdl, sbp = np.log(age), np.log(total_cholesterol), np.log(hdl_cholesterol), np.log(systolic)
    on, off = treated * sbp, (1 - treated) * sbp
    terms = (
        years, years**2, tc, tc * years, hdl, hdl * years, on, on * years, off, off * years, smoker, smoker * years,
        diabetes,
    )  # fmt: skip
    linear = np.zeros_like(years)
    for term, weights in zip(terms, _WEIGHTS.T, strict=True):
        linear += weights[which] * term
    risk = 1.0 - _SURVIVAL[which] ** np.exp(linear - _MEAN[which])
    return Found(100.0 * risk, risk, linear)
