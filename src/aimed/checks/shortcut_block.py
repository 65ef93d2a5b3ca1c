"""The shortcuts of a study as a block of its results: sources beside the model, the model within views, a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import plural
from aimed.checks.feature_coding import texts
from aimed.checks.shortcut_sources import SEES_LUNGS, TOGETHER
from aimed.checks.shortcuts import Shortcut, auroc_within, tells
from aimed.core.cohort import SMALL_CELL
from aimed.core.errors import DataError
from aimed.core.evaluation import Measure
from aimed.metrics.arrays import patient_codes
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Estimate, or_missing

__all__ = ["shortcut_block", "shortcut_sentence", "within_strata"]

_FEW = f"Fewer than {SMALL_CELL} patients, so not described."


def within_strata(
    y: ArrayLike,
    risk: ArrayLike,
    strata: ArrayLike,
    names: Sequence[str],
    patient: ArrayLike | None = None,
    level: float = 0.95,
    *,
    by: str = "view",
) -> list[dict[str, Any]]:
    """Return for each finding the AUROC over all pairs, over pairs of one stratum, and in each stratum.

    Parameters
    ----------
    y : array, shape (n, k)
        1 present, 0 absent; -1 and NaN are left out.
    risk : float array, shape (n, k)
    strata : array, shape (n,)
        Such as the view of each picture; missing ones form a stratum.
    names : sequence of str
        The k findings.
    patient : array, shape (n,), optional
        Intervals are clustered by patient.
    level : float
        Coverage of the intervals.
    by : str
        What the strata are.

    Returns
    -------
    list of dict
        JSON types: ``finding``, ``by``, ``overall``, ``within`` and ``difference`` (overall less within) as `Measure`
        dicts, and ``strata``, a list of ``{"stratum", "auroc"}``. Nothing is said of a stratum of fewer than 11
        patients but that it is there.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Notes
    -----
    ``within`` is that of `aimed.checks.shortcuts.auroc_within`. The interval of the difference is made from the two
    influence functions, so that it is paired; rows of strata with one answer only count in ``overall``.

    References
    ----------
    Janes and Pepe, Biometrika 2009;96:371.

    Examples
    --------
    >>> view, y = ["AP"] * 4 + ["PA"] * 4, [[0], [0], [0], [1], [0], [1], [1], [1]]
    >>> found = within_strata(y, [[v] for v in (1, 1, 1, 1, 2, 2, 2, 2)], view, ["Mass"])[0]
    >>> found["overall"]["value"], found["within"]["value"], found["strata"][0]["auroc"]["note"]
    (0.75, 0.5, 'Fewer than 11 patients, so not described.')
    """
    table, score = np.asarray(y, dtype=np.float64), np.asarray(risk, dtype=np.float64)
    levels = np.asarray(texts(strata), dtype=str)
    if table.ndim != 2 or table.shape != score.shape or table.shape[1] != len(names) or levels.size != len(table):
        got = f"labels of shape {table.shape}, risks of shape {score.shape}, {levels.size} strata, {len(names)} names"
        raise DataError(got, "tables (n, k), n strata and k names", "check the columns")
    codes = patient_codes(patient, len(table))
    clusters = None if patient is None else codes
    out = []
    for j, name in enumerate(names):
        known = np.flatnonzero(np.isin(table[:, j], (0.0, 1.0)))
        event, mine, stratum = table[known, j] == 1, score[known, j], levels[known]
        who = None if clusters is None else clusters[known]
        overall = _auroc(event, mine, who, level)
        within = or_missing(
            "auroc_within",
            lambda e=event, s=mine, t=stratum, w=who: auroc_within(e, s, t, patient=w, level=level),  # type: ignore[misc]
            n=known.size,
            level=level,
        )
        parts = []
        for one in np.unique(stratum).tolist():
            rows = stratum == one
            few = int(np.unique(codes[known][rows]).size) < SMALL_CELL
            found = (
                Measure(name="auroc", value=None, level=level, note=_FEW)
                if few
                else _auroc(event[rows], mine[rows], None if who is None else who[rows], level).measure()
            )
            parts.append({"stratum": one or "missing", "auroc": found.to_dict()})
        out.append(
            {
                "finding": name,
                "by": by,
                "overall": overall.measure().to_dict(),
                "within": within.measure().to_dict(),
                "difference": _difference(overall, within, event, stratum, who, level).measure().to_dict(),
                "strata": parts,
            }
        )
    return out


def _auroc(
    event: NDArray[np.bool_], score: NDArray[np.float64], who: NDArray[np.int64] | None, level: float
) -> Estimate:
    if not event.size:
        return Estimate(math.nan, name="auroc", note="no known answer", level=level)
    return or_missing(
        "auroc",
        lambda: auroc(event, score, patient=who, level=level),
        n=event.size,
        events=int(event.sum()),
        level=level,
    )


def _difference(
    overall: Estimate,
    within: Estimate,
    event: NDArray[np.bool_],
    stratum: NDArray[Any],
    who: NDArray[np.int64] | None,
    level: float,
) -> Estimate:
    """Return overall less within; the influence of a row that is in no kept stratum is 0 on the second."""
    if overall.influence is None or within.influence is None:
        return Estimate(math.nan, name="auroc_difference", note=within.note or overall.note, n=event.size, level=level)
    kept = np.zeros(event.size, dtype=bool)
    for one in np.unique(stratum):
        rows = stratum == one
        kept[rows] = 0 < event[rows].sum() < rows.sum()
    influence = np.array(overall.influence, dtype=np.float64)
    influence[kept] -= within.influence
    return Estimate.from_influence(
        float(overall) - float(within),
        influence,
        who,
        name="auroc_difference",
        events=int(event.sum()),
        level=level,
        bounds=(-1.0, 1.0),
        method="paired infinitesimal jackknife" + ("" if who is None else ", clustered by patient"),
        why="both rank alike",
    )


def shortcut_block(
    found: Sequence[Shortcut],
    within: Sequence[Mapping[str, Any]] = (),
    model: Mapping[str, Measure | Mapping[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the ``shortcuts`` block of a study: sources beside the model, the model within strata, and a sentence.

    Parameters
    ----------
    found : sequence of Shortcut
        From `aimed.checks.shortcuts.shortcut_aurocs`, or from `aimed.diagnosis.acquisition.held_out_shortcuts` on the
        rows that the model was tested on.
    within : sequence of dict
        As `within_strata` returns it.
    model : mapping of str to Measure or its dict, optional
        Finding → AUROC of the model.
    labels : mapping of str to str, optional
        Finding → how the sentence calls it.

    Returns
    -------
    dict
        ``sources``: finding, source, ``auroc`` and ``model`` (Measure dicts, None without a model), ``patients``,
        ``columns`` (how many), ``sees_lungs``, ``tells``; ``within``; ``sentence``.

    Examples
    --------
    >>> y = np.array([0, 1] * 40)
    >>> age = y + np.random.default_rng(0).normal(size=80)
    >>> from aimed.checks.shortcuts import shortcut_auroc
    >>> shortcut_block([shortcut_auroc({"age": age}, y, finding="mass", source="age")])["sentence"]
    'The age alone tells mass with an AUROC of 0.79 (0.67 to 0.88).'
    """
    mine = {
        name: measure.to_dict() if isinstance(measure, Measure) else dict(measure)
        for name, measure in (model or {}).items()
    }
    sources = [
        {
            "finding": one.finding,
            "source": one.source,
            "auroc": one.estimate.measure().to_dict(),
            "model": mine.get(one.finding),
            "patients": one.patients,
            "columns": len(one.columns),
            "sees_lungs": one.source in SEES_LUNGS,
            "tells": tells(one),
        }
        for one in found
    ]
    block = {"sources": sources, "within": [dict(one) for one in within]}
    return {**block, "sentence": shortcut_sentence(block, labels)}


