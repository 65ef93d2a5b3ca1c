"""Lexicons: the phrases of findings and the language of denial, doubt and history, read from TOML and checked strictly.

Two kinds of file, both under ``aimed/text/lexicons`` or at a path of the user's own.

**Of findings** (``chest-xray.toml``)::

    name = "chest-xray"
    version = "1.0.0"
    language = "english"            # the language file: a name or a path
    title = "Findings of chest radiographs"
    extends = "other-lexicon"       # optional: concepts and targets of another are taken over, those given here replace
    remove = ["concept", ...]       # optional, with extends

    [targets.chexpert]              # a set of labels, in order
    "Atelectasis" = ["atelectasis"] # concepts whose mentions count
    "No Finding" = { none_of = "all", but = ["Support Devices"], unless = ["other_finding"] }

    [conventions.nih]               # optional, for one set of labels
    certain = ["likely"]            # assertions of the language that cast no doubt here

    [concepts.atelectasis]
    title = "Atelectasis"
    phrases = ["atelecta*", "lobar collapse"]
    forms = ["(volume loss|collapse) ..3 (lobe|lobes|base|lung)"]
    not = ["vertebral collapse"]    # a mention that touches one of these is none
    needs = []                      # one of these must be in the sentence
    without = []                    # none of these may be in the sentence
    anatomy = ["heart size"]        # neutral: a mention only with a judgement in the same clause
    abnormal = ["enlarged"]         #   a judgement: positive (then denial and doubt apply to it)
    normal = ["within normal limits"]  # a judgement: negative
    reach = 8                       # most words between anatomy and judgement
    children = []                   # concepts whose positive and uncertain mentions count as this one too

**Of a language** (``english.toml``)::

    name = "english"
    version = "1.0.0"

    [assertions.negation]                   # any name; kinds are asked in the order of the value given below
    value = "negative"                      # "negative" or "uncertain", or instead of a value
    # context = "history"                   # "history", "resolved", "hypothetical" or "family"
    before = ["no evidence of"]             # stands before the finding
    after = ["is absent"]                   # stands after it
    pseudo = ["no change"]                  # looks like one and is none
    reach = 8                               # most words between a trigger and the finding; members of a list in
    reach_after = 5                         #   between count nothing: "no A, B or C" reaches all three
    both_ways = false                       # a phrase in both lists speaks of what follows it at once, if anything
                                            #   does; true: always of both sides, as "versus" does
    first = ["cannot be excluded"]          # of before and after: those that decide even where a negation holds too

    [scope]
    terminators = ["but", "however"]        # end every scope, and the clause; a semicolon always does
    conjunctions = ["and", "or", "nor"]     # a list goes on; a comma always does
    alternatives = ["or", "nor"]            # optional: conjunctions that make a comma list one of choices
    openers = ["mild", "stable"]            # optional: words that, after a comma or "and", open a statement of their
                                            #   own unless one of alternatives follows: "no effusion, small nodule"
                                            #   against "no effusion, large nodule or mass"; the words of severity
                                            #   where not given
    abbreviations = ["dr", "vs"]            # optional: a full stop after these ends no sentence

    [sections.findings]
    headings = ["findings", "report"]       # followed by a colon, alone on a line, or in capitals
    counts = true                           # mentions in it make labels

    [attributes.location]                   # value = phrases; likewise laterality, severity and change
    "lower lobe" = ["lower lobe", "lll"]
    [attributes.size]                       # mm, cm or inch = phrases; distance = longer ones that give no size
    mm = ["mm", "millimet*"]

An assertion is decided in this order: `first` doubt, negation, doubt; resolved counts as negative, and holds
before history; a context of history, hypothetical or family takes the mention out of the labels.

Phrases, in every list: words in any case; hyphen, slash and space are the same; a trailing ``*`` takes any ending;
``(a|b c|)`` alternatives, one of which may be empty; ``..3`` up to three words between, within the sentence. Of two
triggers, terminators or conjunctions that overlap the longer one holds, so "no change" hides "no". A word ``?`` is a
question mark that touches a word, as in "?pneumonia" and "pneumonia?".
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aimed.core.errors import DataError, UnknownNameError, nearest

__all__ = [
    "Assertion",
    "Attributes",
    "Concept",
    "Convention",
    "Language",
    "Lexicon",
    "NoneOf",
    "Scope",
    "Section",
    "lexicon_names",
    "load_lexicon",
]

_FOLDER = Path(__file__).with_name("lexicons")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Concept(_Strict):
    """What one finding is called, and what only looks like it."""

    title: str = ""
    phrases: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    not_: tuple[str, ...] = Field(default=(), alias="not")
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    anatomy: tuple[str, ...] = ()
    abnormal: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    reach: int = Field(default=8, ge=0, le=60)
    children: tuple[str, ...] = ()


class NoneOf(_Strict):
    """A label that holds when no other one does, such as "No Finding"."""

    none_of: Literal["all"] | tuple[str, ...] = "all"
    but: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


class Convention(_Strict):
    """How one set of labels departs from the language file."""

    certain: tuple[str, ...] = ()


class Assertion(_Strict):
    """Triggers of one kind of assertion, what they make of a mention, and how far they reach, in words."""

    value: Literal["negative", "uncertain"] | None = None
    context: Literal["history", "resolved", "hypothetical", "family"] | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    pseudo: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    reach: int = Field(default=8, ge=0, le=60)
    reach_after: int = Field(default=5, ge=0, le=60)
    both_ways: bool = False


class Scope(_Strict):
    """What ends a scope, and what makes a list go on."""

    terminators: tuple[str, ...] = ()
    conjunctions: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ("or", "nor", "and or")
    openers: tuple[str, ...] | None = None
    abbreviations: tuple[str, ...] = ("dr", "mr", "mrs", "ms", "prof", "vs", "approx", "st", "etc", "fig", "e g", "i e")


class Section(_Strict):
    """Headings of one part of a report, and whether its mentions make labels."""

    headings: tuple[str, ...]
    counts: bool = True


class Attributes(_Strict):
    """Words that say where, on which side, how much, how large and since when."""

    location: dict[str, tuple[str, ...]] = {}
    laterality: dict[str, tuple[str, ...]] = {}
    severity: dict[str, tuple[str, ...]] = {}
    change: dict[str, tuple[str, ...]] = {}
    size: dict[Literal["mm", "cm", "inch", "distance"], tuple[str, ...]] = {}


class Language(_Strict):
    """How a language denies, doubts, dates and describes findings."""

    name: str
    version: str
    language: str = ""
    title: str = ""
    assertions: dict[str, Assertion] = {}
    scope: Scope = Scope()
    sections: dict[str, Section] = {}
    attributes: Attributes = Attributes()


class Lexicon(_Strict):
    """Concepts, sets of labels made of them, and the language that reports are written in.

    Attributes
    ----------
    name, version, title : str
    language : Language
    targets : dict of str to dict
        Sets of labels; each label is a list of concepts or a `NoneOf`.
    conventions : dict of str to Convention
        Of sets of labels that have any.
    concepts : dict of str to Concept
    digest : str
        SHA-256 of the content with its language, in hexadecimal; two lexicons with one digest label alike.

    Examples
    --------
    >>> lexicon = load_lexicon("chest-xray")
    >>> lexicon.name, "Pneumothorax" in lexicon.targets["chexpert"]
    ('chest-xray', True)
    """

    name: str
    version: str
    title: str = ""
    language: Language
    targets: dict[str, dict[str, NoneOf | tuple[str, ...]]]
    conventions: dict[str, Convention] = {}
    concepts: dict[str, Concept]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        content = self.model_dump(mode="json", by_alias=True)
        # Order of labels is part of the content; the text form of a dict keeps it.
        return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()

    def labels(self, targets: str) -> dict[str, NoneOf | tuple[str, ...]]:
        """Labels of one set, in order.

        Raises
        ------
        UnknownNameError
            The lexicon has no such set.
        """
        if targets not in self.targets:
            raise UnknownNameError("set of labels", targets, self.targets)
        return self.targets[targets]


def lexicon_names() -> list[str]:
    """Names of the lexicons that come with the package.

    Examples
    --------
    >>> "chest-xray" in lexicon_names()
    True
    """
    return sorted(p.stem for p in _FOLDER.glob("*.toml") if "[concepts." in p.read_text(encoding="utf-8"))


def load_lexicon(name: str | Path | Lexicon = "chest-xray") -> Lexicon:
    """Read a lexicon by its name, or from a TOML file of the user's own.

    Parameters
    ----------
    name : str or Path or Lexicon
        A name of `lexicon_names`, or a path that ends in ``.toml``. A lexicon is handed back.

    Raises
    ------
    UnknownNameError
        No lexicon, concept, label or key of that name; the message gives the nearest one.
    DataError
        The file cannot be read, is not TOML, or a value is not of the form at the head of this module.

    Examples
    --------
    >>> load_lexicon("chest-xray").language.name
    'english'
    """
    if isinstance(name, Lexicon):
        return name
    path = _find(name, "lexicon")
    return _load(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _load(path: str, changed: int) -> Lexicon:
    raw = _merged(Path(path), "lexicon", _merge_lexicons, ())
    if not isinstance(raw.get("language"), str):
        raise DataError(f"the lexicon {Path(path).name} names no language", 'a line such as language = "english"', "")
    beside = Path(path).parent / f"{raw['language']}.toml"
    source = beside if beside.is_file() else _find(raw["language"], "language")
    language = _checked(Language, _merged(source, "language", _merge_languages, ()), source)
    _check_assertions(language, source)
    lexicon: Lexicon = _checked(Lexicon, {**raw, "language": language}, Path(path))
    _check_names(lexicon)
    return lexicon


def _find(name: str | Path, kind: str) -> Path:
    text = str(name)
    if text.endswith(".toml"):
        path = Path(text)
        if not path.is_file():
            raise DataError(f"no {kind} at the path {path.name}", "a TOML file", "check the path")
        return path
    path = _FOLDER / f"{text}.toml"
    if Path(text).name != text or not path.is_file():
        known = lexicon_names() if kind == "lexicon" else [p.stem for p in _FOLDER.glob("*.toml")]
        raise UnknownNameError(kind, text, known)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file {path.name} cannot be read", "a TOML file in UTF-8", "check the file") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the file {path.name} is not TOML: {error}", "valid TOML", "mend that line") from error


def _merged(path: Path, kind: str, merge: Any, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Content of a file on top of the files that it extends."""
    if path.resolve() in seen:
        raise DataError(f"the {kind} {path.name} extends itself", "a chain that ends", "take out one extends")
    raw = _read(path)
    parent = raw.pop("extends", None)
    remove = raw.pop("remove", [])
    if parent is None:
        if remove:
            raise DataError(f"{path.name} removes concepts but extends nothing", "remove together with extends", "")
        return raw
    if not isinstance(parent, str) or not isinstance(remove, list):
        raise DataError(f"extends or remove of {path.name} is not right", 'extends = "name", remove = ["name"]', "")
    beside = path.parent / parent
    source = beside if parent.endswith(".toml") and beside.is_file() else _find(parent, kind)
    base = _merged(source, kind, merge, (*seen, path.resolve()))
    merged: dict[str, Any] = merge(base, raw, remove)
    return merged


