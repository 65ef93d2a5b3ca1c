"""Subgroup audit: every measure in every declared group, judged in three states, with gaps and small cells hidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from aimed.core import DataError, Measure, StudyFileError, parse
from aimed.core.cohort import SMALL_CELL
from aimed.metrics import adjust_p_values
from aimed.trust.criteria import Target, decide, target_of
from aimed.trust.words import plural

__all__ = ["LOWER_IS_BETTER", "audit", "worst_subgroups"]

_DISTANCES = ("hd95", "hausdorff", "average_surface_distance")
LOWER_IS_BETTER = (
    "brier",
    "macro_brier",
    "log_loss",
    "macro_log_loss",
    "ibs",
    "ici",
    "e50",
    "e90",
    *_DISTANCES,
    *(f"mean_{name}" for name in _DISTANCES),
)
"""Measures, without their horizon, finding or region, of which less is better."""
_IDEAL = {
    "calibration_slope": 1.0,
    "oe": 1.0,
    "calibration_intercept": 0.0,
    **{f"{of}{name}": 0.0 for of in ("", "mean_") for name in ("volume_difference", "relative_volume_difference")},
}


def audit(
    groups: Mapping[str, tuple[ArrayLike, str, Sequence[str]] | tuple[ArrayLike, str]],
    measures: Callable[[NDArray[np.bool_]], Mapping[str, Any]],
    *,
    names: Sequence[str],
    primary: str,
    events: ArrayLike,
    patient: ArrayLike | None = None,
    criterion: str | None = None,
    min_events: int = 20,
    min_nonevents: int | None = None,
    called: tuple[str, str] = ("event", "events"),
    level: float = 0.95,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, Any]:
    """Repeat the measures in each group of each column.

    Parameters
    ----------
    groups : mapping of str to (labels, title, order)
        Column → label of each row (empty or None is the group ``missing``), the column's title, and optionally the
        order in which groups are shown.
    measures : callable
        ``measures(mask)``: name → `Measure` or its dict, of the rows where the mask is True.
    names : sequence of str
        Measures to keep, in order.
    primary : str
        The measure that is judged.
    events : bool array, shape (n,)
        True where the event was seen.
    patient : array, shape (n,), optional
        Patient of each row.
    criterion : str, optional
        ``">= 0.7"``, or a criterion on `primary` such as ``"worst_subgroup(auroc).lower >= 0.6"``.
    min_events, min_nonevents : int
        A group with fewer is not judged; `min_nonevents` equals `min_events` when absent.
    called : (str, str)
        What one event, and several, are called where non-events are not counted.
    level : float
        Coverage of the intervals that `measures` gives.
    progress : callable, optional
        Hears the share done and the column.

    Returns
    -------
    dict
        The ``subgroups`` block: ``measures``, ``primary``, ``criterion``, ``min_events``, ``min_nonevents``,
        ``columns`` (with ``groups``, ``gap``, ``p`` and ``p_holm`` by measure), ``multiplicity``, ``note``.

    Raises
    ------
    DataError
        If labels, events and patients differ in length.
    StudyFileError
        If the criterion cannot be read or judges another measure.

    Notes
    -----
    States follow `aimed.trust.criteria.decide`: met when all of the interval is good, not met when none of it is,
    otherwise not enough evidence; also when events or non-events are too few. A measure of one finding or horizon
    (``name@where``) takes part in gaps, tests and worst groups where its own events are enough, whatever others the
    group has. Groups of fewer than 11 patients show no measure and no count. When one group of a column is that small,
    its size would follow by subtraction, so the counts of the smallest other group are rounded down to tens.
    The gap is the best group's value less the worst's, in the direction of better, with a normal approximation from the
    groups' own intervals; with k groups the interval holds for all k(k - 1)/2 pairs at once (Bonferroni),
    as the pair was chosen for being extreme. The p value is Cochran's Q test that all judged groups share
    one value, adjusted over columns by Holm. Groups are taken as independent, which patients who
    stand in two groups are not.

    References
    ----------
    Cochran, Biometrics 1954;10:101; Holm, Scand J Stat 1979;6:65.

    Examples
    --------
    >>> sex = np.repeat(["f", "m"], 100)
    >>> def measures(mask):
    ...     value = 0.8 if mask[0] else 0.6
    ...     return {"auroc": Measure(name="auroc", value=value, lower=value - 0.05, upper=value + 0.05)}
    >>> block = audit({"sex": (sex, "Sex")}, measures, names=["auroc"], primary="auroc",
    ...               events=np.tile([True, False], 100), criterion=">= 0.7")
    >>> [(g["group"], g["state"]) for g in block["columns"][0]["groups"]]
    [('f', 'met'), ('m', 'not met')]
    >>> round(block["columns"][0]["gap"]["auroc"]["value"], 2)
    0.2
    """
    happened = np.asarray(events, dtype=bool)
    n = happened.size
    codes = np.arange(n) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]
    if codes.size != n:
        raise DataError(f"{codes.size} patients for {n} rows", "one a row")
    target = _target(criterion, primary)
    least = min_events if min_nonevents is None else min_nonevents
    columns: list[dict[str, Any]] = []
    for k, (column, entry) in enumerate(groups.items()):
        if progress is not None:
            progress(k / len(groups), column)
        labels = _labels(entry[0], n, column)
        order = list(entry[2]) if len(entry) > 2 else []
        order += sorted(set(labels.tolist()) - set(order))
        rows = []
        for label in order:
            mask = labels == label
            if mask.any():
                rows.append(
                    _group(label, mask, measures, names, primary, happened, codes, target, min_events, least, called)
                )
        _hide_the_remainder(rows)
        columns.append({"column": column, "label": entry[1], "groups": rows})
    z = float(special.ndtri(0.5 + level / 2.0))
    for block in columns:
        judged = [g for g in block["groups"] if g["judged"]]
        block["gap"] = {name: _gap(name, judged, z, level, block["column"]) for name in names}
        block["p"] = {name: _same(name, judged, z) for name in names}
    for name in names:
        raw = [block["p"][name] for block in columns]
        adjusted = adjust_p_values([math.nan if p is None else p for p in raw], "holm")
        for block, p in zip(columns, adjusted, strict=True):
            block.setdefault("p_holm", {})[name] = float(p) if math.isfinite(p) else None
    needed = f"{min_events} events or {least} non-events" if least else plural(min_events, *called)
    return {
        "measures": list(names),
        "primary": primary,
        "criterion": criterion,
        "min_events": min_events,
        "min_nonevents": least,
        "columns": columns,
        "multiplicity": "holm",
        "note": f"Groups with fewer than {needed} are not judged; those of fewer than "
        f"{SMALL_CELL} patients are not described. Intervals of gaps hold for all pairs of groups of a column; "
        "p values test that the judged groups of a column share one value, adjusted over columns by Holm's method.",
    }


def _target(criterion: str | None, primary: str) -> Target | None:
    if criterion is None:
        return None
    own = (primary, f"worst_subgroup({primary})")
    text = criterion if not criterion.startswith(("<", ">", "in ")) else f"{primary} {criterion}"
    found = [target for target in map(target_of, parse(text)) if target.name in own]
    if len(found) != 1:
        raise StudyFileError(
            f"the subgroup criterion '{criterion}' holds {len(found)} comparisons of '{primary}'", "exactly one"
        )
    return found[0]


def _labels(labels: ArrayLike, n: int, column: str) -> NDArray[np.str_]:
    values = np.asarray(labels, dtype=object)
    if values.shape != (n,):
        raise DataError(f"the labels of '{column}' have shape {values.shape}", f"({n},), one a row")
    return np.array(["missing" if v is None or v != v or not str(v) else str(v) for v in values], dtype=str)


def _group(
    label: str,
    mask: NDArray[np.bool_],
    measures: Callable[[NDArray[np.bool_]], Mapping[str, Any]],
    names: Sequence[str],
    primary: str,
    happened: NDArray[np.bool_],
    codes: NDArray[np.int64],
    target: Target | None,
    min_events: int,
    min_nonevents: int,
    called: tuple[str, str],
) -> dict[str, Any]:
    patients = int(np.unique(codes[mask]).size)
    if patients < SMALL_CELL:
        why = f"Fewer than {SMALL_CELL} patients, so not described."
        size = f"<{SMALL_CELL}"
        hidden: dict[str, Any] = {"group": label, "n": size, "events": None, "patients": size, "measures": {}}
        return {**hidden, "state": "not enough evidence", "why": why, "judged": False}
    n, events = int(mask.sum()), int(happened[mask].sum())
    found = measures(mask)
    kept = {name: _record(found[name]) for name in names if name in found}
    thin = events < min_events or n - events < min_nonevents
    main = kept.get(primary, {})
    state: str
    if thin:
        state = "not enough evidence"
        if min_nonevents:
            why = f"{events} events and {n - events} non-events; at least {min_events} and {min_nonevents} are needed."
        else:
            why = f"{plural(events, *called)}; at least {min_events} are needed."
    elif target is None:
        state, why = "no criterion", "No criterion was set."
    else:
        state, why = decide(target, main.get("value"), main.get("lower"), main.get("upper"))
    row = {"group": label, "n": n, "events": events, "patients": patients, "measures": kept}
    few = [name for name, measure in kept.items() if _rests_on_few(name, measure, min_events)]
    return {**row, "state": state, "why": why, "judged": not thin, **({"few": few} if few else {})}


def _rests_on_few(name: str, measure: Mapping[str, Any], min_events: int) -> bool:
    """Say whether a measure of one finding or horizon has fewer events of its own than are needed to judge it."""
    own = measure.get("n" if _stem(name) == "specificity" else "events")
    return "@" in name and own is not None and own < min_events


def _record(measure: Any) -> dict[str, Any]:
    return measure.to_dict() if isinstance(measure, Measure) else dict(measure)


def _hide_the_remainder(rows: list[dict[str, Any]]) -> None:
    """Blur the counts of one more group where a single hidden one follows from the column's total."""
    hidden = [row for row in rows if not isinstance(row["patients"], int)]
    shown = [row for row in rows if isinstance(row["patients"], int)]
    if len(hidden) != 1 or not shown:
        return
    blurred = min(shown, key=lambda row: int(row["patients"]))
    blurred["measures"] = {
        name: {**measure, "n": _round_down(measure.get("n")), "events": _round_down(measure.get("events"))}
        for name, measure in blurred["measures"].items()
    }
    for key in ("n", "events", "patients"):
        blurred[key] = _round_down(blurred[key])
    blurred["why"] += " Counts are rounded down to tens, to hide a small group of this column."


