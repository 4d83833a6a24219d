"""This module looks over what lies on this machine: files, keys, the store, the policies, the logs.

Each look yields what it finds, and where that is nothing wrong, that all is
well. Nothing is repaired and nothing is changed. Messages hold paths, ids and
numbers, never content.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial, update_wrapper
from pathlib import Path

from cryptography import x509

from tocsin.audit.entry import Event
from tocsin.audit.log import verify_log
from tocsin.desk.answers import DAYS_OF_SILENCE, silent_partners
from tocsin.desk.inforce import files_in_force
from tocsin.desk.layout import FOR_OTHERS, KEY_NAMES
from tocsin.desk.papers import unread_version
from tocsin.desk.policyfiles import changed_files, load_drafts
from tocsin.desk.room import Room
from tocsin.desk.succession import pending_keys
from tocsin.desk.witnessing import load_log_policy
from tocsin.exchange.directory import known_organisation
from tocsin.identity.certificate import DAY
from tocsin.identity.root import named_log_vkeys
from tocsin.store.model import AuditFilter
from tocsin.v1 import desk_service_pb2 as v1

DAYS_OF_WARNING = 60
LATE_SECONDS = 2 * 3600  # a node looks every hour
"""Before a document, a certificate or a key expires: time for the people who hold the root keys to meet."""
CLOCK_SECONDS = 300
LITTLE_SPACE = 1024**3
TOO_LITTLE_SPACE = 64 * 1024**2
"""Below it the next page of a peer, or the next compaction, may find no room."""
LARGE_WAL = 64 * 1024**2
"""SQLite folds the write-ahead log back at 8 MiB: one of this size says that some reader never ends."""
RECENT_DAYS = 7
_SHOW_LOG = "tocsin log show"

Look = Callable[[], Iterator["Finding"]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what mends it."""

    check: str
    verdict: "v1.CheckVerdict.ValueType"
    message: str
    hint: str = ""


def fine(check: str, message: str) -> Finding:
    """Say that all is well."""
    return Finding(check, v1.CHECK_VERDICT_OK, message)


def warning(check: str, message: str, hint: str = "") -> Finding:
    """Say that it works, and that somebody should look at it."""
    return Finding(check, v1.CHECK_VERDICT_WARNING, message, hint)


def failure(check: str, message: str, hint: str = "") -> Finding:
    """Say that it does not work."""
    return Finding(check, v1.CHECK_VERDICT_FAILURE, message, hint)


def skipped(check: str, message: str) -> Finding:
    """Say that it was not tried."""
    return Finding(check, v1.CHECK_VERDICT_SKIPPED, message)


def look_over(room: Room) -> tuple[Look, ...]:
    """Return the looks, in the order in which people mend what they find."""
    of_the_machine = (_clock, _identity, _certificate, _keys, _disk, _store)
    looks = (*of_the_machine, _policies, _decision_log, _log, _receipts, _retractions)
    return tuple(update_wrapper(partial(look, room), look) for look in looks)


def _clock(room: Room) -> Iterator[Finding]:
    """Compare the clock with the newest thing that this node wrote itself."""
    head, now = room.home.store.audit.head(), room.clock()
    if head is not None and head.at - now > CLOCK_SECONDS:
        when = f"{datetime.fromtimestamp(head.at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        message = f"the clock is {head.at - now} s behind what this node wrote itself on {when}"
        yield failure("clock", message, "timedatectl set-ntp true")
    else:
        yield fine(
            "clock", f"it is {datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}, later than anything in the store"
        )


