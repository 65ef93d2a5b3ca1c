"""Series that are broken as series are: each one right, split or refused with a sentence; nothing goes by number."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
pytest.importorskip("pydicom", reason="the imaging extra is not installed")
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from aimed.core import DataError
from aimed.core.volume import VolumeRefused
from aimed.readers.dicom_series import find_series, read_dicom_series, read_dicom_study
from aimed.readers.nifti import read_nifti, write_nifti

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
AXIAL = (1, 0, 0, 0, 1, 0)
STEP = 1.25


def phantom(n=40, rows=12, columns=10, dtype=np.int16):
    """Return slices whose values say where they are: 20 a slice, 1 a row, and a mark that is no mirror image."""
    z, y, x = np.indices((n, rows, columns))
    return (20 * z + y + (x > 6) * (y < 3) * 7).astype(dtype)


class Maker:
    """Writes series into a folder, in any order of names and numbers."""

    def __init__(self, folder, dicom):
        self.folder, self.dicom, self.n = folder, dicom, 0

    def slice(self, pixels, place, *, number=None, uid="1.2.3", syntax="plain", **tags):
        self.n += 1
        turn = tags.pop("ImageOrientationPatient", AXIAL)
        known = {
            "SOPClassUID": CT, "Modality": "CT", "SeriesInstanceUID": uid, "FrameOfReferenceUID": "1.2.9",
            "InstanceNumber": number or self.n, "PixelSpacing": [0.8, 0.7],
            "ImagePositionPatient": [float(v) for v in place], "ImageOrientationPatient": [float(v) for v in turn],
        } | tags  # fmt: skip
        data = self.dicom(pixels, syntax, **{k: v for k, v in known.items() if v is not None})
        # The order of names is not the order of slices either.
        name = f"{(self.n * 37) % 1009:04d}-{self.n}.dcm"
        (self.folder / name).write_bytes(data)
        return self.folder / name

    def series(self, voxels, *, places=None, numbers=None, leave_out=(), **tags):
        for k, pixels in enumerate(voxels):
            if k not in leave_out:
                place = (-20, -30, -10 + STEP * k) if places is None else places[k]
                self.slice(pixels, place, number=None if numbers is None else int(numbers[k]), **tags)
        return self.folder


@pytest.fixture
def make(tmp_path, dicom):
    return Maker(tmp_path, dicom)


def refusal(source, code, *words, **how):
    with pytest.raises(VolumeRefused) as caught:
        read_dicom_series(source, **how)
    text = str(caught.value)
    assert caught.value.code == code, text
    assert text.count(";") >= 2
    for word in words:
        assert word in text
    return text


# ------------------------------------------------------------------------------------- the five that readers get wrong


def test_1_numbers_unrelated_to_places(make):
    voxels = phantom()
    make.series(voxels, numbers=np.random.default_rng(0).permutation(len(voxels)) + 1)
    scan = read_dicom_series(make.folder)
    assert np.array_equal(scan.array, voxels)
    np.testing.assert_allclose(scan.spacing, (STEP, 0.8, 0.7))


def test_2_three_slices_missing(make):
    make.series(phantom(), leave_out=(11, 12, 30))
    refusal(make.folder, "GAP", "about 3 in 2 places among 37", "1.25 mm")


def test_3_two_series_in_a_folder(make):
    first, second = phantom(), phantom()[::-1].copy() + 5
    make.series(first, uid="1.2.3")
    make.series(second, uid="1.2.4", Modality="PT")
    refusal(make.folder, "MIXED", "2 (40 slices", "40 slices PT")
    found = find_series(make.folder).series
    assert [s.decision for s in found] == ["accept", "accept"]
    for series, voxels in zip(sorted(found, key=lambda s: s.modality), (first, second), strict=True):
        assert np.array_equal(series.read().array, voxels)


def test_4_a_place_that_comes_twice(make):
    voxels = phantom()
    make.series(voxels)
    make.slice(voxels[7] + 1, (-20, -30, -10 + STEP * 7))
    refusal(make.folder, "DUPLICATES", "1 of 41")


def test_5_large_is_dark(make):
    voxels = phantom(dtype=np.uint16)
    make.series(4095 - voxels, bits=12, PhotometricInterpretation="MONOCHROME1", SOPClassUID=MR, Modality="MR")
    scan = read_dicom_series(make.folder)
    assert np.array_equal(scan.array, voxels)
    assert "MONOCHROME1" in scan.notes[0]


# ------------------------------------------------------------------------------------------------------- and the others


def test_a_copy_of_a_slice_is_used_once(make):
    voxels = phantom()
    make.series(voxels)
    make.slice(voxels[7], (-20, -30, -10 + STEP * 7))
    scan = read_dicom_series(make.folder)
    assert np.array_equal(scan.array, voxels)
    assert scan.notes == ("1 slice came twice, pixel by pixel, and is used once.",)


def test_a_tilted_gantry(make):
    places = [(-20, -30 + 0.3 * k, -10 + STEP * k) for k in range(40)]
    make.series(phantom(), places=places)
    refusal(make.folder, "TILTED", "13.5 degrees", "tilted='keep'")
    scan = read_dicom_series(make.folder, tilted="keep")
    np.testing.assert_allclose(scan.affine @ (0, 0, 39, 1), (20, 30 - 0.3 * 39, -10 + STEP * 39, 1))
    assert "sheared" in scan.notes[0]


def test_orientations_that_mix_are_split(make):
    voxels = phantom(10)
    make.series(voxels)
    make.series(voxels, places=[(5 * k, -30, 40) for k in range(10)], ImageOrientationPatient=(0, 1, 0, 0, 0, -1))
    refusal(make.folder, "MIXED", "2 (10 slices CT, 10 slices CT)")
    found = find_series(make.folder).series
    assert [s.decision for s in found] == ["split", "split"]
    assert "orientation" in found[0].sentence
    assert sorted(s.read().orientation for s in found) == ["LPS", "PIR"]


def test_spacings_and_sizes_that_mix_are_split(make):
    make.series(phantom(6))
    make.series(phantom(6), PixelSpacing=[0.4, 0.4])
    make.series(phantom(6, rows=20))
    found = find_series(make.folder).series
    assert sorted(s.read().shape for s in found) == [(6, 12, 10), (6, 12, 10), (6, 20, 10)]
    assert {s.decision for s in found} == {"split"}


def test_distances_that_vary(make):
    z = np.cumsum([0, *([1.0, 1.3] * 10)])
    make.series(phantom(21), places=[(0, 0, v) for v in z])
    refusal(make.folder, "UNEVEN", "from 1 to 1.3 mm")


def test_places_rounded_by_a_scanner_are_even_enough(make):
    make.series(phantom(21), places=[(0, 0, round(0.625 * k, 1)) for k in range(21)])
    scan = read_dicom_series(make.folder)
    assert scan.spacing[0] == pytest.approx(0.625, abs=0.01)
    assert "even place" in scan.notes[0]


def test_slices_off_their_line(make):
    make.series(phantom(9), places=[(3.0 * (k == 4), 0, k) for k in range(9)])
    refusal(make.folder, "UNEVEN")


@pytest.mark.parametrize(
    ("mark", "values"),
    [
        ("AcquisitionNumber", (1, 2)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("EchoTime", ("4.6", "90")),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
        ("DiffusionBValue", (0.0, 1000.0)),
    ],
)
def test_volumes_at_one_place_are_told_apart(make, mark, values):
    voxels = phantom(8)
    for k, value in enumerate(values):
        make.series(voxels + k, **{mark: value})
    found = find_series(make.folder).series
    assert [s.decision for s in found] == ["split", "split"]
    assert "told apart by" in found[0].sentence
    reads = sorted((s.read().array for s in found), key=lambda a: int(a[0, 0, 0]))
    assert all(np.array_equal(a, voxels + k) for k, a in enumerate(reads))
    refusal(make.folder, "MIXED")


def test_two_marks_together(make):
    voxels = phantom(5)
    for k, (time, echo) in enumerate([(1, "5"), (1, "90"), (2, "5"), (2, "90")]):
        make.series(voxels + k, TemporalPositionIdentifier=time, EchoTime=echo)
    found = find_series(make.folder).series
    assert [s.decision for s in found] == ["split"] * 4
    assert "time and echo time" in found[0].sentence
    assert sorted(int(s.read().array[0, 0, 0]) for s in found) == [0, 1, 2, 3]


def test_places_that_are_not_said_or_no_numbers(make, tmp_path):
    for name, tags, code in [
        ("a", {"drop": ("ImagePositionPatient",)}, "NO_GEOMETRY"),
        ("b", {"drop": ("ImageOrientationPatient",)}, "NO_GEOMETRY"),
        ("c", {"drop": ("PixelSpacing",)}, "NO_GEOMETRY"),
        ("d", {"ImageOrientationPatient": (1, 0, 0, 1, 0, 0)}, "BAD_NUMBER"),
        ("e", {"ImageOrientationPatient": (0, 0, 0, 0, 0, 0)}, "BAD_NUMBER"),
        ("f", {"PixelSpacing": [0.0, 1.0]}, "BAD_NUMBER"),
        ("g", {"RescaleSlope": "0"}, "BAD_NUMBER"),
        ("h", {"syntax": "1.2.3.4.5"}, "UNKNOWN_SYNTAX"),
        ("i", {"Rows": 500}, "SIZE_LIES"),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        refusal(Maker(folder, make.dicom).series(phantom(4), **tags), code)


def test_one_slice_is_no_volume(make):
    make.slice(phantom()[0], (0, 0, 0))
    refusal(make.folder, "FLAT")


def test_a_damaged_file_is_not_left_out_in_silence(make):
    make.series(phantom(8))
    last = sorted(make.folder.iterdir())[0]
    last.write_bytes(last.read_bytes()[:-9])
    refusal(make.folder, "TRUNCATED", "1 of 8 files")
    assert find_series(make.folder).damaged == {"TRUNCATED": 1}


def test_reports_and_other_files_are_no_slices(make):
    voxels = phantom(5)
    make.series(voxels)
    (make.folder / "thumbnail.jpg").write_bytes(b"\xff\xd8\xff" + bytes(200))
    make.slice(phantom()[0], (0, 0, 0), Modality="SR", uid="1.2.8")
    assert np.array_equal(read_dicom_series(make.folder).array, voxels)
    assert find_series(make.folder).unread == {"NOT_A_VOLUME": 1, "NO_PIXELS": 1}
    with pytest.raises(DataError):
        read_dicom_series(make.folder / "gone")
    refusal(make.folder / "thumbnail.jpg", "NOT_A_VOLUME")


# ----------------------------------------------------------------------------------------------------------- the values


def test_rescaling_is_of_each_slice(make):
    voxels = phantom(6)
    for k, pixels in enumerate(voxels):
        make.slice(pixels, (0, 0, k), RescaleSlope=str(0.5 + k), RescaleIntercept="-3.25", Modality="PT")
    scan = read_dicom_series(make.folder)
    assert scan.array.dtype == np.float32
    np.testing.assert_allclose(scan.array, voxels * (0.5 + np.arange(6))[:, None, None] - 3.25, rtol=1e-6)
    assert scan.modality == "PT"


@pytest.mark.parametrize(
    ("dtype", "bits", "intercept", "expected"),
    [
        (np.int16, 16, 0, np.int16),
        (np.int16, 12, -1024, np.int16),
        (np.uint16, 12, -1024, np.int16),
        (np.uint16, 16, 0, np.uint16),
        (np.uint16, 16, -1024, np.int16),
        (np.uint8, 8, 0, np.uint8),
        (np.int8, 8, 0, np.int16),
    ],
)
def test_numbers_keep_their_sign_and_need_little_room(make, dtype, bits, intercept, expected):
    rng = np.random.default_rng(1)
    signed = np.dtype(dtype).kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, min(2**bits, 30_000))
    voxels = rng.integers(low, high, size=(3, 6, 4)).astype(dtype)
    make.series(voxels, bits=bits, RescaleIntercept=str(intercept), RescaleSlope="1")
    scan = read_dicom_series(make.folder)
    assert np.array_equal(scan.array, voxels.astype(int) + intercept)
    assert scan.array.dtype == expected


def test_hounsfield_units_are_not_inverted(make):
    make.series(phantom(3), PhotometricInterpretation="MONOCHROME1", RescaleIntercept="-1024", RescaleSlope="1")
    assert np.array_equal(read_dicom_series(make.folder).array, phantom(3) - 1024)


@pytest.mark.parametrize(
    "syntax", ["implicit", "big", "deflated", "rle", "lossless-sv1", "jpeg-ls", "jpeg2000", "htj2k"]
)
def test_every_transfer_syntax(make, syntax):
    voxels = phantom(3, 16, 16, np.uint16)
    make.series(voxels, syntax=syntax, bits=12)
    assert np.array_equal(read_dicom_series(make.folder).array, voxels)


# ------------------------------------------------------------------------------------------------------- where they lie


def turned(angle_x, angle_z):
    cx, sx, cz, sz = np.cos(angle_x), np.sin(angle_x), np.cos(angle_z), np.sin(angle_z)
    return np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]) @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])


@pytest.mark.parametrize("seed", range(4))
def test_oblique_stacks_lie_where_highdicom_puts_them(make, seed):
    hd = pytest.importorskip("highdicom", reason="the imaging extra is not installed")
    rng = np.random.default_rng(seed)
    basis = turned(*rng.uniform(-0.5, 0.5, 2))
    r, c, n = np.round(basis.T, 6)
    start = rng.uniform(-50, 50, 3)
    voxels = phantom(7)
    flip = -1 if seed % 2 else 1
    make.series(
        voxels, places=[np.round(start + flip * k * 2.5 * n, 5) for k in range(7)], ImageOrientationPatient=(*r, *c),
        SOPClassUID=CT, StudyInstanceUID="1.2.7",
    )  # fmt: skip
    scan = read_dicom_series(make.folder)
    # Voxel (x, y, z) of slice k lies where the header of that slice says, whatever its order.
    for k in range(7):
        j = k if flip == 1 else 6 - k
        assert np.array_equal(scan.array[j], voxels[k])
        expected = start + flip * k * 2.5 * n + 3 * 0.7 * r + 2 * 0.8 * c
        found = scan.affine @ (3, 2, j, 1)
        np.testing.assert_allclose(found[:3], expected * (-1, -1, 1), atol=1e-3)
    datasets = [pydicom.dcmread(p) for p in make.folder.iterdir()]
    for k, ds in enumerate(datasets):
        ds.SOPInstanceUID = f"1.2.3.4.{k + 1}"
    theirs = hd.get_volume_from_series(datasets)
    ours = np.abs(np.linalg.det(scan.affine)), scan.affine @ (*(np.array(scan.shape[::-1]) / 2 - 0.5), 1)
    middle = theirs.affine @ (*(np.array(theirs.spatial_shape) / 2 - 0.5), 1)
    np.testing.assert_allclose(ours[0], np.abs(np.linalg.det(theirs.affine)), rtol=1e-4)
    np.testing.assert_allclose(ours[1][:3] * (-1, -1, 1), middle[:3], atol=1e-3)


def test_a_series_as_nifti_lies_where_it_lay(make, tmp_path):
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    make.series(phantom(9), places=[(-20.5, 30.25, 2.5 * k) for k in range(9)])
    scan = read_dicom_series(make.folder)
    write_nifti(scan, tmp_path / "scan.nii.gz")
    again = read_nifti(tmp_path / "scan.nii.gz")
    assert np.array_equal(again.array, scan.array)
    np.testing.assert_allclose(again.affine, scan.affine, atol=1e-5)
    assert scan.orientation == again.orientation == "LPS"


def test_archives_and_single_files(make, tmp_path):
    voxels = phantom(5)
    make.series(voxels)
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in make.folder.glob("*.dcm"):
            packed.write(path, path.name)
    assert np.array_equal(read_dicom_series(archive).array, voxels)


def test_files_beyond_what_is_held_are_read_again(make, monkeypatch):
    voxels = phantom(5)
    make.series(voxels)
    monkeypatch.setattr("aimed.readers.dicom_series.HELD", 0)
    assert np.array_equal(read_dicom_series(make.folder).array, voxels)
    refusal(make.folder, "TOO_LARGE", max_bytes=100)


def test_slices_lead_back_to_their_files(make):
    make.series(phantom(5), numbers=[5, 3, 1, 2, 4])
    found = find_series(make.folder).only()
    z = [float(pydicom.dcmread(file.path).ImagePositionPatient[2]) for file, _ in found.files]
    assert z == sorted(z)
    assert found.sentence == "5 slices, 1.25 mm apart: accepted."


# --------------------------------------------------------------------------------------------------- many frames a file


def enhanced(voxels, places, *, turn=AXIAL, slope=1.0, intercept=0.0, own_slope=False, **tags):
    """Return the bytes of an enhanced MR file."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    ds.Modality, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "MR", "1.2.5", "1.2.9"
    ds.PatientName = "Zebedee^Quixote"
    ds.NumberOfFrames, ds.Rows, ds.Columns = voxels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0

    def one(**values):
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        return Sequence([item])

    shared = Dataset()
    shared.PixelMeasuresSequence = one(PixelSpacing=[0.8, 0.7], SliceThickness="9")
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=list(turn))
    if not own_slope:
        shared.PixelValueTransformationSequence = one(
            RescaleSlope=str(slope), RescaleIntercept=str(intercept), RescaleType="US"
        )
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k, place in enumerate(places):
        item = Dataset()
        item.PlanePositionSequence = one(ImagePositionPatient=[float(v) for v in place])
        if own_slope:
            item.PixelValueTransformationSequence = one(RescaleSlope=str(k + 1), RescaleIntercept="0", RescaleType="US")
        if "times" in tags:
            item.FrameContentSequence = one(TemporalPositionIndex=tags["times"][k])
        frames.append(item)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for name, value in tags.items():
        if name != "times":
            setattr(ds, name, value)
    ds.PixelData = voxels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def test_frames_are_ordered_by_place(tmp_path):
    voxels = phantom(8, dtype=np.uint16)
    order = np.random.default_rng(3).permutation(8)
    (tmp_path / "a.dcm").write_bytes(enhanced(voxels[order], [(0, 0, 2.0 * k) for k in order]))
    scan = read_dicom_series(tmp_path / "a.dcm")
    assert np.array_equal(scan.array, voxels)
    assert scan.spacing == pytest.approx((2.0, 0.8, 0.7))
    assert scan.modality == "MR"


