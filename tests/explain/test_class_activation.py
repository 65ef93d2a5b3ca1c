"""Heat maps of networks: closed form against autograd, sign, sanity checks, localisation and the overlay."""

from __future__ import annotations

import time
from functools import partial
from io import BytesIO

import numpy as np
import pytest

from aimed.core import DataError, UnknownNameError
from aimed.core.image import Placement
from aimed.explain.localisation import box_masks, localisation
from aimed.explain.map_overlay import overlay_png

torch = pytest.importorskip("torch", reason="needs torch: pip install 'aimed[deep]'")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from aimed.explain.class_activation import METHODS, activation_maps, scores_of, to_source  # noqa: E402
from aimed.explain.map_sanity import (  # noqa: E402
    deletion_insertion,
    randomised_findings,
    randomised_weights,
    similarity,
)


class Tiny(nn.Module):
    """Three convolutions, a rectifier that is a function (as in DenseNet), a mean and a linear head."""

    def __init__(self, findings=5, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
                nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 12, 3, padding=1),
            )  # fmt: skip
            self.head = nn.Linear(12, findings)

    def forward(self, x):
        return self.head(functional.relu(self.features(x), inplace=True).mean((2, 3)))


class Detector(nn.Module):
    """Finds bright discs by a blur and a threshold; the second finding is their absence."""

    def __init__(self):
        super().__init__()
        self.blur = nn.Conv2d(1, 1, 5, padding=2)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.blur.weight.fill_(1 / 25)
            self.blur.bias.fill_(-0.5)
            self.head.weight.copy_(torch.tensor([[60.0], [-60.0]]))
            self.head.bias.copy_(torch.tensor([-2.0, 2.0]))

    def forward(self, x):
        return self.head(self.blur(x).relu().mean((2, 3)))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).normal(size=(4, 1, 32, 32)).astype(np.float32)


def discs(n=40, size=32, radius=4, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centre = rng.uniform(radius + 1, size - radius - 2, (n, 2))
    masks = (y - centre[:, 0, None, None]) ** 2 + (x - centre[:, 1, None, None]) ** 2 <= radius**2
    noise = rng.normal(0, 0.1, (n, size, size))
    return (masks + noise).astype(np.float32)[:, None], masks


def textbook(network, pictures, finding, method="grad_cam"):
    """Grad-CAM and Grad-CAM++ written out with autograd through the whole network, in float64, cell by cell."""
    network = network.double().eval()
    f = functional.relu(network.features(torch.tensor(pictures, dtype=torch.float64)))
    f.retain_grad()
    network.head(f.mean((2, 3)))[:, finding].sum().backward()
    g, f = f.grad.numpy(), f.detach().numpy()
    network.float()
    if method == "grad_cam_pp":
        below = 2 * g**2 + g**3 * f.sum(axis=(2, 3), keepdims=True)
        weights = (g**2 / below * np.maximum(g, 0)).sum(axis=(2, 3))
    else:
        weights = g.mean(axis=(2, 3))
    maps = np.maximum(np.einsum("nk,nkyx->nyx", weights, f), 0)
    size = pictures.shape[2:]
    large = functional.interpolate(torch.tensor(maps)[:, None], size, mode="bilinear", align_corners=False)
    return large[:, 0].numpy()


# ------------------------------------------------------------------------------------------------------------ maps


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp"])
def test_closed_form_is_the_textbook(pictures, method):
    network = Tiny()
    found = activation_maps(network, pictures, method=method)
    assert found.shape == (4, 5, 32, 32)
    assert found.dtype == np.float32
    for finding in range(5):
        wanted = textbook(network, pictures, finding, method)
        assert wanted.max() > 0
        assert np.abs(found[:, finding] - wanted).max() < 1e-6 * max(1.0, wanted.max())
        assert np.corrcoef(found[:, finding].ravel(), wanted.ravel())[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "occlusion"])
def test_closed_form_is_autograd_at_a_named_layer(pictures, method):
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 7, 3, padding=1),
        nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4),
    )  # fmt: skip
    closed = activation_maps(network, pictures, method=method)
    assert closed.max() > 0
    np.testing.assert_allclose(activation_maps(network, pictures, method=method, layer="3"), closed, atol=1e-6)
    np.testing.assert_allclose(activation_maps(network, pictures, method=method, batch=3), closed, atol=1e-7)
    some = activation_maps(network, pictures, method=method, classes=[2, 0])
    np.testing.assert_allclose(some, closed[:, [2, 0]], atol=1e-7)


