"""This module measures how fast policy decides, what a plan of other policies takes, and what each partner costs.

Records are the example records with other titles, policies the example
policies, each for several of the partners.

    decided anew    nothing was decided before
    asked again     the same once more, which is remembered
    planned         decided under two sets of files, as a plan does it
    a whole plan    asked of the desk as the command asks it, message by message: all of it would be new
    fan-out         one record is posted for two hundred partners, and all ask for their page at once: signed, logged,
                    on the disk
"""

import asyncio
import secrets
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import orjson
from tests.support.nodes import Place, make_place
from tests.support.organisations import NOW, found, seeded
from tests.support.policies import apply
from tests.support.wire import now

from benchmarks.figures import Figure, Found, Ratio, Scale, ratio_of, spread, take_turns, timed
from benchmarks.progress import Steps
from benchmarks.world import POLICY, make_record, opened
from tocsin.desk.desk import Desk
from tocsin.desk.home import Home, open_home
from tocsin.exchange.circuit import Contacts
from tocsin.exchange.publish import publish
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId, new_record_id
from tocsin.identity.signer import Signer
from tocsin.policy.model import PolicySet
from tocsin.policy.parse import parse_policies
from tocsin.policy.plan import compare
from tocsin.process import THREADS
from tocsin.records.record import Draft, VerifiedRecord, issue, parse_record
from tocsin.schema.files import parse_content_file
from tocsin.store.model import PeerRole, PeerState
from tocsin.v1 import desk_service_pb2 as v1

TITLE = "Policy"
ABOUT = """
In one process; a decision is a record for a partner, by the example policies, which have conditions. It is decided anew
by policies that were just read, asked again, or planned, which is decided by two sets of policies and compared. A whole
plan is asked for as `tocsin policy plan` does. A record for all partners is weighed for each when it is posted; then
their pages are made in several threads, as streams ask for them.
"""
EXAMPLES = Path(__file__).parents[1] / "examples"
FEW, MANY = 20, 200
"""Partners."""
DECISIONS = 10_000
PLANNED = 500
"""Records of a whole plan."""
POSTED = 3
"""Records of a turn of the fan-out: two hundred pages each."""
NOBODY: frozenset[OrgId] = frozenset()


def measure(scale: Scale, steps: Steps) -> Iterator[Figure]:
    for partners in (FEW, MANY):
        yield from decisions(scale, steps, partners)
    yield from whole_plan(scale, steps)
    yield from fan_out(scale, steps)


def decisions(scale: Scale, steps: Steps, partners: int) -> Iterator[Figure]:
    """Measure deciding next to writing the content of the records out."""
    lab = found("lab-a.example")
    count = DECISIONS // partners
    records = example_records(count, issuer=lab.organisation.org, signer=lab.record, at=NOW, random=seeded)
    policies = example_policies(partners)

    def write() -> None:
        for record in records:
            for _ in range(partners):  # as often as is decided: a few microseconds say nothing
                orjson.dumps(record.content)

    def decide() -> None:
        for record in records:
            for org in policies.policies:
                policies.decide(record, partner=org, recipients=NOBODY, granted=NOBODY, now=NOW)

    def decide_anew() -> float:
        nonlocal policies
        policies = example_policies(partners)
        return timed(decide)

    def plan() -> float:
        before, after = example_policies(partners), example_policies(partners, remark=f"# {secrets.token_hex(8)}\n")
        return timed(lambda: _plan(records, before, after))

    works = {"orjson": write, "decided anew": decide_anew, "asked again": decide, "planned": plan}
    with steps.counting(f"decide for {partners} partners", len(works) * scale.runs) as step:
        decide_anew()
        times = take_turns(scale.runs, works, step=step)
    for name in tuple(works)[1:]:
        yield Figure(
            f"decisions, {name}, {partners} partners",
            ratio_of(times, "orjson", name),
            of="the rate of writing a record's content with orjson",
            size=partners,
            series=name,
            plain=f"{DECISIONS / min(times[name]):,.0f} a second",
        )


