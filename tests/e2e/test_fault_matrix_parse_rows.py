"""The fault matrix: result files with odd lines, and rows that fail one by one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.e2e.fault_scene import Scene, fault, scene

Folders = pytest.TempPathFactory
EDITS = {
    "bad_json": ["row-0-0"],
    "missing": ["row-1-0"],
    "extra": ["row-77-0", "row-3-1"],
    "duplicate": ["row-2-0"],
    "duplicate_different": ["row-3-0"],
    "in_both_files": ["row-4-0"],
}
LINES = 7
ROWS = 1_200


@pytest.fixture(scope="module")
def lines(tmp_path_factory: Folders) -> Iterator[Scene]:
    """One job whose result files are wrong in every way at once."""
    with scene(tmp_path_factory.mktemp("lines"), fault("batches.create", 1, {"lines": EDITS})) as played:
        played.prepare(LINES, max_requests=LINES)
        played.run()
        yield played


def set_aside(played: Scene, kind: str) -> list[dict[str, object]]:
    return [detail for _, detail in played.news(1, "line_set_aside") if detail["kind"] == kind]


def test_parse_a_bad_line(lines: Scene) -> None:
    """It is set aside with its place, from which its bytes can be had; its row is asked again."""
    (found,) = set_aside(lines, "quarantine")
    assert ("output", 1, 0) == (found["role"], found["line"], found["start"])
    content = lines.project.payload(lines.detail(1, "ended") and _output_hash(lines))
    line = content.split(b"\n")[0] + b"\n"
    assert (len(line), True) == (found["length"], line.startswith(b'{"id"'))
    assert 0 in _asked_again(lines)


def test_parse_a_missing_id(lines: Scene) -> None:
    assert [0, 1] == _asked_again(lines), "and nobody else"
    assert [(1, 0, None, LINES), (2, 1, 1, 2)] == lines.batches()


def test_parse_an_extra_id(lines: Scene) -> None:
    """An answer that nobody asked for is an alarm, and no row's."""
    assert ["'row-3-1'", "'row-77-0'"] == sorted(
        str(one["message"]).split()[3].rstrip(",") for one in set_aside(lines, "alarm")
    )


def test_parse_a_duplicate_id(lines: Scene) -> None:
    """Two equal lines are one answer; two that differ are none, and the row fails."""
    ((duplicate,), conflicts) = (set_aside(lines, "duplicate"), set_aside(lines, "conflict"))
    assert "row-2-0" in str(duplicate["message"])
    assert "output" in [one["role"] for one in conflicts]
    assert "conflicting_answers" == lines.failed()[4]
    assert 3 in lines.answered()


def test_parse_an_id_in_both_files(lines: Scene) -> None:
    assert "error" in [one["role"] for one in set_aside(lines, "conflict")]
    assert "conflicting_answers" == lines.failed()[5]


def test_odd_lines_leave_every_row_accounted_for(lines: Scene) -> None:
    lines.check_complete(LINES, failed=[4, 5])
    assert 2 == lines.accepted()


def _output_hash(played: Scene) -> str:
    downloads = [detail["downloads"] for _, detail in played.news(1, "downloaded")]
    return str(downloads[-1]["output"]["sha256"])


def _asked_again(played: Scene) -> list[int]:
    found = played.project.query(
        "SELECT row_index FROM batch_members WHERE batch_no = 2 AND role = 1 ORDER BY row_index"
    )
    return [record["row_index"] for record in found]


# Rows

RETRIED = {0: "429", 3: "500", 4: "503", 6: "408", 8: "timeout"}
FAILING = {
    # a row's number within a hundred: (what befalls it, its code, a word of the provider)
    5: ("content_filter", "content_filter", "content management policy"),
    7: ("wrong_schema", "schema", "category"),
}
ONCE = {
    11: ("400", "bad_request", "max_tokens is too large"),
    22: ("completion_filtered", "content_filter", ""),
    33: ("refusal", "refusal", "I can't help with that."),
    44: ("length", "length", ""),
    55: ("not_json", "schema", ""),
    66: ("unknown_code", "provider", "brand_new_code"),
}
STUBBORN = {990: "429", 991: "503", 992: "timeout"}


def row_faults() -> dict[str, str]:
    """One row in ten meets a 429, one in a hundred the filter, one in a hundred answers off the schema."""
    faults = {f"row-{row}-0": "429" for row in range(0, ROWS, 10)}
    for hundred in range(0, ROWS, 100):
        faults |= {f"row-{hundred + row}-0": kind for row, (kind, _, _) in FAILING.items()}
    faults |= {f"row-{row}-0": kind for row, kind in RETRIED.items()}
    faults |= {f"row-{row}-0": kind for row, (kind, _, _) in ONCE.items()}
    return faults | {f"row-{row}-{attempt}": kind for row, kind in STUBBORN.items() for attempt in range(3)}


