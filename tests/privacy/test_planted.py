"""Planted notes: the same seed gives the same notes, spans are exact, every class is there, templates are disjoint."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("faker", reason="needs the extra privacy")

from aimed.core.errors import DataError, MissingExtraError, UnknownNameError
from aimed.privacy import planted
from aimed.privacy.classes import CLASS_NAMES
from aimed.privacy.planted import planted_notes, planted_templates


def test_templates_are_many_and_disjoint() -> None:
    train, test = planted_templates("train"), planted_templates("test")
    assert len(train) + len(test) >= 120
    assert len(set(train) | set(test)) == len(train) + len(test)


def test_the_same_seed_gives_the_same_notes() -> None:
    assert planted_notes(40, 3) == planted_notes(40, 3)
    assert planted_notes(40, 3) != planted_notes(40, 4)
    # A note does not depend on how many come after it.
    assert planted_notes(40, 3)[:10] == planted_notes(10, 3)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_is_planted(split) -> None:
    notes = planted_notes(2 * len(planted_templates(split)), 0, split)
    assert {c for n in notes for _, _, c in n.spans} == set(CLASS_NAMES)
    assert {n.template for n in notes} == {f"{split}-{i:03d}" for i in range(len(planted_templates(split)))}


def test_spans_are_exact_and_in_order() -> None:
    for n in planted_notes(200, 1):
        at = 0
        for a, b, _ in n.spans:
            assert at <= a < b <= len(n.text)
            assert n.text[a:b].strip() == n.text[a:b]
            at = b
        assert "{" not in n.text


def test_case_and_locales_vary() -> None:
    notes = planted_notes(300, 2)
    assert 10 < sum(n.text.isupper() for n in notes) < 60
    assert 10 < sum(n.text.islower() for n in notes) < 60
    assert any(ord(c) > 127 for n in notes for c in n.text)
    plain = planted_notes(60, 2, locales={"en_US": 1.0})
    assert sum(ord(c) > 127 for n in plain for c in n.text) == 0


def test_text_stays_out_of_the_repr() -> None:
    note = planted_notes(1, 0)[0]
    assert note.text not in repr(note)
    assert "spans" not in repr(note)


def test_bad_requests_are_named() -> None:
    with pytest.raises(UnknownNameError):
        planted_notes(1, 0, "valid")  # type: ignore[arg-type]
    with pytest.raises(DataError):
        planted_notes(-1, 0)
    with pytest.raises(DataError):
        planted_notes(1, 0, locales={})
    assert planted_notes(0, 0) == []


def test_without_faker_the_line_to_type_is_given(monkeypatch) -> None:
    planted._faker.cache_clear()
    monkeypatch.setitem(sys.modules, "faker", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[privacy\]"):
        planted_notes(1, 0)
    planted._faker.cache_clear()
