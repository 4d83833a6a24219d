"""This module signs and reads receipts: what a receiver says became of a page that it was sent.

A receipt is a JWS of type `tocsin-receipt+jwt` by one of the receiver's
delivery keys:

    {
      "iss": "aisi.example", "aud": "lab-a.example", "iat": 1790000060,
      "chain": "<16 random bytes, base64url>", "number": 7, "previous": "<digest of receipt 6>",
      "page": "<digest of the page's statement>", "feed": "<feed id>", "first": 41, "last": 43,
      "cursor": "<where the receiver goes on>",
      "checkpoint": "<of the sender's log, as far as the receiver has read it, with its cosignature: a signed note>",
      "verdicts": [
        {"seq": 41, "outcome": "stored", "digest": "…"},
        {"seq": 42, "outcome": "refused", "digest": "…", "reason": "BAD_SIGNATURE"},
        {"seq": 43, "outcome": "void"}
      ]
    }

Receipts of one receiver for one sender hang together: `previous` names the one
before, and only number 1 has none, so one that is missing shows. A receiver
whose store was put back to an earlier state begins another chain. Where its
quota ended within a page the verdicts end there as well, and the cursor points
behind the last of them. A digest is SHA-256 over the text of a statement,
base64url.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tocsin.encoding import JSON, dump_json
from tocsin.errors import Malformed, PeerMisbehaved, ReceiptRefused, RecordRefused
from tocsin.exchange.cursor import FEED_ID, parse_cursor
from tocsin.exchange.page import MAX_ENTRIES, PageStatement, parse_statement
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.identity.signer import Signer
from tocsin.records.disclosure import digest_of
from tocsin.records.envelope import DIGEST, choice, integer, parse_issuer
from tocsin.records.jws import parse_claims, parse_jws, sign, verify_jws, verify_times
from tocsin.store.evidence import PageRow, ReceiptRow
from tocsin.store.model import Outcome, Verdict
from tocsin.tlog.checkpoint import parse_checkpoint

RECEIPT_TYPE = "tocsin-receipt+jwt"
MAX_RECEIPT = 64 * 1024
"""Characters of a receipt: a verdict takes less than 190 of them, and a page has at most 256 entries."""
MAX_VERDICT, MAX_REST = 240, 4096
"""Characters for each verdict, and for all the rest: a receipt is kept for good, and no place to fill a disk from."""

_CLAIMS = frozenset({"iss", "aud", "iat", "chain", "number", "page", "feed", "first", "last", "cursor", "verdicts"})
_REASON = re.compile(r"[A-Za-z_-]{0,40}", re.ASCII)  # not a closed list: a newer receiver may have further reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a receiver says of a page; `previous` is empty in the first of a chain, `statement` until it is signed."""

    issuer: OrgId
    audience: OrgId
    issued_at: int
    chain: str
    number: int
    previous: str
    page: str
    feed_id: str
    first: int
    last: int
    cursor: str
    verdicts: tuple[Verdict, ...]
    checkpoint: str = ""  # of the sender's log; those from before there were logs have none
    statement: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        """Return its name: the SHA-256 of the statement, base64url."""
        return digest_of(self.statement)

    @property
    def refused(self) -> int:
        """Count the entries that were refused or declined."""
        return sum(verdict.outcome in (Outcome.REFUSED, Outcome.DECLINED) for verdict in self.verdicts)

    def to_row(self, page: PageRow, *, given: bool, now: int) -> ReceiptRow:
        """Return it as the store keeps it, with its page; `given` says that it is one of ours."""
        return ReceiptRow(
            peer=self.audience if given else self.issuer,
            given=given,
            chain=self.chain,
            number=self.number,
            digest=self.digest,
            statement=self.statement,
            page=page,
            at=now,
            refused=self.refused,
        )


