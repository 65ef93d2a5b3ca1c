"""Units: wrong ones named with their factor, implausible values counted, codes for missing found."""

import numpy as np
import pytest

from aimed.checks.context import Context
from aimed.checks.units import check, default_range
from aimed.core import Cohort, Variable


def one(values, **kwargs):
    values = np.asarray(values, dtype=float)
    name = kwargs.setdefault("name", "x")
    return check(
        Context(Cohort(patient=np.arange(values.size), variables=[Variable(**kwargs)], columns={name: values}))
    )


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "unit", "values", "looks", "factor"),
    [
        ("creatinine", "mg/dL", RNG.normal(85, 15, 500), "umol/L", 88.4),
        ("glucose", "mg/dL", RNG.uniform(3.5, 4.9, 500), "mmol/L", 1 / 18.02),
        ("glucose", "mmol/L", RNG.normal(160, 5, 500), "mg/dL", 18.02),
        ("totChol", "mmol/L", RNG.normal(220, 20, 500), "mg/dL", 38.67),
        ("height", "cm", RNG.normal(1.7, 0.08, 500), "m", 0.01),
        ("height", "m", RNG.normal(67, 3, 500), "cm or in, off by a factor of 100 or 39.37", None),
        ("temperature", "Cel", RNG.normal(98.6, 1, 500), "degrees Fahrenheit", None),
        ("body temp", "[degF]", RNG.normal(37, 0.6, 500), "degrees Celsius", None),
        ("hemoglobin", "g/dL", RNG.normal(135, 12, 500), "g/L", 10.0),
        ("weight", "kg", RNG.normal(70_000, 9000, 500), "g", 1000.0),
        ("sysBP", "mmHg", RNG.normal(17, 1, 500), "kPa", 0.133322),
    ],
)
def test_a_wrong_unit_stops_and_is_named(name, unit, values, looks, factor):
    (stop,) = one(values, name=name, unit=unit)
    assert stop.severity.value == "STOP"
    assert f"they look like {looks}" in stop.message
    assert stop.evidence["factor"] == (None if factor is None else pytest.approx(factor))


def test_pounds_are_told_from_kilograms_by_a_declared_range():
    (stop,) = one(RNG.normal(190, 10, 300), name="weight", unit="kg", plausible=(30, 150))
    assert "they look like lb, off by a factor of 2.205" in stop.message


def test_a_power_of_ten_is_guessed_for_an_unknown_quantity():
    (stop,) = one(RNG.normal(1500, 10, 300), name="marker", plausible=(10, 20))
    assert stop.evidence["factor"] == 100
    (blind,) = one(RNG.normal(1500, 1, 300), name="marker", plausible=(10, 14))
    assert blind.evidence["factor"] is None


@pytest.mark.parametrize(("bad", "severity"), [(1, "WARN"), (20, "WARN"), (21, "STOP")])
def test_more_than_a_fifth_outside_stops(bad, severity):
    (finding,) = one(np.r_[np.full(bad, 500.0), np.linspace(20, 80, 100 - bad)], plausible=(0, 120))
    assert (finding.severity.value, finding.evidence["outside"], finding.evidence["n"]) == (severity, bad, 100)


def test_negative_values_are_counted():
    (warn,) = one([-3.5, -2.5, *range(10, 90)], plausible=(0, 100))
    assert warn.message.endswith("lie outside its plausible range; 2 of them are negative.")


def test_without_range_or_unit_nothing_is_implausible():
    assert one([70.0, 95.0], name="creatinine") == []
    assert one([70.0, 95.0], name="creatinine", unit="furlong") == []
    assert default_range(Variable(name="crp", unit="mg/L")) is None


@pytest.mark.parametrize("code", [-9, -99, 99, 999, 9999, 888])
def test_a_heap_at_a_code_for_missing_warns(code):
    values = np.r_[np.full(8, code), RNG.integers(0, 40, 500)]
    (warn,) = one(values)
    assert warn.evidence == {"count": 8, "n": 508, "code": float(code)}
    assert str(code) not in warn.message.replace("8 of 508", "")


def test_two_codes_are_both_found():
    values = np.r_[np.full(8, -9), np.full(9, 999), RNG.integers(0, 40, 500)]
    assert {f.evidence["code"] for f in one(values)} == {-9.0, 999.0}


def test_nine_among_yes_and_no_is_a_code():
    assert one(np.r_[np.full(6, 9), RNG.integers(0, 2, 300)])[0].evidence["code"] == 9


@pytest.mark.parametrize(
    "values",
    [
        np.r_[np.full(6, 99), RNG.integers(60, 99, 500)],
        np.r_[np.full(8, 9), RNG.integers(0, 9, 500)],
        np.r_[np.full(8, -9), RNG.integers(-20, 20, 500)],
        np.r_[np.full(3, 999), RNG.integers(0, 40, 500)],
        RNG.normal(size=500),
    ],
)
def test_ordinary_extremes_are_no_codes(values):
    assert one(values) == []


def test_a_table_without_values_is_silent():
    assert one([np.nan, np.nan], plausible=(0, 1)) == []