def _identity(room: Room) -> Iterator[Finding]:
    organisation = room.home.organisation
    what = f"version {organisation.version} of the identity document"
    yield _expiry("identity", what, organisation.expires, now=room.clock(), hint="tocsin keys renew")
    if newer := unread_version(room.home.layout, organisation):
        message = f"the node goes on with version {organisation.version}, and version {newer} is in the home"
        yield warning("identity", message, f"kill -HUP $(cat {room.home.layout.lock})")
    keys = {"record": organisation.record_keys, "delivery": organisation.delivery_keys}
    signers = {"record": room.home.record_signer, "delivery": room.home.delivery_signer}
    replaced = pending_keys(room.home.layout, organisation)  # these end when the next ones take over
    for name, signer in signers.items():
        if name in replaced:
            continue
        ends = keys[name][signer.key_id].not_after
        found = _expiry("identity", f"the {name} key", ends, now=room.clock(), hint=f"tocsin keys rotate {name}")
        if found.verdict != v1.CHECK_VERDICT_OK:
            yield found


def _certificate(room: Room) -> Iterator[Finding]:
    ends = int(x509.load_pem_x509_certificate(room.home.tls.certificate).not_valid_after_utc.timestamp())
    yield _expiry("certificate", "the certificate of the node", ends, now=room.clock(), hint="tocsin keys rotate tls")


def _expiry(check: str, what: str, ends: int, *, now: int, hint: str) -> Finding:
    day, left = datetime.fromtimestamp(ends, UTC).date().isoformat(), (ends - now) // DAY
    if ends <= now:
        return failure(check, f"{what} expired on {day}", hint)
    if left < DAYS_OF_WARNING:
        return warning(check, f"{what} expires on {day}, in {left} days", hint)
    return fine(check, f"{what} is valid until {day}")


def _keys(room: Room) -> Iterator[Finding]:
    layout, found = room.home.layout, False
    private = (layout.root, layout.keys, *(layout.key_file(name) for name in KEY_NAMES), layout.store)
    for path in private:
        if path.stat().st_mode & FOR_OTHERS:
            found = True
            mode = "700" if path.is_dir() else "600"
            message = f"others on this machine may open {path.relative_to(layout.root.parent)}"
            yield failure("keys", message, f"chmod {mode} {path}")
    for path in layout.root_keys_here():
        found = True
        yield warning("keys", f"{layout.relative(path)} is on this machine", "move it offline")
    for name, due_at in pending_keys(layout, room.home.organisation).items():
        found = True
        day = datetime.fromtimestamp(due_at, UTC).date().isoformat()
        if due_at + LATE_SECONDS <= room.clock():
            hint = f"see why in the node's log, then: kill -HUP $(cat {layout.lock})"
            yield failure("keys", f"the next {name} key was to take over on {day}, and has not", hint)
            continue
        hint = "send partners the document before: tocsin identity export"
        yield warning("keys", f"the next {name} key takes over on {day}", hint)
    if not found:
        yield fine("keys", f"{len(KEY_NAMES)} keys, closed to others")


def _disk(room: Room) -> Iterator[Finding]:
    layout = room.home.layout
    free = shutil.disk_usage(layout.root).free
    make_room = f"make room on the disk of {layout.root}"
    if free < TOO_LITTLE_SPACE:
        yield failure("disk", f"{_bytes(free)} free: nothing more may be stored soon", make_room)
    elif free < max(LITTLE_SPACE, room.home.store.size()):
        message = f"{_bytes(free)} free, less than a backup of the store and a day's records may need"
        yield warning("disk", message, make_room)
    else:
        yield fine("disk", f"{_bytes(free)} free")
    wal = layout.store.with_name(f"{layout.store.name}-wal")
    if (size := _size(wal)) > LARGE_WAL:
        hint = f"see who reads it: fuser {layout.store}"
        yield warning("disk", f"the write-ahead log has {_bytes(size)}: something reads the store and never ends", hint)


def _store(room: Room) -> Iterator[Finding]:
    """Say what was found when all of the store was read last, which a running node does each day."""
    store, now = room.home.store, room.clock()
    last = store.examined
    if last is None or last.at <= now - DAY:
        last = store.examine(now=now)
    if last is None:
        yield skipped("store", "the node stops")
        return
    for problem in last.problems:
        yield failure("store", problem, "stop the node, keep a copy of the home, then: tocsin fsck")
    if not last.problems:
        when = f"{datetime.fromtimestamp(last.at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        yield fine("store", f"{_bytes(store.size())}, all of it read as it was written on {when}")


