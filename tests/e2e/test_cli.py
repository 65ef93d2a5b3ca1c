"""The verbs do what they say, print JSON when asked, and end with the exit code they promise."""

from __future__ import annotations

import json
import subprocess
import sys

import polars as pl
import pytest

from aimed.cli.app import app

VERBS = ("list", "new", "check", "plan", "run", "report", "compare", "predict", "label", "deidentify", "doctor", "demo")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished risk study for the verbs that read it."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("e2e_conftest", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("finished")
    module.table().drop("days", "died").write_csv(folder / "table.csv")
    (folder / "study.toml").write_text(module.RISK)
    import aimed

    aimed.study(folder / "study.toml").run(folder / "run")
    return folder


def test_the_ten_verbs_are_there():
    assert sorted(c.name or c.callback.__name__ for c in app.registered_commands) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli, verb):
    code, out, _ = cli(verb, "--help")
    assert code == 0
    assert "Usage" in out


def test_version_and_no_arguments(cli):
    import aimed

    assert cli("--version")[1].strip() == aimed.__version__
    _, out, err = cli()
    assert "Commands" in out + err


def test_list(cli):
    code, out, _ = cli("list", "--json")
    assert code == 0
    found = json.loads(out)
    assert {"cox", "logistic"} <= set(found["models"])
    assert "heart-attack-survival" in found["studies"]
    code, out, _ = cli("list", "models")
    assert "cox" in out
    assert "auroc" not in out
    code, _, err = cli("list", "modles")
    assert code == 2
    assert "did you mean 'models'" in err


def test_plan_and_check_train_nothing(cli, risk_study):
    code, out, _ = cli("plan", risk_study)
    assert code == 0
    assert "400 rows" in out
    code, out, _ = cli("check", risk_study, "--json")
    assert code == 0
    assert {f["severity"] for f in json.loads(out)["findings"]} <= {"NOTE", "WARN"}
    assert sorted(p.name for p in risk_study.parent.iterdir()) == ["study.toml", "table.csv"]


def test_run_prints_one_json_object_and_nothing_else(cli, risk_study):
    code, out, err = cli("run", risk_study, "--out", risk_study.parent / "run", "--json")
    record = json.loads(out)
    assert err == ""
    assert code == (0 if record["verdict"]["state"] == "met" else 1)
    assert record["notice"].endswith("Not a medical device.")


def test_a_verdict_that_is_not_met_has_exit_code_1(cli, risk_study):
    risk_study.write_text(risk_study.read_text().replace("auroc.lower >= 0.55", "auroc.lower >= 0.999"))
    code, out, _ = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code == 1
    assert "not met" in out


def test_report_is_written_again_from_results_alone(cli, finished):
    path = finished / "run" / "report.html"
    before = path.read_text()
    path.unlink()
    code, _, _ = cli("report", finished / "run")
    assert code == 0
    assert path.read_text() == before
    code, _, err = cli("report", finished)
    assert code == 3
    assert "run the study first" in err


def test_compare(cli, finished, tmp_path):
    code, out, _ = cli("compare", finished / "run", finished / "run", "--json", "--out", tmp_path / "c.html")
    record = json.loads(out)
    assert code == 0
    assert record["same_data"]
    assert record["measures"]["auroc"]["a"] == record["measures"]["auroc"]["b"]
    assert "<html" in (tmp_path / "c.html").read_text()


