"""A bare client of the wire, for tests: no SDK, no retries, no opinion."""

import json
import time
from typing import Any

import httpx2

AZURE = "/openai/v1"
DATED = "/openai"
OPENAI = "/v1"
ENDPOINT = "/v1/chat/completions"
API_VERSION = {"api-version": "2024-10-21"}
POLL_DEADLINE_S = 20.0


def request_line(custom_id: str, text: str = "hello", *, url: str = ENDPOINT, **body: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": url,
        "body": {"model": "gpt-4o", "messages": messages, **body},
    }


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def batch_of(count: int, **body: Any) -> bytes:
    return json_lines([request_line(f"row-{number}", f"hello {number}", **body) for number in range(count)])


def parsed(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.split(b"\n") if line]


class WireClient:
    def __init__(self, url: str, prefix: str = OPENAI, *, key: str = "a-key", timeout: float = 10.0) -> None:
        self.params = API_VERSION if prefix == DATED else {}
        self.http = httpx2.Client(
            base_url=url + prefix,
            params=self.params,
            headers={"api-key": key, "accept-encoding": "identity"} if key else {},
            timeout=timeout,
        )

    def __enter__(self) -> "WireClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def upload(self, data: bytes, *, name: str = "input.jsonl", **fields: str) -> httpx2.Response:
        form = {"purpose": "batch", **fields}
        return self.http.post("/files", data=form, files={"file": (name, data, "application/jsonl")})

    def processed(self, data: bytes) -> str:
        """Uploads, and waits until the file may be used."""
        file_id = str(self.upload(data).json()["id"])
        deadline = time.monotonic() + POLL_DEADLINE_S
        while self.http.get(f"/files/{file_id}").json()["status"].lower() != "processed":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return file_id

    def create(self, file_id: str, **fields: Any) -> httpx2.Response:
        wanted = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h", **fields}
        return self.http.post("/batches", json=wanted)

    def batch(self, batch_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/batches/{batch_id}").json())

    def ended(self, batch_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + POLL_DEADLINE_S
        while True:
            batch = self.batch(batch_id)
            if batch["status"].lower() in ("completed", "failed", "expired", "cancelled"):
                return batch
            assert time.monotonic() < deadline, batch
            time.sleep(0.01)

    def content(self, file_id: str | None) -> bytes:
        assert file_id
        response = self.http.get(f"/files/{file_id}/content")
        assert response.status_code == 200, response.text
        return response.content

    def run(self, data: bytes, **fields: Any) -> dict[str, Any]:
        return self.ended(self.create(self.processed(data), **fields).json()["id"])

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        return parsed(self.content(file_id)) if file_id else []
