"""What an authority is asked, and which of its answers convince whom."""

from __future__ import annotations

import hashlib
import importlib.util
from datetime import timedelta

import msgspec
import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.e2e.authority import STAMPED_AT, SUBJECT, Authority, refusal

from elspeth.contracts import TimestampError, UsageError
from elspeth.core.timestamps import Timestamp, TimestampQuery, TrustedAuthorities, read_timestamp

MESSAGE = b"elspeth/run/01k9x\n5\n"
IMPRINT = hashlib.sha256(MESSAGE).digest()
EXPECTED = Timestamp(IMPRINT, STAMPED_AT, SUBJECT)
AUTHORITY = Authority()
TRUSTED = TrustedAuthorities.parse(AUTHORITY.root_pem)
QUERY = TimestampQuery.of(MESSAGE)
ANSWER = AUTHORITY.answer(QUERY.data)
CERTIFICATE_AT = ANSWER.index(AUTHORITY.certificate.public_bytes(Encoding.DER))


def test_a_query_asks_for_the_hash_a_nonce_and_the_certificate() -> None:
    asked = tsp.TimeStampReq.load(QUERY.data, strict=True)

    assert {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": "sha256", "parameters": None}, "hashed_message": IMPRINT},
        "req_policy": None,
        "nonce": QUERY.nonce,
        "cert_req": True,
        "extensions": None,
    } == asked.native
    assert QUERY.nonce != TimestampQuery.of(MESSAGE).nonce


def test_an_answer_to_the_query_is_taken() -> None:
    assert EXPECTED == QUERY.check(ANSWER)
    assert "2026-11-26T17:18:23Z" == EXPECTED.time


def test_an_answer_with_another_hash_or_nonce_is_not() -> None:
    with pytest.raises(TimestampError, match="stamps other bytes"):
        msgspec.structs.replace(QUERY, imprint=bytes(32)).check(ANSWER)
    with pytest.raises(TimestampError, match="has not the nonce"):
        TimestampQuery.of(MESSAGE).check(ANSWER)
    with pytest.raises(TimestampError, match="has not the nonce"):
        QUERY.check(AUTHORITY.answer(QUERY.data, nonce=None))


def test_a_refusal_says_why() -> None:
    with pytest.raises(TimestampError, match=r"gave no timestamp: rejection \('no such hash\\x1b'\)"):
        read_timestamp(refusal("no such hash\x1b"))


@pytest.mark.parametrize("answer", [b"", b"<html>", ANSWER[:-1], ANSWER + b"\0", b"0\x03\x02\x01\x00"])
def test_what_is_no_timestamp_is_refused(answer: bytes) -> None:
    with pytest.raises(TimestampError, match="this is not a timestamp"):
        read_timestamp(answer)


def test_a_timestamp_by_another_hash_is_refused() -> None:
    other = {"hash_algorithm": {"algorithm": "sha1"}, "hashed_message": bytes(20)}

    with pytest.raises(TimestampError, match="none by SHA-256 but by"):
        read_timestamp(AUTHORITY.answer(QUERY.data, message_imprint=other))


def test_a_trusted_root_is_enough() -> None:
    assert EXPECTED == TRUSTED.verify(ANSWER, MESSAGE)


def test_a_fraction_of_a_second_is_cut_off() -> None:
    answer = AUTHORITY.answer(QUERY.data, gen_time=STAMPED_AT + timedelta(milliseconds=250))

    assert EXPECTED == TRUSTED.verify(answer, MESSAGE)


def test_of_several_roots_one_has_to_be_the_right_one_even_if_all_have_its_name() -> None:
    roots = [Authority().root_pem, AUTHORITY.root_pem, Authority().root_pem]

    assert EXPECTED == TrustedAuthorities.parse(*roots).verify(ANSWER, MESSAGE)
    assert EXPECTED == TrustedAuthorities.parse(b"".join(roots)).verify(ANSWER, MESSAGE)


def test_other_bytes_are_not_what_was_stamped() -> None:
    with pytest.raises(TimestampError, match=f"it stamps other bytes: those with the SHA-256 {IMPRINT.hex()}"):
        TRUSTED.verify(ANSWER, MESSAGE + b"x")


def test_a_stranger_does_not_convince() -> None:
    with pytest.raises(TimestampError, match="does not lead to a root that was brought: certificate signature failure"):
        TRUSTED.verify(Authority().answer(QUERY.data), MESSAGE)


def test_an_answer_does_not_bring_its_own_root() -> None:
    """Neither a certificate that signed itself nor the root of a stranger is trusted because it came along."""
    alone, stranger = Authority(is_self_signed=True), Authority()

    for answer in (alone.answer(QUERY.data), stranger.answer(QUERY.data, more=(stranger.root,))):
        with pytest.raises(TimestampError, match="does not lead to a root that was brought"):
            TRUSTED.verify(answer, MESSAGE)


