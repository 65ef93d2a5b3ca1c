"""Span selection against the plain double loop, and packing at its limits."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.text.spans import best_span, best_spans, pack_question


def by_hand(start, end, mask, longest=None):
    best, where = -np.inf, (-1, -1)
    for i in range(len(start)):
        for j in range(i, len(start) if longest is None else min(len(start), i + longest)):
            if mask[i] and mask[j] and start[i] + end[j] > best:
                best, where = start[i] + end[j], (i, j)
    return where


@pytest.mark.parametrize("longest", [None, 1, 3, 50])
def test_same_as_the_double_loop(longest):
    rng = np.random.default_rng(3)
    for draw in range(60):
        n, t = 7, int(rng.integers(1, 14))
        # Whole numbers make ties, which must go to the earliest start.
        start, end = rng.integers(-3, 4, (n, t)).astype(float), rng.integers(-3, 4, (n, t)).astype(float)
        if draw % 2:
            start, end = rng.normal(size=(n, t)), rng.normal(size=(n, t))
        mask = rng.random((n, t)) < 0.7
        first, last, score = best_spans(start, end, mask, longest=longest)
        for row in range(n):
            where = by_hand(start[row], end[row], mask[row], longest)
            assert (first[row], last[row]) == where
            assert score[row] == (start[row][where[0]] + end[row][where[1]] if where[0] >= 0 else -np.inf)


def test_nothing_usable_and_bad_scores():
    assert best_span([1.0, 2.0], [1.0, 2.0], [0, 0]) == (-1, -1)
    assert best_span([np.nan, 2.0], [np.nan, 2.0], [0, 1]) == (1, 1)
    with pytest.raises(DataError, match="not a number"):
        best_span([np.nan, 2.0], [1.0, 2.0], [1, 1])
    with pytest.raises(DataError, match="one shape"):
        best_spans([[1.0, 2.0]], [[1.0]], [[1, 1]])
    with pytest.raises(DataError, match="at least 1"):
        best_spans([[1.0]], [[1.0]], [[1]], longest=0)


def test_a_long_row_is_fast():
    rng = np.random.default_rng(0)
    first, last, _ = best_spans(rng.normal(size=(4, 200_000)), rng.normal(size=(4, 200_000)), np.ones((4, 200_000)))
    assert (first <= last).all()


def test_packing_cuts_the_passage_and_never_the_question():
    row = pack_question(["a", "b"], list("cdefgh"), 7)
    assert row.tokens == ["[CLS]", "a", "b", "[SEP]", "c", "d", "e"]
    assert (row.cut, row.passage_start, row.mask.sum()) == (3, 4, 7)
    with pytest.raises(DataError, match="question of 6 tokens"):
        pack_question(list("abcdef"), ["x"], 7)
