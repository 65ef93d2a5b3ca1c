"""The verbs of the command line; settings live in the study file."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimed.cli.show import NOTICE, console, findings_table, number, print_json, verdict_panel

if TYPE_CHECKING:
    from aimed.bundle.effects import EffectBundle
    from aimed.bundle.notes import NoteBundle
    from aimed.bundle.pictures import PictureBundle
    from aimed.bundle.predict import Bundle
    from aimed.bundle.volumes import VolumeBundle
    from aimed.study.run import Run

__all__ = ["app", "main"]

app = typer.Typer(
    name="aimed",
    help=f"From clinical data to evidence: one study file in, an evaluated and packaged model out. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count signals."""
UNFORESEEN = 70
"""Exit code of an error nobody foresaw (EX_SOFTWARE)."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
StudyFile = Annotated[str, typer.Argument(help="A study file, or the name of a shipped study.", metavar="STUDY")]
RunPath = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Run folder; runs/<study id> when absent.")]


def _run_summary(run: Run) -> dict[str, Any]:
    results = run.results
    primary = results["study"]["primary"]
    return {
        "study": results["study"]["id"],
        "verdict": results["verdict"],
        "model": results["model"]["name"],
        "primary": results["performance"]["measures"][primary],
        "report": str(run.report),
        "bundle": str(run.bundle),
        "notice": NOTICE,
    }


def _exit_for(verdict: str) -> int:
    return 1 if verdict in ("not met", "not enough evidence") else 0


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        import aimed

        typer.echo(aimed.__version__)
        raise typer.Exit()


@app.command("list")
def list_(
    what: Annotated[
        str | None, typer.Argument(help="models, learners, metrics, checks, studies, ...; all when absent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is: tasks, models, learners and average effects, metrics, checks, splits, readers and studies."""
    from aimed.core import UnknownNameError
    from aimed.study.catalogs import catalogs

    found = catalogs()
    if what is not None:
        key = what if what in found else f"{what}s" if f"{what}s" in found else None
        if key is None:
            raise UnknownNameError("catalogue", what, found)
        found = {key: found[key]}
    if as_json:
        print_json(found)
        return
    from rich.markup import escape
    from rich.table import Table

    terminal = console()
    for title, entries in found.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        for name, summary in entries.items():
            table.add_row(f"  {escape(name)}", escape(summary))
        terminal.print(table)
        terminal.print()


@app.command()
def new(
    source: Annotated[str, typer.Argument(help="A table, dataset.json, a BIDS folder or builtin:NAME.")],
    out: Annotated[Path, typer.Option("--out", help="Where the study file is written.")] = Path("study.toml"),
    outcome: Annotated[str | None, typer.Option(help="Column of a yes/no outcome.")] = None,
    positive: Annotated[str | None, typer.Option(help="Value that means the outcome is present.")] = None,
    patient: Annotated[str | None, typer.Option(help="Column of patient ids.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of times to event or censoring.")] = None,
    event: Annotated[str | None, typer.Option(help="Column that is 1 where the event was seen.")] = None,
    horizon: Annotated[list[float] | None, typer.Option(help="Horizon in days; may be repeated.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the study.")] = None,
    image: Annotated[str | None, typer.Option(help="Column of paths to pictures.")] = None,
    finding: Annotated[list[str] | None, typer.Option(help="Column of a finding; may be repeated.")] = None,
    text: Annotated[str | None, typer.Option(help="Column of notes: a study of what they state.")] = None,
    treatment: Annotated[str | None, typer.Option(help="Column of a treatment: a study of its effect.")] = None,
    control: Annotated[str | None, typer.Option(help="Value of the treatment column that is the control.")] = None,
    active: Annotated[str | None, typer.Option(help="Value of the treatment column that is compared with it.")] = None,
) -> None:
    """Write a commented study file for a table of values, pictures, scans or notes; what can be inferred is."""
    from aimed.core import RefusedError
    from aimed.study.new import write_study
    from aimed.study.new_pictures import image_column, write_picture_study
    from aimed.study.new_volumes import is_volume_list, write_volume_study
    from aimed.study.store import write_atomic

    if out.exists():
        raise RefusedError(f"{out.name} is already there", "a new file", "give another --out")
    todo = "fill in intended_use and accept"
    if treatment is not None:
        from aimed.study.new_effects import write_effect_study

        written = write_effect_study(
            source,
            treatment=treatment,
            control=control,
            active=active,
            outcome=outcome,
            positive=positive,
            time=time,
            event=event,
            horizons_days=horizon or (),
            patient=patient,
            title=title,
            relative_to=out.parent,
        )
        todo = "say how patients were assigned"
    elif text is not None:
        from aimed.study.new_notes import write_note_study

        written = write_note_study(
            source, text=text, findings=finding or (), patient=patient, title=title, relative_to=out.parent
        )
    elif not (image or finding or outcome or time) and is_volume_list(source):
        written = write_volume_study(source, patient=patient, title=title, relative_to=out.parent)
    elif image or finding or not (outcome or time or image_column(source) is None):
        written = write_picture_study(
            source, image=image, findings=finding or (), patient=patient, title=title, relative_to=out.parent
        )
    else:
        written = write_study(
            source,
            outcome=outcome,
            positive=positive,
            patient=patient,
            time=time,
            event=event,
            horizons_days=horizon or (),
            title=title,
            relative_to=out.parent,
        )
    write_atomic(out, written)
    typer.echo(f"wrote {out}; read it, {todo}, then: aimed check {out}")


