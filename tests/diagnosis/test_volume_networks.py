"""Networks that score every voxel: shapes, scales, rebuilding, half precision, and weights of MONAI's SegResNet."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.core import DataError, StudyFileError, UnknownNameError  # noqa: E402
from aimed.diagnosis import VOLUME_NETWORKS  # noqa: E402
from aimed.diagnosis.segresnet3d import SegResNet3d  # noqa: E402
from aimed.diagnosis.unet3d import UNet3d  # noqa: E402
from aimed.diagnosis.volume_network import build_volume_network  # noqa: E402

OPTIONS = {
    "unet3d": {"widths": [4, 8, 8], "deep": 1},
    "segresnet3d": {"first": 4, "groups": 2, "blocks_down": [1, 1, 1], "blocks_up": [1, 1], "deep": 1},
}


def test_every_network_is_tried():
    assert set(OPTIONS) == set(VOLUME_NETWORKS)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_one_score_when_it_predicts_and_one_a_scale_when_it_learns(name):
    torch.manual_seed(0)
    network = build_volume_network(name, 2, 3, OPTIONS[name])
    x = torch.randn(2, 2, 8, 16, 12)
    fine, coarse = network.train()(x)
    assert (fine.shape, coarse.shape) == ((2, 3, 8, 16, 12), (2, 3, 4, 8, 6))
    (fine.mean() + coarse.mean()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    alone = network.eval()(x)
    torch.testing.assert_close(alone, fine)
    # Cases do not look at each other.
    torch.testing.assert_close(network(x[:1]), alone[:1], atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="multiples"):
        network(x[..., :6])


@pytest.mark.parametrize("name", list(OPTIONS))
def test_half_precision_ends_at_the_head(name):
    network = build_volume_network(name, 2, 3, OPTIONS[name]).eval()
    x = torch.randn(1, 2, 8, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        half = network(x)
    assert half.dtype == torch.float32
    assert np.corrcoef(half.ravel(), network(x).detach().ravel())[0, 1] > 0.99


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_order_of_memory_changes_nothing(name):
    torch.manual_seed(0)
    network = build_volume_network(name, 2, 3, OPTIONS[name]).eval()
    x = torch.randn(1, 2, 8, 8, 8)
    plain = network(x)
    last = network.to(memory_format=torch.channels_last_3d)(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(last, plain, atol=1e-5, rtol=1e-4)


def test_thick_slices_and_residual_blocks():
    network = UNet3d(
        1, 2, widths=[4, 4, 8], strides=[[1, 2, 2], 2], kernels=[[1, 3, 3], 3, 3], residual=True, layers=3
    )  # fmt: skip
    assert network.divisor == (2, 4, 4)
    assert network(torch.zeros(1, 1, 2, 8, 8)).shape == (1, 2, 2, 8, 8)


def test_a_stem_that_steps_scores_every_voxel_all_the_same():
    network = UNet3d(1, 2, widths=[4, 8, 8], stem=2, deep=1)
    assert network.divisor == (8, 8, 8)
    fine, coarse = network.train()(torch.randn(1, 1, 8, 8, 16))
    assert (fine.shape, coarse.shape) == ((1, 2, 8, 8, 16), (1, 2, 2, 2, 4))
    assert fine.unique().numel() > 1000


def test_what_cannot_be_built_is_refused():
    with pytest.raises(UnknownNameError):
        build_volume_network("unet4d", 1, 1)
    with pytest.raises(StudyFileError, match="does not take"):
        build_volume_network("unet3d", 1, 1, {"depth": 3})
    for kind, options in (
        (UNet3d, {"widths": [4]}),
        (UNet3d, {"widths": [4, 8], "deep": 1}),
        (UNet3d, {"widths": [4, 8], "kernels": [2, 3]}),
        (SegResNet3d, {"first": 6}),
        (SegResNet3d, {"deep": 3}),
    ):
        with pytest.raises(StudyFileError):
            kind(1, 1, **options)


@pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI is not installed")
def test_weights_of_monai_give_its_scores():
    from monai.networks.nets import SegResNet

    torch.manual_seed(0)
    theirs = SegResNet(
        spatial_dims=3, init_filters=16, in_channels=4, out_channels=3, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)
    ).eval()
    ours = SegResNet3d(4, 3, first=16).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(1, 4, 16, 24, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_training_in_half_precision_reads_no_memory_that_nobody_wrote():
    from aimed.diagnosis.volume_network import Convolution3d

    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 16, 2, 3, 4, generator=generator)
    layer = Convolution3d(16, 16, 3, padding=1, bias=False)

    def gradient() -> torch.Tensor:
        # Memory that is free again holds what was in it.
        poison = [torch.full((n,), float("nan"), dtype=kind) for n in (10**3, 10**4, 10**5, 10**6)
                  for kind in (torch.float32, torch.bfloat16)]  # fmt: skip
        del poison
        layer.weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = layer(maps)
        found.float().pow(2).sum().backward()
        return layer.weight.grad.clone()

    first = gradient()
    assert torch.isfinite(first).all()
    assert all(torch.equal(first, gradient()) for _ in range(8))
