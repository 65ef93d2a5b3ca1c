"""Changes of a grid move the affine with the voxels and are undone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core import DataError
from aimed.core.grid import Crop, Grid, Resampling, Turn, orientation_of

CODES = ["".join(p) for letters in itertools.product("LR", "PA", "IS") for p in itertools.permutations(letters)]


def oblique(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([0.9, -1.1, 3.0])
    affine[:3, 3] = -40, 30, 12
    return affine


def place(grid: Grid) -> np.ndarray:
    """Return the mm of every voxel, shape (z, y, x, 3)."""
    z, y, x = np.indices(grid.shape)
    return np.stack([x, y, z], axis=-1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def test_there_are_48_orientations_and_nibabel_names_them_alike():
    nib = pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    assert len(CODES) == 48
    for code in CODES:
        grid = Turn.to(Grid((3, 4, 5), oblique(0.3)), code).after
        assert grid.orientation == code == "".join(nib.aff2axcodes(grid.affine))


@pytest.mark.parametrize("code", CODES)
def test_a_voxel_keeps_its_place_whatever_the_turn(code):
    grid = Grid((3, 4, 5), oblique(0.2))
    turn = Turn.to(grid, code)
    where = place(grid)
    values = np.moveaxis(where, -1, 0)
    turned = turn.there(values, "nearest", 0)
    np.testing.assert_allclose(np.moveaxis(turned, 0, -1), place(turn.after), atol=1e-12)
    assert np.array_equal(turn.back(turned, "nearest", 0), values)


@given(st.tuples(*[st.integers(-4, 6)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_box_keeps_places_and_comes_back(start, shape):
    grid = Grid((4, 5, 6), oblique(0.1))
    crop = Crop(grid, start, shape)
    values = np.moveaxis(place(grid), -1, 0)
    boxed = crop.there(values, "nearest", np.nan)
    inside = np.isfinite(boxed)
    np.testing.assert_allclose(boxed[inside], np.moveaxis(place(crop.after), -1, 0)[inside], atol=1e-12)
    home = crop.back(boxed, "nearest", np.nan)
    kept = np.isfinite(home)
    assert np.array_equal(home[kept], values[kept])
    assert kept.sum() == inside.sum()


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.floats(0.4, 4.0)] * 3))
def test_new_spacing_is_exact_and_places_are_kept(spacing):
    grid = Grid((9, 12, 15), oblique(0.4))
    step = Resampling(grid, spacing)
    np.testing.assert_allclose(step.after.spacing, spacing, rtol=1e-12)
    np.testing.assert_allclose(step.after.corners().mean(axis=0), grid.corners().mean(axis=0), atol=1e-9)
    values = np.moveaxis(place(grid), -1, 0)
    found, where = np.moveaxis(step.there(values, "linear", 0), 0, -1), place(step.after)
    # Between the centres of the old voxels a line is kept; the border, half a new voxel at most, is held.
    at = (where - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    inside = ((at >= -1e-9) & (at <= np.array(grid.shape[::-1]) - 1 + 1e-9)).all(axis=-1)
    np.testing.assert_allclose(found[inside], where[inside], atol=1e-9)
    beyond = np.abs(at - np.clip(at, 0, np.array(grid.shape[::-1]) - 1)) * grid.spacing[::-1]
    assert (beyond <= 0.5 * np.maximum(spacing, grid.spacing)[::-1] + 1e-9).all()


def test_grids_that_cannot_be_are_refused():
    for shape, affine in [
        ((0, 1, 1), np.eye(4)),
        ((1, 1, 1), np.zeros((4, 4))),
        ((1, 1, 1), np.full((4, 4), np.nan)),
        ((1, 1, 1), np.diag([1.0, 1.0, 1.0, 2.0])),
        ((1, 1, 1), np.eye(3)),
    ]:
        with pytest.raises(DataError):
            Grid(shape, affine)
    for code in ("RAX", "RLS", "RA", "RRS"):
        with pytest.raises(DataError, match="three letters"):
            Turn.to(Grid((1, 1, 1), np.eye(4)), code)


def test_same_grid_means_a_hundredth_of_a_voxel():
    grid = Grid((10, 10, 10), np.diag([1.0, 1.0, 5.0, 1.0]))
    near, far = grid.affine.copy(), grid.affine.copy()
    near[0, 3] += 0.005
    far[0, 3] += 0.05
    assert grid.same_as(Grid(grid.shape, near))
    assert not grid.same_as(Grid(grid.shape, far))
    assert not grid.same_as(Grid((10, 10, 11), grid.affine))
    assert orientation_of(np.diag([1.0, -1.0, -1.0, 1.0])) == "RPI"
