"""Several targets at once: each equals its own metric, and the mean and pool know that rows are shared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from aimed.core.errors import DataError
from aimed.metrics.discrimination import auroc, average_precision
from aimed.metrics.draws import PatientDraws
from aimed.metrics.multilabel import MultilabelAurocReplicates, multilabel_auroc, multilabel_average_precision
from aimed.metrics.result import clustered_variance

SEEDS = st.integers(0, 2**32 - 1)
BOTH = [
    (multilabel_auroc, auroc, peer.roc_auc_score),
    (multilabel_average_precision, average_precision, peer.average_precision_score),
]


def draw(seed, n=50, k=4):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 1))
    y = (shared + rng.normal(size=(n, k)) > 0.5).astype(float)
    y[:2] = [[0], [1]]
    return y, np.round(y + shared + rng.normal(size=(n, k)), 1), rng.integers(0, 20, n), rng


@given(SEEDS)
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize(("many", "one", "other"), BOTH)
def test_targets_mean_and_pool_equal_the_single_metric_and_the_peer(many, one, other, seed):
    y, score, patient, rng = draw(seed)
    found = many(y, score, patient=patient)
    for place, target in enumerate(found.targets):
        alone = one(y[:, place], score[:, place], patient=patient)
        assert (target.value, target.lower, target.se) == (alone.value, alone.lower, alone.se)
    for average in ("macro", "micro"):
        assert getattr(found, average) == pytest.approx(other(y, score, average=average), abs=1e-12)
    y[rng.random(y.shape) < 0.2] = np.nan
    y[:2] = [[0], [1]]
    masked = many(y, score, names=list("abcd"))
    known = ~np.isnan(y)
    for place, name in enumerate("abcd"):
        rows = known[:, place]
        assert masked[name].value == one(y[rows, place], score[rows, place]).value
        assert (masked[name].n, masked[name].influence.shape) == (rows.sum(), (50,))
        assert not masked[name].influence[~rows].any()
    assert masked.micro == pytest.approx(other(y[known], score[known]), abs=1e-12)
    assert masked.macro == pytest.approx(np.mean([t.value for t in masked.targets]))
    assert masked.micro.n == known.sum()


@pytest.mark.parametrize(("many", "one", "other"), BOTH)
def test_targets_with_one_class_are_listed_and_left_out_of_the_mean(many, one, other):
    y, score, _, _ = draw(1)
    y[:, 1] = 1
    y[:, 3] = np.nan
    score[:, 3] = np.nan
    found = many(y, score, names=["a", "b", "c", "d"])
    assert found.skipped == ("b", "d")
    assert math.isnan(found["b"])
    assert found["b"].note == "only one outcome class is present"
    assert found["d"].note == "the target is known in no row"
    assert found.macro == pytest.approx((found["a"] + found["c"]) / 2)
    assert found.macro.note == "2 of 4 targets not estimable: b, d"
    none = many(np.ones((3, 2)), np.ones((3, 2)))
    assert math.isnan(none.macro)
    assert math.isnan(none.micro)
    assert none.micro.note == "only one outcome class is present"


def test_the_errors_of_mean_and_pool_are_those_of_a_bootstrap_of_patients():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(150), 2)
    shared = rng.normal(size=(150, 1))[patient]
    y = (shared + rng.normal(size=(300, 3)) > 0.5).astype(float)
    score = y + shared + rng.normal(size=(300, 3))
    for many, one, _ in BOTH:
        found = many(y, score, patient=patient)
        draws = PatientDraws(patient, 300, draws=400, seed=3)
        macro, micro = [], []
        for w in draws.rows():
            macro.append(np.mean([float(one(y[:, j], score[:, j], w)) for j in range(3)]))
            micro.append(float(one(y.ravel(), score.ravel(), np.repeat(w, 3))))
        assert found.macro.se == pytest.approx(np.std(macro), rel=0.13)
        assert found.micro.se == pytest.approx(np.std(micro), rel=0.13)
        assert found.se > many(y, score).se
        assert found.se**2 == pytest.approx(clustered_variance(found.macro.influence, patient))


def test_the_mean_covers():
    rng = np.random.default_rng(9)

    def rows(rng, n):
        shared = rng.normal(size=(n, 1))
        y = (shared + rng.normal(size=(n, 3)) > 0.5).astype(float)
        return y, y + 0.7 * shared + rng.normal(size=(n, 3))

    truth = float(multilabel_auroc(*rows(rng, 500_000)))
    hits = sum(f.lower <= truth <= f.upper for f in (multilabel_auroc(*rows(rng, 200)) for _ in range(500)))
    assert 0.925 <= hits / 500 <= 0.975


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_replicates_share_draws_and_equal_the_weighted_metric(seed):
    y, score, patient, rng = draw(seed)
    y[rng.random(y.shape) < 0.3] = np.nan
    y[:, 3] = 1
    draws = PatientDraws(patient, 50, draws=4, seed=seed)
    counts = draws.counts(0, 4)
    found = MultilabelAurocReplicates(y, score, codes=draws.codes).replicate(counts)
    assert found.shape == (4, 4)
    for b in range(4):
        for place in range(4):
            rows = ~np.isnan(y[:, place])
            w = counts[draws.codes[rows], b]
            case = y[rows, place] == 1
            if w[case].any() and w[~case].any():
                assert found[b, place] == float(auroc(case, score[rows, place], w))
            else:
                assert math.isnan(found[b, place])


def test_unfit_tables_are_refused():
    for y, score in (
        ([0, 1], [1, 2]),
        ([[0, 1]], [[1, 2, 3]]),
        ([[0, 2]], [[1, 2]]),
        ([[0, 1]], [[1, math.nan]]),
        ([[0, math.inf]], [[1, 2]]),
        (np.empty((0, 2)), np.empty((0, 2))),
    ):
        with pytest.raises(DataError):
            multilabel_auroc(y, score)
    for more in ({"names": ["a"]}, {"names": ["a", "a"]}, {"level": 2}, {"patient": [1, 2]}):
        with pytest.raises(DataError):
            multilabel_auroc([[0, 1]], [[1, 2]], **more)
    with pytest.raises(DataError):
        MultilabelAurocReplicates([[0, 1]], [[1, 2]], codes=np.arange(2))


def test_the_mean_and_the_pool_have_logit_intervals_with_t_over_patients():
    rng = np.random.default_rng(5)
    patient = np.repeat(np.arange(7), 12)
    y = (rng.random((84, 2)) < 0.4).astype(float)
    score = rng.normal(2.5 * y)
    found = multilabel_auroc(y, score, patient=patient)
    quantile = 2.446911851144969 * np.sqrt(7 / 6)
    for part in (found.macro, found.micro):
        centre, half = np.log(part / (1 - part)), quantile * part.se / (part * (1 - part))
        assert part.lower == pytest.approx(1 / (1 + np.exp(half - centre)))
        assert part.upper == pytest.approx(1 / (1 + np.exp(-half - centre)))
