"""Windows over a scan: exact where the network sees one voxel, all covered, bounded memory, mirror images averaged."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")

from aimed.core import DataError, StudyFileError  # noqa: E402
from aimed.diagnosis.sliding_window import (  # noqa: E402
    fitting_window,
    foreground_box,
    sliding_window,
    whole_scan,
    window_starts,
)


def pointwise(channels=2, outputs=3, seed=0):
    """Return a network whose kernels are 1x1x1: of a voxel it sees nothing but the voxel."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv3d(channels, 5, 1), torch.nn.ReLU(), torch.nn.Conv3d(5, outputs, 1)
    ).eval()  # fmt: skip


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(17, 12, 21), (8, 8, 8), (5, 23, 4), (9, 8, 30)])
def test_a_network_that_sees_one_voxel_says_the_same_as_at_once(shape, overlap, together, blend):
    scan = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    network = pointwise()
    with torch.no_grad():
        wanted = network(torch.from_numpy(scan)[None])[0].numpy()
        found = whole_scan(network, scan, (8, 8, 8), overlap=overlap, together=together, blend=blend)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("window", [(8, 8, 8), (4, 16, 8)])
def test_the_blend_is_the_weighted_mean_of_windows(window):
    """A function that knows where it stands in the window: weights as in the papers, summed and divided."""
    shape, overlap = (13, 21, 10), 0.5
    scan = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    place = np.linspace(0, 1, int(np.prod(window))).reshape(window)

    def function(x):
        return x + torch.from_numpy(place).float()

    profile = [np.exp(-0.5 * ((np.arange(w) - (w - 1) / 2) / (w / 8)) ** 2) for w in window]
    weight = profile[0][:, None, None] * profile[1][:, None] * profile[2]
    total, sums = np.zeros([max(n, w) for n, w in zip(shape, window, strict=True)]), 0
    sums = np.zeros_like(total)
    for corner in np.ndindex(*(len(window_starts(n, w, overlap)) for n, w in zip(shape, window, strict=True))):
        start = [window_starts(n, w, overlap)[c] for n, w, c in zip(shape, window, corner, strict=True)]
        at = tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))
        total[at] += weight
        sums[at] += weight * place
    inside = tuple(slice(0, n) for n in shape)
    np.testing.assert_allclose(
        whole_scan(function, scan, window)[0], scan[0] + (sums / total)[inside], atol=2e-5
    )  # fmt: skip


def test_windows_cover_and_overlap_as_asked():
    for length in range(1, 60):
        for overlap in (0.0, 0.3, 0.5, 0.75):
            starts = window_starts(length, 16, overlap)
            assert starts[0] == 0
            assert starts == sorted(set(starts))
            assert starts[-1] == max(0, length - 16)
            assert all(b - a <= round(16 * (1 - overlap)) for a, b in pairwise(starts))


def test_slabs_come_in_order_and_the_scan_is_prepared_slab_by_slab(tmp_path):
    scan = np.random.default_rng(0).integers(0, 900, (2, 40, 9, 9)).astype(np.int16)
    np.save(tmp_path / "scan.npy", scan)
    depths, told = [], []

    def prepare(part):
        depths.append(part.shape[1])
        return np.asarray(part, dtype=np.float32) * 2

    parts = list(
        sliding_window(
            lambda x: x, np.load(tmp_path / "scan.npy", mmap_mode="r"), (8, 8, 8), prepare=prepare,
            progress=lambda share, text: told.append(share),
        )
    )  # fmt: skip
    assert [part.start for part, _ in parts] == [0, *(part.stop for part, _ in parts[:-1])]
    assert parts[-1][0].stop == 40
    assert max(depths) == 8
    np.testing.assert_allclose(np.concatenate([v for _, v in parts], 1), 2 * scan, rtol=1e-6)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_mirror_images_are_averaged():
    kernel = torch.nn.Conv3d(1, 1, 3, padding=1, bias=False)
    scan = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype(np.float32)
    x = torch.from_numpy(scan)[None]
    with torch.no_grad():
        found = whole_scan(kernel, scan, (8, 8, 8), mirror=(0, 2))
        wanted = sum(kernel(x.flip(axes)).flip(axes) for axes in ((), (2,), (4,), (2, 4))) / 4
    np.testing.assert_allclose(found, wanted[0], atol=1e-6)


def test_a_fair_function_does_not_see_where_windows_end():
    """A wide kernel differs near the ends of windows only; the blend keeps that small."""
    torch.manual_seed(0)
    kernel = torch.nn.Conv3d(1, 1, 5, padding=2)
    scan = np.random.default_rng(0).normal(size=(1, 24, 24, 24)).astype(np.float32)
    with torch.no_grad():
        wanted = kernel(torch.from_numpy(scan)[None])[0].numpy()
        errors = {b: np.abs(whole_scan(kernel, scan, (16, 16, 16), blend=b) - wanted)[:, 2:-2, 2:-2, 2:-2].mean()
                  for b in ("gaussian", "constant")}  # fmt: skip
    assert errors["gaussian"] < 0.5 * errors["constant"]


def test_box_and_window():
    scan = np.zeros((2, 9, 8, 7))
    scan[0, 3, 2, 1], scan[1, 5, 4, 6] = 1, -1
    assert foreground_box(scan) == (slice(3, 6), slice(2, 5), slice(1, 7))
    assert foreground_box(scan, margin=3) == (slice(0, 9), slice(0, 8), slice(0, 7))
    assert foreground_box(np.zeros((1, 2, 3, 4))) == (slice(0, 2), slice(0, 3), slice(0, 4))
    assert fitting_window((5, 17, 200), (32, 32, 32), (4, 4, 8)) == (8, 20, 32)


def test_what_does_not_fit_is_refused():
    scan = np.zeros((1, 4, 4, 4))
    for bad in ({"overlap": 1.0}, {"blend": "some"}, {"together": 0}):
        with pytest.raises(StudyFileError):
            whole_scan(lambda x: x, scan, (2, 2, 2), **bad)
    with pytest.raises(DataError):
        whole_scan(lambda x: x, scan[0], (2, 2, 2))


@pytest.mark.slow
def test_a_whole_scan_stays_below_four_gigabytes():
    code = """
        import resource, numpy as np, torch
        from aimed.diagnosis.sliding_window import whole_scan
        from aimed.diagnosis.unet3d import UNet3d
        torch.set_num_threads(1)
        network = UNet3d(4, 3, stem=2).eval()
        scan = np.ones((4, 155, 240, 240), dtype=np.float32)
        with torch.inference_mode():
            found = whole_scan(lambda x: torch.sigmoid(network(x)), scan, (96, 96, 96), together=2)
        assert found.shape == (3, 155, 240, 240)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 4e9
