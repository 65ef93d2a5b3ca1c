"""The run folder keeps whole files, knows what is finished, and counts openings of the test set."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from aimed.core import DataError, RefusedError
from aimed.study.store import RunFolder, jsonable, key_of, write_atomic


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_stages_are_known_by_key_and_content(tmp_path):
    home = RunFolder(tmp_path / "run").open()
    home.write("a.txt", "one")
    home.finish_stage("fit", "k1", {"x": np.float64(1.5)}, ["a.txt"], 0.1)
    assert home.stage("fit", "k1")["payload"] == {"x": 1.5}
    assert home.stage("fit", "k2") is None
    assert home.stage("other", "k1") is None
    home.write("a.txt", "two")
    assert home.stage("fit", "k1") is None
    (home.file("stages", "fit.json")).write_text("{ half")
    assert home.stage("fit", "k1") is None


def test_openings_count_each_look_once(tmp_path):
    home = RunFolder(tmp_path).open()
    home.open_test("look 1", model_sha256="m1")
    home.open_test("look 1", model_sha256="m1")
    assert len(home.openings()) == 1
    home.open_test("look 2", model_sha256="m1")
    assert len(home.openings()) == 2
    home.file("openings.json").write_text("{}")
    with pytest.raises(RefusedError):
        home.openings()


def test_only_our_own_leftovers_are_cleared(tmp_path):
    (tmp_path / ".report.html.123.part").write_text("half")
    (tmp_path / ".someone.part").write_text("not ours")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".x.1.part").write_text("not ours")
    RunFolder(tmp_path).open().clear_leftovers()
    assert sorted(p.name for p in tmp_path.rglob("*.part")) == [".someone.part", ".x.1.part"]


def test_two_runs_at_once_are_refused(tmp_path):
    home = RunFolder(tmp_path).open()
    code = (
        "import sys; from aimed.study.store import RunFolder\n"
        f"h = RunFolder({str(tmp_path)!r})\n"
        "try:\n    h.lock().__enter__()\nexcept Exception as e:\n    print(type(e).__name__)"
    )
    with home.lock():
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "RefusedError"


def test_keys_and_json():
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1})
    assert key_of([1, 2]) != key_of([2, 1])
    assert jsonable({"x": [np.nan, np.inf, np.int64(3)]}) == {"x": [None, None, 3]}
