"""A time-stamping authority (RFC 3161) as a test wants one: its certificates, its answers, its server.

Its answers are encoded by another library than the one that reads them in the product, and are
those of a real authority: `openssl ts -verify` takes them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

STAMPED_AT = datetime(2026, 11, 26, 17, 18, 23, tzinfo=UTC)
SUBJECT = "CN=Stamps of Gdansk,O=Office of Time"
SUBJECT_NAME = x509.Name.from_rfc4514_string(SUBJECT)
SHA_256 = algos.DigestAlgorithm({"algorithm": "sha256"})


class Authority:
    """A root, and the certificate under it that signs timestamps; it says that it is always `STAMPED_AT`."""

    def __init__(
        self,
        *,
        usage: x509.ObjectIdentifier = x509.ExtendedKeyUsageOID.TIME_STAMPING,
        is_self_signed: bool = False,
        subject: x509.Name = SUBJECT_NAME,
    ) -> None:
        root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        root = x509.Name.from_rfc4514_string("CN=Root of Gdansk,O=Office of Time")
        is_root = x509.BasicConstraints(ca=True, path_length=None)
        self.root = _builder(root, root_key, issuer=root).add_extension(is_root, critical=True).sign(root_key, SHA256())
        signing = _builder(subject, self.key, issuer=subject if is_self_signed else root)
        signing = signing.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        self.certificate = signing.sign(self.key if is_self_signed else root_key, SHA256())

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def answer(self, query: bytes, *, more: tuple[x509.Certificate, ...] = (), **changes: object) -> bytes:
        """The answer to a query: with ``more`` certificates, other fields of what is signed where a test wants lies."""
        asked = tsp.TimeStampReq.load(query, strict=True)
        info = {
            "version": "v1",
            "policy": "1.3.6.1.4.1.13762.3",
            "message_imprint": asked["message_imprint"],
            "serial_number": 4711,
            "gen_time": STAMPED_AT,
            "nonce": asked["nonce"],
            **changes,
        }
        info = {name: value for name, value in info.items() if value is not None}
        embedded = [self.certificate, *more] if asked["cert_req"].native else more
        return self._signed(tsp.TSTInfo(info).dump(), list(map(_reencoded, embedded)))

    def _signed(self, info: bytes, embedded: list[asn1_x509.Certificate]) -> bytes:
        certificate = _reencoded(self.certificate)
        named = tsp.SigningCertificateV2({"certs": [{"cert_hash": hashlib.sha256(certificate.dump()).digest()}]})
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(info).digest()]}),
                cms.CMSAttribute({"type": "signing_certificate_v2", "values": [named]}),
            ]
        )
        signer = {
            "version": "v1",
            "sid": {
                "issuer_and_serial_number": {
                    "issuer": certificate.issuer,
                    "serial_number": certificate.serial_number,
                }
            },
            "digest_algorithm": SHA_256,
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self.key.sign(attributes.dump(), ec.ECDSA(SHA256())),
        }
        signed = {
            "version": "v3",
            "digest_algorithms": [SHA_256],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info)},
            "certificates": embedded or None,
            "signer_infos": [signer],
        }
        token = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})
        return tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()


class _WithoutTimestamp(core.Sequence):
    _fields = [("status", tsp.PKIStatusInfo)]  # noqa: RUF012


def refusal(reason: str) -> bytes:
    """An answer without a timestamp."""
    status = {"status": "rejection", "status_string": [reason], "fail_info": {"bad_alg"}}
    return _WithoutTimestamp({"status": status}).dump()


Respond = Callable[[bytes], bytes | tuple[int, bytes]]


class AuthorityServer:
    """Answers POST requests on loopback as ``respond`` says: 200 and a body, or another status; keeps what came."""

    def __init__(self, respond: Respond) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                answer = respond(body)
                status, content = answer if isinstance(answer, tuple) else (200, answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_port}/stamp"

    def __enter__(self) -> AuthorityServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _reencoded(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(STAMPED_AT - timedelta(days=1))
        .not_valid_after(STAMPED_AT + timedelta(days=1))
    )
