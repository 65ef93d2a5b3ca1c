"""Reports of chest phantoms in sentences of our own that are wrong as often as asked, and a sample with gold labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aimed.core import DataError

__all__ = ["SENTENCES", "ReportErrors"]

SENTENCES: Mapping[str, tuple[tuple[str, str], tuple[str, str], tuple[str, str]]] = {
    "effusion": (
        ("Moderate left pleural effusion.", "There is a small pleural effusion on the right."),
        ("No pleural effusion.", "There is no effusion."),
        ("Possible small pleural effusion.", "A small pleural effusion cannot be excluded."),
    ),
    "nodule": (
        ("A nodule is seen in the right upper lobe.", "There is a pulmonary nodule on the left."),
        ("No pulmonary nodule.", "There is no nodule."),
        ("Possible nodule in the left lung.", "A small nodule cannot be excluded."),
    ),
    "pneumothorax": (
        ("Right apical pneumothorax.", "There is a small left pneumothorax."),
        ("No pneumothorax.", "There is no pneumothorax."),
        ("Possible small pneumothorax.", "A tiny pneumothorax cannot be excluded."),
    ),
    "cardiomegaly": (
        ("Cardiomegaly.", "The heart is enlarged."),
        ("No cardiomegaly.", "The heart is not enlarged."),
        ("Possible cardiomegaly.", "Cardiomegaly cannot be excluded."),
    ),
    "consolidation": (
        ("Consolidation in the left lower lobe.", "There is a right basal consolidation."),
        ("No consolidation.", "There is no focal consolidation."),
        ("Possible consolidation at the left base.", "Early consolidation cannot be excluded."),
    ),
}
"""Of each finding sentences that say it is there, that it is not, and that leave it open."""


@dataclass(frozen=True, slots=True)
class ReportErrors:
    """How often reports of phantoms are wrong, and how many patients have gold labels.

    Parameters
    ----------
    gold : float
        Share of patients whose findings are known by more than the report.
    missed : float
        Chance that a report denies, or passes over, a finding that is there.
    overcalled : float
        Chance that it states one that is not.
    uncertain : float
        Chance that it leaves a finding open, there or not.
    unsaid : float
        Share of negative statements that are left out.

    Raises
    ------
    DataError
        If a share is none.

    Examples
    --------
    >>> ReportErrors(missed=0.0, overcalled=0.0, uncertain=0.0, unsaid=1.0).write(0, 1, 1, ["cardiomegaly"])
    'FINDINGS: The heart is enlarged.'
    """

    gold: float = 0.3
    missed: float = 0.3
    overcalled: float = 0.05
    uncertain: float = 0.05
    unsaid: float = 0.3

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} = {getattr(self, name)}", "a share from 0 to 1")
        if max(self.missed, self.overcalled) + self.uncertain > 1:
            raise DataError("errors and doubts that add up to more than 1", "shares of one whole")

    def in_gold(self, seed: int, patient: int) -> bool:
        """Whether a patient is in the gold sample."""
        return bool(np.random.default_rng([seed, 5, patient]).uniform() < self.gold)

    def write(self, seed: int, patient: int, image: int, findings: Sequence[str]) -> str:
        """Return the report of a picture with some findings."""
        rng = np.random.default_rng([seed, 6, patient, image])
        said = []
        for name, sentences in SENTENCES.items():
            wrong, silent, pick = rng.uniform(), rng.uniform(), int(rng.integers(2))
            there = name in findings
            if wrong < self.uncertain:
                kind = 2
            else:
                flipped = wrong < self.uncertain + (self.missed if there else self.overcalled)
                kind = int(there == flipped)
            if kind != 1 or silent >= self.unsaid:
                said.append(sentences[kind][pick])
        return "FINDINGS: " + " ".join(said or ["The film is adequate."])
