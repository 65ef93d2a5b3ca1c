"""Whether a finding can be told from how a picture was taken: from its view, device, age and sex, or its border."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import plural, sample
from aimed.checks.context import Context
from aimed.checks.feature_coding import FeatureCoding, Features, fit_ridge, texts
from aimed.checks.reporter import Reporter
from aimed.checks.shortcut_sources import SEES_LUNGS, TOGETHER, cohort_columns, shortcut_sources
from aimed.core.errors import DataError, NotEstimableError
from aimed.core.finding import Finding
from aimed.metrics.arrays import patient_codes
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Described, Estimate

__all__ = [
    "Features",
    "Shortcut",
    "auroc_within",
    "check",
    "check_shortcuts",
    "shortcut_auroc",
    "shortcut_aurocs",
    "tells",
]

_SAY = Reporter(
    "shortcuts",
    "Zech et al., PLoS Med 2018;15:e1002683; DeGrave et al., Nat Mach Intell 2021;3:610; Janes and Pepe, "
    "Biometrika 2009;96:371",
)
_LEAST = 20
_HIGH = 0.55
_MOST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shortcut(Described):
    """How well one finding is told without looking at the lungs.

    Parameters
    ----------
    finding : str
    source : str
        What it was told from, such as "view".
    estimate : Estimate
        AUROC of predictions for patients that the model was not fitted on; NaN with the reason in its note where
        there is not enough evidence.
    score : float array, shape (n,)
        Those predictions as a linear predictor; NaN where the answer is not known.
    fold : int array, shape (n,)
        Where each was left out of the fit, -1 where it has no score: compare scores within a fold only.
    columns : tuple of str
        Columns of the model after coding.
    patients : int

    Examples
    --------
    >>> y = [0, 1] * 40
    >>> shortcut_auroc({"view": ["PA", "AP"] * 40}, y, source="view").value
    1.0
    """

    _headline = "estimate"

    finding: str
    source: str
    estimate: Estimate
    score: NDArray[np.float64]
    fold: NDArray[np.int64]
    columns: tuple[str, ...]
    patients: int


def shortcut_auroc(
    features: Features,
    y: ArrayLike,
    patient: ArrayLike | None = None,
    *,
    finding: str = "finding",
    source: str = "metadata",
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> Shortcut:
    """Return the AUROC with which a finding is told from features that should not tell it.

    A ridge-penalised logistic regression is fitted on four fifths of the patients and predicts the last fifth, five
    times. A number counts with its square, a text column by its 30 most frequent levels, and missing values are a
    level of their own.

    Parameters
    ----------
    features : mapping of str to arrays of shape (n,), or array of shape (n, q)
        A table of numbers counts without squares.
    y : array, shape (n,)
        1 present, 0 absent; -1 and NaN are left out.
    patient : array, shape (n,), optional
        All images of a patient fall into one fold, and the interval is clustered by patient.
    finding, source : str
        Names for the result.
    folds : int
        From 2.
    seed : int
        Of the assignment of patients to folds.
    level : float
        Coverage of the interval.

    Raises
    ------
    DataError
        If the lengths differ, `y` has other values or there is no feature.

    Notes
    -----
    The prior standard deviation of the whole linear predictor is 2, whatever the number of columns. Only pairs of one
    fold are compared: joined over folds, scores of a useless feature rank backwards, because an intercept falls as the
    fold's own share of events rises. The interval takes the predictions as given: it leaves out that other folds would
    give other ones. Coding looks at features only, never at `y`.

    With fewer than 20 images or `folds` patients of either answer there is no estimate.

    References
    ----------
    Zech et al., PLoS Med 2018;15:e1002683. Airola et al., Comput Stat Data Anal 2011;55:1828 (joined folds).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 400)
    >>> view = np.where(rng.random(400) < 0.3 + 0.4 * y, "PA", "AP")
    >>> shortcut_auroc({"view": view}, y, source="view").lower > 0.6
    True
    """
    coding = FeatureCoding().fit(features)
    table, columns = coding.transform(features), coding.names
    answer = _answers(y, table.shape[0])
    if folds < 2:
        raise DataError(f"{folds} folds", "2 or more")
    who = np.arange(answer.size) if patient is None else patient_codes(patient, answer.size)
    known = np.flatnonzero(answer >= 0)
    event, design = answer[known] == 1, table[known]
    score, fold = np.full(answer.size, np.nan), np.full(answer.size, -1)
    patients = int(np.unique(who[known]).size)

    def result(estimate: Estimate) -> Shortcut:
        return Shortcut(
            finding=finding,
            source=source,
            estimate=estimate,
            score=score,
            fold=fold,
            columns=columns,
            patients=patients,
        )

    sides = [int(np.unique(who[known][event == side]).size) for side in (True, False)]
    events = int(event.sum())
    why = ""
    if not columns:
        why = "no column varies"
    elif min(events, event.size - events) < _LEAST or min(sides) < folds:
        why = f"not enough evidence: fewer than {_LEAST} images or {folds} patients of one answer"
    if why:
        return result(Estimate(math.nan, name="auroc", n=int(known.size), events=events, note=why, level=level))
    fold[known] = _folds(event, who[known], folds, seed)
    score[known] = _cross_fitted(design, event, fold[known])
    cluster = None if patient is None else who[known]
    found = auroc_within(event, score[known], fold[known], patient=cluster, level=level)
    found.name, found.method = "auroc", f"{folds} folds by patient, {found.method}"
    return result(found)


def shortcut_aurocs(
    sources: Mapping[str, Features],
    labels: ArrayLike,
    names: Sequence[str],
    patient: ArrayLike | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> list[Shortcut]:
    """Return `shortcut_auroc` for each finding and each source.

    Parameters
    ----------
    sources : mapping of str to features
        Name → what `shortcut_auroc` takes.
    labels : array, shape (n, k)
        1, 0, -1 or NaN.
    names : sequence of str
        The k findings.
    patient, folds, seed, level
        As for `shortcut_auroc`.

    Examples
    --------
    >>> y = np.array([[0, 1]] * 20 + [[1, 0]] * 20)
    >>> found = shortcut_aurocs({"size": {"rows": np.arange(40.0)}}, y, ["Mass", "Edema"])
    >>> [(f.finding, f.source, f.value > 0.9) for f in found]
    [('Mass', 'size', True), ('Edema', 'size', True)]
    """
    table = np.asarray(labels, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise DataError(f"labels of shape {table.shape} for {len(names)} names", "a column a name", "check the columns")
    return [
        shortcut_auroc(features, table[:, j], patient, finding=name, source=source, folds=folds, seed=seed, level=level)
        for j, name in enumerate(names)
        for source, features in sources.items()
    ]


def check(context: Context) -> list[Finding]:
    """Return findings on what tells a finding of pictures without the lungs; nothing for a table without pictures.

    View, device, exposure, file, the declared columns and the site, the borders, the brightness, and all together tell
    each finding in ``train`` (at most 20,000 rows, a fixed sample), cross-fitted by patient.

    * WARN, NOTE: as for `check_shortcuts`.

    Examples
    --------
    >>> from aimed.core.cohort import Cohort
    >>> check(Context(Cohort(patient=[1, 2], variables=[], columns={})))
    []
    """
    targets = [target for target in context.train_targets if target.time is None]
    if context.images is None or not targets or not context.rows.size:
        return []
    cohort = context.cohort
    rows = context.rows[sample(context.rows.size, _MOST)]
    columns = cohort_columns(cohort, context.shortcut_columns)
    if cohort.site is not None:
        columns.setdefault("site", cohort.site)
    sources = shortcut_sources(context.images, columns, rows, progress=context.counted())
    labels = np.full((cohort.n, len(targets)), np.nan)
    for j, target in enumerate(targets):
        labels[target.rows, j] = target.event
    names = [target.name for target in targets]
    return check_shortcuts(shortcut_aurocs(sources, labels[rows], names, context.patient_codes[rows]))


def check_shortcuts(
    found: Sequence[Shortcut], model: Mapping[str, float] | None = None, *, high: float = _HIGH
) -> list[Finding]:
    """Return findings on shortcuts: what tells a finding without the lungs, beside the model's AUROC where it is known.

    * WARN: one a finding that some source tells with a lower limit of the AUROC above `high`: the source with the
      highest limit, and which others do. Brightness does not warn, as the lungs count in it.
    * NOTE: one, with every AUROC.

    Parameters
    ----------
    found : sequence of Shortcut
    model : mapping of str to float, optional
        Finding → AUROC of the image model on the same kind of patients.
    high : float

    Examples
    --------
    >>> y = np.array([0, 1] * 40)
    >>> age = y + np.random.default_rng(0).normal(size=80)
    >>> check_shortcuts([shortcut_auroc({"age": age}, y, finding="Mass", source="age")], {"Mass": 0.84})[0].message
    "'Mass' is told from age alone with an AUROC of 0.79 (0.67 to 0.88); the model has 0.84."
    """
    out, rows, told = [], [], 0
    for name in dict.fromkeys(one.finding for one in found):
        mine = None if model is None else model.get(name)
        some = [one for one in found if one.finding == name]
        rows += [_evidence(one, mine) for one in some]
        strong = sorted((one for one in some if tells(one, high)), key=lambda one: -_limit(one))
        told += len(strong)
        alone = [one for one in strong if one.source != TOGETHER]
        if not strong:
            continue
        first = (alone or strong)[0]
        how = "all sources together" if first.source == TOGETHER else f"{first.source} alone"
        message = f"'{name}' is told from {how} with an AUROC of {_words(first)}"
        message += "" if mine is None else f"; the model has {mine:.2f}"
        others = [f"{one.source} ({one.value:.2f})" for one in alone[1:]]
        message += f"; also from {', '.join(others)}" if others else ""
        joined = [one for one in strong if one.source == TOGETHER and one is not first]
        message += f"; all sources together reach {joined[0].value:.2f}" if joined else ""
        level = "view or device" if first.source == TOGETHER else first.source
        out.append(
            _SAY.warn(
                name,
                f"{message}.",
                f"Report the AUROC within levels of {level}, balance or match it in training, and test where "
                "it does not tell.",
                **_evidence(first, mine),
                also={one.source: _evidence(one, mine) for one in strong if one is not first},
            )
        )
    if found:
        sources = len({one.source for one in found})
        message = f"{plural(len({one.finding for one in found}), 'finding')} told from {plural(sources, 'source')}"
        message += f" other than the lungs: {told} of {len(found)} with a lower limit above {high:g}."
        out.append(_SAY.note("labels", message, aurocs=rows))
    return out


def tells(one: Shortcut, high: float = _HIGH) -> bool:
    """Return True if a source that does not see the lungs tells a finding clearly better than chance.

    Examples
    --------
    >>> tells(shortcut_auroc({"view": ["PA", "AP"] * 40}, [0, 1] * 40, source="view"))
    True
    """
    return one.source not in SEES_LUNGS and (one.lower > high or one.value == 1)


def _limit(one: Shortcut) -> float:
    return one.lower if math.isfinite(one.lower) else one.value


def _words(one: Shortcut) -> str:
    interval = f" ({one.lower:.2f} to {one.upper:.2f})" if math.isfinite(one.lower) else ""
    return f"{one.value:.2f}{interval}"


def _evidence(one: Shortcut, model: float | None) -> dict[str, Any]:
    return {
        "finding": one.finding,
        "source": one.source,
        "auroc": one.value,
        "lower": one.lower,
        "upper": one.upper,
        "n": one.n,
        "events": one.events,
        "patients": one.patients,
        "model": model,
        "note": one.note,
    }


def auroc_within(
    y: ArrayLike, score: ArrayLike, stratum: ArrayLike, *, patient: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Return the AUROC within the levels of a category, such as the view: what is left when it cannot help.

    Parameters
    ----------
    y : array, shape (n,)
        1 present, 0 absent; -1 and NaN are left out.
    score : float array, shape (n,)
    stratum : array, shape (n,)
        Level of each row; rows with a missing one form a level.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
        Coverage of the interval.

    Raises
    ------
    DataError
        If the arrays do not fit.
    NotEstimableError
        If no level has both answers.

    Notes
    -----
    Formula: the mean of the AUROCs of the levels, weighted by their share of the cases (Janes and Pepe's covariate-
    adjusted AUROC): the chance that a case scores higher than a control of the same level. Levels without cases or
    without controls are left out, and the note says so.

    References
    ----------
    Janes and Pepe, Biometrika 2009;96:371.

    Examples
    --------
    >>> view, y = ["AP"] * 4 + ["PA"] * 4, [0, 0, 0, 1, 0, 1, 1, 1]
    >>> float(auroc_within(y, [1, 1, 1, 1, 2, 2, 2, 2], view))
    0.5
    """
    values = np.asarray(score, dtype=np.float64)
    answer = _answers(y, values.size)
    levels = np.asarray(texts(stratum))
    if levels.shape != values.shape or values.ndim != 1:
        raise DataError(f"{levels.size} levels for {values.size} scores", "one each")
    codes = None if patient is None else patient_codes(patient, values.size)
    kept: list[tuple[NDArray[np.int64], Estimate, int]] = []
    left = 0
    for one in np.unique(levels[answer >= 0]):
        rows = np.flatnonzero((levels == one) & (answer >= 0))
        cases = int((answer[rows] == 1).sum())
        if 0 < cases < rows.size:
            kept.append((rows, auroc(answer[rows] == 1, values[rows], level=level), cases))
        else:
            left += int(rows.size)
    if not kept:
        raise NotEstimableError("no level of the category has both answers", "cases and controls of one level")
    total = sum(cases for _, _, cases in kept)
    value = sum(float(area) * cases for _, area, cases in kept) / total
    influence = np.zeros(values.size)
    for rows, area, cases in kept:
        # A case counts through its level's area, and through the weight that it gives to its level.
        assert area.influence is not None  # noqa: S101, for the type checker
        influence[rows] = area.influence * cases / total + (answer[rows] == 1) * (float(area) - value) / total
    used = np.concatenate([rows for rows, _, _ in kept])
    used.sort()
    return Estimate.from_influence(
        value,
        influence[used],
        None if codes is None else codes[used],
        name="auroc_within",
        n=int(used.size),
        events=total,
        level=level,
        scale="logit",
        bounds=(0.0, 1.0),
        why="all pairs within levels are ranked alike",
        note=f"{plural(left, 'row')} of levels with one answer only left out" if left else "",
        method=f"covariate-adjusted over {plural(len(kept), 'level')}, infinitesimal jackknife"
        + ("" if codes is None else ", clustered by patient"),
    )


