"""The limits of a model: what it takes in, what it refuses, and what the evidence does not cover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimed.bundle.schema import CODES, Schema
from aimed.study.spec import StudySpec

__all__ = ["deployment_limits"]


def deployment_limits(spec: StudySpec, schema: Schema, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs, refusals and the limitations that follow from the evidence.

    Parameters
    ----------
    spec : StudySpec
    schema : Schema
        What the packaged model takes.
    record : mapping
        The results so far.
    """
    data, performance = record["data"], record["performance"]
    said: list[str] = []
    if spec.split.test.by == "patient":
        said.append(
            "The test part was drawn from the same source as the training part; there is no external test. "
            "Performance elsewhere is unknown."
        )
    if not data["sites"] or len(data["sites"]) == 1:
        said.append("No site is recorded or there is one site only; variation between sites was not assessed.")
    if not data["dates"]:
        said.append("No index dates are recorded; change over time was not assessed.")
    events = data["parts"]["test"]["events"]
    if events < 100:
        said.append(
            f"The test part has {events} events; at least 100 events and 100 non-events are advised for a precise "
            "external evaluation (Collins et al., Stat Med 2016;35:214), so the intervals are wide."
        )
    for gap in data["missing"]:
        if gap["fraction"] > 0.4:
            said.append(f"{gap['label']} is missing in {gap['fraction']:.0%} of the rows.")
    warned = [f for f in record["checks"] if f["severity"] == "WARN"]
    if warned:
        many = "1 warning" if len(warned) == 1 else f"{len(warned)} warnings"
        said.append(f"{many} of the data checks; see the checks section.")
    thin = [
        f"{column['label']}: {group['group']}"
        for column in (record["subgroups"] or {}).get("columns", [])
        for group in column["groups"]
        if group["state"] == "not enough evidence"
    ]
    if thin:
        said.append(f"There is not enough evidence in {len(thin)} subgroups ({'; '.join(thin)}).")
    if not record["subgroups"]:
        said.append("No subgroups were declared; fairness was not assessed.")
    if performance.get("without_prediction"):
        said.append(f"{performance['without_prediction']} test rows got no prediction because values were missing.")
    if performance.get("would_be_refused"):
        said.append(
            f"{performance['would_be_refused']} of {performance['n']} test rows have values that the packaged model "
            "refuses; they are in the results, which are to that extent those of a wider use."
        )
    for f in record["checks"]:
        if f["check"] == "censoring" and "risk_of_all" in f["evidence"]:
            said.append(f["message"])
    if record["verdict"]["openings"] > 1:
        said.append(f"The test part was opened {record['verdict']['openings']} times; its results may be optimistic.")
    return {
        "inputs": [
            {
                "name": one.name,
                "label": one.label or one.name,
                "unit": one.unit,
                "kind": one.kind,
                "range": list(one.plausible or one.training_range or ()) or None,
                "training_range": list(one.training_range) if one.training_range else None,
                "categories": list(one.categories) or None,
                "required": one.required,
            }
            for one in schema.inputs
        ],
        "refusals": [{"code": code, "reason": reason} for code, reason in CODES.items()],
        "limitations": said,
    }
