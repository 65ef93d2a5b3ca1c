"""Where the reference standard says that findings are: boxes from a table or masks from files, in the model's frame."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aimed.core import DataError, nearest
from aimed.core.image import ImageInfo, ImageRefused, Placement
from aimed.readers.image_files import ImageFile, inside
from aimed.readers.picture_file import shrunk
from aimed.readers.radiograph import read_radiograph

__all__ = ["PATTERNS", "Regions", "read_boxes", "read_masks"]

Box: TypeAlias = tuple[float, float, float, float]

PATTERNS = (
    "{parent}_{stem}.{finding}.png",
    "{stem}.{finding}.png",
    "{stem}_{finding}.png",
    "{finding}/{stem}.png",
    "{finding}/{parent}_{stem}.png",
)
"""How masks may be called: `{stem}` is the name of the picture's file without its ending, `{parent}` its folder's."""

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "imageindex", "path", "file", "filename", "imageid", "dicomid"),
    "finding": ("finding", "findinglabel", "label", "class", "classname"),
    "x": ("x", "bboxx", "left", "xmin"),
    "y": ("y", "top", "ymin"),
    "width": ("width", "w"),
    "height": ("height", "h"),
}
"""Names of columns without case and signs; NIH writes one header ``Bbox [x,y,w,h]`` that falls into four."""

_LARGEST = 2**28
"""Bytes of a table of boxes, unpacked; NIH's has 90 thousand."""


class _Pictures(Protocol):
    """What regions are aligned with, such as `aimed.readers.image_set.ImageSet`."""

    @property
    def files(self) -> tuple[ImageFile, ...]: ...
    @property
    def size(self) -> int: ...
    def __len__(self) -> int: ...
    def info(self, row: int, /) -> ImageInfo: ...
    def placement(self, row: int, /) -> Placement: ...
    def take(self, rows: ArrayLike, /) -> Any: ...


