"""Answer patterns: age, sex, lengths, ejection fraction and dates as notes write them, safe from backtracking.

Every pattern starts with a fixed thing and repeats nothing without a bound: time is in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aimed.text.passages import Passage

__all__ = [
    "Found",
    "Length",
    "find_age",
    "find_dates",
    "find_ejection_fraction",
    "find_lengths",
    "find_quantities",
    "find_sex",
]


@dataclass(frozen=True, slots=True)
class Found:
    """One candidate for an answer; what was read is not shown by `repr`."""

    start: int
    end: int
    rule: str
    value: Any = field(default=None, repr=False)
    unit: str = ""
    contested: bool = False
    reason: str = ""


FAMILY = (
    r"mother|father|parents?|brother|sister|son|daughter|wife|husband|spouse|"
    r"partner|grandmother|grandfather|aunt|uncle|cousin"
    r"|nephew|niece|donor|(?:nursing )?staff|twin|sibling|roommate|caregiver|neighbou?r|fianc[eé]e?|"
    r"boyfriend|girlfriend"
)
_FAMILY_BEFORE = re.compile(rf"\b(?:{FAMILY})\b(?!'?s? (?:patient|of (?:two|three|\d)))[^.;]*$")
_PATIENT = re.compile(r"\b(?:patient|pt|subject|this is an?)\b[^.;]*$")
_FAMILY_AFTER = re.compile(
    rf"^[\s\-]{{0,3}}(?:(?!whose|with|and|has|had|who|her|his|man|woman)[a-z]{{1,12}}[\s\-]{{1,2}}){{0,2}}(?:{FAMILY})\b"
)

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {w: i + 1 for i, w in enumerate(_ONES)} | {w: i + 10 for i, w in enumerate(_TEENS)}
_WORDS |= {w: 10 * i + 20 for i, w in enumerate(_TENS)}
_UNIT = r"(years?|yrs?|y|months?|mos?|weeks?|wks?|days?|hours?)"
_SEX_WORD = r"(?:male|female|man|woman|boy|girl|gentleman|lady|m|f)\b"

_AGE_RULES = (
    (
        "labelled",
        re.compile(
            r"\bage(?:\s?/\s?(?:sex|gender))?(?: \((?:years|yrs)\)| in years)?\s{0,3}[:=]\s{0,4}(\d{1,3})(?!\d|[.,]\d)"
            rf"(?:[\s\-]{{0,2}}{_UNIT}\b)?"
        ),
    ),
    ("old", re.compile(r"(?<![\d.,/:])(\d{1,3})\+?[\s\-]{0,3}" + _UNIT + r"[\s.\-]{0,3}(?:old|of age)\b")),
    ("short", re.compile(r"(?<![\d.,/:])(\d{1,3})\+?[\s\-]{0,2}(?:y\.?\s?/?\s?o|yr?\.?\s?/?o)(?=[mf]?\b)")),
    ("year_sex", re.compile(r"(?<![\d.,/:])(\d{1,3})[\s\-]{0,3}" + _UNIT + r"[\s\-,]{0,3}(?=" + _SEX_WORD + ")")),
    (
        "slash",
        re.compile(r"(?<![\w/])(?:(?:m|f|male|female)\s?/\s?(\d{1,3})|(\d{1,3})\s?/\s?(?:m|f|male|female))(?![\w/])"),
    ),
    ("aged", re.compile(r"\b(?:aged|age of|age is|age was|whose age is|age)\s(\d{1,3})(?![\d%]|[.,]\d)")),
    (
        "aged",
        re.compile(r"\b(?:man|woman|male|female|lady|gentleman|boy|girl|patient|infant) of (\d{1,3}) (?:years|yrs)\b"),
    ),
    (
        "is",
        re.compile(
            r"(?:\b(?:patient|pt|subject|he|she)|\bm(?:r|rs|s)\.? [a-z'\-]{1,24}) (?:is|was|turned)(?: (?:now|"
            r"currently|just))? (\d{1,3})(?=\s(?:and|who|with|but|today|now|last|this)\b|\s?[,;)]|\.(?!\d)|\s?$)"
        ),
    ),
)
_DIGIT = re.compile(r"\d")
# Words without which a rule cannot match: a look for them costs far less than the pattern.
_AGE_NEEDS = {
    "labelled": ("age",),
    "aged": ("age", " of "),
    "old": ("old", "of age"),
    "short": ("y",),
    "year_sex": ("male", "man", "boy", "girl", "lady", " m", " f", "-m", "-f", ",m", ",f"),
    "slash": ("/",),
    "is": ("patient", "pt ", "subject", "he ", "mr", "ms"),
}
_AGE_LETTER = re.compile(r"(?<![\w.,/:\-])(\d{1,3})\s?-?([MF])\b(?![/'°])")
_AGE_WORDS = re.compile(
    rf"\b({'|'.join(_TENS + _TEENS)}|{'|'.join(_ONES)})(?:[\s\-]({'|'.join(_ONES)}))?[\s\-]{_UNIT}[\s\-](?:old|"
    rf"of age)\b"
)
_DECADES = {word[:-1] + "ies": 10 * number + 20 for number, word in enumerate(_TENS)}
_DECADE = re.compile(
    rf"\bin (?:his|her|their|the) (?:(?:early|mid|middle|late|mid-to-late)[\s\-])?(\d0'?s|{'|'.join(_DECADES)})\b"
)
_SUBJECT = re.compile(
    r"(?:^\s{0,3}|[.,;:]\s|\b(?:the|his|her|their|its|this|that|an?)\s)(?:[a-z]{1,14}\s)?([a-z]{2,20})\s(?:is|was|are|were)"
    r"(?:\s(?:now|currently|about|approximately|over|only|at least))?\s$"
)
_PERSONS = frozenset(
    [
        "he",
        "she",
        "patient",
        "pt",
        "subject",
        "who",
        "man",
        "woman",
        "male",
        "female",
        "lady",
        "gentleman",
        "boy",
        "girl",
        "child",
        "infant",
        "baby",
        "newborn",
        "neonate",
        "toddler",
        "person",
        "individual",
    ]
)
_WITHHELD = re.compile(
    r"(?:(?<!x)x{3,12}|(?<!_)_{2,40}|\[\*\*[^\]\n]{0,40}\*\*\]|\[age\]|<age>|\[redacted\])[\s\-]{0,3}(?:"
    + _UNIT
    + r"[\s.\-]{0,3}(?:old|of age|male|female|m|f)\b|y\.?/?o\b)"
)
_AGE_NOT_BEFORE = re.compile(
    r"(?:\b(?:since|past|at|until|before|after|from|by|over|under|around|than|"
    r"for patients|population|adults|those|persons|people)\b(?: the| an?)?"
    r"(?: age(?: of)?)?\s?$)|(?:diagnosed|menopause|menarche|onset|died|death|"
    r"deceased|quit|retired|started|smok\w{2,4})[^.;]{0,25}$"
)
_AGE_NOT_AFTER = re.compile(
    r"^[\s\-,]{0,3}(?:[a-z]{1,14}[\s\-]{1,2}){0,2}(?:pacemaker|fracture|infarct\w{0,5}|"
    r"study|exam\w{0,7}|film|radiograph|ct|mri|device"
    r"|graft|valve|scars?|injury|prosthe\w{1,5}|stents?|surgery|lesion|bleed|"
    r"stroke|history|catheter|hardware|implants?|repair|wound|lead|clot|thrombus)\b"
)
_YEARS = {"y": "years", "m": "months", "w": "weeks", "d": "days", "h": "hours"}


def _left(note: Passage, place: int, reach: int = 60) -> str:
    """Return what stands before a place in its sentence, at most `reach` characters."""
    text = note.lower[max(0, place - reach) : place]
    cut = max(text.rfind(". "), text.rfind("\n\n"), text.rfind(";"), text.rfind(".\n"))
    return text[cut + 1 :] if cut >= 0 else text


def _right(note: Passage, place: int, reach: int = 40) -> str:
    return note.lower[place : place + reach]


def _of_family(note: Passage, start: int, end: int) -> bool:
    left = _left(note, start)
    if (match := _FAMILY_BEFORE.search(left)) and not _PATIENT.search(left[match.start() :]):
        return True
    return bool(_FAMILY_AFTER.match(_right(note, end)))


def find_age(note: Passage) -> Found | None:
    """Return the age of the patient: the number itself, in years or the unit that is said."""
    low = note.lower
    best: Found | None = None
    by_name = False
    values: set[tuple[float, str]] = set()

    def take(start: int, end: int, value: float, unit: str, rule: str, after: int) -> None:
        nonlocal best, by_name
        if unit == "years" and not 0 <= value <= 120:
            return
        left = _left(note, start)
        if _AGE_NOT_BEFORE.search(left) and rule not in ("labelled", "slash"):
            return
        subject = _SUBJECT.search(left)
        if (
            subject
            and rule in ("old", "words")
            and subject[1] not in _PERSONS
            and not re.search(r"\bm(?:r|rs|s)\b", left)
        ):
            # "The pacemaker is 8 years old."
            return
        if _AGE_NOT_AFTER.match(_right(note, after)) or _of_family(note, start, after):
            return
        values.add((value, unit))
        named = bool(_PATIENT.search(left))
        if best is None or (named and not by_name):
            best, by_name = Found(start, end, rule, value, unit), named

    digits = _DIGIT.search(low) is not None
    for rule, pattern in _AGE_RULES:
        if not digits or not any(word in low for word in _AGE_NEEDS[rule]):
            continue
        for match in pattern.finditer(low):
            group = 1 if match[1] is not None else 2
            unit = match[2] if rule in ("labelled", "old", "year_sex") and match[2] else "y"
            take(match.start(group), match.end(group), float(match[group]), _YEARS[unit[0]], rule, match.end())
            if best is not None and len(values) > 1:
                break
    if best is None and digits:
        for match in _AGE_LETTER.finditer(note.text):
            left = _left(note, match.start(), 25)
            if re.search(r"temp|fever|\bt\b|\btmax|degrees", left) or note.text.startswith(" of", match.end()):
                continue
            spaced = match[0][-2].isspace()
            if (
                not spaced
                or re.match(r"\s(?:with|w/|s/p|c/o|p/w|pre|who|here|h/o|hx|,)", _right(note, match.end()))
                or (re.match(r"\s?(?:[,;.]|$)", _right(note, match.end())) and not 94 <= int(match[1]) <= 107)
                or match[0][-2] == "-"
            ):
                take(match.start(1), match.end(1), float(match[1]), "years", "letter", match.end())
    if best is None and (" old" in low or "-old" in low or "of age" in low):
        for match in _AGE_WORDS.finditer(low):
            value = _WORDS[match[1]] + (_WORDS[match[2]] if match[2] else 0)
            end = match.end(2) if match[2] else match.end(1)
            take(match.start(1), end, float(value), _YEARS[match[3][0]], "words", match.end())
    if best is None and (said := _DECADE.search(low)) and not _of_family(note, said.start(), said.end()):
        decade = int(said[1][:2]) if said[1][0].isdigit() else _DECADES[said[1]]
        best = Found(said.start(1), said.end(), "decade", (float(decade), float(decade + 9)), "years")
    if best is None and _WITHHELD.search(low):
        return Found(-1, -1, "withheld", reason="withheld")
    if best is not None and len(values) > 1:
        best = Found(best.start, best.end, best.rule, best.value, best.unit, contested=True)
    return best


_SEX_VALUE = {
    "m": "male",
    "f": "female",
    "man": "male",
    "woman": "female",
    "boy": "male",
    "girl": "female",
    "gentleman": "male",
    "lady": "female",
    "male": "male",
    "female": "female",
    "he": "male",
    "his": "male",
    "him": "male",
    "himself": "male",
    "she": "female",
    "her": "female",
    "hers": "female",
    "herself": "female",
    "mr": "male",
    "mrs": "female",
    "ms": "female",
    "miss": "female",
    "women": "female",
    "men": "male",
}
_SEX_RULES = (
    ("labelled", re.compile(r"\b(?:sex|gender)\s{0,3}[:=]\s{0,4}(male|female|man|woman|m|f)\b")),
    (
        "labelled",
        re.compile(r"\bage\s?/\s?(?:sex|gender)\s{0,2}[:=]\s{0,3}\d{1,3}\s?[a-z]{0,5}\s?/\s?(male|female|m|f)\b"),
    ),
    (
        "old",
        re.compile(
            r"(?:\bold\b|(?<=\d)yo\b|\byo\b|y/o\b|y\.o\.?|\byears?|\byrs?|\byr|\d-?y)[\s,\-]{1,3}(male|"
            r"female|m|f|man|woman)\b"
        ),
    ),
    ("old", re.compile(r"\d\s?-?y/?o(m|f)\b")),
    (
        "old",
        re.compile(
            r"(?:\bold|\by/?o|y\.o\.?|of age)[\s,\-]{1,3}(?:[a-z\-]{1,18}[\s,]{1,2}){0,3}?(male|"
            r"female|man|woman|gentleman|lady|boy|girl)\b"
        ),
    ),
    (
        "slash",
        re.compile(
            r"(?<![\w/])(?:\d{1,3}\s?(?:y|yo|yrs?)?\s?/\s?(m|f|male|female)|(m|f|male|female)\s?/\s?\d{1,3})(?![\w/])"
        ),
    ),
    (
        "noun",
        re.compile(
            r"(?<![\w\-/])(male|female|man|woman|gentleman|lady|boy|girl)\b(?!-to-)(?! (?:or|"
            r"condom|catheter|partner|staff|nurse|chaperone|doctor|physician|surgeon|"
            r"attending|resident|breast|fetus|donor|friend|to[\s-]))"
        ),
    ),
    ("title", re.compile(r"\b(mr|mrs|ms|miss)\b\.?\s(?=[a-z])")),
)
_SEX_NEEDS = (
    ("sex", "gender"),
    ("/",),
    ("old", "yo", "y/o", "y.o", "year", "yr", "-y", *(f"{digit}y" for digit in range(10))),
    ("yo", "y/o"),
    ("old", "yo", "y/o", "y.o", "of age"),
    ("/",),
    ("male", "man", "lady", "boy", "girl"),
    ("mr", "ms", "miss"),
)
_PRONOUN = re.compile(r"\b(he|his|him|himself|she|her|hers|herself)\b")
_OTHER_PERSON = re.compile(
    r"\b(?:lives? with|married to|accompanied by|cared for by|reported by|according "
    r"to|per|next to|physician|doctor|surgeon|nurse|dr)\b[^.;]{0,30}$"
)


def find_sex(note: Passage) -> Found | None:
    """Return the sex of the patient where it is said; pronouns count only when nothing better is there."""
    best: Found | None = None
    values: set[str] = set()
    for (rule, pattern), needed in zip(_SEX_RULES, _SEX_NEEDS, strict=True):
        if rule in ("noun", "title") and best is not None:
            break
        if not any(word in note.lower for word in needed):
            continue
        for match in pattern.finditer(note.lower):
            group = 1 if match[1] is not None else 2
            start, end = match.span(group)
            if rule != "labelled" and (
                _of_family(note, match.start(), end)
                or ((left := _left(note, match.start())) and not left.endswith(" this ") and _OTHER_PERSON.search(left))
            ):
                continue
            value = _SEX_VALUE[match[group]]
            values.add(value)
            best = best or Found(start, end, rule, value)
            if len(values) > 1:
                break
    if best is None:
        for match in _AGE_LETTER.finditer(note.text):
            if (age := find_age(note)) is not None and age.start == match.start(1):
                best = Found(match.start(2), match.end(2), "letter", _SEX_VALUE[match[2].lower()])
            break
    if best is None:
        for match in _PRONOUN.finditer(note.lower):
            left = _left(note, match.start(), 120)
            if _FAMILY_BEFORE.search(left) or _OTHER_PERSON.search(left):
                continue
            values.add(_SEX_VALUE[match[1]])
            best = best or Found(match.start(), match.end(), "pronoun", _SEX_VALUE[match[1]])
            if len(values) > 1:
                break
    if best is not None and len(values) > 1:
        if best.rule == "pronoun":
            return None
        best = Found(best.start, best.end, best.rule, best.value, contested=True)
    return best


_NUMBER = r"\d{1,4}(?:[.,]\d{1,2})?|\.\d{1,2}"
_LENGTH_UNIT = r"(?:mm|millimet(?:er|re)s?|mms|cm|cms|centimet(?:er|re)s?)"
_LENGTH = re.compile(
    rf"(?<![\w.,\-/])({_NUMBER})(?:[\s\-]{{0,2}}({_LENGTH_UNIT}))?(?:\s{{0,2}}(x|×|by|-|–|to)\s{{0,2}}({_NUMBER}))?"
    rf"(?:[\s\-]{{0,2}}({_LENGTH_UNIT}))?(?:\s{{0,2}}(?:x|×|by)\s{{0,2}}({_NUMBER}))?[\s\-]{{0,2}}({_LENGTH_UNIT})?(?![a-z²³/])"
)
_UNIT_AHEAD = re.compile(r"\s?hg|\s?/|\s?(?:h2o|water)")
_WORD_LENGTH = re.compile(rf"\b({'|'.join(_ONES + _TEENS)})[\s\-]({_LENGTH_UNIT})\b")


@dataclass(frozen=True, slots=True)
class Length:
    """A length or a product of lengths as written, in millimetres."""

    start: int
    end: int
    dimensions: tuple[float, ...] = field(repr=False)
    ranged: bool = False

    @property
    def largest(self) -> float:
        """The largest dimension in mm; of a range the upper end."""
        return max(self.dimensions)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def find_lengths(note: Passage, start: int = 0, end: int | None = None) -> Iterator[Length]:
    """Yield the lengths in mm or cm within a part of the note, in order."""
    end = len(note.lower) if end is None else end
    for match in _LENGTH.finditer(note.lower, start, end):
        units = [match[2], match[5], match[7]]
        unit = units[2] or units[1] or units[0]
        if unit is None:
            continue
        stop = match.end()
        if units[2] is None:
            # A number that follows without a unit of its own is none of the measurement's.
            stop = match.end(5) if units[1] else match.end(2)
        if _UNIT_AHEAD.match(note.lower, stop):
            continue
        parts = [(match[1], units[0])]
        if match[4] and stop >= match.end(4):
            parts.append((match[4], units[1]))
        if match[6] and stop >= match.end(6):
            parts.append((match[6], units[2]))
        dimensions = tuple(_number(n) * (10.0 if (u or unit)[0] == "c" else 1.0) for n, u in parts)
        yield Length(match.start(), stop, dimensions, ranged=match[3] in ("-", "–", "to"))
    for match in _WORD_LENGTH.finditer(note.lower, start, end):
        yield Length(match.start(), match.end(), (_WORDS[match[1]] * (10.0 if match[2][0] == "c" else 1.0),))


_QUANTITY = re.compile(
    r"(?<![\w.,\-/])(\d{1,5}(?:[.,]\d{1,2})?(?:\s{0,2}(?:-|–|to)\s{0,2}\d{1,5}(?:\.\d{1,2})?)?)[\s\-]{0,2}"
    r"(ml|cc|milliliters?|millilitres?|liters?|litres?|hu|hounsfield units?|"
    r"mm\s?hg|cm/s|m/s|cm2|cm²|cm\^2|bpm|mg|mcg|g|grams?|kg|units?|%|percent|"
    r"degrees?)(?![a-z])"
)


def find_quantities(note: Passage, start: int = 0, end: int | None = None) -> Iterator[Found]:
    """Yield numbers with units other than lengths (volumes, pressures, doses, percentages), in order."""
    for match in _QUANTITY.finditer(note.lower, start, len(note.lower) if end is None else end):
        first = re.match(r"\d{1,5}(?:[.,]\d{1,2})?", match[1])
        yield Found(match.start(), match.end(), "quantity", _number(first[0]) if first else None, match[2])


_SHARE = r"(?:0?\.\d{1,2}|\d{1,2}(?:\.\d)?)"
_PERCENT = (
    rf"(?P<low>{_SHARE})(?:\s{{0,2}}(?P<sign>%|percent))?(?:\s{{0,2}}(?:-|–|to|"
    rf"and)\s{{0,2}}(?P<high>{_SHARE})(?:\s{{0,2}}(?P<sign2>%|percent))?)?(?![\d/]|"
    rf"\.\d|-?d\b)"
)
_BOUND = (
    r"(?P<bound>(?:greater than or equal to|greater than|more than|less than|"
    r"at least|over|under|above|below|>=?|<=?|≥|≤)\s{0,2})?"
)
_EF_NAME = r"(?<![a-z])(?:lvef|l\.?v\.? ?ef|ef|ejection fraction)(?![a-z])"
_EF_AFTER = re.compile(
    _EF_NAME + r"(?P<gap>(?:[^;\n\d.%<>≥≤]|\b[234]-?d\b){0,60}?)" + _BOUND + r"(?<![\d.])" + _PERCENT
)
_EF_BEFORE = re.compile(r"(?<![\d.])" + _PERCENT + r"\s(?:[a-z]{1,14}\s){0,2}" + _EF_NAME)
_EF_WORD = (
    r"(?:(?:low[\s\-])?normal|preserved|hyperdynamic|(?:(?:mildly|moderately|"
    r"severely|markedly|mild to moderately|moderate to severely)\s)?"
    r"(?:reduced|depressed|decreased|impaired|diminished)|low)"
)
_EF_WORD_BEFORE = re.compile(
    rf"\b(?P<word>{_EF_WORD})\s(?:(?:lv|left|ventricular|systolic|overall|global)\s){{0,4}}{_EF_NAME}"
)
_EF_WORD_AFTER = re.compile(
    rf"{_EF_NAME}\s(?:(?:is|was|remains|appears|estimated|to|be|visually|again|"
    rf"now|currently)\s){{0,4}}(?P<word>{_EF_WORD})\b"
)
_EARLIER_BEFORE = re.compile(
    r"\b(?:previous(?:ly)?|prior|earlier|former(?:ly)?|last|old|baseline|initial|originally)\b[^.;,]{0,25}$"
)
_EARLIER_AFTER = re.compile(
    r"^[\s,(]{0,3}(?:previously|before|earlier|on (?:the )?(?:prior|previous|"
    r"last|earlier)|at (?:last|baseline|that time)|in (?:19|20)\d\d|on \d{1,2}/\d|"
    r"(?:a|one|two|three|\d{1,2}) (?:years?|months?|weeks?) ago|last (?:year|"
    r"month|week))"
)
_GOAL = re.compile(
    r"\b(?:goal|target|aim(?:ing)? for)\b[^.;,]{0,25}$|\b(?:if|unless|whenever|once|indicated|criteri\w{1,2}|eligible|"
    r"in patients with|reserved for)\b[^.;,]{0,30}$"
)
_RIGHT_HEART = re.compile(
    r"(?:\brv\s?|(?:right ventric\w{0,4}|gall ?bladder|right atri\w{0,3}|left atri\w{0,3})[\s(]{0,2}(?:systolic )?)$"
)
_EF_WORDS = re.compile(
    rf"{_EF_NAME}\s(?:[a-z]{{1,12}}\s){{0,5}}?(({'|'.join(_TENS)})(?:[\s\-](?:{'|'.join(_ONES)}))?(?:\s?(?:%|percent)))"
)


def _percent(text: str) -> float:
    value = float(text)
    return round(value * 100, 1) if value < 1 else value


def find_ejection_fraction(note: Passage) -> Found | None:
    """Return the left ventricular ejection fraction: a number, a range as a pair, or the word that is said."""
    now: list[Found] = []
    earlier: list[Found] = []
    for pattern, rule in ((_EF_AFTER, "number"), (_EF_BEFORE, "number_first")):
        for match in pattern.finditer(note.lower):
            if _RIGHT_HEART.search(note.lower[max(0, match.start() - 30) : match.start()]):
                continue
            gap = match.groupdict().get("gap") or ""
            signed = bool(match["sign"] or match["sign2"])
            low = _percent(match["low"])
            if not 3 <= low <= 95 or (
                not signed and (rule == "number_first" or (match["low"].isdigit() and len(match["low"]) < 2))
            ):
                continue
            if _GOAL.search(_left(note, match.start(), 40)) or re.search(
                r"right ventric|\brv|fractional|stenosis|with a? ?heart|rate|grade|blood|pressure|not ", gap
            ):
                continue
            high = _percent(match["high"]) if match["high"] else None
            bound = (match.groupdict().get("bound") or "").strip()
            start = match.start("bound") if bound else match.start("low")
            end = max(match.end(group) for group in ("low", "sign", "high", "sign2"))
            value: Any = (low, high) if high is not None else low
            if high is not None and re.search(r"\bfrom\s$", gap):
                # "from 25 to 55%": it is now the second.
                start, value = match.start("high"), high
            if bound:
                value = (None, low) if bound[0] in "l<u≤" or bound == "below" else (low, None)
            item = Found(start, end, rule, value, "%")
            past = _EARLIER_BEFORE.search(_left(note, match.start(), 40)) or _EARLIER_AFTER.match(
                _right(note, match.end())
            )
            past = past or re.search(
                r"\b(?:previous(?:ly)?|prior|earlier|formerly|last|in (?:19|20)\d\d|baseline)\b", gap
            )
            (earlier if past else now).append(item)
    if now:
        numbers = {repr(item.value) for item in now}
        first = min(now, key=lambda item: item.start)
        return Found(first.start, first.end, first.rule, first.value, "%", contested=len(numbers) > 1)
    if worded := _EF_WORDS.search(note.lower):
        ones = re.search(rf"[\s\-]({'|'.join(_ONES)})", worded[1])
        total = float(_WORDS[worded[2]] + (_WORDS[ones[1]] if ones else 0))
        return Found(worded.start(1), worded.end(1), "words", total, "%")
    for pattern in (_EF_WORD_BEFORE, _EF_WORD_AFTER):
        said = pattern.search(note.lower)
        if said and not _RIGHT_HEART.search(note.lower[max(0, said.start() - 30) : said.start()]):
            return Found(said.start("word"), said.end("word"), "word", said["word"])
    if earlier:
        first = earlier[0]
        return Found(first.start, first.end, "earlier", first.value, "%")
    return None


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = re.compile(
    r"(?<![\d./\-])(?:(?P<iso>(?:19|20)\d\d[\-/.]\d{1,2}[\-/.]\d{1,2})|(?P<slash>\d{1,2}[/\-.]\d{1,2}[/\-.](?:(?:19|"
    r"20)\d\d|\d\d))(?![\d/])"
    rf"|(?P<named>\d{{1,2}}(?:st|nd|rd|th)?\s(?:of )?{_MONTH}(?:,?\s(?:19|20)\d\d)?))(?![\d])"
    rf"|\b(?P<month>{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s(?:19|20)\d\d)?(?!\d)|{_MONTH},?\s(?:19|20)\d\d)"
    r"|(?<![\d./\-])(?P<monthyear>\d{1,2}/(?:19|20)\d\d)(?!\d)"
    r"|\b(?P<relative>yesterday|(?:earlier )?(?:today|this (?:morning|afternoon|"
    r"evening))|(?:a|one|two|three|four|five|six|seven|eight|nine|ten|several|"
    r"\d{1,3}) (?:days?|weeks?|months?|years?|hours?) (?:ago|earlier|prior|previously|"
    r"before)"
    r"|last (?:night|week|month|year)|(?:(?:\d{1,2}|one|two|three|a) (?:days?|"
    r"weeks?|months?|years?|hours?) before)|one (?:day|week|month|year) prior)"
    r"|\b(?:in|since|from|of|dated|year)\s(?P<year>(?:19|20)\d\d)(?![\d/\-.]\d)"
)


def find_dates(note: Passage, start: int = 0, end: int | None = None) -> Iterator[Found]:
    """Yield dates and times relative to the note, in order; `rule` says how they are written."""
    for match in _DATE.finditer(note.lower, start, len(note.lower) if end is None else end):
        for rule, text in match.groupdict().items():
            if text is not None:
                yield Found(match.start(rule), match.end(rule), rule, note.text[match.start(rule) : match.end(rule)])
                break
