"""The cohort of a segmentation study: what is read, refused, counted and said of each scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aimed.core import DataError, StudyFileError
from aimed.core.volume import Volume
from aimed.study.spec import read_spec
from aimed.study.volumes import (
    channels_of,
    masks_of,
    read_volume_cohort,
    reference_of,
    volume_facts,
    volumes_of,
)

pytest.importorskip("nibabel")

HEAD = """
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
channels = ["T1w", "T2w"]
modality = "MR"
[outcome]
regions = { "whole" = [1, 2], "core" = [2] }
"""


def write_cases(folder: Path, n: int = 6, channels: int = 2) -> None:
    from aimed.readers.nifti import write_nifti

    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        mask = np.zeros((8, 10, 12), dtype=np.uint8)
        mask[2:5, 3:7, 4:8] = 1
        if k % 2:
            mask[3, 4:6, 5:7] = 2
        scan = rng.integers(50, 90, (channels, *mask.shape)).astype(np.int16) + 40 * mask
        affine = np.diag([-1.0, 1.0, 2.0, 1.0])
        write_nifti(Volume(array=scan, affine=affine), folder / f"scan{k}.nii.gz")
        write_nifti(Volume(array=mask, affine=affine, labels=True), folder / f"mask{k}.nii.gz")
        rows.append({"patient": f"p{k // 2}", "image": f"scan{k}.nii.gz", "label": f"mask{k}.nii.gz", "age": 40 + k})
    pl.DataFrame(rows).write_csv(folder / "cases.csv")


def spec_of(folder: Path, text: str = HEAD):
    return read_spec(text, folder=folder)


def test_volumes_of_regions_are_measured_on_the_source_grid(tmp_path):
    write_cases(tmp_path)
    cohort = read_volume_cohort(spec_of(tmp_path), tmp_path / "runs")
    assert (cohort.n, cohort.patients) == (6, 3)
    assert masks_of(cohort).targets == ("whole", "core")
    whole = 3 * 4 * 4 * 2.0 / 1000
    np.testing.assert_allclose(masks_of(cohort).volumes[:, 0], whole)
    np.testing.assert_allclose(masks_of(cohort).volumes[:, 1], [0, 4 * 2.0 / 1000] * 3)
    assert channels_of(cohort) == ("T1w", "T2w")
    facts = volume_facts(cohort)
    assert facts["spacing"]["median"] == [2.0, 1.0, 1.0]
    assert facts["refused"] == {}


def test_scans_that_cannot_be_used_are_counted_and_the_others_go_on(tmp_path):
    write_cases(tmp_path)
    (tmp_path / "scan2.nii.gz").write_bytes(b"no volume")
    (tmp_path / "mask5.nii.gz").unlink()
    cohort = read_volume_cohort(spec_of(tmp_path), tmp_path / "runs")
    assert cohort.n == 4
    assert volume_facts(cohort)["refused"] == {"MISSING": 1, "TRUNCATED": 1}
    assert [(step.step, step.removed) for step in cohort.flow][1] == ("Scans that can be read", 2)
    told = volumes_of(cohort).refusals()
    assert [(one["row"], one["file"], one["code"]) for one in told] == [
        (3, "scan2.nii.gz", "TRUNCATED"),
        (6, "scan5.nii.gz", "MISSING"),
    ]
    assert all("no volume" not in one["reason"] for one in told)


def test_a_region_that_no_mask_holds_is_named(tmp_path):
    write_cases(tmp_path)
    text = HEAD.replace('"core" = [2]', '"core" = [2], "rim" = [7]')
    with pytest.raises(DataError, match="no mask holds the region 'rim'"):
        read_volume_cohort(spec_of(tmp_path, text), tmp_path / "runs")


def test_several_volumes_in_a_file_need_names_as_they_could_be_a_time_series(tmp_path):
    write_cases(tmp_path)
    text = HEAD.replace('channels = ["T1w", "T2w"]\n', "")
    with pytest.raises(DataError, match=r"TIME_SERIES 6.*\[volumes\] channels"):
        read_volume_cohort(spec_of(tmp_path, text), tmp_path / "runs")


def test_one_channel_needs_no_name(tmp_path):
    write_cases(tmp_path, channels=1)
    text = HEAD.replace('channels = ["T1w", "T2w"]\n', "")
    assert channels_of(read_volume_cohort(spec_of(tmp_path, text), tmp_path / "runs")) == ("scan",)


def test_labels_of_no_region_are_background_and_unknown_voxels_stay(tmp_path):
    spec = spec_of(tmp_path)
    found = reference_of(spec, np.array([0, 1, 2, 3, 254, 255], dtype=np.uint8))
    assert found.tolist() == [0, 1, 2, 0, 0, 255]


def test_a_mask_that_was_not_finished_has_no_volume(tmp_path):
    write_cases(tmp_path)
    from aimed.readers.nifti import read_nifti, write_nifti

    mask = read_nifti(tmp_path / "mask0.nii.gz", labels=True)
    voxels = mask.array.copy()
    voxels[0] = 255
    write_nifti(Volume(array=voxels, affine=mask.affine, labels=True), tmp_path / "mask0.nii.gz")
    volumes = masks_of(read_volume_cohort(spec_of(tmp_path), tmp_path / "runs")).volumes
    assert np.isnan(volumes[0]).all()
    assert np.isfinite(volumes[1:]).all()


def test_the_digest_follows_the_content_of_scans_and_masks(tmp_path):
    write_cases(tmp_path)
    first = read_volume_cohort(spec_of(tmp_path), tmp_path / "runs").digest()
    assert read_volume_cohort(spec_of(tmp_path), tmp_path / "other").digest() == first
    (tmp_path / "mask1.nii.gz").write_bytes((tmp_path / "mask3.nii.gz").read_bytes())
    (tmp_path / "scan1.nii.gz").write_bytes((tmp_path / "scan3.nii.gz").read_bytes())
    assert read_volume_cohort(spec_of(tmp_path), tmp_path / "runs").digest() != first


def test_a_subset_keeps_scan_and_mask_together(tmp_path):
    write_cases(tmp_path)
    cohort = read_volume_cohort(spec_of(tmp_path), tmp_path / "runs")
    some = cohort.take([3, 0])
    for row, (scan, mask) in enumerate(zip((3, 0), (3, 0), strict=True)):
        assert (volumes_of(some).scan(row).array == volumes_of(cohort).scan(scan).array).all()
        assert (volumes_of(some).mask(row) == volumes_of(cohort).mask(mask)).all()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('task = "segment"', 'task = "classify"', r"\[volumes\] needs task 'segment'"),
        ('regions = { "whole" = [1, 2], "core" = [2] }', 'column = "age"', "needs task 'segment' and"),
        ('"core" = [2]', '"core" = []', "a region without labels"),
        ('"core" = [2]', '"core" = [2, 2]', "a label twice"),
        ('"core" = [2]', '"core" = [255]', "regions"),
        ('modality = "MR"', 'modality = "MR"\nwindow = [0, 80]', "Hounsfield"),
        ('modality = "MR"', 'spacing = [1.0, 1.0, 0.0]', "spacing is in mm"),
        ('mask = "label"', 'mask = "label"\ncolumns = { "T1w" = "image" }', "either 'column', or 'columns'"),
        ('patient = "patient"', 'patient = "patient"\nsynthetic = { patients = 30 }', "synthetic"),
        ("regions = {", "exclusive = true\nregions = {", "one label each"),
        ("[outcome]", "[calibrate]\nmethods = ['sigmoid']\n[outcome]", "masks are not recalibrated"),
        ("[outcome]", "[predictors]\ninclude = ['age']\n[outcome]", "outlined from the scan alone"),
    ],
)  # fmt: skip
def test_a_study_file_that_contradicts_itself_is_refused_before_anything_is_read(tmp_path, old, new, said):
    assert old in HEAD
    with pytest.raises(StudyFileError, match=said):
        spec_of(tmp_path, HEAD.replace(old, new))


def test_keys_of_masks_are_refused_in_other_studies():
    text = """
