"""Reports, notes and headers beside their peers: labelling, searching, streaming, de-identifying, answering.

Everything timed runs on made-up texts of this repository with fixed seeds, so that anybody can repeat it. Peers that
cannot live beside our dependencies get an environment of their own beside this file. medspaCy is given the phrases of
the plain pass in `text_plain.py`, its own context rules, and no logging: by default it writes every sentence to stderr.
Presidio runs without a language model (none can be installed from the package index), by its patterns alone.

Parts, each of which takes a few minutes at most, by `--only`: labelling, pass, notes, headers, answers, stream,
accuracy and identifiers. The last two are of `text_truth.py`; they need the data that AIMED_DATA leads to. `--quick`
leaves out the models that learn. Taggers are trained for the quarters that `--train` names, one a call where time is
short. Ten million reports are labelled when asked for, and take a few GB of disk for the time:

    python benchmarks/text.py --only stream --ten-million > ten-million.md &
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import text_plain
from common import Data, Row, Side, machine, parser, status, table

POOL = Path(__file__).parent / ".peers" / "text-pool.json"
"""Sentences and notes that are made once, also for peers that cannot make them."""

KEY = bytes(range(32))
QUESTIONS = (
    "How old is the patient?",
    "What is the size of the nodule?",
    "Where is the tip of the endotracheal tube?",
    "Is there a pleural effusion?",
)


class Held(list[Any]):
    """Texts or files that know how large they are."""

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(map(sys.getsizeof, self))


# ------------------------------------------------------------------------------------------------------------- the data


def make_pool() -> None:
    """Write the sentences of made-up reports, and planted notes."""
    from aimed.privacy.planted import planted_notes
    from aimed.synthetic.reports import plan_reports

    findings: dict[str, None] = {}
    impressions: dict[str, None] = {}
    for plan in plan_reports(1_500, seed=8):
        for line in plan.report.splitlines():
            heading, _, said = line.partition(": ")
            into = {"FINDINGS": findings, "IMPRESSION": impressions}.get(heading)
            if into is not None:
                into.update(dict.fromkeys(f"{one.rstrip('.')}." for one in said.split(". ")))
    notes = [note.text for note in planted_notes(4_000, seed=8, split="test")]
    POOL.parent.mkdir(exist_ok=True)
    POOL.write_text(json.dumps({"findings": list(findings), "impressions": list(impressions), "notes": notes}))


def pool() -> dict[str, list[str]]:
    if not POOL.exists():
        make_pool()
    found: dict[str, list[str]] = json.loads(POOL.read_text())
    return found


def some_reports(seed: int = 0) -> Iterator[str]:
    """Yield made-up reports without end: three to six sentences of findings, mostly an impression."""
    made = pool()
    draw = random.Random(seed)
    findings, impressions = made["findings"], made["impressions"]
    while True:
        text = f"FINDINGS: {' '.join(draw.choices(findings, k=3 + int(4 * draw.random())))}"
        yield text if draw.random() < 0.2 else f"{text}\nIMPRESSION: {draw.choice(impressions)}"


def reports(n: int) -> Data:
    return {"texts": Held(itertools.islice(some_reports(), n)), "reports": n}


def notes(n: int) -> Data:
    """Planted notes over again; their characters are counted."""
    texts = Held(itertools.islice(itertools.cycle(pool()["notes"]), n))
    return {"texts": texts, "characters": sum(map(len, texts))}


def asked(n: int) -> Data:
    return reports(n) | {"answers": n * len(QUESTIONS)}


def headers(n: int) -> Data:
    """DICOM files with some seventy elements, sequences in sequences, private ones, and a picture of 32 kB."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    draw = random.Random(0)
    files = []
    for k in range(n):
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.{k}.1"
        made.StudyInstanceUID, made.SeriesInstanceUID = f"1.2.826.0.2.{k // 4}", f"1.2.826.0.3.{k // 2}"
        made.FrameOfReferenceUID = f"1.2.826.0.4.{k}"
        made.PatientName, made.PatientID = f"Quillfeather{k}^Zebulon", f"MRN-{draw.randrange(10**6):06d}"
        made.PatientBirthDate, made.PatientSex, made.PatientAge = "19440506", "M", "075Y"
        made.PatientAddress, made.PatientTelephoneNumbers = f"{k} Elm Street", "212-555-0134"
        made.OtherPatientIDs, made.EthnicGroup, made.Occupation = f"X{k}", "none", "Teacher"
        for name in ("Study", "Series", "Acquisition", "Content", "InstanceCreation"):
            setattr(made, f"{name}Date", f"2020{1 + k % 12:02d}15")
            setattr(made, f"{name}Time", "101112")
        made.AccessionNumber, made.StudyID, made.Modality = f"A{k:07d}", str(k), "DX"
        made.Manufacturer, made.ManufacturerModelName, made.DeviceSerialNumber = "Maker", "Model 1", f"SN{k:05d}"
        made.InstitutionName, made.InstitutionAddress = "County Hospital", "1 Main Street"
        made.InstitutionalDepartmentName, made.StationName = "Radiology", "ROOM2"
        made.ReferringPhysicianName, made.PerformingPhysicianName = "Okonkwo^Ada", "Lindqvist^Per"
        made.OperatorsName, made.NameOfPhysiciansReadingStudy = "Marsh^Jo", "Okonkwo^Ada"
        made.StudyDescription, made.SeriesDescription = "CHEST PA AND LATERAL", "PA"
        made.ProtocolName, made.BodyPartExamined, made.ViewPosition = "Chest PA", "CHEST", "PA"
        made.AdditionalPatientHistory = f"Seen by Dr. Marsh on 03/02/2020 for cough. MRN {k:06d}."
        made.PatientComments, made.ImageComments = "Lives with his daughter Ada.", "Rotated"
        made.ImageType, made.SoftwareVersions = ["ORIGINAL", "PRIMARY"], ["1.0", "2.1"]
        made.KVP, made.ExposureTime, made.XRayTubeCurrent = "120", "12", "200"
        made.DistanceSourceToDetector, made.PixelSpacing, made.BurnedInAnnotation = "1800", ["0.2", "0.2"], "NO"
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399208008", "SCT", "Chest radiograph"
        asks = Dataset()
        asks.RequestedProcedureID, asks.RequestingPhysician = f"R{k}", "Okonkwo^Ada"
        asks.ScheduledProcedureStepID, asks.RequestedProcedureCodeSequence = f"S{k}", [code]
        made.RequestAttributesSequence, made.ProcedureCodeSequence = [asks], [code]
        before = Dataset()
        before.ReferencedSOPClassUID, before.ReferencedSOPInstanceUID = made.SOPClassUID, f"1.2.826.0.1.{k}.0"
        made.ReferencedImageSequence = [before]
        private = made.private_block(0x0019, "MAKER 1", create=True)
        private.add_new(0x01, "LO", f"Quillfeather{k}")
        private.add_new(0x02, "DS", "1.5")
        made.InstanceNumber, made.SamplesPerPixel, made.PhotometricInterpretation = k, 1, "MONOCHROME2"
        made.Rows = made.Columns = 128
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
        made.WindowCenter, made.WindowWidth = "2048", "4096"
        made.PixelData = draw.randbytes(2 * 128 * 128)
        out = io.BytesIO()
        pydicom.dcmwrite(out, made, enforce_file_format=True)
        files.append(out.getvalue())
    return {"files": Held(files), "headers": n}


