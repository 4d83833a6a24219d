"""This module says what policy lets out: what the files say, what a partner gets of a record and why, byte for byte.

Explaining and previewing take the same decision, and build the same bytes, as
sending does: what is shown here is what goes.
"""

from collections.abc import Collection, Iterator

from tocsin.desk.inforce import FOLDER, believed_files, files_in_force
from tocsin.desk.lookup import find_peer, load_record, origin_of
from tocsin.desk.messages import cell_message, preview_message, problem_message, verdict_messages, waiting_message
from tocsin.desk.policyfiles import Drafts, changed_files, load_drafts, parse_files
from tocsin.desk.room import Room
from tocsin.desk.waiting import find_wait
from tocsin.errors import MalformedRequest, NotPermitted
from tocsin.exchange.reveal import reveal
from tocsin.identity.names import OrgId
from tocsin.people.person import Person
from tocsin.policy.clauses import Never, Require
from tocsin.policy.decide import Decision
from tocsin.policy.explain import Explanation, explain
from tocsin.policy.matrix import matrix
from tocsin.policy.model import PolicySet
from tocsin.policy.parse import FLOOR
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import Wait
from tocsin.release.presentation import missing, presentation
from tocsin.store.model import PeerRow, PeerState, Standing, StoredRecord
from tocsin.v1 import desk_service_pb2 as v1


