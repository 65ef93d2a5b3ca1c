"""Two real brain tumours: train on one, outline the other, and the reverse; beside a threshold and a voxel regression.

The two cases of `AIMED_DATA/brats` were put together from published pieces: a fifth of each box was never seen, is 0 in
the scan, and is neither learned from nor judged here (label 255). One patient to learn from is no training set; what
comes out says how far one tumour teaches another, and nothing about what the network does with many. There is no
interval: two cases carry none. With `--phantoms` drawn patients are learned from beside the one case.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import NotRunError, machine, peak_mb

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")) / "brats"
REGIONS = {"whole tumour": (1, 2, 3), "tumour core": (2, 3), "enhancing tumour": 3}
UNKNOWN = 255
MEASURES = ("dice", "hd95", "surface_dice")


def read() -> list[dict[str, Any]]:
    """Return the two cases with what nobody saw marked."""
    from aimed.readers.nifti import read_nifti
    from aimed.readers.volume_table import read_volume_table

    if not DATA.is_dir():
        raise NotRunError("the two cases are not here: set AIMED_DATA to the folder that holds brats/")
    found = []
    for case in read_volume_table(DATA / "dataset.json").cases:
        scan = case.read()
        mask = case.read_mask(scan)
        name = case.images[0].name.removesuffix(".nii.gz")
        cover = read_nifti(DATA / f"{name}_coverage.nii.gz", labels=True)
        if not cover.grid.same_as(scan.grid):
            raise NotRunError(f"the coverage of {name} lies elsewhere than its scan")
        scan, mask, cover = (volume.reoriented("RAS") for volume in (scan, mask, cover))
        known = cover.array == 1
        found.append(
            {
                "name": name,
                "scan": scan.array,
                "mask": np.where(known, mask.array, UNKNOWN).astype(np.uint8),
                "known": known,
                "spacing": scan.spacing,
                "channels": scan.channels,
            }
        )
    return found


def phantoms(n: int) -> list[dict[str, Any]]:
    """Return drawn patients on voxels of 1 mm."""
    from aimed.synthetic.brain_phantom import draw_brain

    drawn = [draw_brain((17, k), size=(144, 192, 160), spacing=1.0, n_tumours=1) for k in range(n)]
    return [{"scan": d.image.array, "mask": d.labels.array} for d in drawn]


def segmenter(asked: argparse.Namespace, epochs: int) -> Any:
    """Return the network, not trained: patches as thin as the thinner scan, mirrored from left to right alone."""
    from aimed.diagnosis.volume_augmentation import VolumeAugmentation
    from aimed.diagnosis.volume_segmenter import VolumeSegmenter

    return VolumeSegmenter(
        REGIONS, architecture_options={"widths": list(asked.widths), "stem": asked.stem},
        patch_size=tuple(asked.patch), patches_per_scan=asked.patches, batch_size=2, max_epochs=epochs,
        augmentation=VolumeAugmentation.brain(), early_stopping=False, mirror=(2,), accelerator=asked.accelerator,
        n_jobs=asked.jobs, random_state=asked.seed,
    )  # fmt: skip


def trained(asked: argparse.Namespace, learns: list[dict[str, Any]]) -> tuple[Any, int, float]:
    """Train for as many epochs as fit the minutes, and return the model, the epochs and the seconds."""
    scans, masks = [c["scan"] for c in learns], [c["mask"] for c in learns]
    epochs = asked.epochs
    if not epochs:
        # A cosine has to know its end: a short training tells how long an epoch takes. The first one imports as well.
        segmenter(asked, 1).fit(scans, masks)
        began = time.perf_counter()
        segmenter(asked, 3).fit(scans, masks)
        epochs = max(2, int(60 * asked.minutes / (time.perf_counter() - began) * 3))
    began = time.perf_counter()
    last = [began]

    def told(share: float, text: str) -> None:
        if time.perf_counter() - last[0] > 30:
            last[0] = time.perf_counter()
            print(f"  {share:.0%} {text}", file=sys.stderr, flush=True)

    model = segmenter(asked, epochs).fit(scans, masks, progress=told)
    return model, epochs, time.perf_counter() - began


def judged(masks: Any, case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the measures of each region where the case is known."""
    from aimed.metrics.evaluate_segmentation import segmentation_table

    found = []
    for mask, (name, labels) in zip(masks, REGIONS.items(), strict=True):
        truth = np.isin(case["mask"], labels)
        rows = segmentation_table(
            truth.astype(np.uint8), (mask & case["known"]).astype(np.uint8), {name: 1}, case["spacing"],
            measures=MEASURES, threads=1,
        )  # fmt: skip
        found += rows
    return found


