"""Where answers come from: made up here, or asked of a real server.

Both take a window of rows and give a (status, body) for each, in order.
"""

import threading
from collections.abc import Sequence
from typing import Protocol

import httpx2

from elspeth.simulator.completions import completion
from elspeth.simulator.json_values import Json, JsonObject, decode_json
from elspeth.simulator.rows import Row
from elspeth.simulator.settings import Settings
from elspeth.simulator.store import Store

UPSTREAM_TIMEOUT_S = 600.0


class Answers(Protocol):
    """`answer` is called from the worker's thread alone. `window` is how many rows it likes at a time."""

    window: int

    def answer(self, job_id: str, rows: Sequence[Row]) -> list[tuple[int, Json]]: ...

    def close(self) -> None: ...


class SimulatedAnswers:
    window = 32

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def answer(self, job_id: str, rows: Sequence[Row]) -> list[tuple[int, Json]]:  # noqa: ARG002
        seed, model_name = self._settings.seed, self._settings.model_name
        return [_completed(row.body, seed=seed, model_name=model_name) for row in rows]

    def close(self) -> None:
        pass


def _completed(body: JsonObject, *, seed: str, model_name: str | None) -> tuple[int, Json]:
    """A boundary: a body that makes no sense, above all a broken schema, is the row's fault."""
    try:
        return 200, completion(body, seed=seed, model_name=model_name)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        return 400, _failure("invalid_request_error", f"The request can't be answered: {error!r}")


class UpstreamAnswers:
    """Posts each row's body to URL/chat/completions; a reply once had is kept and not asked for again.

    Each request has a daemon thread of its own: a slow server must not keep this process from ending.
    """

    window = 4

    def __init__(self, url: str, key: str | None, store: Store) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        headers = {"authorization": f"Bearer {key}", "api-key": key} if key else {}
        self._client = httpx2.Client(headers=headers, timeout=UPSTREAM_TIMEOUT_S)
        self._store = store
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def answer(self, job_id: str, rows: Sequence[Row]) -> list[tuple[int, Json]]:
        replies: dict[int, tuple[int, Json]] = {}

        def fetch(row: Row) -> None:
            replies[row.number] = self._answer(job_id, row)

        self._threads = [threading.Thread(target=fetch, args=(row,), daemon=True) for row in rows]
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        return [replies[row.number] for row in rows]

    def close(self) -> None:
        self._closed.set()
        if not any(thread.is_alive() for thread in self._threads):
            self._client.close()

    def _answer(self, job_id: str, row: Row) -> tuple[int, Json]:
        known = self._store.reply(job_id, row.number)
        if known is not None:
            return known
        status, body = self._ask(row)
        if not self._closed.is_set():
            self._store.keep_reply(job_id, row.number, status, body)
        return status, body

    def _ask(self, row: Row) -> tuple[int, Json]:
        try:
            response = self._client.post(self._url, json=row.body)
        except httpx2.TimeoutException as error:
            return 408, _failure("408", f"The upstream server did not answer: {error}")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return 503, _failure("503", f"The upstream server can't be reached: {error}")
        try:
            return response.status_code, decode_json(response.content)
        except ValueError:
            return _no_json(response)


def _no_json(response: httpx2.Response) -> tuple[int, Json]:
    status = response.status_code if response.status_code != 200 else 502
    return status, _failure(str(status), response.text[:1000])


def _failure(code: str, message: str) -> Json:
    return {"error": {"code": code, "message": message, "param": None, "type": None}}