class Policies:
    """Answers what goes, why, and what else may go."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def check_policies(self, request: v1.CheckPoliciesRequest) -> v1.CheckPoliciesResponse:
        """Read the files that people edit, or those sent in their place, and say what is wrong and what is changed.

        Raises MalformedName and MalformedRequest for what is no set of policy files.
        """
        home = self._room.home
        drafts = load_drafts(home.layout).overlaid(parse_files(request.files))
        return v1.CheckPoliciesResponse(
            problems=[problem_message(problem) for problem in drafts.problems],
            partners=sorted(drafts.parse().policies),
            changed_files=changed_files(believed_files(home.store, home.policies), drafts.files),
            warnings=(*self._not_believed(), *self._silent(drafts)),
        )

    def _not_believed(self) -> Iterator[str]:
        """Yield why nothing is in force, where nothing is: the files may be in order all the same."""
        policies = self._room.home.policies
        if policies.floor is None:
            yield from (problem.message for problem in policies.problems)

    def _silent(self, drafts: Drafts) -> Iterator[str]:
        """Yield what is no mistake, and yet keeps everything here."""
        layout, now = self._room.home.layout, self._room.clock()
        policies = drafts.parse()
        yield from map(str, policies.warnings)
        for org, policy in sorted(policies.policies.items()):
            if policy.expires is not None and policy.expires <= now:
                yield f"{policy.file}: the agreement has expired: nothing is shared with {org}"
        read = {*drafts.files, *(problem.file.removeprefix(f"{FOLDER}/") for problem in drafts.unreadable)}
        for peer in self._room.home.store.peers.list():
            path = layout.policy(peer.org)
            if path.name not in read:
                file = layout.relative(path)
                yield f"{file} is missing: nothing is shared with {peer.org}, and nothing is taken from it"
        yield from _strangers(policies, {peer.org for peer in self._room.home.store.peers.list()})

    def get_policy_matrix(self, request: v1.GetPolicyMatrixRequest) -> v1.GetPolicyMatrixResponse:
        """Say how far records of each kind and marking go by what is in force. Raises MalformedName and NotFound."""
        home = self._room.home
        policies = home.policies
        named = [find_peer(home.store, org).org for org in dict.fromkeys(request.partners)]
        cells = matrix(policies, named or sorted(policies.policies), now=self._room.clock())
        return v1.GetPolicyMatrixResponse(cells=[cell_message(cell) for cell in cells])

    def explain_record(self, request: v1.ExplainRecordRequest) -> v1.ExplainRecordResponse:
        """Say whether a partner gets a record, now or at another time, which fields, and why."""
        home = self._room.home
        at = request.at.ToSeconds() if request.HasField("at") else self._room.clock()
        peer = find_peer(home.store, request.partner)
        stored = home.store.records.find(request.id)
        record = load_record(home, stored)
        explanation = self._explain(record, peer.org, now=at)
        decision = explanation.decision
        wait = self._wait(record, decision, peer.org, now=at)
        has_all = wait is not None and self._has_all(record, decision, peer.org)
        over = explanation.waits if wait is None or has_all else ()
        answer = v1.ExplainRecordResponse(
            delivered=decision.delivered,
            rule=decision.rule,
            file=decision.file,
            line=decision.line,
            why=decision.why,
            agreement=decision.agreement,
            fields=verdict_messages(explanation),
            hints=(
                *_obstacles(peer, stored, now=at),
                *([f"{peer.org} has all of this already: it waits for nothing"] if has_all else []),
                *(hint for hint in explanation.hints if hint not in over),
                *self._drafted(peer.org),
            ),
        )
        if wait is not None and not has_all:
            answer.waiting.CopyFrom(waiting_message(peer.org, wait))
        return answer

    def preview_record(self, request: v1.PreviewRecordRequest) -> v1.PreviewRecordResponse:
        """Return the exact bytes that a partner gets, and the record as it sees it.

        Raises NotPermitted where it gets nothing.
        """
        home, now = self._room.home, self._room.clock()
        record, partner = self._asked(request.id, request.partner)
        decision = self._room.office.decide(record, partner=partner, now=now)
        if not decision.delivered:
            hint = f"see why, and what would change it: tocsin explain {request.id} --to {partner}"
            raise NotPermitted(f"{partner} does not get this record: {decision.why}", hint=hint)
        if self._room.office.load(record.digest, now=now) is None:
            raise NotPermitted(f"{partner} does not get this version: it was replaced or retracted, or has expired")
        origin, ours = origin_of(home, record.issuer), home.organisation.org
        return v1.PreviewRecordResponse(
            presentation=presentation(record, decision),
            record=preview_message(record, decision, origin=origin, sender=ours, now=now),
        )

    def reveal_fields(self, request: v1.RevealFieldsRequest, caller: Person) -> v1.RevealFieldsResponse:
        """Queue further fields of a record for a partner that holds a part of it, or propose them to people."""
        if not request.paths:
            raise MalformedRequest("no fields are named", hint="name field paths, such as steps or subjects[*].version")
        home = self._room.home
        record, partner = self._asked(request.id, request.partner)
        if record.issuer != home.organisation.org:
            raise NotPermitted(f"the record is {record.issuer}'s: only its origin reveals more of it")
        revealed = reveal(
            self._room.office,
            record,
            partner=partner,
            paths=request.paths,
            person=caller.name,
            now=self._room.clock(),
        )
        if revealed.queued:
            self._room.events.queued((partner,))
        self._room.events.due_changed()
        answer = v1.RevealFieldsResponse(
            queued=(*revealed.queued, *revealed.waiting), already_sent=revealed.already_sent
        )
        if revealed.wait is not None:
            answer.waiting.CopyFrom(waiting_message(partner, revealed.wait))
        return answer

    def _asked(self, name: str, partner: str) -> tuple[VerifiedRecord, OrgId]:
        """Return the record and the partner that somebody asks about; raises NotFound, Conflict, MalformedName."""
        home = self._room.home
        row = find_peer(home.store, partner)
        return load_record(home, home.store.records.find(name)), row.org

    def _explain(self, record: VerifiedRecord, partner: OrgId, *, now: int) -> Explanation:
        """Decide as sending would at this time, and say why."""
        home = self._room.home
        policies = home.policies
        return explain(
            record,
            partner=partner,
            policy=policies.policies.get(partner),
            floor=policies.floor,
            recipients=home.store.records.recipients(record.digest),
            granted=home.store.feeds.granted(partner, record.digest),
            now=now,
            own=record.issuer == home.organisation.org,
        )

    def _has_all(self, record: VerifiedRecord, decision: Decision, partner: OrgId) -> bool:
        """Say whether everything that a decision lets go went to the partner already."""
        sent = self._room.home.store.feeds.sent(partner, record.digest)
        return decision.delivered and sent is not None and not missing(record, decision, held=sent)

    def _drafted(self, partner: OrgId) -> Iterator[str]:
        """Yield that what people read in the folder is not what was asked, where it is not."""
        home = self._room.home
        asked = {f"{FOLDER}/{FLOOR}", home.layout.relative(home.layout.policy(partner))}
        for file in changed_files(files_in_force(home.store), load_drafts(home.layout).files):
            if file in asked:
                yield f"{file} has changed since, and is not in force as it is: tocsin policy plan"

    def _wait(self, record: VerifiedRecord, decision: Decision, partner: OrgId, *, now: int) -> Wait | None:
        """Return what the partner's copy of a record waits for at this time."""
        home = self._room.home
        office = self._room.office.at_once()
        return find_wait(
            office,
            record,
            decision,
            policies=office.policies(),
            partner=partner,
            recipients=home.store.records.recipients(record.digest),
            granted=home.store.feeds.granted(partner, record.digest),
            now=now,
        )


def _strangers(policies: PolicySet, peers: Collection[OrgId]) -> Iterator[str]:
    """Yield where organisations are named that are no peers: it may be a slip, and then nobody is covered."""
    for org, policy in sorted(policies.policies.items()):
        if org not in peers:
            yield f"{policy.file}: {org} is not a peer: nothing is exchanged with it until it is one"
    if policies.floor is None:
        return
    rules: tuple[Never | Require, ...] = (*policies.floor.nevers, *policies.floor.requires)
    for rule in rules:
        for org in sorted(rule.partners - set(peers)):
            yield f"{policies.floor.file}:{rule.line}: {org} is not a peer: is it the right name?"


def _obstacles(peer: PeerRow, stored: StoredRecord, *, now: int) -> Iterator[str]:
    """Yield what keeps a record here that is no matter of policy."""
    if peer.state is not PeerState.ACTIVE:
        yield f"nothing is sent to {peer.org} while its peering is {peer.state}"
    if stored.received_from == peer.org:
        yield f"it came from {peer.org}, and nothing goes back to where it came from"
    if stored.standing is not Standing.CURRENT:
        yield f"nothing of this version is sent any more: it is {stored.standing}"
    if stored.expires_at is not None and stored.expires_at <= now:
        yield "nothing of this record is sent any more: it has expired"
