"""Recall certificate: how many planted identifiers a finder takes out, by class, with intervals and what it misses."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from aimed.core.errors import DataError
from aimed.metrics.proportions import mean_share
from aimed.metrics.result import Estimate
from aimed.privacy.classes import CLASS_NAMES, CLASSES
from aimed.privacy.eponyms import load_eponyms
from aimed.privacy.planted import PlantedNote, planted_notes, planted_version
from aimed.privacy.rules import RULES_VERSION

__all__ = ["Certificate", "ClassRecall", "recall_certificate"]

_WORD: Final = re.compile(r"[^\W_]+")

STATEMENT: Final = (
    "Measured on a corpus of made-up notes with planted identifiers, not on your notes: other templates, other"
    " words and other"
    " hospitals give other figures. The planted names and places are on lists that the finder may know, and the"
    " intervals are for more notes from these templates; names that stand on no list are told of on their own."
    " It is not a guarantee that a note holds no identifier, and no statement of"
    " an expert"
    " under 45 CFR 164.514(b)(1). Check a sample of your own notes by eye."
)


@dataclass(frozen=True)
class ClassRecall:
    """What was found of one class.

    Attributes
    ----------
    cls : str
    whole : Estimate or None
        Share of identifiers of which no word is left, whatever class they were given; None where none was planted.
    words : Estimate or None
        Share of the words of identifiers that were found.
    precision : Estimate or None
        Share of the words found as this class that are part of a planted identifier; None where none was found.
    same_class : Estimate or None
        Share of identifiers that were found, wholly or in part, under their own class.
    notes, templates : int
        In how many notes and templates the class was planted.
    missed : mapping of str to int
        Identifiers with words left, counted by kind; never their text.
    """

    cls: str
    whole: Estimate | None
    words: Estimate | None
    precision: Estimate | None
    same_class: Estimate | None
    notes: int
    templates: int
    missed: Mapping[str, int]


@dataclass(frozen=True)
class Certificate:
    """Recall and precision of a finder on planted notes.

    Attributes
    ----------
    classes : tuple of ClassRecall
        One for each of the eighteen, in the order of the rule.
    whole, words, precision : Estimate
        Over all classes.
    notes, templates : int
        What it was measured on.
    seed : int or None
        Seed of the corpus; None for notes that were given.
    level : float
        Coverage of the intervals, which take the identifiers of one note as dependent.
    corpus : str
        SHA-256 of the notes and their spans.
    versions : mapping of str to str
        Rules, eponyms, templates, and the model where there is one.
    unlisted : Estimate or None
        Share of the words of names that were found where every name was exchanged for letters that are on no list;
        None for notes that were given.
    across : Estimate or None
        `words` again, with all identifiers of one template taken as dependent: for notes of other templates like these.
    """

    classes: tuple[ClassRecall, ...]
    whole: Estimate
    words: Estimate
    precision: Estimate | None
    notes: int
    templates: int
    seed: int | None
    level: float
    corpus: str
    versions: Mapping[str, str] = field(default_factory=dict)
    unlisted: Estimate | None = None
    across: Estimate | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the content, without the hash itself."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return {
            "statement": STATEMENT,
            "notes": self.notes,
            "templates": self.templates,
            "seed": self.seed,
            "level": self.level,
            "corpus": self.corpus,
            "versions": dict(self.versions),
            "unlisted_names": _number(self.unlisted),
            "words_across_templates": _number(self.across),
            "all": {"whole": _number(self.whole), "words": _number(self.words), "precision": _number(self.precision)},
            "classes": {
                c.cls: {
                    "letter": CLASSES[c.cls].letter,
                    "whole": _number(c.whole),
                    "words": _number(c.words),
                    "precision": _number(c.precision),
                    "same_class": _number(c.same_class),
                    "notes": c.notes,
                    "templates": c.templates,
                    "missed": dict(c.missed),
                }
                for c in self.classes
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate as JSON types, with its hash."""
        return self._content() | {"hash": self.hash}

    def to_markdown(self) -> str:
        """Return the certificate as a page of Markdown, which reads as plain text too."""
        percent = f"{100 * self.level:g} %"
        lines = [
            "# Recall certificate",
            "",
            STATEMENT,
            "",
            f"{self.notes} planted notes from {self.templates} templates"
            + (f", seed {self.seed}" if self.seed is not None else "")
            + f". In brackets: {percent} intervals, with the identifiers of one note taken as dependent.",
            "",
            f"- Identifiers taken out whole: {_words(self.whole)}",
            f"- Words of identifiers taken out: {_words(self.words)}",
            *([] if self.across is None else [f"- The same for other templates like these: {_words(self.across)}"]),
            f"- Words taken out that were identifiers: {_words(self.precision)}",
            *([] if self.unlisted is None else [f"- Words of names that are on no list: {_words(self.unlisted)}"]),
            "",
            "| | Class | Identifiers | Templates | Taken out whole | Words taken out | Precision |",
            "|---|---|---:|---:|---|---|---|",
        ]
        lines += [
            f"| {CLASSES[c.cls].letter} | {CLASSES[c.cls].title} | {c.whole.n if c.whole is not None else 0} |"
            f" {c.templates}"
            f" | {_words(c.whole)} | {_words(c.words)} | {_words(c.precision)} |"
            for c in self.classes
        ]
        missed = [(c, k, n) for c in self.classes for k, n in sorted(c.missed.items())]
        lines += ["", "## What was missed", ""]
        lines += [f"- {CLASSES[c.cls].title}: {n} {k}" for c, k, n in missed] or ["Nothing in this corpus."]
        lines += ["", "## Made with", ""]
        lines += [f"- {name}: {version}" for name, version in sorted(self.versions.items())]
        lines += [f"- corpus: {self.corpus}", f"- certificate: {self.hash}", ""]
        return "\n".join(lines)


