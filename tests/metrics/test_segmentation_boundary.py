"""Boundaries: each definition against a slow one written out, by all pairs of points; empty masks; far masks."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError
from aimed.metrics import (
    average_surface_distance,
    hausdorff,
    hd95,
    mean_average_surface_distance,
    segmentation_boundary,
    surface_dice,
)
from aimed.metrics.segmentation_boundary import surface_distances

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed, dimensions):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, dimensions)
    spacing = rng.uniform(0.3, 3, dimensions)
    a, b = (rng.random(shape) < rng.uniform(0.05, 0.95) for _ in range(2))
    a.flat[rng.integers(a.size)] = b.flat[rng.integers(b.size)] = True
    return a, b, spacing


def border_voxels(mask):
    """Voxels with a neighbour across a face that is outside the mask or the image."""
    found = []
    for place in np.argwhere(mask):
        for axis, step in product(range(mask.ndim), (-1, 1)):
            near = place.copy()
            near[axis] += step
            if not (0 <= near[axis] < mask.shape[axis]) or not mask[tuple(near)]:
                found.append(place)
                break
    return np.array(found)


def all_pairs(a, b, spacing):
    gaps = np.sqrt((((a[:, None] - b[None]) * spacing) ** 2).sum(axis=2))
    return gaps.min(axis=1), gaps.min(axis=0)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([2, 3]))
def test_voxels_against_all_pairs_of_border_voxels(seed, dimensions):
    a, b, spacing = draw(seed, dimensions)
    there, back = all_pairs(border_voxels(a), border_voxels(b), spacing)
    assert float(hausdorff(a, b, spacing)) == pytest.approx(max(there.max(), back.max()), rel=1e-12)
    each = [np.percentile(d, 95) for d in (there, back)]
    assert float(hd95(a, b, spacing)) == pytest.approx(max(each), rel=1e-12)
    both = np.concatenate([there, back])
    assert float(hd95(a, b, spacing, definition="pooled")) == pytest.approx(np.percentile(both, 95), rel=1e-12)
    assert float(average_surface_distance(a, b, spacing)) == pytest.approx(both.mean(), rel=1e-12)
    found = mean_average_surface_distance(a, b, spacing)
    assert float(found) == pytest.approx((there.mean() + back.mean()) / 2, rel=1e-12)
    assert float(surface_dice(a, b, spacing, 1.5)) == pytest.approx((both <= 1.5).mean(), rel=1e-12)


def corners(mask):
    """Corners of voxels around which some but not all voxels are in the mask, and those voxels as bits."""
    padded = np.pad(mask, 1)
    places, codes = [], []
    for place in np.ndindex(*(n + 1 for n in mask.shape)):
        around = padded[tuple(slice(p, p + 2) for p in place)].ravel()
        if around.any() and not around.all():
            places.append(place)
            codes.append(int("".join(str(int(v)) for v in around), 2))
    return np.array(places), np.array(codes)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([2, 3]))
def test_surface_elements_against_all_pairs_of_corners(seed, dimensions):
    a, b, spacing = draw(seed, dimensions)
    flat = dimensions == 2
    areas = segmentation_boundary._areas(tuple([1.0] * flat + list(spacing)), flat)
    (one, code_one), (two, code_two) = corners(a), corners(b)
    there, back = all_pairs(one, two, spacing)
    w, v = areas[code_one], areas[code_two]

    def percentile(d, weights, q):
        order = np.argsort(d, kind="stable")
        total, done = weights.sum(), 0.0
        for k in order:
            done += weights[k]
            if done / total >= q - 1e-12:
                return d[k]
        return d[order[-1]]

    found = surface_distances(a, b, spacing, "surfel")
    assert found.percentile(100) == pytest.approx(max(there.max(), back.max()), rel=1e-12)
    for q in (50, 95):
        expected = max(percentile(there, w, q / 100), percentile(back, v, q / 100))
        assert found.percentile(q) == pytest.approx(expected, rel=1e-12)
    means = (there @ w) / w.sum(), (back @ v) / v.sum()
    assert found.directed_means == pytest.approx(means, rel=1e-12)
    assert found.mean == pytest.approx((there @ w + back @ v) / (w.sum() + v.sum()), rel=1e-12)
    near = (w[there <= 1.2].sum() + v[back <= 1.2].sum()) / (w.sum() + v.sum())
    assert found.share_within(1.2) == pytest.approx(near, rel=1e-12)


def test_areas_of_surface_elements_are_those_of_solids():
    sides, spacing = np.array([9, 7, 8]), (2.0, 0.5, 1.5)
    areas = segmentation_boundary._areas(spacing, False)
    assert areas.shape == (256,)
    assert (areas[1:-1] > 0).all()
    assert areas == pytest.approx(areas[::-1])
    _, codes = corners(np.ones(sides, bool))
    lengths = (sides - 1) * spacing
    flat_faces = 2 * (lengths[0] * lengths[1] + lengths[0] * lengths[2] + lengths[1] * lengths[2])
    faces = [0b00001111, 0b11110000, 0b00110011, 0b11001100, 0b01010101, 0b10101010]
    assert areas[codes[np.isin(codes, faces)]].sum() == pytest.approx(flat_faces)
    z, y, x = np.mgrid[:41, :41, :41] - 20
    _, codes = corners(z * z + y * y + x * x < 17.5**2)
    ball = segmentation_boundary._areas((1.0, 1.0, 1.0), False)[codes].sum()
    # A surface through the middles of edges, made from 0 and 1, is rougher than the ball.
    assert 1.0 < ball / (4 * math.pi * 17.5**2) < 1.12


def test_lengths_of_contours():
    lengths = segmentation_boundary._areas((1.0, 3.0, 4.0), True)
    assert lengths[0b0011] == 4
    assert lengths[0b0101] == 3
    assert lengths[0b0001] == 2.5
    assert lengths[0b1001] == 5
    assert lengths[[0, 15]].tolist() == [0, 0]


@pytest.mark.parametrize("definition", ["voxel", "pooled", "surfel"])
def test_far_masks_are_measured_by_the_tree_to_the_same_bits(definition, monkeypatch):
    rng = np.random.default_rng(5)
    a, b = np.zeros((2, 12, 40, 30), dtype=bool)
    a[:4, :9, :8], b[6:, 25:, 18:] = rng.random((4, 9, 8)) < 0.5, rng.random((6, 15, 12)) < 0.5
    spacing = (1.3, 0.7, 0.9)
    near = surface_distances(a, b, spacing, definition)
    calls = []
    tree = segmentation_boundary.cKDTree
    monkeypatch.setattr(segmentation_boundary, "_MOST_OFFSETS", 12)
    monkeypatch.setattr(segmentation_boundary, "cKDTree", lambda *p, **k: calls.append(1) or tree(*p, **k))
    far = surface_distances(a, b, spacing, definition)
    assert len(calls) == 2
    np.testing.assert_allclose(near.from_reference, far.from_reference, rtol=1e-14)
    np.testing.assert_allclose(near.from_prediction, far.from_prediction, rtol=1e-14)


@pytest.mark.parametrize("definition", ["voxel", "pooled", "surfel"])
def test_equal_masks_are_no_distance_apart_and_order_does_not_matter(definition):
    a, b, spacing = draw(11, 3)
    assert float(hausdorff(a, a, spacing, definition=definition)) == 0
    assert float(surface_dice(a, a, spacing, 0.0, definition=definition)) == 1
    one, two = hd95(a, b, spacing, definition=definition), hd95(b, a, spacing, definition=definition)
    assert float(one) == float(two)
    assert one.method.startswith(segmentation_boundary.DEFINITIONS[definition])
    assert one.n > 0


def test_space_around_masks_does_not_matter_but_the_edge_of_the_image_is_outside():
    a, b, spacing = draw(3, 3)
    wide = [np.pad(m, ((2, 3), (1, 0), (4, 2))) for m in (a, b)]
    for definition in ("voxel", "pooled", "surfel"):
        tight = hd95(a, b, spacing, definition=definition)
        assert float(tight) == float(hd95(*wide, spacing, definition=definition))


def test_steps_of_a_spacing_are_within_a_tolerance_of_as_many_steps():
    mask = np.zeros((1, 12))
    mask[0, 2:5] = 1
    for spacing, steps in ((0.1, 3), (np.float32(0.9), 1), (0.7, 3)):
        found = surface_dice(mask, np.roll(mask, steps, axis=1), (1.0, spacing), steps * round(float(spacing), 6))
        assert float(found) == 1


def test_empty_masks_follow_the_rule_that_is_named():
    nothing, some = np.zeros((3, 4, 12)), np.zeros((3, 4, 12))
    some[1, 1, 1] = 1
    for metric in (hausdorff, hd95, average_surface_distance, mean_average_surface_distance):
        assert float(metric(nothing, nothing, (1, 1, 1))) == 0
        assert math.isnan(metric(nothing, nothing, (1, 1, 1), empty="omit"))
        for a, b in ((some, nothing), (nothing, some)):
            assert float(metric(a, b, (1, 1, 1))) == 13
            assert float(metric(a, b, (1, 1, 1), empty="omit")) == 13
            assert float(metric(a, b, (1, 1, 1), empty="brats")) == 374
    found = hd95(nothing, some, (2, 2, 2))
    assert "the reference mask is empty, the other is not: worst value 26" in found.note
    assert "image diagonal" in found.method
    assert float(surface_dice(nothing, nothing, (1, 1, 1), 1.0)) == 1
    assert float(surface_dice(some, nothing, (1, 1, 1), 1.0)) == 0
    assert float(hd95(np.zeros((3, 4)), np.ones((3, 4)), (1, 1))) == 5
    with pytest.raises(DataError, match="a mask is empty"):
        surface_distances(nothing, some, (1, 1, 1))


def test_what_is_not_an_option_is_refused():
    mask = np.ones((2, 2))
    with pytest.raises(DataError, match="definition"):
        hd95(mask, mask, (1, 1), definition="mesh")
    with pytest.raises(DataError, match="definition"):
        hd95(0 * mask, mask, (1, 1), definition="mesh")
    with pytest.raises(DataError, match="percentile"):
        hausdorff(mask, mask, (1, 1), percentile=0)
    for tolerance in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="tolerance"):
            surface_dice(mask, mask, (1, 1), tolerance)
    with pytest.raises(DataError, match="spacing"):
        hd95(mask, mask, (1, 1, 1))
