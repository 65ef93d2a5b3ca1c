"""Classes of identifiers: the eighteen of Safe Harbor, each once."""

from __future__ import annotations

import pytest

from aimed.core.errors import UnknownNameError
from aimed.privacy.classes import CLASS_NAMES, CLASSES, identifier_class


def test_the_letters_run_from_a_to_r() -> None:
    assert "".join(c.letter for c in CLASSES.values()) == "ABCDEFGHIJKLMNOPQR"


def test_names_markers_and_titles_are_unique() -> None:
    for of in ("name", "marker", "title"):
        assert len({getattr(c, of) for c in CLASSES.values()}) == 18
    assert tuple(CLASSES) == CLASS_NAMES


def test_a_class_is_found_by_name_or_letter() -> None:
    assert identifier_class("fax") is identifier_class("E")


def test_an_unknown_class_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'telephone'"):
        identifier_class("telefone")
