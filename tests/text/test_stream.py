import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

import aimed.text.stream as stream
from aimed.core import DataError, RefusedError
from aimed.text.labeller import ReportLabeller
from aimed.text.stream import label_stream

SENTENCES = (
    "Small left pleural effusion.",
    "No pneumothorax.",
    "Heart size is normal.",
    "Possible pneumonia at the right base.",
    "Moderate cardiomegaly without edema.",
    "The lungs are clear and the bones are intact.",
)


def reports(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(SENTENCES[i] for i in rng.integers(0, len(SENTENCES), 4)) for _ in range(n)]


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "reports.parquet"
    pl.DataFrame({"accession": [f"A{i}" for i in range(1000)], "report": reports(1000)}).write_parquet(path)
    return path


def bytes_of(done):
    return done.labels.read_bytes(), done.evidence.read_bytes()


class TestLabels:
    def test_are_those_of_the_labeller_in_order(self, archive, tmp_path):
        done = label_stream(archive, tmp_path / "out.parquet", unit="accession", batch=130)
        whole = ReportLabeller().label(pl.read_parquet(archive)["report"])
        got = pl.read_parquet(done.labels)
        assert got.columns == ["row", "id", "refusal", "flags", *whole.targets]
        assert got["row"].to_list() == list(range(1000))
        assert got["id"].to_list() == [f"A{i}" for i in range(1000)]
        np.testing.assert_array_equal(got.select(whole.targets).cast(pl.Float64).fill_null(np.nan), whole.values)
        assert done.reports == 1000
        assert done.findings["Pleural Effusion"]["present"] == (whole.values[:, 10] == 1).sum()
        assert done.findings["Pneumonia"]["uncertain"] == (whole.values[:, 7] == -1).sum()
        assert done.findings["Pneumothorax"]["absent"] == (whole.values[:, 9] == 0).sum()

    def test_evidence_points_into_the_report_of_its_row(self, archive, tmp_path):
        done = label_stream(archive, tmp_path / "out.parquet", unit="accession", batch=130)
        whole = ReportLabeller().label(pl.read_parquet(archive)["report"]).evidence
        got = pl.read_parquet(done.evidence)
        assert got.height == whole.height == done.mentions
        assert got["row"].to_list() == whole["report"].to_list()
        assert got["id"].to_list() == [f"A{i}" for i in whole["report"]]
        for name in ("target", "concept", "start", "end", "assertion", "rule", "decided"):
            assert got[name].to_list() == whole[name].cast(pl.String).to_list() or (
                got[name].to_list() == whole[name].to_list()
            )
        notes = pl.read_parquet(archive)["report"]
        effusion = got.filter(target="Pleural Effusion").row(0, named=True)
        assert "effusion" in notes[effusion["row"]][effusion["start"] : effusion["end"]]

    def test_of_a_csv_are_those_of_parquet(self, archive, tmp_path):
        table = tmp_path / "reports.csv"
        pl.read_parquet(archive).write_csv(table)
        a = label_stream(archive, tmp_path / "a.parquet", batch=300)
        b = label_stream(table, tmp_path / "b.parquet", batch=300)
        assert bytes_of(a) == bytes_of(b)

    def test_of_columns_of_sections(self, tmp_path):
        frame = pl.DataFrame(
            {
                "indication": ["Pneumonia?", None],
                "findings": ["No consolidation.", "Left pleural effusion."],
                "impression": ["Mild cardiomegaly.", ""],
            }
        )
        done = label_stream(frame, tmp_path / "out.parquet", text=["indication", "findings", "impression"])
        got = pl.read_parquet(done.labels)
        assert got["Consolidation"].to_list() == [0, None]
        assert got["Cardiomegaly"].to_list() == [1, None]
        assert got["Pleural Effusion"].to_list() == [None, 1]
        assert got["Pneumonia"].to_list() == [None, None]
        sections = pl.read_parquet(done.evidence).filter(target="Cardiomegaly")["section"].to_list()
        assert sections == ["impression"]

    def test_nih_targets_and_no_evidence(self, archive, tmp_path):
        done = label_stream(archive, tmp_path / "out.parquet", targets="nih", evidence=False)
        assert done.evidence is None
        assert done.mentions == 0
        assert "Pleural_Thickening" in pl.read_parquet_schema(done.labels)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out.parquet", "reports.parquet"]

    def test_of_no_reports(self, tmp_path):
        empty = pl.DataFrame({"id": [], "report": []}, schema={"id": pl.Int32, "report": pl.String})
        done = label_stream(empty, tmp_path / "out.parquet", unit="id")
        assert done.reports == 0
        assert pl.read_parquet(done.labels).height == 0
        assert pl.read_parquet_schema(done.labels)["id"] == pl.Int32
        assert pl.read_parquet(done.evidence).height == 0

    def test_without_any_mention_evidence_has_its_columns(self, archive, tmp_path):
        nothing = label_stream(pl.DataFrame({"report": ["Fine."] * 3}), tmp_path / "n.parquet")
        some = label_stream(archive, tmp_path / "s.parquet")
        assert pl.read_parquet_schema(nothing.evidence) == pl.read_parquet_schema(some.evidence)


