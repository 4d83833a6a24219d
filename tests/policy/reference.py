"""This module says what may be delivered, in the fewest words: what `decide` is measured against.

It shares no code with the policy room but the contract itself, and takes
rules as plain mappings. A condition is a function of the content that returns
True, False or None (unknown).
"""

from functools import cache

from tocsin.schema.contract import KINDS, TLPS, Disclosure


def allowed(record, *, partner, policy, floor, recipients, granted, now, own):
    """Return the paths of the leaves that may go; none at all where the record may not."""
    if floor is None or policy is None or not own or (policy["expires"] or now + 1) <= now:
        return set()
    if policy["partner"] != partner or (recipients and partner not in recipients):
        return set()
    rank = TLPS.index(record.tlp)
    covering = [r for r in policy["shares"] if record.kind in r["kinds"] and rank <= TLPS.index(r["max_tlp"])]
    rule = next((r for r in covering if r["when"](record.content) is not False), None)
    if rule is None or rule["when"](record.content) is None:
        return set()
    nevers = [
        n
        for n in floor
        if record.kind in n["kinds"] and rank >= TLPS.index(n["min_tlp"]) and n["when"](record.content) is not False
    ]
    goes, plain = set(), set()
    for field in (field for top in KINDS[record.kind].fields for field in top.walk() if not field.fields):
        above = around(record.kind, field.path)
        named = (partner in recipients or above & granted) and above & rule["reveal"]
        wanted = named if field.disclosure is Disclosure.NAMED else field.disclosure <= rule["classes"]
        if field.is_plain:
            plain.add(field.path)
        elif wanted and field.disclosure is not Disclosure.LOCAL and not above & rule["withhold"]:
            goes.add(field.path)
    for n in nevers:
        goes = {path for path in goes if n["fields"] and not any(inside(path, taken) for taken in n["fields"])}
    return (goes | plain) & record.paths if goes & record.paths else set()


@cache
def around(kind, path):
    return {outer for outer in KINDS[kind].paths() if inside(path, outer)}


def inside(path, outer):
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))