def test_cells_sum_to_the_score_before_they_are_cut(pictures):
    network = Tiny()
    with torch.no_grad():
        network.head.weight.abs_()
    found = activation_maps(network, pictures)
    # Cells are 4 x 4 pixels; linear interpolation with repeated edges keeps the mean only roughly.
    scores = scores_of(network, pictures) - network.head.bias.detach().numpy()
    np.testing.assert_allclose(found.mean(axis=(2, 3)) * 64, scores, rtol=0.15)


@pytest.mark.parametrize("layer", ["features.0", "features.2", "features.3", "features.5", "features"])
def test_any_layer_before_an_in_place_rectifier(pictures, layer):
    network = Tiny()
    network.train()
    weights = {k: v.clone() for k, v in network.state_dict().items()}
    found = activation_maps(network, pictures, layer=layer, classes=[1])
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert network.training
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert torch.is_grad_enabled()


def test_gradients_at_an_early_layer_are_those_of_autograd(pictures):
    network = Tiny().eval()
    x = torch.tensor(pictures)
    f = network.features[:2](x)
    f.retain_grad()
    network.head(functional.relu(network.features[2:](f.clone())).mean((2, 3)))[:, 3].sum().backward()
    wanted = (f.grad * f).sum(1).relu().detach()
    wanted = functional.interpolate(wanted[:, None], (32, 32), mode="bilinear", align_corners=False)[:, 0].numpy()
    found = activation_maps(network, pictures, method="hires_cam", layer="features.1", classes=[3])
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-6)


def test_maps_have_the_right_sign():
    images, masks = discs(6)
    cam = activation_maps(Detector(), images)
    fall = activation_maps(Detector(), images, method="occlusion", window=6, stride=2)
    assert cam[:, 0][masks].mean() > 5 * cam[:, 0][~masks].mean()
    assert cam[:, 1].max() == 0
    for one, mask in zip(fall, masks, strict=True):
        assert one[0][mask].mean() > 0.1
        assert one[1][mask].mean() < -0.1
        assert mask[np.unravel_index(one[0].argmax(), mask.shape)]
        assert abs(one[0][~mask].mean()) < 0.3 * one[0][mask].mean()


def test_occlusion_is_the_fall_of_the_score():
    network, image = Detector(), discs(1, size=16, radius=3)[0]
    found = activation_maps(network, image, method="occlusion", window=8, stride=8, fill=0.0)
    assert found.shape == (1, 2, 16, 16)
    whole = scores_of(network, image)[0]
    for y in (0, 8):
        for x in (0, 8):
            covered = image.copy()
            covered[..., y : y + 8, x : x + 8] = 0
            np.testing.assert_allclose(found[0, :, y + 4, x + 4], whole - scores_of(network, covered)[0], atol=1e-5)


def test_maps_reach_the_pixels_of_the_source():
    place = Placement.fit(rows=64, columns=32, size=32)
    images, _ = discs(1)
    framed = np.zeros_like(images)
    framed[..., 8:24] = images[..., 8:24]
    large = to_source(activation_maps(Detector(), framed)[0], place)
    assert large.shape == (2, 64, 32)
    framed[:] = 0
    framed[0, 0, 10:15, 18:23] = 3
    y, x = np.unravel_index(to_source(activation_maps(Detector(), framed)[0], place)[0].argmax(), (64, 32))
    top, left, bottom, right = place.to_source_box((10, 18, 15, 23))
    assert top <= y <= bottom
    assert left <= x <= right


def test_bad_input_is_named(pictures):
    network = Tiny()
    with pytest.raises(UnknownNameError, match="did you mean 'grad_cam'"):
        activation_maps(network, pictures, method="gradcam")
    with pytest.raises(UnknownNameError, match="features"):
        activation_maps(network, pictures, layer="feature.5")
    with pytest.raises(DataError, match="has no maps"):
        activation_maps(network, pictures, layer="head")
    with pytest.raises(DataError, match="0 to 4"):
        activation_maps(network, pictures, classes=[5])
    with pytest.raises(DataError, match="finite"):
        activation_maps(network, np.full((1, 1, 8, 8), np.nan))
    with pytest.raises(DataError, match="shape"):
        activation_maps(network, pictures[0])
    with pytest.raises(DataError, match="name a convolutional layer"):
        activation_maps(nn.Sequential(Tiny(), nn.Sigmoid()), pictures)
    deep = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(DataError, match="no linear head on the mean"):
        activation_maps(deep, pictures)
    assert activation_maps(deep, pictures, layer="0").shape == (4, 2, 32, 32)


