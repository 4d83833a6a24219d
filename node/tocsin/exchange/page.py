"""This module makes and reads the signed page, the one form in which anything moves between two organisations.

The entries lie beside a statement that covers them, a JWS of type
`tocsin-page+jwt` by one of the sender's delivery keys:

    {
      "iss": "lab-a.example", "aud": "aisi.example", "iat": 1790000000,
      "feed": "<16 random bytes, base64url>", "first": 41, "last": 44,
      "checkpoint": "<of the sender's log, dated by its own witness key: a signed note>",
      "entries": [
        {"seq": 41, "tag": …, "kind": "record", "digest": …, "sd_hash": …, "disclosed": […], "withheld": […]},
        {"seq": 42, "tag": …, "kind": "disclosures", "digest": …, "sd_hash": …, "disclosed": […]},
        {"seq": 43, "tag": …, "kind": "void"},
        {"seq": 44, "tag": …, "kind": "retraction", "digest": …, "sd_hash": …}
      ]
    }

`digest` names the record, of a retraction the newest version that went before;
`sd_hash` covers the exact bytes that went; `tocsin.exchange.entry` says the
rest. So one signature proves what was sent, which fields of it, to whom, and
when: also to somebody who has the statement alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin.encoding import JSON, dump_json
from tocsin.errors import Malformed, RecordRefused
from tocsin.exchange.cursor import FEED_ID, format_cursor
from tocsin.exchange.entry import PageEntry, broken, read_entry
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import digest_of
from tocsin.records.jws import CLOCK_SKEW, parse_jws, sign, verify_jws
from tocsin.store.evidence import PageRow
from tocsin.store.model import Position
from tocsin.v1 import exchange_service_pb2 as v1

PAGE_TYPE = "tocsin-page+jwt"
MAX_ENTRIES = 256
MAX_BYTES = 3 * 1024 * 1024  # a message is at most 4 MiB, and the largest record 1 MiB

_CLAIMS = frozenset({"iss", "aud", "iat", "feed", "first", "last", "entries"})
"""What every statement has; those from before there were logs have no `checkpoint`."""


@dataclass(frozen=True, slots=True)
class PageStatement:
    """What a sender signed of a page; `entries` are the claims, as many as there are numbers from first to last."""

    sender: OrgId
    audience: OrgId
    issued_at: int
    feed_id: str
    first: int
    last: int
    entries: tuple[JSON, ...]
    digest: str  # of the statement
    checkpoint: str = ""  # of the sender's log


@dataclass(frozen=True, slots=True)
class VerifiedPage:
    """A page that its sender signed for us. Nothing is said yet about the records in it."""

    sender: OrgId
    feed_id: str
    entries: tuple[PageEntry, ...]
    row: PageRow  # what a receipt is about
    checkpoint: str  # of the sender's log

    def behind(self, sequence: int) -> Position:
        """Return the position behind one of its entries."""
        return Position(self.feed_id, sequence, self.entries[sequence - self.row.first].tag)


def build_page(
    entries: Sequence[PageEntry],
    *,
    feed_id: str,
    sender: OrgId,
    audience: OrgId,
    checkpoint: str,
    signer: Signer,
    now: int,
    more: bool,
) -> v1.Page:
    """Sign entries as a page; their numbers must be consecutive. `checkpoint` is what the sender's log shows now."""
    first, last = entries[0].sequence, entries[-1].sequence
    if [entry.sequence for entry in entries] != list(range(first, last + 1)):
        raise RuntimeError("the entries of a page are not consecutive")
    claims = {
        "iss": sender,
        "aud": audience,
        "iat": now,
        "feed": feed_id,
        "first": first,
        "last": last,
        "checkpoint": checkpoint,
        "entries": [entry.to_claim() for entry in entries],
    }
    return v1.Page(
        statement=sign(dump_json(claims), typ=PAGE_TYPE, signer=signer),
        entries=[entry.to_message() for entry in entries],
        cursor=format_cursor(Position(feed_id, last, entries[-1].tag)),
        more=more,
    )


