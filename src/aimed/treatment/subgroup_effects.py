"""Subgroup effects: the effect in each level of a column, whether levels differ, and how far to believe it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from aimed.core.errors import DataError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, patient_codes, vector, zero_one
from aimed.metrics.intervals import adjust_p_values
from aimed.metrics.result import checked_level, clustered_covariance
from aimed.treatment.arms import as_arms
from aimed.treatment.nuisances import is_binary
from aimed.treatment.rates import Better, GroupEffect, checked_better, group_effect

__all__ = ["MISSING", "MOST_LEVELS", "Subgroup", "SubgroupColumn", "SubgroupEffects", "subgroup_effects"]

MISSING = "missing"
"""Level of rows whose label is missing: shown, and left out of the test of interaction."""

MOST_LEVELS = 12
"""More levels than this are not subgroups."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subgroup:
    """One level of a column.

    Parameters
    ----------
    level : str
    effect : GroupEffect
        Its `difference` is NaN, with the reason, where the effect is not estimable.
    """

    level: str
    effect: GroupEffect


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubgroupColumn:
    """The effect in every level of a column and the test that they are one.

    Parameters
    ----------
    column, title : str
    subgroups : tuple of Subgroup
    statistic, df, p : float
        Wald's statistic of no interaction, its degrees of freedom and p; NaN where fewer than 2 levels are estimable.
    p_holm : float
        p adjusted by Holm over the columns.
    p_ratio : float
        p of the test that risk ratios are one, unadjusted; NaN where there are none.
    prespecified : bool
    sentence : str
        What the test says.
    credibility : str
        How far to believe it, in words.
    """

    column: str
    title: str
    subgroups: tuple[Subgroup, ...]
    statistic: float
    df: int
    p: float
    p_holm: float
    p_ratio: float
    prespecified: bool
    sentence: str = ""
    credibility: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubgroupEffects:
    """Effects in the subgroups of several columns.

    Parameters
    ----------
    overall : GroupEffect
        The effect in all rows.
    columns : tuple of SubgroupColumn
    level : float
    method, note : str
    """

    overall: GroupEffect
    columns: tuple[SubgroupColumn, ...]
    level: float
    method: str
    note: str

    def __getitem__(self, column: str) -> SubgroupColumn:
        for found in self.columns:
            if found.column == column:
                return found
        raise KeyError(column)

    @property
    def evidence(self) -> tuple[str, ...]:
        """Columns whose adjusted p is below 1 - level."""
        return tuple(c.column for c in self.columns if c.p_holm < 1 - self.level)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""

        def number(value: float) -> float | None:
            return None if math.isnan(value) else value

        return {
            "overall": self.overall.to_dict(),
            "columns": [
                {
                    "column": c.column,
                    "title": c.title,
                    "groups": [{"group": g.level, **g.effect.to_dict()} for g in c.subgroups],
                    "statistic": number(c.statistic),
                    "df": c.df,
                    "p": number(c.p),
                    "p_holm": number(c.p_holm),
                    "p_ratio": number(c.p_ratio),
                    "prespecified": c.prespecified,
                    "sentence": c.sentence,
                    "credibility": c.credibility,
                }
                for c in self.columns
            ],
            "level": self.level,
            "method": self.method,
            "note": self.note,
        }


def _text(value: Any) -> str:
    """Return a label as text: 1.0 is "1", and what is missing is `MISSING`."""
    if value is None:
        return MISSING
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return MISSING
        return str(int(value)) if float(value).is_integer() else str(float(value))
    return str(value).strip() or MISSING


