"""The tiny language of study files: inclusion rules and acceptance criteria, parsed by hand, never evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aimed.core.errors import StudyFileError

__all__ = ["Comparison", "Value", "parse"]

Value: TypeAlias = float | str | tuple[float | str, ...]
Operator: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!=", "in", "not in", "between", "known"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w])
    | '(?P<single>[^']*)' | "(?P<double>[^"]*)" | `(?P<back>[^`]*)`
    | (?P<word>[^\W\d][\w.@]*(?:\([\w.:@-]+\)(?:\.[\w@.]+)?)?)
    | (?P<sign><=|>=|==|!=|<|>|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison: a name, an operator and a value.

    ``between`` holds two numbers, both included; ``known`` means that the value is not missing.
    """

    name: str
    operator: Operator
    value: Value
    text: str


def parse(text: str) -> tuple[Comparison, ...]:
    """Parse ``name op value`` comparisons joined by ``and``.

    Parameters
    ----------
    text : str
        Such as ``"age >= 18 and sex in ('female', 'male')"``, ``"calibration_slope in [0.8, 1.2]"`` or
        ``"sysbp is known"``. Names with blanks stand in backquotes.

    Returns
    -------
    tuple of Comparison
        All of which must hold.

    Raises
    ------
    StudyFileError
        If the text is not of this form. Nothing is ever evaluated as code.

    Examples
    --------
    >>> parse("age >= 18 and view in ('PA', 'AP')")[1].value
    ('PA', 'AP')
    >>> parse("slope in [0.8, 1.2]")[0].operator
    'between'
    """
    tokens = _tokens(text)
    out: list[Comparison] = []
    i = 0
    while True:
        comparison, i = _comparison(tokens, i, text)
        out.append(comparison)
        if i == len(tokens):
            return tuple(out)
        if tokens[i] != ("word", "and"):
            raise _bad(text)
        i += 1


def _bad(text: str) -> StudyFileError:
    return StudyFileError(
        f"the rule '{text}' cannot be read",
        "comparisons such as age >= 18, sex in ('female', 'male'), slope in [0.8, 1.2] or sysbp is known, "
        "joined by 'and'",
        "correct the rule",
    )


def _tokens(text: str) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None or match.end() == at:
            raise _bad(text)
        kind = match.lastgroup or ""
        out.append(("text" if kind in ("single", "double") else "word" if kind == "back" else kind, match[kind]))
        at = match.end()
    return out


def _comparison(tokens: list[tuple[str, str]], i: int, text: str) -> tuple[Comparison, int]:
    def peek(k: int) -> tuple[str, str]:
        return tokens[k] if k < len(tokens) else ("end", "")

    kind, name = peek(i)
    if kind != "word":
        raise _bad(text)
    sign = peek(i + 1)
    if sign == ("word", "is") and peek(i + 2) == ("word", "known"):
        return Comparison(name, "known", (), text), i + 3
    if sign in (("word", "in"), ("word", "not")):
        negate = sign[1] == "not"
        i += 2 if negate else 1
        if peek(i) != ("word", "in"):
            raise _bad(text)
        opening = peek(i + 1)[1]
        if opening not in ("(", "["):
            raise _bad(text)
        closing, values, i = {"(": ")", "[": "]"}[opening], [], i + 2
        while True:
            values.append(_value(peek(i), text))
            if peek(i + 1) == ("sign", ","):
                i += 2
                continue
            if peek(i + 1) != ("sign", closing):
                raise _bad(text)
            i += 2
            break
        if opening == "[":
            if negate or len(values) != 2 or not all(isinstance(v, float) for v in values):
                raise _bad(text)
            return Comparison(name, "between", tuple(values), text), i
        return Comparison(name, "not in" if negate else "in", tuple(values), text), i
    if sign[0] != "sign" or sign[1] in "()[],":
        raise _bad(text)
    return Comparison(name, sign[1], _value(peek(i + 2), text), text), i + 3  # type: ignore[arg-type]


def _value(token: tuple[str, str], text: str) -> float | str:
    if token[0] == "number":
        return float(token[1])
    if token[0] == "text":
        return token[1]
    raise _bad(text)
