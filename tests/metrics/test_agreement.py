"""Kappa, AC1, ICC, limits of agreement and overlap against formulas, changed weights and repeated samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress
from sklearn.metrics import cohen_kappa_score

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.agreement import bland_altman, cohen_kappa, fleiss_kappa, gwet_ac1, icc, overlap_counts
from aimed.metrics.result import clustered_variance

KINDS = ["none", "linear", "quadratic"]


def pair(seed, n=60, c=4):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, c, n)
    return rng, a, np.where(rng.random(n) < 0.6, a, rng.integers(0, c, n))


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_kappa_is_that_of_scikit_learn(seed, kind):
    rng, a, b = pair(seed)
    name = None if kind == "none" else kind
    assert float(cohen_kappa(a, b, kind)) == pytest.approx(cohen_kappa_score(a, b, weights=name), abs=1e-12)
    w, order = rng.random(60), [3, 0, 4, 1, 2]
    expected = cohen_kappa_score(a, b, weights=name, labels=order, sample_weight=w)
    assert float(cohen_kappa(a, b, kind, order, w)) == pytest.approx(expected, abs=1e-12)


def fleiss_cohen_everitt(table, agree):
    """Both variances of a weighted kappa, written from the paper's sums."""
    n, p = table.sum(), table / table.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    po, pe = (p * agree).sum(), (np.outer(rows, columns) * agree).sum()
    inner = null = 0.0
    for i in range(len(p)):
        for j in range(len(p)):
            mean = (agree[i] * columns).sum() + (agree[:, j] * rows).sum()
            inner += p[i, j] * (agree[i, j] * (1 - pe) - mean * (1 - po)) ** 2
            null += rows[i] * columns[j] * (agree[i, j] - mean) ** 2
    variance = (inner - (po * pe - 2 * pe + po) ** 2) / (n * (1 - pe) ** 4)
    return math.sqrt(variance), math.sqrt((null - pe**2) / (n * (1 - pe) ** 2))


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
@settings(max_examples=30, deadline=None)
def test_kappa_errors_are_those_of_the_paper(seed, kind):
    _, a, b = pair(seed)
    found = cohen_kappa(a, b, kind, labels=range(4))
    gap = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) / 3
    agree = {"none": np.eye(4), "linear": 1 - gap, "quadratic": 1 - gap**2}[kind]
    table = np.array([[((a == i) & (b == j)).sum() for j in range(4)] for i in range(4)])
    assert (found.se, found.se_null) == pytest.approx(fleiss_cohen_everitt(table, agree), rel=1e-9)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_kappa_influence_is_the_slope_in_the_weights():
    rng, a, b = pair(5)
    w, patient = rng.random(60) + 0.2, rng.integers(0, 20, 60)
    found = cohen_kappa(a, b, "linear", range(4), w)
    for i in range(60):
        up, down = w.copy(), w.copy()
        up[i] += 1e-5
        down[i] -= 1e-5
        slope = (
            cohen_kappa(a, b, "linear", range(4), up).value - cohen_kappa(a, b, "linear", range(4), down).value
        ) / 2e-5
        assert found.influence[i] == pytest.approx(w[i] * slope, abs=1e-8)
    grouped = cohen_kappa(a, b, "linear", range(4), w, patient=patient)
    assert grouped.se**2 == pytest.approx(clustered_variance(found.influence, patient))
    assert math.isnan(grouped.p)


def brute_fleiss(table):
    n, m = table.shape[0], table[0].sum()
    share = table.sum(axis=0) / (n * m)
    agree = np.mean([(row @ row - m) / (m * (m - 1)) for row in table])
    return agree, share


@pytest.mark.parametrize("seed", range(3))
def test_many_raters(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 50)
    ratings = np.where(rng.random((50, 4)) < 0.6, truth[:, None], rng.integers(0, 3, (50, 4)))
    table = np.array([[(row == c).sum() for c in range(3)] for row in ratings])
    agree, share = brute_fleiss(table)
    pe, chance = share @ share, (share * (1 - share)).sum() / 2
    patient = rng.integers(0, 15, 50)
    for metric, expected in ((fleiss_kappa, (agree - pe) / (1 - pe)), (gwet_ac1, (agree - chance) / (1 - chance))):
        found = metric(ratings, labels=range(3))
        assert float(found) == pytest.approx(expected)
        assert float(metric(table, counts=True)) == pytest.approx(expected)
        # Leaving one row out moves the value by minus its influence, to first order in 1 / n.
        jackknife = np.array([float(metric(np.delete(table, i, axis=0), counts=True)) for i in range(50)])
        assert found.influence == pytest.approx((expected - jackknife) * 49 / 50, abs=2e-3)
        assert found.influence.sum() == pytest.approx(0, abs=1e-12)
        assert metric(ratings, labels=range(3), patient=patient).se ** 2 == pytest.approx(
            clustered_variance(found.influence, patient)
        )
    each = [float(fleiss_kappa(ratings == c)) for c in range(3)]
    assert fleiss_kappa(ratings, labels=range(3)).by_label == pytest.approx(each)