def _levels(column: str, values: ArrayLike, order: Sequence[str], n: int) -> tuple[NDArray[np.str_], list[str]]:
    """Return the label of each row as text and the levels in the order they are shown."""
    given = np.asarray(values)
    if given.shape != (n,):
        raise DataError(f"subgroup column {column} has shape {given.shape}", f"({n},), one label a row")
    text = np.array([_text(v) for v in given.tolist()], dtype=str)
    found = set(text.tolist())
    if len(found) > MOST_LEVELS:
        raise DataError(
            f"subgroup column {column} has {len(found)} levels",
            f"at most {MOST_LEVELS}",
            "cut a number into groups chosen before the outcomes were seen, or look at risk_bins",
        )
    if given.dtype.kind in "biuf":
        # Numbers in their order; False and True sort as text already.
        rest = sorted(found - {MISSING}, key=lambda v: (0.0, v) if v in ("False", "True") else (float(v), v))
    else:
        rest = sorted(found - {MISSING})
    shown = [v for v in order if v in found]
    shown += [v for v in rest if v not in shown]
    return text, shown + [MISSING] * (MISSING in found and MISSING not in shown)


def _wald(
    values: Sequence[float], influence: Sequence[FloatArray | None], who: IntArray | None
) -> tuple[float, int, float]:
    """Return Wald's statistic that several numbers are one, its degrees of freedom and p by Welch's F.

    Small levels have variances that are guessed from few patients: chi-squared would reject too often.
    """
    if len(values) < 2:
        return math.nan, 0, math.nan
    columns = np.column_stack([np.asarray(psi, dtype=np.float64) for psi in influence])
    df = len(values) - 1
    contrast = np.column_stack([-np.ones(df), np.eye(df)])
    gaps = contrast @ np.asarray(values, dtype=np.float64)
    covariance = contrast @ clustered_covariance(columns, who) @ contrast.T
    if not np.isfinite(covariance).all() or np.linalg.matrix_rank(covariance, hermitian=True) < df:
        return math.nan, df, math.nan
    statistic = float(gaps @ np.linalg.solve(covariance, gaps))
    k, codes = len(values), np.arange(len(columns)) if who is None else who
    units = np.array([np.unique(codes[column != 0]).size for column in columns.T])
    precision = 1 / np.diag(clustered_covariance(columns, who))
    spread = float(((1 - precision / precision.sum()) ** 2 / np.maximum(units - 1, 1)).sum())
    scaled = statistic / df / (1 + 2 * (k - 2) / (k * k - 1) * spread)
    return statistic, df, float(stats.f.sf(scaled, df, (k * k - 1) / (3 * spread)))


def _ratio_test(effects: Sequence[GroupEffect], who: IntArray | None) -> float:
    """Return the p that the risk ratios are one, on the log scale; NaN where one has no interval."""
    ratios = [e.ratio for e in effects if e.ratio is not None and math.isfinite(e.ratio.lower)]
    if len(ratios) < len(effects):
        return math.nan
    logs = [math.log(ratio) for ratio in ratios]
    return _wald(logs, [np.asarray(ratio.influence) / float(ratio) for ratio in ratios], who)[2]


def _percent(value: float, binary: bool) -> str:
    return f"{100 * value:+.1f} percentage points" if binary else f"{value:+.3g}"


def _sentence(found: SubgroupColumn, tested: int, level: float, binary: bool) -> str:
    name = found.title
    if math.isnan(found.p):
        return f"Whether the effect differs by {name} is not estimable: fewer than 2 levels have enough events."
    p = f"interaction p = {found.p:.2g}"
    if tested > 1:
        p += f", {found.p_holm:.2g} adjusted for {tested} columns"
    if found.p_holm >= 1 - level:
        more = " The unadjusted p is small, as one of several is by chance." if found.p < 1 - level else ""
        return f"No evidence of a different effect by {name} ({p}).{more}"
    known = [g for g in found.subgroups if g.effect.estimable and g.level != MISSING]
    least, most = (f(known, key=lambda g: float(g.effect.difference)) for f in (min, max))
    ends = " to ".join(f"{_percent(float(g.effect.difference), binary)} ({g.level})" for g in (least, most))
    said = f"The effect differs by {name} ({p}): from {ends}."
    if found.p_ratio >= 1 - level:
        said += f" Risk ratios may be the same (p = {found.p_ratio:.2g}): levels differ in baseline risk."
    return said


