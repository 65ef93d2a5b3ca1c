"""What could tell a finding without the lungs: tags, declared columns, the border and the brightness of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.checks.feature_coding import FeatureCoding, as_column, texts
from aimed.checks.image_rows import Images, ImageSet, Pictures
from aimed.core.cohort import Cohort
from aimed.core.errors import DataError
from aimed.core.image import Grey, ImageInfo

__all__ = [
    "SEES_LUNGS",
    "TOGETHER",
    "border_features",
    "cohort_columns",
    "info_features",
    "join_sources",
    "shortcut_sources",
    "tone_features",
]

TOGETHER = "all together"
"""Name of the source that joins the others, `SEES_LUNGS` left out."""

SEES_LUNGS = frozenset({"brightness"})
"""Sources in which the lungs count too, so that a disease may show in them."""

_TAGS: Mapping[str, tuple[str, ...]] = {
    "view": ("view",),
    "device": ("manufacturer", "model", "modality"),
    "exposure": ("kvp", "exposure", "exposure_time"),
    "file": (
        "rows", "columns", "aspect", "spacing", "bits_stored", "format", "photometric", "scaling", "lossy",
        "burned_in", "orientation", "laterality", "body_part",
    ),
}  # fmt: skip
_STRIP, _CORNER = 0.05, 0.12


def shortcut_sources(
    images: ImageSet,
    columns: Mapping[str, ArrayLike] | None = None,
    rows: ArrayLike | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return what `aimed.checks.shortcuts.shortcut_aurocs` takes: each source alone, and all of them together.

    Parameters
    ----------
    images : ImageSet
        With ``rows``, ``take`` and ``infos``.
    columns : mapping of str to arrays of shape (n,), optional
        Declared columns such as age, sex and site, each a source; see `cohort_columns`.
    rows : int array, shape (m,), optional
        Which images; all when absent.
    progress : callable, optional
        Called with images read and their total.

    Returns
    -------
    dict
        "view", "device", "exposure", "file", the declared columns, "borders", "brightness" and "all together", each a
        mapping of columns of shape (m,). A source in which nothing varies is left out; a declared column of the name of
        another one is called "view (table)". "all together" joins all but "brightness", in which the lungs count too.

    Raises
    ------
    DataError
        If a column has another length than the images.

    Examples
    --------
    >>> from aimed.checks.image_rows import ImageList
    >>> info = ImageInfo(digest="ab", format="png", rows=8, columns=8, bits_stored=8, scaling="as_stored")
    >>> pictures = ImageList(np.arange(192, dtype=np.uint8).reshape(3, 8, 8), [info] * 3)
    >>> list(shortcut_sources(pictures, {"age": [40.0, 50.0, 60.0]}))
    ['age', 'borders', 'brightness', 'all together']
    """
    given = {name: as_column(values) for name, values in (columns or {}).items()}
    for name, values in given.items():
        if values.shape != (len(images),):
            raise DataError(f"column '{name}' of shape {values.shape} for {len(images)} images", "one value an image")
    if rows is not None:
        chosen = np.asarray(rows, dtype=np.int64)
        images, given = images.take(chosen), {name: values[chosen] for name, values in given.items()}
    infos = images.infos
    tags = info_features(infos)
    found: dict[str, dict[str, Any]] = {name: {tag: tags[tag] for tag in some} for name, some in _TAGS.items()}
    sources = _varying(found)
    border, tone = _measured(images, infos, (_border, _tone), progress)
    seen = _varying({"borders": border, "brightness": tone})
    for name, values in given.items():
        taken = name in {*sources, *seen, TOGETHER}
        sources |= _varying({f"{name} (table)" if taken else name: {name: values}})
    sources |= seen
    if len(sources.keys() - SEES_LUNGS) > 1:
        sources[TOGETHER] = join_sources(sources)
    return sources


def _varying(sources: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: columns
        for name, columns in sources.items()
        if columns and len(next(iter(columns.values()))) and FeatureCoding().fit(columns).names
    }


