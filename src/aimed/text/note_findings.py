"""The fitted model of a study of notes as one piece: reader, calibration, thresholds and sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.calibrate.several import SeveralFindings
from aimed.core import BundleError
from aimed.text import TEXT_MODELS

__all__ = ["NoteFindings"]

_SCHEMA = 1
_TOGETHER = 5000


class NoteFindings(SeveralFindings):
    """What a study of notes fits, evaluates and packages.

    Parameters
    ----------
    recipe : str
        Name of the reader in `aimed.text.TEXT_MODELS`.
    title : str
        The one shown to people.
    reader : fitted text model
        Gives a probability of each finding from texts.
    findings : sequence of str
    labels : mapping of str to str, optional
        What a finding is called; its name where absent.
    parameters : mapping, optional
        Of the reader, in JSON types.
    seed : int

    Examples
    --------
    >>> import numpy as np
    >>> from aimed.text.prevalence import Prevalence
    >>> reader = Prevalence().fit(["No effusion.", "Large effusion."], np.array([[0.0], [1.0]]), names=["effusion"])
    >>> model = NoteFindings("prevalence", "Prevalence", reader, ["effusion"])
    >>> again = NoteFindings.from_state(model.to_state())
    >>> again.risk(["Clear lungs."]).tolist()
    [[0.5]]
    """

    def __init__(
        self,
        recipe: str,
        title: str,
        reader: Any,
        findings: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(findings, labels)
        self.recipe, self.title, self.reader = recipe, title, reader
        self.parameters, self.seed = dict(parameters or {}), int(seed)

    def raw(self, texts: Sequence[str], progress: Callable[[float, str], object] | None = None) -> NDArray[np.float64]:
        """Return uncalibrated probabilities, shape (n, k).

        Parameters
        ----------
        texts : sequence of str
            As `aimed.readers.note_text.clean_note` leaves them.
        progress : callable, optional
            ``progress(share, text)``.
        """
        found = np.empty((len(texts), len(self.findings)))
        for start in range(0, len(texts), _TOGETHER):
            stop = min(start + _TOGETHER, len(texts))
            found[start:stop] = self.reader.predict_proba(list(texts[start:stop]))
            if progress is not None:
                progress(stop / len(texts), f"{stop:,} of {len(texts):,} notes")
        return found

    def risk(self, texts: Sequence[str], progress: Callable[[float, str], object] | None = None) -> NDArray[np.float64]:
        """Return calibrated probabilities, shape (n, k); see `raw`."""
        return self.calibrated(self.raw(texts, progress))

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types."""
        return {
            "schema": _SCHEMA,
            "recipe": self.recipe,
            "title": self.title,
            "findings": self.findings,
            "labels": self.labels,
            "parameters": self.parameters,
            "seed": self.seed,
            "reader": self.reader.to_state(),
            **self.calibration_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NoteFindings:
        """Rebuild a fitted model from `to_state`.

        Raises
        ------
        BundleError
            If the state is of another version, or of a reader that this version does not know.
        """
        if state["schema"] != _SCHEMA or state["recipe"] not in TEXT_MODELS:
            raise BundleError(
                "the model is of a kind that this version does not know",
                f"one of: {', '.join(TEXT_MODELS)}",
                "install the version of aimed that the manifest names, or train again",
            )
        reader = TEXT_MODELS[str(state["recipe"])].from_state(state["reader"])
        model = cls(
            str(state["recipe"]),
            str(state["title"]),
            reader,
            [str(name) for name in state["findings"]],
            labels=state["labels"],
            parameters=state["parameters"],
            seed=int(state["seed"]),
        )
        model.restore_calibration(state)
        return model
