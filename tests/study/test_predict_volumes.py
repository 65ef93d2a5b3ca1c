"""Predicting scans from the command line: masks where scans lie, nothing overwritten, nobody named on the screen."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the deep extra is not installed")
pytest.importorskip("nibabel", reason="the imaging extra is not installed")
pytest.importorskip("highdicom", reason="the imaging extra is not installed")
import nibabel as nib
from typer.testing import CliRunner

from aimed.bundle.load import load
from aimed.bundle.pack import pack_volumes
from aimed.bundle.volume_schema import VolumeSchema
from aimed.cli.app import app
from aimed.core import BundleError, DataError, RefusedError
from aimed.readers.nifti import read_nifti
from aimed.study import predict_volumes as study_module
from aimed.study.predict_volumes import Volumes, find_volumes, predict_volumes
from aimed.synthetic import write_brain_study

CODE = {"scheme": "NCIt", "value": "C3262", "meaning": "Neoplasm"}


def bundles():
    """Return the helpers of the tests of bundles."""
    path = Path(__file__).parents[1] / "bundle" / "conftest.py"
    spec = importlib.util.spec_from_file_location("bundle_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A packed model of two regions in drawn heads, made as in the tests of bundles."""
    module = bundles()
    model, _, _ = module.fitted_outlines()
    expects = VolumeSchema(
        channels=model.channels, regions=tuple(model.keys), spacing=(9.6,) * 3, modality="MR", column="scan"
    )
    return pack_volumes(model, tmp_path_factory.mktemp("run") / "bundle", meta=module.META, expects=expects)


@pytest.fixture(scope="module")
def exclusive(tmp_path_factory):
    """A packed model of three labels that exclude each other, two of them with a declared code."""
    module = bundles()
    regions = {"oedema": (1,), "tumour core": (2,), "odd part": (3,)}
    model, _, _ = module.fitted_outlines(regions=regions, paint=None, exclusive=True)
    expects = VolumeSchema(channels=model.channels, regions=tuple(model.keys), spacing=(9.6,) * 3, modality="MR")
    codes = {"tumour core": CODE, "odd part": {"scheme": "99TEST", "value": "X-1", "meaning": "Odd part"}}
    meta = {**module.META, "outcome": {**module.META["outcome"], "codes": codes}}
    folder = tmp_path_factory.mktemp("exclusive")
    wrong = {**module.META, "outcome": {"codes": {"whole tumour": CODE}}}
    with pytest.raises(BundleError, match="codes of 1 regions that the model does not outline"):
        pack_volumes(model, folder / "wrong", meta=wrong, expects=expects)
    return pack_volumes(model, folder / "bundle", meta=meta, expects=expects)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "heads"
    write_brain_study(folder, 3, formats=("nifti", "dicom"), size=20, seed=2)
    return folder


@pytest.fixture
def scans(study, tmp_path):
    """A folder as it may come: three good scans, of which names tell who it is, and a broken one."""
    place = tmp_path / "scans"
    place.mkdir()
    for number, file in enumerate(sorted((study / "imagesTr").iterdir())):
        (place / f"Jane Doe {number}.nii.gz").write_bytes(file.read_bytes())
    (place / "broken.nii.gz").write_bytes(file.read_bytes()[:500])
    return place


