"""The cases worth looking at, finding by finding: sure and right, sure and wrong, and the least sure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.core.image import ImageInfo, Placement
from aimed.metrics.arrays import patient_codes
from aimed.metrics.evaluate_multilabel import finding_keys

__all__ = ["GROUPS", "gallery", "thumbnails", "without_ids"]

GROUPS: Mapping[str, str] = {
    "right_present": "Present, and surest of it",
    "right_absent": "Absent, and surest of it",
    "missed": "Present, and missed with the lowest risk",
    "false_alarm": "Absent, and called with the highest risk",
    "uncertain": "Least certain",
}
"""The groups of cases and what they hold; the first two are the best, the next two the worst."""

_WEIGHT = 1_500_000
"""Characters that all thumbnails together may take in a page of at most 3 MB."""

_SIDES = (160, 128, 96, 72, 48)
"""Sides of a thumbnail in pixels, from the one wished for down."""

_OPACITY = 0.5


class _Frames(Protocol):
    """Pictures in frames of one size, such as `aimed.readers.image_set.ImageSet`."""

    def rows(self, rows: ArrayLike, /) -> NDArray[Any]: ...
    def placement(self, row: int, /) -> Placement: ...
    def info(self, row: int, /) -> ImageInfo: ...


def gallery(
    risk: ArrayLike,
    y: ArrayLike,
    spread: ArrayLike | None,
    ids: Sequence[Any] | NDArray[Any],
    names: Sequence[str],
    thresholds: Sequence[float | None],
    per: int = 3,
    *,
    labels: Sequence[str] | None = None,
    patient: ArrayLike | None = None,
) -> dict[str, Any]:
    """Choose the best, worst and least certain cases of each finding.

    Parameters
    ----------
    risk : float array, shape (n, k)
        Reported probabilities.
    y : float array, shape (n, k)
        Reference standard: 1 present, 0 absent, NaN unknown.
    spread : float array, shape (n, k), optional
        Standard deviation of the probability over networks or changed copies; NaN where it is not known.
    ids : sequence, length n
        The study's own names of its pictures.
    names : sequence of str, length k
    thresholds : sequence of float or None, length k
        From this risk on the finding is called; None where nothing is called.
    per : int
        Cases in a group.
    labels : sequence of str, length k, optional
        As shown to people; the names when absent.
    patient : array, shape (n,), optional
        A patient comes at most once in a group.

    Returns
    -------
    dict
        ``findings`` holds for each ``cases``, by the names of `GROUPS`, and how many there were to choose from. A case
        has a number (``case``), ``id``, ``row``, ``risk``, ``reference`` (None where unknown) and ``spread``. Ids stay
        with the data: a report gets `without_ids`.

    Raises
    ------
    DataError
        If shapes do not fit together, or a risk is not a probability.

    Notes
    -----
    Least certain is the largest spread; where there is none, the log odds nearest to those of the threshold. Ties go
    to the earlier row.

    Examples
    --------
    >>> found = gallery([[0.9], [0.2], [0.7], [0.1]], [[1], [1], [0], [0]], None, "abcd", ["nodule"], [0.5], per=1)
    >>> {group: [case["id"] for case in cases] for group, cases in found["findings"]["nodule"]["cases"].items()}
    {'right_present': ['a'], 'right_absent': ['d'], 'missed': ['b'], 'false_alarm': ['c'], 'uncertain': ['c']}
    """
    chances, truth = (np.asarray(values, dtype=np.float64) for values in (risk, y))
    n, k = len(ids), len(names)
    spreads = np.full((n, k), np.nan) if spread is None else np.asarray(spread, dtype=np.float64)
    shown = list(names if labels is None else labels)
    if {chances.shape, truth.shape, spreads.shape} != {(n, k)} or {len(thresholds), len(shown)} != {k}:
        raise DataError(f"risk of shape {chances.shape} and labels of shape {truth.shape}", f"({n}, {k}) throughout")
    if not ((chances >= 0) & (chances <= 1)).all():
        raise DataError("risks that are no probabilities", "numbers from 0 to 1")
    if per < 1:
        raise DataError("no case in a group", "at least one")
    codes = patient_codes(patient, n)
    plain = [one.item() if isinstance(one, np.generic) else one for one in ids]
    findings: dict[str, Any] = {}
    case = 0
    for j, (key, name, label) in enumerate(zip(finding_keys(names), names, shown, strict=True)):
        p, t, s = chances[:, j], truth[:, j], spreads[:, j]
        limit = thresholds[j]
        limit = None if limit is None or not np.isfinite(limit) else float(limit)
        known = bool(np.isfinite(s).any())
        groups: dict[str, list[dict[str, Any]]] = {}
        counts: dict[str, int] = {}
        for group, (rows, first) in _groups(p, t, s if known else None, limit).items():
            chosen = _first(rows, first, codes, per)
            groups[group], counts[group] = [], int(rows.size)
            for row in chosen:
                case += 1
                groups[group].append(
                    {
                        "case": case,
                        "id": plain[row],
                        "row": row,
                        "risk": float(p[row]),
                        "reference": None if np.isnan(t[row]) else int(t[row]),
                        "spread": float(s[row]) if np.isfinite(s[row]) else None,
                    }
                )
        findings[key] = {
            "name": name,
            "label": label,
            "threshold": limit,
            "uncertain_by": "spread" if known else "threshold",
            "cases": groups,
            "of": counts,
            "sentence": _sentence(label, counts, limit),
        }
    return {"kind": "gallery", "per": int(per), "groups": dict(GROUPS), "ids": True, "findings": findings, "n": n}


def _groups(
    p: NDArray[np.float64], t: NDArray[np.float64], s: NDArray[np.float64] | None, limit: float | None
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Return the rows of each group, and what puts the first in front: the smallest comes first."""
    called = p >= (0.5 if limit is None else limit)
    present, absent = t == 1, t == 0
    # Nothing is called without a threshold, so nothing is right or wrong: all of a side is looked at.
    either = limit is None
    with np.errstate(divide="ignore"):
        odds = np.log(p) - np.log1p(-p)
        middle = 0.0 if limit is None else float(np.clip(np.log(limit) - np.log1p(-limit), -700, 700))
    unsure = np.abs(odds - middle) if s is None else np.where(np.isfinite(s), -s, np.inf)
    return {
        "right_present": (np.flatnonzero(present & (called | either)), -p),
        "right_absent": (np.flatnonzero(absent & (~called | either)), p),
        "missed": (np.flatnonzero(present & (~called | either)), p),
        "false_alarm": (np.flatnonzero(absent & (called | either)), -p),
        "uncertain": (np.flatnonzero(np.ones_like(present) if s is None else np.isfinite(s)), unsure),
    }


