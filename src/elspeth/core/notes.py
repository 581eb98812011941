"""Signed notes and checkpoints: text with Ed25519 signatures, as Go's module log and others write it.

A note (https://c2sp.org/signed-note) is UTF-8 text that ends in a newline, a blank line, and lines of
signatures over that text, each of an em dash, the key's name and the base64 of key id and signature:

    elspeth-5d1e0ac2/01k9x
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — elspeth-5d1e0ac2 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=

A checkpoint (https://c2sp.org/tlog-checkpoint) is the text above: whose tree it is, how many leaves it
has, and the base64 of its root (`elspeth.core.merkle`). Keys are written as Go writes them:

    <name>+<8 hex digits of the key id>+<base64 of 0x01 and the public key>
    PRIVATE+KEY+<name>+<8 hex digits of the key id>+<base64 of 0x01 and the seed>

where the key id is the first four bytes of SHA-256(name, 0x0A, 0x01, public key). Names are labels;
who holds a key, nothing here can say. `parse_note` and `Note.encode`, `parse_checkpoint` and
`encode_checkpoint`, `parse` and `encode` of the keys are inverses. Reading is strict: what has two
spellings elsewhere (unused bits of base64, upper-case hexadecimal) has one here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from elspeth.contracts import KeyFileError, NoteError

__all__ = [
    "Checkpoint",
    "Note",
    "Signature",
    "SigningKey",
    "VerifierKey",
    "encode_checkpoint",
    "parse_checkpoint",
    "parse_note",
    "split_notes",
]

MAX_SIGNATURES: Final = 100
"""More than this no note may have, for each of a known key costs a verification."""

_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_ROOT_BYTES: Final = 32
_DASH: Final = "\N{EM DASH} "
_PRIVATE: Final = "PRIVATE+KEY+"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_KEY_HINT: Final = "a verifier key is one line: <name>+<8 hex digits>+<base64>, as `elspeth keys show` prints it"


class Signature(Struct, frozen=True):
    """A line below a note: who says that it signed, and the bytes that may prove it."""

    name: str
    key_id: bytes
    signature: bytes


class Note(Struct, frozen=True):
    """A text and the signatures below it, none of them verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        """The note as it is kept; the inverse of `parse_note`."""
        lines = [f"{_DASH}{s.name} {_base64(s.key_id + s.signature)}\n" for s in self.signatures]
        return f"{self.text}\n{''.join(lines)}"

    def signed_by(self, keys: Iterable[VerifierKey]) -> VerifierKey | None:
        """The first of the keys that signed this text, None when none did.

        Signatures of other keys are ignored. Raises `NoteError` when a signature that names one of
        the keys does not verify: then somebody changed the text or the signature.
        """
        known = list(keys)
        signers = []
        for signature in self.signatures:
            named = [key for key in known if (key.name, key.key_id) == (signature.name, signature.key_id)]
            if not named:
                continue
            verified = [key for key in named if key.verifies(self.text, signature.signature)]
            if not verified:
                raise NoteError(
                    f"the signature by {signature.name}+{signature.key_id.hex()} does not fit the text",
                    hint="the text or the signature was changed after it was signed",
                )
            signers += verified
        return next((key for key in known if key in signers), None)


