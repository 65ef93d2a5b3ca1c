"""Golden volumes: drawn heads and a broken file with the answers given at packing, asked again at every load."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.volumes import PredictedVolume, VolumeBundle
from aimed.core import AimedError, BundleError, MissingExtraError
from aimed.core.volume import Volume
from aimed.diagnosis.outlines_model import OutlinesModel
from aimed.diagnosis.volume_preparation import was_resampled
from aimed.readers.nifti import write_nifti
from aimed.synthetic import draw_brain
from aimed.trust.expected_dice import expected_dice

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "check", "make", "synthetic_volumes"]

TOLERANCE, HALF_TOLERANCE = 0.005, 0.1
"""By how much 99 of 100 probabilities may differ between packing and loading, in full and in half precision; their mean
difference may be a fifth of it."""

_EXACT = 1e-9
_LEAST = 3
_BOUNDS = ("ml", "lower", "upper")
_COUNTS = 0.001
_UNFIT = (
    AimedError, KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RuntimeError, MemoryError,
)  # fmt: skip


def synthetic_volumes(model: OutlinesModel) -> dict[str, bytes]:
    """Draw two small heads as NIfTI files, never of patients, and break a third.

    Parameters
    ----------
    model : OutlinesModel
        Whose channels and spacing they have; the second lies otherwise and has larger voxels.

    Returns
    -------
    dict of str to bytes, length 3
        By the name of a member. Stored, not drawn again: another version of a library may draw otherwise.
    """
    spacing = model.preparation.spacing or (3.0, 3.0, 3.0)
    drawn = (((24, 22, 20), 1.0, "RAS"), ((18, 20, 19), 1.25, "LPS"))
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (shape, larger, code) in enumerate(drawn):
            head = draw_brain(number + 1, size=shape).image.array
            affine = np.diag([*(larger * mm for mm in spacing[::-1]), 1.0])
            scan = Volume(array=_channels(head, model), affine=affine, channels=model.channels).reoriented(code)
            path = Path(folder) / "head.nii.gz"
            write_nifti(scan, path)
            files.append(path.read_bytes())
    files.append(files[0][: len(files[0]) // 2])
    return {f"golden_{number}.nii.gz": data for number, data in enumerate(files, start=1)}


def _channels(head: NDArray[np.int16], model: OutlinesModel) -> NDArray[np.int16]:
    """Return as many channels as the model takes, in Hounsfield units where it takes those."""
    several = np.stack([head[place % len(head)] for place in range(len(model.channels))])
    if not model.preparation.keeps_units:
        return several
    scaling = model.segmenter.scaling_
    grey = several / max(1, int(several.max())) * (scaling.high - scaling.low) + scaling.low
    return np.where(several == 0, -1000, np.clip(grey, -1000, 3000)).astype(np.int16)


def make(bundle: VolumeBundle, files: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return golden cases with the bundle's own answers.

    Parameters
    ----------
    bundle : VolumeBundle
    files : mapping of str to bytes
        From `synthetic_volumes`.

    Returns
    -------
    golden : dict
        ``note``, ``tolerance`` and ``cases``: of each file what is predicted, with a hash of its map of labels.
    members : dict of str to bytes
        Probabilities of each head, as plain numbers of two bytes.
    """
    members: dict[str, bytes] = {}
    cases = []
    for place, (name, answer) in enumerate(_asked(bundle, files), start=1):
        case: dict[str, Any] = {"file": name, **_facts(answer), "chance": None, "shape": None, "settled": None}
        if answer.outlined is not None:
            chance = answer.outlined.probability.astype("<f2")
            case["chance"], case["shape"] = f"golden_{place}.f2", list(chance.shape)
            case["settled"] = _settled(bundle.model, chance, answer.outlined.prepared)
            members[case["chance"]] = chance.tobytes()
        cases.append(case)
    return {
        "schema": 1,
        "note": "Drawn heads and a broken file; no patient.",
        "tolerance": _tolerance(bundle),
        "cases": cases,
    }, members


