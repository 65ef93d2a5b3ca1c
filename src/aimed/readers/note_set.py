"""The notes of a cohort: one text a row, cleaned once, with what was odd about it; nothing of it is ever printed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.readers.note_text import REFUSALS, clean_note

__all__ = ["NoteSet"]


class NoteSet:
    """Some of the notes of a table, one a row of a cohort; none of them refused.

    Parameters
    ----------
    texts : sequence of str or None
        As they stand in the table, one a row of it.
    index : int array, shape (n,), optional
        Rows of the table; those that were not refused when absent.

    Raises
    ------
    DataError
        If a row of the index was refused.

    Examples
    --------
    >>> notes = NoteSet(["No pleural effusion.", None, "The heart is enlarged."])
    >>> len(notes), notes.refused, notes.take([1]).texts
    (2, {'EMPTY': 1}, ('The heart is enlarged.',))
    """

    def __init__(self, texts: Sequence[str | None], index: ArrayLike | None = None) -> None:
        self._notes = [clean_note(text or "") for text in texts]
        usable = np.flatnonzero([note.refusal is None for note in self._notes])
        self.index: NDArray[np.int64] = usable if index is None else np.asarray(index, dtype=np.int64)
        lost = int((~np.isin(self.index, usable)).sum())
        if lost:
            raise DataError(f"{lost} rows whose note was refused", "rows with a note", "leave them out")

    def __len__(self) -> int:
        return int(self.index.size)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether each note of the table can be read, shape (rows of the table,)."""
        return np.asarray([note.refusal is None for note in self._notes])

    @property
    def texts(self) -> tuple[str, ...]:
        """The cleaned texts, in order."""
        return tuple(self._notes[row].text for row in self.index.tolist())

    @property
    def flags(self) -> tuple[tuple[str, ...], ...]:
        """What was odd about each note."""
        return tuple(self._notes[row].flags for row in self.index.tolist())

    @property
    def refused(self) -> dict[str, int]:
        """How many notes of the whole table were refused, by code."""
        return dict(sorted(Counter(n.refusal.upper() for n in self._notes if n.refusal is not None).items()))

    @property
    def total(self) -> int:
        """Number of rows of the whole table."""
        return len(self._notes)

    def refusals(self) -> list[dict[str, Any]]:
        """Return row (from 1), code and reason of each note of the whole table that was refused."""
        return [
            {"row": row + 1, "file": None, "code": note.refusal.upper(), "reason": REFUSALS[note.refusal]}
            for row, note in enumerate(self._notes)
            if note.refusal is not None
        ]

    def take(self, rows: ArrayLike) -> NoteSet:
        """Return some of the notes, given as indices or a mask."""
        found = object.__new__(NoteSet)
        found._notes, found.index = self._notes, self.index[np.asarray(rows)]
        return found

    def digest(self) -> str:
        """Return a hash of all texts, in order."""
        content = hashlib.sha256()
        for text in self.texts:
            found = text.encode("utf-8", "surrogatepass")
            content.update(len(found).to_bytes(8, "big") + found)
        return content.hexdigest()
