"""Tables without their patients: what each column holds is declared or inferred, and a plan without values says so."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from aimed.core.errors import DataError, nearest
from aimed.privacy.cleaner import FileRefused, Known, TextCleaner

__all__ = ["ROLES", "TablePlan", "deidentify_csv", "deidentify_parquet", "plan_table"]

ROLES = (
    "patient", "identifier", "name", "place", "organisation", "date", "age", "telephone", "email", "url", "ip_address",
    "text", "category", "number", "remove",
)  # fmt: skip
"""What a column may hold. Categories and numbers stay once checked."""

_SAMPLE, _LEVELS = 20_000, 20
_BATCH = 20_000
csv.field_size_limit(2**31 - 1)

# By the words of the name of a column, split at underscores and changes of case; the first that fits counts.
_BY_NAME: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (role, re.compile(pattern))
    for role, pattern in (
        ("patient", r"\b(patient|subject|person|participant|case) ?(id|no|nr|num|number|key|identifier)?$"
                    r"|^(pid|ptid|mrn|empi)$"),
        ("email", r"\be ?mail\b"),
        ("ip_address", r"\bip( ?address)?$"),
        ("url", r"\b(url|website|homepage|link)\b"),
        ("telephone", r"\b(phone|telephone|tel|fax|mobile|cell|pager)\b"),
        ("date", r"\b(dob|birth ?date|date|datetime|timestamp|dt|born)\b"),
        ("text", r"\b(notes?|report|text|comments?|impression|findings|history|narrative|description)\b"
                 r"|\b(remarks|reason|summary)\b"),
        ("place", r"\b(address|street|city|town|zip|zipcode|postal|postcode|county|village|birthplace|residence)\b"),
        ("organisation", r"\b(hospital|institution|clinic|facility|organi[sz]ation|employer|site name|company)\b"),
        ("name", r"\b(name|surname|forename)$"
                 r"|\b(physician|doctor|surgeon|nurse|clinician|provider|radiologist|operator)$"
                 r"|\b(mother|father|spouse|guardian|contact)$"),
        ("identifier", r"\b(ids?|identifier|mrn|ssn|nhs|accession|account|acct|licen[sc]e|passport|serial|plate"
                       r"|vin|insurance"
                       r"|policy|member|uid|guid|uuid|encounter|visit|record|imei|barcode)"
                       r"( (id|no|nr|num|number|key))?$"),
        ("age", r"^age\b|\bage$|\bage (years|yrs|at)\b"),
    )
)  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?%?")
# A table may have a column for each patient.
_RECORD = re.compile(r"[A-Za-z]{1,12}[-_#]?\d{5,}")
_CODED = re.compile(r"(?=.*\d.*\d.*\d)[A-Za-z0-9][A-Za-z0-9\-./]{4,}")
_FULL_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d\d)([T ].*)?"
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}|(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])",
    re.DOTALL,
)


@dataclass(frozen=True)
class TablePlan:
    """What is done with each column; it holds names of columns and no values.

    Attributes
    ----------
    roles : dict of str to str
        The role of each column.
    reasons : dict of str to str
        Why: "declared", "name" or "values".
    """

    roles: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def patient(self) -> str | None:
        """The column that tells patients apart, if there is one."""
        return next((name for name, role in self.roles.items() if role == "patient"), None)

    def lines(self) -> list[str]:
        """Return the plan as lines to print."""
        return [f"{name}: {_SAYS[role]} (by {self.reasons[name]})" for name, role in self.roles.items()]


_SAYS = {
    **{role: f"{role.replace('_', ' ')}, surrogates" for role in ROLES},
    "patient": "patient identifier, surrogates; sets the shift of dates",
    "date": "date, shifted by the patient's days",
    "age": "age, 90+ above 89",
    "text": "free text, cleaned",
    "category": "kept, each value checked",
    "number": "kept",
    "remove": "emptied",
}


def _words(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", spaced).strip().lower()


def plan_table(
    names: Sequence[str],
    sample: Mapping[str, Sequence[str]],
    *,
    declared: Mapping[str, str] | None = None,
    patient: str | None = None,
) -> TablePlan:
    """Say what each column of a table holds.

    Parameters
    ----------
    names : sequence of str
        The columns.
    sample : mapping of str to sequence of str
        Values of each column as text, empty ones left out.
    declared : mapping of str to str, optional
        Roles the user gave.
    patient : str, optional
        The column that tells patients apart.

    Returns
    -------
    TablePlan

    Raises
    ------
    DataError
        A declared column is not there, or a role does not exist.

    Examples
    --------
    >>> plan_table(["mrn", "visit_date", "score"], {"score": ["1", "2"]}).roles
    {'mrn': 'patient', 'visit_date': 'date', 'score': 'number'}
    """
    wanted = dict(declared or {})
    if patient is not None:
        wanted[patient] = "patient"
    for name, role in wanted.items():
        if name not in names:
            close = nearest(name, names)
            raise DataError(
                "a declared column is not in the table",
                f"one of its {len(names)} columns",
                f"did you mean '{close}'?" if close else "see the header of the table",
            )
        if role not in ROLES:
            raise DataError(
                f"no role called '{role}'", f"one of: {', '.join(ROLES)}", f"did you mean '{nearest(role, ROLES)}'?"
            )
    roles: dict[str, str] = {}
    reasons: dict[str, str] = {}
    has_patient = "patient" in wanted.values()
    for name in names:
        if name in wanted:
            roles[name], reasons[name] = wanted[name], "declared"
            continue
        role, reason = _inferred(name, sample.get(name, ()))
        if role == "patient":
            if has_patient:
                role = "identifier"
            has_patient = True
        roles[name], reasons[name] = role, reason
    return TablePlan(roles, reasons)


def _inferred(name: str, values: Sequence[str]) -> tuple[str, str]:
    words = _words(name)
    numbers = bool(values) and all(_NUMBER.fullmatch(v) for v in values)
    dates = bool(values) and sum(_FULL_DATE.fullmatch(v) is not None for v in values) >= 0.9 * len(values)
    spaced = bool(values) and sum(" " in v for v in values) > len(values) / 2
    for role, pattern in _BY_NAME:
        if pattern.search(words) is None:
            continue
        if role == "date" and values and numbers and not dates and max(map(len, values)) < 6:
            continue  # days since a date, not a date
        if role == "identifier" and dates and not numbers:
            return "date", "values"  # a column called visit that holds days
        if role == "patient" and spaced and not numbers:
            return "name", "name"  # a column called patient that holds names
        return role, "name"
    if not values:
        return "category", "values"
    if dates:
        return "date", "values"
    levels = set(values)
    if numbers:
        whole = [v for v in levels if v.isdigit() and len(v) >= 7]
        return (
            "identifier" if len(whole) > len(levels) / 2 and len(levels) > 0.5 * len(values) else "number"
        ), "values"
    if any("@" in v and _is_email(v) for v in levels):
        return "text", "values"
    coded = sum(_CODED.fullmatch(v) is not None and not _NUMBER.fullmatch(v) for v in levels)
    if coded > 0.8 * len(levels) and len(levels) > min(_LEVELS, 0.5 * len(values)):
        return "identifier", "values"
    if len(levels) <= _LEVELS and (len(values) >= 2 * len(levels) or len(levels) <= 3):
        return "category", "values"
    return "text", "values"


def _is_email(value: str) -> bool:
    return re.fullmatch(r"\S+@\S+\.\w+", value) is not None


class _Rows:
    """Cleans the cells of a table by its plan."""

    def __init__(self, plan: TablePlan, cleaner: TextCleaner, otherwise: str | None) -> None:
        self.plan, self.cleaner, self.otherwise = plan, cleaner, otherwise
        self.known_as = {
            name: "name" if role == "name" else "medical_record"
            for name, role in plan.roles.items()
            if role in ("name", "patient", "identifier", "telephone", "email")
        }
        self.texts = any(role in ("text", "category") for role in plan.roles.values())

    def row(self, row: dict[str, str | None]) -> dict[str, str | None]:
        """Return a row with its cells replaced; absent and empty cells stay so."""
        patient = row.get(self.plan.patient or "") or self.otherwise
        known = Known()
        if self.texts:
            for name, cls in self.known_as.items():
                value = row.get(name)
                if value and not (cls != "name" and len(value) < 5):
                    known.add(cls, value)
        out: dict[str, str | None] = {}
        for name, role in self.plan.roles.items():
            value = row.get(name)
            out[name] = value if value is None or not value.strip() else self.cell(role, value, patient, known)
        return out

    def cell(self, role: str, value: str, patient: str | None, known: Known) -> str:
        """Return what stands for one cell."""
        clean = self.cleaner
        if role == "number":
            return value if _NUMBER.fullmatch(value.strip()) else clean.clean(value, patient, known)
        if role == "category":
            if clean.harmless(value) and not known.spans(value):
                return value
            return clean.clean(value, patient, known)
        if role == "text":
            return clean.clean(value, patient, known)
        if role == "age":
            return clean.surrogates.age(value) if re.search(r"\d", value) else clean.clean(value, patient, known)
        if role == "remove":
            return ""
        cls = {"patient": "medical_record", "identifier": "account", "place": "geography"}.get(role, role)
        if role == "organisation":
            clean.counts["geography"] += 1
            return "[GEOGRAPHY]" if clean.style == "class" else clean.surrogates.organisation(value)
        if role == "date" and clean.style == "class":
            clean.counts["date"] += 1
            return clean.surrogates.shift_date(value, patient)  # a column of dates stays one
        if role in ("patient", "identifier"):
            clean.counts[cls] += 1
            return clean.surrogates.identifier(value)  # rows must stay apart in any style
        return clean.replaced(cls, value, patient)


def _text_of(data: bytes) -> str:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                raise FileRefused("ENCODING", "the encoding the file begins with does not hold") from None
    if b"\0" in data[:4096]:
        raise FileRefused("BINARY", "the file is no text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _csv_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False):
            if row:
                yield row
    except csv.Error:
        raise FileRefused("MALFORMED", "the table has rows that cannot be read") from None


def _delimiter(text: str) -> str:
    line = text[: text.find("\n") if "\n" in text else len(text)]
    return max(",;\t|", key=line.count)


def deidentify_csv(
    data: bytes,
    cleaner: TextCleaner,
    *,
    patient: str | None = None,
    declared: Mapping[str, str] | None = None,
    otherwise: str | None = None,
) -> tuple[bytes, TablePlan]:
    """Return a CSV table without its patients, as UTF-8, and what was done with its columns.

    Parameters
    ----------
    data : bytes
        The file; commas, semicolons, tabs or bars between cells.
    cleaner : TextCleaner
        The map, and the finder for texts.
    patient : str, optional
        Column that tells patients apart; inferred when absent.
    declared : mapping of str to str, optional
        Roles of columns, see `ROLES`.
    otherwise : str, optional
        What sets the shift of dates in rows without a patient.

    Returns
    -------
    (bytes, TablePlan)

    Raises
    ------
    FileRefused
        EMPTY, ENCODING, BINARY, MALFORMED, HEADER, PATIENT_COLUMN or COLUMN.
    """
    text = _text_of(data)
    if not text.strip():
        raise FileRefused("EMPTY", "the file is empty")
    delimiter = _delimiter(text)
    rows = _csv_rows(text, delimiter)
    names = next(rows, [])
    _check_header(names, cleaner)
    sample: dict[str, list[str]] = {name: [] for name in names}
    for count, row in enumerate(rows):
        if len(row) > len(names):
            raise FileRefused("MALFORMED", "a row has more cells than the header")
        if count < _SAMPLE:
            for name, value in zip(names, row, strict=False):
                if value.strip():
                    sample[name].append(value.strip())
    plan = _planned(names, sample, declared, patient)
    cells = _Rows(plan, cleaner, otherwise)
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    rows = _csv_rows(text, delimiter)
    next(rows)
    for row in rows:
        made = cells.row(dict(zip(names, row, strict=False)))
        writer.writerow([made.get(name) or "" for name in names[: len(row)]])
    return out.getvalue().encode("utf-8", "replace"), plan


def _planned(
    names: Sequence[str], sample: Mapping[str, Sequence[str]], declared: Mapping[str, str] | None, patient: str | None
) -> TablePlan:
    if patient is not None and patient not in names:
        raise FileRefused("PATIENT_COLUMN", "the table has no such column of patients", "see --patient")
    try:
        return plan_table(names, sample, declared=declared, patient=patient)
    except DataError:
        raise FileRefused("COLUMN", "a declared column or its role is not there", "see --column") from None


def _check_header(names: Sequence[str], cleaner: TextCleaner) -> None:
    if len(set(names)) != len(names):
        raise FileRefused("HEADER", "two columns have one name")
    if any(
        _NUMBER.fullmatch(name) or _FULL_DATE.fullmatch(name) or _RECORD.fullmatch(name) or not cleaner.harmless(name)
        for name in names
        if name
    ):
        raise FileRefused("HEADER", "the first row holds values instead of names of columns", "write a header")


def deidentify_parquet(
    source: Path,
    out: Path,
    cleaner: TextCleaner,
    *,
    patient: str | None = None,
    declared: Mapping[str, str] | None = None,
    otherwise: str | None = None,
) -> TablePlan:
    """Write a Parquet table without its patients, in batches of rows.

    Parameters
    ----------
    source, out : Path
        The table, and a file that is written.
    cleaner, patient, declared, otherwise
        As in `deidentify_csv`.

    Returns
    -------
    TablePlan

    Raises
    ------
    FileRefused
        MALFORMED, HEADER, PATIENT_COLUMN or COLUMN.
    OSError
        The output cannot be written.
    """
    try:
        frame = pl.scan_parquet(source)
        schema = frame.collect_schema()
        head = frame.head(_SAMPLE).collect()
        rows = int(frame.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError):
        raise FileRefused("MALFORMED", "the file is no Parquet table that can be read") from None
    names = list(schema)
    _check_header(names, cleaner)
    plain = {name for name, kind in schema.items() if not kind.is_nested() and kind != pl.Binary and kind != pl.Object}
    sample = {name: [str(v).strip() for v in head[name].drop_nulls().to_list() if str(v).strip()] for name in plain}
    asked = dict(declared or {}) | dict.fromkeys((n for n in names if n not in plain), "remove")
    plan = _planned(names, sample, asked, patient)
    cells = _Rows(plan, cleaner, otherwise)
    parts = []
    for number, start in enumerate(range(0, max(rows, 1), _BATCH)):
        part = out.with_name(f"{out.name}.{number}.part")
        try:
            batch = frame.slice(start, _BATCH).collect()
        except (pl.exceptions.PolarsError, OSError):
            raise FileRefused("MALFORMED", "the file is no Parquet table that can be read") from None
        made = _batch(batch, schema, cells)
        parts.append(part)
        try:
            made.write_parquet(part)
        except pl.exceptions.PolarsError:
            raise OSError("a part could not be written") from None
    try:
        pl.scan_parquet(parts).sink_parquet(out)
    except pl.exceptions.PolarsError:
        raise OSError("the table could not be written") from None
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return plan


def _batch(batch: pl.DataFrame, schema: Mapping[str, Any], cells: _Rows) -> pl.DataFrame:
    roles = cells.plan.roles
    texts: dict[str, list[str | None]] = {}
    for name, kind in schema.items():
        if roles[name] == "remove" or (roles[name] == "number" and kind.is_numeric()) or kind == pl.Boolean:
            continue
        texts[name] = [None if v is None else str(v) for v in batch[name].to_list()]
    made: dict[str, list[str | None]] = {name: [] for name in texts}
    for i in range(batch.height):
        row = cells.row({name: column[i] for name, column in texts.items()})
        for name in made:
            made[name].append(row[name])
    columns = []
    for name, kind in schema.items():
        if roles[name] == "remove":
            columns.append(pl.Series(name, [None] * batch.height, pl.String))
        elif name not in made:
            columns.append(batch[name])
        else:
            columns.append(_typed(name, made[name], kind, roles[name]))
    return pl.DataFrame(columns)


def _typed(name: str, values: list[str | None], kind: Any, role: str) -> pl.Series:
    """Return text in the kind the column had, where every batch can have it."""
    text = pl.Series(name, values, pl.String)
    if kind == pl.Date:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if isinstance(kind, pl.Datetime):
        return (
            text.str.slice(0, 26)
            .str.to_datetime(time_unit=kind.time_unit, strict=False)
            .dt.replace_time_zone(kind.time_zone)
        )
    if kind == pl.Time:
        return text.str.to_time(strict=False)
    if role == "number" and kind.is_numeric():
        return text.cast(kind, strict=False)
    return text
