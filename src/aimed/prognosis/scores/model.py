"""A published score as a model that ranks patients, with the published risk or one learnt from the score alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.calibrate.odds import clip, fit_logistic, to_log_odds
from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.fit.recipe import Recipe, Task
from aimed.prognosis.curves import as_survival
from aimed.prognosis.scores import SCORES
from aimed.prognosis.scores.columns import Columns, Source, constant, position, unit_unknown
from aimed.prognosis.scores.score import Array, Input, Score, ScoreResult
from aimed.prognosis.scores.units import convert

__all__ = ["ScoreModel", "covers", "score_recipe"]

_SLACK = 1.02
"""365 days and a year, or 3 months and 90 days, are the same horizon."""


def covers(score: Score, horizon_days: float | None, task: Task) -> bool:
    """Say whether the published risk of a score is for this horizon, or for a later one.

    Parameters
    ----------
    score : Score
    horizon_days : float or None
        The last horizon in days; None for a yes/no outcome without a time, which is taken to be the score's.
    task : {"binary", "survival"}

    Examples
    --------
    >>> covers(SCORES["meld"], 90, "survival"), covers(SCORES["meld"], 365, "survival")
    (True, False)
    """
    if score.risk_source is None:
        return False
    if horizon_days is None:
        return task == "binary"
    return score.horizon_days is not None and horizon_days <= score.horizon_days * _SLACK


class ScoreModel(BaseEstimator):  # type: ignore[misc]
    """A published score that ranks, and gives a risk as published or recalibrated on the training rows.

    Parameters
    ----------
    score : str
        Name in `aimed.prognosis.scores.SCORES`.
    sources : mapping of str to mapping, optional
        Input → `Source` as keywords; a column of the input's name is used for an input that is not there.
    task : {"binary", "survival"}
    recalibrate : bool
        Whether the risk is learnt on the training rows from the score alone (logistic or Cox regression with one
        weight), instead of the published one.
    horizon_days : float, optional
        For "binary": the time the outcome is for; as published when absent.
    days : float
        For "survival": days in one unit of time.

    Attributes
    ----------
    counts_ : dict
        Of the training rows: ``rows``, ``scored``, and ``missing`` and ``outside`` by input. A row with an input that
        is missing or outside its valid range has no score: NaN, never an imputed one.
    slope_, intercept_ : float
        Recalibration, for "binary"; on the log odds of a published risk, on the points otherwise.
    cox_ : CoxPH
        Recalibration, for "survival".

    Notes
    -----
    Between now and the horizon of a published risk the hazard is taken as constant: S(t) = (1 - risk) ^ (t / horizon).
    X is as `aimed.fit.prepare.Preparation` gives it with ``missing="native"`` and ``encode="one_hot_full"``: numbers
    with NaN, and one indicator a level; a row without any indicator of a category has it missing.

    Raises
    ------
    StudyFileError
        If an input has no column, or a column does not fit its input.
    DataError
        If no row has a score.

    Examples
    --------
    >>> model = ScoreModel("qsofa", {"gcs": {"value": 15}})
    >>> X = np.array([[24.0, 95.0], [14.0, 120.0], [24.0, 120.0], [16.0, 95.0]])
    >>> model.fit(X, [1, 0, 0, 1], feature_names=["respiratory_rate", "systolic"]).score_of(X).value.tolist()
    [2.0, 0.0, 1.0, 1.0]
    """

    def __init__(
        self,
        score: str,
        sources: Mapping[str, Mapping[str, Any]] | None = None,
        task: Task = "binary",
        recalibrate: bool = False,
        horizon_days: float | None = None,
        days: float = 1.0,
    ) -> None:
        self.score = score
        self.sources = sources
        self.task = task
        self.recalibrate = recalibrate
        self.horizon_days = horizon_days
        self.days = days

    def _learns(self) -> bool:
        published: Score = SCORES[self.score]
        return bool(self.recalibrate) or not covers(published, self.horizon_days, self.task)

    def fit(self, X: Any, y: Any, feature_names: Sequence[str] | None = None) -> ScoreModel:
        """Find the inputs among the columns and, if asked, learn the risk from the score."""
        values, own = as_matrix_with_gaps(X)
        names = feature_names if feature_names is not None else own
        if names is None or len(names) != values.shape[1]:
            raise DataError("X has no column names", "one name a column", "give feature_names")
        self.n_features_in_ = values.shape[1]
        self.columns_ = [str(name) for name in names]
        self.classes_ = np.array([0, 1])
        found = self.score_of(values)
        self.counts_ = {
            "rows": found.n, "scored": found.scored, "missing": dict(found.missing), "outside": dict(found.outside)
        }  # fmt: skip
        if not found.scored:
            raise DataError(
                f"{found.title}: none of {found.n} rows has a score: {found.reasons()}",
                "rows with every input in its valid range",
                f"check the units and [model.scores.{self.score}]",
            )
        if self._learns():
            self._fit_risk(found, y)
        return self

    def _fit_risk(self, found: ScoreResult, y: Any) -> None:
        use = np.isfinite(found.value)
        x = self._covariate(found)[use]
        flat = bool(np.ptp(x) <= 1e-12 * max(1.0, float(np.abs(x).max())))
        if self.task == "survival":
            from aimed.prognosis.cox import CoxPH

            event, time = as_survival(y)
            target = np.empty(int(use.sum()), dtype=[("event", bool), ("time", float)])
            target["event"], target["time"] = event[use], time[use]
            self.cox_ = CoxPH(collinear="drop" if flat else "raise").fit(x[:, None], target)
            slope = float(self.cox_.coef_[0])
        else:
            outcome = np.asarray(y, dtype=np.float64)[use]
            if outcome.min() == outcome.max():
                raise NotEstimableError(
                    f"the {outcome.size} rows with a {found.title} score have one class only", "both classes"
                )
            # A column without spread carries no weight; the intercept alone is the share of events.
            design = np.ones((x.size, 1)) if flat else np.column_stack((np.ones(x.size), x))
            beta = fit_logistic(design, outcome, np.ones(x.size))
            self.intercept_, self.slope_ = float(beta[0]), 0.0 if flat else float(beta[1])
            slope = self.slope_
        if flat or slope < 0:
            what = "is the same in every training row" if flat else "ranks the training rows the wrong way round"
            warnings.warn(
                f"{found.title} {what}; check [model.scores.{self.score}] and the coding of its inputs", stacklevel=4
            )

    def _covariate(self, found: ScoreResult) -> Array:
        """Return what the recalibration takes: a published risk on the scale of the regression, or the points."""
        published: Score = SCORES[self.score]
        if published.scale == "risk" and found.risk is not None:
            if self.task == "binary":
                return to_log_odds(found.risk)
            return np.asarray(np.log(-np.log1p(-clip(found.risk))))
        return found.value if published.worse == "high" else -found.value

    def score_of(self, X: Any) -> ScoreResult:
        """Return the score of each row, with the counts of rows that have none."""
        values, _ = as_matrix_with_gaps(X)
        if values.shape[1] != len(self.columns_):
            raise DataError(f"X has {values.shape[1]} columns", f"{len(self.columns_)}, as at fitting")
        published: Score = SCORES[self.score]
        table = Columns(values, self.columns_)
        inputs = {}
        for one in published.inputs:
            said = (self.sources or {}).get(one.name)
            if said is None and one.absent is not None:
                if not table.has(one.name):
                    continue
                if one.convertible:
                    raise unit_unknown(published, one, one.name)
            inputs[one.name] = table.read(one, Source(**(said or {})), published)
        return published.compute(inputs)

    def decision_function(self, X: Any) -> Array:
        """Return what ranks: the score, turned round where less is worse, shape (n,)."""
        found = self.score_of(X)
        return found.value if SCORES[self.score].worse == "high" else -found.value

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likelier class for "binary", the ranking for "survival" (higher is worse)."""
        if self.task == "survival":
            return self.decision_function(X)
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.int64)

    def predict_proba(self, X: Any) -> Array:
        """Return probabilities of no event and event, shape (n, 2); NaN for a row without a score."""
        check_is_fitted(self, "columns_")
        if self.task != "binary":
            raise DataError("a survival score has no single risk", "a horizon", "use predict_survival_function")
        found = self.score_of(X)
        if self._learns():
            risk = 1.0 / (1.0 + np.exp(-(self.intercept_ + self.slope_ * self._covariate(found))))
        else:
            horizon = found.horizon_days
            share = 1.0 if self.horizon_days is None or horizon is None else self.horizon_days / horizon
            risk = 1.0 - self._survival(found, np.array([share]))[:, 0]
        return np.column_stack((1.0 - risk, risk))

    @staticmethod
    def _survival(found: ScoreResult, share: Array) -> Array:
        assert found.risk is not None  # noqa: S101
        return np.asarray((1.0 - found.risk)[:, None] ** share)

    def predict_survival_function(self, X: Any, times: ArrayLike) -> Array:
        """Return survival probabilities, shape (n, t); NaN for a row without a score.

        Raises
        ------
        NotEstimableError
            If a time lies beyond the published risk.
        """
        check_is_fitted(self, "columns_")
        if self.task != "survival":
            raise DataError("a yes/no score has no survival curve", "task 'survival'")
        found = self.score_of(X)
        grid = np.atleast_1d(np.asarray(times, dtype=np.float64))
        if not self._learns():
            share = grid * self.days / float(found.horizon_days or np.nan)
            beyond = int((~(share <= _SLACK)).sum())
            if beyond:
                raise NotEstimableError(
                    f"{beyond} of {grid.size} times lie beyond the risk that {found.title} was published with",
                    f"times up to {float(found.horizon_days or np.nan) / self.days:g}",
                    f"write 'score:{self.score}:recalibrated', or choose nearer horizons",
                )
            return self._survival(found, share)
        out = np.full((found.n, grid.size), np.nan)
        use = np.isfinite(found.value)
        if use.any():
            out[use] = self.cox_.predict_survival_function(self._covariate(found)[use][:, None], times=grid)
        return out

    def to_state(self) -> dict[str, Any]:
        """Return the model in JSON types."""
        check_is_fitted(self, "columns_")
        state: dict[str, Any] = {
            "schema": 1,
            "options": {**self.get_params(), "sources": {k: dict(v) for k, v in (self.sources or {}).items()}},
            "columns": list(self.columns_),
            "logistic": None,
            "cox": None,
        }
        if self._learns():
            if self.task == "survival":
                state["cox"] = self.cox_.to_state()
            else:
                state["logistic"] = [self.intercept_, self.slope_]
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ScoreModel:
        """Rebuild the model from `to_state`, ready to predict."""
        model = cls(**state["options"])
        model.columns_ = [str(name) for name in state["columns"]]
        model.n_features_in_ = len(model.columns_)
        model.classes_ = np.array([0, 1])
        if state["logistic"] is not None:
            model.intercept_, model.slope_ = (float(v) for v in state["logistic"])
        if state["cox"] is not None:
            from aimed.prognosis.cox import CoxPH

            model.cox_ = CoxPH.from_state(state["cox"])
        return model


