"""How work on many files shows its progress: counts and the time left, never a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.progress import BarColumn, Progress, TextColumn

from aimed.cli.show import console

__all__ = ["counted"]


@contextmanager
def counted(quiet: bool, every: float = 10.0) -> Iterator[Callable[[int, int, int, float], None] | None]:
    """Give a function that shows files done, in all and refused, and the seconds left: a bar, or some lines."""
    out = console(stderr=True)
    if quiet:
        yield None
        return
    if not out.is_terminal:
        shown = monotonic()

        def line(done: int, total: int, refused: int, left: float) -> None:
            nonlocal shown
            if done == total or monotonic() - shown >= every:
                shown = monotonic()
                out.print(f"{done} of {total} files, {refused} refused, {left:.0f} s left", markup=False)

        yield line
        return
    with Progress(
        TextColumn("  {task.completed:.0f} of {task.total:.0f} files"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[what]}"),
        console=out,
        transient=True,
    ) as progress:
        task = progress.add_task("files", total=1, what="")

        def bar(done: int, total: int, refused: int, left: float) -> None:
            progress.update(task, completed=done, total=total, what=f"{refused} refused, {left:.0f} s left")

        yield bar
