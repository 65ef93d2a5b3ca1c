"""The reader that looks for phrases and hears no denial: what the rules of the lexicon are measured against."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import BundleError, StudyFileError
from aimed.core.packed_arrays import packed, unpacked
from aimed.text.lexicon import Lexicon, NoneOf, load_lexicon
from aimed.text.lexicon_verdicts import target_of_each
from aimed.text.text_model import FloatArray, Progress, TextModel

__all__ = ["Keywords", "phrase_pattern"]

_BETWEEN = r"[^\w.;:]+"
_PART = re.compile(r"\(([^()]*)\)|\.\.(\d+)|(\S+)")


def phrase_pattern(phrases: Sequence[str]) -> str:
    r"""Return the regular expression of phrases of a lexicon, to be searched in a text with a space before it.

    Examples
    --------
    >>> found = re.compile(phrase_pattern(["atelecta*", "(small|large) ..2 effusion"]))
    >>> [bool(found.search(" " + text)) for text in ("bibasilar atelectasis", "small left effusion", "effusions")]
    [True, True, False]
    """
    return "|".join(f"(?:{''.join(_parts(phrase))})(?!\\w)" for phrase in phrases) or r"(?!)"


def _parts(phrase: str) -> Iterator[str]:
    for choice, gap, word in _PART.findall(phrase):
        if gap:
            yield rf"(?:{_BETWEEN}\w+){{0,{int(gap)}}}?"
        elif word:
            yield _BETWEEN + _word(word)
        else:
            yield f"(?:{'|'.join(''.join(_BETWEEN + _word(w) for w in one.split()) for one in choice.split('|'))})"


def _word(word: str) -> str:
    pieces = [re.escape(piece) for piece in re.split(r"[-/]", word.casefold()) if piece]
    return _BETWEEN.join(piece.replace(r"\*", r"\w*") for piece in pieces)


class Keywords(TextModel):
    """A finding is there when one of its phrases is, denied or not; the probability is how often that was right.

    Parameters
    ----------
    lexicon, targets, names
        As for `aimed.text.lexicon_model.LexiconReader`; of its concepts only the phrases are used.
    phrases : mapping of str to sequence of str, optional
        Finding → phrases, in place of a lexicon.

    Attributes
    ----------
    phrases_ : list of list of str
        Of each finding; a finding that is said to be there when no other is has those of the others.
    without_ : list of bool
        Whether a finding is there when none of its phrases is.
    chance_ : float array, shape (k, 2)
        Probability of each finding with and without a phrase.

    Examples
    --------
    >>> model = Keywords(phrases={"edema": ["edema*"]})
    >>> model = model.fit(["edema", "no edema", "clear", "clear"], [[1], [0], [0], [0]], names=["edema"])
    >>> model.predict_proba(["edema", "clear"]).round(2).tolist()
    [[0.5], [0.01]]
    """

    _kind = "keywords"

    def __init__(
        self,
        lexicon: str | Path | Lexicon = "chest-xray",
        targets: str = "nih",
        names: Mapping[str, str] | None = None,
        *,
        phrases: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.lexicon, self.targets, self.names, self.phrases = lexicon, targets, names, phrases

    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        self._collect()
        said = self._said(notes)[~tune]
        known = ~np.isnan(y[~tune])
        chances = []
        for wanted, belief in ((said, 0.5), (~said, 0.02)):
            n = (wanted & known).sum(axis=0)
            chances.append(((wanted & (y[~tune] == 1)).sum(axis=0) + belief) / (n + 1.0))
        self.chance_ = np.stack(chances, axis=1)
        progress(1.0, "fitted")
        return self._best(notes, y, tune)

    def _collect(self) -> None:
        if self.phrases is not None:
            missing = [name for name in self.findings_ if not self.phrases.get(name)]
            if missing:
                raise StudyFileError(f"no phrase for '{missing[0]}'", "at least one phrase a finding")
            self.phrases_ = [[str(one) for one in self.phrases[name]] for name in self.findings_]
            self.without_ = [False] * len(self.findings_)
        else:
            lexicon = load_lexicon(self.lexicon)
            labels = lexicon.labels(self.targets)
            self.phrases_, self.without_ = [], []
            for target in target_of_each(self.findings_, list(labels), self.names):
                label = labels[target]
                self.without_.append(isinstance(label, NoneOf))
                self.phrases_.append(sorted(_phrases(lexicon, labels, label)))
        self._compile()

    def _compile(self) -> None:
        try:
            self._patterns = [re.compile(phrase_pattern(one), re.IGNORECASE) for one in self.phrases_]
        except re.error:
            raise StudyFileError("a phrase that cannot be read", "words, '*', '(a|b)', '..3'") from None

    def _said(self, notes: list[str]) -> NDArray[np.bool_]:
        found = np.zeros((len(notes), len(self.findings_)), dtype=bool)
        for row, note in zip(found, notes, strict=True):
            text = " " + note
            for place, pattern in enumerate(self._patterns):
                row[place] = (pattern.search(text) is not None) != self.without_[place]
        return found

    def _risk(self, notes: list[str]) -> FloatArray:
        return np.where(self._said(notes), self.chance_[:, 0], self.chance_[:, 1])

    def words_of(self, text: str, finding: str) -> list[tuple[int, int, float]]:
        """Return where the phrases of a finding stand, as (start, end, weight)."""
        super().words_of(text, finding)
        place = self._place(finding)
        odds = np.log(self.chance_[place] / (1.0 - self.chance_[place]))
        spans = []
        for match in self._patterns[place].finditer(" " + text):
            first = match.group()
            start = match.start() + len(first) - len(re.sub(r"^\W+", "", first))
            spans.append((start - 1, match.end() - 1))
        weight = float(odds[0] - odds[1]) * (-1.0 if self.without_[place] else 1.0) / max(1, len(spans))
        return [(start, end, weight) for start, end in spans]

    def _parameters(self) -> dict[str, Any]:
        # What was looked for is stored, so that the lexicon need not be there.
        return {"phrases": dict(zip(self.findings_, self.phrases_, strict=True))}

    def _learned(self) -> dict[str, Any]:
        return {"chance": packed(self.chance_), "without": list(self.without_)}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        self._collect()
        self.without_ = [bool(one) for one in record["without"]]
        self.chance_ = unpacked(record["chance"]).astype(np.float64)
        if self.chance_.shape != (len(self.findings_), 2) or len(self.without_) != len(self.findings_):
            raise BundleError(f"probabilities of shape {self.chance_.shape}", f"({len(self.findings_)}, 2)")
        if not ((self.chance_ > 0) & (self.chance_ < 1)).all():
            raise BundleError("probabilities out of range", "above 0 and below 1")


def _phrases(lexicon: Lexicon, labels: Mapping[str, Any], label: Any) -> set[str]:
    """Return the phrases of a label, and of those that speak against it where it is one for nothing else."""
    if isinstance(label, NoneOf):
        others = [name for name in labels if name not in label.but] if label.none_of == "all" else label.none_of
        found: set[str] = set()
        for name in others:
            if not isinstance(labels[name], NoneOf):
                found |= _phrases(lexicon, labels, labels[name])
        return found | _phrases(lexicon, labels, tuple(label.unless))
    left, seen, found = list(label), set(), set()
    while left:
        name = left.pop()
        if name in seen or name not in lexicon.concepts:
            continue
        seen.add(name)
        found.update(lexicon.concepts[name].phrases)
        left += lexicon.concepts[name].children
    return found
