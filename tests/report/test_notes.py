"""The page of a study of notes: labels by finding, words of errors marked and escaped, and nothing said of pictures."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path

import pytest

from aimed.report import page
from aimed.report.sections import SECTIONS, notes


def _loaded(name):
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample, sample_notes = _loaded("sample"), _loaded("sample_notes")


@pytest.fixture(scope="module")
def made():
    return {coding: sample_notes.notes(sample.multilabel(), coding) for coding in ("chexpert", "certain")}


@pytest.fixture(params=["chexpert", "certain"])
def results(request, made):
    return copy.deepcopy(made[request.param])


@pytest.fixture(scope="module")
def html(made):
    return page.render(made["chexpert"])


def _section(html, name):
    return re.search(rf'<section id="{name}".*?</section>', html, re.S).group(0)


def _words(html):
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.S)).split())


def _browse(found):
    return [b for fold in notes.browser(found) if fold.type == "fold" for b in fold.blocks]


def test_nothing_is_said_of_pictures(html):
    said = _words(html)
    for section in ("verdict", "data", "outcome", "performance", "robustness", "explanation", "failures"):
        assert not re.search(r"\b[Pp]ictures?\b|\blungs\b", _words(_section(html, section))), section
    assert "Test notes" in said
    assert "train: 1 120 notes, 610 with a finding" in said.replace("\u202f", " ")


def test_a_note_comes_out_as_text(html):
    assert html.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>enlarged" not in html
    assert "\u202e" not in html
    assert "\x00" not in html


def test_marks_have_sign_word_and_the_trigger_underlined(html):
    failures = _section(html, "failures")
    marks = re.findall(
        r'<mark class="([a-z ]+)"><span class="sign" aria-hidden="true">(.)</span>(.*?)</mark>', failures
    )
    negative = next(m for m in marks if "pleural effusion" in m[2])
    assert negative[:2] == ("negative", "−")
    assert re.sub(r"<[^>]+>", "", negative[2]).replace("&nbsp;", " ").split()[-2:] == ["negative", "2"]
    assert "<u>No</u>" in failures
    assert any(m[0] == "positive aside" and "positive, history" in m[2] for m in marks)
    assert "rule “negation before: no”" in failures
    assert "12 mm" in failures
    assert "not marked, as it overlaps another mark" in failures
    for word in ("positive", "negative", "uncertain"):
        assert f'<mark class="{word}">' in failures


def test_marks_lie_where_the_evidence_says(results):
    case = results["explanation"]["error_browser"]["findings"]
    passage = next(b for b in _browse(results) if b.type == "passage")
    marked = {p.word: "".join(t for t, _ in p.runs) for p in passage.pieces if p.kind}
    text = sample_notes.HOSTILE
    first = next(iter(case.values()))["false_alarm"][0]["spans"][0]
    assert marked["negative"] == text[first["start"] : first["end"]]
    whole = "".join(t for p in passage.pieces for t, _ in p.runs)
    assert len(whole) == len(text)
    assert whole.replace("\ufffd", "") == text.replace("\u202e", "").replace("\x00", "")


@pytest.mark.parametrize("ends", [(-1, 4), (5, 5), (3, 10**9), (None, 4), ("1", "4"), (9, 2)])
def test_a_place_outside_the_note_is_not_marked(ends):
    case = {"case": 1, "spans": [{"start": ends[0], "end": ends[1], "assertion": "positive"}]}
    passage = notes._passage(case, "No effusion.", False)
    assert [p.kind for p in passage.pieces] == [""]
    assert passage.marks == []


def test_a_long_note_is_cut_around_its_mark_and_says_so():
    text = "a" * 50_000 + " effusion " + "b" * 50_000
    start = text.index("effusion")
    case = {"case": 1, "spans": [{"start": start, "end": start + 8, "assertion": "positive", "decided": True}]}
    passage = notes._passage(case, text, False)
    shown = "".join(t for p in passage.pieces for t, _ in p.runs)
    assert len(shown) == notes.LONGEST
    assert [t for p in passage.pieces if p.kind for t, _ in p.runs] == ["effusion"]
    assert f"{len(text) - notes.LONGEST:,}".replace(",", "\u202f") in passage.cut


def test_notes_beyond_what_a_page_may_hold_are_counted(results, monkeypatch):
    block = results["explanation"]["error_browser"]
    key = next(iter(block["findings"]))
    cases = [{"case": k, "risk": 0.9, "threshold": 0.5, "lexicon": "positive", "spans": []} for k in range(1, 9)]
    block["findings"][key]["false_alarm"] = cases
    block["notes"] = {str(k): "<" * 1000 for k in range(1, 9)}
    monkeypatch.setattr(notes, "BUDGET", 3 * 4000 + 1)
    said = _browse(results)
    assert sum(b.type == "passage" for b in said) == 3
    assert said[-1].text == "5 more notes are left out to keep this page small."


def test_notes_that_may_name_people_are_not_on_the_page(results):
    block = results["explanation"]["error_browser"]
    block["text"] = False
    block["notes"] = {}
    for one in block["findings"].values():
        for case in one["false_alarm"]:
            case.pop("spans")
    results["data"]["notes"]["identifiers"] = "possible"
    results["explanation"]["words"] = {"shown": False, "findings": {}, "note": "Words are not shown."}
    blocks = notes.browser(results)
    assert "heart is" not in repr(blocks)
    assert {b.type for b in _browse(results)} == {"heading", "table"}
    assert any("[report] note_text asks for them" in getattr(b, "text", "") for b in blocks)
    assert "the page holds no patient rows" in page._foot(results)
    assert notes.weighing(results) == "The words that the model weighs are not shown."


def test_the_foot_says_that_notes_are_on_the_page(html):
    assert "the page holds notes of patients: handle it as such" in html


def test_labels_stand_by_finding_beside_the_baselines(results):
    blocks = notes.labelled(results)
    figure = next(b for b in blocks if b.type == "figure" and b.alt.startswith("F1 by finding."))
    for words in (
        "All in one pool",
        "Mean over findings",
        "Keywords without assertion",
        "Lexicon with assertion rules",
    ):
        assert words in figure.svg
    table = next(b for b in blocks if b.type == "table" and "Precision" in b.columns)
    assert list(table.columns) == ["Finding", "Notes", "Positive", "Precision", "Recall", "F1", "Kappa"]
    assert len(table.rows) == len(results["performance"]["findings"])
    key = next(iter(results["performance"]["findings"]))
    value = results["performance"]["measures"][f"f1@{key}"]["value"]
    assert f"{value:.3f} (" in table.cells()[0][5].text


def test_mention_negation_and_uncertainty_only_where_the_standard_knows_them(results):
    heads = [b.text for b in notes.labelled(results) if b.type == "heading"]
    known = results["report_labels"]["gold_coding"] == "chexpert"
    assert ("Mention, negation and uncertainty" in heads) is known


def test_confusion_has_counts_and_shares_of_the_reference(results):
    table = notes._confusion(results)[1]
    gold = results["report_labels"]["confusion"]
    assert len(table.rows) == len(gold)
    share = 100 * gold[0][0] / sum(gold[0])
    assert table.cells()[0][1].text == f"{gold[0][0]} ({share:.1f}%)"
    assert table.cells()[0][-1].text == str(sum(gold[0]))


def test_empty_columns_of_the_confusion_are_left_out(results):
    for row in results["report_labels"]["confusion"]:
        row[2:] = [0, 0]
    found = notes._confusion(results)[1]
    assert list(found.columns)[1:3] == ["Said present", "Said absent"]
    assert len(found.columns) == 4


def test_openings_follow_the_numbers(results):
    lead = notes.lead(results)
    found = results["performance"]["measures"]
    assert f"{100 * found['micro_recall']['value']:.1f}% of the stated findings" in lead
    assert "F1 is lowest for" in lead
    assert "missed" in notes.failing(results)
    assert '"effusion" (3.1' in notes.weighing(results)
    results["explanation"]["words"] = None
    assert "decides by phrases" in notes.weighing(results)
    results["report_labels"]["errors"] = {"missed": {"all": {"positive": 0}}, "false_alarms": {"all": {"positive": 0}}}
    assert notes.failing(results) == "On the test part no finding was missed and none called wrongly."


def test_changes_cost_the_measure_of_the_run(results):
    results["conformal"] = results["case_uncertainty"] = None
    section = SECTIONS["robustness"](results)
    assert section.lead.startswith("1 of 2 changes of the notes is shown to cost F1")
    figure = next(b for b in section.blocks if b.type == "figure" and "Micro F1" in b.caption)
    assert figure.title.endswith("typing errors, in 10 % of words (−0.07)")
    fold = next(b for b in section.blocks if b.type == "fold")
    table = fold.blocks[0]
    assert "Labels that change" in table.columns
    assert "3.1%" in [c.text for c in table.cells()[0]]
    assert not any("AUROC, changed" in c for c in table.columns)


def test_data_say_lexicon_coding_and_refused_notes(results):
    heading, facts, refused, flags = notes.files(results)
    said = dict(facts.pairs)
    assert heading.text == "The notes"
    assert said["Lexicon"] == "chest-xray 1.0.0, as shipped"
    assert said["Notes refused"] == "10"
    assert said["Characters a note, median"].startswith("267 (")
    assert said["Coding of the labels"].lower().startswith(results["data"]["notes"]["coding"])
    assert [c.text for c in refused.cells()[0]] == ["EMPTY", "The note is empty.", "9"]
    assert [c.text for c in flags.cells()[0]] == ["HTML markup", "4"]


@pytest.mark.parametrize("gone", ["agreement", "errors", "unseen", "targets", "confusion", "titles"])
def test_any_part_of_the_labels_may_be_absent(results, gone):
    results = copy.deepcopy(results)
    results["report_labels"][gone] = None
    blocks = [*notes.labelled(results), *notes.browser(results)]
    assert blocks
    assert notes.failing(results)


def test_the_page_says_which_doubt_counts_as_present(results):
    def row(found):
        facts = next(b for b in notes.files(found) if b.type == "facts")
        return re.search(r"Doubt that counts as present', '([^']*)'", repr(facts))

    assert row(results) is None
    results["data"]["notes"]["lexicon"]["doubt_as_present"] = ["likely", "alternative"]
    assert row(results)[1] == "likely, alternative"
    results["data"]["notes"]["lexicon"]["doubt_as_present"] = []
    assert row(results)[1] == "none"


@pytest.mark.parametrize(("floor", "said"), [(-0.1, True), (0.1, False)])
def test_a_gain_that_calling_everything_has_too_is_no_sign_of_reading(results, floor, said):
    from aimed.report.sections import performance

    gap = {"name": "micro_f1", "value": 0.2, "lower": 0.1, "upper": 0.3, "n": 60, "events": 20, "level": 0.95}
    results["performance"]["differences"] = {
        "prevalence": {"micro_f1": {**gap, "lower": floor}},
        "lexicon": {"micro_f1": gap},
    }
    text = repr(performance.several(results)[1])
    assert ("this is no sign of reading" in text) is said
