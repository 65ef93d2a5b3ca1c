"""Word lists: what is on them, whatever the case, and that they do not need Faker once they are made."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.privacy.gazetteers import LISTS, Gazetteer, build_gazetteer, open_table
from aimed.privacy.tokens import hashes_of

pytest.importorskip("faker")


@pytest.fixture(scope="module")
def gazetteer():
    return build_gazetteer({"eponym": ["Parkinson"], "clinical": ["effusion"]})


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Jennifer", "first_name"),
        ("jennifer", "first_name"),
        ("BJÖRN", "first_name"),
        ("Smith", "last_name"),
        ("Norway", "country"),
        ("Strasse", "street"),
        ("GmbH", "company"),
        ("Hungarian", "nationality"),
        ("Mrs", "title"),
        ("Tuesday", "calendar"),
        ("because", "plain"),
        ("Suite", "unit"),
        ("Parkinson", "eponym"),
        ("effusion", "clinical"),
    ],
)
def test_a_word_is_on_its_list(gazetteer, word, name):
    assert name in gazetteer.lists_of(word)


def test_a_made_up_word_is_on_no_list(gazetteer):
    assert gazetteer.lists_of("Qwxzvbn") == ()


def test_many_locales_and_all_lists_are_there(gazetteer):
    assert gazetteer.keys.size > 60_000
    filled = [name for bit, name in enumerate(LISTS) if np.any(gazetteer.flags >> bit & 1)]
    assert set(LISTS) - set(filled) <= {"rare"}


def test_building_again_gives_the_same(gazetteer):
    again = build_gazetteer({"eponym": ["Parkinson"], "clinical": ["effusion"]})
    assert np.array_equal(again.keys, gazetteer.keys)
    assert np.array_equal(again.flags, gazetteer.flags)


def test_the_open_table_finds_every_key_and_nothing_else():
    keys = np.sort(hashes_of([f"w{i}" for i in range(500)]) & np.uint64(0xFFFFFFFFFF))
    table = Gazetteer(keys, np.ones(500, np.uint16), open_table(keys))
    assert table.look_up(hashes_of([f"w{i}" for i in range(500)])).tolist() == [1] * 500
    assert table.look_up(hashes_of([f"v{i}" for i in range(500)])).tolist() == [0] * 500
