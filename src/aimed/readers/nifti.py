"""NIfTI files read with every header field checked before memory is taken, and written so that the grid stays exact."""

from __future__ import annotations

import contextlib
import gzip
import io
import mmap
import os
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.core import DataError, MissingExtraError
from aimed.core.grid import Grid
from aimed.core.volume import Volume, VolumeRefused

__all__ = ["MAX_BYTES", "is_nifti", "read_nifti", "write_nifti"]

Array: TypeAlias = NDArray[Any]
Space: TypeAlias = Literal["sform", "qform", "pixdim"]

MAX_BYTES = 2**33
"""The largest volume that is read: eight times 1024 x 1024 x 256 voxels of 32 bits."""

MAX_CHANNELS = 16
"""A file with more volumes than this is a time series unless its channels are named."""

_GZIP = b"\x1f\x8b"
_SIZES = (348, 540)
_KINDS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_MM = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
"""Millimetres in a unit of the header: unknown (taken for mm), metre, mm, micrometre."""

_EXPANSION = 1040
"""Deflate cannot make more bytes than this of one."""

_NEAR, _APART = 0.01, 0.5
"""Affines that differ by less than the first share of a voxel are the same; by more than the second, not."""


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise MissingExtraError("nibabel", "reading NIfTI", "pip install 'aimed[imaging]'") from None
    return nibabel


@dataclass(frozen=True, slots=True)
class _Head:
    """What a header says, checked."""

    raw: Any
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # as the array: (z, y, x) or (c, z, y, x)
    offset: int
    slope: float
    inter: float

    @property
    def bytes(self) -> int:
        """Bytes of the file without compression."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def is_nifti(data: bytes) -> bool:
    """Say whether the first bytes of a file, 540 or more, are those of a NIfTI file, compressed or not.

    Examples
    --------
    >>> is_nifti(b"not a volume")
    False
    """
    if data[:2] == _GZIP:
        try:
            data = zlib.decompressobj(31).decompress(data, _SIZES[1])
        except zlib.error:
            return False
    return data[344:347] in (b"n+1", b"ni1") or data[4:7] in (b"n+2", b"ni2")


# ----------------------------------------------------------------------------------------------------------- the header


def _shape(raw: Any) -> tuple[int, ...]:
    dim = [int(v) for v in raw["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise VolumeRefused("SIZE_LIES", "dim")
    sides = dim[1 : dim[0] + 1]
    while len(sides) > 3 and sides[-1] == 1:
        sides.pop()
    if len(sides) > 4:
        raise VolumeRefused("NOT_A_VOLUME", f"{len(sides)} dimensions")
    if len(sides) < 3 or sorted(sides[:3])[0] == 1:
        raise VolumeRefused("FLAT")
    return tuple(reversed(sides))


def _scaling(raw: Any) -> tuple[float, float]:
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(inter) and 1e-30 <= abs(slope) <= 1e30 and abs(inter) <= 1e30):
        raise VolumeRefused("BAD_NUMBER", "scl_slope or scl_inter")
    return slope, inter


def _affine_of(raw: Any, name: str, shape: tuple[int, ...], unit: float) -> Grid:
    try:
        if name == "pixdim":
            affine = np.diag([*(float(v) for v in raw["pixdim"][1:4]), 1.0])
        else:
            # A quaternion of length above 1 raises; a negative or zero pixdim gives axes without length.
            affine = np.array(raw.get_sform() if name == "sform" else raw.get_qform(), dtype=np.float64)
        if not np.abs(affine).max() <= 1e9:
            raise DataError("an affine out of range")
        affine[:3] *= unit
        grid = Grid((shape[-3], shape[-2], shape[-1]), affine)
        if not 1e-4 <= min(grid.spacing) <= max(grid.spacing) <= 1e3:
            raise DataError("a spacing out of range")
    # nibabel has its own errors of bad headers.
    except Exception:
        raise VolumeRefused("BAD_NUMBER", f"{name}") from None
    return grid


def _place(raw: Any, shape: tuple[int, ...], space: Space | None) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine in mm and what is to be said about it."""
    notes: list[str] = []
    units = int(raw["xyzt_units"]) & 7
    if units not in _MM:
        raise VolumeRefused("BAD_NUMBER", "xyzt_units")
    if units in (1, 3):
        notes.append("The header counts in metres or micrometres; the volume counts in mm.")
    codes = {"sform": int(raw["sform_code"]), "qform": int(raw["qform_code"])}
    given = [name for name in ("sform", "qform") if codes[name] > 0]
    if space is not None and space != "pixdim" and space not in given:
        raise VolumeRefused("NO_GEOMETRY", f"the header has no {space}")
    if space == "pixdim":
        notes.append("The voxel axes are taken for right, front and head because space='pixdim' was asked for.")
        return _affine_of(raw, "pixdim", shape, _MM[units]).affine, tuple(notes)
    if not given:
        raise VolumeRefused("NO_GEOMETRY", "sform_code and qform_code are 0")
    grids = {name: _affine_of(raw, name, shape, _MM[units]) for name in given if space in (None, name)}
    first = next(iter(grids.values()))
    if len(grids) == 2 and not first.same_as(grids["qform"], _NEAR):
        other = grids["qform"]
        apart = float(np.sqrt(((first.corners() - other.corners()) ** 2).sum(axis=1)).max())
        if first.orientation != other.orientation:
            raise VolumeRefused("AFFINES_DISAGREE", f"sform says {first.orientation}, qform {other.orientation}")
        if apart > _APART * min(first.spacing) and codes["sform"] == codes["qform"]:
            raise VolumeRefused("AFFINES_DISAGREE", f"by up to {apart:.1f} mm in one and the same space")
        notes.append(f"sform and qform place voxels up to {apart:.2g} mm apart; the sform is used.")
    return first.affine, tuple(notes)


