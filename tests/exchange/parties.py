"""This module lets organisations exchange in memory: what one's outbox makes, another's intake takes."""

import dataclasses
import json
import tempfile
from functools import cache
from pathlib import Path

from tests.exchange import notary
from tests.exchange.links import Link, run, side_of
from tests.store.making import make_record
from tests.support.organisations import NOW, Founded, found, seeded
from tests.support.people import colleague
from tocsin.audit.log import Log
from tocsin.errors import StaleCheckpoint
from tocsin.exchange import chain, outbox
from tocsin.exchange.acknowledge import take_receipts
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.directory import KnownPeer
from tocsin.exchange.gossip import compare, read_on
from tocsin.exchange.outbox import LIMITS
from tocsin.exchange.publish import amend, publish, queue_partners, weigh_queued
from tocsin.exchange.quota import Budget
from tocsin.exchange.receive import accept_page
from tocsin.exchange.retract import retract
from tocsin.exchange.reveal import reveal
from tocsin.identity.names import OrgId
from tocsin.people.act import Act
from tocsin.people.person import Role
from tocsin.policy.parse import parse_policies
from tocsin.records.disclosure import digest_of
from tocsin.records.retraction import Action, sign_retraction
from tocsin.release.due import act_on_due
from tocsin.release.office import Office, vouched_organisation
from tocsin.release.proposal import refresh_all
from tocsin.release.review import decide_review
from tocsin.store.model import AuditFilter, PeerRole, PeerState, Proposal
from tocsin.store.sqlite import open_store
from tocsin.tlog.log import OwnLog

A, B, C = OrgId("lab-a.example"), OrgId("lab-b.example"), OrgId("aisi.example")
founded = cache(found)  # founding an organisation takes longer than most tests
someone = cache(colleague)

AUTHOR, FIRST_RELEASER, SECOND_RELEASER = "analyst-1", "releaser-1", "releaser-2"
PEOPLE = {
    AUTHOR: (Role.ANALYST, Role.RELEASER),
    FIRST_RELEASER: (Role.RELEASER,),
    SECOND_RELEASER: (Role.RELEASER,),
    "counsel": (Role.POLICY_ADMIN,),
}

OPEN = """
[[share]]
name = "open"
kinds = ["*"]
max_tlp = "AMBER"
classes = "PARTNER"
reveal = ["prompts"]
reason = "infohazard"
name_withheld = true
"""
NARROW = OPEN.replace('"PARTNER"', '"COMMUNITY"')
APPROVED = OPEN + "approvals = 1\n"
HELD = OPEN + 'hold = "72h"\n'
RELAYED = """
[[share]]
name = "of others"
kinds = ["*"]
max_tlp = "GREEN"
classes = "COMMUNITY"
relayed = true
"""
HOUR = 3600
ACCEPT = '[accept]\nkinds = ["*"]\nmax_per_hour = 2000\nrelayed = true\n'


def policy_set(partners, *, floor=""):
    """Return policies from rules by partner, each with a table that accepts everything; nothing is decided yet."""
    parsed = _parsed(tuple(partners.items()), floor)
    return dataclasses.replace(parsed, policies=dict(parsed.policies))


@cache
def _parsed(partners, floor):
    files = {f"{org}.toml": f'partner = "{org}"\n{rules}\n' for org, rules in partners}
    parsed = parse_policies({"floor.toml": floor} | files)
    assert not parsed.problems, parsed.problems
    return parsed


