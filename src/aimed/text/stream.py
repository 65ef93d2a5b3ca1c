"""Labelling an archive: reports of any number from file to file, in bounded memory, taken up again after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

import aimed
from aimed.core import DataError, RefusedError
from aimed.readers.note_table import NoteBatch, NoteTable
from aimed.readers.note_text import decode_note

if TYPE_CHECKING:
    from aimed.text.labeller import ReportLabeller
    from aimed.text.labels import ReportLabels

__all__ = ["LabelledStream", "label_stream"]

Progress = Callable[[float, str], object]

_EVIDENCE: dict[str, Any] = {
    "target": pl.String,
    "concept": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "sentence_start": pl.Int64,
    "sentence_end": pl.Int64,
    "section": pl.String,
    "assertion": pl.String,
    "context": pl.String,
    "trigger_start": pl.Int64,
    "trigger_end": pl.Int64,
    "rule": pl.String,
    "location": pl.String,
    "laterality": pl.String,
    "severity": pl.String,
    "size_mm": pl.Float64,
    "change": pl.String,
    "decided": pl.Boolean,
}
_ROWS_A_GROUP = 100_000


@dataclass(frozen=True, slots=True)
class LabelledStream:
    """What came of it, in counts.

    Parameters
    ----------
    reports : int
    refused, flagged : dict of str to int
        Reports by code and by flag.
    findings : dict of str to dict
        For each target how many reports have it "present", "absent" and "uncertain".
    mentions : int
        Rows of evidence.
    resumed : int
        Reports that an earlier call had done before it was stopped.
    seconds : float
    labels : Path
    evidence : Path, optional
    """

    reports: int
    refused: dict[str, int]
    flagged: dict[str, int]
    findings: dict[str, dict[str, int]]
    mentions: int
    resumed: int
    seconds: float
    labels: Path = field(repr=False)
    evidence: Path | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without the paths."""
        return {
            "reports": self.reports,
            "refused": self.refused,
            "flagged": self.flagged,
            "findings": self.findings,
            "mentions": self.mentions,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
        }


