"""The lazy catalogue of a family: name → where it lives, resolved only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from aimed.core.errors import UnknownNameError

__all__ = ["Catalog", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a catalogue: the name, where the object lives and one sentence of what it is."""

    name: str
    where: str
    summary: str

    def load(self) -> Any:
        """Import the module and return the object."""
        module, _, attribute = self.where.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Catalog(Mapping[str, Any]):
    """A mapping from names to objects that imports an object only when it is asked for.

    Parameters
    ----------
    kind : str
        Singular noun used in messages, such as ``"model"``.
    entries : dict of str to (str, str)
        Name → (``"package.module:attribute"``, one-sentence summary).
    group : str, optional
        Entry-point group under which other packages may add entries. A package cannot replace a name
        that is already here.

    Raises
    ------
    UnknownNameError
        On a name that is not in the catalogue; it names the nearest one.

    Examples
    --------
    >>> shapes = Catalog("shape", {"sum": ("math:fsum", "Exact sum of floats.")})
    >>> shapes["sum"]([0.1] * 10)
    1.0
    >>> shapes["summ"]
    Traceback (most recent call last):
        ...
    aimed.core.errors.UnknownNameError: no shape called 'summ'; expected one of: sum; did you mean 'sum'?
    """

    def __init__(self, kind: str, entries: Mapping[str, tuple[str, str]], group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._own = {name: Entry(name, where, summary) for name, (where, summary) in entries.items()}
        self._all: dict[str, Entry] | None = None if group else self._own

    def entries(self) -> dict[str, Entry]:
        """Return every entry, own ones first, without importing any of them."""
        if self._all is None:
            found = dict(self._own)
            for point in entry_points(group=self.group or ""):
                found.setdefault(point.name, Entry(point.name, point.value, "Added by another package."))
            self._all = found
        return self._all

    def entry(self, name: str) -> Entry:
        """Return the entry called `name`, or raise with the nearest name."""
        try:
            return self.entries()[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, self.entries()) from None

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind}s: {', '.join(self)}>"

    def __getitem__(self, name: str) -> Any:
        return self.entry(name).load()

    def __contains__(self, name: object) -> bool:
        return name in self.entries()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries())

    def __len__(self) -> int:
        return len(self.entries())
