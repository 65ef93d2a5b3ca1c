"""Stand-in outcomes: identities with Kaplan-Meier, double robustness by simulation, given models, damaged input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.nonparametric import kaplan_meier, kaplan_meier_influence, rmst
from aimed.metrics.regression import CoxRegression
from aimed.treatment import censored
from aimed.treatment.censored import Window, product_limit_outcome, pseudo_outcome
from aimed.treatment.time_to_event import time_to_event

HORIZON = 2.0
CONTRASTS = ("risk", "rmst", "time_lost")


class Marginal(BaseEstimator):
    """A model that looks at no covariate: wrong wherever they matter."""

    def fit(self, X, y):
        self.curve_ = kaplan_meier(y["event"], y["time"])
        return self

    def predict_survival_function(self, X, times):
        return np.tile(self.curve_.at(times, extend=True), (len(X), 1))


class MarginalIncidence(BaseEstimator):
    """The same chances of each kind of event for all."""

    def fit(self, X, y):
        self.found_ = aalen_johansen(y["event"], y["time"])
        return self

    def predict_cumulative_incidence(self, X, times):
        place = np.searchsorted(self.found_.times, times, side="right")
        values = np.vstack([np.zeros((1, self.found_.value.shape[1])), self.found_.value])[place]
        return np.tile(values, (len(X), 1, 1))


def small(seed=0, n=300, step=0.0):
    rng = np.random.default_rng(seed)
    T, C = rng.exponential(2, n), rng.exponential(3, n)
    if step:
        T, C = np.ceil(T / step) * step, np.ceil(C / step) * step
    event = (T <= C).astype(int)
    kind = np.where(event == 1, 1 + (rng.random(n) < 0.4), 0)
    return event, kind, np.minimum(T, C), rng.integers(0, 2, n)


def draw(n, seed, competing=False):
    """A trial whose censoring and event both depend on the first covariate."""
    rng = np.random.default_rng(seed)
    x, arm = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    T = rng.exponential(np.exp(-(-0.9 + 0.9 * x[:, 0] - 0.6 * arm + 0.4 * x[:, 1] * arm)))
    other = rng.exponential(np.exp(1.6 - 0.5 * x[:, 0])) if competing else np.full(n, np.inf)
    C = rng.exponential(np.exp(-(-1.2 + np.where(arm == 1, 0.6, -0.4) * x[:, 0])))
    end = np.minimum(T, other)
    kind = np.where(end > C, 0, np.where(other < T, 2, 1))
    return x, arm, kind, np.minimum(end, C)


def truth(contrast, competing=False):
    """The mean difference of the arms, by numerical integration over the covariates."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    a, b = np.meshgrid(node, node, indexing="ij")
    w = np.outer(weight, weight) / weight.sum() ** 2
    t = np.linspace(0, HORIZON, 2001)[:, None, None]
    means = []
    for arm in (0, 1):
        hazard = np.exp(-0.9 + 0.9 * a - 0.6 * arm + 0.4 * b * arm)
        total = hazard + (np.exp(-1.6 + 0.5 * a) if competing else 0.0)
        incidence = (hazard / total * -np.expm1(-total * t) * w).sum(axis=(1, 2))
        free = (np.exp(-total * t) * w).sum(axis=(1, 2))
        area = {
            "risk": incidence[-1],
            "rmst": np.trapezoid(free, t[:, 0, 0]),
            "time_lost": np.trapezoid(incidence, t[:, 0, 0]),
        }
        means.append(float(area[contrast]))
    return means[1] - means[0]


def difference(values, arm):
    """Mean difference and its error."""
    parts = [values[arm == k] for k in (0, 1)]
    return parts[1].mean() - parts[0].mean(), math.sqrt(sum(p.var(ddof=1) / p.size for p in parts))


MODELS = {
    "both right": {},
    "censoring wrong": {"censoring_model": Marginal()},
    "event wrong": {"event_model": Marginal()},
}


def simulate(models, contrast, draws, n, competing=False):
    found = []
    for seed in range(draws):
        x, arm, kind, time = draw(n, seed, competing)
        out = pseudo_outcome(kind, time, arm, x, horizon=HORIZON, contrast=contrast, folds=2, **models)
        naive = Window.of(kind, time, HORIZON).outcome(contrast)
        found.append((*difference(out.values, arm), *difference(naive[out.known], arm[out.known])))
    value, se, complete, _ = np.array(found).T
    real = truth(contrast, competing)
    return {
        "bias": value.mean() - real,
        "error": value.std(ddof=1) / math.sqrt(draws),
        "cover": float((abs(value - real) < 1.96 * se).mean()),
        "naive": complete.mean() - real,
        "naive_error": complete.std(ddof=1) / math.sqrt(draws),
    }


