"""Writing a study file of effects from a table: the arms are told from the treatment column where that can be done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aimed.core import DataError, StudyFileError, nearest
from aimed.readers.table import describe_columns, raw_columns
from aimed.study.new import guess_patient, relative_source, toml_string, toml_value
from aimed.study.spec import read_spec

__all__ = ["guess_arms", "write_effect_study"]

_CONTROLS = (
    "0",
    "false",
    "no",
    "n",
    "control",
    "placebo",
    "usual care",
    "standard",
    "obs",
    "observation",
    "none",
    "sham",
)
_MOST_SHOWN = 6


def guess_arms(values: Sequence[Any]) -> tuple[Any, Any] | None:
    """Return control and active of a column of two values, where one of them has the name of a control.

    Examples
    --------
    >>> guess_arms(["drug", "placebo", "drug"]), guess_arms([1, 0]), guess_arms(["a", "b"])
    (('placebo', 'drug'), (0, 1), None)
    """
    found = sorted({v for v in values if v is not None and v == v}, key=str)
    if len(found) != 2:
        return None
    for control, active in (found, found[::-1]):
        word = re.sub(r"^\d+[_ .-]+", "", str(control).strip().lower())
        if word.removesuffix(".0") in _CONTROLS or str(control).strip().lower().removesuffix(".0") in _CONTROLS:
            return _plain(control), _plain(active)
    return None


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def write_effect_study(
    source: Any,
    *,
    treatment: str,
    control: str | None = None,
    active: str | None = None,
    outcome: str | None = None,
    positive: Any = None,
    time: str | None = None,
    event: str | None = None,
    horizons_days: Sequence[float] = (),
    patient: str | None = None,
    title: str | None = None,
    relative_to: Path | None = None,
) -> str:
    """Return the text of a commented study file of effects for a table.

    Parameters
    ----------
    source : str, path or frame
    treatment : str
        Column of the treatment.
    control, active : str, optional
        Its values of the two arms; told from the column when absent.
    outcome, positive, time, event, horizons_days, patient, title, relative_to
        As for `aimed.study.new.write_study`; a horizon is needed with `time` and `event`.

    Raises
    ------
    DataError
        If a column does not exist, there is no outcome, or the arms cannot be told.
    StudyFileError
        If a time to event has no horizon, or several.

    Examples
    --------
    >>> text = write_effect_study("builtin:aids", treatment="tx", time="time", event="censor", horizons_days=[300])
    >>> [line for line in text.splitlines() if line.startswith(("control", "active"))]
    ['control = "0"', 'active = "1"']
    """
    columns = describe_columns(source)
    names = [c["name"] for c in columns]
    for what, name in (
        ("treatment", treatment),
        ("outcome", outcome),
        ("patient", patient),
        ("time", time),
        ("event", event),
    ):
        if name is not None and name not in names:
            close = nearest(name, names)
            raise DataError(
                f"{what} names the column '{name}', which is not in the table",
                f"one of its {len(names)} columns",
                f"did you mean '{close}'?" if close else "see the header of the table",
            )
    patient = patient or guess_patient(names)
    if patient is None:
        raise DataError("no column looks like a patient id", "one a patient", "give --patient COLUMN")
    timed = time is not None and event is not None
    if not timed and outcome is None:
        raise DataError("no outcome is named", "a column, or time and event", "give --outcome, or --time and --event")
    if timed and len(horizons_days) != 1:
        raise StudyFileError(f"{len(horizons_days)} horizons", "one, by which effects are meant", "give --horizon 365")
    values = raw_columns(source, [treatment])[0][treatment]
    arms = (control, active) if control is not None and active is not None else guess_arms(list(values))
    if arms is None:
        levels = len({str(v) for v in values if v is not None})
        raise DataError(
            f"which of the {levels} values of '{treatment}' is the control cannot be told",
            "two arms",
            "give --control VALUE and --active VALUE; rows with other values are left out and counted",
        )
    label = relative_source(source, relative_to)
    stem = re.sub(r"[^a-z0-9]+", "-", (title or Path(label.removeprefix("builtin:")).stem).lower()).strip("-")
    target = event if timed else outcome
    taken = {patient, outcome, time, event, treatment}
    usable = [c["name"] for c in columns if c["kind"] in ("number", "category") and c["name"] not in taken]
    numeric = next((c for c in columns if c["name"] == outcome), {}).get("levels", 2) > 2
    lines = [
        "schema = 1",
        "",
        "[study]",
        f"id = {toml_string(stem or 'effect')}",
        f"title = {toml_string(title or f'Effect of {treatment} on {target}')}",
        'task = "effect"',
        "seed = 1",
        'intended_use = ""    # who will use the result, when, and for which decision',
        "not_for = []         # where it must not be used",
        'population = ""      # the patients the question is about',
        "",
        "[data]",
        f"source = {toml_string(label)}",
        f"patient = {toml_string(patient)}",
        "include = []         # inclusion rules such as 'age >= 18'; the rows each removes are counted",
        "",
        "[treatment]",
        f"column = {toml_string(treatment)}",
        f"control = {toml_value(arms[0])}",
        f"active = {toml_value(arms[1])}",
        'assignment = "observational"    # or "randomised", where chance alone decided',
        "# ratio = [1, 1]                # of a trial: active to control",
        "# strata = []                   # of a trial: columns within which patients were randomised",
        "",
        "[outcome]",
    ]
    if timed:
        lines += [
            f"time = {toml_string(str(time))}",
            f"event = {toml_string(str(event))}",
            f"horizon_days = {toml_value(float(horizons_days[0]))}",
        ]
    else:
        lines.append(f"column = {toml_string(str(outcome))}")
        if numeric:
            lines += ['kind = "continuous"', 'measured_in = ""    # unit']
        elif positive is not None:
            lines.append(f"positive = {toml_value(positive)}")
        else:
            lines.append("# positive = 1    # the value that means the outcome is present")
    contrast = "mean_difference" if numeric and not timed else "risk_difference"
    lines += [
        f"label = {toml_string(str(target))}",
        "",
        "[estimand]",
        f"contrast = {toml_string(contrast)}",
        'better = "lower"      # which way of the outcome is good',
        '# intercurrent = { "treatment stopped" = "treatment policy" }',
        "",
        "[predictors]",
        f"# {len(usable)} columns; all must have been measured before treatment began.",
        "adjust = [            # what may have led to treatment and to the outcome",
        *(f"  {toml_string(c)}," for c in usable),
        "]",
        f"modifiers = {toml_value(usable[:_MOST_SHOWN])}    # what the effect may depend on: few, named beforehand",
        "",
        "[split]",
        'test = { by = "patient", fraction = 0.4 }',
        "",
        "[evaluate]",
        f"accept = []    # written before the run, such as '{contrast}.upper < 0' or 'max_smd <= 0.1'",
        "",
        "[subgroups]",
        "columns = []    # such as 'sex': the effect in each group, with a test of interaction",
        "",
    ]
    text = "\n".join(lines)
    read_spec(text)
    return text
