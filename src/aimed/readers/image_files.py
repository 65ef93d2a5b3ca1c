"""Where pictures lie: files, folders and zipped series, read with limits and never unpacked."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from aimed.core import DataError
from aimed.core.image import ImageRefused

__all__ = ["MAX_BYTES", "ImageFile", "find_images", "inside"]

MAX_BYTES = 2**30
"""The largest file that is read; a radiograph without compression has about 40 MB."""

MAX_MEMBERS = 200_000
GROWTH, FREE = 200, 64 * 2**20
"""A member of an archive may grow this many times, or to this many bytes: empty frames compress a thousandfold."""

_TABLES = (
    ".csv",
    ".tsv",
    ".txt",
    ".md",
    ".json",
    ".jsonl",
    ".xml",
    ".html",
    ".parquet",
    ".arrow",
    ".feather",
    ".toml",
    ".pdf",
)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file that should hold a picture.

    Parameters
    ----------
    path : Path
        The file, or the archive that holds it.
    member : str, optional
        Name inside the archive.
    refusal : str, optional
        A code when it is known already that the file will not be read.

    Examples
    --------
    >>> ImageFile(Path("gone.png"), refusal="MISSING").read()
    Traceback (most recent call last):
    aimed.core.image.ImageRefused: the file is not there or may not be read (MISSING); ...
    """

    path: Path
    member: str | None = None
    refusal: str | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises
        ------
        ImageRefused
            MISSING, TOO_LARGE, ZIP_BOMB, TRUNCATED or the refusal that was known before.
        """
        if self.refusal:
            raise ImageRefused(self.refusal)
        try:
            if self.member is not None:
                return self._unzipped(self.member)
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_BYTES:
                    raise ImageRefused("TOO_LARGE")
                return file.read(size)
        # ValueError: a path with a zero byte.
        except (OSError, ValueError):
            raise ImageRefused("MISSING") from None

    def _unzipped(self, member: str) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                entry = archive.getinfo(member)
                if entry.file_size > max(FREE, GROWTH * entry.compress_size):
                    raise ImageRefused("ZIP_BOMB")
                if entry.file_size > MAX_BYTES:
                    raise ImageRefused("TOO_LARGE")
                # The reader stops at the declared size, so that a size that lies gains nothing.
                return archive.read(entry)
        except KeyError:
            raise ImageRefused("MISSING") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            raise ImageRefused("TRUNCATED") from None

    def stamp(self) -> str | None:
        """Return a mark that changes when the file does, without reading it; None where there is no such mark."""
        if self.refusal:
            return None
        try:
            known = os.stat(self.path)
        except (OSError, ValueError):
            return None
        what = f"{self.path.absolute()}\0{self.member}\0{known.st_size}\0{known.st_mtime_ns}\0{known.st_ctime_ns}"
        return hashlib.blake2b(f"{what}\0{known.st_ino}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def inside(path: Path, folder: Path) -> bool:
    """Say whether a path lies in a folder after all links and dots are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _hidden(name: str) -> bool:
    path = PurePosixPath(name)
    parts = [p for p in path.parts if p not in (".", "..")]
    return (
        any(p.startswith((".", "__MACOSX")) for p in parts)
        or path.name.upper() == "DICOMDIR"
        or path.suffix.lower() in _TABLES
    )


def _members(path: Path) -> Iterator[ImageFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError):
        yield ImageFile(path, refusal="TRUNCATED")
        return
    if len(entries) > MAX_MEMBERS:
        yield ImageFile(path, refusal="ZIP_BOMB")
        return
    for name in sorted({e.filename for e in entries if not e.is_dir()}):
        if not _hidden(name):
            yield ImageFile(path, name)


def find_images(source: str | os.PathLike[str]) -> list[ImageFile]:
    """List the pictures of a file, a folder with all folders in it, or a zip archive.

    Parameters
    ----------
    source : path

    Returns
    -------
    list of ImageFile
        In the order of their names. Hidden files, DICOMDIR, tables and documents are left out; links that leave the
        folder are listed as refused.

    Raises
    ------
    DataError
        If there is no such path or nothing in it.

    Examples
    --------
    >>> find_images("no-such-folder")
    Traceback (most recent call last):
    aimed.core.errors.DataError: there is no such file or folder; expected pictures; check the path
    """
    path = Path(source)
    if not path.exists():
        raise DataError("there is no such file or folder", "pictures", "check the path")
    if path.is_file():
        return list(_members(path)) if zipfile.is_zipfile(path) and not _is_picture(path) else [ImageFile(path)]
    found: list[ImageFile] = []
    for place, folders, names in os.walk(path):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if _hidden(name):
                continue
            if file.is_symlink() and not inside(file, path):
                found.append(ImageFile(file, refusal="OUTSIDE"))
            elif file.suffix.lower() == ".zip" and zipfile.is_zipfile(file):
                found += _members(file)
            else:
                found.append(ImageFile(file))
    if not found:
        raise DataError("the folder holds no pictures", "DICOM, PNG, JPEG or TIFF files", "check the path")
    return found


def _is_picture(path: Path) -> bool:
    # A picture with an archive behind it is read as the picture.
    with path.open("rb") as file:
        return not file.read(4).startswith(b"PK")
