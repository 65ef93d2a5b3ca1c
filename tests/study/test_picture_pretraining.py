"""Learning before labels, in a study: from the part that learns and nothing else, kept, resumed and recorded."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aimed.core import DataError, StudyFileError

pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")
image = pytest.importorskip("PIL.Image", reason="the imaging extra is not installed")

import aimed.diagnosis.pretraining as pretraining  # noqa: E402
from aimed.diagnosis.image_rows import images_digest  # noqa: E402
from aimed.study import picture_stages  # noqa: E402
from aimed.study.picture_models import require_networks  # noqa: E402
from aimed.study.pictures import images_of  # noqa: E402
from aimed.study.run import study  # noqa: E402
from aimed.study.store import RunFolder  # noqa: E402

TEXT = """schema = 1
[study]
id = "few-labels"
title = "Few labels, many films"
task = "classify"
seed = 3
[data]
source = "labels.csv"
patient = "patient"
[images]
column = "file"
size = 32
pretrain = { method = "masked", epochs = 3 }
[outcome]
findings = ["top", "side"]
[split]
tune = { by = "patient", folds = 3 }
[model]
candidates = ["small_cnn"]
baselines = ["prevalence"]
parameters.small_cnn = { architecture_options = { widths = [4, 8] }, max_epochs = 3, precision = "32-true" }
[evaluate]
draws = 50
"""
N, WITHOUT = 96, 48


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with films of 48 patients, two each; half of the patients have no label at all."""
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    y = rng.integers(0, 2, (N, 2))
    down, across = np.mgrid[:32, :32] / 31.0
    lungs = sum(((across - x) / 0.17) ** 2 + ((down - 0.5) / 0.36) ** 2 < 1 for x in (0.29, 0.71))
    pixels = (160 - 110 * lungs + rng.integers(0, 30, (N, 32, 32))).astype(np.uint8)
    pixels[y[:, 0] == 1, :12] += 50
    pixels[y[:, 1] == 1, :, :8] += 14
    for i in range(N):
        image.fromarray(pixels[i]).save(folder / f"{i}.png")
    known = [None if i < WITHOUT else 1 for i in range(N)]
    pl.DataFrame(
        {
            "patient": [f"p{i // 2}" for i in range(N)],
            "file": [f"{i}.png" for i in range(N)],
            **{
                name: [k and int(v) for k, v in zip(known, y[:, j], strict=True)]
                for j, name in enumerate(("top", "side"))
            },
        }
    ).write_csv(folder / "labels.csv")
    return folder


def opened(films, text=TEXT):
    (films / "study.toml").write_text(text)
    made = study(films / "study.toml")
    return made, made.read(films), made.split()


class Spy:
    """Sees which pictures are learned from, and stops the training once when it is asked to."""

    def __init__(self, monkeypatch, stop_at=None):
        self.seen, self.done, self.stop_at = [], [], stop_at
        real, settings = pretraining.pretrain, pretraining.TrainingSettings
        monkeypatch.setattr(pretraining, "TrainingSettings", lambda **k: settings(**k, checkpoint_seconds=0.0))

        def watched(pictures, *args, progress, **kwargs):
            def told(share, text):
                if self.stop_at is not None and share >= self.stop_at:
                    self.stop_at = None
                    raise KeyboardInterrupt
                progress(share, text)

            self.seen.append(pictures)
            self.done.append(real(pictures, *args, progress=told, **kwargs))
            return self.done[-1]

        monkeypatch.setattr(pretraining, "pretrain", watched)


