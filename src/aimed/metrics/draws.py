"""The bootstrap of patients: counts of each patient in blocks of replicates, so that no metric sorts its rows again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes, zero_one
from aimed.metrics.kernels.resampling import draw_counts
from aimed.metrics.result import checked_level

__all__ = [
    "BLOCK",
    "ESTIMABLE",
    "PatientDraws",
    "estimable_share",
    "in_blocks",
    "percentile_interval",
    "threads_allowed",
]

T = TypeVar("T")

ESTIMABLE = 0.9
"""Least share of draws in which a metric must be estimable to have an interval."""

BLOCK = 16
"""Replicates handled together: their counts of one patient lie side by side in memory."""


def threads_allowed(threads: int | None = None) -> int:
    """Return how many threads to use: as asked, else ``OMP_NUM_THREADS``, else the processors this process may use.

    Examples
    --------
    >>> threads_allowed(3)
    3
    """
    if threads is not None:
        return max(1, int(threads))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and asked.isascii() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class PatientDraws:
    """Resamples of patients with replacement; all rows of a patient come together.

    With strata, patients with and without a marked row are drawn apart, so that each draw has as many of either as
    the data: right for measures that hold the outcome fixed, such as the AUROC. Measures that depend on how often the
    event happens, such as O/E or net benefit, need draws without strata: with them the spread of the event rate
    itself would be missing from the interval.

    Parameters
    ----------
    patient : array, shape (n,), or None
        Patient of each row; None makes every row its own patient.
    n : int
        Rows.
    strata : bool array, shape (n,), optional
        Rows with the event. Where a patient has rows of both kinds there are no strata: rows without the event of
        such patients are unlike others, and drawing them apart would take spread away.
    draws : int
    seed : int or sequence of int
        Draw b depends on the seed and b alone: not on the number of threads, nor on how many draws there are.
    threads : int, optional

    Attributes
    ----------
    codes : int array, shape (n,)
        Patient number of each row.
    patients : int
    stratified : bool

    References
    ----------
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 2.4 and 3.8.

    Examples
    --------
    >>> draws = PatientDraws(["a", "a", "b"], 3, draws=2, seed=1)
    >>> draws.counts(0, 2).sum(axis=0), [w.tolist() for w in draws.rows()]
    (array([2, 2], dtype=uint64), [[1, 1, 1], [2, 2, 0]])
    """

    def __init__(
        self,
        patient: ArrayLike | None,
        n: int,
        strata: ArrayLike | None = None,
        *,
        draws: int,
        seed: int | Sequence[int],
        threads: int | None = None,
    ) -> None:
        self.codes = patient_codes(patient, n)
        self.patients = int(self.codes.max()) + 1 if n else 0
        self.draws, self.threads = int(draws), threads_allowed(threads)
        self._seed = [seed] if isinstance(seed, int | np.integer) else list(seed)
        marked = np.zeros(self.patients, dtype=bool)
        self.stratified = False
        if strata is not None:
            flags = zero_one("strata", strata) > 0
            if flags.shape != self.codes.shape:
                raise DataError(f"strata has shape {flags.shape}", f"{self.codes.shape}, one a row")
            unmarked = np.zeros(self.patients, dtype=bool)
            marked[self.codes[flags]], unmarked[self.codes[~flags]] = True, True
            self.stratified = not (marked & unmarked).any()
            if not self.stratified:
                marked[:] = False
        self._groups = [g for g in (np.flatnonzero(marked), np.flatnonzero(~marked)) if g.size]

    def counts(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return how often each patient is drawn in draws first to last - 1, shape (patients, last - first)."""
        out = np.zeros((self.patients, last - first), dtype=np.uint8)
        states = np.array(
            [np.random.SeedSequence([*self._seed, b]).generate_state(1, np.uint64)[0] for b in range(first, last)],
            dtype=np.uint64,
        )
        if any(draw_counts(group, states, out) for group in self._groups):
            raise OverflowError("a patient was drawn more than 255 times in one resample")
        return out

    def rows(self) -> Iterator[IntArray]:
        """Yield, for each draw, how often each row was drawn, shape (n,)."""
        for first in range(0, self.draws, BLOCK):
            block = self.counts(first, min(first + BLOCK, self.draws))
            for column in block.T:
                yield column[self.codes].astype(np.int64)

    def map(
        self,
        work: Callable[[NDArray[np.uint8]], FloatArray],
        progress: Callable[[float], None] | None = None,
    ) -> FloatArray:
        """Return what `work` makes of each block of counts, in the order of the draws, shape (draws, ...).

        Parameters
        ----------
        work : callable
            From counts, shape (patients, b), to one result a draw, shape (b, ...). Runs in threads.
        progress : callable, optional
            Called with the share done, from 0 to 1.
        """
        parts = list(in_blocks(self.draws, lambda a, b: work(self.counts(a, b)), self.threads, progress))
        return np.concatenate(parts) if parts else np.empty(0)


def in_blocks(
    draws: int, work: Callable[[int, int], T], threads: int, progress: Callable[[float], None] | None = None
) -> Iterator[T]:
    """Yield what `work` makes of the draws from first to last - 1, block by block in order, worked out in threads.

    Examples
    --------
    >>> list(in_blocks(20, lambda first, last: last - first, threads=2))
    [16, 4]
    """
    starts = range(0, draws, BLOCK)
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for done, part in enumerate(pool.map(lambda a: work(a, min(a + BLOCK, draws)), starts), 1):
            yield part
            if progress is not None:
                progress(min(1.0, done * BLOCK / draws))


def estimable_share(values: NDArray[np.float64]) -> FloatArray:
    """Return the share of draws, along the first axis, in which a metric could be estimated.

    Examples
    --------
    >>> estimable_share(np.array([1.0, np.nan])).item()
    0.5
    """
    return np.asarray(np.isfinite(values).mean(axis=0), dtype=np.float64)


def percentile_interval(values: FloatArray, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Return percentile limits over the first axis; NaN where fewer than 90 % of draws were estimable.

    Parameters
    ----------
    values : float array, shape (draws, ...)
    level : float

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Examples
    --------
    >>> [round(float(v), 3) for v in percentile_interval(np.arange(101.0), 0.9)]
    [5.0, 95.0]
    """
    checked_level(level)
    known = np.isfinite(values)
    # Columns without any value would make nanquantile warn; they are blanked out again below.
    filled = np.where(known.any(axis=0), np.where(known, values, np.nan), 0.0)
    lower, upper = np.nanquantile(filled, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    enough = estimable_share(values) >= ESTIMABLE
    return np.where(enough, lower, np.nan), np.where(enough, upper, np.nan)
