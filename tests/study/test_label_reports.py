import json
import os
import subprocess
import sys

import polars as pl
import pytest
from typer.testing import CliRunner

from aimed.cli.app import app
from aimed.core import DataError
from aimed.study.label_reports import finding_rows, label_reports, refused_and_flagged

NOTES = ["Left pleural effusion. MARKERA.", "No pleural effusion.", "", "Kein Erguss, keine Infiltrate. MARKERB", None]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "reports.parquet"
    pl.DataFrame({"study": ["s1", "s2", "s3", "s4", "s5"], "report": NOTES}).write_parquet(path)
    return path


class TestLogic:
    def test_columns_are_found_by_name(self, tmp_path):
        for columns in (["Report"], ["note"], ["findings", "impression"], ["Findings"]):
            frame = pl.DataFrame({"id": ["1"], **{c: ["No pneumothorax."] for c in columns}})
            frame.write_parquet(tmp_path / "t.parquet")
            done = label_reports(tmp_path / "t.parquet", tmp_path / "o.parquet")
            assert done.findings["Pneumothorax"]["absent"] == 1

    def test_no_such_column(self, tmp_path):
        pl.DataFrame({"words": ["No edema."], "indication": [""]}).write_parquet(tmp_path / "t.parquet")
        with pytest.raises(DataError, match="findings or impression"):
            label_reports(tmp_path / "t.parquet", tmp_path / "o.parquet")
        done = label_reports(tmp_path / "t.parquet", tmp_path / "o.parquet", text=["words"])
        assert done.findings["Edema"]["absent"] == 1

    def test_counts_of_a_finding_add_up_to_the_reports_read(self, table, tmp_path):
        done = label_reports(table, tmp_path / "o.parquet")
        rows = {finding: counts for finding, *counts in finding_rows(done)}
        assert rows["Pleural Effusion"] == [1, 0, 1, 0]
        assert rows["Edema"] == [0, 0, 0, 2]
        assert all(sum(counts) == 2 for counts in rows.values())
        assert refused_and_flagged(done) == ["refused: empty 2, not_english 1"]

    def test_a_lexicon_of_the_user(self, table, tmp_path):
        own = tmp_path / "own.toml"
        own.write_text(
            'name = "own"\nversion = "1.0.0"\nlanguage = "english"\ntitle = "Own"\n'
            '[targets.chexpert]\n"Marker" = ["marker"]\n[concepts.marker]\ntitle = "Marker"\nphrases = ["markera"]\n'
        )
        done = label_reports(table, tmp_path / "o.parquet", lexicon=str(own))
        assert done.findings == {"Marker": {"present": 1, "absent": 0, "uncertain": 0}}


class TestCommand:
    def test_writes_labels_and_prints_counts_only(self, table, tmp_path):
        result = CliRunner().invoke(app, ["label", str(table), "--out", str(tmp_path / "o.parquet"), "--id", "study"])
        assert result.exit_code == 0, result.output
        assert "5 reports, 3 refused" in result.output
        assert "refused: empty 2, not_english 1" in result.output
        assert "research use" in result.output
        assert "Not a medical device" in result.output
        assert "MARKER" not in result.output
        got = pl.read_parquet(tmp_path / "o.parquet")
        assert got["id"].to_list() == ["s1", "s2", "s3", "s4", "s5"]
        assert got["Pleural Effusion"].to_list() == [1, 0, None, None, None]
        assert pl.read_parquet(tmp_path / "o.evidence.parquet")["row"].to_list() == [0, 1]

    def test_json_is_one_object(self, table, tmp_path):
        arguments = ["label", str(table), "--out", str(tmp_path / "o.parquet"), "--targets", "nih", "--json"]
        result = CliRunner().invoke(app, arguments)
        told = json.loads(result.stdout)
        assert told["reports"] == 5
        assert told["refused"] == {"empty": 2, "not_english": 1}
        assert told["findings"]["Effusion"] == {"present": 1, "absent": 1, "uncertain": 0}
        assert "medical device" in told["notice"]

    def test_exit_code_when_nothing_could_be_read(self, tmp_path):
        pl.DataFrame({"report": ["", None]}).write_parquet(tmp_path / "t.parquet")
        result = CliRunner().invoke(app, ["label", str(tmp_path / "t.parquet"), "--out", str(tmp_path / "o.parquet")])
        assert result.exit_code == 4

    @pytest.mark.slow
    def test_nothing_of_a_note_reaches_the_terminal_or_the_disk(self, tmp_path):
        folder = tmp_path / "work"
        folder.mkdir()
        rows = ["report,id", *(f"Mrs MARKERNOTE {i}. Left effusion.,{i}" for i in range(300)), "MARKERROW, 2, 3, 4"]
        (folder / "in.csv").write_text("\n".join(rows))
        done = subprocess.run(
            [sys.executable, "-m", "aimed.cli", "label", "in.csv", "--out", "o.parquet", "--jobs", "2"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        assert "301 reports, 1 refused" in done.stdout
        assert "MARKER" not in done.stdout + done.stderr
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "in.csv":
                assert b"MARKER" not in path.read_bytes()

    def test_an_error_names_the_column_and_not_the_file(self, table, tmp_path):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "aimed.cli",
                "label",
                str(table),
                "--out",
                str(tmp_path / "o.parquet"),
                "--text",
                "reprt",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3
        assert "did you mean 'report'?" in done.stderr
        assert "MARKER" not in done.stderr
