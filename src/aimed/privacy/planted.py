"""Planted notes: clinical templates filled with made-up people, so that every identifier in them is known."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import numpy as np

from aimed.core.errors import DataError, MissingExtraError, UnknownNameError

__all__ = ["LOCALES", "PlantedNote", "planted_notes", "planted_templates", "planted_version"]

LOCALES: Final[dict[str, float]] = {
    "en_US": 10,
    "en_GB": 3,
    "en_IN": 1,
    "de_DE": 1,
    "fr_FR": 1,
    "es_ES": 1,
    "es_MX": 1,
    "it_IT": 1,
    "nl_NL": 1,
    "pl_PL": 1,
    "sv_SE": 1,
    "fi_FI": 1,
    "hu_HU": 1,
    "cs_CZ": 1,
    "tr_TR": 1,
    "pt_BR": 1,
    "da_DK": 1,
    "no_NO": 1,
    "ro_RO": 1,
    "hr_HR": 1,
}
"""Where the people of the notes come from, with weights."""

Split = Literal["train", "test"]


@dataclass(frozen=True)
class PlantedNote:
    """One made-up note and what was planted in it.

    Attributes
    ----------
    text : str
        The note.
    spans : tuple of (int, int, str)
        Start, end and class of each identifier, in order.
    template : str
        Name of its template, such as ``"train-012"``.
    """

    text: str = field(repr=False)
    spans: tuple[tuple[int, int, str], ...] = field(repr=False)
    template: str


@cache
def planted_templates(split: Split) -> tuple[str, ...]:
    """Return the templates of one split; none is in both.

    Examples
    --------
    >>> len(planted_templates("train")) + len(planted_templates("test")) >= 120
    True
    """
    if split not in ("train", "test"):
        raise UnknownNameError("split", str(split), ("train", "test"))
    return tuple(_file()[split])


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resources.files("aimed.privacy").joinpath("planted.toml").read_text(encoding="utf-8"))


def planted_version() -> str:
    """Return the version of the templates."""
    return str(_file()["version"])


@cache
def _faker(locale: str) -> Any:
    try:
        from faker import Faker
    except ImportError as error:
        raise MissingExtraError("Faker", "making planted notes", "pip install 'aimed[privacy]'") from error
    return Faker(locale, use_weighting=False)


_PIECE: Final = re.compile(r"\{(\w+)\}")
_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

_COMPLAINTS: Final = (
    "chest pain",
    "shortness of breath",
    "a fall from standing",
    "abdominal pain",
    "cough and fever",
    "headache",
    "left leg weakness",
    "dizziness",
    "weight loss of 5 kg",
    "back pain, 7/10",
    "palpitations",
    "hematuria",
    "nausea and vomiting",
    "knee swelling",
)
_EPONYMS: Final = (
    "Parkinson disease",
    "Wilson's disease",
    "a Foley catheter",
    "Crohn's disease",
    "a Swan-Ganz catheter",
    "a Hickman line",
    "Kerley B lines",
    "Hodgkin lymphoma",
    "Bell's palsy",
    "Graves disease",
    "Cushing syndrome",
    "Alzheimer's disease",
    "a Baker cyst",
    "Barrett's esophagus",
    "Raynaud phenomenon",
    "a Colles fracture",
    "Murphy's sign",
    "Marfan syndrome",
    "Hashimoto thyroiditis",
    "Addison's disease",
    "a Jackson-Pratt drain",
    "Virchow's node",
    "Paget disease of bone",
    "Down syndrome",
    "Turner syndrome",
    "Horner's syndrome",
    "Whipple procedure",
    "Nissen fundoplication",
    "a Dobhoff tube",
    "Guillain-Barre syndrome",
    "Huntington's chorea",
    "Lewy body dementia",
    "a Bankart lesion",
    "Osgood-Schlatter disease",
)
_NOISE: Final = (
    "The lungs are clear.",
    "No pleural effusion or pneumothorax.",
    "A {a} mm nodule in the right upper lobe is unchanged (series {b} image {c}).",
    "The heart size is normal.",
    "Degenerative change at L{d}-{e}.",
    "No acute fracture.",
    "The liver measures {a}.{b} cm.",
    "Mild atelectasis at the left base.",
    "There is a {a} x {b} x {d} cm mass.",
    "Findings may represent early pneumonia.",
    "Stable appearance since the last study.",
    "No evidence of pulmonary embolism.",
    "Pain {b}/10 at rest, {e}/10 on walking.",
    "Received {b}/15 fractions.",
    "Continue current medication.",
    "ETT tip {d} cm above the carina.",
    "Ejection fraction 5{b}%.",
    "Sinus rhythm at {c} bpm, QRS 9{b} ms.",
    "Tolerating diet, ambulating.",
    "Power {d}/5 in the left leg.",
    "T{c} compression fracture, old.",
    "Contrast: {c}0 mL of Omnipaque 350.",
    "Given aspirin {c}{b} mg and 2 L of saline.",
    "Family history is not contributory.",
    "Grade {b}/6 systolic murmur.",
    "Diagnosed in 2009.",
    "Slice thickness 1.25 mm, 120 kVp.",
    "Segment {d} of the liver enhances.",
    "May return to work in {b} days.",
    "Stage IIIB, T2 N1 M0.",
    "The cardiac silhouette, mediastinum and pulmonary vasculature are within normal limits.",
    "No focal consolidation, effusion, edema or pneumothorax.",
    "Cardiac and mediastinal contours are stable.",
    "Coronary artery bypass graft clips and a coronary stent are noted.",
    "Hematoma or old empyema cannot be excluded.",
    "Clips in the right upper quadrant from cholecystectomy.",
    "The left lateral upper abdomen is unremarkable.",
    "Venous catheter tip in the SVC.",
    "Grossly, the bones are intact; no gross bony abnormality.",
    "Low lung volumes with bronchovascular crowding.",
    "Healed fractures of the {c}th rib and the anterior T{c} vertebra.",
    "AP view is not well seen; KUB is centered over the mid abdomen.",
    "Interstitial markings are diffusely prominent.",
    "Calcified granuloma, aortic ectasia and tortuosity.",
    "Mild degenerative spurring of the thoracic spine.",
    "Emphysema, dyspnea, hypoxia and cough.",
    "Cholelithiasis without cholecystitis; common bile duct {b} mm.",
    "Uterus anteverted, endometrium {b} mm, ovaries normal.",
    "Sagittal and axial T1 and T2 weighted images were obtained.",
    "Gallbladder, pancreas, spleen and adrenals are unremarkable.",
    "Medial meniscus tear; ACL and PCL intact.",
    "No acute intracranial hemorrhage, midline shift or mass effect.",
    "Ventricles and sulci are normal for age.",
    "Sternotomy wires, a left chest port and a pacemaker are present.",
    "SUVmax {a}.{b} in the mediastinal node.",
    "V7{d}.{b} preoperative examination.",
    "Allergies: penicillin, sulfa, latex.",
    "Alert and oriented, moving all limbs, pupils equal.",
    "Wound clean and dry, sutures intact, no discharge.",
    "Amoxicillin 500 mg TDS, paracetamol PRN.",
    "CARDIOMEGALY WITH MILD PULMONARY EDEMA.",
    "EMPHYSEMA, HYPERTENSION, DYSPNEA.",
)
_HOLIDAYS: Final = (
    "Christmas",
    "Thanksgiving",
    "New Year's Eve",
    "Easter Sunday",
    "Labor Day",
    "4th of July",
    "Memorial Day",
    "Halloween",
    "Christmas Eve 2019",
    "Boxing Day",
)


def _swap(word: str, rng: np.random.Generator) -> str:
    """Misspell a word: two letters in the wrong order."""
    if len(word) < 5:
        return word
    i = int(rng.integers(1, len(word) - 2))
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


class _Maker:
    """Everything that one note draws: one patient, and as many other people as the template names."""

    def __init__(self, rng: np.random.Generator, locale: str) -> None:
        self.rng = rng
        self.fake = _faker(locale)
        self.us = _faker("en_US")
        for f in {id(self.fake): self.fake, id(self.us): self.us}.values():
            f.seed_instance(int(rng.integers(2**31)))
        self.locale = locale
        first, last = self.person()
        if rng.random() < 0.06:
            last = _swap(last, rng)
        self.first, self.last = first, last
        self.middle = "ABCDEFGHJKLMRSTW"[int(rng.integers(16))]

    def person(self) -> tuple[str, str]:
        return str(self.fake.first_name()), str(self.fake.last_name())

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def digits(self, pattern: str) -> str:
        """Fill 9 with a digit, 8 with a digit that is not 0, A with a capital and leave the rest."""
        letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
        out = []
        for c in pattern:
            if c == "9":
                out.append(str(int(self.rng.integers(10))))
            elif c == "8":
                out.append(str(int(self.rng.integers(1, 10))))
            elif c == "A":
                out.append(letters[int(self.rng.integers(len(letters)))])
            else:
                out.append(c)
        return "".join(out)

    def number(self, *patterns: str) -> str:
        return self.digits(self.pick(patterns))

    def check(self, make: Callable[[], str], ok: Callable[[str], bool]) -> str:
        """Draw until the check digit fits."""
        while True:
            text = make()
            if ok(text):
                return text

    # people
    def full(self) -> str:
        first, last = self.person()
        r = self.rng.random()
        if r < 0.12:
            return f"{first} {self.pick('ABCDEFGHJKLMRSTW')}. {last}"
        return f"{first} {last}"

    def last_first(self) -> str:
        first, last = self.person()
        return f"{last}, {first}"

    # dates
    def day(self) -> dt.date:
        return dt.date(1990, 1, 1) + dt.timedelta(days=int(self.rng.integers(0, 12_400)))

    def date_text(self) -> str:
        d = self.day()
        month = _MONTHS[d.month - 1]
        short = month[:3]
        th = "th" if 10 < d.day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(d.day % 10, "th")
        return self.pick(
            (
                f"{d.month:02d}/{d.day:02d}/{d.year}",
                f"{d.month}/{d.day}/{d.year}",
                f"{d.month}/{d.day}/{d.year % 100:02d}",
                f"{d.day:02d}/{d.month:02d}/{d.year}",
                f"{d.day}.{d.month}.{d.year}",
                f"{d.day:02d}.{d.month:02d}.{d.year % 100:02d}",
                f"{d.month:02d}-{d.day:02d}-{d.year}",
                d.isoformat(),
                f"{month} {d.day}, {d.year}",
                f"{month} {d.day}{th}, {d.year}",
                f"{short} {d.day}, {d.year}",
                f"{d.day} {month} {d.year}",
                f"{d.day} {short} {d.year}",
                f"{d.day}-{short}-{d.year}",
                f"{d.day}-{short.upper()}-{d.year % 100:02d}",
                f"{d.day}{th} {month} {d.year}",
                f"{d.day}{th} of {month}",
                f"{month} {d.day}",
                f"{short}. {d.day} {d.year}",
                f"{d.year}/{d.month:02d}/{d.day:02d}",
                f"{d.day} {short} {d.year % 100:02d}" if d.year % 100 > 31 else f"{d.day} {short}",
                f"{month} {d.day}, {d.year}",
            )
        )

    def date_range(self) -> str:
        d = self.day().replace(day=int(self.rng.integers(1, 20)))
        e = d.day + int(self.rng.integers(2, 8))
        month = _MONTHS[d.month - 1]
        return self.pick(
            (f"{d.day}-{e} {month} {d.year}", f"{month} {d.day}-{e}, {d.year}", f"{month} {d.day} to {e}, {d.year}")
        )

    def phone(self) -> str:
        if self.locale == "en_US" or self.rng.random() < 0.5:
            return self.number(
                "(828) 829-9999",
                "828-829-9999",
                "828.829.9999",
                "+1 828 829 9999",
                "1-828-829-9999",
                "(828)829-9999",
                "828 829 9999",
                "828-829-9999 x999",
                "+1-828-829-9999",
            )
        if self.locale == "en_GB":
            return self.number(
                "020 7999 9999", "07799 999999", "+44 20 7999 9999", "+44 7799 999999", "0161 899 9999", "01223 999999"
            )
        codes = {
            "de_DE": "+49",
            "fr_FR": "+33",
            "es_ES": "+34",
            "it_IT": "+39",
            "nl_NL": "+31",
            "pl_PL": "+48",
            "sv_SE": "+46",
            "en_IN": "+91",
        }
        return self.number(
            f"{codes.get(self.locale, '+36')} 89 899 9999",
            f"{codes.get(self.locale, '+36')} 899 999 999",
            "089 8999 9999",
        )

    def make(self, kind: str) -> tuple[str, str | None]:
        maker = _KINDS.get(kind)
        if maker is None:
            raise UnknownNameError("word of a template", kind, _KINDS)
        cls, one = maker
        return one(self), cls


def _city(m: _Maker) -> str:
    return str(m.us.city() if m.rng.random() < 0.5 or m.locale == "en_IN" else m.fake.city())


def _csz(m: _Maker) -> str:
    return f"{m.us.city()}, {m.us.state_abbr(include_territories=False)} {m.number('89999', '89999', '89999-9999')}"


def _street(m: _Maker) -> str:
    f = m.us if m.locale in ("en_IN", "tr_TR") or m.rng.random() < 0.6 else m.fake
    return str(f.street_address()).replace("\n", ", ").strip()


def _noise(m: _Maker) -> str:
    text = m.pick(_NOISE)
    return text.format(
        a=int(m.rng.integers(3, 19)),
        b=int(m.rng.integers(1, 9)),
        c=int(m.rng.integers(1, 12)),
        d=int(m.rng.integers(1, 5)),
        e=int(m.rng.integers(2, 6)),
    )


def _lab(m: _Maker) -> str:
    return m.pick(
        (
            m.digits("Hb 18.9 g/dL, WBC 8.9, platelets 899,000."),
            m.digits("Sodium 139, potassium 4.9, creatinine 1.99 mg/dL."),
            m.digits("INR 2.9 (ref 0.9-1.1)."),
            m.digits("Troponin 0.09 ng/mL at 3 hours."),
            m.digits("HbA1c 7.9%."),
            m.digits("pH 7.39, pCO2 49, HCO3 29."),
            m.digits("CRP 89 mg/L; ESR 89 mm/h."),
            m.digits("eGFR 69 mL/min/1.73 m2."),
        )
    )


def _vitals(m: _Maker) -> str:
    return m.pick(
        (
            m.digits("BP 129/79, HR 89, RR 18, T 98.9 F, SpO2 98%"),
            m.digits("BP 139/89 mmHg, pulse 79"),
            m.digits("T 37.9, HR 109, BP 119/69, sat 99% on 2 L"),
        )
    )


def _vin(m: _Maker) -> str:
    from aimed.privacy.checksums import vin_ok

    return m.check(lambda: m.digits("8AAAA89A9A8999999"), vin_ok)


def _npi(m: _Maker) -> str:
    from aimed.privacy.checksums import npi_ok

    return m.check(lambda: m.digits("1899999999"), npi_ok)


def _nhs(m: _Maker) -> str:
    from aimed.privacy.checksums import nhs_ok

    return m.check(lambda: m.digits("499 999 9999"), nhs_ok)


def _dea(m: _Maker) -> str:
    from aimed.privacy.checksums import dea_ok

    return m.check(lambda: m.digits("BA9999999"), dea_ok)


def _udi(m: _Maker) -> str:
    from aimed.privacy.checksums import gs1_ok

    return (
        "(01)"
        + m.check(lambda: m.digits("00849999999999"), gs1_ok)
        + m.digits("(17)2A1231(21)A99999").replace("2A1231", "271231")
    )


def _ssn(m: _Maker) -> str:
    from aimed.privacy.checksums import ssn_ok

    return m.check(lambda: m.digits("499-89-9998"), ssn_ok)


def _card(m: _Maker) -> str:
    from aimed.privacy.checksums import luhn_ok

    return m.check(lambda: m.number("4999 9999 9999 9999", "4999999999999999", "5199-9999-9999-9999"), luhn_ok)


def _iban(m: _Maker) -> str:
    country = m.pick(("DE", "GB", "NL"))
    body = m.digits({"DE": "899999999999999999", "GB": "AAAA89999999999999", "NL": "AAAA8999999999"}[country])
    rest = int("".join(str(int(c, 36)) for c in f"{body}{country}00")) % 97
    packed = f"{country}{98 - rest:02d}{body}"
    return packed if m.rng.random() < 0.6 else " ".join(packed[k : k + 4] for k in range(0, len(packed), 4))


def _plate(m: _Maker) -> str:
    return m.digits("AA69 AAA") if m.locale == "en_GB" else m.number("AAA 8999", "8AAA999", "AAA-8999")


def _biometric_file(m: _Maker) -> str:
    return m.number(
        "fingerprint_left_8999.wsq", "iris_8999.png", "retina-right-899.tif", "voice_8999.wav", "palmprint_89.bmp"
    )


def _photo_file(m: _Maker) -> str:
    return m.number("face_front_8999.jpg", "IMG_8999.JPG", "photo-899.png", "portrait_89.jpeg", "DSC08999.jpg")


_Kind = tuple[str | None, Callable[[_Maker], str]]
_KINDS: Final[dict[str, _Kind]] = {
    "patient": (
        "name",
        lambda m: f"{m.first} {m.last}" if m.rng.random() < 0.85 else f"{m.first} {m.middle}. {m.last}",
    ),
    "patient_lf": (
        "name",
        lambda m: m.pick(
            (
                f"{m.last}, {m.first}",
                f"{m.last.upper()}, {m.first}",
                f"{m.last.upper()}, {m.first.upper()}",
                f"{m.last}, {m.first} {m.middle}.",
            )
        ),
    ),
    "patient_last": ("name", lambda m: m.last),
    "patient_last_upper": ("name", lambda m: f"{m.first} {m.last.upper()}"),
    "patient_first": ("name", lambda m: m.first),
    "patient_pn": (
        "name",
        lambda m: m.pick(
            (f"{m.last}^{m.first}", f"{m.last.upper()}^{m.first.upper()}", f"{m.last}^{m.first}^{m.middle}")
        ),
    ),
    "doctor": ("name", _Maker.full),
    "doctor_last": ("name", lambda m: m.person()[1]),
    "doctor_lf": ("name", _Maker.last_first),
    "doctor_init": ("name", lambda m: f"{m.pick('ABCDEFGHJKLMRSTW')}. {m.person()[1]}"),
    "doctor_pn": ("name", lambda m: "^".join(reversed(m.person()))),
    "relative": ("name", lambda m: m.person()[0]),
    "relative_last": ("name", lambda m: m.person()[1]),
    "relative_full": ("name", _Maker.full),
    "street": ("geography", _street),
    "city": ("geography", _city),
    "csz": ("geography", _csz),
    "zip": ("geography", lambda m: m.number("89999", "89999-9999")),
    "postcode": (
        "geography",
        lambda m: (
            str(m.fake.postcode())
            if m.locale == "en_GB"
            else m.number("SW89 9AA", "LS8 9BD", "EH89 9JX").replace("9AA", "9AB")
        ),
    ),
    "county": ("geography", lambda m: f"{m.us.last_name()} County"),
    "hospital": (
        "geography",
        lambda m: m.pick(
            (
                f"{m.us.city()} General Hospital",
                f"St. {m.us.first_name()}'s Hospital",
                f"{m.us.last_name()} Medical Center",
            )
        ),
    ),
    "date": ("date", _Maker.date_text),
    "dob": ("date", _Maker.date_text),
    "date_iso": ("date", lambda m: m.day().isoformat()),
    "date_da": ("date", lambda m: m.day().strftime("%Y%m%d")),
    "date_month": ("date", lambda m: f"{m.pick(_MONTHS)} {m.day().year}"),
    "date_short": ("date", lambda m: f"{m.day().month}/{m.day().day}/{m.day().year % 100:02d}"),
    "date_range": ("date", _Maker.date_range),
    "weekday": ("date", lambda m: f"{m.pick(_DAYS)} {int(m.rng.integers(4, 20))}th"),
    "holiday": ("date", lambda m: m.pick(_HOLIDAYS)),
    "old_age": ("date", lambda m: str(int(m.rng.integers(90, 106)))),
    "phone": ("telephone", _Maker.phone),
    "pager": ("telephone", lambda m: m.number("8999", "89999")),
    "fax": ("fax", _Maker.phone),
    "email": ("email", lambda m: str(m.us.ascii_email())),
    "ssn": ("social_security", _ssn),
    "mrn": ("medical_record", lambda m: m.number("8999999", "899999", "A8999999", "99-99-89", "89999999", "AA899999")),
    "accession": ("medical_record", lambda m: m.number("8999999", "A29-89999", "CT-2089-9999", "S89-9999")),
    "nhs": ("medical_record", _nhs),
    "plan": (
        "health_plan",
        lambda m: m.number("AAA899999999", "899999999", "8AA9-AA8-AA99", "89-999-9999", "A89999999"),
    ),
    "account": ("account", lambda m: m.number("89999999", "8999-9999", "A8999999")),
    "card": ("account", _card),
    "iban": ("account", _iban),
    "licence": ("certificate_licence", lambda m: m.number("A8999999", "8999999", "AA-89999", "899-99-9999")),
    "npi": ("certificate_licence", _npi),
    "dea": ("certificate_licence", _dea),
    "vin": ("vehicle", _vin),
    "plate": ("vehicle", _plate),
    "serial": ("device", lambda m: m.number("AAA899999A", "89999-99", "AA8999999", "8999999")),
    "lot": ("device", lambda m: m.number("A899A", "AA8999", "89999A")),
    "udi": ("device", _udi),
    "mac": ("device", lambda m: str(m.us.mac_address())),
    "url": (
        "url",
        lambda m: m.pick(
            (
                f"https://{m.us.domain_name()}/p/{m.digits('8999')}",
                f"www.{m.us.domain_name()}",
                f"http://portal.{m.us.domain_name()}/login",
            )
        ),
    ),
    "ip": ("ip_address", lambda m: str(m.us.ipv4())),
    "ip6": ("ip_address", lambda m: str(m.us.ipv6())),
    "biometric": ("biometric", lambda m: m.number("FP-89999", "BIO89999", "89A-9999")),
    "biometric_file": ("biometric", _biometric_file),
    "photo": ("photograph", lambda m: m.number("PH-8999", "P89999", "89-9999")),
    "photo_file": ("photograph", _photo_file),
    "study": ("other_unique", lambda m: m.number("ABC-8999", "8999-99", "A899999", "89999999")),
    "uuid": ("other_unique", lambda m: str(m.us.uuid4())),
    "hash": ("other_unique", lambda m: str(m.us.md5() if m.rng.random() < 0.5 else m.us.sha256())),
    "uid": ("other_unique", lambda m: m.digits("1.2.840.899999.2.55.8.899999999.899")),
    # What is no identifier and must stay.
    "age": (None, lambda m: str(int(m.rng.integers(18, 89)))),
    "sex": (None, lambda m: m.pick(("male", "female"))),
    "sex1": (None, lambda m: m.pick(("M", "F"))),
    "he": (None, lambda m: m.pick(("He", "She"))),
    "time": (None, lambda m: f"{int(m.rng.integers(0, 24)):02d}:{int(m.rng.integers(0, 60)):02d}"),
    "small": (None, lambda m: str(int(m.rng.integers(2, 9)))),
    "lab_small": (None, lambda m: str(int(m.rng.integers(5, 60) * 10))),
    "complaint": (None, lambda m: m.pick(_COMPLAINTS)),
    "eponym": (None, lambda m: m.pick(_EPONYMS)),
    "noise": (None, _noise),
    "lab": (None, _lab),
    "vitals": (None, _vitals),
}


def planted_notes(
    n: int, seed: int, split: Split = "train", locales: Mapping[str, float] | None = None
) -> list[PlantedNote]:
    """Make notes with planted identifiers of all eighteen classes.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        The same seed gives the same notes.
    split : {"train", "test"}
        Which templates; none is in both.
    locales : mapping of str to float, optional
        Faker locales and their weights; default `LOCALES`.

    Returns
    -------
    list of PlantedNote
        About a tenth of the notes is in capitals, a tenth in small letters; some names are misspelt.

    Raises
    ------
    MissingExtraError
        Faker is not installed.

    Examples
    --------
    >>> note = planted_notes(1, seed=3)[0]
    >>> note == planted_notes(1, seed=3)[0]
    True
    """
    if n < 0:
        raise DataError(f"n is {n}", "0 or more notes", "give another n")
    templates = planted_templates(split)
    weights = dict(LOCALES if locales is None else locales)
    if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise DataError(
            "the weights of the locales are not usable", "weights of at least 0 with one above 0", "give other weights"
        )
    share = np.array(list(weights.values()), dtype=float)
    share /= share.sum()
    names = list(weights)
    order = np.random.default_rng([seed, 7]).permutation(len(templates))
    out = []
    for i in range(n):
        rng = np.random.default_rng([seed, 0 if split == "train" else 1, i])
        # Every template comes equally often.
        which = int(order[i % len(templates)])
        maker = _Maker(rng, names[int(rng.choice(len(names), p=share))])
        r = rng.random()
        case: Callable[[str], str] = str.upper if r < 0.1 else str.lower if r < 0.2 else str
        text, spans = _fill(templates[which], maker, case)
        out.append(PlantedNote(text, spans, f"{split}-{which:03d}"))
    return out


def _fill(template: str, maker: _Maker, case: Callable[[str], str]) -> tuple[str, tuple[tuple[int, int, str], ...]]:
    parts: list[str] = []
    spans: list[tuple[int, int, str]] = []
    at = done = 0
    for m in _PIECE.finditer(template):
        before = case(template[done : m.start()])
        value, cls = maker.make(m.group(1))
        value = case(value)
        parts += (before, value)
        at += len(before)
        if cls is not None:
            spans.append((at, at + len(value), cls))
        at += len(value)
        done = m.end()
    parts.append(case(template[done:]))
    return "".join(parts), tuple(spans)