def shortcut_sentence(block: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> str:
    """Return one or two sentences on the strongest shortcut of a block, and on what the model has without it.

    Parameters
    ----------
    block : mapping
        ``sources`` and ``within``, as `shortcut_block` returns them.
    labels : mapping of str to str, optional

    Examples
    --------
    >>> shortcut_sentence({"sources": [], "within": []})
    'Nothing was there that could tell a finding without the lungs.'
    """
    named = dict(labels or {})
    sources: list[dict[str, Any]] = [s for s in block["sources"] if not s["sees_lungs"]]
    judged = [s for s in sources if s["auroc"]["value"] is not None]
    if not sources:
        return "Nothing was there that could tell a finding without the lungs."
    if not judged:
        return "There is not enough evidence to say whether anything but the lungs tells a finding."
    telling = [s for s in judged if s["tells"]]
    if not telling:
        sure = [s for s in judged if s["auroc"]["lower"] is not None]
        top = max(sure or judged, key=lambda s: float(s["auroc"]["value"]))
        what = _source(top["source"])
        first = "Nothing but the lungs tells a finding clearly better than chance: the highest AUROC is that of "
        return f"{first}{what} for {_name(top, named)}, {_number(top['auroc'])}."
    alone = [s for s in telling if s["source"] != TOGETHER]
    top = max(alone or telling, key=lambda s: float(_least(s["auroc"])))
    if top["source"] == TOGETHER:
        sentence = f"All sources together tell {_name(top, named)} with an AUROC of {_number(top['auroc'])}"
    else:
        sentence = f"The {top['source']} alone {_verb(top['source'])} {_name(top, named)} with an AUROC "
        sentence += f"of {_number(top['auroc'])}"
    sentence += _beside(block, top)
    findings = {s["finding"] for s in judged}
    told = {s["finding"] for s in telling}
    if len(findings) > 1:
        said = "is" if len(told) == 1 else "are"
        sentence += f" {len(told)} of {plural(len(findings), 'finding')} {said} told by something else than the lungs."
    return sentence


def _beside(block: Mapping[str, Any], top: Mapping[str, Any]) -> str:
    """Return what the model has beside a shortcut, within its levels where these were looked at."""
    model = top["model"]
    inner = [w for w in block["within"] if w["finding"] == top["finding"] and w["within"]["value"] is not None]
    same = [w for w in inner if w["by"] == top["source"]]
    if same:
        whole = (model or same[0]["overall"])["value"]
        before = "" if whole is None else f" of its {whole:.2f}"
        return f"; within levels of {top['source']} the model keeps {_kept(same[0])}{before}."
    held = f" and {_kept(inner[0])} within levels of {inner[0]['by']}" if inner else ""
    if model is None or model["value"] is None:
        return f"; the model has{held.removeprefix(' and')}." if held else "."
    other = float(top["auroc"]["value"])
    close = model["lower"] is not None and other >= model["lower"]
    worse = model["upper"] is not None and other > model["upper"]
    more = ", which is worse" if worse else ", which is not clearly better" if close else ""
    return f"; the model has {_number(model)}{more}{',' if more and held else ''}{held}."


def _kept(entry: Mapping[str, Any]) -> str:
    measure = entry["within"]
    chance = measure["lower"] is not None and measure["lower"] <= 0.5
    return _number(measure) + (", which is not clearly better than chance," if chance else "")


def _least(measure: Mapping[str, Any]) -> float:
    return float(measure["value"] if measure["lower"] is None else measure["lower"])


def _number(measure: Mapping[str, Any]) -> str:
    if measure["lower"] is None or measure["upper"] is None:
        return f"{measure['value']:.2f}"
    return f"{measure['value']:.2f} ({measure['lower']:.2f} to {measure['upper']:.2f})"


def _name(source: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return labels.get(source["finding"], source["finding"])


def _source(name: str) -> str:
    return "all sources together" if name == TOGETHER else f"the {name}"


def _verb(name: str) -> str:
    return "tell" if name == "borders" else "tells"
