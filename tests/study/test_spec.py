"""A study file is read strictly: every mistake has its line and its nearest right spelling."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core import StudyFileError
from aimed.study.new import toml_string
from aimed.study.shipped import SHIPPED
from aimed.study.spec import load_spec, read_spec

BASE = """schema = 1
[study]
id = "demo"
title = "A demo"
task = "classify"
[data]
source = "builtin:breast_cancer"
patient = "id"
[outcome]
column = "diagnosis"
positive = "malignant"
"""
SMALL_EFFECT = """schema = 1
[study]
id = "demo"
title = "A trial"
task = "effect"
[data]
source = "table.csv"
patient = "id"
[treatment]
column = "arm"
control = "placebo"
active = "drug"
assignment = "randomised"
[outcome]
column = "dead"
"""


def test_the_smallest_study_has_sensible_defaults():
    spec = read_spec(BASE)
    assert spec.split.test.fraction == 0.25
    assert spec.split.tune.folds == 5
    assert spec.predictors.missing == "mean_indicators"
    assert spec.tune.seconds() == 600


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('[split]\ntest = { by = "patient", fractoin = 0.2 }', r"line 13: unknown key .*did you mean 'fraction'"),
        ('[variables.age]\nunits = "y"', r"line 13: unknown key .*did you mean 'unit'"),
        ("[stduy2]\nx = 1", "unknown key stduy2"),
        ('[tune]\ntrials = "5"', r"line 13: .*expected a whole number"),
        ("[tune]\ntrials = -1", "trials"),
        ('[tune]\nbudget = "5 days"', "s, m or h"),
        ('[evaluate]\naccept = ["auroc >>> 3"]', "cannot be read"),
        ('[evaluate]\naccept = "auroc >= 3"', "list in square brackets"),
        ("[split]\ntest = { fraction = 1.5 }", "fraction"),
        ('[split]\ntest = { by = "time" }', "needs 'from'"),
        ('[split]\ntest = { by = "site" }', "needs 'hold_out'"),
        ('[subgroups]\nderive.age = { from = "age", cuts = [3, 1] }', "cuts must rise"),
        ('[subgroups]\nderive.age = { from = "age", cuts = [3], labels = ["a"] }', "2 bands"),
        ("x = [", "not valid TOML"),
        ('[calibrate]\nmethods = ["magic"]', "expected 'none', 'sigmoid'"),
        ("[evaluate]\nlevel = 2.0", "level"),
        ("[variables.age]\nrange = [100, 0]", "lowest, highest"),
    ],
)
def test_mistakes_say_where_and_what(extra, words):
    with pytest.raises(StudyFileError, match=words):
        read_spec(BASE + extra)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'task = "classify"',
            'task = "clasify"',
            "expected 'risk', 'classify', 'survival', 'segment', 'effect' or 'report_labels'",
        ),
        ('task = "classify"', 'task = "survival"', "needs 'time', 'event' and 'horizons_days'"),
        ('patient = "id"', "", r"\[data\] patient is missing"),
        ('id = "demo"', 'id = "../../etc"', "id"),
        ("schema = 1", "schema = 2", "schema"),
        ('column = "diagnosis"', 'column = "diagnosis"\ntime = "t"\nevent = "e"', "name either 'column'"),
    ],
)
def test_wrong_values(old, new, words):
    with pytest.raises(StudyFileError, match=words):
        read_spec(BASE.replace(old, new))


@pytest.mark.parametrize("text", ["", "# nothing", "\n"])
def test_empty_files(text):
    with pytest.raises(StudyFileError, match="is empty"):
        read_spec(text)


def test_files(tmp_path):
    (tmp_path / "heart.toml").write_text(BASE)
    with pytest.raises(StudyFileError, match=r"did you mean 'heart.toml'"):
        load_spec(tmp_path / "hart.toml")
    (tmp_path / "latin.toml").write_bytes(BASE.replace("A demo", "Fallstudie Ä").encode("latin-1"))
    with pytest.raises(StudyFileError, match="UTF-8"):
        load_spec(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_studies_are_valid(name):
    spec = load_spec(SHIPPED[name])
    assert spec.study.id == name
    assert spec.evaluate.accept
    assert spec.subgroups.columns


def test_the_smallest_effect_study_has_sensible_defaults():
    spec = read_spec(SMALL_EFFECT)
    assert spec.contrasts() == ("risk_difference",)
    assert (spec.outcome_kind(), spec.effect_scale()) == ("binary", "risk_difference")
    assert spec.estimand.better == "lower"
    assert spec.estimand.population == "intention to treat"
    assert spec.policy.tree_depth == 2
    assert spec.policy.budget is None
    assert spec.sensitivity.placebos == 200
    assert spec.treatment.ratio is None


@pytest.mark.parametrize(
    ("kind", "contrast", "scale"),
    [
        ("binary", "odds_ratio", "risk_difference"),
        ("continuous", "mean_difference", "mean_difference"),
        ("survival", "hazard_ratio", "risk_difference"),
        ("survival", "rmst_difference", "rmst_difference"),
        ("competing", "time_lost_difference", "time_lost_difference"),
        ("competing", "risk_ratio", "risk_difference"),
    ],
)
def test_effects_of_patients_are_on_an_additive_scale(trials, kind, contrast, scale):
    text = trials.study(kind) + f'[estimand]\ncontrast = "{contrast}"\nalso = ["{contrast}"]\n'
    spec = read_spec(text)
    assert spec.outcome_kind() == kind
    assert spec.contrasts() == (contrast,)
    assert spec.effect_scale() == scale


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('[estimand]\ncontrast = "hazard_ratio"', r"line \d+: \[estimand\] 'hazard_ratio' is no contrast .*odds_ratio"),
        ('[estimand]\nalso = ["mean_difference"]', "'mean_difference' is no contrast of this outcome"),
        ('[estimand]\ncontrast = "difference"', r"\[estimand\] contrast has another value"),
        ('[estimand]\nbetter = "less"', "expected 'lower' or 'higher'"),
        ('[estimand]\nestimator = "ipw"', r"\[estimand\] estimator .* 'matching'"),
        ('[estimand]\nintercurrent = ["death"]', "of the wrong kind"),
        ('[estimand]\nestimater = "matching"', "did you mean 'estimator'"),
        ("[policy]\nbenefit_weight = 0.0", "benefit_weight"),
        ("[policy]\nburden = -0.1", "burden"),
        ("[policy]\ncost = -1.0", "cost"),
        ("[policy]\nminimal_benefit = -0.01", "minimal_benefit"),
        ("[policy]\nbudget = 1.0", "budget"),
        ("[policy]\nbudget = 0.0", "budget"),
        ("[policy]\ntree_depth = 3", "tree_depth"),
        ("[policy]\nbugdet = 0.2", "did you mean 'budget'"),
        ("[sensitivity]\nplacebos = -1", "placebos"),
        ('[sensitivity]\nnegative_outcome = ["age"]', "did you mean 'negative_outcomes'"),
        ('[model]\nscores = { grace = { age = "age" } }', r"line \d+: \[model\] 'scores' beside \[treatment\]"),
        ("[tune]\ntrials = 5", r"\[tune\] 'trials' beside \[treatment\]"),
        ("[evaluate]\nstability = 5", r"\[evaluate\] 'stability' beside \[treatment\]: these are of risks"),
        ("[evaluate]\nthresholds = [0.2]", r"\[evaluate\] 'thresholds' beside \[treatment\]"),
        ('[calibrate]\nmethods = ["sigmoid"]', r"\[calibrate\] 'methods' beside \[treatment\]"),
        ("[predictors]\nimputations = 5", r"\[predictors\] 'imputations' beside \[treatment\]"),
        ('[predictors]\nmissing = "complete_case"', r"\[predictors\] 'missing' .*mean_indicators.* or 'mean'"),
        ('[predictors]\ninclude = ["age"]\nmodifiers = ["age"]', r"\[predictors\] 'include', or 'adjust'"),
        ('[predictors]\nadjust = ["age", "arm"]', r"\[predictors\] names the treatment column"),
        ('[predictors]\nmodifiers = ["arm"]', r"\[predictors\] names the treatment column"),
        ('[predictors]\ninclude = ["arm"]', r"\[predictors\] names the treatment column"),
        ('[variables.age]\nmeasured = "day"', r"\[treatment\] 'started' names the date column"),
        ('[images]\ncolumn = "file"', r"\[treatment\] and \[images\]"),
    ],
)
def test_mistakes_of_effect_studies(extra, words):
    with pytest.raises(StudyFileError, match=words) as caught:
        read_spec(SMALL_EFFECT + extra)
    assert caught.value.expected
    assert caught.value.do


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('active = "drug"', 'active = " Placebo"', "'control' and 'active' are the same value"),
        ('control = "placebo"\nactive = "drug"', "control = 1\nactive = 1", "same value"),
        ('"randomised"', '"observational"\nratio = [1, 1]', "'ratio' is that of a randomised trial"),
        ('"randomised"', '"randomised"\nratio = [1, 0]', "ratio"),
        ('"randomised"', '"randomised"\nratio = [1, 1, 1]', "ratio"),
        ('"randomised"', '"random"', "expected 'randomised' or 'observational'"),
        ('control = "placebo"\n', "", r"\[treatment\] control is missing"),
        ('task = "effect"', 'task = "risk"', r"\[treatment\] needs task 'effect'"),
        ('column = "dead"', 'time = "days"\nevent = "died"', "one 'horizon_days'"),
        ('column = "dead"', 'time = "days"\nevent = "died"\nhorizons_days = [1, 2]', "one 'horizon_days'"),
        ('column = "dead"', 'column = "dead"\nhorizon_days = 5', "goes without a horizon"),
        ('column = "dead"', 'column = "dead"\nkind = "continuous"\npositive = 1', "goes without 'positive'"),
        ('column = "dead"', 'time = "t"\nevent = "e"\nhorizon = 9\nkind = "continuous"', "a number in 'column'"),
        ('column = "dead"', 'column = "dead"\nmeasured_in = "points"', "'measured_in' goes with kind"),
        ('column = "dead"', 'column = "dead"\nknown = "day"', r"\[treatment\] 'started' names the date column"),
    ],
)
def test_wrong_values_of_effect_studies(old, new, words):
    assert old in SMALL_EFFECT
    with pytest.raises(StudyFileError, match=words) as caught:
        read_spec(SMALL_EFFECT.replace(old, new))
    assert caught.value.expected
    assert caught.value.do


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[estimand]\nbetter = 'lower'", r"line 12: \[estimand\] is of effects"),
        ("[policy]\nburden = 0.1", r"line 12: \[policy\] is of effects"),
        ("[sensitivity]\nplacebos = 0", r"\[sensitivity\] is of effects"),
        ("[model]\noutcome_model = 'linear'", r"\[model\] 'outcome_model' is of effects"),
        ("[model]\npropensity_model = 'linear'", r"\[model\] 'propensity_model' is of effects"),
        ("[predictors]\nadjust = ['age']", r"\[predictors\] 'adjust' is of effects"),
        ("[predictors]\nmodifiers = ['age']", r"\[predictors\] 'modifiers' is of effects"),
        ("[variables.age]\nmeasured = 'day'", r"\[variables.age\] 'measured' is held against the start"),
    ],
)
def test_what_is_of_effects_needs_a_treatment(extra, words):
    with pytest.raises(StudyFileError, match=words) as caught:
        read_spec(BASE + extra)
    assert caught.value.expected
    assert caught.value.do


def test_outcomes_that_only_effects_have():
    with pytest.raises(StudyFileError, match=r"\[outcome\] 'known' is held against"):
        read_spec(BASE + "known = 'day'")
    with pytest.raises(StudyFileError, match="kind = 'continuous' needs task 'effect'"):
        read_spec(BASE.replace('positive = "malignant"', 'kind = "continuous"'))
    with pytest.raises(StudyFileError, match=r"\[study\] 'task' effect compares treatments: add \[treatment\]"):
        read_spec(BASE.replace('"classify"', '"effect"'))


@pytest.mark.parametrize("start", ['started = "begun"', ""])
def test_dates_may_be_held_against_the_start_or_the_time_of_the_row(start):
    text = SMALL_EFFECT.replace('column = "arm"', f'column = "arm"\n{start}')
    if not start:
        text = text.replace('patient = "id"', 'patient = "id"\ntime = "day"')
    spec = read_spec(
        text.replace('column = "dead"', 'column = "dead"\nknown = "end"') + "[variables.age]\nmeasured = 'm'"
    )
    assert spec.outcome.known == "end"
    assert spec.variables["age"].measured == "m"


@given(st.text(max_size=60))
def test_toml_strings_round_trip(text):
    try:
        written = toml_string(text)
    except UnicodeEncodeError:
        return
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return
    assert tomllib.loads(f"x = {written}")["x"] == text
