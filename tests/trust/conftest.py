"""A small but complete results record, with names that try to break out of Markdown and YAML."""

import copy
import importlib.util
from pathlib import Path

import pytest


def measure(name, value, lower=None, upper=None, n=200, events=60, **more):
    return {
        "name": name,
        "value": value,
        "lower": lower,
        "upper": upper,
        "n": n,
        "events": events,
        "level": 0.95,
        "method": "bootstrap",
        "group": None,
        "against": None,
        "note": "",
        **more,
    }


@pytest.fixture(scope="session")
def make_measure():
    return measure


@pytest.fixture
def results():
    digest = "ab" * 32
    return {
        "schema": 1,
        "aimed_version": "0.1.0",
        "created": "2026-11-21T05:00:00+00:00",
        "task": "risk",
        "study": {
            "id": "demo",
            "title": 'Death | "after" <script>alert(1)</script> infarction',
            "intended_use": "Support: planning",
            "intended_users": ["cardiologists"],
            "not_for": ["children", "- triage"],
            "population": "adults in hospital",
            "setting": "One hospital.",
            "license": "CC BY 4.0 (with terms)",
            "design": "prognostic",
            "seed": 7,
            "file_sha256": digest,
            "outcome_label": "death: yes # no",
            "primary": "auroc",
            "text": "",
            "statements": {},
        },
        "verdict": {
            "state": "not enough evidence",
            "openings": 1,
            "changed_after_opening": False,
            "criteria": [
                {
                    "text": "auroc.lower >= 0.75",
                    "measure": "auroc",
                    "value": 0.8123,
                    "lower": 0.7461,
                    "upper": 0.8712,
                    "state": "not enough evidence",
                    "why": "",
                }
            ],
            "simple_model": {"beaten": None, "sentence": ""},
        },
        "checks": [
            {
                "check": "sample_size",
                "severity": "WARN",
                "where": "outcome",
                "message": "600 rows are fewer than 812.",
                "evidence": {},
                "advice": "",
                "source": "",
            }
        ],
        "data": {
            "source": "cohort.csv",
            "digest": digest,
            "rows": 800,
            "patients": 760,
            "flow": [
                {"step": "all rows", "removed": 0, "remaining": 900},
                {"step": "age >= 18", "removed": 100, "remaining": 800},
            ],
            "parts": {
                "train": {"n": 600, "patients": 570, "events": 180},
                "test": {"n": 200, "patients": 190, "events": 60},
            },
            "table1": {
                "parts": ["train", "test"],
                "rows": [
                    {
                        "variable": "age",
                        "label": "Age",
                        "unit": "year",
                        "kind": "mean (SD)",
                        "level": None,
                        "cells": {"train": "61 (9)", "test": "63 (9)"},
                        "missing": {"train": 3, "test": 0},
                        "smd": 0.22,
                    }
                ],
            },
            "missing": [
                {"variable": "chol", "label": "Cholesterol", "n_missing": 120, "fraction": 0.15, "by_outcome": {}}
            ],
            "dates": {"first": "2011-02-01", "last": "2014-07-30"},
            "sites": None,
        },
        "outcome": {
            "kind": "binary",
            "label": "death",
            "unit": "day",
            "horizons": [365.0],
            "reference_standard": "registry",
            "prevalence": {"train": measure("prevalence", 0.3, 0.26, 0.34, 600, 180)},
            "followup": None,
            "curve": None,
        },
        "split": {
            "by": "patient",
            "fraction": 0.25,
            "seed": 7,
            "lock_sha256": digest,
            "openings": [],
            "proof": {"rows": {}, "patients": {}, "shared_patients": {"train+test": 0}, "folds": 5},
        },
        "model": {
            "name": "logistic",
            "title": "Logistic regression",
            "description": "A weighted sum.",
            "formula": None,
            "preparation": [{"name": "fill", "detail": "training means"}],
            "parameters": {"C": 1.0},
            "n_fitted": 600,
            "missing_method": "mean_indicators",
            "calibration": {"method": "sigmoid", "scores": {}, "sentence": "Chosen."},
            "threshold": {"value": 0.3, "rule": "named in the study file before the run"},
            "leaderboard": [
                {
                    "name": "logistic",
                    "title": "Logistic regression",
                    "kind": "candidate",
                    "metric": "log_loss",
                    "mean": 0.51,
                    "lower": 0.48,
                    "upper": 0.54,
                    "folds": [],
                    "chosen": True,
                }
            ],
            "optimism": {
                "apparent": measure("auroc", 0.83),
                "optimism": 0.01,
                "corrected": measure("auroc", 0.82, 0.79, 0.85),
            },
            "coefficients": [{"term": "age", "label": "Age", "ratio": 1.5, "ratio_lower": 1.2, "ratio_upper": 1.9}],
            "ratio_name": "odds ratio",
        },
        "performance": {
            "kind": "binary",
            "n": 200,
            "events": 60,
            "patients": 190,
            "draws": 500,
            "level": 0.95,
            "interval_method": "percentile bootstrap over patients",
            "curves": {"roc": {}, "calibration": {}},
            "measures": {
                "auroc": measure("auroc", 0.8123, 0.7461, 0.8712),
                "brier": measure("brier", 0.1512, 0.1311, 0.1741),
                "auc@182.5": measure("auc@182.5", 0.7999, 0.7, 0.9),
                "e90": measure("e90", None),
            },
            "differences": {"prevalence": {"brier": measure("brier", -0.0588, -0.0791, -0.0389, against="prevalence")}},
        },
        "subgroups": {
            "measures": ["auroc"],
            "primary": "auroc",
            "min_events": 20,
            "min_nonevents": 20,
            "multiplicity": "holm",
            "note": "",
            "columns": [
                {
                    "column": "sex",
                    "label": "Sex | gender",
                    "gap": {},
                    "groups": [
                        {
                            "group": "female",
                            "n": 90,
                            "events": 30,
                            "patients": 85,
                            "judged": True,
                            "measures": {"auroc": measure("auroc", 0.7777, 0.68, 0.86, 90, 30)},
                            "state": "met",
                            "why": "",
                        },
                        {
                            "group": "other",
                            "n": "<11",
                            "events": None,
                            "patients": "<11",
                            "judged": False,
                            "measures": {},
                            "state": "not enough evidence",
                            "why": "",
                        },
                    ],
                }
            ],
        },
        "limits": {
            "inputs": [
                {
                    "name": "age",
                    "label": "Age",
                    "unit": "year",
                    "kind": "number",
                    "range": [18, 110],
                    "categories": None,
                    "required": False,
                },
                {
                    "name": "sex",
                    "label": "Sex",
                    "unit": None,
                    "kind": "category",
                    "range": None,
                    "categories": ["f", "m"],
                    "required": True,
                },
            ],
            "refusals": [{"code": "MISSING_COLUMN", "reason": "A column is not there."}],
            "limitations": ["There is no external test."],
        },
        "reproduce": {"command": "aimed run demo.toml", "digests": {"study file": digest, "model": "cd" * 32}},
    }