def test_frames_have_their_own_rescaling(tmp_path):
    voxels = phantom(4, dtype=np.uint16)
    (tmp_path / "a.dcm").write_bytes(enhanced(voxels, [(0, 0, k) for k in range(4)], own_slope=True))
    np.testing.assert_allclose(read_dicom_series(tmp_path).array, voxels * np.arange(1, 5)[:, None, None])


def test_frames_of_several_times_are_split(tmp_path):
    voxels = phantom(8, dtype=np.uint16)
    places = [(0, 0, k % 4) for k in range(8)]
    (tmp_path / "a.dcm").write_bytes(enhanced(voxels, places, times=[1] * 4 + [2] * 4))
    found = find_series(tmp_path).series
    assert [s.decision for s in found] == ["split", "split"]
    assert "told apart by time" in found[0].sentence
    assert np.array_equal(np.concatenate([s.read().array for s in found]), voxels)


def test_frames_that_lie(tmp_path):
    voxels = phantom(4, dtype=np.uint16)
    places = [(0, 0, k) for k in range(4)]
    for k, (code, data) in enumerate(
        [
            ("GAP", enhanced(voxels, [(0, 0, v) for v in (0, 1, 2, 5)])),
            ("SIZE_LIES", enhanced(voxels, places, NumberOfFrames=3)),
            ("SIZE_LIES", enhanced(voxels, places[:2])),
            ("SIZE_LIES", enhanced(voxels[:3], places, NumberOfFrames=4)),
            ("NO_GEOMETRY", enhanced(voxels, places, PerFrameFunctionalGroupsSequence=Sequence([]))),
        ]
    ):
        (tmp_path / f"{k}.dcm").write_bytes(data)
        refusal(tmp_path / f"{k}.dcm", code)


