"""The study file: what is asked, of which data, judged by which criteria, written before the run."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aimed.core import DataError, StudyFileError, nearest, parse
from aimed.metrics.evaluate_multilabel import finding_keys

__all__ = ["CONTRASTS", "StudySpec", "load_spec", "read_spec"]

TaskName: TypeAlias = Literal["risk", "classify", "survival", "segment", "effect", "report_labels"]
"""Tasks that exist today; later ones join here."""

SYNTHETIC = "synthetic:chest"
"""The source that draws chest phantoms instead of reading a table."""

SYNTHETIC_BRAIN = "synthetic:brain"
"""The source that draws brain phantoms with tumours instead of reading a table."""

SYNTHETIC_REPORTS = "synthetic:reports"
"""The source that writes reports of chest X-rays of nobody instead of reading a table."""

MOST_READERS = 12
"""Further masks of a scan that are compared with each other; each pair of them is."""

Missing: TypeAlias = Literal["mean_indicators", "complete_case", "iterative", "multiple_imputation", "native", "mean"]
Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudyHead(_Strict):
    """Who the study is for and what it asks."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str = Field(min_length=3)
    task: TaskName
    design: Literal["diagnostic", "prognostic", "causal"] | None = None
    seed: int = Field(default=0, ge=0)
    intended_use: str = ""
    intended_users: tuple[str, ...] = ()
    not_for: tuple[str, ...] = ()
    population: str = ""
    setting: str = ""
    license: str = ""


class ShortcutPart(_Strict):
    """A cue that is planted in synthetic pictures, to see that it is found."""

    finding: str
    by: Literal["view", "marker", "border", "tube"]
    strength: float = Field(default=0.8, ge=0, le=1)


class WrittenReports(_Strict):
    """Reports that a synthetic source writes of its pictures, how often they are wrong, and who has gold labels."""

    gold: float = Field(default=0.3, gt=0, le=1)
    missed: float = Field(default=0.3, ge=0, le=1)
    overcalled: float = Field(default=0.05, ge=0, le=1)
    uncertain: float = Field(default=0.05, ge=0, le=1)
    unsaid: float = Field(default=0.3, ge=0, le=1)


class SyntheticPart(_Strict):
    """How many chest or brain phantoms a synthetic source draws, and how hard they are to read."""

    patients: int = Field(default=400, ge=20, le=100_000)
    size: int | None = Field(default=None, ge=24, le=1024)
    difficulty: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    shortcut: ShortcutPart | None = None
    reports: WrittenReports | None = None
    spacing: float | None = Field(default=None, gt=0, le=10)
    visits: Annotated[int, Field(ge=1, le=9)] = 1
    healthy: float = Field(default=0.0, ge=0, lt=1)
    files: Literal["nifti", "dicom"] = "nifti"


_OF_BRAINS = {"spacing", "visits", "healthy", "files"}
"""Keys of [data] synthetic that chest phantoms do not have."""

_OF_DRAWINGS = {"size", "shortcut", "reports", *_OF_BRAINS}
"""Keys of [data] synthetic that written reports do not have."""


class DataPart(_Strict):
    """Where the rows come from and which of them take part."""

    source: str
    synthetic: SyntheticPart | None = None
    patient: str
    unit: str | None = None
    site: str | None = None
    time: str | None = None
    include: tuple[str, ...] = ()
    encoding: str = "utf-8"
    separator: str | None = None

    @model_validator(mode="after")
    def _rules(self) -> DataPart:
        for rule in self.include:
            parse(rule)
        return self


class WeightsPart(_Strict):
    """A file of weights that networks of one architecture start from."""

    file: str
    architecture: str = "densenet121"
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    normalisation: Literal["imagenet", "torchxrayvision", "unit"] | None = None


class PretrainPart(_Strict):
    """How networks learn from the pictures of the training part before any label is used."""

    method: Literal["masked", "contrastive"] = "masked"
    epochs: int = Field(default=20, ge=1, le=2000)


class RegionsPart(_Strict):
    """Where the reference standard says that findings are: a table of boxes, or a folder of masks."""

    boxes: str | None = None
    masks: str | None = None
    names: dict[str, str] = Field(default_factory=dict)
    drawn_on: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def _one(self) -> RegionsPart:
        if (self.boxes is None) == (self.masks is None):
            raise ValueError("name either 'boxes' or 'masks'")
        if self.masks is not None and (self.names or self.drawn_on):
            raise ValueError("'names' and 'drawn_on' say how a table of boxes is read; masks need neither")
        return self


class VolumesPart(_Strict):
    """Where scans and masks are, which channels they have, and the grid that a network works on."""

    column: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    mask: str | None = None
    readers: tuple[str, ...] = ()
    folder: str | None = None
    channels: tuple[str, ...] = ()
    modality: str | None = Field(default=None, pattern=r"^[A-Z]{2,4}$")
    window: tuple[float, float] | None = None
    spacing: tuple[float, float, float] | None = None
    memory_mb: int | None = Field(default=None, ge=256, le=1_000_000)
    plan: str | None = None
    weights: WeightsPart | None = None
    cache: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> VolumesPart:
        if self.column is not None and self.columns:
            raise ValueError("name either 'column', or 'columns' with one a channel")
        if self.columns and self.channels and tuple(self.columns) != self.channels:
            raise ValueError("'columns' names the channels; 'channels' says otherwise")
        self._readers()
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError("window is [lowest, highest]")
        if self.window is not None and self.modality != "CT":
            raise ValueError("'window' is in Hounsfield units: it needs modality = 'CT'")
        if self.spacing is not None and not all(0.05 <= mm <= 20 for mm in self.spacing):
            raise ValueError("spacing is in mm along z, y and x, 0.05 to 20 each")
        if self.plan is not None and self.spacing is not None:
            raise ValueError("the plan says the spacing: leave 'spacing' out")
        return self

    def _readers(self) -> None:
        if not self.readers:
            return
        if not 2 <= len(self.readers) <= MOST_READERS:
            raise ValueError(f"'readers' names 2 to {MOST_READERS} columns of masks")
        if len(set(self.readers)) < len(self.readers):
            raise ValueError("'readers' names a column twice")
        if (self.mask or "label") in self.readers:
            raise ValueError("'readers' names the column of 'mask': that is the reference standard")


