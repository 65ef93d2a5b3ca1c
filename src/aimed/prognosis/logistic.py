"""Logistic regression, plain, ridge or lasso, with odds ratios and Wald intervals where they are honest."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe
from aimed.prognosis.coefficients import coefficient_rows, independent_columns

if TYPE_CHECKING:
    import optuna

__all__ = ["RECIPE", "Logistic"]

_PENALTIES = ("none", "ridge", "lasso")


class Logistic(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression for a yes/no outcome.

    Parameters
    ----------
    penalty : {"ridge", "lasso", "none"}
    C : float
        Inverse strength of the penalty, as in scikit-learn; not used without one.
    level : float
        Confidence level of the intervals.

    Attributes
    ----------
    coef_ : float array, shape (1, p)
    intercept_ : float array, shape (1,)
    covariance_ : float array, shape (p + 1, p + 1), or None
        Inverse of the observed information, intercept last; None with a penalty, NaN for a dropped column.
    standard_errors_ : float array, shape (p + 1,), or None
        From the observed information, intercept last; None with a penalty, NaN for a dropped column.
    aliased_ : list of str
        Columns given coefficient 0 because they add nothing to the ones before them (no penalty only).
    classes_ : array, shape (2,)
    term_names_ : list of str
        Names of the columns.

    Notes
    -----
    The plain fit starts from scikit-learn's and takes Newton steps until the score is zero to rounding, so
    that it agrees with R's ``glm`` to about ten digits.

    Raises
    ------
    NotEstimableError
        If, without a penalty, a coefficient grows without bound because columns separate the classes.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    >>> model = Logistic(penalty="none").fit(X, [0, 0, 1, 0, 1, 1])
    >>> model.coef_.round(4).tolist()
    [[1.214]]
    >>> model.coefficient_table(["age"])[0]["ratio_lower"] < 1
    True
    """

    def __init__(self, penalty: str = "ridge", C: float = 1.0, level: float = 0.95) -> None:
        self.penalty = penalty
        self.C = C
        self.level = level

    def fit(self, X: Any, y: Any, feature_names: Sequence[str] | None = None) -> Logistic:
        """Maximise the (penalised) likelihood.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : array of two classes, shape (n,)
        feature_names : sequence of str, length p, optional
            Names for messages and tables; the data frame's, or x0, x1, ..., when absent.
        """
        if self.penalty not in _PENALTIES:
            raise StudyFileError(f"penalty = '{self.penalty}'", "'none', 'ridge' or 'lasso'")
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        if self.classes_.size < 2:
            raise NotEstimableError(
                "Classifier can't train when only one class is present", "two classes", "get more rows"
            )
        if self.classes_.size > 2:
            raise StudyFileError(
                f"Only binary classification is supported. The type of the target is multiclass with "
                f"{self.classes_.size} classes", "two classes"
            )  # fmt: skip
        p = X.shape[1]
        if feature_names is not None and len(feature_names) != p:
            raise DataError(f"{len(feature_names)} feature names for {p} columns", "one a column")
        default = getattr(self, "feature_names_in_", [f"x{j}" for j in range(p)])
        self.term_names_ = [str(name) for name in (feature_names if feature_names is not None else default)]
        self.covariance_: NDArray[np.float64] | None = None
        self.standard_errors_: NDArray[np.float64] | None = None
        self.aliased_: list[str] = []
        if self.penalty == "none":
            mean, scale = X.mean(axis=0), X.std(axis=0)
            flat = scale <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
            unit = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, scale))
            Z = (X - mean) * unit
            keep, _ = independent_columns(Z.T @ Z / Z.shape[0], self.term_names_)
            self.aliased_ = [name for name, kept in zip(self.term_names_, keep, strict=True) if not kept]
            coef, intercept, self.covariance_ = self._plain(Z, code, keep, mean * unit, unit)
            self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
            self.standard_errors_ = np.sqrt(np.diag(self.covariance_))
            return self
        if self.penalty == "lasso":
            coef, intercept = _lasso(X, code.astype(np.float64), self.C)
            self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
            return self
        solver = LogisticRegression(C=self.C, l1_ratio=0.0, solver="newton-cholesky", tol=1e-9, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(X, code)
        self.coef_, self.intercept_ = solver.coef_, solver.intercept_
        return self

    def _plain(
        self,
        Z: NDArray[np.float64],
        code: NDArray[np.intp],
        keep: NDArray[np.bool_],
        shift: NDArray[np.float64],
        unit: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """Fit standardised columns without a penalty and return the results on the scale of X."""
        design = np.column_stack((Z[:, keep], np.ones(Z.shape[0])))
        beta = np.zeros(design.shape[1])
        if keep.any():
            solver = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-6, max_iter=300)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                solver.fit(design[:, :-1], code)
            beta[:-1], beta[-1] = solver.coef_[0], solver.intercept_[0]
        else:
            beta[-1] = special.logit(code.mean())
        labels = [name for name, kept in zip(self.term_names_, keep, strict=True) if kept] + ["intercept"]
        for _ in range(25):
            risk = special.expit(design @ beta)
            information = design.T @ (design * (risk * (1.0 - risk))[:, None])
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", linalg.LinAlgWarning)
                    step = linalg.solve(information, design.T @ (code - risk), assume_a="pos")
            except (linalg.LinAlgError, linalg.LinAlgWarning):
                raise self._separated([n for n, b in zip(labels, beta, strict=True) if abs(b) > 8.0]) from None
            beta += step
            moved = np.abs(step) / (1.0 + np.abs(beta))
            if moved.max() < 1e-10:
                break
        else:
            raise self._separated([n for n, m in zip(labels, moved, strict=True) if m > 1e-4])
        risk = special.expit(design @ beta)
        information = design.T @ (design * (risk * (1.0 - risk))[:, None])
        covariance = linalg.inv(information)
        # Back from standardised columns: the intercept takes the shift of the means with it.
        back = np.zeros((keep.size + 1, design.shape[1]))
        back[np.flatnonzero(keep), np.arange(int(keep.sum()))] = unit[keep]
        back[-1, :-1] = -shift[keep]
        back[-1, -1] = 1.0
        result = back @ beta
        full = back @ covariance @ back.T
        full = 0.5 * (full + full.T)
        dropped = np.flatnonzero(~keep)
        full[dropped, :] = full[:, dropped] = np.nan
        return result[:-1], float(result[-1]), full

    @staticmethod
    def _separated(names: Sequence[str]) -> NotEstimableError:
        listed = ", ".join(f"'{name}'" for name in names) or "some columns"
        return NotEstimableError(
            f"the odds ratio of {listed} grows without bound: columns separate the classes",
            "both classes at every level of each column",
            "merge rare levels, or set penalty = 'ridge'",
        )

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return log odds of the second class, shape (n,)."""
        check_is_fitted(self, "coef_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(X @ self.coef_[0] + self.intercept_[0])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of both classes, shape (n, 2)."""
        logit = self.decision_function(X)
        return np.column_stack((special.expit(-logit), special.expit(logit)))

    def risk_interval(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return confidence limits of each row's probability of the second class.

        Wald limits of the log odds at confidence `level`, so they hold the uncertainty of the coefficients only.

        Parameters
        ----------
        X : float array, shape (n, p)

        Returns
        -------
        lower, upper : float arrays, shape (n,)
            None with a penalty: shrunken coefficients are biased.

        Examples
        --------
        >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
        >>> lower, upper = Logistic(penalty="none").fit(X, [0, 0, 1, 0, 1, 1]).risk_interval([[2.5]])
        >>> lower.round(2).tolist(), upper.round(2).tolist()
        ([0.1], [0.9])
        """
        logit = self.decision_function(X)
        if self.covariance_ is None:
            return None
        values = validate_data(self, X, reset=False, dtype=np.float64)
        # A dropped column has coefficient 0, known without error.
        V = np.nan_to_num(self.covariance_, nan=0.0)
        variance = np.einsum("ij,ij->i", values @ V[:-1, :-1], values) + 2.0 * (values @ V[:-1, -1]) + V[-1, -1]
        half = special.ndtri(0.5 + 0.5 * self.level) * np.sqrt(np.maximum(variance, 0.0))
        return special.expit(logit - half), special.expit(logit + half)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likelier class of each row."""
        second = self.decision_function(X) > 0
        return np.asarray(self.classes_[second.astype(int)])

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a column with its odds ratio; see `aimed.prognosis.coefficients.coefficients`."""
        check_is_fitted(self, "coef_")
        names = list(feature_names) if feature_names is not None else self.term_names_
        note = None
        if self.penalty != "none":
            note = f"{self.penalty} penalty: no interval is given, because shrunken coefficients are biased"
        errors = None if self.standard_errors_ is None else self.standard_errors_[:-1]
        return coefficient_rows(names, self.coef_[0], errors, self.level, note)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that this is for two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def to_state(self) -> dict[str, Any]:
        """Return the fitted model in JSON types; NaN becomes None."""
        check_is_fitted(self, "coef_")
        errors, covariance = self.standard_errors_, self.covariance_
        return {
            "schema": 1,
            "parameters": self.get_params(),
            "classes": self.classes_.tolist(),
            "coef": self.coef_[0].tolist(),
            "intercept": float(self.intercept_[0]),
            "standard_errors": None if errors is None else [None if np.isnan(e) else float(e) for e in errors],
            "covariance": None
            if covariance is None
            else [[None if np.isnan(v) else v for v in row] for row in covariance.tolist()],
            "aliased": list(self.aliased_),
            "feature_names": list(self.term_names_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Logistic:
        """Rebuild a fitted model from `to_state`."""
        model = cls(**state["parameters"])
        model.classes_ = np.asarray(state["classes"])
        model.coef_ = np.asarray(state["coef"], dtype=np.float64)[None, :]
        model.intercept_ = np.array([state["intercept"]], dtype=np.float64)
        errors = state["standard_errors"]
        model.standard_errors_ = None if errors is None else np.array([np.nan if e is None else e for e in errors])
        # A state written before intervals were offered has no such entry.
        covariance = state.get("covariance")
        model.covariance_ = None
        if covariance is not None:
            model.covariance_ = np.array([[np.nan if v is None else v for v in row] for row in covariance])
        model.aliased_ = list(state["aliased"])
        model.n_features_in_ = int(model.coef_.shape[1])
        model.term_names_ = list(state["feature_names"])
        return model


def _lasso(X: NDArray[np.float64], y: NDArray[np.float64], C: float) -> tuple[NDArray[np.float64], float]:
    """Minimise C times the log loss plus the sum of absolute coefficients; the intercept is free.

    Proximal Newton steps with coordinate descent on the p x p information (Friedman, Hastie and Tibshirani,
    J Stat Softw 2010;33(1)). scikit-learn's saga needs thousands of passes on correlated predictors: 30 times
    the time for the same optimum.
    """
    n, p = X.shape
    beta = np.zeros(p + 1)
    beta[-1] = special.logit(y.mean())
    limit = np.r_[np.full(p, 1.0 / C), 0.0]
    design = np.column_stack((X, np.ones(n)))

    def objective(b: NDArray[np.float64]) -> float:
        eta = design @ b
        return float(np.logaddexp(0.0, eta).sum() - y @ eta + np.abs(b) @ limit)

    value = objective(beta)
    for _ in range(100):
        risk = special.expit(design @ beta)
        weight = np.maximum(risk * (1.0 - risk), 1e-10)
        gradient = design.T @ (y - risk)
        information = design.T @ (design * weight[:, None])
        target = _coordinate_descent(information, gradient, beta, limit)
        step, move = 1.0, target - beta
        while (new := objective(beta + step * move)) > value + 1e-12 * abs(value) and step > 1e-8:
            step *= 0.5
        beta = beta + step * move
        done = value - new <= 1e-12 * abs(value) and np.abs(move).max() <= 1e-7 * max(1.0, np.abs(beta).max())
        value = new
        if done:
            break
    return beta[:-1], float(beta[-1])


def _coordinate_descent(
    information: NDArray[np.float64],
    gradient: NDArray[np.float64],
    start: NDArray[np.float64],
    limit: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise the quadratic model of the loss around `start` plus ``limit @ abs(b)``."""
    b = start.copy()
    residual = gradient.copy()  # gradient of the quadratic model at b, with the sign of the likelihood
    diagonal = np.maximum(np.diag(information), 1e-12)
    for _ in range(2000):
        largest = 0.0
        for j in range(b.size):
            pull = residual[j] + diagonal[j] * b[j]
            new = np.sign(pull) * max(abs(pull) - limit[j], 0.0) / diagonal[j]
            change = new - b[j]
            if change != 0.0:
                residual -= change * information[:, j]
                b[j] = new
                largest = max(largest, abs(change))
        if largest <= 1e-10 * max(1.0, float(np.abs(b).max())):
            break
    return b


def _build(parameters: Mapping[str, Any], seed: int) -> Logistic:
    return Logistic(**parameters)


def _space(trial: optuna.Trial) -> dict[str, Any]:
    penalty = trial.suggest_categorical("penalty", _PENALTIES)
    if penalty == "none":
        return {"penalty": penalty}
    return {"penalty": penalty, "C": trial.suggest_float("C", 1e-3, 1e2, log=True)}


RECIPE = Recipe(
    name="logistic",
    title="Logistic regression",
    description="The log odds are a weighted sum of the predictors; a penalty may shrink the weights.",
    task="binary",
    family="linear",
    build=_build,
    space=_space,
    defaults={"penalty": "none"},
    from_state=Logistic.from_state,
    ratio_name="odds ratio",
)
"""The catalogue entry ``logistic``."""
