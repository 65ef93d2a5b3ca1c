"""Lists of scans in four layouts give the same cases, and what is wrong with a case is said when it is read."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

pytest.importorskip("nibabel", reason="the imaging extra is not installed")

from aimed.core import DataError
from aimed.core.volume import Volume, VolumeRefused
from aimed.readers import READERS
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_cache import VolumeCache
from aimed.readers.volume_table import VolumeCase, read_volume, read_volume_table

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
CHANNELS = ("FLAIR", "T1w")
LABELS = {0: "background", 1: "edema", 2: "core"}


def scan(value, channels=0, affine=AFFINE):
    shape = (channels, 3, 4, 5) if channels else (3, 4, 5)
    base = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Volume(array=base + np.int16(value), affine=affine)


def put(volume, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(volume, path)


def mask(seed=0, high=3, affine=AFFINE):
    rng = np.random.default_rng(seed)
    return Volume(array=rng.integers(0, high, (3, 4, 5), dtype=np.uint8), affine=affine, labels=True)


def decathlon(folder):
    for k in range(3):
        put(scan(k, channels=2), folder / f"imagesTr/case_{k}.nii.gz")
        put(mask(k), folder / f"labelsTr/case_{k}.nii.gz")
    put(scan(9, channels=2), folder / "imagesTs/case_9.nii.gz")
    record = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "edema", "2": "core"},
        "training": [
            {"image": f"./imagesTr/case_{k}.nii.gz", "label": f"./labelsTr/case_{k}.nii.gz"} for k in range(3)
        ],
        "test": ["./imagesTs/case_9.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(record))
    return record


def nnunet(folder):
    for k in range(3):
        for c in range(2):
            put(Volume(array=scan(k, 2).array[c], affine=AFFINE), folder / f"imagesTr/case_{k}_{c:04d}.nii.gz")
        put(mask(k), folder / f"labelsTr/case_{k}.nii.gz")
    (folder / "imagesTr/._case_0_0000.nii.gz").write_bytes(b"junk of another system")
    record = {
        "channel_names": {"0": "FLAIR", "1": "T1w"},
        "labels": {"background": 0, "edema": 1, "core": 2, "whole": [1, 2]},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(record))


def bids(folder):
    for k in range(3):
        stem = f"sub-{k:02d}/ses-a/anat/sub-{k:02d}_ses-a"
        for c, name in enumerate(CHANNELS):
            put(Volume(array=scan(k, 2).array[c], affine=AFFINE), folder / f"{stem}_{name}.nii.gz")
        put(mask(k), folder / f"derivatives/manual/{stem}_dseg.nii.gz")
        (folder / f"derivatives/manual/{stem}_dseg.tsv").write_text("index\tname\n1\tedema\n2\tcore\n")
    (folder / "dataset_description.json").write_text("{}")
    (folder / "participants.tsv").write_text("participant_id\tage\nsub-00\t50\nsub-02\t70\n")


def table(folder):
    rows = []
    for k in range(3):
        for c, name in enumerate(CHANNELS):
            put(Volume(array=scan(k, 2).array[c], affine=AFFINE), folder / f"scans/{k}_{name}.nii")
        put(mask(k), folder / f"masks/{k}.nii.gz")
        rows.append({"person": f"p{k // 2}", **{n: f"scans/{k}_{n}.nii" for n in CHANNELS}, "m": f"masks/{k}.nii.gz"})
    pl.DataFrame(rows).write_csv(folder / "list.csv")


LAYOUTS = {
    "decathlon": (decathlon, "dataset.json", {}),
    "decathlon folder": (decathlon, "", {}),
    "nnunet": (nnunet, "", {}),
    "bids": (bids, "", {"mask": "dseg"}),
    "table": (table, "list.csv", {"images": {n: n for n in CHANNELS}, "mask": "m", "labels": LABELS}),
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_four_layouts_give_the_same_cases(tmp_path, layout):
    make, name, how = LAYOUTS[layout]
    make(tmp_path)
    found = read_volume_table(tmp_path / name, **how)
    assert found.channels == CHANNELS
    assert dict(found.labels) == LABELS
    assert found.refused == {}
    assert found.frame.height == len(found.cases)
    for k in range(3):
        case = found.cases[k]
        image = case.read()
        assert image.channels == CHANNELS
        assert np.array_equal(image.array, scan(k, 2).array)
        assert np.array_equal(case.read_mask(image).array, mask(k).array)
        assert case.read_mask().labels


def test_scans_without_masks_and_patients_that_are_not_named(tmp_path):
    decathlon(tmp_path)
    found = read_volume_table(tmp_path)
    assert found.frame["part"].to_list() == ["training"] * 3 + ["test"]
    assert found.cases[3].read().shape == (2, 3, 4, 5)
    with pytest.raises(VolumeRefused, match="MISSING"):
        found.cases[3].read_mask()
    assert "does not name patients" in found.notes[0]


def test_people_of_a_bids_folder(tmp_path):
    bids(tmp_path)
    found = read_volume_table(tmp_path, channels=("T1w",), mask="dseg")
    assert found.frame["patient"].to_list() == ["sub-00", "sub-01", "sub-02"]
    assert found.frame["session"].to_list() == ["a"] * 3
    assert found.frame["age"].to_list() == ["50", None, "70"]  # typed when the table is read
    assert found.cases[0].read().channels == ("T1w",)
    put(scan(1), tmp_path / "sub-00/ses-a/anat/sub-00_ses-a_ce-gd_T1w.nii.gz")
    put(scan(1), tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_run-2_FLAIR.nii.gz")
    more = read_volume_table(tmp_path)
    assert more.channels == ("FLAIR", "T1gd", "T1w")
    assert more.refused == {"MISSING": 1, "MIXED": 1}
    with pytest.raises(VolumeRefused, match="T1gd"):
        more.cases[2].read()
    with pytest.raises(DataError, match="did you mean 'FLAIR'"):
        read_volume_table(tmp_path, channels=("FLAIRR",))


def test_masks_that_do_not_fit(tmp_path):
    record = decathlon(tmp_path)
    flipped = AFFINE @ np.diag([-1.0, 1, 1, 1])
    put(mask(0, affine=flipped), tmp_path / "labelsTr/case_0.nii.gz")
    put(mask(1, high=7), tmp_path / "labelsTr/case_1.nii.gz")
    put(Volume(array=np.zeros((3, 4, 6), np.uint8), affine=AFFINE), tmp_path / "labelsTr/case_2.nii.gz")
    cases = read_volume_table(tmp_path).cases
    for case, words in zip(cases, ("directions: RPS and LPS", "4 values are not declared", "shapes"), strict=False):
        with pytest.raises(VolumeRefused, match=words):
            case.read_mask(case.read())
    # A list that promises three channels of a file with two.
    record["modality"]["2"] = "T2w"
    (tmp_path / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(VolumeRefused, match="2 volumes for 3 names"):
        read_volume_table(tmp_path).cases[0].read()


def test_a_mask_in_another_order_of_voxels_is_turned_when_asked(tmp_path):
    decathlon(tmp_path)
    truth = mask(0)
    put(truth.reoriented("RAS"), tmp_path / "labelsTr/case_0.nii.gz")
    case = read_volume_table(tmp_path).cases[0]
    with pytest.raises(VolumeRefused, match="directions: RAS and LPS"):
        case.read_mask(case.read())
    found = case.read_mask(case.read(), turn=True)
    assert np.array_equal(found.array, truth.array)
    assert found.steps == ()
    # Turned, a mask that lies elsewhere is refused all the same.
    put(mask(0, affine=AFFINE @ np.diag([-1.0, 1, 1, 1])), tmp_path / "labelsTr/case_0.nii.gz")
    with pytest.raises(VolumeRefused, match="different places"):
        case.read_mask(case.read(), turn=True)


def test_channels_on_other_grids(tmp_path):
    table(tmp_path)
    put(Volume(array=scan(0).array, affine=AFFINE + np.eye(4, k=3)), tmp_path / "scans/0_T1w.nii")
    cases = read_volume_table(tmp_path / "list.csv", images={n: n for n in CHANNELS}).cases
    with pytest.raises(VolumeRefused, match="channel T1w against channel FLAIR"):
        cases[0].read()
    assert cases[1].read().n_channels == 2


def test_paths_stay_in_the_folder(tmp_path):
    table(tmp_path)
    frame = pl.DataFrame({"image": ["scans/0_T1w.nii", "../x.nii", "gone.nii", None, "a\0b"]})
    found = read_volume_table(frame, folder=tmp_path, channels=("T1w",))
    assert found.refused == {"OUTSIDE": 1, "MISSING": 3}
    assert found.cases[0].read().channels == ("T1w",)
    with pytest.raises(VolumeRefused, match="OUTSIDE"):
        found.cases[1].read()
    with pytest.raises(DataError, match="none of the 1 scans"):
        read_volume_table(pl.DataFrame({"image": ["gone.nii"]}), folder=tmp_path)
    with pytest.raises(DataError, match="no folder"):
        read_volume_table(frame)
    with pytest.raises(DataError, match="did you mean 'T1w'"):
        read_volume_table(tmp_path / "list.csv", images={"T1": "T1"})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"labels": {"0": "a"}, "training": []}',
        '{"modality": {"0": "CT"}, "labels": {"a": "b"}, "training": []}',
        '{"modality": {"0": "CT"}, "labels": {"0": "b"}, "training": 7}',
        '{"modality": {"0": "CT"}, "labels": {"0": "b"}, "training": []}',
        '{"modality": {"0": "CT"}, "labels": {"0": "b"}, "training": [{"image": 5}, 7, null]}',
        '{"modality": {"0": "CT"}, "labels": {"0": "b"}, "training": [{"image": "../a.nii", "label": "b.nii"}]}',
    ],
)
def test_lists_that_cannot_be_understood(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError):
        read_volume_table(tmp_path)


def test_folders_without_scans(tmp_path):
    with pytest.raises(DataError, match="no anatomical scans"):
        read_volume_table(tmp_path)
    with pytest.raises(VolumeRefused, match="NO_PIXELS"):
        read_volume(tmp_path)
    with pytest.raises(VolumeRefused, match="MISSING"):
        read_volume(tmp_path / "gone")


def test_a_row_may_name_slices(tmp_path, dicom):
    for k in range(4):
        pixels = np.full((5, 6), k, dtype=np.uint16)
        (tmp_path / "ct").mkdir(exist_ok=True)
        (tmp_path / "ct" / f"{k}.dcm").write_bytes(
            dicom(
                pixels, Modality="CT", SeriesInstanceUID="1.2", PixelSpacing=[1, 1], InstanceNumber=9 - k,
                ImagePositionPatient=[0, 0, k], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            )
        )  # fmt: skip
    found = read_volume_table(pl.DataFrame({"image": ["ct"], "m": ["ct"]}), mask="m", folder=tmp_path, channels=("CT",))
    assert found.cases[0].read().channels == ("CT",)
    assert found.cases[0].read().modality == "CT"
    assert np.array_equal(found.cases[0].read_mask().array[:, 0, 0], range(4))


def test_volumes_are_in_the_catalogue():
    assert READERS["volumes"] is not None


def test_real_list(shared_data):
    found = read_volume_table(shared_data("brats", "dataset.json"))
    assert found.channels == ("FLAIR", "T1w", "t1gd", "T2w")
    assert dict(found.labels)[3] == "enhancing tumour"
    for case in found.cases:
        image = case.read()
        assert image.n_channels == 4
        assert case.read_mask(image).grid.same_as(image.grid)


@pytest.fixture
def outlined(scans, tmp_path):
    """Return a DICOM series, three masks on its grid that share no voxel, and the segmentation of them."""
    pytest.importorskip("highdicom", reason="the imaging extra is not installed")
    from aimed.diagnosis.dicom_scan_statement import RegionResult, ScanResult
    from aimed.diagnosis.dicom_segmentation import segmentation
    from aimed.diagnosis.dicom_statement import ModelIdentity
    from aimed.readers.dicom_series import find_series

    shape = (7, 9, 11)
    masks = scans.nested(shape)
    masks[0] &= ~masks[1]
    masks[1] &= ~masks[2]
    folder = scans.write_series(tmp_path / "scan", scans.numbered(shape), scans.affine_of(turn=(20, -10, 5)))

    def write(masks, path, kind="BINARY"):
        result = ScanResult(
            model=ModelIdentity("sha256:" + "ab" * 32, "demo"),
            regions=tuple(RegionResult(key=name, ml=1.0) for name in ("a", "b", "c")),
        )
        path.parent.mkdir(exist_ok=True)
        found = segmentation(find_series(folder).only(), masks, result, kind=kind)
        found.save_as(path, enforce_file_format=True)

    return folder, masks, write


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("name", ["mask.nii.gz", "mask", "alone/anything"])
def test_a_dicom_segmentation_is_a_mask_by_its_content(outlined, tmp_path, kind, name):
    folder, masks, write = outlined
    write(masks, tmp_path / name, kind)
    case = VolumeCase((folder,), (tmp_path / name).parent if "/" in name else tmp_path / name)
    image = case.read()
    found = case.read_mask(image)
    assert found.labels
    assert found.grid.same_as(image.grid)
    assert found.array.dtype == np.uint8
    assert np.array_equal(found.array, masks[0] + 2 * masks[1] + 3 * masks[2])
    # Alone it knows of the frames that have voxels, and of no others.
    assert case.read_mask().array.shape == (int(masks.any(axis=(0, 2, 3)).sum()), 9, 11)


def test_a_dicom_segmentation_is_read_through_the_cache(outlined, tmp_path):
    folder, masks, write = outlined
    write(masks, tmp_path / "seg.dcm")
    cache = VolumeCache.build([VolumeCase((folder,), tmp_path / "seg.dcm")], tmp_path / "cache")
    assert np.array_equal(cache.mask(0), masks[0] + 2 * masks[1] + 3 * masks[2])
    assert set(cache.records[0].labels) >= {1, 2, 3}


def test_segments_that_overlap_or_lie_elsewhere_are_refused(outlined, scans, tmp_path):
    folder, masks, write = outlined
    both = masks.copy()
    both[1] |= masks[2]
    write(both, tmp_path / "both.dcm")
    case = VolumeCase((folder,), tmp_path / "both.dcm")
    with pytest.raises(VolumeRefused, match="overlap") as refused:
        case.read_mask(case.read())
    assert refused.value.code == "BAD_LABELS"
    write(masks, tmp_path / "seg.dcm")
    other = scans.write_series(tmp_path / "other", scans.numbered((7, 9, 11)), scans.affine_of())
    case = VolumeCase((other,), tmp_path / "seg.dcm")
    with pytest.raises(VolumeRefused) as refused:
        case.read_mask(case.read())
    assert refused.value.code == "GRIDS_DIFFER"
    declared = VolumeCase((folder,), tmp_path / "seg.dcm", labels={0: "nothing", 1: "a", 2: "b"})
    with pytest.raises(VolumeRefused, match="1 values are not declared"):
        declared.read_mask(declared.read())


def test_masks_of_further_readers_are_read_on_demand_and_refuse_nobody(tmp_path):
    rows = []
    for k in range(3):
        put(scan(k), tmp_path / f"scan{k}.nii.gz")
        put(mask(k), tmp_path / f"mask{k}.nii.gz")
        put(mask(10 + k), tmp_path / f"a{k}.nii.gz")
        second = {0: "a0.nii.gz", 1: None, 2: "../away.nii.gz"}[k]
        rows.append({"image": f"scan{k}.nii.gz", "label": f"mask{k}.nii.gz", "a": f"a{k}.nii.gz", "b": second})
    pl.DataFrame(rows).write_csv(tmp_path / "cases.csv")
    found = read_volume_table(tmp_path / "cases.csv", mask="label", channels=("T1w",), readers=("a", "b"))
    assert not found.refused
    first, second, third = found.cases
    assert np.array_equal(first.read_mask().array, mask(0).array)
    assert np.array_equal(first.of_reader("a").read_mask(first.read()).array, mask(10).array)
    for case, code in ((second, "MISSING"), (third, "OUTSIDE")):
        with pytest.raises(VolumeRefused) as refused:
            case.of_reader("b").read_mask(case.read())
        assert refused.value.code == code
    with pytest.raises(DataError):
        first.of_reader("c")
    with pytest.raises(DataError, match="no column 'c'"):
        read_volume_table(tmp_path / "cases.csv", mask="label", readers=("c",))
    with pytest.raises(DataError, match="a list without columns"):
        read_volume_table(tmp_path, readers=("a",))