def test_only_pictures_of_the_part_that_learns_are_seen(films, tmp_path, monkeypatch):
    made, cohort, split = opened(films)
    assert cohort.n == N, "films without labels stay in the cohort"
    spy, told = Spy(monkeypatch), []
    home = RunFolder(tmp_path / "run").open()
    block, *_ = picture_stages.fit(
        made.spec, cohort, split, home, "k", lambda share, text="": told.append((share, text))
    )
    learns, tunes = picture_stages.tune_part(split)
    images = images_of(cohort)
    seen = set(spy.seen[0].digests)
    assert seen == set(images.take(learns).digests)
    assert not seen & set(images.take(np.r_[tunes, split.parts["test"]]).digests)
    bare = np.isnan(cohort.outcome.values).all(axis=1)
    facts = block["network"]["pretraining"]
    assert facts["pictures"] == learns.size
    assert facts["unlabelled"] == bare[learns].sum() > 0
    assert facts["patients"] == np.unique(cohort.patient[learns]).size
    assert (facts["method"], facts["epochs"], len(facts["loss"])) == ("masked", 3, 3)
    assert block["network"]["initial_weights"]["sha256"] == facts["sha256"]
    # Labels are counted where there are some; unlabelled films teach the findings nothing.
    assert block["n_fitted"] == block["learning"][0]["train_rows"] == (~bare[learns]).sum()
    assert block["n_tune"] == block["learning"][0]["tune_rows"] == (~bare[tunes]).sum()
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[0][1].startswith("small_cnn without labels")


def test_labelled_films_are_spread_over_the_parts(films):
    _, cohort, split = opened(films)
    known = ~np.isnan(cohort.outcome.values).all(axis=1)
    learns, tunes = picture_stages.tune_part(split)
    shares = [known[rows].mean() for rows in (learns, tunes, split.parts["test"])]
    np.testing.assert_allclose(shares, 0.5, atol=0.1)


def test_it_goes_on_after_a_kill_and_is_not_done_twice(films, tmp_path, monkeypatch):
    made, cohort, split = opened(films)
    spy = Spy(monkeypatch, stop_at=0.5)
    home = RunFolder(tmp_path / "stopped").open()
    with pytest.raises(KeyboardInterrupt):
        picture_stages.fit(made.spec, cohort, split, home, "k")
    resumed = picture_stages.fit(made.spec, cohort, split, home, "k")[0]
    whole = picture_stages.fit(made.spec, cohort, split, RunFolder(tmp_path / "whole").open(), "k")[0]
    assert len(spy.seen) == 3
    assert resumed["network"]["pretraining"] == whole["network"]["pretraining"], "the same bits as without a stop"
    again = picture_stages.fit(made.spec, cohort, split, home, "another key")[0]
    assert len(spy.seen) == 3, "another model of the same pictures starts from what is there"
    assert again["network"]["pretraining"] == whole["network"]["pretraining"]
    weights = next(home.path.glob("fit/pretraining-*/weights.safetensors"))
    weights.write_bytes(b"x")
    mended = picture_stages.fit(made.spec, cohort, split, home, "k")[0]
    assert len(spy.seen) == 4
    assert mended["network"]["pretraining"]["sha256"] == whole["network"]["pretraining"]["sha256"]
    assert images_digest(spy.seen[0]) == images_digest(spy.seen[3])


def test_a_run_with_films_without_labels(films, tmp_path, monkeypatch):
    made, cohort, split = opened(films, TEXT.replace('"masked"', '"contrastive"'))
    results = made.run(tmp_path / "run").results
    known = ~np.isnan(cohort.outcome.values).all(axis=1)
    assert results["model"]["network"]["pretraining"]["method"] == "contrastive"
    assert "no picture of the tune or the test part" in (tmp_path / "run" / "report.html").read_text()
    assert results["performance"]["n"] == known[split.parts["test"]].sum()

    def refuse(*_, **__):
        raise AssertionError("nothing has changed")

    monkeypatch.setattr(pretraining, "pretrain", refuse)
    made.run(tmp_path / "run")
    other = study(films / "study.toml")
    other.spec.images.pretrain.__dict__["epochs"] = 4
    with pytest.raises(AssertionError, match="nothing has changed"):
        other.run(tmp_path / "run")


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ('method = "masked"', 'method = "magic"', StudyFileError, "pretrain.method"),
        ("epochs = 3 }", "epoch = 3 }", StudyFileError, "did you mean 'epochs'"),
        ("size = 32", "size = 50", DataError, "multiples of the patch"),
        (
            "[outcome]",
            'weights = { file = "labels.csv", architecture = "small_cnn" }\n[outcome]',
            StudyFileError,
            "every candidate starts from the weights",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(films, old, new, error, words):
    (films / "study.toml").write_text(TEXT.replace(old, new))
    with pytest.raises(error, match=words):
        require_networks(study(films / "study.toml").spec)
