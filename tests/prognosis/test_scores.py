"""Scores as functions and as baselines of a study: units, ranges, gaps, mapping of columns, recalibration, storage."""

from __future__ import annotations

import inspect
import json
import time

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from aimed.core import DataError, NotEstimableError, StudyFileError, UnknownNameError, Variable
from aimed.fit.adapter import StudyModel
from aimed.metrics import auroc, harrell_c
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.logistic import Logistic
from aimed.prognosis.scores import SCORES
from aimed.prognosis.scores.columns import Source
from aimed.prognosis.scores.model import ScoreModel, covers, score_recipe
from aimed.prognosis.scores.score import Found, published_score, yes_no
from aimed.prognosis.scores.units import UNITS, convert
from aimed.study.models import recipes_of
from aimed.study.run import Study
from aimed.study.spec import read_spec

RNG = np.random.default_rng(7)


def plausible(score, n, seed=0):
    """Rows within the valid ranges of a score."""
    rng = np.random.default_rng(seed)
    out = {}
    for one in score.inputs:
        if one.kind == "number":
            out[one.name] = rng.uniform(*one.valid, n)
        elif one.kind == "category":
            out[one.name] = np.array(one.categories)[rng.integers(0, len(one.categories), n)]
        else:
            out[one.name] = rng.integers(0, 2, n).astype(float)
    return out


# ------------------------------------------------------------------------------------------------- every score at once


@pytest.mark.parametrize("name", SCORES)
class TestEvery:
    def test_says_what_it_is(self, name):
        score = SCORES[name]
        assert score.name == name
        assert score.source.endswith(".")
        assert any(c.isdigit() for c in score.source)
        assert score.population
        assert score.not_for
        assert (score.risk_source is None) == (score(**plausible(score, 3)).risk is None)
        for one in score.inputs:
            if one.kind == "number":
                assert one.unit in UNITS[one.measurement]
                assert one.valid[0] < one.valid[1]
        doc = inspect.getdoc(score)
        assert score.source in doc
        for one in score.inputs:
            assert f"{one.name} : array\n    {one.describe()}" in doc

    def test_stays_in_its_span_and_risks_are_probabilities(self, name):
        score = SCORES[name]
        found = score(**plausible(score, 2000))
        assert found.scored == found.n == 2000
        assert (found.value >= score.span[0]).all()
        assert (found.value <= score.span[1]).all()
        assert np.unique(found.value).size > 2
        if found.risk is not None and name != "has_bled":
            assert ((found.risk >= 0) & (found.risk <= 1)).all()

    def test_rows_do_not_touch_each_other(self, name):
        score = SCORES[name]
        rows = plausible(score, 40, 1)
        whole = score(**rows)
        for i in (0, 17, 39):
            alone = score(**{k: v[i] for k, v in rows.items()})
            assert alone.value.shape == ()
            assert alone.value == whole.value[i]

    def test_a_missing_input_gives_no_score_and_is_counted(self, name):
        score = SCORES[name]
        full = score(**plausible(score, 50, 2))
        for one in score.inputs:
            rows = plausible(score, 50, 2)
            rows[one.name] = rows[one.name].astype(object)
            rows[one.name][[3, 9]] = None
            found = score(**rows)
            assert found.missing == {one.name: 2}
            assert not found.outside
            keep = np.delete(np.arange(50), [3, 9])
            assert np.isnan(found.value[[3, 9]]).all()
            np.testing.assert_array_equal(found.value[keep], full.value[keep])
            if found.risk is not None:
                assert np.isnan(found.risk[[3, 9]]).all()

    def test_a_number_outside_its_range_gives_no_score_and_is_counted(self, name):
        score = SCORES[name]
        for one in (i for i in score.inputs if i.kind == "number"):
            rows = plausible(score, 20, 3)
            low, high = one.valid
            rows[one.name][:5] = [low, high, low - 0.1 - abs(low) / 10, high * 1.1, np.inf]
            found = score(**rows)
            assert found.outside == {one.name: 3}
            np.testing.assert_array_equal(np.isnan(found.value[:5]), [False, False, True, True, True])

    def test_units_change_nothing_but_the_numbers(self, name):
        score = SCORES[name]
        rows = plausible(score, 200, 4)
        want = score(**rows)
        for one in (i for i in score.inputs if i.convertible):
            for unit in UNITS[one.measurement]:
                other = convert(rows[one.name], one.measurement, one.unit, unit)
                found = score(**{**rows, one.name: other}, units={one.name: unit})
                np.testing.assert_allclose(found.value, want.value, rtol=1e-6)


