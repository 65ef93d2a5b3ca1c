"""Readers turn a source into a cohort; each kind of data has its own."""

from aimed.core import Catalog

READERS = Catalog(
    "reader",
    {
        "table": ("aimed.readers.table:read_table", "CSV, TSV, Parquet, Arrow files, polars and pandas frames."),
        "builtin": ("aimed.readers.builtin:load", "Real data sets that ship with well-kept packages."),
    },
    group="aimed.readers",
)
