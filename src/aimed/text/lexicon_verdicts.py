"""What a lexicon says of the findings of a study: verdict, mentions and evidence, in the study's own names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core import BundleError, StudyFileError
from aimed.core.errors import nearest
from aimed.text.lexicon import Lexicon, load_lexicon

if TYPE_CHECKING:
    from aimed.text.labels import ReportLabels

__all__ = ["VERDICTS", "LexiconVerdicts", "target_of_each"]

VERDICTS = ("positive", "uncertain", "not_mentioned", "negative")
"""What a lexicon can say, from the likeliest to the least likely."""

_EVIDENCE = (
    "start", "end", "sentence_start", "sentence_end", "concept", "section", "assertion", "context", "rule",
    "trigger_start", "trigger_end", "location", "laterality", "severity", "size_mm", "change", "decided",
)  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def target_of_each(findings: Sequence[str], targets: Sequence[str], names: Mapping[str, str] | None) -> list[str]:
    """Return the target of a lexicon that each finding of a study is.

    Parameters
    ----------
    findings, targets : sequences of str
    names : mapping of str to str, optional
        Finding → target, where they are not called alike.

    Raises
    ------
    StudyFileError
        If a finding has no target; the message gives the nearest.

    Examples
    --------
    >>> target_of_each(["lung mass", "heart"], ["Lung_Mass", "Cardiomegaly"], {"heart": "Cardiomegaly"})
    ['Lung_Mass', 'Cardiomegaly']
    """
    given = dict(names or {})
    by_plain = {_plain(target): target for target in targets}
    found = []
    for finding in findings:
        wanted = given.get(finding, finding)
        target = by_plain.get(_plain(wanted))
        if target is None:
            close = nearest(wanted, targets)
            raise StudyFileError(
                f"the lexicon has no target '{wanted}' for the finding '{finding}'",
                f"one of: {', '.join(targets)}",
                f"name its target{f', perhaps {close!r}' if close else ''}, or rename the column",
            )
        found.append(target)
    return found


class LexiconVerdicts:
    """A lexicon with its labeller, and the findings that are read with it.

    Parameters
    ----------
    lexicon : str, path or Lexicon
    targets : str
        Set of labels of the lexicon.
    names : mapping of str to str, optional
        As for `target_of_each`.
    """

    def __init__(
        self, lexicon: str | Path | Lexicon, targets: str = "nih", names: Mapping[str, str] | None = None
    ) -> None:
        self.lexicon, self.set, self.names = load_lexicon(lexicon), targets, dict(names or {})
        self.targets = list(self.lexicon.labels(targets))
        self._labeller: Any = None

    def places(self, findings: Sequence[str]) -> list[int]:
        """Return the place of each finding's target in `targets`."""
        return [self.targets.index(target) for target in target_of_each(findings, self.targets, self.names)]

    def read(self, notes: Sequence[str]) -> ReportLabels:
        """Return what the labeller reads."""
        if self._labeller is None:
            from aimed.text.labeller import ReportLabeller

            self._labeller = ReportLabeller(lexicon=self.lexicon, targets=self.set)
        labels: ReportLabels = self._labeller.label(list(notes))
        return labels

    def values(self, notes: Sequence[str]) -> NDArray[np.float64]:
        """Return 1, 0, -1, NaN of every target, shape (n, targets)."""
        return np.asarray(self.read(notes).values, dtype=np.float64)

    def columns(self, notes: Sequence[str]) -> NDArray[np.float64]:
        """Return what a regression is told: of each target four columns of verdicts and log(1 + mentions)."""
        found = self.read(notes)
        coded = codes_of(np.asarray(found.values, dtype=np.float64))
        n, k = coded.shape
        out = np.zeros((n, k, len(VERDICTS) + 1))
        np.put_along_axis(out, coded[..., None], 1.0, axis=2)
        counts = found.evidence.group_by("report", pl.col("target").cast(pl.String)).len()
        place = {target: at for at, target in enumerate(self.targets)}
        for row, target, mentions in counts.iter_rows():
            # What only speaks against "none of these" has no target.
            if target in place:
                out[row, place[target], -1] = np.log1p(mentions)
        return out.reshape(n, -1)

    def evidence(self, notes: Sequence[str], findings: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Return the mentions of each note, in JSON types and the study's names, once for every finding."""
        called: dict[str, list[str]] = {}
        for finding, target in zip(findings, target_of_each(findings, self.targets, self.names), strict=True):
            called.setdefault(target, []).append(finding)
        out: list[list[dict[str, Any]]] = [[] for _ in notes]
        frame = self.read(notes).evidence
        kept = ["report", "target", *(name for name in _EVIDENCE if name in frame.columns)]
        for record in frame.select(kept).iter_rows(named=True):
            row = int(record.pop("report"))
            for finding in called.get(str(record["target"]), ()):
                facts = {key: _json(value) for key, value in record.items() if key != "target"}
                out[row].append({"finding": finding, **facts})
        return out

    def to_state(self) -> dict[str, Any]:
        """Return the whole lexicon in JSON types: a stored model reads alike when the user's file has changed."""
        return {
            # As text: the order of labels is content, and files of models sort their keys.
            "content": json.dumps(self.lexicon.model_dump(mode="json", by_alias=True)),
            "digest": self.lexicon.digest,
            "targets": self.set,
            "names": self.names,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LexiconVerdicts:
        """Rebuild from `to_state`.

        Raises
        ------
        BundleError
            If the lexicon is not the one that was stored.
        """
        lexicon = Lexicon.model_validate(json.loads(state["content"]))
        if lexicon.digest != state["digest"]:
            raise BundleError("the lexicon of the model was changed", "the one it was fitted with")
        return cls(lexicon, str(state["targets"]), state["names"])


def codes_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place of each verdict in `VERDICTS`.

    Examples
    --------
    >>> codes_of(np.array([[1.0, 0.0, -1.0, np.nan]])).tolist()
    [[0, 3, 1, 2]]
    """
    codes = np.full(values.shape, 2, dtype=np.int64)
    for value, place in ((1.0, 0), (-1.0, 1), (0.0, 3)):
        codes[values == value] = place
    return codes


def _json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
