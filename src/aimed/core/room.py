"""Rooms that share their name with a public verb, such as `aimed.fit`, can be called."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ["share_name_with_verb"]


class _Room(ModuleType):
    """A package that passes a call on to the public verb of its name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        house, _, name = self.__name__.partition(".")
        module, _, verb = importlib.import_module(house).VERBS[name].partition(":")
        return getattr(importlib.import_module(module), verb)(*arguments, **options)


def share_name_with_verb(module: str) -> None:
    """Let a package be called as the verb of the same name (decision 003).

    Parameters
    ----------
    module : str
        ``__name__`` of the package; the verb is looked up in ``aimed.VERBS`` when it is called.
    """
    sys.modules[module].__class__ = _Room
