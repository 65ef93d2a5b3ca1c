"""Pneumonia against no finding on 1,000 real chest X-rays, trained from nothing on two processors: the honest figure.

Patients are held out as wholes, five times. Beside the network stand what the view alone, the other particulars and the
borders of the picture alone can tell.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from aimed.checks.shortcut_sources import border_features
from aimed.checks.shortcuts import auroc_within, shortcut_auroc
from aimed.diagnosis.image_classifier import ImageClassifier
from aimed.metrics import auroc
from aimed.readers.image_cache import ImageCache
from aimed.readers.image_table import read_image_table

DATA = Path(os.environ.get("AIMED_DATA", Path(__file__).resolve().parents[1] / "../shared/data")) / "cxr_320"
SIZE, FOLDS, EPOCHS = 128, 5, 25


def main() -> None:
    if not (DATA / "nih_join.csv").exists():
        print("not run: the data are not here (set AIMED_DATA)")
        return
    table = read_image_table(DATA / "nih_join.csv", image="file")
    cache = ImageCache.build(table.files, tempfile.mkdtemp(prefix="aimed-cache-"), size=SIZE)
    frame = table.frame
    y = (frame["finding_labels"] != "No Finding").to_numpy().astype(float)
    patient, view = frame["patient_id"].to_numpy(), frame["view"].to_numpy()
    pictures = cache.rows(np.arange(len(cache)))
    rng = np.random.default_rng(0)
    people = rng.permutation(np.unique(patient))
    fold = {p: k % FOLDS for k, p in enumerate(people)}
    place = np.array([fold[p] for p in patient])
    score = np.full(y.size, np.nan)
    start = time.perf_counter()
    for k in range(FOLDS):
        fit, test = place != k, place == k
        network = ImageClassifier("small_cnn", max_epochs=EPOCHS, learning_rate=5e-3, random_state=k)
        network.fit(pictures[fit], y[fit, None], groups=patient[fit], names=("pneumonia",))
        score[test] = network.decision_function(pictures[test])[:, 0]
    seconds = time.perf_counter() - start
    # Networks of different folds have different scales: pairs are compared within a fold.
    inside = np.char.add(view.astype(str), place.astype(str))
    border = shortcut_auroc(border_features(cache), y, patient, source="border")
    particulars = {name: frame[name].to_numpy() for name in ("view", "age", "sex")}
    rows = [
        ("small network, from random weights", auroc_within(y, score, place, patient=patient)),
        ("the same, within PA and within AP", auroc_within(y, score, inside, patient=patient)),
        ("view alone", shortcut_auroc({"view": view}, y, patient, source="view").estimate),
        ("view, age and sex", shortcut_auroc(particulars, y, patient, source="particulars").estimate),
        ("borders of the picture", border.estimate),
        (
            "borders, within PA and within AP",
            auroc_within(y, border.score, np.char.add(view.astype(str), border.fold.astype(str)), patient=patient),
        ),
        ("fold mixed in (for comparison: pairs across networks)", auroc(y, score, patient=patient)),
    ]
    print(f"# Pneumonia against no finding: {y.size} films of {people.size} patients, {SIZE} px, {FOLDS} folds\n")
    print("| told from | AUROC (95 % interval, patients) |\n|---|---|")
    for name, found in rows:
        print(f"| {name} | {found.value:.3f} ({found.lower:.3f} to {found.upper:.3f}) |")
    levels, counts = np.unique(view, return_counts=True)
    views = ", ".join(f"{name} {count}" for name, count in zip(levels, counts, strict=True))
    print(f"\nTraining: {seconds:.0f} s wall for {FOLDS} networks of {EPOCHS} epochs; views: {views}")


if __name__ == "__main__":
    main()