# ------------------------------------------------------------------------------------------------------------ labelling


def with_labeller(data: Data) -> Data:
    from aimed.text.labeller import ReportLabeller

    return data | {"labeller": ReportLabeller(targets="chexpert")}


def ours(data: Data) -> Any:
    """Fourteen labels of each report, and the frame with one row a mention."""
    found = data["labeller"].label(data["texts"])
    return found.values, found.evidence


def plain(data: Data) -> Any:
    return [text_plain.mentions(text) for text in data["texts"]]


def with_medspacy(data: Data) -> Data:
    import medspacy
    from loguru import logger
    from medspacy.ner import TargetRule

    logger.remove()
    nlp = medspacy.load()
    rules = [TargetRule(phrase, name) for name, phrases in text_plain.PHRASES.items() for phrase in phrases]
    nlp.get_pipe("medspacy_target_matcher").add(rules)
    return data | {"nlp": nlp}


def medspacy(data: Data) -> Any:
    return [
        [(e.label_, e.start_char, e.end_char, e._.is_negated, e._.is_uncertain) for e in doc.ents]
        for doc in data["nlp"].pipe(data["texts"])
    ]


# ------------------------------------------------------------------------------------------------------------- the pass


def with_phrases(data: Data) -> Data:
    """The labeller, and as text the phrases that its automaton was compiled from."""
    from unittest.mock import patch

    from aimed.text import labeller

    with patch.object(labeller, "compile_phrases", wraps=labeller.compile_phrases) as compiled:
        made = labeller.ReportLabeller(targets="chexpert")
    (rows,) = compiled.call_args.args
    literal = {" ".join(row) for listed, _ in rows for row in listed if all(isinstance(w, str) for w in row)}
    return data | {"labeller": made, "phrases": sorted(literal - {"?"}), "lower": [t.lower() for t in data["texts"]]}


