"""Multiple imputation: what is drawn, what new rows get, what is refused, and whether intervals hold the truth."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy.special import expit

from aimed.core import DataError, NotEstimableError, UnknownNameError, Variable
from aimed.fit.adapter import StudyModel
from aimed.fit.multiple_imputation import MultipleImputation, outcome_columns
from aimed.fit.prepare import Preparation
from aimed.metrics import nelson_aalen
from aimed.prognosis import MODELS

NAN = float("nan")
A, B = Variable(name="a"), Variable(name="b")
FLAG = Variable(name="flag")
C = Variable(name="c", kind="category", categories=("low", "mid", "high", "never"))
VARIABLES = (A, B, FLAG, C)


def complete_rows(n=300, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(60, 10, n)
    b = np.exp(0.04 * (a - 60) + 0.5 * rng.normal(size=n))
    flag = (rng.random(n) < expit(0.1 * (a - 60))).astype(float)
    c = np.digitize(0.05 * (a - 60) + rng.logistic(size=n), [-0.5, 0.8]).astype(float)
    return np.column_stack([a, b, flag, c])


def rows_with_gaps(n=300, seed=0, share=0.25):
    X = complete_rows(n, seed)
    rng = np.random.default_rng([seed, 1])
    for j in (1, 2, 3):
        X[rng.random(n) < share, j] = NAN
    y = (rng.random(n) < expit((complete_rows(n, seed)[:, 0] - 60) / 10)).astype(np.int8)
    return X, y


def fitted(X, y, **options):
    chain = MultipleImputation(VARIABLES, **options)
    return chain, list(chain.fit_complete(X, y))


def survival(event, time):
    y = np.empty(len(time), dtype=[("event", np.asarray(event).dtype), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def test_observed_values_stay_and_drawn_ones_were_observed():
    X, y = rows_with_gaps()
    chain, sets = fitted(X, y, imputations=3)
    gaps = np.isnan(X)
    assert len(sets) == 3
    assert chain.incomplete_ == {v.name: int(gaps[:, j].sum()) for j, v in enumerate(VARIABLES) if gaps[:, j].any()}
    assert chain.n_incomplete_rows_ == gaps.any(axis=1).sum()
    for done in sets:
        np.testing.assert_array_equal(done[~gaps], X[~gaps])
        for j in (1, 2, 3):
            assert np.isin(done[gaps[:, j], j], X[~gaps[:, j], j]).all()
    assert not np.array_equal(sets[0], sets[1])


def test_draws_follow_the_conditional_distribution():
    rng = np.random.default_rng(3)
    n = 4000
    a = rng.normal(size=n)
    b = 2 * a + rng.normal(size=n)
    c = (rng.random(n) < expit(1.5 * a)).astype(float)
    X = np.column_stack([a, b, c, np.zeros(n)])
    gap = rng.random(n) < expit(a)
    X[gap, 1], X[~gap, 2] = NAN, NAN
    _, sets = fitted(X, (rng.random(n) < 0.5).astype(int), imputations=2)
    for done in sets:
        rest = done[gap, 1] - 2 * a[gap]
        assert abs(rest.mean()) < 0.15
        assert abs(rest.std() - 1) < 0.1
        assert abs(done[~gap, 2].mean() - expit(1.5 * a[~gap]).mean()) < 0.04
        assert abs(np.corrcoef(a[~gap], done[~gap, 2])[0, 1] - np.corrcoef(a[~gap], c[~gap])[0, 1]) < 0.05


def test_the_outcome_takes_part_in_training_rows():
    rng = np.random.default_rng(4)
    x = rng.normal(size=2000)
    y = (rng.random(2000) < expit(2 * x)).astype(int)
    X = np.where(rng.random(2000) < 0.5, NAN, x)[:, None]
    gap = np.isnan(X[:, 0])
    chain = MultipleImputation([A], imputations=2)
    for done in chain.fit_complete(X, y):
        drawn = done[gap, 0]
        truth = x[gap][y[gap] == 1].mean() - x[gap][y[gap] == 0].mean()
        assert abs(drawn[y[gap] == 1].mean() - drawn[y[gap] == 0].mean() - truth) < 0.2
        assert truth > 1


def test_outcome_columns_are_indicator_and_cumulative_hazard():
    time, event = np.array([4.0, 2.0, 7.0, 5.0]), np.array([True, True, False, True])
    found = outcome_columns(survival(event, time))
    hazard = nelson_aalen(event, time).at(time)
    assert np.corrcoef(found[:, 0], event)[0, 1] == pytest.approx(1)
    assert np.corrcoef(found[:, 1], hazard)[0, 1] == pytest.approx(1)
    codes = np.array([2, 1, 0, 1])
    competing = outcome_columns(survival(codes, time))
    assert competing.shape == (4, 4)
    assert np.corrcoef(competing[:, 3], nelson_aalen(codes == 2, time).at(time))[0, 1] == pytest.approx(1)
    assert outcome_columns(survival(np.zeros(4, dtype=bool), time)).shape == (4, 0)
    assert outcome_columns(np.ones(3)).shape == (3, 0)


def test_a_seed_repeats_whatever_the_threads():
    X, y = rows_with_gaps()
    one, many, other = (fitted(X, y, imputations=4, n_jobs=k, random_state=s) for k, s in ((1, 5), (4, 5), (1, 6)))
    np.testing.assert_array_equal(one[1], many[1])
    np.testing.assert_array_equal(one[0].complete(X), many[0].complete(X))
    assert not np.array_equal(one[1], other[1])


def test_new_rows_are_completed_one_by_one_and_without_an_outcome():
    X, y = rows_with_gaps()
    chain, _ = fitted(X, y, imputations=4)
    new = rows_with_gaps(80, seed=7)[0]
    new[0] = NAN
    done = chain.complete(new)
    gaps = np.isnan(new)
    assert not np.isnan(done).any()
    np.testing.assert_array_equal(done[:, ~gaps], np.broadcast_to(new[~gaps], (4, (~gaps).sum())))
    for i in (0, 5, 33):
        np.testing.assert_array_equal(chain.complete(new[i : i + 1])[:, 0], done[:, i])
    turned = np.random.default_rng(0).permutation(len(new))
    np.testing.assert_array_equal(chain.complete(new[turned]), done[:, turned])
    again = MultipleImputation.from_state(json.loads(json.dumps(chain.to_state(), allow_nan=False)), VARIABLES)
    np.testing.assert_array_equal(again.complete(new), done)
    assert again.to_state() == chain.to_state()


def test_new_rows_follow_the_distribution_without_the_outcome():
    rng = np.random.default_rng(8)
    n = 5000
    a = rng.normal(size=n)
    b = 0.8 * a + 0.6 * rng.normal(size=n)
    y = (rng.random(n) < expit(1.5 * b)).astype(int)
    X = np.column_stack([a, b])
    # Missing far more often with the outcome: rows seen alone would say too low a mean.
    X[rng.random(n) < expit(-2 + 3 * y), 1] = NAN
    chain = MultipleImputation([A, B])
    for _ in chain.fit_complete(X, y):
        pass
    done = chain.complete(np.column_stack([np.linspace(-2, 2, 41), np.full(41, NAN)]))[:, :, 1]
    np.testing.assert_allclose(done.mean(axis=0), 0.8 * np.linspace(-2, 2, 41), atol=0.12)
    assert abs(done.std(axis=0).mean() - 0.6) < 0.06


def test_what_leaves_with_a_model_is_no_value_of_a_patient():
    X, y = rows_with_gaps(600)
    rng = np.random.default_rng(0)
    X[:, 1] = np.where(np.isnan(X[:, 1]), NAN, X[:, 1] + rng.random(600) * 1e-6)
    chain, _ = fitted(X, y)
    state = chain.to_state()
    known = np.sort(X[~np.isnan(X[:, 1]), 1])
    assert state["ends"][1] == [known[4], known[-5]]
    kept = json.dumps({k: v for k, v in state.items() if k != "ends"})
    assert not any(repr(float(v)) in kept for v in known)
    assert not any(repr(float(v)) in kept for v in X[:, 0])


def test_complete_training_rows_give_one_set_and_the_plain_fit_bit_for_bit():
    X, y = complete_rows(), rows_with_gaps()[1]
    plain = StudyModel(MODELS["logistic"], VARIABLES, {"penalty": "none"}, {"missing": "mean"}).fit(X, y)
    pooled = StudyModel(MODELS["logistic"], VARIABLES, {"penalty": "none"}, {"missing": "multiple_imputation"})
    pooled.fit(X, y)
    assert len(pooled.estimator.fits_) == 1
    new = complete_rows(50, seed=9)
    np.testing.assert_array_equal(pooled.risk(new), plain.risk(new))
    names = plain.preparation.feature_names_out_
    assert pooled.estimator.coefficient_table(names) == plain.estimator.coefficient_table(names)
    new[3, 1] = NAN
    got = pooled.risk(new)
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(np.delete(got, 3), np.delete(plain.risk(new), 3))


def test_one_missing_value_is_enough():
    X, y = complete_rows(60), rows_with_gaps(60)[1]
    X[7, 1] = NAN
    _, sets = fitted(X, y, imputations=5)
    assert len(sets) == 5
    assert all(np.isfinite(done).all() for done in sets)


def test_columns_without_values_constants_and_separation():
    X, y = rows_with_gaps()
    empty = X.copy()
    empty[:, 1] = NAN
    with pytest.raises(NotEstimableError, match="'b' has no value in the 300 training rows"):
        fitted(empty, y)
    flat = X.copy()
    flat[~np.isnan(flat[:, 1]), 1] = 3.0
    chain, sets = fitted(flat, y, imputations=2)
    assert all((done[:, 1] == 3.0).all() for done in sets)
    assert (chain.complete(flat)[:, :, 1] == 3.0).all()
    apart = complete_rows(400)
    apart[:, 2] = apart[:, 0] > 60
    apart[::5, 2] = NAN
    _, sets = fitted(apart, rows_with_gaps(400)[1], imputations=2)
    assert all(np.mean(done[::5, 2] == (done[::5, 0] > 60)) > 0.85 for done in sets)
    twice = np.column_stack([X[:, 0], X[:, 0], X[:, 2], X[:, 3]])
    twice[::4, 1] = NAN
    _, sets = fitted(twice, y, imputations=2)
    assert all(np.abs(done[::4, 1] - done[::4, 0]).mean() < 1 for done in sets)


def test_a_level_that_training_never_showed_passes_through():
    X, y = rows_with_gaps()
    chain, sets = fitted(X, y, imputations=2)
    assert not any((done[:, 3] == 3).any() for done in sets)
    new = np.array([[60.0, NAN, 1.0, 3.0]])
    assert (chain.complete(new)[:, 0, 3] == 3).all()


def test_very_few_rows():
    X = np.array([[50.0, 1.0, 0.0, 0.0], [60.0, NAN, 1.0, 1.0], [70.0, 2.0, NAN, 0.0], [55.0, 1.5, 1.0, NAN]])
    _, sets = fitted(X, np.array([0, 1, 1, 0]), imputations=2)
    assert all(np.isfinite(done).all() for done in sets)


@pytest.mark.parametrize("options", [{"imputations": 1}, {"rounds": 0}, {"donors": 0}])
def test_options_that_make_no_sense(options):
    with pytest.raises(DataError):
        MultipleImputation(VARIABLES, **options)


def test_wrong_shapes_and_names():
    X, y = rows_with_gaps()
    with pytest.raises(DataError):
        fitted(X, y[:-1])
    with pytest.raises(DataError):
        fitted(X[:, :2], y)
    with pytest.raises(UnknownNameError):
        MultipleImputation(VARIABLES, logarithms=("bee",))


def test_a_logarithm_is_completed_on_its_own_scale():
    X, y = rows_with_gaps(2000)
    chain, _ = fitted(X, y, logarithms=("b",))
    done = chain.complete(np.array([[80.0, NAN, 1.0, 1.0]]))[:, 0, 1]
    assert (done > 0).all()
    assert np.log(done).std() == pytest.approx(0.5, abs=0.12)
    assert np.log(done).mean() == pytest.approx(0.8, abs=0.15)


def test_preparation_needs_the_outcome_and_shares_one_scale():
    X, y = rows_with_gaps()
    bare = Preparation(VARIABLES, missing="multiple_imputation").fit(X)
    with pytest.raises(DataError, match="give fit a y"):
        bare.transform(X)
    whole = Preparation(VARIABLES, missing="multiple_imputation", imputations=4).fit(X, y)
    assert whole.feature_names_out_ == ["a", "b", "flag", "c=mid", "c=high"]
    (rows, versions), *rest = whole.versions(X, np.flatnonzero(np.isnan(X).any(axis=1)))
    assert not rest
    np.testing.assert_allclose(versions.mean(axis=0), whole.transform(X)[rows], atol=1e-12)
    assert any("m = 4 imputed data sets" in step["detail"] for step in whole.steps_)
    assert any(step["name"] == "Imputed" and "of 300 training rows" in step["detail"] for step in whole.steps_)


def test_much_missing_is_said():
    X, y = rows_with_gaps()
    X[np.random.default_rng(0).random(300) < 0.6, 1] = NAN
    with pytest.warns(UserWarning, match="'b' is missing in more than half"):
        Preparation(VARIABLES, missing="multiple_imputation").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Preparation(VARIABLES, missing="multiple_imputation").fit(*rows_with_gaps())


def test_only_training_rows_teach():
    X, y = rows_with_gaps()
    changed, flipped = X.copy(), y.copy()
    changed[200:], flipped[200:] = NAN, 1 - flipped[200:]
    changed[200:, 0] = 1e6
    one, two = (
        StudyModel(MODELS["logistic"], VARIABLES, {"penalty": "none"}, {"missing": "multiple_imputation"}).fit(
            values[:200], outcome[:200]
        )
        for values, outcome in ((X, y), (changed, flipped))
    )
    new = rows_with_gaps(60, seed=5)[0]
    np.testing.assert_array_equal(one.risk(new), two.risk(new))


def simulated(rng, n, kind):
    """Rows whose values are missing more often with the outcome, and the coefficients that made them."""
    beta = np.array([0.4, 0.5, 0.5, -0.4])
    a = rng.normal(size=n)
    b = 0.5 * a + rng.normal(size=n) * np.sqrt(0.75)
    c = np.digitize(rng.logistic(size=n) + 0.5 * a, [-0.5, 0.8]).astype(float)
    eta = beta[0] * a + beta[1] * b + beta[2] * (c == 1) + beta[3] * (c == 2)
    if kind == "logistic":
        y = (rng.random(n) < expit(eta - 0.3)).astype(np.int8)
        seen = y
    else:
        time, end = rng.exponential(np.exp(-eta)), rng.uniform(0.1, 1.0, n)
        y = survival(time <= end, np.minimum(time, end))
        seen = y["event"]
    X = np.column_stack([a, b, c])
    X[rng.random(n) < expit(-2.2 + 2.0 * seen + 0.8 * a), 1] = NAN
    X[rng.random(n) < expit(-2.0 + 1.2 * seen + 0.5 * a), 2] = NAN
    return X, y, beta


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logistic", "cox"])
def test_pooled_intervals_hold_the_truth_where_complete_rows_mislead(kind):
    variables = (A, B, Variable(name="c", kind="category", categories=("0", "1", "2")))
    parameters = {"penalty": "none"} if kind == "logistic" else {"penalty": 0.0}
    errors, covered = {}, {}
    repeats = 150
    for missing in ("complete_case", "multiple_imputation"):
        found, held = [], []
        for seed in range(repeats):
            X, y, beta = simulated(np.random.default_rng([11, seed]), 500, kind)
            options = {"missing": missing, "standardise": False}
            model = StudyModel(MODELS[kind], variables, parameters, options, seed).fit(X, y)
            rows = model.estimator.coefficient_table(model.preparation.feature_names_out_)
            found.append([row["estimate"] for row in rows] - beta)
            held.append([row["lower"] <= b <= row["upper"] for row, b in zip(rows, beta, strict=True)])
        errors[missing], covered[missing] = np.mean(found, axis=0), np.mean(held, axis=0)
    # A share of 0.95 over 150 draws has a standard error of 0.018.
    assert (covered["multiple_imputation"] > 0.95 - 4 * 0.018).all()
    assert np.abs(errors["multiple_imputation"]).max() < 0.08
    assert np.abs(errors["complete_case"]).max() > 2 * np.abs(errors["multiple_imputation"]).max()
    assert covered["complete_case"].min() < 0.85
