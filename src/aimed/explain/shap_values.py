"""SHAP contributions: exact for linear models, by traversal for trees, from outside for any other function."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, NotEstimableError, Variable
from aimed.explain.draws import drawn_patients, sample_rows
from aimed.metrics.draws import percentile_interval

__all__ = ["Contributions", "mean_absolute", "shap_values"]

_TOLERANCE = 1e-6
_BACKGROUND = (25, 100)
"""Fewest and most training rows that stand for the population in tree models."""

_WORK = 6_000_000
"""Rows times trees times background rows: about ten seconds on one core."""

_ASKED = 200_000
"""Rows that a model which is only asked from outside has to predict for its SHAP values."""

_ROUNDS = 5
_EXACT = 8

_WORK_A_CALL = 300_000
"""shap draws a progress bar when one call takes longer than ten seconds, so calls are kept far below that."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each variable adds to each prediction.

    Parameters
    ----------
    values : float array, shape (n, p)
        Contribution of each variable, on `scale`; NaN in rows the model cannot predict.
    base : float
        Mean output over the background; ``base + values.sum(axis=1)`` is the model's output.
    output : float array, shape (n,)
        Output of the estimator, before any calibration.
    scale : str
        "log odds", "probability", "log hazard", "expected mortality" or what the estimator's ``shap_scale`` says.
    error : float
        Largest absolute difference between that sum and the output.
    note : str
        How the values were made, in plain sentences.
    """

    values: NDArray[np.float64]
    base: float
    output: NDArray[np.float64]
    scale: str
    error: float
    note: str


def shap_values(
    estimator: Any,
    background: NDArray[np.float64],
    rows: NDArray[np.float64],
    origin: Sequence[str],
    variables: Sequence[Variable],
    *,
    family: str,
    seed: int = 0,
) -> Contributions:
    """Split each prediction of a linear or tree model into contributions of the variables.

    Parameters
    ----------
    estimator : fitted estimator
        Linear: ``coef_``. Tree: scikit-learn's decision tree, random forest or histogram gradient boosting.
    background : float array, shape (m, q)
        Prepared training rows, which define the average prediction.
    rows : float array, shape (n, q)
        Prepared rows to explain.
    origin : sequence of str, length q
        Variable behind each feature (``Preparation.feature_origin_``).
    variables : sequence of Variable, length p
    family : {"linear", "tree", "function"}
        As in ``Recipe.family``; a function is anything with ``predict``, which is asked for a sample of the rows.
    seed : int
        Draws the background of tree models.

    Returns
    -------
    Contributions

    Raises
    ------
    NotEstimableError
        If the model has no SHAP values here, or they do not add up to its output to 1e-6.
    DataError
        If shapes disagree or a feature comes from no variable.

    Notes
    -----
    Linear: coefficient times (feature - background mean), the exact interventional value, whatever the other
    features are. Trees: interventional against 25 to 100 background rows, as time allows; gradient boosting, for
    which that does not add up, uses the path-dependent values, with the training rows in each node as the background.
    Functions: every coalition of up to eight variables, or five permutations of more, forwards and backwards, against
    25 background rows.
    Contributions of the features of one variable are summed; for trees that sum is close to, not the same as,
    treating them as one player.

    References
    ----------
    Lundberg and Lee, NeurIPS 2017; Lundberg et al., Nat Mach Intell 2020;2:56.

    Examples
    --------
    >>> class Line:
    ...     coef_ = np.array([2.0, -1.0])
    ...     def predict(self, Z):
    ...         return Z @ self.coef_
    >>> Z = np.array([[0.0, 0.0], [2.0, 2.0]])
    >>> found = shap_values(Line(), Z, Z, ["age", "bmi"], [Variable(name="age"), Variable(name="bmi")], family="linear")
    >>> found.values.tolist(), found.base
    ([[-2.0, 1.0], [2.0, -1.0]], 1.0)
    """
    background, rows = np.asarray(background, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    index = {v.name: j for j, v in enumerate(variables)}
    lost = sorted(set(origin) - set(index))
    if lost:
        raise DataError(f"{len(lost)} features come from no variable", "one variable a feature")
    if rows.ndim != 2 or background.ndim != 2 or not rows.shape[1] == background.shape[1] == len(origin):
        raise DataError(
            f"rows {rows.shape}, background {background.shape} and {len(origin)} origins", "one column a feature"
        )
    gather = np.zeros((len(origin), len(variables)))
    gather[np.arange(len(origin)), [index[name] for name in origin]] = 1.0
    if family == "linear":
        usable, background = np.isfinite(rows).all(axis=1), background[np.isfinite(background).all(axis=1)]
    elif family == "tree":
        usable = np.ones(rows.shape[0], dtype=bool)
    elif family == "function":
        codes = np.arange(rows.shape[0])
        usable = np.isin(codes, sample_rows(codes, _function_rows(rows.shape[1]), [seed, 17]))
    else:
        raise NotEstimableError(f"a model of the family '{family}' has no SHAP values", "a linear or tree model")
    if not usable.any() or not background.shape[0]:
        raise NotEstimableError("no complete row to explain", "at least one, and one in the background")
    split = {"linear": _linear, "tree": _tree, "function": _function}[family]
    features, base, output, scale, note = split(estimator, background, rows[usable], seed)
    error = float(np.abs(base + features.sum(axis=1) - output).max())
    if not error <= _TOLERANCE * max(1.0, float(np.abs(output).max())):
        raise NotEstimableError(
            f"SHAP values miss the model's output by up to {error:.2g}",
            "a sum within 1e-6",
            "use permutation importance",
        )
    values = np.full((rows.shape[0], len(variables)), np.nan)
    values[usable] = features @ gather
    whole = np.full(rows.shape[0], np.nan)
    whole[usable] = output
    return Contributions(values, base, whole, scale, error, note)


def _function_rows(variables: int) -> int:
    """Return how many rows a model that is only asked from outside can be explained for."""
    return max(20, _ASKED // (_coalitions(variables) * _BACKGROUND[0]))


def _coalitions(variables: int) -> int:
    return 2**variables if variables <= _EXACT else _ROUNDS * 2 * variables + 2


def _function(estimator: Any, background: NDArray[np.float64], rows: NDArray[np.float64], seed: int) -> _Parts:
    """Ask the model about every coalition of a few variables, or about those along permutations of many.

    Written here because the library's explainers of functions compile for half a minute before the first row.
    """
    few = background[sample_rows(np.arange(background.shape[0]), _BACKGROUND[0], [seed, 3])]
    p = rows.shape[1]
    rng = np.random.default_rng([seed, 19])
    orders = [] if p <= _EXACT else [rng.permutation(p) for _ in range(_ROUNDS)]
    masks = _every_mask(p) if p <= _EXACT else _masks_along(orders, p)

    def worth(row: NDArray[np.float64]) -> NDArray[np.float64]:
        asked = np.where(masks[:, None, :], row, few)
        said = np.asarray(estimator.predict(asked.reshape(-1, p)), dtype=np.float64)
        return np.asarray(said.reshape(len(masks), -1).mean(axis=1))

    worths = np.stack([worth(row) for row in rows])
    if p <= _EXACT:
        features, how = _exactly(worths, p), "every coalition of the variables"
    else:
        features = _along(worths, orders, p)
        how = f"{_ROUNDS} orders of the variables, forwards and backwards"
    scale = str(getattr(estimator, "shap_scale", "prediction"))
    note = f"SHAP values of the {scale}, by asking the model from outside: {how}, against {few.shape[0]} training rows."
    return features, float(worths[0, 0]), np.asarray(estimator.predict(rows), dtype=np.float64), scale, note


def _every_mask(p: int) -> NDArray[np.bool_]:
    return np.asarray((np.arange(2**p)[:, None] >> np.arange(p)) % 2 == 1)


def _exactly(worths: NDArray[np.float64], p: int) -> NDArray[np.float64]:
    """Return Shapley values from the worth of every coalition, the empty one first."""
    masks = _every_mask(p)
    size = masks.sum(axis=1)
    weight = np.array([math.factorial(s) * math.factorial(p - s - 1) / math.factorial(p) for s in range(p)])
    out = np.empty((len(worths), p))
    for j in range(p):
        without = np.flatnonzero(~masks[:, j])
        out[:, j] = (worths[:, without + (1 << j)] - worths[:, without]) @ weight[size[without]]
    return out


def _masks_along(orders: Sequence[NDArray[np.int64]], p: int) -> NDArray[np.bool_]:
    """Return the empty and the full coalition, then those met along each order, forwards and backwards."""
    masks = [np.zeros(p, dtype=bool), np.ones(p, dtype=bool)]
    for order in orders:
        for way in (order, order[::-1]):
            for k in range(1, p + 1):
                mask = np.zeros(p, dtype=bool)
                mask[way[:k]] = True
                masks.append(mask)
    return np.stack(masks)


def _along(worths: NDArray[np.float64], orders: Sequence[NDArray[np.int64]], p: int) -> NDArray[np.float64]:
    out = np.zeros((len(worths), p))
    at = 2
    for order in orders:
        for way in (order, order[::-1]):
            met = worths[:, at : at + p]
            out[:, way] += np.diff(met, axis=1, prepend=worths[:, :1])
            at += p
    return out / (2 * len(orders))


_Parts = tuple[NDArray[np.float64], float, NDArray[np.float64], str, str]


def _linear(estimator: Any, background: NDArray[np.float64], rows: NDArray[np.float64], seed: int) -> _Parts:
    if not hasattr(estimator, "coef_"):
        raise NotEstimableError("the linear model has no coefficients", "coef_")
    coefficients = np.ravel(np.asarray(estimator.coef_, dtype=np.float64))
    if coefficients.size != rows.shape[1]:
        raise DataError(f"{coefficients.size} coefficients for {rows.shape[1]} features", "one a feature")
    odds = hasattr(estimator, "decision_function")
    call = estimator.decision_function if odds else estimator.predict
    base = float(np.mean(call(background)))
    features = coefficients * (rows - background.mean(axis=0))
    scale = "log odds" if odds else "log hazard"
    note = (
        f"Exact interventional SHAP values of the linear model on the {scale} scale: coefficient times the distance "
        f"from the mean of {background.shape[0]} training rows, summed over the features of a variable."
    )
    return features, base, np.asarray(call(rows), dtype=np.float64), scale, note


def _tree(estimator: Any, background: NDArray[np.float64], rows: NDArray[np.float64], seed: int) -> _Parts:
    if hasattr(estimator, "shap_values"):
        values, expected = estimator.shap_values(rows)
        scale = getattr(estimator, "shap_scale", "expected mortality")
        words = " (the events a patient would cause among the training rows)" if scale == "expected mortality" else ""
        note = f"Exact path-dependent tree SHAP values of the {scale}{words}, summed over the features of a variable."
        return np.asarray(values), float(expected), np.asarray(estimator.predict(rows)), scale, note
    if not hasattr(estimator, "predict_proba"):
        raise NotEstimableError(
            "SHAP values of survival trees are not available",
            "a tree model for a yes/no outcome",
            "use permutation importance",
        )
    boosted = hasattr(estimator, "decision_function")
    with warnings.catch_warnings():
        # Importing shap warns about matplotlib's next version, which says nothing about the values.
        warnings.simplefilter("ignore")
        import shap

        if boosted:
            explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
            step = rows.shape[0]
        else:
            trees = len(getattr(estimator, "estimators_", (estimator,)))
            size = int(np.clip(_WORK // (rows.shape[0] * trees), *_BACKGROUND))
            few = background[sample_rows(np.arange(background.shape[0]), size, [seed, 3])]
            explainer = shap.TreeExplainer(estimator, few, feature_perturbation="interventional")
            step = max(1, _WORK_A_CALL // (few.shape[0] * trees))
        blocks = [rows[i : i + step] for i in range(0, rows.shape[0], step)]
        values = np.concatenate([np.asarray(explainer.shap_values(b, check_additivity=False)) for b in blocks])
    base = np.ravel(np.asarray(explainer.expected_value, dtype=np.float64))
    features = values[:, :, 1] if values.ndim == 3 else values
    if boosted:
        output, scale = estimator.decision_function(rows), "log odds"
        how = "path-dependent, with the training rows in each node as background"
    else:
        output, scale = estimator.predict_proba(rows)[:, 1], "probability"
        how = f"interventional, against {few.shape[0]} training rows"
    output = np.asarray(output, dtype=np.float64)
    # shap adds interventional leaves in single precision; the rest (below 1e-6) is checked, not hidden.
    note = f"Tree SHAP values on the {scale} scale ({how}), summed over the features of a variable."
    return features, float(base[-1]), output, scale, note


def mean_absolute(
    values: NDArray[np.float64],
    variables: Sequence[Variable],
    *,
    patient: ArrayLike | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return the mean absolute contribution of each variable with an interval over patients.

    Parameters
    ----------
    values : float array, shape (n, p)
        Contributions; rows with NaN are left out.
    variables : sequence of Variable, length p
    patient : array, shape (n,), optional
        The interval draws patients, not rows.
    draws : int
    level : float
    seed : int

    Returns
    -------
    list of dict
        ``variable``, ``label``, ``mean_abs``, ``lower``, ``upper``, largest first.

    Raises
    ------
    NotEstimableError
        If no row has contributions.

    Examples
    --------
    >>> row = mean_absolute(np.array([[1.0], [-3.0]]), [Variable(name="age")])[0]
    >>> row["mean_abs"], row["lower"], row["upper"]
    (2.0, 1.0, 3.0)
    """
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        raise NotEstimableError("no row has contributions", "at least one")
    size = np.abs(values[known])
    own = None if patient is None else np.asarray(patient)[known]
    codes, counts = drawn_patients(own, size.shape[0], draws, [seed, 5])
    sums = np.zeros((counts.shape[1], size.shape[1]))
    np.add.at(sums, codes, size)
    drawn = (counts @ sums) / (counts @ np.bincount(codes))[:, None]
    lower, upper = percentile_interval(drawn, level)
    mean = size.mean(axis=0)
    return [
        {
            "variable": variables[j].name,
            "label": variables[j].title,
            "mean_abs": float(mean[j]),
            "lower": float(lower[j]),
            "upper": float(upper[j]),
        }
        for j in np.argsort(-mean, kind="stable")
    ]
