"""A request's body as it comes in: held when small, its file part on disk when it is an upload."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request

from elspeth.simulator.upload import Upload, receive_upload

# What is longer is read to its end, hashed, and not kept.
MAX_BODY_BYTES = 4 * 1024 * 1024


class RequestBody:
    """`path` is where the file part of an upload lies until the store takes it over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = bytearray()
        self.upload: Upload | None = None
        self.size = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def read(self, request: Request, *, is_upload: bool) -> None:
        content_type = request.headers.get("content-type", "")
        if is_upload and content_type.startswith("multipart/form-data"):
            self.upload = await receive_upload(self._chunks(request), content_type, self.path)
            return
        async for chunk in self._chunks(request):
            if self.size <= MAX_BODY_BYTES:
                self.content += chunk

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            self.size += len(chunk)
            self._hash.update(chunk)
            yield chunk
