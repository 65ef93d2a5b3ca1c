"""C-for-benefit and calibration for benefit: definitions, matching rules, degenerate trials, intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, NotEstimableError
from aimed.metrics.benefit import CForBenefitReplicates, c_for_benefit, calibration_for_benefit
from aimed.metrics.draws import PatientDraws
from aimed.metrics.result import limits

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 10**6)
TRUE_C = 0.5646
"""C-for-benefit of two million pairs of the trial below, matched exactly."""


def trial(seed, n, share=0.5, equal=False):
    rng = np.random.default_rng(seed)
    benefit = rng.uniform(0, 0.3, n)
    treated = rng.permutation(np.arange(n) % 2) if equal else (rng.random(n) < share).astype(int)
    y = (rng.random(n) < 0.4 - benefit * treated).astype(int)
    return y, treated, benefit


def brute(y, treated, benefit):
    """Pair arms of equal size by rank, then compare all pairs of pairs."""
    arms = [sorted(np.flatnonzero(treated == a), key=lambda i: benefit[i]) for a in (0, 1)]
    pairs = [(benefit[c] + benefit[t], y[c] - y[t]) for c, t in zip(*arms, strict=True)]
    right = usable = 0
    for i, (p, o) in enumerate(pairs):
        for q, u in pairs[:i]:
            usable += o != u
            right += (o != u) * (0.5 if p == q else (p > q) == (o > u))
    return right / usable


@quick
@given(seeds, st.integers(4, 40), st.integers(2, 30))
def test_equal_arms_give_the_definition(seed, k, levels):
    rng = np.random.default_rng(seed)
    treated = rng.permutation(np.arange(2 * k) % 2)
    y, benefit = rng.integers(0, 2, 2 * k), rng.integers(0, levels, 2 * k) / 4
    try:
        found = c_for_benefit(y, treated, benefit)
    except NotEstimableError:
        return
    assert found.value == pytest.approx(brute(y, treated, benefit), abs=1e-15)


@quick
@given(seeds)
def test_monotone_transforms_and_row_order_do_not_matter(seed):
    y, treated, benefit = trial(seed, 60, equal=True)
    found = c_for_benefit(y, treated, benefit)
    for transform in (np.exp, np.log, lambda b: 8 * b - 3):
        assert c_for_benefit(y, treated, transform(benefit)).value == found.value
    shuffle = np.random.default_rng(seed).permutation(60)
    covariates = np.random.default_rng(seed + 1).normal(size=(60, 2))
    for match in ("rank", "benefit", "covariates"):
        first = c_for_benefit(y, treated, benefit, match=match, covariates=covariates)
        again = c_for_benefit(
            y[shuffle], treated[shuffle], benefit[shuffle], match=match, covariates=covariates[shuffle]
        )
        assert first.value == again.value
        assert first.se == pytest.approx(again.se, rel=1e-12)


def test_good_outcome_is_the_mirror_of_harm():
    y, treated, benefit = trial(3, 300)
    harm = c_for_benefit(y, treated, benefit)
    good = c_for_benefit(1 - y, treated, benefit, outcome="good")
    assert (harm.value, harm.lower, harm.upper) == (good.value, good.lower, good.upper)
    assert harm.events == int(y.sum())
    assert good.events == int((1 - y).sum())


def test_covariate_pairs_do_not_depend_on_the_prediction_and_ignore_scale():
    y, treated, benefit = trial(4, 200)
    x = np.random.default_rng(4).normal(size=(200, 3))
    mixed = x @ np.array([[2.0, 0.3, 0], [0, 0.1, 5], [1, 0, 3]]) + 7
    first = c_for_benefit(y, treated, benefit, match="covariates", covariates=x)
    again = c_for_benefit(y, treated, benefit, match="covariates", covariates=np.column_stack([mixed, mixed[:, 0]]))
    assert first.value == pytest.approx(again.value, abs=1e-12)
    assert "Mahalanobis" in first.method


def test_pairs_on_the_only_covariate_are_pairs_on_benefit_when_arms_differ_little():
    y, treated, benefit = trial(5, 400)
    by_value = c_for_benefit(y, treated, benefit, match="benefit")
    by_covariate = c_for_benefit(y, treated, benefit, match="covariates", covariates=benefit)
    assert abs(by_value - by_covariate) < 0.1


def test_the_caution_is_always_there():
    y, treated, benefit = trial(6, 100)
    for more in ({}, {"match": "benefit"}, {"method": "bootstrap", "draws": 20}):
        found = c_for_benefit(y, treated, benefit, **more)
        assert "not a proper score" in found.note
        assert "matching rule" in found.note
        assert found.influence is None


def test_sampling_down_is_said_and_follows_the_seed():
    y, treated, benefit = trial(7, 300, share=0.3)
    found = c_for_benefit(y, treated, benefit)
    assert f"untreated arm sampled down to {treated.sum()} rows" in found.method
    assert found.value == c_for_benefit(y, treated, benefit, seed=0).value
    assert len({c_for_benefit(y, treated, benefit, seed=s).value for s in range(5)}) > 1
    assert "sampled" not in c_for_benefit(y, treated, benefit, match="benefit").method


def test_constant_benefit_is_one_half_and_says_why():
    y, treated, _ = trial(8, 50)
    found = c_for_benefit(y, treated, np.full(50, 0.1))
    assert found.value == 0.5
    assert "all are tied" in found.note
    assert math.isnan(found.se)
    assert math.isnan(found.lower)


@pytest.mark.parametrize("constant", [0, 1])
def test_pairs_without_a_difference_are_refused(constant):
    with pytest.raises(NotEstimableError, match="same observed benefit"):
        c_for_benefit([constant] * 6, [0, 1] * 3, np.arange(6))


def test_empty_arm_and_bad_input_are_refused():
    with pytest.raises(NotEstimableError, match="0 treated"):
        c_for_benefit([0, 1], [0, 0], [1, 2])
    with pytest.raises(DataError, match="treated has 1"):
        c_for_benefit([0, 1], [0, 2], [1, 2])
    with pytest.raises(DataError, match="outcome"):
        c_for_benefit([0, 1], [0, 1], [1, 2], outcome="bad")
    with pytest.raises(DataError, match="match"):
        c_for_benefit([0, 1], [0, 1], [1, 2], match="nearest")
    with pytest.raises(DataError, match="without covariates"):
        c_for_benefit([0, 1], [0, 1], [1, 2], match="covariates")
    with pytest.raises(NotEstimableError, match="no covariate varies"):
        c_for_benefit([0, 1], [0, 1], [1, 2], match="covariates", covariates=[3, 3])
    with pytest.raises(DataError, match="wrong arm"):
        c_for_benefit([0, 1], [0, 1], [1, 2], pairs=[[1, 0]])
    with pytest.raises(DataError, match="bootstrap"):
        c_for_benefit([0, 1], [0, 1], [1, 2], pairs=[[0, 1]], method="bootstrap")


def test_pairs_that_share_a_patient_are_dependent():
    y, treated, benefit = trial(9, 80, equal=True)
    patient = np.random.default_rng(9).integers(0, 25, 80)
    found = c_for_benefit(y, treated, benefit, patient=patient)
    arms = [sorted(np.flatnonzero(treated == a), key=lambda i: benefit[i]) for a in (0, 1)]
    total = benefit[arms[0]] + benefit[arms[1]]
    observed = y[arms[0]] - y[arms[1]]
    m = 40
    psi, share = np.empty(m), found.value
    usable = sum(observed[i] != observed[j] for i in range(m) for j in range(i))
    for i in range(m):
        others = [j for j in range(m) if observed[j] != observed[i]]
        right = sum((total[j] > total[i]) == (observed[j] > observed[i]) for j in others)
        psi[i] = (right - share * len(others)) / usable
    who = [{patient[c], patient[t]} for c, t in zip(*arms, strict=True)]
    variance = sum(psi[i] * psi[j] for i in range(m) for j in range(m) if who[i] & who[j])
    assert found.se == pytest.approx(math.sqrt(variance * m / (m - 1)), rel=1e-9)
    alone = c_for_benefit(y, treated, benefit, patient=np.arange(80))
    assert alone.se == pytest.approx(c_for_benefit(y, treated, benefit).se, rel=1e-12)


def test_repeated_rows_of_one_patient_do_not_narrow_the_interval():
    y, treated, benefit = trial(10, 400, equal=True)
    once = c_for_benefit(y, treated, benefit)
    twice = c_for_benefit(
        np.repeat(y, 2), np.repeat(treated, 2), np.repeat(benefit, 2), patient=np.repeat(np.arange(400), 2)
    )
    naive = c_for_benefit(np.repeat(y, 2), np.repeat(treated, 2), np.repeat(benefit, 2))
    assert twice.value == once.value
    assert twice.se == pytest.approx(once.se, rel=0.02)
    assert naive.se < 0.8 * once.se


def test_error_of_pairs_is_the_spread_over_trials():
    found = [c_for_benefit(*trial(s, 500)) for s in range(300)]
    spread = np.std([float(f) for f in found])
    assert np.mean([f.se for f in found]) == pytest.approx(spread, rel=0.12)
    assert np.mean([float(f) for f in found]) == pytest.approx(TRUE_C, abs=4 * spread / math.sqrt(300))


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "more"),
    [
        (0.5, {}),
        (0.35, {}),
        (0.35, {"match": "benefit"}),
        (0.5, {"method": "bootstrap", "draws": 200}),
        (0.35, {"method": "bootstrap", "draws": 200}),
        (0.35, {"match": "benefit", "method": "bootstrap", "draws": 200}),
    ],
)
def test_intervals_cover(share, more):
    inside = 0
    for s in range(1000):
        found = c_for_benefit(*trial(s, 600, share), seed=s, **more)
        inside += found.lower < TRUE_C < found.upper
    assert 0.93 <= inside / 1000 <= 0.97


def test_replicates_equal_the_metric_on_repeated_rows():
    y, treated, benefit = trial(11, 40, equal=True)
    covariates = np.random.default_rng(11).normal(size=(40, 2))
    arms = [np.flatnonzero(treated == a) for a in (0, 1)]
    rng = np.random.default_rng(12)
    counts = np.zeros((40, 6), np.uint8)
    for column in counts.T:
        for arm in arms:
            column[:] += np.bincount(rng.choice(arm, arm.size), minlength=40).astype(np.uint8)
    for match in ("rank", "benefit", "covariates"):
        more = {"match": match, "covariates": covariates}
        replicates = CForBenefitReplicates(y, treated, benefit, np.arange(40), **more)
        found = replicates.replicate(counts)
        if match == "covariates":
            # The distance is that of the whole trial, not of each resample: it is held in one place.
            assert np.isfinite(found).all()
            whole = replicates.replicate(np.ones((40, 1), np.uint8))
            assert whole[0] == c_for_benefit(y, treated, benefit, **more).value
            continue
        rows = [np.repeat(np.arange(40), column) for column in counts.T]
        expected = [c_for_benefit(y[r], treated[r], benefit[r], **more).value for r in rows]
        assert found.tolist() == expected


@pytest.mark.parametrize("match", ["rank", "benefit"])
def test_replicates_do_not_depend_on_threads(match):
    y, treated, benefit = trial(13, 200, share=0.4)
    values = []
    for threads in (1, 3):
        draws = PatientDraws(None, 200, treated == 1, draws=40, seed=3, threads=threads)
        values.append(draws.map(CForBenefitReplicates(y, treated, benefit, draws.codes, match=match).replicate))
    np.testing.assert_array_equal(*values)
    assert np.unique(values[0]).size > 30


def test_replicate_without_an_arm_is_nan():
    y, treated, benefit = trial(14, 20)
    for match in ("rank", "benefit"):
        replicates = CForBenefitReplicates(y, treated, benefit, np.arange(20), match=match)
        assert np.isnan(replicates.replicate((treated == 1).astype(np.uint8)[:, None])).all()


def test_bootstrap_interval_agrees_with_that_of_pairs():
    y, treated, benefit = trial(15, 2000, equal=True)
    pairs = c_for_benefit(y, treated, benefit)
    again = c_for_benefit(y, treated, benefit, method="bootstrap", draws=400)
    assert again.value == pairs.value
    assert again.se == pytest.approx(pairs.se, rel=0.15)
    assert again.lower == pytest.approx(pairs.lower, abs=0.4 * pairs.se)


@pytest.mark.parametrize(
    ("control", "treated", "lower", "upper"), [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)]
)
def test_group_interval_is_newcombes(control, treated, lower, upper):
    y = np.concatenate([np.arange(n) < k for k, n in (control, treated)]).astype(int)
    arm = np.repeat([0, 1], [control[1], treated[1]])
    curve = calibration_for_benefit(y, arm, np.linspace(0, 1, y.size), groups=1, smooth=False).groups
    assert curve.value[0] == pytest.approx(control[0] / control[1] - treated[0] / treated[1])
    assert (round(curve.lower[0], 4), round(curve.upper[0], 4)) == (lower, upper)


def test_groups_hold_means_and_differences():
    y, treated, benefit = trial(16, 1000)
    found = calibration_for_benefit(y, treated, benefit, groups=4)
    edges = np.quantile(benefit, [0.25, 0.5, 0.75])
    place = np.searchsorted(edges, benefit)
    for g in range(4):
        rows = place == g
        assert found.groups.x[g] == pytest.approx(benefit[rows].mean())
        risk = [y[rows & (treated == a)].mean() for a in (0, 1)]
        assert found.groups.value[g] == pytest.approx(risk[0] - risk[1])
        sizes = [(rows & (treated == a)).sum() for a in (0, 1)]
        wald = math.sqrt(sum(r * (1 - r) / n for r, n in zip(risk, sizes, strict=True)))
        assert found.groups.se[g] == pytest.approx(wald)
    np.testing.assert_allclose(found.groups.influence.sum(axis=0), 0, atol=1e-12)


def test_tied_predictions_make_fewer_groups_and_a_group_without_an_arm_is_nan():
    y = np.array([0, 1] * 10)
    treated = np.array([0] * 10 + [1, 0] * 5)
    benefit = np.repeat([0.1, 0.2], 10)
    found = calibration_for_benefit(y, treated, benefit, smooth=False)
    assert len(found.groups) == 2
    assert np.isnan(found.groups.value[0])
    assert np.isnan(found.groups.se[0])
    assert "2 groups instead of 5" in found.groups.note
    assert "no estimate" in found.groups.note
    assert math.isfinite(found.value)


def test_perfect_and_shifted_predictions_are_told_apart():
    y, treated, benefit = trial(17, 200_000)
    right = calibration_for_benefit(y, treated, benefit)
    assert right.value < 0.01
    assert right.e50 <= right.e90 < 0.03
    assert right.slope.value == pytest.approx(1, abs=4 * right.slope.se)
    assert right.difference.value == pytest.approx(0, abs=4 * right.difference.se)
    shifted = calibration_for_benefit(y, treated, benefit + 0.2)
    assert shifted.value == pytest.approx(0.2, abs=4 * shifted.se)
    assert shifted.difference.value == pytest.approx(right.difference.value - 0.2)
    steep = calibration_for_benefit(y, treated, 2 * benefit)
    assert steep.slope.value == pytest.approx(right.slope.value / 2)
    assert float(shifted) == shifted.value


def test_slope_is_least_squares_and_curve_error_is_the_spread():
    y, treated, benefit = trial(18, 600, equal=True)
    found = calibration_for_benefit(y, treated, benefit)
    arms = [sorted(np.flatnonzero(treated == a), key=lambda i: benefit[i]) for a in (0, 1)]
    x, o = (benefit[arms[0]] + benefit[arms[1]]) / 2, y[arms[0]] - y[arms[1]]
    assert found.slope.value == pytest.approx(np.polyfit(x, o, 1)[0])
    many = [calibration_for_benefit(*trial(s, 400), groups=1) for s in range(150)]
    at = [np.interp(0.15, m.curve.x, m.curve.value) for m in many]
    errors = [np.interp(0.15, m.curve.x, m.curve.se) for m in many]
    assert np.mean(errors) == pytest.approx(np.std(at), rel=0.2)
    slopes = [m.slope for m in many]
    assert np.mean([s.se for s in slopes]) == pytest.approx(np.std([s.value for s in slopes]), rel=0.2)


def test_interval_of_e_avg_covers_where_predictions_are_off():
    truth = float(np.mean(np.abs(0.7 * np.linspace(0, 0.3, 10_001) - 0.3)))
    inside = 0
    for s in range(150):
        y, treated, benefit = trial(s, 1500)
        found = calibration_for_benefit(y, treated, 0.3 + 0.3 * benefit)
        inside += found.lower < truth < found.upper
    assert 0.88 <= inside / 150 <= 0.99


def test_curve_needs_pairs_and_one_prediction_has_no_slope():
    y, treated = [0, 1, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1]
    with pytest.raises(NotEstimableError, match="3 pairs"):
        calibration_for_benefit(y, treated, np.arange(6) / 10)
    found = calibration_for_benefit(y * 10, treated * 10, np.full(60, 0.1))
    assert math.isnan(found.slope.value)
    assert "one predicted benefit" in found.slope.note
    with pytest.raises(DataError, match="groups"):
        calibration_for_benefit(y, treated, np.arange(6), groups=0)


def test_clustered_calibration_is_wider_for_repeated_rows():
    y, treated, benefit = trial(19, 400, equal=True)
    again = [np.repeat(v, 2) for v in (y, treated, benefit)]
    once = calibration_for_benefit(y, treated, benefit, patient=np.arange(400))
    twice = calibration_for_benefit(*again, patient=np.repeat(np.arange(400), 2))
    naive = calibration_for_benefit(*again)
    for name in ("slope", "difference"):
        assert getattr(twice, name).se == pytest.approx(getattr(once, name).se, rel=0.03)
        assert getattr(naive, name).se < 0.8 * getattr(once, name).se
    np.testing.assert_allclose(twice.groups.se, once.groups.se, rtol=0.05)
    assert twice.se == pytest.approx(once.se, rel=0.1)


def test_bootstrap_that_often_fails_has_no_interval():
    y, treated, benefit = [1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1], [6, 5, 4, 3, 2, 1]
    found = c_for_benefit(y, treated, benefit, method="bootstrap", draws=50)
    assert found.value == 1.0
    assert math.isnan(found.se)
    assert math.isnan(found.upper)
    assert "10 % of resamples" in found.note


def test_clustered_intervals_rest_on_the_patients():
    y, treated, benefit = trial(8, 400)
    patient = np.arange(400) % 10
    found = calibration_for_benefit(y, treated, benefit, patient=patient)
    for part in (found.slope, found.difference):
        want = limits(part.value, part.se, 0.95, units=10)
        assert (part.lower, part.upper) == pytest.approx(tuple(map(float, want)))
    for curve in (found.groups, found.curve):
        assert curve.lower == pytest.approx(
            np.maximum(limits(curve.value, curve.se, 0.95, units=10)[0], -1), nan_ok=True
        )
    mean = found.estimate
    assert mean.upper == pytest.approx(float(limits(mean.value, mean.se, 0.95, units=10)[1]))
    assert mean.lower == pytest.approx(max(0.0, 2 * mean.value - mean.upper))
    c = c_for_benefit(y, treated, benefit, patient=np.arange(400) % 50)
    assert c.upper == pytest.approx(float(limits(c.value, c.se, 0.95, (0, 1), units=50)[1]))
    assert c.lower < c < c.upper
