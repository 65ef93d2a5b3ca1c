"""Our survival forest is no less accurate than scikit-survival's, on the same folds of real cohorts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import StratifiedKFold

from aimed.metrics import harrell_c, integrated_brier
from aimed.prognosis.survival_forest import SurvivalForest

pytest.importorskip("sksurv")

COHORTS = {"whas500": 10, "gbsg2": 10, "veterans_lung_cancer": 10, "aids": 10, "flchain": 3}
"""Seeds of the folds; fewer where scikit-survival's forest takes minutes."""
SETTINGS = {"n_estimators": 100, "min_samples_leaf": 15, "max_features": "sqrt"}


def cohort(name):
    from sksurv import datasets
    from sksurv.column import encode_categorical

    X, given = getattr(datasets, f"load_{name}")()
    event, time = given.dtype.names
    y = np.empty(len(given), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = given[event], given[time]
    if name == "flchain":
        # The chapter is that of the cause of death; creatinine is missing for one in six. All rows would take hours.
        X = X.drop(columns=["chapter", "creatinine"])
        rows = np.random.default_rng(0).permutation(len(y))[:2000]
        X, y = X.iloc[rows], y[rows]
    return encode_categorical(X).to_numpy(float), y


def scores(forest, X, y, train, test):
    """Return C and integrated Brier score in the test fold, up to the 80th percentile of the training events."""
    grid = np.linspace(*np.quantile(y["time"][train][y["event"][train]], [0.1, 0.8]), 30)
    forest.fit(X[train], y[train])
    curves = forest.predict_survival_function(X[test])
    survival = np.stack([curve(grid) for curve in curves])
    event, time = y["event"][test], y["time"][test]
    c = harrell_c(event, time, forest.predict(X[test]))
    brier = integrated_brier(event, time, survival, grid, train=(y["event"][train], y["time"][train]), se=False)
    return float(c), float(brier)


def differences(name, seeds):
    """Return ours less scikit-survival's, C and Brier score, one row a seed and fold."""
    from sksurv.ensemble import RandomSurvivalForest

    X, y = cohort(name)
    out = []
    for seed in range(seeds):
        for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y["event"]):
            mine = scores(SurvivalForest(**SETTINGS, random_state=seed), X, y, train, test)
            theirs = scores(RandomSurvivalForest(**SETTINGS, random_state=seed), X, y, train, test)
            out.append(np.subtract(mine, theirs))
    return np.array(out)


def test_no_less_accurate_on_one_round_of_folds():
    found = differences("whas500", 1)
    half = 2.6 * found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert found[:, 0].mean() + half[0] > 0
    assert found[:, 1].mean() - half[1] < 0
    assert np.abs(found.mean(axis=0)).max() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", COHORTS)
def test_no_less_accurate_over_seeds(name):
    seeds = COHORTS[name]
    found = differences(name, seeds)
    mean = found.mean(axis=0)
    # Folds of one cohort share rows: the seeds' means, not the folds, give the spread of chance.
    spread = found.reshape(seeds, 5, 2).mean(axis=1).std(axis=0, ddof=1) / np.sqrt(seeds)
    wide = stats.t.ppf(0.975, seeds - 1) * spread
    print(f"{name}: C {mean[0]:+.4f} (95 % {mean[0] - wide[0]:+.4f} to {mean[0] + wide[0]:+.4f})")
    print(f"{name}: IBS {mean[1]:+.5f} ({mean[1] - wide[1]:+.5f} to {mean[1] + wide[1]:+.5f})")
    assert mean[0] > -0.003
    assert mean[1] < 0.0005
