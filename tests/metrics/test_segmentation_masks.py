"""Pairs of label maps: counted once for all regions, in boxes, whatever the type of the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.metrics.segmentation_masks import MaskPair, Regions

REGIONS = {"whole": (1, 2, 3), "core": (2, 3), "rim": 3, "absent": 9}


def maps(seed, shape=(7, 9, 8)):
    rng = np.random.default_rng(seed)
    out = rng.choice([0, 0, 0, 1, 2, 3], (2, *shape)).astype(np.uint8)
    out[:, :2] = out[:, :, 6:] = 0
    return out


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32, np.float64, ">i2"])
@pytest.mark.parametrize("seed", range(3))
def test_regions_are_counted_and_boxed(kind, seed):
    a, b = maps(seed)
    pair = MaskPair.of(a.astype(kind), b.astype(kind), (1, 1, 1), REGIONS)
    for k, labels in enumerate(REGIONS.values()):
        one, two = np.isin(a, labels), np.isin(b, labels)
        counts = pair.overlap(k)
        assert counts.tp == (one & two).sum()
        assert counts.fp == (~one & two).sum()
        assert counts.fn == (one & ~two).sum()
        assert counts.n == a.size
        either = np.argwhere(one | two)
        if either.size:
            assert pair.boxes[k].T.tolist() == [either.min(axis=0).tolist(), (either.max(axis=0) + 1).tolist()]
            box = tuple(slice(*side) for side in pair.boxes[k])
            for mine, mask in zip(pair.masks(k), (one, two), strict=True):
                assert np.array_equal(mine, mask[box])
        else:
            assert pair.boxes[k].tolist() == [[0, 0]] * 3


def test_background_may_be_a_class_and_labels_may_be_large_or_negative():
    a, b = (m.astype(np.int32) for m in maps(1))
    plain = MaskPair.of(a, b, classes={"outside": 0}, background=(1, 2, 3)).overlap(0)
    assert plain.tp == ((a == 0) & (b == 0)).sum()
    odd = {0: 0, 1: -4, 2: 2035, 3: 70000}
    big = [np.vectorize(odd.get)(m) for m in (a, b)]
    found = MaskPair.of(*big, classes={"one": -4, "two": (2035, 70000)})
    same = MaskPair.of(a, b, classes={"one": 1, "two": (2, 3)})
    assert [found.overlap(k) for k in range(2)] == [same.overlap(k) for k in range(2)]


def test_maps_need_not_be_contiguous_and_are_not_changed():
    a, b = maps(2)
    before = a.copy()
    turned = MaskPair.of(a.T, b.T, classes=REGIONS)
    assert [turned.overlap(k) for k in range(4)] == [MaskPair.of(a, b, classes=REGIONS).overlap(k) for k in range(4)]
    assert np.array_equal(a, before)


def test_a_label_in_no_class_is_refused_and_not_shown():
    a, b = maps(3)
    b[4, 4, 4] = 77
    with pytest.raises(DataError, match=r"prediction has 1 of 504 voxels with a label in no class") as caught:
        MaskPair.of(a, b, classes=REGIONS)
    assert "77" not in str(caught.value)
    assert MaskPair.of(a, b, classes=REGIONS, background=(0, 77)).overlap(3).tp == 0


@pytest.mark.parametrize("classes", [{}, [1, 2], {"a": []}, {"a": 1.5}, {"a": "1"}, {str(k): k for k in range(65)}])
def test_classes_are_names_of_labels(classes):
    with pytest.raises(DataError):
        Regions.of(classes)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, 1, -1), (1, 1, np.nan), 1, (1, np.inf, 1)])
def test_a_spacing_is_positive_and_one_an_axis(spacing):
    with pytest.raises(DataError, match="spacing"):
        MaskPair.of(*maps(0), spacing, REGIONS)


def test_shapes_and_types_that_are_no_maps_are_refused():
    for shape in ((3,), (1, 2, 3, 4), (0, 2)):
        with pytest.raises(DataError, match="shapes"):
            MaskPair.of(np.zeros(shape, int), np.zeros(shape, int))
    with pytest.raises(DataError, match="labels: whole numbers"):
        MaskPair.of([["a"]], [["b"]])
    for wrong in (np.nan, np.inf, 0.5):
        with pytest.raises(DataError, match="1 of 2 voxels that are not whole numbers"):
            MaskPair.of([[0.0, wrong]], [[0.0, 1.0]])
    with pytest.raises(DataError, match="at most 256"):
        MaskPair.of(np.arange(400).reshape(20, 20), np.zeros((20, 20), int))
