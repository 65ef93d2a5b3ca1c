"""Further readers of the test scans: agreement among them and with the model, and what is missing is counted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("nibabel", reason="the imaging extra is not installed")

from aimed.core import DataError, StudyFileError
from aimed.core.volume import Volume
from aimed.metrics.segmentation import dice
from aimed.readers.nifti import read_nifti, write_nifti
from aimed.study.spec import read_spec
from aimed.study.volume_readers import reader_study, readers_digest
from aimed.study.volumes import read_volume_cohort, volumes_of

AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])
STUDY = """
schema = 1
[study]
id = "s"
title = "Blobs in boxes"
task = "segment"
[data]
source = "cases.csv"
patient = "patient"
[volumes]
column = "image"
mask = "label"
readers = ["ann", "bob", "cy"]
modality = "MR"
[outcome]
regions = { "whole" = [1, 2], "core" = [2] }
[variables]
ann.label = "Reader one"
"""


def blob(shift=0, core=0):
    mask = np.zeros((8, 10, 12), dtype=np.uint8)
    mask[2:6, 2:8, 2 + shift : 8 + shift] = 1
    mask[3:5, 4:6, 4 + core : 6 + core] = 2
    return mask


def put(mask, path):
    write_nifti(Volume(array=mask, affine=AFFINE, labels=True), path)


def write_cases(folder, n=7, readers=("ann", "bob", "cy")):
    """Write scans; every reader moves the outline by a voxel more than the one before, in half of the scans."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        scan = rng.integers(50, 90, (8, 10, 12)).astype(np.int16)
        write_nifti(Volume(array=scan, affine=AFFINE), folder / f"scan{k}.nii.gz")
        put(blob(), folder / f"mask{k}.nii.gz")
        row = {"patient": f"p{k}", "image": f"scan{k}.nii.gz", "label": f"mask{k}.nii.gz"}
        for j, name in enumerate(readers):
            put(blob(j if k % 2 else 0), folder / f"{name}{k}.nii.gz")
            row[name] = f"{name}{k}.nii.gz"
        rows.append(row)
    pl.DataFrame(rows).write_csv(folder / "cases.csv")


def cohort_of(folder, text=STUDY):
    spec = read_spec(text, folder=folder)
    return spec, read_volume_cohort(spec, folder / "runs")


def gathered(spec, cohort, found):
    study = reader_study(spec)
    volumes = volumes_of(cohort)
    for row in range(cohort.n):
        study.add(volumes.case(row), volumes.mask_volume(row), found(row))
    return study.block(cohort.patient)


def as_regions(mask):
    return np.stack([mask > 0, mask == 2])


def test_readers_agree_as_their_masks_do_and_the_model_is_beside_them(tmp_path):
    write_cases(tmp_path)
    spec, cohort = cohort_of(tmp_path)
    block = gathered(spec, cohort, lambda row: as_regions(blob(1)))
    assert (block["n"], block["scans"], block["patients"]) == (7, 7, 7)
    assert block["read"] == {"ann": 7, "bob": 7, "cy": 7}
    assert block["refused"] == {}
    assert block["labels"]["ann"] == "Reader one"
    whole = block["regions"]["whole"]

    def overlap(a, b):
        return float(dice(blob(a) > 0, blob(b) > 0))

    steps = np.array([0, 1, 2])
    moved = np.mean([overlap(0, 1), overlap(1, 2), overlap(0, 2)])
    assert whole["measures"]["dice"]["readers"]["value"] == pytest.approx((4 * 1.0 + 3 * moved) / 7)
    beside = (4 * overlap(0, 1) + 3 * np.mean([overlap(1, s) for s in steps])) / 7
    assert whole["measures"]["dice"]["model"]["value"] == pytest.approx(beside)
    gap = whole["measures"]["dice"]["difference"]
    assert gap["value"] == pytest.approx(beside - (4 + 3 * moved) / 7)
    assert gap["lower"] < gap["value"] < gap["upper"]
    first = whole["by_reader"][0]
    assert first["label"] == "Reader one"
    assert first["reference"]["value"] == pytest.approx(1.0)
    assert first["others"]["value"] == pytest.approx((4 + 3 * (overlap(0, 1) + overlap(0, 2)) / 2) / 7)
    assert [(p["first"], p["second"]) for p in whole["pairs"]] == [("ann", "bob"), ("ann", "cy"), ("bob", "cy")]
    assert whole["pairs"][1]["dice"]["value"] == pytest.approx((4 + 3 * overlap(0, 2)) / 7)
    assert 0 < whole["kappa"]["value"] < 1
    # The reader in the middle, whose mask two of three share nearly everywhere, is nearest to the consensus.
    near = [one["consensus"]["value"] for one in whole["by_reader"]]
    assert near[1] == max(near)
    assert whole["consensus"]["n"] == 7
    assert block["regions"]["core"]["measures"]["dice"]["readers"]["value"] == pytest.approx(1.0)


def test_identical_readers_and_model_agree_in_everything(tmp_path):
    write_cases(tmp_path, n=5)
    for path in [p for name in ("ann", "bob", "cy") for p in tmp_path.glob(f"{name}*.nii.gz")]:
        put(blob(), path)
    block = gathered(*cohort_of(tmp_path), lambda row: as_regions(blob()))
    for region in block["regions"].values():
        assert region["kappa"]["value"] == 1
        assert region["measures"]["dice"]["difference"]["value"] == 0
        assert region["measures"]["hd95"]["readers"]["value"] == 0
        assert region["state"] == "not shown"


