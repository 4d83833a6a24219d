"""This module lets organisations exchange in memory: what one's outbox makes, another's intake takes."""

import dataclasses
from functools import cache

from tests.store.making import make_record
from tests.support.organisations import NOW, Founded, found, seeded
from tocsin.exchange import outbox
from tocsin.exchange.cursor import format_cursor
from tocsin.exchange.outbox import LIMITS
from tocsin.exchange.publish import publish
from tocsin.exchange.receive import accept_page
from tocsin.identity.names import OrgId
from tocsin.policy.parse import parse_policies
from tocsin.store.model import PeerRole, PeerState
from tocsin.store.sqlite import open_store

A, B, C = OrgId("lab-a.example"), OrgId("lab-b.example"), OrgId("aisi.example")
founded = cache(found)  # founding an organisation takes longer than most tests

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
ACCEPT = '[accept]\nkinds = ["*"]\nmax_per_hour = 2000\n'


def policy_set(partners, *, floor=""):
    """Return policies from rules by partner, each with a table that accepts everything."""
    files = {f"{org}.toml": f'partner = "{org}"\n{rules}\n' for org, rules in partners.items()}
    parsed = parse_policies({"floor.toml": floor} | files)
    assert not parsed.problems, parsed.problems
    return parsed


class Party:
    """An organisation with a store and policies, and nothing else of a node."""

    def __init__(self, name, path, *, shares=None, floor=""):
        self.founded: Founded = founded(name)
        self.org = self.founded.organisation.org
        self.store = open_store(path / f"{name}.db", create=True)
        self.now = NOW
        self.shares = {}
        self.policies = parse_policies({"floor.toml": floor})
        for org in {A, B, C} - {self.org}:
            self.store.peers.add(
                org, document=founded(org).document, role=PeerRole.MEMBER, state=PeerState.ACTIVE, now=NOW
            )
            self.shares[org] = (shares or {}).get(org, OPEN) + ACCEPT
        self.set_policies(floor=floor)

    def set_policies(self, *, floor="", **rules):
        """Change policies; `lab_b=OPEN` is what is shared with lab-b.example from now on."""
        for name, text in rules.items():
            self.shares[f"{name.replace('_', '-')}.example"] = text + ACCEPT
        self.policies = policy_set(self.shares, floor=floor)

    def accept(self, org, accept):
        """Change what is taken from a peer."""
        policy = self.policies.policies[org]
        self.policies.policies[org] = dataclasses.replace(policy, accept=accept)

    def post(self, content=None, *, to=(), partners=(B, C), **draft):
        record = make_record(content, by=self.founded, now=self.now, **draft)
        publish(
            self.store,
            record,
            policies=self.policies,
            partners=[org for org in partners if org != self.org],
            recipients=to,
            now=self.now,
        )
        return record

    def page_for(self, partner, cursor="", *, limits=LIMITS, now=None):
        return outbox.next_page(
            self.store,
            partner,
            cursor,
            policies=self.policies,
            signer=self.founded.delivery,
            organisation=self.founded.organisation,
            now=now or self.now,
            random=seeded(f"{self.org} feed for {partner}"),
            limits=limits,
        )

    def cursor_of(self, sender):
        return format_cursor(self.store.intake.cursor(sender))

    def take(self, page, *, sender=A, now=None):
        policy = self.policies.policies.get(sender)
        return accept_page(
            self.store,
            page,
            sender=founded(sender).organisation,
            ours=self.org,
            accept=policy.accept if policy else None,
            now=now or self.now,
        )

    def pull(self, sender, *, limits=LIMITS):
        """Take everything that a party has for this one; return what each page brought."""
        brought = []
        while (page := sender.page_for(self.org, self.cursor_of(sender.org), limits=limits)) is not None:
            brought.append(self.take(page, sender=sender.org))
            outbox.acknowledge(sender.store, self.org, brought[-1].cursor, now=self.now)
        return brought

    def state(self):
        """Return everything in the store that an intake could change, to see that it did not."""
        return [
            self.store._db.rows(f"SELECT * FROM {table}")  # noqa: S608
            for table in ("records", "holdings", "withheld", "verdicts", "intake", "peers", "candidates", "entries")
        ]
