"""The rules against contrasting inputs: each sentence fits its own numbers and no others."""

from __future__ import annotations

import pytest

from aimed.report import sentences, titles


def m(value, lower, upper):
    return {"value": value, "lower": lower, "upper": upper}


OK, WIDE = m(1.0, 0.9, 1.1), m(1.0, 0.5, 1.5)
OVER = [{"predicted": 0.8, "observed": 0.6, "lower": 0.5, "upper": 0.7, "n": 40}]
UNDER = [{"predicted": 0.5, "observed": 0.7, "lower": 0.6, "upper": 0.8, "n": 40}]


@pytest.mark.parametrize(
    ("measure", "slope", "oe", "bins", "expected"),
    [
        (
            m(0.99, 0.98, 1.0),
            OK,
            OK,
            OVER,
            "The model ranks patients very well (AUROC 0.99) but over-predicts in the top tenth.",
        ),
        (
            m(0.85, 0.82, 0.88),
            OK,
            OK,
            UNDER,
            "The model ranks patients well (AUROC 0.85) but under-predicts in the top tenth.",
        ),
        (
            m(0.85, 0.82, 0.88),
            OK,
            OK,
            [],
            "The model ranks patients well (AUROC 0.85), and no miscalibration was seen.",
        ),
        (
            m(0.85, 0.82, 0.88),
            OK,
            WIDE,
            [],
            "The model ranks patients well (AUROC 0.85), but its calibration is too imprecise to judge "
            "(O/E 0.50 to 1.50).",
        ),
        (
            m(0.85, 0.82, 0.88),
            WIDE,
            OK,
            [],
            "The model ranks patients well (AUROC 0.85), but its calibration is too imprecise to judge "
            "(slope 0.50 to 1.50).",
        ),
        (
            m(0.62, 0.55, 0.69),
            OK,
            OK,
            [],
            "The model ranks patients weakly (AUROC 0.62), but no miscalibration was seen.",
        ),
        (
            m(0.62, 0.55, 0.69),
            OK,
            m(0.7, 0.6, 0.8),
            [],
            "The model ranks patients weakly (AUROC 0.62) and over-predicts on average (O/E 0.70).",
        ),
        (
            m(0.75, 0.7, 0.8),
            m(0.6, 0.5, 0.7),
            OK,
            [],
            "The model ranks patients moderately well (AUROC 0.75), but its risks are too extreme (slope 0.60).",
        ),
        (
            m(0.75, 0.7, 0.8),
            m(1.5, 1.2, 1.8),
            OK,
            [],
            "The model ranks patients moderately well (AUROC 0.75), but its risks are too close together (slope 1.50).",
        ),
        (
            m(0.4, 0.3, 0.45),
            OK,
            OK,
            [],
            "The model ranks patients the wrong way round (AUROC 0.40), but no miscalibration was seen.",
        ),
        (
            m(0.55, 0.45, 0.65),
            None,
            None,
            [],
            "The model has not been shown to rank patients better than chance (AUROC 0.55, 0.45 to 0.65), "
            "but its calibration could not be judged.",
        ),
        (
            None,
            OK,
            OK,
            [],
            "The model could not be judged on ranking (AUROC not estimable), and no miscalibration was seen.",
        ),
    ],
)
def test_performance_sentences(measure, slope, oe, bins, expected):
    assert sentences.performance("auroc", measure, slope, oe, bins) == expected


def test_average_is_named_before_the_top_tenth():
    assert "on average" in sentences.calibration(OK, m(1.4, 1.2, 1.6), OVER)[1]


def test_verdict_sentences_follow_the_worst_state():
    def box(*states):
        return {"criteria": [{"state": s} for s in states], "openings": 1}

    assert sentences.verdict(box("met", "met")).startswith("All 2 acceptance criteria are met")
    assert sentences.verdict(box("met", "not enough evidence")).startswith(
        "1 of 2 acceptance criteria cannot be decided"
    )
    assert sentences.verdict(box("not met", "not enough evidence")).startswith("1 of 2 acceptance criteria is not met")
    assert "so there is no verdict" in sentences.verdict(box())
    assert "opened 4 times" in sentences.verdict({"criteria": [], "openings": 4})


