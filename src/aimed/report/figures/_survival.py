"""What the two survival figures share: time ticks and the rows of numbers at risk under an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
