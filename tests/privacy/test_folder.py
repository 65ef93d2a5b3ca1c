"""A folder is gone through whole, resumed, and told of without a name."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from aimed.cli.app import app
from aimed.core.errors import DataError, RefusedError, UnknownNameError
from aimed.privacy.folder import STATE, Job, blanking_of, deidentify_path
from aimed.privacy.surrogates import Surrogates

pydicom = pytest.importorskip("pydicom")

KEY = bytes(range(32))
GIVEN = Surrogates(KEY)
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
MARKS = ("uillfeather", "UILLFEATHER", "ebulon", "884412", "2020-01-31", "20200131", "01/31/2020")


def scan() -> bytes:
    made = pydicom.dcmread(FILES / "CT_small.dcm")
    made.PatientName, made.PatientID, made.StudyDate = "Quillfeather^Zebulon", "MRN-884412", "20200131"
    made.OtherPatientIDs = "884412"
    out = io.BytesIO()
    made.save_as(out)
    return out.getvalue()


PATIENT = {
    "resourceType": "Patient",
    "id": "x1",
    "identifier": [{"value": "MRN-884412"}],
    "name": [{"family": "Quillfeather", "given": ["Zebulon"]}],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    inner = made / "Quillfeather_Zebulon" / "2020-01-31"
    inner.mkdir(parents=True)
    (inner / "Quillfeather.dcm").write_bytes(scan())
    row = "MRN-884412,Zebulon Quillfeather,2020-01-31,Mr. Quillfeather came 01/31/2020"
    (made / "Quillfeather.csv").write_text(f"mrn,name,seen,note\n{row}\n", "utf-8")
    (made / "884412.txt").write_text(
        "Patient: Zebulon Quillfeather\nMRN: MRN-884412\nDate: 01/31/2020\n"
        "FINDINGS: No effusion. Mr. Quillfeather is well.\n",
        "utf-8",
    )
    (made / "q.json").write_text(json.dumps(PATIENT), "utf-8")
    seen = {
        "resourceType": "Observation",
        "id": "o",
        "subject": {"reference": "Patient/x1"},
        "effectiveDateTime": "2020-01-31",
    }
    (made / "r.ndjson").write_text(json.dumps(seen) + "\n", "utf-8")
    (made / "empty.csv").write_bytes(b"")
    (made / "Quillfeather.zip").write_bytes(b"PK\x03\x04Quillfeather")
    (made / "Quillfeather.txt.gz").write_bytes(gzip.compress(b"Quillfeather"))
    (made / "Quillfeather.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (made / "cut.dcm").write_bytes(scan()[:-100])
    os.symlink("/etc/hostname", made / "link.txt")
    os.symlink(made, made / "loop")
    return made


def state(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.is_symlink()
    }


def results(folder: Path) -> dict[str, str]:
    return {name: sha for name, sha in state(folder).items() if not name.startswith((STATE, "deidentified"))}


def test_one_patient_gets_one_name_one_number_and_one_shift(source: Path, tmp_path: Path) -> None:
    before = state(source)
    out = tmp_path / "out"
    summary = deidentify_path(source, out, KEY)
    assert state(source) == before
    assert summary.kinds == {"dicom": 1, "fhir": 2, "note": 1, "table": 1}
    assert {code: len(n) for code, n in summary.refusals.items()} == {
        "ARCHIVE": 2, "EMPTY": 1, "LINK": 2, "TRUNCATED": 1, "UNKNOWN_KIND": 1
    }  # fmt: skip
    every = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file()) + "".join(map(str, out.rglob("*"))).encode()
    assert [m for m in MARKS if m.encode() in every] == []
    first, last = GIVEN.person("Zebulon Quillfeather").split()
    number, shift = GIVEN.identifier("MRN-884412"), GIVEN.shift_date("2020-01-31", "MRN-884412")
    by = {
        p.suffix: p for p in out.rglob("*.*") if p.is_file() and STATE not in str(p) and p.name != "deidentified.json"
    }
    image = pydicom.dcmread(by[".dcm"])
    assert (image.PatientName, image.PatientID, image.StudyDate) == (f"{last}^{first}", number, shift.replace("-", ""))
    note, table = by[".txt"].read_text(), by[".csv"].read_text()
    assert f"{first} {last}" in note
    assert number in note
    assert GIVEN.shift_date("01/31/2020", "MRN-884412") in note
    assert "No effusion" in note
    assert f"{number},{first} {last},{shift}," in table
    patient = json.loads(by[".json"].read_text())
    assert patient["identifier"][0]["value"] == number
    assert patient["name"][0]["family"] == last
    assert json.loads(by[".ndjson"].read_text())["effectiveDateTime"] == shift


def test_the_summary_and_the_manifest_hold_no_names(source: Path, tmp_path: Path) -> None:
    deidentify_path(source, tmp_path / "out", KEY)
    text = (tmp_path / "out" / "deidentified.json").read_text() + (
        tmp_path / "out" / STATE / "manifest.jsonl"
    ).read_text()
    assert [m for m in (*MARKS, "Quill", str(tmp_path), KEY.hex(), "empty.csv", "x1") if m in text] == []
    told = json.loads((tmp_path / "out" / "deidentified.json").read_text())
    assert told["finder"].startswith("rules")
    assert told["written"] == 5


def test_a_second_run_keeps_what_is_finished_and_redoes_what_changed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    deidentify_path(source, out, KEY)
    first = results(out)
    again = deidentify_path(source, out, KEY)
    assert again.written == 5
    assert again.kept == 10
    assert results(out) == first
    (source / "q.json").write_text(json.dumps({**PATIENT, "gender": "male"}), "utf-8")
    next(out.rglob("*.dcm")).unlink()
    changed = deidentify_path(source, out, KEY)
    assert changed.kept == 8
    assert set(results(out)) == set(first)


def test_workers_write_the_same(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, int, float]] = []
    one = deidentify_path(source, tmp_path / "a", KEY, told=lambda *said: told.append(said))
    two = deidentify_path(source, tmp_path / "b", KEY, jobs=2)
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert one == two
    assert told[-1][0] == told[-1][1] == 12
    assert told[-1][2] == 7
    assert all(left >= 0 for *_, left in told)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for i in range(150):
        (source / f"{i:03d}.csv").write_text(
            "pid,seen\n" + "".join(f"P{i:03d}{j:03d},2020-01-31\n" for j in range(40)), "utf-8"
        )
    code = (
        "from aimed.privacy.folder import deidentify_path; import sys;"
        "deidentify_path(sys.argv[1], sys.argv[2], bytes(range(32)))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(source), str(out)])
    manifest = out / STATE / "manifest.jsonl"
    for _ in range(1200):
        if manifest.exists() and manifest.read_bytes().count(b"\n") > 20:
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with manifest.open("ab") as file:
        file.write(b'{"path":"cut of')
    (out / STATE / "draft-0").write_bytes(b"half a file")
    summary = deidentify_path(source, out, KEY)
    assert summary.written == 150
    assert 15 < summary.kept <= 150
    assert summary.refused == 0
    assert not list((out / STATE).glob("draft-*"))
    deidentify_path(source, tmp_path / "whole", KEY)
    assert results(out) == results(tmp_path / "whole")
    assert deidentify_path(source, out, KEY).kept == 150


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_stops_with_a_clear_error_and_no_half_file(source: Path, tmp_path: Path, jobs: int) -> None:
    code = (
        "import resource, sys\n"
        "from aimed.privacy.folder import deidentify_path\n"
        "from aimed.core.errors import DataError\n"
        "if __name__ == '__main__':\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n"
        "    try: deidentify_path(sys.argv[1], sys.argv[2], bytes(range(32)), jobs=int(sys.argv[3]))\n"
        "    except DataError as error: print(error); sys.exit(error.exit_code)\n"
    )
    script = tmp_path / "full.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), str(source), str(tmp_path / "out"), str(jobs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "could not be written" in done.stdout
    assert "uillfeather" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.dcm"))
    assert deidentify_path(source, tmp_path / "out", KEY).written == 5


def test_a_full_disk_stops_parquet_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "Quillfeather")

    (tmp_path / "in").mkdir()
    pl.DataFrame({"pid": ["P1234"]}).write_parquet(tmp_path / "in" / "a.parquet")
    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", full)
        with pytest.raises(DataError, match="no space left") as error:
            deidentify_path(tmp_path / "in", tmp_path / "out", KEY)
    assert "Quill" not in str(error.value)
    assert deidentify_path(tmp_path / "in", tmp_path / "out", KEY).written == 1


def test_places_that_lie_in_each_other_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    for given, out in (
        (source, source), (source, source / "out"), (source, tmp_path), (source, tmp_path / "link" / "x"),
        (tmp_path / "link", tmp_path / "out"), (source / "q.json", source / "q.json"),
    ):  # fmt: skip
        with pytest.raises(RefusedError):
            deidentify_path(given, out, KEY)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(RefusedError):
        deidentify_path(source, tmp_path / "full", KEY)
    with pytest.raises(DataError):
        deidentify_path(tmp_path / "absent", tmp_path / "out", KEY)
    assert not (source / "out").exists()


def test_another_key_or_other_settings_do_not_go_on(source: Path, tmp_path: Path) -> None:
    deidentify_path(source, tmp_path / "out", KEY)
    for key, job in ((bytes(32), Job()), (KEY, Job(style="class")), (KEY, Job(keep=("uids",)))):
        with pytest.raises(RefusedError):
            deidentify_path(source, tmp_path / "out", key, job)
    with pytest.raises(UnknownNameError):
        deidentify_path(source, tmp_path / "new", KEY, Job(keep=("everything",)))
    assert not (tmp_path / "new").exists()


def test_one_file_is_a_folder_of_one(source: Path, tmp_path: Path) -> None:
    assert deidentify_path(source / "q.json", tmp_path / "out", KEY).kinds == {"fhir": 1}


def test_an_error_nobody_foresaw_is_a_code(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("Quillfeather")

    monkeypatch.setattr("aimed.privacy.folder.deidentify_csv", fails)
    summary = deidentify_path(source, tmp_path / "out", KEY)
    assert summary.refusals["UNFORESEEN_ValueError"]
    assert summary.written == 4


@pytest.mark.parametrize("text", ["1,2,3", "a", "0,0,0,5", "1,2,3,4;", "-1,0,5,5", "x.toml"])
def test_regions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        blanking_of(text)


def test_regions_by_modality(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('US = "ultrasound"\nSC = "0,0,9,9"\n')
    made = blanking_of(str(tmp_path / "r.toml"))
    assert made is not None
    assert made.of("US").outside_ultrasound
    assert made.of("SC").boxes == ((0, 0, 9, 9),)
    assert not made.of("CT")


def test_the_verb(source: Path, tmp_path: Path) -> None:
    run = CliRunner()
    out = tmp_path / "out"
    done = run.invoke(app, ["deidentify", str(source), "--out", str(out)])
    assert done.exit_code == 1
    assert "5 files written, 7 refused" in done.output
    assert not [m for m in (*MARKS, "Quill") if m in done.output]
    key = tmp_path / "out.key"
    assert re.fullmatch(r"[0-9a-f]{64}\n", key.read_text())
    assert key.read_text().strip() not in done.output
    again = run.invoke(
        app, ["deidentify", str(source / "q.json"), "--out", str(tmp_path / "o2"), "--key", str(key), "--json"]
    )
    assert again.exit_code == 0
    assert json.loads(again.stdout)["written"] == 1
    for more in (
        ["--style", "none"],
        ["--keep", "all"],
        ["--column", "note"],
        ["--column", "note=what"],
        ["--blank", "x"],
    ):
        assert run.invoke(app, ["deidentify", str(source), "--out", str(tmp_path / "o3"), *more]).exit_code != 0
    inside = run.invoke(
        app, ["deidentify", str(source), "--out", str(tmp_path / "o4"), "--key", str(tmp_path / "o4" / "k")]
    )
    assert isinstance(inside.exception, RefusedError)
