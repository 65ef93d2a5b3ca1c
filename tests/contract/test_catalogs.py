"""Every line of every catalogue leads to something, says what it is, and is in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimed.study.catalogs import CATALOGS, catalogs

ROOT = Path(__file__).resolve().parents[2]
LINES = [pytest.param(catalog, name, id=f"{title}-{name}") for title, catalog in CATALOGS.items() for name in catalog]


@pytest.mark.parametrize(("catalog", "name"), LINES)
def test_a_line_loads_and_says_what_it_is(catalog, name):
    assert catalog[name] is not None
    summary = catalog.entry(name).summary
    assert not summary[:1].islower()
    assert summary.endswith(".")
    assert len(summary) < 130


def test_every_entry_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "catalogues.md").read_text(encoding="utf-8")
    for title, entries in catalogs().items():
        assert f"## {title}" in page
        for name in entries:
            assert f"`{name}`" in page
