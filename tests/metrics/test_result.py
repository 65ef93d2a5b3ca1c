"""Numbers with intervals: coverage is checked everywhere, p values hold far out, and parts speak for the whole."""

from __future__ import annotations

import importlib.util
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from aimed.core.errors import DataError
from aimed.metrics import METRICS
from aimed.metrics.discrimination import auroc_test
from aimed.metrics.reclassification import idi
from aimed.metrics.result import (
    Curve,
    Estimate,
    Headline,
    clustered_covariance,
    clustered_variance,
    notes,
    or_missing,
    two_sided_p,
    with_interval,
)

CONTRACT = Path(__file__).parents[1] / "contract" / "test_metrics.py"


@pytest.fixture(scope="module")
def contract():
    spec = importlib.util.spec_from_file_location("contract_of_metrics", CONTRACT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [n for n in METRICS if "level" in inspect.signature(METRICS[n]).parameters])
@pytest.mark.parametrize("level", [0.0, 1.0, 1.5, -0.2, math.nan])
def test_a_level_outside_0_to_1_is_refused_by_every_metric(name, level, contract):
    with pytest.raises(DataError, match="level lies outside"):
        contract.call(name, contract.data(n=60), level=level)


def test_a_p_is_that_of_the_normal_and_does_not_vanish_far_out():
    for z in (0.0, 0.3, 1.96, 9.0, 30.0):
        assert two_sided_p(-z, 1.0) == pytest.approx(2 * norm.sf(z), rel=1e-12)
    assert two_sided_p(9.0, 1.0) > 0
    assert math.isnan(two_sided_p(1.0, 0.0))
    assert math.isnan(two_sided_p(1.0, math.nan))


def test_the_covariance_over_patients_has_the_variances_on_its_diagonal():
    rng = np.random.default_rng(0)
    influence, patient = rng.normal(size=(50, 3)), rng.integers(0, 12, 50)
    found = clustered_covariance(influence, patient)
    for k in range(3):
        assert found[k, k] == pytest.approx(clustered_variance(influence[:, k], patient))
    both = clustered_variance(influence[:, 0] + influence[:, 1], patient)
    assert both == pytest.approx(found[0, 0] + found[1, 1] + 2 * found[0, 1])


def test_no_spread_means_no_interval_and_says_why():
    found = with_interval(1.0, 0.0, why="all alike", note="few rows", name="share", scale="logit", bounds=(0, 1))
    assert math.isnan(found.lower)
    assert found.note == "few rows; no interval: all alike"
    assert with_interval(0.5, 0.01, why="", name="share").upper == pytest.approx(0.5 + 1.959964 * 0.1)


def test_the_headline_speaks_for_the_whole():
    rng = np.random.default_rng(1)
    y, a, b = rng.integers(0, 2, 80), rng.random(80), rng.random(80)
    test = auroc_test(y, a, b)
    assert isinstance(test, Headline)
    assert test.headline is test.difference
    for name in ("value", "lower", "upper", "se", "n", "p"):
        assert getattr(test, name) == getattr(test.difference, name)
    total = idi(y, a, b)
    assert (total.name, total.events, total.level) == ("idi", int(y.sum()), 0.95)
    assert math.isnan(total.p)
    assert float(total) == total.event.value + total.nonevent.value


def test_a_curve_is_cut_to_its_scale_and_keeps_its_kind():
    class Mine(Curve):
        """A kind of curve."""

    x = np.array([0.1, 0.5])
    found = Mine.normal(x, np.array([0.2, 0.1]), bounds=(0, 1), level=0.8, name="share", axis="time", x=x, n=3)
    assert isinstance(found, Mine)
    assert found.lower[0] == 0
    assert found.upper[1] == pytest.approx(0.5 + 1.2815516 * 0.1)
    with pytest.raises(DataError, match="level"):
        Curve(name="share", axis="time", x=x, value=x, lower=x, upper=x, se=x, n=2, level=95)


def test_what_is_said_twice_is_said_once_and_other_errors_pass():
    assert notes("", "a", "b", "a") == "a; b"

    def broken() -> Estimate:
        raise DataError("a shape", "another")

    with pytest.raises(DataError):
        or_missing("share", broken)
