"""Reading a study of notes: its table, one cleaned text a row, and what the reference standard says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import Cohort, DataError, RefusedError, StudyFileError, Variable, nearest
from aimed.core.outcome import Multilabel
from aimed.readers.columns import Declared
from aimed.readers.note_set import NoteSet
from aimed.readers.note_table import join_sections
from aimed.readers.source import open_table
from aimed.readers.table import read_table
from aimed.study.pictures import finding_column, finding_labels, label_matrix
from aimed.study.spec import SYNTHETIC_REPORTS, NotesPart, SilverPart, StudySpec, SyntheticPart
from aimed.study.tasks import bands_of, check_subgroups, declared_of

__all__ = ["lexicon_path", "note_facts", "notes_of", "notes_part", "read_note_cohort", "texts_of", "written_reports"]

_ROW, _READ = "aimed:row", "note_read"


def notes_of(cohort: Cohort) -> NoteSet:
    """Return the notes of a cohort."""
    found = cohort.assets["notes"]
    if not isinstance(found, NoteSet):
        raise TypeError("a cohort of notes is needed")
    return found


def notes_part(spec: StudySpec) -> NotesPart:
    """Return the part of a study file that says where its notes are."""
    if spec.notes is None:
        raise TypeError("a study of notes is needed")
    return spec.notes


def lexicon_path(spec: StudySpec, part: NotesPart | SilverPart, where: str = "[notes]") -> str:
    """Return the name of a shipped lexicon, or the path of a file beside the study file.

    Raises
    ------
    RefusedError
        If there is no such file.
    """
    if not part.lexicon.endswith(".toml"):
        return part.lexicon
    path = spec.folder / part.lexicon
    if not path.is_file():
        raise RefusedError(
            f"{where} 'lexicon' names a file that is not there", "a TOML file", "paths start at the study file"
        )
    return str(path)


def read_note_cohort(
    spec: StudySpec, place: Path, data: Any = None, progress: Callable[[float, str], None] | None = None
) -> Cohort:
    """Read the rows of a study of notes.

    Parameters
    ----------
    spec : StudySpec
    place : path
        Folder for synthetic reports.
    data : frame, optional
        Takes the place of ``[data] source``.
    progress : callable, optional

    Returns
    -------
    Cohort
        With ``assets["notes"]``, a `NoteSet`, a `Multilabel` outcome (1 where the reference standard is certain that
        the finding is there), and the labels as they were written as columns of role ``outcome``. Notes that were
        refused are counted in the flow.

    Raises
    ------
    DataError
        If no note can be read, or a label is none of 1, 0, -1 and missing.
    """
    notes = notes_part(spec)
    source: Any = data
    if data is None:
        written = spec.data.source == SYNTHETIC_REPORTS
        source = written_reports(spec, place) if written else spec.folder / spec.data.source
    table, label = open_table(source, encoding=spec.data.encoding, separator=spec.data.separator)
    frame = table.collect()
    if progress is not None:
        progress(0.3, "the table is read")
    if not frame.height:
        raise DataError("the table of notes has no row", "one row a note", "check the export")
    said = NoteSet(texts_of(frame, notes))
    if not said.usable.any():
        codes = ", ".join(f"{code} {n}" for code, n in said.refused.items())
        raise DataError(
            f"not one of the {said.total:,} notes can be read ({codes})", "notes", "see what the codes mean"
        )
    for name in spec.outcome.findings:
        _known(frame, name, "[outcome] findings")
    raw_whole = label_matrix(frame, spec)
    frame = frame.with_columns(pl.Series(_READ, np.where(said.usable, "yes", "no"))).with_row_index(_ROW)
    described = list(dict.fromkeys([*spec.subgroups.columns, _READ, _ROW]))
    described += [c for c in (spec.split.test.column,) if c and c not in described]
    cohort = read_table(
        frame,
        patient=spec.data.patient,
        unit=spec.data.unit,
        site=spec.data.site,
        time=spec.data.time,
        include=[f"{_READ} == 'yes'", *spec.data.include],
        predictors=(),
        descriptors=described,
        bands=bands_of(spec),
        declared={**declared_of(spec), _ROW: Declared(kind="number")},
    )
    rows = cohort.column(_ROW).astype(np.int64)
    raw = raw_whole[rows]
    titles = finding_labels(spec)
    kept = [v for v in cohort.variables if v.name not in (_ROW, _READ)]
    flow = [
        replace(step, step="Notes that can be read") if step.step == f"{_READ} == 'yes'" else step
        for step in cohort.flow
    ]
    labels = [Variable(name=finding_column(n), role="outcome", label=titles[n]) for n in spec.outcome.findings]
    cohort = replace(
        cohort,
        variables=[*kept, *labels],
        columns={
            **{v.name: cohort.columns[v.name] for v in kept},
            **{finding_column(name): raw[:, j] for j, name in enumerate(spec.outcome.findings)},
        },
        outcome=Multilabel(values=certain(raw, notes), targets=spec.outcome.findings),
        assets={"notes": _some(said, rows)},
        flow=flow,
        source=SYNTHETIC_REPORTS if spec.data.source == SYNTHETIC_REPORTS and data is None else label,
    )
    check_subgroups(spec, cohort)
    return cohort


def certain(raw: NDArray[np.float64], notes: NotesPart) -> NDArray[np.float64]:
    """Return 1 where the reference standard is certain that a finding is there, else 0, NaN where it is unknown.

    In CheXpert's coding a blank is no gap: the note does not mention the finding.
    """
    odd = ~(np.isnan(raw) | np.isin(raw, (-1.0, 0.0, 1.0)))
    if odd.any():
        raise DataError(
            f"{int(odd.sum())} labels are none of 1, 0, -1 and missing",
            "1 present, 0 absent, -1 uncertain",
            "recode the columns",
        )
    if notes.coding == "chexpert":
        return np.where(raw == 1.0, 1.0, 0.0)
    if (raw == -1.0).any():
        raise DataError(
            f"{int((raw == -1.0).sum())} labels are -1 (uncertain)",
            "1 and 0 where only certain findings were labelled",
            "say [notes] coding = 'chexpert' where -1 is uncertain and a blank is not mentioned",
        )
    return np.asarray(raw)


def _some(said: NoteSet, rows: NDArray[np.int64]) -> NoteSet:
    place = np.full(said.total, -1)
    place[said.index] = np.arange(len(said))
    return said.take(place[rows])


def texts_of(frame: pl.DataFrame, notes: NotesPart | SilverPart, where: str = "[notes]") -> list[str | None]:
    """Return the note of each row; sections in columns of their own get their heading back.

    Parameters
    ----------
    frame : DataFrame
    notes : NotesPart or SilverPart
        Which columns hold the texts.
    where : str
        The table of the study file that says so.

    Raises
    ------
    StudyFileError
        If a column is not there, or holds no text.
    """
    columns = [notes.column] if notes.column is not None else list(notes.sections.values())
    for name in columns:
        _known(frame, name, where)
        if frame[name].dtype != pl.String and frame[name].null_count() < frame.height:
            raise StudyFileError(
                f"{where} names the column '{name}', which holds no text",
                "a column of text",
                "name the column of the notes",
            )
    cells = [frame[name].cast(pl.String).to_list() for name in columns]
    if notes.column is not None:
        return list(cells[0])
    return [join_sections(tuple(notes.sections), row) for row in zip(*cells, strict=True)]


def _known(frame: pl.DataFrame, name: str, where: str) -> None:
    if name not in frame.columns:
        close = nearest(name, frame.columns)
        raise StudyFileError(
            f"{where} names the column '{name}', which is not in the table",
            "a column of the table",
            f"did you mean '{close}'?" if close else "see its header",
        )


def written_reports(spec: StudySpec, place: Path) -> Path:
    """Return the table of synthetic reports of a study, written when it is not there yet."""
    from aimed.synthetic.reports import write_reports

    asked = spec.data.synthetic or SyntheticPart()
    target = place / f"reports-{asked.patients}-{asked.seed}-{asked.difficulty:g}.csv"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".draft")
        write_reports(draft, asked.patients, seed=asked.seed, difficulty=asked.difficulty)
        draft.rename(target)
    return target


def note_facts(cohort: Cohort) -> dict[str, Any]:
    """Return the ``data.notes`` block: how many notes, refused ones by code, oddities, and how long they are."""
    notes = notes_of(cohort)
    flags = Counter(flag for one in notes.flags for flag in one)
    length = np.asarray([len(text) for text in notes.texts])
    q1, median, q3 = np.quantile(length, [0.25, 0.5, 0.75]).tolist()
    return {
        "notes": notes.total,
        "refused": notes.refused,
        "flags": dict(sorted(flags.items())),
        "characters": {"median": median, "q1": q1, "q3": q3, "longest": int(length.max())},
    }
