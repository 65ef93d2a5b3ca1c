"""Expected against true Dice, and what is gained when the scans with the lowest expected Dice go to a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

PANEL, HEIGHT, LEFT, GAP, TOP = 296, 372, 58, 84, 28
MOST = 200
"""Scans of which the table shows each."""


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the true Dice of each scan against what was expected, and the mean Dice of the scans that are kept.

    Parameters
    ----------
    data : mapping
        ``label``: of what the Dice is; ``points``: list of ``case``, ``expected`` and ``dice``; ``below``: Dice below
        which a scan counts as failed; ``curve``: list of ``share`` (left to a reader), ``n``, ``dice`` (measure of
        the others) and ``failures``; ``rank`` and ``error``: measures.
    context : Context

    Returns
    -------
    Figure
    """
    points = [p for p in data.get("points") or [] if all(numbers.is_number(p.get(k)) for k in ("expected", "dice"))]
    curve = [p for p in data.get("curve") or [] if numbers.is_number((p.get("dice") or {}).get("value"))]
    salt = f"{context.salt}expected-dice"
    width = LEFT + PANEL + 20 + (GAP + PANEL if curve else 0)
    with style.drawing(salt):
        fig, add = style.canvas(width, HEIGHT)
        ax = add(LEFT, TOP, PANEL, PANEL)
        _scatter(ax, points, data.get("below"))
        style.place(fig, LEFT, 11, "Each scan", weight="bold")
        if curve:
            right = add(LEFT + PANEL + GAP, TOP, PANEL, PANEL)
            _kept(right, curve)
            style.place(fig, LEFT + PANEL + GAP, 11, "The rest, when some go to a reader", weight="bold")
        svg = style.to_svg(fig, salt)
    said = "; ".join(
        f"{numbers.percent(p.get('share'), 0)} left out: mean Dice {numbers.measure(p['dice'], 2)}" for p in curve
    )
    rank, error = (numbers.measure(data.get(k), 2) for k in ("rank", "error"))
    below = data.get("below")
    failed = (
        f" Below the dotted line ({numbers.short(below)}) a scan counts as failed." if numbers.is_number(below) else ""
    )
    second = (
        f" Right: the scans with the lowest expected Dice are left to a reader; the band is the {context.band} of the "
        "mean of the others."
        if curve
        else ""
    )
    return Figure(
        svg,
        titles.expected_dice(data),
        f"{titles.capital(str(data.get('label') or 'Regions'))}. Left: a dot is one scan of the test part, dashed is "
        f"ideal.{failed}{second} Expected Dice is computed from the probabilities, without the reference.",
        f"Expected and true Dice of {len(points)} scans. Rank correlation {rank}, mean absolute error {error}. {said}.",
        _table(points, curve, context),
        width,
    )


def _scatter(ax: Any, points: Sequence[Mapping[str, Any]], below: object) -> None:
    x, y = (np.array([float(p[k]) for p in points]) for k in ("expected", "dice"))
    low = min([*x.tolist(), *y.tolist(), 0.6]) - 0.04
    low = max(0.0, np.floor(low * 10) / 10)
    ax.plot([low, 1], [low, 1], ls=(0, (4, 4)), lw=1, color=style.FAINT)
    if numbers.is_number(below) and low < below < 1:
        ax.axhline(float(below), color=style.BASE, lw=1.1, ls=(0, (1, 2)))
    ax.plot(x, y, "o", ms=5 if x.size <= 60 else 3.5, color=style.ACCENT, alpha=0.85, mew=0)
    edge = 0.015 * (1 - low)
    ax.set(xlim=(low - edge, 1 + edge), ylim=(low - edge, 1 + edge), xlabel="Expected Dice", ylabel="True Dice")
    ax.locator_params(nbins=6)


def _kept(ax: Any, curve: Sequence[Mapping[str, Any]]) -> None:
    x = np.array([float(p.get("share") or 0.0) for p in curve])
    y, low, high = (style.floats([p["dice"].get(k) for p in curve]) for k in ("value", "lower", "upper"))
    style.band(ax, x, low, high, style.ACCENT)
    ax.plot(x, y, "o-", color=style.ACCENT, lw=2, ms=5)
    ax.set(xlabel="Scans left to a reader, lowest expected Dice first", ylabel="Mean Dice of the others")
    style.percent_axis(ax.xaxis)
    known = np.concatenate([v[np.isfinite(v)] for v in (y, low, high)])
    pad = 0.08 * (float(known.max() - known.min()) or 0.1)
    ax.set_ylim(float(known.min()) - pad, min(float(known.max()) + pad, 1.02))
    ax.locator_params(axis="y", nbins=6)


def _table(
    points: Sequence[Mapping[str, Any]], curve: Sequence[Mapping[str, Any]], context: Context
) -> Table:  # fmt: skip
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    if curve:
        groups[0] = f"The others, when some are left to a reader: scans, mean Dice ({context.band})"
        for p in curve:
            rows.append(
                [
                    num(f"{numbers.percent(p.get('share'), 0)} left out", p.get("share")),
                    num(numbers.count(p.get("n")), p.get("n")),
                    num(numbers.measure(p["dice"]), p["dice"]["value"]),
                ]
            )
    groups[len(rows)] = "Each scan: expected Dice, true Dice"
    if len(points) > MOST:
        groups[len(rows)] = f"The first {MOST} scans: expected Dice, true Dice"
    for p in points[:MOST]:
        rows.append(
            [
                num(f"Scan {numbers.count(p.get('case'))}", p.get("case")),
                num(numbers.fixed(p["expected"]), p["expected"]),
                num(numbers.fixed(p["dice"]), p["dice"]),
            ]
        )
    return Table(["", "Scans, or expected Dice", "Dice"], rows, groups=groups, wide=False)
