"""What all models of notes share: checked input, thresholds, folds of patients, and a state in JSON types."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core import BundleError, DataError, NotEstimableError, StudyFileError
from aimed.metrics.arrays import patient_codes
from aimed.metrics.report_labels import f1_thresholds

__all__ = ["FloatArray", "Progress", "TextModel", "notes_of", "patient_folds"]

FloatArray = NDArray[np.float64]
Progress = Callable[[float, str], object]

_AGAIN = "get the model again from its source"
_NO_THRESHOLD = 0.5


def notes_of(X: Any) -> list[str]:
    """Return notes as a list of text; a missing one is empty.

    Raises
    ------
    DataError
        If some are no text; the message holds none of them.

    Examples
    --------
    >>> notes_of(["clear", None])
    ['clear', '']
    """
    if isinstance(X, str | bytes | Mapping):
        raise DataError("one text", "a sequence of notes, each a text", "put the note into a list")
    found = ["" if note is None else note for note in X]
    other = sum(not isinstance(note, str) for note in found)
    if other:
        raise DataError(f"{other} of {len(found)} notes are no text", "notes as text", "decode or leave out the others")
    return [str(note) for note in found]


def patient_folds(y: FloatArray, patient: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row: all rows of a patient in one, rare findings spread evenly.

    Parameters
    ----------
    y : float array, shape (n, k)
    patient : int array, shape (n,)
        From 0.
    folds : int
        As many as there are patients, at most.
    seed : int

    Examples
    --------
    >>> y = np.repeat([[1.0], [0.0]], 6, axis=0)
    >>> fold = patient_folds(y, np.arange(12), 3, seed=0)
    >>> [float(y[fold == i].sum()) for i in range(3)], np.bincount(fold).tolist()
    ([2.0, 2.0, 2.0], [4, 4, 4])
    """
    patients = int(patient.max()) + 1
    folds = max(2, min(folds, patients))
    has = np.zeros((patients, y.shape[1]), dtype=bool)
    np.logical_or.at(has, patient, y == 1)
    often = has.sum(axis=0)
    # Each patient is dealt with those that share his rarest finding.
    rarest = np.where(has, often, patients + 1).min(axis=1, initial=patients + 1)
    which = np.where(has & (often == rarest[:, None]), np.arange(y.shape[1]), y.shape[1]).min(
        axis=1, initial=y.shape[1]
    )
    shuffled = np.random.default_rng((seed, 11)).permutation(patients)
    order = shuffled[np.lexsort((which[shuffled], rarest[shuffled]))]
    fold = np.empty(patients, dtype=np.int64)
    fold[order] = np.arange(patients) % folds
    return np.asarray(fold[patient])


