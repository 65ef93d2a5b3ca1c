"""CoxPH with weights, strata, late entry, offsets, clusters and Firth's correction: properties and refusals."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError
from aimed.prognosis.coefficients import wald_test
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_diagnostics import residuals
from aimed.prognosis.parametric import AcceleratedFailureTime
from aimed.prognosis.risk_sets import RiskSets, line_up, read_outcome


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(n=200, p=3, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    death, lost = rng.exponential(20 * np.exp(-X @ np.linspace(0.8, -0.4, p))), rng.exponential(25, n)
    time = np.minimum(death, lost)
    return X, outcome(death <= lost, np.ceil(time) if ties else time)


def extras(n, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "sample_weight": rng.uniform(0.5, 2, n),
        "strata": rng.choice(["a", "b", "c"], n),
        "offset": rng.normal(size=n) * 0.3,
    }


def same(a, b, rtol=1e-8, covariance=True):
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=rtol, atol=1e-10)
    np.testing.assert_allclose(a.loglik_, b.loglik_, rtol=rtol)
    if covariance:
        np.testing.assert_allclose(a.covariance_, b.covariance_, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_duplication_with_breslows_ties(seed):
    X, y = sample(seed=seed)
    times = np.random.default_rng(seed).integers(0, 4, len(y))
    weighted = CoxPH(ties="breslow").fit(X, y, sample_weight=times)
    twice = CoxPH(ties="breslow").fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    same(weighted, twice)
    for a, b in zip(weighted.curve_variance_, twice.curve_variance_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)
    for name in ("likelihood_ratio", "wald", "score"):
        assert weighted.tests_[name]["statistic"] == pytest.approx(twice.tests_[name]["statistic"], rel=1e-8)
    assert weighted.concordance_[0] == pytest.approx(twice.concordance_[0], rel=1e-9)


def test_robust_errors_of_weights_are_those_of_duplicates_in_one_cluster():
    X, y = sample()
    times = np.random.default_rng(0).integers(1, 4, len(y))
    weighted = CoxPH(ties="breslow", robust=True).fit(X, y, sample_weight=times)
    rows = np.repeat(np.arange(len(y)), times)
    twice = CoxPH(ties="breslow").fit(X[rows], y[rows], cluster=rows)
    same(weighted, twice)
    assert twice.n_clusters_ == len(y)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_equal_weights_and_weight_zero(ties):
    X, y = sample()
    plain = CoxPH(ties=ties).fit(X, y)
    double = CoxPH(ties=ties).fit(X, y, sample_weight=np.full(len(y), 2.0))
    np.testing.assert_allclose(double.coef_, plain.coef_, rtol=1e-9)
    np.testing.assert_allclose(double.covariance_, plain.covariance_ / 2, rtol=1e-8)
    np.testing.assert_allclose(double.cumulative_baseline_hazard_, plain.cumulative_baseline_hazard_, rtol=1e-9)
    robust = [CoxPH(ties=ties, robust=True).fit(X, y, sample_weight=w).covariance_ for w in (None, [2.0] * len(y))]
    np.testing.assert_allclose(*robust, rtol=1e-8)
    keep = np.arange(len(y)) % 3 > 0
    without = CoxPH(ties=ties).fit(X, y, sample_weight=keep)
    same(without, CoxPH(ties=ties).fit(X[keep], y[keep]))
    assert without.n_fitted_ == keep.sum()


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_row_cut_in_two_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    X, y = sample(seed=seed % 1000, n=120)
    more = extras(len(y), seed)
    entry = y["time"] * rng.uniform(0, 0.7, len(y)) - rng.choice([0.0, 5.0])
    cut = entry + (y["time"] - entry) * rng.uniform(0.1, 0.9, len(y))
    cut = np.where(rng.random(len(y)) < 0.5, np.clip(np.ceil(cut), entry + 1e-9, y["time"] - 1e-9), cut)
    cuts = rng.random(len(y)) < 0.6
    cuts &= cut >= 0
    who = np.arange(len(y))
    rows = np.concatenate((who[cuts], who))
    first = np.arange(rows.size) < cuts.sum()
    start = np.where(first, entry[rows], np.where(cuts[rows], cut[rows], entry[rows]))
    stop = np.where(first, cut[rows], y["time"][rows])
    split = outcome(np.where(first, False, y["event"][rows]), stop)
    whole = CoxPH().fit(X, y, entry=entry, cluster=who, **more)
    parts = CoxPH().fit(X[rows], split, entry=start, cluster=rows, **{k: v[rows] for k, v in more.items()})
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(parts.loglik_, whole.loglik_, rtol=1e-10)
    np.testing.assert_allclose(parts.covariance_, whole.covariance_, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(parts.naive_covariance_, whole.naive_covariance_, rtol=1e-6, atol=1e-12)


def test_entry_before_everything_is_no_entry():
    X, y = sample()
    same(CoxPH().fit(X, y, entry=np.full(len(y), -1.0)), CoxPH().fit(X, y), rtol=1e-12)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_row_order_and_time_unit_do_not_matter(ties):
    X, y = sample()
    more = extras(len(y)) | {"entry": y["time"] / 3 - 0.5, "cluster": np.arange(len(y)) // 4}
    model = CoxPH(ties=ties).fit(X, y, **more)
    order = np.random.default_rng(2).permutation(len(y))
    same(CoxPH(ties=ties).fit(X[order], y[order], **{k: np.asarray(v)[order] for k, v in more.items()}), model)
    years = outcome(y["event"], y["time"] / 365.25)
    yearly = CoxPH(ties=ties).fit(X, years, **{**more, "entry": more["entry"] / 365.25})
    same(yearly, model, rtol=1e-12)
    labels, offset = more["strata"][:5], more["offset"][:5]
    np.testing.assert_allclose(
        yearly.predict_survival_function(X[:5], np.array([3.0, 9.0]) / 365.25, strata=labels, offset=offset),
        model.predict_survival_function(X[:5], [3.0, 9.0], strata=labels, offset=offset), rtol=1e-12,
    )  # fmt: skip


def test_strata_are_models_of_their_own_with_shared_coefficients():
    X, y = sample()
    group = np.random.default_rng(3).choice([10, 20, 30], len(y))
    model = CoxPH().fit(X, y, strata=group)
    fixed = [
        CoxPH().fit(np.empty((int(own.sum()), 0)), y[own], offset=(X @ model.coef_)[own])
        for own in (group == label for label in model.strata_)
    ]
    assert model.loglik_[1] == pytest.approx(sum(m.loglik_[1] for m in fixed), rel=1e-12)
    for label, alone in zip(model.strata_, fixed, strict=True):
        rows = np.flatnonzero(group == label)[:4]
        np.testing.assert_allclose(
            model.predict_survival_function(X[rows], [2.0, 7.0, 30.0], strata=group[rows]),
            alone.predict_survival_function(np.empty((rows.size, 0)), [2.0, 7.0, 30.0], offset=X[rows] @ model.coef_),
            rtol=1e-10,
        )  # fmt: skip
    functions = model.predict_survival_function(X[:6], strata=group[:6])
    curves = model.predict_survival_function(X[:6], [4.0], strata=group[:6])
    np.testing.assert_allclose([f(4.0)[()] for f in functions], curves[:, 0])
    lower, upper = model.risk_interval(X, [1.0, 5.0, 20.0], strata=group)
    risk = 1 - model.predict_survival_function(X, [1.0, 5.0, 20.0], strata=group)
    assert ((lower <= risk) & (risk <= upper)).all()
    with pytest.raises(DataError, match="no stratum is given"):
        model.predict_survival_function(X, [1.0])
    with pytest.raises(DataError, match="1 of 2 rows are of a stratum"):
        model.predict_survival_function(X[:2], [1.0], strata=[10, 99])
    with pytest.raises(DataError, match="times of their own"):
        model.predict_survival_function(X, return_array=True, strata=group)


def test_a_stratum_without_events_counts_for_nothing():
    X, y = sample()
    group = np.where(np.arange(len(y)) < 30, "none", "some")
    y["event"][:30] = False
    model = CoxPH().fit(X, y, strata=group)
    same(model, CoxPH().fit(X[30:], y[30:]))
    assert (model.predict_survival_function(X[:2], [50.0], strata=group[:2]) == 1).all()
    lower, upper = model.risk_interval(X[:2], [50.0], strata=group[:2])
    assert (lower == 0).all()
    assert (upper == 0).all()


@pytest.mark.parametrize("step_events", [1, 5])
def test_a_stratified_model_travels_through_json(step_events):
    X, y = sample()
    more = extras(len(y)) | {"cluster": np.arange(len(y)) // 5}
    model = CoxPH(step_events=step_events).fit(X, y, ["a", "b", "c"], **more)
    state = json.loads(json.dumps(model.to_state(), allow_nan=False))
    again = CoxPH.from_state(state)
    assert again.to_state() == model.to_state()
    labels = more["strata"]
    np.testing.assert_array_equal(
        again.predict_survival_function(X, [1.0, 9.0], strata=labels),
        model.predict_survival_function(X, [1.0, 9.0], strata=labels),
    )
    np.testing.assert_array_equal(
        again.risk_interval(X, [1.0, 9.0], strata=labels), model.risk_interval(X, [1.0, 9.0], strata=labels)
    )
    assert str(again.summary_) == str(model.summary_)


def test_states_from_before_robust_errors_and_strata_are_read():
    X, y = sample()
    model = CoxPH().fit(X, y)
    state = json.loads(json.dumps(model.to_state()))
    for name in ("naive_covariance", "clusters", "concordance"):
        del state[name]
    for name in ("robust", "firth"):
        del state["parameters"][name]
    np.testing.assert_array_equal(
        CoxPH.from_state(state).predict_survival_function(X, [5.0]), model.predict_survival_function(X, [5.0])
    )


def test_robust_errors_by_leaving_clusters_out():
    X, y = sample(n=600, ties=False)
    cluster = np.arange(len(y)) // 3
    model = CoxPH().fit(X, y, cluster=cluster)
    moved = np.array([CoxPH().fit(X[cluster != c], y[cluster != c]).coef_ for c in range(200)]) - model.coef_
    np.testing.assert_allclose(np.sqrt((moved**2).sum(axis=0)), model.standard_errors_, rtol=0.05)
    assert model.naive_covariance_[0, 0] != model.covariance_[0, 0]


@pytest.mark.slow
def test_clustered_intervals_cover_where_the_models_own_do_not():
    rng, hit, runs = np.random.default_rng(4), np.zeros(2), 400
    for _ in range(runs):
        frailty = np.repeat(rng.gamma(0.7, 1 / 0.7, 150), 5)
        x = np.repeat(rng.normal(size=150), 5)
        time = rng.exponential(1 / frailty)
        model = CoxPH().fit(x[:, None], outcome(time < 2, np.minimum(time, 2)), cluster=np.arange(750) // 5)
        naive = 1.96 * np.sqrt(model.naive_covariance_[0, 0])
        hit += [abs(model.coef_[0]) < 1.96 * model.standard_errors_[0], abs(model.coef_[0]) < naive]
    assert abs(hit[0] / runs - 0.95) < 0.035
    assert hit[1] / runs < 0.85


def firth_objective(beta, X, y, ties):
    """Return the negative log likelihood plus half the log determinant of its curvature, in loops."""
    total, information = 0.0, 0.0
    for t in np.unique(y["time"][y["event"]]):
        risk, dying = y["time"] >= t, y["event"] & (y["time"] == t)
        for rank in range(dying.sum()):
            left = np.exp(X @ beta) * (risk - (rank / dying.sum() if ties == "efron" else 0.0) * dying)
            mean = left @ X / left.sum()
            total -= np.log(left.sum())
            information = information + (X - mean).T * left @ (X - mean) / left.sum()
        total += (X[dying] @ beta).sum()
    return -total - 0.5 * np.linalg.slogdet(np.atleast_2d(information))[1]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("separated", [True, False])
def test_firth_is_the_maximum_of_the_penalised_likelihood(ties, separated):
    X, y = sample(n=60, p=2)
    if separated:
        flag = np.zeros(len(y))
        flag[np.flatnonzero(~y["event"])[:8]] = 1
        X = np.column_stack([X, flag])
        with pytest.raises(NotEstimableError, match=r"'x2' grows without bound.*firth=True"):
            CoxPH(ties=ties).fit(X, y)
    model = CoxPH(ties=ties, firth=True).fit(X, y)
    found = optimize.minimize(
        firth_objective, np.zeros(X.shape[1]), (X, y, ties), method="BFGS", options={"gtol": 1e-7}
    )  # fmt: skip
    np.testing.assert_allclose(model.coef_, found.x, atol=1e-5)
    assert model.loglik_[1] == pytest.approx(-found.fun, abs=1e-6)
    assert model.loglik_[0] == pytest.approx(-firth_objective(np.zeros(X.shape[1]), X, y, ties), abs=1e-8)
    assert np.isfinite(model.standard_errors_).all()
    assert "score" not in model.tests_
    assert model.tests_["likelihood_ratio"]["statistic"] > 0
    plain = CoxPH(ties=ties).fit(X[:, :2], y)
    assert np.abs(CoxPH(ties=ties, firth=True).fit(X[:, :2], y).coef_).sum() < np.abs(plain.coef_).sum()


def test_one_event_is_separation_when_it_is_the_highest_and_firth_answers():
    X, y = sample(n=30, p=1)
    y["event"] = np.arange(30) == 4
    y["time"][4] = 0.5
    assert np.isfinite(CoxPH().fit(X, y).coef_).all()
    X[4] = X.max() + 1
    with pytest.raises(NotEstimableError, match="grows without bound"):
        CoxPH().fit(X, y)
    assert np.isfinite(CoxPH(firth=True).fit(X, y).coef_).all()


def test_all_events_at_one_time():
    X, _ = sample(n=50)
    tied = outcome(np.arange(50) < 20, np.where(np.arange(50) < 20, 5.0, 9.0))
    for ties in ("efron", "breslow"):
        assert np.isfinite(CoxPH(ties=ties).fit(X, tied).standard_errors_).all()
    with pytest.raises(NotEstimableError, match="'x0'"):
        CoxPH().fit(X[:, :1] * 0 + 1, tied)
    # With everyone dying at once the order says nothing under Efron's ties, and nothing is what the model finds.
    every = outcome(np.ones(50, bool), np.full(50, 5.0))
    assert abs(CoxPH(ties="breslow").fit(X, every).coef_).max() < 1e-9


def test_thousands_of_columns_are_refused_at_once():
    rng = np.random.default_rng(0)
    n, p = 2000, 10_000
    X = np.zeros((n, p))
    X[np.arange(n), rng.integers(0, p, n)] = 1
    y = outcome(rng.random(n) < 0.5, rng.exponential(size=n))
    with pytest.raises(NotEstimableError, match=r"10000 columns for \d+ rows at risk.*penalty > 0.*CoxPath"):
        CoxPH().fit(X, y)


def test_many_collinear_columns_are_not_all_listed():
    X, y = sample()
    names = [f"c{j}" for j in range(33)]
    with pytest.raises(NotEstimableError, match="'c12' is a combination of 'c0'; and 20 more"):
        CoxPH().fit(np.tile(X, 11), y, names)


def test_non_convergence_names_the_columns_that_moved():
    X, y = sample()
    with pytest.raises(NotEstimableError, match=r"did not converge in 1 steps; 'age'.*moved most.*max_iter"):
        CoxPH(max_iter=1).fit(X, y, ["age", "sys", "hb"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"entry": np.full(200, 1e9)}, "200 of 200 rows enter at or after their time"),
        ({"entry": np.full(200, np.nan)}, "200 of 200 values of entry are missing or infinite"),
        ({"entry": np.zeros(3)}, r"entry has shape \(3,\)"),
        ({"entry": ["a"] * 200}, "entry holds text"),
        ({"sample_weight": np.full(200, -1.0)}, "200 of 200 weights are negative"),
        ({"sample_weight": np.full(200, np.inf)}, "values of sample_weight are missing or infinite"),
        ({"offset": np.full(200, np.inf)}, "values of offset are missing or infinite"),
        ({"strata": ["a"] * 3}, "strata has shape"),
        ({"strata": [None] * 200}, "200 of 200 labels of strata are missing"),
        ({"cluster": np.full(200, np.nan)}, "labels of cluster are missing"),
    ],
)
def test_what_goes_with_the_outcome_is_checked(more, message):
    X, y = sample()
    with pytest.raises(DataError, match=message):
        CoxPH().fit(X, y, **more)


def test_other_refusals():
    X, y = sample()
    with pytest.raises(NotEstimableError, match="no event"):
        CoxPH().fit(X, y, sample_weight=np.where(y["event"], 0.0, 1.0))
    with pytest.raises(NotEstimableError, match="1 cluster at risk"):
        CoxPH().fit(X, y, cluster=np.zeros(len(y)))
    with pytest.raises(StudyFileError, match="firth = True and a ridge penalty"):
        CoxPH(firth=True, penalty=1.0).fit(X, y)
    with pytest.raises(DataError, match="1 rows with missing or infinite values, in 'hb'"):
        CoxPH().fit(np.where(np.arange(X.size).reshape(X.shape) == 7, np.inf, X), y, ["age", "hb", "bmi"])
    with pytest.raises(DataError, match="in 'x0', 'x1', 'x2'"):
        CoxPH().fit(np.full_like(X, np.nan), y)
    codes = np.array([(2, 3.0), (1, 4.0)], dtype=[("event", int), ("time", float)])
    with pytest.raises(DataError, match="structured array of event and time"):
        CoxPH().fit(X[:2], codes)
    with pytest.raises(DataError, match="without strata"):
        CoxPH().fit(X, y).predict_survival_function(X, [1.0], strata=np.zeros(len(y)))


def test_few_clusters_warn_that_there_is_no_joint_test():
    X, y = sample()
    with pytest.warns(UserWarning, match="3 clusters do not carry a joint test of 3 coefficients"):
        model = CoxPH().fit(X, y, cluster=np.arange(len(y)) % 3)
    assert model.tests_["wald"]["p"] is None
    assert "Wald" not in str(model.summary_).split("(Note")[0]
    json.dumps(model.to_state(), allow_nan=False)


def test_the_same_bits_with_any_number_of_threads():
    X, y = sample(n=3000, p=20)
    states = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            states.append(CoxPH(robust=True).fit(X, y).to_state())
    assert states[0] == states[1] == CoxPH(robust=True).fit(X, y).to_state()


def test_fortran_order_and_integers_are_read_as_they_are():
    X, y = sample()
    same(CoxPH().fit(np.asfortranarray(X), y), CoxPH().fit(X, y), rtol=1e-12)
    whole = np.round(X * 10).astype(int)
    same(CoxPH().fit(whole, y), CoxPH().fit(whole.astype(float), y), rtol=1e-12)


def test_baseline_functions_are_those_of_a_row_of_zeros():
    X, y = sample()
    model = CoxPH().fit(X + 2, y)
    at = model.predict_survival_function(np.zeros((1, 3)), [1.0, 6.0])[0]
    np.testing.assert_allclose(model.baseline_survival_([1.0, 6.0]), at)
    np.testing.assert_allclose(np.exp(-model.cum_baseline_hazard_([1.0, 6.0])), at)
    np.testing.assert_array_equal(model.event_times_, model.unique_times_)


def test_concordance_of_the_fit():
    X, y = sample()
    model = CoxPH().fit(X, y)
    assert model.concordance_[0] == model.score(X, y)
    assert 0 < model.concordance_[1] < 0.1
    more = extras(len(y))
    strata = more["strata"]
    assert CoxPH().fit(X, y, strata=strata).concordance_[0] == pytest.approx(
        CoxPH().fit(X, y, strata=strata).score(X, y, strata=strata)
    )
    late = CoxPH().fit(X, y, entry=np.full(len(y), -1.0))
    assert late.concordance_ == (pytest.approx(model.concordance_[0], rel=1e-12), None)


def test_summary_prints_like_r():
    X, y = sample()
    names = ["age", "sex", "creatinine"]
    text = str(CoxPH().fit(X, y, names).summary_)
    lines = text.splitlines()
    assert lines[0] == f"  n= 200, number of events= {y['event'].sum()}"
    assert lines[2].split() == ["coef", "exp(coef)", "se(coef)", "z", "Pr(>|z|)"]
    assert lines[3].startswith("age ")
    assert lines[3].endswith("***")
    assert lines[9].split() == ["exp(coef)", "exp(-coef)", "lower", ".95", "upper", ".95"]
    assert "Concordance= 0." in text
    assert "Likelihood ratio test= " in text
    assert "on 3 df,   p=" in text
    robust = str(CoxPH().fit(X, y, names, cluster=np.arange(200) // 2).summary_)
    assert "robust se" in robust
    assert "Robust = " in robust
    assert "within a cluster" in robust
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dropped = str(CoxPH(collinear="drop").fit(np.column_stack([X, X[:, 0]]), y).summary_)
        none = str(CoxPH().fit(np.empty((200, 0)), y).summary_)
    assert "NA" in dropped
    assert none.startswith("  n= 200")


@pytest.mark.parametrize("rich", [False, True])
def test_more_columns_than_rows_with_a_ridge_penalty(rich):
    rng = np.random.default_rng(7)
    n, p = 60, 150
    X = rng.normal(size=(n, p)) * rng.uniform(0.1, 5, p) + 3
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = rng.random(n) < 0.6, np.ceil(rng.exponential(9 * np.exp(-0.3 * X[:, 0])))
    more = {"sample_weight": rng.uniform(0.5, 2, n), "strata": rng.integers(0, 2, n)} if rich else {}
    theta = 100.0
    model = CoxPH(penalty=theta).fit(X, y, **more)
    assert model.coef_.shape == model.standard_errors_.shape == (p,)
    read = read_outcome(y, None, more.get("sample_weight"), more.get("strata"))
    risk = RiskSets(X, model.feature_means_, line_up(read), None, True)
    point = risk.evaluate(model.coef_ / risk.unit)
    # The slope of the likelihood is that of the penalty, in the space of the columns themselves.
    np.testing.assert_allclose(point.gradient / risk.unit, theta * model.coef_, atol=1e-6)
    information = point.information / np.outer(risk.unit, risk.unit) + theta * np.eye(p)
    inverse = np.linalg.inv(information)
    np.testing.assert_allclose(model.standard_errors_, np.sqrt(np.diag(inverse)), rtol=1e-6)
    df = np.trace(inverse @ (information - theta * np.eye(p)))
    assert model.tests_["likelihood_ratio"]["df"] == pytest.approx(df, rel=1e-6)
    again = CoxPH.from_state(json.loads(json.dumps(model.to_state(), allow_nan=False)))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.standard_errors_, model.standard_errors_)
    clustered = CoxPH(penalty=theta).fit(X, y, cluster=np.arange(n) // 2, **more)
    line = risk.line
    scores = np.zeros((n // 2, p))
    np.add.at(scores, line.order // 2, risk.score_sums(point.steps, np.arange(line.order.size), line.order.size))
    robust = inverse @ (scores.T @ scores) @ inverse
    np.testing.assert_allclose(clustered.standard_errors_, np.sqrt(np.diag(robust)), rtol=1e-5)
    with pytest.raises(NotEstimableError, match="150 columns and fewer rows"):
        residuals(model, X, y, "dfbeta", **more)


def test_a_pickle_holds_no_training_row():
    X, y = sample()
    model = CoxPH().fit(X, y)
    told = model.concordance_
    fresh = CoxPH().fit(X, y)
    blob = pickle.dumps(fresh)
    assert len(blob) < 30_000
    assert y["time"].tobytes() not in blob
    assert pickle.loads(blob).concordance_ == told
    assert copy.deepcopy(fresh).concordance_ == told
    assert clone(CoxPH(firth=True)).firth


def test_concordance_has_no_limit_of_rows():
    rng = np.random.default_rng(0)
    X, y = sample()
    many = np.tile(np.arange(len(y)), 150)
    X, y = X[many] + rng.normal(scale=1e-3, size=(many.size, X.shape[1])), y[many]
    model = CoxPH().fit(X, y)
    assert many.size > 20_000
    assert model.concordance_[0] == pytest.approx(model.score(X, y), rel=1e-12)
    late = CoxPH().fit(X, y, entry=y["time"] * 0.5)
    assert late.concordance_[0] == pytest.approx(late.score(X, y, entry=y["time"] * 0.5))


def test_wald_tests_of_terms():
    X, y = sample()
    model = CoxPH().fit(X, y, ["a", "b", "c"])
    part = model.covariance_[np.ix_([2, 0], [2, 0])]
    expected = model.coef_[[2, 0]] @ np.linalg.solve(part, model.coef_[[2, 0]])
    found = model.wald_test(["c", 0])
    assert found["statistic"] == pytest.approx(expected, rel=1e-10)
    assert (found["df"], found["p"]) == (2.0, pytest.approx(np.exp(-expected / 2)))
    whole = model.wald_test(["a", "b", "c"])
    assert whole["statistic"] == pytest.approx(model.tests_["wald"]["statistic"], rel=1e-9)
    assert model.wald_test(["b"])["p"] == pytest.approx(model.summary()[1]["p"], rel=1e-9)
    robust = CoxPH().fit(X, y, ["a", "b", "c"], cluster=np.arange(len(y)) // 2)
    assert robust.wald_test(["a", "b", "c"])["statistic"] == pytest.approx(robust.tests_["wald"]["statistic"])
    weibull = AcceleratedFailureTime().fit(X, y)
    assert wald_test(weibull, [0, 1, 2])["statistic"] == pytest.approx(weibull.tests_["wald"]["statistic"], rel=1e-8)
    with pytest.raises(UnknownNameError, match="d"):
        model.wald_test(["d"])
    with pytest.raises(DataError, match="each column once"):
        model.wald_test(["a", 0])
    with pytest.raises(NotEstimableError, match="penalty"):
        CoxPH(penalty=1.0).fit(X, y).wald_test([0])
    dropped = CoxPH(collinear="drop").fit(np.column_stack([X, X[:, 0]]), y)
    with pytest.raises(NotEstimableError, match="'x3' fixed at 0"):
        dropped.wald_test([3])