def label_stream(
    source: str | Path | pl.DataFrame | pl.LazyFrame,
    target: str | Path,
    *,
    text: str | Sequence[str] | Mapping[str, str] | None = "report",
    unit: str | None = None,
    lexicon: Any = "chest-xray",
    targets: str = "chexpert",
    sections: Any = None,
    batch: int = 20_000,
    n_jobs: int = 1,
    evidence: bool | str | Path | None = True,
    progress: Progress | None = None,
) -> LabelledStream:
    """Label the reports of a table into Parquet files.

    Parameters
    ----------
    source : path or polars frame
        Parquet, Arrow or CSV; see `aimed.readers.note_table.NoteTable`.
    target : path
        Parquet file of labels, one row a report: "row" (from 0), "id" where asked for, "refusal", "flags" joined by
        commas, and 1, 0, -1 or null for each target. Written whole or not at all; an older file is replaced.
    text : str, sequence of str, or mapping of str to str, optional
        Column of reports; or columns of sections, put together under their names as headings; or heading to column.
        When None the columns that are called so.
    unit : str, optional
        Column of ids to carry along.
    lexicon, targets, sections
        As of `aimed.text.ReportLabeller`.
    batch : int
        Reports held at a time, and by each process.
    n_jobs : int
        Processes; -1 for as many as processors. The files are the same, byte for byte, whatever the number.
    evidence : bool or path
        Also write one row a mention: "row", "id" and the columns of `ReportLabels.evidence`, beside the labels as
        ``NAME.evidence.parquet`` or at the path given. Spans are counted in ``clean_note(report).text``.
    progress : callable, optional
        Told a share and a text that holds counts only.

    Returns
    -------
    LabelledStream

    Examples
    --------
    >>> import tempfile
    >>> notes = pl.DataFrame({"study": ["a", "b"], "report": ["Small left effusion. No pneumothorax.", ""]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = label_stream(notes, Path(folder) / "labels.parquet", unit="study")
    ...     pl.read_parquet(done.labels)["Pneumothorax"].to_list(), done.refused, done.mentions
    ([0, None], {'empty': 1}, 2)

    Raises
    ------
    DataError
        If the table or a column is not there.
    RefusedError
        If a worker process died; what was done is kept.

    Notes
    -----
    Finished batches, labels and ids but no text, wait beside `target` in a hidden folder that only its owner may open.
    A call that was killed goes on there when source, lexicon and settings are the same, and begins anew when they are
    not. A report the labeller cannot deal with is refused as "failed", a row of a text file with a wrong number of
    fields as "bad_row"; the others are labelled all the same. Parquet is read one row group at a time, so memory
    follows the larger of batch and row group. Where processes are used, a script needs ``if __name__ == "__main__"``.
    """
    began = monotonic()
    target = Path(target)
    if target.suffix.lower() not in (".parquet", ".pq"):
        raise DataError(f"labels in a file ending '{target.suffix}'", ".parquet", "name a Parquet file")
    if evidence is None or isinstance(evidence, bool):
        beside = target.with_name(f"{target.stem}.evidence{target.suffix}") if evidence else None
    else:
        beside = Path(evidence)
    jobs = (os.cpu_count() or 1) if n_jobs == -1 else n_jobs
    if jobs < 1:
        raise DataError(f"n_jobs={n_jobs}", "a positive number, or -1", "leave it out")
    table = NoteTable(source, text=text, unit=unit)
    _refuse_source(source, target, beside)
    # Made here once in any case: a lexicon with an error is told before a process is started.
    labeller = _labeller(lexicon, targets, sections)
    # Processes are handed what was read, not where from: the file may be edited meanwhile.
    settings = (labeller.lexicon, targets, sections)
    draft = target.with_name(f".{target.name}.draft")
    try:
        done = _take_up(
            draft, _key(table, text, unit, labeller, sections, batch, beside is not None), beside is not None
        )
        counted = _label_all(table, draft, labeller, settings, batch, jobs, beside is not None, done, progress)
        names = [f"{number:08d}" for number in range(counted.batches)]
        if not counted.batches:
            _write_batch(draft, "00000000", labeller, NoteBatch(0, [], table.no_ids(), {}, 1.0), beside is not None)
            names = ["00000000"]
        _join(draft, names, target, beside)
    except (OSError, pl.exceptions.PolarsError) as error:
        # polars has no class of its own for a full disk.
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(
            f"the labels could not be written ({reason or 'I/O error'})",
            "a folder with free space that may be written",
            "free some space; finished batches are kept",
        ) from None
    shutil.rmtree(draft, ignore_errors=True)
    counts = _counts(target, list(labeller.targets))
    mentions = 0 if beside is None else int(pl.scan_parquet(beside, glob=False).select(pl.len()).collect().item())
    return LabelledStream(
        **counts,
        mentions=mentions,
        resumed=counted.resumed,
        seconds=monotonic() - began,
        labels=target,
        evidence=beside,
    )


def _labeller(lexicon: Any, targets: str, sections: Any) -> ReportLabeller:
    from aimed.text.labeller import ReportLabeller

    return ReportLabeller(lexicon=lexicon, targets=targets, sections=sections)


def _refuse_source(source: Any, target: Path, beside: Path | None) -> None:
    if beside is not None and beside.resolve() == target.resolve():
        raise DataError("labels and evidence in one file", "two files", "name another one")
    if isinstance(source, (str, Path)) and Path(source).resolve() in (target.resolve(), beside and beside.resolve()):
        raise DataError("the labels would replace the reports", "another file", "name another one")


def _key(
    table: NoteTable, text: Any, unit: str | None, labeller: ReportLabeller, sections: Any, batch: int, evidence: bool
) -> str | None:
    stamp = table.stamp()
    if stamp is None:
        return None
    columns = list(text.items()) if isinstance(text, Mapping) else text
    parts = [aimed.__version__, stamp, columns, unit, batch, evidence, list(labeller.targets), repr(sections)]
    parts.append(labeller.lexicon.digest)
    return hashlib.sha256(json.dumps(parts, default=list).encode()).hexdigest()


