"""Answers: a question put to a report, answered with a place in it, a probability, or "not stated"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aimed.core.errors import DataError
from aimed.readers.note_text import clean_note
from aimed.text.answer_certainty import certainty_of
from aimed.text.answer_devices import find_device_position
from aimed.text.answer_findings import find_laterality, find_presence, find_severity, find_size
from aimed.text.answer_free import find_free
from aimed.text.answer_patterns import (
    Found,
    find_age,
    find_dates,
    find_ejection_fraction,
    find_lengths,
    find_quantities,
    find_sex,
)
from aimed.text.answer_presence import concepts_of, find_presence_in
from aimed.text.passages import Passage
from aimed.text.questions import Question, read_question

__all__ = ["Answer", "extract", "extract_many"]

_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question, with the place in the report that it rests on.

    Neither the words nor the value are shown by `repr`; `str` gives the words, or "not stated".

    Attributes
    ----------
    text : str
        The words of the report, or ''.
    start, end : int
        Characters ``[start, end)`` of the report after `aimed.readers.note_text.clean_note`; -1 where not stated.
    confidence : float
        Probability that this is right: that the span is the right one, or that the report indeed does not say.
        Right on average on made-up reports; it does not rank answers, see Notes of `extract`.
    kind : str
        What was asked for, see `aimed.text.questions.KINDS`.
    stated : bool
        Whether the report says it.
    reason : str
        Why it is not stated: "not_found", "withheld" (removed by de-identification), "removed" (a device that is
        gone), or the code of a refused report such as "empty" and "not_english".
    value : object
        A number in `unit`, a pair (low, high) with None for an open end, or a word such as "left", "yes" or "female".
    unit : str
        "years", "mm", "%" and so on.
    rule : str
        How it was found.
    contested : bool
        The report says different things in different places.
    parts : tuple of Answer
        All measurements in order, for a question about measurements.
    """

    text: str = field(repr=False)
    start: int
    end: int
    confidence: float
    kind: str
    stated: bool
    reason: str = ""
    value: Any = field(default=None, repr=False)
    unit: str = ""
    rule: str = ""
    contested: bool = False
    parts: tuple[Answer, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.text if self.stated else "not stated"


def _find_measurements(note: Passage) -> list[Found]:
    found = [
        Found(x.start, x.end, "length", x.dimensions if len(x.dimensions) > 1 else x.largest, "mm")
        for x in find_lengths(note)
        if note.section_at(x.start) != "technique" and not _is_technique(note, x.start, x.end)
    ]
    found += [q for q in find_quantities(note) if q.unit in _MEASURED]
    return sorted(found, key=lambda item: item.start)


_MEASURED = frozenset(
    [
        *("ml", "cc", "milliliter", "milliliters", "millilitre", "millilitres", "hu", "hounsfield unit"),
        *("hounsfield units", "mmhg", "mm hg", "cm/s", "m/s", "cm2", "cm²", "cm^2", "bpm"),
    ]
)


def _is_technique(note: Passage, start: int, end: int) -> bool:
    around = note.lower[max(0, start - 30) : end + 30]
    return any(
        word in around
        for word in ("slice", "collimation", "reconstruct", "axial section", "increment", "thick section")
    )


_BEFORE_DATES = (
    ("compar", "prior", "previous", "since", "from the study", "old film"),
    ("exam", "date", "study", "performed", "obtained", "radiograph", "chest", "ct "),
)
"""Words of which one stands before the date of an earlier study, and before that of this one."""


def _find_date(note: Passage, which: str) -> Found | None:
    if which == "exam":
        place = note.section("date")
        if place and (first := next(find_dates(note, *place), None)):
            return Found(first.start, first.end, "headed", first.value)
    elif (place := note.section("comparison")) is not None:
        first = next(find_dates(note, place[0], min(place[1], place[0] + 500)), None)
        return Found(first.start, first.end, "headed", first.value) if first else None
    if not any(word in note.lower for word in _BEFORE_DATES[which == "exam"]):
        return None
    count = 0
    for found in find_dates(note):
        count += 1
        if count > 200:
            break
        s0, _ = note.sentence_at(found.start)
        before = note.lower[s0 : found.start]
        if "not available" in before or "unavailable" in before or "not read" in before:
            continue
        prior = note.section_at(found.start) == "comparison" or any(word in before for word in _BEFORE_DATES[0])
        if which == "exam":
            if (
                not prior
                and found.rule in ("iso", "slash", "named", "month")
                and any(word in before for word in _BEFORE_DATES[1])
            ):
                return Found(found.start, found.end, "sentence", found.value)
        elif prior:
            return Found(found.start, found.end, "sentence", found.value)
    return None


def _find_comparison(note: Passage) -> Found | None:
    place = note.section("comparison")
    if place is not None:
        start, end = place
        end = min(end, note.sentence_at(start)[1])
        span = _bare(note, start, end)
        return Found(*span, "headed", note.text[slice(*span)]) if span[1] > span[0] else None
    match = re.search(
        r"\b(?:in comparison|compar(?:ed|ison is made|ison made|ison was made|ison|ing))\s(?:to|with)\s", note.lower
    )
    if match is None:
        match = re.search(
            r"\b(?:unchanged|changed|change|stable) (?:since|from)\s|\b(?:since|from) "
            r"(?=the (?:prior|previous|last)\b)",
            note.lower,
        )
    if match is None:
        return None
    end = note.sentence_at(match.start())[1]
    stop = re.search(r"[,;]\s(?:the|there|no|a|this)\b|, ", note.lower[match.end() : end])
    span = _bare(note, match.end(), match.end() + stop.start() if stop else end)
    return Found(*span, "sentence", note.text[slice(*span)]) if span[1] > span[0] else None


def _bare(note: Passage, start: int, end: int) -> tuple[int, int]:
    start, end = note.trim(start, end)
    while end > start and note.text[end - 1] in ".,;: ":
        end -= 1
    return start, end


def _find_section(note: Passage, question: Question) -> Found | None:
    place = note.section(question.target)
    if place is not None:
        return Found(*place, "headed", note.text[slice(*place)])
    if question.words:
        return find_free(note, Question("free", words=question.words, wants=question.wants))
    return None


def _find_summary(note: Passage, question: Question) -> Found | None:
    """Return the impression, or what was found where there is none; a report without these parts has no summary."""
    other = "findings" if question.target == "impression" else "impression"
    for kind, rule in ((question.target, "headed"), (other, "other_part")):
        if (place := note.section(kind)) is not None:
            return Found(*place, rule, note.text[slice(*place)])
    if question.words:
        return find_free(note, Question("free", words=question.words, wants=question.wants))
    return None


def _find(note: Passage, question: Question) -> Found | None:
    kind, target = question.kind, question.target
    if kind == "age":
        return find_age(note)
    if kind == "sex":
        return find_sex(note)
    if kind == "ejection_fraction":
        return find_ejection_fraction(note)
    if kind == "device_position":
        found = find_device_position(note, target)
        if found is None and target == "line":
            # "Where was the catheter inserted?" may be about any catheter.
            return find_free(note, Question("free", words=question.words, wants="where"))
        return found
    if kind == "size":
        return find_size(note, target, lung=question.lung) or (None if question.lung else find_severity(note, target))
    if kind == "laterality":
        return find_laterality(note, target)
    if kind == "severity":
        return find_severity(note, target) or find_size(note, target)
    if kind == "presence":
        return find_presence(note, target)
    if kind == "date":
        return _find_date(note, target)
    if kind == "comparison":
        return _find_comparison(note)
    if kind == "section":
        return _find_section(note, question)
    if kind == "summary":
        return _find_summary(note, question)
    return find_free(note, question)


def _not_stated(kind: str, reason: str, confidence: float) -> Answer:
    return Answer("", -1, -1, confidence, kind, False, reason=reason)


def _answer(note: Passage, found: Found, question: Question) -> Answer:
    confidence = certainty_of(note, question, found)
    return Answer(
        note.text[found.start : found.end], found.start, found.end, confidence, question.kind, True,
        value=found.value, unit=found.unit, rule=found.rule, contested=found.contested,
    )  # fmt: skip


_UNREAD = Found(-1, -1, "")


def _extract(raw: str | bytes | None, question: Question, labelled: Found | None = _UNREAD) -> Answer:
    clean = clean_note(raw)
    if clean.refusal is not None:
        # That a report which cannot be read states nothing is certain; that it holds no answer is not known.
        return _not_stated(question.kind, clean.refusal, 1.0)
    note = Passage(clean.text)
    if question.kind == "measurements":
        parts = tuple(_answer(note, found, question) for found in _find_measurements(note)[:10_000])
        if not parts:
            return _not_stated("measurements", "not_found", certainty_of(note, question, None))
        lengths = [p for p in parts if p.unit == "mm"] or list(parts)
        head = max(lengths, key=lambda p: max(p.value) if isinstance(p.value, tuple) else p.value or 0.0)
        return Answer(
            head.text, head.start, head.end, head.confidence, "measurements", True,
            value=head.value, unit=head.unit, rule=head.rule, parts=parts,
        )  # fmt: skip
    found = _find(note, question) if labelled is _UNREAD else labelled
    if found is None:
        return _not_stated(question.kind, "not_found", certainty_of(note, question, None))
    if found.reason:
        return _not_stated(question.kind, found.reason, certainty_of(note, question, found))
    return _answer(note, found, question)


def extract(report: str | bytes | None, question: str, *, lexicon: Any = None) -> Answer:
    """Answer a question from a report, or say that the report does not state it.

    Parameters
    ----------
    report : str or bytes
        One report.
    question : str
        Free wording: "How old is the patient?", "EF", "Which side is the effusion on?", "How large is the lung
        nodule?", "Where is the tip of the ETT?", "Is there a pneumothorax?", "What does the echocardiogram show?".
    lexicon : str or Lexicon, optional
        Findings for questions about presence; by default that of chest radiographs.

    Returns
    -------
    Answer

    Raises
    ------
    DataError
        The question is empty or longer than 1,000 characters. A report never raises: one that cannot be read gives
        "not stated" with the reason.

    Notes
    -----
    No rule was learned from patients. The probability is a small logistic regression on made-up reports that no rule
    was mended on (see answer_confidence.toml). On 122 further ones it said .87 on average where .88 (.81 to .92) were
    right. It does not tell right answers from wrong ones (area under the curve .52, .35 to .69): read it as how often
    answers of this sort hold, never as a reason to trust one of them, and check a sample of your own reports.

    Examples
    --------
    >>> answer = extract("The patient is an 86-year-old female. EF 55-60%.", "How old is the patient?")
    >>> str(answer), answer.start, answer.end, answer.value, answer.unit
    ('86', 18, 20, 86.0, 'years')
    >>> extract("Normal chest.", "What is the ejection fraction?").reason
    'not_found'
    """
    return extract_many([report], question, lexicon=lexicon)[0]


def extract_many(
    reports: Iterable[str | bytes | None],
    question: str,
    *,
    lexicon: Any = None,
    progress: Callable[[float, str], object] | None = None,
) -> list[Answer]:
    """Answer one question from many reports; see `extract`.

    Parameters
    ----------
    reports : sequence of str
        The reports; a missing one is "not stated" with the reason "empty".
    question : str
        One question for all, read once.
    lexicon : str or Lexicon, optional
        See `extract`.
    progress : callable, optional
        ``progress(share, text)``, every 2,000 reports.

    Examples
    --------
    >>> [str(a) for a in extract_many(["45 y/o M with cough", "Clear lungs."], "age")]
    ['45', 'not stated']
    """
    asked = read_question(question)
    rows: Sequence[str | bytes | None] = reports if isinstance(reports, Sequence) else list(reports)
    if isinstance(reports, str | bytes):
        raise DataError("one report", "a list of reports", "use extract for a single report")
    known = concepts_of(asked.target, lexicon) if asked.kind == "presence" else None
    out: list[Answer] = []
    for begin in range(0, len(rows), _BLOCK):
        block = rows[begin : begin + _BLOCK]
        if known is None:
            out += [_extract(report, asked) for report in block]
        else:
            labels = find_presence_in(block, *known)
            out += [_extract(report, asked, found) for report, found in zip(block, labels, strict=True)]
        if progress is not None:
            progress(len(out) / len(rows), f"{len(out):,} of {len(rows):,} reports")
    return out
