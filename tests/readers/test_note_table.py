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


def test_numbers_and_categories_are_read_as_text_and_lists_are_not():
    assert notes(NoteTable(pl.DataFrame({"report": [1, None]}))) == ["1", None]
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
