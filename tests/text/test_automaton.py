import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError
from aimed.text.automaton import FOLD, compile_phrases, expand
from aimed.text.kernels.words import find_phrases, read_words


def matches(phrases, text):
    """(phrase, words from, to) of every match in one note."""
    a = compile_phrases([(expand(p), i) for i, p in enumerate(phrases)])
    data = np.frombuffer((text + "\n").encode("cp1252"), dtype=np.uint8)
    size = len(data) + 1
    start, stop, word = (np.empty(size, dtype=np.int32) for _ in range(3))
    gap, flags = np.empty(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
    value, first = np.empty(size, dtype=np.float32), np.zeros(2, dtype=np.int64)
    short = np.zeros(a.n_classes, dtype=np.uint8)
    n = read_words(
        data, np.array([0, len(data)]), FOLD, a.tree, a.class_at_end, a.class_beyond, short, a.question,
        start, stop, word, gap, flags, value, first,
    )  # fmt: skip
    begin, end, found = (np.empty(1000, dtype=np.int32) for _ in range(3))
    heading = np.full(len(phrases), -1, dtype=np.int32)
    n = find_phrases(
        first, word, gap, flags, a.root, a.edge_from, a.edge_class, a.edge_to, a.gap_from, a.gap_words, a.gap_to,
        a.accept_from, a.accept, heading, np.full(n + 1, -1, dtype=np.int32), begin, end, found, first.copy(),
    )  # fmt: skip
    return sorted((int(found[i]), text[start[begin[i]] : stop[end[i] - 1]]) for i in range(n))


@pytest.mark.parametrize(
    ("phrase", "rows"),
    [
        ("Pleural-Effusion", [("pleural", "effusion")]),
        ("w/o", [("w", "o")]),
        ("can't", [("cant",)]),
        ("œdéme", None),
        ("oedème*", [("oedeme*",)]),
        ("(left|right|) lung", [("left", "lung"), ("right", "lung"), ("lung",)]),
        ("(a (b|c)|d) e", [("a", "b", "e"), ("a", "c", "e"), ("d", "e")]),
        ("loss ..3 lobe", [("loss", 3, "lobe")]),
        ("? of", [("?", "of")]),
    ],
)
def test_a_phrase_stands_for_rows_of_words(phrase, rows):
    if rows is None:
        with pytest.raises(DataError, match="no phrase may hold"):
            expand(phrase)
    else:
        assert expand(phrase) == rows


@pytest.mark.parametrize("phrase", ["", "(a", "a)", "..2 a", "a ..2", "a # b", "*", "(|)", "a|..2"])
def test_a_phrase_that_cannot_be_read_is_refused(phrase):
    with pytest.raises(DataError):
        expand(phrase)


def test_too_many_alternatives_are_refused():
    with pytest.raises(DataError, match="too many rows"):
        expand(" ".join(["(a|b|c|d|e|f|g|h|i|j)"] * 6))


def test_stars_gaps_and_phrases_within_phrases_are_all_found():
    phrases = ["effusion*", "pleural effusion", "loss ..2 lobe", "pl*", "loss"]
    text = "Pleural effusion, volume loss in the lobe; loss of all of the lobe"
    assert matches(phrases, text) == [
        (0, "effusion"), (1, "Pleural effusion"), (2, "loss in the lobe"), (3, "Pleural"), (4, "loss"), (4, "loss"),
    ]  # fmt: skip


def test_no_phrase_goes_over_a_comma_and_no_gap_over_a_sentence():
    assert matches(["big lobe", "loss ..2 lobe"], "big, lobe. loss of. lobe loss, lobe") == [(1, "loss, lobe")]


def test_words_inside_words_are_none():
    assert matches(["lung", "line"], "plunge airline lungs lung") == [(0, "lung")]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["aa", "ab", "a*", "b", "ba*"]), min_size=1, max_size=3), min_size=1, max_size=6),
    st.lists(st.sampled_from(["aa", "ab", "aab", "b", "ba", "bab", "cc"]), min_size=1, max_size=8),
)
def test_the_automaton_finds_what_a_plain_search_finds(rows, words):
    phrases = list(dict.fromkeys(" ".join(row) for row in rows))

    def fits(word, pattern):
        return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern

    wanted = []
    for i, phrase in enumerate(phrases):
        row = phrase.split()
        for j in range(len(words) - len(row) + 1):
            if all(fits(words[j + k], w) for k, w in enumerate(row)):
                wanted.append((i, " ".join(words[j : j + len(row)])))
    assert matches(phrases, " ".join(words)) == sorted(wanted)


def test_gaps_that_meet_are_one():
    assert expand("small ..2 ..3 stone") == [("small", 5, "stone")]
    assert expand("small ..2 (old|) ..2 stone") == [("small", 2, "old", 2, "stone"), ("small", 4, "stone")]


@pytest.mark.parametrize("phrase", ["gall*stone", "gall**", "small ..-1 stone", "small .. stone", "7*8"])
def test_what_would_never_match_is_named(phrase):
    with pytest.raises(DataError, match="no phrase may hold"):
        expand(phrase)
