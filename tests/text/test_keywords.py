"""The phrase finder: what a phrase may look like, that it hears no denial, and that it needs no lexicon once stored."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from aimed.core.errors import BundleError, StudyFileError
from aimed.text.keywords import Keywords, phrase_pattern


def hit(phrase: str, text: str) -> bool:
    return re.search(phrase_pattern([phrase]), " " + text, re.IGNORECASE) is not None


@pytest.mark.parametrize(
    ("phrase", "yes", "no"),
    [
        ("edema", "Edema.", "myxoedema"),
        ("atelecta*", "mild ATELECTASIS", "telectasis"),
        ("air space disease", "air-space disease", "air. Space disease"),
        ("air-space", "air space", "airspace"),
        ("(small|large) effusion", "large effusion", "left effusion"),
        ("volume loss ..2 lung", "volume loss in the lung", "volume loss in the whole left lung"),
        ("(left lower|lll) opacity", "left lower opacity", "left opacity"),
        ("(mild|) edema", "edema", "edem"),
    ],
)
def test_a_phrase_finds_what_it_means(phrase, yes, no):
    assert hit(phrase, yes)
    assert not hit(phrase, no)


def test_without_phrases_nothing_is_found():
    assert re.search(phrase_pattern([]), " anything") is None


def test_denial_is_not_heard():
    notes = ["Edema.", "No edema.", "Clear.", "Clear lungs."] * 5
    model = Keywords(phrases={"edema": ["edema*"]}).fit(notes, [[1], [0], [0], [0]] * 5, names=["edema"])
    risk = model.predict_proba(["edema", "no edema", "clear"])[:, 0]
    assert risk[0] == risk[1] == pytest.approx((5 + 0.5) / 11)
    assert risk[2] == pytest.approx(0.02 / 11)
    text = "Now: no edema, edema."
    assert [text[a:b] for a, b, _ in model.words_of(text, "edema")] == ["edema", "edema"]


def test_phrases_come_from_the_lexicon_and_are_stored():
    notes = ["Small pneumothorax.", "Clear."] * 5
    model = Keywords().fit(notes, [[1], [0]] * 5, names=["Pneumothorax"])
    assert model.predict_proba(["a pneumothorax", "clear"])[:, 0].tolist() == sorted(model.chance_[0], reverse=True)
    state = json.loads(json.dumps(model.to_state()))
    assert "lexicon" not in state["parameters"]
    assert np.array_equal(Keywords.from_state(state).predict_proba(notes), model.predict_proba(notes))


def test_no_finding_is_the_absence_of_the_others():
    notes = ["Small pneumothorax.", "The lungs are clear."] * 5
    model = Keywords(targets="chexpert").fit(notes, [[0], [1]] * 5, names=["No Finding"])
    risk = model.predict_proba(["pneumothorax", "clear"])[:, 0]
    assert risk[0] < risk[1]
    assert np.array_equal(Keywords.from_state(model.to_state()).predict_proba(notes), model.predict_proba(notes))


def test_what_cannot_be_is_refused():
    with pytest.raises(StudyFileError, match="no phrase for 'edema'"):
        Keywords(phrases={"mass": ["mass"]}).fit(["a", "b"], [[1], [0]], names=["edema"])
    with pytest.raises(StudyFileError, match="perhaps 'Edema'"):
        Keywords().fit(["a", "b"], [[1], [0]], names=["Edemas"])
    state = Keywords(phrases={"a": ["b"]}).fit(["a", "b"], [[1], [0]], names=["a"]).to_state()
    with pytest.raises(BundleError):
        Keywords.from_state({**state, "learned": {**state["learned"], "without": []}})
