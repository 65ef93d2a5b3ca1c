"""The training loop: exact repeats, a kill at any moment, early stopping, averages, schedules and refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from aimed.core import DataError, NotEstimableError, RefusedError, StudyFileError

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'aimed[deep]'")
pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; pip install 'aimed[deep]'")

from aimed.fit import torch_training  # noqa: E402
from aimed.fit.torch_checkpoint import FILE, read_checkpoint, write_checkpoint  # noqa: E402
from aimed.fit.torch_training import LayerGroup, MemoryRows, TrainingSettings, seeded, train  # noqa: E402

SETTINGS = {
    "epochs": 6, "batch_size": 16, "learning_rate": 0.01, "optimizer": "adamw", "weight_decay": 0.1, "ema": 0.9,
    "schedule": "cosine", "warmup": 0.2, "clip_norm": 1.0, "patience": 5, "seed": 3,
}  # fmt: skip


def rows(n=100, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    return MemoryRows(x, (x[:, :1] - x[:, 1:2] ** 2 + rng.normal(size=(n, 1))))


def network(seed=1):
    with seeded(seed):
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(8, 1),
        )


def squared(module, batch):
    return ((module(batch[0]) - batch[1]) ** 2).mean()


def fitted(module=None, **changes):
    module = network() if module is None else module
    done = train(module, squared, rows(), rows(40, 1), TrainingSettings(**{**SETTINGS, **changes}))
    return module, done


def bits(module):
    return {k: v.numpy().tobytes() for k, v in module.state_dict().items()}


def test_same_seed_same_bits():
    first, second = fitted()[0], fitted()[0]
    assert bits(first) == bits(second)
    assert bits(first) != bits(fitted(seed=4)[0])


def test_dense_layers_have_the_same_bits_on_any_number_of_threads():
    x = np.random.default_rng(0).normal(size=(3000, 40))
    data = MemoryRows(x, x[:, :1] * x[:, 1:2])
    found = []
    for threads in (1, 2):
        with seeded(0):
            wide = torch.nn.Sequential(
                torch.nn.Linear(40, 128), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(128, 1)
            )
        train(wide, squared, data, data, TrainingSettings(epochs=3, batch_size=1000, threads=threads))
        found.append(bits(wide))
    assert found[0] == found[1]


def test_the_world_outside_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    seen = []

    def loss(module, batch):
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        return squared(module, batch)

    train(network(), loss, rows(), settings=TrainingSettings(epochs=1, threads=2))
    assert set(seen) == {(2, True)}
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, strict)
    np.testing.assert_array_equal(torch.rand(3), expected)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import test_torch_training as t

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def run(folder, step, write):
        steps, written, replace = [0], [0], Path.replace
        def loss(module, batch):
            steps[0] += module.training
            if steps[0] == step:
                die()
            return t.squared(module, batch)
        def replacing(self, target):
            written[0] += 1
            if written[0] == write:
                die()
            return replace(self, target)
        Path.replace = replacing
        settings = t.TrainingSettings(**{**t.SETTINGS, "checkpoint": folder, "checkpoint_seconds": 0.0})
        t.train(t.network(), loss, t.rows(), t.rows(40, 1), settings)

    for folder, step, write in zip(sys.argv[2:4], (25, -1), (-1, 17)):
        child = os.fork()
        if not child:
            run(folder, step, write)
        print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_and_resumed_ends_with_the_same_bits(tmp_path):
    folders = [str(tmp_path / "in_a_step"), str(tmp_path / "in_a_write")]
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(Path(__file__).parent), *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(int(signal.SIGKILL))] * 2
    whole, expected = fitted()
    for folder, steps in zip(folders, (24, 16), strict=True):
        assert 0 < read_checkpoint(Path(folder))[1]["position"] < 7, "the kill came within an epoch"
        resumed, found = fitted(checkpoint=folder)
        assert (found.resumed_at, expected.resumed_at) == (steps, None)
        assert found.steps == expected.steps
        assert bits(resumed) == bits(whole)
        np.testing.assert_array_equal(found.train_loss, expected.train_loss)
        np.testing.assert_array_equal(found.tune_loss, expected.tune_loss)


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}, {"optimizer": "rmsprop"}, {"optimizer": "adam"}],
)
def test_every_optimizer_resumes_from_every_step(tmp_path, changes):
    changes = {**changes, "epochs": 2, "ema": None}
    whole, _ = fitted(**changes)

    class StopError(Exception):
        pass

    for stop in (1, 6, 9):
        count = [0]

        def loss(module, batch, count=count, stop=stop):
            count[0] += module.training
            if count[0] > stop:
                raise StopError
            return squared(module, batch)

        folder = tmp_path / str(stop)
        settings = TrainingSettings(**{**SETTINGS, **changes, "checkpoint": folder, "checkpoint_seconds": 0.0})
        with pytest.raises(StopError):
            train(network(), loss, rows(), rows(40, 1), settings)
        assert bits(fitted(**changes, checkpoint=folder)[0]) == bits(whole)


def test_a_finished_training_is_not_done_again(tmp_path):
    first, done = fitted(checkpoint=tmp_path)

    def never(module, batch):
        raise AssertionError

    again = network(seed=9)
    settings = TrainingSettings(**SETTINGS, checkpoint=tmp_path)
    found = train(again, never, rows(), rows(40, 1), settings)
    assert bits(again) == bits(first)
    assert found.resumed_at == found.steps == done.steps


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    fitted(checkpoint=tmp_path)
    with pytest.raises(RefusedError, match="another training"):
        fitted(checkpoint=tmp_path, learning_rate=0.02)
    with pytest.raises(RefusedError, match="another training"):
        train(network(), squared, rows(), rows(40, 1), TrainingSettings(**SETTINGS, checkpoint=tmp_path), identity="b")
    # Neither the threads nor the folder make another training.
    assert fitted(checkpoint=tmp_path, threads=2, checkpoint_seconds=5.0)[1].resumed_at is not None
    (tmp_path / FILE).write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a header")
    with pytest.raises(RefusedError, match="cannot be read"):
        fitted(checkpoint=tmp_path)


def test_a_checkpoint_takes_weights_that_are_used_twice(tmp_path):
    tied = torch.ones(2, 2)
    write_checkpoint(tmp_path, {"a": tied, "b": tied.T}, {"n": 1})
    tensors, facts = read_checkpoint(tmp_path)
    np.testing.assert_array_equal(tensors["b"], tied)
    assert facts == {"n": 1}
    assert os.listdir(tmp_path) == [FILE]
    assert read_checkpoint(tmp_path / "absent") is None


def test_the_best_epoch_is_kept():
    module, done = fitted(epochs=60, learning_rate=0.1, patience=4, schedule="constant", ema=None)
    assert done.stopped_early
    assert len(done.tune_loss) == done.best_epoch + 4 < 60
    assert done.best_epoch == 1 + int(np.argmin(done.tune_loss))
    tune = rows(40, 1)
    with torch.no_grad():
        kept = np.mean([float(squared(module, tune.__getitems__(part))) * len(part) for part in np.array_split(
            np.arange(40), 3)]) * 3 / 40  # fmt: skip
    np.testing.assert_allclose(kept, done.tune_loss.min(), rtol=1e-6)
    assert not module.training


def test_what_to_stop_on_can_be_chosen():
    falling = iter([5.0, 4.0, 3.0, 4.0, 4.0, 4.0])
    done = train(
        network(), squared, rows(), rows(40, 1), TrainingSettings(epochs=9, patience=2, min_gain=0.5),
        tune_loss=lambda module, batches: next(falling) + 0.0 * sum(len(b[0]) for b in batches),
    )  # fmt: skip
    assert (done.best_epoch, len(done.tune_loss), done.stopped_early) == (3, 5, True)


def test_one_step_is_gradient_descent():
    line = torch.nn.Linear(4, 1)
    data = rows(32)
    x, y = (t.double().numpy() for t in data.tensors)
    w, b = line.weight.detach().double().numpy().ravel(), line.bias.item()
    slope = 2 * (x @ w + b - y[:, 0])
    settings = TrainingSettings(epochs=1, batch_size=32, optimizer="sgd", momentum=0.0, learning_rate=0.1)
    done = train(line, squared, data, settings=settings)
    np.testing.assert_allclose(line.weight.detach().numpy().ravel(), w - 0.1 * (slope @ x) / 32, rtol=1e-5)
    np.testing.assert_allclose(line.bias.item(), b - 0.1 * slope.mean(), rtol=1e-5)
    np.testing.assert_allclose(done.train_loss, [np.mean((slope / 2) ** 2)], rtol=1e-5)


def test_decay_is_on_matrices_only():
    line = torch.nn.Linear(4, 1)
    before = line.weight.detach().clone(), line.bias.detach().clone()
    settings = TrainingSettings(epochs=1, batch_size=100, learning_rate=0.1, weight_decay=0.5)
    train(line, lambda module, batch: module(batch[0]).sum() * 0.0, rows(), settings=settings)
    np.testing.assert_allclose(line.weight.detach(), before[0] * (1 - 0.1 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(line.bias.detach(), before[1])


def test_the_average_of_the_weights():
    path = []

    def loss(module, batch):
        path.append(module.weight.detach().clone().numpy())
        return squared(module, batch)

    with seeded(0):
        line = torch.nn.Linear(4, 1)
    begin = {k: v.clone() for k, v in line.state_dict().items()}
    settings = {"epochs": 3, "batch_size": 10, "learning_rate": 0.1}
    train(line, loss, rows(), settings=TrainingSettings(**settings))
    path.append(line.weight.detach().numpy().copy())
    average = path[1]
    for step, weight in enumerate(path[2:], start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    line.load_state_dict(begin)
    train(line, squared, rows(), settings=TrainingSettings(**settings, ema=0.6))
    np.testing.assert_allclose(line.weight.detach(), average, rtol=1e-5)
    assert np.abs(average - path[-1]).max() > 1e-3


def test_the_learning_rate_rises_and_falls():
    cosine = TrainingSettings(learning_rate=2.0, schedule="cosine", warmup=0.2)
    shares = np.array([0.1, 0.2, 0.6, 1.0])
    got = [torch_training._rate(float(s), cosine) for s in shares]
    np.testing.assert_allclose(got, [1.0, 2.0, 1.0, 0.0], atol=1e-12)
    assert torch_training._rate(0.9, TrainingSettings(learning_rate=2.0)) == 2.0


class Noisy(torch.utils.data.Dataset):
    """Rows that change at random with each epoch."""

    def __init__(self):
        self.epoch = -1

    def __len__(self):
        return 30

    def __getitem__(self, row):
        rng = np.random.default_rng((self.epoch, row))
        return torch.from_numpy(rng.normal(size=4).astype(np.float32)), torch.zeros(1)

    def set_epoch(self, epoch):
        self.epoch = epoch


def trained_with_and_without_workers() -> None:
    """Train twice; run in a process of its own, as one that has used OpenMP must not be forked."""
    found = []
    for workers in (0, 1):
        module = network()
        train(module, squared, Noisy(), settings=TrainingSettings(epochs=2, batch_size=10, workers=workers))
        found.append(bits(module))
    assert found[0] == found[1]


@pytest.mark.slow
def test_data_sets_of_single_rows_that_other_processes_load():
    here = Path(__file__)
    code = f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as own; "
    code += "own.trained_with_and_without_workers()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_rows_of_an_epoch_can_be_chosen():
    seen = []

    def loss(module, batch):
        seen.append(batch[1].numel())
        return squared(module, batch)

    settings = TrainingSettings(epochs=2, batch_size=8)
    train(network(), loss, rows(), settings=settings, order=lambda rng: rng.choice(100, 20, replace=False))
    assert seen == [7, 7, 6] * 2
    seen.clear()
    # An epoch of 101 rows has no step with a single one.
    train(network(), loss, rows(101), settings=TrainingSettings(epochs=1, batch_size=20))
    assert sorted(seen) == [16, 17, 17, 17, 17, 17]


def test_half_precision_learns_too():
    plain, mixed = (fitted(precision=p, ema=None, epochs=20)[1] for p in ("32-true", "bf16-mixed"))
    assert mixed.tune_loss.min() < mixed.tune_loss[0]
    np.testing.assert_allclose(mixed.tune_loss.min(), plain.tune_loss.min(), rtol=0.1)
    assert not np.array_equal(mixed.tune_loss, plain.tune_loss)


def test_progress_ends_at_one():
    told = []
    train(
        network(),
        squared,
        rows(),
        rows(40, 1),
        TrainingSettings(epochs=3),
        progress=lambda *told_of: told.append(told_of),
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "epoch 1 of at most 3, loss" in told[0][1]


def test_a_loss_without_end_is_an_error():
    with pytest.raises(NotEstimableError, match=r"the training loss of epoch 1 is not finite.*learning rate"):
        train(network(), lambda m, b: squared(m, b) * torch.nan, rows(), settings=TrainingSettings(epochs=2))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 0}, "epochs = 0; expected an integer >= 1"),
        ({"batch_size": 2.5}, "batch_size = 2.5"),
        ({"optimizer": "lion"}, "sgd, rmsprop, adam, adamw"),
        ({"precision": "16"}, "bf16-mixed"),
        ({"learning_rate": 0.0}, "a number > 0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"ema": 1.0}, "ema = 1.0; expected a number > 0 and < 1"),
        ({"patience": 0}, "patience = 0"),
        ({"warmup": -0.1}, "warmup"),
    ],
)
def test_settings_out_of_range(changes, match):
    with pytest.raises(StudyFileError, match=match):
        TrainingSettings(**changes)


def test_data_that_cannot_be_used():
    with pytest.raises(DataError, match="different length"):
        MemoryRows(np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match="without rows"):
        train(network(), squared, MemoryRows(np.zeros((0, 4)), np.zeros((0, 1))))
    frozen = network().requires_grad_(False)
    with pytest.raises(DataError, match="no parameter to train"):
        train(frozen, squared, rows())


def test_without_torch_the_message_says_what_to_type():
    code = "import sys; sys.modules['torch'] = None\nimport aimed.fit.torch_training"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingExtraError: training a network needs the package torch" in done.stderr
    assert "run: pip install 'aimed[deep]'" in done.stderr


class Pictures(torch.nn.Module):
    """Two stages and a head, each with a name."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.second(self.first(x)).mean((2, 3)))


