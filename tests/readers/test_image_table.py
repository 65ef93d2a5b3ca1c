"""Tables and folders that point at pictures: every path stays inside, every row keeps its file."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import polars as pl
import pytest

pytest.importorskip("PIL", reason="the imaging extra is not installed")
from PIL import Image

from aimed.core import DataError
from aimed.core.image import ImageRefused
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import ImageFile, find_images
from aimed.readers.image_table import FACTS, image_columns, read_image_table
from aimed.readers.radiograph import read_radiograph
from aimed.readers.table import read_table


def png(seed=0):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 16)).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "study").mkdir(parents=True)
    (root / "a.png").write_bytes(png(1))
    (root / "study" / "frontal.png").write_bytes(png(2))
    (root / "study" / "lateral.png").write_bytes(png(3))
    (tmp_path / "secret.png").write_bytes(png(4))
    with zipfile.ZipFile(root / "series.zip", "w") as archive:
        archive.writestr("s/1.png", png(5))
        archive.writestr("s/2.png", png(6))
        archive.writestr("notes.txt", "text")
        archive.writestr("__MACOSX/s/._1.png", "x")
    return root


def table(folder, *paths):
    pl.DataFrame({"patient": [f"p{k}" for k in range(len(paths))], "image": list(paths)}).write_csv(folder / "t.csv")
    return read_image_table(folder / "t.csv")


def test_rows_become_files(folder):
    found = table(folder, "a.png", "study", "series.zip", "series.zip/s/2.png", "study\\frontal.png", "gone.png", None)
    assert found.frame["patient"].to_list() == ["p0", "p1", "p1", "p2", "p2", "p3", "p4", "p5", "p6"]
    names = [file.member or file.path.name for file in found.files[:7]]
    assert names == ["a.png", "frontal.png", "lateral.png", "s/1.png", "s/2.png", "s/2.png", "frontal.png"]
    assert found.refused == {"MISSING": 2}
    np.testing.assert_array_equal(read_radiograph(found.files[4]).pixels, read_radiograph(found.files[5]).pixels)


def test_paths_stay_inside(folder, tmp_path):
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path)
    paths = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "up/secret.png", "study/../../secret.png"]
    found = table(folder, "a.png", *paths, str(folder / "a.png"), "study/../a.png")
    assert [file.refusal for file in found.files] == [None, *["OUTSIDE"] * 5, None, None]
    for file in found.files[1:6]:
        with pytest.raises(ImageRefused) as caught:
            file.read()
        assert "secret" not in str(caught.value)
    assert [file.refusal for file in find_images(folder) if file.path.name == "link.png"] == ["OUTSIDE"]


def test_tables_that_cannot_work_say_why(folder):
    table(folder, "a.png")
    with pytest.raises(DataError, match="did you mean 'image'"):
        read_image_table(folder / "t.csv", image="imgae")
    with pytest.raises(DataError, match="none of the 2 pictures"):
        table(folder, "x.png", "y.png")
    with pytest.raises(DataError, match="has no folder"):
        read_image_table(pl.DataFrame({"image": ["a.png"]}))
    assert not read_image_table(pl.DataFrame({"image": ["a.png"]}), folder=folder).refused


def test_folders_and_archives_are_listed(folder, tmp_path):
    (folder / ".hidden.png").write_bytes(png())
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / "t.csv").write_text("a,b\n")
    names = [file.member or file.path.name for file in find_images(folder)]
    assert names == ["a.png", "s/1.png", "s/2.png", "frontal.png", "lateral.png"]
    assert [file.member for file in find_images(folder / "series.zip")] == ["s/1.png", "s/2.png"]
    assert len(find_images(folder / "a.png")) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        find_images(tmp_path / "empty")


def code_of(file):
    with pytest.raises(ImageRefused) as caught:
        file.read()
    return caught.value.code


def test_bad_archives_are_refused(folder):
    bomb = folder / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("b.png", "w") as member:
        for _ in range(80):
            member.write(bytes(2**20))
    assert code_of(find_images(bomb)[0]) == "ZIP_BOMB"
    assert code_of(ImageFile(folder / "series.zip", "none.png")) == "MISSING"
    whole = (folder / "series.zip").read_bytes()
    (folder / "bad.zip").write_bytes(whole.replace(png(5)[60:70], bytes(10)))
    assert code_of(ImageFile(folder / "bad.zip", "s/1.png")) == "TRUNCATED"
    (folder / "cut.zip").write_bytes(whole[:-60])
    assert code_of(ImageFile(folder / "cut.zip", "s/1.png")) == "TRUNCATED"
    # A size that lies gains nothing: no more than it says is read.
    at = whole.index(b"PK\x01\x02") + 24
    (folder / "lies.zip").write_bytes(whole[:at] + b"\x10\0\0\0" + whole[at + 4 :])
    assert code_of(ImageFile(folder / "lies.zip", "s/1.png")) == "TRUNCATED"


def test_what_files_say_becomes_columns(folder, dicom, ramp, tmp_path):
    (folder / "d.dcm").write_bytes(
        dicom(ramp, bits=12, ViewPosition="AP", KVP="110", PixelSpacing=[0.2, 0.2], BurnedInAnnotation="NO")
    )
    (folder / "bad.png").write_bytes(b"")
    found = table(folder, "d.dcm", "a.png", "bad.png", "d.dcm")
    cache = ImageCache.build(found.files, tmp_path / "cache", size=16)
    frame = image_columns(found.frame, cache)
    assert [c for c in frame.columns if c.startswith("image_")] == [f"image_{name}" for name in FACTS]
    assert frame["image_view"].to_list() == ["AP", None, None, "AP"]
    assert frame["image_refused"].to_list() == ["no", "no", "EMPTY", "no"]
    assert frame["image_burned_in"].to_list() == ["no", None, None, "no"]
    assert frame["image_spacing"].to_list() == [0.2, None, None, 0.2]
    assert frame["image_rows"].to_list() == [48, 20, None, 48]
    cohort = read_table(
        frame,
        patient="patient",
        predictors=["image_kvp"],
        descriptors=["image_view"],
        include=["image_refused == 'no'"],
    )
    assert cohort.n == 3
    assert cohort.column("image_kvp").tolist()[0] == 110.0
    with pytest.raises(DataError, match="already"):
        image_columns(frame, cache)
    with pytest.raises(DataError, match="one picture a row"):
        image_columns(found.frame[:2], cache)


def test_the_real_table(shared_data, tmp_path):
    found = read_image_table(shared_data("cxr_320", "nih_join.csv"), image="file")
    assert not found.refused
    assert len(found.files) == found.frame.height == 1000
    cache = ImageCache.build(found.files[:40], tmp_path / "cache", size=64)
    assert not cache.refused
