"""This module turns the tables of a policy file into rules.

Each table is read to its end, so that one reading finds every problem. A rule
with a problem is still returned where a rule can be made: its file gives no
policy anyway, and the rules after it are checked against it. Without its
condition none can be made: it would seem to cover what it does not.
"""

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from typing import Final

from tocsin.errors import MalformedName
from tocsin.identity.names import OrgId, parse_org
from tocsin.policy.clauses import (
    DEFAULT_MAX_MB_PER_HOUR,
    Accept,
    Never,
    Require,
    Share,
)
from tocsin.policy.condition import Complaint, Condition, compile_condition
from tocsin.policy.contradiction import check_match, check_relayed, check_reveal
from tocsin.policy.document import SectionReader
from tocsin.policy.idle import shares_nothing
from tocsin.policy.reach import leaves
from tocsin.policy.spelling import did_you_mean
from tocsin.schema.contract import ELEMENT, KINDS, TLPS, WITHHOLD_REASONS, Disclosure

SUFFIX: Final = ".toml"
EVERY: Final = "*"
DEFAULT_MAX_PER_HOUR: Final = 2000
"""Records an hour taken from a partner whose file says nothing: a year's work of a large lab in a morning."""
MOST_PER_HOUR: Final = 1_000_000
"""More than a node verifies in an hour on one core is no limit, and a terabyte is none either."""

MOST_APPROVALS: Final = 9
"""Further people who must agree: more than nine is a meeting."""

_REFUSED_IN_SHARE: Final = {
    "until": "a share rule has withhold_until, from when on withhold does not count",
    "min_tlp": "a share rule has max_tlp, the most restrictive marking that it covers",
    "fields": "a share rule names fields in reveal and withhold",
}
_REFUSED_IN_NEVER: Final = {
    "max_tlp": "a never rule has min_tlp, the least restrictive marking that it covers",
    "withhold": "a never rule names what it takes away in fields",
    "reveal": "a never rule can only take away",
    "approvals": "a never rule lets nothing go; [[require]] asks for approvals",
}
_REFUSED_IN_REQUIRE: Final = {
    "max_tlp": "a require rule has min_tlp, the least restrictive marking that it covers",
    "fields": "a require rule is about whole records; [[never]] takes fields away",
    "hold": "hold belongs to a [[share]] rule",
}
_CLASSES: Final = {
    "NAMED": "classes cannot be NAMED: such a field goes only to recipients named for a record; name it in reveal",
    "LOCAL": "classes cannot be LOCAL: such a field never leaves the node",
}


def read_head(reader: SectionReader, *, files: Iterable[str]) -> tuple[OrgId | None, str, int | None]:
    """Return partner, agreement and expiry of a partner's file; `files` are the names of all."""
    head = _partner(reader, files), reader.text("agreement"), reader.time("expires")
    reader.finish()
    return head


def read_share(reader: SectionReader) -> Share | None:
    """Return a `[[share]]` rule, or None where one cannot be made of the table."""
    name = reader.text("name", required=True)
    kinds = _kinds(reader, required=True)
    max_tlp = reader.choice("max_tlp", TLPS, required=True)
    classes = _classes(reader)
    condition = _condition(reader, kinds)
    withhold = _paths(reader, "withhold", kinds)
    reveal = _paths(reader, "reveal", kinds)
    check_reveal(reader, reveal, withhold, kinds)
    withhold_until = reader.time("withhold_until")
    if withhold_until is not None and not withhold:
        reader.report("withhold_until without withhold: there is nothing that it ends", key="withhold_until")
    reason = reader.choice("reason", WITHHOLD_REASONS)
    name_withheld = reader.flag("name_withheld")
    hold = reader.duration("hold")
    approvals = reader.count("approvals", default=0, most=MOST_APPROVALS)
    relayed = reader.flag("relayed")
    reader.finish(_REFUSED_IN_SHARE)
    is_whole = condition is not None or "when" not in reader.section.values
    if not (kinds and max_tlp and classes and is_whole):
        return None
    share = Share(
        name=name,
        line=reader.section.line,
        kinds=kinds,
        max_tlp=max_tlp,
        classes=classes,
        condition=condition,
        reveal=reveal,
        withhold=withhold,
        withhold_until=withhold_until,
        reason=reason,
        name_withheld=name_withheld,
        hold=hold,
        approvals=approvals,
        relayed=relayed,
    )
    check_relayed(reader, share)
    check_match(reader, share)
    if shares_nothing(share):
        reader.report("shares nothing: every field up to its class is withheld, or open in every record", key="classes")
    return share


def read_never(reader: SectionReader) -> Never:
    """Return a `[[never]]` rule; what it does not narrow, it covers."""
    kinds = _kinds(reader) or frozenset(KINDS)
    never = Never(
        name=reader.text("name", required=True),
        line=reader.section.line,
        kinds=kinds,
        min_tlp=reader.choice("min_tlp", TLPS) or TLPS[0],
        condition=_condition(reader, kinds),
        partners=_partners(reader),
        fields=_paths(reader, "fields", kinds),
        reason=reader.choice("reason", WITHHOLD_REASONS),
        until=reader.time("until"),
    )
    reader.finish(_REFUSED_IN_NEVER)
    check_match(reader, never)
    return never


