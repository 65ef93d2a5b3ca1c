"""Descriptions of series give a contrast or nothing, and no other word of them."""

from __future__ import annotations

import pytest

from aimed.readers.dicom_slices import contrast


@pytest.mark.parametrize(
    ("words", "agent", "name"),
    [
        ("t2_tirm_tra_dark-fluid", False, "FLAIR"),
        ("T1 FLAIR", False, "T1w"),
        ("T1_SE_POST", False, "T1gd"),
        ("T1w+C", False, "T1gd"),
        ("T1ce", False, "T1gd"),
        ("T1 MPRAGE", True, "T1gd"),
        ("T1 pre", True, "T1w"),
        ("T1 without contrast", False, "T1w"),
        ("ADC (10^-6 mm/s)", False, "ADC"),
        ("ep2d_diff_b1000", False, "DWI"),
        ("SWI_mIP", False, "SWI"),
        ("T2*", False, "T2w"),
        ("localizer", True, None),
        ("", False, None),
    ],
)
def test_words_of_contrasts(words, agent, name):
    assert contrast(words, agent) == name
