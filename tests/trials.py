"""Small simulated trials whose effects are known, and studies of them that run in seconds."""

from __future__ import annotations

import numpy as np
import polars as pl

STUDY = """schema = 1
[study]
id = "small-trial"
title = "A small trial"
task = "effect"
seed = 1
[data]
source = "table.csv"
patient = "patient"
[treatment]
column = "arm"
control = "placebo"
active = "drug"
assignment = "randomised"
ratio = [1, 1]
[outcome]
column = "dead"
label = "death"
[predictors]
adjust = ["age", "marker", "sex"]
modifiers = ["age", "marker"]
[split]
test = { by = "patient", fraction = 0.4 }
tune = { by = "patient", folds = 3 }
[model]
candidates = ["effect_model"]
[evaluate]
draws = 50
[sensitivity]
placebos = 10
[explain]
repeats = 2
effects = 2
shap = false
[report]
checklists = []
"""

_STATUS = 'event = "status"\nevent_value = "died"\ncompeting = { transplanted = "Transplantation" }\n'
OUTCOMES = {
    "binary": 'column = "dead"\nlabel = "death"\n',
    "continuous": 'column = "score"\nkind = "continuous"\nmeasured_in = "points"\nlabel = "score"\n',
    "survival": 'time = "days"\nevent = "died"\nhorizon_days = 300\nlabel = "death"\n',
    "competing": f'time = "days"\n{_STATUS}horizon_days = 300\nlabel = "death"\n',
}


def study(kind="binary", *changes, text=STUDY):
    """Return a study file of that kind of outcome; each change is a text and what takes its place."""
    text = text.replace(OUTCOMES["binary"], OUTCOMES[kind])
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def frame(n=400, seed=0, rows_each=1, strength=0.0, harm=0.0):
    """Return a table of a trial: the drug prevents deaths, more of them where `marker` is high.

    `strength` makes treatment depend on age, as in records; `harm` moves the effect for everyone.
    """
    rng = np.random.default_rng(seed)
    people = n // rows_each
    age, marker = rng.normal(60, 10, people).round(1), rng.gamma(2.0, 2.0, people).round(2)
    sex, stage = rng.choice(["female", "male"], people), rng.choice(["I", "II", "III"], people)
    chance = 1 / (1 + np.exp(-strength * (age - 60) / 10))
    treated = rng.permutation(np.arange(people) % 2 == 0) if strength == 0 else rng.random(people) < chance
    age, marker, sex, stage, treated = (np.repeat(v, rows_each) for v in (age, marker, sex, stage, treated))
    total = people * rows_each
    eta = 0.05 * (age - 60) + 0.25 * (marker - 4) + 0.3 * (sex == "male")
    eta = eta + treated * (harm - 0.7 - 0.3 * (marker - 4))
    death, other = rng.exponential(400 * np.exp(-eta)), rng.exponential(900, total)
    censored = rng.uniform(60, 900, total)
    days = np.ceil(np.minimum(np.minimum(death, other), censored))
    status = np.where(
        death <= np.minimum(other, censored), "died", np.where(other <= censored, "transplanted", "alive")
    )
    return pl.DataFrame(
        {
            "patient": [f"P{i // rows_each:04d}" for i in range(total)],
            "arm": np.where(treated, "drug", "placebo"),
            "age": age,
            "marker": pl.Series(np.where(rng.random(total) < 0.04, np.nan, marker)).fill_nan(None),
            "sex": sex,
            "stage": stage,
            "dead": (rng.random(total) < 1 / (1 + np.exp(-eta))).astype(int),
            "score": (10 * eta + rng.normal(0, 5, total)).round(3),
            "days": days,
            "died": (status == "died").astype(int),
            "status": status,
        }
    )


def made(kind="binary", *changes, table=None, **options):
    """Return the specification, cohort and split of a simulated study."""
    from aimed.study.spec import read_spec
    from aimed.study.stages import draw_split
    from aimed.study.tasks import read_cohort

    spec = read_spec(study(kind, *changes))
    cohort = read_cohort(spec, frame(**options) if table is None else table)
    return spec, cohort, draw_split(spec, cohort)
