"""Event rates of two arms: every number against counts worked by hand and published examples."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.proportions import wilson
from aimed.treatment.rates import event_rates

Y = np.repeat([1, 0, 1, 0], [56, 14, 48, 32])
T = np.repeat([0, 1], [70, 80])


def test_rates_are_wilsons():
    found = event_rates(Y, T)
    for rate, k, n in ((found.treated, 48, 80), (found.control, 56, 70)):
        assert (rate.events, rate.n) == (k, n)
        assert float(rate) == pytest.approx(k / n)
        assert (rate.lower, rate.upper) == pytest.approx(wilson(k, n), abs=1e-12)


def test_newcombe_1998_method_10():
    # 56/70 against 48/80: .2 (.0524 to .3339), his first example.
    found = event_rates(Y, T)
    assert (found.reduction.lower, found.reduction.upper) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert float(found.difference) == -float(found.reduction)
    assert found.difference.upper == -found.reduction.lower
    assert float(found.number_needed) == pytest.approx(5)
    assert found.number_needed.lower == pytest.approx(1 / found.reduction.upper)


def test_ratio_is_katz_and_odds_ratio_is_woolf():
    found = event_rates(Y, T)
    a, b, c, d = 48, 32, 56, 14
    katz = math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    woolf = math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    for estimate, value, se in ((found.ratio, 0.75, katz), (found.odds_ratio, (a * d) / (b * c), woolf)):
        assert float(estimate) == pytest.approx(value)
        assert estimate.lower == pytest.approx(value * math.exp(-1.959963985 * se))
        assert estimate.upper == pytest.approx(value * math.exp(1.959963985 * se))
        assert estimate.p == pytest.approx(math.erfc(abs(math.log(value)) / se / math.sqrt(2)))
    assert float(found.relative_reduction) == pytest.approx(0.25)
    assert found.relative_reduction.upper == pytest.approx(1 - found.ratio.lower)


def test_a_good_event_counts_patients_to_treat_for_one_more():
    found = event_rates(1 - Y, T, better="higher")
    assert float(found.number_needed) == pytest.approx(5)
    assert found.number_needed.benefit == "NNTB"
    assert float(found.difference) == pytest.approx(0.2)


def test_patients_who_repeat_widen_every_interval():
    once, thrice = event_rates(Y, T), np.repeat(np.arange(150), 3)
    repeated = event_rates(np.repeat(Y, 3), np.repeat(T, 3), patient=thrice)
    naive = event_rates(np.repeat(Y, 3), np.repeat(T, 3))
    for name in ("treated", "control", "difference", "ratio", "odds_ratio"):
        wide, narrow, like = (getattr(f, name) for f in (repeated, naive, once))
        assert wide.upper - wide.lower > 1.4 * (narrow.upper - narrow.lower)
        assert wide.se == pytest.approx(like.se, rel=0.02)
    assert "patient" in repeated.difference.method


def test_rows_of_one_patient_in_both_arms_are_a_pair():
    rng = np.random.default_rng(1)
    level = rng.random(200)
    pair = np.tile(np.arange(200), 2)
    T = np.repeat([0, 1], 200)
    Y = (np.tile(level, 2) > np.where(T == 1, 0.6, 0.5)).astype(float)
    paired, apart = event_rates(Y, T, patient=pair).difference, event_rates(Y, T).difference
    discordant = Y[200:] - Y[:200]
    assert paired.se == pytest.approx(discordant.std() / math.sqrt(200), rel=1e-9)
    assert paired.se < 0.8 * apart.se


@pytest.mark.parametrize(("control", "treated"), [((0, 20), (3, 20)), ((3, 20), (0, 20)), ((0, 20), (0, 20))])
def test_an_arm_without_events_has_no_ratio_interval_and_says_so(control, treated):
    Y = np.r_[np.arange(control[1]) < control[0], np.arange(treated[1]) < treated[0]].astype(int)
    found = event_rates(Y, np.repeat([0, 1], [control[1], treated[1]]))
    assert math.isnan(found.ratio.lower)
    assert "no event in the" in found.ratio.note
    assert found.difference.lower < found.difference.upper
    assert math.isnan(found.ratio) == (control[0] == 0)


def test_every_row_an_event():
    found = event_rates([1] * 20 + [1, 0] * 10, [1] * 20 + [0] * 20)
    assert "every row of the treated arm" in found.odds_ratio.note
    assert found.ratio.lower < 2 < found.ratio.upper


@pytest.mark.parametrize(
    ("Y", "T", "error", "word"),
    [
        ([0, 1, 0], [1, 1, 1], DataError, "arm"),
        ([0, 1, 2.5], [1, 0, 1], DataError, "neither 0 nor 1"),
        ([0, 1, math.nan], [1, 0, 1], DataError, "not finite"),
        ([0, 1, 0, 1], [0, 1, 2, 1], DataError, "different values"),
        ([], [], DataError, "shape"),
    ],
)
def test_refusals(Y, T, error, word):
    with pytest.raises(error, match=word):
        event_rates(Y, T)


def test_an_unknown_direction_is_refused():
    with pytest.raises(DataError, match="lower"):
        event_rates(Y, T, better="up")


def test_one_patient_has_no_interval():
    found = event_rates([1, 0, 1, 1], [0, 0, 1, 1], patient=["a"] * 4)
    assert math.isnan(found.difference.lower)
    assert "one unit only" in found.difference.note


def test_as_plain_data():
    record = event_rates(Y, T).to_dict()
    assert record["difference"]["value"] == pytest.approx(-0.2)
    assert record["treated"]["n"] == 80
    assert "fewer" in record["sentence"]
    assert json.dumps(event_rates([0] * 8, [0, 1] * 4).to_dict(), allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_limits_hold_the_value_and_signs_agree(counts):
    a, b, c, d = counts
    if a + b == 0 or c + d == 0:
        with pytest.raises((DataError, NotEstimableError)):
            event_rates(np.repeat([1, 0, 1, 0], counts), np.repeat([1, 1, 0, 0], counts))
        return
    found = event_rates(np.repeat([1, 0, 1, 0], counts), np.repeat([1, 1, 0, 0], counts))
    for estimate in (found.treated, found.control, found.difference):
        assert estimate.lower - 1e-12 <= estimate <= estimate.upper + 1e-12
    if a and c:
        assert (found.ratio > 1) == (found.difference > 1e-15)
