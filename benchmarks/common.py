"""What the benchmarks share: timing of whole processes, memory, and a table of our work beside that of peers."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import venv
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Data = dict[str, Any]
Work = Callable[[Data], Any]

ENOUGH = 20.0
"""Seconds after which a work is not run again."""


def machine() -> str:
    """Say on what the figures were measured."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"


def time_process(command: Sequence[str], repeats: int) -> tuple[float, float, float]:
    """Run a command several times and return the lowest, median and highest seconds."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return min(seconds), statistics.median(seconds), max(seconds)


def peak_mb(children: bool = False) -> float:
    """Return the peak resident memory of this process, or of its largest child, in MB."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


# ----------------------------------------------------------------------------------------------- peers that need a home


class NotRunError(Exception):
    """A work cannot be done here; the message says why."""


_REFUSED: dict[str, str] = {}


def peer_python(requirement: str) -> str:
    """Return the Python of an environment that holds one peer alone, made on first use beside this file."""
    if requirement in _REFUSED:
        raise NotRunError(_REFUSED[requirement])
    home = Path(__file__).parent / ".peers" / requirement.partition("=")[0]
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", requirement], capture_output=True, text=True, check=False
        )
        if done.returncode:
            _REFUSED[requirement] = f"pip could not install {requirement}: {_last_line(done.stderr)}"
            raise NotRunError(_REFUSED[requirement])
        (home / "ready").touch()
    return str(python)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:200]


# ----------------------------------------------------------------------------------------------------------- the table


def unchanged(data: Data) -> Data:
    """Return the data as they are: the work starts from them."""
    return data


@dataclass(frozen=True)
class Side:
    """One library's way to do the work.

    Parameters
    ----------
    name : str
    work : callable
        What is timed.
    largest : int
        Most rows it is run on.
    full : int
        Most rows with `--full`, when that is more.
    prepare : callable
        What comes before and is not timed, such as the fit of a model that the work predicts with.
    scale : float
        What the time is multiplied by, where only a part of the work is done.
    home : str
        Requirement of an environment of its own, where it cannot live beside our dependencies.
    warm : int
        Rows of a first run that compiles and imports.
    """

    name: str
    work: Work
    largest: int = 10**9
    full: int = 0
    prepare: Callable[[Data], Data] = unchanged
    scale: float = 1.0
    home: str = ""
    warm: int = 1_000


@dataclass(frozen=True)
class Row:
    """One work, the numbers of rows it is done on, and who does it.

    Parameters
    ----------
    title : str
    data : callable
        From the number of rows to the data.
    ours : Side
    sizes : tuple of int
    peers : tuple of Side
    goal : str
    unit : {"s", "ms", "MB"}
        Of the figure; for MB it is what the work returns.
    per : int
        How often the work does what the figure is for, such as rows explained.
    counted : str
        Entry of the data that says how many things the work deals with, such as reports: their rate is shown as well.
    """

    title: str
    data: Callable[[int], Data]
    ours: Side
    sizes: tuple[int, ...]
    peers: tuple[Side, ...]
    goal: str
    unit: str = "s"
    per: int = 1
    counted: str = ""


