"""This module has the commands for what partners have signed for: receipts list, export; verify is next door.

A receipt is a partner's signature under what it was sent, and what became of
it. With the page that it is for, anybody can check it without a node.
"""

from collections.abc import Callable, Mapping

import click

from tocsin.encoding import JSON
from tocsin.errors import NotFound
from tocsin.records.envelope import DIGEST
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Function, Section, complete_partner, group, json_option
from tocsin_cli.document import document
from tocsin_cli.grid import Cell, Column
from tocsin_cli.proof import FORMAT, Evidence, rebuild, stated_entries
from tocsin_cli.session import Session

_HERE = "tocsin_cli.commands.receipts"
MOST_A_PAGE = 20
"""Receipts that are asked for at once: each comes with its page's statement, which takes up to 3 MiB of an answer of
64 MiB."""

COLUMNS = (
    Column("partner"),
    Column("#", right=True),
    Column("entries"),
    Column("signed"),
    Column("refused", right=True),
    Column("chain", flexible=True, spare=True),
)
receipts = group(
    name="receipts",
    examples=(
        "tocsin receipts list --partner aisi.example",
        "tocsin receipts export --partner aisi.example > receipts.json",
        "tocsin receipts verify receipts.json --identity lab-a.tocsin --identity aisi.tocsin",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("list", f"{_HERE}:list_receipts", "List what partners have signed for."),
                Entry(
                    "verify",
                    "tocsin_cli.commands.testimony:verify",
                    "Verify exported receipts offline, against two identity documents.",
                ),
                Entry("export", f"{_HERE}:export", "Print receipts with their pages, as proof for somebody else."),
            ),
        ),
    ),
    summary="List, verify or export what partners have signed for.",
)


def _filter_options(function: Function) -> Function:
    """Add the options that say which receipts are meant."""
    partner = click.option(
        "--partner", default="", metavar="ORG", shell_complete=complete_partner, help="Only with this organisation."
    )
    record = click.option("--record", default="", metavar="ID", help="Only about this version of a record.")
    given = click.option("--given", is_flag=True, help="Those that this node has signed for partners.")
    return partner(record(given(function)))


@click.command(
    "list",
    cls=Command,
    examples=("tocsin receipts list", "tocsin receipts list --partner aisi.example --record 3f2a"),
)
@_filter_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most receipts to print.")
@json_option
@click.pass_obj
def list_receipts(session: Session, *, partner: str, record: str, given: bool, limit: int, as_json: bool) -> None:
    """List what partners have signed for.

    By partner, and in the order in which they signed.
    """
    request = _request(session, partner=partner, record=record, given=given)
    found = session.collect(request, v1.ListReceiptsResponse, items="receipts", limit=limit, most=MOST_A_PAGE)
    if as_json:
        output.document(document(found))
        return
    if found.receipts:
        output.table(COLUMNS, [_row(one, given=given) for one in found.receipts])
    else:
        output.talk("no receipts")
    if found.next_page_token:
        output.talk(f"{len(found.receipts):,} receipts; --limit shows more")


def _request(session: Session, *, partner: str, record: str, given: bool) -> v1.ListReceiptsRequest:
    digest = record
    if record and not DIGEST.fullmatch(record):
        digest = session.call(v1.GetRecordRequest(id=record), v1.GetRecordResponse).record.digest
    return v1.ListReceiptsRequest(partner=partner, digest=digest, given=given)


def _row(found: v1.Receipt, *, given: bool) -> list[Cell | str]:
    return [
        Cell(found.audience if given else found.issuer, "bold"),
        str(found.number),
        _range(found.first, found.last),
        output.minute(found.at.seconds),
        Cell(str(found.refused or ""), "red"),
        found.chain,
    ]


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


@click.command(
    cls=Command,
    examples=(
        "tocsin receipts export --partner aisi.example > receipts.json",
        "tocsin receipts export --record 3f2a --with-content > proof.json",
    ),
)
@_filter_options
@click.option("--with-content", is_flag=True, help="And what went itself, for whoever may read it.")
@json_option
@click.pass_obj
def export(session: Session, *, partner: str, record: str, given: bool, with_content: bool, as_json: bool) -> None:
    """Print receipts with their pages, as proof for somebody else.

    A page names records by their digests and fields by their paths. With
    --with-content it comes with the exact bytes that went, as far as this node
    still holds them. Prints one JSON document, which is what --json prints too.
    """
    request = _request(session, partner=partner, record=record, given=given)
    request.page_size = MOST_A_PAGE
    text_of = _Texts(session).text_of if with_content else _no_text
    pages = session.pages(request, v1.ListReceiptsResponse)
    pairs = [_evidence(found, text_of) for page in pages for found in page.receipts]
    if not pairs:
        output.talk("no receipts")
    output.document({"format": FORMAT, "receipts": [pair.to_json() for pair in pairs]})


def _evidence(found: v1.Receipt, text_of: Callable[[Mapping[str, JSON]], str]) -> Evidence:
    content = {}
    for entry in stated_entries(found.page_statement) if found.page_statement else ():
        sequence, text = entry.get("seq"), text_of(entry)
        if text and isinstance(sequence, int):
            content[sequence] = text
    return Evidence(found.statement, found.page_statement, content)


def _no_text(_stated: Mapping[str, JSON]) -> str:
    return ""


class _Texts:
    """What entries of pages carried, made anew of what the node holds."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tokens: dict[tuple[str, str], str] = {}

    def text_of(self, stated: Mapping[str, JSON]) -> str:
        """Return the text of an entry; empty where the node does not hold it any more."""
        kind, digest = str(stated.get("kind", "")), str(stated.get("digest", ""))
        if digest and (kind, digest) not in self._tokens:
            self._tokens[kind, digest] = self._ask(kind, digest)
        token = self._tokens.get((kind, digest), "")
        return rebuild(stated, token) if token else ""

    def _ask(self, kind: str, digest: str) -> str:
        try:
            if kind == "retraction":
                request = v1.GetRetractionRequest(id=digest)
                return self._session.call(request, v1.GetRetractionResponse).retraction.token
            asked = v1.GetRecordRequest(id=digest, with_token=True)
            return self._session.call(asked, v1.GetRecordResponse).record.token
        except NotFound:
            return ""
