"""What the study flow needs to know of a model family: how to build it, tune it, prepare its inputs and store it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aimed.core import DataError

if TYPE_CHECKING:
    import optuna

__all__ = ["Recipe", "Task"]

Task: TypeAlias = Literal["binary", "survival", "competing"]
"""The kind of outcome that a model family can predict; "competing" is survival with several kinds of event."""


def _identity_state(estimator: Any) -> dict[str, Any]:
    state: dict[str, Any] = estimator.to_state()
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One line of the model catalogue, as the study flow sees it.

    Parameters
    ----------
    name, title : str
        Catalogue name and the name shown to people.
    description : str
        One plain sentence for the report.
    task : {"binary", "survival", "competing"}
    also : tuple of str
        Other kinds of outcome that the same family predicts; see `for_task`.
    family : {"linear", "tree", "network", "baseline"}
        Decides which explanations exist: coefficients and linear SHAP, tree SHAP, or none of these.
    build : callable
        ``build(parameters, seed)`` returns an unfitted estimator that follows scikit-learn's conventions
        (binary: ``predict_proba``) or scikit-survival's (survival: ``fit(X, structured y)``, ``predict`` where
        higher is worse, ``predict_survival_function(X, times=...)`` as an array of shape (n, t)). With competing
        events y holds 0 for censored and 1 to K for the cause, cause 1 is the one of interest, and
        ``predict_cumulative_incidence(X, times=...)`` has shape (n, t), or (n, t, K) for all causes.
    space : callable, optional
        ``space(trial)`` draws parameters from an Optuna trial; None when there is nothing to tune.
    defaults : mapping
        Parameters used without tuning, and as the first trial.
    preparation : mapping
        Keyword arguments for `aimed.fit.prepare.Preparation` that this family wants by default.
    store : {"json", "skops"}
        How a fitted estimator is packaged.
    to_state, from_state : callable
        For ``store = "json"``: estimator → JSON types, and back to an estimator that predicts the same.
    ratio_name : str, optional
        What exp(coefficient) is called.
    horizon : float, optional
        With competing events, the time whose incidence ranks patients; a study sets its last horizon.
    ranks_hazard : bool
        With competing events, whether ``predict``, and so SHAP values, tell of the hazard of the cause and not of its
        incidence: another event may come first, so the two can rank differently.
    """

    name: str
    title: str
    description: str
    task: Task
    also: tuple[Task, ...] = ()
    family: Literal["linear", "tree", "network", "baseline"]
    build: Callable[[Mapping[str, Any], int], Any]
    space: Callable[[optuna.Trial], dict[str, Any]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)
    store: Literal["json", "skops"] = "json"
    to_state: Callable[[Any], dict[str, Any]] = _identity_state
    from_state: Callable[[Mapping[str, Any]], Any] | None = None
    ratio_name: str | None = None
    horizon: float | None = None
    ranks_hazard: bool = False

    def for_task(self, task: Task) -> Recipe:
        """Return the recipe set to one of the kinds of outcome it predicts.

        Raises
        ------
        DataError
            If it does not predict that kind.
        """
        if task == self.task:
            return self
        if task not in self.also:
            raise DataError(
                f"{self.title} does not predict {task} outcomes", " or ".join((self.task, *self.also)), "choose another"
            )
        return replace(self, task=task, also=tuple(t for t in (self.task, *self.also) if t != task))
