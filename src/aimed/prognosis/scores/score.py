"""What a published score is: inputs with unit and valid range, formula, source and limits, and how it is computed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, UnknownNameError
from aimed.prognosis.scores.units import UNITS, convert

__all__ = [
    "Found",
    "Input",
    "Score",
    "ScoreResult",
    "at_least",
    "category",
    "number",
    "published_score",
    "up_to",
    "yes_no",
]

Array: TypeAlias = NDArray[np.float64]
_EDGE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of a score.

    Parameters
    ----------
    name, label : str
        The keyword, and what it means in words.
    kind : {"yes/no", "number", "category"}
    measurement, unit : str, optional
        For a number: what is measured (a name in `aimed.prognosis.scores.units.UNITS`) and the unit the formula takes.
    valid : (float, float)
        Lowest and highest number for which the score may be computed, both included.
    categories : tuple of str
        For a category: the levels the formula knows.
    absent : float, optional
        Value taken for every row when the input is not given at all; None for an input that must be given.
    """

    name: str
    label: str
    kind: Literal["yes/no", "number", "category"] = "yes/no"
    measurement: str | None = None
    unit: str | None = None
    valid: tuple[float, float] = (0.0, 1.0)
    categories: tuple[str, ...] = ()
    absent: float | None = None

    @property
    def convertible(self) -> bool:
        """Whether the measurement has units that differ in size, so that its unit must be said."""
        return self.measurement is not None and len(set(UNITS[self.measurement].values())) > 1

    def describe(self) -> str:
        """Return label, unit and valid range in one sentence.

        Examples
        --------
        >>> number("age", "Age", "age", "year", 18, 120).describe()
        'Age, year, 18 to 120.'
        """
        if self.kind == "yes/no":
            text = f"{self.label}: 0 or 1"
        elif self.kind == "category":
            text = f"{self.label}: {', '.join(self.categories)}"
        else:
            low, high = self.valid
            unit = f" {self.unit}," if self.unit != "1" else ""
            text = f"{self.label},{unit} {low:g} to {high:g}"
        if self.absent is not None:
            text += f"; {self.absent:g} when not given"
        return text + "."


def number(
    name: str, label: str, measurement: str, unit: str, low: float, high: float, absent: float | None = None
) -> Input:
    """Declare a number with its unit and valid range.

    Examples
    --------
    >>> number("inr", "INR", "ratio", "1", 0.5, 20).valid
    (0.5, 20)
    """
    return Input(
        name=name, label=label, kind="number", measurement=measurement, unit=unit, valid=(low, high), absent=absent
    )


def yes_no(name: str, label: str, absent: float | None = None) -> Input:
    """Declare a yes/no input.

    Examples
    --------
    >>> yes_no("female", "Female sex").describe()
    'Female sex: 0 or 1.'
    """
    return Input(name=name, label=label, absent=absent)


def category(name: str, label: str, categories: Sequence[str]) -> Input:
    """Declare a category; the formula gets the position of the level.

    Examples
    --------
    >>> category("killip", "Killip class", ["I", "II"]).categories
    ('I', 'II')
    """
    return Input(
        name=name, label=label, kind="category", categories=tuple(categories), valid=(0.0, len(categories) - 1.0)
    )