def as_matrix_with_gaps(X: Any) -> tuple[Array, list[str] | None]:
    """Return X as floats with NaN where missing, and its column names if it has them.

    Examples
    --------
    >>> as_matrix_with_gaps([[1.0, float("nan")]])[0].tolist()
    [[1.0, nan]]
    """
    columns = getattr(X, "columns", None)
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("X holds text", "numbers, and one indicator a level", "encode the categories first") from None
    if values.ndim != 2:
        raise DataError(f"X has shape {values.shape}", "(n, p)", "give one column an input")
    return values, None if columns is None else [str(c) for c in columns]


def _build(parameters: Mapping[str, Any], seed: int, *, options: Mapping[str, Any]) -> ScoreModel:
    return ScoreModel(**{**options, **parameters})


def score_recipe(
    name: str,
    score: str,
    sources: Mapping[str, Source] | None = None,
    task: Task = "binary",
    recalibrate: bool = False,
    horizon_days: float | None = None,
    days: float = 1.0,
) -> Recipe:
    """Make a recipe of a published score for a study.

    Parameters
    ----------
    name : str
        Catalogue name, such as ``"score:meld"``.
    score : str
        Name in `aimed.prognosis.scores.SCORES`.
    sources : mapping of str to Source, optional
        Where inputs come from; by name when absent.
    task, recalibrate, horizon_days, days
        See `ScoreModel`; `horizon_days` is the last horizon of the study.

    Returns
    -------
    Recipe
        Family "baseline"; its title says when the risk was learnt on the training rows.

    Raises
    ------
    UnknownNameError
        If there is no such score or input.
    StudyFileError
        If the unit of an input is not known where it could be one of several, or a rule is given for a number.

    Examples
    --------
    >>> score_recipe("score:chads2", "chads2").title
    'CHADS2'
    >>> score_recipe("score:chads2", "chads2", task="survival", horizon_days=1826).title
    'CHADS2, recalibrated'
    """
    published: Score = SCORES[score]
    said = dict(sources or {})
    for key in said:
        published.input(key)
    for one in published.inputs:
        _check(published, one, said.get(one.name, Source()), one.name in said)
    learns = recalibrate or not covers(published, horizon_days, task)
    options = {
        "score": score,
        "sources": {key: asdict(source) for key, source in said.items()},
        "task": task,
        "recalibrate": recalibrate,
        "horizon_days": horizon_days,
        "days": days,
    }
    how = "logistic" if task == "binary" else "Cox"
    if not learns:
        risk = f"The risk is the published one ({published.risk_source})"
    elif recalibrate:
        risk = f"The risk comes from a {how} regression on the score in the training rows"
    else:
        lacks = "It has no published risk" if published.risk_source is None else "No risk is published for this horizon"
        risk = f"{lacks}: it comes from a {how} regression on the score in the training rows"
    return Recipe(
        name=name,
        title=f"{published.title}, recalibrated" if learns else published.title,
        description=f"Published score: {published.source} {risk.rstrip('.')}.",
        task=task,
        family="baseline",
        build=partial(_build, options=options),
        preparation={"missing": "native", "standardise": False, "encode": "one_hot_full"},
        from_state=ScoreModel.from_state,
    )


def _check(published: Score, one: Input, source: Source, said: bool) -> None:
    """Refuse what can be refused before any data are read."""
    where = f"[model.scores.{published.name}] {one.name}"
    if source.any_of and one.kind != "yes/no":
        raise StudyFileError(f"{where} is a rule", f"a {one.kind}", "name a column")
    if source.unit is not None and one.kind != "number":
        raise StudyFileError(f"{where} has a unit, and is a {one.kind} input", "no unit", "remove it")
    for meaning in (source.levels or {}).values():
        if one.kind != "category":
            raise StudyFileError(f"{where} has levels, and is a {one.kind} input", "no levels", "remove them")
        position(one, meaning, where)
    if source.value is not None:
        low, high = one.valid
        if not low <= constant(one, source) <= high:
            raise StudyFileError(f"{where} has a value outside {low:g} to {high:g}", one.describe(), "correct it")
    elif one.convertible and source.unit is None and (said or one.absent is None):
        raise unit_unknown(published, one, source.column or one.name)
    elif source.unit is not None and one.measurement is not None and one.unit is not None:
        convert(np.zeros(1), one.measurement, source.unit, one.unit)
