"""What a segmentation study says of its test part, from plain scans to healthy, unfinished and oddly labelled ones."""

from __future__ import annotations

import json
import warnings

import numpy as np
import polars as pl
import pytest

import aimed
from aimed.metrics.segmentation import dice as plain_dice
from aimed.study import stages, volume_evidence, volume_stages
from aimed.study.groups import asked_of_groups
from aimed.study.picture_stages import tune_part
from aimed.study.spec import load_spec, read_spec
from aimed.study.volumes import read_volume_cohort, volumes_of

pytest.importorskip("torch", reason="the deep extra is not installed")

BLOCKS = ("performance", "lesions", "volumes", "quality", "voxel_calibration", "robustness", "fit_diagnosis")


def prepared(study):
    """Return specification, cohort, split, what fitting said, what was calibrated and the model of a study."""
    spec = load_spec(study)
    cohort = read_volume_cohort(spec, study.parent / "runs")
    split = stages.draw_split(spec, cohort)
    with warnings.catch_warnings():
        # Two epochs are few on purpose.
        warnings.simplefilter("ignore")
        payload, model, on_tune = volume_stages.fit(spec, cohort, split)
    calibrated, model = volume_stages.calibrate(spec, cohort, split, model, on_tune)
    return spec, cohort, split, payload, calibrated, model


