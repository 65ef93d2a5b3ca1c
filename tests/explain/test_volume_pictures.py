"""Pictures of outlined scans: sides, scale, outlines and surfaces are where they should be, and files stay small."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from aimed.core import DataError, UnknownNameError
from aimed.core.volume import Volume
from aimed.explain.volume_gallery import volume_gallery
from aimed.explain.volume_pictures import (
    CAPTION,
    KINDS,
    PictureCase,
    _address,
    _axes,
    _Case,
    _rings,
    _rounded_up,
    _slice_tile,
    _surface,
    case_pictures,
    volume_thumbnails,
)

BLUE, ORANGE = (86, 180, 233), (230, 159, 0)


def head(shape=(20, 24, 22), spacing=(3.0, 2.0, 2.0), channels=("FLAIR", "T1gd")):
    """Return a head in RAS with a bright lesion at the right, the front and above."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    inside = (at**2).sum(axis=0) < 0.95
    z, y, x = at
    lesion = ((z - 0.3) ** 2 + (y - 0.4) ** 2 + (x - 0.4) ** 2 < 0.09) & inside
    rng = np.random.default_rng(0)
    array = np.zeros((len(channels), *shape), dtype=np.float32)
    for c, channel in enumerate(array):
        channel[inside] = 100 + rng.normal(0, 3, int(inside.sum()))
        channel[lesion] += 120 * (1 + c)
    affine = np.diag([*spacing[::-1], 1.0])
    scan = Volume(array=array, affine=affine, channels=channels)
    found = np.roll(lesion, 1, axis=2)
    return PictureCase(
        scan=scan, reference=np.stack([lesion, lesion & (z > 0.3)]), prediction=np.stack([found, found & (z > 0.3)])
    )


def with_maps(case):
    hot = case.prediction * np.float32(0.2)
    return PictureCase(
        scan=case.scan, reference=case.reference, prediction=case.prediction, uncertainty=hot, heat=hot * 50
    )


def turned(case, code):
    """Return the same case as another scanner would have stored it."""
    scan = case.scan.reoriented(code)
    masks = [
        np.stack([case.scan.with_array(one.astype(np.uint8)).reoriented(code).array > 0 for one in some])
        for some in (case.reference, case.prediction)
    ]
    plain = Volume(array=scan.array.copy(), affine=scan.affine, channels=scan.channels)
    return PictureCase(scan=plain, reference=masks[0], prediction=masks[1])


def near(picture, colour, reach=60):
    return np.abs(picture.astype(int) - colour).sum(axis=2) < reach


def test_the_right_of_the_patient_is_on_the_left():
    ready = _Case(head(), 0)
    greys = ready.greys(0)
    for plane, left, top in (("axial", True, True), ("coronal", True, True), ("sagittal", True, True)):
        tile = _slice_tile(ready, plane, ready.slice_of(plane), greys, 160, 160, outlines=False)
        bright = np.argwhere((tile.min(axis=2) > 200)[15:-25, 15:-15]) + 15
        row, column = bright.mean(axis=0)
        # Right is left in axial and coronal pictures; the front is left in sagittal ones.
        assert (column < 75) == left, plane
        assert (row < 75) == top, plane


@pytest.mark.parametrize("code", ["LPS", "PIR", "SAL"])
def test_pictures_do_not_depend_on_how_the_scan_is_stored(code):
    case = head()
    mine, other = (case_pictures(one, kinds=["planes", "surface"], width=360) for one in (case, turned(case, code)))
    for kind, picture in mine.items():
        np.testing.assert_array_equal(picture, other[kind])


