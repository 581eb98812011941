from __future__ import annotations

import pytest

from elspeth.plugins.llm.endpoints import azure_resource, openai_base_url


@pytest.mark.parametrize(
    "pasted",
    [
        "https://n.openai.azure.com",
        "https://n.openai.azure.com/",
        " https://n.openai.azure.com/openai\n",
        "https://n.openai.azure.com/openai/v1/",
        "https://n.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "https://n.openai.azure.com/api/projects/p",
    ],
)
def test_an_azure_address_is_understood_as_pasted(pasted: str) -> None:
    assert azure_resource(pasted) == "https://n.openai.azure.com"


def test_a_gateways_own_path_stays() -> None:
    assert azure_resource("https://gw.example.com/team/openai/v1") == "https://gw.example.com/team"


@pytest.mark.parametrize(
    ("pasted", "expected"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://example.com/llm", "https://example.com/llm"),
    ],
)
def test_a_base_url_is_understood_as_pasted(pasted: str, expected: str) -> None:
    assert openai_base_url(pasted) == expected


@pytest.mark.parametrize(
    "bad",
    ["", "x", "ftp://a", "https://", "http://example.com", "https://u:p@example.com", "https://a:port",
     "http://127.0.0.1.example.com", "http://localhost.example.com"],
)  # fmt: skip
@pytest.mark.parametrize("read", [azure_resource, openai_base_url])
def test_an_address_that_could_leak_the_key_is_refused(bad: str, read: object) -> None:
    with pytest.raises(ValueError):
        read(bad)  # type: ignore[operator]
