"""Effect modelling: one penalised regression with treatment interactions, their penalty chosen by cross-validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from aimed.core.errors import StudyFileError, UnknownNameError
from aimed.metrics.arrays import FloatArray
from aimed.treatment.learner import SANDWICH, EffectLearner, Parts, Rows
from aimed.treatment.nuisances import deal_folds
from aimed.treatment.pieces import Scale, TreatmentRegression, penalised_coefficients

__all__ = ["EffectModel"]

_PENALTIES = ("ridge", "lasso")
_GRID = 9


class EffectModel(EffectLearner):
    """Regression of the outcome on X, T and T x X, logistic where Y is 0/1; effects are absolute differences.

    Parameters
    ----------
    penalty : {"ridge", "lasso"}
        Of the interactions of standardised columns with treatment; treatment itself has none.
    interaction_penalty : float, optional
        How strong it is; chosen by cross-validation when absent.
    main_penalty : float
        Ridge penalty of the standardised columns without treatment.
    folds : int
        Of the cross-validation, by patient.
    n_bootstraps : int
        Refits on half-samples for the intervals of the lasso, with the penalty held; the ridge has analytic ones.
    random_state : int

    Attributes
    ----------
    interaction_penalty_ : float

    Notes
    -----
    Assumes: patients enough to choose the penalty, which intervals take as right; with few patients and effects that
    differ little they are too short, as those of `aimed.treatment.pieces.LinearEffect`. A treatment that was not
    randomised needs a regression that is right in all confounders.

    References
    ----------
    Kent et al., Ann Intern Med 2020;172:35 (effect modelling); van Klaveren et al., J Clin Epidemiol 2019;114:72.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, T = rng.normal(size=(500, 2)), rng.integers(0, 2, 500)
    >>> Y = X[:, 1] + T * (1 + X[:, 0]) + 0.5 * rng.normal(size=500)
    >>> EffectModel().fit(Y, T, X=X).effect([[0.0, 0.0], [1.0, 0.0]]).round(1).tolist()
    [1.0, 2.0]
    """

    accepts_w = False

    def __init__(
        self,
        penalty: str = "ridge",
        interaction_penalty: float | None = None,
        main_penalty: float = 1.0,
        folds: int = 5,
        n_bootstraps: int = 50,
        random_state: int = 0,
    ) -> None:
        self.penalty = penalty
        self.interaction_penalty = interaction_penalty
        self.main_penalty = main_penalty
        self.folds = folds
        self.n_bootstraps = n_bootstraps
        self.random_state = random_state

    def _fit(self, rows: Rows) -> tuple[Parts, str]:
        if self.penalty not in _PENALTIES:
            raise UnknownNameError("penalty", str(self.penalty), _PENALTIES)
        if not self.main_penalty >= 0:
            raise StudyFileError("main_penalty is negative", "0 or more")
        scale = Scale.of(rows.X)
        terms, arm = scale.terms(rows.X), rows.arm.astype(np.float64)
        given = self.interaction_penalty
        self.interaction_penalty_ = self._chosen(rows, terms, arm) if given is None else float(given)
        strength = self.interaction_penalty_

        def pieces(drawn: NDArray[np.bool_] | slice, number: int = 0) -> Parts:
            share = 1.0 if isinstance(drawn, slice) else float(drawn.mean())
            ridge, lasso = self._penalties(terms.shape[1], share * strength)
            codes = None if rows.codes is None else rows.codes[drawn]
            fitted = TreatmentRegression.fit(
                terms[drawn], terms[drawn], arm[drawn], rows.y[drawn],
                logistic=rows.binary, ridge=ridge, lasso=lasso, codes=codes,
            )  # fmt: skip
            return {"scale": scale, "regression": fitted}

        parts = pieces(slice(None))
        return parts, SANDWICH if self.penalty == "ridge" else self._refit(rows, pieces)

    def _penalties(self, terms: int, strength: float) -> tuple[FloatArray, FloatArray | None]:
        main = np.full(terms, self.main_penalty)
        extra = np.full(terms, strength)
        main[0] = extra[0] = 0.0
        nothing = np.zeros(terms)
        if self.penalty == "ridge":
            return np.concatenate([main, extra]), None
        return np.concatenate([main, nothing]), np.concatenate([nothing, extra])

    def _chosen(self, rows: Rows, terms: FloatArray, arm: FloatArray) -> float:
        """Return the penalty of the interactions that predicts outcomes of other patients best."""
        fold = deal_folds(rows.arm, rows.y, rows.binary, rows.codes, self.folds, self.random_state)
        D = np.column_stack([terms, terms * arm[:, None]])
        n, k = terms.shape
        if self.penalty == "ridge":
            grid = n * np.logspace(0.5, -3.5, _GRID)
        else:
            start = penalised_coefficients(D[:, : k + 1], rows.y, rows.binary, self._penalties(k, 0.0)[0][: k + 1])
            eta = D[:, : k + 1] @ start
            steepest = np.abs(D[:, k + 1 :].T @ (rows.y - (expit(eta) if rows.binary else eta))).max()
            grid = max(float(steepest), 1e-12) * np.logspace(0, -3, _GRID)
        loss = np.zeros(grid.size)
        for number in range(self.folds):
            held, rest = fold == number, fold != number
            coef = None
            share = float(rest.mean())
            for place, strength in enumerate(grid):
                ridge, lasso = self._penalties(k, share * strength)
                coef = penalised_coefficients(D[rest], rows.y[rest], rows.binary, ridge, lasso, coef)
                eta = D[held] @ coef
                if rows.binary:
                    loss[place] += float(np.logaddexp(0.0, eta).sum() - rows.y[held] @ eta)
                else:
                    loss[place] += float(((rows.y[held] - eta) ** 2).sum())
        return float(grid[int(np.argmin(loss))])

    def counterfactuals(self, X: FloatArray) -> FloatArray:
        """Return the expected outcome untreated and treated, shape (n, 2)."""
        terms = self._terms(self._new(X))
        found: FloatArray = self.parts_["regression"].outcomes(terms, terms)
        return found

    def _terms(self, X: FloatArray) -> FloatArray:
        terms: FloatArray = self.parts_["scale"].terms(X)
        return terms

    def _combine(self, parts: Parts, X: FloatArray) -> FloatArray:
        terms = parts["scale"].terms(X)
        found: FloatArray = parts["regression"].effect(terms, terms)
        return found

    def _errors(self, X: FloatArray) -> FloatArray:
        if self.penalty == "lasso":
            return super()._errors(X)
        terms = self._terms(X)
        found: FloatArray = self.parts_["regression"].error(terms, terms)
        return found

    def _error_of_mean(self, X: FloatArray) -> float:
        if self.penalty == "lasso":
            return super()._error_of_mean(X)
        terms = self._terms(X)
        return float(self.parts_["regression"].error_of_mean(terms, terms))
