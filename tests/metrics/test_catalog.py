"""The catalogue of measures: every entry loads, is documented and returns a float."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest

from aimed.core.errors import UnknownNameError
from aimed.metrics import METRICS


@pytest.mark.parametrize("name", list(METRICS))
def test_every_measure_returns_a_float(name):
    rng = np.random.default_rng(0)
    n = 300
    risk = rng.uniform(0.1, 0.9, n)
    time = rng.exponential(-1 / np.log1p(-risk))
    known = {
        "y": (time < 1).astype(int),
        "event": time < 2,
        "time": np.minimum(time, 2),
        "risk": risk,
        "score": risk,
        "horizon": 1.0,
        "tau": 1.5,
        "threshold": 0.4,
        "times": np.array([0.5, 1.0]),
        "survival_curves": np.exp(np.outer(np.log1p(-risk), [0.5, 1.0])),
    }
    function = METRICS[name]
    wanted = [p for p in inspect.signature(function).parameters if p != "weights"]
    value = function(**{p: known[p] for p in wanted})
    assert isinstance(value, float)
    assert np.isfinite(value)
    assert METRICS.entry(name).summary.endswith(".")


def test_a_wrong_name_gives_the_nearest():
    with pytest.raises(UnknownNameError, match="'harrell_c'"):
        METRICS["harell_c"]


def test_the_room_is_light_to_import():
    heavy = ("scipy", "sklearn", "polars", "matplotlib")
    code = f"import sys, aimed.metrics; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
