"""Hazard ratios over follow-up: the tests are those of the Cox model, the curves find what was simulated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aimed.core import DataError
from aimed.fit.spline import knots_of, spline_basis
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_diagnostics import proportional_hazards_test, schoenfeld_residuals
from aimed.prognosis.cox_over_time import hazards_over_time, holm


def rows(n=1500, seed=1, fades=True):
    """Column 1 has the log hazard ratio 1.5 before time 1 and, where it fades, 0 after it."""
    rng = np.random.default_rng(seed)
    ward = rng.integers(0, 3, n)
    X = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n), ward == 1, ward == 2]).astype(float)
    base = 0.5 * np.exp(0.5 * X[:, 0] + 0.4 * X[:, 2])
    early, late = base * np.exp(1.5 * X[:, 1]), base * np.exp((0.0 if fades else 1.5) * X[:, 1])
    drawn = rng.exponential(size=n)
    death = np.where(drawn < early, drawn / early, 1 + (drawn - early) / late)
    lost = rng.uniform(0.5, 4, n)
    y = np.empty(n, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = death <= lost, np.minimum(death, lost)
    return X, y


TERMS = ["age", "sex", "ward", "ward"]


def test_tests_are_those_of_the_cox_model_with_columns_of_a_term_together():
    X, y = rows(400)
    found = hazards_over_time(X, y, TERMS)
    known = proportional_hazards_test(CoxPH().fit(X, y), X, y, "km", terms=TERMS)
    for row in found["terms"]:
        for key in ("chi2", "df", "p"):
            assert row[key] == known[row["term"]][key]
    assert [t["df"] for t in found["terms"]] == [1, 1, 2]
    assert found["global"]["chi2"] == known["GLOBAL"]["chi2"]
    assert [t["p_holm"] for t in found["terms"]] == pytest.approx(holm([t["p"] for t in found["terms"]]))
    assert found["events"] == y["event"].sum()


def test_rho_is_the_correlation_with_scaled_time():
    X, y = rows(400)
    found = hazards_over_time(X, y, TERMS)
    residuals = schoenfeld_residuals(CoxPH().fit(X, y), X, y)
    # The Kaplan-Meier curve just before each event, by its definition.
    survival = np.array(
        [
            np.prod([1 - ((y["time"] == t) & y["event"]).sum() / (y["time"] >= t).sum()
                     for t in np.unique(y["time"][y["event"]]) if t < at])
            for at in residuals.times
        ]
    )  # fmt: skip
    expected = stats.pearsonr(residuals.scaled[:, 1], 1 - survival).statistic
    assert found["terms"][1]["rho"] == pytest.approx(expected, abs=1e-10)


def test_the_curve_finds_an_effect_that_fades():
    found = hazards_over_time(*rows(3000), TERMS)
    assert found["terms"][1]["p_holm"] < 1e-6
    curve = found["curves"][0]
    assert curve["term"] == "sex"
    assert curve["scale"] == "ratio"
    at = np.interp([0.4, 2.5], curve["times"], curve["value"])
    assert at[0] == pytest.approx(np.exp(1.5), rel=0.35)
    assert at[1] == pytest.approx(1.0, rel=0.35)
    assert all(a <= b <= c for a, b, c in zip(curve["lower"], curve["value"], curve["upper"], strict=True))


def test_bands_hold_a_constant_effect_about_as_often_as_they_say():
    inside = []
    for seed in range(40):
        found = hazards_over_time(*rows(400, seed, fades=False), TERMS, curves=3)
        curve = next(c for c in found["curves"] if c["term"] == "sex")
        k = len(curve["times"]) // 2
        inside.append(curve["lower"][k] <= np.exp(1.5) <= curve["upper"][k])
    # At 95 %, fewer than 33 of 40 happen less often than once in 3,000 times.
    assert sum(inside) >= 33


def test_the_curve_is_the_least_squares_spline_of_the_residuals():
    X, y = rows(500)
    curve = next(
        c for c in hazards_over_time(X, y, TERMS, factors=[2.0, 1.0, 1.0, 1.0])["curves"] if c["term"] == "age"
    )
    residuals = schoenfeld_residuals(CoxPH().fit(X, y), X, y)
    order = np.sort(y["time"][y["event"]])
    # Without ties the curve falls by the share 1 / at risk at each event.
    at_risk = (y["time"][None, :] >= order[:, None]).sum(axis=1)
    before = 1 - np.r_[1.0, np.cumprod(1 - 1 / at_risk)][:-1]
    g = before[np.searchsorted(order, residuals.times)]
    knots = knots_of(g, 4)
    basis = np.column_stack([np.ones(g.size), spline_basis(g, knots)])
    weights = np.linalg.lstsq(basis, residuals.scaled[:, 0], rcond=None)[0]
    at = np.interp(curve["times"], order, before)
    expected = np.column_stack([np.ones(at.size), spline_basis(at, knots)]) @ weights
    np.testing.assert_allclose(np.log(curve["value"]), 2.0 * expected, atol=1e-6)


def test_a_term_of_several_columns_is_a_share_of_its_effect():
    X, y = rows(3000)
    found = hazards_over_time(X, y, TERMS, curves=3)
    curve = next(c for c in found["curves"] if c["term"] == "ward")
    assert curve["scale"] == "share"
    assert curve["constant"] == 1.0
    # One column alone, taken as a term of several parts, has its own curve over its coefficient.
    halves = np.column_stack([X[:, 0], X[:, 0] + X[:, 1], X[:, 1]])[:, :2]
    both = hazards_over_time(halves, y, ["a", "a"])["curves"][0]
    assert np.isfinite(both["value"]).all()
    assert np.interp(2.5, both["times"], both["value"]) < np.interp(0.4, both["times"], both["value"])


def test_no_time_of_one_patient_and_no_residual_leaves():
    X, y = rows(200)
    found = hazards_over_time(X, y, TERMS)
    times = np.sort(y["time"][y["event"]])
    for curve in found["curves"]:
        assert (times <= curve["times"][0] + 0.005).sum() >= 5
        assert (times >= curve["times"][-1] - 0.005).sum() >= 5
        assert len(curve["times"]) <= 40
    assert set(found) == {"transform", "rows", "events", "df", "level", "terms", "global", "curves", "reason"}


def test_few_events_have_tests_but_no_curve():
    X, y = rows(60)
    y["event"][np.flatnonzero(y["event"])[15:]] = False
    found = hazards_over_time(X[:, :2], y, TERMS[:2])
    assert found["reason"] is None
    assert found["terms"]
    assert found["curves"] == []


@pytest.mark.parametrize("spoil", ["censored", "separated", "one event", "constant"])
def test_what_cannot_be_tested_says_why(spoil):
    X, y = rows(100)
    X = X[:, :1]
    if spoil == "censored":
        y["event"] = False
    elif spoil == "one event":
        y["event"] = np.arange(100) == 50
    elif spoil == "separated":
        X = y["event"][:, None].astype(float)
    else:
        X = np.ones((100, 1))
    found = hazards_over_time(X, y, ["x"])
    assert found["reason"]
    assert found["terms"] == []
    assert found["curves"] == []


def test_a_combination_of_columns_is_left_out_of_the_test():
    X, y = rows(300)
    found = hazards_over_time(np.column_stack([X[:, 0], X[:, 1], X[:, 0] + X[:, 1]]), y, ["a", "b", "c"])
    assert [t["term"] for t in found["terms"]] == ["a", "b"]
    assert found["df"] == 2


def test_terms_must_fit_the_columns():
    X, y = rows(50)
    with pytest.raises(DataError, match="one a column"):
        hazards_over_time(X, y, ["a"])
    assert hazards_over_time(np.zeros((50, 201)), y, ["a"] * 201)["reason"].startswith("the model has 201 columns")