@cache
def blank(name):
    """Return the store of an organisation that has its people and knows the others, and has said nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blank.db"
        with open_store(path, create=True) as store, store.transaction():
            for person, roles in PEOPLE.items():
                store.people.add(someone(person, name).person(*roles))
            for org in sorted({A, B, C} - {name}):
                document = founded(org).document
                store.peers.add(org, document=document, role=PeerRole.MEMBER, state=PeerState.ACTIVE, now=NOW)
        return path.read_bytes()


class Party:
    """An organisation with a store, people and policies, and nothing else of a node."""

    def __init__(self, name, path, *, shares=None, floor=""):
        self.founded: Founded = founded(name)
        self.org = self.founded.organisation.org
        disk = path / f"{name}.db"
        disk.write_bytes(blank(name))
        self.store = open_store(disk)
        self.now = NOW
        self.strict = False
        self.quorum = None
        self.shares = {}
        self._random = seeded(f"{name} office")
        for org in sorted({A, B, C} - {self.org}):
            self.shares[org] = (shares or {}).get(org, OPEN) + ACCEPT
        self.set_policies(floor=floor)
        notary.PARTIES[self.org] = self

    @property
    def office(self):
        return Office(
            store=self.store,
            organisation=self.founded.organisation,
            policies=lambda: self.policies,
            log=Log(self.store, org=self.org, signer=founded(self.org).delivery),
            tlog=OwnLog(self.store.logs, self.org, self.founded.log, self.founded.witness),
            strict=self.strict,
            random=self._random,
            quorum=lambda: self.quorum,
        )

    def set_policies(self, *, floor="", **rules):
        """Change policies; `lab_b=OPEN` is what is shared with lab-b.example from now on."""
        for name, text in rules.items():
            self.shares[f"{name.replace('_', '-')}.example"] = text + ACCEPT
        self.policies = policy_set(self.shares, floor=floor)

    def apply(self, *, floor="", **rules):
        """Change policies, and weigh what changed, as putting them in force does; say what is queued for whom."""
        before = self.policies
        self.set_policies(floor=floor, **rules)
        if before.floor.digest != self.policies.floor.digest:
            before = None
        changed = [
            org
            for org, policy in self.policies.policies.items()
            if before is None or org not in before.policies or before.policies[org].digest != policy.digest
        ]
        refresh_all(self.office, now=self.now)
        return weigh_queued(self.office, queue_partners(self.office, changed, now=self.now), now=self.now)

    def accept(self, org, accept):
        """Change what is taken from a peer."""
        policy = dataclasses.replace(self.policies.policies[org], accept=accept)
        self.policies = dataclasses.replace(self.policies, policies={**self.policies.policies, org: policy})

    def post(self, content=None, *, to=(), partners=(B, C), author=AUTHOR, **draft):
        record = make_record(content, by=self.founded, now=self.now, **draft)
        self.publish(record, to=to, partners=[org for org in partners if org != self.org], author=author)
        return record

    def amend(self, before, content=None, *, to=(), partners=(B, C), author=AUTHOR, **draft):
        """Say a record again as its next version; return the version and what became of it."""
        draft = {"record_id": before.record_id, "version": before.version + 1, "supersedes": before.digest} | draft
        record = make_record(content, by=self.founded, now=self.now, **draft)
        correction = sign_retraction(
            issuer=self.org,
            record_id=before.record_id,
            version=before.version,
            action=Action.CORRECT,
            tlp=record.tlp,
            signer=self.founded.record,
            now=self.now,
            successor=record.digest,
        )
        partners = [org for org in partners if org != self.org]
        published = amend(
            self.office, record, correction, author=author, partners=partners, recipients=to, now=self.now
        )
        return record, published

    def retract(self, record, action=Action.WITHDRAW, *, reason="", person=AUTHOR):
        return retract(
            self.office,
            record.digest,
            action=action,
            reason=reason,
            person=person,
            signer=self.founded.record,
            now=self.now,
        )

    def publish(self, record, *, to=(), partners=(B, C), author=AUTHOR):
        return publish(self.office, record, author=author, partners=partners, recipients=to, now=self.now)

    def reveal(self, record, *paths, partner=B, person=AUTHOR):
        return reveal(self.office, record, partner=partner, paths=paths, person=person, now=self.now)

    def proposals(self, *, open_only=True):
        return [one for one in self.store.reviews.list(open_only=open_only) if isinstance(one, Proposal)]

    def decide(self, proposal, *, by=FIRST_RELEASER, approve=True, act=None, on=None):
        """Have a person decide about a proposal; `act` and `on` have it sign something else."""
        act = act or (Act.APPROVE if approve else Act.REJECT)
        statement = someone(by, self.org).sign(act, on or proposal.id, now=self.now)
        person = self.store.people.get(by)
        return decide_review(
            self.office, proposal.id, person=person, approve=approve, statement=statement, now=self.now
        )

    def keep_time(self):
        return act_on_due(self.office, now=self.now)

    def logged(self, act=""):
        """Return what the decision log says, without what chains it."""
        rows = self.store.audit.list(AuditFilter(act=act), limit=10_000)
        return [json.loads(row.body) for row in rows]

    def page_for(self, partner, cursor="", *, limits=LIMITS, now=None, reread=None):
        signer, now = self.founded.delivery, now or self.now
        return outbox.next_page(self.office, partner, cursor, signer=signer, now=now, limits=limits, reread=reread)

    def cursor_of(self, sender):
        return format_cursor(self.store.intake.cursor(sender))

    def hears(self, other, *, of=""):
        """Call another party and compare logs with it, as every contact does; `of`: and read this one there."""
        link = Link(side_of(self), side_of(other))
        run(compare(link, other.org, side=link.ours))
        if of not in ("", other.org):
            run(read_on(link, other.org, of, side=link.ours))

    def take(self, page, *, sender=A, now=None, pushed=False, of=None):
        """Take in a page of a peer's feed, with the logs that it needs; its receipt is pending from then on.

        They are read at the party that it is of; the notary has those of a page that is made by hand.
        """
        for _ in range(2):  # it may need the log of its sender, and that of an origin
            try:
                return self.take_now(page, sender=sender, now=now, pushed=pushed)
            except StaleCheckpoint as error:
                origin = OrgId(error.metadata["origin"])
                if of is None:
                    notary.read_on(self, origin)
                else:
                    self.hears(of, of=origin)
        return self.take_now(page, sender=sender, now=now, pushed=pushed)

    def take_now(self, page, *, sender=A, now=None, pushed=False):
        """Take in a page of a peer's feed, as far as the logs were read."""
        policies = self.policies.policies
        policy = policies.get(sender)
        return accept_page(
            self.office,
            page,
            sender=self.origin(sender) or founded(sender).organisation,
            accept=policy.accept if policy else None,
            onward=[org for org in self.office.partners() if org in policies and policies[org].relays],
            origins=self.origin,
            signer=self.founded.delivery,
            budget=Budget(20.0, spent=lambda: 0.0),
            now=now or self.now,
            pushed=pushed,
        )

    def origin(self, org):
        return self.founded.organisation if org == self.org else vouched_organisation(self.store, org)

    def receipts_for(self, sender):
        """Return the receipts that a sender may not have yet, in order."""
        return chain.pending(self.store, sender)

    def take_receipts(self, receipts, *, giver, now=None):
        """Take what a partner says became of this one's pages."""
        peer = KnownPeer(founded(giver).organisation, PeerRole.MEMBER, PeerState.ACTIVE)
        take_receipts(self.office, peer, receipts, now=now or self.now)

    def hand_over(self, sender):
        """Give a sender the receipts that it does not have; `sender` is a party."""
        receipts = self.receipts_for(sender.org)
        if receipts:
            sender.take_receipts(receipts, giver=self.org)
            self.store.receipts.taken(sender.org, digest_of(receipts[-1]))

    def pull(self, sender, *, limits=LIMITS):
        """Take everything that a party has for this one, with receipts; return what each page brought."""
        brought = []
        while (page := sender.page_for(self.org, self.cursor_of(sender.org), limits=limits)) is not None:
            brought.append(self.take(page, sender=sender.org, of=sender))
            self.hand_over(sender)
        return brought

    def state(self, *, but=frozenset()):
        """Return everything in the store that an intake could change, to see that it did not."""
        tables = (
            *("records", "holdings", "retractions", "withheld", "verdicts", "intake", "peers", "candidates"),
            *("entries", "dues", "receipts"),
        )
        return [self.store._db.rows(f"SELECT * FROM {table}") for table in tables if table not in but]  # noqa: S608
