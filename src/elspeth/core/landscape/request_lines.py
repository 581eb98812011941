"""Request lines by what they ask: equal but for the id that names the row, to the same one who answers.

    {"custom_id":"row-7-0","method":"POST","url":...,"body":{...}}

The id is the value of the line's first member. A key is a hash over who answers and the bytes
before and behind the id, cut and never encoded again.
"""

from __future__ import annotations

import re

from elspeth.core.canonical import sha256

__all__ = ["asked_by", "request_key"]

_NAMED = re.compile(rb'\{"\w{1,40}":"(row-(\d{1,20})-(\d{1,20}))"')


def asked_by(line: bytes) -> tuple[int, int] | None:
    """The row and the 0-based attempt that a request line names; None for a line that begins otherwise."""
    found = _NAMED.match(line)
    return None if found is None else (int(found[2]), int(found[3]))


def request_key(line: bytes, answers_from: str) -> bytes | None:
    """The key under which equal requests are found; None for a line whose id cannot be told from the rest.

    The parts are kept apart by a byte that no JSON holds.
    """
    found = _NAMED.match(line)
    if found is None:
        return None
    return sha256(b"\0".join((answers_from.encode(), line[: found.start(1)], line[found.end(1) :])))
