"""The report labeller: findings of many notes in one compiled pass, each with the words that decided."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aimed.core.errors import DataError, UnknownNameError
from aimed.readers.note_text import clean_note
from aimed.text.automaton import FOLD, Automaton, compile_phrases, expand
from aimed.text.kernels.assertion import judge
from aimed.text.kernels.words import find_phrases, read_words
from aimed.text.labels import Columns, ReportLabels, Vocabulary
from aimed.text.lexicon import Lexicon, NoneOf, load_lexicon

__all__ = ["ReportLabeller", "label"]

# Notes of one pass: small enough for their words to stay in the processor's cache.
_NOTES = 2048
_CHARACTERS = 1 << 20

_MENTION, _NOT, _NEEDS, _WITHOUT, _ANATOMY, _ABNORMAL, _NORMAL, _BEFORE, _AFTER = range(1, 10)
_PSEUDO, _TERMINATOR, _CONJUNCTION, _ALTERNATIVE, _OPENER, _ATTRIBUTE, _UNIT, _HEADING = range(10, 18)
_EFFECTS = {"negative": 1, "uncertain": 2, "resolved": 3, "history": 4, "hypothetical": 5, "family": 6}
_KINDS = ("location", "laterality", "severity", "change")
_UNITS = {"mm": 1.0, "cm": 10.0, "inch": 25.4, "distance": 0.0}


def _hole(error: UnicodeError) -> tuple[bytes, int]:
    # One byte a character, so that positions hold; the byte belongs to no word.
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return b"\x01" * (error.end - error.start), error.end


codecs.register_error("aimed.hole", _hole)


class _Phrases:
    """Phrases of a lexicon with what each is for."""

    def __init__(self) -> None:
        self.rows: list[tuple[list[tuple[str | int, ...]], int]] = []
        self.kind: list[int] = []
        self.owner: list[int] = []
        self.extra: list[int] = []
        self.reach: list[int] = []
        self.scale: list[float] = []
        self.rules: list[str] = []

    def add(
        self, phrase: str, rule: str, kind: int, owner: int = 0, extra: int = 0, reach: int = 0, scale: float = 0.0
    ) -> None:
        if phrase.strip() in (",", ";"):
            # What these do is built in.
            return
        self.rows.append((expand(phrase), len(self.kind)))
        self.kind.append(kind)
        self.owner.append(owner)
        self.extra.append(extra)
        self.reach.append(reach)
        self.scale.append(scale)
        self.rules.append(f"{rule}: {phrase}")


class _Block(NamedTuple):
    seen: NDArray[np.uint8]
    rows: NDArray[np.int32]
    sizes: NDArray[np.float32]


class ReportLabeller:
    """Labels reports by the phrases of a lexicon and the language around them.

    Does not change once made; one labeller may serve many threads.

    Parameters
    ----------
    lexicon : str or Path or Lexicon
        A lexicon's name, or the path of a TOML file; see `aimed.text.lexicon`.
    targets : str
        A set of labels of the lexicon, such as "chexpert" or "nih".
    sections : sequence of str, optional
        Sections whose mentions make labels; by default those that the language file counts, and text under no heading.
        A report without any heading is read whole.

    Examples
    --------
    >>> labeller = ReportLabeller()
    >>> found = labeller.label(["Heart size is normal. Possible small left effusion.", ""])
    >>> found.value(0, "Cardiomegaly"), found.value(0, "Pleural Effusion"), found.refusals
    (0.0, -1.0, ('', 'empty'))
    """

    def __init__(
        self,
        lexicon: Any = "chest-xray",
        targets: str = "chexpert",
        sections: Iterable[str] | None = None,
    ) -> None:
        self.lexicon: Lexicon = load_lexicon(lexicon)
        made_of = self.lexicon.labels(targets)
        self.targets = tuple(made_of)
        self.name = targets
        self._compile(made_of, None if sections is None else tuple(sections))

    def _compile(self, made_of: dict[str, NoneOf | tuple[str, ...]], sections: tuple[str, ...] | None) -> None:
        lexicon, language = self.lexicon, self.lexicon.language
        concepts = tuple(lexicon.concepts)
        at = {name: i for i, name in enumerate(concepts)}
        of_concept: list[dict[int, int]] = [{} for _ in concepts]
        unless: dict[int, list[int]] = {}
        self._none_of: list[tuple[int, list[int], list[int]]] = []
        hidden = 0
        for k, (label_name, rule) in enumerate(made_of.items()):
            if isinstance(rule, NoneOf):
                others = [
                    i
                    for i, name in enumerate(self.targets)
                    if name != label_name
                    and name not in rule.but
                    and not isinstance(made_of[name], NoneOf)
                    and (rule.none_of == "all" or name in rule.none_of)
                ]
                columns = []
                for name in rule.unless:
                    for c in (at[name], *self._below(at[name], concepts)):
                        unless.setdefault(c, []).append(len(self.targets) + hidden)
                    columns.append(len(self.targets) + hidden)
                    hidden += 1
                self._none_of.append((k, others, columns))
                continue
            for name in rule:
                of_concept[at[name]][k] = 0
            for name in rule:
                for c in self._below(at[name], concepts):
                    of_concept[c].setdefault(k, 1)
        self._n_columns = len(self.targets) + hidden
        links = [[*of_concept[c].items(), *((k, 1) for k in unless.get(c, []))] for c in range(len(concepts))]
        self._target_from = np.zeros(len(concepts) + 1, dtype=np.int32)
        np.cumsum([len(row) for row in links], out=self._target_from[1:])
        self._target = np.array([k for row in links for k, _ in row] or [0], dtype=np.int32)
        self._weak = np.array([w for row in links for _, w in row] or [0], dtype=np.uint8)
        phrases = _Phrases()
        self._concept_reach = np.array([c.reach for c in lexicon.concepts.values()], dtype=np.int32)
        self._concept_needs = np.array([bool(c.needs) for c in lexicon.concepts.values()], dtype=np.uint8)
        for i, (name, concept) in enumerate(lexicon.concepts.items()):
            if not links[i]:
                # Of no label asked for: nothing to find.
                continue
            lists = {
                _MENTION: (*concept.phrases, *concept.forms),
                _NOT: concept.not_,
                _NEEDS: concept.needs,
                _WITHOUT: concept.without,
                _ANATOMY: concept.anatomy,
                _ABNORMAL: concept.abnormal,
                _NORMAL: concept.normal,
            }
            called = {_ABNORMAL: "abnormal", _NORMAL: "normal"}
            for kind, listed in lists.items():
                for phrase in listed:
                    phrases.add(phrase, called.get(kind, name), kind, i)
        convention = lexicon.conventions.get(self.name)
        for name, one in language.assertions.items():
            if convention is not None and name in convention.certain:
                # Casts no doubt here, and still hides shorter triggers within.
                for phrase in {**dict.fromkeys(one.before), **dict.fromkeys(one.after), **dict.fromkeys(one.pseudo)}:
                    phrases.add(phrase, f"no {name}", _PSEUDO)
                continue
            both = set() if one.both_ways else {*one.before} & {*one.after}
            effect = _EFFECTS[one.value or one.context or "negative"]
            for phrase in one.before:
                first = 0 if phrase in one.first else effect
                phrases.add(phrase, f"{name} before", _BEFORE, first, 0, one.reach)
            for phrase in one.after:
                first = 0 if phrase in one.first else effect
                phrases.add(phrase, f"{name} after", _AFTER, first, int(phrase in both), one.reach_after)
            for phrase in one.pseudo:
                phrases.add(phrase, f"no {name}", _PSEUDO)
        scope = language.scope
        for phrase in scope.terminators:
            phrases.add(phrase, "terminator", _TERMINATOR)
        for phrase in scope.conjunctions:
            phrases.add(phrase, "conjunction", _ALTERNATIVE if phrase in scope.alternatives else _CONJUNCTION)
        attributes = language.attributes
        openers = scope.openers
        if openers is None:
            openers = tuple(p for listed in attributes.severity.values() for p in listed)
        for phrase in openers:
            phrases.add(phrase, "opener", _OPENER)
        for i, kind_name in enumerate(_KINDS):
            for j, (value, listed) in enumerate(getattr(attributes, kind_name).items()):
                for phrase in listed:
                    phrases.add(phrase, f"{kind_name} {value}", _ATTRIBUTE, i, j)
        for unit, listed in attributes.size.items():
            for phrase in listed:
                phrases.add(phrase, "size", _UNIT, scale=_UNITS[unit])
        for i, (name, section) in enumerate(language.sections.items()):
            for phrase in section.headings:
                phrases.add(phrase, f"section {name}", _HEADING, i)
        for i, phrase in enumerate(scope.abbreviations):
            phrases.add(phrase, "abbreviation", 0, i)
        self._automaton: Automaton = compile_phrases(phrases.rows)
        self._kind = np.array(phrases.kind, dtype=np.int32)
        self._owner = np.array(phrases.owner, dtype=np.int32)
        self._extra = np.array(phrases.extra, dtype=np.int32)
        self._reach = np.array(phrases.reach, dtype=np.int32)
        self._scale = np.array(phrases.scale, dtype=np.float32)
        self._heading = np.where(self._kind == _HEADING, self._owner, -1).astype(np.int32)
        self._short = np.zeros(self._automaton.n_classes, dtype=np.uint8)
        for phrase in scope.abbreviations:
            for row in expand(phrase):
                if len(row) == 1 and row[0] in self._automaton.words:
                    self._short[self._automaton.words[str(row[0])]] = 1
        names = tuple(language.sections)
        if sections is None:
            counts = [1, *(int(section.counts) for section in language.sections.values())]
        else:
            for name in sections:
                if name and name not in names:
                    raise UnknownNameError("section", name, names)
            counts = [int("" in sections), *(int(name in sections) for name in names)]
        self._counts = np.array(counts, dtype=np.uint8)
        self._vocabulary = Vocabulary(
            targets=self.targets,
            concepts=concepts,
            sections=names,
            rules=_distinct(phrases.rules),
            attributes=(
                tuple(attributes.location),
                tuple(attributes.laterality),
                tuple(attributes.severity),
                tuple(attributes.change),
            ),
        )
        rule_at = {rule: i for i, rule in enumerate(self._vocabulary.rules)}
        self._rule = np.array([rule_at[rule] for rule in phrases.rules] + [-1], dtype=np.int32)

    def _below(self, concept: int, concepts: tuple[str, ...]) -> list[int]:
        """Children of a concept, theirs too."""
        at = {name: i for i, name in enumerate(concepts)}
        out: list[int] = []
        todo = [concept]
        while todo:
            for name in self.lexicon.concepts[concepts[todo.pop()]].children:
                if at[name] not in out and at[name] != concept:
                    out.append(at[name])
                    todo.append(at[name])
        return out

    def label(
        self, notes: Sequence[str] | pl.Series, progress: Callable[[float, str], object] | None = None
    ) -> ReportLabels:
        """Label reports.

        Parameters
        ----------
        notes : sequence of str or polars Series
            Places in the evidence count characters of a note as `aimed.readers.note_text.clean_note` leaves it, which
            is the note itself unless it holds markup, NUL bytes or the like. None counts as an empty note.
        progress : callable, optional
            ``progress(share, text)``.
        """
        if isinstance(notes, (str, bytes)) or not isinstance(notes, Iterable):
            # The letters of one note would be as many reports.
            raise DataError(f"notes given as {type(notes).__name__}", "a list of str", "use label_one for one note")
        given: list[Any] = notes.to_list() if isinstance(notes, pl.Series) else list(notes)
        n = len(given)
        refusals = [""] * n
        flags: list[tuple[str, ...]] = [()] * n
        blocks: list[tuple[int, _Block]] = []
        texts: list[str] = []
        begin, characters = 0, 0
        for i, raw in enumerate(given):
            if raw is None:
                raw = ""
            elif not isinstance(raw, (str, bytes)):
                raise DataError(f"note {i + 1} is not text but {type(raw).__name__}", "str", "read notes as text")
            note = clean_note(raw)
            if note.flags:
                flags[i] = tuple(note.flags)
            if note.refusal:
                refusals[i] = note.refusal
                texts.append("")
            else:
                texts.append(note.text)
                characters += len(note.text)
            if len(texts) == _NOTES or characters >= _CHARACTERS or i == n - 1:
                blocks.append((begin, self._read(texts)))
                begin, characters, texts = i + 1, 0, []
                if progress is not None:
                    progress((i + 1) / n, f"{i + 1:,} of {n:,} reports")
        return self._assemble(blocks, refusals, flags)

    def label_one(self, note: str) -> ReportLabels:
        """Label one report.

        Examples
        --------
        >>> ReportLabeller().label_one("No pneumothorax.").value(0, "Pneumothorax")
        0.0
        """
        return self.label([note])

    def _read(self, texts: list[str]) -> _Block:
        a = self._automaton
        joined = "\n".join(texts)
        text = np.frombuffer(joined.encode("cp1252", "aimed.hole") + b"\n", dtype=np.uint8)
        bounds = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(t) + 1 for t in texts], out=bounds[1:])
        size = len(text) + 1
        start, stop, word = (np.empty(size, dtype=np.int32) for _ in range(3))
        gap, flag = np.empty(size, dtype=np.uint8), np.empty(size, dtype=np.uint8)
        value = np.empty(size, dtype=np.float32)
        first = np.zeros(len(texts) + 1, dtype=np.int64)
        n_words = read_words(
            text, bounds, FOLD, a.tree, a.class_at_end, a.class_beyond, self._short, a.question,
            start, stop, word, gap, flag, value, first,
        )  # fmt: skip
        section = np.full(n_words + 1, -1, dtype=np.int32)
        found_first = np.zeros(len(texts) + 1, dtype=np.int64)
        room = 3 * n_words + 1024
        while True:
            found_start, found_stop, found = (np.empty(room, dtype=np.int32) for _ in range(3))
            n_found = find_phrases(
                first, word, gap, flag, a.root, a.edge_from, a.edge_class, a.edge_to, a.gap_from, a.gap_words, a.gap_to,
                a.accept_from, a.accept, self._heading, section, found_start, found_stop, found, found_first,
            )  # fmt: skip
            if n_found >= 0:
                break
            room *= 4
        seen = np.zeros((len(texts), self._n_columns + 1), dtype=np.uint8)
        rows = np.empty((n_found + 1, 17), dtype=np.int32)
        sizes = np.empty(n_found + 1, dtype=np.float32)
        n = judge(
            start, stop, gap, flag, value, section, first, found_start, found_stop, found, found_first,
            self._kind, self._owner, self._extra, self._reach, self._scale, self._concept_reach, self._concept_needs,
            self._target_from, self._target, self._weak, self._counts, seen, rows, sizes,
        )  # fmt: skip
        rows = rows[:n]
        # Places within each note, not within all of them.
        begin = bounds[rows[:, 0]].astype(np.int32)
        for column in (2, 3, 4, 5):
            rows[:, column] -= begin
        there = rows[:, 9] >= 0
        rows[there, 9] -= begin[there]
        rows[there, 10] -= begin[there]
        rows[:, 11] = self._rule[rows[:, 11]]
        return _Block(seen, rows, sizes[:n])

    def _assemble(
        self, blocks: list[tuple[int, _Block]], refusals: list[str], flags: list[tuple[str, ...]]
    ) -> ReportLabels:
        k = len(self.targets)
        seen = (
            np.concatenate([b.seen for _, b in blocks])
            if blocks
            else np.zeros((0, self._n_columns + 1), dtype=np.uint8)
        )
        rows = np.concatenate([b.rows for _, b in blocks]) if blocks else np.zeros((0, 17), dtype=np.int32)
        sizes = np.concatenate([b.sizes for _, b in blocks]) if blocks else np.zeros(0, dtype=np.float32)
        report = (
            np.concatenate([b.rows[:, 0].astype(np.int64) + begin for begin, b in blocks])
            if blocks
            else np.zeros(0, dtype=np.int64)
        )
        # Any positive, else any uncertain, else any negative, else not mentioned.
        value_of = np.array([np.nan, 1, -1, 1, 0, 1, -1, 1])
        values = value_of[seen[:, :k]]
        for column, others, unless in self._none_of:
            against = ((seen[:, others] & 3) != 0).any(axis=1) | ((seen[:, unless] & 3) != 0).any(axis=1)
            # Of a report of which no section counts nothing is known.
            values[:, column] = np.where(against | (seen[:, -1] == 0), np.nan, 1.0)
        refused = np.array([bool(r) for r in refusals], dtype=bool)
        values[refused] = np.nan
        # A mention has a row for each label that it counts for.
        concept = rows[:, 1]
        each = self._target_from[concept + 1] - self._target_from[concept]
        index = np.repeat(np.arange(len(rows)), each)
        offset = np.arange(len(index)) - np.repeat(np.cumsum(each) - each, each)
        link = self._target_from[concept[index]] + offset
        target, weak = self._target[link], self._weak[link]
        rows, sizes, report = rows[index], sizes[index], report[index]
        hidden = target >= k
        target = np.where(hidden, k, target).astype(np.int32)
        says = rows[:, 7]
        counted = (rows[:, 16] == 1) & ((rows[:, 8] == 0) | (rows[:, 8] == 2)) & ((weak == 0) | (says != 0))
        decided = counted & ~hidden
        decided[decided] = values[report[decided], target[decided]] == says[decided]
        lexicon = f"{self.lexicon.name} {self.lexicon.version} {self.lexicon.digest[:12]}"
        return ReportLabels(
            targets=self.targets,
            values=values,
            refusals=tuple(refusals),
            flags=tuple(flags),
            lexicon=lexicon,
            columns=Columns(report, target, rows, sizes, decided),
            vocabulary=self._vocabulary,
        )


def _distinct(rules: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rules))


def label(
    notes: Sequence[str] | pl.Series,
    lexicon: Any = "chest-xray",
    targets: str = "chexpert",
    progress: Callable[[float, str], object] | None = None,
) -> ReportLabels:
    """Label reports with a lexicon in one call.

    Examples
    --------
    >>> label(["Mild cardiomegaly. No effusion."]).to_frame()["Cardiomegaly"].to_list()
    [1]
    """
    return ReportLabeller(lexicon, targets).label(notes, progress)
