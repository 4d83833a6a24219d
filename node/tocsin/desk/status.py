"""This module says how the node and its peers are doing, and what needs somebody's attention."""

import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType

from tocsin import __version__
from tocsin.audit.entry import Event
from tocsin.audit.log import BATCH
from tocsin.desk.answers import DAYS_OF_SILENCE, silent_partners
from tocsin.desk.inforce import files_in_force
from tocsin.desk.layout import FOR_OTHERS
from tocsin.desk.messages import organisation_message
from tocsin.desk.papers import unread_version
from tocsin.desk.peering import Peering
from tocsin.desk.people import colleague_message
from tocsin.desk.policyfiles import changed_files, load_drafts
from tocsin.desk.room import Room
from tocsin.desk.witnessing import load_log_policy
from tocsin.errors import HomeDamaged
from tocsin.identity.certificate import DAY
from tocsin.people.person import NEVER_TOGETHER, Person
from tocsin.records.jws import CLOCK_SKEW
from tocsin.store.model import AuditFilter
from tocsin.v1 import desk_service_pb2 as v1

DAYS_OF_WARNING = 60
"""Before an identity document expires: time for the people who hold the root keys to meet."""
DAYS_OF_NEWS = 7
"""What happened once is told for so long: whoever looks once a week has seen it."""
MOST_NAMED = 3
"""Equivocations of one issuer: it can sign thousands, and nobody would see what else there is to see."""
_SET_BACK: Mapping[Event, str] = MappingProxyType(
    {
        Event.RESTORED: "this home was built from a backup",
        Event.ROLLED_BACK: "the store was found to be an earlier state of itself",
    }
)


