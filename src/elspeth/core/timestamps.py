"""Timestamps by others (RFC 3161): what a time-stamping authority is asked, and what its answer proves.

A query holds the SHA-256 of some bytes, a nonce, and the wish for the authority's certificate. The answer
is a status and a token: CMS signed data over the same hash, the same nonce and a time. Whoever trusts
the root above the authority's certificate knows that the bytes existed at that time.

    query = TimestampQuery.of(message)
    timestamp = query.check(answer)                           what was asked for; signed by whom, nobody knows yet
    timestamp = TrustedAuthorities.parse(pem).verify(answer, message)

`rfc3161-client` reads and verifies: the chain to a root at the time of the stamp, the purpose of the
certificate, the signature. It takes every certificate that it is handed as trusted if that one signed itself,
so it is handed none that came with the answer. What the status says is not signed and proves nothing.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from elspeth.contracts import TimestampError, UsageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import SignerInfo, TimeStampResponse

__all__ = ["Timestamp", "TimestampQuery", "TrustedAuthorities", "read_timestamp", "require_timestamps"]

_SHA_256: Final = "2.16.840.1.101.3.4.2.1"
_REASON: Final = re.compile(r'data: "Verify error: ([^"]+)"|reason: "([^"]+)"')
_ASK_AGAIN: Final = "Ask it again, or ask another authority."
_CHANGED: Final = "Either the file was changed, or these are the certificates of another authority."


class Timestamp(Struct, frozen=True):
    """The hash that was stamped, when (UTC, whole seconds: a fraction is cut off), and the subject of who signed it.

    ``authority`` is one printable line, whatever the subject holds.
    """

    imprint: bytes
    at: datetime
    authority: str

    @property
    def time(self) -> str:
        """The time as ISO 8601 writes it."""
        return self.at.isoformat().replace("+00:00", "Z")


class TimestampQuery(Struct, frozen=True):
    """What an authority is asked: DER, and the parts of it that must come back."""

    data: bytes
    imprint: bytes
    nonce: int

    @classmethod
    def of(cls, message: bytes) -> TimestampQuery:
        """A query about these bytes, with a nonce of its own. Raises `UsageError` without the extra."""
        require_timestamps()
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

        request = TimestampRequestBuilder(data=message, hash_algorithm=HashAlgorithm.SHA256).build()
        if request.nonce is None:
            raise TimestampError("a query was built without a nonce")
        return cls(request.as_bytes(), hashlib.sha256(message).digest(), request.nonce)

    def check(self, answer: bytes) -> Timestamp:
        """The timestamp of an answer to this query; raises `TimestampError` for one to none, or to another."""
        timestamp = read_timestamp(answer)
        if timestamp.imprint != self.imprint:
            raise TimestampError("the answer stamps other bytes than those that were sent", hint=_ASK_AGAIN)
        if _decoded(answer).tst_info.nonce != self.nonce:
            raise TimestampError("the answer has not the nonce of the query: it is of another time", hint=_ASK_AGAIN)
        return timestamp


def require_timestamps() -> None:
    """Raises `UsageError` when the extra `timestamp` is not installed."""
    from importlib.util import find_spec

    if find_spec("rfc3161_client") is None:
        raise UsageError("timestamps need the package rfc3161-client", hint="pip install 'elspeth[timestamp]'")


def read_timestamp(answer: bytes) -> Timestamp:
    """What an answer says of itself, nothing of it verified. Raises `TimestampError` for what holds no timestamp."""
    response = _decoded(answer)
    return _read(response, _signing_certificate(response, ()))


class TrustedAuthorities:
    """Certificates of authorities that a verifier trusts: roots, and others below them."""

    def __init__(self, certificates: list[Certificate]) -> None:
        self._roots = [one for one in certificates if one.subject == one.issuer]
        self._others = [one for one in certificates if one.subject != one.issuer]
        if not self._roots:
            named = ", ".join(sorted({one.issuer.rfc4514_string() for one in self._others}))
            raise UsageError(
                "the certificates that were brought lead to no root",
                hint=f"Bring the root too: the certificate of {named} that is signed by itself." if named else None,
            )

    @classmethod
    def parse(cls, *files: bytes) -> TrustedAuthorities:
        """The certificates in files of PEM; raises `UsageError` when one holds none, or no file a root."""
        require_timestamps()
        from cryptography.x509 import load_pem_x509_certificates

        try:
            with _outside_data():
                certificates = [certificate for pem in files for certificate in load_pem_x509_certificates(pem)]
        except TimestampError as error:
            raise UsageError(
                "this is no certificate in PEM", hint="It begins with -----BEGIN CERTIFICATE-----"
            ) from error
        return cls(certificates)

    def verify(self, answer: bytes, message: bytes) -> Timestamp:
        """The timestamp of these bytes, signed by an authority under one of the roots; raises `TimestampError`.

        1. The answer holds a timestamp by SHA-256, and one certificate that says it is its signer's.
        2. What it stamps is the hash of the bytes.
        3. The certificate leads to a root at that time, is one for timestamps, and its key signed.
        """
        response = _decoded(answer)
        signing = _signing_certificate(response, (*self._others, *self._roots))
        if signing is None:
            raise TimestampError("it holds no certificate of its signer", hint="Bring that certificate too.")
        timestamp = _read(response, signing)
        if timestamp.imprint != hashlib.sha256(message).digest():
            raise TimestampError(f"it stamps other bytes: those with the SHA-256 {timestamp.imprint.hex()}")
        self._verify_signature(response, signing, timestamp.imprint)
        return timestamp

    def _verify_signature(self, response: TimeStampResponse, signing: Certificate, imprint: bytes) -> None:
        """Against one root after the other: two of the same name would hide each other."""
        from rfc3161_client import VerificationError, VerifierBuilder

        brought = signing if signing in (*self._others, *self._roots) else None
        reason = ""
        for root in self._roots:
            builder = VerifierBuilder(tsa_certificate=brought, intermediates=self._others, roots=[root])
            try:
                with _outside_data():
                    builder.build().verify(response, imprint)
            except (VerificationError, TimestampError) as error:
                found = _REASON.findall(str(error))
                reason = next(filter(None, found[-1])) if found else str(error)
            else:
                return
        raise TimestampError(f"its signature does not lead to a root that was brought: {reason}", hint=_CHANGED)


def _decoded(answer: bytes) -> TimeStampResponse:
    """The parts of an answer that was granted and holds a token by SHA-256."""
    from rfc3161_client import PKIStatus, decode_timestamp_response

    with _outside_data():
        response = decode_timestamp_response(answer)
        status, said = PKIStatus(response.status), "; ".join(response.status_string)
        if status is not PKIStatus.GRANTED:
            raise TimestampError(
                f"the authority gave no timestamp: {status.name.lower()}{f' ({said!r:.300})' if said else ''}",
                hint=_ASK_AGAIN,
            )
        algorithm = response.tst_info.message_imprint.hash_algorithm.dotted_string
    if algorithm != _SHA_256:
        raise TimestampError(f"the hash that it stamps is none by SHA-256 but by {algorithm}", hint=_ASK_AGAIN)
    return response


def _read(response: TimeStampResponse, signing: Certificate | None) -> Timestamp:
    with _outside_data():
        info = response.tst_info
        subject = signing.subject if signing else _signer(response).issuer
        authority = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in subject.rfc4514_string())
        return Timestamp(info.message_imprint.message, info.gen_time, authority)


def _signing_certificate(response: TimeStampResponse, brought: tuple[Certificate, ...]) -> Certificate | None:
    """The certificate that the signer names by issuer and number, out of the answer or brought; None when not there.

    Two that are not the same are refused: one might be verified, and the other believed.
    """
    from cryptography.x509 import load_der_x509_certificate

    with _outside_data():
        signer = _signer(response)
        name = (signer.issuer, signer.serial_number)
        certificates = [*map(load_der_x509_certificate, response.signed_data.certificates), *brought]
        found = {one for one in certificates if (one.issuer, one.serial_number) == name}
    if len(found) > 1:
        raise TimestampError(f"{len(found)} different certificates say that they are its signer's")
    return next(iter(found), None)


def _signer(response: TimeStampResponse) -> SignerInfo:
    signers = list(response.signed_data.signer_infos)
    if len(signers) != 1:
        raise TimestampError(f"it has {len(signers)} signers; a timestamp has one")
    return signers[0]


@contextmanager
def _outside_data() -> Iterator[None]:
    """The boundary at which two libraries read bytes that came from outside, some only when a field is looked at.

    What they raise over bytes that they cannot make sense of has no common class: KeyError and InvalidVersion
    are among it. That an old certificate breaks a rule which later versions will insist on is no news.
    """
    from cryptography.utils import CryptographyDeprecationWarning
    from rfc3161_client import VerificationError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            yield
    except (TimestampError, VerificationError):
        raise
    except Exception as error:
        raise TimestampError(f"this is not a timestamp: {str(error)[:200]}", hint=_ASK_AGAIN) from error
