"""BayesianCausalForest: closed forms, its prior, ranks of the truth, recovery, coverage, storage, refusals."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.stats import chisquare, norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.treatment.bayesian_forest import BayesianCausalForest
from aimed.treatment.kernels.bayesian_forest import add_trees, sample_chain
from aimed.treatment.nuisances import fit_nuisances

QUICK = {"n_chains": 2, "n_warm_up": 150, "n_draws": 60, "thin": 2}


def chain(y, arm, bins, seed=0, **changes):
    """Run the sampler itself, with priors that a test can write down."""
    p = bins.shape[0]
    options = {
        "binary": False, "trees": [1, 1], "first": [p, p], "split": [1e-12, 1e-12], "decay": [2.0, 2.0], "min_rows": 1,
        "spread": [0.5, 0.8], "adapt": [False, False], "code_variance": 0.0, "noise_df": 1e12, "noise_scale": 0.49,
        "intercept_sd": 1.5, "effect_sd": 0.7, "sparse": False, "warm": 100, "draws": 4000, "thin": 1,
        "prior_only": False,
    } | changes  # fmt: skip
    for name, kind in {"trees": int, "first": int, "split": float, "decay": float, "spread": float}.items():
        options[name] = np.array(options[name], dtype=kind)
    options["adapt"] = np.array(options["adapt"])
    levels = np.array([int(row.max()) + 1 for row in bins], dtype=np.int64)
    return sample_chain(
        np.random.default_rng(seed), np.ascontiguousarray(bins, dtype=np.uint8), levels,
        np.ascontiguousarray(y, dtype=float), arm.astype(np.uint8), *options.values(),
    )  # fmt: skip


def fits(found, bins):
    """Return mu and tau of every draw at every row, each of shape (rows, draws)."""
    out = []
    for f in (0, 1):
        sums = np.empty((found[1].shape[0], bins.shape[1]))
        columns = np.ascontiguousarray(bins, dtype=np.uint8)
        add_trees(columns, np.ascontiguousarray(found[2][:, f]), found[3][f], *found[4 + f], sums)
        out.append(sums.T)
    return out


def trial(n=400, seed=0, effect=lambda X: 1.0 + 2.0 * (X[:, 0] > 0), noise=0.5, p=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    T = rng.integers(0, 2, n)
    Y = np.sin(X[:, 1]) + X[:, 2] + T * effect(X) + noise * rng.normal(size=n)
    return X, T, Y


def test_one_leaf_trees_have_the_posterior_of_a_linear_normal_model():
    rng = np.random.default_rng(3)
    n = 25
    arm = rng.integers(0, 2, n)
    y = 0.4 + 0.9 * arm + 0.7 * rng.normal(size=n)
    found = chain(y, arm, np.zeros((1, n)), draws=20000)
    mu, tau = (f[0] for f in fits(found, np.zeros((1, n))))
    design = np.column_stack([np.ones(n), arm, np.ones(n), arm - 0.5])
    precision = design.T @ design / 0.49 + np.diag([1 / 1.5**2, 1 / 0.7**2, 1 / 0.5, 1 / 0.8])
    mean = np.linalg.solve(precision, design.T @ y / 0.49)
    want = np.linalg.inv(precision)
    # What the data know well mixes fast: the untreated mean and the effect.
    for ours, row in ((found[1][:, 0] + mu - tau / 2, [1, 0, 1, -0.5]), (found[1][:, 1] + tau, [0, 1, 0, 1])):
        row = np.array(row)
        assert ours.mean() == pytest.approx(row @ mean, abs=0.02)
        assert ours.std() == pytest.approx(np.sqrt(row @ want @ row), rel=0.05)
    np.testing.assert_allclose(found[0][100:, 1], found[1][:, 1] + tau, atol=1e-6)


def test_noise_of_a_model_without_splits_has_its_posterior():
    rng = np.random.default_rng(4)
    y = 2.0 * rng.normal(size=400)
    found = chain(y - y.mean(), np.arange(400) % 2, np.zeros((1, 400)), noise_df=3.0, noise_scale=1.0)
    # The arms' means use two degrees of freedom.
    assert found[1][:, 4].mean() == pytest.approx(((y - y.mean()) ** 2).sum() / 399, rel=0.02)
    assert found[1][:, 4].std() == pytest.approx(y.var() * np.sqrt(2 / 400), rel=0.1)


@pytest.mark.parametrize("sparse", [False, True])
def test_without_data_trees_have_their_prior_sizes(sparse):
    def sizes(split, decay, depth=0, most=6):
        """Return the chances of 1, 2, ... leaves below a node."""
        out = np.zeros(most + 1)
        inner = split * (1 + depth) ** -decay
        out[1] = 1 - inner
        if depth < most:
            below = sizes(split, decay, depth + 1, most)
            out += inner * np.convolve(below, below)[: most + 1]
        return out

    rng = np.random.default_rng(0)
    bins = rng.integers(0, 250, (3, 30))
    found = chain(
        np.zeros(30), np.arange(30) % 2, bins, trees=[20, 20], split=[0.95, 0.4], decay=[2.0, 1.0], min_rows=0,
        prior_only=True, draws=2000, thin=10, sparse=sparse,
    )  # fmt: skip
    for f, (split, decay) in enumerate([(0.95, 2.0), (0.4, 1.0)]):
        share = found[6][f] / found[6][f].sum()
        np.testing.assert_allclose(share[:6], sizes(split, decay)[:6], atol=0.012)


@pytest.mark.parametrize(("binary", "adapt"), [(False, False), (False, True), (True, False)])
def test_the_truth_drawn_from_the_prior_ranks_evenly_among_posterior_draws(binary, adapt):
    """Simulation-based calibration (Talts et al., arXiv 1804.06788): any wrong acceptance or draw skews the ranks."""
    rng = np.random.default_rng(1)
    n, replicates, draws = 40, 400, 19
    bins = np.vstack([rng.integers(0, 6, (2, n)), rng.integers(0, 2, (1, n))])
    arm = rng.integers(0, 2, n)
    shared = {
        "binary": binary, "trees": [4, 3], "first": [3, 2], "split": [0.7, 0.6], "decay": [1.5, 1.5], "min_rows": 2,
        "spread": [0.1, 0.3], "adapt": [adapt, False], "code_variance": 0.5, "noise_df": 10.0, "noise_scale": 0.5,
        "intercept_sd": 0.5, "effect_sd": 0.7,
    }  # fmt: skip
    prior = chain(np.zeros(n), arm, bins, prior_only=True, draws=replicates, thin=40, warm=500, **shared)

    def quantities(found):
        mu, tau = fits(found, bins)
        level = found[1]
        effect = level[:, 1] + (level[:, 3] - level[:, 2]) * tau
        code = np.where(arm == 1, level[:, 3:4], level[:, 2:3]).T
        mean = level[:, 0] + level[:, 1] * arm[:, None] + mu + code * tau
        sums = [effect.mean(axis=0), effect[0], effect.std(axis=0), mean[3], mean.std(axis=0), level[:, 4]]
        return np.array(sums if not binary else sums[:-1]), mean

    truth, mean = quantities(prior)
    ranks = np.empty(truth.shape, dtype=int)
    for k in range(replicates):
        latent = mean[:, k] + np.sqrt(1.0 if binary else prior[1][k, 4]) * rng.normal(size=n)
        y = (latent > 0).astype(float) if binary else latent
        posterior, _ = quantities(chain(y, arm, bins, seed=[2, k], draws=draws, thin=25, warm=250, **shared))
        ranks[:, k] = (posterior < truth[:, k : k + 1]).sum(axis=1) + rng.integers(
            0, 1 + (posterior == truth[:, k : k + 1]).sum(axis=1)
        )
    for row in ranks:
        counts = np.bincount(row // 4, minlength=5)
        assert chisquare(counts).pvalue > 1e-3


def test_effects_are_recovered_and_their_rows_told_apart():
    X, T, Y = trial(800)
    forest = BayesianCausalForest(100, 50, **QUICK).fit(Y, T, X=X, propensity=0.5)
    truth = 1.0 + 2.0 * (X[:, 0] > 0)
    effect = forest.effect(X)
    assert np.sqrt(((effect - truth) ** 2).mean()) < 0.25
    low, high = forest.effect_interval(X)
    assert ((low <= truth) & (truth <= high)).mean() > 0.9
    assert (low < effect).all()
    assert (effect < high).all()
    a, b = forest.ate_interval(X)
    assert a < truth.mean() < b
    assert forest.ate(X) == pytest.approx(effect.mean())
    assert forest.noise_ == pytest.approx(0.5, rel=0.12)
    assert max(forest.r_hat_.values()) < 1.1
    np.testing.assert_allclose(forest.effect_draws(X[:5]).mean(axis=1), effect[:5])
    np.testing.assert_array_equal(forest.effect(X, T0=1, T1=0), -effect)
    back = forest.effect_interval(X, T0=1, T1=0)
    np.testing.assert_array_equal(back[0], -high)
    outcomes = forest.counterfactuals(X)
    np.testing.assert_allclose(outcomes[:, 1] - outcomes[:, 0], effect, atol=1e-12)
    untreated = np.sin(X[:, 1]) + X[:, 2]
    assert np.sqrt(((outcomes[:, 0] - untreated) ** 2).mean()) < 0.35


@pytest.mark.filterwarnings("ignore:the chains")
def test_a_constant_effect_stays_constant_and_confounding_does_not_move_it():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(600, 5))
    T = (rng.random(600) < 1 / (1 + np.exp(-1.5 * X[:, 0]))).astype(int)
    Y = 2.0 * X[:, 0] + np.abs(X[:, 1]) - 0.7 * T + 0.6 * rng.normal(size=600)
    forest = BayesianCausalForest(100, 50, **QUICK).fit(Y, T, X=X)
    effect = forest.effect(X)
    assert effect.std() < 0.1
    a, b = forest.ate_interval(X)
    assert a < -0.7 < b
    naive = Y[T == 1].mean() - Y[T == 0].mean()
    assert naive > 1.0


@pytest.mark.filterwarnings("ignore:the chains")
def test_no_effect_has_no_evidence_of_one():
    inside, spread = [], []
    for seed in range(8):
        X, T, Y = trial(400, seed=seed, effect=lambda X: 0.0)
        forest = BayesianCausalForest(80, 30, **QUICK).fit(Y, T, X=X, propensity=0.5)
        low, high = forest.effect_interval(X)
        inside.append(((low < 0) & (high > 0)).mean())
        spread.append(forest.effect(X).std())
    assert np.mean(inside) > 0.9
    assert np.mean(spread) < 0.09


@pytest.mark.filterwarnings("ignore:the chains")
def test_risks_of_a_binary_outcome():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(1500, 3))
    T = rng.integers(0, 2, 1500)
    latent = 0.6 * X[:, 1] - 0.5 + T * np.where(X[:, 0] > 0, -1.0, 0.0)
    Y = (latent + rng.normal(size=1500) > 0).astype(float)
    base = 0.6 * X[:, 1] - 0.5
    truth = norm.cdf(base - (X[:, 0] > 0)) - norm.cdf(base)
    forest = BayesianCausalForest(80, 40, **QUICK).fit(Y, T, X=X, propensity=0.5)
    assert forest.probit_
    effect = forest.effect(X)
    assert np.corrcoef(effect, truth)[0, 1] > 0.85
    low, high = forest.effect_interval(X)
    assert ((low <= truth) & (truth <= high)).mean() > 0.9
    outcomes = forest.counterfactuals(X)
    assert ((outcomes > 0) & (outcomes < 1)).all()
    np.testing.assert_allclose(outcomes[:, 1] - outcomes[:, 0], effect, atol=1e-12)
    assert np.abs(outcomes[:, 0] - norm.cdf(base)).mean() < 0.06
    linear = BayesianCausalForest(80, 40, outcome="gaussian", **QUICK).fit(Y, T, X=X, propensity=0.5)
    assert not linear.probit_
    assert linear.ate(X) == pytest.approx(forest.ate(X), abs=0.03)


@pytest.mark.filterwarnings("ignore:the chains")
def test_covariates_that_are_no_modifiers_are_adjusted_for():
    rng = np.random.default_rng(8)
    X, W = rng.normal(size=(500, 2)), rng.normal(size=(500, 1))
    T = (rng.random(500) < 1 / (1 + np.exp(-2 * W[:, 0]))).astype(int)
    Y = 3 * W[:, 0] + T * 1.0 + 0.5 * rng.normal(size=500)
    forest = BayesianCausalForest(80, 30, **QUICK).fit(Y, T, X=X, W=W)
    a, b = forest.ate_interval(X)
    assert a < 1.0 < b
    assert forest.n_features_in_ == 2
    with pytest.raises(NotEstimableError, match="not in X"):
        forest.counterfactuals(X)
    again = BayesianCausalForest.from_state(json.loads(json.dumps(forest.to_state())), {})
    np.testing.assert_array_equal(again.effect(X), forest.effect(X))
    binary = BayesianCausalForest(20, 10, **QUICK).fit((Y > 0).astype(float), T, X=X, W=W)
    assert not binary.probit_
    with pytest.raises(StudyFileError, match="probit"):
        BayesianCausalForest(20, 10, outcome="probit").fit((Y > 0).astype(float), T, X=X, W=W)


def test_nuisances_give_the_chance_of_treatment():
    X, T, Y = trial(200)
    known = fit_nuisances(Y, T, X)
    small = {"n_chains": 1, "n_warm_up": 50, "n_draws": 20, "thin": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = BayesianCausalForest(20, 10, **small).fit(Y, T, X=X, nuisances=known)
        two = BayesianCausalForest(20, 10, **small).fit(Y, T, X=X, propensity=known.propensity)
    np.testing.assert_array_equal(one.effect(X), two.effect(X))
    assert np.isfinite(one.counterfactuals(X)).all()


@pytest.mark.filterwarnings("ignore:the chains")
@pytest.mark.parametrize("binary", [False, True])
def test_threads_and_storage_keep_the_bits(binary):
    X, T, Y = trial(150)
    Y = (Y > 0.5).astype(float) if binary else Y
    options = {"n_chains": 3, "n_warm_up": 30, "n_draws": 21, "thin": 1}
    one = BayesianCausalForest(30, 10, **options).fit(Y, T, X=X)
    two = BayesianCausalForest(30, 10, n_jobs=3, **options).fit(Y, T, X=X)
    other = clone(one).set_params(random_state=1).fit(Y, T, X=X)
    new = trial(60, seed=9)[0]
    np.testing.assert_array_equal(one.effect_draws(new), two.effect_draws(new))
    assert (one.effect(new) != other.effect(new)).all()
    again = BayesianCausalForest.from_state(json.loads(json.dumps(one.to_state())), one.estimators())
    np.testing.assert_array_equal(again.effect_draws(new), one.effect_draws(new))
    np.testing.assert_array_equal(again.counterfactuals(new), one.counterfactuals(new))
    np.testing.assert_array_equal(again.effect_interval(new), one.effect_interval(new))
    assert again.ate_interval(new) == one.ate_interval(new)
    assert (again.r_hat_, again.noise_, again.probit_) == (one.r_hat_, one.noise_, one.probit_)
    assert again.get_params() == one.get_params()


@pytest.mark.filterwarnings("ignore:the chains")
def test_the_stored_outcome_is_that_of_the_same_draws():
    X, T, Y = trial(150)
    forest = BayesianCausalForest(30, 10, n_chains=2, n_warm_up=30, n_draws=21, thin=1).fit(Y, T, X=X)
    kept = forest.parts_["draws"]
    assert kept.outcome.constants.size == 11
    twice = kept.outcome.every(2)
    bins = kept.bins.transform(np.column_stack([X, np.full(len(X), 0.5)]))
    np.testing.assert_array_equal(twice.sums(bins), kept.outcome.sums(bins)[:, ::2])


def test_columns_in_any_units_and_order_of_magnitude():
    X, T, Y = trial(300)
    options = {"n_chains": 1, "n_warm_up": 100, "n_draws": 50, "thin": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = BayesianCausalForest(30, 10, **options).fit(Y, T, X=X, propensity=0.5)
        big = BayesianCausalForest(30, 10, **options).fit(1024 * Y + 4096, T, X=X * 8, propensity=0.5)
    np.testing.assert_allclose(big.effect(X * 8), 1024 * one.effect(X), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:the chains")
def test_constant_columns_are_no_harm_and_alone_leave_the_average():
    X, T, Y = trial(300)
    forest = BayesianCausalForest(20, 10, **QUICK).fit(Y, T, X=np.ones((300, 2)), propensity=0.5)
    effect = forest.effect(np.ones((3, 2)))
    assert np.ptp(effect) == 0
    assert effect[0] == pytest.approx(Y[T == 1].mean() - Y[T == 0].mean(), abs=0.1)
    wide = BayesianCausalForest(20, 10, **QUICK).fit(Y, T, X=np.column_stack([np.ones(300), X]))
    assert (wide.parts_["draws"].effect.feature != 0).all()


@pytest.mark.filterwarnings("ignore:the chains")
def test_rows_of_one_patient_and_chains_that_disagree_are_warned_of():
    X, T, Y = trial(200)
    small = {"n_chains": 2, "n_warm_up": 0, "n_draws": 4, "thin": 1}
    with pytest.warns(UserWarning, match="200 rows of 100 patients"):
        forest = BayesianCausalForest(20, 10, **small).fit(Y, T, X=X, patient=np.arange(200) // 2)
    assert "too short" in forest.interval_method_
    with pytest.warns(UserWarning, match="not mixed"):
        BayesianCausalForest(200, 100, **small).fit(100 * Y, T, X=X)


def test_refusals():
    X, T, Y = trial(60)
    for name, value in {
        "n_estimators": 0, "n_draws": 3, "thin": 0.5, "max_bins": 256, "alpha": 1.0, "effect_beta": -1.0,
        "outcome": "poisson", "min_samples_leaf": True,
    }.items():  # fmt: skip
        with pytest.raises(StudyFileError, match=name):
            BayesianCausalForest(**{name: value}).fit(Y, T, X=X)
    forest = BayesianCausalForest(5, 5, n_chains=1, n_warm_up=1, n_draws=4)
    with pytest.raises(NotFittedError):
        forest.effect(X)
    with pytest.raises(NotEstimableError, match="one value"):
        forest.fit(np.ones(60), T, X=X)
    with pytest.raises(NotEstimableError, match="both arms"):
        forest.fit(Y, np.ones(60), X=X)
    with pytest.raises(DataError, match="NaN"):
        forest.fit(Y, T, X=np.where(X > 2, np.nan, X))
    with pytest.raises(DataError, match="other than 0 and 1"):
        clone(forest).set_params(outcome="probit").fit(Y, T, X=X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forest.fit(Y, T, X=X)
    with pytest.raises(DataError, match="columns"):
        forest.effect(X[:, :2])
    with pytest.raises(DataError, match="neither 0 nor 1"):
        forest.effect_interval(X, T1=2)
    with pytest.raises(StudyFileError, match="alpha"):
        forest.ate_interval(X, alpha=0.0)
    state = forest.to_state()
    with pytest.raises(DataError, match="do not fit together"):
        BayesianCausalForest.from_state({**state, "n_features": 2}, {})
    with pytest.raises(DataError, match="not one of"):
        BayesianCausalForest.from_state({**state, "learner": "TLearner"}, {})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the chains")
def test_coverage_of_individual_effects_and_of_the_average():
    inside, average = [], []
    for seed in range(20):
        X, T, Y = trial(300, seed=seed, effect=lambda X: X[:, 0] + (X[:, 3] > 0.5), noise=1.0)
        truth = X[:, 0] + (X[:, 3] > 0.5)
        forest = BayesianCausalForest(n_chains=2, n_draws=100, thin=5).fit(Y, T, X=X, propensity=0.5)
        low, high = forest.effect_interval(X)
        inside.append(((low <= truth) & (truth <= high)).mean())
        a, b = forest.ate_interval(X)
        average.append(a <= truth.mean() <= b)
    assert 0.9 <= np.mean(inside) <= 0.985
    assert np.mean(average) >= 0.85


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the chains")
def test_ihdp_effects_and_their_intervals(shared_data):
    errors, inside = [], []
    for k in range(1, 6):
        table = np.loadtxt(shared_data("treatment", "ihdp", f"ihdp_npci_{k}.csv"), delimiter=",")
        X, truth = table[:, 5:], table[:, 4] - table[:, 3]
        forest = BayesianCausalForest().fit(table[:, 1], table[:, 0], X=X)
        low, high = forest.effect_interval(X)
        errors.append(np.sqrt(((forest.effect(X) - truth) ** 2).mean()))
        inside.append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(errors) < 0.5
    assert 0.9 < np.mean(inside) < 0.98
