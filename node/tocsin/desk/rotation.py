"""This module replaces and revokes keys of a home, and renews the identity document, so that a crash undoes nothing.

    1. keys/NAME.next.pem                   the new key, which nobody knows yet
    2. identity/document.tocsin             the next version, which names it beside the old one
    3. keys/NAME.next.pem -> keys/NAME.pem  when its time has come

Each step is one move of a file. Whatever is found half done is settled at the
next opening by what the document says (tocsin.desk.succession). The time can
lie ahead, so that partners have the document before they meet the key: the
overlap. The old key goes on until then.

    record, delivery   retired in the same version, and ends a day after the overlap: what it signed stands
    tls                the old certificate and the new one are named, and earlier ones go
    log, witness       former from the same version on: checkpoints under either verify

A key that was stolen has no overlap. A record or delivery key is revoked, and
nothing that it signed stands; a certificate goes; a log or witness key is none
of the former ones, or no longer, where it is found out late. What waited in the
same folder to take over goes with it. Nor has a key that is gone, with its
token or its file, an overlap: the document says which one it was.

Root keys sign the document (tocsin.desk.ceremony). Who rotates holds the
folder of the keys, so that two cannot at once.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.desk.ceremony import FEWEST_OF_AN_ID, Authority, Outcome, put_forward
from tocsin.desk.founding import new_record_key
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin.desk.succession import find_in_use, hold_keys, key_in_use, load_waiting, name_of, settle, slot
from tocsin.errors import Conflict, HomeDamaged, MalformedRequest, NotFound
from tocsin.identity.certificate import DAY, make_certificate, spki_pin
from tocsin.identity.details import RecordKey, index_keys
from tocsin.identity.draft import Draft
from tocsin.identity.keys import PrivateKey, generate_ed25519, generate_p256
from tocsin.identity.names import KeyId
from tocsin.identity.root import Organisation

GRACE_SECONDS = DAY
"""How long a retired key still counts: a running node goes on with it until it looks at its keys again."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """Say what came of it: the organisation by its document, from when the new key is used, and the draft if any."""

    organisation: Organisation
    takes_over_at: int
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """Say what came of it: the keys that count no more, of what kind, and whether a new one is used from now on."""

    organisation: Organisation
    name: str
    keys: tuple[str, ...]
    is_replaced: bool
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """The keys of one kind in a home: which is in use, and which wait; the caller holds them."""

    layout: Layout
    held: Organisation
    name: str

    @property
    def in_use(self) -> str:
        """Return what the document calls the key in use, also where it is gone."""
        return find_in_use(self.layout, self.held, self.name)

    @property
    def waiting(self) -> frozenset[str]:
        """Return what the document calls the keys that it names and that wait; one that is only drafted does not."""
        found = load_waiting(self.layout, self.held.org, self.name)
        return frozenset(key for kind, key in found.items() if kind != "draft")


def rotate_key(
    layout: Layout,
    name: str,
    *,
    now: int,
    random: Callable[[int], bytes],
    overlap: int = 0,
    authority: Authority = Authority(),  # noqa: B008 -- frozen
    stolen: bool = False,
) -> Rotated:
    """Replace a key by a new one, which takes over `overlap` seconds from now.

    One that was `stolen` is replaced at once, and is not named any more. A
    record or delivery key is revoked instead (`revoke_key`).

    Raises Conflict where the key before waits to take over, MalformedIdentity
    where the root keys here cannot sign, KeyExposed and HomeDamaged for files,
    and for an overlap in which no key could sign: the one in use is gone.
    """
    if stolen and (overlap or name in ("record", "delivery")):
        raise RuntimeError("a stolen key has no overlap, and one that signs records or pages is revoked")
    with hold_keys(layout):
        held = load_organisation(layout)
        settle(layout, held, now=now)
        place = _Place(layout, held, name)
        if place.waiting and not stolen:
            message = f"a new {name} key waits to take over already"
            raise Conflict(message, reason="CONFLICT", hint="see when with: tocsin doctor")
        if overlap:
            _verify_there(place)
        key = generate_p256(random) if name == "tls" else generate_ed25519(random)
        details = _with_key(place, key, now=now, starts=now + overlap, stolen=stolen, random=random)
        outcome = _put_forward(place, details, key, authority=authority, now=now)
    return Rotated(outcome.organisation, now + overlap, outcome.draft)


def revoke_key(
    layout: Layout,
    key_id: str,
    *,
    now: int,
    random: Callable[[int], bytes],
    at: int | None = None,
    authority: Authority = Authority(),  # noqa: B008 -- frozen
) -> Revoked:
    """Say that nothing counts that a record, delivery, log or witness key signed, whether it is in use or was.

    `at` is since when somebody else had it; of log and witness nothing says
    so, since they are named no more. Where the key is in use, or waits to be,
    the same version names a new one, which is used at once: a node is never
    left without. What waits goes with the key in use, since it lay beside it,
    and has signed nothing.

    Raises NotFound for a key that is none of ours, Conflict for one that is
    revoked already, MalformedRequest for a time that lies ahead or belongs to
    no key of this kind, and what `rotate_key` does.
    """
    since = now if at is None else at
    if not 0 <= since <= now:
        raise MalformedRequest("a key is revoked since now or earlier", hint="give the time at which it was stolen")
    with hold_keys(layout):
        held = load_organisation(layout)
        settle(layout, held, now=now)
        place, found = _find_key(layout, held, key_id)
        _verify_revocable(place, found, since=since, is_told=at is not None)
        waiting, is_used = place.waiting, found == place.in_use
        lost = {found, *(waiting if is_used else ())}
        key = generate_ed25519(random) if is_used or found in waiting else None
        if place.name in ("log", "witness"):
            details = _with_vkeys(place, key, lost=lost)
        else:
            details = _with_revoked(place, key, lost=lost, since=since, now=now)
        outcome = _put_forward(place, details, key, authority=authority, now=now)
    return Revoked(outcome.organisation, place.name, tuple(sorted(lost)), key is not None, outcome.draft)


def renew_document(layout: Layout, *, now: int, authority: Authority = Authority()) -> Outcome:  # noqa: B008 -- frozen
    """Sign the next version of the identity document, which says the same and is valid for another year.

    Raises MalformedIdentity where the root keys here cannot sign, KeyExposed and HomeDamaged for files.
    """
    with hold_keys(layout):
        held = load_organisation(layout)
        return put_forward(layout, held, held, authority=authority, now=now)


def _put_forward(
    place: _Place, details: Organisation, key: PrivateKey | None, *, authority: Authority, now: int
) -> Outcome:
    """Keep the new key where what waits is not lost if the document is not written, and make the next version."""
    taken = slot(place.layout, place.name, "next").exists()
    return put_forward(
        place.layout,
        place.held,
        details,
        authority=authority,
        now=now,
        keys={} if key is None else {place.name: key},
        kind="instead" if taken else "next",
    )


def _with_key(
    place: _Place, key: PrivateKey, *, now: int, starts: int, stolen: bool, random: Callable[[int], bytes]
) -> Organisation:
    """Return what the next version says: the new key from its time on, and what becomes of the old one."""
    held, in_use = place.held, place.in_use
    if place.name == "tls":
        kept = () if stolen else tuple(der for der in held.node_certs if spki_pin(der) == in_use)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 -- as rotate_key has made it
        return replace(held, node_certs=(*kept, make_certificate(held.org, private_key=key, now=starts, random=random)))
    if place.name in ("log", "witness"):
        lost = {in_use, *place.waiting} if stolen else set()
        return _with_vkeys(place, key, lost=lost, starts=starts if starts > now else None)
    assert isinstance(key, Ed25519PrivateKey)  # noqa: S101 -- as rotate_key has made it
    listed = [
        replace(each, status="retired", not_after=min(each.not_after, starts + GRACE_SECONDS))
        if each.key_id == in_use
        else each
        for each in _listed(place).values()
    ]
    return _with_listed(place, [*listed, new_record_key(key, starts=starts)])


def _with_vkeys(place: _Place, key: PrivateKey | None, *, lost: Set[str], starts: int | None = None) -> Organisation:
    """Return what the next version says of log or witness: of keys that sign nothing yet or were stolen, nothing."""
    held = place.held
    vkeys, announced = held.witness_vkeys, held.witness_vkey_from
    if place.name == "log":
        vkeys, announced = held.log_vkeys, held.log_vkey_from
    new: tuple[str, ...] = () if key is None else (name_of(held.org, place.name, key),)
    current, *former = (*new, *(vkey for vkey in vkeys if vkey not in lost))
    if current == vkeys[0]:
        starts = announced
    if place.name == "log":
        return replace(held, log_vkey=current, former_log_vkeys=tuple(former), log_vkey_from=starts)
    return replace(held, witness_vkey=current, former_witness_vkeys=tuple(former), witness_vkey_from=starts)


def _with_revoked(place: _Place, key: PrivateKey | None, *, lost: Set[str], since: int, now: int) -> Organisation:
    """Return what the next version says of record or delivery keys: those that are lost are revoked."""
    listed = [
        replace(each, status="revoked", revoked_at=since) if each.key_id in lost else each
        for each in _listed(place).values()
    ]
    if isinstance(key, Ed25519PrivateKey):
        listed.append(new_record_key(key, starts=now))
    return _with_listed(place, listed)


def _verify_there(place: _Place) -> None:
    """Refuse an overlap in which nothing would sign. Raises HomeDamaged and KeyExposed."""
    try:
        key_in_use(place.layout, place.held.org, place.name)
    except HomeDamaged as error:
        hint = "bring it back; where it is gone for good, replace it at once: --overlap 0"
        raise HomeDamaged(error.message, where=error.where, hint=hint) from error


def _verify_revocable(place: _Place, found: str, *, since: int, is_told: bool) -> None:
    """Refuse what would say nothing new, and a time that has no place. Raises Conflict and MalformedRequest."""
    if place.name in ("log", "witness"):
        if is_told:
            message = f"of a {place.name} key nothing says since when: no document names it any more"
            raise MalformedRequest(message, hint="leave --at out")
        return
    key = _listed(place)[KeyId(found)]
    if key.revoked_at is not None and key.revoked_at <= since:
        message = f"the {place.name} key {found} is revoked already"
        raise Conflict(message, reason="CONFLICT", hint="an earlier time can still be said: --at TIME")


def _find_key(layout: Layout, held: Organisation, text: str) -> tuple[_Place, str]:
    """Return the key that is called so, or by something that begins so; of a verifier key, by what follows its name.

    Raises NotFound.
    """
    named: dict[str, dict[str, str]] = {
        "record": {key: key for key in held.record_keys},
        "delivery": {key: key for key in held.delivery_keys},
        "log": {vkey: vkey.partition("+")[2] for vkey in held.log_vkeys},
        "witness": {vkey: vkey.partition("+")[2] for vkey in held.witness_vkeys},
    }
    found = [
        (_Place(layout, held, name), key)
        for name, keys in named.items()
        for key, called in keys.items()
        if key == text or called.startswith(text)
    ]
    if len(found) != 1 or len(text) < FEWEST_OF_AN_ID:
        hint = f"name {FEWEST_OF_AN_ID} characters of it or more; see them: tocsin identity show"
        raise NotFound(f"no record, delivery, log or witness key of {held.org} has the id {text}", hint=hint)
    return found[0]


def _listed(place: _Place) -> Mapping[KeyId, RecordKey]:
    return place.held.record_keys if place.name == "record" else place.held.delivery_keys


def _with_listed(place: _Place, listed: list[RecordKey]) -> Organisation:
    keys = index_keys(listed)
    if place.name == "record":
        return replace(place.held, record_keys=keys)
    return replace(place.held, delivery_keys=keys)
