"""Facts about node certificates: what they are, what is refused, and what TLS in gRPC makes of them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.organisations import NOW, seeded
from tocsin.errors import MalformedIdentity
from tocsin.identity.certificate import certificate_pem, key_pin, make_certificate, spki_pin, verify_certificate
from tocsin.identity.keys import generate_p256
from tocsin.identity.names import parse_org

ORG = parse_org("lab-a.example")
KEY = generate_p256(seeded("tls"))
WHOAMI = "/tocsin.test/WhoAmI"


def certificate(org=ORG, *, key=KEY, now=NOW, serial="serial"):
    return make_certificate(org, private_key=key, now=now, random=seeded(serial))


def test_a_certificate_is_a_self_signed_leaf_for_both_sides_of_a_connection():
    read = x509.load_der_x509_certificate(certificate())
    read.verify_directly_issued_by(read)
    usage = read.extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert read.not_valid_before_utc == datetime.fromtimestamp(NOW - 86_400, UTC)
    assert read.not_valid_after_utc == datetime.fromtimestamp(NOW + 730 * 86_400, UTC)
    assert read.serial_number.bit_length() < 160
    verify_certificate(certificate(), org=ORG)


def test_a_certificate_is_the_same_when_made_again_and_its_pin_is_its_keys():
    assert certificate() == certificate()
    assert certificate() != certificate(serial="other")
    assert spki_pin(certificate()) == spki_pin(certificate(serial="other")) == key_pin(KEY.public_key())
    assert spki_pin(certificate(key=generate_p256(seeded("other")))) != spki_pin(certificate())


def test_a_name_of_any_length_has_a_certificate():
    longest = parse_org(".".join(["a" * 62] * 4))
    verify_certificate(certificate(longest), org=longest)


NO_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


def other_leaf(*, key=KEY, signing=None, ca=False, names=(ORG,), pin="", usage="digital_signature", now=NOW):
    """Make a certificate that is not of our form."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, pin or key_pin(key.public_key()))])
    builder = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(datetime.fromtimestamp(now - 1000, UTC))
        .not_valid_after(datetime.fromtimestamp(now + 1000, UTC))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(dns) for dns in names])
        builder = builder.add_extension(alternatives, critical=False)
    if usage:
        builder = builder.add_extension(x509.KeyUsage(**NO_USAGE | dict.fromkeys(usage.split(), True)), critical=True)
    signing = signing or key
    digest = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signing, digest).public_bytes(Encoding.DER)


STRANGER = generate_p256(seeded("stranger"))
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(seeded("ed25519")(32))
BAD = {
    "empty": (b"", "is not one"),
    "no certificate": (b"\x30\x00", "is not one"),
    "cut short": (certificate()[:-1], "is not one"),
    "something behind": (certificate() + b"\0", "is not one"),
    "too large": (bytes(5000), "more than 4096 bytes"),
    "PEM": (certificate_pem(certificate()), "is not one"),
    "no name": (other_leaf(names=()), "is not one"),
    "an Ed25519 key": (other_leaf(key=ED25519), "not for a P-256 key"),
    "a P-384 key": (other_leaf(key=ec.generate_private_key(ec.SECP384R1())), "not for a P-256 key"),
    "a CA": (other_leaf(ca=True), "is a CA's"),
    "no CA, but its key may sign certificates": (other_leaf(usage="digital_signature key_cert_sign"), "is a CA's"),
    "a key that may sign certificates only": (other_leaf(usage="key_cert_sign"), "is a CA's"),
    "a key for everything": (other_leaf(usage=""), "is not one"),
    "another organisation": (certificate(parse_org("lab-b.example")), "not for lab-a.example alone"),
    "another organisation as well": (other_leaf(names=(ORG, "lab-b.example")), "not for lab-a.example alone"),
    "another key's subject": (other_leaf(pin=key_pin(STRANGER.public_key())), "does not have its key's pin"),
    "a key that the signer does not have": (other_leaf(signing=STRANGER), "not signed by its own key"),
}


@pytest.mark.parametrize(("der", "words"), BAD.values(), ids=BAD)
def test_a_certificate_that_must_not_become_a_root_is_refused(der, words):
    with pytest.raises(MalformedIdentity) as refusal:
        verify_certificate(der, org=ORG)
    assert refusal.value.reason == "BAD_IDENTITY"
    assert words in refusal.value.message


# What TLS in gRPC makes of them. These certificates are of today: the library looks at the clock.