def picture_rows(n=40):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 1, 6, 6))
    return MemoryRows(x, x[:, 0, :3].mean((1, 2))[:, None])


def pictures(**changes):
    with seeded(0):
        module = Pictures()
    begin = {k: v.clone() for k, v in module.state_dict().items()}
    settings = TrainingSettings(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "weight_decay": 0.1} | changes)
    done = train(module, squared, picture_rows(), picture_rows(16), settings)
    return module, begin, done


def moved(module, begin, prefix):
    return max(
        float((value.float() - begin[name].float()).abs().max())
        for name, value in module.state_dict().items()
        if name.startswith(prefix)
    )


def test_frozen_layers_stay_as_they_are_and_learn_later():
    frozen = LayerGroup(prefix="first.", frozen_epochs=3)
    module, begin, _ = pictures(layers=[frozen])
    assert moved(module, begin, "first.") == 0.0, "weights and running statistics"
    assert moved(module, begin, "second.") > 0.0
    assert all(p.requires_grad for p in module.parameters())
    module, begin, _ = pictures(layers=[LayerGroup(prefix="first.", frozen_epochs=2)])
    assert moved(module, begin, "first.") > 0.0
    with pytest.raises(StudyFileError, match="every layer is frozen"):
        pictures(layers=[LayerGroup(prefix="", frozen_epochs=1)])
    with pytest.raises(StudyFileError, match="no parameter to train begins with 'third"):
        pictures(layers=[LayerGroup(prefix="third.")])


