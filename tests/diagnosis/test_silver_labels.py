"""Silver labels: they teach where nothing else is known, corrected for their errors, and never judge."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize
from scipy.special import expit, logit

from aimed.core import DataError, RefusedError, StudyFileError
from aimed.diagnosis.silver_labels import SilverLabels

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis.image_classifier import ImageClassifier  # noqa: E402
from aimed.diagnosis.image_training import loss_of  # noqa: E402
from aimed.diagnosis.linear_probe import LinearProbe, _as_labelled, fit_heads  # noqa: E402
from aimed.diagnosis.losses import as_labelled, forward_cross_entropy, weighted_cross_entropy  # noqa: E402

UP, DOWN = 0.05, 0.35


def by_hand(z, y, up, down):
    """Return the loss of each label and its slope, from the formula of the paper."""
    p = up + (1 - up - down) * expit(z)
    slope = (1 - up - down) * expit(z) * expit(-z)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)), (p - y) / (p * (1 - p)) * slope


def test_loss_and_gradient_of_the_forward_correction():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(60, 3)) * 3, (rng.random((60, 3)) < 0.4).astype(float)
    y[rng.random(y.shape) < 0.2] = np.nan
    up, down = np.array([0.05, 0.0, 0.3]), np.array([0.35, 0.2, 0.0])
    each, slope = by_hand(z, y, up, down)
    known = (~np.isnan(y)).sum(axis=0)
    logits = torch.from_numpy(z).float().requires_grad_()
    found = forward_cross_entropy(logits, torch.from_numpy(y).float(), up.tolist(), down.tolist())
    found.backward()
    assert found.item() == pytest.approx((np.nansum(each, axis=0) / known).sum(), rel=1e-5)
    np.testing.assert_allclose(logits.grad.numpy(), np.nan_to_num(slope) / known, rtol=2e-4, atol=1e-7)


def test_labels_that_are_right_change_nothing_and_far_odds_stay_finite():
    z = torch.tensor([[-90.0, -3.0, 0.0, 5.0, 90.0]])
    assert torch.equal(as_labelled(z, 0.0, 0.0), z)
    far = z.clone().requires_grad_()
    y = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]])
    forward_cross_entropy(far, y, UP, DOWN).backward()
    assert torch.isfinite(far.grad).all()
    limits = torch.sigmoid(as_labelled(torch.tensor([[-90.0, 90.0]]), UP, DOWN))
    np.testing.assert_allclose(limits, [[UP, 1 - DOWN]], rtol=1e-5)


def test_weighted_losses_are_least_at_the_same_odds_for_gold_and_silver():
    """The loss of labels that are wrong at known rates is least where that of right ones is: one shift fits both."""
    truth, share = 0.23, np.array([0.2])
    loss = loss_of("weighted", None, share, np.array([[UP, DOWN]]))
    seen = UP + (1 - UP - DOWN) * truth
    for silver, chance in ((False, truth), (True, seen)):
        marks = torch.full((2, 1), silver)
        z = torch.full((2, 1), float(logit(truth) + np.log((1 - share[0]) / share[0])), requires_grad=True)
        for label, weight in ((1.0, chance), (0.0, 1 - chance)):
            batch = (z, torch.tensor([[label], [torch.nan]]), marks)
            (weight * loss(lambda x: x, batch)).backward()
        assert abs(z.grad.sum().item()) < 1e-6


def test_a_batch_without_marks_is_not_corrected():
    z, y = torch.tensor([[0.3], [-1.0]]), torch.tensor([[1.0], [0.0]])
    share, flips = np.array([0.5]), np.array([[UP, DOWN]])
    plain = loss_of("plain", None, share)(lambda x: x, (z, y))
    assert loss_of("plain", None, share, flips)(lambda x: x, (z, y)) == plain
    gold = loss_of("plain", None, share, flips)(lambda x: x, (z, y, torch.zeros(2, 1, dtype=torch.bool)))
    assert gold == plain
    silver = loss_of("plain", None, share, flips)(lambda x: x, (z, y, torch.ones(2, 1, dtype=torch.bool)))
    assert silver == weighted_cross_entropy(as_labelled(z, UP, DOWN), y)


def test_heads_say_what_is_there_and_not_what_is_labelled():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20000, 3)).astype(np.float32)
    true = expit(x @ [1.5, -1.0, 0.0] - 0.7)
    y = (rng.random(true.size) < true).astype(float)
    wrong = rng.random(true.size) < np.where(y == 1, DOWN, UP)
    said = np.where(wrong, 1 - y, y)[:, None].astype(np.float32)
    rates = np.broadcast_to([UP, DOWN], (true.size, 1, 2)).copy()
    right, naive = fit_heads(x, said, flips=rates), fit_heads(x, said)
    np.testing.assert_allclose(right.weight[0], [1.5, -1.0, 0.0], atol=0.12)
    assert right.bias[0] == pytest.approx(-0.7, abs=0.1)
    assert naive.bias[0] < -1.0
    none = fit_heads(x, said, flips=np.zeros_like(rates))
    np.testing.assert_allclose(none.weight, naive.weight, rtol=1e-3, atol=1e-4)


def test_slopes_of_the_heads():
    rng = np.random.default_rng(2)
    z, y = rng.normal(size=(5, 1)) * 3, np.array([[1.0], [0.0], [1.0], [0.0], [0.4]])
    rates = np.array([[[UP, DOWN]], [[0.0, 0.3]], [[0.2, 0.0]], [[0.0, 0.0]], [[UP, DOWN]]])

    def loss(flat):
        return float(_as_labelled(flat[:, None], y, rates)[0].sum())

    def slope(flat):
        return _as_labelled(flat[:, None], y, rates)[1][:, 0]

    assert check_grad(loss, slope, z[:, 0]) < 1e-6
    np.testing.assert_allclose(_as_labelled(z, y, rates)[0], by_hand(z, y, rates[..., 0], rates[..., 1])[0])


def test_gold_is_taken_wherever_it_is_known():
    nan = np.nan
    silver = SilverLabels(np.array([[1.0, 0.3], [0.0, nan], [1.0, 1.0]]))
    filled, marks = silver.beside(np.array([[0.0, nan], [nan, nan], [1.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(filled, [[0, 0.3], [0, nan], [1, 0]], rtol=1e-6)
    assert marks.tolist() == [[False, True], [True, False], [False, False]]
    assert silver.take([1]).values.tolist()[0][0] == 0.0
    assert len(silver) == 3


@pytest.mark.parametrize(
    ("values", "flips", "match"),
    [
        (np.zeros(3), None, "shape"),
        ([[1.2]], None, "outside 0 to 1"),
        ([[-1.0]], None, "outside 0 to 1"),
        ([[1.0]], [[0.1, 0.1], [0.1, 0.1]], "flip rates of shape"),
        ([[1.0]], [[0.5, 0.5]], "no meaning"),
        ([[1.0]], [[np.nan, 0.5]], "no meaning"),
    ],
)
def test_what_is_no_silver_label(values, flips, match):
    with pytest.raises(DataError, match=match):
        SilverLabels(np.array(values), None if flips is None else np.array(flips))


# ------------------------------------------------------------------------------------------------------------ training

SMALL = {"architecture_options": {"widths": [4, 8]}, "max_epochs": 2, "n_jobs": 1, "precision": "32-true"}


def pictures(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (n, 1)).astype(np.float32)
    x = rng.integers(0, 60, (n, 16, 16)).astype(np.uint8)
    x[y[:, 0] == 1, :8] += 60
    return x, y


def test_silver_labels_teach_but_never_say_when_to_stop():
    x, y = pictures()
    gold, tune = y.copy(), np.arange(60) < 20
    gold[30:] = np.nan
    gold[10:15] = np.nan
    silver = SilverLabels(y.astype(float), np.array([[UP, DOWN]]))
    model = ImageClassifier(**SMALL).fit(x, gold, tune=tune, silver=silver)
    part = model.history_[0]
    # Five rows that tune have no gold label: they neither tune nor teach.
    assert (part["tune_rows"], part["train_rows"]) == (15, 40)
    other = SilverLabels(np.where(tune[:, None], 1 - y, y).astype(float), silver.flips)
    again = ImageClassifier(**SMALL).fit(x, gold, tune=tune, silver=other)
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    without = ImageClassifier(**SMALL).fit(x, gold, tune=tune)
    assert without.history_[0]["train_rows"] == 10
    plain = ImageClassifier(**SMALL).fit(x, gold, tune=tune, silver=SilverLabels(silver.values))
    assert not np.array_equal(plain.predict_proba(x), model.predict_proba(x))


def test_patients_set_aside_teach_nothing():
    x, y = pictures()
    gold, patient = y.copy(), np.arange(60) // 3
    gold[np.arange(60) % 3 > 0] = np.nan
    model = ImageClassifier(**SMALL, validation_fraction=0.3).fit(
        x, gold, patient, silver=SilverLabels(y.astype(float), np.array([[UP, DOWN]]))
    )
    part = model.history_[0]
    assert part["tune_rows"] == 6
    assert part["train_rows"] == 60 - 3 * 6


def test_a_training_goes_on_only_with_the_same_silver_labels(tmp_path):
    x, y = pictures()
    gold, tune = y.copy(), np.arange(60) < 20
    gold[30:] = np.nan
    silver = SilverLabels(y.astype(float), np.array([[UP, DOWN]]))
    first = ImageClassifier(**SMALL).fit(x, gold, tune=tune, silver=silver, checkpoint=tmp_path)
    same = ImageClassifier(**SMALL).fit(x, gold, tune=tune, silver=silver, checkpoint=tmp_path)
    np.testing.assert_array_equal(first.predict_proba(x), same.predict_proba(x))
    other = SilverLabels(silver.values, np.array([[0.01, 0.02]]))
    with pytest.raises(RefusedError, match="another training"):
        ImageClassifier(**SMALL).fit(x, gold, tune=tune, silver=other, checkpoint=tmp_path)


def test_chances_need_a_loss_that_takes_them():
    x, y = pictures()
    gold = y.copy()
    gold[30:] = np.nan
    silver = SilverLabels(np.full(y.shape, 0.4))
    with pytest.raises(StudyFileError, match="silver labels that are chances"):
        ImageClassifier(**SMALL, loss="focal").fit(x, gold, tune=np.arange(60) < 20, silver=silver)
    model = ImageClassifier(**SMALL, loss="plain").fit(x, gold, tune=np.arange(60) < 20, silver=silver)
    assert np.isfinite(model.predict_proba(x)).all()


def test_a_probe_learns_from_silver_labels_too():
    x, y = pictures(120)
    gold = y.copy()
    gold[60:] = np.nan
    rng = np.random.default_rng(3)
    said = np.where(rng.random(y.shape) < np.where(y == 1, 0.4, 0.0), 1 - y, y).astype(float)
    options = {"architecture": "small_cnn", "architecture_options": {"widths": [4, 8]}, "n_jobs": 1}
    naive = LinearProbe(**options).fit(x, gold, silver=SilverLabels(said))
    right = LinearProbe(**options).fit(x, gold, silver=SilverLabels(said, np.array([[0.01, 0.4]])))
    assert naive.classifier_.n_fitted_ == right.classifier_.n_fitted_ == 120
    assert right.predict_proba(x).mean() > naive.predict_proba(x).mean()


def test_how_common_a_finding_is_without_the_errors_of_its_labels():
    rng = np.random.default_rng(4)
    y = (rng.random((4000, 1)) < 0.3).astype(np.float32)
    said = np.where(rng.random(y.shape) < np.where(y == 1, DOWN, UP), 1 - y, y).astype(float)
    gold = np.where(np.arange(4000)[:, None] < 400, y, np.nan).astype(np.float32)
    for flips, close in ((np.array([[UP, DOWN]]), True), (None, False)):
        silver = SilverLabels(said, flips)
        share = silver.share(*silver.beside(gold))
        assert (abs(share[0] - y.mean()) < 0.02) == close
    # What is least for a constant is the same number.
    silver = SilverLabels(said, np.array([[UP, DOWN]]))
    filled, marks = silver.beside(gold)
    rates = np.where(marks[..., None], silver.flips, 0.0)
    best = minimize(lambda z: _as_labelled(np.full(filled.shape, z[0]), filled, rates)[0].sum(), [0.0]).x[0]
    assert silver.share(filled, marks)[0] == pytest.approx(expit(best), abs=0.01)


@pytest.mark.slow
def test_phantoms_taught_by_reports_that_miss_a_third_of_the_findings():
    """Reports are written and read again; plain training believes them and says too little, the correction does not."""
    from aimed.metrics.label_noise import label_noise, silver_values
    from aimed.metrics.multilabel import multilabel_auroc
    from aimed.synthetic.chest_phantom import ChestPhantom
    from aimed.synthetic.chest_reports import ReportErrors
    from aimed.synthetic.chest_study import plan_study
    from aimed.text.labeller import ReportLabeller

    names, errors = ["effusion", "cardiomegaly"], ReportErrors(gold=0.25, missed=0.35)
    plan = plan_study(500, images_per_patient=1, seed=4, prevalence=0.4, correlation={}, demographics=0.0)
    y = np.array([[name in one.findings for name in names] for one in plan], dtype=float)

    def drawn(one):
        patient = ChestPhantom((4, 2, one.patient), age=one.age, sex=one.sex)
        return patient.draw((4, 3, one.patient), findings=one.findings, view=one.view, size=64, difficulty=0.0).pixels

    with ThreadPoolExecutor(2) as pool:
        x = np.stack(list(pool.map(drawn, plan)))
    x = (x * (255.0 / x.max())).astype(np.uint8)
    labeller = ReportLabeller(targets="nih")
    places = [labeller.targets.index(name.capitalize()) for name in names]
    said = labeller.label([errors.write(4, p.patient, p.image, p.findings) for p in plan]).values[:, places]
    sample = np.array([errors.in_gold(4, p.patient) for p in plan])
    gold = np.where(sample[:, None], y, np.nan)
    learns, test = np.arange(300), np.arange(300, 500)
    noise = label_noise(gold[learns], said[learns], names=names)
    certain = 1 - errors.uncertain
    for one in noise.findings:
        assert one.sensitivity.lower <= 1 - errors.missed / certain <= one.sensitivity.upper
        assert one.specificity.lower <= 1 - errors.overcalled / certain <= one.specificity.upper
    hard = silver_values(said[learns])

    def risks(silver):
        model = ImageClassifier(
            architecture_options={"widths": [8, 16, 32]}, loss="plain", max_epochs=20, early_stopping=False,
            learning_rate=5e-3, precision="32-true", random_state=1, n_jobs=1,
        )  # fmt: skip
        return model.fit(x[learns], gold[learns], silver=silver).predict_proba(x[test])

    plain, forward, soft = (
        risks(one)
        for one in (
            SilverLabels(hard), SilverLabels(hard, noise.flips), SilverLabels(noise.soft(said[learns])),
        )
    )  # fmt: skip

    def off(p):
        return np.abs(np.log(y[test].sum(axis=0) / p.sum(axis=0)))

    def loss(p):
        return -(y[test] * np.log(p) + (1 - y[test]) * np.log(1 - p)).mean(axis=0)

    assert (y[test].sum(axis=0) > 1.15 * plain.sum(axis=0)).all()
    assert float(multilabel_auroc(y[test], forward).macro) > 0.65
    assert (loss(forward) < loss(plain)).all()
    for better in (forward, soft):
        assert off(better).mean() < 0.6 * off(plain).mean()
        ranked = [float(multilabel_auroc(y[test], p).macro) for p in (better, plain)]
        assert ranked[0] > ranked[1] - 0.05
