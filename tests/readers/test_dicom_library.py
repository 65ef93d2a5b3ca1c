"""Libraries are opened when needed, and settings of the process are as before."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from aimed.core import MissingExtraError
from aimed.readers.dicom_library import highdicom, quietly


def test_quiet_work_leaves_settings_as_they_were():
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    from pydicom import config

    before = (config.settings.reading_validation_mode, config.settings.writing_validation_mode)
    level = logging.getLogger("highdicom").level
    with pytest.raises(ZeroDivisionError), quietly():
        raise ZeroDivisionError
    assert (config.settings.reading_validation_mode, config.settings.writing_validation_mode) == before
    assert logging.getLogger("highdicom").level == level


def test_nothing_is_said_meanwhile(caplog):
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with quietly():
            warnings.warn("Quixote", stacklevel=1)
            logging.getLogger("pydicom").error("Quixote")
    assert not said
    assert "Quixote" not in caplog.text


def test_a_missing_library_is_named_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[imaging\]"):
        highdicom()
