"""What the engine hands to a plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from elspeth.contracts.enums import CallStatus, CallType

if TYPE_CHECKING:
    import httpx2

__all__ = ["Context"]


class Context(Protocol):
    """A plugin's only way to the outside, one for each step of a run.

    Whatever a plugin sends or receives through it is in the Landscape before the plugin sees the answer.
    """

    run_id: str
    step: str

    def http(self, service: str) -> httpx2.Client:
        """An HTTP client that records every attempt. ``service`` names the system in the trail."""
        ...

    def fetch_secret(self, name: str, fetch: Callable[[], str]) -> str:
        """What ``fetch`` returns: a token from a service that only its own library can ask.

        The library may reach out while it runs; that it was asked is recorded, what it gave is a secret
        from then on. Whatever ``fetch`` raises is recorded and raised.
        """
        ...

    def record_call(
        self,
        call_type: CallType,
        status: CallStatus,
        request_data: bytes | Mapping[str, Any],
        response_data: bytes | Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        latency_ms: float | None = None,
    ) -> str:
        """Records a call to a system without an HTTP seam and returns its call id.

        Mappings are stored as canonical JSON (RFC 8785), bytes as they are. ``latency_ms`` is milliseconds.
        """
        ...
