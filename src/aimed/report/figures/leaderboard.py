"""The tuning scores: candidates and baselines side by side, with folds and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.report import names, numbers, style, titles
from aimed.report.parts import Cell, Context, Figure, Table, num

WIDTH, ROW, LABEL = 680, 30, 210


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the mean score of each model with its interval and the score of every fold.

    Parameters
    ----------
    data : mapping
        ``leaderboard``: list of name, title, kind, metric, mean, lower, upper, folds, trials, seconds, chosen.
    context : Context

    Returns
    -------
    Figure
    """
    every = list(data["leaderboard"])
    metric = str(every[0].get("metric") or "score")
    words = names.describe(metric)
    low, digits = words.better == "lower", words.digits
    known = sorted(
        (r for r in every if numbers.is_number(r.get("mean"))), key=lambda r: float(r["mean"]) * (1 if low else -1)
    )
    rows = known + [r for r in every if not numbers.is_number(r.get("mean"))]
    height = ROW * len(rows) + 56
    title = names.title(metric, context.unit)
    with style.drawing("leaderboard"):
        fig, add = style.canvas(WIDTH, height)
        ax = add(LABEL, 6, WIDTH - LABEL - (190 if digits < 4 else 216), ROW * len(rows))
        for i, row in enumerate(rows):
            chosen = bool(row.get("chosen"))
            colour = style.ACCENT if chosen else style.BASE
            y = 6 + (i + 0.5) * ROW
            weight = "bold" if chosen else "normal"
            ink = style.INK if chosen or row.get("kind") == "candidate" else style.MUTED
            style.place(
                fig,
                LABEL - 14,
                y,
                style.clip_text(row.get("title") or row["name"], 31),
                ha="right",
                weight=weight,
                color=ink,
            )
            text = numbers.interval(row.get("mean"), row.get("lower"), row.get("upper"), digits)
            style.place(fig, WIDTH - 4, y, text, ha="right", weight=weight, color=ink)
            if not numbers.is_number(row.get("mean")):
                continue
            folds = style.floats(row.get("folds"))
            if folds.size > 1:
                ax.plot(folds, [i] * folds.size, "o", ms=4, color=colour, alpha=0.35, mew=0)
            if numbers.is_number(row.get("lower")) and numbers.is_number(row.get("upper")):
                ax.plot([row["lower"], row["upper"]], [i, i], color=colour, lw=2)
            marker = "D" if row.get("kind") == "baseline" else "o"
            ax.plot(row["mean"], i, marker, ms=8, color=colour, mfc=colour if chosen else style.PAPER, mew=1.5)
        ax.set(ylim=(len(rows) - 0.5, -0.5), yticks=[])
        ax.margins(x=0.06)
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x", color=style.LINE, lw=0.8)
        ax.set_axisbelow(True)
        ax.set_xlabel(f"{title} in tuning ({'lower' if low else 'higher'} is better)")
        svg = style.to_svg(fig, "leaderboard")
    body = [
        [
            Cell(str(r.get("title") or r["name"]), strong=bool(r.get("chosen"))),
            str(r.get("kind") or ""),
            num(numbers.interval(r.get("mean"), r.get("lower"), r.get("upper"), digits), r.get("mean")),
            num(numbers.count(r.get("trials")), r.get("trials")),
            num(numbers.seconds(r.get("seconds")), r.get("seconds")),
            "chosen" if r.get("chosen") else "",
        ]
        for r in rows
    ]
    said = "; ".join(
        f"{r.get('title') or r['name']} {numbers.interval(r.get('mean'), r.get('lower'), r.get('upper'), digits)}"
        for r in rows
    )
    return Figure(
        svg,
        titles.leaderboard(rows, context.unit),
        f"{_how(rows)}, diamonds are baselines, the filled mark is the chosen model. The test part was not used.",
        f"{title} in tuning. {said}.",
        Table(["Model", "Kind", title, "Trials", "Time", ""], body, sortable=True),
        WIDTH,
    )


def _how(rows: list[Mapping[str, Any]]) -> str:
    if any(len(r.get("folds") or []) > 1 for r in rows):
        return "Mean over the tuning folds with its interval; faint points are single folds"
    return "Score on the tune part with its interval"
