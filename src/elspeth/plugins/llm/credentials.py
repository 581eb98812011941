"""What a client shows to a provider: a key from the environment, or a token from Microsoft Entra ID."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from elspeth.contracts import CredentialsError, TransientError, UsageError
from elspeth.core.config.options import Secret

__all__ = ["NO_TOKEN", "ApiKey", "Credential", "EntraToken", "require_entra"]

NO_TOKEN = "no_token"  # noqa: S105
"""The code of a failure before anything was sent to the provider."""

ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"


class Credential(Protocol):
    """Something to authenticate with; ``source`` says, in an error, where it comes from."""

    is_token: bool
    source: str

    def reveal(self) -> str:
        """The key or token, for one request; raises `CredentialsError`."""
        ...

    def renew(self) -> bool:
        """Forgets what was refused, and says whether the next `reveal` may give something else."""
        ...


class ApiKey:
    """A key that stays what it is."""

    is_token = False

    def __init__(self, key: str, *, source: str) -> None:
        self._key = key
        self.source = source

    @classmethod
    def of(cls, secret: Secret) -> ApiKey:
        """The key that a secret names; raises `CredentialsError` when no header could carry it."""
        key = secret.reveal()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise CredentialsError(
                f"the value of {secret.reference} cannot be a key: it is empty, or has spaces or line ends in it",
                hint=f"set {secret.reference} to the key alone, as the provider shows it",
            )
        return cls(key, source=f"the key in {secret.reference}")

    @classmethod
    def simulated(cls) -> ApiKey:
        """What the simulator is shown; a real key has no business there."""
        return cls("simulated", source="the simulator's key")

    def reveal(self) -> str:
        """The key."""
        return self._key

    def renew(self) -> bool:
        """A key is never renewed."""
        return False


class EntraToken:
    """A bearer token of Microsoft Entra ID, through the `azure` extra.

    azure-identity caches tokens and renews them before they expire; `renew` drops its cache, for a token
    that the provider refuses before its time. It reaches out by itself, so every token comes through
    ``fetch``, which is the context's `fetch_secret`.
    """

    is_token = True
    source = "the token of Microsoft Entra ID"

    def __init__(self, scope: str = ENTRA_SCOPE, *, fetch: Callable[[str, Callable[[], str]], str]) -> None:
        self._scope = scope
        self._fetch = fetch
        self._provider: Callable[[], str] | None = None

    def reveal(self) -> str:
        """A token that is valid now; raises `TransientError`, too, when nobody could be asked."""
        from azure.core import exceptions  # type: ignore[import-not-found,unused-ignore]

        if self._provider is None:
            self._provider = self._connect()
        try:
            return self._fetch("entra", self._provider)
        except exceptions.ClientAuthenticationError as error:
            raise CredentialsError(
                f"Microsoft Entra ID gave no token: {error}",
                hint="log in with `az login`, or give this machine a managed identity",
            ) from error
        except exceptions.AzureError as error:
            raise TransientError(f"Microsoft Entra ID cannot be reached: {error}", code=NO_TOKEN) from error

    def renew(self) -> bool:
        """Begins anew with no cached token."""
        self._provider = None
        return True

    def _connect(self) -> Callable[[], str]:
        from azure import identity  # type: ignore[import-not-found,unused-ignore]

        provider: Callable[[], str] = identity.get_bearer_token_provider(identity.DefaultAzureCredential(), self._scope)
        return provider


def require_entra() -> None:
    """Raises `UsageError` when the `azure` extra is not installed."""
    from importlib.util import find_spec

    try:
        is_installed = find_spec("azure.identity") is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        raise UsageError(
            "`credential: entra` needs the package azure-identity",
            hint="pip install 'elspeth[azure]'",
        )