class Found(NamedTuple):
    """What a formula returns for complete rows: the score, and a risk and an unrounded score where there are such."""

    value: Array
    risk: Array | None = None
    linear: Array | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ScoreResult:
    """A computed score.

    Attributes
    ----------
    value : float array
        The score, in the shape of the inputs; NaN where an input is missing or outside its valid range.
    risk : float array or None
        The published risk, as a probability.
    linear : float array or None
        The sum before it was rounded to a score or turned into a risk.
    group : str array or None
        The published group of each score, such as a Child-Pugh class; empty where there is no score.
    horizon_days : float or None
        The time the risk is for; None for a risk that is not of a fixed time.
    missing, outside : dict of str to int
        Rows in which an input is missing, and in which it is outside its valid range, for inputs that have such rows.
    n, scored : int
        Rows, and rows with a score.
    """

    title: str
    value: Array
    risk: Array | None
    linear: Array | None
    group: NDArray[Any] | None
    horizon_days: float | None
    missing: Mapping[str, int]
    outside: Mapping[str, int]

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.value.size)

    @property
    def scored(self) -> int:
        """Number of rows with a score."""
        return int(np.isfinite(self.value).sum())

    def reasons(self) -> str:
        """Say which inputs kept rows from being scored, in counts; empty when every row has a score."""
        parts = [f"'{k}' is missing in {v}" for k, v in self.missing.items()]
        parts += [f"'{k}' is outside its valid range in {v}" for k, v in self.outside.items()]
        return ", ".join(parts)

    def __repr__(self) -> str:
        why = self.reasons()
        return f"<{self.title}: {self.scored} of {self.n} rows scored{f'; {why}' if why else ''}>"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Score:
    """A published score: call it with one keyword an input.

    Parameters
    ----------
    name, title, summary : str
    formula : callable
        Takes one float array an input, complete and within range, and returns `Found`.
    inputs : tuple of Input
    outcome : str
        What the score is about, in words.
    span : (float, float)
        Lowest and highest score.
    source : str
        Citation of the score.
    risk_source : str, optional
        Citation of the risk; None when the score has none.
    horizon_days : float, optional
        The time the risk is for.
    population : str
        In whom it was developed.
    not_for : tuple of str
        What it must not be used for.
    scale : {"points", "risk"}
        Whether the score is counted in points, or is itself a risk in percent.
    worse : {"high", "low"}
    groups : tuple of (float, str)
        Lowest score of each published group, rising, and its name.

    Examples
    --------
    >>> from aimed.prognosis.scores import SCORES
    >>> found = SCORES["qsofa"](respiratory_rate=[24, 18], gcs=[14, 15], systolic=[95, float("nan")])
    >>> found.value.tolist(), found
    ([3.0, nan], <qSOFA: 1 of 2 rows scored; 'systolic' is missing in 1>)
    """

    name: str
    title: str
    summary: str
    formula: Callable[..., Found]
    inputs: tuple[Input, ...]
    outcome: str
    span: tuple[float, float]
    source: str
    population: str
    not_for: tuple[str, ...]
    risk_source: str | None = None
    horizon_days: float | None = None
    scale: Literal["points", "risk"] = "points"
    worse: Literal["high", "low"] = "high"
    groups: tuple[tuple[float, str], ...] = ()

    def __repr__(self) -> str:
        return f"<score {self.name}({', '.join(i.name for i in self.inputs)})>"

    def input(self, name: str) -> Input:
        """Return an input by name, or raise with the nearest one."""
        for one in self.inputs:
            if one.name == name:
                return one
        raise UnknownNameError(f"input of {self.title}", name, [i.name for i in self.inputs])

    def __call__(self, *, units: Mapping[str, str] | None = None, **values: ArrayLike) -> ScoreResult:
        """Compute the score.

        Parameters
        ----------
        units : mapping of str to str, optional
            Input → the unit its values have, where it is not the declared one.
        **values : array
            One keyword an input, numbers or one value for all; categories as text; NaN or None where missing.

        Returns
        -------
        ScoreResult

        Raises
        ------
        DataError
            If an input is absent, is no number, or a yes/no input holds something else than 0 and 1.
        UnknownNameError
            If there is no such input.
        StudyFileError
            If a unit is not known for the input.
        """
        for name in (*values, *(units or {})):
            self.input(name)
        given = {name: _floats(self.input(name), v) for name, v in values.items()}
        for name, unit in (units or {}).items():
            one = self.input(name)
            if one.measurement is None or one.unit is None:
                raise DataError(f"a unit for '{name}', a {one.kind} input", "a number", "leave the unit out")
            if name in given:
                given[name] = convert(given[name], one.measurement, unit, one.unit)
        try:
            arrays = np.broadcast_arrays(*given.values()) if given else []
        except ValueError:
            sizes = ", ".join(f"{name} {v.shape}" for name, v in given.items())
            raise DataError(f"inputs of different shapes: {sizes}", "one value a row, or one for all") from None
        shape = arrays[0].shape if arrays else ()
        flat = {name: np.ravel(v) for name, v in zip(given, arrays, strict=True)}
        return self.compute(flat, shape)

    def compute(self, columns: Mapping[str, Array], shape: tuple[int, ...] | None = None) -> ScoreResult:
        """Compute the score from float columns in the declared units, categories as positions.

        Parameters
        ----------
        columns : mapping of str to float array, shape (n,)
        shape : tuple of int, optional
            Shape of the arrays in the result.
        """
        absent = [i.name for i in self.inputs if i.name not in columns and i.absent is None]
        if absent:
            raise DataError(
                f"{self.title} lacks {', '.join(repr(a) for a in absent)}",
                f"the inputs {', '.join(i.name for i in self.inputs if i.absent is None)}",
                "give one value a row",
            )
        n = len(next(iter(columns.values())))
        use = np.ones(n, dtype=bool)
        missing: dict[str, int] = {}
        outside: dict[str, int] = {}
        for one in self.inputs:
            if one.name not in columns:
                continue
            x = columns[one.name]
            gap = np.isnan(x)
            low, high = one.valid
            beyond = ~gap & ~((x >= low - _EDGE * abs(low)) & (x <= high + _EDGE * abs(high)))
            if one.kind != "number":
                odd = int((beyond | (~gap & (np.floor(x) != x))).sum())
                if odd:
                    want = "0, 1 or missing" if one.kind == "yes/no" else f"one of: {', '.join(one.categories)}"
                    raise DataError(f"'{one.name}' holds something else in {odd} rows", want, "code it first")
            for bad, counts in ((gap, missing), (beyond, outside)):
                if bad.any():
                    counts[one.name] = int(bad.sum())
                    use &= ~bad
        values = {
            i.name: columns[i.name][use] if i.name in columns else np.full(int(use.sum()), i.absent)
            for i in self.inputs
        }
        found = self.formula(**values)

        def spread(part: Array | None) -> Array | None:
            if part is None:
                return None
            out = np.full(n, np.nan)
            out[use] = part
            return out if shape is None else out.reshape(shape)

        value = spread(found.value)
        assert value is not None  # noqa: S101
        return ScoreResult(
            self.title,
            value,
            spread(found.risk),
            spread(found.linear),
            self._group(value),
            self.horizon_days,
            missing,
            outside,
        )

    def _group(self, value: Array) -> NDArray[Any] | None:
        if not self.groups:
            return None
        names = np.array(["", *(name for _, name in self.groups)])
        lowest = np.array([low for low, _ in self.groups])
        return np.asarray(names[np.where(np.isnan(value), 0, np.searchsorted(lowest, value, side="right"))])


