"""Write docs/reference from the catalogues and the command line, so that it cannot fall behind the code."""

from __future__ import annotations

import sys
from pathlib import Path

from typer.main import get_command

from aimed.cli.app import app
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


PAGES = {"catalogues.md": catalogue_page, "command-line.md": command_page}


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
