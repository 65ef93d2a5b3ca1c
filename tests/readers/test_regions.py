"""Boxes and masks: found by name, brought into the frame of the model, and refused without showing a cell."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
from PIL import Image

from aimed.core import DataError
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_files import ImageFile
from aimed.readers.image_set import ImageSet
from aimed.readers.regions import PATTERNS, read_boxes, read_masks

FINDINGS = ["Nodule", "Pleural effusion"]


def pictures(folder, names, shape=(80, 40), size=16):
    files = []
    for k, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", shape[::-1], 40 + k).save(path)
        files.append(ImageFile(path))
    return ImageSet(ImageCache.build(files, folder / "cache", size=size), files)


def table(folder, text, name="boxes.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


GENERIC = "image,finding,x,y,width,height\n"


def test_boxes_are_brought_into_the_frame(tmp_path):
    """80 x 40 in a frame of 16: a fifth of the scale, four columns from the left."""
    images = pictures(tmp_path, ["a.png", "b.png"])
    regions = read_boxes(
        table(tmp_path, GENERIC + "b.png,nodule,10,20,20,10\nb.png,Nodule,0,70,5,10\n"), images, FINDINGS
    )
    mask = regions.mask(1, "Nodule")
    assert mask.shape == (16, 16)
    wanted = np.zeros((16, 16), dtype=bool)
    wanted[4:6, 6:10] = True
    wanted[14:16, 4] = True
    np.testing.assert_array_equal(mask, wanted)
    assert regions.mask(0, "Nodule") is None
    assert regions.mask(1, "Pleural effusion") is None
    assert regions.rows("Nodule").tolist() == [1]
    assert regions.findings == ("Nodule",)
    assert regions.counts == {"Nodule": 1}


def test_a_box_smaller_than_a_pixel_keeps_one(tmp_path):
    images = pictures(tmp_path, ["a.png"])
    regions = read_boxes(table(tmp_path, GENERIC + "a.png,Nodule,21,41,1,1\n"), images, FINDINGS)
    assert np.argwhere(regions.mask(0, "Nodule")).tolist() == [[8, 8]]


def test_the_header_of_nih_is_read_as_it_is(tmp_path):
    images = pictures(tmp_path, ["images/00013118_008.png", "images/00014716_007.png"], shape=(1024, 1024))
    text = (
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00013118_008.png,Atelectasis,225.08,547.01,86.77,79.18\n"
        "00014716_007.png,Infiltrate,686.1,131.5,185.4,313.4\n"
        "00099999_000.png,Atelectasis,1,1,2,2\n"
        "00013118_008.png,Fibrosis,1,1,2,2\n"
    )
    path = tmp_path / "BBox_List_2017.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    regions = read_boxes(path, images, ["atelectasis", "infiltration"], names={"Infiltrate": "infiltration"})
    assert regions.counts == {"atelectasis": 1, "infiltration": 1}
    assert regions.unmatched == {"images": 1, "findings": 1}
    # 1024 to 16: 64 pixels each.
    assert np.argwhere(regions.mask(0, "atelectasis")).tolist() == [[9, 4]]
    assert regions.mask(1, "infiltration")[2:7, 11:14].all()


def test_the_boxes_of_nih(tmp_path, shared_data):
    boxes = shared_data("nih_metadata", "BBox_List_2017.csv.gz")
    """984 boxes, as published; the picture of the first stands in for all."""
    with gzip.open(boxes, "rt") as file:
        lines = file.read().splitlines()[1:]
    assert len(lines) == 984
    name = lines[0].split(",")[0]
    images = pictures(tmp_path, [name], shape=(1024, 1024), size=32)
    regions = read_boxes(boxes, images, ["Atelectasis", "Cardiomegaly"])
    own = [line.split(",") for line in lines if line.startswith(name)]
    assert regions.counts == {"Atelectasis": sum(cells[1] == "Atelectasis" for cells in own)}
    w, h = (float(v) for v in own[0][4:6])
    assert regions.mask(0, "Atelectasis").sum() == pytest.approx(w * h / 32**2, rel=0.35)


def test_pictures_are_found_by_as_much_of_their_path_as_the_table_gives(tmp_path):
    images = pictures(tmp_path, ["p1/01.png", "p2/01.png", "p2/02.png"])
    regions = read_boxes(
        table(tmp_path, GENERIC + "p2/01.png,Nodule,0,0,40,80\np2\\02,Nodule,0,0,40,80\n"), images, FINDINGS
    )
    assert regions.rows("Nodule").tolist() == [1, 2]
    with pytest.raises(DataError, match=r"1 values of column 'image' of boxes.csv fit several pictures") as caught:
        read_boxes(table(tmp_path, GENERIC + "01.png,Nodule,0,0,40,80\n"), images, FINDINGS)
    assert "01.png" not in str(caught.value)


def test_semicolons_tabs_and_a_mark_of_the_encoding(tmp_path):
    images = pictures(tmp_path, ["a.png"])
    for sign in ";\t":
        text = ("\ufeff" + GENERIC + "a.png,Nodule,0,0,40,80\n").replace(",", sign)
        assert read_boxes(table(tmp_path, text), images, FINDINGS).counts == {"Nodule": 1}


def test_boxes_drawn_on_pictures_of_another_size(tmp_path):
    images = pictures(tmp_path, ["a.png"])
    path = table(tmp_path, GENERIC + "a.png,Nodule,0,0,400,800\n")
    with pytest.raises(DataError, match=r"1 boxes of boxes.csv lie outside their pictures"):
        read_boxes(path, images, FINDINGS)
    regions = read_boxes(path, images, FINDINGS, drawn_on=(800, 400))
    assert regions.mask(0, "Nodule").sum() == 16 * 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,finding,x,y,width\na.png,Nodule,1,1,2\n", "no column 'height'"),
        ("", "no column 'image'"),
        (GENERIC + "a.png,Nodule,1,1,SECRET,2\n", "1 values of column 'width'"),
        (GENERIC + "a.png,Nodule,1,1,-3,2\n", "1 values of column 'width'"),
        (GENERIC + "a.png,Nodule,nan,1,3,2\n", "1 values of column 'x'"),
        (GENERIC + "a.png,Nodule,1\n", "values of column 'y'"),
        (GENERIC + "SECRET.png,Nodule,1,1,3,2\n", "no row of boxes.csv fits the study: 1 name none of its pictures"),
        (GENERIC + "a.png,SECRET,1,1,3,2\n", "1 none of its findings"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_without_its_cells(tmp_path, text, says):
    images = pictures(tmp_path, ["a.png"])
    with pytest.raises(DataError, match=says) as caught:
        read_boxes(table(tmp_path, text), images, FINDINGS)
    assert "SECRET" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_files_that_are_no_tables(tmp_path):
    images = pictures(tmp_path, ["a.png"])
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path / "gone.csv", images, FINDINGS)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"image" * 50)[:20])
    with pytest.raises(DataError, match="no text"):
        read_boxes(tmp_path / "b.csv.gz", images, FINDINGS)
    (tmp_path / "c.csv.gz").write_bytes(b"image,finding")
    with pytest.raises(DataError, match=r"cannot be read|no text"):
        read_boxes(tmp_path / "c.csv.gz", images, FINDINGS)
    with pytest.raises(DataError, match="there is no finding 'x'"):
        read_boxes(table(tmp_path, GENERIC), images, FINDINGS, names={"y": "x"})


def test_taken_pictures_take_their_regions_along(tmp_path):
    images = pictures(tmp_path, ["a.png", "b.png", "c.png"])
    regions = read_boxes(
        table(tmp_path, GENERIC + "a.png,Nodule,0,0,40,80\nc.png,Nodule,0,0,40,40\n"), images, FINDINGS
    )
    part = regions.take([2, 1])
    assert len(part) == 2
    assert part.rows("Nodule").tolist() == [0]
    np.testing.assert_array_equal(part.mask(0, "Nodule"), regions.mask(2, "Nodule"))
    assert regions.take(np.array([False, True, True])).rows("Nodule").tolist() == [1]


# ---------------------------------------------------------------------------------------------------------------- masks


def drawn(path, shape=(80, 40), box=(20, 10, 40, 30), bright=255):
    field = np.zeros(shape, dtype=np.uint8)
    field[box[0] : box[2], box[1] : box[3]] = bright
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(field).save(path)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_masks_are_found_by_any_usual_name(tmp_path, pattern):
    images = pictures(tmp_path, ["dicom/p1/01.png", "dicom/p2/02.png"])
    drawn(tmp_path / "masks" / pattern.format(parent="p2", stem="02", finding="Nodule"))
    regions = read_masks(tmp_path / "masks", images, FINDINGS)
    assert regions.rows("Nodule").tolist() == [1]
    wanted = np.zeros((16, 16), dtype=bool)
    wanted[4:8, 6:10] = True
    np.testing.assert_array_equal(regions.mask(1, "Nodule"), wanted)


@pytest.mark.parametrize(("shape", "box"), [((80, 40), (20, 10, 40, 30)), ((240, 120), (60, 30, 120, 90))])
@pytest.mark.parametrize("bright", [1, 255])
def test_masks_may_be_of_0_and_1_and_of_another_scale(tmp_path, shape, box, bright):
    images = pictures(tmp_path, ["a.png"])
    drawn(tmp_path / "m" / "a.Nodule.png", shape, box, bright)
    mask = read_masks(tmp_path / "m", images, FINDINGS).mask(0, "Nodule")
    assert np.argwhere(mask).min(axis=0).tolist() == [4, 6]
    assert mask.sum() == 16


def test_a_tiny_lesion_keeps_a_pixel_and_an_empty_mask_is_none(tmp_path):
    images = pictures(tmp_path, ["a.png", "b.png"])
    drawn(tmp_path / "m" / "a.Nodule.png", box=(41, 21, 42, 22))
    drawn(tmp_path / "m" / "b.Nodule.png", box=(0, 0, 0, 0))
    regions = read_masks(tmp_path / "m", images, FINDINGS)
    assert np.argwhere(regions.mask(0, "Nodule")).tolist() == [[8, 8]]
    assert regions.mask(1, "Nodule") is None


def test_masks_that_cannot_be_used_are_counted_by_code(tmp_path):
    images = pictures(tmp_path, ["a.png", "b.png", "c.png"])
    drawn(tmp_path / "m" / "a.Nodule.png", shape=(40, 80))
    (tmp_path / "m" / "b.Nodule.png").write_bytes(b"")
    drawn(tmp_path / "m" / "c.Nodule.png")
    regions = read_masks(tmp_path / "m", images, FINDINGS)
    assert [regions.mask(row, "Nodule") is None for row in range(3)] == [True, True, False]
    assert regions.refused == {"OTHER_SHAPE": 1, "EMPTY": 1}


def test_masks_stay_in_their_folder_and_to_themselves(tmp_path):
    images = pictures(tmp_path, ["p1/01.png", "p2/01.png"])
    with pytest.raises(DataError, match="no such folder"):
        read_masks(tmp_path / "gone", images, FINDINGS)
    drawn(tmp_path / "m" / "01.Nodule.png")
    with pytest.raises(DataError, match="two pictures share a mask"):
        read_masks(tmp_path / "m", images, FINDINGS)
    shutil.rmtree(tmp_path / "m")
    (tmp_path / "m").mkdir()
    drawn(tmp_path / "elsewhere.png")
    (tmp_path / "m" / "p1_01.Nodule.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(DataError, match="the folder holds no mask of the 2 pictures"):
        read_masks(tmp_path / "m", images, FINDINGS)
    with pytest.raises(DataError, match="pattern of mask names"):
        read_masks(tmp_path / "m", images, FINDINGS, pattern="{stem}.png")
    with pytest.raises(DataError, match="pattern of mask names"):
        read_masks(tmp_path / "m", images, FINDINGS, pattern="{stem}.{finding}.{0}.png")


def test_a_pattern_may_end_the_folder(tmp_path):
    images = pictures(tmp_path, ["p1/01.png"])
    drawn(tmp_path / "m" / "p1" / "Nodule-01.png")
    regions = read_masks(f"{tmp_path}/m/{{parent}}/{{finding}}-{{stem}}.png", images, FINDINGS)
    assert regions.findings == ("Nodule",)


def test_masks_of_phantoms_lie_where_their_pictures_do(tmp_path):
    pytest.importorskip("pydicom", reason="needs pydicom: pip install 'aimed[imaging]'")
    from aimed.synthetic.chest_study import write_study

    plan = write_study(tmp_path / "s", 4, size=64, seed=2, prevalence=0.6)
    files = [ImageFile(tmp_path / "s" / one.path) for one in plan]
    images = ImageSet(ImageCache.build(files, tmp_path / "cache", size=32), files)
    findings = ["effusion", "nodule", "pneumothorax", "cardiomegaly", "consolidation"]
    regions = read_masks(tmp_path / "s" / "masks", images, findings)
    for name in findings:
        assert regions.rows(name).tolist() == [row for row, one in enumerate(plan) if name in one.findings]
    row, name = next((row, one.findings[0]) for row, one in enumerate(plan) if one.findings)
    with Image.open(tmp_path / "s" / plan[row].mask_path(name)) as file:
        whole = np.asarray(file) > 0
    share = whole.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    mask = regions.mask(row, name)
    assert mask[share == 1].mean() > 0.95
    assert not mask[share == 0].any()
