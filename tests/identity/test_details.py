from dataclasses import replace

import pytest

from tests.identity.forging import assert_refused, document_of, signed_version
from tests.support.organisations import NOW, YEAR, make_details, record_key, signer
from tocsin.encoding import encode_base64url
from tocsin.errors import MalformedIdentity
from tocsin.identity.details import index_keys
from tocsin.identity.root import found_organisation, parse_identity
from tocsin.identity.vkey import NoteAlgorithm, format_vkey


def with_key(**changes):
    def change(member):
        key = member["record_keys"][0] | changes
        member["record_keys"][0] = {name: value for name, value in key.items() if value is not None}

    return change


def with_member(**changes):
    return lambda member: member.update(changes)


def former_vkeys(count, *, name="lab-a.example/tocsin", algorithm=NoteAlgorithm.ED25519):
    keys = (signer(f"former {name} {number}").public_key for number in range(count))
    return [format_vkey(name, algorithm=algorithm, public_key=key) for key in keys]


OTHERS_KEY = encode_base64url(signer("somebody").public_key)
MEMBERS = {
    "no organisation": (with_member(org=None), "org is missing"),
    "an organisation in upper case": (with_member(org="Lab-A.example"), "organisation id"),
    "an unknown kind": (with_member(kind="company"), "kind is none of"),
    "an empty name": (with_member(name=""), "name is not one line"),
    "a name with an escape": (with_member(name="Lab\x1b[2J"), "name is not one line"),
    "a name that runs backwards": (with_member(name="Lab \u202eA"), "name is not one line"),
    "a name of two lines": (with_member(name="Lab\nA"), "name is not one line"),
    "a contact that is a number": (with_member(contact=7), "contact is missing"),
    "an endpoint without a port": (with_member(endpoints=["lab-a.example"]), "not an endpoint"),
    "an endpoint twice": (with_member(endpoints=["a.example:1"] * 2), "one twice"),
    "nine endpoints": (with_member(endpoints=[f"a.example:{n}" for n in range(1, 10)]), "at most 8"),
    "no record key": (with_member(record_keys=[]), "1 to 64 keys"),
    "no delivery key": (with_member(delivery_keys=[]), "1 to 64 keys"),
    "a key that is a text": (with_member(record_keys=["x"]), "not a JWK"),
    "a key under another id": (with_key(kid="x" * 43), "not its thumbprint"),
    "a key under no id": (with_key(kid=None), "not its thumbprint"),
    "another key under the id": (with_key(x=OTHERS_KEY), "not its thumbprint"),
    "a private key": (with_key(d=OTHERS_KEY), "private key"),
    "an elliptic curve key": (with_key(kty="EC", crv="P-256"), "not those of an Ed25519 key"),
    "a key of unknown status": (with_key(status="good"), "status is none of"),
    "revoked, but since when": (with_key(status="revoked"), "revoked_at does not go with it"),
    "active, but revoked": (with_key(revoked_at=NOW), "revoked_at does not go with it"),
    "a time that is true": (with_key(nbf=True), "nbf is missing"),
    "a time before all times": (with_key(nbf=-1), "ends before it begins"),
    "a time that never begins": (with_key(nbf=NOW, exp=NOW), "ends before it begins"),
    "no certificate": (with_member(node_certs=[]), "node_certs is empty"),
    "a certificate that is none": (with_member(node_certs=["AAAA"]), "certificate"),
    "a certificate in padded base64": (with_member(node_certs=["AAA="]), "base64url"),
    "another's certificate": (
        lambda member: member.update(node_certs=make_details("lab-b.example").to_member()["node_certs"]),
        "not for lab-a.example alone",
    ),
    "the log of another": (
        lambda member: member.update(log_vkey=make_details("lab-b.example").log_vkey),
        "verifier key for lab-a.example/tocsin",
    ),
    "the log's key as witness": (
        lambda member: member.update(witness_vkey=member["log_vkey"]),
        "lab-a.example/witness",
    ),
    "one key for two purposes": (
        lambda member: member.update(delivery_keys=member["record_keys"]),
        "one key serves two purposes",
    ),
    "no former key of the log": (with_member(former_log_vkeys=[]), "former_log_vkeys is empty"),
    "former keys that are no list": (with_member(former_log_vkeys="x"), "at most 64 texts"),
    "a former key that is none": (with_member(former_log_vkeys=["x"]), "verifier key for lab-a.example/tocsin"),
    "the former log of another": (
        lambda member: member.update(former_log_vkeys=[make_details("lab-b.example").log_vkey]),
        "verifier key for lab-a.example/tocsin",
    ),
    "a former key of the log as witness": (
        lambda member: member.update(former_witness_vkeys=[member["log_vkey"]]),
        "lab-a.example/witness",
    ),
    "a former key that is the current one": (
        lambda member: member.update(former_log_vkeys=[member["log_vkey"]]),
        "one key serves two purposes",
    ),
    "a former key twice": (lambda member: member.update(former_log_vkeys=former_vkeys(1) * 2), "one twice"),
    "too many former keys": (lambda member: member.update(former_log_vkeys=former_vkeys(65)), "at most 64 texts"),
    "a log that signs from true on": (with_member(log_vkey_from=True), "log_vkey_from is missing"),
    "a witness that signs before all times": (with_member(witness_vkey_from=-1), "witness_vkey_from is no time"),
    "a key twice": (lambda member: member.update(record_keys=member["record_keys"] * 2), "a key stands there twice"),
}


