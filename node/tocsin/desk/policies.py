"""This module says what policy lets out: what the files say, what a partner gets of a record and why, byte for byte.

Explaining and previewing take the same decision, and build the same bytes, as
sending does: what is shown here is what goes.
"""

from collections.abc import Iterator

from tocsin.desk.lookup import find_peer, load_record
from tocsin.desk.messages import seen_message
from tocsin.desk.policyfiles import changed_files, load_policies
from tocsin.desk.room import Room
from tocsin.errors import MalformedRequest, NotPermitted
from tocsin.release.presentation import decide_today, presentation
from tocsin.exchange.reveal import reveal
from tocsin.identity.names import OrgId
from tocsin.policy.explain import Explanation, explain
from tocsin.policy.model import PolicySet
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.store.model import PeerRow, PeerState, Standing, StoredRecord
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2


class Policies:
    """Answers what goes, why, and what else may go."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def check_policies(self, request: v1.CheckPoliciesRequest) -> v1.CheckPoliciesResponse:
        """Read the policy files as they are now, and say what is wrong with them and what has changed."""
        home = self._room.home
        now_on_disk = load_policies(home.layout)
        return v1.CheckPoliciesResponse(
            problems=[
                v1.PolicyProblem(file=problem.file, line=problem.line, message=problem.message)
                for problem in now_on_disk.problems
            ],
            partners=sorted(now_on_disk.policies),
            changed_files=changed_files(home.policies, now_on_disk),
            warnings=self._silent(now_on_disk),
        )

    def _silent(self, policies: PolicySet) -> Iterator[str]:
        """Yield what is no mistake, and yet keeps everything here."""
        layout, now = self._room.home.layout, self._room.clock()
        for org, policy in sorted(policies.policies.items()):
            if policy.expires is not None and policy.expires <= now:
                yield f"{policy.file}: the agreement has expired: nothing is shared with {org}"
        read = policies.digests.keys() | {problem.file for problem in policies.problems}
        for peer in self._room.home.store.peers.list():
            file = layout.relative(layout.policy(peer.org))
            if file not in read:
                yield f"{file} is missing: nothing is shared with {peer.org}, and nothing is taken from it"

    def explain_record(self, request: v1.ExplainRecordRequest) -> v1.ExplainRecordResponse:
        """Say whether a partner gets a record, which fields, and why."""
        home = self._room.home
        peer = find_peer(home.store, request.partner)
        stored = home.store.records.find(request.id)
        explanation = self._explain(load_record(home, stored), peer.org)
        decision = explanation.decision
        return v1.ExplainRecordResponse(
            delivered=decision.delivered,
            rule=decision.rule,
            file=decision.file,
            line=decision.line,
            why=decision.why,
            agreement=decision.agreement,
            fields=_verdicts(explanation),
            hints=(*_obstacles(peer, stored, now=self._room.clock()), *explanation.hints),
        )

    def preview_record(self, request: v1.PreviewRecordRequest) -> v1.PreviewRecordResponse:
        """Return the exact bytes that a partner gets, and the record as it sees it.

        Raises NotPermitted where it gets nothing.
        """
        home = self._room.home
        record, partner = self._asked(request.id, request.partner)
        decision = decide_today(
            home.store,
            record,
            partner=partner,
            policies=home.policies,
            now=self._room.clock(),
            own=record.issuer == home.organisation.org,
        )
        if not decision.delivered:
            hint = f"see why, and what would change it: tocsin explain {request.id} --to {partner}"
            raise NotPermitted(f"{partner} does not get this record: {decision.why}", hint=hint)
        presented = presentation(record, decision)
        # Verified like the partner does it, as of the day it was signed: what is shown is what verifies there.
        seen = parse_record(presented).verify(home.organisation, now=record.issued_at)
        message = seen_message(seen)
        message.received_from = home.organisation.org
        for field in decision.told:
            message.withheld.add(path=field.path, reason=field.reason)
        return v1.PreviewRecordResponse(presentation=presented, record=message)

    def reveal_fields(self, request: v1.RevealFieldsRequest) -> v1.RevealFieldsResponse:
        """Queue further fields of a record for a partner that holds a part of it."""
        if not request.paths:
            raise MalformedRequest("no fields are named", hint="name field paths, such as steps or subjects[*].version")
        home = self._room.home
        record, partner = self._asked(request.id, request.partner)
        if record.issuer != home.organisation.org:
            raise NotPermitted(f"the record is {record.issuer}'s: only its origin reveals more of it")
        revealed = reveal(
            home.store,
            record,
            partner=partner,
            paths=request.paths,
            policies=home.policies,
            now=self._room.clock(),
        )
        if revealed.queued:
            self._room.events.queued((partner,))
        return v1.RevealFieldsResponse(queued=revealed.queued, already_sent=revealed.already_sent)

    def _asked(self, name: str, partner: str) -> tuple[VerifiedRecord, OrgId]:
        """Return the record and the partner that somebody asks about; raises NotFound, Conflict, MalformedName."""
        home = self._room.home
        row = find_peer(home.store, partner)
        return load_record(home, home.store.records.find(name)), row.org

    def _explain(self, record: VerifiedRecord, partner: OrgId) -> Explanation:
        """Decide as sending would, now, and say why."""
        home = self._room.home
        return explain(
            record,
            partner=partner,
            policy=home.policies.policies.get(partner),
            floor=home.policies.floor,
            recipients=home.store.records.recipients(record.digest),
            granted=home.store.feeds.granted(partner, record.digest),
            now=self._room.clock(),
            own=record.issuer == home.organisation.org,
        )


def _obstacles(peer: PeerRow, stored: StoredRecord, *, now: int) -> Iterator[str]:
    """Yield what keeps a record here that is no matter of policy."""
    if peer.state is not PeerState.ACTIVE:
        yield f"nothing is sent to {peer.org} while its peering is {peer.state}"
    if stored.standing is not Standing.CURRENT:
        yield f"nothing of this version is sent any more: it is {stored.standing}"
    if stored.expires_at is not None and stored.expires_at <= now:
        yield "nothing of this record is sent any more: it has expired"


def _verdicts(explanation: Explanation) -> list[v1.FieldVerdict]:
    return [
        v1.FieldVerdict(
            path=field.path,
            shared=field.shared,
            disclosure=record_pb2.DisclosureClass.Value(f"DISCLOSURE_CLASS_{field.disclosure.name}")
            if field.disclosure
            else record_pb2.DISCLOSURE_CLASS_UNSPECIFIED,
            why=field.why,
            reason=field.reason,
        )
        for field in explanation.fields
    ]
