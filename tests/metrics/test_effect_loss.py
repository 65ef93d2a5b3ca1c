"""Losses of predicted effects: definitions, what they estimate, coverage, patients and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.effect_loss import ABSOLUTE, dr_loss, effect_share_explained, r_loss
from aimed.metrics.targeting import aipw_scores


def trial(seed, n, noise=1.0):
    """Effect 0.5 + x, in favour of treatment."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=n), rng.integers(0, 2, n)
    y = x + (0.5 + x) * t + noise * rng.normal(size=n)
    return x, t, y, aipw_scores(y, t, x, 0.5 + 2 * x, 0.5, outcome="good")


def test_the_losses_are_what_their_formulas_say():
    x, t, y, scores = trial(0, 60)
    m = 1.5 * x + 0.25
    assert float(dr_loss(scores, x, against=None)) == pytest.approx(np.mean((scores - x) ** 2))
    assert float(dr_loss(scores, x, against=0.3)) == pytest.approx(np.mean((scores - x) ** 2 - (scores - 0.3) ** 2))
    own = np.mean((y - m - (t - 0.4) * x) ** 2)
    given = {"m": m, "propensity": 0.4, "outcome": "good"}
    assert float(r_loss(y, t, x, against=None, **given)) == pytest.approx(own)
    assert float(r_loss(y, t, x, against="zero", **given)) == pytest.approx(own - np.mean((y - m) ** 2))
    # The constant with hindsight is the one no other constant beats.
    constants = np.linspace(-3, 3, 601)
    for best, each in (
        (dr_loss(scores, x), [float(dr_loss(scores, x, against=c)) for c in constants]),
        (r_loss(y, t, x, **given), [float(r_loss(y, t, x, against=c, **given)) for c in constants]),
    ):
        assert float(best) >= max(each) - 1e-12
        assert float(best) == pytest.approx(max(each), abs=1e-4)


def test_harm_and_good_are_mirror_images():
    x, t, y, _ = trial(1, 80)
    good = r_loss(y, t, x, m=x, propensity=0.5, outcome="good")
    harm = r_loss(-y, t, x, m=-x, propensity=0.5, outcome="harm")
    assert float(good) == pytest.approx(float(harm), rel=1e-12)
    assert good.se == pytest.approx(harm.se, rel=1e-12)


def test_the_difference_estimates_that_of_the_errors_against_the_truth_and_its_interval_covers():
    truth = {"right": 0.0 - 1.0, "twice": 1.0 - 1.0, "wrong way": 4.0 - 1.0}
    inside = dict.fromkeys(truth, 0)
    draws = 200
    for seed in range(draws):
        x, _, _, scores = trial(seed, 400)
        for name, slope in (("right", 1.0), ("twice", 2.0), ("wrong way", -1.0)):
            found = dr_loss(scores, 0.5 + slope * x, against=0.5)
            inside[name] += found.lower <= truth[name] <= found.upper
    for name, count in inside.items():
        assert 0.90 <= count / draws <= 0.985, name


def test_the_losses_agree_about_the_better_of_two_models_and_patients_widen_the_interval():
    x, t, y, scores = trial(3, 2000)
    right, wrong = 0.5 + x, 0.5 - x
    assert dr_loss(scores, right).upper < 0 < dr_loss(scores, wrong).lower
    options = {"m": 1.5 * x + 0.25, "propensity": 0.5, "outcome": "good"}
    assert r_loss(y, t, right, **options).upper < 0 < r_loss(y, t, wrong, **options).lower
    twice = {k: np.repeat(v, 2) for k, v in {"s": scores, "b": right}.items()}
    plain = dr_loss(twice["s"], twice["b"])
    by_patient = dr_loss(twice["s"], twice["b"], patient=np.repeat(np.arange(2000), 2))
    assert by_patient.se == pytest.approx(plain.se * math.sqrt(2), rel=1e-9)
    assert by_patient.method.endswith("clustered by patient")


def test_the_share_of_the_variance_of_the_effect():
    x, _, _, scores = trial(4, 20_000)
    of_effect = effect_share_explained(scores, 0.5 + x, variance=1.0)
    assert of_effect.lower < 1.0 <= of_effect.upper + 1e-9
    of_scores = effect_share_explained(scores, 0.5 + x)
    assert float(of_scores) == pytest.approx(1.0 / scores.var(), abs=0.03)
    assert "noise" in of_scores.note
    assert effect_share_explained(scores, 0.5 - x, variance=1.0).upper < 0


def test_a_loss_alone_says_that_it_holds_noise_and_equal_predictions_have_no_interval():
    _, _, _, scores = trial(5, 50)
    assert ABSOLUTE in dr_loss(scores, scores * 0, against=None).note
    same = dr_loss(scores, np.full(50, 0.2), against=0.2)
    assert float(same) == 0
    assert math.isnan(same.lower)
    assert "both predict the same" in same.note


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="not a predictor"):
        dr_loss([1.0, 2.0], [1.0, 2.0], against="median")
    with pytest.raises(DataError, match="against"):
        dr_loss([1.0, 2.0], [1.0, 2.0], against=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="against"):
        effect_share_explained([1.0, 2.0], [1.0, 2.0], against=None)
    with pytest.raises(NotEstimableError, match="do not vary"):
        effect_share_explained([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(NotEstimableError, match="arm without rows"):
        r_loss([1.0, 2.0], [1, 1], [0.1, 0.2])
    with pytest.raises(NotEstimableError, match="propensity"):
        r_loss([1.0, 2.0], [1, 0], [0.1, 0.2], propensity=[1.0, 0.5])
    with pytest.raises(DataError, match="outcome"):
        r_loss([1.0, 2.0], [1, 0], [0.1, 0.2], outcome="bad")
