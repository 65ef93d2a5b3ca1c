"""AUROC, its errors and tests, partial area and average precision against definitions, peers and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.discrimination import (
    AurocReplicates,
    AveragePrecisionReplicates,
    auroc,
    auroc_covariance,
    auroc_test,
    average_precision,
    partial_auroc,
)
from aimed.metrics.draws import PatientDraws
from aimed.metrics.result import clustered_variance

SEEDS = st.integers(0, 2**32 - 1)
METRICS = [auroc, average_precision, partial_auroc]


def draw(seed, n=None):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 60)) if n is None else n
    levels = int(rng.choice([2, 5, 1000]))
    score = rng.integers(0, levels, n) / levels
    y = (rng.random(n) < rng.choice([0.03, 0.3, 0.97])).astype(int)
    y[:4] = 0, 1, 0, 1
    w = rng.integers(0, 4, n).astype(float)
    w[:4] = 1
    return y, score, w, rng


def pair_table(y, score):
    cases, controls = score[y == 1][:, None], score[y == 0]
    return (cases > controls) + 0.5 * (cases == controls)


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_auroc_and_delong_equal_all_pairs_and_the_peer(seed):
    y, score, w, _ = draw(seed)
    pairs, found = pair_table(y, score), auroc(y, score, scale="identity")
    assert found == pytest.approx(pairs.mean(), abs=1e-14)
    assert found == pytest.approx(peer.roc_auc_score(y, score), abs=1e-12)
    assert auroc(y, score, w) == pytest.approx(peer.roc_auc_score(y, score, sample_weight=w), abs=1e-12)
    variance = pairs.mean(1).var(ddof=1) / pairs.shape[0] + pairs.mean(0).var(ddof=1) / pairs.shape[1]
    if variance > 1e-12:
        assert found.se**2 == pytest.approx(variance, rel=1e-9)
        assert found.method == "DeLong"
        assert found.lower == pytest.approx(max(0, found - 1.959963984540054 * found.se), abs=1e-12)
    else:
        assert math.isnan(found.lower)
        assert found.note


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_average_precision_and_partial_area_equal_the_peer(seed):
    y, score, w, rng = draw(seed)
    assert average_precision(y, score, w) == pytest.approx(
        peer.average_precision_score(y, score, sample_weight=w), abs=1e-12
    )
    width = float(rng.choice([0.05, 0.2, 0.5, 0.999]))
    assert partial_auroc(y, score, width, w) == pytest.approx(
        peer.roc_auc_score(y, score, sample_weight=w, max_fpr=width), abs=1e-12
    )


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_the_partial_area_of_the_whole_range_is_the_area_and_both_foci_are_areas_of_the_same_curve(seed):
    y, score, w, _ = draw(seed)
    whole = auroc(y, score, w)
    for focus in ("specificity", "sensitivity"):
        found = partial_auroc(y, score, 1.0, w, focus=focus, corrected=False)
        assert found == pytest.approx(whole, abs=1e-12)
        np.testing.assert_allclose(found.influence, whole.influence, atol=1e-12)
    # From the side of sensitivity: each piece of the peer's curve above .7, times its mean specificity.
    false, true, _ = peer.roc_curve(y, score, sample_weight=w, drop_intermediate=False)
    area = 0.0
    for f0, f1, t0, t1 in zip(false[:-1], false[1:], true[:-1], true[1:], strict=True):
        if t1 > max(t0, 0.7):
            start = max(t0, 0.7)
            at = f0 + (f1 - f0) * (start - t0) / (t1 - t0)
            area += (t1 - start) * (1 - (at + f1) / 2)
    assert partial_auroc(y, score, 0.3, w, focus="sensitivity", corrected=False) == pytest.approx(area, abs=1e-12)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("focus", ["specificity", "sensitivity"])
def test_the_influence_of_the_partial_area_is_its_derivative(focus, corrected, seed):
    y, score, w, _ = draw(seed, 25)
    # No sum of these weights is this share of another, where the area has a kink and no derivative.
    _derivative(lambda v: partial_auroc(y, score, 0.3341592653, v, focus=focus, corrected=corrected), w + 0.1)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_the_influence_is_the_derivative_by_row_weights(metric, seed):
    y, score, w, _ = draw(seed, 25)
    _derivative(lambda v: metric(y, score, v), w + 0.1)


def _derivative(metric, w):
    step = 1e-5
    found = metric(w).influence
    moved = np.eye(w.size) * step
    expected = [w[i] * (metric(w + moved[i]) - metric(w - moved[i])) / (2 * step) for i in range(w.size)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.sum() == pytest.approx(0, abs=1e-12)


@given(SEEDS)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("metric", METRICS)
def test_invariances(metric, seed):
    y, score, w, rng = draw(seed)
    found, mixed = metric(y, score, weights=w), rng.permutation(y.size)
    assert metric(y, np.exp(3 * score), weights=w) == found
    assert metric(y[mixed], score[mixed], weights=w[mixed]) == pytest.approx(found, abs=1e-12)
    twice = np.r_[y, y], np.r_[score, score]
    halved = metric(*twice, weights=np.r_[w, w] / 2, patient=np.r_[: y.size, : y.size])
    assert halved == pytest.approx(found, abs=1e-12)
    if math.isfinite(found.se):
        assert halved.se == pytest.approx(found.se, rel=1e-6)
    again = np.repeat(np.arange(y.size), w.astype(int))
    assert metric(y[again], score[again]) == pytest.approx(found, abs=1e-12)


def test_minus_zero_ties_with_zero():
    assert auroc([0, 1], [0.0, -0.0]) == 0.5
    assert auroc([0, 1], [-0.0, 0.0]) == 0.5


@pytest.mark.parametrize("metric", METRICS)
def test_one_class_is_refused_also_when_it_has_no_weight(metric):
    with pytest.raises(NotEstimableError):
        metric([1, 1, 1], [0.1, 0.2, 0.3])
    with pytest.raises(NotEstimableError):
        metric([0, 0, 0], [0.1, 0.2, 0.3])
    with pytest.raises(NotEstimableError):
        metric([0, 1, 0], [0.1, 0.2, 0.3], weights=[1, 0, 1])


@pytest.mark.parametrize(
    ("y", "score", "more"),
    [
        ([0, 2], [0.1, 0.2], {}),
        ([0, 1], [0.1], {}),
        ([0, 1], [0.1, np.nan], {}),
        ([], [], {}),
        ([0, 1], [0.1, 0.2], {"level": 95}),
        ([0, 1], [0.1, 0.2], {"patient": [1]}),
        ([0, 1], [0.1, 0.2], {"weights": [-1, 1]}),
    ],
)
@pytest.mark.parametrize("metric", METRICS)
def test_unfit_input_is_refused(metric, y, score, more):
    with pytest.raises(DataError):
        metric(y, score, **more)


def test_options_of_the_partial_area_are_checked():
    for more in ({"max_fpr": 0}, {"max_fpr": 1.1}, {"focus": "both"}):
        with pytest.raises(DataError):
            partial_auroc([0, 1], [0.1, 0.2], **more)


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_score_has_no_interval_and_says_why(metric):
    found = metric([0, 0, 1, 1], [1, 2, 3, 4])
    assert found == 1
    assert math.isnan(found.lower) and math.isnan(found.upper) and math.isnan(found.se)  # noqa: PT018
    assert "no interval: " in found.note


def test_a_constant_score_and_too_few_rows_say_so():
    flat = auroc([0, 0, 1, 1], [3, 3, 3, 3])
    assert flat == 0.5
    assert "all scores are equal" in flat.note
    assert math.isnan(flat.lower)
    few = auroc([0, 0, 0, 1], [1, 3, 4, 2])
    assert "at least 2 rows" in few.note
    assert auroc([0, 0, 1, 1], [3, 4, 1, 2]) == 0
    assert "wrongly" in auroc([0, 0, 1, 1], [3, 4, 1, 2]).note


def test_the_logit_interval_stays_inside():
    y, score, _, _ = draw(7, 40)
    found = auroc(y, score, scale="logit")
    assert 0 < found.lower < found < found.upper < 1
    assert auroc(y, score, level=0.8).lower > auroc(y, score, level=0.99).lower


def obuchowski(y, scores, patient):
    """Obuchowski's covariance written out over clusters, as in the paper."""
    ids = np.unique(patient)
    cases, controls = y == 1, y == 0
    m, n = cases.sum(), controls.sum()
    values, parts = [], []
    for score in scores:
        pairs = pair_table(y, score)
        value = pairs.mean()
        v10, v01 = np.zeros(y.size), np.zeros(y.size)
        v10[cases], v01[controls] = pairs.mean(1), pairs.mean(0)
        x = np.array([v10[patient == i].sum() - cases[patient == i].sum() * value for i in ids])
        z = np.array([v01[patient == i].sum() - controls[patient == i].sum() * value for i in ids])
        values.append(value)
        parts.append((x, z))
    total = ids.size
    with_case = sum(cases[patient == i].any() for i in ids)
    with_control = sum(controls[patient == i].any() for i in ids)
    out = np.empty((len(scores), len(scores)))
    for a, (xa, za) in enumerate(parts):
        for b, (xb, zb) in enumerate(parts):
            s10 = with_case / ((with_case - 1) * m) * (xa @ xb) / m
            s01 = with_control / ((with_control - 1) * n) * (za @ zb) / n
            s11 = total / (total - 1) * (xa @ zb + xb @ za) / (m * n)
            out[a, b] = s10 + s01 + s11
    return np.array(values), out


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_clustered_covariance_is_obuchowskis(seed):
    y, first, _, rng = draw(seed, 50)
    second = np.round(first + rng.normal(size=50), 1)
    patient = rng.integers(0, 20, 50)
    if min(np.unique(patient[y == k]).size for k in (0, 1)) < 2:
        return
    values, covariance = obuchowski(y, [first, second], patient)
    found = auroc_covariance(y, np.column_stack([first, second]), patient=patient)
    np.testing.assert_allclose(found.value, values, atol=1e-13)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-13)
    test = auroc_test(y, first, second, patient=patient)
    assert test.covariance == pytest.approx(covariance[0, 1], abs=1e-13)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance > 1e-10:
        assert test.se == pytest.approx(math.sqrt(variance), rel=1e-6)
        assert found.contrast([1, -1]).p == pytest.approx(test.p, abs=1e-6)
    for place, score in enumerate((first, second)):
        single = auroc(y, score, patient=patient)
        if math.isfinite(single.se):
            assert single.se**2 == pytest.approx(covariance[place, place], rel=1e-9)


