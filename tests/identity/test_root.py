import json
from dataclasses import replace

import pytest
from tuf.api.metadata import Metadata, Root

from tests.identity.forging import assert_refused, chain_of, document_of, signed_version
from tests.support.organisations import NOW, YEAR, found, make_details, record_key, seeded, signer
from tocsin.errors import IdentityOutdated, MalformedIdentity
from tocsin.identity.certificate import make_certificate, spki_pin
from tocsin.identity.details import index_keys
from tocsin.identity.keys import generate_p256
from tocsin.identity.root import found_organisation, next_version, parse_identity, update_identity

LATER = NOW + 1000


# What holds together


def test_a_founded_organisation_reads_back_as_what_was_said(lab):
    organisation = lab.organisation
    details = make_details("lab-a.example", endpoints=("lab-a.example:7443",))
    assert organisation.to_member() == details.to_member()
    assert (organisation.version, organisation.expires) == (1, NOW + YEAR)
    assert organisation.record_keys[lab.record.key_id].public_key == lab.record.public_key
    assert organisation.pins == {spki_pin(organisation.node_certs[0])}
    assert parse_identity(organisation.document, now=NOW) == organisation


def test_of_a_document_that_was_read_before_it_is_asked_again_whether_it_has_expired(lab):
    document = lab.organisation.document
    for _ in range(2):
        assert parse_identity(document, now=NOW + YEAR - 1) == lab.organisation
        with pytest.raises(IdentityOutdated) as refusal:
            parse_identity(document, now=NOW + YEAR)
        assert refusal.value.reason == "IDENTITY_OUTDATED"
        assert parse_identity(document, now=NOW + YEAR, check_expiry=False) == lab.organisation


def test_python_tuf_reads_and_verifies_the_chain_without_us(lab):
    document = next_version(lab.organisation, lab.organisation, signers=lab.roots[1:], now=LATER)
    previous = None
    for value in chain_of(document):
        metadata = Metadata[Root].from_bytes(json.dumps(value).encode())
        result = metadata.signed.get_root_verification_result(previous, metadata.signed_bytes, metadata.signatures)
        assert result.verified
        previous = metadata.signed
    assert previous.version == 2
    for role in ("timestamp", "snapshot", "targets"):
        assert previous.roles[role].keyids == []


def test_white_space_and_the_order_of_names_do_not_matter(lab):
    text = json.dumps(json.loads(lab.document), indent=2, sort_keys=True).encode()
    assert parse_identity(text, now=NOW).fingerprint == lab.organisation.fingerprint


def test_a_member_of_a_newer_version_of_tocsin_is_left_alone(lab):
    def add(signed):
        signed["x-tocsin"]["people"] = [{"role": "releaser"}]
        signed["x-later"] = 1

    version = signed_version(lab.organisation, number=1, signers=lab.roots, change=add)
    organisation = parse_identity(document_of(version), now=NOW)
    assert b"people" in organisation.document


def test_root_keys_can_all_be_replaced_when_old_and_new_sign(lab):
    new = [signer("new root 1"), signer("new root 2")]
    document = next_version(
        lab.organisation,
        lab.organisation,
        signers=[*lab.roots[:2], *new],
        root_keys=[root.public_key for root in new],
        now=LATER,
    )
    second = parse_identity(document, now=LATER)
    third = next_version(second, second, signers=new, now=LATER)
    assert parse_identity(third, now=LATER).version == 3
    with pytest.raises(MalformedIdentity):
        next_version(second, second, signers=lab.roots, now=LATER)


def test_a_chain_may_have_expired_in_the_middle_but_not_at_its_end(lab):
    first = signed_version(lab.organisation, number=1, signers=lab.roots, expires=NOW - 1)
    second = signed_version(lab.organisation, number=2, signers=lab.roots, expires=NOW + 1)
    assert parse_identity(document_of(first, second), now=NOW).version == 2
    for now in (NOW + 1, NOW + YEAR):
        with pytest.raises(IdentityOutdated) as refusal:
            parse_identity(document_of(first, second), now=now)
        assert refusal.value.reason == "IDENTITY_OUTDATED"
    assert parse_identity(document_of(first, second), now=NOW + YEAR, check_expiry=False).expires == NOW + 1


# What does not


def attacks(lab):
    """Return named chains, each wrong in one way, with words of the refusal."""
    said, roots = lab.organisation, lab.roots
    strangers = [signer(f"stranger {number}") for number in range(3)]
    mine = chain_of(lab.document)[0]
    theirs = chain_of(found("lab-b.example").document)[0]

    def second(**changes):
        return signed_version(said, **({"number": 2, "signers": roots} | changes))

    def changed(change):
        return [signed_version(said, number=1, signers=roots, change=change)]

    by_old_only = signed_version(said, number=2, signers=roots, root_keys=strangers)
    by_new_only = signed_version(said, number=2, signers=strangers)
    by_one_old = signed_version(said, number=2, signers=[roots[0], *strangers], root_keys=strangers)
    return {
        "no version": ([], "1 to 256 versions"),
        "first version missing": ([second()], "version 2 stands where version 1"),
        "a version skipped": ([mine, second(number=3)], "version 3 stands where version 2"),
        "a version twice": ([mine, mine], "version 1 stands where version 2"),
        "two different second versions": ([mine, second(), second(expires=NOW + 5)], "stands where version 3"),
        "versions in the wrong order": ([second(), mine], "stands where version 1"),
        "version 0": ([second(number=1, change=lambda s: s.update(version=0))], "not TUF root metadata"),
        "version true": (changed(lambda s: s.update(version=True)), "not an integer"),
        "version as text": (changed(lambda s: s.update(version="1")), "not TUF root metadata"),
        "version 1 not signed by enough": ([second(number=1, signers=roots[:1], root_keys=roots)], "its own root keys"),
        "version 2 not signed by enough of version 1": ([mine, by_one_old], "root keys of version 1"),
        "version 2 signed by strangers only": ([mine, by_new_only], "root keys of version 1"),
        "version 2 not signed by its own keys": ([mine, by_old_only], "its own root keys"),
        "not signed at all": ([{**mine, "signatures": []}], "its own root keys"),
        "a changed name": ([json.loads(json.dumps(mine).replace("Lab-A", "Lab-X"))], "its own root keys"),
        "another organisation": (
            [mine, signed_version(make_details("lab-b.example"), number=2, signers=roots)],
            "from one organisation to another",
        ),
        "another organisation's chain": ([mine, theirs], "stands where version 2"),
    }


