"""The stages of a segmentation study one by one: who learns, who tunes, what is learned where, and odd regions."""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from aimed.core import StudyFileError
from aimed.diagnosis import VOLUME_MODELS
from aimed.diagnosis.volume_plan import VolumePlan
from aimed.diagnosis.volume_scaling import VolumeScaling
from aimed.readers.nifti import read_nifti, write_nifti
from aimed.study import stages, volume_evidence, volume_stages
from aimed.study.flows import flow_of
from aimed.study.picture_stages import tune_part
from aimed.study.run import Study
from aimed.study.spec import load_spec, read_spec
from aimed.study.store import RunFolder
from aimed.study.volume_models import head_of, plan_text, require_volume_networks, volume_recipes_of
from aimed.study.volumes import channels_of, read_volume_cohort, volumes_of

pytest.importorskip("torch", reason="the deep extra is not installed")


def opened_of(study, place=None):
    """Return specification, cohort and split of a study."""
    spec = load_spec(study)
    cohort = read_volume_cohort(spec, place or study.parent / "runs")
    return spec, cohort, stages.draw_split(spec, cohort)


def fit_of(opened, home=None):
    with warnings.catch_warnings():
        # Two epochs are few on purpose.
        warnings.simplefilter("ignore")
        return volume_stages.fit(*opened, home)


@pytest.fixture(scope="module")
def opened(brains, tmp_path_factory):
    """Blobs with two visits of each patient, two channels, read and split."""
    folder = tmp_path_factory.mktemp("opened")
    brains.write_blobs(folder, 36, channels=2, visits=2)
    return opened_of(brains.study_of(folder, ('modality = "MR"', 'modality = "MR"\nchannels = ["one", "two"]')))


@pytest.fixture(scope="module")
def fitted(opened):
    """What fitting returned for the study."""
    return fit_of(opened)


# ------------------------------------------------------------------------------------------------------- who sees whom


def test_who_learns_tunes_and_tests_share_no_patient(opened):
    _, cohort, split = opened
    learns, tunes = tune_part(split)
    test = split.parts["test"]
    np.testing.assert_array_equal(np.sort(np.r_[learns, tunes, test]), np.arange(cohort.n))
    people = [set(cohort.patient[rows]) for rows in (learns, tunes, test)]
    assert all(people)
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    # Two visits each: a split by scans would have torn some apart.
    assert cohort.n == 2 * cohort.patients


def other_masks(brains, opened, rows, folder):
    """Return a study whose scans are the same and whose masks of some rows went round among them."""
    _, cohort, split = opened
    brains.write_blobs(folder, 36, channels=2, visits=2)
    study = brains.study_of(folder, ('modality = "MR"', 'modality = "MR"\nchannels = ["one", "two"]'))
    paths = [folder / f"mask{row}.nii.gz" for row in rows.tolist()]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    other = load_spec(study)
    found = read_volume_cohort(other, folder / "runs")
    np.testing.assert_array_equal(found.patient, cohort.patient)
    return other, found, split


def test_fitting_and_calibrating_never_see_a_test_mask(brains, opened, fitted, tmp_path):
    """Masks of the test part may be anything: plan, weights, rules and what was learned of doubt stay the same."""
    other = other_masks(brains, opened, opened[2].parts["test"], tmp_path)
    payload, model, on_tune = fit_of(other)
    assert payload == fitted[0]
    assert model.weights() == fitted[1].weights()
    np.testing.assert_array_equal(on_tune, fitted[2])
    pairs = [volume_stages.calibrate(*three, m, t) for three, m, t in ((other, model, on_tune), (opened, *fitted[1:]))]
    assert pairs[0][0] == pairs[1][0]
    assert pairs[0][1].to_state() == pairs[1][1].to_state()


