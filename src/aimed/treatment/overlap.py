"""Overlap: could patients like these have been in either arm, what the weights cost, and who is left after trimming."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import BoolArray, FloatArray, IntArray, probabilities
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Estimate, notes, or_missing
from aimed.treatment.arms import as_arms

__all__ = ["OneArmed", "Overlap", "Trimming", "crump_limit", "kish", "one_armed", "overlap", "trimming"]

_EDGE = 0.05
_WORST = 0.01
_GOOD_SHARE = 0.5


def kish(weights: ArrayLike) -> float:
    """Return Kish's effective sample size of weights: how many equal ones would say as much.

    References
    ----------
    Kish, Survey Sampling, 1965.

    Examples
    --------
    >>> kish([1, 1, 1, 1]), kish([3, 1, 0])
    (4.0, 1.6)
    """
    w = np.asarray(weights, dtype=np.float64)
    squares = float((w * w).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else 0.0


def crump_limit(propensity: ArrayLike) -> float:
    """Return the distance from 0 and 1 of the propensities to keep for the most precise average effect.

    Parameters
    ----------
    propensity : float array, shape (n,)

    Returns
    -------
    float
        Keep propensities in [limit, 1 - limit]; 0 where none should go.

    References
    ----------
    Crump, Hotz, Imbens and Mitnik, Biometrika 2009;96:187.

    Notes
    -----
    Formula: of all cuts of 1 / (e (1 - e)), the one that minimises its mean over those kept divided by their share,
    which is the variance of the average effect when the outcome varies equally in both arms.

    Examples
    --------
    >>> crump_limit(np.full(10, 0.5))
    0.0
    >>> round(crump_limit((np.arange(1000) + 0.5) / 1000), 2)
    0.1
    """
    e = probabilities("propensity", propensity)
    inside = (e > 0) & (e < 1)
    if not inside.any():
        raise NotEstimableError("every propensity is 0 or 1", "patients who could have been in either arm")
    near = np.minimum(e[inside], 1 - e[inside])
    near = near[np.argsort(-near, kind="stable")]
    cost = 1 / (near * (1 - near))
    ends = np.append(near[1:] < near[:-1], True)
    share = np.arange(1, near.size + 1, dtype=np.float64)
    bound = np.where(ends, np.cumsum(cost) / share**2, np.inf)
    best = int(np.argmin(bound))
    return 0.0 if best == near.size - 1 and inside.all() else float(near[best])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trimming:
    """Which rows are kept because their patients could have been in either arm.

    Parameters
    ----------
    rule : str
        ``"none"``, ``"crump"`` or ``"fixed"``.
    lower, upper : float
        Limits of the propensities kept.
    kept : bool array, shape (n,)
    n, n_treated, n_control : int
        Kept rows, and those of either arm.
    sentence : str
        What trimming did to the population of the estimand; empty where nobody was left out.
    """

    rule: str
    lower: float
    upper: float
    kept: BoolArray = field(repr=False)
    n: int
    n_treated: int
    n_control: int
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without the rows."""
        names = ("rule", "lower", "upper", "n", "n_treated", "n_control", "sentence")
        return {name: getattr(self, name) for name in names}


