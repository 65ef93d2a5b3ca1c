"""Reading a picture study: its table, the cache of its pictures, and labels of several findings, as one cohort."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import Cohort, DataError, StudyFileError, Variable, nearest
from aimed.core.image import View
from aimed.core.outcome import Multilabel
from aimed.diagnosis.labels import read_labels
from aimed.readers.columns import Declared
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_set import ImageSet
from aimed.readers.image_table import image_columns, read_image_table
from aimed.readers.regions import Regions, read_boxes, read_masks
from aimed.readers.table import read_table
from aimed.study.spec import SYNTHETIC, ImagesPart, StudySpec, SyntheticPart
from aimed.study.tasks import bands_of, check_subgroups, declared_of

__all__ = [
    "finding_column",
    "finding_labels",
    "images_of",
    "label_matrix",
    "picture_facts",
    "raw_labels",
    "read_picture_cohort",
    "refused_by_code",
    "regions_digest",
    "regions_of",
    "shortcut_columns",
    "views_of",
]

Progress = Callable[[float, str], None]

FACTS = {
    "image_view": "View",
    "image_laterality": "Laterality",
    "image_manufacturer": "Manufacturer",
    "image_model": "Device",
    "image_photometric": "Photometric interpretation",
    "image_lossy": "Lossy compression",
    "image_burned_in": "Burned-in annotation",
    "image_rows": "Rows",
    "image_columns": "Columns",
    "image_spacing": "Pixel spacing",
    "image_kvp": "Tube voltage",
    "image_exposure": "Exposure",
    "image_exposure_time": "Exposure time",
}
"""What files say of their pictures and a cohort keeps, with the name shown to people."""

_UNITS = {
    "image_rows": "px",
    "image_columns": "px",
    "image_spacing": "mm",
    "image_kvp": "kV",
    "image_exposure": "mAs",
    "image_exposure_time": "ms",
}
_ROW = "aimed:row"
_MOST_VIEWS = 20
"""A column with more values holds no views; its values would be shown to people."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A table and the folder that its paths start from."""

    table: Any
    folder: Path | None

    def root(self) -> Path | None:
        """Return the folder, that of the table when none is named."""
        if self.folder is None and isinstance(self.table, Path):
            return self.table.parent
        return self.folder


