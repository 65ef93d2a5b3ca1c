"""The baseline that never sees anatomy: findings from how a picture was taken and what is known of the person."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.checks.feature_coding import FeatureCoding, Features, as_column, fit_ridge
from aimed.checks.shortcuts import Shortcut
from aimed.core import DataError
from aimed.diagnosis.labels import Uncertain, read_labels
from aimed.metrics.arrays import patient_codes
from aimed.metrics.discrimination import auroc
from aimed.metrics.result import Estimate, or_missing

__all__ = ["AcquisitionBaseline", "held_out_shortcuts"]


class AcquisitionBaseline(BaseEstimator):  # type: ignore[misc]
    """A regularised logistic regression a finding on tags, borders and declared columns.

    What a model of pictures has to beat: if this one does as well, the pictures may have been read by their frames.

    Parameters
    ----------
    uncertain : {"ignore", "zeros", "ones"}
        What a label of -1 becomes.

    Attributes
    ----------
    findings_ : tuple of str, length k
    coding_ : FeatureCoding
        What the training rows say of each column; new rows are coded with it.
    columns_ : tuple of str, length q
        Coded columns.
    coef_ : float array, shape (k, q)
        In units of the spread of each coded column; 0 for a finding that was not fitted.
    intercept_ : float array, shape (k,)
    prevalence_ : float array, shape (k,)
        Share of positives among the known labels; NaN where none is known.
    notes_ : dict of str to str
        Finding → why it was not fitted and gets its prevalence, or 0.5 where no label is known.

    Notes
    -----
    Columns are coded as for `aimed.checks.shortcuts.shortcut_auroc`: numbers with their square, texts by their 30 most
    frequent levels, missing values as a level. The prior standard deviation of the linear predictor is 2 whatever the
    number of columns, so that there is nothing to tune. Levels that training did not see count as none, and numbers
    beyond its range as its end.

    References
    ----------
    Zech et al., PLoS Med 2018;15:e1002683.

    Examples
    --------
    >>> view = ["AP", "PA"] * 30
    >>> baseline = AcquisitionBaseline().fit({"view": view}, [[1], [0]] * 30, names=["mass"])
    >>> baseline.predict_proba({"view": ["AP", "PA", "LATERAL"]}).round(2).tolist()
    [[0.98], [0.02], [0.5]]
    """

    def __init__(self, uncertain: Uncertain = "ignore") -> None:
        self.uncertain = uncertain

    def fit(self, features: Features, labels: ArrayLike, names: Sequence[str] | None = None) -> AcquisitionBaseline:
        """Fit one regression a finding on the rows where it is known.

        Parameters
        ----------
        features : mapping of str to lists or arrays of shape (n,)
            Numbers or text; None, NaN and "" are missing. `aimed.checks.shortcut_sources` makes them from pictures.
        labels : array, shape (n, k)
            1 present, 0 absent, -1 uncertain, NaN unknown.
        names : k strings, optional

        Raises
        ------
        DataError
            If features and labels do not fit.
        """
        y = read_labels(labels, self.uncertain, names)
        if names is not None and len(names) != y.shape[1]:
            raise DataError(f"{len(names)} names for {y.shape[1]} findings", "one each")
        self.coding_ = FeatureCoding().fit(features)
        design = self.coding_.transform(features)
        if len(design) != len(y):
            raise DataError(f"features of {len(design)} rows and labels of {len(y)}", "as many of both")
        k, q = y.shape[1], design.shape[1]
        self.columns_ = self.coding_.names
        self.findings_ = tuple(names) if names is not None else tuple(f"finding {j + 1}" for j in range(k))
        self.coef_, self.intercept_ = np.zeros((k, q)), np.zeros(k)
        self.prevalence_, self.notes_ = np.full(k, math.nan), {}
        for j, name in enumerate(self.findings_):
            known = ~np.isnan(y[:, j])
            event = y[known, j] == 1
            if not event.size:
                self.notes_[name] = "no label is known: 0.5 for every picture"
                continue
            share = self.prevalence_[j] = float(event.mean())
            if q == 0 or share in (0.0, 1.0):
                what = "no column varies" if q == 0 else f"{'absent' if share == 0 else 'present'} in every picture"
                self.notes_[name] = f"{what}: the prevalence for every picture"
                self.intercept_[j] = _log_odds(share)
            else:
                self.coef_[j], self.intercept_[j] = fit_ridge(design[known], event)
        return self

    def decision_function(self, features: Features) -> NDArray[np.float64]:
        """Return log odds, shape (n, k).

        Parameters
        ----------
        features : as for `fit`
            With the same columns.

        Raises
        ------
        DataError
            If a column is not there or is of another kind.
        """
        check_is_fitted(self, "coef_")
        return np.asarray(self.coding_.transform(features) @ self.coef_.T + self.intercept_)

    def predict_proba(self, features: Features) -> NDArray[np.float64]:
        """Return the probability of each finding, shape (n, k)."""
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.decision_function(features))))


def _log_odds(share: float) -> float:
    return math.copysign(math.inf, share - 0.5) if share in (0.0, 1.0) else math.log(share / (1 - share))


def held_out_shortcuts(
    sources: Mapping[str, Mapping[str, Any]],
    labels: ArrayLike,
    names: Sequence[str],
    train: ArrayLike,
    test: ArrayLike,
    patient: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> list[Shortcut]:
    """Return how well each source tells each finding on the rows that the model is tested on, fitted where it was.

    Parameters
    ----------
    sources : mapping of str to mappings of columns, shape (n,)
        As `aimed.checks.shortcut_sources.shortcut_sources` returns them.
    labels : array, shape (n, k)
        1, 0, -1 or NaN; the latter two are left out.
    names : sequence of str
        The k findings.
    train, test : int arrays
        Rows to fit on and rows to judge.
    patient : array, shape (n,), optional
        Intervals are clustered by patient.
    level : float
        Coverage of the intervals.

    Returns
    -------
    list of Shortcut
        Finding by finding; for `aimed.checks.shortcut_block.shortcut_block`.

    Examples
    --------
    >>> view, y = ["AP", "PA"] * 40, [[1], [0]] * 40
    >>> found = held_out_shortcuts({"view": {"view": view}}, y, ["mass"], range(40), range(40, 80))
    >>> found[0].finding, found[0].source, found[0].value, found[0].n
    ('mass', 'view', 1.0, 40)
    """
    table = np.asarray(labels, dtype=np.float64)
    fit, judged = np.asarray(train, dtype=np.int64), np.asarray(test, dtype=np.int64)
    n = len(table)
    codes = patient_codes(patient, n)
    scores = {}
    for source, columns in sources.items():
        here = {name: as_column(values) for name, values in columns.items()}
        if any(values.shape != (n,) for values in here.values()):
            raise DataError(f"columns of '{source}' that do not fit {n} labels", "one value a row")
        model = AcquisitionBaseline().fit({k: v[fit] for k, v in here.items()}, table[fit], names)
        scores[source] = (model, model.decision_function({k: v[judged] for k, v in here.items()}))
    out = []
    for j, finding in enumerate(names):
        answer = table[judged, j]
        known = np.flatnonzero(np.isin(answer, (0.0, 1.0)))
        event, who = answer[known] == 1, codes[judged][known]
        for source, (model, score) in scores.items():
            made, fold = np.full(n, np.nan), np.full(n, -1)
            made[judged[known]], fold[judged[known]] = score[known, j], 0
            out.append(
                Shortcut(
                    finding=finding,
                    source=source,
                    estimate=_judged(
                        event, score[known, j], None if patient is None else who, level, model.notes_.get(finding, "")
                    ),
                    score=made,
                    fold=fold,
                    columns=model.columns_,
                    patients=int(np.unique(who).size),
                )
            )
    return out


def _judged(
    event: NDArray[np.bool_], score: NDArray[np.float64], who: NDArray[np.int64] | None, level: float, note: str
) -> Estimate:
    events = int(event.sum())
    if note or not event.size:
        why = note or "no known answer"
        return Estimate(math.nan, name="auroc", n=event.size, events=events, level=level, note=why)
    return or_missing(
        "auroc", lambda: auroc(event, score, patient=who, level=level), n=event.size, events=events, level=level
    )
