"""The result files of a job, written a window of rows at a time.

Memory stays flat whatever the size of the input: lines go straight to two
temporary files. Shuffling and line edits are passes over such a file.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from elspeth.simulator import chance
from elspeth.simulator.answers import Answers
from elspeth.simulator.json_values import Json, decode_json
from elspeth.simulator.line_edits import LineEdits
from elspeth.simulator.records import FileKind, Job, Phase
from elspeth.simulator.rows import (
    ANSWERED_FAULTS,
    Outcome,
    Row,
    answered,
    encode_line,
    failed,
    fault_of_row,
    spoiled,
    undone,
)
from elspeth.simulator.settings import Quirk, RowFault, Settings

# Called before each window with the numbers of completed and failed rows; False stops the work.
Progress = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """`files` leaves out a file that nobody would have made."""

    files: dict[FileKind, Path]
    completed: int
    failed: int


def make_results(
    job: Job, body: Path, folder: Path, *, settings: Settings, answers: Answers, progress: Progress
) -> Results | None:
    """None if `progress` stopped it."""
    paths = {kind: folder / f"{job.id}.{job.revision}.{kind}" for kind in (FileKind.OUTPUT, FileKind.ERROR)}
    tally = _Tally()
    with ExitStack() as stack:
        streams = {kind: stack.enter_context(path.open("wb")) for kind, path in paths.items()}
        rows = _rows(stack.enter_context(body.open("rb")), job, settings)
        to_do = islice(rows, int((job.total or 0) * job.ending.share))
        while window := list(islice(to_do, answers.window)):
            if not progress(tally.completed, tally.failed):
                return None
            for row, outcome in zip(window, _window_outcomes(job.id, window, answers), strict=True):
                kind = FileKind.OUTPUT if settings.has(Quirk.ERRORS_IN_OUTPUT) else outcome.kind
                streams[kind].write(encode_line(job.id, row, outcome, settings))
                tally.count(outcome)
        if job.ending.undone_rows == "error_file":
            outcome = undone(job.ending.phase)
            streams[FileKind.ERROR].writelines(encode_line(job.id, row, outcome, settings) for row in rows)
    finished = {kind: _finished(kind, path, job, settings) for kind, path in paths.items()}
    files = {kind: path for kind, path in finished.items() if path is not None}
    return Results(files=files, completed=tally.completed, failed=tally.failed)


@dataclass(slots=True)
class _Tally:
    completed: int = 0
    failed: int = 0

    def count(self, outcome: Outcome) -> None:
        self.completed += outcome.kind is FileKind.OUTPUT
        self.failed += outcome.kind is FileKind.ERROR


def _rows(lines: Iterable[bytes], job: Job, settings: Settings) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        source = decode_json(line)
        custom_id = source["custom_id"]
        named = job.row_faults.get(custom_id) or settings.row_faults.get(custom_id)
        fault = RowFault(named) if named else fault_of_row(custom_id, settings) if job.faulty else None
        yield Row(number=number, custom_id=custom_id, body=source["body"], fault=fault)


def _window_outcomes(job_id: str, window: list[Row], answers: Answers) -> list[Outcome]:
    asked = [row for row in window if row.fault is None or row.fault in ANSWERED_FAULTS]
    replies = dict(zip((row.number for row in asked), answers.answer(job_id, asked), strict=True))
    return [_outcome(row, replies.get(row.number)) for row in window]


def _outcome(row: Row, reply: tuple[int, Json] | None) -> Outcome:
    if reply is None:
        return failed(row.fault or RowFault.UNDONE)
    status, body = reply
    if row.fault is not None and status == 200 and isinstance(body, dict):
        body = spoiled(row.fault, body)
    return answered(status, body)


def _finished(kind: FileKind, path: Path, job: Job, settings: Settings) -> Path | None:
    edits = LineEdits.parse(job.line_edits)
    if settings.has(Quirk.SHUFFLED_OUTPUT):
        path = _rewritten(path, _shuffled(path, settings.seed))
    if edits.touches(kind):
        with path.open("rb") as lines:
            path = _rewritten(path, edits.edit(kind, lines))
    empty_is_made = (
        kind is FileKind.ERROR and settings.has(Quirk.ZERO_BYTE_ERROR_FILE) and job.ending.phase == Phase.COMPLETED
    )
    if path.stat().st_size or empty_is_made:
        return path
    path.unlink()
    return None


def _rewritten(path: Path, lines: Iterable[bytes]) -> Path:
    target = path.with_name(path.name + "'")
    with target.open("wb") as stream:
        stream.writelines(lines)
    path.unlink()
    return target


def _shuffled(path: Path, seed: str) -> Iterator[bytes]:
    """By the hash of each line's place: holds one small tuple a line, never the lines."""
    places: list[tuple[bytes, int, int]] = []
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            places.append((chance.digest(seed, "order", str(number))[:8], offset, len(line)))
            offset += len(line)
        for _, start, length in sorted(places):
            lines.seek(start)
            yield lines.read(length)
