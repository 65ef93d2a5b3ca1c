"""Channels of scans: swaps are found with few missed and none invented, and so are missing, copied and cut channels."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.volume_channels import GAIN, best_order, check, find_channel_order
from aimed.checks.volume_sketches import VolumeList, sketch_volumes
from aimed.core import Cohort
from aimed.core.volume import Volume

PAIRS = [(0, 1), (0, 2), (1, 2)]


def turned(scan, order):
    return replace(scan, array=scan.array[list(order)])


def swapped(scan, a, b):
    order = list(range(scan.n_channels))
    order[a], order[b] = b, a
    return turned(scan, order)


def exchanged(sketches, rows, a, b):
    """Return the sketches as they would be with two channels swapped in some scans."""
    order = list(range(sketches.count))
    order[a], order[b] = b, a
    parts = {name: getattr(sketches, name).copy() for name in ("small", "quantiles", "relations")}
    for row in rows:
        parts["small"][row], parts["quantiles"][row] = parts["small"][row][order], parts["quantiles"][row][order]
        parts["relations"][row] = parts["relations"][row][order][:, order]
    return replace(sketches, **parts)


def findings(cohort_and_split, **options):
    return check(Context(*cohort_and_split, **options))


def only(found):
    assert len(found) == 1, [f.message for f in found]
    return found[0]


@pytest.fixture(scope="module")
def clean(scans_and_masks, volume_cohort):
    return volume_cohort(*scans_and_masks)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Return the sketches of 20 brain phantoms with four sequences, read through the cache."""
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    from aimed.readers.volume_cache import VolumeCache
    from aimed.readers.volume_set import VolumeSet
    from aimed.readers.volume_table import read_volume_table
    from aimed.synthetic.brain_study import write_brain_study

    folder = tmp_path_factory.mktemp("phantoms")
    write_brain_study(folder / "study", 20, formats=("nifti",), size=32, spacing=5.5, difficulty=0.5, seed=11)
    cases = list(read_volume_table(folder / "study" / "dataset.json").cases)
    return sketch_volumes(VolumeSet(VolumeCache.build(cases, folder / "cache"), cases))


def test_a_clean_cohort_has_nothing_to_tell(clean):
    assert findings(clean) == []


@pytest.mark.parametrize("pair", PAIRS)
def test_a_swap_is_found_and_counted_by_part(scans_and_masks, volume_cohort, pair):
    scans, masks = scans_and_masks
    changed = [swapped(scan, *pair) if k == 15 else scan for k, scan in enumerate(scans)]
    found = only(findings(volume_cohort(changed, masks)))
    assert (found.severity.value, found.check) == ("WARN", "volume_channels")
    assert found.message.startswith("1 of 18 scans (5.6 %) seems to have channels swapped")
    assert found.evidence["by_part"] == {"train": 0, "test": 1}
    names = ("FLAIR", "T1w", "T2w")
    assert found.evidence["channels"] == {f"{names[pair[0]]} / {names[pair[1]]}": 1}
    assert found.evidence["least_gain"] > GAIN
    assert "P0" not in str(found.to_dict())


def test_many_swaps_stop_the_study(scans_and_masks, volume_cohort):
    scans, masks = scans_and_masks
    changed = [turned(scan, (1, 2, 0)) if k in (2, 9, 16) else scan for k, scan in enumerate(scans)]
    found = only(findings(volume_cohort(changed, masks)))
    assert found.severity.value == "STOP"
    assert found.evidence["scans"] == 3
    assert found.evidence["channels"] == {"FLAIR / T1w / T2w": 3}


def test_swaps_in_phantoms_are_found_and_none_is_invented(phantoms):
    assert not find_channel_order(phantoms).swapped.any()
    pairs = list(itertools.combinations(range(4), 2))
    hits, invented = dict.fromkeys(pairs, 0), 0
    for (a, b), row in itertools.product(pairs, range(20)):
        found = find_channel_order(exchanged(phantoms, [row], a, b))
        order = list(range(4))
        order[a], order[b] = b, a
        hits[a, b] += bool(found.swapped[row] and found.order[row].tolist() == order)
        invented += int(found.swapped.sum()) - int(found.swapped[row])
    assert invented == 0
    # T1w and T1gd, 1 and 2, differ by the enhancement alone.
    assert all(count == 20 for pair, count in hits.items() if pair != (1, 2))
    assert hits[1, 2] >= 12


def test_swaps_in_a_quarter_of_the_phantoms_are_found(phantoms):
    for a, b in [(0, 1), (0, 3), (1, 3), (2, 3)]:
        found = find_channel_order(exchanged(phantoms, range(5), a, b))
        assert found.swapped.tolist() == [True] * 5 + [False] * 15


