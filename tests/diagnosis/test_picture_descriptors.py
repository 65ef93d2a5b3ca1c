"""Descriptors of pictures: means of tiles, and parts of pictures that are or are not alike."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import DataError
from aimed.diagnosis.picture_descriptors import picture_descriptors
from aimed.fit.diagnose_fit import mismatch_test


def test_parts_alike_and_unlike(chests):
    first, _, mine = chests(160, 32)
    second, _, theirs = chests(80, 32, seed=5)
    alike = mismatch_test(picture_descriptors(first), picture_descriptors(second), mine, theirs)
    assert alike.lower < 0.55
    brighter = np.clip(second.astype(int) + 25, 0, 255).astype(np.uint8)
    unlike = mismatch_test(picture_descriptors(first), picture_descriptors(brighter), mine, theirs)
    assert unlike.lower > 0.6
    assert unlike.n == 240
    again = mismatch_test(picture_descriptors(first), picture_descriptors(brighter), mine, theirs)
    assert float(again) == float(unlike)


def test_descriptors_are_means_of_tiles():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (3, 24, 36), dtype=np.uint8)
    found = picture_descriptors(pictures)
    np.testing.assert_allclose(found[:, 0], pictures[:, :2, :3].mean((1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(found[:, 147], np.median(pictures.reshape(3, -1), axis=1) / 255, rtol=1e-5)
    with pytest.raises(DataError, match="at least 12 a side"):
        picture_descriptors(pictures[:, :11])
