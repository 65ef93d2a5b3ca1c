"""What a packaged model of volumes takes: its channels, what training scans were, and what differs in one scan."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from aimed.bundle.schema import SMALL_CELL, training_range
from aimed.core import DataError
from aimed.core.grid import Grid, Turn
from aimed.core.volume import VOLUME_REFUSALS
from aimed.metrics.arrays import patient_codes

__all__ = ["VOLUME_CODES", "ScanFacts", "VolumeSchema", "describe_volumes"]

Span: TypeAlias = tuple[float, float]
Spans: TypeAlias = tuple[Span, Span, Span]
Numbers: TypeAlias = tuple[float, ...]
Greys: TypeAlias = Sequence[Mapping[str, Any]]

VOLUME_CODES: Mapping[str, str] = MappingProxyType(
    {
        **{code: f"{got[0].upper()}{got[1:]}." for code, (got, _, _) in VOLUME_REFUSALS.items()},
        "MISSING_CHANNEL": "A channel is absent or empty; the model was trained on all of its channels.",
        "UNFORESEEN": "Reading or outlining the scan failed in a way that nobody foresaw; report it.",
        "NO_PREDICTION": "The model gives no numbers for this scan.",
        "OTHER_MODALITY": "Warning: the scan was made with another kind of device than training scans.",
        "OTHER_SPACING": "Warning: voxels are smaller or larger than those of training scans.",
        "FIELD_OF_VIEW": "Warning: the scan shows much less or much more of the body than training scans did.",
        "CHANNEL_ORDER": "Warning: by their greys, the channels look like other channels of training scans.",
        "UNUSUAL_VOLUME": "Warning: an outline has more than twice, or less than half, the volume of training scans.",
    }
)
"""Why a scan is refused, or comes with a warning."""

_AXES = ("from feet to head", "from back to front", "from left to right")
_SLACK = 0.1
"""Share by which a spacing may leave the range of training scans."""
_VIEW = 0.25
"""Share by which the extent of a scan may leave it."""
_UNUSUAL = 2.0
"""Factor by which a volume may leave it."""
_GAIN = 1.0
"""Log likelihood by which other names must fit the channels better. Of 160 phantoms, each judged by the others of its
size, none is called swapped; of swaps of two channels 99 % are found, but of T1w and T1gd, which noise and coarse
voxels make alike, two in five."""
_FLOOR, _FAR = 0.05, 5.0
"""Least deviation of a number of a fingerprint, and most deviations that count: one odd number does not decide."""
_CT_AIR = -500.0


class ScanFacts(Protocol):
    """What is known of a scan without its voxels, such as `aimed.readers.volume_cache.VolumeRecord`."""

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""

    @property
    def modality(self) -> Any:
        """Such as MR; None when nothing says it."""

    @property
    def greys(self) -> Any:
        """Of each channel, over voxels that are not 0: mean, sd, p005, p50 and p995."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSchema:
    """The scans a model takes, and what its training scans were, in aggregates only.

    Parameters
    ----------
    channels : tuple of str
        In the order of the model.
    regions : tuple of str
        Keys of what is outlined.
    spacing : (float, float, float), optional
        Millimetres along (z, y, x) that the model works on; None for that of each scan.
    modality : str, optional
        Of training scans.
    spacings, extents : three (low, high), optional
        Millimetres between voxels, and of the grid, of training scans from feet to head, from back to front and from
        left to right, whichever way their files turn them; see `aimed.bundle.schema.SMALL_CELL`. None for too few
        patients.
    volumes : dict of str to (low, high)
        Millilitres of the regions in training scans that have them.
    greys : dict of str to (means, deviations)
        Fingerprint of the greys of each channel; empty for too few patients or one channel.
    column : str, optional
        Column of paths in the table of the study; `columns` for one a channel.
    columns : dict of str to str
        Column of the paths of each channel.

    Raises
    ------
    DataError
        If there are no channels or regions, or one is named twice.

    Notes
    -----
    Scans may have any orientation: they are turned.

    Examples
    --------
    >>> schema = VolumeSchema(channels=("CT",), regions=("liver",), modality="CT")
    >>> VolumeSchema.from_dict(schema.to_dict()) == schema
    True
    """

    channels: tuple[str, ...]
    regions: tuple[str, ...]
    spacing: tuple[float, float, float] | None = None
    modality: str | None = None
    spacings: Spans | None = None
    extents: Spans | None = None
    volumes: Mapping[str, Span] = field(default_factory=dict)
    greys: Mapping[str, tuple[Numbers, Numbers]] = field(default_factory=dict)
    column: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, names in (("channels", self.channels), ("regions", self.regions)):
            if not names or len(set(names)) != len(names):
                raise DataError(f"no {what}, or one twice", "names that differ")
        strange = [*set(self.volumes) - set(self.regions), *set(self.greys) - set(self.channels)]
        sizes = {len(numbers) for pair in self.greys.values() for numbers in pair}
        if strange or len(sizes) > 1 or (self.greys and set(self.greys) != set(self.channels)):
            raise DataError("volumes or greys of other regions or channels", "those of the model")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"schema": 1, **_plain(asdict(self))}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> VolumeSchema:
        """Rebuild from `to_dict`."""
        spacing = record["spacing"]
        return cls(
            channels=tuple(str(name) for name in record["channels"]),
            regions=tuple(str(key) for key in record["regions"]),
            spacing=None if spacing is None else _triple([float(mm) for mm in spacing]),
            modality=None if record["modality"] is None else str(record["modality"]),
            spacings=_spans(record["spacings"]),
            extents=_spans(record["extents"]),
            volumes={str(key): _span(pair) for key, pair in record["volumes"].items()},
            greys={
                str(name): (tuple(float(v) for v in means), tuple(float(v) for v in deviations))
                for name, (means, deviations) in record["greys"].items()
            },
            column=None if record["column"] is None else str(record["column"]),
            columns={str(name): str(column) for name, column in record["columns"].items()},
        )

    def warnings(self, scan: ScanFacts) -> list[tuple[str, str]]:
        """Return code and reason of each way in which a scan differs from training scans.

        Parameters
        ----------
        scan : ScanFacts
            Its channels in the order of the model.
        """
        found = []
        if self.modality and scan.modality and scan.modality != self.modality:
            found.append(("OTHER_MODALITY", f"the scan is {scan.modality}; training scans were {self.modality}"))
        elif self.modality not in (None, "CT") and not scan.modality and _looks_like_ct(scan.greys):
            found.append(("OTHER_MODALITY", f"its greys look like those of CT; training scans were {self.modality}"))
        spacing, extent = _upright(scan.grid)
        found += self._about("OTHER_SPACING", "voxels of", spacing, self.spacings, _SLACK)
        found += self._about("FIELD_OF_VIEW", "the scan spans", extent, self.extents, _VIEW)
        likelier = self.likelier_order(scan.greys)
        if likelier is not None:
            said = [f"{name} looks like {other}" for name, other in zip(self.channels, likelier, strict=True)
                    if name != other]  # fmt: skip
            found.append(("CHANNEL_ORDER", f"by their greys, {', '.join(said)}"))
        return found

    def _about(
        self, code: str, what: str, values: Sequence[float], spans: Spans | None, slack: float
    ) -> list[tuple[str, str]]:
        for axis, value, (low, high) in zip(_AXES, values, spans or (), strict=spans is not None):
            if not (1 - slack) * low <= value <= (1 + slack) * high:
                said = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
                return [(code, f"{what} {value:.3g} mm {axis}; training scans: {said} mm")]
        return []

    def likelier_order(self, greys: Greys) -> tuple[str, ...] | None:
        """Return the names that fit the greys of the channels clearly better than their own; None when theirs do.

        Parameters
        ----------
        greys : sequence of mapping
            See `ScanFacts`.
        """
        seen = _fingerprint(greys)
        if not self.greys or seen is None or len(seen) != len(self.channels):
            return None
        means, deviations = (np.array([self.greys[name][k] for name in self.channels]) for k in (0, 1))
        if seen.shape != means.shape:
            return None
        far = np.clip((seen[:, None] - means) / deviations, -_FAR, _FAR)
        cost = (0.5 * far**2 + np.log(deviations)).mean(axis=-1)
        rows, best = np.arange(len(cost)), linear_sum_assignment(cost)[1]
        if float(np.trace(cost) - cost[rows, best].sum()) <= _GAIN:
            return None
        for here, there in itertools.combinations(rows, 2):
            other = best.copy()
            other[[here, there]] = best[[there, here]]
            nearer = (other == rows).sum() > (best == rows).sum()
            # Names that are nearly as good where they are stay there.
            if nearer and cost[rows, other].sum() - cost[rows, best].sum() < _GAIN:
                best = other
        return None if (best == rows).all() else tuple(self.channels[place] for place in best)

    def unusual(self, volumes: Mapping[str, float]) -> list[tuple[str, str]]:
        """Return code and reason for each outline of more than twice, or less than half, what training scans had.

        Parameters
        ----------
        volumes : mapping of str to float
            Millilitres by region. Nothing outlined is not unusual.
        """
        found = []
        for key, (low, high) in self.volumes.items():
            value = volumes.get(key, 0.0)
            # The range leaves out the outermost patients, so that it alone would warn of many.
            if value > 0 and not low / _UNUSUAL <= value <= high * _UNUSUAL:
                said = f"{value:.3g} ml of {key}; most training scans had {low:.3g} to {high:.3g} ml"
                found.append(("UNUSUAL_VOLUME", said))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _span(pair: Sequence[Any]) -> Span:
    low, high = pair
    return float(low), float(high)


