"""How often the tests of heterogeneity reject: on permuted treatment, and where the effect truly differs."""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from aimed.metrics.heterogeneity import CONCLUSIONS, TESTS, heterogeneity_tests
from aimed.metrics.proportions import wilson
from aimed.metrics.targeting import aipw_scores
from common import machine

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
COLUMNS = ("age", "sex", "obstruct", "perfor", "adhere", "nodes", "node4")
Draw = Callable[[np.random.Generator], tuple[Any, Any, Any, float, str]]
MODELS: dict[str, Callable[[int], Any]] = {
    "linear": lambda _: LinearRegression(),
    "forest": lambda seed: RandomForestRegressor(50, min_samples_leaf=10, random_state=seed, n_jobs=1),
}


def permuted_trial() -> Draw | None:
    """The levamisole trial with its arms dealt anew."""
    path = DATA / "treatment" / "levamisole_data_reconstructed.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    X = np.array([[float(row[k]) for k in COLUMNS] for row in rows])
    y = np.array([float(row["outcome"]) for row in rows])
    treated = np.array([float(row["TRTMT"] == "True") for row in rows])
    return lambda rng: (X, y, rng.permutation(treated), float(treated.mean()), "harm")


def simulated(n: int, strength: float) -> Draw:
    """A trial whose effect has a standard deviation of `strength`, half a step and half a line."""

    def draw(rng: np.random.Generator) -> tuple[Any, Any, Any, float, str]:
        X, t = rng.normal(size=(n, 5)), rng.integers(0, 2, n).astype(float)
        effect = 0.3 + strength * (np.sign(X[:, 0]) + X[:, 1]) / np.sqrt(2)
        return X, X[:, 0] + effect * t + rng.normal(size=n), t, 0.5, "good"

    return draw


def rejections(draw: Draw, model: str, draws: int, seed: int) -> tuple[dict[str, int], dict[str, int]]:
    """Count the rejections of each test at 0.05, and the conclusions."""
    tests, ends = dict.fromkeys(TESTS, 0), dict.fromkeys(CONCLUSIONS, 0)
    for k in range(draws):
        rng = np.random.default_rng([seed, k])
        X, y, t, share, outcome = draw(rng)
        train = rng.permutation(y.size) < y.size // 2
        here = ~train
        mu = []
        for arm in (0, 1):
            rows = train & (t == arm)
            mu.append(MODELS[model](k).fit(X[rows], y[rows]).predict(X[here]))
        scores = aipw_scores(y[here], t[here], *mu, share, outcome=outcome)
        benefit = (mu[1] - mu[0]) * (1 if outcome == "good" else -1)
        found = heterogeneity_tests(scores, benefit, covariates=X[here], y=y[here], treated=t[here])
        ends[found.conclusion] += 1
        for test in found.tests:
            tests[test.name] += test.p < 0.05
    return tests, ends


def main() -> None:
    """Print one line a test and setting."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draws", type=int, default=200)
    options.add_argument("--rows", type=int, default=1000, help="patients of a simulated trial, half of them for tests")
    options.add_argument("--models", nargs="+", choices=list(MODELS), default=["linear"])
    options.add_argument("--strengths", nargs="*", type=float, default=[0.25, 0.5, 1.0])
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    settings: dict[str, Draw | None] = {
        "levamisole, treatment permuted": permuted_trial(),
        "simulated, no heterogeneity": simulated(asked.rows, 0.0),
        **{f"simulated, SD of effect {s:g}": simulated(asked.rows, s) for s in asked.strengths},
    }
    print(f"\n# Tests of heterogeneity ({machine()}; {asked.draws} draws; level 0.05)\n")
    print("| setting | T-learner | " + " | ".join(TESTS) + " | conclusion: " + " / ".join(CONCLUSIONS) + " | s |")
    print("|---" * (len(TESTS) + 4) + "|")
    for name, draw in settings.items():
        if draw is None:
            print(f"Not run: {name}: the data are not here (AIMED_DATA)")
            continue
        for model in asked.models:
            began = time.perf_counter()
            tests, ends = rejections(draw, model, asked.draws, asked.seed)
            cells = []
            for count in tests.values():
                low, high = wilson(float(count), float(asked.draws), 0.95)
                cells.append(f"{count / asked.draws:.3f} ({low:.3f} to {high:.3f})")
            said = " / ".join(f"{count / asked.draws:.3f}" for count in ends.values())
            took = time.perf_counter() - began
            print(f"| {name} | {model} | " + " | ".join(cells) + f" | {said} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
