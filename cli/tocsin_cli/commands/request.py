"""This module has the command that asks another organisation for more of a record: request."""

import click

from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.exchange_service_pb2 import RequestState
from tocsin_cli import output
from tocsin_cli.command import Command, json_option
from tocsin_cli.document import claim, document
from tocsin_cli.session import Session

MEANINGS = {
    "open": "its people have not answered yet",
    "granted": "it has revealed something: it comes with the next page",
    "declined": "its people have said no",
}


@click.command(
    cls=Command,
    examples=(
        "tocsin request 3f2a steps --why 'we see the same in our agent'",
        "tocsin request 3f2a 'subjects[*].version' prompts --why 'to reproduce it'",
    ),
)
@click.argument("record_id", metavar="ID")
@click.argument("paths", nargs=-1, required=True, metavar="FIELD...")
@click.option("--why", required=True, metavar="TEXT", help="What for; the people of the origin read it.")
@json_option
@click.pass_obj
def request(session: Session, *, record_id: str, paths: tuple[str, ...], why: str, as_json: bool) -> None:
    """Ask the origin of a record for fields that it withholds.

    The answer comes with the feed, if its people reveal something. Asking
    again says where it stands.
    """
    asked = v1.RequestFieldsRequest(id=record_id, paths=paths, why=why)
    found = session.call(asked, v1.RequestFieldsResponse)
    if as_json:
        output.document(document(found))
        return
    state = claim(RequestState.DESCRIPTOR, found.state)
    output.data(f"asked {found.origin} for {', '.join(paths)}: {state}")
    if state in MEANINGS:
        output.talk(MEANINGS[state])
