"""Study files written for lists of scans: what is told, what is guessed, and that a check takes them as they are."""

from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pytest

from aimed.core import DataError
from aimed.study.new_volumes import is_volume_list, volume_columns, write_volume_study
from aimed.study.run import Study
from aimed.study.spec import read_spec

pytest.importorskip("nibabel", reason="the imaging extra is not installed")


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run the command line in this process; returns exit code, standard output and standard error."""
    from aimed.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["aimed", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return call


def decathlon(brains, folder, n=18, channels=2, **extra):
    """Write a data set in the layout of the Medical Segmentation Decathlon."""
    brains.write_blobs(folder, n, channels=channels)
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    entries = []
    for k in range(n):
        (folder / f"scan{k}.nii.gz").rename(folder / f"imagesTr/case_{k:02d}.nii.gz")
        (folder / f"mask{k}.nii.gz").rename(folder / f"labelsTr/case_{k:02d}.nii.gz")
        entries.append({"image": f"./imagesTr/case_{k:02d}.nii.gz", "label": f"./labelsTr/case_{k:02d}.nii.gz"})
    (folder / "cases.csv").unlink()
    names = {str(c): name for c, name in zip(range(channels), ("T1w", "FLAIR"), strict=False)}
    record = {"modality": names, "labels": {"0": "background", "1": "shell", "2": "heart"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(record | extra))
    return folder


def bids(brains, folder, n=18):
    """Write a BIDS folder with segmentations among the derivatives."""
    brains.write_blobs(folder, n, channels=2, apart=True)
    for k in range(n):
        anat = folder / f"sub-{k:02d}" / "anat"
        away = folder / "derivatives" / "masks" / f"sub-{k:02d}" / "anat"
        anat.mkdir(parents=True)
        away.mkdir(parents=True)
        for c, name in enumerate(("T1w", "FLAIR")):
            (folder / f"scan{k}_{c}.nii.gz").rename(anat / f"sub-{k:02d}_{name}.nii.gz")
        (folder / f"mask{k}.nii.gz").rename(away / f"sub-{k:02d}_dseg.nii.gz")
    (folder / "cases.csv").unlink()
    return folder


def accepted(cli, source, study):
    """Let the command line write a study file, and let it check it; returns its specification."""
    code, _, err = cli("new", source, "--out", study)
    assert code == 0, err
    code, out, err = cli("check", study, "--json")
    assert code == 0, out + err
    return read_spec(study.read_text(), folder=study.parent)


def test_a_decathlon_data_set(brains, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decathlon(brains, tmp_path / "task")
    spec = accepted(cli, tmp_path / "task" / "dataset.json", tmp_path / "study.toml")
    assert spec.data.source == "task/dataset.json"
    assert dict(spec.outcome.regions) == {"shell": (1,), "heart": (2,)}
    assert spec.outcome.exclusive
    assert spec.volumes.modality == "MR"
    assert Study(spec).read(tmp_path / "runs").n == 18
    # The folder of the data set says the same.
    other = accepted(cli, tmp_path / "task", tmp_path / "task" / "study.toml")
    assert other.outcome == spec.outcome


def test_a_bids_folder(brains, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bids(brains, tmp_path / "scans")
    spec = accepted(cli, tmp_path / "scans", tmp_path / "study.toml")
    assert spec.volumes.mask == "dseg"
    assert dict(spec.outcome.regions) == {"label 1": (1,), "label 2": (2,)}
    cohort = Study(spec).read(tmp_path / "runs")
    assert cohort.n == cohort.patients == 18


def test_a_table_with_one_file_for_all_channels(brains, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brains.write_blobs(tmp_path, 18, channels=3)
    spec = accepted(cli, tmp_path / "cases.csv", tmp_path / "study.toml")
    assert (spec.volumes.column, spec.volumes.mask) == ("image", "label")
    assert spec.volumes.channels == ("channel 1", "channel 2", "channel 3")
    assert spec.subgroups.columns == ("sex",)
    assert 'derive.age_band = { from = "age"' in spec.text
    assert spec.data.patient == "patient"


def test_a_table_with_one_file_a_channel(brains, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brains.write_blobs(tmp_path, 18, channels=2, apart=True)
    spec = accepted(cli, tmp_path / "cases.csv", tmp_path / "study.toml")
    assert dict(spec.volumes.columns) == {"file0": "file0", "file1": "file1"}
    assert spec.volumes.column is None


def test_hounsfield_units_are_known_when_seen(brains, tmp_path):
    brains.write_blobs(tmp_path, 4, grey=-700)
    assert read_spec(write_volume_study(tmp_path / "cases.csv")).volumes.modality == "CT"
    brains.write_blobs(tmp_path / "mr", 4)
    assert read_spec(write_volume_study(tmp_path / "mr" / "cases.csv")).volumes.modality == "MR"


def test_one_label_is_one_region(brains, tmp_path):
    brains.write_blobs(tmp_path, 4, change=lambda k, mask: (mask > 0).astype(np.uint8))
    spec = read_spec(write_volume_study(tmp_path / "cases.csv", title="Livers", patient="sex"))
    assert dict(spec.outcome.regions) == {"label 1": (1,)}
    assert not spec.outcome.exclusive
    assert (spec.study.title, spec.data.patient) == ("Livers", "sex")


def test_names_of_labels_may_be_anything(brains, tmp_path):
    folder = decathlon(brains, tmp_path / "task", 4, labels={"0": "nothing", "1": 'a "quoted" [name]', "2": "été"})
    regions = read_spec(write_volume_study(folder / "dataset.json")).outcome.regions
    assert sorted(labels for labels in regions.values()) == [(1,), (2,)]


def test_labels_whose_names_become_the_same_stay_apart(brains, tmp_path):
    folder = decathlon(brains, tmp_path / "task", 4, labels={"0": "nothing", "1": "shell!", "2": "shell?"})
    regions = read_spec(write_volume_study(folder / "dataset.json")).outcome.regions
    assert sorted(regions.values()) == [(1,), (2,)]
    folder = decathlon(brains, tmp_path / "other", 4, labels={"0": "nothing", "1": "Shell", "2": "shell"})
    regions = read_spec(write_volume_study(folder / "dataset.json")).outcome.regions
    assert sorted(regions.values()) == [(1,), (2,)]


def test_the_first_scans_may_be_broken(brains, tmp_path):
    brains.write_blobs(tmp_path, 6)
    (tmp_path / "scan0.nii.gz").write_bytes(b"")
    (tmp_path / "mask1.nii.gz").write_bytes(b"no volume")
    assert set(read_spec(write_volume_study(tmp_path / "cases.csv")).outcome.regions) == {"label 1", "label 2"}


def test_what_cannot_be_told_is_said(brains, tmp_path):
    frame = brains.write_blobs(tmp_path, 4)
    frame.rename({"label": "drawing"}).write_csv(tmp_path / "two.csv")
    with pytest.raises(DataError, match="2 columns of paths to scans, and none of masks"):
        write_volume_study(tmp_path / "two.csv")
    frame.rename({"patient": "who"}).write_csv(tmp_path / "who.csv")
    with pytest.raises(DataError, match="patients cannot be told"):
        write_volume_study(tmp_path / "who.csv")
    brains.write_blobs(tmp_path / "empty", 4, change=lambda k, mask: np.zeros_like(mask))
    with pytest.raises(DataError, match="no label is seen"):
        write_volume_study(tmp_path / "empty" / "cases.csv")


def test_what_is_a_list_of_scans(brains, tmp_path):
    frame = brains.write_blobs(tmp_path, 4)
    assert is_volume_list(tmp_path / "cases.csv")
    assert is_volume_list(frame)
    assert volume_columns(frame) == (["image"], "label")
    assert not is_volume_list("builtin:lymphoma")
    assert not is_volume_list(tmp_path)
    assert not is_volume_list(frame.select("age", "sex"))
    pl.DataFrame({"path": ["a.png"], "patient": ["p"]}).write_csv(tmp_path / "pictures.csv")
    assert not is_volume_list(tmp_path / "pictures.csv")
    assert not is_volume_list(frame.with_columns(image=pl.lit(None, dtype=pl.String), label=pl.lit("")))
    assert not is_volume_list(tmp_path / "not there.csv")
