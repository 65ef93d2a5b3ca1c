"""Privacy: identifiers found in notes, tables and images, replaced alike everywhere, and how many were missed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimed.privacy.certificate import Certificate, recall_certificate
    from aimed.privacy.find import Finder, Identifier
    from aimed.privacy.notes import DeidentifiedNote, deidentify_note
    from aimed.privacy.planted import planted_notes
    from aimed.privacy.surrogates import Surrogates

__all__ = [
    "Certificate",
    "DeidentifiedNote",
    "Finder",
    "Identifier",
    "Surrogates",
    "deidentify_note",
    "planted_notes",
    "recall_certificate",
]

_WHERE = {
    "Certificate": "aimed.privacy.certificate",
    "planted_notes": "aimed.privacy.planted",
    "recall_certificate": "aimed.privacy.certificate",
    "DeidentifiedNote": "aimed.privacy.notes",
    "Finder": "aimed.privacy.find",
    "Identifier": "aimed.privacy.find",
    "Surrogates": "aimed.privacy.surrogates",
    "deidentify_note": "aimed.privacy.notes",
}


def __getattr__(name: str) -> Any:
    # The tagger and its word lists are read when they are first used.
    if name not in _WHERE:
        raise AttributeError(f"module 'aimed.privacy' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