def test_subgroup_sentence_never_calls_a_small_group_a_pass():
    def block(*states):
        return {
            "primary": "auroc",
            "columns": [{"label": "Sex", "groups": [{"group": str(i), "state": s} for i, s in enumerate(states)]}],
        }

    assert sentences.subgroups(block("met", "met")) == "All 2 groups with a criterion meet it."
    assert "there is not enough evidence" in sentences.subgroups(block("met", "not enough evidence"))
    assert sentences.subgroups(block("not met", "met")).startswith("1 of 2 groups does not meet")


def test_baseline_sentence_respects_the_direction():
    assert sentences.beats("x", m(0.1, 0.05, 0.15))[0] == "good"
    assert sentences.beats("x", m(0.1, 0.05, 0.15), "lower")[0] == "bad"
    assert sentences.beats("x", m(-0.1, -0.15, -0.05), "lower")[0] == "good"
    assert sentences.beats("x", m(0.01, -0.05, 0.05))[0] == "open"
    assert sentences.beats("x", None) == ("open", "not compared with x")


def test_explanation_warns_when_the_sanity_check_fails():
    rows = [{"label": "Age", **m(0.1, 0.05, 0.15)}]
    assert "do not rely" in sentences.explanation(
        {"measure": "auroc", "permutation": rows, "sanity": {"passed": False}}
    )
    assert "do not rely" not in sentences.explanation(
        {"measure": "auroc", "permutation": rows, "sanity": {"passed": True}}
    )
    nothing = [{"label": "Age", **m(0.1, -0.05, 0.25)}]
    assert sentences.explanation({"measure": "auroc", "permutation": nothing}).startswith("No variable is shown")


def test_outcome_sentence_compares_the_parts():
    def block(train, test):
        return {"label": "death", "prevalence": {"train": train, "test": test}}

    assert "less frequent" in sentences.outcome(block(m(0.4, 0.35, 0.45), m(0.2, 0.15, 0.25)))
    assert "more frequent" in sentences.outcome(block(m(0.2, 0.15, 0.25), m(0.4, 0.35, 0.45)))
    assert "about as frequent" in sentences.outcome(block(m(0.2, 0.15, 0.25), m(0.22, 0.15, 0.3)))


def test_decision_title_finds_the_longest_winning_range():
    curve = {
        "threshold": [0.1, 0.2, 0.3, 0.4],
        "model": [0.1, 0.1, 0.1, 0.0],
        "all": [0.2, 0.05, 0.0, -0.1],
        "none": [0, 0, 0, 0],
    }
    curve["lower"] = [0.01, 0.01, 0.01, -0.1]
    assert titles.decision_curve(curve).endswith("from 20% to 30%")
    assert titles.decision_curve({**curve, "model": [0, 0, 0, 0]}).startswith("At no threshold")
    unsure = titles.decision_curve({**curve, "lower": [-0.1, -0.1, -0.1, -0.1]})
    assert unsure == "No net benefit over treating none is shown: every interval holds 0"
    assert titles.decision_curve({**curve, "baselines": {"b": [1, 1, 0.0, 0]}}).endswith("near 30%")


def test_leaderboard_title_says_when_the_baseline_is_not_beaten():
    def rows(bound):
        return [
            {
                "title": "M",
                "kind": "candidate",
                "metric": "auroc",
                "mean": 0.7,
                "lower": bound,
                "upper": 0.8,
                "chosen": True,
            },
            {"title": "B", "kind": "baseline", "metric": "auroc", "mean": 0.66},
        ]

    assert "lies clear of" in titles.leaderboard(rows(0.67))
    assert "is not clear of" in titles.leaderboard(rows(0.6))


