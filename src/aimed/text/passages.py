"""Passages: one cleaned note with its lower-case twin, its sentences and headed parts, found when asked for."""

from __future__ import annotations

import re
from bisect import bisect_right

__all__ = ["Passage"]

LONGEST_SENTENCE = 1000
"""A sentence beyond this many characters is cut, so that work within a sentence stays bounded."""

_HEADINGS = {
    "indication": "indication|clinical indication|reason for exam|reason for examination|"
    "reason for study|reason for the exam"
    "|history|clinical history|clinical information|hx|clinical data|clinical statement|clinical details|clinical"
    "|clinical presentation|patient history|reason for visit",
    "technique": "technique|procedure|protocol",
    "comparison": "comparison|comparisons|comparison study|compared to|prior studies|prior study|prior exams"
    "|prior examinations|previous studies|previous exams|comparison exam|comparison films",
    "findings": "findings|finding|report|observations|results|description|radiographic findings",
    "impression": "impression|impressions|conclusion|conclusions|opinion|summary|assessment|interpretation"
    "|final impression|impression and plan|impression/recommendations|diagnosis|final diagnosis|conclusion/impression",
    "recommendation": "recommendation|recommendations|advice",
    "exam": "exam|examination|study|procedure performed|exam type",
    "date": "date|exam date|study date|date of exam|date of study|date of examination|date of service",
}
_KIND_OF = {name: kind for kind, names in _HEADINGS.items() for name in names.split("|")}
_HEADING = re.compile(
    r"(?:^|(?<=[\n.;!?])|(?<=[.;!?] )|(?<=\n ))(" + "|".join(sorted(_KIND_OF, key=len, reverse=True)) + r")[ \t]{0,2}:",
    re.M,
)
# In capitals a heading needs no full stop before it: "INDICATION: Cough FINDINGS: Clear."
_CAPITALS = re.compile(
    r"(?<=\s)(" + "|".join(sorted(map(str.upper, _KIND_OF), key=len, reverse=True)) + r")[ \t]{0,2}:"
)
_END = re.compile(r"[.!?](?=\s|$)|\n(?=[ \t]{0,8}(?:\n|[-*•]|\d{1,2}[.)]|[a-z][a-z /]{2,30}:))", re.M)
_NOT_AN_END = re.compile(r"(?:^|[\s(])(?:dr|mr|mrs|ms|st|vs|approx|e\.g|i\.e|y\.o|cf|fig|prof|no|[a-z]|\d{1,2})$")
_LIST_NUMBER = re.compile(r"(?:^|[\n:.;])\s{0,8}\d{1,2}$")


def _lower(text: str) -> str:
    low = text.lower()
    if len(low) == len(text):
        return low
    # A few letters grow when they are lowered; places must stay the same.
    return "".join(c if len(c.lower()) != 1 else c.lower() for c in text)


class Passage:
    """A note that answers are looked for in; nothing of it is shown by `repr`.

    Parameters
    ----------
    text : str
        The note after cleaning; all places refer to it.

    Examples
    --------
    >>> note = Passage("FINDINGS: Clear lungs. Heart size 1.2 times. IMPRESSION: 1. Normal.")
    >>> [note.text[a:b] for a, b in note.sentences]
    ['FINDINGS: Clear lungs.', 'Heart size 1.2 times.', 'IMPRESSION: 1. Normal.']
    >>> [(kind, note.text[a:b]) for kind, a, b in note.sections]
    [('findings', 'Clear lungs. Heart size 1.2 times.'), ('impression', '1. Normal.')]
    """

    __slots__ = ("_sections", "_sentences", "_starts", "lower", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.lower = _lower(text)
        self._sentences: list[tuple[int, int]] | None = None
        self._sections: list[tuple[str, int, int]] | None = None
        self._starts: list[int] = []

    def __repr__(self) -> str:
        return f"Passage({len(self.text)} characters)"

    @property
    def sentences(self) -> list[tuple[int, int]]:
        """Places of the sentences in order, without the space around them."""
        if self._sentences is None:
            found: list[tuple[int, int]] = []
            at, low = 0, self.lower
            for match in _END.finditer(low):
                end = match.end()
                if low[match.start()] == ".":
                    before = low[max(0, match.start() - 8) : match.start()]
                    if _NOT_AN_END.search(before) and (
                        not before[-1:].isdigit()
                        or _LIST_NUMBER.search(low[max(0, match.start() - 12) : match.start()])
                    ):
                        continue
                self._add(found, at, end)
                at = end
            self._add(found, at, len(low))
            self._sentences, self._starts = found, [start for start, _ in found]
        return self._sentences

    def _add(self, found: list[tuple[int, int]], start: int, end: int) -> None:
        start, end = self.trim(start, end)
        while end - start > LONGEST_SENTENCE:
            cut = self.lower.rfind(" ", start + LONGEST_SENTENCE // 2, start + LONGEST_SENTENCE)
            cut = cut if cut > 0 else start + LONGEST_SENTENCE
            found.append((start, cut))
            start, _ = self.trim(cut, min(end, cut + LONGEST_SENTENCE))
        if end > start:
            found.append((start, end))

    def trim(self, start: int, end: int) -> tuple[int, int]:
        """Return the place without the space around it."""
        text = self.text
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        return start, end

    def sentence_number(self, place: int) -> int:
        """Return the number of the sentence that holds a place."""
        if not self.sentences:
            return 0
        return max(0, bisect_right(self._starts, place) - 1)

    def sentence_at(self, place: int) -> tuple[int, int]:
        """Return the sentence that holds a place."""
        return self.sentences[self.sentence_number(place)]

    @property
    def sections(self) -> list[tuple[str, int, int]]:
        """Kind and place of each headed part in order, without its heading."""
        if self._sections is None:
            heads = [(match.start(), match.end(), _KIND_OF[match[1]]) for match in _HEADING.finditer(self.lower)]
            if ":" in self.text:
                known = {end for _, end, _ in heads}
                heads += [
                    (match.start(), match.end(), _KIND_OF[match[1].lower()])
                    for match in _CAPITALS.finditer(self.text)
                    if match.end() not in known
                ]
                heads.sort()
            stops = [start for start, _, _ in heads[1:]] + [len(self.text)]
            self._sections = [
                (kind, *self.trim(end, stop)) for (_, end, kind), stop in zip(heads, stops, strict=bool(heads))
            ]
        return self._sections

    def section(self, kind: str) -> tuple[int, int] | None:
        """Return the first headed part of a kind that is not empty."""
        for name, start, end in self.sections:
            if name == kind and end > start:
                return start, end
        return None

    def section_at(self, place: int) -> str:
        """Return the kind of the headed part that holds a place, or ''."""
        number = bisect_right(self.sections, place, key=lambda section: section[1]) - 1
        if number < 0:
            return ""
        name, _, end = self.sections[number]
        return name if place < end else ""
