"""The key that seals: made when it is needed first, in the user's configuration folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from elspeth.core.notes import SigningKey, VerifierKey

__all__ = ["known_keys", "signing_key"]


def signing_key(environ: Mapping[str, str]) -> SigningKey:
    """The user's signing key."""
    path = _path(environ)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(SigningKey.generate().encode() + "\n")
        draft.replace(path)
    return SigningKey.parse(path.read_text().strip())


def _path(environ: Mapping[str, str]) -> Path:
    if named := environ.get("ELSPETH_SIGNING_KEY"):
        return Path(named)
    base = environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "elspeth" / "signing.key"


def known_keys(environ: Mapping[str, str]) -> list[VerifierKey]:
    """The public keys that were ever used here."""
    return [signing_key(environ).verifier]