class VerifierKey(Struct, frozen=True):
    """What others need to check signatures: a name and a public key of 32 bytes. Raises `KeyFileError`."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise KeyFileError(
                f"{self.name!r:.80} cannot be the name of a key",
                hint="a name has no spaces, plus signs or control characters, and is not empty",
            )
        if len(self.public) != _KEY_BYTES:
            raise KeyFileError(f"a public key has {_KEY_BYTES} bytes, not {len(self.public)}", hint=_KEY_HINT)

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; short, so no more than a label."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def encode(self) -> str:
        """The verifier line; the inverse of `parse`."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key of a verifier line; raises `KeyFileError` for anything else."""
        name, _, encoded = _key_parts(text, hint=_KEY_HINT)
        key = cls(name, _key_material(encoded, hint=_KEY_HINT))
        if key.encode() != text:
            raise KeyFileError(f"the key id of {name!r:.80} does not fit its public key", hint=_KEY_HINT)
        return key

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` is one of this key over the text."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A name and the seed of 32 bytes from which an Ed25519 key follows. It never shows its seed."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != _KEY_BYTES:
            raise KeyFileError(f"the seed of a signing key has {_KEY_BYTES} bytes", hint=_SIGNING_HINT)
        VerifierKey(self.name, bytes(_KEY_BYTES))

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, _public_of(self.seed))

    def sign(self, text: str) -> str:
        """The signed note of a text that ends in a newline; raises `NoteError` for a text that no note can hold."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        _check_characters(text)
        if not text.endswith("\n"):
            raise NoteError("the text of a note ends in a newline")
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return Note(text, (Signature(self.name, self.verifier.key_id, signature),)).encode()

    def encode(self) -> str:
        """The key as one line, the secret included; the inverse of `parse`."""
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{_base64(_ED25519 + self.seed)}"

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """The key of such a line; raises `KeyFileError`, which never shows the line, for anything else."""
        if not text.startswith(_PRIVATE):
            raise KeyFileError("this is not a signing key", hint=_SIGNING_HINT)
        name, _, encoded = _key_parts(text.removeprefix(_PRIVATE), hint=_SIGNING_HINT)
        key = cls(name, _key_material(encoded, hint=_SIGNING_HINT))
        if not secrets.compare_digest(key.encode().encode(), text.encode(errors="replace")):
            raise KeyFileError(f"the key id of the signing key {name!r:.80} does not fit it", hint=_SIGNING_HINT)
        return key

    @classmethod
    def generate(cls, name: str | None = None) -> SigningKey:
        """A new key; without a name it is called after the hash of its public half."""
        seed = secrets.token_bytes(_KEY_BYTES)
        return cls(name or f"elspeth-{hashlib.sha256(_public_of(seed)).hexdigest()[:8]}", seed)


_SIGNING_HINT: Final = f"a signing key is one line: {_PRIVATE}<name>+<8 hex digits>+<base64>"


def parse_note(data: str) -> Note:
    """The note of exactly this text; raises `NoteError` for what is none. Verifies nothing: see `Note.signed_by`."""
    _check_characters(data)
    text, blank, below = data.rpartition("\n\n")
    if not blank or not below:
        raise _malformed("it has no blank line with signatures below")
    if not below.endswith("\n"):
        raise _malformed("it does not end in a newline")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _malformed(f"it has more than {MAX_SIGNATURES} signatures")
    return Note(f"{text}\n", tuple(map(_signature, lines)))


def split_notes(text: str) -> list[str]:
    """The notes that were joined into ``text``, whose own texts have no blank line and do not begin with an em dash.

    ``"".join(split_notes(text)) == text`` whatever the text is: what is cut short or is no note comes
    back in its place, and `parse_note` refuses it.
    """
    notes: list[str] = []
    lines: list[str] = []
    is_signed = False
    for line in _LINE.findall(text):
        if is_signed and not line.startswith(_DASH):
            notes.append("".join(lines))
            lines, is_signed = [], False
        is_signed = is_signed or (line.startswith(_DASH) and lines[-1:] == ["\n"])
        lines.append(line)
    return [*notes, "".join(lines)] if lines else notes


class Checkpoint(Struct, frozen=True):
    """The head of a tree: whose it is, how many leaves it has, their root. Raises `NoteError`.

    ``extensions`` are more lines, for whoever knows what they mean.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(line and "\n" not in line for line in (self.origin, *self.extensions)):
            raise _no_checkpoint("origin and extensions are lines, none of them empty")
        _check_characters("".join((self.origin, *self.extensions)))
        if not 0 <= self.size < 1 << 63:
            raise _no_checkpoint(f"{self.size} is no size of a tree")
        if len(self.root) != _ROOT_BYTES:
            raise _no_checkpoint(f"a root has {_ROOT_BYTES} bytes, not {len(self.root)}")


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """The text to sign; the inverse of `parse_checkpoint`."""
    lines = (checkpoint.origin, str(checkpoint.size), _base64(checkpoint.root), *checkpoint.extensions)
    return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint of a note's text; raises `NoteError` for a text that is none."""
    lines = text.split("\n")
    if lines.pop() or len(lines) < 3:
        raise _no_checkpoint("it has at least three lines, each ended by a newline")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise _no_checkpoint("its second line is the number of leaves, without leading zeros")
    decoded = _from_base64(root)
    if decoded is None:
        raise _no_checkpoint("its third line is the base64 of the root")
    return Checkpoint(origin, int(size), decoded, tuple(extensions))


def _malformed(reason: str) -> NoteError:
    return NoteError(f"this is not a signed note: {reason}", hint="is the file whole, and as it was written?")


def _no_checkpoint(reason: str) -> NoteError:
    return NoteError(f"this is not a checkpoint: {reason}")


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _is_name(name):
        raise _malformed(f"a line below the text is no signature: {line!r:.80}")
    data = _from_base64(encoded)
    if data is None or len(data) <= _ID_BYTES:
        raise _malformed(f"the signature by {name!r:.80} is not the base64 of a key id and a signature")
    return Signature(name, data[:_ID_BYTES], data[_ID_BYTES:])


def _check_characters(text: str) -> None:
    if any(character < " " and character != "\n" for character in text):
        raise _malformed("it holds a control character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _malformed("it holds half a surrogate pair, which is no text") from None


def _is_name(name: str) -> bool:
    is_plain = not any(c.isspace() or c == "+" or c < " " or "\ud800" <= c <= "\udfff" for c in name)
    return bool(name) and is_plain


def _key_parts(text: str, *, hint: str) -> tuple[str, str, str]:
    """Name, key id and base64, which may itself hold plus signs."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise KeyFileError("this is not a key", hint=hint)
    return parts[0], parts[1], parts[2]


def _key_material(encoded: str, *, hint: str) -> bytes:
    data = _from_base64(encoded)
    if data is None or data[:1] != _ED25519 or len(data) != _KEY_BYTES + 1:
        raise KeyFileError("this is not an Ed25519 key", hint=hint)
    return data[1:]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes | None:
    """The bytes of standard base64 in its one canonical spelling, None for anything else."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return data if _base64(data) == text else None


def _public_of(seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
