"""Notes without identities: what is found is replaced alike, everything else stays as it was."""

from __future__ import annotations

import pytest

from aimed.core.errors import UnknownNameError
from aimed.privacy.find import Finder
from aimed.privacy.notes import deidentify_note
from aimed.privacy.surrogates import Surrogates

NOTE = "Mr. Hollis, MRN: 4482210, was seen on 03/14/2021. Call 617-555-0142. Known Parkinson disease."


@pytest.fixture(scope="module")
def finder():
    return Finder(rules_only=True)


@pytest.fixture(scope="module")
def surrogates():
    return Surrogates(b"k" * 32)


def test_markers_stand_where_identifiers_stood(finder):
    done = deidentify_note(NOTE, None, style="class", finder=finder)
    assert done.text.startswith("Mr. [NAME], MRN: [MEDICAL_RECORD], was seen on [DATE].")
    assert done.text.endswith("Known Parkinson disease.")
    for one, (a, b) in zip(done.identifiers, done.places, strict=True):
        assert done.text[a:b] == f"[{one.cls.upper()}]"


def test_surrogates_hide_every_value_and_repeat(finder, surrogates):
    done = deidentify_note(NOTE, surrogates, "p1", finder=finder)
    for value in ("Hollis", "4482210", "03/14/2021", "617-555-0142"):
        assert value not in done.text
    assert deidentify_note(NOTE, surrogates, "p1", finder=finder) == done
    again = deidentify_note("Dr. Hollis came.", surrogates, "p2", finder=finder)
    a, b = done.places[0]
    assert done.text[a:b] == again.text[again.places[0][0] : again.places[0][1]]


def test_what_is_no_identifier_stays_to_the_letter(finder, surrogates):
    done = deidentify_note(NOTE, surrogates, "p1", finder=finder)
    old, new = [], []
    at = start = 0
    for one, (a, b) in zip(done.identifiers, done.places, strict=True):
        old.append(NOTE[at : one.start])
        new.append(done.text[start:a])
        at, start = one.end, b
    assert [*old, NOTE[at:]] == [*new, done.text[start:]]


@pytest.mark.parametrize("note", ["", "\x00", "Nothing to hide."])
def test_a_note_without_identifiers_is_given_back(finder, surrogates, note):
    done = deidentify_note(note, surrogates, finder=finder)
    assert (done.text, done.identifiers) == (note, ())


def test_wrong_styles_are_refused(finder, surrogates):
    with pytest.raises(UnknownNameError, match="style"):
        deidentify_note(NOTE, surrogates, style="black", finder=finder)
    with pytest.raises(UnknownNameError, match="style"):
        deidentify_note(NOTE, None, finder=finder)


def test_no_text_in_the_representation(finder):
    assert "Hollis" not in repr(deidentify_note(NOTE, None, style="class", finder=finder))
    assert "seen" not in repr(deidentify_note(NOTE, None, style="class", finder=finder))
