"""Turn raw predictors into model inputs, with every mean, level and knot learned on the training rows alone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aimed.core import DataError, StudyFileError, UnknownNameError, Variable
from aimed.fit.multiple_imputation import MultipleImputation
from aimed.fit.spline import KNOT_QUANTILES, knots_of, spline_basis

__all__ = ["ENCODINGS", "MISSING_METHODS", "Preparation"]

MISSING_METHODS = ("mean_indicators", "mean", "complete_case", "iterative", "multiple_imputation", "native")
"""What can be done about missing values."""

ENCODINGS = ("one_hot", "one_hot_full", "codes")
"""How a category becomes numbers."""

_MOST_CODES = 32
_SPLINE = re.compile(r"spline\((\d+)\)")
_ROUNDS = 10
_HALF = 0.5
_BLOCK = 20_000


@dataclass(slots=True)
class _Notes:
    """What one fit has met, for the sentences of the report."""

    rows: int
    rows_used: int
    incomplete: int
    patterns: dict[bytes, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)
    few_knots: list[str] = field(default_factory=list)

    def new_pattern(self, name: str, gap: NDArray[np.bool_]) -> bool:
        """Say whether these rows are missing together in no earlier variable."""
        first = self.patterns.setdefault(np.packbits(gap).tobytes(), name)
        if first != name:
            self.shared[name] = first
        return first == name


class Preparation(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fill, transform, encode and scale predictors.

    Parameters
    ----------
    variables : tuple of Variable, length p
        Numbers and categories, in the order of the columns of X.
    missing : {"mean_indicators", "mean", "complete_case", "iterative", "multiple_imputation", "native"}
        Training mean and one missing indicator a pattern; the mean alone; NaN in every feature of an
        incomplete row, for the caller to leave out; chained linear equations; several completed versions of each
        row, see `aimed.fit.multiple_imputation.MultipleImputation`; or NaN passed on to a model that can take it.
    nonlinear : mapping of str to str, optional
        Variable name → ``"linear"``, ``"log"`` or ``"spline(k)"`` with 3 to 7 knots.
    standardise : bool
        Numbers get mean 0 and standard deviation 1 (n - 1) in the training rows; features constant there
        are left out, which is to give them weight zero.
    encode : {"one_hot", "one_hot_full", "codes"}
        Indicators without the first level seen; indicators of all known levels; or the code in one column, for
        categories of at most 32 levels (more get indicators: trees that may put many levels together as they like
        learn them by heart).
    features : tuple of str, optional
        Output features to keep, in this order, as a published formula needs; all when absent.
    imputations, random_state : int
        Of multiple imputation: versions of each row, and the seed.

    Attributes
    ----------
    feature_names_out_ : list of str
        ``"age"``, ``"log(bili)"``, ``"age'"`` (spline terms), ``"stage=4"``, ``"chol (missing)"``.
    feature_origin_ : list of str
        The variable behind each feature.
    steps_ : list of {"name", "detail"}
        What was done, in plain sentences.
    imputer_ : MultipleImputation or None

    Notes
    -----
    A missing category is a level of its own if training rows showed one, and all zeros otherwise. So is a
    category that training rows never showed: it counts as the reference level and raises nothing here,
    because a packaged model refuses such rows at its door. ``"log"`` is log(1 + x) when zeros occur, and
    values below the smallest training value are raised to it before the logarithm is taken.
    Chained equations fill numbers only, within the range seen; they need memory for one more copy.
    With multiple imputation, `transform` gives the mean of a row's versions, which is where a linear model has its
    mean linear predictor, and `versions` gives them all. Means and scales are those of the observed values, so that all
    versions share one scale.
    ``clone`` and ``get_params`` work; scikit-learn's ``check_estimator`` does not apply, because it cannot
    know the variables that the constructor needs.

    Raises
    ------
    DataError
        If X has the wrong shape, infinite numbers, or negative numbers under a logarithm.
    StudyFileError
        If an option does not exist or does not fit its variable.

    Examples
    --------
    >>> age, sex = Variable(name="age"), Variable(name="sex", kind="category", categories=("f", "m"))
    >>> preparation = Preparation((age, sex)).fit([[60, 0], [70, 1], [float("nan"), 1]])
    >>> preparation.feature_names_out_
    ['age', 'age (missing)', 'sex=m']
    >>> preparation.transform([[65, 1], [float("nan"), 0]]).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """

    imputer_: MultipleImputation | None

    def __init__(
        self,
        variables: tuple[Variable, ...],
        missing: str = "mean_indicators",
        nonlinear: Mapping[str, str] | None = None,
        standardise: bool = True,
        encode: str = "one_hot",
        features: tuple[str, ...] | None = None,
        imputations: int = 10,
        random_state: int = 0,
    ) -> None:
        self.variables = variables
        self.missing = missing
        self.nonlinear = nonlinear
        self.standardise = standardise
        self.encode = encode
        self.features = features
        self.imputations = imputations
        self.random_state = random_state

    @property
    def passes_missing(self) -> bool:
        """Whether NaN in the output is meant for the model."""
        return self.missing == "native"

    @property
    def imputes(self) -> bool:
        """Whether a row has several versions."""
        return self.missing == "multiple_imputation"

    def _shapes(self) -> list[tuple[str, int]]:
        if self.missing not in MISSING_METHODS:
            raise UnknownNameError("missing-value method", str(self.missing), MISSING_METHODS)
        if self.encode not in ENCODINGS:
            raise UnknownNameError("encoding", str(self.encode), ENCODINGS)
        asked = dict(self.nonlinear or {})
        names = [v.name for v in self.variables]
        for name in asked:
            if name not in names:
                raise UnknownNameError("predictor", name, names)
        shapes = []
        for variable in self.variables:
            shape = asked.get(variable.name, "linear")
            spline = _SPLINE.fullmatch(shape)
            if variable.kind not in ("number", "category"):
                raise StudyFileError(
                    f"predictor '{variable.name}' is a {variable.kind}", "a number or a category", "leave it out"
                )
            if variable.kind == "category" and shape != "linear":
                raise StudyFileError(f"'{shape}' for the category '{variable.name}'", "a number", "remove the line")
            if spline and int(spline[1]) in KNOT_QUANTILES:
                shapes.append(("spline", int(spline[1])))
            elif shape in ("linear", "log"):
                shapes.append((shape, 0))
            else:
                raise StudyFileError(
                    f"'{shape}' for '{variable.name}'", "'linear', 'log' or 'spline(k)' with k from 3 to 7"
                )
        return shapes

    def _matrix(self, X: ArrayLike) -> NDArray[np.float64]:
        try:
            values = np.asarray(X, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError("X holds text", "numbers, with categories as codes", "encode the categories") from None
        p = len(self.variables)
        if values.ndim != 2 or values.shape[1] != p:
            raise DataError(f"X has shape {values.shape}", f"(n, {p})", "give one column a predictor, in order")
        # One sum says whether a closer look is needed, without a mask as large as X.
        with np.errstate(invalid="ignore", over="ignore"):
            sums = values.sum(axis=0)
        for j in np.flatnonzero(~np.isfinite(sums)):
            count = int(np.isinf(values[:, j]).sum())
            if count:
                raise DataError(f"'{self.variables[j].name}' has {count} infinite values", "finite numbers or missing")
        return values

    def fit(self, X: ArrayLike, y: Any = None) -> Preparation:
        """Learn means, levels, knots and patterns of missingness from the training rows.

        Parameters
        ----------
        X : float array, shape (n, p)
            Numbers as they are, categories as codes, NaN where missing.
        y : array, shape (n,), optional
            The outcome, of which only multiple imputation makes use. Without it options are checked and columns
            described, but no row with a missing value can be transformed.
        """
        if self.imputes and y is not None:
            for _ in self.fit_versions(X, y):
                pass
            return self
        return self._fit(X)

    def fit_versions(self, X: ArrayLike, y: ArrayLike) -> Iterator[NDArray[np.float64]]:
        """Fit, and return the model inputs of every version of the training rows, completed with the outcome's help.

        Only for multiple imputation; the fit is done when the last version was taken.

        Parameters
        ----------
        X : float array, shape (n, p)
        y : array, shape (n,)

        Returns
        -------
        iterator of float arrays of shape (n, f)
        """
        self._fit(X)
        imputer = MultipleImputation(
            self.variables,
            imputations=int(self.imputations),
            logarithms=[name for name, shape in (self.nonlinear or {}).items() if shape == "log"],
            random_state=int(self.random_state),
        )
        return self._versions_of(imputer, self._matrix(X), y)

    def _versions_of(
        self, imputer: MultipleImputation, values: NDArray[np.float64], y: ArrayLike
    ) -> Iterator[NDArray[np.float64]]:
        for completed in imputer.fit_complete(values, y):
            yield self._encode(completed)
        self.imputer_ = imputer

    def _fit(self, X: ArrayLike) -> Preparation:
        shapes = self._shapes()
        values = self._matrix(X)
        if not values.shape[0]:
            raise DataError("0 training rows", "at least 1")
        self.n_features_in_ = values.shape[1]
        gaps = np.isnan(values)
        n = values.shape[0]
        notes = _Notes(rows=n, rows_used=n, incomplete=int(gaps.any(axis=0).sum()))
        if self.missing == "complete_case":
            complete = ~gaps.any(axis=1)
            if not complete.any():
                raise DataError(
                    "no training row has every predictor",
                    "at least one complete row",
                    "choose missing = 'mean_indicators'",
                )
            notes.rows_used = int(complete.sum())
            if not complete.all():
                values, gaps = values[complete], gaps[complete]
        names: list[str] = []
        origin: list[str] = []
        self.columns_: list[dict[str, Any]] = []
        for j, (variable, (shape, k)) in enumerate(zip(self.variables, shapes, strict=True)):
            if variable.kind == "number":
                column, new = self._fit_number(variable, values[:, j], gaps[:, j], shape, k, notes)
            else:
                column, new = self._fit_category(variable, values[:, j], gaps[:, j], notes)
            self.columns_.append(column)
            names += new
            origin += [variable.name] * len(new)
        self.chain_: dict[str, Any] | None = self._fit_chain(values, gaps) if self.missing == "iterative" else None
        self.imputer_ = None
        self._place(names, origin)
        self.steps_ = self._describe(shapes, notes, gaps)
        if self.imputes:
            much = [v.name for v, share in zip(self.variables, gaps.mean(axis=0), strict=True) if share > _HALF]
            for name in much:
                warnings.warn(
                    f"'{name}' is missing in more than half of the training rows: imputed values depend more on the "
                    "equations than on what was seen; consider leaving it out",
                    stacklevel=3,
                )
        return self

    def _fit_number(
        self, variable: Variable, x: NDArray[np.float64], gap: NDArray[np.bool_], shape: str, k: int, notes: _Notes
    ) -> tuple[dict[str, Any], list[str]]:
        known = x[~gap]
        fill = float(known.mean()) if known.size else 0.0
        floor: float | None = None
        knots: list[float] = []
        if shape == "log":
            negative = int((known < 0).sum())
            if negative:
                raise DataError(
                    f"'{variable.name}' has {negative} negative values", "none under a logarithm", "use 'spline(4)'"
                )
            lowest = float(known.min()) if known.size else 1.0
            shape, floor = ("log1p", 0.0) if lowest == 0 else ("log", lowest)
        if shape == "spline":
            knots = [float(t) for t in knots_of(known, k)]
            if len(knots) < k:
                notes.few_knots.append(variable.name)
        terms = _terms(shape, floor, knots, known)
        labels = {
            "log": [f"log({variable.name})"],
            "log1p": [f"log(1 + {variable.name})"],
        }.get(shape, [variable.name + "'" * t for t in range(terms.shape[1])])
        means, weights, kept, names = [], [], [], []
        for t, label in enumerate(labels):
            term = terms[:, t]
            mean, scale = (float(term.mean()), float(term.std(ddof=1))) if term.size > 1 else (0.0, 0.0)
            # Rounding in a constant column leaves a spread of a few ulps.
            flat = scale <= 1e-12 * max(abs(mean), 1e-300)
            if self.standardise and flat:
                notes.constant.append(label)
                continue
            means.append(mean if self.standardise else 0.0)
            weights.append(1.0 / scale if self.standardise else 1.0)
            kept.append(t)
            names.append(label)
        indicator = False
        if self.missing == "mean_indicators" and gap.any():
            if gap.all():
                notes.constant.append(f"{variable.name} (missing)")
            elif notes.new_pattern(variable.name, gap):
                indicator = True
                names.append(f"{variable.name} (missing)")
        column = {
            "kind": "number", "shape": shape, "fill": fill, "floor": floor, "knots": knots,
            "terms": kept, "means": means, "weights": weights, "indicator": indicator,
        }  # fmt: skip
        return column, names

    def _fit_category(
        self, variable: Variable, x: NDArray[np.float64], gap: NDArray[np.bool_], notes: _Notes
    ) -> tuple[dict[str, Any], list[str]]:
        levels = len(variable.categories)
        state = _codes(x, levels)
        seen = np.bincount(state, minlength=levels + 2)[: levels + 1] > 0
        known = np.flatnonzero(seen[:levels])
        reference = int(known[0]) if known.size else 0
        table: NDArray[np.float64]
        if self._coded(variable):
            own = bool(seen[levels]) and self.missing in ("mean_indicators", "iterative")
            absent = np.nan if self.missing == "native" else float(reference)
            table = np.append(np.arange(levels, dtype=np.float64), [float(levels) if own else absent, absent])[:, None]
            table[:levels, 0][~seen[:levels]] = absent
            names = [variable.name]
        else:
            full = self.encode == "one_hot_full"
            shown = list(range(levels)) if full else [int(c) for c in known if c != reference]
            names = [f"{variable.name}={variable.categories[c]}" for c in shown]
            own = (
                self.missing not in ("mean", "complete_case", "multiple_imputation")
                and bool(seen[levels])
                and bool(known.size)
            )
            if own and notes.new_pattern(variable.name, gap):
                shown.append(levels)
                names.append(f"{variable.name} (missing)")
            table = np.zeros((levels + 2, len(shown)))
            table[shown, np.arange(len(shown))] = 1.0
            if not names:
                notes.constant.append(variable.name)
        if self.missing == "complete_case":
            table[levels] = np.nan
        return {"kind": "category", "table": table, "levels": levels}, names

    def _place(self, names: list[str], origin: list[str]) -> None:
        """Give every feature its output column, in the order asked for."""
        wanted = list(self.features) if self.features is not None else names
        for name in wanted:
            if name not in names:
                unknown = UnknownNameError("feature", name, names)
                raise DataError(unknown.got, unknown.expected, unknown.do)
        position = {name: i for i, name in enumerate(wanted)}
        self.feature_names_out_ = wanted
        self.feature_origin_ = [origin[names.index(name)] for name in wanted]
        start = 0
        for column in self.columns_:
            width = _width(column)
            column["out"] = [position.get(name, -1) for name in names[start : start + width]]
            start += width

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the model inputs.

        Parameters
        ----------
        X : float array, shape (n, p)

        Returns
        -------
        float array, shape (n, f)
            One column a name in ``feature_names_out_``.
        """
        check_is_fitted(self, "columns_")
        values = self._matrix(X)
        if not self.imputes:
            return self._encode(values)
        rows = np.flatnonzero(np.isnan(values).any(axis=1))
        out = self._encode(np.nan_to_num(values) if rows.size else values)
        for some, versions in self.versions(values, rows):
            # The mean of one number is that number, which a mean of ten sums need not be.
            out[some] = versions[0] + (versions - versions[0]).mean(axis=0)
        return out

    def versions(self, X: ArrayLike, rows: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """Yield blocks of the rows asked for, with the m versions of their model inputs.

        Only for multiple imputation. No outcome takes part.

        Parameters
        ----------
        X : float array, shape (n, p)
        rows : int array

        Yields
        ------
        rows : int array, shape (r,)
        versions : float array, shape (m, r, f)
        """
        values = self._matrix(X)
        if rows.size and self.imputer_ is None:
            raise DataError("missing values in rows and no fitted imputation", "a fit with the outcome", "give fit a y")
        for begin in range(0, rows.size, _BLOCK):
            some = rows[begin : begin + _BLOCK]
            if self.imputer_ is not None:
                yield some, np.stack([self._encode(one) for one in self.imputer_.complete(values[some])])

    def _encode(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        filled = self._run_chain(values) if self.chain_ is not None else values
        out = np.empty((values.shape[0], len(self.feature_names_out_)))
        broken = None
        if self.missing == "complete_case":
            broken = np.isnan(values).any(axis=1)
        for j, column in enumerate(self.columns_):
            if column["kind"] == "category":
                state = _codes(values[:, j], column["levels"])
                for position, levels in zip(column["out"], column["table"].T, strict=True):
                    if position >= 0:
                        out[:, position] = levels[state]
                continue
            x = filled[:, j]
            if self.missing not in ("native", "complete_case"):
                gap = np.isnan(x)
                if gap.any():
                    x = np.where(gap, column["fill"], x)
                if column["indicator"] and column["out"][-1] >= 0:
                    out[:, column["out"][-1]] = gap
            terms = _terms(column["shape"], column["floor"], column["knots"], x)
            places = zip(column["terms"], column["out"], column["means"], column["weights"], strict=False)
            for t, position, mean, weight in places:
                if position >= 0:
                    term = terms[:, t]
                    out[:, position] = (term - mean) * weight if self.standardise else term
        if broken is not None and broken.any():
            out[broken] = np.nan
        return out

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the feature names as an array of objects."""
        check_is_fitted(self, "columns_")
        return np.asarray(self.feature_names_out_, dtype=object)

    def _chain_matrix(
        self, values: NDArray[np.float64], numbers: Sequence[int], helpers: Sequence[tuple[int, int]]
    ) -> NDArray[np.float64]:
        """Return the numbers to fill, and the categories' indicators that help to fill them."""
        matrix = np.empty((values.shape[0], len(numbers) + len(helpers)))
        matrix[:, : len(numbers)] = values[:, list(numbers)]
        for i, (j, level) in enumerate(helpers, start=len(numbers)):
            matrix[:, i] = _codes(values[:, j], self.columns_[j]["levels"]) == level
        return matrix

    def _fit_chain(self, values: NDArray[np.float64], gaps: NDArray[np.bool_]) -> dict[str, Any] | None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer

        numbers, helpers = [], []
        for j, variable in enumerate(self.variables):
            x = values[:, j]
            if variable.kind == "number":
                known = x[~gaps[:, j]]
                if known.size and known.min() < known.max():
                    numbers.append(j)
            else:
                levels = len(variable.categories)
                seen = np.flatnonzero(np.bincount(_codes(x, levels), minlength=levels + 2)[: levels + 1])
                helpers += [(j, int(level)) for level in seen[1:]]
        if not numbers or not gaps[:, numbers].any() or len(numbers) + len(helpers) < 2:
            return None
        matrix = self._chain_matrix(values, numbers, helpers)
        lower, upper = np.nanmin(matrix, axis=0), np.nanmax(matrix, axis=0)
        imputer = IterativeImputer(max_iter=_ROUNDS, random_state=0, min_value=lower, max_value=upper)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            imputer.fit(matrix)
        return {
            "numbers": numbers,
            "helpers": [list(h) for h in helpers],
            "start": [float(v) for v in imputer.initial_imputer_.statistics_],
            "lower": [float(v) for v in lower],
            "upper": [float(v) for v in upper],
            "rounds": int(imputer.n_iter_),
            "equations": [
                {
                    "target": int(step.feat_idx),
                    "sources": [int(s) for s in step.neighbor_feat_idx],
                    "weights": [float(w) for w in step.estimator.coef_],
                    "intercept": float(step.estimator.intercept_),
                }
                for step in imputer.imputation_sequence_
                if step.feat_idx < len(numbers)
            ],
        }

    def _run_chain(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        chain = self.chain_
        if chain is None:
            return values
        numbers = list(chain["numbers"])
        rows = np.flatnonzero(np.isnan(values[:, numbers]).any(axis=1))
        if not rows.size:
            return values
        helpers = [(int(j), int(level)) for j, level in chain["helpers"]]
        matrix = self._chain_matrix(values[rows], numbers, helpers)
        gaps = np.isnan(matrix)
        np.copyto(matrix, np.asarray(chain["start"]), where=gaps)
        for step in chain["equations"]:
            target = step["target"]
            gap = gaps[:, target]
            if gap.any():
                guess = matrix[np.ix_(gap, step["sources"])] @ np.asarray(step["weights"]) + step["intercept"]
                matrix[gap, target] = np.clip(guess, chain["lower"][target], chain["upper"][target])
        filled = values.copy()
        filled[np.ix_(rows, numbers)] = matrix[:, : len(numbers)]
        return filled

    def _describe(
        self, shapes: Sequence[tuple[str, int]], notes: _Notes, gaps: NDArray[np.bool_]
    ) -> list[dict[str, str]]:
        steps: list[dict[str, str]] = []

        def say(name: str, detail: str) -> None:
            steps.append({"name": name, "detail": detail})

        categories = [v for v in self.variables if v.kind == "category"]
        if self.missing == "complete_case":
            say(
                "Missing values",
                f"Rows with a missing predictor are left out: {notes.rows_used} of {notes.rows} training rows stay.",
            )
        elif self.imputes:
            say(
                "Missing values",
                f"Multiple imputation by chained equations with m = {self.imputations} imputed data sets: numbers by "
                "predictive mean matching, categories by logistic models, the outcome among the predictors of every "
                "equation (for survival its indicator and cumulative hazard). Each data set has a fit of its own; "
                "coefficients are pooled by Rubin's rules and predictions averaged. New rows are completed by "
                "equations without the outcome.",
            )
            say(
                "Imputed",
                f"{int(gaps.any(axis=1).sum())} of {notes.rows} training rows and {int(gaps.sum())} of {gaps.size} "
                "values.",
            )
        elif self.missing == "native":
            say("Missing values", "Missing numbers go to the model as missing; it learns where to send them.")
        elif self.missing == "iterative":
            rounds = self.chain_["rounds"] if self.chain_ else 0
            say(
                "Missing values",
                f"Missing numbers are filled by linear equations from the other predictors, chained over {rounds} "
                "rounds and kept within the range of the training rows."
                if rounds
                else "Missing numbers would be filled with the training mean; no training row lacked one.",
            )
        else:
            tail = "; an indicator says where a value was missing" if self.missing == "mean_indicators" else ""
            say("Missing values", f"Missing numbers are filled with the mean of the training rows{tail}.")
        say(
            "Incomplete predictors",
            f"{notes.incomplete} of {len(self.variables)} predictors have missing values in the training rows.",
        )
        if notes.shared:
            pairs = ", ".join(f"{name} with {first}" for name, first in notes.shared.items())
            say("Shared indicators", f"Predictors that are always missing together share one indicator: {pairs}.")
        for variable, column, (shape, _) in zip(self.variables, self.columns_, shapes, strict=True):
            if shape == "log":
                what = "log(1 + x), because zeros occur" if column["shape"] == "log1p" else "the natural logarithm"
                say("Logarithm", f"{variable.title} enters as {what}; lower values than in training are raised to it.")
            elif shape == "spline":
                knots = ", ".join(f"{t:.4g}" for t in column["knots"])
                less = " (fewer than asked, because values repeat)" if variable.name in notes.few_knots else ""
                say(
                    "Spline",
                    f"{variable.title} enters as a restricted cubic spline with knots at {knots}{less}."
                    if knots
                    else f"{variable.title} enters as a straight line, because too few values differ for a spline.",
                )
        if categories:
            how = {
                "one_hot": "one indicator a level; the first level is the reference",
                "one_hot_full": "one indicator for every level",
                "codes": "the number of its level",
            }[self.encode]
            wide = [v.title for v in categories if self.encode == "codes" and not self._coded(v)]
            tail = f"; with more than {_MOST_CODES} levels as one indicator a level: {', '.join(wide)}" if wide else ""
            say("Categories", f"Each of {len(categories)} categories enters as {how}{tail}.")
        if self.standardise:
            say("Scaling", "Numbers have mean 0 and standard deviation 1 in the training rows.")
        if notes.constant:
            say("Left out", f"Constant in the training rows: {', '.join(notes.constant)}.")
        return steps

    def _coded(self, variable: Variable) -> bool:
        return variable.kind == "category" and self.encode == "codes" and len(variable.categories) <= _MOST_CODES

    @property
    def nominal_features_(self) -> list[str]:
        """Output features that are codes of categories, for a model that can split on these."""
        check_is_fitted(self, "columns_")
        coded = {v.name for v in self.variables if self._coded(v)}
        return [name for name in self.feature_names_out_ if name in coded]

    @property
    def feature_scale_(self) -> list[float]:
        """What each output feature was multiplied by; 1 for indicators and categories."""
        check_is_fitted(self, "columns_")
        found: dict[str, list[float]] = {}
        for variable, column in zip(self.variables, self.columns_, strict=True):
            number = column["kind"] == "number"
            found[variable.name] = [float(w) for w in column["weights"]] if number else []
        seen: dict[str, int] = {}
        scales = []
        for origin in self.feature_origin_:
            place = seen.get(origin, 0)
            seen[origin] = place + 1
            weights = found[origin]
            scales.append(weights[place] if place < len(weights) else 1.0)
        return scales

    def to_state(self) -> dict[str, Any]:
        """Return everything that was learned, in JSON types."""
        check_is_fitted(self, "columns_")
        columns = []
        for column in self.columns_:
            record = dict(column)
            if column["kind"] == "category":
                record["table"] = [[None if np.isnan(v) else float(v) for v in row] for row in column["table"]]
            columns.append(record)
        return {
            "schema": 1,
            "options": {
                "missing": self.missing,
                "nonlinear": dict(self.nonlinear) if self.nonlinear else None,
                "standardise": bool(self.standardise),
                "encode": self.encode,
                "features": list(self.features) if self.features is not None else None,
                "imputations": int(self.imputations),
                "random_state": int(self.random_state),
            },
            "variables": [v.to_dict() for v in self.variables],
            "columns": columns,
            "chain": self.chain_,
            "imputer": None if self.imputer_ is None else self.imputer_.to_state(),
            "feature_names_out": list(self.feature_names_out_),
            "feature_origin": list(self.feature_origin_),
            "steps": [dict(step) for step in self.steps_],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Preparation:
        """Rebuild a fitted preparation from `to_state`."""
        options = dict(state["options"])
        if options["features"] is not None:
            options["features"] = tuple(options["features"])
        made = cls(tuple(Variable.from_dict(v) for v in state["variables"]), **options)
        made.n_features_in_ = len(made.variables)
        made.columns_ = []
        for record in state["columns"]:
            column = dict(record)
            if column["kind"] == "category":
                rows = [[np.nan if v is None else v for v in row] for row in column["table"]]
                column["table"] = np.asarray(rows, dtype=np.float64).reshape(column["levels"] + 2, -1)
            made.columns_.append(column)
        made.chain_ = dict(state["chain"]) if state["chain"] else None
        # A state from before multiple imputation has no such entry.
        imputer = state.get("imputer")
        made.imputer_ = None if imputer is None else MultipleImputation.from_state(imputer, made.variables)
        made.feature_names_out_ = list(state["feature_names_out"])
        made.feature_origin_ = list(state["feature_origin"])
        made.steps_ = [dict(step) for step in state["steps"]]
        return made


def _width(column: Mapping[str, Any]) -> int:
    if column["kind"] == "category":
        return int(column["table"].shape[1])
    return len(column["terms"]) + int(column["indicator"])


def _codes(x: NDArray[np.float64], levels: int) -> NDArray[np.intp]:
    """Return level codes, with `levels` for missing and `levels` + 1 for anything unknown."""
    gap = np.isnan(x)
    known = (x >= 0) & (x < levels) & (np.floor(x) == x)
    return np.where(known, np.where(known, x, 0), np.where(gap, levels, levels + 1)).astype(np.intp)


def _terms(shape: str, floor: float | None, knots: Sequence[float], x: NDArray[np.float64]) -> NDArray[np.float64]:
    if shape == "spline":
        return spline_basis(x, knots)
    if shape == "log":
        return np.asarray(np.log(np.maximum(x, floor or 0.0)))[:, None]
    if shape == "log1p":
        return np.asarray(np.log1p(np.maximum(x, 0.0)))[:, None]
    return x[:, None]
