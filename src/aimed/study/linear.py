"""What a model with coefficients lets be looked at: whether hazards stay proportional, and a nomogram to read it by."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from aimed.core import AimedError
from aimed.explain.nomogram import no_nomogram, nomogram
from aimed.fit.adapter import StudyModel
from aimed.prognosis.cox_over_time import hazards_over_time

__all__ = ["nomogram_of", "proportional_hazards_of", "readable_steps"]

Floats = NDArray[np.float64]


def readable_steps(model: StudyModel, X: Floats) -> list[tuple[float, str, str]]:
    """Return for each feature what its coefficient is multiplied by, its label and the step it is then for.

    Parameters
    ----------
    model : StudyModel
        Fitted.
    X : float array, shape (n, p)
        Training rows.

    Notes
    -----
    Numbers are fitted standardised. The coefficient is given for 1, 10, 100... units, the largest that is no more than
    the standard deviation, and for one standard deviation where that is less than one unit.
    """
    variables = {v.name: (j, v) for j, v in enumerate(model.variables)}
    prepared = model.preparation
    out = []
    for term, origin, scale in zip(
        prepared.feature_names_out_, prepared.feature_origin_, prepared.feature_scale_, strict=True
    ):
        j, v = variables[origin]
        label = v.label or v.name
        known = X[np.isfinite(X[:, j]), j]
        two = bool(np.isin(known, (0.0, 1.0)).all())
        if term == origin and v.kind == "number" and (two or scale <= 1.0):
            # One millimetre of mercury moves nothing that can be seen: the largest power of ten below the spread.
            size = 1.0 if two else 10.0 ** np.floor(np.log10(1.0 / scale) + 1e-9)
            per = "1 against 0" if two and not v.unit else f"{size:g} {v.unit or ('unit' if size == 1 else 'units')}"
            out.append((float(scale * size), v.title, per))
        elif term.endswith(" (missing)"):
            out.append((1.0, term.replace(origin, label, 1), "1 against 0"))
        elif v.kind == "category":
            out.append((1.0, term.replace(origin, label, 1), "against the reference level"))
        else:
            text = term.replace(origin, label, 1) + (", per SD" if term == origin else "")
            out.append((1.0, text, "1 standard deviation"))
    return out


def proportional_hazards_of(
    model: StudyModel, X: Floats, y: NDArray[Any], patient: NDArray[Any], level: float
) -> dict[str, Any] | None:
    """Return the test of proportional hazards on the training rows; None for a model that does not assume them.

    Parameters
    ----------
    model : StudyModel
        Fitted.
    X, y, patient : arrays with n rows
        Training rows. With competing events the hazard is that of the cause of interest.
    level : float

    Returns
    -------
    dict or None
        As `aimed.prognosis.cox_over_time.hazards_over_time`, with ``refitted``: whether the model itself has a
        penalty, which the test has not; ``repeated``: whether patients have several rows; ``cause``: whether other
        events compete. A curve of one column has ``per``, the step of its ratio.
    """
    if model.recipe.ratio_name != "hazard ratio" or getattr(model.estimator, "scale", "hazard") != "hazard":
        return None
    competing = model.recipe.task == "competing"
    Z = model.preparation.transform(X)
    rows = np.isfinite(Z).all(axis=1)
    outcome = np.empty(int(rows.sum()), dtype=[("event", bool), ("time", np.float64)])
    outcome["event"] = y["event"][rows] == 1 if competing else y["event"][rows].astype(bool)
    outcome["time"] = y["time"][rows]
    coefficients = np.ravel(np.asarray(getattr(model.estimator, "coef_", np.ones(Z.shape[1])), dtype=np.float64))
    # A lasso leaves columns out; they are no part of the model whose hazards are looked at.
    used = coefficients != 0 if coefficients.size == Z.shape[1] else np.ones(Z.shape[1], dtype=bool)
    titles = {v.name: v.title for v in model.variables}
    names = list(model.preparation.feature_names_out_)
    steps = readable_steps(model, X)
    terms = [
        steps[k][1] if name.endswith(" (missing)") else titles[origin]
        for k, (name, origin) in enumerate(zip(names, model.preparation.feature_origin_, strict=True))
    ]
    kept = np.flatnonzero(used)
    own = [terms[k] for k in kept]
    record = hazards_over_time(Z[np.ix_(rows, used)], outcome, own, factors=[steps[k][0] for k in kept], level=level)
    for curve in record["curves"]:
        if curve["scale"] == "ratio":
            curve["per"] = steps[kept[own.index(curve["term"])]][2]
    penalty = getattr(model.estimator, "penalty", None)
    record["refitted"] = bool(penalty) or not used.all() or model.recipe.name not in ("cox", "cause_specific_cox")
    record["repeated"] = bool(np.unique(patient[rows]).size < rows.sum())
    record["cause"] = competing
    return record


def nomogram_of(
    model: StudyModel, X: Floats, horizons: tuple[float, ...] | None, seed: int = 0
) -> dict[str, Any] | None:
    """Return the nomogram of a model with coefficients; None for other models.

    Parameters
    ----------
    model : StudyModel
        Fitted; its calibration, where there is one, is part of what is read.
    X : float array, shape (n, p)
        Training rows.
    horizons : tuple of float, optional
        The first three are drawn; None for a yes/no outcome.
    seed : int

    Returns
    -------
    dict or None
        As `aimed.explain.nomogram.nomogram`.
    """
    if model.recipe.family != "linear" or model.recipe.ratio_name is None:
        return None
    binary = model.recipe.task == "binary"
    times = None if binary or horizons is None else np.asarray(horizons[:3], dtype=np.float64)

    def total(rows: Floats) -> Floats:
        return _log_odds(model.raw_risk(rows)) if binary else model.score(rows)

    width = len(model.preparation.feature_names_out_)
    unit = np.zeros((width + 1, width))
    unit[1:] = np.eye(width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = _inside(model, unit)
            slopes = found[1:] - found[0]
            if not slopes.size or not np.isfinite(slopes).all() or not np.abs(slopes).max() > 0:
                return no_nomogram("no predictor has weight in the model")
            lead = int(np.abs(slopes).argmax())

            def risk_at(sums: Floats) -> Floats:
                # One column moves the sum as far as is asked; the others rest at their means.
                Z = np.zeros((sums.size, width))
                Z[:, lead] = (sums - found[0]) / slopes[lead]
                return _risk_inside(model, Z, times)

            return nomogram(
                total,
                risk_at,
                lambda rows: model.risk(rows, times),
                X,
                model.variables,
                horizons=None if times is None else times.tolist(),
                seed=seed,
            )
        except AimedError as error:
            return no_nomogram(str(error))


def _log_odds(risk: Floats) -> Floats:
    return np.asarray(logit(np.clip(risk, 1e-15, 1.0 - 1e-15)), dtype=np.float64)


def _inside(model: StudyModel, Z: Floats) -> Floats:
    """Return the sum for prepared rows."""
    if model.recipe.task == "binary":
        return _log_odds(model.estimator.predict_proba(Z)[:, 1])
    return np.asarray(model.estimator.predict(Z), dtype=np.float64)


def _risk_inside(model: StudyModel, Z: Floats, times: Floats | None) -> Floats:
    """Return the risk for prepared rows, calibrated as the model is."""
    if model.recipe.task == "binary":
        risk = np.asarray(model.estimator.predict_proba(Z)[:, 1], dtype=np.float64)
        return risk if model.calibrator is None else np.asarray(model.calibrator.transform(risk))
    if model.recipe.task == "competing":
        found = np.asarray(model.estimator.predict_cumulative_incidence(Z, times=times), dtype=np.float64)
        return np.clip(found[:, :, 0] if found.ndim == 3 else found, 0.0, 1.0)
    return np.asarray(1.0 - model.estimator.predict_survival_function(Z, times=times), dtype=np.float64)
