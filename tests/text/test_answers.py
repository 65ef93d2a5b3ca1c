"""Questions put to made-up reports: right answers by kind, honest probabilities, bad input and hostile text."""

from __future__ import annotations

import importlib.util
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aimed.core.errors import DataError
from aimed.metrics.proportions import wilson
from aimed.text import answer_certainty
from aimed.text.answers import extract, extract_many
from aimed.text.questions import read_question

_spec = importlib.util.spec_from_file_location("answer_suite", Path(__file__).with_name("answer_suite.py"))
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)


@pytest.fixture(scope="module")
def judged():
    """Every pair of each part with its answer and whether that is right."""
    out = {}
    for part in ("a", "b", "dev", "c", "d1", "d2", "d3"):
        rows = []
        for pair in suite.fresh(part) if part in ("d1", "d2", "d3") else suite.make(seed=1, times=2, half=part):
            answer = extract(pair.report, pair.question)
            rows.append((pair, answer, suite.right(pair, answer)))
        out[part] = rows
    return out


def test_right_answers_by_kind_with_intervals(judged):
    rows = [row for part in ("a", "b") for row in judged[part]]
    assert len({(p.report, p.question) for p, _, _ in rows}) >= 150
    table = {}
    for pair, _, good in rows:
        n, k = table.get(pair.kind, (0, 0))
        table[pair.kind] = (n + 1, k + good)
    for kind, (n, k) in sorted(table.items()):
        low, high = wilson(k, n)
        print(f"{kind:18s} {k}/{n} = {k / n:.3f} ({low:.3f} to {high:.3f})")
        assert low >= 0.60, kind
    n, k = map(sum, zip(*table.values(), strict=True))
    assert wilson(k, n)[0] >= 0.95


def test_harder_reports_and_later_rows_that_rules_were_mended_on(judged):
    for part in ("c", "d1"):
        good = [right for _, _, right in judged[part]]
        low, high = wilson(sum(good), len(good))
        print(f"part {part} {sum(good)}/{len(good)} ({low:.3f} to {high:.3f})")
        assert low >= 0.85


def test_reports_that_no_rule_was_mended_on(judged):
    good = [right for _, _, right in judged["d2"]]
    low, high = wilson(sum(good), len(good))
    print(f"part d2 {sum(good)}/{len(good)} ({low:.3f} to {high:.3f})")
    assert low >= 0.75


def test_what_is_said_lies_within_the_interval_of_what_is_right_on_reports_that_were_never_fitted(judged):
    p = np.array([answer.confidence for _, answer, _ in judged["d2"]])
    y = np.array([right for _, _, right in judged["d2"]], dtype=float)
    low, high = wilson(int(y.sum()), len(y))
    print(f"part d2: said {p.mean():.3f}, right {y.mean():.3f} ({low:.3f} to {high:.3f}) of {len(y)}")
    assert low < p.mean() < high
    gap = 0.0
    for least, most in pairwise([0, 0.7, 0.8, 0.85, 0.9, 1.01]):
        inside = (p >= least) & (p < most)
        if inside.any():
            print(f"  said {p[inside].mean():.3f} right {y[inside].mean():.3f} of {inside.sum()}")
            gap += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    print(f"  expected calibration error {gap:.3f}, Brier {np.mean((p - y) ** 2):.3f}")
    assert gap < 0.1
    # Hardly better than the same probability for all: the notes of `extract` say that it cannot rank.
    assert abs(np.mean((p - y) ** 2) - y.mean() * (1 - y.mean())) < 0.02


def test_what_is_said_by_fits_that_did_not_see_a_row():
    x, y = suite.design(suite.calibration())
    p = suite.cross_fitted(x, y, times=3)
    low, high = wilson(int(y.sum()), len(y))
    assert low < p.mean() < high
    assert np.mean((p - y) ** 2) < y.mean() * (1 - y.mean()) + 0.005


def test_the_stored_coefficients_are_what_the_suite_gives():
    x, y = suite.design(suite.calibration())
    model = suite.fit(x, y)
    # The coefficients are stored to four places.
    np.testing.assert_allclose(answer_certainty._stored(), np.r_[model.intercept_, model.coef_[0]], atol=0.02)


def test_that_a_report_does_not_say_is_mostly_right(judged):
    rows = [row for part in ("d2", "d3") for row in judged[part]]
    assert np.mean([pair.gold is None for pair, _, _ in rows]) > 0.25
    said = [pair.gold is None for pair, answer, _ in rows if not answer.stated]
    found = [not answer.stated for pair, answer, _ in rows if pair.gold is None]
    print(f"not stated: precision {np.mean(said):.3f} of {len(said)}, recall {np.mean(found):.3f} of {len(found)}")
    assert wilson(sum(said), len(said))[0] > 0.7
    assert wilson(sum(found), len(found))[0] > 0.7


