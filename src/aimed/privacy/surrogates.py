"""Surrogates: what stands in the place of a name, a date or a number, the same wherever the same value was met."""

from __future__ import annotations

import datetime as dt
import hmac
import math
import re
import tomllib
import unicodedata
from functools import lru_cache
from hashlib import shake_256
from importlib import resources
from typing import Any, NamedTuple, overload

from aimed.core.errors import RefusedError

__all__ = ["KEY_BYTES", "Surrogates", "words_version"]

KEY_BYTES = 32
"""A key has at least so many bytes."""

LATEST_AGE = 89
_MOST_DAYS = 730
_ROUNDS = 8


class _Words(NamedTuple):
    version: str
    names: tuple[str, ...]
    places: tuple[str, ...]
    organisations: tuple[str, ...]
    kept_names: frozenset[str]
    kept_places: frozenset[str]
    kept_organisations: frozenset[str]


@lru_cache(maxsize=1)
def _words() -> _Words:
    read = tomllib.loads(resources.files("aimed.privacy").joinpath("surrogates.toml").read_text("utf-8"))
    keep = read["keep"]
    return _Words(
        read["version"],
        tuple(read["names"].split()),
        tuple(read["places"].split()),
        tuple(read["organisations"].split()),
        frozenset(keep["names"].split()),
        frozenset(keep["places"].split()),
        frozenset(keep["organisations"].split()),
    )


def words_version() -> str:
    """Return the version of the word lists: with the key it fixes every surrogate.

    Examples
    --------
    >>> words_version()
    '1.0.0'
    """
    return _words().version


_PART = re.compile(r"[^\W_]+(?:['’`][^\W_]+)*")
_OWNED = re.compile(r"['’]s$", re.IGNORECASE)
_NO_MARKS = {ord("ø"): "o", ord("ł"): "l", ord("đ"): "d", ord("æ"): "ae", ord("œ"): "oe", ord("ı"): "i"}


def _folded(text: str) -> str:
    """Return text without case, accents and whatever is neither a letter nor a digit."""
    if text.isascii():
        return "".join(filter(str.isalnum, text)).lower()
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return "".join(filter(str.isalnum, plain)).translate(_NO_MARKS).casefold()


def _cased(like: str, word: str) -> str:
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word.lower() if like.islower() else word


_MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december",
]  # fmt: skip
_MONTH_OF = {name: i for i, full in enumerate(_MONTHS, 1) for name in (full, full[:3])} | {"sept": 9}
_NAME = r"(?P<name>[A-Za-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?P<th>st|nd|rd|th)?"
# Only a time of day stays behind a date: whatever else a cell holds there could name somebody.
_TIME = (
    r"[T ,]\s*\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?\s*(?:Z|UTC|GMT|[+-]\d\d:?\d\d|hrs?|h)?"
    r"|[T ]\d{2,6}(?:\.\d+)?(?:Z|[+-]\d{4})?"
)
_TAIL = rf"(?P<tail>{_TIME}|)"
# Tried in turn; what they name (y, m, d, month name) is put back in the same places.
_DATES = [
    re.compile(p + r"\Z", re.DOTALL)
    for p in (
        rf"(?P<y>\d{{4}})(?P<s1>[-/.])(?P<m>\d{{1,2}})(?P<s2>[-/.])(?P<d>\d{{1,2}}){_TAIL}",
        r"(?P<y>(?:1[6-9]|20|21)\d\d)(?P<m>\d{2})(?P<d>\d{2})(?P<tail>(?:\d{2}){0,3}(?:\.\d+)?(?:[+-]\d{4})?|"
        + _TIME
        + ")",
        rf"(?P<a>\d{{1,2}})(?P<s1>[-/.])(?P<b>\d{{1,2}})(?P<s2>[-/.])(?P<y>\d{{4}}|\d{{2}}){_TAIL}",
        rf"{_NAME}(?P<s1>\s+){_DAY}(?P<s2>,?\s+|,|,?\s*['’]|/)(?P<y>\d{{4}}|(?<=['’/])\d{{2}}){_TAIL}",
        rf"{_DAY}(?P<s1>(?:\s+(?:day\s+)?(?:of\s+)?|[-/]))(?P<name>[A-Za-z]{{3,9}})(?P<s2>[.,]?\s+|[-/,])"
        rf"(?P<y>\d{{4}}|\d{{2}}){_TAIL}",
        r"(?P<y>\d{4})(?P<s1>[-/])(?P<m>\d{1,2})",
        r"(?P<m>\d{1,2})(?P<s1>[-/])(?P<y>\d{4})",
        rf"{_NAME}(?P<s1>,?\s+(?:of\s+)?|[-/]|,?\s*['’])(?P<y>\d{{4}}|(?<=['’])\d{{2}})",
        rf"{_NAME}(?P<s1>\s+){_DAY}",
        rf"{_DAY}(?P<s1>\s+(?:of\s+)?|-|){_NAME}",
        r"(?P<a>\d{1,2})(?P<s1>[-/.])(?P<b>\d{1,2})",
        r"(?P<y>(?:1[6-9]|20|21)\d\d)",
    )
]
_SEP = r"\s*(?:-|–|to|and|through|until|&|/)\s*"
# A range is two dates that share a month or a year.
_RANGES = [
    re.compile(p + r"\Z", re.IGNORECASE)
    for p in (
        rf"(?P<a>\d{{1,2}}(?:st|nd|rd|th)?){_SEP}(?P<b>\d{{1,2}}(?:st|nd|rd|th)?)(?P<after>\s+(?:of\s+)?[a-z]{{3,9}}\.?,?(?:\s+\d{{4}})?)",
        rf"(?P<before>[a-z]{{3,9}}\.?\s+)(?P<a>\d{{1,2}}(?:st|nd|rd|th)?){_SEP}(?P<b>\d{{1,2}}(?:st|nd|rd|th)?)(?P<after>,?\s+\d{{4}}|)",
    )
]
_BETWEEN = re.compile(
    r"\s+(?:to|and|through|until|-|–)\s+|\s*[–]\s*|(?<=/\d{2})\s*-\s*(?=\d{1,2}/)|(?<=/\d)\s*-\s*(?=\d{1,2}/)|(?<=\d{4})\s*-\s*(?=\d{1,2}/)"
)
_WEEKDAY = re.compile(r"\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b\.?,?\s*", re.IGNORECASE)
_ORDINALS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
_NINETIES = re.compile(r"\b(?:ninety|(?:one\s+)?hundred)(?:[\s-]+(?:and[\s-]+)?[a-z]+)?", re.IGNORECASE)
_AGE = re.compile(r"(?<!\d)\d{1,3}(?!\d)\+?")
_YEARS = re.compile(r"\b(?:years?|yrs?|y\W?o|yo|old|aged?)\b", re.IGNORECASE)
_SAID = frozenset(
    [
        "ext",
        "extension",
        "tel",
        "telephone",
        "phone",
        "fax",
        "cell",
        "mobile",
        "home",
        "work",
        "office",
        "pager",
        "x",
        "no",
        "mrn",
        "ssn",
        "id",
        "acct",
    ]
)

_STATES = frozenset(
    [
        "AL",
        "AK",
        "AZ",
        "AR",
        "CA",
        "CO",
        "CT",
        "DE",
        "DC",
        "FL",
        "GA",
        "HI",
        "ID",
        "IL",
        "IN",
        "IA",
        "KS",
        "KY",
        "LA",
        "ME",
        "MD",
        "MA",
        "MI",
        "MN",
        "MS",
        "MO",
        "MT",
        "NE",
        "NV",
        "NH",
        "NJ",
        "NM",
        "NY",
        "NC",
        "ND",
        "OH",
        "OK",
        "OR",
        "PA",
        "RI",
        "SC",
        "SD",
        "TN",
        "TX",
        "UT",
        "VT",
        "VA",
        "WA",
        "WV",
        "WI",
        "WY",
    ]
)
_WORD = re.compile(r"\b[A-Za-z]+\b")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _said(text: str) -> set[int]:
    """Return where a text only says what its number is, such as MRN; nowhere when it says nothing else."""
    kept: set[int] = set()
    if not text.isdigit():
        for found in _WORD.finditer(text):
            if found.group().lower() in _SAID:
                kept.update(range(*found.span()))
        if kept and not any(char.isalnum() for i, char in enumerate(text) if i not in kept):
            kept.clear()
    return kept


