"""The error tree: every message says what was got, what was expected and what to do, and never shows a patient."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AimedError",
    "BundleError",
    "DataError",
    "MissingExtraError",
    "NotEstimableError",
    "RefusedError",
    "StudyFileError",
    "UnknownNameError",
    "nearest",
]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like `name`, or None when nothing does.

    Examples
    --------
    >>> nearest("harell_c", ["harrell_c", "uno_c"])
    'harrell_c'
    >>> nearest("zzz", ["harrell_c", "uno_c"]) is None
    True
    """
    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.55)
    return by_lower[found[0]] if found else None


class AimedError(Exception):
    """Something stopped the work; the message holds three sentences: got, expected, do.

    Parameters
    ----------
    got, expected, do : str
        What was found, what would have been right, and what the user can do about it. They may name a
        file, a column, a count or a range; never a cell value, an identifier or note text.

    Attributes
    ----------
    exit_code : int
        What the command line returns: 2 study file, 3 data, 4 refused, 1 for anything else.

    Examples
    --------
    >>> str(DataError("the table has 0 rows", "at least 1 row", "check the path"))
    'the table has 0 rows; expected at least 1 row; check the path'
    """

    exit_code = 1

    def __init__(self, got: str, expected: str = "", do: str = "") -> None:
        self.got, self.expected, self.do = got, expected, do
        super().__init__(got, expected, do)

    def __str__(self) -> str:
        parts = [self.got]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.do:
            parts.append(self.do)
        return "; ".join(parts)


class StudyFileError(AimedError, ValueError):
    """The study file cannot be read or asks for something that does not exist."""

    exit_code = 2


class DataError(AimedError, ValueError):
    """The data cannot be used as they are."""

    exit_code = 3


class NotEstimableError(DataError):
    """A statistic is not defined on these data, such as an AUROC with one class only."""


class RefusedError(AimedError):
    """The work was refused because going on would not be safe or honest."""

    exit_code = 4


class BundleError(RefusedError):
    """A packaged model failed verification and was not loaded."""


class UnknownNameError(StudyFileError):
    """A name is not in its catalogue; the message gives the nearest one.

    Examples
    --------
    >>> str(UnknownNameError("model", "coxx", ["cox", "logistic"]))
    "no model called 'coxx'; expected one of: cox, logistic; did you mean 'cox'?"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = nearest(name, names)
        do = f"did you mean '{close}'?" if close else "choose one of them"
        super().__init__(f"no {kind} called '{name}'", f"one of: {', '.join(names)}", do)
        self.kind, self.name, self.nearest = kind, name, close


class MissingExtraError(AimedError, ImportError):
    """An optional package is needed and not installed; the message gives the line to type."""

    exit_code = 3

    def __init__(self, package: str, what: str, install: str) -> None:
        super().__init__(f"{what} needs the package {package}, which is not installed", "", f"run: {install}")
        self.package = package
