"""Assembling the results: one record from the payloads of the stages, the one source of every number shown."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aimed
from aimed.core import (
    Binary,
    Cohort,
    CompetingRisks,
    Continuous,
    Masks,
    Measure,
    Multilabel,
    NotEstimableError,
    Split,
    Survival,
)
from aimed.metrics.calibration_competing import incidence_by
from aimed.metrics.censor_marks import censor_marks
from aimed.metrics.competing import aalen_johansen
from aimed.metrics.draws import PatientDraws
from aimed.metrics.evaluate_multilabel import finding_key
from aimed.metrics.nonparametric import kaplan_meier, median_followup, survival_at
from aimed.metrics.proportions import wilson
from aimed.study.describe import describe_data
from aimed.study.limits import limitations
from aimed.study.pictures import finding_labels, raw_labels
from aimed.study.regions import region_table
from aimed.study.spec import StudySpec
from aimed.study.stages import Facts
from aimed.study.tasks import checklists_of, outcome_label, primary_of, task_of
from aimed.trust.checklist import fill
from aimed.trust.criteria import judge, overall
from aimed.trust.subgroups import worst_subgroups

__all__ = ["reproduce", "results"]

PACKAGES = (
    "aimed",
    "numpy",
    "scipy",
    "scikit-learn",
    "polars",
    "optuna",
    "shap",
    "skops",
    "matplotlib",
    "torch",
    "pydicom",
)

OF_THE_MODEL = ("coefficients", "proportional_hazards", "nomogram")
"""What the explanation stage computes and the record keeps with the model."""

OF_THE_FIT = ("fit_diagnosis",)
"""What the evaluation stage computes and the record keeps with the model."""


def _outcome(spec: StudySpec, cohort: Cohort, split: Split) -> dict[str, Any]:
    outcome = cohort.outcome
    parts = {"all": np.arange(cohort.n), **split.parts}
    block: dict[str, Any] = {
        "kind": task_of(spec).kind,
        "label": outcome_label(spec),
        "unit": spec.outcome.unit,
        "horizons": list(spec.outcome.at()),
        "competing": list(spec.outcome.competing.values()),
        "reference_standard": spec.outcome.reference_standard,
        "uncertain": spec.outcome.uncertain if spec.outcome.findings else None,
        "followup": None,
        "curve": None,
        "prevalence": {},
    }
    level, seed = spec.evaluate.level, spec.study.seed
    if isinstance(outcome, Binary):
        y = outcome.values.astype(np.float64)
        for part, rows in parts.items():
            block["prevalence"][part] = _prevalence(cohort, rows, y, level, seed)
    elif isinstance(outcome, Multilabel):
        block["findings"] = _findings(spec, cohort, outcome, parts)
    elif isinstance(outcome, Masks):
        block["regions"] = _regions(spec, outcome, parts)
    elif isinstance(outcome, Survival):
        horizon = float(spec.outcome.at()[-1])
        event, time = outcome.event, outcome.time
        for part, rows in parts.items():
            curve = kaplan_meier(event[rows], time[rows], level=level)
            risk = 1.0 - float(curve.at([horizon])[0])
            if _repeated(cohort, rows):
                low, high = _by_patient(cohort, rows, partial(_risk, event[rows], time[rows], horizon), level, seed)
                method = PATIENT_METHOD
            else:
                bounds = [1.0 - float(bound[0]) for bound in curve.interval_at([horizon])]
                low, high, method = bounds[1], bounds[0], "Kaplan-Meier, log-log interval"
            block["prevalence"][part] = Measure(
                name=f"risk@{horizon:g}",
                value=risk,
                lower=low,
                upper=high,
                n=rows.size,
                events=int(event[rows].sum()),
                level=level,
                method=method,
            ).to_dict()
        block["followup"] = _followup(cohort, event, time, level)
        grid, at_risk = _shown(time)
        curve = kaplan_meier(outcome.event, outcome.time)
        below, above = curve.interval_at(grid)
        block["curve"] = {
            "times": grid,
            "survival": curve.at(grid),
            "lower": below,
            "upper": above,
            "censored": censor_marks(outcome.time, ~outcome.event, grid),
            "at_risk": at_risk,
        }
    elif isinstance(outcome, CompetingRisks):
        block |= _competing(spec, cohort, outcome, parts)
    elif isinstance(outcome, Continuous):
        block["measured_in"] = outcome.unit
        block["measured"] = {part: _measured(outcome.values[rows]) for part, rows in parts.items()}
    return block


def _measured(values: NDArray[np.float64]) -> dict[str, float | int]:
    """Return how a measured outcome is spread."""
    q1, median, q3 = (float(v) for v in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"mean": float(values.mean()), "sd": float(values.std(ddof=1)), "q1": q1, "median": median, "q3": q3,
            "n": int(values.size)}  # fmt: skip


def _prevalence(
    cohort: Cohort, rows: NDArray[np.int64], y: NDArray[np.float64], level: float, seed: int
) -> dict[str, Any]:
    """Return the share of rows with the outcome, of those that are known."""
    rows = rows[~np.isnan(y[rows])]
    events = int(y[rows].sum())
    low: float | None
    high: float | None
    if not rows.size:
        low, high, method = None, None, "known in no row"
    elif _repeated(cohort, rows):
        low, high = _by_patient(cohort, rows, partial(_share, y[rows]), level, seed)
        method = PATIENT_METHOD
    else:
        low, high = wilson(events, rows.size, level)
        method = "Wilson"
    return Measure(
        name="prevalence",
        value=events / rows.size if rows.size else None,
        lower=low,
        upper=high,
        n=rows.size,
        events=events,
        level=level,
        method=method,
    ).to_dict()


def _findings(
    spec: StudySpec, cohort: Cohort, outcome: Multilabel, parts: Mapping[str, NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """Return of each finding how often it is known, present, uncertain and unknown, in each part."""
    raw, labels, found = raw_labels(cohort), finding_labels(spec), []
    for j, name in enumerate(outcome.targets):
        y = outcome.values[:, j]
        found.append(
            {
                "name": name,
                "key": finding_key(name),
                "label": labels[name],
                "known": {part: int((~np.isnan(y[rows])).sum()) for part, rows in parts.items()},
                "positive": {part: int((y[rows] == 1).sum()) for part, rows in parts.items()},
                "uncertain": int((raw[:, j] == -1).sum()),
                "unknown": int(np.isnan(raw[:, j]).sum()),
                "prevalence": {
                    part: _prevalence(cohort, rows, y, spec.evaluate.level, spec.study.seed)
                    for part, rows in parts.items()
                },
            }
        )
    return found


def _regions(spec: StudySpec, outcome: Masks, parts: Mapping[str, NDArray[np.int64]]) -> list[dict[str, Any]]:
    """Return of each region in how many scans it is, and how large, in each part."""
    found = []
    for j, one in enumerate(region_table(spec)):
        volume = outcome.volumes[:, j]
        sizes = {}
        for part, rows in parts.items():
            there = volume[rows][volume[rows] > 0]
            q1, median, q3 = np.quantile(there, [0.25, 0.5, 0.75]).tolist() if there.size else (None, None, None)
            sizes[part] = {"median": median, "q1": q1, "q3": q3, "n": int(there.size)}
        found.append(
            {
                **one,
                "present": {part: int((volume[rows] > 0).sum()) for part, rows in parts.items()},
                "known": {part: int((~np.isnan(volume[rows])).sum()) for part, rows in parts.items()},
                "volume_ml": sizes,
            }
        )
    return found


def _competing(
    spec: StudySpec, cohort: Cohort, outcome: CompetingRisks, parts: Mapping[str, NDArray[np.int64]]
) -> dict[str, Any]:
    """Return incidence by the last horizon in each part, follow-up, and the curves of all kinds of event."""
    level, seed, horizon = spec.evaluate.level, spec.study.seed, float(spec.outcome.at()[-1])
    prevalence = {}
    for part, rows in parts.items():
        cause, time = outcome.cause[rows], outcome.time[rows]
        low: float | None
        high: float | None
        if _repeated(cohort, rows):
            low, high = _by_patient(cohort, rows, partial(_incidence, cause, time, horizon), level, seed)
            method = PATIENT_METHOD
        else:
            bounds = aalen_johansen(cause, time, cause=1, level=level).interval_at([horizon])
            low, high, method = float(bounds[0][0]), float(bounds[1][0]), "Aalen-Johansen, log-log interval"
        prevalence[part] = Measure(
            name=f"risk@{horizon:g}",
            value=incidence_by(cause, time, horizon),
            lower=low,
            upper=high,
            n=rows.size,
            events=int((cause == 1).sum()),
            level=level,
            method=method,
        ).to_dict()
    clustered = _repeated(cohort, parts["all"])
    grid, at_risk = _shown(outcome.time)
    curve = aalen_johansen(outcome.cause, outcome.time, level=level, patient=cohort.patient if clustered else None)
    incidence, (below, above) = curve.at(grid), curve.interval_at(grid)
    return {
        "prevalence": prevalence,
        "followup": _followup(cohort, outcome.cause > 0, outcome.time, level),
        "curve": {
            "times": grid,
            "causes": [
                {
                    "label": label,
                    "events": int((outcome.cause == k + 1).sum()),
                    "incidence": incidence[:, k],
                    "lower": below[:, k],
                    "upper": above[:, k],
                }
                for k, label in enumerate(outcome.labels)
            ],
            "event_free": 1.0 - incidence.sum(axis=1),
            "at_risk": at_risk,
        },
    }


def _followup(
    cohort: Cohort, ended: NDArray[np.bool_], time: NDArray[np.float64], level: float
) -> dict[str, float | None]:
    """Return the median follow-up; its interval only where rows are independent."""
    median, lower, upper = median_followup(ended, time, level)
    clustered = _repeated(cohort, np.arange(cohort.n))
    return {"median": median, "lower": None if clustered else lower, "upper": None if clustered else upper}


def _shown(time: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return the times at which the curves of the whole cohort are drawn, and the numbers at risk under them."""
    end = float(np.quantile(time, 0.98))
    ticks = np.linspace(0.0, end, 6)
    counts = {"all": [int((time >= t).sum()) for t in ticks]}
    return np.linspace(0.0, end, 81), {"times": ticks, "counts": counts}


