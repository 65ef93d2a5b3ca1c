"""The segmenter of volumes: it learns, repeats, resumes, survives storage, keeps patients apart and clears specks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from aimed.core import BundleError, DataError, NotEstimableError, RefusedError, StudyFileError
from aimed.diagnosis.component_rules import ComponentRule, RuleScores, choose_rule

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.volume_augmentation import VolumeAugmentation  # noqa: E402
from aimed.diagnosis.volume_scaling import VolumeScaling  # noqa: E402
from aimed.diagnosis.volume_segmenter import VolumeSegmenter  # noqa: E402

REGIONS = {"whole": (1, 2), "core": 2}
SMALL = {
    "architecture_options": {"widths": [4, 8]}, "patch_size": (16, 16, 16), "max_epochs": 2, "patches_per_scan": 2,
    "precision": "32-true", "n_jobs": 1, "overlap": 0.25,
}  # fmt: skip


def small(**changes):
    return VolumeSegmenter(**{"regions": REGIONS, **SMALL, **changes})


def blobs(n=6, size=20, seed=0):
    """Return heads with a ball that holds a smaller one, (2, z, y, x) each, and masks with labels 1 and 2."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.mgrid[:size, :size, :size]).astype(float)
    scans, masks = [], []
    for _ in range(n):
        far = np.sqrt(((at - rng.uniform(0.4, 0.6, (3, 1, 1, 1)) * size) ** 2).sum(0))
        radius = rng.uniform(0.2, 0.3) * size
        mask = (far < radius).astype(np.uint8) + (far < 0.6 * radius)
        head = np.sqrt(((at - size / 2) ** 2).sum(0)) < 0.48 * size
        scan = rng.normal(100, 8, (2, size, size, size))
        scan[0] += 60 * (mask > 0)
        scan[1] += 60 * (mask == 2)
        scans.append((scan * head).astype(np.float32))
        masks.append((mask * head).astype(np.uint8))
    return scans, masks


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def fitted(data):
    return small(n_estimators=2, validation_fraction=0.5).fit(*data)


@pytest.mark.parametrize("changes", [{}, {"exclusive": True, "regions": {"rim": 1, "core": 2}},
                                     {"architecture_options": {"widths": [4, 8, 8], "deep": 1}}])  # fmt: skip
def test_it_learns_what_can_be_seen(data, changes):
    model = small(max_epochs=20, patches_per_scan=4, learning_rate=1e-2, **changes).fit(*data)
    scans, masks = blobs(3, seed=9)
    found = model.predict(scans)
    assert {one.dtype for one in found} == {np.dtype(np.uint8)}
    assert np.mean([dice(f > 0, m > 0) for f, m in zip(found, masks, strict=True)]) > 0.85
    assert np.mean([dice(f == 2, m == 2) for f, m in zip(found, masks, strict=True)]) > 0.8
    assert all((f[scan[0] == 0] == 0).mean() > 0.98 for f, scan in zip(found, scans, strict=True))
    assert model.tune_dice_["scans"] == 1
    history = model.history_[0]
    assert history["best_epoch"] == 1 + int(np.argmax(history["tune"]["dice"]))
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_the_first_scores_are_as_frequent_as_what_is_looked_for(data):
    share = np.mean([mask > 0 for mask in data[1]]), np.mean([mask == 2 for mask in data[1]])
    for changes in ({}, {"exclusive": True, "regions": {"rim": 1, "core": 2}}):
        model = small(max_epochs=1, learning_rate=1e-9, early_stopping=False, crop=False, **changes).fit(*data)
        with torch.no_grad():
            for head in model.networks_[0].heads:
                head.weight.zero_()
        mean = model.predict_proba(data[0][:1])[0].mean((1, 2, 3))
        wanted = share if not changes else (share[0] - share[1], share[1])
        np.testing.assert_allclose(mean, wanted, rtol=1e-3)


def test_same_seed_same_bits(data, fitted):
    again = small(n_estimators=2, validation_fraction=0.5).fit(*data)
    assert again.weights() == fitted.weights()
    assert again.history_ == fitted.history_
    other = small(n_estimators=2, validation_fraction=0.5, random_state=1).fit(*data)
    assert other.weights() != fitted.weights()


