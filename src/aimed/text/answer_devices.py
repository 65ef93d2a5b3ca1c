"""Answers about tubes, lines and leads: where the tip lies, in the words of the note and as a distance."""

from __future__ import annotations

import re

from aimed.text.answer_patterns import Found, find_lengths
from aimed.text.passages import Passage

__all__ = ["DEVICES", "device_in", "find_device_position"]

DEVICES: dict[str, str] = {
    "endotracheal tube": r"endotracheal(?: and nasogastric)? tubes?|endotracheal|et tube|e\.t\. tube|"
    r"ett|breathing tube|tracheal tube|intubation tube",
    "tracheostomy": r"tracheostomy(?: tube| cannula)?",
    "central line": r"central(?: venous)? (?:lines?|catheters?|access)|cvc|cvl|picc(?: line)?|"
    r"peripherally inserted central catheter|(?:internal )?jugular (?:[a-z]{1,10} "
    r")?(?:lines?|catheters?|cvc|sheath)"
    r"|ij(?: (?:central|venous|line|catheter|cvc|sheath))+|subclavian (?:[a-z]{1,10} "
    r")?(?:lines?|catheters?|port)|port-?a-?cath|mediport|chest port|infusion "
    r"port|port catheter|(?:hemo)?dialysis catheter|permcath|hickman(?: catheter)?|"
    r"vascath|central",
    "pulmonary artery catheter": r"swan[\s-]ganz(?: catheter)?|pulmonary artery catheter|pa catheter|swan",
    "nasogastric tube": r"nasogastric(?: tube)?|ng tube|ngt|orogastric(?: tube)?|og tube|ogt|enteric "
    r"tube|feeding tube|dobb?hoff(?: tube)?|gastric tube|nasoenteric tube|dht",
    "pacemaker": r"pacemakers?|pacer|pacing (?:leads?|wires?|device)|icd|aicd|defibrillator|"
    r"(?:pacemaker|pacer|icd) (?:leads?|wires?)|leads",
    "chest tube": r"chest tubes?|thoracostomy tubes?|pleural (?:drain|catheter|tube)s?|pigtail(?: "
    r"catheter)?|chest drain",
    "balloon pump": r"(?:intra-?aortic )?balloon pump|iabp",
}
_DEVICE = {name: re.compile(rf"\b(?:{words})\b") for name, words in DEVICES.items()}
_ANY = re.compile(r"\b(?:" + "|".join(words for words in DEVICES.values()) + r")\b")
_PLACE = (
    r"carina|clavicles?|clavicular heads?|thoracic inlet|trachea|main ?stem "
    r"bronchus|bronchus|bronchus intermedius|svc|superior vena cava|ivc|inferior "
    r"vena cava|cavo-?atrial junction|"
    r"svc[\s/-]{1,3}ra junction|ra junction|right atrium|right ventricle|left "
    r"ventricle|right ventricular apex|ra|rv|atrium|ventricle|ventricular apex|"
    r"atrial appendage|coronary sinus|atrium and (?:right )?ventricle|"
    r"(?:brachiocephalic|innominate) (?:vein|confluence)|confluence|axilla|subclavian vein|jugular vein|azygos "
    r"vein|axillary vein|pulmonary artery|pulmonary outflow tract|stomach|gastric "
    r"(?:body|fundus|antrum|bubble)|fundus|duodenum|pylorus|jejunum|"
    r"(?:hemi)?diaphragms?|esophagus|oesophagus|gastroesophageal junction|ge "
    r"junction|hypopharynx|aortic (?:knob|arch)|descending aorta|apex|(?:lung "
    r")?base|pleural space|left upper quadrant|field of view|"
    r"film|image|(?:inferior )?margin of the (?:film|image)|view|vertebral body|"
    r"t\d{1,2}|neck|costophrenic (?:angle|sulcus)|hemithorax"
)
_WHERE = re.compile(
    rf"\b(?:above|below|at|in|within|over|overlying|overlies|near|beyond|past|"
    rf"into|to|off|under|beneath|inferior to|superior to|proximal to|distal to|"
    rf"overl[a-z]{{2,7}}|projects? over|projecting over|from|through|just)\s"
    rf"(?:the\s|a\s|an\s)?(?:(?:expected|region|location|position|level|area|"
    rf"of|the|in|just|inferior|margin|edge|border|bottom|mid|middle|upper|lower|distal|proximal|"
    rf"high|low|right|left|main|svc|superior|body|tip|origin|confluence|junction|"
    rf"medial|lateral|regions|levels)[\s/\-]{{1,2}}){{0,8}}?"
    rf"(?:{_PLACE})\b(?:(?:\s?(?:and|/|,|or)\s?(?:the\s)?(?:right\s|left\s|mid\s|"
    rf"upper\s|lower\s|distal\s)?(?:{_PLACE})\b){{1,2}})?"
)
_NEAR_DISTANCE = re.compile(
    r"^\s{0,2}(?:or so\s|or more\s|proximal\s|distal\s)?(?:above|below|from|"
    r"proximal|distal|superior|inferior|beyond|past|cephalad|caudal|over|into|"
    r"deep)\b"
)
_GOOD = re.compile(
    r"\b(?:in |within )?(?:(?:a )?(?:standard|satisfactory|appropriate|good|"
    r"adequate|expected|proper|stable|unchanged|acceptable|correct|normal|usual|"
    r"optimal)\s(?:in\s)?(?:position(?:ing|s)?|location|placement)|well[\s-]positioned|"
    r"appropriately positioned|unchanged in position|malpositioned|malposition|"
    r"coiled|too (?:low|high))\b"
)
_GONE = re.compile(
    r"\b(?:removed|removal of|(?:has|have) been (?:withdrawn|pulled|discontinued)"
    r"(?! back| \d|[^.;]{0,40} (?:now|and|with|lies|ends)\b)|"
    r"(?:was|were) (?:pulled|discontinued)(?! back| \d|[^.;]{0,40} (?:now|and)\b)|extubated|"
    r"extubation|no longer (?:seen|present)|discontinued|absent|no (?:[a-z]{1,14} "
    r"){0,3}$)"
)
_NO_BEFORE = re.compile(r"\b(?:no|without|removal of|removal of the|not intubated)\s(?:[a-z,]{1,14}\s){0,4}$")
_LISTED = re.compile(r"^(?:[\s,/&]|and|the|an?|right|left)*$")
_BARE_PLACE = re.compile(
    rf"\btips?(?: position)?[\s:,=]{{1,3}}(?:the )?((?:(?:mid|upper|lower|distal|"
    rf"proximal|right|left)[\s\-]){{0,2}}(?:{_PLACE}))\b"
)
_WAS = re.compile(r"\b(?:was|were|previously|formerly)(?: [a-z]{1,12}){0,2} ?$")
_TIP = re.compile(r"^(?:the |its |an? )?(?:distal |side )?(?:tip|end|it|this|port|leads?|terminates?|side ?port)\b")
_OLD = re.compile(
    r"\b(?:previously|formerly|prior position|recommend\w{0,6}|advis\w{1,4}|should|could be|repositioned from|consider|"
    r"(?<!been )(?<!was )(?<!were )(?:advanc\w{1,4}|withdraw\w{0,4}|retract\w{0,4}|pull\w{0,4} back))\b[^;]{0,50}$"
)
_WISHED = re.compile(
    r"\b(?:consider|recommend\w{0,6}|suggest\w{0,4}|advis\w{1,4}|should|would|could|please|plan\w{0,4}|need\w{0,2}|if|goal|"
    r"target|aim|ideal\w{0,2})\b[^,;:]{0,50}$"
)
_ENDS = re.compile(r"\b(?:tips?|ends?|ending|terminat\w{1,4}|side ?port)\b[^,;]{0,40}$")
_FROM_CARINA = re.compile(r"\bcarina\b[^,;.]{0,40}$")
_ANY_LINE = "line"


