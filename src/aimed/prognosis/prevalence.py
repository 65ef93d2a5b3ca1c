"""The prevalence baseline: the same risk for everyone, the share of events in the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from aimed.fit.recipe import Recipe

__all__ = ["RECIPE", "PrevalenceBaseline"]


class PrevalenceBaseline(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predict the training share of each class for every row.

    Attributes
    ----------
    classes_ : array, shape (c,)
        0 and 1 whenever y holds nothing else, even if the training rows show one of them only.
    prior_ : float array, shape (c,)
        Training share of each class.

    Examples
    --------
    >>> PrevalenceBaseline().fit([[1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1]).predict_proba([[9.0]]).tolist()
    [[0.75, 0.25]]
    """

    def fit(self, X: Any, y: Any) -> PrevalenceBaseline:
        """Count the classes.

        Parameters
        ----------
        X : float array, shape (n, p)
            Only its shape matters.
        y : array, shape (n,)
        """
        X, y = validate_data(self, X, y, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        classes, counts = np.unique(y, return_counts=True)
        if classes.size == 1 and classes.dtype.kind in "biuf" and classes[0] in (0, 1):
            pair = np.array([0, 1], dtype=classes.dtype)
            counts = np.where(pair == classes[0], counts[0], 0)
            classes = pair
        self.classes_ = classes
        self.prior_ = counts / counts.sum()
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the training shares for every row, shape (n, c)."""
        check_is_fitted(self, "prior_")
        X = validate_data(self, X, reset=False, ensure_all_finite="allow-nan")
        return np.tile(self.prior_, (X.shape[0], 1))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the commonest class for every row."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that predictors are not used and may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.poor_score = True
        return tags

    def to_state(self) -> dict[str, Any]:
        """Return classes and shares in JSON types."""
        check_is_fitted(self, "prior_")
        return {
            "schema": 1,
            "classes": self.classes_.tolist(),
            "prior": self.prior_.tolist(),
            "columns": int(self.n_features_in_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PrevalenceBaseline:
        """Rebuild the fitted baseline from `to_state`."""
        model = cls()
        model.classes_ = np.asarray(state["classes"])
        model.prior_ = np.asarray(state["prior"], dtype=np.float64)
        model.n_features_in_ = int(state["columns"])
        return model


def _build(parameters: Mapping[str, Any], seed: int) -> PrevalenceBaseline:
    return PrevalenceBaseline(**parameters)


RECIPE = Recipe(
    name="prevalence",
    title="Prevalence",
    description="The same risk for everyone: the share of events in the training rows.",
    task="binary",
    family="baseline",
    build=_build,
    preparation={"missing": "native", "standardise": False},
    from_state=PrevalenceBaseline.from_state,
)
"""The catalogue entry ``prevalence``."""