def _merge_lexicons(base: dict[str, Any], own: dict[str, Any], remove: list[str]) -> dict[str, Any]:
    concepts = dict(base.get("concepts", {}))
    for name in remove:
        if name not in concepts:
            raise UnknownNameError("concept", str(name), concepts)
        del concepts[name]
    targets: dict[str, Any] = {}
    gone = set(remove) - set(own.get("concepts", {}))
    for group, labels in base.get("targets", {}).items():
        kept: dict[str, Any] = {}
        for label, made_of in labels.items():
            if isinstance(made_of, dict):
                kept[label] = {k: [n for n in v if n not in gone] if k == "unless" else v for k, v in made_of.items()}
            elif left := [n for n in made_of if n not in gone]:
                kept[label] = left
        for made_of in kept.values():
            if isinstance(made_of, dict):
                made_of["but"] = [n for n in made_of.get("but", []) if n in kept]
        targets[group] = kept
    for concept in concepts:
        if gone & set(concepts[concept].get("children", [])):
            children = [n for n in concepts[concept]["children"] if n not in gone]
            concepts[concept] = {**concepts[concept], "children": children}
    for group, labels in own.get("targets", {}).items():
        targets[group] = {**targets.get(group, {}), **labels}
    return {**base, **own, "concepts": {**concepts, **own.get("concepts", {})}, "targets": targets}


