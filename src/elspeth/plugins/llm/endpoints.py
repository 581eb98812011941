"""Where a provider is: the address as users paste it, made into the base URL that requests start with.

Users paste what a portal shows: with a trailing slash, with `/openai/v1`, or with the
whole path of some request. Credentials go there, so it is https unless it is this machine.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

__all__ = ["SIMULATOR", "azure_resource", "openai_base_url"]

SIMULATOR = "simulator"
_AZURE_PATH = re.compile(r"/(openai|api/projects)(/.*)?$")
_OPENAI_PATH = re.compile(r"/(chat/completions|responses|files|batches)(/.*)?$")


def azure_resource(endpoint: str) -> str:
    """The resource's address, without the path of any API; raises ValueError."""
    parts = _address(endpoint, "https://NAME.openai.azure.com")
    return f"{parts.scheme}://{parts.netloc}{_AZURE_PATH.sub('', parts.path.rstrip('/'))}"


def openai_base_url(base_url: str) -> str:
    """The base URL, without a trailing slash or the path of a request; raises ValueError."""
    parts = _address(base_url, "https://api.openai.com/v1")
    path = _OPENAI_PATH.sub("", parts.path.rstrip("/"))
    if parts.hostname == "api.openai.com" and not path:
        path = "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _address(text: str, example: str) -> SplitResult:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"this is no address of an API: write it like {example}, or {SIMULATOR!r}")
    _ = parts.port  # raises ValueError for a port that is none
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into an address: use `api_key`")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("the key would travel in clear text: use https")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
