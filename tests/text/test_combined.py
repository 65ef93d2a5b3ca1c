"""Words and verdicts together: each is used where it tells, and both add up in the explanation."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core.errors import AimedError, StudyFileError
from aimed.text.combined import Combined
from aimed.text.lexicon_verdicts import VERDICTS

RNG = np.random.default_rng(0)
# "Effusion" is what the lexicon knows; "quaver" is a word that it does not.
LEXICON = RNG.integers(0, 2, 60).astype(bool)
WORD = RNG.integers(0, 2, 60).astype(bool)
NOTES = [
    f"{'Small pleural effusion' if a else 'No pleural effusion'}. {'A quaver' if b else 'A change'} was seen."
    for a, b in zip(LEXICON, WORD, strict=True)
]
Y = np.column_stack([LEXICON, WORD]).astype(float)


@pytest.fixture(scope="module")
def model() -> Combined:
    return Combined().fit(NOTES, Y, names=["Effusion", "quaver"], seed=0)


def test_it_knows_what_either_knows(model):
    assert np.array_equal(model.decide(model.predict_proba(NOTES)), Y)
    # A way to say it that no training note has: only the lexicon hears it.
    new = ["Bilateral pleural effusions are noted.", "The lungs are free of effusion."]
    risk = model.predict_proba(new)[:, 0]
    assert risk[0] > risk[1]


def test_a_finding_needs_no_target_but_evidence_does(model):
    assert model.findings_ == ["Effusion", "quaver"]
    with pytest.raises(StudyFileError):
        model.verdicts(NOTES[:1])
    one = Combined().fit(NOTES, Y[:, :1], names=["Effusion"])
    assert one.evidence(NOTES[:1])[0][0]["finding"] == "Effusion"
    assert set(one.verdicts(NOTES)[:, 0]) == {0.0, 1.0}


def test_weights_of_places_and_of_silence_sum_to_the_log_odds(model):
    text = "Small pleural effusion. A quaver was seen."
    words, silent = len(model.table_.terms), VERDICTS.index("not_mentioned")
    for place, finding in enumerate(model.findings_):
        spans = model.words_of(text, finding)
        columns = model.reader.columns([text])[0].reshape(len(model.reader.targets), -1)
        weight = model.fit_.weight[place, words:].reshape(columns.shape)
        quiet = float((columns[:, silent] * weight[:, silent]).sum())
        risk = model.predict_proba([text])[0, place]
        total = sum(w for _, _, w in spans) + quiet + model.fit_.bias[place]
        assert total == pytest.approx(np.log(risk / (1 - risk)))
        assert all(0 <= a < b <= len(text) for a, b, _ in spans)
    best = max(model.words_of(text, "quaver"), key=lambda one: one[2])
    assert "quaver" in text[best[0] : best[1]]


def test_words_that_count_are_named_without_the_columns_of_the_lexicon(model):
    found = model.word_weights(NOTES, patient=np.arange(60), least=10)
    assert "quaver" in found["quaver"][0]["word"]
    assert {one["word"] for one in found["Effusion"]} <= set(model.table_.terms)


def test_a_wrong_parameter_or_a_state_of_other_columns_is_refused(model):
    with pytest.raises(StudyFileError):
        Combined(verdict_scale=0.0).fit(NOTES, Y)
    state = model.to_state()
    table = state["learned"]["table"]
    smaller = Combined().fit(NOTES[:30], Y[:30]).to_state()["learned"]["table"]
    assert smaller != table
    with pytest.raises(AimedError):
        Combined.from_state({**state, "learned": {**state["learned"], "table": {**table, "terms": table["terms"][1:]}}})
