"""The page as a whole: complete, valid, escaped, offline, repeatable and whole when blocks are missing."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aimed.report import page
from aimed.report.compare import render_compare
from aimed.report.figures import FIGURES
from aimed.report.index import render_index
from aimed.report.sections import SECTIONS


def _loaded(name):
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample, sample_masks, sample_notes = _loaded("sample"), _loaded("sample_masks"), _loaded("sample_notes")

IDS = [
    "verdict",
    "checks",
    "data",
    "outcome",
    "model",
    "performance",
    "uncertainty",
    "subgroups",
    "sites",
    "robustness",
    "explanation",
    "failures",
    "human-factors",
    "deployment",
    "checklists",
    "reproduce",
]
KINDS = {
    "binary": sample.binary,
    "survival": sample.survival,
    "competing": sample.competing,
    "multilabel": sample.multilabel,
    "masks": sample_masks.masks,
    "notes": lambda: sample_notes.notes(sample.multilabel()),
}
VOID = {"meta", "br", "hr", "img", "input", "link", "col"}


class Tree(HTMLParser):
    """Checks balance and collects what the tests ask about."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.stack, self.faults, self.ids, self.refs, self.headings, self.urls = [], [], [], [], [], []
        self.figures, self.roles, self.scripts = 0, [], []
        self.text = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.stack.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        for key in ("href", "src", "aria-labelledby"):
            if key in attrs:
                value = attrs[key]
                (self.refs if key == "aria-labelledby" or value.startswith("#") else self.urls).append(
                    value.lstrip("#")
                )
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "figure":
            self.figures += 1
        if attrs.get("role") == "img":
            self.roles.append(attrs.get("aria-label"))
        if tag == "p" and "p" in self.stack[:-1]:
            self.faults.append("p in p")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if not self.stack or self.stack[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.stack[-3:]}")
        else:
            self.stack.pop()

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.text.append(data)


class Drawn(dict):
    """Drawings by what they were drawn from, so that pages which differ in one block do not draw all others anew."""

    def __init__(self, drawers):
        super().__init__((name, self.kept(name, draw)) for name, draw in drawers.items())

    @staticmethod
    def kept(name, draw):
        cache = {}

        def figure(data, context):
            key = repr((data, context))
            if key not in cache:
                cache[key] = draw(data, context)
            return cache[key]

        return figure


DRAWN = Drawn(FIGURES)


@pytest.fixture
def drawn_once(monkeypatch):
    """Sections take a drawing that was made before from the same numbers."""
    assert all(callable(SECTIONS[name]) for name in SECTIONS)
    for module in {sys.modules[m] for m in sys.modules if m.startswith("aimed.report.sections.")}:
        if hasattr(module, "FIGURES"):
            monkeypatch.setattr(module, "FIGURES", DRAWN)


def read(html):
    tree = Tree()
    tree.feed(html)
    tree.close()
    return tree


@pytest.fixture(scope="module", params=list(KINDS))
def made(request):
    results = KINDS[request.param]()
    html = page.render(results)
    return results, html, read(html)


def test_is_balanced_with_unique_ids_and_no_dead_anchor(made):
    _, html, tree = made
    assert html.startswith("<!DOCTYPE html>")
    assert tree.faults == []
    assert tree.stack == []
    assert len(tree.ids) == len(set(tree.ids))
    assert set(tree.refs) <= set(tree.ids)


def test_svg_references_resolve(made):
    _, html, tree = made
    used = set(re.findall(r"url\(#([^)]+)\)", html))
    assert used
    assert used <= set(tree.ids)


def test_sections_stand_in_order_and_headings_do_not_jump(made):
    _, html, tree = made
    assert [m for m in re.findall(r'<section id="([^"]+)"', html)] == IDS == list(SECTIONS)  # noqa: C416
    assert tree.headings[0] == 1
    assert tree.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(tree.headings, tree.headings[1:], strict=False))


def test_asks_for_nothing_from_outside_and_is_small(made):
    _, html, tree = made
    assert tree.urls == []
    assert len(html.encode()) < 3_000_000
    assert not re.search(r"(?i)@import|url\((?!#)|<(link|img|iframe|object|embed)\b", html)
    assert "http://" not in html
    assert "https://" not in html


def test_every_figure_has_caption_alt_and_table_twin(made):
    _, html, tree = made
    figures = re.findall(r"<figure.*?</figure>", html, re.S)
    assert len(figures) == tree.figures == len(tree.roles) >= 11
    for figure in figures:
        assert figure.count("<figcaption>") == 1
        assert "<details>" in figure
        assert "<table" in figure
        assert re.search(r"<text", figure), "text must stay text"
    assert all(re.search(r"\d", alt) for alt in tree.roles)