def _plan(records: Sequence[VerifiedRecord], before: PolicySet, after: PolicySet) -> None:
    for record in records:
        for org in after.policies:
            compare(record, before=before, after=after, partner=org, recipients=NOBODY, granted=NOBODY, now=NOW)


def whole_plan(scale: Scale, steps: Steps) -> Iterator[Figure]:
    """Measure a plan for twenty partners over real records, next to verifying each of them once."""
    with tempfile.TemporaryDirectory() as folder:
        place = make_place(Path(folder), "lab-a.example", endpoint=False)
        with open_home(place.root, now=now()) as home:
            tokens = _keep(home, PLANNED)
            files = [v1.PolicyFile(name=name, text=text) for name, text in _example_files(FEW).items()]
            _add_partners(home, place, FEW)
            nobody = {"puller": None, "requester": None, "probe": None, "contacts": Contacts()}
            desk = Desk(home, clock=now, random=secrets.token_bytes, **nobody)  # type: ignore[arg-type]

            def verify() -> None:
                for token in tokens:
                    parse_record(token).verify(place.organisation, now=now())

            works = {"verify": verify, "plan": lambda: asyncio.run(_ask(desk, place, files))}
            with steps.counting("plan", len(works) * scale.runs) as step:
                times = take_turns(scale.runs, works, step=step)
    yield Figure(
        f"a whole plan, {PLANNED} records, {FEW} partners",
        ratio_of(times, "plan", "verify"),
        of="the time of verifying each record once",
        plain=f"{min(times['plan']):.2f} s",
    )


async def _ask(desk: Desk, place: Place, files: Sequence[v1.PolicyFile]) -> None:
    changes = 0
    async for answer in desk.plan_policies(v1.PlanPoliciesRequest(files=files), place.first.person()):
        if answer.problems:
            raise RuntimeError(answer.problems[0].message)
        changes += len(answer.changes)
    if not changes:
        raise RuntimeError("the plan changes nothing")


def fan_out(scale: Scale, steps: Steps) -> Iterator[Figure]:
    """Measure what each of two hundred partners costs where one record goes to all of them."""
    found: Found = {name: [] for name in ("issue", "post for one", "post for all", "page for one", "pages for all")}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_:
        place = make_place(Path(folder), "lab-a.example")
        home, side = open_.enter_context(opened(place))
        orgs = _add_partners(home, place, MANY)
        apply(home, {f"{org}.toml": POLICY.format(partner=org) for org in orgs}, by=place.first, now=now())
        cursors = dict.fromkeys(orgs, "")
        threads = open_.enter_context(ThreadPoolExecutor(THREADS))
        for turn in steps.each(range(scale.runs + 1), f"one record for {MANY} partners"):
            taken = [_one_record(home, side, cursors, threads) for _ in range(POSTED)]
            for name in found if turn else ():  # the first turn begins the feeds
                found[name].append(statistics.fmean(one[name] for one in taken))
    plain = ", ".join(f"{name} {min(times) * 1000:.2f} ms" for name, times in found.items())
    post = [(every - one) / (MANY - 1) for one, every in zip(found["post for one"], found["post for all"], strict=True)]
    page = [every / MANY for every in found["pages for all"]]
    said = f"one record for {MANY} partners, each of them"
    yield Figure(f"{said}: weighed", _of(post, found["issue"]), of="issuing the record", plain=plain)
    yield Figure(f"{said}: its page", _of(page, found["issue"]), of="issuing the record")
    yield Figure(f"{said}: its page", _of(page, found["page for one"]), of="the page where there is one partner")


