"""Root keys change by rules, and other implementations of TUF come to the same verdict as ours."""

import json
from dataclasses import dataclass
from itertools import pairwise

import pytest
from tuf.api.metadata import Metadata, Root

from tests.identity.forging import document_of, signed_version
from tests.identity.outsiders import PATIENCE_SECONDS, ask_python_tuf, ask_tufjs
from tests.support.organisations import NOW, YEAR, make_details, signer
from tests.support.shared import SHARED
from tocsin.errors import IdentityOutdated, MalformedIdentity, TocsinError
from tocsin.identity.root import parse_identity
from tocsin.identity.version import Version, verify_signatures

ROOTS = {name: signer(f"root {name}") for name in "abcdefgh"}
SAID = make_details("lab-a.example")


@dataclass(frozen=True)
class Step:
    """One version: its root keys, how many of them must sign, who signs, when it expires."""

    keys: str
    threshold: int
    by: str
    expires: int = NOW + YEAR


def chain(*steps):
    return [
        signed_version(
            SAID,
            number=number,
            signers=[ROOTS[name] for name in step.by],
            root_keys=[ROOTS[name] for name in step.keys],
            threshold=step.threshold,
            expires=step.expires,
        )
        for number, step in enumerate(steps, 1)
    ]


GOOD = {
    "one key replaced": [Step("a", 1, "a"), Step("b", 1, "ab"), Step("b", 1, "b")],
    "one key replaced, and strangers sign too": [Step("a", 1, "agh"), Step("b", 1, "abgh")],
    "three of five, each time other three": [Step("abcde", 3, "abc"), Step("abcde", 3, "bde"), Step("abcde", 3, "ace")],
    "three of five, one key replaced": [Step("abcde", 3, "abc"), Step("abcdf", 3, "abf" + "c")],
    "three of five, one replaced, signed by those who stay": [Step("abcde", 3, "abc"), Step("abcdf", 3, "bcd")],
    "all replaced in two steps": [Step("abc", 2, "abc"), Step("cde", 2, "abcd"), Step("efg", 2, "cdef")],
    "all replaced in one step": [Step("ab", 2, "ab"), Step("cd", 2, "abcd")],
    "a higher threshold": [Step("abc", 1, "a"), Step("abc", 2, "ab"), Step("abc", 3, "abc")],
    "a lower threshold": [Step("abc", 2, "ab"), Step("abc", 1, "bc"), Step("abc", 1, "c")],
    "a key added": [Step("a", 1, "a"), Step("ab", 2, "ab")],
    "a key that was stolen removed by the others": [Step("abc", 2, "abc"), Step("bc", 2, "bc")],
    "a key that comes back": [Step("a", 1, "a"), Step("b", 1, "ab"), Step("a", 1, "ab")],
    "an expired version in the middle": [Step("a", 1, "a", expires=NOW - 1), Step("a", 1, "a")],
    "many versions": [Step("ab", 1, "ab"[number % 2]) for number in range(12)],
}
BAD = {
    "not signed by the key before": [Step("a", 1, "a"), Step("b", 1, "bgh")],
    "not signed by the key after": [Step("a", 1, "a"), Step("b", 1, "agh")],
    "not signed by three before": [Step("abcde", 3, "abc"), Step("cdefg", 3, "cdfg")],
    "not signed by three after": [Step("abcde", 3, "abc"), Step("aefgh", 3, "abcdf")],
    "a higher threshold that only the old one meets": [Step("abc", 1, "a"), Step("abc", 2, "a")],
    "a lower threshold that only the new one meets": [Step("abc", 2, "ab"), Step("abc", 1, "c")],
    "a key that was removed signs on": [Step("ab", 1, "a"), Step("b", 1, "ab"), Step("b", 1, "a")],
    "a stolen key removes the others": [Step("abc", 2, "abc"), Step("a", 1, "a")],
    "the first version is not signed by enough": [Step("ab", 2, "a")],
    "the last version has expired": [Step("a", 1, "a"), Step("a", 1, "a", expires=NOW)],
}
CHAINS = {name: chain(*steps) for name, steps in (GOOD | BAD).items()}


def altered(change):
    """Return a good chain of three versions, changed after it was signed."""
    versions = json.loads(json.dumps(CHAINS["all replaced in two steps"]))
    change(versions)
    return versions


ALTERED = {
    "a name": lambda versions: versions[2]["signed"]["x-tocsin"].update(name="Lab X"),
    "an endpoint": lambda versions: versions[1]["signed"]["x-tocsin"]["endpoints"].append("lab-x.example:1"),
    "the threshold": lambda versions: versions[2]["signed"]["roles"]["root"].update(threshold=1),
    "the expiry": lambda versions: versions[2]["signed"].update(expires="2099-01-01T00:00:00Z"),
    "a version left out": lambda versions: versions.pop(1),
    "the order": lambda versions: versions.reverse(),
    "the signatures": lambda versions: [each.update(sig="00" * 64) for each in versions[1]["signatures"][:3]],
    "the signatures of another version": lambda versions: versions[2].update(signatures=versions[1]["signatures"]),
}
CHAINS |= {f"altered: {name}": altered(change) for name, change in ALTERED.items()}
IS_GOOD = {name: name in GOOD for name in CHAINS}