def test_predict_refuses_rows_with_a_code_and_no_value(cli, finished, tmp_path):
    rows = pl.DataFrame(
        {
            "patient": ["=cmd()", "n2", "n3", "n4"],
            "age": ["61.5", "6l", "70", "55"],
            "marker": ["3.1", "2.0", "", "2.5"],
            "sex": ["male", "female", "female", "SECRETSEX"],
        }
    )
    rows.write_csv(tmp_path / "new.csv")
    out_file = tmp_path / "predictions.csv"
    code, out, err = cli("predict", finished / "run", tmp_path / "new.csv", "--out", out_file, "--id", "patient")
    assert code == 0
    assert "2 predicted, 2 refused (NOT_A_NUMBER 1, UNSEEN_CATEGORY 1)" in err
    text = out_file.read_text()
    assert "SECRETSEX" not in text
    assert "6l" not in text
    made = pl.read_csv(out_file)
    assert made["risk"].is_between(0, 1).sum() == 2
    assert made["id"][0] == "'=cmd()"
    code, out, _ = cli("predict", finished / "run" / "bundle", tmp_path / "new.csv", "--json")
    record = json.loads(out)
    assert record["predicted"] == 2
    assert record["rows"][1]["code"] == "NOT_A_NUMBER"
    assert record["rows"][0]["reasons"]


def test_predict_equals_the_evaluated_model(cli, finished, tmp_path):
    made = pl.read_parquet(finished / "run" / "predictions.parquet")
    source = pl.read_csv(finished / "table.csv")[[int(i) for i in made["id"].to_list()]]
    source.write_csv(tmp_path / "test.csv")
    _, out, _ = cli("predict", finished / "run", tmp_path / "test.csv", "--json")
    rows = json.loads(out)["rows"]
    got = [row["risk"][0] if row["risk"] else None for row in rows]
    assert got == pytest.approx(made["risk"].to_list(), abs=1e-12)


def test_predict_with_all_rows_refused_or_a_column_missing(cli, finished, tmp_path):
    (tmp_path / "bad.csv").write_text("age,marker,sex\nx,1,male\n")
    assert cli("predict", finished / "run", tmp_path / "bad.csv")[0] == 4
    (tmp_path / "short.csv").write_text("age,sex\n61,male\n")
    code, _, err = cli("predict", finished / "run", tmp_path / "short.csv")
    assert code == 3
    assert "marker" in err


