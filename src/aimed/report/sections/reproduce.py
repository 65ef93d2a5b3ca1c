"""Section 16: the command, the versions, the digests and the times that let another person repeat the run."""

from __future__ import annotations

from aimed.report import numbers, sentences, view
from aimed.report.parts import Block, Code, Facts, Section, Table, num


def build(results: view.Results) -> Section:
    """Return the section on repeating the run."""
    block = view.block(results, "reproduce")
    study = view.block(results, "study") or {}
    blocks: list[Block] = []
    if block:
        if block.get("command"):
            blocks.append(Code(str(block["command"])))
        memory = block.get("peak_memory_mb")
        blocks.append(
            Facts(
                [
                    (k, v)
                    for k, v in (
                        ("aimed", numbers.number(results.get("aimed_version"))),
                        ("Python", numbers.number(block.get("python"))),
                        ("Platform", numbers.number(block.get("platform"))),
                        ("Processor cores", numbers.number(block.get("cpu_count"))),
                        ("Seed", numbers.number(block.get("seed"))),
                        (
                            "Peak memory",
                            f"{numbers.fixed(memory, 0)} MB" if numbers.is_number(memory) else numbers.ABSENT,
                        ),
                        ("Study file (SHA-256)", numbers.number(study.get("file_sha256"))),
                    )
                    if v != numbers.ABSENT
                ]
            )
        )
        stages = block.get("seconds") or {}
        if stages:
            rows = [[str(k), num(numbers.seconds(v), v)] for k, v in stages.items()]
            blocks.append(Table(["Stage", "Time"], rows, "Time of each stage", sortable=True, wide=False))
        for key, head, caption in (
            ("digests", "SHA-256", "Digests of the artefacts"),
            ("versions", "Version", "Versions of the packages"),
        ):
            if block.get(key):
                first = "Artefact" if key == "digests" else "Package"
                blocks.append(
                    Table([first, head], [[str(k), str(v)] for k, v in block[key].items()], caption, wide=False)
                )
    if study.get("text"):
        blocks.append(Code(str(study["text"]), "The study file of this run"))
    if not block:
        return Section("reproduce", "Reproduce", sentences.absent("Reproduction"), blocks, bool(blocks))
    total = sum(v for v in (block.get("seconds") or {}).values() if numbers.is_number(v))
    lead = f"The run took {numbers.seconds(total)}" if total else "The time of the run was not recorded"
    cores = block.get("cpu_count")
    lead += f" on {sentences.plural(cores, 'core')}" if total and numbers.is_number(cores) else ""
    lead += "; one command repeats it." if block.get("command") else "; the command was not recorded."
    return Section("reproduce", "Reproduce", lead, blocks)
