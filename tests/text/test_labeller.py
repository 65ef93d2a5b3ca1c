import csv
import importlib.util
import math
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimed.core.errors import DataError, UnknownNameError
from aimed.text.labeller import ReportLabeller, label

SMALL = """
name = "small"
version = "1"
language = "small_language"
[targets.all]
"A" = ["aa"]
"B" = ["bb"]
"H" = ["heart"]
[concepts.aa]
phrases = ["alpha", "alpha beta", "omega*"]
not = ["alpha gamma"]
[concepts.bb]
phrases = ["beta", "delta beta"]
without = ["kappa"]
[concepts.heart]
phrases = ["large heart beat"]
anatomy = ["heart"]
abnormal = ["large", "top fine"]
normal = ["fine", "not large", "fine fine"]
reach = 3
"""
SMALL_LANGUAGE = """
name = "small_language"
version = "1"
[assertions.negation]
value = "negative"
reach = 3
reach_after = 2
before = ["no", "not", "no sure", "absent"]
after = ["absent", "not seen"]
pseudo = ["no change"]
[assertions.uncertainty]
value = "uncertain"
reach = 3
reach_after = 2
before = ["maybe", "possible", "cannot exclude"]
after = ["possible", "not excluded"]
first = ["cannot exclude", "not excluded"]
[assertions.alternative]
value = "uncertain"
both_ways = true
reach = 1
reach_after = 1
before = ["versus", "or"]
after = ["versus"]
[assertions.history]
context = "history"
reach = 2
before = ["old"]
[assertions.resolved]
context = "resolved"
reach_after = 3
after = ["gone"]
[assertions.hypothetical]
context = "hypothetical"
before = ["if"]
reach = 2
[assertions.family]
context = "family"
before = ["mother"]
reach = 2
[scope]
terminators = ["but", "not only"]
conjunctions = ["and", "or"]
alternatives = ["or"]
openers = ["mild"]
"""
PLAIN = (
    "alpha beta gamma omegax delta kappa heart large fine top no not sure absent seen change maybe possible cannot "
    "exclude excluded versus or and but only old gone if mother mild zz yy"
)
WORDS = [*PLAIN.split(), *["alpha", "beta", "heart", "no", "or", "and", "possible"] * 2]


@pytest.fixture(scope="module")
def labeller():
    return ReportLabeller()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.toml").write_text(SMALL)
    (folder / "small_language.toml").write_text(SMALL_LANGUAGE)
    return ReportLabeller(folder / "small.toml", "all")


@pytest.fixture(scope="module")
def oracle():
    path = Path(__file__).with_name("plain_assertion.py")
    spec = importlib.util.spec_from_file_location("plain_assertion", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_assertion"] = module
    spec.loader.exec_module(module)
    return module


def said(labeller, note, target):
    """Assertion, context and rule of each mention of a finding."""
    rows = labeller.label([note]).evidence.filter(pl.col("target") == target)
    return rows.select("assertion", "context", "rule").rows()


def one(labeller, note, **wanted):
    found = labeller.label([note])
    return {k: found.value(0, k) for k in wanted}


notes = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from([" "] * 8 + [", ", ", ", "; ", ". "])), min_size=1, max_size=14
).map(lambda pieces: "".join(w + m for w, m in pieces[:-1]) + pieces[-1][0])


@settings(max_examples=60, deadline=None)
@given(st.lists(notes, min_size=1, max_size=30))
def test_the_compiled_loop_decides_as_plain_python_does(small, oracle, texts):
    with pytest.MonkeyPatch.context() as patch:
        # The words are of no language; whether a note is one is asked elsewhere.
        patch.setattr("aimed.text.labeller.clean_note", AsItIs)
        found = small.label(texts)
    got = [[] for _ in texts]
    for row in found.evidence.iter_rows(named=True):
        got[row["report"]].append(tuple(row[k] for k in ("concept", "start", "end", "assertion", "context", "rule")))
    for i, text in enumerate(texts):
        wanted = oracle.read(text, small.lexicon)
        assert sorted(got[i]) == wanted
        for k, concept in enumerate(("aa", "bb", "heart")):
            counted = {row[3] for row in wanted if row[0] == concept and row[4] in ("", "resolved")}
            order = {"positive": 1.0, "uncertain": -1.0, "negative": 0.0}
            value = next((v for name, v in order.items() if name in counted), math.nan)
            assert np.array_equal([found.values[i, k]], [value], equal_nan=True)


