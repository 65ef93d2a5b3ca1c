"""Scans through a bundle: outlines as the model gives them, every bad scan its code, and nothing hostile gets in."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("nibabel", reason="the imaging extra is not installed")
pytest.importorskip("pydicom", reason="the imaging extra is not installed")

from aimed.bundle import volumes as volumes_module
from aimed.bundle.golden_volumes import make as make_golden
from aimed.bundle.golden_volumes import synthetic_volumes
from aimed.bundle.load import load
from aimed.bundle.members import checksum, dump, sha256
from aimed.bundle.pack import pack_volumes
from aimed.bundle.volume_schema import VOLUME_CODES
from aimed.bundle.volumes import PredictedVolume, VolumeBundle, volume_table
from aimed.core import BundleError
from aimed.core.volume import Volume
from aimed.readers.nifti import write_nifti
from aimed.readers.volume_table import VolumeCase
from aimed.synthetic import write_brain_study
from aimed.trust.volume_agreement import VolumeInterval

MEMBERS = [
    "README.md", "calibration.json", "golden.json", "golden_1.f2", "golden_1.nii.gz", "golden_2.f2", "golden_2.nii.gz",
    "golden_3.nii.gz", "manifest.json", "model.json", "schema.json", "weights.safetensors",
]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(volume_bundle):
    return load(volume_bundle)


@pytest.fixture
def copy(volume_bundle, tmp_path):
    return shutil.copytree(volume_bundle, tmp_path / "copy")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two heads as NIfTI and as DICOM."""
    folder = tmp_path_factory.mktemp("study") / "heads"
    write_brain_study(folder, 2, formats=("nifti", "dicom"), size=20, seed=2)
    return folder


def one(bundle, source):
    (found,) = bundle.predict([source])
    assert (found.code is None) == (found.volumes is not None) == (found.outlined is not None)
    assert (found.code is None) == (found.reason is None)
    if found.code:
        assert found.code in VOLUME_CODES
    return found


def said(found):
    return [w["code"] for w in found.warnings]


# ---------------------------------------------------------------------------------------------------------- predicting


def test_outlines_are_the_models_own_on_the_grid_of_the_scan(bundle, outlines):
    model, heads, _ = outlines
    for row, (head, got) in enumerate(zip(heads, bundle.predict(heads, ids=list("abcd")), strict=True), start=1):
        want = model.outline(head)
        assert (got.row, got.id, got.file, got.code) == (row, "abcd"[row - 1], None, None)
        assert got.labels.grid.same_as(head.grid)
        np.testing.assert_array_equal(got.labels.array, want.labels.array)
        assert got.volumes == want.volumes
        assert got.present == {key: value["ml"] > 0 for key, value in want.volumes.items()}
        assert got.expected_dice == {"whole_tumour": None, "tumour_core": None}
        assert said(got) == []


def test_nifti_dicom_and_files_of_channels_give_the_same(bundle, study, tmp_path):
    whole = study / "imagesTr" / "PHANTOM-000001_01.nii.gz"
    dicom = study / "dicom" / "PHANTOM-000001" / "01"
    scan = bundle.read(whole)
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, file in zip(("flair", "t1", "t1ce", "t2"), scan.channels, strict=True):
        write_nifti(scan.channel(file), parts / f"BraTS_{name}.nii.gz")
    packed = shutil.make_archive(str(tmp_path / "study"), "zip", dicom)
    found = [one(bundle, source) for source in (whole, str(whole), dicom, packed, parts, scan)]
    assert [f.code for f in found] == [None] * 6
    ml = [f.volumes["whole_tumour"]["ml"] for f in found]
    np.testing.assert_allclose(ml, ml[0], rtol=1e-4)
    assert found[2].outlined.labels.modality == "MR"
    assert found[0].sha256 == found[1].sha256 == found[4].sha256


def test_a_model_of_one_contrast_takes_it_out_of_a_study(study, bundle):
    schema = SimpleNamespace(channels=("T2w",), modality="MR")
    reader = SimpleNamespace(schema=schema, _of_case=lambda case: VolumeBundle._of_case(reader, case))
    scan = VolumeBundle.read(reader, study / "dicom" / "PHANTOM-000001" / "01")
    assert scan.channels == ("T2w",)
    whole = bundle.read(study / "imagesTr" / "PHANTOM-000001_01.nii.gz")
    want = whole.channel("T2w").reoriented("RAS").array
    np.testing.assert_allclose(scan.reoriented("RAS").array.reshape(want.shape), want, atol=1)


def test_channels_that_are_named_come_in_the_order_of_the_model(bundle, outlines):
    head = outlines[1][0]
    turned = Volume(
        array=head.array[::-1].copy(), affine=head.affine, channels=head.channels[::-1], modality="MR"
    )  # fmt: skip
    assert one(bundle, turned).volumes == one(bundle, head).volumes


