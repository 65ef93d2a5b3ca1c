"""The evaluation with competing events: each measure is that of its own function, on all rows and on drawn ones."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.metrics.calibration_competing import incidence_by
from aimed.metrics.concordance import CauseSpecificReplicates, cause_specific_c
from aimed.metrics.evaluate import evaluate_survival, measures_survival
from aimed.metrics.survival_accuracy import BrierReplicates, brier_incidence, dynamic_auc, integrated_brier_incidence
from aimed.metrics.utility import net_benefit_competing

GRID = np.linspace(1, 20, 20)


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    own, other = 0.02 * np.exp(0.8 * x), 0.03 * np.exp(-0.3 * x)
    when, lost = rng.exponential(1 / (own + other)), rng.exponential(30, n)
    event = np.where(when <= lost, np.where(rng.random(n) < own / (own + other), 1, rng.integers(2, 4, n)), 0)
    incidence = (own / (own + other))[:, None] * (1 - np.exp(-(own + other)[:, None] * GRID))
    return event, np.minimum(when, lost), own, incidence


@pytest.fixture(scope="module")
def block():
    event, time, score, incidence = rows()
    flat = np.tile(incidence.mean(axis=0), (600, 1))
    return evaluate_survival(
        event, time, score=score, survival=1 - incidence, times=GRID, horizons=[10.0, 20.0], draws=100, chosen=0.2,
        competing=True, baselines={"flat": {"score": np.zeros(600), "survival": 1 - flat}},
    )  # fmt: skip


def test_values_are_those_of_the_functions(block):
    event, time, score, incidence = rows()
    found = {name: m["value"] for name, m in block["measures"].items()}
    at10 = incidence[:, 9]
    assert block["kind"] == "competing"
    assert block["events"] == (event == 1).sum()
    assert found["cause_specific_c"] == pytest.approx(float(cause_specific_c(event, time, score, tau=20.0)))
    assert found["ibs"] == pytest.approx(float(integrated_brier_incidence(event, time, incidence, GRID)))
    assert found["auc@10"] == pytest.approx(float(dynamic_auc(event, time, at10, [10.0])))
    assert found["brier@10"] == pytest.approx(float(brier_incidence(event, time, incidence[:, [9]], [10.0])))
    observed = incidence_by(event, time, 10.0)
    assert found["oe@10"] == pytest.approx(observed / at10.mean())
    null = float(brier_incidence(event, time, np.full((600, 1), observed), [10.0]))
    assert found["scaled_brier@10"] == pytest.approx(1 - found["brier@10"] / null)
    benefit = net_benefit_competing(event, time, at10, 10.0, [0.2])
    assert found["net_benefit@10"] == pytest.approx(float(benefit.value[0]))


def test_intervals_hold_the_values_and_a_constant_is_beaten(block):
    for name, measure in block["measures"].items():
        assert measure["lower"] <= measure["value"] + 1e-12, name
        assert measure["value"] <= measure["upper"] + 1e-12, name
    assert block["baselines"]["flat"]["cause_specific_c"]["value"] == 0.5
    assert block["differences"]["flat"]["cause_specific_c"]["lower"] > 0


def test_curves_of_risk_groups_are_incidences(block):
    event, _, _, incidence = rows()
    groups = block["curves"]["risk_groups"]["groups"]
    assert len(groups) == 4
    assert sum(g["events"] for g in groups) == (event == 1).sum()
    for g in groups:
        known = [v for v in g["incidence"] if v is not None]
        assert known == sorted(known)
        assert g["predicted"] == sorted(g["predicted"])
        assert g["predicted"][0] == 0
        assert "survival" not in g
    highest = np.sort(incidence[:, -1])[-150:]
    assert groups[-1]["predicted"][-1] == pytest.approx(highest.mean())


def test_rows_with_another_event_are_non_events_of_the_histogram(block):
    event, time, _, _ = rows()
    bars = block["curves"]["calibration"]["10"]["histogram"]
    counts = [v for key, v in bars.items() if key != "edges"]
    assert sum(counts[0]) + sum(counts[1]) == ((event > 0) | (time > 10)).sum()


def test_all_causes_but_the_first_are_one():
    event, time, score, incidence = rows()
    kwargs = {"score": score, "survival": 1 - incidence, "times": GRID, "horizons": [10.0], "draws": 20}
    names = ["cause_specific_c", "ibs", "oe@10", "calibration_slope@10"]
    one = measures_survival(event, time, names=names, competing=True, **kwargs)
    other = measures_survival(np.minimum(event, 2), time, names=names, competing=True, **kwargs)
    assert one == other


def test_without_other_events_it_is_the_survival_evaluation():
    event, time, score, _ = rows()
    event = np.where(event == 1, 1, 0)
    curves = np.exp(-score[:, None] * GRID)
    kwargs = {"score": score, "survival": curves, "times": GRID, "horizons": [10.0], "draws": 20, "threshold": 0.2}
    shared = ["ibs", "auc@10", "brier@10", "scaled_brier@10", "oe@10", "net_benefit@10"]
    one = measures_survival(event, time, names=[*shared, "cause_specific_c"], competing=True, **kwargs)
    other = measures_survival(event, time, names=[*shared, "uno_c"], **kwargs)
    for name in shared:
        assert one[name]["value"] == pytest.approx(other[name]["value"], abs=1e-12), name
    assert one["cause_specific_c"]["value"] == pytest.approx(other["uno_c"]["value"], abs=1e-12)


def test_replicates_are_the_metric_on_repeated_rows():
    event, time, score, incidence = rows(80, seed=3)
    counts = np.random.default_rng(1).multinomial(80, np.full(80, 1 / 80), size=4).T.astype(np.uint8)
    ranked = CauseSpecificReplicates(event, time, score, 20.0, codes=np.arange(80)).replicate(counts)
    brier = BrierReplicates(event, time, 1 - incidence, GRID, codes=np.arange(80), competing=True).replicate(counts)
    for j in range(4):
        again = np.repeat(np.arange(80), counts[:, j])
        assert ranked[j] == pytest.approx(float(cause_specific_c(event[again], time[again], score[again], tau=20.0)))
        expected = brier_incidence(event[again], time[again], incidence[again], GRID, se=False).value
        np.testing.assert_allclose(brier[j], expected, atol=1e-12)


def test_a_horizon_beyond_follow_up_says_why():
    event, time, score, incidence = rows()
    late = np.r_[GRID, 500.0]
    curves = np.c_[1 - incidence, 1 - incidence[:, -1]]
    found = measures_survival(
        event, time, score=score, survival=curves, times=late, horizons=[500.0], draws=20, competing=True,
        names=["oe@500", "calibration_slope@500", "brier@500"], tau=20.0,
    )  # fmt: skip
    for measure in found.values():
        assert measure["value"] is None
        assert measure["note"]


def test_no_event_of_interest_in_the_rows():
    event, time, score, incidence = rows()
    keep = event != 1
    found = measures_survival(
        event[keep], time[keep], score=score[keep], survival=1 - incidence[keep], times=GRID, horizons=[10.0],
        draws=20, competing=True, names=["cause_specific_c", "oe@10", "brier@10"],
    )  # fmt: skip
    assert found["cause_specific_c"]["value"] is None
    assert found["oe@10"]["value"] == 0
