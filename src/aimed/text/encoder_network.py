"""The network of the text encoder: words to vectors, read in both directions, and one attention for each finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aimed.core import BundleError, MissingExtraError

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load, save
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "a network that reads notes", "pip install 'aimed[deep]'") from None

__all__ = ["PAD", "UNKNOWN", "NoteNetwork", "TrainingNotes", "note_loss", "padded", "stored_network", "weights_of"]

PAD, UNKNOWN = 0, 1
"""Codes that are no word."""

_HEADER = 8 << 20


class NoteNetwork(nn.Module):  # type: ignore[misc]
    """Word vectors, a recurrent layer in both directions, and attention over the words for each finding.

    Parameters
    ----------
    words : int
        Codes, with `PAD` and `UNKNOWN`.
    findings : int
    width : int
        Of word vectors.
    hidden : int
        Of the recurrent layer, in each direction.
    dropout : float
        Of vectors in training.
    forgotten : float
        Share of words that are unknown in a step of training.

    References
    ----------
    Hochreiter and Schmidhuber, Neural Comput 1997;9:1735. Mullenbach et al., NAACL 2018:1101 (attention by label).
    """

    def __init__(self, words: int, findings: int, width: int, hidden: int, dropout: float, forgotten: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.reader = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.query = nn.Linear(2 * hidden, findings, bias=False)
        self.weight = nn.Parameter(torch.empty(findings, 2 * hidden))
        self.bias = nn.Parameter(torch.zeros(findings))
        self.dropout, self.forgotten = nn.Dropout(dropout), float(forgotten)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.zeros_(self.embedding.weight[PAD].data)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, codes: Any, lengths: Any) -> Any:
        """Return log odds, shape (b, k)."""
        if self.training and self.forgotten:
            lost = (torch.rand(codes.shape, device=codes.device) < self.forgotten) & (codes != PAD)
            codes = codes.masked_fill(lost, UNKNOWN)
        return self.read(self.embedding(codes), lengths)

    def states(self, vectors: Any, lengths: Any) -> tuple[Any, Any]:
        """Return what was read at each word, shape (b, t, 2 hidden), and how much each finding heeds it, (b, t, k)."""
        rows = pack_padded_sequence(self.dropout(vectors), lengths.cpu(), batch_first=True, enforce_sorted=False)
        states = self.dropout(pad_packed_sequence(self.reader(rows)[0], batch_first=True)[0])
        beyond = torch.arange(states.shape[1], device=states.device)[None, :] >= lengths.to(states.device)[:, None]
        return states, self.query(states).masked_fill(beyond[..., None], -torch.inf)

    def judged(self, context: Any) -> Any:
        """Return log odds of what each finding heeded, shape (b, k, 2 hidden)."""
        return (context * self.weight).sum(dim=-1) + self.bias

    def read(self, vectors: Any, lengths: Any) -> Any:
        """Return log odds of word vectors, shape (b, t, width)."""
        states, heed = self.states(vectors, lengths)
        return self.judged(torch.softmax(heed, dim=1).transpose(1, 2) @ states)

    def gathered(self, batches: Any) -> tuple[Any, Any, Any]:
        """Return what a long note comes to, some stretches at a time: attention is over all its words.

        Parameters
        ----------
        batches : iterable of (codes, lengths)
            As `padded` returns them.

        Returns
        -------
        highest, total : tensors, shape (k,)
            Of how much each finding heeds a word; the sum is of exponentials over the highest.
        context : tensor, shape (k, 2 hidden)
            What was heeded, times that sum.
        """
        highest = torch.full_like(self.bias, -torch.inf)
        total, context = torch.zeros_like(self.bias), torch.zeros_like(self.weight)
        for codes, lengths in batches:
            states, heed = self.states(self.embedding(codes), lengths)
            states, heed = states.flatten(0, 1), heed.flatten(0, 1)
            new = torch.maximum(highest, heed.max(dim=0).values)
            share, before = torch.exp(heed - new), torch.exp(highest - new)
            total = total * before + share.sum(dim=0)
            context = context * before[:, None] + share.T @ states
            highest = new
        return highest, total, context

    def over_stretches(self, batches: Any) -> Any:
        """Return log odds of one long note, shape (k,)."""
        _, total, context = self.gathered(batches)
        return self.judged(context / total[:, None])

    def slope(self, codes: Any, lengths: Any, place: int, note: tuple[Any, Any, Any]) -> Any:
        """Return gradient times vector of each word of one stretch, shape (t,), for the log odds of the whole note.

        Parameters
        ----------
        codes, lengths : tensors, shapes (1, t) and (1,)
        place : int
            Of the finding.
        note : tuple
            As `gathered` returns it for all stretches.
        """
        highest, total, context = note
        vectors = self.embedding(codes).detach().requires_grad_(True)
        states, heed = self.states(vectors, lengths)
        share = torch.exp(heed[0] - highest)
        own, mine = share.sum(dim=0), share.T @ states[0]
        # What the other stretches add stays as it is.
        whole, parts = total + own - own.detach(), context + mine - mine.detach()
        (slope,) = torch.autograd.grad(self.judged(parts / whole[:, None])[place], vectors)
        return (slope * vectors.detach()).sum(dim=-1)[0]


def padded(notes: Sequence[NDArray[np.int64]]) -> tuple[Any, Any]:
    """Return codes of notes side by side, shape (b, t), and how long each is; an empty note is one unknown word.

    Examples
    --------
    >>> padded([np.array([5, 6]), np.array([], dtype=np.int64)])
    (tensor([[5, 6],
            [1, 0]]), tensor([2, 1]))
    """
    lengths = [max(1, note.size) for note in notes]
    table = np.full((len(notes), max(lengths)), PAD, dtype=np.int64)
    for row, note in zip(table, notes, strict=True):
        row[: max(1, note.size)] = note if note.size else UNKNOWN
    return torch.from_numpy(table), torch.tensor(lengths)


class TrainingNotes:
    """Coded notes and labels by rows, for `aimed.fit.torch_training.train`.

    Parameters
    ----------
    notes : n int arrays
    labels : float array, shape (n, k)
    """

    def __init__(self, notes: Sequence[NDArray[np.int64]], labels: NDArray[np.float64]) -> None:
        self.notes, self.labels = list(notes), torch.from_numpy(labels.astype(np.float32))

    def __len__(self) -> int:
        return len(self.notes)

    def __getitems__(self, rows: Sequence[int]) -> tuple[Any, Any, Any]:
        return (*padded([self.notes[row] for row in rows]), self.labels[torch.as_tensor(rows)])

    @staticmethod
    def collate(batch: Any) -> Any:
        """Return the batch, which is one already."""
        return batch


def note_loss(module: Any, batch: Any) -> Any:
    """Return the cross-entropy of known labels of a batch, a mean over notes and findings."""
    codes, lengths, y = batch
    known = ~torch.isnan(y)
    logits = module(codes, lengths)
    each = nn.functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(y), reduction="none")
    return (each * known).sum() / y.numel()


def weights_of(network: Any) -> bytes:
    """Return the weights of a network as a safetensors file."""
    return bytes(save({name: value.detach().contiguous() for name, value in network.state_dict().items()}))


def stored_network(weights: bytes, words: int, findings: int, width: int, hidden: int) -> Any:
    """Return the network of a safetensors file, ready to predict.

    Raises
    ------
    BundleError
        If the file is damaged, or holds other tensors than the network has.
    """
    try:
        if int.from_bytes(weights[:8], "little") > _HEADER:
            raise ValueError
        tensors = load(weights)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AssertionError, OverflowError):
        raise BundleError("the file of weights is damaged", "a safetensors file") from None
    # Built without memory first: options cannot ask for more than the file holds.
    with torch.device("meta"):
        expected = {
            k: (tuple(v.shape), v.dtype)
            for k, v in NoteNetwork(words, findings, width, hidden, 0, 0).state_dict().items()
        }
    if {k: (tuple(v.shape), v.dtype) for k, v in tensors.items()} != expected:
        raise BundleError("the weights do not fit the network", "a model written by aimed")
    network = NoteNetwork(words, findings, width, hidden, 0.0, 0.0)
    network.load_state_dict(tensors)
    return network.eval()
