"""Small calibration curves of voxels: of those said to be inside with a chance, how many are, a panel a region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

PANEL, GAP, TOP, BOTTOM, LEFT = 200, 34, 46, 48, 58
ACROSS = 4


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the share of voxels inside the reference by their predicted probability, a panel a region.

    Parameters
    ----------
    data : mapping
        ``regions``: list of ``label``, ``bins`` (``predicted``, ``observed``, ``lower``, ``upper``, ``voxels``),
        ``oe``, ``ece`` (measures) and ``calibration`` (words); ``where``: which voxels are looked at.
    context : Context

    Returns
    -------
    Figure
    """
    regions = list(data["regions"])
    salt = f"{context.salt}voxel-calibration"
    across = min(ACROSS, len(regions))
    tall = PANEL + TOP + BOTTOM
    width = max(LEFT + across * PANEL + (across - 1) * GAP + 16, 360)
    with style.drawing(salt):
        fig, add = style.canvas(width, -(-len(regions) // ACROSS) * tall)
        for k, one in enumerate(regions):
            x, y = LEFT + (k % across) * (PANEL + GAP), (k // across) * tall
            ax = add(x, y + TOP, PANEL, PANEL)
            _panel(ax, one)
            ax.set_xlabel("Predicted probability")
            if k % across == 0:
                ax.set_ylabel("Inside the reference")
            else:
                ax.set_yticklabels([])
            style.place(fig, x, y + 12, style.clip_text(one["label"], 28), weight="bold")
            style.place(fig, x, y + 29, _short(one), color=style.MUTED, size=10.5)
        svg = style.to_svg(fig, salt)
    where = str(data.get("where") or "").rstrip(".")
    said = "; ".join(f"{one['label']}: {_short(one)}" for one in regions)
    rows: list[list[Any]] = []
    groups: dict[int, str] = {}
    for one in regions:
        groups[len(rows)] = str(one["label"])
        for b in _bins(one):
            rows.append(
                [
                    num(numbers.percent(b["predicted"]), b["predicted"]),
                    num(_share(b), b["observed"]),
                    num(numbers.count(b.get("voxels")), b.get("voxels")),
                ]
            )
    return Figure(
        svg,
        titles.voxel_calibration(regions),
        f"Voxels of the test part grouped by probability{f' ({where})' if where else ''}; whiskers are {context.band}s "
        "over patients, dashed is ideal, the area of a dot grows with its voxels.",
        f"Calibration of voxels. {said}.",
        Table(
            ["Predicted probability (mean)", f"Inside the reference ({context.band})", "Voxels"], rows, groups=groups
        ),
        width,
    )


def _bins(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        b for b in one.get("bins") or [] if all(numbers.is_number(b.get(k)) for k in ("predicted", "observed"))
    ]  # fmt: skip


def _share(b: Mapping[str, Any]) -> str:
    text = numbers.percent(b["observed"])
    if numbers.is_number(b.get("lower")) and numbers.is_number(b.get("upper")):
        text += f" ({numbers.percent(b['lower'])} to {numbers.percent(b['upper'])})"
    return text


def _short(one: Mapping[str, Any]) -> str:
    said = [f"ECE {numbers.fixed(v, 3)}"] if numbers.is_number(v := (one.get("ece") or {}).get("value")) else []
    said += [f"O/E {numbers.ratio(v)}"] if numbers.is_number(v := (one.get("oe") or {}).get("value")) else []
    return ", ".join(said) or "not estimable"


def _panel(ax: Any, one: Mapping[str, Any]) -> None:
    found = _bins(one)
    ax.plot([0, 1], [0, 1], ls=(0, (4, 4)), lw=1, color=style.FAINT)
    most = max((float(b.get("voxels") or 0) for b in found), default=0.0) or 1.0
    for b in found:
        if numbers.is_number(b.get("lower")) and numbers.is_number(b.get("upper")):
            ax.plot([b["predicted"]] * 2, [b["lower"], b["upper"]], color=style.ACCENT, lw=1.2)
    x, y = ([float(b[k]) for b in found] for k in ("predicted", "observed"))
    ax.plot(x, y, color=style.ACCENT, lw=1.2)
    sizes = [4 + 6 * np.sqrt(float(b.get("voxels") or 0) / most) for b in found]
    for px, py, size in zip(x, y, sizes, strict=True):
        ax.plot(px, py, "o", ms=size, color=style.ACCENT, mew=0)
    ticks = [0, 0.25, 0.5, 0.75, 1.0]
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.set_xticks(ticks, ["0", "", "50%", "", "100%"])
    ax.set_yticks(ticks, ["0", "", "50%", "", "100%"])
