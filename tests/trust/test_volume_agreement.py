"""Volumes: learned intervals that cover at few and at many cases, limits of agreement by the textbook, coverage."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from aimed.core.errors import DataError
from aimed.trust.volume_agreement import VolumeInterval, volume_agreement


def drawn(rng, n, spread=0.15, bias=1.0):
    true = rng.lognormal(3, 0.7, n)
    return true * bias * np.exp(rng.normal(0, spread, n)), true


@pytest.mark.parametrize(("n", "how"), [(6, "t"), (18, "t"), (19, "conformal"), (60, "conformal")])
def test_intervals_hold_the_share_they_promise(n, how):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(250):
        found = VolumeInterval.fit(*drawn(rng, n, bias=0.9), level=0.9)
        assert found.how == how
        x, y = drawn(rng, 40, bias=0.9)
        ends = np.array([found.interval(v) for v in x])
        held.append(((y >= ends[:, 0]) & (y <= ends[:, 1])).mean())
    assert 0.88 < np.mean(held) < 0.94


def test_the_t_interval_by_hand():
    x, y = drawn(np.random.default_rng(1), 8)
    found = VolumeInterval.fit(x, y, level=0.9)
    ratio = np.log((y + found.floor) / (x + found.floor))
    half = stats.t.ppf(0.95, 7) * ratio.std(ddof=1) * math.sqrt(1 + 1 / 8)
    assert (found.low, found.high) == pytest.approx((ratio.mean() - half, ratio.mean() + half))
    low, high = found.interval(20.0)
    assert (low, high) == pytest.approx(
        [(20 + found.floor) * math.exp(end) - found.floor for end in (found.low, found.high)]
    )


def test_the_conformal_interval_by_hand():
    x, y = drawn(np.random.default_rng(2), 39)
    found = VolumeInterval.fit(x, y, level=0.9)
    ratio = np.sort(np.log((y + found.floor) / (x + found.floor)))
    # 5 % of 40 at either end: the second from below and from above.
    assert (found.low, found.high) == pytest.approx((ratio[1], ratio[-2]))


def test_small_and_empty_outlines_have_a_width():
    found = VolumeInterval.fit(*drawn(np.random.default_rng(3), 12))
    low, high = found.interval(0.0)
    assert low == 0.0
    assert 0.0 < high < 2.0
    assert found.floor >= 0.1
    missed = VolumeInterval.fit([0.0, 10, 10, 10, 10, 10], [12.0, 10, 11, 9, 10, 10])
    assert missed.interval(10.0)[1] > 20


def test_few_patients_have_none_and_several_scans_count_once():
    x, y = drawn(np.random.default_rng(4), 12)
    assert VolumeInterval.fit(x, y, np.arange(12) % 4) is None
    assert VolumeInterval.fit([], []) is None
    assert VolumeInterval.fit(np.zeros(9), np.zeros(9)) is None
    once, twice = VolumeInterval.fit(x, y), VolumeInterval.fit(np.tile(x, 2), np.tile(y, 2), np.tile(np.arange(12), 2))
    assert (twice.low, twice.high, twice.patients) == (pytest.approx(once.low), pytest.approx(once.high), 12)
    x, y = drawn(np.random.default_rng(5), 25)
    once, twice = VolumeInterval.fit(x, y), VolumeInterval.fit(np.tile(x, 3), np.tile(y, 3), np.tile(np.arange(25), 3))
    assert (twice.low, twice.high, twice.how) == (once.low, once.high, "conformal")


def test_state_goes_and_returns():
    found = VolumeInterval.fit(*drawn(np.random.default_rng(6), 9))
    assert VolumeInterval.from_state(json.loads(json.dumps(found.to_state()))) == found
    for key, value in (("low", math.nan), ("floor", 0.0), ("low", 9.0), ("level", 2.0), ("how", "guess")):
        with pytest.raises(DataError):
            VolumeInterval.from_state(found.to_state() | {key: value})


@pytest.mark.parametrize(("x", "y"), [([1.0], [1.0, 2.0]), ([-1.0], [1.0]), ([math.inf], [1.0])])
def test_volumes_are_checked(x, y):
    with pytest.raises(DataError):
        VolumeInterval.fit(x, y)
    found = VolumeInterval.fit(*drawn(np.random.default_rng(7), 9))
    with pytest.raises(DataError):
        found.interval(-1.0)


def test_limits_of_agreement_by_the_textbook():
    x, y = drawn(np.random.default_rng(8), 25)
    block = volume_agreement(x[:, None], y[:, None], keys=["a"], labels=["Whole tumour"])
    one = block["regions"]["a"]
    for part, d in (("absolute", x - y), ("percent", 200 * (x - y) / (x + y))):
        assert one[part]["bias"]["value"] == pytest.approx(d.mean())
        assert one[part]["low"]["value"] == pytest.approx(d.mean() - 1.959964 * d.std(ddof=1), rel=1e-5)
        assert one[part]["high"]["value"] == pytest.approx(d.mean() + 1.959964 * d.std(ddof=1), rel=1e-5)
        t = stats.t.interval(0.95, 24, d.mean(), stats.sem(d))
        assert (one[part]["bias"]["lower"], one[part]["bias"]["upper"]) == pytest.approx(t)
        assert one[part]["low"]["lower"] < one[part]["low"]["value"] < one[part]["low"]["upper"]
    assert one["absolute"]["slope"]["value"] == pytest.approx(stats.linregress((x + y) / 2, x - y).slope)
    assert one["percent"]["slope"]["value"] is None
    assert one["error"]["value"] == pytest.approx(np.abs(x - y).mean())
    assert one["reference_ml"]["median"] == pytest.approx(np.median(y))
    assert 0.8 < one["icc"]["lower"] < one["icc"]["value"] < 1
    assert one["interval"] is None
    assert one["state"] == "not enough evidence"
    assert json.loads(json.dumps(block, allow_nan=False)) == block


@pytest.mark.parametrize(("spread", "state"), [(0.15, "held"), (0.9, "below")])
def test_coverage_on_other_patients_is_judged(spread, state):
    rng = np.random.default_rng(9)
    learned = VolumeInterval.fit(*drawn(rng, 30))
    x, y = drawn(rng, 40, spread=spread)
    one = volume_agreement(x[:, None], y[:, None], keys=["a"], intervals=[learned])["regions"]["a"]
    ends = np.array([[p["lower"], p["upper"]] for p in one["points"]])
    held = ((y >= ends[:, 0]) & (y <= ends[:, 1])).mean()
    assert one["interval"]["coverage"]["value"] == pytest.approx(held)
    assert one["state"] == one["interval"]["coverage"]["state"] == state
    assert one["interval"]["width_percent"] == pytest.approx(100 * np.median((ends[:, 1] - ends[:, 0]) / x))


def test_coverage_is_rarely_called_below_where_it_holds():
    rng = np.random.default_rng(10)
    below = 0
    for _ in range(300):
        learned = VolumeInterval.fit(*drawn(rng, 8))
        x, y = drawn(rng, 24)
        one = volume_agreement(x[:, None], y[:, None], keys=["a"], intervals=[learned])["regions"]["a"]
        below += one["state"] == "below"
    assert below / 300 < 0.05


def test_few_cases_and_empty_regions():
    x, y = drawn(np.random.default_rng(11), 4)
    one = volume_agreement(x[:, None], y[:, None], keys=["a"])["regions"]["a"]
    assert one["absolute"]["low"]["value"] is None
    assert "4 patients, and 5 are needed" in one["absolute"]["note"]
    assert one["absolute"]["bias"]["value"] == pytest.approx((x - y).mean())
    empty = volume_agreement(np.zeros((6, 1)), np.zeros((6, 1)), keys=["a"])["regions"]["a"]
    assert (empty["n"], empty["both_empty"]) == (0, 6)
    assert empty["absolute"]["bias"]["value"] is None
    same = volume_agreement(np.ones((6, 1)), np.ones((6, 1)), keys=["a"])["regions"]["a"]
    assert same["absolute"]["bias"]["value"] == 0
    assert same["absolute"]["low"]["value"] is None


def test_several_scans_of_a_patient():
    x, y = drawn(np.random.default_rng(12), 30)
    one = volume_agreement(x[:, None], y[:, None], keys=["a"], patient=np.arange(30) // 3)["regions"]["a"]
    assert one["absolute"]["low"]["lower"] is not None
    assert one["icc"]["lower"] is None
    assert "several scans" in one["icc"]["note"]


def test_refused():
    with pytest.raises(DataError):
        volume_agreement(np.ones(3), np.ones(3), keys=["a"])
    with pytest.raises(DataError):
        volume_agreement(-np.ones((3, 1)), np.ones((3, 1)), keys=["a"])
    with pytest.raises(DataError):
        volume_agreement(np.ones((3, 1)), np.ones((3, 1)), keys=["a"], intervals=[None, None])


def test_cases_that_are_not_known_are_left_out_and_keep_their_numbers():
    x, y = drawn(np.random.default_rng(13), 12)
    learned = VolumeInterval.fit(x, y)
    missing = np.where(np.arange(12) < 3, np.nan, y)
    one = volume_agreement(x[:, None], missing[:, None], keys=["a"], intervals=[learned])["regions"]["a"]
    rest = volume_agreement(x[3:, None], y[3:, None], keys=["a"], intervals=[learned])["regions"]["a"]
    assert one["unknown"] == 3
    assert [p["case"] for p in one["points"]] == list(range(4, 13))
    assert one["absolute"] == rest["absolute"]
    assert one["interval"] == rest["interval"]
    none = volume_agreement(x[:, None], np.full((12, 1), np.nan), keys=["a"], intervals=[learned])["regions"]["a"]
    assert VolumeInterval.fit(x, missing) == VolumeInterval.fit(x[3:], y[3:])
    assert none["points"] == []
    assert none["interval"] is None
    assert none["reference_ml"]["median"] is None
