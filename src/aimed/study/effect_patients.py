"""What an effect means for a typical patient, in absolute numbers: of 100 like this one, how many fewer events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aimed.core import Variable
from aimed.metrics.arrays import FloatArray
from aimed.study.spec import StudySpec
from aimed.study.tasks import outcome_label
from aimed.treatment.effects_model import EffectsModel

__all__ = ["typical_patients"]

_GROUPS = (
    "A patient with a small predicted benefit",
    "A patient in the middle",
    "A patient with a large predicted benefit",
)
_SHOWN = 8
_TIMES = {"rmst_difference": "without", "time_lost_difference": "lost to"}


def typical_patients(
    spec: StudySpec, model: EffectsModel, raw: FloatArray, labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return statements for three made-up patients: medians and commonest levels of thirds of predicted benefit.

    Parameters
    ----------
    spec : StudySpec
    model : EffectsModel
    raw : float array, shape (n, p)
        Raw modifiers of the training part.
    labels : mapping
        What the arms are called.

    Returns
    -------
    list of dict
        Nobody of the data is among them: each value is a median or the commonest level of a third of the patients.
    """
    order = np.argsort(model.benefit(raw), kind="stable")
    found: list[dict[str, Any]] = []
    for title, rows in zip(_GROUPS, np.array_split(order, len(_GROUPS)), strict=True):
        one = np.array([[_typical(v, raw[rows, j]) for j, v in enumerate(model.variables)]])
        effect = float(model.effect(one)[0])
        limits = model.effect_interval(one, spec.evaluate.level)
        control, active = (float(v) for v in model.outcomes(one)[0])
        lower, upper = (None, None) if limits is None else (float(limits[0][0]), float(limits[1][0]))
        profile = [
            {"label": v.title, "value": _said(v, one[0, j])} for j, v in enumerate(model.variables) if j < _SHOWN
        ]
        statement = _statement(spec, model, labels, effect, lower, upper, control, active)
        found.append({"title": title, "profile": profile, **statement})
    return found


def _typical(v: Variable, x: FloatArray) -> float:
    known = x[~np.isnan(x)]
    if not known.size:
        return float("nan")
    if v.kind == "category" or np.isin(known, (0.0, 1.0)).all():
        values, counts = np.unique(known, return_counts=True)
        return float(values[np.argmax(counts)])
    return float(np.median(known))


def _said(v: Variable, value: float) -> str:
    if np.isnan(value):
        return "missing"
    if v.kind == "category":
        return v.categories[int(value)]
    return f"{value:.4g}"


def _statement(
    spec: StudySpec,
    model: EffectsModel,
    labels: Mapping[str, str],
    effect: float,
    lower: float | None,
    upper: float | None,
    control: float,
    active: float,
) -> dict[str, Any]:
    """Return counts of 100 for risks, differences otherwise, and the sentence."""
    percent = f"{100 * spec.evaluate.level:g} %"
    by = "" if model.horizon is None else f" by {model.horizon:g} {spec.outcome.unit}s"
    if not model.of_risk:
        interval = "" if lower is None or upper is None else f" ({percent} interval {lower:.3g} to {upper:.3g})"
        what = f"{outcome_label(spec)} by {effect:+.3g} {model.unit}".rstrip()
        if model.scale in _TIMES:
            what = f"the mean time {_TIMES[model.scale]} {outcome_label(spec)}{by} by {effect:+.3g} {model.unit}s"
        sentence = f"{labels['active']} instead of {labels['control']} changes {what}{interval}."
        return {
            "control_of_100": None,
            "active_of_100": None,
            "control": control,
            "active": active,
            "effect": effect,
            "fewer": None,
            "lower": lower,
            "upper": upper,
            "sentence": sentence,
        }
    # No more events can be prevented than there are, and no more caused than there are patients.
    fewer = 100.0 * (control - active)
    low: float | None = None
    high: float | None = None
    if lower is not None and upper is not None:
        low, high = (float(np.clip(-100.0 * v, 100.0 * (control - 1.0), 100.0 * control)) for v in (upper, lower))
    # The third number is the difference of the two that are shown, not of what they were before rounding.
    shown = round(100 * control) - round(100 * active)
    change = f"about {abs(shown)} {'fewer' if shown > 0 else 'more'}" if shown else "about as many"
    sentence = (
        f"Of 100 patients like this, about {100 * control:.0f} have the event ({outcome_label(spec)}){by} with "
        f"{labels['control']} and {100 * active:.0f} with {labels['active']}: {change}"
    )
    if low is not None and high is not None:
        sentence += f"; {percent} interval {_counts(min(low, shown), max(high, shown))}"
    return {
        "control_of_100": 100.0 * control,
        "active_of_100": 100.0 * active,
        "effect": effect,
        "fewer": fewer,
        "lower": low,
        "upper": high,
        "sentence": f"{sentence}.",
    }


def _counts(low: float, high: float) -> str:
    """Return an interval of how many fewer events there are in words, the smaller number first.

    Examples
    --------
    >>> _counts(2.4, 16.0), _counts(-9.7, -1.6), _counts(-1.6, 9.7)
    ('2 to 16 fewer', '2 to 10 more', '2 more to 10 fewer')
    """
    if low >= 0:
        return f"{low:.0f} to {high:.0f} fewer"
    if high <= 0:
        return f"{abs(high):.0f} to {abs(low):.0f} more"
    return f"{abs(low):.0f} more to {high:.0f} fewer"
