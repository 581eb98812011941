"""A timestamp anchors the seal that it is named for, and no other."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.core.landscape.conftest import Trail, trail
from tests.core.landscape.test_seals import sealed_run, seals_of
from tests.e2e.authority import SUBJECT, Authority

from elspeth.core.landscape import RunHeader
from elspeth.core.landscape.timestamp_files import keep_timestamp, last_seal, timestamp_file
from elspeth.core.landscape.verify import Brought, Report, Step, Strength, verify_run
from elspeth.core.timestamps import TimestampQuery, TrustedAuthorities

__all__ = ["trail"]

AUTHORITY = Authority()
TRUSTED = Brought(authorities=TrustedAuthorities.parse(AUTHORITY.root_pem))
SAID = f"seal of 3 commits existed on 2026-11-26T17:18:23Z, says {SUBJECT}"


@pytest.fixture
def run(trail: Trail) -> RunHeader:
    """A sealed run whose last seal was stamped."""
    run = sealed_run(trail)
    size, note = last_seal(trail.reader(), run)
    keep_timestamp(stamp(trail, run, size), AUTHORITY.answer(TimestampQuery.of(note.encode()).data))
    return run


def stamp(trail: Trail, run: RunHeader, size: int = 3) -> Path:
    return timestamp_file(seals_of(trail), run.run_id, size)


def verified(trail: Trail, run: RunHeader, brought: Brought = TRUSTED) -> tuple[Report, Step]:
    report = verify_run(trail.reader(), run, brought=brought, folder=seals_of(trail))
    return report, report.steps[5]


def findings(step: Step) -> list[tuple[str, str, str]]:
    return [(finding.where, finding.place, finding.message) for finding in step.findings]


def test_a_timestamp_of_the_seal_anchors_it(trail: Trail, run: RunHeader) -> None:
    report, step = verified(trail, run)

    assert (Strength.ANCHORED, [SAID], []) == (report.strength, report.anchors, findings(step))


def test_without_certificates_it_is_only_noted(trail: Trail, run: RunHeader) -> None:
    report, step = verified(trail, run, Brought())

    assert (Strength.CONSISTENT, [], []) == (report.strength, report.anchors, findings(step))
    assert "1 timestamp is not checked: bring the authority's root with --tsa-certificate" in step.notes


def test_that_there_is_none_is_noted(trail: Trail, run: RunHeader) -> None:
    stamp(trail, run).unlink()
    report, step = verified(trail, run)

    assert (Strength.CONSISTENT, []) == (report.strength, findings(step))
    assert "no timestamp of this run is here" in step.notes


def test_a_timestamp_of_another_seal_does_not_fit(trail: Trail, run: RunHeader) -> None:
    shutil.copy(stamp(trail, run), stamp(trail, run, 1))
    report, step = verified(trail, run)

    ((where, place, message),) = findings(step)
    assert ("seals", f"{run.run_id}.1.tsr") == (where, place)
    assert message.startswith("it stamps other bytes")
    assert [SAID] == report.anchors


def test_a_timestamp_of_a_seal_that_is_gone_tells_of_it(trail: Trail, run: RunHeader) -> None:
    stamp(trail, run).rename(stamp(trail, run, 9))
    _, step = verified(trail, run)

    message = "missing: there is a timestamp, and no seal of 9 commits"
    assert [("seals", f"{run.run_id}.9.tsr", message)] == findings(step)


@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(2 << 20)])
def test_what_is_no_timestamp_is_found(content: bytes, trail: Trail, run: RunHeader) -> None:
    stamp(trail, run).write_bytes(content)
    report, step = verified(trail, run)

    assert (Strength.CONSISTENT, 1) == (report.strength, step.finding_count)


def test_a_strangers_timestamp_is_found(trail: Trail, run: RunHeader) -> None:
    report, step = verified(trail, run, Brought(authorities=TrustedAuthorities.parse(Authority().root_pem)))

    ((_, place, message),) = findings(step)
    assert f"{run.run_id}.3.tsr" == place
    assert message.startswith("its signature does not lead to a root that was brought")
    assert Strength.CONSISTENT == report.strength


def test_a_stamped_seal_of_other_commits_anchors_nothing(trail: Trail, run: RunHeader) -> None:
    """Whoever rewrote the commits and kept the seals has the time against him."""
    for (trigger,) in trail.query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'commits'"):
        execute(trail, f"DROP TRIGGER {trigger}")
    execute(trail, "UPDATE commits SET root = zeroblob(32) WHERE commit_no = 2")
    report, step = verified(trail, run)

    message = f"they are not those of a seal that was stamped: {SAID}"
    assert [("commits", "0 to 2", message)] == findings(step)
    assert (Strength.CONSISTENT, []) == (report.strength, report.anchors)


def execute(trail: Trail, sql: str) -> None:
    with closing(sqlite3.connect(trail.database)) as connection, connection:
        connection.execute(sql)
