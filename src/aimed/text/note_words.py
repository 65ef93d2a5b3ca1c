"""Words of a note as a learner sees them: small letters, no accents, one sign for any number, each with its place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["MARK", "NUMBER", "pairs_of", "words_of", "words_with_places"]

NUMBER = "#"
"""Stands for every number: a model that knew them could know a record number."""

MARK = "."
"""Ends a sentence: no pair of words reaches across."""

_WORD = re.compile(r"(?P<number>\d+(?:[.,:/-]\d+)*)|[^\W\d_]+(?:['’][^\W\d_]+)?|(?P<end>[.;:!?](?=\s|$)|\n\s*\n)")


@lru_cache(maxsize=65536)
def _plain(word: str) -> str:
    small = word.lower().replace("’", "'")
    if small.isascii():
        return small
    parts = unicodedata.normalize("NFKD", small)
    return "".join(c for c in parts if not unicodedata.combining(c))


def words_with_places(text: str) -> list[tuple[str, int, int]]:
    """Return the words of a note with the place of each, ends of sentences among them.

    Examples
    --------
    >>> words_with_places("No Édema. 3.5 cm")
    [('no', 0, 2), ('edema', 3, 8), ('.', 8, 9), ('#', 10, 13), ('cm', 14, 16)]
    """
    found = []
    for match in _WORD.finditer(text):
        kind = match.lastgroup
        word = _plain(match.group()) if kind is None else NUMBER if kind == "number" else MARK
        found.append((word, match.start(), match.end()))
    return found


def words_of(text: str) -> list[str]:
    """Return the words of a note, ends of sentences among them.

    Examples
    --------
    >>> words_of("Heart size is normal.")
    ['heart', 'size', 'is', 'normal', '.']
    """
    return [word for word, _, _ in words_with_places(text)]


def pairs_of(words: Sequence[str]) -> list[str]:
    """Return words and pairs of neighbours within a sentence, in order; ends of sentences are no words.

    Examples
    --------
    >>> pairs_of(["no", "edema", ".", "clear"])
    ['no', 'edema', 'no edema', 'clear']
    """
    found: list[str] = []
    before = MARK
    for word in words:
        if word != MARK:
            found.append(word)
            if before != MARK:
                found.append(f"{before} {word}")
        before = word
    return found