def own_pass(data: Data, phrases: bool = True) -> Any:
    """Words, sentences, sections and, where asked for, all phrases of blocks of notes."""
    import numpy as np

    from aimed.text.automaton import FOLD
    from aimed.text.kernels.words import find_phrases, read_words

    a, found = data["labeller"]._automaton, 0
    for texts in _blocks(data["texts"]):
        text = np.frombuffer("\n".join(texts).encode("cp1252", "aimed.hole") + b"\n", dtype=np.uint8)
        bounds = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(t) + 1 for t in texts], out=bounds[1:])
        start, stop, word = (np.empty(len(text) + 1, dtype=np.int32) for _ in range(3))
        gap, flag = np.empty(len(text) + 1, dtype=np.uint8), np.empty(len(text) + 1, dtype=np.uint8)
        value, first = np.empty(len(text) + 1, dtype=np.float32), np.zeros(len(texts) + 1, dtype=np.int64)
        n = read_words(
            text, bounds, FOLD, a.tree, a.class_at_end, a.class_beyond, data["labeller"]._short, a.question,
            start, stop, word, gap, flag, value, first,
        )  # fmt: skip
        if not phrases:
            continue
        section, of_note = np.full(n + 1, -1, dtype=np.int32), np.zeros(len(texts) + 1, dtype=np.int64)
        where = [np.empty(4 * n + 1024, dtype=np.int32) for _ in range(3)]
        found += find_phrases(
            first, word, gap, flag, a.root, a.edge_from, a.edge_class, a.edge_to, a.gap_from, a.gap_words, a.gap_to,
            a.accept_from, a.accept, data["labeller"]._heading, section, *where, of_note,
        )  # fmt: skip
    return found


def _blocks(texts: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(texts), 2048):
        yield texts[begin : begin + 2048]


def with_ahocorasick(data: Data, overlapping: bool = True) -> Data:
    import ahocorasick_rs

    data = with_phrases(data)
    kind = ahocorasick_rs.MatchKind.Standard if overlapping else ahocorasick_rs.MatchKind.LeftmostLongest
    stems = sorted({phrase.replace("*", "") for phrase in data["phrases"]})
    return data | {"automaton": ahocorasick_rs.AhoCorasick(stems, matchkind=kind)}


def ahocorasick(data: Data, overlapping: bool = True) -> Any:
    automaton = data["automaton"]
    return [automaton.find_matches_as_indexes(text, overlapping=overlapping) for text in data["lower"]]


def _expressions(phrases: list[str]) -> list[str]:
    import re

    words = (r"[\s\-/]+".join(re.escape(w).replace(r"\*", r"\w*") for w in phrase.split()) for phrase in phrases)
    return sorted(words, key=len, reverse=True)


def with_re2(data: Data) -> Data:
    import re2

    data = with_phrases(data)
    options = re2.Options()
    options.max_mem, options.case_sensitive, options.longest_match = 1 << 30, False, True
    return data | {"pattern": re2.compile(rf"\b(?:{'|'.join(_expressions(data['phrases']))})\b", options)}


def with_re2_set(data: Data) -> Data:
    import re2

    data = with_phrases(data)
    options = re2.Options()
    options.max_mem, options.case_sensitive = 1 << 30, False
    made = re2.Set.SearchSet(options)
    for one in _expressions(data["phrases"]):
        made.Add(rf"\b{one}\b")
    made.Compile()
    return data | {"pattern": made}


