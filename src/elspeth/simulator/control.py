"""What tests ask the simulator itself, under `/_simulator/`: not journalled, no key needed.

`GET health`, `GET journal` (JSON lines), `GET`, `POST` and `DELETE faults`.
"""

from collections.abc import Callable

from starlette.requests import Request

from elspeth.simulator.connection import Send
from elspeth.simulator.exchange import Answer, json_answer
from elspeth.simulator.faults import FaultPlan, fault_list
from elspeth.simulator.journal import Journal
from elspeth.simulator.json_values import decode_json, encode_json


class Control:
    def __init__(self, plan: FaultPlan, journal: Journal) -> None:
        self._plan = plan
        self._journal = journal

    async def handle(self, request: Request, send: Send) -> None:
        answer = self._answer(request.method, request.url.path, await request.body())
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        headers.append((b"content-length", str(answer.size).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _answer(self, method: str, path: str, body: bytes) -> Answer:
        answers: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "health"): lambda: json_answer({"status": "ok"}),
            ("GET", "journal"): self._journal_lines,
            ("GET", "faults"): lambda: json_answer({"faults": self._plan.listing()}),
            ("POST", "faults"): lambda: self._add(body),
            ("DELETE", "faults"): self._clear,
        }
        found = answers.get((method, path.removeprefix("/_simulator/")))
        if found is None:
            return json_answer({"error": {"message": f"no {method} {path} here"}}, status=404)
        return found()

    def _journal_lines(self) -> Answer:
        lines = b"".join(encode_json(entry) + b"\n" for entry in self._journal.entries())
        return Answer(headers={"content-type": "application/x-ndjson"}, body=lines)

    def _add(self, body: bytes) -> Answer:
        try:
            self._plan.add(fault_list(decode_json(body)))
        except ValueError as error:
            return json_answer({"error": {"message": str(error)}}, status=400)
        return json_answer({"faults": self._plan.listing()}, status=201)

    def _clear(self) -> Answer:
        self._plan.clear()
        return json_answer({"faults": []})
