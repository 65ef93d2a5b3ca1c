"""Average effects of a study: arms in groups are adjusted in records, and an outcome's spread is its own."""

from __future__ import annotations

import numpy as np
import pytest

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
