"""Verifying runs, what only all runs together tell (a run that is gone), and bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from elspeth.app.archive import read_bundle
from elspeth.app.bundle import script
from elspeth.app.key_files import read_public
from elspeth.app.keys import KeyPlace, known_keys
from elspeth.app.succession import Statements, Succession, follow
from elspeth.contracts import KeyFileError, MissingTrailError, NoteError, TrailError, UsageError
from elspeth.core.landscape import LandscapeReader, RunHeader, SealFolder
from elspeth.core.landscape.bundles import SCRIPT
from elspeth.core.landscape.timestamp_files import timestamp_files
from elspeth.core.landscape.verify import (
    Brought,
    Finding,
    Report,
    Strength,
    stray_records,
    verify_bundle,
    verify_run,
)
from elspeth.core.notes import VerifierKey, parse_checkpoint, parse_note, split_notes
from elspeth.core.timestamps import TrustedAuthorities

__all__ = ["Verification", "read_brought", "verify_all", "verify_archive", "verify_one"]


class Verification(Struct):
    """The reports on the runs, and what was found about the trail as a whole."""

    reports: list[Report] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def finding_count(self) -> int:
        """How many findings there are in all."""
        return len(self.findings) + sum(report.finding_count for report in self.reports)

    @property
    def strength(self) -> Strength:
        """How strong the word is about all runs: as strong as about the weakest."""
        order = list(Strength)
        return min((report.strength for report in self.reports), key=order.index, default=Strength.CONSISTENT)

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": 1,
            "is_verified": self.finding_count == 0,
            "strength": self.strength.value,
            "findings": [finding.as_json() for finding in self.findings],
            "runs": [report.as_json() for report in self.reports],
        }


def read_brought(
    keys: Sequence[Path],
    checkpoints: Sequence[Path],
    environ: Mapping[str, str],
    *,
    rotations: Sequence[Path] = (),
    tsa_certificates: Sequence[Path] = (),
) -> Brought:
    """What a verifier brought, out of files; raises `UsageError` for a file that holds something else.

    Statements of rotations that this machine keeps count like brought ones: each is signed by the key before.
    """
    if rotations and not keys:
        raise UsageError(
            "statements of rotations lead on from a key, and none was brought",
            hint="Bring the key that you know with --key too.",
        )
    brought, known = [key for path in keys for key in _keys_in(path)], known_keys(environ)
    succession = _succession(brought, known, rotations, environ) if brought else Succession()
    return Brought(
        keys=brought,
        checkpoints=[note for path in checkpoints for note in _checkpoints_in(path)],
        known_keys=known,
        successors=succession.chains,
        doubts=succession.doubts,
        authorities=_authorities_in(tsa_certificates) if tsa_certificates else None,
    )


def verify_one(
    reader: LandscapeReader, reference: str, *, brought: Brought, on_report: Callable[[Report], None]
) -> Verification:
    """Verifies the run that ``latest``, an id or a prefix names; ``on_report`` hears of it as soon as it is done."""
    verification = Verification(findings=[*brought.doubts])
    _verify(reader, lambda: reader.run(reference), reference, verification, brought, on_report)
    return verification


def verify_all(reader: LandscapeReader, *, brought: Brought, on_report: Callable[[Report], None]) -> Verification:
    """Verifies every run, and that none is missing: not among the numbers, the seals' files and what was brought."""
    numbers = dict(reader.query("SELECT run_no, run_id FROM runs ORDER BY run_no"))
    findings = [
        *brought.doubts,
        *_gaps(numbers),
        *stray_records(reader, numbers),
        *_missing(reader, set(numbers.values()), brought),
    ]
    verification = Verification(findings=findings)
    for number in numbers:
        _verify(reader, partial(reader.run_numbered, number), str(number), verification, brought, on_report)
    return verification


def _gaps(numbers: Mapping[int, str]) -> Iterator[Finding]:
    for number in range(1, max(numbers, default=0) + 1):
        if number not in numbers:
            yield Finding("runs", str(number), "there is no such run, but there are later ones")
            return


def _missing(reader: LandscapeReader, known: Set[str], brought: Brought) -> Iterator[Finding]:
    for run_id in _sealed_runs(SealFolder.beside(reader.database)):
        if run_id not in known:
            yield Finding("runs", run_id, "the run was sealed, and is not in the database")
    brought_of = [parse_checkpoint(parse_note(note).text).origin for note in brought.checkpoints]
    for run_id in dict.fromkeys(origin.rpartition("/")[2] for origin in brought_of):
        if run_id not in known:
            yield Finding("runs", run_id, "a checkpoint of the run was brought, and it is not in the database")


def verify_archive(path: Path, *, brought: Brought, on_report: Callable[[Report], None]) -> Verification:
    """Verifies a bundle, as one file or unpacked. Raises `UsageError` when there is none."""
    verification = Verification(findings=[*brought.doubts])
    try:
        files = read_bundle(path)
    except TrailError as error:
        verification.findings.append(Finding("bundle", str(path), error.message))
        return verification
    report = verify_bundle(files, brought=brought)
    if not report.finding_count and files[SCRIPT] != script():
        report.steps[0].note("its verify.py is not the one of this version of elspeth: take it from a copy you trust")
    verification.reports.append(report)
    on_report(report)
    return verification


def _verify(
    reader: LandscapeReader,
    find: Callable[[], RunHeader],
    name: str,
    verification: Verification,
    brought: Brought,
    on_report: Callable[[Report], None],
) -> None:
    """Verifies one run; where its own record cannot be read, that is what was found."""
    try:
        run = find()
    except MissingTrailError:
        raise
    except TrailError as error:
        verification.findings.append(Finding("runs", name, error.message))
        return
    report = verify_run(reader, run, brought=brought, folder=SealFolder.beside(reader.database))
    verification.reports.append(report)
    on_report(report)


def _sealed_runs(folder: SealFolder) -> list[str]:
    """The runs of which a seal or the timestamp of one is there."""
    return sorted({*folder.run_ids(), *(run_id for run_id, _, _ in timestamp_files(folder))})


def _succession(
    brought: Sequence[VerifierKey], known: Sequence[VerifierKey], rotations: Sequence[Path], environ: Mapping[str, str]
) -> Succession:
    own = KeyPlace.of(environ).rotations_file
    files = [Statements(path.name, _text_of(path)) for path in rotations]
    return follow(brought, [Statements(str(own), read_public(own)), *files], known=known)


def _authorities_in(paths: Sequence[Path]) -> TrustedAuthorities:
    try:
        return TrustedAuthorities.parse(*map(Path.read_bytes, paths))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror or error}") from error


def _keys_in(path: Path) -> list[VerifierKey]:
    keys = []
    for number, line in enumerate(map(str.strip, _text_of(path).splitlines()), start=1):
        if line and not line.startswith("#"):
            try:
                keys.append(VerifierKey.parse(line))
            except KeyFileError as error:
                raise KeyFileError(f"{path}:{number}: {error.message}", hint=error.hint) from None
    if not keys:
        raise UsageError(f"{path} holds no key", hint="A verifier key is one line, as `elspeth keys show` prints it.")
    return keys


def _checkpoints_in(path: Path) -> list[str]:
    notes = split_notes(_text_of(path))
    try:
        for note in notes:
            parse_checkpoint(parse_note(note).text)
    except NoteError as error:
        raise UsageError(f"{path} holds no checkpoint: {error.message}", hint=error.hint) from error
    if not notes:
        raise UsageError(f"{path} holds no checkpoint", hint="Seals lie in the folder `seals` of the state folder.")
    return notes


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: it is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
