"""Scans and masks on the grid that a network works on: made once, kept as memory maps, and opened one at a time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aimed.core.volume import Volume
from aimed.diagnosis.volume_preparation import VolumePreparation

__all__ = ["PreparedVolumes", "Scans"]

Progress = Callable[[float, str], object]
_VERSION = 1
_DRAFT = ".making"
"""Not the ending of drafts in the cache around it, which are cleared away while this one may still be written."""
_OLD_SECONDS = 86_400


class Scans(Protocol):
    """Scans and masks that are opened one at a time, such as `aimed.readers.volume_set.VolumeSet`."""

    def __len__(self) -> int:
        """Return the number of scans."""
        ...

    def record(self, row: int) -> Any:
        """Return what is known of one scan: its ``digest`` and ``mask_digest``."""
        ...

    def scan(self, row: int) -> Volume:
        """Return one scan."""
        ...

    def mask_volume(self, row: int) -> Volume:
        """Return one mask, on the grid of its source."""
        ...


class PreparedVolumes:
    """Scans as a network is given them, shape (c, z, y, x) in half precision, with their masks.

    Parameters
    ----------
    scans : Scans
    preparation : VolumePreparation
    folder : path
        Where the arrays are kept; those that are there from before are used again.
    clean : callable, optional
        ``clean(mask)``: what is done to labels before they are kept, such as making labels of no region background.
    recipe : str
        Names what `clean` does; arrays of another are made anew.

    Examples
    --------
    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> scan = Volume(array=np.arange(1, 65).reshape(1, 4, 4, 4), affine=np.eye(4), channels=("T1w",))
    >>> mask = Volume(array=np.ones((4, 4, 4), np.uint8), affine=np.eye(4), labels=True)
    >>> one = SimpleNamespace(digest="a", mask_digest="b")
    >>> class Two:
    ...     __len__ = lambda self: 2
    ...     record = lambda self, row: one
    ...     scan = lambda self, row: scan
    ...     mask_volume = lambda self, row: mask
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepared = PreparedVolumes(Two(), VolumePreparation(channels=("T1w",)), folder)
    ...     prepared.scans[0].dtype, prepared.masks[1].shape
    (dtype('float16'), (4, 4, 4))
    """

    def __init__(
        self,
        scans: Scans,
        preparation: VolumePreparation,
        folder: str | os.PathLike[str],
        *,
        clean: Callable[[NDArray[Any]], NDArray[np.uint8]] | None = None,
        recipe: str = "",
    ) -> None:
        self.source, self.preparation, self.clean = scans, preparation, clean
        content = json.dumps([_VERSION, preparation.to_state(), recipe], sort_keys=True)
        self.folder = Path(folder) / f"prepared-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def __len__(self) -> int:
        return len(self.source)

    @property
    def scans(self) -> Sequence[Any]:
        """The scans, each opened when asked for."""
        return _Opened(len(self), self.scan)

    @property
    def masks(self) -> Sequence[Any]:
        """The masks on the grids of the scans, each opened when asked for."""
        return _Opened(len(self), self.mask)

    def make(self, progress: Progress | None = None) -> PreparedVolumes:
        """Make all that is not there yet."""
        self._clear_leftovers()
        for row in range(len(self)):
            # A mask needs the grid of its scan: what is not there yet is prepared once for both.
            ready = self._ready(row)
            self._scan(row, ready)
            self._mask(row, ready)
            if progress is not None:
                progress((row + 1) / len(self), f"preparing scan {row + 1:,} of {len(self):,}")
        return self

    def scan(self, row: int) -> NDArray[np.float16]:
        """Return one scan, shape (c, z, y, x)."""
        return self._scan(row, self._ready(row))

    def mask(self, row: int) -> NDArray[np.uint8]:
        """Return one mask, shape (z, y, x)."""
        return self._mask(row, self._ready(row))

    def _ready(self, row: int) -> Callable[[], Volume]:
        """Return what prepares a scan when it is first asked for."""
        return functools.cache(lambda: self.preparation.prepared(self.source.scan(row)))

    def _scan(self, row: int, ready: Callable[[], Volume]) -> NDArray[np.float16]:
        return self._kept(f"{_name(self.source.record(row).digest)}.scan.npy", lambda: ready().array)

    def _mask(self, row: int, ready: Callable[[], Volume]) -> NDArray[np.uint8]:
        record = self.source.record(row)

        def made() -> NDArray[np.uint8]:
            mask = self.source.mask_volume(row)
            if self.clean is not None:
                mask = mask.with_array(self.clean(mask.array), labels=True)
            return self.preparation.mask_on(mask, ready())

        return self._kept(f"{_name(f'{record.digest} {record.mask_digest}')}.mask.npy", made)

    def _kept(self, name: str, made: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        path = self.folder / name
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError):
            self._write(path, made())
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    def _clear_leftovers(self) -> None:
        """Remove what killed processes left half written; what is younger may be another one's work."""
        for draft in self.folder.glob(f".*{_DRAFT}"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > _OLD_SECONDS:
                    draft.unlink()

    def _write(self, path: Path, array: NDArray[Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        draft = path.with_name(f".{uuid.uuid4().hex}{_DRAFT}")
        try:
            with draft.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _Opened(Sequence[Any]):
    """A sequence whose members are opened when they are asked for."""

    def __init__(self, n: int, opened: Callable[[int], Any]) -> None:
        self._n, self._opened = n, opened

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self._opened(place) for place in range(*row.indices(self._n))]
        if not -self._n <= row < self._n:
            raise IndexError(row)
        return self._opened(int(row) % self._n)

    def __iter__(self) -> Iterator[Any]:
        return map(self._opened, range(self._n))