@app.command()
def check(study: StudyFile, as_json: AsJson = False) -> None:
    """Check the study file and the data, leakage included; nothing is trained."""
    from aimed.checks.run import raise_on_stop
    from aimed.study.run import study as open_study

    findings = open_study(study).check()
    if as_json:
        print_json({"findings": [f.to_dict() for f in findings]})
    else:
        findings_table(findings)
    raise_on_stop(findings)


@app.command()
def plan(study: StudyFile, as_json: AsJson = False) -> None:
    """Say what a run would do, and about how long and how much memory it takes."""
    from aimed.study.run import study as open_study

    planned = open_study(study).plan()
    if as_json:
        print_json(planned.to_dict())
        return
    from rich.markup import escape
    from rich.table import Table

    terminal = console()
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in planned.steps:
        table.add_row(f"  {name}", escape(text))
    terminal.print(table)
    terminal.print(f"  about {planned.seconds:.0f} s and {planned.memory_mb:.0f} MB (an order of magnitude)")


@app.command()
def run(study: StudyFile, out: OutFolder = None, as_json: AsJson = False) -> None:
    """Run a study, or go on with one that was stopped; writes the evidence report and the bundle."""
    from aimed.cli.progress import reporter
    from aimed.study.run import study as open_study

    listener = reporter(as_json)
    try:
        done = open_study(study).run(out, listener)
    finally:
        listener.close()
    if as_json:
        print_json(_run_summary(done))
    else:
        verdict_panel(done)
    raise typer.Exit(_exit_for(done.verdict))


@app.command()
def report(folder: RunPath, as_json: AsJson = False) -> None:
    """Write the report and the model card of a run again, from its results.json."""
    from aimed.study.render import render_again

    path = render_again(folder)
    if as_json:
        print_json({"report": str(path)})
    else:
        typer.echo(str(path))