def test_survival_title_admits_overlap():
    def group(label, s):
        return {"label": label, "survival": [s], "lower": [s - 0.05], "upper": [s + 0.05]}

    assert "cannot be told apart" in titles.survival_groups([group("low", 0.6), group("high", 0.55)], "day", 365)
    assert "90% (low) and 40% (high)" in titles.survival_groups([group("low", 0.9), group("high", 0.4)], "day", 365)


def test_over_time_title_counts_where_the_null_model_wins():
    base = {"auc": [0.7, 0.71], "brier": [0.1, 0.2], "brier_null": [0.12, 0.19]}
    assert "at 1 of 2 times" in titles.over_time(base)
    assert "nowhere below" in titles.over_time({**base, "brier_null": [0.05, 0.1]})
    assert "holds over follow-up" in titles.over_time(base)
    assert "falls from" in titles.over_time({**base, "auc": [0.8, 0.6]})
    bounds = {"auc_lower": [0.7, 0.5], "auc_upper": [0.9, 0.75]}
    assert "no clear change" in titles.over_time({**base, "auc": [0.8, 0.6], **bounds})
    assert "falls from" in titles.over_time(
        {**base, "auc": [0.8, 0.6], "auc_lower": [0.75, 0.5], "auc_upper": [0.9, 0.7]}
    )


def test_forest_title_uses_the_direction_of_the_measure():
    def block(name, a, b):
        groups = [
            {"group": "a", "measures": {name: m(a, a - 0.01, a + 0.01)}},
            {"group": "b", "measures": {name: m(b, b - 0.01, b + 0.01)}},
        ]
        return {"primary": name, "columns": [{"label": "G", "groups": groups}]}

    assert titles.subgroups(block("auroc", 0.6, 0.8)).startswith("AUROC is worst for G: a")
    assert titles.subgroups(block("brier", 0.1, 0.2)).startswith("Brier score is worst for G: b")
    assert titles.subgroups(block("oe", 0.95, 1.4)).startswith("O/E ratio is farthest from 1 for G: b")
    assert "within the uncertainty" in titles.subgroups(block("auroc", 0.80, 0.81))


def test_forest_title_calls_no_gap_clear_between_groups_that_are_not_judged():
    def block(*groups, gap=None):
        rows = [
            {"group": n, "events": e, "judged": e >= 20, "measures": {"auroc": m(v, v - 0.01, v + 0.01)}}
            for n, v, e in groups
        ]
        column = {"label": "G", "groups": rows, "gap": {"auroc": gap}}
        return {"primary": "auroc", "min_events": 20, "columns": [column]}

    assert "clear of" in titles.subgroups(block(("a", 0.6, 40), ("b", 0.8, 40)))
    assert "within the uncertainty" in titles.subgroups(block(("a", 0.6, 40), ("b", 0.8, 40), gap=m(0.2, -0.01, 0.41)))
    few = titles.subgroups(block(("a", 0.6, 8), ("b", 0.8, 40)))
    assert "clear" not in few
    assert "one group only, G: b" in few
    assert "no group has enough evidence" in titles.subgroups(block(("a", 0.6, 8), ("b", 0.8, 9)))
    assert "worst for G: c" in titles.subgroups(block(("a", 0.2, 8), ("b", 0.8, 40), ("c", 0.7, 40)))


def test_worst_group_alone_in_its_column_is_still_named_worst():
    def column(label, *groups):
        return {
            "label": label,
            "groups": [{"group": n, "judged": j, "measures": {"auroc": m(v, v - 0.1, v + 0.1)}} for n, v, j in groups],
        }

    block = {
        "primary": "auroc",
        "columns": [column("Sex", ("m", 0.8, True), ("f", 0.7, True)), column("Age", ("old", 0.6, True))],
    }
    assert titles.subgroups(block) == "AUROC is worst for Age: old (0.60), the only group of its column that is judged"