def test_same_results_same_bytes(made):
    results, html, _ = made
    assert page.render(copy.deepcopy(results)) == html


def test_survives_a_round_trip_through_json(made):
    results, html, _ = made
    assert page.render(json.loads(json.dumps(results))) == html


def test_does_not_change_the_results(made):
    results, _, _ = made
    before = copy.deepcopy(results)
    page.render(results)
    assert results == before


def test_a_bad_horizon_is_not_hidden_by_a_good_one():
    results = sample.survival()
    lead = SECTIONS["performance"](results).lead
    assert lead.endswith("no miscalibration was seen by 1\u202f095 days.")
    results["performance"]["measures"]["oe@365"].update(value=1.4, lower=1.2, upper=1.6)
    assert SECTIONS["performance"](results).lead.endswith("under-predicts on average by 365 days (O/E 1.40).")


def test_no_placeholder_is_left_unfilled(made):
    _, _, tree = made
    text = " ".join(tree.text) + " ".join(tree.roles)
    assert not re.search(r"[{}]|None|\bnan\b", text)


def test_no_caption_says_a_sentence_twice(made):
    _, html, _ = made
    for caption in re.findall(r"<figcaption>.*?</figcaption>", html, re.S):
        said = [s.strip() for s in re.split(r"(?<=\.) ", re.sub("<[^>]+>", "", caption)) if s.strip()]
        assert len(said) == len(set(said)), caption


def test_top_of_the_page_says_what_it_must(made):
    results, _, tree = made
    text = " ".join(" ".join(tree.text).split())
    assert "Research use. Not a medical device." in text
    assert results["study"]["title"] in text
    assert {1: "Test part opened once", 2: "Test part opened twice"}[results["verdict"]["openings"]] in text
    for criterion in results["verdict"]["criteria"]:
        assert criterion["text"] in text


def test_figure_numbers_are_written_as_the_tables_write_them(made):
    results, html, _ = made
    name = results["study"]["primary"]
    m = results["performance"]["measures"][name]
    shown = f"{m['value']:.3f} ({m['lower']:.3f} to {m['upper']:.3f})"
    forest = next(
        f for f in re.findall(r"<figure.*?</figure>", html, re.S) if "Forest plot of" in f and "All patients" in f
    )
    svg = re.search(r"<svg.*?</svg>", forest, re.S).group(0)
    assert f">{shown}</text>" in svg


def _leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from _leaves(item, (*path, key))


BLOCKS = [(kind, k) for kind, make in KINDS.items() for k in make() if k != "schema"]
NESTED = sorted({p for make in KINDS.values() for p in _leaves(make()) if 2 <= len(p) <= 3})


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("how", ["none", "absent", pytest.param("empty", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "key"), BLOCKS)
def test_renders_without_a_block(kind, how, key):
    results = KINDS[kind]()
    if how == "absent":
        del results[key]
    else:
        results[key] = None if how == "none" or results[key] is None else type(results[key])()
    html = page.render(results)
    assert read(html).faults == []
    assert html.count("<section id=") == 16


@pytest.mark.usefixtures("drawn_once")
def test_a_missing_block_is_said_and_not_invented():
    gone = {
        "performance": "Performance was not assessed",
        "subgroups": "Subgroups were not assessed",
        "explanation": "The explanation was not assessed",
        "failures": "Failures were not assessed",
        "checklists": "Checklists were not assessed",
        "limits": "Deployment limits were not assessed",
        "model": "The model was not assessed",
    }
    full = page.render(sample.binary())
    for key, sentence in gone.items():
        assert sentence not in full
        assert sentence in page.render({**sample.binary(), key: None})
    assert "no reader study is part of this run" in full


READERS = {
    "verdict": ["verdict"],
    "study": ["verdict", "subgroups", "reproduce"],
    "checks": ["checks"],
    "split": ["checks", "sites"],
    "data": ["verdict", "data", "sites"],
    "outcome": ["outcome", "verdict"],
    "model": ["model", "uncertainty"],
    "stability": ["uncertainty"],
    "performance": ["verdict", "performance", "uncertainty", "outcome"],
    "lesions": ["performance"],
    "volumes": ["verdict", "performance"],
    "voxel_calibration": ["performance"],
    "quality": ["robustness"],
    "subgroups": ["verdict", "subgroups", "sites"],
    "explanation": ["explanation", "failures"],
    "failures": ["failures"],
    "limits": ["deployment", "robustness", "data"],
    "shortcuts": ["performance", "robustness"],
    "robustness": ["robustness"],
    "conformal": ["robustness"],
    "case_uncertainty": ["robustness"],
    "gallery": ["explanation", "failures"],
    "readers": ["performance"],
    "report_labels": ["performance", "failures"],
    "checklists": ["checklists"],
    "reproduce": ["reproduce"],
}


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("kind", KINDS)
def test_renders_with_any_nested_value_none(kind):
    full = KINDS[kind]()
    failed = []
    for path in NESTED:
        results = copy.deepcopy(full)
        node = results
        for key in path[:-1]:
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict) or path[-1] not in node:
            continue
        node[path[-1]] = None
        try:
            for section in READERS[path[0]]:
                SECTIONS[section](results)
        except Exception as error:
            failed.append((".".join(path), repr(error)))
    assert failed == []


