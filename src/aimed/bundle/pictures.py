"""Predicting with a packaged model of pictures: each file gets risks or the code of a refusal; none ends the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aimed.bundle.picture_schema import PICTURE_CODES, PictureSchema
from aimed.bundle.sealed import Sealed
from aimed.core import BundleError, MissingExtraError
from aimed.core.image import REFUSALS, Grey, ImageInfo, ImageRefused
from aimed.diagnosis.findings_model import FindingsModel, together
from aimed.readers.ahead import Progress, Told, processors, worked_ahead
from aimed.readers.image_cache import framed
from aimed.readers.image_files import ImageFile
from aimed.readers.radiograph import read_radiograph

__all__ = ["PictureBundle", "PictureSource", "PredictedPicture", "Runtime", "picture_table"]

PictureSource: TypeAlias = str | os.PathLike[str] | bytes | ImageFile

Runtime: TypeAlias = Callable[[Grey], NDArray[np.float64]]
"""From framed pictures, shape (b, size, size), to uncalibrated probabilities of each network, shape (m, b, k)."""

_WAITING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedPicture:
    """What the model says of one file.

    Parameters
    ----------
    row : int
        From 1, in the order given.
    file, id : str, optional
        As the user names them.
    sha256 : str, optional
        Of the bytes of the file; None where it could not be read.
    risk : dict of str to float, optional
        Probability of each finding, by key; None for a refused file, never a default.
    spread : dict of str to float, optional
        Standard deviation of the probability between the networks of the model, and changed copies of the picture; None
        where there is one of each.
    present : dict of str to bool or None, optional
        Whether the risk is at the threshold of the finding or above; None where it has none.
    sets : dict of str to str, optional
        ``present``, ``absent`` or ``uncertain``: the answers that conformal calibration leaves.
    code, reason : str, optional
        Why the file was refused; see `aimed.bundle.picture_schema.PICTURE_CODES`.
    warnings : tuple of dict
        ``{"code", "reason"}``.
    """

    row: int
    file: str | None = None
    id: str | None = None
    sha256: str | None = None
    risk: dict[str, float] | None = None
    spread: dict[str, float] | None = None
    present: dict[str, bool | None] | None = None
    sets: dict[str, str] | None = None
    code: str | None = None
    reason: str | None = None
    warnings: tuple[dict[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "warnings": list(self.warnings)}


@dataclass(slots=True)
class _Read:
    """One file, framed as in training, or why it was refused."""

    frame: Grey | None = None
    info: ImageInfo | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Batch:
    """Files that go through the network together, and the refused ones between them."""

    rows: list[tuple[int, _Read]] = field(default_factory=list)
    frames: list[Grey] = field(default_factory=list)

    def add(self, row: int, read: _Read) -> None:
        self.rows.append((row, read))
        if read.frame is not None:
            self.frames.append(read.frame)


class PictureBundle(Sealed):
    """A verified model of pictures, ready to predict.

    Parameters
    ----------
    model : FindingsModel
    schema : PictureSchema
    manifest : mapping
    members : mapping of str to bytes
        Files beside the model, such as the card, as they were verified.
    runtime : callable, optional
        What runs the networks, see `Runtime`; the model's own torch networks when absent. Calibration, thresholds and
        sets are the model's in either case.

    Attributes
    ----------
    keys : list of str
        Of the findings, in order.

    Raises
    ------
    BundleError
        If schema and model do not take the same pictures.

    Notes
    -----
    Make one with `aimed.bundle.load.load`.
    """

    def __init__(
        self,
        model: FindingsModel,
        schema: PictureSchema,
        manifest: Mapping[str, Any],
        members: Mapping[str, bytes] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        super().__init__(manifest, members)
        self.model, self.schema, self.keys = model, schema, model.keys
        self.runtime: Runtime = model.members if runtime is None else runtime
        if (schema.size, schema.bits, schema.approximate) != (model.size, model.bits, model.approximate):
            raise BundleError("schema and model do not take the same pictures", "one size, depth and way of decoding")

    def read(self, source: PictureSource) -> tuple[Grey, ImageInfo]:
        """Return a picture as training pictures were framed, and what its file says.

        Raises
        ------
        ImageRefused
            With the code of the reason.
        """
        schema = self.schema
        picture = read_radiograph(source, schema.size, bits=schema.bits, approximate=schema.approximate)
        return framed(picture, schema.size, schema.bits)[0], picture.info

    def predict(
        self,
        files: Sequence[PictureSource],
        *,
        names: Sequence[str | None] | None = None,
        ids: Sequence[str | None] | None = None,
        start: int = 0,
        progress: Progress | None = None,
        n_jobs: int | None = None,
    ) -> Generator[PredictedPicture, None, None]:
        """Predict every file that is a radiograph, one after the other.

        Parameters
        ----------
        files : sequence of path, bytes or ImageFile
            See `aimed.readers.image_files.find_images`.
        names, ids : sequence of str, optional
            Carried along, one a file; the name of a path is the path when absent.
        start : int
            Files that were done before.
        progress : callable, optional
            ``progress(share, text)``, with the time that is left.
        n_jobs : int, optional
            Threads that decode; the processors of the machine when absent.

        Yields
        ------
        PredictedPicture
            In the order given, each as soon as its batch is through; memory does not grow with the number of files.

        Raises
        ------
        MissingExtraError
            If a package of the imaging extra is missing.
        """
        most, batch = together(self.schema.size), _Batch()
        told = Told(progress, len(files) - start)

        def name(row: int) -> str | None:
            return _name_of(files[row]) if names is None else names[row]

        def settled() -> Iterator[PredictedPicture]:
            for row, one in self._settled(batch):
                told.step(one["code"] is not None)
                yield PredictedPicture(row=row + 1, file=name(row), id=None if ids is None else ids[row], **one)

        work = worked_ahead(lambda row: self._read(files[row]), range(start, len(files)), n_jobs or processors(), most)
        for row, read in work:
            batch.add(row, read)
            if len(batch.frames) == most or len(batch.rows) == _WAITING * most:
                yield from settled()
                batch = _Batch()
        yield from settled()

    def _read(self, source: PictureSource) -> _Read:
        try:
            frame, info = self.read(source)
        except ImageRefused as refusal:
            why = REFUSALS[refusal.code][0]
            return _Read(code=refusal.code, reason=f"{why}: {refusal.detail}" if refusal.detail else why)
        except MissingExtraError:
            raise
        # One strange file must not cost the other thousands; the text of such an error may quote the file.
        except Exception as error:
            return _Read(code="UNFORESEEN", reason=f"an unforeseen {type(error).__name__} while it was read")
        return _Read(frame, info)

    def _settled(self, batch: _Batch) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield row and fields of each file of a batch."""
        risk = spread = present = np.zeros((0, len(self.keys)))
        sets: NDArray[np.str_] | None = None
        if batch.frames:
            risk, spread = self.model.settled(self.runtime(np.stack(batch.frames)))
            present = self.model.decided(risk)
            if self.model.conformal is not None:
                sets = self.model.conformal.transform(np.nan_to_num(risk))
        place = 0
        for row, read in batch.rows:
            if read.frame is None or read.info is None:
                yield row, {"code": read.code, "reason": read.reason}
                continue
            fields: dict[str, Any] = {
                "sha256": read.info.digest,
                "warnings": tuple({"code": c, "reason": why} for c, why in self.schema.warnings(read.info)),
                "code": None,
            }
            if np.isfinite(risk[place]).all():
                fields["risk"] = self._named(risk[place].tolist())
                fields["present"] = self._named([None if v != v else bool(v) for v in present[place].tolist()])
                if np.isfinite(spread[place]).all():
                    fields["spread"] = self._named(spread[place].tolist())
                if sets is not None:
                    fields["sets"] = self._named(sets[place].tolist())
            else:
                fields |= {"code": "NO_PREDICTION", "reason": PICTURE_CODES["NO_PREDICTION"]}
            place += 1
            yield row, fields

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.keys, values, strict=True))


