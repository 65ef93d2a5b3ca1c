"""What the docs say is executed: code blocks run, study files are valid, links lead somewhere, references are fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from aimed.cli.app import app
from aimed.study.spec import read_spec

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list:
    found = []
    for page in PAGES:
        for i, code in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
            found.append(pytest.param(code, id=f"{page.name}-{i}"))
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code, tmp_path):
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("code", blocks("toml"))
def test_study_files_are_valid(code):
    spec = read_spec(code)
    from aimed.study.run import Study

    Study(spec)


def test_the_readme_study_runs(tmp_path):
    pytest.importorskip("sksurv")
    code = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert len(code.strip().splitlines()) == 12
    fast = code + "tune.trials = 1\nevaluate.draws = 50\nexplain = { repeats = 2, effects = 1 }\n"
    fast = fast.replace("evaluate.accept", "evaluate.accept")
    (tmp_path / "heart.toml").write_text(fast)
    done = subprocess.run(
        [sys.executable, "-m", "aimed.cli", "run", "heart.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert (tmp_path / "runs" / "heart-attack" / "report.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_commands_in_the_docs_exist():
    verbs = {c.name or c.callback.__name__ for c in app.registered_commands}
    for page in PAGES:
        for verb in re.findall(r"^aimed (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert verb in verbs, f"{page.name}: {verb}"


def test_reference_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_module_opens_with_a_sentence_of_its_own():
    import ast

    seen: dict[str, Path] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert doc, f"{path} has no docstring"
        first = doc.splitlines()[0]
        assert first.endswith((".", "?", "!")), f"{path}: {first}"
        assert first not in seen, f"{path} and {seen.get(first)} say the same"
        seen[first] = path


def test_every_public_function_of_the_package_has_a_docstring_and_is_named():
    import aimed

    for name in aimed.__all__:
        thing = getattr(aimed, name)
        assert thing is not None
        assert (getattr(thing, "__doc__", None) or "").strip(), name
