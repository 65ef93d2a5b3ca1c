"""Tokens of a note: what the characters of every script are, and where words, numbers and signs start and stop."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aimed.privacy.kernels import tagging

__all__ = ["Characters", "Tokens", "characters", "code_points", "fold_word", "hash_of", "hashes_of", "tokenize"]

_TABLE = 0x10000


@dataclass(frozen=True, slots=True, eq=False)
class Characters:
    """What each code point of the first plane is.

    Attributes
    ----------
    kind : uint8 array, shape (65536,)
        0 space, 1 line end, 2 capital, 3 small letter, 4 other letter, 5 digit, 6 mark, 7 other.
    fold : uint32 array, shape (65536,)
        Small letter without accents; 0 for marks, which do not count.
    """

    kind: NDArray[np.uint8]
    fold: NDArray[np.uint32]


@lru_cache(maxsize=1)
def characters() -> Characters:
    """Return the tables of characters, made once a process.

    Examples
    --------
    >>> chr(characters().fold[ord("É")])
    'e'
    """
    kinds = {"Lu": 2, "Lt": 2, "Ll": 3, "Lm": 4, "Lo": 4, "Nd": 5, "Mn": 6, "Mc": 6, "Me": 6, "Zs": 0, "Zl": 1, "Zp": 1}
    kind = np.full(_TABLE, 7, np.uint8)
    fold = np.arange(_TABLE, dtype=np.uint32)
    category, decomposition = unicodedata.category, unicodedata.decomposition
    for code in range(_TABLE):
        c = chr(code)
        k = kinds.get(category(c), 7)
        kind[code] = k
        if k == 6:
            fold[code] = 0
        elif 2 <= k <= 4:
            small = c.lower()[0]
            while (parts := decomposition(small)) and parts[0] != "<":
                small = chr(int(parts.split()[0], 16))
            fold[code] = ord(small)
    for c in "\t\x0b\x0c\x00\ufeff\u200b":
        kind[ord(c)] = 0
    for c in "\n\r\x85":
        kind[ord(c)] = 1
    # Letters that lose a stroke when they are typed without it.
    for a, b in zip("øłđħıßðæœ", "oldhisdao", strict=True):
        fold[ord(a)] = ord(b)
        upper = a.upper()
        if len(upper) == 1 and upper != "I":
            fold[ord(upper)] = ord(b)
    kind.flags.writeable = False
    fold.flags.writeable = False
    return Characters(kind, fold)


def code_points(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text, one per character.

    Examples
    --------
    >>> code_points("Añ").tolist()
    [65, 241]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Where the tokens of a text are, and what each one is by itself.

    Attributes
    ----------
    start, stop : int64 arrays, shape (n,)
        First character and the one after the last.
    word : uint64 array, shape (n,)
        Hash without case and accents.
    affix : uint64 array, shape (n, 8)
        Hashes of the first and last characters.
    shape : uint64 array, shape (n, 2)
        Hashes of the pattern of capitals, small letters and digits.
    case : uint8 array, shape (n,)
        0 sign, 1 small, 2 First, 3 CAPITALS, 4 miXed, 5 no case, 6 digits, 7 digits and letters, 8 one capital.
    gap : uint8 array, shape (n,)
        Before the token: 0 nothing, 1 space, 2 line end, 3 empty line, 4 start.
    """

    start: NDArray[np.int64] = field(repr=False)
    stop: NDArray[np.int64] = field(repr=False)
    word: NDArray[np.uint64] = field(repr=False)
    affix: NDArray[np.uint64] = field(repr=False)
    shape: NDArray[np.uint64] = field(repr=False)
    case: NDArray[np.uint8] = field(repr=False)
    gap: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return self.start.size


def tokenize(text: str | NDArray[np.uint32]) -> Tokens:
    """Split a text into words, numbers and signs.

    Parameters
    ----------
    text : str or uint32 array
        A note, or its code points.

    Examples
    --------
    >>> tokens = tokenize("Dr. O'Neil, 52")
    >>> list(zip(tokens.start.tolist(), tokens.stop.tolist()))
    [(0, 2), (2, 3), (4, 5), (5, 6), (6, 10), (10, 11), (12, 14)]
    """
    codes = code_points(text) if isinstance(text, str) else text
    tables = characters()
    start = np.empty(codes.size, np.int64)
    stop = np.empty(codes.size, np.int64)
    n = tagging.split_tokens(codes, tables.kind, start, stop)
    start, stop = start[:n].copy(), stop[:n].copy()
    word = np.empty(n, np.uint64)
    affix = np.empty((n, 8), np.uint64)
    shape = np.empty((n, 2), np.uint64)
    case = np.empty(n, np.uint8)
    gap = np.empty(n, np.uint8)
    tagging.describe(codes, start, stop, tables.kind, tables.fold, word, affix, shape, case, gap)
    return Tokens(start, stop, word, affix, shape, case, gap)


def hashes_of(words: list[str]) -> NDArray[np.uint64]:
    """Return the hash of each word, as `tokenize` gives it."""
    out = np.empty(len(words), np.uint64)
    ends = np.cumsum(np.asarray([len(w) for w in words], np.int64)) if words else np.empty(0, np.int64)
    tagging.hash_words(code_points("".join(words)), ends, characters().fold, out)
    return out


def hash_of(word: str) -> int:
    """Return the hash of one word.

    Examples
    --------
    >>> hash_of("José") == hash_of("JOSE")
    True
    """
    return int(hashes_of([word])[0])


def fold_word(word: str) -> str:
    """Return a word in small letters and without accents.

    Examples
    --------
    >>> fold_word("Ørsted")
    'orsted'
    """
    fold = characters().fold
    codes = (fold[ord(c)] if ord(c) < _TABLE else ord(c) for c in word)
    return "".join(chr(c) for c in codes if c)
