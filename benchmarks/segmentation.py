"""Outlines in volumes beside MONAI: metrics, whole scans, training patches, training steps, DICOM series; one thread.

MONAI is unpacked without its dependencies beside this file and runs on the torch, NumPy, nibabel and pydicom of this
environment. Where a network is timed, both sides run the same one with the same weights; MONAI is given scans that are
normalised already, and masks as the one-hot arrays that it asks for. After the table stands whether the figures are
equal: of the metrics to the last digits, and of Dice when a scan is cut to the brain and read in half precision.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common import Data, NotRunError, Row, Side, parser, table
from imaging import use

REGIONS = {"whole tumour": (1, 2, 3), "tumour core": (2, 3), "enhancing tumour": 3}
MEASURES = ("dice", "hd95", "surface_dice", "average_surface_distance")
SIDE, SLICES, WINDOW = 240, 155, (96, 96, 96)
PAIRS, STEPS = 8, 3
"""Pairs of patches, and training steps, of a run."""
WIDTHS = {"widths": [16, 32, 64, 128]}


def monai() -> Any:
    """Return MONAI, with one thread for torch as everybody has."""
    use("monai")
    import torch

    torch.set_num_threads(1)
    import monai

    return monai


# --------------------------------------------------------------------------------------------------------- the data


def _bumps(n: int, rng: np.random.Generator) -> Any:
    from scipy.ndimage import zoom

    return zoom(rng.normal(size=(16, 24, 24)), (n / 16, SIDE / 24, SIDE / 24), order=1)


def masks(n: int) -> Data:
    """Return two readings of one tumour of three nested parts on 240 x 240 x n voxels."""
    rng = np.random.default_rng(3)
    z, y, x = np.ogrid[:n, :SIDE, :SIDE]
    first, second = _bumps(n, rng), _bumps(n, rng)
    found = []
    for bumps in (first, first + 0.5 * second):
        at = np.sqrt(((z - n / 2) * SLICES / n) ** 2 + ((y - 100) / 1.2) ** 2 + (x - 90) ** 2) / 38 + 0.18 * bumps
        found.append(np.select([at < 0.55, at < 0.7, at < 1], [3, 2, 1], 0).astype(np.uint8))
    return {"truth": found[0], "found": found[1]}


def brain(n: int) -> Data:
    """Return four contrasts of a head of n slices whose skull was taken off: 0 around an ellipsoid, as BraTS has it."""
    rng = np.random.default_rng(5)
    z, y, x = np.ogrid[:n, :SIDE, :SIDE]
    away = ((z - n / 2) / (0.45 * n)) ** 2 + ((y - 120) / 85) ** 2 + ((x - 120) / 68) ** 2
    inside = away < 1
    tumour = masks(n)["truth"] * inside
    scan = np.zeros((4, n, SIDE, SIDE), dtype=np.int16)
    for k, channel in enumerate(scan):
        greys = 500 + 60 * k + rng.normal(0, 40, (n, SIDE, SIDE)) + 90 * (tumour == 1 + k % 3)
        channel[inside] = greys[inside].astype(np.int16)
    return {"scan": scan, "mask": tumour}


def on_disk(n: int) -> Data:
    """Return a scan as our cache of prepared scans has it, and as MONAI reads it: two compressed NIfTI files."""
    from aimed.core.volume import Volume
    from aimed.readers.nifti import write_nifti

    made = brain(n)
    folder = Path(tempfile.mkdtemp(prefix="aimed-segmentation-"))
    np.save(folder / "scan.npy", made["scan"].astype(np.float16))
    np.save(folder / "mask.npy", made["mask"])
    write_nifti(Volume(array=made["scan"], affine=np.eye(4)), folder / "scan.nii.gz")
    write_nifti(Volume(array=made["mask"], affine=np.eye(4), labels=True), folder / "mask.nii.gz")
    return {"folder": folder}


def pieces(n: int) -> Data:
    """Return the sub-volumes and targets of a few training steps, n voxels a side, two a step."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2 * STEPS, 4, n, n, n)).astype(np.float32)
    z, y, w = np.indices((n, n, n)) - n / 2
    away = np.sqrt(z**2 + y**2 + w**2) / n
    targets = np.stack([away < limit for limit in (0.4, 0.3, 0.2)]).astype(np.float32)
    return {"input": x, "target": np.repeat(targets[None], 2 * STEPS, axis=0)}


