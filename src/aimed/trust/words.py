"""Words for numbers: paths into the results, names of measures, and estimates with interval and n in one phrase."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["at", "estimate", "listed", "number", "plural", "title"]

_TITLES = {
    "auroc": "AUROC",
    "auprc": "average precision",
    "brier": "Brier score",
    "scaled_brier": "scaled Brier score",
    "log_loss": "log loss",
    "calibration_intercept": "calibration intercept",
    "calibration_slope": "calibration slope",
    "oe": "observed/expected ratio",
    "ici": "integrated calibration index",
    "e50": "median calibration error (E50)",
    "e90": "90th percentile of calibration error (E90)",
    "net_benefit": "net benefit",
    "average_precision": "average precision",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "mention_f1": "mention F1",
    "negation_f1": "negation F1",
    "uncertainty_f1": "uncertainty F1",
    "lr_positive": "positive likelihood ratio",
    "lr_negative": "negative likelihood ratio",
    "harrell_c": "Harrell's C",
    "uno_c": "Uno's C",
    "ibs": "integrated Brier score",
    "auc": "cumulative/dynamic AUC",
    "dice": "Dice",
    "iou": "intersection over union",
    "mask_sensitivity": "sensitivity",
    "mask_specificity": "specificity",
    "mask_precision": "precision",
    "hd95": "95th percentile of the Hausdorff distance (mm)",
    "hausdorff": "Hausdorff distance (mm)",
    "average_surface_distance": "average surface distance (mm)",
    "surface_dice": "surface Dice",
    "volume_difference": "volume difference (ml)",
    "relative_volume_difference": "relative volume difference",
    "rmst_difference": "difference in restricted mean time",
    "time_lost_difference": "difference in time lost",
    "average_effect": "average effect by doubly robust scores",
    "dr_loss": "excess doubly robust loss",
    "r_loss": "excess R-loss",
    "autoc": "AUTOC",
    "qini": "Qini coefficient",
    "c_for_benefit": "C-for-benefit",
    "e_avg_for_benefit": "Eavg-for-benefit",
    "best_linear_predictor": "best linear predictor: slope",
    "policy_gain": "gain of treating by predicted benefit over treating everyone",
    "max_smd": "largest standardised difference of the arms",
    "prevalence": "prevalence",
    "risk": "risk",
}


_IN_TIME = ("rmst_difference", "time_lost_difference")
"""Measures whose values are times."""


def at(results: Any, path: str) -> Any:
    """Return the value at a dotted path, or None where the path breaks or ends in nothing.

    Examples
    --------
    >>> at({"data": {"parts": {"test": {"n": 5}}}}, "data.parts.test.n"), at({"data": None}, "data.parts")
    (5, None)
    """
    here = results
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return None
        here = here[key]
    empty = here is None or (isinstance(here, str | Mapping | Sequence) and not len(here))
    return None if empty else here


def title(name: str, unit: str = "day", labels: Mapping[str, str] | None = None) -> str:
    """Return the name of a measure for people, with its horizon or its finding.

    Parameters
    ----------
    name : str
    unit : str
        Of horizons, singular.
    labels : mapping of str to str, optional
        Key of a finding → its label.

    Examples
    --------
    >>> title("auc@365"), title("macro_auroc"), title("oe@mass", labels={"mass": "Lung mass"}), title("mean_dice")
    ('cumulative/dynamic AUC at 365 days', 'macro AUROC', 'observed/expected ratio of Lung mass', 'mean Dice')
    >>> title("rmst_difference", "month")
    'difference in restricted mean time (months)'
    """
    stem, _, where = name.partition("@")
    pool = next((word for word in ("macro", "micro", "mean") if stem.startswith(f"{word}_")), "")
    stem, pool = stem.removeprefix(f"{pool}_"), f"{pool} " if pool else ""
    words = pool + _TITLES.get(stem, stem.replace("_", " "))
    if not where:
        return f"{words} ({unit}s)" if stem in _IN_TIME else words
    if where.replace(".", "", 1).isdigit():
        return f"{words} at {where} {unit}s"
    return f"{words} of {(labels or {}).get(where, where.replace('_', ' '))}"


def number(value: Any, digits: int = 3) -> str:
    """Return a number with fixed digits, a count with thousands separators, or a dash.

    Examples
    --------
    >>> number(0.81234), number(12345), number(None), number(-0.04, 1)
    ('0.812', '12,345', '–', '0.0')
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool) or not math.isfinite(float(value)):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{float(value):z.{digits}f}"


def plural(count: Any, one: str, many: str = "") -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "row"), plural(2000, "category", "categories")
    ('1 row', '2,000 categories')
    """
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def listed(parts: Sequence[str], most: int = 12) -> str:
    """Return names in a row, cut after `most`.

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], 2)
    ('a, b and c', 'a, b and 1 more')
    """
    shown = list(parts[:most])
    if len(parts) > most:
        shown.append(f"{len(parts) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def estimate(
    measure: Mapping[str, Any],
    unit: str = "day",
    digits: int = 3,
    labels: Mapping[str, str] | None = None,
    event: str = "event",
    events: str = "",
) -> str:
    """Return an estimate with interval, n and events; ``event`` and ``events`` are what those are called.

    Examples
    --------
    >>> estimate({"name": "auroc", "value": 0.8, "lower": 0.7, "upper": 0.9, "n": 90, "events": 30, "level": 0.95})
    'AUROC 0.800 (95% interval 0.700 to 0.900; n = 90, 30 events)'
    """
    name = title(str(measure.get("name") or "value"), unit, labels)
    rests = f"n = {number(measure.get('n'))}, {plural(measure.get('events'), event, events)}"
    if measure.get("value") is None:
        return f"{name} not estimable ({rests})"
    if measure.get("lower") is None or measure.get("upper") is None:
        return f"{name} {number(float(measure['value']), digits)} (no interval; {rests})"
    level = float(measure.get("level") or 0.95)
    interval = f"{number(float(measure['lower']), digits)} to {number(float(measure['upper']), digits)}"
    return f"{name} {number(float(measure['value']), digits)} ({level:.0%} interval {interval}; {rests})"
