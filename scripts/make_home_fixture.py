"""This module makes `tests/fixtures/home-v5/`: a small home as this version leaves it, for later versions to open.

    python scripts/make_home_fixture.py            # writes the home and, beside it, home-v5.json: what it holds

It is Lab A's: one peer with whom it has exchanged in both directions, a second
person beside the founder, a policy with a rule of each sort put in force, records
of all three kinds, one release that was approved and one that waits for it, a
hold that is not over, one field revealed by name, one that the partner asks
for, and receipts in both directions, the last of which is still to be handed
over. Of what went out one record was withdrawn, one purged, and one amended so
lately that the new version still waits to be fetched; the partner has withdrawn
one of its own. Keys, ids and salts follow from fixed seeds, and the clock stands still, so
the same code makes the same records.

Its keys follow from seeds that anybody can read here: they guard nothing.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tocsin.desk.desk import Desk
from tocsin.desk.founding import Founder, create_home
from tocsin.desk.home import Home, open_home
from tocsin.desk.room import Progress, open_office
from tocsin.errors import PeerUnreachable
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.directory import Directory
from tocsin.exchange.quota import Budget
from tocsin.exchange.side import Side
from tocsin.identity.certificate import make_certificate
from tocsin.identity.keys import generate_ed25519, generate_p256
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner
from tocsin.people.act import Act, policy_subject, sign_act
from tocsin.people.card import make_card
from tocsin.people.person import Person
from tocsin.schema.contract import enum_number
from tocsin.schema.files import parse_content_file
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import exchange_service_pb2 as exchange_v1
from tocsin.v1 import record_pb2

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
RECORDS = ROOT / "examples" / "records"
NOW = 1_772_366_400  # 2026-03-01T12:00:00Z

LAB_A, LAB_B = "lab-a.example", "lab-b.example"
FIRST, COUNSEL = "first", "counsel"
POSTED = ("01-tool-output-injection", "07-sandbox-boundary-near-miss", "10-cyber-range-evaluation")
PROPOSED = "11-jailbreak-robustness"
ASKED_FOR = "poc"
AMENDED, WITHDRAWN, PURGED = "05-overrefusal-medical", "04-poisoned-dataset-mirror", "02-multilingual-refusal-gap"
RECEIVED = ("02-multilingual-refusal-gap", "04-poisoned-dataset-mirror")

POLICY = """\
partner   = "{partner}"
agreement = "MOU 2026-04, section 3"
expires   = 2030-01-01T00:00:00Z

[[share]]
name     = "severe findings"
kinds    = ["finding"]
max_tlp  = "AMBER"
when     = 'severity in ["high", "critical"]'
classes  = "PARTNER"
reveal   = ["prompts"]
withhold = ["subjects[*].version"]
reason   = "trade_secret"
name_withheld = true

[[share]]
name      = "evaluations, when two agree"
kinds     = ["evaluation"]
max_tlp   = "AMBER"
classes   = "COMMUNITY"
approvals = 1

[[share]]
name    = "incidents, after three days"
kinds   = ["incident"]
max_tlp = "AMBER"
classes = "COMMUNITY"
hold    = "72h"

[[share]]
name    = "everything else"
kinds   = ["*"]
max_tlp = "AMBER"
classes = "COMMUNITY"
reason  = "third_party_confidential"
name_withheld = true

[accept]
kinds = ["*"]
max_per_hour = 2000
"""


def seeded(seed: str) -> Callable[[int], bytes]:
    """Return a source of bytes that is the same in every run."""
    position = 0

    def random(count: int) -> bytes:
        nonlocal position
        position += count
        return hashlib.shake_256(seed.encode()).digest(position)[-count:]

    return random


def main() -> None:
    """Make the home, its partner's in a temporary folder, and let them exchange."""
    target = FIXTURES / "home-v5"
    shutil.rmtree(target, ignore_errors=True)
    FIXTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        make_home(target, LAB_A) as here,
        make_home(Path(folder) / "home", LAB_B) as there,
    ):
        exchange(here, there)
        written = json.dumps(describe(here), indent=2, ensure_ascii=False)
    (FIXTURES / "home-v5.json").write_text(f"{written}\n", encoding="utf-8")
    (target / "lock").unlink()
    (target / "run").rmdir()  # empty, and git keeps no empty folders


@dataclass(frozen=True, slots=True)
class Keys:
    """What lies in a person's profile."""

    name: str
    org: OrgId
    signer: FileSigner
    certificate: bytes

    def sign(self, act: Act, on: str) -> str:
        """Return the statement that the person decides this."""
        return sign_act(act, on=on, org=self.org, person=self.name, signer=self.signer, now=NOW)