class TestBadRows:
    def test_cost_themselves_only(self, tmp_path):
        path = tmp_path / "reports.csv"
        rows = [
            b"id,report",
            b"1,No pneumothorax.",
            b"2,",
            b"3,Kein Pleuraerguss und keine Infiltrate.",
            b"4,Effusion, which is unquoted, breaks the row",
            "5,Effusion of 5 µm – small.".encode("cp1252"),
            "6,Café: moderate cardiomegaly.".encode(),
            b"7,<p>Left pleural effusion.</p>",
            b"8,EFFUSION\x00\x00",
            b"9",
            b'10,"Findings:\nImpression:\n"',
            b"11,Left pleural effusion.",
        ]
        path.write_bytes(b"\r\n".join(rows) + b"\r\n")
        done = label_stream(path, tmp_path / "out.parquet", unit="id", batch=4)
        got = pl.read_parquet(done.labels)
        refused = dict(zip(got["row"].to_list(), got["refusal"].to_list(), strict=True))
        assert refused == {
            0: None,
            1: "empty",
            2: "not_english",
            3: "bad_row",
            4: None,
            5: None,
            6: None,
            7: None,
            8: "bad_row",
            9: "headings_only",
            10: None,
        }
        assert got["Pleural Effusion"].to_list() == [None, None, None, None, 1, None, 1, 1, None, None, 1]
        assert got["Cardiomegaly"].to_list()[5] == 1
        assert got["flags"][4] == "encoding_guessed"
        assert got["flags"][6] == "html"
        assert got["flags"][7] == "nul"
        assert done.refused == {"bad_row": 2, "empty": 1, "headings_only": 1, "not_english": 1}
        assert done.flagged["html"] == 1
        assert got["id"].to_list() == ["1", "2", "3", None, "5", "6", "7", "8", None, "10", "11"]

    def test_utf16_and_marked_utf8_files(self, tmp_path):
        text = "id;report\n1;Größe normal. Left pleural effusion.\n"
        for encoding in ("utf-16", "utf-8-sig"):
            path = tmp_path / f"{encoding}.csv"
            path.write_bytes(text.encode(encoding))
            done = label_stream(path, tmp_path / f"{encoding}.parquet", unit="id")
            got = pl.read_parquet(done.labels)
            assert got["id"].to_list() == ["1"]
            assert got["Pleural Effusion"].to_list() == [1]

    def test_a_report_of_10_mb(self, tmp_path):
        frame = pl.DataFrame({"report": ["No edema. " * 1_000_000, "Left pleural effusion.", None]})
        frame.write_csv(tmp_path / "big.csv")
        done = label_stream(tmp_path / "big.csv", tmp_path / "out.parquet", evidence=False)
        got = pl.read_parquet(done.labels)
        assert got["Edema"].to_list()[:2] == [0, None]
        assert got["Pleural Effusion"].to_list()[:2] == [None, 1]

    def test_bytes_in_a_column(self, tmp_path):
        frame = pl.DataFrame({"report": [b"No edema.", "Größe: no edema.".encode("cp1252"), b"%PDF-1.7 x"]})
        got = pl.read_parquet(label_stream(frame, tmp_path / "out.parquet").labels)
        assert got["Edema"].to_list() == [0, 0, None]
        assert got["refusal"].to_list() == [None, None, "binary"]
        assert got["flags"].to_list()[1] == "encoding_guessed"

    def test_a_report_the_labeller_cannot_deal_with(self, tmp_path, monkeypatch):
        real = ReportLabeller()

        class Fragile:
            targets = real.targets
            lexicon = real.lexicon

            def label(self, notes):
                if any("MARKER" in note for note in notes):
                    raise ValueError("MARKER is what the note says")
                return real.label(notes)

        monkeypatch.setattr(stream, "_labeller", lambda *_: Fragile())
        notes = reports(50)
        notes[17] = "MARKER"
        notes[44] = "No MARKER."
        done = label_stream(pl.DataFrame({"report": notes}), tmp_path / "out.parquet", batch=30)
        got = pl.read_parquet(done.labels)
        assert done.refused == {"failed": 2}
        assert got.filter(refusal="failed")["row"].to_list() == [17, 44]
        left = [i for i in range(50) if i not in (17, 44)]
        whole = real.label(notes)
        np.testing.assert_array_equal(
            got[left].select(real.targets).cast(pl.Float64).fill_null(np.nan), whole.values[left]
        )
        rows = pl.read_parquet(done.evidence)["row"].to_list()
        assert rows == [i for i in whole.evidence["report"].to_list() if i not in (17, 44)]


