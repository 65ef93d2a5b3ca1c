"""Does learning without labels help when labels are few? The same labelled pictures, with and without it, paired.

On drawn phantoms and on 1,000 real chest films: part of the pictures is a pool, of which a few have labels and all may
be looked at; whole patients are held out. A small network is trained from random weights, and from weights that learned
from the pool alone; a linear probe reads features that stay as they are. "Head first": the head is fitted before the
rest of the network moves, so that a random head does not spoil what was learned.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.diagnosis.linear_probe import LinearProbe
from aimed.diagnosis.pretraining import pretrain
from aimed.metrics import multilabel_auroc
from aimed.metrics.result import clustered_variance
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_table import read_image_table
from aimed.synthetic import draw_chest

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")) / "cxr_320"
SIZE, SPLITS, TEST = 64, 3, 0.2
FINDINGS = ("effusion", "cardiomegaly", "consolidation")
LABELLED = {60: 40, 120: 30, 240: 20}
"""Pictures with labels, and the epochs that they are trained for in batches of 16."""
METHODS = {
    "masked": {"max_epochs": 20},
    "contrastive": {"max_epochs": 10, "learning_rate": 3e-3},
}
SCRATCH = "network, random weights"


def phantoms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw 1,000 phantoms of as many patients; each finding is in three of ten."""
    present = np.random.default_rng(11).random((1000, len(FINDINGS))) < 0.3
    drawn = [
        draw_chest((11, i), findings=[f for f, p in zip(FINDINGS, row, strict=True) if p], size=SIZE, difficulty=0.25)
        for i, row in enumerate(present)
    ]
    return np.stack([(d.pixels >> 4).astype(np.uint8) for d in drawn]), present.astype(float), np.arange(1000)