def test_places_are_places_of_the_report(judged):
    for part in judged.values():
        for pair, answer, _ in part:
            if answer.stated:
                assert pair.report[answer.start : answer.end] == answer.text
                assert 0.5 <= answer.confidence <= 1
            else:
                assert (answer.start, answer.end, str(answer)) == (-1, -1, "not stated")
                assert answer.reason


@pytest.mark.parametrize(
    ("wording", "kind", "target"),
    [
        ("How old is the patient?", "age", ""),
        ("AGE", "age", ""),
        ("male or female?", "sex", ""),
        ("What's the LVEF", "ejection_fraction", ""),
        ("How big is the largest nodule in mm?", "size", "lung nodule"),
        ("How large is the aortic aneurysm?", "size", "aortic aneurysm"),
        ("How far above the carina is the ETT?", "device_position", "endotracheal tube"),
        ("Does the PICC tip lie in the SVC?", "device_position", "central line"),
        ("Is the effusion on the left or the right?", "laterality", "effusion"),
        ("Degree of pulmonary edema", "severity", "pulmonary edema"),
        ("Is there any evidence of pneumothorax?", "presence", "pneumothorax"),
        ("cardiomegaly", "presence", "cardiomegaly"),
        ("When was the prior study?", "date", "comparison"),
        ("What is the impression?", "summary", "impression"),
        ("What does the X-ray show?", "summary", "impression"),
        ("Summarize the report", "summary", "impression"),
        ("What are the findings?", "summary", "findings"),
        ("How old was she?", "age", ""),
        ("pericardial effusion", "presence", "pericardial effusion"),
        ("Where is the line?", "device_position", "line"),
        ("Does the patient have any complaints?", "free", ""),
    ],
)
def test_wordings(wording, kind, target):
    question = read_question(wording)
    assert (question.kind, question.target) == (kind, target)


def test_values_are_normalised():
    assert extract("LVEF is 0.55.", "EF").value == 55.0
    assert extract("EF 55-60%.", "EF").value == (55.0, 60.0)
    assert extract("EF less than 20%.", "EF").value == (None, 20.0)
    assert extract("A 1.2 x 0.9 cm nodule in the right lung.", "nodule size").value == 12.0
    assert extract("ETT tip 4.2 cm above the carina.", "ETT position").value == 42.0
    assert (extract("A 6-week-old girl.", "age").value, extract("A 6-week-old girl.", "age").unit) == (6.0, "weeks")
    found = extract("Nodule 4 mm. Aorta 3.2 cm. Gradient 20 mmHg.", "measurements")
    assert [part.text for part in found.parts] == ["4 mm", "3.2 cm", "20 mmHg"]
    assert found.text == "3.2 cm"


def test_presence_has_a_verdict_and_its_words():
    yes, no, maybe = extract_many(
        ["Small left pneumothorax.", "No evidence of pneumothorax.", "Possible pneumothorax."],
        "Is there a pneumothorax?",
    )
    assert (yes.value, no.value, maybe.value) == ("yes", "no", "uncertain")
    assert "no" in no.text.lower()
    assert "pneumothorax" in no.text
    assert extract("Clear lungs.", "Is there a pneumothorax?").reason == "not_found"
    # Not in the lexicon of chest radiographs.
    assert extract("No kidney stone.", "Is there a kidney stone?").value == "no"


@pytest.mark.parametrize(
    ("report", "question", "want"),
    [
        ("A man in his late seventies.", "age", "seventies"),
        ("The pacemaker is 8 years old.", "age", "not stated"),
        ("61 F, cough.", "age", "61"),
        ("Temperature 99 F, cough.", "age", "not stated"),
        ("EF estimated at thirty-five percent.", "EF", "thirty-five percent"),
        ("An ICD is indicated if the EF is below 35%.", "EF", "not stated"),
        ("The ETT was withdrawn 2 cm and now ends 4 cm above the carina.", "ETT position", "4 cm above the carina"),
        ("Consider placing the ETT 4 cm above the carina.", "ETT position", "not stated"),
        ("NG tube courses below the diaphragm, tip in the stomach.", "NG tube position", "in the stomach"),
        ("Severe aortic stenosis.", "How severe is the mitral stenosis?", "not stated"),
        ("4 cm mass in the RUL, left renal cyst.", "Which side is the mass on?", "RUL"),
        ("INDICATION: Cough FINDINGS: Clear IMPRESSION: Normal.", "What does the X-ray show?", "Normal."),
        ("INDICATION: Cough. TECHNIQUE: Two views of the chest.", "What does the X-ray show?", "not stated"),
    ],
)
def test_forms_of_notes(report, question, want):
    assert str(extract(report, question)) == want


