"""How large a trail is on the disk."""

from __future__ import annotations

from pathlib import Path

__all__ = ["database_bytes", "payload_bytes"]


def database_bytes(folder: Path) -> int:
    """Everything of a run's state but its payloads: the database, its log, the seals' files."""
    return _bytes_below(folder / ".elspeth") - payload_bytes(folder)


def payload_bytes(folder: Path) -> int:
    """Rows, calls and files, compressed."""
    return _bytes_below(folder / ".elspeth" / "payloads")


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm")