def test_errors_match_the_spread_of_samples_with_and_without_agreement():
    rng = np.random.default_rng(0)
    found, nothing = [], []
    for _ in range(500):
        truth = rng.integers(0, 3, 120)
        x = np.where(rng.random((120, 3)) < 0.7, truth[:, None], rng.integers(0, 3, (120, 3)))
        z = rng.integers(0, 3, (120, 3))
        metrics = (
            lambda r: cohen_kappa(r[:, 0], r[:, 1]),
            lambda r: cohen_kappa(r[:, 0], r[:, 1], "quadratic"),
            fleiss_kappa,
            gwet_ac1,
        )
        found.append([(float(m(x)), m(x).se) for m in metrics])
        nothing.append([(float(m(z)), m(z).se_null) for m in metrics[:3]])
    for values in map(np.array, (found, nothing)):
        assert values[:, :, 1].mean(axis=0) == pytest.approx(values[:, :, 0].std(axis=0), rel=0.1)


def test_ratings_that_are_refused():
    with pytest.raises(DataError, match="1 of 3 ratings missing"):
        cohen_kappa([1.0, np.nan, 2.0], [1.0, 1.0, 2.0])
    with pytest.raises(DataError, match="1 of 2 ratings missing"):
        cohen_kappa(["a", "b"], np.array(["a", None], dtype=object))
    with pytest.raises(DataError, match="order"):
        cohen_kappa(["low", "high"], ["low", "low"], "linear")
    with pytest.raises(DataError, match="2 ratings are not among"):
        cohen_kappa([1, 2, 9], [1, 2, 9], labels=[1, 2])
    with pytest.raises(DataError):
        cohen_kappa([1, 2], ["1", "2"])
    with pytest.raises(DataError):
        cohen_kappa([1, 2], [1, 2, 3])
    with pytest.raises(DataError):
        cohen_kappa([1, 2], [1, 2], "cubic")
    for same in (lambda: cohen_kappa([1, 1], [1, 1]), lambda: cohen_kappa([1, 1], [1, 1], labels=[1, 2])):
        with pytest.raises(NotEstimableError):
            same()
    with pytest.raises(NotEstimableError):
        fleiss_kappa([[1, 1], [1, 1]])
    with pytest.raises(NotEstimableError):
        fleiss_kappa([[1], [2]])
    with pytest.raises(DataError, match="1 rows"):
        fleiss_kappa([[2, 1], [1, 1]], counts=True)
    with pytest.raises(NotEstimableError):
        gwet_ac1([[1, 1], [1, 1]])
    assert float(gwet_ac1([[1, 1], [1, 1]], labels=[0, 1])) == 1
    assert "gwet_ac1" in cohen_kappa(np.repeat([1, 1, 0], [118, 5, 2]), np.repeat([1, 0, 1], [118, 5, 2])).note


# Measurements --------------------------------------------------------------------------------------------------------


def test_icc_tells_agreement_from_consistency():
    rng = np.random.default_rng(1)
    subject = rng.normal(size=(40, 1))
    x = subject + 0.3 * rng.normal(size=(40, 3))
    shifted = x + np.array([0, 2, 4])
    assert icc(shifted, kind="consistency").value == pytest.approx(icc(x, kind="consistency").value)
    assert icc(shifted) < icc(x)
    assert icc(np.repeat(subject, 3, axis=1)) == 1
    single, average = (icc(x, unit=u) for u in ("single", "average"))
    assert average == pytest.approx(3 * single / (1 + 2 * single))
    assert icc(3 * x + 7).value == pytest.approx(single.value)
    with pytest.raises(DataError):
        icc(x, "one-way", "consistency")
    with pytest.raises(DataError, match="missing"):
        icc([[1.0, np.nan], [1.0, 2.0]])
    for degenerate in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 1.0], [1.0, 1.0]]):
        with pytest.raises(NotEstimableError):
            icc(degenerate)


