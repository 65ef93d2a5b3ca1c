"""What the terminal shows: tables, the verdict panel, and JSON instead of both."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from aimed.core import Finding
    from aimed.study.run import Run

__all__ = ["NOTICE", "console", "findings_table", "number", "print_json", "verdict_panel"]

NOTICE = "Research software. Not a medical device."
"""Said wherever a result is shown."""

_MARK = {"met": ("✓", "green"), "not met": ("✗", "red"), "not enough evidence": ("?", "yellow")}
_COLOUR = {"STOP": "red", "WARN": "yellow", "NOTE": "cyan"}


def console(stderr: bool = False) -> Console:
    """Return a terminal; colour is off when it is not one or NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def print_json(record: Any) -> None:
    """Print one JSON object."""
    from aimed.study.store import jsonable

    sys.stdout.write(json.dumps(jsonable(record), indent=1, ensure_ascii=False) + "\n")


def number(measure: dict[str, Any]) -> str:
    """Return a value with its interval."""
    if measure["value"] is None:
        return "not estimable"
    if measure["lower"] is None or measure["upper"] is None:
        return f"{measure['value']:.3f}"
    return f"{measure['value']:.3f} ({measure['lower']:.3f} to {measure['upper']:.3f})"


def findings_table(findings: list[Finding] | list[dict[str, Any]]) -> None:
    """Print what the checks saw."""
    from rich.markup import escape
    from rich.table import Table

    out = console()
    table = Table("severity", "where", "what", "advice", title="What the checks saw", title_justify="left")
    for found in findings:
        f = found if isinstance(found, dict) else found.to_dict()
        colour = _COLOUR[f["severity"]]
        table.add_row(f"[{colour}]{f['severity']}[/]", escape(f["where"]), escape(f["message"]), escape(f["advice"]))
    out.print(table if findings else "The checks saw nothing to report.")


def verdict_panel(run: Run) -> None:
    """Print the verdict of a run, with the path of its report."""
    from rich.markup import escape
    from rich.panel import Panel

    results = run.results
    primary = results["study"]["primary"]
    lines = [f"[bold]{escape(results['study']['title'])}[/]", f"model: {escape(results['model']['title'])}"]
    for c in results["verdict"]["criteria"]:
        mark, colour = _MARK.get(c["state"], ("–", "white"))
        lines.append(f"[{colour}]{mark} {c['state']}[/]  {escape(c['text'])}  {number(c)}")
    lines.append(f"{primary}: {number(results['performance']['measures'][primary])}")
    lines.append(f"test part opened: {results['verdict']['openings']}")
    lines.append(f"report: {escape(str(run.report))}")
    lines.append(f"[dim]{NOTICE}[/]")
    console().print(Panel("\n".join(lines), title=f"verdict: {results['verdict']['state']}", title_align="left"))
