import os
from pathlib import Path

import pytest

from aimed.core import RefusedError, UnknownNameError
from aimed.study.deidentify import deidentify


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.csv"
    path.parent.mkdir()
    path.write_text("patient_id,report\n17,Seen by Dr. John Smith on 12/03/2019.\n")
    return path


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"jobs": 0}, RefusedError, "0 jobs"),
        ({"columns": ["patient_id"]}, RefusedError, "without its role"),
        ({"columns": ["patient_id=patent"]}, UnknownNameError, "patent"),
        ({"style": "colour"}, UnknownNameError, "colour"),
    ],
)
def test_a_wrong_choice_is_named_before_anything_is_written(table, tmp_path, asked, error, words):
    with pytest.raises(error, match=words):
        deidentify(table, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.key").exists()


def test_a_key_inside_of_the_output_is_refused(table, tmp_path):
    with pytest.raises(RefusedError, match="inside of the output"):
        deidentify(table, tmp_path / "out", key=tmp_path / "out" / "map.key")


def test_as_many_processes_as_processors_write_the_same(table, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    _, key = deidentify(table, tmp_path / "one", patient="patient_id")
    assert key == tmp_path / "one.key"
    _, made = deidentify(table, tmp_path / "all", key=key, patient="patient_id", jobs=-1)
    assert made is None
    written = [next((tmp_path / name).glob("*.csv")).read_text() for name in ("one", "all")]
    assert written[0] == written[1]
    assert "Smith" not in written[0]