class Regions:
    """Regions of findings, one row a picture; opened when they are asked for.

    Made by `read_boxes` or `read_masks`.

    Parameters
    ----------
    images : ImageSet
    boxes : mapping of str to mapping of int to list of (top, left, bottom, right)
        Finding → row → boxes in pixels of the picture.
    masks : mapping of str to mapping of int to Path
        Finding → row → file.
    unmatched : mapping of str to int
        Rows of a table that speak of no picture, or no finding, of the study.
    """

    def __init__(
        self,
        images: _Pictures,
        boxes: Mapping[str, Mapping[int, Sequence[Box]]],
        masks: Mapping[str, Mapping[int, Path]],
        unmatched: Mapping[str, int] | None = None,
    ) -> None:
        self._images, self._boxes, self._masks = images, boxes, masks
        self.unmatched = dict(unmatched or {})
        self.refused: Counter[str] = Counter()
        """Masks that could not be used so far, by code; ``OTHER_SHAPE`` where picture and mask differ in shape."""

    def __len__(self) -> int:
        return len(self._images)

    @property
    def findings(self) -> tuple[str, ...]:
        """Findings with at least one region."""
        return tuple(name for name in self._names() if self.rows(name).size)

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self._boxes, *self._masks]))

    @property
    def counts(self) -> dict[str, int]:
        """Pictures with a region, by finding."""
        return {name: int(self.rows(name).size) for name in self.findings}

    def rows(self, finding: str) -> NDArray[np.int64]:
        """Return the pictures that have a region of a finding, in order."""
        known = {*self._boxes.get(finding, {}), *self._masks.get(finding, {})}
        return np.asarray(sorted(known), dtype=np.int64)

    def mask(self, row: int, finding: str) -> NDArray[np.bool_] | None:
        """Return where a finding is in the frame of the model.

        Parameters
        ----------
        row : int
        finding : str

        Returns
        -------
        bool array, shape (size, size), or None
            None where no region is known, or its file could not be used; see `refused`. A region that is smaller than
            a pixel of the frame keeps the pixel that holds most of it.
        """
        boxes = self._boxes.get(finding, {}).get(row)
        if boxes:
            place = self._images.placement(row)
            mask = np.zeros((place.size, place.size), dtype=bool)
            for box in boxes:
                _fill(mask, place.to_frame_box(box))
            return mask
        file = self._masks.get(finding, {}).get(row)
        if file is None:
            return None
        try:
            return self._read(row, file)
        except ImageRefused as refusal:
            self.refused[refusal.code] += 1
        return None

    def _read(self, row: int, file: Path) -> NDArray[np.bool_] | None:
        pixels = read_radiograph(file).pixels
        place = Placement.fit(pixels.shape[0], pixels.shape[1], self._images.size)
        if not _alike(place, self._images.placement(row)):
            self.refused["OTHER_SHAPE"] += 1
            return None
        # As the picture was brought into the frame, so that both stay in register.
        part = shrunk((pixels > 0).astype(np.uint8) * np.uint8(255), place)
        if not part.any():
            return None
        mask = np.zeros((place.size, place.size), dtype=bool)
        mask[place.top : place.top + place.height, place.left : place.left + place.width] = part >= min(
            128, int(part.max())
        )
        return mask

    def take(self, rows: ArrayLike) -> Regions:
        """Return the regions of some pictures, given as indices or a mask, in that order."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        at: dict[int, list[int]] = {}
        for new, old in enumerate(chosen.tolist()):
            at.setdefault(old, []).append(new)

        def moved(known: Mapping[int, Any]) -> dict[int, Any]:
            return {new: what for old, what in known.items() for new in at.get(old, ())}

        boxes = {name: moved(known) for name, known in self._boxes.items()}
        masks = {name: moved(known) for name, known in self._masks.items()}
        return Regions(self._images.take(chosen), boxes, masks, self.unmatched)


def _alike(one: Placement, two: Placement) -> bool:
    """Say whether a mask has the shape of its picture, up to a factor and rounding to pixels of the frame."""
    return abs(one.height - two.height) <= 1 and abs(one.width - two.width) <= 1


def _fill(mask: NDArray[np.bool_], box: Box) -> None:
    """Mark the pixels whose centres lie in a box; of a smaller box, the pixel that holds its centre."""
    size = mask.shape[0]
    spans = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
        if last <= first:
            first = math.floor((low + high) / 2)
            last = first + 1
        first = min(max(first, 0), size - 1)
        spans.append(slice(first, min(max(last, first + 1), size)))
    mask[spans[0], spans[1]] = True


# ---------------------------------------------------------------------------------------------------------------- boxes


def read_boxes(
    table: str | os.PathLike[str],
    images: _Pictures,
    findings: Sequence[str],
    *,
    names: Mapping[str, str] | None = None,
    drawn_on: tuple[int, int] | None = None,
    encoding: str = "utf-8-sig",
) -> Regions:
    r"""Read a table of boxes: NIH's ``BBox_List``, or columns image, finding, x, y, width and height.

    Parameters
    ----------
    table : path
        CSV, semicolons or tabs; may end in ``.gz``. One box a row: corner (x, y) at the top left, in pixels.
    images : ImageSet
        Pictures are found by their path relative to the folder of the table, or by the end of their path.
    findings : sequence of str
        As the study calls them; the table may differ in case and signs.
    names : mapping of str to str, optional
        What the table calls a finding → finding, where it is another word.
    drawn_on : (int, int), optional
        Rows and columns of the pictures the boxes were drawn on, where those were of another size than the files.
    encoding : str

    Returns
    -------
    Regions
        ``unmatched`` counts rows of the table that name no picture (``images``) or no finding (``findings``) of the
        study: tables often speak of more than one uses.

    Raises
    ------
    DataError
        If a column is absent, a number is not usable, a box lies outside its picture, an image name fits several
        pictures, or not one row fits.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from aimed.readers.image_cache import ImageCache
    >>> from aimed.readers.image_set import ImageSet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = ImageFile(Path(folder) / "a.png")
    ...     Image.new("L", (40, 80), 90).save(file.path)
    ...     pictures = ImageSet(ImageCache.build([file], Path(folder) / "cache", size=8), [file])
    ...     table = Path(folder) / "boxes.csv"
    ...     _ = table.write_text("image,finding,x,y,width,height\na.png,Nodule,0,0,20,20\n")
    ...     regions = read_boxes(table, pictures, ["nodule"])
    ...     np.argwhere(regions.mask(0, "nodule")).tolist()
    [[0, 2], [0, 3], [1, 2], [1, 3]]
    """
    path = Path(table)
    header, rows = _table(path, encoding)
    at = _header(header, path.name)
    lookup = _Lookup(images, path.parent)
    wanted = _wanted(findings, names)
    boxes: dict[str, dict[int, list[Box]]] = {name: {} for name in findings}
    unmatched, bad, outside, several = Counter[str](), Counter[str](), 0, 0
    sizes: dict[int, tuple[int, int]] = {}
    for cells in rows:
        finding = wanted.get(_plain(_cell(cells, at["finding"])))
        found = lookup(_cell(cells, at["image"]))
        several += len(found) > 1
        if finding is None or not found:
            unmatched["findings" if finding is None else "images"] += 1
            continue
        numbers = {}
        for name in ("x", "y", "width", "height"):
            value = _number(_cell(cells, at[name]))
            if value is None or (name in ("width", "height") and value <= 0):
                bad[name] += 1
            else:
                numbers[name] = value
        if len(numbers) < 4 or len(found) > 1:
            continue
        row = found[0]
        if row not in sizes:
            info = images.info(row)
            sizes[row] = info.rows, info.columns
        box = _box(numbers, sizes[row], drawn_on)
        if box is None:
            outside += 1
        else:
            boxes[finding].setdefault(row, []).append(box)
    if bad:
        name = next(iter(bad))
        raise DataError(
            f"{bad[name]:,} values of column '{header[at[name]]}' of {path.name} are no numbers in pixels",
            "corner and size of each box" if name in "xy" else "sizes above 0",
            "correct the table",
        )
    if several:
        raise DataError(
            f"{several:,} values of column '{header[at['image']]}' of {path.name} fit several pictures",
            "names that are unique",
            "write paths relative to the folder of the table",
        )
    if outside:
        raise DataError(
            f"{outside:,} boxes of {path.name} lie outside their pictures",
            "pixels of the pictures as they are stored",
            "say on pictures of which size they were drawn: [images] regions.drawn_on = [height, width]",
        )
    if not any(boxes.values()):
        raise DataError(
            f"no row of {path.name} fits the study: {unmatched['images']:,} name none of its pictures and "
            f"{unmatched['findings']:,} none of its findings",
            f"names as in the table of pictures in column '{header[at['image']]}' and findings in "
            f"'{header[at['finding']]}'",
            "correct the names",
        )
    return Regions(images, boxes, {}, unmatched)


def _table(path: Path, encoding: str) -> tuple[list[str], Iterator[list[str]]]:
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise DataError(f"{path.name} has more than {_LARGEST >> 20:,} MB", "a table of boxes", "check the path")
        text = data.decode(encoding)
    except OSError:
        raise DataError(f"{path.name} cannot be read", "a table of boxes", "check the path") from None
    except (EOFError, UnicodeDecodeError):
        raise DataError(f"{path.name} is no text in {encoding}", "a CSV file", "name its encoding") from None
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text), delimiter=separator)
    header = [cell.strip() for cell in next(lines, [])]
    return header, (cells for cells in lines if cells)


def _header(header: Sequence[str], name: str) -> dict[str, int]:
    """Return where each column stands."""
    plain = [_plain(column) for column in header]
    found = {}
    for wanted, spellings in _COLUMNS.items():
        places = [plain.index(one) for one in spellings if one in plain]
        if not places:
            known = [column for column in header if column]
            close = nearest(wanted, known)
            raise DataError(
                f"{name} has no column '{wanted}'",
                "columns image, finding, x, y, width and height",
                f"did you mean '{close}'?" if close else "rename its columns",
            )
        found[wanted] = places[0]
    return found


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place].strip() if place < len(cells) else ""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _wanted(findings: Sequence[str], names: Mapping[str, str] | None) -> dict[str, str]:
    unknown = sorted(set((names or {}).values()) - set(findings))
    if unknown:
        raise DataError(f"there is no finding '{unknown[0]}'", f"one of: {', '.join(findings)}", "correct the names")
    return {_plain(name): name for name in findings} | {_plain(word): name for word, name in (names or {}).items()}


def _box(numbers: Mapping[str, float], size: tuple[int, int], drawn_on: tuple[int, int] | None) -> Box | None:
    """Return (top, left, bottom, right) cut at the border; None where more than rounding lies outside."""
    y, x = (1.0, 1.0) if drawn_on is None else (size[0] / drawn_on[0], size[1] / drawn_on[1])
    top, left = numbers["y"] * y, numbers["x"] * x
    bottom, right = top + numbers["height"] * y, left + numbers["width"] * x
    slack = max(2.0, 0.005 * max(size))
    if top < -slack or left < -slack or bottom > size[0] + slack or right > size[1] + slack:
        return None
    return max(top, 0.0), max(left, 0.0), min(bottom, float(size[0])), min(right, float(size[1]))


class _Lookup:
    """Find the rows of a picture by its path, or by as much of the end of it as a table gives."""

    def __init__(self, images: _Pictures, folder: Path) -> None:
        self.rows: dict[str, list[int]] = {}
        self.paths: list[tuple[str, ...]] = []
        for row, file in enumerate(images.files):
            parts = _parts(file)
            self.paths.append(parts)
            self.rows.setdefault(parts[-1].casefold(), []).append(row)
            # Names of series and studies often come without the ending of the file.
            stem = PurePosixPath(parts[-1]).stem.casefold()
            if stem != parts[-1].casefold():
                self.rows.setdefault(stem, []).append(row)
        self.folder = tuple(Path(os.path.abspath(folder)).parts)

    def __call__(self, name: str) -> list[int]:
        asked = tuple(p for p in PurePosixPath(name.replace("\\", "/")).parts if p not in (".", "/"))
        if not asked:
            return []
        rows = self.rows.get(asked[-1].casefold(), [])
        if len(asked) > 1:
            rows = [row for row in rows if self.paths[row][-len(asked) : -1] == asked[:-1]]
        if len(rows) > 1:
            exact = (*self.folder, *asked)
            rows = [row for row in rows if self.paths[row] == exact] or rows
        return rows


def _parts(file: ImageFile) -> tuple[str, ...]:
    own = Path(os.path.abspath(file.path)).parts
    return own if file.member is None else (*own, *PurePosixPath(file.member).parts)


# ---------------------------------------------------------------------------------------------------------------- masks


def read_masks(
    folder: str | os.PathLike[str], images: _Pictures, findings: Sequence[str], *, pattern: str | None = None
) -> Regions:
    """Find a file for each picture and finding that has a mask: a grey picture, above 0 where the finding is.

    Parameters
    ----------
    folder : path
        Files are only sought in it. May end in a pattern: ``masks/{stem}.{finding}.png``.
    images : ImageSet
    findings : sequence of str
    pattern : str, optional
        Name of a mask in the folder, with ``{stem}``, ``{parent}`` and ``{finding}``; the first of `PATTERNS` that
        leads to a file when absent.

    Returns
    -------
    Regions
        Files are read when a mask is asked for.

    Raises
    ------
    DataError
        If there is no such folder, the pattern has another placeholder, two pictures would share a mask, or not one
        mask is there.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from aimed.readers.image_cache import ImageCache
    >>> from aimed.readers.image_set import ImageSet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = ImageFile(Path(folder) / "a.png")
    ...     Image.new("L", (80, 80), 90).save(file.path)
    ...     pictures = ImageSet(ImageCache.build([file], Path(folder) / "cache", size=8), [file])
    ...     Image.new("L", (80, 80), 255).save(Path(folder) / "a.nodule.png")
    ...     regions = read_masks(folder, pictures, ["nodule", "mass"])
    ...     regions.findings, bool(regions.mask(0, "nodule").all())
    (('nodule',), True)
    """
    root = Path(folder)
    if pattern is None and "{" in str(folder):
        parts = root.parts
        cut = next(place for place, part in enumerate(parts) if "{" in part)
        root, pattern = Path(*parts[:cut]), str(PurePosixPath(*parts[cut:]))
    if not root.is_dir():
        raise DataError("there is no such folder of masks", "a folder", "check the path")
    if pattern is not None:
        fields = set(re.findall(r"\{(.*?)\}", pattern))
        if not {"stem", "finding"} <= fields or fields - {"stem", "parent", "finding"}:
            raise DataError(
                "a pattern of mask names without {stem} or {finding}, or with another field",
                "{stem}, {finding} and perhaps {parent}",
                f"such as {PATTERNS[1]}",
            )
    files = [_parts(file) for file in images.files]
    for one in PATTERNS if pattern is None else (pattern,):
        masks: dict[str, dict[int, Path]] = {name: {} for name in findings}
        owner: dict[Path, str] = {}
        for row, parts in enumerate(files):
            for name in findings:
                path = root / one.format(stem=PurePosixPath(parts[-1]).stem, parent=parts[-2], finding=name)
                if not path.is_file() or not inside(path, root):
                    continue
                if owner.setdefault(path, "/".join(parts)) != "/".join(parts):
                    raise DataError(
                        "two pictures share a mask", "a mask a picture", "name the folder of a picture by {parent}"
                    )
                masks[name][row] = path
        if any(masks.values()):
            return Regions(images, {}, masks)
    raise DataError(
        f"the folder holds no mask of the {len(files):,} pictures and {len(findings)} findings",
        f"files called {pattern or ' or '.join(PATTERNS)}",
        "name the pattern of their names",
    )
