"""A rule for treatment that fits in a sentence: the best tree of one or two questions, found by trying them all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aimed.core.errors import DataError
from aimed.metrics.arrays import FloatArray, IntArray, patient_codes, vector
from aimed.treatment.kernels.policy_tree import best_root, best_stump, fill_sums

__all__ = ["PolicyTree", "cross_fitted_policy"]

_MOST_BINS = 256
_SLACK = 1e-10


def _table(X: ArrayLike, columns: int | None = None) -> FloatArray:
    try:
        table = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        table = np.empty(0)
    if table.ndim != 2 or not table.size or (columns is not None and table.shape[1] != columns):
        wanted = "(n, p)" if columns is None else f"(n, {columns})"
        raise DataError(f"X has shape {np.shape(X)}", f"numbers of shape {wanted}")
    bad = int((~np.isfinite(table)).sum())
    if bad:
        raise DataError(f"X has {bad} values that are not finite", "finite numbers", "impute them first")
    return table


def _edges(column: FloatArray, most: int) -> FloatArray:
    """Return thresholds between neighbouring values; where there are too many, those nearest to even quantiles."""
    values, count = np.unique(column, return_counts=True)
    chosen = np.arange(values.size - 1)
    if values.size > most:
        below = np.cumsum(count)[:-1].astype(np.float64)
        wanted = np.arange(1, most) * (column.size / most)
        after = np.minimum(np.searchsorted(below, wanted), below.size - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(below[before] - wanted) <= np.abs(below[after] - wanted)
        taken = np.unique(np.where(nearer, before, after))
        # Where one value holds many rows, several quantiles want one threshold: what is left goes to the others.
        rest = np.setdiff1d(chosen, taken)
        more = np.linspace(0, rest.size - 1, min(most - 1 - taken.size, rest.size)).round().astype(np.int64)
        chosen = np.union1d(taken, rest[more])
    return _short(values[chosen], values[chosen + 1])


def _short(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return numbers from low up to below high with as few digits as can be, so that a rule is what it says."""
    out, left = low.copy(), np.ones(low.size, dtype=bool)
    if not left.any():
        return out
    first = -int(np.floor(np.log10(max(float(np.abs([low, high]).max()), 1e-300))))
    middle = low + (high - low) / 2
    for digits in range(first, first + 17):
        if digits > 300 or not left.any():
            break
        for shift in (0.5, 0.0):
            nearest = np.round(middle - shift * 10.0**-digits, digits)
            fits = left & (nearest >= low) & (nearest < high)
            out[fits] = nearest[fits]
            left &= ~fits
    return out


