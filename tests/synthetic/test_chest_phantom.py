"""Chest phantoms: repeatable, labelled by what is drawn, with masks where the picture differs."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from aimed.core import DataError, MissingExtraError, UnknownNameError
from aimed.synthetic import FINDINGS, ChestPhantom, Shortcut, draw_chest, plan_study, write_study

SIZE = 128


@pytest.fixture(scope="module")
def patient():
    return ChestPhantom(11, age=60, sex="F")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    folder = tmp_path_factory.mktemp("study") / "phantoms"
    told = []
    shortcut = {"finding": "effusion", "by": "marker", "strength": 1.0}
    plan = write_study(
        folder, 12, images_per_patient=2, size=64, seed=3, prevalence=0.4, shortcut=shortcut, progress=told.append
    )
    return folder, plan, told


def _phi(a, b):
    return float(np.corrcoef(np.asarray(a, float), np.asarray(b, float))[0, 1])


# One picture ---------------------------------------------------------------------------------------------------------


def test_same_seed_same_picture_and_other_seed_another(patient):
    first = patient.draw(5, findings=["nodule"], size=SIZE)
    again = ChestPhantom(11, age=60, sex="F").draw(5, findings=["nodule"], size=SIZE)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.masks["nodule"], again.masks["nodule"])
    assert not np.array_equal(first.pixels, patient.draw(6, findings=["nodule"], size=SIZE).pixels)
    assert not np.array_equal(first.pixels, ChestPhantom(12).draw(5, findings=["nodule"], size=SIZE).pixels)


def test_a_generator_is_used_up_and_repeats():
    a, b = np.random.default_rng(1), np.random.default_rng(1)
    one, two = draw_chest(a, size=64), draw_chest(a, size=64)
    np.testing.assert_array_equal(one.pixels, draw_chest(b, size=64).pixels)
    assert not np.array_equal(one.pixels, two.pixels)


@pytest.mark.parametrize("size", [64, 100, 96, 224])
def test_any_size_gives_twelve_bits_and_the_same_chest(patient, size):
    image = patient.draw(5, size=size)
    assert image.pixels.shape == (size, size)
    assert image.pixels.dtype == np.uint16
    assert image.pixels.max() < 4096
    assert image.pixels.std() > 300
    large = patient.draw(5, size=SIZE)
    assert image.spacing * size == pytest.approx(large.spacing * SIZE)
    small = np.asarray(Image.fromarray(image.pixels.astype(np.float32)).resize((32, 32), Image.Resampling.BOX))
    other = large.pixels.astype(np.float32).reshape(32, 4, 32, 4).mean((1, 3))
    assert _phi(small.ravel(), other.ravel()) > 0.99


@pytest.mark.parametrize("view", ["PA", "AP"])
@pytest.mark.parametrize("finding", FINDINGS)
def test_the_mask_is_where_the_picture_differs(finding, view):
    for seed in range(4):
        patient = ChestPhantom((seed, 1))
        healthy = patient.draw(seed, view=view, size=SIZE)
        ill = patient.draw(seed, findings={finding: 0.6}, view=view, size=SIZE)
        mask = ill.masks[finding]
        assert mask.any()
        assert mask.mean() < 0.4
        change = np.abs(ill.pixels.astype(float) - healthy.pixels)
        inside = change[mask].mean()
        outside = change[~ndimage.binary_dilation(mask, iterations=6)]
        assert inside > 40
        # Scatter and the evening-out of the processing reach a little further; nothing else may.
        assert outside.mean() < 0.15 * inside
        assert np.percentile(outside, 99) < 0.5 * inside


@pytest.mark.parametrize("finding", FINDINGS)
def test_severity_makes_the_region_larger_or_stronger(finding):
    signal = []
    for severity in (0.1, 0.9):
        total = 0.0
        for seed in range(3):
            patient = ChestPhantom((seed, 2))
            ill = patient.draw(seed, findings={finding: severity}, size=SIZE)
            total += np.abs(ill.pixels.astype(float) - patient.draw(seed, size=SIZE).pixels)[ill.masks[finding]].sum()
        signal.append(total)
    assert signal[1] > 1.5 * signal[0]


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_labels_are_the_masks_that_are_not_empty(difficulty):
    rng = np.random.default_rng(4)
    for seed in range(12):
        present = [f for f in FINDINGS if rng.uniform() < 0.5]
        image = draw_chest(seed, findings=present, view=["PA", "AP"][seed % 2], size=64, difficulty=difficulty)
        assert image.labels.tolist() == [int(f in present) for f in FINDINGS]
        assert image.labels.tolist() == [int(image.masks[f].any()) for f in FINDINGS]
        assert list(image.severity) == [f for f in FINDINGS if f in present]
        assert all(m.dtype == bool and m.shape == (64, 64) for m in image.masks.values())


@pytest.mark.slow
def test_difficulty_lowers_severity():
    def mean(difficulty):
        draws = [draw_chest(s, findings=FINDINGS, size=64, difficulty=difficulty).severity for s in range(12)]
        return {f: np.mean([d[f] for d in draws]) for f in FINDINGS}

    easy, hard = mean(0.0), mean(1.0)
    assert all(hard[f] < easy[f] - 0.1 for f in FINDINGS)


def test_pictures_of_one_patient_share_the_anatomy():
    def look(patient, image):
        pixels = ChestPhantom((patient, 9), age=50, sex="M").draw((patient, image), size=SIZE).pixels
        detail = pixels.astype(float) - ndimage.gaussian_filter(pixels.astype(float), 8)
        return ndimage.gaussian_filter(detail, 1)

    def likeness(a, b):
        # The best match over a few pixels of shift: the patient stands a little differently each time.
        shifts = [(dy, dx) for dy in range(-8, 9, 2) for dx in range(-8, 9, 2)]
        core = a[20:-20, 20:-20].ravel()
        return max(_phi(core, np.roll(b, s, (0, 1))[20:-20, 20:-20].ravel()) for s in shifts)

    pictures = {p: (look(p, 1), look(p, 2)) for p in range(6)}
    same = np.mean([likeness(*pictures[p]) for p in pictures])
    other = np.mean([likeness(pictures[p][0], pictures[(p + 1) % 6][0]) for p in pictures])
    assert same > other + 0.1
    first, second = (ChestPhantom(3) for _ in range(2))
    assert (first.age, first.sex, first.anatomy.heart_ratio) == (second.age, second.sex, second.anatomy.heart_ratio)


def test_the_heart_is_on_the_right_of_the_picture_and_crosses_half_of_the_chest():
    for seed in range(5):
        patient = ChestPhantom((seed, 5), sex="M")
        image = patient.draw(seed, findings={"cardiomegaly": 0.5}, size=256)
        columns = np.flatnonzero(image.masks["cardiomegaly"].any(0))
        wide = (columns[-1] - columns[0] + 1) * image.spacing / 10
        assert 0.48 < wide / (2 * patient.anatomy.half_width) < 0.75
        assert columns.mean() > 256 * 0.48
        assert patient.anatomy.heart_ratio < 0.5


def test_lungs_are_darker_than_the_abdomen_and_brighter_than_air():
    for seed in range(4):
        pixels = draw_chest(seed, size=SIZE).pixels.astype(float)
        lungs = pixels[45:70, 28:45].mean()
        assert lungs < 0.7 * pixels[115:, 50:78].mean()
        assert lungs > pixels[:8, :8].mean()


def test_ap_has_a_larger_heart():
    for seed in range(6):
        patient = ChestPhantom((seed, 6))
        pa, ap = (patient.draw(seed, findings={"cardiomegaly": 0.3}, view=v, size=SIZE) for v in ("PA", "AP"))
        assert ap.masks["cardiomegaly"].sum() * ap.spacing**2 > 1.05 * pa.masks["cardiomegaly"].sum() * pa.spacing**2


def test_cues_change_the_picture_and_not_the_labels(patient):
    plain = patient.draw(5, size=SIZE)
    for cue in ("marker", "border", "tube"):
        marked = patient.draw(5, size=SIZE, cues=[cue])
        assert marked.cues == (cue,)
        changed = np.abs(marked.pixels.astype(int) - plain.pixels) > 100
        assert 5 < changed.sum() < 0.2 * SIZE**2
        assert marked.labels.sum() == 0


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"findings": ["efusion"]}, UnknownNameError, "effusion"),
        ({"findings": {"nodule": 1.5}}, DataError, "nodule"),
        ({"findings": {"nodule": float("nan")}}, DataError, "nodule"),
        ({"view": "LATERAL"}, UnknownNameError, "PA"),
        ({"cues": ["letter"]}, UnknownNameError, "marker"),
        ({"size": 32}, DataError, "64"),
        ({"difficulty": 2.0}, DataError, "difficulty"),
        ({"age": 5}, DataError, "18"),
        ({"sex": "X"}, DataError, "F or M"),
    ],
)
def test_bad_requests_are_named(kwargs, error, message):
    with pytest.raises(error, match=message):
        draw_chest(1, **kwargs)


# A plan --------------------------------------------------------------------------------------------------------------


def test_prevalence_is_near_the_asked():
    asked = {"effusion": 0.1, "nodule": 0.3, "pneumothorax": 0.05, "cardiomegaly": 0.5, "consolidation": 0.2}
    plan = plan_study(3000, images_per_patient=2, seed=1, prevalence=asked)
    for name, share in asked.items():
        assert np.mean([name in p.findings for p in plan]) == pytest.approx(share, abs=0.025)
    assert not any(p.findings for p in plan_study(50, prevalence=0.0))
    assert all(p.findings == FINDINGS for p in plan_study(50, prevalence=1.0))
    assert np.mean([p.view == "AP" for p in plan]) == pytest.approx(0.35, abs=0.02)
    assert np.mean([p.inverted for p in plan]) == pytest.approx(0.25, abs=0.02)


def test_correlation_and_demographics_act_as_asked():
    pair = ("effusion", "cardiomegaly")
    settings = {"images_per_patient": 1, "seed": 2, "prevalence": 0.3}

    def table(**more):
        plan = plan_study(4000, **settings, **more)
        return plan, {f: np.array([f in p.findings for p in plan]) for f in FINDINGS}

    _, alone = table(correlation={}, demographics=0)
    _, joined = table(correlation={pair: 0.8}, demographics=0)
    assert abs(_phi(alone[pair[0]], alone[pair[1]])) < 0.05
    assert _phi(joined[pair[0]], joined[pair[1]]) > 0.4
    plan, related = table()
    age, male = [p.age for p in plan], [p.sex == "M" for p in plan]
    assert 0.15 < _phi(age, related["cardiomegaly"]) < 0.4
    assert _phi(age, related["pneumothorax"]) < -0.05
    assert _phi(male, related["pneumothorax"]) > 0.05


def test_findings_stay_with_the_patient():
    plan = plan_study(2000, images_per_patient=2, seed=3)
    first, second = ([("nodule" in p.findings) for p in plan if p.image == k] for k in (1, 2))
    assert 0.25 < _phi(first, second) < 0.75


def test_more_patients_leave_the_first_ones_as_they_are():
    assert plan_study(30, seed=4)[:20] == plan_study(300, seed=4)[:20]


@pytest.mark.parametrize("by", ["view", "marker", "border", "tube"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_the_shortcut_is_as_strong_as_asked(by, strength):
    plan = plan_study(2500, images_per_patient=2, seed=5, shortcut=Shortcut("effusion", by, strength))
    label = ["effusion" in p.findings for p in plan]
    cue = [p.view == "AP" if by == "view" else by in p.cues for p in plan]
    assert _phi(label, cue) == pytest.approx(strength, abs=0.04)
    plain = plan_study(2500, images_per_patient=2, seed=5)
    assert [p.findings for p in plan] == [p.findings for p in plain]
    assert not any(p.cues for p in plain)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"prevalence": {"nodul": 0.1}}, UnknownNameError, "nodule"),
        ({"prevalence": 1.2}, DataError, "prevalence"),
        ({"images_per_patient": (3, 2)}, DataError, "images"),
        ({"ap_fraction": -0.1}, DataError, "ap_fraction"),
        ({"demographics": 5}, DataError, "demographics"),
        ({"correlation": {("nodule", "nodule"): 0.5}}, DataError, "correlation"),
        (
            {"correlation": {("nodule", "effusion"): 0.9, ("nodule", "cardiomegaly"): 0.9,
                             ("effusion", "cardiomegaly"): -0.9}},
            DataError,
            "positive definite",
        ),
        ({"shortcut": {"finding": "effusion", "by": "site"}}, UnknownNameError, "marker"),
        ({"shortcut": {"finding": "fluid", "by": "view"}}, UnknownNameError, "effusion"),
        ({"shortcut": {"finding": "effusion", "by": "view", "strength": 2}}, DataError, "strength"),
    ],
)  # fmt: skip
def test_bad_plans_are_named(kwargs, error, message):
    with pytest.raises(error, match=message):
        plan_study(5, **kwargs)


# A study on disk -----------------------------------------------------------------------------------------------------


def test_the_table_lists_what_is_written(study):
    folder, plan, told = study
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "patient_id", "age", "sex", "view", *FINDINGS]
    assert len(rows) == len(plan) == 24
    for row, image in zip(rows, plan, strict=True):
        assert (folder / row["path"]).is_file()
        assert [row[f] for f in FINDINGS] == [str(int(f in image.findings)) for f in FINDINGS]
        for finding in FINDINGS:
            path = folder / image.mask_path(finding)
            assert path.exists() == (finding in image.findings)
            if path.exists():
                mask = np.asarray(Image.open(path))
                assert mask.dtype == np.uint8
                assert mask.shape == (64, 64)
                assert set(np.unique(mask)) == {0, 255}
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_dicom_files_have_the_right_tags(study):
    import pydicom

    folder, plan, _ = study
    uids, kinds = set(), set()
    for image in plan:
        ds = pydicom.dcmread(folder / image.path)
        assert (
            ds.SOPClassUID.name
            == {
                "CR": "Computed Radiography Image Storage",
                "DX": "Digital X-Ray Image Storage - For Presentation",
            }[ds.Modality]
        )
        assert ds.Modality == ("CR" if image.view == "AP" else "DX")
        assert (ds.ViewPosition, ds.BodyPartExamined) == (image.view, "CHEST")
        assert (ds.PatientID, ds.PatientSex, ds.PatientAge) == (image.patient_id, image.sex, f"{image.age:03d}Y")
        assert str(ds.PatientName).startswith("PHANTOM^")
        assert "not for clinical use" in ds.ImageComments
        assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 12, 11, 0)
        assert ds.PhotometricInterpretation == ("MONOCHROME1" if image.inverted else "MONOCHROME2")
        assert 4 < ds.ImagerPixelSpacing[0] == ds.ImagerPixelSpacing[1] < 8
        assert (ds.RescaleSlope, ds.RescaleIntercept) == (1, 0)
        assert ds.WindowWidth > 3000
        assert ds.BurnedInAnnotation == ("YES" if "marker" in image.cues else "NO")
        assert list(ds.PatientOrientation) == ["L", "F"]
        assert ds.SOPInstanceUID.startswith(pydicom.uid.PYDICOM_ROOT_UID)
        assert ds.SOPInstanceUID.is_valid
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        uids |= {ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID}
        kinds.add(ds.PhotometricInterpretation)
    assert len(uids) == 3 * len(plan)
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}


def test_stored_pixels_are_the_drawn_ones(study):
    import pydicom

    folder, plan, _ = study
    for image in plan[:8]:
        drawn = ChestPhantom((3, 2, image.patient), age=image.age, sex=image.sex).draw(
            (3, 3, image.patient, image.image), findings=image.findings, view=image.view, size=64, cues=image.cues
        )
        stored = pydicom.dcmread(folder / image.path).pixel_array
        np.testing.assert_array_equal(4095 - stored if image.inverted else stored, drawn.pixels)


def test_a_strong_shortcut_is_in_the_files(study):
    _, plan, _ = study
    assert [("effusion" in p.findings) for p in plan] == [("marker" in p.cues) for p in plan]
    assert 0 < sum("effusion" in p.findings for p in plan) < len(plan)


def test_same_seed_same_bytes_whatever_the_threads(study, tmp_path):
    folder, _, _ = study

    def digest(root):
        files = sorted(p for p in root.rglob("*") if p.is_file())
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    settings = {"images_per_patient": 2, "size": 64, "prevalence": 0.4}
    shortcut = {"finding": "effusion", "by": "marker", "strength": 1.0}
    write_study(tmp_path / "again", 12, seed=3, n_jobs=2, shortcut=shortcut, **settings)
    assert digest(folder) == digest(tmp_path / "again")
    write_study(tmp_path / "other", 2, seed=4, **settings)
    assert not set(digest(tmp_path / "other").values()) & set(digest(folder).values())


def test_a_full_folder_is_refused_and_masks_can_be_left_out(tmp_path):
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    (tmp_path / "old.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        write_study(tmp_path, 1)
    write_study(tmp_path / "new", 1, size=64, masks=False, prevalence=1.0, images_per_patient=1)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["dicom", "labels.csv"]


def test_without_pydicom_the_line_to_type_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"aimed\[imaging\]"):
        write_study(tmp_path / "s", 1)
    assert not (tmp_path / "s").exists()
    assert draw_chest(1, size=64).pixels.any()


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_findings_can_be_learned_but_not_trivially():
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    plan = plan_study(300, images_per_patient=2, seed=5)
    pixels = []
    for p in plan:
        patient = ChestPhantom((5, 2, p.patient), age=p.age, sex=p.sex)
        drawn = patient.draw((5, 3, p.patient, p.image), findings=p.findings, view=p.view, size=64)
        pixels.append(drawn.pixels.ravel().astype(np.float32))
    train = np.array([p.patient <= 200 for p in plan])
    X = np.array(pixels)
    reduce = make_pipeline(StandardScaler(), PCA(120, random_state=0), StandardScaler()).fit(X[train])
    X = reduce.transform(X)

    def auroc(y):
        model = LogisticRegression(C=0.003, max_iter=2000).fit(X[train], y[train])
        return roc_auc_score(y[~train], model.predict_proba(X[~train])[:, 1])

    found = {f: auroc(np.array([f in p.findings for p in plan])) for f in FINDINGS}
    assert all(value < 0.98 for value in found.values()), found
    # A linear model of pixels sees what has a fixed place; lumps and filled parts can be anywhere.
    assert all(found[f] > 0.6 for f in ("effusion", "cardiomegaly")), found
    assert auroc(np.array([p.view == "AP" for p in plan])) > 0.95
