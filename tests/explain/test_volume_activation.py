"""Heat maps of outlines: values that can be worked out by hand, the networks there are, and checks that can fail."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aimed.core import DataError, UnknownNameError
from aimed.diagnosis import VOLUME_NETWORKS

torch = pytest.importorskip("torch", reason="needs torch: pip install 'aimed[deep]'")
from torch import nn  # noqa: E402

from aimed.diagnosis.sliding_window import whole_scan  # noqa: E402
from aimed.diagnosis.volume_network import build_volume_network  # noqa: E402
from aimed.explain.volume_activation import MapCase, explain_volume_maps, stages_of, volume_maps  # noqa: E402

SIDE = 8
SMALL = {
    "unet3d": {"widths": [4, 8, 8], "deep": 1},
    "segresnet3d": {"first": 4, "groups": 2, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
}


class PointWise(nn.Module):
    """Scores that are sums of rectified grey values of the same voxel: maps can be written down."""

    def __init__(self, weights=((1.0, 2.0), (0.5, -1.0))):
        super().__init__()
        self.first = nn.Conv3d(1, 2, 1, bias=False)
        self.relu = nn.ReLU()
        self.last = nn.Conv3d(2, len(weights), 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1, 1))
            self.last.weight.copy_(torch.tensor(weights).reshape(len(weights), 2, 1, 1, 1))

    def forward(self, x):
        return self.last(self.relu(self.first(x)))


@pytest.fixture
def scan():
    return np.random.default_rng(0).normal(size=(1, SIDE, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def outlines(scan):
    return np.concatenate([scan > 0.5, scan < -1.0])


def built(name):
    torch.manual_seed(0)
    return build_volume_network(name, 2, 2, SMALL[name])


def test_seg_hires_cam_is_the_score_of_what_is_outlined(scan, outlines):
    found = volume_maps(PointWise(), scan, outlines, stages=["relu"], method="hires_cam")
    plus, minus = np.maximum(scan[0], 0), np.maximum(-scan[0], 0)
    scores = np.stack([plus + 2 * minus, 0.5 * plus - minus])
    np.testing.assert_allclose(found[0], np.where(outlines, np.maximum(scores, 0), 0), rtol=1e-5, atol=1e-6)


def test_seg_grad_cam_weighs_by_the_mean_gradient(scan, outlines):
    found = volume_maps(PointWise(), scan, outlines, stages=["relu"], method="grad_cam")
    plus, minus = np.maximum(scan[0], 0), np.maximum(-scan[0], 0)
    share = outlines.mean(axis=(1, 2, 3))[:, None, None, None]
    wanted = np.maximum(share * np.stack([plus + 2 * minus, 0.5 * plus - minus]), 0)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-6)


def test_of_labels_that_exclude_each_other_the_background_comes_first(scan, outlines):
    with_background = PointWise(((9.0, 9.0), (1.0, 2.0), (0.5, -1.0)))
    found = volume_maps(with_background, scan, outlines, stages=["relu"])
    np.testing.assert_array_equal(found, volume_maps(PointWise(), scan, outlines, stages=["relu"]))


def test_nothing_outlined_gives_an_empty_map(scan, outlines):
    outlines[1] = False
    found = volume_maps(PointWise(), scan, outlines, stages=["relu"])
    assert found[0, 0].max() > 0
    assert not found[0, 1].any()


@pytest.mark.parametrize("name", sorted(VOLUME_NETWORKS))
def test_every_network_has_stages_and_maps_of_the_whole_scan(name):
    network = built(name).train()
    rng = np.random.default_rng(1)
    scan = rng.normal(size=(2, 9, 12, 10)).astype(np.float32)
    outlines = rng.random((2, 9, 12, 10)) > 0.7
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = volume_maps(network, scan, outlines)
    assert found.shape == (2, 2, 9, 12, 10)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert all(found[s, k].max() > 0 for s in range(2) for k in range(2))
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(part._forward_hooks for part in network.modules())
    np.testing.assert_array_equal(found, volume_maps(network, scan, outlines))


def test_the_deepest_stage_is_the_coarsest():
    network = built("unet3d")
    names, seen = dict(network.named_modules()), {}
    for stage, layer in stages_of(network).items():
        names[layer].register_forward_hook(lambda part, given, out, stage=stage: seen.update({stage: out.shape[2]}))
    network.eval()(torch.zeros(1, 2, 16, 16, 16))
    assert seen == {"bottleneck": 4, "decoder": 8}


def test_a_gradient_that_autograd_gives_all_at_once():
    network = built("unet3d").eval()
    rng = np.random.default_rng(2)
    scan = rng.normal(size=(2, 8, 8, 8)).astype(np.float32)
    outlines = rng.random((2, 8, 8, 8)) > 0.5
    found = volume_maps(network, scan, outlines, method="grad_cam")
    for s, layer in enumerate(stages_of(network).values()):
        kept = {}
        hook = dict(network.named_modules())[layer].register_forward_hook(
            lambda part, given, out, kept=kept: (kept.update(f=out), out.clone())[1]
        )
        scores = network(torch.from_numpy(scan)[None])
        hook.remove()
        (g,) = torch.autograd.grad((scores[0, 1] * torch.from_numpy(outlines[1])).sum(), kept["f"])
        heat = (g.mean((2, 3, 4), keepdim=True) * kept["f"]).sum(1, keepdim=True).relu()
        wanted = nn.functional.interpolate(heat, (8, 8, 8), mode="trilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose(found[s, 1], wanted.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_windows_are_slid_where_the_scan_is_larger():
    network = built("unet3d")
    rng = np.random.default_rng(3)
    scan = rng.normal(size=(2, 16, 8, 8)).astype(np.float32)
    outlines = np.zeros((2, 16, 8, 8), dtype=bool)
    outlines[:, 10:14, 2:6, 2:6] = True
    found = volume_maps(network, scan, outlines, window=(8, 8, 8), slide=whole_scan)
    assert found.shape == (2, 2, 16, 8, 8)
    assert not found[:, :, :4].any()
    assert found[:, :, 8:].any()
    last = volume_maps(network, scan[:, 8:], outlines[:, 8:])
    np.testing.assert_allclose(found[:, :, 15], last[:, :, 7], rtol=1e-3, atol=1e-5)
    whole = volume_maps(network, scan, outlines, window=(16, 8, 8), slide=whole_scan)
    np.testing.assert_array_equal(whole, volume_maps(network, scan, outlines))
    with pytest.raises(DataError, match="a way to slide"):
        volume_maps(network, scan, outlines, window=(8, 8, 8))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"stages": ["nowhere"]}, UnknownNameError, "nowhere"),
        ({"method": "saliency"}, UnknownNameError, "saliency"),
        ({"stages": None}, DataError, "name the layers"),
        ({"outlines": np.ones((1, 4, 4, 4), dtype=bool)}, DataError, "one grid"),
        ({"scan": np.full((1, SIDE, SIDE, SIDE), np.nan)}, DataError, "not finite"),
        ({"outlines": np.ones((3, SIDE, SIDE, SIDE), dtype=bool)}, DataError, "at least 3 outputs"),
    ],
)
def test_what_does_not_fit_is_refused(scan, outlines, change, error, words):
    given = {"scan": scan, "outlines": outlines, "stages": ["relu"], **change}
    with pytest.raises(error, match=words):
        volume_maps(PointWise(), given.pop("scan"), given.pop("outlines"), **given)


# --------------------------------------------------------------------------------------------------------------- checks


class Blurred(nn.Module):
    """A network that a ball of bright voxels speaks for, with one hidden stage."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(1, 3, 3, padding=1)
        self.relu = nn.ReLU()
        self.last = nn.Conv3d(3, 1, 3, padding=1)
        with torch.no_grad():
            self.first.weight.fill_(1 / 27)
            self.first.bias.fill_(-0.5)
            self.last.weight.fill_(1 / 27)

    def forward(self, x):
        return self.last(self.relu(self.first(x)))