def test_outlines_lie_around_the_mask_and_tell_reference_from_prediction():
    ready = _Case(head(), 0)
    at = ready.slice_of("axial")
    tile = _slice_tile(ready, "axial", at, ready.greys(0), 200, 200, scale=4.0)
    plain = _slice_tile(ready, "axial", at, ready.greys(0), 200, 200, scale=4.0, outlines=False)
    blue, orange = near(tile, BLUE) & ~near(plain, BLUE), near(tile, ORANGE)
    assert blue.sum() > 30
    assert orange.sum() > 30
    # The prediction lies one voxel of 2 mm further to the right of the patient.
    shift = np.argwhere(blue).mean(axis=0)[1] - np.argwhere(orange).mean(axis=0)[1]
    assert 1 < shift < 15


def test_rings_follow_edges_and_keep_corners_apart():
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:3, 1:4] = True
    (ring,) = _rings(mask)
    assert len(ring) == 10
    assert ring.min(axis=0).tolist() == [1, 1]
    assert ring.max(axis=0).tolist() == [3, 4]
    touching = np.eye(2, dtype=bool)
    assert sorted(len(ring) for ring in _rings(touching)) == [4, 4]
    hole = np.ones((3, 3), dtype=bool)
    hole[1, 1] = False
    assert sorted(len(ring) for ring in _rings(hole)) == [4, 12]
    assert _rings(np.zeros((3, 3), dtype=bool)) == []


def test_the_scale_bar_is_as_long_as_it_says():
    ready = _Case(head(), 0)
    black = np.zeros_like(ready.greys(0))
    tile = _slice_tile(ready, "axial", 0, black, 200, 200, scale=2.5, outlines=False)
    bright = (tile[185:] > 200).all(axis=2).sum(axis=1)
    # At most a third of 200 pixels: 20 mm are 50 of them.
    assert abs(int(bright.max()) - 50) <= 1


@pytest.mark.parametrize(("slices", "mm"), [(20, 1.5), (6, 5.0)])
def test_thick_slices_are_drawn_as_thick_as_they_are(slices, mm):
    array = np.ones((1, 2 * slices, 24, 24), dtype=np.float32)
    array[0, slices // 2 : slices // 2 + slices, 6:18, 6:18] = 9.0
    mask = array == 9.0
    scan = Volume(array=array, affine=np.diag([2.0, 2.0, mm, 1.0]))
    ready = _Case(PictureCase(scan=scan, reference=mask, prediction=mask), 0)
    tile = _slice_tile(ready, "coronal", 12, ready.greys(0), 200, 200, scale=3.0, outlines=False)
    # 30 mm high and 24 mm wide, whatever the voxels.
    bright = tile.max(axis=2) > 127
    bright[:20] = bright[-25:] = False
    rows, columns = (np.flatnonzero(bright.sum(axis=a) > 20) for a in (1, 0))
    assert np.ptp(rows) + 1 == pytest.approx(90, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(72, abs=2)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (1.0, 1.0, 3.0)])
def test_a_ball_is_round_from_every_side_whatever_the_spacing(spacing):
    axes = [np.arange(-16, 16.1, mm) for mm in spacing]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    ball = z**2 + y**2 + x**2 < 100
    centre = np.array([-a[0] for a in axes])
    for azimuth in (0.0, 35.0, 215.0):
        picture = _surface(ball, spacing, _axes(azimuth), centre, 16.0, 96, BLUE)
        seen = picture.max(axis=2) > 20
        # A radius of 10 mm is 30 pixels.
        assert seen.sum() == pytest.approx(np.pi * 30**2, rel=0.15)
        rows, columns = (np.flatnonzero(seen.any(axis=a)) for a in (1, 0))
        assert np.ptp(rows) == pytest.approx(60, abs=8)
        assert np.ptp(columns) == pytest.approx(60, abs=8)
        assert np.argwhere(seen).mean(axis=0) == pytest.approx([47.5, 47.5], abs=2)


def test_the_eye_of_a_surface_stands_where_it_says():
    right, up, away = _axes(0.0)
    # From the front the patient's right is on the left, and the head is up.
    assert right == pytest.approx([-1, 0, 0])
    assert up[2] > 0.9
    assert away[1] < -0.9
    assert _axes(90.0)[2][0] > 0.9
    for azimuth in (0.0, 35.0, 215.0):
        np.testing.assert_allclose(_axes(azimuth) @ _axes(azimuth).T, np.eye(3), atol=1e-12)


