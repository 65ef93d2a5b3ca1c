"""Three-line use: a frame, an outcome and a patient column in; a run out, with the study file it implies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aimed.study.new import write_study
from aimed.study.reporter import Reporter
from aimed.study.run import Run, Study
from aimed.study.spec import read_spec
from aimed.study.store import RunFolder

__all__ = ["fit"]


def fit(
    data: Any,
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
    folder: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Run a study on a table with default settings, and write the study file it implies.

    Parameters
    ----------
    data : frame, str or path
        A polars or pandas frame, a file, or ``builtin:name``.
    outcome : str, optional
        Column of a binary outcome.
    patient : str
        Column of patient ids.
    time, event : str, optional
        Columns of a time-to-event outcome, with `horizons_days`.
    positive : value, optional
        Value of `outcome` that means it is present.
    event_value : value, optional
        Value of `event` that means the event of interest; 1 when absent.
    competing : mapping of value to str, optional
        Values of `event` that mean another event, and what it is called.
    title, study_id : str, optional
    folder : path, optional
        Run folder; ``runs/<study id>`` when absent. ``study.toml`` is written there.
    reporter : Reporter, optional

    Returns
    -------
    Run

    Examples
    --------
    >>> run = fit(frame, outcome="death", patient="patient_id")  # doctest: +SKIP
    >>> run.verdict, run.report  # doctest: +SKIP
    """
    text = write_study(
        data,
        outcome=outcome,
        patient=patient,
        time=time,
        event=event,
        horizons_days=horizons_days,
        positive=positive,
        event_value=event_value,
        competing=competing,
        title=title,
        study_id=study_id,
    )
    spec = read_spec(text)
    home = RunFolder(folder if folder is not None else Path("runs") / spec.study.id)
    study = Study(spec, data)
    study.read()
    home.open().write("study.toml", text)
    return study.run(home.path, reporter)