@pytest.mark.slow
def test_fourteen_maps_cost_about_one_forward_pass():
    from aimed.diagnosis.densenet import DenseNet

    network, x = DenseNet(14).eval(), np.random.default_rng(0).normal(size=(1, 1, 224, 224)).astype(np.float32)

    def seconds(work):
        best = np.inf
        for _ in range(7):
            start = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - start)
        return best

    assert activation_maps(network, x).shape == (1, 14, 224, 224)
    # The goal is 1.1; a busy machine gets some air.
    assert seconds(lambda: activation_maps(network, x)) < 1.5 * seconds(lambda: scores_of(network, x))


def test_the_networks_of_this_package(pictures):
    from aimed.diagnosis.pooled_network import build_network

    small = {"small_cnn": {"widths": [4, 8]}, "densenet121": {"growth": 4, "blocks": [1, 1], "first": 4}}
    for name, options in small.items():
        network = build_network(name, 3, options)
        assert activation_maps(network, pictures).shape == (4, 3, 32, 32)
        # The layer whose rectifier is a function, where MONAI's hooks fail.
        layer = network.stages[-1]
        assert activation_maps(network, pictures, method="hires_cam", layer=layer).shape == (4, 3, 32, 32)


# ---------------------------------------------------------------------------------------------------------- checks


def edges(module, images):
    """A map that ignores the network."""
    return np.abs(np.gradient(np.asarray(images)[:, 0], axis=1))[:, None]