def balls(moved=False):
    def case(row):
        rng = np.random.default_rng(row)
        ball = np.zeros((12, 12, 12), dtype=bool)
        a, b, c = rng.integers(1, 7, 3)
        ball[a : a + 4, b : b + 4, c : c + 4] = True
        scan = rng.uniform(0.01, 0.3, (1, 12, 12, 12)) + 3 * ball
        reference = np.roll(ball, (6, 6, 6), axis=(0, 1, 2)) if moved else ball
        return MapCase(scan=scan, outlines=ball[None], reference=reference[None], spacing=(2.0, 1.0, 1.0))

    return case


def explained(case, n=8, **more):
    return explain_volume_maps(
        Blurred(), case, n, names=["the ball"], stages={"hidden": "relu"}, method="grad_cam", **more
    )


def test_maps_in_the_region_pass_and_say_by_how_much():
    found = explained(balls())
    region = found["regions"]["the_ball"]
    inside = region["stages"]["hidden"]["checks"]["inside"]
    assert inside["state"] == "pass"
    assert inside["estimates"]["inside"]["value"] > 0.5
    assert inside["chance"]["inside"] == pytest.approx(64 / 12**3)
    gain = inside["estimates"]["inside_gain"]
    assert gain["value"] == pytest.approx(inside["estimates"]["inside"]["value"] - 64 / 12**3)
    assert inside["estimates"]["pointing"]["value"] == 1.0
    assert (region["present"], region["outlined"]) == (8, 8)
    assert region["stages"]["hidden"]["cell_mm"] == [2.0, 1.0, 1.0]
    random = region["stages"]["hidden"]["checks"]["parameter_randomisation"]
    assert set(random["estimates"]) == {"spearman"}
    assert all("ssim" not in step for step in random["steps"])
    json.dumps(found, allow_nan=False)