@pytest.mark.parametrize("table", [True, False])
def test_compressed_frames(tmp_path, table):
    import imagecodecs
    from pydicom.encaps import encapsulate, fragment_frame

    voxels = phantom(4, 16, 16, np.uint16)
    ds = pydicom.dcmread(io.BytesIO(enhanced(voxels, [(0, 0, k) for k in range(4)])))
    streams = [imagecodecs.jpegls_encode(frame) for frame in voxels]
    # With a table every frame may lie in two pieces.
    ds.PixelData = encapsulate(streams, fragments_per_frame=2 if table else 1, has_bot=table)
    assert len(list(fragment_frame(streams[0], 2))) == 2
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
    ds.BitsStored, ds.HighBit = 16, 15
    ds.save_as(tmp_path / "a.dcm")
    assert np.array_equal(read_dicom_series(tmp_path).array, voxels)
    if table:
        ds.PixelData = encapsulate(streams, fragments_per_frame=2, has_bot=False)
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.save_as(tmp_path / "a.dcm")
        refusal(tmp_path, "SIZE_LIES", "told apart")


def test_hostile_numbers_never_reach_the_volume(tmp_path):
    data = enhanced(phantom(4, dtype=np.uint16), [(0, 0, 111111 if k == 2 else k) for k in range(4)])
    for text in (b"nan   ", b"1e999 ", b"0x11  ", b"9\\9\\9 "):
        assert data.count(b"111111") == 1
        (tmp_path / "a.dcm").write_bytes(data.replace(b"111111", text))
        refusal(tmp_path, "BAD_NUMBER", "ImagePositionPatient")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(132, 3000), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_is_a_volume_or_a_refusal(tmp_path, damage):
    data = bytearray(enhanced(phantom(4, dtype=np.uint16), [(0, 0, k) for k in range(4)]))
    for at, value in damage:
        data[at % len(data)] = value
    (tmp_path / "a.dcm").write_bytes(data)
    try:
        scan = read_dicom_series(tmp_path / "a.dcm", max_bytes=2**20)
    except VolumeRefused:
        return
    assert np.isfinite(scan.affine).all()
    assert scan.array.ndim == 3


