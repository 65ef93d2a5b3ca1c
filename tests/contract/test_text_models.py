"""Every model of notes of the catalogue: probabilities, seeds, states, odd notes, and what a message may say."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core.errors import AimedError, BundleError, DataError, NotEstimableError, UnknownNameError
from aimed.text import TEXT_MODELS

NAMES = ["Cardiomegaly", "Effusion", "Pneumothorax"]
SAYS = [
    ("The heart is enlarged.", "Heart size is normal.", "Stable cardiomegaly."),
    ("There is a small pleural effusion.", "No pleural effusion.", "Moderate left effusion is seen."),
    ("Apical pneumothorax on the right.", "No pneumothorax.", "Small pneumothorax."),
]
MARKER = "Zebulonowicz 123-45-6789"
LINEAR = {"folds": 2, "penalties": (0.3, 0.03)}
SMALL = {
    "encoder": {"width": 12, "hidden": 8, "epochs": 4, "patience": 4},
    "words": LINEAR,
    "combined": LINEAR,
}


def notes_and_labels(n: int = 90, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random((n, len(NAMES))) < 0.35).astype(float)
    notes = [
        " ".join(SAYS[k][1] if not there else SAYS[k][int(rng.choice([0, 2]))] for k, there in enumerate(row))
        for row in y
    ]
    y[rng.random(y.shape) < 0.05] = np.nan
    return notes, y, np.arange(n) // 2


def made(name: str):
    if name == "encoder" and importlib.util.find_spec("torch") is None:
        pytest.skip("the extra deep is not installed")
    return TEXT_MODELS[name](**SMALL.get(name, {}))


@pytest.fixture(scope="module")
def fitted():
    notes, y, patient = notes_and_labels()
    done: dict = {}

    def one(name: str):
        if name not in done:
            done[name] = made(name).fit(notes, y, patient=patient, names=NAMES, seed=3)
        return done[name]

    return one


NEW = ["The heart is enlarged. No pneumothorax.", "No pleural effusion.", "", "Clear lungs"]


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_risks_are_probabilities_and_decisions_follow_thresholds(name, fitted):
    model = fitted(name)
    risk = model.predict_proba(NEW)
    assert risk.shape == (4, 3)
    assert risk.dtype == np.float64
    assert ((risk >= 0) & (risk <= 1)).all()
    assert np.array_equal(model.decide(risk), (risk >= model.thresholds_).astype(float))
    assert np.isnan(model.decide(np.full((1, 3), np.nan))).all()
    assert model.predict_proba([]).shape == (0, 3)
    assert model.findings_ == NAMES


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_the_same_seed_gives_the_same_bits(name, fitted):
    notes, y, patient = notes_and_labels()
    again = clone(made(name)).fit(notes, y, patient=patient, names=NAMES, seed=3)
    assert np.array_equal(again.predict_proba(NEW), fitted(name).predict_proba(NEW))
    assert np.array_equal(again.thresholds_, fitted(name).thresholds_)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_storing_and_reading_is_the_identity(name, fitted):
    model = fitted(name)
    # Files of models sort their keys.
    state = json.loads(json.dumps(model.to_state(), allow_nan=False, sort_keys=True))
    again = type(model).from_state(state)
    notes = notes_and_labels(30, seed=9)[0] + NEW
    assert np.array_equal(again.predict_proba(notes), model.predict_proba(notes))
    assert np.array_equal(again.thresholds_, model.thresholds_)
    assert again.words_of(NEW[0], "Cardiomegaly") == model.words_of(NEW[0], "Cardiomegaly")
    assert json.dumps(again.to_state(), sort_keys=True) == json.dumps(model.to_state(), sort_keys=True)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_state_of_another_model_or_a_damaged_one_is_refused(name, fitted):
    state = fitted(name).to_state()
    other = next(one for one in TEXT_MODELS if one != name)
    with pytest.raises(BundleError):
        TEXT_MODELS[other].from_state(state)
    for change in ({"thresholds": [0.5]}, {"findings": []}, {"parameters": {"nonsense": 1}}, {"learned": 3}):
        if name == "prevalence" and "learned" in change:
            continue
        with pytest.raises(AimedError):
            TEXT_MODELS[name].from_state({**state, **change})


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_inputs_stay_as_they_are(name):
    notes, y, patient = notes_and_labels(40)
    before = (list(notes), y.copy(), patient.copy())
    made(name).fit(notes, y, patient=patient, names=NAMES).predict_proba(notes)
    assert notes == before[0]
    assert np.array_equal(y, before[1], equal_nan=True)
    assert np.array_equal(patient, before[2])


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_rows_that_tune_teach_nothing_else(name):
    notes, y, patient = notes_and_labels()
    tune = patient % 4 == 0
    model = made(name).fit(notes, y, patient=patient, names=NAMES, tune=tune)
    known = y[~tune]
    assert model.n_fitted_ == int((~tune).sum())
    assert model.share_ == pytest.approx(np.nanmean(known, axis=0))
    if name != "encoder":
        # What is learned does not move when the labels that tune are turned round; the thresholds may.
        turned = np.where(tune[:, None], 1 - y, y)
        other = made(name).fit(notes, turned, patient=patient, names=NAMES, tune=tune)
        assert np.array_equal(other.predict_proba(NEW), model.predict_proba(NEW))
    with pytest.raises(DataError, match="teach and notes that tune"):
        made(name).fit(notes, y, patient=patient, names=NAMES, tune=np.arange(len(notes)) % 2 == 0)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_finding_of_one_class_is_named(name):
    notes, y, _ = notes_and_labels(30)
    with pytest.raises(NotEstimableError, match="'Effusion' is absent in all"):
        made(name).fit(notes, np.where(np.arange(3) == 1, 0.0, y), names=NAMES)
    with pytest.raises(NotEstimableError, match="'Effusion' is unknown"):
        made(name).fit(notes, np.where(np.arange(3) == 1, np.nan, y), names=NAMES)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_odd_notes_have_risks_too(name, fitted):
    odd = [
        "",
        " \n\t ",
        "????",
        "\x00\x00",
        "1234 5678",
        "心臓は正常です",
        "<p>No effusion</p>",
        "NO EFFUSION " * 400,
        None,
    ]
    risk = fitted(name).predict_proba(odd)
    assert risk.shape == (9, 3)
    assert np.isfinite(risk).all()
    for note in odd[:-1]:
        for start, end, weight in fitted(name).words_of(note, "Effusion"):
            assert 0 <= start < end <= len(note)
            assert np.isfinite(weight)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_odd_notes_can_be_learned_from(name):
    notes, y, _ = notes_and_labels(40)
    for place, odd in enumerate(["", "\x00", "????", None]):
        notes[place] = odd
    assert np.isfinite(made(name).fit(notes, y, names=NAMES).predict_proba(notes)).all()


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_notes_that_say_nothing_give_the_share(name):
    y = np.array([[1.0], [0.0], [0.0], [0.0]] * 5)
    model = made(name).fit([""] * 20, y, names=["Effusion"])
    assert model.predict_proba(["", "Clear."]) == pytest.approx(0.25, abs=0.2)


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_bad_input_is_refused_and_no_note_is_told(name, fitted):
    notes, y, patient = notes_and_labels(30)
    marked = [MARKER, *notes[1:]]
    for change in (
        {"X": [*marked[:-1], b"bytes"]},
        {"X": marked[:-1]},
        {"X": MARKER},
        {"y": np.full(y.shape, 0.5)},
        {"y": np.full(y.shape, "yes")},
        {"names": ["a"]},
        {"names": ["a", "a", "b"]},
        {"tune": np.zeros(3, dtype=bool)},
        {"seed": -1},
    ):
        given = {"X": marked, "y": y, "names": NAMES, "patient": patient, **change}
        with pytest.raises(AimedError) as caught:
            made(name).fit(given.pop("X"), given.pop("y"), **given)
        assert "Zebulonowicz" not in str(caught.value)
        assert "bytes" not in caught.value.got
    with pytest.raises(DataError, match="risks of shape"):
        fitted(name).decide(np.zeros((2, 7)))
    with pytest.raises(UnknownNameError, match="'Effusion'"):
        fitted(name).words_of("text", "Efusion")


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_what_one_patient_says_is_in_no_state(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    notes, y, patient = notes_and_labels(40)
    notes[0] += f" {MARKER}"
    notes[1] += f" {MARKER}"
    told: list = []
    model = made(name).fit(
        notes, y, patient=patient, names=NAMES, progress=lambda share, text: told.append((share, text))
    )
    for text in (json.dumps(model.to_state()), repr(model), str(told), *capfd.readouterr()):
        assert "ebulonowicz" not in text
        assert "123-45" not in text
    assert told
    assert told[-1][0] == 1.0
    assert all(0 <= share <= 1 for share, _ in told)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lexicon", "words", "encoder", "combined"])
def test_a_reader_beats_the_floor(name, fitted):
    notes, y, _ = notes_and_labels(60, seed=5)
    model = fitted(name) if name != "encoder" else made(name).set_params(epochs=40, learning_rate=0.02, batch_size=8)
    if name == "encoder":
        learns, labels, patient = notes_and_labels()
        model.fit(learns, labels, patient=patient, names=NAMES)
    said = model.decide(model.predict_proba(notes))
    known = ~np.isnan(y)
    assert (said == y)[known].mean() > 0.95
