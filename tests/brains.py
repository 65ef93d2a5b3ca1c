"""Tiny studies of scans: drawn heads with secret names, and boxes of noise with bright blobs on any grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

NAMES, PATIENTS = "SECRETSCAN", "SECRETPERSON"
"""How names of files and patients begin: none of them may be in anything that is shown."""

HEADS = """schema = 1
[study]
id = "heads"
title = "Tumours outlined in drawn heads"
task = "segment"
seed = 1
[data]
source = "cases.csv"
patient = "patient_id"
[volumes]
column = "image"
mask = "label"
channels = ["T1w", "T1gd", "T2w", "FLAIR"]
modality = "MR"
[outcome]
regions = { "whole tumour" = [1, 2, 3], "tumour core" = [2, 3] }
[split]
test = { by = "patient", fraction = 0.33 }
tune = { by = "patient", folds = 4 }
[model]
candidates = ["small_unet3d"]
[model.parameters.small_unet3d]
max_epochs = 2
patches_per_scan = 2
[evaluate]
draws = 50
tolerance = 8.0
accept = ["mean_dice.value >= 0.01"]
[subgroups]
columns = ["sex"]
"""

BLOBS = """schema = 1
[study]
id = "blobs"
title = "Blobs in boxes"
task = "segment"
seed = 1
[data]
source = "cases.csv"
patient = "patient"
[volumes]
column = "image"
mask = "label"
modality = "MR"
[outcome]
regions = { "blob" = [1, 2], "heart" = [2] }
[split]
test = { by = "patient", fraction = 0.33 }
tune = { by = "patient", folds = 4 }
[model]
candidates = ["small_unet3d"]
[model.parameters.small_unet3d]
max_epochs = 2
patches_per_scan = 2
[evaluate]
draws = 50
"""


def write_heads(folder: Path, n: int = 24, size: int = 24) -> None:
    """Write drawn heads, their list and a study file; names of files and patients are secrets."""
    from aimed.synthetic import write_brain_study

    drawn = folder / "drawn"
    write_brain_study(drawn, n, formats=("nifti",), size=size, difficulty=0.3, seed=11)
    frame = pl.read_csv(drawn / "cases.csv")
    rows = []
    for k, row in enumerate(frame.iter_rows(named=True)):
        paths = {}
        for name in ("image", "label"):
            paths[name] = f"{name}s/{NAMES}{k:03d}.nii.gz"
            (folder / paths[name]).parent.mkdir(exist_ok=True)
            (drawn / row[name]).rename(folder / paths[name])
        rows.append({"patient_id": f"{PATIENTS}{k:03d}", **paths, "age": row["age"], "sex": row["sex"]})
    pl.DataFrame(rows).write_csv(folder / "cases.csv")
    (folder / "study.toml").write_text(HEADS)


def ball(shape, centre, radius, spacing=(1.0, 1.0, 1.0)):
    """Return a ball, bool of shape (z, y, x); centre and radius in mm."""
    places = np.stack(np.meshgrid(*(np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij"))
    return ((places - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


def write_blobs(
    folder: Path, n=18, *, side=16.0, spacing=lambda k: (1.0, 1.0, 1.0), channels=1, change=None, grey=100, apart=False,
    visits=1,
):  # fmt: skip
    """Write boxes of noise in which a blob (label 1) with a heart (label 2) is bright; `change(k, mask)` may redraw it.

    With `apart` there is one file a channel, in columns named after it.
    """
    from aimed.core.volume import Volume
    from aimed.readers.nifti import write_nifti

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    rows = []
    for k in range(n):
        sides = spacing(k)
        shape = tuple(round(side / mm) for mm in sides)
        centre = rng.uniform(0.35, 0.65, 3) * side
        mask = ball(shape, centre, 4.6, sides).astype(np.uint8)
        mask[ball(shape, centre, 2.6, sides)] = 2
        truth = mask.copy()
        if change is not None:
            mask = change(k, mask)
            truth = np.where(mask == 255, truth, mask)
        scan = np.stack([
            grey + rng.normal(0, 6, shape) + 40 * (truth > 0) + (20 + 20 * c) * (truth == 2) for c in range(channels)
        ]).astype(np.int16)  # fmt: skip
        affine = np.diag([-sides[2], sides[1], sides[0], 1.0])
        row = {"patient": f"P{k // visits:03d}", "label": f"mask{k}.nii.gz", "age": 40 + k, "sex": "FM"[k % 2]}
        if apart:
            for c in range(channels):
                row[f"file{c}"] = f"scan{k}_{c}.nii.gz"
                write_nifti(Volume(array=scan[c : c + 1], affine=affine), folder / row[f"file{c}"])
        else:
            row["image"] = f"scan{k}.nii.gz"
            write_nifti(Volume(array=scan, affine=affine), folder / row["image"])
        write_nifti(Volume(array=mask.astype(np.uint8), affine=affine, labels=True), folder / row["label"])
        rows.append(row)
    frame = pl.DataFrame(rows)
    frame.write_csv(folder / "cases.csv")
    return frame


def study_of(folder: Path, *edits: tuple[str, str], text: str = BLOBS) -> Path:
    """Write a study file beside its list, with some places of the text changed."""
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"