def device_in(question: str) -> str | None:
    """Return the device that a question names, or None.

    Examples
    --------
    >>> device_in("where does the ett end?"), device_in("how old is the patient?")
    ('endotracheal tube', None)
    """
    for name, pattern in _DEVICE.items():
        if pattern.search(question):
            return name
    return _ANY_LINE if re.search(r"\b(?:lines?|catheters?)\b(?! fracture)", question) else None


def find_device_position(note: Passage, device: str) -> Found | None:
    """Return where the tip of a device lies: a distance (value in mm) or a place; one that is gone has a reason."""
    if device == _ANY_LINE:
        found = find_device_position(note, "central line")
        return found if found and not found.reason else find_device_position(note, "pulmonary artery catheter") or found
    low = note.lower
    gone = seen = False
    candidates: list[tuple[int, Found]] = []
    for count, match in enumerate(_DEVICE[device].finditer(low)):
        if count >= 100:
            break
        number = note.sentence_number(match.start())
        s0, s1 = note.sentences[number]
        if note.section_at(match.start()) in ("indication", "technique", "comparison"):
            continue
        if _NO_BEFORE.search(low[max(s0, match.start() - 60) : match.start()]) or _GONE.search(
            low[match.end() : min(s1, match.end() + 60)]
        ):
            gone = True
            continue
        if _WISHED.search(low[max(s0, match.start() - 70) : match.start()]):
            continue
        seen = True
        stop = s1
        # The part of the sentence that speaks of another device is not this one's.
        listed = match.end()
        for other in _ANY.finditer(low, match.end(), s1):
            if _LISTED.match(low[listed : other.start()]):
                listed = other.end()
            elif not _DEVICE[device].match(low, other.start()):
                stop = other.start()
                break
        parts = [(match.end(), stop)]
        if number + 1 < len(note.sentences) and stop == s1:
            n0, n1 = note.sentences[number + 1]
            if _TIP.match(low[n0 : n0 + 30]):
                named = _ANY.search(low, n0, n1)
                if named is None or _DEVICE[device].match(low, named.start()):
                    parts.append((n0, n1))
        before = (s0, match.start())
        if re.search(r"\b(?:tip|end|position)\b", low[s0 : match.start()]) is None:
            parts.append(before)
        if apart := _apart(note, s0, match.start(), match.end(), stop):
            candidates.append((0, apart))
        for order, (a, b) in enumerate(parts):
            if found := _position(note, a, b):
                quality = {"distance": 0, "place": 1, "judged": 2}[found.rule]
                candidates.append((quality * 10 + order, found))
                break
    if candidates:
        best = min(candidates, key=lambda item: item[0])[1]
        values = {note.lower[f.start : f.end] for rank, f in candidates if f.rule == best.rule}
        return Found(best.start, best.end, best.rule, best.value, best.unit, contested=len(values) > 1)
    if gone and not seen:
        return Found(-1, -1, "removed", reason="removed")
    return None


