"""Image frames: each planted fault has its code, drawn and real chests have none."""

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.image_frames import FRAME_CODES, check_image_frames, find_frame_codes
from aimed.core.errors import DataError
from aimed.core.image import ImageInfo

INFO = ImageInfo(digest="", format="dicom", rows=2000, columns=2000, bits_stored=12, scaling="window")


def test_drawn_chests_have_no_code(chests):
    found = find_frame_codes(chests(0, 20))
    assert found.counts == {}
    assert check_image_frames(found) == []


def frame_with(fault, chest):
    y, x = np.mgrid[0:128, 0:128]
    return {
        "BLACK": np.where((y < 2) & (x < 40), 255, 0),
        "WHITE": np.full((128, 128), 254),
        "CONSTANT": np.full((128, 128), 120) + (chest > 128),
        "LOW_CONTRAST": 100 + chest // 8,
        "CLIPPED_DARK": np.where(y < 90, 0, chest),
        "CLIPPED_BRIGHT": np.clip(chest.astype(int) + 110, 0, 255),
        "INVERTED": 255 - chest.astype(int),
    }[fault].astype(np.uint8)


@pytest.mark.parametrize("sixteen", [False, True])
@pytest.mark.parametrize(
    "fault", ["BLACK", "WHITE", "CONSTANT", "LOW_CONTRAST", "CLIPPED_DARK", "CLIPPED_BRIGHT", "INVERTED"]
)
def test_a_planted_fault_has_its_code(chests, fault, sixteen):
    a = chests(1, 30)
    a[7] = frame_with(fault, a[7])
    found = find_frame_codes(a.astype(np.uint16) * 257 if sixteen else a)
    assert np.flatnonzero(found.codes[fault]).tolist() == [7]
    blank = ("BLACK", "WHITE", "CONSTANT")
    assert sum(found.codes[code][7] for code in blank) == (fault in blank)


@pytest.mark.parametrize(
    ("code", "tags"),
    [
        ("ASPECT", {"rows": 3300}),
        ("BODY_PART", {"body_part": "HAND"}),
        ("VIEW", {"view": "LATERAL"}),
        ("BURNED_IN", {"burned_in": True}),
        ("SMALL", {"rows": 60, "columns": 60}),
        ("COLOUR", {"photometric": "YBR_FULL_422"}),
    ],
)
def test_a_tag_has_its_code(chests, code, tags):
    infos = [replace(INFO, body_part="CHEST", view="PA", burned_in=False, photometric="MONOCHROME2")] * 10
    infos[4] = replace(infos[4], **tags)
    found = find_frame_codes(chests(2, 10), infos)
    assert {name: np.flatnonzero(has).tolist() for name, has in found.codes.items() if has.any()} == {code: [4]}
    (warn,) = check_image_frames(found, {"train": [0, 1, 4], "test": [5, 6]})
    assert warn.severity.value == ("NOTE" if code == "SMALL" else "WARN")
    assert warn.evidence == {"code": code, "images": 1, "n": 10, "by_part": {"train": 1, "test": 0}}


def test_unknown_tags_are_no_fault(chests):
    assert find_frame_codes(chests(3, 3), [INFO] * 3).counts == {}


def test_bars_around_the_picture_are_not_judged(chests):
    frames = np.zeros((5, 128, 128), dtype=np.uint8)
    frames[:, :, 40:88] = chests(4, 5)[:, :, ::2][:, :, 8:56]
    slim = replace(INFO, rows=2000, columns=750)
    assert find_frame_codes(frames).counts == {"CLIPPED_DARK": 5}
    assert find_frame_codes(frames, [slim] * 5).counts == {"ASPECT": 5}


@pytest.mark.parametrize(("blank", "severity"), [(1, "WARN"), (2, "WARN"), (3, "STOP")])
def test_many_blank_images_stop(chests, blank, severity):
    a = chests(5, 20)
    a[:blank] = 0
    assert [f.severity.value for f in check_image_frames(find_frame_codes(a))] == [severity]


@pytest.mark.parametrize(("inverted", "severity"), [(9, "WARN"), (10, "STOP")])
def test_a_set_read_inverted_stops(chests, inverted, severity):
    a = chests(6, 20)
    a[:inverted] = 255 - a[:inverted]
    found = {f.evidence["code"]: f.severity.value for f in check_image_frames(find_frame_codes(a))}
    assert found["INVERTED"] == severity


def test_pictures_of_something_else_are_told_once():
    noise = np.random.default_rng(0).integers(0, 200, (20, 64, 64)).astype(np.uint8)
    (note,) = check_image_frames(find_frame_codes(noise))
    assert note.severity.value == "NOTE"
    assert note.evidence["images"] == 20


def test_every_code_is_explained(chests):
    found = find_frame_codes(chests(7, 2), [INFO] * 2)
    assert set(found.codes) == set(FRAME_CODES)


def test_a_part_beyond_the_images_is_refused(chests):
    with pytest.raises(DataError):
        check_image_frames(find_frame_codes(chests(0, 2)), {"train": [-1]})


def test_real_chests_are_right_side_up_and_their_negatives_are_not(cxr_320):
    images, _ = cxr_320
    # One film is black on all four sides.
    assert find_frame_codes(images).counts == {"SURROUNDED": 1}
    assert find_frame_codes(255 - images).codes["INVERTED"].mean() > 0.95
