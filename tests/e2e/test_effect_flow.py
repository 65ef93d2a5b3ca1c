"""A small simulated trial goes from table to evidence and bundle, resumes, counts openings, and shows nobody."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.bundle.load import load
from aimed.core import DataError
from aimed.study.run import Reporter
from aimed.study.shipped import SHIPPED

ID = re.compile(r"P\d\d\d\d")
SHOWN = ("results.json", "report.html", "model_card.md", "findings.json", "splits.lock", "provenance.json")


class Listener(Reporter):
    def __init__(self):
        self.resumed = {}

    def finished(self, stage, seconds, resumed):
        self.resumed[stage] = resumed


def write(trials, folder, kind="binary", *changes, **options):
    trials.frame(**options).write_csv(folder / "table.csv")
    groups = ("[evaluate]", '[subgroups]\ncolumns = ["sex"]\nmin_events = 5\n[evaluate]')
    (folder / "study.toml").write_text(trials.study(kind, groups, *changes))
    return folder / "study.toml"


@pytest.fixture(scope="module")
def ran(trials, tmp_path_factory):
    """Return the study file and the run of a small trial; not to be changed."""
    accept = 'draws = 50\naccept = ["risk_difference.upper < 0.5", "max_smd <= 0.0001"]'
    file = write(trials, tmp_path_factory.mktemp("trial"), "binary", ("draws = 50", accept), n=300)
    return file, aimed.study(file).run(file.parent / "run")


def test_one_run_leaves_everything(ran):
    file, run = ran
    folder = file.parent / "run"
    for name in (*SHOWN, "predictions.parquet", "openings.json", "bundle/manifest.json"):
        assert (folder / name).is_file(), name
    assert run.verdict == "not met"
    assert [row["state"] for row in run.results["verdict"]["criteria"]] == ["met", "not met"]
    assert run.results["verdict"]["openings"] == 1
    record = json.loads((folder / "results.json").read_text())
    assert record["effect"]["estimand"]["contrast"] == "risk_difference"
    assert record["performance"]["kind"] == "effect"
    table = pl.read_csv(file.parent / "table.csv")
    rates = table.group_by("arm").agg(pl.col("dead").mean()).to_dict(as_series=False)
    rate = dict(zip(rates["arm"], rates["dead"], strict=True))
    assert record["effect"]["crude"]["risk_difference"]["value"] == pytest.approx(rate["drug"] - rate["placebo"])
    assert [row["column"] for row in record["effect"]["subgroups"]["rows"]] == ["sex", "sex"]
    assert len(record["effect"]["patients"]) == 3
    predictions = pl.read_parquet(folder / "predictions.parquet")
    assert predictions.height == record["data"]["parts"]["test"]["n"]


def test_nobody_is_shown(ran):
    file, run = ran
    folder = file.parent / "run"
    for path in (*(folder / name for name in SHOWN), *(folder / "bundle").iterdir()):
        assert not ID.search(path.read_bytes().decode("latin-1")), path.name
    html = run.report.read_text()
    assert "not a medical device" in html.lower()
    assert "placebo" in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)(?!https://)[^"]*"', html)
    assert "<script src" not in html


def test_the_bundle_answers_as_the_run_did(ran, cli):
    file, run = ran
    folder = file.parent / "run"
    table = pl.read_csv(file.parent / "table.csv")
    predictions = pl.read_parquet(folder / "predictions.parquet")
    rows = table.filter(pl.col("patient").is_in(predictions["patient"].implode()))
    rows.write_csv(file.parent / "new.csv")
    code, out, err = cli("predict", folder, file.parent / "new.csv", "--id", "patient", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["arms"] == {"active": "drug", "control": "placebo"}
    assert said["predicted"] == rows.height
    assert said["average"] == load(folder / "bundle").model.average
    effects = {row["id"]: row for row in said["rows"]}
    expected = dict(zip(predictions["patient"], predictions["effect"], strict=True))
    for name, effect in expected.items():
        assert effects[name]["effect"] == effect
        assert 0 <= effects[name]["active"] <= 1
    doubt = {w["code"] for row in said["rows"] for w in row["warnings"]}
    assert ("NO_HETEROGENEITY_SHOWN" in doubt) == (run.results["effect"]["heterogeneity"]["state"] != "evidence")


def test_predictions_as_a_table_with_refused_rows(ran, cli, tmp_path):
    file, _ = ran
    new = tmp_path / "new.csv"
    new.write_text("who,age,marker\n=1+1,60,4\nb,old,4\nc,,\n")
    code, _, err = cli("predict", file.parent / "run", new, "--id", "who", "--out", tmp_path / "out.csv")
    assert code == 0, err
    found = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["code"] for row in found] == ["", "NOT_A_NUMBER", ""]
    assert found[0]["id"] == "'=1+1"
    assert found[1]["effect"] == ""
    assert "old" not in found[1]["reason"]
    assert float(found[0]["effect"]) == pytest.approx(float(found[0]["active"]) - float(found[0]["control"]), abs=1e-9)


def test_a_second_run_does_nothing_and_another_folder_repeats_it(ran):
    file, run = ran
    heard = Listener()
    again = aimed.study(file).run(file.parent / "run", reporter=heard)
    assert [s for s, resumed in heard.resumed.items() if not resumed] == ["read"]
    assert again.results["verdict"]["openings"] == 1
    other = aimed.study(file).run(file.parent / "other")
    assert json.dumps(other.results["effect"]) == json.dumps(run.results["effect"])
    assert json.dumps(other.results["performance"]) == json.dumps(run.results["performance"])
    for name in ("model.json", "model.skops", "pipeline.json"):
        assert (file.parent / f"other/bundle/{name}").read_bytes() == (file.parent / f"run/bundle/{name}").read_bytes()


def test_a_changed_question_counts_an_opening(trials, tmp_path, cli):
    file = write(trials, tmp_path, n=200)
    code, _, err = cli("run", file, "--out", tmp_path / "run")
    assert code in (0, 1), err
    text = file.read_text()
    file.write_text(text.replace("[split]", "[policy]\nburden = 0.05\n[split]", 1))
    run = aimed.study(file).run(tmp_path / "run")
    assert run.results["verdict"]["openings"] == 2
    assert run.results["effect"]["policy"]["preferences"]["burden"] == 0.05
    file.write_text(text.replace("[split]", '[estimand]\nalso = ["risk_ratio"]\n[policy]\nburden = 0.05\n[split]', 1))
    heard = Listener()
    run = aimed.study(file).run(tmp_path / "run", reporter=heard)
    assert run.results["verdict"]["openings"] == 3
    assert "risk_ratio" in run.results["performance"]["measures"]
    with open(tmp_path / "run" / "openings.json", encoding="utf-8") as openings:
        assert len(json.load(openings)) == 3


def test_a_changed_report_opens_nothing(trials, tmp_path):
    file = write(trials, tmp_path, n=200)
    aimed.study(file).run(tmp_path / "run")
    file.write_text(file.read_text().replace('title = "A small trial"', 'title = "Another name"'))
    run = aimed.study(file).run(tmp_path / "run")
    assert run.results["verdict"]["openings"] == 1
    assert run.results["study"]["title"] == "Another name"


@pytest.mark.parametrize("kind", ["continuous", "survival", "competing"])
def test_every_kind_of_outcome_goes_through_every_stage(trials, tmp_path, cli, kind):
    file = write(trials, tmp_path, kind, n=240)
    run = aimed.study(file).run(tmp_path / "run")
    assert run.results["effect"]["average"]
    assert not ID.search((tmp_path / "run" / "results.json").read_text() + run.report.read_text())
    code, out, err = cli("predict", tmp_path / "run", tmp_path / "table.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["predicted"] == 240


def test_records_go_through_every_stage(trials, tmp_path):
    changes = [
        ('["effect_model"]', '["dr_learner"]\nparameters.dr_learner = { outcome_model = "linear" }'),
        ("ratio = [1, 1]\n", ""),
        ('"randomised"', '"observational"'),
    ]
    file = write(trials, tmp_path, "binary", *changes, n=300, strength=0.5)
    run = aimed.study(file).run(tmp_path / "run")
    assert not run.results["effect"]["overlap"]["known"]
    assert run.results["model"]["nuisances"]["propensity"] == "linear"


def test_a_stop_of_the_arms_ends_the_run_before_anything_is_trained(trials, tmp_path, cli):
    file = write(trials, tmp_path, n=200)
    table = pl.read_csv(tmp_path / "table.csv")
    drug = (table["arm"] == "drug").to_numpy()
    table.with_columns(age=pl.Series(np.where(drug, 80.0, 40.0) + np.arange(200) / 100)).write_csv(
        tmp_path / "table.csv"
    )
    code, _, err = cli("run", file, "--out", tmp_path / "run")
    assert code not in (0, 1)
    assert "'age'" in err
    assert not ID.search(err)
    assert not (tmp_path / "run" / "openings.json").exists()


def test_one_arm_is_refused(trials, tmp_path):
    file = write(trials, tmp_path, n=100)
    file.write_text(file.read_text().replace('active = "drug"', 'active = "surgery"'))
    with pytest.raises(DataError, match="active value"):
        aimed.study(file).run(tmp_path / "run")


@pytest.mark.slow
def test_the_shipped_trial(tmp_path):
    run = aimed.study(SHIPPED["hiv-trial"]).run(tmp_path / "run")
    found = run.results["performance"]["measures"]["risk_difference"]
    # Hammer et al. 1997: AIDS or death in 11 % without and 6 % with indinavir.
    assert found["upper"] < 0
    assert -0.09 < found["value"] < -0.02
    assert 0.35 < run.results["performance"]["measures"]["hazard_ratio"]["value"] < 0.7
