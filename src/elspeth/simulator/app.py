"""The ASGI application: takes a request in, lets the fault plan have its say, acts, answers, records.

Its order is the contract: 1 number and route, 2 count the fault, 3 read the
whole body, 4 wait, stall or reset, 5 refuse or act, 6 bend the answer,
7 record and send. The operations run on the event loop, one at a time.
"""

import asyncio
import logging
import time
from email.utils import formatdate

from starlette.requests import ClientDisconnect, Request

from elspeth.simulator.arrival import Arrival, journal_entry
from elspeth.simulator.batch_operations import BatchOperations
from elspeth.simulator.connection import Receive, Scope, Send, disconnected, transport_of
from elspeth.simulator.control import Control
from elspeth.simulator.delivery import NOTHING_SENT, Delivery, Fate
from elspeth.simulator.exchange import Answer, ApiError, Call, with_headers, with_patch
from elspeth.simulator.faults import NO_ACTION, Action, FaultPlan
from elspeth.simulator.file_operations import FileOperations
from elspeth.simulator.journal import Journal
from elspeth.simulator.json_values import Json, encode_json
from elspeth.simulator.records import Stage
from elspeth.simulator.request_body import RequestBody
from elspeth.simulator.routes import Operation, Profile, Route, match_route
from elspeth.simulator.settings import Settings
from elspeth.simulator.store import Store
from elspeth.simulator.worker import Worker

# With no latency a retrieve waits this long for the worker, so that the first one sees the job completed.
SETTLE_S = 5.0


logger = logging.getLogger("elspeth.simulator")


class App:
    def __init__(self, settings: Settings, *, store: Store, worker: Worker, plan: FaultPlan, journal: Journal) -> None:
        self._settings = settings
        self._store = store
        self._plan = plan
        self._journal = journal
        self._files = FileOperations(store, settings)
        self._batches = BatchOperations(store, settings, worker, self._files)
        self._control = Control(plan, journal)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if request.url.path.startswith("/_simulator/"):
                await self._control.handle(request, send)
            else:
                await self._exchange(request, receive, send)
        except ClientDisconnect:
            return

    async def _exchange(self, request: Request, receive: Receive, send: Send) -> None:
        number = self._journal.next_number()
        route = match_route(request.method, request.url.path)
        arrival = Arrival(
            number=number,
            at=time.time(),
            request=request,
            route=route,
            action=NO_ACTION if route.operation is None else self._plan.take(route.operation),
            body=RequestBody(self._store.tmp / f"request-{number}"),
        )

        def record(fate: Fate) -> None:
            self._journal.append(journal_entry(arrival, fate))
            logger.info("%d %s %s: %s", number, request.method, request.url.path, fate.status)

        try:
            await arrival.body.read(request, is_upload=route.operation is Operation.FILES_CREATE)
            delivery = Delivery(scope=request.scope, receive=receive, send=send, record=record)
            await self._react(arrival, delivery)
        except ClientDisconnect:
            record(NOTHING_SENT)
        finally:
            arrival.body.path.unlink(missing_ok=True)

    async def _react(self, arrival: Arrival, delivery: Delivery) -> None:
        action = arrival.action
        if not await _waited(delivery.receive, action.delay_s):
            delivery.record(NOTHING_SENT)
        elif action.word == "stall":
            await delivery.stall()
        elif action.word == "reset_before":
            await delivery.reset()
        else:
            await self._answer(arrival, delivery)

    async def _answer(self, arrival: Arrival, delivery: Delivery) -> None:
        route, action = arrival.route, arrival.action
        if self._settings.latency_s == 0 and route.operation is Operation.BATCHES_RETRIEVE:
            await self._settle(route.object_id, transport_of(delivery.scope))
        answer = self._act(arrival) if action.acts else None
        if action.status is not None or answer is None:
            answer = _scripted(action, arrival.key)
        if action.patch is not None:
            answer = with_patch(answer, action.patch)
        if action.word == "reset_after":
            await delivery.reset()
        else:
            request_id = self._store.make_id("request", arrival.number)
            await delivery.answer(with_headers(answer, _standing_headers(route, request_id)), action)
        if answer.path is not None and answer.path.parent == self._store.tmp:
            answer.path.unlink(missing_ok=True)

    def _act(self, arrival: Arrival) -> Answer:
        try:
            self._authorize(arrival)
            operation = _existing(arrival)
            call = Call(
                route=arrival.route,
                query=dict(arrival.request.query_params),
                body=bytes(arrival.body.content),
                upload=arrival.body.upload,
                action=arrival.action,
                now=time.time(),
            )
            return self._perform(operation, call)
        except ApiError as error:
            return error.answer()

    def _authorize(self, arrival: Arrival) -> None:
        key = arrival.key
        if key and self._settings.api_key in (None, key):
            return
        if arrival.route.profile.is_azure:
            message = "Access denied due to invalid subscription key or wrong API endpoint."
            raise ApiError(401, "401", message)
        raise ApiError(401, "invalid_api_key" if key else None, "Incorrect or missing API key.")

    def _perform(self, operation: Operation, call: Call) -> Answer:
        match operation:
            case Operation.FILES_CREATE:
                return self._files.create(call)
            case Operation.FILES_LIST:
                return self._files.listing(call)
            case Operation.FILES_RETRIEVE:
                return self._files.retrieve(call)
            case Operation.FILES_CONTENT:
                return self._files.content(call)
            case Operation.FILES_DELETE:
                return self._files.delete(call)
            case Operation.BATCHES_CREATE:
                return self._batches.create(call)
            case Operation.BATCHES_LIST:
                return self._batches.listing(call)
            case Operation.BATCHES_RETRIEVE:
                return self._batches.retrieve(call)
            case Operation.BATCHES_CANCEL:
                return self._batches.cancel(call)

    async def _settle(self, job_id: str, transport: asyncio.Transport) -> None:
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline and not transport.is_closing():
            job = self._store.job(job_id)
            if job is None or job.stage != Stage.OPEN:
                return
            await asyncio.sleep(0.005)


