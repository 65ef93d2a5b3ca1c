"""Damage to notes: differences are paired, the sentence counts what Holm leaves, and the same seed damages alike."""

import numpy as np
import pytest

from aimed.trust.note_robustness import NOTE_CHANGES, NoteChange, robustness, worsened_note


def reader(word):
    return lambda notes: np.array([[float(word in note)] for note in notes])


def study(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, 1)) < 0.5).astype(float)
    return ["Edema is present today." if one else "Clear lungs are seen today." for one in y[:, 0]], y


def test_a_change_that_costs_everything_is_shown_and_one_that_costs_nothing_is_not():
    notes, y = study()
    found = robustness(reader("Edema"), notes, y, said=np.round, names=["edema"])
    by_key = {one["key"]: one for one in found["changes"]}
    assert by_key["capitals"]["state"] == "loss shown"
    assert by_key["capitals"]["differences"]["micro_f1"]["value"] == -1
    assert by_key["capitals"]["differences"]["micro_f1"]["upper"] < -0.5
    assert by_key["no_punctuation"]["state"] == "no loss shown"
    assert by_key["no_punctuation"]["p"] is None
    assert found["unchanged"]["micro_f1"]["lower"] < 1


def test_p_values_are_adjusted_and_the_sentence_counts_what_is_left():
    notes, y = study(200)
    notes = [f"{note} Film {i}." for i, note in enumerate(notes)]

    def predict(some):
        return np.array([[float("Edema" in t or (t.isupper() and "EDEMA" in t and "5." in t))] for t in some])

    found = robustness(predict, notes, y, said=np.round, names=["edema"])
    known = [one for one in found["changes"] if one["p"] is not None]
    assert all(one["p_holm"] >= one["p"] for one in known)
    shown = sum(one["state"] == "loss shown" for one in known)
    firm = sum(one["state"] == "loss shown" and one["p_holm"] < 0.05 for one in known)
    assert firm >= 1
    counted = f"A loss is shown for {shown} of {len(NOTE_CHANGES)}, for {firm} after Holm's adjustment"
    assert counted in found["sentence"]


def test_few_patients_with_the_finding_make_the_interval_wide():
    y = np.zeros((200, 1))
    y[:4] = 1
    notes = [f"Edema, film {i}." if one else f"Clear, film {i}." for i, one in enumerate(y[:, 0])]

    def predict(some):
        # One of the four is lost.
        return np.array([[float("edema" in note.lower() and note != "EDEMA, FILM 0.")] for note in some])

    found = robustness(predict, notes, y, said=np.round, names=["edema"], changes=[NoteChange("capitals")])
    one = found["changes"][0]
    assert one["differences"]["micro_f1"]["value"] < 0
    assert one["state"] == "no loss shown"
    # Of 4 patients, not of 200: the quantile of t is 3.2, not 2.
    gap = one["differences"]["micro_f1"]
    assert gap["upper"] - gap["value"] > 0.3
    assert "neither is robustness" in found["sentence"]


def test_differences_are_added_by_patient():
    notes, y = study(80)
    rng = np.random.default_rng(1)
    lost = set(rng.choice(80, 20, replace=False).tolist())
    texts = [f"{text} {i}." for i, text in enumerate(notes)]

    def predict(some):
        return np.array(
            [[float("edema" in t.lower() and not (t.isupper() and int(t.split()[-1][:-1]) in lost))] for t in some]
        )

    ask = {"said": np.round, "names": ["edema"], "changes": [NoteChange("capitals")]}
    alone = robustness(predict, texts, y, **ask)["changes"][0]["differences"]["micro_f1"]
    twice = robustness(predict, texts * 2, np.tile(y, (2, 1)), patient=np.tile(np.arange(80), 2), **ask)
    gap = twice["changes"][0]["differences"]["micro_f1"]
    assert gap["value"] == pytest.approx(alone["value"])
    assert gap["lower"] == pytest.approx(alone["lower"])


@pytest.mark.parametrize("change", NOTE_CHANGES)
def test_the_same_seed_damages_alike(change):
    text = "FINDINGS: There is a moderate pleural effusion, and the heart is enlarged.\nIMPRESSION: Stable."
    assert worsened_note(text, change, 3) == worsened_note(text, change, 3)
    if change.kind in ("typing", "holes"):
        drawn = {worsened_note(text, NoteChange(change.kind, 0.5), seed) for seed in range(5)}
        assert len(drawn) > 1


def test_without_a_positive_nothing_is_compared():
    found = robustness(reader("Edema"), ["Clear."] * 5, np.zeros((5, 1)), said=np.round, names=["edema"])
    assert {one["state"] for one in found["changes"]} == {"not estimable"}
    assert found["sentence"].startswith("Nothing could be compared")
