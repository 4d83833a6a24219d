"""This module plans a change of policies over the real records, and puts it in force.

A plan decides about every current record that may go or be passed on, and every
active partner, twice: by what is in force and by the files, and tells what is
different as it is found. It ends with what `apply` signs. Applying takes effect
whole or not at all: in one transaction the files come in force, the home's
folder says the same, proposed releases that they touch become void and are
proposed anew, and records are weighed for the partners whose files have changed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tocsin.desk.inforce import believed_files, put_in_force
from tocsin.desk.messages import cell_message, claim_value, problem_message, waiting_message
from tocsin.desk.policyfiles import changed_files, load_drafts, parse_files, save_files
from tocsin.desk.room import Room
from tocsin.desk.title import title_of
from tocsin.exchange.publish import queue_partners, weigh_queued
from tocsin.exchange.receive import read_again
from tocsin.identity.names import OrgId
from tocsin.people.act import policy_subject
from tocsin.people.person import Person
from tocsin.policy.matrix import changed_cells
from tocsin.policy.model import PolicySet
from tocsin.policy.plan import Change, compare, is_same_for
from tocsin.records.record import VerifiedRecord
from tocsin.release.gate import LIVE, wait_of
from tocsin.release.office import Office
from tocsin.release.proposal import refresh_all
from tocsin.store.model import ReviewState
from tocsin.v1 import desk_service_pb2 as v1

AT_ONCE: Final = 100
"""Records weighed between two messages: some tenths of a second with twenty partners."""


@dataclass(frozen=True, slots=True)
class _Weighing:
    """What is compared: two sets of files, for the partners to whom they say different things."""

    office: Office
    before: PolicySet
    after: PolicySet
    partners: tuple[OrgId, ...]
    granted: Mapping[tuple[str, str], frozenset[str]]
    holding: frozenset[OrgId]  # to whom anything ever went
    now: int

    def digests(self) -> tuple[str, ...]:
        """Return the records to weigh: our own, and where either set passes anything on, what others let us pass on."""
        records = self.office.store.records
        relays = any(files.relays_to(org) for files in (self.before, self.after) for org in self.partners)
        own = tuple(records.own_current()) if self.partners else ()
        return (*own, *records.relayable()) if relays else own

    def changes(self, digests: Sequence[str]) -> list[v1.PolicyChange]:
        """Return what is different about some records."""
        return [change for digest in digests for change in self._of_record(digest)]

    def _of_record(self, digest: str) -> Iterator[v1.PolicyChange]:
        record = self.office.load(digest, now=self.now)
        if record is None:
            return
        stored = self.office.store.records.get(digest)
        recipients = self.office.store.records.recipients(digest)
        base = v1.PolicyChange(
            digest=digest,
            record_id=record.record_id,
            title=title_of(record.kind, record.content, record_id=record.record_id),
            tlp=claim_value("Tlp", record.marking_at(self.now)),
        )
        for partner in self.partners:
            if partner == stored.received_from:  # it is not passed back
                continue
            change = compare(
                record,
                before=self.before,
                after=self.after,
                partner=partner,
                recipients=recipients,
                granted=self.granted.get((partner, digest), frozenset()),
                now=self.now,
                own=stored.own,
            )
            if change is not None:
                yield from self._told(record, partner, change, base)

    def _told(
        self, record: VerifiedRecord, partner: OrgId, change: Change, base: v1.PolicyChange
    ) -> Iterator[v1.PolicyChange]:
        """Yield a difference, where it is one for what the partner holds already; `base` says which record it is."""
        sent = self.office.store.feeds.sent(partner, record.digest) if partner in self.holding else None
        held = sent or frozenset()
        released = change.released - held
        # What does not go any more counts also for who holds it, when it is sent again; what waits longer does not.
        stopped = change.stopped - (held & change.after.disclosed)
        if not released and not stopped:
            return
        rule = change.after if change.after.rule or not change.before.rule else change.before
        message = v1.PolicyChange(
            partner=partner,
            whole=change.whole,
            released=sorted(released),
            stopped=sorted(stopped),
            rule=rule.rule,
            file=rule.file,
            line=rule.line,
        )
        message.MergeFrom(base)
        if change.after.delivered:
            wait = wait_of(self.office, record, change.after, partner=partner, now=self.now)
            if wait is not None:
                message.waiting.CopyFrom(waiting_message(partner, wait))
        yield message


class Planning:
    """Weighs policies before they count, and lets them count."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def plan_policies(self, request: v1.PlanPoliciesRequest) -> AsyncIterator[v1.PlanPoliciesResponse]:
        """Say what the files that people edit, or those sent in their place, would change.

        Raises MalformedName and MalformedRequest for what is no set of policy files.
        """
        ending, weighing, digests = await asyncio.to_thread(self._begin, request)
        total = len(digests)
        for start in range(0, total, AT_ONCE):
            changes = await asyncio.to_thread(weighing.changes, digests[start : start + AT_ONCE])
            yield v1.PlanPoliciesResponse(weighed=min(start + AT_ONCE, total), total=total, changes=changes)
        ending.weighed = ending.total = total
        yield ending

    def _begin(self, request: v1.PlanPoliciesRequest) -> tuple[v1.PlanPoliciesResponse, _Weighing, tuple[str, ...]]:
        """Return the last message, and what to weigh for those before it: nothing, where files have problems."""
        store = self._room.home.store
        drafts = load_drafts(self._room.home.layout).overlaid(parse_files(request.files))
        row = store.policies.latest()
        replaced = row.subject if row else ""
        ending = v1.PlanPoliciesResponse(
            done=True,
            problems=[problem_message(problem) for problem in drafts.problems],
            changed_files=changed_files(believed_files(store, self._room.home.policies), drafts.files),
            subject=policy_subject(drafts.files, replaces=replaced),
            files=[v1.PolicyFile(name=name, text=text) for name, text in sorted(drafts.files.items())],
            replaces=replaced,
        )
        after = drafts.parse()
        if not ending.problems:
            for old, new in changed_cells(self._room.office.policies(), after, now=self._room.clock()):
                ending.cells_before.append(cell_message(old))
                ending.cells_after.append(cell_message(new))
        weighing = self._weighing(after)
        return ending, weighing, () if ending.problems else weighing.digests()

    def _weighing(self, after: PolicySet) -> _Weighing:
        office = self._room.office
        before = office.policies()
        feeds = office.store.feeds
        partners = tuple(org for org in office.partners() if not is_same_for(org, before=before, after=after))
        return _Weighing(
            office=replace(office, policies=lambda: after),
            before=before,
            after=after,
            partners=partners,
            granted=feeds.grants(),
            holding=frozenset(org for org in partners if (feed := feeds.get(org)) and feed.head),
            now=self._room.clock(),
        )

    def apply_policies(self, request: v1.ApplyPoliciesRequest, caller: Person) -> v1.ApplyPoliciesResponse:
        """Put files in force under the signature of the caller, whole or not at all.

        Raises MalformedName and MalformedRequest for what is no set of policy
        files, HomeDamaged where the folder cannot be written, and what
        `put_in_force` raises.
        """
        home, office, now = self._room.home, self._room.office, self._room.clock()
        files = parse_files(request.files)
        with home.store.transaction():
            self._room.verify_still_may(caller, "ApplyPolicies")  # others wrote while this waited
            before = office.policies()
            after = put_in_force(
                home.store,
                files,
                statement=request.statement,
                person=caller,
                organisation=home.organisation,
                log=home.log,
                now=now,
            )
            reviews = self._reviews()
            changed = [org for org in office.partners() if not is_same_for(org, before=before, after=after)]
            marked = queue_partners(office, changed, now=now)
            again = [org for org in changed if read_again(home.store, org)]
            refresh_all(office, now=now)
            save_files(home.layout, files)
        queued = weigh_queued(office, marked, now=now)
        opened, voided = _moved(reviews, self._reviews())
        if queued:
            self._room.events.queued(queued.keys())
        for org in again:
            self._room.events.peer_changed(org)
        self._room.events.due_changed()
        return v1.ApplyPoliciesResponse(
            queued=[v1.Queued(partner=partner, records=count) for partner, count in sorted(queued.items())],
            reviews_voided=voided,
            reviews_opened=opened,
        )

    def _reviews(self) -> dict[str, ReviewState]:
        return {review.id: review.state for review in self._room.home.store.reviews.list(open_only=False)}


def _moved(before: dict[str, ReviewState], after: dict[str, ReviewState]) -> tuple[int, int]:
    """Count the proposals that are new, and those that became void."""
    voided = sum(before[name] in LIVE and after[name] is ReviewState.VOID for name in before)
    return len(after.keys() - before.keys()), voided