def _round_down(count: Any) -> int | None:
    return None if count is None else int(count) // 10 * 10


def _stem(name: str) -> str:
    return name.partition("@")[0]


def _badness(name: str, value: float) -> float:
    """Larger is worse."""
    stem = _stem(name)
    if stem in _IDEAL:
        return abs(value - _IDEAL[stem])
    return value if stem in LOWER_IS_BETTER else -value


def _known(name: str, groups: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float, int, int]]:
    """Return group, value, width of the interval, n and events where all are known."""
    out = []
    for group in groups:
        m = group["measures"].get(name) or {}
        value, lower, upper = m.get("value"), m.get("lower"), m.get("upper")
        if name in group.get("few", ()):
            continue
        if value is not None and lower is not None and upper is not None and upper > lower:
            out.append(
                (group["group"], float(value), float(upper) - float(lower), int(group["n"]), int(group["events"]))
            )
    return out


def _gap(name: str, groups: Sequence[Mapping[str, Any]], z: float, level: float, column: str) -> dict[str, Any]:
    known = _known(name, groups)
    if len(known) < 2:
        return Measure(
            name=name, value=None, level=level, group=column, note="Fewer than two groups have enough evidence."
        ).to_dict()
    known.sort(key=lambda g: _badness(name, g[1]))
    best, worst = known[0], known[-1]
    value = _badness(name, worst[1]) - _badness(name, best[1])
    if _stem(name) in _IDEAL:
        value = abs(worst[1] - best[1])
    error = math.hypot(best[2], worst[2]) / (2.0 * z)
    pairs = len(known) * (len(known) - 1) / 2.0
    reach = float(special.ndtri(1.0 - (1.0 - level) / (2.0 * pairs))) * error
    return Measure(
        name=name,
        value=value,
        lower=value - reach,
        upper=value + reach,
        n=best[3] + worst[3],
        events=best[4] + worst[4],
        level=level,
        method="normal approximation, all pairs at once",
        group=column,
        note=f"Best: {best[0]}; worst: {worst[0]}.",
    ).to_dict()


