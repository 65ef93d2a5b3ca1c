"""What the figures over follow-up share: ticks, marks of censoring and the numbers at risk under an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style

ROW = 19


def at_risk(
    fig: Any,
    ticks: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    *,
    left: float,
    width: float,
    top: float,
    end: float,
    colours: Mapping[str, str],
) -> None:
    """Write the numbers at risk as aligned rows below an axis that starts at `left` and ends at time `end`."""
    style.place(fig, 4, top, "Number at risk", color=style.MUTED, size=11, weight="bold")
    for i, (label, row) in enumerate(counts.items()):
        y = top + ROW * (i + 1)
        style.place(fig, 4, y, style.clip_text(label, 24), color=colours.get(label, style.INK), size=11)
        for t, n in zip(ticks, row, strict=False):
            style.place(fig, left + width * t / end, y, numbers.count(n), ha="center", size=11)


def time_ticks(ax: Any, ticks: Sequence[float], end: float) -> None:
    """Put the ticks of the numbers at risk on the time axis, leaving out one that would touch its neighbour."""
    ax.set_xlim(0, end)
    ax.set_xticks(list(ticks), [tick(t, end) for t in ticks])


def tick(time: float, end: float) -> str:
    """Return a time as it is written on an axis that ends at `end`: whole where that loses nothing to the eye."""
    return numbers.count(round(float(time))) if end >= 50 else numbers.number(round(float(time), 2))


def ticks_of(block: Mapping[str, Any] | None, end: float) -> list[float]:
    """Return the times at which numbers at risk are given, or six even ones."""
    times = [float(t) for t in (block or {}).get("times") or [] if numbers.is_number(t)]
    return times or [end * i / 5 for i in range(6)]


def place(times: Any, t: float) -> int:
    """Return the place of the last time of a curve that is not after `t`."""
    return max(0, min(int(np.searchsorted(times, t, side="right")) - 1, int(times.size) - 1))


def censor_ticks(ax: Any, times: Any, curve: Any, marks: Mapping[str, Any] | None, colour: str) -> int | None:
    """Mark censoring on a step curve, and return how many patients a mark stands for; None where none is drawn."""
    at = [float(t) for t in (marks or {}).get("times") or [] if numbers.is_number(t)]
    each = (marks or {}).get("each")
    places = [place(times, t) for t in at]
    known = [(t, float(curve[i])) for t, i in zip(at, places, strict=True) if np.isfinite(curve[i])]
    if not known or not numbers.is_number(each):
        return None
    ax.plot(*zip(*known, strict=True), ls="none", marker="|", ms=8, mew=1.2, color=colour)
    return int(each)


def said_of_ticks(each: int | None) -> str:
    """Return the clause of the caption on the marks of censoring."""
    return "" if each is None else f" A small upright stroke: {each} more patients were censored."