def test_a_certificate_that_signed_itself_is_a_root_when_it_is_brought() -> None:
    alone = Authority(is_self_signed=True)

    assert EXPECTED == TrustedAuthorities.parse(alone.certificate_pem).verify(alone.answer(QUERY.data), MESSAGE)


def test_a_certificate_for_something_else_signs_no_timestamp() -> None:
    mail = Authority(usage=x509.ExtendedKeyUsageOID.EMAIL_PROTECTION)

    with pytest.raises(TimestampError, match="unsuitable certificate purpose"):
        TrustedAuthorities.parse(mail.root_pem).verify(mail.answer(QUERY.data), MESSAGE)


@pytest.mark.parametrize("days", [-2, 2])
def test_the_certificate_must_have_been_valid_at_that_time(days: int) -> None:
    answer = AUTHORITY.answer(QUERY.data, gen_time=STAMPED_AT + timedelta(days=days))

    with pytest.raises(TimestampError, match=r"certificate (has expired|is not yet valid)"):
        TRUSTED.verify(answer, MESSAGE)


def test_an_answer_without_its_certificate_wants_it_brought() -> None:
    query = tsp.TimeStampReq.load(QUERY.data)
    query["cert_req"] = False
    answer = AUTHORITY.answer(query.dump())
    both = TrustedAuthorities.parse(AUTHORITY.certificate_pem, AUTHORITY.root_pem)

    with pytest.raises(TimestampError, match="holds no certificate of its signer"):
        TRUSTED.verify(answer, MESSAGE)
    assert EXPECTED == both.verify(answer, MESSAGE) == both.verify(ANSWER, MESSAGE)
    assert Timestamp(IMPRINT, STAMPED_AT, AUTHORITY.root.subject.rfc4514_string()) == read_timestamp(answer)


def test_two_certificates_of_one_issuer_and_number_are_refused() -> None:
    """One of them might be verified, and the subject of the other be shown."""
    certificate = AUTHORITY.certificate
    copy = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=Somebody famous"))
        .issuer_name(certificate.issuer)
        .serial_number(certificate.serial_number)
        .public_key(certificate.public_key())
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .sign(AUTHORITY.key, certificate.signature_hash_algorithm)
    )

    with pytest.raises(TimestampError, match="2 different certificates"):
        TRUSTED.verify(AUTHORITY.answer(QUERY.data, more=(copy,)), MESSAGE)


def test_a_subject_cannot_move_the_cursor() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Stamps\x1b[2J\nof Gda\u0144sk")])
    odd = Authority(subject=name)

    found = TrustedAuthorities.parse(odd.root_pem).verify(odd.answer(QUERY.data), MESSAGE)
    assert "CN=Stamps\\x1b[2J\\nof Gda\u0144sk" == found.authority


def test_a_root_must_be_brought() -> None:
    with pytest.raises(UsageError, match="lead to no root") as refused:
        TrustedAuthorities.parse(AUTHORITY.certificate_pem)
    assert "the certificate of CN=Root of Gdansk,O=Office of Time that is signed by itself" in str(refused.value.hint)
    with pytest.raises(UsageError, match="no certificate in PEM"):
        TrustedAuthorities.parse(AUTHORITY.root_pem, b"nonsense")


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    for ask in (lambda: TimestampQuery.of(MESSAGE), lambda: TrustedAuthorities.parse(AUTHORITY.root_pem)):
        with pytest.raises(UsageError, match="need the package rfc3161-client") as refused:
            ask()
        assert "pip install 'elspeth[timestamp]'" == refused.value.hint


@example(CERTIFICATE_AT + 12, 1)  # another version of certificates
@example(CERTIFICATE_AT + 15, 128)  # a negative serial number
@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 255))
def test_a_changed_answer_says_nothing_else(at: int, change: int) -> None:
    """Some bits are not signed, such as those of the status's encoding. They tell of nothing that is reported."""
    changed = bytearray(ANSWER)
    changed[at] ^= change
    try:
        found = TRUSTED.verify(bytes(changed), MESSAGE)
    except TimestampError:
        return
    assert EXPECTED == found


@settings(max_examples=25)
@given(st.integers(-80_000, 80_000).map(timedelta(seconds=1).__mul__), st.binary(max_size=100))
def test_any_message_and_time_come_back(later: timedelta, message: bytes) -> None:
    query = TimestampQuery.of(message)
    answer = AUTHORITY.answer(query.data, gen_time=STAMPED_AT + later)

    expected = Timestamp(hashlib.sha256(message).digest(), STAMPED_AT + later, SUBJECT)
    assert expected == query.check(answer) == TRUSTED.verify(answer, message)
