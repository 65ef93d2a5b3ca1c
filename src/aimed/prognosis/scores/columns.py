"""Reading the inputs of a score from the columns of a cohort: by name, by rule, with units and levels mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aimed.core import Comparison, StudyFileError, nearest, parse
from aimed.prognosis.scores.score import Array, Input, Score
from aimed.prognosis.scores.units import UNITS, convert

__all__ = ["Columns", "Source", "constant", "position", "unit_unknown"]

_COMPARE = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal
}  # fmt: skip
_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an input of a score comes from: a column, rules, or one value for everyone.

    Parameters
    ----------
    column : str, optional
    unit : str, optional
        Unit of the column or value; the declared unit of the input when absent.
    any_of : tuple of str
        Rules in the language of study files; the input is 1 where one of them holds.
    value : float or str, optional
        The same for every row.
    levels : mapping of str to str, optional
        Level (or number) of the column → category of the input.
    """

    column: str | None = None
    unit: str | None = None
    any_of: tuple[str, ...] = ()
    value: float | str | None = None
    levels: Mapping[str, str] | None = None


class Columns:
    """The columns of a matrix by name: numbers, and categories as their indicators.

    Parameters
    ----------
    values : float array, shape (n, p)
    names : sequence of str, length p
        ``"age"`` for a number, ``"sex=f"`` for the indicator of a level.

    Examples
    --------
    >>> from aimed.prognosis.scores import SCORES
    >>> table = Columns(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), ["sex=f", "sex=m"])
    >>> score = SCORES["egfr_ckd_epi"]
    >>> table.read(score.input("female"), Source(any_of=("sex == 'f'",)), score).tolist()
    [1.0, 0.0, nan]
    """

    def __init__(self, values: Array, names: Sequence[str]) -> None:
        self.values = values
        self.numbers = {name: j for j, name in enumerate(names)}
        self.levels: dict[str, dict[str, int]] = {}
        for name, j in self.numbers.items():
            column, sign, level = name.partition("=")
            if sign:
                self.levels.setdefault(column, {})[level] = j

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self.numbers or name in self.levels

    def _find(self, name: str, one: Input, score: Score) -> str:
        if self.has(name):
            return name
        known = [n for n in self.numbers if "=" not in n] + list(self.levels)
        close = nearest(name, known)
        raise StudyFileError(
            f"{score.title} needs '{one.name}' ({one.label}), and the study has no predictor called '{name}'",
            f"one of: {', '.join(known)}",
            f"write [model.scores.{score.name}] {one.name} = '{close or 'COLUMN'}'",
        )

    def _level(self, name: str) -> tuple[list[str], NDArray[np.intp], NDArray[np.bool_]]:
        """Return the levels of a category, the position of each row's level, and where there is none."""
        levels = self.levels[name]
        block = self.values[:, list(levels.values())]
        return list(levels), np.argmax(block, axis=1), ~(block == 1.0).any(axis=1)

    def read(self, one: Input, source: Source, score: Score) -> Array:
        """Return an input as floats in its declared unit, shape (n,), NaN where missing.

        Raises
        ------
        StudyFileError
            If there is no such column, or it does not fit the input.
        """
        n = self.values.shape[0]
        if source.any_of:
            return self._either([self._all(rule, one, score) for rule in source.any_of])
        if source.value is not None:
            return np.full(n, constant(one, source))
        name = self._find(source.column or one.name, one, score)
        where = f"[model.scores.{score.name}] {one.name}"
        if name in self.levels:
            return self._category(one, source, name, where)
        x = self.values[:, self.numbers[name]]
        if one.kind == "category":
            if source.levels is None:
                raise StudyFileError(
                    f"'{name}' is a number, '{one.name}' of {score.title} a category",
                    f"one of: {', '.join(one.categories)}",
                    f"write {where} = {{ column = '{name}', levels = {{ '1' = '{one.categories[0]}' }} }}",
                )
            out = np.where(np.isnan(x), np.nan, -1.0)
            for level, meaning in source.levels.items():
                out[x == _as_number(level, where)] = position(one, meaning, where)
            return out
        return _in_unit(x, one, source)

    def _category(self, one: Input, source: Source, name: str, where: str) -> Array:
        levels, place, gap = self._level(name)
        if one.kind == "number":
            raise StudyFileError(
                f"'{name}' is a category, and '{one.name}' a number", f"a column in {one.unit}", f"correct {where}"
            )
        codes = np.empty(len(levels))
        for i, level in enumerate(levels):
            if one.kind == "category":
                codes[i] = position(one, (source.levels or {}).get(level, level), where)
            elif level.lower() in (*_YES, *_NO):
                codes[i] = float(level.lower() in _YES)
            else:
                raise StudyFileError(
                    f"which level of '{name}' means yes for '{one.name}' cannot be told",
                    "levels yes and no, or a rule",
                    f"write {where} = \"{name} == 'LEVEL'\"",
                )
        return np.where(gap, np.nan, codes[place])

    def _all(self, rule: str, one: Input, score: Score) -> Array:
        """Return 1 where all comparisons of a rule hold, 0 where one does not, NaN where that is not known."""
        return 1.0 - self._either([1.0 - self._compare(c, one, score) for c in parse(rule)])

    @staticmethod
    def _either(parts: Sequence[Array]) -> Array:
        """Return 1 where one is 1, else NaN where one is NaN, else 0."""
        stacked = np.stack(parts)
        return np.where((stacked == 1).any(axis=0), 1.0, np.where(np.isnan(stacked).any(axis=0), np.nan, 0.0))

    def _compare(self, comparison: Comparison, one: Input, score: Score) -> Array:
        name, sign, value = self._find(comparison.name, one, score), comparison.operator, comparison.value
        if name in self.levels:
            levels, place, gap = self._level(name)
            if sign == "known":
                return (~gap).astype(np.float64)
            wanted = {_text(v) for v in (value if isinstance(value, tuple) else (value,))}
            if sign not in ("==", "!=", "in", "not in") or not wanted <= set(levels):
                raise StudyFileError(
                    f"the rule '{comparison.text}' does not fit the category '{name}'",
                    f"==, !=, in or not in with {', '.join(levels)}",
                    f"correct [model.scores.{score.name}] {one.name}",
                )
            hit = np.array([level in wanted for level in levels])[place]
            return np.where(gap, np.nan, (hit if sign in ("==", "in") else ~hit).astype(np.float64))
        x = self.values[:, self.numbers[name]]
        gap = np.isnan(x)
        if sign == "known":
            return (~gap).astype(np.float64)
        operands = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, str) for v in operands):
            raise StudyFileError(
                f"the rule '{comparison.text}' compares the number '{name}' with text", "a number", "correct the rule"
            )
        v = np.array(operands, dtype=np.float64)
        if sign in ("in", "not in"):
            held = np.isin(x, v) == (sign == "in")
        elif sign == "between":
            held = (x >= v[0]) & (x <= v[-1])
        else:
            held = np.asarray(_COMPARE[sign](x, v[0]))
        return np.where(gap, np.nan, held.astype(np.float64))


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _as_number(level: str, where: str) -> float:
    try:
        return float(level)
    except ValueError:
        raise StudyFileError(f"{where}: '{level}' stands for a number of the column", "a number in quotes") from None