class Surrogates:
    """Replace identifiers by surrogates that depend on a key and on the value alone.

    Every surrogate is computed with HMAC-SHA256 under the key, so no table of originals exists anywhere, two machines
    with one key agree, and somebody without the key can neither undo nor repeat the map.

    Parameters
    ----------
    key : bytes
        At least 32 bytes; see `aimed.privacy.key`.

    Raises
    ------
    RefusedError
        The key is too short.

    Notes
    -----
    Identifiers are permuted, not hashed: a Feistel network over all identifiers of one form gives each its own
    surrogate, so two patients never become one. Names are drawn from a list of some five hundred: two people may come
    to share one, as people do.

    References
    ----------
    NIST SP 800-38G (2016), Methods for Format-Preserving Encryption. 45 CFR 164.514(b)(2).

    Examples
    --------
    >>> given = Surrogates(bytes(32))
    >>> given.person("John Smith").split() == given.person("SMITH^JOHN").title().split("^")[::-1]
    True
    >>> given.identifier("MRN-0042") != "MRN-0042", len(given.identifier("MRN-0042"))
    (True, 8)
    >>> given.date_shift("A1") != 0
    True
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise RefusedError(f"a key of {len(key)} bytes", f"{KEY_BYTES} or more", "let aimed make one")
        self._key = hmac.digest(bytes(key), b"aimed surrogates 1", "sha256")

    def __repr__(self) -> str:
        return "Surrogates(key=hidden)"

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), "sha256")

    def _pick(self, kind: str, folded: str, among: tuple[str, ...]) -> str:
        at = int.from_bytes(self._digest(kind, folded)[:8], "big") % len(among)
        # The word itself would be no surrogate.
        return among[at] if among[at].lower() != folded else among[(at + 1) % len(among)]

    def tag(self, kind: str, text: str, length: int = 16) -> str:
        """Return a keyed name for a value, in hexadecimal: for file names and manifests.

        Parameters
        ----------
        kind : str
            What the value is; one value has another tag in another kind.
        text : str
            The value, taken letter by letter.
        length : int
            Letters wanted, at most 64.

        Returns
        -------
        str
        """
        return self._digest(f"tag {kind}", text).hex()[:length]

    # Names, places and organisations

    def person(self, text: str) -> str:
        """Return the name with each of its parts replaced; titles, order, commas, carets and case stay.

        Parameters
        ----------
        text : str
            "John Smith", "Smith, John" or DICOM "Smith^John".

        Returns
        -------
        str
        """
        kept, names = _words().kept_names, _words().names

        def replaced(found: re.Match[str]) -> str:
            word = found.group()
            owned = _OWNED.search(word)
            stem = word[: owned.start()] if owned else word
            folded = _folded(stem)
            if not folded or folded in kept:
                return word
            ending = owned.group() if owned else ""
            if stem.isascii() and stem.isdigit():
                return self.identifier(stem) + ending
            if len(stem) == 1:
                return _cased(stem, self._pick("initial", folded, tuple(_LETTERS.upper()))) + ending
            return _cased(stem, self._pick("name", folded, names)) + ending

        return _PART.sub(replaced, unicodedata.normalize("NFC", text) if not text.isascii() else text)

    def _runs(self, kind: str, text: str, among: tuple[str, ...], kept: frozenset[str]) -> str:
        """Replace each run of words that are not kept by one word of a list, and each number by another."""
        out: list[str] = []
        run: list[re.Match[str]] = []
        at = 0

        def close() -> None:
            if run:
                first = run[0].group()
                out.append(_cased(first, self._pick(kind, "".join(_folded(m.group()) for m in run), among)))
                run.clear()

        text = text if text.isascii() else unicodedata.normalize("NFC", text)
        for found in _PART.finditer(text):
            gap, word = text[at : found.start()], found.group()
            digits = any(c.isdigit() for c in word)
            keeps = not digits and (_folded(word) in kept or (kind == "place" and word in _STATES))
            joined = run and not digits and not keeps and gap.strip(" -.'’\t") == ""
            if not joined:
                close()
                out.append(gap)
            at = found.end()
            if digits:
                out.append(self.identifier(word))
            elif keeps:
                out.append(word)
            else:
                run.append(found)
        close()
        out.append(text[at:])
        return "".join(out)

    def place(self, text: str) -> str:
        """Return the address or place with names and numbers replaced; words such as Street stay."""
        return self._runs("place", text, _words().places, _words().kept_places)

    def organisation(self, text: str) -> str:
        """Return the organisation with its own name replaced; words such as Hospital stay."""
        return self._runs("organisation", text, _words().organisations, _words().kept_organisations)

    # Numbers and identifiers

    def _permuted(self, form: str, value: int, size: int) -> int:
        """Return the image of a number below `size` under a keyed permutation."""
        if size < 2:
            return value
        left_size = math.isqrt(size - 1) + 1
        right_size = -(-size // left_size)
        width = max(8, (left_size.bit_length() + 7) // 8 + 8)
        while True:  # a walk along the cycle until it is inside again
            right, left = divmod(value, left_size)
            for turn in range(_ROUNDS):
                odd = turn & 1
                mixed = self._digest(f"number {form} {size} {turn}", str(left if odd else right))
                if width > len(mixed):
                    mixed = shake_256(mixed).digest(width)
                number = int.from_bytes(mixed[:width], "big")
                if odd:
                    right = (right + number) % right_size
                else:
                    left = (left + number) % left_size
            value = right * left_size + left
            if value < size:
                return value

    def identifier(self, text: str) -> str:
        """Return the identifier with letters for letters and digits for digits; what separates them stays.

        Parameters
        ----------
        text : str
            A record number, an account, a serial number.

        Returns
        -------
        str
            Different identifiers of one form have different surrogates. A zero in front stays, and so do words that
            say what it is, such as MRN or ext.
        """
        kept = _said(text)
        symbols: list[tuple[int, int, int]] = []  # place in the text, radix, value
        started = False
        for i, char in enumerate(text):
            if i in kept or not char.isalnum():
                continue
            plain = char.lower() if char.isascii() else _folded(char)[:1]
            if plain.isdecimal():
                digit = unicodedata.decimal(plain)
                # A number that is read as a number later keeps its length: only the first digit is bound.
                radix = 10 if started else 1 if digit == 0 else 9
                symbols.append((i, radix, digit - (radix == 9) if radix > 1 else 0))
                started = True
            else:
                letter = ord(plain) - 97 if "a" <= plain <= "z" else ord(char) % 26
                symbols.append((i, 26, letter))
                started = True
        if len(symbols) == 1 and symbols[0][1] != 26:
            symbols = [(symbols[0][0], 10, unicodedata.decimal(text[symbols[0][0]], 0))]
        size, value = 1, 0
        form = "".join("a" if radix == 26 else str(radix % 10) for _, radix, _ in symbols)
        for _, radix, symbol in symbols:
            size, value = size * radix, value * radix + symbol
        value = self._permuted(form, value, size)
        chars = list(text)
        for i, radix, _ in reversed(symbols):
            value, symbol = divmod(value, radix)
            if radix == 26:
                chars[i] = _LETTERS[symbol].upper() if text[i].isupper() else _LETTERS[symbol]
            else:
                chars[i] = str(symbol + (1 if radix == 9 else 0))
        return "".join(chars)

    def number(self, text: str) -> str:
        """Return a telephone or other number with its digits replaced, as `identifier` does."""
        return self.identifier(text)

    def email(self, text: str) -> str:
        """Return an address at example.org."""
        folded = text.strip().lower()
        number = int.from_bytes(self._digest("email", folded)[:4], "big") % 10**6
        names = _words().names
        return f"{self._pick('email', folded, names).lower()}.{number:06d}@example.org"

    def url(self, text: str) -> str:
        """Return an address below https://example.org."""
        return f"https://example.org/{self._digest('url', text.strip().lower()).hex()[:12]}"

    def ip(self, text: str) -> str:
        """Return an address of a private network, or of the documentation range of version 6."""
        made = self._digest("ip", text.strip().lower())
        if ":" in text:
            return f"2001:db8::{made[:2].hex()}:{made[2:4].hex()}"
        return f"10.{made[0]}.{made[1]}.{1 + made[2] % 254}"

    def uid(self, uid: str) -> str:
        """Return a DICOM UID under 2.25; those that DICOM itself defines (1.2.840.10008) stay."""
        plain = uid.strip(" \0")
        if not plain or plain.startswith("1.2.840.10008."):
            return plain
        return f"2.25.{int.from_bytes(self._digest('uid', plain)[:16], 'big')}"

    # Dates and ages

    def date_shift(self, patient: str | None) -> int:
        """Return by how many days the dates of a patient move: 1 to 730 into the past.

        Parameters
        ----------
        patient : str or None
            The identifier of the patient, as the files have it; None where nobody knows.

        Returns
        -------
        int
        """
        said = _said(patient) if patient is not None else ()
        folded = _folded("".join(c for i, c in enumerate(patient or "") if i not in said))
        return -1 - int.from_bytes(self._digest("shift", folded)[:8], "big") % _MOST_DAYS

    @overload
    def shift_date(self, date: dt.datetime, patient: str | None = None) -> dt.datetime: ...
    @overload
    def shift_date(self, date: dt.date, patient: str | None = None) -> dt.date: ...
    @overload
    def shift_date(self, date: str, patient: str | None = None) -> str: ...

    def shift_date(self, date: str | dt.date | dt.datetime, patient: str | None = None) -> str | dt.date | dt.datetime:
        """Return the date moved by the shift of the patient, in the form it was given in.

        Parameters
        ----------
        date : str or datetime.date or datetime.datetime
            Text may be of any usual form; the time of day stays. A day without a year and a month alone move too.
        patient : str, optional
            The identifier of the patient.

        Returns
        -------
        str or datetime.date or datetime.datetime
            "[date]" for text that is no date.
        """
        shift = dt.timedelta(days=self.date_shift(patient))
        if not isinstance(date, str):
            try:
                return date + shift
            except OverflowError:
                return type(date)(1, 1, 1)
        text = date.strip()
        text = _WEEKDAY.sub("", text)  # the day of the week would give the shift away
        for pattern in _DATES:
            found = pattern.match(text)
            if found is not None:
                made = _moved(found, shift)
                if made is not None:
                    return made
        for pattern in _RANGES:
            found = pattern.match(text)
            if found is not None:
                got = {"before": "", **found.groupdict()}
                ends = [self.shift_date(f"{got['before']}{day}{got['after']}", patient) for day in (got["a"], got["b"])]
                return " to ".join(ends) if "[date]" not in ends else "[date]"
        halves = _BETWEEN.split(text)
        if len(halves) == 2:
            ends = [self.shift_date(half, patient) for half in halves]
            return " to ".join(ends) if "[date]" not in ends else "[date]"
        return "[date]"

    @staticmethod
    def age(n: int | float | str) -> str:
        """Return the age, with every age above 89 as 90+.

        Examples
        --------
        >>> Surrogates.age(64), Surrogates.age("93-year-old"), Surrogates.age("ninety-two years")
        ('64', '90+-year-old', '90+ years')
        """
        if not isinstance(n, str):
            return "90+" if n > LATEST_AGE else f"{n:g}"
        text = _AGE.sub(lambda m: "90+" if int(m.group().rstrip("+")) > LATEST_AGE else m.group(), n)
        return _NINETIES.sub("90+", text)

    def of_class(self, cls: Any, text: str, patient: str | None = None) -> str:
        """Return the surrogate of a text that belongs to one of the classes of identifiers.

        Parameters
        ----------
        cls : IdentifierClass or str
            A class as in `aimed.privacy.classes`.
        text : str
            What was found.
        patient : str, optional
            The identifier of the patient: it sets the shift of dates.

        Returns
        -------
        str
        """
        name = str(getattr(cls, "name", cls))
        if name == "name":
            return self.person(text)
        if name == "geography":
            return self.place(text)
        if name == "date":
            return self.age(text) if _is_age(text) else self.shift_date(text, patient)
        if name in ("telephone", "fax"):
            return self.number(text)
        if name == "email":
            return self.email(text)
        if name == "url":
            return self.url(text)
        if name == "ip_address":
            return self.ip(text)
        if name == "photograph":
            return "[PHOTOGRAPH]"
        return self.identifier(text)


