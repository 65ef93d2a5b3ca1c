"""The model card is read again: front matter as YAML, every number against the results, nothing broken out."""

import json
import re

import pytest

from aimed.trust.card import escape, model_card

yaml = pytest.importorskip("yaml")


def split(card):
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def follow(results, path):
    """Walk a.b[0].c, where a name may itself hold dots (auc@182.5)."""
    here = results
    rest = path
    while rest:
        if match := re.match(r"\[(\d+)\]\.?", rest):
            here, rest = here[int(match[1])], rest[match.end() :]
            continue
        key = max((k for k in here if rest == k or rest.startswith((f"{k}.", f"{k}["))), key=len)
        here, rest = here[key], rest[len(key) :].lstrip(".")
    return here


def tables(body):
    for line in body.splitlines():
        if line.startswith("| ") and line.endswith("` |"):
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
            yield cells[:-1], cells[-1].strip("`")


def test_every_number_in_the_tables_is_that_of_the_results(results):
    seen = []
    for cells, path in tables(split(model_card(results))[1]):
        source = follow(results, path)
        seen.append(path)
        if "value" in source:
            if source["value"] is None:
                assert cells[1:3] == ["not estimable", "–"]
                continue
            assert float(cells[1]) == pytest.approx(source["value"], abs=5e-4)
            low, high = (float(part) for part in cells[2].split(" to "))
            assert low == pytest.approx(source["lower"], abs=5e-4)
            assert high == pytest.approx(source["upper"], abs=5e-4)
            if "n" in source:
                assert (int(cells[3]), int(cells[4])) == (source["n"], source["events"])
        elif "measures" in source:
            assert cells[1:4] == ["not estimable", "–", "&lt;11"]
        elif "patients" in source:
            assert [int(c) for c in cells[1:]] == [source["n"], source["patients"], source["events"]]
    assert {
        "performance.measures.auroc",
        "performance.measures.auc@182.5",
        "performance.differences.prevalence.brier",
    } <= set(seen)
    assert "verdict.criteria[0]" in seen
    assert "data.parts.test" in seen
    assert "subgroups.columns[0].groups[0].measures.auroc" in seen
    assert "limits.inputs[1]" in seen


def test_a_changed_number_changes_the_card(results):
    before = model_card(results)
    results["performance"]["measures"]["brier"]["value"] = 0.1599
    after = model_card(results)
    assert "0.160" in after
    assert "0.160" not in before


def test_front_matter_is_yaml_with_the_same_numbers(results):
    front, _ = split(model_card(results))
    assert front["library_name"] == "aimed"
    assert front["pipeline_tag"] == "tabular-classification"
    assert {"medical", "not-a-medical-device"} <= set(front["tags"])
    assert (front["license"], front["license_name"]) == ("other", "CC BY 4.0 (with terms)")
    [entry] = front["model-index"]
    [result] = entry["results"]
    assert result["task"]["name"] == "death: yes # no"
    assert result["dataset"]["revision"] == "ab" * 32
    measures = results["performance"]["measures"]
    assert [m["value"] for m in result["metrics"]] == [m["value"] for m in measures.values() if m["value"] is not None]
    assert result["metrics"][0]["type"] == "roc_auc"
    assert result["metrics"][0]["args"] == {"lower": 0.7461, "upper": 0.8712, "n": 200}
    results["study"]["license"] = "Apache-2.0"
    assert split(model_card(results))[0]["license"] == "apache-2.0"


NASTY = [
    'a"b\\c',
    "x\n---\n# Heading\nlicense: mit",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "| a | b |",
    "no",
    "2011-01-01",
    "# title",
    "`code`",
    "\u202egnp.exe\u2028x\x00\x85",
    "é µ 心",
    "- item",
    "1. item",
    "{{7*7}}",
    "!!python/object:os",
]


