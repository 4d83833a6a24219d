"""This module tells how lab-a shows its two partners two histories of its log, and is caught."""

import json
from pathlib import Path

from tocsin.desk.layout import Layout
from tocsin.errors import PeerMisbehaved
from tocsin.identity.root import parse_identity
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import RECORD_KIND_FINDING, TLP_GREEN
from tocsin_cli import output
from tocsin_cli.commands.log import EVIDENCE_COLUMNS
from tocsin_cli.commands.logfiles import evidence_file, evidence_row
from tocsin_cli.commands.verify import print_verdict
from tocsin_cli.demo.network import AISI, LAB_A, LAB_B, Member, Node
from tocsin_cli.demo.story import Story, view
from tocsin_cli.grid import Cell, Column
from tocsin_cli.offline import Known, verify_file
from tocsin_cli.session import now

CONTENT: dict[str, object] = {
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "Example Model", "version": "3"}],
}
SAID = {LAB_B.org: "No release is affected", AISI.org: "Every release is affected"}
"""What each of the partners is told."""


def show_two(story: Story) -> None:
    """Let lab-a tell its partners different things from two copies of its home, and the partners compare."""
    story.tell(
        "lab-a tries to show lab-b and aisi different versions, and is caught",
        "It copies its home, and from then on each copy speaks with one partner only. Both sign with lab-a's keys, and "
        "each alone is in order. But whatever an organisation issues is in its log, and partners compare what they "
        "were shown of it.",
    )
    for node in _copies(story):
        _speak(story, node)
    output.data(f"\n{AISI.org}  $ tocsin sync {LAB_B.org}\n")
    _sync(story, AISI, LAB_B)
    columns = (Column("organisation"), Column("lab-a's log", flexible=True, wraps=True))
    output.table(columns, [(Cell(member.org, "bold"), _standing(story, member)) for member in (LAB_B, AISI)])
    _prove(story)


def _copies(story: Story) -> tuple[Node, Node]:
    """Stop lab-a, and return its home and a copy of it; neither speaks with anybody yet."""
    node = story.network[LAB_A]
    for partner in (LAB_B, AISI):
        node.session.call(v1.SuspendPeerRequest(org=partner.org), v1.SuspendPeerResponse)
    story.network.stop(node)
    return node, story.network.copy(node)


def _speak(story: Story, node: Node) -> None:
    """Let one of lab-a's homes tell its story to one partner, and go away again."""
    is_copy = node is not story.network[LAB_A]
    partner = AISI if is_copy else LAB_B
    story.network.start_again(node)
    node.session.call(v1.ResumePeerRequest(org=partner.org), v1.ResumePeerResponse)
    said = json.dumps(CONTENT | {"title": SAID[partner.org]})
    draft = v1.Draft(kind=RECORD_KIND_FINDING, tlp=TLP_GREEN, content_json=said)
    (posted,) = node.session.call(v1.PostRecordsRequest(drafts=[draft]), v1.PostRecordsResponse).results
    if posted.error_reason:
        raise PeerMisbehaved("; ".join(posted.error_details))
    _sync(story, partner, LAB_A)
    heard = view(story, partner, record_id=posted.record.envelope.record_id)
    story.network.stop(node)
    output.data(f"{partner.org} hears from {'the copy' if is_copy else 'the home'} of {LAB_A.org}: {heard.title}")


def _sync(story: Story, member: Member, peer: Member) -> None:
    """Fetch from a peer now, as `tocsin sync` does; logs are compared first."""
    request = v1.SyncPeersRequest(peers=[peer.org])
    *_, last = story.network[member].session.stream(request, v1.SyncPeersResponse)
    if last.error_reason:
        raise PeerMisbehaved(f"{member.org} cannot fetch from {peer.org}: {last.error_message}")


def _standing(story: Story, member: Member) -> Cell:
    """Return what an organisation says of lab-a's log, which it must have stopped."""
    (log,) = story.network[member].session.call(v1.GetLogRequest(org=LAB_A.org), v1.GetLogResponse).logs
    if not log.stopped:
        raise PeerMisbehaved(f"{member.org} was shown another log than its peer, and has not noticed")
    return Cell(f"STOPPED: {log.stopped}", "bold red")


def _prove(story: Story) -> None:
    """Print the evidence that lab-b holds, and verify it as anybody would, with lab-a's identity document alone."""
    session = story.network[LAB_B].session
    output.data(f"\n{LAB_B.org}  $ tocsin log evidence {LAB_A.org} --save .\n")
    found = session.call(v1.ListEvidenceRequest(org=LAB_A.org), v1.ListEvidenceResponse).evidence
    output.table(EVIDENCE_COLUMNS, [evidence_row(one) for one in found])
    bundle = session.call(v1.GetEvidenceRequest(digest=found[-1].digest), v1.GetEvidenceResponse).bundle
    file = Path(evidence_file(found[-1]))
    output.data(f"\nanybody  $ tocsin verify {file} --identity lab-a.tocsin\n")
    lab_a = parse_identity(Layout(story.network[LAB_A].home).document.read_bytes(), now=now())
    verdict = verify_file(bundle, Known({lab_a.org: lab_a}, now()))
    print_verdict(file, verdict)
    if verdict.error is not None:
        raise verdict.error
    output.data()
    output.styled(
        f"Nothing more is taken from {LAB_A.org}. Next, people of both talk to its people, show other partners the "
        "evidence, and decide about what they hold; only when it is explained:"
    )
    output.data(f"\n{LAB_B.org}  $ tocsin log resume {LAB_A.org}")