def test_a_risk_grows_with_the_score():
    for name, entry in SCORES.items():
        if entry.risk_source is None or name == "has_bled":
            continue
        found = entry(**plausible(entry, 3000, 5))
        order = np.argsort(found.value, kind="stable")
        steps = np.diff(found.risk[order])
        # Friberg's cohort had fewer strokes with 8 points than with 7.
        assert steps.min() >= (-0.0036 if name == "cha2ds2_vasc" else -1e-12), name


def test_a_million_rows_take_no_time():
    rows = plausible(SCORES["ascvd"], 1_000_000)
    rows["race"] = "white"
    began = time.perf_counter()
    found = SCORES["ascvd"](**rows)
    assert found.scored == 1_000_000
    assert time.perf_counter() - began < 5


# ------------------------------------------------------------------------------------------------------ wrong calls


def test_what_a_call_refuses():
    qsofa, grace, meld = SCORES["qsofa"], SCORES["grace"], SCORES["meld"]
    with pytest.raises(UnknownNameError, match="did you mean 'systolic'"):
        qsofa(systolik=1)
    with pytest.raises(DataError, match="qSOFA lacks 'gcs', 'systolic'"):
        qsofa(respiratory_rate=20)
    with pytest.raises(DataError, match="different shapes: respiratory_rate \\(2,\\), gcs \\(3,\\)"):
        qsofa(respiratory_rate=[1, 2], gcs=[3, 4, 5], systolic=1)
    with pytest.raises(DataError, match="'gcs' holds something that is no number"):
        qsofa(respiratory_rate=20, gcs=["alert"], systolic=1)
    with pytest.raises(DataError, match="'dialysis' holds something else in 1 rows; expected 0, 1 or missing"):
        meld(creatinine=1, bilirubin=1, inr=1, dialysis=[0, 2])
    with pytest.raises(DataError, match="'killip' holds something else in 1 rows; expected one of: I, II, III, IV"):
        grace(**{**plausible(grace, 2), "killip": ["I", "V"]})
    with pytest.raises(StudyFileError, match=r"'stone/L' is no unit of creatinine.*mg/dL, umol/L"):
        meld(creatinine=1, bilirubin=1, inr=1, units={"creatinine": "stone/L"})
    with pytest.raises(StudyFileError, match="mg/dL urea nitrogen, mg/dL urea"):
        convert(np.ones(1), "urea", "mg/dL", "mmol/L")
    with pytest.raises(DataError, match="a unit for 'dialysis'"):
        meld(creatinine=1, bilirubin=1, inr=1, dialysis=0, units={"dialysis": "1"})
    with pytest.raises(TypeError, match=r"takes \['b'\], but declares \['a'\]"):

        @published_score(
            title="x", inputs=[yes_no("a", "A")], outcome="x", span=(0, 1), source="x", population="x", not_for=["x"]
        )
        def wrong(b):
            return Found(b)


@pytest.mark.parametrize(
    ("measurement", "unit", "value", "base"),
    [
        ("creatinine", "µmol/L", 88.4, 1.0),
        ("bilirubin", "umol/L", 17.1, 1.0),
        ("cholesterol", "mmol/L", 5.0, 193.35),
        ("albumin", "g/L", 35.0, 3.5),
        ("urea", "mg/dL urea nitrogen", 20.0, 7.14),
        ("temperature", "°F", 95.0, 35.0),
        ("pressure", "kPa", 13.3322, 100.0),
        ("saturation", "fraction", 0.91, 91.0),
        ("platelets", "/uL", 150_000.0, 150.0),
        ("urine", "L/d", 0.5, 500.0),
    ],
)
def test_conversions(measurement, unit, value, base):
    to = next(iter(UNITS[measurement]))
    got = convert(np.array([value]), measurement, unit, to)
    np.testing.assert_allclose(got, [base], rtol=1e-5)
    np.testing.assert_allclose(convert(got, measurement, to, unit), [value], rtol=1e-6)


