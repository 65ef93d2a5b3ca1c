"""The whole evaluation of predicted treatment effects on one part: measures, comparators, tests and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.arrays import FloatArray, patient_codes, vector, zero_one
from aimed.metrics.benefit import CAUTION, BenefitCalibration, c_for_benefit, calibration_for_benefit
from aimed.metrics.effect_loss import dr_loss, effect_share_explained, r_loss
from aimed.metrics.heterogeneity import (
    GroupEffects,
    best_linear_predictor,
    calibration_test,
    group_effects,
    heterogeneity_tests,
)
from aimed.metrics.intervals import difference
from aimed.metrics.resampled import numbers
from aimed.metrics.result import Curve, Estimate, clustered, clustered_variance, independent_units, two_sided_p
from aimed.metrics.targeting import aipw_scores, qini, rate, toc

__all__ = ["MEASURES", "evaluate_effects"]

MEASURES = {
    "average_effect": "Mean effect on the scale of the outcome, doubly robust.",
    "mean_prediction": "Mean predicted effect.",
    "autoc": "Gain of treating the top share by prediction over treating all alike, mean over shares.",
    "qini": "The same weighted by the share treated.",
    "best_linear_predictor": "Slope of the true on the predicted effect; 1 is right, 0 says nothing is told.",
    "calibration_test": "The same slope from residuals, as in grf.",
    "benefit_slope": "Slope of calibration for benefit over matched pairs, or of the scores where y is not 0/1.",
    "benefit_difference": "Observed less mean predicted benefit; 0 is right.",
    "e_avg_for_benefit": "Mean distance of predicted from observed benefit.",
    "group_effects": "Mean effect of the quarter with the largest predicted benefit less that of the smallest.",
    "c_for_benefit": "Concordance of predicted and observed benefit in matched pairs; not a proper score.",
    "dr_loss": "Squared error against the scores less that of the best constant; below 0 is better.",
    "r_loss": "R-loss less that of the best constant; below 0 is better.",
    "effect_share_explained": "Share of the variance of the scores that predictions explain beyond a constant.",
}
"""What the block holds by name; benefit is the effect turned so that larger is better."""

_MOST_POINTS = 101
_UNLIKE = "chance of treatment differs between rows, so that matched pairs differ in more than treatment"
_ONE = "one predicted effect for all rows: nobody comes first"
_SHARES: FloatArray = np.arange(1, 51) / 50


def _asked(name: str, work: Callable[[], Estimate], level: float, n: int) -> Estimate:
    """Return what the work makes under the name of the measure, or NaN with the reason."""
    try:
        found = work()
    except NotEstimableError as error:
        return Estimate(math.nan, name=name, level=level, n=n, note=f"not estimable: {error.got}")
    found.name = name
    return found


def _dict(found: Estimate, **more: Any) -> dict[str, Any]:
    out = found.measure().to_dict() | more
    if found.p is not None and math.isfinite(found.p):
        out["p"] = float(found.p)
    return out


def _thin(curve: Curve) -> list[dict[str, Any]]:
    columns = [numbers(v) for v in (curve.x, curve.value, curve.lower, curve.upper)]
    keep = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _MOST_POINTS)).round().astype(int))
    return [dict(zip(("x", "value", "lower", "upper"), (c[i] for c in columns), strict=True)) for i in keep]


def _turned(curve: Curve, rows: np.ndarray[Any, Any], sign: float) -> list[dict[str, Any]]:
    """Return groups on the scale of the outcome, with their rows."""
    out = []
    for point, n in zip(_thin(curve), rows, strict=True):
        low, high = point["lower"], point["upper"]
        if sign < 0:
            low, high = high, low
        out.append(
            {
                "predicted": sign * point["x"],
                "effect": None if point["value"] is None else sign * point["value"],
                "lower": None if low is None else sign * low,
                "upper": None if high is None else sign * high,
                "n": int(n),
            }
        )
    return out


class _Part:
    """One part of the data, checked, with effects turned into benefits."""

    def __init__(
        self,
        Y: ArrayLike,
        T: ArrayLike,
        effect: ArrayLike,
        better: str,
        propensity: ArrayLike | float | None,
        mu0: ArrayLike | None,
        mu1: ArrayLike | None,
        patient: ArrayLike | None,
    ) -> None:
        if better not in ("lower", "higher"):
            raise DataError(
                "better is neither 'lower' nor 'higher'", "'lower' where a low outcome is good, or 'higher'"
            )
        self.y = vector("Y", Y)
        self.n = self.y.size
        self.t = zero_one("T", T, self.n)
        self.sign = 1.0 if better == "higher" else -1.0
        self.outcome = "good" if better == "higher" else "harm"
        self.benefit = self.sign * vector("effect", effect, self.n)
        self.patient = None if patient is None else patient_codes(patient, self.n)
        self.propensity = propensity
        self.alike = propensity is None or bool(np.ptp(np.asarray(propensity, dtype=np.float64)) == 0)
        self.scores = aipw_scores(self.y, self.t, mu0, mu1, propensity, outcome=self.outcome)
        self.binary = bool(np.isin(self.y, (0.0, 1.0)).all())
        self.varies = bool(np.ptp(self.benefit) > 1e-10 * max(float(np.abs(self.benefit).max()), 1e-300))
        share = float(self.t.mean()) if propensity is None else propensity
        self.m: FloatArray | None = None
        if mu0 is not None and mu1 is not None:
            e = np.asarray(share, dtype=np.float64)
            self.m = e * vector("mu1", mu1, self.n) + (1 - e) * vector("mu0", mu0, self.n)

    def on_scale(self, name: str, scores: FloatArray, level: float, method: str) -> Estimate:
        """Return a mean of benefits on the scale of the outcome."""
        value = float(scores.mean())
        psi = self.sign * (scores - value) / self.n
        found = Estimate.from_influence(
            self.sign * value, psi, self.patient, level=level, name=name, method=clustered(method, self.patient)
        )
        found.p = two_sided_p(found.value, found.se, independent_units(self.patient, self.n))
        return found


def _benefit_calibration(part: _Part, level: float, seed: int, matching: str) -> BenefitCalibration | str:
    if not part.binary:
        return "the outcome is not 0/1: groups are of doubly robust scores, without matched pairs"
    if not part.alike:
        return f"{_UNLIKE}: groups are of doubly robust scores, without them"
    try:
        return calibration_for_benefit(
            part.y,
            part.t,
            part.benefit,
            outcome=part.outcome,
            smooth=part.varies and min(int(part.t.sum()), int((1 - part.t).sum())) >= 30,
            match=matching,
            patient=part.patient,
            level=level,
            seed=seed,
        )
    except NotEstimableError as error:
        return f"not estimable: {error.got}"


def _missing(name: str, part: _Part, level: float, why: str) -> Estimate:
    return Estimate(math.nan, name=name, level=level, n=part.n, note=f"not estimable: {why}")


def _ranked(part: _Part, level: float) -> dict[str, Estimate]:
    """Measures that need somebody to come first."""
    names = ("autoc", "qini", "best_linear_predictor", "calibration_test", "group_effects")
    if not part.varies:
        return {name: _missing(name, part, level, _ONE) for name in names}
    g, b, who = part.scores, part.benefit, part.patient
    works: dict[str, Callable[[], Estimate]] = {
        "autoc": lambda: rate(g, b, target="AUTOC", patient=who, level=level),
        "qini": lambda: rate(g, b, target="QINI", patient=who, level=level),
        "best_linear_predictor": lambda: best_linear_predictor(g, b, patient=who, level=level).estimate,
        "calibration_test": lambda: (
            calibration_test(
                part.y,
                part.t,
                b,
                m=part.m,
                propensity=part.propensity,
                outcome=part.outcome,
                patient=who,
                level=level,
            ).estimate
        ),
        "group_effects": lambda: group_effects(g, b, patient=who, level=level).estimate,
    }
    return {name: _asked(name, works[name], level, part.n) for name in names}


def _concordance(part: _Part, level: float, draws: int, seed: int, matching: str) -> Estimate:
    if not part.binary:
        return _missing("c_for_benefit", part, level, "the outcome is not 0/1, so that pairs have no observed benefit")
    if not part.alike:
        return _missing("c_for_benefit", part, level, _UNLIKE)
    if not part.varies:
        return _missing("c_for_benefit", part, level, _ONE)
    found = _asked(
        "c_for_benefit",
        lambda: c_for_benefit(
            part.y,
            part.t,
            part.benefit,
            outcome=part.outcome,
            match=matching,
            method="bootstrap" if draws > 0 else "pairs",
            patient=part.patient,
            level=level,
            draws=max(draws, 1),
            seed=seed,
        ),
        level,
        part.n,
    )
    if CAUTION not in found.note:
        found.note = "; ".join(v for v in (found.note, CAUTION) if v)
    return found


def _calibrated(part: _Part, found: BenefitCalibration | str, level: float, slope: Estimate) -> dict[str, Estimate]:
    if isinstance(found, BenefitCalibration):
        made = {
            "benefit_slope": found.slope,
            "benefit_difference": found.difference,
            "e_avg_for_benefit": found.estimate,
        }
        return made
    gap = part.scores - part.benefit
    value = float(gap.mean())
    line = Estimate(
        slope.value,
        name="benefit_slope",
        lower=slope.lower,
        upper=slope.upper,
        se=slope.se,
        n=slope.n,
        level=level,
        method=slope.method,
        note=slope.note,
    )
    return {
        "benefit_slope": line,
        "benefit_difference": Estimate.from_influence(
            value,
            (gap - value) / part.n,
            part.patient,
            level=level,
            name="benefit_difference",
            method=clustered("mean score less mean predicted benefit", part.patient),
        ),
        "e_avg_for_benefit": _missing("e_avg_for_benefit", part, level, found.removeprefix("not estimable: ")),
    }


def _r(part: _Part, level: float, against: str | FloatArray = "constant") -> Estimate:
    return r_loss(
        part.y,
        part.t,
        part.benefit,
        m=part.m,
        propensity=part.propensity,
        outcome=part.outcome,
        against=against,
        patient=part.patient,
        level=level,
    )


def _share(part: _Part, level: float, against: str | FloatArray = "constant") -> Estimate:
    def work() -> Estimate:
        return effect_share_explained(part.scores, part.benefit, against=against, patient=part.patient, level=level)

    return _asked("effect_share_explained", work, level, part.n)


def _comparison(part: _Part, other: FloatArray, level: float, ranked: Mapping[str, Estimate]) -> dict[str, Any]:
    """Differences of the model from one comparator, whose benefits are given."""
    who = part.patient
    out = {
        "dr_loss": dr_loss(part.scores, part.benefit, against=other, patient=who, level=level),
        "r_loss": _r(part, level, other),
        "effect_share_explained": _share(part, level, other),
        "policy_value": _treating(part, other, level),
    }
    for name in ("autoc", "qini"):
        if math.isnan(ranked[name]):
            out[name] = _missing(name, part, level, _ONE)
        elif np.ptp(other) == 0:
            # One priority for all is treating at random, whose RATE is 0: the difference is the RATE itself.
            out[name] = ranked[name]
        else:
            second = rate(part.scores, other, target=name.upper(), patient=who, level=level)
            second.name = name

            def paired(name: str = name, second: Estimate = second) -> Estimate:
                return difference(ranked[name], second, patient=who, level=level)

            out[name] = _asked(name, paired, level, part.n)
    return out


def _treating(part: _Part, other: FloatArray, level: float) -> Estimate:
    """Return the gain of treating where the model predicts a benefit over doing so by the comparator."""
    gain = part.scores * ((part.benefit > 0).astype(np.float64) - (other > 0))
    value = float(gain.mean())
    psi = (gain - value) / part.n
    found = Estimate.from_influence(
        value,
        psi,
        part.patient,
        level=level,
        name="policy_value",
        why="both treat the same patients",
        method=clustered("mean outcome gained by treating where benefit is predicted", part.patient),
    )
    if clustered_variance(psi, part.patient) > 0:
        found.p = two_sided_p(value, found.se, independent_units(part.patient, part.n))
    return found


def _groups(part: _Part, groups: int, level: float) -> GroupEffects | str:
    if not part.varies:
        return _ONE
    try:
        return group_effects(part.scores, part.benefit, groups=groups, patient=part.patient, level=level)
    except NotEstimableError as error:
        return error.got


def _curves(part: _Part, calibration: BenefitCalibration | str, level: float, groups: int) -> dict[str, Any]:
    out: dict[str, Any] = {"toc": None, "qini": None, "groups": None, "calibration": None}
    by_effect = _groups(part, groups, level)
    if isinstance(by_effect, GroupEffects):
        out["groups"] = {
            "points": _turned(by_effect.groups, by_effect.rows, part.sign),
            "p_equal": by_effect.p_equal if math.isfinite(by_effect.p_equal) else None,
            "note": by_effect.groups.note,
        }
    else:
        out["groups"] = {"points": [], "p_equal": None, "note": f"not estimable: {by_effect}"}
    if part.varies:
        shares = _SHARES[_SHARES * part.n >= 10] if part.n >= 20 else _SHARES[-1:]
        out["toc"] = _thin(toc(part.scores, part.benefit, q=shares, patient=part.patient, level=level))
        gained = qini(
            part.y,
            part.t,
            part.benefit,
            propensity=float(part.t.mean()) if part.propensity is None else part.propensity,
            outcome=part.outcome,
            patient=part.patient,
            level=level,
        )
        keep = np.unique(np.linspace(0, gained.x.size - 1, min(gained.x.size, _MOST_POINTS)).round().astype(int))
        out["qini"] = [
            {"x": x, "value": up, "random": base}
            for x, up, base in zip(
                numbers(gained.x[keep]), numbers(gained.uplift[keep]), numbers(gained.random[keep]), strict=True
            )
        ]
    if isinstance(calibration, BenefitCalibration):
        smooth = calibration.curve
        out["calibration"] = {
            "groups": _thin(calibration.groups),
            "curve": None if smooth is None else _thin(smooth),
            "note": calibration.groups.note,
        }
    elif isinstance(fifths := _groups(part, 5, level), GroupEffects):
        out["calibration"] = {"groups": _thin(fifths.groups), "curve": None, "note": calibration}
    return out


def evaluate_effects(
    Y: ArrayLike,
    T: ArrayLike,
    effect: ArrayLike,
    *,
    better: str = "lower",
    propensity: ArrayLike | float | None = None,
    mu0: ArrayLike | None = None,
    mu1: ArrayLike | None = None,
    patient: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
    comparators: Mapping[str, ArrayLike] | None = None,
    covariates: ArrayLike | None = None,
    margin: float | None = None,
    groups: int = 4,
    matching: str = "rank",
) -> dict[str, Any]:
    """Return the whole evaluation of a model of individual effects on rows it did not see, in JSON types.

    Parameters
    ----------
    Y : array, shape (n,)
        Outcome: 0/1, continuous, or a pseudo-outcome of a time to event.
    T : array, shape (n,)
        1 active, 0 control.
    effect : array, shape (n,)
        Predicted effect on the scale of `Y`: E[Y(1) - Y(0) | x]. One number for all is a prediction too.
    better : {"lower", "higher"}
        Which way of `Y` is good. Benefit is the effect turned that way.
    propensity : float or array, shape (n,), optional
        Chance of active treatment; the known one in a trial. Without it the observed share.
    mu0, mu1 : array, shape (n,), optional
        Predicted outcomes untreated and treated from models that did not see these rows: less noise, and protection
        where the treatment was not randomised.
    patient : array, shape (n,), optional
        Rows of one patient are dependent.
    level : float
    draws, seed : int
        Of the bootstrap of the C-for-benefit; with 0 draws its error comes from its pairs.
    comparators : mapping of str to float or array, optional
        Predicted effects to compare with, such as the constant effect of the training part, and 0.
    covariates : array, shape (n, p), optional
        For the tests that need no model of the effect.
    margin : float, optional
        Difference of the effect that would matter; see `heterogeneity_tests`.
    groups : int
        Groups of predicted effect.
    matching : {"rank", "benefit"}
        Rule of the pairs of C-for-benefit and of calibration for benefit.

    Returns
    -------
    dict
        ``measures`` and ``differences`` (`Measure.to_dict`, with ``p`` where there is a test), ``comparators`` (their
        own measures), ``heterogeneity`` (`HeterogeneityTests.to_dict`), ``curves``. Whatever cannot be estimated has
        the value None and says why.

    Raises
    ------
    DataError
        If shapes disagree or values are not finite.
    NotEstimableError
        If an arm is empty or a propensity is 0 or 1.

    Notes
    -----
    Curves and measures of targeting are in benefit; the average effect and the groups are on the scale of `Y`. Matched
    pairs (C-for-benefit, calibration for benefit) need arms that chance made alike: where `propensity` differs between
    rows they are not made, and calibration is that of the doubly robust scores.

    References
    ----------
    van Klaveren et al., J Clin Epidemiol 2018;94:59. Yadlowsky et al., JASA 2025;120:38. Chernozhukov et al.,
    arXiv:1712.04802. Kent et al., Ann Intern Med 2020;172:W1 (PATH).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, t = rng.normal(size=800), rng.integers(0, 2, 800)
    >>> block = evaluate_effects(x + t * x + rng.normal(size=800), t, x, better="higher", propensity=0.5, draws=0,
    ...                          comparators={"constant_effect": 0.0})
    >>> block["heterogeneity"]["conclusion"]
    'evidence of heterogeneity'
    >>> block["differences"]["constant_effect"]["dr_loss"]["upper"] < 0
    True
    """
    part = _Part(Y, T, effect, better, propensity, mu0, mu1, patient)
    others = {
        name: part.sign * vector(f"comparator '{name}'", np.full(part.n, v) if np.ndim(v) == 0 else v, part.n)
        for name, v in (comparators or {}).items()
    }
    ranked = _ranked(part, level)
    calibration = _benefit_calibration(part, level, seed, matching)
    n = part.n
    measures = {
        "average_effect": part.on_scale("average_effect", part.scores, level, "mean doubly robust score"),
        "mean_prediction": part.on_scale("mean_prediction", part.benefit, level, "mean prediction"),
        **ranked,
        **_calibrated(part, calibration, level, ranked["best_linear_predictor"]),
        "c_for_benefit": _concordance(part, level, draws, seed, matching),
        "dr_loss": dr_loss(part.scores, part.benefit, patient=part.patient, level=level),
        "r_loss": _r(part, level),
        "effect_share_explained": _share(part, level),
    }
    tests = heterogeneity_tests(
        part.scores,
        part.benefit,
        covariates=covariates,
        y=part.y,
        treated=part.t,
        margin=margin,
        groups=groups,
        patient=part.patient,
        level=level,
    )
    order = [name for name in MEASURES if name in measures]
    return {
        "kind": "effect",
        "n": n,
        "treated": int(part.t.sum()),
        "patients": n if part.patient is None else int(part.patient.max()) + 1,
        "events": int(part.y.sum()) if part.binary else None,
        "better": better,
        "level": level,
        "draws": draws,
        "constant_prediction": not part.varies,
        "measures": {name: _dict(measures[name]) for name in order},
        "differences": {
            name: {k: _dict(v, against=name) for k, v in _comparison(part, other, level, ranked).items()}
            for name, other in others.items()
        },
        "comparators": {
            name: {
                "mean_prediction": _dict(part.on_scale("mean_prediction", other, level, "mean prediction")),
                "dr_loss": _dict(
                    dr_loss(part.scores, other, against=None, patient=part.patient, level=level),
                ),
            }
            for name, other in others.items()
        },
        "loss": _dict(dr_loss(part.scores, part.benefit, against=None, patient=part.patient, level=level)),
        "heterogeneity": tests.to_dict(),
        "curves": _curves(part, calibration, level, groups),
        "matching": matching if part.binary and part.alike else None,
        "caution": CAUTION if part.binary and part.alike else None,
    }
