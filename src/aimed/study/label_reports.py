"""Labelling the reports of a table, as the command line does: columns found by name, counts told, no text shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aimed.text.stream import LabelledStream, label_stream

__all__ = ["finding_rows", "label_reports", "refused_and_flagged"]


def label_reports(
    source: str | Path,
    out: str | Path,
    *,
    text: Sequence[str] = (),
    unit: str | None = None,
    lexicon: str = "chest-xray",
    targets: str = "chexpert",
    jobs: int = 1,
    progress: Callable[[float, str], object] | None = None,
) -> LabelledStream:
    """Label the reports of a file.

    Parameters
    ----------
    source, out : path
        A table, and the Parquet file of labels; evidence is written beside it.
    text : sequence of str
        The column of reports, or several that are sections of one; found by their names when empty.
    unit : str, optional
        Column of ids to carry along.
    lexicon : str
        A shipped lexicon, or the path of one.
    targets : str
        A set of labels of the lexicon.
    jobs : int
        Processes; -1 for as many as processors.
    progress : callable, optional
        Told a share and a count.

    Raises
    ------
    DataError
        If the table, a column or the lexicon is not there.
    """
    return label_stream(
        source,
        out,
        text=None if not text else text[0] if len(text) == 1 else list(text),
        unit=unit,
        lexicon=Path(lexicon) if lexicon.endswith(".toml") else lexicon,
        targets=targets,
        n_jobs=jobs,
        progress=progress,
    )


def finding_rows(done: LabelledStream) -> list[tuple[str, int, int, int, int]]:
    """Return finding and reports: present, uncertain, absent, and those that were read and do not mention it."""
    read = done.reports - sum(done.refused.values())
    rows = []
    for finding, of in done.findings.items():
        present, uncertain, absent = of["present"], of["uncertain"], of["absent"]
        rows.append((finding, present, uncertain, absent, read - present - uncertain - absent))
    return rows


def refused_and_flagged(done: LabelledStream) -> list[str]:
    """Return one line for reports that were refused and one for those with something odd, with their codes."""
    lines = []
    for what, counted in (("refused", done.refused), ("flagged", done.flagged)):
        if counted:
            lines.append(f"{what}: {', '.join(f'{code} {n:,}' for code, n in counted.items())}")
    return lines
