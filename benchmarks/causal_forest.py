"""The causal forest beside EconML's: seconds with and without nuisances, memory, growth, accuracy and coverage.

`--quick` keeps to 10,000 rows, and to 1,000 for accuracy; `--draws` and `--large-draws` set how many data sets accuracy
is averaged over; `--full` also asks EconML's forest of 10,000 rows where that says little more.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from common import Data, Row, Side, parser, table

SETTINGS = {"n_estimators": 1000, "random_state": 0}
"""Of every forest; the rest is each library's own default, with trees in bags of four on half the rows."""

SINGLE_ROWS = 50


# ------------------------------------------------------------------------------------------------------------- the data


def step_and_line(X: np.ndarray) -> np.ndarray:
    """Half a unit more above zero of one column, and a straight line in another."""
    return 0.25 + 0.5 * (X[:, 0] > 0) + 0.25 * X[:, 1]


def step_aside(X: np.ndarray) -> np.ndarray:
    """The step away from the middle."""
    return 0.25 + 0.5 * (X[:, 0] > 0.7) + 0.25 * X[:, 1]


def bump(X: np.ndarray) -> np.ndarray:
    """A bump in one column and a bent line in another: neither steps nor lines."""
    return np.exp(-((X[:, 0] - 0.7) ** 2)) + 0.5 * np.maximum(X[:, 1] + 0.7, 0)


def nothing(X: np.ndarray) -> np.ndarray:
    """The same effect for everyone."""
    return np.full(len(X), 0.3)


def study(n: int, effect: Callable[[np.ndarray], np.ndarray] = step_and_line, seed: int = 0, p: int = 20) -> Data:
    """Observed treatment that depends on one column, an outcome that depends on two, noise of one unit."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    T = (rng.random(n) < 1 / (1 + np.exp(-0.5 * X[:, 2]))).astype(float)
    tau = effect(X)
    Y = X[:, 3] + 0.5 * X[:, 4] + tau * T + rng.normal(size=n)
    return {"X": X, "T": T, "Y": Y, "tau": tau}


def models() -> tuple[Any, Any]:
    """The learners of outcome and treatment that both libraries centre with."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    settings = {"max_iter": 60, "max_leaf_nodes": 15, "random_state": 0}
    return HistGradientBoostingRegressor(**settings), HistGradientBoostingClassifier(**settings)


def centred(n: int, **asked: Any) -> Data:
    """The data with nuisances fitted once."""
    from aimed.treatment.nuisances import fit_nuisances

    d = study(n, **asked)
    outcome, treatment = models()
    return d | {
        "nuisances": fit_nuisances(d["Y"], d["T"], d["X"], outcome_model=outcome, propensity_model=treatment),
        "new": np.random.default_rng(99).normal(size=(2_000, d["X"].shape[1])),
    }


# ---------------------------------------------------------------------------------------------------------- the forests


def ours(d: Data) -> Any:
    from aimed.treatment.causal_forest import CausalForest

    return CausalForest(**SETTINGS).fit(d["Y"], d["T"], X=d["X"], nuisances=d["nuisances"])


def ours_with_nuisances(d: Data) -> Any:
    from aimed.treatment.causal_forest import CausalForest

    outcome, treatment = models()
    forest = CausalForest(**SETTINGS, outcome_model=outcome, propensity_model=treatment)
    return forest.fit(d["Y"], d["T"], X=d["X"])


def econml_forest(d: Data) -> Any:
    """The forest inside CausalForestDML, on our residuals and with its settings there."""
    from econml.grf import CausalForest

    forest = CausalForest(**SETTINGS, max_samples=0.45, min_samples_leaf=5, min_balancedness_tol=0.45, n_jobs=1)
    nuisances = d["nuisances"]
    return forest.fit(d["X"], d["T"] - nuisances.propensity, d["Y"] - nuisances.m)


def econml_with_nuisances(d: Data) -> Any:
    from econml.dml import CausalForestDML

    outcome, treatment = models()
    forest = CausalForestDML(
        model_y=outcome, model_t=treatment, discrete_treatment=True, cv=5, n_jobs=1, drate=False, **SETTINGS
    )
    return forest.fit(d["Y"], d["T"], X=d["X"])


def with_ours(d: Data) -> Data:
    return d | {"forest": ours(d)}


def with_econml(d: Data) -> Data:
    return d | {"forest": econml_with_nuisances(d)}


def intervals(d: Data) -> Any:
    return d["forest"].effect_interval(d["new"])


def single_rows(d: Data) -> Any:
    return [d["forest"].effect_interval(d["new"][i : i + 1]) for i in range(SINGLE_ROWS)]


def single_effects(d: Data) -> Any:
    return [d["forest"].effect(d["new"][i : i + 1]) for i in range(SINGLE_ROWS)]


def stored(d: Data) -> float:
    """Megabytes of the JSON that a bundle keeps."""
    return len(json.dumps(d["forest"].to_state())) / 1e6


def pickled(d: Data) -> float:
    return len(pickle.dumps(d["forest"])) / 1e6


LARGEST = 10_000

