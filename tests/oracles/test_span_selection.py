"""Span selection, input packing and two answers against the published toys of the report-labelling course."""

from __future__ import annotations

import json

from aimed.text.answers import extract
from aimed.text.spans import best_span, pack_question


def test_span_toys(reference):
    published = json.loads(reference("expected_results.json").read_text())["C3W2"]["span_toy"]
    # The best pair under the mask sums to 6 in the first and to 7 in the second; higher scores lie outside the mask.
    first = best_span([-1, 2, 0.4, -0.3, 0, 8, 10, 12], [1, 1, 3, 2, 4, 10, 10, 10], [1, 1, 1, 1, 1, 0, 0, 0])
    second = best_span([0, 2, -1, 0.4, -0.3, 8, 10, 12], [4, 5, 1, 3, 4, 10, 10, 10], [1, 1, 1, 1, 1, 0, 0, 0])
    assert [list(first), list(second)] == published


def test_input_packing_toy():
    question, passage = ["What", "is", "my", "name", "?"], ["My", "name", "is", "Bob", "."]
    row = pack_question(question, passage, 20)
    assert row.tokens == ["[CLS]", *question, "[SEP]", *passage]
    assert row.mask.tolist() == [1] * 12 + [0] * 8
    assert len(row.ids(lambda token: 7)) == 20
    assert row.ids(lambda token: 7).tolist() == [7] * 12 + [0] * 8


def test_answers_of_an_echocardiogram_report():
    passage = (
        "Follow-up of an abnormal echocardiogram, with heart failure and valve "
        "disease. The breathing of the patient has become "
        "worse. An echocardiogram was done today, which shows severe mitral regurgitation "
        "and also large pleural effusion. The "
        "patient is an 86-year-old female who came with bloody stools. Her mother died at age 60."
    )
    age = extract(passage, "How old is the patient?")
    assert str(age) == "86"
    assert passage[age.start : age.end] == "86"
    shown = extract(passage, "What does her echocardiogram show?")
    assert str(shown) == "severe mitral regurgitation and also large pleural effusion"
    assert passage[shown.start : shown.end] == str(shown)
