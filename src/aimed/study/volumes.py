"""Reading a segmentation study: its list of scans and masks, the cache of both, and what each region measures."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import Cohort, DataError, StudyFileError
from aimed.core.outcome import Masks
from aimed.readers.columns import Declared
from aimed.readers.table import read_table
from aimed.readers.volume_cache import VolumeCache, VolumeRecord
from aimed.readers.volume_set import VolumeSet
from aimed.readers.volume_table import read_volume_table
from aimed.study.spec import SYNTHETIC_BRAIN, StudySpec, SyntheticPart, VolumesPart
from aimed.study.tasks import bands_of, check_subgroups, declared_of

__all__ = [
    "UNKNOWN",
    "channels_of",
    "masks_of",
    "read_volume_cohort",
    "reference_of",
    "region_volumes",
    "volume_facts",
    "volumes_of",
    "volumes_part",
]

Progress = Callable[[float, str], None]

UNKNOWN = 255
"""Label of voxels that nobody looked at."""

FACTS = {
    "volume_modality": "Modality",
    "volume_orientation": "Orientation of the file",
    "volume_in_plane": "Voxel side, smallest",
    "volume_thickness": "Voxel side, largest",
    "volume_slices": "Slices",
}
"""What files say of their scans and a cohort keeps, with the name shown to people."""

_UNITS = {"volume_in_plane": "mm", "volume_thickness": "mm"}
_ROW = "aimed:row"
_REFUSED = "volume_refused"


@dataclass(frozen=True, slots=True)
class _Source:
    """A list of scans, the folder that its paths start from, and how its columns are called."""

    table: Any
    folder: Path | None
    images: str | Mapping[str, str]
    mask: str | None
    channels: tuple[str, ...]


def read_volume_cohort(spec: StudySpec, place: Path, data: Any = None, progress: Progress | None = None) -> Cohort:
    """Read the scans of a study into a cache and its list into a cohort.

    Parameters
    ----------
    spec : StudySpec
    place : path
        Where the cache, and phantoms that are drawn, are kept.
    data : frame, optional
        Takes the place of ``[data] source``.
    progress : callable, optional
        ``progress(share, text)``.

    Returns
    -------
    Cohort
        One scan a row in ``assets["volumes"]``; the outcome is the volume of each region in its mask. Scans that were
        refused, or have no mask, are counted in the flow.

    Raises
    ------
    DataError
        If no scan can be read with its mask, scans have different channels, no mask holds a region, or the list has a
        column that the study adds.
    StudyFileError
        If ``[volumes] channels`` names another number of channels than the list has.
    """
    part = volumes_part(spec)
    source = _source(spec, place, data, progress)
    table = read_volume_table(
        source.table,
        images=source.images,
        mask=source.mask,
        channels=source.channels,
        modality=part.modality,
        folder=source.folder,
        readers=part.readers,
        **_options(spec, source.table),
    )
    if table.channels and part.channels and len(part.channels) != len(table.channels):
        raise StudyFileError(
            f"[volumes] channels names {len(part.channels)} channels; the list of scans has {len(table.channels)}",
            "as many",
            "correct it, or leave it out",
        )
    cases = list(table.cases)
    if part.modality is not None:
        cases = [replace(case, modality=case.modality or part.modality) for case in cases]
    folder = spec.folder / part.cache if part.cache else place / "volume-cache"
    cache = VolumeCache.build(
        cases,
        folder,
        progress=None if progress is None else lambda share, text: progress(0.3 + 0.7 * share, f"reading: {text}"),
    )
    if not cache.usable.size:
        found = refused_by_code(cache)
        codes = ", ".join(f"{code} {n}" for code, n in found.items())
        raise DataError(
            f"not one of the {len(cache):,} scans can be read with its mask ({codes})",
            "scans with masks",
            "name what is in the files with [volumes] channels"
            if "TIME_SERIES" in found
            else "see what the codes mean",
        )
    frame = _with_facts(table.frame, cache)
    outlined = np.array([case.mask is not None for case in cases])
    frame = frame.with_columns(pl.Series("volume_outlined", np.where(outlined, "yes", "no"))).with_row_index(_ROW)
    rules = [f"{_REFUSED} == 'no'", "volume_outlined == 'yes'"]
    told = [name for name in FACTS if frame[name].drop_nulls().n_unique() > 1]
    described = list(dict.fromkeys([*spec.subgroups.columns, *told, _ROW]))
    described += [c for c in (spec.split.test.column,) if c and c not in described]
    cohort = read_table(
        frame,
        patient=spec.data.patient,
        unit=spec.data.unit,
        site=spec.data.site,
        time=spec.data.time,
        include=[*rules, *spec.data.include],
        predictors=(),
        descriptors=described,
        bands=bands_of(spec),
        declared={
            **{n: Declared(label=FACTS[n], unit=_UNITS.get(n)) for n in told if n not in spec.variables},
            **declared_of(spec),
            _ROW: Declared(kind="number"),
        },
    )
    rows = cohort.column(_ROW).astype(np.int64)
    kept = [v for v in cohort.variables if v.name != _ROW]
    words = dict(zip(rules, ("Scans that can be read", "Scans with a mask"), strict=True))
    words["Rows in the table"] = "Scans listed"
    asset = VolumeSet(cache, cases, rows)
    _same_channels(asset)
    outcome = Masks(volumes=region_volumes(spec, asset.records), targets=tuple(spec.outcome.regions))
    _seen(spec, outcome)
    cohort = replace(
        cohort,
        variables=kept,
        columns={v.name: cohort.columns[v.name] for v in kept},
        outcome=outcome,
        assets={"volumes": asset},
        flow=[replace(step, step=words.get(step.step, step.step)) for step in cohort.flow],
        source=SYNTHETIC_BRAIN if spec.data.source == SYNTHETIC_BRAIN and data is None else table.source,
    )
    check_subgroups(spec, cohort)
    return cohort


def _options(spec: StudySpec, source: Any) -> dict[str, Any]:
    """Return how a text file is read; lists in JSON and folders have no such options."""
    text = isinstance(source, Path) and source.is_file() and source.suffix.lower() != ".json"
    return {"encoding": spec.data.encoding, "separator": spec.data.separator} if text else {}


def _seen(spec: StudySpec, outcome: Masks) -> None:
    absent = [name for j, name in enumerate(outcome.targets) if not outcome.present[:, j].any()]
    if absent:
        raise DataError(
            f"no mask holds the region '{absent[0]}'",
            f"labels {', '.join(map(str, spec.outcome.regions[absent[0]]))} in at least one mask",
            "correct [outcome] regions",
        )


def volumes_part(spec: StudySpec) -> VolumesPart:
    """Return the ``[volumes]`` table of a study that has one.

    Raises
    ------
    TypeError
        If it has none.
    """
    if spec.volumes is None:
        raise TypeError("a study of volumes is needed")
    return spec.volumes


def volumes_of(cohort: Cohort) -> VolumeSet:
    """Return the scans of a cohort.

    Raises
    ------
    TypeError
        If the cohort is not one of volumes.
    """
    found = cohort.assets["volumes"]
    if not isinstance(found, VolumeSet):
        raise TypeError("a cohort of volumes is needed")
    return found


def masks_of(cohort: Cohort) -> Masks:
    """Return the outcome of a cohort of volumes.

    Raises
    ------
    TypeError
        If the outcome is no masks.
    """
    if not isinstance(cohort.outcome, Masks):
        raise TypeError("a cohort of masks is needed")
    return cohort.outcome


def reference_of(spec: StudySpec, mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a mask in which labels of no region are background; `UNKNOWN` stays.

    Parameters
    ----------
    spec : StudySpec
    mask : uint8 array

    Returns
    -------
    uint8 array of the same shape
    """
    used = np.zeros(256, dtype=np.uint8)
    for label in {UNKNOWN, *(v for labels in spec.outcome.regions.values() for v in labels)}:
        used[label] = label
    return np.asarray(used[np.asarray(mask)], dtype=np.uint8)


