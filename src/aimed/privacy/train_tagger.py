"""Training of the tagger: examples with marked identifiers in, a small file of weights out, the same bits each time."""

from __future__ import annotations

import calendar
import hashlib
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import DataError, MissingExtraError
from aimed.privacy.gazetteers import NATIONS, Gazetteer, build_gazetteer, faker_lists
from aimed.privacy.kernels import tagging
from aimed.privacy.tagger import MODEL, Tagger, features_of
from aimed.privacy.tokens import Tokens, fold_word, tokenize

__all__ = [
    "Example",
    "choose_threshold",
    "covered",
    "fit_chain",
    "letters",
    "made_values",
    "pools_of",
    "shipped_examples",
    "shipped_tagger",
    "token_tags",
    "varied",
]

_LETTERS = Path(__file__).parent / "models" / "letters.txt"
RuleCodes = Callable[[str, Tokens], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Example:
    """A text whose identifiers are known.

    Attributes
    ----------
    text : str
    spans : tuple of (int, int, str)
        Start, end and tag of each identifier.
    group : str
        Texts of one template share a group, so that none is on both sides of a split.
    """

    text: str = field(repr=False)
    spans: tuple[tuple[int, int, str], ...] = field(repr=False)
    group: str = ""


def token_tags(tokens: Tokens, spans: Sequence[tuple[int, int, str]], labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return the tag of each token: that of the span that overlaps it, 0 where there is none."""
    out = np.zeros(len(tokens), np.uint8)
    for start, end, name in spans:
        out[(tokens.start < end) & (tokens.stop > start)] = labels.index(name)
    return out


def pools_of(examples: Sequence[Example]) -> dict[str, list[str]]:
    """Return the values of each tag that stand in examples, in order and without repeats."""
    out: dict[str, dict[str, None]] = {}
    for e in examples:
        for start, end, name in e.spans:
            out.setdefault(name, {})[e.text[start:end]] = None
    return {name: list(values) for name, values in sorted(out.items())}


def made_values(seed: int, count: int = 3000) -> dict[str, list[str]]:
    """Return names, places and firms put together from Faker's lists, in the forms that people write them.

    Raises
    ------
    MissingExtraError
        Faker is not installed.
    """
    rng = np.random.default_rng(seed)
    # Each word once, as a list of one locale repeats common names; other scripts stay, but do not rule.
    lists = {
        name: sorted({v for v in values if 1 < len(v) < 40 and (v[0] < "\u0250" or rng.random() < 0.15)})
        for name, values in sorted(faker_lists().items())
    }

    def one(name: str) -> str:
        values = lists[name]
        return values[int(rng.integers(len(values)))]

    def pick(*forms: str) -> str:
        form = forms[int(rng.integers(len(forms)))]
        out = form
        while (a := out.find("{")) >= 0:
            key = out[a + 1 : out.index("}", a)]
            value = chr(65 + int(rng.integers(26))) if key == "letter" else one(key)
            out = out[:a] + value.replace("{", "").replace("}", "") + out[a + len(key) + 2 :]
        return "".join(str(rng.integers(10)) if c == "#" else c for c in out)

    people = (
        "{first_name} {last_name}",
        "{first_name}",
        "{last_name}",
        "{first_name} {letter}. {last_name}",
        "{first_name} {last_name}",
        "{first_name} {letter} {last_name}",
        "{last_name}, {first_name}",
        "{first_name} {last_name}-{last_name}",
        "{letter}. {last_name}",
        "{first_name} {first_name} {last_name}",
    )
    firms = (
        "{last_name}, {last_name} and {last_name}",
        "{last_name}-{last_name}",
        "{last_name} {company}",
        "{last_name} Inc.",
        "{last_name} & {last_name}",
        "{city} {company}",
        "{last_name} Inc",
        "{last_name} Corp.",
        "{letter}.{letter}. {last_name}",
        "{city} Group",
        "{company}",
        "{city} Hospital",
        "{last_name} Clinic",
        "{letter}{letter}{letter} {last_name} Corporation",
    )
    streets = (
        "### {last_name} {street}",
        "{street} {last_name} ##",
        "#### {last_name} {street} Apt. ###",
        "{city} ##",
        "### {last_name} {street}, {city}, {country}",
        "## {last_name} {street} Suite ###\n{city}\n{country} #####",
        "#### {last_name} {street}\n{city}, {letter}{letter} #####",
        "{last_name} {street}",
        "#####",
        "{street} ###",
        "PO Box ###, {city}",
        "## {street}, #### {city}",
        "{last_name} {street} ##\n#### {city}",
    )
    months = calendar.month_name[1:]
    days = list(calendar.day_name)

    def date() -> str:
        year, month, day = int(rng.integers(1920, 2030)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
        word, week = months[month - 1], days[day % 7]
        forms = (
            f"{year}",
            f"{year}",
            f"{day}/{month}/{year}",
            f"{month}/{day}/{year % 100:02}",
            f"{year}-{month:02}-{day:02}",
            week,
            f"{word} {day}, {year}",
            f"{day} {word} {year}",
            f"{word} {year}",
            f"{day:02}.{month:02}.{year}",
            f"{week}, {word} {day}",
            f"{year}-{month:02}-{day:02} {day:02}:{month:02}:{day:02}",
        )
        return forms[int(rng.integers(len(forms)))]

    def web() -> str:
        name, firm = fold_word(one("first_name")).replace(" ", ""), fold_word(one("last_name")).replace(" ", "")
        end = ("com", "org", "net", "de", "co.uk", "com.br", "fr", "info")[int(rng.integers(8))]
        forms = (
            f"{name}.{firm}@{firm}.{end}",
            f"{name}@{firm}.{end}",
            f"{name.title()}{firm.title()}@mail.{end}",
            f"www.{firm}.{end}",
            f"https://www.{firm.title()}.{end}/",
            f"http://{firm}.{end}",
        )
        return forms[int(rng.integers(len(forms)))]

    def digits(*forms: str) -> str:
        form = forms[int(rng.integers(len(forms)))]
        return "".join(
            str(rng.integers(10)) if c == "#" else "0123456789abcdef"[rng.integers(16)] if c == "x" else c for c in form
        )

    tel = (
        "###-###-####",
        "(###) ###-####",
        "+## ## ### ## ##",
        "0#### ######",
        "## ## ## ##",
        "#### ####",
        "+1-###-###-####",
        "### ### ###",
        "##########",
        "+## (0)## ### ## ##",
        "(##) ####-####",
        "###.###.####",
        "0## ### ## ##",
    )
    nations = NATIONS.split()
    num = (
        "################",
        "###############",
        "#### #### #### ####",
        "###-##-####",
        "##.##.##.##",
        "###.##.###.#",
        "GB##ABCD##############",
        "DE####################",
        "xxxx:xxxx:xxxx:xxxx:xxxx:xxx:xxxx:xxxx",
        "###########",
        "####-##-####",
        "A#######",
        "##############",
    )
    return {
        "date": [date() for _ in range(count)],
        "web": [web() for _ in range(count)],
        "tel": [digits(*tel) for _ in range(count)],
        "num": [digits(*num) for _ in range(count)],
        "age": [str(rng.integers(1, 104)) for _ in range(count // 4)],
        "nrp": [nations[int(rng.integers(len(nations)))].title() for _ in range(count // 4)],
        "name": [pick(*people) for _ in range(count)],
        "org": [pick(*firms) for _ in range(count)],
        "gpe": [pick("{city}", "{city}", "{city}", "{country}", "{state}") for _ in range(count)],
        "geo": [pick(*streets) for _ in range(count)],
        "title": [pick("{job}", "Dr.", "Mr.", "Mrs.", "Ms.") for _ in range(count // 4)],
    }


def letters(values: dict[str, list[str]], copies: int, seed: int) -> list[Example]:
    """Return everyday letters, headings and conversations of this package's own, with values put into their slots.

    Parameters
    ----------
    values : dict of lists of str
        Values by tag.
    copies : int
        How often each text is filled.
    seed : int
    """
    rng = np.random.default_rng(seed)
    out = []
    for number, line in enumerate(_LETTERS.read_text(encoding="ascii").splitlines()):
        parts = re.split(r"\{(\w+)\}", line.replace("\\n", "\n"))
        for _ in range(copies):
            text = parts[0]
            spans = []
            for tag, after in zip(parts[1::2], parts[2::2], strict=True):
                value = values[tag][int(rng.integers(len(values[tag])))]
                spans.append((len(text), len(text) + len(value), tag))
                text += value + after
            out.append(Example(text, tuple(spans), f"letter {number}"))
    return out


def varied(example: Example, pools: dict[str, list[str]], rng: np.random.Generator, change: float = 0.8) -> Example:
    """Return an example with other values of the same tags in it, and now and then in other letters.

    Parameters
    ----------
    example : Example
    pools : dict of lists of str
        Values by tag; a value is exchanged for one with about as many words.
    rng : Generator
    change : float
        Share of values that are exchanged.
    """
    parts: list[str] = []
    spans: list[tuple[int, int, str]] = []
    at = length = 0
    for start, end, name in sorted(example.spans):
        if start < at:
            continue
        value = example.text[start:end]
        pool = pools.get(name)
        if pool and rng.random() < change:
            words = min(value.count(" ") + value.count("\n"), 4)
            for _ in range(12):
                other = pool[int(rng.integers(len(pool)))]
                if min(other.count(" ") + other.count("\n"), 4) == words:
                    value = other
                    break
        parts += [example.text[at:start], value]
        length += start - at
        spans.append((length, length + len(value), name))
        length += len(value)
        at = end
    text = "".join([*parts, example.text[at:]])
    letters = rng.random()
    if letters < 0.12 and len(text.lower()) == len(text):
        text = text.lower()
    elif letters < 0.18 and len(text.upper()) == len(text):
        text = text.upper()
    return Example(text, tuple(spans), example.group)


def fit_chain(
    examples: Sequence[Example],
    gazetteer: Gazetteer,
    rule_codes: RuleCodes | None = None,
    *,
    c1: float = 0.1,
    c2: float = 0.1,
    iterations: int = 80,
    hide: float = 0.0,
    copies: int = 1,
    pools: dict[str, list[str]] | None = None,
    smallest: float = 0.01,
    seed: int = 0,
) -> Tagger:
    """Train a tagger.

    Parameters
    ----------
    examples : sequence of Example
    gazetteer : Gazetteer
    rule_codes : callable, optional
        Given a text and its tokens, the class of the rule over each token.
    c1, c2 : float
        Penalty of absolute and of squared weights.
    iterations : int
        At most so many steps of L-BFGS.
    hide : float
        Share of tokens whose neighbouring words are hidden in the second and later copies, so that the model
        learns to do without having seen a context before.
    copies : int
        How often each example is shown.
    pools : dict of lists of str, optional
        Values by tag; copies after the first are `varied` with them.
    smallest : float
        Weights closer to zero than this are left out.
    seed : int
        Of what is hidden.

    Raises
    ------
    MissingExtraError
        python-crfsuite is not installed.
    DataError
        There are no examples.
    """
    try:
        import pycrfsuite
    except ModuleNotFoundError as error:
        raise MissingExtraError("python-crfsuite", "Training the tagger", "pip install 'aimed[privacy]'") from error
    if not examples:
        raise DataError("there are 0 examples", "at least 1", "pass texts with marked identifiers")
    labels = ("", *sorted({s[2] for e in examples for s in e.spans}))
    rng = np.random.default_rng(seed)
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({"c1": c1, "c2": c2, "max_iterations": iterations, "feature.possible_transitions": True})
    for copy in range(copies):
        for original in examples:
            example = original if not copy or pools is None else varied(original, pools, rng)
            tokens = tokenize(example.text)
            if not len(tokens):
                continue
            rule = np.zeros(len(tokens), np.uint8) if rule_codes is None else rule_codes(example.text, tokens)
            features = features_of(tokens, gazetteer.look_up(tokens.word), rule)
            if copy and hide:
                # Whole slots of a token go, and for some tokens all words around it.
                part = rng.random((len(tokens), tagging.WORD_SLOTS)) < hide
                part |= (rng.random(len(tokens)) < hide / 2)[:, None]
                features[:, : tagging.WORD_SLOTS][part] = 0
            tags = token_tags(tokens, example.spans, labels)
            trainer.append([[format(f, "x") for f in row if f] for row in features.tolist()], [f"t{t}" for t in tags])
    # The C library writes to a path only; the file holds hashes and weights, no text.
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "chain")
        trainer.train(path)
        reader = pycrfsuite.Tagger()
        reader.open(path)
        info = reader.info()
        reader.close()
    step = np.zeros((len(labels), len(labels)))
    for (a, b), value in info.transitions.items():
        step[int(a[1:]), int(b[1:])] = value
    rows: dict[int, list[tuple[int, float]]] = {}
    for (name, tag), value in info.state_features.items():
        if abs(value) >= smallest:
            rows.setdefault(int(name, 16), []).append((int(tag[1:]), value))
    keys = sorted(rows)
    pairs = [pair for key in keys for pair in sorted(rows[key])]
    return Tagger(
        labels,
        np.asarray(keys, np.uint64),
        np.concatenate([[0], np.cumsum([len(rows[k]) for k in keys], dtype=np.int64)]).astype(np.int32),
        np.asarray([p[0] for p in pairs], np.uint8),
        # Weights are kept in half precision in the file: rounded now, the model is the same before and after.
        np.asarray([p[1] for p in pairs], np.float16).astype(np.float32),
        step,
        gazetteer,
    )


def covered(
    chance: Sequence[NDArray[np.float64]], truth: Sequence[NDArray[np.bool_]], threshold: float
) -> tuple[float, float]:
    """Return recall and precision of tokens at a threshold."""
    found = np.concatenate(list(chance)) >= threshold
    real = np.concatenate(list(truth))
    both = float(np.sum(found & real))
    return both / max(float(real.sum()), 1.0), both / max(float(found.sum()), 1.0)


def choose_threshold(chance: NDArray[np.float64], truth: NDArray[np.bool_], precision: float = 0.92) -> float:
    """Return the lowest threshold at which tokens are found with at least this precision.

    Parameters
    ----------
    chance : array, shape (n,)
        Chance that each token is part of an identifier, from models that did not see it.
    truth : bool array, shape (n,)
    precision : float

    Examples
    --------
    >>> choose_threshold(np.array([0.9, 0.8, 0.4, 0.3]), np.array([True, True, True, False]), 1.0)
    0.4
    """
    order = np.argsort(-chance, kind="stable")
    right = np.cumsum(truth[order])
    enough = np.flatnonzero(right / np.arange(1, chance.size + 1) >= precision)
    return float(chance[order[enough[-1]]]) if enough.size else 1.0


_TAG_OF = {
    "org": "organisation",
    "geo": "geography",
    "gpe": "geography",
    "name": "name",
    "tel": "telephone",
    "num": "other_unique",
}
_LEARNED = frozenset({"name", "geography", "date", "telephone", "email", "url", "medical_record"})
_ALLOWED = re.compile(r"\d{4}|[A-Z][a-z]+day")


def shipped_examples(notes: int = 1000, seed: int = 20) -> list[Example]:
    """Return the examples that the shipped model learns: planted clinical notes and everyday letters, all made up.

    Parameters
    ----------
    notes : int
        How many planted notes.
    seed : int

    Raises
    ------
    MissingExtraError
        Faker is not installed.
    """
    from aimed.privacy.planted import planted_notes

    # Numbers of many kinds are told apart by rules; the chain learns them as one tag and stays quick.
    out = [
        Example(n.text, tuple((a, b, c if c in _LEARNED else "other_unique") for a, b, c in n.spans), n.template)
        for n in planted_notes(notes, seed, "train")
    ]
    for letter in letters(made_values(seed), 3, seed):
        spans = []
        for start, end, tag in letter.spans:
            value = letter.text[start:end]
            # Titles, nations, ages below 90, years and days of the week may stay under Safe Harbor.
            if tag == "web":
                spans.append((start, end, "email" if "@" in value else "url"))
            elif tag == "date" and not _ALLOWED.fullmatch(value):
                spans.append((start, end, "date"))
            elif tag in _TAG_OF:
                spans.append((start, end, _TAG_OF[tag]))
        out.append(Example(letter.text, tuple(spans), letter.group))
    return out


def shipped_tagger(examples: Sequence[Example] | None = None, *, precision: float = 0.9, folds: int = 2) -> Tagger:
    """Train the model that ships with the package.

    Parameters
    ----------
    examples : sequence of Example, optional
        Default: `shipped_examples`.
    precision : float
        The threshold is the lowest at which tokens of held-out templates are found with this precision.
    folds : int
        Groups of templates; each is held out once to choose the threshold.

    Raises
    ------
    MissingExtraError
        Faker or python-crfsuite is not installed.
    """
    from aimed.privacy.eponyms import load_eponyms
    from aimed.privacy.find import rule_codes

    examples = shipped_examples() if examples is None else examples
    gazetteer = build_gazetteer({"eponym": load_eponyms().names})

    def train(some: Sequence[Example]) -> Tagger:
        # Empty pools: the values stay, and some of the copies are in small letters or in capitals.
        return fit_chain(some, gazetteer, rule_codes, c1=0.3, c2=0.3, iterations=50, hide=0.3, copies=3, pools={})

    labels = ("", *sorted({s[2] for e in examples for s in e.spans}))
    chance, truth = [], []
    for fold in range(folds):
        held = [e for e in examples if _fold(e.group, folds) == fold]
        if not held or len(held) == len(examples):
            continue
        model = train([e for e in examples if _fold(e.group, folds) != fold])
        for e in held:
            tokens = tokenize(e.text)
            chance.append(1.0 - model.chances(tokens, rule_codes(e.text, tokens))[:, 0])
            truth.append(token_tags(tokens, e.spans, labels) > 0)
    threshold = choose_threshold(np.concatenate(chance), np.concatenate(truth), precision) if chance else 0.5
    return replace(train(examples), threshold=round(float(np.clip(threshold, 0.02, 0.5)), 4))


def _fold(group: str, folds: int) -> int:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % folds


def main() -> None:
    """Train the shipped model and write its file."""
    MODEL.parent.mkdir(exist_ok=True)
    MODEL.write_bytes(shipped_tagger().to_bytes())


if __name__ == "__main__":
    main()
