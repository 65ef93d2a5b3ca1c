"""The lexicon as a model: verdicts in the study's names, probabilities that fall with them, its content stored."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from aimed.core.errors import BundleError, StudyFileError
from aimed.text.lexicon_model import LexiconModel
from aimed.text.lexicon_verdicts import VERDICTS, LexiconVerdicts, codes_of, target_of_each

NOTES = [
    "There is a small pleural effusion.",
    "No pleural effusion.",
    "Possible pleural effusion.",
    "The lungs are clear.",
]
NAN = np.nan

OWN = """
name = "own"
version = "1.0.0"
language = "english"
title = "Made up"
[targets.own]
"Wobble" = ["wobble"]
[concepts.wobble]
title = "Wobble"
phrases = ["wobbl*"]
"""


class Fake:
    """A labeller that knows four words."""

    def __init__(self, targets):
        self.targets = targets
        self.says = {"yes": 1.0, "no": 0.0, "maybe": -1.0}

    def label(self, notes, progress=None):
        values = np.array([[self.says.get(note, NAN)] * len(self.targets) for note in notes])
        rows = [(i, t) for i, note in enumerate(notes) if note in self.says for t in (*self.targets, "")]
        frame = {"report": [i for i, _ in rows], "target": [t for _, t in rows]}
        more = {"start": 0, "end": 2, "assertion": "positive", "context": "", "decided": True}
        evidence = pl.DataFrame(frame, schema={"report": pl.Int64, "target": pl.String}).with_columns(
            **{name: pl.lit(value) for name, value in more.items()}
        )
        return type("Labels", (), {"values": values, "evidence": evidence})()


@pytest.fixture
def faked(monkeypatch):
    def read(self, notes):
        return Fake(self.targets).label(list(notes))

    monkeypatch.setattr(LexiconVerdicts, "read", read)


def test_verdicts_need_no_fit_and_come_in_the_order_of_the_findings():
    model = LexiconModel()
    model.findings_ = ["pneumothorax", "Effusion"]
    found = model.verdicts(["Small effusion. No pneumothorax.", "Possible pneumothorax."])
    assert np.array_equal(found, [[0, 1], [-1, NAN]], equal_nan=True)
    assert model.verdicts([]).shape == (0, 2)
    assert (model.lexicon_name, len(model.lexicon_digest)) == ("chest-xray", 64)


def test_evidence_is_json_in_the_names_of_the_study():
    model = LexiconModel(names={"water": "Effusion"})
    model.findings_ = ["water"]
    text = "The heart is normal. No pleural effusion."
    (first,), none = model.evidence([text, "Clear."])
    assert json.loads(json.dumps(first)) == first
    assert first["finding"] == "water"
    assert first["assertion"] == "negative"
    assert first["decided"]
    assert "effusion" in text[first["start"] : first["end"]]
    assert none == []


def test_a_probability_is_the_smoothed_share_of_a_verdict(faked):
    notes = ["yes"] * 10 + ["no"] * 10 + ["maybe"] * 9 + ["else"] * 20
    y = np.array([1] * 9 + [0] + [0] * 10 + [1] * 4 + [0] * 5 + [1] * 2 + [0] * 18, dtype=float)[:, None]
    model = LexiconModel().fit(notes, y, names=["Effusion"])
    # One note's worth of belief before: .9, .5, .05, .02.
    expected = [(9 + 0.9) / 11, (4 + 0.5) / 10, (2 + 0.05) / 21, (0 + 0.02) / 11]
    assert model.chance_[0] == pytest.approx(expected)
    assert model.predict_proba(["yes", "maybe", "else", "no"])[:, 0] == pytest.approx(expected)


def test_probabilities_never_rise_as_the_verdict_falls(faked):
    rng = np.random.default_rng(0)
    notes = rng.choice(["yes", "no", "maybe", "else"], 40).tolist()
    y = rng.integers(0, 2, (40, 1)).astype(float)
    # A finding that is there after doubt and not after assertion.
    y[np.array(notes) == "maybe"], y[np.array(notes) == "yes"] = 1, 0
    model = LexiconModel().fit(notes, y, names=["Effusion"])
    assert (np.diff(model.chance_, axis=1) <= 0).all()


def test_rows_with_an_unknown_label_are_not_counted(faked):
    y = np.array([[1.0], [0.0], [NAN], [NAN]])
    model = LexiconModel().fit(["yes", "no", "yes", "no"], y, names=["Effusion"])
    assert model.chance_[0, 0] == pytest.approx(1.9 / 2)


def test_mentions_share_what_the_verdict_adds():
    y = np.array([[1.0], [0.0], [0.0], [0.0]] * 5)
    model = LexiconModel().fit(NOTES * 5, y, names=["Effusion"])
    text = "Left effusion. The effusion is small."
    spans = model.words_of(text, "Effusion")
    assert [text[a:b].lower() for a, b, _ in spans] == ["effusion", "effusion"]
    odds = np.log(model.chance_[0] / (1 - model.chance_[0]))
    assert sum(w for _, _, w in spans) == pytest.approx(odds[0] - odds[VERDICTS.index("not_mentioned")])
    (one,) = model.words_of("No effusion.", "Effusion")
    assert one[2] <= 0
    assert model.words_of("Clear.", "Effusion") == []


def test_a_finding_without_target_is_refused_with_the_nearest():
    with pytest.raises(StudyFileError, match="perhaps 'Effusion'"):
        LexiconModel().fit(NOTES, [[1], [0], [0], [0]], names=["Efusion"])
    assert target_of_each(["PLEURAL thickening"], ["Pleural_Thickening"], None) == ["Pleural_Thickening"]


def test_a_lexicon_of_the_user_is_stored_with_the_model(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    notes = ["It wobbles.", "No wobbling.", "Still.", "Wobbly."] * 4
    model = LexiconModel(path, "own").fit(notes, [[1], [0], [0], [1]] * 4, names=["wobble"])
    state = json.loads(json.dumps(model.to_state()))
    assert str(tmp_path) not in json.dumps(state)
    path.unlink()
    again = LexiconModel.from_state(state)
    assert np.array_equal(again.predict_proba(notes), model.predict_proba(notes))
    assert again.lexicon_digest == model.lexicon_digest
    record = state["learned"]["lexicon"]
    record["content"] = record["content"].replace("wobbl*", "still")
    with pytest.raises(BundleError, match="lexicon of the model was changed"):
        LexiconModel.from_state(state)


def test_columns_count_mentions_and_say_each_verdict_once(faked):
    verdicts = LexiconVerdicts("chest-xray", "nih")
    columns = verdicts.columns(["yes", "else"]).reshape(2, len(verdicts.targets), len(VERDICTS) + 1)
    assert (columns[..., :4].sum(axis=2) == 1).all()
    assert columns[0, 0].tolist() == [1, 0, 0, 0, np.log(2)]
    assert columns[1, 0].tolist() == [0, 0, 1, 0, 0]
    assert codes_of(np.array([[NAN]])).tolist() == [[2]]


def test_a_state_with_impossible_probabilities_is_refused(faked):
    state = LexiconModel().fit(["yes", "no"], [[1], [0]], names=["Effusion"]).to_state()
    other = LexiconModel().fit(["yes", "no"], [[1, 1], [0, 0]], names=["Effusion", "Mass"]).to_state()
    with pytest.raises(BundleError):
        LexiconModel.from_state({**state, "learned": {**state["learned"], "chance": other["learned"]["chance"]}})