@pytest.mark.parametrize("text", NASTY)
def test_text_from_the_study_file_cannot_break_out(results, text):
    plain = model_card(results)
    study = results["study"]
    study.update(title=text, intended_use=text, outcome_label=text, license=text, id=text, not_for=[text])
    results["data"]["source"] = text
    results["subgroups"]["columns"][0]["groups"][0]["group"] = text
    results["limits"]["limitations"] = [text]
    front, body = split(model_card(results))
    [entry] = front["model-index"]
    assert isinstance(entry["name"], str)
    assert isinstance(entry["results"][0]["dataset"]["name"], str)
    assert set(front) <= {
        "library_name",
        "pipeline_tag",
        "tags",
        "license",
        "license_name",
        "metrics",
        "model-index",
    }
    assert "<img" not in body
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", body)
    for line in body.splitlines():
        if line.startswith("|"):
            assert len(re.split(r"(?<!\\)\|", line)) >= 5
    headings = [line for line in body.splitlines() if line.startswith("## ")]
    assert headings == [line for line in plain.splitlines() if line.startswith("## ")]
    widths = [len(re.split(r"(?<!\\)\|", line)) for line in body.splitlines() if line.startswith("|")]
    assert widths == [len(re.split(r"(?<!\\)\|", line)) for line in plain.splitlines() if line.startswith("|")]
    assert "\u202e" not in body


def test_sections_of_mitchell_are_there_and_warn(results):
    card = model_card(results)
    for heading in (
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Training and evaluation data",
        "Quantitative analyses by group",
        "Ethical considerations",
        "Caveats and recommendations",
    ):
        assert f"\n## {heading}\n" in card
    assert "Not a medical device" in card
    assert "<11" not in card
    assert "&lt;11" in card


def test_an_empty_record_makes_a_card_that_says_so():
    card = model_card({})
    front, body = split(card)
    assert "model-index" not in front
    assert "No measures in the results." in body
    assert "fairness was not assessed" in body
    assert card == model_card(json.loads("{}"))


def test_escape_shows_text_as_it_stands():
    assert escape("a\nb") == "a b"
    assert escape("- x") == "\\- x"
    assert escape("age >= 18") == "age &gt;= 18"
    assert escape("1. x").endswith(". x")
    assert not escape("1. x").startswith("1.")


def test_the_card_of_a_picture_study_names_findings_and_follows_the_results(pictures):
    card = model_card(pictures)
    front, body = split(card)
    assert front["pipeline_tag"] == "image-classification"
    [result] = front["model-index"][0]["results"]
    named = {m["name"]: m for m in result["metrics"]}
    assert named["AUROC of Lung nodule"]["value"] == pictures["performance"]["measures"]["auroc@lung_nodule"]["value"]
    assert named["AUROC of Lung nodule"]["type"] == "roc_auc"
    assert "macro AUROC" in named
    seen = []
    for cells, path in tables(body):
        source = follow(pictures, path)
        seen.append(path)
        if "mean" not in source and source.get("value") is not None and len(cells) > 2:
            assert float(cells[1]) == pytest.approx(source["value"], abs=5e-4)
    assert "performance.measures.sensitivity@effusion" not in seen
    assert {
        "performance.measures.macro_auroc",
        "performance.measures.oe@pneumothorax",
        "performance.differences.acquisition.auroc@effusion",
        "model.threshold.findings.effusion",
        "outcome.findings[1].prevalence.test",
    } <= set(seen)
    assert " days" not in body
    assert "never mirrored" in body
    assert f"- Shortcuts: {pictures['shortcuts']['sentence']} (`shortcuts.sentence`)" in body
    assert "| Part | Pictures | Patients | With a finding | Source |" in body
    pictures["shortcuts"] = None
    assert "Shortcuts" not in model_card(pictures)


