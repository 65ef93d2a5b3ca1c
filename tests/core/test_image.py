"""Frames lead back to the pixels of the picture, and refusals say what to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimed.core import DataError, RefusedError
from aimed.core.image import REFUSALS, ImageInfo, ImageRefused, Placement, Radiograph

INFO = ImageInfo(digest="0" * 64, format="png", rows=2, columns=2, bits_stored=8, scaling="as_stored")


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_boxes_go_there_and_back(rows, columns, size):
    place = Placement.fit(rows, columns, size)
    assert max(place.height, place.width) == size
    assert min(place.top, place.left) >= 0
    assert place.top + place.height <= size
    assert place.left + place.width <= size
    box = (0.1 * rows, 0.2 * columns, 0.7 * rows, 0.9 * columns)
    np.testing.assert_allclose(place.to_source_box(place.to_frame_box(box)), box, rtol=1e-9, atol=1e-9)
    assert place.to_source_box((-5, -5, size + 5, size + 5)) == (0.0, 0.0, float(rows), float(columns))


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (64, 64), (7, 200)])
def test_a_map_lands_where_it_belongs(shape):
    place = Placement.fit(*shape, 32)
    frame = np.full((32, 32), 50.0)
    y, x = (np.arange(place.height) + 0.5) / place.height, (np.arange(place.width) + 0.5) / place.width
    frame[place.top : place.top + place.height, place.left : place.left + place.width] = y[:, None] + 2 * x
    found = place.to_source_map(frame)
    assert found.shape == shape
    assert found.dtype == np.float32
    expected = (np.arange(shape[0]) + 0.5)[:, None] / shape[0] + 2 * (np.arange(shape[1]) + 0.5) / shape[1]
    # A line is kept inside; at the border the last cell is held, half a cell wide, and nothing leaks in from the zeros.
    assert np.abs(found - expected).max() <= 0.5 / place.height + 1.0 / place.width + 1e-6
    assert found.max() < 3.01


def test_a_coarse_map_peaks_at_the_same_place():
    place = Placement.fit(400, 200, 224)
    coarse = np.zeros((7, 7))
    coarse[1, 3] = 1.0
    at = np.unravel_index(place.to_source_map(coarse).argmax(), (400, 200))
    box = place.to_source_box((32, 96, 64, 128))
    assert box[0] <= at[0] <= box[2]
    assert box[1] <= at[1] <= box[3]


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros((2, 3)), np.zeros((0, 0))])
def test_other_maps_are_refused(values):
    with pytest.raises(DataError, match="square"):
        Placement.fit(4, 4, 4).to_source_map(values)


def test_a_picture_needs_pixels():
    with pytest.raises(DataError):
        Placement.fit(0, 5, 10)


def test_depth_changes_round_and_never_overflow():
    for bits in (8, 10, 12, 16):
        full = 2**bits - 1
        pixels = np.asarray([[0, full // 3, full]], dtype=np.uint8 if bits == 8 else np.uint16)
        picture = Radiograph(pixels, bits, INFO)
        assert picture.to_uint8()[0, [0, 2]].tolist() == [0, 255]
        assert picture.to_uint16()[0, [0, 2]].tolist() == [0, 65535]
        assert abs(int(picture.to_uint16()[0, 1]) - 65535 * (full // 3) / full) <= 0.5
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0] = 1


@pytest.mark.parametrize("code", REFUSALS)
def test_refusals_say_three_things(code):
    refusal = ImageRefused(code, "WindowWidth")
    assert isinstance(refusal, RefusedError)
    assert refusal.code == code
    assert code in str(refusal)
    assert "expected" in str(refusal)
    assert str(refusal).count(";") >= 2


def test_info_survives_json():
    import json

    full = ImageInfo(
        digest="a", format="dicom", rows=3, columns=4, bits_stored=12, scaling="window", view="PA",
        spacing=(0.1, 0.2), burned_in=False, kvp=120.0, unreadable=("Exposure",),
    )  # fmt: skip
    assert ImageInfo.from_dict(json.loads(json.dumps(full.to_dict()))) == full
