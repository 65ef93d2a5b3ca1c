"""The learned reader that keeps the order of words: a small recurrent network, trained from scratch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import BundleError, StudyFileError
from aimed.metrics.arrays import patient_codes
from aimed.text.note_words import MARK, words_of, words_with_places
from aimed.text.text_model import FloatArray, Progress, TextModel, patient_folds
from aimed.text.word_table import shared_terms

__all__ = ["Encoder"]

_BATCH = 64
_FIRST = 2


class Encoder(TextModel):
    """Word vectors, a recurrent layer that reads in both directions, and one attention over the words a finding.

    Parameters
    ----------
    width : int
        Of word vectors.
    hidden : int
        Of the recurrent layer, in each direction.
    dropout : float
        Share of vector entries left out in a step of training.
    forgotten : float
        Share of words that are unknown in a step of training.
    epochs : int
        Passes over the notes, at most.
    patience : int
        Epochs without a lower loss on the notes that tune after which training stops.
    learning_rate, weight_decay : float
    batch_size : int
        Notes a step.
    max_words : int
        Longest stretch read at once; a longer note is read stretch by stretch, with one attention over all of it. In
        training the first stretch is read.
    least_patients : int
        Patients whose notes share a word, at least, for the model to know it.
    n_jobs : int
        Threads in training; 1 is fastest for networks as small as this.

    Attributes
    ----------
    terms_ : list of str
    network_ : NoteNetwork
    facts_ : dict
        Size of the vocabulary, epochs, and losses by epoch; of a model read from a state only the first.

    Notes
    -----
    Without rows that tune, a fifth of the patients is set aside to stop the training and to choose the thresholds.

    Examples
    --------
    >>> notes = ["No edema.", "There is edema.", "Clear lungs.", "Edema is seen."] * 10
    >>> model = Encoder(8, 8, epochs=60, patience=60, learning_rate=0.02, batch_size=8)
    >>> model = model.fit(notes, [[0], [1], [0], [1]] * 10, names=["edema"])
    >>> model.decide(model.predict_proba(["There is edema.", "No edema."])).tolist()
    [[1.0], [0.0]]
    """

    _kind = "encoder"

    def __init__(
        self,
        width: int = 64,
        hidden: int = 48,
        *,
        dropout: float = 0.3,
        forgotten: float = 0.1,
        epochs: int = 40,
        patience: int = 6,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        batch_size: int = 32,
        max_words: int = 512,
        least_patients: int = 2,
        n_jobs: int = 1,
    ) -> None:
        self.width, self.hidden, self.dropout, self.forgotten = width, hidden, dropout, forgotten
        self.epochs, self.patience, self.batch_size = epochs, patience, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.max_words, self.least_patients, self.n_jobs = max_words, least_patients, n_jobs

    def _check(self) -> None:
        for name, least in (("width", 1), ("hidden", 1), ("max_words", 8), ("least_patients", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 8192:
                raise StudyFileError(f"{name} = {value!r}", f"an integer from {least} to 8192")
        for name in ("dropout", "forgotten"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
                raise StudyFileError(f"{name} = {value!r}", "a number >= 0 and < 1")

    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        from aimed.fit.torch_training import TrainingSettings, seeded, train
        from aimed.text.encoder_network import NoteNetwork, TrainingNotes, note_loss

        self._check()
        settings = TrainingSettings(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate, clip_norm=1.0,
            weight_decay=self.weight_decay, patience=self.patience, seed=seed, threads=self.n_jobs,
            tune_batch_size=_BATCH,
        )  # fmt: skip
        held = tune if tune.any() else patient_folds(y, patient, 5, seed) == 0
        learns, stops = np.flatnonzero(~held), np.flatnonzero(held)
        who = patient_codes(patient[learns], learns.size)
        self.terms_ = shared_terms([words_of(notes[row]) for row in learns], who, min(self.least_patients, learns.size))
        self._code = {term: place + _FIRST for place, term in enumerate(self.terms_)}
        coded = [self._codes(words_of(note))[: self.max_words] for note in notes]
        with seeded(seed):
            self.network_ = NoteNetwork(
                len(self.terms_) + _FIRST, y.shape[1], self.width, self.hidden, self.dropout, self.forgotten
            )
            share = np.clip(np.nan_to_num(np.nanmean(y[learns], axis=0)) if learns.size else 0.5, 0.01, 0.99)
            self.network_.bias.data.copy_(_tensor(np.log(share / (1 - share))))
        sizes = np.array([coded[row].size for row in learns])

        def order(generator: np.random.Generator) -> NDArray[np.int64]:
            """Notes of like length in one step, the steps in random order: little is read that is no note."""
            near = np.argsort(sizes + generator.uniform(0.0, 8.0, sizes.size), kind="stable")
            steps = np.array_split(near, max(1, -(-near.size // self.batch_size)))
            return np.concatenate([steps[i] for i in generator.permutation(len(steps))])

        def told(share: float, text: str) -> None:
            progress(share, text)

        done = train(
            self.network_, note_loss, TrainingNotes([coded[row] for row in learns], y[learns]),
            TrainingNotes([coded[row] for row in stops], y[stops]), settings, order=order,
            progress=told,
        )  # fmt: skip
        self.facts_ = {
            "words": len(self.terms_), "epochs": len(done.train_loss), "best_epoch": done.best_epoch,
            "stopped_early": done.stopped_early, "learning": done.history,
        }  # fmt: skip
        return self._best(notes, y, held)

    def _codes(self, words: list[str]) -> NDArray[np.int64]:
        known = self._code
        return np.array([known.get(word, 1) for word in words], dtype=np.int64)

    def _risk(self, notes: list[str]) -> FloatArray:
        import torch

        from aimed.text.encoder_network import padded

        coded = [self._codes(words_of(note)) for note in notes]
        logit = np.empty((len(notes), len(self.findings_)))
        sizes = np.array([codes.size for codes in coded])
        whole = np.flatnonzero(sizes <= self.max_words)
        # Notes of like length side by side: little is read that is no note.
        order = whole[np.argsort(sizes[whole], kind="stable")]
        with _one_thread(), torch.inference_mode():
            for first in range(0, order.size, _BATCH):
                rows = order[first : first + _BATCH]
                logit[rows] = self.network_(*padded([coded[row] for row in rows])).double().numpy()
            for row in np.flatnonzero(sizes > self.max_words):
                parts = self._stretches(coded[row])
                batches = (padded(parts[first : first + _BATCH]) for first in range(0, len(parts), _BATCH))
                logit[row] = self.network_.over_stretches(batches).double().numpy()
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))

    def _stretches(self, codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [codes[first : first + self.max_words] for first in range(0, codes.size, self.max_words)]

    def words_of(self, text: str, finding: str) -> list[tuple[int, int, float]]:
        """Return the weight of each word that the model knows, as (start, end, weight): gradient times vector.

        References
        ----------
        Ancona et al., ICLR 2018 (gradient times input).
        """
        import torch

        from aimed.text.encoder_network import UNKNOWN, padded

        super().words_of(text, finding)
        place = self._place(finding)
        words = words_with_places(text)
        codes = self._codes([word for word, _, _ in words])
        parts = [padded([part]) for part in self._stretches(codes)]
        with _one_thread():
            with torch.no_grad():
                note = self.network_.gathered(parts)
            value = [float(one) for part in parts for one in self.network_.slope(*part, place, note)]
        return [
            (start, end, weight)
            for (word, start, end), code, weight in zip(words, codes.tolist(), value, strict=True)
            if code != UNKNOWN and word != MARK
        ]

    def _learned(self) -> dict[str, Any]:
        from aimed.text.encoder_network import weights_of

        return {"terms": self.terms_, "weights": base64.b64encode(weights_of(self.network_)).decode("ascii")}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        from aimed.text.encoder_network import stored_network

        self._check()
        self.terms_ = [str(term) for term in record["terms"]]
        self._code = {term: place + _FIRST for place, term in enumerate(self.terms_)}
        if len(self._code) != len(self.terms_):
            raise BundleError("a word that is there twice", "different words")
        try:
            weights = base64.b64decode(record["weights"], validate=True)
        except (binascii.Error, ValueError):
            raise BundleError("the weights are damaged", "what to_state wrote") from None
        self.facts_ = {"words": len(self.terms_)}
        self.network_ = stored_network(weights, len(self.terms_) + _FIRST, len(self.findings_), self.width, self.hidden)


def _tensor(values: NDArray[np.float64]) -> Any:
    import torch

    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Read on one thread: sums in another order would end in other bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
