"""The reader that reads nothing: every finding as often as in training, the floor for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import BundleError
from aimed.text.text_model import FloatArray, Progress, TextModel

__all__ = ["Prevalence"]


class Prevalence(TextModel):
    """Each finding as often as in the training notes, whatever a note says.

    Examples
    --------
    >>> Prevalence().fit(["a", "b"], [[1], [0]], names=["edema"]).predict_proba(["c"]).tolist()
    [[0.5]]
    """

    _kind = "prevalence"

    def _learn(
        self, notes: list[str], y: FloatArray, patient: NDArray[np.int64], tune: NDArray[np.bool_], seed: int,
        progress: Progress,
    ) -> FloatArray:  # fmt: skip
        progress(1.0, "fitted")
        return np.full(y.shape[1], np.nan)

    def _risk(self, notes: list[str]) -> FloatArray:
        return np.tile(self.share_, (len(notes), 1))

    def _learned(self) -> dict[str, Any]:
        return {}

    def _relearn(self, record: Mapping[str, Any]) -> None:
        if self.share_.shape != (len(self.findings_),) or not ((self.share_ >= 0) & (self.share_ <= 1)).all():
            raise BundleError("shares that do not fit the findings", "one a finding, from 0 to 1")
