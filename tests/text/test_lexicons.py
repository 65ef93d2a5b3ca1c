"""Every lexicon that comes with the package: names hang together, every phrase and every trigger does what it says."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import numpy as np
import pytest

from aimed.core.errors import AimedError
from aimed.text.labeller import ReportLabeller
from aimed.text.lexicon import Lexicon, NoneOf, lexicon_names, load_lexicon

CHEXPERT = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]
NIH = [
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
]


def spelled_out(phrase: str) -> list[str]:
    """All wordings of a phrase: each alternative, gaps left empty, the free ending cut off."""
    parts = re.split(r"\(([^)]*)\)", phrase)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [" ".join(re.sub(r"\.\.\d+", " ", "".join(row)).replace("*", "").split()) for row in product(*choices)]


@pytest.fixture(scope="module", params=lexicon_names())
def lexicon(request: pytest.FixtureRequest) -> Lexicon:
    return load_lexicon(request.param)


@pytest.fixture(scope="module")
def chest() -> Lexicon:
    return load_lexicon("chest-xray")


@pytest.fixture(scope="module")
def labeller() -> ReportLabeller:
    return ReportLabeller("chest-xray", targets="chexpert")


@pytest.fixture(scope="module")
def nih() -> ReportLabeller:
    return ReportLabeller("chest-xray", targets="nih")


def values_of(labeller: ReportLabeller, notes: list[str], target: str) -> np.ndarray:
    labels = labeller.label(notes)
    return labels.values[:, list(labels.targets).index(target)]


def test_versions_have_three_numbers(lexicon: Lexicon) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", lexicon.version)
    assert re.fullmatch(r"\d+\.\d+\.\d+", lexicon.language.version)
    assert lexicon.title


def test_every_concept_has_a_title_and_something_to_find(lexicon: Lexicon) -> None:
    for name, concept in lexicon.concepts.items():
        assert concept.title, name
        assert concept.phrases or concept.forms or concept.anatomy, name
        assert bool(concept.anatomy) == bool(concept.abnormal or concept.normal), name


def test_every_concept_counts_for_a_label(lexicon: Lexicon) -> None:
    used: set[str] = set()
    for labels in lexicon.targets.values():
        for made_of in labels.values():
            used.update(made_of.unless if isinstance(made_of, NoneOf) else made_of)
    for concept in lexicon.concepts.values():
        used.update(concept.children)
    assert set(lexicon.concepts) == used


def test_no_phrase_stands_twice_and_all_are_short(lexicon: Lexicon) -> None:
    lists = {
        f"{name}.{field}": values
        for name, concept in lexicon.concepts.items()
        for field, values in concept.model_dump().items()
        if isinstance(values, tuple | list)
    }
    for kind, assertion in lexicon.language.assertions.items():
        lists.update({f"{kind}.{side}": getattr(assertion, side) for side in ("before", "after", "pseudo")})
    for where, phrases in lists.items():
        twice = [phrase for phrase, n in Counter(phrases).items() if n > 1]
        assert not twice, (where, twice)
        for phrase in phrases:
            # A longer row of words would be a sentence of some report and not a word of the language.
            assert all(len(one.split()) <= 8 for one in spelled_out(phrase)), (where, phrase)
            assert phrase == phrase.strip().lower(), (where, phrase)


def test_a_trigger_belongs_to_one_assertion(lexicon: Lexicon) -> None:
    for side in ("before", "after"):
        owner: dict[str, str] = {}
        for kind, assertion in lexicon.language.assertions.items():
            for phrase in getattr(assertion, side):
                for one in spelled_out(phrase):
                    assert owner.setdefault(one, kind) == kind, (side, one)


def test_both_label_sets_of_the_chest_are_whole(chest: Lexicon) -> None:
    assert list(chest.targets["chexpert"]) == CHEXPERT
    assert list(chest.targets["nih"]) == NIH


def test_every_phrase_is_found_as_its_concept(chest: Lexicon, labeller: ReportLabeller, nih: ReportLabeller) -> None:
    everything = {**chest.targets["chexpert"]}
    target_of = {c: t for t, made in everything.items() if not isinstance(made, NoneOf) for c in made}
    target_of.update({c: t for t, made in chest.targets["nih"].items() if not isinstance(made, NoneOf) for c in made})
    notes, concepts = [], []
    for name, concept in chest.concepts.items():
        if name not in target_of:
            continue
        needed = f" {spelled_out(concept.needs[0])[0]}" if concept.needs else ""
        for phrase in concept.phrases:
            notes.append(f"Seen today: {spelled_out(phrase)[0]}{needed}.")
            concepts.append(name)
    found = [set(), set()]
    for i, one in enumerate((labeller, nih)):
        evidence = one.label(notes).evidence
        found[i] = set(zip(evidence["report"].to_list(), evidence["concept"].to_list(), strict=True))
    lost = [(c, n) for i, (c, n) in enumerate(zip(concepts, notes, strict=True)) if (i, c) not in found[0] | found[1]]
    assert len(notes) > 400
    assert not lost


def test_every_unmention_takes_the_mention_away(chest: Lexicon, labeller: ReportLabeller) -> None:
    notes, concepts = [], []
    for name, concept in chest.concepts.items():
        for phrase in concept.not_:
            notes.extend(f"Seen today: {one}." for one in spelled_out(phrase))
            concepts.extend([name] * len(spelled_out(phrase)))
    evidence = labeller.label(notes).evidence
    found = set(zip(evidence["report"].to_list(), evidence["concept"].to_list(), strict=True))
    kept = [(c, n) for i, (c, n) in enumerate(zip(concepts, notes, strict=True)) if (i, c) in found]
    assert not kept


@pytest.mark.parametrize(("value", "wanted"), [("negative", 0.0), ("uncertain", -1.0)], ids=["denial", "doubt"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_every_trigger_of_a_value_gives_it(
    chest: Lexicon, labeller: ReportLabeller, value: str, wanted: float, side: str
) -> None:
    triggers = [
        one
        for kind, assertion in chest.language.assertions.items()
        # A choice between two needs the two.
        if assertion.value == value and kind != "alternative"
        for phrase in getattr(assertion, side)
        for one in spelled_out(phrase)
        if one
    ]
    form = "Today {} pneumothorax on the right." if side == "before" else "A pneumothorax {}."
    # A question mark touches its word.
    notes = [form.format(one).replace(" ?", "?").replace("? ", " ?") for one in triggers]
    got = values_of(labeller, notes, "Pneumothorax")
    wrong = [(one, v) for one, v in zip(triggers, got, strict=True) if v != wanted]
    assert len(triggers) > 10
    assert not wrong


@pytest.mark.parametrize("context", ["history", "hypothetical", "family"])
def test_every_trigger_of_a_context_takes_the_mention_out(
    chest: Lexicon, labeller: ReportLabeller, context: str
) -> None:
    triggers = [
        one
        for assertion in chest.language.assertions.values()
        if assertion.context == context
        for phrase in assertion.before
        for one in spelled_out(phrase)
    ]
    got = values_of(labeller, [f"Patient {one} pneumothorax." for one in triggers], "Pneumothorax")
    assert not [(one, v) for one, v in zip(triggers, got, strict=True) if not np.isnan(v)]


def test_what_has_gone_is_absent(chest: Lexicon, labeller: ReportLabeller) -> None:
    assertion = next(a for a in chest.language.assertions.values() if a.context == "resolved")
    notes = [f"Today {one} pneumothorax." for p in assertion.before for one in spelled_out(p)]
    notes += [f"The pneumothorax {one}." for p in assertion.after for one in spelled_out(p)]
    got = values_of(labeller, notes, "Pneumothorax")
    assert not [(note, v) for note, v in zip(notes, got, strict=True) if v != 0]


def test_pseudo_negation_denies_nothing(chest: Lexicon, labeller: ReportLabeller) -> None:
    pseudo = [one for p in chest.language.assertions["negation"].pseudo for one in spelled_out(p)]
    changes = [one for one in pseudo if "change" in one and not one.endswith("changed")]
    got = values_of(labeller, [f"There has been {one} in the left pneumothorax." for one in changes], "Pneumothorax")
    assert len(changes) > 20
    assert not [(one, v) for one, v in zip(changes, got, strict=True) if v != 1]


def test_the_two_label_sets_read_doubt_by_their_own_convention(labeller: ReportLabeller, nih: ReportLabeller) -> None:
    note = "Right basal atelectasis versus infiltrate. Probable left pleural effusion. Possible nodule."
    coded = dict(zip(CHEXPERT, np.ravel(labeller.label_one(note).values), strict=True))
    given = dict(zip(NIH, np.ravel(nih.label_one(note).values), strict=True))
    assert coded["Atelectasis"] == coded["Pleural Effusion"] == coded["Lung Lesion"] == -1
    assert given["Atelectasis"] == given["Infiltration"] == given["Effusion"] == 1
    assert given["Nodule"] == -1


@pytest.mark.parametrize(
    ("note", "coded", "indexed"),
    [
        ("Borderline heart size.", {"Cardiomegaly": 1}, {"Cardiomegaly": 1}),
        ("Small pericardial effusion.", {"Pleural Effusion": np.nan}, {"Effusion": 1}),
        ("No pleural or pericardial effusion.", {"Pleural Effusion": 0}, {"Effusion": 0}),
        ("No pericardial or pleural effusion.", {"Pleural Effusion": 0}, {"Effusion": 0}),
        ("Calcified nodule at the left apex.", {"Lung Lesion": np.nan}, {"Nodule": 1}),
        ("Nodular opacity at the left apex.", {"Lung Lesion": 1}, {"Nodule": np.nan}),
        ("Cystic fibrosis.", {"Pneumonia": np.nan}, {"Fibrosis": np.nan}),
        ("Subcutaneous emphysema.", {"Pneumothorax": np.nan}, {"Emphysema": np.nan}),
        ("Superimposed infection.", {"Pneumonia": 1}, {"Pneumonia": np.nan}),
        ("Thickening of the minor fissure.", {"Pleural Other": 1}, {"Pleural_Thickening": 1}),
        ("Complete collapse of the right lung.", {"Atelectasis": 1}, {"Atelectasis": 1}),
        ("Collapse of the vertebral body.", {"Atelectasis": np.nan, "Fracture": 1}, {"Atelectasis": np.nan}),
        ("Bilateral pulmonary oedema.", {"Edema": 1}, {"Edema": 1}),
        ("Large hiatus hernia.", {"No Finding": np.nan}, {"Hernia": 1}),
        ("The heart size remains slightly large.", {"Cardiomegaly": 1}, {"Cardiomegaly": 1}),
        ("The heart is not enlarged.", {"Cardiomegaly": 0}, {"Cardiomegaly": 0}),
        ("Heart size at the upper limits of normal.", {"Cardiomegaly": 0}, {"Cardiomegaly": 0}),
        ("Cardiac pacemaker in normal position.", {"Cardiomegaly": np.nan, "Support Devices": 1}, {}),
        ("Enlarged mediastinal lymph nodes.", {"Enlarged Cardiomediastinum": np.nan, "No Finding": np.nan}, {}),
        ("Heart is at the upper limits of normal or mildly enlarged.", {"Cardiomegaly": 1}, {"Cardiomegaly": 1}),
        ("The lungs are clear.", {"No Finding": 1, "Lung Opacity": np.nan}, {"Infiltration": np.nan}),
    ],
)
def test_what_counts_for_which_label(
    labeller: ReportLabeller, nih: ReportLabeller, note: str, coded: dict[str, float], indexed: dict[str, float]
) -> None:
    for one, wanted in ((labeller, coded), (nih, indexed)):
        labels = one.label([note])
        got = dict(zip(labels.targets, labels.values[0], strict=True))
        assert {k: got[k] for k in wanted} == pytest.approx(wanted, nan_ok=True), one.name


def test_a_report_of_another_person_takes_its_own_lexicon(tmp_path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\nversion = "0.1.0"\nlanguage = "english"\ntitle = "Own"\nextends = "chest-xray"\n'
        '[targets.mine]\n"Cyst" = ["cyst"]\n[concepts.cyst]\ntitle = "Cyst"\nphrases = ["cyst", "cysts"]\n',
        encoding="utf-8",
    )
    labels = ReportLabeller(str(path), targets="mine").label(["A cyst.", "No cyst.", "Clear lungs."])
    np.testing.assert_array_equal(labels.values[:, 0], [1.0, 0.0, np.nan])


def test_a_set_of_labels_that_is_not_there_is_named() -> None:
    with pytest.raises(AimedError, match="chexpert"):
        ReportLabeller("chest-xray", targets="chexprt")