class TestProcesses:
    @pytest.mark.slow
    def test_give_the_same_bytes(self, archive, tmp_path):
        one = label_stream(archive, tmp_path / "one.parquet", unit="accession", batch=90)
        two = label_stream(archive, tmp_path / "two.parquet", unit="accession", batch=90, n_jobs=2)
        again = label_stream(archive, tmp_path / "again.parquet", unit="accession", batch=90)
        assert bytes_of(one) == bytes_of(two) == bytes_of(again)

    def test_one_that_dies_is_told_and_work_is_kept(self, archive, tmp_path, monkeypatch):
        class Deadly:
            digest = ""

            def __reduce__(self):
                return os._exit, (3,)

        labeller = ReportLabeller()
        labeller.lexicon = Deadly()
        monkeypatch.setattr(stream, "_labeller", lambda *_: labeller)
        with pytest.raises(RefusedError, match="goes on where it stopped"):
            label_stream(archive, tmp_path / "out.parquet", batch=90, n_jobs=2)
        assert not (tmp_path / "out.parquet").exists()


SCRIPT = """
import sys
from aimed.text.stream import label_stream
if __name__ == "__main__":
    label_stream(sys.argv[1], sys.argv[2], batch=50, unit="accession", progress=lambda s, t: print(t, flush=True))
"""


class TestStopping:
    def test_a_killed_call_goes_on(self, tmp_path):
        source, target = tmp_path / "r.parquet", tmp_path / "out.parquet"
        frame = pl.DataFrame({"accession": range(4000), "report": reports(4000)})
        frame.write_parquet(source)
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, source, target], stdout=subprocess.PIPE, text=True)
        for _ in range(8):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert not target.exists()
        done = label_stream(source, target, batch=50, unit="accession")
        assert 400 <= done.resumed < 4000
        fresh = label_stream(source, tmp_path / "fresh.parquet", batch=50, unit="accession")
        assert fresh.resumed == 0
        assert bytes_of(done) == bytes_of(fresh)
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]

    def interrupt(self, source, target, **options):
        def stop(share, text):
            if share > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            label_stream(source, target, batch=100, progress=stop, **options)

    @pytest.mark.parametrize("change", [{"targets": "nih"}, {"unit": "accession"}, {"batch": 99}, {"evidence": False}])
    def test_another_setting_begins_anew(self, archive, tmp_path, change):
        self.interrupt(archive, tmp_path / "out.parquet")
        assert label_stream(archive, tmp_path / "out.parquet", **{"batch": 100, **change}).resumed == 0

    def test_another_source_begins_anew_and_the_same_goes_on(self, archive, tmp_path):
        target = tmp_path / "out.parquet"
        self.interrupt(archive, target)
        os.utime(archive, (time.time() + 5, time.time() + 5))
        assert label_stream(archive, target, batch=100).resumed == 0
        self.interrupt(archive, target)
        assert label_stream(archive, target, batch=100).resumed == 600

    @pytest.mark.parametrize("harm", ["labels cut", "labels empty", "evidence gone", "evidence cut"])
    def test_a_batch_that_is_not_whole_is_done_again(self, archive, tmp_path, harm):
        target = tmp_path / "out.parquet"
        self.interrupt(archive, target)
        kind, what = harm.split()
        part = tmp_path / ".out.parquet.draft" / f"{kind}-00000001.parquet"
        if what == "gone":
            part.unlink()
        else:
            part.write_bytes(part.read_bytes()[: 100 if what == "cut" else 0])
        done = label_stream(archive, target, batch=100)
        assert done.resumed == 500
        assert bytes_of(done) == bytes_of(label_stream(archive, tmp_path / "fresh.parquet", batch=100))

    def test_a_full_disk_is_told_and_work_is_kept(self, archive, tmp_path):
        resource = pytest.importorskip("resource")
        before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        target = tmp_path / "out.parquet"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (14_000, before[1]))
            with pytest.raises(DataError, match="could not be written"):
                label_stream(archive, target, batch=50)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert not target.exists()
        assert label_stream(archive, target, batch=50).resumed == 1000

    def test_older_labels_stay_until_new_ones_are_whole(self, archive, tmp_path):
        target = tmp_path / "out.parquet"
        before = bytes_of(label_stream(archive, target))
        self.interrupt(archive, target, targets="nih")
        assert (target.read_bytes(), (tmp_path / "out.evidence.parquet").read_bytes()) == before

    def test_what_waits_on_disk_holds_no_text(self, tmp_path):
        source = tmp_path / "r.csv"
        with source.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["report"])
            writer.writerows([[f"Mrs ZYXMARKER {i}. {note}"] for i, note in enumerate(reports(500))])
        self.interrupt(source, tmp_path / "out.parquet")
        waiting = [p for p in (tmp_path / ".out.parquet.draft").rglob("*") if p.is_file()]
        assert len(waiting) > 4
        assert (tmp_path / ".out.parquet.draft").stat().st_mode & 0o077 == 0
        for path in waiting:
            assert b"ZYXMARKER" not in path.read_bytes()
            assert b"r.csv" not in path.read_bytes()


