"""Trust: criteria in three states, subgroups, reporting checklists bound to evidence, and the model card."""

from aimed.core import Catalog

__all__ = ["CHECKLISTS"]

CHECKLISTS = Catalog(
    "checklist",
    {
        "tripod+ai": (
            "aimed.trust.checklist:tripod_ai",
            "TRIPOD+AI 2024: 27 items on reporting clinical prediction models.",
        ),
        "claim": (
            "aimed.trust.checklist:claim_2024",
            "CLAIM 2024: 44 items on reporting artificial intelligence in medical imaging.",
        ),
    },
    group="aimed.checklists",
)
