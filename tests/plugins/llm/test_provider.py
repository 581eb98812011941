from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from tests.plugins.llm.conftest import KEY, LABEL_SCHEMA

from elspeth.contracts import (
    AuthError,
    BatchProvider,
    BatchState,
    FileRole,
    FileState,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TransientError,
)
from elspeth.plugins.llm.provider import Connection, OpenAIBatchProvider
from elspeth.simulator import AZURE_QUIRKS, Quirk, Settings, Simulator

Handler = Callable[[httpx2.Request], httpx2.Response]
JOB = {"id": "batch_1", "status": "validating", "input_file_id": "file-1"}


class Collected(httpx2.BaseTransport):
    """Keeps the bytes of every answer, as the recording transport does."""

    def __init__(self) -> None:
        self.inner = httpx2.HTTPTransport()
        self.bodies: list[bytes] = []
        self.requests: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        response = self.inner.handle_request(request)
        body = response.read()
        self.bodies.append(body)
        return httpx2.Response(response.status_code, headers=response.headers, content=body, request=request)

    def close(self) -> None:
        self.inner.close()


FLAVOURS = {
    "azure v1": ("azure", {"endpoint": "simulator", "api_key": None}),
    "azure dated": ("azure", {"endpoint": "simulator", "api_key": None, "api_version": "2024-10-21"}),
    "openai": ("openai", {"base_url": "simulator", "api_key": None}),
}
SERVERS = {
    "plain": frozenset(),
    "azure's quirks": AZURE_QUIRKS,
    "no paging": frozenset({Quirk.NO_HAS_MORE, Quirk.IGNORED_AFTER}),
    "odd bodies": frozenset({Quirk.BODY_AS_STRING, Quirk.WRONG_COUNTS, Quirk.ERRORS_IN_OUTPUT}),
}


@contextmanager
def connected(
    request: pytest.FixtureRequest, make_context: Any, flavour: str, **settings: Any
) -> Iterator[tuple[Any, BatchProvider, Simulator, Collected]]:
    plugin, options = FLAVOURS[flavour]
    with Simulator(Settings(**{"latency_s": 0, **settings})) as simulator:
        make = request.getfixturevalue(plugin)
        transform = make(simulator_url=simulator.url, response_schema=LABEL_SCHEMA, **options)
        context = make_context()
        collected = Collected()
        context.transport = collected
        yield transform, transform.provider(context), simulator, collected


def everything(list_page: Callable[[str | None], Any]) -> list[Any]:
    found, after = [], None
    for _ in range(20):
        page = list_page(after)
        found += page.items
        after = page.next_after
        if after is None:
            return found
    raise AssertionError("the listing has no end")


def sent(transform: Any, provider: BatchProvider, rows: int = 3, name: str = "one.jsonl") -> Any:
    lines = [transform.request_line({"text": f"row {n}"}, f"row-{n}") for n in range(rows)]
    body = b"".join(lines)
    return provider.upload(name, io.BytesIO(body), len(body))


def ended(provider: BatchProvider, batch_id: str) -> Any:
    for _ in range(200):
        facts = provider.batch(batch_id)
        if facts.state.is_terminal and (facts.output_file_id or facts.error_file_id):
            return facts
    raise AssertionError("the job does not end")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_batch_goes_through_and_comes_back(
    request: pytest.FixtureRequest, make_context: Any, flavour: str, server: str
) -> None:
    with connected(request, make_context, flavour, quirks=SERVERS[server]) as (transform, provider, _, collected):
        file = sent(transform, provider)
        assert (file.name, file.state is FileState.FAILED) == ("one.jsonl", False)
        assert provider.file(file.id).id == file.id
        assert [found.id for found in everything(provider.files)].count(file.id) >= 1
        job = provider.create(file.id, {"run": "r"})
        assert job.input_file_id == file.id
        assert {found.id for found in everything(provider.batches)} == {job.id}
        facts = ended(provider, job.id)
        assert facts.state is BatchState.COMPLETED
        provider.download(facts.output_file_id)
        lines = collected.bodies[-1].splitlines()
        answers = [transform.read_line(line, FileRole.OUTPUT) for line in lines]
        assert {answer.custom_id for answer in answers} == {"row-0", "row-1", "row-2"}
        assert all(answer.verdict.failure is None for answer in answers)
        provider.delete_file(file.id)
        assert all(request.headers["accept-encoding"] == "identity" for request in collected.requests)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_simulator_is_shown_no_real_key(request: pytest.FixtureRequest, make_context: Any, flavour: str) -> None:
    with connected(request, make_context, flavour, api_key="simulated") as (_, provider, _, collected):
        provider.files(None)
        shown = collected.requests[0].headers
        name = "api-key" if flavour == "azure dated" else "authorization"
        assert shown[name].removeprefix("Bearer ") == "simulated"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_row_fault_of_the_simulator_is_a_verdict(
    request: pytest.FixtureRequest, make_context: Any, flavour: str
) -> None:
    faults = {
        "row-0": ("429", "rate_limited"),
        "row-1": ("content_filter", "content_filter"),
        "row-2": ("completion_filtered", "content_filter"),
        "row-3": ("length", "length"),
        "row-4": ("refusal", "refusal"),
        "row-5": ("not_json", "schema"),
        "row-6": ("wrong_schema", "schema"),
        "row-7": ("no_choices", "no_choices"),
        "row-8": ("empty", "empty"),
        "row-9": ("timeout", "timeout"),
        "row-10": ("unknown_code", "provider"),
        "row-11": ("null_both", "provider"),
        "row-12": ("400", "bad_request"),
        "row-13": ("503", "server_error"),
        "row-14": ("408", "timeout"),
    }
    settings = {"row_faults": {row: fault for row, (fault, _) in faults.items()}}
    with connected(request, make_context, flavour, **settings) as (transform, provider, _, collected):
        facts = ended(provider, provider.create(sent(transform, provider, rows=16).id, {}).id)
        seen = {}
        for file_id in (facts.output_file_id, facts.error_file_id):
            provider.download(file_id)
            for line in collected.bodies[-1].splitlines():
                answer = transform.read_line(line, FileRole.OUTPUT)
                seen[answer.custom_id] = answer.verdict.failure and answer.verdict.failure.code
        assert seen == {row: code for row, (_, code) in faults.items()} | {"row-15": None}


