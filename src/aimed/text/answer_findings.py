"""Answers about a finding: is it there, on which side, how severe, how large; judged within its own clause."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from aimed.text.answer_patterns import Found, Length, find_lengths
from aimed.text.passages import Passage
from aimed.text.retrieval import stem

__all__ = ["Mention", "find_laterality", "find_presence", "find_severity", "find_size", "mentions_of"]

_SAME = {
    "effusion": r"effusions?|pleural fluid",
    "pleural effusion": r"(?:pleural )?effusions?|pleural fluid",
    "nodule": r"nodules?|mass(?:es)?|granulomas?|lesions?|(?:nodular|rounded|round) (?:opacit(?:y|ies)|density)",
    "lung nodule": r"nodules?|mass(?:es)?|granulomas?|lesions?|(?:nodular|rounded|round) (?:opacit(?:y|ies)|density)",
    "pulmonary nodule": r"nodules?|mass(?:es)?|granulomas?|lesions?|(?:nodular|rounded|round) (?:opacit(?:y|"
    r"ies)|density)",
    "cardiomegaly": r"cardiomegaly|(?:enlarged|enlargement of the|large|increased) (?:heart|"
    r"cardiac silhouette|cardiac size)|heart (?:is|remains|size is) (?:[a-z]{1,12} "
    r")?(?:enlarged|large)",
    "enlarged heart": r"cardiomegaly|(?:enlarged|enlargement of the|large|increased) (?:heart|"
    r"cardiac silhouette)|heart (?:is|remains|size is) (?:[a-z]{1,12} )?enlarged",
    "pneumothorax": r"pneumothora(?:x|ces)|collapsed lung|ptx",
    "collapsed lung": r"pneumothora(?:x|ces)|collapsed lung|ptx",
    "pneumonia": r"pneumonias?|pneumonitis|infectious process|infection",
    "edema": r"(?:o)?edema",
    "pulmonary edema": r"(?:(?:pulmonary|interstitial|alveolar|vascular) )?(?:o)?edema",
    "fracture": r"fractures?|fractured|broken",
    "broken bone": r"fractures?|fractured|broken",
    "mass": r"mass(?:es)?|tumou?rs?|neoplasms?",
    "opacity": r"opacit(?:y|ies)|opacification|infiltrates?|consolidations?|airspace disease",
    "consolidation": r"consolidations?|consolidative|consolidated",
    "atelectasis": r"atelecta(?:sis|tic)|volume loss",
    "scoliosis": r"scoliosis|scoliotic|curvature",
    "hernia": r"hernias?|herniation",
    "fibrosis": r"fibrosis|fibrotic",
    "emphysema": r"emphysema|emphysematous",
    "lymphadenopathy": r"lymphadenopathy|adenopathy|enlarged (?:lymph )?nodes?",
}
_BREAK = re.compile(
    r"[;:]|\b(?:but|however|although|though|except|whereas|while|with the exception "
    r"of|aside from|other than|which|yet)\b|, (?:with|and there|there|the|a|"
    r"an|no)\b"
)
_NO = re.compile(
    r"\b(?:no|not|without|denies|denied|denying|negative for|free of|absence "
    r"of|absent|never|neither|nor|ruled? out|rules out|excluded?|lack of|lacks|"
    r"clear of|fails to (?:show|demonstrate)|resolved|resolution of|removal of|interval clearing of)\b"
)
_NOT_NO = re.compile(
    r"\b(?:no (?:significant |interval |definite |appreciable |substantial |"
    r"other |further )*(?:change|increase|decrease|difference)|not (?:only|certain|"
    r"necessarily|completely excluded|excluded|ruled out|significantly changed|"
    r"changed|well seen)|no doubt|without (?:significant |interval )*change|"
    r"cannot be (?:excluded|ruled out)|can ?not (?:exclude|rule out)|not be "
    r"(?:entirely |completely )?(?:excluded|ruled out)|not entirely)\b"
)
_NO_AFTER = re.compile(
    r"^[^;:]{0,50}?\b(?:(?:is|are|was|were|has|have|been)(?: been)? (?:not|no "
    r"longer|absent|resolved|excluded|ruled out|cleared|unlikely)|not (?:be "
    r")?(?:seen|identified|present|demonstrated|visualized|visualised|evident|"
    r"visible)|no longer (?:seen|present|visible|identified)|absent\b|resolved\b|"
    r"has cleared|are ruled out|: ?(?:none|no|negative|absent)\b)"
)
_COLON_NO = re.compile(r"^s?\s{0,2}[:?]\s{0,3}(none|no|negative|absent|nil)\b")
_COLON_YES = re.compile(r"^s?\s{0,2}[:?]\s{0,3}(yes|present|positive)\b")
_MAYBE = re.compile(
    r"\b(?:possibl[ey]|possibility of|probabl[ey]|may|might|could|suspected|"
    r"suspicious for|suspicion of|questionable|question of|likely|suggests?|"
    r"suggesting|suggestive of|concern(?:ing)? for|versus|vs|equivocal|differential|"
    r"can ?not (?:exclude|rule out)|perhaps|presumed|potentially|worrisome for|"
    r"consider|compatible with possible|uncertain|unclear|difficult to exclude)\b"
)
_MAYBE_AFTER = re.compile(
    r"^[^;]{0,60}?\b(?:(?:can|could) ?not be (?:[a-z]{1,12} ){0,2}(?:excluded|"
    r"ruled out|dismissed)|not (?:completely |entirely )?excluded|difficult "
    r"to exclude|is (?:possible|likely|suspected|questioned|considered|favored)|"
    r"are (?:possible|likely|suspected)|not (?:certain|ruled out)|may be (?:present|"
    r"considered)|should be considered|suspected\b|to be excluded|versus\b|vs\b)"
)
_HISTORY = re.compile(
    r"\b(?:treated for|history of|hx of|prior|previous|evaluate for|assess for|"
    r"rule out|r/o|concern for|eval for|question of|family history|reason)\b[^.;]{0,40}$"
)
_IGNORED = frozenset({"indication", "technique", "comparison", "exam", "date"})


@dataclass(frozen=True, slots=True)
class Mention:
    """A place where the finding is named, the clause around it and how it is asserted there."""

    start: int
    end: int
    clause: tuple[int, int]
    sentence: tuple[int, int]
    verdict: str = field(repr=False)
    trigger: tuple[int, int] | None = None
    history: bool = False


@lru_cache(maxsize=2048)
def _pattern(target: str) -> re.Pattern[str]:
    """Return what a target looks like in a text; its last word must be there, in one of its forms."""
    if target in _SAME:
        return re.compile(rf"\b(?:{_SAME[target]})\b")
    words = target.split()
    head = (
        re.escape(stem(words[-1])) + r"[a-z]{0,6}"
        if len(words[-1]) > 4
        else re.escape(words[-1].rstrip("s")) + r"(?:s|es)?"
    )
    lead = "".join(rf"(?:{re.escape(stem(w))}[a-z]{{0,6}}[\s\-]{{1,2}})?" for w in words[:-1][-3:])
    return re.compile(rf"\b{lead}{head}\b")


_ORGANS = (
    "kidney renal kidneys nephro", "bladder", "gallbladder", "liver hepatic", "spleen splenic", "thyroid", "breast",
    "mitral", "aortic aorta", "tricuspid", "pulmonic", "pleural pleura", "pericardial pericardium", "hiatal",
    "inguinal", "umbilical", "rib ribs", "hip", "clavicle clavicular", "skull", "femur femoral", "wrist", "ankle",
    "vertebral spine", "brain cerebral", "adrenal", "ovarian ovary", "pancreatic pancreas", "lung pulmonary", "carotid",
    "coronary", "joint", "peripheral", "bone osseous",
)  # fmt: skip
_ORGAN_OF = {word: group.split()[0] for group in _ORGANS for word in group.split()}
_BEFORE_HEAD = re.compile(r"\b([a-z]{2,14})(?:\svalve)?[\s\-]$")


def mentions_of(note: Passage, target: str, most: int = 200) -> Iterator[Mention]:
    """Yield the places where a target is named, with the verdict of the clause ('yes', 'no' or 'uncertain')."""
    low = note.lower
    organs = {_ORGAN_OF.get(word) for word in target.split()} - {None}
    for count, match in enumerate(_pattern(target).finditer(low)):
        if count >= most:
            return
        start, end = match.span()
        if (
            organs
            and (nearest := _BEFORE_HEAD.search(low, max(0, start - 40), start))
            and (_ORGAN_OF.get(nearest[1], next(iter(organs))) not in organs)
        ):
            # "bladder stone" says nothing of kidney stones, "aortic stenosis" nothing of mitral stenosis.
            continue
        s0, s1 = note.sentence_at(start)
        left, right = s0, s1
        for stop in _BREAK.finditer(low, s0, start):
            left = stop.end() if stop[0][0] != "," else stop.start() + 1
        for stop in _BREAK.finditer(low, end, s1):
            if stop[0] != ":":
                right = stop.start()
                break
        verdict, trigger = "yes", None
        before, after = low[left:start], low[end:right]
        calm = _NOT_NO.sub(lambda m: " " * len(m[0]), before)
        if colon := _COLON_NO.match(low[end:s1]):
            verdict, trigger = "no", (end + colon.start(1), end + colon.end(1))
        elif colon := _COLON_YES.match(low[end:s1]):
            trigger = (end + colon.start(1), end + colon.end(1))
        elif maybe := _MAYBE_AFTER.match(after):
            verdict, trigger = "uncertain", (end, end + maybe.end())
        elif no := _last(_NO, calm):
            doubt = _last(_MAYBE, before)
            verdict, trigger = "no", (left + no[0], left + no[1])
            if doubt and re.search(r"can ?not (?:exclude|rule out)$|difficult to exclude$", before[: doubt[1]]):
                verdict, trigger = "uncertain", (left + doubt[0], left + doubt[1])
        elif no_after := _NO_AFTER.match(after):
            verdict, trigger = "no", (end, end + no_after.end())
        elif maybe_before := _last(_MAYBE, before):
            verdict, trigger = "uncertain", (left + maybe_before[0], left + maybe_before[1])
        past = bool(_HISTORY.search(low[max(s0, start - 60) : start])) or note.section_at(start) in _IGNORED
        yield Mention(start, end, (left, right), (s0, s1), verdict, trigger, past)


def _last(pattern: re.Pattern[str], text: str) -> tuple[int, int] | None:
    found = None
    for match in pattern.finditer(text):
        found = match.span()
    return found


def find_presence(note: Passage, target: str) -> Found | None:
    """Return whether a finding is there: 'yes', 'no' or 'uncertain', with the words that decide."""
    by: dict[str, Mention] = {}
    for mention in mentions_of(note, target):
        if not mention.history:
            by.setdefault(mention.verdict, mention)
    for verdict in ("yes", "uncertain", "no"):
        if verdict in by:
            m = by[verdict]
            a, b = m.trigger if m.trigger else (m.start, m.end)
            return Found(min(a, m.start), max(b, m.end), verdict, verdict, contested=len(by) > 1)
    return None


_SIDE = re.compile(
    r"\b((?:left|right) (?:greater|more|larger|worse) than (?:left|right)|bilateral(?:ly)?|"
    r"both(?: sides| lungs)?|bibasilar|bibasal|right(?: and left|[\s\-]sided|"
    r"-?sided)?|left(?: and right|[\s\-]sided|-?sided)?|midline|lingula(?:r)?|r[uml]l|l[ul]l)\b"
)
_NOT_A_SIDE = re.compile(
    r"^\s(?:heart|ventric\w{0,4}|atri\w{1,3}|anterior oblique|greater than|more "
    r"than|larger than|>|now|behind|unchanged|over time)"
)
_APART = re.compile(r"\b(?:and|patient|lies|lying|rotated|clip|while|than)\b")
_SIDE_VALUE = {
    "bila": "bilateral",
    "both": "bilateral",
    "biba": "bilateral",
    "righ": "right",
    "left": "left",
    "midl": "midline",
    "ling": "left",
    "rul": "right",
    "rml": "right",
    "rll": "right",
    "lul": "left",
    "lll": "left",
}


def find_laterality(note: Passage, target: str) -> Found | None:
    """Return the side of a finding where it is present: 'left', 'right' or 'bilateral'."""
    best: Found | None = None
    values: set[str] = set()
    ranked = sorted(mentions_of(note, target), key=lambda m: (m.verdict == "no", m.history, m.start))
    for mention in ranked:
        if mention.verdict == "no":
            break
        near: tuple[float, re.Match[str]] | None = None
        for match in _SIDE.finditer(note.lower, *mention.clause):
            if match[1] in ("left", "right") and _NOT_A_SIDE.match(note.lower[match.end() : match.end() + 24]):
                continue
            between = note.lower[mention.end : match.start()]
            if between and match.start() > mention.start and (len(between) > 70 or _APART.search(between)):
                continue
            # Words before the finding bind tighter than words after it.
            distance = (
                mention.start - match.end() if match.end() <= mention.start else 1.5 * (match.start() - mention.end) + 4
            )
            if match[1].startswith("ling"):
                # "the lingula of the left lung": the side itself says it better.
                distance += 40
            if near is None or distance < near[0]:
                near = (distance, match)
        if near is None:
            continue
        match = near[1]
        value = "bilateral" if " and " in match[1] or " than " in match[1] else _SIDE_VALUE[match[1][:4]]
        values.add(value)
        best = best or Found(match.start(), match.end(), "clause", value)
    if best is not None and len(values) > 1:
        if values >= {"left", "right"}:
            return Found(best.start, best.end, "both", "bilateral", contested=True)
        return Found(best.start, best.end, best.rule, best.value, contested=True)
    return best


_DEGREE = (
    "trace|tiny|minimal|minimally|minor|slight|slightly|mild|mildly|small|moderate|"
    "moderately|moderate-sized|large|severe|severely|marked|markedly|massive|"
    "extensive|significant|"
    "gross|grossly|subtle|borderline|advanced|subcentimeter|huge|diffuse|mild-to-moderate|"
    "moderate-to-severe|small-to-moderate|moderate-to-large|early|profound|"
    "critical|subsegmental|florid|frank|trivial|mod|considerable|substantial|sizable|sizeable|pronounced"
)
_SEVERITY = re.compile(
    rf"\b(?:(?:{_DEGREE})(?:(?:\s(?:to|or)\s|-to-|/)(?:{_DEGREE}))?|grade\s(?:\d|i{{1,3}}v?|iv)\b)(?!-)\b"
)
_LEVEL = (
    (
        ("trace", "tiny", "trivial", "minim", "minor", "slight", "subtle", "border", "early", "subseg", "subcent"),
        "minimal",
    ),
    (("mild", "small"), "mild"),
    (("moder",), "moderate"),
    (
        (
            "large",
            "severe",
            "marked",
            "massive",
            "extens",
            "signif",
            "gross",
            "advanc",
            "huge",
            "profound",
            "critical",
            "florid",
            "frank",
            "consid",
            "substan",
            "siz",
            "pronounced",
        ),
        "severe",
    ),
)


def _level(word: str) -> str:
    for starts, level in _LEVEL:
        if word.startswith(starts):
            return level
    return word


def find_severity(note: Passage, target: str) -> Found | None:
    """Return how severe or how large a finding is in words."""
    best: Found | None = None
    values: set[str] = set()
    for mention in mentions_of(note, target):
        if mention.verdict == "no" or mention.history:
            continue
        near: tuple[float, re.Match[str]] | None = None
        for match in _SEVERITY.finditer(note.lower, *mention.clause):
            between = (
                note.lower[match.end() : mention.start]
                if match.end() <= mention.start
                else note.lower[mention.end : match.start()]
            )
            before = match.end() <= mention.start
            if before and (
                len(between) > 45
                or (not between.startswith(",") and "," in between)
                or re.search(r" and | with ", between)
            ):
                continue
            if not before and (
                len(between) > 40
                or not re.search(r"\b(?:is|are|appears?|remains?|was|now|in size|of|:)|^[\s,(:]{0,3}$", between)
                or (
                    re.match(r"[\s,(]{0,3}$", between)
                    and not re.match(r"\s?(?:[.,;)]|$|and\b|in\b|to\b|on\b)", note.lower[match.end() : match.end() + 6])
                )
                or (re.search(r"\band\b", between) and not re.search(r"\b(?:is|are|now)(?: now| still)? $", between))
            ):
                continue
            distance = len(between) if before else 20 + len(between)
            if near is None or distance < near[0]:
                near = (distance, match)
        if near is None:
            continue
        match = near[1]
        values.add(_level(match[0]))
        best = best or Found(match.start(), match.end(), "clause", _level(match[0]))
    if best is not None and len(values) > 1:
        return Found(best.start, best.end, best.rule, best.value, contested=True)
    return best


_THINGS = re.compile(
    r"\b(?:effusions?|(?:lymph )?nodes?|adenopathy|aort(?:a|ic)|aneurysms?|cysts?|"
    r"pneumothora(?:x|ces)|tube|tip|catheter|line|stones?|calcul(?:us|i)|heart|"
    r"lead|carina|hernias?|"
    r"thyroid|adrenal|hepatic|liver|renal|kidneys?|spleen|splenic|ovar(?:y|ian)|"
    r"pancrea\w{1,4}|breast|ventricle|duct|thickening|collections?|abscess|hematoma|"
    r"nodules?|mass(?:es)?|lesions?|"
    r"granulomas?|opacit(?:y|ies)|fractures?|displacement|deviation|shift|slices?|"
    r"sections?|collimation|reconstructions?|intervals?|thickness|artery|vein|"
    r"bronch\w{1,4}|sputum|stent|graft|polyps?|wall|gap|polyp|tumou?rs?|wedge|"
    r"defect)\b"
)
_OTHER_ORGAN = re.compile(
    r"\b(?:thyroid|adrenal|hepatic|liver|renal|kidneys?|splenic|spleen|ovar\w{1,3}|"
    r"pancrea\w{1,4}|breast|uter\w{1,3}|bladder|bone|vertebral|skin|subcutaneous|"
    r"lymph)\b"
)
_OLD_BEFORE = re.compile(
    r"\b(?:previously|prior(?:ly)?|formerly|compared (?:to|with)|versus|vs\.?|"
    r"earlier|originally|increased from|decreased from|grown from|from|was|were|"
    r"initially)(?: (?:measured|measuring|measures|approximately|about|at|size|"
    r"of|was|an?|maximum))*\s?[(]?$"
)
_OLD_AFTER = re.compile(
    r"^[\s,(]{0,3}(?:previously(?!(?: [a-z]{1,12}){0,2} \d)|before|earlier|on "
    r"(?:the )?(?:prior|previous|last|earlier)|in (?:19|20)\d\d|(?:in|on) (?:jan|"
    r"feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|at baseline)"
)
_RULE_TALK = re.compile(
    r"\b(?:fleischner|guidelines?|criteria|threshold|screening category|lung-rads|"
    r"nodules? (?:less|smaller|larger|greater|under|over) than [\d.]{1,4} ?(?:mm|"
    r"cm)[^.]{0,40}(?:follow|require|need|recommend|do not))\b"
)
_DISTANCE = re.compile(
    r"^\s?(?:from|deep|above|below|away|margin|posterior|anterior|inferior|superior|proximal|distal|lateral|medial)\b"
)
_SPACE_WORDS = re.compile(
    r"[,;(]|\b(?:in|of|from|above|below|at|and|with|previously|is|are|on|to|versus|compared|which|beyond|within)\b"
)


def find_size(note: Passage, target: str, *, lung: bool = False) -> Found | None:
    """Return the largest size of a finding, in mm.

    Parameters
    ----------
    note : Passage
        The note.
    target : str
        The finding.
    lung : bool
        Leave out nodules that a sentence places in another organ.
    """
    pattern = _pattern(target)
    present: list[tuple[float, Found]] = []
    earlier: list[tuple[float, Found]] = []
    low = note.lower
    for length in islice(find_lengths(note), 2000):
        if _DISTANCE.match(low[length.end : length.end + 14]):
            continue
        s0, s1 = note.sentence_at(length.start)
        left, right = max(s0, length.start - 160), min(s1, length.end + 90)
        heads = [(m.start(), m.end(), True) for m in pattern.finditer(low, left, right)]
        if not heads:
            # "It measures 8 mm" after a sentence about the finding.
            number = note.sentence_number(length.start)
            if number and re.match(r"(?:it|this|these|they|the largest|largest)\b", low[s0 : s0 + 14]):
                p0, p1 = note.sentences[number - 1]
                alone = not _THINGS.search(low, s0, length.start) and pattern.search(low, p0, p1)
                if alone and not re.search(r"\b(?:no|without)\b", low[p0:p1]):
                    present.append((length.largest, _sized(length, "next_sentence")))
            continue
        taken = {h[:2] for h in heads}
        others = [
            (m.start(), m.end(), False)
            for m in _THINGS.finditer(low, left, right)
            if not any(a <= m.start() < b for a, b in taken)
        ]
        owner: tuple[int, int, bool] | None = None
        following = [h for h in heads + others if h[0] >= length.end]
        if following:
            first = min(following)
            gap = low[length.end : first[0]]
            if len(gap) <= 60 and not _SPACE_WORDS.search(gap):
                owner = first
        if owner is None:
            preceding = [h for h in heads + others if h[1] <= length.start]
            if preceding:
                owner = max(preceding)
                # "nodule in the wall of the cavity measuring 8 mm": the subject owns it, not what it lies in.
                for head in heads:
                    if (
                        head[1] <= owner[0]
                        and re.search(
                            r"\b(?:in|along|within|near|adjacent to|at|abutting|behind) (?:[a-z]{1,12} ){0,4}$",
                            low[head[1] : owner[0]],
                        )
                        and not re.search(r"[,;]| and ", low[head[1] : owner[0]])
                    ):
                        owner = head
        if owner is None or not owner[2]:
            continue
        clause = low[s0 : length.start]
        if _RULE_TALK.search(low[s0:s1]) or re.search(r"\b(?:if|unless|whenever|should)\b[^,;]{0,60}$", clause):
            continue
        negative = re.search(
            r"\b(?:no|without|absence of|negative for)\b(?! (?:change|significant change|interval change))[^;,]{0,80}$",
            clause,
        )
        if (
            negative
            and not re.search(r"\b(?:but|however)\b", clause[negative.start() :])
            and owner[0] >= s0 + negative.start()
        ):
            continue
        if lung and _OTHER_ORGAN.search(
            low[max(s0, min(owner[0], length.start) - 40) : min(s1, max(owner[1], length.end) + 40)]
        ):
            near = low[max(s0, min(owner[0], length.start) - 40) : min(s1, max(owner[1], length.end) + 40)]
            if not re.search(
                r"\b(?:lung|lobe|lobes|pulmonary|lingula|perihilar|apical|apex|basilar|rul|rll|rml|lul|lll)\b", near
            ):
                continue
        size = _sized(length, "next_to" if owner[0] >= length.end else "behind")
        old = _OLD_BEFORE.search(low[max(s0, length.start - 60) : length.start]) or _OLD_AFTER.match(
            low[length.end : length.end + 30]
        )
        (earlier if old else present).append((length.largest, size))
    pool = present or earlier
    if not pool:
        return None
    value, best = max(pool, key=lambda item: item[0])
    rule = best.rule if present else "earlier"
    return Found(best.start, best.end, rule, value, "mm", contested=len({v for v, _ in present}) > 1)


def _sized(length: Length, rule: str) -> Found:
    return Found(length.start, length.end, rule, length.largest, "mm")
