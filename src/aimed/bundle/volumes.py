"""Predicting with a packaged model of volumes: each scan gets outlines and volumes, or the code of a refusal."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from aimed.bundle.sealed import Sealed
from aimed.bundle.volume_schema import VOLUME_CODES, VolumeSchema
from aimed.core import BundleError, DataError, MissingExtraError
from aimed.core.grid import Grid
from aimed.core.image import ImageRefused
from aimed.core.volume import Volume, VolumeRefused
from aimed.diagnosis.outlines_model import Outlined, OutlinesModel
from aimed.diagnosis.volume_segmenter import Runtime
from aimed.readers.ahead import worked_ahead
from aimed.readers.dicom_series import read_dicom_study
from aimed.readers.volume_folder import channel_named, find_scans, is_nifti_name
from aimed.readers.volume_record import greys_of
from aimed.readers.volume_table import VolumeCase, read_volume

__all__ = ["PredictedVolume", "VolumeBundle", "VolumeSource", "volume_table"]

VolumeSource: TypeAlias = str | os.PathLike[str] | VolumeCase | Volume
Progress: TypeAlias = Callable[[float, str], object]

_MOST = 2**31
"""Voxels of all channels of a scan on the grid of the model: 4 GB."""

_NO_MEMORY = f"{VOLUME_CODES['TOO_LARGE'].removesuffix('.')}: it does not fit into memory"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PredictedVolume:
    """What the model says of one scan.

    Parameters
    ----------
    row : int
        From 1, in the order given.
    file, id : str, optional
        As the user names them.
    sha256 : str, optional
        Of the voxels as read and their place; None where they could not be read.
    volumes : dict of str to dict, optional
        By key of the region ``ml``, and ``lower`` and ``upper`` of its prediction interval, None where none is known;
        None for a refused scan, never a default.
    expected_dice : dict of str to float or None, optional
        What the Dice of each outline is expected to be.
    present : dict of str to bool, optional
        Whether anything is outlined.
    code, reason : str, optional
        Why the scan was refused; see `aimed.bundle.volume_schema.VOLUME_CODES`.
    warnings : tuple of dict
        ``{"code", "reason"}``.
    outlined : Outlined, optional
        Masks and labels on the grid of the scan, and probabilities. Let go of it before the next scan: it is large.
    """

    row: int
    file: str | None = None
    id: str | None = None
    sha256: str | None = None
    volumes: dict[str, dict[str, float | None]] | None = None
    expected_dice: dict[str, float | None] | None = None
    present: dict[str, bool] | None = None
    code: str | None = None
    reason: str | None = None
    warnings: tuple[dict[str, str], ...] = ()
    outlined: Outlined | None = field(default=None, repr=False)

    @property
    def labels(self) -> Volume | None:
        """The map of labels on the grid of the scan."""
        return None if self.outlined is None else self.outlined.labels

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, without outlines."""
        names = [one.name for one in dataclasses.fields(self) if one.name != "outlined"]
        return {**{name: getattr(self, name) for name in names}, "warnings": list(self.warnings)}


class _RefusedError(Exception):
    """A scan is not outlined, for a reason of the model's own."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the schema looks at."""

    grid: Grid
    modality: str | None
    greys: tuple[Mapping[str, float], ...]


@dataclass(slots=True)
class _Read:
    """One scan, prepared, or why it was refused."""

    prepared: Volume | None = None
    sha256: str | None = None
    code: str | None = None
    reason: str | None = None
    warnings: tuple[dict[str, str], ...] = ()


