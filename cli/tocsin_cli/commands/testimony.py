"""This module has the command that verifies what receipts prove, without a node: receipts verify."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from tocsin.errors import Malformed, RecordRefused, TocsinError
from tocsin.identity.root import Organisation, parse_identity
from tocsin_cli import output
from tocsin_cli.command import Command, input_path, json_option, read_input
from tocsin_cli.document import counted, rfc3339
from tocsin_cli.grid import Cell, Column
from tocsin_cli.proof import Delivered, Proof, missing_numbers, parse_evidence, verify_chain, verify_evidence
from tocsin_cli.session import now as clock
from tocsin_cli.view import ID_LENGTH, disclosed_fields

EXIT_REFUSED = RecordRefused.exit_code
MOST_MISSING_NAMED = 5
STYLES = {"refused": "red", "declined": "red", "stored": "green", "grown": "green", "applied": "green"}

COLUMNS = (
    Column("acknowledged"),
    Column("entry", right=True),
    Column("kind", spare=True),
    Column("digest"),
    Column("origin"),
    Column("outcome"),
    Column("content"),
    Column("fields that went", flexible=True, wraps=True),
)


@click.command(
    cls=Command,
    examples=("tocsin receipts verify receipts.json --identity lab-a.tocsin --identity aisi.tocsin",),
)
@click.argument("file", type=input_path(), metavar="FILE")
@click.option(
    "--identity",
    "identities",
    multiple=True,
    required=True,
    type=input_path(),
    metavar="FILE",
    help="Identity document of one of the two; given twice.",
)
@json_option
@click.pass_context
def verify(ctx: click.Context, *, file: Path, identities: tuple[Path, ...], as_json: bool) -> None:
    """Verify exported receipts offline, against two identity documents.

    Needs no home, no node and no network. Compare the printed fingerprints
    with those that the organisations gave you. A receipt that is refused makes
    the exit code 4.
    """
    organisations: dict[str, Organisation] = {found.org: found for found in map(_read_identity, identities)}
    proofs, refusals = _verify(file, organisations)
    if as_json:
        output.document(_document(proofs, refusals))
    elif proofs:
        _print_proofs(proofs, organisations)
    for error in _said_once(refusals):
        output.error(error)
    if refusals:
        ctx.exit(EXIT_REFUSED)


def _read_identity(file: Path) -> Organisation:
    try:
        # What was signed while the document was in force stays signed.
        return parse_identity(read_input(file), now=clock(), check_expiry=False)
    except TocsinError as error:
        error.where = error.where or str(file)
        raise


def _verify(file: Path, organisations: Mapping[str, Organisation]) -> tuple[list[Proof], list[TocsinError]]:
    """Return what verifies and what does not."""
    proofs: list[Proof] = []
    refusals: list[TocsinError] = []
    try:
        for number, evidence in enumerate(parse_evidence(read_input(file)), start=1):
            try:
                proofs.append(verify_evidence(evidence, organisations=organisations, now=clock()))
            except (RecordRefused, Malformed) as error:
                error.where = f"{file}: receipt {number}{f': {error.where}' if error.where else ''}"
                refusals.append(error)
        verify_chain(proofs)
    except (RecordRefused, Malformed) as error:
        error.where = f"{file}: {error.where}" if error.where else str(file)
        refusals.append(error)
    return proofs, refusals


def _said_once(refusals: Sequence[TocsinError]) -> Iterator[TocsinError]:
    """Yield the first of those that say the same: a document that is missing is missing for every receipt."""
    same: dict[tuple[str, str], list[TocsinError]] = {}
    for error in refusals:
        same.setdefault((error.reason, error.message), []).append(error)
    for first, *others in same.values():
        if others:
            first.details = (f"and the same of {counted(len(others), 'further receipt')}",)
        yield first


def _print_proofs(proofs: Sequence[Proof], organisations: Mapping[str, Organisation]) -> None:
    for first in _chains(proofs):
        same = [proof for proof in proofs if _chain(proof) == _chain(first)]
        receipt = first.receipt
        output.styled(f"{receipt.issuer} acknowledges to {receipt.audience}", "bold")
        output.pairs(
            [
                ("verified", f"{counted(len(same), 'receipt')} of the chain {receipt.chain}"),
                ("not here", _missing_text(missing_numbers(proofs, receipt))),
                (receipt.issuer, organisations[receipt.issuer].fingerprint),
                (receipt.audience, organisations[receipt.audience].fingerprint),
            ]
        )
        output.data()
        output.table(COLUMNS, [row for proof in same for row in _delivered_rows(proof)])


def _chain(proof: Proof) -> tuple[str, str, str]:
    return (proof.receipt.issuer, proof.receipt.audience, proof.receipt.chain)


def _chains(proofs: Sequence[Proof]) -> Iterator[Proof]:
    """Yield the first proof of each chain."""
    yield from {_chain(proof): proof for proof in reversed(proofs)}.values()


def _missing_text(missing: Sequence[int]) -> str:
    more = len(missing) - MOST_MISSING_NAMED
    named = ", ".join(map(str, missing[:MOST_MISSING_NAMED]))
    return f"{named} and {more:,} more" if more > 0 else named


def _delivered_rows(proof: Proof) -> Iterator[list[Cell | str]]:
    at = output.minute(proof.receipt.issued_at)
    for one in proof.delivered:
        outcome = one.verdict.outcome.value
        yield [
            at,
            str(one.verdict.sequence),
            str(one.stated.get("kind", "")),
            one.verdict.digest[:ID_LENGTH],
            str(one.stated.get("origin", "")),
            Cell(f"{outcome} {one.verdict.reason}".rstrip(), STYLES.get(outcome, "")),
            "verified" if one.text else "",
            ", ".join(disclosed_fields(one.disclosed)),
        ]


def _document(proofs: Sequence[Proof], refusals: Sequence[TocsinError]) -> dict[str, object]:
    refused = [{"where": error.where, "reason": error.reason, "message": error.message} for error in refusals]
    return {
        "verified": not refused,
        "receipts": [_proof_document(proof, proofs) for proof in proofs],
        "refused": refused,
    }


def _proof_document(proof: Proof, proofs: Sequence[Proof]) -> dict[str, object]:
    receipt = proof.receipt
    return {
        "issuer": receipt.issuer,
        "audience": receipt.audience,
        "at": rfc3339(receipt.issued_at),
        "chain": receipt.chain,
        "number": receipt.number,
        "missing_in_chain": missing_numbers(proofs, receipt),
        "entries": [_entry_document(one) for one in proof.delivered],
    }


def _entry_document(one: Delivered) -> dict[str, object]:
    return {
        "sequence": one.verdict.sequence,
        "kind": one.stated.get("kind", ""),
        "digest": one.verdict.digest,
        "origin": one.stated.get("origin", ""),
        "disclosed": disclosed_fields(one.disclosed),
        "withheld": one.stated.get("withheld", []),
        "outcome": one.verdict.outcome.value,
        "reason": one.verdict.reason,
        "content_verified": bool(one.text),
    }
