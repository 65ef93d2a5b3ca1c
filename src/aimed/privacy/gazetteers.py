"""Word lists: names, places, firms and plain words of many countries, as one small table of hashes."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aimed.core.errors import MissingExtraError
from aimed.privacy.kernels import tagging
from aimed.privacy.tokens import fold_word, hashes_of

__all__ = ["LISTS", "NATIONS", "Gazetteer", "build_gazetteer", "faker_lists", "open_table"]

LISTS: Final[tuple[str, ...]] = (
    "first_name",
    "last_name",
    "city",
    "country",
    "street",
    "company",
    "nationality",
    "title",
    "calendar",
    "plain",
    "job",
    "state",
    "eponym",
    "unit",
    "clinical",
    "rare",
)
"""Names of the lists; the place in this tuple is the bit of the flags. `rare` is set on no list of its own."""

_OWN = Path(__file__).parent / "models" / "plain_words.txt"
_CLINICAL = Path(__file__).parent / "models" / "clinical_words.txt"
_KEEP = np.uint64(0xFFFFFFFFFF)

_UNITS = "apt apartment suite ste unit box floor room psc apo fpo dpo po postbox building bldg block flat level lot"
_STREETS = (
    "street st road rd avenue ave lane ln drive dr court ct place pl square sq boulevard blvd way terrace close "
    "crescent highway hwy parkway pkwy alley circle trail walk row corner strasse str weg platz allee gasse rue "
    "chemin via vicolo piazza viale corso calle avenida av carrera plaza paseo camino rua travessa largo praca "
    "ulica ul utca ut tere ter u straat laan plein gatan gata vagen vej vejen gade veien gate katu tie tee "
    "puiestee nam ulice namesti trida trg cesta strada provinciale contrada quai impasse route"
)
_TITLES = (
    "mr mrs ms miss dr prof professor sir madam mister doctor nurse rev hon md phd dds rn np pa do jr sr ii iii "
    "iv herr frau monsieur madame mme mlle senor senora senorita signor signora sig dott dra drs ing fru dhr mevr"
)
_CALENDAR = (
    "january february march april may june july august september october november december jan feb mar apr jun "
    "jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri "
    "sat sun januar februar marz mai juni juli oktober dezember janvier fevrier mars avril juin juillet aout "
    "septembre octobre novembre decembre enero febrero marzo abril mayo junio julio agosto septiembre octubre "
    "noviembre diciembre"
)
_FIRMS = (
    "inc ltd llc llp plc corp corporation company co group holdings partners associates bank gmbh ag kg ohg sarl "
    "sas srl spa sa bv nv oy ab as aps kft zrt sro doo ltda hospital clinic university college school institute "
    "foundation laboratories labs systems technologies solutions services industries insurance financial capital "
    "media networks"
)
NATIONS: Final = (
    "afghan albanian algerian american angolan argentine argentinian armenian australian austrian azerbaijani "
    "bahraini bangladeshi belarusian belgian bolivian bosnian brazilian british bulgarian burmese cambodian "
    "cameroonian canadian chilean chinese colombian congolese croatian cuban cypriot czech danish dominican dutch "
    "ecuadorian egyptian english eritrean estonian ethiopian filipino finnish french georgian german ghanaian "
    "greek greenlander guatemalan haitian honduran hungarian icelandic indian indonesian iranian iraqi irish "
    "israeli italian ivorian jamaican japanese jordanian kazakh kenyan korean kuwaiti kurdish laotian latvian "
    "lebanese liberian libyan lithuanian luxembourgish macedonian malaysian maltese mexican moldovan mongolian "
    "moroccan nepalese nicaraguan nigerian norwegian omani pakistani palestinian panamanian paraguayan persian "
    "peruvian polish portuguese qatari romanian russian rwandan salvadoran saudi scottish senegalese serbian "
    "singaporean slovak slovenian somali spanish sudanese swedish swiss syrian taiwanese tajik tanzanian thai "
    "tibetan tunisian turkish turkmen ugandan ukrainian uruguayan uzbek venezuelan vietnamese welsh yemeni "
    "zambian zimbabwean african asian european arab jewish muslim christian catholic hindu buddhist sikh"
)
"""Nationalities and faiths, small letters, parted by spaces."""

_STATES = (
    "al ak az ar ca co ct de fl ga hi id il ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny nc nd oh ok or "
    "pa ri sc sd tn tx ut vt va wa wv wi wy dc on qc bc ab mb sk ns nb nl pe nsw vic qld tas act"
)


@dataclass(frozen=True, slots=True, eq=False)
class Gazetteer:
    """On which lists a word is.

    Attributes
    ----------
    keys : uint64 array, shape (k,)
        Forty bits of the hash of each word.
    flags : uint16 array, shape (k,)
        Bits of `LISTS`.
    slots : int32 array
        Open table of the keys.
    """

    keys: NDArray[np.uint64]
    flags: NDArray[np.uint16]
    slots: NDArray[np.int32]

    @classmethod
    def of(cls, keys: NDArray[np.uint64], flags: NDArray[np.uint16]) -> Gazetteer:
        """Return a gazetteer of hashes and flags."""
        return cls(keys, flags, open_table(keys))

    def look_up(self, words: NDArray[np.uint64]) -> NDArray[np.uint16]:
        """Return the flags of hashed words; 0 where a word is on no list."""
        out = np.empty(words.size, np.uint16)
        tagging.flags_of(words, self.keys, self.slots, self.flags, out)
        return out

    def lists_of(self, word: str) -> tuple[str, ...]:
        """Return the names of the lists that a word is on."""
        flags = int(self.look_up(hashes_of([word]))[0])
        return tuple(name for bit, name in enumerate(LISTS) if flags >> bit & 1)


def open_table(keys: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the open table of hashed keys, at most half full."""
    size = 8
    while size < 2 * keys.size:
        size *= 2
    slots = np.full(size, -1, np.int32)
    tagging.row_table(keys, slots)
    return slots


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (k for k in value if isinstance(k, str))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _strings(item)


