"""The evidence of a study of effects: every number that can be computed by hand equals the one of the record."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from aimed.study import effect_evidence, effect_stages
from aimed.study.effect_data import EffectData
from aimed.treatment import LEARNERS

KINDS = ("binary", "continuous", "survival", "competing")
PRIMARY = {"binary": "risk_difference", "continuous": "mean_difference", "survival": "risk_difference",
           "competing": "risk_difference"}  # fmt: skip
ALSO = {
    "binary": '["risk_ratio", "odds_ratio"]',
    "continuous": "[]",
    "survival": '["rmst_difference", "hazard_ratio"]',
    "competing": '["time_lost_difference", "risk_ratio"]',
}
EXTRA = """[policy]
burden = 0.02
cost = 0.01
benefit_weight = 2.0
[subgroups]
columns = ["sex", "stage"]
min_events = 5
"""
CANDIDATES = '["effect_model"]'


def go(trials, kind, *changes, table=None, extra=EXTRA, **options):
    """Return a study carried through fitting, calibration and evaluation."""
    told = f"[estimand]\nalso = {ALSO[kind]}\n{extra}[split]"
    table = trials.frame(**options) if table is None else table
    spec, cohort, split = trials.made(kind, ("[split]", told), *changes, table=table)
    fitted, model, out_of_fold = effect_stages.fit(spec, cohort, split)
    calibrated, model = effect_stages.calibrate(spec, cohort, split, model, out_of_fold)
    evidence, predictions = effect_evidence.evaluate(spec, cohort, split, model, fitted, calibrated)
    return SimpleNamespace(
        spec=spec, cohort=cohort, split=split, model=model, fitted=fitted, calibrated=calibrated, table=table,
        effect=evidence["effect"], performance=evidence["performance"], predictions=predictions,
        active=(table["arm"] == "drug").to_numpy(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(trials):
    known = {}

    def of(kind):
        if kind not in known:
            known[kind] = go(trials, kind, (CANDIDATES, '["effect_model", "risk_based"]'), n=400)
        return known[kind]

    return of


@pytest.fixture(scope="module")
def records(trials):
    """Return a study of records, where older patients were treated more often."""
    changes = [
        (CANDIDATES, '["dr_learner"]\nparameters.dr_learner = { outcome_model = "linear" }'),
        ("ratio = [1, 1]\n", ""),
        ('"randomised"', '"observational"'),
        ("placebos = 10", 'placebos = 10\nnegative_outcomes = ["height"]'),
    ]
    table = trials.frame(600, strength=1.0)
    height = 170 + table["age"].to_numpy() / 5 + np.random.default_rng(3).normal(0, 2, 600)
    return go(trials, "binary", *changes, table=table.with_columns(height=pl.Series(height)))


def curves(one, arm, kind):
    """Return risk by 300 days, event-free time and time lost of an arm, by Kaplan-Meier or Aalen-Johansen."""
    days = one.table["days"].to_numpy()[arm]
    died = (one.table["status"] == "died").to_numpy()[arm]
    other = (one.table["status"] == "transplanted").to_numpy()[arm] & (kind == "competing")
    free, risk, at, area, lost = 1.0, 0.0, 0.0, 0.0, 0.0
    for t in np.unique(days[(died | other) & (days <= 300)]):
        area, lost = area + free * (t - at), lost + risk * (t - at)
        n = (days >= t).sum()
        risk += free * (died & (days == t)).sum() / n
        free *= 1 - ((died | other) & (days == t)).sum() / n
        at = t
    return risk, area + free * (300 - at), lost + risk * (300 - at)


def expected(nuisances, held):
    """Return what is expected of rows untreated and treated; stand-ins of times have no bounds, a risk has."""
    found = nuisances.predict(held.X, held.W)[:2]
    return found if held.pseudo is None else np.clip(found, 0, 1)


# The arms as they are


def test_crude_risks_of_a_trial(done):
    one = done("binary")
    dead = one.table["dead"].to_numpy()
    risks = {"active": dead[one.active].mean(), "control": dead[~one.active].mean()}
    arms = {row["key"]: row for row in one.effect["arms"]}
    for key, mask in (("active", one.active), ("control", ~one.active)):
        assert arms[key]["n"] == mask.sum()
        assert arms[key]["events"] == dead[mask].sum()
        assert arms[key]["rate"]["value"] == pytest.approx(risks[key])
    crude = one.effect["crude"]
    difference = risks["active"] - risks["control"]
    assert crude["risk_difference"]["value"] == pytest.approx(difference)
    assert crude["risk_ratio"]["value"] == pytest.approx(risks["active"] / risks["control"])
    odds = {k: v / (1 - v) for k, v in risks.items()}
    assert crude["odds_ratio"]["value"] == pytest.approx(odds["active"] / odds["control"])
    assert crude["relative_risk_reduction"]["value"] == pytest.approx(-difference / risks["control"])
    assert crude["number_needed_to_treat"]["value"] == pytest.approx(-1 / difference)
    se = np.sqrt(sum(r * (1 - r) / m.sum() for r, m in zip(risks.values(), (one.active, ~one.active), strict=True)))
    width = crude["risk_difference"]["upper"] - crude["risk_difference"]["lower"]
    assert width == pytest.approx(2 * 1.96 * se, rel=0.03)


def test_crude_means(done):
    one = done("continuous")
    score = one.table["score"].to_numpy()
    a, b = score[one.active], score[~one.active]
    found = one.effect["crude"]["mean_difference"]
    assert found["value"] == pytest.approx(a.mean() - b.mean())
    se = np.sqrt(a.var() / a.size + b.var() / b.size)
    assert found["upper"] - found["lower"] == pytest.approx(2 * 1.96 * se, rel=0.03)
    assert "number_needed_to_treat" not in one.effect["crude"]
    assert one.effect["arms"][0]["events"] is None
    assert one.effect["curves"] is None


@pytest.mark.parametrize("kind", ["survival", "competing"])
def test_crude_risks_of_a_time_to_event(done, kind):
    one = done(kind)
    (a_risk, a_free, a_lost), (b_risk, b_free, b_lost) = curves(one, one.active, kind), curves(one, ~one.active, kind)
    crude = one.effect["crude"]
    assert crude["risk_difference"]["value"] == pytest.approx(a_risk - b_risk)
    if kind == "survival":
        assert crude["rmst_difference"]["value"] == pytest.approx(a_free - b_free)
        assert 0 < crude["hazard_ratio"]["lower"] < crude["hazard_ratio"]["value"] < 1
    else:
        assert crude["time_lost_difference"]["value"] == pytest.approx(a_lost - b_lost)
        assert crude["risk_ratio"]["value"] == pytest.approx(a_risk / b_risk)
    drawn = {row["key"]: row for row in one.effect["curves"]["arms"]}
    assert drawn["active"]["risk"][-1] == pytest.approx(a_risk)
    assert drawn["control"]["risk"][-1] == pytest.approx(b_risk)
    days = one.table["days"].to_numpy()
    at_risk = one.effect["curves"]["at_risk"]
    assert at_risk["counts"]["active"] == [int((days[one.active] >= t).sum()) for t in at_risk["times"]]


def test_the_flow_counts_every_patient_once(done):
    one = done("survival")
    flow, days = one.effect["flow"], one.table["days"].to_numpy()
    assert flow["source_rows"] == flow["assigned"] == 400
    for row, mask in zip(flow["arms"], (one.active, ~one.active), strict=True):
        assert row["assigned"] == mask.sum() == row["train"] + row["test"]
        died = one.table["died"].to_numpy() == 1
        assert row["events"] == (mask & died & (days <= 300)).sum()
        assert row["censored_early"] == (mask & ~died & (days < 300)).sum()


def test_left_out_rows_are_in_the_flow(trials):
    table = trials.frame(200)
    arm = np.where(np.arange(200) < 30, "surgery", table["arm"].to_numpy()).astype(object)
    arm[199] = None
    one = go(trials, "binary", table=table.with_columns(arm=pl.Series(arm.tolist())))
    assert one.effect["flow"]["source_rows"] == 200
    assert one.effect["flow"]["assigned"] == 169
    assert [row["n"] for row in one.effect["flow"]["excluded"]] == [1, 30]


def test_balance_by_hand(done):
    one = done("binary")
    rows = {(row["name"], row["level"]): row for row in one.effect["balance"]["rows"]}
    age = one.table["age"].to_numpy()
    a, b = age[one.active], age[~one.active]
    smd = (a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert rows["age", None]["smd"] == pytest.approx(smd)
    assert rows["age", None]["active"]["mean"] == pytest.approx(a.mean())
    assert rows["age", None]["smd_weighted"] is None
    marker = one.table["marker"]
    assert rows["marker", None]["missing"]["active"] == marker.filter(pl.Series(one.active)).null_count()
    male = (one.table["sex"] == "male").to_numpy()
    assert rows["sex", "male"]["active"]["mean"] == pytest.approx(male[one.active].mean())
    largest = max(abs(row["smd"]) for row in rows.values())
    assert one.performance["measures"]["max_smd"]["value"] == pytest.approx(largest)


def test_overlap_of_a_trial_is_known_and_of_records_is_not(done, records):
    trial = done("binary").effect["overlap"]
    assert trial["known"]
    assert trial["lowest"] == trial["highest"] == 0.5
    found = records.effect["overlap"]
    assert not found["known"]
    assert 0 < found["lowest"] < 0.4 < 0.6 < found["highest"] < 1
    assert found["effective"]["active"] < found["n"]["active"]
    assert sum(found["n"].values()) == 600
    assert found["auc"]["value"] > 0.65
    smd = {row["name"]: row for row in records.effect["balance"]["rows"]}["age"]
    assert abs(smd["smd_weighted"]) < 0.15 < abs(smd["smd"])
    assert records.performance["measures"]["max_smd"]["note"] == "after weighting"


# The average effect


@pytest.mark.parametrize("kind", KINDS)
def test_average_effects_of_all_patients(done, kind):
    one, name = done(kind), PRIMARY[kind]
    table = {row["name"]: row for row in one.effect["average"]}
    assert list(table) == ["unadjusted", "standardisation", "weighting", "doubly_robust", "matching"]
    assert [row["name"] for row in one.effect["average"] if row["primary"]] == ["standardisation"]
    assert table["unadjusted"]["measures"][name]["value"] == pytest.approx(one.effect["crude"][name]["value"])
    data = EffectData(one.spec, one.cohort)
    every = np.arange(one.cohort.n)
    rows = data.rows(every, data.preparations(every, "mean"))
    n = rows.nuisances(one.spec)
    score = n.mu1 - n.mu0 + np.where(rows.T, (rows.Y - n.mu1) / 0.5, -(rows.Y - n.mu0) / 0.5)
    found = table["doubly_robust"]["measures"][name]
    assert found["value"] == pytest.approx(score.mean())
    assert found["upper"] - found["lower"] == pytest.approx(2 * 1.96 * score.std() / np.sqrt(score.size), rel=0.03)
    values = [row["measures"][name]["value"] for row in table.values()]
    assert np.ptp(values) < 0.5 * (found["upper"] - found["lower"])
    assert one.performance["measures"][name] == table["standardisation"]["measures"][name]
    assert one.effect["estimand"]["contrast"] == name
    assert one.effect["estimand"]["estimator"] == "standardisation"


def test_standardisation_of_a_measured_outcome_by_hand(done):
    one = done("continuous")
    data = EffectData(one.spec, one.cohort)
    every = np.arange(one.cohort.n)
    rows = data.rows(every, data.preparations(every, "mean"))
    Z = np.column_stack([np.ones(one.cohort.n), rows.X, rows.W])
    means = []
    for arm in (rows.T, ~rows.T):
        beta, *_ = np.linalg.lstsq(Z[arm], rows.Y[arm], rcond=None)
        means.append((Z @ beta).mean())
    found = next(row for row in one.effect["average"] if row["primary"])["measures"]["mean_difference"]
    assert found["value"] == pytest.approx(means[0] - means[1], abs=0.35)


def test_missing_values_do_not_leave_a_trial_without_an_answer(trials):
    table = trials.frame(400)
    # Nobody whose marker is missing died: an indicator of that would tell the outcome without error.
    dead = table["dead"].to_numpy() * table["marker"].is_not_null().to_numpy()
    one = go(trials, "binary", table=table.with_columns(dead=pl.Series(dead)))
    found = next(row for row in one.effect["average"] if row["primary"])["measures"]["risk_difference"]
    assert found["value"] == pytest.approx(one.effect["crude"]["risk_difference"]["value"], abs=0.05)


@pytest.mark.parametrize(("name", "taken"), [("weighting", "weighting"), ("unadjusted", "unadjusted")])
def test_the_estimator_may_be_named(trials, name, taken):
    one = go(trials, "binary", ("[estimand]", f'[estimand]\nestimator = "{name}"'), n=200)
    assert [row["name"] for row in one.effect["average"] if row["primary"]] == [taken]
    assert one.effect["estimand"]["estimator"] == taken


def test_records_are_adjusted(records):
    table = {row["name"]: row["measures"]["risk_difference"]["value"] for row in records.effect["average"]}
    assert [row["name"] for row in records.effect["average"] if row["primary"]] == ["doubly_robust"]
    for name in ("standardisation", "weighting", "doubly_robust", "matching"):
        assert table[name] < table["unadjusted"] - 0.03


def test_strata_are_adjusted_for_and_split_the_hazard(trials):
    plain = go(trials, "survival", n=300)
    strata = go(trials, "survival", ("ratio = [1, 1]", 'ratio = [1, 1]\nstrata = ["stage"]'), n=300)
    assert strata.effect["estimand"]["strata"] == ["stage"]
    assert "stage" in {row["name"] for row in strata.effect["balance"]["rows"]}
    assert "stage" not in {row["name"] for row in plain.effect["balance"]["rows"]}
    a, b = (one.effect["crude"]["hazard_ratio"]["value"] for one in (plain, strata))
    assert a != b
    assert a == pytest.approx(b, rel=0.3)
    assert [v.name for v in strata.model.variables] == ["age", "marker"]


def test_rows_of_one_patient_make_intervals_wider(trials):
    table = trials.frame(600, rows_each=3)
    table = table.with_columns(dead=pl.Series(np.repeat(table["dead"].to_numpy()[::3], 3)))
    apart = table.with_columns(patient=pl.Series([f"Q{i}" for i in range(600)]))
    wide, narrow = go(trials, "binary", table=table), go(trials, "binary", table=apart)
    assert wide.performance["patients"] == wide.performance["n"] / 3
    for row, other in zip(wide.effect["average"], narrow.effect["average"], strict=True):
        if row["name"] == "matching":
            continue
        a, b = (one["measures"]["risk_difference"] for one in (row, other))
        assert a["upper"] - a["lower"] > 1.4 * (b["upper"] - b["lower"])
    a, b = (one.effect["crude"]["risk_difference"] for one in (wide, narrow))
    assert a["value"] == pytest.approx(b["value"])


# Who benefits


@pytest.mark.parametrize("kind", KINDS)
def test_losses_on_the_test_part_by_hand(done, kind):
    one = done(kind)
    data = EffectData(one.spec, one.cohort)
    train, test = one.split.parts["train"], one.split.parts["test"]
    prepared = data.preparations(train)
    learned, held = data.rows(train, prepared), data.rows(test, prepared)
    n = learned.nuisances(one.spec)
    inside = n.mu1 - n.mu0 + np.where(learned.T, (learned.Y - n.mu1) / 0.5, -(learned.Y - n.mu0) / 0.5)
    mu0, mu1 = expected(n, held)
    score = mu1 - mu0 + np.where(held.T, (held.Y - mu1) / 0.5, -(held.Y - mu0) / 0.5)
    np.testing.assert_allclose(one.predictions["score"], score, atol=1e-12)
    rows = {row["name"]: row for row in one.effect["heterogeneity"]["losses"]}
    assert {"effect_model", "risk_based", "constant_effect"} <= set(rows)
    for name in ("effect_model", "risk_based"):
        learner = LEARNERS[name](random_state=one.spec.study.seed)
        learner.fit(learned.Y, learned.T, X=learned.X, patient=None, propensity=learned.propensity, nuisances=n)
        effect = learner.effect(held.X)
        # Every learner is judged with both risks left within 0 and 1, as the packaged model leaves them.
        middle = one.model.outcomes(data.matrix(data.modifiers, test)).mean(axis=1)
        room = 2 * np.minimum(middle, 1 - middle) if one.model.of_risk else np.inf
        effect = np.clip(effect, -room, room)
        if name == one.fitted["name"]:
            np.testing.assert_allclose(effect, one.predictions["effect"], atol=1e-12)
        loss = (score - effect) ** 2
        gap = loss - (score - inside.mean()) ** 2
        assert rows[name]["difference"]["value"] == pytest.approx(gap.mean(), abs=1e-9)
        assert rows[name]["against_zero"]["value"] == pytest.approx((loss - score**2).mean(), abs=1e-9)
        se = np.sqrt(((gap - gap.mean()) ** 2).sum()) / gap.size
        assert rows[name]["difference"]["upper"] - gap.mean() == pytest.approx(1.96 * se, rel=0.05)
        assert rows[name]["chosen"] == (name == one.fitted["name"])
    own = one.performance["differences"]["constant_effect"]["dr_loss"]
    assert own["value"] == pytest.approx(rows[one.fitted["name"]]["difference"]["value"])
    alone = ((score - inside.mean()) ** 2 - score**2).mean()
    assert rows["constant_effect"]["against_zero"]["value"] == pytest.approx(alone)
    assert rows["constant_effect"]["difference"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_of_the_test_part(done, kind):
    one = done(kind)
    test = one.split.parts["test"]
    assert one.predictions["patient"].tolist() == [f"P{i:04d}" for i in test]
    assert one.predictions["treated"].tolist() == one.active[test].tolist()
    raw = one.cohort.matrix(["age", "marker"])[test]
    np.testing.assert_array_equal(one.predictions["effect"], one.model.effect(raw))
    assert (one.predictions["lower"] <= one.predictions["effect"]).all()
    assert (one.predictions["effect"] <= one.predictions["upper"]).all()
    assert (one.predictions["lower"] < one.predictions["upper"]).mean() > 0.9
    assert one.performance["n"] == test.size
    assert one.performance["treated"] == one.active[test].sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_is_worth_what_it_is_by_hand(done, kind):
    one = done(kind)
    data = EffectData(one.spec, one.cohort)
    train, test = one.split.parts["train"], one.split.parts["test"]
    prepared = data.preparations(train)
    held = data.rows(test, prepared)
    mu0, mu1 = expected(data.rows(train, prepared).nuisances(one.spec), held)
    treated = mu1 + np.where(held.T, (held.Y - mu1) / 0.5, 0)
    control = mu0 + np.where(held.T, 0, (held.Y - mu0) / 0.5)
    rule = -one.predictions["effect"] > 0.015
    rows = {row["name"]: row for row in one.effect["policy"]["rows"]}
    assert set(rows) == {"treat_all", "treat_none", "by_benefit", "policy_tree"}
    found = rows["by_benefit"]
    assert found["treated_share"] == pytest.approx(rule.mean())
    assert found["value"]["value"] == pytest.approx(np.where(rule, treated, control).mean())
    assert rows["treat_all"]["value"]["value"] == pytest.approx(treated.mean())
    assert rows["treat_none"]["value"]["value"] == pytest.approx(control.mean())
    for key, there in (("against_all", np.ones(rule.size)), ("against_none", np.zeros(rule.size))):
        more = rule - there
        gain = -2.0 * (more * (treated - control)).mean() - 0.03 * more.mean()
        assert found[key]["value"] == pytest.approx(gain, abs=1e-12)
    assert rows["treat_all"]["against_all"] is None
    assert one.effect["policy"]["limit"] == pytest.approx(0.015)
    gain = one.performance["measures"]["policy_gain"]
    assert (gain["value"], gain["lower"]) == (found["against_all"]["value"], found["against_all"]["lower"])
    assert one.effect["policy"]["sentence"].startswith("Treating by predicted benefit")


def test_a_budget_is_a_rule_of_its_own(trials):
    one = go(trials, "binary", ("[policy]", "[policy]\nbudget = 0.25"), n=300)
    rows = {row["name"]: row for row in one.effect["policy"]["rows"]}
    assert rows["by_budget"]["treated_share"] == pytest.approx(0.25, abs=0.01)
    limit = one.calibrated["threshold"]["value"]
    assert rows["by_benefit"]["treated_share"] == pytest.approx(np.mean(-one.predictions["effect"] > limit))


def test_no_heterogeneity_is_said_in_words(trials):
    table = trials.frame(500, harm=0.7)
    flat = np.random.default_rng(1).random(500) < np.where((table["arm"] == "drug").to_numpy(), 0.3, 0.5)
    one = go(trials, "binary", table=table.with_columns(dead=pl.Series(flat.astype(int))))
    found = one.effect["heterogeneity"]
    assert found["state"] in ("no evidence", "not enough evidence")
    assert found["sentence"]
    assert found["tests"]
    simple = effect_evidence.facts(
        one.spec, one.cohort, one.split, one.model, one.fitted, one.performance
    ).simple  # fmt: skip
    assert simple["beaten"] is not True
    assert "average effect should be preferred" in simple["sentence"]


def test_strong_heterogeneity_is_found(trials):
    table, rng = trials.frame(600), np.random.default_rng(2)
    high = table["age"].to_numpy() > 60
    table = table.with_columns(age=pl.Series(np.where(high, 70.0, 50.0)))
    risk = np.where((table["arm"] == "drug").to_numpy() & high, 0.1, np.where(high, 0.8, 0.3))
    one = go(trials, "binary", table=table.with_columns(dead=pl.Series((rng.random(600) < risk).astype(int))))
    assert one.effect["heterogeneity"]["state"] == "evidence"
    groups = one.effect["heterogeneity"]["groups"]
    assert sum(row["n"] for row in groups) == one.performance["n"]
    simple = effect_evidence.facts(one.spec, one.cohort, one.split, one.model, one.fitted, one.performance).simple
    assert simple["beaten"] is True


def test_quarters_of_risk_hold_everyone(done):
    # A measured outcome is no risk; its quarters are not made.
    assert done("continuous").effect["risk_quarters"] is None
    for kind in ("binary", "survival", "competing"):
        found = done(kind).effect["risk_quarters"]
        assert sum(row["n"] for row in found["rows"]) == 400
        risks = [row["mean_risk"] for row in found["rows"]]
        assert risks == sorted(risks)


# Groups, placebos, sensitivity


def test_subgroups_by_hand(done):
    one = done("binary")
    found = effect_evidence.audit(one.spec, one.cohort, one.split, one.model, one.calibrated)
    dead, sex = one.table["dead"].to_numpy(), one.table["sex"].to_numpy()
    rows = {(row["column"], row["level"]): row for row in found["rows"]}
    for level in ("female", "male"):
        row, here = rows["sex", level], sex == level
        assert row["n"] == here.sum()
        assert row["events"] == dead[here].sum()
        assert row["control"]["value"] == pytest.approx(dead[here & ~one.active].mean())
        assert row["active"]["value"] == pytest.approx(dead[here & one.active].mean())
        assert row["effect"]["lower"] < row["effect"]["value"] < row["effect"]["upper"]
    assert {row["column"] for row in found["interactions"]} == {"sex", "stage"}
    for row in found["interactions"]:
        assert row["p"] <= row["p_adjusted"] <= 1


def test_without_groups_there_is_no_audit(trials):
    spec, cohort, split = trials.made(n=100)
    assert effect_evidence.audit(spec, cohort, split, None, {}) is None


def test_placebos(done, records):
    (permuted,) = done("binary").effect["placebos"]
    assert permuted["draws"] == 10
    width = done("binary").effect["crude"]["risk_difference"]
    assert abs(permuted["measure"]["value"]) < width["upper"] - width["lower"]
    assert permuted["measure"]["lower"] < 0 < permuted["measure"]["upper"]
    names = [row["name"] for row in records.effect["placebos"]]
    assert names == ["permuted_treatment", "height"]
    height = records.effect["placebos"][1]
    # Height goes with age, age with treatment; adjusted for age nothing is left.
    table = records.table["height"].to_numpy()
    crude = table[records.active].mean() - table[~records.active].mean()
    assert abs(height["measure"]["value"]) < crude / 2
    assert height["p"] > 0.001


def test_no_placebos_are_made_where_none_are_asked(trials):
    one = go(trials, "binary", ("placebos = 10", "placebos = 0"), n=150)
    assert one.effect["placebos"] == []


def test_sensitivity(done):
    found = done("binary").effect["sensitivity"]
    primary = next(row for row in done("binary").effect["average"] if row["primary"])["measures"]
    ratio = 1 / primary["risk_ratio"]["value"]
    assert found["e_value"]["estimate"] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))
    assert "after randomisation" in found["sentence"]
    assert np.shape(found["grid"]["adjusted"]) == (5, 5)


# Explanation and facts


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_explanation_in_absolute_numbers(done, kind):
    one = done(kind)
    block, _ = effect_evidence.explain(one.spec, one.cohort, one.split, one.model)
    assert block["kind"] == "effect"
    assert {row["variable"] for row in block["permutation"]} == {"age", "marker"}
    assert len(block["patients"]) == 3
    effects = [row["effect"] for row in block["patients"]]
    assert effects == sorted(effects, reverse=True)
    for row in block["patients"]:
        assert "drug" in row["sentence"]
        assert "placebo" in row["sentence"]
        if kind == "binary":
            assert row["fewer"] == pytest.approx(row["control_of_100"] - row["active_of_100"])
            assert 0 <= row["control_of_100"] <= 100
            assert row["sentence"].startswith("Of 100 patients like this")
        else:
            assert "points" in row["sentence"]
    shown = json.dumps(block, default=str)
    assert "P0" not in shown


def test_inputs_are_the_modifiers(done):
    one = done("binary")
    found = effect_evidence.facts(one.spec, one.cohort, one.split, one.model, one.fitted, one.performance)
    assert [row["name"] for row in found.inputs["inputs"]] == ["age", "marker"]
    train = np.sort(one.table["age"].to_numpy()[one.split.parts["train"]])
    assert found.inputs["inputs"][0]["training_range"] == [train[4], train[-5]]
    assert {row["code"] for row in found.inputs["refusals"]} >= {"NOT_A_NUMBER", "UNSEEN_CATEGORY"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_measure_is_a_number_with_its_interval_or_a_reason(done, kind):
    one = done(kind)

    def look(record, at):
        if isinstance(record, dict):
            if {"value", "lower", "upper", "level"} <= set(record):
                assert (record["value"] is None) <= bool(record.get("note")), at
                if record["lower"] is not None:
                    assert record["lower"] <= record["upper"], at
            for key, value in record.items():
                look(value, f"{at}.{key}")
        elif isinstance(record, list | tuple):
            for i, value in enumerate(record):
                look(value, f"{at}[{i}]")
        elif isinstance(record, float):
            assert not np.isnan(record), at

    look(one.effect, "effect")
    look(one.performance, "performance")


def test_the_same_study_gives_the_same_record(trials, done):
    again = go(trials, "survival", (CANDIDATES, '["effect_model", "risk_based"]'), n=400)

    def text(one):
        return json.dumps([one.effect, one.performance], default=repr, sort_keys=True)

    assert text(again) == text(done("survival"))
