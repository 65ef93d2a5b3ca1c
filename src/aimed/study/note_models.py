"""Which models a study of notes names: readers from the catalogue, built with what the study file says."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from aimed.core import StudyFileError
from aimed.study.notes import lexicon_path, notes_part
from aimed.study.spec import StudySpec
from aimed.study.tasks import task_of
from aimed.text import TEXT_MODELS

__all__ = [
    "BASELINES",
    "RANK",
    "TITLES",
    "build_reader",
    "doubt_as_present",
    "lexicon_digest",
    "lexicon_of",
    "note_models_of",
    "require_readers",
]

TITLES = {
    "lexicon": "Lexicon with assertion rules",
    "words": "Words and word pairs",
    "encoder": "Recurrent network",
    "combined": "Words and lexicon together",
    "prevalence": "Prevalence",
    "keywords": "Keywords without assertion",
}
"""The names shown to people."""

RANK = {"lexicon": 0, "words": 1, "combined": 2, "encoder": 3}
"""From simple to less simple; the simplest that is as good as the best is chosen."""

BASELINES = ("prevalence", "keywords")
"""What stands beside a reader: how common a finding is, and whether a phrase of it occurs, denied or not."""


def note_models_of(spec: StudySpec) -> tuple[list[str], list[str]]:
    """Return the names of candidates and baselines; the task's own when the study file names none.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    StudyFileError
        If a baseline stands among the candidates, or the other way about, or a parameter is none of the model's.
    """
    task = task_of(spec)
    candidates = list(spec.model.candidates or task.candidates)
    baselines = list(spec.model.baselines or task.baselines)
    for name in (*candidates, *baselines):
        TEXT_MODELS.entry(name)
    for name in candidates:
        if name not in RANK:
            raise StudyFileError(f"'{name}' is a candidate", f"one of: {', '.join(RANK)}", "move it to baselines")
    for name in baselines:
        if name not in BASELINES:
            raise StudyFileError(f"the baseline '{name}' in a study of notes", f"one of: {', '.join(BASELINES)}")
    return candidates, baselines


def lexicon_of(spec: StudySpec) -> str:
    """Return the lexicon of a study: the name of a shipped one, or the path of a file beside the study file."""
    return lexicon_path(spec, notes_part(spec))


def build_reader(spec: StudySpec, name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """Return an unfitted reader; one that reads with the lexicon gets that of the study.

    Raises
    ------
    StudyFileError
        If the model has no such parameter.
    """
    part, model = notes_part(spec), TEXT_MODELS[name]
    known = inspect.signature(model).parameters
    shared = {"lexicon": lexicon_of(spec), "targets": part.targets, "names": dict(part.names)}
    given = dict(spec.model.parameters.get(name, {}) if parameters is None else parameters)
    own = [key for key in known if key not in shared]
    for key in given:
        if key not in own:
            raise StudyFileError(
                f"[model] parameters.{name} names '{key}'",
                f"one of: {', '.join(own)}" if own else "nothing: this model has no parameters",
                "correct it",
            )
    return model(**{key: value for key, value in shared.items() if key in known}, **given)


def require_readers(spec: StudySpec) -> None:
    """Build every model and open the lexicon, so that nothing of it stops a run half way.

    Raises
    ------
    RefusedError
        If the lexicon is not there.
    StudyFileError
        If it knows no target for a finding: whatever reads the notes, what they deny is told by the lexicon.
    UnknownNameError
        If it has no such set of labels.
    """
    from aimed.text.lexicon import load_lexicon
    from aimed.text.lexicon_verdicts import target_of_each

    part = notes_part(spec)
    candidates, baselines = note_models_of(spec)
    for name in (*candidates, *baselines):
        build_reader(spec, name)
    target_of_each(spec.outcome.findings, list(load_lexicon(lexicon_of(spec)).labels(part.targets)), part.names)


def lexicon_digest(spec: StudySpec) -> str:
    """Return a hash that changes when the lexicon of a study does."""
    from aimed.text.lexicon import load_lexicon

    return load_lexicon(lexicon_of(spec)).digest


def doubt_as_present(spec: StudySpec) -> tuple[str, ...]:
    """Return the kinds of doubt that the study's set of labels counts as present, such as "likely"."""
    from aimed.text.lexicon import load_lexicon

    convention = load_lexicon(lexicon_of(spec)).conventions.get(notes_part(spec).targets)
    return () if convention is None else convention.certain
