"""Finding the file part of a multipart upload as it streams by (RFC 7578, RFC 2046 section 5.1).

    --BOUNDARY CRLF  headers CRLF CRLF  content  CRLF --BOUNDARY CRLF ... CRLF --BOUNDARY--

The file's bytes are the upload's payload; the boundary is drawn at random by the
client, so the body as a whole identifies nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.message import Message

from msgspec import Struct, field

__all__ = ["MultipartReader", "Part", "boundary_of"]


class Part(Struct):
    """One part: its form name, file name, size in bytes, SHA-256, and its text if it is a short field."""

    name: str
    file_name: str | None
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    text: bytes = b""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type header names; None for anything that is not multipart/form-data."""
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return None
    boundary = message.get_boundary()
    return None if boundary is None else boundary.encode("latin-1")


class MultipartReader:
    """Fed with a body piece by piece; ``on_file`` receives the bytes of parts that have a file name."""

    def __init__(self, boundary: bytes, on_file: Callable[[bytes], None]) -> None:
        self.parts: list[Part] = []
        self._delimiter = b"\r\n--" + boundary
        self._on_file = on_file
        self._data = b"\r\n"  # the first delimiter has no line break before it
        self._is_in_headers = False
        self._is_at_end = False

    def feed(self, data: bytes) -> None:
        """Takes the next piece; what follows the last delimiter is no part's."""
        if self._is_at_end:
            return
        self._data += data
        while self._step():
            pass

    def _step(self) -> bool:
        if self._is_in_headers:
            head, mark, rest = self._data.partition(b"\r\n\r\n")
            if not mark:
                return False
            self.parts.append(_part_of(head))
            self._data = rest
            self._is_in_headers = False
            return True
        at = self._data.find(self._delimiter)
        if at < 0:
            safe = max(len(self._data) - len(self._delimiter) + 1, 0)
            self._take(self._data[:safe])
            self._data = self._data[safe:]
            return False
        after = at + len(self._delimiter)
        if len(self._data) < after + 2:
            return False
        self._take(self._data[:at])
        match self._data[after : after + 2]:
            case b"\r\n":
                self._is_in_headers = True
                self._data = self._data[after:]
            case b"--":
                self._is_at_end = True
                self._data = b""
            case _:  # content that only begins like a delimiter
                self._take(self._delimiter)
                self._data = self._data[after:]
        return not self._is_at_end

    def _take(self, data: bytes) -> None:
        if not self.parts or not data:
            return
        part = self.parts[-1]
        part.size += len(data)
        part.digest.update(data)
        if part.file_name is None:
            part.text += data
        else:
            self._on_file(data)


def _part_of(head: bytes) -> Part:
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, mark, value = line.partition(":")
        if mark and name.strip().lower() == "content-disposition":
            message["content-disposition"] = value.strip()
    field_name = message.get_param("name", "", header="content-disposition")
    return Part(name=str(field_name), file_name=message.get_filename())
