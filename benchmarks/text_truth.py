"""How right reports and notes are read: labels beside indexers, sentences of known meaning, planted identifiers.

`text.py` runs it as `--only accuracy` and `--only identifiers`. Real reports and public sentences are read from the
folder that AIMED_DATA leads to; what needs them is left out where they are not.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import text_plain

HERE = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("AIMED_DATA", HERE / "../shared/data"))
FINDINGS = tuple(text_plain.PHRASES)
SHAPES = ("TITLE", "NRP", "AGE")
"""Spans of the public sentences that Safe Harbor lets stay: titles, nations, ages (below 90)."""


def _part(kind: str, group: str, parts: int) -> int:
    """Say in which of some parts a group is, by a hash."""
    return int(hashlib.sha256(f"{kind}{group}".encode()).hexdigest(), 16) % parts


def _head(cells: Sequence[str]) -> None:
    print("| " + " | ".join(cells) + " |\n" + "|---" * len(cells) + "|", flush=True)


def _line(cells: Sequence[Any]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _shown(record: dict[str, Any]) -> str:
    if record["value"] is None:
        return "none"
    if record.get("lower") is None:
        return f"{record['value']:.3f}"
    return f"{record['value']:.3f} ({record['lower']:.3f}-{record['upper']:.3f})"


# --------------------------------------------------------------------------------------------------------------- labels


def _open_i() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return notes, gold labels and the fifth of each report; the lexicon was written without a look at fifth 0."""
    import polars as pl

    gold = pl.read_csv(DATA / "reports" / "openi_gold_dev.csv")
    found = pl.read_csv(DATA / "reports" / "openi_reports_dev.csv", infer_schema_length=0)
    joined = found.with_columns(filename="CXR" + pl.col("uid")).join(gold, on="filename", maintain_order="left")
    notes = (joined["findings"].fill_null("") + "\n" + joined["impression"].fill_null("")).to_list()
    fifth = np.array([_part("aimed-held-", uid, 5) for uid in joined["uid"]])
    return notes, joined.select(FINDINGS).to_numpy().astype(float), fifth


def _by_lexicon(notes: list[str]) -> np.ndarray:
    from aimed.text.labeller import ReportLabeller

    labels = ReportLabeller("chest-xray", targets="nih").label(notes)
    return labels.values[:, [labels.targets.index(name) for name in FINDINGS]]


def _plainly(notes: list[str]) -> np.ndarray:
    said = np.full((len(notes), len(FINDINGS)), np.nan)
    for i, note in enumerate(notes):
        for name, value in text_plain.labels(note).items():
            said[i, FINDINGS.index(name)] = value
    return said


def _learned(name: str, notes: list[str], gold: np.ndarray, fifth: np.ndarray) -> np.ndarray:
    """Return what a model says of each fifth that learned, and set its thresholds, on the others."""
    from aimed.text import TEXT_MODELS

    said = np.empty(gold.shape)
    for held in range(5):
        learn = np.flatnonzero(fifth != held)
        model = TEXT_MODELS[name]().fit([notes[i] for i in learn], gold[learn], names=FINDINGS)
        ask = np.flatnonzero(fifth == held)
        said[ask] = model.decide(model.predict_proba([notes[i] for i in ask]))
    return said


def _reports(quick: bool) -> None:
    from aimed.metrics.report_labels import measures_report_labels

    notes, gold, fifth = _open_i()
    ways = {
        "lexicon": lambda: _by_lexicon(notes),
        "re, a loop": lambda: _plainly(notes),
        "keywords": lambda: _learned("keywords", notes, gold, fifth),
        "words": lambda: _learned("words", notes, gold, fifth),
        "combined": lambda: _learned("combined", notes, gold, fifth),
    }
    if quick:
        ways = {name: way for name, way in ways.items() if name in ("lexicon", "re, a loop")}
    keys = [name.lower() for name in FINDINGS]
    means = ["micro_precision", "micro_recall", "micro_f1", "macro_f1"]
    found: dict[str, dict[str, Any]] = {}

    def measured(name: str, said: np.ndarray, rows: np.ndarray, wanted: list[str]) -> dict[str, Any]:
        return measures_report_labels(gold[rows], said[rows], names=wanted, findings=keys, gold_coding="certain")

    print(f"\n## {len(notes):,} reports of Open-i, {len(FINDINGS)} findings, certain positives\n")
    print(
        "Learned models: five parts by a hash of the report, each read by models that did not see it. The lexicon and"
    )
    print(
        "the plain pass learn nothing; the lexicon was tuned on four of the five parts, the last line is the fifth.\n"
    )
    _head(["way", "micro precision", "micro recall", "micro F1", "macro F1", "seconds"])
    for name, way in ways.items():
        began = time.process_time()
        said = way()
        seconds = time.process_time() - began
        found[name] = measured(name, said, np.arange(len(notes)), means + [f"f1@{key}" for key in keys])
        _line([name, *(_shown(found[name][one]) for one in means), f"{seconds:.1f}"])
        if name == "lexicon":
            unseen = measured(name, said, np.flatnonzero(fifth == 0), means)
    _line([f"lexicon, {int((fifth == 0).sum())} reports nobody looked at", *(_shown(unseen[one]) for one in means), ""])
    print("\n### F1 of each finding\n")
    _head(["finding", "positive", *ways])
    for j, key in enumerate(keys):
        _line([FINDINGS[j], int(gold[:, j].sum()), *(_shown(found[name][f"f1@{key}"]) for name in ways)])