@pytest.mark.parametrize("step", [0.0, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_without_covariates_the_mean_is_kaplan_meier_and_the_rest_its_influence(seed, step):
    event, _, time, _ = small(seed, step=step)
    rows = Window.of(event, time, HORIZON)
    for contrast, value, influence in (
        ("risk", 1 - kaplan_meier(event, time).at(HORIZON), -kaplan_meier_influence(event, time, [HORIZON])[:, 0]),
        ("rmst", float(rmst(event, time, HORIZON)), rmst(event, time, HORIZON).influence),
        ("time_lost", HORIZON - rmst(event, time, HORIZON), -rmst(event, time, HORIZON).influence),
    ):
        full, _ = product_limit_outcome(rows, contrast)
        weighted, _ = product_limit_outcome(rows, contrast, augmented=False)
        assert full.mean() == pytest.approx(float(value), abs=1e-12)
        assert weighted.mean() == pytest.approx(float(value), abs=1e-12)
        np.testing.assert_allclose((full - full.mean()) / full.size, influence, atol=1e-14)


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_with_competing_events_the_mean_is_aalen_johansen_with_its_error(step):
    _, kind, time, _ = small(2, step=step)
    for cause in (1, 2):
        found = aalen_johansen(kind, time, cause=cause)
        full, _ = product_limit_outcome(Window.of(kind, time, HORIZON, cause), "risk")
        assert full.mean() == pytest.approx(found.at([HORIZON])[0], abs=1e-12)
        assert math.sqrt(((full - full.mean()) ** 2).sum()) / full.size == pytest.approx(
            found.se_at([HORIZON])[0], rel=1e-10
        )
        lost, _ = product_limit_outcome(Window.of(kind, time, HORIZON, cause), "time_lost")
        inside = found.times < HORIZON
        area = np.r_[0.0, found.value[inside]] @ np.diff(np.r_[0.0, found.times[inside], HORIZON])
        assert lost.mean() == pytest.approx(area, abs=1e-12)


def test_nothing_is_changed_where_nobody_is_censored_before_the_horizon():
    rng = np.random.default_rng(0)
    T, arm, x = rng.exponential(2, 80), np.arange(80) % 2, rng.normal(size=(80, 2))
    time, event = np.minimum(T, HORIZON), (T <= HORIZON).astype(int)
    for X in (None, x):
        for method in ("ipcw", "aipw"):
            out = pseudo_outcome(event, time, arm, X, horizon=HORIZON, contrast="rmst", method=method)
            np.testing.assert_allclose(out.values, time, atol=1e-12)
            assert out.known.all()
            assert out.lowest == 1
            assert out.lost == (0, 0)


def test_follow_up_to_exactly_the_horizon_counts_and_an_event_there_too():
    event, time, arm = [0, 1, 0, 0, 1, 0, 0, 1], [2, 2, 1, 3, 2, 2, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    out = pseudo_outcome(event, time, arm, horizon=2, method="ipcw")
    assert out.known.tolist() == [True, True, False, True, True, True, False, True]
    np.testing.assert_allclose(out.values, [0, 4 / 3, 0, 0, 1.5, 0, 0, 1])
    assert out.events == (1, 2)
    assert out.followed == (2, 1)
    assert out.lost == (1, 1)


def test_the_weight_is_the_left_limit_and_events_leave_before_censorings_at_their_time():
    # Both rows of the first time are at risk of the event; only the second of being censored then.
    out = pseudo_outcome([1, 0, 1, 0] * 2, [1, 1, 2, 3] * 2, [0] * 4 + [1] * 4, horizon=2.5, method="ipcw")
    np.testing.assert_allclose(out.weights[:4], [1, 0, 1.5, 1.5])


def test_a_marginal_model_of_one_fold_gives_what_no_covariates_give():
    event, kind, time, arm = small(3, step=0.25)
    x = np.zeros((time.size, 1)) + np.arange(time.size)[:, None] % 3
    for contrast in CONTRASTS:
        plain = pseudo_outcome(event, time, arm, horizon=HORIZON, contrast=contrast)
        model = pseudo_outcome(
            event,
            time,
            arm,
            x,
            horizon=HORIZON,
            contrast=contrast,
            folds=1,
            event_model=Marginal(),
            censoring_model=Marginal(),
        )
        np.testing.assert_allclose(model.values, plain.values, atol=1e-10)
    for contrast in ("risk", "time_lost"):
        plain = pseudo_outcome(kind, time, arm, horizon=HORIZON, contrast=contrast, cause=2)
        model = pseudo_outcome(
            kind, time, arm, x, horizon=HORIZON, contrast=contrast, cause=2, folds=1,
            event_model=MarginalIncidence(), censoring_model=Marginal(),
        )  # fmt: skip
        np.testing.assert_allclose(model.values, plain.values, atol=1e-10)


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("competing", [False, True])
def test_a_thinned_grid_hardly_changes_the_values(contrast, competing, monkeypatch):
    x, arm, kind, time = draw(2500, 5, competing)
    # A tenth of the rows leave at one time: a step that must not be bent.
    time[::10], kind[::10] = np.minimum(time[::10], 1.0), np.where(time[::10] > 1.0, 0, kind[::10])
    full = pseudo_outcome(kind, time, arm, x, horizon=HORIZON, contrast=contrast)
    monkeypatch.setattr(censored, "_WORK", 0)
    thin = pseudo_outcome(kind, time, arm, x, horizon=HORIZON, contrast=contrast)
    assert (thin.values != full.values).any()
    gap, scale = abs(thin.values - full.values), full.values.std()
    assert np.quantile(gap, 0.99) < 0.02 * scale
    assert np.sqrt((gap**2).mean()) < 0.01 * scale
    assert difference(thin.values, arm)[0] == pytest.approx(difference(full.values, arm)[0], abs=1e-3 * scale)


@pytest.mark.parametrize("models", ["censoring wrong", "event wrong"])
def test_one_wrong_model_does_no_harm_and_complete_cases_do(models):
    found = simulate(MODELS[models], "risk", 50, 800)
    assert abs(found["bias"]) < 3.5 * found["error"]
    assert found["cover"] >= 0.85
    assert abs(found["naive"]) > 5 * found["naive_error"]


@pytest.mark.slow
@pytest.mark.parametrize("competing", [False, True])
@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("models", list(MODELS))
def test_intervals_cover_when_one_model_is_wrong(models, contrast, competing):
    chosen = dict(MODELS[models])
    if competing and contrast != "rmst" and "event_model" in chosen:
        chosen["event_model"] = MarginalIncidence()
    found = simulate(chosen, contrast, 300, 800, competing)
    assert abs(found["bias"]) < 3.5 * found["error"]
    assert 0.90 <= found["cover"] <= 0.98


@pytest.mark.slow
def test_both_models_wrong_is_not_saved_by_anything():
    found = simulate({"event_model": Marginal(), "censoring_model": Marginal()}, "rmst", 200, 800)
    assert abs(found["bias"]) > 4 * found["error"]


def test_values_follow_the_covariates():
    x, arm, kind, time = draw(4000, 11)
    out = pseudo_outcome(kind, time, arm, x, horizon=HORIZON)
    for a in (0, 1):
        for low, high in ((-9, -0.5), (-0.5, 0.5), (0.5, 9)):
            own = (arm == a) & (x[:, 0] > low) & (x[:, 0] <= high)
            real = -np.expm1(-HORIZON * np.exp(-0.9 + 0.9 * x[own, 0] - 0.6 * a + 0.4 * x[own, 1] * a)).mean()
            assert out.values[own].mean() == pytest.approx(real, abs=4 * out.values[own].std() / math.sqrt(own.sum()))


def test_time_lost_and_event_free_time_add_up_to_the_horizon():
    x, arm, kind, time = draw(500, 3)
    lost = pseudo_outcome(kind, time, arm, x, horizon=HORIZON, contrast="time_lost")
    free = pseudo_outcome(kind, time, arm, x, horizon=HORIZON, contrast="rmst")
    np.testing.assert_allclose(lost.values + free.values, HORIZON, atol=1e-10)
    assert (lost.better, free.better) == ("lower", "higher")


def test_models_of_the_prognosis_room_are_taken():
    from aimed.prognosis.cause_specific_cox import CauseSpecificCox
    from aimed.prognosis.cox import CoxPH

    x, arm, kind, time = draw(600, 7, competing=True)
    own = pseudo_outcome(kind, time, arm, x, horizon=HORIZON)
    given = pseudo_outcome(kind, time, arm, x, horizon=HORIZON, event_model=CauseSpecificCox(), censoring_model=CoxPH())
    # Coefficients of the models of this room are shrunk a little, those of a model that is given are not.
    assert np.corrcoef(own.values, given.values)[0, 1] > 0.995
    assert "CauseSpecificCox" in given.method
    one = pseudo_outcome(kind > 0, time, arm, x, horizon=HORIZON, contrast="rmst")
    two = pseudo_outcome(kind > 0, time, arm, x, horizon=HORIZON, contrast="rmst", event_model=CoxPH())
    assert np.corrcoef(one.values, two.values)[0, 1] > 0.999


def test_a_seed_repeats_and_patients_stay_in_one_fold(monkeypatch):
    x, arm, kind, time = draw(300, 1)
    patient = np.arange(300) // 3
    first, second = (
        pseudo_outcome(kind, time, arm, x, horizon=HORIZON, patient=patient, random_state=4) for _ in range(2)
    )
    assert (first.values == second.values).all()
    parts = censored._folds(Window.of(kind, time, HORIZON), arm == 1, patient, 5, 4)
    assert all(not set(patient[fit]) & set(patient[score]) for fit, score in parts)
    assert sorted(np.concatenate([score for _, score in parts])) == list(range(300))


def test_few_events_make_a_shared_model_and_fewer_a_plain_curve():
    x, arm, kind, time = draw(400, 2)
    few = np.where((arm == 1) & (np.arange(400) % 12 > 0), 0, kind)
    assert "shared by the arms" in pseudo_outcome(few, time, arm, np.c_[x, x**2], horizon=HORIZON).note
    wide = np.random.default_rng(0).normal(size=(400, 60))
    out = pseudo_outcome(kind, time, arm, wide, horizon=HORIZON)
    assert "without covariates" in out.note
    assert np.isfinite(out.values).all()


def test_constant_and_collinear_columns_are_left_out_of_the_models():
    x, arm, kind, time = draw(500, 8)
    plain = pseudo_outcome(kind, time, arm, x, horizon=HORIZON)
    more = pseudo_outcome(kind, time, arm, np.c_[x, np.ones(500), x[:, 0] * 2], horizon=HORIZON)
    np.testing.assert_allclose(more.values, plain.values, atol=1e-6)


def test_what_cannot_be_known_is_refused_with_a_way_out():
    event, _, time, arm = small()
    with pytest.raises(NotEstimableError, match="choose a horizon of at most"):
        pseudo_outcome(event, time, arm, horizon=1e3)
    early = np.where(arm == 1, np.minimum(time, 1.0), time)
    lost = np.where((arm == 1) & (time > 1.0), 0, event)
    with pytest.raises(NotEstimableError, match="follow-up of the treated ends before the horizon, at 1"):
        pseudo_outcome(lost, early, arm, horizon=HORIZON)
    with pytest.raises(NotEstimableError, match="follow-up of the treated"):
        pseudo_outcome(lost, early, arm, np.ones((300, 1)), horizon=HORIZON)
    with pytest.raises(NotEstimableError, match="longer horizon"):
        pseudo_outcome(np.zeros(300), time, arm, horizon=HORIZON)
    with pytest.raises(NotEstimableError, match="rows of both arms"):
        pseudo_outcome(event, time, np.ones(300), horizon=HORIZON)
    with pytest.raises(NotEstimableError, match="folds=1"):
        pseudo_outcome([1, 0, 1, 0], [1, 3, 2, 3], [0, 0, 1, 1], np.arange(4.0)[:, None], horizon=2)
    with pytest.raises(DataError, match="contrast"):
        pseudo_outcome(event, time, arm, horizon=HORIZON, contrast="median")
    with pytest.raises(DataError, match="method"):
        pseudo_outcome(event, time, arm, horizon=HORIZON, method="cut")
    with pytest.raises(DataError, match="horizon"):
        pseudo_outcome(event, time, arm, horizon=float("nan"))
    with pytest.raises(DataError, match="models without X"):
        pseudo_outcome(event, time, arm, horizon=HORIZON, event_model=Marginal())
    with pytest.raises(DataError, match="negative"):
        pseudo_outcome(event, time - 5, arm, horizon=HORIZON)
    with pytest.raises(DataError, match="finite"):
        pseudo_outcome(event, time, arm, np.full((300, 1), np.nan), horizon=HORIZON)
    with pytest.raises(DataError, match="one kind of event only"):
        pseudo_outcome(
            np.where(event, 1 + np.arange(300) % 2, 0),
            time,
            arm,
            np.ones((300, 1)),
            horizon=HORIZON,
            event_model=_OneKind(),
        )


class _OneKind(MarginalIncidence):
    def predict_cumulative_incidence(self, X, times):
        return super().predict_cumulative_incidence(X, times)[:, :, 0]


def test_an_arm_without_events_is_told_and_one_event_is_enough():
    event, time, arm = [1, 0, 0, 0, 0, 0], [1, 2, 3, 1, 2, 3], [0, 0, 0, 1, 1, 1]
    out = pseudo_outcome(event, time, arm, horizon=2.5)
    assert "no event by the horizon among the treated" in out.note
    assert np.allclose(out.values[3:], 0)
    assert out.values[:3].mean() == pytest.approx(1 / 3)
    x = np.arange(6.0)[:, None]
    for contrast in CONTRASTS:
        assert np.isfinite(pseudo_outcome(event, time, arm, x, horizon=2.5, folds=1, contrast=contrast).values).all()


def test_events_at_time_zero_and_ties_everywhere():
    event, time, arm = [1, 0, 1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    for contrast in CONTRASTS:
        for x in (None, np.arange(8.0)[:, None] % 3):
            out = pseudo_outcome(event, time, arm, x, horizon=1, contrast=contrast, folds=1)
            assert np.isfinite(out.values).all()
    out = pseudo_outcome(event, time, arm, horizon=1)
    assert out.values[:4].mean() == pytest.approx(1 - 0.75 * 0.5)


def test_all_who_are_left_die_before_the_horizon():
    event, time, arm = [0, 1, 1, 1, 1, 1], [1, 2, 3, 1, 2, 3], [0, 0, 0, 1, 1, 1]
    out = pseudo_outcome(event, time, arm, horizon=10)
    assert out.values[:3].mean() == pytest.approx(1)
    assert np.allclose(out.values[3:], 1)


def test_low_chances_of_being_followed_are_told():
    rng = np.random.default_rng(0)
    n = 400
    x, arm, T = rng.normal(size=(n, 1)), np.arange(n) % 2, rng.exponential(5, n)
    C = rng.exponential(np.exp(-3 * x[:, 0]))
    out = pseudo_outcome(T <= C, np.minimum(T, C), arm, x, horizon=HORIZON)
    assert out.clipped > 0
    assert "raised to it" in out.note
    assert out.lowest >= 0.01
    assert np.isfinite(out.values).all()


def test_it_is_an_array_for_any_learner():
    event, _, time, arm = small()
    out = pseudo_outcome(event, time, arm, horizon=HORIZON)
    assert (np.asarray(out) == out.values).all()
    assert np.asarray(out, dtype=np.float32).dtype == np.float32


def test_a_small_trial_is_not_ruined_by_its_model_of_censoring():
    # 60 patients, a third censored, two covariates: a Cox model of 10 censorings would divide single rows by 0.01.
    found, raw = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, arm = rng.normal(size=(60, 2)), rng.permutation(np.arange(60) % 2)
        event_at = rng.exponential(2 * np.exp(-0.6 * x[:, 0] + 0.5 * arm))
        lost_at = np.where(rng.random(60) < 0.25, 5, rng.exponential(1.1 * np.exp(-0.5 * x[:, 0])))
        event, time = event_at <= lost_at, np.minimum(event_at, lost_at)
        out = pseudo_outcome(event, time, arm, x, horizon=1.0, random_state=seed).values
        found.append(out[arm == 1].mean() - out[arm == 0].mean())
        raw.append(float(time_to_event(event, time, arm, horizon=1.0).risk.difference))
        assert np.abs(out).max() < 10
    assert np.std(found) < 1.3 * np.std(raw)


def test_a_model_without_signal_is_shrunk_to_the_curve_of_the_arm():
    rng = np.random.default_rng(3)
    x, event, time = rng.normal(size=(200, 3)), np.ones(200, dtype=bool), rng.exponential(1, 200)
    noise = censored._Cox(event, time, np.zeros(200, dtype=bool), x)
    signal = censored._Cox(event, time * np.exp(-x[:, 0]), np.zeros(200, dtype=bool), x)
    assert noise.kept < 0.6 < 0.95 < signal.kept < 1
    full = CoxRegression(event, time * np.exp(-x[:, 0]), x).fit(np.ones(200))
    assert signal._beta == pytest.approx(signal.kept * full, rel=1e-6)