def _merge_languages(base: dict[str, Any], own: dict[str, Any], remove: list[str]) -> dict[str, Any]:
    """Lists grow, tables are merged, all else is replaced."""
    out = dict(base)
    for key, value in own.items():
        if isinstance(value, list) and isinstance(base.get(key), list):
            out[key] = [v for v in base[key] if v not in remove] + value
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            out[key] = _merge_languages(base[key], value, remove)
        else:
            out[key] = value
    return out


def _checked(form: Any, raw: dict[str, Any], path: Path) -> Any:
    try:
        return form.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = [str(p) for p in first["loc"]]
        if first["type"] == "extra_forbidden":
            known = _keys_at(form, where[:-1])
            close = nearest(where[-1], known)
            do = f"did you mean '{close}'?" if close else f"take one of: {', '.join(sorted(known))}"
            raise DataError(f"{path.name} has an unknown key '{'.'.join(where)}'", "a key of the form", do) from None
        raise DataError(
            f"{path.name}: '{'.'.join(where)}' is not right: {first['msg']}", "the form in aimed.text.lexicon", ""
        ) from None


def _keys_at(form: Any, where: list[str]) -> list[str]:
    """Keys that the form knows at a place."""
    inner = {"concepts": Concept, "targets": NoneOf, "sections": Section, "assertions": Assertion}
    inner["conventions"] = Convention
    inner.update({"scope": Scope, "attributes": Attributes})
    if where:
        form = inner.get(where[0], form)
    keys = [field.alias or name for name, field in form.model_fields.items()]
    return [*keys, "extends", "remove"] if not where else keys