def _samples() -> None:
    import polars as pl

    from aimed.text.labeller import ReportLabeller

    samples = pl.read_csv(DATA / "reports" / "labeled_reports.csv")
    labels = ReportLabeller("chest-xray", targets="chexpert").label(samples["Reports"])
    wanted = samples.select(list(labels.targets)).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    same = (labels.values == wanted) | (np.isnan(labels.values) & np.isnan(wanted))
    print(f"\n## Samples of CheXpert\n\n{int(same.sum())} of {same.size} cells of {len(wanted)} reports agree.")


def _suite() -> None:
    """Print mention, negation and uncertainty on both halves of the sentences that were written before the rules."""
    from aimed.metrics.report_labels import measures_report_labels
    from aimed.text.labeller import ReportLabeller

    labeller = ReportLabeller("chest-xray", "chexpert")
    targets = [name for name in labeller.targets if name != "No Finding"]
    columns = [labeller.targets.index(name) for name in targets]
    print("\n## Sentences of known meaning (micro F1 over 13 findings)\n")
    _head(["half", "sentences", "mention", "negation", "uncertainty", "goal"])
    for half, what in (("dev", "rules were tuned on it"), ("report", "only for reporting")):
        path = HERE / "tests" / "text" / f"assertion_suite_{half}.toml"
        cases = [case for kind in tomllib.loads(path.read_text(encoding="utf-8"))["kind"] for case in kind["cases"]]
        gold = np.full((len(cases), len(targets)), np.nan)
        for row, case in enumerate(cases):
            for target, value in case["expected"].items():
                gold[row, targets.index(target)] = value
        said = labeller.label([case["text"] for case in cases]).values[:, columns]
        names = [f"micro_{kind}_f1" for kind in ("mention", "negation", "uncertainty")]
        found = measures_report_labels(gold, said, names=names, findings=[f"t{j}" for j in range(len(targets))])
        _line([what, len(cases), *(_shown(found[name]) for name in names), ">= .95 / .95 / .85"])


def accuracy(quick: bool) -> None:
    """Print how right labels are; quickly without models that learn."""
    print("\n# Labels against what is known")
    _suite()
    if (DATA / "reports").is_dir():
        _samples()
        _reports(quick)
    else:
        print("\nNot run: the reports are not here (set AIMED_DATA to the folder that holds reports/)")


# ---------------------------------------------------------------------------------------------------------- identifiers


def _sentences() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / "deid" / "synth_dataset_v2.json").read_text(encoding="utf-8"))
    return rows


def _planted(count: int) -> None:
    from aimed.privacy.certificate import recall_certificate
    from aimed.privacy.classes import CLASSES
    from aimed.privacy.find import Finder

    def shown(one: Any) -> str:
        return "" if one is None else f"{one:.4f} ({one.lower:.4f}-{one.upper:.4f})"

    both = recall_certificate(Finder(), count)
    rules = recall_certificate(Finder(rules_only=True), count)
    print(f"\n## {both.notes:,} planted notes from {both.templates} templates that nothing was trained on\n")
    _head(["class", "identifiers", "words found", "found whole", "precision", "found whole, rules alone"])
    _line(["all", both.whole.n, shown(both.words), shown(both.whole), shown(both.precision), shown(rules.whole)])
    for one, plain in zip(both.classes, rules.classes, strict=True):
        n = 0 if one.whole is None else one.whole.n
        cells = [shown(one.words), shown(one.whole), shown(one.precision), shown(plain.whole)]
        _line([CLASSES[one.cls].title, n, *cells])


def _public(quick: bool) -> None:
    """Print what the shipped tagger finds in public sentences; it was trained on none of them."""
    from aimed.metrics.proportions import mean_share
    from aimed.privacy.find import Finder
    from aimed.privacy.tokens import tokenize

    rows = _sentences()[:: 10 if quick else 1]
    finder = Finder()
    print("\n## Public sentences, the tagger that ships (trained on planted notes alone)\n")
    print(
        "Recall without titles, nations and ages, which Safe Harbor lets stay; a word in any span is rightly found.\n"
    )
    _head(["quarter of the templates", "sentences", "token recall", "of all spans", "token precision"])
    parts: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray, str]]] = {}
    for row in rows:
        tokens = tokenize(row["full_text"])
        named, spoken, found = (np.zeros(len(tokens), np.bool_) for _ in range(3))
        for span in row["spans"]:
            inside = (tokens.start < span["end_position"]) & (tokens.stop > span["start_position"])
            spoken |= inside
            if span["entity_type"] not in SHAPES:
                named |= inside
        for one in finder.find(row["full_text"]):
            found |= (tokens.start < one.end) & (tokens.stop > one.start)
        group = str(row["template_id"])
        for name in (str(1 + _part("template ", group, 4)), "all"):
            parts.setdefault(name, []).append((named, spoken, found, group))

    for name, listed in sorted(parts.items()):
        who = np.concatenate([np.full(len(one[0]), one[3]) for one in listed])
        named, spoken, found = (np.concatenate([one[k] for one in listed]) for k in range(3))
        cells = []
        for right, among in ((found, named), (found, spoken), (spoken, found)):
            share = mean_share(right[among].astype(float), patient=who[among])
            cells.append(f"{share:.4f} ({share.lower:.4f}-{share.upper:.4f})")
        _line([name, len(listed), *cells])


