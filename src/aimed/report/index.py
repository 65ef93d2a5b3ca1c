"""The page over several studies: one row a study with its verdict, its primary measure and the way to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from aimed.report import contrast, names, numbers, sentences, view
from aimed.report.parts import Cell, Table, num
from aimed.report.render import html

__all__ = ["render_index"]


def render_index(entries: Sequence[Mapping[str, Any]], left_out: Sequence[str] = ()) -> str:
    """Return the index page of several runs.

    Parameters
    ----------
    entries : sequence of mapping
        Each with ``results`` (the results dictionary) and ``href`` (path of its report, relative to the index).
    left_out : sequence of str
        One sentence a study that was not run: which one, and why.

    Returns
    -------
    str
        A self-contained HTML page.

    Examples
    --------
    >>> "No study has been run yet." in render_index([])
    True
    >>> "Needs the extra &#39;tcga&#39;." in render_index([], ["Needs the extra 'tcga'."])
    True
    """
    rows = [_row(e.get("results") or {}, str(e.get("href") or "")) for e in entries]
    states = [str(view.block(e.get("results") or {}, "verdict", "state") or "no criteria") for e in entries]
    met = sum(s == "met" for s in states)
    head = ["Study", "Verdict", "Primary measure (interval)", "Best baseline", "n", "Events", "Run on"]
    title = f"{met} of {sentences.plural(len(rows), 'study', 'studies')}"
    title += " meets every criterion" if met == 1 else " meet every criterion"
    return html(
        "index",
        title=title if rows else "Studies",
        meta="Each row leads to an evidence report. Numbers are from the test part of that study; the average effect "
        "of a treatment is from all of its patients.",
        table=Table(head, rows, sortable=True),
        left_out=[str(reason) for reason in left_out],
        foot="Made by aimed from the results.json of each run.",
    )


def _row(results: view.Results, href: str) -> list[Cell | str]:
    study, perf = view.block(results, "study") or {}, view.block(results, "performance") or {}
    name, measure = view.primary(results)
    if view.effect(results):
        return _effect_row(results, href)
    best = view.best_baseline(results, name)
    title = str(study.get("title") or study.get("id") or "Untitled study")
    return [
        Cell(title, href=_safe(href)),
        Cell(str(view.block(results, "verdict", "state") or "no criteria"), "state"),
        num(f"{names.title(name, view.unit(results))} {numbers.measure(measure)}", (measure or {}).get("value")),
        num(f"{view.baseline_title(results, best[0])} {numbers.fixed(best[1]['value'])}" if best else numbers.ABSENT),
        num(numbers.count(perf.get("n")), perf.get("n")),
        num(numbers.ABSENT) if view.masks(results) else num(numbers.count(perf.get("events")), perf.get("events")),
        str(results.get("created") or "")[:10],
    ]


def _effect_row(results: view.Results, href: str) -> list[Cell | str]:
    study, asked = view.block(results, "study") or {}, contrast.question(results)
    name, measure = view.primary(results)
    arms = view.block(results, "effect", "arms") or []
    counts = [sum(a[k] for a in arms) if arms and all(numbers.is_number(a.get(k)) for a in arms) else None
              for k in ("n", "events")]  # fmt: skip
    raw = (view.block(results, "effect", "crude") or {}).get(name)
    return [
        Cell(str(study.get("title") or study.get("id") or "Untitled study"), href=_safe(href)),
        Cell(str(view.block(results, "verdict", "state") or "no criteria"), "state"),
        num(f"{asked.scale(name).title} {asked.scale(name).interval(measure)}", (measure or {}).get("value")),
        num(f"Unadjusted {asked.scale(name).interval(raw)}" if raw else numbers.ABSENT),
        *(num(numbers.count(c), c) for c in counts),
        str(results.get("created") or "")[:10],
    ]


def _safe(href: str) -> str:
    # Percent-encoding the colon keeps a folder called "javascript:..." a path.
    return quote(href, safe="/.-_~#")