ATTACKS = attacks(found("lab-a.example", root_keys=3, threshold=2))


@pytest.mark.parametrize(("chain", "words"), ATTACKS.values(), ids=ATTACKS)
def test_a_chain_that_does_not_hold_together_is_refused(chain, words):
    assert_refused(document_of(*chain), words=words)


def test_one_signature_repeated_is_one_signature(lab):
    version = chain_of(lab.document)[0]
    version["signatures"] = [version["signatures"][0]] * 2
    assert_refused(document_of(version))


def test_one_key_under_two_ids_does_not_meet_a_threshold_of_two():
    root = signer("only root")

    def twice(signed):
        (key_id,) = signed["keys"]
        signed["keys"]["00" * 32] = signed["keys"][key_id]
        signed["roles"]["root"] = {"keyids": [key_id, "00" * 32], "threshold": 2}

    version = signed_version(make_details("lab-a.example"), number=1, signers=[root], threshold=1, change=twice)
    version["signatures"].append(version["signatures"][0] | {"keyid": "00" * 32})
    assert_refused(document_of(version), words="under the id")


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_a_threshold_that_cannot_be_met_founds_nothing(lab, threshold):
    with pytest.raises(MalformedIdentity) as refusal:
        found_organisation(make_details("lab-a.example"), signers=lab.roots, threshold=threshold, now=NOW)
    assert refusal.value.reason == "BAD_IDENTITY"


# What comes later


def test_the_same_document_again_changes_nothing(lab):
    assert update_identity(lab.organisation, lab.document, now=NOW) == (lab.organisation, ())


def test_a_newer_document_is_taken_and_its_changes_are_told(lab):
    held = lab.organisation
    (old,) = held.record_keys.values()
    new = record_key(signer("second record key"), now=LATER)
    retired = replace(old, status="retired", not_after=LATER)
    certificate = make_certificate(held.org, private_key=generate_p256(seeded("n")), now=LATER, random=seeded("s"))
    said = replace(
        held,
        name="Lab A (moved)",
        record_keys=index_keys([retired, new]),
        node_certs=(*held.node_certs, certificate),
        endpoints=("lab-a.example:7444",),
    )
    document = next_version(held, said, signers=lab.roots, threshold=3, now=LATER)
    newer, changes = update_identity(held, document, now=LATER)
    assert newer.version == 2
    assert newer.fingerprint == held.fingerprint
    assert newer.pins > held.pins
    assert changes == (
        "root keys: now 3 of 3 must sign",
        f"record key {new.key_id}: new",
        f"record key {new.key_id}: active, counts from 2026-03-01 until 2028-02-29",
        f"record key {old.key_id}: active, now retired",
        f"record key {old.key_id}: counts from 2026-03-01 until 2026-03-01",
        f"node certificate {spki_pin(certificate)}: new",
        f"node certificate {spki_pin(certificate)}: valid from 2026-02-28 until 2028-02-29",
        "endpoint lab-a.example:7444: new",
        "endpoint lab-a.example:7443: gone",
        "name: Lab-A, now Lab A (moved)",
    )


def test_a_renewed_document_has_no_changes_to_tell(lab):
    document = next_version(lab.organisation, lab.organisation, signers=lab.roots, now=LATER)
    newer, changes = update_identity(lab.organisation, document, now=LATER)
    assert (newer.version, newer.expires, changes) == (2, LATER + YEAR, ())


def test_an_older_document_is_refused_and_the_held_one_stays(lab):
    document = next_version(lab.organisation, lab.organisation, signers=lab.roots, now=LATER)
    newer, _ = update_identity(lab.organisation, document, now=LATER)
    with pytest.raises(IdentityOutdated) as refusal:
        update_identity(newer, lab.document, now=LATER)
    assert refusal.value.reason == "IDENTITY_OUTDATED"


def test_another_history_is_refused_however_well_it_is_signed(lab):
    held = lab.organisation
    here = next_version(held, held, signers=lab.roots, now=LATER)
    there = next_version(held, replace(held, name="Other"), signers=lab.roots, now=LATER)
    newer, _ = update_identity(held, here, now=LATER)
    elsewhere = parse_identity(there, now=LATER)
    longer = next_version(elsewhere, elsewhere, signers=lab.roots, now=LATER)
    for document in (there, longer):
        with pytest.raises(MalformedIdentity) as refusal:
            update_identity(newer, document, now=LATER)
        assert "its version 2 is not the version 2 that is held" in refusal.value.message
        assert "remove the peer and add it with the new fingerprint" in refusal.value.hint


def test_another_organisation_is_no_update(lab):
    with pytest.raises(MalformedIdentity):
        update_identity(lab.organisation, found("lab-b.example").document, now=NOW)


def test_a_newer_document_that_has_expired_is_refused(lab):
    document = next_version(lab.organisation, lab.organisation, signers=lab.roots, now=NOW, days=1)
    with pytest.raises(IdentityOutdated):
        update_identity(lab.organisation, document, now=NOW + 86_400)
