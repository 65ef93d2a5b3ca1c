"""Writing the report of a finished run again, from its results alone."""

from __future__ import annotations

from pathlib import Path

from aimed.report.page import render
from aimed.study.store import RunFolder, changed_by_hand
from aimed.trust.card import model_card

__all__ = ["render_again"]


def render_again(folder: str | Path) -> Path:
    """Write ``report.html`` and ``model_card.md`` of a run again and return the path of the report.

    Raises
    ------
    DataError
        If the folder holds no results.
    """
    home = RunFolder(folder)
    results = home.read_results()
    try:
        card, page = model_card(results), render(results)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        raise changed_by_hand() from None
    home.write("model_card.md", card)
    return home.write("report.html", page)