class AsItIs:
    def __init__(self, text):
        self.text, self.flags, self.refusal = text, (), None


def test_samples_of_chexpert_agree_in_full(labeller, shared_data):
    with shared_data("reports", "sample_reports.csv").open(newline="") as file:
        reports = [row[0] for row in csv.reader(file)]
    with shared_data("reports", "labeled_reports.csv").open(newline="") as file:
        gold = list(csv.DictReader(file))
    found = labeller.label(reports)
    for i, row in enumerate(gold):
        for target in found.targets:
            wanted = float(row[target]) if row[target] else math.nan
            assert np.array_equal([found.value(i, target)], [wanted], equal_nan=True), (i, target)


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        (
            "The heart is of normal size and the lungs are clear. Neither edema nor pneumonia. No effusion",
            {"No Finding": 1, "Cardiomegaly": 0, "Edema": 0, "Pneumonia": 0, "Pleural Effusion": 0},
        ),
        (
            "1. Right effusion with atelectasis beside it.\n\n2. Cardiomegaly without frank edema.",
            {"Pleural Effusion": 1, "Atelectasis": 1, "Cardiomegaly": 1, "Edema": 0},
        ),
        (
            "Patchy airspace opacity at the base, may represent pneumonia or atelectasis.",
            {"Lung Opacity": 1, "Pneumonia": -1, "Atelectasis": -1},
        ),
        ("1. Unchanged moderate cardiomegaly. 2. Hyperinflated lungs.", {"Cardiomegaly": 1}),
    ],
)
def test_sentences_like_the_samples(labeller, note, wanted):
    found = labeller.label([note])
    got = {k: v for k, v in zip(found.targets, found.values[0], strict=True) if not math.isnan(v)}
    assert got == wanted


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        ("No effusion, pneumothorax or consolidation.", {"Pleural Effusion": 0, "Pneumothorax": 0, "Consolidation": 0}),
        ("No effusion, large pneumothorax, or edema.", {"Pleural Effusion": 0, "Pneumothorax": 0, "Edema": 0}),
        ("No effusion, small pneumothorax.", {"Pleural Effusion": 0, "Pneumothorax": 1}),
        ("No effusion but pneumothorax.", {"Pleural Effusion": 0, "Pneumothorax": 1}),
        ("No effusion; pneumothorax.", {"Pleural Effusion": 0, "Pneumothorax": 1}),
        ("No effusion. Pneumothorax.", {"Pleural Effusion": 0, "Pneumothorax": 1}),
        ("No effusion.Pneumothorax.", {"Pleural Effusion": 0, "Pneumothorax": 1}),
        ("NO EFFUSION\nSMALL PNEUMOTHORAX", {"Pleural Effusion": 0, "Pneumothorax": 1}),
        ("no pleural effusion\nor pneumothorax", {"Pleural Effusion": 0, "Pneumothorax": 0}),
        ("Effusion and pneumothorax are absent.", {"Pleural Effusion": 0, "Pneumothorax": 0}),
        ("Effusion, pneumothorax is absent.", {"Pleural Effusion": 1, "Pneumothorax": 0}),
        ("No effusion, possible pneumonia.", {"Pleural Effusion": 0, "Pneumonia": -1}),
        ("Effusion, possible pneumonia.", {"Pleural Effusion": 1, "Pneumonia": -1}),
        ("Pneumonia versus atelectasis.", {"Pneumonia": -1, "Atelectasis": -1}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": -1}),
        ("Cannot exclude pneumonia.", {"Pneumonia": -1}),
        ("No definite pneumonia.", {"Pneumonia": 0}),
        ("No change in the effusion.", {"Pleural Effusion": 1}),
        ("Effusion?", {"Pleural Effusion": -1}),
        ("?effusion", {"Pleural Effusion": -1}),
        ("Pneumothorax has resolved.", {"Pneumothorax": 0}),
        ("The heart is enlarged.", {"Cardiomegaly": 1}),
        ("The heart is not enlarged.", {"Cardiomegaly": 0}),
        ("XXXX effusion. No XXXX pneumothorax", {"Pleural Effusion": 1, "Pneumothorax": 0}),
        ("Seen by Dr. Any, 3 p.m., no pneumothorax.", {"Pneumothorax": 0}),
        ("Mother had pneumonia.", {"Pneumonia": math.nan}),
        ("Clear lungs. History of pneumonia.", {"Pneumonia": math.nan}),
        ("No effusion – naïve “pneumothorax”. 中文 edema", {"Pneumothorax": 0, "Edema": 1}),
    ],
)
def test_scopes(labeller, note, wanted):
    assert one(labeller, note, **wanted) == pytest.approx(wanted, nan_ok=True)


