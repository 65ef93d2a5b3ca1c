"""Made-up chest X-ray reports, several a patient, whose labels are known by construction."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aimed.core.errors import DataError
from aimed.synthetic.report_sentences import (
    INDICATIONS,
    NEUTRAL,
    OBSERVATIONS,
    SENTENCES,
    SHARED_DENIALS,
    SLOTS,
)

__all__ = ["PlannedReport", "plan_reports", "write_reports"]

_OFTEN = {
    "Enlarged Cardiomediastinum": 0.06,
    "Cardiomegaly": 0.22,
    "Lung Lesion": 0.09,
    "Lung Opacity": 0.24,
    "Edema": 0.14,
    "Consolidation": 0.10,
    "Pneumonia": 0.13,
    "Atelectasis": 0.20,
    "Pneumothorax": 0.08,
    "Pleural Effusion": 0.24,
    "Pleural Other": 0.05,
    "Fracture": 0.07,
    "Support Devices": 0.25,
}
_SITES = ("north", "harbour", "county")
_WORDING = ("COMPARISON: None.", "COMPARISON: Prior radiograph.", "COMPARISON: Film of the day before.")


@dataclass(frozen=True)
class PlannedReport:
    """One made-up report.

    Attributes
    ----------
    patient_id, report_id : str
    age : int
        Years.
    sex : str
        "female" or "male".
    site : str
    year : int
    report : str
        INDICATION, COMPARISON, FINDINGS and IMPRESSION.
    labels : dict
        1 present, 0 denied, -1 doubted, None not said, for each of `OBSERVATIONS`.
    """

    patient_id: str
    report_id: str
    age: int
    sex: str
    site: str
    year: int
    report: str = field(repr=False)
    labels: dict[str, int | None] = field(repr=False)


def _fill(template: str, rng: np.random.Generator) -> str:
    words = {name: str(rng.choice(choices)) for name, choices in SLOTS.items()}
    text = template.format(**words)
    return text[0].upper() + text[1:]


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _body(
    rng: np.random.Generator, present: set[str], difficulty: float
) -> tuple[list[str], list[str], dict[str, int | None]]:
    """Return the sentences of the findings and of the impression, and the labels that they make."""
    labels: dict[str, int | None] = dict.fromkeys(OBSERVATIONS)
    findings: list[str] = []
    impression: list[str] = []
    for name, styles in SENTENCES.items():
        if name in present:
            labels[name] = 1
            findings.append(_fill(_one(rng, styles["present"]), rng))
            if rng.random() < 0.4:
                impression.append(_fill(_one(rng, styles["present"]), rng))
        elif rng.random() < 0.05 + 0.12 * difficulty:
            labels[name] = -1
            findings.append(_fill(_one(rng, styles["uncertain"]), rng))
        elif rng.random() < 0.15 + 0.35 * difficulty:
            labels[name] = 0
            findings.append(_fill(_one(rng, styles["absent"]), rng))
        elif rng.random() < 0.15 * difficulty:
            findings.append(_fill(_one(rng, styles["spoken_of"]), rng))
    open_to = [(text, names) for text, names in SHARED_DENIALS if all(labels[name] in (None, 0) for name in names)]
    if open_to and rng.random() < 0.6:
        text, names = open_to[int(rng.integers(len(open_to)))]
        findings.append(text)
        labels.update(dict.fromkeys(names, 0))
    order = rng.permutation(len(findings))
    findings = [findings[i] for i in order]
    for _ in range(int(rng.integers(0, 3))):
        findings.insert(int(rng.integers(len(findings) + 1)), _one(rng, NEUTRAL))
    if all(value not in (1, -1) for name, value in labels.items() if name != "Support Devices"):
        labels["No Finding"] = 1
        impression.append(_one(rng, ("No acute cardiopulmonary process.", "Normal chest.", "No acute disease.")))
    return findings, impression, labels


def plan_reports(patients: int, seed: int = 0, difficulty: float = 1.0) -> Iterator[PlannedReport]:
    """Yield made-up reports, one to four a patient, in the order of the patients.

    Parameters
    ----------
    patients : int
        How many patients.
    seed : int
        The same seed gives the same reports; a patient's reports do not depend on how many patients there are.
    difficulty : float
        From 0 (findings are mostly affirmed) to 1 (many are denied, doubted or only spoken of), so that looking for
        words alone goes wrong.

    Raises
    ------
    DataError
        `patients` is below 1 or `difficulty` outside 0 to 1.

    Examples
    --------
    >>> first = next(plan_reports(1, seed=3))
    >>> first.patient_id, first.report_id, first.report.startswith("INDICATION: ")
    ('R00001', 'R00001-1', True)
    """
    if patients < 1:
        raise DataError(f"{patients} patients", "at least 1", "ask for more")
    if not 0 <= difficulty <= 1:
        raise DataError(f"a difficulty of {difficulty:g}", "0 to 1", "give 1 for the hardest reports")
    for number in range(1, patients + 1):
        rng = np.random.default_rng([seed, number])
        age = int(np.clip(rng.normal(60, 17), 18, 97))
        sex = "female" if rng.random() < 0.5 else "male"
        site, year = _one(rng, _SITES), int(rng.integers(2014, 2023))
        # What a patient has changes little from film to film, and more is found in the old.
        lean = float(np.exp(rng.normal(0, 0.6) + 0.012 * (age - 60)))
        state = {name for name, share in _OFTEN.items() if rng.random() < min(0.9, share * lean)}
        for visit in range(1, 1 + int(rng.choice(4, p=(0.55, 0.25, 0.12, 0.08))) + 1):
            if visit > 1:
                for name, share in _OFTEN.items():
                    if rng.random() < 0.25:
                        state = state | {name} if rng.random() < min(0.9, share * lean) else state - {name}
            findings, impression, labels = _body(rng, state, difficulty)
            who = f"{age}-year-old {'woman' if sex == 'female' else 'man'}. " if rng.random() < 0.7 else ""
            parts = [
                f"INDICATION: {who}{_one(rng, INDICATIONS)}",
                _one(rng, _WORDING),
                f"FINDINGS: {' '.join(findings) or 'Lungs are clear.'}",
            ]
            if impression:
                parts.append(f"IMPRESSION: {' '.join(impression)}")
            report = "\n".join(parts)
            yield PlannedReport(
                f"R{number:05d}", f"R{number:05d}-{visit}", age, sex, site, year + visit // 3, report, labels
            )


def write_reports(path: str | Path, patients: int, seed: int = 0, difficulty: float = 1.0) -> Path:
    """Write made-up reports as a CSV file and return its path.

    Columns: patient_id, report_id, age, sex, site, year, report, then one for each of the fourteen observations in
    CheXpert's coding (1 present, 0 denied, -1 doubted, blank not said). See `plan_reports` for the parameters.
    """
    target = Path(path)
    rows = plan_reports(patients, seed, difficulty)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "report_id", "age", "sex", "site", "year", "report", *OBSERVATIONS])
        for row in rows:
            said = ["" if row.labels[name] is None else row.labels[name] for name in OBSERVATIONS]
            writer.writerow([row.patient_id, row.report_id, row.age, row.sex, row.site, row.year, row.report, *said])
    return target