def test_exchanging_figures_is_exchanging_channels(scans_and_masks, known_of):
    scans, masks = scans_and_masks
    records = [known_of(s, m) for s, m in zip(scans, masks, strict=True)]
    direct = sketch_volumes(VolumeList([swapped(scans[0], 0, 2), *scans[1:]], masks, records))
    figures = exchanged(sketch_volumes(VolumeList(scans, masks, records)), [0], 0, 2)
    for name in ("small", "quantiles", "relations"):
        assert np.allclose(getattr(direct, name), getattr(figures, name), atol=1e-6)


def test_channels_are_told_by_their_names(scans_and_masks, volume_cohort):
    scans, masks = scans_and_masks
    renamed = [
        replace(turned(scan, (2, 0, 1)), channels=("T2w", "FLAIR", "T1w")) if k < 5 else scan
        for k, scan in enumerate(scans)
    ]
    assert findings(volume_cohort(renamed, masks)) == []


def test_real_scans(shared_brats):
    """Each of two scans of BraTS among crops of the other: as measured, 9 of 12 swaps and none besides."""
    rng = np.random.default_rng(0)
    hits = 0
    for one, other in itertools.permutations(shared_brats):
        parts = []
        for _ in range(12):
            low = [int(rng.integers(0, n // 4 + 1)) for n in one.shape[1:]]
            parts.append(one[:, *(slice(at, at + 3 * n // 4) for at, n in zip(low, one.shape[1:], strict=True))])
        scans = [Volume(array=part, affine=np.eye(4)) for part in [*parts, other]]
        record = type("Known", (), {"channels": ()})()
        sketches = sketch_volumes(VolumeList(scans, [], [record] * 13))
        assert not find_channel_order(sketches).swapped.any()
        for a, b in itertools.combinations(range(4), 2):
            found = find_channel_order(exchanged(sketches, [12], a, b))
            assert not found.swapped[:12].any()
            hits += bool(found.swapped[12])
    assert hits >= 8


@pytest.fixture
def shared_brats(shared_data):
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    from aimed.readers.volume_table import read_volume_table

    scans = []
    for case in read_volume_table(shared_data("brats", "dataset.json")).cases:
        array = np.asarray(case.read().array)
        box = [np.flatnonzero((array != 0).any(axis=tuple(a for a in range(4) if a != k + 1))) for k in range(3)]
        scans.append(array[:, *(slice(int(at[0]), int(at[-1]) + 1) for at in box)])
    return scans


def test_few_scans_are_said_to_be_few(scans_and_masks, volume_cohort):
    found = only(findings(volume_cohort(*(part[:5] for part in scans_and_masks))))
    assert (found.severity.value, found.evidence["scans"]) == ("NOTE", 5)
    assert "too few" in found.message


def test_one_channel_cannot_be_swapped(scans_and_masks, volume_cohort):
    scans = [Volume(array=scan.array[:1], affine=scan.affine, channels=("FLAIR",)) for scan in scans_and_masks[0]]
    assert findings(volume_cohort(scans, scans_and_masks[1])) == []


def test_sequences_that_look_alike_are_named(scans_and_masks, volume_cohort):
    scans, masks = scans_and_masks
    rng = np.random.default_rng(0)
    twins = []
    for scan in scans:
        flair, first, _ = scan.array
        one, two = (np.where(first > 0, np.clip(first + rng.normal(0, 9, first.shape), 1, None), 0) for _ in range(2))
        array = np.stack([flair, one, two]).astype(np.int16)
        twins.append(Volume(array=array, affine=scan.affine, channels=("FLAIR", "T1w", "T1again")))
    found = [f for f in findings(volume_cohort(twins, masks)) if "would not be seen" in f.message]
    assert "T1w / T1again" in only(found).evidence["seen"]


@pytest.mark.parametrize(("count", "severity"), [(1, "WARN"), (3, "STOP")])
def test_a_copied_channel(scans_and_masks, volume_cohort, count, severity):
    scans, masks = scans_and_masks
    copied = [
        replace(scan, array=np.stack([scan.array[0], scan.array[0] * 2, scan.array[2]])) if k < count else scan
        for k, scan in enumerate(scans)
    ]
    found = next(f for f in findings(volume_cohort(copied, masks)) if "copy" in f.message)
    assert found.severity.value == severity
    assert found.evidence["channels"] == {"FLAIR / T1w": count}


def test_a_channel_of_one_grey_stops_the_study(scans_and_masks, volume_cohort):
    scans, masks = list(scans_and_masks[0]), scans_and_masks[1]
    array = scans[3].array.copy()
    array[2] = np.where(array[2] > 0, 7, 0)
    scans[3] = replace(scans[3], array=array)
    found = findings(volume_cohort(scans, masks))[0]
    assert (found.severity.value, found.evidence["channels"]) == ("STOP", {"T2w": 1})


def test_a_channel_that_covers_a_part(scans_and_masks, volume_cohort):
    scans, masks = list(scans_and_masks[0]), scans_and_masks[1]
    array = scans[3].array.copy()
    array[1, :10] = 0
    scans[3] = replace(scans[3], array=array)
    found = [f for f in findings(volume_cohort(scans, masks)) if "covers less" in f.message]
    assert only(found).evidence["channels"] == {"T1w": 1}


def test_greys_that_are_cut_off(scans_and_masks, volume_cohort):
    scans, masks = list(scans_and_masks[0]), scans_and_masks[1]
    array = scans[3].array.copy()
    array[0] = np.minimum(array[0], np.quantile(array[0][array[0] > 0], 0.9).astype(np.int16))
    scans[3] = replace(scans[3], array=array)
    found = [f for f in findings(volume_cohort(scans, masks)) if "brightest" in f.message]
    assert only(found).evidence["channels"] == {"FLAIR": 1}


def test_scans_that_were_standardised_before(scans_and_masks, volume_cohort):
    scans, masks = list(scans_and_masks[0]), scans_and_masks[1]
    array = scans[3].array.astype(np.float32)
    for channel in array:
        seen = channel != 0
        channel[seen] = (channel[seen] - channel[seen].mean()) / channel[seen].std()
    scans[3] = replace(scans[3], array=array)
    found = findings(volume_cohort(scans, masks))
    assert "negative greys" in only(found).message
    # Other units alone do no harm.
    scans[3] = replace(scans[3], array=scans_and_masks[0][3].array.astype(np.float32) / 5000)
    assert [f.severity.value for f in findings(volume_cohort(scans, masks))] == ["NOTE"]


def test_a_ct_without_its_intercept(scans_and_masks, volume_cohort, known_of):
    scans, masks = scans_and_masks
    cts = [
        Volume(array=(scan.array[:1].astype(np.int16) * 4 - 1000 + (1024 if k == 4 else 0)), affine=scan.affine)
        for k, scan in enumerate(scans)
    ]
    records = [known_of(ct, mask, modality="CT") for ct, mask in zip(cts, masks, strict=True)]
    found = findings(volume_cohort(cts, masks, records=records))
    assert "shifted by 500" in only(found).message
    assert found[0].evidence["largest"] == pytest.approx(1024, abs=100)


def test_scans_with_other_channels(scans_and_masks, volume_cohort):
    scans, masks = list(scans_and_masks[0]), scans_and_masks[1]
    scans[3] = Volume(array=scans[3].array[:2], affine=scans[3].affine, channels=("FLAIR", "T1w"))
    found = findings(volume_cohort(scans, masks))
    assert "1 of 18 scans (5.6 %) has other channels than most: FLAIR, T1w, T2w." in only(found).message


def test_no_scans():
    assert check(Context(Cohort(patient=["a"], variables=[], columns={}))) == []


def test_the_best_order_of_many_channels():
    rng = np.random.default_rng(0)
    truth = rng.permutation(7).tolist()
    single = rng.uniform(1, 2, (7, 7))
    single[truth, range(7)] = 0

    def cost(order):
        return float(sum(single[a, k] for k, a in enumerate(order)))

    assert best_order(single, cost) == (truth, 0.0)


def test_swaps_among_many_channels(scans_and_masks, volume_cohort):
    scans, masks = scans_and_masks
    many = []
    for k, scan in enumerate(scans):
        parts = [*scan.array, scan.array[0] ** 2 // 64, np.where(scan.array[1] > 0, 400 - scan.array[1], 0),
                 np.where(scan.array[2] > 0, np.abs(scan.array[2] - 150) + 1, 0)]  # fmt: skip
        order = [0, 1, 4, 3, 2, 5] if k == 6 else range(6)
        names = tuple(f"s{n}" for n in range(6))
        array = np.stack([parts[n] for n in order]).astype(np.int16)
        many.append(Volume(array=array, affine=scan.affine, channels=names))
    found = [f for f in findings(volume_cohort(many, masks)) if "swapped:" in f.message]
    assert only(found).evidence["channels"] == {"s2 / s4": 1}