def test_one_row_a_patient_is_delong():
    y, score, _, rng = draw(11, 60)
    names = rng.permutation([f"p{i}" for i in range(60)])
    assert auroc(y, score, patient=names).se == pytest.approx(auroc(y, score).se, rel=1e-6)


def test_weights_of_one_change_the_error_only_by_the_small_sample_factor():
    y, score, _, _ = draw(3, 400)
    plain, weighted = auroc(y, score), auroc(y, score, np.ones(400))
    assert weighted == plain
    assert weighted.se == pytest.approx(plain.se, rel=0.2)
    assert weighted.se**2 == pytest.approx(clustered_variance(plain.influence), rel=1e-12)


def test_comparing_a_score_with_a_rising_map_of_itself_has_no_test():
    y, score, _, _ = draw(1, 80)
    found = auroc_test(y, score, np.exp(score))
    assert found.value == 0
    assert math.isnan(found.p) and math.isnan(found.lower) and math.isnan(found.z)  # noqa: PT018
    assert "alike" in found.difference.note


def test_the_test_is_antisymmetric_and_serves_as_a_result():
    y, a, _, rng = draw(1, 80)
    b = a + rng.normal(size=80)
    one, two = auroc_test(y, a, b), auroc_test(y, b, a)
    assert one.value == -two.value
    assert one.lower == pytest.approx(-two.upper)
    assert (one.p, one.n) == (two.p, 80)
    assert one.se**2 == pytest.approx(one.first.se**2 + one.second.se**2 - 2 * one.covariance, rel=1e-9)
    assert float(one) == pytest.approx(float(one.first) - float(one.second))


