"""Bad input gets three short lines, the right exit code and no value of a patient, and leaves nothing behind."""

from __future__ import annotations

import polars as pl
import pytest

SECRET = "SECRET-NOTE"


def spoil(frame: pl.DataFrame, **columns) -> pl.DataFrame:
    return frame.with_columns(**{k: pl.Series(v, strict=False) for k, v in columns.items()})


def half(values, other):
    return [other if i == 7 else v for i, v in enumerate(values)]


def read(study):
    return pl.read_csv(study.parent / "table.csv")


CASES = {
    "missing column": (lambda f: f.drop("dead"), None, 3, "names the column 'dead'"),
    "patient column missing": (lambda f: f.drop("patient"), None, 3, "patient"),
    "one class only": (lambda f: spoil(f, dead=[0] * f.height), None, 3, "one class only"),
    "missing outcome": (lambda f: spoil(f, dead=half(f["dead"], None)), None, 3, "missing in 1 of 400"),
    "text outcome": (lambda f: spoil(f, dead=half(map(str, f["dead"]), SECRET)), None, 3, "3 different values"),
    "no rows after inclusion": (None, ('patient = "patient"', 'patient = "patient"\ninclude = ["age > 500"]'), 3,
                                "no rows are left"),
    "two rows": (lambda f: f.head(2), None, 3, ""),
    "infinite number": (lambda f: spoil(f, age=half(f["age"], float("inf"))), None, 3, "infinite"),
    "missing patient": (lambda f: spoil(f, patient=half(f["patient"], None)), None, 3, "missing in 1 of 400"),
    "outcome among predictors": (None, ("[split]", '[predictors]\ninclude = ["age", "dead"]\n[split]'), 2, "outcome"),
    "unknown key": (None, ("seed = 1", "sede = 1"), 2, "did you mean 'seed'"),
    "wrong type": (None, ("trials = 2", 'trials = "two"'), 2, "whole number"),
    "unknown model": (None, ('"logistic"', '"logistik"'), 2, "did you mean 'logistic'"),
    "survival model for a yes/no outcome": (None, ('"logistic"', '"cox"'), 2, "is for survival outcomes"),
    "unknown measure in a criterion": (None, ("auroc.lower", "aurok.lower"), 2, "did you mean 'auroc'"),
    "unknown subgroup column": (None, ('columns = ["sex"]', 'columns = ["sexx"]'), 3, "did you mean 'sex'"),
    "unknown tuning metric": (None, ("trials = 2", 'trials = 2\nmetric = "auc"'), 2, "no tuning metric called 'auc'"),
    "no predictors": (None, ("[split]", "[predictors]\ninclude = []\n[split]"), 3, "no column is left"),
    "broken TOML": (None, ("[split]", "[split"), 2, "not valid TOML"),
    "source not there": (None, ("table.csv", "tabel.csv"), 3, "did you mean 'table.csv'"),
    "negative logarithm": (lambda f: f.with_columns(age=pl.col("age") - 60),
                           ("[split]", '[predictors]\nnonlinear = { age = "log" }\n[split]'), 3, "negative"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_risk(cli, risk_study, case):
    change, edit, expected, words = CASES[case]
    frame = read(risk_study).with_columns(pl.lit(SECRET).alias("remark"))
    (change(frame) if change else frame).write_csv(risk_study.parent / "table.csv")
    if edit:
        assert edit[0] in risk_study.read_text()
        risk_study.write_text(risk_study.read_text().replace(*edit))
    code, out, err = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code == expected, err
    assert words in err
    assert "Traceback" not in err + out
    assert SECRET not in err + out
    assert "P00" not in err + out
    left = {p.name for p in (risk_study.parent / "run").rglob("*")} if (risk_study.parent / "run").exists() else set()
    assert not {"results.json", "report.html", "bundle", "predictions.parquet", "openings.json"} & left
    assert not [name for name in left if name.endswith(".part")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: spoil(f, died=[0] * f.height), "no events of interest in 400 rows"),
        (lambda f: spoil(f, days=half(f["days"], -3)), "zero or negative in 1 of 400"),
        (lambda f: spoil(f, days=half(f["days"], 0)), "zero or negative in 1 of 400"),
        (lambda f: spoil(f, days=half(map(str, f["days"]), SECRET)), "text in 1 of 400"),
        (lambda f: spoil(f, died=half(f["died"], 2)), "3 different values"),
        (lambda f: spoil(f, died=half(f["died"], None)), "missing in 1 of 400"),
        (lambda f: f.with_columns(days=pl.col("days").clip(1, 90)), ""),
    ],
)
def test_survival(cli, survival_study, change, words):
    change(read(survival_study)).write_csv(survival_study.parent / "table.csv")
    code, out, err = cli("run", survival_study, "--out", survival_study.parent / "run")
    assert code == 3, err
    assert words in err
    assert "Traceback" not in err
    assert SECRET not in err + out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"patient,age,marker,sex,dead\n", "no rows"),
        ("patient,age,marker,sex,dead\nP1,60,1,m\xe4nnlich,1\nP2,50,1,w,0\n".encode("latin-1"), "UTF-8"),
    ],
)
def test_files(cli, risk_study, content, words):
    (risk_study.parent / "table.csv").write_bytes(content)
    code, _, err = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code == 3, err
    assert words in err
    assert not (risk_study.parent / "run").exists()


def test_one_patient_in_both_parts_of_a_given_split(cli, risk_study):
    frame = read(risk_study).with_columns(part=pl.Series(["train", "test"] * 200))
    frame.write_csv(risk_study.parent / "table.csv")
    text = risk_study.read_text().replace("[split]\n", '[split]\ntest = { by = "column", column = "part" }\n')
    risk_study.write_text(text)
    code, _, err = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code == 3
    assert "stand in both train and test" in err


def test_a_category_unseen_in_training_is_evaluated_and_later_refused(cli, risk_study):
    import json

    frame = read(risk_study)
    dates = pl.Series([f"2020-01-{1 + i * 27 // frame.height:02d}" for i in range(frame.height)])
    late = frame.with_columns(
        admitted=dates, sex=pl.when(pl.arange(0, 400) >= 380).then(pl.lit("other")).otherwise("sex")
    )
    late.write_csv(risk_study.parent / "table.csv")
    text = risk_study.read_text().replace('patient = "patient"', 'patient = "patient"\ntime = "admitted"')
    text = text.replace("[split]\n", '[split]\ntest = { by = "time", from = 2020-01-21 }\n')
    risk_study.write_text(text)
    code, _, err = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code in (0, 1), err
    code, out, _ = cli("predict", risk_study.parent / "run", risk_study.parent / "table.csv", "--json")
    assert json.loads(out)["refused"] == {"UNSEEN_CATEGORY": 20}


def test_json_errors_are_one_object(cli, risk_study):
    import json

    risk_study.write_text(risk_study.read_text().replace("seed = 1", "sede = 1"))
    code, out, err = cli("run", risk_study, "--json")
    assert code == 2
    assert json.loads(out)["error"]["do"] == "did you mean 'seed'?"
    assert err == ""


def test_a_run_folder_that_is_a_file(cli, risk_study):
    (risk_study.parent / "run").write_text("not a folder")
    code, _, err = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code == 3
    assert "cannot be made" in err