def test_the_card_of_a_study_of_masks_names_regions_and_follows_the_results(outlines):
    card = model_card(outlines)
    front, body = split(card)
    assert front["pipeline_tag"] == "image-segmentation"
    [result] = front["model-index"][0]["results"]
    named = {m["name"]: m for m in result["metrics"]}
    assert named["Dice of whole tumour"]["value"] == outlines["performance"]["measures"]["dice@whole_tumour"]["value"]
    assert named["Dice of whole tumour"]["type"] == "dice"
    assert "mean Dice" in named
    seen = []
    for cells, path in tables(body):
        source = follow(outlines, path)
        seen.append(path)
        if "mean" not in source and "present" not in source and source.get("value") is not None and len(cells) > 2:
            assert float(cells[1]) == pytest.approx(source["value"], abs=5e-4)
    assert {
        "performance.measures.mean_dice",
        "performance.measures.hd95@tumour_core",
        "performance.differences.threshold.dice@whole_tumour",
        "outcome.regions[1]",
    } <= set(seen)
    assert "performance.measures.iou@whole_tumour" not in seen
    assert "| Part | Scans | Patients | With a region | Source |" in body
    assert "| tumour core, test part | 24 | 14.8 | 9.5 to 27.5 | `outcome.regions[1]` |" in body
    assert f"- Worse inputs: {outlines['robustness']['sentence']} (`robustness.sentence`)" in body
    assert f"- Expected Dice: {outlines['quality']['sentence']}" in body
    assert "Output: masks of whole tumour, tumour core and enhancing tumour" in body
    for word in ("picture", "heart", "Events", " days"):
        assert word not in body


@pytest.mark.parametrize("kind", ["trial", "care", "plain"])
def test_the_card_of_a_study_of_effects_follows_the_results(kind, request):
    record = request.getfixturevalue(kind)
    front, body = split(model_card(record))
    assert front["pipeline_tag"] == "tabular-regression"
    assert "treatment-effects" in front["tags"]
    assert "clinical-prediction" not in front["tags"]
    seen = []
    for cells, path in tables(body):
        source = follow(record, path)
        seen.append(path)
        if "value" not in source or "text" in source or path.startswith("effect.subgroups.inter"):
            continue
        if source["value"] is None:
            assert cells[1:3] == ["not estimable", "–"]
            continue
        assert float(cells[1]) == pytest.approx(source["value"], abs=5e-4)
        low, high = (float(part) for part in cells[2].split(" to "))
        assert (low, high) == pytest.approx((source["lower"], source["upper"]), abs=5e-4)
        if len(cells) > 4 and path.startswith(("effect.", "performance.")):
            assert int(cells[3].replace(",", "")) == source["n"]
    assert {"effect.average[3].measures." + record["effect"]["estimand"]["contrast"], "effect.arms[0].rate"} <= set(
        seen
    )
    assert record["effect"]["estimand"]["sentence"] in body
    assert "never" not in body


def test_the_card_of_a_trial_holds_its_effects_and_parts_them_from_those_of_the_model(trial):
    front, body = split(model_card(trial))
    whole, test = front["model-index"][0]["results"]
    assert (whole["dataset"]["split"], test["dataset"]["split"]) == ("all", "test")
    assert [m["type"] for m in whole["metrics"]] == ["risk_difference", "max_smd"]
    assert [m["type"] for m in test["metrics"]] == ["autoc", "dr_loss"]
    paths = {path for _, path in tables(body)}
    assert {
        "effect.average[0].measures.risk_difference",
        "effect.crude.number_needed_to_treat",
        "effect.risk_quarters.rows[3].difference",
        "effect.policy.rows[4].value",
        "effect.policy.rows[4].against_all",
        "effect.subgroups.rows[0].effect",
        "effect.subgroups.interactions[2]",
        "performance.measures.autoc",
        "performance.differences.constant_effect.dr_loss",
    } <= paths
    assert "performance.measures.risk_difference" not in paths
    assert "Primary estimator: Doubly robust, cross-fitted (`effect.average[3]`)." in body
    assert "- Conclusion: No evidence that the effect differs between patients; the average effect stands" in body
    assert "(`effect.heterogeneity.state`)" in body
    assert "(`effect.policy.sentence`)" in body
    assert "- Intercurrent event: Stopping the drug: treatment\\_policy (`effect.estimand.intercurrent[0]`)" in body
    assert "| excess doubly robust loss | -0.0023 | -0.0041 to 0.0008 | 186 | – |" in body
    assert "| Levamisole + 5-FU | 0.398 | 0.342 to 0.454 | 304 | 119 | `effect.arms[0].rate` |" in body
    assert "- Groups examined: Positive nodes (`effect.subgroups.rows`)" in body
    assert "fairness was not assessed" not in body


