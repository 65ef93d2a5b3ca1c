"""One note as text: decoded, freed of HTML, RTF and control characters, and refused where nothing can be read."""

from __future__ import annotations

import codecs
import html
import re
from typing import NamedTuple

from aimed.core import DataError
from aimed.readers.note_language import FOREIGN, NATIVE, NATIVE_ALONE, OFTEN_BORROWED

__all__ = ["LONGEST", "REFUSALS", "CleanNote", "clean_note", "decode_note"]

LONGEST = 50_000_000
"""Characters above which a note is refused: five times the largest that is met."""


REFUSALS = {
    "empty": "The note is empty.",
    "headings_only": "The note has headings and nothing below them.",
    "not_english": "The note is not in English.",
    "too_long": f"The note has more than {LONGEST:,} characters.",
    "binary": "The note is no text.",
}
"""Why a note is refused, by code."""


class CleanNote(NamedTuple):
    """A note that may be read, or the reason why not.

    Parameters
    ----------
    text : str
        Spans are counted in it. Empty where the note is refused.
    encoding : str
        What the bytes were in; "str" where text was given.
    flags : tuple of str
        "html", "rtf", "nul", "control", "all_capitals", "no_punctuation", "encoding_guessed", "undecodable",
        "mixed_language".
    refusal : str, optional
        "empty", "headings_only", "not_english", "too_long" or "binary".
    """

    text: str
    encoding: str
    flags: tuple[str, ...]
    refusal: str | None

    def __repr__(self) -> str:
        # A note never shows in a log or a traceback.
        return (
            f"CleanNote({len(self.text)} characters, encoding={self.encoding!r}, flags={self.flags!r}, "
            f"refusal={self.refusal!r})"
        )


_ORDINARY = bytes(c for c in range(0x20, 0x7F) if chr(c) not in "<>{}\\&") + b"\t\n"


def clean_note(raw: str | bytes | None) -> CleanNote:
    r"""Return a note as plain text, with what was wrong with it.

    Parameters
    ----------
    raw : str or bytes, optional
        UTF-8, UTF-16 with or without its mark, Windows-1252 or Latin-1; HTML and RTF too. None is an empty note.

    Returns
    -------
    CleanNote

    Raises
    ------
    DataError
        If something else than text or bytes is given.

    Notes
    -----
    The time is linear in the length. Control characters become spaces, so that no words are joined. A note is called
    not English only on words of another language or script, never for want of English ones unless it is long: short
    telegrams are full of Latin.

    Examples
    --------
    >>> clean_note("<p>No effusion.</p><p>Heart size is normal.</p>")
    CleanNote(34 characters, encoding='str', flags=('html',), refusal=None)
    >>> clean_note(b"\xff\xfeN\x00o\x00 \x00e\x00f\x00f\x00u\x00s\x00i\x00o\x00n\x00").text
    'No effusion'
    >>> clean_note("Kein Pleuraerguss, keine Infiltrate.").refusal
    'not_english'
    """
    flags: tuple[str, ...] = ()
    if isinstance(raw, str):
        text, encoding = raw, "str"
    else:
        text, encoding, flags, refusal = decode_note(raw)
        if refusal is not None:
            return CleanNote("", encoding, flags, refusal)
    # Every note pays for these looks; nearly all of them need no other.
    if (
        text.isascii()
        and not text.encode().translate(None, _ORDINARY)
        and "." in text
        and (" the " in text or " with" in text or "The " in text or " and " in text or " are " in text)
        and text.count(":") * 50 < len(text) <= LONGEST
        and not flags
    ):
        return CleanNote(text, encoding, (), None)
    return _clean(text, encoding, list(flags))


