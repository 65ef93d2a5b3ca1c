"""A plain pass over reports, written in an afternoon: phrases of each finding, and words of denial before them.

It is what labelling is held against where no published labeller can be installed, and it gives its phrases to medspaCy,
so that both look for the same. Nothing but the standard library is used: peers run it in environments of their own.
"""

from __future__ import annotations

import re

PHRASES = {
    "Atelectasis": ("atelectasis", "atelectatic", "atelectases", "lung collapse", "lobar collapse"),
    "Cardiomegaly": (
        "cardiomegaly", "enlarged heart", "heart is enlarged", "enlarged cardiac silhouette", "heart size is enlarged",
        "cardiac silhouette is enlarged", "cardiac enlargement", "heart is mildly enlarged", "borderline heart size",
    ),
    "Effusion": ("effusion", "effusions", "pleural fluid"),
    "Infiltration": ("infiltrate", "infiltrates", "infiltration"),
    "Mass": ("mass", "masses"),
    "Nodule": ("nodule", "nodules", "nodular density", "nodular opacity"),
    "Pneumonia": ("pneumonia", "pneumonic"),
    "Pneumothorax": ("pneumothorax", "pneumothoraces"),
    "Consolidation": ("consolidation", "consolidations", "consolidative"),
    "Edema": ("edema", "oedema"),
    "Emphysema": ("emphysema", "emphysematous"),
    "Fibrosis": ("fibrosis", "fibrotic"),
    "Pleural_Thickening": ("pleural thickening", "thickening of the pleura"),
}  # fmt: skip
"""Phrases of the findings that indexers gave to the reports of Open-i; hernia has none there."""

_PATTERNS = {
    name: re.compile(rf"\b(?:{'|'.join(sorted(phrases, key=len, reverse=True))})\b", re.IGNORECASE)
    for name, phrases in PHRASES.items()
}
_SENTENCE = re.compile(r"(?:[^.;\n]|\.(?=\d))+")
_DENIED = re.compile(
    r"\b(?:no|not|without|negative for|free of|absence of|rather than|resolved|clear of)\b", re.IGNORECASE
)
_DOUBTED = re.compile(
    r"\b(?:may|might|could|possibl[ey]|probabl[ey]|questionable|suspicious|cannot|versus|vs|rule out|evaluate)\b",
    re.IGNORECASE,
)
WINDOW = 80
"""Characters before a phrase in which a denial counts."""

Mention = tuple[str, int, int, int]


def mentions(note: str) -> list[Mention]:
    """Return finding, start, end and 1, 0 or -1 (present, denied, doubted) of every phrase."""
    out = []
    for sentence in _SENTENCE.finditer(note):
        text, at = sentence.group(), sentence.start()
        for name, pattern in _PATTERNS.items():
            for found in pattern.finditer(text):
                start, end = found.span()
                before = text[max(0, start - WINDOW) : start]
                says = 0 if _DENIED.search(before) else -1 if _DOUBTED.search(text) else 1
                out.append((name, at + start, at + end, says))
    return out


def labels(note: str) -> dict[str, int]:
    """Return the label of each finding that is mentioned: present before doubted before denied."""
    said: dict[str, set[int]] = {}
    for name, _, _, says in mentions(note):
        said.setdefault(name, set()).add(says)
    return {name: 1 if 1 in found else -1 if -1 in found else 0 for name, found in said.items()}
