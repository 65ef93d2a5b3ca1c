"""Hazard ratio of a treatment against R's survival 3.5-3 (coxph, robust, cluster, strata, cox.zph), and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.treatment.hazard import SELECTION, hazard_ratio


def aids():
    X, y = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data").load_aids()
    names = ["age", "cd4", "karnof", "priorzdv", "ivdrug", "hemophil", "sex", "strat2"]
    return y["censor"], y["time"], X["tx"].to_numpy().astype(float), X[names].to_numpy().astype(float)


def gbsg2():
    X, y = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data").load_gbsg2()
    grade = X.tgrade.to_numpy().astype(str)
    others = X[["age", "estrec", "pnodes", "progrec", "tsize"]].to_numpy().astype(float)
    others = np.c_[others, X.menostat == "Post"]
    return y["cens"], y["time"], (X.horTh == "yes").to_numpy(), others, grade


def rossi():
    X = pytest.importorskip("lifelines", reason="lifelines carries the data").datasets.load_rossi()
    names = ["age", "race", "wexp", "mar", "paro", "prio"]
    return X.arrest.to_numpy(), X.week.to_numpy(), X.fin.to_numpy(), X[names].to_numpy().astype(float)


def trial(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x, arm = rng.normal(size=(n, 2)), np.arange(n) % 2
    T, C = rng.exponential(np.exp(-x[:, 0] + 0.7 * arm)), rng.exponential(3, n)
    return T <= C, np.minimum(T, C), arm, x


def test_aids_adjusted_is_that_of_r():
    found = hazard_ratio(*aids())
    assert found.log_ratio.value == pytest.approx(-0.670334925, abs=1e-9)
    assert found.model_se == pytest.approx(0.215728010, abs=1e-9)
    assert found.value == pytest.approx(math.exp(-0.670334925), abs=1e-8)
    assert math.log(found.upper / found.lower) == pytest.approx(2 * 1.959963985 * found.log_ratio.se, abs=1e-7)
    assert (found.n, found.events) == (1151, 96)


def test_gbsg2_log_rank_adjusted_and_stratified_are_those_of_r():
    event, time, arm, x, grade = gbsg2()
    found = hazard_ratio(event, time, arm, np.c_[x, grade == "II", grade == "III"])
    assert found.log_ratio.value == pytest.approx(-0.346278428, abs=1e-9)
    assert found.model_se == pytest.approx(0.129074735, abs=1e-9)
    assert found.log_rank.statistic == pytest.approx(8.56478085, abs=1e-8)
    assert found.log_rank.p == pytest.approx(0.0034272823, abs=1e-9)
    within = hazard_ratio(event, time, arm, x, strata=grade)
    assert within.log_ratio.value == pytest.approx(-0.353529681, abs=1e-9)
    assert within.model_se == pytest.approx(0.129380478, abs=1e-9)
    assert "stratified" in within.method
    assert within.log_rank.statistic != found.log_rank.statistic


def test_rossi_robust_and_clustered_errors_are_those_of_r():
    event, time, arm, x = rossi()
    found = hazard_ratio(event, time, arm, x)
    assert found.log_ratio.value == pytest.approx(-0.379422167, abs=1e-9)
    assert found.model_se == pytest.approx(0.191379481, abs=1e-9)
    assert found.log_ratio.se == pytest.approx(0.19554177888, abs=1e-10)
    together = hazard_ratio(event, time, arm, x, patient=np.arange(432) // 10)
    assert together.log_ratio.se == pytest.approx(0.19550534835, abs=1e-10)
    assert "clustered by patient" in together.log_ratio.method


def test_proportional_hazards_test_is_cox_zph_of_r():
    X, y = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data").load_whas500()
    shock, x = X["sho"].to_numpy().astype(float), X.drop(columns="sho").to_numpy().astype(float)
    found = hazard_ratio(y["fstat"], y["lenfol"], shock, x)
    assert found.proportional_statistic == pytest.approx(7.9698983805, abs=1e-8)
    assert found.proportional_p == pytest.approx(0.004756, abs=1e-6)
    assert "changes with time" in found.note
    assert SELECTION in found.note


def test_influence_is_what_leaving_a_row_out_does():
    event, time, arm, x = trial()
    found = hazard_ratio(event, time, arm, x)
    for i in (3, 50, 200):
        rest = np.arange(arm.size) != i
        moved = found.log_ratio - hazard_ratio(event[rest], time[rest], arm[rest], x[rest]).log_ratio
        assert found.log_ratio.influence[i] == pytest.approx(moved, rel=0.1, abs=2e-4)
    assert found.log_ratio.influence.sum() == pytest.approx(0, abs=1e-10)
    assert found.influence / found.value == pytest.approx(found.log_ratio.influence)


def test_no_warning_where_hazards_are_proportional_and_one_where_they_cross():
    event, time, arm, x = trial(2000, 3)
    assert "changes with time" not in hazard_ratio(event, time, arm, x).note
    rng = np.random.default_rng(0)
    crossing = np.where(arm == 1, rng.weibull(3, arm.size), rng.weibull(0.7, arm.size))
    assert "changes with time" in hazard_ratio(np.ones(arm.size), crossing, arm).note


def test_interval_covers():
    inside = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        arm = np.arange(150) % 2
        T, C = rng.exponential(np.exp(0.7 * arm)), rng.exponential(2, 150)
        found = hazard_ratio(T <= C, np.minimum(T, C), arm)
        inside += found.lower <= math.exp(-0.7) <= found.upper
    assert 88 <= inside <= 100


def test_scale_of_a_covariate_does_not_matter():
    event, time, arm, x = trial()
    one = hazard_ratio(event, time, arm, x)
    two = hazard_ratio(event, time, arm, x * np.array([1e6, 1e-6]) + 5)
    assert two.log_ratio.value == pytest.approx(one.log_ratio.value, abs=1e-9)


def test_strata_without_events_or_with_one_arm_say_nothing():
    event, time, arm, _ = trial(200)
    plain = hazard_ratio(event, time, arm, strata=np.zeros(200))
    more = hazard_ratio(
        np.r_[event, 0, 0, 1, 1],
        np.r_[time, 1, 2, 1, 2],
        np.r_[arm, 0, 1, 1, 1],
        strata=np.r_[np.zeros(200), 1, 1, 2, 2],
    )
    assert more.log_ratio.value == pytest.approx(plain.log_ratio.value, abs=1e-10)


def test_what_has_no_hazard_ratio_is_refused():
    event, time, arm, x = trial()
    with pytest.raises(NotEstimableError, match="no event among the treated"):
        hazard_ratio(event & (arm == 0), time, arm)
    with pytest.raises(NotEstimableError, match="never at risk together"):
        hazard_ratio(event, time, arm, strata=arm)
    with pytest.raises(NotEstimableError, match="never at risk together"):
        hazard_ratio([1, 1, 1, 1], [1, 2, 3, 4], [1, 1, 0, 0])
    with pytest.raises(DataError, match="column 1 of X is constant"):
        hazard_ratio(event, time, arm, np.c_[x[:, 0], np.ones(arm.size)])
    with pytest.raises(NotEstimableError, match="of X is a sum of the other columns"):
        hazard_ratio(event, time, arm, np.c_[x, x.sum(axis=1)])
    with pytest.raises(NotEstimableError, match="column 0 of X ranks the events perfectly"):
        hazard_ratio(event, time, arm, -time[:, None])
    with pytest.raises(DataError, match="neither 0 nor 1"):
        hazard_ratio(event * 2, time, arm)
    with pytest.raises(DataError, match="finite"):
        hazard_ratio(event, np.where(np.arange(arm.size) == 5, np.nan, time), arm)


def test_ties_everywhere_time_zero_and_tiny_arms():
    found = hazard_ratio([1, 1, 0, 1, 1, 0], [0, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    assert found.value == pytest.approx(1, abs=1e-12)
    few = hazard_ratio([1, 1, 1, 1], [1, 3, 2, 4], [0, 0, 1, 1])
    assert math.isfinite(few.lower)
    assert few.lower < few.value < few.upper


def test_two_copies_of_the_data_in_two_strata_say_the_same_twice_as_surely():
    event, time, arm, x = trial(300, 5)
    one = hazard_ratio(event, time, arm, x)
    two = hazard_ratio(*(np.concatenate([v, v]) for v in (event, time, arm, x)), strata=np.repeat([0, 1], 300))
    assert two.log_ratio.value == pytest.approx(one.log_ratio.value, abs=1e-9)
    assert two.log_ratio.se == pytest.approx(one.log_ratio.se / math.sqrt(2), rel=1e-8)
    assert two.model_se == pytest.approx(one.model_se / math.sqrt(2), rel=1e-8)
    assert two.proportional_statistic == pytest.approx(2 * one.proportional_statistic, rel=1e-6)