def line(how: str, learned: str, tested: str, rows: list[dict[str, Any]]) -> str:
    def number(value: float | None, form: str) -> str:
        return "none" if value is None else format(value, form)

    cells = [number(row["dice"], ".3f") for row in rows] + [number(row["hd95"], ".1f") for row in rows]
    cells += [f"{row['prediction_ml']:.1f} of {row['reference_ml']:.1f}" for row in rows]
    return f"| {how} | {learned} | {tested} | " + " | ".join(cells) + " |"


def run(asked: argparse.Namespace, say: Any) -> None:
    from aimed.diagnosis.segmentation_head import SegmentationHead
    from aimed.diagnosis.voxel_baselines import ThresholdBaseline, VoxelBaseline

    cases, drawn = read(), phantoms(asked.phantoms)
    beside = f" and {len(drawn)} drawn patients" if drawn else ""
    budget = f"{asked.epochs} epochs" if asked.epochs else f"{asked.minutes:g} minutes"
    say(f"# Two real brain tumours, each outlined by what the other{beside} taught ({machine()})\n")
    say(
        f"U-Net of widths {', '.join(map(str, asked.widths))}, first step {asked.stem}, sub-volumes of "
        f"{'x'.join(map(str, asked.patch))}, {asked.patches} a scan and epoch, {budget} each, seed {asked.seed}. "
        "Voxels that no published piece covers are neither learned from nor judged; surfaces that end there count on "
        "both sides alike. Two cases carry no interval.\n"
    )
    names = list(REGIONS)
    head = [f"Dice {n}" for n in names] + [f"HD95 {n} (mm)" for n in names] + [f"ml {n}" for n in names]
    say(f"| model | learned from | tested on | {' | '.join(head)} |\n" + "|---" * (3 + len(head)) + "|")
    notes = []
    for test, case in enumerate(cases):
        real = cases[1 - test]
        learned = real["name"]
        inner = SegmentationHead.of_regions(REGIONS)
        simple = {
            "threshold": ThresholdBaseline().fit([real["scan"]], [real["mask"]], inner),
            "voxel regression": VoxelBaseline().fit([real["scan"]], [real["mask"]], inner),
        }
        for name, model in simple.items():
            say(line(name, learned, case["name"], judged(model.masks_of(case["scan"]), case)))
        model, epochs, seconds = trained(asked, [real, *drawn])
        began = time.perf_counter()
        masks = model.masks_of(case["scan"])
        took = time.perf_counter() - began
        say(line("U-Net", learned + beside, case["name"], judged(masks, case)))
        own = " / ".join(f"{row['dice']:.3f}" for row in judged(model.masks_of(real["scan"]), real))
        history = model.history_[0]
        notes.append(
            f"- Learned from {learned}{beside}: {epochs} epochs, {history['steps']} steps in {seconds:.0f} s (half "
            f"precision: {'yes' if history['half_precision'] else 'no'}), last loss {history['train_loss'][-1]:.3f}; "
            f"Dice on the case it learned from {own}; {took:.1f} s for the other scan."
        )
    say("\n" + "\n".join(notes) + f"\n- Highest memory {peak_mb():.0f} MB.")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0, help="of training, for each of the two")
    options.add_argument("--epochs", type=int, default=0, help="a number of epochs instead")
    options.add_argument("--patch", type=int, nargs=3, default=(32, 96, 96), help="voxels of a sub-volume (z, y, x)")
    options.add_argument("--patches", type=int, default=8, help="sub-volumes of a scan in an epoch")
    options.add_argument("--widths", type=int, nargs="+", default=(16, 32, 64, 128), help="channels at each scale")
    options.add_argument("--stem", type=int, default=2, help="step of the first convolution; 1 is five times as slow")
    options.add_argument("--phantoms", type=int, default=0, help="drawn patients to learn from as well")
    options.add_argument("--accelerator", choices=("cpu", "cuda", "auto"), default="cpu")
    options.add_argument("--jobs", type=int, help="threads")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--output", type=Path, help="file that the tables are written to as well")
    asked = options.parse_args()
    lines: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)
        if asked.output is not None:
            asked.output.write_text("\n".join(lines) + "\n")

    try:
        run(asked, say)
    except NotRunError as error:
        print(f"Not run: {error}")


if __name__ == "__main__":
    main()
