"""The scans of a cohort keep their order, their masks and their records, and never hold a refused row."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="the imaging extra is not installed")

from aimed.core import DataError
from aimed.core.cohort import Asset
from aimed.core.volume import Volume
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_cache import VolumeCache
from aimed.readers.volume_set import VolumeSet
from aimed.readers.volume_table import VolumeCase


@pytest.fixture
def scans(tmp_path):
    cases = []
    for k in range(5):
        image, mask = tmp_path / f"s{k}.nii.gz", tmp_path / f"m{k}.nii.gz"
        voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5) + np.int16(100 * k)
        write_nifti(Volume(array=voxels, affine=np.eye(4)), image)
        write_nifti(Volume(array=(voxels % (k + 2) == 0).astype(np.uint8), affine=np.eye(4), labels=True), mask)
        cases.append(VolumeCase((image,), mask, ("T1w",), {0: "background", 1: "tumour"}, "MR"))
    cases[2].images[0].write_bytes(b"")
    return VolumeSet(VolumeCache.build(cases, tmp_path / "cache"), cases, folder=tmp_path)


def test_refused_rows_are_left_out(scans):
    assert len(scans) == 4
    assert scans.index.tolist() == [0, 1, 3, 4]
    assert [r.usable for r in scans.records] == [True] * 4
    with pytest.raises(DataError, match="1 rows without voxels"):
        VolumeSet(scans.cache, [scans.case(0)] * 5, [0, 2])
    with pytest.raises(DataError, match="as many of both"):
        VolumeSet(scans.cache, scans.cases)


def test_rows_are_taken_by_index_and_by_mask(scans):
    asset: Asset = scans
    assert len(asset.take([])) == 0
    for taken in (scans.take([3, 1]), scans.take(np.array([False, True, False, True])).take([1, 0])):
        assert [taken.case(k).images[0].name for k in range(2)] == ["s4.nii.gz", "s1.nii.gz"]
        assert [c.images[0].name for c in taken.cases] == ["s4.nii.gz", "s1.nii.gz"]
        assert int(taken.scan(0).array.max()) == 459
        assert taken.scan(0).origin.same_as(taken.mask_volume(0).grid)
        assert taken.record(1).labels == taken.records[1].labels == {0: 40, 1: 20}
        np.testing.assert_array_equal(taken.mask(1), taken.mask_volume(1).array)
        assert taken.folder == scans.folder


def test_the_digest_is_of_the_content_in_its_order(scans, tmp_path):
    assert scans.digest() == scans.take([0, 1, 2, 3]).digest()
    assert scans.digest() != scans.take([1, 0, 2, 3]).digest()
    assert scans.digest() != scans.take([0, 1, 2]).digest()
    case = scans.case(0)
    other = VolumeCase(case.images, case.mask, ("T2w",), case.labels, "MR")
    one, two = (VolumeSet(VolumeCache.build([c], tmp_path / "cache"), [c]) for c in (case, other))
    assert one.digest() == scans.take([0]).digest() != two.digest()