class ImagesPart(_Strict):
    """Where the pictures are and how they are framed."""

    column: str
    folder: str | None = None
    view: str | None = None
    size: int = Field(default=224, ge=16, le=2048)
    bits: Literal[8, 16] = 8
    views: tuple[str, ...] = ()
    study: str | None = None
    shortcuts: tuple[str, ...] = ()
    regions: RegionsPart | None = None
    weights: WeightsPart | None = None
    pretrain: PretrainPart | None = None
    cache: str | None = None


class NotesPart(_Strict):
    """Where the notes are, how they are read, and what is known of identifiers in them."""

    column: str | None = None
    sections: dict[str, str] = Field(default_factory=dict)
    lexicon: str = "chest-xray"
    targets: str = "chexpert"
    names: dict[str, str] = Field(default_factory=dict)
    coding: Literal["certain", "chexpert"] = "certain"
    identifiers: Literal["none", "possible"] = "possible"

    @model_validator(mode="after")
    def _one(self) -> NotesPart:
        if (self.column is None) == (not self.sections):
            raise ValueError("name either 'column', or 'sections' with one column a section")
        return self


class SilverPart(_Strict):
    """Reports whose labels teach a network of pictures where [outcome] is blank, and how their errors are met."""

    column: str | None = None
    sections: dict[str, str] = Field(default_factory=dict)
    lexicon: str = "chest-xray"
    targets: str = "nih"
    names: dict[str, str] = Field(default_factory=dict)
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore"
    not_mentioned: Literal["zeros", "ignore"] = "zeros"
    robust: Literal["none", "forward", "soft"] = "forward"

    @model_validator(mode="after")
    def _one(self) -> SilverPart:
        if (self.column is None) == (not self.sections):
            raise ValueError("name either 'column', or 'sections' with one column a section")
        told = sorted(self.model_fields_set & {"uncertain", "not_mentioned"})
        if self.robust == "soft" and told:
            raise ValueError(f"robust = 'soft' takes a chance for every verdict: leave '{told[0]}' out")
        return self


_OF_EVENTS = {
    "positive",
    "time",
    "event",
    "event_value",
    "competing",
    "unit",
    "horizon",
    "horizon_days",
    "horizons",
    "horizons_days",
}
"""Keys of [outcome] that say nothing of findings in pictures."""


ContrastName: TypeAlias = Literal[
    "risk_difference",
    "risk_ratio",
    "odds_ratio",
    "hazard_ratio",
    "rmst_difference",
    "time_lost_difference",
    "mean_difference",
]
"""How outcomes with and without treatment are compared."""

CONTRASTS: dict[str, tuple[str, ...]] = {
    "binary": ("risk_difference", "risk_ratio", "odds_ratio"),
    "continuous": ("mean_difference",),
    "survival": ("risk_difference", "risk_ratio", "odds_ratio", "hazard_ratio", "rmst_difference"),
    "competing": ("risk_difference", "risk_ratio", "odds_ratio", "hazard_ratio", "time_lost_difference"),
}
"""The contrasts that each kind of outcome has; the first is the usual primary one."""

_ADDITIVE = ("risk_difference", "rmst_difference", "time_lost_difference", "mean_difference")
"""Contrasts that an effect of a single patient has, because their mean over patients is the average effect."""

Level: TypeAlias = int | float | str | bool


class TreatmentPart(_Strict):
    """What is compared with what, and how patients came to it."""

    column: str
    control: Level
    active: Level
    assignment: Literal["randomised", "observational"]
    ratio: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    strata: tuple[str, ...] = ()
    label: str | None = None
    control_label: str | None = None
    started: str | None = None

    @model_validator(mode="after")
    def _two_arms(self) -> TreatmentPart:
        if str(self.control).strip().lower() == str(self.active).strip().lower():
            raise StudyFileError(
                "'control' and 'active' are the same value",
                "two values of the column",
                "name the value of each arm as it stands in the table",
            )
        if (self.label or str(self.active)) == (self.control_label or str(self.control)):
            raise StudyFileError(
                "'label' and 'control_label' are the same: nobody could tell the arms apart",
                "two names",
                "give each arm a name of its own",
            )
        if self.ratio is not None and self.assignment != "randomised":
            raise StudyFileError(
                "'ratio' is that of a randomised trial: active to control, such as [1, 1]",
                "assignment = 'randomised' beside it",
                "leave 'ratio' out: the chance of treatment is learned from the data",
            )
        return self


