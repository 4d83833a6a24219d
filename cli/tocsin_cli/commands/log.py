"""This module has the commands about transparency logs: log show, witness, policy, resume; the others are next door."""

from collections.abc import Iterator, Sequence

import click

from tocsin.errors import MalformedLog
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, UsageProblem, complete_partner, group, json_option
from tocsin_cli.document import counted, document, timestamp_text
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session

_HERE = "tocsin_cli.commands.log"
_FILES = "tocsin_cli.commands.logfiles"
POLICY_FILE = "policies/witnesses.tlog"

COLUMNS = (
    Column("origin"),
    Column("entries", right=True),
    Column("last entry"),
    Column("cosigned by", flexible=True, wraps=True),
    Column("standing", flexible=True, wraps=True),
)
WITNESS_COLUMNS = (
    Column("witness"),
    Column("cosigned", right=True),
    Column("at"),
    Column("key", spare=True),
)
EVIDENCE_COLUMNS = (
    Column("against"),
    Column("kind"),
    Column("came"),
    Column("what is proved", flexible=True, wraps=True),
    Column("digest", spare=True),
)

log = group(
    name="log",
    examples=(
        "tocsin log show",
        "tocsin log verify",
        "tocsin log evidence lab-b.example --save evidence/",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("show", f"{_HERE}:show", "Show where the logs stand: the own one, and those that are followed."),
                Entry("verify", f"{_FILES}:verify", "Read logs whole, and say what in them is not what was signed."),
                Entry(
                    "witness", f"{_HERE}:witness", "Show which witnesses have cosigned the own log, and who has not."
                ),
                Entry("policy", f"{_HERE}:policy", "Print whose cosignatures count, or a file to begin with."),
                Entry("export", f"{_FILES}:export", "Write a log to a folder, as files that any web server can show."),
                Entry("evidence", f"{_FILES}:evidence", "List what proves that an origin has shown two histories."),
                Entry("resume", f"{_HERE}:resume", "Go on with a log that was stopped."),
            ),
        ),
    ),
    summary="Show, verify or export the transparency logs.",
)


@click.command(cls=Command, examples=("tocsin log show", "tocsin log show lab-b.example", "tocsin log show --json"))
@click.argument("org", required=False, default="", metavar="[ORG]", shell_complete=complete_partner)
@json_option
@click.pass_obj
def show(session: Session, *, org: str, as_json: bool) -> None:
    """Show where the logs stand: the own one, and those that are followed.

    The own one first, with whom it waits for. A log that is stopped says why,
    and what to do.
    """
    found = session.call(v1.GetLogRequest(org=org), v1.GetLogResponse)
    if as_json:
        output.document(document(found))
        return
    if org:
        for one in found.logs:
            _print_log(one)
    else:
        output.table(COLUMNS, [_row(one) for one in found.logs])
    for one in found.logs:
        if one.stopped:
            output.hint(what_to_do(one))


def what_to_do(found: v1.TransparencyLog) -> str:
    """Return what people do about a log that is stopped."""
    if not found.own:
        return (
            f"see what is proved (tocsin log evidence {found.org}), talk to its people and to other peers, "
            f"and then: tocsin log resume {found.org}"
        )
    if found.awaited:
        return (
            f"it goes on when these have said what they saw; without one: tocsin log resume {found.org} --without ORG"
        )
    return f"compare it with what partners hold, and then: tocsin log resume {found.org}"


def _row(found: v1.TransparencyLog) -> list[Cell | str]:
    return [
        Cell(found.org, "bold"),
        f"{found.size:,}",
        output.minute(found.changed_at.seconds) if found.size else "",
        ", ".join(_witnesses(found)),
        Cell(_standing(found), "bold red" if found.stopped else ""),
    ]


def _witnesses(found: v1.TransparencyLog) -> Iterator[str]:
    """Yield who has cosigned the newest checkpoint."""
    return (one.org or one.witness for one in found.cosignatures if one.size == found.signed)


def _standing(found: v1.TransparencyLog) -> str:
    if found.stopped:
        waits = f"; it waits for {', '.join(found.awaited)}" if found.awaited else ""
        return f"STOPPED: {found.stopped}{waits}"
    if found.evidence:
        return f"in order, with {counted(found.evidence, 'piece')} of evidence from before"
    if not found.own and found.size != found.signed:
        return f"read to {found.size:,}, signed to {found.signed:,}"
    return "in order" if found.size else "nothing yet"


def _print_log(found: v1.TransparencyLog) -> None:
    output.styled(found.org, "bold")
    output.pairs(
        [
            ("entries", f"{found.size:,}"),
            ("signed", f"{found.signed:,} of them" if found.signed != found.size else ""),
            ("root", found.root),
            ("standing", _standing(found)),
            ("last entry", timestamp_text(found.changed_at) if found.size else ""),
            ("gone on with", timestamp_text(found.resumed_at) if found.HasField("resumed_at") else ""),
            ("evidence", counted(found.evidence, "piece") if found.evidence else ""),
            *(("key", vkey) for vkey in found.vkeys),
            *(("cosigned", _cosigned(one)) for one in found.cosignatures),
        ]
    )
    if found.checkpoint:
        output.data()
        output.data(found.checkpoint.rstrip("\n"))


def _cosigned(one: v1.LogCosignature) -> str:
    return f"{timestamp_text(one.at)} by {one.org or one.witness}, {counted(one.size, 'entry', 'entries')}"


