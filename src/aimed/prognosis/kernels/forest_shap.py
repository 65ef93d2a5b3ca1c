"""Exact Shapley values of a forest by quadrature: each tree is walked once a row, whatever its depth.

In the game that Lundberg's TreeSHAP plays, a leaf with value v gives v · Π_k g_k, where g_k is 1 or 0 for a known
variable of its path (is the row on the leaf's side?) and the share z_k of training rows that took that side for an
unknown one. Its Shapley value of variable j is v (o_j - z_j) ∫₀¹ Π_{k ≠ j} (o_k t + z_k (1 - t)) dt, because
|S|! (d - |S| - 1)! / d! is the integral of t^|S| (1 - t)^(d - |S| - 1). The product is a polynomial in t, which
Gauss-Legendre quadrature integrates exactly; all its factors are positive, so that nothing cancels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aimed.metrics.kernels.compiled import compiled

__all__ = ["STEP", "add_shapley", "longest_path"]

STEP = 4
"""Quadrature points come in multiples of this, for the processor's vectors."""


@compiled
def _twins(
    feature: NDArray[np.int16], left: NDArray[np.int32], root: int, stop: int, twin: NDArray[np.int64],
    parent: NDArray[np.int64],
) -> int:  # fmt: skip
    """Fill each node's nearest ancestor whose edge asks the same column, or -1; return the most columns on a path."""
    distinct = np.zeros(stop - root, np.int64)
    most = 0
    parent[0] = -1
    for u in range(stop - root):
        j = feature[root + u]
        if j < 0:
            most = max(most, distinct[u])
            continue
        same = u
        while parent[same] >= 0 and feature[root + parent[same]] != j:
            same = parent[same]
        same = same if parent[same] >= 0 else -1
        for child in range(left[root + u] - root, left[root + u] - root + 2):
            parent[child] = u
            twin[child] = same
            distinct[child] = distinct[u] + (same < 0)
    return most


@compiled
def longest_path(feature: NDArray[np.int16], left: NDArray[np.int32], roots: NDArray[np.int64]) -> int:
    """Return the most different columns that a path from a root to a leaf asks.

    Parameters
    ----------
    feature, left : arrays, shape (nodes,)
        As in `aimed.prognosis.kernels.forest.grow_tree`, of all trees after each other.
    roots : int array, shape (trees + 1,)
        First node of each tree, and the number of nodes.
    """
    most = 0
    for t in range(roots.size - 1):
        size = roots[t + 1] - roots[t]
        most = max(
            most,
            _twins(feature, left, roots[t], roots[t + 1], np.empty(size, np.int64), np.empty(size, np.int64)),
        )
    return most


@compiled
def add_shapley(
    bins: NDArray[np.uint8], roots: NDArray[np.int64], feature: NDArray[np.int16], cut: NDArray[np.int32],
    left: NDArray[np.int32], missing_left: NDArray[np.bool_], sets: NDArray[np.uint8], cover: NDArray[np.float32],
    value: NDArray[np.float64], points: NDArray[np.float64], out: NDArray[np.float64],
) -> float:  # fmt: skip
    """Add each row's Shapley values, tree by tree, and return the sum of the trees' mean values.

    Parameters
    ----------
    bins : uint8 array, shape (n, p)
    roots : int array, shape (trees + 1,)
    feature, cut, left, missing_left, sets, cover : arrays
        As in `aimed.prognosis.kernels.forest.grow_tree`, of all trees after each other.
    value : float array, shape (leaves,)
    points : float array, shape (s, 2, s * STEP)
        In row m the points and weights of Gauss-Legendre quadrature on [0, 1] with (m + 1) * STEP points.
    out : float array, shape (n, p)
    """
    n, p = bins.shape
    base = 0.0
    for tree in range(roots.size - 1):
        root, stop = roots[tree], roots[tree + 1]
        size = stop - root
        twin, parent = np.full(size, -1, np.int64), np.empty(size, np.int64)
        path = _twins(feature, left, root, stop, twin, parent)
        if path == 0:
            base += value[left[root]]
            continue
        degree = 0
        while 2 * (degree + 1) * STEP < path:
            degree += 1
        m = (degree + 1) * STEP
        t, w = points[degree, 0], points[degree, 1]

        # What an edge does to the product and adds to its column, where the row is on its side and where it is not.
        on, off = np.empty((size, m)), np.empty((size, m))
        gain, loss = np.empty((size, m)), np.empty((size, m))
        z, share, reach = np.ones(size), np.ones(size), np.ones(size)
        for v in range(1, size):
            u = parent[v]
            share[v] = np.float64(cover[root + v]) / np.float64(cover[root + u])
            before = z[twin[v]] if twin[v] >= 0 else 1.0
            z[v] = share[v] * before
            reach[v] = reach[u] * share[v]
            for q in range(m):
                f = t[q] + z[v] * (1.0 - t[q])
                g = t[q] + before * (1.0 - t[q])
                on[v, q] = f / g
                off[v, q] = z[v] * (1.0 - t[q]) / g
                gain[v, q] = (1.0 - z[v]) / f - (1.0 - before) / g
                loss[v, q] = -1.0 / (1.0 - t[q]) - (1.0 - before) / g
            if feature[root + v] < 0:
                base += reach[v] * value[left[root + v]]

        product, carried = np.empty((size, m)), np.empty((size, m))
        known = np.ones(size, np.bool_)
        for q in range(m):
            product[0, q] = w[q]
        added = np.zeros((p, m))
        for i in range(n):
            for u in range(size):
                j = feature[root + u]
                if j < 0:
                    there = value[left[root + u]]
                    for q in range(m):
                        carried[u, q] = product[u, q] * there
                    continue
                b = bins[i, j]
                c = cut[root + u]
                if c < 0:
                    goes = ((sets[-1 - c, b >> 3] >> (b & 7)) & 1) == 1
                else:
                    goes = missing_left[root + u] if b == 255 else b <= c
                first = left[root + u] - root
                here = True
                if twin[first] >= 0:
                    here = known[twin[first]]
                for s in range(2):
                    v = first + s
                    if not here:
                        known[v] = False
                        shrink = share[v]
                        for q in range(m):
                            product[v, q] = product[u, q] * shrink
                    elif goes == (s == 0):
                        known[v] = True
                        for q in range(m):
                            product[v, q] = product[u, q] * on[v, q]
                    else:
                        known[v] = False
                        for q in range(m):
                            product[v, q] = product[u, q] * off[v, q]
            for u in range(size - 1, -1, -1):
                j = feature[root + u]
                if j < 0:
                    continue
                v = left[root + u] - root
                for q in range(m):
                    carried[u, q] = carried[v, q] + carried[v + 1, q]
                # Once off a column's side, later cuts on it change nothing.
                if twin[v] < 0 or known[twin[v]]:
                    if known[v]:
                        for q in range(m):
                            added[j, q] += carried[v, q] * gain[v, q] + carried[v + 1, q] * loss[v + 1, q]
                    else:
                        for q in range(m):
                            added[j, q] += carried[v, q] * loss[v, q] + carried[v + 1, q] * gain[v + 1, q]
            for j in range(p):
                total = 0.0
                for q in range(m):
                    total += added[j, q]
                    added[j, q] = 0.0
                out[i, j] += total
    return base
