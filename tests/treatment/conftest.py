"""Fixtures of the treatment tests."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def worlds():
    """Return the module of made-up patients whose true effect is known."""
    path = Path(__file__).with_name("worlds.py")
    spec = importlib.util.spec_from_file_location("treatment_worlds", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