def test_effects_title_uses_partial_dependence_where_there_is_no_order():
    ward = {"label": "Ward", "kind": "category", "ale": [], "partial_dependence": [0.2, 0.5]}
    age = {"label": "Age", "kind": "number", "ale": [0.1, -0.1]}
    assert (
        titles.effects([ward])
        == "The predicted risk changes most with Ward, by 30 percentage points between its levels"
    )
    assert "with Ward" in titles.effects([age, ward])
    assert "Age, falling by up to 20 percentage points" in titles.effects([age])
    assert "does not change" in titles.effects([{"label": "A", "ale": [0.0, 0.0]}])
    assert titles.effects([]) == "No effect could be drawn"


def test_choice_sentence_of_the_run_is_told_in_words():
    rows = [
        {"title": t, "kind": "candidate", "metric": "log_loss", "mean": v, "chosen": c}
        for t, v, c in (("Logistic", 0.48, True), ("Forest", 0.47, False))
    ]
    choice = "Logistic was chosen: Forest scored better by 0.01 in log_loss, less than one standard error (0.03)."
    said = sentences.model({"title": "Logistic", "leaderboard": rows, "choice": choice})
    assert "less than one standard error" in said
    assert "log_loss" not in said
    assert "although Forest scored better" in sentences.model({"title": "Logistic", "leaderboard": rows})


def zph(*terms, events=500, df=None, p=0.4, **more):
    return {
        "terms": [{"term": t, "p_holm": q, "p": q, "rho": rho, "df": 1} for t, q, rho in terms],
        "global": {"p": p, "df": len(terms)},
        "df": df or len(terms),
        "events": events,
        **more,
    }


@pytest.mark.parametrize(
    ("block", "starts", "holds"),
    [
        (zph(("a", 0.5, 0.1)), "No hazard ratio is shown to change over follow-up (smallest adjusted p 0.50, a).", ""),
        (zph(("a", 0.5, 0.1), p=0.01), "No hazard ratio is shown", "global p 0.010"),
        (zph(("a", 0.5, 0.1), events=9), "There is not enough evidence", "9 events for 1 coefficient are fewer than"),
        (zph(("a", 0.01, 0.1), ("b", 0.3, 0.0)), "The hazard ratio of a is not constant", "it rises with time"),
        (zph(("a", 0.01, -0.1)), "The hazard ratio of a is not constant", "it falls with time"),
        (zph(("b", 0.03, 0.1), ("a", 0.01, 0.1)), "The hazard ratios of a and b are not", "smallest adjusted p 0.010"),
        # Few events do not hide a clear finding.
        (zph(("a", 0.01, 0.1), events=9), "The hazard ratio of a is not constant", "Stratify by the term"),
        (zph(("a", 0.5, 0.1), repeated=True), "No hazard ratio", "its p values are too small"),
        ({"reason": "one event time."}, "Proportional hazards could not be tested: one event time.", ""),
        ({"terms": []}, "Proportional hazards were not tested.", ""),
    ],
)
def test_proportional_hazards_sentences(block, starts, holds):
    said = sentences.proportional_hazards(block)
    assert said.startswith(starts)
    assert holds in said


def test_incidence_titles_name_what_is_left():
    one = {"label": "relapse", "incidence": [0, 0.3]}
    two = {"label": "death", "incidence": [0, 0.1]}
    three = {"label": "loss", "incidence": [0, 0.05]}

    def title(*causes):
        free = 1 - sum(c["incidence"][-1] for c in causes)
        return titles.incidence_stack({"times": [0, 30], "causes": causes, "event_free": [1, free]}, "day")

    assert title(one, two) == "By 30 days the incidence of relapse is 30% and that of death 10%; 60% have had neither"
    assert title(one, two, three).endswith("is 30% and that of the other events 15%; 55% have had none of them")
    assert titles.incidence_stack({"times": [], "causes": []}, "day").endswith("could not be estimated")