def re2_set(data: Data) -> Any:
    return [data["pattern"].Match(text) for text in data["texts"]]


def with_re(data: Data) -> Data:
    import re

    data = with_phrases(data)
    return data | {"pattern": re.compile(rf"\b(?:{'|'.join(_expressions(data['phrases']))})\b", re.IGNORECASE)}


def matches(data: Data) -> Any:
    return [[found.span() for found in data["pattern"].finditer(text)] for text in data["texts"]]


# ---------------------------------------------------------------------------------------------------- notes and headers


def with_finder(data: Data, rules_only: bool = False) -> Data:
    from aimed.privacy.find import Finder
    from aimed.privacy.surrogates import Surrogates

    return data | {"finder": Finder(rules_only=rules_only), "surrogates": Surrogates(KEY)}


def find(data: Data) -> Any:
    return data["finder"].find_many(data["texts"])


def deidentify(data: Data) -> Any:
    from aimed.privacy.notes import deidentify_note

    return [deidentify_note(text, data["surrogates"], "p", finder=data["finder"]).text for text in data["texts"]]


def one_long(n: int) -> Data:
    """All notes in one, as long records are."""
    data = notes(n)
    return data | {"texts": Held(["\n".join(data["texts"])])}


def with_presidio(data: Data) -> Data:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    # It would fetch the list of public suffixes.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("SpacyRecognizer")
    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.blank("en")}
    return data | {"engine": AnalyzerEngine(nlp_engine=engine, registry=registry, supported_languages=["en"])}


def presidio(data: Data) -> Any:
    return [data["engine"].analyze(text, language="en") for text in data["texts"]]


def with_cleaner(data: Data) -> Data:
    from aimed.privacy.cleaner import TextCleaner
    from aimed.privacy.dicom_profile import DicomProfile
    from aimed.privacy.surrogates import Surrogates

    return data | {"cleaner": TextCleaner(Surrogates(KEY)), "profile": DicomProfile()}


def clean_headers(data: Data) -> Any:
    from aimed.privacy.dicom import deidentify_dicom

    return [deidentify_dicom(one, data["cleaner"], data["profile"]) for one in data["files"]]


def pydicom_walk(data: Data) -> Any:
    """What one writes by hand: names, dates and numbers of the patient emptied, UIDs replaced, private ones removed."""
    import hashlib

    import pydicom

    gone = ("Patient", "Institution", "Physician", "Accession", "Operator", "Station", "Serial")

    def clear(dataset: Any, element: Any) -> None:
        if element.VR == "UI" and "Instance" in element.keyword:
            element.value = f"2.25.{int.from_bytes(hashlib.sha256(str(element.value).encode()).digest()[:12], 'big')}"
        elif element.VR in ("PN", "DA", "TM", "DT") or any(word in element.keyword for word in gone):
            element.value = ""

    out = []
    for one in data["files"]:
        dataset = pydicom.dcmread(io.BytesIO(one))
        dataset.remove_private_tags()
        dataset.walk(clear)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        into = io.BytesIO()
        dataset.save_as(into)
        out.append(into.getvalue())
    return out


def dicom_anonymizer(data: Data) -> Any:
    import pydicom
    from dicomanonymizer import anonymize_dataset

    out = []
    for one in data["files"]:
        dataset = pydicom.dcmread(io.BytesIO(one))
        anonymize_dataset(dataset, delete_private_tags=True)
        into = io.BytesIO()
        dataset.save_as(into)
        out.append(into.getvalue())
    return out


def with_recipe(data: Data) -> Data:
    from deid.config import DeidRecipe

    return data | {"recipe": DeidRecipe()}


def deid_package(data: Data) -> Any:
    import pydicom
    from deid.dicom.parser import DicomParser

    out = []
    for one in data["files"]:
        work = DicomParser(pydicom.dcmread(io.BytesIO(one)), recipe=data["recipe"])
        work.parse(remove_private=True)
        into = io.BytesIO()
        work.dicom.save_as(into)
        out.append(into.getvalue())
    return out


def answers(data: Data) -> Any:
    from aimed.text import extract

    return [extract(text, question) for text in data["texts"] for question in QUESTIONS]


def answers_of_many(data: Data) -> Any:
    from aimed.text.answers import extract_many

    return [extract_many(data["texts"], question) for question in QUESTIONS]


