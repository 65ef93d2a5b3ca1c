"""The whole evaluation of a model on one part: every measure, difference, threshold and curve, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core.errors import DataError
from aimed.core.evaluation import Measure
from aimed.metrics.accuracy import risk_groups
from aimed.metrics.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    event_kinds,
    follow_up,
    patient_codes,
    survival,
    vector,
)
from aimed.metrics.calibration_competing import deciles_of_incidence
from aimed.metrics.calibration_survival import deciles_at
from aimed.metrics.censor_marks import censor_marks
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.nonparametric import kaplan_meier
from aimed.metrics.prepared_binary import DECISION_GRID, MEASURES, NOBODY, RATES, UNIT_GRID, PreparedBinary
from aimed.metrics.prepared_competing import PreparedCompeting
from aimed.metrics.prepared_survival import (
    AT_HORIZON,
    DECISION_GRID_AT,
    OVERALL,
    OVERALL_COMPETING,
    PreparedSurvival,
    at,
)
from aimed.metrics.proportions import wilson
from aimed.metrics.resampled import Prepared, Resampled, numbers, resample
from aimed.metrics.utility import treat_all

__all__ = ["evaluate_binary", "evaluate_survival", "measures_binary", "measures_survival"]

_MANY_ROWS = 50_000
_MANY_DRAWS = 200
COMPARED = ("auroc", "auprc", "brier", "scaled_brier", "log_loss", "net_benefit")
_COMPARED_AT = ("auc", "brier", "net_benefit")
_RANKED = "concordance and AUC"
_RANKED_BINARY = "AUROC, sensitivity, specificity and likelihood ratios"
_EDGES: FloatArray = np.linspace(0, 1, 21)
_CONVENTIONS = (
    "Censoring weights are 1 / G(T-) for events, the left limit of the Kaplan-Meier curve of censoring in these rows, "
    "and 1 / G(t) for rows followed beyond t; events at a time leave before censorings. Concordance counts tied scores "
    "as one half, drops pairs of tied event times and counts a row censored at an event time as later; Uno's C counts "
    "events with time <= tau. Scaled Brier is 1 - Brier / Brier of the Kaplan-Meier curve of these rows. The "
    "integrated Brier score is the trapezoid integral over the times of the curve over time, divided by their range. "
    "Calibration at a horizon is a Cox model (Efron ties) on the cloglog of the predicted risk. Rows censored before "
    "a horizon are in no bar of its histogram."
)

_CONVENTIONS_COMPETING = (
    "Risk is the cumulative incidence of the event of interest; whoever has another event first stays free of it. "
    "Censoring weights are 1 / G(T-) for events of any kind, the left limit of the Kaplan-Meier curve of censoring in "
    "these rows, and 1 / G(t) for rows followed beyond t. Concordance is Wolbers': rows with another event count as "
    "never having the one of interest; tied scores count one half. The AUC sets cases by t against all others "
    "(Blanche's second definition). Observed incidence is Aalen-Johansen's, and scaled Brier is 1 - Brier / Brier of "
    "that curve. The integrated Brier score is the trapezoid integral over the times of the curve over time, divided "
    "by their range. Calibration at a horizon is logistic regression on the log odds of the predicted risk, weighted "
    "for censoring. Rows censored before a horizon are in no bar of its histogram."
)


def draws_used(draws: int, n: int) -> tuple[int, str]:
    """Return the resamples to take with so many rows, and what the sentence on the method says about it."""
    used = min(draws, _MANY_DRAWS) if n > _MANY_ROWS else draws
    lowered = f", lowered from {draws} because there are more than {_MANY_ROWS:,} rows" if used < draws else ""
    return used, lowered


def _grid(thresholds: Sequence[float], chosen: float | None) -> FloatArray:
    grid = np.unique(np.asarray([*thresholds, *([] if chosen is None else [chosen])], dtype=np.float64))
    if grid.size and not (grid[0] > 0 and grid[-1] < 1):
        raise DataError("a threshold lies outside (0, 1)", "risk thresholds between 0 and 1")
    return grid


def _chosen(grid: FloatArray, chosen: float | None) -> float | None:
    if chosen is not None:
        return float(chosen)
    return float(grid[0]) if grid.size else None


def _curve(values: FloatArray, limits: tuple[FloatArray, FloatArray], names: tuple[str, str, str]) -> dict[str, Any]:
    return dict(zip(names, (numbers(v) for v in (values, *limits)), strict=True))


def _counts(n: float, tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    return {k: 1000 * v / n for k, v in (("tp", tp), ("fp", fp), ("fn", fn), ("tn", tn))}


def checked_predictions(risk: ArrayLike, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return predictions of one shape, finite or NaN."""
    array = np.asarray(risk, dtype=np.float64)
    if array.shape != shape:
        raise DataError(f"{name} has shape {array.shape}", f"{shape}, one row a row of the outcome")
    if np.isinf(array).any():
        raise DataError(f"{name} holds infinite values", "finite numbers, NaN where there is no prediction")
    return array