@pytest.mark.parametrize("unit", ["single", "average"])
def test_icc_intervals_cover(unit):
    rng = np.random.default_rng(2)
    hits, trials, n, k = np.zeros(3), 600, 25, 4
    for _ in range(trials):
        subject, noise = rng.normal(size=(n, 1)), rng.normal(size=(n, k))
        rater = 0.5 * rng.normal(size=(1, k))
        one = icc(subject + noise, "one-way", unit=unit)
        fixed = icc(subject + rater + noise, "two-way mixed", "consistency", unit)
        free = icc(subject + rater + noise, unit=unit)
        plain, absolute = (0.5, 1 / 2.25) if unit == "single" else (k / (1 + k), 1 / (1 + 1.25 / k))
        for i, (found, truth) in enumerate(((one, plain), (fixed, plain), (free, absolute))):
            hits[i] += found.lower <= truth <= found.upper
    assert ((hits / trials > 0.925) & (hits / trials < 0.975)).all()


def test_exact_limits_of_agreement_cover_and_approximate_ones_are_near():
    rng = np.random.default_rng(3)
    hits, trials = np.zeros(3), 1500
    for _ in range(trials):
        d = rng.normal(1, 2, 15)
        found = bland_altman(d, np.zeros(15))
        truth = (1, 1 - 1.959964 * 2, 1 + 1.959964 * 2)
        hits += [r.lower <= v <= r.upper for r, v in zip((found.bias, found.low, found.high), truth, strict=True)]
    assert ((hits / trials > 0.935) & (hits / trials < 0.965)).all()
    d = rng.normal(size=4000)
    exact, near = (bland_altman(d, np.zeros(4000), method=m) for m in ("exact", "approximate"))
    assert (exact.low.lower, exact.low.upper) == pytest.approx((near.low.lower, near.low.upper), abs=0.003)


def test_limits_with_repeated_pairs_cover():
    rng = np.random.default_rng(4)
    hits, trials = np.zeros(3), 1200
    sizes = np.array([1, 2, 3, 4] * 6)
    patient = np.repeat(np.arange(24), sizes)
    sd = math.sqrt(1 + 0.5)
    for _ in range(trials):
        d = 0.5 + rng.normal(size=24)[patient] + math.sqrt(0.5) * rng.normal(size=patient.size)
        found = bland_altman(d, np.zeros(d.size), patient=patient)
        truth = (0.5, 0.5 - 1.959964 * sd, 0.5 + 1.959964 * sd)
        hits += [r.lower <= v <= r.upper for r, v in zip((found.bias, found.low, found.high), truth, strict=True)]
    assert ((hits / trials > 0.925) & (hits / trials < 0.975)).all()


def test_variance_components_of_balanced_pairs_are_those_of_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    d = (rng.normal(size=(30, 1)) + 0.7 * rng.normal(size=(30, 3))).ravel()
    patient = np.repeat(np.arange(30), 3)
    found = bland_altman(d, np.zeros(90), patient=patient)
    table = d.reshape(30, 3)
    within, between = table.var(axis=1, ddof=1).mean(), 3 * table.mean(axis=1).var(ddof=1)
    assert found.sd_within**2 == pytest.approx(within)
    assert found.sd_between**2 == pytest.approx((between - within) / 3)
    assert found.sd**2 == pytest.approx(found.sd_within**2 + found.sd_between**2)
    assert found.bias.value == pytest.approx(d.mean())
    assert found.patients == 30
    lone = bland_altman(d, np.zeros(90), patient=np.arange(90))
    assert lone.low.lower == bland_altman(d, np.zeros(90)).low.lower


def test_the_slope_sees_proportional_bias():
    rng = np.random.default_rng(6)
    truth = rng.normal(100, 20, 200)
    a, b = truth * 1.2 + rng.normal(size=200), truth + rng.normal(size=200)
    found = bland_altman(a, b).slope
    assert found == pytest.approx(0.2 / 1.1, abs=0.01)
    assert found.p < 1e-6
    expected = np.polyfit((a + b) / 2, a - b, 1)[0]
    assert found.value == pytest.approx(expected)
    with pytest.raises(NotEstimableError):
        bland_altman([1, 2], [1, 3])
    with pytest.raises(NotEstimableError):
        bland_altman([1, 2, 3], [2, 3, 4])
    with pytest.raises(NotEstimableError):
        bland_altman([1, 2, 3, 4], [2, 3, 5, 4], patient=[0, 0, 1, 1])
    with pytest.raises(DataError):
        bland_altman([1, 2, np.nan], [1, 3, 4])


