import json

import numpy as np
import pytest

from aimed.core import BundleError
from aimed.core.packed_arrays import packed, unpacked


def test_arrays_come_back_as_they_were_and_damage_is_seen():
    for array in (np.zeros((0, 3)), np.arange(6, dtype=np.int32).reshape(2, 3), np.array([np.nan, 1.0])):
        again = unpacked(json.loads(json.dumps(packed(array))))
        assert again.dtype == array.dtype
        assert np.array_equal(again, array, equal_nan=array.dtype.kind == "f")
    good = packed(np.ones(4))
    for change in (
        {"shape": [5]},
        {"shape": [3]},
        {"shape": [1 << 40]},
        {"shape": [-1]},
        {"dtype": "O"},
        {"zlib": "!"},
    ):
        with pytest.raises(BundleError):
            unpacked({**good, **change})
