"""Secrets are replaced in the forms in which they turn up."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import httpx2
import pytest

from elspeth.core.calls import MARK, Redactor
from elspeth.core.calls.envelope import canonical_request_line, redact_url, without_secret_parts
from elspeth.core.calls.operations import is_repeatable, operation_of

SECRET = 'a/b+c="d" é&<\\'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(SECRET)[1:-1].replace("/", "\\/"),
        html.escape(SECRET),
        json.dumps(html.escape(SECRET))[1:-1],
        json.dumps(json.dumps(SECRET)[1:-1])[1:-1],
        json.dumps(json.dumps(SECRET).replace("/", "\\/")[1:-1])[1:-1],
    ],
)
def test_every_form_is_replaced(form: str) -> None:
    assert b"x" + MARK + b"y" == Redactor([SECRET]).redact(b"x" + form.encode() + b"y")


def test_a_short_secret_is_not_looked_for() -> None:
    redactor = Redactor(["1234567", ""])

    assert (b"1234567", False, 0) == (redactor.redact(b"1234567"), redactor.is_in(b"1234567"), redactor.longest)


def test_the_longest_secret_wins_and_the_mark_is_not_marked() -> None:
    redactor = Redactor(["abcdefgh", "abcdefghij", "REDACTED"])

    assert MARK + b" " + MARK + b"ix" == redactor.redact(b"abcdefghij abcdefghix")


def test_a_secret_learnt_later_is_replaced_from_then_on() -> None:
    redactor = Redactor()
    stream = redactor.stream()
    assert b"tok" == stream.feed(b"tok")
    redactor.add("token-0123")

    assert "[REDACTED]" == redactor.redact_text("token-0123")
    assert MARK == stream.feed(b"token-") + stream.feed(b"0123") + stream.finish()


def test_a_secret_split_over_pieces_is_found_and_noted() -> None:
    stream = Redactor(["secret-0123"]).stream()
    kept = [stream.feed(piece) for piece in (b"a sec", b"ret-01", b"23 and sec", b"retly")]

    assert ([b"a ", b"", MARK + b" and ", b"secretly"], b"", True) == (kept, stream.finish(), stream.has_replaced)


def test_what_is_clean_is_not_noted() -> None:
    stream = Redactor(["secret-0123"]).stream()

    assert (b"abc sec", False) == (stream.feed(b"abc sec") + stream.finish(), stream.has_replaced)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pass@h/p?q=1", "http://h/p?q=1"),
        ("http://h:81/p?SIG=abc&q=a%20b", "http://h:81/p?SIG=%5BREDACTED%5D&q=a%20b"),
        ("http://h/bot/secret-0123/x", "http://h/bot/[REDACTED]/x"),
        ("http://h/p?q=1&q=2", "http://h/p?q=1&q=2"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown.replace("%20", "+") == redact_url(httpx2.URL(url), Redactor(["secret-0123"])).replace("%20", "+")


def test_a_request_without_a_body_is_its_method_and_target() -> None:
    url = httpx2.URL("http://h/a%2Fb?x=1&api-key=k")

    assert b"GET /a%2Fb?x=1&api-key=k" == canonical_request_line("GET", url)
    assert b"GET /a%2Fb?x=1&api-key=%5BREDACTED%5D" == canonical_request_line("GET", without_secret_parts(url))


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/openai/v1/files", "files.create"),
        ("GET", "/openai/files/", "files.list"),
        ("GET", "/v1/files/f-1", "files.retrieve"),
        ("DELETE", "/v1/files/f-1", "files.delete"),
        ("GET", "/v1/files/f-1/content", "files.content"),
        ("POST", "/v1/batches", "batches.create"),
        ("GET", "/v1/batches", "batches.list"),
        ("GET", "/v1/batches/b-1", "batches.retrieve"),
        ("POST", "/v1/batches/b-1/cancel", "batches.cancel"),
        ("POST", "/openai/deployments/d/chat/completions", "chat.completions"),
        ("POST", "/other", "POST /other"),
        ("GET", "/", "GET /"),
    ],
)
def test_operations_are_named_as_the_sdks_name_them(method: str, path: str, operation: str) -> None:
    assert operation == operation_of(method, path)


def test_only_idempotent_methods_may_be_repeated() -> None:
    methods = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT")

    assert [True] * 6 + [False] * 3 == [is_repeatable(method) for method in methods]