def _number(e: Estimate | None) -> dict[str, float | int | None] | None:
    if e is None:
        return None
    lower, upper = (round(end, 6) if math.isfinite(end) else None for end in (e.lower, e.upper))
    return {"value": round(float(e), 6), "lower": lower, "upper": upper, "n": e.n}


def _words(e: Estimate | None) -> str:
    if e is None:
        return "none planted or found"
    # Rounded down, so that a miss never reads as 100 %; the small term is for a sum of ones that ends below one.
    if not math.isfinite(e.lower):
        return f"{int(1000 * e + 1e-6) / 10:.1f} %, no interval: in one note only, n = {e.n}"
    return f"{int(1000 * e + 1e-6) / 10:.1f} % [{int(1000 * e.lower + 1e-6) / 10:.1f}, {100 * e.upper:.1f}], n = {e.n}"


class _Tally:
    """Yes and no of one share, with the note of each."""

    __slots__ = ("note", "yes")

    def __init__(self) -> None:
        self.yes: list[float] = []
        self.note: list[int] = []

    def add(self, yes: bool, note: int) -> None:
        self.yes.append(float(yes))
        self.note.append(note)

    def share(self, level: float, name: str) -> Estimate | None:
        return mean_share(self.yes, patient=self.note, level=level, name=name) if self.yes else None


def _across(words: Mapping[str, _Tally], corpus: Sequence[PlantedNote], level: float) -> Estimate | None:
    """Return the share of words with templates as clusters, where there are enough of them to say."""
    yes = [one for tally in words.values() for one in tally.yes]
    template = [corpus[i].template for tally in words.values() for i in tally.note]
    if len(set(template)) < _FEWEST_TEMPLATES:
        return None
    return mean_share(yes, patient=template, level=level, name="words across templates")


_FEWEST_TEMPLATES: Final = 10
_CONSONANTS: Final = "bdfgklmnprstvz"
_VOWELS: Final = "aeiou"
_UNLISTED = 4
"""One note in so many is read again with names that are on no list."""


