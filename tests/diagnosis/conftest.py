"""Toy chests: two dark lungs and a heart under a random exposure, with three findings that can be seen."""

from __future__ import annotations

import numpy as np
import pytest

NAMES = ["large heart", "nodule", "effusion"]


def toy_chests(n=120, size=48, seed=0, noise=10.0):
    """Return pictures (n, size, size) uint8, labels (n, 3) and patients; two pictures a patient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / (size - 1.0)
    labels = (rng.random((n, 3)) < 0.4).astype(float)
    pictures = np.empty((n, size, size), dtype=np.uint8)
    for i, (heart, nodule, effusion) in enumerate(labels):
        dx, dy = rng.normal(0, 0.02, 2)
        lungs = np.zeros_like(x)
        for cx in (0.29, 0.71):
            inside = ((x - cx - dx) / 0.17) ** 2 + ((y - 0.5 - dy) / 0.36) ** 2
            lungs += 1 / (1 + np.exp(14 * (inside - 1)))
        picture = 190 - 110 * lungs
        r = 0.25 if heart else 0.16
        inside = ((x - 0.56 - dx) / r) ** 2 + ((y - 0.66 - dy) / 0.18) ** 2
        picture += 60 / (1 + np.exp(12 * (inside - 1)))
        if nodule:
            cx, cy = rng.choice([0.27, 0.73]) + rng.normal(0, 0.03), rng.uniform(0.3, 0.6)
            picture += 70 * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / 0.045**2))
        if effusion:
            side = rng.choice([0.29, 0.71])
            picture += 80 / (1 + np.exp(-25 * (y - 0.72))) * np.exp(-(((x - side) / 0.15) ** 2))
        picture = 128 + (picture - 128) * rng.uniform(0.8, 1.2) + rng.normal(0, 12) + rng.normal(0, noise, x.shape)
        pictures[i] = np.clip(picture, 0, 255)
    return pictures, labels, np.arange(n) // 2


@pytest.fixture(scope="session")
def chests():
    """Return the function that draws toy chests."""
    return toy_chests
