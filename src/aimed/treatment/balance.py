"""Balance: are the arms alike in what was known before treatment, as they are and after weights or matching."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.metrics.arrays import BoolArray, FloatArray, dot, weights_of
from aimed.treatment.arms import as_arms
from aimed.treatment.overlap import kish

__all__ = ["LARGE", "NO_TESTS", "Balance", "BalanceRow", "balance"]

LARGE = 0.1
"""Above this absolute standardised difference a covariate is called unbalanced."""

NO_TESTS = (
    "No p values: in a trial any difference at baseline is chance by design, and a test of it answers no question "
    "(CONSORT); in observational data they measure sample size."
)
"""Why there is no significance test of baseline balance."""

_MOST_LEVELS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRow:
    """One covariate, or one level of it, in both arms.

    Parameters
    ----------
    name : str
        Column; with `level` where it is a category.
    kind : {"continuous", "share", "missing"}
        A mean with its standard deviation, the share of a level, or the share of missing values.
    level : str
        Level of a category, empty otherwise.
    n_treated, n_control : int
        Rows with a value.
    treated, control : float
        Mean, or share.
    sd_treated, sd_control : float
        NaN for shares.
    smd : float
        Standardised difference, treated less control.
    variance_ratio : float
        Variance of the treated over that of the controls; NaN for shares.
    weighted_treated, weighted_control, weighted_smd, weighted_variance_ratio : float
        The same after weights; NaN without them.
    """

    name: str
    kind: str
    level: str = ""
    n_treated: int
    n_control: int
    treated: float
    control: float
    sd_treated: float = math.nan
    sd_control: float = math.nan
    smd: float = math.nan
    variance_ratio: float = math.nan
    weighted_treated: float = math.nan
    weighted_control: float = math.nan
    weighted_smd: float = math.nan
    weighted_variance_ratio: float = math.nan

    @property
    def label(self) -> str:
        """Column and level."""
        if self.kind == "missing":
            return f"{self.name}, missing"
        return f"{self.name} = {self.level}" if self.level else self.name

    def cells(self, weighted: bool = False) -> tuple[str, str]:
        """Return how the treated and the controls are printed: mean (sd), or a percentage.

        Examples
        --------
        >>> row = BalanceRow(name="age", kind="continuous", n_treated=9, n_control=9, treated=61.234, control=60.0,
        ...                  sd_treated=9.5, sd_control=10.25)
        >>> row.cells()
        ('61.2 (9.50)', '60.0 (10.2)')
        """
        if weighted:
            pairs = ((self.weighted_treated, math.nan), (self.weighted_control, math.nan))
        else:
            pairs = ((self.treated, self.sd_treated), (self.control, self.sd_control))
        if self.kind != "continuous":
            one, two = (f"{100 * mean:.1f} %" for mean, _ in pairs)
        else:
            one, two = (f"{mean:#.3g}" + ("" if math.isnan(sd) else f" ({sd:#.3g})") for mean, sd in pairs)
        return one, two


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The balance table.

    Parameters
    ----------
    rows : tuple of BalanceRow
    n_treated, n_control : int
    effective_treated, effective_control : float
        Kish's effective sample sizes under the weights; the rows without weights.
    weighted : bool
    distance : float
        Mahalanobis distance of the mean of the numbers of both arms, before weights; NaN where it has none.
    overall : dict of str to float
        One distance for each category of more than two levels: Yang and Dalton's, over all its levels together.
    note : str
    """

    rows: tuple[BalanceRow, ...]
    n_treated: int
    n_control: int
    effective_treated: float
    effective_control: float
    weighted: bool = False
    distance: float = math.nan
    overall: dict[str, float] = field(default_factory=dict)
    note: str = NO_TESTS

    def largest(self, weighted: bool = False) -> float:
        """Return the largest absolute standardised difference, before or after weights; NaN where there is none."""
        found = [abs(row.weighted_smd if weighted else row.smd) for row in self.rows]
        known = [v for v in found if not math.isnan(v)]
        return max(known) if known else math.nan

    def unbalanced(self, weighted: bool = False, above: float = LARGE) -> list[str]:
        """Return the labels of covariates whose absolute standardised difference is above a limit."""
        return [row.label for row in self.rows if abs(row.weighted_smd if weighted else row.smd) > above]

    def __str__(self) -> str:
        wide = max([len(row.label) for row in self.rows], default=0) + 2
        head = f"{'':{wide}}{f'treated, n = {self.n_treated}':>22}{f'control, n = {self.n_control}':>22}{'SMD':>8}"
        lines = [head + ("   weighted" if self.weighted else "")]
        for row in self.rows:
            one, two = row.cells()
            after = f"{row.weighted_smd:11.3f}" if self.weighted else ""
            lines.append(f"{row.label:{wide}}{one:>22}{two:>22}{row.smd:8.3f}{after}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; a number that is not there is None."""
        rows = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(row).items()}
            | {"label": row.label}
            for row in self.rows
        ]
        largest = {name: self.largest(after) for name, after in (("largest", False), ("largest_weighted", True))}
        return {
            "rows": rows,
            "n_treated": self.n_treated,
            "n_control": self.n_control,
            "effective_treated": self.effective_treated,
            "effective_control": self.effective_control,
            "weighted": self.weighted,
            "distance": self.distance if math.isfinite(self.distance) else None,
            "overall": {name: value if math.isfinite(value) else None for name, value in self.overall.items()},
            "note": self.note,
        } | {name: value if math.isfinite(value) else None for name, value in largest.items()}


