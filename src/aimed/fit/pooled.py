"""One estimator out of those fitted to several imputed data sets: mean predictions, coefficients by Rubin's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from sklearn.base import BaseEstimator, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError
from aimed.metrics.pooling import pool_rubin

__all__ = ["PooledEstimator"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _offered(name: str) -> Callable[[_Method], _Method]:
    """Make a method appear only where the estimator has it."""
    offered: Callable[[_Method], _Method] = available_if(lambda pooled: hasattr(pooled._first, name))
    return offered


class PooledEstimator(BaseEstimator):  # type: ignore[misc]
    """A statistical model fitted to each of m imputed data sets.

    Parameters
    ----------
    estimator : unfitted estimator
        Follows scikit-learn's or scikit-survival's conventions; cloned for each data set.

    Attributes
    ----------
    fits_ : list of m fitted estimators
        One where the data sets are all the same.
    df_complete_ : dict of str to float
        Degrees of freedom the model would have without missing values, by cause, or under ``""``: rows (events, for
        survival) less coefficients.
    coef_, intercept_ : float arrays
        Means over the data sets, where the estimator has them.

    Notes
    -----
    X of shape (n, p) goes to every fit; X of shape (m, n, p) goes set by set, which is how a row with missing values
    is predicted. Risks, curves and scores are means over the m (pooled predictions: Wood, Royston and White, Biom J
    2015;57:614), and so no exact function of the mean coefficients.

    Limits of a risk are pooled by Rubin's rules on the scale where they were symmetric (log odds, or log of the
    cumulative hazard). For a row with missing values they count, besides the uncertainty of the model, how the risk
    would move with the values that are not known.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> X = np.array([[[0.0], [1.0], [2.0], [3.0]], [[0.0], [1.0], [2.0], [5.0]]])
    >>> model = PooledEstimator(LogisticRegression()).fit(X, [0, 1, 0, 1])
    >>> len(model.fits_), model.predict_proba(X).shape
    (2, (4, 2))
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @property
    def _first(self) -> Any:
        fits = self.__dict__.get("fits_")
        return fits[0] if fits else self.estimator

    def fit(
        self,
        X: Iterable[NDArray[np.float64]],
        y: Any,
        feature_names: Sequence[str] | None = None,
        cluster: ArrayLike | None = None,
    ) -> Any:
        """Fit one estimator a data set.

        Parameters
        ----------
        X : float array, shape (m, n, p), or an iterable of float arrays of shape (n, p)
        y : array, shape (n,)
            The same in every data set.
        feature_names : sequence of str, length p, optional
            Only for an estimator that takes them.
        cluster : array, shape (n,), optional
            Rows of one label depend on each other; only for an estimator that takes it.
        """
        given = {"feature_names": feature_names, "cluster": cluster}
        named = {name: value for name, value in given.items() if value is not None}
        self.fits_ = [clone(self.estimator).fit(Z, y, **named) for Z in X]
        if not self.fits_:
            raise DataError("no imputed data set", "at least 1")
        events = getattr(self._first, "n_events_", None)
        columns = int(self.n_features_in_)
        if isinstance(events, Mapping):
            self.df_complete_ = {str(cause): max(1.0, float(n - columns)) for cause, n in events.items()}
        else:
            size = np.shape(y)[0] - 1 if events is None else int(events)
            self.df_complete_ = {"": max(1.0, float(size - columns))}
        return self

    def _each(self, X: Any, call: Callable[[Any, Any], Any]) -> list[Any]:
        """Return call(fit, matrix) for each data set."""
        check_is_fitted(self, "fits_")
        if np.ndim(X) != 3:
            return [call(fit, X) for fit in self.fits_]
        if len(self.fits_) == 1:
            return [call(self.fits_[0], Z) for Z in X]
        if len(X) != len(self.fits_):
            raise DataError(f"{len(X)} completions of the rows", f"{len(self.fits_)}, one a fitted data set")
        return [call(fit, Z) for fit, Z in zip(self.fits_, X, strict=True)]

    def _mean(self, X: Any, call: Callable[[Any, Any], Any]) -> NDArray[np.float64]:
        parts = self._each(X, call)
        total = np.array(parts[0], dtype=np.float64)
        for part in parts[1:]:
            total += part
        return total if len(parts) == 1 else np.asarray(total / len(parts))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the mean score, shape (n,); for a yes/no outcome, the likelier class by the mean probability."""
        if hasattr(self._first, "predict_proba"):
            return np.asarray(self.classes_[np.argmax(self.predict_proba(X), axis=1)])
        return self._mean(X, lambda fit, Z: fit.predict(Z))

    @_offered("predict_proba")
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the mean probabilities of the classes, shape (n, 2)."""
        return self._mean(X, lambda fit, Z: fit.predict_proba(Z))

    @_offered("decision_function")
    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the mean linear predictor, shape (n,)."""
        return self._mean(X, lambda fit, Z: fit.decision_function(Z))

    @_offered("predict_survival_function")
    def predict_survival_function(self, X: Any, times: ArrayLike) -> NDArray[np.float64]:
        """Return the mean survival, shape (n, t)."""
        return self._mean(X, lambda fit, Z: fit.predict_survival_function(Z, times=times))

    @_offered("predict_cumulative_incidence")
    def predict_cumulative_incidence(self, X: Any, times: ArrayLike, **more: Any) -> NDArray[np.float64]:
        """Return the mean incidence, of the shape that the estimator gives."""
        return self._mean(X, lambda fit, Z: fit.predict_cumulative_incidence(Z, times=times, **more))

    @_offered("risk_interval")
    def risk_interval(
        self, X: Any, times: ArrayLike | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return limits of the risk of each row, (n,) or (n, t), pooled by Rubin's rules; None where it has none."""
        if times is None:
            return self._limits(
                X, lambda fit, Z: fit.predict_proba(Z)[:, 1], lambda fit, Z: fit.risk_interval(Z), special.logit,
                special.expit,
            )  # fmt: skip

        def risk(fit: Any, Z: Any) -> NDArray[np.float64]:
            if not hasattr(fit, "predict_cumulative_incidence"):
                return np.asarray(1.0 - fit.predict_survival_function(Z, times=times))
            found = np.asarray(fit.predict_cumulative_incidence(Z, times=times))
            return found[:, :, 0] if found.ndim == 3 else found

        return self._limits(
            X,
            risk,
            lambda fit, Z: fit.risk_interval(Z, times=times),
            *_CLOGLOG,
        )

    def _limits(
        self,
        X: Any,
        risk: Callable[[Any, Any], Any],
        ask: Callable[[Any, Any], Any],
        there: Callable[[Any], Any],
        back: Callable[[Any], Any],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        found = self._each(X, ask)
        if any(pair is None for pair in found):
            return None
        if len(found) == 1:
            return np.asarray(found[0][0]), np.asarray(found[0][1])
        risks = np.array(self._each(X, risk), dtype=np.float64)
        lower, upper = np.array([pair[0] for pair in found]), np.array([pair[1] for pair in found])
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = there(risks)
            error = (there(upper) - there(lower)) / (2.0 * self._normal())
            pooled = pool_rubin(middle, error**2, max(self.df_complete_.values()), level=self.level)
            low, high = back(pooled.lower), back(pooled.upper)
        # A risk of exactly 0 or 1 has no finite place on the scale.
        mean = risks.mean(axis=0)
        low = np.where(np.isfinite(pooled.se), low, lower.mean(axis=0))
        high = np.where(np.isfinite(pooled.se), high, upper.mean(axis=0))
        # The mean of the risks is not quite the risk at the mean of the scale.
        return np.minimum(low, mean), np.maximum(high, mean)

    def _normal(self) -> float:
        return float(special.ndtri(0.5 + 0.5 * self.level))

    def coefficient_table(self, feature_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a coefficient, pooled by Rubin's rules.

        As the estimator's own rows (see `aimed.prognosis.coefficients.coefficients`), and where there is an interval
        also ``standard_error``, ``df`` (Barnard and Rubin) and ``fmi``, the fraction of missing information. Where the
        data sets are all the same, the estimator's own rows.
        """
        check_is_fitted(self, "fits_")
        tables = [fit.coefficient_table(feature_names) for fit in self.fits_]
        if len(tables) == 1:
            own: list[dict[str, Any]] = tables[0]
            return own
        rows = []
        for parts in zip(*tables, strict=True):
            row = {**parts[0], "estimate": float(np.mean([part["estimate"] for part in parts]))}
            missing = [part for part in parts if part["lower"] is None]
            names = ("lower", "upper", "ratio_lower", "ratio_upper", "p", "standard_error", "df", "fmi")
            row |= dict.fromkeys(names)
            if missing:
                some = f" in {len(missing)} of {len(parts)} imputed data sets" if len(missing) < len(parts) else ""
                row["note"] = f"{missing[0]['note']}{some}"
            else:
                errors = [(part["upper"] - part["lower"]) / (2.0 * self._normal()) for part in parts]
                complete = self.df_complete_.get(str(row.get("cause", "")), max(self.df_complete_.values()))
                found = pool_rubin(
                    [part["estimate"] for part in parts], np.square(errors), complete, level=self.level
                )  # fmt: skip
                row |= {"lower": found.lower, "upper": found.upper, "p": found.p, "standard_error": found.se}
                row |= {"ratio_lower": float(np.exp(found.lower)), "ratio_upper": float(np.exp(found.upper))}
                row |= {"df": found.df, "fmi": found.fmi, "note": None}
            row["ratio"] = float(np.exp(row["estimate"]))
            rows.append(row)
        return rows

    def _average(self, name: str) -> NDArray[np.float64]:
        return np.asarray(np.mean([getattr(fit, name) for fit in self.fits_], axis=0))

    def __getattr__(self, name: str) -> Any:
        """Give the parameters of the estimator, such as its penalty."""
        estimator = self.__dict__.get("estimator")
        if name.startswith("_") or estimator is None or name not in estimator.get_params(deep=False):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(estimator, name)

    @property
    def coef_(self) -> NDArray[np.float64]:
        """Mean coefficients."""
        return self._average("coef_")

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """Mean intercept."""
        return self._average("intercept_")

    @property
    def classes_(self) -> NDArray[Any]:
        """The two classes, of a model for a yes/no outcome."""
        return np.asarray(self._first.classes_)

    @property
    def n_features_in_(self) -> int:
        """Columns of each data set."""
        return int(self._first.n_features_in_)

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return float(getattr(self._first, "level", 0.95))

    def to_state(self, store: Callable[[Any], dict[str, Any]] | None = None) -> dict[str, Any]:
        """Return every fit in JSON types; ``store`` writes one fit, its own ``to_state`` when absent."""
        check_is_fitted(self, "fits_")
        return {
            "schema": 1,
            "pooled": [fit.to_state() if store is None else store(fit) for fit in self.fits_],
            "df_complete": dict(self.df_complete_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], restore: Callable[[Mapping[str, Any]], Any]) -> PooledEstimator:
        """Rebuild from `to_state`; ``restore`` rebuilds one fit."""
        fits = [restore(part) for part in state["pooled"]]
        if not fits:
            raise DataError("a stored model without a fit", "at least 1")
        made = cls(fits[0])
        made.fits_ = fits
        made.df_complete_ = {str(k): float(v) for k, v in state["df_complete"].items()}
        return made


def _cloglog(risk: Any) -> Any:
    return np.log(-np.log1p(-risk))


def _cloglog_back(value: Any) -> Any:
    with np.errstate(over="ignore"):
        return -np.expm1(-np.exp(value))


_CLOGLOG = (_cloglog, _cloglog_back)
