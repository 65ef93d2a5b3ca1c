"""Dynamic AUC and Brier scores against pairs counted one by one, scikit-survival, finite differences and draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.datasets import load_rossi
from sksurv.metrics import brier_score, cumulative_dynamic_auc, integrated_brier_score
from sksurv.util import Surv

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.concordance import uno_c
from aimed.metrics.discrimination import auroc
from aimed.metrics.draws import PatientDraws
from aimed.metrics.ipcw import censoring_weights
from aimed.metrics.nonparametric import kaplan_meier, survival_at
from aimed.metrics.result import limits
from aimed.metrics.survival_accuracy import (
    BrierReplicates,
    DynamicAucReplicates,
    brier_incidence,
    brier_survival,
    dynamic_auc,
    integrated_brier,
    scaled_brier_survival,
)

SEEDS = st.integers(0, 2**32 - 1)
GRID = np.array([2.0, 4.5, 6.0])
TO_THE_END = np.array([2.0, 4.5, 8.0])


def draw(seed, n=40):
    rng = np.random.default_rng(seed)
    codes, time = rng.integers(0, 3, n), rng.integers(1, 9, n).astype(float)
    codes[:3], time[:3] = (1, 2, 0), (1.0, 2.0, 8.0)
    return rng, codes, time, rng.integers(0, 6, n) / 6.0, rng.random((n, 3)), rng.random(n) + 0.5


def g_of(codes, time, w, x, strict):
    """The chance of not being censored before x (strict) or by x, written out."""
    value = 1.0
    for u in np.unique(time[codes == 0]):
        if u < x or (u == x and not strict):
            lost = w[(time == u) & (codes == 0)].sum()
            left = w[time > u].sum()
            value *= left / (left + lost)
    return value


def naive(codes, time, w, t, cause=1):
    """Weights of rows that are gone and of rows still followed at t."""
    gone = np.array([w[i] / g_of(codes, time, w, time[i], True) for i in range(time.size)])
    gone = np.where((time <= t) & (codes > 0), gone, 0.0)
    alive = np.where(time > t, w, 0.0)
    if alive.any():
        alive /= g_of(codes, time, w, t, False)
    return np.where(codes == cause, gone, 0.0), np.where(codes == cause, 0.0, gone), alive


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_values_equal_the_definitions(seed):
    _, codes, time, score, p, w = draw(seed)
    for kinds in ((codes > 0).astype(int), codes):
        for controls in ("all", "event-free"):
            found = dynamic_auc(kinds, time, score, GRID, w, controls=controls)
            wide = dynamic_auc(kinds, time, p, GRID, w, controls=controls)
            drops = np.zeros(3)
            for j, t in enumerate(GRID):
                case, other, alive = naive(kinds, time, w, t)
                control = alive + (other if controls == "all" else 0.0)
                for value, s in ((found.value[j], score), (wide.value[j], p[:, j])):
                    order = (s[:, None] > s) + 0.5 * (s[:, None] == s)
                    assert value == pytest.approx(case @ order @ control / (case.sum() * control.sum()), abs=1e-12)
                drops[j] = case.sum()
            drops = np.diff(drops, prepend=0.0)
            assert found.mean == pytest.approx(float(drops @ found.value / drops.sum()), abs=1e-12)
        scored = brier_incidence(kinds, time, p, GRID, w)
        for j, t in enumerate(GRID):
            case, other, alive = naive(kinds, time, w, t)
            want = (case @ (1 - p[:, j]) ** 2 + (other + alive) @ p[:, j] ** 2) / w.sum()
            assert scored.value[j] == pytest.approx(want, abs=1e-12)
    event = codes > 0
    curve, null = brier_survival(event, time, 1 - p, GRID, w), scaled_brier_survival(event, time, 1 - p, GRID, w)
    assert curve.value == pytest.approx(brier_incidence(event, time, p, GRID, w).value, abs=1e-12)
    for j, t in enumerate(GRID):
        case, _, alive = naive(event.astype(int), time, w, t)
        s = 1 - case.sum() / w.sum()
        worst = (case.sum() * s**2 + alive.sum() * (1 - s) ** 2) / w.sum()
        assert null.value[j] == pytest.approx(1 - curve.value[j] / worst, abs=1e-9)
    step = np.diff(GRID)
    want = (step * (curve.value[1:] + curve.value[:-1]) / 2).sum() / step.sum()
    assert integrated_brier(event, time, 1 - p, GRID, w) == pytest.approx(want, abs=1e-12)


def slopes(function, w):
    rows = []
    for i in range(w.size):
        up, down = w.copy(), w.copy()
        up[i] += 1e-5
        down[i] -= 1e-5
        rows.append(w[i] * (function(up) - function(down)) / 2e-5)
    return np.array(rows)


@pytest.mark.parametrize("kind", ["own", "train", "strata"])
@pytest.mark.parametrize(("seed", "grid"), [(1, GRID), (2, GRID), (3, TO_THE_END)])
def test_influence_is_the_derivative_by_the_weights(kind, seed, grid):
    rng, codes, time, score, p, w = draw(seed)
    event, strata = (codes > 0).astype(int), rng.integers(0, 2, time.size)

    def options(v):
        if kind == "train":
            return {"train": (event[::-1], time + 1)}
        return {"censoring": censoring_weights(event, time, v, strata=strata)} if kind == "strata" else {}

    cases = [
        lambda v, **more: dynamic_auc(event, time, score, grid, v, **more, **options(v)),
        lambda v, **more: dynamic_auc(event, time, p, grid, v, **more, **options(v)),
        lambda v, **more: dynamic_auc(codes, time, score, grid, v, **more, **options(v)),
        lambda v, **more: dynamic_auc(codes, time, score, grid, v, controls="event-free", **more, **options(v)),
        lambda v, **more: brier_survival(event, time, p, grid, v, **more, **options(v)),
        lambda v, **more: brier_incidence(codes, time, p, grid, v, **more, **options(v)),
    ]
    cases.append(lambda v, **more: scaled_brier_survival(event, time, p, grid, v, **more, **options(v)))
    patient = rng.integers(0, 13, time.size)
    for function in cases:
        found = function(w, influence=True)
        assert found.influence == pytest.approx(
            slopes(lambda v, f=function: f(v, se=False).value, w), abs=1e-8, nan_ok=True
        )
        assert found.se == pytest.approx(np.sqrt((found.influence**2).sum(axis=0)), rel=1e-9, nan_ok=True)
        sums = np.zeros((13, 3))
        np.add.at(sums, patient, found.influence)
        assert function(w, patient=patient).se == pytest.approx(np.sqrt((sums**2).sum(axis=0)), rel=1e-9, nan_ok=True)
    mean = cases[2](w).mean
    if np.isfinite(mean):
        assert mean.influence == pytest.approx(slopes(lambda v: cases[2](v, se=False).mean.value, w), abs=1e-8)
    whole = integrated_brier(event, time, p, grid, w, **options(w))
    assert whole.influence == pytest.approx(
        slopes(lambda v: integrated_brier(event, time, p, grid, v, se=False, **options(v)).value, w), abs=1e-8
    )
    assert whole.se == pytest.approx(np.sqrt((whole.influence**2).sum()))


def test_scikit_survival_agrees_where_no_time_is_shared():
    rng = np.random.default_rng(4)
    time, event = rng.permutation(300) + 1.0, rng.random(300) < 0.6
    event[time == 300] = True
    score, grid = rng.normal(size=300), np.array([50.0, 120.0, 200.0])
    curves, y = np.sort(rng.random((300, 3)), axis=1)[:, ::-1], Surv.from_arrays(event, time)
    found = dynamic_auc(event, time, score, grid)
    value, mean = cumulative_dynamic_auc(y, y, score, grid)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert brier_survival(event, time, curves, grid).value == pytest.approx(brier_score(y, y, curves, grid)[1])
    assert integrated_brier(event, time, curves, grid) == pytest.approx(integrated_brier_score(y, y, curves, grid))


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_values_do_not_depend_on_order_scale_or_halved_duplicates(seed):
    rng, codes, time, score, p, w = draw(seed)
    event, shuffled = codes > 0, rng.permutation(time.size)
    twice = np.repeat(np.arange(time.size), 2)
    auc, brier = dynamic_auc(codes, time, score, GRID, w), brier_survival(event, time, p, GRID, w)
    for rows, v in ((shuffled, w[shuffled]), (twice, w[twice] / 2)):
        again = dynamic_auc(codes[rows], time[rows], np.exp(score[rows]), GRID, v)
        assert again.value == pytest.approx(auc.value, abs=1e-12)
        assert brier_survival(event[rows], time[rows], p[rows], GRID, v).value == pytest.approx(brier.value, abs=1e-12)
    opposite = dynamic_auc(codes, time, -score, GRID, w)
    assert opposite.value == pytest.approx(1 - auc.value, abs=1e-12)
    assert opposite.se == pytest.approx(auc.se, rel=1e-9)


def test_curves_may_come_in_blocks(monkeypatch):
    monkeypatch.setattr("aimed.metrics.survival_accuracy._width", lambda n: 2)
    _, codes, time, score, p, w = draw(8)
    event, whole = codes > 0, np.ascontiguousarray(p)

    def made(times):
        return whole[:, np.searchsorted(GRID, times)]

    for function in (brier_survival, scaled_brier_survival):
        want = function(event, time, whole, GRID, w, influence=True)
        for given_as in (made, np.asfortranarray(p)):
            found = function(event, time, given_as, GRID, w, influence=True)
            assert found.value == pytest.approx(want.value, abs=1e-14)
            assert found.se == pytest.approx(want.se, abs=1e-14)
            assert found.influence == pytest.approx(want.influence, abs=1e-14)
    assert integrated_brier(event, time, made, GRID, w) == pytest.approx(integrated_brier(event, time, p, GRID, w))
    blocked = dynamic_auc(codes, time, score, GRID, w)
    monkeypatch.undo()
    assert dynamic_auc(codes, time, score, GRID, w).se == pytest.approx(blocked.se, abs=1e-14)


@pytest.mark.parametrize("grid", [GRID, TO_THE_END])
@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_replicates_equal_the_metric_under_their_counts(grid, seed):
    rng, codes, time, score, p, _ = draw(seed, 30)
    event, patient = (codes > 0).astype(int), rng.integers(0, 12, 30)
    draws = PatientDraws(patient, 30, draws=8, seed=3)
    counts = draws.counts(0, 8)

    def each(function):
        rows = []
        for column in counts.T:
            try:
                rows.append(function(column[draws.codes].astype(float)).value)
            except NotEstimableError:
                rows.append(np.full(3, np.nan))
        return np.array(rows)

    for kinds in (event, codes):
        for controls in ("all", "event-free"):
            for s in (score, p):
                found = DynamicAucReplicates(kinds, time, s, grid, codes=draws.codes, controls=controls)
                want = each(lambda v, k=kinds, s=s, c=controls: dynamic_auc(k, time, s, grid, v, controls=c, se=False))
                assert found.replicate(counts) == pytest.approx(want, abs=1e-12, nan_ok=True)
    want = each(lambda v: brier_survival(event, time, p, grid, v, se=False))
    for given_as in (p, np.asfortranarray(p), lambda times: p[:, np.searchsorted(grid, times)]):
        found = BrierReplicates(event, time, given_as, grid, codes=draws.codes)
        assert found.replicate(counts) == pytest.approx(want, abs=1e-12, nan_ok=True)


def test_what_cannot_be_known_is_nan_or_refused():
    event, time, score = [1, 1, 0, 0], [1, 2, 3, 4], [0.9, 0.2, 0.3, 0.1]
    found = dynamic_auc(event, time, score, [0.5, 1, 5])
    assert np.isnan(found.value).tolist() == [True, False, True]
    assert "2 times" in found.note
    assert np.isnan(found.mean)
    assert found.mean.note
    assert dynamic_auc(event, time, score, [0.5, 1]).mean == 1.0
    for bad in ([0.5], [5]):
        with pytest.raises(NotEstimableError):
            dynamic_auc(event, time, score, bad)
    half = np.full((4, 2), 0.5)
    curve = brier_survival(event, time, half, [2, 5])
    assert np.isnan(curve.value).tolist() == [False, True]
    assert curve.note
    with pytest.raises(NotEstimableError):
        integrated_brier(event, time, half, [2, 5])
    with pytest.raises(NotEstimableError):
        integrated_brier(event, time, half[:, :1], [2])
    with pytest.raises(NotEstimableError):
        scaled_brier_survival(event, time, half[:, :1], [0.5])
    for times, values in (([2, 2], half), ([2, 3], half[:, :1]), ([2, 3], half + 0.6), ([2, 3], half * np.nan)):
        with pytest.raises(DataError):
            brier_survival(event, time, values, times)
    with pytest.raises(DataError):
        brier_survival([1, 2, 0, 0], time, half, [2, 3])
    with pytest.raises(DataError):
        dynamic_auc(event, time, score, [2], controls="some")
    with pytest.raises(DataError):
        BrierReplicates(event, time, half + 0.6, [2, 3], codes=np.arange(4))


def test_g_of_zero_is_refused_only_where_it_contributes():
    event, time, score = [1, 1, 0, 0], [1.0, 2.0, 3.0, 4.0], [0.9, 0.2, 0.3, 0.1]
    train = ([1, 0], [1.5, 2.5])
    assert dynamic_auc(event, time, score, [2], train=train).value == pytest.approx([0.75])
    with pytest.raises(NotEstimableError):
        dynamic_auc(event, time, score, [2, 3], train=train)
    # All who are left are censored at the last time: G is 0 there, and they are known to be free of the event.
    assert brier_survival([1, 0], [1, 2], [[0.5], [0.5]], [2]).value == pytest.approx([0.25])


def simulate(rng, n):
    x = rng.normal(size=n)
    fails, stop = rng.exponential(np.exp(-x)), rng.uniform(0.2, 2.5, n)
    return (fails <= stop).astype(int), np.minimum(fails, stop), x


def test_rows_censored_at_the_end_of_follow_up_are_known_to_be_free_of_the_event():
    rng = np.random.default_rng(0)
    risk = rng.uniform(0.1, 0.9, 2000)
    came = rng.exponential(-1 / np.log1p(-risk))
    event, time = came < 1, np.minimum(came, 1.0)
    free = (1 - risk)[:, None]
    # Nobody is lost before the end: all is as for a binary outcome.
    scored = brier_survival(event, time, free, [1.0], influence=True)
    error = (risk - event) ** 2
    assert scored.value == pytest.approx([error.mean()], abs=1e-12)
    assert scored.influence[:, 0] == pytest.approx((error - error.mean()) / 2000, abs=1e-12)
    assert scaled_brier_survival(event, time, free, [1.0]).value == pytest.approx([1 - error.mean() / event.var()])
    assert dynamic_auc(event, time, risk, [1.0]).value == pytest.approx([auroc(event, risk)], abs=1e-12)
    strata = rng.integers(0, 2, 2000)
    for g in (censoring_weights(event, time, strata=strata), censoring_weights(event, time, train=(event, time))):
        assert brier_survival(event, time, free, [1.0], censoring=g).value == pytest.approx([error.mean()], abs=1e-12)
    whole = integrated_brier(event, time, np.tile(free, 2), [0.5, 1.0])
    assert whole == pytest.approx(float(brier_survival(event, time, np.tile(free, 2), [0.5, 1.0]).value.mean()))
    rossi = load_rossi()
    alive = survival_at(rossi["arrest"], rossi["week"], 52)
    constant = brier_survival(rossi["arrest"], rossi["week"], np.full((len(rossi), 1), alive), [52])
    assert constant.value == pytest.approx([alive * (1 - alive)])
    assert constant.value == pytest.approx([0.1943], abs=5e-5)


def test_the_status_of_all_is_known_after_the_last_event_when_that_ends_follow_up():
    event, time, free = [1, 0, 1], [1.0, 2.0, 3.0], np.full((3, 1), 0.2)
    assert brier_survival(event, time, free, [5.0]).value == pytest.approx([0.04])
    counts = np.array([[1, 1], [1, 1], [1, 0]], dtype=np.uint8)
    found = BrierReplicates(event, time, free, [5.0], codes=np.arange(3)).replicate(counts)
    assert found[:, 0] == pytest.approx([0.04, np.nan], nan_ok=True)


def test_the_share_followed_is_the_null_of_the_scaled_score():
    _, codes, time, _, p, w = draw(5)
    event = (codes > 0).astype(int)
    alive = kaplan_meier(event, time, w).at(GRID)
    assert scaled_brier_survival(event, time, p, GRID, w).value == pytest.approx(
        1 - brier_survival(event, time, p, GRID, w).value / (alive * (1 - alive))
    )
    g = censoring_weights(event, time, strata=np.arange(time.size) % 2)
    share = ((time > 2) / g.at([2.0])[:, 0]).mean()
    null = brier_survival(event, time, np.full((time.size, 1), share), [2.0], censoring=g).value
    own = scaled_brier_survival(event, time, np.full((time.size, 1), share), [2.0], censoring=g)
    assert own.value == pytest.approx([0.0])
    scored = brier_survival(event, time, p[:, :1], [2.0], censoring=g).value
    assert scaled_brier_survival(event, time, p[:, :1], [2.0], censoring=g).value == pytest.approx(1 - scored / null)


def test_intervals_rest_on_cases_and_patients():
    event, time = np.r_[1, 1, 1, np.zeros(37, int)], np.arange(1.0, 41.0)
    score = np.cos(time)
    found = dynamic_auc(event, time, score, [1.0, 2.0, 3.0])
    assert found.events == 3
    assert np.isnan(found.lower).tolist() == [True, False, False]
    assert "no interval at 1 times" in found.note
    want = limits(found.value, found.se, 0.95, (0, 1), "logit", [1, 2, 3])
    assert found.lower == pytest.approx(want[0], nan_ok=True)
    assert "only 3 independent units" in found.mean.note
    two = dynamic_auc(event, time, score, [3.0], patient=np.arange(40) % 2)
    assert two.lower == pytest.approx(limits(two.value, two.se, 0.95, (0, 1), "logit", 2)[0])
    ranked = dynamic_auc(event, time, -time, [3.0])
    assert np.isnan(ranked.lower).all()
    assert ranked.note
    assert ranked.mean.note == "no interval: all pairs are ranked alike"
    half = np.full((40, 2), 0.9)
    scored = brier_survival(event, time, half, [2.0, 3.0], patient=np.arange(40) % 4)
    assert scored.upper == pytest.approx(limits(scored.value, scored.se, 0.95, scale="log", units=4)[1])
    assert "4 independent units" in scored.note
    whole = integrated_brier(event, time, half, [2.0, 3.0])
    assert whole.upper == pytest.approx(whole * np.exp(1.959964 * whole.se / whole), rel=1e-6)


def test_censoring_of_other_rows_is_refused():
    event, time = [1, 0, 1, 0], [1.0, 2.0, 3.0, 4.0]
    for more in ({}, {"strata": [0, 0, 1, 1]}, {"train": (event, time)}):
        other = censoring_weights(event, [1.0, 2.0, 3.0, 5.0], **more)
        for work in (
            lambda g: dynamic_auc(event, time, [4, 3, 2, 1], [2], censoring=g),
            lambda g: brier_survival(event, time, np.full((4, 1), 0.5), [2], censoring=g),
            lambda g: uno_c(event, time, [4, 3, 2, 1], 3, censoring=g),
        ):
            with pytest.raises(DataError, match="other times"):
                work(other)


def test_errors_match_the_spread_of_repeated_studies():
    rng, grid = np.random.default_rng(7), np.array([0.3, 0.6, 1.0])
    found = []
    for _ in range(400):
        event, time, x = simulate(rng, 150)
        curves = np.exp(-np.outer(np.exp(x), grid))
        auc = dynamic_auc(event, time, x, grid)
        brier, scaled = (f(event, time, curves, grid) for f in (brier_survival, scaled_brier_survival))
        whole = integrated_brier(event, time, curves, grid)
        found.append(
            [
                np.r_[auc.value, auc.mean, brier.value, scaled.value, whole],
                np.r_[auc.se, auc.mean.se, brier.se, scaled.se, whole.se],
            ]
        )
    values, errors = np.swapaxes(np.array(found), 0, 1)
    assert errors.mean(axis=0) / values.std(axis=0) == pytest.approx(np.ones(11), abs=0.12)


@pytest.mark.slow
def test_intervals_cover():
    rng, grid = np.random.default_rng(2), np.array([0.5, 1.0])
    event, time, x = simulate(rng, 400_000)
    uncensored = rng.exponential(np.exp(-x))
    ones, curves = np.ones(x.size, dtype=int), np.exp(-np.outer(np.exp(x), grid))
    auc = dynamic_auc(ones, uncensored, x, grid, se=False).value
    score = brier_survival(ones, uncensored, curves, grid, se=False).value
    scaled = scaled_brier_survival(ones, uncensored, curves, grid, se=False).value
    hits = []
    for _ in range(3000):
        event, time, x = simulate(rng, 400)
        curves = np.exp(-np.outer(np.exp(x), grid))
        row = []
        for curve, truth in (
            (dynamic_auc(event, time, x, grid), auc),
            (brier_survival(event, time, curves, grid), score),
            (scaled_brier_survival(event, time, curves, grid), scaled),
        ):
            row.append((curve.lower <= truth) & (truth <= curve.upper))
        hits.append(np.concatenate(row))
    share = np.mean(hits, axis=0)
    assert (share > 0.93).all()
    assert (share < 0.97).all()
