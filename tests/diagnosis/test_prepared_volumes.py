"""Scans on the grid of a network: made once, kept whole or not at all, made anew when anything about them changes."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from aimed.core.volume import Volume
from aimed.diagnosis.prepared_volumes import PreparedVolumes
from aimed.diagnosis.volume_preparation import VolumePreparation


class Scans:
    """Three scans with masks, which count how often they are opened."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.scans = [
            Volume(array=rng.integers(1, 99, (1, 6, 7, 8)).astype(np.int16), affine=np.eye(4), channels=("T1w",))
            for _ in range(3)
        ]
        self.masks = [rng.integers(0, 4, (6, 7, 8)).astype(np.uint8) for _ in range(3)]
        self.records = [SimpleNamespace(digest=f"scan{k}", mask_digest=f"mask{k}") for k in range(3)]
        self.opened = 0

    def __len__(self):
        return 3

    def record(self, row):
        return self.records[row]

    def scan(self, row):
        self.opened += 1
        return self.scans[row]

    def mask_volume(self, row):
        return Volume(array=self.masks[row], affine=np.eye(4), labels=True)


PREPARATION = VolumePreparation(channels=("T1w",))


def arrays(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_scans_are_those_of_the_preparation(tmp_path):
    source = Scans()
    made = PreparedVolumes(source, PREPARATION, tmp_path)
    assert len(made) == len(made.scans) == len(made.masks) == 3
    for row in range(3):
        prepared = PREPARATION.prepared(source.scans[row])
        np.testing.assert_array_equal(made.scans[row], prepared.array)
        assert made.scans[row].dtype == np.float16
        np.testing.assert_array_equal(made.masks[row], PREPARATION.mask_on(source.mask_volume(row), prepared))
    assert [one.shape for one in made.scans] == [one.shape for one in made.scans[0:3]]
    np.testing.assert_array_equal(made.scans[-1], made.scans[2])
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            made.scans[wrong]


def test_each_is_made_once_and_shared(tmp_path):
    source, told = Scans(), []
    made = PreparedVolumes(source, PREPARATION, tmp_path)
    made.make(lambda share, text: told.append(share))
    opened = source.opened
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    stamps = [p.stat().st_mtime_ns for p in arrays(tmp_path)]
    again = PreparedVolumes(source, PREPARATION, tmp_path).make()
    assert source.opened == opened
    assert [p.stat().st_mtime_ns for p in arrays(tmp_path)] == stamps
    assert len(stamps) == 6
    assert not again.scans[0].flags.writeable


def test_nothing_of_another_recipe_or_content_is_used(tmp_path):
    source = Scans()
    made = PreparedVolumes(source, PREPARATION, tmp_path).make()
    coarse = PreparedVolumes(source, VolumePreparation(channels=("T1w",), spacing=(2.0, 2.0, 2.0)), tmp_path)
    assert coarse.scans[0].shape != made.scans[0].shape
    few = PreparedVolumes(source, PREPARATION, tmp_path, clean=lambda mask: np.minimum(mask, 1), recipe="one")
    assert few.masks[0].max() == 1
    assert made.masks[0].max() == 3
    # Another mask of the same scan, and another scan of the same mask.
    source.masks[0] = np.zeros_like(source.masks[0])
    source.records[0] = SimpleNamespace(digest="scan0", mask_digest="another")
    assert made.masks[0].max() == 0
    source.scans[1] = source.scans[2]
    source.records[1] = SimpleNamespace(digest="other", mask_digest="mask1")
    np.testing.assert_array_equal(made.scans[1], made.scans[2])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_a_torn_array_is_made_again(tmp_path, damage):
    source = Scans()
    made = PreparedVolumes(source, PREPARATION, tmp_path).make()
    wanted = [np.array(one) for one in (*made.scans, *made.masks)]
    for path in arrays(tmp_path):
        path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    found = [np.array(one) for one in (*made.scans, *made.masks)]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_disk_that_fails_leaves_no_half_array(tmp_path, monkeypatch):
    made = PreparedVolumes(Scans(), PREPARATION, tmp_path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        made.make()
    monkeypatch.undo()
    assert arrays(tmp_path) == []
    assert len(arrays(made.make().folder)) == 6


def test_what_a_killed_process_left_is_cleared_away_after_a_day(tmp_path):
    made = PreparedVolumes(Scans(), PREPARATION, tmp_path)
    made.folder.mkdir(parents=True)
    old, new = made.folder / ".a.making", made.folder / ".b.making"
    for path in (old, new):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * 86_400
    os.utime(old, (long_ago, long_ago))
    made.make()
    assert not old.exists()
    # Another process may be at it.
    assert new.exists()


def test_no_name_tells_anything_of_the_source(tmp_path):
    source = Scans()
    source.records[0] = SimpleNamespace(digest="SECRET", mask_digest="SECRET")
    made = PreparedVolumes(source, PREPARATION, tmp_path).make()
    assert not [p for p in arrays(made.folder) if "SECRET" in str(p)]
