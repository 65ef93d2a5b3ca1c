"""Text anywhere in a record: what the finder sees and what the record itself says about its patient is replaced."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from aimed.core.errors import DataError, RefusedError
from aimed.privacy.surrogates import Surrogates, _folded

__all__ = ["FileRefused", "Known", "TextCleaner"]

Style = Literal["surrogate", "class"]

_PART = re.compile(r"[^\W_]+(?:['’`][^\W_]+)*")
_SHORTEST_NAME, _RARE_NAME, _SHORTEST_NUMBER = 3, 6, 4
_REMEMBERED = 50_000


class FileRefused(RefusedError):  # noqa: N818
    """One file of a folder was not written, for a reason that has a code.

    Parameters
    ----------
    code : str
        Such as TRUNCATED.
    why : str
        What is the matter, without any content of the file.
    do : str
        What the user can do.
    """

    def __init__(self, code: str, why: str, do: str = "") -> None:
        super().__init__(f"{why} ({code})", "", do)
        self.code = code


@dataclass
class Known:
    """What a record says itself about its patient: names and numbers to look for in its texts."""

    classes: dict[str, str] = field(default_factory=dict, repr=False)
    longer: dict[str, str] = field(default_factory=dict, repr=False)

    def add(self, cls: str, text: str) -> None:
        """Remember a name part by part, or an identifier as a whole."""
        if cls == "name":
            for part in _PART.findall(text):
                folded = _folded(part)
                if len(folded) >= _SHORTEST_NAME and not folded.isdigit():
                    self.classes[folded] = cls
            return
        folded = _folded(text)
        if len(folded) < _SHORTEST_NUMBER:
            return
        if _PART.fullmatch(text.strip()):
            self.classes[folded] = cls
        else:
            self.longer[text.strip()] = cls

    def __bool__(self) -> bool:
        return bool(self.classes or self.longer)

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """Return where the text names the patient."""
        out = []
        for found in _PART.finditer(text):
            word = found.group()
            cls = self.classes.get(_folded(word))
            if cls is None and word[-2:].lower() in ("'s", "’s"):
                cls = self.classes.get(_folded(word[:-2]))
            # "Long" is somebody, "long" is not; longer names are seldom words.
            if cls is not None and (cls != "name" or not word[0].islower() or len(word) >= _RARE_NAME):
                out.append((*found.span(), cls))
        for whole, cls in self.longer.items():
            out += [(*found.span(), cls) for found in re.finditer(re.escape(whole), text, re.IGNORECASE)]
        return out


def _name_of(cls: Any) -> str:
    return str(getattr(cls, "name", cls))


def _span(found: Any) -> tuple[int, int, str]:
    """Return the place and class of an identifier, as the finder and as the rules give it."""
    start, end, cls = found[:3] if isinstance(found, tuple) else (found.start, found.end, found.cls)
    return int(start), int(end), _name_of(cls)


class TextCleaner:
    """Clean texts with the finder of notes, or with the rules alone where there is no tagger.

    Parameters
    ----------
    surrogates : Surrogates
        The map.
    style : {"surrogate", "class"}
        Surrogates, or markers such as [NAME].

    Attributes
    ----------
    counts : Counter
        Replaced identifiers by class.
    """

    def __init__(self, surrogates: Surrogates, style: Style = "surrogate") -> None:
        self.surrogates, self.style = surrogates, style
        self.counts: Counter[str] = Counter()
        self._find: Any = None
        self._rules: Any = None
        self._harmless: set[str] = set()

    def __repr__(self) -> str:
        return f"TextCleaner(style={self.style!r})"

    def _finder(self) -> Any:
        if self._find is None:
            from aimed.privacy.find import Finder

            try:
                finder = Finder()
            except (ImportError, DataError):  # no tagger is installed, or none was trained
                finder = Finder(rules_only=True)
            self._find = finder.find
        return self._find

    def _by_rules(self) -> Any:
        if self._rules is None:
            from aimed.privacy.rules import find_by_rules

            self._rules = find_by_rules
        return self._rules

    @property
    def finder(self) -> str:
        """What looks at texts: "rules and tagger", or "rules" where no tagger can be used."""
        return "rules" if self._finder().__self__.model is None else "rules and tagger"

    def spans(self, text: str, known: Known | None = None) -> list[tuple[int, int, str]]:
        """Return what is replaced in a text, in order and without overlaps."""
        found = [_span(identifier) for identifier in self._finder()(text)]
        sure = known.spans(text) if known else []
        # What the record says itself goes first; a longer find of the finder around it is kept whole.
        out: list[tuple[int, int, str]] = []
        for span in sorted({*sure, *found}, key=lambda s: (s[0], -s[1])):
            if out and span[0] < out[-1][1]:
                if span[1] > out[-1][1]:
                    out[-1] = (out[-1][0], span[1], out[-1][2])
                continue
            out.append(span)
        return out

    def clean(self, text: str, patient: str | None = None, known: Known | None = None) -> str:
        """Return the text with every identifier replaced.

        Parameters
        ----------
        text : str
            Any text.
        patient : str, optional
            Identifier of the patient, for the shift of dates.
        known : Known, optional
            What the record says about its patient.

        Returns
        -------
        str
        """
        if not text.strip():
            return text
        out, at = [], 0
        for start, end, cls in self.spans(text, known):
            out += [text[at:start], self.replaced(cls, text[start:end], patient)]
            at = end
        return "".join([*out, text[at:]])

    def replaced(self, cls: str, text: str, patient: str | None = None) -> str:
        """Return what stands for one identifier, and count it."""
        self.counts[cls] += 1
        return f"[{cls.upper()}]" if self.style == "class" else self.surrogates.of_class(cls, text, patient)

    def harmless(self, text: str) -> bool:
        """Say whether the rules find nothing in a short text; the answer yes is remembered."""
        if text in self._harmless:
            return True
        if any(True for _ in self._by_rules()(text)):
            return False
        if len(self._harmless) < _REMEMBERED:
            self._harmless.add(text)
        return True