def test_stored_and_read_back(data, fitted):
    state = json.loads(json.dumps(fitted.to_state(), allow_nan=False))
    back = VolumeSegmenter.from_state(state, fitted.weights())
    for ours, theirs in zip(back.predict(data[0][:2]), fitted.predict(data[0][:2]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.predict_proba(data[0][:1])[0], fitted.predict_proba(data[0][:1])[0])
    assert json.loads(json.dumps(back.to_state())) == state
    with pytest.raises(BundleError, match="not those of the model"):
        VolumeSegmenter.from_state(state, fitted.weights()[:-1] + b"\x00")
    with pytest.raises(BundleError, match="do not fit"):
        VolumeSegmenter.from_state({**state, "channels": 3}, fitted.weights())
    assert VolumeSegmenter.from_state(state, None).head_ == fitted.head_


def test_settings_survive_storage_and_cloning(data):
    model = small(
        max_epochs=1, early_stopping=False, scaling=VolumeScaling(kind="window", low=0, high=200), mirror=(2,),
        augmentation=VolumeAugmentation.brain(rotation=5.0),
    )  # fmt: skip
    assert clone(model).get_params() == model.get_params()
    model.fit(*data)
    state = json.loads(json.dumps(model.to_state()))
    back = VolumeSegmenter.from_state(state, model.weights())
    assert back.get_params() == model.get_params()
    np.testing.assert_array_equal(back.predict(data[0][:1])[0], model.predict(data[0][:1])[0])


def test_probabilities_and_doubt(data, fitted):
    (mean, spread), *_ = fitted.predict_uncertain(data[0][:1])
    assert mean.shape == spread.shape == (2, 20, 20, 20)
    assert mean.dtype == np.float32
    assert ((mean >= 0) & (mean <= 1)).all()
    assert spread.max() > 0
    members = []
    for place in range(2):
        alone = small(n_estimators=1)
        alone.__dict__.update({**fitted.__dict__, "networks_": [fitted.networks_[place]]})
        own, unknown = alone.predict_uncertain(data[0][:1])[0]
        assert np.isnan(unknown).all()
        members.append(own)
    np.testing.assert_allclose(mean, np.mean(members, axis=0), atol=1e-6)
    np.testing.assert_allclose(spread, np.std(members, axis=0, ddof=1), atol=1e-5)


def test_copies_with_other_greys_give_doubt(data, fitted):
    more = VolumeSegmenter.from_state(fitted.to_state(), fitted.weights())
    more.test_time_augmentation = 2
    (first, spread), (second, _) = (more.predict_uncertain(data[0][:1])[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, fitted.predict_proba(data[0][:1])[0])
    assert np.isfinite(spread).all()


def test_patients_stay_on_one_side(data):
    groups = np.array([0, 0, 1, 1, 2, 2])
    model = small(validation_fraction=0.34, max_epochs=1).fit(*data, groups)
    assert model.history_[0]["tune_scans"] == 2
    assert model.n_patients_ == 3
    tune = np.array([True, True, False, False, False, False])
    assert small(max_epochs=1).fit(*data, groups, tune=tune).history_[0]["train_scans"] == 4
    with pytest.raises(DataError, match="both sides"):
        small().fit(*data, groups, tune=~np.roll(tune, 1))
    with pytest.raises(NotEstimableError, match="one patient"):
        small().fit(*data, np.zeros(6))


def test_voxels_that_nobody_looked_at_teach_nothing(data):
    """Wrong labels where the mask says unknown: the network must not see them."""
    scans, masks = data
    half = [mask.astype(np.int16) for mask in masks]
    for mask in half:
        mask[:10] = -1
    same = [np.where(mask == -1, 255, mask).astype(np.uint8) for mask in half]
    a, b = (small(max_epochs=1).fit(scans, given) for given in (half, same))
    assert a.weights() == b.weights()
    assert a.tune_dice_ == b.tune_dice_
    assert a.weights() != small(max_epochs=1).fit(scans, masks).weights()


def test_scans_of_other_sizes_and_from_memory_maps(tmp_path, fitted):
    (scan,), _ = blobs(1, size=26, seed=3)
    scan = scan[:, :15, :, 3:]
    np.save(tmp_path / "scan.npy", scan)
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    (found,), (wanted,) = fitted.predict([mapped]), fitted.predict([scan])
    assert found.shape == (15, 26, 23)
    np.testing.assert_array_equal(found, wanted)


def test_progress_is_told(data, fitted):
    told = []
    small(max_epochs=2).fit(*data, progress=lambda share, text: told.append(share))
    assert told[-1] == 1.0
    told.clear()
    fitted.masks_of(data[0][0], progress=lambda share, text: told.append(share))
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda s, m: (s, m[:-1]), "masks"),
        (lambda s, m: ([s[0][:, 1:], *s[1:]], m), "grid"),
        (lambda s, m: ([s[0][:1], *s[1:]], m), "same channels"),
        (lambda s, m: (s, [np.where(m[0] > 0, 7, 0), *m[1:]]), "no region holds: 7"),
        (lambda s, m: ([np.where(np.arange(2)[:, None, None, None] == 1, 0, s[0]), *s[1:]], m), "channel 2 is empty"),
        (lambda s, m: ([s[0] * np.nan, *s[1:]], m), "NaN"),
        (lambda s, m: (s, [np.where(one == 2, 1, one) for one in m]), "'core' is in no training scan"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(data, break_it, words):
    with pytest.raises(DataError, match=words):
        small().fit(*break_it(*data))


def test_settings_out_of_range_are_refused(data, fitted):
    for bad in (
        {"loss": "dise"}, {"architecture": "unet"}, {"stop_on": "auroc"}, {"max_epochs": 0}, {"mirror": (5,)},
        {"validation_fraction": 1.0}, {"loss_options": {"no": 1}}, {"architecture_options": {"no": 1}},
    ):  # fmt: skip
        with pytest.raises(StudyFileError):
            small(**bad).fit(*data)
    with pytest.raises(DataError, match="2 channels"):
        fitted.predict([data[0][0][:1]])


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    from aimed.fit import torch_training

    data, wrote, begun = blobs(4, 16), torch_training.write_checkpoint, torch_training.TrainingSettings.__init__
    monkeypatch.setattr(
        torch_training.TrainingSettings, "__init__",
        lambda self, **given: begun(self, **{**given, "checkpoint_seconds": 0.0}),
    )  # fmt: skip
    whole = small(ema=0.9).fit(*data)
    calls = []

    def write(*parts):
        wrote(*parts)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch_training, "write_checkpoint", write)
    with pytest.raises(KeyboardInterrupt):
        small(ema=0.9).fit(*data, checkpoint=tmp_path)
    resumed = small(ema=0.9).fit(*data, checkpoint=tmp_path)
    assert len(calls) > 3
    assert resumed.weights() == whole.weights()
    assert resumed.history_ == whole.history_
    with pytest.raises(RefusedError, match="another training"):
        small(ema=0.9).fit(*blobs(4, 16, seed=5), checkpoint=tmp_path)


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    """Kill -9 in the middle of a training, and begin it again."""
    code = """
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        import test_volume_segmenter as here
        from aimed.fit import torch_training
        calls = 0
        wrote = torch_training.write_checkpoint
        def write(*parts):
            global calls
            wrote(*parts)
            calls += 1
            if calls == 3 and sys.argv[3] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        torch_training.write_checkpoint = write
        always = torch_training.TrainingSettings.__init__
        def init(self, **given):
            always(self, **{**given, "checkpoint_seconds": 0.0})
        torch_training.TrainingSettings.__init__ = init
        model = here.small(max_epochs=2, ema=0.9).fit(*here.blobs(4, 16), checkpoint=sys.argv[2])
        import hashlib
        print(hashlib.sha256(model.weights()).hexdigest())
    """

    def run(folder, how):
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(Path(__file__).parent), str(folder), how],
            capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
        )  # fmt: skip

    whole = run(tmp_path / "whole", "go")
    assert whole.returncode == 0, whole.stderr
    assert run(tmp_path / "killed", "kill").returncode == -signal.SIGKILL
    resumed = run(tmp_path / "killed", "go")
    assert resumed.stdout == whole.stdout


