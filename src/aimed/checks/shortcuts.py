"""Whether a finding can be told from how a picture was taken: from its view, device, age and sex, or its border."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.arrays import plural
from aimed.checks.image_rows import Images, Pictures
from aimed.checks.reporter import Reporter
from aimed.core.errors import DataError, NotEstimableError
from aimed.core.finding import Finding
from aimed.core.image import Grey, ImageInfo
from aimed.metrics.arrays import patient_codes
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Described, Estimate

__all__ = [
    "Features",
    "Shortcut",
    "auroc_within",
    "border_features",
    "check_shortcuts",
    "info_features",
    "shortcut_auroc",
    "shortcut_aurocs",
    "tone_features",
]

_SAY = Reporter(
    "shortcuts",
    "Zech et al., PLoS Med 2018;15:e1002683; DeGrave et al., Nat Mach Intell 2021;3:610; Janes and Pepe, "
    "Biometrika 2009;96:371",
)
_LEAST = 20
_HIGH = 0.6
_LEVELS = 30
_STRIP, _CORNER = 0.05, 0.12
_SPREAD = 4.0

Features: TypeAlias = Mapping[str, ArrayLike] | ArrayLike
"""Columns by name, numbers or text, or a table of numbers, shape (n, q)."""


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
    table, columns = _coded(features)
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


def check_shortcuts(
    found: Sequence[Shortcut], model: Mapping[str, float] | None = None, *, high: float = _HIGH
) -> list[Finding]:
    """Return findings on shortcuts: what tells a finding without the lungs, beside the model's AUROC where it is known.

    * WARN: the lower limit of the AUROC is above `high`.
    * NOTE: one for all others, with every AUROC.

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
    out, rows = [], []
    for one in found:
        mine = None if model is None else model.get(one.finding)
        beside = "" if mine is None else f"; the model has {mine:.2f}"
        evidence = {
            "finding": one.finding,
            "source": one.source,
            "auroc": one.value,
            "lower": one.lower,
            "upper": one.upper,
            "n": one.n,
            "events": one.events,
            "patients": one.patients,
            "model": mine,
            "note": one.note,
        }
        rows.append(evidence)
        if one.lower > high or one.value == 1:
            interval = f" ({one.lower:.2f} to {one.upper:.2f})" if math.isfinite(one.lower) else ""
            out.append(
                _SAY.warn(
                    one.finding,
                    f"'{one.finding}' is told from {one.source} alone with an AUROC of {one.value:.2f}{interval}"
                    f"{beside}.",
                    f"Report the AUROC within levels of {one.source}, balance or match it in training, and test where "
                    "it does not tell.",
                    **evidence,
                )
            )
    if found:
        sources = len({one.source for one in found})
        message = f"{plural(len({one.finding for one in found}), 'finding')} told from {plural(sources, 'source')}"
        message += f" other than the lungs: {len(out)} of {len(found)} with a lower limit above {high:g}."
        out.append(_SAY.note("labels", message, aurocs=rows))
    return out


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
    levels = np.asarray(_texts(stratum))
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


def info_features(infos: Sequence[ImageInfo]) -> dict[str, list[Any]]:
    """Return what the file headers say as columns: view, device, exposure, size and coding.

    Examples
    --------
    >>> info = ImageInfo(digest="ab", format="png", rows=2, columns=3, bits_stored=8, scaling="as_stored", view="PA")
    >>> columns = info_features([info])
    >>> columns["view"], columns["aspect"]
    (['PA'], [1.5])
    """
    texts = (
        "view", "manufacturer", "model", "modality", "body_part", "laterality", "orientation", "photometric", "format",
        "scaling", "burned_in", "lossy",
    )  # fmt: skip
    numbers = ("kvp", "exposure", "exposure_time", "rows", "columns", "bits_stored")
    out: dict[str, list[Any]] = {}
    for name in texts:
        out[name] = ["" if getattr(i, name) is None else str(getattr(i, name)) for i in infos]
    for name in numbers:
        out[name] = [math.nan if getattr(i, name) is None else float(getattr(i, name)) for i in infos]
    out["aspect"] = [i.columns / i.rows for i in infos]
    out["spacing"] = [math.nan if i.spacing is None else float(i.spacing[0]) for i in infos]
    return out


def border_features(images: Images, infos: Sequence[ImageInfo] | None = None) -> dict[str, NDArray[np.float64]]:
    """Return statistics of the outer strips and corners of each image, where no lung is: 36 columns.

    Mean, spread and shares of dark and bright pixels of four strips (5 % of a side), mean, spread and maximum of four
    corners (12 %), and a histogram of the strips. Collimation, letters, tubes and hospital layouts show there.

    Parameters
    ----------
    images : uint8 or uint16 array, shape (n, y, x), or an object with ``rows(indices)`` and a length
    infos : sequence of ImageInfo, optional
        With it the border is that of the picture, not that of the frame it was fitted into.

    Examples
    --------
    >>> found = border_features(np.full((3, 40, 40), 255, dtype=np.uint8))
    >>> len(found), found["top mean"].tolist()
    (36, [1.0, 1.0, 1.0])
    """
    return _measured(images, infos, _border)


