"""Where the study files that ship with the package are."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SHIPPED"]

_FOLDER = Path(__file__).resolve().parent.parent / "studies"

SHIPPED: dict[str, Path] = {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}
"""Study name → study file."""