def test_rules_are_chosen_where_they_gain(data):
    rng = np.random.default_rng(0)
    truth = np.zeros((12, 12, 12), dtype=bool)
    truth[2:8, 2:8, 2:8] = True
    specks, clean = RuleScores(), RuleScores()
    for _ in range(4):
        found = truth.copy()
        found[tuple(rng.integers(9, 12, (3, 5)))] = True
        specks.add(found, truth)
        clean.add(truth, truth)
    rule, before, after = choose_rule(specks)
    assert rule == ComponentRule(minimum=10)
    assert before < after == 1.0
    assert choose_rule(clean)[0] == ComponentRule()
    few = RuleScores()
    few.add(found, truth)
    assert choose_rule(few)[0] == ComponentRule()
    # Every score is that of the mask after the rule.
    for place, one in enumerate(specks.rules):
        kept = one.applied(found)
        assert specks.dice[-1][place] == pytest.approx(dice(kept, truth))
    nothing = RuleScores()
    nothing.add(np.zeros_like(truth), np.zeros_like(truth))
    nothing.add(found, np.zeros_like(truth))
    assert nothing.dice[0] == [1.0] * len(nothing.rules)
    assert nothing.dice[1][0] == 0.0


def test_two_pieces_of_which_both_are_real_stay():
    mask = np.zeros((6, 6, 12), dtype=bool)
    mask[1:4, 1:4, 1:4] = mask[1:4, 1:4, 8:11] = True
    scores = RuleScores((10, 27, 28))
    for _ in range(3):
        scores.add(mask, mask)
    assert choose_rule(scores)[0] == ComponentRule()
    assert ComponentRule(largest=True).applied(mask).sum() == 27
    assert ComponentRule(minimum=28).applied(mask).sum() == 0
    corner = np.zeros((2, 2, 2), dtype=bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert ComponentRule(largest=True).applied(corner).sum() == 2


def test_half_precision_is_used_where_it_changes_nothing(data):
    from aimed.fit.half_precision import half_precision_here

    model = small(precision="auto", max_epochs=1).fit(*data)
    if half_precision_here():
        assert model.precision_["dice_change"] is not None
        passed = abs(model.precision_["dice_change"]) < model.precision_["limit"]
        assert model.precision_["used"] == ("bf16-mixed" if passed else "32-true")
    else:
        assert model.precision_["used"] == "32-true"
