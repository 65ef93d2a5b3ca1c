"""Questions: free wording read into what is asked for, of which finding or device, before any note is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from aimed.core.errors import DataError
from aimed.text.answer_devices import device_in
from aimed.text.retrieval import content_words, stem

__all__ = ["KINDS", "Question", "read_question"]

KINDS = (
    "age",
    "sex",
    "measurements",
    "size",
    "ejection_fraction",
    "device_position",
    "laterality",
    "date",
    "comparison",
    "severity",
    "presence",
    "section",
    "summary",
    "free",
)
"""Kinds of question; `free` is anything that the others do not cover."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a question asks for.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    target : str
        The finding, the device or the headed part that is meant, or ''.
    lung : bool
        The size of a lung nodule is meant, so other organs are left out.
    wants : str
        Type of the answer to a free question: "when", "size", "number", "where", "why", "dose", "duration", "who",
        "shown" or "what".
    words : tuple of str
        Stems to look for.
    """

    kind: str
    target: str = ""
    lung: bool = False
    wants: str = "what"
    words: tuple[str, ...] = ()


_SIZE = re.compile(
    r"\b(?:how (?:big|large|long|wide|thick)|sizes?|diameters?|dimensions?|measur\w{1,6}|in (?:mm|cm))\b"
)
_NODULE = re.compile(r"\b(?:nodul\w{1,3}|lung (?:mass|lesion|tumou?r)s?|pulmonary (?:mass|lesion)\w{0,2})\b")
_AGE = re.compile(
    r"\bhow old (?:is|was|are|were) (?:the |this |our )?(?:patient|pt|he|she|subject|person|man|woman|child|infant|"
    r"baby|boy|girl|lady|gentleman)\b|\b(?:what|which) age\b|\bage (?:in years|group)$|"
    r"^(?:what is |what's )?(?:(?:the|his|her) )?(?:(?:patient|subject|person)'?s? "
    r")?age\b(?! of (?!the patient|patient))|\bage of (?:the )?(?:patient|subject)|"
    r"\bhow many years old\b|^how old\?*$|\bpatient'?s? age\b|\b(?:his|her) "
    r"age\b(?! (?:at|when))"
)
_SEX = re.compile(
    r"\b(?:sex|gender)\b|\bmale or (?:a )?female\b|\bfemale or (?:a )?male\b|"
    r"\bman or (?:a )?woman\b|\bwoman or (?:a )?man\b|\bis (?:the )?(?:patient|"
    r"pt|subject) (?:a )?(?:male|female|man|woman)\b"
)
_EF = re.compile(r"\b(?:lv)?ef\b|\bejection fraction\b")
_POSITION = re.compile(
    r"\b(?:where|positions?|tip|locat\w{2,5}|plac\w{2,6}|terminat\w{1,4}|end|"
    r"ends|lie|lies|how (?:far|deep|high)|depth|above|below|distance)\b"
)
_SIDE = re.compile(
    r"\b(?:which|what|on which|on what) (?:side|lung)\b|\bleft or (?:the )?right\b|"
    r"\bright or (?:the )?left\b|\blaterality\b|\bside of\b|\bsidedness\b|\bunilateral "
    r"or bilateral\b"
)
_SEVERITY = re.compile(
    r"\bhow (?:severe|bad|serious|marked|extensive|significant|advanced|much)\b|"
    r"\bseverity\b|\bdegree of\b|\bextent of\b|\bgrade of\b|\bhow (?:big|large) "
    r"(?:is|are|was|were) (?:the )?(?:[a-z]{1,14} )?(?:effusions?|pneumothora\w{1,3})\b|"
    r"\bsize of (?:the )?(?:[a-z]{1,14} )?(?:effusions?|pneumothora\w{1,3})\b"
)
_COMPARISON = re.compile(
    r"\bcompar(?:ison|ed|isons)\b|\b(?:prior|previous) (?:stud(?:y|ies)|exam\w{0,9}|films?|radiographs?|imaging)\b"
)
_WHEN = re.compile(r"\b(?:when|what date|which date|date|dates|what day|what year|which year|how long ago)\b")
_PRESENT = re.compile(
    r"^(?:is|are|was|were) there\b|^any\b|\bevidence of\b|\bsigns? of\b|^(?:does|"
    r"do|did) (?:the |this )?(?:patient|pt|report|film|image|study|scan|x-?ray|"
    r"radiograph|chest|lungs?|he|she|it) (?:have|show|demonstrate|reveal|suffer "
    r"from|contain)\b"
    r"|^(?:has|have) (?:the |this )?(?:patient|pt|he|she) (?:got )?(?:an? )?|"
    r"\b(?:is|are|was) [a-z ]{3,40} (?:present|seen|visible|identified|ruled "
    r"out|excluded)\b|^(?:presence|absence) of\b"
)
_SECTIONS = (
    (
        "indication",
        re.compile(
            r"\b(?:indication|reason for (?:the |this )?(?:exam\w{0,7}|study|scan|x-?ray|"
            r"film|radiograph|ct|test|imaging|request)|why was (?:the |this )?(?:exam\w{0,7}|"
            r"study|scan|x-?ray|film|radiograph|ct|test|imaging) (?:done|performed|ordered|"
            r"requested|obtained|made)|clinical (?:history|information|question))\b"
        ),
    ),
    (
        "technique",
        re.compile(r"\b(?:technique|views? (?:was|were|are)|how many views|what views|which views|protocol)\b"),
    ),
    ("recommendation", re.compile(r"\b(?:recommend\w{0,7})\b")),
    (
        "exam",
        re.compile(
            r"\b(?:(?:type|kind) of (?:exam\w{0,7}|study|scan|imaging)|(?:what|which) "
            r"(?:exam\w{0,7}|study|imaging) was (?:done|performed))\b"
        ),
    ),
)
_IMPRESSION = re.compile(
    r"^(?:what (?:is|was|were|are) |give |state |show )?(?:me )?(?:the |its |your )?(?:radiologist'?s? |final |"
    r"overall |main |report'?s? )?(?:impressions?|conclusions?|summary)\b"
)
_SEEN = r"(?:x-?rays?|xr|radiographs?|cxr|films?|images?|study|report|scan|exam(?:ination)?|imaging|pictures?)"
_BROAD = re.compile(
    rf"^what (?:does|do|did) (?:the |this |these |his |her |that )?(?:chest |portable |ap |pa |whole )?{_SEEN} (?:show|"
    rf"reveal|demonstrate|say|find|conclude|indicate|tell)(?: us| me)?$|^(?:please )?summari[sz]e\b|"
    rf"^what (?:is|was|are|were) (?:the )?(?:main |key |important |overall |major |principal |relevant |significant )?"
    rf"(?:findings?|results?|message|bottom line|diagnosis)(?: (?:of|in|on|from) (?:the |this )?(?:chest )?{_SEEN})?$|"
    rf"^what (?:is|was) (?:seen|found|shown|noted|wrong)(?: (?:in|on|with|by) (?:the |this )?(?:chest )?{_SEEN})?$|"
    rf"^(?:main |key )?(?:findings?|results?)(?: of (?:the |this )?{_SEEN})?$"
)
_FINDING_NAME = re.compile(
    r"(?:effusions?|fractures?|stenosis|regurgitation|emboli(?:sm)?|dissection|aneurysms?|mass(?:es)?|lesions?|hernias?|"
    r"thickening|o?edema|collapse|stones?|infarct(?:ion)?|hemorrhage|bleed(?:ing)?|thromb(?:us|osis)|enlargement|opacit(?:y|"
    r"ies)|consolidation|pneumonia|nodules?|hypertension|congestion|scarring|calcifications?|[a-z]{4,}(?:itis|oma|osis|emia|"
    r"pathy|megaly|ectasis))$"
)
_WANTS = (
    ("when", _WHEN),
    ("number", re.compile(r"\bhow many\b|\bnumber of\b|\bhow often\b")),
    ("dose", re.compile(r"\b(?:how much|dose|dosage|volume|amount|pressure|what percent\w{0,4}|rate)\b")),
    ("duration", re.compile(r"\b(?:how long|duration|since when)\b")),
    ("size", _SIZE),
    (
        "where",
        re.compile(
            r"\b(?:where|which (?:lobe|side|part|level|bone|rib|vessel|artery|vein|lung)|"
            r"what (?:lobe|location|level)|location)\b"
        ),
    ),
    ("why", re.compile(r"\b(?:why|reason|cause[sd]?|due to|purpose|what for)\b")),
    (
        "shown",
        re.compile(
            r"^what (?:does|do|did|was|is|were|are) .*\b(?:show|shows|shown|demonstrate[sd]?|"
            r"reveal(?:s|ed)?|disclosed?|find|found|indicate|suggest)\b"
        ),
    ),
    ("who", re.compile(r"\b(?:who|whom|whose|by which (?:doctor|physician))\b")),
)
_NOISE = re.compile(
    r"\b(?:what|which|where|when|who|why|how|is|are|was|were|does|do|did|the|"
    r"this|that|a|an|any|there|on|in|of|for|patient|patient's|pt|he|she|his|"
    r"her|have|has|had|got|show|shows|shown|evidence|signs?|side|sided|left|"
    r"right|or|seen|"
    r"present|presence|absence|visible|identified|big|large|long|wide|thick|"
    r"sizes?|diameters?|dimensions?|severe|severity|bad|serious|much|extensive|"
    r"significant|advanced|marked|degree|extent|grade|laterality|located|location|"
    r"report|"
    r"film|image|study|scan|x-?ray|radiograph|ct|chest|cxr|demonstrate[sd]?|"
    r"reveal[sd]?|found|it|to|be|me|tell|please|and|with|be|ruled|out|excluded|"
    r"suffer|from|contain|contains|measure[sd]?|measurements?|largest|biggest|"
    r"maximum|"
    r"maximal|mm|cm|affected|involved|unilateral|bilateral|does|currently|now|"
    r"new|acute|state|stated|describe|described|says?)\b|[^a-z0-9\s\-]"
)
_KEEP_TWO = re.compile(r"\s+")


_GENERAL = re.compile(
    r"\b(?:complaints?|symptoms?|allerg\w{1,4}|medications?|medicines?|surger\w{1,3}|"
    r"histor\w{1,3}|problems?|conditions?|diagnos\w{1,3}|plans?|procedures?|"
    r"treatments?)\b"
)
_TYPE_WORDS = frozenset(
    stem(word)
    for word in [
        "reason",
        "cause",
        "purpose",
        "date",
        "time",
        "number",
        "location",
        "position",
        "amount",
        "dose",
        "dosage",
        "type",
        "kind",
        "name",
        "size",
        "value",
        "level",
    ]
)


def _subject(words: list[str]) -> tuple[str, ...]:
    """Return the words without those that only name the type of the answer, unless nothing else is left."""
    kept = tuple(word for word in words if word not in _TYPE_WORDS)
    return kept or tuple(words)


def _target(question: str) -> str:
    return _KEEP_TWO.sub(" ", _NOISE.sub(" ", question)).strip()


@lru_cache(maxsize=512)
def read_question(question: str) -> Question:
    """Return what a question asks for.

    Parameters
    ----------
    question : str
        Free wording of at most 1,000 characters, such as "How old is the patient?" or "EF".

    Raises
    ------
    DataError
        The question is empty or too long.

    Examples
    --------
    >>> read_question("How old is the patient?").kind
    'age'
    >>> read_question("Which side is the pleural effusion on?")
    Question(kind='laterality', target='pleural effusion', lung=False, wants='what', words=())
    """
    low = " ".join(question.lower().split()).strip()
    if not low.strip(" ?.!"):
        raise DataError("an empty question", "a question in words", "ask for example: How old is the patient?")
    if len(low) > 1000:
        raise DataError(
            f"a question of {len(low)} characters", "at most 1000", "ask in one sentence; the report goes first"
        )
    words = _subject(content_words(low))
    bare = low.strip(" ?.!:")
    if _AGE.search(bare):
        return Question("age", words=words)
    if _SEX.search(bare):
        return Question("sex", words=words)
    if _EF.search(bare):
        return Question("ejection_fraction", words=words)
    device = device_in(bare)
    present = bool(_PRESENT.search(bare))
    if device and not present and (_POSITION.search(bare) or bare == device) and not _WHEN.search(bare):
        return Question("device_position", device, words=words)
    target = _target(bare)
    if _SIDE.search(bare) and target:
        return Question("laterality", target)
    if _SEVERITY.search(bare) and target and not re.search(r"\bhow much (?!of)", bare):
        return Question("severity", target)
    if _SIZE.search(bare) and not present:
        if _NODULE.search(bare):
            thyroid = re.search(r"thyroid|adrenal|hepatic|liver|renal|kidney|breast", bare)
            return Question("size", "lung nodule" if not thyroid else target, lung=not thyroid)
        if not target or re.fullmatch(r"(?:all|every|list|taken|made|values?|reported|recorded|given|\s)+", target):
            return Question("measurements")
        if not re.search(r"\bhow long\b", bare):
            return Question("size", target)
    if _COMPARISON.search(bare):
        if _WHEN.search(bare):
            return Question("date", "comparison")
        return Question("comparison")
    if re.fullmatch(
        r"(?:what (?:is|was) )?(?:the )?(?:exam(?:ination)? |study |report )?dates?(?: "
        r"of (?:the |this )?(?:exam\w{0,7}|study|report|visit|scan|film|x-?ray))?",
        bare,
    ) or re.search(
        r"\bwhen (?:was|is) (?:the |this )?(?:exam\w{0,7}|study|scan|x-?ray|film|"
        r"radiograph|report|image|ct)(?: (?:done|performed|taken|made|obtained|dictated|"
        r"written))?$",
        bare,
    ):
        return Question("date", "exam")
    if _IMPRESSION.search(bare):
        return Question("summary", "impression", words=words, wants=_wants(bare))
    if _BROAD.search(bare):
        only = re.search(r"\bfindings?\b", bare) and not re.search(
            r"\b(?:main|key|important|overall|major|principal)\b", bare
        )
        return Question("summary", "findings" if only else "impression")
    for kind, pattern in _SECTIONS:
        if pattern.search(bare):
            return Question("section", kind, words=words, wants=_wants(bare))
    if (
        present
        and target
        and not _GENERAL.search(target)
        and not re.match(r"(?:what|which|where|when|who|why|how)\b", bare)
    ):
        return Question("presence", target)
    if (
        len(bare.split()) <= 4
        and _FINDING_NAME.search(bare)
        and not re.match(r"(?:what|which|where|when|who|why|how)\b", bare)
    ):
        return Question("presence", target or bare)
    if not re.search(r"\s", bare.replace("pleural ", "").replace("pulmonary ", "").replace("lung ", "")) and words:
        return Question("presence", target or bare)
    return Question("free", words=words, wants=_wants(bare))


def _wants(question: str) -> str:
    for name, pattern in _WANTS:
        if pattern.search(question):
            return name
    return "what"
