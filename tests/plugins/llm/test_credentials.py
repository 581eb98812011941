from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import httpx2
import pytest

from elspeth.contracts import CredentialsError, OutcomeUnknownError, TransientError
from elspeth.plugins.llm.credentials import EntraToken, require_entra
from elspeth.plugins.llm.provider import Connection, OpenAIBatchProvider


class AzureError(Exception):
    pass


class ClientAuthenticationError(AzureError):
    pass


class FakeAzure:
    """The three names of azure-identity that are used; the package itself is an extra."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.error: Exception | None = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        azure, core, exceptions, identity = (
            ModuleType(name) for name in ("azure", "azure.core", "azure.core.exceptions", "azure.identity")
        )
        exceptions.AzureError = AzureError  # type: ignore[attr-defined]
        exceptions.ClientAuthenticationError = ClientAuthenticationError  # type: ignore[attr-defined]
        identity.DefaultAzureCredential = object  # type: ignore[attr-defined]
        identity.get_bearer_token_provider = self.connect  # type: ignore[attr-defined]
        core.exceptions = exceptions  # type: ignore[attr-defined]
        azure.core, azure.identity = core, identity  # type: ignore[attr-defined]
        for module in (azure, core, exceptions, identity):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def connect(self, credential: object, scope: str) -> Any:
        self.connections.append(scope)
        number = len(self.connections)

        def token() -> str:
            if self.error is not None:
                raise self.error
            return f"token-{number}"

        return token


@pytest.fixture
def fake_azure(monkeypatch: pytest.MonkeyPatch) -> FakeAzure:
    fake = FakeAzure()
    fake.install(monkeypatch)
    return fake


def test_a_token_is_asked_for_when_needed_and_anew_after_a_refusal(fake_azure: FakeAzure) -> None:
    token = EntraToken(fetch=lambda _name, ask: ask())
    assert fake_azure.connections == []
    assert (token.reveal(), token.reveal()) == ("token-1", "token-1")
    assert token.renew()
    assert token.reveal() == "token-2"
    assert fake_azure.connections == ["https://cognitiveservices.azure.com/.default"] * 2


def test_who_is_not_logged_in_is_told_how(fake_azure: FakeAzure) -> None:
    fake_azure.error = ClientAuthenticationError("no account")
    with pytest.raises(CredentialsError) as caught:
        EntraToken(fetch=lambda _name, ask: ask()).reveal()
    assert "az login" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("error", "kind"),
    [(AzureError("no network"), TransientError), (ClientAuthenticationError("no account"), CredentialsError)],
)
def test_a_create_without_a_token_was_never_sent(
    fake_azure: FakeAzure, make_context: Any, error: Exception, kind: type[Exception]
) -> None:
    fake_azure.error = error
    connection = Connection(
        base_url="https://example.com/v1",
        credential=EntraToken(fetch=lambda _name, ask: ask()),
        line_url="/u",
        batch_endpoint="/u",
        model="m",
        is_azure=True,
    )
    provider = OpenAIBatchProvider(connection, make_context(lambda _: httpx2.Response(500)).http("x"))
    with pytest.raises(kind):
        provider.create("file-1", {})
    fake_azure.error = None
    with pytest.raises(OutcomeUnknownError):
        provider.create("file-1", {})


def test_the_extra_is_found_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    require_entra()
