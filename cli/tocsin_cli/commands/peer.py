"""This module has the commands about other organisations: peer add, list, show, suspend, resume, remove."""

from collections.abc import Sequence
from pathlib import Path

import click

from tocsin.errors import IdentityOutdated, MalformedIdentity
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import (
    Command,
    Entry,
    Section,
    UsageProblem,
    complete_partner,
    group,
    input_path,
    json_option,
    read_input,
)
from tocsin_cli.commands.identity import print_organisation
from tocsin_cli.document import claim, counted, document, duration, timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session, now

_HERE = "tocsin_cli.commands.peer"
ROLES = {"member": v1.PEER_ROLE_MEMBER, "reader": v1.PEER_ROLE_READER}
STATE_STYLES = {"active": "green", "pending": "yellow", "suspended": "yellow", "removed": "dim", "known": ""}
CONTACT_STYLES = {v1.CONTACT_STATE_IN_TOUCH: "green", v1.CONTACT_STATE_WAITING: "yellow"}

COLUMNS = (
    Column("organisation"),
    Column("role", spare=True),
    Column("state"),
    Column("received", right=True),
    Column("sent", right=True),
    Column("in flight", right=True),
    Column("waiting", right=True),
    Column("oldest"),
    Column("contact"),
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
                Entry(
                    "test", "tocsin_cli.commands.doctor:test_peer", "Send a made-up record to a peer, and take it back."
                ),
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
        "tocsin peer add uni.tocsin --fingerprint … --known        for records of it that others pass on",
    ),
)
@click.argument("file", type=input_path(), metavar="FILE")
@click.option("--fingerprint", default="", metavar="F", help="What their people told you; without it the peer waits.")
@click.option("--role", type=click.Choice(list(ROLES)), default=None, help="A reader only reads.  [default: member]")
@click.option("--known", is_flag=True, help="Only trust its keys, for records that others pass on; exchange nothing.")
@json_option
@click.pass_obj
def add(session: Session, *, file: Path, fingerprint: str, role: str | None, known: bool, as_json: bool) -> None:
    """Register an organisation by its identity document.

    Until a fingerprint is given that its people confirmed, the peer stays
    pending: nothing is sent to it and nothing from it is accepted. Adding a
    peer again takes its newer document.
    """
    if role and known:
        raise UsageProblem("nothing is exchanged with an organisation that is only known", "leave --role out")
    request = v1.AddPeerRequest(document=read_input(file), fingerprint=fingerprint, known=known)
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
    output.data(f"{found.organisation.org} is {_state(found)}{f' as a {_role(found)}' if _role(found) else ''}")
    for change in added.changes:
        output.warning(change)
    if found.state == v1.PEER_STATE_PENDING:
        output.hint(
            f"ask them for their fingerprint; if it is {found.organisation.fingerprint} run this again "
            f"with --fingerprint {found.organisation.fingerprint}"
        )
        return
    if found.state == v1.PEER_STATE_KNOWN:
        output.hint("records of it are taken from partners whose policy file says: [accept] relayed = true")
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
            ("received", f"{counted(found.records_received, 'record')}, {_entries(found.entries_refused)} refused"),
            ("sent", f"{_entries(found.entries_sent)}, {found.entries_acknowledged:,} of them acknowledged"),
            ("waiting", f"{found.waiting:,}{f', the oldest for {_age(found)}' if _age(found) else ''}"),
            ("contact", _contact(found)),
            ("failures", _failures(found)),
            ("clock", _clock(found)),
            ("last received", _time(found, "last_received_at") or "never"),
            ("last sent", _time(found, "last_sent_at") or "never"),
            ("last signed for", _time(found, "last_acknowledged_at")),
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
    in_flight = found.entries_sent - found.entries_acknowledged
    return [
        Cell(found.organisation.org, "bold"),
        _role(found),
        Cell(_state(found), STATE_STYLES.get(_state(found), "")),
        f"{found.records_received:,}",
        f"{found.entries_sent:,}",
        f"{in_flight:,}" if in_flight else "",
        f"{found.waiting:,}",
        _age(found),
        Cell(_contact(found), CONTACT_STYLES.get(found.contact, "")),
        output.minute(max(times)) if times else "never",
        Cell(found.last_error.replace(f": {found.organisation.org} ", ": "), "red"),  # whose row it is
    ]


def _age(found: v1.Peer) -> str:
    """Return for how long the oldest of what waits has waited; empty where nothing does."""
    return duration(now() - found.oldest_waiting_at.seconds) if found.HasField("oldest_waiting_at") else ""


def _entries(number: int) -> str:
    return counted(number, "entry", "entries")


def _contact(found: v1.Peer) -> str:
    """Return how the contact with a peer goes; empty where nothing is exchanged, or this node calls nobody."""
    if found.state == v1.PEER_STATE_ACTIVE and not found.organisation.endpoints:
        return "calls us"
    state = claim(v1.ContactState.DESCRIPTOR, found.contact).replace("_", " ")
    if found.contact != v1.CONTACT_STATE_WAITING or not found.HasField("next_attempt_at"):
        return state
    return f"again in {duration(max(found.next_attempt_at.seconds - now(), 0))}"


def _failures(found: v1.Peer) -> str:
    return f"{counted(found.failures, 'attempt')} since the last one that did not fail" if found.failures else ""


def _clock(found: v1.Peer) -> str:
    if not found.HasField("clock_ahead"):
        return ""
    if abs(found.clock_ahead) <= 1:
        return "agrees with ours"
    return f"{duration(abs(found.clock_ahead))} {'ahead of' if found.clock_ahead > 0 else 'behind'} ours"


def _time(found: v1.Peer, name: str) -> str:
    return timestamp_text(getattr(found, name)) if found.HasField(name) else ""  # type: ignore[arg-type]


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
    """Return what a peer may do; empty for one that is only known."""
    return "" if found.state == v1.PEER_STATE_KNOWN else claim(v1.PeerRole.DESCRIPTOR, found.role)