def sign_receipt(receipt: Receipt, *, signer: Signer) -> Receipt:
    """Return a receipt with its statement, signed with a delivery key of its issuer."""
    claims: dict[str, JSON] = {
        "iss": receipt.issuer,
        "aud": receipt.audience,
        "iat": receipt.issued_at,
        "chain": receipt.chain,
        "number": receipt.number,
        "previous": receipt.previous,
        "page": receipt.page,
        "feed": receipt.feed_id,
        "first": receipt.first,
        "last": receipt.last,
        "cursor": receipt.cursor,
        "verdicts": [_verdict_claim(verdict) for verdict in receipt.verdicts],
    }
    if receipt.checkpoint:
        claims["checkpoint"] = receipt.checkpoint
    if not receipt.previous:
        del claims["previous"]
    return replace(receipt, statement=sign(dump_json(claims), typ=RECEIPT_TYPE, signer=signer))


def parse_receipt(statement: str, *, giver: Organisation, audience: OrgId, now: int) -> Receipt:
    """Verify that an organisation signed a receipt for us.

      1. it is a `tocsin-receipt+jwt` of exactly our header, within the limits  RFC 7515 4.1, RFC 8725 3.11
      2. its key is one of the giver's delivery keys, and it verifies           RFC 7515 5.2
      3. issuer, audience and time are as expected, the key was valid then      RFC 7519 4.1
      4. the claims are of their form, and the verdicts are consecutive entries of the page
      5. the cursor points behind the last of them

    The caller MUST still check that it follows the receipt before it, and that
    the page was sent: `verify_receipt_of_page` compares the two.

    Raises ReceiptRefused (BAD_RECEIPT), whatever it is that does not hold.
    """
    if len(statement) > MAX_RECEIPT:
        raise _bad(f"it has more than {MAX_RECEIPT} characters", giver.org)
    try:
        claims = _verify_signed(statement, giver=giver)  # 1, 2, 3
        verify_times(claims, now=now)
        receipt = _read(claims, statement)  # 4, 5
        if len(statement) > MAX_REST + MAX_VERDICT * len(receipt.verdicts):  # 1
            raise _bad("it is longer than its verdicts are", giver.org)
    except ReceiptRefused:
        raise
    except (Malformed, RecordRefused) as error:
        raise _bad(error.message, giver.org) from error
    if receipt.issuer != giver.org or receipt.audience != audience:  # 3
        raise _bad("it is of another issuer, or for another audience", giver.org)
    return receipt


def load_receipt(statement: str) -> Receipt:
    """Read a receipt that was signed here, or verified when it was taken: its signature is not looked at."""
    return _read(parse_claims(parse_jws(statement, typ=RECEIPT_TYPE)), statement)


def verify_receipt_of_page(receipt: Receipt, page_statement: str, *, sender: Organisation) -> PageStatement:
    """Verify that a receipt is for a page, and return what the sender signed of the page.

      1. the receipt names the digest of the page's statement
      2. the statement is the sender's, by a key that was valid then      page.parse_statement
      3. the sender made the page for whoever gave the receipt, and the receipt is for the sender
      4. feed and numbers are those of the page
      5. every verdict is on an entry of the page, under the digest that stands there

    With both statements and both identity documents anybody can do this, at
    any time. The caller MUST have verified the receipt (`parse_receipt`).

    Raises ReceiptRefused (BAD_RECEIPT).
    """
    if receipt.page != digest_of(page_statement):  # 1
        raise _bad("it is for another page", receipt.issuer)
    try:
        page = parse_statement(page_statement, sender=sender)  # 2
    except PeerMisbehaved as error:
        raise _bad(error.message, receipt.issuer) from error
    if (page.sender, page.audience) != (receipt.audience, receipt.issuer):  # 3
        raise _bad("the page is between others", receipt.issuer)
    if (page.feed_id, page.first, page.last) != (receipt.feed_id, receipt.first, receipt.last):  # 4
        raise _bad("it names other entries than the page has", receipt.issuer)
    stated = {entry.get("seq"): entry.get("digest", "") for entry in page.entries if isinstance(entry, dict)}
    for verdict in receipt.verdicts:  # 5
        if stated.get(verdict.sequence) != verdict.digest:
            raise _bad(f"its verdict on entry {verdict.sequence} is not on what the page has there", receipt.issuer)
    return page


