"""What studies of findings share, in pictures or in notes: calibration, thresholds and sets learned on tuning rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aimed.calibrate.choose import choose
from aimed.calibrate.conformal import ConformalSets
from aimed.calibrate.several import SeveralFindings
from aimed.core import DataError, NotEstimableError
from aimed.metrics.evaluate_multilabel import finding_key
from aimed.study.pictures import finding_labels
from aimed.study.spec import StudySpec
from aimed.study.stages import Progress, silent

__all__ = ["calibrate_findings", "youden_threshold"]

CONFORMAL_ALPHA = 0.1
"""Share of patients with a finding, and of those without, whose set may miss the truth."""

Model = TypeVar("Model", bound=SeveralFindings)


def youden_threshold(y: NDArray[np.float64], risk: NDArray[np.float64]) -> float:
    """Return the risk at or above which sensitivity plus specificity is highest; the prevalence without both kinds.

    Examples
    --------
    >>> youden_threshold(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9]))
    0.3
    """
    events, others = float((y == 1).sum()), float((y == 0).sum())
    if not events or not others:
        return float(np.clip(y.mean() if y.size else 0.5, 0.01, 0.99))
    values, place = np.unique(risk, return_inverse=True)
    cases = np.bincount(place, y == 1, values.size)[::-1].cumsum()[::-1] / events
    false = np.bincount(place, y == 0, values.size)[::-1].cumsum()[::-1] / others
    return float(np.clip(values[int(np.argmax(cases - false))], 1e-6, 1 - 1e-6))


_YOUDEN = (
    "of each finding the risk at which sensitivity plus specificity is highest on the tune part; name [evaluate] "
    "threshold to choose it yourself"
)
_SAME_ROWS = (
    "Each finding was calibrated on the tune part, which also said when training stopped; so its fit there is a little "
    "flattered, and the test part is the judge."
)


def calibrate_findings(
    spec: StudySpec,
    model: Model,
    raw: NDArray[np.float64],
    y: NDArray[np.float64],
    patient: NDArray[Any],
    *,
    threshold: Callable[[NDArray[np.float64], NDArray[np.float64]], float] = youden_threshold,
    rule: str = _YOUDEN,
    said: str = _SAME_ROWS,
    progress: Progress = silent,
) -> tuple[dict[str, Any], Model]:
    """Choose calibration, threshold and conformal sets of each finding.

    Parameters
    ----------
    spec : StudySpec
    model : SeveralFindings
        Gets what is chosen.
    raw, y : arrays, shape (n, k)
        Probabilities of rows the model did not learn from, and their labels; NaN where unknown.
    patient : array, shape (n,)
    threshold : callable
        Takes labels and calibrated risks of a finding where it is known.
    rule, said : str
        How thresholds were chosen, and what is to be said of the calibration.
    progress : callable, optional
    """
    calibration, thresholds = {}, {}
    labels = finding_labels(spec)
    for j, name in enumerate(spec.outcome.findings):
        progress(j / len(spec.outcome.findings), labels[name])
        known = ~np.isnan(y[:, j])
        try:
            found = choose(
                raw[known, j], y[known, j], patient[known], methods=spec.calibrate.methods, seed=spec.study.seed
            )
        except (NotEstimableError, DataError) as error:
            model.calibrators[j] = None
            calibration[finding_key(name)] = {
                "method": "none",
                "scores": {},
                "sentence": f"Left as it is: {error.got}.",
                "parameters": {},
            }
        else:
            model.calibrators[j] = None if found.name == "none" else found.calibrator
            calibration[finding_key(name)] = {
                "method": found.name,
                "scores": dict(found.scores),
                "sentence": found.sentence,
                "parameters": {} if found.calibrator is None else found.calibrator.to_state(),
            }
    risk = model.calibrated(raw)
    named = spec.evaluate.threshold
    for j, name in enumerate(spec.outcome.findings):
        known = ~np.isnan(y[:, j])
        value = named if named is not None else threshold(y[known, j], risk[known, j])
        model.thresholds[j] = value
        thresholds[finding_key(name)] = {"value": float(value)}
    model.conformal = ConformalSets.fit(
        risk, y, patient=patient, alpha=CONFORMAL_ALPHA, names=[labels[n] for n in spec.outcome.findings]
    )
    chosen = "named in the study file before the run, one for all findings" if named is not None else rule
    methods = sorted({str(c["method"]) for c in calibration.values()})
    return {
        "calibration": {
            "method": methods[0] if len(methods) == 1 else "by finding",
            "scores": {},
            "parameters": {},
            "findings": calibration,
            "sentence": said,
        },
        "threshold": {"value": named, "rule": chosen, "findings": thresholds},
        "optimism": None,
    }, model