def run(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def rows_of(out):
    with (out / "volumes.csv").open() as file:
        return list(csv.DictReader(file))


def test_masks_have_the_place_of_their_scans_bit_for_bit(bundle, scans, tmp_path):
    source = scans / "Jane Doe 0.nii.gz"
    image = nib.load(source)
    turned = nib.Nifti1Image(np.asarray(image.dataobj)[::-1, :, ::-1], image.affine @ np.diag([-1, 1, -1, 1]))
    turned.set_qform(turned.affine, code=3)
    turned.set_sform(turned.affine, code=2)
    nib.save(turned, scans / "turned.nii")
    done = run(bundle, scans, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    rows = {row["file"]: row for row in rows_of(out)}
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["volumes.csv"] + [f"{stem}.{end}" for stem in ("Jane_Doe_0", "Jane_Doe_1", "Jane_Doe_2", "turned")
                           for end in ("json", "nii.gz")]
    )  # fmt: skip
    for name, mask in (("Jane Doe 0.nii.gz", "Jane_Doe_0.nii.gz"), ("turned.nii", "turned.nii.gz")):
        theirs, ours = nib.load(scans / name), nib.load(out / mask)
        assert rows[name]["mask"] == mask
        for field in ("srow_x", "srow_y", "srow_z", "sform_code", "qform_code", "quatern_b", "qoffset_x"):
            np.testing.assert_array_equal(theirs.header[field], ours.header[field])
        labels = read_nifti(out / mask, labels=True)
        assert labels.array.dtype == np.uint8
        assert set(np.unique(labels.array)) <= {0, 1, 2}
        ml = np.count_nonzero(labels.array) * labels.grid.voxel_ml
        assert ml == pytest.approx(float(rows[name]["ml@whole_tumour"]), rel=1e-5)
    first, other = rows["Jane Doe 0.nii.gz"], rows["turned.nii"]
    assert float(first["ml@whole_tumour"]) == pytest.approx(float(other["ml@whole_tumour"]), rel=1e-5)
    assert rows["broken.nii.gz"]["code"] == "TRUNCATED"
    assert rows["broken.nii.gz"]["mask"] == rows["broken.nii.gz"]["ml@whole_tumour"] == ""
    record = json.loads((out / "Jane_Doe_0.json").read_text())
    assert record["scan"]["sha256"] == first["sha256"]
    assert record["model"]["digest"] == load(bundle).digest
    assert "Not a medical device" in record["notice"]


def test_the_screen_names_nobody(bundle, scans, tmp_path):
    for extra in ([], ["--json"]):
        done = run(bundle, scans, "--out", tmp_path / f"out{len(extra)}", *extra)
        assert done.exit_code == 0
        assert "Jane" not in done.output
        assert "Jane" not in done.stderr
        assert "TRUNCATED" in done.output + done.stderr
    told = json.loads(done.stdout)
    assert {key: told[key] for key in ("scans", "predicted", "refused", "resumed")} == {
        "scans": 4, "predicted": 3, "refused": {"TRUNCATED": 1}, "resumed": 0,
    }  # fmt: skip


def test_nothing_is_overwritten(bundle, scans, tmp_path):
    out = tmp_path / "out"
    assert run(bundle, scans, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    opened, found = load(bundle), find_volumes(load(bundle), scans)
    with pytest.raises(RefusedError, match="finished predictions"):
        predict_volumes(opened, found, out)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("mine")
    with pytest.raises(RefusedError, match="other files"):
        predict_volumes(opened, found, other)
    with pytest.raises(RefusedError, match="is a file"):
        predict_volumes(opened, found, other / "chapter.txt")
    assert [path.name for path in other.iterdir()] == ["chapter.txt"]


def test_a_stopped_call_is_taken_up_and_only_by_the_same(bundle, scans, tmp_path, monkeypatch):
    opened, out = load(bundle), tmp_path / "out"
    found = find_volumes(opened, scans)
    real, calls = study_module._written, []

    def stops(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(study_module, "_written", stops)
    with pytest.raises(KeyboardInterrupt):
        predict_volumes(opened, found, out)
    monkeypatch.undo()
    assert not (out / "volumes.csv").exists()
    with (out / "volumes.part").open("ab") as file:
        file.write(b'{"row": 3, "torn')
    with pytest.raises(RefusedError, match="of other scans"):
        predict_volumes(opened, Volumes(found.scans[:2]), out)
    done = predict_volumes(opened, found, out)
    assert (done.resumed, done.scans, done.predicted) == (2, 4, 3)
    assert not (out / "volumes.part").exists()
    whole = predict_volumes(opened, found, tmp_path / "whole")
    assert whole.resumed == 0
    assert (out / "volumes.csv").read_bytes() == (tmp_path / "whole" / "volumes.csv").read_bytes()


def test_a_scan_that_changed_since_is_not_mixed_with_the_others(bundle, scans, tmp_path, monkeypatch):
    opened, out = load(bundle), tmp_path / "out"

    def stops(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "_written", stops)
    with pytest.raises(KeyboardInterrupt):
        predict_volumes(opened, find_volumes(opened, scans), out)
    os.utime(scans / "broken.nii.gz", (1, 1))
    with pytest.raises(RefusedError, match="changed since"):
        predict_volumes(opened, find_volumes(opened, scans), out)


def test_dicom_scans_get_segmentation_and_report_and_others_do_not(bundle, study, tmp_path):
    import pydicom

    out, results = tmp_path / "out", tmp_path / "results"
    done = run(bundle, study / "dicom" / "PHANTOM-000001", "--out", out, "--dicom", results)
    assert done.exit_code == 0, done.output
    found = [pydicom.dcmread(path) for path in results.iterdir()]
    assert sorted(one.Modality for one in found) == ["SEG", "SR"]
    assert sorted(path.suffix for path in out.iterdir()) == [".csv", ".gz", ".json"]
    again = run(bundle, study / "imagesTr", "--out", tmp_path / "nifti", "--dicom", tmp_path / "none")
    assert again.exit_code == 0
    assert "without DICOM results: NO_DICOM 3" in again.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_declared_codes_and_the_kind_stand_in_the_segmentation(exclusive, study, tmp_path, kind):
    import pydicom

    out, results = tmp_path / "out", tmp_path / "results"
    more = ["--labelmap"] if kind == "LABELMAP" else []
    done = run(exclusive, study / "dicom" / "PHANTOM-000001", "--out", out, "--dicom", results, *more)
    assert done.exit_code == 0, done.output
    found = next(one for path in results.iterdir() if (one := pydicom.dcmread(path)).Modality == "SEG")
    assert found.SegmentationType == kind
    told = {}
    for item in found.SegmentSequence:
        code = item.SegmentedPropertyTypeCodeSequence[0]
        told[item.SegmentLabel] = (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning)
    # A region without a declared code has that of the standard.
    assert told["oedema"] == ("79654002", "SCT", "Edema")
    assert told["Core"] == ("C3262", "NCIt", "Neoplasm")
    assert told["odd part"] == ("X-1", "99TEST", "Odd part")
    record = json.loads(next(path for path in out.iterdir() if path.suffix == ".json").read_text())
    assert [one["code"]["value"] for one in record["regions"]] == ["79654002", "C3262", "X-1"]


def test_a_region_without_a_code_is_tissue(bundle):
    manifest = load(bundle).manifest
    assert [one["code"] for one in manifest["outcome"]["regions"]] == [None, None]
    assert study_module._codes([{"key": "a"}, {"key": "b", "code": CODE}]) == {"b": ("C3262", "NCIt", "Neoplasm")}


def test_a_label_map_is_refused_where_it_cannot_be(bundle, study, tmp_path):
    scan = study / "dicom" / "PHANTOM-000001"
    done = run(bundle, scan, "--out", tmp_path / "out", "--dicom", tmp_path / "results", "--labelmap")
    assert "a label map and a model whose regions overlap" in str(done.exception)
    done = run(bundle, scan, "--out", tmp_path / "out", "--labelmap")
    assert "--labelmap without --dicom" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_codes_of_the_exit(bundle, study, scans, tmp_path):
    assert run(bundle, scans).exit_code != 0
    (tmp_path / "empty").mkdir()
    assert run(bundle, tmp_path / "empty", "--out", tmp_path / "a").exit_code != 0
    assert not (tmp_path / "a").exists()
    assert run(bundle, scans / "broken.nii.gz", "--out", tmp_path / "b").exit_code == 4
    assert run(bundle, study / "dataset.json", "--out", tmp_path / "c").exit_code == 0
    assert run(bundle, scans, "--out", tmp_path / "d", "--image", "scan").exit_code != 0


def test_a_table_with_the_column_of_the_study_carries_ids(bundle, scans, tmp_path):
    table = scans / "list.csv"
    table.write_text("who,scan\n=cmd(),Jane Doe 0.nii.gz\nb,gone.nii.gz\n")
    done = run(bundle, table, "--out", tmp_path / "out", "--id", "who")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == ["'=cmd()", "b"]
    assert [row["code"] for row in rows] == ["", "MISSING"]


def test_names_of_files_are_plain_and_differ(bundle):
    from aimed.readers.volume_folder import FoundScan
    from aimed.readers.volume_table import VolumeCase

    case = VolumeCase(())
    given = ["a/b.nii.gz", "a__b.nii", "../../etc/passwd", "A__B.zip", "---", "x" * 300, "é ü.dcm"]
    names = Volumes(tuple(FoundScan(name, case) for name in given)).file_names
    assert names[:4] == ("a__b", "a__b_2", "etc__passwd", "A__B_3")
    assert len({name.lower() for name in names}) == len(given)
    assert all(len(name) <= 100 and "/" not in name and not name.startswith(".") for name in names)


def test_a_full_disk_keeps_what_was_done(bundle, scans, tmp_path, monkeypatch):
    opened, out = load(bundle), tmp_path / "out"

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study_module, "_write_table", full)
    with pytest.raises(DataError, match="No space left"):
        predict_volumes(opened, find_volumes(opened, scans), out)
    monkeypatch.undo()
    assert predict_volumes(opened, find_volumes(opened, scans), out).resumed == 4
