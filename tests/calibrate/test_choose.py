"""Choosing a calibrator: honest folds, the simplest of equals, and a reason for each method left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit

from aimed.calibrate import choose as module
from aimed.calibrate.choose import choose, restore, state_of
from aimed.core import DataError, UnknownNameError


def sample(n, seed, bend):
    rng = np.random.default_rng(seed)
    risk = expit(rng.normal(-0.5, 1.3, n))
    return risk, (rng.random(n) < bend(risk)).astype(np.int8)


def test_a_calibrated_model_is_left_alone():
    names = [choose(*sample(500, seed, lambda p: p), np.arange(500)).name for seed in range(20)]
    assert names.count("none") >= 17


def test_overconfidence_is_mended_by_temperature():
    risk, y = sample(3000, 2, lambda p: expit(0.4 * logit(p)))
    chosen = choose(risk, y, np.arange(3000))
    assert chosen.name == "temperature"
    assert chosen.calibrator.slope == pytest.approx(0.4, abs=0.08)


def test_risks_that_are_all_too_high_are_mended_by_sigmoid():
    risk, y = sample(3000, 3, lambda p: expit(logit(p) - 1.2))
    chosen = choose(risk, y, np.arange(3000))
    assert chosen.name == "sigmoid"
    assert chosen.calibrator.intercept == pytest.approx(-1.2, abs=0.2)


def test_a_step_is_mended_by_isotonic():
    risk, y = sample(6000, 4, lambda p: np.where(p < 0.5, 0.1, 0.55))
    assert choose(risk, y, np.arange(6000)).name == "isotonic"


def test_isotonic_is_not_offered_with_few_events_and_says_so():
    risk, y = sample(250, 5, lambda p: p * 0.5)
    chosen = choose(risk, y, np.arange(250))
    assert "isotonic" not in chosen.scores
    assert "needs 100 events and 100 non-events" in chosen.left_out["isotonic"]
    assert chosen.left_out["isotonic"] in chosen.sentence


def test_scores_are_the_held_out_log_loss():
    risk, y = sample(400, 6, lambda p: p)
    chosen = choose(risk, y, np.arange(400), methods=["none"])
    assert chosen.scores["none"] == pytest.approx(-np.mean(np.where(y == 1, np.log(risk), np.log(1 - risk))))


def test_held_out_rows_never_reach_the_fit(monkeypatch):
    """Each score must come from a calibrator that saw no row of the patients it judges."""
    risk, y = sample(300, 7, lambda p: p)
    patient = np.repeat(np.arange(100), 3)
    seen = []
    real = module._held_out

    def spy(kind, p, outcome, parts):
        seen.append(parts)
        return real(kind, p, outcome, parts)

    monkeypatch.setattr(module, "_held_out", spy)
    choose(risk, y, patient, methods=["none", "sigmoid"])
    assert len(seen) == 2
    for parts in seen:
        assert len(parts) == 5
        assert sorted(np.concatenate([fold.tune for fold in parts])) == list(range(300))
        for fold in parts:
            assert not set(patient[fold.fit]) & set(patient[fold.tune])


def test_the_unit_of_the_standard_error_is_the_patient():
    difference = np.array([1.0, 1.0, -1.0, -1.0])
    alone = module._standard_error(difference, np.arange(4))
    paired = module._standard_error(difference, np.array([0, 0, 1, 1]))
    assert paired > 1.2 * alone


def test_repeats_exactly_and_rows_without_a_prediction_are_left_out():
    risk, y = sample(400, 8, lambda p: p)
    first = choose(risk, y, np.arange(400), seed=4)
    more = choose(np.r_[risk, np.nan], np.r_[y, 1], np.arange(401), seed=4)
    assert first.scores == more.scores == choose(risk, y, np.arange(400), seed=4).scores


def test_separated_risks_fall_back_to_none_with_the_reason():
    risk, y = np.r_[np.full(20, 0.1), np.full(20, 0.9)], np.r_[np.zeros(20), np.ones(20)]
    chosen = choose(risk, y, np.arange(40))
    assert chosen.name == "none"
    assert set(chosen.left_out) == {"temperature", "sigmoid", "isotonic"}


def test_no_method_that_fits_is_an_error_with_a_way_out():
    with pytest.raises(DataError, match="add 'none'"):
        choose(np.linspace(0.1, 0.9, 10), np.zeros(10), np.arange(10))


def test_unknown_method_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'sigmoid'"):
        choose([0.2, 0.3], [0, 1], [1, 2], methods=["sigmoidal"])


def test_shapes_are_checked():
    with pytest.raises(DataError, match="shapes"):
        choose([0.2, 0.3], [0, 1, 1], [1, 2])


@pytest.mark.parametrize("bad", [([0.2, 1.3], [0, 1]), ([0.2, 0.3], [0, 2])])
def test_values_are_checked(bad):
    with pytest.raises(DataError):
        choose(*bad, [1, 2])


def test_state_round_trip():
    risk, y = sample(600, 9, lambda p: expit(0.5 * logit(p) - 1))
    chosen = choose(risk, y, np.arange(600))
    again = restore(json.loads(json.dumps(state_of(chosen.calibrator))))
    np.testing.assert_array_equal(again.transform(risk), chosen.calibrator.transform(risk))


def test_a_foreign_calibrator_has_no_state():
    with pytest.raises(DataError, match="not in the catalogue"):
        state_of(object())