class PolicyTree(BaseEstimator):  # type: ignore[misc]
    """The tree of at most two levels of yes/no questions that treats the patients with the largest sum of scores.

    Every tree over the thresholds is tried, so that none is better on the rows it was made from. What it is worth must
    be judged on other rows, with `aimed.treatment.policy.evaluate_policy`: on its own rows it looks better than it is.

    Parameters
    ----------
    max_depth : {0, 1, 2}
        Levels of questions; 0 treats all or nobody.
    min_samples_leaf : int or float
        Least patients that an answer must hold; below 1 a share of the rows.
    max_bins : int
        Thresholds tried in a column are at most one fewer; all of them where it has no more values. 2 to 256.

    Attributes
    ----------
    nodes_ : list of dict
        ``feature``, ``threshold`` (at or below goes to ``left``, above to ``right``) or ``treat``; ``n`` and
        ``mean_score`` of its rows. Node 0 is the root.
    names_ : list of str
    n_features_in_ : int
    value_ : float
        Mean score gained over treating nobody on the rows of the fit: too hopeful.

    Notes
    -----
    Formula: the largest sum of scores over the treated, over all trees; a split that gains nothing is left out, ties go
        to the first column and the lowest threshold.

    References
    ----------
    Athey and Wager, Econometrica 2021;89:133. Zhou, Athey and Wager, Operations Research 2023;71:148. Sverdrup et al.,
    JOSS 2020;5:2232 (policytree).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(20, 80, (400, 1)).round()
    >>> scores = np.where(X[:, 0] > 50, 1.0, -1.0) + rng.normal(size=400)
    >>> tree = PolicyTree(max_depth=1).fit(scores, X, ["age"])
    >>> print(tree.rules()[1][:20])
    Treat where age > 50
    """

    def __init__(self, max_depth: int = 2, min_samples_leaf: int | float = 0.05, max_bins: int = _MOST_BINS) -> None:
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.max_bins = max_bins

    def _least(self, n: int) -> int:
        least = self.min_samples_leaf
        if not least > 0 or (least >= 1 and least != int(least)):
            raise DataError("min_samples_leaf is neither a share nor a whole number", "0.05, or 20")
        return max(1, math.ceil(least * n - 1e-9) if least < 1 else int(least))

    def fit(self, scores: ArrayLike, X: ArrayLike, names: Sequence[str] | None = None) -> Self:
        """Find the tree.

        Parameters
        ----------
        scores : array, shape (n,)
            Doubly robust benefit of each patient less burden and cost (`aipw_scores`, `Preferences.net`), from models
            that did not see the row.
        X : array, shape (n, p)
            What may be asked; finite.
        names : sequence of str, optional
            Of the columns; "x0", "x1", ... when absent.

        Raises
        ------
        DataError
            If a setting is out of range, shapes disagree or a value is not finite.
        """
        table = _table(X)
        n, p = table.shape
        gain = vector("scores", scores, n)
        called = [f"x{j}" for j in range(p)] if names is None else [str(v) for v in names]
        if len(called) != p:
            raise DataError(f"{len(called)} names for {p} columns", "one name a column")
        if self.max_depth not in (0, 1, 2):
            raise DataError("max_depth is not 0, 1 or 2", "a tree of at most two levels")
        if not 2 <= self.max_bins <= _MOST_BINS:
            raise DataError(f"max_bins lies outside 2 to {_MOST_BINS}", "up to 256 bins a column")
        least = self._least(n)
        edges = [_edges(column, self.max_bins) for column in table.T]
        bins = np.column_stack([np.searchsorted(e, c, side="left") for e, c in zip(edges, table.T, strict=True)])
        width = np.array([e.size + 1 for e in edges], dtype=np.int64)
        self.names_, self.n_features_in_ = called, p
        self.flags_ = [bool(np.isin(column, (0.0, 1.0)).all()) for column in table.T]
        self.nodes_: list[dict[str, Any]] = []
        slack = _SLACK * float(np.abs(gain).sum())
        whole = np.ascontiguousarray(bins.astype(np.uint8))
        self._grow(whole, gain, np.arange(n), edges, width, least, slack, int(self.max_depth))
        treated = self.predict(table) == 1
        self.value_ = float(gain[treated].sum()) / n
        return self

    def _grow(
        self,
        bins: NDArray[np.uint8],
        scores: FloatArray,
        rows: IntArray,
        edges: Sequence[FloatArray],
        width: IntArray,
        least: int,
        slack: float,
        depth: int,
    ) -> int:
        """Add the best tree on some rows; return the number of its first node."""
        place, out = len(self.nodes_), np.full(2, -1, dtype=np.int64)
        inner, own = np.ascontiguousarray(bins[rows]), scores[rows]
        total = float(own.sum())
        node: dict[str, Any] = {"n": int(rows.size), "mean_score": total / rows.size}
        self.nodes_.append(node)
        if depth == 2:
            best_root(inner, own, width, least, slack, out)
        if depth >= 1 and out[0] < 0:
            sums, counts = np.zeros((width.size, int(width.max()))), np.zeros((width.size, int(width.max())), np.int64)
            fill_sums(inner, own, sums, counts)
            best_stump(sums, counts, width, total, rows.size, least, slack, out)
            depth = 1
        if out[0] < 0:
            node["treat"] = bool(total > slack)
            return place
        feature, last = int(out[0]), int(out[1])
        below = inner[:, feature] <= last
        more = (edges, width, least, slack, depth - 1)
        node |= {"feature": feature, "threshold": float(edges[feature][last])}
        node["left"] = self._grow(bins, scores, rows[below], *more)
        node["right"] = self._grow(bins, scores, rows[~below], *more)
        return place

    def apply(self, X: ArrayLike) -> IntArray:
        """Return the number of each row's leaf, shape (n,).

        Examples
        --------
        >>> PolicyTree(max_depth=0).fit([1.0, 2.0], [[0.0], [1.0]]).apply([[5.0]])
        array([0])
        """
        check_is_fitted(self, "nodes_")
        table = _table(X, self.n_features_in_)
        at = np.zeros(table.shape[0], dtype=np.int64)
        # A parent comes before its children.
        for place, node in enumerate(self.nodes_):
            if "feature" in node:
                here = at == place
                at[here] = np.where(table[here, node["feature"]] <= node["threshold"], node["left"], node["right"])
        return at

    def predict(self, X: ArrayLike) -> FloatArray:
        """Return 1 for the patients to treat, else 0, shape (n,).

        Examples
        --------
        >>> PolicyTree(max_depth=0).fit([1.0, 2.0], [[0.0], [1.0]]).predict([[5.0]])
        array([1.])
        """
        leaves = self.apply(X)
        treat = np.array([float(node.get("treat", False)) for node in self.nodes_])
        return np.asarray(treat[leaves])

    def rules(self) -> list[str]:
        """Return one sentence a leaf: what to do, where, and on how many patients it rests.

        Examples
        --------
        >>> PolicyTree(max_depth=0).fit([1.0, 2.0], [[0.0], [1.0]]).rules()
        ['Treat all patients (2 of 2 patients in the fit).']
        """
        check_is_fitted(self, "nodes_")
        return [
            f"{'Treat' if node['treat'] else 'Do not treat'} {where} "
            f"({node['n']} of {self.nodes_[0]['n']} patients in the fit)."
            for node, where in self._leaves(0, {})
        ]

    def _leaves(self, place: int, limits: Mapping[int, tuple[float, float]]) -> list[tuple[dict[str, Any], str]]:
        node = self.nodes_[place]
        if "feature" not in node:
            parts = [self._condition(j, low, high) for j, (low, high) in limits.items()]
            return [(node, "where " + " and ".join(parts) if parts else "all patients")]
        j, cut = node["feature"], node["threshold"]
        low, high = limits.get(j, (-math.inf, math.inf))
        left = self._leaves(node["left"], {**limits, j: (low, min(high, cut))})
        return left + self._leaves(node["right"], {**limits, j: (max(low, cut), high)})

    def _condition(self, column: int, low: float, high: float) -> str:
        name = self.names_[column]
        if self.flags_[column]:
            return f"{name} = {0 if high < 1 else 1}"
        if math.isinf(low):
            return f"{name} \N{LESS-THAN OR EQUAL TO} {high:.15g}"
        return f"{name} > {low:.15g}" + ("" if math.isinf(high) else f" and \N{LESS-THAN OR EQUAL TO} {high:.15g}")

    def to_state(self) -> dict[str, Any]:
        """Return the tree in JSON types.

        Examples
        --------
        >>> tree = PolicyTree(max_depth=0).fit([1.0, 2.0], [[0.0], [1.0]])
        >>> PolicyTree.from_state(tree.to_state()).rules() == tree.rules()
        True
        """
        check_is_fitted(self, "nodes_")
        return {
            "kind": "policy_tree",
            "parameters": self.get_params(),
            "names": list(self.names_),
            "flags": list(self.flags_),
            "nodes": [dict(node) for node in self.nodes_],
            "value": self.value_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], estimators: Mapping[str, Any] | None = None) -> Self:
        """Rebuild a tree from `to_state`; it has no other parts.

        Raises
        ------
        DataError
            If the record is not of a policy tree, or its nodes do not form one.
        """
        if state.get("kind") != "policy_tree":
            raise DataError("the record is not of a policy tree", "what to_state returned")
        tree = cls(**state["parameters"])
        tree.names_, tree.flags_ = list(state["names"]), [bool(v) for v in state["flags"]]
        tree.n_features_in_, tree.value_ = len(tree.names_), float(state["value"])
        tree.nodes_ = [dict(node) for node in state["nodes"]]
        for place, node in enumerate(tree.nodes_):
            inner = "feature" in node
            children = [node.get("left", 0), node.get("right", 0)] if inner else []
            sound = all(place < child < len(tree.nodes_) for child in children)
            if (
                not sound
                or (inner and not 0 <= node["feature"] < tree.n_features_in_)
                or (not inner and "treat" not in node)
            ):
                raise DataError("the nodes of the record do not form a tree", "what to_state returned")
        return tree


