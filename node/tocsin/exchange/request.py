"""This module keeps what partners ask for: further fields of a record that they were sent.

    1. the request is of its form                                     MalformedRequest
    2. it is an own record, and something of it stands in the         NotFound, the same for whatever it was not sent
       partner's feed today
    3. every path is one of the contract                              MalformedName
    4. the same fields were asked for before: where that stands
    5. the partner has requests left, for this record and today       QuotaExceeded

Whether the record has a field, and whether it could ever go, is not told: a
field that never leaves the node is asked for like any other, and answered with
the same silence until our own people say something.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON, encode_base64url
from tocsin.errors import MalformedName, MalformedRequest, NotFound, QuotaExceeded
from tocsin.exchange.status import RETRY_AFTER
from tocsin.identity.names import OrgId
from tocsin.policy.reach import covered
from tocsin.release.office import Office
from tocsin.schema.contract import ELEMENT, KINDS
from tocsin.store.model import DisclosureRequest, ReviewState
from tocsin.store.protocol import Store
from tocsin.v1 import exchange_service_pb2 as v1

MOST_PATHS = 32
LONGEST_WHY = 500
MOST_OPEN = 32
"""Of one partner about one record: as many as it can name fields at once."""
MOST_A_DAY = 100
"""Of one partner: people read them."""
DAY_SECONDS = 86_400
RETRY_SECONDS = 3600  # the day slides, so some of it is back before it is over
ID_BYTES = 16

_STATES: Mapping[ReviewState, v1.RequestState.ValueType] = MappingProxyType(
    {
        ReviewState.OPEN: v1.REQUEST_STATE_OPEN,
        ReviewState.RELEASED: v1.REQUEST_STATE_GRANTED,
        ReviewState.REJECTED: v1.REQUEST_STATE_DECLINED,
    }
)


def keep_request(
    office: Office, peer: OrgId, request: v1.RequestDisclosureRequest, *, now: int
) -> v1.RequestState.ValueType:
    """Keep what a partner asks for, in the steps above, and return where it stands.

    The caller MUST have made sure that the partner is who it says, and active.
    """
    paths = _parse_paths(request)  # 1
    store = office.store
    with store.transaction():
        if store.feeds.sent(peer, request.digest) is None:  # 2
            raise NotFound("there is no such record")
        stored = store.records.get(request.digest)
        if stored.issuer != office.organisation.org or not stored.token:  # one that was purged is asked about no more
            raise NotFound("there is no such record")
        if not paths <= frozenset(KINDS[stored.kind].paths()):  # 3
            raise MalformedName("one of the paths is no field of such a record")
        earlier = [asked for asked in store.reviews.asked(peer, request.digest) if frozenset(asked.paths) == paths]
        if earlier:  # 4
            return _STATES[earlier[-1].state]
        _verify_quota(store, peer, request.digest, now=now)  # 5
        asked = DisclosureRequest(
            id=encode_base64url(office.random(ID_BYTES)),
            peer=peer,
            digest=request.digest,
            paths=tuple(sorted(paths)),
            why=request.why,
            asked_at=now,
            state=ReviewState.OPEN,
        )
        store.reviews.ask(asked)
        details: dict[str, JSON] = {"review": asked.id, "paths": [*asked.paths]}
        office.log.append(Entry(Event.REQUESTED, partner=peer, digest=asked.digest, details=details), now=now)
    return v1.REQUEST_STATE_OPEN


def answer_requests(store: Store, peer: OrgId, digest: str, *, disclosed: Iterable[str]) -> None:
    """Call those open requests granted of which something goes to the partner; `disclosed` are the fields that go."""
    disclosed = tuple(disclosed)
    for asked in store.reviews.asked(peer, digest):
        if asked.state is ReviewState.OPEN and any(covered(path, asked.paths) for path in disclosed):
            store.reviews.set_state(asked.id, ReviewState.RELEASED)


def _parse_paths(request: v1.RequestDisclosureRequest) -> frozenset[str]:
    paths = frozenset(path.removesuffix(ELEMENT) for path in request.paths)  # a list is its elements
    if not 1 <= len(request.paths) <= MOST_PATHS:
        raise MalformedRequest(f"{len(request.paths)} paths; 1 to {MOST_PATHS} can be asked for")
    if len(request.why) > LONGEST_WHY:
        raise MalformedRequest(f"what it is for takes more than {LONGEST_WHY} characters")
    return paths


def _verify_quota(store: Store, peer: OrgId, digest: str, *, now: int) -> None:
    is_open = [asked for asked in store.reviews.asked(peer, digest) if asked.state is ReviewState.OPEN]
    today = store.reviews.count_asked(peer, since=now - DAY_SECONDS, until=now)  # not what a clock ahead has counted
    if len(is_open) >= MOST_OPEN or today >= MOST_A_DAY:
        raise QuotaExceeded(
            "as much is asked for as people can answer",
            hint="wait for answers to what was asked before",
            metadata={RETRY_AFTER: str(RETRY_SECONDS)},
        )
