import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.targeting import aipw_scores
from aimed.treatment.nuisances import CLIP, deal_folds, fit_nuisances


def cohort(n=600, seed=0, *, binary=False):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    e = 1 / (1 + np.exp(-X[:, 0]))
    T = (rng.random(n) < e).astype(int)
    mean = X[:, 0] + T * (1 + X[:, 1])
    Y = (rng.random(n) < 1 / (1 + np.exp(-mean))).astype(float) if binary else mean + rng.normal(size=n)
    return Y, T, X


def test_a_row_is_predicted_by_models_that_did_not_see_its_patient():
    Y, T, X = cohort()
    found = fit_nuisances(Y, T, X, outcome_model=LinearRegression(), propensity_model=LogisticRegression(), folds=3)
    for k in range(3):
        rest, held = found.fold != k, found.fold == k
        for arm, values in ((0, found.mu0), (1, found.mu1)):
            seen = rest & (arm == T)
            by_hand = LinearRegression().fit(X[seen], Y[seen]).predict(X[held])
            assert values[held] == pytest.approx(by_hand, abs=1e-10)
        chance = LogisticRegression().fit(X[rest], T[rest]).predict_proba(X[held])[:, 1]
        assert found.propensity[held] == pytest.approx(np.clip(chance, CLIP, 1 - CLIP))


def test_scores_are_those_of_the_metrics_with_the_sign_of_the_effect():
    Y, T, X = cohort(binary=True)
    found = fit_nuisances(Y, T, X)
    benefit = aipw_scores(Y, T, found.mu0, found.mu1, found.propensity, outcome="good")
    assert found.scores(Y, T) == pytest.approx(benefit)
    assert found.m == pytest.approx(found.propensity * found.mu1 + (1 - found.propensity) * found.mu0)
    assert found.binary


def test_scores_average_to_the_effect_though_one_model_is_wrong():
    Y, T, X = cohort(20_000)
    naive = Y[T == 1].mean() - Y[T == 0].mean()
    assert abs(naive - 1) > 0.5
    wrong_outcome = fit_nuisances(Y, T, X, outcome_model=_flat())
    assert wrong_outcome.scores(Y, T).mean() == pytest.approx(1, abs=0.08)
    wrong_chance = fit_nuisances(Y, T, X, propensity=0.5)
    assert wrong_chance.scores(Y, T).mean() == pytest.approx(1, abs=0.08)


def _flat():
    from sklearn.dummy import DummyRegressor

    return DummyRegressor()


def test_rows_of_a_patient_stay_in_one_fold_and_arms_are_spread():
    Y, T, X = cohort(400)
    patient = np.arange(400) // 4
    found = fit_nuisances(Y, T, X, patient=[f"p{i}" for i in patient], propensity=0.5, folds=4)
    assert all(np.unique(found.fold[patient == i]).size == 1 for i in range(100))
    alone = deal_folds(T == 1, Y, False, None, 5, 0)
    shares = [T[alone == k].mean() for k in range(5)]
    assert max(shares) - min(shares) < 0.02


def test_known_chances_are_taken_as_they_are():
    Y, T, X = cohort()
    found = fit_nuisances(Y, T, X, propensity=np.where(X[:, 0] > 0, 0.7, 0.3))
    assert found.known_propensity
    assert set(np.unique(found.propensity)) == {0.3, 0.7}
    assert not found.models.propensity
    assert found.predict(X)[2] is None


def test_new_rows_get_the_mean_of_the_folds_models():
    Y, T, X = cohort()
    W = np.random.default_rng(1).normal(size=(600, 1))
    found = fit_nuisances(Y, T, X, W, outcome_model=LinearRegression(), folds=2)
    mu0, mu1, e = found.predict(X[:5], W[:5])
    columns = np.column_stack([X, W])[:5]
    assert mu0 == pytest.approx(np.mean([m.predict(columns) for m in found.models.untreated], axis=0))
    assert mu1.shape == e.shape == (5,)


def test_neither_threads_nor_jobs_change_a_bit():
    Y, T, X = cohort()
    one = fit_nuisances(Y, T, X, outcome_model="gradient_boosting", n_jobs=1)
    two = fit_nuisances(Y, T, X, outcome_model="gradient_boosting", n_jobs=3)
    for name in ("mu0", "mu1", "propensity", "fold"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    other = fit_nuisances(Y, T, X, outcome_model="gradient_boosting", random_state=1)
    assert not np.array_equal(one.fold, other.fold)


def test_no_overlap_is_told():
    Y, T, X = cohort()
    X[:, 0] = 20 * T + X[:, 0]
    with pytest.warns(UserWarning, match="overlap"):
        found = fit_nuisances(Y, T, X)
    assert found.clipped > 300
    assert found.propensity.min() >= CLIP


def test_an_arm_without_events_gets_a_chance_of_0():
    Y, T, X = cohort(binary=True)
    Y = Y * T
    assert (fit_nuisances(Y, T, X).mu0 == 0).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"T": np.zeros(600)}, NotEstimableError, "untreated"),
        ({"X": np.full((600, 2), np.nan)}, DataError, "NaN"),
        ({"X": np.zeros(600)}, DataError, "shape"),
        ({"X": np.zeros((5, 2))}, DataError, "5 rows"),
        ({"Y": np.full(600, np.inf)}, DataError, "finite"),
        ({"propensity": 0.0}, NotEstimableError, "strictly between"),
        ({"folds": 1}, DataError, "folds"),
        ({"T": (np.arange(600) < 2).astype(int)}, NotEstimableError, "outside"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, error, words):
    Y, T, X = cohort()
    given = {"Y": Y, "T": T, "X": X} | change
    with pytest.raises(error, match=words):
        fit_nuisances(**given)


def test_scores_of_the_arms_differ_by_those_of_the_effect():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(3000, 1))
    T = (rng.random(3000) < 1 / (1 + np.exp(-1.5 * X[:, 0]))).astype(int)
    Y = 2 * X[:, 0] + T + rng.normal(size=3000)
    found = fit_nuisances(Y, T, X)
    control, treated = found.scores_by_arm(Y, T)
    assert treated - control == pytest.approx(found.scores(Y, T))
    # The arms as they are differ by 1 + what confounds them.
    assert control.mean() == pytest.approx(0, abs=0.15)
    assert treated.mean() == pytest.approx(1, abs=0.15)
    assert Y[T == 1].mean() - Y[T == 0].mean() > 2
