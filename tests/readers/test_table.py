"""Tables of every kind become the same cohort, and bad ones say what is wrong without showing a value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aimed.core import Binary, CompetingRisks, DataError, MissingExtraError, StudyFileError, Survival, UnknownNameError
from aimed.readers import builtin
from aimed.readers.columns import Band, Declared
from aimed.readers.outcome import OutcomeColumns
from aimed.readers.source import open_table
from aimed.readers.table import describe_columns, raw_columns, read_table

FRAME = pl.DataFrame(
    {
        "pid": ["a", "a", "b", "c", "d", "e"],
        "age": [61.0, 62.0, None, 45.5, 70.0, 33.0],
        "sex": ["F", "F", "M", None, "M", "F"],
        "visit": ["2020-01-01", "2020-02-01", "2021-01-01", "2021-05-01", "2022-01-01", "2022-02-02"],
        "dead": [1, 0, 0, 1, 0, 1],
        "days": [10, 20, 30, 40, 50, 60],
    }
)
DEAD = OutcomeColumns(column="dead")


def read(source, **options):
    return read_table(source, patient="pid", outcome=options.pop("outcome", DEAD), exclude=["days"], **options)


@pytest.fixture(params=["csv", "tsv", "parquet", "arrow", "excel", "utf16", "windows-1252"])
def source(request, tmp_path):
    path = tmp_path / f"table.{'csv' if request.param in ('excel', 'utf16', 'windows-1252') else request.param}"
    match request.param:
        case "csv":
            FRAME.write_csv(path)
        case "tsv":
            FRAME.write_csv(path, separator="\t")
        case "parquet":
            FRAME.write_parquet(path)
        case "arrow":
            FRAME.write_ipc(path)
        case "excel":  # as Excel saves CSV in most of Europe: mark, separator line, semicolons, decimal commas
            text = FRAME.write_csv(separator=";").replace(".0", ",0").replace("45.5", "45,5")
            path.write_bytes(b"\xef\xbb\xbf" + ("sep=;\r\n" + text.replace("\n", "\r\n")).encode())
        case "utf16":
            path.write_bytes(FRAME.write_csv(separator="\t").encode("utf-16"))
        case "windows-1252":
            path.write_bytes(FRAME.write_csv().encode("windows-1252"))
    return path, {"encoding": "windows-1252"} if request.param == "windows-1252" else {}


def test_every_file_kind_gives_the_same_cohort(source):
    path, options = source
    cohort, expected = read(path, **options), read(FRAME)
    assert [(v.name, v.kind, v.role) for v in cohort.variables] == [
        ("age", "number", "predictor"),
        ("sex", "category", "predictor"),
        ("visit", "date", "descriptor"),
        ("days", "number", "descriptor"),
    ]
    np.testing.assert_array_equal(cohort.matrix(), expected.matrix())
    assert cohort.patient.tolist() == list("aabcde")
    assert cohort.outcome.values.tolist() == [1, 0, 0, 1, 0, 1]


def test_pandas_and_polars_frames_agree():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({c: FRAME[c].to_list() for c in FRAME.columns})
    frame["sex"] = frame["sex"].astype("category")
    np.testing.assert_array_equal(read(frame).matrix(), read(FRAME).matrix())


def test_inclusion_rules_count_what_they_remove():
    cohort = read(FRAME, include=["age is known", "age >= 40 and sex in ('F', 'M')"])
    assert [(s.removed, s.remaining) for s in cohort.flow] == [(0, 6), (1, 5), (2, 3)]
    assert cohort.n == 3


def test_bands_and_declarations():
    cohort = read(
        FRAME,
        bands={"age_band": Band(source="age", cuts=(50, 65))},
        declared={"age": Declared(unit="years", label="Age", plausible=(0, 120), missing_codes=(33.0,))},
    )
    band = cohort.variable("age_band")
    assert band.categories == ("<50", "50 to <65", "≥65")
    assert cohort.column("age_band").tolist() == [1, 1, -1, 0, 2, -1]
    assert cohort.variable("age").title == "Age (years)"


def test_survival_and_horizon_outcomes():
    times = OutcomeColumns(time="days", event="dead")
    cohort = read_table(FRAME, patient="pid", outcome=times)
    assert isinstance(cohort.outcome, Survival)
    by30 = read_table(FRAME, patient="pid", outcome=OutcomeColumns(time="days", event="dead", horizon=30))
    assert isinstance(by30.outcome, Binary)
    assert by30.outcome.values.tolist() == [1, 0, 0, 0, 0]  # the row censored at day 20 has left
    assert by30.flow[-1].removed == 1


@pytest.mark.parametrize(
    ("values", "event_value", "competing"),
    [
        ([1, 0, 2, 1, 0, 2], 1, {"2": "transplant"}),
        (["dead", "alive", "Transplanted ", "dead", "alive", "transplanted"], "dead", {"transplanted": "transplant"}),
        ([7, 0, 1, 7, 0, 1], 7, {"1": "transplant"}),
    ],
)
def test_competing_events_are_declared_by_value(values, event_value, competing):
    columns = OutcomeColumns(time="days", event="dead", event_value=event_value, competing=competing, label="death")
    outcome = read_table(FRAME.with_columns(dead=pl.Series(values)), patient="pid", outcome=columns).outcome
    assert isinstance(outcome, CompetingRisks)
    assert outcome.cause.tolist() == [1, 0, 2, 1, 0, 2]
    assert outcome.labels == ("death", "transplant")


@pytest.mark.parametrize(
    ("values", "competing", "words"),
    [
        ([1, 0, 2, 3, 0, 2], {"2": "transplant"}, "4 different values"),
        ([1, 3, 2, 3, 0, 2], {"2": "transplant"}, "4 different values"),
        ([1, 0, 1, 0, 0, 1], {"2": "transplant"}, "has the competing event 'transplant'"),
        ([1, 0, 3, 1, 0, 3], {"2": "transplant"}, "has the competing event 'transplant'"),
        ([2, 0, 2, 2, 0, 2], {"2": "transplant"}, "has no events"),
    ],
)
def test_events_that_are_not_declared_are_refused(values, competing, words):
    columns = OutcomeColumns(time="days", event="dead", competing=competing)
    with pytest.raises(DataError, match=words):
        read_table(FRAME.with_columns(dead=pl.Series(values)), patient="pid", outcome=columns)


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({"dead": [1, 0, None, 1, 0, 1]}, DEAD, "missing in 1 of 6"),
        ({"dead": ["yes", "no", "no", "yes", "no", "yes"]}, DEAD, "holds words"),
        ({"dead": [0, 0, 0, 0, 0, 0]}, DEAD, "one class only"),
        ({"dead": [0, 1, 2, 3, 4, 5]}, DEAD, "6 different values"),
        ({"dead": ["x", "x", "q", "q", "q", "x"]}, OutcomeColumns(column="dead", positive="y"), "positive value"),
        ({"dead": [0] * 6}, OutcomeColumns(time="days", event="dead"), "no events of interest in 6 rows"),
        ({"days": [10, -5, 0, 3, 4, 5]}, OutcomeColumns(time="days", event="dead"), "zero or negative in 2 of 6"),
        ({"days": ["10", "x", "1", "3", "4", "5"]}, OutcomeColumns(time="days", event="dead"), "text in 1 of 6"),
        ({"days": [10, None, 1, 3, 4, 5]}, OutcomeColumns(time="days", event="dead"), "missing in 1 of 6"),
        ({"dead": [1, 0, None, 1, 0, 1]}, OutcomeColumns(time="days", event="dead"), "missing in 1 of 6"),
        ({"pid": ["a", None, "b", "c", "d", " "]}, DEAD, "missing in 2 of 6"),
        ({"age": ["61", "sixty", "3", "4", "5", "6"]}, DEAD, None),
    ],
)
def test_bad_columns_are_named_with_counts(change, outcome, words):
    frame = FRAME.with_columns(**{k: pl.Series(v, strict=False) for k, v in change.items()})
    if words is None:  # a few words among numbers make a category unless a number is declared
        words = "text in 1 of 6"
        options = {"declared": {"age": Declared(kind="number")}}
    else:
        options = {}
    with pytest.raises(DataError, match=words) as caught:
        read_table(frame, patient="pid", outcome=outcome, **options)
    for secret in ("sixty", "61"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"   \n", "is empty"),
        (b"pid,dead,age\n", "no rows"),
        (b"pid,dead,age\na,1,Jos\xe9\nb,0,x\n", "not UTF-8"),
        (b"pid,dead,age\na,1,2\nb,0,3,SECRET\n", "more fields than the header"),
    ],
)
def test_bad_files(tmp_path, content, words):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_table(path, patient="pid", outcome=DEAD)
    assert "SECRET" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_missing_file_and_column_name_the_nearest(tmp_path):
    FRAME.write_csv(tmp_path / "patients.csv")
    with pytest.raises(DataError, match=r"did you mean 'patients.csv'"):
        read(tmp_path / "patient.csv")
    with pytest.raises(DataError, match="did you mean 'pid'"):
        read_table(FRAME, patient="pidd", outcome=DEAD)
    with pytest.raises(DataError, match="did you mean 'dead'"):
        read(FRAME, outcome=OutcomeColumns(column="deed"))
    with pytest.raises(DataError, match="include"):
        read(FRAME, include=["agge > 3"])


def test_nothing_left_after_a_rule():
    with pytest.raises(DataError, match="no rows are left after the inclusion rule 'age > 200'"):
        read(FRAME, include=["age > 200"])


def test_outcome_may_not_be_a_predictor():
    with pytest.raises(StudyFileError, match="names the outcome column"):
        read_table(FRAME, patient="pid", outcome=DEAD, predictors=["age", "dead"])


def test_unknown_ending_and_type(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"PK..")
    with pytest.raises(DataError, match="save it as CSV"):
        read(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="type dict"):
        read({"a": 1})
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError):
        read(tmp_path / "t.parquet")


def test_repeated_units_are_refused():
    with pytest.raises(DataError, match="repeats 1 ids"):
        read_table(FRAME, patient="pid", unit="u", outcome=DEAD) if "u" in FRAME.columns else read_table(
            FRAME.with_columns(u=pl.Series(["1", "1", "2", "3", "4", "5"])), patient="pid", unit="u", outcome=DEAD
        )


@pytest.mark.parametrize("name", sorted(builtin.BUILTIN))
def test_builtin_sets_load(name):
    try:
        frame = builtin.load(f"builtin:{name}")
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert frame.height > 50
    assert "id" in frame.columns


def test_builtin_whas500_is_the_published_one():
    pytest.importorskip("sksurv")
    cohort = read_table("builtin:whas500", patient="id", outcome=OutcomeColumns(time="lenfol", event="fstat"))
    assert (cohort.n, cohort.outcome.events) == (500, 215)


def test_unknown_builtin_and_absent_package(monkeypatch):
    with pytest.raises(UnknownNameError, match="did you mean 'whas500'"):
        builtin.load("builtin:whas50")

    def absent():
        raise ImportError

    monkeypatch.setitem(builtin.BUILTIN, "whas500", builtin.BuiltinSet("scikit-survival", "pip install x", "s", absent))
    with pytest.raises(MissingExtraError, match="pip install x"):
        builtin.load("whas500")


def test_more_rows_than_memory_are_refused_before_reading(monkeypatch):
    from aimed.readers import table

    monkeypatch.setattr(table, "_available_bytes", lambda: 100)
    with pytest.raises(DataError, match="name fewer"):
        read(FRAME)


def test_uci_heart_question_marks_are_missing(shared_data):
    path = shared_data("heart", "processed.hungarian.data")
    names = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca",
             "thal", "num"]  # fmt: skip
    frame = pl.read_csv(path, has_header=False, new_columns=names, infer_schema=False).with_row_index("id")
    text = frame.write_csv()
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "h.csv"
        file.write_text(text)
        cohort = read_table(file, patient="id", outcome=OutcomeColumns(column="num", positive=1))
    assert cohort.n == 294
    assert cohort.missing("ca") == 291
    assert cohort.variable("chol").kind == "number"


def test_raw_columns_and_description():
    values, names = raw_columns(FRAME, ["age", "sex", "absent"])
    assert values["sex"][3] is None
    assert "pid" in names
    kinds = {c["name"]: (c["kind"], c["levels"], c["missing"]) for c in describe_columns(FRAME)}
    assert kinds["sex"] == ("category", 2, 1)
    assert kinds["age"] == ("number", 5, 1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_wide_csv_is_read_in_a_fraction_of_its_size(tmp_path):
    import subprocess
    import sys

    path = tmp_path / "wide.csv"
    rng = np.random.default_rng(0)
    filler = "x" * 60
    with path.open("w") as f:
        f.write("pid,dead,age," + ",".join(f"note{i}" for i in range(20)) + "\n")
        for start in range(0, 400_000, 20_000):
            ages, dead = rng.integers(18, 90, 20_000), rng.integers(0, 2, 20_000)
            f.writelines(
                f"{start + i},{d},{a}," + ",".join([filler] * 20) + "\n"
                for i, (a, d) in enumerate(zip(ages, dead, strict=True))
            )
    assert path.stat().st_size > 450e6
    code = (
        "import sys; from aimed.readers.table import read_table; "
        "from aimed.readers.outcome import OutcomeColumns; "
        f"c = read_table({str(path)!r}, patient='pid', outcome=OutcomeColumns(column='dead'), predictors=['age'], "
        "include=['age >= 60']); "
        # Not ru_maxrss: a child inherits that of the process it was forked from.
        "print(c.n, int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, peak_mb = map(int, done.stdout.split())
    assert 100_000 < rows < 250_000
    assert peak_mb < 400 + 0.5 * path.stat().st_size / 2**20


def test_a_missing_event_is_missing_whatever_the_source():
    frame = FRAME.with_columns(dead=pl.Series([1.0, float("nan"), 0.0, 1.0, 0.0, 1.0]))
    with pytest.raises(DataError, match="missing in 1 of 6"):
        read_table(frame, patient="pid", outcome=OutcomeColumns(time="days", event="dead"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1,5", "2", "1,234", "3", "4", "5"], [1.5, 2, 1.234, 3, 4, 5]),
        (["1.5", "2", None, "3", "4", "5"], [1.5, 2, np.nan, 3, 4, 5]),
    ],
)
def test_decimal_commas(values, expected):
    cohort = read(FRAME.with_columns(age=pl.Series(values)))
    np.testing.assert_array_equal(cohort.column("age"), expected)


def test_a_thousands_separator_is_refused_not_guessed():
    with pytest.raises(DataError, match="2 values such as 1,234"):
        read(FRAME.with_columns(age=pl.Series(["500", "1,234", "12,000", "3", "4", "5"])))


def test_blanks_around_ids_do_not_make_two_patients():
    cohort = read(FRAME.with_columns(pid=pl.Series(["a", "a ", " b", "b", "c", "d"])))
    assert cohort.patients == 4


def test_large_codes_stay_apart():
    codes = pl.Series([1000001.0, 1000002.0, 1000003.0, 1000001.0, 2.5, None])
    cohort = read(FRAME.with_columns(ward=codes), declared={"ward": Declared(kind="category")})
    assert cohort.variable("ward").categories == ("2.5", "1000001", "1000002", "1000003")


def test_missing_codes_are_blank_before_the_inclusion_rules():
    frame = FRAME.with_columns(age=pl.Series([61.0, -9.0, 30.0, 45.5, 70.0, 33.0]))
    cohort = read(frame, declared={"age": Declared(missing_codes=(-9,))}, include=["age < 65"])
    assert cohort.n == 4
    assert cohort.missing("age") == 0


def test_rows_censored_before_a_horizon_carry_both_risks():
    outcome = OutcomeColumns(time="days", event="dead", horizon=45)
    cohort = read_table(FRAME, patient="pid", outcome=outcome)
    step = cohort.flow[-1]
    assert step.removed == 2
    assert step.evidence["risk_of_kept"] == pytest.approx(2 / 4)
    assert step.evidence["risk_of_all"] == pytest.approx(1 - (5 / 6) * (2 / 3))


def test_a_named_predictor_is_never_dropped_without_a_word():
    typo = FRAME.with_columns(marker=pl.Series([f"{i}.5" for i in range(5)] + ["12O"]))
    wide = pl.concat([typo] * 20).with_columns(
        pid=pl.arange(0, 120).cast(pl.String), marker=pl.arange(0, 120).cast(pl.String) + pl.Series(["", "x"] * 60)
    )
    with pytest.raises(DataError, match=r"\[predictors\] names 'marker', which is read as a text column"):
        read_table(wide, patient="pid", outcome=DEAD, predictors=["age", "marker"])
    with pytest.raises(DataError, match="'visit', which is read as a date column"):
        read(FRAME, predictors=["age", "visit"])
    with pytest.raises(StudyFileError, match="names 'pid'"):
        read(FRAME, predictors=["age", "pid"])


@pytest.mark.parametrize(
    ("header", "words"),
    [("pid,age,sex,age,dead", "two columns are called 'age'"), ("pid,age,,sex,dead", "empty or hold control")],
)
def test_headers_that_lose_a_column(tmp_path, header, words):
    path = tmp_path / "t.csv"
    path.write_text(header + "\n" + "a,1,2,3,1\nb,2,3,4,0\n")
    with pytest.raises(DataError, match=words):
        read_table(path, patient="pid", outcome=DEAD)


def test_index_dates_say_what_they_take():
    years = read(FRAME.with_columns(visit=pl.Series([2019, 2020, 2021, 2022, 2023, 2024])), time="visit")
    assert str(years.time[0])[:10] == "2019-01-01"
    slashes = FRAME.with_columns(visit=pl.Series(["05/31/2020"] * 6))
    with pytest.raises(DataError, match="6 values that are not dates"):
        read(slashes, time="visit")


def test_absurd_numbers_and_folders(tmp_path):
    with pytest.raises(DataError, match="absurdly large"):
        read(FRAME.with_columns(age=pl.Series([1e37, 1, 2, 3, 4, 5])))
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_quotes_in_the_name_of_a_column_are_not_doubled(tmp_path, encoding):
    path = tmp_path / "table.csv"
    path.write_text('"erguß ""sicher"", links",b\n1,2\n', encoding=encoding)
    lazy, _ = open_table(path, encoding=encoding)
    assert lazy.collect().columns == ['erguß "sicher", links', "b"]