def test_an_arm_without_events_is_counted_and_an_endless_interval_is_in_words(trial):
    trial["effect"]["arms"][0].update(events=0)
    crude = trial["effect"]["crude"]["number_needed_to_treat"]
    crude.update(value=20.0, lower=5.1, upper=-26.9, note="NNTB 20 (95 % interval NNTB 5.1 to inf to NNTH 26.9)")
    body = split(model_card(trial))[1]
    assert "| 304 | 0 | `effect.arms[0].rate` |" in body
    assert "| 20.000 | NNTB 20 (95 % interval NNTB 5.1 to inf to NNTH 26.9) |" in body


def test_statements_on_a_trial_are_in_its_card(trial):
    trial["study"]["statements"] = {"consort-2025:27": "Two deaths by treatment."}
    assert "- Harms: Two deaths by treatment. (`study.statements.consort-2025:27`)" in model_card(trial)


@pytest.mark.parametrize("text", NASTY)
def test_names_of_a_study_of_effects_cannot_break_out(trial, text):
    headings = [line for line in model_card(trial).splitlines() if line.startswith("#")]
    effect = trial["effect"]
    effect["estimand"].update(treatment=text, control=text, outcome=text, sentence=text)
    effect["arms"][0]["label"] = effect["policy"]["rows"][0]["title"] = effect["placebos"][0]["title"] = text
    effect["subgroups"]["rows"][0]["level"] = effect["subgroups"]["interactions"][0]["label"] = text
    effect["heterogeneity"]["sentence"] = effect["sensitivity"]["sentence"] = effect["overlap"]["sentence"] = text
    effect["estimand"]["intercurrent"] = [{"event": text, "strategy": text}]
    body = split(model_card(trial))[1]
    assert [line for line in model_card(trial).splitlines() if line.startswith("#")] == headings
    assert "<img" not in body
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", body)
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in body.splitlines() if line.startswith("|")}
    assert widths <= {7, 8}


def test_the_card_of_a_study_of_notes_says_whence_labels_come_and_who_may_see_notes(noted):
    card = model_card(noted)
    front, body = split(card)
    assert front["pipeline_tag"] == "text-classification"
    assert "report-labelling" in front["tags"]
    names = {m["name"] for m in front["model-index"][0]["results"][0]["metrics"]}
    assert "micro F1" in names
    assert any(name.startswith("F1 of ") for name in names)
    for words in (
        "| Part | Notes | Patients | With a finding |",
        "- Lexicon: chest-xray, 1.0.0, nih, as shipped (`data.notes.lexicon`)",
        "- Refused: 10 notes were refused and are in no part (EMPTY 9, NOT\\_ENGLISH 1)",
        "present, absent, uncertain or not mentioned by the note",
        "De-identification, and who may see notes: The notes were de-identified before the study",
    ):
        assert words in body
    assert not re.search(r"[Pp]ictures?\b|pixels|Views:", body.replace("pictures alike", ""))
    noted["data"]["notes"]["identifiers"] = "possible"
    assert "only those who may see patient records may see them" in model_card(noted)


def test_the_card_of_a_study_of_notes_holds_no_note(noted):
    noted["explanation"]["error_browser"]["notes"] = {"1": "PLANTEDMARKER"}
    assert "PLANTEDMARKER" not in model_card(noted)
