"""Notes that repeat each other are counted, and nothing of them is said."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.checks.note_texts import MANY, check_note_texts
from aimed.readers.note_set import NoteSet

LONG = "The lungs are clear and the heart is normal in size."


def found(texts, labels, parts=None):
    labels = np.asarray(labels, dtype=np.float64)[:, None]
    return check_note_texts(NoteSet(texts), labels, np.arange(len(texts)), parts or {})


def test_the_same_wording_with_other_labels_is_a_warning():
    one = found([LONG, f"  {LONG.upper()}", "Cardiomegaly is seen again today."], [0, 1, 1])
    assert [f.severity.name for f in one if "other labels" in f.message] == ["WARN"]
    assert next(f for f in one if "other labels" in f.message).evidence == {"notes": 2, "of": 3}
    assert LONG not in str(one)


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, np.nan, 1]])
def test_labels_that_agree_or_are_unknown_contradict_nothing(labels):
    assert not [f for f in found([LONG, LONG, "Cardiomegaly is seen again today."], labels) if "other" in f.message]


@pytest.mark.parametrize(("copies", "severity"), [(1, "NOTE"), (5, "WARN")])
def test_test_notes_that_training_has_too(copies, severity):
    n = 10
    texts = [f"Report number {k} says that the lungs are clear." for k in range(2 * n)]
    texts[n : n + copies] = texts[:copies]
    parts = {"train": np.arange(n), "test": np.arange(n, 2 * n)}
    said = next(f for f in found(texts, np.zeros(2 * n), parts) if "training note" in f.message)
    assert said.severity.name == severity
    assert said.evidence == {"notes": copies, "of": n}
    assert copies / n < MANY or severity == "WARN"


def test_odd_notes_are_counted_by_kind():
    said = [f for f in found([LONG, f"<p>{LONG}</p>"], [0, 0]) if "unlike" in f.message]
    assert said[0].evidence == {"flags": {"html": 1}}
