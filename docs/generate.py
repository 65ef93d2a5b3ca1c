"""Write docs/reference from the catalogues and the command line, so that it cannot fall behind the code."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.main import get_command

from aimed.cli.app import app
from aimed.metrics import METRICS
from aimed.study.catalogs import catalogs

HERE = Path(__file__).parent / "reference"


def catalogue_page() -> str:
    """Return every catalogue as tables."""
    lines = ["# What there is", "", "Written by `make docs`; the same as `aimed list`.", ""]
    for title, entries in catalogs().items():
        lines += [f"## {title}", "", "| name | what it is |", "|---|---|"]
        lines += [f"| `{name}` | {summary.replace('|', chr(92) + '|')} |" for name, summary in entries.items()]
        lines.append("")
    return "\n".join(lines)


def command_page() -> str:
    """Return every verb with its arguments and options."""
    lines = ["# The command line", "", "Written by `make docs`; the same as `aimed VERB --help`.", ""]
    group = get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        lines += [f"## aimed {name}", "", (command.help or "").strip(), ""]
        for parameter in command.params:
            if parameter.name == "help":
                continue
            shown = ", ".join(f"`{o}`" for o in parameter.opts) if parameter.opts else f"`{parameter.name}`"
            lines.append(f"- {shown}: {(getattr(parameter, 'help', '') or '').strip()}")
        lines.append("")
    return "\n".join(lines)


ASPECTS = ("Formula", "Range", "Assumes", "Refuses")
"""What every metric's docstring says in its notes."""


def section(function: Callable[..., Any], title: str) -> str:
    """Return one numpydoc section of a docstring, as one paragraph."""
    text = inspect.getdoc(function) or ""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=\n\n\w[\w ]*\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return found.group(1).strip() if found else ""


def aspects(function: Callable[..., Any]) -> dict[str, str]:
    """Return formula, range, assumptions and refusals of a metric, from the notes of its docstring."""
    notes = section(function, "Notes")
    cuts = "|".join(ASPECTS)
    found = re.findall(rf"^({cuts}): (.*?)(?=^(?:{cuts}): |\Z)", notes, re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def metrics_page() -> str:
    """Return every metric with its formula, range, assumptions, refusals and sources."""
    lines = [
        "# Metrics",
        "",
        "Written by `make docs` from the docstrings. Every function takes plain arrays and returns a number, or a",
        "curve, with `.value`, `.lower`, `.upper`, `.se` and `.n`: `from aimed.metrics import auroc`. Scores are",
        "risks: higher is worse. An event at a horizon counts as by the horizon. `help(auroc)` has the arguments.",
        "",
    ]
    for name, entry in METRICS.entries().items():
        function = entry.load()
        lines += [f"## {name}", "", entry.summary, "", f"`{name}{_shown(function)}`", ""]
        lines += [f"- **{aspect}.** {text}" for aspect, text in aspects(function).items()]
        sources = " ".join(section(function, "References").split())
        lines += [f"- **Source.** {sources}" if sources else "", ""]
    return "\n".join(lines)


def _shown(function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return str(inspect.Signature(bare))


PAGES = {"metrics.md": metrics_page, "catalogues.md": catalogue_page, "command-line.md": command_page}


def main() -> int:
    """Write the pages; with --check, say whether they are up to date."""
    stale = []
    HERE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        text = make()
        path = HERE / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run: make docs")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