def read_picture_cohort(spec: StudySpec, place: Path, data: Any = None, progress: Progress | None = None) -> Cohort:
    """Read the rows of a picture study; pictures are decoded once into a cache.

    Parameters
    ----------
    spec : StudySpec
    place : path
        Folder for the cache, and for synthetic pictures.
    data : frame, optional
        Takes the place of ``[data] source``; paths are then relative to the folder of the study file.
    progress : callable, optional
        Hears of drawing and decoding.

    Returns
    -------
    Cohort
        With ``assets["images"]``, an `ImageSet`, a `Multilabel` outcome, and the labels as they were written as
        columns of role ``outcome``. Pictures that were refused are counted in the flow.

    Raises
    ------
    DataError
        If no picture can be read, or a label is none of 1, 0, -1 and missing.
    """
    images = _images(spec)
    source = _source(spec, place, data, progress)
    table = read_image_table(
        source.table,
        image=images.column,
        folder=source.folder,
        encoding=spec.data.encoding,
        separator=spec.data.separator,
    )
    folder = spec.folder / images.cache if images.cache else place / "image-cache"
    cache = ImageCache.build(
        table.files,
        folder,
        size=images.size,
        bits=images.bits,
        progress=None if progress is None else lambda share, text: progress(0.5 + 0.5 * share, f"reading: {text}"),
    )
    if not cache.usable.size:
        codes = ", ".join(f"{code} {n}" for code, n in refused_by_code(cache).items())
        raise DataError(
            f"not one of the {len(cache):,} pictures can be read ({codes})", "radiographs", "see what the codes mean"
        )
    frame = _with_labels(spec, image_columns(table.frame, cache)).with_row_index(_ROW)
    if images.view is not None:
        _known(frame, images.view, "[images] view")
        levels = frame[images.view].drop_nulls().n_unique()
        if images.view == spec.data.patient or levels > _MOST_VIEWS:
            raise StudyFileError(
                f"[images] view names '{images.view}', which holds {levels:,} different values",
                f"at most {_MOST_VIEWS}, such as PA, AP and LATERAL",
                "name the column that holds the view",
            )
        frame = frame.with_columns(pl.col(images.view).cast(pl.String).str.strip_chars().alias("image_view"))
    rules = ["image_refused == 'no'"]
    if images.views:
        _seen(frame, images.views)
        rules.append(f"image_view in ({', '.join(repr(v) for v in images.views)})")
    own = {spec.data.patient, spec.data.unit, spec.outcome.column, images.column, *spec.outcome.findings}
    for name in images.shortcuts:
        _known(frame, name, "[images] shortcuts")
        if name in own:
            raise StudyFileError(
                f"[images] shortcuts names '{name}', which has a role of its own in the study",
                "what is known of how a picture was taken, or of whom",
                "remove it",
            )
    if images.study is not None:
        _known(frame, images.study, "[images] study")
    described = list(dict.fromkeys([*spec.subgroups.columns, *images.shortcuts, *_telling(frame), _ROW]))
    described += [c for c in (spec.split.test.column, images.study) if c and c not in described]
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
            **{
                name: Declared(label=FACTS[name], unit=_UNITS.get(name))
                for name in FACTS
                if name in described and name not in spec.variables
            },
            **declared_of(spec),
            # As text it is in no table that people see: it names examinations.
            **({images.study: Declared(kind="text")} if images.study else {}),
            _ROW: Declared(kind="number"),
        },
    )
    rows = cohort.column(_ROW).astype(np.int64)
    raw = label_matrix(frame, spec)[rows]
    values = read_labels(raw, spec.outcome.uncertain, spec.outcome.findings).astype(np.float64)
    labels, titles = {name: raw[:, j] for j, name in enumerate(spec.outcome.findings)}, finding_labels(spec)
    said: dict[str, NDArray[np.float64]] = {}
    if spec.silver is not None:
        from aimed.study.silver import read_silver

        told = None if progress is None else lambda share, text: progress(1.0, f"reading reports: {text}")
        said = read_silver(spec, frame, rows, told)
    kept = [v for v in cohort.variables if v.name != _ROW]
    flow = [replace(step, step="Pictures that can be read") if step.step == rules[0] else step for step in cohort.flow]
    cohort = replace(
        cohort,
        variables=[
            *kept,
            *(Variable(name=finding_column(name), role="outcome", label=titles[name]) for name in labels),
            *(Variable(name=name, role="outcome", label=f"{name} by its report") for name in said),
        ],
        columns={
            **{v.name: cohort.columns[v.name] for v in kept},
            **{finding_column(name): values for name, values in labels.items()},
            **said,
        },
        outcome=Multilabel(values=values, targets=spec.outcome.findings),
        assets={"images": ImageSet(cache, table.files, rows, source.root())},
        flow=flow,
        source=SYNTHETIC if spec.data.source == SYNTHETIC and data is None else table.source,
    )
    check_subgroups(spec, cohort)
    # What cannot be used is said now and not after hours of training.
    regions_digest(spec, cohort)
    if images.regions is not None and images.regions.boxes is not None:
        regions_of(spec, cohort)
    return cohort


def finding_column(finding: str) -> str:
    """Return the column of a cohort that keeps the labels of a finding as they were written."""
    return f"finding:{finding}"


def raw_labels(cohort: Cohort) -> NDArray[np.float64]:
    """Return the labels as written, shape (n, k): 1, 0, -1 for uncertain, NaN for unknown."""
    return np.column_stack([cohort.column(finding_column(name)) for name in _targets(cohort)])


def _targets(cohort: Cohort) -> tuple[str, ...]:
    if not isinstance(cohort.outcome, Multilabel):
        raise TypeError("a cohort of findings is needed")
    return cohort.outcome.targets


def images_of(cohort: Cohort) -> ImageSet:
    """Return the pictures of a cohort."""
    found = cohort.assets["images"]
    if not isinstance(found, ImageSet):
        raise TypeError("a cohort of pictures is needed")
    return found


