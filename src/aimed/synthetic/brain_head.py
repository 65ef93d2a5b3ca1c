"""The head around the brain of the phantom: skull, scalp, eyes and face, rough, for scans that are not stripped.

Synthetic and not for clinical use.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aimed.synthetic.brain_fields import Floats, Place, capsule, ellipsoid, merge, ramp

__all__ = ["head_tissues"]


def head_tissues(place: Place, hull: Floats, texture: Floats, voxel: float) -> Mapping[str, Floats]:
    """Return the share of every tissue outside the brain, by the names of `brain_contrast.BRIGHTNESS`.

    Parameters
    ----------
    place : arrays that broadcast to (z, y, x)
        Where the voxels lie.
    hull : array of shape (z, y, x)
        Distance to the surface of the brain in mm, positive inside.
    texture : array of shape (z, y, x)
        Noise of mean 0 and spread 1, for muscle and marrow.
    voxel : float
        Side of a voxel in mm.

    Returns
    -------
    dict of str to array of shape (z, y, x)
        What they leave of a voxel is brain or air.
    """
    _, y, z = place
    # The floor of the skull: steps down from the eyes to the cerebellum, which has a bowl of its own.
    floor = (z + 30 - 12 * np.clip((y - 15) / 40, 0, 1) - 12 * np.clip((-25 - y) / 25, 0, 1)).astype(np.float32)
    cranium = np.minimum(ellipsoid(place, (0.0, -3.0, 6.0), (70.0, 88.0, 70.0)), floor)
    bowl = ellipsoid(place, (0.0, -55.0, -36.0), (54.0, 35.0, 28.0))
    inner = np.maximum(merge(cranium, bowl, 6.0), hull + np.float32(1.5))
    face = merge(ellipsoid(place, (0.0, 28.0, -62.0), (56.0, 66.0, 66.0)), inner + 12, 12.0)
    neck = capsule(place, (0.0, -25.0, -50.0, 56.0), (0.0, -30.0, -160.0, 58.0))
    skin = merge(merge(inner + 12.5, face, 14.0), neck, 14.0)

    left = (1 - ramp(hull, voxel)).astype(np.float32)
    shares: dict[str, Floats] = {}

    def take(name: str, share: Floats) -> None:
        nonlocal left
        part = np.asarray(left * share, dtype=np.float32)
        shares[name] = shares[name] + part if name in shares else part
        left = left - part

    take("air", 1 - ramp(skin, voxel))
    take("csf", ramp(inner, voxel))
    orbit: tuple[float, float, float] = (32.0, 68.0, -30.0)
    take("eye", ramp(ellipsoid(place, orbit, (11.5, 12.0, 11.5), mirrored=True), voxel))
    take("fat", ramp(ellipsoid(place, (30.0, 58.0, -30.0), (16.0, 24.0, 16.0), mirrored=True), voxel))
    sinus = np.maximum(
        ellipsoid(place, (0.0, 62.0, -48.0), (11.0, 26.0, 24.0)),
        ellipsoid(place, (27.0, 55.0, -62.0), (12.0, 15.0, 15.0), mirrored=True),
    )
    throat = capsule(place, (0.0, 25.0, -62.0, 9.0), (0.0, 10.0, -160.0, 8.0))
    take("air", ramp(np.maximum(sinus, throat), voxel))
    wall = ramp(inner + 8, voxel)
    diploe = ramp(np.float32(2.0) - np.abs(inner + np.float32(4.2)), voxel)
    take("marrow", wall * diploe * np.clip(np.float32(0.75) + np.float32(0.2) * texture, 0, 1))
    take("bone", wall)
    take("fat", ramp(np.float32(4.5) - skin, voxel) * np.float32(0.9))
    fibre = np.clip(np.float32(0.5) + np.float32(0.35) * texture, 0, 1)
    take("fat", np.float32(0.3) * fibre)
    take("bone", np.float32(0.35) * (1 - fibre))
    take("muscle", np.ones_like(left))
    shares.pop("air")
    return shares