SIZES = (1_000, 10_000, 100_000)

ROWS = (
    Row(
        "Labelling with spans, reports of 275 characters",
        reports,
        Side("aimed", ours, prepare=with_labeller),
        SIZES,
        (
            Side("re, a loop", plain, 100_000),
            Side("medspaCy", medspacy, 1_000, prepare=with_medspacy, home="medspacy==1.3.1", warm=20),
        ),
        ">= 20,000 reports/s; grows with n",
        counted="reports",
    ),
    Row(
        "Pass alone: words, sentences, sections",
        reports,
        Side("aimed", partial(own_pass, phrases=False), prepare=with_phrases),
        SIZES[:2],
        (),
        "",
        counted="reports",
    ),
    Row(
        "Pass alone: and every phrase, ending and gap",
        reports,
        Side("aimed", own_pass, prepare=with_phrases),
        SIZES[:2],
        (
            Side(
                "ahocorasick_rs, longest, no endings or gaps",
                partial(ahocorasick, overlapping=False),
                prepare=partial(with_ahocorasick, overlapping=False),
            ),
            Side("ahocorasick_rs, overlapping, no endings or gaps", ahocorasick, prepare=with_ahocorasick),
            Side("re2.Set, no places", re2_set, prepare=with_re2_set),
            Side("re2, longest", matches, 1_000, prepare=with_re2, warm=50),
            Side("re", matches, 1_000, prepare=with_re, warm=50),
        ),
        "",
        counted="reports",
    ),
    Row(
        "Notes of 140 characters: found by rules and tagger",
        notes,
        Side("aimed", find, prepare=with_finder),
        SIZES[:2],
        (Side("presidio, patterns alone", presidio, 1_000, prepare=with_presidio, home="presidio-analyzer==2.2.366"),),
        ">= 200,000 characters/s",
        counted="characters",
    ),
    Row(
        "Notes of 140 characters: found by rules alone",
        notes,
        Side("aimed", find, prepare=partial(with_finder, rules_only=True)),
        SIZES[:2],
        (Side("presidio, patterns alone", presidio, 1_000, prepare=with_presidio, home="presidio-analyzer==2.2.366"),),
        "",
        counted="characters",
    ),
    Row(
        "Notes of 140 characters: found and replaced",
        notes,
        Side("aimed", deidentify, prepare=with_finder),
        SIZES[:2],
        (),
        ">= 200,000 characters/s",
        counted="characters",
    ),
    Row(
        "Notes: found and replaced, all in one note",
        one_long,
        Side("aimed", deidentify, prepare=with_finder),
        SIZES[:2],
        (),
        ">= 200,000 characters/s; grows with n",
        counted="characters",
    ),
    Row(
        "Headers of DICOM files, pixels copied",
        headers,
        Side("aimed", clean_headers, prepare=with_cleaner, warm=20),
        (100, 1_000),
        (
            Side("pydicom, read, walk, save", pydicom_walk, 1_000, warm=20),
            Side("dicomanonymizer", dicom_anonymizer, 1_000, warm=20),
            Side("deid", deid_package, 100, 1_000, prepare=with_recipe, home="deid==0.4.13", warm=5),
        ),
        ">= 400 headers/s",
        counted="headers",
    ),
    Row(
        f"Answers, {len(QUESTIONS)} questions a report, one by one",
        asked,
        Side("aimed", answers),
        SIZES[:2],
        (),
        "",
        counted="answers",
    ),
    Row(
        f"Answers, {len(QUESTIONS)} questions, each to all reports",
        asked,
        Side("aimed", answers_of_many),
        SIZES[:2],
        (),
        "",
        counted="answers",
    ),
)


# ----------------------------------------------------------------------------------------------------------- the stream


def write_stream(path: Path, n: int, batch: int = 100_000) -> None:
    """Write n made-up reports as Parquet, in batches."""
    import polars as pl

    made = some_reports()
    parts = []
    for begin in range(0, n, batch):
        rows = list(itertools.islice(made, min(batch, n - begin)))
        parts.append(path.with_name(f"{path.stem}-{len(parts):05d}.part"))
        pl.DataFrame({"id": range(begin, begin + len(rows)), "report": rows}).write_parquet(parts[-1])
    pl.scan_parquet(parts, glob=False).sink_parquet(path, row_group_size=batch, maintain_order=True)
    for part in parts:
        part.unlink()


