"""The flow as a sentence: read, check, split, fit, calibrate, evaluate, explain, audit, report, package."""

from __future__ import annotations

import io
import resource
import sys
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import aimed
from aimed.bundle.store import load_model, save_model
from aimed.checks.run import raise_on_stop
from aimed.core import Cohort, Finding, RefusedError, Severity, Split, StudyFileError
from aimed.splits.lock import apply_lock, make_lock
from aimed.study import assemble, stages
from aimed.study.flows import flow_of
from aimed.study.models import model_names
from aimed.study.picture_models import weights_digest
from aimed.study.pictures import regions_digest
from aimed.study.plan import Plan, make_plan
from aimed.study.reporter import Reporter
from aimed.study.spec import StudySpec, load_spec
from aimed.study.store import RunFolder, key_of
from aimed.study.tasks import checklists_of, known_measures, primary_of, read_cohort
from aimed.trust import CHECKLISTS
from aimed.trust.criteria import validate

__all__ = ["STAGES", "Reporter", "Run", "Study", "study"]

STAGES = ("read", "check", "split", "fit", "calibrate", "evaluate", "explain", "audit", "report", "package")
"""The stages of a run, in order."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run produced.

    Attributes
    ----------
    folder : path
        The run folder.
    results : dict
        The content of ``results.json``.
    """

    folder: Path
    results: dict[str, Any] = field(repr=False)

    @property
    def verdict(self) -> str:
        """``met``, ``not met``, ``not enough evidence`` or ``no criteria``."""
        return str(self.results["verdict"]["state"])

    @property
    def report(self) -> Path:
        """Path of the evidence report."""
        return self.folder / "report.html"

    @property
    def bundle(self) -> Path:
        """Path of the packaged model."""
        return self.folder / "bundle"


class Study:
    """A study file with everything that can be done with it.

    Parameters
    ----------
    spec : StudySpec
    data : frame, optional
        A polars or pandas frame in place of ``[data] source``.

    Examples
    --------
    >>> import aimed
    >>> s = aimed.study("breast-cancer-diagnosis")
    >>> s.spec.study.task
    'classify'
    """

    def __init__(self, spec: StudySpec, data: Any = None) -> None:
        self.spec = spec
        self.data = data
        self._cohort: Cohort | None = None
        self._validate()

    def _validate(self) -> None:
        spec = self.spec
        primary_of(spec)
        candidates, baselines = model_names(spec)
        known = known_measures(spec)
        validate(
            list(spec.evaluate.accept),
            known,
            baselines=baselines,
            subgroups=bool(spec.subgroups.columns),
        )
        for name in checklists_of(spec):
            CHECKLISTS[name]().said(dict(spec.report.statements))
        fixed = set(candidates)
        for name in spec.model.parameters:
            if name not in fixed:
                raise StudyFileError(
                    f"[model] parameters.{name} belongs to no candidate", f"one of: {', '.join(sorted(fixed))}"
                )

    def read(self, place: Path | None = None, progress: Callable[[float, str], None] | None = None) -> Cohort:
        """Read the rows, once.

        Parameters
        ----------
        place : path, optional
            Where decoded pictures are kept, each decoded once; ``runs`` in the working directory when absent.
        progress : callable, optional
            Hears how far the reading of pictures is.
        """
        if self._cohort is None:
            if self.spec.volumes is not None:
                from aimed.study.volumes import read_volume_cohort

                self._cohort = read_volume_cohort(self.spec, place or Path("runs"), self.data, progress)
            elif self.spec.notes is not None:
                from aimed.study.notes import read_note_cohort

                self._cohort = read_note_cohort(self.spec, place or Path("runs"), self.data, progress)
            elif self.spec.images is None:
                self._cohort = read_cohort(self.spec, self.data)
            else:
                from aimed.study.pictures import read_picture_cohort

                self._cohort = read_picture_cohort(self.spec, place or Path("runs"), self.data, progress)
        return self._cohort

    def split(self) -> Split:
        """Draw the parts and folds, without locking them."""
        return stages.draw_split(self.spec, self.read())

    def check(self) -> list[Finding]:
        """Look for what would make the results wrong; nothing is trained."""
        return list(flow_of(self.spec).check(self.spec, self.read(), self.split()))

    def plan(self) -> Plan:
        """Say what a run would do, how long it takes and how much memory it needs."""
        return make_plan(self.spec, self.read())

    def run(self, folder: str | Path | None = None, reporter: Reporter | None = None) -> Run:
        """Run every stage that is not yet done and return the results.

        Parameters
        ----------
        folder : path, optional
            Run folder; ``runs/<study id>`` in the working directory when absent.
        reporter : Reporter, optional

        Raises
        ------
        DataError
            If a check ends the run, or the data cannot be used.
        RefusedError
            If the split lock does not fit, or another run holds the folder.
        """
        home = RunFolder(folder if folder is not None else Path("runs") / self.spec.study.id)
        # What can be refused without writing is refused before the folder exists.
        heard = reporter or Reporter()
        if self.spec.images is not None:
            from aimed.study.picture_models import require_networks

            require_networks(self.spec)
        if self.spec.silver is not None:
            from aimed.study.silver import require_silver

            require_silver(self.spec)
        if self.spec.notes is not None:
            from aimed.study.note_models import require_readers

            require_readers(self.spec)
        if self.spec.volumes is not None:
            from aimed.study.volume_models import require_volume_networks

            require_volume_networks(self.spec)
        heard.started("read")
        began = clock.monotonic()
        self.read(home.path.parent, heard.advanced)
        seconds = {"read": round(clock.monotonic() - began, 3)}
        heard.finished("read", seconds["read"], resumed=False)
        home.open()
        # One BLAS thread: the matrices are narrow, and sums then come out the same on any machine load.
        with home.lock(), threadpool_limits(limits=1, user_api="blas"):
            home.clear_leftovers()
            return _Flow(self, home, heard, seconds).go()


