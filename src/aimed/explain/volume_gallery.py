"""The outlined cases worth looking at: worst, median, best and least certain, over all regions and region by region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError
from aimed.metrics.arrays import patient_codes

__all__ = ["OVERALL", "VOLUME_GROUPS", "volume_gallery", "volumes_without_ids"]

VOLUME_GROUPS: Mapping[str, str] = {
    "worst": "Lowest Dice",
    "median": "Nearest to the median Dice",
    "best": "Highest Dice",
    "uncertain": "Least certain",
}
"""The groups of cases and what they hold."""

OVERALL = "overall"
"""The scope of the mean over regions, beside the scope of each region."""

_KEPT = ("dice", "hd95", "reference_ml", "prediction_ml", "lower", "upper", "empty")


def volume_gallery(
    cases: Sequence[Mapping[str, Any]],
    ids: Sequence[Any] | NDArray[Any],
    labels: Mapping[str, str],
    *,
    expected: Sequence[Mapping[str, float | None]] | None = None,
    spread: Sequence[Mapping[str, float | None]] | None = None,
    volumes: Sequence[Mapping[str, Mapping[str, float | None]]] | None = None,
    per: int = 1,
    patient: ArrayLike | None = None,
) -> dict[str, Any]:
    """Choose the worst, median, best and least certain cases over all regions, and of each region.

    Parameters
    ----------
    cases : sequence of dict, length n
        As in the ``cases`` of a performance block: ``regions`` maps a key to ``dice``, ``hd95``, ``reference_ml``,
        ``prediction_ml`` and ``empty`` ("both" where neither mask has the region: such a case is not shown).
    ids : sequence, length n
        The study's own names of its cases.
    labels : mapping of str to str
        Key → name of the region, as shown to people.
    expected : sequence of mapping, length n, optional
        Key → Dice that the model itself expects; None where it is not known.
    spread : sequence of mapping, length n, optional
        Key → mean standard deviation of the probabilities in the outline; used where no Dice is expected.
    volumes : sequence of mapping, length n, optional
        Key → ``ml``, ``lower`` and ``upper``: the volume with its interval.
    per : int
        Cases in a group.
    patient : array, shape (n,), optional
        A patient comes at most once in a group, and a case in one of worst, best and median of a scope.

    Returns
    -------
    dict
        ``kind`` is ``"volume_gallery"``. ``scopes``: ``"overall"`` (the mean of the regions), then each key, with
        ``label``, ``median``, ``uncertain_by`` ("expected_dice", "spread" or None), ``cases`` by the names of
        `VOLUME_GROUPS`, ``of`` (how many there were to choose from) and a ``sentence``. A case has its number
        (``case``, from 1, in the order of `cases`), ``id``, ``row``, ``dice``, ``expected_dice``, ``spread`` (of the
        scope) and ``regions`` (key → ``dice``, ``expected_dice``, ``hd95``, ``reference_ml``, ``prediction_ml``,
        ``lower``, ``upper``, ``empty``). Ids stay with the data: a report gets `volumes_without_ids`.

    Raises
    ------
    DataError
        If lengths or keys do not fit together, or a Dice does not lie from 0 to 1.

    Notes
    -----
    Ties go to the earlier case. A case without a value in a scope is not shown there. Least certain is the lowest
    expected Dice, or else the largest spread; without either the group is empty.

    Examples
    --------
    >>> cases = [{"regions": {"core": {"dice": d}}} for d in (0.9, 0.2, 0.7, None)]
    >>> found = volume_gallery(cases, "abcd", {"core": "tumour core"}, expected=[{"core": e} for e in (.9, .6, .5, 1)])
    >>> {group: [case["id"] for case in some] for group, some in found["scopes"]["core"]["cases"].items()}
    {'worst': ['b'], 'median': ['c'], 'best': ['a'], 'uncertain': ['c']}
    """
    n, keys = len(cases), list(labels)
    for what, some in (("ids", ids), ("expected", expected), ("spread", spread), ("volumes", volumes)):
        if some is not None and len(some) != n:
            raise DataError(f"{len(some)} {what} of {n} cases", "one each")
    if n == 0 or not keys or per < 1:
        raise DataError(f"{n} cases, {len(keys)} regions and {per} cases in a group", "at least one of each")
    if OVERALL in labels:
        raise DataError(f"a region with the key '{OVERALL}'", "another name")
    codes = patient_codes(patient, n)
    plain = [one.item() if isinstance(one, np.generic) else one for one in ids]
    regions = [
        {key: _region(cases[row], key, _at(expected, row, key), _at(volumes, row, key)) for key in keys}
        for row in range(n)
    ]
    dice = _table(regions, keys, "dice")
    # Two empty masks agree perfectly by most rules, and show nothing.
    dice[[[one[key]["empty"] == "both" for key in keys] for one in regions]] = np.nan
    if ((dice < 0) | (dice > 1)).any():
        raise DataError("a Dice outside of 0 to 1", "numbers from 0 to 1, or None")
    sure = _table(regions, keys, "expected_dice")
    wide = np.array([[_number(_at(spread, row, key)) for key in keys] for row in range(n)], dtype=np.float64)
    # Of a region that neither has, nothing is expected either.
    told = np.isfinite(dice)
    columns: list[tuple[str, str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]
    columns = [(OVERALL, "mean of the regions", _means(dice, told), _means(sure, told), _means(wide, told))]
    for j, key in enumerate(keys):
        own, doubt = (np.where(told[:, j], x[:, j], np.nan) for x in (sure, wide))
        columns.append((key, labels[key], dice[:, j], own, doubt))
    scopes: dict[str, Any] = {}
    for key, label, mine, own, doubt in columns:
        groups, by = _chosen(mine, own, doubt, codes, per)
        scopes[key] = {
            "label": label,
            "median": _plain(np.median(mine[np.isfinite(mine)])) if np.isfinite(mine).any() else None,
            "uncertain_by": by,
            "cases": {
                group: [
                    {
                        "case": row + 1,
                        "id": plain[row],
                        "row": row,
                        "dice": _plain(mine[row]),
                        "expected_dice": _plain(own[row]),
                        "spread": _plain(doubt[row]),
                        "regions": regions[row],
                    }
                    for row in rows
                ]
                for group, rows in groups.items()
            },
            "of": {
                group: int(np.isfinite(mine if group != "uncertain" else doubt if by == "spread" else own).sum())
                for group in VOLUME_GROUPS
            },
            "sentence": _sentence(label, mine, [] if key == OVERALL else [one[key] for one in regions]),
        }
    return {
        "kind": "volume_gallery",
        "per": int(per),
        "n": n,
        "ids": True,
        "groups": dict(VOLUME_GROUPS),
        "scopes": scopes,
        "sentence": scopes[OVERALL]["sentence"],
    }


def _at(some: Sequence[Mapping[str, Any]] | None, row: int, key: str) -> Any:
    return None if some is None else some[row].get(key)


def _region(
    case: Mapping[str, Any], key: str, expected: float | None, volume: Mapping[str, Any] | None
) -> dict[str, Any]:
    known = case["regions"].get(key)
    if known is None:
        raise DataError(f"a case without the region '{key}'", "all regions of the labels")
    found = {name: known.get(name) for name in _KEPT} | {"expected_dice": _plain(_number(expected))}
    if volume is not None:
        found |= {"lower": volume.get("lower"), "upper": volume.get("upper")}
    return found | {"empty": found["empty"] or ""}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _table(regions: Sequence[Mapping[str, Any]], keys: Sequence[str], name: str) -> NDArray[np.float64]:
    return np.array([[_number(one[key][name]) for key in keys] for one in regions], dtype=np.float64)


def _means(values: NDArray[np.float64], told: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of each row over regions that have a Dice; NaN where one of these is not known."""
    held = told.sum(axis=1)
    total = np.where(told, values, 0.0).sum(axis=1)
    return np.where(held > 0, total / np.maximum(held, 1), np.nan)


