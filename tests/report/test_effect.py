"""The report of a study of effects: what a reader must see, and what is said where a block is absent."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aimed.report import contrast, effect_sentences, names, numbers, page, view
from aimed.report.compare import render_compare
from aimed.report.contrast import Question, Scale
from aimed.report.figures import FIGURES
from aimed.report.index import render_index
from aimed.report.parts import Context
from aimed.report.sections import SECTIONS
from aimed.report.sections.checklists import link
from aimed.report.sections.patients import statement

_spec = importlib.util.spec_from_file_location("report_effect_record", Path(__file__).with_name("effect_record.py"))
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)

KINDS = record.KINDS
DRAWN = record.drawings()
BLOCKS = list(record.trial()["effect"])


def plain(written):
    written = re.sub(r"<(style|script).*?</\1>", " ", written, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", written)).split())


def said(section):
    return " ".join([section.lead, *_said(section.blocks)])


def _said(blocks):
    for b in blocks:
        if b.type == "table":
            yield " ".join([b.caption, *map(str, b.columns), *b.groups.values()])
            yield from (" | ".join(cell.text for cell in row) for row in b.cells())
        elif b.type == "figure":
            yield f"{b.title} {b.caption} {b.alt}"
            yield from _said([b.table])
        elif b.type == "facts":
            yield " ".join(f"{k} {v}" for k, v in b.pairs)
        elif b.type == "strip":
            yield " ".join(f"{k.label} {k.value} {k.span} {k.beside}" for k in b.keys)
        elif b.type == "fold":
            yield b.summary
            yield from _said(b.blocks)
        elif b.type == "pair":
            yield from _said(b.figures)
        elif b.type == "items":
            yield from b.texts
        elif b.type in ("note", "heading", "code"):
            yield b.text


def figures(section):
    for b in section.blocks:
        if b.type == "figure":
            yield b
        elif b.type == "pair":
            yield from b.figures


class Balance(HTMLParser):
    """Whether every tag that is opened is closed, and the ids and headings on the way."""

    VOID = ("area", "base", "br", "col", "hr", "img", "input", "link", "meta", "path", "rect", "circle", "use")

    def __init__(self, written):
        super().__init__()
        self.open, self.faults, self.ids, self.headings = [], [], [], []
        self.feed(written)

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag in self.VOID else [tag]
        self.ids += [v for k, v in attrs if k == "id"]
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []

    def handle_startendtag(self, tag, attrs):
        self.ids += [v for k, v in attrs if k == "id"]

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.fixture(scope="module", params=list(KINDS))
def made(request):
    results = KINDS[request.param]()
    return results, page.render(results)


class Drawn(dict):
    """Drawings by what they were drawn from, so that pages which differ in one block do not draw all others anew."""

    def __init__(self):
        super().__init__({name: self.kept(draw) for name, draw in FIGURES.items()})

    @staticmethod
    def kept(draw):
        cache = {}

        def figure(data, context):
            key = repr((data, context))
            if key not in cache:
                cache[key] = draw(data, context)
            return cache[key]

        return figure


ONCE = Drawn()


@pytest.fixture
def drawn_once(monkeypatch):
    assert all(callable(SECTIONS[name]) for name in SECTIONS)
    for name, module in list(sys.modules.items()):
        if name.startswith("aimed.report.sections.") and hasattr(module, "FIGURES"):
            monkeypatch.setattr(module, "FIGURES", ONCE)


@pytest.fixture(scope="module")
def trial():
    return record.trial()


# ----------------------------------------------------------------------------------------------------- the whole page


def test_the_page_is_whole(made):
    _, written = made
    tree = Balance(written)
    assert tree.faults == []
    assert tree.open == []
    assert len(tree.ids) == len(set(tree.ids))
    assert set(re.findall(r"url\(#([^)]+)\)", written)) <= set(tree.ids)
    assert re.findall(r'<section id="([^"]+)"', written) == list(SECTIONS)
    assert all(b - a <= 1 for a, b in zip(tree.headings, tree.headings[1:], strict=False))
    assert "http://" not in written
    assert "https://" not in written


def test_every_figure_has_its_numbers_in_words_and_as_a_table(made):
    _, written = made
    found = re.findall(r"<figure.*?</figure>", written, re.S)
    assert len(found) >= 4
    for figure in found:
        assert "<details>" in figure
        assert "<table" in figure
        assert "<text" in figure
        assert re.search(r'role="img" aria-label="[^"]*\d', figure)


def test_nothing_is_left_unfilled_or_said_twice(made):
    _, written = made
    text = plain(written)
    assert not re.search(r"[{}]|\bNone\b|\bnan\b", text)
    assert "Research use. Not a medical device." in text
    for caption in re.findall(r"<figcaption>.*?</figcaption>", written, re.S):
        each = [s.strip() for s in re.split(r"(?<=\.) ", re.sub("<[^>]+>", "", caption)) if s.strip()]
        assert len(each) == len(set(each)), caption


def test_the_same_results_give_the_same_page_also_from_json(made):
    results, written = made
    before = copy.deepcopy(results)
    assert page.render(json.loads(json.dumps(results))) == written
    assert results == before


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("how", ["none", "absent", "empty"])
@pytest.mark.parametrize("key", BLOCKS)
def test_renders_without_a_block(trial, key, how):
    results = copy.deepcopy(trial)
    if how == "absent":
        del results["effect"][key]
    else:
        results["effect"][key] = None if how == "none" else type(results["effect"][key])()
    for name in SECTIONS:
        assert SECTIONS[name](results).lead


def _paths(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("kind", ["trial", "care"])
def test_renders_with_any_value_none(kind):
    full = KINDS[kind]()
    failed = []
    short = [p for p in _paths(full["effect"]) if len(p) <= 5 and not isinstance(p[-1], int)]
    shown = ("verdict", "data", "outcome", "performance", "uncertainty", "subgroups", "explanation", "deployment")
    for path in short:
        results = {**full, "explanation": None, "effect": copy.deepcopy(full["effect"])}
        node = results["effect"]
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = None
        try:
            for section in shown:
                SECTIONS[section](results)
        except Exception as error:
            failed.append((path, repr(error)))
    assert failed == []


def test_the_block_alone_is_enough(trial):
    written = page.render({"task": "effect", "effect": trial["effect"]})
    assert Balance(written).faults == []
    assert "619 patients were randomised" in plain(written)


def test_text_of_a_study_is_escaped(trial):
    attack = "<script>alert(1)</script>\"'&$x$"

    def poison(value):
        if isinstance(value, dict):
            kept = ("key", "better", "contrast", "assignment", "kind", "name")
            return {k: v if k in kept else poison(v) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v) for v in value]
        return f"{value}{attack}" if isinstance(value, str) else value

    written = page.render({**trial, "effect": poison(trial["effect"])})
    assert written.count("<script") == 1
    assert Balance(written).faults == []


# -------------------------------------------------------------------------------------------------- what must be read


def test_the_top_says_the_average_effect_and_whether_effects_differ(trial):
    text = said(SECTIONS["verdict"](trial))
    assert (
        "On average levamisole + 5-FU is shown to help, compared with observation: 11.0 fewer of 100 patients" in text
    )
    assert "There is no evidence of heterogeneity: one effect for everyone describes these patients as well." in text
    assert (
        "Risk difference (percentage points), Doubly robust, cross-fitted −11.0 −18.4 to −3.6 unadjusted: −11.6" in text
    )
    assert "39.8% Observation: 51.4%" in text
    assert "Number needed to treat 9.1 5.0 to 27.0 for one event less" in text
    assert "no evidence" in text
    assert "Intercurrent event" in text
    assert "Stopping the drug | treatment policy" in text


def test_a_strip_has_at_most_six_numbers(made):
    results, _ = made
    strip = next(b for b in SECTIONS["verdict"](results).blocks if b.type == "strip")
    assert 3 <= len(strip.keys) <= 6


def test_no_effect_and_harm_are_said_in_words():
    asked = Question("drug", "none", "death", horizon=365)
    no = effect_sentences.average({"value": 0.01, "lower": -0.03, "upper": 0.05}, asked)
    assert no.startswith("On average neither benefit nor harm of drug is shown")
    assert "1.0 more of 100 patients with death by 365 days (3.0 fewer to 5.0 more)" in no
    harm = effect_sentences.average({"value": 0.06, "lower": 0.02, "upper": 0.1}, asked)
    assert "is shown to harm" in harm
    good = Question("drug", "none", "cure", better="higher")
    assert "is shown to help" in effect_sentences.average({"value": 0.06, "lower": 0.02, "upper": 0.1}, good)
    assert "could not be estimated" in effect_sentences.average(None, asked)


def test_care_is_not_called_an_effect_without_its_condition():
    text = said(SECTIONS["verdict"](record.care()))
    assert "goes with better outcomes" in text
    assert "only if all that drives both treatment and outcome was measured" in text
    assert "is shown to help" not in text


@pytest.mark.parametrize(
    ("name", "good", "text"),
    [
        ("risk_difference", -1, "−11.0 (−18.0 to −4.0)"),
        ("risk_ratio", -1, "–"),
        ("hazard_ratio", -1, "–"),
        ("rmst_difference", 1, "–"),
        ("time_lost_difference", -1, "–"),
        ("mean_difference", -1, "–"),
    ],
)
def test_scales_know_which_way_is_good(name, good, text):
    asked = Question(contrast=name)
    assert asked.good() == good
    assert Question(contrast=name, better="higher").good() == -good
    measure = {"value": -0.11, "lower": -0.18, "upper": -0.04} if name == "risk_difference" else None
    assert asked.scale().interval(measure) == text


def test_time_and_ratios_have_their_own_words():
    asked = Question("drug", "none", "death", unit="year", horizon=5)
    time = effect_sentences.amount({"value": 0.36, "lower": 0.1, "upper": 0.62}, asked, "rmst_difference")
    assert time == "0.360 years more without death by 5 years on average (0.100 to 0.620 years more)"
    odds = effect_sentences.amount({"value": 0.6, "lower": 0.4, "upper": 0.9}, asked, "odds_ratio")
    assert odds == "an odds ratio of 0.60 (0.40 to 0.90) for death"


def test_a_horizon_that_the_outcome_says_is_not_said_again():
    assert Question(outcome="death within 5 years", horizon=1825).when == ""
    assert Question(outcome="death", horizon=1825).when == " by 1\u202f825 days"


def test_data_says_flow_balance_and_overlap():
    text = said(SECTIONS["data"](record.care()))
    assert "619 patients were treated one way or the other" in text
    assert "2 of 8 standardised differences are above 0.1 (largest Carcinoembryonic antigen, 0.43), none after" in text
    assert "Assigned to levamisole alone" in text
    assert "9 patients have no counterpart in the other arm" in text
    assert "Effective sample size after weighting, Early dialysis 220 of 304" in text
    assert "571 of 619 patients" in text


def test_a_known_constant_chance_of_treatment_is_not_drawn(trial):
    section = SECTIONS["data"](trial)
    assert not any("Histograms of the chance" in f.alt for f in figures(section))
    assert "the arms overlap by design" in said(section)


def test_outcome_gives_arms_curves_and_every_contrast(trial):
    section = SECTIONS["outcome"](trial)
    text = said(section)
    assert section.lead.startswith("As observed, death by 1\u202f825 days: 39.8% with levamisole + 5-FU (119 of 304)")
    for name in trial["effect"]["crude"]:
        assert names.describe(name).title in text
    assert "benefit: 11.6 fewer of 100 patients" in text
    assert "benefit: 131 days more without death" in text
    assert any("Curves of risk by arm" in f.alt for f in figures(section))


def test_an_arm_of_a_mean_has_no_events():
    text = said(SECTIONS["outcome"](record.care()))
    assert "1.82 (1.70 to 1.94)" in text
    assert "With the outcome" not in text


def test_model_says_the_loss_against_one_effect_for_all(trial):
    text = said(SECTIONS["model"](trial))
    assert "excess doubly robust loss −0.0011, against 0.0000 for Constant effect" in text
    assert "−0.0011 (−0.0042 to 0.0020)" in text


def test_performance_has_estimators_quarters_and_the_comparators(trial):
    text = said(SECTIONS["performance"](trial))
    assert "All 5 estimators agree: a benefit of levamisole + 5-FU is shown" in text
    for row in trial["effect"]["average"]:
        assert row["title"] in text
    assert "p for trend 0.22" in text
    assert (
        "Risk-based model, chosen before the test part was opened, is not shown to predict effects better than one "
        "effect for everyone; 4 learners were looked at" in text
    )
    assert "less that of the constant effect that was learned on the training part" in text
    assert "less that of the mean effect of the test part itself" in names.describe("dr_loss").says
    assert "Qini curve, weighted by the chance of treatment and not adjusted for covariates" in text
    assert "Constant effect | comparator" in text
    assert "No effect | comparator" in text
    assert "no evidence of heterogeneity" in text
    assert "not a proper score" in text
    assert "AUTOC 0.0213, −0.0220 to 0.0646" in text
    assert "inside the interval of the observed one in 5 of 5 groups" in text


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((-0.3, -0.1), "is shown to predict effects better"), ((0.1, 0.3), "is shown to predict effects worse")],
)
def test_a_verdict_on_losses_is_of_the_chosen_learner_alone(ends, verdict):
    def learner(title, low, high, chosen):
        gap = {"value": (low + high) / 2, "lower": low, "upper": high}
        return {"title": title, "kind": "candidate", "chosen": chosen, "difference": gap}

    rows = [learner("Forest", *ends, True), learner("Lucky", -0.9, -0.1, False)]
    assert effect_sentences.losses(rows).endswith(f"{verdict} than one effect for everyone; 2 learners were looked at")
    assert effect_sentences.losses(rows[:1]).endswith(f"{verdict} than one effect for everyone")
    assert "Lucky" not in effect_sentences.losses(rows)
    assert "could not be compared" in effect_sentences.losses(rows[1:])


def test_without_heterogeneity_that_is_said():
    text = said(SECTIONS["performance"](record.plain()))
    assert "Whether effects differ between patients was not assessed in this run." in text
    assert "All 5 estimators agree" in text


def test_uncertainty_has_e_value_grid_and_placebos(trial):
    section = SECTIONS["uncertainty"](trial)
    text = said(section)
    assert "Of 2 placebo tests none shows an effect where there can be none." in section.lead
    assert "E-value of the estimate 1.91" in text
    assert "11 of 25 strengths of a hidden confounder would take the effect away" in text
    assert "Permuted treatment | +0.4 (−7.4 to +8.2) | 200 | 5.5% | 0.48" in text


def test_a_placebo_that_shows_an_effect_is_named():
    bad = {"placebos": [{"title": "Transfer", "p": 0.01}, {"title": "Control", "p": 0.4}]}
    assert effect_sentences.sensitivity(bad) == "Transfer shows an effect where there can be none."


def test_shuffled_treatment_is_judged_by_how_often_it_rejects_and_not_by_the_p_of_the_estimate():
    real = {"title": "Permuted", "p": 0.005, "draws": 200, "rejected": 0.05}
    assert "shows no effect where there can be none" in effect_sentences.sensitivity({"placebos": [real]})
    broken = {**real, "p": 0.5, "rejected": 0.2}
    assert effect_sentences.sensitivity({"placebos": [broken]}) == "Permuted shows an effect where there can be none."


def test_subgroups_have_interactions_and_say_when_they_were_chosen(trial):
    text = said(SECTIONS["subgroups"](trial))
    assert "interaction p 0.63, adjusted 1.00" in text
    assert "named before the run" in text
    assert "female | 298 | 122 | 41.0% | 50.0% | −9.0" in text
    late = SECTIONS["subgroups"](record.care())
    assert any(b.type == "note" and b.kind == "warn" for b in late.blocks)
    assert "events" not in next(figures(late)).table.columns


def test_patients_are_told_in_absolute_numbers(trial):
    text = said(SECTIONS["explanation"](trial))
    assert "about 9 fewer deaths by 1,825 days; 95% interval 2 to 16 fewer" in text
    assert "A woman of 76 with 1 positive node: about 1 more" in text
    assert "With Observation 43 of 100 have the outcome, with Levamisole + 5-FU 34." in text
    assert "The predicted effect changes most with" in text
    assert "95% interval 9 more to 7 fewer" in statement(trial["effect"]["patients"][1], contrast.question(trial))


def test_three_rounded_counts_agree(trial):
    one = {
        "title": "A man",
        "control_of_100": 9.4,
        "active_of_100": 36.6,
        "fewer": -27.2,
        "lower": -27.3,
        "upper": -27.1,
    }
    assert statement(one, contrast.question(trial)).endswith("95% interval 27 to 28 more.")
    trial["effect"]["patients"] = [{**one, "active_of_100": 36.4, "fewer": -27.0}, {**one, "active_of_100": 9.2}]
    text = said(SECTIONS["explanation"](trial))
    assert "With Observation 9 of 100 have the outcome, with Levamisole + 5-FU 36." in text
    assert "A man: about 27 more" in text
    assert "A man: about as many" in text


def test_an_icon_array_has_a_hundred_icons_an_arm(trial):
    figure = FIGURES["icon_array"](DRAWN["icon_array"], Context())
    assert figure.table.cells()[0][1].text == "43"
    assert figure.table.cells()[1][2].text == "66"
    assert len(re.findall(r"<use ", figure.svg)) == 200


def test_policies_stand_beside_treating_all_and_none(trial):
    section = SECTIONS["deployment"](trial)
    text = said(section)
    assert section.lead.startswith("No rule is shown to do better than treating everyone. The model takes")
    assert "Treat nobody | 0% | 51.4%" in text
    assert "If positive nodes <= 1 and age > 74: do not treat" in text
    assert "Treat if the benefit exceeds 5.0 percentage points" in text
    assert "The model refuses to answer when" in text


def test_the_best_rule_depends_on_which_way_is_good():
    rows = [
        {"title": "A", "value": {"value": 0.3}, "against_all": {"value": 0.1, "lower": 0.05, "upper": 0.2}},
        {"title": "B", "value": {"value": 0.4}, "against_all": {"value": -0.02, "lower": -0.1, "upper": 0.1}},
    ]
    assert effect_sentences.policies(rows) == "Best estimated outcome: A, shown to do better than treating everyone"
    assert effect_sentences.policies(rows, "higher").startswith("Best estimated outcome: B; it is not shown")


def test_checklists_lead_to_the_section_that_shows_it():
    assert link("effect.flow.assigned").href == "#data"
    assert link("effect.policy").href == "#deployment"
    assert link("effect.heterogeneity").href == "#performance"
    assert link("effect").href == "#performance"


def test_the_index_gives_the_average_effect(trial):
    text = plain(render_index([{"results": trial, "href": "a/report.html"}]))
    assert "Risk difference (percentage points) −11.0 (−18.4 to −3.6)" in text
    assert "Unadjusted −11.6" in text
    assert "619" in text


def test_two_runs_are_compared_by_their_average_effect(trial):
    found = {"measures": {"risk_difference": record.m("risk_difference", -0.11, 0.038)}}
    written = plain(render_compare({**trial, "performance": found}, {**trial, "performance": found}))
    assert "Risk difference is −0.110 (−0.184 to −0.036) in A and −0.110 (−0.184 to −0.036) in B" in written


def test_other_studies_are_left_as_they_are():
    results = record.sample.binary()
    assert not view.effect(results)
    assert view.context(results).predicts == "risk"
    assert "estimand" not in said(SECTIONS["verdict"](results))
    assert "The predicted risk changes most" in said(SECTIONS["explanation"](results))


# --------------------------------------------------------------------------------------------------------- the drawings


def test_a_forest_of_ratios_has_a_log_axis(trial):
    asked = contrast.question(trial)
    data = {**DRAWN["effect_forest"], "scale": asked.scale("hazard_ratio"), "axis": "Hazard ratio"}
    data["rows"] = [{"label": "Cox", "measure": {"value": 0.7, "lower": 0.5, "upper": 0.9}}]
    svg = FIGURES["effect_forest"](data, Context()).svg
    assert "(log axis)" in svg
    assert ">0.70 (0.50 to 0.90)</text>" in svg


def test_a_forest_keeps_its_axis_when_one_interval_is_far_wider():
    rows = [{"label": str(k), "measure": {"value": -0.1, "lower": -0.2, "upper": 0.0}} for k in range(4)]
    data = {**DRAWN["effect_forest"], "rows": rows}
    assert "Arrows" not in FIGURES["effect_forest"](data, Context()).caption
    wide = {"label": "wide", "measure": {"value": -0.1, "lower": -5.0, "upper": 4.8}}
    assert "Arrows" in FIGURES["effect_forest"]({**data, "rows": [*rows, wide]}, Context()).caption


def test_an_estimate_that_is_not_there_says_why():
    rows = [{"label": "Matching", "measure": {"value": None, "note": "too few pairs"}}]
    figure = FIGURES["effect_forest"]({**DRAWN["effect_forest"], "rows": rows}, Context())
    assert ">too few pairs</text>" in figure.svg
    assert figure.table.cells()[0][1].text == "not estimable"


def test_either_targeting_curve_may_be_absent():
    for key in ("toc", "qini"):
        figure = FIGURES["targeting"]({**DRAWN["targeting"], key: None}, Context())
        assert {row[0].text for row in figure.table.cells()} == {"Qini curve" if key == "toc" else "Targeting curve"}
        assert ("doubly robust:" in figure.caption) == (key == "qini")


def test_a_flow_counts_who_was_left_out():
    figure = FIGURES["trial_flow"](DRAWN["trial_flow"], Context())
    assert "Left out: 310" in figure.svg
    assert [c.text for c in figure.table.cells()[1]] == ["Left out: Assigned to levamisole alone", "310", "–", "–"]
    assert figure.title == "All 619 assigned patients were analysed"


def test_balance_counts_what_is_over_the_limit():
    rows = [{"label": "Age", "smd": 0.3, "smd_weighted": 0.15}, {"label": "Sex", "smd": -0.2, "smd_weighted": 0.01}]
    assert effect_sentences.balance({"rows": rows, "limit": 0.1}) == (
        "2 of 2 standardised differences are above 0.1 (largest Age, 0.30), 1 after weighting"
    )


def test_a_grid_marks_where_the_effect_is_gone():
    figure = FIGURES["bias_grid"](DRAWN["bias_grid"], Context())
    assert figure.svg.count("*</text>") == 11
    still = {**DRAWN["bias_grid"], "adjusted": [[0.7] * 5] * 5}
    assert FIGURES["bias_grid"](still, Context()).title.startswith("No hidden confounder")


def test_points_and_numbers_keep_their_digits():
    assert Scale("dr_loss", "number", digits=4).interval({"value": 0.00123, "lower": -0.002, "upper": 0.005}) == (
        "+0.0012 (−0.0020 to +0.0050)"
    )
    assert Scale("mean_difference", "number").text(123.4, -5.0) == ["+123", "−5"]
    assert Scale("x", "number").interval(None) == numbers.ABSENT
