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


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Return the module that draws films, with ``films.folder``: a table, its films and a study file, drawn once."""
    spec = importlib.util.spec_from_file_location("films", Path(__file__).with_name("films.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.folder = tmp_path_factory.mktemp("drawn") / "study"
    module.write_films(module.folder)
    (module.folder / "study.toml").write_text(module.STUDY)
    return module


@pytest.fixture
def film_study(films, tmp_path):
    """Return a study file over drawn films in a folder of its own."""
    shutil.copytree(films.folder, tmp_path / "study")
    return tmp_path / "study" / "study.toml"