def test_a_lone_voxel_keeps_its_surface():
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True
    assert _surface(mask, (1.0, 1.0, 1.0), _axes(35.0), np.array([2.0, 2.0, 2.0]), 4.0, 64, BLUE).any()
    assert not _surface(mask & False, (1.0, 1.0, 1.0), _axes(35.0), np.zeros(3), 4.0, 64, BLUE).any()


def test_all_kinds_are_drawn_and_repeat_to_the_bit():
    case = with_maps(head())
    found = case_pictures(case, 1)
    assert list(found) == list(KINDS)
    for kind, picture in found.items():
        assert picture.dtype == np.uint8, kind
        assert picture.shape[1] <= 720, kind
    again = case_pictures(case, 1)
    assert all((found[kind] == again[kind]).all() for kind in found)


def test_what_cannot_be_drawn_is_left_out():
    case = head()
    assert list(case_pictures(case)) == ["planes", "channels", "montage", "surface"]
    empty = PictureCase(scan=case.scan, reference=case.reference & False, prediction=case.prediction & False)
    assert list(case_pictures(empty)) == ["planes", "channels", "montage"]
    flat = PictureCase(
        scan=case.scan, reference=case.reference, prediction=case.prediction, heat=0.0 * case.prediction,
        uncertainty=np.full(case.prediction.shape, np.nan),
    )  # fmt: skip
    found = case_pictures(flat)
    assert "map" in found
    assert "uncertainty" not in found


def test_a_map_colours_only_where_it_is():
    case = with_maps(head())
    found = case_pictures(case, kinds=["map"])["map"]
    left, right = found[:, :240], found[:, 252:490]
    coloured = [(np.ptp(part[30:-60].astype(int), axis=2) > 40).sum() for part in (left, right)]
    assert coloured[1] > 200
    ready = _Case(case, 0)
    tile = _slice_tile(
        ready, "axial", ready.slice_of("axial"), ready.greys(0), 200, 200, outlines=False,
        hot=np.zeros_like(ready.heat), top=1.0,
    )  # fmt: skip
    plain = _slice_tile(ready, "axial", ready.slice_of("axial"), ready.greys(0), 200, 200, outlines=False)
    np.testing.assert_array_equal(tile, plain)


def test_the_channel_that_shows_the_region_best_is_chosen():
    assert _Case(head(), 0).best_channel == 1


def test_a_window_of_ct_sets_the_greys():
    array = np.full((1, 6, 6, 6), -1000, dtype=np.int16)
    array[0, 2:4, 2:4, 2:4] = 40
    mask = array == 40
    scan = Volume(array=array, affine=np.eye(4), modality="CT")
    ready = _Case(PictureCase(scan=scan, reference=mask, prediction=mask, window=(0, 80)), 0)
    assert set(np.unique(ready.greys(0))) == {0, 128}


@pytest.mark.parametrize(("value", "wanted"), [(0.03, 0.05), (0.2, 0.2), (7.0, 10.0), (0.0, 0.0), (1.1, 2.0)])
def test_scales_end_at_round_numbers(value, wanted):
    assert _rounded_up(value) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("change", "error"),
    [({"kinds": ["film"]}, UnknownNameError), ({"region": 2}, DataError), ({"width": 100}, DataError)],
)
def test_what_cannot_be_asked_for(change, error):
    with pytest.raises(error):
        case_pictures(head(), **change)


def test_masks_on_another_grid_are_refused():
    case = head()
    with pytest.raises(DataError, match="masks or maps"):
        PictureCase(scan=case.scan, reference=case.reference, prediction=case.prediction[:, 1:])
    with pytest.raises(DataError, match="a scan of shape"):
        PictureCase(scan=case.scan.channel("FLAIR"), reference=case.reference, prediction=case.prediction)


