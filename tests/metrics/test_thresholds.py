"""Two-by-two tables against counts by hand, scikit-learn, published formulas and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as peer

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.proportions import clopper_pearson, wilson
from aimed.metrics.result import clustered_variance
from aimed.metrics.thresholds import (
    RATES,
    confusion,
    rates,
    threshold_at_sensitivity,
    threshold_at_specificity,
    threshold_table,
)

SEEDS = st.integers(0, 2**32 - 1)
Z = 1.959963984540054


def draw(seed, n=None):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60)) if n is None else n
    levels = int(rng.choice([2, 10, 1000]))
    p = rng.integers(0, levels + 1, n) / levels
    y = (rng.random(n) < rng.choice([0.0, 0.05, 0.5, 1.0])).astype(int)
    return y, p, rng.random(n) * rng.integers(0, 2, n), rng


def flagged(y, p, cut, w=None):
    w = np.ones(y.size) if w is None else w
    up = p >= cut
    return tuple(w[m].sum() for m in (up & (y == 1), up & (y == 0), ~up & (y == 1), ~up & (y == 0)))


def same(a, b, tolerance=1e-10):
    return (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, abs=tolerance)


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_every_rate_equals_the_peer_where_it_is_defined(seed):
    y, p, w, rng = draw(seed)
    w[0] = 1
    cut = float(rng.choice(p))
    for weights in (None, w):
        table = confusion(y, p, cut, weights)
        tp, fp, fn, tn = flagged(y, p, cut, weights)
        assert (table.tp, table.fp, table.fn, table.tn) == pytest.approx((tp, fp, fn, tn), abs=1e-12)
        assert (table.n, table.events, table.threshold) == (y.size, y.sum(), cut)
        said = p >= cut
        if tp + fn > 0:
            assert table.sensitivity == pytest.approx(peer.recall_score(y, said, sample_weight=weights))
        if tp + fp > 0:
            assert table.ppv == pytest.approx(peer.precision_score(y, said, sample_weight=weights))
        if tn + fn > 0:
            assert table.npv == pytest.approx(peer.precision_score(1 - y, ~said, sample_weight=weights))
        if 2 * tp + fp + fn > 0:
            assert table.f1 == pytest.approx(peer.f1_score(y, said, sample_weight=weights))
        assert table.accuracy == pytest.approx(peer.accuracy_score(y, said, sample_weight=weights))
        if min(tp + fn, tn + fp) > 0:
            balanced = peer.balanced_accuracy_score(y, said, sample_weight=weights)
            assert table.balanced_accuracy == pytest.approx(balanced)
            assert table.value == pytest.approx(2 * balanced - 1)
            if min(tp + fp, tn + fn) > 0:
                assert table.mcc == pytest.approx(peer.matthews_corrcoef(y, said, sample_weight=weights), abs=1e-9)
            if fp > 0 and tn > 0:
                positive, negative = peer.class_likelihood_ratios(y, said, sample_weight=weights)
                assert table.lr_positive == pytest.approx(positive)
                assert table.lr_negative == pytest.approx(negative)


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_rate_is_either_a_number_or_says_why_not(seed):
    y, p, w, rng = draw(seed)
    w[0] = 1
    more = {"prevalence": 0.1} if rng.random() < 0.5 else {}
    if rng.random() < 0.5:
        more["patient"] = rng.integers(0, 5, y.size)
    table = confusion(y, p, float(rng.choice(p)), w if rng.random() < 0.5 else None, **more)
    for name, found in table.estimates().items():
        assert found.name == name
        if math.isnan(found.lower):
            assert found.note
            assert math.isnan(found.upper)
        else:
            assert found.lower <= found.value + 1e-12
            assert found.value <= found.upper + 1e-12
        assert table.rates()[name] == (None if math.isnan(found) else found.value)
        assert math.isfinite(found) or not math.isfinite(found.lower)
    if y.all():
        assert table.specificity.note == "every row has the event"


def test_intervals_are_those_of_the_literature():
    # 31 of 40 with and 15 of 60 without the event are flagged; the formulas are Simel's, written out.
    y = np.repeat([1, 1, 0, 0], [31, 9, 15, 45])
    p = np.repeat([1, 0, 1, 0], [31, 9, 15, 45])
    table = confusion(y, p, 0.5)
    assert (table.sensitivity.lower, table.sensitivity.upper) == wilson(31, 40)
    assert (table.npv.lower, table.npv.upper) == wilson(45, 54)
    exact = confusion(y, p, 0.5, method="clopper-pearson")
    assert (exact.specificity.lower, exact.specificity.upper) == clopper_pearson(45, 60)
    assert exact.method == "Clopper-Pearson"
    spread = math.sqrt(1 / 31 - 1 / 40 + 1 / 15 - 1 / 60)
    ratio = (31 / 40) / (15 / 60)
    assert table.lr_positive == pytest.approx(ratio)
    assert table.lr_positive.lower == pytest.approx(ratio * math.exp(-Z * spread))
    assert table.lr_positive.upper == pytest.approx(ratio * math.exp(Z * spread))
    spread = math.sqrt(1 / 9 - 1 / 40 + 1 / 45 - 1 / 60)
    ratio = (9 / 40) / (45 / 60)
    assert table.lr_negative.lower == pytest.approx(ratio * math.exp(-Z * spread))
    assert table.youden.se == pytest.approx(math.sqrt(31 * 9 / 40**3 + 45 * 15 / 60**3))


def test_predictive_values_at_a_stated_prevalence_have_mercaldos_intervals():
    y = np.repeat([1, 1, 0, 0], [31, 9, 15, 45])
    p = np.repeat([1, 0, 1, 0], [31, 9, 15, 45])
    found = confusion(y, p, 0.5, prevalence=0.02)
    sens, spec, n1, n0 = 31 / 40, 45 / 60, 40, 60
    ppv = sens * 0.02 / (sens * 0.02 + (1 - spec) * 0.98)
    npv = spec * 0.98 / (spec * 0.98 + (1 - sens) * 0.02)
    assert (found.ppv, found.npv) == (pytest.approx(ppv), pytest.approx(npv))
    assert (found.stated_prevalence, found.prevalence) == (0.02, 0.4)
    for value, spread, got in (
        (ppv, (1 - sens) / (sens * n1) + spec / ((1 - spec) * n0), found.ppv),
        (npv, sens / ((1 - sens) * n1) + (1 - spec) / (spec * n0), found.npv),
    ):
        for limit, sign in ((got.lower, -1), (got.upper, 1)):
            assert math.log(limit / (1 - limit)) == pytest.approx(
                math.log(value / (1 - value)) + sign * Z * math.sqrt(spread)
            )
        assert "re-based" in got.method
    own = confusion(y, p, 0.5, prevalence=0.4)
    plain = confusion(y, p, 0.5)
    assert (own.ppv, own.npv) == (pytest.approx(plain.ppv), pytest.approx(plain.npv))
    perfect = confusion([1, 1, 0, 0], [1, 1, 0, 0], 0.5, prevalence=0.02)
    assert (perfect.ppv, perfect.npv) == (1, 1)
    assert math.isnan(perfect.ppv.lower)
    assert perfect.ppv.note


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_influences_are_derivatives_and_give_the_standard_errors(seed):
    rng = np.random.default_rng(seed)
    y, p, w = np.tile([0, 1, 0, 1], 8), rng.random(32), rng.random(32) + 0.1
    y[:4], p[:4] = [0, 0, 1, 1], [0, 1, 0, 1]
    patient, step = rng.integers(0, 12, 32), 1e-5
    for more in ({}, {"prevalence": 0.2}):
        whole = confusion(y, p, 0.5, w, patient=patient, **more).estimates()
        up = [confusion(y, p, 0.5, w + step * row, **more).estimates() for row in np.eye(32)]
        down = [confusion(y, p, 0.5, w - step * row, **more).estimates() for row in np.eye(32)]
        for name, found in whole.items():
            slope = [w[i] * (up[i][name] - down[i][name]) / (2 * step) for i in range(32)]
            np.testing.assert_allclose(found.influence, slope, atol=1e-6 * max(1, found.value))
            assert found.se**2 == pytest.approx(clustered_variance(found.influence, patient), rel=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_table_of_many_thresholds_is_each_threshold_on_its_own(clustered, weighted):
    y, p, w, rng = draw(4, 300)
    y = (rng.random(300) < p).astype(int)
    cuts = [0.5, 0.1, 0.9, 0.5, -1.0, 2.0, float(p[0])]
    more = {"patient": rng.integers(0, 70, 300)} if clustered else {}
    many = threshold_table(y, p, cuts, w if weighted else None, **more)
    assert [t.threshold for t in many] == cuts
    for cut, found in zip(cuts, many, strict=True):
        one = confusion(y, p, cut, w if weighted else None, **more)
        for name in RATES:
            a, b = getattr(found, name), getattr(one, name)
            assert a.influence is None
            for part in ("value", "lower", "upper", "se", "n"):
                assert same(getattr(a, part), getattr(b, part)), (name, part)
            assert (a.note, a.method) == (b.note, b.method)
    assert threshold_table(y, p, []) == []


def test_patients_widen_the_intervals_and_one_row_each_does_not():
    rng = np.random.default_rng(0)
    y, p = np.repeat(rng.integers(0, 2, 100), 4), np.repeat(rng.random(100), 4)
    alone = confusion(y, p, 0.5, np.ones(400))
    rows = confusion(y, p, 0.5, patient=np.arange(400))
    patients = confusion(y, p, 0.5, patient=np.repeat(np.arange(100), 4))
    for name, found in patients.estimates().items():
        assert getattr(rows, name).se == pytest.approx(getattr(alone, name).se)
        assert found.se == pytest.approx(2 * getattr(rows, name).se)
        assert found.value == getattr(rows, name).value
    assert "clustered by patient" in patients.ppv.method
    single = confusion(y, p, 0.5, patient=np.zeros(400))
    assert math.isnan(single.sensitivity.lower)
    assert single.sensitivity.note == "no interval: one unit only"


@given(SEEDS)
@settings(max_examples=80, deadline=None)
def test_chosen_thresholds_reach_the_target_and_no_better_one_does(seed):
    y, p, w, rng = draw(seed)
    y[0] = 1 - y[-1] if y.size > 1 else y[0]
    w += 0.01
    target = float(rng.choice([0.1, 0.5, 0.8, 0.9, 1.0]))
    for weights in (None, w):
        if y.any():
            found = threshold_at_sensitivity(y, p, target, weights)
            assert found.sensitivity >= target - 1e-12
            assert "chosen on these rows" in found.note
            for cut in p[p > found.threshold]:
                tp, _, fn, _ = flagged(y, p, cut, weights)
                assert tp / (tp + fn) < target
        if not y.all():
            found = threshold_at_specificity(y, p, target, weights)
            assert found.specificity >= target - 1e-12
            for cut in p[p < found.threshold]:
                _, fp, _, tn = flagged(y, p, cut, weights)
                assert tn / (tn + fp) < target


def test_a_share_that_is_met_exactly_counts_as_met():
    y, p = np.ones(10), np.arange(10) / 10
    assert threshold_at_sensitivity(y, p, 0.7).threshold == 0.3
    assert threshold_at_specificity(1 - y, p, 0.7).threshold == 0.7
    all_clear = threshold_at_specificity([0, 0, 1], [0.2, 0.9, 0.9], 1.0)
    assert all_clear.threshold == np.nextafter(0.9, 1)
    assert all_clear.tp == 0


def test_unfit_input_is_refused():
    with pytest.raises(NotEstimableError):
        threshold_at_sensitivity([0, 0], [0.1, 0.2], 0.9)
    with pytest.raises(NotEstimableError):
        threshold_at_specificity([1, 1], [0.1, 0.2], 0.9)
    for more in ({"threshold": math.nan}, {"method": "wald"}, {"prevalence": 1.0}, {"level": 0}, {"patient": [1]}):
        with pytest.raises(DataError):
            confusion([0, 1], [0.1, 0.2], **{"threshold": 0.5, **more})
    with pytest.raises(DataError):
        threshold_at_sensitivity([0, 1], [0.1, 0.2], 0)


def test_a_risk_at_the_threshold_counts_as_positive():
    table = confusion([1, 0, 1, 0], [0.5, 0.5, 0.4, -0.0], 0.5)
    assert (table.tp, table.fp, table.fn, table.tn) == (1, 1, 1, 1)
    assert confusion([1, 0], [-0.0, 0.0], 0.0).tp == 1


def test_rates_of_arrays_are_nan_without_a_denominator():
    found = rates(*(np.array([a, 0.0]) for a in (3.0, 1.0, 2.0, 4.0)))
    assert [found[k][0] for k in ("sensitivity", "specificity", "ppv", "f1")] == [0.6, 0.8, 0.75, 6 / 9]
    assert all(math.isnan(v[1]) for v in found.values())


def test_plain_and_clustered_intervals_cover():
    cut, names = 0.5, ("sensitivity", "ppv", "lr_positive", "f1", "youden", "mcc", "accuracy")

    def rows(rng, patients):
        size = rng.integers(1, 5, patients)
        patient = np.repeat(np.arange(patients), size)
        shared = rng.normal(size=patients)[patient]
        y = (shared + rng.normal(size=patient.size) > 0.3).astype(int)
        return y, 0.6 * y + 0.7 * rng.normal(size=patients)[patient] + 0.5 * rng.normal(size=y.size), patient

    y, p, _ = rows(np.random.default_rng(5), 1_500_000)
    truth = confusion(y, p, cut).rates()
    hits = dict.fromkeys(names, 0)
    for trial in range(600):
        y, p, patient = rows(np.random.default_rng(trial), 200)
        found = confusion(y, p, cut, patient=patient)
        for name in names:
            hits[name] += getattr(found, name).lower <= truth[name] <= getattr(found, name).upper
    assert all(0.925 <= hit / 600 <= 0.975 for hit in hits.values()), hits
    y, p, _ = rows(np.random.default_rng(5), 1_500_000)
    hits = dict.fromkeys(names, 0)
    for trial in range(600):
        rng = np.random.default_rng(trial)
        pick = rng.integers(0, y.size, 300)
        found = confusion(y[pick], p[pick], cut)
        for name in names:
            hits[name] += getattr(found, name).lower <= truth[name] <= getattr(found, name).upper
    assert all(0.925 <= hit / 600 <= 0.975 for hit in hits.values()), hits


def test_youden_and_correlation_have_intervals_on_fishers_scale():
    y, p = np.repeat([1, 0], [10, 20]), np.r_[np.full(9, 0.9), 0.1, np.full(1, 0.9), np.full(19, 0.1)]
    table = confusion(y, p, 0.5)
    for found in (table.youden, table.mcc):
        half = 1.959963984540054 * found.se / (1 - found**2)
        assert found.upper == pytest.approx(math.tanh(math.atanh(found) + half))
        assert found.upper < 1
        assert "Fisher" in found.method


def test_t_goes_by_the_patients_in_the_rate():
    rng = np.random.default_rng(9)
    patient = np.repeat(np.arange(12), 6)
    y = (rng.random(72) < 0.4).astype(int)
    y[patient < 5] = 0
    p = np.clip(rng.normal(0.3 + 0.3 * y, 0.2), 0, 1)
    table = confusion(y, p, 0.5, patient=patient)
    quantiles = stats.t.ppf(0.975, np.arange(1, 40))
    sides = {
        "sensitivity": y == 1,
        "specificity": y == 0,
        "ppv": p >= 0.5,
        "npv": p < 0.5,
        "accuracy": p >= 0,
        "balanced_accuracy": p >= 0,
        "f1": p >= 0,
    }
    for name, rows in sides.items():
        found, m = getattr(table, name), np.unique(patient[rows]).size
        half = quantiles[m - 2] * math.sqrt(m / (m - 1)) * found.se / (found * (1 - found))
        assert found.upper == pytest.approx(1 / (1 + math.exp(-math.log(found / (1 - found)) - half))), name
    many = threshold_table(y, p, [0.5, 0.3], patient=patient)
    assert (many[0].ppv.lower, many[0].npv.upper) == (table.ppv.lower, table.npv.upper)
    assert confusion(y, p, 0.5, patient=patient).sensitivity.note.startswith("only 7 independent units")
