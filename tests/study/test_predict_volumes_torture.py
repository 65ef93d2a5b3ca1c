"""Predicting what a stranger brings: broken series, kills, full disks, odd names and archives that mean harm."""

from __future__ import annotations

import csv
import errno
import gzip
import importlib.util
import json
import os
import shutil
import signal
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("imagecodecs", reason="the imaging extra is not installed")
pytest.importorskip("nibabel", reason="the imaging extra is not installed")
pytest.importorskip("highdicom", reason="the imaging extra is not installed")
import nibabel as nib
import pydicom
from typer.testing import CliRunner

from aimed.bundle.volume_schema import VolumeSchema
from aimed.bundle.volumes import VolumeBundle
from aimed.cli.app import app
from aimed.core import RefusedError
from aimed.core.grid import Grid
from aimed.core.volume import Volume
from aimed.diagnosis.outlines_model import Outlined
from aimed.diagnosis.volume_preparation import VolumePreparation
from aimed.readers import nifti
from aimed.readers.nifti import read_nifti, write_nifti
from aimed.study import predict_volumes as study_module
from aimed.study import volume_output
from aimed.study.predict_volumes import find_volumes, predict_volumes

BRIGHT = 1.0
"""Standardised greys above this are the blob."""

pytestmark = pytest.mark.slow


