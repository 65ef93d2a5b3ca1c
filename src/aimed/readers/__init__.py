"""Readers turn a source into a cohort; each kind of data has its own."""

from aimed.core import Catalog

READERS = Catalog(
    "reader",
    {
        "table": ("aimed.readers.table:read_table", "CSV, TSV, Parquet, Arrow files, polars and pandas frames."),
        "pictures": (
            "aimed.readers.image_table:read_image_table",
            "A table that points at radiographs: DICOM, PNG, JPEG, TIFF, folders and zip archives.",
        ),
        "volumes": (
            "aimed.readers.volume_table:read_volume_table",
            "Scans and masks: Medical Segmentation Decathlon, nnU-Net, BIDS, or a table of NIfTI and DICOM.",
        ),
        "builtin": ("aimed.readers.builtin:load", "Real data sets that ship with well-kept packages."),
    },
    group="aimed.readers",
)
