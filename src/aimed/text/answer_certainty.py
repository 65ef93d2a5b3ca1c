"""Certainty of answers: a probability from how an answer was found, by coefficients that are stored as data."""

from __future__ import annotations

import math
import re
import tomllib
from functools import lru_cache
from importlib import resources

from aimed.text.answer_patterns import Found
from aimed.text.passages import Passage
from aimed.text.questions import Question
from aimed.text.retrieval import stem

__all__ = ["FEATURES", "certainty_of", "features_of"]

FEATURES = ("not_stated", "not_stated_but_named", "free", "hedged", "asked_words_missing")
"""What a probability is made of, in the order of `features_of`."""

_HEDGE = re.compile(
    r"\b(?:previous(?:ly)?|prior|was|were|had been|if|should|consider|recommend\w{0,6}|suggest\w{0,4}|unless|until|"
    r"would|could|planned|cannot|mother|father|sister|brother|son|daughter|wife|husband|status post|s/p|history of|"
    r"removed|not|no longer|versus|vs|than)\b"
)
_SIDES = re.compile(r"\b(?:left|right|bilateral|both|[rl][uml]l)\b")
_DEGREES = r"\b(?:mild|moderate|severe|small|large|tiny|minimal|trace|marked|massive|slight|grade)\b|\b[a-z]{3,12}ly\b"
# What must be there for a question of a kind to have an answer at all.
_CUES = {
    "age": re.compile(
        r"\b\d{1,3}[\s\-]{0,2}(?:years?|yrs?|yo|y|m|f|weeks?|months?|days?|wk|mo)\b|\b(?:aged?|teenager|adult|elderly|infant|"
        r"child|newborn|neonate|dob)\b"
    ),
    "sex": re.compile(r"\b(?:\d{1,3}\s?y?o?[mf]|he|she|his|her|m|f|sex|gender|mrs?|mother|pregnant|lady|man|woman)\b"),
    "ejection_fraction": re.compile(r"\b(?:l?v?ef|ejection)\b|\be\.f\."),
    "date": re.compile(r"\d[/\-]\d|\b(?:19|20)\d\d\b"),
    "comparison": re.compile(r"\b(?:compar\w{2,5}|prior|previous)\b"),
    "device_position": re.compile(r"\b(?:tip|ends?|terminat\w{1,4}|\d\s?[cm]m|level|in the|position)\b"),
    "measurements": re.compile(r"\d"),
    "size": re.compile(r"\d\s?-?[cm]m\b"),
    "laterality": _SIDES,
    "severity": re.compile(_DEGREES),
}


_HEADED = frozenset({"section", "summary", "comparison", "date"})
_NO_SUBJECT = frozenset({"age", "sex", "ejection_fraction", "section", "summary", "comparison", "date", "measurements"})


@lru_cache(maxsize=1)
def _stored() -> tuple[float, ...]:
    """Return the intercept and the coefficients in the order of `FEATURES`."""
    text = resources.files("aimed.text").joinpath("answer_confidence.toml").read_text(encoding="utf-8")
    regression = tomllib.loads(text)["regression"]
    return float(regression["intercept"]), *(float(regression["coefficients"][name]) for name in FEATURES)


@lru_cache(maxsize=1024)
def _stems(question: Question) -> tuple[str, ...]:
    words = [stem(word) for word in question.target.split()] if question.target else list(question.words)
    return tuple(word[:7] for word in words if len(word) > 1)


def features_of(note: Passage, question: Question, found: Found | None) -> tuple[float, ...]:
    """Return the numbers that the probability of an answer is made of, in the order of `FEATURES`.

    Parameters
    ----------
    note : Passage
        The note.
    question : Question
        What was asked.
    found : Found, optional
        The answer, or None where nothing was found.

    Returns
    -------
    tuple of float
        Not stated, 0 or 1; where not stated, the share of the question's subject that the note names all the same, if
        it holds anything that could be an answer; a free question, 0 or 1; words of the past, of wishes, of relatives
        or of denial in the sentence of the answer, 0 or 1; the share of the question's subject that sentence lacks.
    """
    kind = question.kind
    free = float(kind == "free")
    stems = () if kind in _NO_SUBJECT else _stems(question)
    if found is None or found.reason:
        cue = _CUES.get(kind)
        named = float(cue is None or cue.search(note.lower) is not None)
        if named and stems:
            named = sum(word in note.lower for word in stems) / len(stems)
        return 1.0, named, free, 0.0, 0.0
    if kind in _HEADED:
        return 0.0, 0.0, free, 0.0, 0.0
    s0, s1 = note.sentence_at(found.start)
    outside = note.lower[s0 : found.start] + " " + note.lower[found.end : s1]
    hedged = float(_HEDGE.search(outside) is not None)
    missing = 1 - sum(note.lower.find(word, s0, s1) >= 0 for word in stems) / len(stems) if stems else 0.0
    return 0.0, 0.0, free, hedged, missing


def certainty_of(note: Passage, question: Question, found: Found | None) -> float:
    """Return the probability that an answer is right, or that the note indeed does not state it."""
    intercept, *weights = _stored()
    total = intercept + sum(w * x for w, x in zip(weights, features_of(note, question, found), strict=True))
    return 1 / (1 + math.exp(-total))