def _whole(path: Path) -> bool:
    try:
        pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError):
        return False
    return True


def _take_up(draft: Path, key: str | None, evidence: bool) -> set[str]:
    """Return the batches that are there already; a draft of anything else is taken away."""
    note = draft / "key"
    if key is not None and note.is_file() and note.read_text() == key:
        names = {path.stem.removeprefix("labels-") for path in draft.glob("labels-*.parquet")}
        kinds = ("labels", "evidence") if evidence else ("labels",)
        return {name for name in names if all(_whole(draft / f"{kind}-{name}.parquet") for kind in kinds)}
    shutil.rmtree(draft, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    # Ids wait there too, where asked for.
    draft.mkdir(mode=0o700)
    if key is not None:
        note.write_text(key)
    return set()


@dataclass(slots=True)
class _Counted:
    batches: int = 0
    reports: int = 0
    resumed: int = 0


def _label_all(
    table: NoteTable,
    draft: Path,
    labeller: ReportLabeller,
    settings: tuple[Any, str, Any],
    batch: int,
    jobs: int,
    evidence: bool,
    done: set[str],
    progress: Progress | None,
) -> _Counted:
    counted = _Counted()

    def tell(of: NoteBatch) -> None:
        counted.reports += len(of.notes)
        if progress is not None:
            progress(of.share, f"{counted.reports:,} reports")

    def waiting() -> Iterator[tuple[str, NoteBatch]]:
        for of in table.batches(batch):
            name = f"{counted.batches:08d}"
            counted.batches += 1
            if name in done:
                counted.resumed += len(of.notes)
                tell(of)
            else:
                yield name, of

    if jobs == 1:
        for name, of in waiting():
            _write_batch(draft, name, labeller, of, evidence)
            tell(of)
        return counted
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=settings
    )
    running: deque[tuple[NoteBatch, Future[None]]] = deque()
    try:
        for name, of in waiting():
            running.append((of, pool.submit(_work, draft, name, of, evidence)))
            # Two batches a process at most, so that reading never runs ahead of labelling.
            while len(running) >= 2 * jobs:
                before, future = running.popleft()
                future.result()
                tell(before)
        for before, future in running:
            future.result()
            tell(before)
    except BrokenProcessPool:
        raise RefusedError(
            "a worker process died",
            "enough memory for every process",
            "run it again with fewer jobs or a smaller batch; it goes on where it stopped",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return counted


_OWN: list[ReportLabeller] = []


def _begin(*settings: Any) -> None:
    _OWN[:] = [_labeller(*settings)]


def _work(draft: Path, name: str, of: NoteBatch, evidence: bool) -> None:
    _write_batch(draft, name, _OWN[0], of, evidence)


def _write_batch(draft: Path, name: str, labeller: ReportLabeller, of: NoteBatch, evidence: bool) -> None:
    labels, mentions = _label_batch(labeller, of)
    if evidence:
        _write_frame(mentions, draft / f"evidence-{name}.parquet")
    # Last, because where it is there the batch is done.
    _write_frame(labels, draft / f"labels-{name}.parquet")


def _write_frame(frame: pl.DataFrame, path: Path) -> None:
    part = path.with_suffix(".part")
    frame.write_parquet(part)
    os.replace(part, path)


def _label_batch(labeller: ReportLabeller, of: NoteBatch) -> tuple[pl.DataFrame, pl.DataFrame]:
    notes: list[str] = []
    before: dict[int, tuple[str, ...]] = {}
    codes = dict(of.codes)
    for i, note in enumerate(of.notes):
        if isinstance(note, bytes):
            plain, _, flags, code = decode_note(note)
            if flags:
                before[i] = flags
            if code is not None:
                codes.setdefault(i, code)
            notes.append(plain)
        else:
            notes.append(note or "")
    values, refusals, flagged, mentions = _label_notes(labeller, notes)
    for i, flags in before.items():
        flagged[i] = ",".join(dict.fromkeys((*flags, *filter(None, flagged[i].split(",")))))
    for i, code in codes.items():
        refusals[i] = code
    columns: dict[str, Any] = {"row": pl.Series(np.arange(of.first, of.first + len(notes)), dtype=pl.Int64)}
    if of.ids is not None:
        columns["id"] = of.ids
    columns["refusal"] = pl.Series(refusals, dtype=pl.String).replace("", None)
    columns["flags"] = pl.Series(flagged, dtype=pl.String)
    for j, one in enumerate(labeller.targets):
        columns[one] = pl.Series(values[:, j]).fill_nan(None).cast(pl.Int8)
    labels = pl.DataFrame(columns)
    own = pl.col("report").cast(pl.Int64)
    head = [(own + of.first).alias("row")]
    if of.ids is not None:
        head.append(pl.lit(of.ids).gather(own).alias("id") if mentions.height else pl.lit(of.ids.clear()).alias("id"))
    rest = [
        pl.col(c).cast(_EVIDENCE[c]) if c in _EVIDENCE else pl.col(c) for c in mentions.columns if c not in ("report",)
    ]
    return labels, mentions.select(head + rest)


def _label_notes(
    labeller: ReportLabeller, notes: list[str]
) -> tuple[np.ndarray[Any, Any], list[str], list[str], pl.DataFrame]:
    """Label notes; where that fails, halve them until the one that fails stands alone, and refuse it."""
    try:
        found: ReportLabels = labeller.label(notes)
        flagged = [",".join(one) for one in found.flags]
        return found.values, [str(code) for code in found.refusals], flagged, found.evidence
    except Exception:
        # Its text could quote the note, so it goes no further.
        if len(notes) <= 1:
            nothing = labeller.label([]).evidence
            return np.full((len(notes), len(labeller.targets)), np.nan), ["failed"] * len(notes), [""], nothing
    middle = len(notes) // 2
    a = _label_notes(labeller, notes[:middle])
    b = _label_notes(labeller, notes[middle:])
    shifted = b[3].with_columns((pl.col("report") + middle).cast(a[3].schema["report"]))
    return np.concatenate([a[0], b[0]]), a[1] + b[1], a[2] + b[2], pl.concat([a[3], shifted])


def _join(draft: Path, names: list[str], target: Path, beside: Path | None) -> None:
    joined = []
    for kind, path in (("evidence", beside), ("labels", target)):
        if path is None:
            continue
        whole = draft / f"{kind}.whole"
        parts = [draft / f"{kind}-{name}.parquet" for name in names]
        pl.scan_parquet(parts, glob=False).sink_parquet(whole, row_group_size=_ROWS_A_GROUP, maintain_order=True)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        joined.append((whole, path))
    # Labels come last and older ones go first: labels that are there always have the evidence beside them.
    if beside is not None:
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
    for whole, path in joined:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(whole, path)


def _counts(path: Path, targets: list[str]) -> dict[str, Any]:
    frame = pl.scan_parquet(path, glob=False)
    wanted = [pl.len().alias("n")]
    for j, one in enumerate(targets):
        for name, value in (("present", 1), ("absent", 0), ("uncertain", -1)):
            wanted.append((pl.col(one) == value).sum().alias(f"{j}{name}"))
    row = frame.select(wanted).collect(engine="streaming").row(0, named=True)
    codes = frame.group_by("refusal", "flags").len().collect(engine="streaming")
    refused: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    for code, flags, n in codes.iter_rows():
        if code is not None:
            refused[code] += n
        for flag in filter(None, (flags or "").split(",")):
            flagged[flag] += n
    kinds = ("present", "absent", "uncertain")
    return {
        "reports": row["n"],
        "refused": dict(sorted(refused.items())),
        "flagged": dict(sorted(flagged.items())),
        "findings": {one: {kind: row[f"{j}{kind}"] for kind in kinds} for j, one in enumerate(targets)},
    }
