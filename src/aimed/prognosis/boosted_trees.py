"""Boosted trees as plain arrays: read out of scikit-learn once, then asked, explained and stored without it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError
from aimed.fit.kernels.bins import MISSING, bin_rows
from aimed.prognosis.kernels.forest import add_values, find_leaves
from aimed.prognosis.kernels.forest_shap import STEP, add_shapley, longest_path

__all__ = ["BoostedTrees"]

_BLOCK = 2048


@dataclass(frozen=True, slots=True, eq=False)
class BoostedTrees:
    """A sum of trees.

    Parameters
    ----------
    start : float
        Value before the first tree.
    roots : int array, shape (trees + 1,)
        First node of each tree, and the number of nodes; arrays hold all trees after each other.
    feature, cut, left, missing_left, sets, cover : arrays
        As in `aimed.prognosis.kernels.forest.grow_tree`: the column asked, or -1 in a leaf; the last bin on the left,
        or -1 - s with s the row of `sets`; the left child (the right one follows), or the number of the leaf; where
        missing values go; bits of the bins on the left; training rows.
    value : float array, shape (leaves,)
    edges, edge_starts, nominal : arrays
        How columns become bins; see `aimed.fit.kernels.bins.bin_rows`.
    """

    start: float
    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    cut: NDArray[np.int32]
    left: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    sets: NDArray[np.uint8]
    cover: NDArray[np.float32]
    value: NDArray[np.float64]
    edges: NDArray[np.float64]
    edge_starts: NDArray[np.int64]
    nominal: NDArray[np.bool_]

    @classmethod
    def of(cls, boosted: Any) -> BoostedTrees:
        """Read a fitted histogram gradient boosting of scikit-learn with one tree a round.

        Parameters
        ----------
        boosted : HistGradientBoostingClassifier (two classes) or HistGradientBoostingRegressor
        """
        p = int(boosted.n_features_in_)
        nominal = np.zeros(p, dtype=bool) if boosted.is_categorical_ is None else np.array(boosted.is_categorical_)
        # Inside, scikit-learn puts categories first.
        order = np.concatenate((np.flatnonzero(nominal), np.flatnonzero(~nominal)))
        edges: list[NDArray[np.float64]] = [np.zeros(0)] * p
        for inside, column in enumerate(order):
            edges[column] = np.asarray(boosted._bin_mapper.bin_thresholds_[inside], dtype=np.float64)
        if nominal.any():
            known = boosted._preprocessor.named_transformers_["encoder"].categories_
            for column, levels in zip(np.flatnonzero(nominal), known, strict=True):
                numbers = np.asarray(levels, dtype=np.float64)
                edges[column] = numbers[~np.isnan(numbers)]
        roots, leaves, sets = [0], 0, 0
        parts: list[list[NDArray[Any]]] = [[] for _ in range(6)]
        bits: list[NDArray[np.uint8]] = []
        for (predictor,) in boosted._predictors:
            nodes = predictor.nodes
            size = nodes.size
            walk, left = _children_together(nodes)
            line = nodes[walk]
            leaf = line["is_leaf"] != 0
            left = left + roots[-1]
            left[leaf] = leaves + np.arange(int(leaf.sum()))
            by_set = ~leaf & (line["is_categorical"] != 0)
            cut = np.where(
                by_set, -1 - sets - line["bitset_idx"].astype(np.int64), line["bin_threshold"].astype(np.int64)
            )
            own = predictor.raw_left_cat_bitsets.astype("<u4").view(np.uint8).reshape(-1, 32).copy()
            for node in np.flatnonzero(by_set):
                if line["missing_go_to_left"][node]:
                    own[line["bitset_idx"][node], MISSING >> 3] |= 1 << (MISSING & 7)
            feature = np.where(leaf, -1, order[np.where(leaf, 0, line["feature_idx"].astype(np.int64))])
            for part, new in zip(
                parts, (feature, cut, left, line["missing_go_to_left"], line["count"], line["value"][leaf]), strict=True
            ):
                part.append(new)
            bits.append(own)
            roots.append(roots[-1] + size)
            leaves, sets = leaves + int(leaf.sum()), sets + own.shape[0]
        whole = [np.concatenate([np.zeros(0), *part]) for part in parts]
        return cls(
            start=float(boosted._baseline_prediction[0, 0]),
            roots=np.array(roots, dtype=np.int64),
            feature=whole[0].astype(np.int16),
            cut=whole[1].astype(np.int32),
            left=whole[2].astype(np.int32),
            missing_left=whole[3].astype(bool),
            sets=np.concatenate([np.zeros((0, 32), dtype=np.uint8), *bits]),
            cover=whole[4].astype(np.float32),
            value=whole[5].astype(np.float64),
            edges=np.concatenate([np.zeros(0), *edges]),
            edge_starts=np.concatenate(([0], np.cumsum([e.size for e in edges]))).astype(np.int64),
            nominal=nominal,
        )

    @property
    def n_features(self) -> int:
        """Columns, p."""
        return self.nominal.size

    def binned(self, X: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the bin of each value, shape (n, p)."""
        out = np.empty(X.shape, dtype=np.uint8)
        bin_rows(np.ascontiguousarray(X), self.edges, self.edge_starts, self.nominal, out)
        return out

    def raw(self, bins: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the sum of the trees for binned rows, shape (n,)."""
        out = np.full(bins.shape[0], self.start)
        trees, none = self.roots.size - 1, np.zeros((0, 0), dtype=bool)
        for a in range(0, bins.shape[0], _BLOCK):
            part = bins[a : a + _BLOCK]
            leaf = np.empty((trees, part.shape[0]), dtype=np.int32)
            find_leaves(
                part, self.roots[:-1], self.feature, self.cut, self.left, self.missing_left, self.sets, -1,
                np.zeros(0, dtype=np.uint8), leaf,
            )  # fmt: skip
            add_values(leaf, self.value, none, out[a : a + _BLOCK], np.zeros(part.shape[0], dtype=np.int64))
        return out

    def given(self, column: int, value: float) -> BoostedTrees:
        """Return the trees that are left when a number column has this value in every row.

        Cuts on the column are taken out. A node that stays has the cover of the way to it, scaled so that children
        keep their shares of the training rows at their own parent.
        """
        at = int(np.searchsorted(self.edges[self.edge_starts[column] : self.edge_starts[column + 1]], value, "left"))
        roots = [0]
        feature: list[int] = []
        cut: list[int] = []
        left: list[int] = []
        missing: list[bool] = []
        cover: list[float] = []
        old = [self.feature.tolist(), self.cut.tolist(), self.left.tolist(), self.cover.astype(float).tolist()]

        def settle(node: int) -> int:
            while old[0][node] == column:
                node = old[2][node] + (0 if at <= old[1][node] else 1)
            return node

        for t in range(self.roots.size - 1):
            base = len(feature)
            waiting = [(settle(int(self.roots[t])), 1.0)]
            done = 0
            while done < len(waiting):
                node, share = waiting[done]
                done += 1
                feature.append(old[0][node])
                cut.append(old[1][node])
                missing.append(bool(self.missing_left[node]))
                cover.append(share)
                if old[0][node] < 0:
                    left.append(old[2][node])
                    continue
                left.append(base + len(waiting))
                for child in (old[2][node], old[2][node] + 1):
                    waiting.append((settle(child), share * old[3][child] / old[3][node]))
            roots.append(len(feature))
        return BoostedTrees(
            self.start, np.array(roots, dtype=np.int64), np.array(feature, dtype=np.int16),
            np.array(cut, dtype=np.int32), np.array(left, dtype=np.int32), np.array(missing, dtype=bool), self.sets,
            np.array(cover, dtype=np.float32), self.value, self.edges, self.edge_starts, self.nominal,
        )  # fmt: skip

    def shapley(self, bins: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float]:
        """Return what each column adds to the sum of the trees, shape (n, p), and the base; exact, path-dependent."""
        most = longest_path(self.feature, self.left, self.roots)
        rules = max(1, math.ceil(most / (2 * STEP)))
        points = np.zeros((rules, 2, rules * STEP))
        for r in range(rules):
            t, w = np.polynomial.legendre.leggauss((r + 1) * STEP)
            points[r, 0, : t.size], points[r, 1, : t.size] = (t + 1) / 2, w / 2
        out = np.zeros(bins.shape)
        base = add_shapley(
            bins, self.roots, self.feature, self.cut, self.left, self.missing_left, self.sets, self.cover, self.value,
            points, out,
        )  # fmt: skip
        return out, self.start + float(base)

    def to_state(self) -> dict[str, Any]:
        """Return the trees in JSON types."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BoostedTrees:
        """Rebuild the trees from `to_state`.

        Raises
        ------
        DataError
            If the arrays do not fit together; loops over them would read outside memory.
        """
        arrays: dict[str, Any] = {"start": float(state["start"])}
        for f in fields(cls)[1:]:
            arrays[f.name] = np.asarray(state[f.name]).astype(_DTYPES[f.name])
        arrays["sets"] = arrays["sets"].reshape(-1, 32)
        trees = cls(**arrays)
        if not trees._sound():
            raise DataError("the arrays of the trees do not fit together", "a state written by aimed")
        return trees

    def _sound(self) -> bool:
        """Say whether every number that a loop uses as a place lies inside its array, and every walk ends."""
        size, p, roots, starts = self.feature.size, self.nominal.size, self.roots, self.edge_starts
        if any(v.shape != (size,) for v in (self.feature, self.cut, self.left, self.missing_left, self.cover)):
            return False
        if any(v.ndim != 1 for v in (roots, starts, self.edges, self.nominal, self.value)) or roots.size < 1:
            return False
        if starts.shape != (p + 1,) or starts[0] != 0 or starts[-1] != self.edges.size:
            return False
        if (np.diff(starts) < 0).any() or (np.diff(starts) > MISSING).any():
            return False
        if roots[0] != 0 or roots[-1] != size or (np.diff(roots) < 1).any():
            return False
        inner = self.feature >= 0
        child = self.left.astype(np.int64)
        end = np.repeat(roots[1:], np.diff(roots))
        walks = (child[inner] > np.flatnonzero(inner)).all() and (child[inner] + 1 < end[inner]).all()
        ends = (child[~inner] >= 0).all() and (child[~inner] < self.value.size).all()
        asks = (self.feature < p).all() and (self.cut[inner] >= -self.sets.shape[0]).all()
        numbers = np.isfinite(self.value).all() and math.isfinite(self.start) and np.isfinite(self.cover).all()
        return bool(walks and ends and asks and numbers and (self.cover > 0).all())


_DTYPES: Mapping[str, Any] = {
    "roots": np.int64, "feature": np.int16, "cut": np.int32, "left": np.int32, "missing_left": np.bool_,
    "sets": np.uint8, "cover": np.float32, "value": np.float64, "edges": np.float64, "edge_starts": np.int64,
    "nominal": np.bool_,
}  # fmt: skip


def _children_together(nodes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order of a tree's nodes in which right children follow left ones, and in it each left child."""
    walk, left, done = [0], [], 0
    while done < len(walk):
        node = nodes[walk[done]]
        done += 1
        left.append(len(walk))
        if not node["is_leaf"]:
            walk += [int(node["left"]), int(node["right"])]
    return np.array(walk, dtype=np.int64), np.array(left, dtype=np.int64)