class EstimandPart(_Strict):
    """The question in the words of ICH E9(R1): population, contrast, intercurrent events."""

    contrast: ContrastName | None = None
    also: tuple[ContrastName, ...] = ()
    population: str = "intention to treat"
    better: Literal["lower", "higher"] = "lower"
    estimator: Literal["unadjusted", "standardisation", "weighting", "doubly_robust", "matching"] | None = None
    intercurrent: dict[
        str,
        Literal[
            "treatment policy",
            "composite",
            "competing risk",
            "hypothetical",
            "while on treatment",
            "principal stratum",
        ],
    ] = Field(default_factory=dict)


class PolicyPart(_Strict):
    """What a benefit is worth beside the burden and cost of treatment, and how many can be treated."""

    benefit_weight: float = Field(default=1.0, gt=0)
    burden: float = Field(default=0.0, ge=0)
    cost: float = Field(default=0.0, ge=0)
    minimal_benefit: float = Field(default=0.0, ge=0)
    budget: Share | None = None
    tree_depth: int = Field(default=2, ge=0, le=2)


class SensitivityPart(_Strict):
    """How hard the average effect is tried: permuted treatments, outcomes that treatment cannot change."""

    placebos: int = Field(default=200, ge=0, le=100_000)
    negative_outcomes: tuple[str, ...] = ()


class CodePart(_Strict):
    """The standard code of a region: coding scheme, value and meaning, as DICOM writes them."""

    scheme: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,15}$")
    value: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,15}$")
    meaning: str = Field(pattern=r"^[^\\\x00-\x1f\x7f]*[^\\\s\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*$", max_length=64)


class OutcomePart(_Strict):
    """What is predicted."""

    column: str | None = None
    kind: Literal["binary", "continuous"] = "binary"
    measured_in: str = ""
    findings: tuple[str, ...] = ()
    regions: dict[str, tuple[Annotated[int, Field(ge=1, le=254)], ...]] = Field(default_factory=dict)
    exclusive: bool = False
    codes: dict[str, CodePart] = Field(default_factory=dict)
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore"
    separator: str = Field(default="|", min_length=1)
    positive: int | float | str | bool | None = None
    time: str | None = None
    event: str | None = None
    event_value: int | float | str | bool = 1
    competing: dict[str, str] = Field(default_factory=dict)
    unit: Literal["day", "month", "year"] = "day"
    horizon: float | None = Field(default=None, gt=0)
    horizon_days: float | None = Field(default=None, gt=0)
    horizons: tuple[Annotated[float, Field(gt=0)], ...] = ()
    horizons_days: tuple[Annotated[float, Field(gt=0)], ...] = ()
    known: str | None = None
    label: str | None = None
    reference_standard: str = ""

    @model_validator(mode="after")
    def _one_spelling(self) -> OutcomePart:
        timed = self.time is not None and self.event is not None
        if self.regions:
            self._regions()
        elif self.exclusive or self.codes:
            raise ValueError(f"'{'exclusive' if self.exclusive else 'codes'}' goes with 'regions'")
        elif self.findings:
            told = sorted(self.model_fields_set & _OF_EVENTS)
            if told:
                raise ValueError(f"'findings' are yes or no now; they go without '{told[0]}'")
            self._one_key_each(self.findings, "findings")
        elif self.model_fields_set & {"uncertain", "separator"}:
            raise ValueError("'uncertain' and 'separator' go with 'findings'")
        elif (self.column is None) != timed:
            raise ValueError("name either 'column', or 'time' and 'event'")
        if self.unit != "day" and (self.horizon_days or self.horizons_days):
            raise ValueError(f"unit is '{self.unit}': write 'horizon' or 'horizons' in {self.unit}s")
        if (self.horizon and self.horizon_days) or (self.horizons and self.horizons_days):
            raise ValueError("write the horizon once, with or without '_days'")
        if self.competing and self.event is None:
            raise ValueError("'competing' names values of the event column; there is no 'event'")
        if str(self.event_value).strip().lower() in {k.strip().lower() for k in self.competing}:
            raise ValueError("'competing' names the value of 'event_value'; an event is of one kind")
        return self

    def _regions(self) -> None:
        told = sorted(self.model_fields_set & {*_OF_EVENTS, "column", "findings", "uncertain", "separator"})
        if told:
            raise ValueError(f"'regions' are outlined in masks; they go without '{told[0]}'")
        self._one_key_each(tuple(self.regions), "regions")
        several = [label for labels in self.regions.values() for label in labels]
        for name in self.codes:
            if name not in self.regions:
                close = nearest(name, self.regions)
                hint = f"did you mean '{close}'?" if close else f"name one of: {', '.join(self.regions)}"
                raise ValueError(f"'codes' names the region '{name}', which is none of 'regions': {hint}")
        if not all(self.regions.values()):
            raise ValueError("'regions' names a region without labels")
        if any(len(set(labels)) < len(labels) for labels in self.regions.values()):
            raise ValueError("'regions' names a label twice in one region")
        if self.exclusive and (len(set(several)) < len(several) or len(several) > len(self.regions)):
            raise ValueError("'exclusive' regions have one label each, and no two the same")

    def _one_key_each(self, names: tuple[str, ...], what: str) -> None:
        try:
            finding_keys(names)
        except DataError as error:
            raise ValueError(f"'{what}': {error.got}") from None

    def at(self) -> tuple[float, ...]:
        """Return the horizons, in ``unit``."""
        one = self.horizon or self.horizon_days
        return (one,) if one else tuple(sorted(self.horizons or self.horizons_days))


