"""Small studies that run in seconds, on simulated tables."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

RISK = """schema = 1
[study]
id = "small-risk"
title = "A small risk study"
task = "risk"
seed = 1
[data]
source = "table.csv"
patient = "patient"
[outcome]
column = "dead"
label = "death"
[split]
tune = { by = "patient", folds = 3 }
[model]
candidates = ["logistic"]
[tune]
trials = 2
[evaluate]
draws = 60
accept = ["auroc.lower >= 0.55"]
[subgroups]
columns = ["sex"]
[explain]
repeats = 3
effects = 2
"""

SURVIVAL = """schema = 1
[study]
id = "small-survival"
title = "A small survival study"
task = "survival"
seed = 1
[data]
source = "table.csv"
patient = "patient"
[outcome]
time = "days"
event = "died"
horizons_days = [100, 300]
[predictors]
include = ["age", "sex", "marker"]
[split]
tune = { by = "patient", folds = 3 }
[tune]
trials = 2
[evaluate]
draws = 60
accept = ["uno_c.lower >= 0.5"]
[explain]
repeats = 3
effects = 2
"""


COMPETING = (
    SURVIVAL.replace("small-survival", "small-competing")
    .replace(
        'event = "died"',
        'event = "status"\nevent_value = "died"\ncompeting = { transplanted = "Transplantation" }\nlabel = "Death"',
    )
    .replace("uno_c", "cause_specific_c")
)


def table(n: int = 400, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 10, n).round(1)
    marker = rng.gamma(2.0, 2.0, n).round(3)
    sex = rng.choice(["female", "male"], n)
    eta = 0.06 * (age - 60) + 0.35 * (marker - 4) + 0.3 * (sex == "male")
    time = np.ceil(rng.exponential(400 * np.exp(-eta)))
    censor = np.ceil(rng.uniform(50, 900, n))
    return pl.DataFrame(
        {
            "patient": [f"P{i // 2:04d}" if i < 60 else f"P{i:04d}" for i in range(n)],
            "age": age,
            "marker": pl.Series(np.where(rng.random(n) < 0.05, np.nan, marker)).fill_nan(None),
            "sex": sex,
            "dead": (rng.random(n) < 1 / (1 + np.exp(-(eta - 0.8)))).astype(int),
            "days": np.minimum(time, censor),
            "died": (time <= censor).astype(int),
        }
    )


@pytest.fixture
def risk_study(tmp_path):
    """A folder with a table and a risk study; returns the path of the study file."""
    table().drop("days", "died").write_csv(tmp_path / "table.csv")
    (tmp_path / "study.toml").write_text(RISK)
    return tmp_path / "study.toml"


@pytest.fixture
def survival_study(tmp_path):
    """A folder with a table and a survival study; returns the path of the study file."""
    table().drop("dead").write_csv(tmp_path / "table.csv")
    (tmp_path / "study.toml").write_text(SURVIVAL)
    return tmp_path / "study.toml"


@pytest.fixture
def competing_study(tmp_path):
    """A folder with a table and a study of death that transplantation can prevent; returns the study file."""
    frame = table().drop("dead")
    other = np.random.default_rng(9).exponential(700, frame.height).round() + 1
    first = other < frame["days"].to_numpy()
    status = np.where(first, "transplanted", np.where(frame["died"].to_numpy() == 1, "died", "alive"))
    days = np.minimum(other, frame["days"].to_numpy())
    frame.drop("died").with_columns(days=pl.Series(days), status=pl.Series(status)).write_csv(tmp_path / "table.csv")
    (tmp_path / "study.toml").write_text(COMPETING)
    return tmp_path / "study.toml"


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run the command line in this process; returns exit code, standard output and standard error."""
    import sys

    from aimed.cli import main

    def call(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["aimed", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return call
