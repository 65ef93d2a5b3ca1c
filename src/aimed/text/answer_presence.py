"""Presence by the labeller: a question's finding looked up in the lexicon, then judged in many reports at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from aimed.readers.note_text import clean_note
from aimed.text.answer_patterns import Found
from aimed.text.labeller import ReportLabeller
from aimed.text.lexicon import load_lexicon

__all__ = ["concepts_of", "find_presence_in"]

_TOO_WIDE = frozenset({"device", "other_finding"})
"""Concepts that hold many things, so that one of them answers no question about another."""
_IMPLIES_NONE = {"cardiomegaly": "cardiomediastinum"}
"""What cannot be there where something wider is normal: "cardiomediastinal silhouette is normal"."""
_NONE_AFTER = re.compile(
    r"\s{0,2}[:?]\s{0,3}(?:none|negative|absent|nil|no)(?=\s?(?:[.,;]|$))|[^.;:]{0,20}\bnow gone\b"
)
_DOUBT_AFTER = re.compile(r"\s(?:is|are|being) (?:favou?red|questioned|suspected|considered)\b")
_LONGEST = 20_000_000
_KEPT: dict[tuple[str, str], ReportLabeller] = {}


def _labellers(lexicon: Any) -> list[ReportLabeller]:
    """Return one labeller for each set of labels, the lexicon's first set first; compiled once."""
    loaded = load_lexicon("chest-xray" if lexicon is None else lexicon)
    out = []
    for targets in loaded.targets:
        key = (loaded.digest, targets)
        if key not in _KEPT:
            if len(_KEPT) >= 16:
                _KEPT.clear()
            _KEPT[key] = ReportLabeller(loaded, targets)
        out.append(_KEPT[key])
    return out


@lru_cache(maxsize=512)
def _concepts_of_default(target: str) -> tuple[ReportLabeller, frozenset[str]] | None:
    return _looked_up(target, None)


def concepts_of(target: str, lexicon: Any = None) -> tuple[ReportLabeller, frozenset[str]] | None:
    """Return the concepts that a finding's name means and a labeller that knows them; None where unknown.

    Examples
    --------
    >>> sorted(concepts_of("pneumothorax")[1]), concepts_of("kidney stone")
    (['pneumothorax'], None)
    """
    return _concepts_of_default(target) if lexicon is None else _looked_up(target, lexicon)


def _looked_up(target: str, lexicon: Any) -> tuple[ReportLabeller, frozenset[str]] | None:
    for labeller in _labellers(lexicon):
        found = labeller.label_one(target).evidence
        # The mention must take up the whole name: "left effusion drain" is no effusion.
        whole = found.filter((found["end"] - found["start"]) >= 0.6 * len(target))
        names = frozenset(whole["concept"].cast(str).to_list()) - _TOO_WIDE
        if names:
            return labeller, names
    return None


def find_presence_in(reports: Sequence[Any], labeller: ReportLabeller, concepts: frozenset[str]) -> list[Found | None]:
    """Return for each report whether one of the concepts is there, with the words that decide."""
    evidence = labeller.label(reports).evidence
    counted = {name for name, section in labeller.lexicon.language.sections.items() if section.counts} | {""}
    wider = {_IMPLIES_NONE[name] for name in concepts if name in _IMPLIES_NONE} - concepts
    rows = evidence.filter(
        evidence["concept"].cast(str).is_in([*concepts, *wider]) & evidence["section"].cast(str).is_in(list(counted))
    )
    by: list[dict[str, tuple[int, int]]] = [{} for _ in reports]
    texts: dict[int, str] = {}
    columns = ("concept", "report", "start", "end", "trigger_start", "trigger_end", "assertion", "context")
    for concept, report, start, end, trigger, trigger_end, assertion, context in rows.select(columns).iter_rows():
        if context == "resolved":
            verdict = "no"
        elif context:
            continue
        else:
            verdict = {"positive": "yes", "negative": "no", "uncertain": "uncertain"}[assertion]
        if (verdict != "no" or concept in wider) and report not in texts:
            texts[report] = clean_note(reports[report]).text[:_LONGEST]
        if concept in wider and (verdict != "no" or "cardi" not in texts[report][start:end].lower()):
            continue
        if verdict != "no":
            after = texts[report][end : end + 40].lower()
            if none := _NONE_AFTER.match(after):
                verdict, trigger, trigger_end = "no", start, end + none.end()
            elif verdict == "yes" and (doubt := _DOUBT_AFTER.match(after)):
                verdict, trigger, trigger_end = "uncertain", start, end + doubt.end()
        if trigger is not None and verdict != "yes":
            start, end = min(start, trigger), max(end, trigger_end)
        by[report].setdefault(verdict, (start, end))
    out: list[Found | None] = []
    for found in by:
        first = next((verdict for verdict in ("yes", "uncertain", "no") if verdict in found), None)
        out.append(None if first is None else Found(*found[first], f"label_{first}", first, contested=len(found) > 1))
    return out
