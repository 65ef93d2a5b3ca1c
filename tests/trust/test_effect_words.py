"""Words for a study of effects: figures with what they rest on, strategies by their names, conclusions in words."""

import pytest

from aimed.trust import effect_words as effects


def test_a_figure_has_interval_n_and_only_events_that_were_counted():
    m = {"name": "risk_difference", "value": -0.1, "lower": -0.2, "upper": -0.01, "n": 1200, "events": 0, "level": 0.9}
    assert effects.figure(m) == "-0.100 (90% interval -0.200 to -0.010; n = 1,200)"
    assert effects.figure(m, 0).endswith("n = 1,200, 0 events)")
    assert effects.figure({**m, "events": 1}).endswith("n = 1,200, 1 event)")
    assert effects.figure({**m, "lower": None}) == "-0.100 (no interval; n = 1,200)"
    assert effects.figure({**m, "value": None}) == "not estimable (n = 1,200)"
    assert effects.said(m).startswith("risk difference -0.100")


def test_a_number_needed_is_said_in_the_words_of_its_interval():
    m = {"name": "number_needed_to_treat", "value": 20.0, "lower": 5.0, "upper": -27.0, "n": 90}
    note = "NNTB 20 (95 % interval NNTB 5 to inf to NNTH 27)"
    assert effects.said({**m, "note": note}) == f"number needed to treat: {note}, n = 90"
    assert "not estimable" in effects.said({**m, "note": note, "value": None})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Treatment policy", "treatment policy"),
        ("treatment-policy", "treatment policy"),
        ("while on treatment", "while on treatment"),
        ("principal_stratum strategy", "principal stratum"),
        ("hypothetical", "hypothetical"),
        ("left out", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_strategies_have_the_names_of_the_addendum(given, meant):
    assert effects.strategy({"event": "Rescue", "strategy": given}) == meant


def test_conclusions_are_whole_sentences_for_each_state(trial):
    said = set()
    for state in ("evidence", "no evidence", "not enough evidence"):
        trial["effect"]["heterogeneity"].update(state=state, sentence=None)
        said.add(effects.conclusion(trial))
        assert effects.who_benefits(trial)[-1].endswith(effects.conclusion(trial))
    assert len(said) == 3
    assert sum("the average effect stands for everyone" in text for text in said) == 2
    assert effects.conclusion({}) == ""


def test_an_empty_record_says_nothing():
    for words in (effects.arms, effects.analysed, effects.balance, effects.unseen, effects.rules, effects.placebos):
        assert words({}) == []
    for words in (effects.average, effects.versus, effects.subgroups, effects.trimmed, effects.excluded):
        assert words({}) == ""
    assert effects.primary({}) is None
    assert not effects.of_effects({})


def test_a_share_and_a_mean_are_told_apart_in_the_balance(trial):
    told = effects.balance(trial)
    assert told[0] == "Age (years) 60.0 (12.0) and 59.5 (12.0)"
    assert told[4] == "Sex = male 49.4% and 53.0%"
    trial["effect"]["balance"]["rows"][0]["active"] = {"mean": None, "sd": None}
    assert effects.balance(trial)[0].startswith("Age (years) – and")


def test_the_outcome_has_its_horizon_where_there_is_one(trial, care):
    assert effects.named(trial) == "Death by 1825 days"
    assert effects.named(care) == care["effect"]["estimand"]["outcome"]