ROWS = (
    Row(
        "Causal forest alone, 1,000 trees, p = 20",
        centred,
        Side("aimed", ours),
        (1_000, 10_000, 100_000),
        (Side("EconML grf.CausalForest", econml_forest, LARGEST, warm=200),),
        ">= 10x at 10k, <= 8 s; grows with n",
    ),
    Row(
        "Causal forest with nuisances",
        study,
        Side("aimed", ours_with_nuisances),
        (1_000, 10_000, 100_000),
        (Side("EconML CausalForestDML", econml_with_nuisances, LARGEST, warm=200),),
        ">= 10x at 10k",
    ),
    Row(
        "Intervals of 2,000 rows",
        centred,
        Side("aimed", intervals, prepare=with_ours),
        (1_000, 10_000),
        (Side("EconML CausalForestDML", intervals, 1_000, full=LARGEST, prepare=with_econml, warm=200),),
        "",
    ),
    Row(
        "Interval of one row",
        centred,
        Side("aimed", single_rows, prepare=with_ours),
        (1_000, 10_000),
        (Side("EconML CausalForestDML", single_rows, 1_000, full=LARGEST, prepare=with_econml, warm=200),),
        "< 1 ms",
        unit="ms",
        per=SINGLE_ROWS,
    ),
    Row(
        "Effect of one row",
        centred,
        Side("aimed", single_effects, prepare=with_ours),
        (1_000, 10_000),
        (Side("EconML CausalForestDML", single_effects, 1_000, full=LARGEST, prepare=with_econml, warm=200),),
        "< 1 ms",
        unit="ms",
        per=SINGLE_ROWS,
    ),
    Row(
        "On disk: our JSON, EconML's pickle",
        centred,
        Side("aimed", stored, prepare=with_ours),
        (1_000, 10_000),
        (Side("EconML CausalForestDML", pickled, 1_000, full=LARGEST, prepare=with_econml, warm=200),),
        "a fifth",
        unit="MB",
    ),
)


# ------------------------------------------------------------------------------------------------------------- accuracy


def one_draw(effect: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> dict[str, dict[str, float]]:
    """Fit every forest on one data set; root mean squared error and coverage on 2,000 new rows."""
    d = centred(n, effect=effect, seed=seed)
    truth = effect(d["new"])
    out = {}
    for name, fit in (("aimed", ours), ("EconML forest", econml_forest), ("CausalForestDML", econml_with_nuisances)):
        began = time.process_time()
        forest = fit(d)
        seconds = time.process_time() - began
        ask = forest.predict_interval if name == "EconML forest" else forest.effect_interval
        low, high = (np.ravel(v) for v in ask(d["new"], alpha=0.05))
        out[name] = {
            "pehe": float(np.sqrt(np.mean(((low + high) / 2 - truth) ** 2))),
            "cover": float(np.mean((low <= truth) & (truth <= high))),
            "width": float(np.mean(high - low)),
            "seconds": seconds,
        }
        if name == "aimed":
            inside_low, inside_high = forest.oob_interval()
            out[name]["oob"] = float(np.mean((inside_low <= d["tau"]) & (d["tau"] <= inside_high)))
            average = forest.ate_interval()
            out[name]["ate"] = float(average[0] <= d["tau"].mean() <= average[1])
    out["constant"] = {"pehe": float(truth.std())}
    return out


def accuracy(asked: argparse.Namespace) -> None:
    """Print what the forests find of known effects."""
    warnings.simplefilter("ignore")
    print("\n# Known effects: root PEHE and coverage of 95 % intervals on 2,000 new rows, means over data sets\n")
    print("| effect | rows | data sets | forest | root PEHE (se) | coverage | width | out-of-bag coverage | seconds |")
    print("|---" * 9 + "|", flush=True)
    plans = [(step_and_line, 1_000, asked.draws), (step_aside, 1_000, asked.draws), (bump, 1_000, asked.draws)]
    plans += [(nothing, 1_000, asked.draws)]
    if not asked.quick:
        plans += [(step_and_line, 10_000, asked.large_draws)]
    for effect, n, draws in plans:
        found = [one_draw(effect, n, seed) for seed in range(draws)]
        for name in found[0]:
            pehe = np.array([one[name]["pehe"] for one in found])
            error = f" ({pehe.std(ddof=1) / np.sqrt(draws):.3f})" if draws > 1 else ""
            rest = []
            for key in ("cover", "width", "oob", "seconds"):
                values = [one[name][key] for one in found if key in one[name]]
                rest.append(f"{np.mean(values):.3f}" if values else "")
            line = [effect.__name__, f"{n:,}", str(draws), name, f"{pehe.mean():.3f}{error}", *rest]
            print("| " + " | ".join(line) + " |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    options = parser(__doc__)
    options.add_argument("--draws", type=int, default=10, help="data sets of 1,000 rows for accuracy")
    options.add_argument("--large-draws", type=int, default=2, help="data sets of 10,000 rows for accuracy")
    asked = options.parse_args()
    table(__file__, "The causal forest beside EconML's", ROWS, asked)
    if not asked.one and asked.only.lower() in "accuracy":
        accuracy(asked)


if __name__ == "__main__":
    main()
