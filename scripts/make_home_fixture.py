"""This module makes `tests/fixtures/home-v1/`: a small home as this version leaves it, for later versions to open.

    python scripts/make_home_fixture.py            # writes the home and, beside it, home-v1.json: what it holds

It is Lab A's: one peer with whom it has exchanged in both directions, a policy
with a rule of each sort, records of all three kinds, one field revealed by
name, and one record that still waits. Keys, ids and salts follow from fixed
seeds, and the clock stands still, so the same code makes the same records.

Its keys follow from seeds that anybody can read here: they guard nothing.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tocsin.desk.desk import Desk
from tocsin.desk.founding import create_home
from tocsin.desk.home import Home, open_home
from tocsin.desk.room import Progress
from tocsin.exchange.outbox import acknowledge, next_page
from tocsin.exchange.receive import accept_page
from tocsin.identity.names import OrgId
from tocsin.schema.contract import enum_number
from tocsin.schema.files import parse_content_file
from tocsin.v1 import desk_service_pb2 as v1

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"
RECORDS = ROOT / "examples" / "records"
NOW = 1_772_366_400  # 2026-03-01T12:00:00Z

LAB_A, LAB_B = "lab-a.example", "lab-b.example"
POSTED = ("01-tool-output-injection", "07-sandbox-boundary-near-miss", "10-cyber-range-evaluation")
WAITING = "05-overrefusal-medical"
RECEIVED = ("02-multilingual-refusal-gap",)

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
    target = FIXTURES / "home-v1"
    shutil.rmtree(target, ignore_errors=True)
    FIXTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        make_home(target, LAB_A) as here,
        make_home(Path(folder) / "home", LAB_B) as there,
    ):
        exchange(here, there)
        written = json.dumps(describe(here), indent=2, ensure_ascii=False)
    (FIXTURES / "home-v1.json").write_text(f"{written}\n", encoding="utf-8")
    (target / "lock").unlink()
    (target / "run").rmdir()  # empty, and git keeps no empty folders


def make_home(root: Path, org: str) -> Home:
    """Make and open a home that has a policy for the other."""
    create_home(
        root,
        org=org,
        name=org.partition(".")[0].replace("-", " ").title(),
        kind="lab",
        listen="127.0.0.1:7470",
        endpoints=("127.0.0.1:7470",),
        contact=f"mailto:security@{org}",
        now=NOW,
        random=seeded(org),
    )
    partner = LAB_B if org == LAB_A else LAB_A
    (root / "policies" / f"{partner}.toml").write_text(POLICY.format(partner=partner), encoding="utf-8")
    return open_home(root, now=NOW)


def exchange(here: Home, there: Home) -> None:
    """Introduce the two, post on both sides, deliver, reveal a field, and leave one record waiting."""
    ours, theirs = (
        Desk(home, clock=lambda: NOW, random=seeded(f"{home.organisation.org} desk"), puller=nobody)
        for home in (here, there)
    )
    for desk, other in ((ours, there), (theirs, here)):
        document, fingerprint = other.organisation.document, other.organisation.fingerprint
        desk.add_peer(v1.AddPeerRequest(document=document, fingerprint=fingerprint))
    first, *_ = [post(ours, name) for name in POSTED]
    for name in RECEIVED:
        post(theirs, name)
    deliver(there, here)
    deliver(here, there)
    ours.reveal_fields(v1.RevealFieldsRequest(id=first, paths=["prompts"], partner=LAB_B))
    deliver(here, there)
    post(ours, WAITING, recipients=[LAB_B])


async def nobody(org: OrgId) -> AsyncIterator[Progress]:
    """Fetch nothing: the two homes are brought together by hand."""
    for _ in ():
        yield Progress()


def post(desk: Desk, name: str, *, recipients: list[str] | None = None) -> str:
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
    (posted,) = desk.post_records(v1.PostRecordsRequest(drafts=[draft])).results
    if posted.error_reason:
        raise RuntimeError(f"{name}: {posted.error_reason} {posted.error_details}")
    return posted.record.digest


def deliver(sender: Home, receiver: Home) -> None:
    """Move the feed of one to the other, and acknowledge it."""
    to = OrgId(receiver.organisation.org)
    feed = sender.store.feeds.get(to)
    cursor = f"{feed.feed_id}.{feed.acknowledged}" if feed else ""
    while page := next_page(
        sender.store,
        to,
        cursor,
        policies=sender.policies,
        signer=sender.delivery_signer,
        organisation=sender.organisation,
        now=NOW,
        random=seeded(f"{sender.organisation.org} feed"),
    ):
        accept = receiver.policies.policies[sender.organisation.org].accept
        received = accept_page(receiver.store, page, sender=sender.organisation, ours=to, accept=accept, now=NOW)
        cursor = received.cursor
        acknowledge(sender.store, to, cursor, now=NOW)


def describe(home: Home) -> dict[str, object]:
    """Say what the home holds, for the test that opens it."""
    desk = Desk(home, clock=lambda: NOW, random=seeded("nothing"), puller=nobody)
    records = desk.list_records(v1.ListRecordsRequest(full=True)).records
    (peer,) = desk.list_peers(v1.ListPeersRequest()).peers
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
    }


if __name__ == "__main__":
    main()
