"""A picture study goes from files to evidence in one command: it resumes, repeats, counts openings and shows nobody."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.core import DataError, RefusedError
from aimed.study.run import Reporter

pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("safetensors", reason="the deep extra is not installed")

STAGES = ("read", "check", "split", "fit", "calibrate", "evaluate", "explain", "audit", "report", "package")

ABSENT = """
import sys
import polars  # it looks for torch when it is imported

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from aimed.cli import main
for words in %r:
    sys.argv = ["aimed", *words]
    try:
        main()
    except SystemExit as stop:
        print("code", int(stop.code or 0), flush=True)
    else:
        print("code 0", flush=True)
"""

KILLED = """
import os, signal, sys
import aimed
from aimed.readers import image_cache
from aimed.study.run import Reporter

study, folder, when = sys.argv[1:]

class Killer(Reporter):
    stage = ""
    def started(self, stage):
        self.stage = stage
    def advanced(self, share, text=""):
        if self.stage == when and share >= 0.5:
            os.kill(os.getpid(), signal.SIGKILL)

if when == "read":
    image_cache._BATCH, flush = 8, image_cache._Writer.flush
    def killing(self):
        if self.index.slots >= 40:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(self)
    image_cache._Writer.flush = killing
aimed.study(study).run(folder, Killer())
"""


class Listener(Reporter):
    def __init__(self):
        self.resumed = {}

    def finished(self, stage, seconds, resumed):
        self.resumed[stage] = resumed

    def done(self):
        return [stage for stage, resumed in self.resumed.items() if not resumed]


def run(study, folder, data=None):
    """Run a study; return the run and the stages that were not found finished."""
    heard = Listener()
    with warnings.catch_warnings():
        # Two epochs are few on purpose.
        warnings.simplefilter("ignore")
        return aimed.study(study, data).run(folder, heard), heard.done()


def change(study, *edits):
    text = study.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    study.write_text(text)


def without_time(results):
    out = json.loads(json.dumps(results))
    out.pop("created")
    out["reproduce"].pop("seconds")
    out["reproduce"].pop("peak_memory_mb")
    for opening in out["split"]["openings"]:
        opening.pop("when")
    return out


@pytest.fixture
def quick(monkeypatch):
    """Leave out drawing the page and packing the model, which other tests see to."""

    def report(results, home):
        home.write_json("results.json", results)
        home.write("report.html", "")
        home.write("model_card.md", "")

    monkeypatch.setattr("aimed.study.stages.report", report)
    monkeypatch.setattr("aimed.study.picture_stages.package", lambda *_: None)


@pytest.fixture(scope="module")
def finished(films, tmp_path_factory):
    """One finished study in which every id is a secret; tests copy the folder or only read it."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(films.folder, folder)
    change(
        folder / "study.toml",
        ('patient = "patient_id"', 'patient = "patient_id"\nunit = "exam"\nsite = "site"\ntime = "taken"'),
        ("size = 32", 'size = 32\nstudy = "exam"'),
        ("max_epochs = 2", "max_epochs = 2\ntest_time_augmentation = 1"),
        ('columns = ["sex"]', 'columns = ["sex", "image_view"]\n[report]\nthumbnails = true'),
    )
    run(folder / "study.toml", folder / "runs" / "a")
    return folder


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished study that a test may change; returns the study file and its run folder."""
    shutil.copytree(finished, tmp_path / "again")
    return tmp_path / "again" / "study.toml", tmp_path / "again" / "runs" / "a"


def results_of(finished):
    return json.loads((finished / "runs" / "a" / "results.json").read_text())


# ---------------------------------------------------------------------------------------------------------- the record


def test_every_block_is_there(finished, films):
    found = results_of(finished)
    keys = ["effusion", "lung_mass"]
    outcome = found["outcome"]
    assert outcome["kind"] == "multilabel"
    assert [f["key"] for f in outcome["findings"]] == keys
    parts = found["data"]["parts"]
    for one in outcome["findings"]:
        assert one["known"] == {"all": 72, **{part: parts[part]["n"] for part in ("train", "test")}}
        assert one["positive"]["all"] == one["positive"]["train"] + one["positive"]["test"]
        assert 0 < one["prevalence"]["test"]["lower"] < one["prevalence"]["test"]["upper"] < 1
    assert found["data"]["images"]["files"] == 72
    assert found["data"]["images"]["refused"] == {}
    assert sum(found["data"]["images"]["views"].values()) == 72
    model = found["model"]
    assert model["network"]["architecture"] == "small_cnn"
    assert model["network"]["parameters"] > 100
    assert model["network"]["estimators"] == 1
    assert model["network"]["initial_weights"] is None
    assert len(model["learning"]) == 1
    assert len(model["learning"][0]["train_loss"]) == 2
    assert model["n_fitted"] + model["n_tune"] == parts["train"]["n"]
    assert set(model["calibration"]["findings"]) == set(model["threshold"]["findings"]) == set(keys)
    assert {row["name"] for row in model["leaderboard"]} == {"small_cnn", "prevalence", "acquisition"}
    assert model["fit_diagnosis"]["summary"]
    performance = found["performance"]
    assert performance["kind"] == "multilabel"
    assert performance["n"] == parts["test"]["n"]
    assert set(performance["findings"]) == set(keys)
    assert set(performance["baselines"]) == set(performance["differences"]) == {"prevalence", "acquisition"}
    measures = performance["measures"]
    assert {"macro_auroc", "macro_brier", "auroc@effusion", "brier@lung_mass"} <= set(measures)
    assert measures["macro_auroc"]["lower"] < measures["macro_auroc"]["value"] < measures["macro_auroc"]["upper"]
    assert performance["baselines"]["prevalence"]["macro_auroc"]["value"] == 0.5
    for block in ("shortcuts", "robustness", "conformal", "case_uncertainty", "explanation", "gallery", "subgroups"):
        assert found[block], block
    assert found["explanation"]["kind"] == "maps"
    assert found["gallery"]["thumbnails"]
    assert [c["column"] for c in found["subgroups"]["columns"]] == ["sex", "image_view"]
    assert found["verdict"]["openings"] == 1
    assert found["split"]["proof"]["shared_patients"] == {"train+test": 0}
    assert found["study"]["primary"] == "macro_auroc"


def test_the_numbers_are_those_of_the_predictions(finished):
    """AUROC and Brier score of the record, computed anew from the table of predictions and the labels of the source."""
    table = pl.read_parquet(finished / "runs" / "a" / "predictions.parquet")
    source = pl.read_csv(finished / "table.csv")
    joined = table.join(source, left_on="id", right_on="exam", how="left", maintain_order="left")
    assert joined["patient"].to_list() == joined["patient_id"].to_list()
    measures = results_of(finished)["performance"]["measures"]
    found = []
    for key, column in (("effusion", "effusion"), ("lung_mass", "lung mass")):
        risk, y = joined[f"risk@{key}"].to_numpy(), joined[column].to_numpy()
        np.testing.assert_array_equal(joined[f"outcome@{key}"], y)
        gap = risk[y == 1][:, None] - risk[y == 0][None, :]
        found.append(float(((gap > 0) + 0.5 * (gap == 0)).mean()))
        assert measures[f"auroc@{key}"]["value"] == pytest.approx(found[-1], abs=1e-12)
        assert measures[f"brier@{key}"]["value"] == pytest.approx(np.mean((risk - y) ** 2), rel=1e-9)
        assert (joined[f"spread@{key}"] > 0).any()
    assert measures["macro_auroc"]["value"] == pytest.approx(np.mean(found), abs=1e-12)


def test_nobody_is_in_anything_that_is_shown(finished, films):
    folder, shown = finished / "runs" / "a", []
    for name in ("results.json", "report.html", "model_card.md", "findings.json", "provenance.json"):
        shown.append(folder / name)
    shown += [p for p in (folder / "bundle").rglob("*") if p.is_file()]
    shown += [p for p in (folder / "stages").rglob("*.json") if p.is_file()]
    secrets = [films.NAMES, films.PATIENTS, films.EXAMINATIONS, str(finished)]
    assert len(shown) > 12
    for path in shown:
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, (path.name, secret)
            assert secret.encode("utf-16-le") not in content, (path.name, secret)
    cache = finished / "runs" / "image-cache"
    for path in (p for p in cache.rglob("*") if p.is_file()):
        assert not any(secret.encode() in path.read_bytes() for secret in secrets), path.name
    # The table of predictions and the gallery's key stay with the data: they do name rows.
    assert films.EXAMINATIONS in pl.read_parquet(folder / "predictions.parquet")["id"][0]


# -------------------------------------------------------------------------------------------------- resume and repeat


def test_a_second_run_does_nothing_and_a_seed_repeats_bit_for_bit(finished, again, quick):
    study, folder = again
    first = results_of(finished)
    second, done = run(study, folder)
    assert done == ["read"]
    assert second.results == first
    other, done = run(study, folder.with_name("b"))
    assert done == list(STAGES)
    assert without_time(other.results) == without_time(first)
    names = sorted(p.relative_to(folder) for p in (folder / "model").rglob("*") if p.is_file())
    assert names
    for name in names:
        assert (folder / name).read_bytes() == (other.folder / name).read_bytes(), name


def test_each_change_repeats_only_what_depends_on_it(again, quick):
    study, folder = again
    weights = {p.name: p.read_bytes() for p in (folder / "fit" / "model").rglob("*") if p.is_file()}
    late = ["read", "explain", "report", "package"]
    change(study, ("thumbnails = true", "thumbnails = false"))
    off, done = run(study, folder)
    assert done == late
    assert not off.results["gallery"].get("thumbnails")
    assert off.results["verdict"]["openings"] == 1
    names = pl.read_csv(study.parent / "table.csv").filter(pl.col("effusion") == 1)["path"].str.split("/").list.last()
    boxes = [f"films/{name},effusion,5,33,14,11" for name in names]
    (study.parent / "boxes.csv").write_text("\n".join(["image,finding,x,y,width,height", *boxes]) + "\n")
    change(study, ("size = 32", 'size = 32\nregions = { boxes = "boxes.csv" }'))
    found, done = run(study, folder)
    assert done == late
    assert found.results["explanation"]["regions"]
    # Other boxes under the same name are other regions.
    (study.parent / "boxes.csv").write_text("\n".join(["image,finding,x,y,width,height", *boxes[:-6]]) + "\n")
    assert run(study, folder)[1] == late
    change(study, ("thumbnails = false", "thumbnails = false\ncase_ids = true"))
    shown, done = run(study, folder)
    assert done == late
    assert "SECRETEXAM" in json.dumps(shown.results["gallery"])
    change(study, ("case_ids = true", "case_ids = false"))
    hidden, done = run(study, folder)
    assert done == late
    assert "SECRETEXAM" not in (folder / "results.json").read_text()
    assert hidden.results["verdict"]["openings"] == 1
    change(study, ("draws = 50", "draws = 60\nthreshold = 0.4"))
    other, done = run(study, folder)
    assert "fit" not in done
    assert {"calibrate", "evaluate"} <= set(done)
    assert other.results["model"]["threshold"]["value"] == 0.4
    assert other.results["verdict"]["openings"] == 2
    assert {p.name: p.read_bytes() for p in (folder / "fit" / "model").rglob("*") if p.is_file()} == weights


def test_the_lock_and_the_openings_are_honoured(again):
    study, folder = again
    text = study.read_text()
    change(study, ("[split]\n", "[split]\ntest = { fraction = 0.4 }\n"))
    with pytest.raises(RefusedError, match="differs"):
        run(study, folder)
    study.write_text(text)
    openings = (folder / "openings.json").read_text()
    (folder / "openings.json").unlink()
    with pytest.raises(RefusedError, match=r"openings.json is gone"):
        run(study, folder)
    (folder / "openings.json").write_text(openings)
    lock = json.loads((folder / "splits.lock").read_text())
    lock["patients"]["train"][0], lock["patients"]["test"][0] = (
        lock["patients"]["test"][0],
        lock["patients"]["train"][0],
    )
    (folder / "splits.lock").write_text(json.dumps(lock))
    with pytest.raises(RefusedError, match=r"splits.lock is not the one"):
        run(study, folder)


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(film_study, tmp_path, quick):
    """Killed while pictures are decoded, then while the network is trained: what comes out is the same."""
    whole, _ = run(film_study, tmp_path / "whole" / "a")
    folder = film_study.parent / "runs" / "a"
    left = {}
    for when in ("read", "fit"):
        command = [sys.executable, "-c", KILLED, str(film_study), str(folder), when]
        ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        left[when] = sorted(p.name for p in folder.rglob("*")) if folder.exists() else None
    assert left["read"] is None
    assert "check.json" in left["fit"]
    assert "fit.json" not in left["fit"]
    other, done = run(film_study, folder)
    assert "check" not in done
    assert without_time(other.results) == without_time(whole.results)
    for path in (p for p in (whole.folder / "model").rglob("*") if p.is_file()):
        assert path.read_bytes() == (folder / "model" / path.relative_to(whole.folder / "model")).read_bytes()
    assert not list(folder.rglob("*.part"))


# ------------------------------------------------------------------------------------------------------ awkward labels


def with_part(study):
    """Return the table with the split that the study draws as a column, which makes it hold whatever labels become."""
    opened = aimed.study(study)
    cohort = opened.read(study.parent / "runs")
    part = np.full(cohort.n, "train", dtype=object)
    part[opened.split().parts["test"]] = "test"
    change(study, ("[split]\n", '[split]\ntest = { by = "column", column = "part" }\n'))
    return pl.read_csv(study.parent / "table.csv").with_columns(part=pl.Series(part.tolist()))


def test_findings_that_cannot_be_judged(film_study):
    """Absent in all the test part; one case in all; unlabelled pictures. The run ends, and says what it cannot say."""
    frame = with_part(film_study)
    change(film_study, ('["effusion", "lung mass"]', '["effusion", "lung mass", "absent in test", "rare"]'))
    row, train = np.arange(frame.height), (frame["part"] == "train").to_numpy()
    absent = (row % 2 == 0) & train
    rare = np.zeros(frame.height, dtype=bool)
    # All pictures of one patient, so that one fold has them.
    rare[frame["patient_id"] == frame["patient_id"].filter(pl.Series(train))[0]] = True
    frame = frame.with_columns(**{"absent in test": pl.Series(absent.astype(int)), "rare": pl.Series(rare.astype(int))})
    unknown = (row % 6 == 5) & ~rare
    frame = frame.with_columns(
        pl.when(pl.Series(unknown)).then(None).otherwise(pl.col(c)).alias(c)
        for c in ("effusion", "lung mass", "absent in test", "rare")
    )
    found, _ = run(film_study, film_study.parent / "runs" / "a", frame)
    measures = found.results["performance"]["measures"]
    for name in ("auroc@absent_in_test", "auroc@rare"):
        assert measures[name]["value"] is None
        assert measures[name]["note"]
    assert measures["auroc@effusion"]["value"] is not None
    block = {f["name"]: f for f in found.results["outcome"]["findings"]}
    assert block["effusion"]["unknown"] == int(unknown.sum())
    assert block["absent in test"]["positive"]["test"] == 0
    assert found.results["model"]["calibration"]["findings"]["rare"]["method"] == "none"
    assert "None" not in found.results["model"]["calibration"]["findings"]["rare"]["sentence"]
    assert "not estimable" in found.report.read_text().lower()


def test_a_finding_that_training_never_sees_stops_before_training(film_study):
    frame = with_part(film_study)
    frame = frame.with_columns(effusion=pl.when(pl.col("part") == "train").then(0).otherwise("effusion"))
    with pytest.raises(DataError, match="effusion"):
        run(film_study, film_study.parent / "runs" / "a", frame)
    folder = film_study.parent / "runs" / "a"
    assert not (folder / "fit").exists()
    assert not (folder / "openings.json").exists()


# --------------------------------------------------------------------------------------------------- models and doubts


def test_two_networks_and_what_readers_reach(film_study, quick):
    change(
        film_study,
        ("max_epochs = 2", "max_epochs = 2\nn_estimators = 2"),
        ("draws = 50", "draws = 50\nhuman_level = 0.97"),
        ("size = 32", "size = 32\nbits = 16"),
    )
    found, _ = run(film_study, film_study.parent / "runs" / "a")
    model = found.results["model"]
    assert model["network"]["estimators"] == len(model["learning"]) == 2
    assert "what readers reach" in json.dumps(model["fit_diagnosis"])
    gaps = [gap["size"]["value"] for gap in model["fit_diagnosis"]["gaps"]]
    assert any(gap == pytest.approx(0.97 - model["fit_diagnosis"]["scores"]["train"]["value"]) for gap in gaps), gaps
    assert found.results["data"]["images"]["bits"] == 16
    table = pl.read_parquet(found.folder / "predictions.parquet")
    assert (table["spread@effusion"] > 0).all()
    assert np.isfinite(table.select(pl.col("^risk@.*$")).to_numpy()).all()


@pytest.mark.slow
def test_a_probe_beside_a_network(film_study):
    change(film_study, ('["small_cnn"]', '["linear_probe", "small_cnn"]'), ("size = 32", "size = 64"))
    found, _ = run(film_study, film_study.parent / "runs" / "a")
    model = found.results["model"]
    board = {row["name"]: row for row in model["leaderboard"]}
    assert {"linear_probe", "small_cnn"} < set(board)
    assert sum(row["chosen"] for row in board.values()) == 1
    assert board[model["name"]]["chosen"]
    assert (model["network"]["loss"] == "logistic") == (model["name"] == "linear_probe")


# ------------------------------------------------------------------------------------------------------ command line


def test_the_verbs(again, cli, monkeypatch):
    study, folder = again
    monkeypatch.chdir(study.parent)
    code, out, err = cli("check", study, "--json")
    assert code == 0, err
    assert {f["check"] for f in json.loads(out)["findings"]} >= {"image_labels", "shortcuts"}
    code, out, err = cli("plan", study, "--json")
    assert code == 0, err
    assert [step["stage"] if isinstance(step, dict) else step[0] for step in json.loads(out)["steps"]] == list(STAGES)
    code, out, err = cli("run", study, "--out", folder, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["primary"]["name"] == "macro_auroc"
    code, out, err = cli("report", folder, "--json")
    assert code == 0, err
    films = study.parent / "films"
    code, out, err = cli("predict", folder, films, "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert len(rows["rows"]) == 72
    assert rows["refused"] == {}
    (films / "empty.png").write_bytes(b"")
    code, out, err = cli("predict", folder, films, "--json")
    assert code == 0, err
    assert sum(json.loads(out)["refused"].values()) == 1
    code, out, err = cli("compare", folder, folder, "--json")
    assert code == 0, err
    assert json.loads(out)["same_data"]


def test_packaged_predictions_are_those_of_the_study(finished, cli, tmp_path):
    out = tmp_path / "new.csv"
    source = finished / "table.csv"
    code, _, err = cli("predict", finished / "runs" / "a", source, "--image", "path", "--id", "exam", "--out", out)
    assert code == 0, err
    new, own = pl.read_csv(out), pl.read_parquet(finished / "runs" / "a" / "predictions.parquet")
    assert new.height == 72
    both = own.join(new, on="id", suffix=" new")
    assert both.height == own.height
    for key in ("effusion", "lung_mass"):
        np.testing.assert_allclose(both[f"risk@{key} new"], both[f"risk@{key}"], atol=1e-6)
    # What goes to a screen names no file and no id.
    _, shown, _ = cli("predict", finished / "runs" / "a", source, "--image", "path", "--id", "exam", "--json")
    assert "SECRET" not in shown


@pytest.mark.slow
def test_control_c_says_how_to_go_on(film_study):
    change(film_study, ("max_epochs = 2", "max_epochs = 400\nn_iter_no_change = 400"))
    folder = film_study.parent / "runs" / "a"
    command = [sys.executable, "-m", "aimed.cli", "run", str(film_study), "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + 120
    while not list(folder.glob("fit/network-*/**/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err


def test_without_torch_a_study_is_checked_and_planned_and_a_run_says_what_is_missing(film_study):
    verbs = [["list", "--json"], ["check", str(film_study)], ["plan", str(film_study)], ["run", str(film_study)]]
    ended = subprocess.run(
        [sys.executable, "-c", ABSENT % (verbs,)],
        cwd=film_study.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    codes = [line for line in ended.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 0", "code 0", "code 0", "code 3"], ended.stdout + ended.stderr
    assert "pip install 'aimed[deep]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (film_study.parent / "runs" / "films").exists()
