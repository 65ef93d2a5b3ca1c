"""All checks on a cohort of scans: a sound one raises no alarm, and the volumes of its regions are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.duplicates import check as check_duplicates
from aimed.checks.outcome import check as check_outcome
from aimed.checks.run import run_checks
from aimed.core import Cohort, Masks, Split, Variable

REGIONS = {"whole": (1, 2), "core": (2,)}


def cohort_of(volumes, patients=None):
    n = len(volumes)
    cohort = Cohort(patient=np.arange(n) if patients is None else patients, variables=[], columns={},
                    outcome=Masks(volumes=volumes, targets=("whole", "core")))  # fmt: skip
    parts = {"train": np.arange(2 * n // 3), "test": np.arange(2 * n // 3, n)}
    return Context(cohort, Split(parts=parts, by="patient", patient=cohort.patient))


def sizes(n=60, seed=0):
    whole = np.exp(np.random.default_rng(seed).normal(3, 0.5, n))
    return np.column_stack([whole, whole / 3])


def told(context):
    return [(f.severity.value, f.where) for f in check_outcome(context)]


def test_a_sound_cohort_raises_no_alarm_and_checking_twice_gives_the_same(scans_and_masks, volume_cohort):
    cohort, split = volume_cohort(*scans_and_masks)
    names, shares = [], []
    found = run_checks(
        cohort, split, regions=REGIONS, progress=names.append, inside=lambda name, share: shares.append((name, share))
    )
    assert {f.severity.value for f in found} == {"NOTE"}
    assert {"volume_geometry", "volume_channels", "volume_labels", "volume_duplicates"} <= set(names)
    assert shares[-1] == ("volume_geometry", 1.0)
    assert found == run_checks(cohort, split, regions=REGIONS)


def test_regions_that_are_seen_in_every_part(scans_and_masks):
    assert told(cohort_of(sizes())) == [("NOTE", "outcome")]
    note = check_outcome(cohort_of(sizes()))[0]
    assert note.evidence["regions"]["core"]["present"] == 60
    assert note.evidence["regions"]["core"]["median_ml"] == pytest.approx(np.median(sizes()[:, 1]))
    some = sizes()
    some[::2, 1] = 0
    assert "the rarest, 'core', is in 30 of 60 scans (50.0 %)." in check_outcome(cohort_of(some))[0].message


def test_a_region_that_cannot_be_learnt_stops_and_one_that_cannot_be_judged_is_warned_of():
    for rows, expected in (
        (slice(None), [("STOP", "outcome:core"), ("NOTE", "outcome")]),
        (slice(0, 40), [("STOP", "outcome:core"), ("NOTE", "outcome")]),
        (slice(40, 60), [("WARN", "outcome:core"), ("NOTE", "outcome")]),
        (slice(0, 35), [("WARN", "outcome:core"), ("NOTE", "outcome")]),
    ):
        volumes = sizes()
        volumes[rows, 1] = 0
        assert told(cohort_of(volumes)) == expected


def test_unknown_regions_are_no_absent_ones():
    volumes = sizes()
    volumes[:10, 1] = np.nan
    found = check_outcome(cohort_of(volumes))
    assert found[-1].evidence["regions"]["core"]["n"] == 50
    volumes[:, 1] = np.nan
    assert check_outcome(cohort_of(volumes))[0].message == "The region 'core' is in none of 0 scans."


def test_volumes_of_another_size_in_test_are_warned_of():
    volumes = sizes(120)
    volumes[80:] *= 4
    found = [f for f in check_outcome(cohort_of(volumes)) if f.severity.value == "WARN"]
    assert [f.where for f in found] == ["outcome:whole", "outcome:core"]
    assert found[0].evidence["test_ml"] / found[0].evidence["train_ml"] == pytest.approx(4, rel=0.3)
    # Scans of one patient are one observation.
    few = np.r_[np.arange(80), np.full(40, 80)]
    assert told(cohort_of(volumes, few)) == [("NOTE", "outcome")]


def test_rows_with_predictors_and_outlines_are_compared(scans_and_masks):
    x = np.random.default_rng(0).normal(size=(60, 5))
    volumes = sizes()
    x[7], volumes[7] = x[3], volumes[3]
    names = [f"x{k}" for k in range(5)]
    outcome = Masks(volumes=volumes, targets=("whole", "core"))
    columns = dict(zip(names, x.T, strict=True))
    cohort = Cohort(patient=range(60), variables=[Variable(name=n) for n in names], columns=columns, outcome=outcome)
    assert check_duplicates(Context(cohort))[0].evidence["rows"] == 2
    other = volumes.copy()
    other[7] *= 2
    changed = replace(cohort, outcome=Masks(volumes=other, targets=("whole", "core")))
    assert not [f for f in check_duplicates(Context(changed)) if "repeat the row" in f.message]
