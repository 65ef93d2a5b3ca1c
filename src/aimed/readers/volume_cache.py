"""Scans on disk as they are used: turned to RAS, cut to their foreground, memory-mapped, known by their content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import stat
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume, VolumeRefused
from aimed.readers.ahead import Progress, Told, processors, worked_ahead
from aimed.readers.image_files import MAX_BYTES as MOST_OF_A_FILE
from aimed.readers.image_files import ImageFile, find_images
from aimed.readers.nifti import MAX_BYTES
from aimed.readers.volume_record import VolumeRecord, greys_of, labels_of
from aimed.readers.volume_table import VolumeCase, read_volume

__all__ = ["VERSION", "RefusedVolume", "VolumeCache", "VolumeRecord"]

Array: TypeAlias = NDArray[Any]

VERSION = 1
"""Goes up when the same files would give other voxels or figures; older entries are then left alone."""

MOST_JOBS = 4
"""Threads when none are asked for: each holds a scan."""

_TRIES = 3
"""How often a scan is read whose files change meanwhile."""

_AGAIN = "build the cache with verify=True, which reads again what is damaged"


@dataclass(frozen=True, slots=True)
class RefusedVolume:
    """A row that was not used, the code of the reason, and a detail that begins with the name of the file."""

    row: int
    code: str
    detail: str


# -------------------------------------------------------------------------------------------------------- what is known


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None when the line is torn or damaged."""
    mark, _, text = line.partition(b" ")
    if not text.endswith(b"\n") or mark != b"%08x" % zlib.crc32(text[:-1]):
        return None
    record = json.loads(text)
    return record if isinstance(record, dict) else None


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([VERSION, *parts]).encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file of voxels."""

    name: str
    bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the cache has of a row."""

    record: VolumeRecord
    scan: _Stored | None = None
    mask: _Stored | None = None