# ------------------------------------------------------------------------------------------------------------- together


@pytest.fixture
def found():
    def one(dice):
        region = {"dice": dice, "hd95": 2.0, "reference_ml": 12.3, "prediction_ml": 10.0, "empty": ""}
        return {"regions": {"whole": region, "core": region | {"dice": 1 - dice}}}

    cases = [one(d) for d in (0.9, 0.2, 0.7)]
    return volume_gallery(cases, ["SECRET-1", "SECRET-2", "SECRET-3"], {"whole": "whole tumour", "core": "tumour core"})


def test_a_page_gets_small_files_without_names(found):
    loaded = []

    def load(row):
        loaded.append(row)
        return with_maps(head())

    block = volume_thumbnails(found, load, kinds=["planes", "map"], width=480)
    assert sorted(loaded) == [0, 1, 2]
    assert set(block["scopes"]) == {"overall", "whole", "core"}
    assert set(block["scopes"]["whole"]) == {"2"}
    assert set(block["scopes"]["core"]["1"]) == {"planes", "surface"}
    text = json.dumps(block)
    assert "SECRET" not in text
    assert len(text) < 1_500_000
    assert block["caption"] == CAPTION
    one = block["scopes"]["overall"]["2"]["planes"]
    raw = base64.b64decode(one["png"].removeprefix("data:image/png;base64,"))
    image = Image.open(BytesIO(raw))
    assert image.format == "PNG"
    assert image.size == (one["width"], one["height"])
    assert not image.info.keys() - {"transparency"}
    assert one["alt"].startswith("Case 2, whole tumour: three planes")
    assert "Dice 0.20, reference 12.3 ml, prediction 10.0 ml" in one["alt"]
    assert block["weight"] == sum(
        len(p["png"]) for scope in block["scopes"].values() for case in scope.values() for p in case.values()
    )


@pytest.mark.parametrize("colours", [64, 16])
def test_few_colours_keep_those_of_outlines_and_maps(colours):
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (100, 100, 1)), 3, axis=2).astype(np.uint8)
    # Next to a wide patch of one colour, a few pixels of another are not to be lost.
    grey[50, 20:40], grey[60, 20:23], grey[70:, :] = BLUE, ORANGE, (20, 150, 100)
    raw = base64.b64decode(_address(grey, 1.0, colours).removeprefix("data:image/png;base64,"))
    kept = np.asarray(Image.open(BytesIO(raw)).convert("RGB")).astype(int)
    assert np.abs(kept[50, 20:40] - BLUE).max() <= 8
    assert np.abs(kept[60, 20:23] - ORANGE).max() <= 8
    assert np.abs(kept - grey).max() <= 255 / (colours - 1) + 4


def test_pictures_shrink_to_the_weight_they_may_have(found):
    options = {"kinds": ["planes"], "region_groups": (), "width": 360}
    full = volume_thumbnails(found, lambda row: head(), **options)
    small = volume_thumbnails(found, lambda row: head(), weight=int(0.45 * full["weight"]), **options)
    assert small["weight"] <= 0.45 * full["weight"]
    assert small["scale"] < full["scale"] == 1.0
    with pytest.raises(DataError, match="weigh more than"):
        volume_thumbnails(found, lambda row: head(), weight=1000, **options)


def test_one_region_is_drawn_once():
    region = {"dice": 0.5, "hd95": 2.0, "reference_ml": 12.3, "prediction_ml": None, "empty": ""}
    found = volume_gallery([{"regions": {"whole": region}}], ["a"], {"whole": "whole tumour"})
    heard = []
    block = volume_thumbnails(found, lambda row: head(), kinds=["planes"], progress=lambda s, text: heard.append(s))
    assert set(block["scopes"]) == {"overall"}
    assert "prediction" not in block["scopes"]["overall"]["1"]["planes"]["alt"]
    assert heard[-1] == 1.0
