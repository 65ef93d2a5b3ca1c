"""Whether notes repeat each other: over parts, between patients, and with labels that contradict each other."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aimed.checks.arrays import of, plural
from aimed.checks.context import Context
from aimed.checks.reporter import Reporter
from aimed.core.finding import Finding
from aimed.core.outcome import Multilabel

__all__ = ["check", "check_note_texts"]

_SAY = Reporter("note_texts", "Lee et al., ACL 2022:8424; Kapoor and Narayanan, Patterns 2023;4:100804")
MANY = 0.2
"""From this share of test notes on, wording that training notes have too is a warning."""
_SHORT = 20
"""Shorter notes repeat each other anyway."""


class _Notes(Protocol):
    """Notes such as those of `aimed.readers.note_set.NoteSet`."""

    @property
    def texts(self) -> tuple[str, ...]: ...
    @property
    def flags(self) -> tuple[tuple[str, ...], ...]: ...


def check(context: Context) -> list[Finding]:
    """Look at the notes of a cohort.

    * WARN: notes of one wording and other labels; many test notes whose wording training has too.
    * NOTE: some such test notes; what was odd about how notes are written or stored.

    See `check_note_texts`.
    """
    notes = context.cohort.assets.get("notes")
    if notes is None:
        return []
    outcome = context.cohort.outcome
    labels = outcome.values if isinstance(outcome, Multilabel) else np.empty((context.cohort.n, 0))
    parts = {} if context.split is None else dict(context.split.parts)
    return check_note_texts(notes, labels, context.cohort.patient, parts)


def wordings(texts: tuple[str, ...]) -> NDArray[np.int64]:
    """Return a number for each text, the same for texts that differ in case and spaces only.

    Examples
    --------
    >>> wordings(("No effusion.", "no  effusion.", "Effusion.")).tolist()
    [0, 0, 1]
    """
    seen: dict[str, int] = {}
    return np.asarray([seen.setdefault(" ".join(text.lower().split()), len(seen)) for text in texts], dtype=np.int64)


def check_note_texts(
    notes: _Notes, labels: NDArray[np.float64], patient: NDArray[np.int64], parts: dict[str, NDArray[np.int64]]
) -> list[Finding]:
    """Say how many notes repeat each other, and what was odd about them.

    Parameters
    ----------
    notes : NoteSet
    labels : float array, shape (n, k)
        NaN where unknown.
    patient : array, shape (n,)
    parts : mapping of str to int array
        Rows of each part.

    Examples
    --------
    >>> from aimed.readers.note_set import NoteSet
    >>> notes = NoteSet(["The lungs are clear today.", "The lungs are clear today."])
    >>> found = check_note_texts(notes, np.array([[0.0], [1.0]]), np.array([0, 1]), {})
    >>> [one.severity.name for one in found]
    ['WARN']
    """
    found: list[Finding] = []
    texts = notes.texts
    word = wordings(texts)
    size = np.bincount(word) if word.size else np.zeros(0, dtype=np.int64)
    long = np.asarray([len(text) >= _SHORT for text in texts], dtype=bool)
    contradicted = 0
    for one in np.flatnonzero(size > 1):
        rows = np.flatnonzero(word == one)
        if not long[rows[0]] or not labels.shape[1]:
            continue
        known = labels[rows]
        if ((known == 1.0).any(axis=0) & (known == 0.0).any(axis=0)).any():
            contradicted += rows.size
    if contradicted:
        found.append(
            _SAY.warn(
                "notes",
                f"{plural(contradicted, 'note')} ({of(contradicted, len(texts))}) have the wording of another note and "
                "other labels.",
                "No reader of text can be right about both: look at how they were labelled.",
                notes=contradicted,
                of=len(texts),
            )
        )
    if "train" in parts and "test" in parts:
        inside = np.isin(word[parts["test"]], word[parts["train"]])
        n, total = int(inside.sum()), int(inside.size)
        if n:
            say = _SAY.warn if n >= MANY * total else _SAY.note
            found.append(
                say(
                    "notes",
                    f"{plural(n, 'test note')} ({of(n, total)}) have the wording of a training note.",
                    "Reports repeat standard sentences; the report shows performance on wording that training had not.",
                    notes=n,
                    of=total,
                )
            )
    odd = Counter(flag for flags in notes.flags for flag in flags)
    if odd:
        named = ", ".join(f"{flag.replace('_', ' ')} {count}" for flag, count in sorted(odd.items()))
        found.append(
            _SAY.note(
                "notes",
                f"Some notes are written or stored unlike the others: {named}.",
                "They take part; markup and control characters were taken out.",
                flags=dict(sorted(odd.items())),
            )
        )
    return found