def test_predict_with_a_flipped_byte_is_refused(cli, finished, tmp_path):
    import shutil

    for member in sorted((finished / "run" / "bundle").iterdir()):
        copy = tmp_path / member.name.replace(".", "-")
        shutil.copytree(finished / "run" / "bundle", copy)
        data = bytearray((copy / member.name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / member.name).write_bytes(bytes(data))
        code, out, err = cli("predict", copy, finished / "table.csv")
        assert code == 4, member.name
        assert "Traceback" not in err
        assert out == ""


def test_new_writes_a_study_that_runs_its_checks(cli, risk_study, monkeypatch):
    folder = risk_study.parent
    monkeypatch.chdir(folder)
    code, _, err = cli("new", "table.csv", "--outcome", "dead", "--out", "mine.toml")
    assert code == 0, err
    text = (folder / "mine.toml").read_text()
    assert 'source = "table.csv"' in text
    assert 'patient = "patient"' in text
    assert cli("check", "mine.toml")[0] == 0
    assert cli("new", "table.csv", "--outcome", "dead", "--out", "mine.toml")[0] == 4
    code, _, err = cli("new", "table.csv", "--outcome", "deed", "--out", "other.toml")
    assert code == 3
    assert "did you mean 'dead'" in err
    assert not (folder / "other.toml").exists()


def test_new_for_survival(cli, survival_study, monkeypatch):
    monkeypatch.chdir(survival_study.parent)
    code, _, err = cli("new", "table.csv", "--time", "days", "--event", "died", "--horizon", "365", "--out", "s.toml")
    assert code == 0, err
    assert cli("check", "s.toml")[0] == 0


def test_doctor(cli):
    code, out, _ = cli("doctor", "--json")
    assert code == 0
    assert all(row["state"] == "ok" for row in json.loads(out) if row["what"] in ("numpy", "polars", "scikit-learn"))
    assert cli("doctor")[0] == 0


def test_demo_names(cli, tmp_path):
    code, _, err = cli("demo", "heart-attack-survivel", "--out", tmp_path)
    assert code == 2
    assert "did you mean 'heart-attack-survival'" in err


def test_demo_leaves_out_what_is_not_installed(cli, tmp_path, monkeypatch):
    from aimed.core import MissingExtraError
    from aimed.study import demo

    monkeypatch.setattr(demo, "SHIPPED", {"heart-attack-survival": demo.SHIPPED["heart-attack-survival"]})

    def absent(*_, **__):
        raise MissingExtraError("scikit-survival", "builtin:whas500", "pip install 'aimed[demo]'")

    monkeypatch.setattr("aimed.readers.builtin.load", absent)
    code, out, _ = cli("demo", "--out", tmp_path)
    assert code == 0
    assert "left out" in out
    assert "pip install 'aimed[demo]'" in out
    assert (tmp_path / "index.html").exists()
    assert cli("demo", "heart-attack-survival", "--out", tmp_path)[0] == 3


@pytest.mark.slow
def test_colour_and_bars_only_on_a_terminal(risk_study):
    command = [sys.executable, "-m", "aimed.cli", "run", str(risk_study), "--out", str(risk_study.parent / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "\x1b[" not in done.stdout + done.stderr
    assert "fit:" in done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['aimed', '--help']\n"
        "from aimed.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'sklearn', 'scipy', 'polars', 'optuna', 'matplotlib', 'shap', 'pandas', 'pydantic', 'torch'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "LOADED []" in out


def test_an_unforeseen_error_shows_no_value(cli, risk_study, monkeypatch):
    def broken(*_):
        raise ValueError("could not convert 'SECRET-NOTE' to float")

    monkeypatch.setattr("aimed.study.run.Study.read", broken)
    code, out, err = cli("run", risk_study, "--out", risk_study.parent / "run")
    assert code == 70
    assert "SECRET" not in out + err
    assert "ValueError in test_cli.py" in err


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("performance"),
        lambda r: r.update(verdict="met"),
        lambda r: r.update(study=None),
        lambda r: r["performance"].update(measures="good"),
        lambda r: r["model"].update(leaderboard=3),
    ],
)
def test_results_changed_by_hand_are_said_to_be(cli, finished, tmp_path, change):
    results = json.loads((finished / "run" / "results.json").read_text())
    change(results)
    (tmp_path / "results.json").write_text(json.dumps(results))
    for verb in (("report", tmp_path), ("compare", tmp_path, finished / "run")):
        code, _, err = cli(*verb)
        assert code in (0, 3), err
        assert "unforeseen" not in err


def test_numbers_changed_by_hand_are_refused(cli, finished, tmp_path):
    import shutil

    shutil.copytree(finished / "run", tmp_path / "run")
    path = tmp_path / "run" / "results.json"
    path.write_text(path.read_text().replace('"state": "met"', '"state": "not met"', 1) + " ")
    assert cli("report", tmp_path / "run")[0] == 4


def test_predict_carries_an_input_as_id_and_keeps_its_columns(cli, finished, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("age,marker,sex\n61,2.0,male\n")
    bad.write_text("age,marker,sex\nx,2.0,male\n")
    heads = [cli("predict", finished / "run", file)[1].splitlines()[0] for file in (good, bad)]
    assert heads[0] == heads[1]
    assert cli("predict", finished / "run", good, "--id", "age")[0] == 0
    good.write_text('age,marker,sex\n"1,061",2.0,male\n')
    assert cli("predict", finished / "run", good)[0] == 4


def test_check_says_what_a_model_would_refuse(cli, risk_study):
    text = risk_study.read_text()
    for extra in (
        'nonlinear = { sex = "spline(4)" }',
        'nonlinear = { age = "poly(3)" }',
        'nonlinear = { agee = "log" }',
    ):
        risk_study.write_text(text + f"[predictors]\n{extra}\n")
        code, _, err = cli("check", risk_study)
        assert code == 2, err


def test_control_characters_stay_out_of_the_terminal(cli, risk_study):
    risk_study.write_text(risk_study.read_text().replace("A small risk study", "A \\u001b[31mred study"))
    code, out, err = cli("plan", risk_study)
    assert code == 2
    assert "\x1b" not in out + err
