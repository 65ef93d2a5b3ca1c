"""qSOFA, the bedside signs of sepsis."""

from __future__ import annotations

import numpy as np

from aimed.prognosis.scores.score import Array, Found, number, published_score

__all__ = ["qsofa"]


@published_score(
    title="qSOFA",
    inputs=(
        number("respiratory_rate", "Respiratory rate", "rate", "/min", 0, 100),
        number("gcs", "Glasgow coma scale", "consciousness", "Glasgow points", 3, 15),
        number("systolic", "Systolic blood pressure", "pressure", "mmHg", 20, 300),
    ),
    outcome="death in hospital or long intensive care with suspected infection",
    span=(0, 3),
    source="Seymour et al., JAMA 2016;315:762-74, doi:10.1001/jama.2016.0288.",
    population="adults with suspected infection outside intensive care",
    not_for=("screening for sepsis on its own (Surviving Sepsis 2021)", "patients in intensive care"),
    groups=((0, "low"), (2, "high")),
)
def qsofa(respiratory_rate: Array, gcs: Array, systolic: Array) -> Found:
    """Count the three signs of qSOFA: 22 breaths or more, less than 15 Glasgow points, 100 mmHg or less.

    Examples
    --------
    >>> float(qsofa(respiratory_rate=22, gcs=15, systolic=100).value)
    2.0
    """
    signs = (respiratory_rate >= 22, gcs < 15, systolic <= 100)
    return Found(np.sum(signs, axis=0).astype(np.float64))
