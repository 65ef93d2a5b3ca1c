"""Reporting checklists bound to evidence: each item has a state, a text and the place in the results it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from aimed.core import UnknownNameError
from aimed.trust import CHECKLISTS, claim, consort, estimand, tripod
from aimed.trust.tripod import NotApplicable, Results, Writer
from aimed.trust.words import at

__all__ = ["STATES", "Checklist", "claim_2024", "consort_2025", "fill", "ich_e9_r1", "tripod_ai"]

_DEFAULT = "tripod+ai"

STATES = ("filled", "drafted", "missing", "not applicable")
"""States of an item, in order."""


@dataclass(frozen=True, slots=True)
class Checklist:
    """A reporting guideline: its items as data, and writers for those that a run can speak to.

    Parameters
    ----------
    about : mapping
        ``id``, ``title``, ``version``, ``licence``, ``source``, ``attribution`` and ``items``; an item has ``item``,
        ``section``, ``asks``, ``class`` (A from evidence, D drafted, W written by the author), ``evidence`` (paths into
        the results; one of several that | parts is enough) and ``anchor`` (section of the report).
    writers : mapping of str to callable
        Item → writer; see `aimed.trust.tripod.Writer`.
    unfit : callable
        Results → why the whole guideline does not apply to such a study; None where it does.
    """

    about: Mapping[str, Any]
    writers: Mapping[str, Writer]
    unfit: Callable[[Results], NotApplicable | None]

    def fill(self, results: Mapping[str, Any], statements: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the checklist filled from results and statements; see `fill`."""
        said = self.said(statements or {})
        unfit = self.unfit(results)
        rows = [
            self._row(row, results, said.get(row["item"]))
            if unfit is None
            else self._put(row, "not applicable", " ".join(filter(None, (unfit.reason, said.get(row["item"])))))
            for row in self.about["items"]
        ]
        head = {key: self.about[key] for key in ("title", "version", "licence", "source", "attribution")}
        return {**head, "items": rows, "counts": {state: sum(r["state"] == state for r in rows) for state in STATES}}

    def said(self, statements: Mapping[str, str]) -> dict[str, str]:
        """Return the author's statements on items of this checklist, by item.

        Raises
        ------
        UnknownNameError
            If a statement names a checklist or an item that does not exist.
        """
        known = [row["item"] for row in self.about["items"]]
        said = {item: text.strip() for item, text in self._own(statements).items() if text.strip()}
        for item in said:
            if item not in known:
                raise UnknownNameError("checklist item", item, known)
        return said

    def _own(self, statements: Mapping[str, str]) -> dict[str, str]:
        """Return the statements that are for this checklist, by item; those without a prefix are for TRIPOD+AI."""
        own = {}
        for key, text in statements.items():
            name, mark, item = key.rpartition(":")
            if mark and name not in CHECKLISTS:
                raise UnknownNameError("checklist", name, list(CHECKLISTS))
            if (name or _DEFAULT) == self.about["id"]:
                own[item] = text
        return own

    def _row(self, row: Mapping[str, Any], results: Mapping[str, Any], statement: str | None) -> dict[str, Any]:
        writer = self.writers.get(row["item"])
        drafted = writer(results) if writer is not None else None
        here = [path for one in row["evidence"] if (path := _there(results, one))]
        # An item filled by the machine needs all of its evidence; a draft for the author may rest on some.
        bound = len(here) == len(row["evidence"]) if row["class"] == "A" else bool(here)
        evidence = here[0] if here else f"#{row['anchor']}"
        if isinstance(drafted, NotApplicable):
            state, text, evidence = "not applicable", drafted.reason, f"#{row['anchor']}"
        elif drafted is not None and bound:
            state, text = ("filled" if row["class"] == "A" else "drafted"), drafted
        else:
            state, text = "missing", self._ask(row, results)
        if statement is not None:
            # Machine evidence stays beside what the author adds to it; drafts and gaps are replaced.
            text = f"{text} {statement}" if state == "filled" else statement
            state = "filled"
        return self._put(row, state, text, evidence)

    @staticmethod
    def _put(row: Mapping[str, Any], state: str, text: str, evidence: str = "") -> dict[str, Any]:
        kept = {key: row[key] for key in ("item", "section", "asks", "class")}
        return {**kept, "state": state, "text": text, "evidence": evidence or f"#{row['anchor']}"}

    def _ask(self, row: Mapping[str, Any], results: Mapping[str, Any]) -> str:
        key = row["item"] if self.about["id"] == _DEFAULT else f"{self.about['id']}:{row['item']}"
        do = f'write [report] statements."{key}"'
        if row["class"] == "W":
            return f"For the author: {do}."
        lost = [path.replace("|", " or ") for path in row["evidence"] if not _there(results, path)]
        why = f"The run holds no {' and no '.join(lost)}" if lost else "The run has nothing to say here"
        return f"{why}; {do}."


