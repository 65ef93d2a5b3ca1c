"""Whether hazard ratios hold over follow-up: tests a term and smooth curves, as a record without any patient in it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from aimed.core import AimedError, DataError
from aimed.fit.spline import knots_of, spline_basis
from aimed.metrics.nonparametric import kaplan_meier
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.cox_diagnostics import proportional_hazards_test, schoenfeld_residuals

__all__ = ["hazards_over_time", "holm"]

Floats: TypeAlias = NDArray[np.float64]

_KNOTS = 4
_TAIL = 5
"""Events that lie at or beyond each end of a curve, so that its ends are nobody's own time."""
_EVENTS = 20
"""Events below which no curve is drawn: a smooth through fewer residuals shows single patients."""
_COLUMNS = 200


def hazards_over_time(
    X: ArrayLike,
    y: NDArray[Any],
    terms: Sequence[str],
    *,
    factors: ArrayLike | None = None,
    curves: int = 3,
    points: int = 40,
    level: float = 0.95,
) -> dict[str, Any]:
    """Test proportional hazards term by term and follow the ratios of the worst terms over time.

    Parameters
    ----------
    X : float array, shape (n, p)
        Columns of the model, finite.
    y : structured array, shape (n,)
        ``event`` and ``time``.
    terms : sequence of str, length p
        Term of each column; columns of one term, as the indicators of a category or the parts of a spline, are tested
        together.
    factors : float array, shape (p,), optional
        What a coefficient is multiplied by to be for a readable step; 1 when absent.
    curves : int
        How many terms get a curve: those with the smallest p.
    points : int
        Times of a curve.
    level : float
        Of the bands, pointwise.

    Returns
    -------
    dict
        ``transform``, ``rows``, ``events``, ``df``, ``level``; ``terms``: list of ``term, df, rho, chi2, p, p_holm``
        in the order given; ``global``: ``chi2, df, p``; ``curves``: list of ``term, scale, constant, times, value,
        lower, upper``. A curve of one column is its hazard ratio; one of several columns (scale "share") is the effect
        of the whole term as a share of the constant effect, 1 where the model is right. ``reason`` says why nothing
        was tested, None otherwise.

    Raises
    ------
    DataError
        If the terms or factors are not one a column.

    Notes
    -----
    The columns are fitted by Cox regression without a penalty, since the test needs the maximum of the likelihood.
    Time is scaled by one less the Kaplan-Meier curve, as in R's ``cox.zph``. rho is the correlation of the scaled
    Schoenfeld residuals with scaled time: above 0 the effect grows. A curve is a restricted cubic spline with four
    knots through these residuals, with the variance of Grambsch and Therneau. No residual leaves the function; the
    ends of a curve have at least five events at or beyond them and its times are rounded.

    References
    ----------
    Grambsch and Therneau, Biometrika 1994;81:515. Holm, Scand J Stat 1979;6:65.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, time = rng.normal(size=(300, 2)), rng.exponential(size=300)
    >>> y = np.array([(True, t) for t in time * np.exp(-X[:, 0])], dtype=[("event", bool), ("time", float)])
    >>> found = hazards_over_time(X, y, ["age", "sex"])
    >>> [t["term"] for t in found["terms"]], found["global"]["df"], len(found["curves"])
    (['age', 'sex'], 2, 2)
    """
    values = np.asarray(X, dtype=np.float64)
    step = np.ones(values.shape[1]) if factors is None else np.asarray(factors, dtype=np.float64)
    if len(terms) != values.shape[1] or step.size != values.shape[1]:
        raise DataError(f"{len(terms)} terms and {step.size} factors for {values.shape[1]} columns", "one a column")
    record: dict[str, Any] = {
        "transform": "km",
        "rows": int(values.shape[0]),
        "events": int(np.count_nonzero(y["event"])),
        "df": None,
        "level": level,
        "terms": [],
        "global": None,
        "curves": [],
        "reason": None,
    }
    if values.shape[1] > _COLUMNS:
        return {**record, "reason": f"the model has {values.shape[1]} columns, more than the {_COLUMNS} tested"}
    try:
        with warnings.catch_warnings():
            # What a fit has to say about these rows was said when the model was fitted.
            warnings.simplefilter("ignore")
            model = CoxPH(collinear="drop").fit(values, y)
        tests = proportional_hazards_test(model, values, y, "km", terms=terms)
    except AimedError as error:
        return {**record, "reason": str(error)}
    found = schoenfeld_residuals(model, values, y)
    known = kaplan_meier(y["event"], y["time"])
    scale = 1.0 - np.r_[1.0, known.survival][np.searchsorted(known.times, found.times, side="left")]
    kept = np.flatnonzero(np.isfinite(model.standard_errors_))
    adjusted = holm([row["p"] for row in tests.rows[:-1]])
    shown = {row["term"]: _residuals(model, found.raw, np.asarray(terms), kept, str(row["term"])) for row in tests.rows}
    for row, p_holm in zip(tests.rows[:-1], adjusted, strict=True):
        track = shown[row["term"]]
        record["terms"].append({**row, "rho": None if track is None else _rho(track[0], scale), "p_holm": p_holm})
    record["global"] = {k: tests["GLOBAL"][k] for k in ("chi2", "df", "p")}
    record["df"] = record["global"]["df"]
    if record["events"] >= _EVENTS:
        for row in sorted(record["terms"], key=lambda r: float(r["p"]))[:curves]:
            track = shown[row["term"]]
            own = kept[[terms[int(j)] == row["term"] for j in kept]]
            factor = float(step[own[0]]) if own.size == 1 else 1.0
            curve = None if track is None else _curve(*track, found.times, scale, factor, own.size == 1, points, level)
            if curve is not None:
                record["curves"].append({"term": row["term"], **curve})
    return record


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's steps, in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    ranked = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(ranked), 1.0)
    return [float(v) for v in out]