def _same(name: str, groups: Sequence[Mapping[str, Any]], z: float) -> float | None:
    """Cochran's Q test that all groups share one value."""
    known = _known(name, groups)
    if len(known) < 2:
        return None
    value = np.array([g[1] for g in known])
    weight = (2.0 * z / np.array([g[2] for g in known])) ** 2
    q = float((weight * (value - np.average(value, weights=weight)) ** 2).sum())
    return float(special.chdtrc(len(known) - 1, q))


def worst_subgroups(block: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return ``worst_subgroup(name)`` → measure over all judged groups, for `aimed.trust.criteria.judge`.

    Parameters
    ----------
    block : mapping or None
        As made by `audit`.

    Notes
    -----
    For measures with a direction the value and both ends are the worst over groups: if every group's lower end
    clears a line, so does the worst group. For measures with an ideal value (slope, intercept, observed/expected) it
    is the group farthest from the ideal. Groups that could not be judged are not in it, and the note says how many.

    Examples
    --------
    >>> groups = [{"group": g, "judged": True, "measures": {"auroc": {"value": v, "lower": v - w, "upper": v + w}}}
    ...           for g, v, w in (("a", 0.7, 0.02), ("b", 0.75, 0.15))]
    >>> found = worst_subgroups({"measures": ["auroc"], "columns": [{"label": "Sex", "groups": groups}]})
    >>> [round(found["worst_subgroup(auroc)"][key], 2) for key in ("value", "lower", "upper")]
    [0.7, 0.6, 0.72]
    """
    out: dict[str, dict[str, Any]] = {}
    if not block:
        return out
    groups = [(column["label"], g) for column in block["columns"] for g in column["groups"]]
    for name in block["measures"]:
        judged, left = [], 0
        for label, group in groups:
            measure = group["measures"].get(name) or {}
            known = None not in (measure.get("value"), measure.get("lower"), measure.get("upper"))
            if group["judged"] and known and name not in group.get("few", ()):
                judged.append((label, group["group"], measure))
            else:
                left += 1
        if not judged:
            continue
        label, group, worst = max(judged, key=lambda row: _badness(name, row[2]["value"]))
        record = dict(worst)
        if _stem(name) not in _IDEAL:
            pick = max if _stem(name) in LOWER_IS_BETTER else min
            for key in ("lower", "upper"):
                record[key] = pick(row[2][key] for row in judged)
        note = f"Worst of {len(judged)} group{'s' * (len(judged) != 1)}: {label}: {group}."
        record["note"] = f"{note} {left} more could not be judged." if left else note
        out[f"worst_subgroup({name})"] = record
    return out