def films() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the 1,000 films of the NIH: pneumonia or no finding."""
    table = read_image_table(DATA / "nih_join.csv", image="file")
    with tempfile.TemporaryDirectory(prefix="aimed-cache-") as folder:
        cache = ImageCache.build(table.files, folder, size=SIZE)
        pictures = np.array(cache.rows(np.arange(len(cache))))
    y = (table.frame["finding_labels"] != "No Finding").to_numpy().astype(float)
    return pictures, y[:, None], table.frame["patient_id"].to_numpy().astype(str)


def network(weights, x, y, patient, epochs, seed, **options):
    """Train the small network for a set number of epochs."""
    model = ImageClassifier(
        "small_cnn", initial_weights=weights, max_epochs=epochs, batch_size=16, early_stopping=False, n_jobs=1,
        precision="bf16-mixed", random_state=seed, **options,
    )  # fmt: skip
    return model.fit(x, y, patient)


def one_split(split: int, x, y, patient, folder: Path, asked: argparse.Namespace):
    """Return the macro AUROC of every arm on held-out pictures, by number of labels, and what it took."""
    rng = np.random.default_rng((5, split))
    people = rng.permutation(np.unique(patient))
    test = np.flatnonzero(np.isin(patient, people[: round(TEST * people.size)]))
    pool = rng.permutation(np.setdiff1d(np.arange(len(x)), test))
    seconds, starts = {}, {}
    for method in asked.methods:
        began = time.process_time()
        file = folder / f"{method}.safetensors"
        starts[method] = pretrain(
            x[np.sort(pool)], file, method=method, n_jobs=1, random_state=split, **METHODS[method]
        )
        seconds[method] = time.process_time() - began
    found = {}
    for n in asked.labels:
        epochs = asked.times * LABELLED[n]
        some = np.sort(pool[:n])
        mine = x[some], y[some], patient[some]
        began = time.process_time()
        arms = {SCRATCH: network(None, *mine, epochs, split)}
        seconds[f"{n} labels"] = time.process_time() - began
        if not asked.few:
            arms[f"{SCRATCH}, head first"] = network(None, *mine, epochs, split, linear_probe_first=True)
            arms["probe, random weights"] = LinearProbe("small_cnn", n_jobs=1, random_state=split).fit(*mine)
        for method, start in starts.items():
            arms[f"network, {method}, head first"] = network(
                start.weights, *mine, epochs, split, linear_probe_first=True
            )
            if not asked.few:
                arms[f"probe, {method}"] = LinearProbe(
                    "small_cnn", initial_weights=start.weights, n_jobs=1, random_state=split
                ).fit(*mine)
        for name, model in arms.items():
            score = model.decision_function(x[test])
            found[n, name] = multilabel_auroc(y[test], score, patient=patient[test]).macro
        told = ", ".join(f"{name} {found[n, name]:.3f}" for name in arms)
        print(f"  split {split + 1}, {n} labels: {told}", flush=True)
    return found, test, seconds, len(pool), {m: s.loss for m, s in starts.items()}


def compare(title: str, x, y, patient, asked: argparse.Namespace) -> None:
    """Print the table of one set of pictures."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        splits = [one_split(k, x, y, patient, Path(folder), asked) for k in range(SPLITS)]
    pools = ", ".join(str(s[3]) for s in splits)
    longer = f", networks trained {asked.times} times as long" if asked.times > 1 else ""
    print(f"\n## {title}: {len(x)} pictures, {SIZE} px, {SPLITS} splits by patient, pools of {pools}{longer}\n")
    print("| labels | arm | macro AUROC | minus random weights | over patients | over splits | each split |")
    print("|---|---|---|---|---|---|---|")
    for n in asked.labels:
        for name in dict.fromkeys(arm for _, arm in splits[0][0]):
            own = [s[0][n, name] for s in splits]
            mean = np.mean([float(e) for e in own])
            if name == SCRATCH:
                print(f"| {n} | {name} | {mean:.3f} | | | | |")
                continue
            base = [s[0][n, SCRATCH] for s in splits]
            gap = np.array([float(a) - float(b) for a, b in zip(own, base, strict=True)])
            change = [(a.influence - b.influence) / SPLITS for a, b in zip(own, base, strict=True)]
            who = np.concatenate([patient[s[1]] for s in splits])
            error = 1.96 * math.sqrt(clustered_variance(np.concatenate(change), who))
            spread = student.ppf(0.975, SPLITS - 1) * gap.std(ddof=1) / math.sqrt(SPLITS)
            middle = gap.mean()
            each = ", ".join(f"{g:+.3f}" for g in gap)
            print(
                f"| {n} | {name} | {mean:.3f} | {middle:+.3f} | {middle - error:+.3f} to {middle + error:+.3f} | "
                f"{middle - spread:+.3f} to {middle + spread:+.3f} | {each} |"
            )
    seconds = {name: np.mean([s[2][name] for s in splits]) for name in splits[0][2]}
    print("\nProcessor seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    for method in asked.methods:
        curve = np.mean([s[4][method] for s in splits], axis=0)
        print(f"Loss of {method}, first and last epoch: {curve[0]:.3f}, {curve[-1]:.3f}")
    print(f"All of it: {time.process_time() - began:.0f} processor seconds", flush=True)


def main() -> None:
    warnings.simplefilter("ignore")
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", choices=("phantoms", "films"))
    options.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    options.add_argument("--labels", nargs="+", type=int, choices=tuple(LABELLED), default=list(LABELLED))
    options.add_argument("--times", type=int, default=1, help="train every network so many times as long")
    options.add_argument("--few", action="store_true", help="no probes, and no head first from random weights")
    asked = options.parse_args()
    if asked.only != "films":
        compare("Phantoms, three findings", *phantoms(), asked)
    if asked.only != "phantoms":
        if not (DATA / "nih_join.csv").exists():
            print("films not run: the data are not here (set AIMED_DATA)")
            return
        compare("Films, pneumonia against no finding", *films(), asked)


if __name__ == "__main__":
    main()
