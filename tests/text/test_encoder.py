"""The recurrent reader: order of words, long notes, early stopping, the same bits, and what it looks at."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from aimed.core.errors import BundleError, StudyFileError

pytest.importorskip("torch", reason="the extra deep is not installed")
pytest.importorskip("lightning_fabric", reason="the extra deep is not installed")

import torch

from aimed.text.encoder import Encoder
from aimed.text.encoder_network import NoteNetwork, padded

FILLER = ["heart", "lungs", "normal", "clear", "size", "bony", "is"]


def drawn(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Notes with the same words in two orders: only the order tells."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 1)).astype(float)
    notes = []
    for (there,) in y:
        core = "edema not mass" if there else "mass not edema"
        notes.append(f"{' '.join(rng.choice(FILLER, 4))} {core} {' '.join(rng.choice(FILLER, 3))}")
    return notes, y


def small(**more) -> Encoder:
    given = {"width": 16, "hidden": 12, "epochs": 25, "patience": 25, "learning_rate": 0.01, "batch_size": 16}
    return Encoder(**{**given, "dropout": 0.0, "forgotten": 0.0, **more})


@pytest.fixture(scope="module")
def model() -> Encoder:
    notes, y = drawn(200)
    return small().fit(notes, y, names=["edema"], seed=1)


def test_the_order_of_words_is_learned(model):
    notes, y = drawn(80, seed=7)
    assert (model.decide(model.predict_proba(notes)) == y).mean() > 0.95


def test_a_long_note_is_read_in_stretches_with_one_attention_over_all(model):
    filler = " ".join(FILLER * 5)
    notes = [f"{filler} mass not edema", f"{filler} edema not mass {filler}"]
    whole = model.predict_proba(notes)
    try:
        model.set_params(max_words=16)
        parts = model.predict_proba(notes)
        assert parts[0, 0] < 0.5 < parts[1, 0]
        spans = model.words_of(notes[1], "edema")
        assert {notes[1][a:b] for a, b, _ in spans} & {"edema", "not", "mass"}
    finally:
        model.set_params(max_words=512)
    assert whole[0, 0] < 0.5 < whole[1, 0]


def test_attention_over_stretches_is_that_over_the_whole():
    network = NoteNetwork(9, 2, 6, 5, 0.0, 0.0).eval()
    parts = [np.array([2, 3, 4]), np.array([5, 6, 7, 8, 2]), np.array([3])]
    with torch.no_grad():
        batches = [padded(parts[:2]), padded(parts[2:])]
        found = network.over_stretches(batches)
        pairs = [network.states(network.embedding(codes), lengths) for codes, lengths in batches]
        states, heed = (torch.cat([pair[i].flatten(0, 1) for pair in pairs]) for i in (0, 1))
        expected = network.judged(torch.softmax(heed, dim=0).T @ states)
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_words_that_count_are_those_that_tell(model):
    text = "heart clear edema not mass lungs normal"
    weights = {text[a:b]: abs(w) for a, b, w in model.words_of(text, "edema")}
    assert max(weights, key=weights.get) in {"edema", "not", "mass"}


def test_training_stops_early_and_says_so():
    notes, y = drawn(60)
    rng = np.random.default_rng(0)
    model = small(epochs=60, patience=2).fit(notes, rng.permutation(y), names=["edema"])
    assert model.facts_["stopped_early"]
    assert model.facts_["epochs"] < 60
    assert len(model.facts_["learning"]["tune_loss"]) == model.facts_["epochs"]
    assert model.facts_["best_epoch"] == int(np.argmin(model.facts_["learning"]["tune_loss"])) + 1


def test_bits_depend_on_the_seed_alone():
    notes, y = drawn(60)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = small(epochs=3).fit(notes, y, seed=5).predict_proba(notes)
        torch.rand(3)
        torch.set_num_threads(1)
        second = small(epochs=3).fit(notes, y, seed=5).predict_proba(notes)
        third = small(epochs=3).fit(notes, y, seed=6).predict_proba(notes)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_what_stands_beside_a_note_does_not_change_it(model):
    notes, _ = drawn(70, seed=3)
    together = model.predict_proba(notes)
    alone = np.concatenate([model.predict_proba([note]) for note in notes[:5]])
    assert alone == pytest.approx(together[:5], abs=1e-6)


def test_slopes_by_stretch_are_those_of_the_whole_note():
    network = NoteNetwork(9, 2, 6, 5, 0.0, 0.0).eval()
    codes, lengths = padded([np.array([2, 3, 4, 5])])
    vectors = network.embedding(codes).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(network.read(vectors, lengths)[0, 1], vectors)
    with torch.no_grad():
        note = network.gathered([(codes, lengths)])
    found = network.slope(codes, lengths, 1, note)
    assert torch.allclose(found, (slope * vectors).sum(dim=-1)[0].detach(), atol=1e-6)


def test_words_of_padding_are_not_read():
    network = NoteNetwork(9, 2, 6, 5, 0.0, 0.0).eval()
    one, longer = np.array([2, 3, 4]), np.array([5, 6, 7, 8, 2, 3])
    with torch.no_grad():
        alone = network(*padded([one]))
        beside = network(*padded([one, longer]))[:1]
    assert torch.allclose(alone, beside, atol=1e-6)


def test_unknown_labels_teach_nothing():
    notes, y = drawn(120)
    two = np.column_stack([y[:, 0], np.where(np.arange(120) % 2 == 0, np.nan, y[:, 0])])
    model = small().fit(notes, two, names=["a", "b"])
    fresh, truth = drawn(60, seed=4)
    assert ((model.predict_proba(fresh) > 0.5) == truth).mean() > 0.9


@pytest.mark.parametrize(
    "change", [{"width": 0}, {"hidden": 10**6}, {"dropout": 1.0}, {"max_words": 2}, {"epochs": 0}, {"learning_rate": 0}]
)
def test_a_wrong_parameter_is_named(change):
    with pytest.raises(StudyFileError, match=next(iter(change))):
        small(**change).fit(*drawn(20))


def test_weights_that_do_not_fit_are_refused(model):
    state = model.to_state()
    learned = state["learned"]
    bad = base64.b64encode(b"\xff" * 40).decode()
    for change in ({"weights": bad}, {"weights": "!!"}, {"terms": learned["terms"][1:]}, {"terms": ["a", "a"]}):
        with pytest.raises(BundleError):
            Encoder.from_state({**state, "learned": {**learned, **change}})
    with pytest.raises(BundleError):
        Encoder.from_state({**state, "parameters": {**state["parameters"], "hidden": 8000}})