def published_score(
    *,
    title: str,
    inputs: Sequence[Input],
    outcome: str,
    span: tuple[float, float],
    source: str,
    population: str,
    not_for: Sequence[str],
    risk_source: str | None = None,
    horizon_days: float | None = None,
    scale: Literal["points", "risk"] = "points",
    worse: Literal["high", "low"] = "high",
    groups: Sequence[tuple[float, str]] = (),
) -> Callable[[Callable[..., Found]], Score]:
    """Make a `Score` of the formula below, and write its inputs into its docstring.

    Examples
    --------
    >>> @published_score(title="Two", inputs=[yes_no("ill", "Ill")], outcome="x", span=(0, 2), source="me",
    ...                  population="all", not_for=["use"])
    ... def two(ill):
    ...     "Twice the illness."
    ...     return Found(2 * ill)
    >>> float(two(ill=True).value), two.summary
    (2.0, 'Twice the illness.')
    """

    def make(formula: Callable[..., Found]) -> Score:
        text = inspect.getdoc(formula) or ""
        summary, _, rest = text.partition("\n\n")
        taken = inspect.signature(formula).parameters.values()
        named = [p.name for p in taken if p.kind is not p.VAR_KEYWORD]
        declared = [i.name for i in inputs]
        if named != declared[: len(named)] or (len(named) == len(taken) and named != declared):
            raise TypeError(f"{formula.__name__} takes {named}, but declares {declared}")
        score = Score(
            name=formula.__name__,
            title=title,
            summary=summary,
            formula=formula,
            inputs=tuple(inputs),
            outcome=outcome,
            span=span,
            source=source,
            population=population,
            not_for=tuple(not_for),
            risk_source=risk_source,
            horizon_days=horizon_days,
            scale=scale,
            worse=worse,
            groups=tuple(groups),
        )
        parameters = "\n".join(f"{i.name} : array\n    {i.describe()}" for i in inputs)
        sources = f"References\n----------\n{source}" + (f"\nRisk: {risk_source}" if risk_source else "")
        limits = "\n".join(f"Not for: {one}." for one in not_for)
        body = f"{summary}\n\nParameters\n----------\n{parameters}\n\nReturns\n-------\nScoreResult\n\n"
        body += f"Notes\n-----\nPopulation: {population}.\n{limits}\n\n{sources}\n\n{rest}"
        # So that help(), the doctest finder and editors see the formula and not the machinery around it.
        for name, value in (
            ("__doc__", body.strip() + "\n"),
            ("__name__", formula.__name__),
            ("__qualname__", formula.__qualname__),
            ("__module__", formula.__module__),
            ("__wrapped__", formula),
        ):
            object.__setattr__(score, name, value)
        return score

    return make