def channels_of(cohort: Cohort) -> tuple[str, ...]:
    """Return the names of the channels; numbers where neither the list nor the study file names them."""
    first = volumes_of(cohort).record(0)
    if first.channels:
        return tuple(first.channels)
    count = len(first.greys)
    return ("scan",) if count == 1 else tuple(f"channel {k + 1}" for k in range(count))


def _same_channels(volumes: VolumeSet) -> None:
    counts = Counter(len(record.greys) for record in volumes.records)
    named = {tuple(record.channels) for record in volumes.records}
    if len(counts) > 1 or len(named) > 1:
        raise DataError(
            f"scans with {' and '.join(map(str, sorted(counts)))} channels"
            if len(counts) > 1
            else f"scans whose channels have {len(named)} different lists of names",
            "the same channels in all",
            "name them with [volumes] channels, or leave the others out with [data] include",
        )


def region_volumes(spec: StudySpec, records: list[VolumeRecord]) -> NDArray[np.float64]:
    """Return the volume of each region in each mask, in ml.

    Parameters
    ----------
    spec : StudySpec
    records : list of n VolumeRecord

    Returns
    -------
    float array, shape (n, k)
        NaN where a part of the scan was not looked at.
    """
    out = np.full((len(records), len(spec.outcome.regions)), np.nan)
    for row, record in enumerate(records):
        voxels = {int(label): int(count) for label, count in record.labels.items()}
        if voxels.get(UNKNOWN):
            continue
        millilitres = float(np.prod(record.spacing)) / 1000.0
        out[row] = [millilitres * sum(voxels.get(v, 0) for v in labels) for labels in spec.outcome.regions.values()]
    return out