def test_layers_learn_at_their_own_rates():
    settings = {"optimizer": "sgd", "momentum": 0.0, "epochs": 1, "batch_size": 40, "weight_decay": 0.0}
    plain, begin, _ = pictures(**settings)
    layers = [LayerGroup(prefix="first", rate=0.5), LayerGroup(prefix="first.1.b", rate=2.0)]
    slow, _, _ = pictures(**settings, layers=layers)
    for name, factor in (("first.0.weight", 0.5), ("first.1.bias", 2.0), ("second.weight", 1.0), ("head.bias", 1.0)):
        steps = [m.state_dict()[name] - begin[name] for m in (slow, plain)]
        np.testing.assert_allclose(steps[0], factor * steps[1], rtol=1e-3, atol=1e-7)


def test_channels_last_learns_the_same_and_resumes_to_the_bit(tmp_path):
    changes = {"channels_last": True, "ema": 0.8, "layers": [LayerGroup(prefix="first.", frozen_epochs=1)]}
    whole, _, done = pictures(**changes)
    _, _, other = pictures(**{**changes, "channels_last": False})
    assert whole.second.weight.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(done.tune_loss, other.tune_loss, rtol=0.05)

    class StopError(Exception):
        pass

    for stop in (3, 8, 13):
        count = [0]

        def loss(module, batch, count=count, stop=stop):
            count[0] += module.training
            if count[0] > stop:
                raise StopError
            return squared(module, batch)

        folder = tmp_path / str(stop)
        with seeded(0):
            module = Pictures()
        settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "weight_decay": 0.1, **changes}
        kept = TrainingSettings(**settings, checkpoint=folder, checkpoint_seconds=0.0)
        with pytest.raises(StopError):
            train(module, loss, picture_rows(), picture_rows(16), kept)
        resumed, _, found = pictures(**changes, checkpoint=folder)
        assert found.resumed_at == stop
        assert bits(resumed) == bits(whole)


def test_other_measures_of_the_tune_part_are_kept(tmp_path):
    def tuned(module, batches):
        value = float(np.mean([squared(module, b).item() for b in batches]))
        return value, {"root": value**0.5}

    settings = TrainingSettings(epochs=3, checkpoint=tmp_path)
    first, again = (train(network(), squared, rows(), rows(40, 1), settings, tune_loss=tuned) for _ in range(2))
    np.testing.assert_allclose(first.measures["root"], np.sqrt(first.tune_loss), rtol=1e-12)
    assert again.resumed_at
    assert again.history == first.history
    assert set(first.history) == {"train_loss", "tune_loss", "root"}