def _answers(y: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return 1, 0, or -1 for not known."""
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError("answers that are not numbers", "1, 0, -1 or nothing", "recode them") from error
    if values.shape != (n,):
        raise DataError(f"answers of shape {values.shape} for {plural(n, 'row')}", "one a row")
    values = np.where(np.isnan(values), -1, values)
    if not np.isin(values, (-1, 0, 1)).all():
        raise DataError("answers other than 1, 0 and -1", "1, 0, -1 or nothing", "recode them")
    return values.astype(np.int64)


def _cross_fitted(
    design: NDArray[np.float64], event: NDArray[np.bool_], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    score = np.empty(event.size)
    for k in np.unique(fold):
        coefficient, intercept = fit_ridge(design[fold != k], event[fold != k])
        score[fold == k] = design[fold == k] @ coefficient + intercept
    return score


def _folds(event: NDArray[np.bool_], who: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row: whole patients, those with and without the finding dealt out evenly."""
    codes = np.unique(who, return_inverse=True)[1]
    has = np.zeros(int(codes.max()) + 1, dtype=bool)
    np.logical_or.at(has, codes, event)
    rng = np.random.default_rng(seed)
    place = np.empty(has.size, dtype=np.int64)
    for side in (True, False):
        some = rng.permutation(np.flatnonzero(has == side))
        place[some] = np.arange(some.size) % folds
    return place[codes]