def refused_by_code(cache: VolumeCache) -> dict[str, int]:
    """Return how many scans were refused, by code."""
    return dict(sorted(Counter(str(one.code) for one in cache.refused).items()))


def volume_facts(cohort: Cohort) -> dict[str, Any]:
    """Return the ``data.volumes`` block: how many scans, refused ones by code, channels, grids and modality."""
    volumes = volumes_of(cohort)
    records = volumes.records
    spacing = np.array([r.spacing for r in records], dtype=np.float64)
    shape = np.array([r.shape for r in records], dtype=np.float64)

    def spread(values: NDArray[np.float64]) -> dict[str, list[float]]:
        low, middle, high = np.quantile(values, [0, 0.5, 1], axis=0)
        return {"min": low.tolist(), "median": middle.tolist(), "max": high.tolist()}

    return {
        "files": len(volumes.cache),
        "refused": refused_by_code(volumes.cache),
        "channels": list(channels_of(cohort)),
        "modalities": dict(sorted(Counter(str(r.modality or "not said") for r in records).items())),
        "orientations": dict(sorted(Counter(r.orientation for r in records).items())),
        "spacing": spread(spacing),
        "shape": spread(shape),
    }


def _with_facts(frame: pl.DataFrame, cache: VolumeCache) -> pl.DataFrame:
    """Return the list with what is known of each scan."""
    taken = sorted({*FACTS, _REFUSED, "volume_outlined"} & set(frame.columns))
    if taken:
        raise DataError(f"the list has a column '{taken[0]}'", "another name", "rename it: the study adds this column")
    seen: dict[str, list[Any]] = {name: [] for name in FACTS}
    refused = []
    for record in cache.records:
        lost = bool(record.code)
        refused.append("yes" if lost else "no")
        seen["volume_modality"].append(None if lost else record.modality)
        seen["volume_orientation"].append(None if lost else record.orientation)
        seen["volume_in_plane"].append(None if lost else round(float(min(record.spacing)), 3))
        seen["volume_thickness"].append(None if lost else round(float(max(record.spacing)), 3))
        seen["volume_slices"].append(None if lost else int(record.shape[int(np.argmax(record.spacing))]))
    numbers = {"volume_in_plane", "volume_thickness", "volume_slices"}
    return frame.with_columns(
        pl.Series(_REFUSED, refused, dtype=pl.String),
        *(pl.Series(name, values, dtype=pl.Float64 if name in numbers else pl.String) for name, values in seen.items()),
    )


def _source(spec: StudySpec, place: Path, data: Any, progress: Progress | None) -> _Source:
    part = volumes_part(spec)
    images: str | Mapping[str, str] = part.columns or part.column or "image"
    root = spec.folder / part.folder if part.folder else None
    if data is not None:
        return _Source(data, root or spec.folder, images, part.mask or "label", part.channels)
    if spec.data.source != SYNTHETIC_BRAIN:
        source = spec.folder / spec.data.source
        mask = part.mask or (None if source.is_dir() or source.suffix.lower() == ".json" else "label")
        return _Source(source, root, images, mask, part.channels)
    from aimed.synthetic.brain_contrast import BRAIN_CONTRASTS

    home = brain_phantoms(spec, place, progress)
    return _Source(home / "cases.csv", home, images, part.mask or "label", part.channels or tuple(BRAIN_CONTRASTS))


def brain_phantoms(spec: StudySpec, place: Path, progress: Progress | None = None) -> Path:
    """Return the folder of the synthetic scans of a study, drawn when they are not there yet.

    Parameters
    ----------
    spec : StudySpec
    place : path
        The folder is made in it, named by the settings of ``[data] synthetic``.
    progress : callable, optional
        ``progress(share, text)``.

    Raises
    ------
    MissingExtraError
        If nibabel, or for DICOM pydicom, is not installed.
    """
    from aimed.synthetic import write_brain_study

    asked = spec.data.synthetic or SyntheticPart()
    name = hashlib.sha256(asked.model_dump_json().encode()).hexdigest()[:12]
    home = place / f"brain-phantoms-{name}"
    if not (home / "cases.csv").exists():
        shutil.rmtree(home, ignore_errors=True)
        draft = home.with_name(f"{home.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        write_brain_study(
            draft,
            asked.patients,
            formats=(asked.files,),
            size=asked.size or 64,
            spacing=asked.spacing,
            difficulty=asked.difficulty,
            seed=asked.seed,
            n_jobs=2,
            progress=None if progress is None else lambda share: progress(0.3 * share, "drawing phantoms"),
            visits=asked.visits,
            healthy=asked.healthy,
        )
        draft.rename(home)
    return home
