"""Average effects of a study: arms in groups are adjusted in records, and an outcome's spread is its own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aimed.core import NotEstimableError
from aimed.study.effect_average import Whole

RECORDS = (("ratio = [1, 1]\n", ""), ('"randomised"', '"observational"'))
GROUPS = ("[split]", '[subgroups]\ncolumns = ["sex"]\nmin_events = 5\n[split]')


@pytest.mark.parametrize("assignment", ["randomised", "observational"])
def test_arms_of_groups_differ_by_the_effect_in_records_and_are_as_seen_in_a_trial(trials, assignment):
    records = assignment == "observational"
    whole = Whole(*trials.made("binary", GROUPS, *(RECORDS if records else ()), n=600, strength=1.5 * records))
    quarters = whole.risk_quarters(whole.nuisances.blind_risk, "")["rows"]
    assert len(quarters) == 4
    for row in (*quarters, *whole.subgroups()["rows"]):
        gap = row["active"]["value"] - row["control"]["value"]
        effect = (row.get("difference") or row.get("effect"))["value"]
        if records:
            assert gap == pytest.approx(effect)
    female = whole.cohort.column("sex") == whole.cohort.variable("sex").categories.index("female")
    shown = next(row for row in whole.subgroups()["rows"] if row["level"] == "female")
    seen = whole.cohort.outcome.values[female & whole.rows.T].mean()
    assert (shown["active"]["value"] == pytest.approx(seen)) != records


def test_the_spread_of_a_time_is_not_that_of_its_pseudo_outcome(trials):
    asked = ("[split]", '[estimand]\ncontrast = "rmst_difference"\n[split]')
    table = trials.frame(n=600)
    whole = Whole(*trials.made("survival", asked, table=table))
    sd, noisy = whole._outcome_sd(), float(np.std(whole.rows.Y))
    # Without censoring before the horizon both are the outcome's.
    rng = np.random.default_rng(0)
    many = np.minimum(rng.permutation(whole.rows.pseudo.seen[whole.rows.pseudo.known]), 300.0)
    assert sd < noisy
    assert 0.7 * many.std() < sd < 1.3 * many.std()
    plain = Whole(*trials.made("continuous", n=300))
    assert plain._outcome_sd() == pytest.approx(float(np.std(plain.rows.Y)))


def _without_events(trials, *changes, arm="drug", left=0):
    table = trials.frame(n=300)
    died = table["dead"].to_numpy().copy()
    mine = np.flatnonzero((table["arm"].to_numpy() == arm) & (died == 1))
    died[mine[left:]] = 0
    return Whole(*trials.made("binary", *changes, table=table.with_columns(dead=pl.Series(died))))


@pytest.mark.parametrize("arm", ["drug", "placebo"])
@pytest.mark.parametrize("left", [0, 1])
def test_arms_as_they_are_stand_in_where_an_arm_of_a_trial_has_no_event(trials, arm, left):
    whole = _without_events(trials, arm=arm, left=left)
    table, answer = whole.average()
    rows = {row["name"]: row for row in table}
    assert [row["name"] for row in table if row["primary"]] == ["unadjusted"]
    note = rows["unadjusted"]["note"]
    assert "stands in for 'standardisation', set before the run" in note
    assert f"arm has {left} events" in note
    assert rows["standardisation"]["measures"]["risk_difference"]["value"] is None
    found = rows["unadjusted"]["measures"]["risk_difference"]
    assert "Newcombe" in found["method"]
    assert found["lower"] < float(answer.difference) < found["upper"]
    # An arm without events has an interval of its own, not one of no width.
    n = {key: int(whole._arm(key).sum()) for key in ("active", "control")}
    risk = whole._events()[~whole._arm("active" if arm == "drug" else "control")].mean()
    wald = 1.96 * np.sqrt(risk * (1 - risk) / n["control" if arm == "drug" else "active"])
    assert max(found["upper"] - found["value"], found["value"] - found["lower"]) > wald


def test_records_without_events_in_an_arm_have_no_stand_in(trials):
    whole = _without_events(trials, *RECORDS, ("[split]", '[estimand]\nestimator = "standardisation"\n[split]'))
    with pytest.raises(NotEstimableError, match="arm has 0 events"):
        whole.average()


def test_a_level_that_separates_an_arm_does_not_cost_the_pre_specified_estimate(trials):
    table = trials.frame(n=300)
    site = np.where(np.arange(300) < 3, "tiny", np.where(np.arange(300) % 2, "a", "b"))
    died = np.where(site == "tiny", 0, table["dead"].to_numpy())
    table = table.with_columns(dead=pl.Series(died), site=pl.Series(site))
    whole = Whole(*trials.made("binary", ('["age", "marker", "sex"]', '["age", "marker", "sex", "site"]'), table=table))
    rows, answer = whole.average()
    (row,) = [row for row in rows if row["primary"]]
    assert row["name"] == "standardisation"
    assert "a small ridge penalty on its" in row["note"]
    crude = next(r for r in rows if r["name"] == "unadjusted")["measures"]["risk_difference"]["value"]
    assert abs(float(answer.difference) - crude) < answer.difference.se
