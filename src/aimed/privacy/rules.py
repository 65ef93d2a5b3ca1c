"""Rules for identifiers: forms with check digits, dates, addresses and words in context, in time linear in the note."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

from aimed.privacy import checksums as check
from aimed.privacy import rule_patterns as form
from aimed.privacy.eponyms import eponym_spans
from aimed.privacy.rule_words import (
    COUNTRIES,
    FACILITY_WORDS,
    NOT_A_NAME,
    PARTICLES,
    STATES,
)

__all__ = ["RULES_VERSION", "Found", "find_by_rules"]

RULES_VERSION: Final = "1.0.0"

Found = tuple[int, int, str, str]
"""Start, end, class and rule of one identifier."""

# A hit and how sure its rule is: of two that overlap the surer one names the class.
_Hit = tuple[int, int, str, str, int]

_CONTEXT, _CHECKED, _SHAPE, _WEAK = 4, 3, 2, 1

# Every pattern starts with a set or with literals, so that the search runs over the text once and stops only there;
# all repeats have an upper bound.


def _lower(note: str) -> str:
    low = note.lower()
    if len(low) == len(note):
        return low
    # Some letters grow when they are made small, and the places would move.
    return "".join(c if len(x := c.lower()) != 1 else x for c in note)


def _upper(low: str) -> str:
    up = low.upper()
    return up if len(up) == len(low) else low


def _name_from(
    note: str, low: str, pos: int, *, any_case: bool, comma: bool = False, most: int = 4, stop: bool = True
) -> tuple[int, int] | None:
    """Return the place of the name that starts at `pos`, or None when what stands there is no name."""
    start, end, parts, full, end_full, gone = pos, pos, 0, 0, pos, False
    while parts < most + 2:
        m = form.PART.match(note, pos)
        if m is None:
            break
        word, lw = m.group(), low[m.start() : m.end()]
        if m.end() < len(note) and note[m.end()].isdigit():
            # "BRCA2" is a gene.
            break
        bare = lw.rstrip(".")
        possessive = lw.endswith(("'s", "’s"))
        if possessive:
            bare = bare[:-2]
        first = word[0].isupper()
        after = m.end()
        if len(bare) == 1 and (bare != "a" or first) and (first or (after < len(note) and note[after] == ".")):
            if after < len(note) and note[after] == "." and not word.endswith("."):
                after += 1
            parts += 1
        elif bare in PARTICLES and full < most:
            if not (first or any_case or parts or (after < len(note) and note[after] == " ")):
                break
        elif bare in form.SUFFIX and full:
            if bare in ("phd", "md"):
                break
            end_full, gone = after, True
        elif ((stop or word.islower()) and bare in NOT_A_NAME) or (not first and not any_case):
            break
        else:
            parts += 1
            full += 1
            end_full = after - 2 if possessive else after
            if possessive or full >= most:
                break
        end = after
        if gone:
            break
        if comma and full == 1 and note.startswith(", ", end):
            pos, comma = end + 2, False
            continue
        if end < len(note) and note[end] in ".-" and end + 1 < len(note) and note[end + 1].isalpha() and len(bare) == 1:
            pos = end + 1
            continue
        g = form.GAP.match(note, end)
        if g is None or (g.group()[0] == "." and len(bare) > 2):
            break
        pos = g.end()
    if not full:
        # "Dr. S." is a name as well.
        if parts and note[start].isupper() and note[end - 1] == ".":
            return start, end
        return None
    # An initial or the like after the last whole part belongs to it ("Smith, John A.").
    tail = note[end_full:end].strip(" .,")
    if tail and len(tail) == 1 and tail.isupper() and end > end_full:
        end_full = end
    return (start, end_full) if end_full - start > 1 else None


def _ids(note: str, low: str, out: list[_Hit]) -> None:
    length = len(note)
    plates = _upper(low) if note == low else note
    for m in form.KEYWORDS.finditer(low):
        word, end = m.group(), m.end()
        cls = form.class_of(word)
        if cls in ("telephone", "fax"):
            v = form.T_VALUE.match(low, end)
            if v is None:
                continue
            digits = sum(c.isdigit() for c in v.group(1))
            tail = low[v.end(1) : v.end(1) + 3].strip()
            if digits < 7 and not (
                word.startswith(("pager", "paged", "bleep", "beeper", "ext")) or ":" in low[end : v.start(1)]
            ):
                continue
            if tail.startswith(("mg", "mm", "cm", "%", "ml")) or (
                digits < 7 and word == "ext" and end < length and note[end] not in " .:"
            ):
                continue
            out.append((v.start(1), v.end(1), cls, f"{cls}_context", _CONTEXT))
            continue
        if cls == "vehicle":
            v = form.ID_VALUE.match(note, end) if word.startswith("vin") else form.PLATE_VALUE.match(plates, end)
        else:
            v = form.ID_VALUE.match(note, end)
        if v is None:
            continue
        value = v.group(1)
        glue = low[end : v.start(1)]
        s, e = v.span(1)
        spelt = any(c in glue for c in ":#") and "-" in value and value.isupper()
        if form.DIGIT.search(value) is None and not spelt:
            continue
        digits = sum(c.isdigit() for c in value)
        marked = (
            any(c in glue for c in ":#=")
            or "#" in word
            or re.search(r"\b(?:no|number|id|num|nr|identifier)\b", word + glue) is not None
        )
        # "lot P337N" and "plate YA64 BYU" need no mark; "lot 3" and "plate 7" do.
        coded = len(value) >= 4 and digits >= 2 and any(c.isalpha() for c in value)
        if len(value) < (3 if marked else 4) or (
            word in form.NEEDS_MARK
            and not marked
            and not (digits >= 4 and (digits >= 5 or value[0].isalpha()))
            and not (coded and word in ("lot", "plate", "plates", "batch", "serial"))
        ):
            continue
        if value[0].isalpha() and " " in value and value.split(" ", 1)[0].lower() in NOT_A_NAME:
            continue
        if "#" not in word + glue and form.DATE_LIKE.match(low, s) is not None:
            continue
        # A date, a time or a measure after a word of context is not its number.
        if re.fullmatch(
            r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\d\d?-(?:0?[1-9]|[12]\d|3[01])-\d{4}|\d{1,2}:\d\d|\d+(?:\.\d+)?(?:mg"
            r"|mm|cm|ml|kg|g|mcg|th|st|nd|rd|yo|y|hz|kv|mhz|fr|french)|\d{4}-\d\d-\d\d",
            value,
            re.I,
        ):
            continue
        if (
            re.match(
                r"[ ]?(?:mg|mm|cm|ml|kg|g|mcg|%|years?|days?|weeks?|months?|hours?|minutes?|units?|patients?|x"
                r"|beats|bpm|pack|am|pm)\b",
                low[e : e + 9],
            )
            and digits < 5
        ):
            continue
        if cls == "health_plan" and (rest := form.CARD_REST.match(low, e)) is not None:
            e = rest.end()
        out.append((s, e, cls, f"{cls}_context", _CONTEXT))


_DAYS_OF_WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _dates(note: str, low: str, strict: bool, out: list[_Hit]) -> None:
    for m in form.D_NUMERIC.finditer(note):
        sep = m.group(1)
        a, b = int(note[m.start() : m.start(1)]), int(m.group(2))
        if not (1 <= a <= 31 and 1 <= b <= 31 and min(a, b) <= 12):
            continue
        if (
            sep in ".-"
            and len(m.group(3)) == 2
            and (
                (
                    m.start(1) - m.start() + len(m.group(2)) < 3
                    and re.search(
                        r"\b(?:on|since|dated|date|from|until|extracted|removed|inserted|seen|born|geb\.|dob:?)[ ]\Z",
                        low[max(0, m.start() - 12) : m.start()],
                    )
                    is None
                )
                or low[max(0, m.start() - 8) : m.start()].rstrip().endswith(("version", "v", "ver", "release"))
            )
        ):
            continue
        if len(m.group(3)) == 4 and not 1800 <= int(m.group(3)) <= 2100:
            continue
        out.append((m.start(), m.end(), "date", "date_numeric", _SHAPE))
    for pattern, rule in (
        (form.D_ISO, "date_iso"),
        (form.D_DICOM, "date_dicom"),
        (form.D_MONTH_YEAR, "date_month_year"),
        (form.D_YEAR_MONTH, "date_year_month"),
    ):
        for m in pattern.finditer(note):
            if rule == "date_month_year" and not 1 <= int(re.split("[/-]", m.group())[0]) <= 12:
                continue
            out.append((m.start(), m.end(), "date", rule, _SHAPE))
    months = any(w in low for w in form.MONTH_STEMS)
    for m in form.D_DAY_WORD.finditer(low) if months else ():
        day = int(re.match(r"\d+", m.group()).group())  # type: ignore[union-attr]
        if 1 <= day <= 31 and not _plain_verb(note, m):
            end = m.end() - (1 if note[m.end() - 1] in ".," else 0)
            out.append((m.start(), end, "date", "date_words", _SHAPE))
    for m in form.D_WORD_DAY.finditer(low) if months else ():
        if not _plain_verb(note, m):
            out.append((m.start(), m.end(), "date", "date_words", _SHAPE))
    for m in form.D_SHORT.finditer(low):
        if note[m.end(1) : m.end(1) + 1] == "." and not low.startswith(_DAYS_OF_WEEK, m.start()):
            # "down from 10/10."
            continue
        out.append((m.start(1), m.end(1), "date", "date_day_month", _WEAK))
    for m in form.D_MONTH_DAY.finditer(low) if "/" in low else ():
        if (
            int(m.group().split("/")[0]) <= 12
            and form.SCORE_BEFORE.search(low[max(0, m.start() - 12) : m.start()]) is None
        ):
            out.append((m.start(), m.end(), "date", "date_month_day", _WEAK))
    for m in form.AGE_AFTER.finditer(low):
        if 90 <= int(m.group()) <= 125 and not low[max(0, m.start() - 12) : m.start()].rstrip().endswith(
            ("temp", "temperature", "t", "last", "past", "for", "over", "under", "than")
        ):
            out.append((m.start(), m.end(), "date", "age_over_89", _CONTEXT))
    for m in form.AGE_BEFORE.finditer(low):
        out.append((m.start(1), m.end(1), "date", "age_over_89", _CONTEXT))
    if strict:
        for m in form.D_BARE_YEAR.finditer(note):
            out.append((m.start(), m.end(), "date", "date_year", _WEAK))


def _plain_verb(note: str, m: re.Match[str]) -> bool:
    """Tell whether "may" or "march" is a verb here, as in "2 may be" or "stage 3 mar"."""
    text = note[m.start() : m.end()]
    found = re.search(r"[a-zA-Z]{3,}", re.sub(r"\b(?:the|of|and|to|st|nd|rd|th)\b|(?<=\d)(?:st|nd|rd|th)", " ", text))
    if found is None or found.group().lower() not in ("may", "march", "mar"):
        return False
    word = found.group()
    if re.search(r"\d{4}|\d(?:st|nd|rd|th)", text.lower()) is not None:
        return False
    if word.islower() and not note.islower():
        return True
    return not word.istitle() and form.VERB.match(note, m.end()) is not None


def _date_words(note: str, low: str, strict: bool, out: list[_Hit]) -> None:
    if any(w in low for w in form.MONTH_STEMS):
        for m in form.D_WORD_YEAR.finditer(low):
            out.append((m.start(), m.end(), "date", "date_month_year", _SHAPE))
        for m in form.D_IN_MONTH.finditer(low):
            word = note[m.start(1) : m.end(1)]
            # "this may be": a verb; "IN MAY" is a month, "THIS MAY" is none.
            if word in ("may", "march") or (word in ("MAY", "MARCH") and low[m.start()] in "olt"):
                continue
            out.append((m.start(1), m.end(1), "date", "date_month", _WEAK))
    if any(w in low for w in form.FOREIGN_MONTHS):
        for m in form.D_FOREIGN.finditer(low):
            # A month alone may be a word of this language.
            if form.DIGIT.search(m.group()) is not None:
                out.append((m.start(), m.end(), "date", "date_foreign", _SHAPE))
    if any(w in low for w in ("spring", "summer", "autumn", "winter", "fall")):
        for m in form.D_SEASON.finditer(low):
            out.append((m.start(), m.end(), "date", "date_season", _WEAK))
    for m in form.D_WEEKDAY.finditer(low):
        out.append((m.start(), m.end(), "date", "date_weekday", _SHAPE))
    if any(w in low for w in form.HOLIDAY_STEMS):
        for m in form.D_HOLIDAY.finditer(low):
            out.append((m.start(), m.end(), "date", "date_holiday", _SHAPE))
    if "ninety" in low or "hundred" in low or "enarian" in low:
        for m in form.AGE_WORDS.finditer(low):
            out.append((m.start(), m.end(), "date", "age_over_89", _CONTEXT))
    if strict:
        for m in form.D_LONE_WEEKDAY.finditer(low):
            out.append((m.start(), m.end(), "date", "date_weekday", _WEAK))


def _fax_near(low: str, start: int) -> bool:
    before = low[max(0, start - 24) : start]
    at = max(
        before.rfind("fax"), before.rfind("facsimile"), before.rfind("f:") if before.rstrip().endswith("f:") else -1
    )
    return (
        at >= 0
        and "\n" not in before[at:].rstrip()
        and max(before.rfind("tel"), before.rfind("phone"), before.rfind("ph:")) < at
    )


def _phones(note: str, low: str, out: list[_Hit]) -> None:
    patterns: list[tuple[re.Pattern[str], str, int]] = [
        (form.T_US, "telephone_us", _SHAPE),
        (form.T_ZERO, "telephone_national", _WEAK),
        (form.T_LOCAL, "telephone_local", _WEAK),
        (form.T_PAIRS, "telephone_pairs", 0),
    ]
    if "+" in note:
        patterns.append((form.T_PLUS, "telephone_international", _SHAPE))
    for pattern, rule, sure in patterns:
        for m in pattern.finditer(low):
            if rule == "telephone_local" and not re.search(
                r"tel|phone|call|fax|ph\b|contact|cell|mobile|number|pager|at $",
                low[max(0, m.start() - 30) : m.start()],
            ):
                continue
            if rule == "telephone_national" and sum(c.isdigit() for c in m.group()) < 8:
                continue
            cls = "fax" if _fax_near(low, m.start()) else "telephone"
            out.append((m.start(), m.end(), cls, rule if cls == "telephone" else "fax_near", sure))


def _numbers(note: str, low: str, out: list[_Hit]) -> None:
    for m in form.T_EXTENSION.finditer(low):
        out.append((m.start(), m.end(), "telephone", "telephone_extension", _WEAK))
    for m in form.NUMBER_SIGN.finditer(note) if "#" in note else ():
        out.append((m.start() + 1, m.end(), "other_unique", "number_sign", 0))
    for m in form.SSN.finditer(note):
        if check.ssn_ok(m.group()):
            out.append((m.start(), m.end(), "social_security", "ssn", _CHECKED))
        elif m.group(1) == "-":
            out.append((m.start(), m.end(), "other_unique", "number_3_2_4", _SHAPE))
    for m in form.CARD.finditer(note):
        if check.luhn_ok(m.group()) and 12 <= sum(c.isdigit() for c in m.group()) <= 19:
            out.append((m.start(), m.end(), "account", "card", _CHECKED))
    for m in form.TEN.finditer(note):
        spaced = m.group(1)
        if spaced != "-" and check.nhs_ok(m.group()) and (spaced == " " or "nhs" in low):
            out.append((m.start(), m.end(), "medical_record", "nhs_number", _CHECKED))
        elif not spaced and check.npi_ok(m.group()):
            out.append((m.start(), m.end(), "certificate_licence", "npi", _WEAK))
    for m in form.ZIP4.finditer(note):
        out.append((m.start(), m.end(), "geography", "zip_plus_4", _WEAK))
    for m in form.DNI.finditer(note):
        if check.dni_ok(m.group()):
            out.append((m.start(), m.end(), "other_unique", "national_id", _CHECKED))
    for m in form.LONG.finditer(low):
        if form.D_DICOM.match(low, m.start()):
            continue
        out.append((m.start(), m.end(), "other_unique", "long_number", 0))
    if "(01)" in note:
        for m in form.UDI.finditer(note):
            if check.gs1_ok(m.group(1)):
                out.append((m.start(), m.end(), "device", "udi", _CHECKED))
            else:
                out.append((m.start(), m.end(), "device", "udi_unchecked", _SHAPE))


def _codes(note: str, low: str, out: list[_Hit]) -> None:
    """Numbers with capital letters."""
    for m in form.NINO.finditer(note):
        out.append((m.start(), m.end(), "social_security", "national_insurance", _CHECKED))
    for m in form.IBAN.finditer(note):
        # The last group of a line may be the next word: try without it.
        text, end = m.group(), m.end()
        while not check.iban_ok(text) and " " in text:
            text = text.rsplit(" ", 1)[0]
            end = m.start() + len(text)
        if check.iban_ok(text):
            out.append((m.start(), end, "account", "iban", _CHECKED))
    for m in form.DEA.finditer(note):
        if check.dea_ok(m.group()):
            out.append((m.start(), m.end(), "certificate_licence", "dea", _CHECKED))
    for m in form.VIN.finditer(note):
        if check.vin_ok(m.group()) and not m.group().isdigit():
            out.append((m.start(), m.end(), "vehicle", "vin", _CHECKED))
    for m in form.CASE.finditer(note):
        out.append((m.start(), m.end(), "medical_record", "case_number", 0))
    for m in form.CODE.finditer(note):
        out.append((m.start(), m.end(), "other_unique", "letters_and_number", 0))
    for m in form.POSTCODE.finditer(note):
        if m.group()[: 2 if m.group()[1].isalpha() else 1] not in form.AREAS:
            continue
        out.append((m.start(), m.end(), "geography", "postcode", _SHAPE))
    for m in form.POSTCODE_CA.finditer(note):
        out.append((m.start(), m.end(), "geography", "postcode", _SHAPE))


def _network(note: str, low: str, digits: bool, out: list[_Hit]) -> None:
    at = note.find("@")
    while at >= 0:
        head = form.MAIL_HEAD.search(note[max(0, at - 64) : at])
        tail = form.MAIL_TAIL.match(note, at + 1)
        if head is not None and tail is not None:
            end = tail.end()
            out.append((at - len(head.group().lstrip("'’.-")), end, "email", "email", _CONTEXT))
            at = note.find("@", end)
            continue
        handle = form.HANDLE.match(note, at)
        # "pain @rest" is no handle.
        if handle is not None and (
            any(c.isdigit() or c == "_" for c in handle.group(1))
            or form.HANDLE_NEAR.search(low[max(0, at - 40) : handle.end() + 16]) is not None
        ):
            end = handle.start() + len(handle.group().rstrip("."))
            out.append((at, end, "other_unique", "handle", _SHAPE))
        at = note.find("@", at + 1)
    if "://" in low or "www" in low:
        for m in form.URL.finditer(low):
            text = m.group().rstrip(".,;:!?)]}’'\"")
            out.append((m.start(), m.start() + len(text), "url", "url", _CONTEXT + 1))
    for m in form.DOMAIN.finditer(low):
        head = form.DOMAIN_HEAD.search(low[max(0, m.start() - 120) : m.start()])
        if head is None or len(head.group()) < 2:
            continue
        begin = m.start() - len(head.group())
        if begin and (note[begin - 1].isalnum() or note[begin - 1] in "@._-"):
            continue
        tld = m.group().split("/", 1)[0][1:]
        raw = note[m.start() + 1 : m.start() + 1 + len(tld)]
        # "edema.It was": a full stop without its space.
        if not (raw.islower() or note[begin : m.start()].isupper()) or (
            len(tld) == 2
            and tld in ("it", "de", "at", "es", "ca", "se", "ai", "io")
            and "." not in head.group()
            and "/" not in m.group()
            and len(head.group()) < 4
        ):
            continue
        text = low[begin : m.end()].rstrip(".,;:!?)]")
        out.append((begin, begin + len(text), "url", "domain", _SHAPE))
    if digits:
        for m in form.IPV4.finditer(note):
            if check.ipv4_ok(m.group()) and not low[max(0, m.start() - 9) : m.start()].rstrip(" .").endswith(
                ("version", "v", "ver", "release")
            ):
                out.append((m.start(), m.end(), "ip_address", "ipv4", _CHECKED))
        for m in form.DICOM_UID.finditer(note):
            if m.group().count(".") >= 5 or (m.group().startswith("2.25.") and len(m.group()) > 15):
                out.append((m.start(), m.end(), "other_unique", "uid", _CHECKED))
    if note.count(":") >= 2:
        for m in form.IPV6.finditer(note):
            if check.ipv6_ok(m.group().rstrip(":") if not m.group().endswith("::") else m.group()):
                out.append((m.start(), m.end(), "ip_address", "ipv6", _CHECKED))
    for m in form.MAC.finditer(note) if note.count(":") >= 5 or note.count("-") >= 5 else ():
        out.append((m.start(), m.end(), "device", "mac", _CHECKED))
    if digits and note.count("-") >= 4:
        for m in form.UUID.finditer(note):
            out.append((m.start(), m.end(), "other_unique", "uuid", _CHECKED))
    if digits:
        for m in form.HASH.finditer(note):
            text = m.group()
            if len(text) in (32, 40, 56, 64, 96, 128) and not text.isdigit() and not text.isalpha():
                out.append((m.start(), m.end(), "other_unique", "hash", _CHECKED))


def _files(note: str, low: str, out: list[_Hit]) -> None:
    last = 0
    for m in form.FILE.finditer(low):
        begin = m.start()
        while (
            begin > last and m.start() - begin < 160 and (note[begin - 1].isalnum() or note[begin - 1] in "_-+()/\\.~")
        ):
            begin -= 1
        while begin < m.start() and note[begin] in "(.)-+":
            begin += 1
        if begin == m.start():
            continue
        biometric = form.BIOMETRIC_WORD.search(low[begin : m.end()]) is not None
        if (
            low[m.start() : m.end()] in (".dat", ".raw", ".mp4", ".mov")
            and not biometric
            and not re.search(r"photo|face|portrait|video", low[begin : m.end()])
        ):
            continue
        cls = "biometric" if biometric else "photograph"
        last = m.end()
        out.append((begin, m.end(), cls, f"{cls}_file", _CONTEXT))


_OF_PLACES: Final = frozenset({"new", "old", "upper", "lower", "road", "street", "view", "head", "hand", "mouth"})


def _places(note: str, low: str, digits: bool, out: list[_Hit]) -> None:
    if digits:
        for m in form.STREET.finditer(low):
            end = m.end()
            if note[end - 1] == "." and low[m.start() : end].rsplit(" ", 1)[-1].rstrip(".") in form.STREET_FULL:
                end -= 1
            words = m.group().rstrip(".").split()
            if any(w.strip(".,") in form.NO_STREET for w in words[1:]):
                continue
            if "/" in words[0] and not any(c.isupper() for c in note[m.start() : m.end()]):
                continue
            middle = note[m.start() : m.end()]
            kind = (
                re.sub(r"\W+$", "", m.group()).split()[-1]
                if not re.search(r"\b(?:apt|apartment|suite|ste|unit|flat|floor|room|rm|box)\b|#", m.group())
                else ""
            )
            capital = sum(1 for w in middle.split()[1:] if w[:1].isupper() or w[:1].isdigit())
            if kind in ("dr", "st", "ct") and (
                (words[-2].endswith(".") and len(words[-2]) > 3) or words[-2] in ("l.", "l", "min.", "h.")
            ):
                continue
            if kind and kind not in form.STREET_SURE | form.STREET_FULL and middle.isupper():
                continue
            if capital < 2 and not (
                kind in form.STREET_SURE
                and kind not in ("st", "dr", "ct", "close", "court", "drive", "square")
                and len(words[0]) >= 2
            ):
                continue
            city = form.CITY_AFTER.match(note, end)
            if city is not None and not any(w.lower().strip(".") in NOT_A_NAME for w in city.group(1).split()):
                end = city.end()
            out.append((m.start(), end, "geography", "street", _SHAPE))
        for pattern in (form.STREET_SIDE, form.STREET_BLOCK):
            for m in pattern.finditer(note):
                if m.group().rsplit(" ", 1)[-1].lower() not in NOT_A_NAME:
                    out.append((m.start(), m.end(), "geography", "street", _WEAK))
        for m in form.AUSTRALIA.finditer(note):
            line = note[max(0, m.start() - 70) : m.start()]
            city = form.CITY_ENDS.search(line[line.rfind("\n") + 1 :])
            if city is not None:
                out.append((m.start() - len(city.group()), m.end(), "geography", "zip", _SHAPE))
        for m in form.STREET_FOREIGN.finditer(note) if any(w in low for w in form.FOREIGN_HINTS) else ():
            out.append((m.start(), m.end(), "geography", "street", _SHAPE))
        for m in form.BOX.finditer(low) if "box" in low else ():
            out.append((m.start(), m.end(), "geography", "post_box", _SHAPE))
        for m in form.APT.finditer(low) if any(w in low for w in ("apt", "apartment", "suite", "ste", "flat")) else ():
            out.append((m.start(), m.end(), "geography", "apartment", _SHAPE))
        for m in form.ZIP.finditer(note):
            before = note[max(0, m.start() - 90) : m.start()]
            state = form.STATE_ENDS.search(before[-24:])
            if state is None:
                continue
            begin = m.start() - len(state.group())
            line = before[: len(before) - len(state.group())]
            city = form.CITY_ENDS.search(line[line.rfind("\n") + 1 :])
            out.append((begin - (len(city.group()) if city else 0), m.end(), "geography", "zip", _CHECKED))
        for m in form.ZIP_WORD.finditer(low) if any(w in low for w in ("zip", "post", "plz", "cap", "cp")) else ():
            out.append((m.start(1), m.end(1), "geography", "zip_context", _CONTEXT))
    for m in form.LIVES.finditer(low):
        p = form.PLACE.match(note, m.end())
        if p is None:
            s = form.PLACE_SMALL.match(note, m.end()) if note == low else None
            if s is not None:
                small = s.group().split(" ")
                stop = (k for k, w in enumerate(small) if w in NOT_A_NAME or w in form.SMALL_ENDS)
                found = " ".join(small[: next(stop, len(small))])
                if found and found not in STATES and found not in COUNTRIES:
                    out.append((s.start(), s.start() + len(found), "geography", "place_context", _WEAK))
            continue
        words = p.group(1).rstrip(".").split(" ")
        ends = next(
            (k for k, w in enumerate(words) if w.lower() in NOT_A_NAME and w.lower() not in _OF_PLACES), len(words)
        )
        text = " ".join(words[:ends])
        if not text or text.lower() in STATES or text.lower() in COUNTRIES:
            continue
        if text.isupper() and len(text) <= 4:
            continue
        out.append((p.start(1), p.start(1) + len(text), "geography", "place_context", _WEAK))
    for m in form.EMPLOYER.finditer(low):
        p = form.PLACE.match(note, m.end())
        if p is not None and p.group(1).split(" ")[0].lower() not in NOT_A_NAME and not p.group(1).isdigit():
            out.append((p.start(1), p.end(1), "name", "employer", _WEAK))
    for m in form.FACILITY_FOREIGN.finditer(note):
        out.append((m.start(), m.end(), "geography", "facility", _WEAK))
    if ", " in note:
        for m in form.COMMA_STATE.finditer(note):
            city = form.CITY.search(note[max(0, m.start() - 70) : m.start()])
            if city is not None and city.group().split()[0].lower() not in NOT_A_NAME:
                out.append((m.start() - len(city.group()), m.start(), "geography", "city_state", _WEAK))
    if "County" in note or "Parish" in note or "Township" in note or "Borough" in note:
        for m in form.COUNTY.finditer(note):
            out.append((m.start(), m.end(), "geography", "county", _SHAPE))
    for m in form.FACILITY.finditer(note):
        head = form.FACILITY_HEAD.search(note[max(0, m.start() - 90) : m.start()])
        if head is None:
            continue
        words = head.group().split()
        apart = [i for i, w in enumerate(words) if w.lower() in ("from", "at", "in", "to", "by", "with", "on")]
        words = words[apart[-1] + 1 :] if apart else words
        while (
            words
            and words[0].lower().strip(".") in (FACILITY_WORDS | NOT_A_NAME)
            and words[0] not in ("St", "ST", "St.", "ST.")
        ):
            words.pop(0)
        if not words or all(
            w.lower() in FACILITY_WORDS
            or w.lower().endswith(("logy", "logical", "ology", "ics", "ic", "ing", "gery", "al"))
            for w in words
        ):
            continue
        begin = (
            m.start() - len(head.group()) + head.group().rfind(" ".join(words[:1]) + (" " if len(words) > 1 else ""))
        )
        out.append((m.start() - _tail_length(head.group(), words), m.end(), "geography", "facility", _WEAK))


def _tail_length(head: str, words: list[str]) -> int:
    """Return how many characters of `head`, counted from its end, hold its last `words`."""
    pos = len(head)
    for w in reversed(words):
        pos = head.rfind(w, 0, pos)
    return len(head) - pos


def _names(note: str, low: str, out: list[_Hit]) -> None:
    shouting = note.isupper()
    for m in form.TITLE.finditer(low):
        title = note[m.start() : m.end()]
        head = title.rstrip(" .,")
        bare = head.lower()
        if m.end() >= len(note) or (title[-1:] not in (" ", ".") and m.end() > m.start()):
            continue
        if bare in ("ms", "mr") and not (
            head in ("Ms", "Mr") or "." in title or (bare == "mr" and (head == "mr" or head == "MR"))
        ):
            continue
        if bare == "ms" and low[max(0, m.start() - 2) : m.start()].strip()[-1:].isdigit():
            continue
        if bare in (
            "sr",
            "hr",
            "fr",
            "sra",
            "col",
            "lt",
            "maj",
            "hon",
            "lady",
            "miss",
            "nurse",
            "sister",
            "lord",
            "sir",
            "officer",
            "judge",
            "doctor",
            "captain",
            "pastor",
            "capt",
            "rev",
            "madam",
            "sgt",
        ) and not (head[:1].isupper() and (not head.isupper() or shouting)):
            continue
        if bare in ("fr", "lt", "hr", "col", "sr", "maj") and (
            shouting
            or note[m.start() - 1 : m.start()].isdigit()
            or re.search(r"\d\s?$", note[max(0, m.start() - 3) : m.start()])
        ):
            continue
        hit = _name_from(note, low, m.end(), any_case=bare in ("dr", "mr", "mrs", "prof") and head.islower())
        if hit is None:
            continue
        if head.islower() and len(hit) and note[hit[0]].islower():
            hit = _name_from(note, low, m.end(), any_case=True, most=1) or hit
        if head == "MR" and not shouting and "." not in title and not note[hit[0] : hit[1]].isupper():
            # "MR Brain" is a scan; "MR SMITH" in a note that is not in capitals is a header.
            continue
        out.append((*hit, "name", "name_title", _CONTEXT))
    for m in form.NAME_LABEL.finditer(low):
        who = m.group("who")
        sure = who not in form.RELATIVE_LABEL
        mark = m.group().rstrip()[-1:]
        pos = m.end()
        t = form.TITLE.match(low, pos)
        if t is not None:
            pos = t.end()
        if (
            mark not in ":="
            and (not sure or "\n" in m.group() or who in ("name",))
            and who not in ("patient name", "name")
        ):
            continue
        hit = _name_from(note, low, pos, any_case=sure and mark in ":=", comma=True)
        if hit is None and mark in ":=":
            other = _name_from(note, low, pos, any_case=True, comma=True)
            if (
                other is not None
                and len(re.findall(r"[^\W\d_]{2,}", note[other[0] : other[1]])) >= 2
                and other[1] < len(note)
                and note[other[1]] in "\n,;("
            ):
                hit = other
        if hit is None or low[hit[0] : hit[1]] in ("unknown", "none", "n/a", "self"):
            continue
        out.append((*hit, "name", "name_label", _CONTEXT if sure else _SHAPE))
    small = note == low
    for m in form.BY.finditer(low):
        pos = m.end()
        t = form.TITLE.match(low, pos)
        if t is not None:
            pos = t.end()
        any_case = small and m.group().rstrip(" :,\n").endswith(" by")
        # After a title or a greeting a comma ends the name.
        comma = t is None and not m.group().startswith("dear")
        hit = _name_from(note, low, pos, any_case=any_case, comma=comma, most=2 if any_case else 4)
        if hit is not None:
            out.append((*hit, "name", "name_by", _SHAPE))
    if not shouting and not small:
        for m in form.BY_TWO.finditer(note):
            hit = None if form.TITLE.match(low, m.end()) else _name_from(note, low, m.end(), any_case=False)
            if hit is not None:
                words = note[hit[0] : hit[1]].split()
                if len(words) > 1 and all(w[1:2].islower() or w[1:] in ("", ".") for w in words):
                    out.append((*hit, "name", "name_by", _WEAK))
    if not shouting:
        for m in form.KIN.finditer(low):
            hit = _name_from(note, low, m.end(), any_case=False)
            begins = m.start() == 0 or note[m.start() - 2 : m.start()] in (". ", "; ") or note[m.start() - 1] in "\n(,"
            if hit is not None and not note[hit[0] : hit[1]].isupper() and (note[m.start()].islower() or begins):
                out.append((*hit, "name", "name_kin", _SHAPE))
    for m in form.CREDENTIAL.finditer(note):
        left = note[max(0, m.start() - 80) : m.start()]
        gap = form.CRED_GAP.search(left)
        if gap is None or ("," not in gap.group() and shouting):
            continue
        if m.group() == "PA" and "," not in gap.group() and form.VIEW_AFTER.match(low, m.end()) is not None:
            # "PA and lateral" is a pair of views.
            continue
        left = left[: gap.start()]
        # The window may not open inside a word.
        author = form.CRED_HEAD.search(left[left.rfind("\n") + 1 :])
        if author is None:
            continue
        words = author.group().split()
        lows = [
            i
            for i, w in enumerate(words)
            if len(w) > 1
            and w.lower().rstrip(".") not in PARTICLES
            and (w.islower() or w.lower().rstrip(".") in NOT_A_NAME or form.TITLE.match(w.lower() + " "))
        ]
        words = words[lows[-1] + 1 :] if lows else words
        if not words or not words[0][0].isupper() or len(words[-1]) < 2 or (len(words) == 1 and "," not in gap.group()):
            continue
        end = m.start() - len(gap.group())
        out.append((end - _tail_length(author.group(), words), end, "name", "name_credential", _SHAPE))
    if not note.isascii():
        foreign = list(form.SCRIPT.finditer(note))
        # A word in another script in an English note is somebody's name; a note in that script is not read at all.
        if foreign and 3 * sum(len(w.group()) for w in foreign) < sum(1 for c in note if c.isascii() and c.isalpha()):
            out += [(w.start(), w.end(), "name", "name_script", _WEAK) for w in foreign]
    if "^" in note:
        for m in form.PN.finditer(note):
            out.append((m.start(), m.start() + len(m.group().rstrip(" ^")), "name", "name_dicom", _CONTEXT))
    if ", " in note:
        for m in form.LAST_FIRST.finditer(note):
            words = re.findall(r"[^\W\d_]+", m.group(1).lower())
            capital = m.group(1)[0].isupper() and m.group(1).split(", ", 1)[1][0].isupper()
            if not any(w in NOT_A_NAME for w in words) and capital:
                out.append((m.start(1), m.end(1), "name", "name_header", _WEAK))


def find_by_rules(note: str, *, strict: bool = False) -> list[Found]:
    """Find identifiers by their form, their check digit or the words around them.

    Parameters
    ----------
    note : str
        One note.
    strict : bool
        Also mark what Safe Harbor allows: years that stand alone and days of the week.

    Returns
    -------
    list of (int, int, str, str)
        Start, end (characters of `note`), class (see `aimed.privacy.classes`) and rule, in the order of the note,
        without overlaps.

    Notes
    -----
    The time grows with the length of the note and with nothing else: every repeat has an upper bound. Nothing of the
    note is kept, logged or put into an exception.

    Examples
    --------
    >>> text = "Seen by Dr. Hollis on 3 March 2021, MRN 448-2210. Known Parkinson disease, T12 fracture, pain 8/10."
    >>> [(text[a:b], c) for a, b, c, _ in find_by_rules(text)]
    [('Hollis', 'name'), ('3 March 2021', 'date'), ('448-2210', 'medical_record')]
    """
    if not note or note.isspace():
        return []
    low = _lower(note)
    digits = form.DIGIT.search(note) is not None
    hits: list[_Hit] = []
    _network(note, low, digits, hits)
    if digits:
        _ids(note, low, hits)
        _dates(note, low, strict, hits)
        _phones(note, low, hits)
        _numbers(note, low, hits)
        # A note without one capital has its codes in small letters.
        _codes(_upper(low) if note == low else note, low, hits)
    elif ":" in note:
        _ids(note, low, hits)
    _date_words(note, low, strict, hits)
    if "." in note:
        _files(note, low, hits)
    _places(note, low, digits, hits)
    _names(note, low, hits)
    if not hits:
        return []
    return _without_eponyms(note, [one for one in _merged(hits) if not _HOLE.fullmatch(note, one[0], one[1])])


_HOLE = re.compile(r"(?:[Xx]{2,}+|_{2,}+|\*{2,}+|[\s,.\-]++)++(?:(?<=[ ])I)?")
"""What an earlier de-identification left: it names nobody any more."""


def _merged(hits: list[_Hit]) -> list[Found]:
    """Join hits that overlap: the surest one names the class, and nothing that any of them covers is left open."""
    hits.sort(key=lambda h: (h[0], -h[1]))
    out: list[Found] = []
    start, end, cls, rule, sure = hits[0]
    size = end - start
    for s, e, c, r, p in hits[1:]:
        if s < end:
            end = max(end, e)
            if (p, e - s) > (sure, size):
                cls, rule, sure, size = c, r, p, e - s
            continue
        out.append((start, end, cls, rule))
        start, end, cls, rule, sure, size = s, e, c, r, p, e - s
    out.append((start, end, cls, rule))
    return out


def _without_eponyms(note: str, found: list[Found]) -> list[Found]:
    names = [
        f
        for f in found
        if f[2] in ("name", "geography") and f[3] not in ("name_title", "name_credential", "name_dicom")
    ]
    if not names:
        return found
    spans = eponym_spans(note)
    if not spans:
        return found
    starts = [s for s, _ in spans]

    def clinical(f: Found) -> bool:
        i = bisect_left(starts, f[0] + 1) - 1
        return i >= 0 and spans[i][0] <= f[0] and f[1] <= spans[i][1]

    dropped = {f for f in names if clinical(f)}
    return [f for f in found if f not in dropped]
