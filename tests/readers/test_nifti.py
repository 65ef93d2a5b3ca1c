"""NIfTI: what nibabel reads is read alike, a file comes back bit for bit, and headers that lie are refused by code."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("nibabel", reason="the imaging extra is not installed")
import nibabel as nib

from aimed.core import DataError
from aimed.core.grid import Turn
from aimed.core.volume import Volume, VolumeRefused
from aimed.readers.nifti import is_nifti, read_nifti, write_nifti

AFFINE = np.array(
    [[-0.9375, 0.015625, 0, 40.5], [0.015625, 0.9375, 0.03125, -30.25], [0, 0, 2.5, 7], [0, 0, 0, 1]], dtype=float
)
TYPES = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def values_of(kind="i2", shape=(3, 4, 5), seed=0):
    rng = np.random.default_rng(seed)
    if kind[0] == "f":
        return rng.normal(size=shape).astype(kind)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    return rng.integers(low, high, size=shape, dtype=kind, endpoint=True)


def saved(path, values=None, affine=AFFINE, kind=nib.Nifti1Image, sform=1, qform=1, **fields):
    """Write with nibabel; fields of the header are set as given, after all that nibabel would set."""
    values = values_of() if values is None else values
    dtype = fields.pop("dtype", values.dtype)
    image = kind(values.T, affine, dtype=dtype)
    image.set_sform(affine if sform else None, sform)
    image.set_qform(affine if qform else None, qform)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nib.save(image, path)
    if fields:
        packed = path.suffix == ".gz"
        data = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        second = kind is nib.Nifti2Image
        head = (nib.Nifti2Header if second else nib.Nifti1Header)(bytes(data[: 540 if second else 348]), check=False)
        for name, value in fields.items():
            head[name] = value
        data[: len(head.binaryblock)] = head.binaryblock
        path.write_bytes(gzip.compress(bytes(data)) if packed else bytes(data))
    return path


def refusal(path, **how):
    with pytest.raises(VolumeRefused) as caught:
        read_nifti(path, **how)
    text = str(caught.value)
    assert caught.value.code in text
    assert text.count(";") >= 2
    return caught.value.code


# -------------------------------------------------------------------------------------------------- what nibabel reads


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_voxels_and_affine_are_those_of_nibabel(tmp_path, kind, suffix, version):
    values = values_of(kind)
    path = saved(tmp_path / f"a{suffix}", values, kind=version)
    scan = read_nifti(path)
    assert scan.array.dtype == values.dtype
    assert np.array_equal(scan.array, values)
    assert np.array_equal(scan.affine, nib.load(path).affine)
    assert scan.orientation == "".join(nib.aff2axcodes(AFFINE))
    assert np.allclose(scan.spacing[::-1], nib.load(path).header.get_zooms(), rtol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_big_endian_files_are_read_native(tmp_path, suffix):
    values = values_of("i2")
    image = nib.Nifti1Image(values.T, AFFINE, header=nib.Nifti1Header(endianness=">"))
    path = tmp_path / f"big{suffix}"
    image.to_filename(path)
    assert nib.load(path).header.endianness == ">"
    scan = read_nifti(path)
    assert scan.array.dtype.isnative
    assert np.array_equal(scan.array, values)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize(("kind", "expected"), [("u1", "f4"), ("i2", "f4"), ("i4", "f8"), ("f4", "f4"), ("f8", "f8")])
def test_scaling_is_applied_as_nibabel_does(tmp_path, kind, expected):
    path = saved(tmp_path / "a.nii.gz", values_of(kind), scl_slope=0.37, scl_inter=-1024.5)
    scan = read_nifti(path)
    assert scan.array.dtype == np.dtype(expected)
    assert np.array_equal(scan.array, nib.load(path).get_fdata().astype(expected).T)
    for slope in (0.0, np.nan):
        same = read_nifti(saved(tmp_path / "b.nii", values_of(kind), scl_slope=slope, scl_inter=5.0))
        assert np.array_equal(same.array, values_of(kind))


def test_four_dimensions_are_channels(tmp_path):
    values = values_of(shape=(4, 3, 5, 6))
    path = saved(tmp_path / "a.nii.gz", values)
    scan = read_nifti(path, channels=("FLAIR", "T1w", "T1gd", "T2w"), modality="MR")
    assert np.array_equal(scan.array, values)
    assert np.array_equal(scan.channel("T1gd").array, values[2])
    assert read_nifti(path).n_channels == 4
    assert refusal(path, channels=("a", "b")) == "TIME_SERIES"
    assert refusal(saved(tmp_path / "b.nii", values_of("u1", (40, 2, 3, 4)))) == "TIME_SERIES"
    one = read_nifti(saved(tmp_path / "c.nii", values_of(shape=(1, 3, 4, 5))), channels=("T1w",))
    assert one.shape == (3, 4, 5)


def test_a_file_without_compression_stays_on_the_disk(tmp_path):
    path = saved(tmp_path / "a.nii", values_of("f4", (20, 30, 40)))
    scan, copy = read_nifti(path), read_nifti(path, mapped=False)
    assert np.array_equal(scan.array, copy.array)

    def owner(array):
        while isinstance(array, np.ndarray) and array.base is not None:
            array = array.base
        return type(array).__name__

    assert owner(scan.array) in ("mmap", "memoryview")
    assert owner(copy.array) == "ndarray"
    with pytest.raises(ValueError, match="read-only"):
        scan.array[0, 0, 0] = 1


VOLUMES = sorted((Path(nib.__file__).parent / "tests/data").glob("*.nii*"))


@pytest.mark.parametrize("path", VOLUMES, ids=lambda p: p.name)
def test_volumes_that_nibabel_ships(path):
    theirs = nib.load(path)
    names = [str(k) for k in range(theirs.shape[3])] if theirs.ndim == 4 else ()
    if theirs.ndim > 4 or ".dconn" in path.name:  # surfaces, not voxels
        assert refusal(path) == "NOT_A_VOLUME"
        return
    scan = read_nifti(path, channels=names, not_finite="keep")
    assert np.array_equal(scan.array, np.asarray(theirs.dataobj, dtype=scan.array.dtype).T, equal_nan=True)
    assert np.array_equal(scan.affine, theirs.affine)
    assert scan.orientation == "".join(nib.aff2axcodes(theirs.affine))


# ------------------------------------------------------------------------------------------------- sform, qform, units


def test_the_sform_counts_and_else_the_qform(tmp_path):
    other = AFFINE.copy()
    other[:3, 3] += 20
    both = saved(tmp_path / "a.nii", sform=2, qform=1)
    image = nib.load(both)
    moved = nib.Nifti1Image(image.dataobj, AFFINE)
    moved.set_sform(AFFINE, 4)
    moved.set_qform(other, 1)
    nib.save(moved, tmp_path / "b.nii")
    scan = read_nifti(tmp_path / "b.nii")
    assert np.array_equal(scan.affine, AFFINE)
    assert "sform is used" in scan.notes[0]
    np.testing.assert_allclose(read_nifti(tmp_path / "b.nii", space="qform").affine[:3, 3], other[:3, 3])
    alone = saved(tmp_path / "c.nii", sform=0)
    assert np.array_equal(read_nifti(alone).affine, nib.load(alone).get_qform())
    assert refusal(alone, space="sform") == "NO_GEOMETRY"


def test_affines_that_disagree_are_refused(tmp_path):
    image = nib.Nifti1Image(values_of().T, AFFINE)
    flipped, moved = AFFINE @ np.diag([-1.0, 1, 1, 1]), AFFINE.copy()
    moved[2, 3] += 30
    for name, other, code in (("flip.nii", flipped, 4), ("move.nii", moved, 1)):
        image.set_sform(AFFINE, 1)
        image.set_qform(other, code)
        nib.save(image, tmp_path / name)
        assert refusal(tmp_path / name) == "AFFINES_DISAGREE"
        assert np.array_equal(read_nifti(tmp_path / name, space="sform").affine, AFFINE)
        assert not np.allclose(read_nifti(tmp_path / name, space="qform").affine, AFFINE)


def test_without_an_affine_left_and_right_are_not_guessed(tmp_path):
    path = saved(tmp_path / "a.nii", sform=0, qform=0)
    assert refusal(path) == "NO_GEOMETRY"
    scan = read_nifti(path, space="pixdim")
    assert scan.orientation == "RAS"
    assert "asked for" in scan.notes[0]


def test_units_become_mm(tmp_path):
    path = saved(tmp_path / "a.nii", affine=np.diag([500.0, 500, 900, 1]), xyzt_units=3)
    scan = read_nifti(path)
    np.testing.assert_allclose(scan.spacing, (0.9, 0.5, 0.5))
    assert "micrometres" in scan.notes[0]


# ---------------------------------------------------------------------------------------------------- headers that lie


def test_headers_that_lie_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.nii"
    for code, fields in [
        ("SIZE_LIES", {"dim": [3, 5, 4, -3, 1, 1, 1, 1]}),
        ("SIZE_LIES", {"dim": [9, 5, 4, 3, 1, 1, 1, 1]}),
        ("SIZE_LIES", {"dim": [3, 5, 4, 2, 1, 1, 1, 1]}),
        ("TRUNCATED", {"dim": [3, 5, 4, 300, 1, 1, 1, 1]}),
        ("TOO_LARGE", {"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}),
        ("NOT_A_VOLUME", {"dim": [5, 5, 2, 2, 1, 3, 1, 1]}),
        ("FLAT", {"dim": [2, 5, 12, 1, 1, 1, 1, 1]}),
        ("FLAT", {"dim": [3, 5, 12, 1, 1, 1, 1, 1]}),
        ("NOT_A_VOLUME", {"datatype": 32, "bitpix": 64}),
        ("NOT_A_VOLUME", {"datatype": 128}),
        ("SIZE_LIES", {"bitpix": 64}),
        ("SIZE_LIES", {"vox_offset": 3.0}),
        ("SIZE_LIES", {"vox_offset": np.nan}),
        ("SIZE_LIES", {"vox_offset": 1e20}),
        ("BAD_NUMBER", {"scl_slope": np.inf}),
        ("BAD_NUMBER", {"scl_slope": 2.0, "scl_inter": np.nan}),
        ("BAD_NUMBER", {"srow_x": [np.nan] * 4}),
        ("BAD_NUMBER", {"srow_x": [0.0] * 4}),
        ("BAD_NUMBER", {"srow_z": [0.0, 0.0, 1e30, 0.0]}),
        ("BAD_NUMBER", {"srow_z": [0.0, 3e38, 3e38, 0.0]}),
        ("BAD_NUMBER", {"quatern_b": 3.0}),
        ("BAD_NUMBER", {"pixdim": [1.0, 0.0, 1.0, 1.0, 0, 0, 0, 0]}),
        ("BAD_NUMBER", {"xyzt_units": 7}),
    ]:
        for name in ("a.nii", "a.nii.gz"):
            path = saved(tmp_path / name, affine=np.diag([-1.0, 1, 2, 1]), **fields)
            assert refusal(path) == code, (fields, name)


def test_damaged_files_are_refused(tmp_path):
    whole = saved(tmp_path / "a.nii.gz").read_bytes()
    plain = saved(tmp_path / "a.nii").read_bytes()
    broken = bytearray(whole)
    broken[-6] ^= 255  # the check sum
    for code, data in [
        ("EMPTY", b""),
        ("TRUNCATED", whole[:-20]),
        ("TRUNCATED", whole[:30]),
        ("TRUNCATED", bytes(broken)),
        ("TRUNCATED", plain[:-1]),
        ("TRUNCATED", plain[:347]),
        ("SIZE_LIES", plain + b"\0"),
        ("SIZE_LIES", gzip.compress(plain + b"\0")),
        ("SIZE_LIES", whole + gzip.compress(b"more")),
        ("NOT_A_VOLUME", b"x" * 1000),
        ("NOT_A_VOLUME", gzip.compress(b"x" * 1000)),
        ("NOT_A_VOLUME", plain[:344] + b"ni1\0" + plain[348:]),
        ("SIZE_LIES", b"\0\0\0\7" + plain[4:]),
    ]:
        path = tmp_path / "bad.nii"
        path.write_bytes(data)
        assert refusal(path) == code, (code, len(data))
    assert refusal(tmp_path / "gone.nii") == "MISSING"
    assert refusal("a\0b") == "MISSING"


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([1, 2]), st.lists(st.tuples(st.integers(0, 547), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damage_is_a_volume_or_a_refusal(tmp_path, version, damage):
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    path = tmp_path / f"{version}.nii"
    whole = path.with_suffix(".ok")
    if not whole.exists():
        whole.write_bytes(saved(path, kind=kind).read_bytes())
    data = bytearray(whole.read_bytes())
    for at, value in damage:
        data[at % (348 if version == 1 else 540)] = value
    path.write_bytes(data)
    try:
        scan = read_nifti(path, mapped=False, max_bytes=2**20)
    except VolumeRefused:
        return
    assert np.isfinite(scan.affine).all()
    assert scan.array.nbytes <= 8 * len(data)


def test_a_bomb_is_refused_for_what_it_would_need(tmp_path):
    head = saved(tmp_path / "a.nii", dim=[3, 2000, 1000, 1000, 1, 1, 1, 1]).read_bytes()[:352]
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(head + bytes(2**22)))
    assert refusal(tmp_path / "bomb.nii.gz") == "TRUNCATED"
    assert refusal(tmp_path / "bomb.nii.gz", max_bytes=2**20) == "TOO_LARGE"


def test_several_members_of_gzip_are_one_file(tmp_path):
    plain = saved(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    assert np.array_equal(read_nifti(tmp_path / "b.nii.gz").array, values_of())


def test_voxels_that_are_no_numbers(tmp_path):
    values = values_of("f4")
    values[0, 0, 0], values[1, 1, 1] = np.nan, np.inf
    path = saved(tmp_path / "a.nii.gz", values)
    with pytest.raises(VolumeRefused, match=r"2 of 60 \(NOT_FINITE\)"):
        read_nifti(path)
    zeros = read_nifti(path, not_finite="zero").array
    assert zeros[0, 0, 0] == zeros[1, 1, 1] == 0
    assert np.array_equal(np.delete(zeros.ravel(), [0, 26]), np.delete(values.ravel(), [0, 26]))
    assert np.isnan(read_nifti(path, not_finite="keep").array[0, 0, 0])


def test_masks_hold_whole_numbers_from_0(tmp_path):
    floats = values_of("u1").astype("f4") % 4
    mask = read_nifti(saved(tmp_path / "a.nii", floats), labels=True)
    assert mask.labels
    assert mask.array.dtype == np.uint8
    assert np.array_equal(mask.array, floats)
    for bad in (floats + 0.5, floats - 9, floats.astype("i2") - 9):
        assert refusal(saved(tmp_path / "b.nii", bad), labels=True) == "BAD_LABELS"


# ------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("kind", [*TYPES, "b1", "f2"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_is_written_is_read_bit_for_bit(tmp_path, kind, name):
    values = values_of("u1").astype(kind) if kind in ("b1", "f2") else values_of(kind)
    for version in (1, 2):
        write_nifti(Volume(array=values, affine=AFFINE), tmp_path / name, version=version)
        scan = read_nifti(tmp_path / name)
        assert np.array_equal(scan.array, values)
        assert scan.array.dtype == {"b1": np.uint8, "f2": np.float32}.get(kind, values.dtype)
        assert np.array_equal(scan.affine, AFFINE)
        assert scan.notes == ()
        theirs = nib.load(tmp_path / name)
        assert np.array_equal(np.asarray(theirs.dataobj).T, values)
        assert np.array_equal(theirs.affine, AFFINE)
        np.testing.assert_allclose(theirs.get_qform(), AFFINE, atol=0.03)


def test_nifti_2_keeps_all_digits_of_an_affine(tmp_path):
    affine = AFFINE + 1e-9
    affine[3] = 0, 0, 0, 1
    write_nifti(Volume(array=values_of(), affine=affine), tmp_path / "a.nii", version=2)
    assert np.array_equal(read_nifti(tmp_path / "a.nii").affine, affine)


def test_sheared_grids_are_written_without_a_quaternion(tmp_path):
    affine = np.eye(4)
    affine[1, 2] = 0.4
    write_nifti(Volume(array=values_of(), affine=affine), tmp_path / "a.nii")
    assert int(nib.load(tmp_path / "a.nii").header["qform_code"]) == 0
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii").affine, affine, atol=1e-7)


def test_a_mask_like_its_scan_has_the_same_fields_of_place(tmp_path):
    path = saved(tmp_path / "scan.nii.gz", sform=0, qform=3, descrip=b"PATIENT NAME", xyzt_units=10)
    scan = read_nifti(path)
    work = scan.reoriented("PIR").cropped((1, 1, 1), (3, 3, 3))
    mask = work.with_array(np.ones(work.shape, dtype=np.uint8), labels=True)
    with pytest.raises(VolumeRefused, match="GRIDS_DIFFER"):
        write_nifti(mask, tmp_path / "mask.nii.gz", like=path)
    assert not (tmp_path / "mask.nii.gz").exists()
    write_nifti(mask.back_to(scan), tmp_path / "mask.nii.gz", like=path)
    ours, theirs = nib.load(tmp_path / "mask.nii.gz").header, nib.load(path).header
    for name in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "xyzt_units"):
        assert np.array_equal(ours[name], theirs[name]), name
    assert np.array_equal(ours["pixdim"][:4], theirs["pixdim"][:4])
    assert np.array_equal(read_nifti(tmp_path / "mask.nii.gz", labels=True).affine, scan.affine)
    assert b"PATIENT" not in gzip.decompress((tmp_path / "mask.nii.gz").read_bytes())
    with pytest.raises(VolumeRefused, match="MISSING"):
        write_nifti(scan, tmp_path / "b.nii", like=tmp_path / "gone.nii")


def test_writing_is_all_or_nothing_and_repeats(tmp_path, monkeypatch):
    scan = Volume(array=values_of(), affine=AFFINE)
    write_nifti(scan, tmp_path / "a.nii.gz")
    first = (tmp_path / "a.nii.gz").read_bytes()
    write_nifti(scan, tmp_path / "a.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == first
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_nifti(scan, tmp_path / "b.nii.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz"]
    with pytest.raises(DataError, match="NIfTI-2"):
        write_nifti(Volume(array=np.zeros((1, 1, 40_000), dtype=np.uint8), affine=AFFINE), tmp_path / "c.nii")


def test_a_file_is_known_by_its_content(tmp_path):
    assert is_nifti(saved(tmp_path / "a.nii.gz").read_bytes()[:4096])
    assert is_nifti(saved(tmp_path / "a.nii", kind=nib.Nifti2Image).read_bytes()[:540])
    assert not is_nifti(b"\x1f\x8b broken")


# ----------------------------------------------------------------------------------------------------------- real data


@pytest.mark.parametrize("case", ["BRATS_009", "BRATS_119"])
def test_real_brains_go_there_and_back_exactly(shared_data, tmp_path, case):
    path = shared_data("brats", "imagesTr", f"{case}.nii.gz")
    scan = read_nifti(path, channels=("FLAIR", "T1w", "T1gd", "T2w"), modality="MR")
    mask = read_nifti(shared_data("brats", "labelsTr", f"{case}.nii.gz"), labels=True)
    cover = read_nifti(shared_data("brats", f"{case}_coverage.nii.gz"), labels=True)
    assert scan.grid.same_as(mask.grid)
    assert scan.grid.same_as(cover.grid)
    assert np.array_equal(scan.array, np.asarray(nib.load(path).dataobj).T)
    assert set(np.unique(mask.array)) <= {0, 1, 2, 3}
    # Outside the known part nothing is drawn.
    assert not mask.array[cover.array == 0].any()
    assert not scan.array[:, cover.array == 0].any()
    write_nifti(scan, tmp_path / "again.nii.gz", like=path)
    again = nib.load(tmp_path / "again.nii.gz")
    assert np.array_equal(np.asarray(again.dataobj), np.asarray(nib.load(path).dataobj))
    assert np.array_equal(again.affine, nib.load(path).affine)
    assert again.get_data_dtype() == nib.load(path).get_data_dtype()
    work = scan.reoriented("LPS").cropped_to_foreground(margin=2).padded_to((64, 256, 256))
    moved = mask.follow(work)
    assert moved.grid.same_as(work.grid)
    assert np.array_equal(moved.back_to(scan).array, mask.array)
    assert isinstance(work.steps[0], Turn)