def _is_age(text: str) -> bool:
    # Nothing but the age may be there: what stands beside it would stay ("New Year's Eve" is no age either).
    rest = _NINETIES.sub("", _AGE.sub("", text, count=1), count=1)
    rest = re.sub(r"\b(?:of|is|the|and|m|f|male|female|man|woman|in|her|his)\b", "", _YEARS.sub("", rest), flags=re.I)
    numbered = _AGE.search(text) is not None or _NINETIES.search(text) is not None
    return numbered and not any(c.isalnum() for c in rest)


def _padded(like: str, value: int) -> str:
    return f"{value:02d}" if len(like) > 1 else str(value)


def _moved(found: re.Match[str], shift: dt.timedelta) -> str | None:
    """Return the text of a match with its date moved, or None when it is no date."""
    got = found.groupdict()
    name = got.get("name")
    year, month, day = got.get("y"), got.get("m"), got.get("d") or got.get("day")
    first, second = got.get("a"), got.get("b")
    day_first = False
    if first is not None and second is not None:  # 31/12 is a day first; 12/11 is read as a month first
        day_first = int(first) > 12 or got.get("s1") == "."
        month, day = (second, first) if day_first else (first, second)
    if name is not None and name.lower() not in _MONTH_OF:
        return None
    number = _MONTH_OF[name.lower()] if name is not None else int(month) if month else 7
    years = 2001 if year is None else int(year)
    if year is not None and len(year) == 2:
        years += 2000 if years < 50 else 1900
    try:
        moved = dt.date(years, number, int(day) if day else 1 if month is None and name is None else 15) + shift
    except (ValueError, OverflowError):
        return None
    spans = []
    for group in ("y", "m", "d", "day", "name", "th", "a", "b"):
        text = got.get(group)
        if text is None:
            continue
        if group == "y":
            new = f"{moved.year:04d}" if len(text) == 4 else f"{moved.year % 100:02d}"
        elif group == "name":
            full = _MONTHS[moved.month - 1].title()
            short = name is not None and len(name) <= 4 and name.lower() not in _MONTHS
            new = _cased(text, full[:3] if short else full)
        elif group == "th":
            new = _ORDINALS.get(moved.day, "th")
        else:
            is_month = group == "m" or (group == "a" and not day_first) or (group == "b" and day_first)
            new = _padded(text, moved.month if is_month else moved.day)
        spans.append((*found.span(group), new))
    out, at = [], found.start()
    for start, end, new in sorted(spans):
        out += [found.string[at:start], new]
        at = end
    return "".join([*out, found.string[at : found.end()]])