def test_listings_are_paged_to_the_end(request: pytest.FixtureRequest, make_context: Any) -> None:
    with connected(request, make_context, "azure v1") as (transform, provider, _, _):
        ids = {sent(transform, provider, rows=1, name=f"{n}.jsonl").id for n in range(103)}
        assert {found.id for found in everything(provider.files)} == ids


def test_a_full_page_that_repeats_itself_is_no_listing(request: pytest.FixtureRequest, make_context: Any) -> None:
    quirks = SERVERS["no paging"]
    with connected(request, make_context, "openai", quirks=quirks) as (transform, provider, _, _):
        for n in range(101):
            sent(transform, provider, rows=1, name=f"{n}.jsonl")
        with pytest.raises(TransientError, match="repeats"):
            everything(provider.files)


FAULTS = [
    ("batches.retrieve", "reset_before", TransientError),
    ("batches.retrieve", "truncate", TransientError),
    ("batches.retrieve", "malformed_json", TransientError),
    ("batches.retrieve", {"status": 500}, TransientError),
    ("batches.retrieve", {"status": 404}, NotFoundError),
    ("batches.create", "reset_before", OutcomeUnknownError),
    ("batches.create", "reset_after", OutcomeUnknownError),
    ("batches.create", "truncate", OutcomeUnknownError),
    ("batches.create", "malformed_json", OutcomeUnknownError),
    ("batches.create", {"status": 502}, OutcomeUnknownError),
    ("batches.create", {"status": 429, "headers": {"retry-after": "7200"}}, RateLimitedError),
    ("batches.create", {"status": 400, "body": {"error": {"code": "token_limit_exceeded"}}}, QuotaError),
    ("batches.create", {"status": 404}, NotFoundError),
    ("batches.list", "malformed_json", TransientError),
    ("files.create", "reset_after", OutcomeUnknownError),
    ("files.create", {"status": 409}, OutcomeUnknownError),
    ("files.create", {"status": 401}, AuthError),
    ("files.retrieve", {"status": 503}, TransientError),
    ("files.content", "truncate", TransientError),
    ("files.content", "reset_before", TransientError),
    ("files.content", {"status": 404}, NotFoundError),
]


@pytest.mark.parametrize(("operation", "action", "kind"), FAULTS, ids=str)
def test_a_fault_on_the_wire_is_one_typed_error(
    request: pytest.FixtureRequest, make_context: Any, operation: str, action: Any, kind: type[ProviderError]
) -> None:
    with connected(request, make_context, "azure v1") as (transform, provider, simulator, collected):
        file = sent(transform, provider)
        job = provider.create(file.id, {})
        facts = ended(provider, job.id)
        simulator.add_faults([{"operation": operation, "occurrence": 1, "action": action}])
        collected.inner.close()
        collected.inner = httpx2.HTTPTransport()
        calls: dict[str, Callable[[], object]] = {
            "batches.retrieve": lambda: provider.batch(job.id),
            "batches.create": lambda: provider.create(file.id, {}),
            "batches.list": lambda: provider.batches(None),
            "files.create": lambda: sent(transform, provider),
            "files.retrieve": lambda: provider.file(file.id),
            "files.content": lambda: provider.download(facts.output_file_id),
        }
        before = len(collected.requests)
        with pytest.raises(kind) as caught:
            calls[operation]()
        assert type(caught.value) is kind
        assert len(collected.requests) == before + 1
        if isinstance(caught.value, RateLimitedError):
            assert caught.value.retry_after_s == 7200


def test_a_job_that_has_ended_cannot_be_cancelled(request: pytest.FixtureRequest, make_context: Any) -> None:
    with connected(request, make_context, "openai") as (transform, provider, _, _):
        job = ended(provider, provider.create(sent(transform, provider).id, {}).id)
        with pytest.raises(RefusedError) as caught:
            provider.cancel(job.id)
        assert caught.value.http_status == 409


