"""Grids of scans: mirrored, flipped, sheared, odd in spacing, field or size, and what readers noted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.volume_geometry import check, flipped_scans, handedness
from aimed.checks.volume_sketches import VolumeList, sketch_volumes
from aimed.core import Cohort
from aimed.core.grid import Grid


@pytest.fixture(scope="module")
def records(scans_and_masks, known_of):
    return [known_of(s, m) for s, m in zip(*scans_and_masks, strict=True)]


@pytest.fixture
def found(scans_and_masks, records, volume_cohort):
    """Return the findings when what is known of some scans is changed: ``found({row: changes})``."""

    def run(changes, scans=None):
        changed = [replace(r, **changes.get(k, {})) for k, r in enumerate(records)]
        return check(Context(*volume_cohort(scans or scans_and_masks[0], scans_and_masks[1], records=changed)))

    return run


def placed(record, affine):
    grid = Grid(record.shape, np.asarray(affine, dtype=float))
    return {"affine": tuple(map(tuple, grid.affine.tolist())), "spacing": grid.spacing, "orientation": grid.orientation}


def only(found):
    assert len(found) == 1, [f.message for f in found]
    return found[0]


def test_like_grids_have_nothing_to_tell(found):
    assert found({}) == []


@pytest.mark.parametrize("code", ["RAS", "LPS", "LAS", "RPI", "ASR", "PIR", "SAL", "IRP"])
def test_hands_are_those_of_determinants(code):
    rows = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    matrix = np.zeros((3, 3))
    for axis, letter in enumerate(code):
        matrix[rows[letter][0], axis] = rows[letter][1]
    assert handedness(code) == round(np.linalg.det(matrix))


def test_one_mirrored_affine_is_warned_of(found, records):
    mirrored = found({16: placed(records[16], np.diag([-6.0, 6, 6, 1]))})
    assert [f.severity.value for f in mirrored] == ["WARN", "NOTE"]
    assert mirrored[0].message.startswith("1 of 18 scans (5.6 %) has voxel axes that are the mirror image")
    assert mirrored[0].evidence["by_part"] == {"train": 0, "test": 1}
    assert mirrored[0].evidence["orientations"] == {"RAS": 17, "LAS": 1}


def test_orientations_of_one_hand_and_mixed_hands_are_told(found, records):
    turned = placed(records[0], np.diag([-6.0, -6, 6, 1]))
    assert only(found({0: turned})).severity.value == "NOTE"
    mixed = {k: placed(records[k], np.diag([-6.0, 6, 6, 1])) for k in range(9)}
    assert only(found(mixed)).severity.value == "NOTE"


@pytest.mark.parametrize(("change", "name"), [
    (lambda a: a[:, ::-1], "top to bottom"),
    (lambda a: a[:, :, ::-1], "front to back"),
    (lambda a: a.swapaxes(1, 2), "height and depth"),
    (lambda a: a.swapaxes(2, 3), "depth and width"),
])  # fmt: skip
def test_voxels_that_lie_otherwise_than_the_affine_says(found, scans_and_masks, change, name):
    scans = list(scans_and_masks[0])
    scans[2] = replace(scans[2], array=change(scans[2].array))
    flipped = only(found({}, scans))
    assert flipped.severity.value == "WARN"
    assert flipped.evidence["changes"] == {name: 1}


def test_left_and_right_cannot_be_told(found, scans_and_masks):
    scans = list(scans_and_masks[0])
    scans[2] = replace(scans[2], array=scans[2].array[..., ::-1])
    assert found({}, scans) == []


def test_flips_of_phantoms(tmp_path):
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    from aimed.readers.volume_cache import VolumeCache
    from aimed.readers.volume_set import VolumeSet
    from aimed.readers.volume_table import read_volume_table
    from aimed.synthetic.brain_study import write_brain_study

    write_brain_study(tmp_path / "study", 8, formats=("nifti",), size=32, spacing=5.5, difficulty=0.9, seed=3)
    cases = list(read_volume_table(tmp_path / "study" / "dataset.json").cases)
    cached = VolumeSet(VolumeCache.build(cases, tmp_path / "cache"), cases)
    assert flipped_scans(sketch_volumes(cached)) == {}
    for axis, name in ((1, "top to bottom"), (2, "front to back")):
        scans = [cached.scan(k) for k in range(8)]
        plain = [
            replace(s, array=np.flip(s.array, axis) if k == 5 else np.asarray(s.array)) for k, s in enumerate(scans)
        ]
        found = flipped_scans(sketch_volumes(VolumeList(plain, [], cached.records)))
        assert {key: rows.tolist() for key, rows in found.items()} == {name: [5]}


def test_spacing(found, records):
    several = only(found({0: placed(records[0], np.diag([7.0, 6, 6, 1]))}))
    assert (several.severity.value, several.evidence["scans"]) == ("NOTE", 1)
    assert several.evidence["range_mm"]["width"] == [6.0, 7.0]
    # Along the axes of the body, in whatever order the voxels lie.
    sagittal = {k: placed(r, [[0, 0, 6, 0], [7, 0, 0, 0], [0, 7, 0, 0], [0, 0, 0, 1]]) for k, r in enumerate(records)}
    axial = {k: placed(r, np.diag([6.0, 7, 7, 1])) for k, r in enumerate(records) if k % 2}
    assert {f.message for f in found({**sagittal, **axial})} == {"The scans are stored in 2 orientations."}


def test_units_gone_wrong(found, records):
    messages = [f.message for f in found({0: placed(records[0], np.diag([60.0, 60, 60, 1]))})]
    assert any("spacing twice" in m for m in messages)
    assert any("1.5 times as much" in m for m in messages)
    assert any("twice the volume" in m for m in messages)


def test_parts_of_other_spacing(found, records):
    fine = {k: placed(records[k], np.diag([4.5, 4.5, 4.5, 1])) for k in range(12, 18)}
    shifted = [f for f in found(fine) if f.where == "train+test"]
    assert only(shifted).evidence["ratio"] == pytest.approx(6 / 4.5)


def test_thick_slices_tilt_and_shear(found, records):
    thick = {k: placed(r, np.diag([1.0, 1, 4, 1])) for k, r in enumerate(records)}
    assert only(found(thick)).message.startswith("18 of 18 scans (100.0 %) have slices more than 3 times as thick")
    angle = np.radians(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    tilted = only(found({k: placed(r, turn) for k, r in enumerate(records)}))
    assert (tilted.severity.value, tilted.evidence["largest_degrees"]) == ("NOTE", pytest.approx(20))
    sheared = np.diag([6.0, 6, 6, 1])
    sheared[1, 2] = 1.0
    found_shear = [f for f in found({3: placed(records[3], sheared)}) if "sheared" in f.message]
    assert (only(found_shear).severity.value, found_shear[0].evidence["scans"]) == ("WARN", 1)


def test_modalities_and_notes(found):
    mixed = only(found({0: {"modality": "CT"}}))
    assert mixed.evidence["modalities"] == {"CT": 1, "MR": 17}
    notes = {
        k: {"notes": (f"sform and qform place voxels up to 0.{k}1 mm apart; the sform is used.",)} for k in range(5)
    }
    told = only(found(notes))
    assert told.evidence["scans"] == 5
    assert "0.3" not in told.message
    many = only(
        [f for f in found({0: {"notes": tuple(f"{'x' * k} noted" for k in range(1, 12))}}) if "further" in f.message]
    )
    assert many.message == "Readers noted 3 further things."


def test_no_scans():
    assert check(Context(Cohort(patient=["a"], variables=[], columns={}))) == []
