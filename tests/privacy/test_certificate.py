"""Recall certificate: counted by hand on small corpora, complete for eighteen classes, without a word of any note."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.privacy.certificate import recall_certificate
from aimed.privacy.classes import CLASS_NAMES
from aimed.privacy.planted import PlantedNote, planted_notes
from aimed.privacy.rules import find_by_rules

NOTES = [
    PlantedNote("Mr Ab Cd, tel 1234567, on 1/2/2020", ((3, 8, "name"), (14, 21, "telephone"), (26, 34, "date")), "t-1"),
    PlantedNote("MR EF GH IS WELL", ((3, 8, "name"),), "t-2"),
]


def found_by_place(text: str) -> list[tuple[int, int, str]]:
    if text.startswith("Mr"):
        # Half of the name, the number as a fax, and one word that is none.
        return [(3, 5, "name"), (10, 13, "date"), (14, 21, "fax")]
    return [(3, 8, "name")]


def test_counted_by_hand() -> None:
    c = recall_certificate(found_by_place, NOTES)
    by = {x.cls: x for x in c.classes}
    name, tel, date, fax = by["name"], by["telephone"], by["date"], by["fax"]
    assert (float(name.whole), name.whole.n, float(name.words), name.words.n) == (0.5, 2, 0.75, 4)
    assert name.missed == {"left in part, letters, in mixed case": 1}
    assert (float(tel.whole), float(tel.same_class)) == (1.0, 0.0)
    assert (float(date.whole), float(date.precision), date.precision.n) == (0.0, 0.0, 1)
    assert date.missed == {"left whole, digits, in mixed case": 1}
    assert fax.whole is None
    assert float(fax.precision) == 1.0
    assert (float(c.whole), c.whole.n) == (0.5, 4)
    assert (float(c.precision), c.precision.n) == (0.8, 5)
    assert c.notes == c.templates == 2
    assert c.seed is None


def test_intervals_hold_the_share_and_widen_with_clusters() -> None:
    apart = [PlantedNote("Ab 1", ((0, 2, "name"),), "t")] * 40
    together = [PlantedNote("Ab " * 10, tuple((3 * i, 3 * i + 2, "name") for i in range(10)), "t")] * 4
    nothing = lambda text: [(i, i + 2, "name") for i in range(0, len(text), 3)]  # noqa: E731
    a, b = recall_certificate(nothing, apart).whole, recall_certificate(nothing, together).whole
    assert a.n == b.n == 40
    assert float(a) == float(b) == 1.0
    assert b.lower < a.lower < 1.0


def test_every_class_is_measured_on_the_made_corpus() -> None:
    pytest.importorskip("faker", reason="needs the extra privacy")
    c = recall_certificate(find_by_rules, 128, seed=4)
    assert [x.cls for x in c.classes] == list(CLASS_NAMES)
    assert all(x.whole is not None and x.words is not None for x in c.classes)
    assert c.seed == 4
    again = recall_certificate(find_by_rules, 128, seed=4)
    assert c.hash == again.hash
    assert c.hash != recall_certificate(find_by_rules, 128, seed=5).hash


def test_the_page_says_what_it_is_and_holds_no_text() -> None:
    pytest.importorskip("faker", reason="needs the extra privacy")
    from aimed.privacy.planted import planted_notes

    notes = planted_notes(128, 6, "test")
    c = recall_certificate(lambda text: [], notes)
    page, data = c.to_markdown(), json.dumps(c.to_dict())
    assert "not on your notes" in page
    assert "not a guarantee" in page
    assert c.hash in page
    assert float(c.whole) == 0.0
    assert c.precision is None
    for out in (page, data, repr(c)):
        for n in notes:
            for a, b, cls in n.spans:
                if b - a > 7 and cls != "date":
                    assert n.text[a:b] not in out


def test_a_miss_never_reads_as_all() -> None:
    notes = [PlantedNote("Ab", ((0, 2, "name"),), "t")] * 5000
    seen = iter(range(5000))
    c = recall_certificate(lambda text: [] if next(seen) == 0 else [(0, 2, "name")], notes)
    assert "100.0 % [" not in c.to_markdown().split("whole: ")[1].split("\n")[0]


def test_all_found_reads_as_all() -> None:
    notes = [PlantedNote("Ab Cd Ef", ((0, 8, "name"),), "t")] * 229
    page = recall_certificate(lambda text: [(0, 8, "name")], notes).to_markdown()
    assert page.count("100.0 % [") == 6


def test_versions_and_progress() -> None:
    class Model:
        def to_bytes(self) -> bytes:
            return b"model"

    @dataclass
    class Found:
        start: int
        end: int
        cls: str

    class Finder:
        model = Model()
        threshold = 0.25

        def find(self, note: str) -> list[Found]:
            return [Found(3, 8, "name")]

    done: list[tuple[int, int]] = []
    c = recall_certificate(Finder(), NOTES, versions={"site": "a"}, progress=lambda i, n: done.append((i, n)))
    assert {"rules", "eponyms", "templates", "model", "threshold", "site"} <= set(c.versions)
    assert done == [(1, 2), (2, 2)]


def test_bad_requests_are_named() -> None:
    with pytest.raises(DataError, match="no identifier"):
        recall_certificate(find_by_rules, [PlantedNote("plain", (), "t")])
    with pytest.raises(DataError, match="class that does not exist"):
        recall_certificate(lambda text: [(0, 1, "person")], NOTES)


def test_names_on_no_list_are_told_of_on_their_own() -> None:
    def listed(note: str) -> list[tuple[int, int, str]]:
        return [(s, e, c) for s, e, c in known.get(note, [])]

    known = {n.text: list(n.spans) for n in planted_notes(40, 3, "test")}
    # A finder that knows the planted notes by heart finds everything in them, and nothing once the names are others.
    found = recall_certificate(listed, 40, seed=3)
    assert float(found.whole) == pytest.approx(1)
    assert found.unlisted is not None
    assert float(found.unlisted) < 0.5
    assert "on no list" in found.to_markdown()
    assert found.to_dict()["unlisted_names"]["n"] == found.unlisted.n
    again = recall_certificate(listed, 40, seed=3)
    assert again.hash == found.hash


def test_given_notes_have_no_other_names() -> None:
    notes = planted_notes(4, 3, "test")
    assert recall_certificate(lambda note: [(0, len(note), "name")], notes).unlisted is None


def test_a_class_in_one_note_only_has_no_interval_and_says_so() -> None:
    found = recall_certificate(found_by_place, NOTES)
    data = json.dumps(found.to_dict())
    assert "NaN" not in data
    assert found.to_dict()["classes"]["telephone"]["whole"]["lower"] is None
    assert "no interval: in one note only" in found.to_markdown()


def test_the_interval_across_templates_covers_where_misses_go_by_template() -> None:
    # A finder that is good at some templates and bad at others: notes of one template tell the same thing again.
    rng = np.random.default_rng(0)
    by_note = by_template = 0
    for _ in range(60):
        chance = rng.beta(4.5, 0.5, 25)
        notes = [PlantedNote("Ab", ((0, 2, "name"),), f"t{i % 25}") for i in range(250)]
        hit = iter(rng.random(250) < np.tile(chance, 10))
        c = recall_certificate(lambda text, hit=hit: [(0, 2, "name")] if next(hit) else [], notes)
        assert c.across is not None
        by_note += c.words.lower <= 0.9 <= c.words.upper
        by_template += c.across.lower <= 0.9 <= c.across.upper
    assert by_template >= 52
    assert by_note < by_template


def test_few_templates_say_nothing_about_others() -> None:
    c = recall_certificate(lambda text: [(0, 2, "name")], [PlantedNote("Ab", ((0, 2, "name"),), "t")] * 50)
    assert c.across is None
    assert "other templates like these" not in c.to_markdown()
