"""This module verifies what the entries of a page carry, each under the keys of whoever signed it first.

    who signed it    what is asked
    the sender       its identity, and whether policy takes such records from it
    somebody else    also: policy takes from the sender what others issued, the origin let it be passed on, and the
                     origin's identity was confirmed here
    we ourselves     our own identity: it came back, and is known

A retraction counts whoever delivers it, because its origin signed it. Both must
be in the log of their origin, as everybody sees it. What is
refused has a reason and stops nothing. What may be good another day is not
refused, and the page ends before it, for now: what is from the future, since
one of two clocks is wrong, and what the sender signed with a key that its
identity document here does not have yet.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tocsin.errors import (
    CheckpointRefused,
    IdentityOutdated,
    Malformed,
    MalformedRecord,
    NotPermitted,
    OriginStopped,
    RecordExpired,
    RecordRefused,
    UntrustedIssuer,
)
from tocsin.exchange.entry import PageEntry, broken, disclosed_paths
from tocsin.exchange.status import RETRY_AFTER
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.policy.clauses import RELAYED_TLPS, Accept
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.jws import CLOCK_SKEW
from tocsin.records.record import UnverifiedRecord, VerifiedRecord, extend, parse_record
from tocsin.records.retraction import UnverifiedRetraction, VerifiedRetraction, parse_retraction
from tocsin.release.ledger import entry_of
from tocsin.release.office import Office
from tocsin.release.quarantine import BEFORE_ANY, verify_known_in_time
from tocsin.schema.check import unix_seconds
from tocsin.store.model import EntryKind
from tocsin.watch.origins import Watch

RETRY_SECONDS = 300
"""A clock is set right, and a document taken, by somebody, and not in seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """By what the entries of a sender are judged.

    `origins` returns an organisation whose identity was confirmed here, our
    own as well, or None; `held` the text that is held for a digest. `watch` knows
    the logs of origins, and `office` whose word counts of what is in them.
    """

    sender: Organisation
    ours: OrgId
    accept: Accept
    origins: Callable[[OrgId], Organisation | None]
    held: Callable[[str], str | None]
    watch: Watch
    office: Office
    now: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Hold an entry with what was verified in it, or with the reason why it is refused; a void one has nothing.

    `is_ours`: it is a record of our own that came back.
    """

    entry: PageEntry
    record: VerifiedRecord | None = None
    retraction: VerifiedRetraction | None = None
    is_ours: bool = False
    reason: str = ""


def check_entries(entries: Sequence[PageEntry], terms: Terms) -> tuple[Checked, ...]:
    """Verify what each entry brings, as far as it is disclosed by then, up to the first that is for another day.

    What an earlier entry of the same page brought counts as held by a later one.

    Raises RecordExpired or IdentityOutdated where the first one is,
    PeerMisbehaved where an entry does not disclose what its page states.
    """
    texts: dict[str, str] = {}
    checked: list[Checked] = []
    for entry in entries:
        try:
            result = _check_entry(entry, terms, texts)
        except _AnotherDay as early:
            if not checked:
                raise early.why from None
            break
        if result.record is not None:
            texts[entry.digest] = result.record.token
        checked.append(result)
    return tuple(checked)


class _AnotherDay(Exception):
    """An entry may be good when clocks agree, or identities are current."""

    def __init__(self, why: RecordExpired | IdentityOutdated) -> None:
        super().__init__(why.message)
        self.why = why


def _check_entry(entry: PageEntry, terms: Terms, texts: dict[str, str]) -> Checked:
    if entry.kind is EntryKind.VOID:
        return Checked(entry)
    try:
        if entry.kind is EntryKind.RETRACTION:
            return Checked(entry, retraction=_check_retraction(entry, terms))
        record = _check_record(entry, terms, held=texts.get(entry.digest) or terms.held(entry.digest))
    except OriginStopped as error:
        if entry.origin in ("", terms.sender.org):
            raise
        return Checked(entry, reason=error.reason)
    except (Malformed, RecordRefused, NotPermitted) as error:
        return Checked(entry, reason=error.reason)
    sent = entry.disclosures or entry.presentation.split("~")[1:-1]
    if disclosed_paths(record, sent) != entry.disclosed:
        raise broken(f"entry {entry.sequence} does not disclose what its statement says", terms.sender.org)
    if record.issuer == terms.ours:
        return Checked(entry, is_ours=True)
    return Checked(entry, record=record)


def _check_record(entry: PageEntry, terms: Terms, *, held: str | None) -> VerifiedRecord:
    """Verify an entry's record, together with what is held of it: what was disclosed once is known for good."""
    origin = OrgId(entry.origin) or terms.sender.org
    is_relayed = origin not in (terms.sender.org, terms.ours)
    if is_relayed and not terms.accept.relayed:
        raise NotPermitted(f"our policy does not accept from {terms.sender.org} what others issued")
    unverified = _whole(entry, held=held)
    _look_at_key(unverified, terms)
    try:
        record = unverified.verify(_organisation(origin, terms), now=terms.now, logged_at=BEFORE_ANY)
    except RecordExpired:
        _verify_not_early(unverified, terms)
        raise
    if origin == terms.ours:
        return record
    if is_relayed and record.relay != MAY_RELAY:
        raise NotPermitted(f"{origin} does not let it be passed on")
    if is_relayed and record.marking_at(terms.now) not in RELAYED_TLPS:
        raise NotPermitted("its marking does not let it be passed on")
    if record.kind not in terms.accept.kinds:
        raise NotPermitted(f"our policy does not accept {record.kind} records from {terms.sender.org}")
    if record.retention_until and unix_seconds(record.retention_until) <= terms.now:
        raise RecordExpired("it may not be kept any longer")
    if entry.kind is EntryKind.RECORD:
        _verify_logged(entry, record, terms)
    verify_known_in_time(terms.office, _organisation(origin, terms), record, now=terms.now)
    return record