def check(bundle: VolumeBundle, golden: Mapping[str, Any]) -> None:
    """Ask the golden cases again.

    Raises
    ------
    BundleError
        If there are fewer than 3, an answer differs by more than the tolerance, or a refusal has changed.

    Notes
    -----
    Networks differ in their last bits from machine to machine, and voxels at the edge of an outline then change sides;
    so probabilities are compared within a tolerance, and outlines, volumes and intervals are made of the packed
    probabilities again: to the bit, and for a scan that was resampled within 0.1 % of the voxels of a region.
    """
    try:
        cases = golden["cases"]
        answers = _asked(bundle, {case["file"]: bundle.member(case["file"]) for case in cases})
        if len(cases) < _LEAST or sum(case["chance"] is not None for case in cases) < _LEAST - 1:
            raise BundleError(f"{len(cases)} golden cases", f"at least {_LEAST}", "pack again")
        different = sum(not _same(bundle, answer, case) for (_, answer), case in zip(answers, cases, strict=True))
    except (BundleError, MissingExtraError):
        raise
    # The model and its cases come from outside: whatever fails while they run means that they do not fit.
    except _UNFIT as error:
        raise BundleError(
            f"the golden cases could not be run ({type(error).__name__})", "cases packed with the model", "pack again"
        ) from error
    if different:
        raise BundleError(
            f"{different} of {len(cases)} golden cases have another answer",
            f"the packed answers within {_tolerance(bundle):g}",
            "install the versions that the manifest lists, or pack the model again",
        )


def _tolerance(bundle: VolumeBundle) -> float:
    engines = ((bundle.manifest.get("serving") or {}).get("onnx") or {}).get("engines") or {}
    half = (engines.get("openvino_half") or {}).get("passed") is True
    half = half or bundle.model.segmenter.precision_["used"] == "bf16-mixed"
    return HALF_TOLERANCE if half else TOLERANCE


def _asked(bundle: VolumeBundle, files: Mapping[str, bytes]) -> list[tuple[str, PredictedVolume]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for place, data in enumerate(files.values()):
            paths.append(Path(folder) / f"{place}.nii.gz")
            paths[-1].write_bytes(data)
        return list(zip(files, bundle.predict(paths), strict=True))


def _facts(answer: PredictedVolume) -> dict[str, Any]:
    """Return what does not go through the networks."""
    codes = [w["code"] for w in answer.warnings if w["code"] != "UNUSUAL_VOLUME"]
    return {"sha256": answer.sha256, "code": answer.code, "warnings": codes}


def _settled(model: OutlinesModel, chance: NDArray[np.float16], prepared: Volume) -> dict[str, Any]:
    """Return what rules, the way back and intervals make of probabilities."""
    head, values = model.segmenter.head_, chance.astype(np.float32)
    found = model.segmenter.cleaned(head.decided(values))
    masks = model.masks_back(values, found, prepared)
    soft = [expected_dice(*pair) for pair in zip(values, found, strict=True)]
    voxel_ml = prepared.origin.voxel_ml
    return {
        "labels_sha256": hashlib.sha256(np.ascontiguousarray(head.painted(masks)).data).hexdigest(),
        "exact": not was_resampled(prepared),
        "voxels": masks.sum(axis=(1, 2, 3)).tolist(),
        "volumes": model.volumes_of(masks, voxel_ml),
        "expected_dice": [
            None if fitted is None else fitted.predict(value) for fitted, value in zip(model.quality, soft, strict=True)
        ],
    }


def _same(bundle: VolumeBundle, got: PredictedVolume, want: Mapping[str, Any]) -> bool:
    facts = _facts(got)
    if any(facts[name] != want[name] for name in facts) or (got.outlined is None) != (want["chance"] is None):
        return False
    if got.outlined is None:
        return True
    seen = got.outlined.probability
    data = bundle.member(want["chance"])
    if list(seen.shape) != want["shape"] or len(data) != 2 * seen.size:
        return False
    packed = np.frombuffer(data, dtype="<f2").reshape(seen.shape)
    apart, limit = np.abs(seen - packed.astype(np.float32)), _tolerance(bundle)
    if not (float(np.quantile(apart, 0.99)) <= limit and float(apart.mean()) <= limit / 5):
        return False
    # What the packed probabilities became then, they have to become now.
    now, then = _settled(bundle.model, packed, got.outlined.prepared), want["settled"]
    if now["exact"] != then["exact"] or set(now["volumes"]) != set(then["volumes"]):
        return False
    if now["exact"]:
        return now["labels_sha256"] == then["labels_sha256"] and _near(now, then, _EXACT)
    slack = [max(2.0, _COUNTS * n) for n in then["voxels"]]
    moved = np.abs(np.array(now["voxels"]) - np.array(then["voxels"]))
    return bool((moved <= slack).all())


def _near(now: Mapping[str, Any], then: Mapping[str, Any], slack: float) -> bool:
    pairs = [(now["volumes"][key][name], then["volumes"][key][name]) for key in now["volumes"] for name in _BOUNDS]
    pairs += list(zip(now["expected_dice"], then["expected_dice"], strict=True))
    return all(
        (one is None) == (other is None) and (one is None or abs(one - other) <= slack * max(1.0, abs(other)))
        for one, other in pairs
    )