def test_randomised_weights_flag_an_edge_detector_and_pass_a_detector():
    images, _ = discs(24)
    bad = randomised_weights(Detector(), images, edges)
    assert bad.passed is False
    assert "do not depend on the weights" in bad.sentence
    assert bad.estimates["spearman"] == pytest.approx(1)
    assert bad.estimates["ssim"] == pytest.approx(1)

    network = Tiny(findings=3)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    good = randomised_weights(network, images, steps=3, draws=4, patient=np.arange(24) // 2)
    assert good.passed is True
    assert "they do depend on the weights" in good.sentence
    assert good.estimates["spearman"].upper < 0.5
    assert [step["layers"] for step in good.steps] == [1, 2, 5]
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    again = randomised_weights(network, images, steps=3, draws=4, patient=np.arange(24) // 2)
    assert again.to_dict() == good.to_dict()


def test_few_pictures_are_not_enough_evidence():
    images, _ = discs(3)
    found = randomised_weights(Detector(), images, edges)
    assert found.passed is None
    assert found.sentence.endswith("not enough evidence.")


def test_similarity_of_flat_maps():
    ramp = np.arange(64.0).reshape(1, 1, 8, 8)
    assert np.isnan(similarity(np.zeros_like(ramp), ramp)).all()
    assert (similarity(ramp, np.zeros_like(ramp)) == 0).all()
    noise = np.random.default_rng(0).normal(size=(1, 1, 28, 28))
    rank, structure = similarity(noise, np.random.default_rng(1).normal(size=(1, 1, 28, 28)))
    assert abs(rank[0]) < 0.15
    assert structure[0] < 0.3


def test_localisation_on_discs():
    images, masks = discs(60)
    found = localisation(activation_maps(Detector(), images)[:, 0], masks, patient=np.arange(60) // 2)
    assert found.passed is True
    assert found.estimates["pointing"] > 0.9
    assert found.chance["pointing"] == pytest.approx(masks.mean())
    assert found.estimates["inside_gain"].lower > 0
    assert found.estimates["iou_gain"].lower > 0
    assert found.sentence.endswith("more often than chance.")
    rng = np.random.default_rng(3)
    chance = localisation(rng.random((400, 32, 32)), discs(400)[1])
    assert chance.passed is False
    assert chance.estimates["pointing"] == pytest.approx(chance.chance["pointing"], abs=0.03)
    assert abs(chance.estimates["inside_gain"]) < 0.01
    assert abs(chance.estimates["iou_gain"]) < 0.01


def test_localisation_interval_is_wilson_and_wider_for_patients():
    from aimed.metrics.proportions import wilson

    masks = np.zeros((20, 10, 10), dtype=bool)
    masks[:, :2, :5] = True
    maps = np.zeros((20, 10, 10))
    maps[:14, 0, 0] = 1
    maps[14:, 9, 9] = 1
    one = localisation(maps, masks).estimates["pointing"]
    assert (one.lower, one.upper) == pytest.approx(wilson(14, 20))
    two = localisation(maps, masks, patient=np.arange(20) // 2).estimates["pointing"]
    assert (two.lower, two.upper) == pytest.approx(wilson(7, 10))
    few = localisation(maps[:10], masks[:10], patient=np.arange(10) // 3)
    assert few.estimates["pointing"] == 1
    assert few.passed is None
    assert few.sentence.endswith("not enough evidence.")


def test_an_empty_map_is_a_miss_and_ties_share():
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[:, 0] = True
    maps = np.zeros((2, 4, 4))
    maps[1, 0, 0] = maps[1, 3, 3] = 2
    found = localisation(maps, masks)
    assert found.estimates["pointing"] == 0.25
    assert found.sentence.endswith("count as misses: 1.")
    with pytest.raises(DataError, match="mask without a pixel"):
        localisation(maps, np.zeros_like(masks))


def test_boxes_become_masks():
    assert box_masks([[(1, 2, 3, 4)], []], (4, 5)).sum(axis=(1, 2)).tolist() == [4, 0]


def test_deletion_and_insertion():
    images, _ = discs(12)
    heat = activation_maps(Detector(), images)[:, 0]
    found = deletion_insertion(Detector(), images, heat, 0, fill=0.0)
    assert found.passed is True
    assert found.estimates["deletion"] < found.chance["deletion"]
    assert found.estimates["insertion"] > found.chance["insertion"]
    inverted = deletion_insertion(Detector(), images, -heat, 0, fill=0.0)
    assert inverted.passed is False
    with pytest.raises(DataError, match="does not exist"):
        deletion_insertion(Detector(), images, heat, 2)


def test_a_record_is_plain_json():
    import json

    images, masks = discs(6)
    make = partial(activation_maps, method="layer_cam")
    for record in (localisation(masks, masks), randomised_weights(Tiny(), images, make, steps=2, draws=1)):
        json.dumps(record.to_dict(), allow_nan=False)


# --------------------------------------------------------------------------------------------------------- overlay


def test_overlay_keeps_what_the_map_does_not_mark():
    from PIL import Image

    grey = np.full((64, 64), 60, dtype=np.uint8)
    grey[4:12, 4:8] = 255
    heat = np.zeros((64, 64))
    heat[40:50, 40:50] = 2
    png = overlay_png(grey, heat)
    assert png.startswith(b"\x89PNG")
    assert png == overlay_png(grey, heat)
    drawn = np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)
    middle = drawn.shape[1] // 2
    coloured = np.ptp(drawn, axis=2) > 40
    assert not coloured[:, : middle - 20].any()
    assert coloured[:, middle:].any()
    # Beside the hot place the overlay is the same, pixel by pixel, as without a map; the marker lies there.
    plain = np.asarray(Image.open(BytesIO(overlay_png(grey, np.zeros((64, 64)), top=2))).convert("RGB")).astype(int)
    upper = np.s_[int(0.1 * len(drawn)) : int(0.4 * len(drawn)), middle : middle + int(0.35 * drawn.shape[1])]
    assert plain.shape == drawn.shape
    assert np.array_equal(drawn[upper], plain[upper])
    assert (drawn[upper] > 250).any()
    assert (drawn[upper] < 5).any()
    with pytest.raises(DataError, match="same pixels"):
        overlay_png(grey, heat[:10])
    with pytest.raises(DataError, match="opacity"):
        overlay_png(grey, heat, opacity=0)


def test_findings_are_told_apart_by_the_same_random_networks(pictures):
    """One finding whose map is the picture itself, one whose map follows the weights, one without a map."""

    def make(module, images):
        maps = activation_maps(module, images, classes=[0, 0, 0])
        maps[:, 0], maps[:, 2] = images[:, 0], 1.0
        return maps

    network = Tiny()
    pictures = np.concatenate([pictures, pictures[:, :, ::-1], pictures[:, :, :, ::-1]])
    overall, (stays, follows, flat) = randomised_findings(network, pictures, make)
    assert stays.passed is False
    assert float(stays.estimates["spearman"]) == pytest.approx(1.0)
    assert follows.passed is True
    assert flat is None
    assert follows.estimates["spearman"] < overall.estimates["spearman"] < stays.estimates["spearman"]
    assert overall.to_dict() == randomised_weights(network, pictures, make).to_dict()


def test_chance_strikes_where_the_picture_is():
    masks = np.zeros((20, 10, 10), dtype=bool)
    masks[:, 4:6, 4:6] = True
    visible = np.zeros_like(masks)
    visible[:, :, 3:8] = True
    whole, part = (localisation(masks.astype(float), masks, **more) for more in ({}, {"visible": visible}))
    assert whole.chance["pointing"] == pytest.approx(0.04)
    assert part.chance["pointing"] == pytest.approx(0.08)
    assert part.estimates["pointing"] == whole.estimates["pointing"] == 1
    # All 4 pixels marked of 50: chance overlap is 0.08 ** 2 / (0.16 - 0.08 ** 2).
    assert part.chance["iou"] == pytest.approx(0.0064 / (0.16 - 0.0064))
    with pytest.raises(DataError, match="reaches out of its picture"):
        localisation(masks.astype(float), masks, visible=~visible)