def _clean(text: str, encoding: str, flags: list[str]) -> CleanNote:
    def refused(code: str) -> CleanNote:
        return CleanNote("", encoding, tuple(flags), code)

    if len(text) > LONGEST:
        return refused("too_long")
    if text.startswith(_TEXT_OF_BINARY):
        return refused("binary")
    if not text.isascii():
        text = _ordinary_characters(text, flags)
    if _CONTROL.search(text):
        controls = len(_CONTROL.findall(text))
        if controls > 0.1 * len(text) and controls - text.count("\0") > 8:
            return refused("binary")
        if "\0" in text:
            flags.append("nul")
        if controls > text.count("\0") + text.count("\f") + text.count("\v"):
            flags.append("control")
        text = text.translate(_BLANKED)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\" in text:
        text = _without_rtf(text, flags)
    if "<" in text or "&" in text:
        text = _without_html(text, flags)
    if not text.strip():
        return refused("empty")
    if _headings_only(text):
        return refused("headings_only")
    verdict = _language(text)
    if verdict == "foreign":
        return refused("not_english")
    if verdict == "mixed":
        flags.append("mixed_language")
    if _all_capitals(text):
        flags.append("all_capitals")
    if not _STOP.search(text) and len(text.split(None, 8)) > 7:
        flags.append("no_punctuation")
    return CleanNote(text, encoding, tuple(flags), None)


# Bytes


_MAGIC = (b"%PDF-", b"PK\x03\x04", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"\xd0\xcf\x11\xe0", b"\x1f\x8b\x08", b"BZh9")
_TEXT_OF_BINARY = ("%PDF-", "PK\x03\x04", "GIF8")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_IN_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_BINARY_BYTES = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


def decode_note(raw: bytes | None) -> tuple[str, str, tuple[str, ...], str | None]:
    r"""Return the text of bytes, their encoding, flags and a refusal.

    Raises
    ------
    DataError
        If something else than bytes is given.

    Examples
    --------
    >>> decode_note("Größe normal".encode("cp1252"))[1:]
    ('cp1252', ('encoding_guessed',), None)
    """
    if raw is None:
        return "", "", (), "empty"
    if not isinstance(raw, (bytes, bytearray, memoryview)):
        raise DataError(f"a note of type {type(raw).__name__}", "text or bytes", "turn the notes into text first")
    raw = bytes(raw)
    if len(raw) > 4 * LONGEST:
        return "", "", (), "too_long"
    if raw.startswith(_MAGIC) or raw[128:132] == b"DICM":
        return "", "", (), "binary"
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding), encoding, (), None
            except UnicodeDecodeError:
                return raw.decode(encoding, errors="replace"), encoding, ("undecodable",), None
    head = raw[:4096]
    if len(head) > 7 and head.count(0) > 0.3 * len(head):
        # UTF-16 without its mark: every second byte of English is zero.
        wide = "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
        if max(head[1::2].count(0), head[::2].count(0)) < 0.4 * len(head) or min(
            head[1::2].count(0), head[::2].count(0)
        ) > 0.05 * len(head):
            return "", "", (), "binary"
        return raw.decode(wide, errors="replace"), wide, ("encoding_guessed",), None
    try:
        return raw.decode(), "utf-8", (), None
    except UnicodeDecodeError:
        pass
    if len(_BINARY_BYTES.findall(raw)) > 0.05 * len(raw):
        return "", "", (), "binary"
    encoding = "latin-1" if _NOT_IN_1252.search(raw) else "cp1252"
    return raw.decode(encoding), encoding, ("encoding_guessed",), None


# Characters

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANKED: dict[int, str | None] = dict.fromkeys((*range(0x00, 0x09), *range(0x0E, 0x20), 0x7F), " ")
_BLANKED |= {0x0B: "\n", 0x0C: "\n"}
_STRANGE = re.compile("[\x80-\x9f\xa0\xad\u200b-\u200f\u2028\u2029\u202a-\u202e\u2060\ufb00-\ufb06\ufeff\ud800-\udfff]")
# What Latin-1 takes for control characters are quotes and dashes of Windows-1252.
_MENDED: dict[int, str | None] = {
    c: bytes([c]).decode("cp1252", errors="replace").replace("\ufffd", " ") for c in range(0x80, 0xA0)
}
_MENDED |= {0xA0: " ", 0xAD: None, 0x2028: "\n", 0x2029: "\n", 0x2060: None, 0xFEFF: None}
_MENDED |= dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F)))
# Joined letters, as taken out of a PDF.
_MENDED |= dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True))
_MENDED |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_TIDIED = _BLANKED | _MENDED


