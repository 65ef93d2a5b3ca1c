"""Agreement of volumes after Bland and Altman: differences against means, with bias and limits and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

HEIGHT, LEFT, PANEL, GAP, TOP, BOTTOM = 340, 60, 228, 74, 30, 48
ACROSS, MOST = 3, 200
"""Panels beside each other; scans of which the table shows each."""


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the volume outlined less that of the reference against the mean of both, a panel a region.

    Parameters
    ----------
    data : mapping
        ``regions``: list of ``label``, ``points`` (``case``, ``reference_ml``, ``prediction_ml``) and ``absolute``
        (``bias``, ``low`` and ``high``, measures in ml).
    context : Context

    Returns
    -------
    Figure
    """
    regions = list(data["regions"])
    salt = f"{context.salt}volume-agreement"
    across = min(ACROSS, len(regions))
    down = -(-len(regions) // ACROSS)
    width = max(LEFT + across * PANEL + (across - 1) * GAP + 66, 420)
    with style.drawing(salt):
        fig, add = style.canvas(width, down * HEIGHT)
        for k, one in enumerate(regions):
            x, y = LEFT + (k % across) * (PANEL + GAP), (k // across) * HEIGHT
            ax = add(x, y + TOP, PANEL, HEIGHT - TOP - BOTTOM)
            _panel(ax, one)
            ax.set_xlabel("Mean of outline and reference (ml)")
            if k % across == 0:
                ax.set_ylabel("Outline less reference (ml)")
            style.place(fig, x, y + 12, style.clip_text(one["label"], 30), weight="bold")
        svg = style.to_svg(fig, salt)
    said = "; ".join(
        f"{one['label']}: bias {_ml(one, 'bias')}, limits {_ml(one, 'low')} and {_ml(one, 'high')}" for one in regions
    )
    return Figure(
        svg,
        titles.volume_agreement(regions),
        f"A dot is one scan of the test part. Solid: the mean difference (bias); dashed: the limits of agreement, "
        f"within which about 95% of differences are expected; bands are their {context.band}s. Dotted: no difference.",
        f"Bland-Altman plot of volumes. {said}.",
        _table(regions),
        width,
    )


def _ml(one: Mapping[str, Any], key: str) -> str:
    return f"{numbers.measure((one.get('absolute') or {}).get(key), 1)} ml"


def _panel(ax: Any, one: Mapping[str, Any]) -> None:
    points = _points(one)
    reference, outline = (np.array([float(p[k]) for p in points]) for k in ("reference_ml", "prediction_ml"))
    mean, gap = (reference + outline) / 2, outline - reference
    end = float(mean.max()) * 1.05 if mean.size and mean.max() > 0 else 1.0
    ends = np.array([0.0, end])
    ax.axhline(0, color=style.FAINT, lw=1, ls=(0, (1, 2)))
    edges = [*gap.tolist(), 0.0]
    for key, colour, dash in (("low", style.BASE, (5, 3)), ("high", style.BASE, (5, 3)), ("bias", style.ACCENT, None)):
        found = (one.get("absolute") or {}).get(key) or {}
        if not numbers.is_number(found.get("value")):
            continue
        bounds = [float(found[k]) for k in ("lower", "upper") if numbers.is_number(found.get(k))]
        if len(bounds) == 2:
            style.band(ax, ends, np.full(2, bounds[0]), np.full(2, bounds[1]), colour, alpha=0.16)
            edges += bounds
        edges.append(float(found["value"]))
        ax.plot(ends, [found["value"]] * 2, color=colour, lw=1.5, ls="-" if dash is None else (0, dash))
        text = numbers.fixed(found["value"], 1)
        ax.text(end * 1.015, found["value"], text, va="center", size=10.5, color=colour, clip_on=False)
    ax.plot(mean, gap, "o", ms=4.5 if mean.size <= 60 else 3, color=style.ACCENT, alpha=0.8, mew=0)
    pad = 0.06 * (max(edges) - min(edges) or 1.0)
    ax.set(xlim=(0, end), ylim=(min(edges) - pad, max(edges) + pad))
    ax.locator_params(nbins=5)


def _points(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    both = ("reference_ml", "prediction_ml")
    return [p for p in one.get("points") or [] if all(numbers.is_number(p.get(k)) for k in both)]


def _table(regions: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    cut = False
    for one in regions:
        groups[len(rows)] = str(one["label"])
        points = _points(one)
        cut = cut or len(points) > MOST
        for p in points[:MOST]:
            gap = float(p["prediction_ml"]) - float(p["reference_ml"])
            rows.append(
                [
                    num(numbers.count(p.get("case")), p.get("case")),
                    *(num(numbers.fixed(p[k], 1), p[k]) for k in ("reference_ml", "prediction_ml")),
                    num(numbers.fixed(gap, 1), gap),
                ]
            )
    caption = f"The first {MOST} scans of each region; all are in results.json" if cut else ""
    head = ["Scan", "Reference (ml)", "Outline (ml)", "Difference (ml)"]
    return Table(head, rows, caption, groups=groups, wide=False)
