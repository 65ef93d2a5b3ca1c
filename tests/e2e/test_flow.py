"""A study goes from table to evidence in one command, resumes, repeats, and counts openings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.bundle.load import load
from aimed.core import DataError, RefusedError
from aimed.study.run import Reporter
from aimed.study.tasks import TASKS


class Listener(Reporter):
    def __init__(self):
        self.resumed = {}

    def finished(self, stage, seconds, resumed):
        self.resumed[stage] = resumed


def without_time(results: dict) -> dict:
    out = json.loads(json.dumps(results))
    out.pop("created")
    out["reproduce"].pop("seconds")
    out["reproduce"].pop("peak_memory_mb")
    out["model"]["tuning"].pop("seconds")
    out["model"]["tuning"].pop("resumed")
    for row in out["model"]["leaderboard"]:
        row.pop("seconds")
    for o in out["split"]["openings"]:
        o.pop("when")
    return out


@pytest.mark.parametrize("which", ["risk_study", "survival_study", "competing_study"])
def test_one_run_leaves_everything(which, request):
    file = request.getfixturevalue(which)
    run = aimed.study(file).run(file.parent / "run")
    folder = file.parent / "run"
    for name in ("results.json", "report.html", "model_card.md", "predictions.parquet", "splits.lock",
                 "openings.json", "provenance.json", "bundle/manifest.json"):  # fmt: skip
        assert (folder / name).is_file(), name
    assert run.verdict in ("met", "not met", "not enough evidence")
    assert run.results["verdict"]["openings"] == 1
    html = run.report.read_text()
    assert len(html) < 3 * 2**20
    assert "not a medical device" in html.lower()
    # No patient row, id or note anywhere in what is shown.
    shown = html + (folder / "results.json").read_text() + (folder / "model_card.md").read_text()
    assert not re.search(r"P0\d\d\d", shown)
    assert not re.search(r"P0\d\d\d", (folder / "splits.lock").read_text())
    # No network: every reference stays inside the page.
    assert not re.findall(r'(?:src|href)="(?!#|data:)(?!https://)[^"]*"', html)
    assert "<script src" not in html
    assert not re.findall(r"url\((?!#|data:)", html)
    test_rows = pl.read_parquet(folder / "predictions.parquet")
    assert test_rows.height == run.results["data"]["parts"]["test"]["n"]
    if which == "competing_study":
        # The hazards of the chosen model do not say what moves the incidence.
        assert not (folder / "reasons.parquet").exists()
        return
    reasons = pl.read_parquet(folder / "reasons.parquet")
    assert set(reasons["reason_1"]) <= {"age", "marker", "sex"}
    assert (reasons["contribution_1"].abs() >= reasons["contribution_2"].abs()).all()
    assert set(reasons["id"]) <= set(test_rows["id"])


@pytest.mark.parametrize("candidate", ["cause_specific_cox", "fine_gray", "survival_forest", "survival_boosting"])
def test_competing_events_go_through_every_stage(competing_study, cli, candidate):
    text = competing_study.read_text().replace("[tune]\n", f'[model]\ncandidates = ["{candidate}"]\n[tune]\n', 1)
    competing_study.write_text(text)
    run = aimed.study(competing_study).run(competing_study.parent / "run")
    record = run.results
    assert record["outcome"]["kind"] == record["performance"]["kind"] == "competing"
    assert record["outcome"]["competing"] == ["Transplantation"]
    causes = record["outcome"]["curve"]["causes"]
    assert [c["label"] for c in causes] == ["Death", "Transplantation"]
    total = np.sum([c["incidence"] for c in causes], axis=0) + record["outcome"]["curve"]["event_free"]
    np.testing.assert_allclose(total.astype(float), 1)
    assert record["performance"]["baselines"]["aalen_johansen"]["cause_specific_c"]["value"] == 0.5
    # Treating transplantation as censoring would overstate the risk; the predicted incidence must not.
    assert 0.7 < record["performance"]["measures"]["oe@300"]["value"] < 1.4
    html = run.report.read_text()
    assert "Transplantation" in html
    new = competing_study.parent / "new.csv"
    pl.read_csv(competing_study.parent / "table.csv").drop_nulls().head(5).write_csv(new)
    code, out, err = cli("predict", competing_study.parent / "run", new, "--id", "patient", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert len(rows) == 5
    for row in rows:
        assert 0 < row["risk"][0] < row["risk"][1] < 1


def test_reasons_of_a_hazard_are_not_given_for_an_incidence(competing_study, cli):
    run = aimed.study(competing_study).run(competing_study.parent / "run")
    assert run.results["model"]["name"] == "cause_specific_cox"
    assert run.results["explanation"]["shap"] is None
    table = competing_study.parent / "table.csv"
    _, out, _ = cli("predict", competing_study.parent / "run", table, "--json")
    rows = [row for row in json.loads(out)["rows"] if row["risk"] is not None]
    assert not any(row["reasons"] for row in rows)
    assert [row["score"] for row in rows] == pytest.approx([row["risk"][-1] for row in rows], rel=1e-12)
    assert "where other events come first" in run.results["explanation"]["shap_note"]


def test_imputed_sets_keep_a_patients_rows_together(survival_study):
    text = survival_study.read_text().replace("[predictors]\n", '[predictors]\nmissing = "multiple_imputation"\n')
    survival_study.write_text(text.replace("[tune]\n", "[model]\nparameters.cox = { penalty = 0.0 }\n[tune]\n", 1))
    run = aimed.study(survival_study).run(survival_study.parent / "run")
    for row in run.results["model"]["coefficients"]:
        assert "robust error" in row["note"]
        assert row["lower"] < row["estimate"] < row["upper"]
        assert row["fmi"] is not None


def test_a_rare_competing_event_stops_the_run(competing_study):
    frame = pl.read_csv(competing_study.parent / "table.csv")
    kept = frame.with_row_index().with_columns(
        status=pl.when((pl.col("status") == "transplanted") & (pl.col("index") > 40))
        .then(pl.lit("alive"))
        .otherwise(pl.col("status"))
    )
    kept.drop("index").write_csv(competing_study.parent / "table.csv")
    with pytest.raises(DataError, match="Transplantation"):
        aimed.study(competing_study).run(competing_study.parent / "run")


def test_the_test_part_shares_no_patient(risk_study):
    run = aimed.study(risk_study).run(risk_study.parent / "run")
    assert run.results["split"]["proof"]["shared_patients"] == {"train+test": 0}


def test_a_second_run_does_nothing_and_a_seed_repeats_bit_for_bit(survival_study):
    home = survival_study.parent
    first = aimed.study(survival_study).run(home / "a")
    heard = Listener()
    again = aimed.study(survival_study).run(home / "a", heard)
    assert [s for s, resumed in heard.resumed.items() if not resumed] == ["read"]
    assert again.results == first.results
    other = aimed.study(survival_study).run(home / "b")
    assert without_time(other.results) == without_time(first.results)
    assert (home / "a" / "bundle" / "model.json").read_bytes() == (home / "b" / "bundle" / "model.json").read_bytes()


def test_thread_count_does_not_change_results(risk_study):
    text = risk_study.read_text().replace('["logistic"]', '["logistic", "gradient_boosting", "random_forest"]')
    risk_study.write_text(text)
    found = []
    for threads in ("1", "2"):
        out = risk_study.parent / f"t{threads}"
        env = {**os.environ, "OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
        command = [sys.executable, "-m", "aimed.cli", "run", str(risk_study), "--out", str(out), "--json"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        found.append(without_time(json.loads((out / "results.json").read_text())))
    assert found[0] == found[1]


def test_changing_only_the_report_keeps_the_model_and_the_opening(risk_study):
    folder = risk_study.parent / "run"
    aimed.study(risk_study).run(folder)
    risk_study.write_text(risk_study.read_text().replace("A small risk study", "Another title"))
    heard = Listener()
    run = aimed.study(risk_study).run(folder, heard)
    assert {s for s, resumed in heard.resumed.items() if not resumed} == {"read", "report", "package"}
    assert run.results["study"]["title"] == "Another title"
    assert run.results["verdict"]["openings"] == 1
    assert run.results["verdict"]["changed_after_opening"] is True


def test_another_model_opens_the_test_part_again(risk_study):
    folder = risk_study.parent / "run"
    aimed.study(risk_study).run(folder)
    risk_study.write_text(risk_study.read_text().replace('["logistic"]', '["decision_tree"]'))
    run = aimed.study(risk_study).run(folder)
    assert run.results["verdict"]["openings"] == 2
    assert "2 times" in " ".join(run.results["limits"]["limitations"])


def test_criteria_moved_after_the_opening_are_said_to_be(risk_study):
    folder = risk_study.parent / "run"
    aimed.study(risk_study).run(folder)
    risk_study.write_text(risk_study.read_text().replace("auroc.lower >= 0.55", "auroc.lower >= 0.5"))
    run = aimed.study(risk_study).run(folder)
    assert run.results["verdict"]["changed_after_opening"] is True


def test_the_lock_refuses_new_patients_and_new_settings(risk_study):
    folder = risk_study.parent / "run"
    aimed.study(risk_study).run(folder)
    text = risk_study.read_text()
    risk_study.write_text(text.replace("[split]\n", "[split]\ntest = { fraction = 0.4 }\n"))
    with pytest.raises(RefusedError, match="differs"):
        aimed.study(risk_study).run(folder)
    risk_study.write_text(text)
    data = risk_study.parent / "table.csv"
    data.write_text(data.read_text() + "P9999,61,2.0,male,1\n")
    with pytest.raises(RefusedError, match="1 patients are new"):
        aimed.study(risk_study).run(folder)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "wait_for",
    [
        pytest.param("stages/check.json", marks=SLOW),
        "fit",
        pytest.param("stages/fit.json", marks=SLOW),
        "openings.json",
    ],
)
def test_a_killed_run_goes_on_and_ends_the_same(survival_study, wait_for):
    text = survival_study.read_text().replace("trials = 2", "trials = 6").replace("draws = 60", "draws = 200")
    survival_study.write_text(text)
    whole = aimed.study(survival_study).run(survival_study.parent / "whole")
    folder = survival_study.parent / "killed"
    command = [sys.executable, "-m", "aimed.cli", "run", str(survival_study), "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / wait_for).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / wait_for).exists()
    heard = Listener()
    run = aimed.study(survival_study).run(folder, heard)
    assert without_time(run.results) == without_time(whole.results)
    assert run.results["verdict"]["openings"] == 1
    assert not list(folder.rglob("*.part"))
    if wait_for != "fit":
        assert heard.resumed["check"]


def test_a_stop_finding_ends_the_run_before_anything_is_trained(risk_study):
    table = pl.read_csv(risk_study.parent / "table.csv").with_columns(copy=pl.col("dead") * 2 + 1)
    table.write_csv(risk_study.parent / "table.csv")
    with pytest.raises(DataError, match="copy"):
        aimed.study(risk_study).run(risk_study.parent / "run")
    assert not (risk_study.parent / "run" / "fit").exists()
    assert not (risk_study.parent / "run" / "openings.json").exists()


def test_a_full_disk_leaves_finished_stages(risk_study, monkeypatch):
    folder = risk_study.parent / "run"
    from aimed.study import store

    real = os.replace

    def full(source, target):
        if str(target).endswith("predictions.parquet"):
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.raises(DataError, match="No space left"):
        aimed.study(risk_study).run(folder)
    assert not (folder / "predictions.parquet").exists()
    monkeypatch.undo()
    heard = Listener()
    aimed.study(risk_study).run(folder, heard)
    assert heard.resumed["fit"]


def test_complete_case_counts_rows_without_prediction(risk_study):
    risk_study.write_text(risk_study.read_text() + '[predictors]\nmissing = "complete_case"\n')
    run = aimed.study(risk_study).run(risk_study.parent / "run")
    assert run.results["performance"]["without_prediction"] > 0
    assert any("no prediction" in line for line in run.results["limits"]["limitations"])


@pytest.mark.parametrize("missing", ["iterative", "mean", "multiple_imputation"])
def test_other_ways_with_missing_values(risk_study, missing):
    risk_study.write_text(risk_study.read_text() + f'[predictors]\nmissing = "{missing}"\n')
    run = aimed.study(risk_study).run(risk_study.parent / "run")
    assert run.results["model"]["missing_method"] == missing


@pytest.mark.parametrize("which", ["survival_study", "competing_study"])
def test_multiple_imputation_goes_through_every_stage(which, request):
    path = request.getfixturevalue(which)
    cause = "cause_specific_cox" if which == "competing_study" else "cox"
    text = path.read_text().replace("[predictors]", '[predictors]\nmissing = "multiple_imputation"\nimputations = 4')
    fixed = f'[model]\ncandidates = ["{cause}"]\n[model.parameters.{cause}]\npenalty = 0.0\n'
    path.write_text(text + fixed)
    table = pl.read_csv(path.parent / "table.csv")
    table.with_columns(patient=pl.Series([f"P{i:04d}" for i in range(table.height)])).write_csv(
        path.parent / "table.csv"
    )
    run = aimed.study(path).run(path.parent / "run")
    block = run.results["model"]
    assert block["missing_method"] == "multiple_imputation"
    assert block["imputation"]["sets"] == 4
    assert set(block["imputation"]["columns"]) == {"marker"}
    pooled = next(row for row in block["coefficients"] if row["term"] == "marker")
    assert 0 < pooled["fmi"] < 1
    assert pooled["lower"] < pooled["estimate"] < pooled["upper"]
    assert pooled["standard_error"] > 0
    assert block["imputation"]["largest_fmi"] >= pooled["fmi"]
    report = (run.folder / "report.html").read_text()
    assert "m = 4 imputed data sets" in report
    assert "Fraction of missing information" in report
    assert "Rubin" in report
    rows = load(run.folder / "bundle").predict({"age": ["60", "60"], "sex": ["male", "male"], "marker": ["4", ""]})
    known, unknown = (row.upper[0] - row.lower[0] for row in rows)
    assert unknown > known


def test_optimism_is_measured_when_asked(risk_study):
    risk_study.write_text(risk_study.read_text().replace("draws = 60", "draws = 60\noptimism = 15"))
    block = aimed.study(risk_study).run(risk_study.parent / "run").results["model"]["optimism"]
    assert block["draws"] == 15
    assert block["corrected"]["value"] == pytest.approx(block["apparent"]["value"] - block["optimism"])
    assert block["optimism"] > -0.02


def test_a_published_formula_stands_beside_the_model(risk_study):
    text = risk_study.read_text().replace('candidates = ["logistic"]',
        'candidates = ["logistic"]\nbaselines = ["prevalence", "published:simple"]\n'
        '[model.published.simple]\nsource = "Simulated for this test, 2026"\nintercept = -4.0\n'
        'coefficients = { age = 0.05, "sex=male" = 0.3 }')  # fmt: skip
    risk_study.write_text(text)
    results = aimed.study(risk_study).run(risk_study.parent / "run").results
    assert set(results["performance"]["differences"]) == {"prevalence", "published:simple"}
    table = pl.read_parquet(risk_study.parent / "run" / "predictions.parquet")
    source = pl.read_csv(risk_study.parent / "table.csv")
    rows = source[[int(i) for i in table["id"].to_list()]]
    eta = -4.0 + 0.05 * rows["age"].to_numpy() + 0.3 * (rows["sex"] == "male").to_numpy()
    y = rows["dead"].to_numpy()
    expected = np.mean((1 / (1 + np.exp(-eta)) - y) ** 2)
    assert results["performance"]["baselines"]["published:simple"]["brier"]["value"] == pytest.approx(expected)


def test_temporal_split_tests_on_later_patients(risk_study):
    path = risk_study.parent / "table.csv"
    table = pl.read_csv(path)
    days = np.arange(table.height)
    dates = (np.datetime64("2020-01-01") + days.astype("timedelta64[D]")).astype(str)
    table.with_columns(admitted=pl.Series(dates)).write_csv(path)
    text = risk_study.read_text().replace('patient = "patient"', 'patient = "patient"\ntime = "admitted"')
    risk_study.write_text(text.replace("[split]\n", '[split]\ntest = { by = "time", from = 2020-10-15 }\n'))
    results = aimed.study(risk_study).run(risk_study.parent / "run").results
    assert results["split"]["by"] == "time"
    assert results["data"]["parts"]["test"]["n"] == 400 - 288


def test_uci_heart_is_tested_at_another_site(tmp_path, shared_data):
    names = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca",
             "thal", "num"]  # fmt: skip
    sites = {"Cleveland": "heart_disease.csv", "Hungary": "processed.hungarian.data"}
    frames = [
        pl.read_csv(shared_data("heart", file), has_header=False, new_columns=names, infer_schema=False).with_columns(
            site=pl.lit(site)
        )
        for site, file in sites.items()
    ]
    whole = (
        pl.concat(frames)
        .with_row_index("id")
        .with_columns(disease=(pl.col("num").cast(pl.Float64, strict=False) > 0).cast(pl.Int8))
    )
    whole.drop("num").write_csv(tmp_path / "heart.csv")
    (tmp_path / "heart.toml").write_text("""schema = 1