def cross_fitted_policy(
    scores: ArrayLike,
    X: ArrayLike,
    *,
    tree: PolicyTree | None = None,
    folds: int = 5,
    patient: ArrayLike | None = None,
    random_state: int = 0,
) -> FloatArray:
    """Return what trees say of patients they were not made from: each row by the tree of the other folds.

    The value of this policy (`evaluate_policy`) says what trees of this kind are worth; it is not that of any one tree.

    Parameters
    ----------
    scores, X
        As in `PolicyTree.fit`.
    tree : PolicyTree, optional
        With the settings to use; it is not fitted itself.
    folds : int
    patient : array, shape (n,), optional
        Rows of one patient stay together.
    random_state : int

    Returns
    -------
    float array, shape (n,)
        1 treat, 0 do not.

    Raises
    ------
    DataError
        If there are fewer patients than folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> policy = cross_fitted_policy(X[:, 0] + rng.normal(size=200), X, tree=PolicyTree(max_depth=1))
    >>> bool((policy == (X[:, 0] > 0)).mean() > 0.8)
    True
    """
    table = _table(X)
    gain = vector("scores", scores, table.shape[0])
    codes = patient_codes(patient, gain.size)
    units = int(codes.max()) + 1
    if folds < 2 or units < folds:
        raise DataError(f"{folds} folds of {units} patients", "2 folds or more, and a patient for each")
    settings = (PolicyTree() if tree is None else tree).get_params()
    fold = (np.random.default_rng(random_state).permutation(units) % folds)[codes]
    out = np.empty(gain.size)
    for k in range(folds):
        here = fold == k
        out[here] = PolicyTree(**settings).fit(gain[~here], table[~here]).predict(table[here])
    return out
