"""The linear reader: its columns and fits are scikit-learn's, its weights sum to the log odds, names stay out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from aimed.core.errors import AimedError, DataError, StudyFileError
from aimed.text.note_words import pairs_of, words_of, words_with_places
from aimed.text.ridge import chosen_ridge, fit_ridge
from aimed.text.text_model import notes_of, patient_folds
from aimed.text.word_table import WordTable, shared_terms
from aimed.text.words import Words

NOTES = ["No edema. Clear lungs.", "There is edema.", "Clear lungs, no mass.", "Mass and edema are seen."] * 8
Y = np.array([[0, 0], [1, 0], [0, 1], [1, 1]] * 8, dtype=float)
Y[2::4, 1] = 0


@pytest.fixture(scope="module")
def model() -> Words:
    return Words().fit(NOTES, Y, names=["edema", "mass"])


def test_words_have_their_places_and_numbers_are_one_sign():
    text = "Nódule of 3.5 cm\n\nDr. O’Neil’s patient, MRN 12-34"
    words = words_with_places(text)
    assert [w for w, _, _ in words] == [
        "nodule", "of", "#", "cm", ".", "dr", ".", "o'neil", "s", "patient", "mrn", "#",
    ]  # fmt: skip
    assert text[words[0][1] : words[0][2]] == "Nódule"
    assert text[words[2][1] : words[2][2]] == "3.5"


def test_no_pair_reaches_across_a_sentence():
    assert "clear no" not in pairs_of(words_of("Lungs clear. No edema"))
    assert "no edema" in pairs_of(words_of("Lungs clear. No edema"))


def test_the_columns_are_those_of_scikit_learn():
    patient = np.arange(len(NOTES))
    table = WordTable.of(NOTES, patient, least=1, pairs=False)
    other = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[a-z]+").fit(NOTES)
    assert table.terms == other.get_feature_names_out().tolist()
    assert np.allclose(table(NOTES).toarray(), other.transform(NOTES).toarray(), rtol=1e-12)


def test_a_fit_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 6)) * (rng.random((150, 6)) < 0.5)
    y = (rng.random((150, 2)) < 1 / (1 + np.exp(-x[:, :2] - 1))).astype(float)
    y[:20, 1] = np.nan
    fit = fit_ridge(csr_array(x), y, np.array([0.5, 2.0]))
    for place, c in enumerate((2.0, 0.5)):
        rows = ~np.isnan(y[:, place])
        peer = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x[rows], y[rows, place])
        assert fit.weight[place] == pytest.approx(peer.coef_[0], abs=2e-3)
        assert fit.bias[place] == pytest.approx(peer.intercept_[0], abs=2e-3)


def test_noise_gets_the_largest_penalty_and_signal_a_small_one():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 20))
    y = np.column_stack([x[:, 0] > 0, rng.random(300) < 0.5]).astype(float)
    fold = np.arange(300) % 5
    fit, apart = chosen_ridge(csr_array(x), y, fold, [100.0, 1.0, 0.01])
    assert fit.penalty.tolist() == [0.01, 100.0]
    # Of noise nothing can be said of rows left out.
    assert ((apart[:, 0] > 0.5) == (y[:, 0] == 1)).mean() > 0.9
    assert apart[:, 1].std() < 0.15


def test_folds_keep_patients_together_and_spread_rare_findings():
    rng = np.random.default_rng(2)
    patient = np.sort(rng.integers(0, 60, 200))
    patient = np.unique(patient, return_inverse=True)[1]
    y = (rng.random((200, 3)) < [0.5, 0.2, 0.05]).astype(float)
    fold = patient_folds(y, patient, 5, seed=0)
    assert all(np.unique(fold[patient == who]).size == 1 for who in range(patient.max() + 1))
    assert sorted(np.unique(fold)) == [0, 1, 2, 3, 4]
    rare = [np.unique(patient[(fold == i) & (y[:, 2] == 1)]).size for i in range(5)]
    assert max(rare) - min(rare) <= 1
    assert patient_folds(np.zeros((2, 1)), np.array([0, 1]), 5, 0).tolist() in ([0, 1], [1, 0])


def test_words_of_few_patients_are_not_known():
    notes = [["edema", "kowalski"], ["edema", "kowalski"], ["edema"]]
    assert shared_terms(notes, np.array([0, 0, 1]), 2) == ["edema"]
    table = WordTable.of(["a", "b"], np.array([0, 1]), 2)
    assert table(["a b"]).shape[0] == 1


def test_the_weights_of_words_sum_to_the_log_odds(model):
    text = "Edema, edema and no mass. Unknownword."
    for place, finding in enumerate(model.findings_):
        spans = model.words_of(text, finding)
        risk = model.predict_proba([text])[0, place]
        assert sum(w for _, _, w in spans) + model.fit_.bias[place] == pytest.approx(np.log(risk / (1 - risk)))
    assert {text[a:b] for a, b, _ in model.words_of(text, "mass")} >= {"no mass", "mass"}


def test_denial_is_heard(model):
    said = model.decide(model.predict_proba(["There is edema.", "No edema.", "Mass and edema are seen."]))
    assert said.tolist() == [[1, 0], [0, 0], [1, 1]]


def test_heaviest_words_are_of_enough_patients(model):
    found = model.word_weights(NOTES, patient=np.arange(len(NOTES)) // 2, least=8, top=3)
    edema = found["edema"]
    assert edema[0]["weight"] > 0 > edema[-1]["weight"]
    assert all(one["patients"] >= 8 for one in edema)
    assert model.word_weights(NOTES, patient=np.zeros(len(NOTES)), least=2) == {"edema": [], "mass": []}
    json.dumps(found)


def test_what_a_report_shows_of_the_fit(model):
    assert set(model.facts_["penalty"]) == {"edema", "mass"}
    assert model.facts_["words"] == len(model.table_.terms)
    assert Words.from_state(model.to_state()).facts_ == model.facts_


@pytest.mark.parametrize("change", [{"penalties": []}, {"penalties": [0]}, {"folds": 1}, {"least_patients": 0}])
def test_a_wrong_parameter_is_named(change):
    with pytest.raises(StudyFileError):
        Words(**change).fit(NOTES, Y)


def test_weights_that_do_not_fit_are_refused(model):
    state = model.to_state()
    terms = state["learned"]["table"]["terms"]
    for table in ({"terms": terms[1:]}, {"terms": [terms[0]] * len(terms)}):
        learned = {**state["learned"], "table": {**state["learned"]["table"], **table}}
        with pytest.raises(AimedError):
            Words.from_state({**state, "learned": learned})


def test_notes_are_text():
    assert notes_of(("a", None)) == ["a", ""]
    with pytest.raises(DataError, match="1 of 2 notes are no text"):
        notes_of(["a", 3])