def _first(rows: NDArray[np.int64], first: NDArray[np.float64], codes: NDArray[np.int64], per: int) -> list[int]:
    seen: set[int] = set()
    chosen: list[int] = []
    for row in rows[np.argsort(first[rows], kind="stable")].tolist():
        if int(codes[row]) not in seen:
            seen.add(int(codes[row]))
            chosen.append(row)
        if len(chosen) == per:
            break
    return chosen


def _sentence(label: str, counts: Mapping[str, int], limit: float | None) -> str:
    label = label[:1].upper() + label[1:]
    if limit is None:
        return f"{label}: no threshold was chosen, so cases are ordered by risk alone."
    missed, alarms = counts["missed"], counts["false_alarm"]
    present, absent = counts["right_present"] + missed, counts["right_absent"] + alarms
    return (
        f"{label}: from a risk of {limit:.3g} on, {missed:,} of {present:,} pictures with it are missed and "
        f"{alarms:,} of {absent:,} without it are false alarms."
    )


def without_ids(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gallery without ids and rows, for a report; the number of a case leads back to them.

    Examples
    --------
    >>> full = gallery([[0.9]], [[1]], None, ["a"], ["nodule"], [0.5])
    >>> without_ids(full)["findings"]["nodule"]["cases"]["right_present"]
    [{'case': 1, 'risk': 0.9, 'reference': 1, 'spread': None}]
    """
    return {
        **found,
        "ids": False,
        "findings": {
            key: {
                **one,
                "cases": {
                    group: [{k: v for k, v in case.items() if k not in ("id", "row")} for case in cases]
                    for group, cases in one["cases"].items()
                },
            }
            for key, one in found["findings"].items()
        },
    }


def thumbnails(
    found: Mapping[str, Any],
    images: _Frames,
    maps: Callable[[NDArray[np.int64], int], ArrayLike],
    *,
    side: int = 128,
    opacity: float = _OPACITY,
    weight: int = _WEIGHT,
    groups: Sequence[str] = tuple(GROUPS),
) -> dict[str, Any]:
    """Draw the cases of a gallery small: the picture on the left, the same under its heat map on the right.

    Pictures of patients are personal data; draw them only where a person asked for it. Nothing but pixels goes in.

    Parameters
    ----------
    found : mapping
        Of `gallery`, with rows.
    images : ImageSet
    maps : callable
        ``maps(rows, column)``: heat maps of a finding in the frame of the model, shape (m, y, x).
    side : int
        Of the longer side of each picture, in pixels; smaller ones are drawn when all together weigh too much.
    opacity : float
        Of the hottest place; the map fades to nothing at 0, so that side markers stay as they are.
    weight : int
        Most characters of all thumbnails together.
    groups : sequence of str
        Of `GROUPS`.

    Returns
    -------
    dict
        ``thumbnails``: number of a case → ``data:`` address of a PNG file; ``side``, ``opacity``, ``left_out`` (cases
        whose file says that text is burnt into the picture) and a ``caption``.

    Raises
    ------
    DataError
        If they weigh too much even when small, or the opacity does not lie in (0, 1].
    """
    if not 0 < opacity <= 1:
        raise DataError("an opacity outside (0, 1]", "such as 0.5")
    drawn: list[tuple[int, NDArray[Any], NDArray[np.float32], float]] = []
    left_out = 0
    for column, one in enumerate(found["findings"].values()):
        cases = [case for group in groups for case in one["cases"].get(group, ())]
        # Text burnt into a picture may name the patient.
        safe = [case for case in cases if not images.info(case["row"]).burned_in]
        left_out += len(cases) - len(safe)
        if not safe:
            continue
        rows = np.unique([case["row"] for case in safe])
        heat = np.asarray(maps(rows, column), dtype=np.float32)
        # One scale a finding, so that a faint map looks faint beside a strong one.
        top = float(heat.max())
        for case in safe:
            at = int(np.searchsorted(rows, case["row"]))
            place = images.placement(case["row"])
            inside = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
            frame = np.asarray(images.rows([case["row"]]))[0]
            drawn.append((case["case"], frame[inside], heat[at][inside], top))
    for size in (side, *(s for s in _SIDES if s < side)):
        made = {str(case): _pair(grey, hot, top, size, opacity) for case, grey, hot, top in drawn}
        if sum(map(len, made.values())) <= weight:
            break
    else:
        raise DataError(
            f"{len(drawn)} thumbnails that weigh more than {weight:,} characters", "fewer", "show fewer cases"
        )
    caption = (
        "Left the picture, right the same under its heat map, with the same window; opacity 0 to "
        f"{100 * opacity:.0f} % with the value of the map, on one scale for each finding."
    )
    if left_out:
        caption += f" Left out, because their files say that text is burnt in: {left_out}."
    return {"thumbnails": made, "side": size, "opacity": opacity, "left_out": left_out, "caption": caption}


def _pair(grey: NDArray[Any], hot: NDArray[np.float32], top: float, side: int, opacity: float) -> str:
    """Return both pictures next to each other as the address of a PNG file."""
    # Both come with matplotlib.
    from matplotlib import colormaps
    from PIL import Image

    scale = side / max(grey.shape)
    shape = tuple(max(1, round(length * scale)) for length in grey.shape[::-1])
    low, high = float(grey.min()), float(grey.max())
    level = ((grey - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)
    small = np.asarray(Image.fromarray(level).resize(shape, Image.Resampling.BOX if scale < 1 else None))
    heat = np.asarray(Image.fromarray(np.maximum(hot, 0)).resize(shape, Image.Resampling.BILINEAR))
    share = np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)
    colour = np.asarray(colormaps["viridis"](share))[..., :3] * 255
    left = np.repeat(small[..., None].astype(np.float64), 3, axis=2)
    alpha = (opacity * share)[..., None]
    gap = np.full((small.shape[0], 2, 3), 255.0)
    both = np.concatenate([left, gap, left * (1 - alpha) + colour * alpha], axis=1).round().astype(np.uint8)
    out = BytesIO()
    # A palette of its own keeps greys and colours close, at a third of the weight.
    Image.fromarray(both).quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