def checked_risks(risk: FloatArray, name: str) -> FloatArray:
    """Return risks, each in [0, 1] or NaN."""
    bad = int(((risk < 0) | (risk > 1)).sum())
    if bad:
        raise DataError(f"{name} has {bad} of {risk.size} values outside [0, 1]", "probabilities")
    return risk


def _tell(progress: Callable[[float], None] | None) -> None:
    if progress is not None:
        progress(1.0)


def _partner(name: str) -> str:
    return f"model beside {name}"


def _compare(
    found: Resampled,
    baselines: Mapping[str, BoolArray | None],
    event: BoolArray,
    names: Sequence[str],
    compared: Sequence[str],
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Measures of each baseline and the model's differences from it, on the rows both cover."""
    measures, differences = {}, {}
    for name, covered in baselines.items():
        n = event.size if covered is None else int(covered.sum())
        events = int(event.sum() if covered is None else event[covered].sum())
        key, model = f"baseline {name}", "model" if covered is None else _partner(name)
        measures[name] = {m: found.measure(key, m, n, events) for m in names}
        differences[name] = {m: found.difference(model, key, m, n, events, name) for m in compared}
    return {"baselines": measures, "differences": differences}


# ------------------------------------------------------------------------------------------------ yes/no outcomes


def without_value(names: Sequence[str], level: float, note: str) -> dict[str, dict[str, Any]]:
    """Return measures that cannot be estimated, and why."""
    return {name: Measure(name=name, value=None, level=level, note=note).to_dict() for name in names}


def measures_binary(
    y: ArrayLike,
    risk: ArrayLike,
    patient: ArrayLike | None = None,
    names: Sequence[str] = ("auroc", "brier", "oe", "calibration_slope", "net_benefit"),
    draws: int = 500,
    seed: int = 0,
    *,
    threshold: float | None = None,
    level: float = 0.95,
) -> dict[str, dict[str, Any]]:
    """Return some measures of a risk with intervals; never raises for what the rows cannot tell.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk : float array, shape (n,)
        Probabilities; rows with NaN are left out.
    patient : array, shape (n,), optional
        Every row its own patient when absent.
    names : sequence of str
        Names from `aimed.metrics.prepared_binary.MEASURES` and `RATES`; an unknown one comes back without a value.
    draws, seed : int
    threshold : float, optional
        For the net benefit and the rates.
    level : float

    Returns
    -------
    dict of str to dict
        `Measure.to_dict`; value None with a note where it cannot be estimated.

    Examples
    --------
    >>> found = measures_binary([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8], names=["auroc", "oe"], draws=50)
    >>> found["auroc"]["value"], found["oe"]["value"]
    (1.0, 1.0)
    >>> measures_binary([1, 1], [0.1, 0.9], names=["auroc"], draws=50)["auroc"]["note"]
    'only one outcome class is present'
    """
    if np.size(y) == 0:
        return without_value(names, level, "no rows")
    outcome, _ = binary(y)
    p = checked_risks(checked_predictions(risk, "risk", outcome.shape), "risk")
    known = np.isfinite(p)
    if not known.any():
        return without_value(names, level, "no row has a prediction")
    outcome, p = outcome[known], p[known]
    codes = patient_codes(None if patient is None else np.asarray(patient)[known], p.size)
    used, lowered = draws_used(draws, p.size)
    model = PreparedBinary(outcome, p, codes, np.array([]), threshold, names, False)
    event = outcome == 1
    ranked = "the AUROC" if set(RATES).isdisjoint(names) else _RANKED_BINARY
    found = resample({"model": model}, codes, event, draws=used, lowered=lowered, ranked=ranked, level=level, seed=seed)
    measures = _named(found, names, p.size, int(outcome.sum()))
    if threshold is not None:
        _as_shares(measures, found, outcome, p >= threshold, codes)
    return measures


def _named(found: Resampled, names: Sequence[str], n: int, events: int) -> dict[str, dict[str, Any]]:
    out = {}
    for name in names:
        if name in found.points["model"]:
            out[name] = found.measure("model", name, n, events)
        else:
            unknown = Measure(name=name, value=None, n=n, events=events, level=found.level, note="no such measure here")
            out[name] = unknown.to_dict()
    return out


def evaluate_binary(
    y: ArrayLike,
    risk: ArrayLike,
    *,
    patient: ArrayLike | None = None,
    baselines: Mapping[str, ArrayLike] | None = None,
    thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5),
    chosen: float | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Return the whole evaluation of a risk for a yes/no outcome, in JSON types.

    Parameters
    ----------
    y : 0/1 array, shape (n,)
    risk : float array, shape (n,)
        Probabilities. Rows with NaN have no prediction: they are left out and counted.
    patient : array, shape (n,), optional
        Rows of one patient are drawn together; every row its own patient when absent.
    baselines : mapping of str to float array, shape (n,), optional
        Risks to compare with, paired in every resample. Where one is NaN, it and the model are compared on the rows
        both cover.
    thresholds : sequence of float in (0, 1)
    chosen : float, optional
        The threshold decided on; the net benefit is taken there, or at the lowest threshold when absent.
    draws : int
        Resamples; at most 200 with more than 50,000 rows, which `interval_method` then says.
    level : float
    seed : int
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    dict
        The ``performance`` block of a study's results.

    Raises
    ------
    DataError
        If shapes disagree, a risk lies outside [0, 1], or no row has a prediction.

    References
    ----------
    Collins et al., BMJ 2024;385:e078378 (TRIPOD+AI). Van Calster et al., arXiv:2412.10288.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random(300)
    >>> block = evaluate_binary(rng.random(300) < p, p, baselines={"half": np.full(300, 0.5)}, draws=100)
    >>> block["measures"]["auroc"]["value"] > 0.7, block["differences"]["half"]["auroc"]["lower"] > 0
    (True, True)
    """
    outcome, _ = binary(y)
    p = checked_risks(checked_predictions(risk, "risk", outcome.shape), "risk")
    known = np.isfinite(p)
    if not known.any():
        raise DataError(f"none of {p.size} rows has a prediction", "at least 1 risk that is a number")
    others = {
        k: checked_risks(checked_predictions(v, f"baseline '{k}'", outcome.shape), f"baseline '{k}'")[known]
        for k, v in (baselines or {}).items()
    }
    outcome, p = outcome[known], p[known]
    n, events, event = p.size, int(outcome.sum()), outcome == 1
    codes = patient_codes(None if patient is None else np.asarray(patient)[known], n)
    patients = int(codes.max()) + 1
    grid = _grid(thresholds, chosen)
    at_threshold = _chosen(grid, chosen)
    used, lowered = draws_used(draws, n)
    model = PreparedBinary(outcome, p, codes, grid, at_threshold, MEASURES, True)
    models: dict[str, Prepared] = {"model": model}
    coverage: dict[str, BoolArray | None] = {}
    others_ready: dict[str, PreparedBinary] = {}
    for name, other in others.items():
        here = np.isfinite(other)
        if not here.any():
            raise DataError(f"baseline '{name}' has no prediction", "at least 1 risk that is a number")
        coverage[name] = None if here.all() else here

        def ready(values: FloatArray, wanted: Sequence[str], here: BoolArray = here) -> PreparedBinary:
            return PreparedBinary(outcome[here], values[here], codes[here], np.array([]), at_threshold, wanted, False)

        models[f"baseline {name}"] = others_ready[name] = ready(other, MEASURES)
        if not here.all():
            models[_partner(name)] = ready(p, COMPARED)
    one_row = patients == n
    found = resample(
        models,
        codes,
        event,
        draws=used,
        lowered=lowered,
        ranked=_RANKED_BINARY,
        level=level,
        seed=seed,
        progress=progress,
    )
    block = {
        "kind": "binary",
        "n": n,
        "events": events,
        "patients": patients,
        "without_prediction": int((~known).sum()),
        "draws": used,
        "level": level,
        "interval_method": found.method + ("; Wilson for rates at thresholds" if one_row else ""),
        "measures": {name: found.measure("model", name, n, events) for name in MEASURES},
        **_compare(found, coverage, event, MEASURES, COMPARED),
        "thresholds": _threshold_rows(found, outcome, p, codes, grid, chosen),
        "curves": _binary_curves(found, model, others_ready, one_row),
    }
    _tell(progress)
    return block


def _threshold_rows(
    found: Resampled, y: FloatArray, risk: FloatArray, codes: IntArray, grid: FloatArray, chosen: float | None
) -> list[dict[str, Any]]:
    rows = []
    n, events = y.size, int(y.sum())
    for i, threshold in enumerate(grid):
        high = risk >= threshold
        tp = int((y[high] == 1).sum())
        fp = int(high.sum()) - tp
        fn, tn = events - tp, n - events - fp
        row: dict[str, Any] = {
            "threshold": float(threshold),
            "chosen": chosen is not None and float(threshold) == float(chosen),
            "tp": tp,
            "fp": fp,
            "fn": fn,
            "tn": tn,
        }
        for name in RATES:
            row[name] = found.measure("model", name, n, events, i, note_if_missing=NOBODY)
        _as_shares(row, found, y, high, codes)
        row["net_benefit"] = found.measure("model", "net_benefits", n, events, i, label="net_benefit")
        row["per_1000"] = _counts(n, tp, fp, fn, tn)
        rows.append(row)
    return rows


def _as_shares(measures: dict[str, Any], found: Resampled, y: FloatArray, high: BoolArray, codes: IntArray) -> None:
    """Give rates that are shares of rows the rows they are of and, where resamples say too little, Wilson limits."""
    one_row = found.patients == y.size
    case: BoolArray = y == 1
    for name, among, right in (
        ("sensitivity", case, high),
        ("specificity", ~case, ~high),
        ("ppv", high, case),
        ("npv", ~high, ~case),
    ):
        if name not in measures:
            continue
        of, k = int(among.sum()), int((among & right).sum())
        measures[name]["n"] = of
        if of and (one_row or k in (0, of)):
            # A share of 0 or 1 does not vary between resamples; patients stand in for rows there.
            units = of if one_row else int(np.unique(codes[among]).size)
            lower, upper = wilson(k / of * units, units, found.level)
            method = "Wilson score interval" + ("" if one_row else ", patients as n")
            measures[name] |= {"lower": lower, "upper": upper, "method": method, "note": ""}


def _histogram(risk: FloatArray, event: BoolArray, none: BoolArray) -> dict[str, Any]:
    return {
        "edges": _EDGES.tolist(),
        "events": np.histogram(risk[event], _EDGES)[0].tolist(),
        "nonevents": np.histogram(risk[none], _EDGES)[0].tolist(),
    }


def _binary_curves(
    found: Resampled,
    model: PreparedBinary,
    others: Mapping[str, PreparedBinary],
    one_row: bool,
) -> dict[str, Any]:
    points = found.points["model"]
    y, risk = model.y, model.risk
    prevalence = float(y.mean())
    observed, n_bin = points["bins"], np.bincount(model.bins)
    predicted = np.bincount(model.bins, risk) / n_bin
    if one_row:
        limits = np.array([wilson(k * m, m, found.level) for k, m in zip(observed, n_bin.astype(float), strict=True)]).T
        lower, upper = limits[0], limits[1]
    else:
        lower, upper = found.interval("model", "bins")
    bins = [
        {"predicted": a, "observed": b, "lower": c, "upper": d, "n": int(m)}
        for a, b, c, d, m in zip(
            numbers(predicted), numbers(observed), numbers(lower), numbers(upper), n_bin, strict=True
        )
    ]
    shape = ("observed", "lower", "upper")
    return {
        "roc": {"fpr": UNIT_GRID.tolist()}
        | _curve(points["roc"], found.interval("model", "roc"), ("tpr", "lower", "upper")),
        "precision_recall": {"recall": UNIT_GRID.tolist()}
        | _curve(
            points["precision_recall"], found.interval("model", "precision_recall"), ("precision", "lower", "upper")
        )
        | {"prevalence": prevalence},
        "calibration": {"predicted": model.grid.tolist()}
        | _curve(points["calibration"], found.interval("model", "calibration"), shape)
        | {"bins": bins, "histogram": _histogram(risk, y == 1, y == 0)},
        "decision": {"threshold": DECISION_GRID.tolist()}
        | _curve(points["decision"], found.interval("model", "decision"), ("model", "lower", "upper"))
        | {
            "all": treat_all(prevalence, DECISION_GRID).tolist(),
            "none": [0.0] * DECISION_GRID.size,
            "baselines": {k: numbers(o.decision()) for k, o in others.items()},
        },
    }


# ------------------------------------------------------------------------------------------ time-to-event outcomes


class _Part:
    """The rows of a survival evaluation, sorted by time, with what every model on them shares."""

    def __init__(
        self,
        event: ArrayLike,
        time: ArrayLike,
        score: ArrayLike,
        curves: ArrayLike,
        times: ArrayLike,
        horizons: ArrayLike,
        patient: ArrayLike | None,
        competing: bool,
    ) -> None:
        self.competing = competing
        if competing:
            when = follow_up(time)
            kind = event_kinds(event, when.size, 1)
        else:
            seen, when, _ = survival(event, time)
            kind = seen.astype(np.uint8)
        self.times = vector("times", times)
        self.horizons = vector("horizons", np.atleast_1d(np.asarray(horizons, dtype=np.float64)))
        if (np.diff(self.times) <= 0).any():
            raise DataError("times do not rise", "a rising grid of times")
        if not np.isin(self.horizons, self.times).all():
            raise DataError("a horizon is not one of the times", "the horizons among the times of the survival curves")
        self._shape = (when.size, self.times.size)
        own_score, own_curves = self._model({"score": score, "survival": curves}, "the model")
        known = np.isfinite(own_score) & ~np.isnan(own_curves).any(axis=1)
        self.without = int((~known).sum())
        if not known.any():
            raise DataError(f"none of {known.size} rows has a prediction", "at least 1 row with a survival curve")
        rows = np.flatnonzero(known)
        self._order: IntArray = rows[np.argsort(when[rows], kind="stable")]
        self.kind, self.time = kind[self._order], when[self._order]
        self.event: BoolArray = self.kind == 1
        self.score, self.curves = own_score[self._order], own_curves
        self.n, self.events = self._order.size, int(self.event.sum())
        patient = None if patient is None else np.asarray(patient)[self._order]
        self.codes = patient_codes(patient, self.n)
        self.patients = int(self.codes.max()) + 1
        self.at = np.searchsorted(self.times, self.horizons)

    def _model(self, model: Mapping[str, ArrayLike], name: str) -> tuple[FloatArray, NDArray[Any]]:
        score = checked_predictions(model["score"], f"the score of {name}", self._shape[:1])
        # Curves stay as given: a copy in sorted order of all times would double the largest array there is.
        curves = np.asarray(model["survival"])
        if curves.shape != self._shape:
            raise DataError(f"the survival of {name} has shape {curves.shape}", f"{self._shape}, rows by times")
        low, high = np.nanmin(curves, initial=0.0), np.nanmax(curves, initial=1.0)
        if low < 0 or high > 1:
            raise DataError(f"the survival of {name} leaves [0, 1]", "probabilities")
        return score, curves

    def other(self, model: Mapping[str, ArrayLike], name: str) -> tuple[FloatArray, NDArray[Any], BoolArray]:
        """Return a baseline's score on the sorted rows, its curves as given, and which rows it covers."""
        score, curves = self._model(model, f"baseline '{name}'")
        covered = np.isfinite(score[self._order]) & ~np.isnan(curves).any(axis=1)[self._order]
        if not covered.any():
            raise DataError(f"baseline '{name}' has no prediction", "at least 1 row with a survival curve")
        return np.where(covered, score[self._order], 0.0), curves, covered

    def columns(self, curves: NDArray[Any], places: IntArray) -> FloatArray:
        """Return survival at some times, shape (times, n), on the sorted rows; rows without a curve hold 0.5."""
        out = np.empty((places.size, self.n))
        for j, place in enumerate(places):
            out[j] = curves[self._order, place]
        np.nan_to_num(out, copy=False, nan=0.5)
        return out

    def thin(self, last: float, most: int) -> IntArray:
        """Return evenly spread places among the times in (0, last] that follow-up reaches."""
        end = min(last, float(self.time[-1]))
        places = np.flatnonzero((self.times > 0) & (self.times <= end))
        if places.size > most:
            places = places[np.unique(np.linspace(0, places.size - 1, most).round().astype(np.int64))]
        return places.astype(np.int64)

    def ready(
        self,
        score: FloatArray,
        curves: NDArray[Any],
        covered: BoolArray | None,
        places: IntArray,
        *,
        tau: float,
        thresholds: FloatArray,
        chosen: float | None,
        names: Sequence[str],
        full: bool,
    ) -> PreparedSurvival:
        """Return a model made ready for resampling, on the rows it covers."""
        need = full or "ibs" in names
        rows = slice(None) if covered is None else covered
        made = PreparedCompeting if self.competing else PreparedSurvival
        return made(
            (self.kind if self.competing else self.event)[rows],
            self.time[rows],
            self.codes[rows],
            score[rows],
            1 - self.columns(curves, self.at.astype(np.int64))[:, rows].T,
            self.horizons.tolist(),
            self.columns(curves, places)[:, rows] if need else np.empty((0, self.n)),
            self.times[places] if need else np.empty(0),
            tau,
            thresholds,
            chosen,
            names,
            full,
        )


def _names(horizons: FloatArray, competing: bool) -> list[str]:
    return [*(OVERALL_COMPETING if competing else OVERALL), *(at(name, h) for h in horizons for name in AT_HORIZON)]


def measures_survival(
    event: ArrayLike,
    time: ArrayLike,
    *,
    score: ArrayLike,
    survival: ArrayLike,
    times: ArrayLike,
    horizons: ArrayLike,
    patient: ArrayLike | None = None,
    names: Sequence[str] = ("harrell_c",),
    tau: float | None = None,
    threshold: float | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
    competing: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return some measures of a survival model with intervals; never raises for what the rows cannot tell.

    Parameters
    ----------
    event, time, score, survival, times, horizons, patient, tau
        As for `evaluate_survival`.
    names : sequence of str
        Such as ``"harrell_c"`` or ``"oe@365"``; an unknown one comes back without a value.
    threshold : float, optional
        For the net benefit.
    draws, level, seed
    competing : bool
        As for `evaluate_survival`.

    Returns
    -------
    dict of str to dict
        `Measure.to_dict`; value None with a note where it cannot be estimated.

    Examples
    --------
    >>> found = measures_survival([1, 1, 0], [1, 2, 3], score=[3, 2, 1], survival=[[0.2], [0.5], [0.9]], times=[2],
    ...                           horizons=[2], names=["harrell_c", "oe@2"], draws=20)
    >>> found["harrell_c"]["value"], round(found["oe@2"]["value"], 3)
    (1.0, 1.429)
    """
    if np.size(time) == 0:
        return without_value(names, level, "no rows")
    own = np.asarray(score, dtype=np.float64)
    if not (np.isfinite(own) & ~np.isnan(np.asarray(survival)).any(axis=1)).any():
        return without_value(names, level, "no row has a prediction")
    part = _Part(event, time, score, survival, times, horizons, patient, competing)
    last = float(part.horizons.max()) if tau is None else float(tau)
    used, lowered = draws_used(draws, part.n)
    model = part.ready(
        part.score,
        part.curves,
        None,
        part.thin(last, _grid_size(part.n)),
        tau=last,
        thresholds=np.array([]),
        chosen=threshold,
        names=names,
        full=False,
    )
    found = resample(
        {"model": model}, part.codes, part.event, draws=used, lowered=lowered, ranked=_RANKED, level=level, seed=seed
    )
    return _named(found, names, part.n, part.events)


def _grid_size(n: int) -> int:
    return 51 if n <= _MANY_ROWS else 31


def evaluate_survival(
    event: ArrayLike,
    time: ArrayLike,
    *,
    score: ArrayLike,
    survival: ArrayLike,
    times: ArrayLike,
    horizons: ArrayLike,
    patient: ArrayLike | None = None,
    baselines: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    tau: float | None = None,
    thresholds: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5),
    chosen: float | None = None,
    unit: str = "day",
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    competing: bool = False,
) -> dict[str, Any]:
    """Return the whole evaluation of a survival model, in JSON types.

    Parameters
    ----------
    event : 0/1 array, shape (n,)
        With `competing` codes: 0 censored, 1 the event of interest, 2 and up other events.
    time : float array, shape (n,), in `unit`
    score : float array, shape (n,)
        Higher is worse. Rows with NaN have no prediction: they are left out and counted.
    survival : float array, shape (n, t)
        Predicted survival at `times`; with `competing` 1 less the predicted incidence of the event of interest.
    times : float array, shape (t,), rising
        A regular grid that holds the horizons; curves are shown on it, so it must not be the event times of patients.
    horizons : float array, shape (h,)
    patient : array, shape (n,), optional
        Rows of one patient are drawn together; every row its own patient when absent.
    baselines : mapping of str to mapping with ``score`` and ``survival``, optional
        Models to compare with, paired in every resample, on the rows both cover.
    tau : float, optional
        Last time of Uno's C and of the integrated Brier score; the largest horizon when absent.
    thresholds : sequence of float in (0, 1)
    chosen : float, optional
        The threshold decided on; the net benefit is taken there, or at the lowest threshold when absent.
    unit : str
    draws : int
        Resamples; at most 200 with more than 50,000 rows, which `interval_method` then says.
    level : float
    seed : int
    progress : callable, optional
        Called with the share done.
    competing : bool
        Whether other events can come first.

    Returns
    -------
    dict
        The ``performance`` block of a study's results.

    Raises
    ------
    DataError
        If shapes disagree, a survival leaves [0, 1], a horizon is not on the grid, or no row has a prediction.

    References
    ----------
    McLernon et al., Ann Intern Med 2023;176:105. van Geloven et al., BMJ 2022;377:e069249 (competing risks). Collins
    et al., BMJ 2024;385:e078378 (TRIPOD+AI).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rate = rng.exponential(size=200)
    >>> when, grid = rng.exponential(1 / rate), np.array([0.25, 0.5, 1.0])
    >>> block = evaluate_survival(when < 2, np.minimum(when, 2), score=rate, survival=np.exp(-rate[:, None] * grid),
    ...                           times=grid, horizons=[1.0], draws=20)
    >>> 0.6 < block["measures"]["harrell_c"]["value"] < 0.9
    True
    """
    part = _Part(event, time, score, survival, times, horizons, patient, competing)
    last = float(part.horizons.max()) if tau is None else float(tau)
    grid = _grid(thresholds, chosen)
    at_threshold = _chosen(grid, chosen)
    used, lowered = draws_used(draws, part.n)
    names = _names(part.horizons, competing)
    compared = [
        *(OVERALL_COMPETING if competing else OVERALL),
        *(at(name, h) for h in part.horizons for name in _COMPARED_AT),
    ]
    places = part.thin(last, _grid_size(part.n))

    def ready(
        own: FloatArray, curves: NDArray[Any], covered: BoolArray | None, wanted: Sequence[str], full: bool
    ) -> PreparedSurvival:
        shown = grid if full else np.array([])
        return part.ready(
            own, curves, covered, places, tau=last, thresholds=shown, chosen=at_threshold, names=wanted, full=full
        )

    model = ready(part.score, part.curves, None, names, True)
    models: dict[str, Prepared] = {"model": model}
    coverage: dict[str, BoolArray | None] = {}
    others: dict[str, PreparedSurvival] = {}
    for name, other in (baselines or {}).items():
        own, curves, covered = part.other(other, name)
        coverage[name] = None if covered.all() else covered
        models[f"baseline {name}"] = others[name] = ready(own, curves, coverage[name], names, False)
        if not covered.all():
            models[_partner(name)] = ready(part.score, part.curves, covered, compared, False)
    one_row = part.patients == part.n
    found = resample(
        models,
        part.codes,
        part.event,
        draws=used,
        lowered=lowered,
        ranked=_RANKED,
        level=level,
        seed=seed,
        progress=progress,
    )
    block = {
        "kind": "competing" if competing else "survival",
        "unit": unit,
        "horizons": part.horizons.tolist(),
        "tau": last,
        "n": part.n,
        "events": part.events,
        "patients": part.patients,
        "without_prediction": part.without,
        "draws": used,
        "level": level,
        "interval_method": found.method,
        "conventions": _CONVENTIONS_COMPETING if competing else _CONVENTIONS,
        "measures": {name: found.measure("model", name, part.n, part.events) for name in names},
        **_compare(found, coverage, part.event, names, compared),
        "thresholds": {f"{h:g}": _threshold_rows_at(found, part, h, grid, chosen) for h in part.horizons},
        "curves": {
            "risk_groups": _risk_groups(part, level),
            "over_time": _over_time(found, model),
            "calibration": {
                f"{h:g}": _calibration_at(found, model, part, j, one_row) for j, h in enumerate(part.horizons)
            },
            "decision": {f"{h:g}": _decision_at(found, model, others, j) for j, h in enumerate(part.horizons)},
        },
    }
    _tell(progress)
    return block


def _threshold_rows_at(
    found: Resampled, part: _Part, h: float, grid: FloatArray, chosen: float | None
) -> list[dict[str, Any]]:
    rows, points = [], found.points["model"]
    for i, threshold in enumerate(grid):
        shares = {k: float(points[at(k, h)][i]) for k in ("tp", "fp", "fn", "tn")}
        known = {k: v if np.isfinite(v) else None for k, v in shares.items()}
        row: dict[str, Any] = {
            "threshold": float(threshold),
            "chosen": chosen is not None and float(threshold) == float(chosen),
            **{k: None if v is None else part.n * v for k, v in known.items()},
        }
        why = "nobody on one side of the threshold is followed to the horizon, or no row is there"
        for name in RATES:
            row[name] = found.measure("model", at(name, h), part.n, part.events, i, label=name, note_if_missing=why)
        row["net_benefit"] = found.measure(
            "model", at("net_benefits", h), part.n, part.events, i, label="net_benefit", note_if_missing=why
        )
        row["per_1000"] = {k: None if v is None else 1000 * v for k, v in known.items()}
        rows.append(row)
    return rows


_QUARTERS = ("Lowest quarter of risk", "Second quarter", "Third quarter", "Highest quarter of risk")


def _risk_groups(part: _Part, level: float) -> dict[str, Any]:
    """Observed and mean predicted curves by quarter of risk at the last horizon: survival, or incidence."""
    places = part.thin(float(part.times[-1]), 100)
    risk = 1 - part.columns(part.curves, part.at[[int(part.horizons.argmax())]].astype(np.int64))[0]
    code = risk_groups(risk, 4)
    k = int(code.max()) + 1
    labels = _QUARTERS if k == 4 else tuple(f"Risk group {i + 1} of {k}" for i in range(k))
    shown: FloatArray = np.r_[0.0, part.times[places]]
    predicted = np.zeros((k, places.size))
    for j, place in enumerate(places):
        column = part.columns(part.curves, np.array([place], dtype=np.int64))[0]
        predicted[:, j] = np.bincount(code, column, k) / np.bincount(code, minlength=k)
    ticks = np.linspace(0, shown[-1], 6)
    lost: BoolArray = part.kind == 0 if part.competing else ~part.event
    each = censor_marks(part.time, lost, shown)["each"]
    groups, counts = [], {}
    for i, label in enumerate(labels):
        own = code == i
        patient = None if part.patients == part.n else part.codes[own]
        group: dict[str, Any] = {"label": label, "n": int(own.sum()), "events": int(part.event[own].sum())}
        if part.competing:
            group |= _incidence_of(part.kind[own], part.time[own], shown, level, patient)
            group["predicted"] = [0.0, *numbers(1 - predicted[i])]
        else:
            curve = kaplan_meier(part.event[own], part.time[own], level=level, patient=patient)
            lower, upper = curve.interval_at(shown)
            group |= {"survival": numbers(curve.at(shown)), "lower": numbers(lower), "upper": numbers(upper)}
            group["predicted"] = [1.0, *numbers(predicted[i])]
        group["censored"] = censor_marks(part.time[own], lost[own], shown, each)
        groups.append(group)
        counts[label] = [int(v) for v in (part.time[own][:, None] >= ticks).sum(axis=0)]
    return {"times": shown.tolist(), "groups": groups, "at_risk": {"times": ticks.tolist(), "counts": counts}}


def _incidence_of(
    kind: NDArray[np.uint8], time: FloatArray, shown: FloatArray, level: float, patient: IntArray | None
) -> dict[str, Any]:
    """Aalen-Johansen incidence of the event of interest; 0 without limits where it never happens."""
    if not (kind == 1).any():
        return {"incidence": [0.0] * shown.size, "lower": [None] * shown.size, "upper": [None] * shown.size}
    curve = aalen_johansen(kind, time, cause=1, level=level, patient=patient)
    lower, upper = curve.interval_at(shown)
    return {"incidence": numbers(curve.at(shown)), "lower": numbers(lower), "upper": numbers(upper)}


def _over_time(found: Resampled, model: PreparedSurvival) -> dict[str, Any]:
    points = found.points["model"]
    nothing = np.empty(0)
    brier = points.get("brier_over_time", nothing)
    limits = found.interval("model", "brier_over_time") if brier.size else (nothing, nothing)
    return (
        {"times": model.times.tolist()}
        | _curve(points["auc_over_time"], found.interval("model", "auc_over_time"), ("auc", "auc_lower", "auc_upper"))
        | _curve(brier, limits, ("brier", "brier_lower", "brier_upper"))
        | {"brier_null": numbers(model.null_over_time())}
    )


def _calibration_at(found: Resampled, model: PreparedSurvival, part: _Part, j: int, one_row: bool) -> dict[str, Any]:
    h, name = float(part.horizons[j]), at("calibration", float(part.horizons[j]))
    risk = 1 - part.columns(part.curves, part.at[[j]].astype(np.int64))[0]
    grouped = deciles_of_incidence if part.competing else deciles_at
    bins = grouped(part.kind, part.time, risk, h, 10 if part.n >= 200 else 5, found.level)
    if not one_row:
        lower, upper = (numbers(v) for v in found.interval("model", at("bins", h)))
        bins = [b | {"lower": low, "upper": high} for b, low, high in zip(bins, lower, upper, strict=True)]
    curve = _curve(found.points["model"][name], found.interval("model", name), ("observed", "lower", "upper"))
    by_then = part.event & (part.time <= h)
    histogram = _histogram(risk, by_then, (part.time > h) | ((part.kind == 2) & ~by_then))
    return {"predicted": model.grid(j).tolist()} | curve | {"bins": bins, "histogram": histogram}


def _decision_at(
    found: Resampled, model: PreparedSurvival, others: Mapping[str, PreparedSurvival], j: int
) -> dict[str, Any]:
    name = at("decision", model.horizon(j))
    return (
        {"threshold": DECISION_GRID_AT.tolist()}
        | _curve(found.points["model"][name], found.interval("model", name), ("model", "lower", "upper"))
        | {
            "all": numbers(model.treat_all(j)),
            "none": [0.0] * DECISION_GRID_AT.size,
            "baselines": {k: numbers(o.decision(j)) for k, o in others.items()},
        }
    )