def _one_record(home: Home, side: Side, cursors: dict[OrgId, str], threads: ThreadPoolExecutor) -> dict[str, float]:
    """Post a record for one partner and one for all, make the pages, and return what it took."""
    orgs, at = tuple(cursors), side.clock()
    records: list[VerifiedRecord] = []
    make = partial(make_record, issuer=side.organisation.org, signer=home.record_signer, now=at)
    issued = timed(lambda: records.append(make(0))), timed(lambda: records.append(make(1)))
    post = partial(publish, side.office, author="bench", now=at)
    for_one = timed(lambda: post(records[0], partners=orgs[:1]) and None)
    page = partial(_make_page, side, cursors)
    page_for_one = timed(lambda: page(orgs[0]))
    for_all = timed(lambda: post(records[1], partners=orgs) and None)
    pages_for_all = timed(lambda: list(threads.map(page, orgs)) and None)
    return {
        "issue": statistics.fmean(issued),
        "post for one": for_one,
        "post for all": for_all,
        "page for one": page_for_one,
        "pages for all": pages_for_all,
    }


def _make_page(side: Side, cursors: dict[OrgId, str], org: OrgId) -> None:
    page = side.next_page(org, cursors[org])
    if page is None or len(page.entries) != 1:
        raise RuntimeError(f"{org} is not sent what was posted")
    page.SerializeToString()
    cursors[org] = page.cursor


def _of(some: Sequence[float], other: Sequence[float]) -> Ratio:
    return spread([one / of for one, of in zip(some, other, strict=True)])


def example_records(
    count: int, *, issuer: OrgId, signer: Signer, at: int, random: Callable[[str], Callable[[int], bytes]]
) -> list[VerifiedRecord]:
    """Issue the example records again and again, under other titles."""
    files = [(path.name, path.read_bytes()) for path in sorted((EXAMPLES / "records").glob("*.toml"))]
    read = [parse_content_file(text, format="toml", name=name) for name, text in files]
    made = []
    for number in range(count):
        settings, content = read[number % len(read)]
        draft = Draft(new_record_id(random(f"{number}")), kind=str(settings["kind"]), tlp=str(settings["tlp"]))
        titled = {**content, "title": f"{number} {content['title']}"}
        made.append(issue(draft, titled, issuer=issuer, signer=signer, now=at, random=random(f"salts {number}")))
    return made


def example_policies(partners: int, *, remark: str = "") -> PolicySet:
    """Give each partner one of the example policies; a remark makes other files that say the same."""
    floor = (EXAMPLES / "policies" / "floor.toml").read_text() + remark
    policies = parse_policies({"floor.toml": floor, **_example_files(partners)})
    if policies.problems:
        raise RuntimeError(str(policies.problems[0]))
    return policies


def _example_files(partners: int) -> dict[str, str]:
    examples = [(EXAMPLES / "policies" / f"{name}.toml").read_text() for name in ("peer-lab", "government", "academia")]
    files = {}
    for number in range(partners):
        text = examples[number % len(examples)]
        partner = next(line.split('"')[1] for line in text.splitlines() if line.startswith("partner"))
        files[f"p{number}.example.toml"] = text.replace(f'"{partner}"', f'"p{number}.example"')
    return files


def _keep(home: Home, count: int) -> list[str]:
    """Keep example records as the home's own, and return their texts."""
    org, signer = home.organisation.org, home.record_signer
    records = example_records(count, issuer=org, signer=signer, at=now(), random=lambda _: secrets.token_bytes)
    with home.store.transaction():
        for record in records:
            home.store.records.add(record, author="first", now=now())
    return [record.token for record in records]


def _add_partners(home: Home, place: Place, count: int) -> tuple[OrgId, ...]:
    """Make active peers; whose document they have is not looked at here."""
    orgs = tuple(OrgId(f"p{number}.example") for number in range(count))
    with home.store.transaction():
        for org in orgs:
            document = place.organisation.document
            home.store.peers.add(org, document=document, role=PeerRole.MEMBER, state=PeerState.ACTIVE, now=now())
    return orgs
