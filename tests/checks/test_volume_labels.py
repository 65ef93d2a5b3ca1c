"""Outlines: swapped, strange and missing labels, empty and odd masks are told; sound ones are not."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.volume_labels import check, find_label_order
from aimed.core import Cohort, Masks

REGIONS = {"whole": (1, 2), "core": (2,)}


def relabelled(mask, **changes):
    out = mask.copy()
    for old, new in changes.items():
        out[mask == int(old[1:])] = new
    return out


def only(found):
    assert len(found) == 1, [f.message for f in found]
    return found[0]


@pytest.fixture
def found(scans_and_masks, volume_cohort):
    """Return the findings when some masks are others: ``found({row: mask})``."""

    def run(changes, regions=REGIONS, **options):
        masks = [changes.get(k, mask) for k, mask in enumerate(scans_and_masks[1])]
        return check(Context(*volume_cohort(scans_and_masks[0], masks, **options), regions=regions))

    return run


def test_sound_outlines_have_nothing_to_tell(found):
    assert found({}) == []


def test_swapped_labels(found, scans_and_masks):
    masks = scans_and_masks[1]
    one = only(found({15: relabelled(masks[15], _1=2, _2=1)}))
    assert (one.severity.value, one.evidence["labels"], one.evidence["by_part"]) == (
        "WARN", {"1 / 2": 1}, {"train": 0, "test": 1},
    )  # fmt: skip
    assert "P0" not in str(one.to_dict())
    several = {k: relabelled(masks[k], _1=2, _2=1) for k in (1, 5, 15)}
    many = next(f for f in found(several) if "swapped" in f.message)
    assert (many.severity.value, many.evidence["masks"]) == ("STOP", 3)


def test_swaps_in_phantoms_are_found_and_none_is_invented(tmp_path):
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    from aimed.readers.volume_cache import VolumeCache
    from aimed.readers.volume_table import read_volume_table
    from aimed.synthetic.brain_study import write_brain_study

    write_brain_study(tmp_path / "study", 20, formats=("nifti",), size=36, spacing=5.0, difficulty=0.5, seed=12)
    cache = VolumeCache.build(list(read_volume_table(tmp_path / "study" / "dataset.json").cases), tmp_path / "cache")
    records = list(cache.records)
    assert not find_label_order(records).swapped.any()
    hits = total = 0
    for (a, b), row in itertools.product([(1, 2), (1, 3), (2, 3)], range(20)):
        if min(records[row].labels.get(a, 0), records[row].labels.get(b, 0)) < 20:
            continue
        other = {a: b, b: a}
        changed = list(records)
        changed[row] = replace(
            records[row],
            labels={other.get(k, k): v for k, v in records[row].labels.items()},
            label_greys={other.get(k, k): v for k, v in records[row].label_greys.items()},
        )
        judged = find_label_order(changed)
        assert set(judged.rows[judged.swapped].tolist()) <= {row}
        hits += f"{a} / {b}" == judged.kinds[judged.rows.tolist().index(row)] and bool(judged.swapped.any())
        total += 1
    assert total > 40
    assert hits / total > 0.85


def test_few_masks_and_one_label(scans_and_masks, volume_cohort):
    few = check(Context(*volume_cohort(*(part[:5] for part in scans_and_masks)), regions=REGIONS))
    assert "too few to learn the greys of each label" in only(few).message
    single = [np.minimum(mask, 1) for mask in scans_and_masks[1]]
    cohort, split = volume_cohort(scans_and_masks[0], single)
    assert check(Context(cohort, split, regions={"whole": (1,)})) == []


def test_empty_masks(found, scans_and_masks):
    empty = np.zeros_like(scans_and_masks[1][0])
    one = only(found({3: empty, 16: np.where(scans_and_masks[1][16] > 0, 255, 0).astype(np.uint8)}))
    assert (one.severity.value, one.evidence["masks"], one.evidence["by_part"]) == ("WARN", 2, {"train": 1, "test": 1})
    every = only(found(dict.fromkeys(range(18), empty)))
    assert (every.severity.value, every.message) == ("STOP", "Not one mask of 18 scans holds a label.")


def test_labels_of_no_region_and_labels_never_seen(found, scans_and_masks):
    strange = only(found({3: relabelled(scans_and_masks[1][3], _2=4)}))
    assert strange.message == "1 of 18 masks (5.6 %) has labels that no region holds: 4."
    assert strange.evidence["labels"] == {"4": 1}
    never = only(found({}, regions={"whole": (1, 2, 4), "core": (2, 4)}))
    assert never.evidence["regions"] == {"whole": [4], "core": [4]}


def test_regions_that_are_not_nested(scans_and_masks, volume_cohort):
    cohort, split = volume_cohort(*scans_and_masks)
    crossing = only(check(Context(cohort, split, regions={"a": (1, 2), "b": (2, 3)}))[-1:])
    assert (crossing.severity.value, crossing.evidence["pairs"]) == ("NOTE", ["a / b"])
    volumes = cohort.outcome.volumes.copy()
    volumes[4, 1] = volumes[4, 0] + 5
    wrong = replace(cohort, outcome=Masks(volumes=volumes, targets=cohort.outcome.targets))
    larger = only(check(Context(wrong, split, regions=REGIONS)))
    assert larger.evidence["pairs"] == {"core / whole": 1}


def test_slips_of_the_hand(found, scans_and_masks):
    masks = scans_and_masks[1]
    tiny = np.minimum(masks[3], 1)
    tiny[12, 12, 12] = 2
    assert only(found({3: tiny})).evidence["regions"] == {"core": 1}
    specks = masks[3].copy()
    specks[::4, ::4, ::4] = 1
    pieces = next(f for f in found({3: specks}) if "pieces" in f.message)
    assert (pieces.severity.value, pieces.evidence["masks"]) == ("NOTE", 1)


def test_masks_of_another_size(found, scans_and_masks):
    scans, masks = scans_and_masks
    messages = {f.message.split(") ")[1]: f for f in found({3: (scans[3].array[0] > 0).astype(np.uint8) * 2})}
    assert messages["covers more than half of the body."].severity.value == "WARN"
    assert "has a region far larger than the others." in messages
    assert masks[3].any()


def test_regions_are_told_where_the_outcome_does_not(scans_and_masks, volume_cohort):
    cohort, split = volume_cohort(*scans_and_masks)
    plain = only(check(Context(replace(cohort, outcome=None), split)))
    assert plain.evidence["regions"]["label 2"]["masks"] == 18
    expected = np.median([(m == 2).sum() * 0.216 for m in scans_and_masks[1]])
    assert plain.evidence["regions"]["label 2"]["median_ml"] == pytest.approx(expected)


def test_no_scans():
    assert check(Context(Cohort(patient=["a"], variables=[], columns={}))) == []