def views_of(cohort: Cohort) -> NDArray[Any]:
    """Return the view of each picture, ``unknown`` where nothing says it."""
    if "image_view" not in cohort.columns:
        return np.asarray([info.view or "unknown" for info in images_of(cohort).infos], dtype=str)
    variable, column = cohort.variable("image_view"), cohort.column("image_view")
    if variable.kind != "category":
        return np.asarray(["unknown" if v is None else str(v) for v in column.tolist()], dtype=str)
    found: NDArray[Any] = np.asarray([*variable.categories, "unknown"], dtype=str)[column]
    return found


def shortcut_columns(spec: StudySpec) -> tuple[str, ...]:
    """Return the columns that may tell a finding without the lungs: declared ones, and a view that the table names.

    The site is one of these sources anyway.
    """
    if spec.images is None:
        return ()
    declared = tuple(c for c in spec.images.shortcuts if c not in (spec.data.site, spec.images.view))
    return (*declared, *(["image_view"] if spec.images.view else []))


def finding_labels(spec: StudySpec) -> dict[str, str]:
    """Return what each finding is called."""
    declared = {name: v.label for name, v in spec.variables.items() if v.label}
    return {name: declared.get(name, name.replace("_", " ")) for name in spec.outcome.findings}


def picture_facts(cohort: Cohort) -> dict[str, Any]:
    """Return the ``data.images`` block: how many files, refused ones by code, the frame, and the views."""
    images = images_of(cohort)
    views, counts = np.unique(views_of(cohort), return_counts=True)
    return {
        "files": len(images.cache),
        "refused": refused_by_code(images.cache),
        "size": images.size,
        "bits": images.bits,
        "views": {str(v): int(c) for v, c in zip(views, counts, strict=True)},
    }


def refused_by_code(cache: ImageCache) -> dict[str, int]:
    """Return how many pictures were refused, by code."""
    return dict(sorted(Counter(one.code for one in cache.refused).items()))


def _images(spec: StudySpec) -> ImagesPart:
    if spec.images is None:
        raise TypeError("a study of pictures is needed")
    return spec.images


def _source(spec: StudySpec, place: Path, data: Any, progress: Progress | None) -> _Source:
    root = spec.folder / spec.images.folder if spec.images and spec.images.folder else None
    if data is not None:
        return _Source(data, root or spec.folder)
    if spec.data.source != SYNTHETIC:
        return _Source(spec.folder / spec.data.source, root)
    home = phantoms(spec, place, progress)
    return _Source(home / "labels.csv", home)


