"""This module makes the TLS certificates of nodes, and checks those of others.

Every node presents a self-signed leaf on P-256 (BoringSSL, inside gRPC, has
no Ed25519 certificates). Trust is in its key alone: the pin, the SHA-256 of
the SubjectPublicKeyInfo, stands in the identity document. A peer's
certificate is handed to TLS as a root so that its handshake passes. What its
key signs for others is refused there, but for its key usage only: BoringSSL
does not mind that a root is no CA. So the key usage is checked before a
certificate becomes a root, and even then the pin says who is calling.

    subject, issuer    CN=<pin>      one for each key: TLS finds a root by its subject, and a node
                                     knows many roots, two of one organisation during a rotation
    subjectAltName     DNS:<org>     what a client overrides the target name with
    basicConstraints   CA:FALSE      keyUsage digitalSignature, extKeyUsage server and client
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tocsin.errors import MalformedIdentity
from tocsin.identity.names import OrgId

DAY = 86_400
# Twice the life of an identity document: a renewed document need not bring a new certificate with it.
CERTIFICATE_DAYS = 730
# A peer whose clock is behind must not refuse what was made today.
BACKDATED = DAY
# RFC 5280 section 4.1.2.2: a positive serial number of at most 20 bytes.
_SERIAL_BYTES = 20
# Ours have about 450 bytes; the limit keeps a document of many certificates small.
_MAX_CERTIFICATE = 4096

# How the library says that bytes are no certificate, or one that it does not know.
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class TlsKeys:
    """What a node presents to others: its private key and its certificate, both PEM."""

    key: bytes = field(repr=False)
    certificate: bytes


def make_certificate(
    org: OrgId,
    *,
    private_key: ec.EllipticCurvePrivateKey,
    now: int,
    random: Callable[[int], bytes],
    days: int = CERTIFICATE_DAYS,
) -> bytes:
    """Return the DER of a self-signed leaf for a P-256 key.

    The signature is deterministic (RFC 6979): the same arguments make the same certificate.
    """
    name = _name_of(private_key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    both_sides = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=private_key.public_key())
        .serial_number(int.from_bytes(random(_SERIAL_BYTES), "big") >> 1 or 1)
        .not_valid_before(datetime.fromtimestamp(now - BACKDATED, UTC))
        .not_valid_after(datetime.fromtimestamp(now + days * DAY, UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(both_sides, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(org)]), critical=False)
    )
    certificate = builder.sign(private_key, hashes.SHA256(), ecdsa_deterministic=True)
    return certificate.public_bytes(Encoding.DER)


def verify_certificate(der: bytes, *, org: OrgId) -> None:
    """Refuse a certificate that must not become a TLS root: not a P-256 leaf for the organisation, made by its key.

    Without the last, an organisation could name the key of another in its own
    document and so answer for its calls, or take the subject of another's
    certificate: of two roots with one subject TLS finds only the first, which
    would lock the other out. Its dates are left to TLS.

    Raises MalformedIdentity.
    """
    if len(der) > _MAX_CERTIFICATE:
        raise _malformed(f"has more than {_MAX_CERTIFICATE} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        extensions = certificate.extensions
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    except _UNREADABLE as error:
        raise _malformed("is not one that a node presents") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _malformed("is not for a P-256 key")
    if is_ca or usage.key_cert_sign or not usage.digital_signature:
        raise _malformed("is a CA's: it could vouch for others")
    if names != [org]:
        raise _malformed(f"is not for {org} alone")
    if certificate.subject != _name_of(key):
        raise _malformed("does not have its key's pin as its name")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (TypeError, InvalidSignature, *_UNREADABLE) as error:
        raise _malformed("is not signed by its own key") from error


def spki_pin(der: bytes) -> str:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo in hex: the one thing that says who is calling.

    Raises MalformedIdentity for bytes that are no certificate.
    """
    try:
        return key_pin(x509.load_der_x509_certificate(der).public_key())
    except _UNREADABLE as error:
        raise _malformed("cannot be read") from error


def certificate_pem(der: bytes) -> bytes:
    """Return a certificate as gRPC takes it."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _name_of(public_key: CertificatePublicKeyTypes) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, key_pin(public_key))])


def key_pin(public_key: CertificatePublicKeyTypes) -> str:
    """Return the pin of a public key: that of every certificate for it."""
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def _malformed(problem: str) -> MalformedIdentity:
    return MalformedIdentity(f"a node's certificate {problem}", reason="BAD_IDENTITY")
