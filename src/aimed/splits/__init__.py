"""Splits draw disjoint parts of a cohort by patient, time or site, and lock them."""

from aimed.core import Catalog

SPLITS = Catalog(
    "split",
    {
        "patient": ("aimed.splits.draw:by_patient", "A random share of patients, stratified by outcome."),
        "time": ("aimed.splits.draw:by_time", "Patients whose index date is on or after a day."),
        "site": ("aimed.splits.draw:by_site", "Sites held out as a whole."),
        "column": ("aimed.splits.draw:by_column", "A column of the table that says train or test."),
    },
    group="aimed.splits",
)
