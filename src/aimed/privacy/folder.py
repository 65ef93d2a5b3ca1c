"""De-identify a file or a folder: walked, written whole or not at all, resumed, and told of without a name."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from aimed.core.errors import AimedError, DataError, MissingExtraError, RefusedError
from aimed.privacy.cleaner import FileRefused, TextCleaner
from aimed.privacy.dicom import Blanking, deidentify_dicom
from aimed.privacy.dicom_profile import DicomProfile, table_edition
from aimed.privacy.fhir import FhirPatients, deidentify_fhir, read_fhir
from aimed.privacy.surrogates import Surrogates, words_version
from aimed.privacy.tables import deidentify_csv, deidentify_parquet
from aimed.readers.dicom_elements import is_dicom

__all__ = ["Job", "Summary", "blanking_of", "deidentify_path"]

STATE = ".aimed-deidentify"
"""Folder of the manifest and of drafts, inside of the output."""

_LARGEST = 2 * 2**30
_CHUNK, _AHEAD = 32, 4
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"(\xb5/\xfd")
_SUFFIXES = {
    ".csv": "table", ".tsv": "table", ".parquet": "parquet", ".pq": "parquet", ".json": "fhir", ".ndjson": "lines",
    ".txt": "note", ".text": "note", ".rtf": "note", ".html": "note", ".htm": "note", ".md": "note",
}  # fmt: skip

Told = Callable[[int, int, int, float], None]
"""Called with files done, files in all, files refused and seconds left."""


@dataclass(frozen=True)
class Job:
    """What is asked of every file.

    Parameters
    ----------
    style : {"surrogate", "class"}
        Surrogates, or markers such as [NAME] in texts.
    patient : str, optional
        Column of patients in tables.
    columns : mapping of str to str
        Roles of columns.
    dates : {"shift", "remove"}
        Dates in DICOM files.
    keep : tuple of str
        Options of the DICOM profile.
    blank : Blanking, optional
        What to paint over in pictures that may show text.
    """

    style: Literal["surrogate", "class"] = "surrogate"
    patient: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    dates: Literal["shift", "remove"] = "shift"
    keep: tuple[str, ...] = ()
    blank: Blanking | None = None

    def fingerprint(self) -> str:
        """Return a hash of the settings: a folder is finished with those it was begun with."""
        said = [self.style, self.patient, sorted(self.columns.items()), self.dates, sorted(self.keep), repr(self.blank)]
        said += [words_version(), table_edition()]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Summary:
    """What became of the files, in counts.

    Attributes
    ----------
    written, refused, kept : int
        Files written, refused, and found finished by an earlier run (among those written or refused).
    kinds, classes, steps : dict of str to int
        Files by kind, replaced identifiers by class, DICOM attributes by what was done.
    refusals : dict of str to list of int
        Numbers of the refused files by code, counted in the sorted order of their paths.
    plans : list
        For each table its number and its columns with what was done; no values.
    """

    written: int
    refused: int
    kept: int
    kinds: dict[str, int]
    classes: dict[str, int]
    steps: dict[str, int]
    refusals: dict[str, list[int]]
    plans: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """Return what a person wants to know, without a name."""
        out = [f"{self.written} files written, {self.refused} refused, {self.kept} of them found finished"]
        for title, counts in (("files", self.kinds), ("replaced", self.classes), ("DICOM attributes", self.steps)):
            if counts:
                out.append(f"{title}: " + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items()))
        for code, numbers in self.refusals.items():
            some = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
            out.append(f"refused {code}: {len(numbers)} (file {some} in the order of their paths)")
        for plan in self.plans[:10]:
            out.append(f"table {plan['file']}:")
            out += [f"  {line}" for line in plan["columns"]]
        return out


def blanking_of(text: str | None) -> Blanking | None:
    """Read what to blank: "x,y,w,h", several with ";" between, "ultrasound", "none", or a TOML file by modality.

    Parameters
    ----------
    text : str or None
        As given on the command line. A TOML file has a line for each modality, such as ``US = "ultrasound"`` and
        ``SC = "0,0,1024,60"``.

    Returns
    -------
    Blanking or None

    Raises
    ------
    DataError
        It is none of these.

    Examples
    --------
    >>> blanking_of("0,0,640,40").boxes
    ((0, 0, 640, 40),)
    """
    if text is None:
        return None
    if text == "none":
        return Blanking(checked=True)
    if text == "ultrasound":
        return Blanking(outside_ultrasound=True)
    if text.endswith(".toml"):
        try:
            read = tomllib.loads(Path(text).read_text("utf-8"))
        except (OSError, ValueError):
            raise DataError("the table of regions cannot be read", "a TOML file", "see --blank") from None
        by = {}
        for modality, value in read.items():
            one = blanking_of(value) if isinstance(value, str) and not value.endswith(".toml") else None
            if one is None:
                raise DataError(
                    "the table of regions has a line that says no regions", 'such as US = "ultrasound"', "see --blank"
                )
            by[modality] = one
        return Blanking(by_modality=by)
    boxes = []
    for part in text.split(";"):
        if re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*){3}", part) is None:
            raise DataError("a region to blank is not x,y,w,h", "four whole numbers", "see --blank")
        x, y, w, h = (int(n) for n in part.split(","))
        if w < 1 or h < 1:
            raise DataError("a region to blank is empty", "a width and a height of 1 or more", "see --blank")
        boxes.append((x, y, w, h))
    return Blanking(tuple(boxes))


# --------------------------------------------------------------------------------------------------------- one file


class _FullError(Exception):
    """The output cannot be written."""


class _Worker:
    """Reads, cleans and writes files one after another."""

    def __init__(self, key: bytes, job: Job, out: Path, patients: FhirPatients) -> None:
        self.given = Surrogates(key)
        self.job, self.out, self.patients = job, out, patients
        self.cleaner = TextCleaner(self.given, job.style)
        self.profile = DicomProfile(job.dates, job.keep)
        self.key = key

    def one(self, source: Path, relative: str, done: Mapping[str, Any] | None) -> dict[str, Any]:
        """De-identify one file and say what became of it."""
        told: dict[str, Any] = {"path": self.given.tag("path", relative, 32)}
        self.cleaner.counts.clear()
        try:
            if source.is_symlink():
                raise FileRefused("LINK", "the entry is a link", "give the file itself")
            size = source.stat().st_size
            if size > _LARGEST:
                raise FileRefused("TOO_LARGE", "the file is larger than 2 GiB")
            data = source.read_bytes()
            told["content"] = hashlib.blake2b(data, key=self.key[:64], digest_size=16).hexdigest()
            if done is not None and done.get("content") == told["content"] and self.still(done):
                return {**done, "again": True}
            suffix = source.suffix.lower()
            kind = _kind(data, suffix)
            told["kind"] = {"lines": "fhir", "parquet": "table"}.get(kind, kind)
            target = self.name(relative, suffix, kind)
            self.write(kind, data, source, target, told, relative)
            told["out"] = target
        except FileRefused as error:
            told["code"] = error.code
        except (_FullError, MissingExtraError):
            raise
        except MemoryError:
            told["code"] = "TOO_LARGE"
        except OSError:
            told["code"] = "UNREADABLE"
        except Exception as error:  # one file never stops the others, and its error may quote it
            told["code"] = f"UNFORESEEN_{type(error).__name__}"
        told["classes"] = dict(self.cleaner.counts) if "code" not in told else {}
        return told

    def still(self, done: Mapping[str, Any]) -> bool:
        """Say whether what an earlier run wrote is still there, or was refused for good."""
        if "code" in done:  # what may have been a fault of the machine is tried again
            return not str(done["code"]).startswith(("UNFORESEEN", "UNREADABLE", "TOO_LARGE"))
        return (self.out / str(done.get("out"))).is_file()

    def name(self, relative: str, suffix: str, kind: str) -> str:
        """Return the new path: surrogates for the folders and the file."""
        *folders, _ = relative.split("/")
        parts = [self.given.tag("folder", "/".join(folders[: i + 1]), 10) for i in range(len(folders))]
        ending = ".dcm" if kind == "dicom" else ".txt" if kind == "note" else suffix if suffix in _SUFFIXES else ""
        return "/".join([*parts, self.given.tag("file", relative, 20) + ending])

    def write(self, kind: str, data: bytes, source: Path, target: str, told: dict[str, Any], relative: str) -> None:
        """Clean the content by its kind and put it in its place at once."""
        otherwise = f"file {self.given.tag('patient', relative)}"
        job, clean = self.job, self.cleaner
        if kind == "parquet":
            draft = self.draft(told["path"])
            try:
                plan = deidentify_parquet(
                    source, draft, clean, patient=job.patient, declared=job.columns, otherwise=otherwise
                )
            except OSError as error:
                raise _FullError(error.errno or 0) from None
            told["plan"] = plan.lines()
            self.place(draft, target)
            return
        if kind == "dicom":
            made = deidentify_dicom(data, clean, self.profile, blank=job.blank)
            content, told["steps"] = made.data, dict(made.steps)
        elif kind == "table":
            content, table = deidentify_csv(data, clean, patient=job.patient, declared=job.columns, otherwise=otherwise)
            told["plan"] = table.lines()
        elif kind in ("fhir", "lines"):
            content = deidentify_fhir(data, clean, lines=kind == "lines", patients=self.patients, otherwise=otherwise)
        else:
            content = self.note(data, otherwise)
        draft = self.draft(told["path"])
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise _FullError(error.errno or 0) from None
        self.place(draft, target)

    def draft(self, tag: str) -> Path:
        """Return where a draft is written."""
        return self.out / STATE / f"draft-{tag}"

    def place(self, draft: Path, target: str) -> None:
        """Move a draft to its place."""
        try:
            final = self.out / target
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft, final)
        except OSError as error:
            raise _FullError(error.errno or 0) from None

    def note(self, data: bytes, otherwise: str) -> bytes:
        """Return a note without its patient; its record number, where it says one, sets the shift."""
        text = _note_text(data)
        spans = self.cleaner.spans(text)
        patient = next((text[start:end] for start, end, cls in spans if cls == "medical_record"), otherwise)
        out, at = [], 0
        for start, end, cls in spans:
            out += [text[at:start], self.cleaner.replaced(cls, text[start:end], patient)]
            at = end
        return "".join([*out, text[at:]]).encode("utf-8", "replace")


def _note_text(data: bytes) -> str:
    try:
        from aimed.readers.note_text import clean_note

        read = clean_note(data)
        if read.refusal is not None and read.refusal not in ("headings_only", "not_english"):
            raise FileRefused(f"NOTE_{read.refusal.upper()}", "the note cannot be read")
        return str(read.text)
    except ImportError:
        if not data.strip():
            raise FileRefused("NOTE_EMPTY", "the note is empty") from None
        return data.decode("utf-8", "replace")


def _kind(data: bytes, suffix: str) -> str:
    if not data:
        raise FileRefused("EMPTY", "the file is empty")
    if data.startswith(_ARCHIVES) or data[257:262] == b"ustar":
        raise FileRefused("ARCHIVE", "the file is an archive", "unpack it first")
    if data.startswith(b"PAR1"):
        return "parquet"
    if data[128:132] == b"DICM" or (is_dicom(data) and suffix in ("", ".dcm", ".dicom", ".ima")):
        return "dicom"
    kind = _SUFFIXES.get(suffix)
    if kind is None or kind == "parquet":
        raise FileRefused("UNKNOWN_KIND", "the file is of no kind that can be cleaned", "see aimed deidentify --help")
    return kind


_worker: _Worker | None = None


def _begin(key: bytes, job: Job, out: Path, patients: FhirPatients) -> None:
    global _worker
    _worker = _Worker(key, job, out, patients)


Task = tuple[int, Path, str, dict[str, Any] | None]


def _several(tasks: Sequence[Task]) -> list[tuple[int, dict[str, Any]]] | int:
    """Run tasks in a worker; a number is the reason why the output cannot be written."""
    if _worker is None:
        raise RuntimeError("the worker was not begun")
    try:
        return [(number, _worker.one(source, relative, done)) for number, source, relative, done in tasks]
    except _FullError as error:
        return int(error.args[0])


# ------------------------------------------------------------------------------------------------------- the folder


def _files(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files below a folder in the order of their paths; links are yielded and not followed."""
    if not source.is_dir():
        yield source, source.name
        return
    waiting = [source]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            yield folder, folder.relative_to(source).as_posix()
            continue
        inner = []
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                inner.append(path)
            else:
                yield path, path.relative_to(source).as_posix()
        waiting += reversed(inner)


