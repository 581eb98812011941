"""What the provider saw: the simulator's journal, held against the trail."""

import hashlib
from collections import Counter
from typing import Any
from urllib.parse import urlencode

Entry = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def request_payload_hash(entry: Entry) -> str:
    """The hash that the trail must hold for a request that the provider saw."""
    if entry["file_sha256"] is not None:
        return str(entry["file_sha256"])
    if entry["body_bytes"]:
        return str(entry["body_sha256"])
    query = f"?{urlencode(entry['query'])}" if entry["query"] else ""
    return sha256(f"{entry['method']} {entry['path']}{query}".encode())


def of(journal: list[Entry], operation: str) -> list[Entry]:
    return [entry for entry in journal if entry["operation"] == operation]


def has_acted(entry: Entry) -> bool:
    """Whether a request took effect at the provider, as far as the journal tells."""
    fault = entry["fault"]
    word = fault if isinstance(fault, str) else (fault or {}).get("do", "")
    if word == "reset_after":
        return True
    return entry["status"] in (200, 201)


def jobs_by_file(journal: list[Entry]) -> Counter[str]:
    """How many jobs took effect for each create body: above one, somebody paid twice."""
    return Counter(entry["body_sha256"] for entry in of(journal, "batches.create") if has_acted(entry))
