"""Eponyms: names of people that stand for a disease, a sign, a device or a drug, and that a note keeps."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

__all__ = ["EponymList", "eponym_spans", "is_eponym", "load_eponyms"]

# What makes the same word a person after all.
_PERSON_BEFORE: Final = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|miss|prof|professor|doctor|sister|nurse|patient|name|by|sir|dear|consultant|surgeon"
    r"|attending)\b"
    r"[.:,]{0,2}[ ]{1,2}(?:[^\W\d_]\.?[ ])?)\Z"
)


@dataclass(frozen=True)
class EponymList:
    """Eponyms with the words that make them clinical.

    Attributes
    ----------
    version : str
        Version of the list.
    names : tuple of str
        Every name of the list, sorted.
    """

    version: str
    names: tuple[str, ...]
    _pattern: re.Pattern[str]
    _words: dict[str, frozenset[str]]
    _alone: frozenset[str]
    _possessive: frozenset[str]


def _by_first_letter(phrases: set[str]) -> str:
    """Return one pattern of many phrases that looks at the first letter once."""
    groups: dict[str, list[str]] = {}
    for p in sorted(phrases, key=lambda p: (-len(p), p)):
        groups.setdefault(p[0], []).append(re.escape(p[1:]).replace("\\ ", "[ ]").replace("\\-", "[ -]"))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in sorted(groups.items()))


@cache
def load_eponyms() -> EponymList:
    """Read the list that comes with the package.

    Examples
    --------
    >>> len(load_eponyms().names) > 150
    True
    """
    raw = tomllib.loads(resources.files("aimed.privacy").joinpath("eponyms.toml").read_text(encoding="utf-8"))
    words: dict[str, set[str]] = {}
    for group in raw["groups"].values():
        for name in group["names"]:
            words.setdefault(name.lower(), set()).update(group["words"])
    alone = {n.lower() for n in raw["alone"]["names"]}
    possessive = frozenset(n.lower() for n in raw["alone"]["possessive"])
    names = {n for g in raw["groups"].values() for n in g["names"]} | set(raw["alone"]["names"])
    pattern = re.compile(
        rf"\b(?P<name>{_by_first_letter({n.lower() for n in names})})(?P<s>['’]s|['’]|s(?!\w))?(?![\w])"
    )
    return EponymList(
        str(raw["version"]),
        tuple(sorted(names)),
        pattern,
        {k: frozenset(v) for k, v in words.items()},
        frozenset(alone),
        possessive,
    )


_NEXT: Final = re.compile(r"[ -]{1,2}([^\W\d_][\w]*)")
# Between the name and its word: "Kerley B lines", "Hodgkin's and non-Hodgkin's lymphoma", "Foley urinary catheter".
_BETWEEN: Final = 2


def eponym_spans(note: str) -> list[tuple[int, int]]:
    """Find the eponyms of a note that are used as clinical terms.

    Parameters
    ----------
    note : str
        One note.

    Returns
    -------
    list of (int, int)
        Start and end of each, with the word that makes it clinical, in order.

    Examples
    --------
    >>> text = "Parkinson's disease, Foley catheter in place, seen by Dr. Foley and Mr. Parkinson."
    >>> [text[a:b] for a, b in eponym_spans(text)]
    ["Parkinson's disease", 'Foley catheter']
    """
    known = load_eponyms()
    low = note.lower()
    if len(low) != len(note):
        low = "".join(c if len(x := c.lower()) != 1 else x for c in note)
    out: list[tuple[int, int]] = []
    for m in known._pattern.finditer(low):
        if out and m.start() < out[-1][1]:
            continue
        # A name is written with a capital, but not in a hurry: only the word after it then decides.
        if _PERSON_BEFORE.search(low[max(0, m.start() - 24) : m.start()]):
            continue
        name = m.group("name").replace(" ", "-") if m.group("name") not in known._words else m.group("name")
        clinical = known._words.get(name, known._words.get(m.group("name"), frozenset()))
        end = 0
        pos = m.end()
        for _ in range(_BETWEEN + 1):
            n = _NEXT.match(low, pos)
            if n is None:
                break
            if n.group(1) in clinical:
                end = n.end()
                break
            pos = n.end()
        if not end and m.group("s") and m.group("s").endswith("s") and m.group("name") in known._possessive:
            end = m.end()
        if not end and m.group("name") in known._alone:
            # Two capitals in a row are a person ("Foley Anderson").
            n = _NEXT.match(low, m.end())
            person = (
                n is not None
                and m.group("s") is None
                and note[n.start(1)].isupper()
                and not note.isupper()
                and note[m.end()] == " "
            )
            end = 0 if person else m.end()
        if end:
            out.append((m.start(), end))
    return out


def is_eponym(note: str, start: int, end: int) -> bool:
    """Tell whether `note[start:end]` lies inside a clinical eponym.

    Examples
    --------
    >>> text = "Bell's palsy"
    >>> is_eponym(text, 0, 4)
    True
    """
    return any(a <= start and end <= b for a, b in eponym_spans(note))