def join_sources(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns of all sources as those of one, `SEES_LUNGS` and an earlier join left out.

    Examples
    --------
    >>> list(join_sources({"view": {"view": ["PA"]}, "borders": {"top mean": [0.1]}, "brightness": {"mean": [0.4]}}))
    ['view', 'borders: top mean']
    """
    return {
        column if column == name else f"{name}: {column}": values
        for name, some in sources.items()
        if name not in SEES_LUNGS | {TOGETHER}
        for column, values in some.items()
    }


def cohort_columns(cohort: Cohort, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return columns of a cohort as sources: numbers as they are, categories and texts as words, dates as they are.

    A column that says of pictures what their files might, such as ``image_view``, goes without its prefix. The site is
    among them wherever the cohort has one.

    Examples
    --------
    >>> from aimed.core.cohort import Variable
    >>> sex = Variable(name="sex", kind="category", categories=("F", "M"))
    >>> cohort_columns(Cohort(patient=[1, 2], variables=[sex], columns={"sex": [1, -1]}), ["sex"])["sex"].tolist()
    ['M', '']
    """
    out: dict[str, NDArray[Any]] = {} if cohort.site is None else {"site": cohort.site}
    for name in names:
        variable, values = cohort.variable(name), cohort.column(name)
        if variable.kind == "category":
            values = np.asarray([*variable.categories, ""], dtype=str)[values]
        elif variable.kind == "text":
            values = np.asarray(texts(values), dtype=str)
        out[name.removeprefix("image_")] = values
    return out


def info_features(infos: Sequence[ImageInfo]) -> dict[str, list[Any]]:
    """Return what the file headers say as columns: view, device, exposure, size and coding.

    Examples
    --------
    >>> info = ImageInfo(digest="ab", format="png", rows=2, columns=3, bits_stored=8, scaling="as_stored", view="PA")
    >>> columns = info_features([info])
    >>> columns["view"], columns["aspect"]
    (['PA'], [1.5])
    """
    texts = (
        "view", "manufacturer", "model", "modality", "body_part", "laterality", "orientation", "photometric", "format",
        "scaling", "burned_in", "lossy",
    )  # fmt: skip
    numbers = ("kvp", "exposure", "exposure_time", "rows", "columns", "bits_stored")
    out: dict[str, list[Any]] = {}
    for name in texts:
        out[name] = ["" if getattr(i, name) is None else str(getattr(i, name)) for i in infos]
    for name in numbers:
        out[name] = [math.nan if getattr(i, name) is None else float(getattr(i, name)) for i in infos]
    out["aspect"] = [i.columns / i.rows for i in infos]
    out["spacing"] = [math.nan if i.spacing is None else float(i.spacing[0]) for i in infos]
    return out


def border_features(
    images: Images, infos: Sequence[ImageInfo] | None = None, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return statistics of the outer strips and corners of each image, where no lung is: 36 columns.

    Mean, spread and shares of dark and bright pixels of four strips (5 % of a side), mean, spread and maximum of four
    corners (12 %), and a histogram of the strips. Collimation, letters, tubes and hospital layouts show there.

    Parameters
    ----------
    images : uint8 or uint16 array, shape (n, y, x), or an object with ``rows(indices)`` and a length
    infos : sequence of ImageInfo, optional
        With it the border is that of the picture, not that of the frame it was fitted into.
    progress : callable, optional
        Called with images read and their total.

    Examples
    --------
    >>> found = border_features(np.full((3, 40, 40), 255, dtype=np.uint8))
    >>> len(found), found["top mean"].tolist()
    (36, [1.0, 1.0, 1.0])
    """
    return _measured(images, infos, (_border,), progress)[0]


def tone_features(
    images: Images, infos: Sequence[ImageInfo] | None = None, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the distribution of grey levels of each image, without any place: 9 columns.

    The lungs count in it, so that a disease that whitens a lung shows too: read it as how far brightness alone goes.

    Parameters
    ----------
    images, infos, progress
        As for `border_features`.

    Examples
    --------
    >>> sorted(tone_features(np.zeros((1, 8, 8), dtype=np.uint8)))[:2]
    ['mean', 'quantile 0.01']
    """
    return _measured(images, infos, (_tone,), progress)[0]


def _measured(
    images: Images,
    infos: Sequence[ImageInfo] | None,
    measures: Sequence[Callable[[Grey, float], dict[str, float]]],
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, NDArray[np.float64]]]:
    """Return the columns of several measures, made in one pass over the images."""
    pictures = Pictures(images, infos)
    rows: list[list[dict[str, float]]] = [[] for _ in measures]
    for start, block in pictures.blocks():
        full = float(np.iinfo(block.dtype).max)
        for i, frame in enumerate(block, start):
            inner = pictures.cut(i, frame)
            for table, measure in zip(rows, measures, strict=True):
                table.append(measure(inner, full))
        if progress is not None:
            progress(start + block.shape[0], len(pictures))
    return [{name: np.array([row[name] for row in table]) for name in (table[0] if table else ())} for table in rows]


def _border(frame: Grey, full: float) -> dict[str, float]:
    height, width = frame.shape
    h, w = max(1, round(_STRIP * height)), max(1, round(_STRIP * width))
    strips = {"top": frame[:h], "bottom": frame[-h:], "left": frame[:, :w], "right": frame[:, -w:]}
    out = {}
    for side, strip in strips.items():
        grey = strip / full
        out[f"{side} mean"], out[f"{side} spread"] = float(grey.mean()), float(grey.std())
        out[f"{side} dark"], out[f"{side} bright"] = float((grey < 0.05).mean()), float((grey > 0.95).mean())
    h, w = max(1, round(_CORNER * height)), max(1, round(_CORNER * width))
    corners = {
        "top left": frame[:h, :w],
        "top right": frame[:h, -w:],
        "bottom left": frame[-h:, :w],
        "bottom right": frame[-h:, -w:],
    }
    for place, corner in corners.items():
        grey = corner / full
        out[f"{place} mean"], out[f"{place} spread"] = float(grey.mean()), float(grey.std())
        out[f"{place} maximum"] = float(grey.max())
    ring = np.concatenate([strip.ravel() for strip in strips.values()])
    shares = np.histogram(ring, bins=8, range=(0, full))[0] / ring.size
    return out | {f"bin {k}": float(share) for k, share in enumerate(shares)}


def _tone(frame: Grey, full: float) -> dict[str, float]:
    levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    grey = frame / full
    out = {"mean": float(grey.mean()), "spread": float(grey.std())}
    return out | {f"quantile {q:g}": float(v) for q, v in zip(levels, np.quantile(grey, levels), strict=True)}
