"""Risks, event-free time and time lost by arm: against R, Kaplan-Meier, Aalen-Johansen and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.nonparametric import kaplan_meier, rmst_difference
from aimed.metrics.number_needed import number_needed_to_treat_survival
from aimed.treatment.time_to_event import arm_curves, time_to_event


def gbsg2():
    X, y = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data").load_gbsg2()
    return y["cens"], y["time"], (X.horTh == "yes").to_numpy(), X.tgrade.to_numpy().astype(str)


def trial(n=300, seed=0):
    rng = np.random.default_rng(seed)
    site, arm = rng.integers(0, 3, n), rng.integers(0, 2, n)
    T, C = rng.exponential(np.exp(0.5 * site + 0.4 * arm)), rng.exponential(4, n)
    kind = np.where(T <= C, 1 + (rng.random(n) < 0.3), 0)
    return kind, np.round(np.minimum(T, C), 2), arm, site


@pytest.mark.parametrize(
    ("horizon", "control", "treated"),
    [
        (1000, (826.7239513, 12.88818665), (877.8684183, 14.89241293)),
        (2000, (1340.447108, 34.67671), (1513.229306, 43.15060)),
    ],
)
def test_event_free_time_of_gbsg2_is_that_of_r(horizon, control, treated):
    event, time, arm, _ = gbsg2()
    found = time_to_event(event, time, arm, horizon=horizon)
    for estimate, (value, se) in ((found.rmst.control, control), (found.rmst.treated, treated)):
        assert estimate.value == pytest.approx(value, rel=1e-9)
        assert estimate.se == pytest.approx(se, abs=5e-6)
    assert found.rmst.difference.se == pytest.approx(math.hypot(control[1], treated[1]), abs=1e-5)
    assert found.time_lost.difference == pytest.approx(-found.rmst.difference, abs=1e-9)


def test_aids_risk_is_that_of_r():
    X, y = pytest.importorskip("sksurv.datasets", reason="scikit-survival carries the data").load_aids()
    event, time, arm = y["censor"], y["time"], X["tx"].to_numpy().astype(float)
    found = time_to_event(event, time, arm, horizon=300)
    share = arm.mean()
    curves = [kaplan_meier(event[arm == a], time[arm == a]) for a in (0, 1)]
    assert found.risk.control == pytest.approx(1 - float(curves[0].at(300)), abs=1e-12)
    assert found.risk.treated.se == pytest.approx(float(curves[1].std_error_at(300)), rel=1e-10)
    # Both arms together are near the pooled curve of R.
    assert (1 - share) * found.risk.control + share * found.risk.treated == pytest.approx(1 - 0.901117523, abs=2e-3)
    assert found.risk.difference.upper < 0
    assert not found.number_needed.through_infinity


def test_it_agrees_with_the_metrics():
    kind, time, arm, _ = trial()
    patient = np.arange(arm.size) // 2
    for who in (None, patient):
        found = time_to_event(kind, time, arm, horizon=1.5, patient=who)
        needed = number_needed_to_treat_survival(kind, time, arm, 1.5, patient=who)
        assert found.competing
        assert found.risk.difference == pytest.approx(-needed.difference.value, abs=1e-12)
        assert found.risk.difference.se == pytest.approx(needed.difference.se, rel=1e-9)
        free = rmst_difference(kind > 0, time, arm, 1.5, patient=who)
        assert found.rmst.difference == pytest.approx(free.difference.value, abs=1e-12)
        assert found.rmst.difference.se == pytest.approx(free.difference.se, rel=1e-9)
        assert found.rmst.ratio == pytest.approx(free.ratio.value, abs=1e-12)
        assert found.rmst.ratio.lower == pytest.approx(free.ratio.lower, rel=1e-9)


def test_times_lost_to_all_causes_and_event_free_time_fill_the_window():
    kind, time, arm, _ = trial(seed=1)
    one, two = (time_to_event(kind, time, arm, horizon=2, cause=c) for c in (1, 2))
    assert one.time_lost.treated + two.time_lost.treated + one.rmst.treated == pytest.approx(2, abs=1e-12)
    assert one.risk.control == pytest.approx(aalen_johansen(kind[arm == 0], time[arm == 0]).at([2])[0, 0], abs=1e-12)


def test_strata_are_averaged_by_their_share_and_influence_is_a_derivative():
    kind, time, arm, site = trial(600, 2)
    event = kind > 0
    found = time_to_event(event, time, arm, horizon=1.5, strata=site)
    value = sum(
        (site == s).mean() * (1 - float(kaplan_meier(event[own], time[own]).at(1.5)))
        for s in range(3)
        for own in [(site == s) & (arm == 1)]
    )
    assert found.risk.treated == pytest.approx(value, abs=1e-12)
    for i in (0, 17, 333):
        rest = np.arange(600) != i
        moved = (
            found.risk.treated
            - time_to_event(event[rest], time[rest], arm[rest], horizon=1.5, strata=site[rest]).risk.treated
        )
        assert found.risk.treated.influence[i] == pytest.approx(moved, rel=0.05, abs=2e-5)
    assert found.risk.difference.se < time_to_event(event, time, arm, horizon=1.5).risk.difference.se


def test_stratified_intervals_cover():
    inside = 0
    real = sum(math.exp(-1.5 * math.exp(-0.5 * s - 0.4)) - math.exp(-1.5 * math.exp(-0.5 * s)) for s in range(3)) / 3
    for seed in range(100):
        kind, time, arm, site = trial(250, 100 + seed)
        gap = time_to_event(kind > 0, time, arm, horizon=1.5, strata=site).risk.difference
        inside += gap.lower <= -real <= gap.upper
    assert 88 <= inside <= 100


def test_curves_are_kaplan_meier_with_rows_at_risk():
    event, time, arm, _ = gbsg2()
    untreated, treated = arm_curves(event, time, arm, horizon=2000, ticks=[0, 1000, 2000])
    curve = kaplan_meier(event[arm], time[arm])
    np.testing.assert_allclose(treated.incidence, 1 - curve.at(treated.times), atol=1e-12)
    np.testing.assert_allclose(treated.at_risk, curve.at_risk_at([0, 1000, 2000]))
    assert untreated.n + treated.n == 686
    assert untreated.events[-1] == (event & ~arm & (time <= 2000)).sum()
    assert (treated.lower <= treated.incidence).all()
    assert (treated.incidence <= treated.upper).all()
    kind, when, who, _ = trial()
    other = arm_curves(kind, when, who, horizon=1.5)[0]
    np.testing.assert_allclose(other.incidence[-1], aalen_johansen(kind[who == 0], when[who == 0]).at([1.5])[0, 0])


def test_a_curve_ends_with_its_follow_up():
    untreated, treated = arm_curves([1, 0, 1, 0], [1, 2, 1, 5], [0, 0, 1, 1], horizon=4)
    assert untreated.times[-1] == 2
    assert treated.times[-1] == 4
    assert np.isfinite(untreated.incidence).all()


def test_what_cannot_be_known_is_refused_or_told():
    kind, time, arm, site = trial()
    with pytest.raises(NotEstimableError, match="choose a horizon of at most"):
        time_to_event(kind, time, arm, horizon=1e4)
    with pytest.raises(NotEstimableError, match="merge strata"):
        time_to_event(kind, time, arm, horizon=1, strata=np.where(arm == 1, 0, site))
    late = np.where((site == 0) & (arm == 0), np.minimum(time, 0.5), time)
    with pytest.raises(NotEstimableError, match="of a stratum ends before"):
        time_to_event(np.where(late < time, 0, kind), late, arm, horizon=1, strata=site)
    with pytest.raises(NotEstimableError, match="longer horizon"):
        time_to_event(np.zeros(300), time, arm, horizon=1)
    with pytest.raises(DataError, match="ticks"):
        arm_curves(kind, time, arm, horizon=1, ticks=[2])
    none = time_to_event(np.where(arm == 1, 0, kind > 0), time, arm, horizon=1)
    assert "no event among the treated" in none.note
    assert none.risk.treated == 0


def test_ties_time_zero_one_event_and_tiny_arms():
    found = time_to_event([1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1], horizon=1)
    assert found.risk.control == 0.5
    assert found.rmst.control == 0.5
    assert found.rmst.treated == 1
    assert "smaller arm" in found.risk.difference.note
