"""Conformal sets: the promise over many draws, patients with several pictures, and what is said without evidence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.calibrate.conformal import ConformalSets, needed
from aimed.core import DataError, UnknownNameError


def drawn(rng, n, share=0.4, gap=1.0):
    """Return risks and answers of independent patients."""
    y = (rng.random(n) < share).astype(float)
    return 1 / (1 + np.exp(-rng.normal(gap * y, 1.0))), y


def holds(sets, risk, value):
    """Return whether the sets hold an answer, before the empty ones are filled."""
    one = sets.findings[0]
    if value == 1:
        return risk >= (-np.inf if one.present_from is None else one.present_from)
    return risk <= (np.inf if one.absent_to is None else one.absent_to)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(3, 40), st.sampled_from([0.05, 0.1, 0.2, 0.3]), st.integers(0, 10**6))
def test_coverage_of_either_class_is_what_was_promised_and_no_more_than_one_rank_above(ones, zeros, alpha, seed):
    # With uniform risks the chance to be covered is known for each limit: the mean over limits needs few draws.
    rng = np.random.default_rng(seed)
    y = np.r_[np.ones(ones), np.zeros(zeros)][:, None]
    present, absent = [], []
    for _ in range(400):
        one = ConformalSets.fit(rng.random(y.shape), y, alpha=alpha).findings[0]
        present.append(1.0 - (one.present_from or 0.0))
        absent.append(1.0 if one.absent_to is None else one.absent_to)
    for chances, m in ((present, ones), (absent, zeros)):
        error = np.std(chances) / np.sqrt(len(chances))
        assert np.mean(chances) > 1 - alpha - 4.5 * error - 1e-9
        if m >= needed(alpha):
            assert np.mean(chances) < 1 - alpha + 1 / (m + 1) + 4.5 * error


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_limits_are_those_of_the_definition_with_ties(rows, alpha):
    risk = np.array([[r / 8] for r, _ in rows])
    y = np.array([[float(a)] for _, a in rows])
    sets = ConformalSets.fit(risk, y, alpha=alpha)
    for at in np.arange(-1.0, 8.0, 0.5) / 8:
        for value, side in ((1, 1.0), (0, -1.0)):
            own = side * risk[y == value]
            kept = (1 + (own <= side * at).sum()) > alpha * (own.size + 1) + 1e-9
            assert bool(holds(sets, np.float64(at), value)) == bool(kept)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=10, max_size=30), st.integers(0, 10**6))
def test_several_rows_of_a_patient_weigh_as_one(rows, seed):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(len(rows)), rows)
    risk = rng.random((patient.size, 1))
    sets = ConformalSets.fit(risk, np.ones_like(risk), patient, alpha=0.2)
    weight = (1 / np.array(rows))[patient]
    for at in rng.random(20):
        kept = 1 + weight[risk[:, 0] <= at].sum() > 0.2 * (len(rows) + 1) + 1e-9
        assert bool(holds(sets, at, 1)) == bool(kept)
    assert sets.findings[0].positives == (patient.size, len(rows))


def test_the_promise_holds_for_a_row_of_a_new_patient_where_pooled_rows_break_it():
    # Patients who are hard to see have one picture, easy ones have twelve.
    rng = np.random.default_rng(7)
    grouped, pooled = [], []
    for _ in range(400):
        hard = rng.random(61) < 0.3
        number = np.where(hard, 1, 12)
        patient = np.repeat(np.arange(61), number)
        risk = rng.normal(np.where(hard, -2.0, 1.0)[patient], 0.3)
        new = patient == 60
        y = np.ones((patient.size, 1))
        for coverage, who in ((grouped, patient[~new]), (pooled, None)):
            sets = ConformalSets.fit(risk[~new, None], y[~new], who, alpha=0.1)
            coverage.append(holds(sets, risk[new], 1).mean())
    assert np.mean(grouped) > 0.9 - 3 * np.std(grouped) / 20
    assert np.mean(pooled) < 0.85


def test_without_enough_patients_an_answer_is_never_left_out():
    rng = np.random.default_rng(0)
    y = np.r_[np.ones(8), np.zeros(60)][:, None]
    risk = rng.random(y.shape)
    sets = ConformalSets.fit(risk, y, alpha=0.1, names=["nodule"])
    assert sets.findings[0].present_from is None
    assert set(sets.transform(rng.random((500, 1))).ravel()) == {"present", "uncertain"}
    more = ConformalSets.fit(np.r_[risk, [[0.5]]], np.r_[y, [[1.0]]], alpha=0.1)
    assert more.findings[0].present_from is not None
    block = sets.evaluate(risk, y)["findings"]["nodule"]
    assert block["state"] == "not enough evidence"
    assert block["coverage"]["positives"]["value"] == 1
    assert "only 8 of the 9 calibration patients with it" in block["sentence"]
    nobody = ConformalSets.fit(risk, np.full_like(y, np.nan), names=["nodule"])
    assert set(nobody.transform(risk).ravel()) == {"uncertain"}
    assert nobody.evaluate(risk, y)["findings"]["nodule"]["coverage"]["negatives"]["value"] == 1


def test_an_empty_set_is_said_to_be_uncertain_and_is_counted():
    rng = np.random.default_rng(1)
    y = (np.arange(400) % 2).astype(float)[:, None]
    risk = np.clip(rng.normal(0.2 + 0.6 * y, 0.05), 0, 1)
    sets = ConformalSets.fit(risk, y, alpha=0.1)
    one = sets.findings[0]
    assert one.absent_to < one.present_from
    middle = [[(one.absent_to + one.present_from) / 2]]
    assert sets.transform(middle).item() == "uncertain"
    block = sets.evaluate(risk, y)["findings"]["0"]
    assert block["empty"] == block["shares"]["uncertain"]["value"] > 0
    # Filled sets hold the truth: coverage is above what the limits alone give.
    assert block["coverage"]["positives"]["value"] > holds(sets, risk[y == 1], 1).mean()


def test_measured_coverage_is_judged_with_the_scatter_of_both_samples():
    rng = np.random.default_rng(5)
    states = []
    for _ in range(150):
        risk, y = drawn(rng, 120)
        sets = ConformalSets.fit(risk[:, None], y[:, None], alpha=0.1)
        risk, y = drawn(rng, 150)
        found = sets.evaluate(risk[:, None], y[:, None], level=0.9)["findings"]["0"]["coverage"]
        states += [side["state"] for side in found.values()]
    assert 0.01 < np.mean([s == "below" for s in states]) < 0.07
    assert set(states) == {"held", "below"}


def test_patients_unlike_those_of_calibration_are_told():
    rng = np.random.default_rng(2)
    risk, y = drawn(rng, 400, gap=2.0)
    sets = ConformalSets.fit(risk[:, None], y[:, None], np.arange(400), alpha=0.1, names=["effusion"])
    risk, y = drawn(rng, 400, gap=0.3)
    block = sets.evaluate(risk[:, None], y[:, None], np.arange(400))
    one = block["findings"]["effusion"]
    assert one["coverage"]["positives"]["state"] == one["state"] == block["state"] == "below"
    assert "Below the promise: effusion" in block["sentence"]
    assert "below the promise" in one["sentence"]
    assert sum(share["value"] for share in one["shares"].values()) == pytest.approx(1)
    assert json.loads(json.dumps(block, allow_nan=False)) == block


def test_sets_come_back_from_their_state_and_can_be_cut():
    rng = np.random.default_rng(3)
    y = (rng.random((90, 3)) < [0.5, 0.3, 0.02]).astype(float)
    risk = rng.random((90, 3))
    sets = ConformalSets.fit(risk, y, np.arange(90) // 2, alpha=0.15, names=["c", "a", "b"])
    state = json.loads(json.dumps(sets.to_state(), allow_nan=False, sort_keys=True))
    assert ConformalSets.from_state(state) == sets
    cut = sets.take(["b", "c"])
    assert (cut.transform(risk[:, [2, 0]]) == sets.transform(risk)[:, [2, 0]]).all()
    with pytest.raises(UnknownNameError):
        sets.take(["d"])
    state["findings"][0]["present_from"] = float("nan")
    with pytest.raises(DataError):
        ConformalSets.from_state(state)


def test_rows_of_unknown_findings_do_not_count():
    rng = np.random.default_rng(4)
    risk, y = rng.random((60, 1)), (rng.random((60, 1)) < 0.5).astype(float)
    more = np.r_[risk, [[np.nan], [0.5]]]
    assert ConformalSets.fit(more, np.r_[y, [[np.nan], [np.nan]]]) == ConformalSets.fit(risk, y)


@pytest.mark.parametrize(
    ("risk", "y", "options"),
    [
        ([[0.2]], [[2.0]], {}),
        ([[np.nan]], [[1.0]], {}),
        ([0.2], [1.0], {}),
        ([[0.2, 0.1]], [[1.0]], {}),
        ([[0.2]], [[1.0]], {"alpha": 0.0}),
        ([[0.2]], [[1.0]], {"alpha": 1.0}),
        ([[0.2]], [[1.0]], {"names": ["a", "b"]}),
        ([[0.2, 0.3]], [[1.0, 0.0]], {"names": ["a", "a"]}),
        ([[0.2]], [[1.0]], {"patient": ["a", "b"]}),
    ],
)
def test_unfit_input_is_refused(risk, y, options):
    with pytest.raises(DataError):
        ConformalSets.fit(risk, y, **options)


def test_a_missing_risk_gets_no_set():
    sets = ConformalSets.fit([[0.2], [0.7]], [[0], [1]])
    for risk in ([[np.nan]], [[0.1, 0.2]], [0.1]):
        with pytest.raises(DataError):
            sets.transform(risk)