@pytest.mark.slow
def test_networks_never_learn_from_a_tune_mask(brains, opened, fitted, tmp_path):
    """Other masks of the tune part leave the plan, the scaling and the baselines as they were."""
    tunes = tune_part(opened[2])[1]
    other = other_masks(brains, opened, tunes, tmp_path)
    recipe = VOLUME_MODELS["small_unet3d"]
    learns = tune_part(opened[2])[0]
    plans = [volume_stages.plan_for(spec, cohort, learns, recipe) for spec, cohort, _ in (opened, other)]
    assert plans[0] == plans[1]
    model = fitted[1]
    row = int(tunes[0])
    for name in ("threshold", "voxels"):
        found = []
        for spec, cohort, _ in (opened, other):
            baseline = volume_stages.fitted_baseline(spec, cohort, name, learns, model)
            prepared = model.preparation.prepared(volumes_of(cohort).scan(row))
            found.append(baseline.masks_of(prepared.array))
        np.testing.assert_array_equal(*found)
    _, model, _ = fit_of(other)
    # The weights of each epoch come from those who learn; which epoch is kept, the tune part says.
    losses = [one.segmenter.history_[0]["train_loss"] for one in (model, fitted[1])]
    assert losses[0] == losses[1]


def test_what_the_tune_part_says_is_of_the_tune_part(opened, fitted):
    spec, cohort, split = opened
    payload, model, on_tune = fitted
    learns, tunes = tune_part(split)
    assert np.isnan(np.delete(on_tune, tunes, axis=0)).all()
    assert np.isfinite(on_tune[tunes, :, 2]).all()
    assert (payload["n_fitted"], payload["n_tune"]) == (learns.size, tunes.size)
    chosen = next(row for row in payload["leaderboard"] if row["chosen"])
    by_patient = [np.nanmean(on_tune[tunes][cohort.patient[tunes] == who, :, 1]) for who in np.unique(cohort.patient)
                  if who in cohort.patient[tunes]]  # fmt: skip
    assert chosen["mean"] == pytest.approx(np.mean(by_patient), abs=1e-9)
    volumes, row = volumes_of(cohort), int(tunes[0])
    again = volume_stages.outlined(spec, model, volumes.scan(row), volumes.mask(row))
    assert again.rows[0]["dice"] == on_tune[tunes[0], 0, 1]
    assert again.soft == on_tune[tunes[0], :, 0].tolist()


def test_calibration_looks_at_the_tune_part_alone(opened, fitted):
    spec, cohort, split = opened
    _, model, on_tune = fitted
    tunes = tune_part(split)[1]
    payload, _ = volume_stages.calibrate(spec, cohort, split, model, on_tune)
    assert payload["threshold"]["value"] is None
    values = np.array(cohort.outcome.volumes)
    values[np.delete(np.arange(cohort.n), tunes)] = 1e6
    blind = replace(cohort, outcome=replace(cohort.outcome, volumes=values))
    assert volume_stages.calibrate(spec, blind, split, model, on_tune)[0] == payload
    values[tunes, 0] = np.nan
    unknown = replace(cohort, outcome=replace(cohort.outcome, volumes=values))
    found, changed = volume_stages.calibrate(spec, unknown, split, model, on_tune)
    assert found["calibration"]["parameters"]["volumes"]["blob"] is None
    assert changed.volume_errors[0] is None
    volume_stages.calibrate(spec, cohort, split, model, on_tune)


# ---------------------------------------------------------------------------------------------------- the choice of one


def made(name, dice):
    tables = [volume_stages.Outlines([{"dice": None if v is None else float(v)}], []) for v in dice]
    known = [v for v in dice if v is not None]
    return SimpleNamespace(recipe=VOLUME_MODELS[name], tables=tables, dice={"value": float(np.mean(known))})


