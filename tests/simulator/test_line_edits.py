"""Result files as careless servers write them."""

from typing import Any

import pytest
from tests.simulator.client import WireClient, batch_of
from tests.simulator.conftest import Simulate


def served(simulate: Simulate, lines: dict[str, Any], **settings: Any) -> tuple[WireClient, dict[str, Any]]:
    fault = {"operation": "files.content", "occurrence": "every", "action": {"lines": lines}}
    _, client = simulate(faults=[fault], **settings)
    return client, client.run(batch_of(3))


def ids(client: WireClient, batch: dict[str, Any], name: str = "output_file_id") -> list[str]:
    return [row["custom_id"] for row in client.lines(batch[name])]


def test_a_duplicate_line_is_identical(simulate: Simulate) -> None:
    client, batch = served(simulate, {"duplicate": ["row-1"]})
    lines = client.content(batch["output_file_id"]).splitlines()
    assert lines[1] == lines[2]
    assert len(lines) == 4


def test_a_different_duplicate_has_another_answer(simulate: Simulate) -> None:
    client, batch = served(simulate, {"duplicate_different": ["row-1"]})
    rows = client.lines(batch["output_file_id"])
    assert [row["custom_id"] for row in rows] == ["row-0", "row-1", "row-1", "row-2"]
    contents = [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows[1:3]]
    assert contents == ["echo: hello 1", "a different answer"]


def test_a_different_duplicate_of_a_failed_row_has_another_error(simulate: Simulate) -> None:
    client, batch = served(simulate, {"duplicate_different": ["row-1"]}, row_faults={"row-1": "429"})
    first, second = client.lines(batch["error_file_id"])
    assert (first["response"]["status_code"], second["error"]["code"]) == (429, "request_timeout")


def test_a_missing_line(simulate: Simulate) -> None:
    client, batch = served(simulate, {"missing": ["row-1"]})
    assert ids(client, batch) == ["row-0", "row-2"]


def test_an_extra_line_answers_what_was_never_asked(simulate: Simulate) -> None:
    client, batch = served(simulate, {"extra": ["somebody-else"]})
    assert ids(client, batch) == ["row-0", "row-1", "row-2", "somebody-else"]


def test_a_bad_line_stops_halfway_and_its_neighbours_are_whole(simulate: Simulate) -> None:
    client, batch = served(simulate, {"bad_json": ["row-1"]})
    lines = client.content(batch["output_file_id"]).splitlines()
    assert [line.endswith(b"}") for line in lines] == [True, False, True]


def test_the_input_file_is_never_edited(simulate: Simulate) -> None:
    client, batch = served(simulate, {"missing": ["row-1"]})
    assert batch_of(3) == client.content(batch["input_file_id"])


def test_a_row_in_both_files(simulate: Simulate) -> None:
    client, batch = served(simulate, {"in_both_files": ["row-1"]}, row_faults={"row-0": "429"})
    assert ids(client, batch) == ["row-1", "row-2"]
    assert ids(client, batch, "error_file_id") == ["row-0", "row-1"]


def test_edits_at_create_are_made_for_good_and_bring_an_error_file_about(simulate: Simulate) -> None:
    edits = {"in_both_files": ["row-1"], "bad_json": ["row-0"], "duplicate": ["row-2"]}
    _, client = simulate(faults=[{"operation": "batches.create", "action": {"lines": edits}}])
    batch = client.run(batch_of(3))
    assert ids(client, batch, "error_file_id") == ["row-1"]
    assert len(client.content(batch["output_file_id"]).splitlines()) == 4
    assert client.content(batch["output_file_id"]) == client.content(batch["output_file_id"])


@pytest.mark.parametrize("occurrence", [1, 2])
def test_edits_on_the_way_leave_the_stored_file_alone(simulate: Simulate, occurrence: int) -> None:
    action = {"lines": {"duplicate": ["row-0"], "bad_json": ["row-1"]}}
    fault = {"operation": "files.content", "occurrence": occurrence, "action": action}
    _, client = simulate(faults=[fault])
    batch = client.run(batch_of(2))
    counts = [len(client.content(batch["output_file_id"]).splitlines()) for _ in range(3)]
    assert [3 if n == occurrence else 2 for n in (1, 2, 3)] == counts
