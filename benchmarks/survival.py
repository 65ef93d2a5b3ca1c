"""The survival engine beside its peers: seconds, memory, growth over sizes and accuracy, in one run.

`--full` adds what takes a peer minutes to hours: lifelines' clustered errors at 100,000 rows, scikit-survival's forest
at 20,000 and comprisk's at 1,000,000.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common import Data, NotRunError, Row, Side, parser, peer_python, table

COMPRISK = "comprisk==0.8.0"
"""Needs numba < 0.66, so it lives in an environment of its own."""

SETTINGS = {"n_estimators": 100, "min_samples_leaf": 15, "max_features": "sqrt"}
"""Of every forest; each draws rows with replacement."""


# --------------------------------------------------------------------------------------------------------- the data


def cohort(n: int, p: int = 20) -> Data:
    """Proportional hazards, day-level times, half the predictors yes/no, about 60 % censoring, four rows a patient."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    death = np.ceil(rng.exponential(1500 * np.exp(-X @ np.linspace(-0.5, 0.5, p))))
    lost = np.ceil(rng.uniform(1, 1500, n))
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.minimum(death, lost)
    return {"X": X, "y": y, "patient": np.arange(n) // 4}


def long_cohort(n: int, p: int = 20, seed: int = 0) -> Data:
    """Weibull hazards with an interaction, half the predictors yes/no, up to ten years of days: many distinct times."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    eta = X @ np.linspace(-0.5, 0.5, p) + 0.5 * X[:, 0] * X[:, p - 1]
    death = 6000 * rng.weibull(1.2, n) * np.exp(-eta / 1.2)
    lost = rng.uniform(365, 3650, n)
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.ceil(np.minimum(death, lost))
    return {"X": X, "y": y}


def new_rows(n: int) -> Data:
    """A cohort, with 10,000 further rows to predict for."""
    return long_cohort(n) | {"new": long_cohort(10_000, seed=1)["X"]}


def wide_cohort(n: int, p: int = 100) -> Data:
    """Hundred related predictors of which twenty matter, and fifty penalties down to a hundredth of the first."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    X[:, 1:] = 0.7 * X[:, 1:] + 0.5 * X[:, :-1]
    X[:, p // 2 :] = X[:, p // 2 :] > 0
    beta = np.zeros(p)
    beta[::5] = rng.normal(size=p // 5) * 0.3
    death, lost = np.ceil(rng.exponential(1500 * np.exp(-X @ beta))), np.ceil(rng.uniform(1, 1500, n))
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.minimum(death, lost)
    return {"X": X, "y": y, "alphas": 0.12 * 0.01 ** (np.arange(50) / 49)}


# -------------------------------------------------------------------------------------------------------- our models


def our_cox(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(d["X"], d["y"])


def our_clustered_cox(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(d["X"], d["y"], cluster=d["patient"])


def our_start_stop_cox(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH

    return CoxPH().fit(d["X"], d["y"], entry=d["y"]["time"] / 3)


def our_zph(d: Data) -> Any:
    from aimed.prognosis.cox import CoxPH
    from aimed.prognosis.cox_diagnostics import proportional_hazards_test

    return proportional_hazards_test(CoxPH().fit(d["X"], d["y"]), d["X"], d["y"])


def our_path(d: Data) -> Any:
    from aimed.prognosis.cox_path import CoxPath

    return CoxPath(alphas=d["alphas"], standardize=False, ties="breslow").fit(d["X"], d["y"])


def our_forest(d: Data) -> Any:
    from aimed.prognosis.survival_forest import SurvivalForest

    return SurvivalForest(**SETTINGS, random_state=0).fit(d["X"], d["y"])


def with_our_forest(d: Data) -> Data:
    return d | {"forest": our_forest(d)}


def our_size(d: Data) -> float:
    """Megabytes of a bundle's arrays, not compressed; curves can be read at any time."""
    return sum(v.nbytes for v in d["forest"].to_state()["arrays"].values()) / 1e6


def our_shap(d: Data) -> Any:
    return d["forest"].shap_values(d["new"][:SHAP_ROWS])


# ------------------------------------------------------------------------------------------------------------- peers


def frame(d: Data) -> Any:
    import pandas as pd

    return pd.DataFrame(d["X"]).assign(time=d["y"]["time"], event=d["y"]["event"])


def lifelines_cox(d: Data) -> Any:
    from lifelines import CoxPHFitter

    return CoxPHFitter().fit(frame(d), "time", "event")


def lifelines_clustered_cox(d: Data) -> Any:
    from lifelines import CoxPHFitter

    return CoxPHFitter().fit(frame(d).assign(patient=d["patient"]), "time", "event", cluster_col="patient")


def lifelines_start_stop_cox(d: Data) -> Any:
    from lifelines import CoxPHFitter

    return CoxPHFitter().fit(frame(d).assign(entry=d["y"]["time"] / 3), "time", "event", entry_col="entry")


def lifelines_zph(d: Data) -> Any:
    from lifelines import CoxPHFitter
    from lifelines.statistics import proportional_hazard_test

    table = frame(d)
    return proportional_hazard_test(CoxPHFitter().fit(table, "time", "event"), table, time_transform="km")


def sksurv_cox(d: Data) -> Any:
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return CoxPHSurvivalAnalysis(ties="efron", tol=1e-9).fit(d["X"], d["y"])


def sksurv_coxnet(d: Data) -> Any:
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    return CoxnetSurvivalAnalysis(l1_ratio=1.0, alphas=d["alphas"]).fit(d["X"], d["y"])


def sksurv_forest(d: Data, trees: int = 100) -> Any:
    from sksurv.ensemble import RandomSurvivalForest

    return RandomSurvivalForest(**(SETTINGS | {"n_estimators": trees}), random_state=0, n_jobs=1).fit(d["X"], d["y"])


def sksurv_ten_trees(d: Data) -> Any:
    return sksurv_forest(d, 10)


def with_sksurv_forest(d: Data) -> Data:
    return d | {"forest": sksurv_forest(d)}


def with_sksurv_ten_trees(d: Data) -> Data:
    return d | {"forest": sksurv_ten_trees(d)}


class _Counter:
    """A file that only counts what is written to it."""

    size = 0

    def write(self, part: Any) -> int:
        self.size += memoryview(part).nbytes
        return memoryview(part).nbytes


def sksurv_size(d: Data) -> float:
    """Megabytes of the pickle."""
    import pickle

    counter = _Counter()
    pickle.dump(d["forest"], counter, protocol=5)
    return counter.size / 1e6


def sksurv_shap(d: Data) -> Any:
    """Permutation Shapley values of two rows against 50: no explainer of trees takes the forest."""
    import shap

    return shap.explainers.Permutation(d["forest"].predict, d["X"][:50])(d["new"][:2])


def comprisk_forest(d: Data) -> Any:
    from comprisk import CompetingRiskForest

    forest = CompetingRiskForest(
        **SETTINGS, samptype="swr", max_depth=100, min_samples_split=30, n_jobs=1, random_state=0
    )
    return forest.fit(d["X"], d["y"]["time"], d["y"]["event"].astype(np.int64))


def with_comprisk_forest(d: Data) -> Data:
    return d | {"forest": comprisk_forest(d)}


def comprisk_size(d: Data) -> float:
    """Megabytes of its own file, not compressed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forest"
        d["forest"].save(path, compress=False)
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6


def comprisk_risk(d: Data) -> Any:
    return d["forest"].predict_risk(d["new"])


def comprisk_shap(d: Data) -> Any:
    return d["forest"].shap_values(d["new"][:SHAP_ROWS], time_aggregate="sum", n_jobs=1)


# --------------------------------------------------------------------------------------------------- work of any forest


SHAP_ROWS = 200
SINGLE_ROWS = 200


def risk(d: Data) -> Any:
    return d["forest"].predict(d["new"])


def single_rows(d: Data) -> Any:
    return [d["forest"].predict(d["new"][i : i + 1]) for i in range(SINGLE_ROWS)]


def comprisk_single_rows(d: Data) -> Any:
    return [d["forest"].predict_risk(d["new"][i : i + 1]) for i in range(SINGLE_ROWS)]


# ----------------------------------------------------------------------------------------------------------- the table


ROWS = (
    Row(
        "Cox, Efron, p = 20",
        cohort,
        Side("aimed", our_cox),
        (1_000, 10_000, 100_000, 1_000_000),
        (Side("lifelines", lifelines_cox), Side("scikit-survival", sksurv_cox, 100_000, full=1_000_000)),
        ">= 20x / 10x / 5x lifelines at 10k / 100k / 1M; memory <= 3x data",
    ),
    Row(
        "Cox with clustered errors",
        cohort,
        Side("aimed", our_clustered_cox),
        (1_000, 10_000, 100_000, 1_000_000),
        (Side("lifelines", lifelines_clustered_cox, 10_000, full=100_000),),
        "<= 0.5 s at 100k",
    ),
    Row(
        "Cox with late entry",
        cohort,
        Side("aimed", our_start_stop_cox),
        (10_000, 100_000, 1_000_000),
        (Side("lifelines", lifelines_start_stop_cox, 10_000),),
        "grows with n",
    ),
    Row(
        "Cox and its test of proportional hazards",
        cohort,
        Side("aimed", our_zph),
        (10_000, 100_000, 1_000_000),
        (Side("lifelines", lifelines_zph, 10_000),),
        "grows with n",
    ),
    Row(
        "Lasso path, p = 100, 50 penalties",
        wide_cohort,
        Side("aimed", our_path),
        (10_000, 100_000),
        (Side("scikit-survival Coxnet", sksurv_coxnet),),
        ">= 3x",
    ),
    Row(
        "Forest fit, 100 trees, p = 20",
        long_cohort,
        Side("aimed", our_forest),
        (1_000, 5_000, 20_000, 100_000, 500_000, 1_000_000),
        (
            Side("scikit-survival", sksurv_forest, 5_000, warm=200),
            Side("scikit-survival, 10 trees", sksurv_ten_trees, 0, full=20_000, scale=10, warm=200),
            Side("comprisk", comprisk_forest, 100_000, full=1_000_000, home=COMPRISK),
        ),
        "sksurv: >= 200x at 5k, 300x at 20k; comprisk: >= 5x; 1M in <= 90 s and < 1 GB above the data",
    ),
    Row(
        "Forest on disk",
        new_rows,
        Side("aimed", our_size, prepare=with_our_forest),
        (1_000, 5_000, 20_000),
        (
            Side("scikit-survival, 10 trees", sksurv_size, 5_000, prepare=with_sksurv_ten_trees, scale=10, warm=200),
            Side("comprisk", comprisk_size, prepare=with_comprisk_forest, home=COMPRISK),
        ),
        "<= 8 MB at 5k, with curves",
        unit="MB",
    ),
    Row(
        "Forest, risk of 10,000 rows",
        new_rows,
        Side("aimed", risk, prepare=with_our_forest),
        (1_000, 10_000),
        (
            Side("scikit-survival, 10 trees", risk, prepare=with_sksurv_ten_trees, scale=10, warm=200),
            Side("comprisk", comprisk_risk, prepare=with_comprisk_forest, home=COMPRISK),
        ),
        ">= 100x scikit-survival at 10k",
    ),
    Row(
        "Forest, risk of one row",
        new_rows,
        Side("aimed", single_rows, prepare=with_our_forest),
        (1_000, 5_000, 100_000),
        (
            Side("scikit-survival", single_rows, 1_000, prepare=with_sksurv_forest, warm=200),
            Side("comprisk", comprisk_single_rows, 5_000, prepare=with_comprisk_forest, home=COMPRISK),
        ),
        "< 1 ms",
        unit="ms",
        per=SINGLE_ROWS,
    ),
    Row(
        "Forest, exact Shapley values of one row",
        new_rows,
        Side("aimed", our_shap, prepare=with_our_forest),
        (1_000, 5_000, 20_000),
        (
            Side(
                "scikit-survival, shap by permutation",
                sksurv_shap,
                1_000,
                prepare=with_sksurv_forest,
                scale=SHAP_ROWS / 2,
                warm=200,
            ),
            Side("comprisk", comprisk_shap, prepare=with_comprisk_forest, home=COMPRISK),
        ),
        "<= 1 ms",
        unit="ms",
        per=SHAP_ROWS,
    ),
)


# ------------------------------------------------------------------------------------------------------------- accuracy


DATA = Path(__file__).resolve().parents[1] / "../shared/data/prognosis"
FOLDS = 5


def simulated_causes(n: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """Two causes with predictors of their own, one shared, and about 30 % censored."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 10))
    first = rng.exponential(np.exp(-0.8 * X[:, 0] + 0.5 * X[:, 1] * X[:, 2]))
    second = rng.exponential(1.3 * np.exp(-0.6 * X[:, 3] + 0.5 * X[:, 0]))
    lost = rng.exponential(1.5, n)
    when = np.minimum(np.minimum(first, second), lost)
    y = np.empty(n, dtype=[("event", np.int64), ("time", float)])
    y["event"], y["time"] = np.where(when == lost, 0, np.where(when == first, 1, 2)), when
    return X, y


def of_file(name: str, columns: list[str], time: Any, code: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a shared file that miss no column."""
    import polars as pl

    table = pl.read_csv(DATA / name, null_values="NA", infer_schema_length=None)
    table = table.with_columns((pl.col("sex").str.to_lowercase() == "f").cast(pl.Float64)).drop_nulls(columns)
    y = np.empty(table.height, dtype=[("event", np.int64), ("time", float)])
    y["event"], y["time"] = (table.select(v).to_series().to_numpy() for v in (code, time))
    return table.select(columns).to_numpy().astype(float), y


def mgus2() -> tuple[np.ndarray, np.ndarray]:
    """Progression of a gammopathy (1) beside death (2)."""
    import polars as pl

    ill = pl.col("pstat") == 1
    return of_file(
        "survival__mgus2.csv",
        ["age", "sex", "hgb", "creat", "mspike"],
        pl.when(ill).then("ptime").otherwise("futime"),
        pl.when(ill).then(1).otherwise(2 * pl.col("death")),
    )


def pbc() -> tuple[np.ndarray, np.ndarray]:
    """Death (1) beside transplantation (2) in biliary cirrhosis."""
    import polars as pl

    columns = ["age", "sex", "edema", "bili", "albumin", "protime"]
    return of_file("survival__pbc.csv", columns, "time", pl.col("status").replace_strict({0: 0, 1: 2, 2: 1}))


def sksurv_cohort(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A cohort that scikit-survival ships, with one kind of event."""
    from sksurv import datasets
    from sksurv.column import encode_categorical

    X, given = getattr(datasets, f"load_{name}")()
    y = np.empty(len(given), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = (given[k] for k in given.dtype.names)
    return encode_categorical(X).to_numpy(float), y


COHORTS: dict[str, tuple[str, Callable[[], tuple[np.ndarray, np.ndarray]]]] = {
    "simulated, two causes": ("comprisk", simulated_causes),
    "mgus2, progression before death": ("comprisk", mgus2),
    "pbc, death before transplantation": ("comprisk", pbc),
    **{
        k: ("scikit-survival", lambda k=k: sksurv_cohort(k))
        for k in ("whas500", "gbsg2", "veterans_lung_cancer", "aids")
    },
}


def folds(y: np.ndarray, seeds: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield seed, training rows, test rows and the times of the integrated Brier score."""
    from sklearn.model_selection import StratifiedKFold

    for seed in range(seeds):
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y["event"]):
            grid = np.linspace(*np.quantile(y["time"][train][y["event"][train] == 1], [0.1, 0.8]), 30)
            yield seed, train, test, grid


def predict_ours(X: np.ndarray, y: np.ndarray, jobs: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the score and the incidence of cause 1 in each test fold."""
    from aimed.prognosis.survival_forest import SurvivalForest

    out = []
    for seed, train, test, grid in jobs:
        forest = SurvivalForest(**SETTINGS, random_state=seed).fit(X[train], y[train])
        out.append((forest.predict(X[test], cause=1), forest.predict_cumulative_incidence(X[test], grid, cause=1)))
    return out


def predict_sksurv(X: np.ndarray, y: np.ndarray, jobs: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """As `predict_ours`."""
    from sksurv.ensemble import RandomSurvivalForest

    out = []
    for seed, train, test, grid in jobs:
        forest = RandomSurvivalForest(**SETTINGS, random_state=seed, n_jobs=1).fit(X[train], y[train])
        curves = [curve(grid) for curve in forest.predict_survival_function(X[test])]
        out.append((forest.predict(X[test]), 1 - np.stack(curves)))
    return out


def predict_comprisk(X: np.ndarray, y: np.ndarray, jobs: list[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """As `predict_ours`, by a process of the peer's environment."""
    python = peer_python(COMPRISK)
    with tempfile.TemporaryDirectory() as folder:
        given = {f"{k}_{name}": v for k, job in enumerate(jobs) for name, v in zip("strg", job, strict=True)}
        np.savez(Path(folder) / "in.npz", X=X, event=y["event"], time=y["time"], jobs=len(jobs), **given)
        done = subprocess.run([python, __file__, "--predict", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotRunError(f"comprisk: {done.stderr.strip().splitlines()[-1]}")
        with np.load(Path(folder) / "out.npz") as found:
            return [(found[f"{k}_score"], found[f"{k}_incidence"]) for k in range(len(jobs))]


def comprisk_predictions(folder: str) -> None:
    """The other end of `predict_comprisk`."""
    from comprisk import CompetingRiskForest

    warnings.simplefilter("ignore")
    out: dict[str, np.ndarray] = {}
    with np.load(Path(folder) / "in.npz") as d:
        for k in range(int(d["jobs"])):
            seed, train, test, grid = (d[f"{k}_{name}"] for name in "strg")
            forest = CompetingRiskForest(
                **SETTINGS, samptype="swr", max_depth=100, min_samples_split=30, n_jobs=1, random_state=int(seed)
            ).fit(d["X"][train], d["time"][train], d["event"][train])
            out[f"{k}_score"] = forest.predict_risk(d["X"][test], cause=1)
            out[f"{k}_incidence"] = forest.predict_cif(d["X"][test], times=grid)[:, 0]
    np.savez(Path(folder) / "out.npz", **out)


def scores(y: np.ndarray, train: np.ndarray, test: np.ndarray, grid: np.ndarray, found: Any) -> tuple[float, float]:
    """Return C and the integrated Brier score of cause 1; who had another event never has this one."""
    from aimed.metrics import harrell_c, integrated_brier_incidence

    event, time = y["event"].astype(np.int64), y["time"]
    never = np.where(event > 1, time.max() + 1, time)
    score, incidence = found
    c = harrell_c(event[test] == 1, never[test], score)
    known = event[train], time[train]
    brier = integrated_brier_incidence(
        event[test], time[test], np.clip(incidence, 0, 1), grid, cause=1, train=known, se=False
    )
    return float(c), float(brier)


def accuracy(name: str, seeds: int) -> None:
    """Print C and integrated Brier score of one cohort, ours and the peer's, with the interval of the difference."""
    from scipy.stats import t

    peer, load = COHORTS[name]
    X, y = load()
    jobs = list(folds(y, seeds))
    mine = predict_ours(X, y, jobs)
    theirs = (predict_comprisk if peer == "comprisk" else predict_sksurv)(X, y, jobs)
    both = np.array(
        [[scores(y, *job[1:], found) for found in pair] for job, *pair in zip(jobs, mine, theirs, strict=True)]
    )
    gap = both[:, 0] - both[:, 1]
    # Folds share training rows: Nadeau and Bengio's variance.
    error = np.sqrt(gap.var(axis=0, ddof=1) * (1 / len(jobs) + 1 / (FOLDS - 1)))
    half = t.ppf(0.975, len(jobs) - 1) * error
    for k, measure in enumerate(("C", "integrated Brier")):
        a, b = both[:, :, k].mean(axis=0)
        d, h = gap[:, k].mean(), half[k]
        span = f"{d:+.4f} ({d - h:+.4f} to {d + h:+.4f})"
        print(f"| {name} | {len(y):,} | {peer} | {measure} | {a:.4f} | {b:.4f} | {span} |", flush=True)


def accuracies(only: str, seeds: int) -> None:
    """Print the table of accuracy."""
    chosen = [name for name in COHORTS if only.lower() in f"accuracy, {name}".lower()]
    if not chosen:
        return
    print(f"\n# Accuracy of forests on the same folds ({seeds} x {FOLDS}; {SETTINGS})\n")
    print("| cohort | rows | peer | measure | aimed | peer's | difference (95 % interval) |")
    print("|---" * 7 + "|")
    missing = []
    for name in chosen:
        try:
            accuracy(name, seeds)
        except (NotRunError, FileNotFoundError, ImportError) as error:
            missing.append(f"{name}: {error}")
    for reason in missing:
        print(f"\nNot run: {reason}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--predict", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.predict:
        comprisk_predictions(asked.predict)
        return
    table(__file__, "The survival engine beside its peers", ROWS, asked)
    if not asked.one:
        warnings.simplefilter("ignore")
        accuracies(asked.only, 1 if asked.quick else 3)


if __name__ == "__main__":
    main()