def ct(n: int) -> Data:
    """Return the folder of a CT series of n slices without compression, numbered as they lie."""
    import pydicom
    from pydicom.dataset import FileMetaDataset

    folder = Path(tempfile.mkdtemp(prefix="aimed-segmentation-"))
    pixels = np.random.default_rng(1).integers(0, 3000, (512, 512), dtype=np.int16)
    for k in range(n):
        ds = pydicom.Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID, ds.StudyInstanceUID = "1.2.4", "1.2.5", "1.2.6"
        ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "CT", "MONOCHROME2", 1
        ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 512, 512, 16, 16, 15
        ds.PixelRepresentation, ds.RescaleSlope, ds.RescaleIntercept = 1, 1, -1024
        ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [0.7, 0.7], 1.25, k + 1
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-180, -180, 1.25 * k], [1, 0, 0, 0, 1, 0]
        ds.PixelData = np.roll(pixels, k, axis=0).tobytes()
        ds["PixelData"].VR = "OW"
        pydicom.dcmwrite(folder / f"{k:04d}.dcm", ds, enforce_file_format=True)
    return {"folder": folder}


# -------------------------------------------------------------------------------------------------------------- ours


def our_measures(d: Data, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Any:
    from aimed.metrics.evaluate_segmentation import segmentation_table

    rows = segmentation_table(d["truth"], d["found"], REGIONS, spacing, measures=MEASURES, threads=1)
    return [[row[name] for name in MEASURES] for row in rows]


@functools.cache
def segmenter() -> Any:
    """Return a segmenter of three regions; what it learned in one step does not matter to how fast it is."""
    from aimed.diagnosis.volume_segmenter import VolumeSegmenter

    rng = np.random.default_rng(0)
    mask = np.zeros((16, 16, 16), dtype=np.uint8)
    mask[4:12, 4:12, 4:12], mask[6:10, 6:10, 6:10], mask[7:9, 7:9, 7:9] = 1, 2, 3
    model = VolumeSegmenter(
        REGIONS, architecture_options=WIDTHS, patch_size=(16, 16, 16), patches_per_scan=1, batch_size=1, max_epochs=1,
        early_stopping=False, clean=False, n_jobs=1,
    )  # fmt: skip
    model.fit([rng.normal(9, 1, (4, 16, 16, 16)).astype(np.float32)], [mask])
    return model.set_params(patch_size=WINDOW)


def in_half(model: Any) -> Any:
    from aimed.fit.half_precision import half_precision_here

    if not half_precision_here():
        raise NotRunError("the processor has no bfloat16")
    model.precision_["used"] = "bf16-mixed"
    return model


def our_outlines(d: Data) -> Any:
    return in_half(segmenter()).masks_of(d["scan"]).shape


def our_outlines_in_full(d: Data) -> Any:
    model = segmenter()
    model.precision_["used"] = "32-true"
    return model.masks_of(d["scan"]).shape


def _patches(d: Data, change: Any) -> Any:
    from aimed.diagnosis.patches import Patches, PatchRule
    from aimed.diagnosis.segmentation_head import SegmentationHead
    from aimed.diagnosis.volume_scaling import VolumeScaling

    scan, mask = (np.load(d["folder"] / f"{name}.npy", mmap_mode="r") for name in ("scan", "mask"))
    rule = PatchRule(size=WINDOW, how="foreground")
    cut = Patches(
        [scan], [mask], rule, SegmentationHead.of_regions(REGIONS), VolumeScaling(), each=2 * PAIRS, change=change
    )
    cut.places(0)
    return d | {"patches": cut}


def flips_and_greys(d: Data) -> Data:
    """Open the maps; as MONAI is asked to, sub-volumes are mirrored, and brighter or darker."""
    from aimed.diagnosis.volume_augmentation import VolumeAugmentation

    return _patches(d, VolumeAugmentation(mirror=(0, 1, 2), turned=0.0, often=0.0))


def all_changes(d: Data) -> Data:
    """Open the maps; sub-volumes are changed as in a training by default."""
    from aimed.diagnosis.volume_augmentation import VolumeAugmentation

    return _patches(d, VolumeAugmentation())


def our_patches(d: Data) -> Any:
    for pair in range(PAIRS):
        x, y = d["patches"].__getitems__([2 * pair, 2 * pair + 1])
    return x.shape, y.shape


def our_training(d: Data) -> Any:
    from aimed.diagnosis.volume_training import outline_loss
    from aimed.fit.half_precision import half_precision_here
    from aimed.fit.torch_training import MemoryRows, TrainingSettings, train

    if not half_precision_here():
        raise NotRunError("the processor has no bfloat16")
    # As the segmenter asks for it.
    settings = TrainingSettings(
        epochs=1, batch_size=2, learning_rate=2e-3, optimizer="adamw", weight_decay=0.01, clip_norm=12.0,
        precision="bf16-mixed", deterministic=True,
    )  # fmt: skip
    loss = outline_loss("dice_cross_entropy", None, False)
    return train(d["network"], loss, MemoryRows(d["input"], d["target"]), None, settings).steps


def with_network(d: Data, **options: Any) -> Data:
    from aimed.diagnosis.volume_network import build_volume_network

    return d | {"network": build_volume_network("unet3d", 4, 3, WIDTHS | options)}


def with_coarse_network(d: Data) -> Data:
    """Build a network whose finest scale works on an eighth of the voxels, as that of MONAI's U-Net does."""
    return with_network(d, stem=2)


def our_series(d: Data) -> Any:
    from aimed.readers.dicom_series import read_dicom_series

    return read_dicom_series(d["folder"]).shape


# ------------------------------------------------------------------------------------------------------------- peers


def one_hot(d: Data) -> Data:
    monai()
    import torch

    def parts(labels: Any) -> Any:
        held = [np.isin(labels, values) for values in REGIONS.values()]
        return torch.from_numpy(np.stack(held)[None].astype(np.float32))

    return {"truth": parts(d["truth"]), "found": parts(d["found"])}


def monai_measures(d: Data) -> Any:
    from monai import metrics

    found, truth, all_of_it = d["found"], d["truth"], {"include_background": True}
    values = (
        metrics.compute_dice(found, truth),
        metrics.compute_hausdorff_distance(found, truth, percentile=95, **all_of_it),
        metrics.compute_surface_dice(found, truth, [1.0] * len(REGIONS), **all_of_it),
        metrics.compute_average_surface_distance(found, truth, symmetric=True, **all_of_it),
    )
    return np.array([np.asarray(value)[0] for value in values]).T


def _normalised(scan: Any) -> Any:
    monai()
    import torch
    from monai.transforms import NormalizeIntensity

    done = NormalizeIntensity(nonzero=True, channel_wise=True)(scan.astype(np.float32))
    return torch.as_tensor(np.asarray(done))[None]


def normalised(d: Data) -> Data:
    """Normalise the scan, which is not timed, and take our network with its weights."""
    return {"input": _normalised(d["scan"]), "network": segmenter().networks_[0].eval()}


def in_a_box(d: Data) -> Data:
    """Cut the scan to the brain, as a careful user of MONAI does; this is not timed either."""
    from aimed.diagnosis.sliding_window import foreground_box

    made = normalised(d)
    return made | {"input": made["input"][(slice(None), slice(None), *foreground_box(d["scan"]))].contiguous()}


def _slide(d: Data, half: bool, window: tuple[int, ...] = WINDOW) -> Any:
    import torch
    from monai.inferers import sliding_window_inference

    order = torch.channels_last_3d if half else torch.contiguous_format
    network = d["network"].to(memory_format=order)

    def say(windows: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return network(windows.contiguous(memory_format=order)).float()

    with torch.inference_mode():
        scores = sliding_window_inference(d["input"], window, 1, say, overlap=0.5, mode="gaussian")
        return (scores.sigmoid() >= 0.5)[0].numpy()


def monai_outlines(d: Data) -> Any:
    return _slide(d, half=False).shape


def monai_outlines_in_half(d: Data) -> Any:
    return _slide(d, half=True).shape


def _chain(d: Data) -> list[Any]:
    from monai import transforms as t

    both, scan = ["image", "label"], d["folder"] / "scan.nii.gz"
    d["item"] = {"image": str(scan), "label": str(d["folder"] / "mask.nii.gz")}
    return [
        [
            t.LoadImaged(both),
            t.EnsureChannelFirstd(both),
            t.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ],
        [
            t.RandCropByPosNegLabeld(both, "label", WINDOW, pos=1, neg=1, num_samples=2),
            *(t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
            t.RandScaleIntensityd("image", 0.15, prob=1.0),
            t.RandShiftIntensityd("image", 0.1, prob=1.0),
        ],
    ]


def from_file(d: Data) -> Data:
    monai()
    from monai.transforms import Compose

    first, then = _chain(d)
    return d | {"chain": Compose([*first, *then])}


def from_memory(d: Data) -> Data:
    """Hold the scan in memory, as MONAI's cached data set does."""
    monai()
    from monai.transforms import Compose

    first, then = _chain(d)
    return d | {"item": Compose(first)(d["item"]), "chain": Compose(then)}


def monai_patches(d: Data) -> Any:
    for _ in range(PAIRS):
        found = d["chain"](dict(d["item"]))
    return [part["image"].shape for part in found]


def _plain_loop(network: Any, loss: Callable[[Any, Any], Any], d: Data) -> Any:
    import torch

    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    x, y = torch.from_numpy(d["input"]), torch.from_numpy(d["target"])
    for start in range(0, len(x), 2):
        optimizer.zero_grad()
        loss(network(x[start : start + 2]), y[start : start + 2]).backward()
        optimizer.step()
    return network


def plain_training(d: Data) -> Any:
    from aimed.diagnosis.segmentation_losses import dice_cross_entropy

    return _plain_loop(d["network"].train(), lambda z, t: dice_cross_entropy(z, t, exclusive=False), d)


def monai_training(d: Data) -> Any:
    monai()
    import torch
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet

    network = UNet(3, 4, 3, (16, 32, 64, 128), (2, 2, 2), num_res_units=2)
    dice, entropy = DiceLoss(sigmoid=True, squared_pred=True), torch.nn.BCEWithLogitsLoss()
    return _plain_loop(network.train(), lambda z, t: dice(z, t) + entropy(z, t), d)


def monai_series(d: Data) -> Any:
    monai()
    from monai.transforms import LoadImage

    return LoadImage(image_only=True, reader="PydicomReader")(d["folder"]).shape


def pydicom_series(d: Data) -> Any:
    """Read every file, put the slices in their order and rescale them."""
    import pydicom

    read = [pydicom.dcmread(path) for path in d["folder"].iterdir()]
    read.sort(key=lambda ds: ds.ImagePositionPatient[2])
    return np.stack([ds.pixel_array + int(ds.RescaleIntercept) for ds in read]).shape


MONAI = "MONAI"
ROWS = (
    Row(
        f"Dice, HD95, surface Dice and ASSD of 3 regions, {SIDE}x{SIDE}xn", masks, Side("", our_measures, warm=20),
        (40, 80, SLICES), (Side(f"{MONAI}, from one-hot masks", monai_measures, prepare=one_hot, warm=20),),
        "<= 100 ms, >= 12x", "ms",
    ),
    Row(
        f"Outlines of a scan 4x{SIDE}x{SIDE}xn, U-Net of 1.4 million weights", brain, Side("", our_outlines, warm=8),
        (SLICES // 2, SLICES),
        (
            Side(f"{MONAI}, in 32 bits", monai_outlines, prepare=normalised, warm=8),
            Side(f"{MONAI}, in 16 bits, channels last", monai_outlines_in_half, prepare=normalised, warm=8),
            Side(f"{MONAI}, cut to the brain, in 16 bits", monai_outlines_in_half, prepare=in_a_box, warm=8),
            Side("aimed, in 32 bits", our_outlines_in_full, warm=8),
        ), ">= 6x 32 bits, >= 1.5x 16 bits", "ms",
    ),
    Row(
        f"Two training patches of 4x96³ from a scan 4x{SIDE}x{SIDE}xn", on_disk,
        Side("", our_patches, prepare=flips_and_greys, warm=100), (SLICES, 2 * SLICES),
        (
            Side(f"{MONAI}, from the file", monai_patches, prepare=from_file, warm=100),
            Side(f"{MONAI}, scan held in memory", monai_patches, prepare=from_memory, warm=100),
            Side("aimed, all changes of a training", our_patches, prepare=all_changes, warm=100),
        ), "<= 40 ms", "ms", PAIRS,
    ),
    Row(
        "A training step, U-Net of 1.4 million weights, 2 x 4 x n³", pieces,
        Side("", our_training, prepare=with_network, warm=16), (64, 96),
        (Side("the same network, plain PyTorch loop in 32 bits", plain_training, prepare=with_network, warm=16),),
        ">= 2x 32 bits", "ms", STEPS,
    ),
    Row(
        "A training step, U-Net that begins with a step of 2, 2 x 4 x n³", pieces,
        Side("", our_training, prepare=with_coarse_network, warm=16), (64, 96),
        (
            Side(f"{MONAI}'s U-Net (2 residual units), plain PyTorch loop in 32 bits", monai_training, warm=16),
            Side("the same network, plain loop in 32 bits", plain_training, prepare=with_coarse_network, warm=16),
        ), ">= 2x 32 bits", "ms", STEPS,
    ),
    Row(
        "A CT series of n slices of 512²", ct, Side("", our_series, warm=4), (50, 200),
        (Side(f"{MONAI}, PydicomReader", monai_series, warm=4), Side("pydicom, ordered by hand", pydicom_series)),
        ">= 3x MONAI", "ms",
    ),
)  # fmt: skip


# ----------------------------------------------------------------------------------------------- are the figures equal


def equal_measures(n: int) -> None:
    """Print the largest difference of the metrics from MONAI's."""
    made = masks(n)
    print(f"\n## Are the figures equal?\n\nMetrics of {SIDE}x{SIDE}x{n} voxels: ", end="")
    try:
        apart = np.abs(np.array(our_measures(made)) - monai_measures(one_hot(made))).max()
    except NotRunError as error:
        print(f"not compared, {error}")
        return
    print(f"largest difference from MONAI {apart:.1e} (goal 1e-6)", flush=True)


def phantoms(n: int, size: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Return contrasts and labels of n drawn patients."""
    from aimed.synthetic.brain_phantom import draw_brain

    drawn = [
        draw_brain((seed, k), size=size, spacing=192 / size, n_tumours=1, difficulty=0.3) for k in range(n)
    ]  # fmt: skip
    return [d.image.array.astype(np.float16) for d in drawn], [d.labels.array for d in drawn]


def dice_of(masks_of: Callable[[Any], Any], scans: list[Any], labels: list[Any]) -> Any:
    """Return Dice by case and region, NaN where a region is in neither."""
    found = np.full((len(scans), len(REGIONS)), np.nan)
    for case, (scan, truth) in enumerate(zip(scans, labels, strict=True)):
        for k, (mask, values) in enumerate(zip(masks_of(scan), REGIONS.values(), strict=True)):
            there = np.isin(truth, values)
            if there.any() or mask.any():
                found[case, k] = 2 * (there & mask).sum() / (there.sum() + mask.sum())
    return found


def equal_outlines(train: int, test: int, epochs: int, size: int = 64) -> None:
    """Print Dice of one trained network read in several ways on scans it never saw.

    A box puts the windows elsewhere, for MONAI as for us; what half precision changes is between the last two lines.
    """
    from aimed.diagnosis.sliding_window import foreground_box
    from aimed.diagnosis.volume_segmenter import VolumeSegmenter

    window = (3 * size // 4,) * 3
    model = VolumeSegmenter(
        REGIONS, architecture_options={"widths": [8, 16, 32, 64]}, patch_size=window, patches_per_scan=2,
        learning_rate=3e-3, max_epochs=epochs, early_stopping=False, clean=False, n_jobs=1,
    )  # fmt: skip
    model.fit(*phantoms(train, size, 1))
    unseen = phantoms(test, size, 2)
    print(f"\nA U-Net trained for {epochs} epochs on {train} drawn heads of {size}³, on {test} others:\n")
    print(f"| read | {' | '.join(REGIONS)} | mean | change | largest change of a case |\n" + "|---" * 7 + "|")
    before = None
    ways: dict[str, Callable[[Any], Any]] = {}

    def ours(half: bool, crop: bool) -> Callable[[Any], Any]:
        def masks_of(scan: Any) -> Any:
            model.precision_["used"] = "bf16-mixed" if half else "32-true"
            return model.set_params(crop=crop).masks_of(scan)

        return masks_of

    def theirs(crop: bool) -> Callable[[Any], Any]:
        def masks_of(scan: Any) -> Any:
            box = (slice(None), *(foreground_box(scan) if crop else [slice(None)] * 3))
            made = {"input": _normalised(scan)[(slice(None), *box)], "network": model.networks_[0].eval()}
            found = np.zeros((len(REGIONS), *scan.shape[1:]), dtype=bool)
            found[box] = _slide(made, half=False, window=window)
            return found

        return masks_of

    ways["MONAI, whole, in 32 bits"] = theirs(crop=False)
    ways["MONAI, cut to the brain, in 32 bits"] = theirs(crop=True)
    ways["aimed, whole, in 32 bits"] = ours(half=False, crop=False)
    ways["aimed, cut to the brain, in 32 bits"] = ours(half=False, crop=True)
    ways["aimed, cut to the brain, in 16 bits"] = ours(half=True, crop=True)
    for name, way in ways.items():
        try:
            found = dice_of(way, *unseen)
        except NotRunError as error:
            print(f"| {name} | not run: {error} |" + " |" * 5)
            continue
        each = np.nanmean(found, axis=0)
        told = " | ".join(f"{value:.4f}" for value in (*each, each.mean()))
        before = found if before is None else before
        change = each.mean() - np.nanmean(before, axis=0).mean()
        print(f"| {name} | {told} | {change:+.5f} | {np.nanmax(np.abs(found - before)):.5f} |", flush=True)
    print("\nGoal: a change of the mean below 0.001.")


def main() -> None:
    asked = parser(__doc__).parse_args()
    rows = [replace(row, sizes=row.sizes[:1]) for row in ROWS] if asked.quick else list(ROWS)
    table(__file__, "Outlines in volumes", rows, asked)
    if not asked.one and asked.only.lower() in "are the figures equal":
        equal_measures(rows[0].sizes[-1])
        equal_outlines(*((4, 2, 2, 32) if asked.quick else (24, 12, 12)))


if __name__ == "__main__":
    main()
