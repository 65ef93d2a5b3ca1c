"""One axis after the other gives SciPy's values, and labels keep their volume."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from aimed.core import DataError
from aimed.core.resampling import resample

ORDER = {"nearest": 0, "linear": 1, "cubic": 3}


@pytest.mark.parametrize("how", list(ORDER))
@pytest.mark.parametrize("shape", [(7, 9, 11), (2, 3, 50), (41, 5, 2)])
def test_values_are_those_of_scipy(how, shape):
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape)
    at = [np.sort(rng.uniform(0, n - 1, n + 3)) for n in shape]
    expected = ndimage.map_coordinates(values, np.meshgrid(*at, indexing="ij"), order=ORDER[how], mode="mirror")
    np.testing.assert_allclose(resample(values, at, how), expected, rtol=0, atol=1e-12)
    # Four channels at once, and in single precision.
    four = resample(np.stack([values] * 2).astype(np.float32), at, how)
    np.testing.assert_allclose(four, np.stack([expected] * 2), rtol=0, atol=2e-5)


def test_at_the_voxels_nothing_changes_and_beyond_the_border_is_held():
    values = np.arange(24.0).reshape(2, 3, 4)
    same = [np.arange(n, dtype=float) for n in values.shape]
    for how in ("nearest", "linear", "cubic"):
        found = resample(values, same, how)
        assert np.array_equal(found, values)
        assert found is not values
        held = resample(values, [np.array([-9.0, 9.0]), np.zeros(1), np.zeros(1)], how)
        np.testing.assert_allclose(held.ravel(), [0, 12], atol=1e-12)


def test_one_voxel_along_an_axis_is_repeated():
    values = np.full((1, 1, 1), 7.0)
    for how in ("nearest", "linear", "cubic", "argmax"):
        assert np.array_equal(resample(values, [np.array([0.0, 0.4])] * 3, how), np.full((2, 2, 2), 7.0))


def test_labels_never_mix():
    labels = np.zeros((1, 1, 6), dtype=np.uint8)
    labels[..., 2:4], labels[..., 4:] = 5, 9
    found = resample(labels, [np.zeros(1), np.zeros(1), np.linspace(0, 5, 101)], "argmax")
    assert found.dtype == np.uint8
    # The mean of 0 and 5, or of 5 and 9, is never a label.
    assert set(np.unique(found)) == {0, 5, 9}
    assert np.all(np.diff(found.ravel().astype(int)) >= 0)


def test_an_unknown_way_is_refused():
    with pytest.raises(DataError, match="nearest, linear, cubic or argmax"):
        resample(np.zeros((2, 2, 2)), [np.zeros(1)] * 3, "lanczos")
