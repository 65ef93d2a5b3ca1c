"""The plain learned reader: weighted words and word pairs, one penalised logistic regression a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import BundleError, StudyFileError
from aimed.core.packed_arrays import packed, unpacked
from aimed.metrics.arrays import patient_codes
from aimed.text.ridge import Ridge, chosen_ridge
from aimed.text.text_model import FloatArray, Progress, TextModel, notes_of, patient_folds
from aimed.text.word_table import WordTable

__all__ = ["Words", "checked_learning", "heaviest_words", "ridge_facts", "ridge_of", "ridge_state"]


def checked_learning(penalties: Sequence[float], folds: int, least_patients: int) -> None:
    """Raise if a parameter of the regressions is out of its range.

    Raises
    ------
    StudyFileError
    """
    if not len(penalties) or any(not (isinstance(v, int | float) and 0 < v < np.inf) for v in penalties):
        raise StudyFileError("penalties that are no positive numbers", "at least one number > 0")
    for name, value, least in (("folds", folds, 2), ("least_patients", least_patients, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise StudyFileError(f"{name} = {value!r}", f"an integer >= {least}")


def ridge_state(fit: Ridge) -> dict[str, Any]:
    """Return a fitted regression in JSON types."""
    return {"weight": packed(fit.weight), "bias": packed(fit.bias), "penalty": packed(fit.penalty)}


def ridge_of(record: Mapping[str, Any], k: int, p: int) -> Ridge:
    """Return the regression of `ridge_state`.

    Raises
    ------
    BundleError
        If it does not fit the findings and columns.
    """
    fit = Ridge(*(unpacked(record[name]).astype(np.float64) for name in ("weight", "bias", "penalty")))
    if fit.weight.shape != (k, p) or fit.bias.shape != (k,) or fit.penalty.shape != (k,):
        raise BundleError(f"weights of shape {fit.weight.shape}", f"({k}, {p}), one a finding and column")
    if not (np.isfinite(fit.weight).all() and np.isfinite(fit.bias).all()):
        raise BundleError("weights that are not finite", "finite ones")
    return fit


def ridge_facts(fit: Ridge, findings: Sequence[str]) -> dict[str, Any]:
    """Return what a report shows of a fitted regression, in JSON types."""
    return {"penalty": dict(zip(findings, fit.penalty.tolist(), strict=True))}


def heaviest_words(
    table: WordTable, fit: Ridge, findings: Sequence[str], texts: Any, patient: ArrayLike | None, least: int, top: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the words and pairs that count most for and against each finding, of those that enough patients share.

    Parameters
    ----------
    table : WordTable
    fit : Ridge
        Its first columns are those of the table.
    findings : sequence of str
    texts : n notes
    patient : array, shape (n,), optional
    least : int
        Patients whose notes have a word, at least, for it to be named.
    top : int
        Words each way, at most.

    Returns
    -------
    dict
        By finding, a list of ``word``, ``weight`` (what it adds to the log odds on average, where it occurs) and
        ``patients``; the strongest for it first, those against it last.
    """
    notes = notes_of(texts)
    columns = table(notes).tocoo()
    who = patient_codes(patient, len(notes))
    pairs = (
        np.unique(who[columns.row].astype(np.int64) * len(table.terms) + columns.col)
        if columns.nnz
        else np.zeros(0, int)
    )
    patients = np.bincount(pairs % len(table.terms), minlength=len(table.terms))
    times = np.bincount(columns.col, minlength=len(table.terms))
    total = np.bincount(columns.col, weights=columns.data, minlength=len(table.terms))
    value = np.divide(total, times, out=np.zeros_like(total), where=times > 0)
    shared = np.flatnonzero(patients >= least)
    out = {}
    for finding, weight in zip(findings, fit.weight[:, : len(table.terms)], strict=True):
        adds = weight[shared] * value[shared]
        order = np.argsort(-adds, kind="stable")
        chosen = [i for i in order[:top] if adds[i] > 0] + [
            i for i in order[max(top, order.size - top) :] if adds[i] < 0
        ]
        out[str(finding)] = [
            {"word": table.terms[shared[i]], "weight": float(adds[i]), "patients": int(patients[shared[i]])}
            for i in chosen
        ]
    return out


class Words(TextModel):
    """Words and pairs of words, TF-IDF, and a logistic regression with a ridge for each finding.

    Parameters
    ----------
    penalties : sequence of float
        Of which one is chosen for each finding on folds of patients left out, by cross-entropy; scikit-learn's ``C``
        is the inverse.
    folds : int
    least_patients : int
        Patients whose notes share a word, at least, for the model to know it: a name of one must not be stored.
    pairs : bool
        Whether pairs of neighbouring words count too.

    Attributes
    ----------
    table_ : WordTable
    fit_ : Ridge
    facts_ : dict
        What a report shows of the fit.

    References
    ----------
    Salton and Buckley, Inf Process Manag 1988;24:513. Wang and Manning, ACL 2012:90 (word pairs and linear models).

    Examples
    --------
    >>> notes = ["No edema.", "There is edema.", "Clear lungs.", "Edema is seen."] * 5
    >>> model = Words().fit(notes, [[0], [1], [0], [1]] * 5, names=["edema"])
    >>> model.decide(model.predict_proba(["edema is present", "no edema"])).tolist()
    [[1.0], [0.0]]
    >>> max(model.words_of("No edema. Edema is seen.", "edema"), key=lambda one: one[2])[:2]
    (16, 18)
    """

    _kind = "words"

    def __init__(
        self,
        penalties: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01),
        *,
        folds: int = 5,
        least_patients: int = 2,
        pairs: bool = True,
    ) -> None:
        self.penalties, self.folds = penalties, folds
        self.least_patients, self.pairs = least_patients, pairs

    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        checked_learning(self.penalties, self.folds, self.least_patients)
        learns = np.flatnonzero(~tune)
        who, mine = patient_codes(patient[learns], learns.size), [notes[row] for row in learns]
        self.table_ = WordTable.of(mine, who, self.least_patients, self.pairs)
        fold = patient_folds(y[learns], who, self.folds, seed)

        def told(share: float) -> None:
            progress(share, "choosing the penalty")

        self.fit_, apart = chosen_ridge(self.table_(mine), y[learns], fold, self.penalties, told)
        self._tell()
        progress(1.0, "fitted")
        return self._best(notes, y, tune, apart)

    def _tell(self) -> None:
        self.facts_ = {**ridge_facts(self.fit_, self.findings_), "words": len(self.table_.terms)}

    def _risk(self, notes: list[str]) -> FloatArray:
        return self.fit_.risk(self.table_(notes))

    def words_of(self, text: str, finding: str) -> list[tuple[int, int, float]]:
        """Return what each word and pair of words of a note adds to the log odds, as (start, end, weight).

        The weights and ``fit_.bias`` sum to the log odds.
        """
        super().words_of(text, finding)
        return self.table_.places(text, self.fit_.weight[self._place(finding)])

    def word_weights(
        self, texts: Any, *, patient: ArrayLike | None = None, least: int = 10, top: int = 8
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the words that count most for and against each finding, as `heaviest_words` does."""
        return heaviest_words(self.table_, self.fit_, self.findings_, texts, patient, least, top)

    def _learned(self) -> dict[str, Any]:
        return {"table": self.table_.to_state(), "fit": ridge_state(self.fit_)}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        self.table_ = WordTable.from_state(record["table"])
        self.fit_ = ridge_of(record["fit"], len(self.findings_), len(self.table_.terms))
        self._tell()
