"""Loops over voxels against the same loops in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.metrics.kernels import segmentation as kernels


def both(kernel, inputs, outputs):
    """Run a kernel compiled and plain; return what it gives and writes."""
    done = [np.copy(o) for o in outputs], [np.copy(o) for o in outputs]
    found = kernel(*inputs, *done[0]), kernel.py_func(*inputs, *done[1])
    assert found[0] == found[1]
    for fast, plain in zip(*done, strict=True):
        np.testing.assert_array_equal(fast, plain)
    return found[0], done[0]


@pytest.mark.parametrize("seed", range(4))
def test_labels_that_meet(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.choice([0, 0, 0, 1, 5], (2, 3, 4, 5)).astype(np.uint8)
    a[1], b[1] = 0, 0
    regions = np.zeros(256, np.uint64)
    regions[[1, 5]] = 1, 3
    if seed == 3:
        regions[0] = 4
    outputs = [np.zeros((256, 256), np.int64), *(np.zeros(n, np.uint64) for n in (3, 4, 5))]
    passed, (table, along_z, _, along_x) = both(kernels.meet_labels, (a, b, regions), outputs)
    assert table.sum() + passed == a.size
    assert (passed > 0) == (seed != 3)
    assert table[5, 1] == ((a == 5) & (b == 1)).sum()
    assert [bool(v & np.uint64(2)) for v in along_z] == ((a == 5) | (b == 5)).any(axis=(1, 2)).tolist()
    assert [bool(v & np.uint64(1)) for v in along_x] == ((a > 0) | (b > 0)).any(axis=(0, 1)).tolist()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_surfaces_and_distances(flat, seed):
    rng = np.random.default_rng(seed)
    shape = (1 if flat else 4, 5, 6)
    labels = rng.choice([0, 2, 3], shape).astype(np.uint8)
    wanted = np.zeros(256, np.uint8)
    wanted[3] = 1
    _, (mask,) = both(kernels.cut_mask, (labels, wanted, 0, 1, 2), [np.zeros((shape[0] + 2, 6, 6), np.uint8)])
    assert np.array_equal(mask[1:-1, 1:-1, 1:-1], labels[:, 1:, 2:] == 3)
    inner = tuple(n - 2 for n in mask.shape)
    count, (surface,) = both(kernels.surface_voxels, (mask, flat), [np.zeros(inner, np.uint8)])
    assert count == surface.sum()
    corner = (1 if flat else inner[0] + 1, inner[1] + 1, inner[2] + 1)
    marked, (codes, edge) = both(kernels.surface_corners, (mask, flat), [np.zeros(corner, np.uint8)] * 2)
    assert marked == edge.sum()
    assert np.array_equal(edge > 0, (codes > 0) & (codes < (15 if flat else 255)))
    _, (gaps,) = both(kernels.row_gaps, (surface,), [np.zeros(inner, np.int16)])
    rows = surface.reshape(-1, inner[2])
    for row, gap in zip(rows, gaps.reshape(rows.shape), strict=True):
        places = np.flatnonzero(row)
        expected = [np.abs(places - x).min() if places.size else 32767 for x in range(row.size)]
        assert gap.tolist() == expected
    offsets = np.array([[0, 0], [0, 1], [0, -1]]).T.astype(np.int64)
    target = np.roll(surface, 1, axis=1)
    near = np.zeros_like(gaps)
    kernels.row_gaps(target, near)
    outputs = [np.zeros(count), np.zeros(count, np.int64)]
    inputs = (surface, near, 0.5, *np.ascontiguousarray(offsets), np.array([0.0, 1.0, 1.0]), False)
    left, (squares, places) = both(kernels.directed_distances, inputs, outputs)
    assert left == (squares < 0).sum()
    assert places.tolist() == np.flatnonzero(surface).tolist()