def _policies(room: Room) -> Iterator[Finding]:
    home = room.home
    policies, drafts = home.policies, load_drafts(home.layout)
    in_force = tuple(failure("policies", str(problem), "tocsin policy apply") for problem in policies.problems)
    shadowed = tuple(warning("policies", str(problem), "tocsin policy check") for problem in policies.warnings)
    broken = tuple(warning("policies", f"{problem}", "tocsin policy check") for problem in drafts.problems)
    changed = tuple(
        warning("policies", f"{file} is not what is in force", "tocsin policy plan")
        for file in changed_files(files_in_force(home.store), drafts.files)
    )
    yield from (*in_force, *shadowed, *broken, *changed)
    if not (in_force or shadowed or broken or changed):
        count = len(policies.policies)
        partners = "1 partner has" if count == 1 else f"{count} partners have"
        yield fine("policies", f"{partners} one in force, and the files say the same")


def _decision_log(room: Room) -> Iterator[Finding]:
    verified = verify_log(room.home.log.rows(), organisation=room.home.organisation)
    yield fine("decision log", f"{verified.entries} entries; write down the last hash: {verified.head}")


def _log(room: Room) -> Iterator[Finding]:
    """Look at our own transparency log as opening a home does, at those that were stopped, and at whose word counts."""
    home, logs = room.home, room.home.store.logs
    home.tlog.verify(named_log_vkeys(home.organisation))
    size = home.tlog.size
    yield fine("log", f"{size} {'entry' if size == 1 else 'entries'}, as signed")
    for row in logs.list():
        if row.stopped and row.origin == home.organisation.org:
            awaited = ", ".join(logs.awaited())
            yield failure(
                "log", f"nothing is issued: {row.stopped}{f'; waits for {awaited}' * bool(awaited)}", _SHOW_LOG
            )
        elif row.stopped:
            yield warning(
                "log", f"nothing is taken from {row.origin}: {row.stopped}", f"tocsin log evidence {row.origin}"
            )
    policy = load_log_policy(home.layout)
    if policy.problem:
        place = " ".join(part for part in (home.layout.relative(home.layout.witnesses), policy.where) if part)
        yield failure("log", f"{place}: {policy.problem}: nobody's cosignature counts", "tocsin log policy")


def _receipts(room: Room) -> Iterator[Finding]:
    since = room.clock() - RECENT_DAYS * DAY
    rows = room.home.store.audit.list(AuditFilter(act=Event.RECEIPT_REFUSED, since=since), limit=50, newest_first=True)
    for org in sorted({row.partner for row in rows}):
        message = f"a receipt of {org} was refused in the last {RECENT_DAYS} days"
        yield warning("receipts", message, f"tocsin audit show --partner {org}")
    if not rows:
        yield fine("receipts", "none was refused lately")


def _retractions(room: Room) -> Iterator[Finding]:
    store = room.home.store
    silences = tuple(silent_partners(store, ours=room.home.organisation.org, now=room.clock()))
    for row, silent in silences:
        message = f"{', '.join(silent)} did not answer the {row.action} of {row.record_id} in {DAYS_OF_SILENCE} days"
        yield warning("retractions", message, f"tocsin retractions {row.record_id}")
    lost = sorted(store.recoveries.open())
    for org in lost:
        yield warning("retractions", f"{org} is still to be asked for what this store has lost", _how_to_ask(room, org))
    if not silences and not lost:
        yield fine("retractions", "every partner has answered, or has time left")


def _how_to_ask(room: Room, org: str) -> str:
    if known_organisation(room.home.store.peers.get(org).document).endpoints:
        return f"tocsin sync {org}"
    ours = room.home.organisation.org
    return f"it has no endpoint, so compare with its people what they have: they see it by tocsin list --from {ours}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _bytes(size: int) -> str:
    return f"{size / 1024**3:,.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:,.1f} MiB"