def _check_places(source: Path, out: Path) -> None:
    if not source.exists():
        raise DataError("there is nothing at the path to de-identify", "a file or a folder", "check the path")
    if source.is_symlink():
        raise RefusedError("the input is a link", "the file or folder itself", "give its real path")
    inside, outside = source.resolve(), out.resolve()
    if outside == inside or inside in outside.parents:
        raise RefusedError("the output lies inside of the input", "another place", "give another --out")
    if outside in inside.parents and inside.is_dir():
        raise RefusedError("the input lies inside of the output", "another place", "give another --out")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise RefusedError("the output is no folder", "a new folder", "give another --out")
    if out.exists() and any(out.iterdir()) and not (out / STATE / "manifest.jsonl").is_file():
        raise RefusedError(
            "the output folder holds other files", "a new folder, or one begun before", "give another --out"
        )


class _Manifest:
    """What became of each file, appended as it happens; it holds keyed hashes only."""

    def __init__(self, out: Path, begun: str) -> None:
        state = out / STATE
        state.mkdir(parents=True, exist_ok=True)
        for draft in state.glob("draft-*"):
            draft.unlink()
        self.path = state / "manifest.jsonl"
        self.done: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            lines = self.path.read_bytes().split(b"\n")
            for i, line in enumerate(lines):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # cut off when the run was
                if i == 0 and entry.get("begun") != begun:
                    raise RefusedError(
                        "the output was begun with another key or other settings", "the same ones", "give another --out"
                    )
                if "path" in entry:
                    self.done[entry["path"]] = entry
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        self.file = self.path.open("ab")
        if fresh:
            self.append({"begun": begun})
        else:
            self.file.write(b"\n")  # ends a line that was cut off

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write entries, where they outlive the process."""
        self.file.write(b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries))
        self.file.flush()


def _met(files: Sequence[tuple[Path, str]]) -> FhirPatients:
    """Read the patients that FHIR files name, for the files that only refer to them."""
    met = FhirPatients()
    for path, _ in files:
        kind = _SUFFIXES.get(path.suffix.lower())
        if kind not in ("fhir", "lines") or path.is_symlink():
            continue
        with suppress(FileRefused, OSError):
            data = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
            if b"Patient" in data:
                for resource in read_fhir(data, kind == "lines"):
                    met.learn(resource)
    return met


def deidentify_path(
    source: str | Path,
    out: str | Path,
    key: bytes,
    job: Job | None = None,
    *,
    jobs: int = 1,
    told: Told | None = None,
) -> Summary:
    """De-identify a file or every file below a folder.

    Parameters
    ----------
    source : str or Path
        A file or folder: DICOM, CSV, Parquet, FHIR R4 (JSON, NDJSON) and notes. It is only read.
    out : str or Path
        A folder that is new, or that an earlier run with the same key and settings began.
    key : bytes
        Key of the surrogates, see `aimed.privacy.key.read_key`.
    job : Job, optional
        What is asked.
    jobs : int
        Processes.
    told : callable, optional
        Called with files done, files in all, files refused and seconds left.

    Returns
    -------
    Summary
        Also written to deidentified.json in the output.

    Raises
    ------
    DataError
        There is nothing to read, or the output cannot be written, as when the disk is full.
    RefusedError
        Input and output lie in each other, or the output belongs to something else.

    Notes
    -----
    A file is written whole or not at all and then noted in a manifest, so a run that was killed goes on where it
    stopped. New names are surrogates; the manifest has keyed hashes of paths and contents; a file that is refused has
    a code and a number. Archives are not opened and links are not followed.
    """
    source, out, job = Path(source), Path(out), job or Job()
    given = Surrogates(key)
    DicomProfile(job.dates, job.keep)  # refuses options that do not exist before any file is read
    _check_places(source, out)
    files = list(_files(source))
    try:
        out.mkdir(parents=True, exist_ok=True)
        manifest = _Manifest(out, f"{given.tag('begun', '1')}-{job.fingerprint()}")
    except OSError:
        raise _full(0) from None
    patients = _met(files)
    paths = {relative: given.tag("path", relative, 32) for _, relative in files}
    tasks = [(number, path, rel, manifest.done.get(paths[rel])) for number, (path, rel) in enumerate(files, 1)]
    found: dict[int, dict[str, Any]] = {}
    begun, refused = monotonic(), 0

    def note(results: list[tuple[int, dict[str, Any]]] | int) -> None:
        nonlocal refused
        if isinstance(results, int):
            raise _full(results)
        fresh = [told_of for _, told_of in results if not told_of.get("again")]
        if fresh:
            manifest.append(*fresh)
        found.update(results)
        refused += sum("code" in told_of for _, told_of in results)
        if told is not None:
            done = len(found)
            told(done, len(tasks), refused, (monotonic() - begun) / done * (len(tasks) - done))

    try:
        with manifest.file:
            if jobs <= 1:
                worker = _Worker(key, job, out, patients)
                for number, path, rel, done in tasks:
                    try:
                        note([(number, worker.one(path, rel, done))])
                    except _FullError as error:
                        raise _full(int(error.args[0])) from None
            else:
                _with_workers(jobs, (key, job, out, patients), tasks, note)
        summary = _summary(found)
        finder = TextCleaner(given).finder
        text = json.dumps(
            {"aimed": 1, "profile": table_edition(), "words": words_version(), "finder": finder, **summary.to_dict()},
            indent=1,
        )
        draft = out / STATE / "draft-summary"
        draft.write_text(text + "\n", "utf-8")
        os.replace(draft, out / "deidentified.json")
    except OSError as error:
        raise _full(error.errno or 0) from None
    return summary


def _with_workers(
    jobs: int, begin: tuple[bytes, Job, Path, FhirPatients], tasks: Sequence[Task], note: Callable[[Any], None]
) -> None:
    chunk = max(1, min(_CHUNK, len(tasks) // (jobs * _AHEAD) or 1))
    chunks = iter([tasks[i : i + chunk] for i in range(0, len(tasks), chunk)])
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=begin)
    try:
        running: set[Future[Any]] = set()
        while True:
            while len(running) < jobs * _AHEAD and (some := next(chunks, None)) is not None:
                running.add(pool.submit(_several, some))
            if not running:
                break
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for one in finished:
                note(one.result())
    except BrokenProcessPool:
        raise DataError(
            "a process was ended from outside, as when memory runs out", "", "start it again with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _full(number: int) -> AimedError:
    why = os.strerror(number).lower() if number else "it cannot be written"
    return DataError(
        f"the output could not be written: {why}", "", "make room and start it again: it goes on where it stopped"
    )


def _summary(found: Mapping[int, Mapping[str, Any]]) -> Summary:
    kinds: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    refusals: dict[str, list[int]] = {}
    plans = []
    for number in sorted(found):
        one = found[number]
        if "code" in one:
            refusals.setdefault(str(one["code"]), []).append(number)
            continue
        kinds[str(one.get("kind"))] += 1
        classes.update(one.get("classes", {}))
        steps.update(one.get("steps", {}))
        if "plan" in one:
            plans.append({"file": number, "columns": one["plan"]})
    return Summary(
        written=sum(kinds.values()),
        refused=sum(map(len, refusals.values())),
        kept=sum(bool(one.get("again")) for one in found.values()),
        kinds=dict(sorted(kinds.items())),
        classes=dict(sorted(classes.items())),
        steps=dict(sorted(steps.items())),
        refusals=dict(sorted(refusals.items())),
        plans=plans,
    )
