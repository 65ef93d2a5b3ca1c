"""Published risk scores by name: what each takes, with units and valid ranges, and what it must not be used for."""

from aimed.core import Catalog

__all__ = ["SCORES"]

_HERE = "aimed.prognosis.scores"

SCORES = Catalog(
    "score",
    {
        "cha2ds2_vasc": (
            f"{_HERE}.cha2ds2_vasc:cha2ds2_vasc",
            "Stroke in atrial fibrillation without anticoagulants, 0 to 9 points.",
        ),
        "chads2": (f"{_HERE}.chads2:chads2", "Stroke in atrial fibrillation, the older score, 0 to 6 points."),
        "has_bled": (f"{_HERE}.has_bled:has_bled", "Major bleeding on anticoagulants, 0 to 9 points."),
        "meld": (f"{_HERE}.meld:meld", "Death within 3 months with end-stage liver disease, 6 to 40 (UNOS 2002)."),
        "meld_na": (f"{_HERE}.meld_na:meld_na", "MELD with sodium, 6 to 40 (UNOS 2016)."),
        "meld_3": (f"{_HERE}.meld_3:meld_3", "MELD 3.0 with sodium, albumin and sex, 6 to 40."),
        "child_pugh": (f"{_HERE}.child_pugh:child_pugh", "Severity of cirrhosis, 5 to 15 points, classes A to C."),
        "ascvd": (
            f"{_HERE}.ascvd:ascvd",
            "First heart attack, coronary death or stroke within 10 years: pooled cohort equations of 2013.",
        ),
        "framingham": (
            f"{_HERE}.framingham:framingham",
            "First cardiovascular disease within 10 years from lipids: Framingham 2008.",
        ),
        "framingham_bmi": (
            f"{_HERE}.framingham:framingham_bmi",
            "First cardiovascular disease within 10 years without a laboratory: Framingham 2008.",
        ),
        "grace": (f"{_HERE}.grace:grace", "Death in hospital with acute coronary syndrome, points of 2003."),
        "charlson": (f"{_HERE}.charlson:charlson", "Comorbidity, original weights of 1987, 0 to 33 points."),
        "charlson_age": (f"{_HERE}.charlson:charlson_age", "Charlson comorbidity with points for age, 0 to 37."),
        "qsofa": (f"{_HERE}.qsofa:qsofa", "Poor outcome of suspected infection at the bedside, 0 to 3 points."),
        "sofa": (f"{_HERE}.sofa:sofa", "Organ failure in intensive care, 0 to 24 points."),
        "news2": (f"{_HERE}.news2:news2", "Acute illness from vital signs, 0 to 20 points."),
        "curb_65": (f"{_HERE}.curb_65:curb_65", "Death within 30 days of pneumonia, 0 to 5 points."),
        "wells_pe": (f"{_HERE}.wells_pe:wells_pe", "Probability of pulmonary embolism before tests, 0 to 12.5 points."),
        "egfr_ckd_epi": (
            f"{_HERE}.egfr_ckd_epi:egfr_ckd_epi",
            "Estimated glomerular filtration rate, CKD-EPI 2021 without race.",
        ),
    },
    group="aimed.scores",
)
"""Scores by name; each is a `aimed.prognosis.scores.score.Score`, imported when asked for."""