def _residuals(
    model: CoxPH, raw: Floats, terms: NDArray[Any], kept: NDArray[np.int64], term: str
) -> tuple[Floats, float, float] | None:
    """Return scaled residuals around the coefficient of a term, the coefficient and its variance.

    Several columns count as the one that the model makes of them, whose coefficient is 1.
    """
    own, rest = kept[terms[kept] == term], kept[terms[kept] != term]
    if not own.size:
        return None
    covariance = model.covariance_[np.ix_(kept, kept)]
    if own.size == 1:
        place, coefficient, columns = int(np.searchsorted(kept, own[0])), float(model.coef_[own[0]]), raw[:, kept]
    else:
        weights = np.zeros((kept.size, rest.size + 1))
        weights[np.searchsorted(kept, rest), np.arange(rest.size)] = 1.0
        weights[np.searchsorted(kept, own), -1] = model.coef_[own]
        try:
            covariance = linalg.inv(weights.T @ linalg.solve(covariance, weights, assume_a="pos"))
        except linalg.LinAlgError:
            return None
        place, coefficient, columns = rest.size, 1.0, raw[:, kept] @ weights
    variance = float(covariance[place, place])
    if not np.isfinite(variance) or variance <= 0:
        return None
    scaled = coefficient + raw.shape[0] * columns @ covariance[:, place]
    return np.asarray(scaled, dtype=np.float64), coefficient, variance


def _rho(scaled: Floats, scale: Floats) -> float | None:
    if np.ptp(scale) <= 0 or np.ptp(scaled) <= 0:
        return None
    return float(np.corrcoef(scale, scaled)[0, 1])


def _curve(
    scaled: Floats,
    coefficient: float,
    variance: float,
    times: Floats,
    scale: Floats,
    factor: float,
    single: bool,
    points: int,
    level: float,
) -> dict[str, Any] | None:
    d = times.size
    knots = knots_of(scale, _KNOTS)
    if not knots.size:
        return None
    tail = min(0.25, max(0.01, _TAIL / d))
    grid = np.quantile(times, np.linspace(tail, 1.0 - tail, points))
    spread = float(grid[-1] - grid[0])
    if spread <= 0:
        return None
    grid = np.unique(np.round(grid, int(np.clip(2 - np.floor(np.log10(spread)), -300, 300))))
    order = np.argsort(times, kind="stable")
    at = np.interp(grid, times[order], scale[order])
    basis = np.column_stack((np.ones(d), spline_basis(scale, knots)))
    shown = np.column_stack((np.ones(grid.size), spline_basis(at, knots)))
    gram = basis.T @ basis
    try:
        weights = linalg.solve(gram, basis.T @ scaled, assume_a="pos")
        share = np.einsum("ij,ij->i", shown, linalg.solve(gram, shown.T, assume_a="pos").T)
    except linalg.LinAlgError:
        return None
    middle = shown @ weights
    half = float(special.ndtri(0.5 + 0.5 * level)) * np.sqrt(d * variance * np.maximum(share, 0.0))
    curves = [middle, middle - half, middle + half]
    if single:
        with np.errstate(over="ignore"):
            curves = [np.exp(np.clip(c * factor, -300.0, 300.0)) for c in curves]
        ends = sorted((curves[1], curves[2]), key=lambda c: float(c[0]))
        curves = [curves[0], *ends]
        coefficient = float(np.exp(np.clip(coefficient * factor, -300.0, 300.0)))
    return {
        "scale": "ratio" if single else "share",
        "constant": coefficient,
        "times": grid.tolist(),
        **{k: [float(v) for v in c] for k, c in zip(("value", "lower", "upper"), curves, strict=True)},
    }