def _ordinary_characters(text: str, flags: list[str]) -> str:
    found = set(_STRANGE.findall(text))
    if any("\x80" <= c <= "\x9f" for c in found) and "encoding_guessed" not in flags:
        flags.append("encoding_guessed")
    if any("\ud800" <= c <= "\udfff" for c in found) and "undecodable" not in flags:
        flags.append("undecodable")
    return text.translate(_MENDED) if found else text


_STOP = re.compile(r"[.;:!?\n]")


def _all_capitals(text: str) -> bool:
    if text.isupper():
        return sum(map(str.isalpha, text[:100])) > 9
    if text[:100].upper() != text[:100]:
        return False
    letters = [c for c in text[:4000] if c.isalpha()]
    return len(letters) > 9 and sum(map(str.isupper, letters)) > 0.95 * len(letters)


# HTML: html.parser takes quadratic time on markup that never closes, and a note may be 10 MB of it.

_BLOCKS = "p|br|div|table|tr|ul|ol|li|h[1-6]|hr|pre|body|html|head|title|center|blockquote|section|article|dl|dt|dd"
_INLINE = "b|i|u|a|em|strong|span|font|sup|sub|small|big|tt|code|s|strike|label|meta|link|img|tbody|thead|col|o:p"
_TAG = re.compile(
    rf"<\s*/?\s*(?:(?P<block>{_BLOCKS})|(?P<cell>td|th)|(?P<drop>script|style)|(?:{_INLINE}))(?=[\s/>])[^<>]*>"
    r"|<!doctype[^<>]*>|<!--|<!\[[^<>]*>|<\?xml[^<>]*>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")


def _without_html(text: str, flags: list[str]) -> str:
    first = _TAG.search(text)
    if first is None and not _ENTITY.search(text):
        return text
    flags.append("html")
    out: list[str] = []
    at, lower, never = 0, "", set()
    while first is not None:
        out.append(text[at : first.start()])
        at = first.end()
        dropped = first["drop"]
        end = "-->" if first[0] == "<!--" else f"</{dropped.lower()}" if dropped and first[0][1] != "/" else ""
        if end and end not in never:
            lower = lower or text.lower()
            # Only what is closed is dropped: an open comment must not swallow the note.
            close = lower.find(end, at) if len(lower) == len(text) else text.find(end, at)
            if close < 0:
                never.add(end)
            else:
                at = close + len(end)
                at = at if end == "-->" else max(at, text.find(">", at) + 1)
        out.append("\n" if first["block"] else "\t" if first["cell"] and "/" not in first[0][:3] else "")
        first = _TAG.search(text, at)
    out.append(text[at:])
    stripped = html.unescape("".join(out)).replace("\xa0", " ")
    return _tidy(_BLANK_LINES.sub("\n", stripped))


def _tidy(text: str) -> str:
    # Markup names characters by number too, those that were taken out before among them.
    return text.replace("\r", "\n").translate(_TIDIED).strip()


_BLANK_LINES = re.compile(r"[ \t]*\n[ \t]*(?:\n[ \t]*)*")

# RTF

