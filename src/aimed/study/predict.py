"""Predicting with a packaged model on a new table, row by row, refusals included."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aimed.bundle.effects import EffectBundle, PredictedEffect, effect_table
from aimed.bundle.load import AnyBundle, load
from aimed.bundle.notes import PredictedNote
from aimed.bundle.predict import Bundle, PredictedRow, table
from aimed.readers.table import raw_columns
from aimed.study.store import write_atomic

__all__ = ["open_bundle", "predict_table", "refusals", "safe_cell", "to_csv"]


def open_bundle(folder: str | Path) -> AnyBundle:
    """Load and verify a bundle, given as its folder or as the run folder that holds it.

    Raises
    ------
    BundleError
        If the bundle fails verification.
    """
    path = Path(folder)
    inner = path / "bundle"
    return load(inner if not (path / "manifest.json").exists() and inner.is_dir() else path)


def predict_table(
    bundle: Bundle | EffectBundle,
    source: Any,
    *,
    unit: str | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> list[PredictedRow] | list[PredictedEffect]:
    """Predict every row of a table that fits the schema of a bundle.

    Parameters
    ----------
    bundle : Bundle or EffectBundle
        From `open_bundle`.
    source : str, path or frame
    unit : str, optional
        Column of ids to carry along.
    encoding, separator : str
        Of a text file.

    Raises
    ------
    DataError
        If the table lacks a column the model needs.
    """
    needed = list(dict.fromkeys([*(one.name for one in bundle.schema.inputs), *([unit] if unit else [])]))
    columns, _ = raw_columns(source, needed, encoding=encoding, separator=separator)
    return bundle.predict(columns, id_column=unit)


def refusals(rows: Sequence[PredictedRow | PredictedEffect | PredictedNote]) -> dict[str, int]:
    """Return how many rows were refused for each code."""
    found: dict[str, int] = {}
    for row in rows:
        if row.code:
            found[row.code] = found.get(row.code, 0) + 1
    return found


def safe_cell(value: Any) -> Any:
    """Return a value for a CSV file, marked as text where a spreadsheet would run it as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def to_csv(
    rows: Sequence[PredictedRow] | Sequence[PredictedEffect],
    bundle: Bundle | EffectBundle,
    path: str | Path | None = None,
) -> str:
    """Return predictions as CSV text, and write it whole when a path is given."""
    effects = [row for row in rows if isinstance(row, PredictedEffect)]
    risks = [row for row in rows if isinstance(row, PredictedRow)]
    columns = table(risks, bundle.horizons) if isinstance(bundle, Bundle) else effect_table(effects)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(v) for v in row] for row in zip(*columns.values(), strict=True))
    if path is not None:
        write_atomic(Path(path), buffer.getvalue())
    return buffer.getvalue()
