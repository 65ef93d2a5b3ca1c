"""Finder: identifiers of a note by rules and by the tagger together, each with its place, class and source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import DataError
from aimed.privacy.classes import CLASS_NAMES
from aimed.privacy.eponyms import eponym_spans
from aimed.privacy.gazetteers import LISTS
from aimed.privacy.kernels import tagging
from aimed.privacy.rules import find_by_rules
from aimed.privacy.tagger import Tagger, default_tagger
from aimed.privacy.tokens import Tokens, code_points, tokenize

__all__ = ["Finder", "Identifier", "rule_codes", "settle"]

# The rule of Safe Harbor on names holds for employers too; their surrogates are names of organisations.
_CLASS_OF: Final = {"organisation": "name"}


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier of a note.

    Attributes
    ----------
    start, end : int
        Characters of the note; `end` is the first one after it.
    cls : str
        One of `aimed.privacy.classes.CLASS_NAMES`.
    source : str
        ``"rule:<name>"``, ``"tagger"``, ``"tagger:organisation"`` or ``"repeat"`` (found elsewhere in the note).
    """

    start: int
    end: int
    cls: str
    source: str = field(compare=False)


def rule_codes(note: str, tokens: Tokens) -> NDArray[np.uint8]:
    """Return the class of the rule over each token, counted from 1 in the order of `CLASS_NAMES`; 0 is none."""
    return _codes(tokens, find_by_rules(note))


def _codes(tokens: Tokens, hits: list[tuple[int, int, str, str]]) -> NDArray[np.uint8]:
    out = np.zeros(len(tokens), np.uint8)
    if hits:
        low = np.searchsorted(tokens.stop, [h[0] for h in hits], side="right")
        high = np.searchsorted(tokens.start, [h[1] for h in hits], side="left")
        for a, b, hit in zip(low.tolist(), high.tolist(), hits, strict=True):
            out[a:b] = _CODE[hit[2]]
    return out


_ORDINARY: Final = np.uint16(
    sum(1 << LISTS.index(name) for name in ("plain", "title", "calendar", "company", "street", "unit", "clinical"))
)
_CODE: Final = {name: place + 1 for place, name in enumerate(CLASS_NAMES)}