schema = 1
[study]
id = "s"
title = "Table"
task = "classify"
[data]
source = "t.csv"
patient = "id"
[outcome]
column = "y"
[evaluate]
tolerance = 2.0
"""
    with pytest.raises(StudyFileError, match="'tolerance' is of masks"):
        read_spec(text)


CODES = 'regions = { "whole" = [1, 2], "core" = [2] }\ncodes = { %s }'
GOOD = '"whole" = { scheme = "SCT", value = "108369006", meaning = "Neoplasm" }'


def coded(text):
    return read_spec(HEAD.replace('regions = { "whole" = [1, 2], "core" = [2] }', CODES % text))


def test_a_region_may_have_a_standard_code():
    assert coded(GOOD).outcome.codes["whole"].value == "108369006"
    assert read_spec(HEAD).outcome.codes == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace('"whole"', '"whle"'), "did you mean 'whole'"),
        (GOOD.replace("108369006", "1" * 17), "codes"),
        (GOOD.replace("108369006", ""), "codes"),
        (GOOD.replace("SCT", "S C"), "codes"),
        (GOOD.replace("Neoplasm", "Neo" + 2 * chr(92) + "plasm"), "codes"),
        (GOOD.replace("Neoplasm", "  "), "codes"),
        (GOOD.replace("Neoplasm", "n" * 65), "codes"),
        (GOOD.replace(', meaning = "Neoplasm"', ""), "meaning"),
    ],
)
def test_a_code_that_dicom_cannot_hold_is_refused_when_the_study_file_is_read(text, said):
    with pytest.raises(StudyFileError, match=said):
        coded(text)


def test_codes_go_with_regions():
    text = HEAD.replace(
        'regions = { "whole" = [1, 2], "core" = [2] }', 'column = "dead"\n' + CODES.splitlines()[1] % GOOD
    )
    with pytest.raises(StudyFileError, match="goes with 'regions'"):
        read_spec(
            text.replace('"segment"', '"classify"').split("[volumes]")[0] + "[outcome]" + text.split("[outcome]")[1]
        )