def _credibility(found: SubgroupColumn, tested: int) -> str:
    """Return how far to believe a subgroup effect, along the questions of ICEMAN that data can answer."""
    if math.isnan(found.p):
        return "No judgement: the interaction is not estimable."
    limits = ((0.005, "chance is a very unlikely explanation"), (0.01, "chance is an unlikely explanation"))
    likely = (*limits, (0.05, "chance is a likely explanation"), (2.0, "chance is a very likely explanation"))
    chance = next(words for limit, words in likely if found.p <= limit)
    few = "few columns were tested" if tested <= 3 else "several columns were tested"
    many = few if tested <= 10 else "many columns were tested, so that small p values are expected"
    planned = (
        "chosen in advance" if found.prespecified else "not chosen in advance, so that it can only suggest a hypothesis"
    )
    strong = found.prespecified and tested <= 3 and found.p <= 0.005
    some = found.prespecified and tested <= 10 and found.p <= 0.05
    verdict = "moderate to high" if strong else "low to moderate" if some else "low"
    return (
        f"Credibility of a difference {verdict}: {planned}; {many} ({tested}); {chance} (p = {found.p:.2g}). "
        "Whether the direction was foreseen and other trials agree has to be judged by a reader."
    )


def subgroup_effects(
    Y: ArrayLike,
    T: ArrayLike,
    columns: Mapping[str, ArrayLike | tuple[ArrayLike, str] | tuple[ArrayLike, str, Sequence[str]]],
    *,
    scores: ArrayLike | None = None,
    by_arm: tuple[ArrayLike, ArrayLike] | None = None,
    events: ArrayLike | None = None,
    prespecified: bool | Collection[str] = True,
    min_events: int = 20,
    patient: ArrayLike | None = None,
    better: Better = "lower",
    level: float = 0.95,
) -> SubgroupEffects:
    """Return the effect in the levels of each column and test whether levels differ.

    Parameters
    ----------
    Y : float array, shape (n,)
        Outcome: 0/1, any number, or a pseudo-outcome of time to event.
    T : 0/1 array, shape (n,)
    columns : mapping of str to labels, or (labels, title), or (labels, title, order)
        Column → label of each row, what it is called in sentences, and the order of its levels. Labels are known before
        treatment. A missing label makes the level ``missing``, which is not tested.
    scores : float array, shape (n,), optional
        Doubly robust scores of the effect with the sign of Y, such as ``nuisances.scores(Y, T)``: the effect of a level
        is their mean. Without them it is the difference of the arm means, which needs randomised arms.
    by_arm : pair of float arrays, shape (n,), optional
        Doubly robust scores of the outcome untreated and treated, such as ``nuisances.scores_by_arm(Y, T)``: the
        outcome of either arm is then their mean, not that of the arm as it is.
    events : 0/1 array, shape (n,), optional
        Rows in which the event was seen, for outcomes that are not 0 and 1.
    prespecified : bool or collection of str
        Whether the columns were chosen before outcomes were seen, or which of them were.
    min_events : int
        A level with fewer events, or fewer non-events, is not estimable; for outcomes without events, with fewer rows.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    better : {"lower", "higher"}
    level : float
        Coverage of the intervals; a column whose adjusted p is below 1 - level is called different.

    Returns
    -------
    SubgroupEffects

    Raises
    ------
    DataError
        If there is no column, shapes differ, or a column has more than 12 levels.
    NotEstimableError
        If an arm has no row.

    Notes
    -----
    Formula: Wald's test that the effects of the estimable levels are one, k - 1 degrees of freedom, p by Welch's F,
    whose second degrees of freedom come from the patients of each level. p values are adjusted by Holm over columns. It
    is a test of the absolute effect, which differs between levels of different risk where the relative one does not;
    `p_ratio` tests the risk ratios, on the log scale.
    Range: p 0 to 1.
    Assumes: randomised arms, or scores of an adjusted effect; labels from before treatment.
    Refuses: columns of many levels. Levels with few events or without an arm are not estimable, and say so.

    References
    ----------
    Schandelmaier et al., CMAJ 2020;192:E901 (ICEMAN). Wang et al., NEJM 2007;357:2189. Holm, Scand J Stat 1979;6:65.
    Welch, Biometrika 1951;38:330.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> T, sex = rng.integers(0, 2, 2000), np.repeat(["f", "m"], 1000)
    >>> Y = rng.random(2000) < np.where(sex == "f", 0.4 - 0.25 * T, 0.4)
    >>> found = subgroup_effects(Y, T, {"sex": (sex, "sex")})
    >>> print(found["sex"].sentence)
    The effect differs by sex (interaction p = ...): from ... (f) to ... (m).
    """
    checked_better(better)
    checked_level(level)
    if not columns:
        raise DataError("no subgroup column", "at least one column of labels")
    if min_events < 1:
        raise DataError(f"min_events is {min_events}", "at least 1")
    y = vector("Y", Y)
    n = y.size
    arm = as_arms(T, n)
    effects = None if scores is None else vector("scores", scores, n)
    binary = is_binary(y)
    seen = zero_one("events", events, n) if events is not None else (y if binary else None)
    who = None if patient is None else patient_codes(patient, n)
    arms = None if by_arm is None else (vector("by_arm", by_arm[0], n), vector("by_arm", by_arm[1], n))
    common: dict[str, Any] = {"scores": effects, "by_arm": arms, "patient": who, "better": better, "level": level}
    found = [
        _column(column, entry, y, arm, seen, who, prespecified, min_events, common) for column, entry in columns.items()
    ]
    adjusted = adjust_p_values([c.p for c in found])
    found = [replace(c, p_holm=float(p)) for c, p in zip(found, adjusted, strict=True)]
    tested = sum(not math.isnan(c.p) for c in found)
    how = "mean doubly robust score" if scores is not None else "difference of the arm means"
    return SubgroupEffects(
        overall=group_effect(y, arm, np.ones(n, dtype=bool), **common),
        columns=tuple(
            replace(c, sentence=_sentence(c, tested, level, binary), credibility=_credibility(c, tested)) for c in found
        ),
        level=level,
        method=f"{how} in each level; Wald test of interaction, adjusted by Holm over {tested} columns",
        note="intervals of levels are not adjusted for their number; a test that finds no difference does not show "
        "that effects are the same, since most trials are too small to see one",
    )


