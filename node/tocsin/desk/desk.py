"""This module is the front of the desk: one method for each call of DeskService.

Each takes the request message and the person who calls, and returns the
response message; what goes wrong is a TocsinError. Whether the person may call
it was settled at the door, by `desk.permits`. The methods may be called from
several threads at once, except the asynchronous ones (`sync_peers`,
`plan_policies`, `request_fields`, `test_peer`, `run_checks`, `read_log`,
`export_log`), which belong to an event loop.
"""

import re
from collections.abc import AsyncIterator, Callable

from tocsin.desk.amending import Amending
from tocsin.desk.auditing import Auditing
from tocsin.desk.checks import Checks, Probe
from tocsin.desk.home import Home
from tocsin.desk.logs import Logs
from tocsin.desk.outbox import Outbox
from tocsin.desk.peering import Peering
from tocsin.desk.people import People
from tocsin.desk.planning import Planning
from tocsin.desk.policies import Policies
from tocsin.desk.posting import Posting
from tocsin.desk.proving import Proving
from tocsin.desk.reading import Reading
from tocsin.desk.receipts import Receipts
from tocsin.desk.retracting import Retracting
from tocsin.desk.reviewing import Reviewing
from tocsin.desk.room import NO_EVENTS, Events, Puller, Requester, Room, open_office
from tocsin.desk.status import Status
from tocsin.desk.syncing import Syncing
from tocsin.desk.testing import Trials
from tocsin.exchange.circuit import Contacts
from tocsin.people.person import Person
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
        requester: Requester,
        probe: Probe,
        contacts: Contacts,
        strict: bool = False,
        events: Events = NO_EVENTS,
        listen: str = "",
        started_at: int = 0,
    ) -> None:
        """Work on an open home; `contacts`, `listen` and `started_at` are those of the running node, if there is one.

        `probe` calls a peer to see whether it answers.
        """
        room = Room(home, clock, random, events, open_office(home, strict=strict, random=random))
        self._posting = Posting(room)
        self._amending = Amending(room)
        self._retracting = Retracting(room)
        self._reading = Reading(room)
        self._policies = Policies(room)
        self._planning = Planning(room)
        self._reviewing = Reviewing(room, requester)
        self._auditing = Auditing(room)
        self._people = People(room)
        self._peering = Peering(room, contacts)
        self._syncing = Syncing(room, puller)
        self._outbox = Outbox(room, contacts)
        self._receipts = Receipts(room)
        self._logs = Logs(room)
        self._proving = Proving(room, self._logs)
        self._testing = Trials(room, probe)
        self._checks = Checks(room, probe, contacts)
        self._status = Status(room, self._peering, listen=listen, started_at=started_at)

    def get_status(self, request: v1.GetStatusRequest, caller: Person) -> v1.GetStatusResponse:
        """Say how the node and its peers are doing."""
        return self._status.get_status(request, caller)

    def get_identity(self, request: v1.GetIdentityRequest, caller: Person) -> v1.GetIdentityResponse:
        """Return the organisation's own identity."""
        return self._peering.get_identity(request)

    def add_peer(self, request: v1.AddPeerRequest, caller: Person) -> v1.AddPeerResponse:
        """Register an organisation by its identity document, or take its newer document."""
        return self._peering.add_peer(request, caller)

    def list_peers(self, request: v1.ListPeersRequest, caller: Person) -> v1.ListPeersResponse:
        """List the organisations that the node knows."""
        return self._peering.list_peers(request)

    def get_peer(self, request: v1.GetPeerRequest, caller: Person) -> v1.GetPeerResponse:
        """Return one organisation that the node knows."""
        return self._peering.get_peer(request)

    def suspend_peer(self, request: v1.SuspendPeerRequest, caller: Person) -> v1.SuspendPeerResponse:
        """Stop exchanging with a peer until it is resumed."""
        return self._peering.suspend_peer(request, caller)

    def resume_peer(self, request: v1.ResumePeerRequest, caller: Person) -> v1.ResumePeerResponse:
        """Take up the exchange with a suspended peer again."""
        return self._peering.resume_peer(request, caller)

    def remove_peer(self, request: v1.RemovePeerRequest, caller: Person) -> v1.RemovePeerResponse:
        """End the exchange with a peer for good."""
        return self._peering.remove_peer(request, caller)

    def post_records(self, request: v1.PostRecordsRequest, caller: Person) -> v1.PostRecordsResponse:
        """Sign, store and queue records; each of a batch succeeds or fails alone."""
        return self._posting.post_records(request, caller)

    def amend_record(self, request: v1.AmendRecordRequest, caller: Person) -> v1.AmendRecordResponse:
        """Sign the next version of an own record."""
        return self._amending.amend_record(request, caller)

    def retract_record(self, request: v1.RetractRecordRequest, caller: Person) -> v1.RetractRecordResponse:
        """Take an own record back for good."""
        return self._retracting.retract_record(request, caller)

    def list_retractions(self, request: v1.ListRetractionsRequest, caller: Person) -> v1.ListRetractionsResponse:
        """List retractions, newest first."""
        return self._retracting.list_retractions(request)

    def get_retraction(self, request: v1.GetRetractionRequest, caller: Person) -> v1.GetRetractionResponse:
        """Return what became of a retraction, partner by partner."""
        return self._retracting.get_retraction(request)

    def list_records(self, request: v1.ListRecordsRequest, caller: Person) -> v1.ListRecordsResponse:
        """List current records, newest first."""
        return self._reading.list_records(request)

    def get_record(self, request: v1.GetRecordRequest, caller: Person) -> v1.GetRecordResponse:
        """Return one record, with everything that this node may read of it."""
        return self._reading.get_record(request)

    def search_records(self, request: v1.SearchRecordsRequest, caller: Person) -> v1.SearchRecordsResponse:
        """Find current records by the words they contain."""
        return self._reading.search_records(request)

    def check_policies(self, request: v1.CheckPoliciesRequest, caller: Person) -> v1.CheckPoliciesResponse:
        """Read policy files and report every problem in them."""
        return self._policies.check_policies(request)

    def explain_record(self, request: v1.ExplainRecordRequest, caller: Person) -> v1.ExplainRecordResponse:
        """Say whether a partner gets a record, which fields, and why."""
        return self._policies.explain_record(request)

    def preview_record(self, request: v1.PreviewRecordRequest, caller: Person) -> v1.PreviewRecordResponse:
        """Return the exact bytes that a partner gets of a record."""
        return self._policies.preview_record(request)

    def reveal_fields(self, request: v1.RevealFieldsRequest, caller: Person) -> v1.RevealFieldsResponse:
        """Queue further fields of a record for a partner that holds a part of it."""
        return self._policies.reveal_fields(request, caller)

    def plan_policies(self, request: v1.PlanPoliciesRequest, caller: Person) -> AsyncIterator[v1.PlanPoliciesResponse]:
        """Say what changed policy files would release or stop, telling the progress."""
        return self._planning.plan_policies(request)

    def apply_policies(self, request: v1.ApplyPoliciesRequest, caller: Person) -> v1.ApplyPoliciesResponse:
        """Put a set of policy files in force, whole or not at all."""
        return self._planning.apply_policies(request, caller)

    def get_policy_matrix(self, request: v1.GetPolicyMatrixRequest, caller: Person) -> v1.GetPolicyMatrixResponse:
        """Say up to which class each partner gets records of each kind and marking."""
        return self._policies.get_policy_matrix(request)

    def list_reviews(self, request: v1.ListReviewsRequest, caller: Person) -> v1.ListReviewsResponse:
        """List what waits for somebody's decision."""
        return self._reviewing.list_reviews(request)

    def get_review(self, request: v1.GetReviewRequest, caller: Person) -> v1.GetReviewResponse:
        """Return one review, with the exact presentations."""
        return self._reviewing.get_review(request)

    def decide_review(self, request: v1.DecideReviewRequest, caller: Person) -> v1.DecideReviewResponse:
        """Approve or reject a proposed release, or decline a request."""
        return self._reviewing.decide_review(request, caller)

    async def request_fields(self, request: v1.RequestFieldsRequest, caller: Person) -> v1.RequestFieldsResponse:
        """Ask the origin of a record for fields that it withheld."""
        return await self._reviewing.request_fields(request, caller)

    def list_audit(self, request: v1.ListAuditRequest, caller: Person) -> v1.ListAuditResponse:
        """List the decision log."""
        return self._auditing.list_audit(request)

    def verify_audit(self, request: v1.VerifyAuditRequest, caller: Person) -> v1.VerifyAuditResponse:
        """Verify the chain and the seals of the decision log."""
        return self._auditing.verify_audit(request)

    def list_people(self, request: v1.ListPeopleRequest, caller: Person) -> v1.ListPeopleResponse:
        """List the organisation's own people."""
        return self._people.list_people(request)

    def add_person(self, request: v1.AddPersonRequest, caller: Person) -> v1.AddPersonResponse:
        """Register a person by its card."""
        return self._people.add_person(request, caller)

    def change_person(self, request: v1.ChangePersonRequest, caller: Person) -> v1.ChangePersonResponse:
        """Change what a person may do."""
        return self._people.change_person(request, caller)

    def remove_person(self, request: v1.RemovePersonRequest, caller: Person) -> v1.RemovePersonResponse:
        """End what a person may do."""
        return self._people.remove_person(request, caller)

    def sync_peers(self, request: v1.SyncPeersRequest, caller: Person) -> AsyncIterator[v1.SyncPeersResponse]:
        """Fetch what peers have for this node now, telling the progress page by page."""
        return self._syncing.sync_peers(request)

    def list_outbox(self, request: v1.ListOutboxRequest, caller: Person) -> v1.ListOutboxResponse:
        """List what waits to go, and what went and is not acknowledged, each with the reason why."""
        return self._outbox.list_outbox(request)

    def list_receipts(self, request: v1.ListReceiptsRequest, caller: Person) -> v1.ListReceiptsResponse:
        """List receipts, those that partners gave or those that they were given."""
        return self._receipts.list_receipts(request)

    def get_log(self, request: v1.GetLogRequest, caller: Person) -> v1.GetLogResponse:
        """Say where the transparency logs stand."""
        return self._logs.get_log(request)

    def get_log_policy(self, request: v1.GetLogPolicyRequest, caller: Person) -> v1.GetLogPolicyResponse:
        """Say whose cosignatures count."""
        return self._logs.get_log_policy(request)

    def read_log(self, request: v1.ReadLogRequest, caller: Person) -> AsyncIterator[v1.ReadLogResponse]:
        """Read a log from its first entry to its last."""
        return self._logs.read_log(request)

    def export_log(self, request: v1.ExportLogRequest, caller: Person) -> AsyncIterator[v1.ExportLogResponse]:
        """Return a log as files."""
        return self._logs.export_log(request)

    def prove_record(self, request: v1.ProveRecordRequest, caller: Person) -> v1.ProveRecordResponse:
        """Return the proof that a record is in its origin's log."""
        return self._proving.prove_record(request)

    def list_evidence(self, request: v1.ListEvidenceRequest, caller: Person) -> v1.ListEvidenceResponse:
        """List what is held against origins."""
        return self._proving.list_evidence(request)

    def get_evidence(self, request: v1.GetEvidenceRequest, caller: Person) -> v1.GetEvidenceResponse:
        """Return one bundle of evidence."""
        return self._proving.get_evidence(request)

    def resume_log(self, request: v1.ResumeLogRequest, caller: Person) -> v1.ResumeLogResponse:
        """Go on with a log that was stopped."""
        return self._proving.resume_log(request, caller)

    def test_peer(self, request: v1.TestPeerRequest, caller: Person) -> AsyncIterator[v1.TestPeerResponse]:
        """Send a made-up record through the policy and over the wire, and take it back, telling each step."""
        return self._testing.test_peer(request, caller)

    def run_checks(self, request: v1.RunChecksRequest, caller: Person) -> AsyncIterator[v1.RunChecksResponse]:
        """Look the node over, and say what is wrong and how to mend it, check by check."""
        return self._checks.run_checks(request)
