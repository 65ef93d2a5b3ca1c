"""Risk-based effects: a risk model blind to treatment, and an effect that depends on that risk alone (PATH)."""

from __future__ import annotations

import numpy as np

from aimed.core.errors import UnknownNameError
from aimed.fit.spline import knots_of, spline_basis
from aimed.metrics.arrays import FloatArray
from aimed.treatment.base_learners import BaseLearner, fit_model, outcome_model, predict_mean
from aimed.treatment.final_stage import FinalStageLearner
from aimed.treatment.learner import Parts, Rows
from aimed.treatment.pieces import Knots, LinearEffect, TreatmentRegression

__all__ = ["RiskBased"]

_FORMS = ("constant", "linear", "smooth")
_FAR = 1e-6


class RiskBased(FinalStageLearner):
    """Effect as a function of baseline risk.

    The risk model is fitted on both arms together without the treatment. Its linear predictor lp (the logit of the risk
    where Y is 0/1, else the expected outcome) then enters a regression with treatment and treatment x lp. Where Y is
    0/1 the regression is logistic and the effect a difference of absolute risks: even a constant odds ratio is a larger
    difference at a higher risk.

    Parameters
    ----------
    risk_model : str or scikit-learn estimator
        See `aimed.treatment.base_learners.BASE_LEARNERS`. A model that was fitted elsewhere is wrapped in
        ``sklearn.frozen.FrozenEstimator``, and used as it is.
    form : {"linear", "constant", "smooth"}
        Treatment and treatment x lp; treatment alone (a constant odds ratio, or difference); treatment x a restricted
        cubic spline of lp with 4 knots.
    doubly_robust : bool
        Regress doubly robust scores on lp in place of the outcome: for observational data, where treatment depends on
        more than the risk.
    outcome_model, propensity_model : str or scikit-learn estimator
        Of the nuisances that `doubly_robust` needs, where none are given to `fit`.
    folds, random_state : int

    Notes
    -----
    Intervals are those of the second regression (sandwich, clustered by patient; delta method) and hold the risk model
    fixed. They are of the mean effect of patients at a risk: where effects depend on more than the risk, most single
    patients' effects lie outside them.
    Assumes: a randomised treatment, or `doubly_robust`. Without it the risk alone is adjusted for, which takes
    confounding out only as far as the risk holds it.

    References
    ----------
    Kent et al., Ann Intern Med 2020;172:35 (PATH statement); Rekkas et al., BMC Med Res Methodol 2023;23:74.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(4000, 1)), rng.integers(0, 2, 4000)
    >>> Y = rng.random(4000) < 1 / (1 + np.exp(2 - X[:, 0] + 0.7 * T))
    >>> RiskBased().fit(Y, T, X=X).effect([[-2.0], [2.0]]).round(2).tolist()
    [-0.01, -0.13]
    """

    accepts_w = False

    def __init__(
        self,
        risk_model: BaseLearner = "linear",
        form: str = "linear",
        doubly_robust: bool = False,
        outcome_model: BaseLearner = "linear",
        propensity_model: BaseLearner = "linear",
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.risk_model = risk_model
        self.form = form
        self.doubly_robust = doubly_robust
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.folds = folds
        self.random_state = random_state

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        if self.form not in _FORMS:
            raise UnknownNameError("form of the effect over risk", str(self.form), _FORMS)
        parts: Parts = {
            "risk": fit_model(outcome_model(self.risk_model, rows.binary, self.random_state), rows.X, rows.y)
        }
        lp = self._predictor(parts, rows.X)
        spread = float(lp.std())
        parts |= {"middle": float(lp.mean()), "spread": spread if spread > 0 else 1.0, "varies": spread > 0}
        knots = knots_of((lp - parts["middle"]) / parts["spread"], 4) if self.form == "smooth" else np.empty(0)
        parts["knots"] = Knots(knots)
        main, extra = self._terms(parts, rows.X)
        if self.doubly_robust:
            scores = self._nuisances(rows).scores(rows.y, rows.arm)
            parts["effect"] = LinearEffect.fit(_modifiers((main, extra)), scores, None, rows.codes)
        else:
            arm = rows.arm.astype(np.float64)
            parts["effect"] = TreatmentRegression.fit(main, extra, arm, rows.y, logistic=rows.binary, codes=rows.codes)
        return parts, "sandwich, the risk model held fixed"

    def _predictor(self, parts: Parts, X: FloatArray) -> FloatArray:
        risk = predict_mean(parts["risk"], X, self.binary_)
        if not self.binary_:
            return risk
        risk = np.clip(risk, _FAR, 1 - _FAR)
        return np.asarray(np.log(risk / (1 - risk)))

    def _terms(self, parts: Parts, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        lp = (self._predictor(parts, X) - parts["middle"]) / parts["spread"]
        one = np.ones((len(X), 1))
        if not parts["varies"]:
            return one, one
        knots = parts["knots"].values
        basis = spline_basis(lp, knots) if knots.size else lp[:, None]
        main = np.column_stack([one, basis])
        return main, one if self.form == "constant" else main

    def risk(self, X: FloatArray) -> FloatArray:
        """Return the baseline risk (or expected outcome) of each row, blind to treatment, shape (n,)."""
        return predict_mean(self.parts_["risk"], self._new(X), self.binary_)

    def counterfactuals(self, X: FloatArray) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2); not with `doubly_robust`."""
        found = self.parts_["effect"] if hasattr(self, "parts_") else None
        table = self._new(X)
        if not isinstance(found, TreatmentRegression):
            raise AttributeError("counterfactuals need doubly_robust = False")
        return found.outcomes(*self._terms(self.parts_, table))

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        found, terms = parts["effect"], self._terms(parts, X)
        return np.asarray(found.effect(_modifiers(terms)) if self.doubly_robust else found.effect(*terms))

    def _errors(self, X: FloatArray) -> FloatArray:
        found, terms = self.parts_["effect"], self._terms(self.parts_, X)
        return np.asarray(found.error(_modifiers(terms)) if self.doubly_robust else found.error(*terms))

    def _error_of_mean(self, X: FloatArray) -> float:
        found, terms = self.parts_["effect"], self._terms(self.parts_, X)
        return float(found.error_of_mean(_modifiers(terms)) if self.doubly_robust else found.error_of_mean(*terms))


def _modifiers(terms: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Return what the effect may depend on; a column of ones where it depends on nothing."""
    extra = terms[1]
    return extra[:, 1:] if extra.shape[1] > 1 else extra
