"""Which encodings a file of lines may have."""

from __future__ import annotations

import codecs
import warnings
from typing import Final

__all__ = ["ascii_compatible"]

_ASCII: Final = bytes(range(128))
_ESCAPES: Final = rb"\u0041 \x41 +AEE- ~{VP~} .xn--bcher-kva. bcher-kva " + b"\x1b$B0!\x1b(B"
"""What the codecs that are not plain text would undo: unicode_escape, utf-7, hz, idna, punycode, iso2022."""


def ascii_compatible(name: str) -> str:
    """The codec's own name, ``utf-8`` for UTF-8 with a byte order mark too; raises ValueError for others.

    Lines are cut at the byte 0x0A before anything is decoded, so ASCII must mean ASCII.
    """
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        raise ValueError(f"Python knows no encoding {name!r}") from None
    if codec == "utf-8-sig":
        return "utf-8"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            is_compatible = all(probe.decode(codec) == probe.decode("ascii") for probe in (_ASCII, _ESCAPES))
        except (LookupError, ValueError):
            is_compatible = False
    if not is_compatible:
        raise ValueError(f"the encoding {name!r} does not contain ASCII: convert the file to utf-8 first")
    return codec
