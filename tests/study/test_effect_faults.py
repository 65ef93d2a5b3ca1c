"""Studies of effects as strangers write them: each case once ended in a wrong word, a wrong sign or a dead end."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest

from aimed.bundle.allow import dump_estimators, load_estimators
from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.report.sections.model import build as build_model
from aimed.study import effect_stages
from aimed.study.effect_average import Whole, primary_estimator
from aimed.study.effect_data import EffectData, better_effect
from aimed.study.effect_evidence import _as_observed, _policy_sentence
from aimed.study.effect_patients import _counts, _statement
from aimed.study.effect_stages import benefit_of
from aimed.study.spec import read_spec
from aimed.treatment import LEARNERS
from aimed.treatment.base_learners import fit_model, outcome_model

BOTH = 'adjust = ["age", "marker", "sex"]\nmodifiers = ["age", "marker"]\n'
RATIO = "ratio = [1, 1]\n"
TRIAL = 'assignment = "randomised"\nratio = [1, 1]\n'
RECORDS = 'assignment = "observational"\n'
ESTIMAND = "[predictors]\n"


def asked(contrast, better="lower", **more):
    told = "".join(f'{k} = "{v}"\n' for k, v in more.items())
    return (ESTIMAND, f'[estimand]\ncontrast = "{contrast}"\nbetter = "{better}"\n{told}[predictors]\n')


@pytest.mark.parametrize(
    ("contrast", "better", "good"),
    [
        ("risk_difference", "lower", "lower"),
        ("risk_difference", "higher", "higher"),
        ("rmst_difference", "lower", "higher"),
        ("rmst_difference", "higher", "lower"),
        ("hazard_ratio", "lower", "lower"),
    ],
)
def test_more_time_without_a_bad_event_is_a_benefit(trials, contrast, better, good):
    spec = read_spec(trials.study("survival", asked(contrast, better)))
    assert better_effect(spec) == good
    assert benefit_of(spec, np.array([3.0]))[0] == (3.0 if good == "higher" else -3.0)


def test_quarters_of_risk_and_words_follow_the_time_without_the_event(trials):
    spec, cohort, split = trials.made("survival", asked("rmst_difference"), n=300)
    whole = Whole(spec, cohort, split)
    assert "difference of restricted mean time without death by 300 days" in whole.estimand()["sentence"]
    # The drug prevents deaths: more time without one.
    assert whole.crude is not None
    assert float(whole.crude.rmst.difference) > 0


class _Model:
    of_risk, unit, horizon = False, "day", 300.0

    def __init__(self, scale):
        self.scale = scale


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ("rmst_difference", "changes the mean time without death by 300 days by +12 days (95 % interval 2 to 22)."),
        ("time_lost_difference", "changes the mean time lost to death by 300 days by +12 days"),
    ],
)
def test_a_patient_gains_time_and_not_death(trials, scale, words):
    spec = read_spec(trials.study("survival"))
    labels = {"active": "drug", "control": "placebo"}
    said = _statement(spec, _Model(scale), labels, 12.0, 2.0, 22.0, 200.0, 212.0)["sentence"]
    assert f"drug instead of placebo {words}" in said


def test_intervals_of_patients_name_the_smaller_number_first():
    assert _counts(-48.0, -7.0) == "7 to 48 more"
    assert _counts(0.0, 19.0) == "0 to 19 fewer"
    assert _counts(-5.0, 19.0) == "5 more to 19 fewer"


@pytest.mark.parametrize(
    ("control", "active", "words"),
    [
        (0.094, 0.366, "about 9 have the event (death) with placebo and 37 with drug: about 28 more; "),
        (0.366, 0.094, "about 37 have the event (death) with placebo and 9 with drug: about 28 fewer; "),
        (0.094, 0.087, "about 9 have the event (death) with placebo and 9 with drug: about as many; "),
    ],
)
def test_three_rounded_counts_agree_and_the_interval_holds_the_third(trials, control, active, words):
    model = _Model("risk_difference")
    model.of_risk, model.horizon = True, None
    effect = active - control
    spec, labels = read_spec(trials.study("binary")), {"active": "drug", "control": "placebo"}
    found = _statement(spec, model, labels, effect, effect - 1e-3, effect + 1e-3, control, active)
    assert words in found["sentence"]
    assert found["fewer"] == pytest.approx(-100 * effect)
    if abs(effect) > 0.2:
        assert "interval 27 to 28" in found["sentence"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["risk_based", "x_learner"])
def test_every_part_of_a_learner_can_be_packed(binary, name):
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(120, 2)), np.arange(120) % 2
    Y = (rng.random(120) < 0.4).astype(float) if binary else X[:, 0] + T + rng.normal(size=120)
    parts = LEARNERS[name]().fit(Y, T, X=X, propensity=0.5).estimators()
    parts["baseline"] = fit_model(outcome_model("linear", binary, 0), X, Y, np.ones(120))
    again = load_estimators(dump_estimators(parts))
    assert again["baseline"].predict(X).tolist() == parts["baseline"].predict(X).tolist()


def test_few_patients_held_out_do_not_stop_a_study_of_times(trials):
    spec, cohort, _ = trials.made("survival", n=60)
    data, few = EffectData(spec, cohort), np.arange(12)
    values, _ = data.outcome(few, None)
    assert np.isfinite(values).all()


@pytest.mark.parametrize(("contrast", "highest"), [("risk_difference", 1.0), ("rmst_difference", 300.0)])
def test_no_expected_risk_is_beyond_what_there_can_be(trials, contrast, highest):
    # One patient so far from the others that a straight line expects an outcome of many hundred per cent.
    table = trials.frame(300).with_columns(
        marker=pl.when(pl.int_range(pl.len()) == 0).then(500.0).otherwise(pl.col("marker"))
    )
    spec, cohort, _ = trials.made("survival", asked(contrast), table=table)
    data, every = EffectData(spec, cohort), np.arange(300)
    rows = data.rows(every, data.preparations(every))
    found = rows.nuisances(spec)
    assert found.models is not None
    raw = np.concatenate(found.predict(rows.X, rows.W)[:2])
    assert raw.min() < 0 or raw.max() > highest
    for bounded in (found, rows.judged_by(found)):
        means = np.concatenate([bounded.mu0, bounded.mu1])
        assert means.min() >= 0
        assert means.max() <= highest


def test_no_modifier_that_differs(trials):
    table = trials.frame(120).with_columns(k=pl.lit(3.0), e=pl.lit(None, dtype=pl.Float64))
    change = (BOTH, 'adjust = ["age"]\nmodifiers = ["k", "e"]\n')
    spec, cohort, split = trials.made("binary", change, table=table)
    data = EffectData(spec, cohort)
    with pytest.raises(DataError, match="none of the 2 columns of \\[predictors\\] modifiers differs"):
        data.preparations(split.parts["train"])
    spec, cohort, split = trials.made("binary", (BOTH, 'adjust = ["age"]\nmodifiers = []\n'), n=120)
    with pytest.raises(StudyFileError, match="no column of \\[predictors\\] may modify the effect"):
        EffectData(spec, cohort).preparations(split.parts["train"])


def test_too_few_patients_name_the_key_of_the_study_file(trials):
    spec, cohort, split = trials.made(n=200)
    data = EffectData(spec, cohort)
    every = data.rows(split.parts["train"], data.preparations(split.parts["train"]))
    few = every.take(np.concatenate([np.flatnonzero(every.T)[:2], np.flatnonzero(~every.T)[:2]]))
    with pytest.raises(NotEstimableError, match=r"lower \[split\] tune\.folds"):
        few.nuisances(spec)


def test_weak_overlap_is_said_in_the_record_and_not_beside_it(trials):
    spec, cohort, split = trials.made(
        "binary", (TRIAL, RECORDS), (BOTH, 'modifiers = ["age", "marker"]\n'), strength=4.0, n=300
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        whole = Whole(spec, cohort, split)
        found = whole.overlap()
    assert "count as" in found["sentence"]
    assert "the trimmed estimate is the safer one" in found["sentence"]


def test_sites_can_be_strata(trials):
    table = trials.frame(120).with_columns(place=pl.Series(["north", "south", "west"] * 40))
    changes = (('patient = "patient"', 'patient = "patient"\nsite = "place"'), (RATIO, f'{RATIO}strata = ["place"]\n'))
    spec, cohort, _ = trials.made("binary", *changes, table=table)
    assert cohort.variable("place").categories == ("north", "south", "west")
    assert cohort.column("place")[:3].tolist() == [0, 1, 2]
    assert [v.name for v in EffectData(spec, cohort).others] == ["sex", "place"]
    assert "place" not in [v.name for v in cohort.predictors]


def test_arms_of_one_name_are_refused(trials):
    with pytest.raises(StudyFileError, match="nobody could tell the arms apart"):
        read_spec(trials.study("binary", (RATIO, f'{RATIO}label = "placebo"\n')))


def test_an_adjusted_hazard_ratio_answers_where_it_is_asked(trials):
    changes = ((TRIAL, RECORDS), (BOTH, 'modifiers = ["age", "marker"]\n'))
    spec = read_spec(trials.study("survival", *changes, asked("hazard_ratio")))
    assert primary_estimator(spec) == "standardisation"
    spec = read_spec(trials.study("survival", *changes))
    assert primary_estimator(spec) == "doubly_robust"
    spec = read_spec(trials.study("survival", *changes, asked("hazard_ratio", estimator="matching")))
    with pytest.raises(StudyFileError, match="estimator 'matching' gives no hazard ratio"):
        primary_estimator(spec)


def test_unadjusted_numbers_say_so():
    assert _as_observed(None) is None
    assert _as_observed({"value": 1.0, "note": "x"}) == {
        "value": 1.0,
        "note": "x; the arms as they are: nothing was adjusted for",
    }


def test_the_limit_of_a_rule_is_of_benefit_and_not_of_risk():
    block = {"name": "m", "title": "M", "threshold": {"value": 0.0351, "rule": "from [policy]"}}
    said = str(build_model({"task": "effect", "model": block}))
    assert "predicted benefit above 0.0351, from [policy]" in said
    assert "risk of" not in said


def test_a_rule_that_treats_everyone():
    said = _policy_sentence({"treated_share": 1.0, "against_all": {"value": 0.0, "lower": None, "upper": None}})
    assert said.endswith("the rule would treat everyone.")
    gain = {"value": 0.1, "lower": 0.05, "upper": 0.15}
    assert _policy_sentence({"treated_share": 0.4, "against_all": gain}).endswith("gains over treating everyone.")


def test_estimators_name_columns_and_keys(trials):
    # The stage is the outcome under another name.
    table = trials.frame(200).with_columns(
        stage=pl.when(pl.col("dead") == 1).then(pl.lit("III")).otherwise(pl.lit("I")),
    )
    change = (BOTH, 'adjust = ["age", "marker", "stage"]\nmodifiers = ["age", "marker"]\n')
    spec, cohort, split = trials.made("binary", change, table=table)
    with pytest.raises(NotEstimableError, match="column 'stage' can tell the two outcomes apart") as caught:
        Whole(spec, cohort, split).average()
    assert "[estimand] estimator, such as 'doubly_robust'" in caught.value.do
    change = (BOTH, f'{change[1]}[estimand]\nestimator = "doubly_robust"\n')
    spec, cohort, split = trials.made("binary", change, table=table)
    placebo = Whole(spec, cohort, split).placebos()[0]
    assert placebo["draws"] == 10
    assert "Could not be tried" not in placebo["sentence"]


def test_a_learner_that_cannot_be_fitted_leaves_the_others(trials, monkeypatch):
    spec, cohort, split = trials.made(
        "binary", ('candidates = ["effect_model"]', 'candidates = ["effect_model", "dr_learner"]'), n=200
    )
    real = effect_stages.learner_named

    class Fails:
        def fit(self, *args, **kwargs):
            raise NotEstimableError("too few of them", "more", "do less")

    def named(spec, name):
        return Fails() if name == "effect_model" else real(spec, name)

    monkeypatch.setattr(effect_stages, "learner_named", named)
    payload, _, _ = effect_stages.fit(spec, cohort, split)
    board = {row["name"]: row for row in payload["leaderboard"]}
    assert payload["name"] == "dr_learner"
    assert "could not be fitted on every tuning fold: too few of them." in payload["choice"]
    assert board["effect_model"]["mean"] is None
    assert board["effect_model"]["note"] == "too few of them"
    monkeypatch.setattr(
        effect_stages, "learner_named", lambda spec, name: Fails() if name != "zero_effect" else real(spec, name)
    )
    with pytest.raises(NotEstimableError, match="no learner can be fitted"):
        effect_stages.fit(spec, cohort, split)
