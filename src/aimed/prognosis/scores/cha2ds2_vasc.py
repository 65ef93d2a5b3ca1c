"""CHA2DS2-VASc, stroke risk in atrial fibrillation."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, at_least, number, published_score, yes_no

__all__ = ["cha2ds2_vasc"]

_STROKES = np.array([0.2, 0.6, 2.2, 3.2, 4.8, 7.2, 9.7, 11.2, 10.8, 12.2]) / 100


@published_score(
    title="CHA2DS2-VASc",
    inputs=(
        number("age", "Age", "age", "year", 18, 120),
        yes_no("female", "Female sex"),
        yes_no("heart_failure", "Congestive heart failure or left ventricular dysfunction"),
        yes_no("hypertension", "Hypertension"),
        yes_no("diabetes", "Diabetes mellitus"),
        yes_no("stroke", "Earlier stroke, transient ischaemic attack or thromboembolism"),
        yes_no("vascular_disease", "Earlier myocardial infarction, peripheral artery disease or aortic plaque"),
    ),
    outcome="ischaemic stroke without anticoagulants",
    span=(0, 9),
    source="Lip et al., Chest 2010;137:263-72, doi:10.1378/chest.09-1584.",
    risk_source="Friberg et al., Eur Heart J 2012;33:1500-10, doi:10.1093/eurheartj/ehr488: ischaemic strokes a "
    "year at risk without warfarin, in Swedish hospital patients.",
    horizon_days=365.25,
    population="adults with non-valvular atrial fibrillation who take no anticoagulant",
    not_for=(
        "patients without atrial fibrillation, or with mechanical valves or mitral stenosis",
        "patients who are anticoagulated: the rates are without treatment",
        "a causal reading of the point for female sex; later guidelines leave it out (CHA2DS2-VA)",
    ),
)
def cha2ds2_vasc(
    age: Array,
    female: Array,
    heart_failure: Array,
    hypertension: Array,
    diabetes: Array,
    stroke: Array,
    vascular_disease: Array,
) -> Found:
    """Count the points of CHA2DS2-VASc and look up the stroke risk of a year.

    Examples
    --------
    >>> found = cha2ds2_vasc(age=60, female=1, heart_failure=0, hypertension=1, diabetes=0, stroke=0,
    ...                      vascular_disease=1)
    >>> float(found.value), round(float(found.risk), 4)
    (3.0, 0.0315)
    """
    ages = at_least(age, [65, 75], [0, 1, 2])
    points = ages + female + heart_failure + hypertension + diabetes + 2 * stroke + vascular_disease
    # A rate a year becomes the risk within a year.
    return Found(points, -np.expm1(-_STROKES[points.astype(int)]))
