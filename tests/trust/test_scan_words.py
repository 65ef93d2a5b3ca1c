"""Words on a study of scans: each sentence from its numbers, and nothing where they are missing."""

import pytest

from aimed.trust import scan_words

EVERY = [
    "files",
    "refused",
    "regions",
    "augmentation",
    "selection",
    "imbalance",
    "inputs",
    "overlap",
]


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_said_of_an_empty_run(name):
    assert getattr(scan_words, name)({}) is None
    assert scan_words.frame({}) == ""
    assert scan_words.contrasts({}) == scan_words.worst({}) == scan_words.labels({}) == []


@pytest.mark.parametrize("name", EVERY)
def test_each_sentence_holds_what_the_record_holds(name, outlines):
    said = getattr(scan_words, name)(outlines)
    assert said
    assert "None" not in said


def test_a_run_on_pictures_is_no_run_on_scans(pictures):
    assert not scan_words.of_scans(pictures)
    assert scan_words.labels(pictures) == []


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (None, "were not changed at random"),
        (False, "were not changed at random"),
        (True, "were changed at random"),
        ({"bias": 0.3}, "(smooth shading by up to 0.3 in logarithms, never mirrored)"),
        ({"mirror": [0, 2]}, "(mirrored foot to head and left to right)"),
    ],
)
def test_augmentation_is_told_as_far_as_it_is_recorded(limits, said, outlines):
    outlines["model"]["network"]["augmentation"] = limits
    assert scan_words.augmentation(outlines).endswith(said)


def test_one_region_has_one_mask_and_one_volume(outlines):
    outlines["performance"]["labels"] = {"liver": "liver"}
    assert scan_words.inputs(outlines).endswith("Output: a mask of liver on the grid of the scan, and its volume in ml")


def test_no_refused_scan_is_said_too(outlines):
    outlines["data"]["volumes"]["refused"] = {}
    assert scan_words.refused(outlines).startswith("0 scans could not be used and are in no part; a scan without")


def test_a_window_is_told_with_its_ends(outlines):
    outlines["model"]["plan"]["scaling"] = {"kind": "window", "low": -100.0, "high": 300.0}
    assert "cut at -100 and 300" in scan_words.frame(outlines)