@pytest.mark.parametrize(
    ("measure", "panels", "expected"),
    [
        (
            m(0.83, 0.8, 0.86),
            [{"slope": OK, "oe": OK}, {"slope": OK, "oe": OK}],
            "The model ranks patients well (macro AUROC 0.83), worst for mass (0.55); no miscalibration was seen.",
        ),
        (
            m(0.83, 0.8, 0.86),
            [{"slope": OK, "oe": OK}, {"slope": OK, "oe": WIDE}],
            "The model ranks patients well (macro AUROC 0.83), worst for mass (0.55); no miscalibration was seen, but "
            "1 of 2 findings could not be judged.",
        ),
        (
            m(0.55, 0.45, 0.65),
            [{"slope": None, "oe": None}, {"slope": None, "oe": None}],
            "The model has not been shown to rank patients better than chance (macro AUROC 0.55, 0.45 to 0.65), worst "
            "for mass (0.55); calibration could not be judged.",
        ),
        (
            None,
            [{"slope": OK, "oe": m(1.4, 1.2, 1.6)}],
            "The model could not be judged on ranking (macro AUROC not estimable); 1 of 1 finding is miscalibrated.",
        ),
    ],
)
def test_several_findings_are_judged_together_and_the_worst_is_named(measure, panels, expected):
    assert sentences.findings("macro_auroc", measure, ("Mass", {"value": 0.55}), panels) == expected


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([{"train_loss": [1.0, 0.9]}], "Training ran 2 epochs; no patients were set aside to stop it"),
        (
            [{"train_loss": [1.0, 0.9, 0.8], "tune_loss": [1.0, 0.8, 0.8], "best_epoch": 2}],
            "Epoch 2 of 3 was kept; later ones gained nothing on the tune part",
        ),
        (
            [{"train_loss": [1.0, 0.9, 0.8], "tune_auroc": [0.6, 0.7, 0.8], "best_epoch": 3}],
            "The last of 3 epochs was kept: longer training may gain more",
        ),
        (
            [{"train_loss": [1.0, 0.9, 0.8], "tune_loss": [1.0, 0.8, 0.9], "best_epoch": k} for k in (2, 3)],
            "The 2 networks were kept at epochs 2 to 3; 1 of them at the last, so that longer training may gain more",
        ),
    ],
)
def test_learning_curves_say_how_training_ended(runs, expected):
    assert titles.learning(runs) == expected


def test_the_error_is_said_to_fall_only_where_the_difference_is_shown():
    def curve(difference):
        last = {"share": 0.2, "error": m(0.15, 0.1, 0.2), "difference": difference}
        return [{"share": 0.0, "error": m(0.2, 0.1, 0.3)}, last]

    falls = "Without the 20% least sure the error falls from 20.0% to 15.0%"
    assert titles.risk_coverage(curve(m(-0.05, -0.08, -0.02))) == falls
    assert "is not shown to lower the error" in titles.risk_coverage(curve(m(-0.05, -0.12, 0.02)))
    assert "could not be judged" in titles.risk_coverage([])


def test_frequencies_and_calibration_of_findings_name_those_that_differ():
    low, high, wide = m(0.1, 0.08, 0.12), m(0.2, 0.17, 0.23), m(0.15, 0.05, 0.3)
    rows = [{"label": x, "prevalence": {"train": low, "test": t}} for x, t in (("Mass", high), ("Edema", wide))]
    assert titles.frequencies(rows) == "Mass is more frequent in the test part than in the training part"
    assert titles.frequencies(rows[1:]) == "No finding is shown to differ in frequency between the parts"
    panels = [{"label": "Mass", "slope": OK, "oe": WIDE}, {"label": "Edema", "slope": OK, "oe": OK}]
    assert titles.calibration_grid(panels).endswith("for 1 of 2 findings there is not enough evidence")
    assert titles.calibration_grid(panels[1:]) == "No miscalibration was seen in 1 finding"
