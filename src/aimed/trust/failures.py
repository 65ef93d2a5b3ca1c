"""Failure analysis: the plainly described groups of test patients in which the model errs most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from aimed.core import Variable
from aimed.core.cohort import SMALL_CELL

__all__ = ["error_groups"]

MIN_LEAF = 20


def error_groups(
    error: NDArray[np.float64], X: NDArray[np.float64], variables: Sequence[Variable], events: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Describe where the absolute error is largest, by a small tree on the predictors.

    Parameters
    ----------
    error : float array, shape (n,)
        Absolute difference between predicted probability and outcome.
    X : float array, shape (n, p)
        Predictors, NaN where missing.
    variables : sequence of Variable, length p
    events : bool array, shape (n,)

    Returns
    -------
    dict or None
        ``groups`` with a rule in words, n, events, mean error and share of the rows, worst first; None when
        there are too few rows to cut.

    Notes
    -----
    The tree is grown on the test part to describe it, so the groups are a place to look, not a finding with
    an interval.

    Examples
    --------
    >>> x = np.repeat([0.0, 1.0], 40)[:, None]
    >>> found = error_groups(x[:, 0] * 0.5, x, [Variable(name="shock")], x[:, 0] > 0)
    >>> found["groups"][0]["rule"], found["groups"][0]["n"]
    ('shock > 0.5', 40)
    """
    n = error.size
    if n < 2 * MIN_LEAF or X.shape[1] == 0:
        return None
    tree = DecisionTreeRegressor(
        max_depth=2,
        min_samples_leaf=max(MIN_LEAF, n // 20),
        # A cut that explains less than a hundredth of the spread is not worth a rule.
        min_impurity_decrease=0.01 * float(error.var()) + 1e-15,
        random_state=0,
    ).fit(X, error)
    leaf = tree.apply(X)
    gaps = np.asarray(np.isnan(X).any(axis=0))
    groups: list[dict[str, Any]] = []
    for node, rule in _rules(tree.tree_, variables, gaps):
        rows = leaf == node
        groups.append(
            {
                "rule": rule,
                "n": int(rows.sum()),
                "events": _suppressed(int(events[rows].sum())),
                "error": float(error[rows].mean()),
                "share": float(rows.mean()),
            }
        )
    groups.sort(key=lambda g: -float(g["error"]))
    return {
        "groups": groups,
        "overall": float(error.mean()),
        "note": "A tree of depth 2 describes where the absolute error is largest. It has no interval: a place to look.",
    }


def _suppressed(count: int) -> int | str:
    return f"<{SMALL_CELL}" if 0 < count < SMALL_CELL else count


def _rules(tree: Any, variables: Sequence[Variable], gaps: NDArray[np.bool_]) -> list[tuple[int, str]]:
    """Return each leaf with its path in words."""
    out: list[tuple[int, str]] = []

    def walk(node: int, path: tuple[str, ...]) -> None:
        if tree.children_left[node] < 0:
            out.append((node, " and ".join(path) or "all rows"))
            return
        v, cut = variables[tree.feature[node]], float(tree.threshold[node])
        name = v.label or v.name
        if v.kind == "category":
            low = ", ".join(v.categories[: int(np.floor(cut)) + 1])
            high = ", ".join(v.categories[int(np.floor(cut)) + 1 :])
            left, right = f"{name} is {low}", f"{name} is {high}"
        else:
            unit = f" {v.unit}" if v.unit else ""
            left, right = f"{name} ≤ {cut:.3g}{unit}", f"{name} > {cut:.3g}{unit}"
        if gaps[tree.feature[node]]:
            # The tree sends missing values to the side where they lower the error; the rule says which.
            if tree.missing_go_to_left[node]:
                left += " or missing"
            else:
                right += " or missing"
        walk(int(tree.children_left[node]), (*path, left))
        walk(int(tree.children_right[node]), (*path, right))

    walk(0, ())
    return out
