"""Patterns of the rules: every one starts with a set or with letters and has an upper bound on every repeat."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from aimed.privacy.rule_words import MONTHS, POSTCODE_AREAS, STATE_CODES, STATES, word_set


def _options(pattern: str) -> list[str]:
    """Split a pattern at its outer bars and open a group at its start, so that each part starts with a letter."""
    parts, depth, begin, i = [], 0, 0, 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\":
            i += 1
        elif c == "[":
            i = pattern.index("]", i)
        elif c in "()":
            depth += 1 if c == "(" else -1
        elif c == "|" and not depth:
            parts.append(pattern[begin:i])
            begin = i + 1
        i += 1
    parts.append(pattern[begin:])
    out: list[str] = []
    for part in parts:
        if not part.startswith("(?:"):
            out.append(part)
            continue
        depth, i = 0, 0
        while True:
            if part[i] == "\\":
                i += 1
            elif part[i] == "[":
                i = part.index("]", i)
            elif part[i] in "()":
                depth += 1 if part[i] == "(" else -1
                if not depth:
                    break
            i += 1
        inner, rest = part[3:i], part[i + 1 :]
        maybe = rest.startswith("?")
        rest = rest.removeprefix("?")
        out.extend(o for one in _options(inner) for o in _options(one + rest))
        if maybe:
            out.extend(_options(rest))
    return out


def _words(pattern: str) -> str:
    """Return the same pattern at the start of a word, sorted by first letter: the search skips all other letters."""
    letters: dict[str, list[str]] = {}
    for o in _options(pattern):
        rest = letters.setdefault(o[0], [])
        if o[1:] not in rest:
            rest.append(o[1:])
    # A letter that may be missing ("s?") would leave its mark behind.
    return "(?:" + "|".join(rf"{c}(?<!\w.)(?:{'|'.join(rest)})" for c, rest in letters.items()) + ")"


# ---------------------------------------------------------------- dates and ages
_MON = rf"(?:{MONTHS})"

_MON_START = _words(MONTHS)

_DAY = r"(?:3[01]|[12]\d|0?[1-9])"

_YEAR = r"(?:(?:1[89]|20)\d\d)"

D_NUMERIC = re.compile(
    r"[0-9](?<![\w./:-][0-9])(?<![0-9][ ]/[0-9])[0-9]?([/.-])([0-9]{1,2})\1(\d{4}|\d{2})(?![\w]|[./-]\d)"
)

D_ISO = re.compile(rf"[12](?<![\w.-].)(?:9|8|0)\d\d([-/.])(?:0?[1-9]|1[0-2])\1{_DAY}(?![\d]|[-/.]\d)")

D_DICOM = re.compile(
    r"[12](?<![\w.].)[90]\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?=(?:[0-2]\d[0-5]\d[0-5]\d)?(?![\w]))"
)

D_MONTH_YEAR = re.compile(rf"[0-9](?<![\w./:-].)[0-9]?[/-]{_YEAR}(?![\w/]|[.-]\d)")

D_YEAR_MONTH = re.compile(r"[12](?<![\w./-].)(?:9|0)\d\d-(?:0[1-9]|1[0-2])(?![\w/-]|\.\d)")

D_DAY_WORD = re.compile(
    rf"[0-9](?<![\w./].)[0-9]?(?:st|nd|rd|th)?(?:[ ]?(?:-|–|to|and|/|&)[ ]?{_DAY}(?:st|nd|rd|th)?)?"
    rf"(?:[ ]of)?[ .,/-]{{0,2}}(?:the[ ])?{_MON}(?![a-z])[.,]?(?:[ ,/-]{{0,2}}(?:{_YEAR}|['’]?\d\d(?![\d%/]|[.:]\d"
    rf"|[ ]?(?:mg|mm|cm|ml|mcg|bpm|years?|days?|weeks?|hours?|patients?)\b|[a-z])))?(?!\d)"
)

D_WORD_DAY = re.compile(
    rf"{_MON_START}(?![a-z])[.]?[ /-]{{1,2}}(?:the[ ])?{_DAY}(?:st|nd|rd|th)?(?![\d%]|[.:]\d|[ ]?(?:mg|mm|cm|ml)\b)"
    rf"(?:[ ]?(?:-|–|to|and|through|&)[ ]?(?:{_MON}[.]?[ ])?{_DAY}(?:st|nd|rd|th)?(?!\d))?"
    rf"(?:,?[ /-]{{0,2}}{_YEAR}|,?[ ]?['’]\d\d|/\d\d(?!\d))?(?!\d)"
)

D_WORD_YEAR = re.compile(rf"{_MON_START}(?![a-z])[.,]?[ /-]?(?:of[ ])?(?:{_YEAR}|['’]\d\d)(?!\d)")

D_IN_MONTH = re.compile(
    _words("in|since|last|next|until|till|by|early|late|mid|from|this|during|of") + r"[ -]"
    r"(january|february|march|april|may|june|july|august|september|october|november|december)(?![\w'’-])"
)

D_WEEKDAY = re.compile(
    _words("mon|tues|tue|wednes|wed|thurs|thur|thu|fri|satur|sat|sun")
    + rf"(?:day)?\.?,?[ ](?:the[ ])?{_DAY}(?:st|nd|rd|th)(?!\w)"
)

D_LONE_WEEKDAY = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b")

D_HOLIDAY = re.compile(
    _words(
        r"christmas(?: (?:eve|day))?|thanksgiving|new year['’]?s(?: (?:eve|day))?|easter(?: (?:sunday|monday))?"
        r"|good friday"
        r"|boxing day|valentine['’]?s day|halloween|labou?r day|memorial day|independence day|(?:4th|fourth) of july"
        r"|mother['’]?s day|father['’]?s day|st\.? patrick['’]?s day|hanukkah|passover|yom kippur|rosh hashanah"
        r"|ramadan"
        r"|eid(?: al-(?:fitr|adha))?|diwali|veterans day|columbus day|bastille day|bank holiday monday"
    )
    + rf"(?! (?:disease|factor|tree))(?:,? {_YEAR})?(?!\w)"
)

D_SHORT = re.compile(
    _words(
        "on|since|dated|date|until|till|seen|admitted|discharged|dos|from|due|dob|born|tomorrow|today|yesterday|visit"
        "|f/u|d/c|dc|appt|appointment|extracted|mon|monday|tues?|tuesday|wed|wednesday|thurs?|thu|thursday|fri|friday"
        "|sat|saturday|sun|sunday"
    )
    + r"\b:?[ ](?:the[ ])?"
    r"((?:0?[1-9]|[12]\d|3[01])/(?:0?[1-9]|[12]\d|3[01])(?:[ ]?(?:-|–|to|through)[ ]?\d{1,2}/\d{1,2})?)"
    r"(?![\w/]|\.\d|[ ]?(?:%|fractions?|mm|cm|mg|lead|strength|power|nodes|on|in[ ]))"
)

# Month and day without a word of context, where no usual score has this denominator.
D_MONTH_DAY = re.compile(
    r"[1-9](?<![\w.,/+:#-].)[0-2]?/(?:1[34679]|2[2369]|31)(?![\w/%+]|[.]\d|[ ]?(?:nodes?|lns?|lymph|cores?|pos"
    r"|fractions?|sessions?|cycles?|cells|cases|points?|patients?|samples?|mm|cm|mg)\b)"
)

SCORE_BEFORE = re.compile(
    r"(?:score|scale|grade|gleason|nodes?|cores?|four|apgar|gcs|nihss|va|vision|acuity|od|os|ou|power|strength|murmur"
    r"|pain|mmse|moca|total|stage|ratio|of|fractions?|lead|titer|titre)[ :=]{1,2}\Z"
)

FOREIGN_MONTHS: Final = tuple(
    sorted(
        word_set(
            "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre janvier"
            " février fevrier mars avril juin juillet août aout septembre octobre novembre décembre decembre"
            " januar februar märz mai juni juli oktober dezember gennaio febbraio aprile maggio giugno luglio"
            " settembre ottobre dicembre janeiro fevereiro março junho julho setembro outubro novembro"
            " dezembro"
        )
    )
)

D_FOREIGN = re.compile(
    r"(?:[0-9](?<![\w./].)[0-9]?\.?[ ](?:de[ ])?)?"
    + _words("|".join(FOREIGN_MONTHS))
    + rf"(?![^\W_])(?:[ ](?:de[ ])?{_YEAR}(?!\d))?"
)

D_SEASON = re.compile(_words("spring|summer|autumn|winter|fall") + rf"(?:[ ]of)?,?[ ]{_YEAR}(?!\d)")

MONTH_STEMS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

HOLIDAY_STEMS: Final = (
    "christmas",
    "thanksgiving",
    "new year",
    "easter",
    "good friday",
    "boxing",
    "s day",
    "bor day",
    "our day",
    "ial day",
    "ence day",
    "halloween",
    "of july",
    "hanukkah",
    "passover",
    "yom",
    "rosh",
    "ramadan",
    "eid",
    "diwali",
    "holiday",
)

D_BARE_YEAR = re.compile(r"[12](?<![\w./-].)(?:9\d|8\d|0[0-4])\d(?![\w/-]|[.]\d)")

AGE_AFTER = re.compile(
    r"[19](?<![\w.,/-].)(?:[0-9]|[0-2][0-9])(?=(?:[ -]?(?:years?|yrs?)[ -]?(?:old|of age)\b"
    r"|[ -]?y\.?[ /]?o\b|[ ]?y/o|[ ]?yr\b[ ]?old|[ ]?(?:m|f|male|female)[ ]+(?:with|who|presents|presenting|s/p"
    r"|c/o|admitted|patient|pt)\b"
    r"|(?:yo|m|f)[, ]|[ ]?(?:years|yrs)[,);]|[ -]year[ -]))"
)

AGE_BEFORE = re.compile(
    r"a(?<!\w.)ge(?:d|s|[ ]at[ ]\w{1,12})?[ ]?(?:of|is|:|=)?[ ]{0,2}(9\d|1[01]\d|12[0-5])(?![\w%]|[./]\d)"
)

AGE_WORDS = re.compile(
    r"(?:ninety(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?|one hundred(?: and (?:one|two|three|four"
    r"|five))?)"
    r"(?=[ -]years?[ -](?:old|of age))|(?:nonagenarian|centenarian)s?\b"
)

# ---------------------------------------------------------------- telephones
T_US = re.compile(
    r"[0-9(+](?<![\w.+/-].)(?<!\([0-9])(?<![0-9]\.[0-9])(?:(?<=\+)1[-. ]?\(?|(?<=1)[-. ]\(?|(?<=0)01[-. ]\(?)?(?:"
    r"(?<=\()\d|(?<=[0-9]))?"
    r"\d{2,3}(?:\)[ ]?|\)-|[-. ]|/)\d{3}[-. ]\d{4}(?:,?[ ]?(?:x|ext\.?|extension|#)[ ]?\d{1,6})?(?!\d|[-.]\d|[ ]?"
    r"(?:mg|mm|cm)\b)"
)

T_PLUS = re.compile(
    r"\+\(?(?<![\w+]\+)\d{1,3}\)?(?:[ .-]?\(0?\d{0,4}\))?(?:[ ./-]{0,2}\d){6,13}(?:[ ]?(?:x|ext\.?)[ ]?\d{1,6})?"
    r"(?!\d)"
)

T_ZERO = re.compile(
    r"[(0](?<![\w./+-].)(?:(?<=\()0)?(?:\d{2}\)?[ ]\d{4}[ ]\d{4}|\d{3}\)?[ ]\d{3}[ ]?\d{4}|\d{4}\)?[ ]\d{5,6}"
    r"|\d{4}\)?[ ]\d{3}[ ]\d{3}"
    r"|\d{3}[ -]\d{6,8}|0\d{2}[ ]\d{1,3}[ ]\d{3}[ ]\d{3,5}|\d[ ]\d{2}[ ]\d{2}[ ]\d{2}[ ]\d{2}|[12]\d{8,9}|7\d{9}"
    r"|\d{1,4}(?:[ ]\d{2,4}){2,4})(?![\w]|[./-]\d)"
)

T_PAIRS = re.compile(r"[0-9](?<![\w./+-].)\d{1,3}(?:-\d{2,4}){3}(?![\w-]|[./]\d)")

T_LOCAL = re.compile(r"[2-9](?<![\w./+-].)\d\d-\d{4}(?![\w-]|[./]\d)")

T_VALUE = re.compile(
    r"[\s:#.=(]{0,4}(?:(?:is|no|number|num|home|work|mobile|cell|day|evening|nr|at|on)\b[\s:#.=]{0,3}){0,2}"
    r"(\+?\(?\d(?:[ ()./-]{0,2}\d){3,14}(?:,?[ ]?(?:x|ext\.?|extension)[ ]?\d{1,6})?)(?![\w]|[./-]\d)"
)

T_EXTENSION = re.compile(r"x(?<!\w.)\d{1,2}-\d{4}(?![\w-])")

# ---------------------------------------------------------------- network
HANDLE = re.compile(r"@(?<![\w.]@)([A-Za-z_][\w.]{2,29})")

HANDLE_NEAR = re.compile(
    r"instagram|twitter|tiktok|snapchat|telegram|facebook|handle|username|posts? as|account|\big\b"
)

MAIL_HEAD = re.compile(r"[\w.+%'’&-]{1,64}\Z")

MAIL_TAIL = re.compile(r"\[?[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}\]?")

URL = re.compile(r"(?:https?|ftp|sftp|ftps|dicomweb)://[^\s<>\"']{1,2000}|\bwww\d?\.[^\s<>\"']{3,2000}")

DOMAIN = re.compile(
    r"\.(?:com|org|net|edu|gov|mil|info|biz|int|io|ai|app|health|hospital|clinic|care|eu|uk|de|fr|it|es|nl|ca|au"
    r"|ch|at|se|dk|fi|pl|pt|ie|nz|jp|cn|ru|br|mx)"
    r"(?![\w-]|\.\w)(?:/[^\s<>\"',;]{0,500})?"
)

DOMAIN_HEAD = re.compile(r"(?<![\w@.-])[a-z][a-z0-9-]{0,62}(?:\.[a-z0-9-]{1,63}){0,4}\Z")

IPV4 = re.compile(r"[0-9](?<![\w.].)\d{0,2}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w]|\.\d)")

IPV6 = re.compile(r"[0-9a-fA-F:](?<![\w:.].)[0-9a-fA-F:]{3,38}(?![\w:])")

MAC = re.compile(r"[0-9a-fA-F](?<![\w:-].)[0-9a-fA-F]([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}(?![\w:-])")

# ---------------------------------------------------------------- numbers with a form of their own
SSN = re.compile(r"[0-9](?<![\w.+/-].)\d\d([- ])\d\d\1\d{4}(?![\w-]|[./]\d)")

NINO = re.compile(r"[A-CEGHJ-PR-TW-Z](?<!\w.)[A-CEGHJ-NPR-TW-Z][ ]?\d\d[ ]?\d\d[ ]?\d\d[ ]?[A-D](?!\w)")

CARD = re.compile(
    r"[2-6](?<![\w.+/-].)\d{3}(?:([- ]?)\d{4}(?:\1\d{4}(?:\1\d{1,7})?|\1?\d{1,7})|([- ])\d{6}\2\d{5})(?![\w]"
    r"|[-.]\d)|[2-6](?<![\w.+/-].)\d{11,18}(?![\w]|[-.]\d)"
)

IBAN = re.compile(r"[A-Z](?<!\w.)[A-Z]\d\d(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,4})?(?!\w)")

TEN = re.compile(r"[0-9](?<![\w.+/-].)\d\d([ -]?)\d{3}\1\d{4}(?![\w]|[./-]\d)")

DEA = re.compile(r"[ABCDEFGHJKLMPRSTUX](?<!\w.)[A-Z9]\d{7}(?!\w)")

VIN = re.compile(r"[1-9A-HJ-NPR-Z](?<!\w.)[A-HJ-NPR-Z0-9]{16}(?!\w)")

DNI = re.compile(r"[XYZ0-9](?<![\w.-].)\d{7}-?[A-Z](?!\w)")

UDI = re.compile(r"\(01\)(\d{14})((?:\((?:10|11|17|21|240|250)\)[A-Za-z0-9/-]{1,20}){0,5})")

UUID = re.compile(
    r"[0-9a-fA-F](?<![\w-].)[0-9a-fA-F]{7}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?![\w-])"
)

HASH = re.compile(r"[0-9a-fA-F](?<!\w.)[0-9a-fA-F]{31,127}(?!\w)")

DICOM_UID = re.compile(r"[12](?<![\w.].)\.(?:\d{1,40}\.){1,20}\d{1,40}(?![\w]|\.\d)")

LONG = re.compile(
    r"[0-9](?<![\w.,/+-].)\d{6,29}(?![\w]|[.,/-]\d|[ ]?(?:copies|iu|units|cells|/|%|x10|mg|ml|cfu|log|eq|bp|ng|u/))"
)

NUMBER_SIGN = re.compile(r"#[ ]?(?<!\w#)(?=\d{5,14}(?![\w]|[.,]\d))\d{5,14}")

CASE = re.compile(r"[A-Z](?<![\w/.-].)[A-Z]{0,3}\d{0,2}-(?!(?:19|20)\d\d(?![\d-]))(?:\d{2,4}-)?\d{4,7}(?![\w-])")

CODE = re.compile(r"[A-Z](?<![\w/.-].)[A-Z]{0,4}[-/]?\d{6,14}(?![\w]|[-/.]\w)")

# ---------------------------------------------------------------- numbers by context
_CONTEXTS: Final[dict[str, str]] = {
    "medical_record": (
        r"mrn|mr ?#|mr (?:no|number)\b|medical rec(?:ord)?s?|med rec|med\.? rec\.?|(?:hospital|hosp|chart|unit"
        r"|record|file|case|episode|visit"
        r"|encounter|admission|accession|acc|specimen|lab|order|exam|patient|pt|pat|requisition|path|report)(?: "
        r"(?:id|no|number|num|nr|identifier)\b| ?#|\. ?no)"
        r"|accession ?number|patientid|accession|encounter|csn|fin\b|nhs(?: (?:no|number))?|chi (?:no|number)|h/n"
        r"|patient id(?:entifier)?|emr|ehr id|urn|urno|pid|chart"
    ),
    "health_plan": (
        r"(?:member|policy|subscriber|beneficiary|insurance|insured|plan|health plan|group|claim|payer|medicare"
        r"|medicaid|hicn|mbi"
        r"|health card|health insurance|insurer|authorization|auth|pre-?auth|coverage)(?:'s)?(?: (?:policy|card"
        r"|beneficiary|member|plan|claim|id|no|number|num|nr|identifier)\b| ?#|\. ?no){1,2}"
        r"|medicare|medicaid|hicn|mbi|ohip|versichertennummer|member id|policy|policynumber"
    ),
    "account": (
        r"(?:bank |billing |hospital |patient |guarantor |financial )?acc(?:oun)?t(?: (?:id|no|number|num|nr)\b"
        r"| ?#|\. ?no)?\b|a/c(?: no)?|iban|routing (?:no|number)|sort code"
        r"|invoice(?: (?:no|number)| ?#)?|(?:credit|debit|bank|visa|amex|mastercard) ?card(?: (?:no|number))?"
        r"|card (?:no|number)|billing (?:id|no|number)|guarantor (?:id|no|number)"
    ),
    "vehicle": (
        r"vin|(?:license|licence|number|registration|vehicle|car) plates?(?: (?:no|number))?|(?:vehicle|car|van"
        r"|truck|motorcycle|motorbike) (?:reg(?:istration)?|id|tag|licen[cs]e)(?: (?:no|number))?|plates?|tag(?: "
        r"(?:no|number)| ?#)|reg(?:\.| no| plate| number)"
    ),
    "certificate_licence": (
        r"(?:(?:state|medical|professional|driver['’]?s?|driving|nursing|pilot) )?licen[cs]e(?: (?:id|no|number"
        r"|num|nr)\b| ?#|\. ?no)?|lic(?:\.| ?#| no)|dl ?#|dln|npi|dea|mcrn|ahpra(?: (?:no|number))?"
        r"|(?:birth |death |board )?cert(?:ificate)?(?: (?:id|no|number)\b| ?#|\. ?no)|gmc(?: (?:no|number))?|nmc"
        r"(?: pin| no| number)?|hcpc(?: no)?|passport(?: (?:no|number))?|permit (?:no|number)"
        r"|upin|registration (?:no|number)|rpps|lanr|bsnr"
    ),
    "device": (
        r"(?:device |implant |generator |lead |pump |pacemaker |icd |lens |valve )?(?:serial|lot|batch)(?: (?:id"
        r"|no|number|num|nr)\b| ?#|\. ?no)?|s/n|sn|sn ?#|udi(?:-di)?|device (?:id|identifier|no|number|tag)"
        r"|implant (?:id|no|number)|imei|mac(?: address)?|lot|asset tag"
        r"|(?:pacemaker|icd|generator|stent|prosthesis|implant|valve|lead|pump|device|scanner|monitor|holter) "
        r"(?:model )?(?:id|no|number|#)"
    ),
    "biometric": (
        r"(?:finger ?print|thumb ?print|palm ?print|voice ?print|face ?print|iris|retina(?:l)?|biometric|dna|gait)"
        r"(?: (?:id|no|number|ref|reference|code|scan|template|hash|profile|sample|record|file)\b| ?#){1,2}"
    ),
    "photograph": r"(?:photo(?:graph)?s?|portrait|face (?:image|photo)|clinical (?:image|photo(?:graph)?)"
    r"|id photo|mugshot|passport photo)(?: (?:id|no|number|ref|reference|code|file)\b| ?#){1,2}",
    "other_unique": (
        r"(?:study|subject|participant|trial|research|sample|biobank|token|user|employee|staff|badge|donor"
        r"|randomi[sz]ation|registry|transplant|case report|barcode|blood unit|donation|session|tracking|run"
        r"|incident)"
        r"(?: (?:participant|subject|id|no|number|num|nr|code|name|identifier)\b| ?#)|username|login|(?:our"
        r"|your) ref(?:erence)?|reference (?:no|number)|ref ?#|ref\. ?no|ref no|barcode"
        r"|national id(?: no| number)?|nin\b|tax (?:id|no|number)|taj|personnummer|codice fiscale|dni|nie"
    ),
    "social_security": r"ssn?\b|soc(?:ial)?\.? sec(?:urity)?(?: (?:no|number|num|#))?|ni (?:no|number)|nino"
    r"|national insurance(?: (?:no|number))?|sin (?:no|number)|insee|bsn\b|avs",
    "fax": r"fax|facsimile|telefax|faxed to|fx",
    "telephone": (
        r"tel(?:ephone|efon|éfono)?|tfno|tlf|phone|ph|mobile|cell(?: ?phone)?|call(?:ed)?(?: (?:me|us|him|her|back|wife"
        r"|husband|daughter|son|the office|clinic))?(?: (?:at|on))?|contact(?:able)?(?: (?:at|on))?"
        r"|pager|paged(?: at)?|bleep|beeper|reach(?:ed|able)?(?: (?:at|on))?|ext(?:ension|n)?|hotline|helpline"
        r"|switchboard|landline|whatsapp|sms|text|voicemail"
    ),
}

KEYWORDS = re.compile(_words("|".join(_CONTEXTS.values())) + "(?![a-z])")

_CLASS_OF: Final = tuple((c, re.compile(p)) for c, p in _CONTEXTS.items())


@lru_cache(maxsize=1024)
def class_of(words: str) -> str:
    """Return the class that a word of context belongs to."""
    return next(c for c, p in _CLASS_OF if p.fullmatch(words))


DATE_LIKE = re.compile(
    rf"\d{{1,2}}([/.-])(?:\d{{1,2}}|{_MON})\1(?:\d{{4}}|\d\d)[ ]\d|\d{{1,2}}-{_MON}-\d{{2}}|"
    rf"(?:19|20)\d\d[-/]\d\d?[-/]\d\d?(?!\d)"
)
ID_VALUE = re.compile(
    r"[^\S\n]{0,3}(?:\((?:mrn|ssn|npi|vin|id|udi|dea)\))?[ :#.=\t]{0,5}(?:\n?(?:is|was|of|number|no|num|id|nr|ref"
    r"|read(?:ing|s)?|ending(?: in)?|code|plate|to|as|on file)\b[ :#.=]{0,4}){0,3}[\"'(\[]?"
    r"((?:[A-Za-z]{1,8}[-/ ]?){0,2}?[0-9][\w]{0,40}(?:[-/.–][\w]{1,30}){0,8}(?:(?<=\b[0-9]{2})[ ][0-9]{2,4}"
    r"(?![\w/.,-])|(?<=\b[0-9]{3})[ ][0-9]{2,5}(?![\w/.,-])|(?<=\b[0-9]{4})[ ][0-9]{2,5}(?![\w/.,-])){0,4}"
    r"|[A-Z][\w]{0,20}(?:-[\w]{1,20}){1,6})",
    re.IGNORECASE,
)

CARD_REST = re.compile(r"(?<=\d{5})[ ]\d(?:[ ]\d)?(?![\w.,/])")

PLATE_VALUE = re.compile(
    r"[ :#.=\t]{0,4}(?:(?:is|was|number|no|reads?|reading)\b[ :#.=]{0,3}){0,2}[\"'(\[]?"
    r"((?=[A-Z]{0,7}[0-9])[A-Z0-9]{5,8}(?!\w)"
    r"|(?=[A-Z0-9 -]{0,7}[0-9])[A-Z0-9]{1,4}[ -]?[A-Z0-9]{1,5}(?:[ -][A-Z0-9]{1,3}(?=[A-Z0-9]{0,3}(?!\w)))?)(?!\w)"
)

DIGIT = re.compile(r"[0-9]")

NEEDS_MARK: Final = frozenset(
    {
        "text",
        "call",
        "called",
        "lot",
        "chart",
        "plate",
        "plates",
        "ph",
        "fin",
        "tag",
        "nie",
        "policy",
        "encounter",
        "ext",
        "sn",
        "nhs",
        "license",
        "licence",
        "medicare",
        "medicaid",
        "account",
        "pid",
        "emr",
        "cell",
        "fx",
        "acct",
        "contact",
        "accession",
        "dea",
        "batch",
        "serial",
        "mobile",
        "reach",
        "reached",
    }
)

# ---------------------------------------------------------------- files with a face or a finger
FILE = re.compile(r"\.(?:jpe?g|png|tiff?|bmp|gif|heic|wsq|webp|raw|mp4|mov|wav|mp3|dat)(?!\w)")


BIOMETRIC_WORD = re.compile(r"finger|thumb|palm|iris|retina|voice|dna|gait|biometric|faceprint|\.wsq|\.wav|\.mp3")

# ---------------------------------------------------------------- places
_STREET_WORDS = (
    "street|st|avenue|ave|av|road|rd|boulevard|blvd|drive|dr|lane|ln|court|ct|place|pl|terrace|ter|circle|cir"
    "|parkway|pkwy|highway|hwy|way|square|sq"
    "|trail|trl|crescent|cres|close|grove|gardens|mews|row|hill|walk|alley|loop|plaza|turnpike|expressway"
    "|crossing|heights|mill|station|estate|estates|ridge"
    "|manor|meadow|meadows|valley|view|village|ville|point|pass|path|pike|park|port|islands?|junctions?|knolls?"
    "|landing|lakes?|mountains?|orchard|oval|brook|bypass|canyon|cape|cliffs?|club|common|corners?|course|cove"
    "|creek|curve|dale|divide|extensions?|falls|ferry|fields?|flats?|fords?|forest|forges?|forks?|freeway|glens?"
    "|greens?|groves?|harbors?|haven|hills|hollow|inlet|isle|key|keys|lodge|motorway|mount|neck|overpass|prairie"
    "|radial|ramp|ranch|rapids?|rest|river|roads?|route|shoals?|shores?|skyway|spring|springs|spur|spurs"
    "|squares?|stravenue|stream|summit|throughway|trace|track|trafficway|tunnel|underpass|unions?|vista|wall"
    "|well|wells|broadway|arcade|annex|bayou|beach|bend|bluff|bluffs|bottom|branch|bridge|brooks|burg|burgs|camp"
    "|causeway|center|centers|circles|cliff|corner|courts|coves|crest|crossroad|dam|drives|fall|field|flat|ford"
    "|forest|forge|fork|fort|garden|gateway|glen|green|harbor|island|junction|knoll|lake|light|lights|loaf|lock"
    "|locks|mall|manors|meadows|mills|mission|mountain|orchard|parks|parkways|passage|pine|pines|plain|plains"
    "|points|ports|rapid|ridges|rue|shoal|shore|stravenue|terrace|trail|unions|viaduct|villages|vista"
)

_UNIT = (
    r"(?:,?[ \n]{0,3}(?:apt|apartment|suite|ste|unit|flat|floor|fl|room|rm|box|bldg|building|dept"
    r"|#)\.?[ ]?[#]?[a-z]?\d{0,5}-?[a-z]?(?![a-z0-9]))?"
)

STREET = re.compile(
    rf"[0-9](?<![\w./:-].)\d{{0,5}}(?:/\d{{1,4}})?[a-d]?(?:[ -]\d{{1,3}})?,?[ ]{{1,3}}(?:[nsew]{{1,2}}\.?[ ]|north[ ]"
    rf"|south[ ]|east[ ]|west[ ])?(?:(?:\d{{1,3}}(?:st|nd|rd|th)|[^\W\d_][\w.'’-]{{0,24}})[ ]){{1,3}}?"
    rf"(?:{_STREET_WORDS})\b\.?(?:[ ](?:{_STREET_WORDS})\b\.?){{0,2}}{_UNIT}"
)

STREET_SIDE = re.compile(r"[0-9](?<![\w./:-].)\d{1,4}[ ][NSEW]\.?[ ][A-Z][a-z]{3,20}(?![\w])")

STREET_BLOCK = re.compile(
    r"[0-9](?<![\w./:-].)\d{1,4}[ ]block[ ]of[ ](?:[NSEW]\.?[ ])?(?:[A-Z][\w'’-]{1,24}[ ]){0,2}[A-Z][\w'’-]{1,24}"
)

AUSTRALIA = re.compile(r"(?<![\w-])(?:NSW|VIC|Vic|QLD|Qld|SA|WA|TAS|Tas|ACT|NT),?[ ]\d{4}(?!\w)")

STREET_FULL: Final = word_set(
    "street avenue road boulevard drive lane court place terrace circle parkway highway way square"
)

STREET_SURE = word_set(
    "street st avenue ave road rd boulevard blvd drive dr lane ln court ct terrace parkway pkwy highway hwy"
    " crescent close square"
)

STREET_FOREIGN = re.compile(
    r"\b[A-ZÄÖÜ][\wäöüßéåø-]{2,30}(?:straße|strasse|str\.|gasse|weg|platz|allee|laan|straat|gatan|vägen|gata|vej"
    r"|gade|katu|tie|veien|utca|ulica)[ ]\d{1,4}[ ]?[a-zA-Z]?(?!\w)"
    r"|\b(?:Via|Viale|Piazza|Corso|Calle|Avenida|Avda\.|Plaza|Paseo|Rua|Travessa|Largo|Rue|Ulica|ul\.|Strada)[ ]"
    r"(?:[\w.'’]{1,20}[ ]){0,4}?[\w.'’]{1,20},?[ ](?:n[.°º]?[ ]?)?\d{1,5}[ ]?[a-zA-Z]?(?!\w)"
    r"|\b\d{1,4}(?:[ ]?(?:bis|ter))?,?[ ](?:rue|avenue|boulevard|chemin|impasse|place|allée|quai|route|via|calle"
    r"|rua)[ ](?:(?:de|du|des|la|le|les|l'|d'|del|della)[ ]?){0,2}[A-ZÉÈ][\w'’é-]{1,30}"
    r"(?:[ -][A-ZÉ][\w'’é-]{1,30}){0,3}"
)

BOX = re.compile(
    r"\bp\.?[ ]?o\.?[ ]?box[ ]?#?\d{1,7}|\b(?:psc|unit|cmr)[ ]\d{3,5},?[ ]box[ ]\d{1,5}(?:,?[ ]{0,2}\n?(?:apo|fpo"
    r"|dpo)[ ](?:aa|ae|ap)[ ]\d{5}(?:-\d{4})?)?"
)

CITY_AFTER = re.compile(
    r"(?:,[ ]?|[ ]?\n[ ]{0,4}|,\n[ ]{0,4})((?:St\.|[A-ZÀ-Þ][\w'’-]{1,24})(?:[ -][A-ZÀ-Þ][\w'’-]{1,24}){0,3})"
    r"(?=,|\.(?:\s|\Z)|\n|\Z|[ ]{1,2}\d)"
)

APT = re.compile(r"\b(?:apt|apartment|suite|ste|flat)\.?[ ]#?\d{1,5}[a-z]?(?!\w)")

ZIP = re.compile(r"[0-9](?<![\w.-].)\d{4}(?:-\d{4})?(?![\w-])")

STATE_ENDS = re.compile(rf"\b(?:{STATE_CODES}|{'|'.join(s.title() for s in sorted(STATES))}),?\s{{1,3}}\Z")

CITY_ENDS = re.compile(
    r"(?<!\w)(?:[A-ZÀ-Þ][a-z]{0,2}\.|[A-ZÀ-Þ][\w'’-]{1,24})(?:[ ](?:[A-ZÀ-Þ][a-z]{0,2}\."
    r"|[A-ZÀ-Þ][\w'’-]{1,24})){0,3},?[ ]{1,2}\Z"
)

COMMA_STATE = re.compile(rf", (?:{STATE_CODES})(?![\w.])")

CITY = re.compile(r"(?<![\w-])[A-Z][a-z.'’-]{2,24}(?:[ ][A-Z][a-z.'’-]{1,24}){0,2}\Z")

ZIP4 = re.compile(r"[0-9](?<![\w./-].)\d{4}-\d{4}(?![\w-]|[./]\d)")

ZIP_WORD = re.compile(
    r"\b(?:zip(?: ?code)?|postal code|post ?code|postcode|plz|cap|cp)[ :#.=]{1,4}(?:is |of )?"
    r"([a-z]{0,2}\d[\da-z]{0,3}(?:[ -]?\d[a-z\d]{1,3}|[ ][a-z]{2}|-\d{3,4})?)(?!\w)"
)

POSTCODE = re.compile(r"[A-Z](?<!\w.)[A-Z]?\d[A-Z0-9]?[ ]?(?!1ST|2ND|3RD|\dTH)\d[ABD-HJLNP-UW-Z]{2}(?!\w)")

AREAS: Final = frozenset(POSTCODE_AREAS.split("|"))

POSTCODE_CA = re.compile(r"[ABCEGHJ-NPRSTVXY](?<!\w.)\d[ABCEGHJ-NPRSTV-Z][ -]\d[ABCEGHJ-NPRSTV-Z]\d(?!\w)")

LIVES = re.compile(
    _words(
        r"lives? (?:alone )?in|live in|living (?:alone )?in|resid(?:es|ing) (?:in|at)|resident of|born in|moved "
        r"(?:here )?(?:from|to)|native of|town of|city of|village of|county of"
        r"|transferred from|travell?ed (?:from|to)|returned from|works? (?:in|at)|address(?: is)?:?|hometown:"
        r"|city:|town:|birthplace:|place of birth:"
    )
    + "[ ]"
)

PLACE = re.compile(
    r"(?:the[ ])?((?:St\.?|[A-ZÀ-Þ][\w'’-]{1,30})"
    r"(?:[ -](?:(?:de|la|le|del|the|upon|am|der|sur|en|los|las|do|da|di)[ -]){0,2}[A-ZÀ-Þ][\w'’-]{1,30}){0,3})"
)

# In a note without capitals a place is what follows until the sentence goes on.
PLACE_SMALL = re.compile(r"(?:st\. )?[^\W\d_][\w'’-]{2,30}(?:[ -][^\W\d_][\w'’-]{2,30}){0,2}")

SMALL_ENDS: Final = word_set(
    "rural area areas house home homes apartment flat care nursing assisted group sheltered supported bungalow trailer"
    " shelter hostel prison jail dorm town city suburb suburbs county village country farm independent residential own"
    " nearby near since who but alone building condo mobile motel hotel facility community local factory school"
    " construction retail restaurant warehouse office bank store shop same several years"
)

EMPLOYER = re.compile(
    _words("employer|employed (?:by|at|with)|work(?:s|ed|ing)? for|retired from|insurance through|employee of")
    + r":?[ ]{1,2}(?:the[ ])?"
)

COUNTY = re.compile(
    r"(?<![\w-])[A-Z][a-z'’-]{2,24}(?:[ ][A-Z][a-z'’-]{2,24})?[ ](?:County|Parish|Township|Borough)\b(?![ ]"
    r"(?:Hospital|Jail))"
)

FACILITY = re.compile(
    _words(
        "Hospital|HOSPITAL|Infirmary|Medical Cent(?:er|re)|MEDICAL CENTER|Health Cent(?:er|re)|Nursing Home"
        "|Clinic|Hospice|Surgery|Medical Group|Health System|Healthcare|Klinik|Klinikum|Krankenhaus|Manor|MANOR"
        "|Care Home|Care Cent(?:er|re)|Cancer Cent(?:er|re)|Breast Cent(?:er|re)|Imaging Cent(?:er|re)"
        "|Assisted Living|Senior Living|Memory Care|Primary School|High School|Elementary|College|Academy"
    )
    + r"\b"
)

FACILITY_FOREIGN = re.compile(
    r"\b(?:Klinikum|Hôpital|Hopital|Ospedale|Clinique|Clínica|Szpital|Hospital (?:Universitario|Clínico|General|de|da))"
    r"(?:[ ](?:de|la|le|les|di|du|des|del|della|da|do)){0,2}(?:[ ][A-ZÀ-Þ][\w'’-]{1,30}){1,3}"
)

FACILITY_HEAD = re.compile(
    r"(?:(?:St\.?|Saint|Mt\.?|Mount|ST\.?|[A-ZÀ-Þ][\w'’&-]{1,30})[ ](?:(?:of|and|for|the|de|la)[ ]){0,2}){1,5}\Z"
)

# ---------------------------------------------------------------- names
TITLE = re.compile(
    _words(
        "dr|mr|mrs|ms|miss|mx|prof|professor|doctor|sir|lady|lord|dame|rev|reverend|fr|hon|capt|captain|col|sgt"
        "|lt|maj|nurse|sister|madam|mme|mlle|herr|frau|hr|sr|sra|señor|señora|signor|signora|rabbi|imam|pastor"
        "|drs|messrs|attorney|judge|officer|dra"
    )
    + r"\b"
    r"(?:\.|[ ]and[ ](?:mrs|mr|dr)\b\.?)?,?[ ]{0,2}"
)

NAME_LABEL = re.compile(
    "(?P<who>"
    + _words(
        r"patient['’]?s? name|pt\.? name|name of patient|full name|first name|last name|surname|family name"
        r"|given name|maiden name|forenames?|name|patient|pt|re|subject|attending(?: (?:physician|surgeon|md"
        r"|radiologist|doctor))?"
        r"|(?:referring|requesting|ordering|consulting|primary care|reading|interpreting|admitting|family"
        r"|discharging|treating|responsible|supervising) (?:physician|doctor|provider|clinician|radiologist"
        r"|consultant|md|dr|gp|surgeon)"
        r"|physician|surgeon|radiologist|consultant|provider|clinician|anesthesiologist|anaesthetist|resident"
        r"|registrar|fellow|technologist|technician|pathologist|nurse|rn|gp|pcp|therapist|midwife|sonographer"
        r"|cardiologist|assistant|first assistant|intern"
        r"|author|to|from|attn|attention|cc|copy to|dictated by|dictating|transcribed by|signed by|signed"
        r"|electronically signed by|e-signed by|verified by|approved by|reported by|read by|reviewed by"
        r"|authored by|prepared by|performed by|typed by|seen by|examined by|interpreted by|finalized by"
        r"|authenticated by|ordered by|requested by|entered by|recorded by|collected by|sent by|received by"
        r"|witness(?:ed by)?|faxed by|validated by"
        r"|next of kin|nok|emergency contact|guardian|parent|mother|father|spouse|husband|wife|partner|son"
        r"|daughter|sister|brother|carer|caregiver|guarantor|subscriber|insured|policy ?holder|contact"
        r"(?: person)?|alias|aka|mother['’]?s maiden name|sender|recipient|driver|employer contact|interpreter"
        r"|chaperone|account holder|card ?holder"
    )
    + r")"
    r"(?: name)?[ ]?(?:\((?:s|print|name|block capitals|relationship)\)[ ]?)?(?::|-{1,2}[ ]|=|[ ]{2,8}|\t|\n"
    r"(?=[a-z]))[ \t]{0,8}"
)

BY = re.compile(
    _words(
        r"dictated by|transcribed by|(?:electronically |e-?)?signed (?:by|off by)|verified by|approved by"
        r"|reported by|read by|reviewed by|authored by|prepared by|performed by|typed by|seen by|examined by"
        r"|interpreted by|finali[sz]ed by|authenticated by|discussed with|spoke (?:with|to)|reviewed with"
        r"|communicated to|telephoned to|notified|informed|paged|d/w|care of|attention of|under the care of"
        r"|attended by|accompanied by|referred by|named|my name is|name is|name "
        r"was|called by|taken by|done by|given by|administered by|inserted by|removed "
        r"by|checked by|requested by|ordered by|follow up with|follow-up with|called "
        r"to|prescriber|caller|known as"
        r"|assisted by|supervised by|relayed to|handed over to|witnessed by|yours (?:sincerely|faithfully"
        r"|truly),?|sincerely(?: yours)?,?|(?:kind |best |warm )?regards,?|/s/|dear|thx,?|thanks,|many thanks,"
    )
    + r"[:,]?[ \n]{1,6}"
)

BY_TWO = re.compile(r"\bby[ ](?=[A-ZÀ-Þ])")
KIN = re.compile(
    _words(
        r"wife|husband|son|daughter|mother|father|sister|brother|partner|spouse|niece|nephew|aunt|uncle|grand"
        r"(?:son|daughter|mother|father)|girlfriend|boyfriend|fianc[ée]e?|friend|neighbou?r|carer|caregiver"
        r"|roommate|cousin"
    )
    + r"(?:,|[ ]\(|[ ]named|[ ]called)?[ ]"
)

CREDENTIAL = re.compile(
    _words(
        r"M\.?D\.?|D\.?O\.?|R\.?N\.?|N\.?P\.?|PA-C|PA|Ph\.?D\.?|FRCR|FRCS|FRCP|MRCP|MBBS|MBChB|MB ?BS|APRN|LPN"
        r"|CRNA|DDS|DPM|PharmD|RT\(R\)|FACR|FACS|BSN|MSW|LCSW|CNM|DNP|FACC|FCAP|DVM|RDMS"
    )
    + r"(?!\w)"
)

VIEW_AFTER = re.compile(r"[ ]?(?:and|&|/|lat|view|chest|film|projection|x-?ray|radiograph)")

CRED_GAP = re.compile(r",?[ ]{1,2}\Z")

CRED_HEAD = re.compile(
    r"(?<![\w'’.-])(?:[^\W\d_]\.?[ ])?[^\W\d_][\w'’-]{0,24}[.]?(?:[ ](?:[^\W\d_]\.?|(?:van|von|de|der|la|del|bin"
    r"|al|di)|[^\W\d_][\w'’-]{1,24})){0,4}\Z"
)

PN = re.compile(
    r"(?<![\w^])(?:(?:van|von|de|der|den|la|del|di|da|al|el|Van|Von|De|La|Del|Di|VAN|VON|DE|LA)[ ]){0,2}"
    r"[^\W\d_][\w'’-]{0,40}\^[^\W\d_][\w'’-]{0,40}(?:[ ][^\W\d_][\w'’-]{0,20}(?=\^))?(?:\^[\w'’.-]{0,20}){0,3}"
)
LAST_FIRST = re.compile(
    r"^[ \t]{0,8}([^\W\d_][^\W\d_'’-]{1,24}(?:[-' ’][^\W\d_]{2,20})?,[ ][^\W\d_][^\W\d_'’-]{1,24}"
    r"(?:[ ][^\W\d_]\.?|[ ][^\W\d_]{2,20})?)(?=[ \t]{0,8}(?:$|\d|\(|[|])|[ \t]{1,8}(?:dob|mrn|[mf]|age)\b)",
    re.MULTILINE | re.IGNORECASE,
)

PART = re.compile(r"(?:[^\W\d_]['’])?[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_])){0,40}|[^\W\d_]\.")

SCRIPT = re.compile(
    r"[\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0400-\u052f]{2,30}"
    r"(?:[ ·・][\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0400-\u052f]{1,30})"
    r"{0,3}"
)

GAP = re.compile(r"\.?[ ]{1,2}|-")

SUFFIX: Final = frozenset({"jr", "sr", "ii", "iii", "iv", "phd", "md"})

RELATIVE_LABEL: Final = word_set(
    "patient pt to from re subject mother father sister brother son daughter wife husband partner parent nurse"
    " resident fellow surgeon consultant provider signed contact cc spouse driver intern physician gp rn"
    " attending signed radiologist attention carer"
)


VERB: Final = re.compile(
    r"[ ](?:be|have|not|represent|reflect|relate|indicate|need|suggest|warrant|return|resume|continue|take|also"
    r"|then|or|and|go|help|cause)\b",
    re.IGNORECASE,
)

FOREIGN_HINTS: Final = tuple(
    sorted(
        word_set(
            "straße strasse str. gasse weg platz allee laan straat gatan vägen gata vej gade katu tie veien utca ulica"
            " via viale piazza corso"
            " calle avenida avda plaza paseo rua travessa largo rue ul. strada boulevard chemin impasse place allée"
            " quai route avenue"
        )
    )
)

NO_STREET: Final = word_set(
    "still mg mm cm ml mcg kg year years yr yo day days week weeks month months hour hours minute minutes with in the"
    " and or of for to was is"
    " times units per at by on from patient patients segment view views chest"
)