def test_the_rule_names_what_decided(labeller):
    assert said(labeller, "There is no evidence of pneumothorax.", "Pneumothorax")[0][2].startswith("negation before: ")
    assert said(labeller, "Heart size is normal.", "Cardiomegaly") == [("negative", "", "normal: normal")]
    assert said(labeller, "Pneumothorax.", "Pneumothorax") == [("positive", "", "stated")]
    assert said(labeller, "Mother had pneumonia.", "Pneumonia")[0][1] == "family"


def test_sections_decide_what_counts():
    note = "INDICATION: Pneumonia.\nFINDINGS:\nSmall effusion.\nIMPRESSION: No pneumothorax."
    everything = ReportLabeller().label([note])
    assert np.isnan(everything.value(0, "Pneumonia"))
    assert everything.value(0, "Pleural Effusion") == 1
    rows = everything.evidence.select("target", "section", "decided").rows()
    assert ("Pneumonia", "indication", False) in rows
    assert ("Pleural Effusion", "findings", True) in rows
    impression = ReportLabeller(sections=["impression"])
    assert np.isnan(impression.label([note]).value(0, "Pleural Effusion"))
    assert impression.label([note]).value(0, "Pneumothorax") == 0
    assert np.isnan(ReportLabeller().label(["INDICATION: Cough."]).value(0, "No Finding"))
    assert ReportLabeller().label(["INDICATION: Cough. FINDINGS: Clear."]).value(0, "No Finding") == 1
    # A report without headings is read whole.
    assert impression.label(["Small effusion."]).value(0, "Pleural Effusion") == 1


@pytest.mark.parametrize(
    ("note", "size"),
    [
        ("A 2.5 cm nodule.", 25.0),
        ("Nodule of 4mm.", 4.0),
        ("Nodule measuring 1.2 x 3 cm.", 30.0),
        ("A 5-6 mm nodule.", 6.0),
        ("Nodule, seen before.", None),
    ],
)
def test_sizes_are_in_millimetres(labeller, note, size):
    got = labeller.label([note]).evidence["size_mm"][0]
    assert got == (size if size is None else pytest.approx(size))


def test_attributes_go_to_the_nearest_mention(labeller):
    found = labeller.label(["Small left pleural effusion and severe right upper lobe atelectasis."]).evidence
    rows = {r["target"]: r for r in found.iter_rows(named=True)}
    effusion, atelectasis = rows["Pleural Effusion"], rows["Atelectasis"]
    assert (effusion["laterality"], effusion["severity"], effusion["location"]) == ("left", "mild", None)
    assert (atelectasis["laterality"], atelectasis["severity"], atelectasis["location"]) == (
        "right", "severe", "upper lobe",
    )  # fmt: skip


