"""Choosing a calibrator on out-of-fold predictions of the training part, by cross-fitting over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.calibrate import CALIBRATORS
from aimed.calibrate.odds import log_loss_rows
from aimed.core import DataError, Fold, NotEstimableError
from aimed.splits.draw import grouped_folds

__all__ = ["ISOTONIC_MINIMUM", "Chosen", "choose", "restore", "state_of"]

ISOTONIC_MINIMUM = 100
"""Isotonic regression is offered with at least this many events and as many non-events."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The calibrator that was chosen and why.

    Parameters
    ----------
    name : str
    calibrator : fitted on every row given
    scores : mapping of str to float
        Mean log loss on rows held out from the calibrator, in nats, for each method that could be compared.
    sentence : str
        The reason, for the report.
    left_out : mapping of str to str
        Methods that were not compared, with the reason.
    """

    name: str
    calibrator: Any
    scores: Mapping[str, float]
    sentence: str
    left_out: Mapping[str, str] = field(default_factory=dict)


def choose(
    risk: ArrayLike,
    y: ArrayLike,
    patient: ArrayLike,
    methods: Sequence[str] = ("none", "sigmoid", "isotonic", "temperature"),
    folds: int = 5,
    seed: int = 0,
) -> Chosen:
    """Return the simplest calibrator that is as good as the best one, fitted on all rows.

    Parameters
    ----------
    risk : float array, shape (n,)
        Out-of-fold probabilities of the training part; rows without a prediction (NaN) are left out. Never
        predictions for rows the model was fitted on, and never test rows.
    y : array of 0/1, shape (n,)
    patient : array, shape (n,)
        Rows of one patient are held out together.
    methods : sequence of str
        Names from `CALIBRATORS`.
    folds, seed : int
        Patients are dealt into folds at random, those with an event evenly.

    Returns
    -------
    Chosen

    Raises
    ------
    UnknownNameError
        If a method does not exist.
    DataError
        If shapes differ, a risk lies outside [0, 1], there are fewer patients than folds, or no method fits.

    Notes
    -----
    Methods are ordered as in the catalogue, simplest first. One is as good as the best when its mean log loss
    is higher by no more than one standard error of the paired difference, with patients as the unit.

    References
    ----------
    Breiman et al., Classification and Regression Trees 1984, section 3.4.3 (the one-standard-error rule).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> true = rng.uniform(0.05, 0.95, 400)
    >>> chosen = choose(true, rng.random(400) < true, np.arange(400))
    >>> chosen.name, sorted(chosen.scores)
    ('none', ['isotonic', 'none', 'sigmoid', 'temperature'])
    """
    p, outcome, who = _aligned(risk, y, patient)
    names = [name for name in CALIBRATORS if name in {CALIBRATORS.entry(m).name for m in methods}]
    if not names:
        raise DataError("no calibration method", "at least one name", f"choose from {', '.join(CALIBRATORS)}")
    events = int(outcome.sum())
    left_out: dict[str, str] = {}
    if "isotonic" in names and min(events, outcome.size - events) < ISOTONIC_MINIMUM:
        left_out["isotonic"] = (
            f"needs {ISOTONIC_MINIMUM} events and {ISOTONIC_MINIMUM} non-events, there are {events} and "
            f"{outcome.size - events}"
        )
    parts = grouped_folds(np.arange(outcome.size), who, folds=folds, seed=seed, stratum=outcome)
    losses: dict[str, NDArray[np.float64]] = {}
    fitted: dict[str, Any] = {}
    for name in names:
        if name in left_out:
            continue
        try:
            losses[name] = _held_out(CALIBRATORS[name], p, outcome, parts)
            fitted[name] = CALIBRATORS[name]().fit(p, outcome)
        except NotEstimableError as error:
            losses.pop(name, None)
            left_out[name] = error.got
    if not fitted:
        raise DataError(
            f"no calibrator could be fitted on {outcome.size} rows with {events} events",
            "events and non-events in every fold",
            "add 'none' to the calibration methods",
        )
    scores = {name: float(loss.mean()) for name, loss in losses.items()}
    best = min(scores, key=lambda name: scores[name])
    spread = {name: _standard_error(loss - losses[best], who) for name, loss in losses.items()}
    name = next(name for name in scores if scores[name] - scores[best] <= spread[name])
    return Chosen(name, fitted[name], scores, _sentence(name, best, scores, left_out, outcome, who), left_out)


def _aligned(
    risk: ArrayLike, y: ArrayLike, patient: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    p, outcome = np.asarray(risk, dtype=np.float64), np.asarray(y, dtype=np.float64)
    ids = np.asarray(patient)
    if p.ndim != 1 or outcome.shape != p.shape or ids.shape != p.shape:
        raise DataError(
            f"risk, y and patient have shapes {p.shape}, {outcome.shape} and {ids.shape}", "one value a row"
        )
    known = ~np.isnan(p)
    p, outcome, ids = p[known], outcome[known], ids[known]
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("a risk lies outside [0, 1]", "probabilities")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise DataError("an outcome is neither 0 nor 1", "0 and 1")
    return p, outcome, np.unique(ids, return_inverse=True)[1]


def _held_out(
    kind: Any, p: NDArray[np.float64], outcome: NDArray[np.float64], parts: Sequence[Fold]
) -> NDArray[np.float64]:
    loss = np.empty_like(p)
    for fold in parts:
        fitted = kind().fit(p[fold.fit], outcome[fold.fit])
        loss[fold.tune] = log_loss_rows(fitted.transform(p[fold.tune]), outcome[fold.tune])
    return loss


def _standard_error(difference: NDArray[np.float64], who: NDArray[np.int64]) -> float:
    total = np.bincount(who, weights=difference - difference.mean())
    m = total.size
    return float(np.sqrt((total**2).sum() * m / max(1, m - 1)) / difference.size)


def _sentence(
    name: str,
    best: str,
    scores: Mapping[str, float],
    left_out: Mapping[str, str],
    outcome: NDArray[np.float64],
    who: NDArray[np.int64],
) -> str:
    compared = ", ".join(f"{n} {value:.4f}" for n, value in scores.items())
    counts = f"{int(outcome.sum())} events in {outcome.size} out-of-fold predictions of {int(who.max()) + 1} patients"
    text = f"Held-out log loss on {counts}: {compared}."
    if name == best:
        text += f" '{name}' was chosen because it is lowest."
    else:
        text += f" '{name}' was chosen: it is simpler than '{best}' and no worse by more than one standard error."
    for method, why in left_out.items():
        text += f" '{method}' was not compared: {why}."
    return text


def state_of(calibrator: Any) -> dict[str, Any]:
    """Return a calibrator as JSON types, with its catalogue name.

    Raises
    ------
    DataError
        If the calibrator is not in the catalogue.

    Examples
    --------
    >>> from aimed.calibrate.temperature import Temperature
    >>> state_of(Temperature(0.5))
    {'method': 'temperature', 'state': {'slope': 0.5}}
    """
    where = f"{type(calibrator).__module__}:{type(calibrator).__qualname__}"
    for name, entry in CALIBRATORS.entries().items():
        if entry.where == where:
            return {"method": name, "state": calibrator.to_state()}
    raise DataError("a calibrator that is not in the catalogue", f"one of: {', '.join(CALIBRATORS)}")


def restore(record: Mapping[str, Any]) -> Any:
    """Rebuild a calibrator from `state_of`.

    Examples
    --------
    >>> restore({"method": "temperature", "state": {"slope": 0.5}}).slope
    0.5
    """
    return CALIBRATORS[record["method"]].from_state(record["state"])