def _head(block: bytes) -> _Head:
    """Parse and check a header."""
    nib = _nibabel()
    if not is_nifti(block) or len(block) < _SIZES[0]:
        raise VolumeRefused("NOT_A_VOLUME" if len(block) >= _SIZES[0] else "TRUNCATED")
    second = block[4:6] == b"n+" or block[4:6] == b"ni"
    if block[(4 if second else 344) : (6 if second else 346)] == b"ni":
        raise VolumeRefused("NOT_A_VOLUME", "a NIfTI pair of header and image; one .nii file is read")
    size, kind = (_SIZES[1], nib.Nifti2Header) if second else (_SIZES[0], nib.Nifti1Header)
    if len(block) < size:
        raise VolumeRefused("TRUNCATED")
    sizes = {order: int.from_bytes(block[:4], order) for order in ("little", "big")}
    order = next((o for o, n in sizes.items() if n == size), None)
    if order is None:
        raise VolumeRefused("SIZE_LIES", "sizeof_hdr")
    raw = kind(block[:size], endianness="<" if order == "little" else ">", check=False)
    shape = _shape(raw)
    code = int(raw["datatype"])
    if code not in _KINDS:
        raise VolumeRefused("NOT_A_VOLUME", "voxels that are colours, complex or of an unknown type")
    dtype = np.dtype(f"{'<' if order == 'little' else '>'}{_KINDS[code]}")
    if int(raw["bitpix"]) not in (0, 8 * dtype.itemsize):
        raise VolumeRefused("SIZE_LIES", "bitpix")
    offset = float(raw["vox_offset"])
    least = size + 4
    if not np.isfinite(offset) or offset != int(offset) or not (offset == 0 or size <= offset <= 2**30):
        raise VolumeRefused("SIZE_LIES", "vox_offset")
    return _Head(raw, dtype, shape, int(offset) or least, *_scaling(raw))


# ----------------------------------------------------------------------------------------------------------- the voxels


