import polars as pl
import pytest

from aimed.core import DataError
from aimed.readers.note_table import NoteTable


def notes(table, size=100):
    return [note for batch in table.batches(size) for note in batch.notes]


def test_batches_are_cut_alike_whatever_the_row_groups(tmp_path):
    frame = pl.DataFrame({"report": [f"note {i}" for i in range(250)]})
    for group in (7, 64, 250):
        frame.write_parquet(tmp_path / "t.parquet", row_group_size=group)
        batches = list(NoteTable(tmp_path / "t.parquet").batches(100))
        assert [(b.first, len(b.notes)) for b in batches] == [(0, 100), (100, 100), (200, 50)]
        assert [n for b in batches for n in b.notes] == frame["report"].to_list()
        assert batches[-1].share == 1.0


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".ipc", ".parquet", ".csv", ".tsv", ".txt"])
def test_kinds_of_file(tmp_path, suffix):
    frame = pl.DataFrame({"report": ["a, b", 'say "c"', "two\nlines"], "id": [3, 4, 5]})
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix in (".arrow", ".feather", ".ipc"):
        frame.write_ipc(path)
    else:
        frame.write_csv(path, separator="\t" if suffix == ".tsv" else ";")
    table = NoteTable(path, unit="id")
    (batch,) = table.batches(10)
    assert batch.notes == frame["report"].to_list()
    assert batch.ids.cast(pl.Int64).to_list() == [3, 4, 5]


def test_a_line_that_names_the_separator_is_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nid;report\n1;a, b\n")
    assert notes(NoteTable(tmp_path / "t.csv")) == ["a, b"]


def test_enormous_notes_end_a_batch_early(tmp_path, monkeypatch):
    import aimed.readers.note_table as module

    monkeypatch.setattr(module, "_CHARACTERS", 1000)
    (tmp_path / "t.csv").write_text("report\n" + "\n".join(["x" * 400] * 7))
    batches = list(NoteTable(tmp_path / "t.csv").batches(100))
    assert [len(b.notes) for b in batches] == [3, 3, 1]
    assert [b.first for b in batches] == [0, 3, 6]


def test_one_file_in_several_encodings(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"report\n" + "größer\n".encode() + "größer\n".encode("cp1252") + b"plain\n")
    assert notes(NoteTable(path)) == ["größer", "größer".encode("cp1252"), "plain"]


def test_a_column_may_be_note_and_id_at_once():
    (batch,) = NoteTable(pl.DataFrame({"report": ["a"]}), unit="report").batches(5)
    assert batch.notes == ["a"]
    assert batch.ids.to_list() == ["a"]


def test_headings_of_the_user():
    frame = pl.DataFrame({"a": ["No edema."], "b": ["Normal."]})
    assert notes(NoteTable(frame, text={"findings": "a", "impression": "b"})) == [
        "FINDINGS:\nNo edema.\n\nIMPRESSION:\nNormal."
    ]


def test_categories_are_read_as_text_and_numbers_and_lists_are_not():
    with pytest.raises(DataError, match="Int64"):
        NoteTable(pl.DataFrame({"report": [1, None]}))
    frame = pl.DataFrame({"findings": ["No edema."], "impression": [None]}, schema_overrides={"impression": pl.Float64})
    assert notes(NoteTable(frame, text=["findings", "impression"])) == ["FINDINGS:\nNo edema."]
    assert notes(NoteTable(pl.DataFrame({"report": pl.Series(["a"], dtype=pl.Categorical)}))) == ["a"]
    with pytest.raises(DataError, match="lists"):
        NoteTable(pl.DataFrame({"report": [["a"]]}))


def test_lazy_frames_have_no_count():
    table = NoteTable(pl.LazyFrame({"report": ["a", "b"]}))
    assert table.rows is None
    assert table.stamp() is None
    assert [b.share for b in table.batches(1)] == [0.0, 0.0]


def test_two_columns_of_one_name(tmp_path):
    (tmp_path / "t.csv").write_text("report,report\na,b\n")
    with pytest.raises(DataError, match="two columns"):
        NoteTable(tmp_path / "t.csv")


@pytest.mark.parametrize(("name", "content"), [("t.xlsx", b"x"), ("t.csv", b""), ("t.parquet", b"PAR1"), (".", None)])
def test_what_is_no_table(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        NoteTable(tmp_path / name)


def test_batches_do_not_show_notes():
    (batch,) = NoteTable(pl.DataFrame({"report": ["MARKER"], "id": ["MARKER"]}), unit="id").batches(5)
    assert "MARKER" not in repr(batch)


@pytest.mark.parametrize(
    "first",
    ['1,"MARKER effusion, left"', "MARKER-12345,No edema", "report one,MARKER no edema.", "MARKER 12/03/1950,b", "7,7"],
)
def test_a_first_row_that_is_no_header_is_never_told(tmp_path, first):
    path = tmp_path / "a.csv"
    path.write_text(f"{first}\n2,No edema\n")
    with pytest.raises(DataError, match="does not look like names of columns") as error:
        NoteTable(path)
    assert "MARKER" not in str(error.value)


@pytest.mark.parametrize("content", [b"\n", b"\xef\xbb\xbf", b"\r\n\r\n", b"sep=;\n"])
def test_a_file_without_a_line(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no line"):
        NoteTable(path)


@pytest.mark.parametrize("source", [{"report": ["a"]}, ["a"], None])
def test_what_is_no_table_is_named(source):
    with pytest.raises(DataError, match="a polars frame"):
        NoteTable(source)


@pytest.mark.parametrize("rows", ['report\nNo edema.\n"Small\neffusion\nNo edema.\n', 'report,id\na,1\n"b,2\nc,3'])
def test_a_quote_left_open_loses_no_rows_in_silence(tmp_path, rows):
    path = tmp_path / "a.csv"
    path.write_text(rows)
    with pytest.raises(DataError, match="line 3 ends with the file"):
        notes(NoteTable(path))


def test_a_last_line_without_an_end_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('report,id\na,1\n"b\nc",2')
    assert notes(NoteTable(path)) == ["a", "b\nc"]
