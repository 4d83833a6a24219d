"""This module says what may be delivered, in the fewest words: what `decide` is measured against.

It shares no code with the policy room but the contract itself, and takes
rules as plain mappings. A condition is a function of the content and the
marking that returns True, False or None (unknown).
"""

from datetime import datetime
from functools import cache

from tocsin.schema.contract import KINDS, TLPS, Disclosure


def allowed(record, *, partner, policy, floor, recipients, granted, now, own):
    """Return the paths of the leaves that may go, when at the earliest, and how many must agree; None: nothing goes."""
    if floor is None or policy is None or (policy["expires"] or now + 1) <= now or policy["partner"] != partner:
        return None
    if not own and (record.relay != "community" or record.issuer == partner or recipients):
        return None
    if recipients and partner not in recipients:
        return None
    if now < record.issued_at - 300 or (record.retention_until and seconds(record.retention_until) <= now):
        return None
    embargo = record.content.get("embargo", {})
    is_on = "until" in embargo and seconds(embargo["until"]) > now and embargo.get("state") not in ("lifted", "broken")
    if is_on and partner not in recipients:
        return None
    tlp = [record.tlp, *(step.tlp for step in record.downgrade_at if seconds(step.at) <= now)][-1]
    rank = TLPS.index(tlp)
    if not own and tlp not in ("CLEAR", "GREEN"):
        return None
    about = [r for r in policy["shares"] if r["relayed"] is not own]
    covering = [r for r in about if record.kind in r["kinds"] and rank <= TLPS.index(r["max_tlp"])]
    rule = next((r for r in covering if r["when"](record.content, tlp) is not False), None)
    if rule is None or rule["when"](record.content, tlp) is None:
        return None
    about = [
        r
        for r in floor
        if record.kind in r["kinds"]
        and rank >= TLPS.index(r["min_tlp"])
        and (not r["partners"] or partner in r["partners"])
        and r["when"](record.content, tlp) is not False
    ]
    nevers = [n for n in about if "fields" in n and (n["until"] or now + 1) > now]
    withhold = rule["withhold"] if (rule["withhold_until"] or now + 1) > now else set()
    goes, plain = set(), set()
    for field in (field for top in KINDS[record.kind].fields for field in top.walk() if not field.fields):
        above = around(record.kind, field.path)
        named = (partner in recipients or above & granted) and above & rule["reveal"]
        wanted = named if field.disclosure is Disclosure.NAMED else field.disclosure <= rule["classes"]
        if not own:
            wanted = field.disclosure <= min(rule["classes"], Disclosure.COMMUNITY)
        if field.is_plain:
            plain.add(field.path)
        elif wanted and field.disclosure is not Disclosure.LOCAL and not above & withhold:
            goes.add(field.path)
    for n in nevers:
        goes = {path for path in goes if n["fields"] and not any(inside(path, taken) for taken in n["fields"])}
    if not goes & record.paths:
        return None
    people = max([rule["approvals"], *(r["approvals"] for r in about if "approvals" in r)])
    return (goes | plain) & record.paths, record.issued_at + rule["hold"] if rule["hold"] else 0, people


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


@cache
def around(kind, path):
    return {outer for outer in KINDS[kind].paths() if inside(path, outer)}


def inside(path, outer):
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))