def _existing(arrival: Arrival) -> Operation:
    """The operation asked for. Raises ApiError where the provider has none."""
    request, route = arrival.request, arrival.route
    if route.operation is None:
        raise ApiError(404, "404", f"Resource not found: {request.method} {request.url.path}")
    if route.profile is Profile.AZURE_DATED and not request.query_params.get("api-version"):
        raise ApiError(404, "404", "Resource not found: the query parameter api-version is missing.")
    return route.operation


async def _waited(receive: Receive, delay_s: float) -> bool:
    """False if the client, or the server, went meanwhile."""
    if delay_s <= 0:
        return True
    try:
        await asyncio.wait_for(disconnected(receive), delay_s)
    except TimeoutError:
        return True
    return False


def _scripted(action: Action, key: str) -> Answer:
    """Providers echo keys in their errors, so a scripted body may: `{api_key}` stands for the client's."""
    status = action.status or 500
    if isinstance(action.body, str):
        content, kind = action.body.encode(), "text/plain; charset=utf-8"
    else:
        document: Json = action.body
        if document is None:
            error = {"code": str(status), "message": "A scripted fault.", "param": None, "type": "simulated"}
            document = {"error": error}
        content, kind = encode_json(document), "application/json"
    content = content.replace(b"{api_key}", key.encode())
    return Answer(status=status, headers={"content-type": kind, **_lowered(action.headers)}, body=content)


def _lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _standing_headers(route: Route, request_id: str) -> dict[str, str]:
    name = "apim-request-id" if route.profile.is_azure else "x-request-id"
    return {"date": formatdate(usegmt=True), name: request_id, "x-elspeth-simulator": "1"}
