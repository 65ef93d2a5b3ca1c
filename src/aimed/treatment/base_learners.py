"""Base learners: which regression stands behind a name, and how one is fitted on one thread with or without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from aimed.core.errors import DataError, StudyFileError, UnknownNameError

__all__ = [
    "BASE_LEARNERS",
    "BaseLearner",
    "effect_model",
    "fit_model",
    "one_thread",
    "outcome_model",
    "predict_mean",
]

BaseLearner: TypeAlias = Any
"""A name of `BASE_LEARNERS` or an unfitted scikit-learn estimator."""

BASE_LEARNERS: dict[str, str] = {
    "linear": "Ridge regression, its penalty chosen by cross-validation; logistic regression for 0/1 outcomes.",
    "decision_tree": "One tree of at least 20 patients a leaf.",
    "random_forest": "200 trees of at least 5 patients a leaf.",
    "gradient_boosting": "Histogram gradient boosting.",
    "gaussian_process": "Gaussian process with a linear and a smooth part; it knows how sure it is.",
}
"""Base learners by name, with one sentence each."""


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    import sklearn.ensemble  # noqa: F401  its OpenMP must be loaded before threads are counted

    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run what is inside on one thread: small fits are faster so, and their bits do not depend on the machine's.

    Examples
    --------
    >>> with one_thread():
    ...     float(np.ones(2) @ np.ones(2))
    2.0
    """
    with _controller().limit(limits=1):
        yield


def _linear(binary: bool, seed: int | None) -> Any:
    if not binary:
        from aimed.treatment.ridge import RidgeByValidation

        return RidgeByValidation()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))


def _tree(binary: bool, seed: int | None) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    return (DecisionTreeClassifier if binary else DecisionTreeRegressor)(min_samples_leaf=20, random_state=seed)


def _forest(binary: bool, seed: int | None) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if binary:
        return RandomForestClassifier(200, min_samples_leaf=5, random_state=seed)
    return RandomForestRegressor(200, min_samples_leaf=5, max_features=1 / 3, random_state=seed)


def _boosting(binary: bool, seed: int | None) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    return kind(max_iter=100, learning_rate=0.1, max_leaf_nodes=15, early_stopping=False, random_state=seed)


def _process(binary: bool, seed: int | None) -> Any:
    from aimed.treatment.gaussian_process import GaussianProcess

    return GaussianProcess(random_state=seed)


_MAKERS: dict[str, Callable[[bool, int | None], Any]] = {
    "linear": _linear,
    "decision_tree": _tree,
    "random_forest": _forest,
    "gradient_boosting": _boosting,
    "gaussian_process": _process,
}


def _checked(model: BaseLearner, what: str) -> Any:
    if not (hasattr(model, "fit") and hasattr(model, "get_params") and not isinstance(model, type)):
        raise StudyFileError(
            f"{what} is neither a name nor a scikit-learn estimator",
            f"one of {', '.join(BASE_LEARNERS)}, or an unfitted estimator",
        )
    from sklearn.base import clone

    return clone(model)


def outcome_model(model: BaseLearner, binary: bool, random_state: int | None = None) -> Any:
    """Return an unfitted model of the outcome (or of who is treated).

    Parameters
    ----------
    model : str or scikit-learn estimator
        A name of `BASE_LEARNERS`, or an estimator, which is cloned.
    binary : bool
        Whether the outcome is 0/1: then names stand for classifiers.
    random_state : int, optional
        Seed of the models that names stand for; an estimator keeps its own.

    Raises
    ------
    UnknownNameError
        If the name is not one of `BASE_LEARNERS`.
    StudyFileError
        If it is neither a name nor an estimator.

    Examples
    --------
    >>> outcome_model("decision_tree", True, 0)
    DecisionTreeClassifier(min_samples_leaf=20, random_state=0)
    """
    if isinstance(model, str):
        if model not in _MAKERS:
            raise UnknownNameError("base learner", model, _MAKERS)
        return _MAKERS[model](binary, random_state)
    return _checked(model, "outcome model")


def effect_model(model: BaseLearner, random_state: int | None = None) -> Any:
    """Return an unfitted regression of effects, which are noisier than outcomes: trees are kept smaller.

    Parameters
    ----------
    model : str or scikit-learn estimator
    random_state : int, optional

    Raises
    ------
    UnknownNameError, StudyFileError
        As for `outcome_model`.

    Examples
    --------
    >>> effect_model("decision_tree", 0)
    DecisionTreeRegressor(min_samples_leaf=50, random_state=0)
    """
    if not isinstance(model, str):
        return _checked(model, "effect model")
    made = outcome_model(model, False, random_state)
    if model == "decision_tree":
        made.set_params(min_samples_leaf=50)
    elif model == "random_forest":
        made.set_params(min_samples_leaf=20)
    elif model == "gradient_boosting":
        made.set_params(max_leaf_nodes=8, min_samples_leaf=50, learning_rate=0.05)
    return made


def _weight_name(model: Any) -> str:
    """Return the name under which the model takes row weights."""
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not has_fit_parameter(last, "sample_weight"):
        raise DataError(
            f"{type(last).__name__} takes no row weights",
            "a base learner whose fit has sample_weight",
            "choose another base learner, or another learner, such as the dr_learner, which needs none",
        )
    return f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight"


def fit_model(
    model: Any,
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
) -> Any:
    """Fit a model on one thread and return it; an outcome that is the same in every row makes it a constant.

    Parameters
    ----------
    model : scikit-learn estimator
    X : float array, shape (n, p)
    y : float array, shape (n,)
    weights : float array, shape (n,), optional

    Raises
    ------
    DataError
        If there are weights and the model takes none.

    Examples
    --------
    >>> X = np.arange(4.0)[:, None]
    >>> fit_model(outcome_model("linear", True), X, np.zeros(4))
    DummyRegressor()
    """
    with one_thread():
        if bool((y == y[0]).all()):
            from sklearn.dummy import DummyRegressor

            return DummyRegressor().fit(X, y)
        if weights is None:
            return model.fit(X, y)
        model = _ready_for_weights(model)
        return model.fit(X, y, **{_weight_name(model): weights})


def _ready_for_weights(model: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    if type(model) is not HistGradientBoostingRegressor or model.categorical_features not in (None, "from_dtype"):
        return model
    from sklearn.pipeline import make_pipeline

    from aimed.treatment.quantile_codes import QuantileCodes

    return make_pipeline(QuantileCodes(min(254, model.max_bins)), model)


def predict_mean(model: Any, X: NDArray[np.float64], binary: bool = False) -> NDArray[np.float64]:
    """Return the expected outcome of each row: the chance of 1 from a classifier, cut to 0..1 where Y is 0/1.

    Parameters
    ----------
    model : fitted scikit-learn estimator
    X : float array, shape (n, p)
    binary : bool

    Examples
    --------
    >>> X = np.arange(4.0)[:, None]
    >>> predict_mean(fit_model(outcome_model("linear", False), X, X[:, 0]), X).round(1).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    with one_thread():
        if hasattr(model, "predict_proba"):
            return np.asarray(model.predict_proba(X)[:, 1], dtype=np.float64)
        mean = np.asarray(model.predict(X), dtype=np.float64).reshape(len(X))
    return np.clip(mean, 0.0, 1.0) if binary else mean
