"""The FROC curve: how many lesions are found at how many false ones a scan, as the threshold falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

WIDTH, HEIGHT, RIGHT, MOST = 640, 370, 160, 5
LOOKS = ((style.ACCENT, "o"), (style.GROUPS[3], "^"), (style.GROUPS[0], "D"), (style.GROUPS[2], "v"), (style.BASE, "s"))
"""Colour and marker of each region, so that colour alone tells none."""


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the share of lesions found against the false lesions a scan, a line a region.

    Parameters
    ----------
    data : mapping
        ``regions``: list of ``label`` and ``froc`` (``points`` of ``false_positives``, ``sensitivity``, ``lower``,
        ``upper`` and ``threshold``, ``average``, ``lesions``); the first five are drawn, all are in the table.
    context : Context

    Returns
    -------
    Figure
    """
    every = [r for r in data["regions"] if _points(r)]
    salt = f"{context.salt}froc"
    with style.drawing(salt):
        fig, add = style.canvas(WIDTH, HEIGHT)
        ax = add(66, 12, WIDTH - 66 - RIGHT, HEIGHT - 66)
        ax.set_xscale("log", base=2)
        ends: list[tuple[str, float, str]] = []
        shown: set[float] = set()
        for one, (colour, marker) in zip(every, LOOKS, strict=False):
            points = _points(one)
            x = np.array([float(p["false_positives"]) for p in points])
            shown |= set(x.tolist())
            y, low, high = (style.floats([p.get(k) for p in points]) for k in ("sensitivity", "lower", "upper"))
            style.band(ax, x, low, high, colour, alpha=0.12)
            ax.plot(x, y, marker=marker, color=colour, lw=1.8, ms=5)
            ends.append((str(one["label"]), float(y[-1]), colour))
        ticks = sorted(shown)
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.set_xticks([], minor=True)
        ax.set(ylim=(0, 1.02), xlabel="False lesions a scan (log axis)", ylabel="Lesions found")
        ax.grid(axis="y", color=style.LINE, lw=0.7)
        ax.set_axisbelow(True)
        style.percent_axis(ax.yaxis)
        tall = HEIGHT - 66
        heights = style.spread([e[1] for e in ends], 16 / tall * 1.02, 0.0, 1.02)
        for (text, _, colour), height in zip(ends, heights, strict=True):
            where = 12 + (1.02 - height) / 1.02 * tall
            style.place(fig, WIDTH - RIGHT + 8, where, style.clip_text(text, 22), color=colour, weight="bold")
        svg = style.to_svg(fig, salt)
    more = f" Of {len(every)} regions the first {len(LOOKS)} are drawn." if len(every) > len(LOOKS) else ""
    said = "; ".join(
        f"{one['label']}: "
        + ", ".join(f"{numbers.percent(p['sensitivity'])} at {p['false_positives']:g}" for p in _points(one))
        for one in every
    )
    return Figure(
        svg,
        titles.froc(every),
        f"Share of the lesions of the reference that are found, when so many outlined lesions a scan that are none are "
        f"let pass; bands are {context.band}s over patients. Each point is a threshold of the probability.{more}",
        f"FROC curve. {said}.",
        _table(every, context),
        WIDTH,
    )


def _points(region: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        p
        for p in (region.get("froc") or {}).get("points") or []
        if numbers.is_number(p.get("false_positives"))
        and p["false_positives"] > 0
        and numbers.is_number(p.get("sensitivity"))
    ]


def _table(regions: Sequence[Mapping[str, Any]], context: Context) -> Table:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for one in regions:
        groups[len(rows)] = str(one["label"])
        for p in _points(one):
            found = numbers.percent(p["sensitivity"])
            if numbers.is_number(p.get("lower")) and numbers.is_number(p.get("upper")):
                found += f" ({numbers.percent(p['lower'])} to {numbers.percent(p['upper'])})"
            rows.append(
                [
                    num(f"{p['false_positives']:g}", p["false_positives"]),
                    num(found, p["sensitivity"]),
                    num(numbers.fixed(p.get("threshold"), 2), p.get("threshold")),
                ]
            )
    return Table(["False lesions a scan", f"Lesions found ({context.band})", "Threshold"], rows, groups=groups)