@pytest.fixture(scope="module")
def ready(brains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ready")
    brains.write_blobs(folder, 20, channels=2)
    edits = (
        ('modality = "MR"', 'modality = "MR"\nchannels = ["one", "two"]'),
        ("draws = 50", 'draws = 50\naccept = ["worst_subgroup(dice@heart) >= 0.0"]\n[subgroups]\ncolumns = ["sex"]'),
    )
    return prepared(brains.study_of(folder, *edits))


@pytest.fixture(scope="module")
def evaluated(ready):
    spec, cohort, split, payload, calibrated, model = ready
    told = []
    found = volume_evidence.evaluate(
        spec, cohort, split, model, payload, calibrated, lambda share, text="": told.append(share)
    )
    return *found, told


def test_every_number_is_of_the_test_part(ready, evaluated):
    _, cohort, split, _, _, model = ready
    found, table, told = evaluated
    test = split.parts["test"]
    assert all(found[name] for name in BLOCKS)
    np.testing.assert_array_equal(table["patient"], np.repeat(cohort.patient[test], 2))
    performance = found["performance"]
    assert len(performance["cases"]) == performance["n"] == test.size
    volumes = volumes_of(cohort)
    for place, row in enumerate(test.tolist()):
        outlined, mask = model.outline(volumes.scan(row)), volumes.mask(row)
        for j, labels in enumerate(([1, 2], [2])):
            truth = np.isin(mask, labels)
            own = 2 * (truth & outlined.masks[j]).sum() / (truth.sum() + outlined.masks[j].sum())
            assert table["dice"][2 * place + j] == pytest.approx(own, abs=1e-12)
            assert table["reference_ml"][2 * place + j] == pytest.approx(truth.sum() / 1000)
    assert performance["measures"]["dice@blob"]["value"] == pytest.approx(np.mean(table["dice"][::2]), abs=1e-12)
    assert all(0 <= share <= 1 for share in told)


def test_baselines_stand_beside_the_network(evaluated):
    performance = evaluated[0]["performance"]
    assert set(performance["baselines"]) == {"threshold", "voxels"}
    for name, gaps in performance["differences"].items():
        own = performance["measures"]["mean_dice"]["value"] - performance["baselines"][name]["mean_dice"]["value"]
        assert gaps["mean_dice"]["value"] == pytest.approx(own, abs=1e-9)


def test_the_record_names_nobody(ready, evaluated):
    found = json.dumps(evaluated[0])
    for who in ready[1].patient:
        assert f'"{who}"' not in found


def test_a_case_that_a_person_asks_for_is_found(ready):
    spec, cohort, split, _, _, model = ready
    found, key = volume_evidence.explain(spec, cohort, split, model)
    assert found["kind"] == "volumes"
    assert set(found["regions"]) == {"blob", "heart"}
    assert found["contrasts"]
    assert found["maps"]
    shown = json.dumps(found)
    for name in key["id"]:
        assert f'"{name}"' not in shown
    assert set(key) == {"region", "group", "case", "id"}
    test_ids = set(stages.row_ids(cohort, split.parts["test"]).astype(str))
    assert set(key["id"]) <= test_ids


def test_groups_and_what_criteria_ask_of_them(ready):
    spec, cohort, split, _, calibrated, model = ready
    assert asked_of_groups(spec) == ["dice@heart"]
    found = volume_evidence.audit(spec, cohort, split, model, calibrated)
    (column,) = found["columns"]
    assert column["column"] == "sex"
    text = json.dumps(column)
    assert "dice@heart" in text
    assert "mean_dice" in text


def test_no_groups_no_audit(ready):
    spec, cohort, split, _, calibrated, model = ready
    bare = spec.model_copy(update={"subgroups": read_spec(spec.text.split("[subgroups]")[0]
                                   .replace("worst_subgroup(dice@heart)", "dice@heart")).subgroups})  # fmt: skip
    assert volume_evidence.audit(bare, cohort, split, model, calibrated) is None


def test_dice_is_that_of_the_metrics_room(ready, evaluated):
    _, cohort, split, _, _, model = ready
    row = int(split.parts["test"][0])
    mask = volumes_of(cohort).mask(row)
    found = model.outline(volumes_of(cohort).scan(row)).masks[0]
    assert evaluated[1]["dice"][0] == pytest.approx(float(plain_dice(mask > 0, found)), abs=1e-12)


# -------------------------------------------------------------------------------------------- whole runs of odd studies


def run(study):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = aimed.study(study).run(study.parent / "runs" / "a")
    page = found.report.read_text()
    assert "<html" in page
    assert found.bundle.exists()
    for text in ("NaN", "nan ml", "None"):
        assert f">{text}<" not in page, text
    return found, json.loads((found.folder / "results.json").read_text())


def finite(block):
    """Say whether JSON holds no NaN and no infinity."""
    json.dumps(block, allow_nan=False)
    return True


@pytest.mark.slow
def test_healthy_scans_without_any_region(brains, tmp_path):
    """A third of the scans holds nothing: Dice has its empty rule there, and what is not estimable is not said."""
    brains.write_blobs(tmp_path, 24, change=lambda k, mask: mask * (k % 3 > 0))
    _, found = run(brains.study_of(tmp_path))
    assert finite(found)
    (blob, heart) = found["outcome"]["regions"]
    assert blob["present"]["all"] == heart["present"]["all"] == 16
    region = found["performance"]["regions"]["blob"]
    assert region["reference_empty"] > 0 or region["both_empty"] > 0


@pytest.mark.slow
def test_a_region_that_the_test_part_never_has(brains, tmp_path):
    """The heart is only in scans that learn: its overlap is judged by the empty rule, and the run ends."""
    frame = brains.write_blobs(tmp_path, 20)
    study = brains.study_of(tmp_path)
    split = aimed.study(study).split()
    part = np.full(20, "train", dtype=object)
    part[split.parts["test"]] = "test"
    frame = frame.with_columns(part=pl.Series(part.tolist()))
    brains.write_blobs(tmp_path, 20, change=lambda k, mask: np.where((mask == 2) & (part[k] == "test"), 1, mask))
    frame.write_csv(tmp_path / "cases.csv")
    study = brains.study_of(tmp_path, ('{ by = "patient", fraction = 0.33 }', '{ by = "column", column = "part" }'))
    _, found = run(study)
    assert finite(found)
    heart = found["outcome"]["regions"][1]
    assert heart["present"]["test"] == 0
    assert found["performance"]["measures"]["dice@blob"]["value"] is not None


@pytest.mark.slow
def test_readings_that_nobody_finished(brains, tmp_path):
    def change(k, mask):
        doubt = np.zeros(mask.shape, dtype=bool)
        doubt[: 4 + k % 4] = True
        return np.where(doubt & bool(k % 2), 255, mask)

    brains.write_blobs(tmp_path, 20, change=change)
    _, found = run(brains.study_of(tmp_path))
    assert finite(found)
    known = found["outcome"]["regions"][0]["volume_ml"]
    assert 0 < known["test"]["n"] < found["data"]["parts"]["test"]["n"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "regions",
    [
        '{ "shell" = [1], "heart" = [2], "both" = [1, 2] }',
        '{ "heart" = [2], "blob" = [1, 2] }',
        '{ "shell" = [1], "heart" = [2] }\nexclusive = true',
        '{ "one" = [1, 2], "the same" = [1, 2] }',
    ],
)
def test_regions_that_overlap_in_odd_ways(brains, tmp_path, regions):
    brains.write_blobs(tmp_path, 18)
    _, found = run(brains.study_of(tmp_path, ('{ "blob" = [1, 2], "heart" = [2] }', regions)))
    assert finite(found)
    assert found["performance"]["measures"]["mean_dice"]["value"] > 0.05


@pytest.mark.slow
def test_a_ct_with_thick_slices_and_a_window(brains, tmp_path):
    mixed = [(5.0, 1.0, 1.0), (2.5, 1.0, 1.0)]
    brains.write_blobs(tmp_path, 18, side=20.0, spacing=lambda k: mixed[k % 2], grey=-20)
    edits = (
        ('modality = "MR"', 'modality = "CT"\nwindow = [-100, 100]'),
        ("draws = 50", "draws = 50\n[report]\nthumbnails = true"),
    )
    _, found = run(brains.study_of(tmp_path, *edits))
    assert finite(found)
    assert found["data"]["volumes"]["channels"] == ["scan"]
    assert found["gallery"]["pictures"]


@pytest.mark.slow
def test_a_study_of_dicom_series(brains, tmp_path):
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    text = brains.HEADS.replace('source = "cases.csv"', 'source = "synthetic:brain"\n'
        'synthetic = { patients = 20, size = 24, seed = 2, files = "dicom", healthy = 0.1, visits = 2 }')  # fmt: skip
    _, found = run(brains.study_of(tmp_path, text=text))
    assert finite(found)
    assert found["data"]["volumes"]["refused"] == {}
    assert found["data"]["patients"] == 20
    assert found["data"]["volumes"]["channels"] == ["T1w", "T1gd", "T2w", "FLAIR"]
    assert found["split"]["proof"]["shared_patients"] == {"train+test": 0}


@pytest.mark.slow
def test_two_candidates_and_more_than_one_network(brains, tmp_path):
    brains.write_blobs(tmp_path, 18)
    edits = (
        ('["small_unet3d"]', '["small_unet3d", "segresnet3d"]'),
        ("patches_per_scan = 2", "patches_per_scan = 2\nn_estimators = 2\n[model.parameters.segresnet3d]\n"
         "max_epochs = 1\npatches_per_scan = 1\narchitecture_options = { first = 8, groups = 4 }"),
    )  # fmt: skip
    _, found = run(brains.study_of(tmp_path, *edits))
    board = {row["name"]: row for row in found["model"]["leaderboard"]}
    assert {"small_unet3d", "segresnet3d", "threshold", "voxels"} == set(board)
    assert sum(row["chosen"] for row in board.values()) == 1


@pytest.mark.slow
def test_what_the_tune_part_learned_is_judged_on_the_test_part(ready, evaluated):
    found = evaluated[0]
    tunes = tune_part(ready[2])[1]
    learned = ready[4]["calibration"]["parameters"]["volumes"]["blob"]
    assert learned is None or learned["n"] == tunes.size
    assert found["volumes"]
    assert found["quality"]