def test_a_converted_value_on_the_edge_of_a_band_stays_on_it():
    rest = {"respiratory_rate": 15, "oxygen": 0, "pulse": 70, "altered": 0, "spo2": 98}
    for fahrenheit, celsius in ((95.0, 35.0), (96.8, 36.0), (100.4, 38.0), (102.2, 39.0)):
        warm = SCORES["news2"](**rest, systolic=120, temperature=fahrenheit, units={"temperature": "degF"})
        assert warm.value == SCORES["news2"](**rest, systolic=120, temperature=celsius).value


# --------------------------------------------------------------------------------------------------- as a baseline

AGE = Variable(name="age")
SEX = Variable(name="sex", kind="category", categories=("f", "m"))
HTN = Variable(name="htn", kind="category", categories=("No", "Yes"))
CLASS = Variable(name="class", kind="category", categories=("one", "two"))
OLD = Variable(name="old_mi")
PAD = Variable(name="pad")
VARIABLES = (AGE, SEX, HTN, OLD, PAD)
CHADS = {
    "female": Source(any_of=("sex == 'f'",)),
    "hypertension": Source(column="htn"),
    "vascular_disease": Source(any_of=("old_mi == 1", "pad >= 1")),
    "heart_failure": Source(value=0.0),
    "diabetes": Source(value=0.0),
    "stroke": Source(value=0.0),
}


def rows(n=400, seed=1):
    rng = np.random.default_rng(seed)
    return np.column_stack(
        (
            rng.integers(45, 90, n),
            rng.integers(0, 2, n),
            rng.integers(0, 2, n),
            rng.integers(0, 2, n),
            rng.random(n) < 0.1,
        )
    ).astype(float)


def by_hand(X):
    age, sex, htn, mi, pad = X.T
    return (age >= 65) * 1 + (age >= 75) * 1 + (sex == 0) + htn + np.maximum(mi, pad)


def outcome(points, seed=2):
    return (np.random.default_rng(seed).random(points.size) < 0.1 + 0.1 * points).astype(int)


