"""Tagger: the chance that each word of a note belongs to an identifier, from a chain model of weighted features."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import BundleError, DataError
from aimed.privacy.gazetteers import LISTS, Gazetteer, open_table
from aimed.privacy.kernels import tagging
from aimed.privacy.tokens import Tokens

__all__ = ["MODEL", "Tagger", "default_tagger", "features_of"]

MODEL: Final = Path(__file__).parent / "models" / "notes.tagger"
"""The model that ships with the package; `train_tagger` builds it again."""

_MAGIC = b"aimed tagger 1\n"
_BLOCK = 4096
_OVERLAP = 64
_PLAIN = LISTS.index("plain")


def features_of(
    tokens: Tokens, flags: NDArray[np.uint16], rule: NDArray[np.uint8], low: int = 0, high: int | None = None
) -> NDArray[np.uint64]:
    """Return the features of the tokens `low` to `high` of a note.

    Parameters
    ----------
    tokens : Tokens
    flags : uint16 array, shape (n,)
        Word lists that each token is on.
    rule : uint8 array, shape (n,)
        Class of the rule that covers the token; 0 none.
    low, high : int
        Which tokens; their neighbours on both sides are looked at as well.

    Returns
    -------
    uint64 array, shape (high - low, slots)
        0 where a slot has no feature.
    """
    high = len(tokens) if high is None else high
    out = np.empty((high - low, tagging.SLOTS), np.uint64)
    tagging.slot_features(
        low, high, tokens.word, tokens.affix, tokens.shape, tokens.case, tokens.gap, flags, rule, _PLAIN, out
    )
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Tagger:
    """A linear chain over tokens (conditional random field) with the word lists that its features rest on.

    Attributes
    ----------
    labels : tuple of str
        Names of the tags; the first, ``""``, is no identifier.
    keys : uint64 array, shape (f,)
        Hashes of the features that have a weight.
    first : int32 array, shape (f + 1,)
        Where the weights of each feature start.
    label : uint8 array, shape (w,)
    weight : float32 array, shape (w,)
        Tag and weight.
    step : float64 array, shape (labels, labels)
        Score of going from one tag to the next.
    gazetteer : Gazetteer
    threshold : float
        A token is part of an identifier from this chance on.
    """

    labels: tuple[str, ...]
    keys: NDArray[np.uint64] = field(repr=False)
    first: NDArray[np.int32] = field(repr=False)
    label: NDArray[np.uint8] = field(repr=False)
    weight: NDArray[np.float32] = field(repr=False)
    step: NDArray[np.float64] = field(repr=False)
    gazetteer: Gazetteer = field(repr=False)
    threshold: float = 0.5
    slots: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", open_table(self.keys))

    def chances(self, tokens: Tokens, rule: NDArray[np.uint8] | None = None) -> NDArray[np.float64]:
        """Return the chance of each tag for each token.

        Parameters
        ----------
        tokens : Tokens
            Of one note.
        rule : uint8 array, shape (n,), optional
            Place in `CLASS_NAMES`, from 1, of the rule that covers the token; 0 none.

        Returns
        -------
        array, shape (n, labels)
            Rows sum to 1.
        """
        n = len(tokens)
        out = np.empty((n, len(self.labels)))
        if n == 0:
            return out
        rule = np.zeros(n, np.uint8) if rule is None else rule
        flags = self.gazetteer.look_up(tokens.word)
        step = np.exp(self.step)
        # Long notes go through in blocks that overlap, so that memory stays bounded.
        for low in range(0, n, _BLOCK):
            high = min(low + _BLOCK, n)
            a, b = max(low - _OVERLAP, 0), min(high + _OVERLAP, n)
            features = features_of(tokens, flags, rule, a, b)
            score = np.empty((b - a, len(self.labels)))
            tagging.scores(features, self.keys, self.slots, self.first, self.label, self.weight, score)
            forward, chance = np.empty_like(score), np.empty_like(score)
            tagging.marginals(score, step, forward, chance)
            out[low:high] = chance[low - a : high - a]
        return out

    def to_bytes(self) -> bytes:
        """Return the model as bytes: a heading, the hash of what follows, and plain arrays."""
        head = json.dumps({"labels": self.labels, "threshold": self.threshold, "lists": LISTS}).encode()
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            head=np.frombuffer(head, np.uint8),
            keys=self.keys,
            count=np.diff(self.first).astype(np.uint8),
            label=self.label,
            weight=self.weight.astype(np.float16),
            step=self.step,
            words=_bytes_of(np.diff(self.gazetteer.keys, prepend=np.uint64(0))),
            flags=self.gazetteer.flags,
        )
        payload = buffer.getvalue()
        return _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload

    @classmethod
    def from_bytes(cls, data: bytes) -> Tagger:
        """Return the model that `to_bytes` wrote.

        Raises
        ------
        BundleError
            The bytes are of another format or version, or one of them is not as it was written.
        """
        if not data.startswith(_MAGIC):
            raise BundleError(
                "the tagger is not in a format that this version reads",
                "a file of format 1",
                "build it again: python -m aimed.privacy.train_tagger",
            )
        digest, payload = data[len(_MAGIC) :][:64], data[len(_MAGIC) + 65 :]
        if hashlib.sha256(payload).hexdigest().encode() != digest or data[len(_MAGIC) + 64 :][:1] != b"\n":
            raise BundleError(
                "the tagger's hash does not match its content",
                "the file as it was written",
                "install the package again, or build the file: python -m aimed.privacy.train_tagger",
            )
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if tuple(head["lists"]) != LISTS:
                raise BundleError("the tagger rests on other word lists", "the lists of this version", "build it again")
            first = np.concatenate([[0], np.cumsum(arrays["count"], dtype=np.int64)]).astype(np.int32)
            words = np.cumsum(_numbers_of(arrays["words"]), dtype=np.uint64)
            return cls(
                tuple(head["labels"]),
                arrays["keys"],
                first,
                arrays["label"],
                arrays["weight"].astype(np.float32),
                arrays["step"],
                Gazetteer.of(words, arrays["flags"]),
                float(head["threshold"]),
            )


def _bytes_of(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    # Five bytes of each number, all first bytes together: this packs better.
    return np.ascontiguousarray(numbers.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :5].T)


def _numbers_of(planes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    full = np.zeros((planes.shape[1], 8), np.uint8)
    full[:, :5] = planes.T
    return full.view("<u8").reshape(-1).astype(np.uint64)


@lru_cache(maxsize=1)
def default_tagger() -> Tagger:
    """Return the model that ships with the package, read once a process.

    Raises
    ------
    BundleError
        The file is damaged.
    DataError
        The file is not there.
    """
    try:
        data = MODEL.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            "the tagger's model file is not in the package",
            "models/notes.tagger",
            "install the package again, or build the file: python -m aimed.privacy.train_tagger",
        ) from error
    return Tagger.from_bytes(data)
