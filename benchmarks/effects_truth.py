"""Individual effects against known truth, ours beside EconML's: IHDP files 1-5 and ACIC 2016 settings 1-3, in one run.

Every learner is fitted on all rows of a file, and judged on the same rows by the effects they were made with, as is
usual for these files (in-sample). `--out` holds a fifth of the rows out and judges those.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

from common import machine  # noqa: E402

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")) / "treatment"


class File(NamedTuple):
    """Rows with the effect that they were made with."""

    Y: Any
    T: Any
    X: Any
    effect: Any


def ihdp(number: int) -> File:
    """Infant Health and Development Program, response surface B: 747 rows, 25 covariates."""
    rows = np.loadtxt(DATA / "ihdp" / f"ihdp_npci_{number}.csv", delimiter=",")
    return File(rows[:, 1], rows[:, 0], rows[:, 5:], rows[:, 4] - rows[:, 3])


def acic(number: int) -> File:
    """Atlantic Causal Inference Conference 2016: 4,802 rows, 58 covariates, of which three are letters."""
    with (DATA / "acic2016" / "x.csv").open() as file:
        columns = list(zip(*list(csv.reader(file))[1:], strict=True))
    X: list[Any] = []
    for column in columns:
        try:
            X.append(np.array(column, dtype=float))
        except ValueError:
            X += [np.array([v == level for v in column], dtype=float) for level in sorted(set(column))[1:]]
    rows = np.genfromtxt(DATA / "acic2016" / f"zymu_{number}.csv", delimiter=",", skip_header=1)
    T = rows[:, 0]
    return File(np.where(T == 1, rows[:, 2], rows[:, 1]), T, np.column_stack(X), rows[:, 4] - rows[:, 3])


def ours(refits: int) -> Iterator[tuple[str, Any, str | None]]:
    """Return our learners: name, learner, outcome model of the shared nuisances."""
    from aimed.treatment import LEARNERS

    gb, gp, linear = "gradient_boosting", "gaussian_process", "linear"
    S, T, X, R, DR = (LEARNERS[f"{name}_learner"] for name in ("s", "t", "x", "r", "dr"))
    yield "zero effect", LEARNERS["zero_effect"](), None
    yield "constant effect", LEARNERS["constant_effect"](), gb
    yield "risk-based", LEARNERS["risk_based"](), None
    yield "risk-based, doubly robust", LEARNERS["risk_based"](form="smooth", doubly_robust=True), gb
    yield "effect model, ridge", LEARNERS["effect_model"](), None
    yield "effect model, lasso", LEARNERS["effect_model"]("lasso", n_bootstraps=refits), None
    yield "S, boosting", S(gb, refits), None
    yield "T, linear", T(linear, refits), None
    yield "T, boosting", T(gb, refits), None
    yield "T, Gaussian process", T(gp), None
    yield "X, linear", X(linear, linear, n_bootstraps=refits), linear
    yield "X, boosting", X(gb, gb, n_bootstraps=refits), gb
    yield "R, linear", R(linear), gb
    yield "R, boosting", R(gb, n_bootstraps=refits), gb
    yield "DR, linear", DR(linear), gb
    yield "DR, boosting", DR(gb, n_bootstraps=refits), gb
    for name in ("causal_forest", "bayesian_causal_forest"):
        try:
            learner = LEARNERS[name]()
        except ImportError:
            continue
        yield name.replace("_", " "), learner, None


def econml(refits: int) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    """Return EconML's learners: name, maker, what `fit` is told about intervals."""
    from econml.dml import CausalForestDML, LinearDML, NonParamDML
    from econml.dr import DRLearner, LinearDRLearner
    from econml.inference import BootstrapInference
    from econml.metalearners import SLearner, TLearner, XLearner

    from aimed.treatment.base_learners import effect_model, outcome_model

    def gb() -> Any:
        return outcome_model("gradient_boosting", False, 0)

    def final() -> Any:
        return effect_model("gradient_boosting", 0)

    def ridge() -> Any:
        return outcome_model("linear", False, 0)

    def chance() -> Any:
        return outcome_model("linear", True, 0)

    boot = BootstrapInference(refits, n_jobs=1)
    dml = {"discrete_treatment": True, "cv": 5, "random_state": 0}
    dr = {"cv": 5, "random_state": 0, "min_propensity": 0.01}
    yield "S, boosting", lambda: SLearner(overall_model=gb()), boot
    yield "T, linear", lambda: TLearner(models=ridge()), boot
    yield "T, boosting", lambda: TLearner(models=gb()), boot
    yield "X, linear", lambda: XLearner(models=ridge(), propensity_model=chance()), boot
    yield "X, boosting", lambda: XLearner(models=gb(), cate_models=final(), propensity_model=chance()), boot
    yield "LinearDML", lambda: LinearDML(model_y=gb(), model_t=chance(), **dml), "auto"
    yield "NonParamDML", lambda: NonParamDML(model_y=gb(), model_t=chance(), model_final=final(), **dml), None
    yield (
        "DRLearner",
        lambda: DRLearner(model_propensity=chance(), model_regression=gb(), model_final=final(), **dr),
        None,
    )
    yield "LinearDRLearner", lambda: LinearDRLearner(model_propensity=chance(), model_regression=gb(), **dr), "auto"
    yield (
        "CausalForestDML",
        lambda: CausalForestDML(model_y=gb(), model_t=chance(), n_estimators=1000, n_jobs=1, **dml),
        "auto",
    )