def one_stream(path: str, jobs: int) -> None:
    """Label a file in this process, or in processes of it, and print the seconds and what memory it took."""
    import polars as pl

    from aimed.text.stream import label_stream
    from common import peak_mb

    target = Path(path).with_suffix(".labels.parquet")
    label_stream(pl.read_parquet(path, n_rows=1_000), target, n_jobs=1)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before, began, cpu = status("VmRSS"), time.perf_counter(), sum(os.times()[:4])
    done = label_stream(path, target, unit="id", n_jobs=jobs)
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": sum(os.times()[:4]) - cpu,
        "before": before,
        "peak": status("VmHWM"),
        "child": peak_mb(children=True) if jobs > 1 else 0.0,
        "reports": done.reports,
        "mentions": done.mentions,
        "written": sum(p.stat().st_size for p in (done.labels, done.evidence) if p is not None) / 2**20,
    }
    print(json.dumps(found))


def stream(given: argparse.Namespace) -> None:
    """Print what streams of several lengths take, with one process and with two."""
    sizes = [20_000] if given.quick else [100_000, 1_000_000]
    plans = [(n, jobs) for n in sizes for jobs in (1, 2)]
    if given.ten_million:
        plans = [(10_000_000, 1)]
    if given.rows:
        plans = [(given.rows, jobs) for jobs in (1, 2)]
    print(f"\n# Streams of reports, Parquet to Parquet with evidence ({machine()}; wall seconds)\n")
    head = "reports | characters, mean | processes | seconds | reports/s | of one process | processor seconds"
    head += " | peak memory (MB) | before it (MB) | largest worker (MB) | mentions | file read (MB)"
    head += " | files written (MB) | seconds to make it"
    print(f"| {head} |")
    print("|---" * 14 + "|", flush=True)
    with tempfile.TemporaryDirectory(prefix="aimed-text-") as folder:
        path, made, alone = Path(folder) / "reports.parquet", 0, 0.0
        for n, jobs in plans:
            began = time.perf_counter()
            if made != n:
                write_stream(path, n)
                made = n
            making = time.perf_counter() - began
            command = [sys.executable, __file__, "--one-stream", str(path), str(jobs)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"\nNot run: {n:,} reports, {jobs} processes: {(done.stderr.splitlines() or ['no message'])[-1]}")
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            rate = found["reports"] / found["seconds"]
            alone = rate if jobs == 1 else alone
            length = sum(map(len, itertools.islice(some_reports(), min(n, 10_000)))) / min(n, 10_000)
            cells = [f"{n:,}", f"{length:.0f}", str(jobs), f"{found['seconds']:.1f}", f"{rate:,.0f}"]
            cells += [f"{rate / alone:.2f}x" if alone else "", f"{found['cpu']:.1f}"]
            cells += [f"{found['peak']:.0f}", f"{found['before']:.0f}"]
            cells += [f"{found['child']:.0f}" if jobs > 1 else "", f"{found['mentions']:,}"]
            cells += [f"{path.stat().st_size / 2**20:.0f}", f"{found['written']:.0f}", f"{making:.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    options = parser(__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--one-stream", nargs=2, help=argparse.SUPPRESS)
    options.add_argument("--ten-million", action="store_true", help="a stream of ten million reports, and no other")
    options.add_argument("--rows", type=int, default=0, help="a stream of so many reports, and no other")
    options.add_argument(
        "--train",
        type=int,
        nargs="+",
        default=(),
        help="identifiers: quarters (1 to 4) for taggers that learn the others",
    )
    given = options.parse_args()
    if given.one_stream:
        one_stream(given.one_stream[0], int(given.one_stream[1]))
        return
    if not given.one:
        make_pool()
    table(__file__, "Text beside its peers", ROWS, given)
    only = given.only.lower()
    if given.one:
        return
    if only in "stream":
        stream(given)
    if only in "accuracy":
        from text_truth import accuracy

        accuracy(given.quick)
    if only in "identifiers":
        from text_truth import identifiers

        identifiers(given.quick, given.train)


if __name__ == "__main__":
    main()