def position(one: Input, meaning: str, where: str) -> int:
    """Return the position of a level among those of a category input, or say which levels there are.

    Examples
    --------
    >>> from aimed.prognosis.scores import SCORES
    >>> position(SCORES["grace"].input("killip"), "iii", "killip")
    2
    """
    for i, category in enumerate(one.categories):
        if category.lower() == meaning.lower():
            return i
    raise StudyFileError(
        f"'{meaning}' is no level of '{one.name}'",
        f"one of: {', '.join(one.categories)}",
        f"map it with levels in {where}",
    )


def _in_unit(x: Array, one: Input, source: Source) -> Array:
    if source.unit is None or one.measurement is None or one.unit is None:
        return x
    return convert(x, one.measurement, source.unit, one.unit)


def constant(one: Input, source: Source) -> float:
    """Return the value that a source gives to every row, in the unit of the input.

    Raises
    ------
    StudyFileError
        If it is text where a number is needed, or no level of the input.

    Examples
    --------
    >>> from aimed.prognosis.scores import SCORES
    >>> constant(SCORES["meld"].input("creatinine"), Source(value=88.4, unit="umol/L"))
    1.0
    """
    if one.kind == "category":
        return float(position(one, str(source.value), one.name))
    if isinstance(source.value, str) or source.value is None:
        raise StudyFileError(f"'{one.name}' is given as text", "a number", "write the number without quotes")
    return float(_in_unit(np.array([float(source.value)]), one, source)[0])


def unit_unknown(published: Score, one: Input, column: str) -> StudyFileError:
    """Make the error for a measurement whose unit nobody said.

    Examples
    --------
    >>> from aimed.prognosis.scores import SCORES
    >>> unit_unknown(SCORES["meld"], SCORES["meld"].input("bilirubin"), "bili").expected
    'one of: mg/dL, umol/L'
    """
    return StudyFileError(
        f"the unit of '{column}', which {published.title} takes as {one.name}, is not known",
        f"one of: {', '.join(UNITS[str(one.measurement)])}",
        f"write [variables.{column}] unit = '...', or [model.scores.{published.name}] {one.name} = "
        f"{{ column = '{column}', unit = '...' }}",
    )
