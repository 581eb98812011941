"""A bundle: what proves some rows to somebody who has neither the trail nor this program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from elspeth import __version__
from elspeth.app.archive import encode_archive
from elspeth.app.explanation import SIMULATED
from elspeth.app.export import whole_file
from elspeth.app.keys import known_keys
from elspeth.contracts import (
    MissingTrailError,
    PayloadClass,
    PurgeAction,
    PurgedError,
    TrailError,
    UnprovenError,
    UsageError,
)
from elspeth.core.canonical import sha256
from elspeth.core.landscape import LandscapeReader, RunHeader
from elspeth.core.landscape.bundles import (
    CHECKPOINT,
    KEY,
    README,
    RECORDS,
    SCRIPT,
    BundleRecords,
    encode_records,
    payload_name,
)
from elspeth.core.landscape.lineage import Lineage
from elspeth.core.landscape.proofs import Proof, collect_proof
from elspeth.core.landscape.proven_payloads import proven_payloads, purged_on_record
from elspeth.core.landscape.reader import read_word

__all__ = ["Bundle", "make_bundle", "row_numbers", "rows_of_keys", "script", "write_bundle"]

MOST_ROWS = 10_000
"""A bundle answers questions about some rows; it is made, and checked, in memory."""
_RANGE = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")
_FILES = Path(__file__).parent / "bundle_files"


class Bundle(Struct, frozen=True, kw_only=True):
    """The files by name; ``rows`` of how many rows, ``remarks`` what whoever made it should know."""

    files: Mapping[str, bytes]
    rows: int
    remarks: tuple[str, ...]


def script() -> bytes:
    """The program that checks a bundle and lies in it."""
    return (_FILES / SCRIPT).read_bytes()


def row_numbers(text: str) -> list[int]:
    """The rows of ``42,43,100-120``, ascending. Raises `UsageError` for anything else, and for too many."""
    found: set[int] = set()
    for part in text.split(","):
        matched = _RANGE.fullmatch(part.strip())
        if matched is None:
            raise UsageError(f"{part!r} names no rows", hint="Name them by index, as in: --rows 42,43,100-120")
        first = int(matched[1])
        last = int(matched[2] or first)
        if last < first:
            raise UsageError(f"{part!r} ends before it begins", hint=f"--rows {last}-{first}?")
        if last - first >= MOST_ROWS:
            raise _too_many()
        found.update(range(first, last + 1))
    return sorted(found)


def rows_of_keys(reader: LandscapeReader, run: RunHeader, text: str) -> list[int]:
    """The rows with the keys of ``a,b``, ascending. Raises `MissingTrailError` for a key that no row has."""
    lineage = Lineage(reader, run)
    return sorted({lineage.row_of_key(key.strip()) for key in text.split(",")})


def make_bundle(reader: LandscapeReader, run: RunHeader, rows: Sequence[int], *, environ: Mapping[str, str]) -> Bundle:
    """The bundle of some rows. Raises `UnprovenError` when what is recorded is not what was sealed.

    Within a snapshot of the reader all is of one moment, also of a live run.
    """
    if len(rows) > MOST_ROWS:
        raise _too_many()
    keys = known_keys(environ)
    try:
        proof = collect_proof(reader, run, rows, known_keys=keys)
        payloads = {payload_name(sha256(data)): data for data in proven_payloads(reader, run, proof.records)}
    except (MissingTrailError, PurgedError):
        raise
    except TrailError as error:
        raise UnprovenError(
            f"there is no bundle, for the trail does not hold: {error.message}",
            hint="Find out what else differs with: elspeth verify",
        ) from error
    return _bundle(proof, payloads)


def _bundle(proof: Proof, payloads: Mapping[str, bytes]) -> Bundle:
    facts = tuple(_facts(proof))
    files = {SCRIPT: script(), CHECKPOINT: proof.note.encode(), README: _readme(proof.records, facts)}
    if proof.signer is not None:
        files[KEY] = f"{proof.signer.encode()}\n".encode()
    records = replace(proof.records, files={name: sha256(data) for name, data in files.items()})
    files[RECORDS] = encode_records(records)
    return Bundle(files={**files, **payloads}, rows=len(records.rows), remarks=facts)


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Writes a bundle as one file, which gets its name when it is whole."""
    data = encode_archive(bundle.files)
    with whole_file(path) as draft, draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _too_many() -> UsageError:
    return UsageError(
        f"a bundle has at most {MOST_ROWS:,} rows", hint="Of more, give the whole trail, and let elspeth verify it."
    )


def _readme(records: BundleRecords, facts: Sequence[str]) -> bytes:
    text = (_FILES / README).read_text(encoding="utf-8")
    return text.format(
        run=records.run_id,
        pipeline=records.pipeline.replace("`", "'"),
        rows=_row_words(records.rows),
        facts="\n".join(f"- {fact}" for fact in facts),
    ).encode()


def _row_words(rows: Sequence[int]) -> str:
    """Rows in words, those that follow each other as a range."""
    ranges: list[list[int]] = []
    for row in rows:
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    words = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    return f"row {words}" if len(rows) == 1 else f"{len(rows):,} rows: {words}"


def _facts(proof: Proof) -> Iterator[str]:
    """What is particular about this bundle."""
    records = [record for _, record in proof.records.records()]
    yield f"It was made by elspeth {__version__} out of the trail of run {proof.records.run_id}."
    if any(record.get("mode") == "simulated" or record.get("is_simulated") for record in records):
        yield f"{SIMULATED} The records themselves say so."
    if proof.signer is None:
        yield (
            "The key that signed the checkpoint is not known where the bundle was made, so there is no key.txt: "
            "without --key no signature is checked."
        )
    if proof.unsealed_commits:
        yield (
            f"The run went on after its last seal: {proof.unsealed_commits} later commits are not sealed yet, and "
            "nothing of them is in here."
        )
    yield from _purge_facts(proof.records)


def _purge_facts(records: BundleRecords) -> Iterator[str]:
    gone = purged_on_record(records)
    for name, record in records.records():
        if name == "purges" and record["action"] == PurgeAction.PURGING:
            what = read_word(PayloadClass, record["class"], "purges").word
            day = datetime.fromtimestamp(record["at"] // 1_000_000, UTC).date()
            who, why = _one_line(record["who"]), _one_line(record["why"])
            yield f"Payloads of the class `{what}` were purged on {day} by {who}: {why}"
    if gone:
        yield "What was purged is not in here; the records keep its SHA-256, and that is proven."


def _one_line(text: str) -> str:
    return " ".join(text.split())
