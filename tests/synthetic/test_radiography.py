"""Physics of the drawn radiograph: mass is kept, light falls off as it should, noise follows the dose."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from aimed.synthetic.radiography import Exposure, blur_wide, expose, splat

HOW = Exposure(dose=4e5, scatter=0.3, middle=2.0, contrast=1.6, sharpening=0.4)


def _grey(level, how=HOW, size=64, seed=1):
    return expose(np.full((size, size), level, np.float32), 0.3, how, np.random.default_rng(seed)).astype(float)


def test_splat_keeps_the_mass_of_points_inside_and_drops_the_rest():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 30, (2, 500))
    mass = rng.uniform(1, 2, 500)
    drawn = splat(x, y, mass, 32)
    assert drawn.sum() == pytest.approx(mass.sum(), rel=1e-5)
    rows, columns = np.mgrid[:32, :32]
    assert (drawn * columns).sum() == pytest.approx((mass * x).sum(), rel=1e-5)
    assert (drawn * rows).sum() == pytest.approx((mass * y).sum(), rel=1e-5)
    assert splat(np.array([-5.0, 40.0]), np.array([3.0, 3.0]), np.ones(2), 32).sum() == 0
    assert splat(np.array([-0.25]), np.array([0.0]), np.ones(1), 32).sum() == pytest.approx(0.75)


@pytest.mark.parametrize("size", [64, 100, 256])
def test_wide_blur_is_the_gaussian(size):
    picture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(size, size)), size / 20).astype(np.float32)
    exact = ndimage.gaussian_filter(picture, size / 12, mode="nearest")
    error = np.abs(blur_wide(picture, size / 12) - exact)
    core = slice(size // 8, -size // 8)
    assert error[core, core].max() < 0.03 * exact.std()
    # At the rim the coarse grid is worth half a cell less.
    assert error.max() < 0.5 * exact.std()


def test_denser_is_brighter_and_air_is_black():
    levels = [np.median(_grey(a)) for a in (0.0, 1.0, 2.0, 3.0, 4.0)]
    assert np.all(np.diff(levels) > 100)
    assert levels[0] < 400


def test_noise_grows_as_the_root_of_the_lost_dose():
    fine = _grey(2.0).std() / _grey(2.0, replace(HOW, dose=HOW.dose / 16)).std()
    assert fine == pytest.approx(0.25, rel=0.1)


def test_scatter_lowers_contrast():
    grid, no_grid = HOW, replace(HOW, scatter=1.2)
    picture = np.full((64, 64), 1.5, np.float32)
    picture[24:40, 24:40] = 4.0
    contrast = []
    for how in (grid, no_grid):
        grey = expose(picture, 0.3, how, np.random.default_rng(2)).astype(float)
        contrast.append(grey[28:36, 28:36].mean() - grey[:8, :8].mean())
    assert contrast[1] < 0.9 * contrast[0]


def test_the_noise_field_does_not_depend_on_what_is_drawn():
    flat = np.full((64, 64), 2.0, np.float32)
    other = flat.copy()
    other[:8, :8] = 2.5
    a, b = (expose(p, 0.3, replace(HOW, scatter=0.0), np.random.default_rng(3)).astype(float) for p in (flat, other))
    assert np.abs(a - b)[48:, 48:].max() <= 1
