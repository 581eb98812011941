"""The Batch API of OpenAI and Azure, over the vendor's SDK and our recording transport.

The SDK builds the requests and signs them; it never retries here, never pages
and never parses: it would send a create three times, page for ever, and take any
answer for a valid one. Each method is one request, its answer is read by our own
models, its exceptions become `ProviderError`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, TypeVar

import httpx2
from msgspec import Struct, structs

from elspeth.contracts import (
    AuthError,
    BatchFacts,
    BatchFault,
    FileFacts,
    OutcomeUnknownError,
    Page,
    TransientError,
)
from elspeth.plugins.llm.batch_objects import decoded, parse_batch, parse_file, parse_page
from elspeth.plugins.llm.credentials import NO_TOKEN, Credential
from elspeth.plugins.llm.provider_errors import MISMATCH_CODE, Operation, translate

if TYPE_CHECKING:
    from openai import OpenAI
    from openai._legacy_response import LegacyAPIResponse

__all__ = ["Connection", "OpenAIBatchProvider"]

Facts = TypeVar("Facts", FileFacts, BatchFacts)

CONNECT_TIMEOUT_S = 10.0
TRANSFER_FACTOR = 5  # a whole file may take so many times as long as an object
PAGE_SIZE = 100  # the most that every listing takes
CHUNK_BYTES = 64 * 1024
JSONL_TYPE = "application/octet-stream"  # what the SDK itself says of a .jsonl file

_GONE = "the file may have expired, or belong to another resource or project"
UPLOAD = Operation(name="files.create", is_repeatable=False, is_read=False)
FILE = Operation(name="files.retrieve", not_found_hint=_GONE)
FILES = Operation(name="files.list")
DELETE = Operation(name="files.delete", is_read=False)
CONTENT = Operation(name="files.content", not_found_hint=_GONE)
CREATE = Operation(name="batches.create", is_repeatable=False, is_read=False)
BATCH = Operation(name="batches.retrieve", not_found_hint="it may belong to another resource or project")
BATCHES = Operation(name="batches.list")
CANCEL = Operation(name="batches.cancel", is_read=False)


class Connection(Struct, frozen=True, kw_only=True):
    """Where and how to reach a provider.

    ``api_version`` is None where paths have no version (OpenAI, Azure's v1); then ``base_url`` is what the
    paths are appended to, else it is the Azure resource. ``line_url`` and ``batch_endpoint`` are the two
    settings that a ``url_mismatch`` is about.
    """

    base_url: str
    credential: Credential
    line_url: str
    batch_endpoint: str
    model: str
    is_azure: bool
    api_version: str | None = None
    expires_after_s: int | None = None
    timeout_s: float = 120.0


class OpenAIBatchProvider:
    """A `BatchProvider`. It keeps no state but whether a refused token has been renewed."""

    def __init__(self, connection: Connection, http: httpx2.Client) -> None:
        self._connection = connection
        self._client = _client(connection, http)
        self._is_renewed = False
        self._timeout = httpx2.Timeout(connection.timeout_s, connect=CONNECT_TIMEOUT_S)
        self._transfer_timeout = httpx2.Timeout(connection.timeout_s * TRANSFER_FACTOR, connect=CONNECT_TIMEOUT_S)
        self._urls = f"`url` is {connection.line_url}, `batch_endpoint` is {connection.batch_endpoint}"
        who = "is no deployment of a batch SKU" if connection.is_azure else "is unknown to this server"
        self._create = structs.replace(
            CREATE, not_found_hint=f"the file is gone, or {connection.model!r} {who}", urls=self._urls
        )

    def upload(self, name: str, body: IO[bytes], size_bytes: int) -> FileFacts:  # noqa: ARG002
        """Sends a request file from an open handle, in bounded memory; the SDK takes the size from the handle."""
        extra: dict[str, Any] = {}
        if self._connection.expires_after_s is not None:
            extra["expires_after"] = {"anchor": "created_at", "seconds": self._connection.expires_after_s}
        with self._translated(UPLOAD):
            answer = self._client.files.with_raw_response.create(
                file=(name, body, JSONL_TYPE), purpose="batch", timeout=self._transfer_timeout, **extra
            )
            return self._file(_body(answer))

    def file(self, file_id: str) -> FileFacts:
        """One file's state."""
        with self._translated(FILE):
            answer = self._client.files.with_raw_response.retrieve(file_id, timeout=self._timeout)
            return _asked_for(self._file(_body(answer)), file_id)

    def files(self, after: str | None) -> Page:
        """One page of all files; a server that does not page may repeat items."""
        with self._translated(FILES):
            answer = self._client.files.with_raw_response.list(**_cursor(after), timeout=self._timeout)
            return parse_page(_body(answer), self._file, after=after, limit=PAGE_SIZE)

    def delete_file(self, file_id: str) -> None:
        """Removes a file; what the answer says beyond its status is of no use."""
        with self._translated(DELETE):
            self._client.files.with_raw_response.delete(file_id, timeout=self._timeout)

    def create(self, input_file_id: str, metadata: Mapping[str, str]) -> BatchFacts:
        """Starts a paid job."""
        endpoint: Any = self._connection.batch_endpoint  # the SDK lists OpenAI's values, Azure has others
        extra: dict[str, Any] = {"metadata": dict(metadata)} if metadata else {}
        with self._translated(self._create):
            answer = self._client.batches.with_raw_response.create(
                input_file_id=input_file_id,
                endpoint=endpoint,
                completion_window="24h",
                timeout=self._timeout,
                **extra,
            )
            return _about(self._batch(_body(answer)), input_file_id)

    def batch(self, batch_id: str) -> BatchFacts:
        """One job's state."""
        with self._translated(BATCH):
            answer = self._client.batches.with_raw_response.retrieve(batch_id, timeout=self._timeout)
            return _asked_for(self._batch(_body(answer)), batch_id)

    def batches(self, after: str | None) -> Page:
        """One page of all jobs; a server that does not page may repeat items."""
        with self._translated(BATCHES):
            answer = self._client.batches.with_raw_response.list(**_cursor(after), timeout=self._timeout)
            return parse_page(_body(answer), self._batch, after=after, limit=PAGE_SIZE)

    def cancel(self, batch_id: str) -> BatchFacts:
        """Asks the provider to stop a job."""
        with self._translated(CANCEL):
            answer = self._client.batches.with_raw_response.cancel(batch_id, timeout=self._timeout)
            return _asked_for(self._batch(_body(answer)), batch_id)

    def download(self, file_id: str) -> None:
        """Reads a result file to its end and keeps nothing: the transport underneath has the bytes."""
        content = self._client.files.with_streaming_response.content
        with self._translated(CONTENT), content(file_id, timeout=self._transfer_timeout) as answer:
            for _ in answer.iter_bytes(CHUNK_BYTES):
                pass

    def _file(self, body: object) -> FileFacts:
        return parse_file(body, is_ready_when_uploaded=not self._connection.is_azure)

    def _batch(self, body: object) -> BatchFacts:
        facts = parse_batch(body)
        return replace(facts, faults=tuple(map(self._explained, facts.faults))) if facts.faults else facts

    def _explained(self, fault: BatchFault) -> BatchFault:
        """A mismatch of URLs names none of them on the wire."""
        if fault.code != MISMATCH_CODE:
            return fault
        return replace(fault, message=f"{fault.message} ({self._urls})")

    @contextmanager
    def _translated(self, operation: Operation) -> Iterator[None]:
        """Turns what goes wrong in one request into a `ProviderError`."""
        import openai

        try:
            yield
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ssl.SSLError) as error:
            problem = translate(error, operation, conceal=self._key(), credential=self._connection.credential.source)
            if isinstance(problem, AuthError) and problem.http_status == 401 and self._renewed():
                raise TransientError(
                    f"{problem.message}: the token was refused and has been renewed",
                    code="token_renewed",
                    http_status=401,
                ) from None
            raise problem from None
        except TransientError as error:
            if operation.is_repeatable or error.code == NO_TOKEN:
                raise
            raise OutcomeUnknownError(f"{operation.name}: {error.message}", code=error.code) from None
        else:
            self._is_renewed = False

    def _key(self) -> str:
        credential = self._connection.credential
        return "" if credential.is_token else credential.reveal()

    def _renewed(self) -> bool:
        """Whether to try once more with a new token; a second refusal in a row is final."""
        if self._is_renewed:
            return False
        self._is_renewed = self._connection.credential.renew()
        return self._is_renewed