@pytest.mark.parametrize(("simple", "chosen"), [(-0.002, "small_unet3d"), (-0.3, "unet3d"), (0.1, "small_unet3d")])
def test_the_simplest_within_one_error_is_chosen(simple, chosen):
    rng = np.random.default_rng(5)
    dice, noise = 0.8 + 0.05 * rng.normal(size=20), 0.05 * rng.normal(size=20)
    pair = [made("unet3d", dice), made("small_unet3d", dice + simple + noise - noise.mean())]
    for order in (pair, pair[::-1]):
        one, why = volume_stages._choose(order, np.arange(20) // 2)
        assert one.recipe.name == chosen
        assert VOLUME_MODELS[chosen].title in why


def test_a_choice_among_scans_without_any_region():
    pair = [made("unet3d", [0.9, None, 0.8]), made("small_unet3d", [0.89, None, 0.8])]
    one, _ = volume_stages._choose(pair, np.arange(3))
    assert one.recipe.name in ("unet3d", "small_unet3d")
    assert np.isnan(volume_stages.case_means(pair[0].tables)[1])


# ------------------------------------------------------------------------------------------------------- what is known


def test_voxels_that_nobody_looked_at_count_for_nothing(brains):
    spec = read_spec(brains.BLOBS)
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (6, 7, 8)).astype(np.uint8)
    found = np.stack([mask > 0, mask == 2])
    mask[:, :3] = 255
    perfect = volume_stages.compare(spec, mask, found, (1.0, 1.0, 1.0))
    assert [row["dice"] for row in perfect] == [1.0, 1.0]
    other = found.copy()
    other[:, :, :3] = rng.random((2, 6, 3, 8)) < 0.5
    assert volume_stages.compare(spec, mask, other, (1.0, 1.0, 1.0)) == perfect


def test_a_region_is_compared_by_itself(brains):
    """Two regions that overlap without one holding the other: no map of labels could say this."""
    spec = read_spec(brains.BLOBS.replace('{ "blob" = [1, 2], "heart" = [2] }', '{ "a" = [1, 2], "b" = [2, 3] }'))
    mask = np.zeros((4, 4, 4), dtype=np.uint8)
    mask[0], mask[1], mask[2] = 1, 2, 3
    truth = np.stack([np.isin(mask, [1, 2]), np.isin(mask, [2, 3])])
    rows = volume_stages.compare(spec, mask, truth, (1.0, 1.0, 1.0))
    assert [(row["class"], row["dice"]) for row in rows] == [("a", 1.0), ("b", 1.0)]
    assert [row["reference_ml"] for row in rows] == [0.032, 0.032]


@pytest.mark.slow
def test_two_readings_with_unknown_voxels(brains, tmp_path):
    """Where readings differ nobody knows: weights do not change with what stands there, and volumes are not judged."""
    found = []
    for name, apart in (("a", True), ("b", False)):

        def change(k, mask, apart=apart):
            if k % 3:
                return mask
            doubt = np.zeros(mask.shape, dtype=bool)
            doubt[:5] = True
            return np.where(doubt, 255, mask)

        brains.write_blobs(tmp_path / name, 16, change=change)
        opened = opened_of(brains.study_of(tmp_path / name))
        found.append((opened, fit_of(opened)))
    (opened, (payload, model, on_tune)), (_, again) = found
    assert payload == again[0]
    assert model.weights() == again[1].weights()
    cohort, split = opened[1:]
    assert np.isnan(cohort.outcome.volumes[0]).all()
    assert np.isfinite(cohort.outcome.volumes[1]).all()
    calibrated, model = volume_stages.calibrate(*opened, model, on_tune)
    tunes = tune_part(split)[1]
    expected = np.isfinite(cohort.outcome.volumes[tunes, 0]).sum()
    state = calibrated["calibration"]["parameters"]["volumes"]["blob"]
    assert state is None or state["n"] == expected


# ------------------------------------------------------------------------------------------------------- odd regions


