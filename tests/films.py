"""Drawn films for studies of pictures: two lungs, a white corner (effusion) and a round spot (lung mass)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

FINDINGS = ("effusion", "lung mass")
NAMES, PATIENTS, EXAMINATIONS = "SECRETFILE", "SECRETPERSON", "SECRETEXAM"
"""How names of files, patients and examinations begin: none of them may be in anything that is shown."""

STUDY = """schema = 1
[study]
id = "films"
title = "Two findings in drawn films"
task = "classify"
seed = 1
[data]
source = "table.csv"
patient = "patient_id"
[images]
column = "path"
size = 32
view = "view"
shortcuts = ["age", "sex"]
[outcome]
findings = ["effusion", "lung mass"]
[split]
tune = { by = "patient", folds = 3 }
[model]
candidates = ["small_cnn"]
[model.parameters.small_cnn]
max_epochs = 2
learning_rate = 5e-3
batch_size = 16
precision = "32-true"
architecture_options = { widths = [4, 8] }
[evaluate]
draws = 50
accept = ["macro_auroc >= 0.1"]
[subgroups]
columns = ["sex"]
"""


def draw(sick: tuple[bool, bool], rng: np.random.Generator, size: int = 48) -> np.ndarray:
    """Return a film, shape (size, size), uint8."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1.0)
    film = 150 - 70 * np.exp(-(((np.abs(x - 0.5) - 0.22) / 0.13) ** 2) - ((y - 0.45) / 0.28) ** 2)
    if sick[0]:
        film += 80 * ((y > 0.68) & (y < 0.92) & (x > 0.1) & (x < 0.4))
    if sick[1]:
        film += 90 * ((y - rng.uniform(0.3, 0.5)) ** 2 + (x - 0.72) ** 2 < 0.012)
    film += rng.normal(0, 8, film.shape) + rng.normal(0, 6)
    return np.clip(film, 0, 255).astype(np.uint8)


def write_films(folder: Path, n: int = 72, seed: int = 0) -> pl.DataFrame:
    """Write films and their table; two of three patients have two films."""
    rng = np.random.default_rng(seed)
    (folder / "films").mkdir(parents=True)
    rows = []
    for i in range(n):
        sick = tuple(bool(v) for v in rng.random(2) < 0.45)
        name, person = f"films/{NAMES}{i:03d}.png", i * 2 // 3
        Image.fromarray(draw(sick, rng)).save(folder / name)
        rows.append(
            {
                "patient_id": f"{PATIENTS}{person:03d}",
                "path": name,
                **dict(zip(FINDINGS, map(int, sick), strict=True)),
                "sex": "FM"[person % 2],
                "age": 30 + (person * 17) % 50,
                "view": ("PA", "AP")[int(rng.random() < 0.4)],
                "site": ("north", "south", "west")[person % 3],
                "taken": f"{2010 + person // 12}-{1 + person % 12:02d}-15",
                "exam": f"{EXAMINATIONS}{i:03d}",
            }
        )
    frame = pl.DataFrame(rows)
    frame.write_csv(folder / "table.csv")
    return frame