def _nameless(notes: Sequence[PlantedNote], seed: int) -> list[PlantedNote]:
    """Return notes in which every word of a name is one made of syllables, in the same letters and as long."""
    rng = np.random.default_rng([seed, 13])

    def other(found: re.Match[str]) -> str:
        word = found[0]
        if len(word) < 3 or not word.isalpha():
            return word
        made = "".join(
            letters[int(rng.integers(len(letters)))]
            for place in range(max(4, len(word)))
            for letters in (_VOWELS if place % 2 else _CONSONANTS,)
        )
        return made.upper() if word.isupper() else made if word.islower() else made.title()

    out = []
    for note in notes:
        text, spans, at = "", [], 0
        for start, end, cls in sorted(note.spans):
            value = note.text[start:end]
            text += note.text[at:start]
            value = _WORD.sub(other, value) if cls == "name" else value
            spans.append((len(text), len(text) + len(value), cls))
            text, at = text + value, end
        out.append(PlantedNote(text + note.text[at:], tuple(spans), note.template))
    return out


def _of_unlisted_names(
    find: Callable[[str], Any], notes: Sequence[PlantedNote], seed: int, level: float
) -> Estimate | None:
    tally = _Tally()
    for i, note in enumerate(_nameless(notes, seed)):
        gone = bytearray(len(note.text))
        for start, end, _ in (_span(one) for one in find(note.text)):
            end = min(end, len(note.text))
            gone[start:end] = b"\1" * (end - start)
        for start, end, cls in note.spans:
            for m in _WORD.finditer(note.text, start, end):
                if cls == "name" and len(m[0]) > 2:
                    tally.add(all(gone[m.start() : m.end()]), i)
    return tally.share(level, "unlisted names")


def _span(found: Any) -> tuple[int, int, str]:
    if isinstance(found, tuple):
        return int(found[0]), int(found[1]), str(found[2])
    return int(found.start), int(found.end), str(found.cls)


def _kind(note: str, text: str, covered: int) -> str:
    """Say how an identifier was missed without saying what it was."""
    how = "left whole" if not covered else "left in part"
    where = (
        "in a note in capitals"
        if note.isupper()
        else "in a note in small letters"
        if note.islower()
        else "in mixed case"
    )
    form = (
        "digits"
        if not any(c.isalpha() for c in text)
        else "letters"
        if not any(c.isdigit() for c in text)
        else "letters and digits"
    )
    return f"{how}, {form}, {where}"


