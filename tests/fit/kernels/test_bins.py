"""The byte of a value: the number of edges below it, or the place of its category."""

from __future__ import annotations

import numpy as np

from aimed.fit.kernels import bins as kernels


def test_bins_are_the_number_of_edges_below():
    rng = np.random.default_rng(0)
    X = np.round(rng.normal(size=(500, 2)), 1)
    X[::7, 0] = np.nan
    edges = [np.unique(np.round(rng.normal(size=40), 1)), np.unique(X[::3, 1])]
    starts = np.cumsum([0, edges[0].size, edges[1].size])
    out = np.empty((500, 2), np.uint8)
    kernels.bin_rows(X, np.concatenate(edges), starts, np.array([False, True]), out)
    known = ~np.isnan(X[:, 0])
    np.testing.assert_array_equal(out[known, 0], np.searchsorted(edges[0], X[known, 0], side="left"))
    assert (out[~known, 0] == kernels.MISSING).all()
    same = np.isin(X[:, 1], edges[1])
    np.testing.assert_array_equal(edges[1][out[same, 1]], X[same, 1])
    assert not same.all()
    assert (out[~same, 1] == kernels.MISSING).all()