def test_maps_elsewhere_fail():
    region = explained(balls(moved=True))["regions"]["the_ball"]
    assert region["state"] == "fail"
    assert region["shown"] is None
    assert region["stages"]["hidden"]["checks"]["inside"]["state"] == "fail"
    assert "not to be believed" in region["sentence"]


def test_maps_that_do_not_change_with_the_weights_fail():
    class Plain(Blurred):
        """Its maps are those of its input: the stage comes before all weights."""

        def __init__(self):
            super().__init__()
            self.look = nn.ReLU()
            self.out = nn.Conv3d(1, 1, 1, bias=False)
            with torch.no_grad():
                self.out.weight.fill_(1.0)

        def forward(self, x):
            # The square lets no sign of a weight through.
            return self.look(x) * self.out(torch.ones_like(x)) ** 2

    found = explain_volume_maps(Plain(), balls(), 8, names=["the ball"], stages={"input": "look"})
    check = found["regions"]["the_ball"]["stages"]["input"]["checks"]["parameter_randomisation"]
    assert check["state"] == "fail"
    assert check["estimates"]["spearman"]["value"] > 0.99
    assert found["regions"]["the_ball"]["state"] == "fail"


def test_few_patients_are_no_evidence():
    found = explained(balls(), patient=list("aabbccdd"))
    assert found["regions"]["the_ball"]["state"] == "not enough evidence"
    assert found["patients"] == 4


def test_what_is_never_outlined_has_no_maps():
    def nothing(row):
        one = balls()(row)
        return MapCase(
            scan=one.scan, outlines=np.zeros_like(one.outlines), reference=one.reference, spacing=one.spacing
        )

    region = explained(nothing)["regions"]["the_ball"]
    assert region["outlined"] == 0
    assert region["passed"] is None
    assert region["stages"]["hidden"]["checks"] == {"parameter_randomisation": None, "inside": None}


def test_each_case_is_loaded_once_and_the_seed_repeats_it():
    loaded = []

    def case(row):
        loaded.append(row)
        return balls()(row)

    heard = []
    one = explained(
        case, 10, max_cases=7, randomised_cases=3, window=(8, 8, 8), slide=whole_scan,
        progress=lambda share, text: heard.append(share),
    )  # fmt: skip
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert len(loaded) == len(set(loaded)) == 7
    assert one["cost"]["maps"] == 7 + 3 * (1 + 2 * 2)
    assert one == explained(case, 10, max_cases=7, randomised_cases=3, window=(8, 8, 8), slide=whole_scan)
    assert "7 of 10" in one["sampled"]["sentence"]


def test_the_window_of_a_case_lies_around_what_is_outlined():
    one = balls()(3)
    part = one.around((6, 20, 6))
    assert part.scan.shape == (1, 6, 12, 6)
    assert part.outlines.sum() == one.outlines.sum()
    assert one.around(None) is one
    assert one.around((12, 12, 12)) is one


def test_cases_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="one grid"):
        MapCase(
            scan=np.zeros((1, 4, 4, 4)), outlines=np.zeros((1, 4, 4, 4), bool),
            reference=np.zeros((1, 5, 4, 4), bool), spacing=(1, 1, 1),
        )  # fmt: skip
    with pytest.raises(DataError, match="outlines of 1 regions"):
        explain_volume_maps(Blurred(), balls(), 8, names=["a", "b"], stages={"hidden": "relu"})
    with pytest.raises(DataError, match="0 cases"):
        explain_volume_maps(Blurred(), balls(), 0, names=["a"], stages={"hidden": "relu"})