def _apart(note: Passage, s0: int, start: int, end: int, stop: int) -> Found | None:
    """Return the distance where a sentence names the carina first: "carina to ETT distance is 4 cm"."""
    low = note.lower
    if not _FROM_CARINA.search(low[s0:start]):
        return None
    for length in find_lengths(note, end, min(stop, end + 60)):
        if re.fullmatch(
            r"(?:\s(?:tip|distance|is|of|measures|measured|about|approximately|at|was|now)|\s?[:=])*\s?",
            low[end : length.start],
        ):
            return Found(length.start, length.end, "distance", length.largest, "mm")
        break
    return None


def _position(note: Passage, start: int, end: int) -> Found | None:
    low = note.lower
    lengths = list(find_lengths(note, start, end))
    # "was 1 cm above the carina and is now 4 cm above": where it was counts only if nothing else is said.
    lengths.sort(key=lambda length: bool(_WAS.search(low[max(start, length.start - 40) : length.start])))
    for length in lengths:
        if not _NEAR_DISTANCE.match(low[length.end : min(end, length.end + 24)]) or _OLD.search(
            low[start : length.start]
        ):
            continue
        place = _WHERE.search(low, length.end, min(end, length.end + 90))
        stop = place.end() if place and place.start() - length.end < 14 else length.end
        return Found(length.start, stop, "distance", length.largest, "mm")
    # "courses below the diaphragm with its tip in the fundus": where it ends comes first.
    places = sorted(
        list(_WHERE.finditer(low, start, end))[:20],
        key=lambda m: not _ENDS.search(low[max(start, m.start() - 50) : m.start()]),
    )
    for place in places:
        if _OLD.search(low[start : place.start()]):
            continue
        if re.match(
            r"(?:from|in|through|to) (?:the )?(?:right|left)? ?(?:apex|hemithorax|base|neck|image|view|film)$", place[0]
        ) and place[0][:4] in ("from", "thro"):
            continue
        return Found(place.start(), place.end(), "place", note.text[place.start() : place.end()])
    if bare := _BARE_PLACE.search(low, start, end):
        return Found(bare.start(1), bare.end(1), "place", note.text[bare.start(1) : bare.end(1)])
    if judged := _GOOD.search(low, start, end):
        return Found(judged.start(), judged.end(), "judged", judged[0])
    return None