PATIENT_DRAWS = 300
PATIENT_METHOD = f"percentile bootstrap of patients, {PATIENT_DRAWS} draws"


def _repeated(cohort: Cohort, rows: NDArray[np.int64]) -> bool:
    """Whether some patient has several of the rows, so that rows are not independent."""
    return bool(np.unique(cohort.patient[rows]).size < rows.size)


def _share(y: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return float(weights @ y / weights.sum())


def _risk(event: NDArray[np.bool_], time: NDArray[np.float64], horizon: float, weights: NDArray[np.float64]) -> float:
    return 1.0 - float(survival_at(event, time, horizon, weights))


def _incidence(
    cause: NDArray[np.int16], time: NDArray[np.float64], horizon: float, weights: NDArray[np.float64]
) -> float:
    drawn = weights > 0
    found = aalen_johansen(cause[drawn], time[drawn], weights[drawn], cause=1)
    return float(found.at([horizon])[0])


def _by_patient(
    cohort: Cohort, rows: NDArray[np.int64], statistic: Callable[[NDArray[np.float64]], float], level: float, seed: int
) -> tuple[float | None, float | None]:
    found = []
    for weights in PatientDraws(cohort.patient[rows], rows.size, draws=PATIENT_DRAWS, seed=seed).rows():
        try:
            found.append(statistic(np.asarray(weights, dtype=np.float64)))
        except NotEstimableError:
            continue
    if len(found) < 0.9 * PATIENT_DRAWS:
        return None, None
    ends = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return float(ends[0]), float(ends[1])


def _lookup(performance: Mapping[str, Any], subgroups: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return every measure a criterion may name."""
    found: dict[str, Any] = dict(performance["measures"])
    for baseline, measures in performance["differences"].items():
        for name, measure in measures.items():
            found[f"difference({baseline}).{name}"] = measure
    if subgroups is not None:
        found |= worst_subgroups(subgroups)
    return found


def results(
    spec: StudySpec,
    cohort: Cohort,
    split: Split,
    *,
    digest: str,
    lock_sha256: str,
    findings: Sequence[Mapping[str, Any]],
    fitted: Mapping[str, Any],
    calibrated: Mapping[str, Any],
    evidence: Mapping[str, Any],
    explanation: Mapping[str, Any],
    subgroups: Mapping[str, Any] | None,
    openings: Sequence[Mapping[str, Any]],
    changed_after_opening: bool,
    found: Facts,
) -> dict[str, Any]:
    """Return the whole record except how it was made; see `reproduce`.

    Parameters
    ----------
    evidence : mapping
        What the evaluation stage found: ``performance`` and further blocks of the record.
    found : Facts
        What the stages say of the fitted model beside what fitting and judging returned.
    """
    head, performance = spec.study, evidence["performance"]
    of_effects = spec.treatment is not None
    criteria = judge(list(spec.evaluate.accept), _lookup(performance, None if of_effects else subgroups))
    sample = next(
        (f["evidence"] for f in findings if f["check"] == "sample_size" and "required" in f["evidence"]), None
    )
    record: dict[str, Any] = {
        "schema": 1,
        "aimed_version": aimed.__version__,
        "task": head.task,
        "study": {
            "id": head.id,
            "title": head.title,
            "intended_use": head.intended_use,
            "intended_users": list(head.intended_users),
            "not_for": list(head.not_for),
            "population": head.population,
            "setting": head.setting,
            "license": head.license,
            "design": head.design or task_of(spec).design,
            "seed": head.seed,
            "file_sha256": spec.digest(),
            "outcome_label": outcome_label(spec),
            "primary": primary_of(spec),
            "text": spec.text,
            "statements": dict(spec.report.statements),
        },
        "verdict": {
            "state": overall(criteria),
            "criteria": criteria,
            "openings": len(openings),
            "changed_after_opening": changed_after_opening,
            "simple_model": dict(found.simple),
        },
        "checks": [dict(f) for f in findings],
        "data": {**describe_data(cohort, split, digest), **found.data},
        "outcome": _outcome(spec, cohort, split),
        "split": {
            "by": split.by,
            "fraction": spec.split.test.fraction if split.by == "patient" else None,
            "seed": head.seed,
            "lock_sha256": lock_sha256,
            "proof": split.proof(),
            "openings": [dict(o) for o in openings],
        },
        "model": {
            **fitted,
            "calibration": calibrated["calibration"],
            "threshold": calibrated["threshold"],
            "sample_size": sample,
            "optimism": calibrated["optimism"],
            **{name: explanation.get(name) for name in OF_THE_MODEL},
            **found.model,
            **{name: evidence[name] for name in OF_THE_FIT if name in evidence},
        },
        **{name: block for name, block in evidence.items() if name not in OF_THE_FIT},
        "subgroups": subgroups,
        "explanation": {k: v for k, v in explanation.items() if k not in (*OF_THE_MODEL, "gallery")},
        "gallery": explanation.get("gallery"),
        "limits": None,
        "checklists": {},
    }
    if of_effects:
        record["effect"] |= {"subgroups": subgroups, "patients": explanation.get("patients")}
        record["subgroups"] = None
        record["explanation"].pop("patients", None)
    record["limits"] = {**found.inputs, "limitations": limitations(spec, record)}
    return record


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def reproduce(
    record: dict[str, Any],
    spec: StudySpec,
    seconds: Mapping[str, float],
    peak_memory_mb: float,
    digests: Mapping[str, str],
) -> None:
    """Add how the results were made (versions, machine, seed, time, digests) and the checklists, which speak of it."""
    record["created"] = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    record["reproduce"] = {
        "command": f"aimed run {spec.file}",
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "seed": record["study"]["seed"],
        "seconds": dict(seconds),
        "peak_memory_mb": peak_memory_mb,
        "digests": {"study file": record["study"]["file_sha256"], "data": record["data"]["digest"], **digests},
    }
    statements = dict(spec.report.statements)
    record["checklists"] = {name: fill(record, statements, name) for name in checklists_of(spec)}