def _check_assertions(language: Language, path: Path) -> None:
    for name, one in language.assertions.items():
        if (one.value is None) == (one.context is None):
            raise DataError(f"{path.name}: assertion '{name}' has both or neither", "either value or context", "")
        for phrase in one.first:
            if phrase not in one.before and phrase not in one.after:
                raise UnknownNameError("trigger", phrase, {*one.before, *one.after})


def _check_names(lexicon: Lexicon) -> None:
    for name, concept in lexicon.concepts.items():
        for child in concept.children:
            _known("concept", child, lexicon.concepts)
        judged = concept.anatomy and (concept.abnormal or concept.normal)
        if not (concept.phrases or concept.forms or concept.children or judged):
            raise DataError(
                f"the concept '{name}' has nothing to find",
                "phrases, forms, children, or anatomy with abnormal or normal",
                "add a phrase, or take the concept out",
            )
    for labels in lexicon.targets.values():
        for made_of in labels.values():
            if isinstance(made_of, NoneOf):
                for label in (*made_of.but, *(made_of.none_of if made_of.none_of != "all" else ())):
                    _known("label", label, labels)
                for name in made_of.unless:
                    _known("concept", name, lexicon.concepts)
            else:
                for name in made_of:
                    _known("concept", name, lexicon.concepts)
    for targets, convention in lexicon.conventions.items():
        _known("set of labels", targets, lexicon.targets)
        for name in convention.certain:
            _known("assertion", name, lexicon.language.assertions)


def _known(kind: str, name: str, known: Any) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)