def _providers(topic: str, locales: str = "") -> Iterator[type]:
    try:
        package = importlib.import_module(f"faker.providers.{topic}")
    except ModuleNotFoundError as error:
        raise MissingExtraError("Faker", "Building word lists", "pip install 'aimed[privacy]'") from error
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        if locales and module.split("_")[0] not in locales.split():
            continue
        yield importlib.import_module(f"faker.providers.{topic}.{module}").Provider


def _gather(topic: str, wanted: re.Pattern[str], locales: str = "") -> list[str]:
    out: list[str] = []
    for provider in _providers(topic, locales):
        for name in sorted(dir(provider)):
            if wanted.search(name) and not name.startswith("__"):
                value = getattr(provider, name)
                if not callable(value):
                    out.extend(sorted(_strings(value)) if isinstance(value, (set, frozenset)) else _strings(value))
    return [v for v in out if "{" not in v and "#" not in v and "%" not in v]


def faker_lists() -> dict[str, list[str]]:
    """Return the raw lists of names, places, firms and jobs of all locales of Faker, repeats left in.

    Raises
    ------
    MissingExtraError
        Faker is not installed.
    """
    return {
        "first_name": _gather("person", re.compile(r"^_?first_name")),
        "last_name": _gather("person", re.compile(r"^_?last_name")),
        "city": _gather(
            "address", re.compile(r"^_?(cit(y|ies)|town|district|municipalit|village|metropolitan)(?!.*format)")
        ),
        "country": _gather("address", re.compile(r"^_?countries$"), "en de es fr it nl sv"),
        "street": _gather("address", re.compile(r"^_?(street|road)(?!.*format)")),
        "company": _gather("company", re.compile(r"suffix|prefix|large_compan|company_names")),
        "state": _gather(
            "address", re.compile(r"^_?(states?|provinces?|regions?|counties|departments|cantons?)(?!.*format)")
        ),
        "job": _gather("job", re.compile(r"^_?jobs$"), "en"),
    }


_WORD = re.compile(r"[^\W\d_]+")


def _words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for word in _WORD.findall(text):
            folded = fold_word(word)
            if len(folded) > 1 or (folded and ord(folded[0]) > 0x2E7F):
                yield folded


def _docstrings() -> Iterator[str]:
    from pydoc_data.topics import topics

    yield from (topics[name] for name in sorted(topics))
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                yield ast.get_docstring(node) or ""


def _plain_words() -> list[str]:
    """Return words of ordinary English: those that the documentation of Python writes small, and Faker's own list."""
    from faker.providers.lorem.en_US import Provider
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    count = Counter(w for text in _docstrings() for w in re.findall(r"(?<![\w.'])[a-z]{2,}(?![\w(='])", text))
    plain = {w for w, n in count.items() if n >= 2}
    plain.update(w for w in Provider.word_list if w == w.lower())
    plain.update(ENGLISH_STOP_WORDS)
    plain.update(_OWN.read_text(encoding="ascii").split())
    return sorted(plain)


def build_gazetteer(more: dict[str, Iterable[str]] | None = None) -> Gazetteer:
    """Return the gazetteer made of Faker's lists, the short lists of this file and `more`.

    Parameters
    ----------
    more : dict of iterables of str, optional
        Further texts by the name of the list whose words they are, such as ``{"eponym": [...]}``.

    Raises
    ------
    MissingExtraError
        Faker is not installed.
    """
    lists: dict[str, list[str]] = dict(faker_lists())
    lists["plain"] = _plain_words()
    for name, text in (
        ("unit", _UNITS),
        ("street", _STREETS),
        ("title", _TITLES),
        ("calendar", _CALENDAR),
        ("company", _FIRMS),
        ("nationality", NATIONS),
        ("state", _STATES),
        ("clinical", _CLINICAL.read_text(encoding="ascii")),
    ):
        lists.setdefault(name, []).extend(text.split())
    for name, texts in (more or {}).items():
        lists.setdefault(name, []).extend(texts)
    flags: dict[str, int] = {}
    for name, texts in lists.items():
        bit = 1 << LISTS.index(name)
        for word in _words(texts):
            flags[word] = flags.get(word, 0) | bit
    words = sorted(flags)
    keys = hashes_of(words) & _KEEP
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    values = np.asarray([flags[w] for w in words], np.uint16)[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return Gazetteer.of(keys[first], np.bitwise_or.reduceat(values, first))
