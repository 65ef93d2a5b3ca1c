"""The data block of the results: participant flow, Table 1, missing values, dates and sites, without patient rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import Binary, Cohort, CompetingRisks, Outcome, Split, Survival, Variable, is_missing
from aimed.core.cohort import SMALL_CELL
from aimed.core.outcome import Masks, Multilabel

__all__ = ["describe_data", "event_flags"]


def event_flags(outcome: Outcome | None) -> NDArray[np.bool_]:
    """Return True for rows with the event of interest, or with any finding or region, whatever the outcome type."""
    if isinstance(outcome, Binary):
        return np.asarray(outcome.values, dtype=bool)
    if isinstance(outcome, Survival):
        return np.asarray(outcome.event)
    if isinstance(outcome, CompetingRisks):
        return np.asarray(outcome.cause == 1)
    if isinstance(outcome, Multilabel):
        return np.asarray((outcome.values == 1).any(axis=1))
    if isinstance(outcome, Masks):
        return np.asarray(outcome.present.any(axis=1))
    return np.zeros(0 if outcome is None else outcome.n, dtype=bool)


def _count(count: int, total: int) -> str:
    if 0 < count < SMALL_CELL:
        return f"<{SMALL_CELL}"
    return f"{count} ({count / total:.0%})" if total else "0"


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return the standardised mean difference; None when both sides are constant."""
    if a.size < 2 or b.size < 2:
        return None
    spread = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    return float((b.mean() - a.mean()) / spread) if spread > 0 else None


def _number_row(v: Variable, values: Mapping[str, NDArray[np.float64]], missing: dict[str, int]) -> dict[str, Any]:
    known = {part: x[~np.isnan(x)] for part, x in values.items()}
    whole = np.concatenate(list(known.values()))
    if whole.size and np.isin(whole, (0.0, 1.0)).all():
        cells = {part: _count(int(x.sum()), x.size) for part, x in known.items()}
        kind = "yes/no"
    else:
        digits = 0 if np.abs(whole).max(initial=0.0) >= 100 else 1 if whole.size and np.ptp(whole) > 3 else 3
        cells = {
            part: f"{x.mean():z.{digits}f} ({x.std(ddof=1):.{digits}f})" if x.size > 1 else "–"
            for part, x in known.items()
        }
        kind = "mean (SD)"
    sides = list(known.values())
    return {
        "variable": v.name,
        "label": v.label or v.name,
        "unit": v.unit,
        "kind": kind,
        "level": None,
        "cells": cells,
        "missing": missing,
        "smd": _difference(sides[0], sides[1]) if len(sides) > 1 else None,
    }


def _category_rows(v: Variable, codes: Mapping[str, NDArray[Any]], missing: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for code, level in enumerate(v.categories):
        flags = {part: (c[c >= 0] == code).astype(np.float64) for part, c in codes.items()}
        sides = list(flags.values())
        rows.append(
            {
                "variable": v.name,
                "label": v.label or v.name,
                "unit": None,
                "kind": "n (%)",
                "level": level,
                "cells": {part: _count(int(f.sum()), f.size) for part, f in flags.items()},
                "missing": missing if code == 0 else {},
                "smd": _difference(sides[0], sides[1]) if len(sides) > 1 else None,
            }
        )
    return rows


def describe_data(cohort: Cohort, split: Split, digest: str) -> dict[str, Any]:
    """Return the ``data`` block of the results.

    Parameters
    ----------
    cohort : Cohort
    split : Split
    digest : str
        SHA-256 of the cohort's content.
    """
    events = event_flags(cohort.outcome)
    parts = split.parts
    table: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    for v in cohort.variables:
        if v.kind not in ("number", "category") or v.role in ("outcome", "treatment"):
            continue
        column = cohort.columns[v.name]
        empty = is_missing(column, v.kind)
        missing = {part: int(empty[rows].sum()) for part, rows in parts.items()}
        if v.kind == "number":
            table.append(_number_row(v, {p: column[rows] for p, rows in parts.items()}, missing))
        elif len(v.categories) <= 12:
            table += _category_rows(v, {p: column[rows] for p, rows in parts.items()}, missing)
        if empty.any():
            gaps.append(
                {
                    "variable": v.name,
                    "label": v.label or v.name,
                    "n_missing": int(empty.sum()),
                    "fraction": float(empty.mean()),
                    "by_outcome": {
                        "event": float(empty[events].mean()) if events.any() else None,
                        "no_event": float(empty[~events].mean()) if (~events).any() else None,
                    },
                }
            )
    dates = None
    if cohort.time is not None and not np.isnat(cohort.time).all():
        known = cohort.time[~np.isnat(cohort.time)]
        dates = {"first": str(known.min())[:10], "last": str(known.max())[:10]}
    sites = None
    if cohort.site is not None:
        names, counts = np.unique(cohort.site, return_counts=True)
        sites = {
            str(name): int(n) if n >= SMALL_CELL else f"<{SMALL_CELL}" for name, n in zip(names, counts, strict=True)
        }
    return {
        "source": cohort.source,
        "digest": digest,
        "rows": cohort.n,
        "patients": cohort.patients,
        "flow": [{"step": s.step, "removed": s.removed, "remaining": s.remaining} for s in cohort.flow],
        "parts": {
            part: {
                "n": int(rows.size),
                "patients": int(np.unique(cohort.patient[rows]).size),
                "events": int(events[rows].sum()),
            }
            for part, rows in parts.items()
        },
        "table1": {"parts": list(parts), "rows": table},
        "missing": sorted(gaps, key=lambda g: -g["fraction"]),
        "dates": dates,
        "sites": sites,
    }
