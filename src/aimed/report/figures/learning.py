"""The learning curves of a network: losses of the train and the tune part by epoch, and where training was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.report import numbers, style, titles
from aimed.report.parts import Context, Figure, Table, num

HEIGHT, PANEL, LEFT, GAP = 320, 330, 62, 72
NARROW = 236
_SCORES = {"tune_auroc": "Macro AUROC", "tune_dice": "Mean Dice of sub-volumes"}
_CHANGED = {"tune_auroc": ", on changed pictures", "tune_dice": ", on changed sub-volumes"}


def draw(data: Mapping[str, Any], context: Context) -> Figure:
    """Draw the losses by epoch, and the tune AUROC beside them where it is known.

    Networks that are stopped by AUROC learn from a loss of their own, on changed pictures, and are tuned on
    cross-entropy: those losses have different scales and a panel each. Otherwise both stand in one.

    Parameters
    ----------
    data : mapping
        ``learning``: list, one a network, of ``train_loss``, and where known ``tune_loss``, ``tune_auroc`` or
        ``tune_dice``, ``best_epoch`` (counted from 1) and ``stopped_early``; ``loss``: name of the loss that is
        learned from.
    context : Context

    Returns
    -------
    Figure
    """
    runs = [r for r in data["learning"] if r.get("train_loss")]
    score = next((k for k in _SCORES if any(r.get(k) for r in runs)), "")
    tuned, ranked = any(r.get("tune_loss") for r in runs), bool(score)
    apart = ranked and tuned
    panel = NARROW if apart else PANEL
    width = LEFT + panel + 20 + (2 * (GAP + panel) if apart else GAP + panel if ranked else 130)
    salt = f"{context.salt}learning"
    with style.drawing(salt):
        fig, add = style.canvas(width, HEIGHT)
        places = iter(LEFT + k * (panel + GAP) for k in range(3))

        def axes(label: str) -> Any:
            ax = add(next(places), 26, panel, HEIGHT - 82)
            ax.set(xlabel="Epoch", ylabel=label)
            return ax

        named = f" ({data['loss']})" if data.get("loss") and apart else ""
        loss = axes(f"Train loss{named}" if apart else "Loss")
        _lines(loss, runs, "train_loss", style.BASE, (5, 2))
        panels = [(loss, "train_loss")]
        if tuned:
            ax = axes(f"{'Loss' if score == 'tune_dice' else 'Cross-entropy'}, tune part") if apart else loss
            _lines(ax, runs, "tune_loss", style.ACCENT, None)
            panels = [(ax, "tune_loss")]
            if not apart:
                style.place(fig, LEFT, 11, "train", color=style.BASE, weight="bold")
                style.place(fig, LEFT + 48, 11, "tune", color=style.ACCENT, weight="bold")
        if ranked:
            ax = axes(f"{_SCORES[score]}, tune part")
            _lines(ax, runs, score, style.ACCENT, None)
            panels.append((ax, score))
        for ax, key in panels:
            _kept(ax, runs, key)
        for ax in fig.axes:
            ax.margins(x=0.03)
            ax.locator_params(axis="x", nbins=6, integer=True)
            ax.locator_params(axis="y", nbins=6)
        svg = style.to_svg(fig, salt)
    kept = any(numbers.is_number(r.get("best_epoch")) for r in runs)
    return Figure(
        svg,
        titles.learning(runs),
        f"Dashed: the part that is learned from{_CHANGED.get(score, '')}."
        f"{' Solid: the part that tunes.' if tuned or ranked else ''}"
        f"{' Losses of different kinds stand in panels of their own.' if apart else ''}"
        f"{f' One line a network ({len(runs)}).' if len(runs) > 1 else ''}"
        f"{' The circle is the epoch whose weights were kept.' if kept else ''} The test part was not used.",
        f"Learning curves. {'; '.join(_said(i, r) for i, r in enumerate(runs, 1))}.",
        _table(runs),
        width,
    )


def _lines(ax: Any, runs: Sequence[Mapping[str, Any]], key: str, colour: str, dash: tuple[int, int] | None) -> None:
    for run in runs:
        values = style.floats(run.get(key))
        line = "-" if dash is None else (0, dash)
        ax.plot(np.arange(1, values.size + 1), values, color=colour, lw=1.8 if len(runs) == 1 else 1.2, ls=line)


def _kept(ax: Any, runs: Sequence[Mapping[str, Any]], key: str) -> None:
    for run in runs:
        values, best = run.get(key) or [], run.get("best_epoch")
        if numbers.is_number(best) and 1 <= best <= len(values) and numbers.is_number(values[int(best) - 1]):
            ax.plot(best, values[int(best) - 1], "o", ms=7, mfc=style.PAPER, mec=style.INK, mew=1.4)


def _said(i: int, run: Mapping[str, Any]) -> str:
    train, best = run["train_loss"], run.get("best_epoch")
    text = (
        f"network {i}: train loss from {numbers.fixed(train[0])} to {numbers.fixed(train[-1])} in {len(train)} epochs"
    )
    if numbers.is_number(best):
        text += f", epoch {int(best)} kept"
        for key, name in (("tune_loss", "tune loss"), ("tune_auroc", "tune AUROC"), ("tune_dice", "tune Dice")):
            values = run.get(key) or []
            if 1 <= best <= len(values):
                text += f", {name} {numbers.fixed(values[int(best) - 1])}"
    return text


def _table(runs: Sequence[Mapping[str, Any]]) -> Table:
    keys = [
        (key, title)
        for key, title in (
            ("train_loss", "Train loss"),
            ("tune_loss", "Tune loss"),
            ("tune_auroc", "Tune AUROC"),
            ("tune_dice", "Tune Dice"),
        )
        if any(r.get(key) for r in runs)
    ]
    rows = []
    for i, run in enumerate(runs, 1):
        epochs, best = len(run["train_loss"]), run.get("best_epoch")
        picks = sorted({*range(1, epochs + 1, max(1, epochs // 12)), epochs, *([int(best)] if best else [])})
        for epoch in picks:
            line = [str(i)] if len(runs) > 1 else []
            cells = [num(str(epoch), epoch, strong=epoch == best)]
            for key, _ in keys:
                values = run.get(key) or []
                value = values[epoch - 1] if epoch <= len(values) else None
                cells.append(num(numbers.fixed(value, 4 if "loss" in key else 3), value, strong=epoch == best))
            rows.append([*line, *cells])
    head = [*(["Network"] if len(runs) > 1 else []), "Epoch", *(title for _, title in keys)]
    return Table(head, rows, "The kept epoch in bold")
