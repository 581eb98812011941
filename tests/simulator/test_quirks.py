"""Every quirk by itself, then all that Azure has together."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.client import AZURE, WireClient, batch_of, json_lines, request_line
from tests.simulator.conftest import Simulate

from elspeth.simulator import AZURE_QUIRKS, Quirk

ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def ran(simulate: Simulate, *quirks: str, **settings: Any) -> tuple[dict[str, Any], WireClient]:
    _, client = simulate(quirks=quirks, **settings)
    return client.run(batch_of(4), metadata={"run": "1"}), client


def test_iso_dates_replace_every_time(simulate: Simulate) -> None:
    batch, client = ran(simulate, "iso_dates")
    times = [value for key, value in batch.items() if key.endswith("_at") and value is not None]
    assert len(times) >= 4
    assert all(ISO.match(time) for time in times)
    assert ISO.match(client.http.get(f"/files/{batch['input_file_id']}").json()["created_at"])


def test_capitalised_status_holds_for_jobs_and_files(simulate: Simulate) -> None:
    batch, client = ran(simulate, "capitalised_status")
    assert batch["status"] == "Completed"
    assert client.http.get(f"/files/{batch['input_file_id']}").json()["status"] == "Processed"


def test_empty_string_ids_stand_for_files_that_are_not_there(simulate: Simulate) -> None:
    batch, client = ran(simulate, "empty_string_ids")
    assert batch["error_file_id"] == ""
    created = client.create(batch["input_file_id"]).json()
    assert (created["output_file_id"], created["error_file_id"]) == ("", "")


def test_null_counts(simulate: Simulate) -> None:
    batch, _ = ran(simulate, "null_counts")
    assert batch["request_counts"] == {"total": None, "completed": None, "failed": None}


def test_null_endpoint(simulate: Simulate) -> None:
    assert ran(simulate, "null_endpoint")[0]["endpoint"] is None


def test_value_lists(simulate: Simulate) -> None:
    batch, client = ran(simulate, "value_lists")
    listing = client.http.get("/batches").json()
    assert {"value"} == set(listing)
    assert [batch["id"]] == [item["id"] for item in listing["value"]]


def test_no_has_more(simulate: Simulate) -> None:
    _, client = ran(simulate, "no_has_more")
    assert "has_more" not in client.http.get("/batches").json()


def test_ignored_after_gives_the_first_page_again(simulate: Simulate) -> None:
    batch, client = ran(simulate, "ignored_after")
    listing = client.http.get("/batches", params={"after": batch["id"]}).json()
    assert [batch["id"]] == [item["id"] for item in listing["data"]]


def test_shuffled_output_has_the_same_lines_in_another_order(simulate: Simulate) -> None:
    batch, client = ran(simulate, "shuffled_output")
    ids = [row["custom_id"] for row in client.lines(batch["output_file_id"])]
    assert [f"row-{n}" for n in range(4)] == sorted(ids)
    assert sorted(ids) != ids


def test_zero_byte_error_file_exists_although_nothing_failed(simulate: Simulate) -> None:
    batch, client = ran(simulate, "zero_byte_error_file")
    assert client.content(batch["error_file_id"]) == b""


def test_late_file_ids_come_some_polls_after_completed(simulate: Simulate) -> None:
    batch, client = ran(simulate, "late_file_ids")
    seen = [batch["output_file_id"], *(client.batch(batch["id"])["output_file_id"] for _ in range(3))]
    assert [file_id is None for file_id in seen] == [True, True, False, False]


def test_body_as_string(simulate: Simulate) -> None:
    batch, client = ran(simulate, "body_as_string")
    body = client.lines(batch["output_file_id"])[0]["response"]["body"]
    assert json.loads(body)["object"] == "chat.completion"


def test_no_line_id(simulate: Simulate) -> None:
    batch, client = ran(simulate, "no_line_id")
    assert {"custom_id", "response", "error"} == set(client.lines(batch["output_file_id"])[0])


def test_lost_metadata(simulate: Simulate) -> None:
    assert ran(simulate, "lost_metadata")[0]["metadata"] is None


def test_wrong_counts(simulate: Simulate) -> None:
    assert ran(simulate, "wrong_counts")[0]["request_counts"] == {"total": 5, "completed": 0, "failed": 4}


@pytest.mark.parametrize(("quirks", "line"), [((), 2), (("line_as_string",), "2")])
def test_line_as_string(simulate: Simulate, quirks: tuple[str, ...], line: int | str) -> None:
    _, client = simulate(quirks=quirks)
    batch = client.run(json_lines([request_line("a"), request_line("a")]))
    assert [line] == [error["line"] for error in batch["errors"]["data"]]


def test_errors_in_output_puts_failed_rows_beside_the_good_ones(simulate: Simulate) -> None:
    batch, client = ran(simulate, "errors_in_output", row_faults={"row-1": "429"})
    statuses = [row["response"]["status_code"] for row in client.lines(batch["output_file_id"])]
    assert (statuses, batch["error_file_id"]) == ([200, 429, 200, 200], None)


def test_all_of_azures_quirks_go_together(simulate: Simulate) -> None:
    _, client = simulate(AZURE, quirks=AZURE_QUIRKS)
    batch = client.run(batch_of(4), metadata={"run": "1"})
    assert (
        batch["status"], batch["output_file_id"], batch["endpoint"], batch["metadata"],
    ) == ("Completed", "", None, None)  # fmt: skip
    client.batch(batch["id"])
    batch = client.batch(batch["id"])
    assert len(client.lines(batch["output_file_id"])) == 4
    assert client.content(batch["error_file_id"]) == b""


def test_every_quirk_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [quirk for quirk in Quirk if f"test_{quirk}" not in source] == []
