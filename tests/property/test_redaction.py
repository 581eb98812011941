"""A body gives the same bytes however it is cut, and none of them is a secret's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.calls import MARK, Redactor

LETTERS = st.text('ab/"', min_size=8, max_size=12)
SECRETS = st.lists(LETTERS, min_size=1, max_size=3)


@given(SECRETS, st.data())
def test_cutting_a_body_changes_nothing(secrets: list[str], data: st.DataObject) -> None:
    redactor = Redactor(secrets)
    fragments = st.sampled_from([*secrets, *(secret[:-1] for secret in secrets), *(secret[2:] for secret in secrets)])
    body = "".join(data.draw(st.lists(fragments | st.text('ab/" x', max_size=4), max_size=6))).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    stream = redactor.stream()
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    kept = b"".join(stream.feed(piece) for piece in pieces) + stream.finish()

    assert redactor.redact(body) == kept
    assert redactor.is_in(body) == stream.has_replaced
    for secret in secrets:
        assert secret.encode() not in kept.split(MARK)


@given(SECRETS, st.binary(max_size=30), st.binary(max_size=30))
def test_no_secret_is_left(secrets: list[str], before: bytes, after: bytes) -> None:
    redactor = Redactor(secrets)

    for part in redactor.redact(before + secrets[0].encode() + after).split(MARK):
        assert not redactor.is_in(part)


@given(st.text(max_size=40))
def test_text_without_a_secret_is_left_as_it_is(text: str) -> None:
    assert text == Redactor(["no-such-secret"]).redact_text(text)
