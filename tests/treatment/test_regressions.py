"""Regressions that know how each row moves them, against refits without the row."""

import numpy as np
import pytest

from aimed.core.errors import NotEstimableError
from aimed.treatment.regressions import (
    fit_regression,
    left_out,
    penalised,
    propensity_regression,
    refuse_separated,
    standardised,
)


def test_columns_that_add_nothing_go_whatever_their_scale():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2)) * [1e-6, 1e6] + [1.0, -3e6]
    table = np.column_stack((x, x[:, 0] * 3e6 + x[:, 1], np.full(50, 0.1)))
    made = standardised(table, np.ones(50, dtype=bool))
    assert (made.used, made.dropped) == ((0, 1), (2, 3))
    assert made.columns.mean(axis=0) == pytest.approx([1, 0, 0], abs=1e-8)
    assert left_out(made, "here") == "columns 2, 3 do not vary or repeat others here and were left out"


@pytest.mark.parametrize("binary", [False, True])
def test_steps_are_those_of_a_fit_without_the_row(worlds, binary):
    X, _, Y, *_ = worlds.world(1, n=300, binary=binary)
    every = np.ones(300, dtype=bool)
    design = standardised(X, every)
    fit = fit_regression(design, Y, every, binary, "outcome regression", "")
    for row in (0, 17, 123):
        without = every.copy()
        without[row] = False
        again = fit_regression(design, Y, without, binary, "outcome regression", "")
        gap = np.linalg.norm(fit.steps[row] - (fit.beta - again.beta))
        assert gap < (1e-10 if not binary else 0.03 * np.linalg.norm(fit.steps[row]))


def test_slopes_are_derivatives(worlds):
    X, _, Y, *_ = worlds.world(2, binary=True)
    every = np.ones(400, dtype=bool)
    design = standardised(X, every)
    fit = fit_regression(design, Y, every, True, "outcome regression", "")
    weights = np.linspace(0, 1, 400)
    slope = fit.slope(design.columns, weights)
    for j in range(4):
        moved = [
            weights
            @ type(fit)(fit.beta + step * np.eye(4)[j], True, fit.information, fit.steps, fit.leverage).predict(
                design.columns
            )
            for step in (1e-5, -1e-5)
        ]
        assert slope[j] == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-6)


def test_statsmodels_logit_agrees(worlds):
    api = pytest.importorskip("statsmodels.api")
    X, T, *_ = worlds.world(3)
    _, e, _ = propensity_regression(X, T == 1)
    assert e == pytest.approx(api.Logit(T, api.add_constant(X)).fit(disp=0, tol=1e-12).predict(), rel=1e-7)


def test_separation_is_named():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    arm = X[:, 1] + 0.1 * rng.normal(size=200) > 0
    with pytest.raises(NotEstimableError, match="column 3 can tell the two arms"):
        propensity_regression(np.column_stack((X, (X[:, 0] > 1) & arm)), arm)
    with pytest.raises(NotEstimableError, match="column 1 can tell the two arms"):
        propensity_regression(X, X[:, 1] > 0.2)
    refuse_separated(X, arm)
    refuse_separated(None, arm)
    with pytest.raises(NotEstimableError, match="column 1 tells the arms apart"):
        refuse_separated(X, X[:, 1] > 0.2)


def test_a_penalty_is_taken_only_where_outcomes_are_separated(worlds):
    X, _, Y, *_ = worlds.world(4, n=300, binary=True)
    every = np.ones(300, dtype=bool)
    design = standardised(X, every)
    plain = fit_regression(design, Y, every, True, "outcome regression", "")
    asked = fit_regression(design, Y, every, True, "outcome regression", "", free=1)
    assert (asked.beta == plain.beta).all()
    assert (asked.penalised, penalised(asked, "here")) == (0, "")


def test_the_penalised_fit_is_that_of_scikit_learn_and_keeps_the_mean(worlds):
    from sklearn.linear_model import LogisticRegression

    X, _, Y, *_ = worlds.world(4, n=300, binary=True)
    rare = np.arange(300) < 3
    Y[rare] = 0
    every = np.ones(300, dtype=bool)
    design = standardised(np.column_stack((X, rare)), every)
    with pytest.raises(NotEstimableError, match="column 3"):
        fit_regression(design, np.where(rare, 0, np.maximum(Y, X[:, 0] > 0)) * ~rare, every, True, "x", "", "arms")
    fit = fit_regression(design, Y, every, True, "outcome regression", "", free=1)
    peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(design.columns[:, 1:], Y)
    assert fit.penalised == 4
    assert fit.beta == pytest.approx(np.append(peer.intercept_, peer.coef_[0]), abs=1e-5)
    assert fit.predict(design.columns).mean() == pytest.approx(Y.mean(), rel=1e-10)
    # As the penalty goes, risks of the others go to those of a fit without the rare level.
    weak = fit_regression(design, Y, every, True, "outcome regression", "", free=1, ridge=1e-6)
    others = standardised(X, ~rare)
    alone = fit_regression(others, Y, ~rare, True, "outcome regression", "")
    assert weak.predict(design.columns)[~rare] == pytest.approx(alone.predict(others.columns)[~rare], abs=1e-4)
    assert weak.predict(design.columns)[rare].max() < 1e-3


def test_an_outcome_under_another_name_is_refused_whatever_the_penalty():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    every = np.ones(200, dtype=bool)
    with pytest.raises(NotEstimableError, match="column 1 can tell the two outcomes"):
        fit_regression(standardised(X, every), (X[:, 1] > 0.2) * 1.0, every, True, "regression", "", free=1)