def _client(connection: Connection, http: httpx2.Client) -> OpenAI:
    """The SDK's client. ``Accept-Encoding: identity`` makes the recorded bytes the file's own."""
    import openai

    credential = connection.credential
    key: Any = credential.reveal if credential.is_token else credential.reveal()
    shared: dict[str, Any] = {
        "http_client": http,
        "max_retries": 0,
        "default_headers": {"Accept-Encoding": "identity"},
    }
    client: OpenAI
    if connection.api_version is None:
        client = openai.OpenAI(base_url=connection.base_url, api_key=key, **shared)
    else:
        auth = {"azure_ad_token_provider": key} if credential.is_token else {"api_key": key}
        client = openai.AzureOpenAI(
            azure_endpoint=connection.base_url, api_version=connection.api_version, **auth, **shared
        )
    # What is sent is what the pipeline file says: the SDK takes these from the environment.
    client.organization = client.project = None
    return client


def _body(answer: LegacyAPIResponse[Any]) -> object:
    return decoded(answer.text)


def _cursor(after: str | None) -> dict[str, Any]:
    return {"limit": PAGE_SIZE} if after is None else {"limit": PAGE_SIZE, "after": after}


def _about(facts: BatchFacts, input_file_id: str) -> BatchFacts:
    """A job of another file is not the one that was asked for: whether that one was made, the list tells."""
    if facts.input_file_id not in (None, input_file_id):
        message = f"malformed answer: the job {facts.id} is about {facts.input_file_id}, not {input_file_id}"
        raise TransientError(message, code="malformed_answer")
    return facts


def _asked_for(facts: Facts, object_id: str) -> Facts:
    """An answer about another object would move the wrong batch along."""
    if facts.id != object_id:
        raise TransientError(f"malformed answer: asked for {object_id}, told of {facts.id}", code="malformed_answer")
    return facts