def parse_page(page: v1.Page, *, sender: Organisation, audience: OrgId, now: int) -> VerifiedPage:
    """Verify that a sender signed a page for us, and that its entries are those signed.

      1. count and bytes are within the limits
      2. the statement is the sender's                                     parse_statement
      3. it is made for us, and not in the future                          RFC 7519 4.1
      4. there are as many entries as it lists, with these numbers
      5. each entry is of its form, and its bytes are those stated         RFC 9901 4.3.1
      6. the cursor points behind the last entry
      7. it says where the sender's log stands

    The caller MUST still check that the page follows what it has stored, verify
    every record in it, compare what its disclosures disclose with what is
    stated (`entry.disclosed_paths`), and hold the checkpoint against the log.

    Raises PeerMisbehaved, whatever it is that does not hold.
    """
    _check_size(page)  # 1
    stated = parse_statement(page.statement, sender=sender)  # 2
    if stated.audience != audience:  # 3
        raise broken("its statement is made for another audience", sender.org)
    if stated.issued_at > now + CLOCK_SKEW:
        raise broken("its statement is from the future", sender.org)
    if [entry.sequence for entry in page.entries] != list(range(stated.first, stated.last + 1)):  # 4
        raise broken("it does not have the entries that its statement lists", sender.org)
    pairs = zip(page.entries, stated.entries, strict=True)
    entries = tuple(read_entry(entry, claim, sender.org) for entry, claim in pairs)  # 5
    if page.cursor != format_cursor(Position(stated.feed_id, stated.last, entries[-1].tag)):  # 6
        raise broken("its cursor does not point behind its last entry", sender.org)
    if not stated.checkpoint:  # 7
        raise broken("its statement does not say where the sender's log stands", sender.org)
    return VerifiedPage(
        sender=sender.org,
        feed_id=stated.feed_id,
        entries=entries,
        row=page_row(page.statement, stated),
        checkpoint=stated.checkpoint,
    )


def parse_statement(statement: str, *, sender: Organisation) -> PageStatement:
    """Verify that a sender signed the statement of a page, whoever it is for.

      1. it is a `tocsin-page+jwt` of exactly our header                   RFC 7515 4.1, RFC 8725 3.11
      2. its key is one of the sender's delivery keys, and it verifies     RFC 7515 5.2
      3. the claims are there and of their form, its issuer is the sender  RFC 7519 4.1
      4. the key was valid when it was signed
      5. it lists as many entries as there are numbers

    The caller MUST see who it is for, and that it is not from the future; what
    it says of each entry is of no verified form.

    Raises PeerMisbehaved.
    """
    try:
        jws = parse_jws(statement, typ=PAGE_TYPE)  # 1
        key = sender.delivery_keys.get(jws.key_id)
        if key is None:
            raise broken("its statement is signed by a key that is not one of the sender's delivery keys", sender.org)
        claims = verify_jws(jws, public_key=key.public_key)  # 2
    except (Malformed, RecordRefused) as error:
        raise broken(f"its statement is refused: {error.message} ({error.reason})", sender.org) from error
    stated = _read_claims(claims, statement, sender.org)  # 3
    if not key.is_valid_at(stated.issued_at):  # 4
        raise broken("its statement is signed by a key that was not valid then", sender.org)
    if not len(stated.entries) == stated.last - stated.first + 1 <= MAX_ENTRIES:  # 5
        raise broken("it does not have as many entries as its statement lists", sender.org)
    return stated


def page_row(statement: str, stated: PageStatement) -> PageRow:
    """Return a page as it is kept, to know a receipt for it."""
    return PageRow(stated.digest, statement, stated.feed_id, stated.first, stated.last, stated.issued_at)


def _check_size(page: v1.Page) -> None:
    if not 1 <= len(page.entries) <= MAX_ENTRIES:
        raise broken(f"it has {len(page.entries)} entries, not 1 to {MAX_ENTRIES}")
    if page.ByteSize() > MAX_BYTES + MAX_ENTRIES * 64:  # the sender's estimate leaves the framing to chance
        raise broken(f"it has more than {MAX_BYTES} bytes")


def _read_claims(claims: Mapping[str, JSON], statement: str, sender: OrgId) -> PageStatement:
    if not claims.keys() >= _CLAIMS:
        raise broken("its statement lacks " + ", ".join(sorted(_CLAIMS - claims.keys())), sender)
    if claims["iss"] != sender:
        raise broken("its statement is of another issuer", sender)
    audience, feed_id, entries, checkpoint = (
        claims["aud"],
        claims["feed"],
        claims["entries"],
        claims.get("checkpoint", ""),
    )
    if not isinstance(audience, str):
        raise broken("its statement is made for nobody", sender)
    if not isinstance(feed_id, str) or not FEED_ID.fullmatch(feed_id):
        raise broken("its statement names no feed", sender)
    if not isinstance(checkpoint, str):
        raise broken("its statement holds no checkpoint where there should be one", sender)
    if not isinstance(entries, list):
        raise broken("its statement does not list its entries", sender)
    return PageStatement(
        sender=sender,
        audience=OrgId(audience),
        issued_at=_number(claims, "iat", sender),
        feed_id=feed_id,
        first=_number(claims, "first", sender),
        last=_number(claims, "last", sender),
        entries=tuple(entries),
        digest=digest_of(statement),
        checkpoint=checkpoint,
    )


def _number(claims: Mapping[str, JSON], name: str, sender: OrgId) -> int:
    value = claims[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise broken(f"{name} in its statement is no number that counts from 1", sender)
    return value
