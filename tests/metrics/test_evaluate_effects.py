"""The evaluation of predicted effects: against the single metrics, comparators, one prediction for all, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.benefit import CAUTION, c_for_benefit, calibration_for_benefit
from aimed.metrics.effect_loss import dr_loss, r_loss
from aimed.metrics.evaluate_effects import MEASURES, evaluate_effects
from aimed.metrics.heterogeneity import best_linear_predictor, group_effects
from aimed.metrics.targeting import aipw_scores, rate


def binary_trial(seed=0, n=900, strength=0.3):
    """Outcome 1 is bad; the effect on its risk falls along x."""
    rng = np.random.default_rng(seed)
    x, t = rng.uniform(-1, 1, n), rng.integers(0, 2, n)
    effect = -0.1 - strength * x
    y = (rng.random(n) < 0.5 + t * effect).astype(float)
    return {"Y": y, "T": t, "effect": effect, "covariates": x[:, None]}


@pytest.fixture(scope="module")
def trial():
    return binary_trial()


@pytest.fixture(scope="module")
def block(trial):
    return evaluate_effects(
        **trial, propensity=0.5, draws=100, comparators={"constant_effect": -0.1, "zero_effect": 0.0}
    )


def test_every_measure_is_there_and_the_block_is_json(block):
    assert list(block["measures"]) == list(MEASURES)
    for name, found in block["measures"].items():
        assert found["name"] == name
        assert found["value"] is not None, name
        assert found["lower"] <= found["value"] <= found["upper"], name
        assert found["n"] == 900
    json.dumps(block, allow_nan=False)


def test_the_measures_are_those_of_the_single_metrics(trial, block):
    y, t, benefit = trial["Y"], trial["T"], -trial["effect"]
    scores = aipw_scores(y, t, propensity=0.5)
    want = {
        "autoc": rate(scores, benefit),
        "qini": rate(scores, benefit, target="QINI"),
        "best_linear_predictor": best_linear_predictor(scores, benefit).estimate,
        "group_effects": group_effects(scores, benefit).estimate,
        "benefit_slope": calibration_for_benefit(y, t, benefit).slope,
        "e_avg_for_benefit": calibration_for_benefit(y, t, benefit).estimate,
        "dr_loss": dr_loss(scores, benefit),
        "r_loss": r_loss(y, t, benefit, propensity=0.5),
    }
    for name, found in want.items():
        mine = block["measures"][name]
        assert (mine["value"], mine["lower"], mine["upper"]) == (float(found), found.lower, found.upper), name
    pairs = c_for_benefit(y, t, benefit, method="bootstrap", draws=100)
    assert block["measures"]["c_for_benefit"]["value"] == float(pairs)
    assert block["measures"]["c_for_benefit"]["lower"] == pairs.lower
    assert CAUTION in block["measures"]["c_for_benefit"]["note"]
    average = block["measures"]["average_effect"]
    assert average["value"] == pytest.approx(-scores.mean())
    # Without outcome models the difference of the arms has the error of the two arms.
    arms = [y[t == k] for k in (0, 1)]
    plain = np.sqrt(sum(a.var() / a.size for a in arms))
    assert (average["upper"] - average["lower"]) / 2 / 1.959964 == pytest.approx(plain, rel=0.02)


def test_a_good_model_is_better_than_both_comparators_and_a_bad_one_is_not(trial):
    both = {"constant_effect": -0.1, "zero_effect": 0.0}
    good = evaluate_effects(**trial, propensity=0.5, draws=0, comparators=both)
    bad = evaluate_effects(**trial | {"effect": -2 - trial["effect"]}, propensity=0.5, draws=0, comparators=both)
    for name in both:
        for loss in ("dr_loss", "r_loss"):
            assert good["differences"][name][loss]["upper"] < 0 < bad["differences"][name][loss]["lower"]
            assert good["differences"][name][loss]["against"] == name
        # One effect for all ranks nobody: the gain over it is the RATE itself.
        assert good["differences"][name]["autoc"]["value"] == good["measures"]["autoc"]["value"]
    assert good["differences"]["constant_effect"]["policy_value"]["value"] > 0
    assert good["heterogeneity"]["conclusion"] == "evidence of heterogeneity"
    assert "wrong way round" in bad["heterogeneity"]["words"]
    assert good["comparators"]["constant_effect"]["mean_prediction"]["value"] == pytest.approx(-0.1)


def test_a_comparator_that_ranks_is_compared_in_its_ranking_too(trial):
    block = evaluate_effects(
        **trial, propensity=0.5, draws=0, comparators={"backwards": -0.2 - trial["effect"], "same": trial["effect"]}
    )
    scores = aipw_scores(trial["Y"], trial["T"], propensity=0.5)
    gap = rate(scores, -trial["effect"]).value - rate(scores, trial["effect"]).value
    assert block["differences"]["backwards"]["autoc"]["value"] == pytest.approx(gap)
    assert block["differences"]["backwards"]["autoc"]["lower"] > 0
    assert "move together" in block["differences"]["same"]["autoc"]["note"]


@pytest.mark.parametrize("outcome", ["binary", "continuous"])
@pytest.mark.parametrize("constant", [-0.1, 0.0])
def test_one_prediction_for_all_is_evaluated_and_says_what_it_cannot_tell(trial, outcome, constant):
    rng = np.random.default_rng(1)
    y = trial["Y"] if outcome == "binary" else trial["Y"] + rng.normal(size=900)
    block = evaluate_effects(
        y, trial["T"], np.full(900, constant), propensity=0.5, draws=0, comparators={"zero_effect": 0}
    )
    for name in ("autoc", "qini", "best_linear_predictor", "group_effects", "calibration_test", "c_for_benefit"):
        assert block["measures"][name]["value"] is None
    assert "one predicted effect for all" in block["measures"]["autoc"]["note"]
    assert block["measures"]["average_effect"]["value"] is not None
    assert block["measures"]["dr_loss"]["value"] is not None
    assert block["constant_prediction"]
    assert block["curves"]["toc"] is None
    assert block["heterogeneity"]["conclusion"] == "not enough evidence to tell"
    json.dumps(block, allow_nan=False)


def test_a_pseudo_outcome_leaves_out_the_pairs_and_says_why():
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=600), rng.integers(0, 2, 600)
    y = 2 + x + t * x + rng.normal(size=600)
    block = evaluate_effects(y, t, x, better="higher", propensity=0.5, mu0=2 + x, mu1=2 + 2 * x)
    concordance = block["measures"]["c_for_benefit"]
    assert concordance["value"] is None
    assert "not 0/1" in concordance["note"]
    slope = block["measures"]["benefit_slope"]
    assert slope["value"] == block["measures"]["best_linear_predictor"]["value"]
    assert slope["lower"] < 1 < slope["upper"]
    groups = block["curves"]["calibration"]["groups"]
    assert len(groups) == 5
    assert groups[0]["value"] < groups[-1]["value"]
    assert block["caution"] is None
    json.dumps(block, allow_nan=False)


def test_outcome_models_narrow_the_intervals():
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=800), rng.integers(0, 2, 800)
    y = 3 * x + t + rng.normal(size=800)
    width = []
    for models in ({}, {"mu0": 3 * x, "mu1": 3 * x + 1}):
        found = evaluate_effects(y, t, x, better="higher", propensity=0.5, draws=0, **models)["measures"]
        width.append([found[k]["upper"] - found[k]["lower"] for k in ("average_effect", "calibration_test")])
    assert (np.array(width[1]) < 0.7 * np.array(width[0])).all()


def test_turning_the_outcome_turns_the_effect_and_nothing_else(trial):
    y, t, effect = trial["Y"], trial["T"], trial["effect"]
    lower = evaluate_effects(y, t, effect, better="lower", propensity=0.5, draws=0)
    higher = evaluate_effects(1 - y, t, -effect, better="higher", propensity=0.5, draws=0)
    for name in ("autoc", "qini", "dr_loss", "r_loss", "c_for_benefit", "benefit_slope", "best_linear_predictor"):
        assert lower["measures"][name]["value"] == pytest.approx(higher["measures"][name]["value"], abs=1e-12)
    assert lower["measures"]["average_effect"]["value"] == pytest.approx(-higher["measures"]["average_effect"]["value"])
    for one, two in zip(lower["curves"]["groups"]["points"], higher["curves"]["groups"]["points"], strict=True):
        assert (one["effect"], one["lower"]) == pytest.approx((-two["effect"], -two["upper"]))
        assert one["lower"] < one["effect"] < one["upper"]


def test_curves_are_thin_enough_to_draw():
    trial = binary_trial(4, n=5000)
    curves = evaluate_effects(**trial, propensity=0.5, draws=0)["curves"]
    assert len(curves["toc"]) <= 101
    assert len(curves["qini"]) <= 101
    assert curves["toc"][-1]["x"] == 1.0
    assert curves["toc"][-1]["value"] == 0.0
    assert curves["qini"][0] == {"x": 0.0, "value": 0.0, "random": 0.0}
    assert curves["qini"][-1]["value"] == pytest.approx(curves["qini"][-1]["random"])
    assert len(curves["calibration"]["curve"]) <= 101


def test_rows_of_one_patient_widen_every_interval(trial):
    twice = {k: np.repeat(v, 2, axis=0) for k, v in trial.items()}
    who = np.repeat(np.arange(900), 2)
    plain = evaluate_effects(**twice, propensity=0.5, draws=0)["measures"]
    known = evaluate_effects(**twice, propensity=0.5, draws=0, patient=who)["measures"]
    for name in ("average_effect", "autoc", "qini", "best_linear_predictor", "dr_loss", "r_loss", "group_effects"):
        ratio = (known[name]["upper"] - known[name]["lower"]) / (plain[name]["upper"] - plain[name]["lower"])
        assert 1.3 < ratio < 1.5, name


@pytest.mark.parametrize("n", [8, 25])
def test_few_rows_give_reasons_instead_of_nan(n):
    trial = binary_trial(5, n=n)
    block = evaluate_effects(**trial, propensity=0.5, draws=0, comparators={"zero_effect": 0.0})
    json.dumps(block, allow_nan=False)
    for name, found in block["measures"].items():
        assert found["value"] is not None or found["note"], name
    assert block["heterogeneity"]["conclusion"] != "no evidence of heterogeneity"


def test_an_outcome_that_never_happens_gives_reasons():
    trial = binary_trial(6, n=100)
    block = evaluate_effects(
        np.zeros(100), trial["T"], trial["effect"], propensity=0.5, draws=0, comparators={"zero_effect": 0.0}
    )
    json.dumps(block, allow_nan=False)
    assert "same observed benefit" in block["measures"]["c_for_benefit"]["note"]
    assert block["heterogeneity"]["conclusion"] != "evidence of heterogeneity"


def test_bad_input_is_refused(trial):
    y, t, effect = trial["Y"], trial["T"], trial["effect"]
    with pytest.raises(DataError, match="better"):
        evaluate_effects(y, t, effect, better="less")
    with pytest.raises(DataError, match="effect"):
        evaluate_effects(y, t, effect[:-1])
    with pytest.raises(DataError, match="comparator 'other'"):
        evaluate_effects(y, t, effect, comparators={"other": effect[:-1]})
    with pytest.raises(NotEstimableError, match="row"):
        evaluate_effects(y, np.ones(900), effect, propensity=0.5)
    with pytest.raises(NotEstimableError, match="propensity"):
        evaluate_effects(y, t, effect, propensity=1.0)
    with pytest.raises(DataError, match="neither 0 nor 1"):
        evaluate_effects(y, t + 1, effect)


def test_pairs_are_not_matched_where_chance_did_not_make_the_arms_alike():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    e = 1 / (1 + np.exp(-1.5 * x))
    T = (rng.random(1500) < e).astype(int)
    Y = (rng.random(1500) < 1 / (1 + np.exp(-x))).astype(float)
    mu = 1 / (1 + np.exp(-x))
    found = evaluate_effects(Y, T, 0.02 * x, propensity=e, mu0=mu, mu1=mu, draws=0)
    for name in ("c_for_benefit", "e_avg_for_benefit"):
        assert found["measures"][name]["value"] is None
        assert "differ in more than treatment" in found["measures"][name]["note"]
    # No effect: pairs would find the confounding, scores do not.
    gap = found["measures"]["benefit_difference"]
    assert gap["lower"] < 0 < gap["upper"]
    assert found["caution"] is None
    trial = evaluate_effects(Y, T, 0.02 * x, propensity=np.full(1500, 0.5), draws=0)
    assert trial["measures"]["c_for_benefit"]["value"] is not None
    assert trial["measures"]["benefit_difference"]["upper"] < -0.1
