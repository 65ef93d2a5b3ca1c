"""The engine of intervals: every road to an interval agrees, covers, repeats, and says when it cannot."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aimed.core.errors import DataError, NotEstimableError, UnknownNameError
from aimed.metrics import (
    METRICS,
    adjust_p_values,
    auroc,
    auroc_test,
    bootstrap,
    brier,
    compare,
    difference,
    harrell_c,
    permutation_test,
)
from aimed.metrics import interval as interval_of
from aimed.metrics.draws import PatientDraws
from aimed.metrics.intervals import Bootstrapped


def sample(seed: int = 0, n: int = 300, gap: float = 1.0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return y, y * gap + rng.normal(size=n), rng.integers(0, n // 2, n)


def test_fast_road_equals_the_metric_on_each_resample():
    y, score, patient = sample()
    found = bootstrap("auroc", y, score, patient=patient, draws=40, seed=3)
    draws = PatientDraws(patient, y.size, y != 0, draws=40, seed=3)
    slow = [roc_auc_score(y, score, sample_weight=w) for w in draws.rows()]
    assert found.replicates == pytest.approx(slow, rel=1e-12)
    assert float(found) == pytest.approx(roc_auc_score(y, score), rel=1e-12)
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_weights_and_drawn_rows_are_the_same_resamples():
    y, score, patient = sample()
    p = 1 / (1 + np.exp(-score))
    by_weight = bootstrap(brier, y, p, patient=patient, draws=30, seed=1)
    by_rows = bootstrap(lambda y, p: float(np.mean((p - y) ** 2)), y, p, patient=patient, draws=30, seed=1)
    assert by_weight.replicates == pytest.approx(by_rows.replicates, rel=1e-12)


@pytest.mark.parametrize("name", ["auroc", "average_precision", "harrell_c", "uno_c"])
def test_same_bits_whatever_the_threads_and_the_number_of_draws(name):
    rng = np.random.default_rng(0)
    y, score, _ = sample(2)
    arrays = (y, score) if name in ("auroc", "average_precision") else (y, np.ceil(rng.exponential(9, y.size)), score)
    more = (8.0,) if name == "uno_c" else ()
    one = bootstrap(name, *arrays, *more, draws=50, threads=1)
    two = bootstrap(name, *arrays, *more, draws=50, threads=3)
    assert one.replicates.tobytes() == two.replicates.tobytes()
    assert bootstrap(name, *arrays, *more, draws=20).replicates.tobytes() == one.replicates[:20].tobytes()


def test_jackknife_bootstrap_and_analytic_errors_agree():
    y, score, patient = sample(n=1500)
    found = {
        m: interval_of("auroc", {"y": y, "score": score}, m, draws=800) for m in ("default", "jackknife", "normal")
    }
    errors = [f.se for f in found.values()]
    assert max(errors) / min(errors) < 1.1
    clustered = [interval_of("auroc", (y, score), m, patient=patient, draws=800).se for m in ("jackknife", "normal")]
    assert clustered[0] == pytest.approx(clustered[1], rel=0.12)


def test_clustering_widens_the_interval_of_repeated_rows():
    y, score, _ = sample(n=150)
    y, score = np.repeat(y, 4), np.repeat(score, 4)
    patient = np.repeat(np.arange(150), 4)
    for method in ("default", "jackknife", "percentile", "bca"):
        apart = interval_of("auroc", (y, score), method, draws=400)
        together = interval_of("auroc", (y, score), method, patient=patient, draws=400)
        ratio = (together.upper - together.lower) / (apart.upper - apart.lower)
        assert 1.7 < ratio < 2.3


def test_bca_with_analytic_and_with_left_out_patients_agree():
    y, score, _ = sample(n=120)
    p = 1 / (1 + np.exp(-score))
    analytic = bootstrap(brier, y, p, draws=500, kind="bca")
    left_out = bootstrap(lambda y, p: float(np.mean((p - y) ** 2)), y, p, draws=500, kind="bca")
    assert (left_out.lower, left_out.upper) == pytest.approx((analytic.lower, analytic.upper), abs=2e-4)
    plain = bootstrap(brier, y, p, draws=500)
    assert analytic.lower != plain.lower


def test_bca_covers_a_skewed_mean_better_than_percentiles():
    rng = np.random.default_rng(0)
    hits = {"percentile": 0, "bca": 0}
    low = {"percentile": 0, "bca": 0}
    for trial in range(150):
        x = rng.lognormal(0, 1, 40)
        for kind in hits:
            found = bootstrap(lambda x: float(np.mean(x)), x, draws=300, seed=trial, kind=kind)
            hits[kind] += found.lower <= math.exp(0.5) <= found.upper
            low[kind] += found.upper < math.exp(0.5)
    assert hits["bca"] >= hits["percentile"]
    assert low["bca"] <= low["percentile"]


def test_paired_difference_from_influence_is_delong():
    y, a, _ = sample(1, 400)
    b = a + np.random.default_rng(9).normal(size=a.size)
    exact = auroc_test(y, a, b)
    found = compare("auroc", (y, a), (y, b))
    assert float(found) == pytest.approx(float(exact), rel=1e-12)
    assert found.se == pytest.approx(exact.se, rel=0.01)
    drawn = compare("auroc", (y, a), (y, b), "percentile", draws=600)
    assert drawn.se == pytest.approx(exact.se, rel=0.1)
    assert drawn.lower < float(exact) < drawn.upper
    bca = compare("auroc", (y, a), (y, b), "bca", draws=600)
    assert (bca.lower, bca.upper) == pytest.approx((drawn.lower, drawn.upper), abs=0.01)


def test_permutation_finds_a_difference_and_is_level_without_one():
    y, a, patient = sample(4, 200, 1.2)
    noise = np.random.default_rng(5).normal(size=y.size)
    assert compare("auroc", (y, a), (y, noise), "permutation", draws=200, patient=patient).p < 0.02
    p = [
        compare("auroc", (y, np.roll(noise, k)), (y, np.roll(noise, k + 7)), "permutation", draws=60).p
        for k in range(1, 60, 3)
    ]
    assert np.mean(np.array(p) < 0.2) < 0.6
    assert permutation_test("auroc", y, a, draws=200).p == pytest.approx(1 / 201)
    assert permutation_test("auroc", y, noise, draws=200, patient=patient).p > 0.01


def test_permutation_keeps_rows_of_a_patient_together():
    patient = np.repeat(np.arange(30), 3)
    block = np.repeat(np.random.default_rng(0).normal(size=30), 3)
    seen = []
    permutation_test(lambda a, b: seen.append(a.copy()) or 0.0, block, block, patient=patient, draws=10)
    for values in seen[1:]:
        assert (values.reshape(30, 3) == values.reshape(30, 3)[:, :1]).all()


def test_difference_asks_for_influence_on_the_same_rows():
    y, a, _ = sample()
    first = auroc(y, a)
    with pytest.raises(NotEstimableError, match="together"):
        difference(first, auroc(y, 2 * a))
    with pytest.raises(DataError, match="same rows"):
        difference(first, auroc(y[:-1], a[:-1]))
    with pytest.raises(DataError, match="influence"):
        difference(first, bootstrap(lambda y: float(y.mean()), y, draws=10))


def test_single_numbers_and_curves_pass_through():
    rng = np.random.default_rng(0)
    y, score, _ = sample()
    time = np.ceil(rng.exponential(10, y.size))
    curve = bootstrap("dynamic_auc", y, time, score, [5.0, 10.0], draws=60)
    assert len(curve) == 2
    assert (curve.lower < curve.value).all()
    assert (curve.value < curve.upper).all()
    assert curve.x.tolist() == [5, 10]
    benefit = bootstrap("net_benefit", y, 1 / (1 + np.exp(-score)), [0.1, 0.3], draws=60)
    assert benefit.value.shape == (2,)


@pytest.mark.parametrize("name", ["multilabel_auroc", "multilabel_average_precision"])
def test_targets_and_their_mean_are_drawn_together(name):
    rng = np.random.default_rng(0)
    y = rng.random((200, 3)) < [0.2, 0.4, 0.0]
    score = y + rng.normal(size=(200, 3))
    patient = rng.integers(0, 90, 200)
    found = bootstrap(name, y, score, patient=patient, draws=60)
    assert found.skipped == ("2",)
    assert math.isnan(found.targets[2].lower)
    one = bootstrap(name.removeprefix("multilabel_"), y[:, 0], score[:, 0], patient=patient, draws=60, strata=None)
    assert found.targets[0].replicates == pytest.approx(one.replicates, rel=1e-12)
    assert found.macro.replicates == pytest.approx(
        (found.targets[0].replicates + found.targets[1].replicates) / 2, rel=1e-12
    )
    assert found.lower < float(found) < found.upper


def test_what_cannot_be_estimated_says_so():
    y, score, _ = sample()
    with pytest.raises(NotEstimableError):
        bootstrap("auroc", np.zeros(50), np.arange(50.0), draws=10)
    rare = np.r_[1, np.zeros(60)]
    lost = bootstrap(brier, rare, np.full(61, 0.1), draws=40)
    assert math.isfinite(lost.lower)
    gone = bootstrap("average_precision", rare, np.arange(61.0), draws=100)
    assert math.isnan(gone.lower)
    assert "not estimable in" in gone.note
    with pytest.raises(NotEstimableError, match="influence"):
        interval_of(lambda y: float(np.mean(y)), [y], "jackknife")
    with pytest.raises(UnknownNameError, match="percentile"):
        interval_of("auroc", (y, score), "percentil")
    with pytest.raises(UnknownNameError, match="auroc"):
        interval_of("aurocc", (y, score))
    with pytest.raises(UnknownNameError, match="score"):
        interval_of("auroc", {"y": y, "scores": score})
    with pytest.raises(DataError, match="'y'"):
        interval_of("auroc", {"score": score})
    with pytest.raises(NotEstimableError, match="one patient"):
        bootstrap("auroc", y, score, patient=np.zeros(y.size), draws=10)


def test_any_function_gets_an_interval_by_default():
    y, _, _ = sample()
    found = interval_of(lambda y: float(np.mean(y)), [y], draws=300)
    assert isinstance(found, Bootstrapped)
    assert found.lower < y.mean() < found.upper
    again = pickle.loads(pickle.dumps(found))
    assert (float(again), again.lower, again.method) == (float(found), found.lower, found.method)


def test_adjusted_p_values_are_those_of_the_definitions():
    p = np.array([0.001, 0.04, np.nan, 0.03, 0.5])
    assert adjust_p_values(p, "bonferroni")[[0, 1, 3, 4]] == pytest.approx([0.004, 0.16, 0.12, 1.0])
    assert adjust_p_values(p)[[0, 1, 3, 4]] == pytest.approx([0.004, 0.09, 0.09, 0.5])
    assert adjust_p_values(p, "benjamini-hochberg")[[0, 1, 3, 4]] == pytest.approx([0.004, 0.16 / 3, 0.16 / 3, 0.5])
    assert math.isnan(adjust_p_values(p)[2])
    with pytest.raises(DataError):
        adjust_p_values([1.2])


def test_bootstrap_interval_of_the_auroc_covers():
    rng = np.random.default_rng(1)
    truth, hits = 0.7602499389, 0
    for trial in range(200):
        y = np.arange(200) % 2
        hits += bootstrap("auroc", y, y + rng.normal(size=200), draws=200, seed=trial).lower <= truth
    assert 0.955 <= hits / 200 <= 1.0


def test_harrell_by_default_is_the_jackknife():
    rng = np.random.default_rng(0)
    y, score, patient = sample()
    time = rng.exponential(1, y.size)
    default, jackknife = harrell_c(y, time, score), interval_of("harrell_c", (y, time, score), "jackknife")
    assert default.se == pytest.approx(jackknife.se, rel=1e-12)
    assert harrell_c(y, time, score, patient=patient).se == pytest.approx(
        interval_of("harrell_c", (y, time, score), "jackknife", patient=patient).se, rel=1e-12
    )


def test_every_public_name_can_be_imported():
    import aimed.metrics as metrics

    for name in METRICS:
        assert callable(getattr(metrics, name))
    with pytest.raises(AttributeError):
        metrics.no_such_metric  # noqa: B018


def test_weights_of_rows_are_multiplied_by_the_draws():
    y, score, _ = sample()
    patient = np.arange(y.size)
    w = np.random.default_rng(1).integers(1, 4, y.size).astype(float)
    rows = np.repeat(np.arange(y.size), w.astype(int))
    weighted = bootstrap("auroc", y, score, weights=w, draws=30)
    repeated = bootstrap("auroc", y[rows], score[rows], patient=patient[rows], draws=30)
    assert weighted.replicates == pytest.approx(repeated.replicates, rel=1e-12)
    mapped = interval_of("auroc", {"y": y, "score": score, "weights": w}, "percentile", draws=30)
    assert float(mapped) == pytest.approx(float(weighted), rel=1e-12)
    assert (mapped.lower, mapped.upper) == pytest.approx((weighted.lower, weighted.upper), rel=1e-12)


def test_patients_with_rows_of_both_kinds_are_drawn_without_strata():
    y, score, patient = sample()
    mixed = bootstrap("auroc", y, score, patient=patient, draws=20)
    assert "stratified" not in mixed.method
    assert "stratified" in bootstrap("auroc", y, score, draws=20).method


def test_a_value_that_depends_on_who_is_who_is_drawn_with_its_patients():
    rng = np.random.default_rng(0)
    size = rng.integers(1, 9, 60)
    patient = np.repeat(np.arange(60), size)
    a = rng.normal(size=patient.size) + 0.3 * size[patient]
    b = rng.normal(size=patient.size)
    own = METRICS["bland_altman"](a, b, patient=patient)
    drawn = bootstrap("bland_altman", a, b, patient=patient, draws=200)
    assert drawn.lower < float(own) < drawn.upper
    assert np.mean(drawn.replicates) == pytest.approx(float(own), abs=2 * drawn.se)


def test_no_interval_is_made_from_resamples_that_all_say_the_same():
    perfect = bootstrap("auroc", [0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], draws=50)
    assert (float(perfect), math.isnan(perfect.lower), math.isnan(perfect.upper)) == (1.0, True, True)
    assert "same value" in perfect.note


def test_swaps_do_not_depend_on_the_scale_of_a_rank_score():
    y, a, _ = sample(4, 150)
    b = a + np.random.default_rng(5).normal(size=y.size)
    same = compare("auroc", (y, a), (y, b), "permutation", draws=100)
    other = compare("auroc", (y, 1 / (1 + np.exp(-a))), (y, 1000 * b), "permutation", draws=100)
    assert same.p == other.p


def test_permutation_refuses_when_nobody_can_be_exchanged():
    patient = np.repeat(np.arange(4), [1, 2, 3, 4])
    y = np.arange(10) % 2
    with pytest.raises(NotEstimableError, match="equally many rows"):
        permutation_test("auroc", y, np.arange(10.0), patient=patient, draws=10)
    with pytest.raises(DataError, match="draws"):
        permutation_test("auroc", y, np.arange(10.0), draws=0)


def test_the_jackknife_stays_in_the_range_of_the_metric():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    found = interval_of("auroc", (y, y + 0.45 * rng.normal(size=60)), "jackknife")
    assert 0 < found.lower < float(found) < found.upper < 1


def test_a_function_from_elsewhere_runs_in_one_thread():
    import threading

    names = set()
    bootstrap(lambda x: names.add(threading.current_thread().name) or float(np.mean(x)), np.arange(50.0), draws=64)
    assert len(names) <= 2  # the whole sample, and the draws


def test_what_a_stranger_tried():
    import pandas as pd

    from aimed.metrics.arrays import patient_codes

    y, score, patient = sample()
    frame = pd.DataFrame({"y": y, "score": score, "patient": patient})
    assert interval_of("auroc", frame).se == auroc(y, score, patient=patient).se
    with pytest.raises(DataError, match="no 'score'"):
        interval_of("auroc", {"y": y})
    with pytest.raises(DataError, match="different outcomes"):
        compare("auroc", (y, score), (1 - y, score))
    with pytest.raises(DataError, match="one measure"):
        difference(auroc(y, score), brier(y, 1 / (1 + np.exp(-score))))
    with pytest.raises(DataError, match="one length"):
        bootstrap(lambda a, b: float(np.mean(a)), score, score[:-1], draws=5)
    with pytest.raises(DataError, match="not numbers") as caught:
        auroc(y, ["SECRET"] * y.size)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(DataError, match="masked"):
        auroc(y, np.ma.masked_less(score, 0))
    with pytest.raises(DataError, match="dates"):
        auroc(y, np.datetime64("2020-01-01") + np.arange(y.size))
    with pytest.raises(DataError, match="sum to more than"):
        brier(y, 1 / (1 + np.exp(-score)), weights=np.full(y.size, 1e18))
    strung = bootstrap("auroc", y.astype(str), score, draws=20)
    assert strung.replicates.tobytes() == bootstrap("auroc", y, score, draws=20).replicates.tobytes()
    assert bootstrap("confusion", y, score, 0.5, draws=20).name == "youden"
    assert len(set(patient_codes(np.array([1, "1", 2, 2], dtype=object), 4).tolist())) == 3
    assert patient_codes(np.arange(-128, 128).astype(np.int8), 256).tolist() == list(range(256))
    assert patient_codes(np.array([2**63 + 1, 2**63], dtype=np.uint64), 2).tolist() == [1, 0]
    for bad in (["a", ""], [1.0, np.inf], [None, "b"], [pd.NA, "b"]):
        with pytest.raises(DataError, match="missing in 1 of 2"):
            patient_codes(bad, 2)
