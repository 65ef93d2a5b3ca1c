"""The Charlson comorbidity index with its original weights, alone and with points for age."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, at_least, number, published_score, yes_no

__all__ = ["charlson", "charlson_age"]

_CONDITIONS = {
    "myocardial_infarction": (1, "Myocardial infarction"),
    "heart_failure": (1, "Congestive heart failure"),
    "peripheral_vascular": (1, "Peripheral vascular disease, aortic aneurysm included"),
    "cerebrovascular": (1, "Stroke or transient ischaemic attack"),
    "dementia": (1, "Dementia"),
    "pulmonary": (1, "Chronic pulmonary disease"),
    "connective_tissue": (1, "Connective tissue disease"),
    "ulcer": (1, "Peptic ulcer disease"),
    "liver_mild": (1, "Mild liver disease"),
    "diabetes": (1, "Diabetes without end-organ damage"),
    "hemiplegia": (2, "Hemiplegia or paraplegia"),
    "renal": (2, "Moderate or severe renal disease"),
    "diabetes_damage": (2, "Diabetes with end-organ damage"),
    "tumour": (2, "Solid tumour without metastases, treated in the last 5 years"),
    "leukaemia": (2, "Leukaemia"),
    "lymphoma": (2, "Lymphoma"),
    "liver_severe": (3, "Moderate or severe liver disease"),
    "metastases": (6, "Metastatic solid tumour"),
    "aids": (6, "AIDS"),
}
# Of two degrees of the same disease the worse one counts.
_WORSE = {"liver_mild": "liver_severe", "diabetes": "diabetes_damage", "tumour": "metastases"}
_INPUTS = tuple(yes_no(name, label) for name, (_, label) in _CONDITIONS.items())
_SOURCE = "Charlson et al., J Chronic Dis 1987;40:373-83, doi:10.1016/0021-9681(87)90171-8"
_NOT_FOR = (
    "single patients' decisions: it was made to adjust groups for comorbidity",
    "absolute risk today: AIDS and cancers of the 1980s weigh too much; recalibrate it, or use updated weights",
)


def _points(conditions: dict[str, Array]) -> Array:
    total = np.zeros_like(next(iter(conditions.values())))
    for name, (weight, _) in _CONDITIONS.items():
        counts = conditions[name]
        if name in _WORSE:
            counts = counts * (1 - conditions[_WORSE[name]])
        total += weight * counts
    return total


@published_score(
    title="Charlson index",
    inputs=_INPUTS,
    outcome="death within a year",
    span=(0, 33),
    source=f"{_SOURCE}.",
    risk_source="the same: deaths within a year with 0, 1-2, 3-4 and 5 or more points.",
    horizon_days=365.25,
    population="559 medical inpatients of one New York hospital in 1984",
    not_for=_NOT_FOR,
)
def charlson(**conditions: Array) -> Found:
    """Count the Charlson comorbidity points; of two degrees of one disease the worse counts.

    Examples
    --------
    >>> none = dict.fromkeys([i.name for i in charlson.inputs], 0)
    >>> float(charlson(**{**none, "heart_failure": 1, "diabetes": 1, "diabetes_damage": 1}).value)
    3.0
    """
    points = _points(conditions)
    return Found(points, at_least(points, [1, 3, 5], [0.12, 0.26, 0.52, 0.85]))


@published_score(
    title="Charlson index with age",
    inputs=(number("age", "Age", "age", "year", 18, 120), *_INPUTS),
    outcome="death within 10 years",
    span=(0, 37),
    source=f"{_SOURCE}; Charlson et al., J Clin Epidemiol 1994;47:1245-51, doi:10.1016/0895-4356(94)90129-5: one "
    "point from 50 years and one more each decade, at most 4 from 80.",
    risk_source=f"{_SOURCE}: survival of 10 years is 0.983 ^ exp(0.9 x points).",
    horizon_days=3652.5,
    population="685 women treated for breast cancer from 1962 to 1969; ages checked in 226 surgical patients",
    not_for=_NOT_FOR,
)
def charlson_age(age: Array, **conditions: Array) -> Found:
    """Count the Charlson points with one a decade from 50 years, at most 4.

    Examples
    --------
    >>> none = dict.fromkeys([i.name for i in charlson.inputs], 0)
    >>> found = charlson_age(age=[45, 62], **none)
    >>> found.value.tolist(), (1 - found.risk).round(2).tolist()
    ([0.0, 2.0], [0.98, 0.9])
    """
    points = _points(conditions) + at_least(age, [50, 60, 70, 80], [0, 1, 2, 3, 4])
    return Found(points, 1.0 - 0.983 ** np.exp(0.9 * points))