_TAGS = {
    "PERSON": "name", "TITLE": "title", "ORGANIZATION": "org", "STREET_ADDRESS": "geo", "GPE": "gpe", "ZIP_CODE": "geo",
    "NRP": "nrp", "DATE_TIME": "date", "AGE": "age", "PHONE_NUMBER": "tel", "EMAIL_ADDRESS": "web",
    "DOMAIN_NAME": "web",
}  # fmt: skip


def _trained(quick: bool, quarters: Sequence[int]) -> None:
    """Print what taggers find in a quarter of the templates that learned, and chose a threshold, on the others."""
    from aimed.privacy.eponyms import load_eponyms
    from aimed.privacy.find import rule_codes, settle
    from aimed.privacy.gazetteers import build_gazetteer
    from aimed.privacy.tokens import code_points, tokenize
    from aimed.privacy.train_tagger import Example, fit_chain, letters, made_values, pools_of

    examples = [
        Example(
            row["full_text"],
            tuple((s["start_position"], s["end_position"], _TAGS.get(s["entity_type"], "num")) for s in row["spans"]),
            str(row["template_id"]),
        )
        for row in _sentences()[:: 4 if quick else 1]
    ]
    gazetteer = build_gazetteer({"eponym": load_eponyms().names})
    made, more = made_values(1), letters(made_values(2), 3, 5)
    settings = {"c1": 0.3, "c2": 0.3, "iterations": 5 if quick else 60, "hide": 0.3, "copies": 2}

    def train(some: list[Example]) -> Any:
        pools = pools_of(some)
        for name, values in made.items():
            pools[name] = pools.get(name, []) * 3 + values
        return fit_chain(some + more, gazetteer, rule_codes, pools=pools, **settings)

    def read(model: Any, some: list[Example]) -> list[tuple[Any, ...]]:
        out = []
        for e in some:
            tokens = tokenize(e.text)
            code = rule_codes(e.text, tokens)
            truth = np.zeros(len(tokens), np.bool_)
            for a, b, _ in e.spans:
                truth |= (tokens.start < b) & (tokens.stop > a)
            chance = 1.0 - model.chances(tokens, code)[:, 0]
            out.append((code_points(e.text), tokens, gazetteer.look_up(tokens.word), chance, code > 0, truth))
        return out

    def score(known: list[tuple[Any, ...]], threshold: float) -> tuple[float, float]:
        found = np.concatenate([settle(c, t, f, p, threshold, s) for c, t, f, p, s, _ in known])
        truth = np.concatenate([one[-1] for one in known])
        both = (found & truth).sum()
        return both / truth.sum(), both / max(1, found.sum())

    print("\n## Public sentences, taggers trained on three quarters of the templates\n")
    print("Threshold: the lowest at which thirds of the three quarters, held out in turn, have a precision of .90.\n")
    _head(["quarter", "sentences", "threshold", "token recall", "token precision", "seconds", "goal"])
    for quarter in (one - 1 for one in quarters):
        began = time.process_time()
        learn = [e for e in examples if _part("template ", e.group, 4) != quarter]
        ask = [e for e in examples if _part("template ", e.group, 4) == quarter]
        inside: list[tuple[Any, ...]] = []
        for third in range(3):
            model = train([e for e in learn if _part("inner ", e.group, 3) != third])
            inside += read(model, [e for e in learn if _part("inner ", e.group, 3) == third])
        threshold = next((t for t in np.arange(0.03, 0.9, 0.01) if score(inside, t)[1] >= 0.90), 0.9)
        recall, precision = score(read(train(learn), ask), threshold)
        seconds = time.process_time() - began
        goal = ">= .98 at >= .90"
        _line([quarter + 1, len(ask), f"{threshold:.2f}", f"{recall:.4f}", f"{precision:.4f}", f"{seconds:.0f}", goal])


def identifiers(quick: bool, train: Sequence[int]) -> None:
    """Print how many identifiers are found."""
    print("\n# Identifiers against what was planted")
    _planted(200 if quick else 2_000)
    if (DATA / "deid").is_dir():
        _public(quick)
        if train:
            _trained(quick, train)
    else:
        print("\nNot run: the public sentences are not here (set AIMED_DATA to the folder that holds deid/)")