@pytest.mark.parametrize(("shift", "state", "word"), [(4, "farther", "more"), (1, "closer", "less")])
def test_the_sentence_follows_the_interval(tmp_path, shift, state, word):
    write_cases(tmp_path, n=8)
    for k in range(8):
        put(blob(0), tmp_path / f"ann{k}.nii.gz")
        put(blob(1), tmp_path / f"bob{k}.nii.gz")
        put(blob(2 - (k == 0)), tmp_path / f"cy{k}.nii.gz")
    block = gathered(*cohort_of(tmp_path), lambda row: as_regions(blob(shift)))
    whole = block["regions"]["whole"]
    assert whole["state"] == state
    assert f"the model differs {word} from readers than they do" in whole["sentence"]


def test_masks_that_are_missing_or_refused_are_counted_and_cost_no_scan(tmp_path):
    write_cases(tmp_path)
    (tmp_path / "bob0.nii.gz").unlink()
    (tmp_path / "bob1.nii.gz").write_bytes(b"no volume")
    (tmp_path / "cy1.nii.gz").unlink()
    put(blob()[:-1], tmp_path / "ann2.nii.gz")
    spec, cohort = cohort_of(tmp_path)
    assert cohort.n == 7
    block = gathered(spec, cohort, lambda row: as_regions(blob()))
    assert block["refused"] == {"ann": {"GRIDS_DIFFER": 1}, "bob": {"MISSING": 1, "TRUNCATED": 1}, "cy": {"MISSING": 1}}
    assert block["read"] == {"ann": 6, "bob": 5, "cy": 6}
    assert block["by_number"] == {"1": 1, "2": 2, "3": 4}
    assert block["scans"] == block["regions"]["whole"]["n"] == 6
    # Of two masks no consensus is made.
    assert block["regions"]["whole"]["consensus"]["n"] == 4


def test_without_two_masks_of_a_scan_nothing_is_claimed(tmp_path):
    write_cases(tmp_path, n=5)
    for path in [*tmp_path.glob("bob*.nii.gz"), *tmp_path.glob("cy*.nii.gz")]:
        path.unlink()
    block = gathered(*cohort_of(tmp_path), lambda row: as_regions(blob()))
    assert block["scans"] == 0
    whole = block["regions"]["whole"]
    assert whole["measures"]["dice"]["difference"]["value"] is None
    assert whole["consensus"] is None
    assert "no scan with the masks of two readers" in whole["sentence"]


def test_few_patients_have_no_interval(tmp_path):
    write_cases(tmp_path, n=3)
    block = gathered(*cohort_of(tmp_path), lambda row: as_regions(blob(1)))
    whole = block["regions"]["whole"]
    assert whole["measures"]["dice"]["difference"]["lower"] is None
    assert "too few patients" in whole["sentence"]


def test_voxels_that_a_reader_left_open_count_for_nobody(tmp_path):
    write_cases(tmp_path, n=5)
    for k in range(5):
        for name, shift in (("ann", 0), ("bob", 0), ("cy", 0)):
            mask = blob(shift)
            if name == "bob":
                mask[2:4] = 255
            put(mask, tmp_path / f"{name}{k}.nii.gz")
    block = gathered(*cohort_of(tmp_path), lambda row: as_regions(blob()))
    assert block["regions"]["whole"]["measures"]["dice"]["readers"]["value"] == 1


def test_the_digest_follows_the_masks_of_readers_and_the_cohort_does_not(tmp_path):
    write_cases(tmp_path)
    spec, cohort = cohort_of(tmp_path)
    first, data = readers_digest(spec, cohort), cohort.digest()
    assert readers_digest(*cohort_of(tmp_path)) == first
    put(blob(3), tmp_path / "bob2.nii.gz")
    spec, cohort = cohort_of(tmp_path)
    assert cohort.digest() == data
    second = readers_digest(spec, cohort)
    (tmp_path / "bob2.nii.gz").unlink()
    assert len({first, second, readers_digest(*cohort_of(tmp_path))}) == 3
    assert read_nifti(tmp_path / "bob3.nii.gz", labels=True).array.max() == 2


def test_a_study_without_readers_has_none(tmp_path):
    write_cases(tmp_path)
    spec, cohort = cohort_of(tmp_path, STUDY.replace('readers = ["ann", "bob", "cy"]\n', ""))
    assert reader_study(spec) is None
    assert readers_digest(spec, cohort) is None


@pytest.mark.parametrize(
    ("readers", "said"),
    [
        ('["ann"]', "'readers' names 2 to 12 columns"),
        ('["ann", "ann"]', "'readers' names a column twice"),
        ('["ann", "label"]', "'readers' names the column of 'mask'"),
    ],
)
def test_readers_that_cannot_be_compared_are_refused_before_anything_is_read(readers, said):
    with pytest.raises(StudyFileError, match=said):
        read_spec(STUDY.replace('["ann", "bob", "cy"]', readers))


def test_a_column_that_is_not_there_is_named(tmp_path):
    write_cases(tmp_path, n=2)
    with pytest.raises(DataError, match=r"no column 'anne'; .*did you mean 'ann'"):
        cohort_of(tmp_path, STUDY.replace('["ann", ', '["anne", '))