@click.command(cls=Command, examples=("tocsin log witness", "tocsin log witness --json"))
@json_option
@click.pass_obj
def witness(session: Session, *, as_json: bool) -> None:
    """Show which witnesses have cosigned the own log, and who has not.

    Those that the home's policies/witnesses.tlog names, or without one the
    peers with whom this node exchanges.
    """
    policy = session.call(v1.GetLogPolicyRequest(), v1.GetLogPolicyResponse)
    own = session.call(v1.GetLogRequest(), v1.GetLogResponse).logs[0]
    rows = _of_policy(policy) if policy.witnesses else _of_peers(session, own)
    if as_json:
        shown = [{"witness": name, "key": key, "cosigned": one and document(one)} for name, key, one in rows]
        output.document(
            {
                "org": own.org,
                "size": own.size,
                "policy": policy.found and not policy.problem,
                "satisfied": policy.satisfied,
                "missing": list(policy.missing),
                "witnesses": shown,
            }
        )
        return
    output.styled(f"{own.org}: {counted(own.size, 'entry', 'entries')}", "bold")
    if rows:
        output.table(WITNESS_COLUMNS, [_witness_row(name, key, one, of=own) for name, key, one in rows])
    _say_quorum(policy)


def _of_policy(policy: v1.GetLogPolicyResponse) -> list[tuple[str, str, v1.LogCosignature | None]]:
    return [(one.name, one.key, one.cosigned if one.HasField("cosigned") else None) for one in policy.witnesses]


def _of_peers(session: Session, own: v1.TransparencyLog) -> list[tuple[str, str, v1.LogCosignature | None]]:
    """Return who could cosign, where nobody says who must: everybody with whom we exchange, and who has."""
    cosigned = {one.org: one for one in own.cosignatures}
    peers = session.call(v1.ListPeersRequest(), v1.ListPeersResponse).peers
    active = [peer.organisation.org for peer in peers if peer.state == v1.PEER_STATE_ACTIVE]
    orgs = list(dict.fromkeys([*active, *cosigned]))
    return [(org, f"{org}/witness", cosigned.get(org)) for org in orgs]


def _witness_row(name: str, key: str, one: v1.LogCosignature | None, *, of: v1.TransparencyLog) -> list[Cell | str]:
    if one is None:
        return [name, Cell("nothing", "yellow"), "", key]
    all_of_it = one.size == of.signed
    cosigned = Cell("all" if all_of_it else f"{one.size:,} of {of.signed:,}", "green" if all_of_it else "yellow")
    return [name, cosigned, output.minute(one.at.seconds), key]


def _say_quorum(policy: v1.GetLogPolicyResponse) -> None:
    if policy.problem:
        output.warning(f"{_place(policy)}: {policy.problem}: nobody's cosignature counts")
    elif not policy.found:
        output.talk(f"there is no {POLICY_FILE}: nobody's cosignature is asked for but our own")
        output.hint("see a file to begin with: tocsin log policy")
    elif policy.satisfied:
        since = f" since {timestamp_text(policy.since)}" if policy.HasField("since") else ""
        output.talk(f"{policy.rule} has cosigned it{since}" if since else "the policy asks for nobody")
    else:
        for line in policy.missing:
            output.warning(line)


@click.command(
    cls=Command,
    examples=(
        "tocsin log policy",
        "tocsin log policy > ~/.tocsin/policies/witnesses.tlog      where there is none yet",
    ),
)
@json_option
@click.pass_obj
def policy(session: Session, *, as_json: bool) -> None:
    """Print whose cosignatures count, or a file to begin with.

    Whose they are says policies/witnesses.tlog in the home, a C2SP
    tlog-policy. It counts as it lies there: nothing need be applied. Where
    there is none, a file made of the own log and of the peers' witness keys is
    printed. A file with a problem makes the exit code 3.
    """
    found = session.call(v1.GetLogPolicyRequest(), v1.GetLogPolicyResponse)
    if found.problem:
        raise MalformedLog(
            found.problem,
            reason="BAD_LOG_POLICY",
            where=_place(found),
            hint="until it is mended nobody's cosignature counts",
        )
    if as_json:
        output.document(document(found))
        return
    output.raw((found.text if found.found else found.proposal).encode())
    _say_quorum(found)


def _place(found: v1.GetLogPolicyResponse) -> str:
    return f"{POLICY_FILE}: {found.where}" if found.where else POLICY_FILE


@click.command(
    cls=Command,
    examples=(
        "tocsin log resume lab-b.example",
        "tocsin log resume lab-a.example --without uni.example      our own, which waits for a peer that is gone",
    ),
)
@click.argument("org", metavar="ORG", shell_complete=complete_partner)
@click.option(
    "--without", default="", metavar="PEER", shell_complete=complete_partner, help="Wait no more for this peer's word."
)
@json_option
@click.pass_obj
def resume(session: Session, *, org: str, without: str, as_json: bool) -> None:
    """Go on with a log that was stopped.

    An origin's log is read anew from its beginning; what it was caught with
    stays as evidence, and stops it no more. The own log, after the home was put
    back, goes on by itself when every peer has said how much of it it saw;
    --without takes one off the list whose node is gone for good. The decision
    log says who decided it.
    """
    if without == org:
        raise UsageProblem("a log does not wait for its own organisation", "name the peer that is gone")
    found = session.call(v1.ResumeLogRequest(org=org, without=without), v1.ResumeLogResponse).log
    if as_json:
        output.document(document(found))
        return
    if found.stopped:
        output.data(f"the log of {found.org} still waits for {_listed(found.awaited)}")
    else:
        output.data(f"the log of {found.org} goes on")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"