def _there(results: Mapping[str, Any], path: str) -> str:
    """Return the first of several paths, with | between them, that leads to something; empty where none does."""
    return next((one for one in path.split("|") if at(results, one) is not None), "")


_GUIDELINES = {
    "tripod_ai": (tripod.WRITERS, tripod.unfit),
    "claim": (claim.WRITERS, tripod.unfit),
    "consort_2025": (consort.WRITERS, consort.unfit),
    "ich_e9_r1": (estimand.WRITERS, estimand.unfit),
}
"""File of items → its writers, and what says that the guideline does not apply."""


@cache
def _load(name: str) -> Checklist:
    text = files("aimed.trust").joinpath("checklists", f"{name}.json").read_text(encoding="utf-8")
    return Checklist(json.loads(text), *_GUIDELINES[name])


def tripod_ai() -> Checklist:
    """Return TRIPOD+AI, the 2024 guideline for reports of clinical prediction models.

    References
    ----------
    Collins et al., BMJ 2024;385:e078378 (CC BY 4.0).

    Examples
    --------
    >>> len(tripod_ai().about["items"])
    52
    """
    return _load("tripod_ai")


def claim_2024() -> Checklist:
    """Return CLAIM, the 2024 guideline for reports of artificial intelligence in medical imaging.

    References
    ----------
    Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300. What is asked is given in words of our own.

    Examples
    --------
    >>> len(claim_2024().about["items"])
    44
    """
    return _load("claim")


def consort_2025() -> Checklist:
    """Return CONSORT, the 2025 guideline for reports of randomised trials.

    References
    ----------
    Hopewell et al., BMJ 2025;389:e081123 (CC BY 4.0). What is asked is given in words of our own.

    Examples
    --------
    >>> len(consort_2025().about["items"])
    42
    """
    return _load("consort_2025")


def ich_e9_r1() -> Checklist:
    """Return a list made of ICH E9(R1), the addendum on estimands, which has no numbered list of its own.

    References
    ----------
    ICH E9(R1), step 4, 20 November 2019. What is asked is given in words of our own.

    Examples
    --------
    >>> len(ich_e9_r1().about["items"])
    15
    """
    return _load("ich_e9_r1")


def fill(
    results: Mapping[str, Any], statements: Mapping[str, str] | None = None, checklist: str = "tripod+ai"
) -> dict[str, Any]:
    """Fill a checklist from the results of a run and the author's statements.

    Parameters
    ----------
    results : mapping
        The results record, as far as it is made.
    statements : mapping of str to str, optional
        Item → the author's text. It replaces a draft or a gap, and follows the text of an item filled from evidence.
        Items of other checklists than TRIPOD+AI have its name in front, as in ``"claim:14"``.
    checklist : str
        Name in `aimed.trust.CHECKLISTS`.

    Returns
    -------
    dict
        ``title``, ``version``, ``licence``, ``source``, ``attribution``, ``items`` and ``counts`` by state.

    Raises
    ------
    UnknownNameError
        If a statement or the checklist does not exist; the nearest name is given.

    Notes
    -----
    *filled*: evidence of the run, or the author's statement. *drafted*: text made from the study file and the run,
    for the author to confirm. *missing*: neither. *not applicable*: the text says why; where that is the whole
    guideline, what the author says of an item follows the reason.

    Examples
    --------
    >>> block = fill({"study": {"title": "Death after infarction"}}, {"17": "Approved by the review board."})
    >>> {row["item"]: row["state"] for row in block["items"] if row["item"] in ("1", "17", "18a", "23a")}
    {'1': 'drafted', '17': 'filled', '18a': 'missing', '23a': 'missing'}
    """
    found: Checklist = CHECKLISTS[checklist]()
    return found.fill(results, statements)
