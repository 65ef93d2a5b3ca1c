"""Text: findings, values and answers read out of notes, each with the place in the note that it rests on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aimed.core import Catalog

if TYPE_CHECKING:
    from aimed.metrics.label_noise import label_noise
    from aimed.text.answers import Answer, extract, extract_many
    from aimed.text.labeller import ReportLabeller, label
    from aimed.text.labels import ReportLabels
    from aimed.text.lexicon import Lexicon, load_lexicon
    from aimed.text.stream import label_stream

__all__ = [
    "TEXT_MODELS",
    "Answer",
    "Lexicon",
    "ReportLabeller",
    "ReportLabels",
    "extract",
    "extract_many",
    "label",
    "label_noise",
    "label_stream",
    "load_lexicon",
]

TEXT_MODELS = Catalog(
    "text model",
    {
        "lexicon": (
            "aimed.text.lexicon_model:LexiconModel",
            "Phrases with assertion rules; each label has its evidence.",
        ),
        "words": ("aimed.text.words:Words", "Weighted words and word pairs (TF-IDF), penalised logistic regression."),
        "encoder": ("aimed.text.encoder:Encoder", "Small recurrent network over words, trained from scratch."),
        "combined": ("aimed.text.combined:Combined", "Words and the lexicon's verdict together in one regression."),
        "prevalence": ("aimed.text.prevalence:Prevalence", "Baseline: each finding as often as in training."),
        "keywords": ("aimed.text.keywords:Keywords", "Baseline: a phrase of the finding occurs, denied or not."),
    },
)
"""Models that read notes by name; each takes the texts and returns a probability of each finding."""

_WHERE = {
    "Answer": "aimed.text.answers",
    "Lexicon": "aimed.text.lexicon",
    "ReportLabeller": "aimed.text.labeller",
    "ReportLabels": "aimed.text.labels",
    "extract": "aimed.text.answers",
    "extract_many": "aimed.text.answers",
    "label": "aimed.text.labeller",
    "label_noise": "aimed.metrics.label_noise",
    "label_stream": "aimed.text.stream",
    "load_lexicon": "aimed.text.lexicon",
}


def __getattr__(name: str) -> Any:
    # Kernels are compiled when they are first used, not when a catalogue is read.
    if name not in _WHERE:
        raise AttributeError(f"module 'aimed.text' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