def test_intervals_and_expected_dice_come_along(outlines, lab, tmp_path, bundle):
    model = outlines[0]
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 200, 30)
    model.volume_errors[0] = VolumeInterval.fit(truth * rng.normal(1, 0.05, 30), truth)
    try:
        folder = pack_volumes(model, tmp_path / "b", meta=lab.META, expects=bundle.schema)
        found = one(load(folder), outlines[1][0])
    finally:
        model.volume_errors[0] = None
    known = found.volumes["whole_tumour"]
    assert known["lower"] < known["ml"] < known["upper"]
    assert found.volumes["tumour_core"]["lower"] is None
    cells = volume_table(found, bundle.keys)
    assert cells["ml_upper@whole_tumour"] == known["upper"]
    assert list(cells) == list(volume_table(PredictedVolume(row=0), bundle.keys))


def test_nothing_keeps_the_outlines_of_scans_that_are_done(bundle, outlines):
    import gc
    import weakref

    rows = bundle.predict(outlines[1])
    first = next(rows)
    alive = weakref.ref(first.labels.array.base if first.labels.array.base is not None else first.labels.array)
    assert alive() is not None
    del first
    second = next(rows)
    gc.collect()
    assert alive() is None
    assert second.volumes


def test_progress_tells_the_time_that_is_left(bundle, outlines):
    told = []
    list(bundle.predict(outlines[1], progress=lambda share, text: told.append((share, text))))
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1][0] == 1.0
    assert told[-1][1].startswith("4 of 4 scans, 0 refused")
    assert "s left" in told[0][1]


# ----------------------------------------------------------------------------------------------------------- bad scans


def torture(folder, scan):
    """Write scans that are refused, by the code that says why."""
    folder.mkdir()

    def nifti(name, array, channels=()):
        path = folder / f"{name}.nii.gz"
        write_nifti(Volume(array=array, affine=scan.affine, channels=channels), path)
        return path

    array = scan.array
    good = nifti("good", array)
    cut = folder / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:-2000])
    raw = bytearray(gzip.decompress(good.read_bytes()))
    raw[42:50] = np.array([30000, 30000, 30000, 4], dtype="<i2").tobytes()
    claims = folder / "claims.nii"
    claims.write_bytes(raw)
    odd = array.astype(np.float32)
    odd[0, 3, 4, 5] = np.nan
    blank = array.copy()
    blank[2] = 0
    raw = bytearray(gzip.decompress(nifti("flat", array[0]).read_bytes()))
    raw[40:56] = np.array([2, 20, 20, 1, 1, 1, 1, 1], dtype="<i2").tobytes()
    two = folder / "two.nii"
    two.write_bytes(raw[: 352 + 20 * 20 * 2])
    empty = folder / "empty.nii"
    empty.write_bytes(b"")
    text = folder / "text.nii.gz"
    text.write_bytes(b"patient,image\n")
    return {
        "TRUNCATED": [cut],
        "TOO_LARGE": [claims],
        "NOT_FINITE": [nifti("nan", odd)],
        "MISSING_CHANNEL": [nifti("three", array[:3]), nifti("single", array[0]), nifti("blank", blank)],
        "TIME_SERIES": [nifti("five", np.concatenate([array, array[:1]]))],
        "FLAT": [two],
        "EMPTY": [empty],
        "TRUNCATED or NOT_A_VOLUME": [text],
        "MISSING": [VolumeCase((folder / "gone.nii.gz",), channels=scan.channels)],
        "NO_PIXELS": [nifti("zeros", np.zeros_like(array))],
    }


def test_every_bad_scan_gets_its_code_and_the_others_their_outlines(bundle, outlines, tmp_path):
    bad = torture(tmp_path / "bad", outlines[1][0])
    sources, expected = [], []
    for code, files in bad.items():
        for file in files:
            sources += [file, outlines[1][0]]
            expected += [code, None]
    found = list(bundle.predict(sources))
    assert len(found) == len(sources)
    for got, want in zip(found, expected, strict=True):
        assert (got.code is None) == (want is None), (want, got.code, got.reason)
        if want:
            assert got.code in want.split(" or "), (want, got.code, got.reason)
            assert got.volumes is got.present is got.outlined is None
    assert {got.volumes["whole_tumour"]["ml"] for got in found if got.volumes} == {
        one(bundle, outlines[1][0]).volumes["whole_tumour"]["ml"]
    }