def _inflated(data: bytes, size: int) -> Array:
    """Return the bytes of a gzip stream that must be of a known size, without ever taking more memory."""
    found = np.empty(size, dtype=np.uint8)
    codecs: Any = None
    with contextlib.suppress(ImportError):
        import imagecodecs as codecs
    # The stream ends with its size: where that is another, the standard library finds out why, as with any damage.
    if codecs is not None and int.from_bytes(data[-4:], "little") == size % 2**32:
        with contextlib.suppress(Exception):
            if codecs.gzip_decode(data, out=found).size == size:
                return found
    at, more, room = 0, b"", memoryview(found.data)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            while at < size and (n := stream.readinto(room[at : at + 2**24])):
                at += n
            more = stream.read(1)  # at the end of the stream the check sum is compared
    except (OSError, EOFError, zlib.error):
        raise VolumeRefused("TRUNCATED") from None
    if at < size:
        raise VolumeRefused("TRUNCATED")
    if more:
        raise VolumeRefused("SIZE_LIES", "more voxels than the header says")
    return found


def _check_length(head: _Head, size: int, packed: bool, max_bytes: int) -> None:
    """Refuse a file whose length does not fit its header."""
    if head.bytes - head.offset > max_bytes:
        raise VolumeRefused("TOO_LARGE", f"the header claims {(head.bytes - head.offset) / 1e9:,.1f} GB")
    if head.bytes > (_EXPANSION if packed else 1) * size:
        raise VolumeRefused("TRUNCATED", "the file is shorter than the header says")
    if not packed and size > head.bytes:
        raise VolumeRefused("SIZE_LIES", "the file is longer than the header says")


def _stored(file: Any, size: int, packed: bool, head: _Head, mapped: bool) -> Array:
    """Return the voxels as stored, native in their order of bytes."""
    file.seek(0)
    if packed:
        held: Any = _inflated(file.read(size), head.bytes)
    elif mapped:
        held = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    else:
        held = np.fromfile(file, dtype=np.uint8, count=size)
    count = (head.bytes - head.offset) // head.dtype.itemsize
    # Voxels lie with x fastest and channels last, which is (c, z, y, x) without moving any.
    voxels = np.frombuffer(held, dtype=head.dtype, count=count, offset=head.offset).reshape(head.shape)
    return np.require(voxels, head.dtype.newbyteorder("="), "A")


def _scaled(voxels: Array, head: _Head) -> Array:
    if (head.slope, head.inter) == (1.0, 0.0):
        return voxels
    wide = voxels.dtype.itemsize > 4 or (voxels.dtype.kind in "iu" and voxels.dtype.itemsize > 2)
    found = np.empty(voxels.shape, dtype=np.float64 if wide else np.float32)
    flat, out = voxels.reshape(-1, *voxels.shape[-2:]), found.reshape(-1, *voxels.shape[-2:])
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found later
        for k in range(len(flat)):
            out[k] = flat[k].astype(np.float64) * head.slope + head.inter
    return found


def _whole(voxels: Array) -> Array:
    """Return labels as integers, or refuse what is none."""
    if voxels.dtype.kind == "f":
        low, high = float(voxels.min()), float(voxels.max())
        if not (low >= 0 and high < 2**31) or not np.array_equal(voxels, np.rint(voxels)):
            raise VolumeRefused("BAD_LABELS")
        return voxels.astype(np.uint8 if high < 256 else np.int32)
    if voxels.dtype.kind == "i" and int(voxels.min()) < 0:
        raise VolumeRefused("BAD_LABELS", "numbers below 0")
    return voxels


def _finite(voxels: Array, not_finite: str) -> Array:
    if voxels.dtype.kind != "f" or not_finite == "keep":
        return voxels
    with np.errstate(over="ignore", invalid="ignore"):
        total = voxels.sum(dtype=np.float64)
    if np.isfinite(total):
        return voxels
    bad = ~np.isfinite(voxels)
    if not bad.any():
        return voxels
    if not_finite == "zero":
        return np.where(bad, voxels.dtype.type(0), voxels)
    raise VolumeRefused("NOT_FINITE", f"{int(bad.sum()):,} of {voxels.size:,}")


