"""Two runs side by side: what differs in their settings and in their measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aimed.report.compare import render_compare
from aimed.study.store import RunFolder, changed_by_hand, write_atomic

__all__ = ["compare_runs", "write_comparison"]


def compare_runs(a: str | Path, b: str | Path) -> dict[str, Any]:
    """Return the measures of two runs side by side.

    Parameters
    ----------
    a, b : path
        Run folders.

    Returns
    -------
    dict
        ``measures``: name → value and interval of each run; ``same_data`` and ``same_split`` say whether the
        numbers may be compared at all.
    """
    first, second = (RunFolder(path).read_results() for path in (a, b))
    try:
        return _side_by_side(first, second)
    except (KeyError, TypeError, AttributeError):
        raise changed_by_hand() from None


def _side_by_side(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    left, right = (r["performance"]["measures"] for r in (first, second))
    names = [n for n in left if n in right]
    return {
        "a": first["study"]["id"],
        "b": second["study"]["id"],
        "same_data": first["data"]["digest"] == second["data"]["digest"],
        "same_split": first["split"]["proof"] == second["split"]["proof"]
        and first["split"]["lock_sha256"] == second["split"]["lock_sha256"],
        "models": [first["model"]["title"], second["model"]["title"]],
        "verdicts": [first["verdict"]["state"], second["verdict"]["state"]],
        "measures": {n: {"a": left[n], "b": right[n]} for n in names},
    }


def write_comparison(a: str | Path, b: str | Path, path: str | Path) -> Path:
    """Write the comparison page of two runs."""
    first, second = (RunFolder(p).read_results() for p in (a, b))
    try:
        page = render_compare(first, second)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise changed_by_hand() from None
    return write_atomic(Path(path), page)
