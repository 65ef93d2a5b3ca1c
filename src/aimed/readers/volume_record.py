"""What is known of one scan and its mask beside their voxels: place, grey levels, labels, or why it was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from aimed.core.grid import Crop, Grid, Step, Triple, Turn
from aimed.core.volume import VolumeRefused

__all__ = ["VolumeRecord", "greys_of", "labels_of"]

Array: TypeAlias = NDArray[Any]

QUANTILES = {"p005": 0.005, "p50": 0.5, "p995": 0.995}

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """What is known of a scan; nothing in it names a patient, but `detail` names a file.

    Parameters
    ----------
    digest : str, optional
        Hash of the content of the files of the scan; None when they could not be read.
    mask_digest : str, optional
        The same of the mask; None without one.
    shape : (int, int, int)
        Of the source grid, (z, y, x); this and what follows is 0 or empty for a refused scan.
    affine : tuple of 4 tuples of 4 float
        Of the source grid; see `aimed.core.volume.Volume`.
    spacing : (float, float, float)
        Of the source grid in mm, (z, y, x).
    orientation : str
        Of the source grid, such as ``"LPS"``.
    modality : str, optional
    channels : tuple of str
    dtype : str
        Of the voxels, such as ``"int16"``.
    box : ((int, int, int), (int, int, int)), optional
        First voxel (z, y, x) of the foreground, and the one behind its last, in the scan turned to RAS; None when
        nothing was cut off, as with a CT.
    notes : tuple of str
        What the reader wants known.
    foreground : float
        Share of the voxels of the source grid that are not 0 in some channel.
    greys : tuple of dict
        For each channel, over voxels that are not 0: ``mean``, ``sd``, ``p005``, ``p50`` and ``p995`` (0.5 %, median,
        99.5 %); and ``zero_share``, the share of 0 among all voxels of the source grid.
    labels : dict of int to int
        Voxels of each label in the mask.
    label_greys : dict of int to tuple of float
        For each label above 0, the mean of each channel, as distance from ``mean`` in units of ``sd``.
    components : int, optional
        Connected parts (26 neighbours) of all labels above 0 together.
    code, detail : str
        Why the scan is refused; `detail` begins with the name of the file, without folders.

    Examples
    --------
    >>> record = VolumeRecord(digest="ab", code="FLAT", detail="a.nii.gz")
    >>> record.usable, VolumeRecord.from_dict(record.to_dict()) == record
    (False, True)
    """

    digest: str | None = None
    mask_digest: str | None = None
    shape: Triple = (0, 0, 0)
    affine: tuple[tuple[float, ...], ...] = ()
    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: str = ""
    modality: str | None = None
    channels: tuple[str, ...] = ()
    dtype: str = ""
    box: tuple[Triple, Triple] | None = None
    notes: tuple[str, ...] = ()
    foreground: float = 0.0
    greys: tuple[Mapping[str, float], ...] = ()
    labels: Mapping[int, int] = field(default_factory=dict)
    label_greys: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    components: int | None = None
    code: str = ""
    detail: str = ""

    @property
    def usable(self) -> bool:
        """Whether the scan was not refused."""
        return not self.code

    @property
    def grid(self) -> Grid:
        """The grid of the source.

        Raises
        ------
        VolumeRefused
            If the scan was refused.
        """
        if not self.affine:
            raise VolumeRefused(self.code or "NO_GEOMETRY", self.detail)
        return Grid(self.shape, np.asarray(self.affine))

    @property
    def steps(self) -> tuple[Step, ...]:
        """From the grid of the source to that of the cached scan."""
        turn = Turn.to(self.grid, "RAS")
        if self.box is None:
            return (turn,)
        low, high = self.box
        return turn, Crop(turn.after, low, (high[0] - low[0], high[1] - low[1], high[2] - low[2]))

    @property
    def cached_shape(self) -> Triple:
        """Shape (z, y, x) of the cached scan: in RAS, and cut to the box."""
        return self.steps[-1].after.shape

    @property
    def cached_spacing(self) -> tuple[float, float, float]:
        """Millimetres (z, y, x) between voxels of the cached scan, in RAS."""
        return self.steps[-1].after.spacing

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        plain: dict[str, Any] = _plain(known)
        return plain

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> VolumeRecord:
        """Return the record of what `to_dict` gave; what this version does not know is left out."""
        names = {one.name for one in fields(cls)}
        known = {name: _fixed(value) for name, value in record.items() if name in names}
        for name in ("labels", "label_greys"):
            known[name] = {int(key): value for key, value in known.get(name, {}).items()}
        return cls(**known)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value


def _fixed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _fixed(one) for key, one in value.items()}
    return tuple(_fixed(one) for one in value) if isinstance(value, list) else value


# -------------------------------------------------------------------------------------------------------------- figures


def _counted(channel: Array) -> tuple[Array, Array]:
    """Return the values of small integers and how often each comes."""
    low, high = int(channel.min()), int(channel.max())
    counts = np.zeros(high - low + 1, dtype=np.int64)
    for plane in channel:
        counts += np.bincount(plane.ravel().astype(np.int32) - low, minlength=counts.size)
    return np.arange(low, high + 1), counts


def _of_integers(channel: Array) -> dict[str, float]:
    values, counts = _counted(channel)
    counts[values == 0] = 0
    n = int(counts.sum())
    if n == 0:
        return {}
    mean = float(counts @ values) / n
    ends = np.cumsum(counts)
    found = {"mean": mean, "sd": float(np.sqrt(float(counts @ (values - mean) ** 2) / n)), "n": n}
    for name, share in QUANTILES.items():
        at = share * (n - 1)
        low, high = (int(values[np.searchsorted(ends, k, side="right")]) for k in (int(at), min(int(at) + 1, n - 1)))
        found[name] = low + (high - low) * (at - int(at))
    return found


def _of_numbers(channel: Array) -> dict[str, float]:
    values = channel[channel != 0]
    if values.size == 0:
        return {}
    if float(max(values.max(), -values.min())) > _LARGEST:
        raise VolumeRefused("NOT_FINITE", "as numbers of 32 bits, in which scans are prepared")
    mean = float(values.mean(dtype=np.float64))
    blocks = (values[k : k + 2**20].astype(np.float64) - mean for k in range(0, values.size, 2**20))
    found = {"mean": mean, "sd": float(np.sqrt(sum(float(b @ b) for b in blocks) / values.size)), "n": values.size}
    quantiles = np.quantile(values, list(QUANTILES.values()), overwrite_input=True)
    return found | {name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)}


def greys_of(channel: Array) -> dict[str, float]:
    """Return mean, deviation and quantiles of the voxels of one channel that are not 0.

    Parameters
    ----------
    channel : array, shape (z, y, x)
        Finite.

    Returns
    -------
    dict of str to float
        Keys as in `VolumeRecord.greys`.

    Raises
    ------
    VolumeRefused
        NO_PIXELS when all voxels have one value; NOT_FINITE when one is too large for float32.

    Examples
    --------
    >>> found = greys_of(np.array([[[0, 0, 2, 4]]], dtype=np.int16))
    >>> found["mean"], found["sd"], found["p50"], found["zero_share"]
    (3.0, 1.0, 3.0, 0.5)
    """
    small = channel.dtype.kind in "bui" and channel.dtype.itemsize <= 2
    found = _of_integers(channel) if small else _of_numbers(channel)
    n = found.pop("n", 0)
    if not found or (n == channel.size and found["sd"] == 0):
        raise VolumeRefused("NO_PIXELS", "all voxels have one value")
    return found | {"zero_share": 1.0 - n / channel.size}


def labels_of(
    mask: Array, scan: Array, greys: Sequence[Mapping[str, float]]
) -> tuple[dict[int, int], dict[int, tuple[float, ...]], int]:
    """Return voxels of each label, their mean greys in each channel, and how many parts all labels have together.

    Parameters
    ----------
    mask : uint8 array, shape (z, y, x)
    scan : array, shape (c, z, y, x)
    greys : sequence of dict
        Of each channel; see `greys_of`.

    Returns
    -------
    (labels, label_greys, components) of `VolumeRecord`

    Examples
    --------
    >>> mask = np.array([[[0, 1, 1, 0, 2]]], dtype=np.uint8)
    >>> labels_of(mask, mask[None] * 10, [{"mean": 10.0, "sd": 5.0}])
    ({0: 2, 1: 2, 2: 1}, {1: (0.0,), 2: (2.0,)}, 2)
    """
    counts = np.zeros(256, dtype=np.int64)
    sums = np.zeros((len(scan), 256))
    for k, plane in enumerate(mask):
        flat = plane.ravel()
        counts += np.bincount(flat, minlength=256)
        if plane.any():
            for c, channel in enumerate(scan):
                sums[c] += np.bincount(flat, weights=channel[k].ravel(), minlength=256)
    labels = {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    label_greys = {
        v: tuple(
            (float(total[v]) / n - one["mean"]) / one["sd"] if one["sd"] > 0 else 0.0
            for total, one in zip(sums, greys, strict=True)
        )
        for v, n in labels.items()
        if v
    }
    box = ndimage.find_objects((mask > 0).view(np.uint8))
    parts = ndimage.label(mask[box[0]] > 0, np.ones((3, 3, 3)))[1] if box else 0
    return labels, label_greys, int(parts)