class PredictorPart(_Strict):
    """Which columns the model may see and how missing values are handled."""

    include: tuple[str, ...] | None = None
    adjust: tuple[str, ...] | None = None
    modifiers: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    missing: Missing = "mean_indicators"
    imputations: int = Field(default=10, ge=2, le=200)
    nonlinear: dict[str, str] = Field(default_factory=dict)
    allow: tuple[str, ...] = ()


class VariablePart(_Strict):
    """What a column means."""

    label: str | None = None
    unit: str | None = None
    kind: Literal["number", "category", "date", "text"] | None = None
    range: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    missing_codes: tuple[int | float | str, ...] = ()
    measured: str | None = None
    code: str | None = None

    @model_validator(mode="after")
    def _rising(self) -> VariablePart:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range is [lowest, highest]")
        return self


class TestPart(_Strict):
    """How the test part is drawn."""

    by: Literal["patient", "time", "site", "column"] = "patient"
    fraction: Share = 0.25
    start: dt.date | None = Field(default=None, alias="from")
    hold_out: tuple[str, ...] = ()
    column: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> TestPart:
        need = {"time": "start", "site": "hold_out", "column": "column"}.get(self.by)
        if need and not getattr(self, need):
            raise ValueError(f"by = '{self.by}' needs '{'from' if need == 'start' else need}'")
        return self


class TunePart(_Strict):
    """How tuning folds are drawn inside the training part."""

    by: Literal["patient"] = "patient"
    folds: int = Field(default=5, ge=2, le=20)


class SplitPart(_Strict):
    """Test part and tuning folds."""

    test: TestPart = TestPart()
    tune: TunePart = TunePart()


class PublishedModel(_Strict):
    """A published formula used as a baseline, with its source."""

    source: str = Field(min_length=5)
    intercept: float = 0.0
    coefficients: dict[str, float]
    link: Literal["logit", "cox"] = "logit"
    baseline_survival: dict[str, float] = Field(default_factory=dict)
    mean_linear_predictor: float = 0.0


class ScoreInput(_Strict):
    """Where an input of a published score comes from: a column, rules of which one must hold, or a value for all."""

    column: str | None = None
    unit: str | None = None
    any_of: tuple[str, ...] = ()
    value: int | float | bool | str | None = None
    levels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        """Read the short forms: ``"age"``, ``"sex == 'f'"``, a list of rules, ``false``."""
        if isinstance(given, str):
            return {"any_of": (given,)} if _is_rule(given) else {"column": given}
        if isinstance(given, tuple):
            return {"any_of": given}
        return {"value": given} if isinstance(given, int | float) else given

    @model_validator(mode="after")
    def _one_origin(self) -> ScoreInput:
        if sum((self.column is not None, bool(self.any_of), self.value is not None)) > 1:
            raise ValueError("name one of 'column', 'any_of' and 'value'")
        for rule in self.any_of:
            parse(rule)
        return self


def _is_rule(text: str) -> bool:
    try:
        parse(text)
    except StudyFileError:
        return False
    return True


class ModelPart(_Strict):
    """Candidates to compare and baselines to beat."""

    candidates: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    published: dict[str, PublishedModel] = Field(default_factory=dict)
    scores: dict[str, dict[str, ScoreInput]] = Field(default_factory=dict)
    outcome_model: str = "linear"
    propensity_model: str = "linear"
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _once(self) -> ModelPart:
        for key, names in (("candidates", self.candidates), ("baselines", self.baselines)):
            if len(set(names)) < len(names):
                raise ValueError(f"'{key}' names one twice")
        return self


class TuneSettings(_Strict):
    """How long to tune."""

    trials: int = Field(default=20, ge=0, le=10_000)
    budget: str = "10m"
    metric: str | None = None

    @model_validator(mode="after")
    def _budget(self) -> TuneSettings:
        self.seconds()
        return self

    def seconds(self) -> float:
        """Return the time budget in seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)", self.budget.strip())
        if not match:
            raise ValueError("budget is a number with s, m or h, such as '10m'")
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


class CalibratePart(_Strict):
    """Which calibrations may be chosen on the tuning data."""

    methods: tuple[Literal["none", "sigmoid", "isotonic", "temperature"], ...] = (
        "none",
        "sigmoid",
        "temperature",
        "isotonic",
    )


class EvaluatePart(_Strict):
    """What is measured on the test part, and what counts as good enough."""

    primary: str | None = None
    thresholds: tuple[Share, ...] = ()
    threshold: Share | None = None
    tau_days: float | None = Field(default=None, gt=0)
    accept: tuple[str, ...] = ()
    tolerance: float = Field(default=1.0, ge=0, le=50)
    surface: Literal["voxel", "pooled", "surfel"] = "voxel"
    empty: Literal["metrics_reloaded", "omit", "brats"] = "metrics_reloaded"
    draws: int = Field(default=500, ge=50, le=20_000)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    human_level: float | None = Field(default=None, gt=0.5, lt=1)
    optimism: int = Field(default=0, ge=0, le=1000)
    stability: int = Field(default=20, ge=0, le=1000)

    @model_validator(mode="after")
    def _criteria(self) -> EvaluatePart:
        for text in self.accept:
            parse(text)
        return self


class DerivePart(_Strict):
    """A band cut from a number."""

    source: str = Field(alias="from")
    cuts: tuple[float, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _shape(self) -> DerivePart:
        if list(self.cuts) != sorted(set(self.cuts)):
            raise ValueError("cuts must rise")
        if self.labels and len(self.labels) != len(self.cuts) + 1:
            raise ValueError(f"{len(self.cuts)} cuts make {len(self.cuts) + 1} bands, so as many labels")
        return self


class SubgroupPart(_Strict):
    """Groups in which every measure is repeated."""

    columns: tuple[str, ...] = ()
    derive: dict[str, DerivePart] = Field(default_factory=dict)
    min_events: int = Field(default=20, ge=1)


class ExplainPart(_Strict):
    """How much explanation is made."""

    repeats: int = Field(default=20, ge=1, le=1000)
    effects: int = Field(default=6, ge=0, le=50)
    shap: bool = True


class ReportPart(_Strict):
    """Which checklists are filled, the author's own words, and whether pictures of patients may be shown."""

    thumbnails: bool = False
    case_ids: bool = False
    note_text: bool = False

    checklists: tuple[str, ...] = ("tripod+ai",)
    statements: dict[str, str] = Field(default_factory=dict)


