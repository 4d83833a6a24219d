"""This module has the commands that need no home: verify for records and retractions, and sdjwt verify.

Whatever is wrong with a record, its form or its signature, the exit code is 4
and the reason code says which rule it broke: a script asks one question.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from tocsin.encoding import parse_json
from tocsin.errors import Malformed, MalformedIdentity, RecordRefused, TocsinError, UntrustedIssuer
from tocsin.identity.root import Organisation, parse_identity
from tocsin.records.jws import split_jws
from tocsin.records.record import UnverifiedRecord, VerifiedRecord, parse_record
from tocsin.records.retraction import RETRACTION_TYPE, UnverifiedRetraction, VerifiedRetraction, parse_retraction
from tocsin.records.sdjwt import verify_sdjwt
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, group, input_path, json_option, read_input
from tocsin_cli.commands.record import Since
from tocsin_cli.document import rfc3339
from tocsin_cli.session import now as clock
from tocsin_cli.view import disclosed_fields

EXIT_REFUSED = RecordRefused.exit_code
WHAT_IT_READS = "a record is what `tocsin export ID` prints; receipts are for `tocsin receipts verify`"

Verified = VerifiedRecord | VerifiedRetraction

sdjwt = group(
    name="sdjwt",
    examples=("tocsin sdjwt verify --jwk issuer.jwk token.sdjwt",),
    sections=(
        Section(
            "Commands",
            (Entry("verify", "tocsin_cli.commands.verify:sdjwt_verify", "Verify a compact SD-JWT by a given key."),),
        ),
    ),
    summary="Verify any RFC 9901 SD-JWT by a given key.",
)


@click.command(
    cls=Command,
    examples=(
        "tocsin verify record.sdjwt --identity lab-a.tocsin",
        "tocsin export 3f2a | tocsin verify - --identity lab-a.tocsin",
        "tocsin verify *.sdjwt --identity lab-a.tocsin --identity lab-b.tocsin --json",
    ),
)
@click.argument("files", nargs=-1, required=True, type=input_path(), metavar="FILE...")
@click.option(
    "--identity",
    "identities",
    multiple=True,
    required=True,
    type=input_path(),
    metavar="FILE",
    help="Identity document of the organisation that signed; may be given more than once.",
)
@json_option
@click.pass_context
def verify(ctx: click.Context, *, files: tuple[Path, ...], identities: tuple[Path, ...], as_json: bool) -> None:
    """Verify records offline against an identity document.

    And retractions. Needs no home, no node and no network. Compare the printed
    fingerprint with one that the organisation gave you. A record that is
    refused makes the exit code 4, and its reason code is printed.
    """
    organisations: dict[str, Organisation] = {found.org: found for found in map(_read_identity, identities)}
    results = [_verify_file(file, organisations=organisations) for file in files]
    if as_json:
        output.document({"results": [_result(file, outcome) for file, outcome in zip(files, results, strict=True)]})
    for file, outcome in zip(files, results, strict=True):
        if isinstance(outcome, TocsinError):
            output.error(outcome)
        elif not as_json:
            output.data(f"{_name(file)}: verified")
            output.pairs([*_verified_pairs(outcome), ("fingerprint", organisations[outcome.issuer].fingerprint)])
    if any(isinstance(outcome, TocsinError) for outcome in results):
        ctx.exit(EXIT_REFUSED)


def _read_identity(file: Path) -> Organisation:
    try:
        return parse_identity(read_input(file), now=clock())
    except TocsinError as error:
        error.where = error.where or str(file)
        raise


def _verify_file(file: Path, *, organisations: dict[str, Organisation]) -> Verified | TocsinError:
    token = read_input(file)
    try:
        read = _parse(_text(token))
        issuer = organisations.get(read.issuer)
        if issuer is None:
            what = "retraction" if isinstance(read, UnverifiedRetraction) else "record"
            raise UntrustedIssuer(
                f"the {what} is of {read.issuer}, and none of the identity documents is",
                reason="KEY_NOT_OF_ISSUER",
                hint="give the identity document of the organisation that signed it",
            )
        return read.verify(issuer, now=clock())
    except (RecordRefused, Malformed) as error:
        error.where = f"{_name(file)}: {error.where}" if error.where else _name(file)
        if error.reason == "BAD_FORM":
            error.hint = error.hint or WHAT_IT_READS
        return error


def _parse(token: str) -> UnverifiedRecord | UnverifiedRetraction:
    """Read what says that it is a retraction as one, and everything else as a record."""
    try:
        is_retraction = "~" not in token and split_jws(token).header.get("typ") == RETRACTION_TYPE
    except (Malformed, RecordRefused):
        is_retraction = False
    return parse_retraction(token) if is_retraction else parse_record(token)


def _verified_pairs(found: Verified) -> list[tuple[str, str]]:
    signed = ("signed", f"{rfc3339(found.issued_at)} by {found.issuer}, key {found.key_id}")
    if isinstance(found, VerifiedRetraction):
        what = f"{found.action} of {found.record_id}, versions up to {found.version}, TLP:{found.tlp}"
        return [("retraction", what), signed, ("reason", found.reason), ("successor", found.successor)]
    fields, marking = disclosed_fields(found.paths), found.marking_at(clock())
    signed_as = "" if marking == found.tlp else f" (signed as TLP:{found.tlp})"
    return [
        ("record", f"{found.kind} {found.record_id} version {found.version}, TLP:{marking}{signed_as}"),
        signed,
        ("digest", found.digest),
        ("fields", f"{len(fields)} disclosed: {', '.join(fields)}"),
    ]


def _result(file: Path, outcome: Verified | TocsinError) -> dict[str, object]:
    if isinstance(outcome, TocsinError):
        return {"file": str(file), "verified": False, "reason": outcome.reason, "message": outcome.message}
    found = _retraction_result(outcome) if isinstance(outcome, VerifiedRetraction) else _record_result(outcome)
    return {"file": str(file), "verified": True, "issuer": outcome.issuer, **found}


def _retraction_result(outcome: VerifiedRetraction) -> dict[str, object]:
    return {
        "record_id": outcome.record_id,
        "version": outcome.version,
        "action": outcome.action.value,
        "tlp": outcome.tlp,
        "retraction_reason": outcome.reason,
        "successor": outcome.successor,
        "digest": outcome.digest,
        "key_id": outcome.key_id,
        "signed_at": rfc3339(outcome.issued_at),
    }


def _record_result(outcome: VerifiedRecord) -> dict[str, object]:
    return {
        "record_id": outcome.record_id,
        "version": outcome.version,
        "kind": outcome.kind,
        "status": outcome.status,
        "tlp": outcome.tlp,
        "marking": outcome.marking_at(clock()),
        "digest": outcome.digest,
        "key_id": outcome.key_id,
        "signed_at": rfc3339(outcome.issued_at),
        "content": outcome.content,
    }


class Moment(Since):
    """A time as `Since` reads it, or in unix seconds, as tokens write it (RFC 7519 section 2, NumericDate)."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return unix seconds."""
        return int(value) if isinstance(value, str) and value.isdecimal() else super().convert(value, param, ctx)


