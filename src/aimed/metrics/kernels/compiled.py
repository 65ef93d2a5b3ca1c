"""How a loop is compiled: once a machine, kept on disk, without the interpreter's lock, and said when it takes time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core import event

__all__ = ["compiled"]

P = ParamSpec("P")
R = TypeVar("R")


class _Announcer(event.Listener):  # type: ignore[misc]
    """Says once a process that loops are being compiled, the first time one is not found on disk."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        if not self.said:
            self.said = True
            print("aimed: compiling statistical kernels, once on this machine ...", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing: the next line on the screen is the result."""


event.register("numba:compile", _Announcer())


class _CarefulCache:
    """The disk cache of one loop; what cannot be read is compiled anew, what cannot be written is left out."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *call: Any) -> Any:
        try:
            return self._cache.load_overload(*call)
        except Exception:
            # A file cut short raises whatever unpickling raises; the damaged index is written again.
            with contextlib.suppress(OSError):
                self._cache.flush()
            return None

    def save_overload(self, *call: Any) -> None:
        # A full or read-only disk is no reason to fail: the loop is in memory.
        with contextlib.suppress(OSError):
            self._cache.save_overload(*call)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function compiled on its first call, or read from the disk cache.

    Arguments must be contiguous numpy arrays and numbers. Loops run without the interpreter's lock, so that threads
    share the work. Sums keep their order: the same input gives the same bits.

    Examples
    --------
    >>> @compiled
    ... def total(values):
    ...     out = 0.0
    ...     for v in values:
    ...         out += v
    ...     return out
    >>> total.py_func([1.0, 2.0])
    3.0
    """
    try:
        loop = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
        if hasattr(loop, "_cache"):
            loop._cache = _CarefulCache(loop._cache)
    except RuntimeError:
        # No folder in which a cache could be kept: compiled anew in each process.
        loop = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(Callable[P, R], loop)
