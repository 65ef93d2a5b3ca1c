"""Arms that are not two arms are refused with the reason, before any estimator sees them."""

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.treatment.arms import as_arms, few_rows


@pytest.mark.parametrize("given", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0], np.array([0, 1, 1], dtype=object)])
def test_two_arms_in_any_type(given):
    assert as_arms(given).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0, 1, 2], "3 different values"),
        ([0, 1, np.nan], "missing in 1 of 3"),
        ([0, 1, None], "missing in 1 of 3"),
        (["placebo", "drug"], "not coded 0 and 1"),
        (["0", "1"], "not coded 0 and 1"),
        ([1, 2], "not coded 0 and 1"),
        ([[0, 1]], "shape"),
        ([], "shape"),
    ],
)
def test_what_is_no_pair_of_arms_is_refused(given, said):
    with pytest.raises(DataError, match=said) as caught:
        as_arms(given)
    assert "placebo" not in str(caught.value)


def test_one_arm_is_refused_with_what_to_check():
    for value, word in ((1, "treated"), (0, "untreated")):
        with pytest.raises(NotEstimableError, match=f"all 4 rows of T are {word}"):
            as_arms([value] * 4)


def test_length_is_checked():
    with pytest.raises(DataError, match="a vector with one value a row, 3"):
        as_arms([0, 1], 3)


def test_small_arms_are_told():
    assert "only 5 rows" in few_rows(5, 400)
    assert few_rows(20, 20) == ""