class VolumeBundle(Sealed):
    """A verified model of volumes, ready to predict.

    Parameters
    ----------
    model : OutlinesModel
    schema : VolumeSchema
    manifest : mapping
    members : mapping of str to bytes
        Files beside the model, such as the card, as they were verified.
    runtime : callable, optional
        What runs the networks; the model's own torch networks when absent. Preparation, rules and intervals are the
        model's in either case.

    Attributes
    ----------
    keys : list of str
        Of the regions, in order.

    Raises
    ------
    BundleError
        If schema and model do not take the same scans.

    Notes
    -----
    Make one with `aimed.bundle.load.load`.
    """

    def __init__(
        self,
        model: OutlinesModel,
        schema: VolumeSchema,
        manifest: Mapping[str, Any],
        members: Mapping[str, bytes] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__(manifest, members)
        self.model, self.schema, self.keys, self.runtime = model, schema, model.keys, runtime
        if schema.channels != tuple(model.channels) or schema.regions != tuple(model.keys):
            raise BundleError("schema and model do not take the same scans", "the same channels and regions")

    def read(self, source: VolumeSource) -> Volume:
        """Return a scan with the channels of the model, in their order where the source names them.

        Parameters
        ----------
        source : path, VolumeCase or Volume
            A path is looked at as `aimed.readers.volume_folder.find_scans` does, and must hold one scan.

        Raises
        ------
        VolumeRefused
            With the code of the reason.
        DataError
            If a path holds nothing.
        """
        if isinstance(source, Volume):
            return source
        if isinstance(source, VolumeCase):
            return self._of_case(source)
        found = find_scans(source, self.schema.channels, modality=self.schema.modality)
        if len(found) > 1:
            raise VolumeRefused("MIXED", f"{len(found)} scans")
        return self._of_case(found[0].case)

    def _of_case(self, case: VolumeCase) -> Volume:
        # Lists write t1gd where studies write T1gd.
        mine = self.schema.channels
        named = [channel_named(name, mine) or name for name in case.channels]
        channels = tuple(named) if len(set(named)) == len(case.channels) > 0 else case.channels or mine
        case = dataclasses.replace(case, channels=channels)
        if case.refusal is not None or len(case.images) != 1:
            return case.read()
        path = case.images[0]
        if is_nifti_name(path):
            # Without names, so that a file with fewer channels is not taken for a time series.
            scan = read_volume(path, modality=case.modality)
            if scan.n_channels < len(channels):
                raise _RefusedError("MISSING_CHANNEL", f"{scan.n_channels} of {len(channels)} channels")
            if scan.n_channels > len(channels):
                raise VolumeRefused("TIME_SERIES", f"{scan.n_channels} volumes for {len(channels)} channels")
            return dataclasses.replace(scan, channels=tuple(channels))
        try:
            return read_volume(path, channels=channels, modality=case.modality)
        except VolumeRefused as refused:
            if refused.code != "MIXED" or len(channels) > 1:
                raise
            # A study of several series, of which the model takes one, where that can be told.
            try:
                return read_dicom_study(path, channels)
            except VolumeRefused as other:
                raise refused if other.code == "MISSING" else other from None

    def predict(
        self,
        scans: Sequence[VolumeSource],
        *,
        names: Sequence[str | None] | None = None,
        ids: Sequence[str | None] | None = None,
        start: int = 0,
        progress: Progress | None = None,
        n_jobs: int | None = None,
    ) -> Generator[PredictedVolume, None, None]:
        """Outline every scan that can be read, one after the other.

        Parameters
        ----------
        scans : sequence of path, VolumeCase or Volume
            See `aimed.readers.volume_folder.find_scans`.
        names, ids : sequence of str, optional
            Carried along, one a scan; the name of a path is the path when absent.
        start : int
            Scans that were done before.
        progress : callable, optional
            ``progress(share, text)``, with the time that is left.
        n_jobs : int, optional
            Scans read ahead at once; one when absent, for each takes the memory of a scan.

        Yields
        ------
        PredictedVolume
            In the order given, each as soon as it is done. Memory holds the outlines of one scan, and those that wait.

        Raises
        ------
        MissingExtraError
            If a package of the imaging extra is missing.
        """
        told = _Told(progress, len(scans) - start)
        for row, read in worked_ahead(lambda row: self._read(scans[row]), range(start, len(scans)), n_jobs or 1):
            fields = self._settled(read, told)
            # Nothing here may hold a scan while the next one is outlined.
            read.prepared = None
            told.step(fields["code"] is not None)
            name = _name_of(scans[row]) if names is None else names[row]
            answer = PredictedVolume(row=row + 1, file=name, id=None if ids is None else ids[row], **fields)
            fields.clear()
            yield answer
            del answer

    def _read(self, source: VolumeSource) -> _Read:
        try:
            scan = self.read(source)
            facts = self._facts(scan)
            found = self.schema.warnings(facts)
            sha256 = _digest(scan)
            self._bounded(scan)
            prepared = self.model.preparation.prepared(scan)
        except _RefusedError as refused:
            return _Read(code=refused.code, reason=refused.reason)
        except ImageRefused as refused:
            why = VOLUME_CODES[refused.code].removesuffix(".")
            return _Read(code=refused.code, reason=f"{why}: {refused.detail}" if refused.detail else why)
        except MissingExtraError:
            raise
        except DataError as error:
            return _Read(code="NO_PREDICTION", reason=f"{error.got}; expected {error.expected}")
        except MemoryError:
            return _Read(code="TOO_LARGE", reason=_NO_MEMORY)
        # One strange scan must not cost the others; the text of such an error may quote a file.
        except Exception as error:
            return _Read(code="UNFORESEEN", reason=f"an unforeseen {type(error).__name__} while it was read")
        return _Read(prepared, sha256, warnings=_as_warnings(found))

    def _facts(self, scan: Volume) -> _Facts:
        array = scan.array if scan.array.ndim == 4 else scan.array[None]
        named = scan.channels if set(scan.channels) == set(self.schema.channels) else self.schema.channels
        if len(array) < len(named):
            raise _RefusedError("MISSING_CHANNEL", f"{len(array)} of {len(named)} channels")
        greys = {}
        for name, channel in zip(named, array, strict=False):
            try:
                greys[name] = greys_of(channel)
            except VolumeRefused as refused:
                if refused.code != "NO_PIXELS" or not np.any(array):
                    raise
                raise _RefusedError("MISSING_CHANNEL", f"the channel {name} is empty or of one grey") from None
        return _Facts(scan.grid, scan.modality, tuple(greys[name] for name in self.schema.channels))

    def _bounded(self, scan: Volume) -> None:
        """Refuse a scan that would become too large on the grid of the model, before memory is taken for it."""
        working = self.model.preparation.spacing
        if working is None:
            return
        # Whichever way the axes are turned, the product is the same.
        voxels = float(np.prod(scan.grid.shape) * np.prod(scan.spacing) / np.prod(working))
        if voxels * len(self.schema.channels) > _MOST:
            raise VolumeRefused("TOO_LARGE", "at the spacing of the model")

    def _settled(self, read: _Read, told: _Told) -> dict[str, Any]:
        """Return the fields of a scan."""
        if read.prepared is None:
            return {"code": read.code, "reason": read.reason}
        known: dict[str, Any] = {"sha256": read.sha256, "warnings": read.warnings, "code": None}
        try:
            outlined = self.model.outlined(read.prepared, runtime=self.runtime, progress=told.inside)
        except MissingExtraError:
            raise
        except (DataError, BundleError) as error:
            return {**known, "code": "NO_PREDICTION", "reason": f"{error.got}; expected {error.expected}"}
        except MemoryError:
            return {**known, "code": "TOO_LARGE", "reason": _NO_MEMORY}
        except Exception as error:
            reason = f"an unforeseen {type(error).__name__} while it was outlined"
            return {**known, "code": "UNFORESEEN", "reason": reason}
        if not np.isfinite(outlined.probability).all():
            return {**known, "code": "NO_PREDICTION", "reason": VOLUME_CODES["NO_PREDICTION"]}
        ml = {key: float(one["ml"] or 0.0) for key, one in outlined.volumes.items()}
        return {
            **known,
            "volumes": outlined.volumes,
            "expected_dice": outlined.expected_dice,
            "present": {key: value > 0 for key, value in ml.items()},
            "warnings": (*read.warnings, *_as_warnings(self.schema.unusual(ml))),
            "outlined": outlined,
        }


def _as_warnings(found: Sequence[tuple[str, str]]) -> tuple[dict[str, str], ...]:
    return tuple({"code": code, "reason": reason} for code, reason in found)


def _digest(scan: Volume) -> str:
    content = hashlib.sha256(repr((scan.shape, scan.array.dtype.str)).encode())
    content.update(np.ascontiguousarray(scan.affine, dtype="<f8").tobytes())
    for plane in scan.array.reshape(-1, *scan.array.shape[-2:]):
        content.update(np.ascontiguousarray(plane).data)
    return content.hexdigest()


def _name_of(source: VolumeSource) -> str | None:
    if isinstance(source, Volume):
        return None
    if isinstance(source, VolumeCase):
        return str(source.images[0]) if source.images else None
    return str(Path(source))


class _Told:
    """Reports how far the work is, scans and the windows in them, with the time that is left."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        from time import monotonic

        self.progress, self.total, self.done, self.refused, self.clock = progress, max(total, 1), 0, 0, monotonic
        self.began = self.last = monotonic()

    def inside(self, share: float, _: str) -> None:
        """Tell how far the scan is."""
        if self.progress is not None and self.clock() - self.last >= 0.1:
            self._tell(min(share, 1.0))

    def step(self, refused: bool) -> None:
        """Count a scan."""
        self.done += 1
        self.refused += refused
        if self.progress is not None:
            self._tell(0.0)

    def _tell(self, share: float) -> None:
        assert self.progress is not None  # noqa: S101, looked at before
        self.last = self.clock()
        done = self.done + share
        left = (self.last - self.began) / done * (self.total - done) if done else 0.0
        text = f"{self.done:,} of {self.total:,} scans, {self.refused:,} refused"
        self.progress(done / self.total, f"{text}, {left:,.0f} s left" if done else text)


def volume_table(scan: PredictedVolume, keys: Sequence[str]) -> dict[str, Any]:
    """Return one row of a table of predictions, the same columns for every scan.

    Parameters
    ----------
    scan : PredictedVolume
    keys : sequence of str
        Of the regions.

    Examples
    --------
    >>> found = {"core": {"ml": 2.5, "lower": 1.0, "upper": 4.0}}
    >>> volume_table(PredictedVolume(row=1, file="a", volumes=found), ["core"])["ml@core"]
    2.5
    """
    out: dict[str, Any] = {"row": scan.row, "file": scan.file, "id": scan.id, "sha256": scan.sha256}
    for key in keys:
        known = (scan.volumes or {}).get(key, {})
        for title, name in (("ml", "ml"), ("ml_lower", "lower"), ("ml_upper", "upper")):
            out[f"{title}@{key}"] = known.get(name)
        out[f"expected_dice@{key}"] = (scan.expected_dice or {}).get(key)
        present = (scan.present or {}).get(key)
        out[f"present@{key}"] = None if present is None else int(present)
    out["code"], out["reason"] = scan.code, scan.reason
    out["warnings"] = "; ".join(f"{w['code']}: {w['reason']}" for w in scan.warnings) or None
    return out
