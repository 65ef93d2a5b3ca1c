"""The lexicon as a model of a study: its verdict on each finding, turned into a probability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from aimed.core import BundleError
from aimed.core.packed_arrays import packed, unpacked
from aimed.text.lexicon import Lexicon
from aimed.text.lexicon_verdicts import VERDICTS, LexiconVerdicts, codes_of
from aimed.text.text_model import FloatArray, Progress, TextModel, notes_of

__all__ = ["LexiconModel", "LexiconReader"]

_BEFORE = np.array([0.9, 0.5, 0.05, 0.02])
"""How often a finding is there after each verdict, before any note is seen; counts as one note."""


class LexiconReader(TextModel):
    """A model that reads with a lexicon: what the verdicts are, and what they rest on.

    Parameters
    ----------
    lexicon : str, path or Lexicon
        As for `aimed.text.lexicon.load_lexicon`.
    targets : str
        Set of labels of the lexicon.
    names : mapping of str to str, optional
        Finding of the study → target, where they are not called alike.
    """

    lexicon: str | Path | Lexicon
    targets: str
    names: Mapping[str, str] | None

    @property
    def reader(self) -> LexiconVerdicts:
        """The lexicon with its labeller."""
        # Not fitted: two threads that make it at once make the same.
        found: LexiconVerdicts | None = self.__dict__.get("_reader")
        if found is None:
            found = self._reader = LexiconVerdicts(self.lexicon, self.targets, self.names)
        return found

    def forget(self) -> None:
        """Read the lexicon anew when it is next needed: its parameters may have been set since."""
        self.__dict__.pop("_reader", None)

    @property
    def lexicon_name(self) -> str:
        """Name of the lexicon."""
        return str(self.reader.lexicon.name)

    @property
    def lexicon_version(self) -> str:
        """Version of the lexicon."""
        return str(self.reader.lexicon.version)

    @property
    def lexicon_digest(self) -> str:
        """SHA-256 of the content of the lexicon."""
        return str(self.reader.lexicon.digest)

    def verdicts(self, texts: Any) -> FloatArray:
        """Return 1, 0, -1 for uncertain, NaN for not mentioned, of each finding, shape (n, k); needs no fit."""
        return self._values(notes_of(texts))

    def _values(self, notes: list[str]) -> FloatArray:
        if not notes:
            return np.zeros((0, len(self.findings_)))
        return np.ascontiguousarray(self.reader.values(notes)[:, self.reader.places(self.findings_)])

    def evidence(self, texts: Any) -> list[list[dict[str, Any]]]:
        """Return the mentions that the verdicts rest on, one list a note, in JSON types; needs no fit."""
        notes = notes_of(texts)
        return self.reader.evidence(notes, self.findings_) if notes else []

    def _parameters(self) -> dict[str, Any]:
        # The content is stored beside: a path would tell of the machine, and the file may change.
        return super()._parameters() | {"lexicon": self.lexicon_name, "names": dict(self.names or {})}

    def _learned(self) -> dict[str, Any]:
        return {"lexicon": self.reader.to_state()}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        self._reader = LexiconVerdicts.from_state(record["lexicon"])


class LexiconModel(LexiconReader):
    """The verdict of the lexicon on each finding, as the share of training notes with that verdict that have it.

    Parameters
    ----------
    lexicon, targets, names
        As for `LexiconReader`.

    Attributes
    ----------
    chance_ : float array, shape (k, 4)
        Probability of each finding after each verdict, in the order of `VERDICTS`: never rising in that order.

    Notes
    -----
    Each verdict sets out with one note's worth of belief (.9, .5, .05, .02); shares that rise where they should fall
    are pooled.

    References
    ----------
    Irvin et al., AAAI 2019;33:590 (verdicts). Ayer et al., Ann Math Stat 1955;26:641 (pooling).
    """

    _kind = "lexicon"

    def __init__(
        self,
        lexicon: str | Path | Lexicon = "chest-xray",
        targets: str = "nih",
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.lexicon, self.targets, self.names = lexicon, targets, names

    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        self.forget()
        codes = codes_of(self._values(notes))
        self.chance_ = np.array(
            [_chances(codes[~tune, place], y[~tune, place]) for place in range(y.shape[1])], dtype=np.float64
        )
        progress(1.0, "fitted")
        return self._best(notes, y, tune)

    def _risk(self, notes: list[str]) -> FloatArray:
        codes = codes_of(self._values(notes))
        return np.take_along_axis(self.chance_, codes.T, axis=1).T.copy()

    def words_of(self, text: str, finding: str) -> list[tuple[int, int, float]]:
        """Return the mentions that decided, as (start, end, weight): what the verdict adds to the log odds."""
        super().words_of(text, finding)
        place = self._place(finding)
        silent = VERDICTS.index("not_mentioned")
        code = int(codes_of(self._values([text]))[0, place])
        odds = np.log(self.chance_[place] / (1.0 - self.chance_[place]))
        spans = [one for one in self.evidence([text])[0] if one["finding"] == finding and one.get("decided", True)]
        weight = float(odds[code] - odds[silent]) / max(1, len(spans))
        return sorted((one["start"], one["end"], weight) for one in spans)

    def _learned(self) -> dict[str, Any]:
        return {**super()._learned(), "chance": packed(self.chance_)}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        super()._relearn(record)
        self.reader.places(self.findings_)
        self.chance_ = unpacked(record["chance"]).astype(np.float64)
        shape = (len(self.findings_), len(VERDICTS))
        if self.chance_.shape != shape or not ((self.chance_ > 0) & (self.chance_ < 1)).all():
            raise BundleError(f"probabilities of shape {self.chance_.shape}", f"{shape}, above 0 and below 1")


def _chances(codes: NDArray[np.int64], y: FloatArray) -> FloatArray:
    known = ~np.isnan(y)
    n = np.bincount(codes[known], minlength=len(VERDICTS)) + 1.0
    cases = np.bincount(codes[known], weights=y[known], minlength=len(VERDICTS)) + _BEFORE
    return np.asarray(isotonic_regression(cases / n, sample_weight=n, increasing=False), dtype=np.float64)
