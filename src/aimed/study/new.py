"""Writing a study file from a table: everything that can be inferred is, the rest is a comment to fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aimed.core import DataError, StudyFileError, nearest
from aimed.readers.table import describe_columns
from aimed.study.spec import read_spec

__all__ = ["guess_patient", "relative_source", "toml_string", "toml_value", "write_study"]

_PATIENT = ("patient_id", "patientid", "patient", "person_id", "subject_id", "subject", "usubjid", "mrn", "pid", "id")
_TIME = ("time", "time_days", "days", "futime", "lenfol", "duration", "survival_time", "tte", "follow_up", "followup")
_EVENT = ("event", "status", "death", "died", "fstat", "cens", "censor", "arrest")
_OUTCOME = ("outcome", "label", "target", "diagnosis", "disease", "y", "death", "died", "event")


def toml_string(text: str) -> str:
    r"""Return a TOML basic string.

    Examples
    --------
    >>> toml_string('say "no"')
    '"say \\"no\\""'
    """
    out = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in out) + '"'


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    return toml_string(str(value))


def _guess(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {c.lower(): c for c in names}
    return next((lower[k] for k in known if k in lower), None)


def guess_patient(names: Sequence[str]) -> str | None:
    """Return the column that looks like a patient id by its name.

    Examples
    --------
    >>> guess_patient(["age", "Patient ID"])
    'Patient ID'
    """
    plain = {re.sub(r"[\s-]+", "_", c.lower()): c for c in names}
    return next((plain[k] for k in _PATIENT if k in plain), None)


def relative_source(source: Any, relative_to: Path | None) -> str:
    """Return how a study file names a source: relative to its folder where it lies in it; ``frame`` for a frame."""
    if not isinstance(source, (str, Path)):
        return "frame"
    if isinstance(source, str) and source.startswith("builtin:"):
        return source
    path = Path(source).resolve()
    if relative_to is not None and path.is_relative_to(relative_to.resolve()):
        return str(path.relative_to(relative_to.resolve()))
    return str(path)


def write_study(
    source: Any,
    *,
    outcome: str | None = None,
    patient: str | None = None,
    time: str | None = None,
    event: str | None = None,
    horizons_days: Sequence[float] = (),
    positive: Any = None,
    event_value: Any = None,
    competing: Mapping[Any, str] | None = None,
    title: str | None = None,
    study_id: str | None = None,
    relative_to: Path | None = None,
) -> str:
    """Return the text of a commented study file for a table.

    Parameters
    ----------
    source : str, path or frame
        A frame is written as ``source = "frame"``; the frame is then handed over when the study runs.
    outcome : str, optional
        Binary outcome column.
    patient : str, optional
        Patient column; guessed by name when absent.
    time, event : str, optional
        Columns of a time-to-event outcome.
    horizons_days : sequence of float
        Needed with `time` and `event`.
    event_value : value, optional
        Value of `event` that means the event of interest; 1 when absent.
    competing : mapping of value to str, optional
        Values of `event` that mean another event, and what it is called.
    positive : value, optional
        Value that means the outcome is present.
    title, study_id : str, optional
    relative_to : path, optional
        Folder of the study file; a path in it is written relative to it.

    Raises
    ------
    DataError
        If the patient or outcome column cannot be told.

    Examples
    --------
    >>> print(write_study("builtin:breast_cancer", outcome="diagnosis", patient="id", positive="malignant")[:10])
    schema = 1
    """
    columns = describe_columns(source)
    names = [c["name"] for c in columns]
    kinds = {c["name"]: c for c in columns}
    for what, name in (("outcome", outcome), ("patient", patient), ("time", time), ("event", event)):
        if name is not None and name not in names:
            close = nearest(name, names)
            raise DataError(
                f"{what} names the column '{name}', which is not in the table",
                f"one of its {len(names)} columns",
                f"did you mean '{close}'?" if close else "see the header of the table",
            )
    patient = patient or guess_patient(names)
    if patient is None:
        raise DataError(
            "no column looks like a patient id",
            "one, because every split is grouped by patient",
            "give --patient COLUMN",
        )
    if outcome is not None and outcome == patient:
        raise DataError(f"'{outcome}' is named as outcome and as patient", "two columns", "give another --outcome")
    survival = time is not None or (outcome is None and bool(_guess(names, _TIME)) and bool(_guess(names, _EVENT)))
    if survival:
        time, event = time or _guess(names, _TIME), event or _guess(names, _EVENT)
        if event is None:
            raise DataError("no event column is named", "time and event", "give --event COLUMN")
    elif outcome is None:
        outcome = next((c for c in names if c.lower() in _OUTCOME and kinds[c]["levels"] == 2), None)
        if outcome is None:
            raise DataError("no column looks like a yes/no outcome", "one", "give --outcome COLUMN")
    label = relative_source(source, relative_to)
    stem = re.sub(r"[^a-z0-9]+", "-", (study_id or title or Path(label.removeprefix("builtin:")).stem).lower()).strip(
        "-"
    )
    target = event if survival else outcome
    taken = {patient, outcome, time, event}
    predictors = [c["name"] for c in columns if c["kind"] in ("number", "category") and c["name"] not in taken]
    aside = [c["name"] for c in columns if c["kind"] in ("date", "text") and c["name"] not in taken]
    example = toml_string(predictors[0]) if predictors else "age"
    lines = [
        "schema = 1",
        "",
        "[study]",
        f"id = {toml_string(stem or 'study')}",
        f"title = {toml_string(title or f'Prediction of {target}')}",
        f'task = "{"survival" if survival else "risk"}"    # risk (by a fixed time), classify (now) or survival',
        "seed = 1",
        'intended_use = ""    # who will use the prediction, when, and for which decision',
        "not_for = []         # where it must not be used",
        "",
        "[data]",
        f"source = {toml_string(label)}",
        f"patient = {toml_string(patient)}    # every split is grouped by it",
        "include = []         # inclusion rules such as 'age >= 18'; the rows each removes are counted",
        "",
        "[outcome]",
    ]
    if survival:
        if not horizons_days:
            raise StudyFileError("no horizon is given", "horizons in days for a survival study", "give --horizon 365")
        lines += [
            f"time = {toml_string(str(time))}",
            f"event = {toml_string(str(event))}",
            f"horizons_days = {toml_value([float(h) for h in horizons_days])}",
        ]
        if event_value is not None:
            lines.append(f"event_value = {toml_value(event_value)}")
        if competing:
            pairs = ", ".join(f"{toml_string(str(v))} = {toml_string(name)}" for v, name in competing.items())
            lines.append(f"competing = {{ {pairs} }}")
        elif kinds[str(event)]["levels"] > 2:
            lines += [
                "# event has more than two values: say what the events that compete with it are called.",
                "# event_value = 1",
                '# competing = { 2 = "death from another cause" }',
            ]
    else:
        lines.append(f"column = {toml_string(str(outcome))}")
        if positive is not None:
            lines.append(f"positive = {toml_value(positive)}")
        else:
            lines.append("# positive = 1    # the value that means the outcome is present")
    lines += [
        f"label = {toml_string(str(target))}",
        'reference_standard = ""    # how the outcome was established',
        "",
        "[predictors]",
        f"# {len(predictors)} columns may be used; remove what is not known at the moment of prediction.",
        "include = [",
        *(f"  {toml_string(c)}," for c in predictors),
        "]",
        'missing = "mean_indicators"    # or multiple_imputation, complete_case, iterative, native',
        *([f"# set aside as dates or free text: {', '.join(aside)}"] if aside else []),
        "",
        "# Say what the columns mean; values outside the range are reported.",
        "# [variables]",
        f"# {example} = {{ label = 'Age', unit = 'years', range = [0, 110] }}",
        "",
        "[split]",
        'test = { by = "patient", fraction = 0.25 }    # or by = "time" / "site" / "column"',
        'tune = { by = "patient", folds = 5 }',
        "",
        "[evaluate]",
        "accept = []    # written before the run, such as "
        + (
            "'cause_specific_c.lower >= 0.6'"
            if competing
            else "'uno_c.lower >= 0.65'"
            if survival
            else "'auroc.lower >= 0.7', 'calibration_slope in [0.8, 1.2]'"
        ),
        "",
        "[subgroups]",
        "columns = []    # such as 'sex'; every measure is repeated in each group",
        "",
    ]
    text = "\n".join(lines)
    read_spec(text)
    return text
