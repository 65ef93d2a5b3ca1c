"""Made-up reports with the labels they were written for, for tests of studies of notes."""

from __future__ import annotations

import numpy as np
import polars as pl

STATED = {
    "Pleural Effusion": ("There is a small left pleural effusion.", "Moderate right effusion."),
    "Cardiomegaly": ("The heart is enlarged.", "Stable cardiomegaly."),
    "Pneumothorax": ("Small right apical pneumothorax.", "Left pneumothorax is seen."),
}
DENIED = {
    "Pleural Effusion": ("No pleural effusion.", "There is no evidence of effusion."),
    "Cardiomegaly": ("The heart is normal in size.", "Heart size is within normal limits."),
    "Pneumothorax": ("No pneumothorax.", "There is no pneumothorax."),
}
DOUBTED = {
    "Pleural Effusion": ("Possible small left pleural effusion.",),
    "Cardiomegaly": ("Possible cardiomegaly.",),
    "Pneumothorax": ("Possible small right pneumothorax.",),
}
STUDY = """schema = 1
[study]
id = "small-notes"
title = "What do these reports state?"
task = "report_labels"
seed = 1
[data]
source = "reports.csv"
patient = "patient"
unit = "report_id"
[notes]
column = "report"
coding = "chexpert"
identifiers = "none"
[outcome]
findings = ["Pleural Effusion", "Cardiomegaly", "Pneumothorax"]
[split]
tune = { by = "patient", folds = 2 }
[model]
candidates = ["lexicon", "words"]
[evaluate]
draws = 60
accept = ["micro_f1.lower >= 0.8"]
[subgroups]
columns = ["sex"]
min_events = 5
[report]
note_text = true
"""


def frame(n: int = 240, seed: int = 0) -> pl.DataFrame:
    """Return reports of n / 2 patients, in CheXpert's coding; every tenth says nothing of a finding."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in range(n):
        labels: dict[str, int | None] = {}
        said = [f"The trachea is midline, film {row}."]
        for name in STATED:
            kind = rng.choice(4, p=[0.3, 0.5, 0.1, 0.1])
            labels[name] = [1, 0, -1, None][kind]
            if kind < 3:
                choice = (STATED, DENIED, DOUBTED)[kind][name]
                said.append(str(rng.choice(choice)))
        if rng.random() < 0.08:
            # Those who labelled the reports err too.
            labels["Cardiomegaly"] = {1: 0, 0: 1}.get(labels["Cardiomegaly"], 1)
        order = rng.permutation(len(said))
        rows.append(
            {
                "report_id": f"R{row:05d}",
                "patient": f"P{row // 2:04d}",
                "sex": "female" if (row // 2) % 2 else "male",
                "report": "FINDINGS: " + " ".join(said[k] for k in order),
                **labels,
            }
        )
    return pl.DataFrame(rows)