@click.command(
    "verify",
    cls=Command,
    examples=(
        "tocsin sdjwt verify --jwk issuer.jwk token.sdjwt",
        "tocsin sdjwt verify --jwk issuer.jwk --now 2026-03-01T12:00:00Z - < token.sdjwt",
    ),
)
@click.argument("file", type=input_path(), metavar="TOKENFILE")
@click.option("--jwk", type=input_path(), required=True, metavar="FILE", help="Public key of the issuer, as a JWK.")
@click.option("--now", type=Moment(), default=None, help="Verify as of this time, RFC 3339 or unix seconds.")
@json_option
@click.pass_context
def sdjwt_verify(ctx: click.Context, *, file: Path, jwk: Path, now: int | None, as_json: bool) -> None:
    """Verify a compact SD-JWT by a given key.

    Any RFC 9901 SD-JWT, without the rules of our own records: EdDSA or ES256,
    whichever the key is for. Prints the processed payload as JSON, which is
    what --json prints too; a token that is refused makes the exit code 4.
    """
    key = _read_jwk(jwk)
    try:
        verified = verify_sdjwt(_text(read_input(file)), jwk=key, now=clock() if now is None else now)
    except (RecordRefused, Malformed) as error:
        blamed = _name(jwk if isinstance(error, MalformedIdentity) else file)
        error.where = f"{blamed}: {error.where}" if error.where else blamed
        output.error(error)
        ctx.exit(EXIT_REFUSED)
    output.document(verified.payload)


def _read_jwk(file: Path) -> Mapping[str, object]:
    try:
        key = parse_json(read_input(file))
    except Malformed as error:
        error.where = error.where or str(file)
        raise
    if not isinstance(key, dict):
        raise MalformedIdentity("a JWK is a JSON object", reason="BAD_IDENTITY", where=str(file))
    return key


def _name(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _text(token: bytes) -> str:
    """Return a token without the newline that files end with; what is no ASCII will be refused by its form."""
    return token.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