def survival(points, seed=3):
    rng = np.random.default_rng(seed)
    time, end = rng.exponential(900 * np.exp(-0.4 * points)), rng.uniform(50, 900, points.size)
    y = np.empty(points.size, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = time <= end, np.ceil(np.minimum(time, end))
    return y


def fitted(X, y, name="cha2ds2_vasc", sources=CHADS, variables=VARIABLES, **options):
    return StudyModel(score_recipe(f"score:{name}", name, sources, **options), variables).fit(X, y)


def test_columns_rules_and_constants_become_the_inputs():
    X = rows()
    model = fitted(X, outcome(by_hand(X)))
    np.testing.assert_array_equal(model.estimator.decision_function(model.preparation.transform(X)), by_hand(X))


def test_the_published_risk_is_used_as_it_stands_whatever_the_training_rows():
    X = rows()
    points = by_hand(X)
    want = SCORES["cha2ds2_vasc"](
        age=X[:, 0], female=X[:, 1] == 0, hypertension=X[:, 2], vascular_disease=np.maximum(X[:, 3], X[:, 4]),
        heart_failure=0, diabetes=0, stroke=0,
    ).risk  # fmt: skip
    for y in (outcome(points), 1 - outcome(points)):
        np.testing.assert_allclose(fitted(X, y).risk(X)[:, 0], want)
    half = fitted(X, outcome(points), horizon_days=365.25 / 2).risk(X)[:, 0]
    np.testing.assert_allclose(1 - half, np.sqrt(1 - want))
    curve = fitted(X, survival(points), task="survival", horizon_days=365).survival(X, [0, 365.25])
    np.testing.assert_allclose(curve, np.column_stack((np.ones(len(X)), 1 - want)))
    months = fitted(X, survival(points), task="survival", horizon_days=365, days=30.4375).survival(X, [12])
    np.testing.assert_allclose(months, curve[:, 1:])


def test_recalibration_is_a_regression_on_the_score_alone():
    X = rows()
    points = by_hand(X)
    y = outcome(points)
    model = fitted(X, y, recalibrate=True)
    peer = Logistic(penalty="none").fit(points[:, None], y)
    np.testing.assert_allclose(model.risk(X)[:, 0], peer.predict_proba(points[:, None])[:, 1], atol=1e-8)
    assert model.risk(X).mean() == pytest.approx(y.mean(), abs=1e-9)
    assert auroc(y, model.risk(X)[:, 0]) == pytest.approx(float(auroc(y, points)))
    s = survival(points)
    model = fitted(X, s, task="survival", recalibrate=True, horizon_days=365)
    peer = CoxPH().fit(points[:, None], s)
    grid = [30.0, 200.0, 600.0]
    np.testing.assert_allclose(model.survival(X, grid), peer.predict_survival_function(points[:, None], times=grid))
    assert harrell_c(s["event"], s["time"], model.score(X)) == pytest.approx(
        float(harrell_c(s["event"], s["time"], points))
    )


def test_a_risk_score_is_recalibrated_on_the_log_odds_or_the_log_hazard():
    n = 500
    names = [i.name for i in SCORES["framingham"].inputs]
    table = plausible(SCORES["framingham"], n, 8)
    X = np.column_stack([table[k] for k in names])
    risk = SCORES["framingham"](**table).risk
    variables = tuple(Variable(name=k) for k in names)
    units = {
        k: Source(unit=u)
        for k, u in (("total_cholesterol", "mg/dL"), ("hdl_cholesterol", "mg/dL"), ("systolic", "mmHg"))
    }
    y = (np.random.default_rng(0).random(n) < risk).astype(int)
    model = fitted(X, y, "framingham", units, variables, recalibrate=True).estimator
    assert (model.intercept_, model.slope_) == pytest.approx((0.0, 1.0), abs=0.5)
    time = np.random.default_rng(1).exponential(3652.5 / -np.log1p(-risk))
    s = np.array([(t < 5000, min(t, 5000.0)) for t in time], dtype=[("event", bool), ("time", float)])
    model = fitted(X, s, "framingham", units, variables, task="survival", recalibrate=True).estimator
    assert model.cox_.coef_[0] == pytest.approx(1.0, abs=0.25)


def test_a_horizon_beyond_the_published_one_is_learnt_and_said():
    meld = SCORES["meld"]
    assert covers(meld, 91, "binary")
    assert covers(meld, None, "binary")
    assert not covers(meld, None, "survival")
    assert not covers(SCORES["grace"], 30, "binary")
    assert not covers(SCORES["qsofa"], None, "binary")
    late = score_recipe("score:chads2", "chads2", task="survival", horizon_days=1826)
    assert late.title == "CHADS2, recalibrated"
    assert "No risk is published for this horizon" in late.description
    assert "published one" in score_recipe("score:chads2", "chads2").description
    near = ScoreModel("chads2", task="survival", horizon_days=365)
    names = [i.name for i in SCORES["chads2"].inputs]
    table = np.column_stack([plausible(SCORES["chads2"], 50)[k] for k in names])
    near.fit(table, survival(np.zeros(50)), feature_names=names)
    with pytest.raises(NotEstimableError, match=r"1 of 2 times lie beyond.*up to 365.25.*'score:chads2:recalibrated'"):
        near.predict_survival_function(table, [365, 400])


def test_rows_without_a_score_are_left_out_counted_and_never_imputed():
    X = rows()
    X[:10, 0] = np.nan
    X[10:15, 0] = 130
    X[15:18, 2] = np.nan
    points = np.nan_to_num(by_hand(X))
    model = fitted(X, outcome(points), recalibrate=True)
    risk = model.risk(X)[:, 0]
    np.testing.assert_array_equal(np.isnan(risk), np.arange(400) < 18)
    assert model.estimator.counts_ == {
        "rows": 400, "scored": 382, "missing": {"age": 10, "hypertension": 3}, "outside": {"age": 5}
    }  # fmt: skip
    known = fitted(X[18:], outcome(points)[18:], recalibrate=True)
    np.testing.assert_allclose(risk[18:], known.risk(X[18:])[:, 0])
    curve = fitted(X, survival(points), task="survival", recalibrate=True).survival(X, [100.0])
    assert np.isnan(curve[:18]).all()
    assert np.isfinite(curve[18:]).all()
    X[:, 0] = 30 * 365
    with pytest.raises(DataError, match="none of 400 rows has a score: 'hypertension' is missing in 3, 'age' is out"):
        fitted(X, outcome(points))


def test_a_rule_with_a_gap_is_unknown_unless_the_rest_decides():
    X = rows(4)
    X[:, 0], X[:, 1], X[:, 2] = 50, 1, 0
    X[:, 3], X[:, 4] = [1, 0, np.nan, np.nan], [np.nan, np.nan, 1, 0]
    model = fitted(np.vstack((X, rows())), outcome(np.r_[np.zeros(4), by_hand(rows())]))
    got = model.estimator.decision_function(model.preparation.transform(X))
    np.testing.assert_array_equal(got, [1, np.nan, 1, np.nan])
    both = dict(CHADS, vascular_disease=Source(any_of=("old_mi == 1 and pad == 0",)))
    model = fitted(np.vstack((X, rows())), outcome(np.r_[np.zeros(4), by_hand(rows())]), sources=both)
    got = model.estimator.decision_function(model.preparation.transform(X))
    np.testing.assert_array_equal(got, [np.nan, 0, 0, np.nan])


@pytest.mark.parametrize(
    ("rule", "want"),
    [
        ("age < 60", [1, 0, 0]), ("age <= 60", [1, 1, 0]), ("age > 60", [0, 0, 1]), ("age >= 60", [0, 1, 1]),
        ("age == 60", [0, 1, 0]), ("age != 60", [1, 0, 1]), ("age in (50, 70)", [1, 0, 1]),
        ("age not in (50, 70)", [0, 1, 0]), ("age in [55, 65]", [0, 1, 0]), ("age is known", [1, 1, 1]),
        ("sex == 'f'", [1, 0, 1]), ("sex != 'f'", [0, 1, 0]), ("sex in ('f', 'm')", [1, 1, 1]),
        ("sex not in ('f')", [0, 1, 0]), ("sex is known", [1, 1, 1]), ("age >= 60 and sex == 'f'", [0, 0, 1]),
    ],
)  # fmt: skip
def test_rules(rule, want):
    model = ScoreModel("chads2", {
        "diabetes": {"any_of": (rule,)}, "age": {"value": 50.0}, "heart_failure": {"value": 0.0},
        "hypertension": {"value": 0.0}, "stroke": {"value": 0.0},
    })  # fmt: skip
    X = np.array([[50.0, 1, 0], [60.0, 0, 1], [70.0, 1, 0]])
    model.fit(X, [0, 1, 0], feature_names=["age", "sex=f", "sex=m"])
    assert model.decision_function(X).tolist() == want


def test_categories_are_mapped_by_level_and_by_number():
    names = ["age", "heart_rate", "systolic", "creatinine", "killip", "st"]
    X = np.array([[65.0, 100, 99, 80, 2, 1], [65, 100, 99, 80, 9, 1], [65, 100, 99, 80, np.nan, 1]])
    sources = {
        "creatinine": {"unit": "umol/L"}, "killip": {"levels": {"1": "I", "2": "II"}}, "st_deviation": {"column": "st"},
        "cardiac_arrest": {"value": 0.0}, "elevated_enzymes": {"value": 1.0},
    }  # fmt: skip
    with pytest.raises(DataError, match="'killip' holds something else in 1 rows"):
        ScoreModel("grace", sources).fit(X, [0, 1, 0], feature_names=names)
    model = ScoreModel("grace", sources).fit(X[[0, 2]], [0, 1], feature_names=names)
    np.testing.assert_array_equal(model.decision_function(X[[0, 2]]), [195, np.nan])
    wide = np.column_stack((X[:, :4], [1, 0, 0], [0, 1, 0], X[:, 5]))
    words = [*names[:4], "killip=II", "killip=bad", "st"]
    with pytest.raises(StudyFileError, match="'bad' is no level of 'killip'; expected one of: I, II, III, IV; map it"):
        ScoreModel("grace", sources).fit(wide, [0, 1, 0], feature_names=words)
    mapped = {**sources, "killip": {"levels": {"bad": "IV"}}}
    model = ScoreModel("grace", mapped).fit(wide, [0, 1, 0], feature_names=words)
    np.testing.assert_array_equal(model.decision_function(wide), [195, 195 - 20 + 59, np.nan])


def test_a_score_where_less_is_worse_ranks_the_other_way():
    X = np.column_stack((RNG.uniform(0.5, 3, 300), RNG.uniform(20, 80, 300), RNG.integers(0, 2, 300)))
    names = ["creatinine", "age", "female"]
    rate = SCORES["egfr_ckd_epi"](creatinine=X[:, 0], age=X[:, 1], female=X[:, 2]).value
    y = (RNG.random(300) < 1 / (1 + np.exp((rate - 60) / 10))).astype(int)
    model = ScoreModel("egfr_ckd_epi", {"creatinine": {"unit": "mg/dL"}}).fit(X, y, feature_names=names)
    assert model.slope_ > 0
    assert auroc(y, model.predict_proba(X)[:, 1]) == pytest.approx(float(auroc(y, -rate)))
    np.testing.assert_array_equal(model.decision_function(X), -rate)


def test_a_score_that_does_not_vary_or_points_the_wrong_way_is_said():
    X = rows()
    X[:] = X[0]
    y = np.arange(400) % 4 == 0
    with pytest.warns(UserWarning, match="CHA2DS2-VASc is the same in every training row"):
        model = fitted(X, y.astype(int), recalibrate=True)
    np.testing.assert_allclose(model.risk(X), 0.25)
    s = survival(np.zeros(400))
    with pytest.warns(UserWarning, match="the same in every"):
        model = fitted(X, s, task="survival", recalibrate=True)
    assert np.isfinite(model.survival(X, [100.0])).all()
    X = rows()
    with pytest.warns(UserWarning, match="ranks the training rows the wrong way round"):
        fitted(X, 1 - outcome(by_hand(X)), recalibrate=True)


def test_what_a_baseline_refuses():
    X, y = rows(), outcome(by_hand(rows()))

    def refused(message, name="cha2ds2_vasc", variables=VARIABLES, **sources):
        with pytest.raises((StudyFileError, DataError), match=message):
            fitted(X, y, name, {**CHADS, **sources} if name == "cha2ds2_vasc" else sources, variables)

    refused("no input of CHA2DS2-VASc called 'sexx'", sexx=Source(value=1.0))
    refused(
        "'diabetes' \\(Diabetes mellitus\\).*no predictor called 'dm'.*write \\[model.scores",
        diabetes=Source(column="dm"),
    )
    refused("which level of 'class' means yes for 'hypertension'", variables=(AGE, SEX, CLASS, OLD, PAD),
            hypertension=Source(column="class"))  # fmt: skip
    refused("'sex' is a category, and 'age' a number", age=Source(column="sex"))
    refused("does not fit the category 'sex'", female=Source(any_of=("sex == 'w'",)))
    refused("does not fit the category 'sex'", female=Source(any_of=("sex > 1",)))
    refused("compares the number 'pad' with text", vascular_disease=Source(any_of=("pad == 'x'",)))
    refused("age is a rule; expected a number", age=Source(any_of=("pad == 1",)))
    refused("female has a unit", female=Source(column="sex", unit="mg/dL"))
    refused("age has levels", age=Source(levels={"1": "2"}))
    refused("age has a value outside 18 to 120", age=Source(value=3.0))
    refused("'age' is given as text", age=Source(value="old"))
    refused("'month' is no unit of age", age=Source(unit="month"))
    refused("'diabetes' holds something else in 400 rows", diabetes=Source(column="age"))
    refused("the unit of 'creatinine', which eGFR .* takes as creatinine, is not known; expected one of: mg/dL, umol/L",
            name="egfr_ckd_epi")  # fmt: skip
    with pytest.raises(DataError, match="X has no column names"):
        ScoreModel("chads2").fit(X, y)
    with pytest.raises(DataError, match="a horizon"):
        fitted(X, survival(by_hand(X)), task="survival", recalibrate=True).estimator.predict_proba(X)
    missing = X.copy()
    missing[y == 1, 0] = np.nan
    with pytest.raises(NotEstimableError, match="have one class only"):
        fitted(missing, y, recalibrate=True)


@pytest.mark.filterwarnings("ignore:SOFA ranks")
def test_an_optional_measurement_without_unit_is_not_taken_by_its_name():
    score = SCORES["sofa"]
    given = [i for i in score.inputs if i.absent is None]
    table = plausible(score, 30)
    units = {i.name: {"unit": i.unit} for i in given if i.convertible}
    names = [i.name for i in given]
    X = np.column_stack([table[k] for k in names])
    plain = ScoreModel("sofa", units).fit(X, np.arange(30) % 2, feature_names=names)
    with pytest.raises(StudyFileError, match="the unit of 'urine_output'"):
        ScoreModel("sofa", units).fit(
            np.column_stack((X, table["urine_output"])), np.arange(30) % 2, feature_names=[*names, "urine_output"]
        )
    more = ScoreModel("sofa", units).fit(
        np.column_stack((X, np.full(30, 7.0))), np.arange(30) % 2, feature_names=[*names, "dobutamine"]
    )
    wide = np.column_stack((X, np.full(30, 7.0)))
    assert (more.decision_function(wide) >= plain.decision_function(X)).all()
    assert (more.decision_function(wide) > plain.decision_function(X)).any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recalibrate": True},
        {"task": "survival", "horizon_days": 300.0},
        {"task": "survival", "recalibrate": True, "horizon_days": 300.0},
    ],
)
def test_a_model_comes_back_from_json(options):
    X = rows()
    points = by_hand(X)
    target = survival(points) if options.get("task") else outcome(points)
    recipe = score_recipe("score:cha2ds2_vasc", "cha2ds2_vasc", CHADS, **options)
    model = StudyModel(recipe, VARIABLES).fit(X, target)
    again = recipe.from_state(json.loads(json.dumps(recipe.to_state(model.estimator), allow_nan=False)))
    Z = model.preparation.transform(X)
    if options.get("task"):
        np.testing.assert_allclose(
            again.predict_survival_function(Z, [100, 300]), model.survival(X, [100, 300]), rtol=1e-5
        )
    else:
        np.testing.assert_array_equal(again.predict_proba(Z)[:, 1], model.risk(X)[:, 0])
    assert clone(model.estimator).get_params() == model.estimator.get_params()