def test_a_running_job_can_be_cancelled(request: pytest.FixtureRequest, make_context: Any) -> None:
    with connected(request, make_context, "openai", latency_s=60) as (transform, provider, _, _):
        job = provider.create(sent(transform, provider).id, {})
        assert provider.cancel(job.id).raw_status in ("cancelling", "cancelled")


def fake(make_context: Any, handler: Handler, **changes: Any) -> OpenAIBatchProvider:
    values: dict[str, Any] = {
        "base_url": "https://example.com/v1",
        "credential": Token(),
        "line_url": "/v1/chat/completions",
        "batch_endpoint": "/chat/completions",
        "model": "m",
        "is_azure": True,
        **changes,
    }
    return OpenAIBatchProvider(Connection(**values), make_context(handler).http("x"))


class Token:
    is_token = True
    source = "the token"

    def __init__(self) -> None:
        self.number = 1

    def reveal(self) -> str:
        return f"token-{self.number}"

    def renew(self) -> bool:
        self.number += 1
        return True


def test_a_refused_token_is_renewed_once(make_context: Any) -> None:
    shown: list[str] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        shown.append(request.headers["authorization"])
        return httpx2.Response(401) if len(shown) != 2 else httpx2.Response(200, json=JOB)

    provider = fake(make_context, refuse)
    with pytest.raises(TransientError, match="renewed"):
        provider.batch("batch_1")
    assert provider.batch("batch_1").id == "batch_1"
    with pytest.raises(TransientError, match="renewed"):
        provider.batch("batch_1")
    with pytest.raises(AuthError):
        provider.batch("batch_1")
    assert shown == ["Bearer token-1", "Bearer token-2", "Bearer token-2", "Bearer token-3"]


def test_a_dated_version_takes_a_token_too(make_context: Any) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=JOB)

    fake(make_context, answer, base_url="https://r.openai.azure.com", api_version="2024-10-21").batch("batch_1")
    assert str(seen[0].url) == "https://r.openai.azure.com/openai/batches/batch_1?api-version=2024-10-21"
    assert seen[0].headers["authorization"] == "Bearer token-1"


def test_what_is_sent_owes_nothing_to_the_environment(make_context: Any, monkeypatch: Any) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "from-the-environment")

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert "from-the-environment" not in str(request.url) + str(request.headers)
        return httpx2.Response(200, json=JOB)

    fake(make_context, answer).batch("batch_1")


def test_a_create_is_these_bytes(make_context: Any) -> None:
    bodies: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return httpx2.Response(201, json=JOB)

    provider = fake(make_context, answer)
    provider.create("file-1", {})
    provider.create("file-1", {"k": "v"})
    plain = {"completion_window": "24h", "endpoint": "/chat/completions", "input_file_id": "file-1"}
    assert [json.loads(body) for body in bodies] == [plain, {**plain, "metadata": {"k": "v"}}]


@pytest.mark.parametrize("expires_after_s", [None, 1_209_600])
def test_an_upload_carries_its_name_and_expiry(make_context: Any, expires_after_s: int | None) -> None:
    bodies: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return httpx2.Response(200, json={"id": "file-1"})

    fake(make_context, answer, expires_after_s=expires_after_s).upload("n.jsonl", io.BytesIO(b"{}\n"), 3)
    assert b'filename="n.jsonl"' in bodies[0]
    assert b'name="purpose"\r\n\r\nbatch' in bodies[0]
    assert (b'name="expires_after[seconds]"\r\n\r\n1209600' in bodies[0]) == (expires_after_s is not None)


def test_a_url_mismatch_says_which_two_values_met(make_context: Any) -> None:
    job = {**JOB, "status": "failed", "errors": {"data": [{"code": "url_mismatch", "message": "m"}, {"code": "x"}]}}
    facts = fake(make_context, lambda _: httpx2.Response(200, json=job)).batch("batch_1")
    words = "(`url` is /v1/chat/completions, `batch_endpoint` is /chat/completions)"
    assert facts.faults[0].message == f"m {words}"
    assert facts.faults[1].message == ""
    refusal = httpx2.Response(400, json={"error": {"code": "url_mismatch", "message": "m"}})
    with pytest.raises(ProviderError) as caught:
        fake(make_context, lambda _: refusal).create("file-1", {})
    assert caught.value.message.endswith(words)


def test_an_answer_about_another_object_is_none(make_context: Any) -> None:
    provider = fake(make_context, lambda _: httpx2.Response(200, json={**JOB, "id": "batch_2"}))
    for ask in (provider.batch, provider.cancel, provider.file):
        with pytest.raises(TransientError, match="told of batch_2"):
            ask("batch_1")


def test_a_key_never_stands_in_an_error(openai: Any, make_context: Any) -> None:
    echo = httpx2.Response(401, json={"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(AuthError) as caught:
        openai().provider(make_context(lambda _: echo)).batches(None)
    assert KEY not in caught.value.message
    assert "the key in KEY is wrong" in (caught.value.hint or "")
    assert caught.value.__suppress_context__


def test_our_own_exceptions_pass_through(make_context: Any) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fake(make_context, answer).batch("batch_1")
