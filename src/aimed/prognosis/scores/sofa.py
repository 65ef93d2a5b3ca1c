"""SOFA, the failure of six organs in intensive care."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, at_least, number, published_score, up_to, yes_no

__all__ = ["sofa"]


@published_score(
    title="SOFA",
    inputs=(
        number("pao2_fio2", "Arterial oxygen pressure over inspired fraction", "pressure", "mmHg", 20, 800),
        yes_no("ventilated", "Respiratory support"),
        number("platelets", "Platelets", "platelets", "10*9/L", 0, 3000),
        number("bilirubin", "Total serum bilirubin", "bilirubin", "mg/dL", 0, 60),
        number("mean_pressure", "Mean arterial pressure", "pressure", "mmHg", 10, 250),
        number("gcs", "Glasgow coma scale", "consciousness", "Glasgow points", 3, 15),
        number("creatinine", "Serum creatinine", "creatinine", "mg/dL", 0, 30),
        number("urine_output", "Urine in 24 hours", "urine", "mL/d", 0, 20000, absent=2000),
        number("dopamine", "Dopamine for an hour or more", "dose", "ug/kg/min", 0, 100, absent=0),
        number("dobutamine", "Dobutamine for an hour or more", "dose", "ug/kg/min", 0, 100, absent=0),
        number("adrenaline", "Adrenaline (epinephrine) for an hour or more", "dose", "ug/kg/min", 0, 10, absent=0),
        number(
            "noradrenaline", "Noradrenaline (norepinephrine) for an hour or more", "dose", "ug/kg/min", 0, 10, absent=0
        ),
    ),
    outcome="organ failure",
    span=(0, 24),
    source="Vincent et al., Intensive Care Med 1996;22:707-10, doi:10.1007/BF01709751.",
    population="patients in intensive care; the worst value of 24 hours",
    not_for=("patients outside intensive care", "predicting death: it was made to describe organ failure"),
)
def sofa(
    pao2_fio2: Array,
    ventilated: Array,
    platelets: Array,
    bilirubin: Array,
    mean_pressure: Array,
    gcs: Array,
    creatinine: Array,
    urine_output: Array,
    dopamine: Array,
    dobutamine: Array,
    adrenaline: Array,
    noradrenaline: Array,
) -> Found:
    """Add the points of six organs, 0 to 4 each.

    Examples
    --------
    >>> float(sofa(pao2_fio2=250, ventilated=0, platelets=90, bilirubin=1.0, mean_pressure=65, gcs=14,
    ...            creatinine=2.5).value)
    8.0
    """
    lungs = np.where(
        ventilated == 1,
        at_least(pao2_fio2, [100, 200, 300, 400], [4, 3, 2, 1, 0]),
        at_least(pao2_fio2, [300, 400], [2, 1, 0]),
    )
    blood = at_least(platelets, [20, 50, 100, 150], [4, 3, 2, 1, 0])
    liver = at_least(bilirubin, [1.2, 2, 6, 12], [0, 1, 2, 3, 4])
    drugs = [
        up_to(dopamine, [0, 5, 15], [0, 2, 3, 4]),
        up_to(dobutamine, [0], [0, 2]),
        up_to(adrenaline, [0, 0.1], [0, 3, 4]),
        up_to(noradrenaline, [0, 0.1], [0, 3, 4]),
    ]
    heart = np.max([at_least(mean_pressure, [70], [1, 0]), *drugs], axis=0)
    brain = up_to(gcs, [5, 9, 12, 14], [4, 3, 2, 1, 0])
    kidney = np.maximum(
        at_least(creatinine, [1.2, 2, 3.5, 5], [0, 1, 2, 3, 4]), at_least(urine_output, [200, 500], [4, 3, 0])
    )
    return Found(lungs + blood + liver + heart + brain + kidney)
