"""Scans that are there twice: copies are found whatever was done to their greys, other scans are left in peace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.volume_duplicates import check, check_volume_duplicates, find_volume_duplicates
from aimed.core import Cohort
from aimed.core.errors import DataError


def noisy(array, share=0.1):
    rng = np.random.default_rng(5)
    seen = array > 0
    return np.where(seen, np.clip(array + rng.normal(0, share * array[seen].std(), array.shape), 1, None), 0)


CHANGES = {
    "noise": noisy,
    "brighter": lambda a: a * 3,
    "gamma": lambda a: (a / a.max()) ** 0.7 * 1000,
    "as numbers": lambda a: a.astype(np.float32) / 7,
}


def findings(cohort_and_split):
    return [f for f in check(Context(*cohort_and_split)) if f.severity.value != "NOTE"]


def only(found):
    assert len(found) == 1, [f.message for f in found]
    return found[0]


@pytest.fixture
def with_copy(scans_and_masks, volume_cohort):
    """Return a cohort in which a scan takes the place of another: ``with_copy(at, of, change, patients)``."""

    def make(at, of, change=lambda a: a, patients=None, records=None):
        scans, masks = (list(part) for part in scans_and_masks)
        scans[at] = replace(scans[of], array=np.asarray(change(scans[of].array)))
        masks[at] = 1 - np.minimum(masks[at], 1)
        return volume_cohort(scans, masks, patients=patients, records=records)

    return make


def test_different_scans_are_no_copies(scans_and_masks, volume_cohort):
    cohort, split = volume_cohort(*scans_and_masks)
    assert check(Context(cohort, split)) == []


def test_a_copy_in_the_other_part_stops_the_study(with_copy):
    found = findings(with_copy(15, 2))
    assert [(f.severity.value, f.where) for f in found] == [("STOP", "train+test"), ("STOP", "patient")]
    assert found[0].message == (
        "1 of 6 scans (16.7 %) of the smaller part is a copy of a scan of the other part of train and test."
    )
    assert found[0].evidence == {"scans": 1, "exact": 1, "near": 0, "smaller": "test", "n": 6}
    assert not any("P0" in str(f.to_dict()) for f in found)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_in_the_other_part_and_in_one(with_copy, change):
    across = only(findings(with_copy(15, 2, CHANGES[change])))
    assert (across.severity.value, across.evidence["near"]) == ("STOP", 1)
    inside = only(findings(with_copy(5, 2, CHANGES[change])))
    assert (inside.severity.value, inside.where, inside.evidence["pairs"]) == ("WARN", "train", 1)
    assert inside.evidence["lowest"] > inside.evidence["limit"] >= 0.8


def test_a_mirrored_copy(with_copy):
    inside = only(findings(with_copy(5, 2, lambda a: a[..., ::-1])))
    assert inside.evidence["mirrored"] == 1


def test_copies_of_one_patient(with_copy):
    patients = [f"P{k:03d}" for k in range(18)]
    patients[5] = patients[2]
    exact = only(findings(with_copy(5, 2, patients=patients)))
    assert exact.message == "1 of 13 scans (7.7 %) of train repeats another one voxel by voxel."
    near = check(Context(*with_copy(5, 2, noisy, patients=patients)))
    assert [f.severity.value for f in near] == ["NOTE"]
    assert "of one patient" in near[0].message


def test_the_same_files_are_copies_without_a_look(scans_and_masks, volume_cohort, known_of):
    scans, masks = (part[:3] for part in scans_and_masks)
    records = [known_of(s, m) for s, m in zip(scans, masks, strict=True)]
    records[1] = replace(records[1], digest=records[0].digest)
    found = check(Context(*volume_cohort(scans, masks, records=records)))
    assert [f.severity.value for f in found] == ["STOP", "WARN", "NOTE"]
    assert "too few to look for near copies" in found[-1].message


def test_groups_join_chains_of_copies(scans_and_masks, volume_cohort):
    scans, masks = (list(part) for part in scans_and_masks)
    scans[4] = scans[9] = scans[1]
    context = Context(*volume_cohort(scans, masks))
    found = find_volume_duplicates(context.volumes, context.volume_sketches)
    assert found.groups(found.exact)[[1, 4, 9]].tolist() == [0, 0, 0]
    assert (found.groups() >= 0).sum() == 3


def test_one_mask_on_two_scans(scans_and_masks, volume_cohort):
    scans, masks = (list(part) for part in scans_and_masks)
    masks[4] = masks[3]
    found = only(findings(volume_cohort(scans, masks)))
    assert (found.severity.value, found.where, found.evidence["scans"]) == ("WARN", "masks", 2)
    masks[15] = masks[3]
    assert only(findings(volume_cohort(scans, masks))).severity.value == "STOP"
    # As many voxels in another place are another mask.
    masks[15], masks[4] = scans_and_masks[1][15], np.roll(masks[3], 1, axis=0)
    assert findings(volume_cohort(scans, masks)) == []


def test_empty_masks_are_not_the_same(scans_and_masks, volume_cohort):
    scans, masks = (list(part) for part in scans_and_masks)
    masks[4] = masks[3] = np.zeros_like(masks[3])
    assert findings(volume_cohort(scans, masks)) == []


def test_parts_that_do_not_fit(scans_and_masks, volume_cohort):
    context = Context(*volume_cohort(*scans_and_masks))
    found = find_volume_duplicates(context.volumes, context.volume_sketches)
    with pytest.raises(DataError, match="beyond the scans"):
        check_volume_duplicates(found, range(18), {"train": [18]})


def test_no_scans():
    assert check(Context(Cohort(patient=["a"], variables=[], columns={}))) == []
