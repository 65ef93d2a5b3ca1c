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
        "consort-2025": (
            "aimed.trust.checklist:consort_2025",
            "CONSORT 2025: 30 items on reporting randomised trials.",
        ),
        "ich-e9-r1": (
            "aimed.trust.checklist:ich_e9_r1",
            "ICH E9(R1): the attributes of an estimand, and estimators and sensitivity analyses in line with it.",
        ),
    },
    group="aimed.checklists",
)
