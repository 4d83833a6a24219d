"""This module makes pages as a sender signs them, good or bad, without a feed behind them."""

from dataclasses import replace

from tests.exchange import notary
from tests.exchange.parties import A, B, founded
from tests.support.organisations import NOW
from tocsin.encoding import encode_base64url
from tocsin.errors import Malformed, RecordRefused
from tocsin.exchange.entry import PageEntry, disclosed_paths
from tocsin.exchange.page import build_page
from tocsin.records.disclosure import digest_of
from tocsin.records.record import parse_record
from tocsin.records.retraction import Action, parse_retraction, sign_retraction
from tocsin.release import ledger
from tocsin.store.model import EntryKind
from tocsin.v1 import exchange_service_pb2 as v1

FEED, ANOTHER_FEED = "A" * 22, "B" * 21 + "A"


def tag(sequence, feed=FEED):
    """Return the tag that the entry of a feed has on every page."""
    return digest_of(f"{feed} {sequence}")[:10] + "A"


def cursor(sequence, feed=FEED):
    return f"{feed}.{sequence}.{tag(sequence, feed)}"


def page_of(*entries, first=1, feed=FEED, sender=A, audience=B, now=NOW):
    """Return a page of records and entries, numbered from `first`, signed by their sender."""
    made = [entry if isinstance(entry, PageEntry) else raw(entry, entry.token) for entry in entries]
    numbered = [
        replace(entry, sequence=first + place, tag=entry.tag or tag(first + place, feed))
        for place, entry in enumerate(made)
    ]
    return build_page(
        [*map(proved, log(numbered, sender=sender))],
        feed_id=feed,
        sender=sender,
        audience=audience,
        checkpoint=notary.show(sender, now=now),
        signer=founded(sender).delivery,
        now=now,
        more=False,
    )


def log(entries, *, sender=A):
    """Log what some entries bring, each with its origin, and return them; one that comes with a proof is not logged."""
    for entry in entries:
        if not entry.proof and (issued := issued_in(entry)):
            notary.issue(issued.issuer, ledger.entry_of(issued))
    notary.issue(sender)
    return entries


def proved(entry):
    """Return an entry with the proof that its origin has logged what it brings, as far as it brings anything."""
    issued = issued_in(entry)
    return (
        replace(entry, proof=entry.proof or notary.prove(issued.issuer, ledger.entry_of(issued))) if issued else entry
    )


def issued_in(entry):
    """Return the record or the retraction that an entry brings, as its issuer would have signed it."""
    try:
        if entry.kind is EntryKind.RETRACTION:
            unverified = parse_retraction(entry.retraction)
            return unverified.verify(founded(unverified.issuer).organisation, now=unverified.issued_at)
        if entry.kind is EntryKind.RECORD:
            unverified = parse_record(entry.presentation)
            return unverified.verify(founded(unverified.issuer).organisation, now=unverified.issued_at)
    except (Malformed, RecordRefused):
        return None
    return None


def without_proof(entry):
    """Return what an entry of a page says, without the proof, which is of the log as it was when the page was made."""
    said = v1.Entry.FromString(entry.SerializeToString())
    said.ClearField("proof")
    return said


def raw(record, presentation, **more):
    """Return an entry with some presentation of a record."""
    disclosed = disclosed_paths(record, presentation.split("~"))
    return PageEntry(0, EntryKind.RECORD, record.digest, presentation, disclosed=disclosed, **more)


def raw_of(token):
    """Return an entry with something that need not be a record."""
    return PageEntry(0, EntryKind.RECORD, digest_of(token.partition("~")[0]), token)


def further(record, *paths, **more):
    disclosures = record.disclosures_for(frozenset(paths))
    disclosed = disclosed_paths(record, disclosures)
    return PageEntry(0, EntryKind.DISCLOSURES, record.digest, disclosures=disclosures, disclosed=disclosed, **more)


def relayed(record, presentation=""):
    """Return an entry with a record of somebody else."""
    return raw(record, presentation or record.token, origin=record.issuer)


def retracting(record, action=Action.WITHDRAW, *, by=None, now=NOW, **more):
    """Return an entry that takes a record back, in the name of its issuer."""
    signer = by or founded(record.issuer)
    retraction = sign_retraction(
        issuer=record.issuer,
        record_id=record.record_id,
        version=more.pop("version", record.version),
        action=action,
        tlp=more.pop("tlp", record.tlp),
        signer=signer.record,
        now=now,
        **more,
    )
    return entry_of(retraction, record.digest)


def entry_of(retraction, digest, **more):
    return PageEntry(0, EntryKind.RETRACTION, digest, retraction=retraction.token, **more)


def a_tag():
    return encode_base64url(b"another!")
