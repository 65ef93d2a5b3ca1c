"""Predicting from raw rows: refusals have a code and no value, warnings go with a risk, reasons add up."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

from aimed.bundle.load import load
from aimed.bundle.pack import pack
from aimed.bundle.predict import Bundle, PredictedRow, table
from aimed.bundle.schema import CODES, Input, Schema, describe, read_rows
from aimed.core import BundleError, DataError


@pytest.fixture(scope="module")
def logistic(lab, tmp_path_factory):
    return load(lab.packed("logistic", tmp_path_factory.mktemp("l") / "bundle")[0])


@pytest.fixture(scope="module")
def cox(lab, tmp_path_factory):
    return load(lab.packed("cox", tmp_path_factory.mktemp("c") / "bundle")[0])


def one(bundle, **values):
    row = {"age": 61, "bili": 1.2, "stage": "2", **values}
    return bundle.predict([row])[0]


def test_risk_is_the_models_own(logistic, rows):
    X = np.array([[61, 1.2, 0], [45.5, np.nan, 2], [np.nan, 3.0, np.nan], [70, np.nan, 1]])
    got = logistic.predict(rows, id_column="id")
    np.testing.assert_array_equal([r.risk[0] for r in got], logistic.model.risk(X)[:, 0])
    assert [r.id for r in got] == ["a", "b", "c", "d"]
    assert [r.row for r in got] == [1, 2, 3, 4]
    assert all(r.code is None for r in got)


def test_survival_has_one_risk_a_horizon_and_curves_when_asked(lab, cox, rows):
    got = cox.predict(rows, curves=True)
    X = np.array([[61, 1.2, 0]])
    np.testing.assert_array_equal(got[0].risk, cox.model.risk(X, lab.HORIZONS)[0])
    np.testing.assert_array_equal(got[0].survival, cox.model.survival(X, [100, 300, 500])[0])
    assert cox.predict(rows)[0].survival is None


def test_every_form_of_rows_gives_the_same(logistic, rows):
    expected = [r.risk for r in logistic.predict(rows)]
    as_rows = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    assert [r.risk for r in logistic.predict(as_rows)] == expected
    assert [r.risk for r in logistic.predict(pl.DataFrame(rows, strict=False))] == expected
    assert [r.risk for r in logistic.predict(pd.DataFrame(rows))] == expected
    arrays = {**rows, "bili": np.array(rows["bili"], dtype=float), "stage": np.array(rows["stage"], dtype=object)}
    assert [r.risk for r in logistic.predict(arrays)] == expected


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"age": 17.9}, "OUT_OF_RANGE"),
        ({"age": 110.1}, "OUT_OF_RANGE"),
        ({"age": "old"}, "NOT_A_NUMBER"),
        ({"age": float("inf")}, "NOT_A_NUMBER"),
        ({"age": "1_0"}, "NOT_A_NUMBER"),
        ({"age": "1,000,000"}, "NOT_A_NUMBER"),
        ({"age": "٦١"}, "NOT_A_NUMBER"),
        ({"age": "1e999"}, "NOT_A_NUMBER"),
        ({"age": 10**400}, "NOT_A_NUMBER"),
        ({"age": date(2020, 1, 1)}, "NOT_A_NUMBER"),
        ({"stage": "4"}, "UNSEEN_CATEGORY"),
        ({"stage": "never seen"}, "UNSEEN_CATEGORY"),
        ({"stage": ["1"]}, "UNSEEN_CATEGORY"),
    ],
)
def test_refused_with_a_code_and_no_risk(logistic, values, code):
    row = one(logistic, **values)
    assert row.code == code
    assert row.risk is row.score is row.lower is None
    assert row.reasons == ()
    column, value = next(iter(values.items()))
    assert f"'{column}'" in row.reason
    if isinstance(value, str) and len(value) > 1 and value != "never seen":
        assert value not in row.reason
    assert code in CODES


def test_the_reason_names_the_range_and_the_unit_and_never_the_value(logistic):
    row = one(logistic, age=123.25)
    assert row.reason == "'age' is outside its plausible range 18 to 110 year"


def test_two_problems_are_both_told(logistic):
    row = one(logistic, age=12, stage="9")
    assert row.code == "OUT_OF_RANGE"
    assert "'age'" in row.reason
    assert "'stage'" in row.reason


def test_ends_of_the_plausible_range_are_inside(logistic):
    assert one(logistic, age=18).code is None
    assert one(logistic, age=110).code is None


def test_unusual_values_get_a_risk_and_a_warning(logistic):
    row = one(logistic, age=109)
    assert row.risk is not None
    assert [w["code"] for w in row.warnings] == ["OUTSIDE_TRAINING_RANGE"]
    assert row.warnings[0]["column"] == "age"
    assert "109" not in row.warnings[0]["reason"]
    assert one(logistic, age=60).warnings == ()


def test_a_missing_column_stops_the_whole_file(logistic):
    with pytest.raises(DataError, match=r"MISSING_COLUMN.*'bili'"):
        logistic.predict({"age": [60], "stage": ["1"]})


def test_required_and_complete_case(lab, tmp_path):
    model, X = lab.fitted("logistic", missing="complete_case")
    bundle = load(pack(model, tmp_path / "b", meta=lab.META, schema=describe(model, X)))
    assert [r.code for r in bundle.predict({"age": [60, ""], "bili": [1, 1], "stage": ["1", "1"]})] == [
        None,
        "MISSING_REQUIRED",
    ]
    with pytest.raises(DataError, match="no predictor"):
        describe(model, X, required=["agee"])


def test_no_prediction_is_said_and_not_filled(lab, tmp_path):
    model, X = lab.fitted("logistic", missing="complete_case")
    schema = describe(model, X)
    lax = Schema(inputs=tuple(Input(**{**{f: getattr(i, f) for f in Input.__dataclass_fields__}, "required": False})
                              for i in schema.inputs), means=schema.means)  # fmt: skip
    bundle = load(pack(model, tmp_path / "b", meta=lab.META, schema=lax))
    row = bundle.predict([{"age": None, "bili": 1.0, "stage": "1"}])[0]
    assert (row.code, row.risk) == ("NO_PREDICTION", None)


def test_missing_codes_of_the_study_mean_missing():
    bili = Input(name="bili", kind="number", plausible=(0, 60), missing_codes=("999", "unknown"))
    sex = Input(name="sex", kind="category", categories=("f", "m"), missing_codes=("9",))
    schema = Schema(inputs=(bili, sex))
    read = read_rows(schema, {"bili": ["999", "unknown", 999, 1.5], "sex": ["9", 9, 9.0, "m"]}, {"sex": ("f", "m")})
    assert read.refusals == {}
    assert np.isnan(read.X[:3]).all()
    assert read.X[3].tolist() == [1.5, 1.0]
    fast = read_rows(schema, {"bili": np.array([999.0, 2.0]), "sex": ["m", "f"]}, {"sex": ("f", "m")})
    assert np.isnan(fast.X[0, 0])


def test_categories_are_spelt_as_the_readers_spell_them():
    schema = Schema(inputs=(Input(name="stage", kind="category", categories=("1", "2", "true")),))
    read = read_rows(schema, {"stage": [1, 2.0, " 2 ", True, np.int64(1), None]}, {"stage": ("1", "2", "true")})
    assert read.refusals == {}
    np.testing.assert_array_equal(read.X[:, 0], [0, 1, 1, 2, 0, np.nan])


def test_numbers_are_read_as_the_readers_read_them():
    schema = Schema(inputs=(Input(name="x", kind="number"),))
    read = read_rows(schema, {"x": ["63,5", " 63.5 ", "-1e2", ".5", "5.", True, np.float32(2), 7]}, {})
    assert read.refusals == {}
    assert read.X[:, 0].tolist() == [63.5, 63.5, -100.0, 0.5, 5.0, 1.0, 2.0, 7.0]


def test_contributions_add_up_to_the_log_odds(logistic):
    row = one(logistic)
    X = np.array([[61, 1.2, 1.0]])
    Z = logistic.model.preparation.transform(X)
    means = np.array([logistic.schema.means[n] for n in logistic.model.preparation.feature_names_out_])
    expected = float(logistic.model.estimator.coef_[0] @ (Z[0] - means))
    assert sum(r["contribution"] for r in row.reasons) == pytest.approx(expected, rel=1e-12)
    sizes = [abs(r["contribution"]) for r in row.reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert {r["variable"] for r in row.reasons} == {"age", "bili", "stage"}


def test_trees_and_baselines_give_no_reasons(lab, tmp_path, rows):
    for name in ("decision_tree", "prevalence"):
        bundle = load(lab.packed(name, tmp_path / name)[0])
        assert all(r.reasons == () for r in bundle.predict(rows))


def test_an_interval_the_estimator_offers_is_sent_through_the_calibration(logistic, monkeypatch):
    class Offer(type(logistic.model.estimator)):
        def risk_interval(self, X):
            p = self.predict_proba(X)[:, 1]
            return p / 2, (1 + p) / 2

    monkeypatch.setattr(logistic.model.estimator, "__class__", Offer)
    row = one(logistic)
    raw = logistic.model.raw_risk(np.array([[61, 1.2, 1.0]]))
    assert row.lower[0] == pytest.approx(logistic.model.calibrator.transform(raw / 2)[0])
    assert row.lower[0] < row.risk[0] < row.upper[0]


def test_rows_of_strange_form(logistic):
    for bad in (
        "age",
        3,
        [1, 2],
        {"age": "60", "bili": [1], "stage": ["1"]},
        {"age": [1, 2], "bili": [1], "stage": ["1"]},
    ):
        with pytest.raises(DataError):
            logistic.predict(bad)
    with pytest.raises(DataError, match="'patient'"):
        logistic.predict({"age": [60], "bili": [1], "stage": ["1"]}, id_column="patient")


def test_no_rows_no_predictions(logistic):
    assert logistic.predict({"age": [], "bili": [], "stage": []}) == []


def test_inputs_are_not_changed(logistic):
    rows = {"age": np.array([60.0, np.nan]), "bili": np.array([1.0, 999.0]), "stage": np.array(["1", "2"])}
    before = {k: v.copy() for k, v in rows.items()}
    logistic.predict(rows)
    for name in rows:
        np.testing.assert_array_equal(rows[name], before[name])


def test_table_has_one_value_a_row(cox, rows):
    columns = table(cox.predict({**rows, "age": ["61", "12", "50", "60"]}, id_column="id"), cox.horizons)
    assert {len(v) for v in columns.values()} == {4}
    assert columns["risk@200"][1] is None
    assert columns["code"] == [None, "OUT_OF_RANGE", None, None]
    assert all(a < b for a, b in zip(columns["risk@200"], columns["risk@500"], strict=True) if a is not None)


def test_rows_become_json_types():
    record = PredictedRow(row=1, risk=(0.5,), score=0.5).to_dict()
    assert record["risk"] == [0.5]
    assert record["code"] is None


def test_schema_of_another_model_is_refused(logistic):
    other = Schema(inputs=(Input(name="weight", kind="number"),))
    with pytest.raises(BundleError, match="same inputs"):
        Bundle(logistic.model, other, logistic.manifest)
