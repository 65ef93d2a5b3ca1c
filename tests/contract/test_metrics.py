"""Every metric of the catalogue: one shape of answer, the words of the others, and its facts on the reference page."""

from __future__ import annotations

import importlib.util
import inspect
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aimed.core.errors import AimedError, UnknownNameError
from aimed.metrics import METRICS

GENERATE = Path(__file__).parents[2] / "docs" / "generate.py"
ROWS = {
    "y",
    "p",
    "score",
    "event",
    "time",
    "survival",
    "incidence",
    "treated",
    "benefit",
    "policy",
    "group",
    "priority",
}
ROWS |= {"score_a", "score_b", "p_a", "p_b", "p_old", "p_new", "scores", "a", "b", "ratings"}
ROWS |= {"references", "probabilities", "gold", "said"}
MASKS = {"reference", "prediction", "probability"}


def data(seed: int = 0, n: int = 240) -> dict:
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.95, n)
    when, end = rng.exponential(-1 / np.log1p(-p)), rng.uniform(0.2, 3, n)
    kappa = rng.integers(0, 3, n)
    return {
        "y": (rng.random(n) < p).astype(int),
        "p": p,
        "p_a": p,
        "p_b": rng.uniform(0.05, 0.95, n),
        "p_old": rng.uniform(0.05, 0.95, n),
        "p_new": p,
        "score": p,
        "score_a": p,
        "score_b": rng.random(n),
        "event": (when <= end).astype(int),
        "time": np.minimum(when, end),
        "tau": 1.0,
        "horizon": 1.0,
        "times": np.array([0.5, 1.0]),
        "survival": np.exp(np.outer(np.log1p(-p), [0.5, 1.0])),
        "incidence": -np.expm1(np.outer(np.log1p(-p), [0.5, 1.0])),
        "threshold": 0.4,
        "thresholds": np.array([0.2, 0.4]),
        "sensitivity": 0.8,
        "specificity": 0.8,
        "k": 8,
        "n": 20,
        "treated": rng.integers(0, 2, n),
        "benefit": rng.normal(0, 0.1, n),
        "policy": rng.integers(0, 2, n),
        "group": rng.integers(0, 2, n),
        "scores": rng.normal(size=n),
        "priority": rng.normal(size=n),
        "a": kappa,
        "b": np.where(rng.random(n) < 0.7, kappa, rng.integers(0, 3, n)),
        "ratings": rng.integers(0, 3, (n, 3)),
        "gold": kappa - 1,
        "said": np.where(rng.random(n) < 0.7, kappa, rng.integers(0, 3, n)) - 1,
        **masks(seed, n),
    }


def masks(seed: int, n: int) -> dict:
    """One case of two masks, and n small ones with probabilities."""
    rng = np.random.default_rng([seed, 1])
    z, y, x = np.ogrid[:10, :12, :14]
    reference = (z - 4) ** 2 + (y - 5) ** 2 + (x - 6) ** 2 < 14
    prediction = np.roll(reference, 1, axis=2) | (rng.random(reference.shape) < 0.01)
    references = np.zeros((n, 1, 6, 6))
    references[:, 0, 2:4, 2:4] = (rng.random(n) < 0.7)[:, None, None]
    return {
        "reference": reference,
        "prediction": prediction,
        "probability": rng.uniform(0, 0.4, reference.shape) + 0.6 * prediction,
        "spacing": np.array([2.0, 1.0, 0.5]),
        "tolerance": 1.0,
        "references": references,
        "probabilities": 0.5 * rng.random(references.shape) ** 6 + rng.random((n, 1, 1, 1)) * 0.5 * references,
    }


def asked(name: str) -> list[str]:
    parameters = inspect.signature(METRICS[name]).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty]
    return needed + (["tau"] if name == "uno_c" else [])


