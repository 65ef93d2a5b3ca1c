"""Made-up results of a study of notes, built on those of a study of pictures."""

from __future__ import annotations

import copy
import json
from typing import Any

HOSTILE = (
    'FINDINGS: <script>alert(1)</script> The heart is <b>enlarged</b> & "wide".\nNo pleural effusion \u202esnoisu.\x00'
)
ASSERTIONS = ["positive", "negative", "uncertain", "not_mentioned"]
RATES = ("precision", "recall", "f1", "kappa")


def measure(name: str, value: float | None, n: int = 350, events: int = 40) -> dict[str, Any]:
    """Return an estimate with an interval around it."""
    ends = (None, None) if value is None else (value - 0.05, min(value + 0.05, 1.0))
    return {
        "name": name, "value": value, "lower": ends[0], "upper": ends[1], "n": n, "events": events, "level": 0.95,
        "method": "percentile bootstrap of patients", "group": None, "against": None, "note": "",
    }  # fmt: skip


def span(text: str, words: str, assertion: str, **more: Any) -> dict[str, Any]:
    """Return a mention as the evidence of the lexicon gives it."""
    start = text.index(words)
    return {
        "finding": "Effusion", "start": start, "end": start + len(words), "assertion": assertion, "context": "",
        "rule": "stated", "concept": "effusion", "section": "findings", "trigger_start": None, "trigger_end": None,
        "location": None, "laterality": None, "severity": None, "size_mm": None, "change": None, "decided": True,
    } | more  # fmt: skip


def _errors(keys: list[str]) -> dict[str, Any]:
    one = {"positive": 1, "negative": 0, "uncertain": 1, "not_mentioned": 3}
    none = dict.fromkeys(ASSERTIONS, 0)
    each = {k: dict(one) if k == keys[0] else dict(none) for k in keys}
    return {"missed": {"all": dict(one), **each}, "false_alarms": {"all": dict(none), **copy.deepcopy(each)}}