def tone_features(images: Images, infos: Sequence[ImageInfo] | None = None) -> dict[str, NDArray[np.float64]]:
    """Return the distribution of grey levels of each image, without any place: 9 columns.

    The lungs count in it, so that a disease that whitens a lung shows too: read it as how far brightness alone goes.

    Parameters
    ----------
    images, infos
        As for `border_features`.

    Examples
    --------
    >>> sorted(tone_features(np.zeros((1, 8, 8), dtype=np.uint8)))[:2]
    ['mean', 'quantile 0.01']
    """
    return _measured(images, infos, _tone)


def _measured(images: Images, infos: Sequence[ImageInfo] | None, measure: Any) -> dict[str, NDArray[np.float64]]:
    pictures = Pictures(images, infos)
    rows: list[dict[str, float]] = []
    for start, block in pictures.blocks():
        full = float(np.iinfo(block.dtype).max)
        rows += [measure(pictures.cut(i, frame), full) for i, frame in enumerate(block, start)]
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _border(frame: Grey, full: float) -> dict[str, float]:
    height, width = frame.shape
    h, w = max(1, round(_STRIP * height)), max(1, round(_STRIP * width))
    strips = {"top": frame[:h], "bottom": frame[-h:], "left": frame[:, :w], "right": frame[:, -w:]}
    out = {}
    for side, strip in strips.items():
        grey = strip / full
        out[f"{side} mean"], out[f"{side} spread"] = float(grey.mean()), float(grey.std())
        out[f"{side} dark"], out[f"{side} bright"] = float((grey < 0.05).mean()), float((grey > 0.95).mean())
    h, w = max(1, round(_CORNER * height)), max(1, round(_CORNER * width))
    corners = {
        "top left": frame[:h, :w],
        "top right": frame[:h, -w:],
        "bottom left": frame[-h:, :w],
        "bottom right": frame[-h:, -w:],
    }
    for place, corner in corners.items():
        grey = corner / full
        out[f"{place} mean"], out[f"{place} spread"] = float(grey.mean()), float(grey.std())
        out[f"{place} maximum"] = float(grey.max())
    ring = np.concatenate([strip.ravel() for strip in strips.values()])
    shares = np.histogram(ring, bins=8, range=(0, full))[0] / ring.size
    return out | {f"bin {k}": float(share) for k, share in enumerate(shares)}


def _tone(frame: Grey, full: float) -> dict[str, float]:
    levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    grey = frame / full
    out = {"mean": float(grey.mean()), "spread": float(grey.std())}
    return out | {f"quantile {q:g}": float(v) for q, v in zip(levels, np.quantile(grey, levels), strict=True)}


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


def _texts(values: ArrayLike) -> list[str]:
    plain = np.asarray(values).tolist()
    return ["" if v is None or v != v else str(v).strip() for v in plain]


def _coded(features: Features) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return standardised columns that vary, and their names."""
    raw: list[tuple[str, NDArray[np.float64]]] = []
    if isinstance(features, Mapping):
        if not features:
            raise DataError("no feature", "one column or more")
        sizes = {np.asarray(column).shape for column in features.values()}
        if len(sizes) > 1 or len(next(iter(sizes))) != 1:
            raise DataError("features of different lengths", "columns with a value a row", "check the columns")
        for name, column in features.items():
            raw += _column(name, np.asarray(column))
        (n,) = next(iter(sizes))
    else:
        try:
            table = np.asarray(features, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError("a table of features that are not numbers", "columns by name", "give a mapping") from error
        if table.ndim != 2 or not table.shape[1]:
            raise DataError(f"features of shape {table.shape}", "a table (n, q)")
        n = table.shape[0]
        for j, values in enumerate(table.T):
            raw += _number(str(j), values, square=False)
    if not n:
        raise DataError("features without a row", "one row or more")
    kept = [(name, column / column.std()) for name, column in raw if column.std() > 1e-9 * (1 + np.abs(column).max())]
    columns = [column - column.mean() for _, column in kept]
    return np.column_stack(columns) if columns else np.empty((n, 0)), tuple(name for name, _ in kept)


def _column(name: str, column: NDArray[Any]) -> list[tuple[str, NDArray[np.float64]]]:
    if column.dtype.kind in "fiub":
        return _number(name, column.astype(np.float64), square=True)
    texts = np.asarray(_texts(column), dtype=str)
    levels, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
    often = np.argsort(-counts, kind="stable")[:_LEVELS]
    return [(f"{name} = {levels[k] or 'missing'}", (codes == k).astype(np.float64)) for k in sorted(often.tolist())]


def _number(name: str, values: NDArray[np.float64], *, square: bool) -> list[tuple[str, NDArray[np.float64]]]:
    known = np.isfinite(values)
    if not known.any():
        return []
    centre, spread = float(values[known].mean()), float(values[known].std())
    scaled = np.where(known, values - centre, 0.0) / (spread or 1.0)
    out = [(name, scaled)]
    if square and np.unique(values[known][:1000]).size > 2:
        # Beyond 3 standard deviations a square would let a few odd values decide.
        out.append((f"{name} squared", np.where(known, np.clip(scaled, -3, 3) ** 2, 0.0)))
    if not known.all():
        out.append((f"{name} missing", (~known).astype(np.float64)))
    return out


def _cross_fitted(
    design: NDArray[np.float64], event: NDArray[np.bool_], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    score = np.empty(event.size)
    for k in np.unique(fold):
        fit = LogisticRegression(C=_SPREAD / design.shape[1], solver="newton-cholesky", max_iter=200)
        fit.fit(design[fold != k], event[fold != k])
        score[fold == k] = fit.decision_function(design[fold == k])
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
