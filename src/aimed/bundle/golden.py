"""Golden cases: made-up rows with the answers the model gave when it was packed, asked again at every load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aimed.bundle.effects import EffectBundle, PredictedEffect
from aimed.bundle.predict import Bundle, PredictedRow
from aimed.bundle.schema import Input, Schema
from aimed.core import AimedError, BundleError

__all__ = ["TOLERANCE", "check", "make", "synthetic_rows"]

TOLERANCE = 1e-6
"""Largest difference in a risk or a score between packing and loading."""

_INSIDE, _BEYOND, _REFUSED = 40, 4, 4


def synthetic_rows(schema: Schema, seed: int = 0) -> dict[str, list[Any]]:
    """Draw rows from the ranges and categories of a schema, never from patients.

    Parameters
    ----------
    schema : Schema
    seed : int

    Returns
    -------
    dict of str to list, length 48
        40 rows inside the training ranges, about a tenth of their values missing where they may be; 4 at the
        ends of the plausible ranges; 4 that are to be refused.

    Examples
    --------
    >>> schema = Schema(inputs=(Input(name="age", kind="number", plausible=(18, 90), training_range=(30, 70)),))
    >>> ages = synthetic_rows(schema)["age"]
    >>> len(ages), ages[40], max(a for a in ages[:40] if a is not None) <= 70
    (48, 18.0, True)
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {}
    for j, one in enumerate(schema.inputs):
        draws = [_inside(one, rng) for _ in range(_INSIDE)]
        gaps = rng.random(_INSIDE) < 0.1
        values: list[Any] = [None if gap and not one.required else v for gap, v in zip(gaps, draws, strict=True)]
        if one.kind == "number":
            low, high = one.plausible or one.training_range or (0.0, 1.0)
            values += [float(low if k % 2 == 0 else high) for k in range(_BEYOND)]
        else:
            values += [_inside(one, rng) for _ in range(_BEYOND)]
        refused = [_inside(one, rng) for _ in range(_REFUSED)]
        # One input at a time is wrong, so that every kind of refusal is tried by its own row.
        if j < _REFUSED:
            refused[j] = "not a level or a number"
        columns[one.name] = values + refused
    return columns


def _inside(one: Input, rng: np.random.Generator) -> Any:
    if one.kind == "category":
        return str(rng.choice(one.categories)) if one.categories else None
    low, high = one.training_range or one.plausible or (0.0, 1.0)
    # Four digits keep the file readable and the row clearly made up.
    return float(np.clip(float(f"{rng.uniform(low, high):.4g}"), low, high))


def make(bundle: Bundle | EffectBundle) -> dict[str, Any]:
    """Return golden cases with the bundle's own answers.

    Parameters
    ----------
    bundle : Bundle or EffectBundle

    Returns
    -------
    dict
        ``note``, ``inputs`` (columns) and ``expected`` (one record a row: its numbers, code, warnings).
    """
    inputs = synthetic_rows(bundle.schema)
    return {
        "schema": 1,
        "note": "Made-up rows drawn from the schema; no patient.",
        "tolerance": TOLERANCE,
        "inputs": inputs,
        "expected": [_record(row) for row in bundle.predict(inputs)],
    }


def _record(row: PredictedRow | PredictedEffect) -> dict[str, Any]:
    return {**row.answers(), "code": row.code, "warnings": [w["code"] for w in row.warnings]}


def check(bundle: Bundle | EffectBundle, golden: Mapping[str, Any]) -> None:
    """Ask the golden cases again.

    Raises
    ------
    BundleError
        If there are fewer than 32, an answer differs by more than `TOLERANCE`, or a refusal has changed.
    """
    try:
        expected: Sequence[Mapping[str, Any]] = golden["expected"]
        got: Sequence[PredictedRow | PredictedEffect] = bundle.predict(golden["inputs"])
        if len(got) < 32 or len(got) != len(expected):
            raise BundleError(
                f"{min(len(got), len(expected))} golden cases", "at least 32 cases, each with an answer", "pack again"
            )
        different = sum(not _same(_record(row), want) for row, want in zip(got, expected, strict=True))
    except BundleError:
        raise
    # The model and its cases come from outside: whatever fails while they run means that they do not fit.
    except (AimedError, KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise BundleError(
            f"the golden cases could not be run ({type(error).__name__})", "cases packed with the model", "pack again"
        ) from error
    if different:
        raise BundleError(
            f"{different} of {len(got)} golden cases have another answer",
            f"the packed answers within {TOLERANCE:g}",
            "install the versions that the manifest lists, or pack the model again",
        )


def _same(got: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    if got["code"] != want["code"] or got["warnings"] != want["warnings"]:
        return False
    return all(_near(value, want[name]) for name, value in got.items() if name not in ("code", "warnings"))


def _near(got: Any, want: Any) -> bool:
    if got is None or want is None:
        return got is want
    a, b = (list(v) if isinstance(v, list) else [v] for v in (got, want))
    return len(a) == len(b) and all(abs(x - y) <= TOLERANCE * max(1.0, abs(y)) for x, y in zip(a, b, strict=True))
