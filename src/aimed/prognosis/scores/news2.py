"""NEWS2, the early warning score of the Royal College of Physicians."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, number, published_score, up_to, yes_no

__all__ = ["news2"]


@published_score(
    title="NEWS2",
    inputs=(
        number("respiratory_rate", "Respiratory rate", "rate", "/min", 0, 100),
        number("spo2", "Oxygen saturation", "saturation", "%", 30, 100),
        yes_no("oxygen", "Supplemental oxygen"),
        number("systolic", "Systolic blood pressure", "pressure", "mmHg", 20, 300),
        number("pulse", "Pulse", "rate", "/min", 10, 300),
        yes_no("altered", "New confusion, or responsive to voice or pain only, or unresponsive"),
        number("temperature", "Temperature", "temperature", "Cel", 25, 45),
        yes_no("scale_2", "Saturation target of 88 to 92 % for hypercapnic failure", absent=0),
    ),
    outcome="acute illness",
    span=(0, 20),
    source="Royal College of Physicians. National Early Warning Score (NEWS) 2. London: RCP, 2017. A value between two "
    "printed bands counts to the upper one.",
    population="acutely ill adults",
    not_for=("children under 16", "pregnancy", "spinal cord injury, in which pulse and pressure mean other things"),
    groups=((0, "low"), (5, "medium"), (7, "high")),
)
def news2(
    respiratory_rate: Array,
    spo2: Array,
    oxygen: Array,
    systolic: Array,
    pulse: Array,
    altered: Array,
    temperature: Array,
    scale_2: Array,
) -> Found:
    """Add the points of seven vital signs.

    Examples
    --------
    >>> found = news2(respiratory_rate=22, spo2=93, oxygen=1, systolic=105, pulse=112, altered=0, temperature=38.5)
    >>> float(found.value), str(found.group)
    (10.0, 'high')
    """
    usual = up_to(spo2, [91, 93, 95], [3, 2, 1, 0])
    low = up_to(spo2, [83, 85, 87, 92], [3, 2, 1, 0, 0])
    high = np.where(oxygen == 1, up_to(spo2, [92, 94, 96], [0, 1, 2, 3]), 0.0)
    points = np.where(scale_2 == 1, low + high, usual) + 2 * oxygen + 3 * altered
    points = points + up_to(respiratory_rate, [8, 11, 20, 24], [3, 1, 0, 2, 3])
    points = points + up_to(systolic, [90, 100, 110], [3, 2, 1, 0]) + 3 * (systolic >= 220)
    points = points + up_to(pulse, [40, 50, 90, 110, 130], [3, 1, 0, 1, 2, 3])
    return Found(points + up_to(temperature, [35, 36, 38, 39], [3, 1, 0, 1, 2]))