def notes(multilabel: dict[str, Any], coding: str = "chexpert") -> dict[str, Any]:
    """Return the results of a study of notes from those of a study of pictures of the same findings."""
    r = multilabel
    keys = list(r["performance"]["findings"])
    r["task"] = "report_labels"
    r["study"] |= {"title": "Findings that reports state", "primary": "micro_f1"}
    perf = r["performance"]
    kinds = ["", "mention_", "negation_", "uncertainty_"] if coding == "chexpert" else [""]
    names = [f"{kind}{rate}" for kind in kinds for rate in RATES[:3]] + ["kappa"]
    values = {name: 0.7 + 0.02 * i for i, name in enumerate(names)}
    for pool in ("micro", "macro"):
        perf["measures"] |= {f"{pool}_{n}": measure(f"{pool}_{n}", v) for n, v in values.items()}
    for i, k in enumerate(keys):
        perf["measures"] |= {f"{n}@{k}": measure(f"{n}@{k}", v - 0.1 * i) for n, v in values.items()}
    beside = {name: measure(name, record["value"] - 0.3) for name, record in perf["measures"].items()}
    perf["baselines"] = {"keywords": beside, "lexicon": copy.deepcopy(beside)}
    perf["differences"] = {b: {"micro_f1": measure("micro_f1", 0.2)} for b in perf["baselines"]}
    few = coding == "certain"
    table = [[30, 1, 1, 8], [5, 200, 5, 100]] if few else [[30, 1, 1, 8], [2, 90, 0, 4], [1, 1, 6, 2], [3, 2, 0, 199]]
    gold = ["positive", "not_positive"] if few else list(ASSERTIONS)
    r["report_labels"] = {
        "gold_coding": coding,
        "assertions": list(ASSERTIONS),
        "gold_assertions": gold,
        "confusion": copy.deepcopy(table),
        "targets": {
            k: {
                "n": 350,
                "gold": dict(zip(gold, map(sum, table), strict=True)),
                "said": {},
                "confusion": copy.deepcopy(table),
            }
            for k in keys
        },
        "not_estimable": [],
        "conventions": "Kappa is Cohen's.",
        "titles": {"keywords": "Keywords without assertion", "lexicon": "Lexicon with assertion rules"},
        "agreement": {
            "with": "Lexicon with assertion rules",
            "same_model": False,
            "kappa": measure("micro_kappa", 0.8),
            "by_finding": {k: measure(f"kappa@{k}", 0.8) for k in keys},
        },
        "errors": _errors(keys),
        "unseen": {"n": 300, "of": 350, "micro_f1": measure("micro_f1", 0.77)},
    }
    r["data"].pop("images")
    r["data"]["notes"] = {
        "notes": 1480,
        "refused": {"EMPTY": 9, "NOT_ENGLISH": 1},
        "flags": {"html": 4},
        "characters": {"median": 267.0, "q1": 199.0, "q3": 349.0, "longest": 1439},
        "coding": coding,
        "identifiers": "none",
        "lexicon": {
            "name": "chest-xray", "version": "1.0.0", "digest": "4a" * 32, "targets": "nih", "shipped": True,
        },
    }  # fmt: skip
    r["subgroups"] = json.loads(json.dumps(r["subgroups"]).replace("macro_auroc", "micro_f1"))
    r["shortcuts"] = r["gallery"] = None
    r["case_uncertainty"]["note"] = "Each finding refers its own most uncertain notes."
    r["model"]["network"] = None
    r["model"]["threshold"]["rule"] = "of each finding the risk at which F1 is highest"
    r["robustness"] = {
        "measure": "micro_f1",
        "of_notes": True,
        "n": 350,
        "of": 350,
        "changes": [
            {
                "key": kind,
                "kind": kind,
                "amount": 1.0,
                "label": label,
                "measures": {"micro_f1": measure("micro_f1", 0.7)},
                "differences": {"micro_f1": measure("micro_f1", lost)},
                "flipped": None,
                "labels_changed": 0.031,
                "p": 0.01,
                "p_holm": 0.02,
                "state": state,
            }
            for kind, label, lost, state in (
                ("capitals", "All capitals", -0.001, "no loss shown"),
                ("typing", "Typing errors, in 10 % of words", -0.07, "loss shown"),
            )
        ],
        "sentence": "Of 2 changes typing errors cost most.",
        "note": "Only notes of another hospital show what the model loses there.",
    }
    text = HOSTILE
    case = {"case": 1, "risk": 0.91, "threshold": 0.4, "lexicon": "negative"}
    at = text.index("No pleural")
    spans = [
        span(text, "pleural effusion", "negative", trigger_start=at, trigger_end=at + 2, rule="negation before: no"),
        span(text, "heart is <b>enlarged", "positive", context="history", severity="mild", size_mm=12.0),
        span(text, "effusion", "uncertain", decided=False),
    ]
    r["explanation"] = {
        "words": {
            "shown": True,
            "findings": {
                keys[0]: [{"word": "effusion", "weight": 3.1, "patients": 80}, {"word": "no", "weight": -0.7}],
            },
            "note": "Weights of the regression; words in the notes of at least 10 patients.",
        },
        "importance": None,
        "shap": None,
        "effects": None,
        "error_browser": {
            "text": True,
            "ids": False,
            "per": 10,
            "lexicon": {"name": "chest-xray", "version": "1.0.0"},
            "findings": {
                k: {
                    "label": perf["labels"][k],
                    "missed": [],
                    "false_alarm": [{**case, "spans": spans}] if k == keys[0] else [],
                }
                for k in keys
            },
            "notes": {"1": text},
        },
    }
    r["limits"] = {
        "inputs": [{"name": "report", "label": "Note (text)", "kind": "text", "required": True}],
        "refusals": [{"code": "EMPTY", "reason": "The note is empty."}],
        "limitations": ["Labels say what the report states."],
    }
    return r
