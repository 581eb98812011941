"""The official SDK against every path."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest
from tests.simulator.client import batch_of
from tests.simulator.conftest import Simulate

from elspeth.simulator import Simulator


@contextmanager
def sdk(simulator: Simulator, path: str) -> Iterator[openai.OpenAI]:
    client: openai.OpenAI
    if path == "dated":
        client = openai.AzureOpenAI(azure_endpoint=simulator.url, api_key="k", api_version="2024-10-21", max_retries=0)
    else:
        client = openai.OpenAI(base_url=simulator.url + path, api_key="k", max_retries=0)
    with client:
        yield client


@pytest.mark.parametrize("path", ["/openai/v1/", "dated", "/v1/"])
def test_the_sdk_runs_a_batch_from_upload_to_deletion(simulate: Simulate, path: str) -> None:
    simulator, _ = simulate()
    with sdk(simulator, path) as client:
        file = client.files.create(
            file=("in.jsonl", batch_of(2)),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 1_209_600},
        )
        created = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        batch = client.batches.retrieve(created.id)
        assert ("completed", file.id) == (batch.status, batch.input_file_id)
        assert batch.output_file_id is not None
        assert len(client.files.content(batch.output_file_id).text.splitlines()) == 2
        assert [batch.id] == [listed.id for listed in client.batches.list()]
        assert {file.id, batch.output_file_id} == {listed.id for listed in client.files.list()}
        assert client.files.retrieve(file.id).filename == "in.jsonl"
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)


def test_the_sdk_cancels_a_batch(simulate: Simulate) -> None:
    simulator, wire = simulate(latency_s=60)
    file_id = wire.upload(batch_of(2)).json()["id"]
    with sdk(simulator, "/v1/") as client:
        created = client.batches.create(input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h")
        assert client.batches.cancel(created.id).status == "cancelling"


def test_the_sdks_own_paging_sees_every_object_once(simulate: Simulate) -> None:
    simulator, wire = simulate()
    made = [wire.upload(b"x").json()["id"] for _ in range(5)]
    with sdk(simulator, "/v1/") as client:
        assert made[::-1] == [file.id for file in client.files.list(limit=2)]


def test_the_sdk_maps_the_simulators_errors(simulate: Simulate) -> None:
    simulator, _ = simulate(api_key="right")
    with sdk(simulator, "/v1/") as client, pytest.raises(openai.AuthenticationError):
        client.files.list()
    with (
        openai.OpenAI(base_url=simulator.url + "/v1", api_key="right", max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.batches.retrieve("batch_unknown")


def test_the_sdk_streams_a_result_file(simulate: Simulate) -> None:
    simulator, wire = simulate()
    batch = wire.run(batch_of(50))
    with sdk(simulator, "/v1/") as client:
        with client.files.with_streaming_response.content(batch["output_file_id"]) as response:
            assert wire.content(batch["output_file_id"]) == b"".join(response.iter_bytes())


def test_by_default_the_sdk_makes_three_jobs_of_one_create_whose_answer_is_lost(simulate: Simulate) -> None:
    simulator, wire = simulate(faults=[{
        "operation": "batches.create", "occurrence": {"from": 1, "to": 2}, "action": "reset_after",
    }])  # fmt: skip
    file_id = wire.upload(batch_of(1)).json()["id"]
    with openai.OpenAI(base_url=simulator.url + "/v1", api_key="k") as client:
        client.batches.create(input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h")
    assert len(wire.http.get("/batches").json()["data"]) == 3
