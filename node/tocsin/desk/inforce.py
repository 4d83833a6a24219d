"""This module keeps the set of policy files that is in force, each under the signature of the person who applied it.

    files in the home's folder    what people edit: counts for nothing
            | policy apply        signed by a policy-admin: all of them, and the set that they replace
            v
    set in the store              read whenever it is asked for, and for every page; verified unless every byte
                                  that the steps look at is the one that was verified before

A set is believed by these steps; where one fails nothing is in force, so
nothing is sent to anybody and nothing accepted:

1. there is a set, and the person who applied it is known (also one who left)
2. the statement is signed with that person's key, and is on applying policies
3. what it is on are the files that are said to be signed, and the set before
4. a file that is not signed is, to the letter, the starter of a new partner,
   which shares nothing
5. the last set that was put in force by the decision log, under the node's
   seal, is this one

A statement names the set that it replaces: an old one cannot be used to bring
an old set back. Nor can whoever writes into the store without the node's keys
put back a row, or one that somebody signed who may not. Where a person's keys were replaced, what the old ones signed
counts no more, and somebody applies the policies again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Final

from tocsin.audit.entry import Entry, Event
from tocsin.audit.log import Log, Place, place_of, verify_place
from tocsin.encoding import JSON
from tocsin.errors import Conflict, MalformedPolicy, NotFound, TocsinError
from tocsin.identity.names import OrgId
from tocsin.identity.root import Organisation
from tocsin.people.act import Act, policy_subject, verify_act
from tocsin.people.person import Person
from tocsin.policy.model import PolicySet, Problem
from tocsin.policy.parse import parse_policies
from tocsin.policy.starter import starter_policy
from tocsin.store.model import AuditFilter, PolicySetRow
from tocsin.store.protocol import Store

FOLDER: Final = "policies"
SUFFIX: Final = ".toml"
NOTHING: Final = "nothing is in force, so nothing is sent and nothing accepted: a policy-admin runs tocsin policy apply"
MOST_PARSED: Final = 4
"""Sets kept as parsed: the one in force, the one before, and what is being planned."""


def load_in_force(store: Store, organisation: Organisation) -> PolicySet:
    """Return the set in force, verified by the steps above; an empty one, with the problem, where a step fails."""
    row = store.policies.latest()
    if row is None:
        return _nothing(NOTHING)
    try:
        return _believe(_gather(row, store=store, organisation=organisation))
    except TocsinError as error:
        return _nothing(f"the policies in force are not believed: {error.message}; {NOTHING}")


def files_in_force(store: Store) -> Mapping[str, str]:
    """Return the texts of the set in force by bare name, whether or not it is believed."""
    row = store.policies.latest()
    return row.files if row else {}


def believed_files(store: Store, policies: PolicySet) -> Mapping[str, str]:
    """Return those texts where they decide, which `policies` says; none where nothing is in force."""
    return files_in_force(store) if policies.floor is not None else {}


def parse_set(files: Mapping[str, str]) -> PolicySet:
    """Return files, given by their bare names, as a set whose places are as people see them; the same set again."""
    return _parse(tuple(sorted(files.items())))


@lru_cache(MOST_PARSED)
def _parse(files: tuple[tuple[str, str], ...]) -> PolicySet:
    policies = parse_policies({f"{FOLDER}/{name}": text for name, text in files})
    # A floor that is not there has no place to be named by; here it has.
    named = (replace(p, file=f"{FOLDER}/{p.file.removeprefix(f'{FOLDER}/')}") for p in policies.problems)
    return replace(policies, problems=tuple(named))


def put_in_force(
    store: Store,
    files: Mapping[str, str],
    *,
    statement: str,
    person: Person,
    organisation: Organisation,
    log: Log,
    now: int,
) -> PolicySet:
    """Put files in force, whole or not at all, and return the set. The caller MUST have seen that the person may.

    The starter of a partner that came after the files were planned stays in force beside them.

    Raises MalformedPolicy where a file has a problem, Conflict where the
    statement is on other files or on a set that was replaced since, and what
    `verify_act` raises.
    """
    problems = parse_set(files).problems
    if problems:
        details = tuple(f"{problem.file}:{problem.line}: {problem.shown}" for problem in problems)
        hint = "put them in order, see: tocsin policy check"
        raise MalformedPolicy("the files have problems, and what is in force stays", hint=hint, details=details)
    with store.transaction():
        before = store.policies.latest()
        replaced = before.subject if before else ""
        starters = {name: text for name, text in before.files.items() if name not in before.signed} if before else {}
        row = PolicySetRow(
            subject=policy_subject(files, replaces=replaced),
            statement=statement,
            person=person.name,
            files={**starters, **files},
            signed=frozenset(files),
            applied_at=now,
            replaces=replaced,
        )
        _verify_statement(row, person=person, organisation=organisation)
        store.policies.put(row)
        log.append(_applied(row), now=now)
    return parse_set(row.files)


def adopt_starter(store: Store, partner: OrgId, *, now: int) -> None:
    """Put the starter of a new partner in force, which shares nothing; a file that is in force for it stays.

    Where nothing is in force nothing comes in force by this either.
    """
    name = f"{partner}{SUFFIX}"
    with store.transaction():
        row = store.policies.latest()
        if row is None or name in row.files:
            return
        store.policies.put(replace(row, files={**row.files, name: starter_policy(partner)}, applied_at=now))


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Everything that the steps look at, as it is read: where all of it is the same, so is the answer."""

    row: PolicySetRow = field(hash=False)
    person: Person
    said: Place | None
    organisation: Organisation = field(hash=False)