# Masks ---------------------------------------------------------------------------------------------------------------


def test_overlap():
    rng = np.random.default_rng(7)
    reference, predicted = rng.random((2, 5, 6, 7)) < 0.3
    found = overlap_counts(reference, predicted)
    assert found.n == 210
    assert found.tp == (reference & predicted).sum()
    assert found.tn == (~reference & ~predicted).sum()
    assert float(found) == pytest.approx(2 * found.tp / (reference.sum() + predicted.sum()))
    assert found.jaccard == pytest.approx((reference & predicted).sum() / (reference | predicted).sum())
    assert found.dice == pytest.approx(2 * found.jaccard / (1 + found.jaccard))
    assert found.sensitivity == pytest.approx(predicted[reference].mean())
    assert found.precision == pytest.approx(reference[predicted].mean())
    nothing = np.zeros_like(reference)
    assert overlap_counts(reference, nothing).dice == 0
    assert math.isnan(overlap_counts(reference, nothing).precision)
    empty = overlap_counts(nothing, nothing)
    assert math.isnan(empty.dice)
    assert math.isnan(empty.jaccard)
    assert "empty" in empty.note
    for bad in (np.full(reference.shape, 2), reference[0]):
        with pytest.raises(DataError):
            overlap_counts(reference, bad)


def test_kappa_intervals_are_on_fishers_scale():
    rng = np.random.default_rng(7)
    a = rng.integers(0, 3, 30)
    b = np.where(rng.random(30) < 0.9, a, rng.integers(0, 3, 30))
    table = np.stack([a, b], axis=1)
    for found in (cohen_kappa(a, b), fleiss_kappa(table), gwet_ac1(table)):
        half = 1.959963984540054 * found.se / (1 - found.value**2)
        assert found.lower == pytest.approx(math.tanh(math.atanh(found.value) - half))
        assert found.upper == pytest.approx(math.tanh(math.atanh(found.value) + half))
        assert found.upper < 1


def test_full_agreement_has_wilsons_limit_or_no_interval():
    a = np.repeat([0, 1], [12, 8])
    found = cohen_kappa(a, a)
    low = 20 / (20 + 1.959963984540054**2)
    assert (found.value, found.upper) == (1, 1)
    assert found.lower == pytest.approx((low - 0.52) / 0.48)
    assert "Wilson" in found.method
    clustered = cohen_kappa(a, a, patient=np.arange(20) // 2)
    assert clustered.lower == pytest.approx((10 / (10 + 1.959963984540054**2) - 0.52) / 0.48)
    assert math.isnan(cohen_kappa(a, a, patient=np.zeros(20)).lower)
    table = np.stack([a, a, a], axis=1)
    for other in (fleiss_kappa(table), gwet_ac1(table)):
        assert other.value == 1
        assert math.isnan(other.lower)
        assert (
            other.note == "no interval: the raters agree in every row, and the variance is 0 there whatever the sample"
        )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("model", ["one-way", "two-way random"])
@pytest.mark.parametrize("unit", ["single", "average"])
def test_an_icc_of_one_has_no_interval(seed, model, unit):
    x = np.random.default_rng(seed).normal(size=9)
    found = icc(np.stack([x, x, x], axis=1), model, unit=unit)
    assert found == pytest.approx(1)
    assert np.isnan([found.lower, found.upper]).all()
    assert found.note == "no interval: the raters do not differ within any subject"


def test_the_slope_of_differences_is_least_squares_with_t():
    rng = np.random.default_rng(8)
    a = rng.normal(size=7)
    b = 0.8 * a + rng.normal(scale=0.3, size=7)
    found = bland_altman(a, b).slope
    peer = linregress((a + b) / 2, a - b)
    assert (found.value, found.se, found.p) == pytest.approx((peer.slope, peer.stderr, peer.pvalue))
    assert found.upper - found.value == pytest.approx(2.5705818366147395 * peer.stderr)
    pairs, patient = np.tile(np.stack([a, b]), 2), np.tile(np.arange(7), 2)
    repeated = bland_altman(*pairs, patient=patient).slope
    assert "t with 6 degrees of freedom" in repeated.method
    assert repeated.upper - repeated.value == pytest.approx(2.4469118511449692 * repeated.se)
    line = bland_altman(a, 0.5 * a).slope
    assert math.isnan(line.lower)
    assert line.note == "no interval: all differences lie on a line"