[study]
id = "heart-sites"
title = "Coronary disease, tested in another country"
task = "classify"
[data]
source = "heart.csv"
patient = "id"
site = "site"
include = ["disease is known"]
[outcome]
column = "disease"
[predictors]
include = ["age", "sex", "cp", "trestbps", "thalach", "exang", "oldpeak"]
[split]
test = { by = "site", hold_out = ["Hungary"] }
tune = { by = "patient", folds = 3 }
[model]
candidates = ["logistic"]
[tune]
trials = 2
[evaluate]
draws = 100
accept = ["auroc.lower >= 0.7"]
[explain]
repeats = 3
effects = 2
""")
    results = aimed.study(tmp_path / "heart.toml").run(tmp_path / "run").results
    assert results["data"]["sites"] == {"Cleveland": 303, "Hungary": 294}
    auroc = results["performance"]["measures"]["auroc"]
    assert 0.8 < auroc["value"] < 0.95
    assert results["verdict"]["state"] == "met"


def test_three_line_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(Path(__file__).parent))
    rng = np.random.default_rng(1)
    n = 300
    x = rng.normal(size=n)
    frame = pl.DataFrame({"pid": np.arange(n), "x": x, "noise": rng.normal(size=n),
                          "sick": (rng.random(n) < 1 / (1 + np.exp(-1.5 * x))).astype(int)})  # fmt: skip
    monkeypatch.setitem(TASKS, "risk", replace(TASKS["risk"], candidates=("logistic",)))
    run = aimed.fit(frame, outcome="sick", patient="pid", study_id="quick")
    assert run.results["performance"]["measures"]["auroc"]["value"] > 0.65
    assert (tmp_path / "runs" / "quick" / "study.toml").exists()
    assert aimed.study(tmp_path / "runs" / "quick" / "study.toml", data=frame).spec.outcome.column == "sick"


def test_control_c_says_how_to_go_on(survival_study):
    survival_study.write_text(survival_study.read_text().replace("trials = 2", "trials = 200"))
    folder = survival_study.parent / "run"
    command = [sys.executable, "-m", "aimed.cli", "run", str(survival_study), "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(folder.glob("fit/*.log")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err


def test_a_changed_outcome_is_checked_anew(survival_study):
    folder = survival_study.parent / "run"
    aimed.study(survival_study).run(folder)
    survival_study.write_text(survival_study.read_text().replace("[100, 300]", "[100, 2000]"))
    with pytest.raises(DataError, match="2000"):
        aimed.study(survival_study).run(folder)
    assert not (folder / "report.html").exists()
    assert (folder / "stale" / "report.html").exists()


def test_ways_around_the_counter_are_closed(risk_study):
    folder = risk_study.parent / "run"
    aimed.study(risk_study).run(folder)
    # Other outcomes in the same rows are another look.
    data = risk_study.parent / "table.csv"
    text = data.read_text()
    table = pl.read_csv(data)
    flipped = table.with_columns(dead=pl.when(pl.arange(0, 400) < 5).then(1 - pl.col("dead")).otherwise("dead"))
    flipped.write_csv(data)
    assert aimed.study(risk_study).run(folder).results["verdict"]["openings"] == 2
    data.write_text(text)
    # Other subgroups are another look.
    risk_study.write_text(risk_study.read_text().replace('columns = ["sex"]', "columns = []"))
    assert aimed.study(risk_study).run(folder).results["verdict"]["openings"] == 3
    # A spec changed in Python is seen to be changed.
    study = aimed.study(risk_study)
    looser = study.spec.model_copy(
        update={"evaluate": study.spec.evaluate.model_copy(update={"accept": ("auroc.lower >= 0.1",)})}
    )
    assert aimed.study(looser).run(folder).results["verdict"]["changed_after_opening"]
    # A record that is gone, or a lock that was edited, is refused.
    openings = (folder / "openings.json").read_text()
    (folder / "openings.json").unlink()
    with pytest.raises(RefusedError, match=r"openings.json is gone"):
        aimed.study(risk_study).run(folder)
    (folder / "openings.json").write_text(openings)
    lock = json.loads((folder / "splits.lock").read_text())
    patients = lock["patients"]
    patients["train"][0], patients["test"][0] = patients["test"][0], patients["train"][0]
    (folder / "splits.lock").write_text(json.dumps(lock))
    with pytest.raises(RefusedError, match=r"splits.lock is not the one"):
        aimed.study(risk_study).run(folder)


def test_a_predictor_without_values_and_groups_that_are_values(risk_study):
    data = risk_study.parent / "table.csv"
    pl.read_csv(data).with_columns(empty=pl.lit(None, dtype=pl.Float64)).write_csv(data)
    run = aimed.study(risk_study).run(risk_study.parent / "run")
    assert any("empty" in f["message"] or f["where"] == "empty" for f in run.results["checks"])
    from aimed.core import StudyFileError

    for column in ("age", "marker"):
        risk_study.write_text(risk_study.read_text().replace('columns = ["sex"]', f'columns = ["{column}"]'))
        with pytest.raises(StudyFileError, match="cut it"):
            aimed.study(risk_study).run(risk_study.parent / "run2")
        risk_study.write_text(risk_study.read_text().replace(f'columns = ["{column}"]', 'columns = ["sex"]'))


def test_repeated_rows_widen_every_interval(risk_study):
    data = risk_study.parent / "table.csv"
    table = pl.read_csv(data).with_columns(patient=pl.Series([f"Q{i:04d}" for i in range(400)]))
    table.write_csv(data)
    single = aimed.study(risk_study).run(risk_study.parent / "single").results
    rng = np.random.default_rng(0)
    pl.concat([table.with_columns(age=pl.col("age") + rng.normal(0, 0.01, 400)) for _ in range(4)]).write_csv(data)
    copied = aimed.study(risk_study).run(risk_study.parent / "copied").results

    def width(m):
        return m["upper"] - m["lower"]

    for part in ("all", "train", "test"):
        a, b = (r["outcome"]["prevalence"][part] for r in (single, copied))
        assert width(b) > 0.8 * width(a), part
    a, b = (next(c for c in r["model"]["coefficients"] if c["term"] == "age") for r in (single, copied))
    assert width(b) > 0.7 * width(a)
    assert "several rows" in b["note"]


def test_robust_errors_of_a_cox_study_survive_a_restart(survival_study):
    folder = survival_study.parent / "run"
    first = aimed.study(survival_study).run(folder).results["model"]["coefficients"]
    age = next(c for c in first if c["term"] == "age")
    assert "robust error" in age["note"]
    assert age["lower"] < age["estimate"] < age["upper"]
    for stage in ("explain", "audit", "report", "package"):
        (folder / "stages" / f"{stage}.json").unlink(missing_ok=True)
    assert aimed.study(survival_study).run(folder).results["model"]["coefficients"] == first


def test_native_missing_values_are_for_trees(risk_study):
    text = risk_study.read_text().replace('["logistic"]', '["logistic", "gradient_boosting"]')
    risk_study.write_text(text + '[predictors]\nmissing = "native"\n')
    board = aimed.study(risk_study).run(risk_study.parent / "run").results["model"]["leaderboard"]
    assert all(row["folds"] for row in board)