@pytest.mark.parametrize(("change", "words"), MEMBERS.values(), ids=MEMBERS)
def test_what_an_organisation_says_of_itself_must_be_well_formed(lab, change, words):
    version = signed_version(
        lab.organisation, number=1, signers=lab.roots, change=lambda signed: change(signed["x-tocsin"])
    )
    assert_refused(document_of(version), words=words)


def test_x_tocsin_must_be_there_and_be_an_object(lab):
    for change in (lambda signed: signed.pop("x-tocsin"), lambda signed: signed.update({"x-tocsin": []})):
        version = signed_version(lab.organisation, number=1, signers=lab.roots, change=change)
        assert_refused(document_of(version), words="x-tocsin is not an object")


@pytest.mark.parametrize("name", ["record_keys", "delivery_keys"])
def test_a_weak_key_of_any_purpose_is_refused(lab, name):
    def weaken(signed):
        signed["x-tocsin"][name][0]["x"] = encode_base64url(bytes(32))

    version = signed_version(lab.organisation, number=1, signers=lab.roots, change=weaken)
    assert_refused(document_of(version), reason="WEAK_KEY")


def test_a_root_key_signs_no_records(lab):
    said = replace(make_details("lab-a.example"), record_keys=index_keys([record_key(lab.roots[0])]))
    with pytest.raises(MalformedIdentity) as refusal:
        found_organisation(said, signers=lab.roots, threshold=2, now=NOW)
    assert "one key serves two purposes" in refusal.value.message


def test_former_keys_of_log_and_witness_verify_after_the_current_one(lab):
    logs = former_vkeys(2)
    witnesses = former_vkeys(1, name="lab-a.example/witness", algorithm=NoteAlgorithm.COSIGNATURE_V1)
    said = replace(
        make_details("lab-a.example"),
        former_log_vkeys=tuple(logs),
        former_witness_vkeys=tuple(witnesses),
        log_vkey_from=NOW + 7,
    )
    read = parse_identity(found_organisation(said, signers=lab.roots, threshold=2, now=NOW), now=NOW)
    assert read.log_vkeys == (said.log_vkey, *logs)
    assert read.witness_vkeys == (said.witness_vkey, *witnesses)
    assert (read.log_vkey_from, read.witness_vkey_from) == (NOW + 7, None)
    assert read.to_member() == said.to_member()


def test_a_document_without_former_keys_is_the_same_as_before_there_were_any(lab):
    member = lab.organisation.to_member()
    assert not [name for name in member if "former" in name or "from" in name]
    assert lab.organisation.log_vkeys == (lab.organisation.log_vkey,)


def test_a_former_key_of_the_log_signs_no_records(lab):
    vkey = format_vkey("lab-a.example/tocsin", algorithm=NoteAlgorithm.ED25519, public_key=lab.record.public_key)
    said = replace(make_details("lab-a.example"), former_log_vkeys=(vkey,))
    with pytest.raises(MalformedIdentity, match="one key serves two purposes") as refusal:
        found_organisation(said, signers=lab.roots, threshold=2, now=NOW)
    assert refusal.value.reason == "BAD_IDENTITY"


@pytest.mark.parametrize(
    ("status", "moment", "valid"),
    [
        ("active", NOW - 1, False),
        ("active", NOW, True),
        ("active", NOW + 2 * YEAR, True),
        ("active", NOW + 2 * YEAR + 1, False),
        ("retired", NOW, True),
        ("retired", NOW + 2 * YEAR + 1, False),
        ("revoked", NOW, False),
        ("revoked", NOW + 50, False),
    ],
)
def test_a_key_speaks_in_its_time_unless_it_is_revoked(status, moment, valid):
    key = record_key(signer("key"), status=status, revoked_at=NOW + 100 if status == "revoked" else None)
    assert key.is_valid_at(moment) is valid


@pytest.mark.parametrize(
    ("logged_at", "moment", "valid"),
    [
        (NOW + 99, NOW, True),
        (NOW + 100, NOW, False),
        (NOW + 101, NOW, False),
        (None, NOW, False),
        (NOW + 99, NOW - 1, False),
        (NOW + 99, NOW + 2 * YEAR + 1, False),
    ],
)
def test_what_a_revoked_key_signed_in_its_time_counts_where_it_was_logged_before(logged_at, moment, valid):
    key = record_key(signer("key"), status="revoked", revoked_at=NOW + 100)
    assert key.is_valid_at(moment, logged_at=logged_at) is valid


def test_that_something_was_logged_makes_no_other_key_valid():
    key = record_key(signer("key"))
    assert key.is_valid_at(NOW, logged_at=NOW + 5 * YEAR)
    assert not key.is_valid_at(NOW - 1, logged_at=NOW)