def read_nifti(
    path: str | os.PathLike[str],
    *,
    labels: bool = False,
    channels: Sequence[str] = (),
    modality: str | None = None,
    space: Space | None = None,
    not_finite: Literal["refuse", "zero", "keep"] = "refuse",
    mapped: bool = True,
    max_bytes: int = MAX_BYTES,
) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file, compressed or not.

    Parameters
    ----------
    path : path
        Known by its content, not by its name.
    labels : bool
        Whether the file is a mask; its values must be whole numbers from 0.
    channels : sequence of str
        Names of the volumes of a file with four dimensions; needed for more than 16 of them.
    modality : str, optional
        The format does not hold it.
    space : {"sform", "qform", "pixdim"}, optional
        Which affine counts. When absent the sform does, as in every reader, and the qform where there is none; the
        file is refused when they name different directions, or differ by more than half a voxel under the same code.
        "pixdim" takes a file without either for RAS.
    not_finite : {"refuse", "zero", "keep"}
        What to do with voxels that are NaN or infinite.
    mapped : bool
        Whether a file without compression stays on the disk and is read where it is touched.
    max_bytes : int
        Of the voxels.

    Returns
    -------
    Volume
        With the type of the file; where the header scales, float32, or float64 for integers of 32 bits or more.

    Raises
    ------
    VolumeRefused
        With the code of the reason, before memory is taken for what the header only claims.
    MissingExtraError
        If nibabel is not installed.

    Notes
    -----
    Free text and extensions of the header are neither kept nor shown: scanners write names into them.

    Examples
    --------
    >>> import tempfile
    >>> scan = Volume(array=np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine=np.diag([-1.0, -1.0, 2.0, 1.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nifti(scan, Path(folder) / "scan.nii.gz")
    ...     again = read_nifti(Path(folder) / "scan.nii.gz")
    >>> again.shape, again.spacing, again.orientation, bool((again.array == scan.array).all())
    ((2, 3, 4), (2.0, 1.0, 1.0), 'LPS', True)
    """
    if "\0" in os.fspath(path):
        raise VolumeRefused("MISSING")
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise VolumeRefused("EMPTY")
            if size > max_bytes + 2**30:
                raise VolumeRefused("TOO_LARGE")
            head, packed = _open(file)
            _check_length(head, size, packed, max_bytes)
            _count_channels(head.shape, channels)
            affine, notes = _place(head.raw, head.shape, space)
            voxels = _stored(file, size, packed, head, mapped)
    except OSError:
        raise VolumeRefused("MISSING") from None
    voxels = _finite(_scaled(voxels, head), "refuse" if labels else not_finite)
    return Volume(
        array=_whole(voxels) if labels else voxels, affine=affine, labels=labels, modality=modality,
        channels=tuple(channels), notes=notes,
    )  # fmt: skip


def _open(file: Any) -> tuple[_Head, bool]:
    block = file.read(_SIZES[1])
    packed = block[:2] == _GZIP
    if packed:
        # Much longer than the header needs, however badly it compresses.
        block += file.read(2**16)
        try:
            block = zlib.decompressobj(31).decompress(block, _SIZES[1])
        except zlib.error:
            raise VolumeRefused("TRUNCATED") from None
    return _head(block), packed


def _count_channels(shape: tuple[int, ...], channels: Sequence[str]) -> None:
    n = shape[0] if len(shape) == 4 else 1
    if channels and len(channels) != n:
        raise VolumeRefused("TIME_SERIES", f"{n} volumes for {len(channels)} names of channels")
    if not channels and n > MAX_CHANNELS:
        raise VolumeRefused("TIME_SERIES", f"{n} volumes")


# -------------------------------------------------------------------------------------------------------------- writing

_PLACE_FIELDS = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "xyzt_units",
)  # fmt: skip


def write_nifti(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    like: str | os.PathLike[str] | None = None,
    version: Literal[1, 2] = 1,
) -> None:
    """Write a volume so that reading it gives the same voxels, type and affine.

    Parameters
    ----------
    volume : Volume
        Truth values become uint8 and half precision float32, which the format lacks.
    path : path
        Compressed when the name ends in ``.gz``. The file appears when it is whole, or not at all.
    like : path, optional
        A NIfTI file of the same grid whose fields of place are copied bit for bit, sform, qform, codes and units: a
        mask then lies on its scan in every viewer. Its text is not copied.
    version : {1, 2}
        NIfTI-1, which every tool reads, holds the affine in 32 bits; NIfTI-2 in 64.

    Raises
    ------
    VolumeRefused
        GRIDS_DIFFER when `like` has another grid.
    MissingExtraError
        If nibabel is not installed.
    """
    nib = _nibabel()
    stored = {"b": "u1", "f2": "f4"}
    kind = stored.get(volume.array.dtype.kind, stored.get(volume.array.dtype.str[1:], volume.array.dtype.str[1:]))
    array = np.ascontiguousarray(volume.array, dtype=np.dtype(f"<{kind}"))
    theirs = None
    if like is not None:
        theirs = _place_of(like, volume)
        version = 2 if isinstance(theirs, nib.Nifti2Header) else 1
    raw = (nib.Nifti2Header if version == 2 else nib.Nifti1Header)(endianness="<")
    if version == 1 and max(array.shape) > 2**15 - 1:
        raise DataError("a side of more than 32,767 voxels", "NIfTI-2", "write with version=2")
    raw["dim"] = [array.ndim, *array.shape[::-1], *[1] * (7 - array.ndim)]
    raw["datatype"] = next(code for code, name in _KINDS.items() if name == kind)
    raw["bitpix"] = 8 * array.dtype.itemsize
    raw["scl_slope"], raw["scl_inter"] = 1, 0
    raw["vox_offset"] = size = (_SIZES[1] if version == 2 else _SIZES[0]) + 4
    if theirs is None:
        raw["xyzt_units"] = 2
        _set_place(raw, volume.grid)
    else:
        for name in _PLACE_FIELDS:
            raw[name] = theirs[name]
        raw["pixdim"][:4] = theirs["pixdim"][:4]
    head = raw.binaryblock.ljust(size, b"\0")
    target = Path(path)
    _whole_or_nothing(target, _packed(head, array) if target.suffix.lower() == ".gz" else [head, array.tobytes()])


def _place_of(path: str | os.PathLike[str], volume: Volume) -> Any:
    """Return the header of a file that must have the grid of a volume."""
    try:
        with Path(path).open("rb") as file:
            head, _ = _open(file)
    except OSError:
        raise VolumeRefused("MISSING") from None
    spaces: tuple[Space | None, ...] = (None, "sform", "qform", "pixdim")
    for space in spaces:
        with contextlib.suppress(VolumeRefused):
            affine, _ = _place(head.raw, head.shape, space)
            if Grid((head.shape[-3], head.shape[-2], head.shape[-1]), affine).same_as(volume.grid, 1e-4):
                return head.raw
    raise VolumeRefused("GRIDS_DIFFER", "the volume and the file that it should be like")


def _set_place(raw: Any, grid: Grid) -> None:
    raw["pixdim"][1:4] = grid.spacing[::-1]
    raw.set_sform(grid.affine, code=1)
    raw.set_qform(grid.affine, code=1, strip_shears=True)
    if not Grid(grid.shape, np.array(raw.get_qform())).same_as(grid, _NEAR):
        # A quaternion cannot shear; half a truth would contradict the sform.
        raw["qform_code"] = 0


def _packed(head: bytes, array: Array) -> list[Any]:
    try:
        import imagecodecs

        return [imagecodecs.gzip_encode(head + array.tobytes(), 1)]
    except ImportError:
        stream = zlib.compressobj(1, wbits=31)
        return [stream.compress(head), stream.compress(array.tobytes()), stream.flush()]


def _whole_or_nothing(path: Path, parts: list[Any]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
        # The file is made private; a volume is read by the people the folder is open to.
        os.chmod(name, path.parent.stat().st_mode & 0o666)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
