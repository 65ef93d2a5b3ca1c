"""Compiled loops: each file stands alone, every loop goes through one door, and the first compile is announced."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "src" / "aimed" / "metrics"
FILES = sorted(ROOM.parent.glob("*/kernels/*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_a_kernel_file_calls_no_kernel_of_another_file(path):
    """The disk cache of numba looks at one file: a loop that called into another would stay as it was compiled."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # Names of types are no loops.
    names = {
        n.module
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and not all(one.name.endswith("Array") for one in n.names)
    }
    assert not {n for n in names if n and n.startswith("aimed.") and n != "aimed.metrics.kernels.compiled"}


def test_numba_is_named_in_one_file():
    for path in ROOM.parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "compiled.py" and "numba" in text:
            tree = ast.parse(text)
            modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            modules |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            assert not any(m.split(".")[0] == "numba" for m in modules), path


def run(code: str, **more: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")} | more
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)


def test_the_first_compile_is_announced_once_and_a_later_process_is_silent(tmp_path):
    code = "import numpy as np\nfrom aimed.metrics import auroc\nprint(float(auroc([0, 1, 0, 1], [1, 2, 3, 4])))"
    first = run(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.stdout.strip() == "0.75"
    assert first.stderr.count("compiling statistical kernels") == 1
    second = run(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert (second.stdout.strip(), second.stderr) == ("0.75", "")


@pytest.mark.slow
def test_a_damaged_cache_is_compiled_anew(tmp_path):
    code = "from aimed.metrics import auroc\nprint(float(auroc([0, 1, 0, 1], [1, 2, 3, 4])))"
    run(code, NUMBA_CACHE_DIR=str(tmp_path))
    for path in tmp_path.rglob("*.nb*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout.strip() == "0.75"


def test_a_package_nobody_may_write_to_still_works(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    home = tmp_path / "home"
    shutil.copytree(ROOM.parent, tmp_path / "aimed", ignore=shutil.ignore_patterns("__pycache__"))
    home.mkdir()
    for path in [tmp_path, home, *(p for p in tmp_path.rglob("*") if p.is_dir())]:
        path.chmod(0o555)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom aimed.metrics import auroc\nprint(auroc([0, 1], [1, 2]))"  # noqa: E501
    assert "1.0" in run(code, HOME=str(home)).stdout