@pytest.fixture(scope="session")
def picture_sample():
    """The whole record of a picture study, as the report's tests make it."""
    path = Path(__file__).parents[1] / "report" / "sample.py"
    spec = importlib.util.spec_from_file_location("report_sample", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.multilabel()


@pytest.fixture(scope="session")
def scan_sample():
    """The whole record of a study of masks, as the report's tests make it."""
    path = Path(__file__).parents[1] / "report" / "sample_masks.py"
    spec = importlib.util.spec_from_file_location("report_sample_masks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.masks()


@pytest.fixture
def outlines(scan_sample):
    return copy.deepcopy(scan_sample)


@pytest.fixture
def noted(picture_sample):
    path = Path(__file__).parents[1] / "report" / "sample_notes.py"
    spec = importlib.util.spec_from_file_location("report_sample_notes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.notes(copy.deepcopy(picture_sample))


@pytest.fixture
def pictures(picture_sample):
    return copy.deepcopy(picture_sample)


@pytest.fixture(scope="session")
def effect_samples():
    """Whole records of studies of effects, as the report's tests make them: a trial, care as it was, little."""
    path = Path(__file__).parents[1] / "report" / "effect_record.py"
    spec = importlib.util.spec_from_file_location("report_effect_record", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: make() for name, make in module.KINDS.items()}


@pytest.fixture
def trial(effect_samples):
    """A randomised trial with survival; strata, an overall population and what the model is worth added."""
    found = copy.deepcopy(effect_samples["trial"])
    found["study"].update(population="adults after resection", setting="Five hospitals", primary="risk_difference")
    found["effect"]["estimand"].update(strata=["depth"], estimator="doubly_robust", scale="risk_difference")
    found["outcome"]["followup"] = {"median": 2100.0, "lower": 2050.0, "upper": 2150.0}
    found["performance"] = {
        "kind": "effect",
        "n": 186,
        "events": 84,
        "unit": "day",
        "level": 0.95,
        "interval_method": "influence functions by patient",
        "measures": {
            "risk_difference": measure("risk_difference", -0.11, -0.18, -0.04, 619, 0),
            "max_smd": measure("max_smd", 0.12, 0.12, 0.12, 619, 0),
            "autoc": measure("autoc", 0.0213, -0.022, 0.0646, 186, 0),
            "dr_loss": measure("dr_loss", -0.00234, -0.0041, 0.0008, 186, 0),
            "c_for_benefit": measure("c_for_benefit", None, n=186, events=0),
        },
        "differences": {"constant_effect": {"dr_loss": measure("dr_loss", -0.0011, -0.0034, 0.0012, 186, 0)}},
    }
    return found


@pytest.fixture
def care(effect_samples):
    return copy.deepcopy(effect_samples["care"])


@pytest.fixture
def plain(effect_samples):
    return copy.deepcopy(effect_samples["plain"])
