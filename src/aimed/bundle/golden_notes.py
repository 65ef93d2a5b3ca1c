"""Golden notes: made-up reports, odd ones among them, with the answers given at packing, asked again at every load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.bundle.notes import NoteBundle, PredictedNote
from aimed.core import AimedError, BundleError

__all__ = ["NOTES", "TOLERANCE", "check", "make"]

TOLERANCE = 1e-5
"""Largest difference in a risk between packing and loading."""

NOTES = (
    "FINDINGS: The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax.\n"
    "IMPRESSION: No acute cardiopulmonary abnormality.",
    "FINDINGS: The cardiac silhouette is enlarged. Small left pleural effusion with adjacent atelectasis.\n"
    "IMPRESSION: Cardiomegaly and small left effusion.",
    "INDICATION: Cough, rule out pneumonia.\nFINDINGS: Patchy opacity in the right lower lobe, which may represent "
    "pneumonia or atelectasis.\nIMPRESSION: Possible right lower lobe pneumonia.",
    "IMPRESSION: 1. Mild pulmonary edema. 2. Right internal jugular catheter with tip in the superior vena cava.",
    "Hyperexpanded lungs with flattened diaphragms, in keeping with emphysema. No focal consolidation.",
    "There is a 12 mm nodule in the left upper lobe. CT is recommended.",
    "The previously seen right pneumothorax has resolved. Stable biapical scarring.",
    "NO ACUTE DISEASE. OLD HEALED RIB FRACTURES ON THE LEFT.",
    "heart size upper limits of normal lungs clear no effusion",
    "",
    "FINDINGS:\nIMPRESSION:",
    "Das Herz ist nicht vergrößert. Kein Pleuraerguss und kein Pneumothorax. Die Lunge ist unauffällig belüftet.",
)


def make(bundle: NoteBundle) -> dict[str, Any]:
    """Return golden cases with the bundle's own answers."""
    return {
        "schema": 1,
        "note": "Made-up reports; no patient.",
        "tolerance": TOLERANCE,
        "notes": list(NOTES),
        "expected": [_record(row) for row in bundle.predict(NOTES)],
    }


def _record(row: PredictedNote) -> dict[str, Any]:
    return {"risk": row.risk, "present": row.present, "code": row.code, "warnings": [w["code"] for w in row.warnings]}


def check(bundle: NoteBundle, golden: Mapping[str, Any]) -> None:
    """Ask the golden cases again.

    Raises
    ------
    BundleError
        If there are fewer than 8, an answer differs by more than `TOLERANCE`, or a refusal has changed.
    """
    try:
        expected = golden["expected"]
        got = bundle.predict([str(note) for note in golden["notes"]])
        if len(got) < 8 or len(got) != len(expected):
            raise BundleError(f"{min(len(got), len(expected))} golden cases", "at least 8", "pack again")
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
    if got["risk"] is None or want["risk"] is None:
        return got["risk"] is want["risk"]
    # A risk at its threshold may fall on either side of it; risks are compared, not what is called.
    return set(got["risk"]) == set(want["risk"]) and all(
        abs(value - want["risk"][key]) <= TOLERANCE for key, value in got["risk"].items()
    )
