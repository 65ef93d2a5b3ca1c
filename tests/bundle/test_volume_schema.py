"""What training scans were, in aggregates: nothing of one patient in it, and every odd scan gets its warning."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from aimed.bundle.schema import SMALL_CELL
from aimed.bundle.volume_schema import VOLUME_CODES, VolumeSchema, describe_volumes
from aimed.core import DataError
from aimed.core.grid import Grid
from aimed.core.volume import VOLUME_REFUSALS
from aimed.readers.volume_record import VolumeRecord, greys_of
from aimed.synthetic import draw_brain

CONTRASTS = ("FLAIR", "T1w", "T1gd", "T2w")
MODEL = SimpleNamespace(
    keys=["whole_tumour", "core"],
    preparation=SimpleNamespace(channels=CONTRASTS, spacing=(1.0, 1.0, 1.0), modality="MR"),
    segmenter=SimpleNamespace(head_=SimpleNamespace(labels=((1, 2, 3), (2, 3)))),
)


def record_of(head, code="RAS"):
    image = head.image.reoriented(code)
    labels = np.bincount(head.labels.array.ravel(), minlength=4)
    return VolumeRecord(
        digest="a", shape=image.grid.shape, spacing=image.spacing, affine=tuple(map(tuple, image.affine.tolist())),
        orientation=code, modality="MR", channels=CONTRASTS,
        greys=tuple(greys_of(channel) for channel in head.image.array),
        labels={label: int(n) for label, n in enumerate(labels)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def records():
    return [record_of(draw_brain(seed, size=20, spacing=(8.0 + 0.05 * seed, 9.0, 9.0))) for seed in range(30)]


@pytest.fixture(scope="module")
def schema(records):
    return describe_volumes(MODEL, records, column="scan")


def facts(record, **changes):
    known = {name: getattr(record, name) for name in ("grid", "modality", "greys")}
    return SimpleNamespace(**{**known, **changes})


def grid(shape, spacing):
    return Grid(shape, np.diag([*spacing[::-1], 1.0]))


def codes(found):
    return [code for code, _ in found]


def test_it_survives_json(schema):
    assert VolumeSchema.from_dict(schema.to_dict()) == schema
    assert schema.channels == CONTRASTS
    assert schema.spacing == (1.0, 1.0, 1.0)
    assert schema.column == "scan"
    assert set(schema.greys) == set(CONTRASTS)


def test_every_refusal_and_warning_has_a_sentence():
    assert set(VOLUME_REFUSALS) <= set(VOLUME_CODES)
    assert all(text.endswith(".") for text in VOLUME_CODES.values())


def test_no_end_of_a_range_is_one_of_the_outermost_patients(schema, records):
    steps = sorted(record.spacing[0] for record in records)
    assert schema.spacings[0] == (steps[SMALL_CELL - 1], steps[-SMALL_CELL])
    ml = sorted(sum(r.labels[k] for k in (1, 2, 3)) * np.prod(r.spacing) / 1000 for r in records)
    assert schema.volumes["whole_tumour"] == pytest.approx((ml[SMALL_CELL - 1], ml[-SMALL_CELL]))


def test_few_patients_leave_no_ranges(records):
    few = describe_volumes(MODEL, records, patient=[k % 4 for k in range(len(records))])
    assert few.spacings is None
    assert few.extents is None
    assert few.volumes == {}
    assert few.greys == {}
    assert few.warnings(facts(records[0], grid=grid((20, 20, 20), (99.0, 1.0, 1.0)))) == []


def test_scans_as_in_training_have_no_warnings(schema, records):
    middle = [r for r in records if schema.spacings[0][0] <= r.spacing[0] <= schema.spacings[0][1]]
    assert [code for r in middle for code in codes(schema.warnings(facts(r)))] == []


def test_scans_are_looked_at_upright_whichever_way_their_file_turns_them(schema):
    head = draw_brain(15, size=20, spacing=(8.75, 9.0, 9.0))
    turned = record_of(head, "SLA")
    assert turned.spacing != head.image.spacing
    assert schema.warnings(facts(turned)) == []
    assert "from feet to head" in schema.warnings(facts(turned, grid=grid((40, 20, 20), (8.75, 9.0, 9.0))))[0][1]


def test_each_way_to_differ_has_its_code(schema, records):
    one = records[15]
    assert codes(schema.warnings(facts(one, modality="CT"))) == ["OTHER_MODALITY"]
    assert "OTHER_SPACING" in codes(schema.warnings(facts(one, grid=grid((20, 20, 20), (3.0, 9.0, 9.0)))))
    assert codes(schema.warnings(facts(one, grid=grid((8, 20, 20), one.spacing)))) == ["FIELD_OF_VIEW"]
    assert codes(schema.unusual({"whole_tumour": 5000.0, "core": 0.0})) == ["UNUSUAL_VOLUME"]
    assert schema.unusual({"whole_tumour": 0.0}) == []
    low, high = schema.volumes["whole_tumour"]
    assert schema.unusual({"whole_tumour": 0.6 * low}) == schema.unusual({"whole_tumour": 1.9 * high}) == []


def test_ct_in_a_file_that_does_not_say_so_is_seen_by_its_air(schema, records):
    air = [{"mean": -400.0, "sd": 500.0, "p005": -1000.0, "p50": -600.0, "p995": 900.0}] * 4
    assert codes(schema.warnings(facts(records[15], modality=None, greys=air))) == ["OTHER_MODALITY"]
    assert "OTHER_MODALITY" not in codes(schema.warnings(facts(records[15], modality=None)))


def test_swapped_channels_are_told_by_their_greys(schema, records):
    others = [record_of(draw_brain(seed, size=20, spacing=9.0)) for seed in range(100, 110)]
    assert all(schema.likelier_order(one.greys) is None for one in others)
    found = {}
    for a, b in itertools.combinations(range(4), 2):
        order = [0, 1, 2, 3]
        order[a], order[b] = b, a
        seen = [schema.likelier_order([one.greys[k] for k in order]) for one in others]
        found[a, b] = sum(one is not None for one in seen)
    easy = {pair: n for pair, n in found.items() if pair != (1, 2)}
    assert min(easy.values()) >= 9
    # T1w with and without contrast agent are alike in so coarse voxels.
    assert found[1, 2] < min(easy.values())
    order = schema.likelier_order([others[0].greys[k] for k in (3, 1, 2, 0)])
    assert order == ("T2w", "T1w", "T1gd", "FLAIR")
    warned = schema.warnings(facts(records[15], greys=[records[15].greys[k] for k in (3, 1, 2, 0)]))
    assert codes(warned) == ["CHANNEL_ORDER"]
    assert "FLAIR looks like T2w" in warned[0][1]


def test_channels_without_greys_are_not_judged(schema):
    blank = {"mean": 0.0, "sd": 0.0, "p005": 0.0, "p50": 0.0, "p995": 0.0}
    assert schema.likelier_order([blank] * 4) is None
    assert schema.likelier_order([{**blank, "mean": float("nan")}] * 4) is None
    assert schema.likelier_order([]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": ()},
        {"channels": ("a", "a")},
        {"regions": ()},
        {"volumes": {"other": (0.0, 1.0)}},
        {"greys": {"a": ((1.0,), (1.0,))}, "channels": ("a", "b")},
        {"greys": {"a": ((1.0,), (1.0, 2.0))}, "channels": ("a",)},
    ],
)
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(DataError):
        VolumeSchema(**{"channels": ("a",), "regions": ("r",), **changes})
