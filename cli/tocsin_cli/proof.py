"""This module reads and writes what receipts prove to somebody who has no node: what went, when, and what became of it.

    {
      "format": "tocsin-receipts/v1",
      "receipts": [
        {"receipt": "<tocsin-receipt+jwt>", "page": "<tocsin-page+jwt>",
         "content": [{"seq": 41, "text": "<what entry 41 carried>"}]}
      ]
    }

The page is what its sender signed, the receipt what the receiver answered.
`content` is there only where somebody hands it along: the exact text that the
`sd_hash` of the entry covers, which is shown by it to be what went.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.encoding import JSON, parse_json
from tocsin.errors import MalformedRecord, ReceiptRefused, UntrustedIssuer
from tocsin.exchange.page import PAGE_TYPE
from tocsin.exchange.receipt import RECEIPT_TYPE, Receipt, parse_receipt, verify_receipt_of_page
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.records.disclosure import unfold
from tocsin.records.envelope import parse_issuer
from tocsin.records.fieldpath import field_path
from tocsin.records.jws import parse_claims, parse_jws, split_jws
from tocsin.records.record import sd_hash
from tocsin.records.sdjwt import join_sdjwt, split_sdjwt
from tocsin.store.model import Verdict

FORMAT = "tocsin-receipts/v1"

Organisations = Mapping[str, Organisation]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A receipt with its page, as they stand in a file; nothing is verified."""

    receipt: str
    page: str
    content: Mapping[int, str] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, object]:
        """Return it as it stands in the file."""
        pair: dict[str, object] = {"receipt": self.receipt, "page": self.page}
        if self.content:
            pair["content"] = [{"seq": sequence, "text": text} for sequence, text in self.content.items()]
        return pair


@dataclass(frozen=True, slots=True)
class Delivered:
    """One entry of a page: what its sender stated of it, and what its receiver signed."""

    stated: Mapping[str, JSON]
    verdict: Verdict
    text: str = field(default="", repr=False)

    @property
    def disclosed(self) -> frozenset[str]:
        """Return the paths of the fields that went."""
        return _disclosed(self.stated)


@dataclass(frozen=True, slots=True)
class Proof:
    """A receipt that verifies, and what it is about."""

    receipt: Receipt
    delivered: tuple[Delivered, ...]


def parse_evidence(data: bytes) -> tuple[Evidence, ...]:
    """Read a file of receipts, without believing anything in it. Raises MalformedRecord and MalformedEncoding."""
    value = parse_json(data)
    pairs = value.get("receipts") if isinstance(value, dict) and value.get("format") == FORMAT else None
    if not isinstance(pairs, list) or not pairs:
        message = f"it is no file of the format {FORMAT}, or has no receipt in it"
        raise MalformedRecord(message, reason="BAD_FORM", hint="such files are made by `tocsin receipts export`")
    return tuple(_read_pair(pair) for pair in pairs)


def verify_evidence(evidence: Evidence, *, organisations: Organisations, now: int) -> Proof:
    """Verify what one receipt proves.

      1. whoever gave it, and whoever sent the page, are among the organisations
      2. the receipt is signed by its giver, for the sender
      3. the page that it names is signed by the sender, for the giver, and has every entry that it speaks of
      4. content that is handed along is what the page states of its entry    RFC 9901 4.3.1

    The caller MUST compare the fingerprints of both, and look at the chain
    (`missing_numbers`): one receipt says nothing of those beside it.

    Raises ReceiptRefused, UntrustedIssuer, MalformedRecord and MalformedEncoding.
    """
    claims = parse_claims(parse_jws(evidence.receipt, typ=RECEIPT_TYPE))
    giver = _known(parse_issuer(claims), organisations)  # 1
    sender = _known(parse_issuer({"iss": claims.get("aud", "")}), organisations)
    receipt = parse_receipt(evidence.receipt, giver=giver, audience=OrgId(sender.org), now=now)  # 2
    page = verify_receipt_of_page(receipt, evidence.page, sender=sender)  # 3
    stated = {entry.get("seq"): entry for entry in page.entries if isinstance(entry, dict)}
    delivered = [
        Delivered(stated[verdict.sequence], verdict, evidence.content.get(verdict.sequence, ""))
        for verdict in receipt.verdicts
    ]
    for one in delivered:
        if one.text and sd_hash(one.text) != one.stated.get("sd_hash"):  # 4
            where = f"entry {one.verdict.sequence}"
            raise ReceiptRefused("the content is not what the page states", reason="BAD_RECEIPT", where=where)
    return Proof(receipt, tuple(delivered))


