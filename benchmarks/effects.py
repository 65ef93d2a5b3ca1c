"""Learners of individual effects beside EconML, with the same base learners: seconds, memory and growth over rows.

Both sides fit the five learners and give the effect of every row. Ours share one set of cross-fitted nuisances; those
of EconML fit their own. Intervals by refits use the same number on both sides. The linear base learner is ridge
regression with a penalty chosen by cross-validation: EconML is run with ours, and with scikit-learn's RidgeCV after a
StandardScaler.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from common import Data, Row, Side, parser, table

FOLDS = 2
"""EconML's default, on both sides."""

REFITS = 10
"""For intervals that need them; both sides' seconds grow in proportion."""


def trial(n: int, p: int = 20) -> Data:
    """Observational rows: curved outcome, effect with a step and a line, treatment that depends on two columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    chance = 1 / (1 + np.exp(-0.6 * X[:, 0] + 0.4 * X[:, 1]))
    T = (rng.random(n) < chance).astype(np.int64)
    effect = (X[:, 2] > 0) + 0.5 * X[:, 3]
    return {"X": X, "T": T, "Y": np.sin(X[:, 0]) + X[:, 1] + effect * T + rng.normal(size=n)}


def ours(data: Data, base: str, refits: int, intervals: bool) -> Any:
    """Fit our five learners and return the effects of all rows."""
    from aimed.treatment import LEARNERS
    from aimed.treatment.nuisances import fit_nuisances

    Y, T, X = data["Y"], data["T"], data["X"]
    shared = fit_nuisances(Y, T, X, outcome_model=base, folds=FOLDS)
    found = []
    for name in ("s_learner", "t_learner", "x_learner", "r_learner", "dr_learner"):
        learner = LEARNERS[name](base_learner=base, n_bootstraps=refits)
        if name == "x_learner":
            learner.set_params(outcome_model=base)
        learner.fit(Y, T, X=X, nuisances=shared)
        found.append(learner.effect(X))
        if intervals:
            found += learner.effect_interval(X)
    return found


def econml(data: Data, base: str, refits: int, intervals: bool, sklearn: bool = False) -> Any:
    """Fit EconML's five learners and return the effects of all rows."""
    from econml.dml import LinearDML, NonParamDML
    from econml.dr import DRLearner, LinearDRLearner
    from econml.inference import BootstrapInference
    from econml.metalearners import SLearner, TLearner, XLearner
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from aimed.treatment.base_learners import effect_model, outcome_model

    Y, T, X = data["Y"], data["T"], data["X"]
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 13)))
    outcome = partial(outcome_model, ridge if sklearn else base, False, 0)
    final = partial(effect_model, ridge if sklearn else base, 0)
    chance = partial(outcome_model, "linear", True, 0)
    boot = BootstrapInference(refits, n_jobs=1) if intervals else None
    common = {"cv": FOLDS, "random_state": 0}
    if base == "linear":
        r = LinearDML(model_y=outcome(), model_t=chance(), discrete_treatment=True, **common)
        dr = LinearDRLearner(model_propensity=chance(), model_regression=outcome(), **common)
        told: Any = "auto" if intervals else None
    else:
        r = NonParamDML(
            model_y=outcome(), model_t=chance(), model_final=final(), discrete_treatment=True, **common
        )  # fmt: skip
        dr = DRLearner(model_propensity=chance(), model_regression=outcome(), model_final=final(), **common)
        told = boot
    found = []
    for learner, inference in (
        (SLearner(overall_model=outcome()), boot),
        (TLearner(models=outcome()), boot),
        (XLearner(models=outcome(), cate_models=final(), propensity_model=chance()), boot),
        (r, told),
        (dr, told),
    ):
        learner.fit(Y, T, X=X, inference=inference)
        found.append(learner.effect(X))
        if intervals:
            found += learner.effect_interval(X, alpha=0.05)
    return found


def row(base: str, words: str, sizes: tuple[int, ...], peer: int, intervals: bool) -> Row:
    """Return the line of one base learner."""
    given = {"base": base, "refits": REFITS if intervals else 0, "intervals": intervals}
    peers = [Side("econml", partial(econml, **given), peer, 100_000)]
    if base == "linear":
        peers.append(Side("econml, RidgeCV", partial(econml, **given, sklearn=True), peer, 100_000))
    return Row(
        f"five learners, {words}, {f'intervals ({REFITS} refits)' if intervals else 'fit and effects of all rows'}",
        trial,
        Side("aimed", partial(ours, **given)),
        sizes,
        tuple(peers),
        ">= 3x",
    )


ROWS = (
    row("linear", "linear", (10_000, 100_000), 100_000, False),
    row("gradient_boosting", "boosting", (10_000, 100_000), 10_000, False),
    row("random_forest", "forest", (2_000, 10_000), 2_000, False),
    row("linear", "linear", (10_000, 100_000), 10_000, True),
    row("gradient_boosting", "boosting", (2_000, 10_000), 2_000, True),
)


def main() -> None:
    table(__file__, "Learners of individual effects beside EconML", ROWS, parser(__doc__).parse_args())


if __name__ == "__main__":
    main()