def phantoms(spec: StudySpec, place: Path, progress: Progress | None = None) -> Path:
    """Return the folder of the synthetic pictures of a study, drawn when they are not there yet."""
    from aimed.synthetic import write_study
    from aimed.synthetic.chest_reports import ReportErrors
    from aimed.synthetic.chest_study import Shortcut

    asked = spec.data.synthetic or SyntheticPart()
    kept = asked.model_dump_json(exclude=None if asked.reports else {"reports"})
    name = hashlib.sha256(kept.encode()).hexdigest()[:12]
    home = place / f"chest-phantoms-{name}"
    if not (home / "labels.csv").exists():
        shutil.rmtree(home, ignore_errors=True)
        draft = home.with_name(f"{home.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        planted, written = asked.shortcut, asked.reports
        write_study(
            draft,
            asked.patients,
            size=asked.size or 256,
            difficulty=asked.difficulty,
            seed=asked.seed,
            n_jobs=2,
            progress=None if progress is None else lambda share: progress(0.5 * share, "drawing phantoms"),
            shortcut=None if planted is None else Shortcut(planted.finding, planted.by, planted.strength),
            reports=None if written is None else ReportErrors(**written.model_dump()),
        )
        draft.rename(home)
    return home


def regions_of(spec: StudySpec, cohort: Cohort) -> Regions | None:
    """Return where the reference standard says that findings are; None when the study file names nothing."""
    asked = None if spec.images is None else spec.images.regions
    if asked is None:
        return None
    images, names = images_of(cohort), spec.outcome.findings
    root = images.folder or spec.folder
    if asked.boxes is not None:
        return read_boxes(root / asked.boxes, images, names, names=asked.names or None, drawn_on=asked.drawn_on)
    return read_masks(root / str(asked.masks), images, names)


def regions_digest(spec: StudySpec, cohort: Cohort) -> str | None:
    """Return a hash that changes when the regions do; None when the study file names none.

    Raises
    ------
    StudyFileError
        If what the study file names is not there.
    """
    asked = None if spec.images is None else spec.images.regions
    if asked is None:
        return None
    root, content = images_of(cohort).folder or spec.folder, hashlib.sha256()
    if asked.boxes is not None:
        if not (root / asked.boxes).is_file():
            raise _no_regions("a table of boxes")
        with (root / asked.boxes).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    # The name may end in a pattern of file names.
    home = root / str(asked.masks).partition("{")[0]
    home = home if home.is_dir() else home.parent
    if not home.is_dir() or ("{" not in str(asked.masks) and home != root / str(asked.masks)):
        raise _no_regions("a folder of masks")
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        known = path.stat()
        content.update(f"{path.relative_to(home).as_posix()}\0{known.st_size}\0{known.st_mtime_ns}\0".encode())
    return content.hexdigest()


def _no_regions(what: str) -> StudyFileError:
    return StudyFileError(
        f"[images] regions names {what} that is not there", what, "paths start at the folder of the pictures"
    )


def _seen(frame: pl.DataFrame, views: tuple[str, ...]) -> None:
    found = set(frame.filter(pl.col("image_refused") == "no")["image_view"].drop_nulls().to_list())
    absent = [view for view in views if view not in found]
    if absent:
        known = sorted(found & set(get_args(View)))
        raise StudyFileError(
            f"[images] views names '{absent[0]}', and no picture that can be read has this view",
            f"views that occur, such as {', '.join(known)}" if known else "views that occur",
            "correct it, or name the column that holds the view with [images] view",
        )


def _known(frame: pl.DataFrame, name: str, where: str) -> None:
    if name not in frame.columns:
        close = nearest(name, frame.columns)
        raise StudyFileError(
            f"{where} names the column '{name}', which is not in the table",
            "a column of the table",
            f"did you mean '{close}'?" if close else "see its header",
        )


def _with_labels(spec: StudySpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with one column a finding; a column of joined names is taken apart."""
    out = spec.outcome
    if out.column is None:
        for name in out.findings:
            _known(frame, name, "[outcome] findings")
        return frame
    _known(frame, out.column, "[outcome] column")
    taken = sorted(set(out.findings) & set(frame.columns))
    if taken:
        raise StudyFileError(
            f"[outcome] column holds the findings, and the table has a column '{taken[0]}' of its own",
            "labels in one place",
            "remove 'column', or rename the finding",
        )
    joined = [
        {w.strip() for w in str(v).split(out.separator)} if v is not None and str(v).strip() else None
        for v in frame[out.column]
    ]
    present = set().union(*(v for v in joined if v is not None))
    absent = [name for name in out.findings if name not in present]
    if absent:
        close = nearest(absent[0], sorted(present)) if len(present) <= 100 else None
        raise DataError(
            f"no row of '{out.column}' names the finding '{absent[0]}'",
            "each finding in at least one row",
            f"did you mean '{close}'?" if close else "correct [outcome] findings or separator",
        )
    return frame.with_columns(
        pl.Series(name, [None if v is None else float(name in v) for v in joined], dtype=pl.Float64)
        for name in out.findings
    )


def label_matrix(frame: pl.DataFrame, spec: StudySpec) -> NDArray[np.float64]:
    """Return the labels of a table as numbers, shape (n, k), NaN where there is none."""
    columns = []
    for name in spec.outcome.findings:
        column = frame[name]
        if column.dtype == pl.Boolean:
            column = column.cast(pl.Int8)
        text = column.dtype == pl.String
        if text:
            column = column.str.strip_chars().replace("", None)
        number = column.cast(pl.Float64, strict=False)
        lost = number.null_count() - column.null_count()
        if lost:
            raise DataError(
                f"{lost} labels of '{name}' are no numbers",
                "1 present, 0 absent, -1 uncertain, empty for unknown",
                "recode the column",
            )
        columns.append(number.fill_null(np.nan).to_numpy().astype(np.float64))
    return np.column_stack(columns)


def _telling(frame: pl.DataFrame) -> list[str]:
    """Return the facts of pictures that differ between rows: the others say nothing."""
    usable = frame.filter(pl.col("image_refused") == "no")
    return [name for name in FACTS if usable[name].drop_nulls().n_unique() > 1 or name == "image_view"]
