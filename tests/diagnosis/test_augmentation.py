"""Changes of training pictures: they repeat, they are small, and left stays left."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.core import StudyFileError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.augmentation import Augmentation  # noqa: E402

NONE = {"rotation": 0, "translation": 0, "scale": 0, "brightness": 0, "contrast": 0, "gamma": 0, "noise": 0}


def dots(height=40, width=60):
    x = torch.zeros(1, 1, height, width)
    x[0, 0, 18:23, 42:47] = 1.0
    return x


def centre(picture):
    y, x = np.mgrid[0 : picture.shape[-2], 0 : picture.shape[-1]]
    p = picture[0, 0].numpy()
    return (p * y).sum() / p.sum(), (p * x).sum() / p.sum()


def test_a_change_depends_on_the_seed_of_the_row_alone():
    pictures, change = torch.rand(4, 1, 24, 24), Augmentation()
    seeds = [(1, 2, row) for row in range(4)]
    whole = change(pictures, seeds)
    for row in range(4):
        np.testing.assert_array_equal(change(pictures[row : row + 1], seeds[row : row + 1])[0], whole[row])
    assert not torch.equal(change(pictures, [(1, 3, row) for row in range(4)]), whole)
    assert 0.0 <= float(whole.min()) <= float(whole.max()) <= 1.0


def test_no_change_at_all():
    pictures = torch.rand(2, 1, 9, 13)
    np.testing.assert_allclose(Augmentation(**NONE)(pictures, [(0,), (1,)]), pictures, atol=1e-6)


def test_left_stays_left():
    for seed in range(50):
        _, x = centre(Augmentation(noise=0.0, brightness=0.0, contrast=0.0, gamma=0.0)(dots(), [(seed,)]))
        assert x > 34, "the mark on the right half has not left it"


def test_a_turn_keeps_lengths_in_pictures_that_are_not_square():
    turned = Augmentation(**{**NONE, "rotation": 45.0})
    middle = np.array([19.5, 29.5])
    before = np.linalg.norm(np.array(centre(dots())) - middle)
    angles = []
    for seed in range(20):
        moved = np.array(centre(turned(dots(), [(seed,)]))) - middle
        np.testing.assert_allclose(np.linalg.norm(moved), before, rtol=0.04)
        angles.append(np.degrees(np.arctan2(moved[0], moved[1])))
    assert min(angles) < -15
    assert max(angles) > 15


@pytest.mark.parametrize(("name", "limit"), [("translation", 0.1), ("scale", 0.2)])
def test_how_far_and_how_large(name, limit):
    change, sizes, places = Augmentation(**{**NONE, name: limit}), [], []
    for seed in range(60):
        found = change(dots(), [(seed,)])
        sizes.append(float(found.sum() / dots().sum()))
        places.append(centre(found)[1] - centre(dots())[1])
    if name == "translation":
        np.testing.assert_allclose(sizes, 1.0, atol=1e-3)
        assert 4.0 < max(np.abs(places)) <= 6.0 + 1e-3
    else:
        assert 1.2 < max(sizes) <= 1.2**2 * 1.03
        assert 0.8**2 * 0.97 <= min(sizes) < 0.83


def test_a_limit_out_of_range():
    with pytest.raises(StudyFileError, match="rotation = 90"):
        Augmentation(rotation=90)
