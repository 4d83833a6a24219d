"""This module has the commands about other organisations: peer add, list, show, suspend, resume, remove."""

from collections.abc import Sequence
from pathlib import Path

import click

from tocsin.errors import IdentityOutdated, MalformedIdentity
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, complete_partner, group, input_path, json_option, read_input
from tocsin_cli.commands.identity import print_organisation
from tocsin_cli.document import claim, document, timestamp_text
from tocsin_cli.output import Cell, Column
from tocsin_cli.session import Session

_HERE = "tocsin_cli.commands.peer"
ROLES = {"member": v1.PEER_ROLE_MEMBER, "reader": v1.PEER_ROLE_READER}
STATE_STYLES = {"active": "green", "pending": "yellow", "suspended": "yellow", "removed": "dim"}

COLUMNS = (
    Column("organisation"),
    Column("role", spare=True),
    Column("state"),
    Column("received", right=True),
    Column("sent", right=True),
    Column("waiting", right=True),
    Column("last exchange", spare=True),
    Column("problem", flexible=True),
)

REFUSAL_COLUMNS = (Column("refused at"), Column("reason"), Column("entry", right=True), Column("record"))

peer = group(
    name="peer",
    examples=(
        "tocsin peer add lab-b.tocsin --fingerprint MFZWI3D-BONSGYC-…",
        "tocsin peer list",
        "tocsin peer suspend lab-b.example",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("add", f"{_HERE}:add", "Register an organisation by its identity document."),
                Entry("list", f"{_HERE}:list_peers", "List the organisations that this node knows."),
                Entry("show", f"{_HERE}:show", "Show one organisation, and how the exchange goes."),
                Entry("suspend", f"{_HERE}:suspend", "Stop exchanging with a peer until it is resumed."),
                Entry("resume", f"{_HERE}:resume", "Exchange with a suspended peer again."),
                Entry("remove", f"{_HERE}:remove", "End the exchange with a peer for good."),
            ),
        ),
    ),
    summary="Add, list, suspend or remove organisations.",
)

_peer_argument = click.argument("org", metavar="ORG", shell_complete=complete_partner)


@click.command(
    cls=Command,
    examples=(
        "tocsin peer add lab-b.tocsin --fingerprint MFZWI3D-BONSGYC-…",
        "tocsin peer add aisi.tocsin --fingerprint … --role reader",
    ),
)
@click.argument("file", type=input_path(), metavar="FILE")
@click.option("--fingerprint", default="", metavar="F", help="What their people told you; without it the peer waits.")
@click.option("--role", type=click.Choice(list(ROLES)), default=None, help="A reader only reads.  [default: member]")
@json_option
@click.pass_obj
def add(session: Session, *, file: Path, fingerprint: str, role: str | None, as_json: bool) -> None:
    """Register an organisation by its identity document.

    Until a fingerprint is given that its people confirmed, the peer stays
    pending: nothing is sent to it and nothing from it is accepted. Adding a
    peer again takes its newer document.
    """
    request = v1.AddPeerRequest(document=read_input(file), fingerprint=fingerprint)
    if role:
        request.role = ROLES[role]
    try:
        added = session.call(request, v1.AddPeerResponse)
    except (MalformedIdentity, IdentityOutdated) as error:
        error.where = error.where or str(file)
        raise
    if as_json:
        output.document(document(added))
        return
    found = added.peer
    output.data(f"{found.organisation.org} is {_state(found)} as a {_role(found)}")
    for change in added.changes:
        output.warning(change)
    if found.state == v1.PEER_STATE_PENDING:
        output.hint(
            f"ask them for their fingerprint; if it is {found.organisation.fingerprint} run this again "
            f"with --fingerprint {found.organisation.fingerprint}"
        )
        return
    place = session.place_of(found.policy_file)
    shared = f"what they get is in {place}" if added.shares else f"nothing is shared yet: say what they get in {place}"
    output.hint(f"{shared}; then see what it would release: tocsin policy plan")


@click.command("list", cls=Command, examples=("tocsin peer list", "tocsin peer list --json"))
@json_option
@click.pass_obj
def list_peers(session: Session, *, as_json: bool) -> None:
    """List the organisations that this node knows."""
    found = session.call(v1.ListPeersRequest(), v1.ListPeersResponse)
    if as_json:
        output.document(document(found))
        return
    print_peers(found.peers)


