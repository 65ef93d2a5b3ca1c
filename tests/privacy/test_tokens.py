"""Tokens: where they are, and what counts as the same word."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.privacy.kernels import tagging
from aimed.privacy.tokens import characters, code_points, fold_word, hash_of, hashes_of, tokenize


def words(text):
    tokens = tokenize(text)
    return [text[a:b] for a, b in zip(tokens.start, tokens.stop, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t\x00 ", []),
        ("Dr. O'Neil, 52", ["Dr", ".", "O", "'", "Neil", ",", "52"]),
        ("a@b.de", ["a", "@", "b", ".", "de"]),
        ("GB56HXDO x", ["GB56HXDO", "x"]),
        ("Ærø\nΛευκωσία", ["Ærø", "Λευκωσία"]),
        ("e\u0301cole", ["e\u0301cole"]),
        ("😀x", ["😀", "x"]),
        ("山田 太郎", ["山田", "太郎"]),
        ("\ud800", ["\ud800"]),
    ],
)
def test_every_character_that_is_no_space_is_in_one_token(text, expected):
    assert words(text) == expected
    assert "".join(words(text)) == "".join(c for c in text if not c.isspace() and c != "\x00")


@pytest.mark.parametrize("pair", [("José", "JOSE"), ("Ørsted", "orsted"), ("e\u0301", "é"), ("Łódź", "lodz")])
def test_case_and_accents_do_not_count(pair):
    assert hash_of(pair[0]) == hash_of(pair[1])
    assert fold_word(pair[0]) == fold_word(pair[1])


def test_other_words_have_other_hashes():
    many = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzabcd"]
    assert np.unique(hashes_of(many)).size == 1000


def test_a_word_hashes_alike_in_a_text_and_in_a_list():
    assert tokenize("by Miller, then")
    assert int(tokenize("by Miller, then").word[1]) == hash_of("miller")


def test_letters_case_and_gaps_are_told():
    tokens = tokenize("small First CAPS miXed A 12 a1 ,\nnext\n\nlast")
    assert tokens.case.tolist() == [1, 2, 3, 4, 8, 6, 7, 0, 1, 1]
    assert tokens.gap.tolist() == [4, 1, 1, 1, 1, 1, 1, 1, 2, 3]


def test_the_compiled_loops_do_what_their_python_says():
    text = "Anna\nBell: 12-34, x@y (Zoë)" * 3
    codes, tables = code_points(text), characters()
    tokens = tokenize(text)
    start, stop = np.empty(codes.size, np.int64), np.empty(codes.size, np.int64)
    n = tagging.split_tokens.py_func(codes, tables.kind, start, stop)
    assert np.array_equal(start[:n], tokens.start)
    assert np.array_equal(stop[:n], tokens.stop)
    rng = np.random.default_rng(0)
    for _ in range(40):
        chance = rng.choice([0.0, 0.05, 0.11, 0.6, -1.0], n)
        sure, named = rng.random(n) < 0.2, rng.random(n) < 0.3
        made = [np.zeros(n, np.bool_), np.zeros(n, np.bool_)]
        for f, out in zip((tagging.settle_runs, tagging.settle_runs.py_func), made, strict=True):
            f(codes, tokens.start, tokens.word, tokens.case, tokens.gap, named, chance, sure, 0.1, out)
        assert np.array_equal(*made)
        assert made[0][sure].all()


def test_tables_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        characters().kind[0] = 1


def test_no_text_in_the_representation():
    assert "MARKER" not in repr(tokenize("MARKER"))
