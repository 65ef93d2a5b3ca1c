"""Brain phantoms: repeatable, labelled by what is drawn, bright where real scans are, and readable as written."""

import csv
import hashlib
import json
import time

import numpy as np
import pytest
from scipy import ndimage

from aimed.core import DataError, MissingExtraError, UnknownNameError
from aimed.readers.volume_table import read_volume, read_volume_table
from aimed.synthetic import (
    BRAIN_CONTRASTS,
    BRAIN_LABELS,
    BrainPhantom,
    draw_brain,
    plan_brain_study,
    write_brain_study,
)
from aimed.synthetic.brain_phantom import TISSUES
from aimed.synthetic.brain_tumour import KINDS

FLAIR, T1, T1GD, T2 = range(4)
CSF, GREY, WHITE = (TISSUES.index(name) for name in ("csf", "grey", "white"))


@pytest.fixture(scope="module")
def scans():
    return [draw_brain((s, 1), size=40, difficulty=(s % 3) / 2) for s in range(12)]


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Return a function that writes a study of 32 voxels a side once for each setting."""
    pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    pytest.importorskip("pydicom", reason="the imaging extra is not installed")
    made = {}

    def study(**settings):
        key = tuple(settings.items())
        if key not in made:
            folder = tmp_path_factory.mktemp("study") / "phantoms"
            made[key] = folder, write_brain_study(folder, 2, visits=2, size=(20, 26, 24), seed=3, **settings)
        return made[key]

    return study


def _same(one, other):
    return all(np.array_equal(getattr(one, k).array, getattr(other, k).array) for k in ("image", "labels", "tissue"))


def _parts(image, labels):
    """Return the mean of each label over the median of the rest of the brain, shape (contrast, label 1 to 3)."""
    brain = (image != 0).all(axis=0) & (labels == 0)
    means = [[x[labels == k].mean() if (labels == k).sum() > 20 else np.nan for k in (1, 2, 3)] for x in image]
    return np.array(means) / np.array([[np.median(x[brain])] for x in image])


# One scan ------------------------------------------------------------------------------------------------------------


def test_same_seed_same_scan_and_other_seed_another():
    first = draw_brain(5, size=32)
    assert _same(first, draw_brain(5, size=32))
    assert not _same(first, draw_brain(6, size=32))
    assert first.image.grid.same_as(draw_brain(5, size=32).image.grid)


def test_a_generator_is_used_up_and_repeats():
    a, b = np.random.default_rng(1), np.random.default_rng(1)
    patient = BrainPhantom(3)
    one, two = patient.draw(a, size=24), patient.draw(a, size=24)
    assert _same(one, patient.draw(b, size=24))
    assert not _same(one, two)


def test_the_scan_has_four_named_contrasts_on_one_grid():
    scan = draw_brain(1, size=(20, 30, 40), spacing=(8.0, 6.0, 4.0))
    assert scan.image.shape == (4, 20, 30, 40)
    assert scan.image.array.dtype == np.int16
    assert (scan.image.channels, scan.image.modality) == (BRAIN_CONTRASTS, "MR")
    assert scan.image.spacing == (8.0, 6.0, 4.0)
    assert scan.image.orientation == "RAS"
    for mask in (scan.labels, scan.tissue):
        assert mask.labels
        assert mask.array.dtype == np.uint8
        assert mask.grid.same_as(scan.image.grid)
    # The brain fits the grid: no voxel of it lies on a face.
    brain = draw_brain(1, size=32).tissue.array > 0
    assert not any(np.take(brain, k, axis=a).any() for a in range(3) for k in (0, -1))


@pytest.mark.parametrize("size", [24, 48, 61])
def test_any_size_shows_the_same_patient(size):
    patient = BrainPhantom(21, age=60, sex="F")
    large, small = patient.draw(4, size=96), patient.draw(4, size=size)
    assert large.image.spacing[0] * 96 == pytest.approx(small.image.spacing[0] * size)
    for volume in ("whole", "core"):
        assert small.volumes_ml[volume] == pytest.approx(large.volumes_ml[volume], rel=0.2)
    if size == 48:
        tissue = large.tissue.array.reshape(48, 2, 48, 2, 48, 2) > 0
        assert ((tissue.mean((1, 3, 5)) > 0.5) == (small.tissue.array > 0)).mean() > 0.99


def test_labels_lie_in_the_brain_and_outside_is_nothing(scans):
    for scan in scans:
        brain = scan.tissue.array > 0
        assert brain[scan.labels.array > 0].all()
        assert (scan.image.array[:, ~brain] == 0).all()
        assert (scan.image.array[:, brain] >= 1).all()


def test_volumes_are_those_of_people(scans):
    for scan in scans:
        ml = scan.volumes_ml
        brain = (scan.tissue.array > 0).sum() * scan.tissue.grid.voxel_ml
        assert 1000 < brain < 1750
        share = np.bincount(scan.tissue.array[scan.tissue.array > 0], minlength=5)[1:] / (scan.tissue.array > 0).sum()
        assert 0.04 < share[CSF - 1] < 0.32
        assert 0.25 < share[GREY - 1] < 0.6
        assert 0.25 < share[WHITE - 1] < 0.6
        assert 8 < ml["whole"] < 260
        assert 1.5 < ml["core"] < ml["whole"]
        assert 0 <= ml["enhancing"] <= ml["core"]
    # Tumours differ.
    whole = np.array([scan.volumes_ml["whole"] for scan in scans])
    assert whole.max() > 3 * whole.min()


def test_kinds_differ_in_what_enhances():
    shares = {kind: [] for kind in KINDS}
    for seed in range(40):
        patient = BrainPhantom((seed, 8), n_tumours=1)
        if len(shares[patient.tumours[0].kind]) < 3:
            ml = patient.draw(0, size=40).volumes_ml
            shares[patient.tumours[0].kind].append(ml["enhancing"] / ml["core"])
    mean = {kind: np.mean(values) for kind, values in shares.items()}
    assert mean["solid"] > 0.75
    assert 0.15 < mean["ring"] < 0.75
    assert mean["non-enhancing"] < 0.1
    assert len(BRAIN_LABELS) == 4


def test_tumours_stay_in_their_half_and_do_not_swallow_the_ventricles():
    for seed in range(6):
        patient = BrainPhantom((seed, 9), n_tumours=1)
        scan = patient.draw(1, size=40)
        z, y, x = np.nonzero(scan.labels.array >= 2)
        right = (scan.image.affine @ [x.mean(), y.mean(), z.mean(), 1])[0]
        middle = (scan.image.affine @ [*(np.array(scan.tissue.array.nonzero()[::-1]).mean(1)), 1])[0]
        assert np.sign(right - middle) == np.sign(patient.tumours[0].centre[0])


def test_a_tumour_displaces_what_is_around_it():
    ill = BrainPhantom((4, 11), n_tumours=1)
    well = BrainPhantom((4, 11), n_tumours=0)
    a, b = (p.draw(1, size=48) for p in (ill, well))
    assert b.volumes_ml == {"whole": 0, "core": 0, "enhancing": 0}
    assert not b.labels.array.any()
    # The skull holds the outline; inside, tissue moves beyond the tumour itself.
    np.testing.assert_array_equal(a.tissue.array > 0, b.tissue.array > 0)
    near = ndimage.binary_dilation(a.labels.array > 0, iterations=2) & (a.labels.array == 0)
    assert (a.tissue.array != b.tissue.array)[near].mean() > 0.1
    assert (a.tissue.array != b.tissue.array)[~near & (b.tissue.array > 0) & (a.labels.array == 0)].mean() < 0.1


def _levels(scan, names):
    """Return the mean of tissues away from their borders, where voxels hold one tissue: one row of contrasts each."""
    clear = scan.labels.array == 0
    pure = [ndimage.minimum_filter(scan.tissue.array == TISSUES.index(n), 3) & clear for n in names]
    return [np.median(scan.image.array[:, p], axis=1) for p in pure]


def test_tissues_are_ordered_as_in_every_textbook():
    for seed in range(3):
        # Cortex is thinner than voxels that can be drawn fast: the nuclei stand for grey matter.
        scan = draw_brain((seed, 4), size=80, n_tumours=0, difficulty=seed / 4)
        csf, grey, white = _levels(scan, ("csf", "deep grey", "white"))
        assert csf[FLAIR] < white[FLAIR] < grey[FLAIR]
        assert csf[T1] < grey[T1] < white[T1]
        assert csf[T1GD] < grey[T1GD] < white[T1GD]
        assert white[T2] < grey[T2] < csf[T2]


def test_cortex_is_darker_than_white_matter_in_t1_and_brighter_in_t2(scans):
    for scan in scans:
        x, healthy = scan.image.array, scan.labels.array == 0
        cortex, white = (x[:, (scan.tissue.array == k) & healthy].mean(1) for k in (GREY, WHITE))
        assert cortex[T1] < 0.92 * white[T1]
        assert cortex[T2] > 1.1 * white[T2]


def _check_order(parts):
    assert (parts[FLAIR] > 1)[np.isfinite(parts[FLAIR])].all()
    assert (parts[T2] > 1)[np.isfinite(parts[T2])].all()
    assert not parts[T1GD, 2] < 1.15  # a tumour without an enhancing part has none
    assert not parts[T1GD, 2] < 1.1 * parts[T1GD, :2].max()
    assert not parts[T1, 2] > 0.95 * parts[T1GD, 2]


def test_tumour_parts_are_ordered(scans):
    for scan in scans:
        _check_order(_parts(scan.image.array, scan.labels.array))


def test_real_tumours_have_the_order_and_size_of_the_phantoms(shared_data, scans):
    nib = pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    drawn = np.nanmedian([_parts(s.image.array, s.labels.array) for s in scans], axis=0)
    spread = np.nanmedian([_spread(s.image.array, s.labels.array) for s in scans], axis=0)
    for case in ("BRATS_009", "BRATS_119"):
        image, labels = (
            np.asarray(nib.load(shared_data("brats", part, f"{case}.nii.gz")).dataobj).T
            for part in ("imagesTr", "labelsTr")
        )
        real = _parts(image, labels)
        _check_order(real)
        assert np.abs(np.log(real / drawn)).max() < np.log(1.4)
        assert np.abs(np.log(_spread(image, labels) / spread)).max() < np.log(1.45)


def _spread(image, labels):
    """Return the quarters of the healthy brain over its median, shape (contrast, 2)."""
    brain = (image != 0).all(axis=0) & (labels == 0)
    return np.array([np.percentile(x[brain], (25, 75)) / np.median(x[brain]) for x in image])


def test_contrasts_go_together():
    scan = draw_brain(2, size=40, n_tumours=0, difficulty=0.0)
    brain = scan.tissue.array > 0
    between = np.corrcoef(scan.image.array[:, brain])
    assert between[T1, T1GD] > 0.8
    assert between[T1, T2] < -0.5
    assert between[FLAIR, T2] < 0


def test_difficulty_brings_noise_and_smaller_tumours():
    patients = [BrainPhantom((s, 3), n_tumours=1) for s in range(6)]
    drawn = {d: [p.draw(7, size=32, difficulty=d) for p in patients] for d in (0.0, 1.0)}
    whole = {d: np.mean([s.volumes_ml["whole"] for s in scans]) for d, scans in drawn.items()}
    assert whole[1.0] < 0.8 * whole[0.0]

    def rough(scan):
        white = ndimage.minimum_filter((scan.tissue.array == WHITE) & (scan.labels.array == 0), 3)
        x = scan.image.array[T1].astype(float)
        return np.median(np.abs(x - ndimage.median_filter(x, 3))[white]) / x[white].mean()

    assert np.mean([rough(s) for s in drawn[1.0]]) > 1.5 * np.mean([rough(s) for s in drawn[0.0]])
    bright = {d: np.nanmean([_parts(s.image.array, s.labels.array)[FLAIR, 0] for s in v]) for d, v in drawn.items()}
    assert bright[1.0] < bright[0.0] - 0.1


def test_noise_without_signal_is_rician():
    scan = draw_brain(3, size=32, stripped=False, difficulty=0.5)
    # Air above the head: the mean over the spread of a Rayleigh variable is 1.913.
    for x in scan.image.array[:, -2:].astype(float):
        assert x.mean() / x.std() == pytest.approx(1.913, abs=0.12)


def test_the_head_has_bone_between_bright_scalp_and_brain():
    scan = draw_brain(6, size=64, stripped=False)
    x, brain = scan.image.array[T1].astype(float), scan.tissue.array > 0
    level = np.median(x[brain])
    around = ndimage.binary_dilation(brain, iterations=4) & ~brain
    assert np.percentile(x[around], 10) < 0.35 * level
    assert (x[~brain] > 1.15 * level).sum() > 500


def test_visits_share_the_patient_and_the_tumour_grows():
    patient = BrainPhantom(12, n_tumours=1)
    scans = [patient.draw((12, k), size=40, growth=g) for k, g in enumerate((1.0, 1.8, 3.0))]
    core = [s.volumes_ml["core"] for s in scans]
    assert core[0] < core[1] < core[2]
    assert core[2] / core[0] == pytest.approx(3.0, rel=0.4)
    brain = [(s.tissue.array > 0).sum() for s in scans]
    assert np.ptp(brain) < 0.02 * brain[0]
    again = BrainPhantom(12, n_tumours=1)
    assert (again.age, again.sex, again.tumours[0].centre) == (patient.age, patient.sex, patient.tumours[0].centre)


def test_age_widens_chambers_and_folds():
    share = {}
    for age in (25, 88):
        tissue = np.concatenate([
            draw_brain((s, 2), age=age, size=32, n_tumours=0).tissue.array.ravel() for s in range(4)
        ])  # fmt: skip
        share[age] = (tissue == CSF).sum() / (tissue > 0).sum()
    assert share[88] > 1.5 * share[25]


def test_tilt_turns_the_slices_and_nothing_else():
    flat, tilted = (draw_brain(4, size=24, tilt=t) for t in (0.0, 25.0))
    assert _same(flat, tilted)
    assert tilted.image.spacing == pytest.approx(flat.image.spacing)
    turn = tilted.image.affine[:3, :3] / 8.0
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert np.abs(turn - np.eye(3)).max() > 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 8}, "16"),
        ({"size": (32, 32, 400)}, "320"),
        ({"spacing": 0.0}, "mm"),
        ({"spacing": float("nan")}, "mm"),
        ({"difficulty": 2.0}, "difficulty"),
        ({"growth": 0.0}, "growth"),
        ({"tilt": -1.0}, "tilt"),
        ({"age": 5}, "18"),
        ({"sex": "X"}, "F or M"),
        ({"n_tumours": 9}, "4"),
    ],
)
def test_bad_requests_are_named(settings, message):
    with pytest.raises(DataError, match=message):
        draw_brain(1, **{"size": 24, **settings})


def test_a_scan_is_drawn_in_half_a_second():
    draw_brain(0, size=24)
    start = time.process_time()
    draw_brain(1, size=64)
    assert time.process_time() - start < 0.5


# A study -------------------------------------------------------------------------------------------------------------


def test_the_plan_repeats_and_holds_patients_together():
    plan = plan_brain_study(30, visits=(1, 3), seed=2, healthy=0.3)
    assert plan == plan_brain_study(30, visits=(1, 3), seed=2, healthy=0.3)
    for patient in range(1, 31):
        mine = [s for s in plan if s.patient == patient]
        assert [s.visit for s in mine] == list(range(1, len(mine) + 1))
        assert len({(s.age, s.sex, s.healthy) for s in mine}) == 1
        assert mine[0].growth == 1
    assert {len([s for s in plan if s.patient == p]) for p in range(1, 31)} == {1, 2, 3}
    assert 3 <= len({s.patient for s in plan if s.healthy}) <= 16
    later = [s.growth for s in plan if s.visit > 1]
    assert np.mean(later) > 1
    assert len(set(later)) > 10


def test_the_study_is_a_decathlon_that_our_reader_takes(studies):
    from aimed.readers.volume_table import read_volume_table

    folder, plan = studies(tilt=15.0, scrambled=True)
    record = json.loads((folder / "dataset.json").read_text())
    assert record["tensorImageSize"] == "4D"
    assert record["numTraining"] == len(plan) == len(list((folder / "imagesTr").iterdir())) == 4
    table = read_volume_table(folder / "dataset.json")
    assert table.channels == BRAIN_CONTRASTS
    assert list(table.labels) == [0, 1, 2, 3]
    assert not table.refused
    first = plan[0]
    patient = BrainPhantom((3, 2, first.patient), age=first.age, sex=first.sex)
    drawn = patient.draw((3, 3, 1, 1), size=(20, 26, 24), tilt=15.0)
    scan = table.cases[0].read()
    mask = table.cases[0].read_mask(scan)
    np.testing.assert_array_equal(scan.array, drawn.image.array)
    np.testing.assert_array_equal(mask.array, drawn.labels.array)
    assert scan.grid.same_as(drawn.image.grid, 1e-5)


def test_nibabel_sees_what_was_drawn(studies):
    import nibabel as nib

    folder, plan = studies(tilt=15.0, scrambled=True)
    for scan in plan:
        image, label = (nib.load(folder / p) for p in (scan.image_path, scan.label_path))
        assert image.shape == (24, 26, 20, 4)
        assert label.shape == (24, 26, 20)
        np.testing.assert_array_equal(image.affine, label.affine)
        values = np.asarray(image.dataobj)
        assert (values[np.asarray(label.dataobj) > 0] > 0).all()


@pytest.mark.parametrize("scrambled", [False, True])
def test_dicom_gives_the_voxels_and_the_grid_of_nifti(studies, scrambled):
    import pydicom

    from aimed.readers.dicom_series import read_dicom_study
    from aimed.readers.nifti import read_nifti

    folder, plan = studies(tilt=15.0, scrambled=scrambled)
    for scan in plan:
        nifti = read_nifti(folder / scan.image_path, channels=BRAIN_CONTRASTS)
        dicom = read_dicom_study(folder / scan.dicom_path, BRAIN_CONTRASTS).reoriented("RAS")
        np.testing.assert_array_equal(dicom.array, nifti.array)
        assert dicom.grid.same_as(nifti.grid, 1e-4)
    files = sorted((folder / plan[0].dicom_path / "T1gd").iterdir())
    heads = [pydicom.dcmread(f) for f in files]
    numbers = [int(h.InstanceNumber) for h in heads]
    assert numbers == list(range(1, 21))
    normal = np.cross(*np.array(heads[0].ImageOrientationPatient, float).reshape(2, 3))
    along = [normal @ np.array(h.ImagePositionPatient, float) for h in heads]
    assert (np.argsort(along).tolist() == list(range(20))) == (not scrambled)
    assert np.diff(sorted(along)) == pytest.approx(np.full(19, heads[0].SpacingBetweenSlices))


def test_dicom_says_that_it_is_synthetic_and_keeps_identifiers_apart(studies):
    import pydicom

    folder, plan = studies(tilt=15.0, scrambled=True)
    heads = [pydicom.dcmread(f, stop_before_pixels=True) for f in sorted((folder / "dicom").rglob("*.dcm"))]
    assert len(heads) == len(plan) * 4 * 20
    assert len({h.SOPInstanceUID for h in heads}) == len(heads)
    assert len({h.SeriesInstanceUID for h in heads}) == 4 * len(plan)
    assert len({h.StudyInstanceUID for h in heads}) == len({h.FrameOfReferenceUID for h in heads}) == len(plan)
    assert {h.PatientID for h in heads} == {s.patient_id for s in plan}
    assert all("Synthetic" in h.ImageComments and h.QualityControlImage == "YES" for h in heads)
    assert all(h.file_meta.MediaStorageSOPInstanceUID == h.SOPInstanceUID for h in heads)
    agents = {h.SeriesDescription: "ContrastBolusAgent" in h for h in heads}
    assert [name for name, has in agents.items() if has] == ["AX T1 POST GD"]


def test_the_table_names_files_that_are_there(studies):
    folder, plan = studies(tilt=15.0, scrambled=True)
    with (folder / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["patient_id", "visit", "image", "label", "dicom", "age", "sex"]
    assert [(r["patient_id"], int(r["visit"])) for r in rows] == [(s.patient_id, s.visit) for s in plan]
    assert all((folder / r[column]).exists() for r in rows for column in ("image", "label", "dicom"))


def test_one_format_alone(studies):
    folder, plan = studies(formats=("dicom",))
    assert sorted(p.name for p in folder.iterdir()) == ["cases.csv", "dicom", "labelsTr"]
    with (folder / "cases.csv").open(newline="") as file:
        assert [r["image"] for r in csv.DictReader(file)] == [s.dicom_path for s in plan]
    folder, _ = studies(formats="nifti")
    assert sorted(p.name for p in folder.iterdir()) == ["cases.csv", "dataset.json", "imagesTr", "labelsTr"]


def test_masks_of_dicom_alone_lie_as_their_series(studies):
    folder, plan = studies(formats=("dicom",))
    table = read_volume_table(folder / "cases.csv", images="image", mask="label", channels=BRAIN_CONTRASTS)
    other = studies(formats="nifti")[0]
    for case, planned in zip(table.cases, plan, strict=True):
        mask = case.read_mask(case.read())  # refused where it lies in another direction
        assert mask.orientation == "LPS"
        as_nifti = read_volume(other / planned.label_path, labels=True).array
        np.testing.assert_array_equal(mask.reoriented("RAS").array, as_nifti)


def test_the_same_bytes_whatever_the_threads(studies, tmp_path):
    folder, plan = studies(tilt=15.0, scrambled=True)
    told = []
    again = write_brain_study(
        tmp_path / "again", 2, visits=2, size=(20, 26, 24), seed=3, tilt=15.0, scrambled=True, n_jobs=2,
        progress=told.append,
    )  # fmt: skip
    assert again == plan
    assert told[-1] == 1

    def digests(root):
        files = sorted(f for f in root.rglob("*") if f.is_file())
        return {f.relative_to(root).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    assert digests(folder) == digests(tmp_path / "again")


def test_healthy_patients_have_no_tumour(tmp_path):
    nib = pytest.importorskip("nibabel", reason="the imaging extra is not installed")
    plan = write_brain_study(tmp_path / "s", 2, size=24, formats=["nifti"], healthy=1.0)
    assert all(not np.asarray(nib.load(tmp_path / "s" / s.label_path).dataobj).any() for s in plan)


def test_bad_studies_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        write_brain_study(tmp_path / "full", 1)
    with pytest.raises(UnknownNameError, match="nifti"):
        write_brain_study(tmp_path / "new", 1, formats=["nift"])
    with pytest.raises(DataError, match="formats"):
        write_brain_study(tmp_path / "new", 1, formats=[])
    with pytest.raises(DataError, match="visits"):
        write_brain_study(tmp_path / "new", 1, visits=0)
    with pytest.raises(DataError, match="healthy"):
        write_brain_study(tmp_path / "new", 1, healthy=1.5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="imaging"):
        write_brain_study(tmp_path / "new", 1)
    assert not (tmp_path / "new").exists()
