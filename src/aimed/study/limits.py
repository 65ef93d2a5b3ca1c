"""The limits of a model: what the evidence behind it does not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimed.study.spec import StudySpec

__all__ = ["limitations"]


def limitations(spec: StudySpec, record: Mapping[str, Any]) -> list[str]:
    """Return what the evidence does not cover, in sentences.

    Parameters
    ----------
    spec : StudySpec
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
    findings = record["outcome"].get("findings")
    regions = record["outcome"].get("regions")
    if findings:
        said += _of_findings(findings, record)
    elif regions:
        said += _of_regions(regions, record)
    elif record["task"] == "effect":
        said += _of_effects(record)
    elif events < 100:
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
    if not record["subgroups"] and not (record.get("effect") or {}).get("subgroups"):
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
    return said


_FEW_PATIENTS = 50


def _of_regions(regions: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[str]:
    """Return what a test part of scans does not say."""
    said = []
    patients = record["data"]["parts"]["test"].get("patients")
    if patients is not None and patients < _FEW_PATIENTS:
        said.append(
            f"The test part has scans of {patients} patients; below {_FEW_PATIENTS} the intervals of mean Dice tend to "
            "be too short."
        )
    few = [
        f"{one['label']} ({one['present']['test']})"
        for one in regions
        if (one.get("present") or {}).get("test") is not None and one["present"]["test"] < _FEW_PATIENTS
    ]
    if few:
        said.append(f"Fewer than {_FEW_PATIENTS} test scans have: {', '.join(few)}.")
    if not record["outcome"].get("reference_standard"):
        said.append("Who outlined the reference, and how well readers agree, is not recorded: it bounds any Dice.")
    said.append(
        "One tune part said when training stops, which candidate is taken and what is cleared away from outlines, and "
        "taught the expected Dice and the intervals of volumes; only the test part is untouched by these choices."
    )
    lost = sum((record["data"].get("volumes") or {}).get("refused", {}).values())
    if lost:
        said.append(f"{lost} scans were refused and are in no part; performance on such scans is unknown.")
    return said


def _of_effects(record: Mapping[str, Any]) -> list[str]:
    """Return what a study of effects does not say."""
    effect, said = record["effect"], list[str]()
    if effect["estimand"]["assignment"] == "observational":
        said.append(
            "Treatment was not randomised: effects are right only if everything that led to treatment and to the "
            "outcome was measured and adjusted for. The E-value says how strong something unmeasured would have to be."
        )
    overlap = effect["overlap"]
    if overlap["trimmed"] is not None and "poorly" in overlap["sentence"]:
        cut, measure = overlap["trimmed"], overlap["trimmed"]["measure"]
        said.append(
            f"{overlap['sentence']} Among the {cut['kept']} of {cut['n']} patients who could have had either treatment "
            f"the effect is {measure['value']:.3g} ({measure['lower']:.3g} to {measure['upper']:.3g})."
        )
    if not effect["estimand"]["intercurrent"]:
        said.append("What happened after treatment began, such as stopping or switching it, was not declared.")
    found = effect["heterogeneity"]
    if found["state"] != "evidence":
        said.append(
            f"{found['sentence']} Predicted effects of single patients are shown to be checked, not to be used; the "
            "average effect stands for everyone."
        )
    said.append(
        "The average effect uses all patients; the model of single effects was fitted on the training part and judged "
        "on the test part alone. The tests of heterogeneity have low power in trials of the usual size."
    )
    return said


def _of_silver(record: Mapping[str, Any]) -> list[str]:
    """Return what labels read out of reports do not say."""
    noise = record.get("label_noise")
    if noise is None:
        return []
    said = [
        "Part of the training labels was read out of reports. How wrong they are was estimated on "
        f"{noise['rows']} training pictures of {noise['patients']} patients that have a gold label too; it holds for "
        "the others only if those were drawn without regard to how hard the picture or the report is. The test part "
        "was judged by gold labels alone."
    ]
    thin = [one["label"] for one in noise["findings"] if one["state"] != "estimated"]
    if thin:
        said.append(f"There is not enough evidence on the label noise of: {', '.join(thin)}.")
    return said


def _of_findings(findings: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[str]:
    """Return what a test part of pictures or notes does not say."""
    said = []
    notes = record["data"].get("notes")
    what = "notes" if notes is not None else "pictures"
    few = [f"{one['label']} ({one['positive']['test']})" for one in findings if one["positive"]["test"] < 100]
    if few:
        said.append(
            f"Fewer than 100 test {what} have: {', '.join(few)}. At least 100 with and 100 without are advised for a "
            "precise external evaluation (Collins et al., Stat Med 2016;35:214), so these intervals are wide."
        )
    if notes is not None:
        said.append(
            "Labels say what the report states, not what the picture shows: a finding that the radiologist missed or "
            "did not mention is no finding here."
        )
        refused = sum(notes["refused"].values())
        if refused:
            said.append(f"{refused} notes were refused and are in no part; performance on such notes is unknown.")
        return said
    said.append(
        "One tune part said when training stops, which candidate is taken, how risks are calibrated and where the "
        "thresholds lie; only the test part is untouched by these choices."
    )
    said += _of_silver(record)
    refused = sum((record["data"].get("images") or {}).get("refused", {}).values())
    if refused:
        said.append(f"{refused} files were refused and are in no part; performance on such files is unknown.")
    return said
