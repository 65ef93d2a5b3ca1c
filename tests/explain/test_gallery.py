"""Which cases are shown, that ids stay out of reports, and thumbnails that show what they say and no more."""

from __future__ import annotations

import base64
import dataclasses
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from aimed.core import DataError
from aimed.core.image import ImageInfo, Placement
from aimed.explain.gallery import GROUPS, gallery, thumbnails, without_ids

INFO = ImageInfo(digest="ab", format="png", rows=40, columns=20, bits_stored=8, scaling="as_stored")


class Frames:
    def __init__(self, n, size=40, burned=()):
        rng = np.random.default_rng(0)
        self.size, self.burned = size, burned
        self.frames = np.zeros((n, size, size), dtype=np.uint8)
        self.frames[:, :, size // 4 : 3 * size // 4] = rng.integers(50, 200, (n, size, size // 2))

    def rows(self, rows):
        return self.frames[np.asarray(rows)]

    def placement(self, row):
        return Placement.fit(40, 20, self.size)

    def info(self, row):
        return dataclasses.replace(INFO, burned_in=row in self.burned)


@pytest.fixture
def cases():
    risk = np.array([[0.95, 0.9, 0.6, 0.3, 0.05, 0.4, 0.8, 0.55, 0.02, 0.5]]).T
    y = np.array([[1, 1, 1, 1, 1, 0, 0, 0, 0, np.nan]]).T
    return risk, y, [f"SECRET-{i}" for i in range(10)]


def ids(found, finding="nodule"):
    return {group: [case["row"] for case in rows] for group, rows in found["findings"][finding]["cases"].items()}


def test_groups_hold_the_surest_and_the_least_sure(cases):
    risk, y, names = cases
    found = gallery(risk, y, None, names, ["nodule"], [0.5], per=2)
    assert ids(found) == {
        "right_present": [0, 1],
        "right_absent": [8, 5],
        "missed": [4, 3],
        "false_alarm": [6, 7],
        "uncertain": [9, 7],
    }
    one = found["findings"]["nodule"]
    assert one["of"] == {"right_present": 3, "right_absent": 2, "missed": 2, "false_alarm": 2, "uncertain": 10}
    assert one["cases"]["uncertain"][0]["reference"] is None
    assert one["sentence"] == (
        "Nodule: from a risk of 0.5 on, 2 of 5 pictures with it are missed and 2 of 4 without it are false alarms."
    )
    assert one["uncertain_by"] == "threshold"


def test_spread_says_who_is_uncertain_where_it_is_known(cases):
    risk, y, names = cases
    spread = np.full_like(risk, np.nan)
    spread[[2, 4, 6], 0] = 0.1, 0.3, 0.2
    found = gallery(risk, y, spread, names, ["nodule"], [0.5])
    assert ids(found)["uncertain"] == [4, 6, 2]
    assert found["findings"]["nodule"]["uncertain_by"] == "spread"
    assert found["findings"]["nodule"]["cases"]["uncertain"][0]["spread"] == 0.3


def test_a_patient_comes_once_in_a_group(cases):
    risk, y, names = cases
    found = gallery(risk, y, None, names, ["nodule"], [0.5], patient=[1, 1, 1, 2, 2, 3, 4, 4, 3, 5])
    assert ids(found)["right_present"] == [0]
    assert ids(found)["missed"] == [4]
    assert ids(found)["right_absent"] == [8]


def test_without_a_threshold_nothing_is_called(cases):
    risk, y, names = cases
    for none in (None, np.nan):
        found = gallery(risk, y, None, names, ["nodule"], [none], per=1)
        assert ids(found)["missed"] == [4]
        assert found["findings"]["nodule"]["threshold"] is None
        assert "no threshold was chosen" in found["findings"]["nodule"]["sentence"]


def test_ids_stay_with_the_data_and_the_number_leads_back(cases):
    risk, y, names = cases
    two, y2 = np.repeat(risk, 2, axis=1), np.repeat(y, 2, axis=1)
    found = gallery(two, y2, None, np.array(names), ["a nodule", "b"], [0.5, 0.5], labels=["Nodule", "B"])
    assert list(found["findings"]) == ["a_nodule", "b"]
    text = json.dumps(without_ids(found), allow_nan=False)
    assert "SECRET" not in text
    assert '"row"' not in text
    assert "SECRET" in json.dumps(found, allow_nan=False)
    numbers = [case["case"] for one in found["findings"].values() for rows in one["cases"].values() for case in rows]
    assert numbers == list(range(1, len(numbers) + 1))
    kept = [c["case"] for one in without_ids(found)["findings"].values() for r in one["cases"].values() for c in r]
    assert kept == numbers


def test_bad_input_is_refused_without_a_value(cases):
    risk, y, names = cases
    for more in ({"risk": risk * 2}, {"y": y[:3]}, {"thresholds": []}, {"per": 0}, {"spread": risk[:2]}):
        options = {"risk": risk, "y": y, "spread": None, "ids": names, "names": ["nodule"], "thresholds": [0.5]}
        with pytest.raises(DataError) as caught:
            gallery(**{**options, **more})
        assert "SECRET" not in str(caught.value)


def opened(address):
    assert address.startswith("data:image/png;base64,")
    return Image.open(BytesIO(base64.b64decode(address.split(",", 1)[1])))


def test_thumbnails_show_the_picture_and_the_map_over_it(cases):
    risk, y, names = cases
    found = gallery(risk, y, None, names, ["nodule"], [0.5], per=1)
    images = Frames(10)
    asked = []

    def maps(rows, column):
        asked.append((rows.tolist(), column))
        heat = np.zeros((len(rows), 40, 40), dtype=np.float32)
        heat[:, 30:, 10:30] = 1.0 + rows[:, None, None]
        return heat

    made = thumbnails(found, images, maps, side=40)
    assert asked == [([0, 4, 6, 8, 9], 0)]
    assert set(made["thumbnails"]) == {"1", "2", "3", "4", "5"}
    picture = opened(made["thumbnails"]["1"])
    assert not picture.info.keys() & {"Software", "exif", "xmp"}
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    # Cut to the picture: 20 columns each, with a gap.
    assert pixels.shape == (40, 42, 3)
    left, right = pixels[:, :20], pixels[:, 22:]
    # A palette of 128 colours is a little off everywhere.
    assert np.abs(left[:29] - right[:29]).mean() < 4
    assert np.abs(left - left.mean(axis=2, keepdims=True)).max() < 16
    grey = images.frames[0, :29, 10:30].astype(float)
    assert np.corrcoef(left[:29, :, 0].ravel(), grey.ravel())[0, 1] > 0.99
    # The map of row 0 is a tenth of the hottest one: fainter than that of row 9 on the same scale.
    hot = np.asarray(opened(made["thumbnails"]["5"]).convert("RGB")).astype(int)
    assert np.abs(hot[31:, 22:] - hot[31:, :20]).mean() > 3 * np.abs(right[31:] - left[31:]).mean()
    assert "opacity 0 to 50 %" in made["caption"]


def test_pictures_with_text_burnt_in_are_left_out(cases):
    risk, y, names = cases
    found = gallery(risk, y, None, names, ["nodule"], [0.5], per=1)
    made = thumbnails(found, Frames(10, burned=(0,)), lambda rows, _: np.ones((len(rows), 40, 40)))
    assert "1" not in made["thumbnails"]
    assert made["left_out"] == 1
    assert "text is burnt in: 1" in made["caption"]


def test_thumbnails_shrink_until_they_fit_and_refuse_when_they_cannot(cases):
    risk, y, names = cases
    found = gallery(risk, y, None, names, ["nodule"], [0.5], per=2)
    images = Frames(10, size=160)
    big = thumbnails(found, images, lambda rows, _: np.ones((len(rows), 160, 160)), side=160)
    total = sum(map(len, big["thumbnails"].values()))
    small = thumbnails(found, images, lambda rows, _: np.ones((len(rows), 160, 160)), side=160, weight=total // 2)
    assert small["side"] < 160
    assert sum(map(len, small["thumbnails"].values())) <= total // 2
    with pytest.raises(DataError, match="weigh more"):
        thumbnails(found, images, lambda rows, _: np.ones((len(rows), 160, 160)), weight=500)
    with pytest.raises(DataError, match="opacity"):
        thumbnails(found, images, lambda rows, _: np.ones((len(rows), 160, 160)), opacity=0.0)
    only = thumbnails(found, images, lambda rows, _: np.zeros((len(rows), 160, 160)), groups=["missed"], side=48)
    assert len(only["thumbnails"]) == 2
    assert set(GROUPS) > {"missed"}