def _floats(one: Input, values: ArrayLike) -> Array:
    """Return the values of an input as floats: a category as positions, missing as NaN."""
    raw = np.asarray(values)
    if one.kind == "category":
        text = np.asarray(raw, dtype=object)
        gap = np.asarray(np.frompyfunc(lambda v: v is None or v != v, 1, 1)(text), dtype=bool)
        words = np.char.lower(np.asarray(np.where(gap, "", text), dtype=str))
        out = np.full(words.shape, np.nan)
        known = gap
        for position, level in enumerate(one.categories):
            hit = words == level.lower()
            out[hit] = position
            known = known | hit
        odd = int((~known).sum())
        if odd:
            raise DataError(
                f"'{one.name}' holds something else in {odd} rows", f"one of: {', '.join(one.categories)}", "code it"
            )
        return out
    try:
        return np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        want = "0 and 1" if one.kind == "yes/no" else f"numbers in {one.unit}"
        raise DataError(f"'{one.name}' holds something that is no number", want, "code it first") from None


def at_least(x: Array, cuts: Sequence[float], points: Sequence[float]) -> Array:
    """Return the points of the band each value is in; a value on a cut counts to the band above.

    Examples
    --------
    >>> at_least(np.array([64.0, 65.0, 80.0]), [65, 75], [0, 1, 2]).tolist()
    [0.0, 1.0, 2.0]
    """
    edges = np.asarray(cuts, dtype=np.float64)
    return np.asarray(points, dtype=np.float64)[np.searchsorted(edges - _EDGE, x, side="right")]


def up_to(x: Array, cuts: Sequence[float], points: Sequence[float]) -> Array:
    """Return the points of the band each value is in; a value on a cut counts to the band below.

    Examples
    --------
    >>> up_to(np.array([8.0, 9.0, 25.0]), [8, 11, 20, 24], [3, 1, 0, 2, 3]).tolist()
    [3.0, 1.0, 3.0]
    """
    edges = np.asarray(cuts, dtype=np.float64)
    return np.asarray(points, dtype=np.float64)[np.searchsorted(edges + _EDGE, x, side="left")]