class TestRefusals:
    def test_name_the_column_and_never_the_file_or_a_cell(self, tmp_path):
        path = tmp_path / "SMITH.csv"
        path.write_text("id,reports\n1,MARKER text\n")
        with pytest.raises(DataError, match="did you mean 'reports'") as error:
            label_stream(path, tmp_path / "out.parquet")
        assert "SMITH" not in str(error.value)
        assert "MARKER" not in str(error.value)
        with pytest.raises(DataError) as error:
            label_stream(tmp_path / "JONES.csv", tmp_path / "out.parquet")
        assert "JONES" not in str(error.value)

    def test_a_quote_that_is_never_closed(self, tmp_path, monkeypatch):
        import aimed.readers.note_table as note_table

        monkeypatch.setattr(note_table, "LONGEST", 50_000)
        path = tmp_path / "a.csv"
        path.write_text('report\nNo edema.\n"MARKER never closed ' + "No effusion.\n" * 40_000)
        with pytest.raises(DataError, match="a quote that is never closed") as error:
            label_stream(path, tmp_path / "out.parquet")
        assert "MARKER" not in str(error.value)
        assert not (tmp_path / "out.parquet").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_jobs": 0}, "n_jobs"),
            ({"batch": 0}, "batches of 0"),
            ({"text": []}, "no column of text"),
            ({"targets": "chexprt"}, "chexpert"),
            ({"lexicon": "chest"}, "chest-xray"),
        ],
    )
    def test_of_settings(self, archive, tmp_path, options, message):
        with pytest.raises(Exception, match=message):
            label_stream(archive, tmp_path / "out.parquet", **options)
        assert not (tmp_path / "out.parquet").exists()

    def test_of_paths(self, archive, tmp_path):
        with pytest.raises(DataError, match="would replace the reports"):
            label_stream(archive, archive)
        with pytest.raises(DataError, match="one file"):
            label_stream(archive, tmp_path / "a.parquet", evidence=tmp_path / "a.parquet")
        with pytest.raises(DataError, match=r"\.parquet"):
            label_stream(archive, tmp_path / "a.csv")
        broken = tmp_path / "broken.parquet"
        broken.write_bytes(archive.read_bytes()[:1000])
        with pytest.raises(DataError, match="whole file"):
            label_stream(broken, tmp_path / "a.parquet")

    def test_show_no_path_of_a_file(self, archive, tmp_path):
        done = label_stream(archive, tmp_path / "MARKER.parquet")
        assert "MARKER" not in repr(done)
        assert "MARKER" not in str(done.to_dict())


def test_progress_holds_counts_only_and_never_goes_back(archive, tmp_path):
    told = []
    label_stream(archive, tmp_path / "o.parquet", batch=100, progress=lambda share, text: told.append((share, text)))
    assert [text for _, text in told][:2] == ["100 reports", "200 reports"]
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


PEAK = """
import sys, resource
from aimed.text.stream import label_stream
label_stream(sys.argv[1], sys.argv[2], batch=2000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_memory_does_not_grow_with_the_archive(tmp_path, kind):
    peaks = []
    for times in (1, 10):
        source = tmp_path / f"{times}.{kind}"
        frame = pl.DataFrame({"report": reports(20_000) * times})
        frame.write_parquet(source, row_group_size=20_000) if kind == "parquet" else frame.write_csv(source)
        out = subprocess.run(
            [sys.executable, "-c", PEAK, source, tmp_path / f"o{times}.parquet"],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(out.stdout))
    assert peaks[1] < peaks[0] + 120, f"{peaks} MB for 20,000 and 200,000 reports"


def test_evidence_may_be_none(archive, tmp_path):
    assert label_stream(archive, tmp_path / "out.parquet", evidence=None).evidence is None


def test_ids_that_are_python_objects_are_named(tmp_path):
    frame = pl.DataFrame({"report": ["No edema."], "id": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(DataError, match="'id' holds Python objects"):
        label_stream(frame, tmp_path / "out.parquet", unit="id")