def balance(
    X: ArrayLike | Mapping[str, ArrayLike],
    T: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    categories: Sequence[str] = (),
    weights: ArrayLike | None = None,
) -> Balance:
    """Return how alike the arms are, with standardised differences before and after weights.

    Parameters
    ----------
    X : array, shape (n, p), or mapping of str to array, shape (n,)
        Raw columns: numbers, text or truth values; missing values (NaN, None, empty text) get a line of their own.
    T : array of 0 and 1, shape (n,)
    names : sequence of str, optional
        Of the columns of an array.
    categories : sequence of str
        Columns of numbers whose values are codes. Text and columns of 0 and 1 are taken for categories by themselves.
    weights : float array, shape (n,), optional
        Such as the `weights` of an `AverageEffect`.

    Raises
    ------
    DataError
        If shapes differ, a name is not known, or a category has more than 50 levels.
    NotEstimableError
        If there is one arm only.

    References
    ----------
    Austin, Stat Med 2009;28:3083. Yang and Dalton, SAS Global Forum 2012;335. Schulz et al., CONSORT 2010, item 15.

    Notes
    -----
    Formula: difference of the means over the root of the mean of both arms' variances, without weights: so that weights
    move the numerator alone. For a share the variance is p (1 - p). Over all levels of a category: the root of
    d' S^-1 d, d being the differences of the shares and S the mean of both arms' covariances of them.

    Examples
    --------
    >>> found = balance({"age": [60.0, 70.0, 50.0, 64.0], "sex": ["f", "m", "f", "f"]}, [1, 1, 0, 0])
    >>> [(row.label, round(row.smd, 2)) for row in found.rows]
    [('age', 0.93), ('sex = f', -1.41), ('sex = m', 1.41)]
    """
    columns = _named(X, names)
    arm = as_arms(T)
    unknown = [name for name in categories if name not in columns]
    if unknown:
        raise DataError(f"{len(unknown)} categories that are no columns, the first '{unknown[0]}'", "names of columns")
    w = None if weights is None else weights_of(weights, arm.size)
    rows: list[BalanceRow] = []
    numbers: list[FloatArray] = []
    for name, values in columns.items():
        if values.shape != (arm.size,):
            raise DataError(f"column '{name}' has shape {values.shape}", f"({arm.size},), one value a row")
        absent = _missing(values)
        seen = ~absent
        if seen.any():
            number = _numbers(values, seen)
            if number is None or name in categories or bool(np.isin(number[seen], (0.0, 1.0)).all()):
                rows += _levels(name, values, seen, arm, w, number)
            else:
                rows.append(_continuous(name, number, seen, arm, w))
            if number is not None and name not in categories and not absent.any():
                numbers.append(number)
        if absent.any():
            rows.append(_share(name, "missing", "", absent, np.ones(arm.size, dtype=bool), arm, w))
    sizes = [float(arm.sum()), float((~arm).sum())] if w is None else [kish(w[arm]), kish(w[~arm])]
    return Balance(
        rows=tuple(rows),
        n_treated=int(arm.sum()),
        n_control=int((~arm).sum()),
        effective_treated=sizes[0],
        effective_control=sizes[1],
        weighted=w is not None,
        distance=_distance(numbers, arm),
        overall=_overall(rows),
    )