def status(key: str) -> float:
    """Return a line of what the system says of this process, in MB."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def _one(row: Row, side: Side, n: int, repeats: int) -> dict[str, float]:
    """Measure one side on one size in this process."""
    warnings.simplefilter("ignore")
    side.work(side.prepare(row.data(min(n, side.warm))))
    given = row.data(n)
    size = sum(getattr(v, "nbytes", 0) for v in given.values()) / 2**20
    data = side.prepare(given)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = status("VmRSS")
    cpu, wall, found = [], [], None
    for _ in range(repeats):
        began, clock = time.process_time(), time.perf_counter()
        found = side.work(data)
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - clock)
        if sum(wall) > ENOUGH:
            break
    memory = {"extra_mb": status("VmHWM") - before, "input_mb": size}
    if row.unit == "MB":
        return {"figure": float(found) * side.scale, **memory}
    scale = side.scale / row.per * (1e3 if row.unit == "ms" else 1.0)
    if row.counted:
        memory["rate"] = data[row.counted] / (statistics.median(cpu) * side.scale)
    return {"figure": statistics.median(cpu) * scale, "wall": statistics.median(wall) * scale, **memory}


def _child(script: str, place: tuple[int, int], side: Side, n: int, repeats: int) -> dict[str, float]:
    """Measure in a process of its own, so that memory and caches are nobody else's."""
    python = peer_python(side.home) if side.home else sys.executable
    command = [python, script, "--one", *map(str, (*place, n, repeats))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads, check=False)
    if done.returncode:
        reason = _last_line(done.stderr) if done.returncode > 0 else f"killed by signal {-done.returncode}"
        raise NotRunError(f"{side.name} on {n:,} rows: {reason}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _figure(row: Row, found: dict[str, float]) -> str:
    figure = f"{_number(found['figure'])} {row.unit}"
    return f"{figure}, {float(format(found['rate'], '.3g')):,.0f} {row.counted}/s" if row.counted else figure


class _Growth:
    """The exponent of each side's growth from one size to the next."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}

    def step(self, name: str, n: int, figure: float) -> str:
        """Return the exponent since the size before, or nothing."""
        before, self._last[name] = self._last.get(name), (n, figure)
        if before is None or min(figure, before[1]) <= 0:
            return ""
        return f"n^{math.log(figure / before[1]) / math.log(n / before[0]):.2f}"


def _lines(script: str, index: int, row: Row, sizes: Sequence[int], asked: argparse.Namespace) -> list[str]:
    """Print the lines of one row as they come; return why peers are missing."""
    growth, missing = _Growth(), []
    for n in sizes:
        mine = _child(script, (index, 0), row.ours, n, asked.repeats)
        left = [row.title, f"{n:,}", _figure(row, mine), _number(mine.get("wall"))]
        left += [growth.step("", n, mine["figure"]), f"{mine['extra_mb']:.0f} / {mine['input_mb']:.0f}"]
        shown = False
        for k, side in enumerate(row.peers, 1):
            if n > (max(side.full, side.largest) if asked.full else side.largest):
                continue
            try:
                found = _child(script, (index, k), side, n, min(asked.repeats, 3))
            except NotRunError as error:
                missing.append(str(error))
                continue
            name = side.name + (f" (x {side.scale:g})" if side.scale != 1 else "")
            wall = f"{found['wall'] / mine['wall']:.3g}x" if mine.get("wall") else ""
            right = [name, _figure(row, found), _number(found.get("wall"))]
            right += [growth.step(name, n, found["figure"]), f"{found['extra_mb']:.0f}"]
            right += [f"{found['figure'] / mine['figure']:.3g}x", wall]
            print("| " + " | ".join([*left, *right, row.goal]) + " |", flush=True)
            shown = True
        if not shown:
            print("| " + " | ".join([*left, *[""] * 7, row.goal]) + " |", flush=True)
    return missing


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return the options that all tables have."""
    options = argparse.ArgumentParser(description=text)
    options.add_argument("--one", nargs=4, type=int, help=argparse.SUPPRESS)
    options.add_argument("--repeats", type=int, default=5, help="runs of a work, of which the median counts")
    options.add_argument("--only", default="", help="rows whose title holds this")
    options.add_argument("--quick", action="store_true", help="the smaller sizes, 2 runs each")
    options.add_argument("--full", action="store_true", help="peers on sizes that take them minutes to hours")
    return options


def table(script: str, title: str, rows: Sequence[Row], asked: argparse.Namespace) -> None:
    """Print the table of all rows asked for, or measure one cell when this process is a child."""
    if asked.one:
        index, side, n, repeats = asked.one
        row = rows[index]
        print(json.dumps(_one(row, (row.ours, *row.peers)[side], n, repeats)))
        return
    if asked.quick:
        asked.repeats = min(asked.repeats, 2)
    chosen = [(index, row) for index, row in enumerate(rows) if asked.only.lower() in row.title.lower()]
    if not chosen:
        return
    runs = f"medians of {asked.repeats} runs, of fewer after {ENOUGH:.0f} s"
    print(f"\n# {title} ({machine()}; one thread; processor seconds, {runs})\n")
    head = "work | rows | aimed | wall | growth | memory above data / data (MB) | peer | its figure | wall | growth"
    print(f"| {head} | memory (MB) | ratio | of wall | goal |\n" + "|---" * 14 + "|")
    missing: list[str] = []
    for index, row in chosen:
        sizes = [n for n in row.sizes if n <= 10_000] or [min(row.sizes)] if asked.quick else row.sizes
        missing += _lines(script, index, row, sizes, asked)
    for reason in dict.fromkeys(missing):
        print(f"\nNot run: {reason}")
