"""Which contrast a segmenter needs: that what is left out is left out, and that the record says what it cost."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError
from aimed.core.volume import Volume
from aimed.explain.volumes import contrast_importance, hidden_channel, with_channel_of

REGIONS = {"whole tumour": (1, 2), "tumour core": 2}


class Scans:
    """Scans of two contrasts in a head of ones: the first shows the whole, the second the core."""

    def __init__(self, n=8, missing=(), side=10):
        self.n, self.missing, self.side, self.read = n, missing, side, 0

    def __len__(self):
        return self.n

    def mask(self, row):
        found = np.zeros((self.side,) * 3, dtype=np.uint8)
        a = 2 + row % 3
        found[a : a + 4, 3:7, 3:7] = 1
        if row not in self.missing:
            found[a : a + 2, 4:6, 4:6] = 2
        return found

    def scan(self, row):
        self.read += 1
        mask = self.mask(row)
        array = np.zeros((2, *mask.shape), dtype=np.float32)
        array[:, 1:-1, 1:-1, 1:-1] = 1.0
        array[0] += 4 * (mask > 0)
        array[1] += 4 * (mask == 2)
        return Volume(array=array, affine=np.eye(4), channels=("FLAIR", "T1gd"))


def outline(scan):
    return scan.array > 3


def test_each_region_needs_its_own_contrast():
    found = contrast_importance(outline, Scans(), regions=REGIONS)
    falls = [one["falls"]["other"]["mean"]["value"] for one in found["channels"]]
    assert falls == sorted(falls, reverse=True)
    by_name = {one["channel"]: one for one in found["channels"]}
    assert by_name["FLAIR"]["states"]["whole_tumour"] == "needed"
    assert by_name["FLAIR"]["states"]["tumour_core"] == "hardly used"
    assert by_name["T1gd"]["states"]["tumour_core"] == "needed"
    assert by_name["T1gd"]["states"]["whole_tumour"] == "hardly used"
    assert all(m["value"] == 1.0 for m in found["dice"].values())
    assert found["regions"] == {"whole_tumour": "whole tumour", "tumour_core": "tumour core"}
    json.dumps(found, allow_nan=False)


def test_the_fall_is_dice_with_less_dice_without():
    cases = Scans(6)
    found = contrast_importance(outline, cases, regions=REGIONS)
    falls = []
    for row in range(6):
        other = with_channel_of(cases.scan(row), cases.scan((row + 1) % 6), 0)
        mine, true = outline(other)[0], cases.mask(row) > 0
        falls.append(1 - 2 * (mine & true).sum() / (mine.sum() + true.sum()))
    flair = next(one for one in found["channels"] if one["channel"] == "FLAIR")
    measure = flair["falls"]["other"]["whole_tumour"]
    assert measure["value"] == pytest.approx(np.mean(falls))
    assert measure["lower"] < measure["value"] < measure["upper"]


def test_a_mean_is_put_in_where_the_networks_see_it():
    torch = pytest.importorskip("torch")
    network = torch.nn.Identity()

    def run(scan):
        seen = network(torch.from_numpy(np.array(scan.array))[None]).numpy()[0]
        return seen > 3

    found = contrast_importance(run, Scans(), regions=REGIONS, networks=[network], fill=[1.0, 1.0])
    assert list(found["fills"]) == ["mean", "other"]
    assert found["judged_by"] == "mean"
    flair = next(one for one in found["channels"] if one["channel"] == "FLAIR")
    assert flair["falls"]["mean"]["whole_tumour"]["value"] == 1.0
    assert flair["falls"]["mean"]["tumour_core"]["value"] == 0.0
    assert not network._forward_pre_hooks
    assert found["outlined"] == 8 * (1 + 4)


def test_hooks_go_when_a_network_fails():
    torch = pytest.importorskip("torch")
    network = torch.nn.Identity()
    with pytest.raises(ZeroDivisionError), hidden_channel([network], 0):
        raise ZeroDivisionError
    assert not network._forward_pre_hooks


def test_the_channel_of_another_head_is_stretched_and_turned():
    mine = np.zeros((2, 6, 8, 10), dtype=np.int16)
    mine[:, 1:5, 2:6, 3:9] = 7
    theirs = np.zeros((2, 12, 12, 12), dtype=np.int16)
    # Brighter to the right, where x falls in an LPS grid.
    theirs[:, 2:10, 2:10, 2:10] = np.arange(18, 10, -1)
    scan = Volume(array=mine, affine=np.eye(4), channels=("a", "b"))
    other = Volume(array=theirs, affine=np.diag([-2.0, -2.0, 2.0, 1.0]), channels=("a", "b"))
    found = with_channel_of(scan, other, 1).array
    assert (found[0] == mine[0]).all()
    assert ((found[1] != 0) == (mine[1] != 0)).all()
    row = found[1, 2, 3, 3:9]
    assert (np.diff(row) > 0).all()
    assert row.min() >= 11
    assert row.max() <= 18
    assert row.mean() == pytest.approx(14.5)


def test_holes_of_the_other_head_are_filled_with_its_mean():
    full = np.ones((1, 6, 6, 6), dtype=np.float32)
    holed = np.full((1, 6, 6, 6), 5.0, dtype=np.float32)
    holed[0, 2:4, 2:4, 2:4] = 0
    found = with_channel_of(
        Volume(array=full, affine=np.eye(4)), Volume(array=holed, affine=np.eye(4)), 0
    ).array  # fmt: skip
    assert found[0] == pytest.approx(5.0)


def test_the_way_back_to_the_scan_is_kept():
    scan = Volume(array=np.ones((2, 6, 6, 6)), affine=np.eye(4)).cropped((1, 1, 1), (5, 5, 5))
    assert with_channel_of(scan, scan, 0).origin.shape == (6, 6, 6)


def test_partners_are_other_patients():
    seen = []

    class Watched(Scans):
        def scan(self, row):
            seen.append(row)
            return super().scan(row)

    contrast_importance(outline, Watched(6), regions=REGIONS, patient=list("aabbcc"))
    pairs = [(seen[i], seen[i + 1]) for i in range(1, len(seen), 3)]
    assert pairs[:3] == [(0, 2), (1, 2), (2, 4)]


def test_few_patients_are_no_evidence():
    found = contrast_importance(outline, Scans(8), regions=REGIONS, patient=list("aabbccdd"))
    assert {state for one in found["channels"] for state in one["states"].values()} == {"not enough evidence"}
    assert "not enough evidence" in found["sentence"]


def test_cases_without_a_region_say_nothing_of_it():
    found = contrast_importance(outline, Scans(8, missing=(0, 1)), regions=REGIONS)
    assert found["dice"]["tumour_core"]["n"] == 6
    assert found["dice"]["mean"]["n"] == 8
    never = contrast_importance(outline, Scans(6, missing=range(6)), regions=REGIONS)
    one = never["channels"][0]
    assert one["falls"]["other"]["tumour_core"]["value"] is None
    assert one["states"]["tumour_core"] == "not enough evidence"


def test_one_contrast_cannot_be_left_out():
    class One(Scans):
        def scan(self, row):
            full = super().scan(row)
            return Volume(array=full.array[:1], affine=np.eye(4), channels=("FLAIR",))

    found = contrast_importance(lambda scan: scan.array > 3, One(3), regions={"whole": (1, 2)})
    assert found["channels"] == []
    assert found["outlined"] == 3
    assert "nothing can be left out" in found["sentence"]


def test_a_sample_of_whole_patients_that_the_seed_fixes():
    found = [
        contrast_importance(outline, Scans(12), regions=REGIONS, max_cases=6, patient=np.arange(12) // 2, seed=seed)
        for seed in (3, 3)
    ]
    assert found[0] == found[1]
    assert found[0]["n"] == 6
    assert found[0]["patients"] == 3
    assert "6 of 12" in found[0]["sampled"]


def test_progress_goes_to_the_end():
    heard = []
    contrast_importance(outline, Scans(3), regions=REGIONS, progress=lambda share, text: heard.append(share))
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert len(heard) == 3 * 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"regions": {}}, "0 regions"),
        ({"channels": ["a"]}, "1 names for 2"),
        ({"patient": ["p"] * 4}, "one patient"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(DataError, match=words):
        contrast_importance(outline, Scans(4), **{"regions": REGIONS, **change})


def test_outlines_on_another_grid_are_refused():
    with pytest.raises(DataError, match="on the grid of the masks"):
        contrast_importance(lambda scan: scan.array[:, 1:] > 3, Scans(4), regions=REGIONS)


def test_an_empty_channel_of_another_patient_is_refused():
    scan = Volume(array=np.ones((2, 4, 4, 4)), affine=np.eye(4))
    array = np.ones((2, 4, 4, 4))
    array[1] = 0
    with pytest.raises(DataError, match="channel 2 is empty"):
        with_channel_of(scan, Volume(array=array, affine=np.eye(4)), 1)
    with pytest.raises(DataError, match="the same channels"):
        with_channel_of(scan, Volume(array=array[:1], affine=np.eye(4)), 0)