def trimming(propensity: ArrayLike, T: ArrayLike, rule: str | float | None = "crump") -> Trimming:
    """Return which rows to keep.

    Parameters
    ----------
    propensity : float array, shape (n,)
    T : array of 0 and 1, shape (n,)
    rule : "crump", float or None
        Crump's limit, a limit of one's own such as 0.1, or no trimming.

    Raises
    ------
    DataError
        If the rule is not known or the limit does not lie between 0 and 0.5.
    NotEstimableError
        If a propensity is 0 or 1 and nothing is trimmed, or fewer than 2 rows of an arm are left.

    Examples
    --------
    >>> trimming([0.02, 0.3, 0.4, 0.5, 0.6, 0.99], [0, 0, 1, 0, 1, 1], 0.1).sentence
    '2 of 6 rows (1 treated, 1 control) with a propensity outside 0.100 to 0.900 were left out: the effect is that of \
the patients who are left, not of all'
    """
    e = probabilities("propensity", propensity)
    arm = as_arms(T, e.size)
    if rule is None:
        sure = int(((e <= 0) | (e >= 1)).sum())
        if sure:
            raise NotEstimableError(
                f"propensity is 0 or 1 in {sure} of {e.size} rows",
                "every patient could have been treated and could have been left untreated",
                "trim those rows: the effect is then that of the patients who are left",
            )
        limit, name = 0.0, "none"
    elif rule == "crump":
        limit, name = crump_limit(e), "crump"
    elif isinstance(rule, int | float) and not isinstance(rule, bool) and 0 < rule < 0.5:
        limit, name = float(rule), "fixed"
    else:
        raise DataError("the trimming rule is not known", "'crump', a limit between 0 and 0.5, or none")
    # One rounding step of room: a limit is one of the propensities, and 1 - limit need not be.
    near = np.minimum(e, 1 - e)
    kept = near >= limit - 1e-12 if limit > 0 else np.ones(e.size, dtype=bool)
    kept &= (e > 0) & (e < 1)
    active, rest = int((arm & kept).sum()), int((~arm & kept).sum())
    if min(active, rest) < 2:
        raise NotEstimableError(
            f"trimming leaves {active} treated and {rest} control rows",
            "at least 2 of each",
            "trim less; where the arms do not overlap, no effect can be estimated",
        )
    gone = e.size - active - rest
    sentence = ""
    if gone:
        sentence = (
            f"{gone} of {e.size} rows ({int(arm.sum()) - active} treated, {int((~arm).sum()) - rest} control) with a "
            f"propensity outside {limit:.3f} to {1 - limit:.3f} were left out: the effect is that of the patients who "
            "are left, not of all"
        )
    return Trimming(
        rule=name,
        lower=limit,
        upper=1 - limit,
        kept=kept,
        n=active + rest,
        n_treated=active,
        n_control=rest,
        sentence=sentence,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OneArmed:
    """Levels of a column at which all patients had one treatment.

    Parameters
    ----------
    column : str
    levels : int
        Levels with one arm only; they are counted, not named, since a rare level may point to a patient.
    rows, n_treated, n_control : int
        Rows at these levels.
    """

    column: str
    levels: int
    rows: int
    n_treated: int
    n_control: int

    @property
    def sentence(self) -> str:
        """The finding in words."""
        return (
            f"column '{self.column}': {self.levels} level{'s' if self.levels > 1 else ''} with one arm only "
            f"({self.rows} rows, {self.n_treated} treated, {self.n_control} control): the treatment is not compared "
            "there; merge levels or leave these rows out"
        )


def one_armed(columns: Mapping[str, ArrayLike], T: ArrayLike, *, least: int = 1) -> list[OneArmed]:
    """Return the columns with levels at which there is one arm only.

    Parameters
    ----------
    columns : mapping of str to array, shape (n,)
        Categories or strata; a missing value is a level of its own.
    T : array of 0 and 1, shape (n,)
    least : int
        Rows a level must have to count: small levels have one arm by chance.

    Examples
    --------
    >>> found = one_armed({"site": ["a", "a", "b", "b"], "sex": [0, 1, 0, 1]}, [0, 1, 1, 1])
    >>> [(one.column, one.levels, one.rows) for one in found]
    [('sex', 1, 2), ('site', 1, 2)]
    """
    arm = as_arms(T)
    found = []
    for name in sorted(columns):
        code = _codes(name, columns[name], arm.size)
        size = np.bincount(code)
        active = np.bincount(code, arm).astype(np.int64)
        lone = (size >= least) & ((active == 0) | (active == size))
        if lone.any():
            rows, treated = int(size[lone].sum()), int(active[lone].sum())
            found.append(
                OneArmed(column=name, levels=int(lone.sum()), rows=rows, n_treated=treated, n_control=rows - treated)
            )
    return found


def _codes(name: str, values: ArrayLike, n: int) -> IntArray:
    """Return a number for each level; missing values are one level."""
    array = np.asarray(values)
    if array.shape != (n,):
        raise DataError(f"column '{name}' has shape {array.shape}", f"({n},), one value a row")
    if array.dtype.kind == "O":
        numbers: dict[Any, int] = {}
        keys = [None if v is None or v != v else (type(v).__name__, v) for v in array]
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return np.asarray(np.unique(array, return_inverse=True)[1], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """How far the arms share their patients.

    Parameters
    ----------
    edges : float array, shape (bins + 1,)
    treated, control : int array, shape (bins,)
        Rows of either arm by propensity.
    auc : Estimate
        How well the propensity tells the arms apart: 0.5 in a trial, near 1 where they cannot be compared.
    n, n_treated, n_control : int
    outside : int
        Rows with a propensity outside [0.05, 0.95].
    extreme : int
        Rows with a propensity below 0.01 or above 0.99: positivity is violated in practice.
    impossible : int
        Rows with a propensity of 0 or 1.
    unsupported : int
        Rows whose propensity lies outside the range seen in the other arm.
    effective_treated, effective_control : float
        Kish's effective sample sizes under inverse probability weights; NaN with a propensity of 0 or 1.
    lowest, highest : float
        Range of the propensities.
    crump : Trimming or None
        What optimal trimming would keep; None where it leaves too few rows, or the arms do not overlap.
    findings : tuple of str
        What is wrong, in words; empty where overlap is good.
    """

    edges: FloatArray = field(repr=False)
    treated: IntArray = field(repr=False)
    control: IntArray = field(repr=False)
    auc: Estimate
    n: int
    n_treated: int
    n_control: int
    outside: int
    extreme: int
    impossible: int
    unsupported: int
    effective_treated: float
    effective_control: float
    lowest: float
    highest: float
    crump: Trimming | None
    findings: tuple[str, ...] = ()

    @property
    def share_outside(self) -> float:
        """Share of rows with a propensity outside [0.05, 0.95]."""
        return self.outside / self.n

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; a number that is not there is None."""
        sizes = {"effective_treated": self.effective_treated, "effective_control": self.effective_control}
        return {
            "edges": self.edges.tolist(),
            "treated": self.treated.tolist(),
            "control": self.control.tolist(),
            "auc": self.auc.measure().to_dict(),
            "n": self.n,
            "n_treated": self.n_treated,
            "n_control": self.n_control,
            "outside": self.outside,
            "extreme": self.extreme,
            "impossible": self.impossible,
            "unsupported": self.unsupported,
            "lowest": self.lowest,
            "highest": self.highest,
            "crump": None if self.crump is None else self.crump.to_dict(),
            "findings": list(self.findings),
        } | {name: size if np.isfinite(size) else None for name, size in sizes.items()}

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        head = (
            f"propensity {self.lowest:.3f} to {self.highest:.3f}, {self.auc}; effective sample size "
            f"{self.effective_treated:.0f} of {self.n_treated} treated, {self.effective_control:.0f} of "
            f"{self.n_control} control"
        )
        return notes(head, *self.findings)


def overlap(
    T: ArrayLike,
    propensity: ArrayLike,
    *,
    columns: Mapping[str, ArrayLike] | None = None,
    patient: ArrayLike | None = None,
    bins: int = 20,
    level: float = 0.95,
) -> Overlap:
    """Return how far the arms share their patients.

    Parameters
    ----------
    T : array of 0 and 1, shape (n,)
    propensity : float array, shape (n,)
        Chance of treatment, best from models that did not see the row.
    columns : mapping of str to array, optional
        Categories and strata, to be searched for levels with one arm only.
    patient : array, shape (n,), optional
    bins : int
    level : float

    Raises
    ------
    DataError
        If a propensity lies outside [0, 1], or arrays differ in length.
    NotEstimableError
        If there is one arm only.

    References
    ----------
    Crump et al., Biometrika 2009;96:187. Petersen et al., Stat Methods Med Res 2012;21:31 (positivity).

    Examples
    --------
    >>> found = overlap([0, 0, 1, 1], [0.4, 0.5, 0.5, 0.6])
    >>> found.good, round(found.effective_control, 2), found.treated[[10, 12]].tolist()
    (True, 1.98, [1, 1])
    """
    e = probabilities("propensity", propensity)
    arm = as_arms(T, e.size)
    if bins < 1:
        raise DataError(f"bins = {bins}", "1 or more")
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Rounded first, so that a propensity on an edge counts above it whatever its last bit.
    place = np.minimum(np.floor(np.round(e * bins, 9)).astype(np.int64), bins - 1)
    near = np.minimum(e, 1 - e)
    outside, extreme, impossible = (int(rule.sum()) for rule in (near < _EDGE, near < _WORST, near <= 0))
    ranges = [(float(e[member].min()), float(e[member].max())) for member in (arm, ~arm)]
    unsupported = sum(
        int(((e[member] < low) | (e[member] > high)).sum())
        for member, (low, high) in zip((~arm, arm), ranges, strict=True)
    )
    sizes = [float("nan")] * 2
    if not impossible:
        sizes = [kish(1 / e[arm]), kish(1 / (1 - e[~arm]))]
    n_treated, n_control = int(arm.sum()), int((~arm).sum())
    crump = None
    if not _apart(ranges):
        with contextlib.suppress(NotEstimableError):
            crump = trimming(e, arm, "crump")
    return Overlap(
        edges=edges,
        treated=np.bincount(place[arm], minlength=bins),
        control=np.bincount(place[~arm], minlength=bins),
        auc=or_missing("propensity_auc", lambda: _auc(arm, e, patient, level)),
        n=e.size,
        n_treated=n_treated,
        n_control=n_control,
        outside=outside,
        extreme=extreme,
        impossible=impossible,
        unsupported=unsupported,
        effective_treated=sizes[0],
        effective_control=sizes[1],
        lowest=float(e.min()),
        highest=float(e.max()),
        crump=crump,
        findings=tuple(_findings(e.size, outside, extreme, impossible, ranges, sizes, (n_treated, n_control)))
        + tuple(one.sentence for one in one_armed(columns or {}, arm)),
    )


def _auc(arm: BoolArray, e: FloatArray, patient: ArrayLike | None, level: float) -> Estimate:
    found = auroc(arm, e, patient=patient, level=level)
    found.name = "propensity_auc"
    return found


def _apart(ranges: Sequence[tuple[float, float]]) -> bool:
    """Tell whether all propensities of one arm lie above all of the other."""
    (low1, high1), (low0, high0) = ranges
    return high0 < low1 or high1 < low0


def _findings(
    n: int,
    outside: int,
    extreme: int,
    impossible: int,
    ranges: Sequence[tuple[float, float]],
    sizes: Sequence[float],
    arms: Sequence[int],
) -> list[str]:
    found = []
    if _apart(ranges):
        found.append(
            "the arms do not overlap at all: every treated row has a propensity above (or below) every control row; "
            "no effect can be estimated"
        )
    if impossible:
        found.append(
            f"{impossible} of {n} rows have a propensity of 0 or 1: they could have had one treatment only; leave "
            "them out"
        )
    if extreme:
        found.append(f"{extreme} of {n} rows have a propensity below {_WORST} or above {1 - _WORST}: trim them")
    elif outside:
        found.append(f"{outside} of {n} rows have a propensity outside {_EDGE} to {1 - _EDGE}: consider trimming")
    for size, rows, what in zip(sizes, arms, ("treated", "control"), strict=True):
        if size < _GOOD_SHARE * rows:
            found.append(f"weighting leaves an effective {size:.0f} of {rows} {what} rows: few rows carry the estimate")
    return found
