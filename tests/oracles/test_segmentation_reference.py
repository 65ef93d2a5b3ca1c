"""Boundaries of masks: values of MONAI 1.6.1 and of DeepMind's surface-distance 0.1 are reproduced."""

from __future__ import annotations

import numpy as np
import pytest

from aimed.metrics import (
    average_surface_distance,
    hausdorff,
    hd95,
    mean_average_surface_distance,
    surface_dice,
)

# Hausdorff, its 95th percentile, average symmetric distance and surface Dice at 1 mm of MONAI (single precision), then
# Hausdorff, 95th percentile, mean of both average distances and surface Dice at 1 mm of surface-distance.
EXPECTED = {
    ("shifted", (1.0, 1.0, 1.0)): (
        [4.0, 3.0, 1.1613932, 0.5991501],
        [4.0, 3.0, 0.894922747436, 0.701306787705],
    ),
    ("shifted", (2.5, 0.8, 0.7)): (
        [5.2497621, 4.0534539, 1.234736, 0.5191218],
        [5.249761899363, 2.968164415931, 0.927164934563, 0.620896025149],
    ),
    ("spur", (1.0, 1.0, 1.0)): (
        [3.0, 0.0, 0.0352941, 0.9888889],
        [3.0, 0.0, 0.031968690561, 0.989844485324],
    ),
    ("spur", (2.5, 0.8, 0.7)): (
        [2.0999999, 0.0, 0.0249431, 0.9882353],
        [2.1, 0.0, 0.027658676403, 0.987858127888],
    ),
    ("edge", (1.0, 1.0, 1.0)): (
        [1.0, 1.0, 0.399679, 1.0],
        [1.0, 1.0, 0.337823763093, 1.0],
    ),
    ("edge", (2.5, 0.8, 0.7)): (
        [2.5, 2.5, 0.540496, 0.8426966],
        [2.5, 2.5, 0.348494743988, 0.921270012143],
    ),
    ("far", (1.0, 1.0, 1.0)): (
        [40.0124969, 38.8329697, 35.2092896, 0.0],
        [40.012498047485, 38.418745424597, 34.09683156614, 0.0],
    ),
    ("far", (2.5, 0.8, 0.7)): (
        [56.4113464, 55.7116852, 51.5010071, 0.0],
        [56.411346376416, 55.357745618838, 50.060992578813, 0.0],
    ),
}


def pair(kind):
    z, y, x = np.mgrid[:24, :30, :28]
    a = (z - 11) ** 2 * 4 + (y - 14) ** 2 + (x - 13) ** 2 < 110
    if kind == "shifted":
        return a, (z - 12) ** 2 * 3 + (y - 15) ** 2 + (x - 12) ** 2 * 2 < 120
    if kind == "spur":
        return a, a | ((abs(z - 11) < 2) & (abs(y - 14) < 2) & (x > 13) & (x < 27))
    if kind == "edge":
        return (z < 6) & (y < 9) & (x + y < 14), (z < 7) & (y < 8) & (x + y < 13)
    return (z < 4) & (y < 5) & (x < 4), (z > 19) & (y > 22) & (x > 20)


@pytest.mark.parametrize(("kind", "spacing"), EXPECTED)
def test_monai(kind, spacing):
    a, b = pair(kind)
    found = [hausdorff(a, b, spacing), hd95(a, b, spacing), average_surface_distance(a, b, spacing)]
    found.append(surface_dice(a, b, spacing, 1.0))
    assert [float(v) for v in found] == pytest.approx(EXPECTED[kind, spacing][0], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("kind", "spacing"), EXPECTED)
def test_surface_distance(kind, spacing):
    a, b = pair(kind)
    measures = (hausdorff, hd95, mean_average_surface_distance)
    found = [measure(a, b, spacing, definition="surfel") for measure in measures]
    found.append(surface_dice(a, b, spacing, 1.0, definition="surfel"))
    assert [float(v) for v in found] == pytest.approx(EXPECTED[kind, spacing][1], rel=1e-10)


def test_one_pair_of_masks_has_three_percentiles():
    a, b = pair("shifted")
    found = [float(hd95(a, b, (2.5, 0.8, 0.7), definition=d)) for d in ("voxel", "pooled", "surfel")]
    assert found == pytest.approx([4.053454145, 2.974894956, 2.968164416], rel=1e-9)


def test_monai_itself():
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 1, 12, 14, 9)) < 0.3
    first, second = (torch.from_numpy(m.astype(np.float32)) for m in (a, b))
    theirs = monai.compute_hausdorff_distance(
        second, first, include_background=True, percentile=95, spacing=(2.0, 1.0, 0.5)
    )
    assert float(hd95(a[0, 0], b[0, 0], (2.0, 1.0, 0.5))) == pytest.approx(float(theirs), rel=1e-6)