def recall_certificate(
    finder: Any,
    notes: Sequence[PlantedNote] | int = 2000,
    *,
    seed: int = 0,
    level: float = 0.95,
    versions: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Certificate:
    """Measure a finder on planted notes.

    Parameters
    ----------
    finder : Finder or callable
        Something with ``find(note)``, or a function of the note; it returns identifiers with start, end and class.
    notes : sequence of PlantedNote, or int
        The notes, or how many to make from the templates of the test split, on which nothing is trained.
    seed : int
        Seed of the notes that are made.
    level : float
        Coverage of the intervals.
    versions : mapping of str to str, optional
        What else to state, such as the version of a model.
    progress : callable, optional
        Called with the number of notes done and of all.

    Returns
    -------
    Certificate

    Raises
    ------
    DataError
        No identifier was planted, or the finder returned a class that does not exist.

    Notes
    -----
    An identifier is taken out whole when all its words (runs of letters and digits) lie in what was found, whatever
    the class: what counts is that it is gone. Intervals are Wilson's at the effective number of identifiers, with
    notes as clusters; where all or none were found the effective number is that of the notes.

    Examples
    --------
    >>> from aimed.privacy.rules import find_by_rules
    >>> certificate = recall_certificate(find_by_rules, 64, seed=1)
    >>> len(certificate.classes), certificate.whole.n > 100
    (18, True)
    """
    made = isinstance(notes, int)
    corpus = planted_notes(notes, seed, "test") if isinstance(notes, int) else list(notes)
    if not any(n.spans for n in corpus):
        raise DataError("no identifier is planted in these notes", "notes with identifiers", "make more notes")
    find = finder.find if hasattr(finder, "find") else finder
    whole: dict[str, _Tally] = {c: _Tally() for c in CLASS_NAMES}
    words: dict[str, _Tally] = {c: _Tally() for c in CLASS_NAMES}
    own: dict[str, _Tally] = {c: _Tally() for c in CLASS_NAMES}
    right: dict[str, _Tally] = {c: _Tally() for c in CLASS_NAMES}
    missed: dict[str, Counter[str]] = {c: Counter() for c in CLASS_NAMES}
    templates: dict[str, set[str]] = {c: set() for c in CLASS_NAMES}
    digest = hashlib.sha256()
    for i, note in enumerate(corpus):
        digest.update(json.dumps([note.text, note.spans]).encode())
        found = [_span(f) for f in find(note.text)]
        given: list[str | None] = [None] * len(note.text)
        for start, end, cls in found:
            if cls not in CLASSES:
                raise DataError(
                    "the finder gave a class that does not exist",
                    f"one of: {', '.join(CLASS_NAMES)}",
                    "mend the finder",
                )
            given[start:end] = [cls] * (min(end, len(note.text)) - start)
        planted = bytearray(len(note.text))
        for start, end, cls in note.spans:
            planted[start:end] = b"\1" * (end - start)
            text = note.text[start:end]
            gone = [
                all(g is not None for g in given[start + m.start() : start + m.end()]) for m in _WORD.finditer(text)
            ]
            for one in gone:
                words[cls].add(one, i)
            whole[cls].add(all(gone), i)
            own[cls].add(cls in given[start:end], i)
            templates[cls].add(note.template)
            if not all(gone):
                missed[cls][_kind(note.text, text, sum(gone))] += 1
        for start, end, cls in found:
            for m in _WORD.finditer(note.text, start, end):
                right[cls].add(any(planted[m.start() : m.end()]), i)
        if progress is not None:
            progress(i + 1, len(corpus))

    def together(tallies: dict[str, _Tally], name: str) -> Estimate | None:
        one = _Tally()
        for t in tallies.values():
            one.yes += t.yes
            one.note += t.note
        return one.share(level, name)

    stated = {"rules": RULES_VERSION, "eponyms": load_eponyms().version, "templates": planted_version()} | _model(
        finder
    )
    all_whole, all_words = together(whole, "whole"), together(words, "words")
    if all_whole is None or all_words is None:
        raise DataError("no identifier is planted in these notes", "notes with identifiers", "make more notes")
    return Certificate(
        classes=tuple(
            ClassRecall(
                c,
                whole[c].share(level, "whole"),
                words[c].share(level, "words"),
                right[c].share(level, "precision"),
                own[c].share(level, "same class"),
                len(set(whole[c].note)),
                len(templates[c]),
                dict(missed[c]),
            )
            for c in CLASS_NAMES
        ),
        whole=all_whole,
        words=all_words,
        precision=together(right, "precision"),
        notes=len(corpus),
        templates=len({n.template for n in corpus}),
        seed=seed if made else None,
        level=level,
        corpus=digest.hexdigest(),
        versions=stated | dict(versions or {}),
        across=_across(words, corpus, level),
        unlisted=_of_unlisted_names(find, corpus[: -(-len(corpus) // _UNLISTED)], seed, level) if made else None,
    )


def _model(finder: Any) -> dict[str, str]:
    """Return the hash of the finder's model and its threshold, where it has them."""
    model = getattr(finder, "model", None)
    if model is None or not hasattr(model, "to_bytes"):
        return {}
    out = {"model": hashlib.sha256(model.to_bytes()).hexdigest()}
    threshold = getattr(finder, "threshold", None)
    return out if threshold is None else out | {"threshold": f"{float(threshold):.6g}"}
