"""This module has the command that says what is on its way to partners, and why it is not there: outbox."""

import click

from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, complete_partner, json_option
from tocsin_cli.document import claim, document
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session
from tocsin_cli.view import ID_LENGTH

MOST_A_PAGE = 500
STYLES = {"held": "yellow", "in_review": "yellow", "refused": "red"}

COLUMNS = (
    Column("partner"),
    Column("record"),
    Column("title", flexible=True, spare=True),
    Column("state"),
    Column("since", spare=True),
    Column("until"),
    Column("#", right=True, spare=True),
    Column("why", flexible=True, wraps=True),
)


@click.command(cls=Command, examples=("tocsin outbox", "tocsin outbox --partner aisi.example", "tocsin outbox --json"))
@click.option(
    "--partner", default="", metavar="ORG", shell_complete=complete_partner, help="Only what goes to this organisation."
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most deliveries to print.")
@json_option
@click.pass_obj
def outbox(session: Session, *, partner: str, limit: int, as_json: bool) -> None:
    """List what waits to go, each with the reason why.

    And what went and is not acknowledged, or was refused. By partner, and then
    by record.
    """
    request = v1.ListOutboxRequest(partner=partner)
    found = session.collect(request, v1.ListOutboxResponse, items="deliveries", limit=limit, most=MOST_A_PAGE)
    if as_json:
        output.document(document(found))
        return
    if found.deliveries:
        output.table(COLUMNS, [_row(delivery) for delivery in found.deliveries])
    else:
        output.talk("nothing waits: everything that went is acknowledged")
    reviews = dict.fromkeys(delivery.review for delivery in found.deliveries if delivery.review)
    if reviews:
        output.hint(f"somebody has to agree: tocsin review show {next(iter(reviews))[:ID_LENGTH]}")
    if any(delivery.state == v1.DELIVERY_STATE_REFUSED for delivery in found.deliveries):
        output.hint("what was refused does not go again: see why with its partner; the next version of the record goes")
    if found.next_page_token:
        output.talk(f"{len(found.deliveries):,} deliveries; --limit shows more")


def _row(found: v1.Delivery) -> list[Cell | str]:
    state = claim(v1.DeliveryState.DESCRIPTOR, found.state)
    return [
        Cell(found.partner, "bold"),
        (found.record_id or found.digest)[:ID_LENGTH],
        found.title,
        Cell(state.replace("_", " "), STYLES.get(state, "")),
        output.minute(found.since.seconds) if found.HasField("since") else "",
        output.minute(found.until.seconds) if found.HasField("until") else "",
        str(found.sequence or ""),
        found.why,
    ]
