"""How a run shows its progress: bars on a terminal, one line a stage in a log, nothing with --json."""

from __future__ import annotations

from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aimed.cli.show import console, findings_table
from aimed.core import Finding
from aimed.study.reporter import Reporter

__all__ = ["Bars", "Lines", "reporter"]


class Lines(Reporter):
    """One line a stage, for logs, and a line now and then of a stage that takes long."""

    def __init__(self, out: Console, every: float = 30.0) -> None:
        self.out, self.every = out, every
        self.stage, self.began, self.said = "", monotonic(), monotonic()

    def started(self, stage: str) -> None:
        """Note when the stage began."""
        self.stage, self.began, self.said = stage, monotonic(), monotonic()

    def advanced(self, share: float, text: str = "") -> None:
        """Print how far a long stage is, and the time left."""
        now = monotonic()
        if now - self.said >= self.every and 0.0 < share < 1.0:
            self.said = now
            left = (now - self.began) * (1.0 - share) / share
            self.out.print(f"{self.stage}: {share:.0%}, about {left:.0f} s left", markup=False)

    def finished(self, stage: str, seconds: float, resumed: bool) -> None:
        """Print the stage and its seconds."""
        self.out.print(f"{stage}: {'kept' if resumed else f'{seconds:.1f} s'}")

    def found(self, findings: list[Finding]) -> None:
        """Print what is more than a note."""
        for f in findings:
            if f.severity != "NOTE":
                self.out.print(f"{f.severity} {f.where}: {f.message}", markup=False)


class Bars(Reporter):
    """A list of stages that fills in, with a bar and the time left for the running one."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.progress: Progress | None = None
        self.task = TaskID(0)

    def started(self, stage: str) -> None:
        """Show a bar for the stage."""
        self.progress = Progress(
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[what]}"),
            console=self.out,
            transient=True,
        )
        self.progress.start()
        self.task = self.progress.add_task(stage, total=1.0, what="")

    def advanced(self, share: float, text: str = "") -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(self.task, completed=share, what=text)

    def close(self) -> None:
        """Take the bar away, after an error too."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def finished(self, stage: str, seconds: float, resumed: bool) -> None:
        """Tick the stage off."""
        self.close()
        self.out.print(f"  [green]✓[/] {stage:<10} {'kept from an earlier run' if resumed else f'{seconds:.1f} s'}")

    def found(self, findings: list[Finding]) -> None:
        """Print what is more than a note as a table."""
        self.close()
        warned = [f for f in findings if f.severity != "NOTE"]
        if warned:
            findings_table(warned)


def reporter(quiet: bool) -> Reporter:
    """Return the reporter that fits: silent, lines or bars."""
    if quiet:
        return Reporter()
    out = console(stderr=True)
    return Bars(out) if out.is_terminal else Lines(out)
