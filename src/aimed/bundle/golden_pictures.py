"""Golden pictures: drawn chests and broken files with the answers given at packing, asked again at every load."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.bundle.pictures import PictureBundle, PredictedPicture
from aimed.core import AimedError, BundleError, MissingExtraError
from aimed.core.image import ImageRefused
from aimed.readers.picture_file import pillow
from aimed.synthetic import draw_chest

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "check", "make", "synthetic_pictures"]

TOLERANCE, HALF_TOLERANCE = 2e-4, 0.03
"""Largest difference in an uncalibrated probability between packing and loading, in full and in half precision."""

_EXACT = 1e-9
_UNFIT = (
    AimedError, KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RuntimeError,
)  # fmt: skip
_LEAST = 8
_DRAWN: tuple[tuple[dict[str, float], str, float, float], ...] = (
    ({}, "PA", 1.5, 1.0),
    ({"effusion": 0.9}, "PA", 1.5, 0.8),
    ({"nodule": 0.8}, "AP", 1.0, 1.0),
    ({"cardiomegaly": 0.9}, "PA", 2.0, 0.9),
    ({"pneumothorax": 0.9}, "PA", 0.7, 1.0),
    ({"consolidation": 0.9, "effusion": 0.5}, "AP", 1.5, 1.0),
)


def synthetic_pictures(size: int, bits: int) -> dict[str, bytes]:
    """Draw chests with and without findings as PNG files, never of patients, and break two of them.

    Parameters
    ----------
    size : int
        Side of the model's frames; pictures are smaller, larger, and not all square.
    bits : {8, 16}

    Returns
    -------
    dict of str to bytes, length 8
        By the name of a member. Stored, not drawn again: another version of a library may draw otherwise.

    Examples
    --------
    >>> sorted(synthetic_pictures(32, 8))[0]
    'golden_1.png'
    """
    files: list[bytes] = []
    for number, (findings, view, larger, share) in enumerate(_DRAWN):
        side = int(np.clip(round(larger * size), 64, 2048))
        pixels = draw_chest(number, findings=findings, view=view, size=side).pixels[: max(1, int(share * side))]
        # Twelve bits to the depth of the model.
        grey = (pixels >> 4).astype(np.uint8) if bits == 8 else (pixels << 4).astype(np.uint16)
        out = io.BytesIO()
        pillow().fromarray(grey).save(out, "PNG")
        files.append(out.getvalue())
    files += [files[0][: len(files[0]) // 2], b"no picture\n"]
    return {f"golden_{number}.png": data for number, data in enumerate(files, start=1)}


def make(bundle: PictureBundle, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return golden cases with the bundle's own answers.

    Parameters
    ----------
    bundle : PictureBundle
    files : mapping of str to bytes
        From `synthetic_pictures`.

    Returns
    -------
    dict
        ``note``, ``tolerance`` and ``cases``: of each file its probabilities before calibration and what is predicted.
    """
    raw = _raw(bundle, list(files.values()))
    answers = bundle.predict(list(files.values()), names=list(files), n_jobs=1)
    return {
        "schema": 1,
        "note": "Drawn chests and broken files; no patient.",
        "tolerance": _tolerance(bundle),
        "cases": [
            {"file": answer.file, "raw": one, **_facts(answer), **_settled(bundle, one)}
            for one, answer in zip(raw, answers, strict=True)
        ],
    }


def check(bundle: PictureBundle, golden: Mapping[str, Any]) -> None:
    """Ask the golden cases again.

    Raises
    ------
    BundleError
        If there are fewer than 8, an answer differs by more than the tolerance, or a refusal has changed.

    Notes
    -----
    Networks may differ in their last bits from machine to machine, and a steep calibration would enlarge that; so their
    own probabilities are compared, and calibration, thresholds and sets on the probabilities that were packed.
    """
    try:
        cases = golden["cases"]
        files = [bundle.member(case["file"]) for case in cases]
        raw = _raw(bundle, files)
        answers = list(bundle.predict(files, names=[case["file"] for case in cases], n_jobs=1))
        if len(cases) < _LEAST:
            raise BundleError(f"{len(cases)} golden cases", f"at least {_LEAST}", "pack again")
        different = sum(
            not _same(bundle, one, answer, case) for one, answer, case in zip(raw, answers, cases, strict=True)
        )
    except (BundleError, MissingExtraError):
        raise
    # The model and its cases come from outside: whatever fails while they run means that they do not fit.
    except (
        AimedError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise BundleError(
            f"the golden cases could not be run ({type(error).__name__})", "cases packed with the model", "pack again"
        ) from error
    if different:
        raise BundleError(
            f"{different} of {len(cases)} golden cases have another answer",
            f"the packed answers within {_tolerance(bundle):g}",
            "install the versions that the manifest lists, or pack the model again",
        )


def _tolerance(bundle: PictureBundle) -> float:
    return HALF_TOLERANCE if bundle.model.classifier.precision_["used"] == "bf16-mixed" else TOLERANCE


def _raw(bundle: PictureBundle, files: list[bytes]) -> list[list[float] | None]:
    """Return the probabilities of each file before calibration, None where it is refused."""
    out: list[list[float] | None] = []
    for data in files:
        try:
            frame, _ = bundle.read(data)
        except ImageRefused:
            out.append(None)
            continue
        out.append(bundle.runtime(frame[None]).mean(axis=0)[0].tolist())
    return out


def _facts(answer: PredictedPicture) -> dict[str, Any]:
    """Return what does not go through the network."""
    return {"sha256": answer.sha256, "code": answer.code, "warnings": [w["code"] for w in answer.warnings]}


def _settled(bundle: PictureBundle, raw: list[float] | None) -> dict[str, Any]:
    """Return what calibration, thresholds and sets make of probabilities."""
    if raw is None:
        return {"risk": None, "present": None, "sets": None}
    model = bundle.model
    risk = model.calibrated(np.array([raw], dtype=np.float64))
    return {
        "risk": risk[0].tolist(),
        "present": [None if v != v else bool(v) for v in model.decided(risk)[0].tolist()],
        "sets": None if model.conformal is None else model.conformal.transform(risk)[0].tolist(),
    }


def _same(bundle: PictureBundle, raw: list[float] | None, got: PredictedPicture, want: Mapping[str, Any]) -> bool:
    facts, packed = _facts(got), want["raw"]
    if any(facts[name] != want[name] for name in facts) or (raw is None) != (packed is None):
        return False
    if raw is None or packed is None:
        return got.risk is None and want["risk"] is None
    if len(packed) != len(raw) or not np.allclose(raw, packed, rtol=0, atol=_tolerance(bundle)):
        return False
    # What the packed probabilities became then, they have to become now.
    settled = _settled(bundle, packed)
    return (
        np.allclose(settled["risk"], want["risk"], rtol=0, atol=_EXACT)
        and settled["present"] == want["present"]
        and settled["sets"] == want["sets"]
    )
