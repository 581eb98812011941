"""The text files that a pipeline file refers to, and where their bytes come from.

A first run reads them from disk; a resume or a replay reads the bytes that the
trail recorded, whatever has become of the files since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

__all__ = ["Assets", "DiskAssets", "RecordedAssets"]

SIZE_LIMIT_BYTES = 50_000_000


class Assets(Protocol):
    """Gives a file's bytes by its absolute path.

    An implementation raises `OSError` for what it cannot give, and gives the same bytes again for the
    same path: a file edited between two looks must not leave two versions in one pipeline.
    """

    def read(self, path: str) -> bytes:
        """All bytes of the file."""
        ...


class DiskAssets(Struct):
    """Reads from disk, once for each path."""

    seen: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """The bytes that the file had at the first look."""
        if path not in self.seen:
            file = Path(path)
            if file.stat().st_size > SIZE_LIMIT_BYTES:
                raise OSError(f"larger than {SIZE_LIMIT_BYTES:,} bytes")
            self.seen[path] = file.read_bytes()
        return self.seen[path]


class RecordedAssets(Struct, frozen=True):
    """Gives what was recorded, and never looks at the disk."""

    files: Mapping[str, bytes]

    def read(self, path: str) -> bytes:
        """The recorded bytes."""
        if path not in self.files:
            raise FileNotFoundError(f"no recorded file {path}")
        return self.files[path]


def digest(data: bytes) -> str:
    """SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()
