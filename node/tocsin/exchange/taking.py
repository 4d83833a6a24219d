"""This module stores what the verified entries of a page bring, one by one, and says what became of each.

    record          kept, or grown; retracted before it came: it stays so
    retraction      kept for good, and what is held obeys it; a purge deletes, or our policy says that it must not
    own record      known
    refused         its verdict

What may be passed on is queued for the partners whose policy passes on
anything, and what is over for everybody who holds it through us: what goes is
decided when their pages are made.
"""

from collections.abc import Collection, Mapping, Sequence

from tocsin.audit.entry import Entry, Event
from tocsin.encoding import JSON
from tocsin.exchange.check import Checked
from tocsin.identity.names import OrgId, RecordId
from tocsin.policy.clauses import Accept
from tocsin.records.envelope import MAY_RELAY
from tocsin.records.record import VerifiedRecord
from tocsin.records.retraction import Action, VerifiedRetraction
from tocsin.release.due import note_dates
from tocsin.release.office import Office
from tocsin.release.proposal import withdraw
from tocsin.store.model import Added, EntryKind, Outcome, StoredRecord, Verdict

LEGAL_HOLD = "legal-hold"
"""Why a purge is declined: the law here does not let us delete."""

_OUTCOMES: Mapping[Added, Outcome] = {
    Added.NEW: Outcome.STORED,
    Added.GROWN: Outcome.GROWN,
    Added.UNCHANGED: Outcome.UNCHANGED,
    Added.RETRACTED: Outcome.RETRACTED,
    Added.EQUIVOCATION: Outcome.REFUSED,  # stored as evidence, and never shown
}


class Taking:
    """A page of one peer being stored, inside the transaction.

    `queued` are the partners that something is queued for, `erased` whether
    something must be scrubbed from the disk afterwards.
    """

    def __init__(self, office: Office, peer: OrgId, *, accept: Accept, onward: Collection[OrgId], now: int) -> None:
        self.queued: set[OrgId] = set()
        self.erased = False
        self._office = office
        self._store = office.store
        self._peer = peer
        self._accept = accept
        self._onward = onward
        self._now = now
        self._log: list[Entry] = []
        self._answers: dict[tuple[OrgId, RecordId, Action], tuple[Outcome, str]] = {}

    def take(self, checked: Checked) -> Verdict:
        """Store what one entry brought, and say what became of it."""
        entry = checked.entry
        if entry.kind is EntryKind.VOID:
            return Verdict(entry.sequence, Outcome.VOID)
        if checked.record is not None:
            outcome, reason = self._take_record(checked, checked.record)
        elif checked.retraction is not None:
            outcome, reason = self._take_retraction(checked, checked.retraction)
        elif checked.is_ours:
            outcome, reason = Outcome.UNCHANGED, ""
        else:
            outcome, reason = Outcome.REFUSED, checked.reason
        return Verdict(entry.sequence, outcome, digest=entry.digest, reason=reason)

    def log(self) -> None:
        """Keep in the decision log what origins have taken back."""
        if self._log:
            self._office.log.append(*self._log, now=self._now)

    def _take_record(self, checked: Checked, record: VerifiedRecord) -> tuple[Outcome, str]:
        added = self._store.records.add(record, received_from=self._peer, now=self._now)
        if added is Added.RETRACTED:
            return Outcome.RETRACTED, ""
        note_dates(self._store, record)
        withheld = [note for note in checked.entry.withheld if note.path not in record.paths]
        if withheld or added is not Added.NEW:  # of what is new, nothing was said before
            self._store.intake.note_withheld(self._peer, record.digest, withheld)
        if added in (Added.NEW, Added.GROWN) and record.relay == MAY_RELAY:
            withdraw(self._office, record.supersedes, now=self._now)  # what was proposed of the version before
            self._queue(self._onward, record.digest, issuer=record.issuer)
        return _OUTCOMES[added], Added.EQUIVOCATION.upper() if added is Added.EQUIVOCATION else ""

    def _take_retraction(self, checked: Checked, retraction: VerifiedRetraction) -> tuple[Outcome, str]:
        """Let a retraction count; one that is kept already is answered as it was the first time."""
        is_new = self._store.retractions.add(retraction, received_from=self._peer, now=self._now)
        about = (retraction.issuer, retraction.record_id, retraction.action)
        if not is_new and about in self._answers:  # a page of the same is looked at once
            return self._answers[about]
        self._answers[about] = answer = self._obey(checked, retraction, is_new=is_new)
        return answer

    def _obey(self, checked: Checked, retraction: VerifiedRetraction, *, is_new: bool) -> tuple[Outcome, str]:
        over = self._over(retraction)
        is_declined = retraction.action is Action.PURGE and self._must_keep(retraction, over)
        if retraction.action is Action.PURGE and not is_declined:
            self._erase(over)
        if is_new:
            self._tell(checked.entry.digest, retraction, is_declined=is_declined)
            self._pass_on(retraction, over)
        return (Outcome.DECLINED, LEGAL_HOLD) if is_declined else (Outcome.APPLIED, "")

    def _over(self, retraction: VerifiedRetraction) -> Sequence[StoredRecord]:
        """Return what a retraction ends of what is held; of what is corrected the last: the others were over before."""
        if retraction.action is not Action.CORRECT:
            return self._store.records.history(retraction.issuer, retraction.record_id)
        last = self._store.records.newest(retraction.issuer, retraction.record_id, until=retraction.version)
        return () if last is None else (last,)

    def _must_keep(self, retraction: VerifiedRetraction, over: Sequence[StoredRecord]) -> bool:
        """Say whether the law lets us delete nothing of its origin's, or of theirs who gave it to us."""
        policies = self._office.policies().policies
        asked = {retraction.issuer, *(one.received_from for one in over)} & policies.keys()
        accepts = (self._accept, *(policies[OrgId(org)].accept for org in asked))
        return any(accept is not None and accept.legal_hold for accept in accepts)

    def _erase(self, held: Sequence[StoredRecord]) -> None:
        for version in held:
            if version.token:
                self._office.erase(version.digest)
                self.erased = True

    def _pass_on(self, retraction: VerifiedRetraction, over: Sequence[StoredRecord]) -> None:
        """Queue it for whoever holds the record through us, and take back what is proposed of it."""
        for version in over:
            withdraw(self._office, version.digest, now=self._now)
        if over:
            holders = self._store.feeds.holders(retraction.issuer, retraction.record_id)
            self._queue(holders, over[-1].digest, issuer=retraction.issuer)

    def _queue(self, partners: Collection[OrgId], digest: str, *, issuer: OrgId) -> None:
        """Queue a record for partners, but not for its origin, nor for whom it came from."""
        for partner in sorted(partners):
            if partner not in (issuer, self._peer):
                self._store.feeds.queue(partner, digest, now=self._now)
                self.queued.add(partner)

    def _tell(self, digest: str, retraction: VerifiedRetraction, *, is_declined: bool) -> None:
        event = Event.PURGED_BY_ORIGIN if retraction.action is Action.PURGE else Event.RETRACTED
        details: dict[str, JSON] = {
            "issuer": retraction.issuer,
            "record_id": retraction.record_id,
            "version": retraction.version,
            "action": retraction.action.value,
            "retraction": retraction.digest,
        }
        event = Event.PURGE_DECLINED if is_declined else event
        self._log.append(Entry(event, partner=self._peer, digest=digest, details=details))