def test_any_positive_then_uncertain_then_negative(labeller):
    assert one(labeller, "No edema. Possible edema. Edema.", Edema=1) == {"Edema": 1}
    assert one(labeller, "No edema. Possible edema.", Edema=1) == {"Edema": -1}
    rows = labeller.label(["No edema. Possible edema. Edema."]).evidence
    assert rows["decided"].to_list() == [False, False, True]


def test_a_batch_gives_what_its_notes_give_alone(labeller):
    texts = [f"Case {i}. " + ("No effusion. " if i % 3 else "Effusion é. ") * (1 + i % 5) for i in range(5000)]
    together = labeller.label(texts)
    few = [0, 1, 2047, 2048, 2049, 4999]
    alone = [labeller.label_one(texts[i]) for i in few]
    for i, own in zip(few, alone, strict=True):
        assert np.array_equal(together.values[i], own.values[0], equal_nan=True)
        rows = together.evidence.filter(pl.col("report") == i).drop("report")
        assert rows.equals(own.evidence.drop("report"))


def test_threads_share_one_labeller(labeller):
    texts = ["No effusion. Small pneumothorax.", "Cardiomegaly."] * 500
    wanted = labeller.label(texts).evidence
    got = [None] * 4

    def work(k):
        got[k] = labeller.label(texts).evidence

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(wanted.equals(g) for g in got)


@pytest.mark.parametrize(
    ("note", "refusal"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("\x00", "empty"),
        ("FINDINGS:\nIMPRESSION:\n", "headings_only"),
        (None, "empty"),
    ],
)
def test_bad_notes_are_refused_by_code_and_stop_nobody(labeller, note, refusal):
    found = labeller.label(["Effusion.", note, "Effusion."])
    assert found.refusals == ("", refusal, "")
    assert found.values[[0, 2], found.targets.index("Pleural Effusion")].tolist() == [1, 1]


@pytest.mark.parametrize(
    "note", ["effusion " * 120_000, "no effusion, " * 80_000, "1. " * 300_000, "heart normal " * 60_000]
)
def test_a_very_long_note_takes_seconds(labeller, note):
    import time

    begun = time.process_time()
    found = labeller.label([note])
    assert time.process_time() - begun < 10
    assert len(found) == 1


def test_what_is_no_text_is_named_by_place_and_kind(labeller):
    with pytest.raises(DataError, match="note 2 is not text but int"):
        labeller.label(["Effusion.", 3])


def test_progress_ends_at_one(labeller):
    shares = []
    labeller.label(["Effusion."] * 5000, progress=lambda share, text: shares.append((share, text)))
    assert shares[-1] == (1.0, "5,000 of 5,000 reports")
    assert [s for s, _ in shares] == sorted(s for s, _ in shares)


def test_label_is_one_call():
    found = label(pl.Series(["Large hernia.", None]), targets="nih")
    assert found.value(0, "Hernia") == 1
    assert found.refusals[1] == "empty"


@pytest.mark.slow
def test_twenty_thousand_reports_a_second(labeller):
    import time

    text = "The heart size and mediastinum are normal. No focal consolidation, effusion or pneumothorax. " * 3
    texts = [f"{text} Case {i}." for i in range(20_000)]
    assert len(labeller.label(texts[:10]).evidence) > 0
    begun = time.process_time()
    rows = len(labeller.label(texts).evidence)
    assert rows >= 20_000 * 4
    assert len(texts) / (time.process_time() - begun) > 20_000


@pytest.mark.parametrize("notes", ["No effusion.", b"No effusion.", None, 3])
def test_one_note_is_no_list_of_notes(labeller, notes):
    with pytest.raises(DataError, match="a list of str") as error:
        labeller.label(notes)
    assert "effusion" not in str(error.value)


