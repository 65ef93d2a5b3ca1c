"""Calibration, thresholds and sets of several findings side by side, for any model with a probability of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.calibrate.choose import restore, state_of
from aimed.core import BundleError
from aimed.metrics.evaluate_multilabel import finding_keys

if TYPE_CHECKING:
    from aimed.calibrate.conformal import ConformalSets

__all__ = ["SeveralFindings"]


class SeveralFindings:
    """What follows the probabilities of several findings until something is said about a patient.

    Parameters
    ----------
    findings : sequence of str
    labels : mapping of str to str, optional
        What a finding is called; its name where absent.

    Attributes
    ----------
    findings, keys : list of str
    calibrators : list of calibrator or None
        One a finding; None leaves its probability as it is.
    thresholds : float array, shape (k,)
        Risks from which a finding is called present; NaN where none was chosen.
    conformal : ConformalSets or None

    Raises
    ------
    DataError
        If two findings have the same key.

    Examples
    --------
    >>> said = SeveralFindings(["mass", "edema"])
    >>> said.thresholds[0] = 0.3
    >>> said.decided([[0.4, 0.9]]).tolist()
    [[1.0, nan]]
    """

    def __init__(self, findings: Sequence[str], labels: Mapping[str, str] | None = None) -> None:
        self.findings = [str(name) for name in findings]
        self.keys = list(finding_keys(self.findings))
        self.labels = {name: str((labels or {}).get(name, name)) for name in self.findings}
        self.calibrators: list[Any] = [None] * len(self.findings)
        self.thresholds: NDArray[np.float64] = np.full(len(self.findings), np.nan)
        self.conformal: ConformalSets | None = None

    def calibrated(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities, shape (n, k), each sent through the calibration of its finding."""
        out = np.array(raw, dtype=np.float64)
        for j, calibrator in enumerate(self.calibrators):
            if calibrator is not None:
                out[:, j] = calibrator.transform(out[:, j])
        return out

    def decided(self, risk: ArrayLike) -> NDArray[np.float64]:
        """Return 1 from the threshold of a finding on, 0 below, NaN where it has none, shape (n, k)."""
        found = np.asarray(risk, dtype=np.float64)
        return np.where(np.isnan(self.thresholds), np.nan, found >= self.thresholds)

    def calibration_state(self) -> dict[str, Any]:
        """Return calibration, thresholds and sets in JSON types."""
        return {
            "calibration": [None if one is None else state_of(one) for one in self.calibrators],
            "thresholds": [None if np.isnan(value) else float(value) for value in self.thresholds],
            # JSON objects have no order; columns do.
            "conformal": None
            if self.conformal is None
            else {"names": list(self.conformal.names), "sets": self.conformal.to_state()},
        }

    def restore_calibration(self, state: Mapping[str, Any]) -> None:
        """Take over what `calibration_state` returned.

        Raises
        ------
        BundleError
            If it is of another number of findings.
        """
        k = len(self.findings)
        self.calibrators = [None if one is None else restore(one) for one in state["calibration"]]
        values: Sequence[Any] = state["thresholds"]
        self.thresholds = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
        if len(self.calibrators) != k or self.thresholds.shape != (k,):
            raise BundleError(
                f"{len(self.calibrators)} calibrations and {self.thresholds.size} thresholds", f"{k} of each"
            )
        self.conformal = None
        if state["conformal"] is not None:
            from aimed.calibrate.conformal import ConformalSets

            record = state["conformal"]
            self.conformal = ConformalSets.from_state(record["sets"]).take(record["names"])
            if len(self.conformal.names) != k:
                raise BundleError(f"conformal sets of {len(self.conformal.names)} findings", f"those of {k}")
