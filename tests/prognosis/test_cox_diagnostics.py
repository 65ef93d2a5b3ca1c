"""Residuals of a Cox model and the test of proportional hazards: definitions, sums and size."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_diagnostics import (
    profile_intervals,
    proportional_hazards_test,
    residuals,
    schoenfeld_residuals,
)
from aimed.prognosis.risk_sets import RiskSets, line_up, read_outcome


def outcome(event, time):
    y = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = event, time
    return y


def sample(n=150, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    death, lost = rng.exponential(20 * np.exp(-X @ [0.8, -0.4, 0.0])), rng.exponential(25, n)
    return X, outcome(death <= lost, np.ceil(np.minimum(death, lost)))


def extras(y, seed=0):
    rng = np.random.default_rng(seed)
    n = len(y)
    return {
        "entry": y["time"] * rng.uniform(-0.5, 0.8, n),
        "sample_weight": rng.uniform(0.5, 2, n),
        "strata": rng.integers(0, 3, n),
        "offset": rng.normal(size=n) * 0.2,
    }


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("rich", [False, True])
def test_sums_are_zero_at_the_top(ties, rich):
    X, y = sample()
    more = extras(y) if rich else {}
    weight = more.get("sample_weight", np.ones(len(y)))
    model = CoxPH(ties=ties).fit(X, y, **more)
    martingale = residuals(model, X, y, **more)
    assert (martingale <= 1).all()
    assert weight @ martingale == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(weight @ residuals(model, X, y, "score", **more), 0, atol=1e-7)
    found = schoenfeld_residuals(model, X, y, **more)
    np.testing.assert_allclose(weight[found.rows] @ found.raw, 0, atol=1e-7)
    np.testing.assert_array_equal(found.times, y["time"][found.rows])
    assert y["event"][found.rows].all()
    assert found.rows.size == y["event"].sum()
    np.testing.assert_allclose(weight[found.rows] @ (found.scaled - model.coef_), 0, atol=1e-6)
    np.testing.assert_allclose(y["event"] - residuals(model, X, y, "cox_snell", **more), martingale)


def test_martingale_residuals_are_events_less_the_predicted_hazard():
    X, y = sample()
    y["time"] += np.random.default_rng(1).uniform(0, 0.5, len(y))
    model = CoxPH().fit(X, y)
    hazard = [f(t)[()] for f, t in zip(model.predict_cumulative_hazard_function(X), y["time"], strict=True)]
    martingale = residuals(model, X, y)
    np.testing.assert_allclose(martingale, y["event"] - np.array(hazard), atol=1e-10)
    deviance = residuals(model, X, y, "deviance")
    np.testing.assert_array_equal(np.sign(deviance), np.sign(martingale))
    twice = -2 * (martingale + np.where(y["event"], np.log(np.where(y["event"], hazard, 1)), 0))
    np.testing.assert_allclose(deviance**2, twice, atol=1e-9)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_dfbeta_is_about_what_leaving_a_row_out_does(ties):
    X, y = sample(n=400)
    model = CoxPH(ties=ties, robust=True).fit(X, y)
    found = residuals(model, X, y, "dfbeta")
    np.testing.assert_allclose(found.T @ found, model.covariance_, rtol=1e-9, atol=1e-14)
    for i in (0, 7, 133):
        keep = np.arange(len(y)) != i
        np.testing.assert_allclose(model.coef_ - CoxPH(ties=ties).fit(X[keep], y[keep]).coef_, found[i], atol=1e-3)
    errors = np.sqrt(np.diag(model.naive_covariance_))
    np.testing.assert_allclose(residuals(model, X, y, "dfbetas"), found / errors)


def test_clusters_add_residuals_up():
    X, y = sample()
    more = extras(y)
    cluster = np.random.default_rng(2).choice(["p", "q", "r", "s", "t", "u"], len(y))
    model = CoxPH().fit(X, y, cluster=cluster, **more)
    summed = residuals(model, X, y, "dfbeta", cluster=cluster, **more)
    np.testing.assert_allclose(summed.T @ summed, model.covariance_, rtol=1e-8, atol=1e-13)
    rows = residuals(model, X, y, "dfbeta", **more)
    np.testing.assert_allclose(summed, [rows[cluster == c].sum(axis=0) for c in np.unique(cluster)], atol=1e-10)
    martingale = more["sample_weight"] * residuals(model, X, y, **more)
    np.testing.assert_allclose(
        residuals(model, X, y, cluster=cluster, **more),
        [martingale[cluster == c].sum() for c in np.unique(cluster)], atol=1e-9,
    )  # fmt: skip


def test_schoenfeld_residuals_by_hand():
    X = np.array([[1.0], [0.0], [1.0], [0.0]])
    y = outcome([True, True, True, False], [1.0, 2.0, 3.0, 4.0])
    model = CoxPH(penalty=1.0).fit(X, y)
    r = np.exp(model.coef_[0])
    want = [1 - 2 * r / (2 * r + 2), 0 - r / (r + 2), 1 - r / (r + 1)]
    np.testing.assert_allclose(schoenfeld_residuals(model, X, y).raw[:, 0], want, atol=1e-12)


def slow_test(model, X, y, g):
    """Return the score statistics of g(t) x, from the loops of the textbook."""
    p = X.shape[1]
    r, information, slope = np.exp(X @ model.coef_), np.zeros((2 * p, 2 * p)), np.zeros(2 * p)
    for t in np.unique(y["time"][y["event"]]):
        risk, dying = y["time"] >= t, y["event"] & (y["time"] == t)
        both = np.column_stack([X, g(t) * X])
        for rank in range(dying.sum()):
            left = r * (risk - rank / dying.sum() * dying)
            mean = left @ both / left.sum()
            slope -= mean
            information += (both - mean).T * left @ (both - mean) / left.sum()
        slope += both[dying].sum(axis=0)
    out = []
    for own in [[j] for j in range(p)] + [list(range(p))]:
        kept = list(range(p)) + [p + j for j in own]
        out.append(slope[kept] @ np.linalg.solve(information[np.ix_(kept, kept)], slope[kept]))
    return out


@pytest.mark.parametrize("transform", ["identity", "log", "km", "rank"])
def test_the_score_test_is_the_textbooks(transform):
    X, y = sample()
    model = CoxPH().fit(X, y)
    event, time = y["event"], y["time"]
    if transform == "km":

        def g(t):
            steps = [1 - (event & (time == s)).sum() / (time >= s).sum() for s in np.unique(time[event]) if s < t]
            return 1 - np.prod(steps)
    elif transform == "rank":

        def g(t):
            return (time[event] < t).sum() + ((time[event] == t).sum() + 1) / 2
    else:
        g = {"identity": lambda t: t, "log": np.log}[transform]
    found = proportional_hazards_test(model, X, y, transform)
    np.testing.assert_allclose([row["chi2"] for row in found.rows], slow_test(model, X, y, g), rtol=1e-7)
    assert [row["df"] for row in found.rows] == [1, 1, 1, 3]
    own = proportional_hazards_test(model, X, y, lambda t: np.array([g(s) for s in t]))
    np.testing.assert_allclose([row["chi2"] for row in own.rows], [row["chi2"] for row in found.rows], rtol=1e-9)


def test_terms_of_several_columns_and_order_and_unit():
    X, y = sample()
    model = CoxPH().fit(X, y, ["a", "b1", "b2"])
    found = proportional_hazards_test(model, X, y, terms=["a", "b", "b"])
    assert [(row["term"], row["df"]) for row in found.rows] == [("a", 1), ("b", 2), ("GLOBAL", 3)]
    assert str(found).splitlines()[0].split() == ["chisq", "df", "p"]
    order = np.random.default_rng(0).permutation(len(y))
    moved = proportional_hazards_test(
        CoxPH().fit(X[order] * 100, y[order]), X[order] * 100, y[order], terms=list("abb")
    )
    np.testing.assert_allclose([r["chi2"] for r in moved.rows], [r["chi2"] for r in found.rows], rtol=1e-8)
    with pytest.raises(DataError, match="no term called 'c'"):
        found["c"]


def test_a_changing_effect_is_found_and_a_steady_one_is_not():
    rng = np.random.default_rng(1)
    small = 0
    for _ in range(200):
        x = rng.normal(size=(120, 1))
        y = outcome(np.ones(120, bool), rng.exponential(np.exp(-0.7 * x[:, 0])))
        small += proportional_hazards_test(CoxPH().fit(x, y), x, y)["GLOBAL"]["p"] < 0.05
    assert 2 <= small <= 22
    x = rng.normal(size=(400, 1))
    y = outcome(np.ones(400, bool), rng.weibull(np.where(x[:, 0] > 0, 3.0, 0.8)))
    assert proportional_hazards_test(CoxPH().fit(x, y), x, y)["GLOBAL"]["p"] < 1e-6


def test_dropped_columns_and_strata():
    X, y = sample()
    more = extras(y)
    wide = np.column_stack([X, X[:, 0], np.ones(len(y))])
    dropped = CoxPH(collinear="drop").fit(wide, y, **more)
    plain = CoxPH().fit(X, y, **more)
    a = proportional_hazards_test(dropped, wide, y, **more)
    b = proportional_hazards_test(plain, X, y, **more)
    np.testing.assert_allclose([r["chi2"] for r in a.rows], [r["chi2"] for r in b.rows], rtol=1e-8)
    np.testing.assert_allclose(
        residuals(dropped, wide, y, "dfbeta", **more)[:, :3], residuals(plain, X, y, "dfbeta", **more), rtol=1e-6,
        atol=1e-10,
    )  # fmt: skip
    with pytest.raises(DataError, match="strata are given"):
        residuals(plain, X, y)


def test_what_is_refused():
    X, y = sample()
    model = CoxPH().fit(X, y)
    with pytest.raises(StudyFileError, match="kind = 'pearson'"):
        residuals(model, X, y, "pearson")
    with pytest.raises(StudyFileError, match="transform = 'sqrt'"):
        proportional_hazards_test(model, X, y, "sqrt")
    with pytest.raises(StudyFileError, match="not one finite number a time"):
        proportional_hazards_test(model, X, y, lambda t: t[:2])
    with pytest.raises(DataError, match="weights are 0"):
        residuals(model, X, y, sample_weight=np.arange(len(y)) > 0)
    with pytest.raises(DataError, match="one outcome a row"):
        residuals(model, X[:-1], y)
    with pytest.raises(DataError, match="2 terms for 3 columns"):
        proportional_hazards_test(model, X, y, terms=["a", "b"])
    one = outcome(np.arange(len(y)) == 3, y["time"])
    with pytest.raises(NotEstimableError, match="fewer than two event times"):
        proportional_hazards_test(CoxPH(penalty=1.0).fit(X, one), X, one)
    y["time"][np.flatnonzero(y["event"])[0]] = 0
    with pytest.raises(StudyFileError, match="time 0"):
        proportional_hazards_test(CoxPH().fit(X, y), X, y, "log")


def profile_value(X, y, ties, firth, j, b):
    """Return the top of the likelihood with one coefficient fixed, by a general optimiser."""
    from scipy.optimize import minimize

    def value(rest):
        beta = np.insert(rest, j, b)
        risk = RiskSets(X, X.mean(axis=0), line_up(read_outcome(y)), None, ties == "efron")
        point = risk.evaluate(beta / risk.unit)
        bonus = 0.5 * np.linalg.slogdet(point.information)[1] if firth else 0.0
        return -(point.loglik + bonus)

    start = np.zeros(X.shape[1] - 1)
    return -minimize(value, start, method="BFGS", options={"gtol": 1e-8}).fun


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("firth", [True, False])
def test_profile_limits_are_where_the_likelihood_has_fallen(ties, firth):
    rng = np.random.default_rng(4)
    X = np.column_stack([rng.normal(size=60), rng.integers(0, 2, 60), rng.normal(size=60)])
    y = np.empty(60, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = rng.random(60) < 0.5, np.ceil(rng.exponential(9 * np.exp(-X[:, 0])))
    model = CoxPH(ties=ties, firth=firth).fit(X, y, ["a", "b", "c"])
    found = profile_intervals(model, X, y)
    for j in range(3):
        top = profile_value(X, y, ties, firth, j, model.coef_[j])
        for limit in found[j]:
            assert top - profile_value(X, y, ties, firth, j, limit) == pytest.approx(1.920729, abs=2e-5)
    np.testing.assert_allclose(found, model.confidence_intervals_, atol=0.35)
    np.testing.assert_array_equal(profile_intervals(model, X, y, ["c", 0]), found[[2, 0]])
    narrow = profile_intervals(model, X, y, level=0.5)
    assert (found[:, 0] < narrow[:, 0]).all()
    assert (narrow[:, 1] < found[:, 1]).all()


def test_profile_limits_with_separation():
    X = np.repeat([0.0, 1.0], 30)[:, None]
    y = np.empty(60, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = (X[:, 0] == 1) & (np.arange(60) % 3 == 0), np.arange(60) % 17 + 1.0
    model = CoxPH(firth=True).fit(X, y)
    low, high = profile_intervals(model, X, y)[0]
    wald = model.confidence_intervals_[0]
    assert np.isfinite([low, high]).all()
    # No event on one side: the likelihood stays high upwards, which Wald's interval cannot see.
    assert high > wald[1]
    assert low > wald[0]
    assert low > 0
    # Without the penalty there is no upper limit.
    plain = CoxPH(firth=True).fit(X, y)
    plain.firth = False
    assert profile_intervals(plain, X, y)[0, 1] == np.inf
    with pytest.raises(NotEstimableError, match="penalty"):
        profile_intervals(CoxPH(penalty=1.0).fit(X, y), X, y)
