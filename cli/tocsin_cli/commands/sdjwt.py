"""This module has the command for SD-JWTs of other people: sdjwt verify, by a key and without our own rules.

Whatever is wrong with a token, its form or its signature, the exit code is 4
and the reason code says which rule it broke: a script asks one question.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from tocsin.encoding import parse_json
from tocsin.errors import Malformed, MalformedIdentity, RecordRefused
from tocsin.records.sdjwt import verify_sdjwt
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, group, input_path, json_option, read_input
from tocsin_cli.commands.record import Since
from tocsin_cli.session import now as clock

EXIT_REFUSED = RecordRefused.exit_code

sdjwt = group(
    name="sdjwt",
    examples=("tocsin sdjwt verify --jwk issuer.jwk token.sdjwt",),
    sections=(
        Section(
            "Commands",
            (Entry("verify", "tocsin_cli.commands.sdjwt:verify", "Verify a compact SD-JWT by a given key."),),
        ),
    ),
    summary="Verify any RFC 9901 SD-JWT by a given key.",
)


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
def verify(ctx: click.Context, *, file: Path, jwk: Path, now: int | None, as_json: bool) -> None:
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