def verify_chain(proofs: Iterable[Proof]) -> None:
    """Refuse receipts of one chain of which two have one number, or one does not name the one before it.

    Raises ReceiptRefused (BAD_CHAIN).
    """
    held: dict[tuple[str, str, str, int], Receipt] = {}
    for receipt in (proof.receipt for proof in proofs):
        if held.setdefault(_place(receipt, receipt.number), receipt).digest != receipt.digest:
            raise _broken(receipt, "there is another one with its number")
    for receipt in held.values():
        before = held.get(_place(receipt, receipt.number - 1))
        if before is not None and before.digest != receipt.previous:
            raise _broken(receipt, "it does not follow the one before it")


def missing_numbers(proofs: Sequence[Proof], of: Receipt) -> list[int]:
    """Return the numbers of a receipt's chain, up to the last one here, that are not here."""
    chain = _place(of, 0)[:3]
    numbers = {proof.receipt.number for proof in proofs if _place(proof.receipt, 0)[:3] == chain}
    return [number for number in range(1, max(numbers, default=0)) if number not in numbers]


def stated_entries(page_statement: str) -> list[Mapping[str, JSON]]:
    """Return what a page that this node holds states of its entries: nobody's word is taken for it here.

    Raises MalformedRecord, MalformedEncoding and WrongAlgorithm.
    """
    entries = parse_claims(parse_jws(page_statement, typ=PAGE_TYPE)).get("entries")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def rebuild(stated: Mapping[str, JSON], token: str) -> str:
    """Return the text that an entry carried, made of the whole record or of the retraction; empty where it is not.

    Which it is shows by its hash: nothing else is ever taken for what went.
    """
    candidates = [token]
    if "~" in token:
        candidates = _parts(token, _disclosed(stated), str(stated.get("digest")))
    return next((text for text in candidates if sd_hash(text) == stated.get("sd_hash")), "")


def _disclosed(stated: Mapping[str, JSON]) -> frozenset[str]:
    paths = stated.get("disclosed", [])
    return frozenset(map(str, paths)) if isinstance(paths, list) else frozenset()


def _parts(token: str, disclosed: frozenset[str], digest: str) -> list[str]:
    """Return a record, and its disclosures alone, with nothing but what is at these paths."""
    parts = split_sdjwt(token)
    _, held = unfold(parse_claims(split_jws(parts.issuer_jwt)), disclosures=parts.disclosures)
    went = [one.encoded for one in held if field_path(one.path) in disclosed]
    return [join_sdjwt(parts.issuer_jwt, went), join_sdjwt(digest, went)]


def _read_pair(pair: JSON) -> Evidence:
    members = pair if isinstance(pair, dict) else {}
    receipt, page, content = members.get("receipt"), members.get("page"), members.get("content", [])
    if not isinstance(receipt, str) or not isinstance(page, str) or not isinstance(content, list):
        raise MalformedRecord("a receipt has no text, or no page beside it", reason="BAD_FORM")
    texts: dict[int, str] = {}
    for item in content:
        match item:
            case {"seq": int(sequence), "text": str(text)} if text.isascii():
                texts[sequence] = text
            case _:
                raise MalformedRecord("content has a number and a text", reason="BAD_FORM")
    return Evidence(receipt, page, texts)


def _known(org: str, organisations: Organisations) -> Organisation:
    if org not in organisations:
        problem = f"{org} is a party to it, and none of the identity documents is {org}'s"
        hint = "give the identity documents of both, the giver of the receipt and the sender of the page"
        raise UntrustedIssuer(problem, reason="KEY_NOT_OF_ISSUER", hint=hint)
    return organisations[org]


def _place(receipt: Receipt, number: int) -> tuple[str, str, str, int]:
    return (receipt.issuer, receipt.audience, receipt.chain, number)


def _broken(receipt: Receipt, what: str) -> ReceiptRefused:
    where = f"receipt {receipt.number} of {receipt.issuer}"
    return ReceiptRefused(f"the chain does not hold: {what}", reason="BAD_CHAIN", where=where)