_NOT_FOR_PICTURES = (
    ("model", {"published", "scores"}, "formulas read a table"),
    ("tune", {"trials", "budget", "metric"}, "a network is trained once with the parameters of [model]"),
    ("evaluate", {"optimism", "stability", "tau_days"}, "networks are not fitted again"),
    ("explain", {"repeats", "effects", "shap"}, "pictures are explained by heat maps"),
    ("evaluate", {"tolerance", "surface", "empty"}, "these are of masks"),
)
"""Keys that a study of tables obeys and one of pictures would pass over in silence: table, keys, why."""

_NOT_FOR_VOLUMES = (
    *(rule for rule in _NOT_FOR_PICTURES if not rule[1] & {"tolerance"}),
    ("evaluate", {"threshold", "thresholds", "human_level"}, "masks are judged by overlap and distance"),
    ("calibrate", {"methods"}, "masks are not recalibrated"),
)
_OF_MASKS = {"tolerance", "surface", "empty"}
_NOT_FOR_EFFECTS = (
    ("model", {"published", "scores"}, "formulas predict outcomes, not effects"),
    ("tune", {"trials", "budget", "metric"}, "learners are compared with the parameters of [model]"),
    ("evaluate", {"optimism", "stability", "threshold", "thresholds", "human_level"}, "these are of risks"),
    ("calibrate", {"methods"}, "effects are not recalibrated"),
    ("predictors", {"imputations"}, "effects take single imputation"),
)


_NOT_FOR_NOTES = (
    *(rule for rule in _NOT_FOR_PICTURES if rule[0] in ("model", "evaluate")),
    ("tune", {"trials", "budget", "metric"}, "text models are compared with the parameters of [model]"),
    ("explain", {"repeats", "effects", "shap"}, "notes are explained by their words"),
    ("predictors", {"include", "adjust", "modifiers", "exclude", "missing", "imputations", "nonlinear"},
     "findings are read from the note alone"),
)  # fmt: skip