def _check_retraction(entry: PageEntry, terms: Terms) -> VerifiedRetraction:
    unverified = parse_retraction(entry.retraction)
    about = terms.held(entry.digest)
    if about and parse_record(about).issuer != unverified.issuer:
        raise UntrustedIssuer("the record that is retracted is another organisation's", reason="KEY_NOT_OF_ISSUER")
    _look_at_key(unverified, terms)
    origin = _organisation(unverified.issuer, terms)
    try:
        retraction = unverified.verify(origin, now=terms.now, logged_at=BEFORE_ANY)
    except RecordExpired:
        _verify_not_early(unverified, terms)
        raise
    if retraction.issuer != terms.ours:
        _verify_logged(entry, retraction, terms)
        verify_known_in_time(terms.office, origin, retraction, now=terms.now)
    return retraction


def _verify_logged(entry: PageEntry, issued: VerifiedRecord | VerifiedRetraction, terms: Terms) -> None:
    """Verify that everybody who reads its origin's log can see that it was issued."""
    bare = f"{entry.presentation.partition('~')[0]}~" if entry.presentation else ""
    try:
        terms.watch.verify_logged(_organisation(issued.issuer, terms), entry.proof, entry_of(issued), record=bare)
    except CheckpointRefused as error:
        if error.reason == "FUTURE_COSIGNATURE":
            raise _AnotherDay(_too_early(terms.sender.org)) from None
        raise


def _organisation(org: OrgId, terms: Terms) -> Organisation:
    """Return whoever is said to have signed, where its keys count here."""
    known = terms.sender if org == terms.sender.org else terms.origins(org)
    if known is None:
        hint = "register its identity document: tocsin peer add FILE --known --fingerprint F"
        raise UntrustedIssuer(f"the identity of {org} is not known here", reason="KEY_NOT_OF_ISSUER", hint=hint)
    return known


def _look_at_key(unverified: UnverifiedRecord | UnverifiedRetraction, terms: Terms) -> None:
    """Wait for the sender's next identity document where its own statement names a key that is not in this one."""
    if unverified.issuer == terms.sender.org and unverified.key_id not in terms.sender.record_keys:
        raise _AnotherDay(_unknown_key(terms.sender.org))


def _verify_not_early(unverified: UnverifiedRecord | UnverifiedRetraction, terms: Terms) -> None:
    """Tell what is from the future from what has expired; only what verifies otherwise gets this far."""
    if unverified.issued_at > terms.now + CLOCK_SKEW:
        raise _AnotherDay(_too_early(terms.sender.org)) from None


def _too_early(peer: OrgId) -> RecordExpired:
    return RecordExpired(
        f"what {peer} sends was signed in the future",
        hint="compare the clocks of both nodes; it goes on by itself when they agree",
        metadata={RETRY_AFTER: str(RETRY_SECONDS)},
    )


def _unknown_key(peer: OrgId) -> IdentityOutdated:
    return IdentityOutdated(
        f"what {peer} sends is signed with a key that is not in its identity document held here",
        hint="get its current document, then: tocsin peer add FILE; it goes on by itself",
        metadata={RETRY_AFTER: str(RETRY_SECONDS)},
    )


def _whole(entry: PageEntry, *, held: str | None) -> UnverifiedRecord:
    """Return the record as it is held once the entry is added."""
    if entry.kind is EntryKind.DISCLOSURES:
        if not held:
            raise MalformedRecord("further disclosures of a record that is not held", reason="BAD_FORM")
        return parse_record(extend(held, entry.disclosures))
    if not held or held == entry.presentation:
        return parse_record(entry.presentation)
    return parse_record(extend(held, entry.presentation.split("~")[1:-1]))
