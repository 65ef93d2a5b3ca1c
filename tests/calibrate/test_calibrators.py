"""Every calibrator: probabilities stay probabilities, order is kept, states round-trip, published fits are met."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from aimed.calibrate import CALIBRATORS
from aimed.calibrate.isotonic import Isotonic
from aimed.calibrate.none import NoCalibration
from aimed.calibrate.odds import FLOOR
from aimed.calibrate.sigmoid import Sigmoid
from aimed.calibrate.temperature import Temperature
from aimed.core import DataError, NotEstimableError


def sample(n=600, seed=3, intercept=0.7, slope=0.6):
    rng = np.random.default_rng(seed)
    risk = expit(rng.normal(-1, 1.5, n))
    y = (rng.random(n) < expit(intercept + slope * logit(risk))).astype(np.int8)
    return risk, y


@pytest.mark.parametrize("name", CALIBRATORS)
class TestContract:
    def test_keeps_probabilities_inside_and_in_order(self, name):
        risk, y = sample()
        fitted = CALIBRATORS[name]().fit(risk, y)
        out = fitted.transform(np.linspace(0, 1, 501))
        assert out.min() >= FLOOR
        assert out.max() <= 1 - FLOOR
        assert (np.diff(out) >= 0).all()

    def test_state_survives_json_exactly(self, name):
        risk, y = sample()
        fitted = CALIBRATORS[name]().fit(risk, y)
        again = CALIBRATORS[name].from_state(json.loads(json.dumps(fitted.to_state(), allow_nan=False)))
        np.testing.assert_array_equal(again.transform(risk), fitted.transform(risk))

    def test_weight_two_is_the_row_twice_and_zero_is_the_row_gone(self, name):
        risk, y = sample(200)
        w = np.tile([0, 1, 2, 1], 50)
        weighted = CALIBRATORS[name]().fit(risk, y, weights=w)
        repeated = CALIBRATORS[name]().fit(np.repeat(risk, w), np.repeat(y, w))
        np.testing.assert_allclose(weighted.transform(risk), repeated.transform(risk), rtol=1e-9)

    def test_does_not_change_its_inputs(self, name):
        risk, y = sample(200)
        before = risk.copy(), y.copy()
        CALIBRATORS[name]().fit(risk, y).transform(risk)
        np.testing.assert_array_equal(risk, before[0])
        np.testing.assert_array_equal(y, before[1])

    def test_refuses_one_class_only(self, name):
        with pytest.raises(NotEstimableError, match="0 events in 3 rows"):
            CALIBRATORS[name]().fit([0.1, 0.2, 0.3], [0, 0, 0])

    @pytest.mark.parametrize("bad", [[1.2, 0.3], [float("nan"), 0.3], [-0.1, 0.3]])
    def test_refuses_what_is_no_probability(self, name, bad):
        with pytest.raises(DataError, match="outside"):
            CALIBRATORS[name]().fit(bad, [0, 1])

    def test_empty_in_empty_out(self, name):
        risk, y = sample(200)
        assert CALIBRATORS[name]().fit(risk, y).transform([]).shape == (0,)


def test_none_changes_nothing_but_the_ends():
    np.testing.assert_array_equal(NoCalibration().transform([0.0, 0.25, 1.0]), [FLOOR, 0.25, 1 - FLOOR])


def test_sigmoid_equals_unpenalised_logistic_regression():
    risk, y = sample()
    fitted = Sigmoid().fit(risk, y)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(logit(risk)[:, None], y)
    assert fitted.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-6)
    assert fitted.intercept == pytest.approx(oracle.intercept_[0], rel=1e-6)


def test_sigmoid_makes_the_training_log_odds_calibrated():
    risk, y = sample()
    out = Sigmoid().fit(risk, y).transform(risk)
    # Score equations of the maximum: expected events equal observed ones, in total and along the log odds.
    assert out.sum() == pytest.approx(y.sum(), rel=1e-10)
    assert logit(risk) @ (out - y) == pytest.approx(0, abs=1e-7)


def test_temperature_solves_its_score_equation():
    risk, y = sample(intercept=0.0)
    fitted = Temperature().fit(risk, y)
    assert logit(risk) @ (fitted.transform(risk) - y) == pytest.approx(0, abs=1e-7)
    assert fitted.slope == pytest.approx(0.6, abs=0.2)


def test_sigmoid_meets_platt_scaling_on_the_published_chest_xray_predictions(shared_data):
    """Known result C1W2: LogisticRegression per class on the training predictions, without its penalty here."""
    table = pd.read_csv(shared_data("cxr_nih_eval", "train_preds.csv"))
    checked = 0
    for target in ("Cardiomegaly", "Effusion", "Mass", "Edema"):
        y, risk = table[target].to_numpy(), table[f"{target}_pred"].to_numpy()
        fitted = Sigmoid().fit(risk, y)
        oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(logit(risk)[:, None], y)
        np.testing.assert_allclose(fitted.transform(risk), oracle.predict_proba(logit(risk)[:, None])[:, 1], atol=1e-6)
        checked += 1
    assert checked == 4


@pytest.mark.parametrize("kind", [Sigmoid, Temperature])
def test_separated_risks_have_no_finite_fit(kind):
    with pytest.raises(NotEstimableError):
        kind().fit([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])


def test_sigmoid_refuses_constant_risks():
    with pytest.raises(NotEstimableError, match="overlap"):
        Sigmoid().fit([0.3] * 10, [0, 1] * 5)


@pytest.mark.parametrize("kind", [Sigmoid, Temperature])
def test_a_model_that_ranks_backwards_is_not_turned_round(kind):
    risk, y = sample(slope=-1.0, intercept=0.0)
    with pytest.raises(NotEstimableError, match="not positive"):
        kind().fit(risk, y)


def pool(risk, y):
    """Pool adjacent violators written a second way: greatest slope among all later blocks (max-min formula)."""
    x = np.unique(risk)
    sums = np.array([y[risk == v].sum() for v in x], dtype=float)
    counts = np.array([(risk == v).sum() for v in x], dtype=float)
    k = x.size
    mean = np.array([[sums[i : j + 1].sum() / counts[i : j + 1].sum() if j >= i else np.nan for j in range(k)]
                     for i in range(k)])  # fmt: skip
    return x, np.array([max(min(mean[i, j] for j in range(b, k)) for i in range(b + 1)) for b in range(k)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=25))
def test_isotonic_equals_the_max_min_formula_with_ties(rows):
    risk = np.array([r for r, _ in rows]) / 8
    y = np.array([e for _, e in rows]).astype(float)
    if y.min() == y.max():
        y[0] = 1 - y[0]
    x, expected = pool(risk, y)
    np.testing.assert_allclose(Isotonic().fit(risk, y).transform(x), np.clip(expected, FLOOR, 1 - FLOOR), atol=1e-12)


@pytest.mark.parametrize(
    "state",
    [
        {"knots": [0.2, 0.1], "values": [0.1, 0.2]},
        {"knots": [0.1, 0.2], "values": [0.2, 0.1]},
        {"knots": [0.1, 0.2], "values": [0.2, 1.5]},
        {"knots": [0.1, 0.2], "values": [0.2]},
        {"knots": [], "values": []},
        {"knots": [0.1, float("nan")], "values": [0.1, 0.2]},
    ],
)
def test_isotonic_refuses_a_state_that_is_no_rising_curve(state):
    with pytest.raises(DataError):
        Isotonic.from_state(state)
