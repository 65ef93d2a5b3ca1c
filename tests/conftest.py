"""Fixtures that all tests share: where the real data are, and quiet threads."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

# Two workers of two threads each would wait for one another on two processors.
_THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, _THREADS)

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[1] / "../shared/data"))


@pytest.fixture(scope="session")
def shared_data():
    """Return a function that gives the path of a shared data file, or skips the test with the reason."""

    def find(*parts: str) -> Path:
        path = DATA.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"real data not here: {'/'.join(parts)} (set AIMED_DATA to the folder that holds it)")
        return path

    return find


@pytest.fixture(scope="session")
def reference(shared_data):
    """Return a function that gives the path of a reference page beside the shared data."""

    def find(*parts: str) -> Path:
        path = DATA.parent.joinpath("reference", *parts)
        if not path.exists():
            pytest.skip(f"reference values not here: {'/'.join(parts)}")
        return path

    return find


def _beside(name):
    """Return a module of helpers that lies beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made_notes():
    """Return the module that makes up reports with their labels, and a study of them."""
    return _beside("made_notes")


@pytest.fixture(scope="session")
def trials():
    """Return the module that simulates small trials and writes studies of them."""
    return _beside("trials")


@pytest.fixture(scope="session")
def scans():
    """Return the module that writes DICOM series of a made-up patient."""
    pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    pytest.importorskip("highdicom", reason="the imaging extra is not installed")
    return _beside("scans")


@pytest.fixture(scope="session")
def brains(tmp_path_factory):
    """Return the module that writes tiny studies of scans, with ``brains.folder``: drawn heads and a study file."""
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    module = _beside("brains")
    module.folder = tmp_path_factory.mktemp("heads") / "study"
    module.folder.mkdir()
    module.write_heads(module.folder)
    return module


@pytest.fixture
def head_study(brains, tmp_path):
    """Return a study file over drawn heads in a folder of its own."""
    shutil.copytree(brains.folder, tmp_path / "study")
    return tmp_path / "study" / "study.toml"


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Return the module that draws films, with ``films.folder``: a table, its films and a study file, drawn once."""
    module = _beside("films")
    module.folder = tmp_path_factory.mktemp("drawn") / "study"
    module.write_films(module.folder)
    (module.folder / "study.toml").write_text(module.STUDY)
    return module


@pytest.fixture
def film_study(films, tmp_path):
    """Return a study file over drawn films in a folder of its own."""
    shutil.copytree(films.folder, tmp_path / "study")
    return tmp_path / "study" / "study.toml"
