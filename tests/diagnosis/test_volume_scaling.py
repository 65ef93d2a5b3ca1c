"""Greys of volumes are standardised: mean 0 and spread 1 over the voxels that hold something, whatever their unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core import DataError
from aimed.diagnosis.volume_scaling import VolumeScaling


def drawn(seed: int, shape: tuple[int, ...] = (2, 5, 6, 7)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scan = rng.gamma(4.0, 50.0, shape) + 1.0
    scan[:, :, :2] = 0.0
    return scan


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e4))
def test_mean_and_spread_of_voxels_that_are_not_0(seed, unit):
    scan = drawn(seed) * unit
    scaling = VolumeScaling()
    scaled = scaling.scaled(scan, scaling.numbers(scan)).astype(np.float64)
    for channel, values in zip(scan, scaled, strict=True):
        inside = values[channel != 0]
        assert abs(inside.mean()) < 1e-5
        assert abs(inside.std() - 1.0) < 1e-5
        assert (values[channel == 0] == 0).all()


def test_each_slice_taken_as_a_scan_has_spread_1():
    # The course "AI for Medical Diagnosis", week 3, standardises every slice of every channel.
    scan, scaling = drawn(3), VolumeScaling()
    for z in range(scan.shape[1]):
        one = scan[:, z : z + 1]
        scaled = scaling.scaled(one, scaling.numbers(one)).astype(np.float64)
        for channel in range(len(one)):
            assert scaled[channel][one[channel] != 0].std() == pytest.approx(1.0, abs=1e-6)


def test_the_unit_of_a_scan_says_nothing():
    scan, scaling = drawn(5), VolumeScaling()
    one = scaling.scaled(scan, scaling.numbers(scan))
    other = scaling.scaled(1000.0 * scan, scaling.numbers(1000.0 * scan))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_window_keeps_the_unit():
    scan = np.array([-2000.0, -160.0, 40.0, 240.0, 3000.0]).reshape(1, 1, 1, 5)
    scaling = VolumeScaling(kind="window", low=-160.0, high=240.0)
    assert scaling.scaled(scan, scaling.numbers(scan)).ravel().tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(("value", "said"), [(0.0, "empty"), (7.0, "of one grey"), (np.nan, "NaN")])
def test_what_cannot_be_standardised_is_said(value, said):
    scan = drawn(1)
    scan[1] = value
    with pytest.raises(DataError, match=said):
        VolumeScaling().numbers(scan)
