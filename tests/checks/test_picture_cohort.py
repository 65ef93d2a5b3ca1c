"""All checks on a cohort of pictures: silent on a clean one, each planted fault counted, the test part left closed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from aimed.checks import CHECKS
from aimed.checks.context import Context
from aimed.checks.image_rows import ImageList
from aimed.checks.run import run_checks
from aimed.core import Cohort, DataError, Fold, Multilabel, Split, UnknownNameError

NEW = ("image_frames", "image_duplicates", "image_labels", "shortcuts")


def with_pictures(cohort, change):
    """Return the cohort after ``change(pixels, infos)``."""
    images = cohort.assets["images"]
    pixels, infos = images.rows(np.arange(len(images))).copy(), list(images.infos)
    change(pixels, infos)
    return replace(cohort, assets={"images": ImageList(pixels, infos)})


def by_check(findings, name, least="WARN"):
    kept = {"STOP"} if least == "STOP" else {"STOP", "WARN"}
    return [f for f in findings if f.check == name and f.severity.value in kept]


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_cohort_of_pictures_raises_no_alarm(picture_cohort, seed):
    cohort, split = picture_cohort(seed, 400)
    findings = run_checks(cohort, split, shortcut_columns=("age", "sex"), subgroups=("sex", "image_view"))
    assert [f.message for f in findings if f.severity.value != "NOTE"] == []
    notes = {f.check for f in findings}
    assert {"patients", "outcome", "sample_size", "image_labels", "shortcuts"} <= notes
    assert not notes & {"duplicates", "missingness", "columns", "leakage", "units", "censoring"}


@pytest.mark.parametrize("name", NEW)
def test_without_pictures_there_is_nothing_to_say(clean, split_of, name):
    cohort = clean(0, n=200)
    assert CHECKS[name](Context(cohort, split_of(cohort))) == []


def test_a_planted_view_warns_with_its_numbers(picture_cohort):
    cohort, split = picture_cohort(1, 400, strength=0.35)
    (warn,) = by_check(run_checks(cohort, split, shortcut_columns=("age",), only=["shortcuts"]), "shortcuts")
    assert warn.where == "Mass"
    assert warn.message.startswith("'Mass' is told from view alone with an AUROC of 0.8")
    assert warn.evidence["lower"] > 0.7
    assert set(warn.evidence["also"]) == {"all together"}


def test_a_declared_column_and_the_site_are_sources(picture_cohort):
    cohort, split = picture_cohort(2, 400)
    y = cohort.outcome.values[:, 0]
    rng = np.random.default_rng(0)
    site = np.where(rng.random(400) < np.where(y == 1, 0.85, 0.15), "A", "B")
    aged = replace(cohort, columns={**cohort.columns, "age": 50 + 15 * np.nan_to_num(y) + rng.normal(0, 9, 400)})
    found = run_checks(replace(aged, site=site), split, shortcut_columns=("age",), only=["shortcuts"])
    (warn,) = by_check(found, "shortcuts")
    assert {warn.evidence["source"], *warn.evidence["also"]} == {"site", "age", "all together"}


def test_shortcuts_are_looked_up_in_train_only(picture_cohort):
    cohort, split = picture_cohort(3, 400, strength=0.3)
    values = cohort.outcome.values.copy()
    test = split.parts["test"]
    values[test] = 1 - values[test]
    turned = replace(cohort, outcome=Multilabel(values=values, targets=cohort.outcome.targets))
    one, two = (run_checks(c, split, only=["shortcuts"]) for c in (cohort, turned))
    assert [f.to_dict() for f in one] == [f.to_dict() for f in two]


def test_labels_of_copies_are_compared_in_train_only(picture_cohort):
    cohort, split = picture_cohort(4)
    train, test = split.parts["train"], split.parts["test"]

    def copy(pixels, infos):
        pixels[train[2]] = pixels[train[0]]
        pixels[test[2]] = pixels[test[0]]

    values = cohort.outcome.values.copy()
    values[[train[0], test[0]]], values[[train[2], test[2]]] = (1, 0), (0, 0)
    copied = replace(with_pictures(cohort, copy), outcome=Multilabel(values=values, targets=cohort.outcome.targets))
    (stop,) = by_check(run_checks(copied, split, only=["image_labels"]), "image_labels", "STOP")
    assert stop.evidence == {"groups": 1, "n": 1, "findings": {"Mass": 1}}


def test_a_picture_in_two_parts_stops_with_counts(picture_cohort):
    cohort, split = picture_cohort(5)
    train, test = split.parts["train"], split.parts["test"]

    def copy(pixels, infos):
        pixels[test[:3]] = pixels[train[:3]]

    stops = by_check(run_checks(with_pictures(cohort, copy), split), "image_duplicates", "STOP")
    assert [f.where for f in stops] == ["train+test", "patient"]
    assert stops[0].evidence["exact"] == 3


def test_black_clipped_and_foreign_pictures_are_counted_and_never_named(picture_cohort):
    cohort, split = picture_cohort(6)
    y, x = np.mgrid[0:64, 0:64]
    body = ((y - 32) / 20) ** 2 + ((x - 32) / 26) ** 2 < 1
    lungs = ((y - 32) / 12) ** 2 + ((np.abs(x - 32) - 13) / 8) ** 2 < 1

    def spoil(pixels, infos):
        pixels[:4] = 0
        pixels[10:12] = np.clip(pixels[10:12].astype(int) + 150, 0, 255)
        pixels[20] = np.where(body, np.where(lungs, 20, 160), 0)
        infos[30], infos[31] = replace(infos[30], body_part="HAND"), replace(infos[31], modality="CT")
        infos[40] = replace(infos[40], view="LATERAL")

    found = run_checks(with_pictures(cohort, spoil), split, only=["image_frames"])
    counts = {f.evidence["code"]: f.evidence["images"] for f in found}
    assert counts == {"BLACK": 4, "CLIPPED_DARK": 1, "CLIPPED_BRIGHT": 2, "SURROUNDED": 1} | dict.fromkeys(
        ("BODY_PART", "MODALITY", "VIEW"), 1
    )
    assert all(sum(f.evidence["by_part"].values()) == f.evidence["images"] for f in found)
    said = json.dumps([f.to_dict() for f in found])
    assert "P1" not in said
    assert "6-" not in said


def test_raw_labels_tell_uncertain_ones(picture_cohort):
    cohort, split = picture_cohort(7)
    raw = cohort.outcome.values.copy()
    raw[:30, 1] = -1
    found = run_checks(cohort, split, raw_labels=raw, only=["image_labels"])
    assert [f.message for f in found if "uncertain" in f.message] == [
        "1 finding has uncertain answers, up to 12.5 % of the images."
    ]
    assert not [f for f in run_checks(cohort, split, only=["image_labels"]) if "uncertain" in f.message]


def test_an_examination_of_two_patients_stops_across_parts_and_warns_inside(picture_cohort):
    cohort, split = picture_cohort(8)
    study = np.array([f"S{i // 2}" for i in range(cohort.n)], dtype=object)
    study[:10] = None
    train, test = split.parts["train"], split.parts["test"]

    def told(change):
        changed = study.copy()
        changed[change] = "X"
        found = run_checks(cohort, split, imaging_study=changed, only=["image_labels"])
        return [(f.severity.value, f.evidence["across_parts"]) for f in found if "examination" in f.message]

    assert told([]) == []
    assert told([train[20], train[40]]) == [("WARN", 0)]
    assert told([train[20], test[20]]) == [("STOP", 1)]


def test_numbers_of_examinations_that_start_anew_are_told_apart_by_patient(picture_cohort):
    cohort, split = picture_cohort(9)
    values = np.tile([[1.0, 0.0], [0.0, 1.0]], (cohort.n // 2, 1))
    told = []
    for study in (np.arange(cohort.n) % 2, np.zeros(cohort.n)):
        labelled = replace(cohort, outcome=Multilabel(values=values, targets=cohort.outcome.targets))
        found = run_checks(labelled, split, imaging_study=study, only=["image_labels"])
        told.append([f.evidence["groups"] for f in found if "one study" in f.message])
        assert not [f for f in found if "examination" in f.message]
    # One examination a picture has nothing to contradict; one a patient has its two opposite pictures.
    assert told == [[], [cohort.n // 2]]


def test_a_rare_finding_does_not_stop_the_others(picture_cohort):
    cohort, split = picture_cohort(10, 400)
    train, test = split.parts["train"], split.parts["test"]
    values = cohort.outcome.values.copy()
    values[test, 1] = 0
    rare = replace(cohort, outcome=Multilabel(values=values, targets=("Mass", "Hernia")))
    fold = Fold(train[40:], train[:40])
    values[train[:40], 0] = 0
    folded = Split(parts=split.parts, by="patient", patient=cohort.patient, folds=[fold])
    rare = replace(rare, outcome=Multilabel(values=values, targets=("Mass", "Hernia")))
    found = run_checks(rare, folded, only=["outcome"])
    warned = [f.message for f in found if f.severity.value == "WARN"]
    assert "The part test has one answer only, or none, of 'Hernia'." in warned
    assert "Some of 1 tuning fold judges on no event of 'Mass'." in warned
    assert not [f for f in found if f.severity.value == "STOP"]
    values[train, 1] = 1
    values[test, 1] = np.nan
    never = replace(cohort, outcome=Multilabel(values=values, targets=("Mass", "Hernia")))
    stop = [f for f in run_checks(never, split, only=["outcome"]) if f.severity.value == "STOP"]
    assert [f.where for f in stop] == ["outcome:Hernia"]


def test_a_part_in_which_nothing_can_be_learnt_or_judged_stops(picture_cohort):
    cohort, split = picture_cohort(11)
    for part, columns in (("train", [0]), ("test", [0, 1])):
        values = cohort.outcome.values.copy()
        values[np.ix_(split.parts[part], columns)] = 0
        found = run_checks(
            replace(cohort, outcome=Multilabel(values=values, targets=cohort.outcome.targets)), split, only=["outcome"]
        )
        stops = [f.evidence["part"] for f in found if f.severity.value == "STOP"]
        assert stops == [part]


def test_sample_size_knows_no_rule_for_pictures(picture_cohort):
    cohort, split = picture_cohort(12)
    for parameters in (None, 0, 600_000):
        (note,) = run_checks(cohort, split, parameters=parameters, only=["sample_size"])
        assert note.severity.value == "NOTE"
        assert note.evidence["events"].keys() == {"Mass", "Edema"}


def test_progress_inside_a_check_is_told_with_its_name(picture_cohort):
    cohort, split = picture_cohort(13)
    told = []
    run_checks(cohort, split, only=NEW, inside=lambda name, share: told.append((name, share)))
    assert {name for name, _ in told} == {"image_frames", "image_duplicates", "shortcuts"}
    assert all(0 < share <= 1 for _, share in told)


def test_wrong_labels_examinations_and_columns_are_refused(picture_cohort, clean):
    cohort, split = picture_cohort(14)
    for wrong in ({"raw_labels": [[1.0]]}, {"imaging_study": ["a"]}):
        with pytest.raises(DataError):
            run_checks(cohort, split, **wrong)
    with pytest.raises(DataError):
        run_checks(clean(0, n=50), raw_labels=np.zeros((50, 1)))
    with pytest.raises(UnknownNameError):
        run_checks(cohort, split, shortcut_columns=["wieght"])


def test_one_picture_and_none_do_not_fail(picture_cohort):
    cohort, _ = picture_cohort(15)
    for rows in ([0], []):
        few = cohort.take(np.array(rows, dtype=np.int64))
        for name in CHECKS:
            findings = CHECKS[name](Context(few, shortcut_columns=("age",)))
            assert isinstance(findings, list)


def test_checking_leaves_the_pictures_as_they_were_and_repeats(picture_cohort):
    cohort, split = picture_cohort(16)
    before = cohort.digest()
    one, two = (run_checks(cohort, split, shortcut_columns=("age",)) for _ in range(2))
    assert [f.to_dict() for f in one] == [f.to_dict() for f in two]
    assert cohort.digest() == before
    json.dumps([f.to_dict() for f in one], allow_nan=False)


def test_a_yes_no_outcome_has_shortcuts_too(picture_cohort):
    from aimed.core import Binary

    cohort, split = picture_cohort(17, 400, strength=0.4)
    values = np.nan_to_num(cohort.outcome.values[:, 0])
    plain: Cohort = replace(cohort, outcome=Binary(values=values, label="Mass"))
    assert [f.where for f in by_check(run_checks(plain, split, only=["shortcuts"]), "shortcuts")] == ["Mass"]
