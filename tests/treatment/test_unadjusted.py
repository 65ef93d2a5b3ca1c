"""The arms as they are, against statsmodels and against formulas on paper."""

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.number_needed import number_needed_from_counts
from aimed.treatment.unadjusted import unadjusted

Y = np.repeat([1.0, 0.0, 1.0, 0.0], [56, 14, 48, 32])
T = np.repeat([0, 1], [70, 80])


def test_risks_and_their_contrasts_are_those_of_the_table():
    found = unadjusted(Y, T)
    assert (found.treated, found.control) == (pytest.approx(0.6), pytest.approx(0.8))
    assert found.difference == pytest.approx(-0.2)
    assert found.difference.se == pytest.approx(np.sqrt(0.6 * 0.4 / 80 + 0.8 * 0.2 / 70))
    assert found.ratio == pytest.approx(0.75)
    log_se = np.sqrt(0.4 / 48 + 0.2 / 56)
    assert found.ratio.upper == pytest.approx(0.75 * np.exp(1.959964 * log_se), rel=1e-6)
    assert found.odds_ratio == pytest.approx((48 / 32) / (56 / 14))
    woolf = np.sqrt(1 / 48 + 1 / 32 + 1 / 56 + 1 / 14)
    assert np.log(found.odds_ratio.upper / found.odds_ratio) == pytest.approx(1.959964 * woolf, rel=1e-6)
    assert found.relative_reduction == pytest.approx(0.25)
    assert found.relative_reduction.lower == pytest.approx(1 - found.ratio.upper)
    assert (found.n, found.n_treated, found.n_control, found.treated.events) == (150, 80, 70, 48)


def test_statsmodels_gives_the_same_newcombe_interval():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    low, high = proportion.confint_proportions_2indep(48, 80, 56, 70, method="newcomb", compare="diff")
    found = unadjusted(Y, T, interval="newcombe").difference
    assert (found.lower, found.upper) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    low, high = proportion.confint_proportions_2indep(48, 80, 56, 70, method="log", compare="ratio")
    ratio = unadjusted(Y, T).ratio
    assert (ratio.lower, ratio.upper) == (pytest.approx(low, rel=1e-6), pytest.approx(high, rel=1e-6))


def test_number_needed_follows_the_house_rule():
    found = unadjusted(Y, T, interval="newcombe").number_needed()
    house = number_needed_from_counts(56, 70, 48, 80)
    assert (found.value, found.lower, found.upper) == pytest.approx((house.value, house.lower, house.upper))
    assert found.sentence == house.sentence
    harm = unadjusted(Y, T).number_needed("higher")
    assert harm.value == pytest.approx(-5)
    assert harm.sentence.startswith("NNTH 5.0")


def test_number_needed_says_when_its_interval_goes_through_infinity():
    found = unadjusted([1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0] * 3, ([0] * 6 + [1] * 6) * 3).number_needed()
    assert found.through_infinity
    assert "infinity" in found.sentence
    assert "holds 0" in found.note


def test_continuous_outcomes_have_welch_errors():
    rng = np.random.default_rng(0)
    y, t = rng.normal(size=60), np.repeat([0, 1], [20, 40])
    found = unadjusted(y, t)
    welch = np.sqrt(y[t == 1].var(ddof=1) / 40 + y[t == 0].var(ddof=1) / 20)
    assert found.difference.se == pytest.approx(welch)
    assert np.isnan(found.odds_ratio)
    assert "0/1" in found.odds_ratio.note
    with pytest.raises(NotEstimableError, match="not 0/1"):
        found.number_needed()


def test_rows_of_one_patient_are_one_unit():
    twice = unadjusted(np.tile(Y, 2), np.tile(T, 2), patient=np.tile(np.arange(150), 2))
    once = unadjusted(Y, T)
    assert twice.difference.se == pytest.approx(once.difference.se)
    assert "clustered by patient" in twice.method


def test_no_events_have_a_newcombe_interval_and_no_ratio():
    found = unadjusted([0] * 20 + [1] * 5 + [0] * 15, [1] * 20 + [0] * 20, interval="newcombe")
    assert found.difference.lower < -0.25 < found.difference.upper
    assert found.ratio == 0
    assert np.isnan(found.ratio.lower)
    assert "only 0 events" in unadjusted([0] * 20 + [1] * 5 + [0] * 15, [1] * 20 + [0] * 20).note


def test_newcombe_needs_yes_or_no_and_independent_rows():
    with pytest.raises(DataError, match="not 0/1"):
        unadjusted([0.5, 1, 2, 3], [0, 0, 1, 1], interval="newcombe")
    with pytest.raises(DataError, match="share patients"):
        unadjusted(Y, T, interval="newcombe", patient=np.arange(150))
    with pytest.raises(DataError, match="neither"):
        unadjusted(Y, T, interval="wald")


def test_an_arm_of_one_row_is_refused():
    with pytest.raises(NotEstimableError, match="treated arm has 1 row"):
        unadjusted([1, 0, 0], [1, 0, 0])


def test_an_outcome_that_does_not_vary_has_no_interval_and_no_p():
    found = unadjusted([3.5] * 40, [0, 1] * 20).difference
    assert np.isnan(found.lower)
    assert found.p is None
    assert "no spread" in found.note


def test_levamisole_rates_are_those_known(shared_data):
    import csv

    with open(shared_data("treatment", "levamisole_data_reconstructed.csv")) as file:
        rows = list(csv.DictReader(file))
    found = unadjusted([float(r["outcome"]) for r in rows], [r["TRTMT"] == "True" for r in rows])
    assert round(found.treated, 6) == 0.372483
    assert round(found.control, 6) == 0.482201
    assert round(found.difference, 6) == -0.109717
    assert round(found.relative_reduction, 4) == 0.2275
    assert round(found.number_needed().value, 2) == 9.11
