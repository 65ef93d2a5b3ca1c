"""Four complete results dictionaries made from simulated patients, so that their numbers agree with each other."""

from __future__ import annotations

from typing import Any

import numpy as np

Z = 1.96


def m(name, value, se=None, n=300, events=60, *, group=None, against=None, note="", lo=None, hi=None) -> dict[str, Any]:
    lower = upper = None
    if value is not None and se is not None:
        lower, upper = value - Z * se, value + Z * se
        if lo is not None:
            lower = max(lo, lower)
        if hi is not None:
            upper = min(hi, upper)
    return {
        "name": name,
        "value": None if value is None else float(value),
        "lower": None if lower is None else float(lower),
        "upper": None if upper is None else float(upper),
        "n": int(n),
        "events": int(events),
        "level": 0.95,
        "method": "patient bootstrap, 1,000 draws",
        "group": group,
        "against": against,
        "note": note,
    }


def _auc(y, s) -> float:
    ranks = np.argsort(np.argsort(s)) + 1.0
    n1 = y.sum()
    return float((ranks[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


def _smooth(p, y, grid, width):
    out, low, high = [], [], []
    for g in grid:
        w = np.exp(-0.5 * ((p - g) / width) ** 2)
        mean = (w * y).sum() / w.sum()
        se = np.sqrt(mean * (1 - mean) * (w**2).sum()) / w.sum()
        out.append(mean)
        low.append(max(0.0, mean - Z * se))
        high.append(min(1.0, mean + Z * se))
    return out, low, high


def _calibration(p, y):
    grid = np.linspace(np.quantile(p, 0.01), np.quantile(p, 0.99), 60)
    observed, lower, upper = _smooth(p, y, grid, 0.06)
    bins = []
    for rows in np.array_split(np.argsort(p), 10):
        o, n = float(y[rows].mean()), len(rows)
        se = np.sqrt(max(o * (1 - o), 0.01) / n)
        bins.append(
            {
                "predicted": float(p[rows].mean()),
                "observed": o,
                "lower": max(0.0, o - Z * se),
                "upper": min(1.0, o + Z * se),
                "n": n,
            }
        )
    edges = np.linspace(0, 1, 41)
    return {
        "predicted": grid.tolist(),
        "observed": observed,
        "lower": lower,
        "upper": upper,
        "bins": bins,
        "histogram": {
            "edges": edges.tolist(),
            "events": np.histogram(p[y == 1], edges)[0].tolist(),
            "nonevents": np.histogram(p[y == 0], edges)[0].tolist(),
        },
    }


def _threshold(p, y, t, chosen):
    n, n1 = len(y), int(y.sum())
    tp, fp = int(((p >= t) & (y == 1)).sum()), int(((p >= t) & (y == 0)).sum())
    fn, tn = n1 - tp, n - n1 - fp

    def prop(name, a, b):
        v = a / b if b else None
        return m(
            name,
            v,
            None if v is None else np.sqrt(max(v * (1 - v), 0.001) / b),
            n,
            n1,
            lo=0,
            hi=1,
            note="" if b else "no patient above the threshold",
        )

    sens, spec = tp / n1, tn / (n - n1)
    return {
        "threshold": t,
        "chosen": chosen,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "sensitivity": prop("sensitivity", tp, n1),
        "specificity": prop("specificity", tn, n - n1),
        "ppv": prop("ppv", tp, tp + fp),
        "npv": prop("npv", tn, tn + fn),
        "lr_positive": m("lr_positive", sens / max(1 - spec, 1e-3), 0.6, n, n1),
        "lr_negative": m("lr_negative", (1 - sens) / spec, 0.05, n, n1, lo=0),
        "f1": m("f1", 2 * tp / (2 * tp + fp + fn), 0.03, n, n1),
        "net_benefit": m("net_benefit", tp / n - fp / n * t / (1 - t), 0.015, n, n1),
        "per_1000": {k: round(1000 * v / n) for k, v in (("tp", tp), ("fp", fp), ("fn", fn), ("tn", tn))},
    }


def _decision(p, y, base):
    ts = np.linspace(0.01, 0.6, 60)

    def nb(q):
        return [float(((q >= t) & (y == 1)).mean() - ((q >= t) & (y == 0)).mean() * t / (1 - t)) for t in ts]

    model = nb(p)
    prev = y.mean()
    return {
        "threshold": ts.tolist(),
        "model": model,
        "lower": [v - 0.025 for v in model],
        "upper": [v + 0.025 for v in model],
        "all": [float(prev - (1 - prev) * t / (1 - t)) for t in ts],
        "none": [0.0] * len(ts),
        "baselines": {"age_only": nb(base)},
    }


VARIABLES = [
    ("age", "Age", "year", "number"),
    ("sysbp", "Systolic blood pressure", "mmHg", "number"),
    ("hr", "Heart rate", "1/min", "number"),
    ("crea", "Creatinine", "umol/L", "number"),
    ("chf", "Congestive heart failure", None, "category"),
    ("sho", "Cardiogenic shock at presentation", None, "category"),
    ("bmi", "Body mass index", "kg/m2", "number"),
    ("sex", "Sex", None, "category"),
]


def _subgroups(primary, seed):
    rng = np.random.default_rng(seed)

    def g(group, n, events, value, state, why=""):
        se = 0.5 / np.sqrt(max(events, 1)) * 0.6
        enough = events >= 20
        return {
            "group": group,
            "n": n,
            "events": events,
            "patients": n,
            "measures": {
                primary: m(primary, value, se, n, events, group=group, hi=1)
                if enough
                else m(primary, None, n=n, events=events, group=group, note="fewer than 20 events"),
                "oe": m("oe", 1 + 0.2 * rng.normal(), 0.12, n, events, group=group),
            },
            "state": state,
            "why": why,
        }

    return {
        "measures": [primary, "oe"],
        "primary": primary,
        "min_events": 20,
        "columns": [
            {
                "column": "sex",
                "label": "Sex",
                "groups": [g("Female", 142, 58, 0.793, "met"), g("Male", 208, 71, 0.828, "met")],
                "gap": {primary: m(primary, 0.035, 0.03)},
            },
            {
                "column": "age_band",
                "label": "Age band (year)",
                "groups": [
                    g("below 65", 120, 24, 0.842, "met"),
                    g("65 to 79", 138, 52, 0.776, "met"),
                    g("80 and over", 92, 53, 0.642, "not met", "the lower bound is below 0.65"),
                ],
                "gap": {primary: m(primary, 0.2, 0.07)},
            },
            {
                "column": "hospital",
                "label": "Hospital",
                "groups": [
                    g("North", 210, 80, 0.82, "met"),
                    g("South", 122, 45, 0.80, "met"),
                    g("East", 18, 4, None, "not enough evidence", "4 events, fewer than 20"),
                ],
                "gap": {primary: m(primary, 0.02, 0.04)},
            },
        ],
        "multiplicity": "holm",
        "note": "Groups were named before the test part was opened.",
    }


def _explanation(measure, scale):
    rng = np.random.default_rng(5)
    drop = [0.086, 0.041, 0.030, 0.022, 0.018, 0.012, 0.004, -0.001]
    effects = []
    for name, label, _, kind in VARIABLES[:6]:
        if kind == "number":
            grid = np.linspace(*{"age": (35, 95), "sysbp": (80, 220), "hr": (40, 140), "crea": (50, 300)}[name], 40)
            z = (grid - grid.mean()) / grid.std()
            ale = {"age": 0.08, "sysbp": -0.03, "hr": 0.035, "crea": 0.025}[name] * z + 0.008 * z**2 - 0.008
            edges = np.linspace(grid[0], grid[-1], 21)
            counts = np.histogram(rng.normal(grid.mean(), grid.std() * 0.8, 900), edges)[0]
            effects.append(
                {
                    "variable": name,
                    "label": f"{label}",
                    "kind": kind,
                    "grid": grid.tolist(),
                    "ale": ale.tolist(),
                    "lower": (ale - 0.02).tolist(),
                    "upper": (ale + 0.02).tolist(),
                    "partial_dependence": (ale * 0.9 + 0.3).tolist(),
                    "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
                }
            )
        else:
            effects.append(
                {
                    "variable": name,
                    "label": label,
                    "kind": kind,
                    "grid": ["no", "yes"],
                    "ale": [],
                    "lower": [0.27, 0.34],
                    "upper": [0.31, 0.44],
                    "partial_dependence": [0.29, 0.39],
                    "histogram": {"edges": ["no", "yes"], "counts": [99, None]},
                }
            )
    return {
        "measure": measure,
        "permutation": [
            {"variable": v[0], "label": v[1], "value": d, "lower": d - 0.012, "upper": d + 0.012, "repeats": 20}
            for v, d in zip(VARIABLES, drop, strict=True)
        ],
        "shap": [
            {
                "variable": v[0],
                "label": v[1],
                "mean_abs": max(0.01, 9 * d),
                "lower": max(0.0, 9 * d - 0.05),
                "upper": 9 * d + 0.06,
            }
            for v, d in zip(VARIABLES, drop, strict=True)
        ],
        "shap_note": "Shapley values on 200 test patients, interventional, background of 100 training patients.",
        "scale": scale,
        "effects": effects,
        "sanity": {"sentence": "With shuffled outcomes no variable matters more than chance.", "passed": True},
    }


def _common(kind: str) -> dict[str, Any]:
    train = {"n": 1050, "patients": 1050, "events": 378}
    test = {"n": 350, "patients": 350, "events": 117 if kind == "binary" else 150}
    rows = []
    for name, label, unit, vkind in VARIABLES:
        if vkind == "number":
            rows.append(
                {
                    "variable": name,
                    "label": label,
                    "unit": unit,
                    "kind": vkind,
                    "level": None,
                    "cells": {"train": "62.1 (14.3)", "test": "63.0 (13.9)"},
                    "missing": {"train": 12, "test": 3},
                    "smd": 0.064,
                }
            )
        else:
            for level, a, b in (("no", "742 (70.7%)", "251 (71.7%)"), ("yes", "308 (29.3%)", "99 (28.3%)")):
                rows.append(
                    {
                        "variable": name,
                        "label": label,
                        "unit": unit,
                        "kind": vkind,
                        "level": level,
                        "cells": {"train": a, "test": b},
                        "missing": {"train": 0, "test": 0},
                        "smd": 0.022 if level == "no" else None,
                    }
                )
    return {
        "schema": 1,
        "aimed_version": "0.1.0",
        "created": "2026-11-21T06:12:09+00:00",
        "task": "survival" if kind == "survival" else "risk",
        "study": {
            "id": "heart-attack-" + kind,
            "title": "Risk of death after a heart attack"
            if kind == "survival"
            else "Death in hospital after a heart attack",
            "intended_use": "Support follow-up planning at discharge.",
            "intended_users": ["cardiologists", "heart-failure nurses"],
            "not_for": ["deciding whether to treat", "children"],
            "design": "retrospective cohort",
            "seed": 7,
            "file_sha256": "3f" * 32,
            "outcome_label": "Death from any cause" if kind == "survival" else "Death in hospital",
            "primary": "uno_c" if kind == "survival" else "auroc",
            "text": 'schema = 1\n[study]\nid = "heart-attack"\ntitle = "Death after a heart attack"\n',
            "statements": {"18a": "Funded by nobody in particular."},
        },
        "checks": [
            {
                "check": "patient_overlap",
                "severity": "NOTE",
                "where": "split",
                "message": "No patient stands in two parts.",
                "evidence": {"shared": 0},
                "advice": "",
                "source": "",
            },
            {
                "check": "outcome_proxy",
                "severity": "WARN",
                "where": "column 'sho'",
                "message": "One predictor alone separates the outcome with AUROC 0.81.",
                "evidence": {"auroc": 0.812, "n": 1400},
                "advice": "Make sure it is known at the time of prediction.",
                "source": "Kaufman et al., 2012",
            },
            {
                "check": "sample_size",
                "severity": "NOTE",
                "where": "train",
                "message": "378 events for 8 parameters.",
                "evidence": {"events": 378, "parameters": 8},
                "advice": "",
                "source": "Riley et al., 2019",
            },
        ],
        "data": {
            "source": "cohort.csv",
            "digest": "ab12" * 16,
            "rows": 1400,
            "patients": 1400,
            "flow": [
                {"step": "Rows in the source", "removed": 0, "remaining": 1512},
                {"step": "Age at least 18 years", "removed": 21, "remaining": 1491},
                {"step": "Outcome known", "removed": 91, "remaining": 1400},
            ],
            "parts": {"train": train, "test": test},
            "table1": {"parts": ["train", "test"], "rows": rows},
            "missing": [
                {
                    "variable": n,
                    "label": lab,
                    "n_missing": int(1400 * f),
                    "fraction": f,
                    "by_outcome": {"event": f * 1.3, "no_event": f * 0.85},
                }
                for (n, lab, _, _), f in zip(VARIABLES, [0, 0.011, 0.012, 0.083, 0, 0, 0.214, 0], strict=True)
            ],
            "dates": {"first": "1997-01-02", "last": "2001-12-30"},
            "sites": {"North": 840, "South": 488, "East": 72},
        },
        "split": {
            "by": "patient",
            "fraction": 0.25,
            "seed": 7,
            "lock_sha256": "cd34" * 16,
            "proof": {
                "rows": {"train": 1050, "test": 350},
                "patients": {"train": 1050, "test": 350},
                "shared_patients": {"train+test": 0},
                "folds": 5,
            },
            "openings": [
                {"when": "2026-11-21T06:11:40+00:00", "model_sha256": "ef56" * 16, "reason": "first evaluation"}
            ],
        },
        "stability": {
            "draws": 60,
            "mean_absolute_difference": m("mean_absolute_difference", 0.031, 0.002),
            "share_above_0_1": 0.042,
            "note": "Parameters were held fixed.",
        },
        "failures": {
            "groups": [
                {"rule": "age > 80 and creatinine > 180", "n": 31, "events": 19, "error": 0.244, "share": 0.18},
                {"rule": "systolic blood pressure <= 95", "n": 22, "events": 12, "error": 0.231, "share": 0.12},
            ],
            "note": "A tree of depth 3 on the squared error; leaves of at least 20 patients.",
        },
        "limits": {
            "inputs": [
                {
                    "name": n,
                    "label": lab,
                    "unit": u,
                    "kind": k,
                    "range": [20, 110] if k == "number" else None,
                    "categories": ["no", "yes"] if k == "category" else [],
                    "required": n == "age",
                }
                for n, lab, u, k in VARIABLES
            ],
            "refusals": [
                {"code": "age-range", "reason": "Age outside 18 to 110 years."},
                {"code": "too-many-missing", "reason": "More than 3 of 8 inputs are missing."},
            ],
            "limitations": ["One region; patients of 1997 to 2001.", "Not tested at another hospital."],
        },
        "checklists": {
            "tripod+ai": {
                "title": "TRIPOD+AI",
                "version": "2024",
                "licence": "CC BY 4.0",
                "source": "Collins et al., BMJ 2024",
                "items": [
                    {
                        "item": "1",
                        "section": "Title",
                        "asks": "Say that a prediction model is developed or evaluated.",
                        "state": "filled",
                        "text": "Risk of death after a heart attack",
                        "evidence": "#verdict",
                    },
                    {
                        "item": "12e",
                        "section": "Methods",
                        "asks": "Say how performance was measured.",
                        "state": "drafted",
                        "text": "Discrimination, calibration, net benefit.",
                        "evidence": "#performance",
                    },
                    {
                        "item": "18a",
                        "section": "Open science",
                        "asks": "Give the source of funding.",
                        "state": "missing",
                        "text": "",
                        "evidence": "",
                    },
                    {
                        "item": "13",
                        "section": "Methods",
                        "asks": "Say how classes were balanced.",
                        "state": "not applicable",
                        "text": "No balancing.",
                        "evidence": "model.preparation",
                    },
                ],
                "counts": {"filled": 1, "drafted": 1, "missing": 1, "not applicable": 1},
            }
        },
        "reproduce": {
            "command": "aimed run study.toml",
            "python": "3.11.9",
            "platform": "Linux-6.1-x86_64",
            "cpu_count": 2,
            "versions": {"numpy": "2.4.6", "scikit-learn": "1.9.1"},
            "seed": 7,
            "seconds": {"read": 0.4, "fit": 92.0, "evaluate": 31.0},
            "peak_memory_mb": 812.4,
            "digests": {"results": "01" * 32, "bundle": "02" * 32},
        },
    }


def _model(primary, ratio_name):
    terms = [
        ("age", "Age (per 10 years)", 0.62, 0.07),
        ("sysbp", "Systolic blood pressure (per 10 mmHg)", -0.11, 0.03),
        ("hr", "Heart rate (per 10 / min)", 0.14, 0.03),
        ("crea", "Creatinine (per doubling)", 0.35, 0.12),
        ("chf=yes", "Congestive heart failure: yes", 0.55, 0.13),
        ("sho=yes", "Cardiogenic shock: yes", 1.1, 0.28),
        ("sex=female", "Sex: female", -0.04, 0.12),
    ]
    board = [
        ("penalised", "Penalised regression", "candidate", 0.806, True),
        ("forest", "Random forest", "candidate", 0.799, False),
        ("boosting", "Gradient-boosted trees", "candidate", 0.801, False),
        ("age_only", "Age alone", "baseline", 0.741, False),
        ("kaplan_meier" if ratio_name == "hazard ratio" else "null", "Same risk for all", "baseline", 0.5, False),
    ]
    return {
        "name": "penalised",
        "title": "Penalised regression",
        "description": "A linear predictor with an elastic-net penalty on standardised variables.",
        "formula": "risk = 1 / (1 + exp(-(b0 + b1 * age + ...)))",
        "preparation": [
            {"name": "impute", "detail": "median, with an indicator"},
            {"name": "scale", "detail": "mean 0, sd 1"},
        ],
        "parameters": {"alpha": 0.0132, "l1_ratio": 0.2},
        "missing_method": "mean_indicators",
        "calibration": {
            "method": "sigmoid",
            "scores": {"none": 0.5124, "sigmoid": 0.5098, "isotonic": 0.5131},
            "parameters": {"a": 1.04, "b": -0.02},
        },
        "leaderboard": [
            {
                "name": n,
                "title": t,
                "kind": k,
                "metric": primary,
                "mean": v,
                "lower": v - 0.02 if v != 0.5 else 0.5,
                "upper": v + 0.02 if v != 0.5 else 0.5,
                "folds": [v - 0.02, v + 0.01, v, v + 0.015, v - 0.005] if v != 0.5 else [0.5] * 5,
                "trials": 30 if k == "candidate" else 1,
                "seconds": 31.0,
                "chosen": c,
            }
            for n, t, k, v, c in board
        ],
        "tuning": {
            "metric": primary,
            "direction": "maximize",
            "seconds": 92.0,
            "resumed": False,
            "trials": [
                {
                    "number": i,
                    "candidate": ["penalised", "forest", "boosting"][i % 3],
                    "value": 0.78 + 0.026 * (1 - np.exp(-i / 9)) - 0.01 * (i % 4) / 4,
                    "state": "complete",
                }
                for i in range(45)
            ],
        },
        "threshold": {"value": 0.2, "rule": "named in the study file before the run"},
        "choice": "Penalised regression had the best mean " + primary + " on the tuning folds.",
        "sample_size": {
            "n": 1050,
            "events": 378,
            "patients": 1050,
            "parameters": 8,
            "events_per_parameter": 47.25,
            "horizon": None,
            "r2_assumed": "15 % of the largest possible Cox-Snell R2",
            "required": {
                "shrinkage": 420,
                "optimism": 180,
                "mean_risk": 369,
                "required": 420,
                "dominant": "shrinkage",
                "events": 151.2,
                "events_per_parameter": 18.9,
                "parameters": 8,
                "r2_cs": 0.110,
                "max_r2_cs": 0.733,
            },
        },
        "optimism": {
            "apparent": m(primary, 0.821, 0.012),
            "optimism": 0.011,
            "corrected": m(primary, 0.81, 0.013),
            "draws": 200,
        },
        "coefficients": [
            {
                "term": t,
                "label": lab,
                "estimate": b,
                "lower": b - Z * s,
                "upper": b + Z * s,
                "ratio": float(np.exp(b)),
                "ratio_lower": float(np.exp(b - Z * s)),
                "ratio_upper": float(np.exp(b + Z * s)),
                "p": 0.4 if abs(b) < 1.96 * s else 0.0004,
                "per": "against the reference level" if "=" in t else "10 years" if t == "age" else "1 years",
                "note": "",
            }
            for t, lab, b, s in terms
        ],
        "ratio_name": ratio_name,
    }


def _nomogram(horizons):
    """Points of three predictors, one of them with a turn, and the risk at each total."""
    age = np.linspace(30, 100, 15)
    bmi = np.array([15.0, 20.0, 25.0, 30.0, 35.0, 40.0])
    axes = [
        ("age", "Age (years)", "number", age.tolist(), (100 * (age - 30) / 70).tolist(), [0, 2, 4, 6, 8, 10, 12, 14]),
        ("bmi", "Body mass index (kg/m2)", "number", bmi.tolist(), [40.0, 20.0, 8.0, 0.0, 5.0, 14.0], list(range(6))),
        ("chf", "Congestive heart failure", "levels", ["no", "yes"], [0.0, 27.4], [0, 1]),
    ]
    total = np.arange(171)
    risks = [
        {"horizon": h, "risk": (1 / (1 + np.exp(-(total - 110 + 15 * k) / 25))).tolist()}
        for k, h in enumerate(horizons)
    ]
    return {
        "reason": None,
        "predictors": [
            {"variable": v, "label": lab, "kind": k, "values": x, "points": pts, "ticks": t}
            for v, lab, k, x, pts, t in axes
        ],
        "without": ["Recurrent infarction"],
        "total": 170,
        "risks": risks,
        "typical": {
            "values": [70.0, 26.0, "no"],
            "points": [57.0, 6.0, 0.0],
            "total": 63.0,
            "risk": [r["risk"][63] for r in risks],
        },
        "error": {
            "bound": [0.021 + 0.001 * k for k in range(len(risks))],
            "largest": [0.013] * len(risks),
            "mean": [0.004] * len(risks),
            "rows": 1001,
            "outside": 0.046,
        },
    }


def _proportional_hazards():
    """Cardiogenic shock whose ratio falls, and a spline term that looks constant."""
    t = np.linspace(4, 1700, 30)
    shock, flat = 6.0 * np.exp(-t / 1500), 1.0 + 0.1 * np.sin(t / 300)
    tests = [
        ("Age (years)", 1, 0.03, 0.4, 0.53),
        ("Body mass index (kg/m2)", 3, -0.04, 2.1, 0.55),
        ("Cardiogenic shock", 1, -0.21, 9.8, 0.0017),
    ]
    return {
        "transform": "km",
        "rows": 1050,
        "events": 378,
        "df": 5,
        "level": 0.95,
        "terms": [
            {"term": n, "df": d, "rho": r, "chi2": c, "p": p, "p_holm": 0.0051 if p < 0.05 else 1.0}
            for n, d, r, c, p in tests
        ],
        "global": {"chi2": 12.6, "df": 5, "p": 0.027},
        "curves": [
            {
                "term": "Cardiogenic shock",
                "scale": "ratio",
                "per": "1 against 0",
                "constant": 3.0,
                "times": t.tolist(),
                "value": shock.tolist(),
                "lower": (shock / 1.5).tolist(),
                "upper": (shock * 1.5).tolist(),
            },
            {
                "term": "Body mass index (kg/m2)",
                "scale": "share",
                "constant": 1.0,
                "times": t.tolist(),
                "value": flat.tolist(),
                "lower": (flat - 0.5).tolist(),
                "upper": (flat + 0.5).tolist(),
            },
        ],
        "reason": None,
        "refitted": True,
        "repeated": False,
        "cause": False,
    }


def _yes_no(seed: int = 11, n: int = 350, middle: float = -0.9, spread: float = 1.7) -> dict[str, Any]:
    """The performance of a classifier that ranks well and over-predicts in the top tenth."""
    rng = np.random.default_rng(seed)
    lp = rng.normal(middle, spread, n)
    p = 1 / (1 + np.exp(-lp))
    y = (rng.random(n) < np.where(p > 0.72, p - 0.22, p)).astype(int)
    base = np.clip(p * 0.4 + rng.beta(2, 4, n) * 0.6, 0, 1)
    events = int(y.sum())
    auc, prev = _auc(y, p), float(y.mean())
    brier = float(np.mean((p - y) ** 2))
    kw = {"n": n, "events": events}
    order = np.argsort(-p)
    grid = np.linspace(0, 1, 101)
    tpr = np.interp(grid, np.r_[0, np.cumsum(1 - y[order]) / (n - events)], np.r_[0, np.cumsum(y[order]) / events])
    recall = np.cumsum(y[order]) / events
    precision = np.interp(grid, recall, np.cumsum(y[order]) / np.arange(1, n + 1))
    measures = {
        "auroc": m("auroc", auc, 0.021, **kw, hi=1),
        "auprc": m("auprc", 0.71, 0.04, **kw),
        "brier": m("brier", brier, 0.011, **kw),
        "scaled_brier": m("scaled_brier", 1 - brier / (prev * (1 - prev)), 0.04, **kw),
        "log_loss": m("log_loss", 0.44, 0.03, **kw),
        "calibration_intercept": m("calibration_intercept", -0.21, 0.13, **kw),
        "calibration_slope": m("calibration_slope", 0.87, 0.09, **kw),
        "oe": m("oe", float(y.sum() / p.sum()), 0.06, **kw),
        "ici": m("ici", 0.041, 0.012, **kw),
        "e50": m("e50", 0.022, 0.01, **kw),
        "e90": m("e90", 0.11, 0.03, **kw),
        "net_benefit": m("net_benefit", _threshold(p, y, 0.2, True)["net_benefit"]["value"], 0.015, **kw),
    }
    age = {"auroc": m("auroc", _auc(y, base), 0.025, **kw), "brier": m("brier", 0.19, 0.012, **kw)}
    null = {"auroc": m("auroc", 0.5, 0.0, **kw), "brier": m("brier", prev * (1 - prev), 0.008, **kw)}

    def minus(b, bname):
        return {k: m(k, measures[k]["value"] - b[k]["value"], 0.015, **kw, against=bname) for k in b}

    return {
        "kind": "binary",
        "n": n,
        "events": events,
        "patients": n,
        "draws": 1000,
        "level": 0.95,
        "interval_method": "percentile bootstrap, patients resampled",
        "measures": measures,
        "baselines": {"age_only": age, "null": null},
        "differences": {"age_only": minus(age, "age_only"), "null": minus(null, "null")},
        "thresholds": [_threshold(p, y, t, t == 0.2) for t in (0.1, 0.2, 0.3, 0.5)],
        "curves": {
            "roc": {
                "fpr": grid.tolist(),
                "tpr": tpr.tolist(),
                "lower": np.clip(tpr - 0.06, 0, 1).tolist(),
                "upper": np.clip(tpr + 0.05, 0, 1).tolist(),
            },
            "precision_recall": {
                "recall": grid.tolist(),
                "precision": precision.tolist(),
                "prevalence": prev,
                "lower": np.clip(precision - 0.08, 0, 1).tolist(),
                "upper": np.clip(precision + 0.08, 0, 1).tolist(),
            },
            "calibration": _calibration(p, y),
            "decision": _decision(p, y, base),
        },
    }


def binary() -> dict[str, Any]:
    """A classifier that ranks well and over-predicts in the top tenth."""
    perf = _yes_no()
    measures, kw = perf["measures"], {"n": perf["n"], "events": perf["events"]}
    auc, prev = measures["auroc"]["value"], perf["curves"]["precision_recall"]["prevalence"]
    r = _common("binary")
    r["verdict"] = {
        "state": "not enough evidence",
        "openings": 1,
        "changed_after_opening": False,
        "criteria": [
            {
                "text": "auroc.lower >= 0.75",
                "measure": "auroc",
                "value": auc,
                "lower": measures["auroc"]["lower"],
                "upper": measures["auroc"]["upper"],
                "state": "met",
                "why": "the lower bound is above 0.75",
            },
            {
                "text": "calibration_slope in [0.8, 1.2]",
                "measure": "calibration_slope",
                "value": 0.87,
                "lower": 0.694,
                "upper": 1.046,
                "state": "not enough evidence",
                "why": "the interval crosses 0.8",
            },
        ],
        "simple_model": {"beaten": True, "sentence": "It ranks better than age alone by 0.09 (0.06 to 0.12) in AUROC."},
    }
    r["outcome"] = {
        "kind": "binary",
        "label": "Death in hospital",
        "unit": None,
        "horizons": None,
        "prevalence": {"train": m("prevalence", 0.36, 0.015, 1050, 378), "test": m("prevalence", prev, 0.025, **kw)},
        "followup": None,
        "curve": None,
    }
    r["model"] = {**_model("auroc", "odds ratio"), "nomogram": _nomogram([None]), "proportional_hazards": None}
    r["performance"] = perf
    r["subgroups"] = _subgroups("auroc", 1)
    r["explanation"] = _explanation("auroc", "log odds")
    return r


def _km(time, event, grid):
    s, var, out, low, high = 1.0, 0.0, [], [], []
    order = np.argsort(time)
    t, e = time[order], event[order]
    i, n = 0, len(t)
    for g in grid:
        while i < n and t[i] <= g:
            if e[i]:
                risk = n - i
                s *= 1 - 1 / risk
                var += 1 / (risk * max(risk - 1, 1))
            i += 1
        se = s * np.sqrt(var)
        out.append(s)
        low.append(max(0.0, s - Z * se))
        high.append(min(1.0, s + Z * se))
    return out, low, high


def survival() -> dict[str, Any]:
    """A Cox model with horizons of one and three years."""
    rng = np.random.default_rng(3)
    n = 350
    lp = rng.normal(0, 1.0, n)
    true = rng.exponential(2600 * np.exp(-lp))
    censor = rng.uniform(300, 2300, n)
    time, event = np.minimum(true, censor), true <= censor
    events = int(event.sum())
    kw = {"n": n, "events": events}

    def risk(t):
        return 1 - np.exp(-t / 2600 * np.exp(lp))

    measures = {
        "harrell_c": m("harrell_c", 0.752, 0.02, **kw),
        "uno_c": m("uno_c", 0.741, 0.024, **kw),
        "ibs": m("ibs", 0.142, 0.008, **kw),
    }
    for h, slope, oe, auc in ((365, 1.04, 0.94, 0.781), (1095, 0.98, 1.02, 0.802)):
        known = (time >= h) | event
        yh = (event & (time <= h))[known]
        measures |= {
            f"auc@{h}": m(f"auc@{h}", auc, 0.025, **kw),
            f"brier@{h}": m(f"brier@{h}", 0.15, 0.01, **kw),
            f"scaled_brier@{h}": m(f"scaled_brier@{h}", 0.18, 0.04, **kw),
            f"oe@{h}": m(f"oe@{h}", oe, 0.07, **kw),
            f"calibration_slope@{h}": m(f"calibration_slope@{h}", slope, 0.1, **kw),
            f"ici@{h}": m(f"ici@{h}", 0.02, 0.008, **kw),
            f"e50@{h}": m(f"e50@{h}", 0.018, 0.01, **kw),
            f"e90@{h}": m(f"e90@{h}", 0.05, 0.02, **kw),
            f"net_benefit@{h}": m(
                f"net_benefit@{h}",
                _threshold(risk(h)[known], yh.astype(int), 0.2, True)["net_benefit"]["value"],
                0.015,
                **kw,
            ),
        }
    km = {"uno_c": m("uno_c", 0.5, 0.0, **kw), "ibs": m("ibs", 0.181, 0.006, **kw)}
    age = {"uno_c": m("uno_c", 0.668, 0.028, **kw), "ibs": m("ibs", 0.166, 0.007, **kw)}

    def minus(b, bname):
        return {k: m(k, measures[k]["value"] - b[k]["value"], 0.012, **kw, against=bname) for k in b}

    grid = np.linspace(0, 1800, 91)
    ticks = [0, 365, 730, 1095, 1460, 1800]
    groups, counts = [], {}
    for label, rows in zip(
        ("Lowest quarter of risk", "Second quarter", "Third quarter", "Highest quarter of risk"),
        np.array_split(np.argsort(lp), 4),
        strict=True,
    ):
        s, low, high = _km(time[rows], event[rows], grid)
        groups.append(
            {
                "label": label,
                "n": len(rows),
                "events": int(event[rows].sum()),
                "survival": s,
                "lower": low,
                "upper": high,
                "predicted": [float(np.mean(1 - risk(t)[rows])) for t in grid],
                "censored": {"each": 5, "times": [400.0, 900.0, 1500.0]},
            }
        )
        counts[label] = [int((time[rows] >= t).sum()) for t in ticks]
    calibration, decision, thresholds = {}, {}, {}
    for h in (365, 1095):
        known = (time >= h) | event
        yh, ph = (event & (time <= h))[known].astype(int), risk(h)[known]
        calibration[str(h)] = _calibration(ph, yh)
        decision[str(h)] = _decision(ph, yh, np.full_like(ph, yh.mean()))
        thresholds[str(h)] = [_threshold(ph, yh, t, t == 0.2) for t in (0.1, 0.2, 0.4)]
    ts = np.linspace(90, 1800, 40)
    auc_t, b0 = 0.76 + 0.05 * (ts / 1800), 0.25 * (1 - np.exp(-ts / 700))
    s_all, low_all, high_all = _km(time, event, grid)
    r = _common("survival")
    r["verdict"] = {
        "state": "met",
        "openings": 2,
        "changed_after_opening": True,
        "criteria": [
            {
                "text": "uno_c.lower >= 0.65",
                "measure": "uno_c",
                "value": 0.741,
                "lower": 0.694,
                "upper": 0.788,
                "state": "met",
                "why": "the lower bound is above 0.65",
            }
        ],
        "simple_model": {"beaten": True, "sentence": "It ranks better than age alone."},
    }
    r["outcome"] = {
        "kind": "survival",
        "label": "Death from any cause",
        "unit": "day",
        "horizons": [365, 1095],
        "prevalence": {"train": m("risk@1095", 0.41, 0.016, 1050, 378), "test": m("risk@1095", 0.42, 0.028, **kw)},
        "followup": {"median": 1290, "lower": 1240, "upper": 1330},
        "curve": {
            "times": grid.tolist(),
            "survival": s_all,
            "lower": low_all,
            "upper": high_all,
            "censored": {"each": 7, "times": [300.0, 600.0, 1000.0, 1600.0]},
            "at_risk": {"times": ticks, "counts": [int((time >= t).sum()) for t in ticks]},
        },
    }
    r["model"] = {
        **_model("uno_c", "hazard ratio"),
        "nomogram": _nomogram([365, 1095]),
        "proportional_hazards": _proportional_hazards(),
    }
    r["performance"] = {
        "kind": "survival",
        "unit": "day",
        "horizons": [365, 1095],
        "tau": 1800,
        "n": n,
        "events": events,
        "patients": n,
        "draws": 1000,
        "level": 0.95,
        "interval_method": "percentile bootstrap, patients resampled",
        "conventions": "IPCW weights use G(T-); ties in risk count one half; C is truncated at tau.",
        "measures": measures,
        "baselines": {"kaplan_meier": km, "age_only": age},
        "differences": {"kaplan_meier": minus(km, "kaplan_meier"), "age_only": minus(age, "age_only")},
        "thresholds": thresholds,
        "curves": {
            "risk_groups": {"times": grid.tolist(), "groups": groups, "at_risk": {"times": ticks, "counts": counts}},
            "over_time": {
                "times": ts.tolist(),
                "auc": auc_t.tolist(),
                "auc_lower": (auc_t - 0.05).tolist(),
                "auc_upper": (auc_t + 0.05).tolist(),
                "brier": (b0 * 0.78).tolist(),
                "brier_lower": (b0 * 0.72).tolist(),
                "brier_upper": (b0 * 0.84).tolist(),
                "brier_null": b0.tolist(),
            },
            "calibration": calibration,
            "decision": decision,
        },
    }
    r["subgroups"] = _subgroups("uno_c", 2)
    r["explanation"] = _explanation("uno_c", "log hazard")
    return r


def competing() -> dict[str, Any]:
    """The survival study when a death from another cause can come first."""
    r = survival()
    curve, groups = r["outcome"]["curve"], r["performance"]["curves"]["risk_groups"]["groups"]
    any_event = [1 - v for v in curve["survival"]]
    shares = {"death from a heart attack": 0.6, "death from cancer": 0.25, "another death": 0.15}
    r["outcome"] |= {
        "kind": "competing",
        "label": "Death from a heart attack",
        "competing": ["death from cancer", "another death"],
        "curve": {
            "times": curve["times"],
            "causes": [
                {
                    "label": label,
                    "incidence": [share * v for v in any_event],
                    "lower": [max(0.0, share * v - 0.03) for v in any_event],
                    "upper": [share * v + 0.03 for v in any_event],
                }
                for label, share in shares.items()
            ],
            "event_free": curve["survival"],
            "at_risk": curve["at_risk"],
        },
    }
    r["study"]["outcome_label"] = "Death from a heart attack"
    for group in groups:
        group["incidence"] = [0.6 * (1 - v) for v in group.pop("survival")]
        lower, upper = group["lower"], group["upper"]
        group["lower"], group["upper"] = [0.6 * (1 - v) for v in upper], [0.6 * (1 - v) for v in lower]
        group["predicted"] = [0.6 * (1 - v) for v in group["predicted"]]
    for measures in (r["performance"]["measures"], *r["performance"]["baselines"].values()):
        if "uno_c" in measures:
            measures["cause_specific_c"] = {**measures.pop("uno_c"), "name": "cause_specific_c"}
        measures.pop("harrell_c", None)
    for measures in r["performance"]["differences"].values():
        measures["cause_specific_c"] = {**measures.pop("uno_c"), "name": "cause_specific_c"}
    r["performance"]["kind"] = "competing"
    r["performance"]["baselines"]["aalen_johansen"] = r["performance"]["baselines"].pop("kaplan_meier")
    r["performance"]["differences"]["aalen_johansen"] = r["performance"]["differences"].pop("kaplan_meier")
    r["performance"]["conventions"] = "Observed incidence is Aalen-Johansen's; risk is a cumulative incidence."
    r["study"]["primary"] = "cause_specific_c"
    for row in r["verdict"]["criteria"]:
        row["text"], row["measure"] = row["text"].replace("uno_c", "cause_specific_c"), "cause_specific_c"
    model = _model("ibs", "hazard ratio")
    for row in model["leaderboard"]:
        if row["name"] == "kaplan_meier":
            row["name"], row["title"] = "aalen_johansen", "Same incidence for all"
    model["proportional_hazards"] = {**_proportional_hazards(), "cause": True}
    model["nomogram"] = {"reason": "the risk of the model does not follow from one sum over its predictors"}
    r["model"] = model
    r["subgroups"] = _subgroups("cause_specific_c", 2)
    r["explanation"] = _explanation("cause_specific_c", "log hazard")
    return r


FINDINGS = {
    "effusion": ("effusion", "Pleural effusion", 3, -0.8, 2.0),
    "lung_nodule": ("lung nodule", "Lung nodule", 4, -2.1, 1.0),
    "pneumothorax": ("pneumothorax", "Pneumothorax", 5, -2.6, 1.6),
}


def _learning(networks: int = 2) -> list[dict[str, Any]]:
    out = []
    for k in range(networks):
        t = np.arange(1, 15)
        tune = 0.62 - 0.24 * (1 - np.exp(-t / 4)) + 0.006 * np.maximum(t - 9, 0) + 0.01 * k
        out.append(
            {
                "train_loss": (0.70 * np.exp(-t / 9) + 0.08 + 0.01 * k).tolist(),
                "tune_loss": tune.tolist(),
                "tune_auroc": (0.86 - 0.3 * np.exp(-t / 3) - 0.002 * np.maximum(t - 9, 0)).tolist(),
                "best_epoch": int(np.argmin(tune)) + 1,
                "stopped_early": True,
                "train_rows": 900,
                "tune_rows": 220,
                "learning_rate": 0.002,
            }
        )
    return out


def _share(name, k, n, **more):
    v = k / n
    return {**m(name, v, np.sqrt(max(v * (1 - v), 0.002) / n), n, k, lo=0, hi=1), **more}


def _picture_blocks(keys: list[str]) -> dict[str, Any]:
    """Shortcuts, robustness, sets, uncertainty, maps and gallery as the stages write them."""
    label = {k: FINDINGS[k][1] for k in keys}

    def curve(high):
        steps = []
        for s in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5):
            error = m("error_rate", high * (1 - 0.8 * s), 0.012, round(350 * (1 - s)), 40, lo=0)
            gap = m("error_rate", -high * 0.8 * s, 0.008, against="all") if s else None
            steps.append({"share": s, "n": round(350 * (1 - s)), "error": error, "difference": gap})
        return steps

    def sets(k):
        return {
            "calibration": {"positives": {"rows": 98, "patients": 83}, "negatives": {"rows": 186, "patients": 121}},
            "present_from": 0.33,
            "absent_to": 0.41 if k != "pneumothorax" else None,
            "coverage": {
                "positives": _share(f"coverage_positives@{k}", 110, 120, patients=108, p=0.6, state="held"),
                "negatives": _share(f"coverage_negatives@{k}", 190, 230, patients=159, p=0.01, state="not held"),
            },
            "shares": {
                "present": _share(f"present@{k}", 130, 350),
                "absent": _share(f"absent@{k}", 190, 350),
                "uncertain": _share(f"uncertain@{k}", 30, 350),
            },
            "empty": 0.0,
            "state": "not held",
            "sentence": f"{label[k]}: among patients with it the sets hold the truth in 92 %.",
        }

    return {
        "conformal": {
            "alpha": 0.1,
            "level": 0.95,
            "n": 350,
            "patients": 300,
            "method": "class-conditional split conformal prediction; each patient counts once",
            "assumption": "Calibration and new patients are exchangeable.",
            "findings": {k: sets(k) for k in keys},
            "state": "not held",
            "sentence": f"Sets made to hold the truth for 90 % of patients did so for 0 of {len(keys)} findings.",
        },
        "case_uncertainty": {
            "signal": "spread",
            "signals": {"spread": "standard deviation of the risk over networks", "entropy": "entropy of the risk"},
            "n": 350,
            "patients": 300,
            "level": 0.95,
            "method": "wrong against right decisions at the thresholds",
            "auroc": {s: m(f"macro_auroc_of_{s}", 0.7, 0.02) for s in ("spread", "entropy")},
            "curve": curve(0.18),
            "findings": {
                k: {
                    "n": 350,
                    "wrong": 50,
                    "auroc": {s: m(f"auroc_of_{s}@{k}", 0.68, 0.03) for s in ("spread", "entropy")},
                    "curve": curve(0.12 + 0.05 * i),
                    "state": "knows",
                }
                for i, k in enumerate(keys)
            },
            "state": "knows",
            "sentence": "The spread of the risk is larger for wrong decisions than for right ones.",
            "note": "Each finding refers its own most uncertain pictures.",
        },
        "shortcuts": {
            "sources": [
                {
                    "finding": FINDINGS[k][0],
                    "source": source,
                    "auroc": m("auroc", value + 0.03 * i, 0.025),
                    "model": m("auroc", 0.85, 0.02, group=None),
                    "patients": 300,
                    "columns": 2,
                    "sees_lungs": source == "brightness",
                    "tells": value + 0.03 * i > 0.65,
                }
                for i, k in enumerate(keys)
                for source, value in (("view", 0.63), ("borders", 0.55), ("brightness", 0.6), ("all together", 0.66))
            ],
            "within": [
                {
                    "finding": FINDINGS[k][0],
                    "by": "view",
                    "overall": m("auroc", 0.85, 0.02),
                    "within": m("auroc_within", 0.82, 0.025),
                    "difference": m("auroc_difference", 0.03, 0.01),
                    "strata": [
                        {"stratum": "AP", "auroc": m("auroc", 0.81, 0.03)},
                        {"stratum": "PA", "auroc": m("auroc", None, note="Fewer than 11 patients, so not described.")},
                    ],
                }
                for k in keys
            ],
            "sentence": "The view alone tells lung nodule with an AUROC of 0.66 (0.61 to 0.71).",
        },
        "robustness": {
            "n": 350,
            "of": 350,
            "patients": 300,
            "level": 0.95,
            "method": "paired differences of AUROCs, clustered by patient",
            "seed": 7,
            "unchanged": {"macro_auroc": m("macro_auroc", 0.85, 0.01)},
            "changes": [
                {
                    "key": f"{kind}_{amount:g}",
                    "kind": kind,
                    "amount": amount,
                    "label": label,
                    "measures": {"macro_auroc": m("macro_auroc", 0.85 - loss, 0.02)},
                    "differences": {"macro_auroc": m("macro_auroc", -loss, 0.01)},
                    "risk_change": {"macro_risk_change": m("macro_risk_change", 0.02, 0.002)},
                    "flipped": {"macro_flipped": m("macro_flipped", 0.05, 0.01)},
                    "p": 0.001,
                    "p_holm": 0.004,
                    "state": "loss shown" if loss > 0.02 else "no loss shown",
                }
                for kind, amount, label, loss in (
                    ("noise", 0.02, "Gaussian noise, SD 2 % of the range", 0.004),
                    ("noise", 0.1, "Gaussian noise, SD 10 % of the range", 0.09),
                    ("rotation", 15, "Turned by 15 degrees, left or right at random", 0.06),
                )
            ],
            "worst": "noise_0.1",
            "multiplicity": "holm",
            "sentence": "Of 3 changes this one costs most: Gaussian noise, SD 10 % of the range.",
            "note": "The changes imitate what goes wrong with pictures.",
        },
        "explanation": {
            "kind": "maps",
            "method": "grad_cam",
            "label": "Grad-CAM",
            "means": "The maps weigh the network's last feature maps.",
            "note": "A heat map is no outline of the finding and no cause.",
            "sentence": "Heat maps passed their checks for pleural effusion; they could not be judged for the rest.",
            "findings": {k: _maps(k, i) for i, k in enumerate(keys)},
            "sanity": {
                "parameter_randomisation": {"sentence": "With random weights the maps change.", "state": "pass"}
            },
            "agreement": {
                "methods": {"layer_cam": "LayerCAM"},
                "estimates": {"layer_cam": m("spearman", 0.8, 0.04)},
                "sentence": "Places are ranked by Grad-CAM and LayerCAM with a correlation of 0.80.",
            },
            "networks": 2,
            "network_note": "The reported risk is the mean of 2 networks; the maps are those of the first.",
            "n": 350,
            "patients": 300,
            "sampled": {"sentence": "Checks look at samples of pictures."},
        },
        "gallery": {
            "kind": "gallery",
            "per": 1,
            "groups": {"missed": "Present, and missed with the lowest risk", "uncertain": "Least certain"},
            "ids": False,
            "n": 350,
            "findings": {
                k: {
                    "name": FINDINGS[k][0],
                    "label": label[k],
                    "threshold": 0.2,
                    "uncertain_by": "spread",
                    "cases": {
                        "missed": [{"case": 2 * i + 1, "risk": 0.03, "reference": 1, "spread": 0.01}],
                        "uncertain": [{"case": 2 * i + 2, "risk": 0.21, "reference": None, "spread": 0.2}],
                    },
                    "of": {"missed": 12, "uncertain": 350},
                    "sentence": f"{label[k]}: from a risk of 0.2 on, 12 of 90 pictures with it are missed.",
                }
                for i, k in enumerate(keys)
            },
        },
    }


def _maps(key, i):
    """The checks of one finding's heat maps; the last finding has no regions."""

    def check(name, state, **estimates):
        sentence = f"What the check of {name} says."
        return {"check": name, "passed": state == "pass", "state": state, "sentence": sentence, "estimates": estimates}

    place = check(
        "localisation",
        "pass" if i == 0 else "fail",
        pointing=m("pointing", 0.5 - 0.2 * i, 0.06, lo=0),
        inside=m("inside", 0.3, 0.02),
        iou=m("iou", 0.2, 0.02),
    )
    place |= {"chance": {"pointing": 0.08, "inside": 0.08, "iou": 0.05}, "swapped": m("pointing", 0.2, 0.05, lo=0)}
    return {
        "name": FINDINGS[key][0],
        "label": FINDINGS[key][1],
        "present": 60,
        "known": 340,
        "state": "pass" if i == 0 else "not enough evidence",
        "sentence": f"{FINDINGS[key][1]}: the maps depend on what the network has learned.",
        "checks": {
            "parameter_randomisation": check("parameter_randomisation", "pass", spearman=m("spearman", 0.1, 0.02)),
            "deletion_insertion": check("deletion_insertion", "not enough evidence"),
            "localisation": place if i < 2 else None,
        },
        "agreement": {"layer_cam": m("spearman", 0.8, 0.04)},
        "same_ranking": 1.0,
    }


_KEPT = ("auroc", "auprc", "brier", "scaled_brier", "log_loss")


def _of_findings(keys: list[str]) -> dict[str, Any]:
    """The performance of several findings: each as a yes/no outcome, and the means."""
    found = {k: _yes_no(*(FINDINGS[k][i] if i != 1 else 350 for i in (2, 1, 3, 4))) for k in keys}
    for one in found.values():
        one["baselines"] = {"prevalence": one["baselines"]["null"], "acquisition": one["baselines"]["age_only"]}
        one["differences"] = {"prevalence": one["differences"]["null"], "acquisition": one["differences"]["age_only"]}
        one["curves"]["decision"]["baselines"] = {"acquisition": one["curves"]["decision"]["baselines"]["age_only"]}
        for base in one["baselines"]["prevalence"].values():
            base["lower"] = base["upper"] = None

    def spread(blocks, names=None):
        out = {}
        for name in names or list(blocks[keys[0]]):
            values = [b[name]["value"] for b in blocks.values()]
            mean = m("macro_" + name.replace("auprc", "average_precision"), float(np.mean(values)), 0.012)
            out[mean["name"]] = {**mean, "n": 350, "events": 190}
        return out | {
            f"{name}@{k}": {**one, "name": f"{name}@{k}"} for k, b in blocks.items() for name, one in b.items()
        }

    return {
        "kind": "multilabel",
        "n": 350,
        "events": 190,
        "patients": 300,
        "draws": 1000,
        "level": 0.95,
        "interval_method": "percentile bootstrap of patients with all their rows, the same patients for all findings",
        "conventions": "Each finding is evaluated on the rows where it is known.",
        "labels": {k: FINDINGS[k][1] for k in keys},
        "findings": found,
        "measures": spread({k: f["measures"] for k, f in found.items()}, _KEPT),
        "baselines": {
            b: spread({k: f["baselines"][b] for k, f in found.items()}) for b in ("prevalence", "acquisition")
        },
        "differences": {
            b: spread({k: f["differences"][b] for k, f in found.items()}) for b in ("prevalence", "acquisition")
        },
    }


def _network(keys: list[str]) -> dict[str, Any]:
    board = (
        ("small_cnn", "Small residual network", "candidate", 0.84),
        ("prevalence", "Prevalence", "baseline", 0.5),
        ("acquisition", "View, tags and borders", "baseline", 0.7),
    )

    def score(value, n):
        return {"value": value, "lower": value - 0.02, "upper": value + 0.02, "n": n, "note": ""}

    def gap(kind, value, verdict):
        size = score(value, 220) if value is not None else {"value": None, "lower": None, "upper": None, "n": 0}
        advice = "more training patients" if verdict == "present" else ""
        return {"kind": kind, "size": size, "verdict": verdict, "sentence": f"What {kind} costs.", "advice": advice}

    return {
        "name": "small_cnn",
        "title": "Small residual network",
        "description": "Small residual network that trains on a processor.",
        "family": "network",
        "parameters": {"max_epochs": 20},
        "n_fitted": 900,
        "n_tune": 220,
        "leaderboard": [
            {
                "name": name,
                "title": title,
                "kind": kind,
                "metric": "macro_auroc",
                "mean": v,
                "lower": v - 0.03,
                "upper": v + 0.03,
                "folds": [v],
                "trials": 1,
                "seconds": None,
                "parameters": {},
                "note": "",
                "chosen": kind == "candidate",
            }
            for name, title, kind, v in board
        ],
        "choice": "Small residual network had the highest macro AUROC on the tune part.",
        "network": {
            "architecture": "small_cnn",
            "options": {"widths": [16, 32]},
            "parameters": 612345,
            "estimators": 2,
            "probe": False,
            "initial_weights": {
                "sha256": "ab" * 32,
                "loaded": 604,
                "skipped": 2,
                "missing": 0,
                "share": 1.0,
                "sentence": "604 of 604 tensors of the backbone loaded, 2 of the file skipped, the head new",
            },
            "preprocessing": {"shape": [224, 224], "mean": 0.51, "sd": 0.25, "source": "training pictures"},
            "augmentation": {"rotation": 7.0, "translation": 0.05, "gamma": 0.2, "noise": 0.0},
            "loss": "weighted",
            "optimizer": "adamw",
            "learning_rate": 0.002,
            "batch_size": 32,
            "max_epochs": 20,
            "test_time_augmentation": 0,
        },
        "learning": _learning(),
        "precision": {"used": "bf16-mixed", "auroc_change": -0.0004, "limit": 0.002, "checked": True},
        "tuning": {"metric": "macro_auroc", "direction": "maximize", "trials": 1},
        "fit_diagnosis": {
            "scores": {"train": score(0.95, 900), "tune": score(0.84, 220), "test": score(0.83, 350)},
            "gaps": [
                gap("variance", 0.11, "present"),
                gap("bias", None, "not enough evidence"),
                gap("mismatch", 0.51, "small"),
            ],
            "summary": "Work on variance first: more training patients.",
        },
        "calibration": {
            "method": "by finding",
            "scores": {},
            "parameters": {},
            "sentence": "Each finding was calibrated on the tune part.",
            "findings": {
                k: {"method": "sigmoid", "scores": {"none": 0.41, "sigmoid": 0.39}, "sentence": "", "parameters": {}}
                for k in keys
            },
        },
        "threshold": {
            "value": None,
            "rule": "of each finding the risk at which sensitivity plus specificity is highest on the tune part",
            "findings": {k: {"value": 0.2} for k in keys},
        },
        "optimism": None,
        "sample_size": None,
        "coefficients": None,
        "ratio_name": None,
    }


def multilabel(keys: tuple[str, ...] = tuple(FINDINGS)) -> dict[str, Any]:
    """A network that reads several findings from chest radiographs."""
    r, keys = _common("binary"), list(keys)
    perf = _of_findings(keys)
    macro = perf["measures"]["macro_auroc"]
    r["task"] = "classify"
    r["study"] |= {
        "id": "chest-findings",
        "title": "Findings on chest radiographs",
        "outcome_label": "findings on a chest radiograph",
        "primary": "macro_auroc",
        "design": "diagnostic",
    }
    parts = {"train": {"n": 1120, "patients": 900, "events": 610}, "test": {"n": 350, "patients": 300, "events": 190}}
    r["data"] |= {
        "rows": 1470,
        "patients": 1200,
        "parts": parts,
        "missing": [],
        "images": {
            "files": 1480,
            "refused": {"too-big": 2, "not-a-picture": 8},
            "size": 224,
            "bits": 8,
            "views": {"AP": 600, "PA": 840, "unknown": 30},
        },
    }
    r["outcome"] = {
        "kind": "multilabel",
        "label": "findings on a chest radiograph",
        "unit": "day",
        "horizons": [],
        "reference_standard": "Consensus of two radiologists.",
        "prevalence": {},
        "followup": None,
        "curve": None,
        "findings": [
            {
                "name": FINDINGS[k][0],
                "key": k,
                "label": FINDINGS[k][1],
                "known": {"train": 1100, "test": 350},
                "positive": {"train": 240 - 50 * i, "test": perf["findings"][k]["events"]},
                "uncertain": 20,
                "unknown": 9,
                "prevalence": {
                    "train": _share("prevalence", 240 - 50 * i, 1100),
                    "test": _share("prevalence", perf["findings"][k]["events"], 350),
                },
            }
            for i, k in enumerate(keys)
        ],
    }
    r["model"], r["performance"] = _network(keys), perf
    r |= _picture_blocks(keys)
    r["verdict"] = {
        "state": "met",
        "openings": 1,
        "changed_after_opening": False,
        "criteria": [
            {
                "text": text,
                "measure": text.partition(" ")[0].removesuffix(".lower"),
                "value": macro["value"],
                "lower": macro["lower"],
                "upper": macro["upper"],
                "state": "met",
                "why": "all of the interval is above it",
            }
            for text in ("macro_auroc.lower >= 0.75", f"auroc@{keys[-1]}.lower >= 0.6")
        ],
        "simple_model": {"beaten": True, "sentence": "The network beats acquisition in macro_auroc by 0.12."},
    }
    r["subgroups"] = _subgroups("macro_auroc", 4)
    r["subgroups"]["measures"] = ["macro_auroc"]
    r["failures"] = r["stability"] = None
    r["limits"]["inputs"] = [
        {
            "name": "image",
            "label": "Chest radiograph (DICOM, PNG, JPEG or TIFF)",
            "unit": None,
            "kind": "picture",
            "range": None,
            "categories": ["AP", "PA"],
            "required": True,
        }
    ]
    r["limits"]["refusals"] = [{"code": "too-big", "reason": "The picture has too many pixels."}]
    return r
