"""Words and the lexicon's verdict side by side in one regression: rules where they are sure, words where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from aimed.metrics.arrays import patient_codes
from aimed.text.lexicon import Lexicon
from aimed.text.lexicon_model import LexiconReader
from aimed.text.lexicon_verdicts import VERDICTS
from aimed.text.ridge import chosen_ridge
from aimed.text.text_model import FloatArray, Progress, patient_folds
from aimed.text.word_table import WordTable
from aimed.text.words import checked_learning, heaviest_words, ridge_facts, ridge_of, ridge_state

__all__ = ["Combined"]


class Combined(LexiconReader):
    """Words and pairs of words, with the lexicon's verdict and number of mentions of all its targets.

    Parameters
    ----------
    lexicon, targets, names
        As for `aimed.text.lexicon_model.LexiconReader`. A finding needs no target of its own here.
    penalties, folds, least_patients, pairs
        As for `aimed.text.words.Words`.
    verdict_scale : float
        Scale of the columns of the lexicon; the larger, the less they are held by the penalty.

    Attributes
    ----------
    table_ : WordTable
    fit_ : Ridge

    Notes
    -----
    The lexicon has not seen the labels, so that its verdicts on training notes are as good as on others; the penalty
    and, without rows that tune, the thresholds come from folds of patients left out.
    """

    _kind = "combined"

    def __init__(
        self,
        lexicon: str | Path | Lexicon = "chest-xray",
        targets: str = "nih",
        names: Mapping[str, str] | None = None,
        *,
        penalties: Sequence[float] = (1.0, 0.3, 0.1, 0.03),
        folds: int = 5,
        least_patients: int = 2,
        pairs: bool = True,
        verdict_scale: float = 1.0,
    ) -> None:
        self.lexicon, self.targets, self.names = lexicon, targets, names
        self.penalties, self.folds = penalties, folds
        self.least_patients, self.pairs, self.verdict_scale = least_patients, pairs, verdict_scale

    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        checked_learning((*self.penalties, self.verdict_scale), self.folds, self.least_patients)
        self.forget()
        learns = np.flatnonzero(~tune)
        who, mine = patient_codes(patient[learns], learns.size), [notes[row] for row in learns]
        self.table_ = WordTable.of(mine, who, self.least_patients, self.pairs)
        fold = patient_folds(y[learns], who, self.folds, seed)

        def told(share: float) -> None:
            progress(share, "choosing the penalty")

        self.fit_, apart = chosen_ridge(self._columns(mine), y[learns], fold, self.penalties, told)
        self.facts_ = {**ridge_facts(self.fit_, self.findings_), "words": len(self.table_.terms)}
        progress(1.0, "fitted")
        return self._best(notes, y, tune, apart)

    def _columns(self, notes: list[str]) -> Any:
        verdicts = csr_array(self.verdict_scale * self.reader.columns(notes))
        return hstack([self.table_(notes), verdicts], format="csr")

    def _risk(self, notes: list[str]) -> FloatArray:
        return self.fit_.risk(self._columns(notes))

    def words_of(self, text: str, finding: str) -> list[tuple[int, int, float]]:
        """Return what each word, pair of words and mention adds to the log odds, as (start, end, weight).

        What the lexicon adds by a verdict stands at the mentions that it rests on; what it adds by silence has no
        place.
        """
        super().words_of(text, finding)
        weight = self.fit_.weight[self._place(finding)]
        words = len(self.table_.terms)
        found = self.table_.places(text, weight[:words])
        columns = self.reader.columns([text])[0].reshape(len(self.reader.targets), -1)
        columns[:, VERDICTS.index("not_mentioned")] = 0.0
        added = (self.verdict_scale * columns * weight[words:].reshape(columns.shape)).sum(axis=1)
        mentions = self.reader.read([text]).evidence
        spans: dict[str, list[tuple[int, int]]] = {}
        for record in mentions.select("target", "start", "end").iter_rows():
            spans.setdefault(str(record[0]), []).append((int(record[1]), int(record[2])))
        for target, value in zip(self.reader.targets, added.tolist(), strict=True):
            here = spans.get(target, [])
            found += [(start, end, value / len(here)) for start, end in here]
        return sorted(found)

    def word_weights(
        self, texts: Any, *, patient: Any = None, least: int = 10, top: int = 8
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the words that count most, as `aimed.text.words.Words.word_weights` does."""
        return heaviest_words(self.table_, self.fit_, self.findings_, texts, patient, least, top)

    def _learned(self) -> dict[str, Any]:
        return {**super()._learned(), "table": self.table_.to_state(), "fit": ridge_state(self.fit_)}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        super()._relearn(record)
        self.table_ = WordTable.from_state(record["table"])
        columns = len(self.table_.terms) + len(self.reader.targets) * (len(VERDICTS) + 1)
        self.fit_ = ridge_of(record["fit"], len(self.findings_), columns)
        self.facts_ = {**ridge_facts(self.fit_, self.findings_), "words": len(self.table_.terms)}
