from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from elspeth.contracts import CallStatus, CallType
from elspeth.core.config.options import OptionsContext, parse_options
from elspeth.plugins.llm.azure_batch import AzureBatchLLMTransform, AzureBatchOptions
from elspeth.plugins.llm.openai_batch import OpenAIBatchLLMTransform, OpenAIBatchOptions

FIXTURES = Path(__file__).parents[2] / "fixtures"
KEY = "sk-test-0123456789"
LABEL_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}
AZURE = {
    "endpoint": "https://example.openai.azure.com",
    "api_key": "${KEY}",
    "deployment_name": "gpt-4o-batch",
    "template": "Say {{ row.text }}",
}
OPENAI = {"model": "gpt-4o-mini", "api_key": "${KEY}", "template": "Say {{ row.text }}"}


def load(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((FIXTURES / name).read_text())
    return loaded


class FakeContext:
    """A `Context` whose clients are plain ones over the transport given."""

    run_id = "run"
    step = "classify"

    def __init__(self, transport: httpx2.BaseTransport | None = None) -> None:
        self.transport = transport
        self.services: list[str] = []
        self.clients: list[httpx2.Client] = []

    def http(self, service: str) -> httpx2.Client:
        self.services.append(service)
        client = httpx2.Client(transport=self.transport)
        self.clients.append(client)
        return client

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,
        request_data: bytes | Mapping[str, Any],
        response_data: bytes | Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
    ) -> str:
        raise AssertionError("not an HTTP call")


@pytest.fixture
def make_context() -> Iterator[Callable[..., FakeContext]]:
    made: list[FakeContext] = []

    def make(handler: Callable[[httpx2.Request], httpx2.Response] | None = None) -> FakeContext:
        context = FakeContext(httpx2.MockTransport(handler) if handler else None)
        made.append(context)
        return context

    yield make
    for context in made:
        for client in context.clients:
            client.close()


@pytest.fixture
def azure(tmp_path: Path) -> Callable[..., AzureBatchLLMTransform]:
    """Makes an `azure_batch_llm` step named ``classify``; an option given as None is left out."""

    def make(*, simulator_url: str | None = None, **changes: Any) -> AzureBatchLLMTransform:
        values = {name: value for name, value in {**AZURE, **changes}.items() if value is not None}
        options = parse_options(AzureBatchOptions, values, options_context(tmp_path))
        return AzureBatchLLMTransform(options, step="classify", simulator_url=simulator_url)

    return make


@pytest.fixture
def openai(tmp_path: Path) -> Callable[..., OpenAIBatchLLMTransform]:
    """Makes an `openai_batch_llm` step named ``classify``; an option given as None is left out."""

    def make(*, simulator_url: str | None = None, **changes: Any) -> OpenAIBatchLLMTransform:
        values = {name: value for name, value in {**OPENAI, **changes}.items() if value is not None}
        options = parse_options(OpenAIBatchOptions, values, options_context(tmp_path))
        return OpenAIBatchLLMTransform(options, step="classify", simulator_url=simulator_url)

    return make


def options_context(folder: Path) -> OptionsContext:
    return OptionsContext(folder=folder, environ={"KEY": KEY})