def failing() -> dict[int, str]:
    """The code of each row that must fail, by its id."""
    codes = {hundred + row: code for hundred in range(0, ROWS, 100) for row, (_, code, _) in FAILING.items()}
    codes |= {row: code for row, (_, code, _) in ONCE.items()}
    codes |= {990: "rate_limited", 991: "server_error", 992: "timeout"}
    return {row + 1: code for row, code in sorted(codes.items())}


@dataclass(frozen=True)
class Rows:
    """The same rows with faults and without."""

    faulty: Scene
    clean: Scene


@pytest.fixture(scope="module")
def rows(tmp_path_factory: Folders) -> Iterator[Rows]:
    with (
        scene(tmp_path_factory.mktemp("faulty"), row_faults=row_faults(), quirks=["shuffled_output"]) as faulty,
        scene(tmp_path_factory.mktemp("clean")) as clean,
    ):
        for one in (faulty, clean):
            one.prepare(ROWS, max_requests=400, options={"max_batches_in_flight": 3})
            one.run()
        yield Rows(faulty, clean)


@pytest.mark.parametrize("row", [*RETRIED, 10, 1190])
def test_row_answers_429_or_5xx_or_times_out(rows: Rows, row: int) -> None:
    """It is tried once more, in a batch of only such rows."""
    members = rows.faulty.project.query(
        "SELECT b.attempt, b.parent_no FROM batch_members m JOIN batches b ON b.batch_no = m.batch_no "
        "WHERE m.row_index = ? AND m.role = 1 ORDER BY b.batch_no",
        row,
    )
    assert [(0, None), (1, 1 + row // 400)] == [(one["attempt"], one["parent_no"]) for one in members]
    assert row + 1 in rows.faulty.answered()


def test_row_fails_as_often_as_it_may(rows: Rows) -> None:
    """Then it is a failed row, with what the provider said last."""
    for row, word in {990: "Rate limit reached.", 991: "temporarily unavailable", 992: "request_timeout"}.items():
        assert failing()[row + 1] == rows.faulty.failed()[row + 1]
        assert word in json.dumps(rows.faulty.state_error(row)["detail"])
    attempts = [(attempt, requests) for _, attempt, _, requests in rows.faulty.batches()]
    assert (2, 3) == attempts[-1], "the third attempt is of these rows alone"


@pytest.mark.parametrize(("row", "kind"), [*FAILING.items(), *ONCE.items()], ids=str)
def test_row_answers_400_or_filtered_or_refused_or_cut_or_off_the_schema(
    rows: Rows, row: int, kind: tuple[str, str, str]
) -> None:
    """It fails at once and is not paid for again; the reason and the provider's own words are recorded."""
    _, code, word = kind
    found = rows.faulty.state_error(row)
    assert code == found["code"] == rows.faulty.failed()[row + 1]
    assert word in json.dumps(found)
    sent = rows.faulty.project.query("SELECT batch_no FROM batch_members WHERE row_index = ? AND role = 1", row)
    assert 1 == len(sent)


def test_row_fails_with_the_recorded_body_of_the_error(rows: Rows) -> None:
    """All that the provider said, as it said it, to whoever asks for the row."""
    filtered, refused, unknown = (rows.faulty.state_error(row)["detail"] for row in (5, 11, 66))
    assert "ResponsibleAIPolicyViolation" == filtered["body"]["error"]["innererror"]["code"]
    assert ("error", 400) == (filtered["file"], filtered["status_code"])
    assert "max_tokens" == refused["body"]["error"]["param"]
    assert {"code": "brand_new_code", "message": "?"} == unknown["error"]
    assert "ResponsibleAIPolicyViolation" in json.dumps(rows.faulty.project.explain(5))


def test_row_faults_change_nothing_else(rows: Rows) -> None:
    """All other rows have the answers that they have without faults, in the source's order."""
    rows.faulty.check_complete(ROWS, failed=[*failing()])
    rows.clean.check_complete(ROWS)
    assert failing() == rows.faulty.failed()
    assert sorted(failing()) == [row["id"] for row in rows.faulty.project.lines("out/failed.jsonl")]
    for name in ("triaged.csv", "urgent.jsonl"):
        clean = rows.clean.project.text(f"out/{name}").splitlines()
        kept = [line for line in clean if _id(line) not in failing()]
        assert kept == rows.faulty.project.text(f"out/{name}").splitlines()
    assert 1 == len({attempt for _, attempt, _, _ in rows.clean.batches()})


def _id(line: str) -> int | None:
    """The id in a line of an output; None in a CSV header."""
    found = json.loads(line)["id"] if line.startswith("{") else line.split(",", maxsplit=1)[0]
    return None if found == "id" else int(found)
