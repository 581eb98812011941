"""A sink's part file that is gone, made again from the trail."""

from __future__ import annotations

import os
from collections.abc import Mapping

from elspeth.contracts import SinkError, TrailError
from elspeth.core.landscape.rows import TrailRows
from elspeth.engine.frontier import Frontier
from elspeth.engine.outputs import Output

__all__ = ["rebuild_part"]

_ROWS_AT_ONCE = 2_000


def rebuild_part(
    output: Output, *, rows: TrailRows, frontier: Frontier, names: Mapping[int, str], is_final: bool = False
) -> None:
    """Makes the part file of a sink again when it is missing or changed, and cuts off what no commit tells of.

    Every byte is checked when it is final, before it gets its name. Before that the size and what the last
    commit appended are enough, so that a resume does not read what is done. A finished file that is in place
    already needs no part. Raises `TrailError` when the trail gives other bytes than it says there were,
    `SinkError` when the file cannot be written.
    """
    try:
        if output.is_begun and not output.is_in_place() and not _is_sound(output, is_final=is_final):
            _rebuild(output, rows, frontier, names)
    except OSError as error:
        raise SinkError(
            f"the output {output.part_path} cannot be written: {error.strerror or error}",
            hint="Make room or mend its permissions, then resume the run.",
        ) from error


def _is_sound(output: Output, *, is_final: bool) -> bool:
    path = output.part_path
    if not path.exists() or path.stat().st_size < output.part.size:
        return False
    os.truncate(path, output.part.size)
    return output.holds_extents(path) if is_final else output.holds_last_extent(path)


def _rebuild(output: Output, rows: TrailRows, frontier: Frontier, names: Mapping[int, str]) -> None:
    header = output.plan.sink.header(output.plan.fields)
    line = header.lines[0]
    output.part_path.parent.mkdir(parents=True, exist_ok=True)
    with output.part_path.open("wb") as file:
        file.write(header.data)
        for start in range(0, frontier.released, _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, frontier.released)
            groups = [one for one in frontier.recorded(start, end, rows) if one.sink_no == output.plan.number]
            written = output.encode(groups, names, first_line=line)
            file.write(written.data)
            line = written.lines[-1]
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    if size != output.part.size or not output.holds_extents(output.part_path):
        raise TrailError(f"{output.part_path}: what the trail gives is not what it says was there")