class StudySpec(_Strict):
    """A whole study file.

    Examples
    --------
    >>> spec = read_spec('''
    ... schema = 1
    ... [study]
    ... id = "demo"
    ... title = "Is a breast mass malignant?"
    ... task = "classify"
    ... [data]
    ... source = "builtin:breast_cancer"
    ... patient = "id"
    ... [outcome]
    ... column = "diagnosis"
    ... positive = "malignant"
    ... ''')
    >>> spec.split.test.fraction
    0.25
    """

    version: Literal[1] = Field(alias="schema")
    study: StudyHead
    data: DataPart
    images: ImagesPart | None = None
    volumes: VolumesPart | None = None
    notes: NotesPart | None = None
    silver: SilverPart | None = None
    treatment: TreatmentPart | None = None
    estimand: EstimandPart = EstimandPart()
    outcome: OutcomePart
    predictors: PredictorPart = PredictorPart()
    variables: dict[str, VariablePart] = Field(default_factory=dict)
    split: SplitPart = SplitPart()
    model: ModelPart = ModelPart()
    tune: TuneSettings = TuneSettings()
    calibrate: CalibratePart = CalibratePart()
    evaluate: EvaluatePart = EvaluatePart()
    subgroups: SubgroupPart = SubgroupPart()
    policy: PolicyPart = PolicyPart()
    sensitivity: SensitivityPart = SensitivityPart()
    explain: ExplainPart = ExplainPart()
    report: ReportPart = ReportPart()
    text: str = Field(default="", exclude=True, repr=False)
    folder: Path = Field(default=Path(), exclude=True, repr=False)
    file: str = Field(default="study.toml", exclude=True, repr=False)

    @model_validator(mode="after")
    def _task_fits_outcome(self) -> StudySpec:
        out = self.outcome
        self._synthetic()
        self._notes()
        self._volumes()
        self._treatment()
        if self.study.task == "survival" and (out.time is None or not out.at()):
            raise ValueError("[outcome] of a survival study needs 'time', 'event' and 'horizons_days'")
        if self.study.task == "classify" and out.column is None and not out.findings:
            raise ValueError("[outcome] of a classify study needs 'column', or 'findings' in pictures")
        self._pictures()
        self._silver()
        if self.study.task not in ("survival", "effect") and out.competing:
            raise ValueError("[outcome] 'competing' needs task 'survival' or 'effect'")
        if self.study.task == "risk" and out.column is None and len(out.at()) != 1:
            raise ValueError("[outcome] of a risk study needs 'column', or 'time', 'event' and one 'horizon_days'")
        return self

    def _treatment(self) -> None:
        out, estimand = self.outcome, self.estimand
        if self.treatment is None:
            if self.study.task == "effect":
                raise StudyFileError(
                    "[study] 'task' effect compares treatments: add [treatment]",
                    "what is compared with what",
                    "write [treatment] with 'column', 'control', 'active' and 'assignment'",
                )
            for table in ("estimand", "policy", "sensitivity"):
                if table in self.model_fields_set:
                    raise StudyFileError(
                        f"[{table}] is of effects: it needs task 'effect' and [treatment]",
                        "tables of this task",
                        f"take [{table}] out, or make it a study of effects",
                    )
            nuisances = sorted(self.model.model_fields_set & {"outcome_model", "propensity_model"})
            if nuisances:
                raise StudyFileError(
                    f"[model] '{nuisances[0]}' is of effects: it needs task 'effect' and [treatment]",
                    "keys of this task",
                    "take it out, or make it a study of effects",
                )
            told = sorted(self.predictors.model_fields_set & {"adjust", "modifiers"})
            if told:
                raise StudyFileError(
                    f"[predictors] '{told[0]}' is of effects: it needs task 'effect' and [treatment]",
                    "keys of this task",
                    "name the columns in [predictors] 'include', or make it a study of effects",
                )
            dated = sorted(name for name, v in self.variables.items() if v.measured) or [""] * bool(out.known)
            if dated:
                where = f"[variables.{dated[0]}] 'measured'" if dated[0] else "[outcome] 'known'"
                raise StudyFileError(
                    f"{where} is held against the start of treatment: it needs task 'effect'",
                    "keys of this task",
                    "take it out, or make it a study of effects",
                )
            if out.kind == "continuous":
                raise StudyFileError(
                    "[outcome] kind = 'continuous' needs task 'effect' for now",
                    "a yes/no outcome, or a time to event",
                    "cut the outcome at a value that matters, or make it a study of effects",
                )
            return
        if self.study.task != "effect":
            raise StudyFileError(
                "[treatment] needs task 'effect'",
                "[study] task = 'effect'",
                "change the task, or take [treatment] out",
            )
        if self.images is not None:
            raise StudyFileError(
                "[treatment] and [images]: effects are estimated from a table",
                "one of them",
                "take [images] out",
            )
        for table, keys, why in _NOT_FOR_EFFECTS:
            found = getattr(self, table).model_fields_set & keys
            if found:
                raise StudyFileError(
                    f"[{table}] '{min(found)}' beside [treatment]: {why}",
                    "keys of a study of effects",
                    "take it out",
                )
        if self.predictors.missing not in ("mean_indicators", "mean"):
            raise StudyFileError(
                "[predictors] 'missing' of an effect study is 'mean_indicators' or 'mean'",
                "one of the two",
                "choose one, or leave 'missing' out",
            )
        if out.column is None and len(out.at()) != 1:
            raise StudyFileError(
                "[outcome] of an effect study needs 'column', or 'time', 'event' and one 'horizon_days'",
                "one outcome at one time",
                "name the column of the outcome, or add 'horizon_days'",
            )
        if out.column is not None and out.at():
            raise StudyFileError(
                "[outcome] 'column' is yes or no, or a number; it goes without a horizon",
                "one of them",
                "take the horizon out, or name 'time' and 'event' instead of 'column'",
            )
        if out.kind == "continuous" and (out.column is None or out.positive is not None):
            raise StudyFileError(
                "[outcome] kind = 'continuous' is a number in 'column'; it goes without 'positive'",
                "'column' alone",
                "take 'positive', 'time' and 'event' out, or leave the kind out",
            )
        if out.measured_in and out.kind != "continuous":
            raise StudyFileError(
                "[outcome] 'measured_in' goes with kind = 'continuous'",
                "a measured outcome",
                "take it out, or write kind = 'continuous'",
            )
        known = CONTRASTS[self.outcome_kind()]
        asked = (*((estimand.contrast,) if estimand.contrast else ()), *estimand.also)
        for name in asked:
            if name not in known:
                raise StudyFileError(
                    f"[estimand] '{name}' is no contrast of this outcome",
                    f"one of: {', '.join(known)}",
                    "choose one of them",
                )
        if (out.known or any(v.measured for v in self.variables.values())) and not (
            self.treatment.started or self.data.time
        ):
            raise StudyFileError(
                "[treatment] 'started' names the date column that 'measured' and 'known' are held against",
                "'started', or [data] 'time'",
                "name the date on which treatment began, or take the other dates out",
            )
        if self.predictors.include is not None and {"adjust", "modifiers"} & self.predictors.model_fields_set:
            raise StudyFileError(
                "[predictors] 'include', or 'adjust' and 'modifiers'",
                "one of the two",
                "name covariates in 'adjust' and who may benefit by what in 'modifiers', or all of them in 'include'",
            )
        named = {*(self.predictors.adjust or ()), *(self.predictors.modifiers or ()), *(self.predictors.include or ())}
        if self.treatment.column in named:
            raise StudyFileError(
                "[predictors] names the treatment column",
                "what was known before treatment",
                "remove it: the treatment is in every model already",
            )

    def outcome_kind(self) -> str:
        """Return the kind of outcome of an effect study: binary, continuous, survival or competing."""
        if self.outcome.column is not None:
            return self.outcome.kind
        return "competing" if self.outcome.competing else "survival"

    def contrasts(self) -> tuple[str, ...]:
        """Return the contrasts of an effect study, the primary one first."""
        known = CONTRASTS[self.outcome_kind()]
        return tuple(dict.fromkeys((self.estimand.contrast or known[0], *self.estimand.also)))

    def effect_scale(self) -> str:
        """Return the contrast that effects of single patients are on: the primary one, or the additive one nearest."""
        first = self.contrasts()[0]
        return first if first in _ADDITIVE else CONTRASTS[self.outcome_kind()][0]

    def _synthetic(self) -> None:
        asked = self.data.synthetic
        if asked is None:
            return
        others = {SYNTHETIC: _OF_BRAINS, SYNTHETIC_BRAIN: {"shortcut", "reports"}, SYNTHETIC_REPORTS: _OF_DRAWINGS}
        if self.data.source not in others:
            raise ValueError(f"[data] 'synthetic' goes with source = {', '.join(repr(name) for name in others)}")
        other = others[self.data.source]
        told = sorted(asked.model_fields_set & other)
        if told:
            raise ValueError(f"[data] 'synthetic' has no '{told[0]}' for source = '{self.data.source}'")
        low, high = (24, 256) if self.data.source == SYNTHETIC_BRAIN else (64, 1024)
        if asked.size is not None and not low <= asked.size <= high:
            raise ValueError(f"[data] 'synthetic' size is {low} to {high} for source = '{self.data.source}'")

    def _notes(self) -> None:
        written = self.data.source == SYNTHETIC_REPORTS
        if self.notes is None:
            if written or self.study.task == "report_labels":
                raise ValueError("[study] 'task' report_labels reads notes: add [notes] with 'column'")
            if self.report.note_text:
                raise ValueError("[report] 'note_text' shows notes: it needs [notes]")
            return
        if self.study.task != "report_labels" or not self.outcome.findings:
            raise ValueError("[notes] needs task 'report_labels' and [outcome] 'findings'")
        if self.images is not None or self.volumes is not None:
            raise ValueError("[notes] beside [images] or [volumes]: a study reads one of them")
        if self.report.note_text and self.notes.identifiers != "none":
            raise StudyFileError(
                "[report] 'note_text' shows notes of patients in the report",
                "[notes] identifiers = 'none', where it is known that no note names anybody",
                "de-identify the notes first (aimed deidentify) and say so, or take 'note_text' out",
            )
        unknown = sorted(set(self.notes.names) - set(self.outcome.findings))
        if unknown:
            raise ValueError(f"[notes] 'names' names '{unknown[0]}', which is none of [outcome] 'findings'")
        for table, keys, why in _NOT_FOR_NOTES:
            told = getattr(self, table).model_fields_set & keys
            if told:
                raise ValueError(f"[{table}] '{min(told)}' beside [notes]: {why}")

    def _volumes(self) -> None:
        drawn = self.data.source == SYNTHETIC_BRAIN
        if self.volumes is None:
            if drawn or self.study.task == "segment":
                raise ValueError("[study] 'task' segment reads scans: add [volumes] with 'column' and 'mask'")
            if self.outcome.regions:
                raise ValueError("[outcome] 'regions' are outlined in scans: add [volumes]")
            told = sorted(self.evaluate.model_fields_set & _OF_MASKS)
            if told:
                raise ValueError(f"[evaluate] '{told[0]}' is of masks: it needs task 'segment'")
            return
        if self.study.task != "segment" or not self.outcome.regions:
            raise ValueError("[volumes] needs task 'segment' and [outcome] 'regions'")
        if self.images is not None:
            raise ValueError("[images] and [volumes]: a study reads one of them")
        if self.predictors.model_fields_set - {"allow"}:
            raise ValueError("[predictors] beside [volumes]: regions are outlined from the scan alone")
        for table, keys, why in _NOT_FOR_VOLUMES:
            found = getattr(self, table).model_fields_set & keys
            if found:
                raise ValueError(f"[{table}] '{min(found)}' beside [volumes]: {why}")

    def _pictures(self) -> None:
        drawn = self.data.source == SYNTHETIC
        if self.images is None:
            if drawn:
                raise ValueError(f"[data] 'source' holds pictures ('{SYNTHETIC}'): add [images] with column = 'path'")
            if self.outcome.findings and self.notes is None:
                raise ValueError(
                    "[outcome] 'findings' are read from pictures or notes: add [images] or [notes] with 'column'"
                )
            return
        if self.study.task != "classify" or not self.outcome.findings:
            raise ValueError("[images] needs task 'classify' and [outcome] 'findings'")
        if self.predictors.model_fields_set - {"allow"}:
            raise ValueError("[predictors] beside [images]: findings are read from the picture alone")
        for table, keys, why in _NOT_FOR_PICTURES:
            told = getattr(self, table).model_fields_set & keys
            if told:
                raise ValueError(f"[{table}] '{min(told)}' beside [images]: {why}")

    def _silver(self) -> None:
        if self.silver is None:
            return
        if self.images is None:
            raise ValueError("[silver] labels pictures by their reports: it needs [images]")
        unknown = sorted(set(self.silver.names) - set(self.outcome.findings))
        if unknown:
            raise ValueError(f"[silver] 'names' names '{unknown[0]}', which is none of [outcome] 'findings'")

    def digest(self) -> str:
        """Return the SHA-256 of the file text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def _keys(model: Any) -> dict[str, Any]:
    """Return the keys of a table and what each holds; a table of named tables has none of its own."""
    for one in (model,) if get_origin(model) is dict else (model, *get_args(model)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return {f.alias or n: f.annotation for n, f in one.model_fields.items() if not f.exclude}
    return {}


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    """Return the keys that may stand at a place of the study file."""
    model: Any = StudySpec
    for step in path:
        model = get_args(model)[1] if get_origin(model) is dict else _keys(model).get(str(step))
    return list(_keys(model))


def _control(value: Any) -> bool:
    """Whether a text holds control characters; a terminal would obey them."""
    if isinstance(value, str):
        return any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 for c in value)
    if isinstance(value, dict):
        return any(_control(v) or _control(k) for k, v in value.items())
    return isinstance(value, list) and any(_control(v) for v in value)


def _tuples(value: Any) -> Any:
    """Turn TOML's lists into tuples, so that strict validation takes them."""
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return value