@pytest.mark.parametrize(
    ("regions", "exclusive", "paint", "outputs"),
    [
        ('{ "whole" = [1, 2, 3], "core" = [2, 3], "rim" = [3] }', False, (1, 2, 3), 3),
        ('{ "core" = [2], "whole" = [1, 2] }', False, (2, 1), 2),
        ('{ "core" = [1], "rim" = [2], "both" = [1, 2] }', False, (1, 2, 1), 3),
        ('{ "both" = [1, 2], "core" = [1], "rim" = [2] }', False, (1, 1, 2), 3),
        ('{ "a" = [7], "b" = [3] }', True, (7, 3), 3),
    ],
)
def test_what_paints_a_map_of_labels(brains, regions, exclusive, paint, outputs):
    text = brains.BLOBS.replace('{ "blob" = [1, 2], "heart" = [2] }', regions)
    head = head_of(read_spec(text.replace("[split]", f"exclusive = {str(exclusive).lower()}\n[split]")))
    assert (head.paint, head.outputs, head.exclusive) == (paint, outputs, exclusive)


def test_wide_regions_after_narrow_ones_do_not_paint_over_them(brains):
    """A map of labels is made of regions in their order: what a reader of the map sees must still hold each of them."""
    text = brains.BLOBS.replace('{ "blob" = [1, 2], "heart" = [2] }', '{ "heart" = [2], "blob" = [1, 2] }')
    head = head_of(read_spec(text))
    mask = np.array([[[0, 1, 2]]], dtype=np.uint8)
    np.testing.assert_array_equal(head.painted(head.masks(mask)), mask)


# ----------------------------------------------------------------------------------------------------------- the plan


def test_a_plan_is_obeyed_and_says_what_was_edited(brains, opened, fitted, tmp_path):
    spec, cohort, split = opened
    first = VolumePlan.from_dict(fitted[0]["plan"])
    text = first.to_toml()
    assert "patch_size = [16, 16, 16]" in text
    edited = text.replace("patch_size = [16, 16, 16]", "patch_size = [8, 12, 16]").replace(
        "spacing = [1.0, 1.0, 1.0]", "spacing = [1.25, 1.0, 1.0]"
    )
    (tmp_path / "mine.toml").write_text(edited)
    own = read_spec(brains.BLOBS.replace('modality = "MR"', 'modality = "MR"\nplan = "mine.toml"'), folder=tmp_path)
    own = own.model_copy(update={"outcome": spec.outcome, "volumes": own.volumes})
    require_volume_networks(own)
    home = RunFolder(tmp_path / "run")
    home.open()
    payload, model, _ = fit_of((own, cohort, split), home)
    assert tuple(payload["plan"]["patch_size"]) == tuple(model.segmenter.patch_size) == (8, 12, 16)
    assert model.preparation.spacing == (1.25, 1.0, 1.0)
    assert "computed was" in payload["plan"]["reasons"]["patch_size"]
    assert "computed was" not in payload["plan"]["reasons"]["strides"]
    assert VolumePlan.from_toml((tmp_path / "run" / "plan.toml").read_text()).patch_size == (8, 12, 16)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("patch_size =", "patch_sise =", r"patch_sise.*"),
        ("batch_size = 2", "batch_size = [2", r"no TOML.*line"),
        ("batch_size = 2", "batch_size = 0", "batch_size"),
        ("patch_size = [16, 16, 16]", "patch_size = [15, 16, 16]", "patch_size"),
        ("patch_size = [16, 16, 16]", "patch_size = [16, 16]", "patch_size"),
    ],
)
def test_a_typo_in_a_plan_is_refused_before_anything_is_read(brains, fitted, tmp_path, old, new, said):
    text = VolumePlan.from_dict(fitted[0]["plan"]).to_toml()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new))
    own = read_spec(brains.BLOBS.replace('modality = "MR"', 'modality = "MR"\nplan = "mine.toml"'), folder=tmp_path)
    with pytest.raises(StudyFileError, match=said):
        require_volume_networks(own)


