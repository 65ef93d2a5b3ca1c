"""Worse pictures: what each change does to pixels, that it repeats, and what is said of the losses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError
from aimed.core.image import Placement
from aimed.metrics import auroc
from aimed.trust.picture_robustness import DEFAULT, Change, robustness, worsened


def flat(value, dtype=np.uint8, size=64, n=4):
    return np.full((n, size, size), value, dtype=dtype)


def rows(pictures):
    return np.arange(len(pictures))


def smooth(n=3, size=64, dtype=np.uint8):
    """Return pictures with a disc on a ramp."""
    y, x = np.mgrid[:size, :size] / size
    top = np.iinfo(dtype).max
    one = 0.3 + 0.3 * y + 0.3 * (np.hypot(y - 0.4, x - 0.5) < 0.2)
    return np.repeat((one * top).astype(dtype)[None], n, axis=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("change", DEFAULT, ids=lambda c: c.key)
def test_each_change_keeps_shape_and_type_changes_pictures_and_repeats_whatever_the_batch(change, dtype):
    pictures = smooth(dtype=dtype)
    kept = pictures.copy()
    found = worsened(pictures, change, rows(pictures), seed=3)
    assert found.shape == pictures.shape
    assert found.dtype == dtype
    assert (pictures == kept).all()
    assert (found != pictures).any()
    assert (found == worsened(pictures, change, rows(pictures), seed=3)).all()
    assert (found[2] == worsened(pictures[2:], change, [2], seed=3)[0]).all()


def test_kinds_that_are_random_differ_between_pictures_and_seeds_and_others_do_not():
    pictures = smooth()
    for change in DEFAULT:
        found = worsened(pictures, change, rows(pictures))
        other = worsened(pictures, change, rows(pictures), seed=1)
        random = change.kind in ("noise", "quantum_noise", "shift", "rotation")
        assert (len({one.tobytes() for one in (*found, *other)}) > 1) == random


def test_stronger_changes_of_a_kind_take_pictures_further_away():
    pictures = smooth().astype(float)
    for kind in ("noise", "quantum_noise", "contrast", "blur", "resolution", "crop", "rotation", "jpeg"):
        steps = [c for c in DEFAULT if c.kind == kind]
        far = [np.abs(worsened(smooth(), c, rows(pictures)) - pictures).mean() for c in steps]
        assert far == sorted(far), kind
        assert len(steps) > 1


def test_gaussian_noise_has_the_spread_it_names():
    found = worsened(flat(30000, np.uint16, 128), Change("noise", 0.02), range(4)).astype(float)
    assert found.std() / 65535 == pytest.approx(0.02, rel=0.02)
    assert found.mean() == pytest.approx(30000, rel=0.002)


def test_quantum_noise_is_that_of_counts():
    # SD of log counts is 1 / sqrt(counts); grey is the log over log 50, and white has 50 times fewer photons.
    for grey in (0.1, 0.9):
        value = round(grey * 65535)
        found = worsened(flat(value, np.uint16, 128), Change("quantum_noise", 5000), range(4)).astype(float) / 65535
        expected = 1 / np.sqrt(5000 * np.exp(-np.log(50) * grey)) / np.log(50)
        assert found.std() == pytest.approx(expected, rel=0.03)
        assert found.mean() == pytest.approx(grey, abs=0.01)
    # A white pixel that no photon reached stays white.
    assert worsened(flat(255), Change("quantum_noise", 50), range(4)).max() == 255


def test_exposure_gamma_and_contrast_are_arithmetic():
    step = np.repeat(np.array([[51, 102, 153, 204]], dtype=np.uint8), 4, axis=0)[None]
    assert worsened(step, Change("exposure", 0.1), [0])[0, 0].tolist() == pytest.approx(
        [76.5, 127.5, 178.5, 229.5], abs=0.51
    )
    assert worsened(step, Change("exposure", -0.5), [0])[0, 0].tolist() == pytest.approx([0, 0, 25.5, 76.5], abs=0.51)
    expected = np.rint(255 * (step[0, 0] / 255) ** 2.0)
    assert worsened(step, Change("gamma", 2.0), [0])[0, 0].tolist() == expected.tolist()
    low = worsened(step, Change("contrast", 0.5), [0])[0, 0].astype(float)
    assert low.tolist() == pytest.approx([89, 115, 140, 166], abs=1)


def test_blur_spreads_by_the_width_it_names_and_keeps_the_sum():
    point = np.zeros((1, 101, 101), dtype=np.uint16)
    point[0, 50, 50] = 65535
    found = worsened(point, Change("blur", 0.02), [0])[0].astype(float)
    x = np.arange(101) - 50
    weight = found.sum(axis=0)
    assert np.sqrt((weight * x**2).sum() / weight.sum()) == pytest.approx(2.02, rel=0.05)
    assert found.sum() == pytest.approx(65535, rel=0.02)


def test_a_crop_keeps_the_middle_and_enlarges_it_alike_both_ways():
    size = 100
    pictures = np.zeros((1, size, 2 * size), dtype=np.uint8)
    pictures[:, 40:60, 80:120] = 255
    found = worsened(pictures, Change("crop", 0.1), [0])[0] > 127
    assert found.any(axis=1).sum() == pytest.approx(20 / 0.8, abs=1)
    assert found.any(axis=0).sum() == pytest.approx(40 / 0.8, abs=1)
    assert np.flatnonzero(found.any(axis=1)).mean() == pytest.approx(49.5, abs=0.6)


def test_a_shift_has_its_length_and_a_turn_its_angle():
    pictures = np.zeros((40, 101, 101), dtype=np.uint8)
    pictures[:, 45:56, 45:56] = 200
    found = worsened(pictures, Change("shift", 0.1), rows(pictures)).astype(float)
    at = np.array([[(one.sum(axis=a) * np.arange(101)).sum() / one.sum() - 50 for a in (1, 0)] for one in found])
    assert np.hypot(*at.T) == pytest.approx(10.1, abs=0.1)
    assert np.abs(at.mean(axis=0)).max() < 5
    dot = np.zeros((40, 101, 101), dtype=np.uint8)
    dot[:, 48:53, 78:83] = 200
    turned = worsened(dot, Change("rotation", 15), rows(dot)).astype(float)
    y = np.array([(one.sum(axis=1) * np.arange(101)).sum() / one.sum() - 50 for one in turned])
    assert np.abs(y) == pytest.approx(30 * np.sin(np.radians(15)), abs=0.2)
    assert 8 < (y > 0).sum() < 32


def test_lower_resolution_averages_cells():
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[None]
    found = worsened(board, Change("resolution", 2), [0])
    assert np.abs(found.astype(int) - 128).max() <= 1


def test_bars_around_a_picture_are_left_alone():
    area = Placement.fit(rows=100, columns=50, size=64)
    frame = np.zeros((2, 64, 64), dtype=np.uint8)
    frame[:, area.top : area.top + area.height, area.left : area.left + area.width] = 120
    inside = frame > 0
    for change in DEFAULT:
        found = worsened(frame, change, [0, 1], areas=[area, area])
        assert not found[~inside].any(), change.key
    assert worsened(frame, Change("exposure", 0.1), [0, 1])[~inside].all()


def test_labels_name_units_and_are_told_apart():
    texts = [change.label for change in DEFAULT]
    assert len(set(texts)) == len({change.key for change in DEFAULT}) == len(texts)
    assert "Gaussian noise, SD 5 % of the range" in texts
    assert "Grey levels moved by -10 % of the range" in texts


@pytest.mark.parametrize(
    ("kind", "amount"), [("fog", 1), ("noise", -0.1), ("jpeg", 0), ("crop", 0.5), ("blur", np.nan)]
)
def test_an_impossible_change_is_refused(kind, amount):
    with pytest.raises(DataError):
        Change(kind, amount)


def test_unfit_pictures_are_refused():
    for pictures, numbers in ((smooth().astype(float), [0, 1, 2]), (smooth()[0], [0]), (smooth(), [0])):
        with pytest.raises(DataError):
            worsened(pictures, Change("noise", 0.1), numbers)


class Study:
    """Pictures with a square whose brightness says the finding, fetched by number and counted."""

    def __init__(self, n=120, seed=0, size=32):
        rng = np.random.default_rng(seed)
        self.y = (rng.random((n, 2)) < [0.4, 0.5]).astype(float)
        self.pictures = rng.integers(60, 140, (n, size, size)).astype(np.uint8)
        for j, part in enumerate((slice(4, 10), slice(20, 26))):
            self.pictures[:, part, part] += (
                np.rint(self.y[:, j] * 25 + rng.normal(20, 14, n)).clip(0).astype(np.uint8)[:, None, None]
            )
        self.patient = np.array([f"p{i // 2}" for i in range(n)])
        self.most = 0
        self.fetched: list[int] = []

    def __len__(self):
        return len(self.pictures)

    def rows(self, numbers):
        self.most = max(self.most, len(numbers))
        self.fetched += list(numbers)
        return self.pictures[numbers]


def predict(pictures):
    x = pictures.astype(float)
    return np.stack(
        [1 / (1 + np.exp(-(x[:, p, p].mean(axis=(1, 2)) - 130) / 8)) for p in (slice(4, 10), slice(20, 26))], 1
    )


NAMES = ["effusion", "nodule"]


def test_losses_are_paired_differences_of_aurocs():
    study = Study()
    study.y[::9, 1] = np.nan
    change = Change("noise", 0.8)
    found = robustness(
        predict, study, study.y, names=NAMES, patient=study.patient, changes=[change], thresholds=[0.5, 0.5]
    )
    before = predict(study.pictures)
    after = predict(worsened(study.pictures, change, np.arange(120)))
    one = found["changes"][0]
    values = []
    for j, name in enumerate(NAMES):
        known = ~np.isnan(study.y[:, j])
        values.append([auroc(study.y[known, j], risk[known, j]) for risk in (before, after)])
        assert found["unchanged"][f"auroc@{name}"]["value"] == pytest.approx(values[-1][0])
        assert one["measures"][f"auroc@{name}"]["value"] == pytest.approx(values[-1][1])
        assert one["differences"][f"auroc@{name}"]["value"] == pytest.approx(values[-1][1] - values[-1][0])
        assert one["risk_change"][f"risk_change@{name}"]["value"] == pytest.approx(np.abs(after - before)[:, j].mean())
        flips = (after[:, j] >= 0.5) != (before[:, j] >= 0.5)
        assert one["flipped"][f"flipped@{name}"]["value"] == pytest.approx(flips.mean())
    gap = one["differences"]["macro_auroc"]
    assert gap["value"] == pytest.approx(np.diff(np.array(values)).mean())
    assert gap["lower"] < gap["value"] < gap["upper"] < 0
    assert gap["against"] == "unchanged"
    assert one["state"] == "loss shown"
    assert found["worst"] == found["flips_most"] == change.key
    assert found["patients"] == 60
    assert "Gaussian noise, SD 80 % of the range" in found["sentence"]


def test_intervals_of_paired_losses_cover_and_pairing_narrows_them():
    from scipy.stats import norm

    # Binormal scores: the loss of AUROC from added noise is known.
    truth = norm.cdf(1 / np.sqrt(2 * 1.5)) - norm.cdf(1 / np.sqrt(2))
    rng = np.random.default_rng(0)
    covered, width, apart = [], [], []
    for _ in range(400):
        m = 80
        y = (rng.random(m) < 0.4).astype(float)[:, None]
        score = rng.normal(y, 1.0)
        worse = score + rng.normal(0, np.sqrt(0.5), score.shape)
        answers = iter([score, worse])
        found = robustness(
            lambda x, answers=answers: next(answers),
            np.zeros((m, 2, 2), dtype=np.uint8),
            y,
            names=["a"],
            changes=[Change("exposure", 0.1)],
            batch_size=m,
        )
        gap = found["changes"][0]["differences"]["macro_auroc"]
        covered.append(gap["lower"] <= truth <= gap["upper"])
        width.append(gap["upper"] - gap["lower"])
        alone = found["unchanged"]["macro_auroc"]
        apart.append((alone["upper"] - alone["lower"]) * np.sqrt(2))
    assert 0.93 < np.mean(covered) < 0.98
    assert np.mean(width) < 0.8 * np.mean(apart)


def test_no_loss_shown_is_not_called_robust():
    study = Study()
    found = robustness(predict, study, study.y, names=NAMES, changes=[Change("blur", 0.01), Change("exposure", 0.02)])
    assert {one["state"] for one in found["changes"]} == {"no loss shown"}
    assert found["sentence"].count("neither is robustness") == 1
    assert found["changes"][0]["flipped"] is None
    assert found["flips_most"] is None
    same = robustness(lambda x: np.tile([0.3, 0.7], (len(x), 1)) + np.arange(len(x))[:, None] / 1e3, study, study.y,
                      names=NAMES, changes=[Change("noise", 0.1)])  # fmt: skip
    gap = same["changes"][0]["differences"]["macro_auroc"]
    assert (gap["value"], gap["lower"]) == (0, None)
    assert "no ranking" in gap["note"]
    assert same["worst"] is None
    assert same["sentence"].startswith("None of 1 change lowered")


def test_memory_and_reading_do_not_grow_with_the_changes():
    study = Study()
    shares = []
    robustness(predict, study, study.y, names=NAMES, batch_size=16, progress=lambda share, text: shares.append(share))
    assert study.most == 16
    assert sorted(study.fetched) == list(range(120))
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_the_batch_changes_nothing_and_a_block_repeats_as_json():
    study = Study()
    options = {"names": NAMES, "patient": study.patient, "thresholds": [0.5, 0.4], "changes": DEFAULT[::4]}
    one = robustness(predict, study, study.y, batch_size=7, **options)
    assert one == robustness(predict, study.pictures, study.y, batch_size=64, **options)
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    assert one["changes"][0]["p_holm"] >= one["changes"][0]["p"]


def test_of_many_pictures_whole_patients_are_drawn():
    study = Study()
    found = robustness(predict, study, study.y, names=NAMES, patient=study.patient, changes=DEFAULT[:1], max_rows=41)
    assert found["n"] == 40
    assert found["of"] == 120
    assert found["patients"] == 20
    assert "40 of 120" in found["note"]
    assert (np.unique(study.patient[np.unique(study.fetched)], return_counts=True)[1] == 2).all()
    again = Study()
    robustness(predict, again, study.y, names=NAMES, patient=study.patient, changes=DEFAULT[:1], max_rows=41, seed=1)
    assert sorted(again.fetched) != sorted(study.fetched)


def test_findings_with_one_answer_are_left_out_and_none_at_all_is_said():
    study = Study()
    study.y[:, 0] = 0
    one = robustness(predict, study, study.y, names=NAMES, changes=[Change("noise", 0.8)])
    assert one["changes"][0]["differences"]["auroc@effusion"]["value"] is None
    assert one["changes"][0]["differences"]["macro_auroc"]["upper"] < 0
    study.y[:, 1] = np.nan
    none = robustness(predict, study, study.y, names=NAMES, changes=[Change("noise", 0.8)], thresholds=[0.5, 0.5])
    assert none["changes"][0]["state"] == "not estimable"
    assert none["changes"][0]["flipped"]["macro_flipped"]["value"] > 0
    assert "Nothing could be compared" in none["sentence"]
    json.dumps(none, allow_nan=False)


def test_unfit_input_is_refused():
    study = Study()
    options = {"predict": predict, "images": study, "y": study.y, "names": NAMES, "changes": DEFAULT[:1]}
    for change in (
        {"changes": ()},
        {"changes": (DEFAULT[0], DEFAULT[0])},
        {"names": ["a"]},
        {"names": ["a", "a"]},
        {"y": study.y[:-1]},
        {"y": study.y + 1},
        {"thresholds": [0.5]},
        {"patient": ["p"]},
        {"level": 0.0},
        {"predict": lambda x: np.zeros(len(x))},
        {"predict": lambda x: np.full((len(x), 2), np.nan)},
    ):
        with pytest.raises(DataError):
            robustness(**(options | change))


def test_frames_with_a_placement_are_changed_inside_it():
    study = Study()
    seen = []

    class Framed:
        def __len__(self):
            return 120

        def rows(self, numbers):
            out = np.zeros((len(numbers), 32, 32), dtype=np.uint8)
            out[:, :, 8:24] = study.pictures[numbers][:, :, 8:24]
            return out

        def placement(self, row):
            return Placement.fit(rows=100, columns=50, size=32)

    def watch(pictures):
        seen.append(pictures[:, :, :8].any() or pictures[:, :, 24:].any())
        return predict(pictures)

    found = robustness(watch, Framed(), study.y, names=NAMES, changes=DEFAULT[:4])
    assert not any(seen)
    assert "bars" in found["note"]
