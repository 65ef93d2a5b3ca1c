from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from aimed.treatment.effects_model import EffectsModel


def made(mean, effect, lower, upper, scale="risk_difference"):
    """A model whose mean, effect and limits are those given, whatever the row."""
    learner = SimpleNamespace(
        effect=lambda Z: np.full(len(Z), effect),
        effect_interval=lambda Z, alpha: (np.full(len(Z), lower), np.full(len(Z), upper)),
    )
    baseline = DummyRegressor(strategy="constant", constant=mean).fit([[0.0]], [mean])
    preparation = SimpleNamespace(transform=lambda X: X, variables=())
    return EffectsModel(
        "dr_learner",
        "",
        preparation,
        learner,
        baseline,
        scale=scale,
        better="lower",
        horizon=None,
        unit="",
        average={},
        policy={},
    )


@pytest.mark.parametrize(
    ("mean", "effect", "lower", "upper"),
    [
        (0.3, -0.1, -0.2, 0.0),
        (0.02, -0.1, -0.2, 0.0),
        (0.02, -0.1, -0.15, -0.06),
        (0.02, 0.1, 0.06, 0.15),
        (0.98, 0.3, 0.2, 0.4),
        (0.5, -1.4, -1.9, -0.8),
        (0.0, 0.1, -0.1, 0.3),
    ],
)
def test_an_interval_holds_its_effect_and_is_never_a_point(mean, effect, lower, upper):
    model = made(mean, effect, lower, upper)
    X = np.zeros((1, 1))
    value, (low, high), (control, active) = model.effect(X)[0], model.effect_interval(X), model.outcomes(X)[0]
    assert -1 <= low[0] <= value <= high[0] <= 1
    assert high[0] > low[0]
    assert active - control == pytest.approx(value)
    assert 0 <= min(control, active) <= max(control, active) <= 1


def test_effects_that_are_no_risks_are_left_alone():
    model = made(3.0, -8.0, -9.0, -7.0, "mean_difference")
    assert model.effect(np.zeros((1, 1))).tolist() == [-8.0]
    assert model.outcomes(np.zeros((1, 1))).tolist() == [[7.0, -1.0]]
    assert [float(v[0]) for v in model.effect_interval(np.zeros((1, 1)))] == [-9.0, -7.0]