def settle(
    codes: NDArray[np.uint32],
    tokens: Tokens,
    flags: NDArray[np.uint16],
    chance: NDArray[np.float64],
    threshold: float,
    sure: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which tokens are part of an identifier.

    Tokens from the threshold on; gaps of a sign or a small word inside a run are closed where the model was not
    against it, signs at the ends of a run are dropped, and a word that was surely part of an identifier is taken
    wherever it stands in the note with a capital.

    Parameters
    ----------
    codes : uint32 array
        Code points of the note.
    tokens : Tokens
    flags : uint16 array, shape (n,)
        Word lists of each token.
    chance : array, shape (n,)
        Chance that the token is part of an identifier; below 0 for a token that never is.
    threshold : float
    sure : bool array, shape (n,)
        Tokens covered by rules, which stay whatever the chance.
    """
    out = np.zeros(len(tokens), np.bool_)
    # Ordinary words, titles and firms' endings say nothing elsewhere in the note.
    named = (flags & _ORDINARY == 0) & (tokens.case >= 2) & (tokens.case <= 5) & (tokens.stop - tokens.start >= 3)
    tagging.settle_runs(
        codes, tokens.start, tokens.word, tokens.case, tokens.gap, named, chance, sure, float(threshold), out
    )
    return out


class Finder:
    """Finds the identifiers of notes.

    Parameters
    ----------
    threshold : float, optional
        Chance from which a word counts as part of an identifier; the lower, the fewer are missed and the more plain
        words go. Default: what the model was set to.
    model : Tagger, optional
        Default: the model that ships with the package. ``rules_only=True`` leaves the tagger out.

    Raises
    ------
    DataError
        The threshold is not between 0 and 1.

    Examples
    --------
    >>> note = "Mr. Hollis has Parkinson disease."
    >>> [(note[i.start : i.end], i.cls) for i in Finder(rules_only=True).find(note)]
    [('Hollis', 'name')]
    """

    def __init__(
        self, threshold: float | None = None, model: Tagger | None = None, *, rules_only: bool = False
    ) -> None:
        if threshold is not None and not 0.0 < threshold < 1.0:
            raise DataError(
                "the threshold is not a chance", "a number between 0 and 1", "leave it out for the model's own"
            )
        self.model = None if rules_only else default_tagger() if model is None else model
        self.threshold = threshold if threshold is not None else (self.model.threshold if self.model else 1.0)
        labels = self.model.labels if self.model else ()
        self._class = [_CLASS_OF.get(name, name) for name in labels]

    def __repr__(self) -> str:
        return f"Finder(threshold={self.threshold:.3f}, tagger={self.model is not None})"

    def find(self, note: str) -> list[Identifier]:
        """Return the identifiers of a note, in order and without overlaps."""
        hits = find_by_rules(note)
        rules = [Identifier(a, b, cls, f"rule:{rule}") for a, b, cls, rule in hits]
        if self.model is None:
            return rules
        codes = code_points(note)
        tokens = tokenize(codes)
        if not len(tokens):
            return rules
        code = _codes(tokens, hits)
        flags = self.model.gazetteer.look_up(tokens.word)
        chances = self.model.chances(tokens, code)
        chance = 1.0 - chances[:, 0]
        sure = code > 0
        # The name of a disease or of a device stays, unless it is a person's here.
        for start, end in eponym_spans(note):
            a, b = np.searchsorted(tokens.stop, start, side="right"), np.searchsorted(tokens.start, end, side="left")
            chance[a:b][~sure[a:b]] = -1.0
        kept = settle(codes, tokens, flags, chance, self.threshold, sure)
        return _joined(tokens, chances, chance >= self.threshold, kept, rules, list(self.model.labels), self._class)

    def find_many(self, notes: Iterable[str]) -> list[list[Identifier]]:
        """Return the identifiers of each note."""
        return [self.find(note) for note in notes]


def _joined(
    tokens: Tokens,
    chances: NDArray[np.float64],
    reached: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    rules: list[Identifier],
    names: list[str],
    classes: list[str],
) -> list[Identifier]:
    """Return the runs of kept tokens outside rule hits as identifiers, and the rule hits, in order."""
    free = kept.copy()
    if rules:
        low = np.searchsorted(tokens.stop, [r.start for r in rules], side="right")
        high = np.searchsorted(tokens.start, [r.end for r in rules], side="left")
        for a, b in zip(low.tolist(), high.tolist(), strict=True):
            free[a:b] = False
    at = np.flatnonzero(free)
    if not at.size:
        return rules
    best = 1 + np.argmax(chances[at, 1:], axis=1)
    # A repeat is of the class it was found as elsewhere; what is in between takes the class of its run.
    out = list(rules)
    breaks = np.flatnonzero((np.diff(at) != 1) | (tokens.gap[at[1:]] >= 2)) + 1
    for run, kinds in zip(np.split(at, breaks), np.split(best, breaks), strict=True):
        words = np.flatnonzero(tokens.case[run] > 0)
        if not words.size:
            # Only the signs between two hits of rules.
            continue
        run, kinds = run[words[0] :], kinds[words[0] :]
        weights = np.zeros(chances.shape[1])
        np.add.at(weights, kinds, chances[run, kinds] + 1e-6 * (tokens.case[run] > 0))
        tag = int(np.argmax(weights))
        source = "tagger" if reached[run].any() else "repeat"
        if names[tag] == "organisation" and source == "tagger":
            source = "tagger:organisation"
        out.append(Identifier(int(tokens.start[run[0]]), int(tokens.stop[run[-1]]), classes[tag], source))
    out.sort(key=lambda i: i.start)
    return out