class Status:
    """The state of the node at a glance."""

    def __init__(self, room: Room, peering: Peering, *, listen: str, started_at: int) -> None:
        self._room = room
        self._peering = peering
        self._listen = listen
        self._started_at = started_at

    def get_status(self, request: v1.GetStatusRequest, caller: Person) -> v1.GetStatusResponse:
        """Say how the node and its peers are doing, and who is asking."""
        home = self._room.home
        counts = home.store.records.counts()
        peers = self._peering.list_peers(v1.ListPeersRequest()).peers
        status = v1.GetStatusResponse(
            organisation=organisation_message(home.organisation),
            serving=self._started_at > 0,
            version=__version__,
            listen=self._listen,
            own_records=counts.own,
            received_records=counts.received,
            store_bytes=home.store.size(),
            peers=peers,
            reviews_open=home.store.reviews.count_open(),
            caller=colleague_message(caller),
            warnings=(
                *self._of_the_home(),
                *self._of_people(),
                *self._of_policies(),
                *self._of_records(),
                *self._of_delivery(),
                *self._of_logs(),
                *_of_peers(peers, now=self._room.clock()),
            ),
        )
        if self._started_at:
            status.started_at.FromSeconds(self._started_at)
        return status

    def _of_the_home(self) -> Iterator[str]:
        home, now = self._room.home, self._room.clock()
        left = home.organisation.expires - now
        if left <= 0:
            yield "the identity document has expired: peers refuse what this node sends"
        elif left < DAYS_OF_WARNING * DAY:
            day = _day(home.organisation.expires)
            yield f"the identity document expires on {day}, in {left // DAY} days: tocsin keys renew"
        with suppress(HomeDamaged):  # which is for doctor to say
            if newer := unread_version(home.layout, home.organisation):
                reload = f"kill -HUP $(cat {home.layout.lock})"
                yield f"version {newer} of the identity document is in the home, and the node has not read it: {reload}"
        for path in home.layout.root_keys_here():
            yield f"{home.layout.relative(path)} is still on this machine: move it offline"
        for problem in home.store.examined.problems if home.store.examined else ():
            yield f"the store is not as it was written: {problem}: tocsin doctor"
        if stat.S_IMODE(home.layout.root.stat().st_mode) & FOR_OTHERS:
            yield f"others on this machine can look into the home: chmod 700 {home.layout.root}"

    def _of_people(self) -> Iterator[str]:
        if not self._room.office.strict:
            return
        for person in self._room.home.store.people.list():
            if person.active and person.roles >= NEVER_TOGETHER:
                yield f"{person.name} holds release, policy and keys at once, and so acts as an operator alone"

    def _of_policies(self) -> Iterator[str]:
        home = self._room.home
        for problem in home.policies.problems:
            yield str(problem)
        for file in changed_files(files_in_force(home.store), load_drafts(home.layout).files):
            yield f"{file} is not what is in force: see tocsin policy plan"

    def _of_records(self) -> Iterator[str]:
        found = Counter[str]()
        for issuer, record_id, version, digests in self._room.home.store.records.equivocations():
            found[issuer] += 1
            if found[issuer] <= MOST_NAMED:
                yield (
                    f"{issuer} signed {len(digests)} different records as {record_id} version {version}: "
                    "they are kept as evidence and none is shown"
                )
        for issuer, count in found.items():
            if count > MOST_NAMED:
                yield f"{issuer} signed different records as one, {count - MOST_NAMED} times more"

    def _of_delivery(self) -> Iterator[str]:
        store, now = self._room.home.store, self._room.clock()
        recently = now - DAYS_OF_NEWS * DAY
        for act, said in _SET_BACK.items():
            for row in store.audit.list(AuditFilter(act=act, since=recently), limit=1, newest_first=True):
                by = f", by a cursor of {row.partner}" if row.partner else ""
                yield f"{said}, on {_day(row.at)}{by}: peers are asked for what was lost"
        for org in sorted(store.recoveries.open()):
            yield f"{org} is still to be asked for what this store has lost"
        shown = store.audit.list(AuditFilter(act=Event.PEER_CHANGED, since=recently), limit=BATCH)
        for org, at in {row.partner: row.at for row in shown if not row.person}.items():
            yield f"{org} showed a newer identity document on {_day(at)}: tocsin audit show --partner {org}"
        refused = store.audit.list(AuditFilter(act=Event.RECEIPT_REFUSED, since=recently), limit=BATCH)
        for org in sorted({row.partner for row in refused}):
            yield f"{org} gave a receipt that was refused: tocsin audit show --partner {org}"
        for retraction, silent in silent_partners(store, ours=self._room.home.organisation.org, now=now):
            yield (
                f"the {retraction.action} of {retraction.record_id} is not answered by {', '.join(silent)} "
                f"after {DAYS_OF_SILENCE} days: tocsin retractions {retraction.record_id}"
            )

    def _of_logs(self) -> Iterator[str]:
        home = self._room.home
        policy = load_log_policy(home.layout)
        if policy.problem:
            file = home.layout.relative(home.layout.witnesses)
            yield f"{file} has a mistake, and nobody's cosignature counts until it is mended: tocsin log policy"
        for row in home.store.logs.list():
            if row.stopped and row.origin == home.organisation.org:
                yield f"nothing is issued or sent: {row.stopped}{_waiting(home.store.logs.awaited())}: tocsin log show"
            elif row.stopped:
                yield (
                    f"nothing is taken from {row.origin}: {row.stopped}: see tocsin log evidence {row.origin}, talk to "
                    f"its people and to other peers, then tocsin log resume {row.origin}"
                )


def _waiting(awaited: Sequence[str]) -> str:
    return f", and still for the word of {', '.join(awaited)}" if awaited else ""


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _of_peers(peers: Iterable[v1.Peer], *, now: int) -> Iterator[str]:
    for peer in peers:
        org = peer.organisation.org
        if peer.state == v1.PEER_STATE_PENDING:
            yield f"{org} is pending until somebody confirms its fingerprint: tocsin peer add FILE --fingerprint F"
        if peer.HasField("clock_ahead") and abs(peer.clock_ahead) > CLOCK_SKEW:
            yield f"the clock of {org} is {peer.clock_ahead:+d} s ahead of this one: see which is wrong: tocsin doctor"
        if peer.entries_refused:
            entries, were = ("entry", "was") if peer.entries_refused == 1 else ("entries", "were")
            yield f"{peer.entries_refused} {entries} of {org} {were} refused: tocsin peer show {org}"
        if peer.organisation.expires_at.ToSeconds() <= now:
            yield f"the identity document of {org} has expired: get its current one, then tocsin peer add FILE"
