"""This module measures a plan of policies over many real records, next to verifying each of them once.

    python -m benchmarks.plan [RECORDS]

A home holds the example records again and again, under other titles, and has
twenty partners; nothing is in force but the floor. The plan weighs the example
policies for all of them: most of it would be new. It is asked of the desk as
the command asks it, message by message. Its time is stated as a ratio to
verifying as many records once, which every plan does too. Where OpenSSL
verified 4,400 signatures a second, 10,000 records took 29 s, 2.8 times their
verification.
"""

import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.support.nodes import Place, make_place
from tests.support.organisations import found
from tests.support.wire import now

from benchmarks.decisions import EXAMPLES, PARTNERS
from tocsin.desk.desk import Desk
from tocsin.desk.home import Home, open_home
from tocsin.identity.names import new_record_id
from tocsin.records.record import Draft, VerifiedRecord, issue, parse_record
from tocsin.schema.files import parse_content_file
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2 as v1

RECORDS = 2_000
ROUNDS = 3
AT_ONCE = 500


def fill(home: Home, count: int) -> list[str]:
    """Store the example records again and again as the home's own, and return their texts."""
    files = [(path.name, path.read_bytes()) for path in sorted((EXAMPLES / "records").glob("*.toml"))]
    read = [parse_content_file(text, format="toml", name=name) for name, text in files]
    tokens: list[str] = []  # no records: a node does not hold them either, and its collector need not walk them
    records: list[VerifiedRecord] = []
    for number in range(count):
        settings, content = read[number % len(read)]
        draft = Draft(
            record_id=new_record_id(secrets.token_bytes), kind=str(settings["kind"]), tlp=str(settings["tlp"])
        )
        titled = {**content, "title": f"{number} {content['title']}"}
        origin = {"issuer": home.organisation.org, "signer": home.record_signer}
        records.append(issue(draft, titled, **origin, now=now(), random=secrets.token_bytes))
        if len(records) == AT_ONCE or number == count - 1:
            store(home, records)
            tokens += [record.token for record in records]
            records.clear()
    return tokens


def store(home: Home, records: list[VerifiedRecord]) -> None:
    with home.store.transaction():
        for record in records:
            home.store.records.add(record, author="first", now=now())


def add_partners(home: Home) -> list[v1.PolicyFile]:
    """Make twenty active peers, and return a policy file for each: one of the examples."""
    examples = [(EXAMPLES / "policies" / f"{name}.toml").read_text() for name in ("peer-lab", "government", "academia")]
    files = []
    for number in range(PARTNERS):
        org = f"p{number}.example"
        home.store.peers.add(org, document=found(org).document, role=PeerRole.MEMBER, state=PeerState.ACTIVE, now=now())
        text = examples[number % len(examples)]
        partner = next(line.split('"')[1] for line in text.splitlines() if line.startswith("partner"))
        files.append(v1.PolicyFile(name=f"{org}.toml", text=text.replace(f'"{partner}"', f'"{org}"')))
    return files


async def plan(desk: Desk, place: Place, files: list[v1.PolicyFile]) -> tuple[int, int]:
    """Plan, and return how many messages came, and how many changes in them."""
    messages = changes = 0
    async for answer in desk.plan_policies(v1.PlanPoliciesRequest(files=files), place.first.person()):
        if answer.problems:
            raise RuntimeError(answer.problems[0].message)
        messages, changes = messages + 1, changes + len(answer.changes)
    return messages, changes


def measure(desk: Desk, place: Place, files: list[v1.PolicyFile], tokens: list[str]) -> tuple[float, float]:
    """Return the seconds of verifying every record once, and of the plan; the two in turns."""
    organisation = place.organisation
    started = time.perf_counter()
    for token in tokens:
        parse_record(token).verify(organisation, now=now())
    verified = time.perf_counter()
    messages, changes = asyncio.run(plan(desk, place, files))
    sys.stdout.write(f"  {changes:,} changes in {messages} messages\n")
    return verified - started, time.perf_counter() - verified


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as folder:
        place = make_place(Path(folder), "lab-a.example", endpoint=False)
        with open_home(place.root, now=now()) as home:
            tokens = fill(home, count)
            files = add_partners(home)
            desk = Desk(home, clock=now, random=secrets.token_bytes, puller=None, requester=None)
            rounds = [measure(desk, place, files, tokens) for _ in range(ROUNDS)]
    seconds = statistics.median(planned for _, planned in rounds)
    ratio = statistics.median(planned / verified for verified, planned in rounds)
    sys.stdout.write(
        f"{count} records, {PARTNERS} partners: {seconds:.1f} s, {ratio:.2f} times verifying each once"
        f" (medians of {ROUNDS})\n"
    )


if __name__ == "__main__":
    main()
