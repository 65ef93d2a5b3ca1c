"""Spans: the best answer between a start and an end score, and question and passage packed into one row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError

__all__ = ["Packed", "best_span", "best_spans", "pack_question"]


class Packed(NamedTuple):
    """A question and a passage in one row of fixed length.

    Attributes
    ----------
    tokens : list of str
        ``[CLS] question [SEP] passage``, without padding and without a closing ``[SEP]``.
    mask : int array, shape (length,)
        1 where there is a token, 0 where there is padding.
    passage_start : int
        Position of the first token of the passage.
    cut : int
        Tokens of the passage that did not fit.
    """

    tokens: list[str]
    mask: NDArray[np.int64]
    passage_start: int
    cut: int

    def ids(self, lookup: Callable[[str], int], padding: int = 0) -> NDArray[np.int64]:
        """Return the row as numbers, padded to its length."""
        row = np.full(len(self.mask), padding, dtype=np.int64)
        row[: len(self.tokens)] = [lookup(token) for token in self.tokens]
        return row


def pack_question(
    question: Sequence[str], passage: Sequence[str], length: int, *, start: str = "[CLS]", separator: str = "[SEP]"
) -> Packed:
    """Pack the tokens of a question and of a passage into one row of `length` places.

    A passage that does not fit is cut at its end; a question is never cut.

    Raises
    ------
    DataError
        The question alone does not fit.

    Examples
    --------
    >>> row = pack_question(["What", "?"], ["My", "name", "."], 10)
    >>> row.tokens, row.mask.tolist(), row.passage_start
    (['[CLS]', 'What', '?', '[SEP]', 'My', 'name', '.'], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0], 4)
    """
    head = [start, *question, separator]
    if len(head) > length:
        raise DataError(
            f"a question of {len(question)} tokens", f"at most {length - 2}", "ask shorter or pack into a longer row"
        )
    room = length - len(head)
    tokens = head + list(passage[:room])
    mask = np.zeros(length, dtype=np.int64)
    mask[: len(tokens)] = 1
    return Packed(tokens, mask, len(head), max(0, len(passage) - room))


def best_spans(
    start_scores: ArrayLike, end_scores: ArrayLike, mask: ArrayLike, *, longest: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return for each row the span with the highest ``start[i] + end[j]``, ``i <= j``, both under the mask.

    Parameters
    ----------
    start_scores, end_scores : array, shape (n, t)
        Scores of each position as the first and as the last of the answer; higher is better.
    mask : array, shape (n, t)
        Positions that may be used; what stands elsewhere is never looked at, not even NaN.
    longest : int, optional
        Most positions that a span may have; by default no limit.

    Returns
    -------
    start, end : int array, shape (n,)
        First and last position, both within the span; -1 where no position may be used. Of equal sums the
        earliest start wins, then the earliest end.
    score : float array, shape (n,)
        The sum; minus infinity where there is no span.

    Raises
    ------
    DataError
        Shapes differ, or a score under the mask is not a number.

    Examples
    --------
    >>> start, end, score = best_spans([[1.0, 5.0, 9.0]], [[7.0, 2.0, 9.0]], [[1, 1, 0]])
    >>> start.tolist(), end.tolist(), score.tolist()
    ([0], [0], [8.0])
    """
    usable = np.atleast_2d(np.asarray(mask)) != 0
    starts = np.atleast_2d(np.asarray(start_scores, dtype=np.float64))
    ends = np.atleast_2d(np.asarray(end_scores, dtype=np.float64))
    if starts.shape != ends.shape or starts.shape != usable.shape:
        raise DataError(
            f"start, end and mask of shapes {starts.shape}, {ends.shape} and {usable.shape}",
            "one shape for all three",
            "give one score and one mask value a position",
        )
    if np.isnan(starts[usable]).any() or np.isnan(ends[usable]).any():
        raise DataError("a score under the mask that is not a number", "finite scores", "look at the model's output")
    n, t = starts.shape
    first, last = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    total = np.full(n, -np.inf)
    if n == 0 or t == 0:
        return first, last, total
    starts, ends = np.where(usable, starts, -np.inf), np.where(usable, ends, -np.inf)
    rows = np.arange(n)
    if longest is None:
        # The best start at or before each end is a running maximum, so the table of pairs is never made.
        running = np.maximum.accumulate(starts, axis=1)
        fresh = np.concatenate([np.ones((n, 1), dtype=bool), running[:, 1:] > running[:, :-1]], axis=1)
        origin = np.maximum.accumulate(np.where(fresh, np.arange(t), 0), axis=1)
        sums = running + ends
        value = sums.max(axis=1)
        # Of equal sums the earliest start is wanted, and an origin never falls along a row.
        last[:] = np.argmax(sums == value[:, None], axis=1)
        first[:] = origin[rows, last]
        total[:] = value
    else:
        if longest < 1:
            raise DataError(f"spans of at most {longest} positions", "at least 1", "raise `longest`")
        for step in range(min(longest, t)):
            sums = starts[:, : t - step] + ends[:, step:]
            at = sums.argmax(axis=1)
            value = sums[rows, at]
            better = (value > total) | ((value == total) & np.isfinite(value) & (at < first))
            first[better], last[better], total[better] = at[better], at[better] + step, value[better]
    none = ~np.isfinite(total) | ~usable.any(axis=1)
    first[none], last[none], total[none] = -1, -1, -np.inf
    return first, last, total


def best_span(
    start_scores: ArrayLike, end_scores: ArrayLike, mask: ArrayLike, *, longest: int | None = None
) -> tuple[int, int]:
    """Return first and last position of the best span of one row, see `best_spans`; (-1, -1) where none is possible.

    Examples
    --------
    >>> best_span([0.0, 2.0, 9.0], [6.0, 1.0, 3.0], [1, 1, 1])
    (2, 2)
    """
    first, last, _ = best_spans(
        np.asarray(start_scores)[None], np.asarray(end_scores)[None], np.asarray(mask)[None], longest=longest
    )
    return int(first[0]), int(last[0])