def _chosen(
    dice: NDArray[np.float64],
    expected: NDArray[np.float64],
    spread: NDArray[np.float64],
    codes: NDArray[np.int64],
    per: int,
) -> tuple[dict[str, list[int]], str | None]:
    rows = np.flatnonzero(np.isfinite(dice))
    groups: dict[str, list[int]] = {group: [] for group in VOLUME_GROUPS}
    if rows.size:
        middle = float(np.median(dice[rows]))
        taken: list[int] = []
        # With few cases the median would be the best or the worst once more.
        for group, first in (("worst", dice), ("best", -dice), ("median", np.abs(dice - middle))):
            groups[group] = _first(np.setdiff1d(rows, taken), first, codes, per)
            taken += groups[group]
    by = "expected_dice" if np.isfinite(expected).any() else "spread" if np.isfinite(spread).any() else None
    if by is not None:
        doubt = expected if by == "expected_dice" else -spread
        groups["uncertain"] = _first(np.flatnonzero(np.isfinite(doubt)), doubt, codes, per)
    return groups, by


def _first(rows: NDArray[np.int64], first: NDArray[np.float64], codes: NDArray[np.int64], per: int) -> list[int]:
    order = rows[np.argsort(first[rows], kind="stable")]
    _, earliest = np.unique(codes[order], return_index=True)
    return [int(row) for row in order[np.sort(earliest)][:per]]


def _sentence(label: str, dice: NDArray[np.float64], regions: Sequence[Mapping[str, Any]]) -> str:
    known = dice[np.isfinite(dice)]
    label = label[:1].upper() + label[1:]
    if not known.size:
        return f"{label}: no case has it, in the reference or in the outlines."
    text = (
        f"{label}: Dice runs from {known.min():.2f} to {known.max():.2f} over {known.size:,} "
        f"{'case' if known.size == 1 else 'cases'}, median {np.median(known):.2f}"
    )
    zero = [one for one in regions if one["dice"] == 0]
    made_up = sum(one["empty"] == "reference" for one in zero)
    if missed := len(zero) - made_up:
        text += f"; missed altogether: {missed:,}"
    if made_up:
        text += f"; outlined where there is none: {made_up:,}"
    return f"{text}."


def volumes_without_ids(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gallery without ids and rows, for a report; the number of a case leads back to them.

    Examples
    --------
    >>> full = volume_gallery([{"regions": {"core": {"dice": 0.5}}}], ["a"], {"core": "tumour core"})
    >>> case = volumes_without_ids(full)["scopes"]["core"]["cases"]["worst"][0]
    >>> case["case"], "id" in case, "row" in case
    (1, False, False)
    """
    return {
        **found,
        "ids": False,
        "scopes": {
            key: {
                **one,
                "cases": {
                    group: [{k: v for k, v in case.items() if k not in ("id", "row")} for case in cases]
                    for group, cases in one["cases"].items()
                },
            }
            for key, one in found["scopes"].items()
        },
    }