TODAY = int(datetime.now(UTC).timestamp())
OTHER = parse_org("lab-b.example")
OTHER_KEY = generate_p256(seeded("lab-b tls"))


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def today(org, key, **changes):
    return certificate_pem(certificate(org, key=key, now=TODAY, **changes))


@contextmanager
def server(*, key=KEY, chain=None, roots):
    """Serve one call, which answers with the caller's pin and the version of TLS."""

    def who_am_i(_, context):
        found = context.auth_context()
        der = x509.load_pem_x509_certificate(found["x509_pem_cert"][0]).public_bytes(Encoding.DER)
        return f"{spki_pin(der)} {found['ssl_tls_version'][0].decode()}".encode()

    handlers = {"WhoAmI": grpc.unary_unary_rpc_method_handler(who_am_i)}
    with ThreadPoolExecutor(1) as pool:
        serving = grpc.server(pool)
        serving.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tocsin.test", handlers)])
        credentials = grpc.ssl_server_credentials(
            [(pem(key), chain or today(ORG, key))], root_certificates=roots, require_client_auth=True
        )
        port = serving.add_secure_port("127.0.0.1:0", credentials)
        serving.start()
        yield port
        serving.stop(None).wait()


def call(port, *, key=OTHER_KEY, chain=None, roots, org=ORG):
    credentials = grpc.ssl_channel_credentials(roots, pem(key), chain or today(OTHER, key))
    options = [("grpc.ssl_target_name_override", org), ("grpc.enable_retries", 0)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        return channel.unary_unary(WHOAMI)(b"", timeout=5).decode()


def test_a_leaf_that_is_no_ca_is_its_own_root_on_both_sides_over_tls_1_3():
    with server(roots=today(OTHER, OTHER_KEY)) as port:
        answer = call(port, roots=today(ORG, KEY))
    assert answer == f"{key_pin(OTHER_KEY.public_key())} TLSv1.3"


def test_a_root_is_found_among_those_of_many_peers_and_of_a_rotation():
    others = [today(parse_org(f"lab-{n}.example"), generate_p256(seeded(f"lab {n}"))) for n in range(20)]
    old = today(OTHER, generate_p256(seeded("old")))
    with server(roots=b"".join([*others, old, today(OTHER, OTHER_KEY)])) as port:
        answer = call(port, roots=b"".join([today(ORG, generate_p256(seeded("next"))), today(ORG, KEY)]))
    assert answer.startswith(key_pin(OTHER_KEY.public_key()))


def test_a_stranger_gets_no_connection():
    with server(roots=today(OTHER, OTHER_KEY)) as port, pytest.raises(grpc.RpcError) as refusal:
        call(port, key=STRANGER, roots=today(ORG, KEY))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_of_another_key_or_another_name_is_not_believed():
    with server(roots=today(OTHER, OTHER_KEY)) as port:
        for roots, org in ((today(ORG, STRANGER), ORG), (today(ORG, KEY), OTHER)):
            with pytest.raises(grpc.RpcError) as refusal:
                call(port, roots=roots, org=org)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


def minted(*, by, issuer_org):
    """Make a certificate for the stranger's key, signed by a node's key as if it were a CA's."""
    issuer = x509.load_pem_x509_certificate(today(issuer_org, by)).subject
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "minted")])
    builder = (
        x509.CertificateBuilder(
            subject_name=name, issuer_name=issuer, public_key=STRANGER.public_key(), serial_number=7
        )
        .not_valid_before(datetime.fromtimestamp(TODAY - 86_400, UTC))
        .not_valid_after(datetime.fromtimestamp(TODAY + 86_400, UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(ORG)]), critical=False)
    )
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("sent", [b"", today(OTHER, OTHER_KEY)], ids=["alone", "with the peer's own"])
def test_what_a_peers_key_signs_for_others_gets_no_connection(sent):
    chain = minted(by=OTHER_KEY, issuer_org=OTHER) + sent
    with server(roots=today(OTHER, OTHER_KEY)) as port, pytest.raises(grpc.RpcError) as refusal:
        call(port, key=STRANGER, chain=chain, roots=today(ORG, KEY))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


def test_only_the_key_usage_keeps_a_peers_key_from_signing_for_others():
    der = other_leaf(key=OTHER_KEY, names=(OTHER,), usage="", now=TODAY)
    with pytest.raises(MalformedIdentity):
        verify_certificate(der, org=OTHER)
    with server(roots=certificate_pem(der)) as port:
        answer = call(port, key=STRANGER, chain=minted(by=OTHER_KEY, issuer_org=OTHER), roots=today(ORG, KEY))
    assert answer.startswith(key_pin(STRANGER.public_key()))  # TLS lets it in, and the pin says who it is
