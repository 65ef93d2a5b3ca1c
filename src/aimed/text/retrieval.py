"""Retrieval: the sentences of one note ranked against a question by the words they share (BM25)."""

from __future__ import annotations

import math
import re
from collections import Counter

from aimed.text.passages import Passage

__all__ = ["Ranked", "content_words", "rank_sentences", "stem"]

_WORD = re.compile(r"[a-z]{1,40}|\d{1,12}")
STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "being",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "her",
        "his",
        "hers",
        "how",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "me",
        "much",
        "many",
        "my",
        "no",
        "of",
        "on",
        "or",
        "other",
        "our",
        "she",
        "he",
        "so",
        "some",
        "such",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "us",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "patient",
        "patients",
        "patient's",
        "please",
        "s",
        "t",
        "give",
        "describe",
        "say",
        "said",
        "state",
        "stated",
        "report",
        "note",
        "reports",
        "mention",
        "mentioned",
        "find",
        "found",
        "show",
        "shows",
        "shown",
        "appear",
        "appears",
        "seen",
    ]
)
_OF_NOTES = frozenset(
    [
        "describe",
        "say",
        "said",
        "state",
        "stated",
        "report",
        "reports",
        "note",
        "mention",
        "mentioned",
        "find",
        "found",
        "show",
        "shows",
        "shown",
        "appear",
        "appears",
    ]
)
_ENDINGS = (
    ("ies", "y"),
    ("ations", "at"),
    ("ation", "at"),
    ("ings", ""),
    ("ing", ""),
    ("edly", ""),
    ("ally", ""),
    ("ed", ""),
    ("es", ""),
    ("s", ""),
    ("ly", ""),
)
_IRREGULAR = {
    "took": "take",
    "taken": "take",
    "taking": "take",
    "underwent": "undergo",
    "undergone": "undergo",
    "undergoing": "undergo",
    "fell": "fall",
    "fallen": "fall",
    "gave": "give",
    "given": "give",
    "had": "have",
    "came": "come",
    "medicine": "medic",
    "medicines": "medic",
    "medication": "medic",
    "medications": "medic",
    "drug": "medic",
    "drugs": "medic",
    "surgeries": "surger",
    "surgery": "surger",
    "operation": "surger",
    "operated": "surger",
    "allergic": "allerg",
    "allergies": "allerg",
    "allergy": "allerg",
    "smoker": "smok",
    "smoking": "smok",
    "smokes": "smok",
    "smoke": "smok",
    "smoked": "smok",
    "heart": "cardiac",
    "cxr": "radiograph",
    "xray": "radiograph",
    "radiographs": "radiograph",
    "radiography": "radiograph",
    "follow": "followup",
    "echocardiogram": "echo",
    "echocardiography": "echo",
    "echocardiographic": "echo",
    "tte": "echo",
    "complaint": "complain",
    "complaints": "complain",
}
B, K1 = 0.6, 1.2


def stem(word: str) -> str:
    """Return a word without its ending, the same for the forms of one word in most cases.

    Examples
    --------
    >>> stem("effusions"), stem("measuring"), stem("measures")
    ('effusion', 'measur', 'measur')
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, instead in _ENDINGS:
        if (
            word.endswith(ending)
            and len(word) - len(ending) >= 4
            and not word.endswith("ss")
            and not word.endswith(("sis", "us", "is"))
        ):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == "e":
        word = word[:-1]
    return word


def content_words(text: str) -> list[str]:
    """Return the stems of a question's words that carry meaning, each once, in order.

    Examples
    --------
    >>> content_words("What does her echocardiogram show?")
    ['echo']
    """
    said = [word for word in _WORD.findall(text.lower()) if len(word) > 1 or word.isdigit()]
    # "What does he report?" is about reporting, as there is nothing else in it.
    words = [w for w in said if w not in STOP_WORDS] or [w for w in said if w in _OF_NOTES]
    return list(dict.fromkeys(stem(word) for word in words))


class Ranked:
    """One sentence with its score and the share of the question's weight that its words cover."""

    __slots__ = ("coverage", "end", "number", "score", "start")

    def __init__(self, number: int, start: int, end: int, score: float, coverage: float) -> None:
        self.number, self.start, self.end, self.score, self.coverage = number, start, end, score, coverage


def rank_sentences(note: Passage, words: list[str], most: int = 5) -> list[Ranked]:
    """Return the sentences that share words with the question, best first.

    Parameters
    ----------
    note : Passage
        The note.
    words : list of str
        Stems, see `content_words`.
    most : int
        How many to return at most.

    Examples
    --------
    >>> note = Passage("The heart is large. The patient complains of cough. No effusion.")
    >>> [r.number for r in rank_sentences(note, content_words("What does she complain of?"))]
    [1]
    """
    if not words:
        return []
    wanted = set(words)
    # No stem differs from its word in the first three letters, the irregular ones apart.
    starts = {word[:3] for word in words}
    counts: list[tuple[int, Counter[str], int]] = []
    lengths = 0
    seen: Counter[str] = Counter()
    for number, (start, end) in enumerate(note.sentences):
        said = _WORD.findall(note.lower[start:end])
        lengths += len(said)
        stems = [stem(word) for word in said if word[:3] in starts or word in _IRREGULAR]
        here = Counter(s for s in stems if s in wanted)
        if here:
            seen.update(here.keys())
            counts.append((number, here, len(said)))
    if not counts:
        return []
    n = len(note.sentences)
    mean = lengths / n
    weight = {w: math.log(1 + (n - seen[w] + 0.5) / (seen[w] + 0.5)) for w in words}
    # A word that the note lacks weighs as one that a single sentence has, not more: it may be a matter of wording.
    ceiling = math.log(1 + (n - 0.5) / 1.5)
    total = sum(min(weight[w], ceiling) if not seen[w] else weight[w] for w in words)
    ranked = []
    for number, here, size in counts:
        score = sum(weight[w] * c * (K1 + 1) / (c + K1 * (1 - B + B * size / mean)) for w, c in here.items())
        start, end = note.sentences[number]
        ranked.append(Ranked(number, start, end, score, sum(weight[w] for w in here) / total if total > 0 else 1.0))
    ranked.sort(key=lambda r: (-r.coverage, -r.score, r.number))
    return ranked[:most]
