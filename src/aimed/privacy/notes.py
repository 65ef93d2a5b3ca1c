"""Notes without identities: what was found is replaced by surrogates or by the name of its class, the rest is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from aimed.core.errors import UnknownNameError
from aimed.privacy.classes import CLASSES
from aimed.privacy.find import Finder, Identifier

if TYPE_CHECKING:
    from aimed.privacy.surrogates import Surrogates

__all__ = ["DeidentifiedNote", "deidentify_note"]

_STYLES: Final = ("surrogate", "class")


@dataclass(frozen=True, slots=True)
class DeidentifiedNote:
    """A note whose identifiers were replaced.

    Attributes
    ----------
    text : str
        The new text.
    identifiers : tuple of Identifier
        What was found, with places in the note as it was given.
    places : tuple of (int, int)
        Where the replacement of each identifier stands in `text`.
    """

    text: str = field(repr=False)
    identifiers: tuple[Identifier, ...] = field(repr=False)
    places: tuple[tuple[int, int], ...] = field(repr=False)


@lru_cache(maxsize=1)
def _finder() -> Finder:
    return Finder()


def deidentify_note(
    note: str,
    surrogates: Surrogates | None,
    patient: str | None = None,
    style: Literal["surrogate", "class"] = "surrogate",
    *,
    finder: Finder | None = None,
) -> DeidentifiedNote:
    """Replace the identifiers of a note.

    Parameters
    ----------
    note : str
    surrogates : Surrogates or None
        Makes replacements; the same key gives the same ones in every file. Not used with style ``"class"``.
    patient : str, optional
        Whose note it is: dates move by the days of this patient.
    style : {"surrogate", "class"}
        Put another value in place, or the marker of the class, such as ``[NAME]``.
    finder : Finder, optional
        Default: rules and the tagger that ships with the package.

    Raises
    ------
    UnknownNameError
        There is no such style, or surrogates are asked for and not given.

    Examples
    --------
    >>> deidentify_note("Seen by Dr. Hollis.", None, style="class", finder=Finder(rules_only=True)).text
    'Seen by Dr. [NAME].'
    """
    if style not in _STYLES or (surrogates is None and style == "surrogate"):
        raise UnknownNameError("style without surrogates" if style in _STYLES else "style", str(style), _STYLES)
    found = (finder or _finder()).find(note)
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    at = length = 0
    for one in found:
        if style == "class" or surrogates is None:
            new = CLASSES[one.cls].marker
        elif one.source == "tagger:organisation":
            new = surrogates.organisation(note[one.start : one.end])
        else:
            new = surrogates.of_class(one.cls, note[one.start : one.end], patient)
        parts += [note[at : one.start], new]
        length += one.start - at
        places.append((length, length + len(new)))
        length += len(new)
        at = one.end
    return DeidentifiedNote("".join([*parts, note[at:]]), tuple(found), tuple(places))