@dataclass(frozen=True, slots=True)
class Place:
    """A home with its desk, and the keys of the people who work there."""

    home: Home
    desk: Desk
    first: Keys
    counsel: Keys

    @property
    def side(self) -> Side:
        """Return our side of the exchange; no bytes of its source come twice."""
        written = self.home.store.audit.head()
        seed = f"{self.home.organisation.org} release {written.sequence if written else 0}"
        return Side(
            office=open_office(self.home, strict=False, random=seeded(seed)),
            delivery_signer=self.home.delivery_signer,
            directory=Directory(self.home.store, own_certificate=self.home.tls.certificate),
            clock=lambda: NOW,
            dial=call_nobody,
            budget=Budget(60),
        )

    def person(self, name: str) -> Person:
        """Return somebody as a caller of the desk."""
        return self.home.store.people.get(name)

    @property
    def founder(self) -> Person:
        """Return the caller who may do everything."""
        return self.person(self.first.name)


def keys_of(name: str, org: str) -> Keys:
    """Return the keys of a person, which follow from its name."""
    seed = f"{org} {name}"
    certificate = make_certificate(
        OrgId(org), private_key=generate_p256(seeded(f"{seed} tls")), now=NOW, random=seeded(f"{seed} serial")
    )
    return Keys(name, OrgId(org), FileSigner(generate_ed25519(seeded(f"{seed} signing"))), certificate)


def make_home(root: Path, org: str) -> Home:
    """Make and open a home that the first person has founded."""
    first = keys_of(FIRST, org)
    create_home(
        root,
        org=org,
        name=org.partition(".")[0].replace("-", " ").title(),
        kind="lab",
        listen="127.0.0.1:7470",
        endpoints=("127.0.0.1:7470",),
        contact=f"mailto:security@{org}",
        founder=Founder(first.name, first.signer, first.certificate),
        now=NOW,
        random=seeded(org),
    )
    return open_home(root, now=NOW)


def open_desk(home: Home, *, random: Callable[[int], bytes]) -> Desk:
    """Return the desk of a home; it asks no other node, since the two homes are brought together by hand."""
    return Desk(
        home,
        clock=lambda: NOW,
        random=random,
        puller=fetch_nothing,
        requester=call_nobody,
        probe=call_nobody,
        contacts=Contacts(),
    )


def settle(home: Home, *, partner: Home) -> Place:
    """Let a second person in, make the other a peer, and put a policy for it in force."""
    org = home.organisation.org
    desk = open_desk(home, random=seeded(f"{org} desk"))
    place = Place(home, desk, keys_of(FIRST, org), keys_of(COUNSEL, org))
    card = make_card(COUNSEL, signer=place.counsel.signer, certificate=place.counsel.certificate)
    roles = [v1.PERSON_ROLE_RELEASER, v1.PERSON_ROLE_AUDITOR]
    desk.add_person(v1.AddPersonRequest(card=card, roles=roles), place.founder)
    other = partner.organisation
    desk.add_peer(v1.AddPeerRequest(document=other.document, fingerprint=other.fingerprint), place.founder)
    put_in_force(place, {f"{other.org}.toml": POLICY.format(partner=other.org)})
    return place


def put_in_force(place: Place, changed: dict[str, str]) -> None:
    """Apply files beside those that are in force."""
    before = place.home.store.policies.latest()
    if before is None:
        raise RuntimeError("a new home has a floor in force")
    files = {**before.files, **changed}
    statement = place.first.sign(Act.APPLY_POLICIES, policy_subject(files, replaces=before.subject))
    request = v1.ApplyPoliciesRequest(
        files=[v1.PolicyFile(name=name, text=text) for name, text in files.items()], statement=statement
    )
    place.desk.apply_policies(request, place.founder)


def exchange(here: Home, there: Home) -> None:
    """Post on both sides, approve, deliver, reveal a field, retract, take a request, and leave an amendment waiting."""
    ours, theirs = settle(here, partner=there), settle(there, partner=here)
    first, *_ = [post(ours, name) for name in POSTED]
    amended = post(ours, AMENDED, recipients=[LAB_B])
    withdrawn, purged = (post(ours, name) for name in (WITHDRAWN, PURGED))
    *_, taken_back = [post(theirs, name) for name in RECEIVED]
    approve(ours)
    deliver(theirs, ours)
    deliver(ours, theirs)
    ours.desk.reveal_fields(v1.RevealFieldsRequest(id=first, paths=["prompts"], partner=LAB_B), ours.founder)
    retract(ours, withdrawn, record_pb2.RETRACTION_ACTION_WITHDRAW)
    retract(ours, purged, record_pb2.RETRACTION_ACTION_PURGE)
    retract(theirs, taken_back, record_pb2.RETRACTION_ACTION_WITHDRAW)
    deliver(ours, theirs)
    deliver(theirs, ours, hand_over=False)
    request = exchange_v1.RequestDisclosureRequest(digest=first, paths=[ASKED_FOR], why="to reproduce it")
    ours.side.keep_request(OrgId(LAB_B), request)
    post(ours, PROPOSED)
    amend(ours, amended)


def approve(place: Place) -> None:
    """Let the second person approve the release that waits."""
    (review,) = place.desk.list_reviews(v1.ListReviewsRequest(), place.founder).reviews
    statement = place.counsel.sign(Act.APPROVE, review.id)
    request = v1.DecideReviewRequest(id=review.id, approve=True, statement=statement)
    place.desk.decide_review(request, place.person(COUNSEL))