def _named(X: ArrayLike | Mapping[str, ArrayLike], names: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    if isinstance(X, Mapping):
        return {str(name): np.asarray(values) for name, values in X.items()}
    table = np.asarray(X)
    if table.ndim != 2:
        raise DataError(f"X has shape {table.shape}", "n rows and p columns, or a mapping of names to columns")
    labels = [f"x{j}" for j in range(table.shape[1])] if names is None else [str(name) for name in names]
    if len(labels) != table.shape[1] or len(set(labels)) != len(labels):
        raise DataError(f"{len(set(labels))} different names for {table.shape[1]} columns", "one a column")
    return {name: table[:, j] for j, name in enumerate(labels)}


def _missing(values: NDArray[Any]) -> BoolArray:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    if values.dtype.kind == "O":
        return np.array([v is None or v != v or v == "" for v in values], dtype=bool)
    return np.asarray(values == "") if values.dtype.kind == "U" else np.zeros(values.shape, dtype=bool)


def _numbers(values: NDArray[Any], seen: BoolArray) -> FloatArray | None:
    """Return the column as numbers, NaN where missing; None where it is text."""
    if values.dtype.kind in "biuf":
        out = values.astype(np.float64)
    elif values.dtype.kind == "O" and all(isinstance(v, int | float | np.number | np.bool_) for v in values[seen]):
        out = np.full(values.size, np.nan)
        out[seen] = values[seen].astype(np.float64)
    else:
        return None
    if np.isinf(out[seen]).any():
        raise DataError("a column holds infinite values", "finite or missing values", "set them to missing")
    return out


def _levels(
    name: str, values: NDArray[Any], seen: BoolArray, arm: BoolArray, w: FloatArray | None, number: FloatArray | None
) -> list[BalanceRow]:
    """Return a row for each level; for 0/1 the row of 1 alone."""
    if number is not None:
        levels = np.unique(number[seen])
        two = bool(np.isin(levels, (0.0, 1.0)).all())
        pairs = [("" if two else f"{level:g}", seen & (number == level)) for level in ([1.0] if two else levels)]
    else:
        text = np.array([str(v) if there else "" for v, there in zip(values, seen, strict=True)])
        pairs = [(str(level), seen & (text == level)) for level in np.unique(text[seen])]
    if len(pairs) > _MOST_LEVELS:
        raise DataError(
            f"column '{name}' has {len(pairs)} levels",
            f"a category of at most {_MOST_LEVELS} levels",
            "merge levels or leave the column out, since it may identify patients; give numbers as numbers",
        )
    return [_share(name, "share", level, here, seen, arm, w) for level, here in pairs]


def _means(values: FloatArray, seen: BoolArray, arm: BoolArray, w: FloatArray | None) -> list[tuple[float, float, int]]:
    """Return mean, variance (of the sample) and rows of either arm, treated first."""
    out = []
    for member in (arm & seen, ~arm & seen):
        inside = values[member]
        size = np.ones(inside.size) if w is None else w[member]
        total = float(size.sum())
        if inside.size == 0 or total <= 0:
            out.append((math.nan, math.nan, inside.size))
            continue
        mean = dot(size, inside) / total
        loss = total - dot(size, size) / total
        spread = dot(size, (inside - mean) ** 2) / loss if loss > 0 else math.nan
        out.append((mean, spread, inside.size))
    return out


def _over(gap: float, pooled: float) -> float:
    """Return a standardised difference; 0 where nothing varies and nothing differs."""
    if math.isnan(gap) or math.isnan(pooled):
        return math.nan
    if pooled > 0:
        return gap / math.sqrt(pooled)
    return 0.0 if gap == 0 else math.copysign(math.inf, gap)


def _ratio(one: float, two: float) -> float:
    return one / two if two > 0 else math.nan


def _continuous(name: str, number: FloatArray, seen: BoolArray, arm: BoolArray, w: FloatArray | None) -> BalanceRow:
    (mean1, var1, n1), (mean0, var0, n0) = _means(number, seen, arm, None)
    pooled = (var1 + var0) / 2
    more: dict[str, Any] = {}
    if w is not None:
        (after1, wide1, _), (after0, wide0, _) = _means(number, seen, arm, w)
        more = {
            "weighted_treated": after1,
            "weighted_control": after0,
            "weighted_smd": _over(after1 - after0, pooled),
            "weighted_variance_ratio": _ratio(wide1, wide0),
        }
    return BalanceRow(
        name=name,
        kind="continuous",
        n_treated=n1,
        n_control=n0,
        treated=mean1,
        control=mean0,
        sd_treated=math.sqrt(var1),
        sd_control=math.sqrt(var0),
        smd=_over(mean1 - mean0, pooled),
        variance_ratio=_ratio(var1, var0),
        **more,
    )


def _share(
    name: str, kind: str, level: str, here: BoolArray, seen: BoolArray, arm: BoolArray, w: FloatArray | None
) -> BalanceRow:
    (p1, _, n1), (p0, _, n0) = _means(here.astype(np.float64), seen, arm, None)
    pooled = (p1 * (1 - p1) + p0 * (1 - p0)) / 2
    more: dict[str, Any] = {}
    if w is not None:
        (after1, _, _), (after0, _, _) = _means(here.astype(np.float64), seen, arm, w)
        more = {
            "weighted_treated": after1,
            "weighted_control": after0,
            "weighted_smd": _over(after1 - after0, pooled),
        }
    return BalanceRow(
        name=name,
        kind=kind,
        level=level,
        n_treated=n1,
        n_control=n0,
        treated=p1,
        control=p0,
        smd=_over(p1 - p0, pooled),
        **more,
    )


def _distance(numbers: list[FloatArray], arm: BoolArray) -> float:
    """Return the Mahalanobis distance of the means of both arms over complete columns of numbers."""
    if not numbers:
        return math.nan
    table = np.column_stack(numbers)
    parts = [table[arm], table[~arm]]
    if min(len(part) for part in parts) < 2:
        return math.nan
    gap = parts[0].mean(axis=0) - parts[1].mean(axis=0)
    pooled = np.atleast_2d(sum(np.cov(part, rowvar=False) for part in parts)) / 2
    return math.sqrt(max(float(gap @ np.linalg.pinv(pooled, hermitian=True) @ gap), 0.0))


def _overall(rows: Sequence[BalanceRow]) -> dict[str, float]:
    """Return Yang and Dalton's distance over the levels of each category of more than two."""
    levels: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.kind == "share" and row.level:
            levels.setdefault(row.name, []).append((row.treated, row.control))
    found = {}
    for name, pairs in levels.items():
        shares = np.array(pairs)[1:]
        if len(shares) < 2 or not np.isfinite(shares).all():
            continue
        pooled = sum(np.diag(p) - np.outer(p, p) for p in shares.T) / 2
        gap = shares[:, 0] - shares[:, 1]
        found[name] = math.sqrt(max(float(gap @ np.linalg.pinv(pooled, hermitian=True) @ gap), 0.0))
    return found
