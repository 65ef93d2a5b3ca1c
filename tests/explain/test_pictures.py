"""The explanation of a picture study: what passes, what is refuted, what is not known, and what it costs."""

from __future__ import annotations

import csv
import json
import time

import numpy as np
import pytest

from aimed.core import DataError, UnknownNameError
from aimed.core.image import Placement

torch = pytest.importorskip("torch", reason="needs torch: pip install 'aimed[deep]'")
from torch import nn  # noqa: E402

from aimed.explain.pictures import _other_patient, explain_pictures, heat_maps  # noqa: E402

SIZE = 48


class Pictures:
    """Frames in memory; the picture fills the frame but for a margin on the left and right."""

    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return len(self.frames)

    def rows(self, rows):
        return self.frames[np.asarray(rows)]

    def placement(self, row):
        return Placement.fit(rows=480, columns=400, size=SIZE)


class Discs:
    """Where the discs are; the second finding is said to be elsewhere."""

    def __init__(self, masks, refused=None):
        self.masks, self.refused = masks, refused or {}

    def rows(self, finding):
        return np.flatnonzero(self.masks[finding].any(axis=(1, 2)))

    def mask(self, row, finding):
        return self.masks[finding][row]


class Detector(nn.Module):
    """Finds bright discs by a blur and a threshold; both findings are scores of the same discs."""

    def __init__(self, findings=2):
        super().__init__()
        self.blur = nn.Conv2d(1, 1, 5, padding=2)
        self.head = nn.Linear(1, findings)
        with torch.no_grad():
            self.blur.weight.fill_(1 / 25)
            self.blur.bias.fill_(-0.5)
            self.head.weight.fill_(60.0)
            self.head.bias.fill_(-2.0)

    def forward(self, x):
        return self.head(self.blur(x).relu().mean((2, 3)))


