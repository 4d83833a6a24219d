"""This module makes identity documents that are wrong in one way, signed as their owner could sign them."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import SSlibKey

from tests.support.organisations import NOW, YEAR
from tocsin.errors import MalformedIdentity
from tocsin.identity.root import parse_identity
from tocsin.identity.version import make_version


def chain_of(document):
    return json.loads(document)["chain"]


def document_of(*chain):
    return json.dumps({"format": "tocsin-identity/v1", "chain": chain}).encode()


def signed_version(details, *, number, signers, root_keys=None, threshold=2, expires=NOW + YEAR, change=None):
    """Make a version by hand, with whatever signatures and changes are asked for."""
    keys = [root.public_key for root in (root_keys or signers)]
    value = make_version(
        details, number=number, expires=expires, root_keys=keys, threshold=threshold, signers=[] if change else signers
    )
    if change:
        change(value["signed"])
        value = sign_again(value["signed"], signers)
    return value


def sign_again(signed, signers):
    """Sign changed root metadata as its own owner would."""
    payload = encode_canonical(signed).encode()
    signatures = [
        {
            "keyid": SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(root.public_key)).keyid,
            "sig": root.sign(payload).hex(),
        }
        for root in signers
    ]
    return {"signatures": signatures, "signed": signed}


def assert_refused(document, *, reason="BAD_IDENTITY", words="", now=NOW):
    with pytest.raises(MalformedIdentity) as refusal:
        parse_identity(document, now=now)
    assert refusal.value.reason == reason
    assert words in refusal.value.message