def _verify_signed(statement: str, *, giver: Organisation) -> dict[str, JSON]:
    """Return the claims of a statement that a delivery key signed in its time."""
    jws = parse_jws(statement, typ=RECEIPT_TYPE)
    key = giver.delivery_keys.get(jws.key_id)
    if key is None:
        raise _bad("its key is none of the delivery keys", giver.org)
    claims = verify_jws(jws, public_key=key.public_key)
    if "iat" not in claims or not key.is_valid_at(integer(claims, "iat")):
        raise _bad("its key was not valid when it was signed, or is revoked", giver.org)
    return claims


def _read(claims: Mapping[str, JSON], statement: str) -> Receipt:
    if missing := _CLAIMS - claims.keys():
        raise _bad(f"{', '.join(sorted(missing))} is missing")
    number = integer(claims, "number", least=1)
    first = integer(claims, "first", least=1)
    last = integer(claims, "last", least=first, most=first + MAX_ENTRIES - 1)
    previous = _text(claims, "previous", DIGEST) if "previous" in claims else ""
    if (number > 1) != bool(previous):
        raise _bad("the first of a chain names one before it, or a later one does not")
    checkpoint = claims.get("checkpoint", "")
    if not isinstance(checkpoint, str):
        raise _bad("its checkpoint is none")
    if checkpoint:
        parse_checkpoint(checkpoint)
    receipt = Receipt(
        issuer=parse_issuer(claims),
        audience=parse_issuer({"iss": claims["aud"]}),
        issued_at=integer(claims, "iat"),
        chain=_text(claims, "chain", FEED_ID),
        number=number,
        previous=previous,
        page=_text(claims, "page", DIGEST),
        feed_id=_text(claims, "feed", FEED_ID),
        first=first,
        last=last,
        cursor=str(claims["cursor"]),
        checkpoint=checkpoint,
        verdicts=_read_verdicts(claims["verdicts"], first=first, last=last),
        statement=statement,
    )
    reached = parse_cursor(receipt.cursor)
    if reached is None or (reached.feed_id, reached.sequence) != (receipt.feed_id, receipt.verdicts[-1].sequence):
        raise _bad("its cursor does not point behind its last verdict")
    return receipt


def _read_verdicts(value: JSON, *, first: int, last: int) -> tuple[Verdict, ...]:
    """Return the verdicts: consecutive, and all on entries of the page."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENTRIES:
        raise _bad(f"it does not hold 1 to {MAX_ENTRIES} verdicts")
    verdicts = []
    for item in value:
        members: dict[str, JSON] = item if isinstance(item, dict) else {}
        if not members.keys() >= {"seq", "outcome"}:
            raise _bad("a verdict lacks its place or its outcome")
        verdicts.append(
            Verdict(
                sequence=integer(members, "seq", least=first, most=last),
                outcome=Outcome(choice(members, "outcome", tuple(Outcome))),
                digest=_text(members, "digest", DIGEST) if "digest" in members else "",
                reason=_text(members, "reason", _REASON) if "reason" in members else "",
            )
        )
    begin = verdicts[0].sequence
    if [verdict.sequence for verdict in verdicts] != list(range(begin, begin + len(verdicts))):
        raise _bad("its verdicts are not consecutive")
    return tuple(verdicts)


def _verdict_claim(verdict: Verdict) -> dict[str, JSON]:
    claim: dict[str, JSON] = {
        "seq": verdict.sequence,
        "outcome": verdict.outcome.value,
        "digest": verdict.digest,
        "reason": verdict.reason,
    }
    return {name: value for name, value in claim.items() if value != ""}


def _text(claims: Mapping[str, JSON], name: str, form: "re.Pattern[str]") -> str:
    value = claims[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _bad(f"{name} is not of its form")
    return value


def _bad(what: str, giver: str = "") -> ReceiptRefused:
    return ReceiptRefused(f"the receipt is not good: {what}", reason="BAD_RECEIPT", where=giver)