class Stubborn(nn.Module):
    """Scores brightness in the middle, whatever its weights are."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(3, 3)

    def forward(self, x):
        return 4 * x[:, :, 10:38, 10:38].mean((2, 3)).repeat(1, 2) - 1 + 0 * self.idle.weight.sum()


def prepare(frames):
    return torch.from_numpy(frames.astype(np.float32)[:, None] / 255)


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 40, (60, SIZE, SIZE)).astype(np.uint8)
    inside = np.zeros(frames.shape, dtype=bool)
    y = np.zeros((60, 2))
    yy, xx = np.mgrid[:SIZE, :SIZE]
    for i in range(40):
        a, b = rng.integers(10, SIZE - 10, 2)
        inside[i] = (yy - a) ** 2 + (xx - b) ** 2 <= 36
        frames[i][inside[i]] = 250
    y[:40] = 1
    y[58] = np.nan
    wrong = np.zeros_like(inside)
    wrong[:40, 2:6, 20:28] = True
    wrong &= ~inside
    with torch.no_grad():
        risk = torch.sigmoid(Detector()(prepare(frames))).numpy()
    return Pictures(frames), risk, y, Discs({"disc": inside, "elsewhere": wrong})


def explained(study, module=None, **more):
    images, risk, y, regions = study
    options = {"names": ["disc", "elsewhere"], "regions": regions, "patient": np.arange(60) // 2, **more}
    return explain_pictures(module or Detector(), prepare, images, risk, y, **options)


@pytest.fixture(scope="module")
def block(study):
    return explained(study)


def test_maps_that_are_right_pass_and_say_so(block):
    one = block["findings"]["disc"]
    assert one["state"] == "pass"
    assert one["passed"] is True
    assert {check["state"] for check in one["checks"].values()} == {"pass"}
    assert one["checks"]["localisation"]["estimates"]["pointing"]["value"] > 0.95
    assert one["checks"]["localisation"]["swapped"]["value"] < 0.6
    assert one["sentence"].startswith("Disc: the maps depend on what the network has learned")
    assert one["same_ranking"] == pytest.approx(1.0, abs=1e-6)
    assert one["present"] == 40
    assert one["known"] == 59


def test_maps_that_point_elsewhere_are_not_believed(block):
    one = block["findings"]["elsewhere"]
    assert one["state"] == "fail"
    assert one["checks"]["localisation"]["state"] == "fail"
    assert one["checks"]["deletion_insertion"]["state"] == "pass"
    assert "not to be believed as the place" in one["sentence"]
    assert block["sentence"] == ("Heat maps are not to be believed for elsewhere; they passed their checks for disc.")


def test_chance_is_the_share_of_the_picture_and_not_of_its_frame(study, block):
    images, _, _, regions = study
    place = images.placement(0)
    area = regions.masks["disc"][:40].sum(axis=(1, 2)) / (place.height * place.width)
    assert block["findings"]["disc"]["checks"]["localisation"]["chance"]["pointing"] == pytest.approx(area.mean())


def test_the_block_is_json_and_repeats_bit_for_bit(study, block):
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    assert explained(study) == block
    assert explained(study, seed=1) != block


def test_maps_that_do_not_depend_on_the_weights_are_not_believed(study):
    images, _, y, regions = study
    with torch.no_grad():
        risk = torch.sigmoid(Stubborn()(prepare(images.frames))).numpy()
    found = explained((images, risk, y, regions), Stubborn(), method="occlusion", passes=500)
    for one in found["findings"].values():
        assert one["passed"] is False
        assert "the maps are not to be believed. With random weights the maps stay the same" in one["sentence"]
    assert found["sanity"]["parameter_randomisation"]["state"] == "fail"
    assert "Methods could not be compared" in found["agreement"]["sentence"]


def test_without_regions_nothing_is_said_of_places(study):
    found = explained(study, regions=None)
    assert found["findings"]["disc"]["checks"]["localisation"] is None
    assert "there are no reference regions" in found["findings"]["disc"]["sentence"]
    assert "localisation" not in found["sampled"]["most"]


def test_regions_that_are_not_used_are_counted(study):
    images, risk, y, regions = study
    y = y.copy()
    y[:5, 0] = 0
    found = explained((images, risk, y, Discs(regions.masks, {"OTHER_SHAPE": 2})))
    assert found["findings"]["disc"]["checks"]["localisation"]["estimates"]["pointing"]["n"] == 35
    assert found["regions"]["pictures"]["disc"] == 40
    assert found["regions"]["sentence"] == (
        "Regions that were not used: 5 of pictures whose label says that the finding is absent; 2 that could not be "
        "read (OTHER_SHAPE)."
    )


def test_few_patients_and_absent_findings_are_no_evidence(study):
    images, risk, y, regions = study
    y = y.copy()
    y[3:, 0], y[:, 1] = 0, 0
    found = explained((images, risk, y, regions))["findings"]
    assert found["disc"]["passed"] is None
    assert "not enough evidence to say" in found["disc"]["sentence"]
    assert "do not rely on the maps" in found["disc"]["sentence"]
    assert found["elsewhere"]["state"] == "not enough evidence"
    assert found["elsewhere"]["sentence"].startswith("Elsewhere: no test picture has it")


def test_a_score_that_is_not_the_reported_risk_is_named(study):
    images, risk, y, regions = study
    found = explained((images, 1 - risk, y, regions), networks=3)
    assert found["findings"]["disc"]["same_ranking"] < -0.5
    assert "ranks pictures only in part as the reported risk" in found["findings"]["disc"]["sentence"]
    assert "those of the first" in found["network_note"]


def test_work_is_bounded_counted_and_the_network_left_as_it_was(study):
    network = Detector()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    few = explained(study, network, passes=500, max_cases=10)
    assert few["findings"]["disc"]["checks"]["localisation"]["estimates"]["pointing"]["n"] == 10
    assert few["cost"]["pictures_through_network"] < explained(study)["cost"]["pictures_through_network"]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network._forward_hooks
    told = []
    explained(study, passes=500, max_cases=10, progress=lambda share, text: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_what_does_not_fit_together_is_refused(study):
    images, risk, y, _ = study
    with pytest.raises(UnknownNameError, match="grad_cam"):
        explained(study, method="gradcam")
    with pytest.raises(DataError, match="labels of shape"):
        explain_pictures(Detector(), prepare, images, risk, y[:, :1], names=["disc", "elsewhere"])
    with pytest.raises(DataError, match="a network of 3 findings"):
        explained(study, Detector(3))
    with pytest.raises(DataError, match="labels for 2 findings"):
        explained(study, labels=["one"])
    with pytest.raises(DataError, match="no pictures"):
        heat_maps(Detector(), prepare, images, [])


def test_maps_are_swapped_between_patients_only():
    for codes in ([0, 0, 1, 1], [3, 1, 3, 1, 2, 2, 5], list(range(9))):
        codes = np.asarray(codes)
        other = _other_patient(codes)
        assert sorted(other) == list(range(codes.size))
        assert (codes[other] != codes).all()
    assert _other_patient(np.asarray([0, 0, 0, 1])) is None


@pytest.mark.slow
def test_two_hundred_cases_of_five_findings_take_seconds():
    from aimed.diagnosis.small_cnn import SmallCnn

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (200, 128, 128)).astype(np.uint8)
    y = rng.integers(0, 2, (200, 5)).astype(float)

    class Wide(Pictures):
        def placement(self, row):
            return Placement.fit(rows=128, columns=128, size=128)

    names = [f"finding {k}" for k in range(5)]
    masks = np.zeros((200, 128, 128), dtype=bool)
    masks[:, 20:60, 20:60] = True
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # Seconds of one core: others may use the machine.
        start = time.process_time()
        found = explain_pictures(
            SmallCnn(5), prepare, Wide(frames), np.full((200, 5), 0.5), y, names=names,
            regions=Discs(dict.fromkeys(names, masks)),
        )  # fmt: skip
        seconds = time.process_time() - start
    finally:
        torch.set_num_threads(before)
    assert len(found["findings"]) == 5
    assert seconds < 25


@pytest.mark.slow
def test_on_phantoms_maps_point_at_the_lesion(tmp_path):
    pytest.importorskip("pydicom", reason="needs pydicom: pip install 'aimed[imaging]'")
    from aimed.diagnosis.image_classifier import ImageClassifier
    from aimed.readers.image_cache import ImageCache
    from aimed.readers.image_files import ImageFile
    from aimed.readers.image_set import ImageSet
    from aimed.readers.regions import read_masks
    from aimed.synthetic.chest_study import write_study

    findings = ["effusion", "cardiomegaly"]
    shares = {"effusion": 0.4, "cardiomegaly": 0.4, "nodule": 0.0, "pneumothorax": 0.0, "consolidation": 0.0}
    write_study(
        tmp_path / "s", 220, images_per_patient=2, size=96, difficulty=0.1, seed=5, prevalence=shares, n_jobs=2,
        ap_fraction=0.0,
    )  # fmt: skip
    with (tmp_path / "s" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    files = [ImageFile(tmp_path / "s" / row["path"]) for row in rows]
    images = ImageSet(ImageCache.build(files, tmp_path / "cache", size=64), files)
    y = np.array([[float(row[name]) for name in findings] for row in rows])
    patient = np.array([row["patient_id"] for row in rows])
    learns, tests = np.arange(300), np.arange(300, 440)
    model = ImageClassifier(
        architecture_options={"widths": [8, 16, 32, 64]}, max_epochs=40, early_stopping=False, n_jobs=1
    )
    model.fit(images.take(learns), y[learns], patient[learns], names=findings)
    some = images.take(tests)
    regions = read_masks(tmp_path / "s" / "masks", images, findings).take(tests)
    found = explain_pictures(
        model.networks_[0], model.prepared, some, model.predict_proba(some), y[tests], names=findings,
        patient=patient[tests], regions=regions,
    )  # fmt: skip
    assert {name: int(y[tests, k].sum()) for k, name in enumerate(findings)} == regions.counts
    for one in found["findings"].values():
        place = one["checks"]["localisation"]
        assert place["estimates"]["pointing"]["lower"] > place["chance"]["pointing"], one["sentence"]
        assert one["checks"]["parameter_randomisation"]["state"] == "pass"