def module_of(name):
    path = Path(__file__).parents[1] / "readers" / name
    spec = importlib.util.spec_from_file_location(f"torture_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


torture = module_of("test_volume_torture.py")
dicom = module_of("conftest.py").make_dicom


class Bright:
    """Outlines what is bright, so that the mask of every scan is known without a network."""

    keys = ("blob",)
    volume_errors = (None,)

    def __init__(self, channels=("T1w",)):
        self.channels = channels
        self.preparation = VolumePreparation(channels=channels)

    def outlined(self, prepared, runtime=None, progress=None):
        probability = (prepared.array[:1] > BRIGHT).astype(np.float32)
        masks = np.asarray(self.preparation.back(probability > 0.5, prepared, "nearest"), dtype=bool)
        home = prepared.origin
        return Outlined(
            prepared=prepared, probability=probability, spread=None, outlines=probability > 0.5, masks=masks,
            labels=Volume(array=masks[0].astype(np.uint8), affine=home.affine, labels=True, modality="MR"),
            soft_dice={"blob": 1.0}, expected_dice={"blob": None},
            volumes={"blob": {"ml": float(masks.sum() * home.voxel_ml), "lower": None, "upper": None}},
        )  # fmt: skip


def bundle_of(channels=("T1w",), **schema):
    manifest = {
        "study": {"id": "bright"}, "aimed_version": "1.0", "checksum": "sha256:" + "ab" * 32,
        "outcome": {"regions": [{"key": "blob", "label": "Blob"}]},
    }  # fmt: skip
    expects = VolumeSchema(channels=channels, regions=("blob",), modality="MR", column="scan", **schema)
    return VolumeBundle(Bright(channels), expects, manifest)


@pytest.fixture
def run(monkeypatch):
    """Call the command line with the model that sees what is bright."""

    def call(source, *arguments, bundle=None):
        monkeypatch.setattr("aimed.study.predict.open_bundle", lambda folder: bundle or bundle_of())
        return CliRunner().invoke(app, ["predict", "model", str(source), *map(str, arguments)])

    return call


def code_of(done):
    """Return what the program would exit with."""
    return getattr(done.exception, "exit_code", done.exit_code)


def said(done):
    """Return all that the screen would show."""
    return f"{done.output}{done.stderr}{done.exception or ''}"


def rows_of(out):
    with (out / "volumes.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def text_of(folder):
    """Return all that the files of a folder hold, unpacked."""
    found = b""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found += path.name.encode() + (gzip.decompress(data) if path.suffix == ".gz" else data)
    return found


def drafts(*folders):
    return [
        path.name for folder in folders for path in folder.rglob("*")
        if path.name.startswith(".") or path.suffix in (".part", ".new", ".draft")
    ]  # fmt: skip


def bright(voxels):
    """Return what the model outlines of a whole scan."""
    values = np.asarray(voxels, dtype=np.float64)
    inside = values[values != 0]
    return (values - inside.mean()) / inside.std() > BRIGHT


def blob(shape=(8, 9, 11), seed=0):
    """Return a dark scan with an edge of zeros and a bright blob that is no mirror image."""
    rng = np.random.default_rng(seed)
    voxels = np.zeros(shape, dtype=np.int16)
    voxels[1:-1, 1:-1, 1:-1] = rng.integers(20, 40, tuple(n - 2 for n in shape))
    truth = np.zeros(shape, dtype=bool)
    truth[2:4, 3:6, 4:9], truth[5, 2, 2] = True, True
    voxels[truth] = 900
    return voxels, truth


def put(path, voxels, affine=None):
    write_nifti(Volume(array=voxels, affine=np.diag([-1.0, -1, 2, 1]) if affine is None else affine), path)
    return path


def slices(folder, voxels, study, **tags):
    """Write a series of one patient."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that no standard allows
        torture.Folder(folder, dicom, study).series(voxels.astype(np.uint16), **tags)


# -------------------------------------------------------------------------------------------------------- broken series


def test_the_torture_set_in_one_call(run, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    every = [one for some in torture.TEN.values() for one in some]
    expected = {
        one.__name__: torture.written(scans / one.__name__, dicom, one, f"1.2.{100 + k}")
        for k, one in enumerate(every)
    }  # fmt: skip
    torture.good(scans)
    # What is imported is not counted.
    run(scans / "scrambled", "--out", tmp_path / "first", "--dicom", tmp_path / "first-results")
    done = torture.bounded(lambda: run(scans, "--out", out, "--dicom", tmp_path / "results"))
    assert done.exit_code == 0, done.output
    rows = {row["file"]: row for row in rows_of(out)}
    assert len(rows) == len(every) + 1
    for one in every:
        row = rows[one.__name__]
        assert row["code"] == (one.code or ""), (one.__name__, row)
        if one.code is None:
            mask = read_nifti(out / row["mask"], labels=True)
            assert np.array_equal(mask.array, bright(expected[one.__name__])), one.__name__
            assert float(row["ml@blob"]) > 0
        else:
            assert row["mask"] == row["ml@blob"] == ""
            assert not (out / f"{one.__name__}.nii.gz").exists()
    assert rows["good.nii.gz"]["code"] == ""
    assert not drafts(out, tmp_path / "results")
    told = done.output + done.stderr + text_of(out).decode("latin-1")
    assert not any(secret in told for secret in torture.SECRETS)
    assert str(tmp_path) not in text_of(out).decode("latin-1")


def terabytes(path):
    raw = bytearray(gzip.decompress(put(path, blob()[0]).read_bytes()))
    struct.pack_into("<8h", raw, 40, 3, 20_000, 20_000, 20_000, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(raw)))


def a_terabyte_on_disk(path):
    terabytes(path)
    raw = gzip.decompress(path.read_bytes())
    path.unlink()
    with path.with_name("scan.nii").open("wb") as file:
        file.write(raw)
        file.truncate(2**41)


def truncated(path):
    data = put(path, blob()[0]).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def not_a_number(path):
    voxels = blob()[0].astype(np.float32)
    voxels[3, 3, 3] = np.nan
    put(path, voxels)


def out_of_every_range(path):
    put(path, blob()[0].astype(np.float64) * 1e305)


def many_times(path):
    put(path, np.stack([blob(seed=k)[0] for k in range(5)]))


def a_picture(path):
    put(path, blob()[0][:1])


def nothing_in_it(path):
    put(path, np.zeros((5, 6, 7), np.int16))


def not_a_scan(path):
    path.write_bytes(b"PK\x03\x04" + bytes(900))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (terabytes, "TOO_LARGE"), (a_terabyte_on_disk, "TOO_LARGE"), (truncated, "TRUNCATED"),
        (not_a_number, "NOT_FINITE"), (out_of_every_range, "NOT_FINITE"), (many_times, "TIME_SERIES"),
        (a_picture, "FLAT"), (nothing_in_it, "NO_PIXELS"), (not_a_scan, "NOT_A_VOLUME"),
    ],
)  # fmt: skip
def test_a_broken_file_gets_a_code_and_the_others_go_on(run, tmp_path, spoil, code):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    spoil(scans / "scan.nii.gz")
    put(scans / "good.nii.gz", blob()[0])
    done = torture.bounded(lambda: run(scans, "--out", out))
    assert done.exit_code == 0, done.output
    good, bad = rows_of(out)
    assert (good["file"], good["code"], bad["code"]) == ("good.nii.gz", "", code)
    assert bad["file"].startswith("scan.nii")
    assert bad["mask"] == bad["ml@blob"] == ""
    assert len(bad["reason"]) > 10
    assert sorted(path.name for path in out.iterdir()) == ["good.json", "good.nii.gz", "volumes.csv"]
    assert run(scans / bad["file"], "--out", tmp_path / "alone").exit_code == 4


def test_channels_that_are_absent_or_too_many(run, tmp_path):
    both = bundle_of(("FLAIR", "T1w"))
    scans = tmp_path / "scans"
    scans.mkdir()
    one = blob()[0]
    put(scans / "a_FLAIR.nii.gz", one)
    put(scans / "b_FLAIR.nii.gz", one)
    put(scans / "b_T1w.nii.gz", one, np.diag([-1.0, -1, 2.5, 1]))
    put(scans / "c_FLAIR.nii.gz", one)
    put(scans / "c_T1w.nii.gz", one)
    put(scans / "d.nii.gz", one)
    put(scans / "e.nii.gz", np.stack([one, one * 0]))
    put(scans / "f.nii.gz", np.stack([one, one, one]))
    done = run(scans, "--out", tmp_path / "out", bundle=both)
    assert done.exit_code == 0, done.output
    rows = {row["file"]: row for row in rows_of(tmp_path / "out")}
    assert {name: row["code"] for name, row in rows.items()} == {
        "a": "MISSING", "b": "GRIDS_DIFFER", "c": "", "d.nii.gz": "MISSING_CHANNEL", "e.nii.gz": "MISSING_CHANNEL",
        "f.nii.gz": "TIME_SERIES",
    }  # fmt: skip
    assert "T1w" in rows["a"]["reason"]


def test_channels_in_another_order_are_told(run, tmp_path):
    means = {"FLAIR": (-1.0, 0, 0, 0, 0.5), "T1w": (0.5, 0, 0, 0, -0.5)}
    greys = {name: (mean, (0.2, 5.0, 5.0, 5.0, 0.2)) for name, mean in means.items()}
    both = bundle_of(("FLAIR", "T1w"), greys=greys)
    rng = np.random.default_rng(0)
    flair = rng.normal(1000, 1000 * np.exp(-1.0), (9, 10, 11)).clip(1).astype(np.float32)
    t1 = np.abs(rng.normal(100, 160, (9, 10, 11))).clip(1).astype(np.float32)
    put(tmp_path / "right.nii.gz", np.stack([flair, t1]))
    put(tmp_path / "swapped.nii.gz", np.stack([t1, flair]))
    for name, codes in (("right", []), ("swapped", ["CHANNEL_ORDER"])):
        done = run(tmp_path / f"{name}.nii.gz", "--out", tmp_path / name, bundle=both)
        assert done.exit_code == 0, done.output
        warned = rows_of(tmp_path / name)[0]["warnings"]
        assert [code for code in ("CHANNEL_ORDER",) if code in warned] == codes
        assert ("CHANNEL_ORDER" in done.stderr) == bool(codes)


# ----------------------------------------------------------------------------------------------------- masks come back

OBLIQUE = np.array([[0.9, 0.2, 0.1, -30], [-0.2, 0.85, 0.3, 12], [0.05, -0.4, 2.2, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1, 1, 1]), np.diag([-1.0, -1, 2, 1]), np.diag([0.5, -0.7, 5, 1]),
        np.array([[0, 0, -3.0, 9], [0.8, 0, 0, -4], [0, -0.9, 0, 2], [0, 0, 0, 1]]), OBLIQUE,
        np.diag([1e-3, 1e-3, 2e-3, 1]),
    ],
    ids=["RAS", "LPS", "anisotropic", "turned", "oblique", "metres"],
)  # fmt: skip
@pytest.mark.parametrize("version", [1, 2])
def test_masks_lie_on_their_scans(run, tmp_path, affine, version):
    voxels, truth = blob()
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = kind(voxels.T, affine)
    image.header.set_xyzt_units("meter" if affine[0, 0] == 1e-3 else "mm")
    image.set_sform(affine, code=2)
    if np.allclose(affine[:3, :3].T @ affine[:3, :3], np.diag(np.diag(affine[:3, :3].T @ affine[:3, :3]))):
        image.set_qform(affine, code=3)
    else:
        image.header["qform_code"] = 0
    nib.save(image, tmp_path / "scan.nii.gz")
    done = run(tmp_path / "scan.nii.gz", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    theirs, ours = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "out" / "scan.nii.gz")
    assert ours.shape == theirs.shape
    assert np.array_equal(ours.affine, theirs.affine)
    assert np.array_equal(np.asarray(ours.dataobj).T, truth)
    for field in ("sform_code", "qform_code", "xyzt_units"):
        assert ours.header[field] == theirs.header[field]
    np.testing.assert_array_equal(ours.header["pixdim"][:4], theirs.header["pixdim"][:4])
    ml = truth.sum() * abs(np.linalg.det(affine[:3, :3])) * (1e9 if affine[0, 0] == 1e-3 else 1) / 1000
    assert float(rows_of(tmp_path / "out")[0]["ml@blob"]) == pytest.approx(ml, rel=1e-4)


@pytest.mark.parametrize(("step", "turn"), [(1.25, None), (-1.25, None), (5.0, (0.8, 0.6, 0, 0, 0, -1))])
def test_masks_lie_on_slices_of_dicom(run, tmp_path, step, turn):
    voxels, truth = blob()
    tags = {} if turn is None else {"ImageOrientationPatient": list(turn)}
    normal = np.array((0.0, 0, 1)) if turn is None else np.cross(turn[:3], turn[3:])
    slices(tmp_path / "scan", voxels, "1.2.5", step=step * normal, **tags)
    done = run(tmp_path / "scan", "--out", tmp_path / "out", "--dicom", tmp_path / "results")
    assert done.exit_code == 0, done.output
    mask = read_nifti(tmp_path / "out" / "scan.nii.gz", labels=True)
    assert np.array_equal(mask.array if step > 0 else mask.array[::-1], truth)
    first = pydicom.dcmread(sorted((tmp_path / "scan").iterdir())[0])
    place = np.array([float(v) for v in first.ImagePositionPatient])
    start = place * (-1, -1, 1)
    k = np.linalg.solve(mask.affine[:3, :3], start - mask.affine[:3, 3])
    np.testing.assert_allclose(k, np.rint(k), atol=1e-3)
    segmentation = next(
        one for one in map(pydicom.dcmread, (tmp_path / "results").iterdir()) if one.Modality == "SEG"
    )  # fmt: skip
    assert int(np.unpackbits(np.frombuffer(segmentation.PixelData, np.uint8)).sum()) == truth.sum()
    assert Grid(mask.shape, mask.affine).voxel_ml == pytest.approx(0.8 * 0.7 * abs(step) / 1000, rel=1e-5)


# ------------------------------------------------------------------------------------------------------- interruptions


@pytest.fixture
def studies(tmp_path):
    """Two studies of DICOM and a NIfTI file."""
    scans = tmp_path / "scans"
    for k, name in enumerate(("patient a", "patient b")):
        slices(scans / name, blob(seed=k)[0], f"1.2.7{k}")
    put(scans / "c.nii.gz", blob(seed=2)[0])
    return scans


def killed(call, prepare):
    """Run in a process of its own that kills itself."""
    child = os.fork()
    if not child:
        try:
            prepare()
            call()
        finally:
            os._exit(7)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def at_the(n, module, name, before=None):
    """Kill this process at the n-th call of a function: inside it, or at its end."""
    real, calls = getattr(module, name), []

    def fatal(*arguments, **named):
        calls.append(1)
        if len(calls) == n and before is not None:
            before(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*arguments, **named)
        if len(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(module, name, fatal)


def half_a_file(path, parts):
    (path.parent / ".abcdefgh.part").write_bytes(bytes(parts[0])[:100])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("n", "module", "name", "before"),
    [
        (1, volume_output, "write_dataset", None), (2, volume_output, "write_dataset", None),
        (3, volume_output, "write_dataset", None), (2, volume_output, "write_nifti", None),
        (2, nifti, "_whole_or_nothing", half_a_file), (2, volume_output, "write_atomic", None),
        (2, study_module, "_written", None), (1, study_module, "_write_table", None),
    ],
)  # fmt: skip
def test_a_killed_call_is_finished_as_if_nothing_had_been(studies, tmp_path, n, module, name, before):
    out, results = tmp_path / "out", tmp_path / "results"

    def call(folder, dicom):
        bundle = bundle_of()
        return predict_volumes(bundle, find_volumes(bundle, studies, out=folder, dicom=dicom), folder, dicom=dicom)

    killed(lambda: call(out, results), lambda: at_the(n, module, name, before))
    assert (out / "volumes.part").exists()
    done = call(out, results)
    assert (done.scans, done.predicted) == (3, 3)
    whole = call(tmp_path / "whole", tmp_path / "whole-results")
    assert (out / "volumes.csv").read_bytes() == (tmp_path / "whole" / "volumes.csv").read_bytes()
    assert len(rows_of(out)) == 3
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in (tmp_path / "whole").iterdir())
    kinds = sorted(pydicom.dcmread(path).Modality for path in results.iterdir())
    assert kinds == ["SEG", "SEG", "SR", "SR"]
    assert not drafts(out, results)
    assert whole.without_dicom == {"NO_DICOM": 1}


def test_two_calls_do_not_write_to_one_folder(studies, tmp_path):
    bundle, out = bundle_of(), tmp_path / "out"
    found = find_volumes(bundle, studies, out=out)

    def meanwhile(share, text):
        if not refused:
            with pytest.raises(RefusedError, match="another call is writing"):
                refused.append(predict_volumes(bundle, found, out))
            refused.append("told")

    refused = []
    assert predict_volumes(bundle, found, out, progress=meanwhile).predicted == 3
    assert refused == ["told"]


@pytest.mark.parametrize("place", ["json", "mask", "dicom", "log"])
def test_a_full_disk_stops_the_call_and_refuses_no_scan(run, studies, tmp_path, monkeypatch, place):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device", "/home/zebedee/x")

    with monkeypatch.context() as patch:
        if place == "json":
            patch.setattr("aimed.study.store.os.replace", full)
        elif place == "mask":
            patch.setattr(nifti, "_whole_or_nothing", full)
        elif place == "dicom":
            patch.setattr(volume_output, "write_dataset", full)
        else:
            patch.setattr("aimed.study.row_log.os.fsync", full)
        done = run(studies, "--out", tmp_path / "out", "--dicom", tmp_path / "results")
    assert code_of(done) == 3, said(done)
    told = said(done)
    assert "No space left on device" in told
    assert "patient a" not in told
    assert "zebedee" not in told
    assert not (tmp_path / "out" / "volumes.csv").exists()
    assert set(drafts(tmp_path / "out")) == {"volumes.part"}
    done = run(studies, "--out", tmp_path / "out", "--dicom", tmp_path / "results")
    assert done.exit_code == 0, done.output
    assert [row["code"] for row in rows_of(tmp_path / "out")] == ["", "", ""]
    assert len(list((tmp_path / "results").iterdir())) == 4
    assert not drafts(tmp_path / "out", tmp_path / "results")


# ----------------------------------------------------------------------------------------------------- where it is put


def test_results_among_the_scans_are_no_scans(run, studies, tmp_path):
    out = studies / "out"
    for _ in range(2):
        done = run(studies, "--out", out, "--dicom", out / "dicom")
        assert done.exit_code == 0, done.output
        assert len(rows_of(out)) == 3
        # As if the table had not been finished.
        (out / "volumes.csv").unlink()
        names = {path.name for path in out.iterdir()}
        assert names == {"c.json", "c.nii.gz", "dicom", "patient_a.json", "patient_a.nii.gz", "patient_b.json",
                         "patient_b.nii.gz"}  # fmt: skip
        shutil.rmtree(out)
    inside = run(studies / "patient a", "--out", studies / "patient a" / "out")
    assert inside.exit_code == 0, inside.output
    refused = run(studies, "--out", tmp_path / "new", "--dicom", studies / "dicom")
    assert code_of(refused) == 4, said(refused)
    assert not (tmp_path / "new").exists()
    same = run(studies, "--out", studies)
    assert code_of(same) == 4
    assert "other files" in said(same)


def test_a_call_among_its_scans_is_taken_up(studies, monkeypatch):
    bundle, out = bundle_of(), studies / "patient b" / "out"

    def stops(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    real, calls = study_module._written, []
    with monkeypatch.context() as patch:
        patch.setattr(study_module, "_written", stops)
        with pytest.raises(KeyboardInterrupt):
            predict_volumes(bundle, find_volumes(bundle, studies, out=out), out)
    done = predict_volumes(bundle, find_volumes(bundle, studies, out=out), out)
    assert (done.resumed, done.predicted) == (1, 3)


def test_places_that_cannot_be_written(run, studies, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/aimed")):
        done = run(studies, "--out", out)
        assert code_of(done) in (3, 4), said(done)
        assert "patient a" not in said(done)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "gone"):
        assert code_of(run(source, "--out", tmp_path / "out")) == 3
    assert not (tmp_path / "out").exists()


def test_names_of_every_kind(run, tmp_path):
    scans = tmp_path / "scans é ü 脳"
    names = [
        "b b/scan.nii.gz",
        "a/scan.nii.gz",
        "a/scan.nii",
        "Ä/scan.nii.gz",
        "=cmd.nii.gz",
        "脳.nii.gz",
        "x\ny.nii.gz",
    ]
    for k, name in enumerate(names):
        (scans / name).parent.mkdir(parents=True, exist_ok=True)
        put(scans / name, blob(seed=k)[0])
    undecodable = os.fsencode(scans) + b"/\xff\xfe.nii.gz"
    try:
        Path(os.fsdecode(undecodable)).write_bytes((scans / "a" / "scan.nii.gz").read_bytes())
        count = len(names) + 1
    except OSError:  # a disk whose names are text
        count = len(names)
    done = run(scans, "--out", tmp_path / "out put")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "out put")
    assert len({row["mask"] for row in rows}) == len(rows) == count
    assert not any(row["file"].startswith("=") for row in rows)
    for row in rows:
        record = json.loads((tmp_path / "out put" / row["mask"].replace(".nii.gz", ".json")).read_text())
        assert record["scan"]["sha256"] == row["sha256"]
        assert record["files"]["mask"]["file"] == row["mask"]
    assert len({row["sha256"] for row in rows}) == len(names)


# -------------------------------------------------------------------------------------------------------- other sources


def test_archives_that_mean_harm(run, tmp_path):
    scans = tmp_path / "scans"
    slices(tmp_path / "series", blob()[0], "1.2.8")
    scans.mkdir()
    files = sorted((tmp_path / "series").iterdir())
    with zipfile.ZipFile(scans / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, f"../../../{path.name}")
    with zipfile.ZipFile(scans / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dcm", files[0].read_bytes() + bytes(2**28))
    with zipfile.ZipFile(scans / "nifti.zip", "w") as archive:
        archive.write(put(tmp_path / "a.nii.gz", blob()[0]), "a.nii.gz")
    (scans / "torn.zip").write_bytes((scans / "good.zip").read_bytes()[:-30])
    with zipfile.ZipFile(scans / "empty.zip", "w"):
        pass
    before = set(tmp_path.rglob("*"))
    done = torture.bounded(lambda: run(scans, "--out", tmp_path / "out"))
    assert done.exit_code == 0, done.output
    rows = {row["file"]: row["code"] for row in rows_of(tmp_path / "out")}
    assert rows == {"good.zip": "", "bomb.zip": "ZIP_BOMB", "nifti.zip": "NOT_A_VOLUME", "torn.zip": rows["torn.zip"],
                    "empty.zip": "NO_PIXELS"}  # fmt: skip
    assert rows["torn.zip"] in ("TRUNCATED", "NOT_A_VOLUME")
    mask = read_nifti(tmp_path / "out" / "good.nii.gz", labels=True)
    assert np.array_equal(mask.array, blob()[1])
    # Nothing left the archives.
    assert {path for path in tmp_path.rglob("*") if path.parts[len(tmp_path.parts)] != "out"} == before


def test_folders_that_name_no_study_are_scans_of_their_own(run, tmp_path):
    for k in range(3):
        slices(tmp_path / "scans" / f"sub-{k}", blob(seed=k)[0], "1.2", StudyInstanceUID=None)
    broken = sorted((tmp_path / "scans" / "sub-1").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:150])
    done = run(tmp_path / "scans", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [(row["file"], row["code"]) for row in rows_of(tmp_path / "out")] == [
        ("sub-0", ""), ("sub-1", "TRUNCATED"), ("sub-2", ""),
    ]  # fmt: skip


def test_nobody_is_named(run, tmp_path):
    scans = tmp_path / "scans"
    secret = "Zebedee"
    for k, tags in enumerate(
        [
            {}, {"Modality": "ZEBEDEE"}, {"ProtocolName": secret, "ImageComments": secret},
            {"StudyDate": secret, "PatientSex": secret, "PatientAge": secret},
            {"SeriesInstanceUID": f"{secret}.1"}, {"FrameOfReferenceUID": secret},
            {"PhotometricInterpretation": "ZEBEDEE"}, {"ImageType": secret}, {"BodyPartExamined": secret},
        ]
    ):  # fmt: skip
        slices(scans / f"s{k}", blob(seed=k)[0], f"1.2.9{k}", **tags)
    slices(scans / "two", blob()[0], "1.2.200")
    other = next((scans / "two").iterdir())
    changed = pydicom.dcmread(other)
    changed.PatientID, changed.PatientName = "MRN-1", "Quixote"
    changed.save_as(other)
    table = scans / "list.csv"
    table.write_text(
        "scan,name,who\n"
        + "".join(f"s{k},Zebedee Quixote,{k}\n" for k in range(9))
        + "two,MRN-778899,x\ngone,Zebedee,y\n"
    )
    for extra in ([], ["--json"]):
        for source in (scans, table):
            out = tmp_path / f"out{len(extra)}{source.suffix}"
            done = run(source, "--out", out, "--dicom", tmp_path / f"dicom{len(extra)}{source.suffix}", *extra)
            assert done.exit_code == 0, done.output
            told = done.output + done.stderr + text_of(out).decode("latin-1")
            assert not any(word.lower() in told.lower() for word in torture.SECRETS)
            assert "NO_DICOM" in told


def test_what_libraries_say_is_not_repeated(run, studies, tmp_path, monkeypatch):
    def speaks(*arguments, **named):
        raise ValueError("the patient is Zebedee")

    monkeypatch.setattr(volume_output, "segmentation", speaks)
    done = run(studies, "--out", tmp_path / "out", "--dicom", tmp_path / "results")
    assert code_of(done) == 0, said(done)
    assert "NO_DICOM 3" in said(done)
    assert "Zebedee" not in said(done) + text_of(tmp_path / "out").decode("latin-1")
    assert "ValueError" in (tmp_path / "out" / "patient_a.json").read_text()
    assert [row["code"] for row in rows_of(tmp_path / "out")] == ["", "", ""]


@pytest.mark.parametrize("place", ["read", "outlined"])
def test_a_scan_that_does_not_fit_into_memory_costs_no_other(run, studies, tmp_path, monkeypatch, place):
    bundle = bundle_of()
    owner, calls = (bundle, []) if place == "read" else (bundle.model, [])
    real = getattr(owner, place)

    def hungry(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return real(*arguments, **named)

    monkeypatch.setattr(owner, place, hungry)
    done = run(studies, "--out", tmp_path / "out", bundle=bundle)
    assert code_of(done) == 0, said(done)
    rows = rows_of(tmp_path / "out")
    assert [row["code"] for row in rows] == ["", "TOO_LARGE", ""]
    assert "memory" in rows[1]["reason"]