def test_a_normal_wider_silhouette_leaves_no_large_heart():
    normal = extract("The cardiomediastinal silhouette is normal.", "Is there cardiomegaly?")
    assert normal.value == "no"
    assert not extract("The mediastinum is normal.", "Is there cardiomegaly?").stated


def test_both_sides_named_one_by_one_are_bilateral():
    report = (
        "Moderate left effusion and small right effusion. IMPRESSION: Bilateral effusions, left greater than right."
    )
    assert extract(report, "Which side is the effusion on?").value == "bilateral"


def test_reasons():
    assert extract("XXXX-year-old male.", "age").reason == "withheld"
    assert extract("The endotracheal tube has been removed.", "Where is the ETT?").reason == "removed"
    assert extract("", "age").reason == "empty"
    assert extract(None, "age").reason == "empty"
    assert (
        extract("Le patient ne présente pas de pneumothorax ni d'épanchement pleural.", "age").reason == "not_english"
    )


def test_bad_reports_give_an_answer_and_never_an_error():
    html = "<html><body><p>The patient is a 45-year-old man.</p></body></html>"
    assert str(extract(html, "age")) == "45"
    assert str(extract(b"A 45-year-old\x00 man.", "age")) == "45"
    assert str(extract("A 45-YEAR-OLD MAN WITH COUGH", "age")) == "45"
    assert str(extract("the patient is 45 years old and has an ef of 30%", "EF")) == "30%"
    for report in ("\x00" * 50, "FINDINGS: IMPRESSION:", "\ufeff", "…", "İstanbul 45-year-old man", b"\xff\xfe"):
        for question in ("age", "EF", "Is there a mass?", "What does the CT show?"):
            extract(report, question)


def test_bad_questions_are_named():
    with pytest.raises(DataError, match="empty question"):
        extract("Clear.", " ?")
    with pytest.raises(DataError, match="at most 1000"):
        extract("Clear.", "why " * 500)
    with pytest.raises(DataError, match="a list of reports"):
        extract_many("Clear.", "age")
    assert extract_many([], "age") == []


def test_nothing_of_a_report_is_shown():
    secret = "Zyxwvut"
    answer = extract(f"IMPRESSION: {secret} sign. The patient is a 45-year-old man.", "What is the impression?")
    assert secret in str(answer)
    assert secret not in repr(answer)
    assert "45" not in repr(extract("A 45-year-old man.", "age")).replace("0.45", "")


ALL_KINDS = [
    "age", "sex", "measurements", "nodule size", "EF", "ETT position", "Which side is the effusion on?",
    "severity of the edema", "Is there a kidney stone?", "When was the prior study?", "comparison",
    "What does the echo show?", "Why was the echo done?", "Where is the mass?", "How many ribs are broken?",
]  # fmt: skip


@pytest.mark.parametrize(
    "unit",
    [
        "9",
        "1 x ",
        "1.",
        "5 mm nodule ",
        "45-year-old ",
        "year old ",
        "EF is ",
        "ett tip in the right left mid upper ",
        "left effusion ",
        "mild edema, ",
        "compared to ",
        "findings:",
        "x",
        "_",
        "echo echo. ",
        ".",
        "\n",
        " ",
        "(",
        "-",
        "her mother ",
    ],
)
def test_hostile_text_takes_time_in_proportion(unit):
    short, long = (unit * 30_000)[:6_000], (unit * 30_000)[:48_000]
    extract("warm up. no kidney stone", "Is there a kidney stone?")
    for question in ALL_KINDS:
        begin = time.process_time()
        extract(short, question)
        middle = time.process_time()
        extract(long, question)
        once, eight = middle - begin, time.process_time() - middle
        # Quadratic time would be 64 times as long.
        assert eight < 24 * once + 0.25, question


@pytest.mark.slow
def test_a_report_of_ten_megabytes():
    report = "The heart is normal. No effusion is seen. " * 250_000 + "The patient is a 45-year-old man."
    begin = time.process_time()
    assert str(extract(report, "age")) == "45"
    assert time.process_time() - begin < 60


def test_many_answers_are_the_same_as_one_by_one():
    pairs = suite.make(seed=2, times=1, half="a")[:60]
    seen = []
    for question in ("age", "Is there a pneumonia?"):
        many = extract_many(
            [p.report for p in pairs], question, progress=lambda share, text: seen.append((share, text))
        )
        assert many == [extract(p.report, question) for p in pairs]
    assert seen[-1] == (1.0, "60 of 60 reports")
