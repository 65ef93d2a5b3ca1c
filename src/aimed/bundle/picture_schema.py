"""What a packaged model of pictures takes: their frame, what training pictures were, and what differs in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from aimed.bundle.schema import SMALL_CELL
from aimed.core import DataError
from aimed.core.image import REFUSALS, ImageInfo
from aimed.diagnosis.findings_model import FindingsModel
from aimed.metrics.arrays import patient_codes

__all__ = ["PICTURE_CODES", "PictureSchema", "describe_pictures"]

PICTURE_CODES: Mapping[str, str] = MappingProxyType(
    {
        **{code: f"{got[0].upper()}{got[1:]}." for code, (got, _, _) in REFUSALS.items()},
        "UNFORESEEN": "Reading the file failed in a way that nobody foresaw; report it.",
        "NO_PREDICTION": "The model gives no number for this picture.",
        "OTHER_VIEW": "Warning: the file names a view that no training picture had.",
        "NO_VIEW": "Warning: the file does not name its view, as training pictures did.",
        "OTHER_MODALITY": "Warning: the picture was made with another kind of device than training pictures.",
        "SMALL_SOURCE": "Warning: the picture has fewer pixels than the model looks at, or than training pictures had.",
        "LOSSY": "Warning: the picture was compressed with loss and no training picture was.",
    }
)
"""Why a picture is refused, or comes with a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSchema:
    """The pictures a model takes, and what its training pictures were, in aggregates only.

    Parameters
    ----------
    size : int
        Side of the frames.
    bits : {8, 16}
    approximate : bool
        How files are decoded; with size and bits exactly as in training.
    views, modalities : tuple of str
        Of training pictures, each of at least `SMALL_CELL` patients; empty when their files do not say.
    view_named : bool
        Whether the file of every training picture names its view.
    smallest : int, optional
        Longest side that nearly all training pictures reach, in pixels.
    lossy : bool
        Whether training pictures were compressed with loss.
    column : str, optional
        Column of paths in the table of the study.

    Raises
    ------
    DataError
        If size or bits are not possible.

    Examples
    --------
    >>> schema = PictureSchema(size=224, bits=8, views=("PA",), view_named=True)
    >>> PictureSchema.from_dict(schema.to_dict()) == schema
    True
    >>> info = ImageInfo(digest="", format="png", rows=90, columns=80, bits_stored=8, scaling="as_stored")
    >>> [code for code, _ in schema.warnings(info)]
    ['NO_VIEW', 'SMALL_SOURCE']
    """

    size: int
    bits: Literal[8, 16]
    approximate: bool = False
    views: tuple[str, ...] = ()
    view_named: bool = False
    modalities: tuple[str, ...] = ()
    smallest: int | None = None
    lossy: bool = True
    column: str | None = None

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096 or self.bits not in (8, 16):
            raise DataError(f"frames of {self.size} pixels and {self.bits} bits", "8 to 4,096 pixels and 8 or 16 bits")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"schema": 1, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> PictureSchema:
        """Rebuild from `to_dict`."""
        return cls(
            size=int(record["size"]),
            bits=8 if record["bits"] == 8 else 16,
            approximate=bool(record["approximate"]),
            views=tuple(str(v) for v in record["views"]),
            view_named=bool(record["view_named"]),
            modalities=tuple(str(v) for v in record["modalities"]),
            smallest=None if record["smallest"] is None else int(record["smallest"]),
            lossy=bool(record["lossy"]),
            column=None if record["column"] is None else str(record["column"]),
        )

    def warnings(self, info: ImageInfo) -> list[tuple[str, str]]:
        """Return code and reason of each way in which a picture differs from training pictures."""
        found = []
        if self.views and self.view_named and info.view is None:
            found.append(("NO_VIEW", f"the file names no view; training pictures were {_listed(self.views)}"))
        elif self.views and info.view is not None and info.view not in self.views:
            found.append(("OTHER_VIEW", f"the view is {info.view}; training pictures were {_listed(self.views)}"))
        if self.modalities and info.modality is not None and info.modality not in self.modalities:
            found.append(
                ("OTHER_MODALITY", f"the modality is another; training pictures were {_listed(self.modalities)}")
            )
        longest = max(info.rows, info.columns)
        if longest < self.size:
            found.append(("SMALL_SOURCE", f"{longest} pixels, fewer than the {self.size} that the model looks at"))
        elif self.smallest is not None and longest < self.smallest:
            found.append(("SMALL_SOURCE", f"{longest} pixels; training pictures had {self.smallest} or more"))
        if info.lossy and not self.lossy:
            found.append(("LOSSY", "compressed with loss; training pictures were not"))
        return found


def _listed(words: Sequence[str]) -> str:
    return " or ".join(words)


def describe_pictures(
    model: FindingsModel,
    infos: Sequence[ImageInfo],
    *,
    patient: ArrayLike | None = None,
    column: str | None = None,
) -> PictureSchema:
    """Describe the pictures that a fitted model takes from those it was trained on, in aggregates only.

    Parameters
    ----------
    model : FindingsModel
    infos : sequence of ImageInfo
        Of the training pictures.
    patient : array, shape (n,), optional
        Every picture its own patient when absent.
    column : str, optional
        Column of paths in the table of the study.
    """
    who = patient_codes(patient, len(infos))
    said = [info.view for info in infos]
    lossy = np.array([bool(info.lossy) for info in infos])
    return PictureSchema(
        size=model.size,
        bits=model.bits,
        approximate=model.approximate,
        views=_common(said, who),
        view_named=all(said),
        modalities=_common([info.modality for info in infos], who),
        smallest=_smallest([max(info.rows, info.columns) for info in infos], who),
        lossy=bool(lossy.any()),
        column=column,
    )


def _common(values: Sequence[str | None], who: Any) -> tuple[str, ...]:
    patients: dict[str, set[int]] = {}
    for value, one in zip(values, who.tolist(), strict=True):
        if value:
            patients.setdefault(value, set()).add(one)
    return tuple(sorted(value for value, found in patients.items() if len(found) >= SMALL_CELL))


def _smallest(sides: Sequence[int], who: Any) -> int | None:
    """Return the smallest side that is not one of the few smallest patients' own."""
    least = np.full(int(who.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, who, np.asarray(sides))
    return None if least.size < 4 * SMALL_CELL else int(np.partition(least, SMALL_CELL - 1)[SMALL_CELL - 1])
