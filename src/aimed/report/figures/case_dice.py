"""The Dice of every scan, region by region, sorted, so that one bad scan is seen behind a good mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

HEIGHT, LEFT, PANEL, GAP, TOP, BOTTOM = 330, 56, 225, 26, 34, 46
ACROSS, MOST = 4, 200
"""Panels beside each other; scans of which the table shows each."""


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the Dice of each scan in a panel a region, from the worst to the best, with the median and its interval.

    Parameters
    ----------
    data : mapping
        ``regions``: list of ``label``, ``cases`` (list of ``case``, ``dice`` and ``empty``, which is not empty where
        the reference or the outline is) and ``median`` (measure).
    context : Context

    Returns
    -------
    Figure
    """
    regions = [_sorted(r) for r in data["regions"]]
    salt = f"{context.salt}case-dice"
    across = min(ACROSS, len(regions))
    down = -(-len(regions) // ACROSS)
    width = max(LEFT + across * PANEL + (across - 1) * GAP + 16, 380)
    with style.drawing(salt):
        fig, add = style.canvas(width, down * HEIGHT)
        for k, one in enumerate(regions):
            x, y = LEFT + (k % across) * (PANEL + GAP), (k // across) * HEIGHT
            ax = add(x, y + TOP, PANEL, HEIGHT - TOP - BOTTOM)
            _panel(ax, one)
            ax.set(xlabel="Scans, worst first", ylabel="Dice" if k % across == 0 else "")
            if k % across:
                ax.set_yticklabels([])
            style.place(fig, x, y + 9, style.clip_text(one["label"], 30), weight="bold")
            style.place(fig, x, y + 24, f"median {_said(one['median'])}", color=style.MUTED, size=10.5)
        svg = style.to_svg(fig, salt)
    empty = any(e for one in regions for e in one["empty"])
    said = "; ".join(
        f"{one['label']}: {len(one['dice'])} scans, median {_said(one['median'])}, "
        f"from {numbers.fixed(one['dice'][0])} to {numbers.fixed(one['dice'][-1])}"
        for one in regions
    )
    return Figure(
        svg,
        titles.case_dice(regions),
        f"A dot is one scan of the test part. The line is the median, its band the {context.band}."
        + (" Hollow: the region is empty in the reference, in the outline or in both." if empty else ""),
        f"Dice of every scan. {said}.",
        _table(regions),
        width,
    )


def _sorted(region: Mapping[str, Any]) -> dict[str, Any]:
    known = sorted((c for c in region["cases"] if numbers.is_number(c.get("dice"))), key=lambda c: float(c["dice"]))
    return {
        "label": str(region["label"]),
        "dice": [float(c["dice"]) for c in known],
        "empty": [str(c.get("empty") or "") for c in known],
        "case": [c.get("case") for c in known],
        "median": region.get("median") or {},
    }


def _said(measure: Mapping[str, Any]) -> str:
    return numbers.interval(measure.get("value"), measure.get("lower"), measure.get("upper"), 2)


def _panel(ax: Any, one: Mapping[str, Any]) -> None:
    y = np.asarray(one["dice"])
    x = np.arange(1, y.size + 1)
    median = one["median"]
    bounds = [median.get(k) for k in ("lower", "upper")]
    ends = np.array([0.4, y.size + 0.6])
    if all(numbers.is_number(b) for b in bounds):
        style.band(ax, ends, np.full(2, float(bounds[0])), np.full(2, float(bounds[1])), style.ACCENT)
    if numbers.is_number(median.get("value")):
        ax.plot(ends, [median["value"]] * 2, color=style.ACCENT, lw=1.4)
    filled = np.array([not e for e in one["empty"]], dtype=bool)
    size = 5.0 if y.size <= 60 else 3.0
    ax.plot(x[filled], y[filled], "o", ms=size, color=style.ACCENT, mew=0)
    ax.plot(x[~filled], y[~filled], "o", ms=size, mfc=style.PAPER, mec=style.BASE, mew=1.2)
    ax.set(xlim=(ends[0], ends[1]), ylim=(-0.03, 1.03), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1.0])
    ax.grid(axis="y", color=style.LINE, lw=0.7)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=5, integer=True)


def _table(regions: Sequence[Mapping[str, Any]]) -> Table:
    if max((len(one["dice"]) for one in regions), default=0) > MOST:
        shares = np.linspace(0.0, 1.0, 11)
        rows = [
            [
                num(numbers.percent(q, 0), float(q)),
                *(num(numbers.fixed(v := float(np.quantile(one["dice"], q))), v) for one in regions if one["dice"]),
            ]
            for q in shares
        ]
        head = ["Scans below", *(str(one["label"]) for one in regions if one["dice"])]
        return Table(head, rows, "Dice below which that share of the scans lies", wide=False)
    cases = sorted({c for one in regions for c in one["case"] if numbers.is_number(c)})
    by = [dict(zip(one["case"], zip(one["dice"], one["empty"], strict=True), strict=True)) for one in regions]
    body = []
    for case in cases:
        line = [num(numbers.count(case), case)]
        for found in by:
            value, empty = found.get(case, (None, ""))
            line.append(num(f"{numbers.fixed(value)}{' (empty)' if empty else ''}", value))
        body.append(line)
    head = ["Scan", *(str(one["label"]) for one in regions)]
    return Table(head, body, "Numbers of scans are those of this page", sortable=True, wide=False)
