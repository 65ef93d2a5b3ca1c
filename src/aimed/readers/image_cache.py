"""Decoded pictures on disk: each file once, in frames of one size, mapped into memory and checked when first used."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, RefusedError
from aimed.core.image import Grey, ImageInfo, ImageRefused, Placement, Radiograph
from aimed.readers.ahead import Progress, Told, processors, worked_ahead
from aimed.readers.image_files import ImageFile
from aimed.readers.radiograph import read_radiograph

__all__ = ["VERSION", "ImageCache", "RefusedImage", "framed"]

VERSION = 2
"""Goes up when the same file would give other pixels; older caches are then left alone."""

_BATCH, _SECONDS = 64, 1.0
"""Pictures, or seconds, after which what has been decoded is safe from a kill."""


@dataclass(frozen=True, slots=True)
class RefusedImage:
    """A row whose file was not used, and the code of the reason."""

    row: int
    code: str


def framed(picture: Radiograph, size: int, bits: Literal[8, 16] = 8) -> tuple[Grey, Placement]:
    """Put a picture whose longest side is `size` into the middle of a square of zeros.

    Returns
    -------
    (array of shape (size, size), Placement)

    Examples
    --------
    >>> info = ImageInfo(digest="ab", format="png", rows=4, columns=2, bits_stored=8, scaling="as_stored")
    >>> frame, place = framed(Radiograph(np.full((4, 2), 9, dtype=np.uint8), 8, info), 4)
    >>> frame[0].tolist(), place.left
    ([0, 9, 9, 0], 1)
    """
    place = Placement.fit(picture.info.rows, picture.info.columns, size)
    pixels = picture.to_uint8() if bits == 8 else picture.to_uint16()
    frame = np.zeros((size, size), dtype=pixels.dtype)
    frame[place.top : place.top + place.height, place.left : place.left + place.width] = pixels
    return frame, place


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the pixels depend on beside the file; each combination has a folder of its own."""

    size: int
    bits: Literal[8, 16]
    approximate: bool

    @property
    def name(self) -> str:
        return f"{self.size}px-{self.bits}bit-v{VERSION}{'-approximate' if self.approximate else ''}"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.bits == 8 else "<u2")

    @property
    def row_bytes(self) -> int:
        return self.size * self.size * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is known of one content: its place in the pixel file, or the code of its refusal."""

    slot: int
    crc: int
    offset: int
    code: str | None


class _Index:
    """The list of what has been decoded: one line a file, added to and never rewritten, each with its checksum."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, _Entry] = {}
        self.stamps: dict[str, str] = {}
        self.slots = 0
        self.end = 0
        self._load()

    def _load(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                record = _checked(line)
                # A torn last line is what a kill leaves; whatever follows damage is decoded again.
                if record is None:
                    break
                self.take(record, self.end)
                self.end += len(line)

    def take(self, record: dict[str, Any], offset: int) -> None:
        """Learn from one line."""
        digest = record["digest"]
        if record.get("stamp"):
            self.stamps[record["stamp"]] = digest
        if "code" in record:
            self.entries[digest] = _Entry(-1, 0, offset, record["code"])
        elif "slot" in record:
            self.entries[digest] = _Entry(record["slot"], record["crc"], offset, None)
            self.slots = max(self.slots, record["slot"] + 1)

    def info(self, entry: _Entry) -> ImageInfo:
        """Read what is known of a picture from its line."""
        with self.path.open("rb") as file:
            file.seek(entry.offset)
            record = _checked(file.readline())
        if record is None or "info" not in record:
            raise DataError("the index of the picture cache is damaged", "what was written", _AGAIN)
        return ImageInfo.from_dict(record["info"])


_AGAIN = "build the cache with verify=True, which decodes again what is damaged"


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None when the line is torn or damaged."""
    mark, _, text = line.partition(b" ")
    if not text.endswith(b"\n") or mark != b"%08x" % zlib.crc32(text[:-1]):
        return None
    record = json.loads(text)
    return record if isinstance(record, dict) and "digest" in record else None


def _full(error: OSError, needed: int) -> DataError:
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    return DataError(
        "the disk of the picture cache is full"
        if full
        else f"the picture cache cannot be written ({error.strerror or 'I/O error'})",
        f"a folder that may be written, with about {max(1, needed >> 20):,} MB more",
        "free some space or name another folder; what has been decoded is kept",
    )


@dataclass(slots=True)
class _Decoded:
    """What a worker hands over; without frame and code the content was known before."""

    digest: str | None
    stamp: str | None
    frame: Grey | None = None
    info: ImageInfo | None = None
    code: str | None = None


class _Decoder:
    """Read, hash and decode files in several threads, each content once."""

    def __init__(self, settings: _Settings, known: dict[str, _Entry]) -> None:
        self.settings, self.known = settings, known
        self.begun: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, file: ImageFile) -> _Decoded:
        # The mark is taken before the bytes: a file that changes in between gets a mark that never comes again.
        stamp = file.stamp()
        try:
            data = file.read()
        except ImageRefused as refusal:
            return _Decoded(None, None, code=refusal.code)
        digest = hashlib.sha256(data).hexdigest()
        with self.lock:
            if digest in self.known or digest in self.begun:
                return _Decoded(digest, stamp)
            self.begun.add(digest)
        try:
            picture = read_radiograph(
                data, self.settings.size, bits=self.settings.bits, approximate=self.settings.approximate
            )
            frame, _ = framed(picture, self.settings.size, self.settings.bits)
        except ImageRefused as refusal:
            return _Decoded(digest, stamp, code=refusal.code)
        return _Decoded(digest, stamp, frame, picture.info)


class _Writer:
    """Pixels first, then the line that speaks of them: what the index names is always there."""

    def __init__(self, folder: Path, settings: _Settings, index: _Index) -> None:
        self.settings, self.index = settings, index
        self.pixels: BinaryIO = _open_for_update(folder / "pixels.bin")
        self.lines: BinaryIO = _open_for_update(index.path)
        self.lines.truncate(index.end)
        self.lines.seek(index.end)
        self.waiting: list[dict[str, Any]] = []
        self.slots: dict[str, int] = {}
        self.flushed = time.monotonic()

    def add(self, found: _Decoded) -> None:
        """Take one result of a worker."""
        if found.digest is None:
            return
        record: dict[str, Any] = {"digest": found.digest, "stamp": found.stamp}
        if found.code is not None:
            record["code"] = found.code
        elif found.frame is not None and found.info is not None:
            content = np.ascontiguousarray(found.frame, dtype=self.settings.dtype).tobytes()
            # A damaged picture goes back to its old place.
            slot = self.slots.pop(found.digest, self.index.slots)
            self.pixels.seek(slot * self.settings.row_bytes)
            self.pixels.write(content)
            record |= {"slot": slot, "crc": zlib.crc32(content), "info": found.info.to_dict()}
            self.index.slots = max(self.index.slots, slot + 1)
        elif found.stamp is None or self.index.stamps.get(found.stamp) == found.digest:
            return
        self.waiting.append(record)
        if len(self.waiting) >= _BATCH or time.monotonic() - self.flushed > _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Bring pixels to the disk, then their lines."""
        self.pixels.flush()
        os.fsync(self.pixels.fileno())
        for record in self.waiting:
            line = _line(record)
            self.lines.write(line)
            self.index.take(record, self.index.end)
            self.index.end += len(line)
        self.waiting.clear()
        self.lines.flush()
        os.fsync(self.lines.fileno())
        self.flushed = time.monotonic()

    def close(self) -> None:
        """Close both files; what is waiting has been flushed or is lost."""
        for file in (self.pixels, self.lines):
            with contextlib.suppress(OSError):
                file.close()


def _open_for_update(path: Path) -> BinaryIO:
    path.touch()
    return path.open("r+b")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one process; the system lets go when the process dies, however it dies."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RefusedError(
                "another process is filling this picture cache", "one at a time", "wait for it, or name another folder"
            ) from None
        yield