def test_swapped_order_other_device_and_other_voxels_are_warned_of(bundle, outlines):
    head = outlines[1][0]
    ct = dataclasses.replace(head, modality="CT")
    assert said(one(bundle, ct)) == ["OTHER_MODALITY"]
    units = Volume(array=head.array.astype(np.int16) - 1000, affine=head.affine, channels=head.channels)
    assert "OTHER_MODALITY" in said(one(bundle, units))
    fine = Volume(array=head.array, affine=head.affine @ np.diag([0.5, 0.5, 0.5, 1]), channels=head.channels)
    assert set(said(one(bundle, fine))) >= {"OTHER_SPACING", "FIELD_OF_VIEW"}


def test_an_empty_folder_and_several_scans_in_one_path(bundle, study, tmp_path):
    (tmp_path / "empty").mkdir()
    assert one(bundle, tmp_path / "empty").code == "NO_PREDICTION"
    assert one(bundle, study / "imagesTr").code == "MIXED"
    assert one(bundle, tmp_path / "gone").code == "NO_PREDICTION"


def test_a_scan_that_would_fill_the_memory_is_refused_before(bundle, outlines, monkeypatch):
    monkeypatch.setattr(volumes_module, "_MOST", 1000)
    assert one(bundle, outlines[1][0]).code == "TOO_LARGE"


def test_an_unforeseen_error_ends_one_scan_and_quotes_nothing(bundle, outlines, monkeypatch):
    def broken(scan):
        raise RuntimeError("Jane Doe")

    head = outlines[1][0]
    monkeypatch.setattr(bundle, "_facts", broken)
    found = one(bundle, head)
    monkeypatch.undo()
    assert (found.code, "Jane" in found.reason) == ("UNFORESEEN", False)

    def engine(windows):
        raise RuntimeError("Jane Doe")

    monkeypatch.setattr(bundle, "runtime", engine)
    found = one(bundle, head)
    assert (found.code, "Jane" in found.reason) == ("UNFORESEEN", False)


def test_what_is_not_finite_is_no_outline(bundle, outlines, monkeypatch):
    def engine(windows):
        return [np.full((len(windows), 2, *windows.shape[2:]), np.nan, dtype=np.float32)]

    monkeypatch.setattr(bundle, "runtime", engine)
    assert one(bundle, outlines[1][0]).code == "NO_PREDICTION"


# -------------------------------------------------------------------------------------------------- golden and hostile


def refuse(folder, match=None):
    with pytest.raises(BundleError, match=match) as caught:
        load(folder)
    assert caught.value.exit_code == 4
    return caught.value


