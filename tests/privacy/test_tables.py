"""Tables lose their patients by columns, and the plan never shows a value."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path

import polars as pl
import pytest

from aimed.core.errors import DataError
from aimed.privacy.cleaner import FileRefused, TextCleaner
from aimed.privacy.surrogates import Surrogates
from aimed.privacy.tables import deidentify_csv, deidentify_parquet, plan_table

GIVEN = Surrogates(bytes(range(32)))

ROWS = [
    ["mrn", "patient_name", "visit_date", "dob", "age", "sex", "score", "note", "zip", "phone", "email", "ward"],
    [
        "MRN-884412",
        "Quillfeather, Zebulon",
        "2020-01-31",
        "1944-05-06",
        "75",
        "M",
        "1.5",
        "Mr. Quillfeather seen 01/31/2020, no effusion.",
        "62704",
        "555-123-4567",
        "zeb@hosp.example",
        "A",
    ],
    [
        "MRN-884413",
        "Doe, Yolanda",
        "2020-02-28",
        "1925-05-06",
        "94",
        "F",
        "2.5",
        "no acute disease",
        "62705",
        "555-123-4568",
        "",
        "B",
    ],
    ["MRN-884412", "Quillfeather, Zebulon", "2020-02-10", "1944-05-06", "75", "M", "3.5", "", "62704", "", "", "A"],
]


@pytest.fixture
def cleaner() -> TextCleaner:
    return TextCleaner(GIVEN)


def csv_of(rows: list[list[str]], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode()


def back(data: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode()), delimiter=delimiter))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_loses_its_patients(cleaner: TextCleaner, delimiter: str) -> None:
    made, plan = deidentify_csv(csv_of(ROWS, delimiter), cleaner)
    for word in (
        "Quillfeather",
        "Zebulon",
        "884412",
        "884413",
        "62704",
        "123-4567",
        "zeb@",
        "2020-01-31",
        "01/31/2020",
        "Yolanda",
    ):
        assert word.encode() not in made
        assert word not in "\n".join(plan.lines())
        assert word not in repr(plan)
    rows = back(made, delimiter)
    assert rows[0]["mrn"] == rows[2]["mrn"] == GIVEN.identifier("MRN-884412")
    assert rows[0]["patient_name"] == GIVEN.person("Quillfeather, Zebulon")
    between = dt.date.fromisoformat(rows[2]["visit_date"]) - dt.date.fromisoformat(rows[0]["visit_date"])
    assert between.days == 10
    assert [r["score"] for r in rows] == ["1.5", "2.5", "3.5"]
    assert [r["age"] for r in rows] == ["75", "90+", "75"]
    assert "no effusion" in rows[0]["note"]
    assert rows[1]["note"] == "no acute disease"
    assert plan.patient == "mrn"
    assert [r["sex"] for r in rows] == ["M", "F", "M"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_are_read(cleaner: TextCleaner, encoding: str) -> None:
    made, _ = deidentify_csv("pid,name\nA1234,Jos\u00e9 M\u00fcller\n".encode(encoding), cleaner)
    assert back(made)[0]["name"] == GIVEN.person("Jose Muller")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "EMPTY"),
        (b" \n \n", "EMPTY"),
        (b"a,b\n1,2,3\n", "MALFORMED"),
        (b"a,a\n1,2\n", "HEADER"),
        (b"a\0b", "BINARY"),
        (b"2020-01-31,5\n2020-02-01,6\n", "HEADER"),
        (b"555-123-4567,x\n", "HEADER"),
    ],
)
def test_bad_tables_are_refused(cleaner: TextCleaner, data: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as error:
        deidentify_csv(data, cleaner)
    assert error.value.code == code


def test_declared_columns_come_first_and_mistakes_are_named() -> None:
    plan = plan_table(["a", "note"], {}, declared={"note": "remove"}, patient="a")
    assert plan.roles == {"a": "patient", "note": "remove"}
    assert plan.reasons["a"] == "declared"
    with pytest.raises(DataError, match="note"):
        plan_table(["a", "note"], {}, declared={"notes": "remove"})
    with pytest.raises(DataError, match="text"):
        plan_table(["a"], {}, declared={"a": "tex"})


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("x1", ["A1234", "B9999", "C1235", "D4444"] * 10, "category"),
        ("x1", [f"A{i:05d}" for i in range(60)], "identifier"),
        ("x2", [f"{i}" for i in range(5551000000, 5551000060)], "identifier"),
        ("days_to_event", ["12", "400"], "number"),
        ("date_index", ["12", "400"], "number"),
        ("x3", ["2020-01-02", "2021-03-04"], "date"),
        ("patientId", ["1"], "patient"),
        ("AttendingPhysician", ["x"], "name"),
        ("stage", ["I", "II"] * 9, "category"),
        ("x4", ["one thing", "two things", "b", "c"], "text"),
        ("tumor_size", ["1.5", "2"], "number"),
        ("hospital", ["x"], "organisation"),
    ],
)
def test_roles_are_inferred(name: str, values: list[str], role: str) -> None:
    assert plan_table([name], {name: values}).roles[name] == role


def test_parquet_keeps_its_kinds(cleaner: TextCleaner, tmp_path: Path) -> None:
    source, out = tmp_path / "a.parquet", tmp_path / "b.parquet"
    frame = pl.DataFrame(
        {
            "pid": [884412, 884413],
            "seen": [dt.datetime(2020, 1, 31, 3, 4), None],
            "born": [dt.date(1944, 5, 6)] * 2,
            "x": [1.5, 2.0],
            "dead": [True, False],
            "codes": [[1], [2]],
            "note": ["Dr. Quillfeather called", None],
        }
    )
    frame.write_parquet(source)
    deidentify_parquet(source, out, cleaner)
    made = pl.read_parquet(out)
    assert made["pid"].to_list() == [GIVEN.identifier("884412"), GIVEN.identifier("884413")]
    assert made.schema["seen"] == pl.Datetime("us")
    assert made["seen"][0].time() == dt.time(3, 4)
    assert made["born"][0] - dt.date(1944, 5, 6) == dt.timedelta(days=GIVEN.date_shift("884412"))
    assert made["x"].to_list() == [1.5, 2.0]
    assert made["dead"].to_list() == [True, False]
    assert made["codes"].null_count() == 2
    assert "Quillfeather" not in made["note"][0]
    assert list(tmp_path.iterdir()) == [source, out] or sorted(tmp_path.iterdir()) == [source, out]
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FileRefused, match="MALFORMED"):
        deidentify_parquet(tmp_path / "c.parquet", out, cleaner)


def test_parquet_of_several_batches_is_whole(
    cleaner: TextCleaner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aimed.privacy.tables._BATCH", 7)
    pl.DataFrame({"pid": [f"P{i:04d}" for i in range(30)], "x": range(30)}).write_parquet(tmp_path / "a.parquet")
    deidentify_parquet(tmp_path / "a.parquet", tmp_path / "b.parquet", cleaner)
    made = pl.read_parquet(tmp_path / "b.parquet")
    assert made["x"].to_list() == list(range(30))
    assert made["pid"].n_unique() == 30


def test_classes_instead_of_surrogates() -> None:
    made, _ = deidentify_csv(csv_of(ROWS), TextCleaner(GIVEN, "class"))
    rows = back(made)
    assert rows[0]["patient_name"] == "[NAME]"
    assert "[NAME]" in rows[0]["note"]
    assert rows[0]["mrn"] != rows[1]["mrn"]


def test_a_column_named_after_a_record_number_is_refused(cleaner: TextCleaner) -> None:
    with pytest.raises(FileRefused, match="HEADER"):
        deidentify_csv(b"ZQXPHI-98765,b\n1,2\n", cleaner)
    deidentify_csv(b"C12H22,ki67,day_30,t1\n1,2,3,4\n", cleaner)


def test_a_declared_column_that_is_not_there_has_a_code_of_its_own(cleaner: TextCleaner) -> None:
    with pytest.raises(FileRefused, match="COLUMN"):
        deidentify_csv(b"pid,b\n1,2\n", cleaner, declared={"nothere": "name"})


@pytest.mark.parametrize(
    ("values", "role"), [(["2024-03-12", "12.03.2024"], "date"), (["20240312", "20240313"], "identifier")]
)
def test_a_column_of_visits_holds_days_or_numbers(values, role):
    assert plan_table(["mrn", "visit"], {"visit": values}).roles["visit"] == role