class TextModel(BaseEstimator):  # type: ignore[misc]
    """A model that reads notes and returns a probability of each finding.

    Attributes
    ----------
    findings_ : list of str
    share_ : float array, shape (k,)
        How often each finding is present among its known training labels.
    thresholds_ : float array, shape (k,)
        Risks from which `decide` calls a finding present: those with the highest F1 score on the rows that tune, or
        on folds of patients left out.
    n_fitted_ : int
    """

    _kind = ""

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        patient: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        tune: ArrayLike | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Fit on notes and their labels.

        Parameters
        ----------
        X : n notes
            Text; None is an empty one.
        y : float array, shape (n, k)
            1, 0, NaN where unknown.
        patient : array, shape (n,), optional
            Every note its own patient when absent.
        names : k strings, optional
            Of the findings.
        tune : bool array, shape (n,), optional
            Rows that decide when to stop, and the thresholds, and teach nothing else.
        seed : int
            The same seed gives the same bits.
        progress : callable, optional
            Called with the share done and a word on it.

        Raises
        ------
        DataError
            If shapes disagree, labels are none of 1, 0, NaN, or notes are no text.
        NotEstimableError
            If a finding is unknown in all training notes, or always or never present.
        """
        notes = notes_of(X)
        labels = _labels(y, len(notes))
        k = labels.shape[1]
        self.findings_ = [f"finding {i + 1}" for i in range(k)] if names is None else [str(name) for name in names]
        if len(self.findings_) != k or len(set(self.findings_)) != k:
            raise DataError(f"{len(set(self.findings_))} different names for {k} findings", "one name a finding")
        who = patient_codes(patient, len(notes))
        held = np.zeros(len(notes), dtype=bool) if tune is None else np.asarray(tune)
        if held.shape != (len(notes),) or held.dtype != np.bool_:
            raise DataError(f"tune of shape {held.shape}, {held.dtype}", f"({len(notes)},), true or false")
        if np.isin(who[held], who[~held]).any():
            raise DataError("patients have notes that teach and notes that tune", "all notes of a patient on one side")
        self.share_ = _learnable(labels[~held], self.findings_)
        self.n_fitted_ = int((~held).sum())
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
            raise StudyFileError(f"seed = {seed!r}", "an integer >= 0")
        self.thresholds_ = np.full(k, _NO_THRESHOLD)
        chosen = self._learn(notes, labels, who, held, int(seed), progress or (lambda share, text: None))
        self.thresholds_ = np.where(np.isnan(chosen), _NO_THRESHOLD, chosen)
        return self

    @abstractmethod
    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        """Learn from the rows that do not tune, and return the thresholds."""

    @abstractmethod
    def _risk(self, notes: list[str]) -> FloatArray:
        """Return probabilities, shape (n, k)."""

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each finding, shape (n, k).

        Parameters
        ----------
        X : n notes
        """
        check_is_fitted(self, "findings_")
        notes = notes_of(X)
        if not notes:
            return np.zeros((0, len(self.findings_)))
        return np.clip(self._risk(notes), 0.0, 1.0)

    def decide(self, risk: ArrayLike) -> FloatArray:
        """Return 1 where a finding is called present, 0 where not, NaN where there is no risk.

        Parameters
        ----------
        risk : float array, shape (n, k)
            As `predict_proba` returns it.
        """
        check_is_fitted(self, "findings_")
        p = np.asarray(risk, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.findings_):
            raise DataError(f"risks of shape {p.shape}", f"(n, {len(self.findings_)})")
        return np.where(np.isnan(p), np.nan, (p >= self.thresholds_).astype(np.float64))

    def words_of(self, text: str, finding: str) -> list[tuple[int, int, float]]:
        """Return how much places of a note speak for a finding, as (start, end, weight); none where a model cannot say.

        Parameters
        ----------
        text : str
        finding : str

        Returns
        -------
        list of (int, int, float)
            In order of place; weights are on the scale of log odds.
        """
        check_is_fitted(self, "findings_")
        self._place(finding)
        return []

    def _place(self, finding: str) -> int:
        if finding not in self.findings_:
            from aimed.core.errors import UnknownNameError

            raise UnknownNameError("finding", finding, self.findings_)
        return self.findings_.index(finding)

    def _best(
        self, notes: list[str], y: FloatArray, tune: NDArray[np.bool_], apart: FloatArray | None = None
    ) -> FloatArray:
        """Return the thresholds of the rows that tune, or of risks from folds left out where there are none."""
        if tune.any():
            rows = np.flatnonzero(tune)
            return f1_thresholds(y[rows], np.clip(self._risk([notes[row] for row in rows]), 0.0, 1.0))
        return f1_thresholds(y, np.clip(self._risk(notes), 0.0, 1.0) if apart is None else apart)

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types; it holds no note."""
        check_is_fitted(self, "findings_")
        return {
            "schema": 1,
            "kind": self._kind,
            "parameters": self._parameters(),
            "findings": list(self.findings_),
            "n": self.n_fitted_,
            "share": self.share_.tolist(),
            "thresholds": self.thresholds_.tolist(),
            "learned": self._learned(),
        }

    def _parameters(self) -> dict[str, Any]:
        return {k: _json(v) for k, v in self.get_params(deep=False).items()}

    @abstractmethod
    def _learned(self) -> dict[str, Any]:
        """Return what was learned, in JSON types."""

    @abstractmethod
    def _relearn(self, record: Mapping[str, Any]) -> None:
        """Set what was learned."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild a fitted model from `to_state`.

        Raises
        ------
        BundleError
            If the state is of another kind of model, or its parts do not fit together.
        """
        if state.get("kind") != cls._kind or state.get("schema") != 1:
            raise BundleError("the state of another model", f"one that {cls.__name__}.to_state wrote", _AGAIN)
        try:
            model = cls(**state["parameters"])
            model.findings_ = [str(name) for name in state["findings"]]
            model.n_fitted_ = int(state["n"])
            model.share_ = np.array(state["share"], dtype=np.float64)
            model.thresholds_ = np.array(state["thresholds"], dtype=np.float64)
            k = len(model.findings_)
            if not k or model.thresholds_.shape != (k,) or model.share_.shape != (k,):
                raise BundleError(f"{model.thresholds_.size} thresholds", f"{k}, one a finding", _AGAIN)
            model._relearn(state["learned"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(
                f"the model cannot be rebuilt ({type(error).__name__})", "a model written by aimed", _AGAIN
            ) from None
        return model


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _labels(y: ArrayLike, n: int) -> FloatArray:
    try:
        labels = np.array(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("labels that are no numbers", "1, 0, NaN where unknown") from None
    if labels.ndim == 1:
        labels = labels[:, None]
    if labels.ndim != 2 or labels.shape[0] != n or not labels.shape[1]:
        raise DataError(f"labels of shape {labels.shape}", f"({n}, k), one row a note and one column a finding")
    odd = int((~(np.isnan(labels) | np.isin(labels, (0.0, 1.0)))).sum())
    if odd:
        raise DataError(f"{odd} labels are none of 1, 0, NaN", "1 present, 0 absent, NaN unknown", "recode them")
    return labels


def _learnable(y: FloatArray, names: Sequence[str]) -> FloatArray:
    known, positive = (~np.isnan(y)).sum(axis=0), (y == 1).sum(axis=0)
    for name, n, cases in zip(names, known.tolist(), positive.tolist(), strict=True):
        if n == 0:
            raise NotEstimableError(f"'{name}' is unknown in every training note", "known labels", "leave it out")
        if cases in (0, n):
            what = "absent" if cases == 0 else "present"
            raise NotEstimableError(f"'{name}' is {what} in all {n} training notes that know it", "both kinds",
                                    "leave it out")  # fmt: skip
    return np.asarray(positive / known, dtype=np.float64)
