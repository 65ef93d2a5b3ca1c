"""What the evidence of a study of masks does not cover, in sentences."""

import pytest

from aimed.study.limits import _of_regions


def record(patients=22, refused=None, standard=""):
    return {
        "data": {"parts": {"test": {"patients": patients}}, "volumes": {"refused": refused or {}}},
        "outcome": {"reference_standard": standard},
    }


REGIONS = [{"label": "whole tumour", "present": {"test": 80}}, {"label": "core", "present": {"test": 12}}]


def test_few_patients_and_rare_regions_are_named():
    said = " ".join(_of_regions(REGIONS, record()))
    assert "scans of 22 patients; below 50 the intervals of mean Dice tend to be too short" in said
    assert "Fewer than 50 test scans have: core (12)." in said
    assert "refused" not in said


def test_many_patients_have_no_warning():
    said = " ".join(_of_regions(REGIONS[:1], record(patients=120, standard="Two readers.")))
    assert "too short" not in said
    assert "Fewer than" not in said
    assert "Who outlined the reference" not in said
    assert "only the test part is untouched" in said


@pytest.mark.parametrize(("codes", "said"), [({"GEOMETRY": 2, "TRUNCATED": 1}, "3 scans were refused"), ({}, "")])
def test_refused_scans_are_counted(codes, said):
    assert any(s.startswith(said) for s in _of_regions(REGIONS, record(refused=codes)))


def test_a_reference_nobody_signed_is_said():
    assert any(s.startswith("Who outlined the reference") for s in _of_regions(REGIONS, record()))
    assert not any(s.startswith("Who outlined") for s in _of_regions(REGIONS, record(standard="Two readers.")))
