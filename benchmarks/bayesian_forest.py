"""The Bayesian causal forest where the truth is known: error and coverage of individual effects, beside EconML.

IHDP files 1 to 5 and ACIC 2016 files 1 to 3, in the rows they were fitted on. `--no-peers` leaves EconML out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aimed.treatment.bayesian_forest import BayesianCausalForest

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")) / "treatment"


class Trial(NamedTuple):
    """Covariates, treatment, outcome and each row's true effect."""

    X: np.ndarray
    T: np.ndarray
    Y: np.ndarray
    truth: np.ndarray


class Found(NamedTuple):
    """Effects, the limits of their intervals (None without) and the limits of the average."""

    effect: np.ndarray
    limits: Any
    average: Any


def ihdp(k: int) -> Trial:
    table = np.loadtxt(DATA / "ihdp" / f"ihdp_npci_{k}.csv", delimiter=",")
    return Trial(table[:, 5:], table[:, 0], table[:, 1], table[:, 4] - table[:, 3])


def acic(k: int) -> Trial:
    with open(DATA / "acic2016" / "x.csv", encoding="ascii") as file:
        table = np.array(list(csv.reader(file))[1:])
    columns = []
    for column in table.T:
        try:
            columns.append(column.astype(float))
        except ValueError:
            columns += [(column == level).astype(float) for level in np.unique(column)]
    z, y0, y1, mu0, mu1 = np.loadtxt(DATA / "acic2016" / f"zymu_{k}.csv", delimiter=",", skiprows=1).T
    return Trial(np.column_stack(columns), z, np.where(z == 1, y1, y0), mu1 - mu0)


def ours(trial: Trial) -> Found:
    forest = BayesianCausalForest().fit(trial.Y, trial.T, X=trial.X)
    began = time.perf_counter()
    forest.effect(trial.X[:1])
    row = 1e3 * (time.perf_counter() - began)
    state = len(json.dumps(forest.to_state())) / 1e6
    worst = max(forest.r_hat_.values())
    print(f"    one row {row:.1f} ms, state {state:.2f} MB, largest R-hat {worst:.2f}")
    return Found(forest.effect(trial.X), forest.effect_interval(trial.X), forest.ate_interval(trial.X))


def peers() -> Iterator[tuple[str, Callable[[Trial], Found]]]:
    from econml.dml import CausalForestDML
    from econml.metalearners import SLearner, TLearner, XLearner
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    boosting, chance = HistGradientBoostingRegressor(random_state=0), HistGradientBoostingClassifier(random_state=0)
    bases = {
        "boosting": boosting,
        "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13))),
        "random forest": RandomForestRegressor(100, min_samples_leaf=5, random_state=0),
    }
    plain = {f"T {name}": TLearner(models=base) for name, base in bases.items()}
    plain["S boosting"] = SLearner(overall_model=boosting)
    plain["X boosting"] = XLearner(models=boosting, propensity_model=chance)

    def learner(model: Any) -> Callable[[Trial], Found]:
        return lambda t: Found(model.fit(t.Y, t.T, X=t.X).effect(t.X), None, None)

    for name, model in plain.items():
        yield f"EconML {name}", learner(model)

    def forest(t: Trial) -> Found:
        model = CausalForestDML(model_y=boosting, model_t=chance, discrete_treatment=True, random_state=0, n_jobs=1)
        model.fit(t.Y, t.T, X=t.X)
        return Found(model.effect(t.X), model.effect_interval(t.X), model.ate_interval(t.X))

    yield "EconML causal forest", forest


def score(work: Callable[[Trial], Found], trial: Trial) -> list[float]:
    began = time.process_time()
    found = work(trial)
    seconds = time.process_time() - began
    effect, truth = found.effect.ravel(), trial.truth
    error = [float(np.sqrt(((effect - truth) ** 2).mean())), abs(float(effect.mean() - truth.mean()))]
    if found.limits is None:
        return [*error, np.nan, np.nan, np.nan, seconds]
    low, high = (limit.ravel() for limit in found.limits)
    inside = float(((low <= truth) & (truth <= high)).mean())
    average = float(found.average[0] <= truth.mean() <= found.average[1])
    return [*error, inside, float((high - low).mean()), average, seconds]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--no-peers", action="store_true")
    options.add_argument("--only", choices=["ihdp", "acic"])
    asked = options.parse_args()
    warnings.simplefilter("ignore")
    forest = BayesianCausalForest(2, 2, n_chains=1, n_warm_up=1, n_draws=4)
    forest.fit(np.arange(8.0), np.arange(8) % 2, X=np.arange(8.0)[:, None]).effect([[1.0]])
    works = [("aimed Bayesian causal forest", ours), *([] if asked.no_peers else peers())]
    for title, read, files in (("ihdp", ihdp, range(1, 6)), ("acic", acic, range(1, 4))):
        if asked.only not in (None, title):
            continue
        trials = [read(k) for k in files]
        print(
            f"\n# {title}\n\n| learner | file | sqrt-PEHE | error of average | coverage | width | average inside | s |"
        )
        print("|---" * 8 + "|")
        for name, work in works:
            rows = [score(work, trial) for trial in trials]
            for label, row in [*zip(map(str, files), rows, strict=True), ("mean", np.mean(rows, axis=0))]:
                print(f"| {name} | {label} | " + " | ".join(f"{v:.3f}" for v in row) + " |", flush=True)


if __name__ == "__main__":
    main()
