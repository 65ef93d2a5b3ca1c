"""Weighted words and pairs of words of notes as sparse columns, TF-IDF, without words that few patients share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from aimed.core import BundleError
from aimed.core.packed_arrays import packed, unpacked
from aimed.text.note_words import MARK, pairs_of, words_of, words_with_places

__all__ = ["WordTable", "shared_terms"]


def _single(text: str) -> list[str]:
    return [word for word in words_of(text) if word != MARK]


def _with_pairs(text: str) -> list[str]:
    return pairs_of(words_of(text))


def shared_terms(notes: Sequence[Sequence[str]], patient: NDArray[np.int64], least: int) -> list[str]:
    """Return the terms that occur in the notes of some number of patients at least, sorted.

    A word of one patient is most often a name or a slip, and a stored model must not tell it.

    Examples
    --------
    >>> shared_terms([["edema", "smith"], ["edema", "edema"]], np.array([0, 1]), 2)
    ['edema']
    """
    seen: dict[str, int] = {}
    # Notes of a patient one after another, so that one number tells whether his last note counted already.
    last: dict[str, int] = {}
    for row in np.argsort(patient, kind="stable").tolist():
        who = int(patient[row])
        for term in set(notes[row]):
            if last.get(term, -1) != who:
                last[term] = who
                seen[term] = seen.get(term, 0) + 1
    return sorted(term for term, patients in seen.items() if patients >= least)


class WordTable:
    """Words and pairs of words as columns: 1 + log of how often, times rarity, each note of length 1.

    Parameters
    ----------
    terms : list of str
    rarity : float array, shape (p,)
        Log of the inverse share of notes that have a term.
    pairs : bool
        Whether pairs of words are terms.

    References
    ----------
    Salton and Buckley, Inf Process Manag 1988;24:513.

    Examples
    --------
    >>> table = WordTable.of(["No edema.", "Edema. No mass."], np.array([0, 1]), least=2)
    >>> table.terms, table(["edema of the lung"]).toarray().tolist()
    (['edema', 'no'], [[1.0, 0.0]])
    """

    def __init__(self, terms: Sequence[str], rarity: NDArray[np.float64], pairs: bool = True) -> None:
        self.terms, self.pairs = list(terms), bool(pairs)
        self._vectorizer = self._made(self.terms, self.pairs)
        self._vectorizer.idf_ = rarity
        self.rarity = rarity
        self._column = {term: place for place, term in enumerate(self.terms)}

    @staticmethod
    def _made(terms: list[str], pairs: bool) -> TfidfVectorizer:
        return TfidfVectorizer(analyzer=_with_pairs if pairs else _single, vocabulary=terms, sublinear_tf=True)

    @classmethod
    def of(cls, notes: Sequence[str], patient: NDArray[np.int64], least: int, pairs: bool = True) -> WordTable:
        """Return the table of some notes.

        Parameters
        ----------
        notes : n texts
        patient : int array, shape (n,)
            From 0.
        least : int
            Patients that share a term, at least; lowered to their number where there are fewer.
        pairs : bool
        """
        analyse = _with_pairs if pairs else _single
        found = [analyse(note) for note in notes]
        terms = shared_terms(found, patient, min(least, int(np.unique(patient).size)))
        if not terms:
            terms = ["#"]
        made = cls._made(terms, pairs).fit(notes)
        return cls(terms, np.asarray(made.idf_, dtype=np.float64), pairs)

    def __call__(self, notes: Sequence[str]) -> Any:
        """Return the columns of some notes, sparse, shape (n, p)."""
        return self._vectorizer.transform(notes)

    def places(self, text: str, weight: NDArray[np.float64]) -> list[tuple[int, int, float]]:
        """Return what each word and pair of a note adds to a weighted sum of columns, as (start, end, weight)."""
        row = self([text])
        value = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        spans: list[tuple[int, int, int]] = []
        before: tuple[str, int] | None = None
        for word, start, end in words_with_places(text):
            if word == MARK:
                before = None
                continue
            for term, first in ((word, start), *([(f"{before[0]} {word}", before[1])] if before else [])):
                if term in self._column and (self.pairs or term == word):
                    spans.append((first, end, self._column[term]))
            before = (word, start)
        often: dict[int, int] = {}
        for _, _, column in spans:
            often[column] = often.get(column, 0) + 1
        added = [(a, b, float(weight[c]) * value.get(c, 0.0) / often[c]) for a, b, c in spans]
        return sorted(one for one in added if one[2])

    def to_state(self) -> dict[str, Any]:
        """Return the table in JSON types."""
        return {"terms": self.terms, "rarity": packed(self.rarity), "pairs": self.pairs}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> WordTable:
        """Rebuild a table from `to_state`."""
        terms, rarity = [str(term) for term in state["terms"]], unpacked(state["rarity"])
        if rarity.shape != (len(terms),) or len(set(terms)) != len(terms) or not np.isfinite(rarity).all():
            raise BundleError("words and their weights do not fit together", "what to_state wrote")
        return cls(terms, rarity.astype(np.float64), bool(state["pairs"]))