def judged(effect: Any, limits: Any, truth: Any, seconds: float) -> list[float]:
    """Return root PEHE, error of the average effect, coverage, mean width and CPU seconds."""
    covered = width = np.nan
    if limits is not None:
        lower, upper = limits
        covered, width = float(((lower <= truth) & (truth <= upper)).mean()), float((upper - lower).mean())
    gap = float(abs(effect.mean() - truth.mean()))
    return [float(np.sqrt(np.mean((effect - truth) ** 2))), gap, covered, width, seconds]


def run(file: File, refits: int, out: bool) -> dict[tuple[str, str], list[float]]:
    """Fit everything on one file."""
    from aimed.core.errors import NotEstimableError
    from aimed.treatment.nuisances import fit_nuisances

    n = file.Y.size
    held = np.random.default_rng(0).permutation(n) < n // 5 if out else np.ones(n, dtype=bool)
    rest = ~held if out else held
    Y, T, X = file.Y[rest], file.T[rest], file.X[rest]
    new, truth = file.X[held], file.effect[held]
    found: dict[tuple[str, str], list[float]] = {}
    shared: dict[str, Any] = {}
    for name, learner, outcome in ours(refits):
        began = time.process_time()
        if outcome and outcome not in shared:
            shared[outcome] = fit_nuisances(Y, T, X, outcome_model=outcome)
        learner.fit(Y, T, X=X, nuisances=shared.get(outcome or ""))
        effect = np.asarray(learner.effect(new))
        try:
            limits = learner.effect_interval(new)
        except NotEstimableError:
            limits = None
        found["aimed", name] = judged(effect, limits, truth, time.process_time() - began)
    for name, make, inference in econml(refits):
        began = time.process_time()
        peer = make().fit(Y, T, X=X, inference=inference)
        effect = np.ravel(peer.effect(new))
        limits = None if inference is None else [np.ravel(v) for v in peer.effect_interval(new, alpha=0.05)]
        found["econml", name] = judged(effect, limits, truth, time.process_time() - began)
    return found


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--files", choices=("ihdp", "acic", "both"), default="both")
    given.add_argument("--refits", type=int, default=30, help="for intervals that need refits, on both sides")
    given.add_argument("--out", action="store_true", help="judge a fifth of the rows, held out")
    asked = given.parse_args()
    warnings.simplefilter("ignore")
    print(f"{machine()}, one thread; {'held-out fifth' if asked.out else 'in-sample'}; {asked.refits} refits\n")
    for title, load, numbers in (("IHDP", ihdp, range(1, 6)), ("ACIC 2016", acic, range(1, 4))):
        if asked.files not in ("both", title.split()[0].lower()):
            continue
        files = [load(number) for number in numbers]
        tables = [run(file, asked.refits, asked.out) for file in files]
        spread = ", ".join(f"{f.effect.std():.2f}" for f in files)
        print(f"## {title}, files {numbers[0]}-{numbers[-1]} (standard deviations of the true effects {spread})\n")
        print("| library | learner | √PEHE | √PEHE of each file | error of the average | coverage | width | CPU s |")
        print("|---|---|---|---|---|---|---|---|")
        for key in sorted(tables[0], key=lambda k: np.mean([t[k][0] for t in tables])):
            values = np.array([table[key] for table in tables])
            pehe, gap, cover, width, seconds = values.mean(axis=0)
            each = " ".join(f"{v:.2f}" for v in values[:, 0])
            interval = "none | " if np.isnan(cover) else f"{cover:.3f} | {width:.2f}"
            print(f"| {key[0]} | {key[1]} | {pehe:.3f} | {each} | {gap:.3f} | {interval} | {seconds:.2f} |")
        print(flush=True)


if __name__ == "__main__":
    main()