@app.command()
def compare(
    a: RunPath,
    b: RunPath,
    out: Annotated[Path | None, typer.Option("--out", help="Write a comparison page there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put two runs side by side."""
    from aimed.study.compare import compare_runs, write_comparison

    found = compare_runs(a, b)
    if out is not None:
        write_comparison(a, b, out)
    if as_json:
        print_json(found)
        return
    from rich.markup import escape
    from rich.table import Table

    terminal = console()
    table = Table("measure", escape(str(found["a"])), escape(str(found["b"])))
    for name, pair in found["measures"].items():
        table.add_row(name, number(pair["a"]), number(pair["b"]))
    terminal.print(table)
    if not (found["same_data"] and found["same_split"]):
        terminal.print("The runs differ in data or split: the numbers are not a fair comparison.")
    if out is not None:
        terminal.print(f"wrote {out}", markup=False)


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a run folder that holds one.")],
    source: Annotated[
        str,
        typer.Argument(
            help="A table with the model's inputs; for a model of pictures a folder, a zip archive, a picture, or a "
            "table of paths; for a model of scans a NIfTI file, a folder of NIfTI or DICOM, dataset.json or a table; "
            "for a model of notes a table, a text file or a folder of them."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the predictions there as CSV; those of pictures as .json or .jsonl too; of scans a new folder.",
        ),
    ] = None,
    unit: Annotated[str | None, typer.Option("--id", help="Column of ids to carry along.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="Column of paths to pictures or scans.")] = None,
    dicom: Annotated[
        Path | None,
        typer.Option(
            "--dicom", help="Folder for DICOM reports, with heat maps of findings called present or segmentations."
        ),
    ] = None,
    labelmap: Annotated[
        bool,
        typer.Option(
            "--labelmap",
            help="Write DICOM segmentations as label maps, one number a voxel, for regions that do not overlap; "
            "without it each region has a bit of its own, which every viewer reads.",
        ),
    ] = False,
    text: Annotated[str | None, typer.Option("--text", help="Column of notes, for a model of notes.")] = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Say where in a note each finding is mentioned (with --json).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Predict rows, effects, pictures, scans or notes; what a model may not be used for is refused, with the reason."""
    from aimed.bundle.notes import NoteBundle
    from aimed.bundle.pictures import PictureBundle
    from aimed.bundle.volumes import VolumeBundle
    from aimed.core import DataError
    from aimed.study.predict import open_bundle

    model = open_bundle(bundle)
    if (text is not None or evidence) and not isinstance(model, NoteBundle):
        raise DataError(f"{'--text' if text else '--evidence'} and a model that reads no notes", "a model of notes")
    if labelmap and (dicom is None or not isinstance(model, VolumeBundle)):
        what = "without --dicom" if dicom is None else "and a model that outlines no scans"
        raise DataError(f"--labelmap {what}", "--dicom FOLDER and a model of scans", "leave it out")
    if isinstance(model, PictureBundle):
        predicted, refused = _predict_pictures(model, source, out, unit, image, dicom, as_json)
    elif isinstance(model, VolumeBundle):
        predicted, refused = _predict_volumes(model, source, out, unit, image, dicom, labelmap, as_json)
    elif isinstance(model, NoteBundle):
        if dicom is not None or image is not None:
            raise DataError(f"{'--dicom' if dicom else '--image'} and a model of notes", "neither", "leave it out")
        predicted, refused = _predict_notes(model, source, out, unit, text, evidence, as_json)
    else:
        if dicom is not None:
            raise DataError("--dicom and a model that reads rows of a table", "no --dicom", "leave it out")
        predicted, refused = _predict_rows(model, source, out, unit, image, as_json)
    if not as_json:
        detail = ", ".join(f"{code} {n}" for code, n in sorted(refused.items()))
        typer.echo(
            f"{predicted:,} predicted, {sum(refused.values()):,} refused{f' ({detail})' if detail else ''}. {NOTICE}",
            err=True,
        )
    raise typer.Exit(4 if refused and not predicted else 0)


def _predict_rows(
    model: Bundle | EffectBundle, source: str, out: Path | None, unit: str | None, image: str | None, as_json: bool
) -> tuple[int, dict[str, int]]:
    from aimed.bundle.predict import Bundle
    from aimed.core import DataError
    from aimed.study.predict import predict_table, refusals, to_csv

    if image is not None:
        raise DataError("--image and a model that reads rows of a table", "no --image", "leave it out")
    rows = predict_table(model, source, unit=unit)
    text = to_csv(rows, model, out)
    refused = refusals(rows)
    predicted = len(rows) - sum(refused.values())
    if isinstance(model, Bundle):
        told = {"horizons": model.horizons}
    else:
        told = {"arms": model.manifest["arms"], "average": model.manifest["average"]}
    if as_json:
        print_json(
            {
                "study": model.manifest["study"],
                "model_sha256": model.digest,
                **told,
                "predicted": predicted,
                "refused": refused,
                "rows": [row.to_dict() for row in rows],
                "notice": NOTICE,
            }
        )
    elif out is None:
        sys.stdout.write(text)
    return predicted, refused


def _predict_notes(
    model: NoteBundle,
    source: str,
    out: Path | None,
    unit: str | None,
    text: str | None,
    evidence: bool,
    as_json: bool,
) -> tuple[int, dict[str, int]]:
    from aimed.cli.progress import reporter
    from aimed.study.predict import refusals
    from aimed.study.predict_notes import notes_to_csv, predict_notes

    listener = reporter(as_json)
    began = monotonic()
    listener.started("predict")
    try:
        rows = predict_notes(model, source, text=text, unit=unit, evidence=evidence, progress=listener.advanced)
        listener.finished("predict", monotonic() - began, False)
    finally:
        listener.close()
    written = notes_to_csv(rows, model, out)
    refused = refusals(rows)
    predicted = len(rows) - sum(refused.values())
    if as_json:
        print_json(
            {
                "study": model.manifest["study"],
                "model_sha256": model.digest,
                "findings": list(model.manifest["outcome"]["findings"]),
                "predicted": predicted,
                "refused": refused,
                "rows": [row.to_dict() for row in rows],
                "notice": NOTICE,
            }
        )
    elif out is None:
        sys.stdout.write(written)
    return predicted, refused


def _predict_pictures(
    model: PictureBundle,
    source: str,
    out: Path | None,
    unit: str | None,
    image: str | None,
    dicom: Path | None,
    as_json: bool,
) -> tuple[int, dict[str, int]]:
    from aimed.cli.progress import reporter
    from aimed.study.predict_pictures import find_pictures, predict_pictures

    found = find_pictures(source, image=image, unit=unit, usual=model.schema.column)
    listener = reporter(as_json)
    also = None
    if dicom is not None:
        from aimed.study.dicom_output import DicomOutput

        also = DicomOutput(model, dicom)
    began = monotonic()
    listener.started("predict")
    try:
        done = predict_pictures(
            model,
            found,
            out or sys.stdout,
            as_json=as_json,
            head={"notice": NOTICE},
            progress=listener.advanced,
            also=also,
        )
        listener.finished("predict", monotonic() - began, done.resumed == done.pictures)
    finally:
        listener.close()
    if as_json and out is not None:
        print_json({"model_sha256": model.digest, **done.to_dict(), "out": str(out), "notice": NOTICE})
    if also is not None and not as_json:
        left = ", ".join(f"{code} {n}" for code, n in sorted(also.left_out.items()))
        typer.echo(
            f"DICOM: {also.written:,} files written{f'; pictures without any: {left}' if left else ''}", err=True
        )
    if not as_json and done.warned:
        warned = ", ".join(f"{code} {n}" for code, n in sorted(done.warned.items()))
        typer.echo(f"warnings: {warned}", err=True)
    return done.predicted, done.refused


def _predict_volumes(
    model: VolumeBundle,
    source: str,
    out: Path | None,
    unit: str | None,
    image: str | None,
    dicom: Path | None,
    labelmap: bool,
    as_json: bool,
) -> tuple[int, dict[str, int]]:
    from aimed.cli.progress import reporter
    from aimed.core import DataError
    from aimed.study.predict_volumes import TABLE, find_volumes, predict_volumes

    if out is None:
        raise DataError("no folder for masks and volumes", "--out FOLDER", "name a new folder")
    found = find_volumes(model, source, image=image, unit=unit, out=out, dicom=dicom)
    listener = reporter(as_json)
    began = monotonic()
    listener.started("predict")
    try:
        done = predict_volumes(
            model,
            found,
            out,
            dicom=False if dicom is None else dicom,
            kind="LABELMAP" if labelmap else "BINARY",
            progress=listener.advanced,
        )
        listener.finished("predict", monotonic() - began, done.resumed == done.scans)
    finally:
        listener.close()
    if as_json:
        print_json({"model_sha256": model.digest, **done.to_dict(), "out": str(out / TABLE), "notice": NOTICE})
        return done.predicted, done.refused
    for what, counted in (("warnings", done.warned), ("scans without DICOM results", done.without_dicom)):
        if counted:
            typer.echo(f"{what}: {', '.join(f'{code} {n}' for code, n in sorted(counted.items()))}", err=True)
    return done.predicted, done.refused


@app.command()
def label(
    source: Annotated[str, typer.Argument(help="A table of reports: Parquet, Arrow or CSV.", metavar="FILE")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file of labels; evidence is written beside it.")],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="Column of reports; repeated, the columns of their sections; found when absent."),
    ] = None,
    unit: Annotated[str | None, typer.Option("--id", help="Column of ids to carry along.")] = None,
    lexicon: Annotated[str, typer.Option(help="A shipped lexicon, or the path of your own.")] = "chest-xray",
    targets: Annotated[str, typer.Option(help="Set of labels of the lexicon, such as chexpert or nih.")] = "chexpert",
    jobs: Annotated[int, typer.Option(help="Processes; -1 for as many as processors.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Label radiology reports with the findings they state, deny or doubt, each with its place in the text."""
    from aimed.cli.progress import reporter
    from aimed.study.label_reports import finding_rows, label_reports, refused_and_flagged

    listener = reporter(as_json)
    began = monotonic()
    listener.started("label")
    try:
        done = label_reports(
            source,
            out,
            text=text or (),
            unit=unit,
            lexicon=lexicon,
            targets=targets,
            jobs=jobs,
            progress=listener.advanced,
        )
        listener.finished("label", monotonic() - began, False)
    finally:
        listener.close()
    refused = sum(done.refused.values())
    if as_json:
        print_json({**done.to_dict(), "notice": NOTICE})
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table("finding", title=f"{done.reports:,} reports, {refused:,} refused", title_justify="left")
        for column in ("present", "uncertain", "absent", "not mentioned"):
            table.add_column(column, justify="right")
        for finding, *counts in finding_rows(done):
            table.add_row(escape(finding), *(f"{n:,}" for n in counts))
        console().print(table)
        for line in refused_and_flagged(done):
            typer.echo(line)
        typer.echo(f"Counts of labels made by rules, for research use. {NOTICE}", err=True)
    raise typer.Exit(4 if done.reports and refused == done.reports else 0)


@app.command()
def deidentify(
    source: Annotated[Path, typer.Argument(help="A file or folder: DICOM, CSV, Parquet, FHIR, notes.", metavar="PATH")],
    out: Annotated[Path, typer.Option("--out", help="A new folder, or one an earlier run began.")],
    key: Annotated[Path | None, typer.Option(help="Key file; the same key gives the same surrogates.")] = None,
    patient: Annotated[str | None, typer.Option(help="Column of patients in tables.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="NAME=ROLE of a column of tables; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for as many as processors.")] = 1,
    blank: Annotated[
        str | None,
        typer.Option(
            help="Burned-in text: x,y,w,h[;...], ultrasound, none (a person looked), or a TOML file by modality."
        ),
    ] = None,
    style: Annotated[str, typer.Option(help="surrogate, or class for marks such as [NAME].")] = "surrogate",
    dates: Annotated[str, typer.Option(help="Dates of DICOM: shift or remove.")] = "shift",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Of DICOM: uids, device, patient, institution, descriptors; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replace what identifies patients, alike in DICOM files, tables, FHIR and notes; goes on where it was stopped."""
    from aimed.cli.file_progress import counted
    from aimed.study.deidentify import deidentify as run

    with counted(quiet=as_json) as told:
        summary, made = run(
            source, out, key=key, patient=patient, columns=column or (), jobs=jobs, blank=blank, style=style,
            dates=dates, keep=tuple(keep or ()), told=told,
        )  # fmt: skip
    if as_json:
        print_json(summary.to_dict())
    else:
        for line in summary.lines():
            typer.echo(line)
        if made is not None:
            typer.echo(f"a new key is in {made}: keep it apart from the files; the same surrogates need it")
    raise typer.Exit(1 if summary.refused else 0)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, under which licence, and what is missing for which data."""
    from aimed.study.doctor import examine

    rows = examine()
    if as_json:
        print_json(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("what", "state", "detail", "do")
    for row in rows:
        colour = {"ok": "green", "missing": "yellow", "weak": "red"}[row["state"]]
        table.add_row(escape(row["what"]), f"[{colour}]{row['state']}[/]", escape(row["detail"]), escape(row["do"]))
    console().print(table)


@app.command()
def demo(
    name: Annotated[str | None, typer.Argument(help="A shipped study; all that can run when absent.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run folders.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Run the shipped studies and write one index page with their verdicts."""
    from aimed.cli.progress import reporter
    from aimed.study.demo import run_demo, write_index

    listener = reporter(as_json)
    try:
        runs, left_out = run_demo([name] if name else None, out, listener)
    finally:
        listener.close()
    index = write_index(runs, out, left_out)
    if as_json:
        print_json(
            {"runs": [_run_summary(r) for r in runs], "left_out": [str(e) for e in left_out], "index": str(index)}
        )
        return
    for done in runs:
        verdict_panel(done)
    for error in left_out:
        typer.echo(f"left out: {error}")
    typer.echo(f"index: {index}")


def main() -> None:
    """Run the command line; every error is three short lines and an exit code."""
    from aimed.core import AimedError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(standalone_mode=True)
    except AimedError as error:
        if "--json" in sys.argv:
            print_json(
                {"error": {"code": error.exit_code, "got": error.got, "expected": error.expected, "do": error.do}}
            )
        else:
            lines = [f"got:      {error.got}"]
            lines += [f"expected: {error.expected}"] if error.expected else []
            lines += [f"do:       {error.do}"] if error.do else []
            sys.stderr.write("\n".join(lines) + "\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            sys.stderr.write("stopped; run the same command again to go on where it stopped\n")
        raise
    except Exception as error:
        if os.environ.get("AIMED_DEBUG"):
            raise
        # The text of an unforeseen error may quote a value of a patient; its kind and place do not.
        place = traceback.extract_tb(error.__traceback__)[-1]
        got = f"an unforeseen {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        do = "report it; AIMED_DEBUG=1 shows the whole trace, which may hold data"
        if "--json" in sys.argv:
            print_json({"error": {"code": UNFORESEEN, "got": got, "expected": "no such error", "do": do}})
        else:
            sys.stderr.write(f"got:      {got}\ndo:       {do}\n")
        sys.exit(UNFORESEEN)