_WANT = {
    "missing": "this key",
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list in square brackets",
    "dict_type": "a table",
    "model_type": "a table",
}


def _explain(error: ValidationError, text: str, name: str) -> StudyFileError:
    errors = error.errors(include_input=False, include_url=False)
    # A misspelt key also makes the right one missing; the misspelling is what helps.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location = [p for p in first["loc"] if not (isinstance(p, str) and p.startswith("function-"))]
    place = tuple(location)
    where = f"[{place[0]}] " if len(place) > 1 else ""
    where += ".".join(str(p) for p in (place[1:] if len(place) > 1 else place))
    line = _line(text, place)
    at = f"{name}{f', line {line}' if line else ''}: "
    kind = first["type"]
    if kind == "extra_forbidden":
        known = _known_keys(place[:-1])
        close = nearest(str(place[-1]), known)
        return StudyFileError(
            f"{at}unknown key {where}",
            f"one of: {', '.join(known)}",
            f"did you mean '{close}'?" if close else "remove it",
        )
    if kind == "missing":
        return StudyFileError(f"{at}{where} is missing", "this key", "add it")
    if kind == "value_error":
        cause = first.get("ctx", {}).get("error")
        told = cause if isinstance(cause, StudyFileError) else None
        said = told.got if told else first["msg"].removeprefix("Value error, ")
        rest = (told.expected, told.do) if told else ()
        if place:
            return StudyFileError(f"{at}{where.strip()}: {said}", *rest)
        # A rule over several tables names the one to correct first.
        named = re.match(r"\[(\w+)\](?: '(\w+)')?", said)
        line = named and (_line(text, tuple(filter(None, named.groups()))) or _line(text, (named[1],)))
        return StudyFileError(f"{name}{f', line {line}' if line else ''}: {said}", *rest)
    if kind == "literal_error":
        return StudyFileError(f"{at}{where} has another value", first["ctx"]["expected"], "choose one of them")
    return StudyFileError(f"{at}{where} is of the wrong kind", _WANT.get(kind, first["msg"].lower()), "correct it")