# -------------------------------------------------------------------------------------------------- in a study file

STUDY = """
schema = 1
[study]
id = "af"
title = "Stroke in atrial fibrillation"
task = "survival"
[data]
source = "af.csv"
patient = "id"
[outcome]
time = "time"
event = "event"
horizons_days = [180, 365]
[variables.crea]
unit = "umol/L"
[model]
candidates = ["cox"]
baselines = ["score:cha2ds2_vasc", "score:cha2ds2_vasc:recalibrated", "score:egfr_ckd_epi"]
[model.scores.cha2ds2_vasc]
female = "sex == 'f'"
hypertension = "htn"
diabetes = { value = 0 }
stroke = false
heart_failure = false
vascular_disease = ["mi == 1", "pad == 1"]
[model.scores.egfr_ckd_epi]
creatinine = "crea"
female = { any_of = ["sex == 'f'"] }
[evaluate]
draws = 50
stability = 0
accept = ["difference(score:cha2ds2_vasc:recalibrated).uno_c.lower >= -0.5"]
"""


def frame(n=500):
    rng = np.random.default_rng(11)
    X = rows(n, 12)
    y = survival(by_hand(X), 13)
    return pl.DataFrame(
        {
            "id": np.arange(n), "age": X[:, 0], "sex": np.array(["f", "m"])[X[:, 1].astype(int)],
            "htn": np.array(["no", "yes"])[X[:, 2].astype(int)], "mi": X[:, 3], "pad": X[:, 4],
            "crea": np.where(rng.random(n) < 0.1, np.nan, rng.uniform(50, 200, n)),
            "time": y["time"], "event": y["event"].astype(int),
        }
    )  # fmt: skip