def study(source: str | Path | StudySpec, data: Any = None) -> Study:
    """Open a study.

    Parameters
    ----------
    source : str, path or StudySpec
        A study file, or the name of a shipped study.
    data : frame, optional
        Takes the place of ``[data] source``.

    Raises
    ------
    StudyFileError
        If the file cannot be read or asks for something that does not exist.

    Examples
    --------
    >>> study("breast-cancer-diagnosis").spec.outcome.positive
    'malignant'
    """
    if isinstance(source, StudySpec):
        return Study(source, data)
    from aimed.study.shipped import SHIPPED

    name = str(source)
    if name in SHIPPED and not Path(name).exists():
        return Study(load_spec(SHIPPED[name]), data)
    return Study(load_spec(source), data)


class _Flow:
    """One pass through the stages; each is skipped when its inputs and outputs are unchanged."""

    def __init__(self, owner: Study, home: RunFolder, reporter: Reporter, seconds: dict[str, float]) -> None:
        self.spec = owner.spec
        self.owner = owner
        self.home = home
        self.reporter = reporter
        self.seconds = seconds
        self.flow = flow_of(owner.spec)

    def stage(self, name: str, key: str, work: Callable[[], tuple[Any, list[str]]]) -> dict[str, Any]:
        self.reporter.started(name)
        found = self.home.stage(name, key)
        if found is None:
            began = clock.monotonic()
            payload, files = work()
            found = self.home.finish_stage(name, key, payload, files, clock.monotonic() - began)
            self.reporter.finished(name, found["seconds"], resumed=False)
        else:
            self.reporter.finished(name, found["seconds"], resumed=True)
        self.seconds[name] = found["seconds"]
        return found

    def _tell_refused(self, cohort: Cohort) -> None:
        """Write which files were refused and why, beside the other tables that stay with the data."""
        rows = [one for asset in cohort.assets.values() for one in asset.refusals()]
        place = self.home.file("refused.csv")
        if rows:
            self.home.write("refused.csv", pl.DataFrame(rows).write_csv())
        else:
            place.unlink(missing_ok=True)

    def _of_volumes(self, part: Mapping[str, Any] | None) -> Any:
        """Return what fitting a study of volumes depends on beside its data; None for another study."""
        if part is None:
            return None
        from aimed.study.volume_models import plan_text, volume_weights_digest

        grid = {name: part[name] for name in ("spacing", "memory_mb", "modality", "window")}
        return grid, plan_text(self.spec), volume_weights_digest(self.spec), self.spec.evaluate.empty

    def _of_notes(self, part: Mapping[str, Any] | None) -> Any:
        """Return what fitting a study of notes depends on beside its data; None for another study."""
        if part is None:
            return None
        from aimed.study.note_models import lexicon_digest

        return {k: v for k, v in part.items() if k != "identifiers"}, lexicon_digest(self.spec)

    def _of_silver(self) -> Any:
        """Return what fitting depends on where reports teach; None for another study."""
        if self.spec.silver is None:
            return None
        from aimed.study.silver import silver_key

        return silver_key(self.spec)

    def _of_readers(self, cohort: Cohort) -> list[Any]:
        """Return what evaluating depends on where further readers outlined the scans."""
        if self.spec.volumes is None or not self.spec.volumes.readers:
            return []
        from aimed.study.volume_readers import readers_digest

        labels = {name: self.spec.variables[name].label for name in self.spec.volumes.readers
                  if name in self.spec.variables}  # fmt: skip
        return [self.spec.volumes.readers, readers_digest(self.spec, cohort), labels]

    def _guard(self, lock_sha256: str) -> None:
        """Refuse when the record of openings, or the lock it was made under, was tampered with or lost."""
        openings = self.home.openings()
        if self.home.file("stages", "evaluate.json").exists() and not openings:
            raise RefusedError(
                "openings.json is gone although the test part was opened in this folder",
                "the record of openings",
                "restore it, or start again with a new study id",
            )
        if any(o.get("lock_sha256") != lock_sha256 for o in openings):
            raise RefusedError(
                "splits.lock is not the one under which the test part was opened",
                "the same lock",
                "restore it, or start again with a new study id",
            )

    def go(self) -> Run:
        spec, home, part = self.spec, self.home, self.spec.model_dump(mode="json", by_alias=True)
        version, pictures = aimed.__version__, part["images"] or part["volumes"] or {}

        # Codes stand in what a packaged model writes; nothing that is fitted or measured depends on them.
        outcome = {k: v for k, v in part["outcome"].items() if k != "codes"}

        cohort = self.owner.read()
        digest = cohort.digest()

        self._tell_refused(cohort)
        drawn = stages.draw_split(spec, cohort)
        # What only the report shows asks nothing of the data.
        asked = {k: v for k, v in part.items() if k not in ("study", "report", "explain", "images", "volumes", "notes")}
        key = key_of("check", version, digest, asked, {k: v for k, v in pictures.items() if k != "regions"} or None)

        def check() -> tuple[Any, list[str]]:
            findings = self.flow.check(spec, cohort, drawn, self.reporter.advanced)
            self.reporter.found(findings)
            home.write_json("findings.json", [f.to_dict() for f in findings])
            if any(f.severity is Severity.STOP for f in findings):
                home.set_aside()
            raise_on_stop(findings)
            return [f.to_dict() for f in findings], ["findings.json"]

        findings = self.stage("check", key, check)["payload"]

        # The lock is outside the stage record on purpose: it outlives every change of the study file.
        settings = {**part["split"]["test"], "seed": spec.study.seed}
        lock = home.file("splits.lock")
        split = drawn
        if lock.exists():
            text, usable = lock.read_text(encoding="utf-8"), list(drawn.parts.values())
            locked = apply_lock(text, spec.study.id, cohort.patient, settings, usable)
            split = stages.with_folds(spec, cohort, locked)

        key = key_of("split", version, digest, part["split"], spec.study.id, spec.study.seed)

        def cut() -> tuple[Any, list[str]]:
            if not lock.exists():
                home.write("splits.lock", make_lock(spec.study.id, drawn.parts, cohort.patient, settings))
            return split.proof(), ["splits.lock"]

        split_record = self.stage("split", key, cut)
        lock_sha = split_record["files"]["splits.lock"]
        self._guard(lock_sha)

        of_effects = (part["treatment"], part["estimand"], spec.evaluate.level) if spec.treatment else None
        fit_key = key_of(
            "fit",
            version,
            digest,
            lock_sha,
            part["split"],
            part["predictors"],
            part["model"],
            part["tune"],
            outcome,
            pictures.get("weights"),
            pictures.get("pretrain"),
            self._of_volumes(part["volumes"]),
            weights_digest(spec),
            spec.study.seed,
            spec.evaluate.tau_days,
            of_effects,
            self._of_notes(part["notes"]),
            self._of_silver(),
        )

        def fit() -> tuple[Any, list[str]]:
            payload, model, out_of_fold = self.flow.fit(spec, cohort, split, home, fit_key, self.reporter.advanced)
            save_model(model, home.file("fit", "model"))
            buffer = io.BytesIO()
            np.save(buffer, out_of_fold, allow_pickle=False)
            home.write("fit/out_of_fold.npy", buffer.getvalue())
            return payload, [*_files(home, "fit/model"), "fit/out_of_fold.npy"]

        fitted = self.stage("fit", fit_key, fit)["payload"]
        if spec.volumes is not None:
            from aimed.study.volume_models import keep_plan

            keep_plan(home, fitted["plan"])

        # Intervals of volumes are learned for one level.
        of_level = spec.evaluate.level if spec.volumes is not None else None
        cal_key = key_of(
            "calibrate",
            fit_key,
            part["calibrate"],
            spec.evaluate.threshold,
            spec.evaluate.optimism,
            spec.study.seed,
            of_level,
            part["policy"] if spec.treatment else None,
        )

        def calibrate() -> tuple[Any, list[str]]:
            model = load_model(home.file("fit", "model"))
            out_of_fold = np.load(home.file("fit", "out_of_fold.npy"), allow_pickle=False)
            payload, model = self.flow.calibrate(spec, cohort, split, model, out_of_fold, self.reporter.advanced)
            save_model(model, home.file("model"))
            return payload, _files(home, "model")

        cal_record = self.stage("calibrate", cal_key, calibrate)
        calibrated = cal_record["payload"]
        model_sha = key_of(cal_record["files"])
        model = load_model(home.file("model"))

        judged = {k: v for k, v in part["evaluate"].items() if k not in ("accept", "optimism")}
        eval_key = key_of(
            "evaluate",
            cal_key,
            model_sha,
            judged,
            outcome,
            pictures.get("shortcuts"),
            part["sensitivity"] if spec.treatment else None,
            *self._of_readers(cohort),
        )

        question = key_of(part)
        look = key_of(eval_key, digest, lock_sha, part["explain"], part["subgroups"], part["evaluate"])

        def open_test() -> None:
            home.open_test(
                look,
                model_sha256=model_sha,
                study_sha256=question,
                data_sha256=digest,
                lock_sha256=lock_sha,
                reason="evaluation of the chosen model",
            )

        def evaluate() -> tuple[Any, list[str]]:
            open_test()
            payload, table = self.flow.evaluate(spec, cohort, split, model, fitted, calibrated, self.reporter.advanced)
            home.write("predictions.parquet", _parquet(table))
            return payload, ["predictions.parquet"]

        evidence = self.stage("evaluate", eval_key, evaluate)["payload"]

        shown: Any = None
        if spec.volumes is not None:
            shown = {name: part["report"][name] for name in ("thumbnails", "case_ids")}
        elif spec.notes is not None:
            shown = {name: part["report"][name] for name in ("note_text", "case_ids")}
        elif pictures:
            shown = pictures["regions"], regions_digest(spec, cohort), {**part["report"], "statements": {}}
        key = key_of("explain", eval_key, part["explain"], part["variables"], primary_of(spec), shown)

        single_rows = "cases.parquet" if pictures or spec.notes is not None else "reasons.parquet"

        def explain() -> tuple[Any, list[str]]:
            open_test()
            block, single = self.flow.explain(spec, cohort, split, model, self.reporter.advanced)
            if single:
                home.write(single_rows, _parquet(single))
            return block, [single_rows] if single else []

        explanation = self.stage("explain", key, explain)["payload"]

        key = key_of("audit", eval_key, part["subgroups"], part["evaluate"]["accept"], primary_of(spec))

        def audit() -> tuple[Any, list[str]]:
            open_test()
            return self.flow.audit(spec, cohort, split, model, calibrated, self.reporter.advanced), []

        audited = self.stage("audit", key, audit)["payload"]

        openings = home.openings()
        found = self.flow.facts(spec, cohort, split, model, fitted, evidence["performance"])
        results = assemble.results(
            spec,
            cohort,
            split,
            digest=digest,
            lock_sha256=lock_sha,
            findings=findings,
            fitted=fitted,
            calibrated=calibrated,
            evidence=evidence,
            explanation=explanation,
            subgroups=audited,
            openings=openings,
            changed_after_opening=any(o["study_sha256"] != question for o in openings),
            found=found,
        )
        report_key = key_of("report", results, spec.text)

        def report() -> tuple[Any, list[str]]:
            assemble.reproduce(results, spec, self.seconds, _peak_mb(), {"model": model_sha, "splits.lock": lock_sha})
            return stages.report(results, home), ["results.json", "report.html", "model_card.md"]

        self.stage("report", report_key, report)
        results = home.read_json("results.json")

        key = key_of("package", cal_key, model_sha, report_key)

        def package() -> tuple[Any, list[str]]:
            self.flow.package(spec, cohort, split, model, found.schema, calibrated, results, home)
            return {}, _files(home, "bundle")

        self.stage("package", key, package)
        home.write_json(
            "provenance.json", {**results["reproduce"], "seconds": self.seconds, "peak_memory_mb": _peak_mb()}
        )
        return Run(home.path, results)


def _files(home: RunFolder, folder: str) -> list[str]:
    root = home.file(folder)
    return sorted(str(p.relative_to(home.path)) for p in root.rglob("*") if p.is_file())


def _parquet(table: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(dict(table)).write_parquet(buffer)
    return buffer.getvalue()


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)
