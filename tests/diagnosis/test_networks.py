"""Architectures: published sizes, heads linear in the last maps, gradients that reach everything."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.diagnosis import LOSSES, NETWORKS  # noqa: E402
from aimed.diagnosis.densenet import DenseNet  # noqa: E402
from aimed.diagnosis.pooled_network import build_network  # noqa: E402

SMALL = {"densenet121": {"growth": 4, "blocks": [2, 2], "first": 8}, "small_cnn": {"widths": [8, 16, 24]}}


def test_the_size_of_densenet_121():
    network = DenseNet(1000)
    # torchvision's 7,978,856, less two of three input channels.
    assert sum(p.numel() for p in network.parameters()) == 7_978_856 - 2 * 64 * 49
    names = set(network.state_dict())
    assert {"backbone.denseblock4.denselayer16.conv2.weight", "backbone.transition3.norm.running_var"} <= names
    assert len([n for n in names if n.startswith("backbone.") and "num_batches" not in n]) == 120 + 121 * 4
    with torch.no_grad():
        assert network.eval().maps(torch.zeros(1, 1, 224, 224)).shape == (1, 1024, 7, 7)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_what_heat_maps_and_schedules_rely_on(name):
    options = json.loads(json.dumps(SMALL[name]))
    network = build_network(name, 3, options)
    x = torch.rand(2, 1, 64, 48)
    network.eval()
    with torch.no_grad():
        maps = network.maps(x)
        assert float(maps.min()) >= 0.0
        scores = torch.einsum("bchw,kc->bkhw", maps, network.classifier.weight).mean((2, 3)) + network.classifier.bias
        np.testing.assert_allclose(network(x), scores, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(network.features(x), maps.mean((2, 3)), rtol=1e-6)
    network.train()
    network(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    for parameter, _ in network.named_parameters():
        fits = [s for s in (*network.stages, "classifier") if parameter.startswith(f"{s}.")]
        assert len(fits) == 1, parameter


def test_every_loss_loads():
    assert all(callable(loss) for loss in LOSSES.values())