def _name_of(source: PictureSource) -> str | None:
    if isinstance(source, bytes):
        return None
    if isinstance(source, ImageFile):
        return str(source.path if source.member is None else source.path / source.member)
    return str(Path(source))


def picture_table(picture: PredictedPicture, keys: Sequence[str], spread: bool = False) -> dict[str, Any]:
    """Return one row of a table of predictions, the same columns for every file.

    Parameters
    ----------
    picture : PredictedPicture
    keys : sequence of str
        Of the findings.
    spread : bool
        Whether the model has a spread.

    Examples
    --------
    >>> picture_table(PredictedPicture(row=1, file="a.png", risk={"effusion": 0.25}), ["effusion"])["risk@effusion"]
    0.25
    """
    out: dict[str, Any] = {"row": picture.row, "file": picture.file, "id": picture.id, "sha256": picture.sha256}
    for title, values in (
        ("risk", picture.risk), ("spread", picture.spread), ("present", picture.present), ("set", picture.sets),
    ):  # fmt: skip
        if title == "spread" and not spread:
            continue
        for key in keys:
            value = None if values is None else values.get(key)
            out[f"{title}@{key}"] = int(value) if isinstance(value, bool) else value
    out["code"], out["reason"] = picture.code, picture.reason
    out["warnings"] = "; ".join(f"{w['code']}: {w['reason']}" for w in picture.warnings) or None
    return out
