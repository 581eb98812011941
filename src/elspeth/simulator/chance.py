"""Everything here that looks random is a SHA-256 of what it depends on.

So the same seed and the same words give the same choice in every process,
on every machine and in any order.
"""

import hashlib


def digest(*parts: str) -> bytes:
    """The parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def fraction(*parts: str) -> float:
    """In [0, 1)."""
    return int.from_bytes(digest(*parts)[:6], "big") / 2**48


def index(length: int, *parts: str) -> int:
    """In [0, length)."""
    return int.from_bytes(digest(*parts)[:8], "big") % length
