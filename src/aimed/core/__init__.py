"""The nouns every room shares: cohort, outcome, split, prediction, measure, finding, catalogue and errors."""

from aimed.core.catalog import Catalog, Entry
from aimed.core.cohort import Cohort, FlowStep, Variable, is_missing
from aimed.core.errors import (
    AimedError,
    BundleError,
    DataError,
    MissingExtraError,
    NotEstimableError,
    RefusedError,
    StudyFileError,
    UnknownNameError,
    nearest,
)
from aimed.core.evaluation import Evaluation, Measure
from aimed.core.expression import Comparison, parse
from aimed.core.finding import Finding, Severity
from aimed.core.outcome import Binary, CompetingRisks, Continuous, Masks, Multilabel, Outcome, Survival
from aimed.core.prediction import Prediction
from aimed.core.split import Fold, Split

__all__ = [
    "AimedError",
    "Binary",
    "BundleError",
    "Catalog",
    "Cohort",
    "Comparison",
    "CompetingRisks",
    "Continuous",
    "DataError",
    "Entry",
    "Evaluation",
    "Finding",
    "FlowStep",
    "Fold",
    "Masks",
    "Measure",
    "MissingExtraError",
    "Multilabel",
    "NotEstimableError",
    "Outcome",
    "Prediction",
    "RefusedError",
    "Severity",
    "Split",
    "StudyFileError",
    "Survival",
    "UnknownNameError",
    "Variable",
    "is_missing",
    "nearest",
    "parse",
]