def _gather(row: PolicySetRow, *, store: Store, organisation: Organisation) -> _Evidence:
    """Read what the steps look at. Raises Conflict where the first one fails."""
    try:
        person = store.people.get(row.person)  # 1.
    except NotFound:
        raise Conflict(f"nobody named {row.person!r} is known", reason="CONFLICT") from None
    said = store.audit.list(AuditFilter(act=Event.POLICY_APPLIED), limit=1, newest_first=True)
    return _Evidence(row, person, place_of(store, said[0]) if said else None, organisation)


@lru_cache(MOST_PARSED)  # what is not believed is not kept: it is looked at again each time
def _believe(evidence: _Evidence) -> PolicySet:
    """Follow the other steps. Raises a TocsinError that says which one failed."""
    row = evidence.row
    # 2. and 3.
    _verify_statement(row, person=evidence.person, organisation=evidence.organisation)
    # 4.
    for name in sorted(row.files.keys() - row.signed):
        if row.files[name] != starter_policy(OrgId(name.removesuffix(SUFFIX))):
            raise Conflict(f"{FOLDER}/{name} was not signed by anybody", reason="CONFLICT")
    # 5.
    details = verify_place(evidence.said, organisation=evidence.organisation) if evidence.said else {}
    if (details.get("subject"), details.get("statement")) != (row.subject, row.statement):
        raise Conflict("they are not those that were applied last by the decision log", reason="CONFLICT")
    return parse_set(row.files)


def _verify_statement(row: PolicySetRow, *, person: Person, organisation: Organisation) -> None:
    """Refuse a set whose signed files are not what the person signed."""
    act = verify_act(row.statement, org=organisation.org, person=person)
    signed = {name: text for name, text in row.files.items() if name in row.signed}
    if act.act is not Act.APPLY_POLICIES or act.on != policy_subject(signed, replaces=row.replaces):
        raise Conflict(
            f"{person.name} signed other files, or the set in force is not the one that these were to replace",
            reason="CONFLICT",
            hint="plan and apply again: tocsin policy plan",
        )


def _applied(row: PolicySetRow) -> Entry:
    """Return what the decision log keeps of an apply: which files, by their hashes."""
    digests: dict[str, JSON] = {name: sha256(text.encode()).hexdigest() for name, text in sorted(row.files.items())}
    details: dict[str, JSON] = {
        "subject": row.subject,
        "replaces": row.replaces,
        "files": digests,
        "statement": row.statement,
    }
    return Entry(Event.POLICY_APPLIED, person=row.person, details=details)


def _nothing(message: str) -> PolicySet:
    """Return a set by which nothing goes to anybody."""
    return replace(parse_set({}), problems=(Problem(FOLDER, 0, message),))
