"""Sketches of scans: what they show is the scan, whatever its units, order of channels or place on the disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aimed.checks.context import Context
from aimed.checks.volume_sketches import VolumeList, sketch_volumes
from aimed.core import Cohort
from aimed.core.volume import Volume


def test_units_and_memory_maps_change_nothing(scans_and_masks, known_of, tmp_path):
    scan, mask = scans_and_masks[0][0], scans_and_masks[1][0]
    np.save(tmp_path / "scan.npy", scan.array)
    mapped = replace(scan, array=np.load(tmp_path / "scan.npy", mmap_mode="r"))
    brighter = replace(scan, array=scan.array.astype(np.float32) * 7)
    record = known_of(scan, mask)
    found = sketch_volumes(VolumeList([scan, mapped, brighter], [mask] * 3, [record] * 3))
    assert np.array_equal(found.small[0], found.small[1])
    assert np.allclose(found.small[0], found.small[2], atol=1e-5)
    assert found.small.shape == (3, 3, 12, 12, 12)
    # Grey levels are centred in the body, which the cells outside of it are not part of.
    assert np.allclose(found.quantiles[:, :, 3], 0, atol=0.5)


def test_relations_turn_their_sign_with_the_order(scans_and_masks, known_of):
    scan, mask = scans_and_masks[0][0], scans_and_masks[1][0]
    found = sketch_volumes(VolumeList([scan], [mask], [known_of(scan, mask)]))
    apart = found.relations[0]
    assert np.allclose(apart[..., :3], -apart.transpose(1, 0, 2)[..., :3])
    assert np.allclose(apart[..., 3], apart[..., 3].T)
    inside = np.corrcoef(scan.array[:, (scan.array != 0).any(axis=0)].astype(float))
    assert np.allclose(found.correlation[0], inside, atol=0.05)


def test_no_scans_and_scans_without_a_body():
    empty = sketch_volumes(VolumeList([], [], []))
    assert (empty.count, empty.rows.size, empty.small.shape) == (0, 0, (0, 0, 12, 12, 12))
    black = Volume(array=np.zeros((2, 5, 5, 5)), affine=np.eye(4))
    found = sketch_volumes(VolumeList([black], [], [type("Known", (), {"channels": ()})()]))
    assert found.flat.all()
    assert np.isfinite(found.small).all()


def test_a_context_takes_them_once_and_tells_how_far_it_is(scans_and_masks, volume_cohort):
    cohort, split = volume_cohort(*scans_and_masks)
    told = []
    context = Context(cohort, split, progress=told.append)
    assert context.volume_sketches is context.volume_sketches
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert Context(Cohort(patient=["a"], variables=[], columns={})).volumes is None


def test_a_list_of_scans_is_an_asset(scans_and_masks, volume_cohort):
    cohort, _ = volume_cohort(*scans_and_masks)
    some = cohort.take([3, 1])
    assert np.array_equal(some.assets["volumes"].scan(1).array, scans_and_masks[0][1].array)
    assert np.array_equal(some.assets["volumes"].mask(0), scans_and_masks[1][3])
    assert some.assets["volumes"].digest() != cohort.assets["volumes"].digest()