@given(SEEDS)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize(
    ("replicates", "metric"), [(AurocReplicates, auroc), (AveragePrecisionReplicates, average_precision)]
)
def test_replicates_are_the_weighted_metric_bit_for_bit(replicates, metric, seed):
    y, score, _, rng = draw(seed)
    patient = rng.integers(0, 9, y.size)
    draws = PatientDraws(patient, y.size, draws=5, seed=seed)
    counts = draws.counts(0, 5)
    found = replicates(y, score, codes=draws.codes).replicate(counts)
    for b, value in enumerate(found):
        w = counts[draws.codes, b]
        if w[y == 1].any() and w[y == 0].any():
            assert value == float(metric(y, score, w))
        else:
            assert math.isnan(value)


def test_replicates_do_not_depend_on_threads():
    y, score, _, rng = draw(5, 60)
    patient = rng.integers(0, 30, 60)
    runs = []
    for threads in (1, 3):
        draws = PatientDraws(patient, 60, y, draws=70, seed=2, threads=threads)
        runs.append(draws.map(AurocReplicates(y, score, codes=draws.codes).replicate))
    np.testing.assert_array_equal(*runs)
    with pytest.raises(DataError):
        AurocReplicates(y, score, codes=np.arange(3))


def clustered(rng, patients):
    """Rows of patients who share a latent value; a patient may have rows of both classes."""
    size = rng.integers(2, 5, patients)
    patient = np.repeat(np.arange(patients), size)
    shared = rng.normal(size=patients)[patient]
    y = (shared + rng.normal(size=patient.size) > 0.5).astype(int)
    score = 0.8 * y + 1.2 * rng.normal(size=patients)[patient] + rng.normal(size=patient.size)
    return y, score, patient