@pytest.mark.parametrize(("modality", "scaling"), [("CT", "nonzero"), ("MR", "window")])
def test_a_plan_for_other_greys_is_refused_before_training(brains, fitted, tmp_path, modality, scaling):
    own = replace(VolumePlan.from_dict(fitted[0]["plan"]), scaling=VolumeScaling(kind=scaling))
    (tmp_path / "mine.toml").write_text(own.to_toml())
    text = brains.BLOBS.replace('modality = "MR"', f'modality = "{modality}"\nplan = "mine.toml"')
    with pytest.raises(StudyFileError, match="scaling"):
        require_volume_networks(read_spec(text, folder=tmp_path))


def test_a_plan_that_is_not_there(brains, tmp_path):
    own = read_spec(brains.BLOBS.replace('modality = "MR"', 'modality = "MR"\nplan = "mine.toml"'), folder=tmp_path)
    with pytest.raises(StudyFileError, match=r"\[volumes\] plan"):
        plan_text(own)
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyFileError, match=r"\[volumes\] plan"):
        plan_text(own)


# -------------------------------------------------------------------------------------------- kinds of lists and scans


def test_one_file_a_channel_and_one_file_for_all_are_the_same_study(brains, tmp_path):
    brains.write_blobs(tmp_path / "a", 16, channels=2)
    brains.write_blobs(tmp_path / "b", 16, channels=2, apart=True)
    one = opened_of(brains.study_of(tmp_path / "a", ('modality = "MR"', 'modality = "MR"\nchannels = ["x", "y"]')))
    two = opened_of(brains.study_of(tmp_path / "b", ('column = "image"', 'columns = { "x" = "file0", "y" = "file1" }')))
    assert channels_of(one[1]) == channels_of(two[1]) == ("x", "y")
    assert fit_of(one)[1].weights() == fit_of(two)[1].weights()


def test_a_file_that_holds_channels_in_another_order_is_another_study(brains, tmp_path):
    brains.write_blobs(tmp_path, 16, channels=2, apart=True)
    digests = []
    for columns in ('{ "x" = "file0", "y" = "file1" }', '{ "y" = "file1", "x" = "file0" }'):
        _, cohort, _ = opened_of(brains.study_of(tmp_path, ('column = "image"', f"columns = {columns}")))
        digests.append(cohort.digest())
    assert digests[0] != digests[1]


def test_thick_slices_and_mixed_spacings(brains, tmp_path):
    """Scans of 5 mm and 2 mm slices: networks see one grid, and masks return to that of each source."""
    mixed = [(5.0, 1.0, 1.25), (2.0, 1.0, 1.0), (5.0, 1.0, 1.0)]
    brains.write_blobs(tmp_path, 16, side=20.0, spacing=lambda k: mixed[k % 3])
    spec, cohort, split = opened = opened_of(brains.study_of(tmp_path))
    payload, model, on_tune = fit_of(opened)
    assert payload["plan"]["spacing"][0] > payload["plan"]["spacing"][1]
    volumes = volumes_of(cohort)
    for row in range(3):
        scan = volumes.scan(row)
        assert model.outline(scan).masks.shape[1:] == scan.origin.shape == volumes.mask(row).shape
    _, model = volume_stages.calibrate(spec, cohort, split, model, on_tune)
    found, _ = volume_evidence.evaluate(spec, cohort, split, model, payload, {})
    assert found["performance"]["measures"]["dice@blob"]["value"] > 0.2
    assert found["performance"]["n"] == split.parts["test"].size


