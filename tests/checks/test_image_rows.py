"""Images in blocks: cells are exact means, frames are cut to the picture, wrong input is refused."""

import numpy as np
import pytest

from aimed.checks.image_rows import Pictures, shrink
from aimed.core.errors import DataError
from aimed.core.image import ImageInfo


def info(rows, columns):
    return ImageInfo(digest="", format="png", rows=rows, columns=columns, bits_stored=8, scaling="as_stored")


def test_cells_that_divide_the_frame_are_block_means():
    frame = np.random.default_rng(0).integers(0, 256, (12, 20)).astype(np.uint8)
    assert np.allclose(shrink(frame, 3, 5), frame.reshape(3, 4, 5, 4).mean(axis=(1, 3)), rtol=1e-6)


@pytest.mark.parametrize("cells", [(3, 5), (7, 11), (40, 30)])
def test_the_mean_of_all_cells_is_the_mean_of_the_frame(cells):
    frame = np.random.default_rng(1).integers(0, 256, (13, 17)).astype(np.uint8)
    assert shrink(frame, *cells).mean() == pytest.approx(frame.mean(), rel=1e-5)


def test_the_bars_around_a_fitted_picture_are_cut_off():
    frames = np.zeros((1, 100, 100), dtype=np.uint8)
    frames[0, :, 25:75] = 9
    cut = Pictures(frames, [info(400, 200)]).cut(0, frames[0])
    assert cut.shape == (100, 50)
    assert (cut == 9).all()


def test_blocks_cover_all_images_once():
    frames = np.arange(10, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 2), dtype=np.uint8)
    got = [(start, block[:, 0, 0].tolist()) for start, block in Pictures(frames).blocks(4)]
    assert got == [(0, [0, 1, 2, 3]), (4, [4, 5, 6, 7]), (8, [8, 9])]


@pytest.mark.parametrize(
    ("frames", "infos"),
    [
        (np.zeros((2, 4, 4, 3), dtype=np.uint8), None),
        (np.zeros((2, 4, 4)), None),
        (np.zeros((2, 4, 4), dtype=np.uint8), [info(4, 4)]),
    ],
)
def test_wrong_input_is_refused(frames, infos):
    with pytest.raises(DataError):
        list(Pictures(frames, infos).blocks())
