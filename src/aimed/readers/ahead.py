"""Files read and decoded in threads ahead of whoever uses them: in order, few in memory, with the time that is left."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias, TypeVar

__all__ = ["Progress", "Told", "processors", "worked_ahead"]

Progress: TypeAlias = Callable[[float, str], object]
Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """Return how many processors this process may use; a container may lend fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worked_ahead(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, ahead: int = 0
) -> Iterator[tuple[Item, Result]]:
    """Work in threads and yield in the order given.

    Parameters
    ----------
    work : callable
    items : iterable
        Taken one by one, as they are needed.
    jobs : int
        Threads.
    ahead : int
        Results that may wait to be used; twice the number of threads when that is more.

    Examples
    --------
    >>> list(worked_ahead(abs, [-1, 2], jobs=2))
    [(-1, 1), (2, 2)]
    """
    most = max(2 * jobs, ahead)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) > most:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Told:
    """Reports how far the work is, at most ten times a second.

    Parameters
    ----------
    progress : callable, optional
        ``progress(share, text)``.
    total : int
        Pictures.
    what : str
        They are.
    """

    def __init__(self, progress: Progress | None, total: int, what: str = "pictures") -> None:
        self.progress, self.total, self.done, self.refused, self.what = progress, max(total, 1), 0, 0, what
        self.began = self.last = time.monotonic()

    def step(self, refused: bool) -> None:
        """Count one file."""
        self.done += 1
        self.refused += refused
        now = time.monotonic()
        if self.progress is None or (now - self.last < 0.1 and self.done < self.total):
            return
        self.last = now
        left = (now - self.began) / self.done * (self.total - self.done)
        text = f"{self.done:,} of {self.total:,} {self.what}"
        self.progress(self.done / self.total, f"{text}, {self.refused:,} refused, {left:,.0f} s left")
