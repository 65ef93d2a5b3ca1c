"""Tagger: chances as the chain model defines them, a file that repeats bit for bit and refuses damage."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from aimed.core.errors import BundleError, DataError
from aimed.privacy.gazetteers import LISTS, Gazetteer
from aimed.privacy.kernels import tagging
from aimed.privacy.tagger import MODEL, Tagger, default_tagger, features_of
from aimed.privacy.tokens import hashes_of, tokenize
from aimed.privacy.train_tagger import Example, choose_threshold, covered, fit_chain, token_tags, varied

pytest.importorskip("pycrfsuite")


@pytest.fixture(scope="module")
def gazetteer():
    keys = np.sort(hashes_of(["anna", "peter", "the", "and", "came"]) & np.uint64(0xFFFFFFFFFF))
    plain = set((hashes_of(["the", "and", "came"]) & np.uint64(0xFFFFFFFFFF)).tolist())
    bits = [1 << LISTS.index("plain" if k in plain else "first_name") for k in keys.tolist()]
    return Gazetteer.of(keys, np.asarray(bits, np.uint16))


EXAMPLES = [
    Example("Yesterday Anna Bell came and sang.", ((10, 19, "name"),), "a"),
    Example("We saw Peter in Oslo; the sun shone.", ((7, 12, "name"), (16, 20, "geography")), "b"),
    Example("He lives in Bergen and works at night.", ((12, 18, "geography"),), "c"),
    Example("The scan of the chest was normal.", (), "d"),
]


@pytest.fixture(scope="module")
def tagger(gazetteer):
    return fit_chain(EXAMPLES, gazetteer, iterations=30, copies=2, hide=0.3)


def test_it_learns_what_it_was_shown(tagger):
    for e in EXAMPLES:
        tokens = tokenize(e.text)
        best = np.argmax(tagger.chances(tokens), axis=1)
        assert best.tolist() == token_tags(tokens, e.spans, tagger.labels).tolist()


def test_chances_are_those_of_all_ways_through_the_chain(tagger):
    tokens = tokenize("Then Anna went to Oslo")
    flags = tagger.gazetteer.look_up(tokens.word)
    features = features_of(tokens, flags, np.zeros(len(tokens), np.uint8))
    score = np.empty((len(tokens), len(tagger.labels)))
    tagging.scores(features, tagger.keys, tagger.slots, tagger.first, tagger.label, tagger.weight, score)
    k = len(tagger.labels)
    want = np.zeros((len(tokens), k))
    for path in itertools.product(range(k), repeat=len(tokens)):
        weight = np.exp(
            sum(score[t, j] for t, j in enumerate(path)) + sum(tagger.step[a, b] for a, b in itertools.pairwise(path))
        )
        want[np.arange(len(tokens)), path] += weight
    want /= want.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tagger.chances(tokens), want, rtol=1e-9)


def test_training_again_gives_the_same_bytes(tagger, gazetteer):
    assert fit_chain(EXAMPLES, gazetteer, iterations=30, copies=2, hide=0.3).to_bytes() == tagger.to_bytes()


def test_the_file_gives_the_same_bits_back(tagger):
    again = Tagger.from_bytes(tagger.to_bytes())
    tokens = tokenize("Peter Bell came from Bergen.")
    assert np.array_equal(again.chances(tokens), tagger.chances(tokens))
    assert again.threshold == tagger.threshold
    assert again.to_bytes() == tagger.to_bytes()


def test_a_flipped_byte_anywhere_is_refused(tagger):
    data = tagger.to_bytes()
    for at in [0, 5, 16, 40, 79, 80, len(data) // 2, len(data) - 1]:
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(BundleError):
            Tagger.from_bytes(bytes(broken))
    for short in (b"", data[:60], data[:-1]):
        with pytest.raises(BundleError):
            Tagger.from_bytes(short)


def test_the_shipped_model_is_small_and_reads_quickly():
    assert MODEL.stat().st_size <= 2_000_000
    start = time.perf_counter()
    model = Tagger.from_bytes(MODEL.read_bytes())
    assert time.perf_counter() - start < 2.0
    assert {"", "name", "geography", "date"} <= set(model.labels)
    assert default_tagger() is default_tagger()


@pytest.mark.parametrize("text", ["", " ", "\x00", "x", "HELLO", "😀" * 50, "山田太郎", "\ud800 a", "<p>A&nbsp;b</p>"])
def test_chances_sum_to_one_for_any_text(tagger, text):
    chances = tagger.chances(tokenize(text))
    assert np.isfinite(chances).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)


def test_a_long_note_goes_through_in_blocks_that_agree(tagger):
    part = "Yesterday Anna Bell came and sang in Oslo at night. " * 8
    one = tagger.chances(tokenize(part))[30:60]
    many = tagger.chances(tokenize(part * 120))
    assert len(many) > 2 * 4096
    width = len(tokenize(part))
    for block in (41, 77):
        np.testing.assert_allclose(many[block * width + 30 : block * width + 60], one, atol=1e-6)


def test_no_examples_is_refused_with_a_reason(gazetteer):
    with pytest.raises(DataError, match="0 examples"):
        fit_chain([], gazetteer)


def test_thresholds_and_scores_by_hand():
    chance, truth = np.array([0.9, 0.7, 0.6, 0.2]), np.array([True, False, True, True])
    assert choose_threshold(chance, truth, 0.75) == 0.2
    assert choose_threshold(chance, truth, 0.9) == 0.9
    assert choose_threshold(chance, ~truth, 0.9) == 1.0
    assert covered([chance], [truth], 0.65) == (1 / 3, 1 / 2)


def test_a_varied_example_has_its_values_where_it_says():
    pools = {"name": ["Zed Q", "Yan P"], "geography": ["Rome", "Turku"]}
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        for e in EXAMPLES:
            new = varied(e, pools, rng)
            assert [s[2] for s in new.spans] == [s[2] for s in e.spans]
            for (a, b, tag), (c, d, _) in zip(new.spans, e.spans, strict=True):
                value = new.text[a:b].casefold()
                assert value in {e.text[c:d].casefold(), *(v.casefold() for v in pools[tag])}
                seen.add(value)
    assert {"rome", "turku", "zed q"} <= seen


def test_examples_do_not_show_their_text():
    assert "Anna" not in repr(EXAMPLES[0])