def test_a_finding_that_is_not_there_gives_the_nearest(labeller):
    with pytest.raises(UnknownNameError, match="did you mean 'Pneumothorax'"):
        labeller.label_one("No pneumothorax.").value(0, "Pneumothrax")


@pytest.mark.parametrize(
    ("note", "size"),
    [
        ("ETT tip 3.5 cm above the carina.", None),
        ("The catheter tip lies 12 mm below the clavicle.", None),
        ("A nodule 9 mm in the left apex, above the clavicle.", 9),
        ("A 2 cm mass lies 3 cm above the diaphragm.", 20),
    ],
)
def test_a_distance_is_no_size(labeller, note, size):
    assert labeller.label_one(note).evidence["size_mm"].to_list() == [size]


@pytest.mark.parametrize(
    ("note", "finding", "value"),
    [
        ("A feeding tube is in the bronchus and should be removed.", "Support Devices", 1),
        ("The chest drain has been removed.", "Support Devices", 0),
        ("The feeding tube passes into the stomach, its tip is not included.", "Support Devices", 1),
        ("We cannot see a pneumothorax.", "Pneumothorax", 0),
        ("Pneumothorax cannot be excluded.", "Pneumothorax", -1),
        ("Clinical details: pneumonia? Report: Clear lungs.", "Pneumonia", np.nan),
        ("Patchy shadowing at the left base.", "Lung Opacity", 1),
        ("Nodular shadowing at the left base.", "Lung Lesion", 1),
        ("The CTR is increased.", "Cardiomegaly", 1),
        ("Upper lobe venous diversion.", "Edema", 1),
        ("Effusions are small if any.", "Pleural Effusion", -1),
        ("Trace if any pleural fluid.", "Pleural Effusion", -1),
        ("Little if any change of the effusion.", "Pleural Effusion", 1),
    ],
)
def test_words_of_british_and_intensive_care_reports(labeller, note, finding, value):
    np.testing.assert_equal(labeller.label_one(note).value(0, finding), value)


@pytest.mark.parametrize(
    ("note", "column", "value"),
    [
        ("Small b/l pleural effusions.", "laterality", "bilateral"),
        ("The effusion is less conspicuous.", "change", "better"),
        ("The consolidation is more marked.", "change", "worse"),
    ],
)
def test_short_words_of_side_and_change(labeller, note, column, value):
    assert labeller.label_one(note).evidence[column].to_list() == [value]


@pytest.mark.parametrize(
    ("note", "value"),
    [
        ("Lines and tubes: None.", 0),
        ("SUPPORT DEVICES: None seen. LUNGS: Clear.", 0),
        ("Lines and tubes:\nNil\n", 0),
        ("Lines and tubes: None. Pacemaker at the left.", 1),
        ("Lines and tubes: Unchanged.", 1),
        ("Lines and tubes: None of them has moved.", 1),
        ("Lungs: None.", np.nan),
    ],
)
def test_none_below_a_heading_denies_what_it_names(labeller, note, value):
    found = labeller.label_one(note)
    np.testing.assert_equal(found.value(0, "Support Devices"), value)
    for row in found.evidence.filter(assertion="negative").iter_rows(named=True):
        assert row["sentence_start"] <= row["start"] < row["trigger_start"] < row["trigger_end"] <= row["sentence_end"]


@pytest.mark.parametrize(
    ("note", "sections"),
    [
        ("INDICATION: Chest pain FINDINGS: small left effusion IMPRESSION: Small effusion", ["findings", "impression"]),
        ("CLINICAL HISTORY cough FINDINGS small left effusion", ["findings"]),
        ("There is a large PLEURAL EFFUSION in the left CHEST today", [""]),
    ],
)
def test_headings_are_seen_in_reports_that_lost_their_line_breaks(note, sections):
    found = ReportLabeller().label_one(note)
    assert found.value(0, "Pleural Effusion") == 1.0
    rows = found.evidence.filter(pl.col("target").cast(pl.String) == "Pleural Effusion")
    assert rows["section"].cast(pl.String).to_list() == sections