def call(name: str, known: dict, **more):
    if name.startswith("multilabel"):
        known = known | {k: np.column_stack([known[k], known[k][::-1]]) for k in ("y", "score")}
    function = METRICS[name]
    options = {"draws": 20} if "draws" in inspect.signature(function).parameters else {}
    return function(**{k: known[k] for k in asked(name)}, **options, **more)


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", GENERATE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_its_formula_range_assumptions_refusals_and_source(name, generate):
    function = METRICS[name]
    assert set(generate.aspects(function)) == set(generate.ASPECTS)
    assert len(generate.section(function, "References")) > 10
    assert ">>>" in (inspect.getdoc(function) or "")
    assert METRICS.entry(name).summary.endswith(".")


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_lives_under_its_own_name_and_shares_the_words_of_the_others(name):
    function = METRICS[name]
    assert function.__name__ == name
    words = set(inspect.signature(function).parameters)
    assert not words & {"y_true", "y_score", "y_pred", "sample_weight", "alpha", "confidence", "random_state", "risk"}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_answers_with_value_interval_error_and_n(name):
    found = call(name, data())
    value, lower, upper = (np.asarray(getattr(found, k), dtype=np.float64) for k in ("value", "lower", "upper"))
    assert np.asarray(found.se, dtype=np.float64).shape == value.shape
    assert found.n > 0
    assert np.isfinite(value).any()
    inside = np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper)
    assert (lower[inside] <= value[inside] + 1e-9).all()
    # An interval of a number needed to treat that holds "no effect" runs through infinity; it says so.
    through = name == "number_needed_to_treat" and found.through_infinity
    assert through or (value[inside] <= upper[inside] + 1e-9).all()
    assert inside.any() or getattr(found, "note", "") or name in ("log_rank", "spiegelhalter")
    if value.size == 1:
        assert float(found) == pytest.approx(float(value))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_neither_changes_its_input_nor_depends_on_the_order_of_rows(name):
    known = data()
    before = {k: np.copy(v) for k, v in known.items()}
    first = call(name, known)
    for k, v in before.items():
        assert np.array_equal(v, known[k]), k
    if name == "c_for_benefit" or name == "calibration_for_benefit":
        # Arms of unequal size are thinned at random by row number, as the matching rule says.
        return
    order = np.random.default_rng(1).permutation(known["y"].size)
    mixed = {k: v[order] if k in ROWS else v for k, v in known.items()}
    if name.startswith("multilabel"):
        return
    second = call(name, mixed)
    assert np.asarray(second.value, dtype=np.float64) == pytest.approx(
        np.asarray(first.value, dtype=np.float64), rel=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("name", [n for n in METRICS if n != "proportion"])
def test_a_metric_refuses_a_missing_value_and_does_not_print_it(name):
    known = data()
    rows = [k for k in asked(name) if k in ROWS | MASKS]
    for k in rows:
        if name.startswith("multilabel") and k == "y":
            continue  # There a missing outcome is an unknown label.
        spoiled = np.array(known[k], dtype=np.float64)
        spoiled.flat[0], spoiled.flat[1] = np.nan, 0.123456789
        with pytest.raises(AimedError) as caught:
            call(name, known | {k: spoiled})
        assert "0.1234" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n in METRICS if "weights" in inspect.signature(METRICS[n]).parameters])
def test_duplicated_rows_with_halved_weights_leave_the_value(name):
    if name == "spiegelhalter":
        return  # A test statistic: rows that are there twice count as two rows, whatever they weigh.
    known = data(n=120)
    if isinstance(inspect.signature(METRICS[name]).parameters["weights"].default, str):
        return
    twice = {k: np.concatenate([v, v]) if k in ROWS else v for k, v in known.items()}
    first = np.asarray(call(name, known, weights=np.ones(120)).value, dtype=np.float64)
    second = np.asarray(call(name, twice, weights=np.full(240, 0.5)).value, dtype=np.float64)
    assert second == pytest.approx(first, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", [n for n in METRICS if "patient" in inspect.signature(METRICS[n]).parameters])
def test_copies_of_rows_within_patients_do_not_narrow_the_interval(name):
    """Each row twice, under its own patient, tells no more than each row once."""
    known = data(3)
    if name in ("c_for_benefit", "calibration_for_benefit", "multilabel_auroc", "multilabel_average_precision"):
        return
    twice = {k: np.concatenate([v, v]) if k in ROWS else v for k, v in known.items()}
    patient = np.tile(np.arange(240), 2)
    once = np.asarray(call(name, known, patient=np.arange(240)).se, dtype=np.float64)
    again = np.asarray(call(name, twice, patient=patient).se, dtype=np.float64)
    assert again == pytest.approx(once, rel=0.35 if name in ("ici", "e50", "e90", "calibration") else 0.06, nan_ok=True)


@pytest.mark.parametrize("name", [n for n in METRICS if "patient" in inspect.signature(METRICS[n]).parameters])
def test_a_missing_patient_is_refused(name):
    patient = np.arange(240.0)
    patient[3] = np.nan
    with pytest.raises(AimedError, match="patient is missing in 1 of"):
        call(name, data(), patient=patient)


def test_a_wrong_name_gives_the_nearest():
    with pytest.raises(UnknownNameError, match="'harrell_c'"):
        METRICS["harell_c"]


def test_the_room_is_light_to_import():
    heavy = ("scipy", "numba", "sklearn", "polars", "matplotlib")
    code = f"import sys, aimed.metrics; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_an_attribute_of_the_room():
    import aimed.metrics as room

    for name in [*METRICS, "interval", "bootstrap", "compare", "difference", "permutation_test", "adjust_p_values"]:
        assert callable(getattr(room, name))
        assert name in dir(room)
    assert math.isnan(room.Estimate(1.0, name="one").lower)
