import warnings

import numpy as np
import pytest

from aimed.diagnosis.image_rows import ImageRows
from aimed.diagnosis.standardise import Standardise


def test_pictures_that_use_few_grey_levels_are_told():
    twelve = np.random.default_rng(0).integers(0, 4015, (6, 8, 8)).astype(np.uint16)
    with pytest.warns(UserWarning, match=r"brightest pixel is 4,\d\d\d where white is 65,535"):
        narrow = Standardise.of_pixels(ImageRows(twelve))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = Standardise.of_pixels(ImageRows(twelve * 16))
    assert wide.mean == pytest.approx(16 * narrow.mean)
    assert wide.sd == pytest.approx(16 * narrow.sd)
