"""What a study of effects works on: who is what, outcomes on the scale of the effect, nothing learned elsewhere."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aimed.core import DataError, StudyFileError
from aimed.study.effect_data import EffectData

MODIFIERS = 'modifiers = ["age", "marker"]\n'
BOTH = 'adjust = ["age", "marker", "sex"]\nmodifiers = ["age", "marker"]\n'
RATIO = "ratio = [1, 1]\n"


def names(variables):
    return [v.name for v in variables]


@pytest.fixture(scope="module")
def data_of(trials):
    def make(kind="binary", *changes, **options):
        spec, cohort, split = trials.made(kind, *changes, **options)
        return EffectData(spec, cohort), split

    return make


@pytest.mark.parametrize(
    ("predictors", "strata", "modifiers", "others"),
    [
        (BOTH, "", ["age", "marker"], ["sex"]),
        (BOTH, '"stage", "sex"', ["age", "marker"], ["sex", "stage"]),
        (BOTH, '"age"', ["age", "marker"], ["sex"]),
        (MODIFIERS, '"sex"', ["age", "marker"], ["sex"]),
        ('adjust = ["age", "sex"]\n', "", ["age", "sex"], []),
        ('include = ["age", "stage"]\n', '"sex"', ["age", "stage"], ["sex"]),
    ],
)
def test_modifiers_and_other_covariates(data_of, predictors, strata, modifiers, others):
    data, split = data_of("binary", (BOTH, predictors), (RATIO, f"{RATIO}strata = [{strata}]\n"))
    assert names(data.modifiers) == modifiers
    assert names(data.others) == others
    rows = data.rows(split.parts["train"], data.preparations(split.parts["train"]))
    assert (rows.W is None) == (not others)


def test_dates_are_no_covariates(trials, data_of):
    table = trials.frame(100).with_columns(day=pl.Series(["2020-01-01", "2020-02-01"] * 50))
    with pytest.raises(DataError, match="'day', which is read as a date column"):
        data_of("binary", (MODIFIERS, 'modifiers = ["age", "day"]\n'), table=table)
    data, _ = data_of("binary", (RATIO, 'strata = ["day"]\n'), table=table)
    with pytest.raises(StudyFileError, match="strata names 'day', a date column"):
        assert data.others


def test_the_chance_of_treatment(data_of):
    places = np.arange(5)
    data, _ = data_of("binary", (RATIO, "ratio = [2, 1]\n"))
    assert data.chance(places).tolist() == pytest.approx([2 / 3] * 5)
    data, _ = data_of("binary", (RATIO, ""))
    assert data.propensity is None
    assert data.chance(places).tolist() == pytest.approx([data.treated.mean()] * 5)
    data, _ = data_of("binary", (RATIO, ""), ('"randomised"', '"observational"'))
    assert data.chance(places) is None


def test_rows_hold_what_the_table_says(trials, data_of):
    table = trials.frame(200)
    data, split = data_of(table=table)
    train = split.parts["train"]
    rows = data.rows(train, data.preparations(train))
    assert rows.Y.tolist() == table["dead"].to_numpy()[train].tolist()
    assert rows.T.tolist() == (table["arm"] == "drug").to_numpy()[train].tolist()
    assert rows.patient is None
    assert rows.pseudo is None
    age = table["age"].to_numpy()[train]
    np.testing.assert_allclose(rows.X[:, 0], (age - age.mean()) / age.std(ddof=1), atol=1e-12)
    # Age, marker, and whether the marker is missing; what is for adjustment only is not among them.
    assert rows.X.shape[1] == 3
    assert np.unique(rows.W).size == 2
    seen, Y, weights = rows.fully_seen()
    assert (seen.size, Y.sum(), weights.sum()) == (train.size, rows.Y.sum(), train.size)


def test_preparations_know_only_the_rows_they_were_fitted_on(trials, data_of):
    table = trials.frame(200)
    data, split = data_of(table=table)
    train, test = split.parts["train"], split.parts["test"]
    far = table.with_columns(age=pl.Series(np.where(np.isin(np.arange(200), test), 900.0, table["age"].to_numpy())))
    other, _ = data_of(table=far)
    for prepared in ("modifiers", "others"):
        a, b = data.preparations(train)[prepared], other.preparations(train)[prepared]
        assert a.to_state() == b.to_state()
    np.testing.assert_array_equal(
        data.rows(train, data.preparations(train)).X, other.rows(train, other.preparations(train)).X
    )


def test_rows_of_one_patient_are_known_as_such(data_of):
    data, split = data_of(n=200, rows_each=2)
    train = split.parts["train"]
    rows = data.rows(train, data.preparations(train))
    same = data.cohort.patient[train][:, None] == data.cohort.patient[train][None, :]
    assert ((rows.patient[:, None] == rows.patient[None, :]) == same).all()
    nuisances = rows.nuisances(data.spec)
    for who in np.unique(rows.patient):
        assert np.unique(nuisances.fold[rows.patient == who]).size == 1


def everyone_seen(trials, n=300):
    """Return a table without censoring before the horizon."""
    table = trials.frame(n)
    days = table["days"].to_numpy()
    censored = (table["status"] == "alive").to_numpy() & (days < 300)
    return table.with_columns(days=pl.Series(np.where(censored, 300 + days, days)))


@pytest.mark.parametrize(
    ("kind", "contrast"),
    [
        ("survival", "risk_difference"),
        ("survival", "rmst_difference"),
        ("competing", "risk_difference"),
        ("competing", "time_lost_difference"),
    ],
)
def test_without_censoring_the_outcome_is_the_outcome(trials, data_of, kind, contrast):
    table = everyone_seen(trials)
    if kind == "survival":
        # Transplanted patients are censored in this reading: let them be followed too.
        late = (table["status"] == "transplanted").to_numpy() & (table["days"].to_numpy() < 300)
        table = table.with_columns(days=pl.Series(np.where(late, 400, table["days"].to_numpy())))
    data, split = data_of(kind, ("[split]", f'[estimand]\ncontrast = "{contrast}"\n[split]'), table=table)
    train = split.parts["train"]
    days, died = table["days"].to_numpy()[train], (table["status"] == "died").to_numpy()[train]
    by_hand = {
        "risk_difference": died & (days <= 300),
        "rmst_difference": np.minimum(days, 300),
        "time_lost_difference": np.where(died, np.maximum(300 - days, 0), 0),
    }[contrast].astype(float)
    rows = data.rows(train, data.preparations(train))
    np.testing.assert_allclose(rows.Y, by_hand, atol=1e-9)
    seen, Y, weights = rows.fully_seen()
    assert seen.tolist() == list(range(train.size))
    np.testing.assert_allclose(Y, by_hand)
    np.testing.assert_allclose(weights, 1)


@pytest.mark.parametrize("kind", ["survival", "competing"])
def test_with_censoring_the_mean_outcome_is_the_curve(data_of, kind):
    data, _ = data_of(kind, n=600)
    every = np.arange(data.cohort.n)
    rows = data.rows(every, data.preparations(every))
    outcome = data.cohort.outcome
    cause = outcome.cause if kind == "competing" else outcome.event.astype(int)
    for arm in (rows.T, ~rows.T):
        free, incidence = 1.0, 0.0
        for t in np.unique(outcome.time[arm & (cause > 0) & (outcome.time <= 300)]):
            at_risk = (outcome.time[arm] >= t).sum()
            incidence += free * ((outcome.time[arm] == t) & (cause[arm] == 1)).sum() / at_risk
            free *= 1 - ((outcome.time[arm] == t) & (cause[arm] > 0)).sum() / at_risk
        assert rows.Y[arm].mean() == pytest.approx(incidence, abs=0.02)
    seen, Y, weights = rows.fully_seen()
    assert 0 < seen.size < data.cohort.n
    assert set(np.unique(Y)) == {0.0, 1.0}
    assert (weights >= 1 - 1e-9).all()


@pytest.mark.parametrize("kind", ["survival", "competing"])
def test_outcomes_of_a_part_are_learned_from_it_alone(trials, data_of, kind):
    table = trials.frame(300)
    data, split = data_of(kind, table=table)
    train, test = split.parts["train"], np.isin(np.arange(300), split.parts["test"])
    turned = table.with_columns(
        days=pl.Series(np.where(test, 1000 - table["days"].to_numpy(), table["days"].to_numpy()))
    )
    other, _ = data_of(kind, table=turned)
    np.testing.assert_array_equal(
        data.rows(train, data.preparations(train)).Y, other.rows(train, other.preparations(train)).Y
    )


@pytest.mark.parametrize("assignment", ["randomised", "observational"])
def test_rows_are_judged_by_models_of_other_rows(data_of, assignment):
    ratio = RATIO if assignment == "observational" else "ratio = [1, 1]"
    changes = [('"randomised"', f'"{assignment}"')] + ([(ratio, "")] if assignment == "observational" else [])
    data, split = data_of("binary", *changes, strength=1.0 if assignment == "observational" else 0.0)
    train, test = split.parts["train"], split.parts["test"]
    preparations = data.preparations(train)
    learned, held = data.rows(train, preparations), data.rows(test, preparations)
    nuisances = learned.nuisances(data.spec)
    judged = held.judged_by(nuisances)
    mu0, mu1, chance = nuisances.predict(held.X, held.W)
    np.testing.assert_array_equal(judged.mu0, mu0)
    np.testing.assert_array_equal(judged.mu1, mu1)
    if assignment == "randomised":
        assert chance is None
        assert set(judged.propensity) == {0.5}
    else:
        np.testing.assert_array_equal(judged.propensity, chance)
        assert np.ptp(chance) > 0.1
    e = judged.propensity
    by_hand = mu1 - mu0 + np.where(held.T, (held.Y - mu1) / e, -(held.Y - mu0) / (1 - e))
    np.testing.assert_allclose(judged.scores(held.Y, held.T), by_hand)


def test_some_rows_of_rows(data_of):
    data, _ = data_of("survival", n=200, rows_each=2)
    every = np.arange(data.cohort.n)
    rows, places = data.rows(every, data.preparations(every)), np.array([5, 3, 9])
    some = rows.take(places)
    for name in ("rows", "Y", "T", "X", "W", "patient", "propensity"):
        np.testing.assert_array_equal(getattr(some, name), getattr(rows, name)[places])


def test_readable_modifiers_are_in_their_own_units(trials, data_of):
    table = trials.frame(200)
    data, split = data_of(table=table)
    readable = data.readable(split.parts["train"])
    found = readable.transform(data.matrix(data.modifiers, split.parts["test"]))
    np.testing.assert_array_equal(found[:, 0], table["age"].to_numpy()[split.parts["test"]])
    assert not np.isnan(found).any()