def _cover(make, truth, trials):
    hit = 0
    for trial in range(trials):
        found = make(np.random.default_rng(trial))
        hit += found.lower <= truth <= found.upper
    return hit / trials


def test_delong_covers():
    def make(rng):
        y = np.arange(120) < 50
        return auroc(y, rng.normal(size=120) + y)

    assert 0.93 <= _cover(make, 0.7602499389, 1500) <= 0.97


def test_clustered_delong_covers_where_plain_delong_does_not():
    # Two rows of different patients, one with and one without the event, differ by .8 with variance 2 (1.44 + 1).
    truth = 0.5 * math.erfc(-0.8 / math.sqrt(2 * (1.44 + 1)) / math.sqrt(2))

    def make(rng, used=True):
        y, score, patient = clustered(rng, 150)
        return auroc(y, score, patient=patient if used else None)

    # Pairs within a patient are rarer than 1 in 100 and move the value by less than .001.
    assert 0.93 <= _cover(make, truth, 1200) <= 0.97
    assert _cover(lambda rng: make(rng, False), truth, 400) < 0.93


def test_average_precision_covers():
    def rows(rng, n):
        y = rng.random(n) < 0.2
        return y, rng.normal(size=n) + 1.2 * y

    truth = float(average_precision(*rows(np.random.default_rng(99), 2_000_000)))
    assert 0.93 <= _cover(lambda rng: average_precision(*rows(rng, 600)), truth, 1000) <= 0.97


