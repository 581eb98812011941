"""The command that checks the trail, or a bundle out of one: ``verify``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elspeth.cli.output import print_json, print_text
from elspeth.cli.trail_commands import DbOption, JsonOption, RunArgument, open_reader
from elspeth.contracts import UsageError

if TYPE_CHECKING:
    from elspeth.app.verification import Verification
    from elspeth.core.landscape.verify import Report, Step

__all__ = ["register"]

_WORDS = {
    "consistent": (
        "verified, consistent only: nothing contradicts anything else. Nobody's key or checkpoint was brought, so this "
        "says nothing against somebody who holds the signing key. Bring what was kept elsewhere: --key, --checkpoint."
    ),
    "signed": (
        "verified, and sealed by the key that was brought: whoever does not hold that key cannot have changed what is "
        "sealed. Its holder can have."
    ),
    "anchored": (
        "verified, and anchored: what the checkpoint or timestamp above tells of has not changed since it was signed."
    ),
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("verify")(verify)


def verify(
    run: RunArgument = "latest",
    everything: Annotated[bool, typer.Option("--all", help="Every run, and whether one is missing.")] = False,
    key: Annotated[
        list[Path] | None, typer.Option("--key", metavar="FILE", help="Verifier keys that you kept elsewhere.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option("--checkpoint", metavar="FILE", help="Seals that you kept elsewhere.")
    ] = None,
    rotations: Annotated[
        list[Path] | None,
        typer.Option("--rotations", metavar="FILE", help="What old keys said of their successors."),
    ] = None,
    tsa_certificate: Annotated[
        list[Path] | None,
        typer.Option("--tsa-certificate", metavar="FILE", help="Roots (PEM) of time-stamping authorities you trust."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="A bundle, as it is or unpacked, instead of a run.")
    ] = None,
    db: DbOption = None,
    json: JsonOption = False,
) -> None:
    """Is the trail what it was? Nine numbered steps, six for a bundle; exit 1 when something differs."""
    from elspeth.app.verification import read_brought, verify_all, verify_archive, verify_one

    if everything and run != "latest":
        raise UsageError("verify takes a run or --all, not both")
    if bundle is not None and (everything or run != "latest"):
        raise UsageError("verify takes a run, --all or --bundle, one of them")
    brought = read_brought(
        key or (), checkpoint or (), os.environ, rotations=rotations or (), tsa_certificates=tsa_certificate or ()
    )

    def show(report: Report) -> None:
        if not json:
            print_text("\n".join(map(_plain, _report_lines(report))))

    if bundle is not None:
        found = verify_archive(bundle, brought=brought, on_report=show)
    else:
        with open_reader(db) as reader, reader.snapshot():
            if everything:
                found = verify_all(reader, brought=brought, on_report=show)
            else:
                found = verify_one(reader, run, brought=brought, on_report=show)
    if json:
        print_json(found.as_json())
    else:
        print_text("\n".join(map(_plain, _last_words(found))))
    if found.finding_count:
        raise typer.Exit(1)


def _plain(line: str) -> str:
    """A line that shows what is in a changed trail, and cannot end itself or move the cursor to say something else."""
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _report_lines(report: Report) -> Iterator[str]:
    yield f"run {report.run_id}  {report.pipeline}  {report.status}"
    for step in report.steps:
        yield from _step_lines(step)
    for anchor in report.anchors:
        yield f"   anchor: {anchor}"


def _step_lines(step: Step) -> Iterator[str]:
    word = "DIFFERS" if step.finding_count else "ok"
    yield f"{step.number}. {step.name:<19} {word:<7}  {step.checked}".rstrip()
    for finding in step.findings:
        yield f"   {finding.where} {finding.place}: {finding.message}"
    if step.finding_count > len(step.findings):
        yield f"   ... and {step.finding_count - len(step.findings):,} more"
    for remark in step.notes:
        yield f"   note: {remark}"


def _last_words(found: Verification) -> Iterator[str]:
    for finding in found.findings:
        yield f"{finding.where} {finding.place}: {finding.message}"
    if not found.finding_count:
        yield _WORDS[found.strength.value]
        return
    first = next(iter(found.findings or _first_findings(found)))
    noun = "difference" if found.finding_count == 1 else "differences"
    yield f"NOT verified: {found.finding_count:,} {noun}; the first: {first.where} {first.place}: {first.message}"


def _first_findings(found: Verification) -> list[Any]:
    return [finding for report in found.reports for step in report.steps for finding in step.findings]