def test_a_window_of_hounsfield_units(brains, tmp_path):
    brains.write_blobs(tmp_path, 16, grey=-20)
    study = brains.study_of(tmp_path, ('modality = "MR"', 'modality = "CT"\nwindow = [-100, 100]'))
    _, cohort, _ = opened = opened_of(study)
    payload, model, _ = fit_of(opened)
    assert channels_of(cohort) == ("scan",)
    assert payload["plan"]["scaling"] == {"kind": "window", "low": -100.0, "high": 100.0} | {
        k: v for k, v in payload["plan"]["scaling"].items() if k not in ("kind", "low", "high")
    }
    assert model.preparation.modality == "CT"
    assert model.preparation.keeps_units
    # Air around the body is no empty voxel: nothing was cut off.
    assert volumes_of(cohort).record(0).box is None


def test_labels_that_exclude_each_other(brains, tmp_path):
    brains.write_blobs(tmp_path, 16)
    edits = ('{ "blob" = [1, 2], "heart" = [2] }', '{ "shell" = [1], "heart" = [2] }\nexclusive = true')
    opened = opened_of(brains.study_of(tmp_path, edits))
    payload, model, _ = fit_of(opened)
    assert model.segmenter.head_.exclusive
    found = model.outline(volumes_of(opened[1]).scan(0))
    assert not found.masks.all(axis=0).any()
    np.testing.assert_array_equal(found.labels.array == 2, found.masks[1])
    assert payload["leaderboard"][0]["mean"] is not None


def test_labels_of_no_region_are_background(brains, tmp_path):
    """The heart is in no region: networks learn that it is background, and nobody stumbles over it."""
    brains.write_blobs(tmp_path, 16)
    opened = opened_of(brains.study_of(tmp_path, ('{ "blob" = [1, 2], "heart" = [2] }', '{ "shell" = [1] }')))
    made = volume_stages.prepared_part(
        opened[0], opened[1], np.arange(3), fit_of(opened)[1].preparation, tmp_path / "kept"
    )
    assert set(np.unique(made.masks[0])) == {0, 1}


# ------------------------------------------------------------------------------------------------------ the catalogue


def test_flows_have_their_own_stages(opened):
    assert flow_of(opened[0]).fit is volume_stages.fit
    assert flow_of(opened[0]).explain is volume_evidence.explain


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('candidates = ["small_unet3d"]', 'baselines = ["prevalence"]', "one of: threshold, voxels"),
        ("max_epochs = 2", "random_state = 2", "set by the study"),
        (
            'mask = "label"',
            'mask = "label"\nweights = { file = "w.safetensors", architecture = "segresnet3d" }',
            "which no candidate is built on",
        ),
    ],
)  # fmt: skip
def test_models_that_a_study_cannot_have(brains, old, new, said):
    assert old in brains.BLOBS
    with pytest.raises(StudyFileError, match=said):
        volume_recipes_of(read_spec(brains.BLOBS.replace(old, new)))


def test_checks_see_refused_scans_and_a_plan_is_told(brains, tmp_path):
    brains.write_blobs(tmp_path, 18)
    (tmp_path / "scan4.nii.gz").write_bytes(b"")
    study = Study(load_spec(brains.study_of(tmp_path)))
    study.read(tmp_path / "runs")
    said = [f for f in study.check() if "refused" in f.message]
    assert len(said) == 1
    assert said[0].evidence["files"] == 18
    plan = study.plan()
    assert dict(plan.steps)["read"].startswith("17 scans of 17 patients, 1 channels")
    assert "grid 1 x 1 x 1 mm" in dict(plan.steps)["fit"]
    assert plan.seconds > 0


def test_masks_return_in_the_place_of_the_source(brains, tmp_path, opened, fitted):
    """A model outlines the file itself as it outlines what the cache holds of it."""
    _, cohort, _ = opened
    case = volumes_of(cohort).case(0)
    whole = case.read()
    found, cached = fitted[1].outline(whole), fitted[1].outline(volumes_of(cohort).scan(0))
    np.testing.assert_array_equal(found.masks, cached.masks)
    write_nifti(found.labels, tmp_path / "out.nii.gz")
    assert read_nifti(tmp_path / "out.nii.gz", labels=True).grid.same_as(whole.grid)