class _Store:
    """The files of a cache: each is written aside, brought to the disk and then named: whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scans", "masks", "records"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.stamps: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError), (folder / "stamps.jsonl").open("rb") as file:
            for line in file:
                known = _checked(line)
                if known is not None:
                    self.stamps[known["stamp"]] = known["digest"]

    def remember(self, stamp: str, digest: str) -> None:
        """Note the content of a file that has a mark; a line at the end is whole, or is passed over later."""
        with self.lock:
            if self.stamps.get(stamp) == digest:
                return
            self.stamps[stamp] = digest
            line = _line({"stamp": stamp, "digest": digest})
            with (self.folder / "stamps.jsonl").open("ab", buffering=0) as file:
                # A line that a full disk cut off must not take the next one with it.
                if file.tell() and not self._ends_well():
                    line = b"\n" + line
                file.write(line)

    def _ends_well(self) -> bool:
        with (self.folder / "stamps.jsonl").open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _write(self, name: str, parts: Sequence[Any]) -> None:
        path = self.folder / name
        draft = path.with_name(f".{secrets.token_hex(8)}.draft")
        try:
            with draft.open("xb", buffering=0) as file:
                for part in parts:
                    rest = memoryview(part).cast("B")
                    while rest:
                        rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        _sync_folder(path.parent)

    def put(self, name: str, array: Array) -> _Stored:
        """Write voxels as a .npy file."""
        values = np.ascontiguousarray(array)
        head = _npy_head(values)
        self._write(name, [head, values.data])
        return _Stored(name, len(head) + values.nbytes, zlib.crc32(values.data))

    def note(self, key: str, entry: _Entry, at: int) -> None:
        """Write a record; `at` is the file to blame, whose name is not kept."""
        content = {"record": entry.record.to_dict(), "at": at}
        for what in ("scan", "mask"):
            stored = getattr(entry, what)
            content[what] = None if stored is None else [stored.name, stored.bytes, stored.crc]
        self._write(f"records/{key}.json", [_line(content)])

    def known(self, key: str, case: VolumeCase, verify: bool) -> _Entry | None:
        """Return what is there of a case, if all of it is there."""
        try:
            content = _checked((self.folder / f"records/{key}.json").read_bytes())
        except OSError:
            return None
        if content is None:
            return None
        record = VolumeRecord.from_dict(content["record"])
        if record.code:
            record = replace(record, detail=_with_name(record.detail, _name(case, content["at"])))
        scan, mask = (None if content[w] is None else _Stored(*content[w]) for w in ("scan", "mask"))
        for stored in (scan, mask):
            if stored is not None and not self._is_whole(stored, verify):
                return None
        return _Entry(record, scan, mask)

    def _is_whole(self, stored: _Stored, verify: bool) -> bool:
        try:
            if (self.folder / stored.name).stat().st_size != stored.bytes:
                return False
            return not verify or _crc(self.array(stored)) == stored.crc
        except (OSError, DataError):
            return False

    def array(self, stored: _Stored) -> Array:
        """Return voxels, read-only and still on the disk."""
        path = self.folder / stored.name
        try:
            if path.stat().st_size != stored.bytes:
                raise ValueError
            found: Array = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (OSError, ValueError, EOFError):
            raise DataError("a cached volume has changed on disk", "what was written", _AGAIN) from None
        return found


def _crc(array: Array) -> int:
    return zlib.crc32(array.data)


def _npy_head(array: Array) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    return head.getvalue()


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _beside_others(folder: Path) -> Iterator[None]:
    """Say that this process writes here, and clear away what killed ones left when no other one does."""
    try:
        import fcntl
    except ImportError:  # not on Windows, where drafts of killed processes stay
        yield
        return
    with (folder / ".lock").open("w") as handle:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for draft in folder.glob("*/.*.draft"):
                draft.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a disk that knows no locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


def _full(error: OSError) -> DataError:
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return DataError(
        "the disk of the volume cache is full"
        if full
        else f"the volume cache cannot be written ({error.strerror or 'I/O error'})",
        "a folder that may be written, with room for the scans without compression",
        "free some space or name another folder; what has been read is kept",
    )


# ------------------------------------------------------------------------------------------------------------ the files


def _name(case: VolumeCase, at: int) -> str:
    """Return the name of a file of a case, without folders: of a channel, or of the mask for -1; "" for none."""
    if at == -1 and case.mask is not None:
        return case.mask.name
    return case.images[at].name if 0 <= at < len(case.images) else ""


def _with_name(detail: str, name: str) -> str:
    return f"{name}: {detail}" if name and detail else name or detail


def _parts_of(path: Path) -> list[ImageFile]:
    """Return the files of a source: itself, or those in a folder."""
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        files = find_images(path)
        # Before their content is hashed, which would take hours.
        if any(
            file.refusal is None and file.member is None and file.path.stat().st_size > MOST_OF_A_FILE for file in files
        ):
            raise VolumeRefused("TOO_LARGE", "one of the files in the folder")
        return files
    # A pipe or a device would never end.
    if not stat.S_ISREG(kind):
        raise VolumeRefused("MISSING", "no plain file")
    if path.stat().st_size > MAX_BYTES + 2**30:
        raise VolumeRefused("TOO_LARGE")
    return [ImageFile(path)]


def _stamp(files: Sequence[ImageFile]) -> str | None:
    """Return a mark that changes when one of the files does, without reading them."""
    stamps = [file.stamp() or file.refusal for file in files]
    return None if None in stamps else hashlib.sha256("\n".join(map(str, stamps)).encode()).hexdigest()[:40]


def _content(file: ImageFile) -> str:
    if file.refusal is not None:
        return file.refusal
    if file.member is not None:
        return f"{hashlib.sha256(file.read()).hexdigest()}"
    with file.path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Sources:
    """The content of the files of a case, known by marks where they are known already."""

    def __init__(self, store: _Store, verify: bool) -> None:
        self.store, self.verify = store, verify

    def digest(self, path: Path) -> tuple[str, str | None]:
        """Return the hash of the content of a source and its mark.

        Raises
        ------
        VolumeRefused
            MISSING when it cannot be read.
        """
        try:
            files = _parts_of(path)
            # The mark is taken before the bytes: a file that changes in between gets one that never comes again.
            stamp = _stamp(files)
            known = None if stamp is None or self.verify else self.store.stamps.get(stamp)
            if known is not None:
                return known, stamp
            # Names do not count, as slices are not put in order by name.
            contents = sorted(_content(file) for file in files)
        except ImageRefused as refused:
            raise VolumeRefused(refused.code, refused.detail) from None
        except DataError:
            raise VolumeRefused("NO_PIXELS", "the folder holds no slices") from None
        except (OSError, ValueError):
            raise VolumeRefused("MISSING") from None
        digest = contents[0] if path.is_file() else hashlib.sha256("\n".join(contents).encode()).hexdigest()
        return digest, stamp

    @staticmethod
    def unchanged(path: Path, stamp: str | None) -> bool:
        """Say whether a source still has its mark."""
        try:
            return stamp is not None and _stamp(_parts_of(path)) == stamp
        except (OSError, ValueError, ImageRefused, DataError):
            return False


# ------------------------------------------------------------------------------------------------------------- the work


class _BlamedError(Exception):
    """A refusal and the file it is about: a channel, or -1 for the mask."""

    def __init__(self, refused: ImageRefused, at: int) -> None:
        super().__init__(refused.code)
        self.code, self.detail, self.at = refused.code, refused.detail, at


@contextlib.contextmanager
def _blaming(at: int) -> Iterator[None]:
    try:
        yield
    except ImageRefused as refused:
        raise _BlamedError(refused, at) from None
    except OSError:
        raise _BlamedError(VolumeRefused("MISSING"), at) from None
    except MemoryError:
        raise _BlamedError(VolumeRefused("TOO_LARGE", "it does not fit into memory"), at) from None


def _read(case: VolumeCase) -> Volume:
    """Return the scan of a case with an axis of channels, or say which file is wrong."""
    try:
        with _blaming(0):
            scan = case.read()
    except _BlamedError as blamed:
        if len(case.images) > 1:
            blamed.at = _at_fault(case)
        raise
    if scan.n_channels > 1 and not scan.channels:
        raise _BlamedError(VolumeRefused("TIME_SERIES", f"{scan.n_channels} volumes and no names of channels"), 0)
    return scan if scan.array.ndim == 4 else replace(scan, array=scan.array[None])


def _at_fault(case: VolumeCase) -> int:
    """Return which of several channels cannot be read, or lies elsewhere than the first."""
    first: Volume | None = None
    for k, (path, name) in enumerate(zip(case.images, case.channels, strict=True)):
        try:
            part = read_volume(path, channels=(name,), modality=case.modality)
        except (ImageRefused, OSError, MemoryError):
            return k
        first = first or part
        if not part.grid.same_as(first.grid):
            return k
    return 0


def _mask_of(case: VolumeCase, scan: Volume) -> Array | None:
    """Return the mask as uint8 on the grid of the scan."""
    if case.mask is None:
        return None
    with _blaming(-1):
        mask = case.read_mask(scan)
        if mask.array.ndim != 3:
            raise VolumeRefused("BAD_LABELS", f"{mask.n_channels} volumes where one is expected")
        if int(mask.array.max()) > 255:
            raise VolumeRefused("BAD_LABELS", "labels above 255")
        return mask.array.astype(np.uint8, copy=False)


def _greys(scan: Volume, files: int) -> list[dict[str, float]]:
    found = []
    for k in range(scan.n_channels):
        try:
            found.append(greys_of(scan.array[k]))
        except VolumeRefused as refused:
            name = f" of the channel {scan.channels[k]}" if scan.channels else ""
            blamed = refused
            if refused.code == "NO_PIXELS":
                blamed = VolumeRefused(refused.code, f"all voxels{name} have one value")
            raise _BlamedError(blamed, k if files > 1 else 0) from None
    return found


class _Worker:
    """Brings one case into the cache."""

    def __init__(self, store: _Store, verify: bool) -> None:
        self.store, self.verify, self.sources = store, verify, _Sources(store, verify)

    def __call__(self, case: VolumeCase) -> _Entry:
        if case.refusal is not None:
            return _Entry(VolumeRecord(code=case.refusal[0], detail=self._known_before(case)))
        for _ in range(_TRIES):
            try:
                entry = self._entry(case)
            except _BlamedError as blamed:
                return _Entry(VolumeRecord(code=blamed.code, detail=_with_name(blamed.detail, _name(case, blamed.at))))
            if entry is not None:
                return entry
        return _Entry(VolumeRecord(code="MISSING", detail=_with_name("it changes while it is read", _name(case, 0))))

    @staticmethod
    def _known_before(case: VolumeCase) -> str:
        detail = case.refusal[1] if case.refusal else ""
        at = -1 if detail == "the mask" else case.channels.index(detail) if detail in case.channels else 0
        at = min(at, len(case.images) - 1)
        path = case.mask if at == -1 else case.images[at]
        # Where no file is named, the path is that of the folder.
        return detail if path is None or path.is_dir() else _with_name(detail, _name(case, at))

    def _entry(self, case: VolumeCase) -> _Entry | None:
        """Return the entry of a case, or None when its files changed while they were read."""
        paths = [*enumerate(case.images), *([] if case.mask is None else [(-1, case.mask)])]
        marks: dict[int, tuple[str, str | None]] = {}
        for at, path in paths:
            with _blaming(at):
                marks[at] = self.sources.digest(path)
        content = _hash([marks[at][0] for at in range(len(case.images))])
        mask_content = marks[-1][0] if -1 in marks else None
        settings = [list(case.channels), case.modality]
        key = _hash(content, mask_content, settings, sorted(case.labels))
        entry = self.store.known(key, case, self.verify)
        if entry is None:
            at = 0
            try:
                entry = self._made(case, content, mask_content, _hash(content, settings))
            except _BlamedError as blamed:
                if blamed.code == "MISSING" or "memory" in blamed.detail:
                    raise
                at = blamed.at
                record = VolumeRecord(
                    digest=content, mask_digest=mask_content, code=blamed.code, detail=blamed.detail,
                )  # fmt: skip
                entry = _Entry(record)
            if not all(self.sources.unchanged(path, marks[k][1]) for k, path in paths):
                return None
            self.store.note(key, entry, at)
            if entry.record.code:
                detail = _with_name(entry.record.detail, _name(case, at))
                entry = _Entry(replace(entry.record, detail=detail))
        for digest, stamp in marks.values():
            if stamp is not None:
                self.store.remember(stamp, digest)
        return entry

    def _made(self, case: VolumeCase, content: str, mask_content: str | None, key: str) -> _Entry:
        scan = _read(case)
        mask = _mask_of(case, scan)
        greys = _greys(scan, len(case.images))
        labels, label_greys, components = labels_of(mask, scan.array, greys) if mask is not None else ({}, {}, None)
        source = scan.grid
        foreground = float(np.mean([np.mean(np.any(plane, axis=0)) for plane in scan.array.swapaxes(0, 1)]))
        turned = scan.reoriented("RAS")
        box = None
        if scan.modality != "CT":
            box = turned.foreground()
            turned = turned.cropped(*box)
        record = VolumeRecord(
            digest=content,
            mask_digest=mask_content,
            shape=source.shape,
            affine=tuple(tuple(float(v) for v in row) for row in source.affine),
            spacing=source.spacing,
            orientation=source.orientation,
            modality=scan.modality,
            channels=scan.channels,
            dtype=str(scan.array.dtype),
            box=box,
            notes=scan.notes,
            foreground=foreground,
            greys=tuple(greys),
            labels=labels,
            label_greys=label_greys,
            components=components,
        )
        stored = self.store.put(f"scans/{key}.npy", turned.array)
        return _Entry(
            record, stored, None if mask is None else self.store.put(f"masks/{_hash(mask_content)}.npy", mask)
        )


# ------------------------------------------------------------------------------------------------------------ the cache


class VolumeCache:
    """Scans and masks read from memory-mapped files, one case a row.

    Made by `build`. A row that was refused has no voxels; see `refused` and `usable`.

    Attributes
    ----------
    records : list of VolumeRecord
        One a row.
    refused : list of RefusedVolume
    usable : int array
        Rows that have voxels, in order.

    Notes
    -----
    A scan is kept in RAS order and, unless it is a CT, cut to the box of its voxels that are not 0, in the type of the
    file and without loss: `Volume.back_to` gives the source back bit for bit. A mask is kept on the grid of the
    source. Names of files, paths and identifiers are not on the disk: contents are known by SHA-256, paths by a hash
    of path, size and times.

    Examples
    --------
    >>> import tempfile
    >>> from aimed.readers.nifti import write_nifti
    >>> voxels = np.zeros((6, 8, 10), dtype=np.int16)
    >>> voxels[2:4, 3:5, 4:7] = np.arange(12).reshape(2, 2, 3) + 1
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.nii.gz"
    ...     write_nifti(Volume(array=voxels, affine=np.diag([-1.0, -1.0, 2.0, 1.0])), file)
    ...     case = VolumeCase((file, ), channels=("T1w", ))
    ...     cache = VolumeCache.build([case], Path(folder) / "cache")
    ...     scan = cache.scan(0)
    ...     home = scan.back_to(scan.origin)
    >>> scan.shape, scan.orientation, bool((home.array[0] == voxels).all())
    ((1, 2, 2, 3), 'RAS', True)
    """

    def __init__(self, store: _Store, entries: Sequence[_Entry]) -> None:
        self._store, self._entries = store, tuple(entries)
        self._sound: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self._store.folder, "entries": self._entries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(_Store(state["folder"]), state["entries"])  # type: ignore[misc]

    @classmethod
    def build(
        cls,
        cases: Sequence[VolumeCase],
        folder: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        n_jobs: int | None = None,
        verify: bool = False,
    ) -> VolumeCache:
        """Read what is not in the cache yet and return the cache of these cases.

        Parameters
        ----------
        cases : sequence of VolumeCase
            One a row; see `aimed.readers.volume_table.read_volume_table`. A case without a mask has none in the cache.
        folder : path
            Of the cache; made when absent. Other processes may fill it at the same time.
        progress : callable, optional
            ``progress(share, text)``, at most ten times a second.
        n_jobs : int, optional
            Threads, each of which holds a scan; the processors of the machine, and 4 at most, when absent. The result
            does not depend on it.
        verify : bool
            Whether all files are read and all cached voxels checked; damaged ones are read again. Otherwise a file
            whose path, size and times are those of an earlier build is not read.

        Returns
        -------
        VolumeCache

        Raises
        ------
        DataError
            If the disk is full or the folder cannot be written; what has been read is kept.
        MissingExtraError
            If a package of the imaging extra is missing.
        """
        place = Path(folder) / f"v{VERSION}"
        entries: list[_Entry] = []
        try:
            place.mkdir(parents=True, exist_ok=True)
            with _beside_others(place):
                store = _Store(place)
                told = Told(progress, len(cases), "scans")
                jobs = n_jobs or min(MOST_JOBS, processors())
                for _, entry in worked_ahead(_Worker(store, verify), cases, jobs):
                    entries.append(entry)
                    told.step(bool(entry.record.code))
        except OSError as error:
            raise _full(error) from None
        return cls(store, entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def folder(self) -> Path:
        """Where the cache is; what is made from its volumes may be kept there too."""
        return self._store.folder

    @property
    def records(self) -> list[VolumeRecord]:
        """What is known of each row."""
        return [entry.record for entry in self._entries]

    @property
    def refused(self) -> list[RefusedVolume]:
        """The rows without voxels, with the code of the reason and the file."""
        return [RefusedVolume(row, r.code, r.detail) for row, r in enumerate(self.records) if r.code]

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that have voxels, in order."""
        return np.flatnonzero([entry.scan is not None for entry in self._entries])

    def _entry(self, row: int) -> _Entry:
        row = int(row) + len(self) if row < 0 else int(row)
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a cache of {len(self)}")
        entry = self._entries[row]
        if entry.record.code:
            raise VolumeRefused(entry.record.code, entry.record.detail)
        return entry

    def _array(self, stored: _Stored) -> Array:
        array = self._store.array(stored)
        if stored.name not in self._sound:
            if _crc(array) != stored.crc:
                raise DataError("a cached volume has changed on disk", "what was written", _AGAIN)
            self._sound.add(stored.name)
        return array

    def scan(self, row: int) -> Volume:
        """Return a scan, shape (c, z, y, x), in RAS and cut to its foreground, with its way back to the source.

        Raises
        ------
        VolumeRefused
            If the row was refused.
        DataError
            If the voxels are not what was written; each scan is checked once.
        """
        entry = self._entry(row)
        assert entry.scan is not None  # noqa: S101, the row was not refused
        steps = entry.record.steps
        return Volume(
            array=self._array(entry.scan), affine=steps[-1].after.affine, modality=entry.record.modality,
            channels=entry.record.channels, notes=entry.record.notes, steps=steps,
        )  # fmt: skip

    def mask(self, row: int) -> Array:
        """Return a mask, uint8 of shape (z, y, x), on the grid of the source.

        Raises
        ------
        VolumeRefused
            If the row was refused, or MISSING when the case has no mask.
        DataError
            If the voxels are not what was written; each mask is checked once.
        """
        entry = self._entry(row)
        if entry.mask is None:
            raise VolumeRefused("MISSING", "no mask")
        return self._array(entry.mask)

    def mask_volume(self, row: int) -> Volume:
        """Return a mask with its place: on the grid of the source, from where it can follow the scan."""
        return Volume(array=self.mask(row), affine=self._entry(row).record.grid.affine, labels=True)
