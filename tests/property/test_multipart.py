"""The file is found in a form however the body is cut and whatever the file looks like."""

from __future__ import annotations

import hashlib

import httpx2
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.calls.multipart import MultipartReader, boundary_of

BOUNDARY = "b0undary"
LOOKALIKES = st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"\r\n--", b"\r\n--b0undar", b"--b0undary", b"\r\n\r\n--b"])
CONTENT = st.lists(st.binary(max_size=8) | LOOKALIKES, max_size=12).map(b"".join)


def form(files: list[tuple[str, bytes]], fields: dict[str, str]) -> tuple[str, bytes]:
    request = httpx2.Request(
        "POST",
        "http://x/",
        data=fields,
        files=[("file", file) for file in files],
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )
    return request.headers["content-type"], request.read()


@given(CONTENT, st.text(min_size=1, max_size=8), st.integers(1, 40), st.text(max_size=20))
def test_the_file_is_found(content: bytes, name: str, size: int, field: str) -> None:
    if b"\r\n--" + BOUNDARY.encode() in b"\r\n" + content:
        return
    content_type, body = form([(name, content)], {"purpose": field})
    boundary = boundary_of(content_type)
    assert boundary is not None
    seen = []
    reader = MultipartReader(boundary, on_file=seen.append)
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])

    purpose, file = reader.parts
    assert ("purpose", None, field.encode()) == (purpose.name, purpose.file_name, purpose.text)
    assert ("file", True, len(content)) == (file.name, file.file_name is not None, file.size)
    assert content == b"".join(seen)
    assert hashlib.sha256(content).digest() == file.digest.digest()


@given(CONTENT, st.integers(1, 9))
def test_what_follows_the_end_is_no_files(content: bytes, size: int) -> None:
    _, body = form([("a", b"x"), ("b", b"")], {})
    reader = MultipartReader(BOUNDARY.encode(), on_file=lambda _: None)
    body += content + b"epilogue" * 4
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])

    assert [("a", 1), ("b", 0)] == [(part.file_name, part.size) for part in reader.parts]


def test_content_that_begins_like_a_delimiter_is_content() -> None:
    content = b"1\r\n--b0undaryX\r\n--b0undary\r2"
    _, body = form([("a", content)], {})
    reader = MultipartReader(BOUNDARY.encode(), on_file=lambda _: None)
    reader.feed(body)

    assert [(len(content), hashlib.sha256(content).digest())] == [(p.size, p.digest.digest()) for p in reader.parts]