@pytest.mark.parametrize("focus", ["specificity", "sensitivity"])
def test_the_partial_area_covers(focus):
    def rows(rng, n):
        y = np.arange(n) % 2
        return y, rng.normal(size=n) + 1.2 * y

    truth = float(partial_auroc(*rows(np.random.default_rng(99), 2_000_000), 0.2, focus=focus))
    made = _cover(lambda rng: partial_auroc(*rows(rng, 400), 0.2, focus=focus), truth, 1000)
    assert 0.93 <= made <= 0.97


def test_the_error_of_the_partial_area_is_that_of_a_bootstrap():
    y, score, _, rng = draw(2, 400)
    y = (rng.random(400) < 0.4).astype(int)
    score = y + rng.normal(size=400)
    found = partial_auroc(y, score, 0.2, corrected=False)
    draws = PatientDraws(None, 400, y, draws=400, seed=1)
    values = [float(partial_auroc(y, score, 0.2, w, corrected=False)) for w in draws.rows()]
    assert found.se == pytest.approx(np.std(values), rel=0.12)


def test_the_default_interval_is_on_the_logit_scale_and_stays_inside():
    rng = np.random.default_rng(2)
    y = np.repeat([1, 0], [8, 60])
    score = rng.normal(2.6 * y)
    found, plain = auroc(y, score), auroc(y, score, scale="identity")
    half = 1.959963984540054 * found.se / (found * (1 - found))
    centre = math.log(found / (1 - found))
    assert (found.lower, found.upper) == pytest.approx([1 / (1 + math.exp(-centre - s * half)) for s in (-1, 1)])
    assert plain.upper == 1
    assert found.upper < 1


def test_patients_give_the_quantile_of_t():
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(8), 10)
    y = (rng.random(80) < 0.4).astype(int)
    score = rng.normal(y)
    for found in (auroc(y, score, patient=patient), average_precision(y, score, patient=patient)):
        centre = math.log(found / (1 - found))
        half = 2.364624251592785 * found.se / (found * (1 - found))
        assert found.upper == pytest.approx(1 / (1 + math.exp(-centre - half)), rel=1e-9)
        assert found.note == "only 8 independent units: the interval may be too short"
    test = auroc_test(y, score, rng.normal(y), patient=patient)
    assert (test.p < 0.05) == (not test.lower <= 0 <= test.upper)
    one = auroc(y, score, patient=np.zeros(80))
    assert math.isnan(one.lower)
    assert "one unit only" in one.note


@pytest.mark.parametrize("seed", range(10))
def test_p_and_interval_of_a_clustered_test_agree(seed):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(5), 8)
    y = np.tile([0, 1], 20)
    for weights in (None, rng.random(40) + 0.5):
        test = auroc_test(y, rng.normal(y), rng.normal(0.3 * y), weights, patient=patient)
        assert (test.p < 0.05) == (not test.lower <= 0 <= test.upper)


def test_a_partial_area_says_when_its_range_is_too_thin():
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1], [40, 40])
    score = rng.normal(y)
    none = partial_auroc(y, score, 0.1)
    assert math.isnan(none.lower)
    assert none.note == "no interval: the range holds 4 controls"
    thin = partial_auroc(y, score, 0.2)
    assert thin.lower < thin < thin.upper
    assert thin.note == "the range holds 8 controls: no interval here is reliable"
    wide = partial_auroc(y, score, 0.6)
    assert wide.note == ""
    raw = partial_auroc(y, score, 0.6, corrected=False)
    least, most = 0.18, 0.6
    for a, b in ((wide.lower, raw.lower), (wide.upper, raw.upper), (wide.value, raw.value)):
        assert a == pytest.approx((1 + (b - least) / (most - least)) / 2)
    assert 0 < raw.lower < raw.upper < most
    share, half = raw / most, 1.959963984540054 * raw.se / most
    assert raw.upper / most == pytest.approx(
        1 / (1 + math.exp(-math.log(share / (1 - share)) - half / (share * (1 - share))))
    )