# ------------------------------------------------------------------------------------------- several series, one volume

CHANNELS = ("FLAIR", "T1w", "T1gd", "T2w")
WORDS = ("Ax T2 FLAIR fs", "t1_mprage_sag", "T1 MPRAGE post Gd", "T2 TSE tra")


def test_series_on_one_grid_are_channels(make):
    voxels = phantom(6)
    for k, words in enumerate(WORDS):
        make.series(voxels + k, uid=f"1.2.{k}", SeriesDescription=words, Modality="MR", SOPClassUID=MR)
    make.slice(voxels[0], (0, 0, 0), uid="1.2.77", SeriesDescription="scout", Modality="MR")
    scan = read_dicom_study(make.folder, CHANNELS)
    assert scan.channels == CHANNELS
    assert scan.modality == "MR"
    assert all(np.array_equal(scan.channel(name).array, voxels + k) for k, name in enumerate(CHANNELS))
    with pytest.raises(VolumeRefused, match="the contrast ADC; there are: FLAIR, T1gd, T1w, T2w") as caught:
        read_dicom_study(make.folder, ("ADC",))
    assert caught.value.code == "MISSING"
    make.series(voxels, uid="1.2.99", SeriesDescription="T1 BRAVO", Modality="MR", SOPClassUID=MR)
    with pytest.raises(VolumeRefused, match="MIXED"):
        read_dicom_study(make.folder, CHANNELS)


@pytest.mark.parametrize("tags", [{"PixelSpacing": [0.8, 0.71]}, {"FrameOfReferenceUID": "1.2.10"}, {"places": 5}])
def test_series_on_other_grids_are_no_channels(make, tags):
    places = [(1, 0, k) for k in range(6)] if tags.pop("places", None) else [(0, 0, k) for k in range(6)]
    make.series(phantom(6), uid="1", SeriesDescription="FLAIR", places=[(0, 0, k) for k in range(6)])
    make.series(phantom(6), uid="2", SeriesDescription="T1", places=places, **tags)
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        read_dicom_study(make.folder, ("FLAIR", "T1w"))


def test_nothing_names_the_patient(make, secrets):
    make.series(phantom(4), SeriesDescription="T1 Zebedee", ProtocolName="MRN-778899", ImageComments="19330217")
    found = find_series(make.folder)
    scan = found.only().read()
    shown = f"{found} {found.series} {scan} {scan.notes} {found.only().sentence} {found.only().contrast}"
    assert not any(part in shown for secret in secrets for part in secret.split("^"))
    assert "1.2.3" not in shown