def ask_us(versions):
    try:
        parse_identity(document_of(*versions), now=NOW)
    except TocsinError as error:
        return f"{type(error).__name__} {error.reason}"
    return ""


@pytest.mark.parametrize("name", CHAINS)
def test_root_keys_change_by_the_rules(name):
    verdict = ask_us(json.loads(json.dumps(CHAINS[name])))
    refusal = "IdentityOutdated IDENTITY_OUTDATED" if "has expired" in name else "MalformedIdentity BAD_IDENTITY"
    assert verdict == ("" if IS_GOOD[name] else refusal)


@pytest.mark.parametrize("name", CHAINS)
def test_the_client_of_python_tuf_comes_to_the_same_verdict(name):
    assert (ask_python_tuf(CHAINS[name], now=NOW) == "") is IS_GOOD[name]


@pytest.mark.timeout(2 * PATIENCE_SECONDS)
def test_tufjs_comes_to_the_same_verdict(tufjs):
    """A package that shares no code with ours; it is fetched, and is no part of the repository."""
    verdicts = ask_tufjs(tufjs, list(CHAINS.values()), now=NOW)
    assert {name: verdict == "" for name, verdict in zip(CHAINS, verdicts, strict=True)} == IS_GOOD


# The root chain of Sigstore, as the TUF conformance suite has it. Its keys are ECDSA keys, which no identity document
# of ours may have: it goes through the function that holds our chains to the rules, but not through `parse_version`.
# The suite itself begins at version 12. From 5 on python-tuf reads the signatures; before, their keys have other ids.
SIGSTORE = SHARED / "vectors/tuf-conformance/tuf_conformance/static_data/sigstore-root-signing/metadata"
FIRST, LAST = 5, 12
_old_name = pytest.mark.filterwarnings("ignore:keytype 'ecdsa-sha2-nistp256' is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def sigstore():
    if not SIGSTORE.exists():
        pytest.skip("the vectors of the TUF conformance suite are not here")
    return {number: (SIGSTORE / f"{number}.root.json").read_bytes() for number in range(FIRST, LAST + 1)}


def version_of(content, change=None):
    metadata = Metadata[Root].from_bytes(content)
    if change:
        change(metadata)
    role = metadata.signed.roles["root"]
    return Version(
        number=metadata.signed.version,
        expires=int(metadata.signed.expires.timestamp()),
        root_keys=(),
        root_key_ids=tuple(role.keyids),
        threshold=role.threshold,
        details=SAID,
        payload=metadata.signed_bytes,
        metadata=metadata,
    )


def keep_signatures(of, count):
    """Return a change that leaves the signatures of so many root keys of another version."""

    def change(metadata):
        kept = [key_id for key_id in of.root_key_ids if metadata.signatures.get(key_id)][:count]
        for key_id in [each for each in metadata.signatures if each in of.root_key_ids and each not in kept]:
            del metadata.signatures[key_id]

    return change


@_old_name
def test_each_step_of_a_public_root_chain_follows_our_rules(sigstore):
    versions = [version_of(content) for content in sigstore.values()]
    assert len({version.root_key_ids for version in versions}) == 3  # the keys have changed twice
    for previous, version in pairwise(versions):
        verify_signatures(version, previous=previous)


@_old_name
@pytest.mark.parametrize("number", range(FIRST + 1, LAST + 1))
def test_a_public_root_chain_with_a_step_spoilt_is_refused(sigstore, number):
    previous = version_of(sigstore[number - 1])
    own = version_of(sigstore[number])
    spoilt = {
        "too few of the keys before": version_of(sigstore[number], keep_signatures(previous, 2)),
        "too few of its own keys": version_of(sigstore[number], keep_signatures(own, 2)),
        "altered": version_of(
            sigstore[number], lambda metadata: setattr(metadata.signed, "consistent_snapshot", False)
        ),
    }
    for version in spoilt.values():
        with pytest.raises(MalformedIdentity) as refused:
            verify_signatures(version, previous=previous)
        assert refused.value.reason == "BAD_IDENTITY"


def test_a_public_root_chain_with_a_step_left_out_is_refused(sigstore):
    for before, after in ((5, 7), (7, 6), (12, 12)):
        with pytest.raises(MalformedIdentity, match="stands where version") as refused:
            verify_signatures(version_of(sigstore[after]), previous=version_of(sigstore[before]))
        assert refused.value.reason == "BAD_IDENTITY"


def test_a_version_counts_until_the_second_in_which_it_expires():
    versions = chain(Step("a", 1, "a", expires=NOW + 10))
    assert parse_identity(document_of(*versions), now=NOW + 9).version == 1
    with pytest.raises(IdentityOutdated) as refused:
        parse_identity(document_of(*versions), now=NOW + 10)
    assert refused.value.reason == "IDENTITY_OUTDATED"