def read_require(reader: SectionReader) -> Require | None:
    """Return a `[[require]]` rule, or None where one cannot be made of the table."""
    kinds = _kinds(reader) or frozenset(KINDS)
    name, condition, partners = reader.text("name"), _condition(reader, kinds), _partners(reader)
    min_tlp = reader.choice("min_tlp", TLPS, required=True)
    approvals = reader.count("approvals", default=0, most=MOST_APPROVALS, required=True)
    reader.finish(_REFUSED_IN_REQUIRE)
    if not (min_tlp and approvals):
        return None
    require = Require(
        name=name,
        line=reader.section.line,
        kinds=kinds,
        min_tlp=min_tlp,
        approvals=approvals,
        condition=condition,
        partners=partners,
    )
    check_match(reader, require)
    return require


def read_accept(reader: SectionReader) -> Accept:
    """Return what `[accept]` takes."""
    accept = Accept(
        kinds=_kinds(reader, required=True),
        max_per_hour=reader.count("max_per_hour", default=DEFAULT_MAX_PER_HOUR, most=MOST_PER_HOUR),
        max_mb_per_hour=reader.count("max_mb_per_hour", default=DEFAULT_MAX_MB_PER_HOUR, most=MOST_PER_HOUR),
        relayed=reader.flag("relayed"),
        legal_hold=reader.flag("legal_hold"),
    )
    reader.finish()
    return accept


def _partner(reader: SectionReader, files: Iterable[str]) -> OrgId | None:
    """Take the partner, which must be the one that the file is named after."""
    written = reader.text("partner", required=True)
    if not written:
        return None
    try:
        partner = parse_org(written)
    except MalformedName as error:
        reader.report(f"partner: {error.message}", key="partner")
        return None
    if PurePosixPath(reader.file).name != partner + SUFFIX:
        twin = next((other for other in files if PurePosixPath(other).name == partner + SUFFIX), None)
        also = f"; {twin} is another for the same partner" if twin else ""
        reader.report(f"the policy for {partner} must be in a file named {partner}{SUFFIX}{also}", key="partner")
        return None
    return partner


def _kinds(reader: SectionReader, *, required: bool = False) -> frozenset[str]:
    """Take the kinds of a rule, spelled out."""
    written = reader.texts("kinds", required=required)
    for kind in written:
        if kind != EVERY and kind not in KINDS:
            guess = did_you_mean(kind, KINDS) or f"; it is one of {', '.join(KINDS)} or {EVERY}"
            reader.report(f"{kind!r} is not a kind of record{guess}", key="kinds", value=kind)
    return frozenset(KINDS if EVERY in written else KINDS.keys() & set(written))


def _classes(reader: SectionReader) -> Disclosure | None:
    """Take the class up to which fields go."""
    written = reader.section.values.get("classes")
    if isinstance(written, str) and written in _CLASSES:
        reader.asked.add("classes")
        reader.report(_CLASSES[written], key="classes")
        return None
    open_to_rules = tuple(each.name for each in Disclosure if each.name not in _CLASSES)
    name = reader.choice("classes", open_to_rules, required=True)
    return Disclosure[name] if name else None


def _condition(reader: SectionReader, kinds: Collection[str]) -> Condition | None:
    """Take the condition of a rule, checked for each of its kinds."""
    text = reader.text("when")
    if not text or not kinds:
        return None
    complaints: list[Complaint] = []
    condition = compile_condition(text, kinds=kinds, complaints=complaints)
    for complaint in complaints:
        reader.report_inside("when", f"when: {complaint.message}", text, line=complaint.line, column=complaint.column)
    return condition


def _partners(reader: SectionReader) -> frozenset[OrgId]:
    """Take the partners that a rule is about."""
    partners = set()
    for written in reader.texts("partners"):
        try:
            partners.add(parse_org(written))
        except MalformedName as error:
            reader.report(f"partners: {error.message}", key="partners", value=written)
    return frozenset(partners)


def _paths(reader: SectionReader, key: str, kinds: Collection[str]) -> frozenset[str]:
    """Take field paths that at least one kind of the rule has, and that a policy may withhold."""
    paths = {written.removesuffix(ELEMENT): written for written in reader.texts(key)}
    known = {path for kind in kinds for path in KINDS[kind].paths()}
    for path, written in sorted(paths.items() if kinds else ()):
        if path not in known:
            of = ", ".join(sorted(kinds))
            problem = f"{key}: no field {path!r} in records of kind {of}{did_you_mean(path, known)}"
            reader.report(problem, key=key, value=written)
        elif any(leaf.is_plain for kind in kinds if (leaf := leaves(kind).get(path))):
            reader.report(f"{key}: {path} is open in every record, whatever a policy says", key=key, value=written)
    return frozenset(paths)
