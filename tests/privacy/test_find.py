"""Finder: rules and tagger together, names found again, clinical eponyms kept, any note taken in linear time."""

from __future__ import annotations

import itertools
import time

import pytest

from aimed.core.errors import DataError
from aimed.privacy.classes import CLASS_NAMES
from aimed.privacy.find import Finder
from aimed.privacy.tagger import MODEL


@pytest.fixture(scope="module")
def finder():
    assert MODEL.exists()
    return Finder()


def found(finder, note):
    return {note[i.start : i.end]: i.cls for i in finder.find(note)}


def check(note, identifiers):
    for one in identifiers:
        assert 0 <= one.start < one.end <= len(note)
        assert one.cls in CLASS_NAMES
    for a, b in itertools.pairwise(identifiers):
        assert a.end <= b.start


NOTE = (
    "Name: Margaret Ellwood\nMRN: 00482913\nSeen by Dr. Tom Wilson on 03/14/2021 in Springfield. "
    "She has Parkinson disease; a Foley catheter is in place. Phone 617-555-0142, e-mail m.ellwood@mail.org."
)


def test_a_note_is_read_as_a_person_would(finder):
    got = found(finder, NOTE)
    joined = " ".join(got)
    for word in ("Margaret", "Ellwood", "00482913", "Wilson", "03/14/2021", "617-555-0142", "m.ellwood@mail.org"):
        assert word in joined
    assert "Parkinson" not in joined
    assert "Foley" not in joined


@pytest.mark.parametrize(
    ("note", "person"),
    [
        ("Mr. Parkinson was admitted.", True),
        ("Dr. Wilson reviewed the film.", True),
        ("Parkinson's disease for ten years.", False),
        ("Wilson disease was excluded.", False),
        ("A Foley catheter was placed.", False),
        ("Swan-Ganz catheter tip in the right pulmonary artery.", False),
        ("Crohn's disease, Bell's palsy, Graves disease.", False),
        ("Hodgkin lymphoma; Cushing syndrome.", False),
    ],
)
def test_an_eponym_goes_only_where_it_is_a_person(finder, note, person):
    assert ("name" in {i.cls for i in finder.find(note)}) is person


def test_a_name_found_once_is_found_everywhere(finder):
    note = "Patient: Mr. Hallström was seen. Later that night Hallström slept well, and so did HALLSTRÖM's wife."
    words = [note[i.start : i.end] for i in finder.find(note)]
    assert sum("hallstr" in w.lower() for w in words) == 3


@pytest.mark.parametrize(
    "note",
    ["", " \n", "\x00\x00", "\x00Mr. Bell\x00", NOTE.upper(), NOTE.lower(), f"<html><p>{NOTE}</p>&nbsp;</html>",
     "患者:山田太郎", "Пациент Иванов Иван", "مريض", "\ud83d", "." * 5000, "a" * 100_000, "(" * 999, "1 " * 4000],
)  # fmt: skip
def test_any_note_gives_ordered_places_without_overlap(finder, note):
    check(note, finder.find(note))


def test_many_notes_are_read_as_each_alone(finder):
    notes = [NOTE, "", "Seen by Dr. Bell."]
    assert finder.find_many(notes) == [finder.find(n) for n in notes]


def test_a_lower_threshold_never_finds_less(finder):
    def covered(threshold):
        return {k for i in Finder(threshold).find(NOTE) for k in range(i.start, i.end) if NOTE[k].isalnum()}

    assert covered(0.9) <= covered(0.3) <= covered(0.02)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1.0, float("nan")])
def test_a_threshold_that_is_no_chance_is_refused(bad):
    with pytest.raises(DataError, match="threshold"):
        Finder(bad)


def test_nothing_of_a_note_is_shown():
    finder = Finder(rules_only=True)
    hit = finder.find("Mr. Hollis")[0]
    assert "Hollis" not in repr(hit) + repr(finder)


@pytest.mark.slow
def test_ten_megabytes_take_time_in_proportion(finder):
    one = (NOTE + "\n\nNo acute findings in the chest. Heart size is normal.\n") * 400
    finder.find(one)
    start = time.perf_counter()
    finder.find(one)
    short = time.perf_counter() - start
    big = one * (10_000_000 // len(one))
    start = time.perf_counter()
    check(big, finder.find(big))
    took = time.perf_counter() - start
    assert took < 3.0 * short * len(big) / len(one)
