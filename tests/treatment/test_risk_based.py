import csv

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from aimed.core.errors import UnknownNameError
from aimed.treatment.risk_based import RiskBased


def trial(n=6000, seed=0, interaction=0.0):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    lp = -1 + X[:, 0]
    risk0, risk1 = (1 / (1 + np.exp(-(lp + t * (-0.8 + interaction * lp)))) for t in (0, 1))
    return (rng.random(n) < np.where(T == 1, risk1, risk0)).astype(float), T, X, risk1 - risk0


@pytest.mark.parametrize("form", ["constant", "linear", "smooth"])
def test_a_constant_odds_ratio_is_a_larger_difference_at_a_higher_risk(form):
    Y, T, X, tau = trial()
    learner = RiskBased(form=form).fit(Y, T, X=X)
    effect = learner.effect(X)
    assert np.sqrt(np.mean((effect - tau) ** 2)) < 0.045
    assert np.corrcoef(effect, tau)[0, 1] > 0.85
    lower, upper = learner.effect_interval(X)
    assert np.mean((lower <= tau) & (tau <= upper)) > 0.6


def test_the_second_regression_is_that_of_statsmodels():
    statsmodels = pytest.importorskip("statsmodels.api")
    Y, T, X, _ = trial(1000)
    learner = RiskBased().fit(Y, T, X=X)
    risk = learner.risk(X)
    lp = np.log(risk / (1 - risk))
    lp = (lp - lp.mean()) / lp.std()
    design = np.column_stack([np.ones(1000), lp, T, T * lp])
    peer = statsmodels.Logit(Y, design).fit(disp=0, cov_type="HC0")
    ours = learner.parts_["effect"]
    assert ours.coef == pytest.approx(peer.params, abs=1e-4)
    assert np.sqrt(np.diag(ours.covariance)) == pytest.approx(peer.bse, rel=0.01)


def test_the_linear_form_sees_that_relative_effects_differ():
    Y, T, X, tau = trial(interaction=0.8)
    errors = [np.mean((RiskBased(form=f).fit(Y, T, X=X).effect(X) - tau) ** 2) for f in ("linear", "constant")]
    assert errors[0] < 0.5 * errors[1]


def test_a_model_from_elsewhere_is_used_as_it_is():
    Y, T, X, _ = trial(500)
    elsewhere = LogisticRegression().fit(X, X[:, 1] > 0)
    learner = RiskBased(FrozenEstimator(elsewhere)).fit(Y, T, X=X)
    assert learner.risk(X) == pytest.approx(elsewhere.predict_proba(X)[:, 1])


def test_scores_take_confounding_out_that_risk_does_not_hold():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    T = (rng.random(4000) < 1 / (1 + np.exp(-X[:, 0] + X[:, 1]))).astype(int)
    Y = X[:, 0] + X[:, 1] + T + X[:, 0] * X[:, 1] * 0 + 0.5 * rng.normal(size=4000)
    robust = RiskBased(doubly_robust=True).fit(Y, T, X=X)
    assert robust.ate(X) == pytest.approx(1, abs=0.08)
    low, high = robust.ate_interval(X)
    assert low < 1 < high
    with pytest.raises(AttributeError, match="doubly_robust"):
        robust.counterfactuals(X)


def test_unknown_form():
    Y, T, X, _ = trial(100)
    with pytest.raises(UnknownNameError, match="linear"):
        RiskBased(form="liner").fit(Y, T, X=X)


def test_a_predictor_that_says_nothing_leaves_one_effect():
    Y, T, _, _ = trial(400)
    effect = RiskBased().fit(Y, T, X=np.ones((400, 1))).effect(np.ones((2, 1)))
    assert effect == pytest.approx(Y[T == 1].mean() - Y[T == 0].mean(), abs=1e-6)


def test_levamisole_lowers_the_risk_of_all(shared_data):
    with shared_data("treatment", "levamisole_data_reconstructed.csv").open() as file:
        lines = list(csv.DictReader(file))
    names = [k for k in lines[0] if k not in ("", "Unnamed: 0", "TRTMT", "outcome", "rx", "status")]
    Y = np.array([float(line["outcome"]) for line in lines])
    T = np.array([float(line["TRTMT"] in ("1", "1.0", "True")) for line in lines])
    X = np.array([[float(line[k] in ("True", "1", "1.0")) if line[k] in ("True", "False") else float(line[k])
                   for k in names] for line in lines])  # fmt: skip
    learner = RiskBased(form="constant").fit(Y, T, X=X)
    assert learner.ate(X) == pytest.approx(0.372483 - 0.482201, abs=0.02)
    assert (learner.effect(X) < 0).all()
