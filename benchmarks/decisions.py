"""This module measures how fast policy decides, next to writing a record out.

    python -m benchmarks.decisions [RECORDS]

Records are the example records with other titles, the policies the example
policies, each for several of twenty partners. *Cold*: nothing was decided
before. *Warm*: the same is asked again. *Plan*: everything is decided under
two sets of files. Decisions a second are stated as a ratio to writing the
content of as many records with orjson, in turns with it, so that what slows
the machine for a while slows both. More is faster; on one core of a busy
machine it was 0.23 to 0.30 cold, 7 to 10 warm and 0.12 to 0.14 for a plan.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from tests.support.organisations import NOW, found, seeded

from tocsin.identity.names import OrgId, new_record_id
from tocsin.policy.model import PolicySet
from tocsin.policy.parse import parse_policies
from tocsin.policy.plan import compare
from tocsin.records.record import Draft, VerifiedRecord, issue
from tocsin.schema.files import parse_content_file

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDS = 500
PARTNERS = 20
ROUNDS = 5
NOBODY: frozenset[OrgId] = frozenset()


def make_records(count: int) -> list[VerifiedRecord]:
    """Issue the example records again and again, under other titles."""
    lab = found("lab-a.example")
    files = [(path.name, path.read_bytes()) for path in sorted((EXAMPLES / "records").glob("*.toml"))]
    made = []
    for number in range(count):
        name, text = files[number % len(files)]
        settings, content = parse_content_file(text, format="toml", name=name)
        draft = Draft(
            record_id=new_record_id(seeded(str(number))), kind=str(settings["kind"]), tlp=str(settings["tlp"])
        )
        titled = {**content, "title": f"{number} {content['title']}"}
        origin = {"issuer": lab.organisation.org, "signer": lab.record}
        made.append(issue(draft, titled, **origin, now=NOW, random=seeded(f"salts {number}")))
    return made


def make_policies(*, remark: str = "") -> PolicySet:
    """Give each partner one of the example policies; a remark makes other files that say the same."""
    examples = [(EXAMPLES / "policies" / f"{name}.toml").read_text() for name in ("peer-lab", "government", "academia")]
    files = {"floor.toml": (EXAMPLES / "policies" / "floor.toml").read_text() + remark}
    for number in range(PARTNERS):
        text = examples[number % len(examples)]
        partner = next(line.split('"')[1] for line in text.splitlines() if line.startswith("partner"))
        files[f"p{number}.example.toml"] = text.replace(f'"{partner}"', f'"p{number}.example"')
    policies = parse_policies(files)
    if policies.problems:
        raise RuntimeError(str(policies.problems[0]))
    return policies


def decide_all(policies: PolicySet, records: list[VerifiedRecord]) -> int:
    """Decide every record for every partner, and return how many go."""
    return sum(
        policies.decide(record, partner=partner, recipients=NOBODY, granted=frozenset(), now=NOW).delivered
        for record in records
        for partner in policies.policies
    )


def plan_all(before: PolicySet, after: PolicySet, records: list[VerifiedRecord]) -> None:
    """Compare two sets for every record and partner."""
    for record in records:
        for partner in after.policies:
            compare(
                record,
                before=before,
                after=after,
                partner=partner,
                recipients=NOBODY,
                granted=frozenset(),
                now=NOW,
            )


def timed(work: Callable[[], object], *, count: int) -> float:
    """Return the seconds that one of so many pieces of work takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / count


def one_round(records: list[VerifiedRecord], *, remark: str) -> dict[str, float]:
    """Let everything take its turn once, and return the seconds of each."""
    policies, before, after = make_policies(), make_policies(), make_policies(remark=remark)
    decisions = len(records) * PARTNERS
    return {
        "orjson": timed(lambda: [orjson.dumps(record.content) for record in records], count=len(records)),
        "cold": timed(lambda: decide_all(policies, records), count=decisions),
        "warm": timed(lambda: decide_all(policies, records), count=decisions),
        "plan": timed(lambda: plan_all(before, after, records), count=decisions),
    }


def main() -> None:
    records = make_records(int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS)
    rounds = [one_round(records, remark=f"# {turn}\n") for turn in range(ROUNDS)]
    sys.stdout.write(f"{len(records)} records, {PARTNERS} partners, medians of {ROUNDS} rounds\n")
    for name in rounds[0]:
        seconds = statistics.median(found[name] for found in rounds)
        ratio = statistics.median(found["orjson"] / found[name] for found in rounds)
        sys.stdout.write(f"{name:>7}  {1 / seconds:>12,.0f} a second  {ratio:7.3f} of orjson's rate\n")


if __name__ == "__main__":
    main()
