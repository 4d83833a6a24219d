"""This module is the front of the desk: one method for each call of DeskService.

Each takes the request message and returns the response message; what goes wrong
is a TocsinError. The methods may be called from several threads at once, except
`sync_peers`, which belongs to an event loop. Whoever calls is one of our own
people: file permission of the home, or of the desk socket, has let them in.
"""

import re
from collections.abc import AsyncIterator, Callable

from tocsin.desk.home import Home
from tocsin.desk.peering import Peering
from tocsin.desk.policies import Policies
from tocsin.desk.posting import Posting
from tocsin.desk.reading import Reading
from tocsin.desk.room import NO_EVENTS, Events, Puller, Room
from tocsin.desk.status import Status
from tocsin.desk.syncing import Syncing
from tocsin.v1 import desk_service_pb2 as v1

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def method_name(call: str) -> str:
    """Return the name of the desk's method for a call: `post_records` for `PostRecords`."""
    return _WORD.sub("_", call).lower()


class Desk:
    """What an organisation's own people do with their own node."""

    def __init__(
        self,
        home: Home,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        puller: Puller,
        events: Events = NO_EVENTS,
        listen: str = "",
        started_at: int = 0,
    ) -> None:
        """Work on an open home; `listen` and `started_at` are those of the running node, if there is one."""
        room = Room(home, clock, random, events)
        self._posting = Posting(room)
        self._reading = Reading(room)
        self._policies = Policies(room)
        self._peering = Peering(room)
        self._syncing = Syncing(room, puller)
        self._status = Status(room, self._peering, listen=listen, started_at=started_at)

    def get_status(self, request: v1.GetStatusRequest) -> v1.GetStatusResponse:
        """Say how the node and its peers are doing."""
        return self._status.get_status(request)

    def get_identity(self, request: v1.GetIdentityRequest) -> v1.GetIdentityResponse:
        """Return the organisation's own identity."""
        return self._peering.get_identity(request)

    def add_peer(self, request: v1.AddPeerRequest) -> v1.AddPeerResponse:
        """Register an organisation by its identity document, or take its newer document."""
        return self._peering.add_peer(request)

    def list_peers(self, request: v1.ListPeersRequest) -> v1.ListPeersResponse:
        """List the organisations that the node knows."""
        return self._peering.list_peers(request)

    def get_peer(self, request: v1.GetPeerRequest) -> v1.GetPeerResponse:
        """Return one organisation that the node knows."""
        return self._peering.get_peer(request)

    def suspend_peer(self, request: v1.SuspendPeerRequest) -> v1.SuspendPeerResponse:
        """Stop exchanging with a peer until it is resumed."""
        return self._peering.suspend_peer(request)

    def resume_peer(self, request: v1.ResumePeerRequest) -> v1.ResumePeerResponse:
        """Take up the exchange with a suspended peer again."""
        return self._peering.resume_peer(request)

    def remove_peer(self, request: v1.RemovePeerRequest) -> v1.RemovePeerResponse:
        """End the exchange with a peer for good."""
        return self._peering.remove_peer(request)

    def post_records(self, request: v1.PostRecordsRequest) -> v1.PostRecordsResponse:
        """Sign, store and queue records; each of a batch succeeds or fails alone."""
        return self._posting.post_records(request)

    def list_records(self, request: v1.ListRecordsRequest) -> v1.ListRecordsResponse:
        """List current records, newest first."""
        return self._reading.list_records(request)

    def get_record(self, request: v1.GetRecordRequest) -> v1.GetRecordResponse:
        """Return one record, with everything that this node may read of it."""
        return self._reading.get_record(request)

    def search_records(self, request: v1.SearchRecordsRequest) -> v1.SearchRecordsResponse:
        """Find current records by the words they contain."""
        return self._reading.search_records(request)

    def check_policies(self, request: v1.CheckPoliciesRequest) -> v1.CheckPoliciesResponse:
        """Read the policy files as they are on disk and report every problem in them."""
        return self._policies.check_policies(request)

    def explain_record(self, request: v1.ExplainRecordRequest) -> v1.ExplainRecordResponse:
        """Say whether a partner gets a record, which fields, and why."""
        return self._policies.explain_record(request)

    def preview_record(self, request: v1.PreviewRecordRequest) -> v1.PreviewRecordResponse:
        """Return the exact bytes that a partner gets of a record."""
        return self._policies.preview_record(request)

    def reveal_fields(self, request: v1.RevealFieldsRequest) -> v1.RevealFieldsResponse:
        """Queue further fields of a record for a partner that holds a part of it."""
        return self._policies.reveal_fields(request)

    def sync_peers(self, request: v1.SyncPeersRequest) -> AsyncIterator[v1.SyncPeersResponse]:
        """Fetch what peers have for this node now, telling the progress page by page."""
        return self._syncing.sync_peers(request)