def _spans(pairs: Sequence[Sequence[Any]] | None) -> Spans | None:
    return None if pairs is None else _triple([_span(pair) for pair in pairs])


def _triple(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    z, y, x = values
    return z, y, x


def _upright(grid: Grid) -> tuple[list[float], list[float]]:
    """Return millimetres between voxels and of the whole grid along (z, y, x) of the body."""
    turned = Turn.to(grid, "RAS").after
    return list(turned.spacing), [n * mm for n, mm in zip(turned.shape, turned.spacing, strict=True)]


def _looks_like_ct(greys: Greys) -> bool:
    """Say whether a channel holds air as CT measures it; no other scanner writes such numbers."""
    return any(float(grey["p005"]) < _CT_AIR for grey in greys)


def _fingerprint(greys: Greys) -> NDArray[np.float64] | None:
    """Return numbers that tell contrasts apart whatever the scanner's unit, shape (c, 5), or None where there are none.

    The spread beside the mean; the tails and the median in standard deviations; the mean beside that of all channels.
    """
    table = np.array(
        [[float(grey[name]) for name in ("mean", "sd", "p005", "p50", "p995")] for grey in greys], dtype=np.float64
    )
    if not table.size or not np.isfinite(table).all() or not (table[:, :2] > 0).all():
        return None
    mean, sd = table[:, 0], table[:, 1]
    tails = (table[:, 2:] - mean[:, None]) / sd[:, None]
    level = np.log(mean)
    return np.column_stack([np.log(sd / mean), tails, level - level.mean()])


def describe_volumes(
    model: Any,
    records: Sequence[Any],
    *,
    patient: ArrayLike | None = None,
    column: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> VolumeSchema:
    """Describe the scans that a fitted model takes from those it was trained on, in aggregates only.

    Parameters
    ----------
    model : OutlinesModel
    records : sequence of VolumeRecord
        Of the training scans.
    patient : array, shape (n,), optional
        Every scan its own patient when absent.
    column, columns
        See `VolumeSchema`.
    """
    who = patient_codes(patient, len(records))
    preparation, head = model.preparation, model.segmenter.head_
    kinds = {record.modality for record in records if record.modality}
    spacing, extent = (np.array(part) for part in zip(*(_upright(record.grid) for record in records), strict=True))
    volumes: dict[str, Span] = {}
    for key, labels in zip(model.keys, head.labels, strict=True):
        ml = np.array([_millilitres(record, labels) for record in records])
        here = ml > 0
        span = training_range(ml[here], who[here])
        if span is not None:
            volumes[key] = span
    return VolumeSchema(
        channels=tuple(preparation.channels),
        regions=tuple(model.keys),
        spacing=None if preparation.spacing is None else _triple([float(mm) for mm in preparation.spacing]),
        modality=preparation.modality or (kinds.pop() if len(kinds) == 1 else None),
        spacings=_ranges(spacing, who),
        extents=_ranges(extent, who),
        volumes=volumes,
        greys=_greys(tuple(preparation.channels), [record.greys for record in records], who),
        column=column,
        columns=dict(columns or {}),
    )


def _millilitres(record: Any, labels: Sequence[int]) -> float:
    counts = {int(label): int(n) for label, n in (record.labels or {}).items()}
    return float(sum(counts.get(label, 0) for label in labels) * record.grid.voxel_ml)


def _ranges(values: NDArray[np.float64], who: NDArray[np.int64]) -> Spans | None:
    found = [training_range(column, who) for column in values.T]
    return None if None in found else _triple(found)


def _greys(
    channels: tuple[str, ...], greys: Sequence[Greys], who: NDArray[np.int64]
) -> dict[str, tuple[Numbers, Numbers]]:
    """Return mean and deviation over scans of each number of the fingerprint of each channel."""
    prints = [(_fingerprint(one), int(code)) for one, code in zip(greys, who, strict=True)]
    known = [(one, code) for one, code in prints if one is not None and len(one) == len(channels)]
    if len(channels) < 2 or len({code for _, code in known}) < SMALL_CELL:
        return {}
    table = np.stack([one for one, _ in known])
    means, deviations = table.mean(axis=0), np.maximum(table.std(axis=0, ddof=1), _FLOOR)
    return {
        name: (tuple(means[place].tolist()), tuple(deviations[place].tolist())) for place, name in enumerate(channels)
    }