def _line(text: str, place: tuple[str | int, ...]) -> int | None:
    """Return the line of a key, found by its table and name; None when it cannot be told."""
    keys = [str(p) for p in place if not isinstance(p, int)]
    if not keys:
        return None
    table, last = ".".join(keys[:-1]), keys[-1]
    current = ""
    fallback = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        header = re.fullmatch(r"\[\[?([^\]]+)\]\]?(\s*#.*)?", line)
        if header:
            current = header[1].strip().replace('"', "")
            if current == ".".join(keys):
                return number
            if current == table:
                fallback = number
        elif re.match(rf"(?:[\w.\"]+\.)?\"?{re.escape(last)}\"?\s*[=.]", line):
            if current == table or ".".join(filter(None, [current, line.split("=")[0].strip()])) == ".".join(keys):
                return number
        elif current and ".".join(keys).startswith(f"{current}.") and re.search(rf"\b{re.escape(last)}\b\s*=", line):
            fallback = number
    return fallback


def read_spec(text: str, *, name: str = "study file", folder: str | Path = ".") -> StudySpec:
    r"""Check the text of a study file and return it as a specification.

    Raises
    ------
    StudyFileError
        On bad TOML, an unknown key (it names the nearest one), a missing key, a wrong type or a rule that
        cannot be read; with the line where it can be told.

    Examples
    --------
    >>> read_spec('schema = 1\n[studdy]\nid = "x"')
    Traceback (most recent call last):
        ...
    aimed.core.errors.StudyFileError: study file, line 2: unknown key studdy; ...; did you mean 'study'?
    """
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError(f"{name} is not valid TOML: {error}", "TOML", "correct that line") from None
    if _control(record):
        raise StudyFileError(f"{name} holds control characters", "text that can be read", "take them out")
    if not record:
        raise StudyFileError(f"{name} is empty", "a study", "start with: aimed new") from None
    try:
        spec = StudySpec.model_validate(_tuples(record))
    except ValidationError as error:
        raise _explain(error, text, name) from None
    except StudyFileError as error:
        raise StudyFileError(f"{name}: {error.got}", error.expected, error.do) from None
    return spec.model_copy(update={"text": text, "folder": Path(folder), "file": name})


def load_spec(path: str | Path) -> StudySpec:
    """Read and check a study file.

    Raises
    ------
    StudyFileError
        See `read_spec`; also when there is no such file or it is not UTF-8.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = nearest(path.name, [p.name for p in path.parent.glob("*.toml")]) if path.parent.is_dir() else None
        raise StudyFileError(
            f"there is no study file {path.name} in that folder",
            "a TOML file",
            f"did you mean '{beside}'?" if beside else "make one with: aimed new",
        ) from None
    except (UnicodeDecodeError, IsADirectoryError, PermissionError):
        raise StudyFileError(f"{path.name} cannot be read as UTF-8 text", "a TOML file", "save it again") from None
    return read_spec(text, name=path.name, folder=path.parent)