def amend(place: Place, digest: str) -> None:
    """Sign the second version of a record, which may be used for something else."""
    request = v1.AmendRecordRequest(id=digest, draft=v1.Draft(permitted_use=[record_pb2.PERMITTED_USE_RESEARCH]))
    amended = place.desk.amend_record(request, place.founder).result
    if amended.error_reason:
        raise RuntimeError(f"{digest}: {amended.error_reason} {amended.error_details}")


def retract(place: Place, digest: str, action: "record_pb2.RetractionAction.ValueType") -> None:
    """Take a record back."""
    reason = record_pb2.RETRACTION_REASON_ERROR
    place.desk.retract_record(v1.RetractRecordRequest(id=digest, action=action, reason=reason), place.founder)


async def fetch_nothing(org: OrgId) -> AsyncIterator[Progress]:
    """Fetch nothing."""
    for _ in ():
        yield Progress()


async def call_nobody(org: object, **asked: object) -> NoReturn:
    """Call nobody."""
    raise PeerUnreachable(f"{org} is not called for {asked}")


def post(place: Place, name: str, *, recipients: list[str] | None = None) -> str:
    """Post one of the example records, and return its digest."""
    text = (RECORDS / f"{name}.toml").read_bytes()
    settings, content = parse_content_file(text, format="toml", name=name)
    draft = v1.Draft(
        kind=enum_number("RecordKind", settings["kind"]),
        tlp=enum_number("Tlp", settings["tlp"]),
        permitted_use=[enum_number("PermittedUse", use) for use in settings.get("permitted_use", ())],
        content_json=json.dumps(content),
        recipients=recipients or (),
        idempotency_key=f"example:{name}",
    )
    (posted,) = place.desk.post_records(v1.PostRecordsRequest(drafts=[draft]), place.founder).results
    if posted.error_reason:
        raise RuntimeError(f"{name}: {posted.error_reason} {posted.error_details}")
    return posted.record.digest


def deliver(sender: Place, receiver: Place, *, hand_over: bool = True) -> None:
    """Move the feed of one to the other, with a receipt for each page; where it is not handed over it is pending."""
    ours, theirs = sender.side, receiver.side
    here, there = ours.organisation.org, theirs.organisation.org
    while page := ours.next_page(there, theirs.stored(here)):
        if growth := ours.growth(there, here, theirs.store.logs.get(here).size):
            theirs.extend(here, here, growth)
        theirs.accept(here, page)
        if hand_over:
            receipts = theirs.receipts(here)
            ours.acknowledge(there, receipts)
            theirs.handed_over(here, receipts)


def describe(home: Home) -> dict[str, object]:
    """Say what the home holds, for the test that opens it."""
    desk = open_desk(home, random=seeded("nothing"))
    me = home.store.people.get(FIRST)
    records = desk.list_records(v1.ListRecordsRequest(full=True), me).records
    (peer,) = desk.list_peers(v1.ListPeersRequest(), me).peers
    reviews = desk.list_reviews(v1.ListReviewsRequest(all=True), me).reviews
    audit = desk.verify_audit(v1.VerifyAuditRequest(), me)
    return {
        "now": NOW,
        "fingerprint": home.organisation.fingerprint,
        "records": {
            record.digest: {
                "title": record.title,
                "iss": record.envelope.iss,
                "fields": sorted(record.content.fields),
                "withheld": [field.path for field in record.withheld],
                "recipients": list(record.recipients),
            }
            for record in sorted(records, key=lambda record: record.digest)
        },
        "peer": {
            "org": peer.organisation.org,
            "sent": peer.entries_sent,
            "acknowledged": peer.entries_acknowledged,
            "waiting": peer.waiting,
        },
        "people": {person.name: sorted(person.roles) for person in home.store.people.list()},
        "policies": sorted(home.policies.policies),
        "reviews": {
            review.id: [v1.ReviewKind.Name(review.kind), v1.ReviewState.Name(review.state)] for review in reviews
        },
        "due": [
            [due.kind.value, due.digest, due.partner, due.due_at] for due in home.store.dues.until(2**53, limit=100)
        ],
        "standings": {
            version.digest: version.standing.value
            for issuer, record_id in sorted(every_record(home))
            for version in home.store.records.history(issuer, record_id)
        },
        "retractions": {row.digest: [row.issuer, row.action] for row in home.store.retractions.issued("")},
        "receipts": {
            "held": len(home.store.receipts.list(given=False)[0]),
            "given": len(home.store.receipts.list(given=True)[0]),
            "pending": len(home.store.receipts.pending(peer.organisation.org, limit=100)),
        },
        "audit": {"entries": audit.entries, "head": audit.head},
    }


def every_record(home: Home) -> set[tuple[str, str]]:
    """Return issuer and id of each record that is held, or was taken back."""
    held = {(one.issuer, one.record_id) for one in home.store.records.issued("", after="", limit=1000)}
    return held | {(row.issuer, row.record_id) for row in home.store.retractions.issued("")}


if __name__ == "__main__":
    main()