_RTF_TOKEN = re.compile(
    r"\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,9})?[ ]?|\\'(?P<byte>[0-9a-fA-F]{2})|\\(?P<sign>[^a-zA-Z])"
    r"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)|[\r\n]+|\\"
)
_RTF_WORDS = {"par": "\n", "line": "\n", "sect": "\n", "page": "\n", "row": "\n", "tab": "\t", "cell": "\t"}
_RTF_WORDS |= {"emdash": "-", "endash": "-", "lquote": "'", "rquote": "'", "ldblquote": '"', "rdblquote": '"'}
_RTF_WORDS |= {"bullet": "- ", "emspace": " ", "enspace": " "}
_RTF_SIGNS = {"\\": "\\", "{": "{", "}": "}", "~": " ", "_": "-", "-": "", "\n": "\n", "\r": "\n"}
_RTF_ASIDE = {"fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "generator", "fldinst", "listtable"}
_RTF_ASIDE |= {"header", "footer", "headerl", "headerr", "footerl", "footerr", "listoverridetable", "rsidtbl"}
_RTF_ASIDE |= {"themedata", "latentstyles", "datastore", "xmlnstbl"}
_RTF_RESIDUE = re.compile(
    r"\\(?:pard?|plain|line|tab|ql|qc|qj|b0?|i0?|ul(?:none|0)?|fs\d+|f\d+|cf\d+|highlight\d+|lang\d+|rtf\d|ansi(?:cpg\d+)?"
    r"|deff\d+|viewkind\d+|uc\d+|li\d+|fi-?\d+|sa\d+|sb\d+|sl\d+|slmult\d+|nowidctlpar|widctlpar)(?![a-zA-Z\d])[ ]?"
)


def _without_rtf(text: str, flags: list[str]) -> str:
    if not text.lstrip().startswith("{\\rtf"):
        if not _RTF_RESIDUE.search(text):
            return text
        flags.append("rtf")
        breaks = ("\\par", "\\line")
        text = _RTF_RESIDUE.sub(lambda m: "\n" if m[0].rstrip() in breaks else " " if "tab" in m[0] else "", text)
        return text.replace("{", "").replace("}", "")
    flags.append("rtf")
    out: list[str] = []
    held = bytearray()
    page, skip, swallow, aside = "cp1252", 1, 0, False
    above: list[tuple[bool, int]] = []
    for token in _RTF_TOKEN.finditer(text):
        if token["byte"] is not None:
            if swallow:
                swallow -= 1
            elif not aside:
                held.append(int(token["byte"], 16))
            continue
        if held:
            out.append(held.decode(page, errors="replace"))
            held.clear()
        if token["brace"] == "{":
            above.append((aside, skip))
        elif token["brace"] == "}":
            aside, skip = above.pop() if above else (False, 1)
            swallow = 0
        elif word := token["word"]:
            if word in _RTF_ASIDE:
                aside = True
            elif word == "ansicpg" and token["number"]:
                page = _code_page(token["number"])
            elif word == "uc" and token["number"]:
                skip = max(0, int(token["number"]))
            elif word == "u" and token["number"] and not aside:
                code = int(token["number"]) % 65536
                out.append("\ufffd" if 0xD800 <= code < 0xE000 else chr(code))
                swallow = skip
            elif not aside:
                out.append(_RTF_WORDS.get(word, ""))
        elif sign := token["sign"]:
            if sign == "*":
                aside = True
            elif not aside:
                out.append(_RTF_SIGNS.get(sign, ""))
        elif (plain := token["text"]) and not aside:
            out.append(plain[swallow:])
            swallow = max(0, swallow - len(plain))
    if held:
        out.append(held.decode(page, errors="replace"))
    return _tidy("".join(out))


def _code_page(number: str) -> str:
    try:
        return codecs.lookup(f"cp{int(number)}").name
    except (LookupError, ValueError):
        return "cp1252"


# Headings

_HEADINGS = (
    "findings?|impressions?|indications?|comparisons?|technique|(?:clinical |past |medical |patient )*history|"
    "clinical (?:information|data|indication|details|question|notes?)|conclusions?|exam(?:ination)?|exam type|"
    "procedures?|reason for (?:the )?(?:exam(?:ination)?|study|visit|test|request)|recommendations?|narrative|"
    "(?:final |radiology )?report|"
    "summary|opinion|addendum|diagnosis|views?|study|study date|date(?: of (?:exam|study|birth|service))?|time|name|"
    "patient(?: name| id)?|dob|mrn|age|sex|gender|accession(?: (?:number|no\\.?))?|"
    "(?:electronically )?signed(?: by)?|dictated(?: by)?|radiologist|(?:referring |ordering )?physician|"
    "lungs?|heart|pleura|mediastinum|bones?|soft tissues?|lines(?: and tubes)?|tubes(?: and lines)?|devices|other|"
    "notes?|history of present illness|chest(?: x-?ray)?|limitations|quality|contrast|dose"
)
_HEADING = re.compile(
    rf"(?:^|(?<=[\s:.]))[ \t]*(?:\d{{1,2}}[.)][ \t]*)?(?:{_HEADINGS})[ \t]*(?::|-(?=\s|$))"
    rf"|^[ \t#*=_-]*(?:{_HEADINGS})[ \t#*=_-]*$",
    re.IGNORECASE | re.MULTILINE,
)
_BARE_LINE = re.compile(r"^[^:\n]{1,60}:[ \t_.*\[\]()-]*$", re.MULTILINE)
_HOLE = re.compile(
    r"\bn/?a\b|\btbd\b|\bnull\b|\bnan\b|\[[^\]\n]{0,40}\]|<[^>\n]{0,40}>|\{[^}\n]{0,40}\}", re.IGNORECASE
)
_LETTER = re.compile(r"[^\W\d_]")


def _headings_only(text: str) -> bool:
    # What is longer than any template of headings has words of its own.
    if len(text) > 4000 or (":" not in text and "\n" not in text and len(text) > 60):
        return False
    if text.count(":") + text.count("\n") < len(text) // 60:
        return False
    rest = _HOLE.sub(" ", _HEADING.sub(" ", _BARE_LINE.sub(" ", text)))
    return not _LETTER.search(rest) and bool(_LETTER.search(text))


# Language

_WORD = re.compile(r"[^\W\d_]{2,}")
_OTHER_SCRIPT = re.compile(r"[\u0370-\u1fff\u2c00-\ud7ff\uf900-\ufaff\ufb1d-\ufefc]")
_WINDOW = 4000


def _language(text: str) -> str:
    if len(text) > 3 * _WINDOW:
        middle = len(text) // 2
        text = f"{text[:_WINDOW]} {text[middle : middle + _WINDOW]} {text[-_WINDOW:]}"
    if not text.isascii():
        others = len(_OTHER_SCRIPT.findall(text))
        if others:
            letters = len(_LETTER.findall(text))
            if others > 0.3 * letters:
                return "foreign"
    words = _WORD.findall(text.lower())
    english = alone = 0
    marks: dict[str, int] = {}
    borrowed: dict[str, int] = {}
    for word in words:
        if word in NATIVE:
            english += 1
            alone += word in NATIVE_ALONE
        elif word in FOREIGN:
            kept = borrowed if len(word) < 4 or word in OFTEN_BORROWED else marks
            for language in FOREIGN[word]:
                kept[language] = kept.get(language, 0) + 1
    # An article or a preposition may be part of a name or of a term; it counts beside other words of its language.
    foreign = max((n + borrowed.get(language, 0) for language, n in marks.items()), default=0)
    if foreign and (alone == 0 or foreign > 2 * alone) and (foreign > 2 or foreign >= 0.12 * len(words)):
        return "foreign"
    if english == 0 and max(borrowed.values(), default=0) >= max(2, 0.5 * len(words)):
        return "foreign"
    if len(words) >= 25 and english < 0.04 * len(words):
        return "foreign"
    return "mixed" if foreign > 3 and foreign > 0.2 * english else "ok"
