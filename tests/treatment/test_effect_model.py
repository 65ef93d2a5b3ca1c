import numpy as np
import pytest
from sklearn.linear_model import Lasso

from aimed.core.errors import StudyFileError, UnknownNameError
from aimed.treatment.effect_model import EffectModel
from aimed.treatment.pieces import penalised_coefficients


def rows(n=800, seed=0, *, binary=False, modified=1.0):
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, 6)), rng.integers(0, 2, n)
    lp = X[:, 0] + T * (-0.5 + modified * X[:, 1])
    if not binary:
        return lp + rng.normal(size=n), T, X, -0.5 + modified * X[:, 1]
    risk = 1 / (1 + np.exp(-lp))
    before, after = 1 / (1 + np.exp(-X[:, 0])), 1 / (1 + np.exp(-(X[:, 0] - 0.5 + modified * X[:, 1])))
    return (rng.random(n) < risk).astype(float), T, X, after - before


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_an_interaction_is_found_and_covered(penalty, binary):
    Y, T, X, tau = rows(binary=binary)
    learner = EffectModel(penalty, n_bootstraps=20).fit(Y, T, X=X)
    effect = learner.effect(X)
    assert np.corrcoef(effect, tau)[0, 1] > 0.9
    lower, upper = learner.effect_interval(X)
    assert 0.7 < np.mean((lower <= tau) & (tau <= upper)) <= 1


def test_without_modification_interactions_are_shrunk():
    spread = []
    for modified in (0.0, 1.0):
        Y, T, X, _ = rows(modified=modified)
        spread.append(EffectModel("lasso", n_bootstraps=0).fit(Y, T, X=X).effect(X).std())
    assert spread[0] < 0.15 * spread[1]


def test_a_strong_penalty_leaves_the_effect_of_treatment_alone():
    Y, T, X, _ = rows()
    effect = EffectModel(interaction_penalty=1e9).fit(Y, T, X=X).effect(X)
    assert np.ptp(effect) < 1e-3
    design = np.column_stack([np.ones(800), X, T])
    assert effect[0] == pytest.approx(np.linalg.lstsq(design, Y)[0][-1], abs=0.01)


def test_without_a_penalty_errors_are_those_of_statsmodels():
    statsmodels = pytest.importorskip("statsmodels.api")
    Y, T, X, _ = rows(binary=True)
    learner = EffectModel(interaction_penalty=0.0, main_penalty=0.0).fit(Y, T, X=X)
    scale = learner.parts_["scale"]
    terms = scale.terms(X)
    peer = statsmodels.Logit(Y, np.column_stack([terms, terms * T[:, None]])).fit(disp=0, cov_type="HC0")
    ours = learner.parts_["regression"]
    assert ours.coef == pytest.approx(peer.params, abs=1e-5)
    assert np.sqrt(np.diag(ours.covariance)) == pytest.approx(peer.bse, rel=0.02)


def test_the_lasso_is_that_of_scikit_learn():
    Y, _, X, _ = rows(200)
    peer = Lasso(alpha=0.1, fit_intercept=False, tol=1e-10).fit(X, Y).coef_
    ours = penalised_coefficients(X, Y, False, np.zeros(6), np.full(6, 0.1 * 200))
    assert ours == pytest.approx(peer, abs=1e-6)


def test_settings_that_mean_nothing_are_refused():
    Y, T, X, _ = rows(100)
    with pytest.raises(UnknownNameError, match="ridge"):
        EffectModel("rigde").fit(Y, T, X=X)
    with pytest.raises(StudyFileError):
        EffectModel(main_penalty=-1).fit(Y, T, X=X)


def test_a_split_that_is_perfect_has_a_finite_answer():
    _, T, X, _ = rows(200)
    Y = (X[:, 0] > 0).astype(float)
    assert np.isfinite(EffectModel().fit(Y, T, X=X).effect(X)).all()
