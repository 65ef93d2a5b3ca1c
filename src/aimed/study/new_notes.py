"""Writing a study file for a table of notes: the texts, the findings and how they are coded are told by the values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from aimed.core import DataError, nearest
from aimed.study.new import guess_patient, relative_source, toml_string, toml_value
from aimed.study.new_pictures import first_rows, label_columns
from aimed.study.spec import read_spec
from aimed.text.lexicon import load_lexicon

__all__ = ["note_columns", "write_note_study"]

_SECTIONS = ("findings", "impression")
_LEAST = 40
"""Characters that a note has on average; a column of shorter texts holds names or categories."""
_ABOUT = ("age", "sex", "gender", "site", "year")


def note_columns(source: Any) -> list[str]:
    """Return the columns that hold notes: the longest text, or the sections of a report in columns of their own.

    Examples
    --------
    >>> note_columns(pl.DataFrame({"id": ["a"], "report": ["The heart is normal in size and the lungs are clear."]}))
    ['report']
    """
    frame, _ = first_rows(source)
    length: dict[str, float] = {}
    for name in frame.columns:
        if frame[name].dtype == pl.String:
            known = frame[name].drop_nulls()
            words = known.str.count_matches(r"\s").mean() if known.len() else 0.0
            mean = known.str.len_chars().mean() if known.len() else 0.0
            if isinstance(mean, float) and isinstance(words, float) and words >= 3:
                length[name] = mean
    named = [name for name in frame.columns if name.strip().lower() in _SECTIONS and name in length]
    if named:
        return named
    long = {name: mean for name, mean in length.items() if mean >= _LEAST}
    return [max(long, key=lambda name: long[name])] if long else []


def _targets(findings: Sequence[str]) -> tuple[str, list[str]]:
    """Return the set of labels that knows most of the findings, and those that it does not know."""
    lexicon = load_lexicon("chest-xray")

    def plain(name: str) -> str:
        return re.sub(r"[\W_]+", " ", name).strip().lower()

    best: tuple[str, list[str]] | None = None
    for name in lexicon.targets:
        known = {plain(target): target for target in lexicon.targets[name]}
        lost = [f for f in findings if plain(f) not in known]
        if best is None or len(lost) < len(best[1]):
            best = name, lost
    if best is None:
        raise DataError("the lexicon has no set of labels", "one at least", "install the package again")
    return best


def write_note_study(
    source: Any,
    *,
    text: str | None = None,
    findings: Sequence[str] = (),
    patient: str | None = None,
    title: str | None = None,
    relative_to: Path | None = None,
) -> str:
    """Return the text of a commented study file for a table of notes.

    Parameters
    ----------
    source : str, path or frame
    text : str, optional
        Column of the notes; told by its values when absent.
    findings : sequence of str, optional
        Columns of 1, 0, -1; all that hold nothing else when absent.
    patient : str, optional
        Patient column; guessed by name when absent.
    title : str, optional
    relative_to : path, optional
        Folder of the study file; a path in it is written relative to it.

    Raises
    ------
    DataError
        If the notes, the patients or a finding cannot be told.

    Examples
    --------
    >>> said = ["The heart is normal in size. No edema.", "There is edema of both the lungs."]
    >>> frame = pl.DataFrame({"patient_id": [1, 2], "Edema": [0, 1], "report": said})
    >>> print(write_note_study(frame, text="report").partition("[notes]")[2].splitlines()[1])
    column = "report"    # the text of each report
    """
    frame, _ = first_rows(source)
    for what, name in (("text", text), ("patient", patient), *(("finding", f) for f in findings)):
        if name is not None and name not in frame.columns:
            close = nearest(name, frame.columns)
            raise DataError(
                f"{what} names the column '{name}', which is not in the table",
                f"one of its {len(frame.columns)} columns",
                f"did you mean '{close}'?" if close else "see the header of the table",
            )
    notes = [text] if text is not None else note_columns(source)
    if not notes:
        raise DataError("no column holds notes", "a column of longer texts", "give --text COLUMN")
    patient = patient or guess_patient(frame.columns)
    if patient is None:
        raise DataError(
            "no column looks like a patient id",
            "one, because every split is grouped by patient",
            "give --patient COLUMN",
        )
    chosen = list(findings) or label_columns(frame, {*notes, patient}, also=("normal", "no finding", "no findings"))
    if not chosen:
        raise DataError("no column looks like a finding", "columns of 1, 0 and -1", "give --finding COLUMN")
    targets, lost = _targets(chosen)
    coded = any(frame[name].cast(pl.Float64, strict=False).eq(-1.0).any() for name in chosen)
    about = [c for c in frame.columns if c.lower() in _ABOUT and c.lower() != "age"]
    label = relative_source(source, relative_to)
    stem = re.sub(r"[^a-z0-9]+", "-", (title or Path(label).stem).lower()).strip("-")
    place = (
        [f"column = {toml_string(notes[0])}    # the text of each report"]
        if len(notes) == 1
        else ["sections = { " + ", ".join(f"{n.strip().lower()} = {toml_string(n)}" for n in notes) + " }"]
    )
    unknown = []
    if lost:
        same = ", ".join(f"{toml_string(name)} = {toml_string(name)}" for name in lost)
        unknown = [f"# the lexicon has no target for {', '.join(lost)}: say which one it is", f"names = {{ {same} }}"]
    lines = [
        "schema = 1",
        "",
        "[study]",
        f"id = {toml_string(stem or 'study')}",
        f"title = {toml_string(title or 'Which findings do the reports state?')}",
        'task = "report_labels"',
        "seed = 1",
        'intended_use = ""    # who will use the labels, when, and for which decision',
        "not_for = []         # where they must not be used",
        "",
        "[data]",
        f"source = {toml_string(label)}",
        f"patient = {toml_string(patient)}    # every split is grouped by it",
        "include = []         # inclusion rules such as 'year >= 2018'; the rows each removes are counted",
        "",
        "[notes]",
        *place,
        'lexicon = "chest-xray"    # or a TOML file of yours, which may extend it',
        f"targets = {toml_string(targets)}    # the set of labels of the lexicon",
        *unknown,
        f"coding = {toml_string('chexpert' if coded else 'certain')}    # chexpert: 1, 0, -1 uncertain, blank not "
        "mentioned; certain: 1 or 0",
        'identifiers = "possible"    # "none" where it is known that no note names anybody (aimed deidentify)',
        "",
        "[outcome]",
        "findings = [",
        *(f"  {toml_string(c)}," for c in chosen),
        "]",
        'reference_standard = ""    # who labelled the reports, and how',
        "",
        "[split]",
        'test = { by = "patient", fraction = 0.25 }    # or by = "time" / "site" / "column"',
        'tune = { by = "patient", folds = 5 }',
        "",
        "[model]",
        'candidates = ["lexicon", "words", "combined"]    # also encoder, a small network',
        "",
        "[evaluate]",
        "accept = []    # written before the run, such as 'micro_f1.lower >= 0.85'",
        "",
        "[subgroups]",
        f"columns = {toml_value(about)}",
        "",
    ]
    found = "\n".join(lines)
    read_spec(found)
    return found