class ImageCache:
    """Pictures of one size, one row a file, read from a memory-mapped file.

    Made by `build`. A row of a refused file has no pixels; see `refused` and `usable`.

    Attributes
    ----------
    size : int
        Side of the frames.
    bits : {8, 16}
    refused : tuple of RefusedImage
    usable : int array
        Rows that have pixels, in order.

    Notes
    -----
    The folder holds one file of frames and one list of lines of JSON. Names of files, paths and identifiers are in
    neither: contents are known by SHA-256, paths by a hash of path, size and times. In memory there are some 500 bytes
    a picture; pixels stay on disk.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.png"
    ...     Image.new("L", (40, 80), 90).save(file)
    ...     cache = ImageCache.build([ImageFile(file)], Path(folder) / "cache", size=8)
    ...     row, place = cache[0], cache.placement(0)
    >>> row[4].tolist(), place.left
    ([0, 0, 90, 90, 90, 90, 0, 0], 2)
    """

    def __init__(
        self, folder: Path, settings: _Settings, index: _Index, rows: Sequence[tuple[str | None, str]]
    ) -> None:
        self._folder, self._settings, self._index = folder, settings, index
        self._digests = tuple(digest for digest, _ in rows)
        entries = [None if digest is None else index.entries.get(digest) for digest in self._digests]
        self._codes = tuple(
            code or (entry.code if entry else "MISSING") or "" for entry, (_, code) in zip(entries, rows, strict=True)
        )
        self._slots = np.asarray([entry.slot if entry else -1 for entry in entries], dtype=np.int64)
        self._crcs = np.asarray([entry.crc if entry else 0 for entry in entries], dtype=np.uint32)
        self._sound = np.zeros(len(rows), dtype=bool)
        self._map()

    def _map(self) -> None:
        shape = (self._index.slots, self.size, self.size)
        self._pixels: NDArray[Any] = (
            np.memmap(self._folder / "pixels.bin", self._settings.dtype, "r", shape=shape)
            if self._index.slots
            else np.zeros(shape, dtype=self._settings.dtype)
        )

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would travel to another process as a copy of all pixels.
        return {name: value for name, value in self.__dict__.items() if name != "_pixels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    # ------------------------------------------------------------------------------------------------------- building

    @classmethod
    def build(
        cls,
        files: Sequence[ImageFile],
        folder: str | os.PathLike[str],
        *,
        size: int = 224,
        bits: Literal[8, 16] = 8,
        approximate: bool = False,
        n_jobs: int | None = None,
        progress: Progress | None = None,
        verify: bool = False,
    ) -> ImageCache:
        """Decode what is not in the cache yet and return the cache of these files.

        Parameters
        ----------
        files : sequence of ImageFile
            One a row; see `aimed.readers.image_files.find_images`.
        folder : path
            Of the cache; made when absent. Several sizes live in it side by side.
        size : int
            Side of the square frames; aspect is kept and zeros fill the rest.
        bits : {8, 16}
        approximate : bool
            See `aimed.readers.radiograph.read_radiograph`.
        n_jobs : int, optional
            Threads; the processors of the machine when absent. The result does not depend on it.
        progress : callable, optional
            ``progress(share, text)``, at most ten times a second.
        verify : bool
            Whether all files are read and all frames checked; damaged ones are decoded again. Otherwise a file whose
            path, size and times are those of an earlier build is not read.

        Returns
        -------
        ImageCache

        Raises
        ------
        DataError
            If the disk is full or the folder cannot be written; what has been decoded is kept.
        RefusedError
            If another process is filling the same cache.
        MissingExtraError
            If a package of the imaging extra is missing.
        """
        if not 8 <= size <= 4096 or bits not in (8, 16):
            raise DataError(f"frames of {size} pixels and {bits} bits", "8 to 4,096 pixels a side and 8 or 16 bits")
        settings = _Settings(size, bits, approximate)
        place = Path(folder) / settings.name
        needed = 0
        try:
            place.mkdir(parents=True, exist_ok=True)
            with _alone(place):
                index = _sound_index(place, settings)
                damaged = _damaged(place, settings, index) if verify else {}
                rows: list[tuple[str | None, str]] = [(None, "")] * len(files)
                todo: list[tuple[int, ImageFile]] = []
                for row, file in enumerate(files):
                    stamp = None if verify else file.stamp()
                    digest = None if stamp is None else index.stamps.get(stamp)
                    if digest is not None and digest in index.entries:
                        rows[row] = digest, ""
                    else:
                        todo.append((row, file))
                needed = len(todo) * settings.row_bytes
                told = Told(progress, len(todo))
                writer = _Writer(place, settings, index)
                writer.slots = damaged
                try:
                    decode = _Decoder(settings, index.entries)
                    for (row, _), found in worked_ahead(lambda one: decode(one[1]), todo, n_jobs or processors()):
                        rows[row] = found.digest, (found.code or "") if found.digest is None else ""
                        writer.add(found)
                        needed -= settings.row_bytes
                        told.step(found.code is not None)
                except BaseException:
                    # What has been decoded is worth keeping, unless writing is what failed.
                    with contextlib.suppress(OSError):
                        writer.flush()
                    raise
                else:
                    writer.flush()
                finally:
                    writer.close()
        except OSError as error:
            raise _full(error, needed) from None
        return cls(place, settings, index, rows)

    # -------------------------------------------------------------------------------------------------------- reading

    @property
    def size(self) -> int:
        """Side of the frames in pixels."""
        return self._settings.size

    @property
    def bits(self) -> int:
        """Bits of a pixel."""
        return self._settings.bits

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def refused(self) -> tuple[RefusedImage, ...]:
        """The rows without pixels, with the code of the reason."""
        return tuple(RefusedImage(row, code) for row, code in enumerate(self._codes) if code)

    @property
    def usable(self) -> NDArray[np.int64]:
        """The rows that have pixels, in order."""
        return np.flatnonzero(self._slots >= 0)

    @property
    def digests(self) -> tuple[str | None, ...]:
        """SHA-256 of each file; None where it could not be read."""
        return self._digests

    def _usable(self, row: int) -> int:
        row = row + len(self) if row < 0 else row
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a cache of {len(self)}")
        if self._codes[row]:
            raise ImageRefused(self._codes[row])
        return row

    def _slot(self, row: int) -> int:
        row = self._usable(row)
        slot = int(self._slots[row])
        if not self._sound[row]:
            if zlib.crc32(self._pixels[slot].tobytes()) != int(self._crcs[row]):
                raise DataError(f"the cached picture of row {row:,} has changed on disk", "what was written", _AGAIN)
            self._sound[row] = True
        return slot

    def __getitem__(self, row: int) -> Grey:
        """Return one frame, shape (size, size), read-only and still on disk.

        Raises
        ------
        ImageRefused
            If the file of this row was refused.
        DataError
            If the frame is not what was written; each is checked once.
        """
        frame: Grey = self._pixels[self._slot(int(row))]
        return frame

    def rows(self, rows: ArrayLike) -> Grey:
        """Return a copy of some frames, shape (k, size, size); errors as for one."""
        found: Grey = self._pixels[[self._slot(int(row)) for row in np.asarray(rows).ravel()]]
        return np.asarray(found)

    def info(self, row: int) -> ImageInfo:
        """Return what is known of a picture, read from disk."""
        return self._index.info(self._index.entries[self._digests[self._usable(row)] or ""])

    def placement(self, row: int) -> Placement:
        """Return where the picture lies in its frame, to map boxes and heat maps back to its own pixels."""
        info = self.info(row)
        return Placement.fit(info.rows, info.columns, self.size)

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each row as plain JSON types, with ``refused`` for a row without pixels."""
        for row, code in enumerate(self._codes):
            yield asdict(RefusedImage(row, code)) if code else {"row": row, **self.info(row).to_dict()}


def _sound_index(folder: Path, settings: _Settings) -> _Index:
    """Read the index and forget the frames that the pixel file is too short for."""
    index = _Index(folder / "index.jsonl")
    pixels = folder / "pixels.bin"
    held = pixels.stat().st_size // settings.row_bytes if pixels.exists() else 0
    index.entries = {digest: entry for digest, entry in index.entries.items() if entry.slot < held}
    index.slots = min(index.slots, held)
    return index


def _damaged(folder: Path, settings: _Settings, index: _Index) -> dict[str, int]:
    """Forget the frames that are not what was written; return their places."""
    found: dict[str, int] = {}
    if index.slots:
        shape = (index.slots, settings.row_bytes)
        pixels = np.memmap(folder / "pixels.bin", np.uint8, "r", shape=shape)
        for digest, entry in index.entries.items():
            if entry.slot >= 0 and zlib.crc32(pixels[entry.slot].tobytes()) != entry.crc:
                found[digest] = entry.slot
    for digest in found:
        del index.entries[digest]
    return found