def test_a_study_runs_with_scores_as_baselines(tmp_path):
    run = Study(read_spec(STUDY), frame()).run(tmp_path)
    performance = run.results["performance"]
    measures = performance["baselines"]
    raw, learnt = measures["score:cha2ds2_vasc"], measures["score:cha2ds2_vasc:recalibrated"]
    assert raw["uno_c"]["value"] == pytest.approx(learnt["uno_c"]["value"])
    assert raw["uno_c"]["value"] > 0.6
    assert abs(np.log(learnt["oe@365"]["value"])) < abs(np.log(raw["oe@365"]["value"]))
    assert learnt["brier@365"]["value"] < raw["brier@365"]["value"]
    # Rows without creatinine have no score and are not counted.
    assert measures["score:egfr_ckd_epi"]["uno_c"]["n"] < raw["uno_c"]["n"] == performance["n"]
    titles = {row["name"]: row["title"] for row in run.results["model"]["leaderboard"]}
    assert titles["score:egfr_ckd_epi"] == "eGFR (CKD-EPI 2021), recalibrated"
    assert titles["score:cha2ds2_vasc"] == "CHA2DS2-VASc"
    assert run.results["verdict"]["criteria"][0]["state"] == "met"


def recipe_for(text):
    return recipes_of(read_spec(text))[1][0]


