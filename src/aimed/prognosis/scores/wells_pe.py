"""The Wells score, the probability of pulmonary embolism before tests."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, number, published_score, up_to, yes_no

__all__ = ["wells_pe"]


@published_score(
    title="Wells (pulmonary embolism)",
    inputs=(
        yes_no("dvt_signs", "Signs of deep vein thrombosis: leg swelling and pain on palpation"),
        yes_no("likeliest", "Pulmonary embolism as likely as or likelier than another diagnosis"),
        number("heart_rate", "Heart rate", "rate", "/min", 10, 300),
        yes_no("immobile", "Bed rest of 3 days or more, or surgery within 4 weeks"),
        yes_no("earlier_vte", "Earlier deep vein thrombosis or pulmonary embolism"),
        yes_no("haemoptysis", "Haemoptysis"),
        yes_no("malignancy", "Malignancy treated within 6 months or palliative"),
    ),
    outcome="pulmonary embolism now",
    span=(0, 12.5),
    source="Wells et al., Thromb Haemost 2000;83:416-20, doi:10.1055/s-0037-1613830.",
    risk_source="the same, derivation part: 3.6 % below 2 points, 20.5 % from 2 to 6, 66.7 % above 6.",
    population="in- and outpatients with suspected pulmonary embolism in Canada",
    not_for=("patients in whom pulmonary embolism is not suspected", "pregnancy", "ruling out without a D-dimer test"),
    groups=((0, "low"), (2, "moderate"), (6.5, "high")),
)
def wells_pe(
    dvt_signs: Array,
    likeliest: Array,
    heart_rate: Array,
    immobile: Array,
    earlier_vte: Array,
    haemoptysis: Array,
    malignancy: Array,
) -> Found:
    """Add the points of the Wells score and look up the share with pulmonary embolism.

    Examples
    --------
    >>> found = wells_pe(dvt_signs=0, likeliest=1, heart_rate=110, immobile=1, earlier_vte=0, haemoptysis=0,
    ...                  malignancy=0)
    >>> float(found.value), float(found.risk), str(found.group)
    (6.0, 0.205, 'moderate')
    """
    fast = (heart_rate > 100).astype(np.float64)
    points = 3 * (dvt_signs + likeliest) + 1.5 * (fast + immobile + earlier_vte) + haemoptysis + malignancy
    return Found(points, up_to(points, [1.5, 6], [0.036, 0.205, 0.667]))
