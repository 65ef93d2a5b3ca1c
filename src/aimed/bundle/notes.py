"""Predicting with a packaged model of notes: each note gets risks, or the code of a refusal; none ends the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from aimed.bundle.sealed import Sealed
from aimed.core import BundleError
from aimed.readers.note_text import REFUSALS, clean_note
from aimed.text.note_findings import NoteFindings

__all__ = ["NOTE_CODES", "NoteBundle", "NoteSchema", "PredictedNote", "note_table"]

NOTE_CODES: Mapping[str, str] = MappingProxyType(
    {
        **{code.upper(): reason for code, reason in REFUSALS.items()},
        "NO_PREDICTION": "The model gives no number for this note.",
        "LONGER": "Warning: the note is much longer than those of training.",
        "ODD": "Warning: the note was cleaned (markup, control characters) or is written unlike those of training.",
    }
)
"""Why a note is refused, or comes with a warning."""

_TOGETHER = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSchema:
    """The notes a model takes, and what its training notes were, in aggregates only.

    Parameters
    ----------
    column : str, optional
        Column of the notes in the table of the study.
    sections : tuple of (section, column), optional
        Where each section had a column of its own.
    longest : int
        Characters that nearly all training notes stay under.
    flags : tuple of str
        Oddities that training notes had too, each in at least 5 of 100.

    Examples
    --------
    >>> schema = NoteSchema(column="report", longest=2000)
    >>> NoteSchema.from_dict(schema.to_dict()) == schema
    True
    """

    column: str | None = None
    sections: tuple[tuple[str, str], ...] = ()
    longest: int = 20_000
    flags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "schema": 1,
            "column": self.column,
            "sections": [list(pair) for pair in self.sections],
            "longest": self.longest,
            "flags": list(self.flags),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> NoteSchema:
        """Rebuild from `to_dict`."""
        return cls(
            column=None if record["column"] is None else str(record["column"]),
            sections=tuple((str(head), str(column)) for head, column in record["sections"]),
            longest=int(record["longest"]),
            flags=tuple(str(flag) for flag in record["flags"]),
        )

    def warnings(self, text: str, flags: Sequence[str]) -> tuple[dict[str, str], ...]:
        """Return code and reason of each way in which a note differs from training notes."""
        found = []
        if len(text) > 2 * self.longest:
            found.append({"code": "LONGER", "reason": f"{len(text):,} characters; training notes had {self.longest:,}"})
        odd = [flag for flag in flags if flag not in self.flags]
        if odd:
            found.append({"code": "ODD", "reason": ", ".join(flag.replace("_", " ") for flag in odd)})
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedNote:
    """What the model says of one note; the note itself is not kept.

    Parameters
    ----------
    row : int
        From 1, in the order given.
    id : str, optional
    risk : dict of str to float, optional
        Probability of each finding, by key; None for a refused note, never a default.
    present : dict of str to bool or None, optional
        Whether the risk is at the threshold of the finding or above; None where it has none.
    sets : dict of str to str, optional
        ``present``, ``absent`` or ``uncertain``: the answers that conformal calibration leaves.
    evidence : tuple of dict
        Of a model with a lexicon: ``{"finding", "start", "end", "assertion", "rule"}``, places in the cleaned note.
    code, reason : str, optional
        Why the note was refused; see `NOTE_CODES`.
    warnings : tuple of dict
        ``{"code", "reason"}``.
    """

    row: int
    id: str | None = None
    risk: dict[str, float] | None = None
    present: dict[str, bool | None] | None = None
    sets: dict[str, str] | None = None
    evidence: tuple[dict[str, Any], ...] = ()
    code: str | None = None
    reason: str | None = None
    warnings: tuple[dict[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class NoteBundle(Sealed):
    """A verified model of notes, ready to predict.

    Parameters
    ----------
    model : NoteFindings, fitted
    schema : NoteSchema
    manifest : mapping
    members : mapping of str to bytes
        Files beside the model, such as the card, as they were verified.

    Raises
    ------
    BundleError
        If manifest and model do not know the same findings.

    Notes
    -----
    Make one with `aimed.bundle.load.load`.
    """

    def __init__(
        self,
        model: NoteFindings,
        schema: NoteSchema,
        manifest: Mapping[str, Any],
        members: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(manifest, members)
        self.model, self.schema, self.keys = model, schema, model.keys
        if [one["key"] for one in manifest["outcome"]["findings"]] != self.keys:
            raise BundleError("manifest and model do not know the same findings", "those of the model")

    def predict(
        self, notes: Sequence[str | bytes | None], ids: Sequence[str | None] | None = None, evidence: bool = False
    ) -> list[PredictedNote]:
        """Predict every note that can be read.

        Parameters
        ----------
        notes : sequence of str, bytes or None
        ids : sequence of str, optional
            To carry over.
        evidence : bool
            Whether to add where in the note each finding is mentioned; for models with a lexicon.

        Returns
        -------
        list of PredictedNote
        """
        out: list[PredictedNote] = []
        for start in range(0, len(notes), _TOGETHER):
            part = notes[start : start + _TOGETHER]
            out += self._some(part, start, None if ids is None else ids[start : start + _TOGETHER], evidence)
        return out

    def _some(
        self, notes: Sequence[str | bytes | None], start: int, ids: Sequence[str | None] | None, evidence: bool
    ) -> list[PredictedNote]:
        read = [clean_note(note if note is not None else "") for note in notes]
        usable = [k for k, note in enumerate(read) if note.refusal is None]
        texts = [read[k].text for k in usable]
        risk = self.model.risk(texts) if texts else np.empty((0, len(self.keys)))
        present = self.model.decided(risk)
        sets = None if self.model.conformal is None or not texts else self.model.conformal.transform(risk)
        said = self._evidence(texts) if evidence else [()] * len(texts)
        place = {row: k for k, row in enumerate(usable)}
        out = []
        for row, note in enumerate(read):
            k, name = place.get(row), None if ids is None else ids[row]
            if k is None or not np.isfinite(risk[k]).all():
                code = "NO_PREDICTION" if note.refusal is None else note.refusal.upper()
                out.append(PredictedNote(row=start + row + 1, id=name, code=code, reason=NOTE_CODES[code]))
                continue
            out.append(
                PredictedNote(
                    row=start + row + 1,
                    id=name,
                    risk=self._named(risk[k].tolist()),
                    present=self._named([None if v != v else bool(v) for v in present[k].tolist()]),
                    sets=None if sets is None else self._named(sets[k].tolist()),
                    evidence=said[k],
                    warnings=self.schema.warnings(note.text, note.flags),
                )
            )
        return out

    def _evidence(self, texts: Sequence[str]) -> list[tuple[dict[str, Any], ...]]:
        found = getattr(self.model.reader, "evidence", None)
        return [()] * len(texts) if found is None else [tuple(one) for one in found(list(texts))]

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.keys, values, strict=True))


def note_table(rows: Sequence[PredictedNote], keys: Sequence[str]) -> dict[str, list[Any]]:
    """Return predictions of notes as columns, ready for a CSV file.

    Examples
    --------
    >>> note_table([PredictedNote(row=1, risk={"effusion": 0.25})], ["effusion"])["risk@effusion"]
    [0.25]
    """
    out: dict[str, list[Any]] = {"row": [one.row for one in rows]}
    if any(one.id is not None for one in rows):
        out["id"] = [one.id for one in rows]
    for title, each in (
        ("risk", [one.risk for one in rows]), ("present", [one.present for one in rows]),
        ("set", [one.sets for one in rows]),
    ):  # fmt: skip
        for key in keys:
            values = [None if said is None else said.get(key) for said in each]
            out[f"{title}@{key}"] = [int(v) if isinstance(v, bool) else v for v in values]
    out["code"], out["reason"] = [one.code for one in rows], [one.reason for one in rows]
    out["warnings"] = ["; ".join(f"{w['code']}: {w['reason']}" for w in one.warnings) or None for one in rows]
    return out
