"""The sixteen sections of the report in their order: one file a section, each from results to its parts."""

from aimed.core import Catalog

__all__ = ["SECTIONS"]

_HERE = "aimed.report.sections"

SECTIONS = Catalog(
    "section",
    {
        "verdict": (f"{_HERE}.verdict:build", "Acceptance criteria and the key numbers."),
        "checks": (f"{_HERE}.checks:build", "What the data checks found, and the lock of the split."),
        "data": (f"{_HERE}.data:build", "Flow, Table 1 and missing values."),
        "outcome": (f"{_HERE}.outcome:build", "Frequency of the outcome and follow-up."),
        "model": (f"{_HERE}.model:build", "The model, its tuning and its baselines."),
        "performance": (f"{_HERE}.performance:build", "Discrimination, calibration and clinical utility."),
        "uncertainty": (f"{_HERE}.uncertainty:build", "Intervals, optimism and stability."),
        "subgroups": (f"{_HERE}.subgroups:build", "Performance by group and gaps."),
        "sites": (f"{_HERE}.sites:build", "Sites and time."),
        "robustness": (f"{_HERE}.robustness:build", "Shifted and damaged inputs, refusals."),
        "explanation": (f"{_HERE}.explanation:build", "What the model uses, with sanity checks."),
        "failures": (f"{_HERE}.failures:build", "Where the errors gather."),
        "human-factors": (f"{_HERE}.human_factors:build", "Reader studies, where there are any."),
        "deployment": (f"{_HERE}.deployment:build", "Inputs, refusal rules and limits."),
        "checklists": (f"{_HERE}.checklists:build", "Reporting guidelines, item by item."),
        "reproduce": (f"{_HERE}.reproduce:build", "Command, versions, digests and times."),
    },
)
