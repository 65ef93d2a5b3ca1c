"""The shipped studies: which they are, what they need, and the index page of their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aimed.core import MissingExtraError, UnknownNameError
from aimed.report.index import render_index
from aimed.study.reporter import Reporter
from aimed.study.run import Run, study
from aimed.study.shipped import SHIPPED
from aimed.study.store import write_atomic

__all__ = ["run_demo", "write_index"]


def run_demo(
    names: list[str] | None = None, folder: str | Path = "runs", reporter: Reporter | None = None
) -> tuple[list[Run], list[MissingExtraError]]:
    """Run shipped studies, those whose data are installed.

    Parameters
    ----------
    names : list of str, optional
        Study names; all when absent.
    folder : path
        Each study gets a folder of its own in it.
    reporter : Reporter, optional

    Returns
    -------
    (list of Run, list of MissingExtraError)
        The runs, and for each study that was left out what it would need.

    Raises
    ------
    UnknownNameError
        If there is no such study.
    MissingExtraError
        If a study was named and its data are not installed.
    """
    for name in names or ():
        if name not in SHIPPED:
            raise UnknownNameError("shipped study", name, SHIPPED)
    runs, left_out = [], []
    for name in names or list(SHIPPED):
        try:
            runs.append(study(SHIPPED[name]).run(Path(folder) / name, reporter))
        except MissingExtraError as error:
            if names:
                raise
            left_out.append(error)
    return runs, left_out


def write_index(runs: list[Run], folder: str | Path, left_out: Sequence[MissingExtraError] = ()) -> Path:
    """Write the index page of a set of runs and return its path.

    Parameters
    ----------
    runs : list of Run
        In folders below `folder`.
    folder : path
    left_out : sequence of MissingExtraError
        Studies that could not run, shown with what they need.
    """
    entries = [{"results": run.results, "href": f"{run.folder.name}/report.html"} for run in runs]
    return write_atomic(Path(folder) / "index.html", render_index(entries, [str(error) for error in left_out]))
