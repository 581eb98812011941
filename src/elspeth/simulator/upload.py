"""The multipart upload of a file, parsed as it arrives and written straight to disk."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """`file_name` None: the form had no file part. `fault` says why the form could not be read."""

    path: Path
    fields: dict[str, str] = field(default_factory=dict)
    file_name: str | None = None
    size: int = 0
    sha256: str | None = None
    fault: str | None = None


async def receive_upload(chunks: AsyncIterator[bytes], content_type: str, path: Path) -> Upload:
    """Reads `chunks` to their end even when the form is broken. The file part comes to lie at `path`."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    with path.open("wb") as stream:
        form = _Form(stream)
        parser = MultipartParser(boundary, form.callbacks()) if boundary else None
        fault = None if parser else "The multipart boundary is missing."
        async for chunk in chunks:
            if parser is not None and fault is None:
                try:
                    parser.write(chunk)
                except (FormParserError, _TooLongError) as error:
                    fault = f"The multipart form can't be read: {error}"
    if fault is None and not form.ended:
        fault = "The multipart form is not complete."
    has_file = form.file_name is not None
    return Upload(
        path=path,
        fields={name: value.decode("utf-8", "replace") for name, value in form.fields.items()},
        file_name=form.file_name,
        size=form.size,
        sha256=form.hash.hexdigest() if has_file else None,
        fault=fault,
    )


class _TooLongError(Exception):
    pass


class _Form:
    """What the parser's callbacks have gathered so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._field: bytearray | None = None
        self.fields: dict[str, bytearray] = {}
        self.file_name: str | None = None
        self.size = 0
        self.hash = hashlib.sha256()
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._on_part_begin,
            "on_part_data": self._on_part_data,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file":
            self._field = None
            self.file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        else:
            self._field = self.fields.setdefault(name, bytearray())

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._field is not None:
            self._field += piece
            if len(self._field) > MAX_FIELD_BYTES:
                raise _TooLongError(f"a form field is longer than {MAX_FIELD_BYTES} bytes")
            return
        self._stream.write(piece)
        self.hash.update(piece)
        self.size += len(piece)

    def _on_end(self) -> None:
        self.ended = True