ATTACK = "<script>alert(1)</script>\"'&$x_1$"


def _poison(value):
    if isinstance(value, dict):
        return {k: v if k == "kind" else _poison(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_poison(v) for v in value]
    return f"{value}{ATTACK}" if isinstance(value, str) else value


@pytest.mark.parametrize("kind", KINDS)
def test_user_text_is_escaped_everywhere(kind):
    results = _poison(KINDS[kind]())
    for path in (("study", "primary"), ("created",), ("subgroups", "primary")):
        node, clean = results, KINDS[kind]()
        for key in path[:-1]:
            node, clean = node[key], clean[key]
        node[path[-1]] = clean[path[-1]]
    html = page.render(results)
    tree = read(html)
    assert html.count("<script") == 1
    assert "<script>alert" not in html
    assert tree.faults == []
    assert "alert(1)" in " ".join(tree.text)
    assert "$x_1$" in html
    assert set(tree.refs) <= set(tree.ids)


def test_user_keys_are_escaped_too():
    results = sample.binary()
    results["data"]["sites"] = {ATTACK: 3}
    results["performance"]["baselines"] = {ATTACK: results["performance"]["baselines"]["age_only"]}
    results["performance"]["differences"] = {ATTACK: results["performance"]["differences"]["age_only"]}
    results["performance"]["measures"][f"{ATTACK}@5"] = results["performance"]["measures"]["brier"]
    results["stability"] = {ATTACK: 1, "rows": [{ATTACK: 2}]}
    results["checks"][0]["evidence"] = {ATTACK: {ATTACK: ATTACK}}
    assert page.render(results).count("<script") == 1


def test_script_hash_matches_the_script():
    import base64
    import hashlib

    html = page.render({})
    script = re.search(r"<script>(.*?)</script>", html, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html.replace("&#39;", "'")


def test_write_replaces_the_page_and_leaves_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    moved = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append((Path(a), Path(b))), real(a, b)))
    path = page.write(sample.binary(), tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == page.render(sample.binary())
    assert moved[0][0].parent == tmp_path
    assert moved[0][0].name != "report.html"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_write_keeps_the_old_page_when_it_fails(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")

    def fail(a, b):
        raise OSError("disk")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        page.write({}, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


def _contrast(a, b):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_colours_have_aa_contrast_in_both_schemes():
    css = page.render({})
    blocks = re.findall(r":root\{([^}]*--paper[^}]*)\}", css)[:2]
    assert len(blocks) == 2
    for block in blocks:
        colours = {
            k: "#" + "".join(c * 2 for c in v[1:]) if len(v) == 4 else v
            for k, v in re.findall(r"--([\w-]+):(#[0-9a-f]+)", block)
        }
        for text in ("ink", "muted", "accent", "warn"):
            for back in ("paper", "soft"):
                assert _contrast(colours[text], colours[back]) >= 4.5, (text, back)
        assert _contrast(colours["ink"], colours["warn-soft"]) >= 4.5


def test_index_shows_one_row_a_study_and_links_to_it():
    a, b = sample.binary(), sample.survival()
    html = render_index([{"results": a, "href": "a/report.html"}, {"results": b, "href": "javascript:alert(1)"}])
    tree = read(html)
    assert tree.faults == []
    assert "1 of 2 studies meets every criterion" in html
    assert 'href="a/report.html"' in html
    assert "javascript:" not in html
    assert f"{a['performance']['measures']['auroc']['value']:.3f}" in html
    assert "not enough evidence" in html
    assert read(render_index([{"results": {}, "href": ""}])).faults == []
    assert "Not run" not in html
    some = render_index([{"results": a, "href": "a"}], left_out=["lung: needs the extra <images>."])
    assert read(some).faults == []
    assert "<li>lung: needs the extra &lt;images&gt;.</li>" in some
    assert "<script>alert" not in render_index([{"results": _poison(a), "href": "x"}])


def test_compare_shows_measures_and_only_settings_that_differ():
    a, b = sample.binary(), sample.binary()
    b["study"]["text"] += "seed = 8\n"
    b["model"]["parameters"]["alpha"] = 0.75
    b["performance"]["measures"]["auroc"].update(value=0.6, lower=0.55, upper=0.65)
    html = render_compare(a, b)
    assert read(html).faults == []
    settings = html[html.index('id="settings"') :]
    assert "study.seed" in settings
    assert "model parameter alpha" in settings
    assert "l1_ratio" not in settings
    assert "the intervals do not overlap" in html
    assert "the intervals overlap" in render_compare(a, a)
    assert "The two runs have the same settings" in render_compare(a, a)
    assert read(render_compare({}, a)).faults == []
    assert "<script>alert" not in render_compare(_poison(a), _poison(b))


@pytest.mark.usefixtures("drawn_once")
def test_absent_parts_are_said_without_naming_blocks():
    text = " ".join(read(page.render({})).text)
    assert "block" not in text
    assert "Subgroups were not assessed in this run." in text
    gone = {**sample.binary(), "stability": None}
    assert "Stability under refitting was not assessed in this run." in page.render(gone)


@pytest.mark.usefixtures("drawn_once")
def test_counts_of_the_test_part_stand_beside_those_of_a_thousand():
    html = page.render(sample.binary())
    row = next(t for t in sample.binary()["performance"]["thresholds"] if t["chosen"])
    own = "".join(f'<td class="num"><strong>{row[k]}</strong></td>' for k in ("tp", "fp", "fn", "tn"))
    assert own in html
    assert "Kaplan-Meier estimates, which allow for censoring" not in html
    assert "Kaplan-Meier estimates, which allow for censoring" in page.render(sample.survival())


@pytest.mark.usefixtures("drawn_once")
def test_gaps_that_are_all_unknown_take_one_row():
    results = sample.binary()
    note = "Fewer than two groups have enough evidence."
    for column in results["subgroups"]["columns"]:
        column["gap"] = {k: {"value": None, "note": note} for k in ("auroc", "oe", "brier")}
    html = page.render(results)
    assert html.count(note) == len(results["subgroups"]["columns"])
    assert "Bonferroni" in html


@pytest.mark.usefixtures("drawn_once")
def test_a_group_too_small_to_describe_keeps_its_count():
    results = sample.binary()
    results["subgroups"]["columns"][0]["groups"][0].update(n="<11", events=None, measures={}, judged=False)
    assert '<td class="num">&lt;11</td>' in page.render(results)


@pytest.mark.usefixtures("drawn_once")
def test_a_study_changed_after_the_opening_is_said_first():
    results = sample.binary()
    assert "was changed after the test part was first opened" not in page.render(results)
    results["verdict"]["changed_after_opening"] = True
    html = page.render(results)
    assert html.index("The study file was changed after the test part was first opened") < html.index('id="checks"')


@pytest.mark.usefixtures("drawn_once")
def test_facts_of_the_model_are_in_words():
    html = page.render(sample.binary())
    section = html[html.index('<section id="model"') : html.index('<section id="performance"')]
    for words in (
        "risk of 20%, named in the study file before the run",
        "with an indicator that says where",
        "Rows needed in all",
        "Rows needed for a shrinkage of 0.9",
        "0.110 (15 % of the largest possible Cox-Snell R2)",
        "Refits on draws of patients: 200",
    ):
        assert words in section
    for raw in ("mean_indicators", "R2 cs", "Dominant", "Horizon of the calculation"):
        assert raw not in section


@pytest.mark.usefixtures("drawn_once")
def test_captions_do_not_repeat_the_whole_interval_method():
    results = sample.binary()
    results["performance"]["interval_method"] = "percentile bootstrap of patients, 500 resamples; stratified by event"
    html = page.render(results)
    assert html.count("stratified by event") == 1
    assert "95% bootstrap intervals over patients" in html


@pytest.mark.usefixtures("drawn_once")
def test_evidence_of_a_check_is_folded():
    html = page.render(sample.binary())
    assert '<details class="detail"><summary>Numbers and source</summary>' in html
    assert "<dt>auroc</dt><dd>0.812</dd>" in html


@pytest.mark.usefixtures("drawn_once")
def test_findings_stand_by_their_labels_beside_the_baselines():
    results = sample.multilabel()
    html = page.render(results)
    text = " ".join(" ".join(read(html).text).split())
    for words in ("Macro AUROC", "AUROC of pneumothorax", "Worst finding (", "Gain over the best baseline"):
        assert words in text
    macro = results["performance"]["measures"]["macro_auroc"]
    figure = next(f for f in re.findall(r"<figure.*?</figure>", html, re.S) if "AUROC by finding." in f)
    svg = re.search(r"<svg.*?</svg>", figure, re.S).group(0)
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert drawn.index("Mean over findings") < min(drawn.index(v[1]) for v in sample.FINDINGS.values())
    assert f"{macro['value']:.3f} ({macro['lower']:.3f} to {macro['upper']:.3f})" in drawn
    assert "View, tags and borders" in drawn
    assert not re.search(
        r"[a-z_]+@|macro_|lung_nodule", text.replace("auroc@pneumothorax.lower", "").replace("macro_auroc.lower", "")
    )
    assert "<img" not in html


@pytest.mark.usefixtures("drawn_once")
def test_each_finding_is_folded_with_what_a_yes_no_outcome_shows():
    html = page.render(sample.multilabel())
    performance = html[html.index('<section id="performance"') : html.index('<section id="uncertainty"')]
    folds = re.findall(r'<details class="one"><summary><span>([^<]*)</span>', performance)
    assert folds == [label for _, label, *_ in sample.FINDINGS.values()]
    last = performance[performance.index(f"<span>{folds[-1]}</span>") :]
    for words in (
        "ROC curve.",
        "Precision-recall curve.",
        "Calibration plot.",
        "Decision curve.",
        "<h4>Calibration</h4>",
    ):
        assert words in last


@pytest.mark.usefixtures("drawn_once")
def test_thumbnails_are_shown_only_as_pictures_in_the_block():
    results = sample.multilabel(("effusion",))
    point = "data:image/png;base64,iVBORw0KGgo="
    results["gallery"]["thumbnails"] = {
        "thumbnails": {"1": point, "2": "https://elsewhere.example/x.png"},
        "caption": "Left.",
    }
    html = page.render(results)
    assert html.count("<img") == html.count(f'<img src="{point}" alt="Case 1') == 1
    assert "elsewhere" not in html
    assert read(html).faults == []


@pytest.mark.usefixtures("drawn_once")
def test_a_picture_study_says_what_could_fool_it():
    results = sample.multilabel()
    lead = SECTIONS["robustness"](results).lead
    assert lead.startswith(
        "3 of 3 findings are told without the lungs; 2 of 3 changes of the pictures are shown to cost"
    )
    assert "sets break their promise for 3 of 3 findings" in lead
    for change in results["robustness"]["changes"]:
        change["p_holm"] = 0.4
    assert "0 of 3 changes" in SECTIONS["robustness"](results).lead
    assert "none after adjustment" in page.render(results)


@pytest.mark.usefixtures("drawn_once")
def test_deep_survival_models_show_their_learning_curves_too():
    results = sample.survival()
    assert "Learning curves." not in page.render(results)
    results["model"]["learning"] = [{"train_loss": [2.0, 1.5, 1.2], "tune_loss": [2.1, 1.7, 1.8], "best_epoch": 2}]
    html = page.render(results)
    assert "After epoch 2 of 3, which was kept, the tune loss rises while the train loss falls" in html
    assert "Macro AUROC, tune part" not in html


@pytest.mark.slow
def test_fourteen_findings_weigh_less_than_half_of_what_a_page_may():
    results = sample.multilabel()
    perf = results["performance"]
    for k in range(14 - len(sample.FINDINGS)):
        perf["labels"][f"other_{k}"] = f"Other finding {k}"
        perf["findings"][f"other_{k}"] = copy.deepcopy(perf["findings"]["effusion"])
    assert len(page.render(results).encode()) < 1_500_000


@pytest.mark.parametrize(
    ("gallery", "words"),
    [
        (None, "the page holds no patient rows."),
        ({"ids": False}, "the page holds no patient rows."),
        ({"ids": True}, "the page holds ids of patients: handle it as such."),
        ({"ids": True, "thumbnails": {"thumbnails": {}}}, "the page holds ids and pictures of patients"),
        ({"pictures": {"scopes": {"overall": {"1": {}}}}}, "the page holds pictures of patients: handle it as such."),
        ({"pictures": {"scopes": {}}}, "the page holds no patient rows."),
    ],
)
def test_the_foot_says_what_of_patients_is_on_the_page(gallery, words):
    assert words in page._foot({"gallery": gallery})
