"""The evidence report of one run: sixteen sections from the results dictionary alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aimed.report import numbers, sentences, view
from aimed.report.render import html
from aimed.report.sections import SECTIONS

__all__ = ["render", "write"]


def render(results: Mapping[str, Any]) -> str:
    """Return the evidence report as one self-contained HTML page.

    Parameters
    ----------
    results : mapping
        The content of ``results.json``. A block that is None or absent leaves a section that says what was not
        assessed.

    Returns
    -------
    str
        A page that needs no network and no script, with figures as inline SVG. The same results give the same bytes.

    Examples
    --------
    >>> page = render({"study": {"title": "Risk of <b>death</b>"}})
    >>> "Risk of &lt;b&gt;death&lt;/b&gt;" in page, "Subgroups were not assessed" in page
    (True, True)
    """
    study = view.block(results, "study") or {}
    return html(
        "page",
        title=str(study.get("title") or study.get("id") or "Evidence report"),
        meta=_meta(results),
        foot=_foot(results),
        sections=[SECTIONS[name](results) for name in SECTIONS],
    )


def write(results: Mapping[str, Any], folder: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` into a folder; a reader sees the old page or the new one, never half of one.

    Parameters
    ----------
    results : mapping
        The content of ``results.json``.
    folder : path
        The run folder; it must exist.

    Returns
    -------
    Path
        Where the page is.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write({}, folder).name
    'report.html'
    """
    target = Path(folder) / "report.html"
    page = render(results)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".report-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        # mkstemp makes the file private; a report is read by the people the folder is open to.
        Path(temporary).chmod(0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def _meta(results: view.Results) -> str:
    data = view.block(results, "data") or {}
    parts = []
    dates = data.get("dates") or {}
    if numbers.is_number(data.get("patients")):
        who = sentences.plural(data["patients"], "patient")
        if dates.get("first") and dates.get("last"):
            who += f", {dates['first']} to {dates['last']}"
        parts.append(who)
    if data.get("sites"):
        parts.append(sentences.plural(len(data["sites"]), "site"))
    for key in ("train", "test"):
        part = view.block(data, "parts", key)
        if part:
            events = (
                f" with {sentences.plural(part['events'], 'event')}" if numbers.is_number(part.get("events")) else ""
            )
            if events and view.multilabel(results):
                events = f" {view.item(results)}s, {numbers.count(part['events'])} with a finding"
            if view.masks(results):
                events = " scans"
            parts.append(f"{key}: {numbers.count(part.get('n'))}{events}")
    for arm in view.block(results, "effect", "arms") or []:
        parts.append(f"{arm.get('label') or arm.get('key')}: {numbers.count(arm.get('n'))}")
    if results.get("created"):
        parts.append(f"run on {str(results['created'])[:10]}")
    return " · ".join(parts) or "The patients of this run were not described."


def _foot(results: view.Results) -> str:
    version = results.get("aimed_version")
    made = f"Made by aimed {version}" if version else "Made by aimed"
    created = f" from the results of {numbers.moment(results['created'])}" if results.get("created") else ""
    cases = view.block(results, "gallery") or {}
    drawn = cases.get("thumbnails") or (cases.get("pictures") or {}).get("scopes")
    errors = view.block(results, "explanation", "error_browser") or {}
    text = errors.get("text") and errors.get("notes")
    held = (("ids", cases.get("ids") or errors.get("ids")), ("pictures", drawn), ("notes", text))
    shown = [what for what, here in held if here]
    holds = f"holds {' and '.join(shown)} of patients: handle it as such" if shown else "holds no patient rows"
    return f"{made}{created}. Every number on this page comes from results.json; the page {holds}."
