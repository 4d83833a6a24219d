"""This module says in words what one version of an identity changes of the one before.

Whoever signs the next version reads this and nothing else, and so do those who
take it: what has no words here must not be able to change (tocsin.identity.draft
refuses it).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from cryptography.x509 import load_der_x509_certificate

from tocsin.identity.certificate import spki_pin
from tocsin.identity.details import Details, RecordKey
from tocsin.identity.names import KeyId
from tocsin.identity.version import Version


def describe_changes(before: Version, after: Version) -> Iterator[str]:
    """Yield a line for each change but that of the number and the day on which it expires."""
    yield from _root_changes(before, after)
    old, new = before.details, after.details
    for label, listed, now_listed in (
        ("record key", old.record_keys, new.record_keys),
        ("delivery key", old.delivery_keys, new.delivery_keys),
    ):
        yield from _key_changes(label, listed, now_listed)
    yield from _certificate_changes(old, new)
    yield from _differences("endpoint", old.endpoints, new.endpoints)
    if set(old.endpoints) == set(new.endpoints) and old.endpoints != new.endpoints:
        yield f"endpoints: dialled in the order {', '.join(new.endpoints)}"
    for name in ("org", "name", "kind", "contact", "log_vkey", "witness_vkey"):
        if getattr(old, name) != getattr(new, name):
            yield f"{name}: {getattr(old, name)}, now {getattr(new, name)}"
    for label, was, since in (
        ("log_vkey", old.log_vkey_from, new.log_vkey_from),
        ("witness_vkey", old.witness_vkey_from, new.witness_vkey_from),
    ):
        if since is not None and since != was:
            yield f"{label}: signs from {day(since)} on"
        if since is None and was is not None:
            yield f"{label}: signs at once, and no more from {day(was)} on"
    yield from _differences("former log key", old.former_log_vkeys, new.former_log_vkeys)
    yield from _differences("former witness key", old.former_witness_vkeys, new.former_witness_vkeys)


def day(moment: int) -> str:
    """Return the day of a moment in UTC."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _root_changes(before: Version, after: Version) -> Iterator[str]:
    if before.root_keys != after.root_keys or before.threshold != after.threshold:
        yield f"root keys: now {after.threshold} of {len(after.root_keys)} must sign"
        yield from _differences("root key", before.root_key_ids, after.root_key_ids)


def _key_changes(label: str, before: Mapping[KeyId, RecordKey], after: Mapping[KeyId, RecordKey]) -> Iterator[str]:
    for key_id, new in after.items():
        if key_id not in before:
            yield f"{label} {key_id}: new"
            yield f"{label} {key_id}: {new.status}, counts from {day(new.not_before)} until {day(new.not_after)}"
    yield from (f"{label} {key_id}: gone" for key_id in before if key_id not in after)
    for key_id in (each for each in before if each in after):
        old, new = before[key_id], after[key_id]
        if old.status != new.status:
            yield f"{label} {key_id}: {old.status}, now {new.status}"
        if old.revoked_at != new.revoked_at and new.revoked_at is not None:
            yield f"{label} {key_id}: revoked since {day(new.revoked_at)}"
        if (old.not_before, old.not_after) != (new.not_before, new.not_after):
            yield f"{label} {key_id}: counts from {day(new.not_before)} until {day(new.not_after)}"


def _certificate_changes(old: Details, new: Details) -> Iterator[str]:
    """Yield what changes of the certificates: one for the same key may still be valid for longer."""
    yield from _differences("node certificate", _pins(old), _pins(new))
    for der in (each for each in new.node_certs if each not in old.node_certs):
        certificate = load_der_x509_certificate(der)
        begins, ends = certificate.not_valid_before_utc.date(), certificate.not_valid_after_utc.date()
        yield f"node certificate {spki_pin(der)}: valid from {begins} until {ends}"


def _pins(details: Details) -> Sequence[str]:
    return sorted(map(spki_pin, details.node_certs))


def _differences(label: str, before: Sequence[str], after: Sequence[str]) -> Iterable[str]:
    yield from (f"{label} {name}: new" for name in after if name not in before)
    yield from (f"{label} {name}: gone" for name in before if name not in after)
