"""Neural survival models: losses by brute force, Cox as a special case, curves, storage without torch, bad input."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import DataError, NotEstimableError, StudyFileError
from aimed.metrics import aalen_johansen, kaplan_meier
from aimed.prognosis.cox import CoxPH
from aimed.prognosis.deep_survival import _tune_rows
from aimed.prognosis.deephit import DeepHit
from aimed.prognosis.deepsurv import DeepSurv
from aimed.prognosis.dense_layers import DenseLayers
from aimed.prognosis.logistic_hazard import LogisticHazard

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.prognosis.survival_losses import (  # noqa: E402
    cox_loss,
    deephit_loss,
    dense_network,
    hazard_loss,
    layers_of,
)

QUICK = {"max_epochs": 12, "n_estimators": 2, "n_iter_no_change": 12, "random_state": 0}
NO_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "lightning_fabric", "safetensors"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
"""
INTERVALS = (LogisticHazard, DeepHit)
MODELS = (DeepSurv, *INTERVALS)


def sample(n=300, kinds=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal([50.0, 0.0, 3.0], [10.0, 1.0, 0.1], size=(n, 3))
    signal = (X[:, 0] - 50.0) / 10.0
    signs = np.array([1.0, -1.0, 0.5])[:kinds]
    times = rng.exponential(10.0 * np.exp(-signal[:, None] * signs))
    lost = rng.exponential(15.0, n)
    first = np.minimum(times.min(axis=1), lost)
    codes = np.where(times.min(axis=1) <= lost, 1 + times.argmin(axis=1), 0)
    y = np.empty(n, dtype=[("event", bool if kinds == 1 else int), ("time", float)])
    y["event"], y["time"] = codes, np.ceil(4.0 * first) / 4.0
    return X, y


def fit(kind, X, y, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**{**QUICK, **changes}).fit(X, y)


def slopes(function, at, step=1e-6):
    out = np.empty(at.shape)
    for place in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        out[place] = (function(up) - function(down)) / (2 * step)
    return out


def agrees(loss, brute, start):
    """Compare a loss and its gradient with a slow function of the same numbers."""
    given = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    found = loss(given)
    np.testing.assert_allclose(found.item(), brute(start), rtol=1e-10)
    found.backward()
    np.testing.assert_allclose(given.grad, slopes(brute, start), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_loss_by_hand(ties):
    rng = np.random.default_rng(0)
    time, event = rng.integers(0, 6, 25), rng.random(25) < 0.7

    def brute(score):
        total = 0.0
        for t in np.unique(time[event]):
            dying, risk = np.flatnonzero((time == t) & event), np.exp(score[time >= t]).sum()
            for rank, row in enumerate(dying):
                less = rank / dying.size * np.exp(score[dying]).sum() if ties == "efron" else 0.0
                total += np.log(risk - less) - score[row]
        return total / event.sum()

    args = torch.tensor(time), torch.tensor(event)
    agrees(lambda s: cox_loss(s, *args, ties), brute, rng.normal(size=25))
    score = torch.tensor([80.0, -80.0, 0.0], requires_grad=True)
    cox_loss(score, torch.tensor([1, 1, 2]), torch.tensor([True, True, False]), ties).backward()
    assert torch.isfinite(score.grad).all()
    none = cox_loss(score, torch.tensor([1, 1, 2]), torch.zeros(3, dtype=bool), ties)
    assert none.item() == 0.0
    assert none.requires_grad


def drawn(kinds, n=12, m=4, seed=1):
    rng = np.random.default_rng(seed)
    place, cause = rng.integers(0, m, n), rng.integers(0, kinds + 1, n)
    passed = (np.arange(m) <= place[:, None]).astype(float)
    censored = cause == 0
    passed[censored, place[censored]] = rng.choice([0.0, 0.3, 1.0], censored.sum())
    return rng, passed, place, cause


@pytest.mark.parametrize("kinds", [1, 2])
def test_hazard_loss_by_hand(kinds):
    rng, passed, place, cause = drawn(kinds)

    def brute(logits):
        odds = np.exp(logits)
        none = 1.0 / (1.0 + odds.sum(axis=2))
        total = 0.0
        for i, k in enumerate(cause):
            whole = place[i] if k else passed.shape[1]
            total -= sum(passed[i, j] * np.log(none[i, j]) for j in range(whole))
            total -= np.log(odds[i, place[i], k - 1] * none[i, place[i]]) if k else 0.0
        return total / cause.size

    args = torch.tensor(passed), torch.tensor(place), torch.tensor(cause)
    agrees(lambda v: hazard_loss(v, *args), brute, rng.normal(size=(12, 4, kinds)))


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("kinds", [1, 2])
def test_deephit_loss_by_hand(kinds, alpha):
    rng, passed, place, cause = drawn(kinds)
    time, sigma = place * 2 + rng.integers(0, 2, 12), 0.4

    def brute(logits):
        chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        mass = chance[:, :-1].reshape(12, 4, kinds)
        alive = np.concatenate((np.ones((12, 1)), 1.0 - np.cumsum(mass.sum(axis=2), axis=1)), axis=1)
        total = 0.0
        for i, k in enumerate(cause):
            if k:
                total -= np.log(mass[i, place[i], k - 1])
            else:
                total -= sum(s * np.log(alive[i, j + 1] / alive[i, j]) for j, s in enumerate(passed[i]))
        pairs = 0.0
        for i, j in itertools.product(range(12), repeat=2):
            later = time[i] < time[j] or (time[i] == time[j] and not cause[j])
            if cause[i] and later:
                own, other = (mass[r, : place[i] + 1, cause[i] - 1].sum() for r in (i, j))
                pairs += np.exp(-(own - other) / sigma)
        return alpha * total / 12 + (1 - alpha) * pairs / 144

    args = *(torch.tensor(v) for v in (passed, place, cause, time)), kinds, alpha, sigma
    agrees(lambda v: deephit_loss(v, *args), brute, rng.normal(size=(12, 4 * kinds + 1)))


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_without_hidden_layers_it_is_cox(ties):
    X, y = sample()
    plain = CoxPH(ties=ties).fit(X, y)
    same = fit(
        DeepSurv, X, y, ties=ties, hidden_layer_sizes=(), early_stopping=False, weight_decay=0.0, batch_size=len(y),
        max_epochs=250, n_estimators=1, learning_rate=0.02, optimizer="adam",
    )  # fmt: skip
    layer = same.layers_[0]
    np.testing.assert_allclose(layer.weights[0][0] / layer.scale, plain.coef_, rtol=0.01)
    times = np.array([0.0, 1.0, 5.0, 20.0, 1e9])
    np.testing.assert_allclose(
        same.predict_survival_function(X, times), plain.predict_survival_function(X, times), atol=0.002
    )
    assert abs(same.score(X, y) - plain.score(X, y)) < 1e-3


def test_an_untrained_network_predicts_what_was_observed():
    X, y = sample(2000)
    blank = fit(LogisticHazard, X, y, learning_rate=1e-9, max_epochs=1)
    times = blank.unique_times_
    np.testing.assert_allclose(
        blank.predict_survival_function(X[:1], times)[0], kaplan_meier(y["event"], y["time"]).at(times), atol=0.02
    )
    X, y = sample(2000, kinds=2)
    for kind in INTERVALS:
        blank = fit(kind, X, y, learning_rate=1e-9, max_epochs=1)
        times = blank.unique_times_
        expected = aalen_johansen(y["event"], y["time"]).at(times)
        np.testing.assert_allclose(blank.predict_cumulative_incidence(X[:1], times)[0], expected, atol=0.02)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_arrays_predict_what_the_network_does(batch_norm):
    torch.manual_seed(0)
    net = dense_network(3, [8, 5], 0.2, batch_norm, np.vander(np.arange(4.0), 2), np.arange(4.0))
    for part in net.parameters():
        torch.nn.init.normal_(part)
    X = np.random.default_rng(0).normal(size=(50, 3))
    net.train()
    net(torch.from_numpy(X).float())
    net.eval()
    layers = layers_of(net, np.zeros(3), np.ones(3))
    with torch.no_grad():
        expected = net.double()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(layers(X), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(layers(X[7:8]), layers(X)[7:8])
    again = DenseLayers.from_state(json.loads(json.dumps(layers.to_state())))
    np.testing.assert_array_equal(again(X), layers(X))


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("kind", INTERVALS)
def test_curves_never_rise_and_chances_add_up(kind, kinds):
    X, y = sample(kinds=kinds)
    model = fit(kind, X, y)
    times = np.array([0.0, 0.3, *model.unique_times_, 1e6])
    times = np.sort(np.concatenate((times, model.unique_times_ * 0.9)))
    survival = model.predict_survival_function(X, times)
    incidence = model.predict_cumulative_incidence(X, times)
    assert incidence.shape == (len(X), times.size, kinds)
    assert (survival[:, 0] == 1).all()
    assert (np.diff(survival, axis=1) <= 0).all()
    assert (np.diff(incidence, axis=1) >= -1e-15).all()
    np.testing.assert_allclose(survival + incidence.sum(axis=2), 1.0, atol=1e-9)
    np.testing.assert_array_equal(model.predict_cumulative_incidence(X, times, cause=1), incidence[:, :, 0])
    assert ((model.predict(X) >= 0) & (model.predict(X) <= 1)).all()
    assert model.score(X, y) > 0.6
    functions = model.predict_survival_function(X[:3])
    np.testing.assert_allclose([f(times) for f in functions], survival[:3], rtol=1e-12)
    # Cause 2 works against column 0.
    for k in range(1, kinds + 1):
        assert np.corrcoef(X[:, 0], model.predict(X, k))[0, 1] * (1.5 - k) > 0.2


def test_effects_that_may_not_change_over_time():
    X, y = sample()
    fixed, moving = (fit(LogisticHazard, X, y, time_degree=d, n_estimators=1) for d in (0, 1))
    for model, same in ((fixed, True), (moving, False)):
        out = model.layers_[0](X)
        shift = out - out[:1]
        assert np.allclose(shift, shift[:, :1], atol=1e-5) == same
    free = fit(LogisticHazard, X, y, time_degree=None, n_estimators=1)
    assert (
        np.linalg.matrix_rank(free.layers_[0].weights[-1]) > 2 >= np.linalg.matrix_rank(moving.layers_[0].weights[-1])
    )


@pytest.mark.parametrize("kind", MODELS)
def test_same_seed_same_bits_whatever_the_threads(kind):
    X, y = sample()
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(fit(kind, X, y, batch_norm=True).predict(X))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    assert (fit(kind, X, y, random_state=1).predict(X) != found[0]).any()


@pytest.mark.parametrize("kind", MODELS)
def test_saved_and_loaded_without_torch(kind, tmp_path):
    X, y = sample(kinds=1 if kind is DeepSurv else 2)
    model = fit(kind, X, y, hidden_layer_sizes=(6, 4))
    state = json.dumps(model.to_state(), allow_nan=False)
    (tmp_path / "state.json").write_text(state)
    np.save(tmp_path / "x.npy", X)
    code = f"""{NO_TORCH}
import json
import numpy as np
from {kind.__module__} import {kind.__name__}
model = {kind.__name__}.from_state(json.load(open("state.json")))
X = np.load("x.npy")
np.savez("out.npz", score=model.predict(X), curves=model.predict_survival_function(X, [0.5, 3.0, 50.0]))
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    out = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(out["score"], model.predict(X))
    np.testing.assert_array_equal(out["curves"], model.predict_survival_function(X, [0.5, 3.0, 50.0]))
    again = kind.from_state(json.loads(state))
    assert again.history_ == model.history_
    assert clone(again).get_params().keys() == model.get_params().keys()
    broken = json.loads(state)
    broken["layers"][0]["offsets"] = broken["layers"][0]["offsets"][:-1]
    with pytest.raises(DataError, match="do not fit together"):
        kind.from_state(broken)


def test_training_without_torch_says_what_to_type():
    code = f"""{NO_TORCH}
import numpy as np
from aimed.prognosis.deepsurv import DeepSurv
y = np.array([(True, float(t)) for t in range(20)], dtype=[("event", bool), ("time", float)])
DeepSurv().fit(np.random.default_rng(0).normal(size=(20, 2)), y)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr
    assert "pip install 'aimed[deep]'" in done.stderr


def test_patients_are_kept_together():
    patient = np.repeat(np.arange(60), 5)
    codes = (np.arange(300) % 7 == 0) * (1 + (patient % 2))
    tune = np.isin(np.arange(300), _tune_rows(patient, codes, 0.25, 3))
    assert 0.15 < tune.mean() < 0.35
    assert not set(patient[tune]) & set(patient[~tune])
    assert set(codes[tune]) == set(codes[~tune]) == {0, 1, 2}
    with pytest.raises(NotEstimableError, match="without any event"):
        _tune_rows(np.arange(40), (np.arange(40) == 3).astype(int), 0.2, 0)


@pytest.mark.filterwarnings("ignore:the network still improved")
def test_history_and_progress_and_checkpoints(tmp_path):
    X, y = sample()
    told = []
    first = DeepSurv(**QUICK).fit(X, y, checkpoint=tmp_path, progress=lambda share, text: told.append((share, text)))
    assert [s for s, _ in told] == sorted(s for s, _ in told)
    assert told[-1][0] == 1.0
    assert told[-1][1].startswith("network 2 of 2")
    assert len(first.history_) == 2
    for one in first.history_:
        assert one["train_rows"] + one["tune_rows"] == len(y)
        assert one["tune_rows"] == pytest.approx(0.2 * len(y), abs=2)
        assert one["learning_rate"] == first.learning_rate
        assert len(one["train_loss"]) == len(one["tune_loss"])
        assert one["best_epoch"] == 1 + int(np.argmin(one["tune_loss"]))
        assert one["train_loss"][-1] < one["train_loss"][0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network_1", "network_2"]
    again = DeepSurv(**QUICK).fit(X, y, checkpoint=tmp_path)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))


@pytest.mark.parametrize("kind", MODELS)
def test_learning_curves_are_kept_and_older_states_still_load(kind):
    X, y = sample(kinds=1 if kind is DeepSurv else 2)
    model = fit(kind, X, y, early_stopping=False)
    assert [(one["tune_loss"], one["tune_rows"], one["train_rows"]) for one in model.history_] == [([], 0, len(y))] * 2
    state = json.loads(json.dumps(model.to_state(), allow_nan=False))
    assert kind.from_state(state).history_ == model.history_
    older = [{k: one[k] for k in ("train_loss", "tune_loss", "best_epoch", "stopped_early")} for one in model.history_]
    again = kind.from_state({**state, "history": older})
    assert again.history_ == older
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("kind", MODELS)
def test_bad_input(kind):
    X, y = sample(80)
    for values, match in ((np.where(X[0, 1] == X, np.nan, X), "x1"), (X[:, :0], "no columns"), (X[:-1], "79 rows")):
        with pytest.raises(DataError, match=match):
            kind(**QUICK).fit(values, y)
    late = y.copy()
    late["event"][:] = False
    with pytest.raises(NotEstimableError, match="event"):
        kind(**QUICK).fit(X, late)
    late["event"][:5] = True
    with pytest.raises(NotEstimableError, match="5 events, too few"):
        kind(**QUICK).fit(X, late)
    assert np.isfinite(fit(kind, X, late, early_stopping=False).predict(X)).all()
    odd = y.copy()
    odd["time"][0] = -1.0
    with pytest.raises(DataError, match="1 of 80 times"):
        kind(**QUICK).fit(X, odd)
    for changes, match in (
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"dropout": 1.0}, "dropout"),
        ({"validation_fraction": 0.0}, "validation_fraction"),
        ({"batch_size": 2}, "batch_size"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ):
        with pytest.raises(StudyFileError, match=match):
            kind(**{**QUICK, **changes}).fit(X, y)
    flat = np.column_stack((X, np.full(80, 7.0), X[:, 0] * 1e8))
    tied = y.copy()
    tied["time"] = np.where(np.arange(80) % 4 == 0, 0.0, 3.0)
    assert np.isfinite(fit(kind, flat, tied).predict(flat)).all()


def test_codes_that_are_not_declared():
    X, y = sample(kinds=2)
    with pytest.raises(DataError, match="not declared"):
        DeepHit(causes=1).fit(X, y)
    with pytest.raises(DataError, match="not declared"):
        DeepSurv().fit(X, y)
    with pytest.raises(StudyFileError, match="cause = 3"):
        fit(DeepHit, X, y).predict(X, cause=3)
    with pytest.raises(StudyFileError, match="time_degree"):
        DeepHit(time_degree=0).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_no_worse_than_cox_on_small_tables(kind):
    datasets = pytest.importorskip("sksurv.datasets", reason="scikit-survival is not installed")
    from sklearn.model_selection import StratifiedKFold

    X, y = datasets.load_whas500()
    X, event = X.astype(float).to_numpy(), y["fstat"]
    own, cox = [], []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, event):
        own.append(kind(random_state=0).fit(X[train], y[train]).score(X[test], y[test]))
        cox.append(CoxPH().fit(X[train], y[train]).score(X[test], y[test]))
    assert np.mean(own) > np.mean(cox) - 0.015
