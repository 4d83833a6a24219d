"""This module tells the further life of records: one is amended, one is signed for, one is deleted everywhere."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tocsin.errors import PeerMisbehaved
from tocsin.identity.root import Organisation, parse_identity
from tocsin.records.sdjwt import split_sdjwt
from tocsin.schema.twin import drop_twins
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import RECORD_STATUS_CORRECTED, RETRACTION_ACTION_PURGE, RETRACTION_REASON_OVERSHARED
from tocsin_cli import output
from tocsin_cli.commands.receipts import MOST_A_PAGE
from tocsin_cli.commands.retract import ANSWER_COLUMNS, answer_row
from tocsin_cli.demo.network import AISI, LAB_A, LAB_B, MEMBERS, Member
from tocsin_cli.demo.story import Row, Story, view, wait_until
from tocsin_cli.document import content_of, rfc3339
from tocsin_cli.grid import Cell, Column
from tocsin_cli.proof import Evidence, Proof, missing_numbers, verify_chain, verify_evidence
from tocsin_cli.session import Session, now
from tocsin_cli.view import disclosed_fields, kind_of, short_id

FIELDS_NAMED = 4
SIGNED_COLUMNS = (
    Column("signed by"),
    Column("at"),
    Column("receipt", right=True),
    Column("entry", right=True),
    Column("outcome"),
    Column("fields that went", flexible=True, wraps=True),
)

CORRECTION = "Corrected: the rates were measured anew, and the first ones were too high."


def choose(story: Story, *, but: str) -> tuple[str, str]:
    """Return the ids of two findings that both partners hold: one to amend, one to take back."""
    shared = [result.record for result in story.posted if len(result.queued_for) == len(story.expected)]
    findings = [record.envelope.record_id for record in shared if kind_of(record) == "finding"]
    amended, purged, *_ = [record_id for record_id in findings if record_id != but]
    return amended, purged


def amend(story: Story, record_id: str) -> None:
    """Correct what a record says, and show that everybody who had it has the new version."""
    before = view(story, LAB_A, record_id=record_id)
    story.tell(
        "lab-a corrects a record",
        "A record is never changed: lab-a signs its next version, and a note that the one before is over. Whoever "
        "holds an earlier version gets the new one, or the note where policy does not let the new one go there.",
    )
    output.data(f"$ tocsin amend {short_id(before)} corrected.toml --status corrected\n")
    content = drop_twins(kind_of(before), content_of(before.content)) | {"summary": CORRECTION}
    request = v1.AmendRecordRequest(id=record_id, status=RECORD_STATUS_CORRECTED)
    request.draft.content_json = json.dumps(content)
    answer = story.network[LAB_A].session.call(request, v1.AmendRecordResponse)
    if answer.result.error_reason:
        raise PeerMisbehaved("; ".join(answer.result.error_details))
    for member in (LAB_B, AISI):
        _wait_for_version(story, member, answer.result.record)
    columns = (Column("organisation"), Column("version", right=True), Column("summary", flexible=True))
    output.table(columns, [_version(story, member, record_id) for member in MEMBERS])


def _wait_for_version(story: Story, member: Member, amended: v1.Record) -> None:
    def arrived() -> bool:
        return view(story, member, record_id=amended.envelope.record_id).digest == amended.digest

    wait_until(arrived, otherwise=f"the new version has not arrived at {member.org}")


def _version(story: Story, member: Member, record_id: str) -> Row:
    held = view(story, member, record_id=record_id)
    return Cell(member.org, "bold"), str(held.envelope.version), str(content_of(held.content).get("summary", ""))


def sign_for(story: Story, record_id: str) -> None:
    """Verify what a partner has signed for, as somebody without a node would."""
    story.tell(
        "lab-b has signed for what it was sent",
        "For every page its node gives a receipt. With lab-a's pages and both identity documents, anybody can check "
        "what went, which fields of it, when it was acknowledged, and that none of the receipts is missing.",
    )
    session, digest = story.network[LAB_A].session, view(story, LAB_A, record_id=record_id).digest
    output.data(f"$ tocsin receipts export --partner {LAB_B.org} > receipts.json")
    output.data("$ tocsin receipts verify receipts.json --identity lab-a.tocsin --identity lab-b.tocsin\n")
    about = v1.ListReceiptsRequest(partner=LAB_B.org, digest=digest)
    wait_until(
        lambda: bool(session.call(about, v1.ListReceiptsResponse).receipts),
        otherwise=f"{LAB_B.org} has given no receipt",
    )
    pages = session.pages(v1.ListReceiptsRequest(partner=LAB_B.org, page_size=MOST_A_PAGE), v1.ListReceiptsResponse)
    given = [one for page in pages for one in page.receipts]
    organisations = {member.org: _organisation(story, member) for member in (LAB_A, LAB_B)}
    pairs = [Evidence(one.statement, one.page_statement) for one in given]
    proofs = [verify_evidence(pair, organisations=organisations, now=now()) for pair in pairs]
    verify_chain(proofs)
    if missing := missing_numbers(proofs, proofs[-1].receipt):
        raise PeerMisbehaved(f"receipts of {LAB_B.org} are missing: {missing}")
    output.table(SIGNED_COLUMNS, [row for proof in proofs for row in _signed(proof, digest)])
    output.data(f"\n{len(proofs)} receipts verify, and none is missing")


def _signed(proof: Proof, digest: str) -> Iterator[Row]:
    receipt = proof.receipt
    for one in proof.delivered:
        if one.verdict.digest == digest:
            fields = disclosed_fields(one.disclosed)
            yield (
                Cell(receipt.issuer, "bold"),
                rfc3339(receipt.issued_at),
                str(receipt.number),
                str(one.verdict.sequence),
                Cell(one.verdict.outcome.value, "green"),
                f"{len(fields)}: {', '.join(fields[:FIELDS_NAMED])}, …",
            )


def _organisation(story: Story, member: Member) -> Organisation:
    document = story.network[member].session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse).document
    return parse_identity(document, now=now())


def purge(story: Story, record_id: str) -> None:
    """Take a record back so that nothing of it is left anywhere, and show what the partners say to it."""
    before = view(story, LAB_A, record_id=record_id)
    story.tell(
        "lab-a takes a record back, and everybody deletes it",
        "Each partner that was ever sent a version answers under its signature. What is left is a note that the "
        "record is over: it cannot come back from anywhere.",
    )
    output.data(f"$ tocsin retract {short_id(before)} --purge --reason overshared\n")
    session = story.network[LAB_A].session
    request = v1.RetractRecordRequest(id=record_id, action=RETRACTION_ACTION_PURGE, reason=RETRACTION_REASON_OVERSHARED)
    session.call(request, v1.RetractRecordResponse)
    wait_until(
        lambda: all(one.state == v1.ANSWER_STATE_CONFIRMED for one in _answers(session, record_id)),
        otherwise="not everybody has confirmed",
    )
    output.data(f"$ tocsin retractions {short_id(before)}\n")
    output.table(ANSWER_COLUMNS, [answer_row(one) for one in _answers(session, record_id)])
    needles = [before.title.encode(), *(one.encode() for one in split_sdjwt(before.token).disclosures)]
    files = [path for member in MEMBERS for path in story.network[member].home.rglob("*") if path.is_file()]
    wait_until(lambda: not _holding(files, needles), otherwise="something of the record is left")
    output.data(f"\n{len(files)} files in three homes: no byte of what it said is in any of them")


def _answers(session: Session, record_id: str) -> Sequence[v1.Answer]:
    return session.call(v1.GetRetractionRequest(id=record_id), v1.GetRetractionResponse).retraction.answers


def _holding(files: Sequence[Path], needles: Sequence[bytes]) -> list[Path]:
    """Return the files in which something of a record stands."""
    return [path for path in files if path.exists() and _holds_any(path.read_bytes(), needles)]


def _holds_any(content: bytes, needles: Sequence[bytes]) -> bool:
    return any(needle in content for needle in needles)
