"""Heads on cached features: they equal scikit-learn's, skip unknown labels, and cost the network one pass."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aimed.core import DataError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis import linear_probe  # noqa: E402
from aimed.diagnosis.linear_probe import LinearProbe, cached_features, fit_heads  # noqa: E402
from aimed.metrics.multilabel import multilabel_auroc  # noqa: E402

OPTIONS = {"architecture": "small_cnn", "architecture_options": {"widths": [8, 16, 32]}, "n_jobs": 1}


@pytest.mark.parametrize("penalty", [0.3, 10.0])
def test_heads_equal_those_of_scikit_learn(penalty):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 6)) * [1, 5, 0.1, 1, 1, 2] + [0, 3, 1, 0, -2, 100]).astype(np.float32)
    y = (rng.random((400, 3)) < 1 / (1 + np.exp(-(x[:, :3] - x[:, :3].mean(0)) / x[:, :3].std(0)))).astype(np.float32)
    y[rng.random(y.shape) < 0.2] = np.nan
    heads = fit_heads(x, y, penalty)
    center, scale = x.mean(axis=0, dtype=float), x.std(axis=0, dtype=float)
    for j in range(3):
        known = ~np.isnan(y[:, j])
        model = LogisticRegression(C=1 / penalty, tol=1e-8).fit(((x - center) / scale)[known], y[known, j])
        np.testing.assert_allclose(heads.weight[j] * scale, model.coef_[0], atol=3e-3)
        np.testing.assert_allclose(heads(x)[:, j], model.decision_function((x - center) / scale), atol=1e-2)


def test_constant_features_do_no_harm():
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = (x[:, :1] > 0).astype(np.float32)
    flat = np.column_stack((x, np.full(60, 1e4, dtype=np.float32)))
    np.testing.assert_allclose(fit_heads(flat, y)(flat), fit_heads(x, y)(x), atol=1e-2)
    flat[3, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        fit_heads(flat, y)


def test_a_probe_learns_is_cached_and_becomes_a_classifier(chests, tmp_path, monkeypatch):
    pictures, labels, patient = chests(240, 32)
    others, truth, _ = chests(120, 32, seed=1)
    probe = LinearProbe(**OPTIONS, cache=tmp_path).fit(pictures, labels, patient, names=["a", "b", "c"])
    assert multilabel_auroc(truth, probe.predict_proba(others)).targets[2].value > 0.85
    whole = probe.classifier_
    np.testing.assert_allclose(whole.predict_proba(others), probe.predict_proba(others), atol=1e-4)
    back = type(whole).from_state(whole.to_state(), whole.weights())
    np.testing.assert_array_equal(back.predict_proba(others), whole.predict_proba(others))
    assert len(list(tmp_path.iterdir())) == 2, "one file for each set of pictures"
    monkeypatch.setattr(type(whole), "_each", None)
    again = LinearProbe(**OPTIONS, cache=tmp_path).fit(pictures, labels, patient)
    np.testing.assert_array_equal(again.predict_proba(others), probe.predict_proba(others))
    assert again.penalty_ == probe.penalty_ in linear_probe._PENALTIES


def test_the_cache_knows_weights_and_pictures_apart(chests, tmp_path):
    pictures, labels, patient = chests(60, 32)
    found = []
    for seed, shown in ((0, pictures), (1, pictures), (0, 255 - pictures)):
        model = LinearProbe(**OPTIONS, random_state=seed, penalty=10.0).fit(shown, labels, patient).classifier_
        found.append(cached_features(model, shown, tmp_path))
    assert len(list(tmp_path.iterdir())) == 3
    assert isinstance(found[0].base, np.memmap) or isinstance(found[0], np.memmap)
    np.testing.assert_array_equal(found[2], model.features(255 - pictures))


@pytest.mark.slow
def test_fourteen_heads_in_seconds():
    import time

    rng = np.random.default_rng(0)
    x = rng.normal(size=(10_000, 1024)).astype(np.float32)
    y = (x[:, :14] + rng.normal(size=(10_000, 14)) > 1.5).astype(np.float32)
    start = time.process_time()
    heads = fit_heads(x, y, 100.0)
    assert time.process_time() - start < 40
    assert multilabel_auroc(y, heads(x)).macro > 0.8
