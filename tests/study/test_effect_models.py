"""Learners that a study names: those that adjust for risk alone are made doubly robust in records."""

from __future__ import annotations

import pytest

from aimed.study.effect_models import learner_named

RECORDS = (("ratio = [1, 1]\n", ""), ('"randomised"', '"observational"'))


@pytest.mark.parametrize(("changes", "expected"), [((), False), (RECORDS, True)])
def test_risk_based_effects_are_doubly_robust_in_records(trials, changes, expected):
    spec = trials.made("binary", *changes, n=60)[0]
    assert learner_named(spec, "risk_based").doubly_robust is expected


def test_what_the_study_file_says_stands(trials):
    said = ('candidates = ["effect_model"]', 'candidates = ["risk_based"]\nparameters.risk_based.doubly_robust = false')
    spec = trials.made("binary", *RECORDS, said, n=60)[0]
    assert learner_named(spec, "risk_based").doubly_robust is False
