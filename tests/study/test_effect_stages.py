"""Learners of effects are compared on held-out patients by a loss one can compute by hand; no test row is seen."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from aimed.core import StudyFileError, UnknownNameError
from aimed.study import effect_stages
from aimed.study.effect_data import EffectData
from aimed.study.effect_models import effect_learners_of
from aimed.study.spec import read_spec
from aimed.treatment import LEARNERS

CANDIDATES = '["effect_model"]'
THREE = '["dr_learner", "risk_based", "effect_model"]'
LINEAR = 'parameters.dr_learner = { base_learner = "linear" }\n'
KINDS = ("binary", "continuous", "survival", "competing")


@pytest.fixture(scope="module")
def fitted(trials):
    """Return specification, cohort, split, and what fitting three learners to a small trial returns, by outcome."""
    known = {}

    def of(kind):
        if kind not in known:
            spec, cohort, split = trials.made(kind, (CANDIDATES, f"{THREE}\n{LINEAR}"), n=400)
            known[kind] = (spec, cohort, split, *effect_stages.fit(spec, cohort, split))
        return known[kind]

    return of


def losses_by_hand(spec, cohort, split, name, **parameters):
    """Return the effect of each held-out row, the loss of each, and that of the constant effect."""
    data = EffectData(spec, cohort)
    effect, loss, constant = (np.full(cohort.n, np.nan) for _ in range(3))
    for fold in split.folds:
        prepared = data.preparations(fold.fit)
        learns, held = data.rows(fold.fit, prepared), data.rows(fold.tune, prepared)
        nuisances = learns.nuisances(spec)
        mu0, mu1, chance = nuisances.predict(held.X, held.W)
        if held.pseudo is not None:
            # Models of stand-ins know no bounds; a risk has them.
            mu0, mu1 = np.clip(mu0, 0.0, 1.0), np.clip(mu1, 0.0, 1.0)
        if held.pseudo is not None:
            # Stand-ins of times are learned without bounds; a risk has them.
            mu0, mu1 = np.clip(mu0, 0, 1), np.clip(mu1, 0, 1)
        e = np.full(held.Y.size, 0.5) if chance is None else chance
        score = mu1 - mu0 + np.where(held.T, (held.Y - mu1) / e, -(held.Y - mu0) / (1 - e))
        learner = LEARNERS[name](**parameters)
        W = learns.W if getattr(learner, "accepts_w", True) else None
        learner.fit(
            learns.Y, learns.T, X=learns.X, W=W, patient=learns.patient, propensity=learns.propensity,
            nuisances=nuisances,
        )  # fmt: skip
        one = nuisances
        inside = one.mu1 - one.mu0 + np.where(
            learns.T, (learns.Y - one.mu1) / one.propensity, -(learns.Y - one.mu0) / (1 - one.propensity)
        )  # fmt: skip
        effect[fold.tune] = learner.effect(held.X)
        loss[fold.tune] = (score - effect[fold.tune]) ** 2
        constant[fold.tune] = (score - inside.mean()) ** 2
    train = split.parts["train"]
    return effect, loss[train], constant[train]


@pytest.mark.parametrize("kind", KINDS)
def test_the_leaderboard_is_the_loss_by_hand(fitted, kind):
    spec, cohort, split, payload, model, out_of_fold = fitted(kind)
    board = {row["name"]: row for row in payload["leaderboard"]}
    assert list(board) == ["zero_effect", "constant_effect", "dr_learner", "risk_based", "effect_model"]
    parameters = {"dr_learner": {"base_learner": "linear"}}
    for name in ("dr_learner", "risk_based", "effect_model"):
        given = {**parameters.get(name, {}), "random_state": spec.study.seed}
        effect, loss, constant = losses_by_hand(spec, cohort, split, name, **given)
        gap, row = loss - constant, board[name]
        assert row["mean"] == pytest.approx(gap.mean(), abs=1e-12)
        se = np.sqrt(((gap - gap.mean()) ** 2).sum()) / gap.size
        assert row["lower"] == pytest.approx(gap.mean() - 1.96 * se, rel=0.02, abs=1e-3 * se)
        assert row["upper"] == pytest.approx(gap.mean() + 1.96 * se, rel=0.02, abs=1e-3 * se)
        assert row["kind"] == "candidate"
        if name == payload["name"]:
            np.testing.assert_allclose(out_of_fold, effect, atol=1e-12)
            assert row["chosen"]
    assert board["constant_effect"]["mean"] == 0
    assert board["constant_effect"]["lower"] is None
    assert {row["kind"] for row in payload["leaderboard"][:2]} == {"baseline"}
    assert np.isnan(out_of_fold[split.parts["test"]]).all()
    assert model.name == payload["name"]
    assert (model.seed, model.n_fitted) == (1, split.parts["train"].size)


@pytest.mark.parametrize("kind", KINDS)
def test_the_simplest_learner_within_one_error_of_the_best_is_chosen(fitted, kind):
    spec, cohort, split, payload, _, _ = fitted(kind)
    parameters = {"dr_learner": {"base_learner": "linear"}}
    loss = {
        name: losses_by_hand(spec, cohort, split, name, **parameters.get(name, {}), random_state=1)[1]
        for name in ("risk_based", "effect_model", "dr_learner")
    }
    best = min(loss, key=lambda name: loss[name].mean())
    for name, values in loss.items():
        gap = values - loss[best]
        if name == best or gap.mean() <= np.sqrt(((gap - gap.mean()) ** 2).sum()) / gap.size:
            break
    assert payload["name"] == name
    assert (best == name) == ("lowest" in payload["choice"])
    ranks = [effect_stages.rank_of(one) for one in loss]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("kind", KINDS)
def test_outcomes_of_the_test_part_move_nothing_that_is_fitted(trials, fitted, kind):
    spec, cohort, split, payload, model, out_of_fold = fitted(kind)
    table = trials.frame(400)
    test = np.isin(np.arange(400), split.parts["test"])
    turned = {
        "dead": 1 - table["dead"].to_numpy(),
        "score": 100 - table["score"].to_numpy(),
        "days": 1000 - table["days"].to_numpy(),
        "died": 1 - table["died"].to_numpy(),
    }
    changed = table.with_columns(
        **{name: pl.Series(np.where(test, values, table[name].to_numpy())) for name, values in turned.items()}
    )
    spec2, cohort2, _ = trials.made(kind, (CANDIDATES, f"{THREE}\n{LINEAR}"), table=changed)
    assert cohort2.digest() != cohort.digest()
    payload2, model2, out_of_fold2 = effect_stages.fit(spec2, cohort2, split)
    assert json.dumps(model2.to_state(), default=repr) == json.dumps(model.to_state(), default=repr)
    raw = EffectData(spec, cohort).matrix(model.variables, np.arange(cohort.n))
    np.testing.assert_array_equal(model2.effect(raw), model.effect(raw))
    np.testing.assert_array_equal(model2.outcomes(raw), model.outcomes(raw))
    np.testing.assert_array_equal(out_of_fold2, out_of_fold)
    for a, b in zip(payload["leaderboard"], payload2["leaderboard"], strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    cal, _ = effect_stages.calibrate(spec, cohort, split, model, out_of_fold)
    cal2, _ = effect_stages.calibrate(spec2, cohort2, split, model2, out_of_fold2)
    assert cal["tree"] == cal2["tree"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_says_effect_outcomes_and_average(fitted, kind):
    spec, cohort, split, _, model, _ = fitted(kind)
    data, train = EffectData(spec, cohort), split.parts["train"]
    rows = data.rows(train, data.preparations(train))
    nuisances = rows.nuisances(spec)
    score = nuisances.mu1 - nuisances.mu0 + np.where(
        rows.T, (rows.Y - nuisances.mu1) / 0.5, -(rows.Y - nuisances.mu0) / 0.5
    )  # fmt: skip
    assert model.average["value"] == pytest.approx(score.mean())
    se = score.std() / np.sqrt(score.size)
    assert model.average["upper"] - model.average["lower"] == pytest.approx(2 * 1.96 * se, rel=0.02)
    raw = data.matrix(model.variables, train)
    effect, outcomes = model.effect(raw), model.outcomes(raw)
    limits = model.effect_interval(raw)
    assert (limits[0] <= effect).all()
    assert (effect <= limits[1]).all()
    assert (limits[0] < limits[1]).mean() > 0.9
    if model.of_risk:
        assert outcomes.min() >= 0
        assert outcomes.max() <= 1
    else:
        np.testing.assert_allclose(outcomes[:, 1] - outcomes[:, 0], effect)
    # Both arms together: the mean outcome is that of the trial, censoring met.
    middle = (rows.Y[rows.T].mean() + rows.Y[~rows.T].mean()) / 2
    assert outcomes.mean() == pytest.approx(middle, abs=0.05 * max(1.0, rows.Y.std()))
    np.testing.assert_array_equal(model.benefit(raw), -effect)


def test_unequal_arms_count_alike_in_the_mean_outcome(trials):
    table = trials.frame(400)
    active = (table["arm"] == "drug").to_numpy()
    rows = np.flatnonzero(active | (np.arange(400) % 3 == 0))
    spec, cohort, split = trials.made("binary", ("ratio = [1, 1]", "ratio = [3, 1]"), table=table[rows.tolist()])
    _, model, _ = effect_stages.fit(spec, cohort, split)
    data, train = EffectData(spec, cohort), split.parts["train"]
    Y, T = cohort.outcome.values[train], data.treated[train]
    assert T.mean() > 0.65
    found = model.outcomes(data.matrix(model.variables, train)).mean(axis=0)
    assert found.mean() == pytest.approx((Y[T].mean() + Y[~T].mean()) / 2, abs=0.05)


def test_covariates_for_adjustment_only_are_no_input(fitted):
    _, _, _, _, model, _ = fitted("binary")
    assert [v.name for v in model.variables] == ["age", "marker"]


def test_rows_of_one_patient_are_dependent(trials):
    table = trials.frame(600, rows_each=3)
    table = table.with_columns(dead=pl.Series(np.repeat(table["dead"].to_numpy()[::3], 3)))
    spec, cohort, split = trials.made(table=table)
    payload, model, _ = effect_stages.fit(spec, cohort, split)
    data, train = EffectData(spec, cohort), split.parts["train"]
    rows = data.rows(train, data.preparations(train))
    score = rows.nuisances(spec).scores(rows.Y, rows.T)
    sums = np.bincount(np.unique(rows.patient, return_inverse=True)[1], weights=score - score.mean())
    width = model.average["upper"] - model.average["lower"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt((sums**2).sum()) / score.size, rel=0.02)
    assert width > 1.5 * 2 * 1.96 * score.std() / np.sqrt(score.size)
    gap = next(row for row in payload["leaderboard"] if row["name"] == "effect_model")
    _, loss, constant = losses_by_hand(spec, cohort, split, "effect_model", random_state=1)
    each = np.bincount(
        np.unique(rows.patient, return_inverse=True)[1], weights=loss - constant - (loss - constant).mean()
    )
    se = np.sqrt((each**2).sum()) / loss.size
    assert gap["upper"] - gap["lower"] == pytest.approx(2 * 1.96 * se, rel=0.03)


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize("budget", [None, 0.2])
def test_rules_of_treatment_are_made_on_the_training_part(trials, better, budget):
    policy = "burden = 0.02\ncost = 0.01\nbenefit_weight = 2.0\nminimal_benefit = 0.005\n"
    told = f'[estimand]\nbetter = "{better}"\n[policy]\n{policy}' + (f"budget = {budget}\n" if budget else "")
    spec, cohort, split = trials.made("binary", ("[split]", f"{told}[split]"), n=300)
    _, model, out_of_fold = effect_stages.fit(spec, cohort, split)
    found, same = effect_stages.calibrate(spec, cohort, split, model, out_of_fold)
    assert same is model
    train = split.parts["train"]
    benefit = out_of_fold[train] * (-1 if better == "lower" else 1)
    limit = 0.015
    if budget:
        limit = max(limit, np.quantile(benefit, 0.8))
        assert limit > 0.015 or better == "higher"
    assert found["threshold"]["value"] == pytest.approx(limit)
    assert model.policy["limit"] == found["threshold"]["value"]
    raw = EffectData(spec, cohort).matrix(model.variables, train)
    np.testing.assert_array_equal(model.above_limit(raw), model.benefit(raw) > model.policy["limit"])
    assert found["tree"]["rules"]
    assert found["calibration"]["method"] == "none"


def test_without_depth_there_is_no_tree(trials):
    spec, cohort, split = trials.made("binary", ("[split]", "[policy]\ntree_depth = 0\n[split]"), n=200)
    _, model, out_of_fold = effect_stages.fit(spec, cohort, split)
    assert effect_stages.calibrate(spec, cohort, split, model, out_of_fold)[0]["tree"] is None


# The checks


def test_a_clean_trial_passes_every_check(trials):
    found = effect_stages.check(*trials.made(n=400))
    assert [f.message for f in found if f.severity.value == "STOP"] == []
    assert any(f.check == "treatment" for f in found)


def test_the_ratio_and_dates_of_the_study_file_reach_the_check(trials):
    table = trials.frame(400)
    days = np.datetime64("2020-01-01") + np.arange(400).astype("timedelta64[D]")
    late = days + np.where(np.arange(400) < 4, 3, -3).astype("timedelta64[D]")
    table = table.with_columns(begun=pl.Series(days), marker_day=pl.Series(late), end=pl.Series(days + 90))
    changes = (
        ('assignment = "randomised"', 'started = "begun"\nassignment = "randomised"'),
        ("ratio = [1, 1]", "ratio = [3, 1]"),
        ('column = "dead"', 'column = "dead"\nknown = "end"'),
        ("[split]", '[variables.marker]\nmeasured = "marker_day"\n[split]'),
    )
    found = effect_stages.check(*trials.made("binary", *changes, table=table))
    told = {(f.severity.value, f.where) for f in found if f.check == "treatment"}
    assert {("WARN", "arm"), ("STOP", "marker")} <= told
    assert ("STOP", "outcome") not in told


@pytest.mark.parametrize("name", sorted(set(LEARNERS) - {"zero_effect", "constant_effect"}))
def test_records_refuse_learners_without_a_place_for_covariates(trials, name):
    changes = [(CANDIDATES, f'["{name}"]'), ("ratio = [1, 1]\n", ""), ('"randomised"', '"observational"')]
    spec, cohort, split = trials.made("binary", *changes, n=120, strength=0.5)
    if getattr(LEARNERS[name], "accepts_w", True):
        effect_stages.require_adjusted(spec, EffectData(spec, cohort))
    else:
        with pytest.raises(StudyFileError, match=f"'{name}' adjusts for modifiers only, and 1 columns"):
            effect_stages.check(spec, cohort, split)
    all_modifiers = ('modifiers = ["age", "marker"]\n', "")
    spec, cohort, _ = trials.made("binary", *changes, all_modifiers, n=120, strength=0.5)
    effect_stages.require_adjusted(spec, EffectData(spec, cohort))


def test_records_are_learned_with_the_covariates_and_a_modelled_propensity(trials):
    changes = [(CANDIDATES, f'["dr_learner"]\n{LINEAR}'), ("ratio = [1, 1]\n", ""), ('"randomised"', '"observational"')]
    spec, cohort, split = trials.made("binary", *changes, n=500, strength=1.0)
    payload, model, _ = effect_stages.fit(spec, cohort, split)
    assert payload["nuisances"]["propensity"] == "linear"
    data, train = EffectData(spec, cohort), split.parts["train"]
    crude = cohort.outcome.values[train][data.treated[train]].mean() - cohort.outcome.values[train][
        ~data.treated[train]
    ].mean()  # fmt: skip
    # Older patients are treated more often and die more often: the crude difference hides part of the benefit.
    assert model.average["value"] < crude - 0.03


# Which learners


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        (CANDIDATES, '["efect_model"]', UnknownNameError, "effect_model"),
        (CANDIDATES, '["zero_effect"]', StudyFileError, "comparators always stand beside it"),
        (CANDIDATES, '["effect_model"]\nbaselines = ["prevalence"]', StudyFileError, "baseline 'prevalence'"),
        (CANDIDATES, '["effect_model"]\noutcome_model = "liner"', UnknownNameError, "linear"),
        (CANDIDATES, '["effect_model"]\npropensity_model = "magic"', UnknownNameError, "base learner"),
        (CANDIDATES, '["risk_based"]\nparameters.risk_based = { depth = 3 }', StudyFileError, "has 'depth'"),
    ],
)
def test_unknown_learners_are_refused(trials, old, new, error, words):
    with pytest.raises(error, match=words):
        effect_learners_of(read_spec(trials.study("binary", (old, new))))


@pytest.mark.parametrize("kind", KINDS)
def test_learners_without_a_word_in_the_study_file(trials, kind):
    candidates, comparators = effect_learners_of(read_spec(trials.study(kind, (f"candidates = {CANDIDATES}\n", ""))))
    assert candidates == ["risk_based", "effect_model", "causal_forest"]
    assert comparators == ["zero_effect", "constant_effect"]


def test_parameters_and_seed_reach_the_learner(trials):
    spec = read_spec(
        trials.study("binary", (CANDIDATES, '["risk_based"]\nparameters.risk_based = { form = "smooth" }'))
    )
    learner = effect_stages.learner_named(spec, "risk_based")
    assert (learner.form, learner.random_state) == ("smooth", 1)