def rehash(folder, **files):
    """Do what a careful attacker does: write members and put their hashes in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, data in files.items():
        (folder / name).write_bytes(data)
        manifest["members"][name] = {"sha256": sha256(data), "bytes": len(data)}
    manifest["checksum"] = checksum(manifest)
    (folder / "manifest.json").write_bytes(dump(manifest, pretty=True))


def changed(folder, name, change):
    record = json.loads((folder / name).read_bytes())
    change(record)
    rehash(folder, **{name: dump(record)})


def test_the_list_of_members_is_complete(volume_bundle):
    assert sorted(MEMBERS) == sorted(path.name for path in volume_bundle.iterdir())


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_byte(copy, name, place):
    data = bytearray((copy / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (copy / name).write_bytes(data)
    assert name in str(refuse(copy))


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_or_cut(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    refuse(copy)
    (copy / name).unlink()
    refuse(copy)


def test_golden_volumes_are_drawn_and_in_two_geometries(bundle, outlines):
    files = synthetic_volumes(outlines[0])
    assert sorted(files) == ["golden_1.nii.gz", "golden_2.nii.gz", "golden_3.nii.gz"]
    golden, members = make_golden(bundle, files)
    first, second, third = golden["cases"]
    assert first["settled"]["exact"]
    assert not second["settled"]["exact"]
    assert third["code"] == "TRUNCATED"
    assert {len(data) for data in members.values()} == {2 * int(np.prod(c["shape"])) for c in (first, second)}
    assert len(first["settled"]["labels_sha256"]) == 64


def change_weight(folder):
    from safetensors.numpy import load as read
    from safetensors.numpy import save

    tensors = read((folder / "weights.safetensors").read_bytes())
    name = next(key for key in sorted(tensors) if key.endswith("heads.0.bias"))
    tensors[name] = tensors[name] + 2.0
    data = save(tensors)
    rehash(folder, **{"weights.safetensors": data})
    changed(folder, "model.json", lambda r: r["network"].update(weights_sha256=sha256(data)))


def golden_case(change):
    return lambda folder: changed(folder, "golden.json", lambda r: change(r["cases"][0]))


@pytest.mark.parametrize(
    "attack",
    [
        change_weight,
        golden_case(lambda c: c.update(sha256="0" * 64)),
        golden_case(lambda c: c["settled"].update(labels_sha256="0" * 64)),
        golden_case(lambda c: c["settled"]["volumes"]["whole_tumour"].update(ml=1.5)),
        golden_case(lambda c: c.update(code="FLAT")),
        golden_case(lambda c: c.update(shape=[2, 99999, 99999, 99999])),
        golden_case(lambda c: c.update(chance="../../etc/passwd")),
        golden_case(lambda c: c.clear()),
        lambda f: changed(f, "golden.json", lambda r: r.update(cases=[])),
        lambda f: changed(f, "golden.json", lambda r: r.update(cases=r["cases"][2:] * 3)),
        lambda f: rehash(f, **{"golden_1.f2": bytes(len((f / "golden_1.f2").read_bytes()))}),
        lambda f: rehash(f, **{"golden_1.f2": b""}),
        lambda f: changed(f, "model.json", lambda r: r["preprocessing"].update(spacing=[1e-6] * 3)),
        lambda f: changed(f, "model.json", lambda r: r["preprocessing"].update(orientation="LPS", channels=["a"] * 4)),
        lambda f: changed(f, "model.json", lambda r: r["network"]["parameters"].update(test_time_augmentation=10**6)),
        lambda f: changed(f, "model.json", lambda r: r["network"]["rules"][0].update(minimum=10**6)),
        lambda f: changed(f, "model.json", lambda r: r.update(kind="pictures")),
        lambda f: changed(f, "model.json", lambda r: r.update(kind="os.system")),
        lambda f: changed(f, "schema.json", lambda r: r.update(channels=["T1w", "FLAIR", "T1gd", "T2w"])),
        lambda f: changed(f, "schema.json", lambda r: r.update(regions=["other", "tumour_core"])),
        lambda f: changed(f, "schema.json", lambda r: r.clear()),
        lambda f: changed(f, "calibration.json", lambda r: r.clear()),
        lambda f: rehash(f, **{"weights.safetensors": pickle.dumps({"a": 1})}),
        lambda f: rehash(f, **{"weights.safetensors": b"\xff" * 64}),
    ],
)
def test_a_bundle_whose_hashes_were_mended_is_refused_all_the_same(copy, attack):
    attack(copy)
    refuse(copy)


class Evil:
    """Runs when unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (open, (self.proof, "w"))


@pytest.mark.parametrize("name", ["weights.safetensors", "golden_1.f2", "golden_1.nii.gz", "golden.json"])
def test_no_pickle_is_opened(copy, tmp_path, name):
    proof = tmp_path / "executed"
    rehash(copy, **{name: pickle.dumps(Evil(str(proof)))})
    refuse(copy)
    assert not proof.exists()


def test_a_bundle_of_pictures_with_a_model_of_volumes(copy):
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["kind"] = "aimed.picture_bundle"
    manifest["checksum"] = checksum(manifest)
    (copy / "manifest.json").write_bytes(dump(manifest, pretty=True))
    refuse(copy)


def test_other_channels_than_the_model_are_not_packed(outlines, bundle, lab, tmp_path):
    wrong = dataclasses.replace(bundle.schema, channels=("a", "b", "c", "d"))
    with pytest.raises(BundleError, match="same scans"):
        pack_volumes(outlines[0], tmp_path / "b", meta=lab.META, expects=wrong)
    with pytest.raises(BundleError, match="unsafe or taken"):
        pack_volumes(
            outlines[0], tmp_path / "b", meta=lab.META, expects=bundle.schema, extra_members={"golden_1.f2": "x"}
        )
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_names_regions_and_labels(volume_bundle):
    manifest = json.loads((volume_bundle / "manifest.json").read_text())
    assert manifest["kind"] == "aimed.volume_bundle"
    assert [one["key"] for one in manifest["outcome"]["regions"]] == ["whole_tumour", "tumour_core"]
    assert manifest["outcome"]["regions"][1]["label"] == "Core"
    assert manifest["outcome"]["regions"][0]["labels"] == [1, 2, 3]
    assert "Not a medical device" in manifest["notice"]


def test_ct_models_have_golden_volumes_in_hounsfield_units():
    from aimed.readers.nifti import read_nifti

    model = SimpleNamespace(
        channels=("CT",), preparation=SimpleNamespace(spacing=None, keeps_units=True),
        segmenter=SimpleNamespace(scaling_=SimpleNamespace(low=-160.0, high=240.0)),
    )  # fmt: skip
    data = synthetic_volumes(model)["golden_1.nii.gz"]
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii.gz"
        path.write_bytes(data)
        values = read_nifti(path).array
    assert values.min() == -1000
    assert -160 < values.max() <= 240
    assert isinstance(VolumeBundle, type)