@click.command(cls=Command, examples=("tocsin peer show lab-b.example",))
@_peer_argument
@json_option
@click.pass_obj
def show(session: Session, *, org: str, as_json: bool) -> None:
    """Show one organisation, and how the exchange goes."""
    found = session.call(v1.GetPeerRequest(org=org), v1.GetPeerResponse).peer
    if as_json:
        output.document(document(found))
        return
    print_organisation(found.organisation)
    output.data()
    output.pairs(
        [
            ("role", _role(found)),
            ("state", _state(found)),
            ("policy file", found.policy_file),
            ("received", f"{found.records_received:,} records, {found.entries_refused:,} entries refused"),
            ("sent", f"{found.entries_sent:,} entries, {found.entries_acknowledged:,} of them acknowledged"),
            ("waiting", f"{found.waiting:,}"),
            (
                "last received",
                timestamp_text(found.last_received_at) if found.HasField("last_received_at") else "never",
            ),
            ("last sent", timestamp_text(found.last_sent_at) if found.HasField("last_sent_at") else "never"),
            ("problem", found.last_error),
        ]
    )
    if found.refusals:
        output.data()
        output.table(
            REFUSAL_COLUMNS,
            [
                (timestamp_text(refusal.refused_at), refusal.reason, str(refusal.sequence), refusal.digest)
                for refusal in found.refusals
            ],
        )


@click.command(cls=Command, examples=("tocsin peer suspend lab-b.example",))
@_peer_argument
@json_option
@click.pass_obj
def suspend(session: Session, *, org: str, as_json: bool) -> None:
    """Stop exchanging with a peer until it is resumed."""
    found = session.call(v1.SuspendPeerRequest(org=org), v1.SuspendPeerResponse).peer
    _print_change(found, as_json=as_json, then=f"take it up again: tocsin peer resume {org}")


@click.command(cls=Command, examples=("tocsin peer resume lab-b.example",))
@_peer_argument
@json_option
@click.pass_obj
def resume(session: Session, *, org: str, as_json: bool) -> None:
    """Exchange with a suspended peer again."""
    _print_change(session.call(v1.ResumePeerRequest(org=org), v1.ResumePeerResponse).peer, as_json=as_json)


@click.command(cls=Command, examples=("tocsin peer remove lab-b.example",))
@_peer_argument
@json_option
@click.pass_obj
def remove(session: Session, *, org: str, as_json: bool) -> None:
    """End the exchange with a peer for good.

    Its streams end within seconds. What either side holds already stays there.
    """
    found = session.call(v1.RemovePeerRequest(org=org), v1.RemovePeerResponse).peer
    then = f"its policy file stays, and counts if it is added again: {session.place_of(found.policy_file)}"
    _print_change(found, as_json=as_json, then=then)


def print_peers(peers: Sequence[v1.Peer]) -> None:
    """Print a table of peers, or say that there are none."""
    if not peers:
        output.talk("no peers; add one: tocsin peer add FILE --fingerprint F")
        return
    output.table(COLUMNS, [_row(found) for found in peers])


def _row(found: v1.Peer) -> list[Cell | str]:
    times = [time.seconds for time in (found.last_received_at, found.last_sent_at) if time.seconds]
    return [
        Cell(found.organisation.org, "bold"),
        _role(found),
        Cell(_state(found), STATE_STYLES.get(_state(found), "")),
        f"{found.records_received:,}",
        f"{found.entries_sent:,}",
        f"{found.waiting:,}",
        output.minute(max(times)) if times else "never",
        Cell(found.last_error, "red"),
    ]


def _print_change(found: v1.Peer, *, as_json: bool, then: str = "") -> None:
    if as_json:
        output.document(document(found))
        return
    output.data(f"{found.organisation.org} is {_state(found)}")
    if then:
        output.hint(then)


def _state(found: v1.Peer) -> str:
    return claim(v1.PeerState.DESCRIPTOR, found.state)


def _role(found: v1.Peer) -> str:
    return claim(v1.PeerRole.DESCRIPTOR, found.role)