def _column(
    column: str,
    entry: Any,
    y: FloatArray,
    arm: BoolArray,
    seen: FloatArray | None,
    who: IntArray | None,
    prespecified: bool | Collection[str],
    min_events: int,
    common: Mapping[str, Any],
) -> SubgroupColumn:
    given = entry if isinstance(entry, tuple) else (entry,)
    title = str(given[1]) if len(given) > 1 else column
    text, order = _levels(column, given[0], given[2] if len(given) > 2 else (), y.size)
    groups = []
    for label in order:
        member = text == label
        refused = _refusal(seen, member, min_events)
        groups.append(Subgroup(level=label, effect=group_effect(y, arm, member, refused=refused, **common)))
    tested = [g.effect for g in groups if g.effect.estimable and g.level != MISSING]
    statistic, df, p = _wald([float(e.difference) for e in tested], [e.difference.influence for e in tested], who)
    return SubgroupColumn(
        column=column,
        title=title,
        subgroups=tuple(groups),
        statistic=statistic,
        df=df,
        p=p,
        p_holm=math.nan,
        p_ratio=_ratio_test(tested, who),
        prespecified=prespecified if isinstance(prespecified, bool) else column in prespecified,
    )


def _refusal(seen: FloatArray | None, member: BoolArray, least: int) -> str:
    rows = int(member.sum())
    if seen is None:
        return "" if rows >= least else f"not estimable: fewer than {least} rows"
    happened = int(seen[member].sum())
    for what, count in (("events", happened), ("rows without the event", rows - happened)):
        if count < least:
            return f"not estimable: fewer than {least} {what}"
    return ""
