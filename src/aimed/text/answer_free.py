"""Answers to free questions: the words of the best sentence that have the type which the question asks for."""

from __future__ import annotations

import re

from aimed.text.answer_patterns import Found, find_dates, find_lengths, find_quantities
from aimed.text.passages import Passage
from aimed.text.questions import Question
from aimed.text.retrieval import Ranked, rank_sentences, stem

__all__ = ["LEAST_COVERAGE", "find_free"]

LEAST_COVERAGE = 0.45
"""Share of the weight of a question's words that a sentence must hold before an answer is looked for in it."""

_WORD = re.compile(r"[a-z]{1,40}|\d{1,12}")
_COUNT = re.compile(
    r"(?<![\w.,/\-])(?:\d{1,3}|one|two|three|four|five|six|seven|eight|nine|"
    r"ten|eleven|twelve|single|multiple|several|numerous|no|both|once|twice|"
    r"daily)\b(?![.,/]\d| ?(?:mm|cm|mg|ml|%|years?|yo\b))"
)
_SPAN_OF_TIME = re.compile(
    r"\b(?:(?:for|over|during|since|past|last)\s(?:the\s)?(?:past\s|last\s)?)?(?:(?:about|"
    r"approximately|several|many|a few|few|\d{1,3}|one|two|three|four|five|six|"
    r"seven|eight|nine|ten|twelve)[\s\-](?:more\s)?(?:minutes?|hours?|days?|"
    r"weeks?|months?|years?)|since (?:yesterday|childhood|birth|(?:19|20)\d\d|"
    r"last \w{1,10}))\b"
)
_WHY = re.compile(
    r"\b(?:because of|because|due to|secondary to|owing to|caused by|as a result "
    r"of|attributable to|for (?:further )?(?:evaluation|assessment|follow-?up|"
    r"work-?up|management|treatment)(?: of)?|to (?:evaluate|assess|exclude|rule "
    r"out|look for)(?: for)?|given|after|following|for|with)\s"
)
_CAUSE = re.compile(r"because|due|secondary|owing|caused|as a|attrib|with|given|after|following")
_PLACE = re.compile(
    r"\b(?:in|at|within|over|overlying|along|near|of|on|to|involving|behind|"
    r"from)\s(?:both\s|the\s|his\s|her\s|a\s)?(?:[a-z\-]{1,16}\s){0,4}?(?:lobes?|"
    r"lungs?|apex|apices|bases?|hilum|hila|region|rib|ribs|zones?|hemithorax|"
    r"hemidiaphragm|lingula|fissure|angle|spine|vertebra|clavicle|humerus|shoulder|"
    r"abdomen|chest|wall|pelvis|hip|femur|knee|liver|kidney|spleen|heart|aorta|"
    r"mediastinum|sinus|quadrant|artery|vein|ventricle|atrium|hospital|clinic|"
    r"home|department|unit|ward|side|foot|leg|arm|hand|neck|head|back|colon|"
    r"stomach|brain|valve|bone)\b"
)
_SIDE = re.compile(
    r"\b(?:right|left)(?:[\s-](?:upper|middle|lower|mid))?(?:[\s-](?:lobe|lung|"
    r"apical|basilar|perihilar|base))?\b|\b(?:bilateral|bibasilar|perihilar|"
    r"retrocardiac|lingular)\b"
)
_WHO = re.compile(
    r"\b(?:dr\.?|doctor|mr\.?|mrs\.?|ms\.?|prof\.?)\s[a-z][a-z'\-]{1,30}(?:\s[a-z][a-z'\-]{1,30})?|"
    r"\b(?:her|his|the)\s(?:mother|father|wife|husband|son|daughter|brother|"
    r"sister|physician|surgeon|nurse|cardiologist|pulmonologist|oncologist|doctor|"
    r"neighbou?r|caregiver|family)\b"
)
_LINK = re.compile(
    r"^(?:[\s,:\-]|(?:which|that|who|is|are|was|were|be|been|being|has|have|"
    r"had|to be|as|of|on|in|from|by|at|this time|today|currently|also|again|"
    r"now|now shows|shows?|showed|showing|shown|demonstrate[sd]?|demonstrating|"
    r"reveal(?:s|ed|ing)?|include[sd]?|including|consists? of|remains?|for|with|"
    r"to|about|"
    r"notable for|significant for|remarkable for|reports?|reported|indicates?|"
    r"indicated|identifie[sd]|found|measured|measures|suggests?|suggested|scheduled|"
    r"planned)(?![\w\-]))"
)
_LINK_END = re.compile(
    r"(?:[\s,:\-(]|(?<![\w\-])(?:which|that|who|is|are|was|were|be|been|being|"
    r"has|have|had|of|on|in|from|by|at|for|with|to|the|an?|her|his|its|and|due|"
    r"seen|shown|noted|found|also|per|known|patient|this|under|underwent|given|"
    r"recent))$"
)
_SHOWS = re.compile(
    r"\b(?:shows?|showed|showing|demonstrate[sd]?|demonstrating|reveal(?:s|ed|"
    r"ing)?|disclose[sd]?|found|finds?|indicate[sd]?|suggest(?:s|ed|ing)?|notable "
    r"for|positive for|consistent with)\b"
)
_STOP = re.compile(
    r"[;]|\.\s|, (?:and|but) (?:he|she|it|the|there|is|was|has)\b|, (?:which|"
    r"who|he|she|but|with no|without)\b|\bbut\b|\bhowever\b|, (?:was|is|and "
    r"was)\b"
)


