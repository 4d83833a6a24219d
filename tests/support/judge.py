"""This module says whether a federation behaves: what may be nowhere at any moment, and what must be there in the end.

It keeps what was said, and what any policy ever let go, by the reference that
shares no code with the policy room. A record comes to a node from its origin,
or from somebody who passed it on; the second may give no more than it was ever
given itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from tests.policy import holdings, reference
from tests.support.simulator import EVERYBODY, PRESS, Federation, Node
from tocsin.audit.log import verify_log
from tocsin.identity.names import OrgId
from tocsin.policy.reach import leaves
from tocsin.records.record import VerifiedRecord, parse_record
from tocsin.records.retraction import Action
from tocsin.release.gate import wait_of
from tocsin.release.ledger import PUT_BACK
from tocsin.release.presentation import presentation

Text = dict[str, Any]
"""A rule of a policy, as both the policy room and the reference take it."""

_USUAL: Text = {
    "kinds": holdings.EVERYTHING,
    "reveal": frozenset(),
    "withhold": frozenset(),
    "withhold_until": 0,
    "hold": 0,
    "approvals": 0,
    "relayed": False,
}
_STANDINGS = {Action.WITHDRAW: {"withdrawn"}, Action.PURGE: {"purged", "withdrawn"}}


@dataclass
class Said:
    """What an organisation said of one record; `over` is what it asked for in the end."""

    issuer: OrgId
    recipients: tuple[OrgId, ...]
    versions: list[VerifiedRecord]
    over: Action | None = None


@dataclass
class Judge:
    """Knows what was said and allowed, and looks at what is held."""

    federation: Federation
    said: dict[str, Said] = field(default_factory=dict)  # by record id
    texts: dict[tuple[OrgId, OrgId], Sequence[Text]] = field(default_factory=dict)  # by organisation and partner
    _by_digest: dict[str, tuple[Said, VerifiedRecord]] = field(default_factory=dict)
    _allowed: dict[tuple[OrgId, OrgId, str], frozenset[str]] = field(default_factory=dict)
    _seen: dict[tuple[OrgId, str], str] = field(default_factory=dict)  # the text that was looked at last

    def note_said(self, record: VerifiedRecord, recipients: tuple[OrgId, ...] = ()) -> None:
        """Keep a version that is about to be published."""
        said = self.said.setdefault(record.record_id, Said(record.issuer, recipients, []))
        said.versions.append(record)
        self._by_digest[record.digest] = said, record
        for org in EVERYBODY:
            for partner in EVERYBODY:
                self._note_verdict(record, org, partner)

    def note_applied(self, org: OrgId, partner: OrgId, texts: Sequence[Text]) -> None:
        """Keep the rules of a policy that is about to be put in force."""
        self.texts[org, partner] = texts
        for _, record in self._by_digest.values():
            self._note_verdict(record, org, partner)

    def note_revealed(self, record: VerifiedRecord, partner: OrgId, name: str) -> bool:
        """Keep that a field is about to be revealed; False where the policy of today does not let it go."""
        org = record.issuer
        verdict = self._verdict(record, org, partner, granted={name}, own=True)
        self._allow(org, partner, record.digest, verdict)
        return name in verdict

    def is_known(self, said: Said) -> bool:
        """Say whether an origin still knows the newest version of its record: a backup may be older."""
        origin, newest = self.federation.nodes[said.issuer], said.versions[-1]
        rows = origin.store.retractions.of(said.issuer, newest.record_id)
        if said.over is not None:
            return any(row.action == said.over for row in rows)
        is_current = origin.held().get(newest.digest, ("", ""))[0] == "current"
        return is_current and origin.store.records.get(newest.digest).own  # what came back in part is not sent again

    def verify_moment(self) -> None:
        """Look at what everybody holds now. Raises AssertionError."""
        for node in self.federation.nodes.values():
            if node.alive:
                self._verify_held(node)
                self._verify_feeds(node)
                self._verify_nobody_accused(node)

    def faults(self) -> Iterator[str]:
        """Yield what keeps the federation from having converged."""
        nodes = self.federation.nodes
        for sender in nodes.values():
            for org in EVERYBODY:
                if org != sender.org:
                    yield from self._way_faults(sender, nodes[org])
        for said in self.said.values():
            for node in nodes.values():
                yield from self._standing_faults(said, node)
        for node in nodes.values():
            yield from self._log_faults(node, nodes.values())

    def verify_stores(self) -> None:
        """Look whether each store fits together. Raises AssertionError."""
        for node in self.federation.nodes.values():
            assert not (problems := list(node.store.problems())), (node.org, problems)
            verify_log(node.office.log.rows(), organisation=node.founded.organisation)

    def _note_verdict(self, record: VerifiedRecord, org: OrgId, partner: OrgId) -> None:
        """Keep what an organisation lets a partner have of a record today; one that is down decides when it is up."""
        node, own = self.federation.nodes[org], record.issuer == org
        granted = node.store.feeds.granted(partner, record.digest) if own and node.alive else frozenset()
        self._allow(org, partner, record.digest, self._verdict(record, org, partner, granted=granted, own=own))

    def _allow(self, org: OrgId, partner: OrgId, digest: str, paths: frozenset[str]) -> None:
        self._allowed[org, partner, digest] = self._allowed.get((org, partner, digest), frozenset()) | paths

    def _verdict(
        self, record: VerifiedRecord, org: OrgId, partner: OrgId, *, granted: Iterable[str], own: bool
    ) -> frozenset[str]:
        """Return the fields that the reference lets go today."""
        shares = [_USUAL | {"when": lambda content, tlp: True} | text for text in self.texts.get((org, partner), ())]
        verdict = reference.allowed(
            record,
            partner=partner,
            policy={"partner": partner, "expires": None, "shares": shares},
            floor=[],
            recipients=self.said[record.record_id].recipients if own else (),
            granted=set(granted),
            now=max(self.federation.nodes[org].now(), record.issued_at),  # a clock that is behind only delays
            own=own,
        )
        return frozenset(verdict[0]) if verdict else frozenset()

    def _verify_held(self, node: Node) -> None:
        """Nobody holds what nobody was allowed to give it."""
        for digest, (_, text) in node.held().items():
            if not text or self._seen.get((node.org, digest)) == text:
                continue
            self._seen[node.org, digest] = text
            said, whole = self._by_digest[digest]
            issuer = self.federation.nodes[said.issuer].founded.organisation
            record = parse_record(text).verify(issuer, now=whole.issued_at)
            paths = record.paths & leaves(record.kind).keys()
            may = self._may_hold(said, digest)[node.org]
            assert node.org == said.issuer or paths <= may, f"{node.org} holds {sorted(paths - may)} of {digest}"

    def _may_hold(self, said: Said, digest: str) -> dict[OrgId, frozenset[str]]:
        """Return what everybody was ever allowed to be given of a record, by its origin or by whoever has it."""
        may = {org: self._allowed.get((said.issuer, org, digest), frozenset()) for org in EVERYBODY}
        for _ in EVERYBODY:  # as many hops as there can be
            for relay, org in permutations(EVERYBODY, 2):
                if said.issuer not in (relay, org):
                    may[org] |= self._allowed.get((relay, org, digest), frozenset()) & may[relay]
        return may

    def _verify_nobody_accused(self, node: Node) -> None:
        """Everybody here is honest, also one that was put back, or whose clock was wrong: nobody is stopped for it."""
        logs = node.store.logs.list()
        assert not (stopped := [row.origin for row in logs if row.stopped not in ("", PUT_BACK)]), (node.org, stopped)
        assert not (held := [row.origin for row in logs if row.stopped and row.origin != node.org]), (node.org, held)
        assert not (accused := [row.origin for row in node.store.logs.evidence()]), f"{node.org} accuses {accused}"

    def _log_faults(self, origin: Node, nodes: Iterable[Node]) -> Iterator[str]:
        """Yield who has read something else of a log than its origin has, or more of it."""
        entries = origin.store.logs.entries(origin.org, start=0, limit=100_000)
        if not origin.may_issue:
            yield f"the log of {origin.org} waits for {origin.store.logs.awaited()}"
        for node in nodes:
            read = node.store.logs.entries(origin.org, start=0, limit=100_000)
            if read != entries[: len(read)]:
                yield f"{node.org} has read {len(read)} entries of {origin.org}, which are not those that it has"

    def _verify_feeds(self, node: Node) -> None:
        """Numbers are dense, and what a receiver has under a number is what its sender gave it."""
        for other in EVERYBODY:
            feed = node.store.feeds.get(other) if other != node.org else None
            if feed is None:
                continue
            entries = node.store.feeds.entries(other, after=0, limit=100_000)
            assert [entry.sequence for entry in entries] == list(range(1, feed.head + 1)), (node.org, other)
            assert feed.acknowledged <= feed.head, (node.org, other)
            receiver = self.federation.nodes[other]
            held = receiver.store.intake.cursor(node.org) if receiver.alive else None
            if held is not None and held.feed_id == feed.feed_id and not node.was_put_back:
                assert held.sequence <= feed.head, f"{other} has more of {node.org} than there is"

    def _way_faults(self, sender: Node, receiver: Node) -> Iterator[str]:
        """Yield what is missing between two nodes, one way."""
        way, feed = f"{sender.org} -> {receiver.org}", sender.store.feeds.get(receiver.org)
        if waiting := sender.store.feeds.waiting(receiver.org):
            yield f"{way}: {waiting} candidates"
        if feed is not None and feed.head:
            held = receiver.store.intake.cursor(sender.org)
            if held is None or (held.feed_id, held.sequence) != (feed.feed_id, feed.head):
                yield f"{way}: the feed is at {feed.head}, and stored up to {held}"
            if feed.acknowledged != feed.head:
                yield f"{way}: the feed is at {feed.head}, and acknowledged up to {feed.acknowledged}"
            given = receiver.store.receipts.last(sender.org, given=True)
            taken = sender.store.receipts.last(receiver.org, given=False)
            is_lost = sender.was_put_back and given and not sender.store.receipts.page(receiver.org, given.page.digest)
            if not is_lost and (given and given.digest) != (taken and taken.digest):
                yield f"{way}: the receipts differ"
            # A sender that nobody can dial says with the next page which receipts it has.
            if sender.founded.organisation.endpoints and receiver.store.receipts.pending(sender.org, limit=1):
                yield f"{way}: a receipt is pending"
        for digest in self._by_digest:
            yield from self._record_faults(sender, receiver, digest)

    def _record_faults(self, sender: Node, receiver: Node, digest: str) -> Iterator[str]:
        """Yield what a partner lacks that policy gives it today."""
        if sender.org == PRESS or digest not in sender.held():
            return
        record = sender.office.load(digest, now=sender.now())
        if record is None:
            return
        decision = sender.office.decide(record, partner=receiver.org, now=sender.now())
        if not decision.delivered:
            return
        if wait_of(sender.office, record, decision, partner=receiver.org, now=sender.now()) is not None:
            return
        standing, held = receiver.held().get(digest, ("", ""))
        if standing != "current" or not set(presentation(record, decision).split("~")) <= set(held.split("~")):
            yield f"{sender.org} -> {receiver.org}: lacks {digest}, which is {standing or 'not there'}"

    def _standing_faults(self, said: Said, node: Node) -> Iterator[str]:
        """Yield what is over, and shown as if it was not."""
        held, origin = node.held(), self.federation.nodes[said.issuer]
        if origin.was_put_back and not self.is_known(said):
            return  # perhaps nobody else ever heard of what was lost
        for version in said.versions:
            standing, text = held.get(version.digest, ("", ""))
            if not standing:
                continue
            where = f"{node.org} holds version {version.version} of {said.issuer}'s {version.record_id}"
            if said.over is not None and standing not in _STANDINGS[said.over]:
                yield f"{where} as {standing}, asked to {said.over}"
            elif said.over is Action.PURGE and standing == "purged" and text:
                yield f"{where} with its text, though purged"
            elif said.over is None and version is not said.versions[-1] and standing == "current":
                yield f"{where} as current, which was replaced"