def test_the_unit_of_a_column_comes_from_the_table_of_variables():
    base = STUDY.replace(
        '["score:cha2ds2_vasc", "score:cha2ds2_vasc:recalibrated", "score:egfr_ckd_epi"]', '["score:egfr_ckd_epi"]'
    )
    base = base[: base.index("[model.scores.cha2ds2_vasc]")] + base[base.index("[model.scores.egfr_ckd_epi]") :]
    base = base[: base.index("[evaluate]")]

    def unit(text):
        return recipe_for(text).build({}, 0).sources["creatinine"]["unit"]

    assert unit(base) == "umol/L"
    assert unit(base.replace("[variables.crea]\nunit = \"umol/L\"\n", "").replace(
        'creatinine = "crea"', 'creatinine = { column = "crea", unit = "mg/dL" }')) == "mg/dL"  # fmt: skip
    assert unit(base.replace('"crea"', '{ column = "crea", unit = "µmol/L" }')) == "umol/L"
    here = base.replace("variables.crea]", "variables.other]").replace('"crea"', '{ unit = "mg/dL" }')
    assert unit(here) == "mg/dL"
    by_name = base.replace("variables.crea]", "variables.creatinine]").replace('creatinine = "crea"\n', "")
    assert unit(by_name) == "umol/L"
    with pytest.raises(StudyFileError, match=r"says 'mg/dL', \[variables.crea\] says 'umol/L'"):
        recipe_for(base.replace('"crea"', '{ column = "crea", unit = "mg/dL" }'))
    with pytest.raises(StudyFileError, match=r"the unit of 'crea'.* is not known"):
        recipe_for(base.replace('unit = "umol/L"', 'label = "Creatinine"'))
    years = base.replace('unit = "day"', "").replace("horizons_days = [180, 365]", 'unit = "month"\nhorizons = [6, 12]')
    assert recipe_for(years).build({}, 0).days == 30.4375


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"score:egfr_ckd_epi"', '"score:egfr_ckd"'), "no score called 'egfr_ckd'.*did you mean 'egfr_ckd_epi'"),
        (("_vasc:recalibrated", "_vasc:again"), "expected 'score:cha2ds2_vasc' or 'score:cha2ds2_vasc:recalibrated'"),
        ((', "score:egfr_ckd_epi"', ""), r"\[model.scores.egfr_ckd_epi\] belongs to no baseline"),
        (("stroke = false", "strok = false"), "no input of CHA2DS2-VASc called 'strok'.*did you mean 'stroke'"),
        (('["cox"]', '["cox", "score:chads2"]'), "'score:chads2' is a candidate"),
        (("{ value = 0 }", "{ value = 0, column = 'x' }"), "name one of 'column', 'any_of' and 'value'"),
        (("{ value = 0 }", "{ colum = 'x' }"), "did you mean 'column'"),
        (('["mi == 1", "pad == 1"]', '["mi = 1"]'), "cannot be read"),
        (("heart_failure = false", "heart_failure = 7"), "heart_failure has a value outside 0 to 1"),
    ],
)  # fmt: skip
def test_a_wrong_study_file_is_refused_before_any_data(change, message):
    assert change[0] in STUDY
    with pytest.raises(StudyFileError, match=message):
        Study(read_spec(STUDY.replace(*change)))


def test_a_column_that_is_not_there_is_named():
    spec = read_spec(STUDY.replace('hypertension = "htn"', 'hypertension = "hta"'))
    study = Study(spec, frame())
    recipe = recipes_of(spec)[1][0]
    cohort = study.read()
    with pytest.raises(StudyFileError, match=r"no predictor called 'hta'.*hypertension = 'htn'"):
        StudyModel(recipe, cohort.predictors).fit(cohort.matrix(), cohort.outcome.structured())