def find_free(note: Passage, question: Question) -> Found | None:
    """Return the best span for a free question, or None where no sentence holds enough of its words."""
    second: Found | None = None
    covered = 1.0
    for ranked in rank_sentences(note, list(question.words)):
        if ranked.coverage < LEAST_COVERAGE or (second is not None and ranked.coverage < covered - 1e-9):
            break
        found = _typed(note, ranked, question)
        if found is None:
            continue
        level = "all" if ranked.coverage > 0.99 else "most" if ranked.coverage >= 0.7 else "half"
        named = Found(found.start, found.end, f"{question.wants}_{level}{found.rule}", found.value, found.unit)
        if not found.rule:
            return named
        # What stands before the words of the question is an answer only if no sentence as good says more after them.
        if second is None:
            second, covered = named, ranked.coverage
    return second


def _matched(note: Passage, ranked: Ranked, words: tuple[str, ...]) -> list[tuple[int, int]]:
    wanted = set(words)
    return [m.span() for m in _WORD.finditer(note.lower, ranked.start, ranked.end) if stem(m[0]) in wanted]


def _nearest(candidates: list[Found], matched: list[tuple[int, int]]) -> Found | None:
    """Return the candidate nearest to a word of the question, and not one of those words itself."""
    best: tuple[int, Found] | None = None
    for item in candidates[:100]:
        if any(a < item.end and item.start < b for a, b in matched):
            continue
        distance = min(min(abs(item.start - b), abs(a - item.end)) + (8 if item.end <= a else 0) for a, b in matched)
        if best is None or distance < best[0]:
            best = (distance, item)
    return best[1] if best else None


def _plain(note: Passage, pattern: re.Pattern[str], start: int, end: int) -> list[Found]:
    return [
        Found(m.start(), m.end(), "", note.text[m.start() : m.end()]) for m in pattern.finditer(note.lower, start, end)
    ]


def _typed(note: Passage, ranked: Ranked, question: Question) -> Found | None:
    a, b, wants = ranked.start, ranked.end, question.wants
    matched = _matched(note, ranked, question.words)
    if wants == "when":
        return _nearest(list(find_dates(note, a, b)), matched)
    if wants == "size":
        return _nearest([Found(x.start, x.end, "", x.largest, "mm") for x in find_lengths(note, a, b)], matched)
    if wants == "dose":
        return _nearest([*find_quantities(note, a, b), *_plain(note, _COUNT, a, b)], matched)
    if wants == "number":
        return _nearest(_plain(note, _COUNT, a, b), matched)
    if wants == "duration":
        return _nearest(_plain(note, _SPAN_OF_TIME, a, b), matched)
    if wants == "where":
        return _nearest(_plain(note, _PLACE, a, b), matched) or _nearest(_plain(note, _SIDE, a, b), matched)
    if wants == "who":
        return _nearest(_plain(note, _WHO, a, b), matched)
    if wants == "why":
        for match in _WHY.finditer(note.lower, a, b):
            stop = _STOP.search(note.lower, match.end(), b)
            end = stop.start() if stop else b
            span = _clean(note, match.end() if _CAUSE.match(match[0]) else match.start(), end)
            if span and not any(match.end() <= x and y <= end for x, y in matched[-1:]):
                return Found(*span, "", note.text[slice(*span)])
        return None
    if wants == "shown":
        verb = _SHOWS.search(note.lower, matched[-1][1], b)
        if verb and (span := _clean(note, verb.end(), _until(note, verb.end(), b))):
            return Found(*span, "", note.text[slice(*span)])
        found = _what(note, a, b, matched)
        # A sentence that shows something is wanted; any other is second best.
        return found and Found(found.start, found.end, "_otherwise", found.value)
    return _what(note, a, b, matched)


def _until(note: Passage, start: int, end: int) -> int:
    stop = _STOP.search(note.lower, start, end)
    return stop.start() if stop else end


def _clean(note: Passage, start: int, end: int) -> tuple[int, int] | None:
    while end > start and note.text[end - 1] in " \t\n.,;:!?":
        end -= 1
    while start < end and note.text[start] in " \t\n.,;:-":
        start += 1
    return (start, end) if end > start else None


def _what(note: Passage, a: int, b: int, matched: list[tuple[int, int]]) -> Found | None:
    """Return what is said after the last word of the question, or else what is said before the first."""
    low = note.lower
    start = matched[-1][1]
    for _ in range(12):
        link = _LINK.match(low[start : min(b, start + 30)])
        if link is None or link.end() == 0:
            break
        start += link.end()
    stop = _STOP.search(low, start, b)
    span = _clean(note, start, stop.start() if stop else b)
    if span and re.search(r"[a-z0-9]", low[slice(*span)]):
        return Found(*span, "", note.text[slice(*span)])
    end = matched[0][0]
    if heading := re.match(r"[a-z ]{3,30}:\s", low[a:end]):
        a += heading.end()
    for _ in range(12):
        link = _LINK_END.search(low[max(a, end - 30) : end])
        if link is None:
            break
        end -= len(link[0])
    span = _clean(note, a, end)
    if span and re.search(r"[a-z0-9]", low[slice(*span)]):
        return Found(*span, "_before", note.text[slice(*span)])
    return None
